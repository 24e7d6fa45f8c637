/* Comparing two queries: by key, as multisets, with other columns and types. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "audit/compare.h"
#include "scratch.h"

static struct leat_duck *duck;
static struct leat_conn *conn;

static int setup(void **state) {
    (void)state;
    const struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1};
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    leat_conn_close(conn);
    leat_duck_close(duck);
    return 0;
}

/* "left/right/changed: names of example columns and kinds" */
static char *outcome(const char *left, const char *right, const char *key) {
    char *names[] = {(char *)key};
    struct leat_compare_options options = {.left_sql = left, .right_sql = right, .key = names, .key_count = key ? 1 : 0, .example_max = 9};
    struct leat_compare_result r;
    struct leat_buffer b = {0};
    OK(leat_compare(conn, &options, &r, oops));
    leat_putf(&b, "%d-%d-%d", (int)r.only_left, (int)r.only_right, (int)r.changed);
    for (size_t i = 0; i < r.example_count; i++)
        leat_putf(&b, " %s*%d%s%s", r.examples[i].kind, (int)r.examples[i].copies, r.examples[i].columns ? ":" : "", r.examples[i].columns ? r.examples[i].columns : "");
    for (size_t i = 0; i < r.column_count; i++)
        if (!r.columns[i].compared) leat_putf(&b, " (%s)", r.columns[i].name);
    if (r.note) leat_put(&b, " note");
    leat_compare_deinit(&r);
    return b.data;
}

static void expect(const char *left, const char *right, const char *key, const char *expected) {
    char *text = outcome(left, right, key);
    assert_string_equal(text, expected);
    free(text);
}

#define ABC "SELECT * FROM (VALUES (1, 'a', 1.5), (2, 'b', NULL), (NULL, 'c', 3.5)) t(k, v, \"x, y\")"

static void by_key(void **state) {
    (void)state;
    expect(ABC, ABC ";\n", "k", "0-0-0");
    expect(ABC, "SELECT * FROM (VALUES (1, 'a', 1.5), (2, 'b', 0.0), (NULL, 'd', NULL)) t(k, v, \"x, y\")", "K", "0-0-2 changed*1:x, y changed*1:v, x, y");
    expect(ABC, "SELECT * FROM (VALUES (1, 'a', 1.5), (3, 'b', NULL)) t(k, v, \"x, y\")", "k", "2-1-0 left*1 right*1 left*1");
    expect("SELECT 1 AS k, 'nan'::DOUBLE AS v UNION ALL SELECT 2, 0.0", "SELECT 1 AS k, 'nan'::DOUBLE AS v UNION ALL SELECT 2, -0.0", "k", "0-0-0");
}

static void as_multisets(void **state) {
    (void)state;
    expect("SELECT unnest([1, 1, 1, 2, NULL]) AS v", "SELECT unnest([1, 2, 2, NULL]) AS v", NULL, "2-1-0 left*2 right*1");
    /* A key that is none is said so. */
    expect("SELECT unnest([1, 1]) AS k, 2 AS v", "SELECT 1 AS k, 2 AS v", "k", "1-0-0 left*1 note");
}

static void other_columns_and_types(void **state) {
    (void)state;
    expect("SELECT 1::BIGINT AS k, 2.50::DECIMAL(18,2) AS v, 'x' AS here", "SELECT 2.5::DOUBLE AS v, 1::INTEGER AS k, 'x' AS there", "k", "0-0-0 (here) (there)");
    expect("SELECT 1 AS k, 7::HUGEINT AS v", "SELECT 1 AS k, 7.40::DECIMAL(18,2) AS v", "k", "0-0-1 changed*1:v"); /* no side is rounded */
    expect("SELECT 7::BIGINT AS v", "SELECT 7.40::DECIMAL(18,2) AS v", NULL, "1-1-0 left*1 right*1");
    expect("SELECT 1 AS k, 2 AS v", "SELECT 1 AS k, 'two' AS v", "k", "0-0-1 changed*1:v");
    expect("SELECT 1 AS k, [1, 2] AS v", "SELECT 1 AS k, '[1, 2]' AS v", "k", "0-0-0");
    struct leat_compare_options options = {.left_sql = "SELECT 1 AS a", .right_sql = "SELECT 1 AS b"};
    struct leat_compare_result r;
    struct leat_error err = {0};
    assert_int_equal(leat_compare(conn, &options, &r, &err), LEAT_INVALID);
}

static void drift_is_a_share(void **state) {
    (void)state;
    struct leat_compare_options options = {.left_sql = "SELECT range AS k FROM range(200)", .right_sql = "SELECT range + 1 AS k FROM range(200)"};
    struct leat_compare_result r;
    OK(leat_compare(conn, &options, &r, oops));
    assert_true(leat_compare_drift(&r) > 0.499 && leat_compare_drift(&r) < 0.501);
    leat_compare_deinit(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_key),
        cmocka_unit_test(as_multisets),
        cmocka_unit_test(other_columns_and_types),
        cmocka_unit_test(drift_is_a_share),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
