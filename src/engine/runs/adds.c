/* How a scheduled table's run is computed: all of its query, or (plan/adds.c) what came since its last run, added to what is there. Which is
 * cheaper is told by what its runs took so far, which the journal keeps; REFRESH_MODE overrides. The content is the same either way, and how it
 * came about is in the run's record, so nothing has to be decided twice. The first run, one that was asked for, and one after anything
 * but new records may have changed the result (query, software, dead letters, parts) computes all. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/runs/runs.h"

static uint64_t records_of(const json_t *cursors) {
    const char *partition;
    json_t *pair;
    size_t i;
    uint64_t sum = 0;
    json_object_foreach((json_t *)cursors, partition, pair) sum += (uint64_t)json_integer_value(pair);
    json_array_foreach((json_t *)cursors, i, pair) sum += (uint64_t)json_integer_value(json_array_get(pair, 1));
    return sum;
}

static int source_of(const struct leat_plan *plan) {
    for (size_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == LEAT_OP_SOURCE) return plan->ops[i].object;
    return -1;
}

static enum leat_adds no(char **why, const char *text) {
    free(*why);
    *why = leat_strdup(text);
    return LEAT_ADDS_NOTHING;
}

/* What may have changed besides new records; NULL: nothing. */
static const char *changed_since(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *then) {
    if (table->asked) return "it was asked for";
    if (!then || !json_object_get(then, "balance")) return "the first run";
    char *app_id = leat_table_app_id(engine, table);
    bool ours = leat_delta_txn_version(leat_delta_current(table->delta), app_id) >= 0;
    free(app_id);
    if (!ours) return "the first run of this work folder"; /* offsets may mean other records than they did to another */
    if (json_object_get(then, "turned")) return "the first run since it was continuous";
    if (table->def->frozen.column) return "rows are frozen (FROZEN WHERE)";
    if (json_object_get(then, "frozen")) return "the first run since rows were frozen (FROZEN WHERE)";
    if (table->frozen_us > INT64_MIN) return "rows outlive their records (retention)";
    if (json_object_get(then, "parts")) return "parts were refreshed since the last run";
    char *software = leat_engine_software(engine);
    const char *was = json_string_value(json_object_get(then, "software"));
    bool same = leat_table_query_is(engine, table, json_object_get(then, "query")) && was && strcmp(was, software) == 0;
    free(software);
    if (!same) return "query, software or settings are others than at the last run";
    return leat_delta_current(table->dead.delta)->file_count ? "it has dead letters" : NULL;
}

/* The newest successful run of a kind; NULL: none is known. */
static const json_t *last_run(const struct leat_engine *engine, const struct leat_gtable *table, bool added) {
    for (size_t i = json_array_size(engine->history); i-- > 0;) {
        const json_t *run = json_array_get(engine->history, i);
        const char *name = json_string_value(json_object_get(run, "table"));
        if (name && strcmp(name, table->def->name) == 0 && !json_object_get(run, "error") && json_object_get(run, "of") &&
            (json_object_get(run, "added") != NULL) == added)
            return run;
    }
    return NULL;
}

static double number(const json_t *run, const char *key) {
    return (double)json_integer_value(json_object_get(run, key));
}

/* CPU time as runs of both kinds took it: a record costs what it did in a full run; adding costs besides what was not the records' then. */
static bool is_cheaper(const struct leat_engine *engine, const struct leat_gtable *table, enum leat_adds adds, uint64_t new_records, uint64_t all, char **why) {
    const json_t *full = last_run(engine, table, false), *added = last_run(engine, table, true);
    if (!full || number(full, "of") < 1) return no(why, "what a full run takes is not known yet"), false;
    double a_record = number(full, "cpu_us") / number(full, "of"), rows = adds == LEAT_ADDS_GROUPS ? (double)table->last_rows : 0;
    double besides = added ? number(added, "cpu_us") - number(added, "added") * a_record : rows * a_record;
    double add_us = (double)new_records * a_record + (besides > 0 ? besides : 0), all_us = (double)all * a_record;
    free(*why);
    *why = leat_asprintf("about %.0f ms of CPU for %" PRIu64 " new records, %.0f ms for all %" PRIu64 ", as former runs took", add_us / 1000, new_records, all_us / 1000, all);
    return add_us < all_us;
}

enum leat_adds leat_run_adds(const struct leat_engine *engine, struct leat_gtable *table, const json_t *now, struct leat_run_records *records) {
    const char *reason;
    const struct leat_plan *plan = table->plan;
    int source = source_of(plan);
    json_t *then = leat_table_frontier(table);
    const char *name = source >= 0 ? engine->project->sources[source].name : "";
    enum leat_adds adds = leat_plan_adds(plan, &reason);
    if (adds != LEAT_ADDS_NOTHING && (plan->checked_sql || leat_reads_clock(plan->completed_sql))) adds = LEAT_ADDS_NOTHING, reason = "it has constraints, or reads the clock";
    *records = (struct leat_run_records){.of = records_of(json_object_get(json_object_get(now, "offsets"), name))};
    if (adds == LEAT_ADDS_NOTHING) {
        adds = no(&table->run_why, reason ? reason : "its query is computed whole");
    } else if ((reason = changed_since(engine, table, then))) {
        adds = no(&table->run_why, reason);
    } else {
        json_t *since = json_object_get(json_object_get(then, "offsets"), name);
        uint64_t before = records_of(since);
        records->added = records->of >= before ? records->of - before : 0;
        bool forced = table->def->mode == LEAT_MODE_INCREMENTAL;
        if (!is_cheaper(engine, table, adds, records->added, records->of, &table->run_why) && !forced) adds = LEAT_ADDS_NOTHING;
        if (forced) no(&table->run_why, "REFRESH_MODE = INCREMENTAL");
        if (adds != LEAT_ADDS_NOTHING) records->since = json_pack("{s:O}", name, since ? since : json_null());
    }
    json_decref(then);
    return adds;
}
