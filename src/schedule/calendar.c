#include "schedule/calendar.h"

int64_t leat_daily_next(int minute, struct leat_zone *zone, int64_t after_us) {
    const struct leat_cron daily = {.minutes = UINT64_C(1) << minute % 60,
                                    .hours = UINT32_C(1) << minute / 60,
                                    .days = UINT32_MAX,
                                    .months = UINT16_MAX,
                                    .weekdays = 0x7F,
                                    .day_any = true,
                                    .weekday_any = true};
    return leat_cron_next(&daily, zone, after_us);
}

struct leat_period leat_calendar_at(const struct leat_calendar *c, struct leat_zone *zone, int64_t at_us) {
    if (!c->else_us) return (struct leat_period){c->between_us, INT64_MAX};
    /* What ends next is what holds; both at once (the clocks skipped all of it): it is over. */
    int64_t begin = leat_daily_next(c->from_minute, zone, at_us), end = leat_daily_next(c->to_minute, zone, at_us);
    return end < begin ? (struct leat_period){c->between_us, end} : (struct leat_period){c->else_us, begin};
}

static int64_t part_of(int64_t freshness_us, int fifths) {
    return freshness_us / 5 * fifths + freshness_us % 5 * fifths / 5;
}

int64_t leat_calendar_due(const struct leat_calendar *c, struct leat_zone *zone, int64_t since_us, int fifths) {
    const int64_t longest = c->else_us > c->between_us ? c->else_us : c->between_us,
                  latest = since_us + part_of(longest, fifths);
    for (int periods = 0; periods < 3; periods++) {
        struct leat_period p = leat_calendar_at(c, zone, since_us);
        int64_t due = since_us + part_of(p.freshness_us, fifths);
        if (due <= p.until_us) return due;
        since_us = p.until_us;
    }
    return latest; /* neither period is as long as what may pass in it */
}
