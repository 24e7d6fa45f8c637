/* Plans kept from one opening of a project to the next, for tests that open it thousands of times. */
#include <stdlib.h>

#include "engine/internal.h"

bool leat_plans_take(struct leat_engine *engine) {
    struct leat_engine_plans *kept = engine->kept;
    if (!kept || !kept->tables) return false;
    for (size_t t = 0; t < kept->table_count; t++) engine->tables[t].plan = kept->tables[t];
    for (size_t v = 0; v < kept->view_count; v++) engine->view_sql[v] = kept->views[v];
    free(kept->tables);
    free(kept->views);
    *kept = (struct leat_engine_plans){0};
    return true;
}

/* Everything or nothing: an opening that failed on the way keeps none. */
void leat_plans_give_back(struct leat_engine *engine) {
    struct leat_engine_plans *kept = engine->kept;
    const struct leat_project *project = engine->project;
    if (!kept || !project || !engine->tables) return;
    for (size_t t = 0; t < project->table_count; t++)
        if (!engine->tables[t].plan) return;
    kept->table_count = project->table_count;
    kept->view_count = project->view_count;
    kept->tables = leat_alloc((kept->table_count + 1) * sizeof *kept->tables);
    kept->views = leat_alloc((kept->view_count + 1) * sizeof *kept->views);
    for (size_t t = 0; t < kept->table_count; t++) {
        kept->tables[t] = engine->tables[t].plan;
        engine->tables[t].plan = NULL;
    }
    for (size_t v = 0; v < kept->view_count; v++) {
        kept->views[v] = engine->view_sql[v];
        engine->view_sql[v] = NULL;
    }
}

void leat_engine_plans_free(struct leat_engine_plans *plans) {
    for (size_t t = 0; t < plans->table_count; t++) leat_plan_free(plans->tables[t]);
    for (size_t v = 0; v < plans->view_count; v++) free(plans->views[v]);
    free(plans->tables);
    free(plans->views);
    *plans = (struct leat_engine_plans){0};
}
