/* Every folder below tests/golden/check is a project: its findings must be those of expected.txt, and where there is an
 * expected_project.txt the project as understood must be that. LEAT_GOLDEN_UPDATE=1 writes both anew: then read the
 * difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "connect/sink.h"
#include "engine/engine.h"
#include "project/project.h"

#define CASES LEAT_SOURCE_DIR "/tests/golden/check"

static struct leat_env env;

static void put_place(struct leat_buffer *out, struct leat_place place) {
    leat_putf(out, " @%s:%d:%d", place.file, place.line, place.column);
}

static void dump_source(const struct leat_source *s, struct leat_buffer *out) {
    static const char *const formats[] = {"json", "csv", "parquet"};
    struct leat_schema schema = {0};
    leat_putf(out, "source %s: %s %s%s", s->name, s->connector, formats[s->format], s->reference ? " reference" : "");
    put_place(out, s->place);
    leat_put(out, "\n");
    leat_source_row_schema(s, &schema);
    for (size_t i = 0; i < schema.field_count; i++) {
        char type[32];
        leat_type_print(schema.fields[i].type, type);
        leat_putf(out, "  column %s %s%s", schema.fields[i].name, type, schema.fields[i].not_null ? " NOT NULL" : "");
        if (i < s->schema.field_count && strcmp(s->source_names[i], schema.fields[i].name) != 0)
            leat_putf(out, " from '%s'", s->source_names[i]);
        leat_put(out, "\n");
    }
    leat_schema_deinit(&schema);
    for (size_t i = 0; i < s->primary_key_count; i++)
        leat_putf(out, "  key %s\n", s->schema.fields[s->primary_key[i]].name);
    if (s->event_time >= 0)
        leat_putf(out, "  watermark %s - %lld us\n", s->schema.fields[s->event_time].name, (long long)s->watermark_delay_us);
    if (s->refresh_us)
        leat_putf(out, "  refresh %lld us\n", (long long)s->refresh_us);
    for (size_t i = 0; i < s->option_count; i++)
        leat_putf(out, "  option %s = %s%s\n", s->options[i].name, s->options[i].secret ? "(secret)" : s->options[i].value,
                  s->options[i].given ? "" : " (default)");
}

static void dump_inputs(const struct leat_project *p, const struct leat_object_ref *inputs, size_t count, struct leat_buffer *out) {
    for (size_t i = 0; i < count; i++)
        leat_putf(out, "  reads %s\n", leat_project_object_name(p, inputs[i]));
}

static void dump_table(const struct leat_project *p, const struct leat_table *t, struct leat_buffer *out) {
    static const char *const modes[] = {"AUTO", "INCREMENTAL", "FULL"}, *const actions[] = {"DROP ROW", "QUARANTINE", "FAIL UPDATE"};
    leat_putf(out, "table %s", t->name);
    put_place(out, t->place);
    leat_putf(out, "\n  %s", t->sql);
    put_place(out, t->sql_place);
    leat_put(out, "\n");
    for (size_t i = 0; i < t->primary_key_count; i++)
        leat_putf(out, "  key %s\n", t->primary_key[i]);
    if (t->freshness_us)
        leat_putf(out, "  freshness %lld us\n", (long long)t->freshness_us);
    if (t->downstream)
        leat_put(out, "  freshness downstream\n");
    if (t->cron)
        leat_putf(out, "  schedule %s in %s\n", t->cron, t->time_zone ? t->time_zone : "the project's zone");
    if (t->lateness_given)
        leat_putf(out, "  lateness %lld us\n", (long long)t->lateness_us);
    if (t->emit_on_window_close)
        leat_put(out, "  emit on window close\n");
    if (t->mode != LEAT_MODE_AUTO)
        leat_putf(out, "  mode %s\n", modes[t->mode]);
    for (size_t i = 0; i < t->constraint_count; i++) {
        leat_putf(out, "  constraint %s: %s: %s", t->constraints[i].name, t->constraints[i].expression, actions[t->constraints[i].action]);
        put_place(out, t->constraints[i].expression_place);
        leat_put(out, "\n");
    }
    dump_inputs(p, t->inputs, t->input_count, out);
}

static void dump_project(const struct leat_project *p, struct leat_buffer *out) {
    for (size_t i = 0; i < p->setting_count; i++)
        if (p->settings[i].given)
            leat_putf(out, "setting %s = %s\n", p->settings[i].name, p->settings[i].secret ? "(secret)" : p->settings[i].value);
    for (size_t i = 0; i < p->source_count; i++)
        dump_source(&p->sources[i], out);
    for (size_t i = 0; i < p->view_count; i++) {
        leat_putf(out, "view %s", p->views[i].name);
        put_place(out, p->views[i].place);
        leat_putf(out, "\n  %s\n", p->views[i].sql);
        dump_inputs(p, p->views[i].inputs, p->views[i].input_count, out);
    }
    for (size_t i = 0; i < p->table_count; i++)
        dump_table(p, &p->tables[i], out);
    leat_put(out, "order:");
    for (size_t i = 0; i < p->order_count; i++)
        leat_putf(out, " %s", leat_project_object_name(p, p->order[i]));
    leat_put(out, "\n");
}

/* Compares with a file of the case, or writes it. */
static bool same_as_file(const char *dir, const char *name, const struct leat_buffer *actual, bool update) {
    char *path = leat_asprintf("%s/%s", dir, name);
    struct leat_buffer expected = {0};
    struct leat_error err = {0};
    const char *text = actual->data ? actual->data : "";
    bool same = true;
    if (update) {
        if (leat_io_write_durable(env.io, path, text, actual->length, true, &err) != LEAT_OK)
            fail_msg("%s", err.text);
    } else if (leat_io_read_all(env.io, path, 1 << 20, &expected, &err) != LEAT_OK) {
        print_error("%s\n", err.text);
        same = false;
    } else if (strcmp(expected.data ? expected.data : "", text) != 0) {
        print_error("%s differs. Expected:\n%s\nActual:\n%s\n", path, expected.data ? expected.data : "", text);
        same = false;
    }
    leat_buffer_deinit(&expected);
    free(path);
    return same;
}

/* What only planning finds, as `leat check` goes on to. */
static void check_plans(const char *dir, struct leat_diagnostics *diags) {
    struct leat_engine_options options = {.project_dir = dir, .read_only = true, .compile_only = true};
    struct leat_engine *engine;
    struct leat_error err = {0};
    if (leat_engine_open(&env, &options, diags, &engine, &err) == LEAT_OK)
        leat_engine_close(engine);
    else if (leat_diagnostics_errors(diags) == 0)
        fail_msg("%s: %s", dir, err.text);
}

static bool run_case(const char *name, bool update) {
    char *dir = leat_asprintf("%s/%s", CASES, name), *project_file = leat_asprintf("%s/expected_project.txt", dir);
    struct leat_project *project = NULL;
    struct leat_diagnostics diags = {0};
    struct leat_buffer findings = {0}, dump = {0};
    struct leat_error err = {0};
    if (leat_project_load(&env, dir, &project, &diags, &err) != LEAT_OK)
        fail_msg("%s: %s", name, err.text);
    leat_sinks_resolve(project, &diags);
    if (leat_diagnostics_errors(&diags) == 0 && leat_project_check_queries(project, NULL, &diags, &err) != LEAT_OK)
        fail_msg("%s: %s", name, err.text);
    if (leat_diagnostics_errors(&diags) == 0) {
        leat_diagnostics_deinit(&diags);
        check_plans(dir, &diags);
    }
    leat_diagnostics_print(&diags, &findings);
    bool same = same_as_file(dir, "expected.txt", &findings, update);
    if (findings.data && strstr(findings.data, "sesame")) {
        print_error("%s: a finding shows a value of the environment\n", name);
        same = false;
    }
    if (leat_io_exists(env.io, project_file) || (update && leat_diagnostics_errors(&diags) == 0)) {
        dump_project(project, &dump);
        same &= same_as_file(dir, "expected_project.txt", &dump, update);
    }
    leat_buffer_deinit(&findings);
    leat_buffer_deinit(&dump);
    leat_diagnostics_deinit(&diags);
    leat_project_free(project);
    free(project_file);
    free(dir);
    return same;
}

static void golden_cases(void **state) {
    (void)state;
    char **names;
    size_t count, failed = 0;
    const char *update = getenv("LEAT_GOLDEN_UPDATE");
    assert_int_equal(leat_io_list_sorted(env.io, CASES, &names, &count, NULL), LEAT_OK);
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        failed += !run_case(names[i], update && *update == '1');
    leat_names_free(names, count);
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_cases)};
    leat_env_real(&env);
    setenv("LEAT_TEST_SECRET", "sesame", 1);
    setenv("LEAT_TEST_PATH", "in/*.csv", 1);
    unsetenv("LEAT_TEST_MISSING");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
