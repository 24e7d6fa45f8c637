/* Days and instants of the proleptic Gregorian calendar, without time zones. Pure functions. */
#ifndef LEAT_SCHEDULE_CIVIL_H
#define LEAT_SCHEDULE_CIVIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Days since 1970-01-01, and back. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
int64_t leat_civil_days(int64_t year, int month, int day);
void leat_civil_date(int64_t days, int64_t *year, int *month, int *day);
int leat_civil_month_days(int64_t year, int month);
/* 0 Sunday .. 6 Saturday. */
int leat_civil_weekday(int64_t days);
/* "2024-01-31", "2024-01-31 13:45[:59[.123456]]", also with T: microseconds since 1970-01-01T00:00:00. */
bool leat_civil_parse(const char *text, size_t length, int64_t *us_out);

#endif
