/* Of a rehearsal nothing is looked at before its end (`ends_us`). Runs and restatements that are done over again by then, and that nothing remembers,
 * leave no trace: the last ones see the same records. They are left out; else a long rehearsal would compute each day all days before it anew.
 *
 * What remembers: FROZEN WHERE and retention keep rows that could not be made again; FAIL UPDATE keeps the content of before. (No
 * continuous table reads a scheduled one: group.c.) */
#include "engine/internal.h"
#include "engine/runs/runs.h"

static bool remembers(const struct leat_engine *engine) {
    const struct leat_project *project = engine->project;
    for (size_t s = 0; s < project->source_count; s++)
        if (!project->sources[s].reference && leat_source_option_int(&project->sources[s], "retention", 0)) return true;
    for (size_t t = 0; t < project->table_count; t++) {
        if (project->tables[t].frozen.column) return true;
        for (size_t i = 0; i < project->tables[t].constraint_count; i++)
            if (project->tables[t].constraints[i].action == LEAT_ON_FAIL_UPDATE) return true;
    }
    return false;
}

bool leat_is_overtaken(const struct leat_engine *engine, int64_t again_us) {
    return engine->options.ends_us && again_us <= engine->options.ends_us && !remembers(engine);
}

static void pass_over(struct leat_engine *engine, struct leat_gtable *table) {
    int64_t covered_us = table->covered_us, last_run_us = table->last_run_us, now = leat_engine_now(engine);
    if (table->def->cron)
        table->covered_us = leat_deadline_plan(engine, table).scheduled_us;
    else
        table->last_run_us = now;
    int64_t again_us = leat_batch_next_due(engine, table);
    if (again_us > now && leat_is_overtaken(engine, again_us)) return;
    table->covered_us = covered_us;
    table->last_run_us = last_run_us;
}

void leat_runs_pass_over(struct leat_engine *engine) {
    if (!engine->options.ends_us) return;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (!leat_pass_is_due(engine, table, NULL, false) || table->asked || table->failures) continue;
        pass_over(engine, table);
    }
}
