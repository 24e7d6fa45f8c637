/* What the commands that compare tables ask of an engine. */
#include <stdlib.h>

#include "engine/internal.h"
#include "engine/change/change.h"
#include "engine/runs/runs.h"

enum leat_status leat_engine_content(struct leat_engine *engine, size_t table, struct leat_buffer *out, struct leat_error *err) {
    return leat_table_select(engine, &engine->tables[table], -1, out, err);
}

const struct leat_time_column *leat_table_time(const struct leat_gtable *table) {
    if (!table->group) return NULL;
    const struct leat_op *root = &table->plan->ops[table->plan->op_count - 1];
    return root->time_count ? &root->times[0] : NULL;
}

/* TABLE__windows: the rows, whether event time has passed them (as of the last commit), and how many late records wait to be admitted to them. */
enum leat_status leat_table_windows(struct leat_engine *engine, const struct leat_gtable *table, struct leat_buffer *sql, struct leat_error *err) {
    const struct leat_time_column *time = leat_table_time(table);
    json_t *frontier = leat_table_frontier(table), *cut = json_object_get(frontier, "cut");
    struct leat_buffer start = {0};
    leat_put(&start, "epoch_us(t.");
    leat_put_sql_name(&start, table->plan->schema.fields[time->column].name);
    leat_put(&start, ")");
    leat_putf(sql, "SELECT t.*, coalesce(%s <= %lld, false) AS _final, (SELECT count(*) FROM (", start.data,
              (long long)((cut ? json_integer_value(cut) : INT64_MIN) >= INT64_MIN + time->span_us ? json_integer_value(cut) - time->span_us : INT64_MIN));
    enum leat_status st = leat_side_select(engine, table, &table->late, -1, NULL, sql, err);
    leat_putf(sql, ") l WHERE epoch_us(l.event_time) >= %s AND epoch_us(l.event_time) < %s + %lld) AS _late_waiting FROM (", start.data, start.data,
              (long long)(time->span_us ? time->span_us : 1));
    if (st == LEAT_OK) st = leat_table_select(engine, table, -1, sql, err);
    leat_put(sql, ") t");
    leat_buffer_deinit(&start);
    json_decref(frontier);
    return st;
}

size_t leat_engine_key(const struct leat_engine *engine, size_t index, char ***names) {
    const struct leat_gtable *table = &engine->tables[index];
    const struct leat_schema *schema = &table->plan->schema;
    size_t count = 0;
    *names = leat_alloc((schema->field_count + 1) * sizeof **names);
    for (size_t i = 0; i < schema->field_count; i++)
        if (leat_table_is_key(table, i)) (*names)[count++] = leat_strdup(schema->fields[i].name);
    return count;
}
