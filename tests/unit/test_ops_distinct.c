/* Operators against DuckDB (ops_harness.h): DISTINCT ON, and the first rows of a key. */
#include "data/key.h"
#include "ops_harness.h"

/* ---- DISTINCT_ON */

static void distinct_on(void **state) {
    (void)state;
    static uint16_t keys[2] = {C_KEY, C_NAME};
    static struct leat_order orders[COLUMN_COUNT + 1];
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT DISTINCT ON (c0, c1) COLUMNS('^c') FROM leat_input('left') ORDER BY c0, c1");
    orders[0] = (struct leat_order){.column = C_TIME, .descending = true, .nulls_first = true};
    leat_put(&sql, ", c7 DESC NULLS FIRST");
    for (uint16_t i = 0; i < COLUMN_COUNT; i++) {
        orders[i + 1] = (struct leat_order){.column = i};
        leat_putf(&sql, ", c%d NULLS LAST", i);
    }
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct leat_op op = {.kind = LEAT_OP_DISTINCT_ON,
                             .by_place = seed >= 4,
                             .keys = keys,
                             .key_count = 2,
                             .orders = orders,
                             .order_count = COLUMN_COUNT + 1};
        struct generator g = make_generator(seed);
        struct rig r;
        g.variety = seed % 2 ? 2 : 50;
        g.hostile = seed % 4 == 3;
        g.keys = seed % 4 < 2 ? 5 : 40;
        for (size_t i = 0; i < COLUMN_COUNT; i++)
            add_input_field(&op, i);
        rig_init(&r, &op, 1);
        rig_run(&r, &g, sql.data, 60, false, "DISTINCT ON");
        assert_int_equal(r.fetched > 0, op.by_place);
        rig_deinit(&r);
    }
    leat_buffer_deinit(&sql);
}

/* A key that follows event time ends when the cut passes it: the result is the same, and what is kept does not grow with all there ever was. */
static void distinct_on_forgets(void **state) {
    (void)state;
    static uint16_t keys[2] = {C_KEY, C_TIME};
    static struct leat_order orders[COLUMN_COUNT];
    enum { STEPS = 24, ROWS = 249 };
    const int64_t minute = 60000000;
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT DISTINCT ON (c0, c7) COLUMNS('^c') FROM leat_input('left') ORDER BY c0, c7");
    for (uint16_t i = 0; i < COLUMN_COUNT; i++) {
        orders[i] = (struct leat_order){.column = i};
        leat_putf(&sql, ", c%d NULLS LAST", i);
    }
    for (int by_place = 0; by_place < 2; by_place++) {
        struct leat_time_column time = {.column = C_TIME, .span_us = 1};
        struct leat_op op = {.kind = LEAT_OP_DISTINCT_ON, .by_place = by_place, .evict = true, .times = &time, .time_count = 1,
                             .keys = keys, .key_count = 2, .orders = orders, .order_count = COLUMN_COUNT};
        struct generator g = make_generator(30 + (uint64_t)by_place);
        struct leat_schema schemas[4] = {0};
        struct rig r;
        uint64_t most = 0;
        g.keys = 100000;
        g.null_percent = 0;
        for (size_t i = 0; i < COLUMN_COUNT; i++) add_input_field(&op, i);
        rig_init(&r, &op, 1);
        for (int step = 0; step < STEPS; step++) {
            leat_changes_reset(&r.step[0]);
            for (int i = 0; i < ROWS + (step == 0); i++) { /* never a multiple of 3: the rig gives no old records again */
                uint32_t again = (uint32_t)below(&g, r.all[0].row_count + 1);
                int64_t *old = r.all[0].columns[C_TIME].data;
                random_row(&g, &r.step[0]);
                size_t row = r.step[0].row_count - 1;
                ((int64_t *)r.step[0].columns[C_TIME].data)[row] = (step - (int64_t)below(&g, 5)) * minute + (int64_t)below(&g, 60) * 1000000;
                if (!below(&g, 100)) leat_set_null(&r.step[0], C_TIME, row); /* never ends */
                if (below(&g, 3) || again >= r.all[0].row_count || leat_is_null(&r.all[0].columns[C_TIME], again) || old[again] < r.cut_us) continue;
                leat_changes_truncate(&r.step[0], row); /* delivered again, as it was or with another text */
                leat_changes_append(&r.step[0], &r.all[0], &again, 1, 1);
                if (below(&g, 2)) ((int32_t *)r.step[0].columns[C_INT].data)[row] = (int32_t)below(&g, 9);
            }
            leat_changes_append(&r.all[0], &r.step[0], NULL, r.step[0].row_count, 1);
            rig_step(&r);
            if (step % 8 == 7) rig_compare(&r, sql.data, "DISTINCT ON whose keys end");
            r.cut_us = (step - 4) * minute; /* of the next step */
            if (step % 3 == 1) rig_save(&r, step % 2, schemas);
            if (step % 9 == 4) rig_reload(&r);
            struct leat_node_stats stats;
            leat_node_stats(r.node, &stats);
            if (stats.state_keys > most) most = stats.state_keys;
        }
        assert_true(r.all[0].row_count > 2 * most);
        assert_int_equal(r.fetched > 0, by_place);
        rig_drop_saved(&r);
        for (int i = 0; i < 4; i++) leat_schema_deinit(&schemas[i]);
        op.times = NULL;
        rig_deinit(&r);
    }
    leat_buffer_deinit(&sql);
}

/* A source that was read to its end: all keys have ended, those of a column that is ahead of event time too. */
static void distinct_on_ends(void **state) {
    (void)state;
    static uint16_t keys[2] = {C_KEY, C_TIME};
    static struct leat_order orders[COLUMN_COUNT];
    struct leat_time_column time = {.column = C_TIME, .span_us = -3600000000};
    struct leat_op op = {.kind = LEAT_OP_DISTINCT_ON, .evict = true, .times = &time, .time_count = 1, .keys = keys, .key_count = 2,
                         .orders = orders, .order_count = COLUMN_COUNT};
    struct generator g = make_generator(33);
    struct leat_schema schemas[4] = {0};
    struct leat_node_stats stats;
    struct rig r;
    for (uint16_t i = 0; i < COLUMN_COUNT; i++) orders[i] = (struct leat_order){.column = i};
    for (size_t i = 0; i < COLUMN_COUNT; i++) add_input_field(&op, i);
    g.null_percent = 0;
    rig_init(&r, &op, 1);
    r.cut_us = INT64_MAX - 1;
    for (int i = 0; i < 400; i++) random_row(&g, &r.step[0]);
    rig_step(&r);
    leat_node_stats(r.node, &stats);
    assert_true(stats.state_keys >= 64);
    rig_save(&r, false, schemas);
    leat_node_stats(r.node, &stats);
    assert_int_equal(stats.state_keys, 0);
    rig_drop_saved(&r);
    for (int i = 0; i < 4; i++) leat_schema_deinit(&schemas[i]);
    op.times = NULL;
    rig_deinit(&r);
}

/* ---- TOP_N */

/* Random rows come and go; the places are asked of DuckDB over all of them. */
static void top_n(void **state) {
    (void)state;
    static const struct { uint16_t key; size_t key_count; int64_t skip, take; bool ranked, retract; } cases[] = {
        {C_KEY, 1, 0, 3, false, true}, {C_KEY, 1, 1, 4, true, true},    {C_NAME, 1, 0, 1, false, true},
        {C_KEY, 0, 0, 10, true, true}, {C_KEY, 0, 5, 20, false, true},  {C_DOUBLE, 1, 0, 2, true, true},
        {C_KEY, 1, 1, 3, true, false}, {C_KEY, 0, 0, 5, false, false},
    };
    static struct leat_order orders[COLUMN_COUNT + 2];
    struct leat_buffer by = {0};
    orders[0] = (struct leat_order){.column = C_FLOAT, .descending = true, .nulls_first = true};
    orders[1] = (struct leat_order){.column = C_TEXT, .descending = true};
    leat_putf(&by, "c%d DESC NULLS FIRST, c%d DESC NULLS LAST", C_FLOAT, C_TEXT);
    for (uint16_t i = 0; i < COLUMN_COUNT; i++) {
        orders[i + 2] = (struct leat_order){.column = i};
        leat_putf(&by, ", c%d NULLS LAST", i);
    }
    for (uint64_t seed = 0; seed < 2 * sizeof cases / sizeof *cases; seed++) {
        uint16_t keys[1] = {cases[seed / 2].key};
        struct leat_op op = {.kind = LEAT_OP_TOP_N, .keys = keys, .orders = orders, .order_count = COLUMN_COUNT + 2};
        struct generator g = make_generator(seed);
        struct leat_buffer sql = {0};
        struct rig r;
        op.key_count = cases[seed / 2].key_count;
        op.skip = cases[seed / 2].skip, op.take = cases[seed / 2].take;
        op.ranked = cases[seed / 2].ranked, op.forgets = !cases[seed / 2].retract;
        g.variety = seed % 2 ? 2 : 60;
        g.keys = seed % 3 ? 4 : 30;
        for (size_t i = 0; i < COLUMN_COUNT; i++)
            add_input_field(&op, i);
        if (op.ranked) add_field(&op, "place", BIGINT);
        leat_putf(&sql, "SELECT COLUMNS('^c')%s FROM (SELECT *, row_number() OVER (", op.ranked ? ", n" : "");
        if (op.key_count) leat_putf(&sql, "PARTITION BY c%u ", keys[0]);
        leat_putf(&sql, "ORDER BY %s) AS n FROM leat_input('left')) WHERE n > %lld AND n <= %lld", by.data,
                  (long long)op.skip, (long long)(op.skip + op.take));
        rig_init(&r, &op, 1);
        rig_run(&r, &g, sql.data, 60, cases[seed / 2].retract, "TOP_N");
        rig_deinit(&r);
        leat_buffer_deinit(&sql);
    }
    leat_buffer_deinit(&by);
}

/* ---- DISTINCT_ON by place: (key, big) with the smallest big first; one key a row of `keys`, its place counted up. */

static void placed_op(struct leat_op *op, bool by_place) {
    static uint16_t key[] = {C_KEY};
    static struct leat_order order[] = {{.column = C_BIG}};
    *op = (struct leat_op){.kind = LEAT_OP_DISTINCT_ON,
                           .by_place = by_place,
                           .keys = key,
                           .key_count = 1,
                           .orders = order,
                           .order_count = 1};
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        add_input_field(op, i);
}

enum { ANY_NUMBER = 1 << 30 };
/* A step with one row a pair (key, big); checks the sum of weight * big in the output. */
static void placed_step(struct rig *r, const int (*pairs)[2], size_t n, size_t rows_out, int64_t sum_out,
                        uint64_t fetched) {
    leat_changes_reset(&r->step[0]);
    leat_changes_reserve(&r->step[0], n);
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < COLUMN_COUNT; c++)
            leat_set_null(&r->step[0], c, i);
        r->step[0].columns[C_KEY].valid[i >> 6] |= 1ull << (i & 63);
        r->step[0].columns[C_BIG].valid[i >> 6] |= 1ull << (i & 63);
        ((int32_t *)r->step[0].columns[C_KEY].data)[i] = pairs[i][0];
        ((int64_t *)r->step[0].columns[C_BIG].data)[i] = pairs[i][1];
    }
    r->step[0].row_count = n;
    rig_step(r);
    int64_t sum = 0;
    if (fetched != ANY_NUMBER) assert_int_equal(r->fetched, fetched);
    for (size_t i = 0; i < r->out.row_count; i++)
        sum += leat_weight(&r->out, i) * ((const int64_t *)r->out.columns[C_BIG].data)[i];
    assert_int_equal(r->out.row_count, rows_out);
    assert_int_equal(sum, sum_out);
}
#define PLACED(rows_out, sum_out, fetched, ...)                                                                        \
    placed_step(&r, (const int[][2]){__VA_ARGS__}, sizeof((const int[][2]){__VA_ARGS__}) / sizeof(int[2]), rows_out,   \
                sum_out, fetched)

static void conflicts_fetch_each_key_once(void **state) {
    (void)state;
    struct leat_op op;
    struct rig r;
    struct leat_schema schemas[4] = {0};
    placed_op(&op, true);
    rig_init(&r, &op, 1);
    PLACED(3, 5 + 6 + 7, 0, {1, 5}, {2, 6}, {3, 7}, {1, 5}, {1, 9}); /* within a step nothing is fetched */
    PLACED(0, 0, 0, {1, 5}, {2, 6});                                 /* delivered again */
    PLACED(2, -1, 1, {1, 8}, {1, 4}, {1, 6});                        /* three challengers, one fetch */
    PLACED(0, 0, 1, {1, 5});                                         /* from now on its row is kept */
    PLACED(2, -1, 1, {1, 3});
    rig_save(&r, true, schemas);
    PLACED(0, 0, 2, {2, 8}); /* the winner stays, and is kept */
    rig_save(&r, false, schemas);
    rig_reload(&r);
    PLACED(0, 0, 2, {1, 3}, {3, 7});
    PLACED(2, -1, 2, {1, 2}); /* kept rows are in the checkpoint */
    PLACED(4, -2, 4, {3, 6}, {2, 5});
    PLACED(2, -1, 4, {2, 4});
    rig_save(&r, false, schemas);
    rig_reload(&r);
    PLACED(6, -3, 4, {1, 1}, {2, 3}, {3, 5});
    PLACED(1, 1, 4, {4, 1});
    rig_drop_saved(&r);
    for (int i = 0; i < 4; i++)
        leat_schema_deinit(&schemas[i]);
    rig_deinit(&r);
}

/* Where different rows of a key are common, rows of new keys are kept and nothing is fetched any more. */
static void common_conflicts_keep_rows(void **state) {
    (void)state;
    struct leat_op op;
    struct rig r;
    placed_op(&op, true);
    rig_init(&r, &op, 1);
    uint64_t fetched = 0;
    for (int key = 0; key < 900; key++) {
        PLACED(1, 10, ANY_NUMBER, {key, 10});
        PLACED(2, -1, ANY_NUMBER, {key, 9});
        if (key == 600) fetched = r.fetched;
    }
    assert_in_range(fetched, 256, 300);
    assert_in_range(r.fetched, fetched, fetched + 5);
    rig_deinit(&r);
}

static enum leat_status fetch_another(void *context, const leat_i128 *places, size_t n, struct leat_changes *out,
                                      struct leat_error *err) {
    enum leat_status status = rig_fetch(context, places, n, out, err);
    ((int64_t *)out->columns[C_BIG].data)[0]++;
    return status;
}

/* A record that gives another row than it did must not go unnoticed. */
static void fetched_rows_are_checked(void **state) {
    (void)state;
    struct leat_op op;
    struct rig r;
    placed_op(&op, true);
    rig_init(&r, &op, 1);
    PLACED(1, 5, 0, {1, 5});
    const struct leat_changes *inputs[2] = {&r.batch, NULL};
    struct leat_error error = {0};
    ((int64_t *)r.batch.columns[C_BIG].data)[0] = 4;
    struct leat_step_context context = {.cut_us = INT64_MIN, .fetch = fetch_another, .fetch_context = &r};
    assert_int_equal(leat_node_step(r.node, &context, inputs, &r.out, &error), LEAT_CORRUPT);
    assert_non_null(strstr(error.text, "offset 0 of partition 0"));
    rig_deinit(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distinct_on),
        cmocka_unit_test(distinct_on_forgets),
        cmocka_unit_test(distinct_on_ends),
        cmocka_unit_test(conflicts_fetch_each_key_once),
        cmocka_unit_test(common_conflicts_keep_rows),
        cmocka_unit_test(fetched_rows_are_checked),
        cmocka_unit_test(top_n),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
