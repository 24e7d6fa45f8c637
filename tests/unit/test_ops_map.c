/* Operators against DuckDB (ops_harness.h): expressions, filters, unions. */
#include "data/key.h"
#include "ops_harness.h"

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
