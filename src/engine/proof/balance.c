/* The row balance (promise 2) of scheduled and full tables: of the records that bronze held at the run's frontier,
 * those that the run read and those that are dead letters. It stands in the frontier of the run's own commit, so that
 * it is as atomic as the run; late records do not exist there. Continuous tables count theirs step by step (step.c). */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"

json_t *leat_balance_json(const struct leat_engine *engine, const struct leat_balance *balance) {
    json_t *json = json_object();
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_balance *b = &balance[s];
        if (!b->in) continue;
        json_object_set_new(json, engine->project->sources[s].name,
                            json_pack("[I,I,I,I]", (json_int_t)b->in, (json_int_t)b->admitted, (json_int_t)b->late,
                                      (json_int_t)b->dead));
    }
    return json;
}

void leat_balance_load(const struct leat_engine *engine, const json_t *json, struct leat_balance *out) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const json_t *b = json_object_get(json, engine->project->sources[s].name);
        out[s] = (struct leat_balance){
            (uint64_t)json_integer_value(json_array_get(b, 0)), (uint64_t)json_integer_value(json_array_get(b, 1)),
            (uint64_t)json_integer_value(json_array_get(b, 2)), (uint64_t)json_integer_value(json_array_get(b, 3))};
    }
}

void leat_balance_load_frontier(const struct leat_engine *engine, struct leat_gtable *table) {
    json_t *frontier = leat_table_frontier(table);
    leat_balance_load(engine, json_object_get(frontier, "balance"), table->balance);
    for (size_t i = 0; i < table->def->constraint_count; i++)
        table->violating[i] = json_integer_value(
            json_object_get(json_object_get(frontier, "violations"), table->def->constraints[i].name));
    json_decref(frontier);
}

static void add_query(struct leat_balance_plan *plan, size_t source, bool dead, struct leat_buffer *sql) {
    plan->queries = leat_realloc(plan->queries, (plan->query_count + 1) * sizeof *plan->queries);
    plan->queries[plan->query_count++] = (struct leat_balance_query){source, dead, sql->data};
    *sql = (struct leat_buffer){0};
}

/* What the run's view of the source holds. Without dead letters of the table that is all of bronze, and bronze says how
 * much. */
static void plan_admitted(const struct leat_gtable *table, const struct leat_src *src,
                          const struct leat_runs_pass *pass, struct leat_balance_plan *plan) {
    struct leat_buffer sql = {0};
    const struct leat_delta_snapshot *bronze = leat_delta_current(src->bronze);
    bool as_now = !pass || pass->bronze_versions[src->index] == bronze->version;
    if (as_now && leat_delta_current(table->dead.delta)->file_count == 0 && !src->begins.count) {
        for (size_t i = 0; i < bronze->file_count; i++)
            plan->balance[src->index].admitted += (uint64_t)bronze->files[i].row_count;
        return;
    }
    leat_put(&sql, "SELECT count(*) FROM ");
    leat_put_sql_name(&sql, src->def->name);
    add_query(plan, (size_t)src->index, false, &sql);
}

/* Undecodable records below the frontier, and those on which the table's expressions fail. */
static void plan_dead(const struct leat_engine *engine, const struct leat_gtable *table, const struct leat_src *src,
                      const struct leat_cursors *upto, struct leat_balance_plan *plan) {
    struct leat_buffer sql = {0}, below = {0};
    leat_bronze_put_below(upto, &below);
    leat_put(&below, " AND NOT ");
    leat_bronze_put_below(&src->begins, &below);
    if (leat_delta_current(src->dead)->file_count) {
        char *dir = leat_asprintf("%s/dead/%s", engine->lake_dir, src->def->name);
        leat_put(&sql, "SELECT count(*) FROM (");
        leat_delta_select(dir, leat_delta_current(src->dead), &src->dead_schema, below.data, &sql);
        leat_put(&sql, ")");
        free(dir);
        add_query(plan, (size_t)src->index, true, &sql);
    }
    if (leat_delta_current(table->dead.delta)->file_count) {
        char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, table->dead.suffix);
        leat_put(&sql, "SELECT count(*) FROM (SELECT DISTINCT _partition, _offset FROM (");
        leat_delta_select(dir, leat_delta_current(table->dead.delta), &table->dead.schema, NULL, &sql);
        leat_put(&sql, ") WHERE _source = ");
        leat_put_sql_string(&sql, src->def->name);
        leat_putf(&sql, " AND %s)", below.data);
        free(dir);
        add_query(plan, (size_t)src->index, true, &sql);
    }
    leat_buffer_deinit(&below);
}

void leat_balance_plan(const struct leat_engine *engine, const struct leat_gtable *table,
                       const struct leat_runs_pass *pass, struct leat_balance_plan *plan) {
    *plan =
        (struct leat_balance_plan){.balance = leat_alloc((engine->project->source_count + 1) * sizeof *plan->balance)};
    for (size_t i = 0; i < table->plan->input_count; i++) {
        size_t index = table->plan->inputs[i].index;
        if (table->plan->inputs[i].kind != LEAT_OBJECT_SOURCE || engine->references[index]) continue;
        const struct leat_src *src = &engine->sources[index];
        struct leat_cursors then = {0};
        if (pass)
            leat_cursors_parse(&then, json_object_get(json_object_get(pass->frontier, "offsets"), src->def->name));
        const struct leat_cursors *upto = pass ? &then : &src->bronzed;
        for (size_t p = 0; p < upto->count; p++)
            plan->balance[index].in += leat_src_kept(src, upto->items[p].partition, 0, upto->items[p].next);
        plan_admitted(table, src, pass, plan);
        plan_dead(engine, table, src, upto, plan);
        leat_cursors_free(&then);
    }
}

enum leat_status leat_balance_count(struct leat_balance_plan *plan, struct leat_conn *conn, struct leat_error *err) {
    for (size_t i = 0; i < plan->query_count; i++) {
        struct leat_balance *b = &plan->balance[plan->queries[i].source];
        int64_t rows = 0;
        enum leat_status st = leat_conn_int(conn, plan->queries[i].sql, &rows, err);
        if (st != LEAT_OK) return st;
        *(plan->queries[i].dead ? &b->dead : &b->admitted) += (uint64_t)rows;
    }
    return LEAT_OK;
}

void leat_balance_plan_deinit(struct leat_balance_plan *plan) {
    for (size_t i = 0; i < plan->query_count; i++)
        free(plan->queries[i].sql);
    free(plan->queries);
    free(plan->balance);
    *plan = (struct leat_balance_plan){0};
}
