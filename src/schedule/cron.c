/* Cron expressions. The grammar and the day rule are those of Vixie cron (crontab(5)): when both days and weekdays are
 * restricted, either of them suffices; a field that begins with * is not a restriction. */
#include "schedule/cron.h"

#include "base/options.h"
#include "schedule/civil.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define DAY_S 86400
#define HORIZON_DAYS 2922 /* 8 years: a 29 February comes again within them, except around 2100 */
#define ALL_HOURS 0xFFFFFFu

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct field {
    const char *name;
    int min, max;
    const char *const *names;
    int name_count;
};
static const struct field fields[5] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of the month", 1, 31, NULL, 0},
    {"month", 1, 12, month_names, 12},
    {"weekday", 0, 7, weekday_names, 7},
};

/* A number or a name at *at. */
static enum leat_status read_value(const struct field *field, const char **at, const char *end, int *out, struct leat_error *err) {
    const char *s = *at;
    *out = 0;
    if (s < end && isdigit((unsigned char)*s)) {
        while (*at < end && isdigit((unsigned char)**at) && *out < 1000)
            *out = *out * 10 + (*(*at)++ - '0');
    } else {
        while (*at < end && isalpha((unsigned char)**at))
            (*at)++;
        int found = -1;
        for (int i = 0; i < field->name_count; i++)
            if (*at - s == 3 && strncasecmp(s, field->names[i], 3) == 0)
                found = i;
        if (found < 0)
            return leat_fail(err, LEAT_INVALID, "'%.*s' cannot be the %s", (int)(end - s > 20 ? 20 : end - s), s, field->name);
        *out = found + field->min;
    }
    if (*out < field->min || *out > field->max)
        return leat_fail(err, LEAT_INVALID, "%d is out of range for the %s (%d to %d)", *out, field->name, field->min, field->max);
    return LEAT_OK;
}

/* One member of a list: *, a, a-b, each with /step. */
static enum leat_status read_member(const struct field *field, const char **at, const char *end, uint64_t *bits,
                                    struct leat_error *err) {
    int from = field->min, to = field->max, step = 1;
    bool single = false;
    enum leat_status status = LEAT_OK;
    if (*at < end && (**at == '*' || (**at == '?' && field->max != 59 && field->max != 23))) {
        (*at)++;
    } else {
        status = read_value(field, at, end, &from, err);
        to = from;
        single = true;
        if (status == LEAT_OK && *at < end && **at == '-') {
            (*at)++;
            single = false;
            status = read_value(field, at, end, &to, err);
        }
    }
    if (status == LEAT_OK && *at < end && **at == '/') {
        (*at)++;
        step = 0;
        while (*at < end && isdigit((unsigned char)**at) && step < 1000)
            step = step * 10 + (*(*at)++ - '0');
        if (step < 1 || step > field->max)
            return leat_fail(err, LEAT_INVALID, "a step of the %s must be from 1 to %d", field->name, field->max);
        if (single)
            to = field->max;
    }
    if (status != LEAT_OK)
        return status;
    if (from > to)
        return leat_fail(err, LEAT_INVALID, "the range %d-%d of the %s runs backwards", from, to, field->name);
    for (int i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return LEAT_OK;
}

static enum leat_status read_field(const struct field *field, const char *at, const char *end, uint64_t *bits, bool *any,
                                   struct leat_error *err) {
    *bits = 0;
    *any = at < end && (*at == '*' || *at == '?');
    for (;;) {
        enum leat_status status = read_member(field, &at, end, bits, err);
        if (status != LEAT_OK)
            return status;
        if (at == end)
            return LEAT_OK;
        if (*at != ',')
            return leat_fail(err, LEAT_INVALID, "the %s cannot be understood at '%.*s'", field->name,
                             (int)(end - at > 20 ? 20 : end - at), at);
        at++;
    }
}

static const char *expand_name(const char *text, struct leat_error *err) {
    static const char *const names[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};
    static const char *const meanings[] = {"0 0 1 1 *", "0 0 1 1 *", "0 0 1 * *", "0 0 * * 0", "0 0 * * *", "0 0 * * *", "0 * * * *"};
    size_t count = sizeof names / sizeof *names;
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, names[i]) == 0)
            return meanings[i];
    const char *nearest = leat_nearest(text, names, count);
    if (nearest)
        leat_fail(err, LEAT_INVALID, "there is no schedule '%.40s'; did you mean '%s'?", text, nearest);
    else
        leat_fail(err, LEAT_INVALID, "there is no schedule '%.40s'; write five fields such as '0 2 * * *'", text);
    return NULL;
}

enum leat_status leat_cron_parse(const char *text, struct leat_cron *out, struct leat_error *err) {
    const char *at = text;
    uint64_t bits[5] = {0};
    bool any[5] = {0};
    memset(out, 0, sizeof *out);
    while (isspace((unsigned char)*at))
        at++;
    if (*at == '@' && !(at = expand_name(at, err)))
        return LEAT_INVALID;
    int count = 0;
    while (*at) {
        const char *end = at;
        while (*end && !isspace((unsigned char)*end))
            end++;
        if (count < 5) {
            enum leat_status status = read_field(&fields[count], at, end, &bits[count], &any[count], err);
            if (status != LEAT_OK)
                return leat_prepend(err, "cron expression '%.100s'", text);
        }
        count++;
        for (at = end; isspace((unsigned char)*at); at++) {
        }
    }
    if (count != 5)
        return leat_fail(err, LEAT_INVALID,
                         "cron expression '%.100s' has %d field%s; it needs five: minute hour day month weekday", text, count,
                         count == 1 ? "" : "s");
    if (bits[4] >> 7 & 1) /* 7 is Sunday too */
        bits[4] |= 1;
    *out = (struct leat_cron){
        .minutes = bits[0],
        .hours = (uint32_t)bits[1],
        .days = (uint32_t)bits[2],
        .months = (uint16_t)bits[3],
        .weekdays = (uint8_t)(bits[4] & 0x7F),
        .day_any = any[2],
        .weekday_any = any[4],
    };
    return LEAT_OK;
}

static bool day_matches(const struct leat_cron *cron, int64_t days) {
    int64_t year;
    int month, day;
    leat_civil_date(days, &year, &month, &day);
    if (!(cron->months >> month & 1))
        return false;
    bool by_day = cron->days >> day & 1;
    bool by_weekday = cron->weekdays >> leat_civil_weekday(days) & 1;
    return cron->day_any || cron->weekday_any ? by_day && by_weekday : by_day || by_weekday;
}

static int zone_offset(struct leat_zone *zone, int64_t utc_s) {
    return zone ? zone->offset_at(zone, utc_s) : 0;
}

/* First second from which the zone's offset is not `offset`, within (from, to]; the offset at `from` is `offset`, at `to` it
 * is not. */
static int64_t find_transition(struct leat_zone *zone, int64_t from, int64_t to, int offset) {
    while (to - from > 1) {
        int64_t middle = from + (to - from) / 2;
        if (zone_offset(zone, middle) == offset)
            from = middle;
        else
            to = middle;
    }
    return to;
}

/* The instants (UTC seconds) at which the zone's clocks show local second `local`: one, two, or, for a time that the clocks
 * skip, none; then instants[0] is the end of the gap. */
static int local_instants(struct leat_zone *zone, int64_t local, int64_t instants[2]) {
    int before = zone_offset(zone, local - DAY_S), after = zone_offset(zone, local + DAY_S);
    int count = 0;
    int64_t first = local - before, second = local - after;
    if (zone_offset(zone, first) == before)
        instants[count++] = first;
    if (after != before && zone_offset(zone, second) == after)
        instants[count++] = second;
    if (count == 2 && instants[0] > instants[1]) {
        int64_t swap = instants[0];
        instants[0] = instants[1];
        instants[1] = swap;
    }
    if (count == 0)
        instants[0] = find_transition(zone, local - DAY_S, local + DAY_S, before);
    return count;
}

int64_t leat_cron_next(const struct leat_cron *cron, struct leat_zone *zone, int64_t after_us) {
    int64_t after_s = after_us >= 0 ? after_us / 1000000 : -((-after_us + 999999) / 1000000);
    int64_t local_after = after_s + zone_offset(zone, after_s);
    int64_t first_day = (local_after >= 0 ? local_after : local_after - DAY_S + 1) / DAY_S - 1;
    /* every hour: the schedule follows elapsed time, so that it neither pauses in a repeated hour nor runs for a skipped one */
    bool hourly = cron->hours == ALL_HOURS;
    int64_t best = INT64_MAX, found_day = INT64_MAX;
    /* one day more than needed: the second showing of a late hour can come after the first of an early one */
    for (int64_t day = first_day; day <= first_day + HORIZON_DAYS + 1 && day <= found_day; day++) {
        if (!day_matches(cron, day))
            continue;
        for (int minute = 0; minute < 1440; minute++) {
            if (!(cron->hours >> (minute / 60) & 1) || !(cron->minutes >> (minute % 60) & 1))
                continue;
            int64_t local = day * DAY_S + minute * 60, instants[2];
            if (local < local_after - DAY_S - 7200)
                continue;
            int count = local_instants(zone, local, instants);
            int last = hourly ? count : 1;
            for (int i = 0; i < last; i++)
                if (instants[i] > after_s && instants[i] < best)
                    best = instants[i];
            if (best != INT64_MAX && !hourly)
                break;
        }
        if (best != INT64_MAX && found_day == INT64_MAX)
            found_day = day + 1;
    }
    return best == INT64_MAX ? INT64_MAX : best * 1000000;
}
