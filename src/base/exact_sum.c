/* Exact sum of doubles. The sum is one fixed-point number in units of 2^-1074 (the smallest subnormal), in
 * limbs 32 bits apart: limb i counts 2^(32 i) units. Limbs are 64-bit and signed, so that 2^28 additions go by
 * before carries must move on ("carry-save").
 *
 *   bits   a double's top bit is at most bit 2097; the top limb (66) starts at bit 2112 and has 63 bits, so the
 *          sum of |times| may reach 2^77 before the number itself could wrap
 *   canonical form (after propagate): limbs 0..65 in [0, 2^32), the top limb signed (two's complement)
 *
 * All limb arithmetic wraps modulo 2^64 by going through uint64_t, so no input is undefined behaviour. */
#include "base/exact_sum.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define TOP (LEAT_EXACT_SUM_LIMBS - 1)
#define ADDS_MAX (1 << 28)
#define LIMB_MASK 0xFFFFFFFFu

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "saved sums are little-endian");

static void wrap_add(int64_t *limb, uint64_t value) {
    *limb = (int64_t)((uint64_t)*limb + value);
}

static void propagate(struct leat_exact_sum *s) {
    for (int i = 0; i < TOP; i++) {
        int64_t carry = s->limbs[i] >> 32; /* arithmetic shift: floor */
        s->limbs[i] &= LIMB_MASK;
        wrap_add(&s->limbs[i + 1], (uint64_t)carry);
    }
    s->adds_before_carry = ADDS_MAX;
}

void leat_exact_sum_init(struct leat_exact_sum *s) {
    memset(s, 0, sizeof *s);
    s->adds_before_carry = ADDS_MAX;
}

static void add_special(struct leat_exact_sum *s, uint64_t fraction, bool negative, int64_t times) {
    int64_t *count = fraction ? &s->nan_count : negative ? &s->minus_inf_count : &s->plus_inf_count;
    wrap_add(count, (uint64_t)times);
}

void leat_exact_sum_add(struct leat_exact_sum *s, double value, int64_t times) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bool negative = bits >> 63;
    unsigned exponent = (unsigned)(bits >> 52) & 0x7FF;
    uint64_t fraction = bits & (((uint64_t)1 << 52) - 1);
    if (exponent == 0x7FF) {
        add_special(s, fraction, negative, times);
        return;
    }
    uint64_t mantissa = exponent ? fraction | (uint64_t)1 << 52 : fraction;
    unsigned shift = exponent ? exponent - 1 : 0;
    int limb = (int)(shift / 32), offset = (int)(shift % 32);
    if (s->adds_before_carry-- <= 0) propagate(s);

    bool minus = negative != (times < 0);
    uint64_t count = times < 0 ? 0 - (uint64_t)times : (uint64_t)times;
    unsigned __int128 magnitude = (unsigned __int128)mantissa * count; /* up to 117 bits */
    for (int i = limb; magnitude; i++, magnitude >>= 32) {
        /* The top limb has no neighbour: it takes what is left, which is under 2^51. */
        uint64_t piece = i >= TOP ? (uint64_t)(magnitude << offset) : (uint64_t)(uint32_t)magnitude << offset;
        uint64_t low = i >= TOP ? piece : piece & LIMB_MASK, high = i >= TOP ? 0 : piece >> 32;
        wrap_add(&s->limbs[i], minus ? 0 - low : low);
        if (i >= TOP) break;
        wrap_add(&s->limbs[i + 1], minus ? 0 - high : high);
    }
}

void leat_exact_sum_merge(struct leat_exact_sum *into, const struct leat_exact_sum *from) {
    struct leat_exact_sum other = *from;
    propagate(&other);
    propagate(into);
    for (int i = 0; i <= TOP; i++)
        wrap_add(&into->limbs[i], (uint64_t)other.limbs[i]);
    propagate(into);
    wrap_add(&into->nan_count, (uint64_t)from->nan_count);
    wrap_add(&into->plus_inf_count, (uint64_t)from->plus_inf_count);
    wrap_add(&into->minus_inf_count, (uint64_t)from->minus_inf_count);
}

/* Bit `index` counted from the least; the top limb holds bits 2112 and up. */
static int get_bit(const struct leat_exact_sum *s, int index) {
    int limb = index / 32 < TOP ? index / 32 : TOP;
    return (int)((uint64_t)s->limbs[limb] >> (index - limb * 32) & 1);
}

/* Rounds a canonical non-negative sum to the nearest double, ties to even. Finite overflow gives infinity. */
static uint64_t round_to_bits(const struct leat_exact_sum *s) {
    int top = TOP;
    while (top >= 0 && s->limbs[top] == 0)
        top--;
    if (top < 0) return 0;
    int highest = top * 32 + 63 - __builtin_clzll((uint64_t)s->limbs[top]);
    if (highest > 2097) return (uint64_t)0x7FF << 52;
    /* Under 2^53 units the bit pattern of a double is the number itself (subnormals and the first binade). */
    if (highest <= 52) return (uint64_t)s->limbs[0] | (uint64_t)s->limbs[1] << 32;

    int lowest = highest - 52;
    uint64_t mantissa = 0;
    for (int limb = lowest / 32; limb <= highest / 32; limb++) {
        int at = limb * 32 - lowest;
        uint64_t piece = (uint64_t)s->limbs[limb];
        mantissa |= at >= 0 ? piece << at : piece >> -at;
    }
    if (get_bit(s, lowest - 1)) {
        int below = lowest - 1; /* bits [0, below) decide a tie */
        bool sticky = (uint64_t)s->limbs[below / 32] & (((uint64_t)1 << below % 32) - 1);
        for (int limb = below / 32 - 1; limb >= 0 && !sticky; limb--)
            sticky = s->limbs[limb] != 0;
        if (sticky || mantissa & 1) mantissa++;
    }
    /* The implicit bit adds the missing 1 to the exponent; a carry out of the mantissa does so too, up to infinity. */
    return ((uint64_t)lowest << 52) + mantissa;
}

double leat_exact_sum_result(const struct leat_exact_sum *sum) {
    if (sum->nan_count || (sum->plus_inf_count && sum->minus_inf_count)) return (double)NAN;
    if (sum->plus_inf_count) return (double)INFINITY;
    if (sum->minus_inf_count) return -(double)INFINITY;
    struct leat_exact_sum s = *sum;
    propagate(&s);
    uint64_t sign = 0;
    if (s.limbs[TOP] < 0) {
        sign = (uint64_t)1 << 63;
        for (int i = 0; i <= TOP; i++)
            s.limbs[i] = (int64_t)(0 - (uint64_t)s.limbs[i]);
        propagate(&s);
    }
    uint64_t bits = round_to_bits(&s);
    if (bits) bits |= sign;
    double result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

void leat_exact_sum_save(const struct leat_exact_sum *sum, void *out) {
    struct leat_exact_sum s = *sum;
    propagate(&s);
    int64_t counts[3] = {s.nan_count, s.plus_inf_count, s.minus_inf_count};
    memcpy(out, s.limbs, sizeof s.limbs);
    memcpy((char *)out + sizeof s.limbs, counts, sizeof counts);
}

void leat_exact_sum_load(struct leat_exact_sum *s, const void *in) {
    int64_t counts[3];
    memcpy(s->limbs, in, sizeof s->limbs);
    memcpy(counts, (const char *)in + sizeof s->limbs, sizeof counts);
    s->nan_count = counts[0];
    s->plus_inf_count = counts[1];
    s->minus_inf_count = counts[2];
    propagate(s);
}
