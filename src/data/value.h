/* Text to values: what CAST('text' AS type) gives in DuckDB, made stricter where DuckDB guesses.
 *
 * Stricter than DuckDB: a fraction does not silently become an integer; no underscores, 0x or 0b in numbers; a number
 * beyond a float's range is out of range instead of infinite; a year is 0001 to 9999 in four digits; no BC, epoch,
 * infinity in times; nothing may follow a date but a time; HUGEINT and UHUGEINT have 38 digits, which is what the lake
 * can hold. Different: TIMESTAMP with an offset is converted to UTC
 * (DuckDB's cast drops the offset); TIMESTAMPTZ without one is UTC; a decimal written with an exponent is rounded
 * from its exact value (DuckDB 1.5 rounds '73e-9' up to 0.01). */
#ifndef LEAT_DATA_VALUE_H
#define LEAT_DATA_VALUE_H

#include "data/schema.h"

enum leat_value_status {
    LEAT_VALUE_OK,
    LEAT_VALUE_LOSSY,    /* stored, but something was dropped: fraction digits, an offset */
    LEAT_VALUE_SYNTAX,   /* not a spelling of the type */
    LEAT_VALUE_RANGE,    /* the type cannot hold it */
    LEAT_VALUE_FRACTION, /* an integer was wanted */
    LEAT_VALUE_EPOCH,    /* a bare number where a time was wanted */
    LEAT_VALUE_YEAR,     /* outside 0001 to 9999 */
};

/* Parses text (n bytes, not NUL-terminated) as a value of `type` into out (leat_type_size bytes; untouched unless OK
 * or LOSSY). Not for VARCHAR and NESTED. BLOB: bytes beyond 12 go to `arena`. White space around is
 * ignored where DuckDB ignores it. Thread: any. */
enum leat_value_status leat_value_parse(struct leat_type type, const char *text, size_t n, void *out,
                                        struct leat_arena *arena);
/* Why: " is not a BIGINT", " is out of range for ...", with what to do; static or in the arena. */
const char *leat_value_reason(enum leat_value_status, struct leat_type type, struct leat_arena *arena);

/* Parts of it, for the decoders' own fast paths (value_time.c). Days and microseconds since 1970-01-01, UTC. */
int64_t leat_days_from_civil(int64_t year, unsigned month, unsigned day);
void leat_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);
enum leat_value_status leat_value_parse_date(const char *text, size_t n, int32_t *days);
enum leat_value_status leat_value_parse_time(const char *text, size_t n, int64_t *micros);
enum leat_value_status leat_value_parse_timestamp(const char *text, size_t n, int64_t *micros);
enum leat_value_status leat_value_parse_interval(const char *text, size_t n, void *out);

#endif
