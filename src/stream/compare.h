/* Comparing two values of one type in DuckDB's order: NaN greatest, strings by bytes, intervals normalised. */
#ifndef LEAT_STREAM_COMPARE_H
#define LEAT_STREAM_COMPARE_H

#include "data/schema.h"

#define LEAT_COMPARE(ctype)                                                                                            \
    do {                                                                                                               \
        ctype x, y;                                                                                                    \
        memcpy(&x, a, sizeof x);                                                                                       \
        memcpy(&y, b, sizeof y);                                                                                       \
        return x < y ? -1 : x > y;                                                                                     \
    } while (0)

/* With signed zeros told apart (-0.0 first), so that a minimum does not depend on the order of rows. */
static inline int leat_compare_double(double x, double y) {
    if (x != x || y != y) return (x != x) - (y != y);
    if (x == y) return (int)__builtin_signbit(y) - (int)__builtin_signbit(x) > 0   ? 1
                       : (int)__builtin_signbit(y) - (int)__builtin_signbit(x) < 0 ? -1
                                                                                   : 0;
    return x < y ? -1 : 1;
}
static inline int leat_compare_string(const struct leat_string *a, const struct leat_string *b) {
    uint32_t n = a->length < b->length ? a->length : b->length;
    int c = n ? memcmp(leat_string_data(a), leat_string_data(b), n) : 0;
    if (c) return c < 0 ? -1 : 1;
    return a->length < b->length ? -1 : a->length > b->length;
}
static inline int leat_compare_interval(const void *a, const void *b) {
    int64_t v[2][3];
    const void *from[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        int32_t months, days;
        int64_t micros;
        memcpy(&months, from[i], 4);
        memcpy(&days, (const char *)from[i] + 4, 4);
        memcpy(&micros, (const char *)from[i] + 8, 8);
        int64_t all_days = days + micros / 86400000000LL;
        v[i][0] = months + all_days / 30;
        v[i][1] = all_days % 30;
        v[i][2] = micros % 86400000000LL;
    }
    for (int k = 0; k < 3; k++)
        if (v[0][k] != v[1][k]) return v[0][k] < v[1][k] ? -1 : 1;
    return 0;
}
static inline int leat_compare_value(struct leat_type t, const void *a, const void *b) {
    switch ((enum leat_kind)t.kind) {
    case LEAT_BOOLEAN:
    case LEAT_UTINYINT: LEAT_COMPARE(uint8_t);
    case LEAT_TINYINT: LEAT_COMPARE(int8_t);
    case LEAT_SMALLINT: LEAT_COMPARE(int16_t);
    case LEAT_USMALLINT: LEAT_COMPARE(uint16_t);
    case LEAT_UINTEGER: LEAT_COMPARE(uint32_t);
    case LEAT_INTEGER:
    case LEAT_DATE: LEAT_COMPARE(int32_t);
    case LEAT_UBIGINT: LEAT_COMPARE(uint64_t);
    case LEAT_BIGINT:
    case LEAT_TIME:
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ: LEAT_COMPARE(int64_t);
    case LEAT_UHUGEINT: LEAT_COMPARE(unsigned __int128);
    case LEAT_HUGEINT:
    case LEAT_UUID: LEAT_COMPARE(leat_i128);
    case LEAT_DECIMAL:
        if (t.width <= 4) LEAT_COMPARE(int16_t);
        if (t.width <= 9) LEAT_COMPARE(int32_t);
        if (t.width <= 18) LEAT_COMPARE(int64_t);
        LEAT_COMPARE(leat_i128);
    case LEAT_FLOAT: {
        float x, y;
        memcpy(&x, a, 4);
        memcpy(&y, b, 4);
        return leat_compare_double(x, y);
    }
    case LEAT_DOUBLE: {
        double x, y;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        return leat_compare_double(x, y);
    }
    case LEAT_VARCHAR:
    case LEAT_BLOB: return leat_compare_string(a, b);
    case LEAT_INTERVAL: return leat_compare_interval(a, b);
    case LEAT_NESTED: break;
    }
    return 0;
}

#endif
