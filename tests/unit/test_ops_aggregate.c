/* Operators against DuckDB (ops_harness.h): aggregates, and windows that become final. */
#include "data/key.h"
#include "ops_harness.h"

/* ---- AGGREGATE */

struct aggs {
    struct leat_op op;
    struct leat_agg list[20];
    uint16_t keys[4];
    struct leat_buffer sql;
};

static void start_aggs(struct aggs *a, const uint16_t *keys, size_t key_count) {
    *a =
        (struct aggs){.op = {.kind = LEAT_OP_AGGREGATE, .key_count = key_count, .close_key = -1, .global = !key_count}};
    a->op.keys = a->keys;
    a->op.aggs = a->list;
    leat_put(&a->sql, "SELECT ");
    for (size_t i = 0; i < key_count; i++) {
        a->keys[i] = keys[i];
        add_input_field(&a->op, keys[i]);
        leat_putf(&a->sql, "c%d, ", keys[i]);
    }
}
static void add_agg(struct aggs *a, enum leat_agg_kind kind, int argument, int by, int filter, struct leat_type result,
                    const char *sql) {
    char name[16];
    snprintf(name, sizeof name, "a%zu", a->op.agg_count);
    a->list[a->op.agg_count++] =
        (struct leat_agg){.kind = kind, .argument = argument, .by = by, .filter = filter, .result = result};
    add_field(&a->op, name, result);
    leat_putf(&a->sql, "%s%s", a->op.agg_count > 1 ? ", " : "", sql);
    if (filter >= 0) leat_putf(&a->sql, " FILTER (WHERE c%d)", filter);
}
static void end_aggs(struct aggs *a) {
    leat_put(&a->sql, " FROM leat_input('left')");
    if (!a->op.global) leat_put(&a->sql, " GROUP BY ALL");
}
static void run_aggs(struct aggs *a, struct generator *g, int steps, bool retract, const char *what) {
    struct rig r;
    end_aggs(a);
    rig_init(&r, &a->op, 1);
    rig_run(&r, g, a->sql.data, steps, retract, what);
    rig_deinit(&r);
    leat_buffer_deinit(&a->sql);
}

static void add_retractable(struct aggs *a) {
    add_agg(a, LEAT_AGG_COUNT_STAR, -1, -1, -1, BIGINT, "count(*)");
    add_agg(a, LEAT_AGG_COUNT_STAR, -1, -1, C_FLAG, BIGINT, "count(*)");
    add_agg(a, LEAT_AGG_COUNT, C_TEXT, -1, -1, BIGINT, "count(c5)");
    add_agg(a, LEAT_AGG_SUM, C_BIG, -1, C_FLAG, HUGEINT, "sum(c2)");
    add_agg(a, LEAT_AGG_SUM, C_MONEY, -1, -1, (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = 2},
            "sum(c4)");
    add_agg(a, LEAT_AGG_AVG, C_MONEY, -1, -1, DOUBLE, "avg(c4)");
    add_agg(a, LEAT_AGG_AVG, C_BIG, -1, -1, DOUBLE, "avg(c2)");
    add_agg(a, LEAT_AGG_COUNT_DISTINCT, C_TEXT, -1, -1, BIGINT, "count(DISTINCT c5)");
    add_agg(a, LEAT_AGG_COUNT_DISTINCT, C_BIG, -1, C_FLAG, BIGINT, "count(DISTINCT c2)");
    add_agg(a, LEAT_AGG_BOOL_AND, C_FLAG, -1, -1, BOOLEAN, "bool_and(c6)");
    add_agg(a, LEAT_AGG_BOOL_OR, C_FLAG, -1, -1, BOOLEAN, "bool_or(c6)");
    add_agg(a, LEAT_AGG_SUM, C_DOUBLE, -1, -1, DOUBLE, "leat_sum(c3)");
    add_agg(a, LEAT_AGG_AVG, C_FLOAT, -1, C_FLAG, DOUBLE, "leat_avg(c11)");
}

static void aggregate_retracts(void **state) {
    (void)state;
    static const uint16_t keys[][3] = {{C_KEY}, {C_NAME, C_KEY}, {C_DOUBLE}, {C_INTERVAL, C_DATE, C_BLOB}, {0}};
    static const size_t counts[] = {1, 2, 1, 3, 0};
    for (size_t i = 0; i < 5; i++) {
        struct aggs a;
        struct generator g = make_generator(100 + i);
        g.hostile = i % 2 == 0; /* NaN, infinities, sums beyond 64 bits */
        start_aggs(&a, keys[i], counts[i]);
        add_retractable(&a);
        run_aggs(&a, &g, 40, true, "aggregates with retraction");
    }
}

/* Whole chunks whose rows fall into few groups (some keys not in place, some equal but of other bytes), and into many. */
static void aggregate_of_groups_met_again(void **state) {
    (void)state;
    enum { ROWS = 2500, STEPS = 3 };
    static const uint16_t keys[][3] = {{C_FLAG, C_KEY},    {C_DOUBLE, C_FLAG}, {C_TIME, C_HUGE, C_TINY},
                                       {C_NAME, C_KEY},    {C_TEXT},           {C_FLOAT, C_SMALL},
                                       {C_UUID, C_BLOB, C_HUGE}};
    static const size_t counts[] = {2, 2, 3, 2, 1, 2, 3};
    for (size_t i = 0; i < 7; i++) {
        struct generator g = make_generator(500 + i);
        struct aggs a;
        struct rig r;
        start_aggs(&a, keys[i], counts[i]);
        add_agg(&a, LEAT_AGG_COUNT_STAR, -1, -1, -1, BIGINT, "count(*)");
        add_agg(&a, LEAT_AGG_COUNT_DISTINCT, C_INT, -1, C_FLAG, BIGINT, "count(DISTINCT c10)");
        add_agg(&a, LEAT_AGG_MAX, C_TEXT, -1, -1, VARCHAR, "max(c5)");
        end_aggs(&a);
        rig_init(&r, &a.op, 1);
        for (int step = 0; step < STEPS; step++) {
            g.variety = step == 1 ? 5000 : i < 2 ? 3 : 2;
            leat_changes_reset(&r.step[0]);
            for (size_t row = 0; row < ROWS; row++)
                random_row(&g, &r.step[0]);
            leat_changes_append(&r.all[0], &r.step[0], NULL, ROWS, 1);
            rig_step(&r);
            rig_compare(&r, a.sql.data, "groups met again");
        }
        rig_deinit(&r);
        leat_buffer_deinit(&a.sql);
    }
}

static void aggregate_number_types(void **state) {
    (void)state;
    static const uint16_t key = C_KEY;
    struct generator g = make_generator(7);
    struct aggs a;
    start_aggs(&a, &key, 1);
    add_agg(&a, LEAT_AGG_SUM, C_INT, -1, -1, HUGEINT, "sum(c10)");
    add_agg(&a, LEAT_AGG_SUM, C_SMALL, -1, -1, HUGEINT, "sum(c12)");
    add_agg(&a, LEAT_AGG_SUM, C_TINY, -1, -1, HUGEINT, "sum(c18)");
    add_agg(&a, LEAT_AGG_SUM, C_HUGE, -1, -1, HUGEINT, "sum(c8)");
    add_agg(&a, LEAT_AGG_SUM, C_UBIG, -1, -1, HUGEINT, "sum(c15)");
    add_agg(&a, LEAT_AGG_AVG, C_INT, -1, -1, DOUBLE, "avg(c10)");
    add_agg(&a, LEAT_AGG_AVG, C_SMALL, -1, -1, DOUBLE, "avg(c12)");
    add_agg(&a, LEAT_AGG_AVG, C_HUGE, -1, -1, DOUBLE, "avg(c8)");
    add_agg(&a, LEAT_AGG_AVG, C_DECIMAL, -1, -1, DOUBLE, "avg(c9)");
    add_agg(&a, LEAT_AGG_SUM, C_DECIMAL, -1, -1, (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = 5},
            "sum(c9)");
    run_aggs(&a, &g, 60, true, "number types");
    start_aggs(&a, &key, 1);
    add_agg(&a, LEAT_AGG_AVG, C_TINY, -1, -1, DOUBLE, "avg(c18)");
    add_agg(&a, LEAT_AGG_AVG, C_DEC4, -1, -1, DOUBLE, "avg(c19)");
    add_agg(&a, LEAT_AGG_SUM, C_DEC4, -1, -1, (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = 1},
            "sum(c19)");
    add_agg(&a, LEAT_AGG_AVG, C_DEC9, -1, -1, DOUBLE, "avg(c20)");
    add_agg(&a, LEAT_AGG_SUM, C_DEC9, -1, C_FLAG, (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = 3},
            "sum(c20)");
    add_agg(&a, LEAT_AGG_SUM, C_UTINY, -1, -1, HUGEINT, "sum(c21)");
    add_agg(&a, LEAT_AGG_SUM, C_USMALL, -1, -1, HUGEINT, "sum(c22)");
    add_agg(&a, LEAT_AGG_SUM, C_UINT, -1, -1, HUGEINT, "sum(c23)");
    add_agg(&a, LEAT_AGG_AVG, C_UINT, -1, -1, DOUBLE, "avg(c23)");
    add_agg(&a, LEAT_AGG_AVG, C_UBIG, -1, -1, DOUBLE, "avg(c15)");
    add_agg(&a, LEAT_AGG_COUNT_DISTINCT, C_UHUGE, -1, -1, BIGINT, "count(DISTINCT c24)");
    add_agg(&a, LEAT_AGG_COUNT_DISTINCT, C_DOUBLE, -1, -1, BIGINT, "count(DISTINCT c3)");
    run_aggs(&a, &g, 60, true, "more number types");
}

static void aggregate_minmax(void **state) {
    (void)state;
    static const uint16_t keys[2] = {C_KEY, C_NAME};
    for (size_t count = 0; count < 3; count++) {
        struct generator g = make_generator(40 + count);
        g.hostile = count == 1;
        struct aggs a;
        start_aggs(&a, keys, count);
        add_agg(&a, LEAT_AGG_MIN, C_BIG, -1, -1, BIGINT, "min(c2)");
        add_agg(&a, LEAT_AGG_MAX, C_TEXT, -1, C_FLAG, VARCHAR, "max(c5)");
        add_agg(&a, LEAT_AGG_MIN, C_TEXT, -1, -1, VARCHAR, "min(c5)");
        add_agg(&a, LEAT_AGG_MAX, C_DOUBLE, -1, -1, DOUBLE, "max(c3)");
        add_agg(&a, LEAT_AGG_MIN, C_DOUBLE, -1, -1, DOUBLE, "min(c3)");
        add_agg(&a, LEAT_AGG_MAX, C_INT, -1, -1, INTEGER, "max(c10)");
        add_agg(&a, LEAT_AGG_MIN, C_INTERVAL, -1, -1, (struct leat_type){.kind = LEAT_INTERVAL}, "min(c14)");
        add_agg(&a, LEAT_AGG_MAX, C_UUID, -1, -1, (struct leat_type){.kind = LEAT_UUID}, "max(c16)");
        add_agg(&a, LEAT_AGG_MIN, C_DECIMAL, -1, -1, test_columns[C_DECIMAL].type, "min(c9)");
        add_agg(&a, LEAT_AGG_ARG_MAX, C_TEXT, C_TIME, -1, VARCHAR,
                "(list(c5 ORDER BY c7 DESC, c5) FILTER (WHERE c7 IS NOT NULL AND c5 IS NOT NULL))[1]");
        add_agg(&a, LEAT_AGG_ARG_MIN, C_BIG, C_TEXT, -1, BIGINT,
                "(list(c2 ORDER BY c5, c2) FILTER (WHERE c2 IS NOT NULL AND c5 IS NOT NULL))[1]");
        add_agg(&a, LEAT_AGG_ARG_MAX, C_DATE, C_DOUBLE, -1, (struct leat_type){.kind = LEAT_DATE},
                "(list(c13 ORDER BY c3 DESC, c13) FILTER (WHERE c13 IS NOT NULL AND c3 IS NOT NULL))[1]");
        add_agg(&a, LEAT_AGG_MAX, C_DEC4, -1, C_FLAG, test_columns[C_DEC4].type, "max(c19)");
        add_agg(&a, LEAT_AGG_MIN, C_UHUGE, -1, -1, test_columns[C_UHUGE].type, "min(c24)");
        add_agg(&a, LEAT_AGG_MAX, C_TZ, -1, -1, test_columns[C_TZ].type, "max(c25)");
        add_agg(&a, LEAT_AGG_MIN, C_BLOB, -1, -1, test_columns[C_BLOB].type, "min(c17)");
        run_aggs(&a, &g, 40, false, "minimum and maximum");
    }
}

/* Sums out of range: the row is absent while DuckDB would raise; the rest is there. `limit`: what is out of range, in units of 10^30. */
static void withholds(enum leat_agg_kind kind, struct leat_type result, int64_t limit) {
    static const uint16_t key = C_KEY;
    struct generator g = make_generator(77);
    struct aggs a;
    struct rig r;
    struct leat_schema schemas[4] = {0};
    uint64_t seen = 0;
    g.hostile = true;
    start_aggs(&a, &key, 1);
    add_agg(&a, LEAT_AGG_COUNT_STAR, -1, -1, -1, BIGINT, "count(*)");
    add_agg(&a, kind, C_DECIMAL, -1, -1, result, "");
    rig_init(&r, &a.op, 1);
    for (int step = 0; step < 80; step++) {
        random_step(&g, &r.all[0], below(&g, 6), true, &r.step[0]);
        rig_step(&r);
        /* The model: sums modulo nothing, by key. */
        leat_i128 sums[8] = {0}, high[8] = {0};
        int64_t rows[8] = {0};
        const leat_i128 unit = power_of_ten(30);
        for (size_t i = 0; i < r.all[0].row_count; i++) {
            int32_t weight = r.all[0].weights[i];
            size_t k =
                leat_is_null(&r.all[0].columns[C_KEY], i) ? 7 : (size_t)((int32_t *)r.all[0].columns[C_KEY].data)[i];
            leat_i128 v;
            memcpy(&v, (char *)r.all[0].columns[C_DECIMAL].data + i * 16, 16);
            rows[k] += weight;
            high[k] += v / unit * weight;
            sums[k] += v % unit * weight;
        }
        uint64_t withheld = 0, shown = 0;
        for (size_t k = 0; k < 8; k++) {
            leat_i128 top = high[k] + sums[k] / unit, rest = sums[k] % unit, bound = limit;
            bool fits = (top < bound || (top == bound && rest < 0)) && (top > -bound || (top == -bound && rest > 0));
            withheld += rows[k] > 0 && !fits;
            shown += rows[k] > 0 && fits;
        }
        assert_int_equal(leat_node_withheld(r.node), withheld);
        assert_int_equal(r.total.row_count, shown);
        seen += withheld;
        if (step % 7 == 3) {
            rig_save(&r, step % 2, schemas);
            rig_reload(&r);
            assert_int_equal(leat_node_withheld(r.node), withheld);
        }
    }
    assert_true(seen > 10);
    rig_drop_saved(&r);
    for (int i = 0; i < 4; i++)
        leat_schema_deinit(&schemas[i]);
    rig_deinit(&r);
    leat_buffer_deinit(&a.sql);
}

/* A sum must fit its 38 digits, an average only the 128 bits it is made of. */
static void aggregate_withholds(void **state) {
    (void)state;
    withholds(LEAT_AGG_SUM, (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = 5}, 100000000);
    withholds(LEAT_AGG_AVG, DOUBLE, 170141183);
}

/* ---- time: windows that become final */

/* Window starts are multiples of 10 s in C_TIME; every row is later than cut - 10 s. */
static void random_windows(struct generator *g, struct rig *r, size_t n, int64_t cut_s) {
    struct leat_changes *in = &r->step[0];
    leat_changes_reset(in);
    for (size_t i = 0; i < n; i++) {
        random_row(g, in);
        int64_t start = (cut_s / 10 + (int64_t)below(g, 4)) * 10;
        if (start + 10 <= cut_s) start += 10;
        ((int64_t *)in->columns[C_TIME].data)[i] = start * 1000000;
        if (in->columns[C_TIME].valid) in->columns[C_TIME].valid[i >> 6] |= 1ull << (i & 63);
    }
    leat_changes_append(&r->all[0], in, NULL, n, 1);
}

static void windows_evicted(void **state) {
    (void)state;
    static uint16_t keys[] = {C_TIME, C_NAME};
    static struct leat_agg aggs[] = {
        {.kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}},
        {.kind = LEAT_AGG_MAX, .argument = C_TEXT, .by = -1, .filter = -1, .result = {.kind = LEAT_VARCHAR}},
        {.kind = LEAT_AGG_COUNT_DISTINCT, .argument = C_INT, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}}};
    static struct leat_time_column times[] = {{.column = 0, .span_us = 10000000}};
    for (int close = 0; close < 2; close++) {
        struct leat_op op = {.kind = LEAT_OP_AGGREGATE,
                             .keys = keys,
                             .key_count = 2,
                             .aggs = aggs,
                             .agg_count = 3,
                             .close_key = close ? 0 : -1,
                             .evict = true,
                             .times = times,
                             .time_count = 1};
        struct generator g = make_generator(21);
        struct leat_schema schemas[4] = {0};
        struct leat_node_stats stats;
        struct rig r;
        int64_t cut_s = 1000;
        add_input_field(&op, C_TIME);
        add_input_field(&op, C_NAME);
        add_field(&op, "n", BIGINT);
        add_field(&op, "m", VARCHAR);
        add_field(&op, "d", BIGINT);
        rig_init(&r, &op, 1);
        for (int step = 0; step < 100; step++) {
            char sql[256];
            random_windows(&g, &r, (size_t)below(&g, 30), cut_s);
            r.cut_us = cut_s * 1000000;
            rig_step(&r);
            assert_false(leat_node_due(r.node, r.cut_us));
            snprintf(sql, sizeof sql,
                     "SELECT c7, c1, count(*), max(c5), count(DISTINCT c10) FROM leat_input('left') "
                     "GROUP BY c7, c1 HAVING %d = 0 OR epoch_us(c7) + 10000000 <= %lld",
                     close, (long long)r.cut_us);
            rig_compare(&r, sql, "windows");
            for (size_t i = 0; close && i < r.out.row_count; i++)
                assert_int_equal(leat_weight(&r.out, i), 1);
            if (step % 6 == 5) {
                rig_save(&r, step % 4 == 1, schemas);
                if (step % 3) rig_reload(&r);
            }
            leat_node_stats(r.node, &stats);
            assert_true(stats.state_keys <= 5 * 7); /* only open windows, of 7 names */
            int64_t next = cut_s + (int64_t)below(&g, 8);
            if (stats.state_keys) assert_true(leat_node_due(r.node, (cut_s + 60) * 1000000));
            cut_s = next;
        }
        rig_drop_saved(&r);
        for (int i = 0; i < 4; i++)
            leat_schema_deinit(&schemas[i]);
        rig_deinit(&r);
    }
}

/* A group goes when the first of its time columns is final; a NULL time never is; dates count from midnight. */
static void groups_with_two_times(void **state) {
    (void)state;
    static uint16_t keys[] = {C_DATE, C_TZ};
    static struct leat_agg agg = {
        .kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = {.kind = LEAT_BIGINT}};
    static struct leat_time_column times[] = {{.column = 0, .span_us = 86400000000},
                                              {.column = 1, .span_us = 1, .object = 1}};
    struct leat_op op = {.kind = LEAT_OP_AGGREGATE,
                         .keys = keys,
                         .key_count = 2,
                         .aggs = &agg,
                         .agg_count = 1,
                         .close_key = -1,
                         .evict = true,
                         .times = times,
                         .time_count = 2};
    struct generator g = make_generator(22);
    struct leat_node_stats stats;
    struct rig r;
    static const int64_t day_us = 86400000000;
    add_input_field(&op, C_DATE);
    add_input_field(&op, C_TZ);
    add_field(&op, "n", BIGINT);
    rig_init(&r, &op, 1);
    for (size_t i = 0; i < 4; i++) {
        random_row(&g, &r.step[0]);
        ((int32_t *)r.step[0].columns[C_DATE].data)[i] = (int32_t)(i < 2 ? 10 : 30);
        ((int64_t *)r.step[0].columns[C_TZ].data)[i] = (int64_t)(i % 2 ? 12 : 20) * day_us;
        for (size_t k = C_DATE; k <= C_TZ; k += C_TZ - C_DATE)
            if (r.step[0].columns[k].valid) r.step[0].columns[k].valid[0] |= 1ull << i;
    }
    leat_set_null(&r.step[0], C_DATE, 3); /* groups: (10, 20) (10, 12) (30, 20) (NULL, 12) */
    static const struct {
        int64_t cut_us;
        uint64_t left;
    } want[] = {{11 * day_us - 1, 4}, {11 * day_us, 2}, {12 * day_us, 2}, {12 * day_us + 1, 1}, {20 * day_us + 1, 0}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        r.cut_us = want[i].cut_us;
        leat_node_stats(r.node, &stats);
        if (i) assert_int_equal(leat_node_due(r.node, r.cut_us), stats.state_keys != want[i].left);
        rig_step(&r);
        leat_changes_reset(&r.step[0]);
        leat_node_stats(r.node, &stats);
        assert_int_equal(stats.state_keys, want[i].left);
    }
    assert_int_equal(r.total.row_count, 4);
    rig_deinit(&r);
}

static void global_row_at_once(void **state) {
    (void)state;
    struct aggs a;
    struct rig r;
    start_aggs(&a, NULL, 0);
    add_agg(&a, LEAT_AGG_COUNT_STAR, -1, -1, -1, BIGINT, "count(*)");
    rig_init(&r, &a.op, 1);
    assert_true(leat_node_due(r.node, INT64_MIN));
    rig_step(&r);
    assert_int_equal(r.out.row_count, 1);
    assert_int_equal(((int64_t *)r.out.columns[0].data)[0], 0);
    assert_false(leat_node_due(r.node, INT64_MIN));
    rig_step(&r);
    assert_int_equal(r.out.row_count, 0);
    rig_deinit(&r);
    leat_buffer_deinit(&a.sql);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aggregate_retracts),
        cmocka_unit_test(aggregate_of_groups_met_again),
        cmocka_unit_test(aggregate_number_types),
        cmocka_unit_test(aggregate_minmax),
        cmocka_unit_test(aggregate_withholds),
        cmocka_unit_test(windows_evicted),
        cmocka_unit_test(groups_with_two_times),
        cmocka_unit_test(global_row_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
