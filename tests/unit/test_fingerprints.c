/* Fingerprints against the order in which their keys came. */
#include "scratch.h"
#include "state/fingerprints.h"

/* Past the size where the index is reserved and grows in place: 315,000. */
enum { KEYS = 330000, FEWER_KEYS = 60000, BATCH = 700 };

static uint64_t mixed(uint64_t n) {
    n = (n ^ n >> 30) * 0xBF58476D1CE4E5B9ull;
    n = (n ^ n >> 27) * 0x94D049BB133111EBull;
    return n ^ n >> 31;
}

/* Even; or with a crowd whose home is the first line, the last (it runs over into the first), or one between; or with
 * few different tags. */
static struct leat_hash128 key_of(uint64_t n, int shape) {
    struct leat_hash128 key = {.low = mixed(n + 1), .high = n};
    if (shape == 4) key.low &= ~0x3fffffffffull << 20;
    if (n % 150 || shape == 0 || shape == 4) return key;
    static const uint64_t crowds[] = {0, 0, UINT64_MAX, 0x5555555555555555ull};
    key.low = crowds[shape] ^ (key.low >> 40);
    return key;
}

static void find_all(struct leat_fingerprints *t, const struct leat_hash128 *keys, uint32_t count) {
    uint32_t found[BATCH], wrong = 0;
    for (uint32_t from = 0; from < count; from += BATCH) {
        uint32_t n = count - from < BATCH ? count - from : BATCH;
        leat_fingerprints_upsert(t, keys + from, n, found);
        for (uint32_t i = 0; i < n; i++)
            wrong += found[i] != from + i || leat_fingerprint_at(t, found[i])->content != from + i;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(t->count, count);
}

/* Every key is found, with what was written to it, after every growth. */
static void growing_keeps_every_key(void **state) {
    (void)state;
    for (int shape = 0; shape < 5; shape++) {
        struct leat_fingerprints t;
        struct leat_hash128 *keys = malloc(KEYS * sizeof *keys);
        uint32_t found[BATCH], count = shape == 0 || shape == 2 ? KEYS : FEWER_KEYS;
        leat_fingerprints_init(&t);
        for (uint32_t i = 0; i < count; i++)
            keys[i] = key_of(i, shape);
        for (uint32_t from = 0; from < count; from += BATCH) {
            uint32_t n = count - from < BATCH ? count - from : BATCH;
            unsigned bits = t.line_bits;
            leat_fingerprints_upsert(&t, keys + from, n, found);
            for (uint32_t i = 0; i < n; i++) {
                assert_true(found[i] == from + i);
                leat_fingerprint_at(&t, found[i])->content = from + i;
            }
            if (t.line_bits != bits) find_all(&t, keys, from + n);
        }
        find_all(&t, keys, count);
        assert_true(leat_fingerprints_bytes(&t) / t.count < 32 + 16);
        leat_fingerprints_deinit(&t);
        free(keys);
    }
}

/* Keys that come again, also within a batch; a table that was given its size, empty or not. */
static void equal_keys_are_one(void **state) {
    (void)state;
    enum { DIFFERENT = 5000, ROUNDS = 60 };
    for (int shape = 0; shape < 5; shape++) {
        struct leat_fingerprints t;
        struct leat_random random;
        static uint32_t model[DIFFERENT];
        uint32_t known = 0;
        memset(model, 0xff, sizeof model);
        leat_random_seed(&random, 3 + (uint64_t)shape);
        leat_fingerprints_init(&t);
        for (int round = 0; round < ROUNDS; round++) {
            struct leat_hash128 keys[BATCH];
            uint32_t numbers[BATCH], found[BATCH];
            for (size_t i = 0; i < BATCH; i++) {
                numbers[i] = (uint32_t)leat_random_below(&random, round < 5 ? 50 : DIFFERENT);
                keys[i] = key_of(numbers[i], shape);
            }
            if (round == 2 && shape % 2) leat_fingerprints_reserve(&t, 2000);
            if (round == 0 && shape % 2 == 0) leat_fingerprints_reserve(&t, 1000);
            leat_fingerprints_upsert(&t, keys, BATCH, found);
            for (size_t i = 0; i < BATCH; i++) {
                if (model[numbers[i]] == UINT32_MAX) model[numbers[i]] = known++;
                assert_int_equal(found[i], model[numbers[i]]);
                assert_int_equal(leat_fingerprint_at(&t, found[i])->key.high, numbers[i]);
            }
            assert_int_equal(t.count, known);
        }
        leat_fingerprints_deinit(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(growing_keeps_every_key),
        cmocka_unit_test(equal_keys_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
