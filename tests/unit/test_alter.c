/* ALTER MATERIALIZED TABLE: what is read, and what stays of the file it is written into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "project/alter.h"

static const char shop[] = "-- orders\n"
                           "CREATE SOURCE orders (id INTEGER, ts TIMESTAMP) WITH (connector = 'file', path = 'x');\n"
                           "CREATE OR REPLACE MATERIALIZED TABLE sums -- FRESHNESS of the sums\n"
                           "  (PRIMARY KEY (id)) ALLOW LATENESS INTERVAL '1' HOUR\n"
                           "  FRESHNESS = INTERVAL '1' SECOND /* fast */ REFRESH_MODE = AUTO\n"
                           "AS SELECT id, 'a;b' AS \"SCHEDULE\" FROM orders; -- end\n"
                           "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin' AS SELECT 1 AS one\n"
                           "EMIT ON WINDOW CLOSE;\n";

static void rewrites(const char *sql, const char *from, const char *to) {
    struct leat_alter alter;
    struct leat_error err;
    struct leat_buffer out = {0}, wanted = {0};
    const struct leat_text_file file = {.name = "p.sql", .text = (char *)shop, .length = strlen(shop)};
    const char *at = strstr(shop, from);
    assert_non_null(at);
    leat_putn(&wanted, shop, (size_t)(at - shop));
    leat_put(&wanted, to);
    leat_put(&wanted, at + strlen(from));
    assert_int_equal(leat_alter_parse(sql, &alter, &err), LEAT_OK);
    assert_true(leat_alter_rewrite(&alter, &file, &out));
    assert_string_equal(out.data, wanted.data);
    leat_alter_deinit(&alter);
    leat_buffer_deinit(&out);
    leat_buffer_deinit(&wanted);
}

static void only_the_clause_changes(void **state) {
    (void)state;
    rewrites("ALTER MATERIALIZED TABLE sums SET FRESHNESS = INTERVAL '1' DAY", "FRESHNESS = INTERVAL '1' SECOND", "FRESHNESS = INTERVAL '1' DAY");
    rewrites("alter materialized table SUMS set schedule cron '0 3 * * *' at time zone 'UTC';", "FRESHNESS = INTERVAL '1' SECOND",
             "schedule cron '0 3 * * *' at time zone 'UTC'");
    rewrites("ALTER MATERIALIZED TABLE \"nightly\" SET FRESHNESS = DOWNSTREAM", "SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'", "FRESHNESS = DOWNSTREAM");
    rewrites("ALTER MATERIALIZED TABLE sums AS\n SELECT id, 'c' AS d -- why\n FROM orders", "SELECT id, 'a;b' AS \"SCHEDULE\" FROM orders",
             "SELECT id, 'c' AS d -- why\n FROM orders");
    rewrites("ALTER MATERIALIZED TABLE nightly AS SELECT 2 AS two", "SELECT 1 AS one", "SELECT 2 AS two"); /* EMIT stays */
}

static void operations_carry_no_text(void **state) {
    static const struct { const char *sql; enum leat_alter_kind kind; } cases[] = {
        {"ALTER MATERIALIZED TABLE t SUSPEND", LEAT_ALTER_SUSPEND}, {"ALTER MATERIALIZED TABLE t RESUME;", LEAT_ALTER_RESUME},
        {"ALTER MATERIALIZED TABLE t REFRESH", LEAT_ALTER_REFRESH}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_alter alter;
        struct leat_error err;
        assert_int_equal(leat_alter_parse(cases[i].sql, &alter, &err), LEAT_OK);
        assert_int_equal(alter.kind, cases[i].kind);
        assert_string_equal(alter.table, "t");
        assert_null(alter.text);
        leat_alter_deinit(&alter);
    }
}

static void a_part_is_a_condition(void **state) {
    static const char *const cases[][2] = {{"(a = 1)", "(a = 1)"}, {"(day = DATE '2026-03-01', shop IN (1, 2));", "(day = DATE '2026-03-01') AND (shop IN (1 , 2 ))"},
                                           {"( a >= 1 AND b = ')' )", "(a >= 1 AND b = ')')"},
                                           {"(a = [1, 2][k], b = {'x': 1, 'y': 2}.x)", "(a = [ 1 , 2 ] [ k ]) AND (b = { 'x' : 1 , 'y' : 2 } . x)"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_alter alter;
        struct leat_error err;
        char *sql = leat_asprintf("ALTER MATERIALIZED TABLE t REFRESH PARTITION %s", cases[i][0]);
        assert_int_equal(leat_alter_parse(sql, &alter, &err), LEAT_OK);
        assert_int_equal(alter.kind, LEAT_ALTER_REFRESH);
        assert_string_equal(alter.text, cases[i][1]);
        leat_alter_deinit(&alter);
        free(sql);
    }
}

static void other_statements_are_refused(void **state) {
    static const char *const cases[] = {"", "ALTER", "ALTER TABLE t SUSPEND", "ALTER MATERIALIZED TABLE", "ALTER MATERIALIZED TABLE t",
                                        "ALTER MATERIALIZED TABLE t SET", "ALTER MATERIALIZED TABLE t SET COLOUR = 1", "ALTER MATERIALIZED TABLE t AS",
                                        "ALTER MATERIALIZED TABLE t SUSPEND NOW", "ALTER MATERIALIZED TABLE t SUSPEND; DROP TABLE t",
                                        "ALTER MATERIALIZED TABLE t REFRESH PARTITION", "ALTER MATERIALIZED TABLE t REFRESH PARTITION ()",
                                        "ALTER MATERIALIZED TABLE t REFRESH PARTITION (a = 1", "ALTER MATERIALIZED TABLE t REFRESH PARTITION (a = 1) b",
                                        "ALTER MATERIALIZED TABLE t REFRESH PARTITION a = 1"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_alter alter;
        struct leat_error err;
        assert_int_not_equal(leat_alter_parse(cases[i], &alter, &err), LEAT_OK);
        assert_null(alter.table);
        assert_true(strlen(err.text) > 0);
    }
}

static void a_table_of_another_file_is_not_found(void **state) {
    struct leat_alter alter;
    struct leat_error err;
    struct leat_buffer out = {0};
    const struct leat_text_file file = {.name = "p.sql", .text = (char *)shop, .length = strlen(shop)};
    (void)state;
    assert_int_equal(leat_alter_parse("ALTER MATERIALIZED TABLE orders AS SELECT 1", &alter, &err), LEAT_OK);
    assert_false(leat_alter_rewrite(&alter, &file, &out));
    assert_int_equal(out.length, 0);
    leat_alter_deinit(&alter);
    leat_buffer_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_clause_changes),
        cmocka_unit_test(operations_carry_no_text),
        cmocka_unit_test(a_part_is_a_condition),
        cmocka_unit_test(other_statements_are_refused),
        cmocka_unit_test(a_table_of_another_file_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
