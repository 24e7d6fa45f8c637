/* Five-field cron expressions (minute hour day month weekday; lists, ranges, steps, names, @daily ...) in an IANA time
 * zone, with the usual rule for clock changes: a time that does not exist runs at the next one that does, a time that
 * exists twice runs once. A schedule for every hour ("30 * * * *") follows elapsed time instead: it runs in both showings of a
 * repeated hour and not for a skipped one, as Vixie cron does; else an hourly table would pause for two hours. Zone data is read through the caller's function (DuckDB's ICU). */
#ifndef LEAT_SCHEDULE_CRON_H
#define LEAT_SCHEDULE_CRON_H
#include <stdint.h>
#include "base/status.h"
struct leat_cron { uint64_t minutes; uint32_t hours, days; uint16_t months; uint8_t weekdays; bool day_any, weekday_any; };
enum leat_status leat_cron_parse(const char *text, struct leat_cron *out, struct leat_error *) LEAT_MUST;
/* UTC offset in seconds that `zone` has at UTC second t. */
struct leat_zone { int (*offset_at)(struct leat_zone *, int64_t utc_s); void *context; };
/* Smallest due time > after_us (zone NULL: UTC); INT64_MAX when there is none within 8 years. */
int64_t leat_cron_next(const struct leat_cron *, struct leat_zone *, int64_t after_us);
#endif
