/* Exact sums of doubles, small first.
 *
 * Nearly all groups hold values of similar size: their exact sum fits a 128-bit integer times a power of two, 24
 * bytes instead of the 560 of a full accumulator. A value outside that window (or NaN, or infinite) moves the group to
 * the full one, for good. Both give the correctly rounded true sum, so nobody can tell which was used. */
#include "stream/aggregate.h"

#include <math.h>
#include <stdlib.h>

enum {
    MAX_EXPONENT = 800, /* of the unit: its multiples up to 2^127 stay finite doubles' business of the full sum */
    BITS = 126,         /* |m| stays below 2^126 */
};

static leat_i128 small_of(const struct leat_exact_state *s) {
    return (leat_i128)((unsigned __int128)(uint64_t)s->high << 64 | s->low);
}
static void set_small(struct leat_exact_state *s, leat_i128 m) {
    s->low = (uint64_t)m;
    s->high = (int64_t)(m >> 64);
}
static int bit_length(leat_i128 m) {
    unsigned __int128 u = m < 0 ? -(unsigned __int128)m : (unsigned __int128)m;
    uint64_t high = (uint64_t)(u >> 64), low = (uint64_t)u;
    return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
}

static void make_full(struct leat_exact_state *s) {
    leat_i128 m = small_of(s);
    int64_t low = (int64_t)(m & (((leat_i128)1 << 62) - 1));
    int64_t middle = (int64_t)(m >> 62 & (((leat_i128)1 << 62) - 1)), high = (int64_t)(m >> 124);
    s->sum = leat_alloc(sizeof *s->sum);
    leat_exact_sum_init(s->sum);
    leat_exact_sum_add(s->sum, ldexp(1.0, s->exponent), low);
    leat_exact_sum_add(s->sum, ldexp(1.0, s->exponent + 62), middle);
    leat_exact_sum_add(s->sum, ldexp(1.0, s->exponent + 124), high);
    set_small(s, 0);
}

/* Adds value * times to the small sum; false: it does not fit there. */
static inline bool add_small(struct leat_exact_state *s, double value, int32_t times) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    int biased = (int)(bits >> 52 & 0x7ff);
    uint64_t mantissa = bits & (((uint64_t)1 << 52) - 1);
    if (biased == 0x7ff) return false;
    if (biased)
        mantissa |= (uint64_t)1 << 52;
    else
        biased = 1;
    if (!mantissa) return true;
    int exponent = biased - 1075;
    leat_i128 m = small_of(s), add = (leat_i128)(bits >> 63 ? -(int64_t)mantissa : (int64_t)mantissa) * times;
    if (exponent > MAX_EXPONENT) return false;
    if (!m) {
        s->exponent = exponent;
    } else if (exponent < s->exponent) {
        if (bit_length(m) + (s->exponent - exponent) > BITS) return false;
        m *= (leat_i128)1 << (s->exponent - exponent);
        s->exponent = exponent;
    } else if (exponent > s->exponent) {
        if (bit_length(add) + (exponent - s->exponent) > BITS) return false;
        add *= (leat_i128)1 << (exponent - s->exponent);
    }
    m += add; /* both below 2^126 */
    if (bit_length(m) > BITS) return false;
    set_small(s, m);
    return true;
}

void leat_exact_state_add(struct leat_exact_state *s, double value, int32_t times) {
    s->n += times;
    if (!s->sum && add_small(s, value, times)) return;
    if (!s->sum) make_full(s);
    leat_exact_sum_add(s->sum, value, times);
}

double leat_exact_state_result(const struct leat_exact_state *s) {
    if (s->sum) return leat_exact_sum_result(s->sum);
    /* The conversion rounds once, to nearest even; above 2^53 units of at least 2^-1074 the result is normal, so
     * scaling is exact; beyond the largest double it gives infinity. */
    return ldexp((double)small_of(s), s->exponent);
}

size_t leat_exact_state_save(const struct leat_exact_state *s, unsigned char *out) {
    if (s->sum) {
        leat_exact_sum_save(s->sum, out);
        return LEAT_EXACT_SUM_BYTES;
    }
    memcpy(out, &s->low, 8);
    memcpy(out + 8, &s->high, 8);
    memcpy(out + 16, &s->exponent, 4);
    return LEAT_EXACT_SMALL_BYTES;
}

bool leat_exact_state_load(struct leat_exact_state *s, const char *bytes, size_t n, int64_t count) {
    *s = (struct leat_exact_state){.n = count};
    if (n == LEAT_EXACT_SMALL_BYTES) {
        memcpy(&s->low, bytes, 8);
        memcpy(&s->high, bytes + 8, 8);
        memcpy(&s->exponent, bytes + 16, 4);
        if (s->exponent < -1074 || s->exponent > MAX_EXPONENT || bit_length(small_of(s)) > BITS) return false;
    } else if (n == LEAT_EXACT_SUM_BYTES) {
        s->sum = leat_alloc(sizeof *s->sum);
        leat_exact_sum_load(s->sum, bytes);
    } else {
        return false;
    }
    s->result = leat_exact_state_result(s);
    return true;
}
