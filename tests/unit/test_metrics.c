/* /metrics: names by Prometheus's conventions, values escaped and told once, the reference page and the Grafana dashboard true to the table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "serve/metrics.h"

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

static bool known(const char *name, size_t length) {
    for (size_t i = 0; i < leat_metric_count; i++)
        if (strlen(leat_metrics[i].name) == length && memcmp(leat_metrics[i].name, name, length) == 0) return true;
    return false;
}

static void names_keep_to_the_conventions(void **state) {
    (void)state;
    for (size_t i = 0; i < leat_metric_count; i++) {
        const struct leat_metric *m = &leat_metrics[i];
        const char *unit = strstr(m->name, "_seconds"), *bytes = strstr(m->name, "_bytes");
        assert_int_equal(strncmp(m->name, "leat_", 5), 0);
        assert_int_equal(strspn(m->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(m->name));
        assert_int_equal(m->type == LEAT_METRIC_COUNTER, ends_with(m->name, "_total"));
        if (m->key && strstr(m->key, "_us")) assert_true(unit && m->scale == 1e6);
        if (m->key && strstr(m->key, "bytes")) assert_non_null(bytes);
        assert_true(ends_with(m->help, "."));
        for (size_t k = 0; k + 1 < i; k++) /* those of one name stand together */
            assert_false(strcmp(leat_metrics[k].name, m->name) == 0 && strcmp(leat_metrics[i - 1].name, m->name) != 0);
    }
}

/* Every line is a comment or name{labels} value; HELP and TYPE stand once and before the first value; no line comes twice. */
static void expect_format(const char *text) {
    char *copy = leat_strdup(text), *last = copy;
    char *lines[5000];
    size_t count = 0;
    for (char *line = strtok_r(copy, "\n", &last); line; line = strtok_r(NULL, "\n", &last)) {
        assert_true(count < 5000);
        for (size_t i = 0; i < count; i++)
            if (strncmp(line, lines[i], strcspn(line, " ")) == 0 && lines[i][strcspn(line, " ")] == ' ' && line[0] != '#') fail_msg("twice: %s", line);
        lines[count++] = line;
        if (line[0] == '#') {
            assert_true(strncmp(line, "# HELP leat_", 12) == 0 || strncmp(line, "# TYPE leat_", 12) == 0);
            continue;
        }
        size_t n = strcspn(line, "{ ");
        if (!known(line, n)) fail_msg("%s is of no metric", line);
        const char *value = strrchr(line, ' ');
        char *end;
        strtod(value + 1, &end);
        assert_true(*end == 0 && end > value + 1);
        bool typed = false;
        for (size_t i = 0; i < count; i++) typed |= strncmp(lines[i], "# TYPE ", 7) == 0 && strncmp(lines[i] + 7, line, n) == 0 && lines[i][7 + n] == ' ';
        assert_true(typed);
    }
    free(copy);
}

static void a_project_as_metrics(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer status = {0}, text = {0};
    shop_init(w, "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '2' SECOND AS SELECT k, sum(v) AS v FROM events GROUP BY k;\n"
                 "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' READY BY '07:00' AS SELECT count(*) AS n FROM events;\n"
                 "CREATE SINK out FROM sums WITH (connector = 'file', path = 'out.ndjson', on_retract = 'send');\n"
                 "CREATE CHECK books COMPARE sums WITH (SELECT k, sum(v) AS v FROM events GROUP BY k) BY k;\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":2,\"ts\":\"2026-01-01 00:00:00\"}\nbroken\n", "w");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    OK(leat_engine_status(w->engine, &status, oops));
    json_t *json = json_loadb(status.data, status.length, 0, NULL);
    leat_put_metrics(json, w->now_us, &text);
    expect_format(text.data);
    static const char *const LINES[] = {"leat_source_records_total{source=\"events\"} 2\n", "leat_source_dead_letters{source=\"events\"} 1\n",
                                        "leat_table_freshness_seconds{table=\"sums\"} 2\n", "leat_table_age_seconds{table=\"sums\"} 0\n",
                                        "leat_table_records{table=\"sums\",source=\"events\",fate=\"dead\"} 1\n", "leat_table_runs_total{table=\"nightly\"} 1\n",
                                        "leat_sink_delivered_changes_total{sink=\"out\"} 1\n", "leat_check_differing_rows{check=\"books\"} 0\n",
                                        "leat_alert_raised{object=\"events\",alert=\"dead_letters\",on=\"source\"} 1\n", "leat_build_info{version=\"" LEAT_VERSION "\"} 1\n",
                                        "leat_reference_rows{source=\"things\"} 2\n"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++)
        if (!strstr(text.data, LINES[i])) fail_msg("lacks %s%s", LINES[i], text.data);
    json_decref(json);
    leat_buffer_deinit(&status);
    leat_buffer_deinit(&text);
    world_deinit(w);
}

static void labels_are_escaped(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    json_t *status = json_pack("{s:[{s:s,s:i}]}", "tables", "name", "a\"b\\c\nd", "rows", 3);
    leat_put_metrics(status, 0, &text);
    assert_non_null(strstr(text.data, "leat_table_rows{table=\"a\\\"b\\\\c\\nd\"} 3\n"));
    json_decref(status);
    leat_buffer_deinit(&text);
}

static char *content_of(const char *path) {
    struct leat_buffer text = {0};
    char *whole = leat_asprintf("%s/%s", LEAT_SOURCE_DIR, path);
    OK(leat_io_read_all(leat_io_real(), whole, 4 << 20, &text, oops));
    free(whole);
    return text.data;
}

static void the_reference_page_is_the_tables(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    char *page = content_of("docs/reference/metrics.md");
    leat_reference_metrics(&text);
    assert_string_equal(page, text.data); /* leat reference --page metrics > docs/reference/metrics.md */
    leat_buffer_deinit(&text);
    free(page);
}

/* Each query of the dashboard names metrics that there are, and only those. */
static void the_dashboard_asks_for_what_there_is(void **state) {
    (void)state;
    char *text = content_of("packaging/grafana/leat.json");
    json_error_t problem;
    json_t *dashboard = json_loads(text, 0, &problem), *panel, *target;
    size_t i, k, queries = 0;
    if (!dashboard) fail_msg("%s", problem.text);
    json_array_foreach(json_object_get(dashboard, "panels"), i, panel)
        json_array_foreach(json_object_get(panel, "targets"), k, target) {
            const char *expr = json_string_value(json_object_get(target, "expr"));
            bool any = false;
            assert_non_null(expr);
            for (const char *at = expr; (at = strstr(at, "leat_")); any = true) {
                size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789");
                if (!known(at, n)) fail_msg("%s: there is no metric %.*s", expr, (int)n, at);
                at += n;
            }
            assert_true(any);
            queries++;
        }
    assert_true(queries >= 10);
    json_decref(dashboard);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_keep_to_the_conventions),
        cmocka_unit_test(a_project_as_metrics),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(the_reference_page_is_the_tables),
        cmocka_unit_test(the_dashboard_asks_for_what_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
