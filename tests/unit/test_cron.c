/* schedule/: cron expressions, due times across clock changes, zones from DuckDB against rules written here, calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/env.h"
#include "schedule/civil.h"
#include "schedule/zone.h"

/* Berlin since 1996: summer time from the last Sunday of March to that of October, both at 01:00 UTC. */
static int64_t last_sunday_s(int64_t year, int month) {
    int64_t day = leat_civil_days(year, month, 31);
    return (day - leat_civil_weekday(day)) * 86400 + 3600;
}

static int berlin_offset(struct leat_zone *zone, int64_t utc_s) {
    int64_t year;
    int month, day;
    (void)zone;
    leat_civil_date((utc_s >= 0 ? utc_s : utc_s - 86399) / 86400, &year, &month, &day);
    return utc_s >= last_sunday_s(year, 3) && utc_s < last_sunday_s(year, 10) ? 7200 : 3600;
}

static int half_hour_offset(struct leat_zone *zone, int64_t utc_s) {
    (void)zone;
    (void)utc_s;
    return 5 * 3600 + 1800; /* India */
}

/* A zone whose clocks go back at local midnight: from +2 to +1 at 2024-10-26T22:00:00Z, to +2 again at 2024-03-30T23:00:00Z. */
static int midnight_offset(struct leat_zone *zone, int64_t utc_s) {
    (void)zone;
    int64_t forward = leat_civil_days(2024, 3, 30) * 86400 + 23 * 3600, back = leat_civil_days(2024, 10, 26) * 86400 + 22 * 3600;
    return utc_s >= forward && utc_s < back ? 7200 : 3600;
}

static struct leat_zone berlin = {.offset_at = berlin_offset}, india = {.offset_at = half_hour_offset},
                        midnight = {.offset_at = midnight_offset};

static int64_t at_us(const char *text) {
    int64_t us;
    if (!leat_civil_parse(text, strlen(text), &us))
        fail_msg("not a time: %s", text);
    return us;
}

static void print_time(int64_t us, char out[32]) {
    int64_t year, seconds = us / 1000000;
    int month, day;
    if (us == INT64_MAX) {
        strcpy(out, "never");
        return;
    }
    int64_t days = (seconds >= 0 ? seconds : seconds - 86399) / 86400, rest = seconds - days * 86400;
    leat_civil_date(days, &year, &month, &day);
    snprintf(out, 32, "%04d-%02d-%02d %02d:%02d:%02d", (int)year, month, day, (int)(rest / 3600), (int)(rest / 60 % 60),
             (int)(rest % 60));
}

static void assert_next(const char *expression, struct leat_zone *zone, const char *after, const char *expected) {
    struct leat_cron cron;
    struct leat_error err = {0};
    char text[32];
    if (leat_cron_parse(expression, &cron, &err) != LEAT_OK)
        fail_msg("%s", err.text);
    print_time(leat_cron_next(&cron, zone, at_us(after)), text);
    if (strcmp(text, expected) != 0)
        fail_msg("'%s' after %s: %s, expected %s", expression, after, text, expected);
}

static void plain_times(void **state) {
    (void)state;
    assert_next("0 2 * * *", NULL, "2024-01-01 00:00", "2024-01-01 02:00:00");
    assert_next("0 2 * * *", NULL, "2024-01-01 02:00", "2024-01-02 02:00:00");
    assert_next("0 2 * * *", NULL, "2024-01-01 01:59:59.999999", "2024-01-01 02:00:00");
    assert_next("*/15 * * * *", NULL, "2024-01-01 00:07", "2024-01-01 00:15:00");
    assert_next("* * * * *", NULL, "2024-12-31 23:59:30", "2025-01-01 00:00:00");
    assert_next("5,10-12 8-9 * * *", NULL, "2024-01-01 08:10", "2024-01-01 08:11:00");
    assert_next("5,10-12 8-9 * * *", NULL, "2024-01-01 09:12", "2024-01-02 08:05:00");
    assert_next("10/20 3 * * *", NULL, "2024-01-01 03:11", "2024-01-01 03:30:00");
    assert_next("0 0 31 * *", NULL, "2024-04-01 00:00", "2024-05-31 00:00:00");
    assert_next("0 0 29 2 *", NULL, "2024-03-01 00:00", "2028-02-29 00:00:00");
    assert_next("0 0 30 2 *", NULL, "2024-03-01 00:00", "never");
    assert_next("0 6 * jan-mar mon", NULL, "2024-04-01 00:00", "2025-01-06 06:00:00");
    assert_next("0 0 * * 7", NULL, "2024-01-01 00:00", "2024-01-07 00:00:00");
    assert_next("0 0 * * 0", NULL, "2024-01-01 00:00", "2024-01-07 00:00:00");
    assert_next("0 0 * * fri-7", NULL, "2024-01-01 00:00", "2024-01-05 00:00:00");
    assert_next("0 12 * * ?", NULL, "1969-12-31 11:00", "1969-12-31 12:00:00");
    assert_next("0 12 * * *", NULL, "1969-12-31 12:00:00.5", "1970-01-01 12:00:00");
}

static void days_and_weekdays(void **state) {
    (void)state;
    /* both restricted: either; one of them begins with *: both */
    assert_next("0 0 13 * fri", NULL, "2024-01-01 00:00", "2024-01-05 00:00:00");
    assert_next("0 0 13 * fri", NULL, "2024-01-12 00:00", "2024-01-13 00:00:00");
    assert_next("0 0 */2 * fri", NULL, "2024-01-01 00:00", "2024-01-05 00:00:00");
    assert_next("0 0 */2 * fri", NULL, "2024-01-05 00:00", "2024-01-19 00:00:00");
}

static void names(void **state) {
    (void)state;
    assert_next("@daily", NULL, "2024-01-01 05:00", "2024-01-02 00:00:00");
    assert_next("@hourly", NULL, "2024-01-01 05:00", "2024-01-01 06:00:00");
    assert_next("@weekly", NULL, "2024-01-01 05:00", "2024-01-07 00:00:00");
    assert_next("@monthly", NULL, "2024-01-01 05:00", "2024-02-01 00:00:00");
    assert_next(" @Yearly", NULL, "2024-01-01 05:00", "2025-01-01 00:00:00");
}

static void clock_changes(void **state) {
    (void)state;
    /* 2024-03-31: 02:00 -> 03:00 local; 2024-10-27: 03:00 -> 02:00 local */
    assert_next("0 2 * * *", &berlin, "2024-03-29 12:00", "2024-03-30 01:00:00");
    assert_next("0 2 * * *", &berlin, "2024-03-30 01:00", "2024-03-31 01:00:00"); /* does not exist: at 03:00 */
    assert_next("30 2 * * *", &berlin, "2024-03-30 12:00", "2024-03-31 01:00:00");
    assert_next("30 2 * * *", &berlin, "2024-03-31 01:00", "2024-04-01 00:30:00");
    assert_next("0,20,40 2 * * *", &berlin, "2024-03-31 01:00", "2024-04-01 00:00:00");
    assert_next("0 2,3 * * *", &berlin, "2024-03-31 01:00", "2024-04-01 00:00:00"); /* both at 03:00, once */
    assert_next("30 2 * * *", &berlin, "2024-10-26 12:00", "2024-10-27 00:30:00");
    assert_next("30 2 * * *", &berlin, "2024-10-27 00:30", "2024-10-28 01:30:00"); /* not again at 01:30 UTC */
    assert_next("30 2 * * *", &berlin, "2024-10-27 01:00", "2024-10-28 01:30:00");
    assert_next("0 3 * * *", &berlin, "2024-10-27 00:30", "2024-10-27 02:00:00");
    assert_next("0 2 * * *", &india, "2024-01-01 12:00", "2024-01-01 20:30:00");
    /* every hour follows elapsed time */
    assert_next("30 * * * *", &berlin, "2024-03-31 00:30", "2024-03-31 01:30:00");
    assert_next("30 * * * *", &berlin, "2024-10-27 00:30", "2024-10-27 01:30:00");
    assert_next("*/20 * * * *", &berlin, "2024-10-27 00:40", "2024-10-27 01:00:00");
    assert_next("45 * * * *", &midnight, "2024-10-26 21:50", "2024-10-26 22:45:00");
    assert_next("30 23 * * *", &midnight, "2024-10-26 21:30", "2024-10-27 22:30:00");
    assert_next("30 0 * * *", &midnight, "2024-03-30 12:00", "2024-03-30 23:00:00");
}

/* Against the plain definition: every minute of a year, in order, taken by local time. */
static void against_definition(void **state) {
    (void)state;
    static const char *const expressions[] = {"0 2 * * *", "30 2 * * *", "15 1-4 * * *", "*/17 2 * * sun", "59 23 31 * *", "0 0 1 3,10 *"};
    for (size_t e = 0; e < sizeof expressions / sizeof *expressions; e++) {
        struct leat_cron cron;
        assert_int_equal(leat_cron_parse(expressions[e], &cron, NULL), LEAT_OK);
        int64_t previous = -1, next = leat_cron_next(&cron, &berlin, at_us("2024-01-01 00:00") - 1);
        int64_t local_seen = 0; /* the latest local minute shown so far */
        for (int64_t s = at_us("2024-01-01 00:00") / 1000000; s < at_us("2025-01-01 00:00") / 1000000; s += 60) {
            int64_t local = s + berlin_offset(NULL, s), first = local_seen ? local_seen + 60 : local;
            bool due = false;
            /* the minutes that this one shows or skipped, unless they were shown before */
            for (int64_t m = first; m <= local; m += 60) {
                int64_t year, day_number = m / 86400;
                int month, day, minute = (int)(m % 86400 / 60);
                leat_civil_date(day_number, &year, &month, &day);
                bool by_day = cron.days >> day & 1, by_weekday = cron.weekdays >> leat_civil_weekday(day_number) & 1;
                bool days = cron.day_any || cron.weekday_any ? by_day && by_weekday : by_day || by_weekday;
                due |= days && (cron.months >> month & 1) && (cron.hours >> (minute / 60) & 1) && (cron.minutes >> (minute % 60) & 1);
            }
            local_seen = local > local_seen ? local : local_seen;
            if (due) {
                assert_int_equal(next, s * 1000000);
                assert_true(next > previous);
                previous = next;
                next = leat_cron_next(&cron, &berlin, previous);
            }
        }
        assert_true(next >= at_us("2025-01-01 00:00"));
    }
}

static void assert_bad(const char *expression, const char *message) {
    struct leat_cron cron;
    struct leat_error err = {0};
    assert_int_equal(leat_cron_parse(expression, &cron, &err), LEAT_INVALID);
    if (!strstr(err.text, message))
        fail_msg("'%s': '%s' does not say '%s'", expression, err.text, message);
}

static void bad_expressions(void **state) {
    (void)state;
    assert_bad("", "has 0 fields");
    assert_bad("0 2 * *", "has 4 fields");
    assert_bad("0 0 2 * * *", "has 6 fields");
    assert_bad("60 2 * * *", "60 is out of range for the minute (0 to 59)");
    assert_bad("0 24 * * *", "24 is out of range for the hour");
    assert_bad("0 0 0 * *", "0 is out of range for the day of the month");
    assert_bad("0 0 * 13 *", "13 is out of range for the month");
    assert_bad("0 0 * * 8", "8 is out of range for the weekday");
    assert_bad("0 0 * * someday", "'someday' cannot be the weekday");
    assert_bad("0 0 L * *", "'L' cannot be the day of the month");
    assert_bad("30-10 0 * * *", "runs backwards");
    assert_bad("*/0 0 * * *", "a step of the minute");
    assert_bad("*/99999999999 0 * * *", "a step of the minute");
    assert_bad("1,,2 0 * * *", "cannot be the minute");
    assert_bad("1x 0 * * *", "cannot be understood at 'x'");
    assert_bad("? 0 * * *", "cannot be the minute");
    assert_bad("@dayly", "did you mean '@daily'?");
    assert_bad("@never", "five fields");
}

static void calendar(void **state) {
    (void)state;
    int64_t year;
    int month, day;
    for (int64_t days = -800000; days < 800000; days += 13) {
        leat_civil_date(days, &year, &month, &day);
        assert_int_equal(leat_civil_days(year, month, day), days);
        assert_true(month >= 1 && month <= 12 && day >= 1 && day <= leat_civil_month_days(year, month));
    }
    assert_int_equal(leat_civil_days(1970, 1, 1), 0);
    assert_int_equal(leat_civil_days(2000, 3, 1), 11017);
    assert_int_equal(leat_civil_weekday(leat_civil_days(2024, 2, 29)), 4);
    assert_int_equal(leat_civil_weekday(-4), 0);
    assert_int_equal(at_us("1969-12-31T23:59:59.999999"), -1);
    static const char *const bad[] = {"", "2024", "2024-1-1", "2024-02-30", "2023-02-29", "2024-01-01 24:00", "2024-01-01 10:60",
                                      "2024-01-01 10:00x", "2024-01-01 ", "2024-01-01T10"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t us;
        assert_false(leat_civil_parse(bad[i], strlen(bad[i]), &us));
    }
}

/* ---- zones ---- */

static struct leat_duck *duck;
static struct leat_conn *conn;

static void zone_berlin(void **state) {
    (void)state;
    struct leat_zone *zone, *again;
    struct leat_error err = {0};
    if (leat_zone_load(conn, "europe/berlin", &zone, &err) != LEAT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(leat_zone_load(conn, "Europe/Berlin", &again, &err), LEAT_OK);
    assert_ptr_equal(zone, again);
    for (int64_t year = 2001; year < 2038; year++) {
        for (int month = 3; month <= 10; month += 7) {
            int64_t change = last_sunday_s(year, month);
            for (int64_t s = change - 2; s <= change + 2; s++)
                assert_int_equal(zone->offset_at(zone, s), berlin_offset(NULL, s));
        }
    }
    assert_next("30 2 * * *", zone, "2024-03-30 12:00", "2024-03-31 01:00:00");
    assert_int_equal(zone->offset_at(zone, INT64_MIN), 3600);
    (void)zone->offset_at(zone, INT64_MAX);
}

static void zone_others(void **state) {
    (void)state;
    static const struct {
        const char *zone, *at;
        int offset_s;
    } facts[] = {
        {"UTC", "2024-06-01 00:00", 0},
        {"Asia/Kolkata", "2024-06-01 00:00", 19800},
        {"Asia/Kathmandu", "2024-06-01 00:00", 20700},
        {"Australia/Lord_Howe", "2024-01-01 00:00", 39600}, /* its summer time is half an hour */
        {"Australia/Lord_Howe", "2024-06-01 00:00", 37800},
        {"Pacific/Apia", "2011-12-29 12:00", -36000}, /* a whole day was skipped */
        {"Pacific/Apia", "2011-12-31 12:00", 50400},
        {"America/New_York", "2024-11-03 05:59:59", -14400},
        {"America/New_York", "2024-11-03 06:00:00", -18000},
    };
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        struct leat_zone *zone = leat_zone_find(conn, facts[i].zone);
        assert_non_null(zone);
        assert_int_equal(zone->offset_at(zone, at_us(facts[i].at) / 1000000), facts[i].offset_s);
    }
    assert_next("0 9 * * *", leat_zone_find(conn, "Pacific/Apia"), "2011-12-29 20:00", "2011-12-30 10:00:00");
}

static void zone_unknown(void **state) {
    (void)state;
    struct leat_zone *zone;
    struct leat_error err = {0};
    assert_int_equal(leat_zone_load(conn, "Europe/Berlni", &zone, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "did you mean 'Europe/Berlin'?"));
    assert_int_equal(leat_zone_load(conn, "Berlin", &zone, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "did you mean 'Europe/Berlin'?"));
    assert_null(leat_zone_find(conn, "x'; DROP"));
}

static int open_duck(void **state) {
    (void)state;
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    struct leat_error err = {0};
    if (leat_duck_open(&options, &duck, &err) != LEAT_OK || leat_conn_open(duck, &conn, &err) != LEAT_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    return 0;
}

static int close_duck(void **state) {
    (void)state;
    leat_conn_close(conn);
    leat_duck_close(duck);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_times), cmocka_unit_test(days_and_weekdays),  cmocka_unit_test(names),
        cmocka_unit_test(clock_changes), cmocka_unit_test(against_definition), cmocka_unit_test(bad_expressions),
        cmocka_unit_test(calendar),    cmocka_unit_test(zone_berlin),        cmocka_unit_test(zone_others),
        cmocka_unit_test(zone_unknown),
    };
    return cmocka_run_group_tests(tests, open_duck, close_duck);
}
