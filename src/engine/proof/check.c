/* CREATE CHECK: a table compared with the system of record, by itself. A check looks at what the table's last commit reflects: unbounded sources up
 * to its offsets, references and other relations as they are now. The rows that differ are kept in lake/CHECK__differences, whose newest version
 * is the last finding; what was found is in that commit's frontier, so a restart knows it.
 *
 * A check without a schedule runs after commits, as often as the budget lets it: what it took, divided by `check_budget`, passes before the next. */
#include <stdlib.h>
#include <string.h>

#include "audit/compare.h"
#include "base/usage.h"
#include "engine/internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "schedule/cron.h"
#include "schedule/zone.h"

#define ROWS_MAX 10000 /* kept of a finding; all are counted */

struct leat_check {
    const struct leat_check_def *def;
    struct leat_delta *delta;
    struct leat_schema schema;
    char *dir;
    int64_t due_us, last_us, cpu_us;
    uint64_t seen;            /* what it has looked at: versions of the table and of references */
    uint64_t rows, other_rows, only_table, only_other, changed;
    double drift;
    char *error;
    bool told;
};

static const struct leat_type T_TIMESTAMP = {LEAT_TIMESTAMP, 0, 0}, T_VARCHAR = {LEAT_VARCHAR, 0, 0}, T_BIGINT = {LEAT_BIGINT, 0, 0};

static uint64_t differing(const struct leat_check *check) {
    return check->only_table + check->only_other + check->changed;
}

static void load_finding(struct leat_check *check) {
    const char *text = leat_delta_current(check->delta)->frontier_json;
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    check->last_us = json_integer_value(json_object_get(json, "checked_us"));
    check->rows = (uint64_t)json_integer_value(json_object_get(json, "rows"));
    check->other_rows = (uint64_t)json_integer_value(json_object_get(json, "other_rows"));
    check->only_table = (uint64_t)json_integer_value(json_object_get(json, "only_table"));
    check->only_other = (uint64_t)json_integer_value(json_object_get(json, "only_other"));
    check->changed = (uint64_t)json_integer_value(json_object_get(json, "changed"));
    check->drift = json_real_value(json_object_get(json, "drift_percent"));
    json_decref(json);
}

enum leat_status leat_checks_open(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    engine->checks = leat_alloc((engine->project->check_count + 1) * sizeof *engine->checks);
    for (size_t i = 0; i < engine->project->check_count && st == LEAT_OK; i++) {
        struct leat_check *check = &engine->checks[i];
        check->def = &engine->project->checks[i];
        leat_schema_add(&check->schema, "checked_at", T_TIMESTAMP, false);
        leat_schema_add(&check->schema, "kind", T_VARCHAR, false);
        leat_schema_add(&check->schema, "copies", T_BIGINT, false);
        leat_schema_add(&check->schema, "key", T_VARCHAR, false);
        leat_schema_add(&check->schema, "row_of_table", T_VARCHAR, false);
        leat_schema_add(&check->schema, "row_of_other", T_VARCHAR, false);
        leat_schema_add(&check->schema, "columns", T_VARCHAR, false);
        check->dir = leat_asprintf("%s/%s__differences", engine->lake_dir, check->def->name);
        const struct leat_delta_options options = {.name = check->def->name, .schema = &check->schema};
        st = leat_delta_open(engine->env, engine->batch_conn, check->dir, engine->scratch_dir, &options, &check->delta, err);
        if (st == LEAT_OK) load_finding(check);
    }
    return st == LEAT_OK ? st : leat_prepend(err, "checks");
}

void leat_checks_close(struct leat_engine *engine) {
    for (size_t i = 0; engine->checks && i < engine->project->check_count; i++) {
        struct leat_check *check = &engine->checks[i];
        if (check->delta) leat_delta_close(check->delta);
        leat_schema_deinit(&check->schema);
        free(check->dir);
        free(check->error);
    }
    free(engine->checks);
    engine->checks = NULL;
}

/* ---- one check --------------------------------------------------------------------------------------------------------- */

static uint64_t looked_at(const struct leat_engine *engine, const struct leat_check *check) {
    uint64_t print = (uint64_t)leat_delta_current(engine->tables[check->def->table].delta)->version + 1;
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (engine->references[s]) print = print * 1099511628211u + leat_reference_version(engine->references[s]);
    return print;
}

/* What the table's last commit reflects; references, and what that commit does not name, as they are now. NULL: nothing is committed. */
static json_t *frontier_of(const struct leat_engine *engine, const struct leat_gtable *table) {
    json_t *frontier = leat_table_frontier(table), *offsets = json_object_get(frontier, "offsets"), *references = json_object();
    for (size_t s = 0; frontier && s < engine->project->source_count; s++) {
        const char *name = engine->project->sources[s].name;
        if (engine->references[s])
            json_object_set_new(references, name, json_integer((json_int_t)leat_reference_version(engine->references[s])));
        else if (json_array_size(json_object_get(offsets, name)) == 0)
            json_object_set_new(offsets, name, leat_cursors_json(&engine->sources[s].bronzed));
    }
    if (frontier) json_object_set(frontier, "references", references);
    if (frontier) json_object_set_new(frontier, "tables", json_object());
    json_decref(references);
    return frontier;
}

static enum leat_status compare(struct leat_engine *engine, const struct leat_check *check, struct leat_compare_result *result, struct leat_error *err) {
    const struct leat_gtable *table = &engine->tables[check->def->table];
    struct leat_buffer content = {0};
    json_t *frontier = frontier_of(engine, table);
    enum leat_status st = frontier ? LEAT_OK : leat_fail(err, LEAT_NOT_FOUND, "the table has no content yet");
    if (st == LEAT_OK && json_object_get(frontier, "parts"))
        st = leat_fail(err, LEAT_INVALID, "parts of the table were refreshed since its last run; it is looked at again after the next");
    leat_conn_set_clock(engine->batch_conn, json_integer_value(json_object_get(frontier, "clock")));
    if (st == LEAT_OK) st = leat_batch_views(engine, engine->batch_conn, NULL, frontier, err);
    if (st == LEAT_OK) st = leat_table_select(engine, table, -1, &content, err);
    const struct leat_compare_options options = {.left_sql = content.data, .right_sql = check->def->sql, .key = check->def->key, .key_count = check->def->key_count};
    if (st == LEAT_OK) st = leat_compare(engine->batch_conn, &options, result, err);
    leat_buffer_deinit(&content);
    json_decref(frontier);
    return st;
}

static enum leat_status keep(struct leat_engine *engine, struct leat_check *check, struct leat_error *err) {
    json_t *finding = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "checked_us", (json_int_t)check->last_us, "rows", (json_int_t)check->rows, "other_rows",
                                (json_int_t)check->other_rows, "only_table", (json_int_t)check->only_table, "only_other", (json_int_t)check->only_other,
                                "changed", (json_int_t)check->changed, "drift_percent", check->drift);
    char *text = json_dumps(finding, JSON_COMPACT);
    char *sql = leat_asprintf("SELECT make_timestamp(%lld) AS checked_at, CASE kind WHEN 'left' THEN 'only in the table' WHEN 'right' THEN 'only in the other' "
                              "ELSE 'differs' END AS kind, copies, key, \"left\" AS row_of_table, \"right\" AS row_of_other, columns FROM " LEAT_DIFFERENCES
                              " ORDER BY key, row_of_table, row_of_other LIMIT %d",
                              (long long)check->last_us, ROWS_MAX);
    const struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = text};
    enum leat_status st = leat_delta_overwrite(check->delta, sql, &info, NULL, err);
    free(sql);
    free(text);
    json_decref(finding);
    (void)engine;
    return st;
}

static void tell(struct leat_engine *engine, struct leat_check *check) {
    bool drifts = differing(check) > 0;
    if (drifts == check->told) return;
    check->told = drifts;
    if (drifts)
        leat_log(engine->env, LEAT_LOG_WARN, "check %s: %llu row%s of table %s differ (%.3f %%); %s__differences has them", check->def->name,
                 (unsigned long long)differing(check), differing(check) == 1 ? "" : "s", check->def->of, check->drift, check->def->name);
    else
        leat_log(engine->env, LEAT_LOG_WARN, "check %s: table %s agrees again", check->def->name, check->def->of);
}

static enum leat_status take(struct leat_engine *engine, struct leat_check *check, const struct leat_compare_result *result, struct leat_error *err) {
    bool known = check->last_us && differing(check) == 0 && leat_compare_differing(result) == 0; /* nothing, and nothing before: not worth a commit */
    check->rows = result->left_rows;
    check->other_rows = result->right_rows;
    check->only_table = result->only_left;
    check->only_other = result->only_right;
    check->changed = result->changed;
    check->drift = leat_compare_drift(result);
    check->last_us = leat_engine_now(engine);
    tell(engine, check);
    return known ? LEAT_OK : keep(engine, check, err);
}

static int64_t next_scheduled(struct leat_engine *engine, const struct leat_check *check) {
    struct leat_cron cron;
    struct leat_error ignored;
    if (leat_cron_parse(check->def->cron, &cron, &ignored) != LEAT_OK) return INT64_MAX;
    const char *zone = check->def->time_zone ? check->def->time_zone : leat_setting_text(engine->project, "time_zone");
    return leat_cron_next(&cron, leat_zone_find(engine->batch_conn, zone), check->last_us ? check->last_us : engine->created_us);
}

/* What it cannot compare is told in the status, and tried again. Errors: the disk's. */
static enum leat_status run(struct leat_engine *engine, struct leat_check *check, struct leat_error *err) {
    struct leat_compare_result result = {0};
    struct leat_error failure = {0};
    int64_t cpu = leat_usage_cpu_us(), budget = leat_setting_int(engine->project, "check_budget");
    uint64_t seen = looked_at(engine, check);
    enum leat_status st = compare(engine, check, &result, &failure), kept = LEAT_OK;
    free(check->error);
    check->error = NULL;
    if (st == LEAT_OK) kept = take(engine, check, &result, err);
    if (st != LEAT_OK && failure.fatal) {
        *err = failure;
        return st;
    }
    if (st != LEAT_OK && st != LEAT_NOT_FOUND) check->error = leat_strdup(failure.text);
    if (check->error) leat_log(engine->env, LEAT_LOG_WARN, "check %s: %s", check->def->name, check->error);
    leat_compare_deinit(&result);
    check->seen = seen;
    check->cpu_us = leat_usage_cpu_us() - cpu;
    check->due_us = leat_engine_now(engine) + (budget ? check->cpu_us * 100 / budget : 0);
    if (check->def->cron && st != LEAT_OK) check->last_us = leat_engine_now(engine); /* not again before its time */
    return kept;
}

/* ---- when -------------------------------------------------------------------------------------------------------------- */

static int64_t due(struct leat_engine *engine, const struct leat_check *check) {
    if (check->def->cron) return next_scheduled(engine, check);
    if (leat_setting_int(engine->project, "check_budget") == 0) return INT64_MAX;
    return looked_at(engine, check) == check->seen ? INT64_MAX : check->due_us;
}

int64_t leat_checks_next_due(struct leat_engine *engine) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; engine->checks && i < engine->project->check_count; i++) {
        int64_t at = due(engine, &engine->checks[i]);
        if (at < first) first = at;
    }
    return first;
}

enum leat_status leat_checks_run(struct leat_engine *engine, bool all, struct leat_error *err) {
    for (size_t i = 0; engine->checks && i < engine->project->check_count; i++) {
        struct leat_check *check = &engine->checks[i];
        int64_t at = due(engine, check);
        if (at == INT64_MAX && !all) continue;
        if (at > leat_engine_now(engine) && (!all || check->def->cron)) continue;
        enum leat_status st = run(engine, check, err);
        if (st != LEAT_OK) return leat_prepend(err, "check \"%s\"", check->def->name);
    }
    return LEAT_OK;
}

/* ---- what others see --------------------------------------------------------------------------------------------------- */

json_t *leat_checks_json(const struct leat_engine *engine) {
    json_t *all = json_array();
    for (size_t i = 0; engine->checks && i < engine->project->check_count; i++) {
        const struct leat_check *check = &engine->checks[i];
        json_t *json = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:o,s:I,s:s?}", "name", check->def->name, "table", check->def->of, "rows",
                                 (json_int_t)check->rows, "other_rows", (json_int_t)check->other_rows, "differing", (json_int_t)differing(check),
                                 "only_table", (json_int_t)check->only_table, "only_other", (json_int_t)check->only_other, "changed",
                                 (json_int_t)check->changed, "drift_percent", check->drift, "checked_us",
                                 check->last_us ? json_integer(check->last_us) : json_null(), "cpu_us", (json_int_t)check->cpu_us, "error", check->error);
        json_array_append_new(all, json);
    }
    return all;
}

uint64_t leat_check_differing(const struct leat_engine *engine, size_t index) {
    return differing(&engine->checks[index]);
}

void leat_check_select(const struct leat_engine *engine, size_t index, struct leat_buffer *sql) {
    const struct leat_check *check = &engine->checks[index];
    leat_delta_select(check->dir, leat_delta_current(check->delta), &check->schema, NULL, sql);
}
