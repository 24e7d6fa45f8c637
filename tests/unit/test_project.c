/* project/: places through rewritten queries, also as DuckDB sees them; options, settings and their tables; findings; loading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "connect/sink.h"
#include "project/tables.h"
#include "sql/duck.h"

static struct leat_project *parse(const char *text, struct leat_diagnostics *diags) {
    *diags = (struct leat_diagnostics){0};
    return leat_project_parse("p.sql", text, strlen(text), diags);
}

static struct leat_project *parse_good(const char *text) {
    struct leat_diagnostics diags;
    struct leat_buffer findings = {0};
    struct leat_project *project = parse(text, &diags);
    leat_diagnostics_print(&diags, &findings);
    if (diags.count)
        fail_msg("%s", findings.data);
    leat_buffer_deinit(&findings);
    leat_diagnostics_deinit(&diags);
    return project;
}

static const char windows[] =
    "CREATE SOURCE clicks (who VARCHAR, ts TIMESTAMP, n INTEGER, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'c.json');\n"
    "CREATE VIEW minutes AS\n"
    "  SELECT window_start, window_end, sum(n) AS total\n"
    "  FROM TUMBLE(clicks, ts, INTERVAL '1' MINUTE)   GROUP BY ALL;\n"
    "CREATE VIEW hours AS\n"
    "  SELECT w.window_start, w.window_end, sum(total) AS total, count(*) AS \xC3\xA4\n"
    "  FROM TUMBLE (minutes,\n"
    "               window_start, INTERVAL '60 minutes', TIMESTAMP '2024-01-01 00:30:00') w, (SELECT 1) AS one GROUP BY ALL;\n";

static void rewritten_places(void **state) {
    (void)state;
    struct leat_project *project = parse_good(windows);
    assert_int_equal(project->view_count, 2);
    for (size_t v = 0; v < 2; v++) {
        const struct leat_view *view = &project->views[v];
        const char *file = view->map.file->text;
        /* copied bytes are those of the file; the map ascends */
        for (size_t i = 0; i < view->map.piece_count; i++) {
            const struct leat_sql_piece *piece = &view->map.pieces[i];
            size_t end = i + 1 < view->map.piece_count ? view->map.pieces[i + 1].sql_offset : strlen(view->sql);
            assert_true(piece->sql_offset <= end);
            if (piece->copied)
                assert_memory_equal(view->sql + piece->sql_offset, file + piece->file_offset, end - piece->sql_offset);
        }
    }
    static const struct {
        size_t view;
        const char *text;
        int line, column;
    } expected[] = {
        {0, "SELECT window", 4, 3},      {0, "sum(n)", 4, 36},       {0, "(SELECT *", 5, 8},  {0, "clicks", 5, 15},
        {0, "GROUP BY", 5, 50},          {1, "w.window_end", 7, 26}, {1, "GROUP BY", 9, 107}, {1, "minutes", 8, 16},
        {1, "window_start, 360", 9, 16}, {1, "COLUMNS", 8, 8},       {1, "one", 9, 103},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct leat_view *view = &project->views[expected[i].view];
        const char *found = strstr(view->sql, expected[i].text);
        assert_non_null(found);
        struct leat_place place = leat_sql_place(&view->map, &view->sql_place, (size_t)(found - view->sql));
        if (place.line != expected[i].line || place.column != expected[i].column)
            fail_msg("'%s' is at %d:%d", expected[i].text, place.line, place.column);
        assert_string_equal(place.file, "p.sql");
    }
    struct leat_sql_map none = {0};
    struct leat_place place = leat_sql_place(&none, &project->views[1].sql_place, 5);
    assert_int_equal(place.line, 7);
    leat_project_free(project);
}

static void exec(struct leat_conn *conn, const char *sql) {
    struct leat_error err = {0};
    if (leat_conn_exec(conn, sql, &err) != LEAT_OK)
        fail_msg("%s", err.text);
}

/* Windows over windows: DuckDB's answer to the rewritten query is that of the new windows. */
static void rewritten_queries_run(void **state) {
    (void)state;
    struct leat_project *project = parse_good(windows);
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_error err = {0};
    char *text = NULL;
    assert_int_equal(leat_duck_open(&options, &duck, &err), LEAT_OK);
    assert_int_equal(leat_conn_open(duck, &conn, &err), LEAT_OK);
    exec(conn, "CREATE TABLE clicks AS SELECT 'a' AS who, TIMESTAMP '2024-01-01 10:29:30' + to_seconds(range * 20) AS ts, 1 AS n FROM range(6)");
    for (size_t v = 0; v < 2; v++) {
        char *sql = leat_asprintf("CREATE VIEW %s AS %s", project->views[v].name, project->views[v].sql);
        exec(conn, sql);
        free(sql);
    }
    assert_int_equal(leat_conn_text(conn, "SELECT string_agg(concat_ws(' ', window_start, window_end, total), ', ' ORDER BY window_start) FROM minutes", &text, &err), LEAT_OK);
    assert_string_equal(text, "2024-01-01 10:29:00 2024-01-01 10:30:00 2, 2024-01-01 10:30:00 2024-01-01 10:31:00 3, "
                              "2024-01-01 10:31:00 2024-01-01 10:32:00 1");
    free(text);
    if (leat_conn_text(conn, "SELECT string_agg(concat_ws(' ', window_start, window_end, total, \xC3\xA4), ', ' ORDER BY window_start) FROM hours", &text, &err) != LEAT_OK)
        fail_msg("%s", err.text);
    assert_string_equal(text, "2024-01-01 09:30:00 2024-01-01 10:30:00 2 1, 2024-01-01 10:30:00 2024-01-01 11:30:00 4 2");
    free(text);
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_project_free(project);
}

static void duckdb_errors_are_placed(void **state) {
    (void)state;
    struct leat_project *project = parse_good("CREATE SOURCE s (a INTEGER, ts TIMESTAMP) WITH (connector = 'file', path = 'x.json');\n"
                                              "CREATE VIEW v AS SELECT a\n  FROM TUMBLE(s, ts, INTERVAL '1' DAY)\n  WHERE a > 1 1;\n");
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_error err = {0};
    char *json = NULL;
    const struct leat_view *view = &project->views[0];
    assert_int_equal(leat_duck_open(&options, &duck, &err), LEAT_OK);
    assert_int_equal(leat_conn_open(duck, &conn, &err), LEAT_OK);
    assert_int_equal(leat_conn_parse(conn, view->sql, &json, &err), LEAT_SQL);
    int offset = leat_conn_error_offset(conn);
    assert_true(offset >= 0);
    struct leat_place place = leat_sql_place(&view->map, &view->sql_place, (size_t)offset);
    assert_int_equal(place.line, 4);
    assert_int_equal(place.column, 15);
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_project_free(project);
}

static void zones_are_checked(void **state) {
    (void)state;
    struct leat_project *project =
        parse_good("SET time_zone = 'Mars/Olympus';\nCREATE VIEW v AS SELECT 1 AS a;\n"
                   "CREATE MATERIALIZED TABLE t SCHEDULE CRON '@daily' AT TIME ZONE 'Europe/Berlni' AS SELECT * FROM v;\n"
                   "CREATE MATERIALIZED TABLE u SCHEDULE CRON '@daily' AT TIME ZONE 'Europe/Berlin' AS SELECT * FROM v;\n");
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_error err = {0};
    struct leat_diagnostics diags = {0};
    struct leat_buffer text = {0};
    assert_int_equal(leat_duck_open(&options, &duck, &err), LEAT_OK);
    assert_int_equal(leat_conn_open(duck, &conn, &err), LEAT_OK);
    assert_int_equal(leat_project_check_zones(project, conn, &diags, &err), LEAT_OK);
    leat_diagnostics_sort(&diags);
    leat_diagnostics_print(&diags, &text);
    assert_string_equal(text.data, "p.sql:1:5: error: there is no time zone 'Mars/Olympus'; write an IANA name such as 'Europe/Berlin'\n"
                                   "p.sql:3:65: error: there is no time zone 'Europe/Berlni'; did you mean 'Europe/Berlin'?\n");
    leat_buffer_deinit(&text);
    leat_diagnostics_deinit(&diags);
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_project_free(project);
}

static void source_options(void **state) {
    (void)state;
    struct leat_project *project = parse_good("CREATE SOURCE s (a INTEGER) WITH (connector = 'file', path = 'x.csv', Header = FALSE,"
                                              " max_line_bytes = '2 KiB', poll_interval = '90 seconds');");
    const struct leat_source *source = &project->sources[0];
    assert_string_equal(leat_source_option(source, "header"), "false");
    assert_string_equal(leat_source_option(source, "HEADER"), "false");
    assert_int_equal(leat_source_option_int(source, "header", -1), 0);
    assert_string_equal(leat_source_option(source, "poll_interval"), "90000000us");
    assert_int_equal(leat_source_option_int(source, "poll_interval", -1), 90000000);
    assert_string_equal(leat_source_option(source, "max_line_bytes"), "2048");
    assert_int_equal(leat_source_option_int(source, "max_decompressed_ratio", -1), 200);
    assert_string_equal(leat_source_option(source, "mode"), "tail");
    assert_null(leat_source_option(source, "refresh"));
    assert_int_equal(leat_source_option_int(source, "refresh", -1), -1);
    assert_null(leat_source_option(source, "no_such_option"));
    leat_project_free(project);
    struct leat_source bare = {.connector = (char *)"file"}; /* made by hand: defaults from the table */
    assert_string_equal(leat_source_option(&bare, "compression"), "auto");
    assert_int_equal(leat_source_option_int(&bare, "max_line_bytes", -1), 1 << 20);
}

static void settings(void **state) {
    (void)state;
    struct leat_project *project = parse_good("SET max_future = '2 hours'; SET threads = 3; SET segment_size = '100 MB';");
    assert_int_equal(leat_setting_int(project, "max_future"), INT64_C(7200) * 1000000);
    assert_string_equal(leat_setting_text(project, "max_future"), "7200000000us");
    assert_int_equal(leat_setting_int(project, "THREADS"), 3);
    assert_int_equal(leat_setting_int(project, "segment_size"), 100000000);
    assert_int_equal(leat_setting_int(project, "memory_limit"), INT64_C(4000000000));
    assert_string_equal(leat_setting_text(project, "commit_interval"), "10000000us");
    assert_string_equal(leat_setting_text(project, "time_zone"), "UTC");
    assert_int_equal(project->setting_count, leat_settings_table.count); /* defaults are listed too */
    leat_project_free(project);
    struct leat_project bare = {0};
    assert_int_equal(leat_setting_int(&bare, "max_step_rows"), 500000);
}

/* The tables hold what they promise: defaults that parse, prose, no name twice; the pages name every option. */
static void option_tables(void **state) {
    (void)state;
    struct leat_buffer pages[2] = {{0}, {0}};
    leat_reference_settings(&pages[0]);
    leat_reference_connectors(&pages[1]);
    for (size_t t = 0; t <= leat_connector_table_count; t++) {
        const struct leat_option_table *table = t ? leat_connector_tables[t - 1] : &leat_settings_table;
        for (size_t i = 0; i < table->count; i++) {
            const struct leat_option_spec *spec = &table->specs[i];
            struct leat_option_value value;
            struct leat_error err = {0};
            assert_ptr_equal(leat_option_find(table->specs, table->count, spec->name), spec);
            assert_true(strlen(spec->prose) > 10 && spec->prose[strlen(spec->prose) - 1] == '.');
            assert_true(!spec->required || !spec->default_text);
            assert_true(t || spec->default_text); /* every setting has one */
            if (spec->default_text && leat_option_parse(spec, spec->default_text, &value, &err) != LEAT_OK)
                fail_msg("%s", err.text);
            char *quoted = leat_asprintf("`%s`", spec->name);
            assert_non_null(strstr(pages[t > 0].data, quoted));
            free(quoted);
        }
    }
    assert_null(leat_connector_table("kafkaesque"));
    leat_buffer_deinit(&pages[0]);
    leat_buffer_deinit(&pages[1]);
}

/* docs/reference holds the pages as the tables give them; LEAT_GOLDEN_UPDATE=1 writes them anew. */
static void reference_pages(void **state) {
    (void)state;
    static const char *const paths[] = {LEAT_SOURCE_DIR "/docs/reference/settings.md", LEAT_SOURCE_DIR "/docs/reference/connectors.md",
                                        LEAT_SOURCE_DIR "/docs/reference/sinks.md"};
    void (*const pages[])(struct leat_buffer *) = {leat_reference_settings, leat_reference_connectors, leat_reference_sinks};
    struct leat_env env;
    const char *update = getenv("LEAT_GOLDEN_UPDATE");
    leat_env_real(&env);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct leat_buffer page = {0}, file = {0};
        struct leat_error err = {0};
        pages[i](&page);
        if (update && *update == '1')
            assert_int_equal(leat_io_write_durable(env.io, paths[i], page.data, page.length, true, &err), LEAT_OK);
        assert_int_equal(leat_io_read_all(env.io, paths[i], 1 << 20, &file, &err), LEAT_OK);
        assert_string_equal(file.data, page.data);
        leat_buffer_deinit(&page);
        leat_buffer_deinit(&file);
    }
}

static void findings(void **state) {
    (void)state;
    struct leat_diagnostics diags = {0};
    struct leat_buffer text = {0};
    leat_diagnose(&diags, (struct leat_place){"b.sql", 1, 1}, false, NULL, "one");
    leat_diagnose(&diags, (struct leat_place){"a.sql", 2, 9}, true, "do so", "two");
    leat_diagnose(&diags, (struct leat_place){"a.sql", 2, 9}, false, NULL, "three");
    leat_diagnose(&diags, (struct leat_place){"a.sql", 2, 1}, false, NULL, "four");
    leat_diagnose(&diags, (struct leat_place){0}, false, NULL, "five");
    leat_diagnostics_sort(&diags);
    leat_diagnostics_print(&diags, &text);
    assert_string_equal(text.data, "error: five\na.sql:2:1: error: four\na.sql:2:9: warning: two\n  hint: do so\n"
                                   "a.sql:2:9: error: three\nb.sql:1:1: error: one\n");
    assert_int_equal(leat_diagnostics_errors(&diags), 4);
    leat_buffer_deinit(&text);
    leat_diagnostics_deinit(&diags);
}

static void many_findings_are_cut(void **state) {
    (void)state;
    struct leat_diagnostics diags;
    struct leat_buffer text = {0};
    for (int i = 0; i < 5000; i++)
        leat_put(&text, "x;\n");
    struct leat_project *project = parse(text.data, &diags);
    assert_int_equal(diags.count, 1001);
    leat_project_free(project);
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&text);
}

static void deep_nesting(void **state) {
    (void)state;
    struct leat_diagnostics diags;
    struct leat_buffer text = {0};
    leat_put(&text, "CREATE VIEW v AS SELECT ");
    for (int i = 0; i < 100000; i++)
        leat_put(&text, "(");
    struct leat_project *project = parse(text.data, &diags);
    assert_int_equal(diags.count, 1);
    assert_string_equal(diags.items[0].message, "parentheses are nested too deeply");
    leat_project_free(project);
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&text);
}

static void long_chains(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    /* last first: the order must be turned around, without recursion */
    for (int i = 3000; i > 0; i--)
        leat_putf(&text, "CREATE VIEW v%d AS SELECT * FROM v%d;\n", i, i - 1);
    leat_put(&text, "CREATE VIEW v0 AS SELECT 1 AS a;\n");
    struct leat_project *project = parse_good(text.data);
    assert_int_equal(project->order_count, 3001);
    assert_string_equal(leat_project_object_name(project, project->order[0]), "v0");
    assert_string_equal(leat_project_object_name(project, project->order[3000]), "v3000");
    leat_project_free(project);
    leat_buffer_deinit(&text);
}

static void loading_fails(void **state) {
    (void)state;
    struct leat_env env;
    struct leat_diagnostics diags = {0};
    struct leat_project *project;
    struct leat_error err = {0};
    leat_env_real(&env);
    assert_int_equal(leat_project_load(&env, LEAT_SOURCE_DIR "/no-such-folder", &project, &diags, &err), LEAT_NOT_FOUND);
    assert_null(project);
    assert_int_equal(leat_project_load(&env, LEAT_SOURCE_DIR "/CMakeLists.txt", &project, &diags, &err), LEAT_INVALID);
    assert_null(project);
    leat_project_free(NULL);
}

/* ---- the disk refuses: every call in turn ---- */

static struct leat_io_ops failing_ops;
static int calls_left; /* until the one that fails */

static bool fails(void) {
    return calls_left-- == 0;
}

static enum leat_status failing_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out, struct leat_error *err) {
    return fails() ? leat_fail(err, LEAT_IO, "open %s: refused", path) : leat_io_real()->ops->open(io, path, mode, out, err);
}

static enum leat_status failing_read(struct leat_file *file, uint64_t offset, void *out, size_t want, size_t *got, struct leat_error *err) {
    return fails() ? leat_fail(err, LEAT_IO, "read: refused") : leat_io_real()->ops->read_at(file, offset, out, want, got, err);
}

static enum leat_status failing_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    return fails() ? leat_fail(err, LEAT_IO, "stat %s: refused", path) : leat_io_real()->ops->stat(io, path, out, err);
}

static enum leat_status failing_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *), void *context, struct leat_error *err) {
    return fails() ? leat_fail(err, LEAT_IO, "list %s: refused", path) : leat_io_real()->ops->list(io, path, visit, context, err);
}

static void loading_survives_the_disk(void **state) {
    (void)state;
    struct leat_env env;
    struct leat_io io = *leat_io_real();
    leat_env_real(&env);
    failing_ops = *io.ops;
    failing_ops.open = failing_open;
    failing_ops.read_at = failing_read;
    failing_ops.stat = failing_stat;
    failing_ops.list = failing_list;
    io.ops = &failing_ops;
    env.io = &io;
    for (int n = 0; n < 1000; n++) {
        struct leat_project *project;
        struct leat_diagnostics diags = {0};
        struct leat_error err = {0};
        calls_left = n;
        enum leat_status status = leat_project_load(&env, LEAT_SOURCE_DIR "/tests/golden/check/strings_comments_and_semicolons", &project, &diags, &err);
        leat_project_free(project);
        leat_diagnostics_deinit(&diags);
        if (status == LEAT_OK) {
            assert_true(n > 10);
            return;
        }
        assert_int_equal(status, LEAT_IO);
        assert_null(project);
        assert_non_null(strstr(err.text, "refused"));
    }
    fail_msg("the calls never end");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewritten_places),
        cmocka_unit_test(rewritten_queries_run),
        cmocka_unit_test(duckdb_errors_are_placed),
        cmocka_unit_test(zones_are_checked),
        cmocka_unit_test(source_options),
        cmocka_unit_test(settings),
        cmocka_unit_test(option_tables),
        cmocka_unit_test(reference_pages),
        cmocka_unit_test(findings),
        cmocka_unit_test(many_findings_are_cut),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(long_chains),
        cmocka_unit_test(loading_fails),
        cmocka_unit_test(loading_survives_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
