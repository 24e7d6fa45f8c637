/* What the content of a scheduled or full table reflects, as the frontier of its last commit says, and whether that is there still. Versions of the
 * tables it read are numbers, which count anew where a table was replaced (other columns): so their tables' ids stand beside them. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/runs/runs.h"

void leat_reflects_put_ids(const struct leat_engine *engine, const struct leat_gtable *table, json_t *frontier) {
    json_t *ids = json_object();
    for (size_t i = 0; i < table->plan->input_count; i++) {
        const struct leat_gtable *input = leat_table_input(engine, table, i);
        if (input) json_object_set_new(ids, input->def->name, json_string(leat_delta_current(input->delta)->table_id));
    }
    if (json_object_size(ids)) json_object_set(frontier, "ids", ids);
    json_decref(ids);
}

bool leat_reflects_id(const json_t *frontier, const struct leat_gtable *input) {
    const char *id = json_string_value(json_object_get(json_object_get(frontier, "ids"), input->def->name)), *now = leat_delta_current(input->delta)->table_id;
    return !id || (now && strcmp(id, now) == 0);
}

/* Does the frontier name a version of the table that is there now? One from before there were ids is older than a table that took its place. */
static bool names(const json_t *frontier, const struct leat_gtable *input) {
    const struct leat_delta_snapshot *now = leat_delta_current(input->delta);
    json_t *version = json_object_get(json_object_get(frontier, "tables"), input->def->name);
    bool has_id = json_object_get(json_object_get(frontier, "ids"), input->def->name) != NULL;
    if (!version || json_integer_value(version) > now->version || !leat_reflects_id(frontier, input)) return false;
    return has_id || now->created_ms * 1000 <= json_integer_value(json_object_get(frontier, "clock"));
}

static bool reads_what_is_gone(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier) {
    for (size_t i = 0; frontier && i < table->plan->input_count; i++) {
        const struct leat_gtable *input = leat_table_input(engine, table, i);
        if (input && !names(frontier, input)) return true;
    }
    return false;
}

bool leat_reflects_query(const struct leat_engine *engine, const struct leat_gtable *table) {
    json_t *frontier = leat_table_frontier(table), *before = json_object_get(frontier, "query");
    bool same = !before || leat_table_query_is(engine, table, before);
    json_decref(frontier);
    return same;
}

void leat_reflects_ask(struct leat_engine *engine, bool knows_queries) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (!table->batch || table->asked) continue;
        json_t *frontier = leat_table_frontier(table);
        table->asked = reads_what_is_gone(engine, table, frontier) || (!knows_queries && !leat_reflects_query(engine, table));
        json_decref(frontier);
    }
}
