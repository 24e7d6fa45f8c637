/* The engine's own part of a checkpoint (and of the journal's head record): everything but the operators' state. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"

enum { HISTORY_MAX = 200 };

void leat_history_add(struct leat_engine *engine, json_t *run) {
    json_array_append(engine->history, run);
    if (json_array_size(engine->history) > HISTORY_MAX) json_array_remove(engine->history, 0);
}

char *leat_engine_software(const struct leat_engine *engine) {
    return leat_asprintf("leat %s;duckdb %s;tz %s;max_future %s;", LEAT_VERSION, leat_duck_version(),
                         leat_setting_text(engine->project, "time_zone"), leat_setting_text(engine->project, "max_future"));
}

/* Rule 5: what must be equal for a replay to mean the same: software, settings, plans. */
char *leat_engine_fingerprint(const struct leat_engine *engine) {
    struct leat_buffer text = {0};
    char *software = leat_engine_software(engine);
    leat_put(&text, software);
    free(software);
    for (int k = 0; k < engine->group_count; k++) {
        const struct leat_group *g = engine->groups[k];
        json_t *freshness = leat_freshness_json(&g->freshness);
        char *id = json_dumps(freshness, JSON_ENCODE_ANY | JSON_COMPACT);
        leat_putf(&text, "group %s;", id);
        free(id);
        json_decref(freshness);
        if (g->suspended) leat_putf(&text, "suspended;");
        for (int i = 0; i < g->node_count; i++) {
            leat_putf(&text, "%s@%lld/%d", g->nodes[i].op->signature, (long long)g->nodes[i].lateness_us,
                      g->nodes[i].late_class);
            char *set = leat_cut_set_name(g, g->nodes[i].cut_set);
            leat_putf(&text, "%s", set);
            free(set);
            leat_put(&text, ";");
        }
        for (int t = 0; t < g->table_count; t++) {
            leat_putf(&text, "%s=%d;", g->tables[t]->def->name, g->tables[t]->root);
            leat_table_put_columns(g->tables[t], &text);
        }
    }
    XXH128_hash_t hash = XXH3_128bits(text.data, text.length);
    leat_buffer_deinit(&text);
    return leat_asprintf("%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

json_t *leat_group_json(const struct leat_group *g) {
    const struct leat_project *project = g->engine->project;
    json_t *cursors = json_object(), *watermarks = json_object(), *times = json_object(), *references = json_object();
    json_t *history = json_object(), *floors = json_object();
    for (size_t s = 0; s < project->source_count; s++) {
        const char *name = project->sources[s].name;
        if (!g->reads[s]) {
            if (g->reference_versions[s]) json_object_set_new(references, name, json_integer((json_int_t)g->reference_versions[s]));
            continue;
        }
        json_object_set_new(cursors, name, leat_cursors_json(&g->cursors[s]));
        json_object_set_new(watermarks, name, json_integer(g->watermarks[s]));
        if (g->history[s].count) json_object_set_new(history, name, leat_cursors_json(&g->history[s]));
        if (g->floors[s] != INT64_MIN) json_object_set_new(floors, name, json_integer(g->floors[s]));
        json_t *list = json_array();
        for (size_t i = 0; i < g->time_counts[s]; i++)
            json_array_append_new(list, json_pack("[I,I]", (json_int_t)g->times[s][i].partition, (json_int_t)g->times[s][i].max_event_us));
        json_object_set_new(times, name, list);
    }
    json_t *json = json_pack("{s:o,s:b,s:I,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "freshness", leat_freshness_json(&g->freshness), "started", (int)g->started,
                     "clock", (json_int_t)g->last_clock_us, "steps", (json_int_t)g->steps, "rows_touched",
                     (json_int_t)g->rows_touched, "cursors", cursors, "wm", watermarks, "times", times, "ref", references, "history",
                     history, "floors", floors, "cut_sets", leat_cut_sets_json(g));
    if (g->suspended) json_object_set_new(json, "suspended", json_string(g->suspended->def->name));
    if (g->versions) json_object_set(json, "versions", g->versions);
    return json;
}

static json_t *table_json(const struct leat_engine *engine, const struct leat_gtable *table) {
    json_t *json = json_pack("{s:I,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "runs", (json_int_t)table->runs, "failures",
                             table->failures, "last_run", (json_int_t)table->last_run_us, "retry", (json_int_t)table->retry_us,
                             "inputs", (json_int_t)table->inputs_seen, "rows", (json_int_t)table->last_rows, "cpu_us",
                             (json_int_t)table->last_cpu_us, "changes", (json_int_t)table->changes_out, "withheld",
                             (json_int_t)table->withheld, "balance", leat_balance_json(engine, table->balance));
    char *signature = leat_table_signature(engine, table);
    json_object_set_new(json, "sig", json_string(signature));
    free(signature);
    json_object_set_new(json, "query", leat_table_query_id(engine, table));
    if (table->last_error) json_object_set_new(json, "error", json_string(table->last_error));
    if (table->group) json_object_set_new(json, "g", leat_freshness_json(&table->group->freshness));
    if (table->group && (table->overwrite || leat_table_waits(table))) json_object_set_new(json, "waits", json_true());
    if (leat_table_held(table)) json_object_set_new(json, "held", json_true());
    json_object_set_new(json, "made", json_integer((json_int_t)table->made_step));
    if (table->suspended) json_object_set_new(json, "suspended", json_true());
    if (table->asked) json_object_set_new(json, "asked", json_true());
    if (table->covered_us) json_object_set_new(json, "covered", json_integer(table->covered_us));
    json_t *took = json_array();
    for (size_t i = 0; i < table->took_count; i++) json_array_append_new(took, json_integer(table->took_us[i]));
    if (table->took_count) json_object_set(json, "took", took);
    json_decref(took);
    if (table->turned_us) json_object_set_new(json, "turned", json_integer(table->turned_us));
    if (table->restated) json_object_set_new(json, "restated", json_pack("[I,I]", (json_int_t)table->restated, (json_int_t)table->restated_us));
    json_t *frozen = leat_frozen_json(table);
    if (frozen) json_object_set_new(json, "frozen", frozen);
    if (table->late_class) json_object_set_new(json, "late_class", json_integer(table->late_class));
    return json;
}

json_t *leat_engine_state(const struct leat_engine *engine) {
    json_t *groups = json_array(), *tables = json_object();
    for (int k = 0; k < engine->group_count; k++) json_array_append_new(groups, leat_group_json(engine->groups[k]));
    for (size_t t = 0; t < engine->project->table_count; t++)
        json_object_set_new(tables, engine->tables[t].def->name, table_json(engine, &engine->tables[t]));
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:o,s:o,s:o,s:O}", "t", "head", "n", (json_int_t)engine->step, "clock",
                     (json_int_t)engine->clock_us, "created", (json_int_t)engine->created_us, "reset_step",
                     (json_int_t)engine->reset_step, "restated", (json_int_t)engine->restated_us, "fp", engine->fingerprint, "groups", groups, "tables", tables, "project",
                     leat_project_json(engine->project), "history", engine->history);
}

static uint64_t get_u64(const json_t *object, const char *key) {
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

void leat_group_load(struct leat_group *g, const json_t *json) {
    const struct leat_project *project = g->engine->project;
    g->started = json_is_true(json_object_get(json, "started"));
    g->last_clock_us = (int64_t)get_u64(json, "clock");
    g->steps = get_u64(json, "steps");
    g->rows_touched = get_u64(json, "rows_touched");
    leat_cut_sets_clear(g);
    leat_cut_sets_load(g, json_object_get(json, "cut_sets"));
    json_decref(g->versions);
    g->versions = json_incref(json_object_get(json, "versions"));
    for (size_t s = 0; s < project->source_count; s++) {
        const char *name = project->sources[s].name;
        json_t *watermark = json_object_get(json_object_get(json, "wm"), name), *pair;
        json_t *times = json_object_get(json_object_get(json, "times"), name);
        json_t *floor = json_object_get(json_object_get(json, "floors"), name);
        leat_cursors_parse(&g->cursors[s], json_object_get(json_object_get(json, "cursors"), name));
        leat_cursors_parse(&g->history[s], json_object_get(json_object_get(json, "history"), name));
        g->floors[s] = floor ? json_integer_value(floor) : INT64_MIN;
        g->watermarks[s] = watermark ? json_integer_value(watermark) : INT64_MIN;
        g->reference_versions[s] = get_u64(json_object_get(json, "ref"), name);
        size_t i, n = json_array_size(times);
        g->times[s] = leat_realloc(g->times[s], (n + 1) * sizeof *g->times[s]);
        g->time_counts[s] = n;
        json_array_foreach(times, i, pair)
            g->times[s][i] = (struct leat_partition_time){(uint32_t)json_integer_value(json_array_get(pair, 0)),
                                                          json_integer_value(json_array_get(pair, 1))};
    }
}

/* How tables were arranged into nodes; a table that is not known shares with those that have nothing late. */
void leat_engine_load_classes(struct leat_engine *engine, const json_t *state) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const json_t *json = json_object_get(json_object_get(state, "tables"), engine->tables[t].def->name);
        engine->tables[t].late_class = (int)get_u64(json, "late_class");
        engine->tables[t].suspended = json_is_true(json_object_get(json, "suspended"));
    }
}

json_t *leat_state_group(const json_t *state, const char *table) {
    const json_t *known = json_object_get(json_object_get(state, "tables"), table), *freshness = json_object_get(known, "g");
    bool suspended = json_is_true(json_object_get(known, "suspended"));
    json_t *group;
    size_t i;
    json_array_foreach(json_object_get(state, "groups"), i, group) {
        const char *of = json_string_value(json_object_get(group, "suspended"));
        if (suspended ? of && strcmp(of, table) == 0 : freshness && !of && json_equal(json_object_get(group, "freshness"), freshness)) return group;
    }
    return NULL;
}

/* The history of batch runs survives any change of plans; stream state only when the fingerprint is equal. */
void leat_engine_load_runs(struct leat_engine *engine, const json_t *state) {
    engine->created_us = (int64_t)get_u64(state, "created");
    engine->reset_step = get_u64(state, "reset_step");
    engine->restated_us = (int64_t)get_u64(state, "restated");
    engine->step = get_u64(state, "n");
    int64_t clock = (int64_t)get_u64(state, "clock");
    if (clock > engine->clock_us) engine->clock_us = clock;
    json_t *history = json_object_get(state, "history");
    if (json_is_array(history)) {
        json_decref(engine->history);
        engine->history = json_incref(history);
    }
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        const json_t *json = json_object_get(json_object_get(state, "tables"), table->def->name);
        const char *error = json_string_value(json_object_get(json, "error"));
        table->runs = get_u64(json, "runs");
        table->failures = (int)get_u64(json, "failures");
        table->last_run_us = (int64_t)get_u64(json, "last_run");
        table->retry_us = (int64_t)get_u64(json, "retry");
        table->made_step = json_object_get(json, "made") ? get_u64(json, "made") : engine->reset_step;
        table->asked = json_is_true(json_object_get(json, "asked"));
        table->turned_us = (int64_t)get_u64(json, "turned");
        leat_frozen_load(table, json_object_get(json, "frozen"));
        if (table->batch && table->delta) leat_frozen_load_lake(table); /* a run's commit says it */
        table->covered_us = table->took_count = 0;
        json_t *took;
        size_t k;
        json_array_foreach(json_object_get(json, "took"), k, took) leat_deadline_ran(table, json_integer_value(took), (int64_t)get_u64(json, "covered"));
        table->inputs_seen = get_u64(json, "inputs");
        table->last_rows = (int64_t)get_u64(json, "rows");
        table->last_cpu_us = (int64_t)get_u64(json, "cpu_us");
        json_t *restated = json_object_get(json, "restated");
        table->restated = (uint64_t)json_integer_value(json_array_get(restated, 0));
        table->restated_us = json_integer_value(json_array_get(restated, 1));
        free(table->last_error);
        table->last_error = error ? leat_strdup(error) : NULL;
    }
    if (!engine->options.compile_only) leat_retain_settle(engine);
}

void leat_table_load_stream(struct leat_engine *engine, struct leat_gtable *table, const json_t *state) {
    const json_t *json = json_object_get(json_object_get(state, "tables"), table->def->name);
    table->changes_out = get_u64(json, "changes");
    table->withheld = get_u64(json, "withheld");
    if (!table->batch) leat_balance_load(engine, json_object_get(json, "balance"), table->balance);
}

void leat_engine_load_streams(struct leat_engine *engine, const json_t *state) {
    for (int k = 0; k < engine->group_count; k++) {
        const json_t *group = leat_state_group(state, engine->groups[k]->tables[0]->def->name);
        if (group) leat_group_load(engine->groups[k], group);
    }
    for (size_t t = 0; t < engine->project->table_count; t++) leat_table_load_stream(engine, &engine->tables[t], state);
}

/* A run found in the journal after its head. */
void leat_engine_replay_run(struct leat_engine *engine, json_t *run) {
    const char *name = json_string_value(json_object_get(run, "table"));
    const char *error = json_string_value(json_object_get(run, "error"));
    leat_history_add(engine, run);
    engine->manifest_is_due = true; /* it may not have come to that */
    for (size_t t = 0; name && t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (strcmp(table->def->name, name) != 0) continue;
        table->last_run_us = (int64_t)get_u64(run, "start");
        table->failures = error ? table->failures + 1 : 0;
        table->last_rows = (int64_t)get_u64(run, "rows");
        table->last_cpu_us = (int64_t)get_u64(run, "cpu_us");
        table->runs = get_u64(run, "run");
        table->asked &= error != NULL;
        if (!error) table->inputs_seen = get_u64(run, "inputs");
        const char *why = json_string_value(json_object_get(run, "why"));
        free(table->run_why);
        table->run_why = why ? leat_strdup(why) : NULL;
        table->run_added = json_object_get(run, "added") != NULL;
        if (!error) leat_deadline_ran(table, (int64_t)(get_u64(run, "end") - get_u64(run, "start")), (int64_t)get_u64(run, "covered"));
        free(table->last_error);
        table->last_error = error ? leat_strdup(error) : NULL;
    }
}
