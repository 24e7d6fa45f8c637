/* Status as one JSON document: for people (cli/), for other processes (<work>/status.json), for tests. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

static const char *class_name(const struct leat_gtable *table) {
    return table->def->cron ? "scheduled" : table->batch ? "full" : "incremental";
}

static json_t *time_or_null(int64_t us) {
    return us == INT64_MIN || us == INT64_MAX || us == 0 ? json_null() : json_integer(us);
}

static json_t *balance_json(const struct leat_engine *engine, const struct leat_gtable *table) {
    json_t *all = json_object();
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_balance *b = &table->balance[s];
        if (!b->in) continue;
        json_object_set_new(all, engine->project->sources[s].name,
                            json_pack("{s:I,s:I,s:I,s:I,s:b}", "in", (json_int_t)b->in, "admitted", (json_int_t)b->admitted, "late",
                                      (json_int_t)b->late, "dead", (json_int_t)b->dead, "exact",
                                      (int)(b->in == b->admitted + b->late + b->dead)));
    }
    return all;
}

static json_t *violations_json(const struct leat_gtable *table) {
    json_t *all = json_object();
    for (size_t i = 0; i < table->def->constraint_count; i++)
        json_object_set_new(all, table->def->constraints[i].name, json_integer(leat_table_violating(table, i)));
    return all;
}

/* Operators that several tables share are theirs in equal parts. */
static int64_t step_cpu_us(const struct leat_gtable *table) {
    const struct leat_group *g = table->group;
    int64_t used = 0;
    for (int i = 0; g && i < g->node_count; i++) {
        int feeds = 0;
        bool mine = false;
        for (int t = 0; t < g->table_count; t++) {
            feeds += g->nodes[i].feeds[t];
            mine |= g->nodes[i].feeds[t] && g->tables[t] == table;
        }
        if (mine) used += g->nodes[i].cpu_us / feeds;
    }
    return used;
}

/* Rows whose `column` plus span is not after before_us are final: event time has passed them. NULL: nothing makes rows final. */
static json_t *final_json(const struct leat_gtable *table) {
    const struct leat_op *root = &table->plan->ops[table->plan->op_count - 1];
    if (!root->time_count) return NULL;
    const struct leat_time_column *time = &root->times[0];
    int64_t cut = leat_group_cut(table->group, table->root);
    return json_pack("{s:s,s:I,s:o}", "column", root->schema.fields[time->column].name, "span_us", (json_int_t)time->span_us, "before_us",
                     time_or_null(cut));
}

/* In words; NULL: one freshness holds at all hours. */
static json_t *calendar_json(const struct leat_freshness *f) {
    struct leat_buffer text = {0};
    if (!f->calendar.else_us) return NULL;
    leat_freshness_put(f, &text);
    json_t *json = json_string(text.data);
    leat_buffer_deinit(&text);
    return json;
}

static json_t *table_json(struct leat_engine *engine, struct leat_gtable *table) {
    const struct leat_delta_snapshot *snapshot = leat_delta_current(table->delta);
    int64_t rows = 0, bytes = 0;
    for (size_t i = 0; i < snapshot->file_count; i++) {
        rows += snapshot->files[i].row_count > 0 ? snapshot->files[i].row_count : 0;
        bytes += (int64_t)snapshot->files[i].size_bytes;
    }
    json_t *json = json_pack("{s:s,s:s,s:i,s:I,s:I,s:I,s:I,s:o}", "name", table->def->name, "kept", class_name(table), "class",
                             table->plan->incremental_class, "rows", (json_int_t)rows, "bytes", (json_int_t)bytes, "files",
                             (json_int_t)snapshot->file_count, "version", (json_int_t)snapshot->version, "balance",
                             balance_json(engine, table));
    json_object_set_new(json, "step_cpu_us", json_integer(step_cpu_us(table)));
    json_object_set_new(json, "commit_cpu_us", json_integer(table->commit_cpu_us));
    if (!table->group) json_object_set_new(json, "batch_cpu_us", json_integer(table->batch_cpu_us));
    if (table->suspended) json_object_set_new(json, "suspended", json_true());
    if (table->def->frozen.column) json_object_set_new(json, "frozen", json_pack("{s:s,s:o}", "column", table->def->frozen.column, "before_us", time_or_null(table->closed_us)));
    if (table->def->constraint_count) json_object_set_new(json, "violations", violations_json(table));
    if (table->quarantine.delta) json_object_set_new(json, "quarantined", json_integer((json_int_t)leat_delta_rows(table->quarantine.delta)));
    if (table->group) {
        char *why = leat_table_held(table) ? leat_table_violation_text(table, NULL) : NULL;
        if (why) json_object_set_new(json, "error", json_string(why));
        free(why);
        leat_group_turn(table->group);
        json_object_set_new(json, "freshness_us", json_integer(table->group->freshness_us));
        json_t *calendar = calendar_json(&table->group->freshness);
        if (calendar) json_object_set_new(json, "calendar", calendar);
        json_object_set_new(json, "steps", json_integer((json_int_t)table->group->steps));
        json_object_set_new(json, "rows_touched", json_integer((json_int_t)table->group->rows_touched));
        json_object_set_new(json, "changes", json_integer((json_int_t)table->changes_out));
        json_object_set_new(json, "committed_step", json_integer((json_int_t)table->committed_step));
        json_object_set_new(json, "withheld", json_integer((json_int_t)table->withheld));
        json_t *final = final_json(table);
        if (final) json_object_set_new(json, "final", final);
        json_object_set_new(json, "restated", json_integer((json_int_t)table->restated));
        json_object_set_new(json, "restated_us", time_or_null(table->restated_us));
    } else {
        int64_t due = engine->read_only ? INT64_MAX : leat_batch_next_due(engine, table);
        json_object_set_new(json, "runs", json_integer((json_int_t)table->runs));
        json_object_set_new(json, "failures", json_integer(table->failures));
        json_object_set_new(json, "last_run_us", time_or_null(table->last_run_us));
        json_object_set_new(json, "next_run_us", time_or_null(due));
        const struct leat_run *run = leat_beside_run(engine);
        if (run && run->table == table) json_object_set_new(json, "running_since_us", json_integer(run->start_us));
        json_object_set_new(json, "last_cpu_us", json_integer(table->last_cpu_us));
        if (table->run_why && table->runs)
            json_object_set_new(json, "last_run", json_pack("{s:s,s:s}", "computed", table->run_added ? "what was new" : "all", "why", table->run_why));
        if (table->def->cron) json_object_set_new(json, "schedule", json_string(table->def->cron));
        if (table->def->cron && !engine->read_only) {
            struct leat_run_plan plan = leat_deadline_plan(engine, table);
            if (plan.ready_us != INT64_MAX) json_object_set_new(json, "ready_by_us", json_integer(plan.ready_us));
            json_object_set_new(json, "takes_us", json_integer(leat_deadline_takes(table)));
        }
        if (table->last_error) json_object_set_new(json, "error", json_string(table->last_error));
    }
    return json;
}

static json_t *log_bytes_json(struct leat_src *src) {
    pthread_mutex_lock(&src->log_lock);
    uint64_t bytes = leat_log_size_bytes(src->log);
    pthread_mutex_unlock(&src->log_lock);
    return json_integer((json_int_t)bytes);
}

static json_t *source_json(struct leat_engine *engine, size_t s) {
    const struct leat_source *def = &engine->project->sources[s];
    if (engine->references[s])
        return json_pack("{s:s,s:b,s:I,s:I}", "name", def->name, "reference", 1, "version",
                         (json_int_t)leat_reference_version(engine->references[s]), "rows",
                         (json_int_t)leat_reference_rows(engine->references[s]));
    struct leat_src *src = &engine->sources[s];
    uint64_t records = 0, dead = leat_delta_rows(src->dead);
    int64_t watermark = INT64_MAX;
    for (size_t i = 0; i < src->ends.count; i++) records += src->ends.items[i].next;
    for (int k = 0; k < engine->group_count; k++)
        if (engine->groups[k]->reads[s] && engine->groups[k]->watermarks[s] < watermark) watermark = engine->groups[k]->watermarks[s];
    json_t *json = json_pack("{s:s,s:b,s:I,s:I,s:I,s:o,s:o}", "name", def->name, "reference", 0, "records", (json_int_t)records,
                             "dead", (json_int_t)dead, "bronze_waiting", (json_int_t)leat_bronze_waiting(src), "offsets",
                             leat_cursors_json(&src->ends), "watermark_us", time_or_null(watermark));
    if (src->whole.idle) json_object_set_new(json, "idle", json_true());
    if (src->retained_us > INT64_MIN) json_object_set_new(json, "retained_from_us", json_integer(src->retained_us)); /* records before it are gone */
    if (src->log) json_object_set_new(json, "log_bytes", log_bytes_json(src));
    return json;
}

enum leat_status leat_engine_status(struct leat_engine *engine, struct leat_buffer *out, struct leat_error *err) {
    json_t *sources = json_array(), *tables = json_array(), *state = json_array();
    (void)err;
    engine->status_is_news |= leat_effects_moved(engine) || leat_alerts_moved(engine); /* for status.json, whoever asks here first */
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (!engine->project->sources[s].versions) json_array_append_new(sources, source_json(engine, s));
    for (size_t i = 0; i < engine->project->order_count; i++)
        if (engine->project->order[i].kind == LEAT_OBJECT_TABLE)
            json_array_append_new(tables, table_json(engine, &engine->tables[engine->project->order[i].index]));
    for (int k = 0; k < engine->group_count; k++)
        for (int i = 0; i < engine->groups[k]->node_count; i++) {
            struct leat_node_stats stats = {0};
            if (!engine->groups[k]->nodes[i].node) continue;
            leat_node_stats(engine->groups[k]->nodes[i].node, &stats);
            json_array_append_new(state, json_pack("{s:I,s:i,s:I,s:I,s:I,s:I,s:I}", "freshness_us",
                                                   (json_int_t)engine->groups[k]->freshness_us, "operator", i, "rows_in",
                                                   (json_int_t)stats.rows_in, "rows_out", (json_int_t)stats.rows_out, "keys_touched",
                                                   (json_int_t)stats.keys_touched, "state_keys", (json_int_t)stats.state_keys,
                                                   "state_bytes", (json_int_t)stats.state_bytes));
        }
    json_t *groups = json_array();
    for (int k = 0; k < engine->group_count; k++) json_array_append_new(groups, leat_pace_json(engine->groups[k]));
    json_t *json = json_pack("{s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:O}", "project", engine->project_dir, "step", (json_int_t)engine->step,
                             "clock_us", (json_int_t)engine->clock_us, "cpu_us", (json_int_t)leat_usage_cpu_us(), "peak_bytes",
                             (json_int_t)leat_usage_peak_bytes(), "sources", sources, "tables", tables, "groups", groups, "operators", state, "history",
                             engine->history);
    static const char *const PHASES[LEAT_PHASE_COUNT] = {"ingest", "step", "bronze", "commit", "checkpoint", "batch"};
    json_t *phases = json_object();
    for (int p = 0; p < LEAT_PHASE_COUNT; p++) json_object_set_new(phases, PHASES[p], json_integer(engine->phase_cpu_us[p]));
    json_object_set_new(json, "phase_cpu_us", phases);
    json_object_set_new(json, "sinks", leat_effects_json(engine));
    json_object_set_new(json, "alerts", leat_alerts_json(engine));
    json_t *webhook = leat_alerts_webhook_json(engine);
    if (webhook) json_object_set_new(json, "alert_webhook", webhook);
    if (engine->watch.periods) json_object_set_new(json, "drift_watch", leat_watch_json(engine));
    if (engine->project->check_count) json_object_set_new(json, "checks", leat_checks_json(engine));
    json_object_set_new(json, "now_us", json_integer(leat_engine_now(engine))); /* last: all before it is as it is without looking at a clock */
    char *text = json_dumps(json, JSON_INDENT(1));
    leat_put(out, text);
    free(text);
    json_decref(json);
    return LEAT_OK;
}

enum leat_status leat_engine_publish_status(struct leat_engine *engine, struct leat_error *err) {
    int64_t now = leat_engine_now(engine);
    bool news = engine->status_is_news || engine->step != engine->status_step || leat_effects_moved(engine) || leat_alerts_moved(engine);
    if (now < engine->status_due_us || !news) return LEAT_OK;
    struct leat_buffer text = {0};
    struct leat_file *file;
    char *path = leat_asprintf("%s/status.json", engine->work_dir), *temp = leat_asprintf("%s/status.json.new", engine->work_dir);
    struct leat_io *io = engine->env->io;
    engine->status_due_us = now + 5000000;
    engine->status_step = engine->step;
    enum leat_status st = leat_engine_status(engine, &text, err);
    engine->status_is_news = false;
    if (st != LEAT_OK) goto out;
    /* Informative only: renamed whole, never synced, and no reason to stop. */
    struct leat_error problem = {0};
    enum leat_status written = io->ops->open(io, temp, LEAT_OPEN_TRUNCATE, &file, &problem);
    if (written == LEAT_OK) {
        written = io->ops->write(file, text.data, text.length, &problem);
        io->ops->close(file);
        if (written == LEAT_OK) written = io->ops->rename(io, temp, path, &problem);
    }
    if (written != LEAT_OK) leat_log(engine->env, LEAT_LOG_WARN, "%s", problem.text);
out:
    leat_buffer_deinit(&text);
    free(path);
    free(temp);
    return st;
}
