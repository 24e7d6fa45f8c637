/* Operators against DuckDB: after every step of a random run the sum of all output changes must equal the operator's
 * SQL over the sum of all input changes. */
#include "data/key.h"
#include "ops_harness.h"

static const struct leat_type BIGINT = {.kind = LEAT_BIGINT}, DOUBLE = {.kind = LEAT_DOUBLE},
                              HUGEINT = {.kind = LEAT_HUGEINT}, BOOLEAN = {.kind = LEAT_BOOLEAN},
                              VARCHAR = {.kind = LEAT_VARCHAR}, INTEGER = {.kind = LEAT_INTEGER};

static struct generator make_generator(uint64_t seed) {
    struct generator g = {.keys = 6, .variety = 12, .null_percent = 10};
    leat_random_seed(&g.random, seed);
    return g;
}

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

/* ---- joins */

static void joins(void **state) {
    (void)state;
    static uint16_t all_keys[3][2] = {{C_KEY}, {C_NAME, C_KEY}, {C_DOUBLE, C_INTERVAL}};
    static const char *const kinds[] = {"JOIN", "LEFT JOIN", "SEMI JOIN", "ANTI JOIN"};
    for (int kind = LEAT_JOIN_INNER; kind <= LEAT_JOIN_ANTI; kind++) {
        for (size_t which = 0; which < 3; which++) {
            uint16_t *keys = all_keys[which];
            size_t key_count = which ? 2 : 1;
            bool wide = kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_LEFT;
            struct leat_op op = {.kind = LEAT_OP_JOIN,
                                 .keys = keys,
                                 .right_keys = keys,
                                 .key_count = key_count,
                                 .join = (enum leat_join_kind)kind};
            struct generator g = make_generator((uint64_t)kind * 10 + which);
            struct rig r;
            struct leat_buffer sql = {0};
            g.keys = 9;
            g.hostile = which == 2; /* NaN equals NaN in a join */
            for (size_t side = 0; side < (wide ? 2 : 1); side++)
                for (size_t i = 0; i < COLUMN_COUNT; i++)
                    add_input_field(&op, i);
            leat_put(&sql, "SELECT ");
            for (size_t side = 0; side < (wide ? 2 : 1); side++)
                for (size_t i = 0; i < COLUMN_COUNT; i++)
                    leat_putf(&sql, "%s%s.c%zu", side || i ? ", " : "", side ? "r" : "l", i);
            leat_putf(&sql, " FROM leat_input('left') l %s leat_input('right') r ON l.c%d = r.c%d", kinds[kind],
                      keys[0], keys[0]);
            if (key_count > 1) leat_putf(&sql, " AND l.c%d = r.c%d", keys[1], keys[1]);
            rig_init(&r, &op, 2);
            rig_run(&r, &g, sql.data, 40, true, kinds[kind]);
            rig_deinit(&r);
            leat_buffer_deinit(&sql);
        }
    }
}

/* Rows at times around the step's, and some of before taken back; none is older than the cut. */
static void timed_step(struct generator *g, struct rig *r, int side, int step, int rows) {
    const int64_t minute = 60000000;
    struct leat_changes *all = &r->all[side], *in = &r->step[side];
    leat_changes_reset(in);
    leat_changes_need_weights(in);
    leat_changes_consolidate(all);
    for (int i = 0; i < rows; i++) {
        uint32_t pick = (uint32_t)below(g, all->row_count + 1);
        const struct leat_column *times = &all->columns[C_TIME];
        if (pick < all->row_count && !below(g, 6)) {
            bool open = leat_is_null(times, pick) || ((const int64_t *)times->data)[pick] >= r->cut_us;
            if (!open || leat_weight(all, pick) <= 0) continue;
            leat_changes_append(in, all, &pick, 1, -1);
            all->weights[pick] = 0;
            continue;
        }
        random_row(g, in);
        int64_t time = (step / 2 - 4) * minute + (int64_t)below(g, below(g, 3) ? 9 : 30) * 10000000;
        ((int64_t *)in->columns[C_TIME].data)[in->row_count - 1] = time;
        if (!below(g, 60)) leat_set_null(in, C_TIME, in->row_count - 1);
    }
    for (uint32_t i = 0; i < in->row_count; i++)
        if (in->weights[i] > 0) leat_changes_append(all, in, &i, 1, 1);
    leat_changes_consolidate(all);
}

/* A join whose rows are apart from -30 s to just under 90 s, and what DuckDB says of it. */
struct near_join { const char *join; int64_t keep_us[2]; bool wide, by_key; };
static const struct near_join near_joins[] = {
    {"JOIN", {90000000, 30000001}, true, false},       {"LEFT JOIN", {90000000, 120000000}, true, false},  {"FULL JOIN", {120000000, 120000000}, true, false},
    {"SEMI JOIN", {90000000, 120000000}, false, false}, {"ANTI JOIN", {90000000, 120000000}, false, false}, {"ANTI JOIN", {1, 1}, false, true},
};

static char *near_open(const struct near_join *j, struct leat_op *op, struct rig *r) {
    static uint16_t keys[2] = {C_KEY, C_TIME};
    static const char *const ons[] = {"l.c0 = r.c0 AND r.c7 >= l.c7 - INTERVAL 30 SECOND AND r.c7 < l.c7 + INTERVAL 90 SECOND", "l.c0 = r.c0 AND l.c7 = r.c7"};
    bool judges = strcmp(j->join, "JOIN") == 0;
    struct leat_buffer select = {0};
    *op = (struct leat_op){.kind = judges || j->by_key ? LEAT_OP_JOIN : LEAT_OP_RECOMPUTE, .keys = keys, .right_keys = keys, .key_count = j->by_key ? 2 : 1,
                           .join = judges ? LEAT_JOIN_INNER : LEAT_JOIN_ANTI, .judges_apart = judges, .by_row = strcmp(j->join, "FULL JOIN") != 0,
                           .apart = {.known = true, .columns = {C_TIME, C_TIME}, .low_us = -30000000, .high_us = 89999999,
                                     .keep_us = {j->keep_us[0], j->keep_us[1]}}};
    for (size_t i = 0; i < (j->wide ? 2 : 1) * COLUMN_COUNT; i++) {
        add_input_field(op, i % COLUMN_COUNT);
        leat_putf(&select, "%s%s.c%zu", i ? ", " : "SELECT ", i < COLUMN_COUNT ? "l" : "r", i % COLUMN_COUNT);
    }
    op->sql = leat_asprintf("%s FROM leat_input('in') l %s leat_input('right') r ON %s", select.data, j->join, ons[j->by_key]);
    char *sql = leat_asprintf("%s FROM leat_input('left') l %s leat_input('right') r ON %s", select.data, j->join, ons[j->by_key]);
    leat_buffer_deinit(&select);
    rig_init(r, op, 2);
    return sql;
}

/* Joins whose rows are at most so far apart in time forget what the cut has passed, and give what one gives that keeps everything: with disorder, rows taken
 * back, restarts from checkpoints that still have what was forgotten. */
static void joins_forget(void **state) {
    (void)state;
    enum { STEPS = 30, ROWS = 50 };
    for (size_t k = 0; k < sizeof near_joins / sizeof *near_joins; k++) {
        struct generator g = make_generator(70 + k);
        struct leat_schema schemas[4] = {0};
        struct leat_node_stats stats;
        struct leat_op op;
        struct rig r;
        uint64_t most = 0, untimed = 0;
        char *sql = near_open(&near_joins[k], &op, &r);
        g.keys = 12;
        g.null_percent = 2;
        for (int step = 0; step < STEPS; step++) {
            for (int side = 0; side < 2; side++) timed_step(&g, &r, side, step, (int)below(&g, 4) ? ROWS : 3);
            rig_step(&r);
            if (step % 5 == 4) rig_compare(&r, sql, near_joins[k].join);
            r.cut_us = ((step + 1) / 2 - 4) * (int64_t)60000000; /* of the next step */
            if (step % 3 == 1) rig_save(&r, step % 4 == 0, schemas);
            if (step % 6 == 4) rig_reload(&r);
            leat_node_stats(r.node, &stats);
            if (stats.state_keys > most) most = stats.state_keys;
        }
        assert_true(r.all[0].row_count + r.all[1].row_count > 3 * most / 2);
        for (int side = 0; side < 2; side++) {
            leat_changes_reset(&r.step[side]);
            for (size_t i = 0; op.kind == LEAT_OP_RECOMPUTE && i < r.all[side].row_count; i++) untimed += leat_is_null(&r.all[side].columns[C_TIME], i);
        }
        r.cut_us = INT64_MAX - 1; /* read to its end */
        assert_true(leat_node_due(r.node, r.cut_us));
        rig_step(&r);
        assert_false(leat_node_due(r.node, r.cut_us));
        assert_int_equal(r.out.row_count, 0);
        leat_node_stats(r.node, &stats);
        assert_true(stats.state_keys <= untimed);
        rig_drop_saved(&r);
        for (int i = 0; i < 4; i++) leat_schema_deinit(&schemas[i]);
        free(sql), free(op.sql);
        rig_deinit(&r);
    }
}

static void near_row(struct generator *g, struct rig *r, int side, int32_t key, int64_t time) {
    uint32_t row = (uint32_t)r->step[side].row_count;
    random_row(g, &r->step[side]);
    ((int32_t *)r->step[side].columns[C_KEY].data)[row] = key;
    ((int64_t *)r->step[side].columns[C_TIME].data)[row] = time;
    leat_changes_append(&r->all[side], &r->step[side], &row, 1, 1);
}

/* To the microsecond: with the cut one before that at which a row, or one that it met, could meet nothing more, it is still there. */
static void joins_forget_no_sooner(void **state) {
    (void)state;
    const int64_t second = 1000000, first = 1000 * second, cut = first + 90 * second - 1, right = cut - 30 * second;
    for (size_t k = 0; k < sizeof near_joins / sizeof *near_joins; k++) {
        struct generator g = make_generator(90 + k);
        struct leat_node_stats before, after;
        struct leat_op op;
        struct rig r;
        char *sql = near_open(&near_joins[k], &op, &r);
        g.null_percent = 0;
        for (int side = 0; side < 2; side++)
            for (int i = 0; i < 200; i++) near_row(&g, &r, side, 1000 + i, 0);
        near_row(&g, &r, 0, 7, first), near_row(&g, &r, 1, 7, first - 30 * second);
        near_row(&g, &r, 1, 8, right), near_row(&g, &r, 0, 8, right - 90 * second + 1);
        for (int step = 0; step < 3; step++) {
            leat_node_stats(r.node, &before);
            rig_step(&r);
            leat_node_stats(r.node, &after);
            if (step == 1) assert_true(after.state_keys <= 4 && after.state_keys < before.state_keys);
            leat_changes_reset(&r.step[0]), leat_changes_reset(&r.step[1]);
            r.cut_us = cut;
            if (step == 1) near_row(&g, &r, 0, 8, cut), near_row(&g, &r, 1, 7, cut);
        }
        rig_compare(&r, sql, near_joins[k].join);
        free(sql), free(op.sql);
        rig_deinit(&r);
    }
}

/* What a withheld key gives when it is no longer, its rows are kept for. */
static void joins_forget_nothing_withheld(void **state) {
    (void)state;
    const int64_t cut = 1200000000;
    const leat_i128 huge = power_of_ten(30);
    struct generator g = make_generator(99);
    struct leat_node_stats stats;
    struct leat_op op;
    struct rig r;
    char *sql = near_open(&near_joins[1], &op, &r), *plain = op.sql;
    op.sql = leat_asprintf("%s AND CAST(l.c8 AS BIGINT) IS NOT NULL", plain);
    g.null_percent = 0;
    for (int i = 0; i < 200; i++) near_row(&g, &r, 0, 1000 + i, 0), near_row(&g, &r, 1, 1000 + i, 0);
    near_row(&g, &r, 0, 7, 1000000000);
    near_row(&g, &r, 0, 7, cut), near_row(&g, &r, 1, 7, cut);
    memcpy((char *)r.step[0].columns[C_HUGE].data + 201 * sizeof huge, &huge, sizeof huge);
    memcpy((char *)r.all[0].columns[C_HUGE].data + 201 * sizeof huge, &huge, sizeof huge);
    rig_step(&r);
    for (int step = 0; step < 2; step++) {
        leat_changes_reset(&r.step[0]), leat_changes_reset(&r.step[1]);
        r.cut_us = cut;
        if (step) {
            uint32_t raising = 201;
            leat_changes_append(&r.step[0], &r.all[0], &raising, 1, -1);
            leat_changes_append(&r.all[0], &r.step[0], NULL, 1, 1);
            leat_changes_consolidate(&r.all[0]);
        }
        rig_step(&r);
        leat_node_stats(r.node, &stats);
        assert_int_equal(leat_node_withheld(r.node), !step);
        assert_int_equal(stats.state_keys, step ? 1 : 403);
    }
    rig_compare(&r, sql, "what was withheld");
    free(sql), free(plain), free(op.sql);
    rig_deinit(&r);
}

/* A reference that is read once: nothing of the left side is retained. */
static void lookup_of_static_right(void **state) {
    (void)state;
    static uint16_t keys[1] = {C_KEY};
    for (int kind = LEAT_JOIN_INNER; kind <= LEAT_JOIN_LEFT; kind++) {
        struct leat_op op = {.kind = LEAT_OP_LOOKUP,
                             .keys = keys,
                             .right_keys = keys,
                             .key_count = 1,
                             .join = (enum leat_join_kind)kind,
                             .static_right = true};
        struct generator g = make_generator(30);
        struct leat_node_stats stats;
        struct rig r;
        g.keys = 20;
        for (size_t i = 0; i < 2 * COLUMN_COUNT; i++)
            add_input_field(&op, i % COLUMN_COUNT);
        rig_init(&r, &op, 2);
        for (int step = 0; step < 20; step++) {
            leat_changes_reset(&r.step[1]);
            if (!step) random_step(&g, &r.all[1], 15, false, &r.step[1]);
            /* Now and then so many rows that those of the right side are decoded ahead. */
            random_step(&g, &r.all[0], step % 3 == 2 ? 90 : (size_t)below(&g, 30), true, &r.step[0]);
            rig_step(&r);
            char sql[256];
            snprintf(sql, sizeof sql,
                     "SELECT l.* EXCLUDE (__row, __w), r.* EXCLUDE (__row, __w) FROM leat_input('left') l "
                     "%s JOIN leat_input('right') r ON l.c0 = r.c0",
                     kind == LEAT_JOIN_LEFT ? "LEFT" : "");
            rig_compare(&r, sql, "lookup in a static reference");
            leat_node_stats(r.node, &stats);
            assert_true(stats.state_keys <= 15);
        }
        rig_deinit(&r);
    }
}

static void cross_product(void **state) {
    (void)state;
    static uint16_t none[1];
    struct leat_op op = {.kind = LEAT_OP_JOIN, .keys = none, .right_keys = none, .join = LEAT_JOIN_INNER};
    struct generator g = make_generator(3);
    struct rig r;
    for (size_t side = 0; side < 2; side++)
        for (size_t i = 0; i < COLUMN_COUNT; i++)
            add_input_field(&op, i);
    rig_init(&r, &op, 2);
    rig_run(
        &r, &g,
        "SELECT l.* EXCLUDE (__row, __w), r.* EXCLUDE (__row, __w) FROM leat_input('left') l, leat_input('right') r",
        12, true, "cross product");
    rig_deinit(&r);
}

/* ---- RECOMPUTE */

static void recompute(void **state) {
    (void)state;
    static uint16_t keys[1] = {C_KEY};
    struct leat_op op = {.kind = LEAT_OP_RECOMPUTE, .keys = keys, .key_count = 1};
    struct generator g = make_generator(5);
    struct rig r;
    op.sql = "SELECT c0, c2, row_number() OVER (PARTITION BY c0 ORDER BY c2 NULLS LAST) AS n, "
             "median(c10) OVER (PARTITION BY c0) AS m FROM leat_input('in')";
    add_input_field(&op, C_KEY);
    add_input_field(&op, C_BIG);
    add_field(&op, "n", BIGINT);
    add_field(&op, "m", DOUBLE);
    rig_init(&r, &op, 1);
    rig_run(&r, &g,
            "SELECT c0, c2, row_number() OVER (PARTITION BY c0 ORDER BY c2 NULLS LAST) AS n, "
            "median(c10) OVER (PARTITION BY c0) AS m FROM leat_input('left')",
            60, true, "recompute");
    rig_deinit(&r);
}

static void recompute_two_inputs(void **state) {
    (void)state;
    static uint16_t keys[1] = {C_KEY}, right_keys[1] = {C_INT};
    struct leat_op op = {.kind = LEAT_OP_RECOMPUTE, .keys = keys, .right_keys = right_keys, .key_count = 1};
    struct generator g = make_generator(6);
    struct rig r;
    op.sql = "SELECT l.c0, count(r.c2), max(r.c5) FROM leat_input('in') l LEFT JOIN leat_input('right') r ON l.c0 = "
             "r.c10 AND l.c2 < r.c2 "
             "WHERE l.c0 IS NOT NULL GROUP BY l.c0";
    add_input_field(&op, C_KEY);
    add_field(&op, "n", BIGINT);
    add_field(&op, "m", VARCHAR);
    rig_init(&r, &op, 2);
    rig_run(&r, &g,
            "SELECT l.c0, count(r.c2), max(r.c5) FROM leat_input('left') l LEFT JOIN leat_input('right') r ON l.c0 = "
            "r.c10 AND l.c2 < r.c2 "
            "WHERE l.c0 IS NOT NULL GROUP BY l.c0",
            40, true, "recompute over two inputs");
    rig_deinit(&r);
}

/* Left rows alone are joined where only they changed: the same as joining whole keys, what is withheld included. `sql` has %s for the left and the right input. */
static void compare_by_row(const char *sql, unsigned seed, bool hostile) {
    static uint16_t keys[1] = {C_KEY}, right_keys[1] = {C_INT};
    struct leat_op ops[2];
    struct rig rigs[2];
    struct leat_schema schemas[4] = {0};
    uint64_t withheld = 0, given = 0;
    struct generator g = make_generator(seed);
    g.hostile = hostile;
    for (int k = 0; k < 2; k++) {
        ops[k] = (struct leat_op){.kind = LEAT_OP_RECOMPUTE, .keys = keys, .right_keys = right_keys, .key_count = 1, .by_row = k == 0};
        ops[k].sql = leat_asprintf(sql, "leat_input('in')", "leat_input('right')");
        add_input_field(&ops[k], C_KEY);
        add_field(&ops[k], "v", BIGINT);
        add_field(&ops[k], "m", VARCHAR);
        rig_init(&rigs[k], &ops[k], 2);
    }
    for (int step = 0; step < 80; step++) {
        size_t sizes[] = {0, 1, 2, 5, 20};
        random_step(&g, &rigs[0].all[0], sizes[below(&g, 5)], true, &rigs[0].step[0]);
        random_step(&g, &rigs[0].all[1], below(&g, 3) ? 0 : below(&g, 4), true, &rigs[0].step[1]);
        for (int i = 0; i < 2; i++) {
            leat_changes_reset(&rigs[1].step[i]);
            leat_changes_append(&rigs[1].step[i], &rigs[0].step[i], NULL, rigs[0].step[i].row_count, 1);
        }
        for (int k = 0; k < 2; k++) rig_step(&rigs[k]);
        assert_same_rows(&rigs[0].total, &rigs[1].total, sql);
        assert_int_equal(leat_node_withheld(rigs[0].node), leat_node_withheld(rigs[1].node));
        withheld += leat_node_withheld(rigs[0].node);
        given += rigs[0].out.row_count;
        if (step % 7 == 3) {
            rig_save(&rigs[0], step % 2, schemas);
            rig_reload(&rigs[0]);
        }
    }
    assert_int_equal(withheld > 5, hostile);
    assert_true(given > 20);
    rig_drop_saved(&rigs[0]);
    for (int i = 0; i < 4; i++)
        leat_schema_deinit(&schemas[i]);
    for (int k = 0; k < 2; k++) {
        free(ops[k].sql);
        ops[k].sql = NULL;
        rig_deinit(&rigs[k]);
    }
}

static void recompute_by_row(void **state) {
    (void)state;
    compare_by_row("SELECT l.c0, l.c2, r.c5 FROM %s l LEFT JOIN %s r ON l.c0 = r.c10 AND l.c2 < r.c2", 16, false);
    compare_by_row("SELECT l.c0, l.c2, l.c5 FROM %s l SEMI JOIN %s r ON l.c0 = r.c10 AND l.c2 < r.c2", 17, false);
    for (unsigned seed = 18; seed < 22; seed++)
        compare_by_row("SELECT l.c0, CAST(l.c8 AS BIGINT), r.c5 FROM %s l LEFT JOIN %s r ON l.c0 = r.c10 AND l.c2 < r.c2", seed, true);
}

/* A key whose rows make the query raise is withheld, and comes back. */
static void recompute_withholds(void **state) {
    (void)state;
    static uint16_t keys[1] = {C_KEY};
    struct leat_op op = {.kind = LEAT_OP_RECOMPUTE, .keys = keys, .key_count = 1};
    struct generator g = make_generator(8);
    struct rig r;
    struct leat_schema schemas[4] = {0};
    uint64_t seen = 0;
    op.sql = "SELECT c0, CAST(max(c8) OVER (PARTITION BY c0) AS BIGINT) FROM leat_input('in')";
    g.hostile = true;
    add_input_field(&op, C_KEY);
    add_field(&op, "s", BIGINT);
    rig_init(&r, &op, 1);
    for (int step = 0; step < 60; step++) {
        random_step(&g, &r.all[0], below(&g, 6), true, &r.step[0]);
        rig_step(&r);
        /* Every key apart: those that raise alone must be missing. */
        struct leat_changes want;
        uint64_t withheld = 0;
        leat_changes_init(&want, &op.schema);
        for (int key = -1; key < 6; key++) {
            struct leat_changes rows, some;
            leat_changes_init(&rows, &r.input);
            leat_changes_init(&some, &r.input);
            for (uint32_t i = 0; i < r.all[0].row_count; i++) {
                bool null = leat_is_null(&r.all[0].columns[C_KEY], i);
                if (null ? key == -1 : ((int32_t *)r.all[0].columns[C_KEY].data)[i] == key && key >= 0)
                    leat_changes_append(&some, &r.all[0], &i, 1, 1);
            }
            expand(&some, &rows);
            leat_conn_bind(r.conn, "left", &rows);
            struct leat_result part;
            struct leat_error error = {0};
            if (leat_conn_query(r.conn,
                                "SELECT c0, CAST(max(c8) OVER (PARTITION BY c0) AS BIGINT) FROM leat_input('left')",
                                &part, &error) == LEAT_OK) {
                leat_changes_append(&want, &part.rows, NULL, part.rows.row_count, 1);
                leat_result_deinit(&part);
            } else {
                withheld++;
            }
            leat_conn_bind(r.conn, "left", NULL);
            leat_changes_deinit(&rows);
            leat_changes_deinit(&some);
        }
        assert_same_rows(&r.total, &want, "recompute with failing keys");
        assert_int_equal(leat_node_withheld(r.node), withheld);
        leat_changes_deinit(&want);
        seen += withheld;
        if (step % 5 == 2) {
            rig_save(&r, step % 2, schemas);
            rig_reload(&r);
            assert_int_equal(leat_node_withheld(r.node), withheld);
        }
    }
    assert_true(seen > 5);
    rig_drop_saved(&r);
    for (int i = 0; i < 4; i++)
        leat_schema_deinit(&schemas[i]);
    rig_deinit(&r);
}

/* A query without keys gives its row from the first step on. */
static void recompute_keyless(void **state) {
    (void)state;
    static uint16_t none[1];
    struct leat_op op = {.kind = LEAT_OP_RECOMPUTE, .keys = none};
    struct generator g = make_generator(13);
    struct rig r;
    op.sql = "SELECT median(c2), count(*), CAST(max(c8) AS BIGINT) FROM leat_input('in')";
    add_field(&op, "m", DOUBLE);
    add_field(&op, "n", BIGINT);
    add_field(&op, "x", BIGINT);
    rig_init(&r, &op, 1);
    assert_true(leat_node_due(r.node, INT64_MIN));
    rig_run(&r, &g, "SELECT median(c2), count(*), CAST(max(c8) AS BIGINT) FROM leat_input('left')", 40, true,
            "recompute without keys");
    assert_false(leat_node_due(r.node, INT64_MIN));
    rig_deinit(&r);
}

/* ---- MAP, UNION */

static void map_expressions(void **state) {
    (void)state;
    struct leat_map_column columns[] = {{.from = C_TEXT},
                                        {.from = -1, .expression = "c2 * 2 + c10"},
                                        {.from = C_DOUBLE},
                                        {.from = -1, .expression = "upper(c1)"}};
    struct leat_op op = {.kind = LEAT_OP_MAP, .map = columns, .map_count = 4, .filter = "c6 AND c12 > 0"};
    struct generator g = make_generator(9);
    struct rig r;
    add_input_field(&op, C_TEXT);
    add_field(&op, "e", BIGINT);
    add_input_field(&op, C_DOUBLE);
    add_field(&op, "u", VARCHAR);
    rig_init(&r, &op, 1);
    rig_run(&r, &g, "SELECT c5, c2 * 2 + c10, c3, upper(c1) FROM leat_input('left') WHERE c6 AND c12 > 0", 40, true,
            "map");
    rig_deinit(&r);
}

static void map_without_sql(void **state) {
    (void)state;
    struct leat_map_column columns[] = {{.from = C_TEXT}, {.from = C_HUGE}, {.from = C_KEY}};
    struct leat_op op = {.kind = LEAT_OP_MAP, .map = columns, .map_count = 3};
    struct generator g = make_generator(10);
    struct rig r;
    add_input_field(&op, C_TEXT);
    add_input_field(&op, C_HUGE);
    add_input_field(&op, C_KEY);
    rig_init(&r, &op, 1);
    rig_run(&r, &g, "SELECT c5, c8, c0 FROM leat_input('left')", 20, true, "map without SQL");
    rig_deinit(&r);
}

/* What a MAP lets through whole is not copied; one row that stays behind, in a later chunk, and all of it is given. */
static void map_passes_on(void **state) {
    (void)state;
    enum { ROWS = 70000, NONE = ROWS };
    static const size_t stays_behind[] = {NONE, 0, 40000, ROWS - 1};
    struct leat_map_column columns[] = {{.from = C_TEXT}, {.from = C_KEY}};
    struct leat_op op = {.kind = LEAT_OP_MAP, .map = columns, .map_count = 2, .filter = "c0 >= 0"};
    struct generator g = make_generator(12);
    struct rig r;
    struct leat_changes view;
    g.null_percent = 0;
    add_input_field(&op, C_TEXT);
    add_input_field(&op, C_KEY);
    rig_init(&r, &op, 1);
    leat_changes_init(&view, &op.schema);
    struct leat_changes *in = &r.step[0];
    for (size_t i = 0; i < ROWS; i++)
        random_row(&g, in);
    for (size_t which = 0; which < 4; which++) {
        for (int may_pass = 0; may_pass < 2; may_pass++) {
            const size_t without = stays_behind[which];
            int32_t *keys = in->columns[C_KEY].data;
            for (size_t i = 0; i < ROWS; i++)
                keys[i] = i == without ? -1 : (int32_t)i;
            const struct leat_changes *inputs[2] = {in, NULL};
            struct leat_step_context context = {.cut_us = INT64_MIN, .may_pass = may_pass};
            leat_changes_reset(&r.out);
            OK(leat_node_step(r.node, &context, inputs, &r.out, oops));
            bool passed = leat_node_passed(r.node, in, &view);
            assert_true(passed == (may_pass && without == NONE));
            const struct leat_changes *result = passed ? &view : &r.out;
            assert_int_equal(r.out.row_count, passed ? 0 : ROWS - (without != NONE));
            assert_int_equal(result->row_count, ROWS - (without != NONE));
            for (size_t i = 0; i < result->row_count; i++) {
                const size_t row = i + (i >= without);
                assert_int_equal(((const int32_t *)result->columns[1].data)[i], row);
                assert_true(leat_key_equal(result, i, &(uint16_t){0}, in, row, &(uint16_t){C_TEXT}, 1));
                assert_int_equal(leat_weight(result, i), leat_weight(in, row));
            }
        }
    }
    memset(view.columns, 0, 2 * sizeof *view.columns); /* borrowed */
    view.weights = NULL;
    leat_changes_deinit(&view);
    rig_deinit(&r);
}

/* Comparisons and window starts that need no DuckDB give what it gives, whatever the type inside. */
static void map_direct(void **state) {
    (void)state;
    static const struct {
        uint16_t column;
        int64_t low, high;
        const char *low_sql, *high_sql;
    } ranges[] = {
        {C_INT, -1, 3, "-1", "3"},
        {C_BIG, INT64_MIN + 1, 2, "-9223372036854775807", "2"},
        {C_MONEY, -101, 202, "-1.01", "2.02"},
        {C_TIME, 0, 3000000, "TIMESTAMP '1970-01-01 00:00:00'", "TIMESTAMP '1970-01-01 00:00:03'"},
        {C_TZ, -1000000, 1000000, "TIMESTAMPTZ '1969-12-31 23:59:59+00'", "TIMESTAMPTZ '1970-01-01 00:00:01+00'"},
        {C_DATE, -1, 2, "DATE '1969-12-31'", "DATE '1970-01-03'"},
        {C_SMALL, -1, 3, "-1", "3"},
        {C_TINY, -1, 3, "-1", "3"},
        {C_DEC4, -7, 14, "-0.7", "1.4"},
        {C_DEC9, -1001, 2002, "-1.001", "2.002"},
        {C_UTINY, 1, 5, "1", "5"},
        {C_USMALL, 1, 5, "1", "5"},
        {C_UINT, 300000000, 3000000000, "300000000", "3000000000"},
    };
    static const struct {
        const char *filter; /* column, low, high */
        bool from_least, to_greatest, only_low, outside;
    } kinds[] = {
        {"c%1$d BETWEEN %2$s AND %3$s", false, false, false, false}, {"c%1$d NOT BETWEEN %2$s AND %3$s", false, false, false, true},
        {"c%1$d <= %3$s", true, false, false, false},                {"c%1$d >= %2$s", false, true, false, false},
        {"c%1$d = %2$s", false, false, true, false},                 {"c%1$d <> %2$s", false, false, true, true},
    };
    enum { WIDTH = 7000000, ORIGIN = -3000000 };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            struct leat_map_column columns[] = {
                {.from = C_TEXT},
                {.from = -1, .expression = "leat_tumble(c7, 7000000, -3000000)", .tumbled = {C_TIME, WIDTH, ORIGIN}},
                {.from = -1, .expression = "leat_tumble(c25, 7000000, -3000000)", .tumbled = {C_TZ, WIDTH, ORIGIN}}};
            struct leat_test tests[] = {
                {.column = ranges[i].column,
                 .outside = kinds[k].outside,
                 .low = kinds[k].from_least ? INT64_MIN : ranges[i].low,
                 .high = kinds[k].to_greatest ? INT64_MAX : kinds[k].only_low ? ranges[i].low : ranges[i].high},
                {.column = C_KEY, .low = 1, .high = INT64_MAX}};
            char *first = leat_asprintf(kinds[k].filter, ranges[i].column, ranges[i].low_sql, ranges[i].high_sql),
                 *filter = leat_asprintf("%s AND c0 >= 1", first),
                 *sql = leat_asprintf("SELECT c5, leat_tumble(c7, 7000000, -3000000), leat_tumble(c25, 7000000, "
                                      "-3000000) FROM leat_input('left') WHERE %s",
                                      filter);
            struct leat_op op = {.kind = LEAT_OP_MAP, .map = columns, .map_count = 3, .filter = filter, .tests = tests, .test_count = 2};
            struct generator g = make_generator(900 + i);
            struct rig r;
            g.hostile = true;
            add_input_field(&op, C_TEXT);
            add_field(&op, "w", test_columns[C_TIME].type);
            add_field(&op, "z", test_columns[C_TZ].type);
            rig_init(&r, &op, 1);
            rig_run(&r, &g, sql, 4, true, sql);
            rig_deinit(&r);
            free(sql);
            free(filter);
            free(first);
        }
    }
}

/* What has no window start fails alone, as in DuckDB, also among rows that need no DuckDB. */
static void map_direct_fails(void **state) {
    (void)state;
    static const int64_t first = -9223372022400000000, infinite = INT64_MAX;
    const int64_t times[] = {0, first, infinite, -infinite, first + 10000000, -1, INT64_MIN, INT64_MAX - 1};
    const int64_t starts[] = {0, 0, infinite, -infinite, 0, -7000000, 0, 0};
    const bool fails[] = {false, true, false, false, false, false, true, false};
    struct leat_map_column columns[] = {{.from = C_KEY},
                                        {.from = -1, .expression = "leat_tumble(c7, 7000000, 0)", .can_fail = true, .tumbled = {C_TIME, 7000000, 0}}};
    struct leat_op op = {.kind = LEAT_OP_MAP, .map = columns, .map_count = 2};
    struct generator g = make_generator(12);
    struct rig r;
    size_t failed, given = 0, bad = 0;
    g.null_percent = 0;
    add_input_field(&op, C_KEY);
    add_field(&op, "w", test_columns[C_TIME].type);
    rig_init(&r, &op, 1);
    for (size_t i = 0; i < 8; i++) {
        random_row(&g, &r.step[0]);
        ((int64_t *)r.step[0].columns[C_TIME].data)[i] = times[i];
        ((int32_t *)r.step[0].columns[C_KEY].data)[i] = (int32_t)i;
    }
    rig_step(&r);
    const struct leat_failed_row *rows = leat_node_failed(r.node, &failed);
    for (size_t i = 0; i < r.out.row_count; i++) {
        int32_t row = ((const int32_t *)r.out.columns[0].data)[i];
        assert_false(fails[row]);
        if (row != 4 && row != 7) assert_int_equal(((const int64_t *)r.out.columns[1].data)[i], starts[row]);
        given++;
    }
    for (size_t i = 0; i < 8; i++)
        if (fails[i]) assert_int_equal(rows[bad++].row, i);
    assert_int_equal(failed, bad);
    assert_int_equal(given, 8 - bad);
    rig_deinit(&r);
}

static void map_failing_rows(void **state) {
    (void)state;
    struct leat_map_column columns[] = {{.from = C_INT},
                                        {.from = -1, .expression = "CAST(c5 AS BIGINT)", .can_fail = true}};
    struct leat_op op = {.kind = LEAT_OP_MAP,
                         .map = columns,
                         .map_count = 2,
                         .filter = "CAST(c1 AS INTEGER) >= 0",
                         .filter_can_fail = true};
    static const char *const texts[] = {
        "1", "22", "oops", "-5", "9999999999999999999999", "a long text that is no number"};
    struct rig r;
    struct generator g = make_generator(11);
    add_input_field(&op, C_INT);
    add_field(&op, "n", BIGINT);
    rig_init(&r, &op, 1);
    for (int round = 0; round < 30; round++) {
        size_t n = (size_t)below(&g, round % 3 ? 40 : 5000), bad = 0, good = 0;
        struct leat_changes *in = &r.step[0];
        leat_changes_reset(in);
        leat_changes_reset(&r.total);
        for (size_t i = 0; i < n; i++) {
            random_row(&g, in);
            uint64_t text = below(&g, round % 2 ? 6 : 2), name = below(&g, 20);
            const char *t = texts[text], *f = name == 0 ? "x" : name < 4 ? "-1" : "7";
            ((struct leat_string *)in->columns[C_TEXT].data)[i] = leat_string_of(t, (uint32_t)strlen(t));
            ((struct leat_string *)in->columns[C_NAME].data)[i] = leat_string_of(f, (uint32_t)strlen(f));
            if (leat_is_null(&in->columns[C_TEXT], i)) leat_set_null(in, C_TEXT, i);
            if (leat_is_null(&in->columns[C_NAME], i)) leat_set_null(in, C_NAME, i);
            bool null_filter = leat_is_null(&in->columns[C_NAME], i), null_text = leat_is_null(&in->columns[C_TEXT], i);
            if (null_filter) continue;
            if (name == 0)
                bad++;
            else if (name >= 4 && !null_text && (text == 2 || text > 3))
                bad++;
            else if (name >= 4)
                good++;
        }
        rig_step(&r);
        size_t failed;
        const struct leat_failed_row *rows = leat_node_failed(r.node, &failed);
        assert_int_equal(failed, bad);
        size_t copies = 0;
        for (size_t i = 0; i < r.out.row_count; i++)
            copies += (size_t)leat_weight(&r.out, i);
        assert_int_equal(copies, good);
        for (size_t i = 0; i < failed; i++) {
            assert_true(i == 0 || rows[i].row > rows[i - 1].row);
            assert_non_null(strstr(rows[i].message, "onver"));
        }
    }
    rig_deinit(&r);
}

static void union_all(void **state) {
    (void)state;
    struct leat_op op = {.kind = LEAT_OP_UNION};
    struct generator g = make_generator(12);
    struct rig r;
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        add_input_field(&op, i);
    rig_init(&r, &op, 2);
    rig_run(&r, &g,
            "SELECT * EXCLUDE (__row, __w) FROM leat_input('left') UNION ALL SELECT * EXCLUDE (__row, __w) FROM "
            "leat_input('right')",
            20, true, "union");
    rig_deinit(&r);
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
        cmocka_unit_test(lookup_of_static_right),
        cmocka_unit_test(global_row_at_once),
        cmocka_unit_test(distinct_on), cmocka_unit_test(distinct_on_forgets), cmocka_unit_test(distinct_on_ends),
        cmocka_unit_test(conflicts_fetch_each_key_once),
        cmocka_unit_test(common_conflicts_keep_rows),
        cmocka_unit_test(fetched_rows_are_checked),
        cmocka_unit_test(top_n),
        cmocka_unit_test(joins), cmocka_unit_test(joins_forget), cmocka_unit_test(joins_forget_no_sooner),
        cmocka_unit_test(joins_forget_nothing_withheld),
        cmocka_unit_test(cross_product),
        cmocka_unit_test(recompute),
        cmocka_unit_test(recompute_two_inputs), cmocka_unit_test(recompute_by_row),
        cmocka_unit_test(recompute_withholds),
        cmocka_unit_test(recompute_keyless),
        cmocka_unit_test(map_expressions),
        cmocka_unit_test(map_without_sql),
        cmocka_unit_test(map_passes_on),
        cmocka_unit_test(map_direct),
        cmocka_unit_test(map_direct_fails),
        cmocka_unit_test(map_failing_rows),
        cmocka_unit_test(union_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
