/* The oracle's comparison of two queries as multisets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "audit/verify.h"

static struct leat_error err;
static struct leat_duck *duck;
static struct leat_conn *conn;

static int open_all(void **state) {
    (void)state;
    if (leat_duck_open(&(struct leat_duck_options){.use = LEAT_DUCK_BATCH}, &duck, &err)) return -1;
    return leat_conn_open(duck, &conn, &err) ? -1 : 0;
}

static int close_all(void **state) {
    (void)state;
    leat_conn_close(conn);
    leat_duck_close(duck);
    return 0;
}

/* The ways that are taken where the types are known agree with the careful one: rows fetched, and sums of hashes. */
static void compare_known(const char *oracle, const char *table, const struct leat_verify_result *careful) {
    static const int64_t table_rows[] = {1, -1};
    struct leat_schema schema;
    if (leat_conn_describe(conn, oracle, &schema, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < 2; i++) {
        struct leat_verify_result r;
        if (leat_verify_known(conn, &schema, table_rows[i], oracle, table, 3, &r, &err)) fail_msg("%s", err.text);
        assert_int_equal(r.differing, careful->differing);
        assert_int_equal(r.oracle_rows, careful->oracle_rows);
        assert_int_equal(r.table_rows, careful->table_rows);
        leat_verify_result_deinit(&r);
    }
    leat_schema_deinit(&schema);
}

static void compare(const char *oracle, const char *table, size_t limit, struct leat_verify_result *out) {
    if (leat_verify(conn, oracle, table, limit, out, &err)) fail_msg("%s", err.text);
    compare_known(oracle, table, out);
}

static void expect_equal(const char *oracle, const char *table) {
    struct leat_verify_result r;
    compare(oracle, table, 10, &r);
    if (r.differing || r.missing_rows || r.extra_rows || r.example_count) fail_msg("%s differs from %s", oracle, table);
    assert_int_equal(r.oracle_rows, r.table_rows);
    leat_verify_result_deinit(&r);
}

static void test_equal(void **state) {
    (void)state;
    expect_equal("SELECT i FROM range(10000) t(i)", "SELECT 9999 - i FROM range(10000) t(i);\n");
    expect_equal("SELECT 1 AS a WHERE false", "SELECT 2 AS b WHERE false");
    expect_equal("SELECT i FROM range(30000) t(i)", "SELECT 29999 - i FROM range(30000) t(i)"); /* more than few */
    expect_equal("SELECT NULL::INTEGER AS a, 'x' AS b", "SELECT NULL::INTEGER, 'x'");
    expect_equal("SELECT * FROM (VALUES ('nan'::DOUBLE), (0.0), ('inf'::DOUBLE)) t(a)",
                 "SELECT * FROM (VALUES (-0.0::DOUBLE), ('inf'), ('-nan'::DOUBLE)) t(a)");
    expect_equal("SELECT INTERVAL '1 month' AS a", "SELECT INTERVAL '30 days' AS a");
    expect_equal("SELECT [1, 2] AS a", "SELECT '[1, 2]' AS a");
    expect_equal("SELECT [1, 2] AS a, {'k': 1} AS b", "SELECT [1, 2] AS a, {'k': 1} AS b");
    expect_equal("SELECT 1 AS a, 2 AS a", "SELECT 1 AS a, 2 AS a -- a comment");
}

static void test_different(void **state) {
    (void)state;
    struct leat_verify_result r;
    compare("SELECT * FROM (VALUES (1, 'a'), (1, 'a'), (2, NULL), (3, 'c')) t(id, name)",
            "SELECT * FROM (VALUES (1, 'a'), (3, 'c'), (3, 'c'), (3, 'c'), (4, 'd')) t(id, name)", 2, &r);
    assert_int_equal(r.oracle_rows, 4);
    assert_int_equal(r.table_rows, 5);
    assert_int_equal(r.missing_rows, 2);
    assert_int_equal(r.extra_rows, 3);
    assert_int_equal(r.differing, 5);
    assert_int_equal(r.example_count, 2);
    assert_int_equal(r.examples[0].copies, 1);
    assert_string_equal(r.examples[0].values[0], "1");
    assert_string_equal(r.examples[1].values[0], "2");
    assert_null(r.examples[1].values[1]);
    leat_verify_result_deinit(&r);
    compare("SELECT * FROM (VALUES (1, 'a'), (1, 'a'), (2, NULL)) t(id, name)",
            "SELECT 5, 'a text with\na line break and more than forty characters'", 10, &r);
    struct leat_buffer text = {0};
    leat_verify_print(&r, &text);
    assert_string_equal(text.data, "different: 3 rows missing, 1 too many (oracle 3 rows, table 1)\n"
                                   "  copies  id  name\n"
                                   "      +2  1   a\n"
                                   "      +1  2   NULL\n"
                                   "      -1  5   a text with a line break and more than f\n");
    leat_buffer_deinit(&text);
    leat_verify_result_deinit(&r);
    compare("SELECT 1", "SELECT 2", 0, &r);
    assert_int_equal(r.missing_rows + r.extra_rows, 2);
    assert_int_equal(r.example_count, 0);
    leat_verify_result_deinit(&r);
    compare("SELECT 1", "SELECT 1", 5, &r);
    leat_verify_print(&r, &text);
    assert_string_equal(text.data, "equal: 1 rows\n");
    leat_buffer_deinit(&text);
    leat_verify_result_deinit(&r);
}

static void test_refused(void **state) {
    (void)state;
    struct leat_verify_result r;
    assert_int_equal(leat_verify(conn, "SELECT 1", "SELECT 1, 2", 1, &r, &err), LEAT_INVALID);
    assert_int_equal(leat_verify(conn, "SELECT 1 AS a", "SELECT 1::BIGINT AS b", 1, &r, &err), LEAT_INVALID);
    assert_string_equal(err.text, "column \"a\" is INTEGER in the oracle, but \"b\" is BIGINT in the table");
    assert_int_equal(leat_verify(conn, "SELECT nope", "SELECT 1", 1, &r, &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "the oracle's query: "));
    assert_int_equal(leat_verify(conn, "SELECT 1", "SELECT CAST('x' || range AS INTEGER) FROM range(3)", 1, &r, &err),
                     LEAT_SQL);
    assert_true(err.bad_data);
    assert_null(r.columns);
    expect_equal("SELECT 1", "SELECT 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_different),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
