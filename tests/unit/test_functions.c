/* The allow-list of functions against the DuckDB that is linked: nothing it knows is left undecided, and what is called
 * safe does not raise, whatever it is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

#include "base/env.h"
#include "plan/expression.h"
#include "plan/functions.h"
#include "sql/duck.h"

#define EXTREMES 7

struct extremes {
    const char *type;
    const char *values[EXTREMES];
};
static const struct extremes extremes[] = {
    {"VARCHAR", {"''", "'a'", "'\xc3\xa9\xcc\x81\xf0\x9f\x98\x80'", "'%'", "'\\'", "repeat('x', 3000)", "NULL"}},
    {"BIGINT", {"0", "-1", "1", "9223372036854775807", "-9223372036854775807 - 1", "2147483647", "NULL"}},
    {"HUGEINT", {"0", "-1", "1", "170141183460469231731687303715884105727", "-5", "2147483647", "NULL"}},
    {"INTEGER", {"0", "-1", "1", "2147483647", "-2147483648", "7", "NULL"}},
    {"SMALLINT", {"0", "-1", "1", "32767", "-32768", "7", "NULL"}},
    {"TINYINT", {"0", "-1", "1", "127", "-128", "7", "NULL"}},
    {"DOUBLE", {"0.0", "-0.0", "1e308", "-1e308", "'nan'", "'inf'", "NULL"}},
    {"FLOAT", {"0.0", "-0.0", "1e38", "-1e38", "'nan'", "'inf'", "NULL"}},
    {"DECIMAL(4,2)", {"0", "99.99", "-99.99", "1.5", "0.01", "7", "NULL"}},
    {"DECIMAL(18,3)", {"0", "999999999999999", "-999999999999999", "1.5", "0.001", "7", "NULL"}},
    {"BOOLEAN", {"true", "false", "true", "false", "true", "false", "NULL"}},
    {"BLOB", {"''", "'\\xFF'", "'abc'", "'\\x00'", "repeat('x', 300)", "'a'", "NULL"}},
    {"DATE",
     {"'infinity'", "'-infinity'", "'1970-01-01'", "'5877641-06-25 (BC)'", "'5881580-07-10'", "'0001-01-01'", "NULL"}},
    {"TIME",
     {"'00:00:00'", "'23:59:59.999999'", "'24:00:00'", "'12:00:00'", "'01:01:01'", "'00:00:00.000001'", "NULL"}},
    {"TIMESTAMP",
     {"'infinity'", "'-infinity'", "'1970-01-01'", "'290309-12-22 (BC) 00:00:00'", "'294246-12-31 23:59:59'",
      "'0001-01-01'", "NULL"}},
    {"TIMESTAMP WITH TIME ZONE",
     {"'infinity'", "'-infinity'", "'1970-01-01'", "'290309-12-22 (BC) 00:00:00+00'", "'294246-12-31 23:59:59+00'",
      "'0001-01-01'", "NULL"}},
};
enum { TYPE_COUNT = sizeof extremes / sizeof *extremes };

static struct leat_duck *duck;
static struct leat_conn *conn;

static const struct extremes *extremes_of(const char *type) {
    if (strcmp(type, "ANY") == 0 || strcmp(type, "T") == 0) type = "VARCHAR";
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strcmp(extremes[i].type, type) == 0) return &extremes[i];
    return NULL;
}

static void text_at(const struct leat_result *r, size_t column, size_t row, char *out, size_t size) {
    const struct leat_string *s = (const struct leat_string *)r->rows.columns[column].data + row;
    snprintf(out, size, "%.*s", (int)s->length, leat_string_data(s));
}

/* Runs expression(x0, x1, ...) over every combination of extremes; errors of binding are no row's fault. */
static size_t count_failures(const char *expression, const struct extremes *const *types, size_t count) {
    size_t combinations = 1, failures = 0;
    for (size_t i = 0; i < count; i++)
        combinations *= EXTREMES;
    for (size_t c = 0; c < combinations; c++) {
        struct leat_buffer sql = {0};
        struct leat_error err = {0};
        struct leat_result result;
        size_t rest = c;
        leat_putf(&sql, "SELECT hash(%s) FROM (SELECT ", expression);
        for (size_t i = 0; i < count; i++, rest /= EXTREMES)
            leat_putf(&sql, "%sTRY_CAST(%s AS %s) AS x%zu", i ? ", " : "", types[i]->values[rest % EXTREMES],
                      types[i]->type, i);
        leat_put(&sql, ")");
        if (leat_conn_query(conn, sql.data, &result, &err) == LEAT_OK) {
            leat_result_deinit(&result);
        } else if (!strstr(err.text, "Binder Error") && !strstr(err.text, "Not implemented")) {
            if (failures++ == 0) print_error("%s\n  %s\n", sql.data, err.text);
        }
        leat_buffer_deinit(&sql);
    }
    return failures;
}

static void safe_functions_do_not_raise(void **state) {
    (void)state;
    struct leat_result r;
    struct leat_error err = {0};
    size_t failures = 0, tried = 0;
    assert_int_equal(leat_conn_query(conn,
                                     "SELECT DISTINCT function_name, array_to_string(parameter_types, '|') "
                                     "FROM duckdb_functions() WHERE function_type = 'scalar' ORDER BY ALL",
                                     &r, &err),
                     LEAT_OK);
    for (size_t i = 0; i < r.rows.row_count; i++) {
        char name[128], types[512], expression[256], *next = types;
        const struct extremes *arguments[3];
        size_t count = 0;
        bool known = true;
        text_at(&r, 0, i, name, sizeof name);
        text_at(&r, 1, i, types, sizeof types);
        if (!(leat_function_traits(name) & LEAT_FUNCTION_SAFE) || strcmp(name, "/") == 0) continue;
        for (char *type; known && (type = strsep(&next, "|")); count++)
            known = count < 3 && (arguments[count] = extremes_of(type)) != NULL;
        if (!known || count == 0) continue;
        static const char *const lists[] = {"x0", "x0, x1", "x0, x1, x2"};
        snprintf(expression, sizeof expression, "\"%s\"(%s)", name, lists[count - 1]);
        failures += count_failures(expression, arguments, count);
        tried++;
    }
    leat_result_deinit(&r);
    assert_true(tried > 100);
    assert_int_equal(failures, 0);
}

/* What the writer says about CAST(x0 AS type). */
static bool cast_can_fail(const struct leat_schema *schema) {
    struct leat_expression_ref ref = {.text = "x0", .is_column = true};
    struct leat_expression_writer writer = {.refs = &ref, .ref_count = 1};
    struct leat_buffer out = {0};
    json_t *types[2];
    bool can_fail = false;
    for (int i = 0; i < 2; i++) {
        struct leat_type type = schema->fields[i].type;
        char name[32];
        leat_type_print(type, name);
        if (type.kind == LEAT_DECIMAL)
            types[i] = json_pack("{s:s,s:{s:s,s:i,s:i}}", "id", "DECIMAL", "type_info", "alias", "", "width",
                                 type.width, "scale", type.scale);
        else
            types[i] = json_pack("{s:s,s:n}", "id", name, "type_info");
    }
    json_t *cast =
        json_pack("{s:s,s:{s:s,s:i,s:o},s:o,s:b}", "expression_class", "BOUND_CAST", "child", "expression_class",
                  "BOUND_REF", "index", 0, "return_type", types[0], "return_type", types[1], "try_cast", 0);
    assert_true(leat_expression_write(&writer, cast, &out, &can_fail));
    json_decref(cast);
    leat_buffer_deinit(&out);
    return can_fail;
}

static void safe_casts_do_not_raise(void **state) {
    (void)state;
    size_t failures = 0, safe = 0;
    for (size_t from = 0; from < TYPE_COUNT; from++)
        for (size_t to = 0; to < TYPE_COUNT; to++) {
            const struct extremes *argument = &extremes[from];
            struct leat_schema schema;
            struct leat_error err = {0};
            char sql[128], expression[64];
            snprintf(sql, sizeof sql, "SELECT CAST(NULL AS %s) AS a, CAST(NULL AS %s) AS b", extremes[from].type,
                     extremes[to].type);
            assert_int_equal(leat_conn_describe(conn, sql, &schema, &err), LEAT_OK);
            bool can_fail = cast_can_fail(&schema);
            leat_schema_deinit(&schema);
            if (can_fail) continue;
            safe++;
            snprintf(expression, sizeof expression, "CAST(x0 AS %s)", extremes[to].type);
            failures += count_failures(expression, &argument, 1);
        }
    assert_true(safe > 50);
    assert_int_equal(failures, 0);
}

static void calendar_functions_do_not_raise(void **state) {
    (void)state;
    static const char *const parts[] = {"year",   "month",  "week",    "day",    "hour",
                                        "minute", "second", "quarter", "decade", "century"};
    const struct extremes *types[] = {extremes_of("TIMESTAMP"), extremes_of("DATE"),
                                      extremes_of("TIMESTAMP WITH TIME ZONE")};
    char expression[64];
    size_t failures = 0;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (size_t t = 0; t < 3; t++) {
            snprintf(expression, sizeof expression, "date_part('%s', x0)", parts[p]);
            failures += count_failures(expression, &types[t], 1);
        }
    assert_int_equal(failures, 0);
}

/* A new DuckDB's functions have to be looked at before they can be used; these were, and are not for queries of tables.
 */
static bool is_internal(const char *name) {
    static const char *const prefixes[] = {"__internal", "icu_", "pg_", "has_", "st_", "inet_", "variant_"};
    static const char *const names[] = {"aggregate",
                                        "array_to_string_comma_default",
                                        "can_cast_implicitly",
                                        "cast_to_type",
                                        "col_description",
                                        "combine",
                                        "fill",
                                        "finalize",
                                        "format_pg_type",
                                        "format_type",
                                        "get_block_size",
                                        "list_approx_count_distinct",
                                        "list_entropy",
                                        "make_type",
                                        "map_to_pg_oid",
                                        "obj_description",
                                        "regexp_split_to_table",
                                        "remap_struct",
                                        "replace_type",
                                        "shobj_description",
                                        "switch",
                                        "timetz_byte_comparable"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

static void every_function_was_decided_about(void **state) {
    (void)state;
    struct leat_result r;
    struct leat_error err = {0};
    assert_int_equal(leat_conn_query(conn,
                                     "SELECT DISTINCT function_name FROM duckdb_functions() "
                                     "WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL",
                                     &r, &err),
                     LEAT_OK);
    for (size_t i = 0; i < r.rows.row_count; i++) {
        char name[128];
        text_at(&r, 0, i, name, sizeof name);
        if (is_internal(name) || leat_function_check(name, &err) == LEAT_OK) continue;
        if (strstr(err.text, "not on leat's list")) fail_msg("%s", err.text);
    }
    leat_result_deinit(&r);
}

static void refusals_say_what_to_use(void **state) {
    (void)state;
    struct leat_error err = {0};
    assert_int_equal(leat_function_check("RANDOM", &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.text, "instead"));
    assert_int_equal(leat_function_check("stddev_samp", &err), LEAT_UNSUPPORTED);
    assert_non_null(strstr(err.text, "sum(x * x)"));
    assert_int_equal(leat_function_check("", &err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_function_check("upper lower", &err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_function_check("Upper", &err), LEAT_OK);
    assert_int_equal(leat_function_check_table("read_csv_auto", &err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_function_check_table("duckdb_settings", &err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_function_check_table("range", &err), LEAT_OK);
}

/* docs/reference/functions.md is what the tables say; LEAT_GOLDEN_UPDATE=1 writes it anew. */
static void reference_is_current(void **state) {
    (void)state;
    static const char path[] = LEAT_SOURCE_DIR "/docs/reference/functions.md";
    struct leat_buffer text = {0}, page = {0};
    struct leat_error err = {0};
    struct leat_env env;
    const char *update = getenv("LEAT_GOLDEN_UPDATE");
    leat_env_real(&env);
    leat_function_reference(&text);
    if (update && *update == '1')
        assert_int_equal(leat_io_write_durable(env.io, path, text.data, text.length, true, &err), LEAT_OK);
    assert_int_equal(leat_io_read_all(env.io, path, 1 << 20, &page, &err), LEAT_OK);
    assert_string_equal(page.data, text.data);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safe_functions_do_not_raise),     cmocka_unit_test(safe_casts_do_not_raise),
        cmocka_unit_test(calendar_functions_do_not_raise), cmocka_unit_test(every_function_was_decided_about),
        cmocka_unit_test(refusals_say_what_to_use),        cmocka_unit_test(reference_is_current),
    };
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP};
    struct leat_error err = {0};
    if (leat_duck_open(&options, &duck, &err) || leat_conn_open(duck, &conn, &err)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    leat_conn_close(conn);
    leat_duck_close(duck);
    return failed;
}
