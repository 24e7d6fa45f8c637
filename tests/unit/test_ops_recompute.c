/* Operators against DuckDB (ops_harness.h): keys computed anew. */
#include "data/key.h"
#include "ops_harness.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recompute),
        cmocka_unit_test(recompute_two_inputs),
        cmocka_unit_test(recompute_by_row),
        cmocka_unit_test(recompute_withholds),
        cmocka_unit_test(recompute_keyless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
