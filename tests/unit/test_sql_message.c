/* sql/sql_message: DuckDB's own messages lead back to the byte they are about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sql/duck.h"
#include "sql/sql_message.h"

static struct leat_duck *duck;
static struct leat_conn *conn;

/* The statement must fail, and the message point at the marked byte (the mark ^ is taken out before). */
static void assert_points(const char *marked) {
    struct leat_schema schema;
    struct leat_error err = {0};
    const char *mark = strchr(marked, '^');
    char *sql = leat_asprintf("%.*s%s", (int)(mark - marked), marked, mark + 1);
    if (leat_conn_describe(conn, sql, &schema, &err) == LEAT_OK)
        fail_msg("no error: %s", sql);
    int64_t offset = leat_sql_message_offset(sql, err.text);
    if (offset != mark - marked)
        fail_msg("%s\n%s\npoints at %lld, not %lld", sql, err.text, (long long)offset, (long long)(mark - marked));
    free(sql);
}

#define LONG "'0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789'"
#define WIDE "'\xC3\xA4\xC3\xB6\xC3\xBC \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xF0\x9F\x98\x80'"

static void carets(void **state) {
    (void)state;
    assert_points("SELECT ^idd FROM events");
    assert_points("SELECT id,\n       ^idd\nFROM events");
    assert_points("SELECT id,\r\n\t\t^idd,\t1\r\nFROM events");
    assert_points("SELECT " WIDE " AS a, ^idd FROM events");
    assert_points("SELECT " LONG " AS a, ^idd FROM events");
    assert_points("SELECT " LONG " AS a, ^idd, " LONG " AS b FROM events");
    assert_points("SELECT ^idd, " LONG " AS b FROM events");
    assert_points("SELECT " WIDE "," WIDE "," WIDE "," WIDE "," WIDE "," WIDE "," WIDE ", ^idd, " WIDE "," WIDE "," WIDE "," WIDE " FROM events");
    assert_points("SELECT id FROM events WHRE ^id > 1");
    assert_points("SELECT id FROM ^nosuch");
    assert_points("SELECT upper(kind),\n\n\n  ^upperr(kind) FROM events");
}

static void without_caret(void **state) {
    (void)state;
    assert_points("SELECT id FROM events ORDER BY^");
    assert_points("SELECT ^id, max(kind) FROM events");
    assert_points("SELECT e.id FROM events e JOIN events f USING (^kid)");
    assert_int_equal(leat_sql_message_offset("SELECT 1", "Some Error: nothing is quoted"), -1);
    assert_int_equal(leat_sql_message_offset("SELECT 1", "Some Error: \"elsewhere\" is"), -1);
    assert_int_equal(leat_sql_message_offset("", ""), -1);
}

/* Texts that only look like a place. */
static void hostile(void **state) {
    (void)state;
    static const char *const messages[] = {
        "\nLINE 1: ", "\nLINE 1: x\n", "\nLINE 1: x\n^", "\nLINE 1: x\n       ^", "\nLINE 99: x\n         ^", "\nLINE 0: x\n        ^",
        "\nLINE -1: x\n         ^", "\nLINE 18446744073709551616: x\n     ^", "\nLINE x", "\nLINE 1:x\n        ^",
        "\nLINE 1: ...\n           ^", "\nLINE 1: ......\n                              ^", "\"", "'", "\"\"", "'('",
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        char *hint, *text = leat_sql_message_text(messages[i], &hint);
        int64_t offset = leat_sql_message_offset("SELECT a\nFROM b", messages[i]);
        assert_true(offset >= -1 && offset <= 15);
        free(text);
        free(hint);
    }
}

static void assert_text(const char *message, const char *text, const char *hint) {
    char *actual_hint, *actual = leat_sql_message_text(message, &actual_hint);
    assert_string_equal(actual, text);
    if (hint)
        assert_string_equal(actual_hint, hint);
    else
        assert_null(actual_hint);
    free(actual);
    free(actual_hint);
}

static void texts(void **state) {
    (void)state;
    assert_text("Binder Error: Referenced column \"idd\" not found in FROM clause!\nCandidate bindings: \"id\"\n\nLINE 1: SELECT idd\n               ^",
                "Referenced column \"idd\" not found in FROM clause!", "did you mean \"id\"?");
    assert_text("Catalog Error: Scalar Function with name upperr does not exist!\nDid you mean \"upper\"?\n\nLINE 1: x\n        ^",
                "Scalar Function with name upperr does not exist!", "did you mean \"upper\"?");
    assert_text("Parser Error: syntax error at end of input", "syntax error at end of input", NULL);
    assert_text("Binder Error: No function matches.\n\tCandidate functions:\n\tupper(VARCHAR) -> VARCHAR\n\n\nLINE 1: x\n        ^", "No function matches.", NULL);
    assert_text("Binder Error: a.\nEither b,\n  or c.", "a.", "Either b, or c.");
    assert_text("", "", NULL);
    assert_text("no kind", "no kind", NULL);
}

static int setup(void **state) {
    (void)state;
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    struct leat_schema schema = {0};
    leat_schema_add(&schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, false);
    leat_schema_add(&schema, "kind", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    bool failed = leat_duck_open(&options, &duck, NULL) || leat_conn_open(duck, &conn, NULL) || leat_conn_input(conn, "events", &schema, true, NULL);
    leat_schema_deinit(&schema);
    return failed;
}

static int teardown(void **state) {
    (void)state;
    leat_conn_close(conn);
    leat_duck_close(duck);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carets), cmocka_unit_test(without_caret), cmocka_unit_test(hostile), cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
