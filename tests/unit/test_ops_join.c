/* Operators against DuckDB (ops_harness.h): joins. */
#include "data/key.h"
#include "ops_harness.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup_of_static_right),
        cmocka_unit_test(joins),
        cmocka_unit_test(joins_forget),
        cmocka_unit_test(joins_forget_no_sooner),
        cmocka_unit_test(joins_forget_nothing_withheld),
        cmocka_unit_test(cross_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
