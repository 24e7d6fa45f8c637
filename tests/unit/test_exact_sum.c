/* Exact sums: cases rounded by Python's Fraction, order independence, retraction, merging, saving. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/env.h"
#include "base/exact_sum.h"
#include "exact_sum_cases.h"

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void assert_same_bytes(const struct leat_exact_sum *a, const struct leat_exact_sum *b) {
    unsigned char saved_a[LEAT_EXACT_SUM_BYTES], saved_b[LEAT_EXACT_SUM_BYTES];
    leat_exact_sum_save(a, saved_a);
    leat_exact_sum_save(b, saved_b);
    assert_memory_equal(saved_a, saved_b, sizeof saved_a);
}

static void sums_are_correctly_rounded(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof exact_sum_cases / sizeof *exact_sum_cases; i++) {
        struct leat_exact_sum sum, empty;
        leat_exact_sum_init(&sum);
        leat_exact_sum_init(&empty);
        for (size_t j = 0; j < exact_sum_cases[i].term_count; j++)
            leat_exact_sum_add(&sum, exact_sum_cases[i].terms[j].value, exact_sum_cases[i].terms[j].times);
        double got = leat_exact_sum_result(&sum);
        if (bits_of(got) != bits_of(exact_sum_cases[i].expected))
            fail_msg("case %zu: %a, not %a", i, got, exact_sum_cases[i].expected);
        for (size_t j = 0; j < exact_sum_cases[i].term_count; j++) { /* -times, INT64_MIN in two halves */
            int64_t times = exact_sum_cases[i].terms[j].times, half = times / 2;
            leat_exact_sum_add(&sum, exact_sum_cases[i].terms[j].value, -half);
            leat_exact_sum_add(&sum, exact_sum_cases[i].terms[j].value, half - times);
        }
        assert_same_bytes(&sum, &empty);
        assert_int_equal(bits_of(leat_exact_sum_result(&sum)), 0);
    }
}

/* Any finite double, all exponents alike. */
static double random_double(struct leat_random *random) {
    uint64_t bits;
    double value;
    do {
        bits = leat_random_next(random);
        memcpy(&value, &bits, sizeof value);
    } while (!isfinite(value));
    return value;
}

static void shuffle(struct leat_random *random, double *values, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)leat_random_below(random, i);
        double swap = values[i - 1];
        values[i - 1] = values[j];
        values[j] = swap;
    }
}

static void order_and_grouping_do_not_matter(void **state) {
    (void)state;
    enum { N = 2000 };
    static double values[N];
    struct leat_random random;
    leat_random_seed(&random, 5);
    for (size_t i = 0; i < N; i++)
        values[i] = random_double(&random);
    struct leat_exact_sum first, other, part, loaded;
    leat_exact_sum_init(&first);
    for (size_t i = 0; i < N; i++)
        leat_exact_sum_add(&first, values[i], 1);
    for (int round = 0; round < 20; round++) {
        shuffle(&random, values, N);
        size_t cut = (size_t)leat_random_below(&random, N);
        leat_exact_sum_init(&other);
        leat_exact_sum_init(&part);
        for (size_t i = 0; i < N; i++)
            leat_exact_sum_add(i < cut ? &other : &part, values[i], 1);
        unsigned char saved[LEAT_EXACT_SUM_BYTES];
        leat_exact_sum_save(&part, saved);
        leat_exact_sum_load(&loaded, saved);
        leat_exact_sum_merge(&other, &loaded);
        assert_same_bytes(&first, &other);
        assert_int_equal(bits_of(leat_exact_sum_result(&first)), bits_of(leat_exact_sum_result(&other)));
    }
}

/* Against 128-bit integers: values k * 2^-40, |k| < 2^60. */
static void agrees_with_128_bit_integers(void **state) {
    (void)state;
    struct leat_random random;
    leat_random_seed(&random, 6);
    for (int round = 0; round < 2000; round++) {
        struct leat_exact_sum sum;
        leat_exact_sum_init(&sum);
        __int128 want = 0;
        for (uint64_t i = leat_random_below(&random, 30); i > 0; i--) {
            int64_t k = (int64_t)(leat_random_next(&random) >> 11) >> leat_random_below(&random, 53);
            if (leat_random_next(&random) & 1) k = -k;
            int64_t times = (int64_t)leat_random_below(&random, 7) - 3;
            leat_exact_sum_add(&sum, ldexp((double)k, -40), times);
            want += (__int128)k * times;
        }
        /* The conversion of a 128-bit integer to double rounds to nearest even. */
        assert_int_equal(bits_of(leat_exact_sum_result(&sum)), bits_of(ldexp((double)want, -40)));
    }
}

static void special_values_are_counted(void **state) {
    (void)state;
    struct leat_exact_sum sum;
    leat_exact_sum_init(&sum);
    leat_exact_sum_add(&sum, 2.5, 1);
    leat_exact_sum_add(&sum, (double)INFINITY, 1);
    assert_true(leat_exact_sum_result(&sum) == (double)INFINITY);
    leat_exact_sum_add(&sum, -(double)INFINITY, 2);
    assert_true(isnan(leat_exact_sum_result(&sum)));
    leat_exact_sum_add(&sum, (double)INFINITY, -1);
    assert_true(leat_exact_sum_result(&sum) == -(double)INFINITY);
    leat_exact_sum_add(&sum, (double)NAN, 1);
    assert_true(isnan(leat_exact_sum_result(&sum)));
    leat_exact_sum_add(&sum, -(double)NAN, -1); /* every NaN is the same */
    leat_exact_sum_add(&sum, -(double)INFINITY, -2);
    assert_true(leat_exact_sum_result(&sum) == 2.5);
}

/* More additions than fit between two carries, of one sign and of both. */
static void carries_survive_many_additions(void **state) {
    (void)state;
    struct leat_exact_sum sum;
    leat_exact_sum_init(&sum);
    sum.adds_before_carry = 3;
    for (int i = 0; i < 100000; i++) {
        leat_exact_sum_add(&sum, 0x1.fffffffffffffp+31, 1);
        if (i % 3 == 0) sum.adds_before_carry = 0;
    }
    assert_true(leat_exact_sum_result(&sum) == 0x1.fffffffffffffp+31 * 100000.0);
    for (int i = 0; i < 100001; i++)
        leat_exact_sum_add(&sum, 0x1.fffffffffffffp+31, -1);
    assert_true(leat_exact_sum_result(&sum) == -0x1.fffffffffffffp+31);
}

/* A damaged checkpoint may hold anything: no undefined behaviour. */
static void hostile_state_is_defined(void **state) {
    (void)state;
    unsigned char bytes[LEAT_EXACT_SUM_BYTES];
    struct leat_random random;
    leat_random_seed(&random, 7);
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)(round % 3 == 0 ? 0xFF : round % 3 == 1 ? 0x7F : leat_random_next(&random));
        struct leat_exact_sum sum, other;
        leat_exact_sum_load(&sum, bytes);
        other = sum;
        for (int i = 0; i < 50; i++)
            leat_exact_sum_add(&sum, random_double(&random), (int64_t)leat_random_next(&random));
        leat_exact_sum_merge(&sum, &other);
        double result = leat_exact_sum_result(&sum);
        (void)result;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_correctly_rounded),     cmocka_unit_test(order_and_grouping_do_not_matter),
        cmocka_unit_test(agrees_with_128_bit_integers),   cmocka_unit_test(special_values_are_counted),
        cmocka_unit_test(carries_survive_many_additions), cmocka_unit_test(hostile_state_is_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
