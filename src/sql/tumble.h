/* Starts of tumbling windows: of leat_tumble, and of operators that need not ask DuckDB for it. Microseconds. */
#ifndef LEAT_SQL_TUMBLE_H
#define LEAT_SQL_TUMBLE_H

#include <stdbool.h>
#include <stdint.h>

/* DuckDB's limits: the first microsecond it can show, and infinity. */
static const int64_t LEAT_FIRST_TIMESTAMP = -9223372022400000000ll;
static const int64_t LEAT_INFINITE_TIMESTAMP = INT64_MAX;

/* floor((t - origin) / width) * width + origin; false: before the first timestamp. */
static inline bool leat_tumble_wide(int64_t t, int64_t width, int64_t origin, int64_t *out) {
    __int128 rest = ((__int128)t - origin) % width;
    if (rest < 0) rest += width;
    __int128 start = (__int128)t - rest;
    *out = (int64_t)start;
    return start >= LEAT_FIRST_TIMESTAMP;
}

/* The same with reciprocal = 1.0 / width; an infinite time is its own window. Division as a multiplication: below 2^52
 * microseconds from the origin (142 years) the quotient's error is under 1/width, so the remainder tells whether it is
 * one off. Beyond: the long way. */
static inline bool leat_tumble(int64_t t, int64_t width, double reciprocal, int64_t origin, int64_t *out) {
    const int64_t exact = 1ll << 52;
    int64_t distance;
    if (t == LEAT_INFINITE_TIMESTAMP || t == -LEAT_INFINITE_TIMESTAMP) {
        *out = t;
        return true;
    }
    if (__builtin_sub_overflow(t, origin, &distance) || distance >= exact || distance <= -exact)
        return leat_tumble_wide(t, width, origin, out);
    int64_t rest = distance - (int64_t)((double)distance * reciprocal) * width;
    if (rest < 0)
        rest += width;
    else if (rest >= width)
        rest -= width;
    *out = t - rest;
    return true;
}

#endif
