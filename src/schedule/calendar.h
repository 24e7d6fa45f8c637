/* A freshness that goes by the hour: one between two times of the day, another outside of them. Pure but for the zone's offsets. */
#ifndef LEAT_SCHEDULE_CALENDAR_H
#define LEAT_SCHEDULE_CALENDAR_H

#include "schedule/cron.h"

/* between_us from from_minute (of the local day) on and before to_minute, across midnight where that is the earlier; else_us outside, 0: there is no
 * outside, between_us always holds. Times that the clocks skip or show twice: as a schedule has them (schedule/cron.h). */
struct leat_calendar {
    int64_t between_us, else_us;
    int from_minute, to_minute;
};
/* What holds at a moment, and until when (INT64_MAX: for ever). zone NULL: UTC. */
struct leat_period { int64_t freshness_us, until_us; };
struct leat_period leat_calendar_at(const struct leat_calendar *, struct leat_zone *, int64_t at_us);
/* When what waits since then has waited for `fifths` fifths of what it may. Where another period begins meanwhile, it is waited for anew
 * from there on: what waits when a short freshness begins is taken in within it. Where both are longer than the hours they hold: the longer of them. */
int64_t leat_calendar_due(const struct leat_calendar *, struct leat_zone *, int64_t since_us, int fifths);
/* The first moment after that at which clocks show a minute of the day. */
int64_t leat_daily_next(int minute, struct leat_zone *zone, int64_t after_us);

#endif
