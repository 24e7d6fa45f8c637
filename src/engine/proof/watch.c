/* Drift watch: promise 1 is checked while leat runs. After commits, as often as the budget lets it, one table is compared with its SELECT: a
 * drawn period that event time has passed, where the table has windows, else all of it. Nothing runs where nothing was stepped. */
#include <stdlib.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"

/* The next table that can be compared; NULL: none. */
static struct leat_gtable *choose(struct leat_engine *engine) {
    struct leat_watch *w = &engine->watch;
    for (size_t i = 0; i < engine->project->table_count; i++) {
        struct leat_gtable *table = &engine->tables[w->next++ % engine->project->table_count];
        if (table->group && !leat_table_waits(table) && !leat_table_begins_anew(table) && leat_delta_current(table->delta)->file_count) return table;
    }
    return NULL;
}

/* A condition that picks a tenth of what is closed; NULL: the table has no windows, or none is closed. */
static enum leat_status draw_period(struct leat_engine *engine, struct leat_gtable *table, char **where, struct leat_error *err) {
    enum { PARTS = 10 };
    struct leat_watch *w = &engine->watch;
    const struct leat_time_column *time = leat_table_time(table);
    struct leat_buffer sql = {0}, content = {0};
    int64_t first = INT64_MAX, cut = time ? leat_group_cut(table->group, table->root) : INT64_MIN;
    *where = NULL;
    w->from_us = w->to_us = 0;
    if (!time || cut == INT64_MIN || cut == INT64_MAX) return LEAT_OK;
    enum leat_status st = leat_table_select(engine, table, -1, &content, err);
    leat_put(&sql, "SELECT coalesce(min(epoch_us(");
    leat_put_sql_name(&sql, table->plan->schema.fields[time->column].name);
    leat_putf(&sql, ")), %lld) FROM (%s)", (long long)INT64_MAX, content.data);
    if (st == LEAT_OK) st = leat_conn_int(engine->batch_conn, sql.data, &first, err);
    int64_t closed = cut - time->span_us - first, width = closed / PARTS;
    if (st == LEAT_OK && first != INT64_MAX && closed > 0) {
        if (width < time->span_us) width = time->span_us; /* holds the start of a window */
        if (width > closed) width = closed;
        w->from_us = first + (int64_t)leat_random_below(&engine->env->random, (uint64_t)(closed - width) + 1);
        w->to_us = w->from_us + width;
        leat_buffer_reset(&sql);
        leat_put_sql_name(&sql, table->plan->schema.fields[time->column].name);
        *where = leat_asprintf("epoch_us(%s) >= %lld AND epoch_us(%s) < %lld", sql.data, (long long)w->from_us, sql.data, (long long)w->to_us);
    }
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&content);
    return st;
}

static enum leat_status look(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    enum { EXAMPLES = 5 };
    struct leat_watch *w = &engine->watch;
    struct leat_buffer out = {0};
    uint64_t differing = 0;
    char *where = NULL;
    enum leat_status st = leat_engine_flush(engine, false, err);
    if (st != LEAT_OK) return st;
    if (table->drifting) /* what was found is looked at until it is mended */
        where = table->drift_where ? leat_strdup(table->drift_where) : NULL;
    else
        st = draw_period(engine, table, &where, err);
    if (st == LEAT_OK) st = leat_table_verify(engine, table, where, EXAMPLES, &out, &differing, err);
    if (st == LEAT_OK) {
        table->watched_us = w->checked_us = leat_engine_now(engine);
        table->drifting = differing;
        free(table->drift_where);
        table->drift_where = where;
        where = NULL;
        w->periods++;
        w->differing += differing;
        w->last = (size_t)table->index;
        if (differing) leat_log(engine->env, LEAT_LOG_ERROR, "drift watch: a table is not what its query says; 'leat rebuild %s' mends it: %s", table->def->name, out.data);
    } else if (!err->fatal) {
        leat_log(engine->env, LEAT_LOG_WARN, "drift watch: table %s: %s", table->def->name, err->text);
        st = LEAT_OK;
    }
    free(where);
    leat_buffer_deinit(&out);
    return st;
}

enum leat_status leat_watch_run(struct leat_engine *engine, struct leat_error *err) {
    struct leat_watch *w = &engine->watch;
    int64_t budget = leat_setting_int(engine->project, "drift_watch"), cpu = leat_usage_cpu_us();
    if (!budget || engine->step == w->step || leat_engine_now(engine) < w->due_us) return LEAT_OK;
    struct leat_gtable *table = choose(engine);
    w->step = engine->step;
    if (!table) return LEAT_OK;
    enum leat_status st = look(engine, table, err);
    w->due_us = leat_engine_now(engine) + (leat_usage_cpu_us() - cpu) * 100 / budget;
    return st;
}

json_t *leat_watch_json(const struct leat_engine *engine) {
    const struct leat_watch *w = &engine->watch;
    json_t *tables = json_object(); /* of each that was looked at: rows that differ, as last seen */
    for (size_t i = 0; i < engine->project->table_count; i++) {
        const struct leat_gtable *table = &engine->tables[i];
        if (!table->watched_us) continue;
        json_object_set_new(tables, table->def->name,
                            json_pack("{s:I,s:I}", "differing", (json_int_t)table->drifting, "checked_us", (json_int_t)table->watched_us));
    }
    return json_pack("{s:I,s:I,s:s,s:I,s:I,s:I,s:o}", "periods", (json_int_t)w->periods, "differing", (json_int_t)w->differing, "table",
                     engine->tables[w->last].def->name, "checked_us", (json_int_t)w->checked_us, "from_us", (json_int_t)w->from_us, "to_us",
                     (json_int_t)w->to_us, "tables", tables);
}
