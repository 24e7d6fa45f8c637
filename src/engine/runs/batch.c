/* Batch: a run is the table's completed SQL over views of the lake (views.c) at one frontier, and one atomic commit. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

/* ---- runs ---------------------------------------------------------------------------------------- */

static uint64_t records_of(const struct leat_cursors *cursors) {
    uint64_t records = 0;
    for (size_t p = 0; p < cursors->count; p++) records += cursors->items[p].next;
    return records;
}

/* Changes whenever something the table reads has changed: as it is now, or as a pass sees it. */
static uint64_t inputs_fingerprint(const struct leat_engine *engine, const struct leat_gtable *table, const struct leat_runs_pass *pass) {
    const json_t *frontier = pass ? pass->frontier : NULL;
    uint64_t print = 14695981039346656037u;
    for (size_t i = 0; i < table->plan->input_count; i++) {
        size_t index = table->plan->inputs[i].index;
        struct leat_cursors then = {0};
        uint64_t value;
        if (table->plan->inputs[i].kind == LEAT_OBJECT_TABLE) {
            const struct leat_gtable *input = &engine->tables[index];
            value = (uint64_t)(pass ? json_integer_value(json_object_get(json_object_get(frontier, "tables"), input->def->name))
                                    : leat_delta_current(input->delta)->version) + 1;
        } else if (engine->references[index]) {
            value = pass ? (uint64_t)json_integer_value(json_object_get(json_object_get(frontier, "references"), engine->project->sources[index].name))
                         : leat_reference_version(engine->references[index]);
        } else {
            if (pass) leat_cursors_parse(&then, json_object_get(json_object_get(frontier, "offsets"), engine->project->sources[index].name));
            value = records_of(pass ? &then : &engine->sources[index].ends);
            leat_cursors_free(&then);
        }
        print = (print ^ value) * 1099511628211u;
    }
    return print;
}

static enum leat_status journal_run(const struct leat_run *run, int64_t bytes, const char *error, struct leat_error *err) {
    struct leat_engine *engine = run->engine;
    const struct leat_gtable *table = run->table;
    json_t *record = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "t", "run", "table", table->def->name, "run",
                               (json_int_t)table->runs, "start", (json_int_t)run->start_us, "end", (json_int_t)leat_engine_now(engine),
                               "rows", (json_int_t)table->last_rows, "cpu_us", (json_int_t)table->last_cpu_us, "bytes",
                               (json_int_t)bytes, "version", (json_int_t)leat_delta_current(table->delta)->version);
    if (error) json_object_set_new(record, "error", json_string(error));
    json_object_set_new(record, "of", json_integer((json_int_t)run->records.of));
    if (run->adds) json_object_set_new(record, "added", json_integer((json_int_t)run->records.added));
    if (table->run_why) json_object_set_new(record, "why", json_string(table->run_why));
    if (!error && table->covered_us) json_object_set_new(record, "covered", json_integer(table->covered_us));
    json_object_set_new(record, "inputs", json_integer((json_int_t)table->inputs_seen));
    leat_history_add(engine, record);
    engine->status_is_news = true;
    return leat_engine_journal(engine, record, err);
}

static int64_t snapshot_rows(const struct leat_delta_snapshot *snapshot, int64_t *bytes) {
    int64_t rows = 0;
    *bytes = 0;
    for (size_t i = 0; i < snapshot->file_count; i++) {
        rows += snapshot->files[i].row_count > 0 ? snapshot->files[i].row_count : 0;
        *bytes += (int64_t)snapshot->files[i].size_bytes;
    }
    return rows;
}

/* ---- constraints ------------------------------------------------------------------------------------ */

#define CHECKED "temp.__leat_checked" /* what the run's checked query gave */

/* Computes the checked query once; how many of its rows violate each constraint. A violated FAIL UPDATE is an error. */
static enum leat_status check_rows(struct leat_run *run, struct leat_error *err) {
    const struct leat_gtable *table = run->table;
    struct leat_result result = {0};
    struct leat_buffer sql = {0};
    leat_putf(&sql, "CREATE OR REPLACE TEMP TABLE __leat_checked AS %s", table->plan->checked_sql);
    enum leat_status st = leat_conn_exec(run->conn, sql.data, err);
    if (st == LEAT_OK) {
        leat_buffer_reset(&sql);
        leat_plan_put_violations(table->def, CHECKED, &sql);
        st = leat_conn_query(run->conn, sql.data, &result, err);
    }
    for (size_t i = 0; st == LEAT_OK && i < table->def->constraint_count; i++)
        run->violating[i] = ((const int64_t *)result.rows.columns[i].data)[0];
    char *why = st == LEAT_OK ? leat_table_violation_text(table, run->violating) : NULL;
    if (why) st = leat_fail(err, LEAT_INVALID, "%s", why);
    free(why);
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

/* Before the table: a crash between the two leaves a run that is due again. */
static enum leat_status commit_quarantine(struct leat_run *run, const struct leat_delta_commit_info *info, struct leat_error *err) {
    struct leat_side *side = &run->table->quarantine;
    if (!run->quarantine) return LEAT_OK;
    struct leat_delta_txn txn = {info->txns[0].app_id, leat_delta_current(side->delta)->version + 1};
    struct leat_delta_commit_info own = *info;
    own.txns = &txn;
    return leat_delta_overwrite_staged(side->delta, run->quarantine, &own, NULL, err);
}

/* What the commit says it reflects; malloc'd. */
static char *run_frontier(const struct leat_run *run) {
    const struct leat_gtable *table = run->table;
    json_t *violations = json_object();
    for (size_t i = 0; i < table->def->constraint_count; i++)
        json_object_set_new(violations, table->def->constraints[i].name, json_integer(run->violating[i]));
    json_object_set_new(run->frontier, "balance", leat_balance_json(run->engine, run->counts.balance));
    json_object_set_new(run->frontier, "query", leat_table_query_id(run->engine, table));
    char *software = leat_engine_software(run->engine);
    json_object_set_new(run->frontier, "software", json_string(software));
    free(software);
    json_t *frozen = leat_frozen_json(table);
    if (frozen) json_object_set_new(run->frontier, "frozen", frozen);
    if (table->def->constraint_count) json_object_set(run->frontier, "violations", violations);
    json_decref(violations);
    return json_dumps(run->frontier, JSON_COMPACT);
}

/* Rule 3: a run over bronze that somebody deleted from would erase what came of it. */
static enum leat_status bronze_lacks(const struct leat_engine *engine, size_t s, const struct leat_balance *b, struct leat_error *err) {
    const char *name = engine->project->sources[s].name;
    return leat_fail(err, LEAT_CORRUPT,
                     "bronze of source \"%s\" lacks %llu of %llu records: somebody deleted them. The table stays as it is; to run it again, restore "
                     "%s/bronze/%s to a version that has them",
                     name, (unsigned long long)(b->in - b->admitted - b->dead), (unsigned long long)b->in, engine->lake_dir, name);
}

/* Rule 3: rows that outlive their records stay. */
static enum leat_status keep_frozen(struct leat_run *run, char **rows, struct leat_error *err) {
    struct leat_gtable *table = run->table;
    struct leat_buffer sql = {0};
    enum leat_status st = leat_reflects_query(run->engine, table) ? LEAT_OK : leat_retain_may_apply(run->engine, table, err);
    if (st != LEAT_OK || table->frozen_us == INT64_MIN) return st;
    leat_putf(&sql, "SELECT * FROM (%s\n) WHERE ", *rows);
    leat_table_put_frozen(table, false, &sql);
    leat_put(&sql, " UNION ALL SELECT * FROM (");
    st = leat_table_select(run->engine, table, -1, &sql, err);
    leat_put(&sql, ") WHERE ");
    leat_table_put_frozen(table, true, &sql);
    free(*rows);
    *rows = sql.data;
    return st;
}

/* What there is, with what is new. */
static enum leat_status stage_merge(struct leat_run *run, struct leat_error *err) {
    struct leat_buffer there = {0}, sql = {0};
    enum leat_status st = leat_table_select(run->engine, run->table, -1, &there, err);
    if (st == LEAT_OK) {
        leat_plan_put_merge(run->table->plan, there.data, run->table->plan->completed_sql, &sql);
        run->content = leat_delta_stage(run->table->delta, sql.data);
    }
    leat_buffer_deinit(&there);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status stage_content(struct leat_run *run, struct leat_error *err) {
    struct leat_gtable *table = run->table;
    char *rows = table->plan->checked_sql ? leat_plan_checked_rows(table->plan, table->def, CHECKED, false) : leat_strdup(table->plan->completed_sql);
    enum leat_status st = keep_frozen(run, &rows, err);
    if (st == LEAT_OK) run->content = leat_delta_stage(table->delta, rows);
    free(rows);
    if (st != LEAT_OK || !table->plan->checked_sql || !table->quarantine.delta) return st;
    rows = leat_plan_checked_rows(table->plan, table->def, CHECKED, true);
    run->quarantine = leat_delta_stage(table->quarantine.delta, rows);
    free(rows);
    return st;
}

/* What the query is to do and see, in the engine's thread. */
static enum leat_status prepare_query(struct leat_run *run, struct leat_error *err) {
    const struct leat_runs_pass *pass = run->pass;
    struct leat_buffer frontier = {0};
    if (pass) {
        run->frontier = json_deep_copy(pass->frontier);
    } else {
        leat_frontier_json(run->engine, NULL, NULL, &frontier);
        run->frontier = json_loads(frontier.data, 0, NULL);
        leat_buffer_deinit(&frontier);
    }
    leat_reflects_put_ids(run->engine, run->table, run->frontier);
    run->inputs = inputs_fingerprint(run->engine, run->table, pass);
    leat_balance_plan(run->engine, run->table, pass, &run->counts);
    run->violating = leat_alloc((run->table->def->constraint_count + 1) * sizeof *run->violating);
    run->adds = LEAT_ADDS_NOTHING;
    if (!run->whole) run->adds = leat_run_adds(run->engine, run->table, run->frontier, &run->records);
    if (run->adds) run->base = leat_strdup(leat_delta_current(run->table->delta)->frontier_json);
    enum leat_status st = leat_frozen_before_run(run->engine, run->table, err);
    if (st == LEAT_OK) st = run->adds == LEAT_ADDS_GROUPS ? stage_merge(run, err) : stage_content(run, err);
    if (st != LEAT_OK || !run->adds) return st == LEAT_OK ? leat_run_views_collect(run, pass ? pass->frontier : NULL, err) : st;
    for (size_t i = 0; i < run->counts.query_count; i++) /* they count what the views hold: what is new */
        if (!run->counts.queries[i].dead) run->counts.balance[run->counts.queries[i].source].admitted += run->table->balance[run->counts.queries[i].source].admitted;
    json_t *seen = json_copy(run->frontier);
    json_object_set(seen, "since", run->records.since);
    st = leat_run_views_collect(run, seen, err);
    json_decref(seen);
    return st;
}

/* In any thread. */
static enum leat_status compute_query(struct leat_run *run, struct leat_run_space *space, struct leat_error *err) {
    const struct leat_engine *engine = run->engine;
    leat_conn_set_clock(run->conn, json_integer_value(json_object_get(run->frontier, "clock")));
    enum leat_status st = leat_space_make(space, &run->views, err);
    if (st == LEAT_OK) st = leat_balance_count(&run->counts, run->conn, err);
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++) {
        const struct leat_balance *b = &run->counts.balance[s];
        if (b->admitted + b->dead < b->in) st = bronze_lacks(engine, s, b, err);
    }
    if (st == LEAT_OK && run->table->plan->checked_sql) st = check_rows(run, err);
    if (st == LEAT_OK && run->quarantine) st = leat_delta_stage_run(run->quarantine, run->conn, err);
    if (st == LEAT_OK) st = leat_delta_stage_run(run->content, run->conn, err);
    return st == LEAT_OK && run->table->plan->checked_sql ? leat_conn_exec(run->conn, "DROP TABLE " CHECKED, err) : st;
}

static enum leat_status commit_query(struct leat_run *run, struct leat_error *err) {
    struct leat_gtable *table = run->table;
    enum leat_status st = leat_frozen_note_late(run, err);
    if (st != LEAT_OK) return st;
    char *app_id = leat_table_app_id(run->engine, table), *frontier = run_frontier(run);
    struct leat_delta_txn txn = {app_id, (int64_t)table->runs + 1};
    struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = frontier, .txns = &txn, .txn_count = 1};
    st = commit_quarantine(run, &info, err);
    if (st == LEAT_OK && run->adds == LEAT_ADDS_ROWS) st = leat_delta_append_staged(table->delta, run->content, &info, NULL, err);
    else if (st == LEAT_OK) st = leat_delta_overwrite_staged(table->delta, run->content, &info, NULL, err);
    if (st == LEAT_OK) {
        run->engine->manifest_is_due = true;
        memcpy(table->balance, run->counts.balance, run->engine->project->source_count * sizeof *table->balance);
        memcpy(table->violating, run->violating, table->def->constraint_count * sizeof *table->violating);
    }
    free(frontier);
    free(app_id);
    return st;
}

/* What belongs to one query. */
static void forget_query(struct leat_run *run) {
    leat_run_views_deinit(&run->views);
    leat_balance_plan_deinit(&run->counts);
    json_decref(run->frontier);
    json_decref(run->records.since);
    run->records.since = NULL;
    free(run->base);
    run->base = NULL;
    free(run->violating);
    leat_delta_stage_free(run->content);
    leat_delta_stage_free(run->quarantine);
    run->frontier = NULL;
    run->violating = NULL;
    run->content = run->quarantine = NULL;
}

/* ---- rule 10 in batch: source rows whose expressions raise are dead letters, not the end of the run ------------------ */

/* The rows of the source below a MAP for which its filter, or past the filter an expression, raises. */
static void put_failing_rows(const struct leat_run *run, const struct leat_op *map, const struct leat_op *source, const char *reason,
                             struct leat_buffer *sql) {
    const struct leat_src *src = &run->engine->sources[source->object];
    struct leat_schema row = {0};
    struct leat_cursors upto = {0};
    leat_cursors_parse(&upto, json_object_get(json_object_get(run->frontier, "offsets"), src->def->name));
    leat_source_row_schema(src->def, &row);
    leat_put(sql, "SELECT ");
    leat_put_sql_string(sql, src->def->name);
    leat_put(sql, " AS _source, __p AS _partition, __o AS _offset, ");
    leat_put_sql_string(sql, reason);
    leat_putf(sql, " AS reason, CAST(%llu AS BIGINT) AS step FROM (SELECT ", (unsigned long long)run->table->runs + 1);
    for (size_t i = 0; i < source->column_count; i++) {
        if (source->columns[i] == LEAT_COLUMN_PLACE) continue; /* no expression reads it */
        leat_put_sql_name(sql, row.fields[source->columns[i]].name);
        leat_putf(sql, " AS c%zu, ", i);
    }
    leat_put(sql, "_partition AS __p, _offset AS __o FROM (");
    leat_bronze_select(src, &upto, NULL, sql);
    leat_put(sql, ")) WHERE ");
    leat_map_put_raises(map, sql);
    leat_schema_deinit(&row);
    leat_cursors_free(&upto);
}

/* Stages the rows that fail now as the table's dead letters. False: there is nowhere to look. */
static bool stage_dead(struct leat_run *run, const char *reason) {
    const struct leat_plan *plan = run->table->plan->parts ? run->table->plan->parts : run->table->plan;
    struct leat_buffer sql = {0};
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct leat_op *map = &plan->ops[i], *below = map->child_count ? &plan->ops[map->children[0]] : NULL;
        if (map->kind != LEAT_OP_MAP || below->kind != LEAT_OP_SOURCE || !leat_map_can_fail(map)) continue;
        if (sql.length) leat_put(&sql, " UNION ");
        put_failing_rows(run, map, below, reason, &sql);
    }
    if (sql.length) run->dead = leat_delta_stage(run->table->dead.delta, sql.data);
    leat_buffer_deinit(&sql);
    return run->dead != NULL;
}

static void query_hash(const struct leat_gtable *table, char out[17]) {
    snprintf(out, 17, "%016llx", (unsigned long long)XXH3_64bits(table->plan->completed_sql, strlen(table->plan->completed_sql)));
}

/* Replaces the table's dead letters by those that are staged, or (NULL) by none. */
static enum leat_status set_dead(struct leat_run *run, struct leat_delta_staged *staged, struct leat_error *err) {
    struct leat_gtable *table = run->table;
    char hash[17], *app_id = leat_table_app_id(run->engine, table);
    query_hash(table, hash);
    char *query = leat_asprintf("{\"query\":\"%s\"}", hash);
    struct leat_delta_txn txn = {app_id, leat_delta_current(table->dead.delta)->version + 1};
    struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = query, .txns = &txn, .txn_count = 1};
    static const char none[] =
        "SELECT ''::VARCHAR AS _source, 0 AS _partition, 0::BIGINT AS _offset, ''::VARCHAR AS reason, 0::BIGINT AS step WHERE false";
    enum leat_status st = staged ? leat_delta_overwrite_staged(table->dead.delta, staged, &info, NULL, err)
                                 : leat_delta_overwrite(table->dead.delta, none, &info, NULL, err);
    free(app_id);
    free(query);
    return st;
}

/* Dead letters of another query are forgotten. */
static enum leat_status forget_strange_dead(struct leat_run *run, struct leat_error *err) {
    const struct leat_delta_snapshot *dead = leat_delta_current(run->table->dead.delta);
    char hash[17];
    query_hash(run->table, hash);
    if (!dead->file_count || (dead->frontier_json && strstr(dead->frontier_json, hash))) return LEAT_OK;
    return set_dead(run, NULL, err);
}

/* Late records of before the boundary of retention, or of FROZEN WHERE: what they would change stays as it is. */
static void put_outlived(const struct leat_engine *engine, const struct leat_gtable *table, struct leat_buffer *sql) {
    leat_put(sql, "(false");
    if (table->late_before_us > INT64_MIN) leat_putf(sql, " OR coalesce(event_time < make_timestamp(%lld), false)", (long long)table->late_before_us);
    for (size_t s = 0; s < engine->project->source_count; s++) {
        if (engine->references[s] || engine->sources[s].retained_us == INT64_MIN) continue;
        leat_put(sql, " OR (_source = ");
        leat_put_sql_string(sql, engine->project->sources[s].name);
        leat_putf(sql, " AND coalesce(event_time < make_timestamp(%lld), false))", (long long)engine->sources[s].retained_us);
    }
    leat_put(sql, ")");
}

/* The run of a table that was continuous has read what had been late for it: a restatement. */
static enum leat_status admit_late(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    struct leat_buffer outlived = {0}, rest = {0}, count = {0};
    int64_t admitted = 0;
    if (!table->late.delta || leat_delta_current(table->late.delta)->file_count == 0) return LEAT_OK;
    put_outlived(engine, table, &outlived);
    leat_putf(&count, "SELECT count(*) FILTER (WHERE NOT %s) FROM (", outlived.data);
    enum leat_status st = leat_side_select(engine, table, &table->late, -1, NULL, &count, err);
    leat_put(&count, ")");
    if (st == LEAT_OK) st = leat_conn_int(engine->batch_conn, count.data, &admitted, err);
    if (st == LEAT_OK && admitted) st = leat_side_select(engine, table, &table->late, -1, outlived.data, &rest, err);
    const struct leat_delta_commit_info info = {.operation = "WRITE"};
    if (st == LEAT_OK && admitted) st = leat_delta_overwrite(table->late.delta, rest.data, &info, NULL, err);
    leat_buffer_deinit(&outlived);
    leat_buffer_deinit(&rest);
    leat_buffer_deinit(&count);
    return st;
}

/* A run that begins before its time because of a deadline is that time's; any other one is of what was due when it began. */
static int64_t covered_by_run(struct leat_engine *engine, struct leat_gtable *table, int64_t start_us) {
    if (!table->def->cron) return 0;
    struct leat_run_plan plan = leat_deadline_plan(engine, table);
    return start_us >= plan.start_us && start_us < plan.scheduled_us ? plan.scheduled_us : start_us;
}

/* ---- a run in parts: begin, compute, end, and again while it says so ---------------------------------------------------- */

enum leat_status leat_run_begin(struct leat_engine *engine, struct leat_gtable *table, const struct leat_runs_pass *pass, struct leat_run **out,
                                struct leat_error *err) {
    struct leat_run *run = leat_alloc(sizeof *run);
    *run = (struct leat_run){.engine = engine, .table = table, .pass = pass, .start_us = leat_engine_now(engine),
                             .covered_us = covered_by_run(engine, table, leat_engine_now(engine)), .cpu_us = leat_usage_cpu_us(), .own_cpu_us = leat_usage_thread_cpu_us()};
    run->status = forget_strange_dead(run, &run->error);
    if (run->status == LEAT_OK) run->status = prepare_query(run, &run->error);
    *out = run;
    if (run->status == LEAT_OK || !run->error.fatal) return LEAT_OK; /* a failure is recorded at its end, as any other */
    *err = run->error;
    leat_run_free(run);
    *out = NULL;
    return err->status;
}

void leat_run_compute(struct leat_run *run, struct leat_run_space *space) {
    if (run->status != LEAT_OK) return;
    run->conn = space->conn;
    run->status = run->dead ? leat_delta_stage_run(run->dead, space->conn, &run->error) : compute_query(run, space, &run->error);
    run->conn = NULL;
}

/* Is what the run adds to still what there is? */
static bool stands_on(const struct leat_run *run) {
    const char *now = leat_delta_current(run->table->delta)->frontier_json;
    return now && run->base && strcmp(now, run->base) == 0;
}

/* The query again, without the rows that made it fail, or the failure where that has been tried. */
static bool goes_on(struct leat_run *run) {
    char reason[200];
    if (run->dead) { /* they are known now */
        if (run->status == LEAT_OK) run->status = set_dead(run, run->dead, &run->error);
        leat_delta_stage_free(run->dead);
        run->dead = NULL;
        if (run->status != LEAT_OK) return false;
        forget_query(run);
        run->status = prepare_query(run, &run->error);
        return run->status == LEAT_OK;
    }
    if (run->adds && !run->error.fatal && (run->status != LEAT_OK || !stands_on(run))) { /* whole runs know what to do about failures */
        run->whole = true;
        free(run->table->run_why);
        run->table->run_why = leat_strdup("what was new could not be added");
        forget_query(run);
        run->status = prepare_query(run, &run->error);
        return run->status == LEAT_OK;
    }
    if (run->status == LEAT_OK || run->tried_dead || !run->error.bad_data || run->error.fatal) return false;
    run->tried_dead = true;
    snprintf(reason, sizeof reason, "%.*s", (int)strcspn(run->error.text, "\n"), run->error.text);
    if (!stage_dead(run, reason)) return false;
    run->status = LEAT_OK;
    return true;
}

static enum leat_status record_failure(struct leat_run *run, struct leat_error *err) {
    struct leat_engine *engine = run->engine;
    struct leat_gtable *table = run->table;
    int64_t backoff = leat_setting_int(engine->project, "retry_backoff") << (table->failures < 10 ? table->failures : 10);
    table->failures++;
    table->retry_us = leat_engine_now(engine) + backoff;
    table->last_error = leat_strdup(run->error.text);
    table->last_rows = 0;
    leat_log(engine->env, LEAT_LOG_ERROR, "table %s: run failed, tried again in %lld s: %s", table->def->name, (long long)(backoff / 1000000),
             run->error.text);
    return journal_run(run, 0, run->error.text, err);
}

enum { FEW_ROWS = 1000 }; /* what sinks are told of so many is told at once, if the run was brief */

static enum leat_status record_success(struct leat_run *run, struct leat_error *err) {
    struct leat_engine *engine = run->engine;
    struct leat_gtable *table = run->table;
    int64_t bytes = 0;
    enum leat_status st;
    leat_deadline_ran(table, leat_engine_now(engine) - run->start_us, run->covered_us);
    table->runs++;
    table->run_added = run->adds != LEAT_ADDS_NOTHING;
    table->asked = false;
    table->failures = 0;
    table->retry_us = 0;
    table->inputs_seen = run->inputs;
    table->last_rows = snapshot_rows(leat_delta_current(table->delta), &bytes);
    if ((st = admit_late(engine, table, err)) != LEAT_OK) return st;
    bool long_told = run->pass && run->pass->beside && (run->beside || table->last_rows > FEW_ROWS);
    if ((st = leat_effects_ran(table, engine, long_told, err)) != LEAT_OK) return st;
    if ((st = journal_run(run, bytes, NULL, err)) != LEAT_OK || run->adds != LEAT_ADDS_ROWS) return st;
    return leat_setting_int(engine->project, "compact_files") ? leat_delta_compact(table->delta, 128u << 20, NULL, err) : LEAT_OK;
}

/* All that was used meanwhile, but for what this thread did beside: steps. */
static int64_t cpu_of(const struct leat_run *run) {
    int64_t cpu = leat_usage_cpu_us() - run->cpu_us;
    return run->beside ? cpu - (leat_usage_thread_cpu_us() - run->own_cpu_us) : cpu;
}

enum leat_status leat_run_end(struct leat_run *run, bool *again, struct leat_error *err) {
    struct leat_gtable *table = run->table;
    if ((*again = goes_on(run))) return LEAT_OK;
    if (run->status == LEAT_OK) run->status = commit_query(run, &run->error);
    table->last_cpu_us = cpu_of(run);
    table->batch_cpu_us += table->last_cpu_us;
    run->engine->phase_cpu_us[LEAT_PHASE_BATCH] += table->last_cpu_us;
    table->last_run_us = run->start_us;
    free(table->last_error);
    table->last_error = NULL;
    if (run->status == LEAT_OK) return record_success(run, err);
    if (!run->error.fatal) return record_failure(run, err);
    *err = run->error;
    return run->status;
}

void leat_run_free(struct leat_run *run) {
    if (!run) return;
    forget_query(run);
    leat_delta_stage_free(run->dead);
    free(run);
}

static enum leat_status run_here(struct leat_engine *engine, struct leat_gtable *table, struct leat_runs_pass *pass, struct leat_run_space *space, struct leat_error *err) {
    struct leat_run *run = NULL;
    bool again = true;
    enum leat_status st = space->conn ? LEAT_OK : leat_conn_open(engine->batch_duck, &space->conn, err);
    if (st == LEAT_OK) st = leat_run_begin(engine, table, pass, &run, err);
    while (st == LEAT_OK && again) {
        leat_run_compute(run, space);
        st = leat_run_end(run, &again, err);
    }
    leat_run_free(run);
    if (st == LEAT_OK && pass) leat_pass_ran(pass, table);
    return st;
}

/* Runs one table here and now. A failure that the disk did not cause leaves the table as it was, is recorded and retried with back-off. */
enum leat_status leat_batch_run(struct leat_engine *engine, struct leat_gtable *table, struct leat_runs_pass *pass, struct leat_error *err) {
    struct leat_run_space alone = {0};
    if (pass) return run_here(engine, table, pass, &pass->here, err); /* who holds the pass has seen to the threads */
    enum leat_status st = leat_engine_parallel(engine, true, err);
    if (st == LEAT_OK) st = run_here(engine, table, NULL, &alone, err);
    leat_space_close(&alone);
    return leat_engine_narrow(engine, st, err);
}

int64_t leat_batch_next_due(struct leat_engine *engine, struct leat_gtable *table) {
    if (table->suspended) return INT64_MAX;
    if (table->failures) return table->retry_us;
    if (table->asked) return 0;
    if (!table->def->cron) {
        if (!table->runs) return table->last_run_us;
        if (inputs_fingerprint(engine, table, NULL) == table->inputs_seen) return INT64_MAX;
        return leat_freshness_due(engine, &table->freshness, table->last_run_us, LEAT_ALL_FIFTHS);
    }
    return leat_deadline_plan(engine, table).start_us;
}

enum leat_status leat_engine_batch(struct leat_engine *engine, bool all, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    struct leat_runs_pass *pass = NULL;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < project->order_count && st == LEAT_OK; i++) {
        if (project->order[i].kind != LEAT_OBJECT_TABLE) continue;
        struct leat_gtable *table = &engine->tables[project->order[i].index];
        if (!leat_pass_is_due(engine, table, pass, all)) continue;
        if (!pass && (st = leat_pass_begin(engine, all, &pass, err)) == LEAT_OK) st = leat_engine_parallel(engine, true, err);
        if (st == LEAT_OK && table->def->ready_given) st = leat_alerts_look(engine, false, err); /* before it takes its time */
        if (st == LEAT_OK) st = leat_batch_run(engine, table, pass, err);
    }
    if (!pass) return st;
    leat_pass_end(pass);
    st = leat_engine_narrow(engine, st, err);
    return st == LEAT_OK ? leat_tables_commit(engine, err) : st; /* the manifest */
}
