/* The keyed hash table, the heap and encoded rows against simple models. */
#include "scratch.h"
#include "state/heap.h"
#include "state/keyed.h"
#include "state/row.h"

static struct leat_hash128 key_of(uint64_t n, bool colliding) {
    /* Colliding: few different tags, so that clusters grow long and tags lie. */
    uint64_t mixed = n * 0x9E3779B97F4A7C15ull;
    return (struct leat_hash128){.low = colliding ? (n % 3) << 62 | 0xabc : mixed, .high = n};
}

/* Random upserts, finds and removals; the model says which entry every key has. */
static void table_against_model(void **state) {
    (void)state;
    enum { KEYS = 3000 };
    for (int colliding = 0; colliding < 2; colliding++) {
        struct leat_keyed t;
        struct leat_random random;
        uint32_t *model = malloc(KEYS * sizeof *model);
        size_t keys = colliding ? 300 : KEYS, live = 0;
        leat_random_seed(&random, 5);
        leat_keyed_init(&t, 20);
        memset(model, 0xff, KEYS * sizeof *model);
        for (int round = 0; round < 400; round++) {
            struct leat_hash128 batch[600];
            uint64_t numbers[600];
            uint32_t found[600];
            size_t n = (size_t)leat_random_below(&random, 600);
            for (size_t i = 0; i < n; i++) {
                numbers[i] = leat_random_below(&random, keys);
                batch[i] = key_of(numbers[i], colliding);
            }
            uint64_t what = leat_random_below(&random, 3);
            if (what == 0)
                leat_keyed_upsert(&t, batch, n, found);
            else
                leat_keyed_find(&t, batch, n, found);
            for (size_t i = 0; i < n; i++) {
                if (what == 0 && model[numbers[i]] == LEAT_NO_ENTRY) {
                    struct leat_entry *e = leat_keyed_at(&t, found[i]);
                    assert_true(e->flags & LEAT_ENTRY_NEW);
                    for (size_t b = 0; b < 20; b++)
                        assert_int_equal(((char *)leat_entry_payload(e))[b], 0);
                    memset(leat_entry_payload(e), 7, 20);
                    e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
                    leat_keyed_mark_dirty(&t, e, found[i]);
                    model[numbers[i]] = found[i];
                    live++;
                }
                assert_int_equal(found[i], model[numbers[i]]);
            }
            for (size_t i = 0; what == 2 && i < n; i++) {
                if (model[numbers[i]] == LEAT_NO_ENTRY) continue;
                leat_keyed_remove(&t, model[numbers[i]]);
                model[numbers[i]] = LEAT_NO_ENTRY;
                live--;
            }
            assert_int_equal(t.count, live);
            uint64_t cursor = 0;
            uint32_t index;
            size_t walked = 0;
            while (leat_keyed_next(&t, false, &cursor, &index))
                walked++;
            assert_int_equal(walked, live);
            if (round % 50 == 49) leat_keyed_clean(&t);
        }
        free(model);
        leat_keyed_deinit(&t);
    }
}

/* Growing in place, far past the size where slots are reserved, and with clusters: at the start, the end (they wrap)
 * and the middle. Every key is found after every growth. */
static void growing_keeps_every_key(void **state) {
    (void)state;
    enum { KEYS = 400000, BATCH = 1000 };
    for (int shape = 0; shape < 4; shape++) {
        struct leat_keyed t;
        static struct leat_hash128 keys[KEYS];
        static uint32_t entries[KEYS], found[KEYS];
        leat_keyed_init(&t, 8);
        for (uint64_t i = 0; i < KEYS; i++) {
            keys[i] = key_of(i, false);
            if (shape && i < 4000)
                keys[i].low = (shape == 1 ? 0 : shape == 2 ? UINT64_MAX : 0x7654321000000000ull) - i % 3;
        }
        for (size_t i = 0; i < KEYS; i += BATCH) {
            unsigned bits = t.slot_bits;
            leat_keyed_upsert(&t, keys + i, BATCH, entries + i);
            if (t.slot_bits == bits && i + BATCH < KEYS) continue;
            leat_keyed_find(&t, keys, i + BATCH, found);
            assert_memory_equal(found, entries, (i + BATCH) * sizeof *found);
        }
        assert_int_equal(t.count, KEYS);
        assert_true(t.slot_room_bytes > 0);
        leat_keyed_deinit(&t);
    }
}

static void dirty_entries(void **state) {
    (void)state;
    struct leat_keyed t;
    struct leat_hash128 keys[10];
    uint32_t entries[10], index;
    uint64_t cursor = 0;
    leat_keyed_init(&t, 8);
    for (uint64_t i = 0; i < 10; i++)
        keys[i] = key_of(i, false);
    leat_keyed_upsert(&t, keys, 10, entries);
    for (int i = 0; i < 10; i += 2)
        for (int twice = 0; twice < 2; twice++)
            leat_keyed_mark_dirty(&t, leat_keyed_at(&t, entries[i]), entries[i]);
    leat_keyed_remove(&t, entries[4]);
    size_t n = 0;
    while (leat_keyed_next(&t, true, &cursor, &index))
        n++;
    assert_int_equal(n, 4);
    leat_keyed_clean(&t);
    cursor = 0;
    assert_false(leat_keyed_next(&t, true, &cursor, &index));
    assert_true(leat_keyed_at(&t, entries[0])->flags & LEAT_ENTRY_SAVED);
    leat_keyed_deinit(&t);
}

/* Blocks keep their content, and memory stays bounded by what was live at once. */
static void heap_reuses(void **state) {
    (void)state;
    enum { BLOCKS = 2000 };
    struct leat_heap h = {0};
    struct leat_random random;
    struct {
        unsigned char *at;
        size_t size;
    } blocks[BLOCKS] = {0};
    uint64_t settled = 0;
    leat_random_seed(&random, 6);
    for (int round = 0; round < 200000; round++) {
        size_t i = (size_t)leat_random_below(&random, BLOCKS);
        if (blocks[i].at) {
            for (size_t b = 0; b < blocks[i].size; b++)
                if (blocks[i].at[b] != (unsigned char)i) fail_msg("block %zu was overwritten", i);
            leat_heap_free(&h, blocks[i].at, blocks[i].size);
            blocks[i].at = NULL;
        } else {
            blocks[i].size = (size_t)leat_random_below(&random, leat_random_below(&random, 20) ? 100 : 3000);
            blocks[i].at = leat_heap_alloc(&h, blocks[i].size);
            memset(blocks[i].at, (int)(unsigned char)i, blocks[i].size);
        }
        if (round == 100000) settled = h.reserved_bytes;
    }
    assert_true(h.reserved_bytes < settled + settled / 2);
    leat_heap_deinit(&h);
}

static void rows_round_trip(void **state) {
    (void)state;
    struct leat_schema schema = {0};
    static const struct leat_type types[] = {{.kind = LEAT_VARCHAR},  {.kind = LEAT_INTEGER}, {.kind = LEAT_HUGEINT},
                                             {.kind = LEAT_BLOB},     {.kind = LEAT_BOOLEAN}, {.kind = LEAT_DOUBLE},
                                             {.kind = LEAT_SMALLINT}, {.kind = LEAT_VARCHAR}, {.kind = LEAT_INTERVAL}};
    const size_t columns = sizeof types / sizeof *types;
    struct leat_row_codec codec;
    struct leat_changes in, out;
    struct leat_random random;
    const uint8_t *rows[500];
    leat_random_seed(&random, 7);
    for (size_t i = 0; i < columns; i++)
        leat_schema_add(&schema, "c", types[i], false);
    leat_changes_init(&in, &schema);
    leat_changes_init(&out, &schema);
    leat_changes_reserve(&in, 500);
    for (size_t r = 0; r < 500; r++) {
        for (size_t i = 0; i < columns; i++) {
            size_t size = leat_type_size(types[i]);
            if (leat_type_is_string(types[i])) {
                char text[64];
                size_t n = (size_t)leat_random_below(&random, 40);
                memset(text, 'a' + (int)leat_random_below(&random, 26), sizeof text);
                ((struct leat_string *)in.columns[i].data)[r] =
                    leat_string_of(leat_arena_copy(&in.strings, text, n), (uint32_t)n);
            } else {
                uint64_t v[2] = {leat_random_next(&random), leat_random_next(&random)};
                memcpy((char *)in.columns[i].data + r * size, v, size);
            }
            if (leat_random_below(&random, 5) == 0) leat_set_null(&in, i, r);
        }
        in.row_count = r + 1;
    }
    leat_row_codec_init(&codec, &schema, NULL, columns);
    struct leat_row_block block = {0};
    leat_row_encode(&codec, &in, NULL, 0, 500, &block);
    for (size_t r = 0; r < 500; r++) {
        rows[r] = block.bytes + block.starts[r];
        assert_int_equal(leat_row_stored_size(&codec, rows[r]), block.starts[r + 1] - block.starts[r]);
    }
    leat_changes_reserve(&out, 500);
    leat_row_read(&codec, rows, 500, &out, 0, 0);
    out.row_count = 500;
    leat_changes_append(&out, &in, NULL, 500, -1);
    leat_changes_consolidate(&out);
    assert_int_equal(out.row_count, 0);
    leat_row_block_deinit(&block);
    leat_row_codec_deinit(&codec);
    leat_changes_deinit(&in);
    leat_changes_deinit(&out);
    leat_schema_deinit(&schema);
}

static void validity_from_anywhere(void **state) {
    (void)state;
    enum { ROWS = 1000 };
    uint64_t words[(ROWS + 63) / 64];
    struct leat_column column = {.valid = words};
    struct leat_random random;
    leat_random_seed(&random, 11);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        words[i] = leat_random_next(&random);
    for (int round = 0; round < 2000; round++) {
        struct leat_arena arena = {0};
        size_t from = (size_t)leat_random_below(&random, ROWS), n = (size_t)leat_random_below(&random, ROWS - from + 1);
        const uint64_t *valid = leat_valid_from(&arena, &column, from, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(valid[i / 64] >> (i % 64) & 1, words[(from + i) / 64] >> ((from + i) % 64) & 1);
        leat_arena_deinit(&arena);
    }
    column.valid = NULL;
    assert_null(leat_valid_from(&(struct leat_arena){0}, &column, 3, 5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_against_model), cmocka_unit_test(growing_keeps_every_key),
        cmocka_unit_test(dirty_entries),       cmocka_unit_test(heap_reuses),
        cmocka_unit_test(rows_round_trip),
        cmocka_unit_test(validity_from_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
