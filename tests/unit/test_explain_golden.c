/* Every folder below tests/golden/explain is a project: EXPLAIN of its tables, in their order, must be expected.txt.
 * LEAT_GOLDEN_UPDATE=1 writes it anew: then read the difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/env.h"
#include "plan/json.h"
#include "plan/plan.h"

#define CASES LEAT_SOURCE_DIR "/tests/golden/explain"

static struct leat_env env;
static struct leat_duck *duck;

/* The JSON form tells the same operators. */
static void check_json(const struct leat_project *project, const struct leat_table *table, const struct leat_plan *plan) {
    struct leat_buffer text = {0};
    struct leat_error err = {0};
    json_t *json;
    leat_plan_explain(project, table, plan, true, &text);
    if (leat_json_load(text.data, &json, &err) != LEAT_OK)
        fail_msg("%s: %s", err.text, text.data);
    assert_int_equal(leat_json_count(json, "operators"), plan->op_count);
    assert_int_equal(leat_json_int(json, "class"), plan->incremental_class);
    assert_string_equal(leat_json_text(json, "completed_sql"), plan->completed_sql);
    json_decref(json);
    leat_buffer_deinit(&text);
}

static void explain_table(struct leat_conn *conn, const struct leat_project *project, size_t index, struct leat_buffer *out) {
    const struct leat_table *table = &project->tables[index];
    struct leat_plan *plan;
    struct leat_error err = {0};
    int offset;
    enum leat_status status = leat_plan_compile(conn, project, table, &plan, &offset, &err);
    if (status) {
        leat_putf(out, "table %s: %s", table->name, leat_status_name(status));
        if (offset >= 0)
            leat_putf(out, " at \"%.12s\"", table->sql + offset);
        leat_putf(out, ": %s\n\n", err.text);
        return;
    }
    leat_plan_explain(project, table, plan, false, out);
    leat_put(out, "\n");
    check_json(project, table, plan);
    assert_int_equal(leat_plan_declare_table(conn, table, plan, &err), LEAT_OK);
    leat_plan_free(plan);
}

static void explain_project(const char *dir, struct leat_buffer *out) {
    struct leat_project *project = NULL;
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    struct leat_conn *conn;
    if (leat_project_load(&env, dir, &project, &diags, &err) != LEAT_OK)
        fail_msg("%s: %s", dir, err.text);
    leat_diagnostics_print(&diags, out);
    assert_int_equal(leat_conn_open(duck, &conn, &err), LEAT_OK);
    for (size_t i = 0; i < project->order_count; i++) {
        struct leat_object_ref ref = project->order[i];
        enum leat_status status = LEAT_OK;
        int offset;
        if (ref.kind == LEAT_OBJECT_SOURCE)
            status = leat_plan_declare_source(conn, &project->sources[ref.index], &err);
        else if (ref.kind == LEAT_OBJECT_VIEW)
            status = leat_plan_declare_view(conn, &project->views[ref.index], NULL, &offset, &err);
        else
            explain_table(conn, project, ref.index, out);
        if (status)
            fail_msg("%s: %s", dir, err.text);
    }
    leat_conn_close(conn);
    leat_diagnostics_deinit(&diags);
    leat_project_free(project);
}

static bool run_case(const char *name, bool update) {
    char *dir = leat_asprintf("%s/%s", CASES, name), *path = leat_asprintf("%s/expected.txt", dir);
    struct leat_buffer actual = {0}, expected = {0};
    struct leat_error err = {0};
    bool same = true;
    explain_project(dir, &actual);
    if (update) {
        if (leat_io_write_durable(env.io, path, actual.data, actual.length, true, &err) != LEAT_OK)
            fail_msg("%s", err.text);
    } else if (leat_io_read_all(env.io, path, 1 << 20, &expected, &err) != LEAT_OK) {
        print_error("%s\n", err.text);
        same = false;
    } else if (strcmp(expected.data, actual.data) != 0) {
        print_error("%s differs. Actual:\n%s\n", path, actual.data);
        same = false;
    }
    leat_buffer_deinit(&actual);
    leat_buffer_deinit(&expected);
    free(path);
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
    struct leat_duck_options options = {.use = LEAT_DUCK_PLAN};
    struct leat_error err = {0};
    leat_env_real(&env);
    if (leat_duck_open(&options, &duck, &err))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    leat_duck_close(duck);
    return failed;
}
