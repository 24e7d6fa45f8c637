/* Order-independent exact sum of doubles: a superaccumulator in 64-bit limbs over the whole exponent
 * range (R. M. Neal, "Fast exact summation using small and large superaccumulators", 2015). Retractable:
 * subtracting a value undoes adding it. The result is the correctly rounded (nearest even) true sum; NaN and infinities are
 * counted apart (any NaN, or both infinities: NaN). */
#ifndef LEAT_BASE_EXACT_SUM_H
#define LEAT_BASE_EXACT_SUM_H
#include <stdint.h>
#define LEAT_EXACT_SUM_LIMBS 67
struct leat_exact_sum {
    int64_t limbs[LEAT_EXACT_SUM_LIMBS]; /* 32-bit spaced, carry-save */
    int64_t nan_count, plus_inf_count, minus_inf_count;
    int32_t adds_before_carry;
};
void leat_exact_sum_init(struct leat_exact_sum *);
void leat_exact_sum_add(struct leat_exact_sum *, double value, int64_t times); /* times may be negative */
void leat_exact_sum_merge(struct leat_exact_sum *into, const struct leat_exact_sum *from);
double leat_exact_sum_result(const struct leat_exact_sum *);
/* Canonical serialisation for checkpoints: equal sums give equal bytes. out >= LEAT_EXACT_SUM_BYTES. */
#define LEAT_EXACT_SUM_BYTES ((LEAT_EXACT_SUM_LIMBS + 3) * 8)
void leat_exact_sum_save(const struct leat_exact_sum *, void *out);
void leat_exact_sum_load(struct leat_exact_sum *, const void *in);
#endif
