/* Rule 2: late is decided once, per table and source record, and stored in t__late. What is built anew from bronze (a changed
 * project, a restatement, a lost work folder) reads the stored set for the records that were decided, the group's `history`;
 * the cut judges only what comes after.
 *
 * The set belongs to the table's name and the source's. Tables share a SOURCE node and what stands on it only while their sets are
 * equal: tables of one late_class. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/change/change.h"

static int compare(const void *a, const void *b) {
    const struct leat_late_key *x = a, *y = b;
    if (x->partition != y->partition) return x->partition < y->partition ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

bool leat_late_has(const struct leat_gtable *table, int source, uint32_t partition, uint64_t offset) {
    const struct leat_late_set *set = table->late_sets ? &table->late_sets[source] : NULL;
    const struct leat_late_key key = {partition, offset};
    return set && set->count && bsearch(&key, set->items, set->count, sizeof key, compare);
}

void leat_late_forget(struct leat_engine *engine, struct leat_gtable *table) {
    for (size_t s = 0; table->late_sets && s < engine->project->source_count; s++) free(table->late_sets[s].items);
    free(table->late_sets);
    table->late_sets = NULL;
}

static enum leat_status load_source(struct leat_engine *engine, struct leat_gtable *table, size_t s, const char *all, const char *except,
                                    struct leat_error *err) {
    struct leat_result result = {0};
    struct leat_buffer sql = {0};
    leat_putf(&sql, "SELECT DISTINCT _partition, _offset FROM (%s) WHERE _source = ", all);
    leat_put_sql_string(&sql, engine->project->sources[s].name);
    if (except) leat_putf(&sql, " AND NOT (%s)", except);
    leat_put(&sql, " ORDER BY ALL");
    enum leat_status st = leat_conn_query(engine->batch_conn, sql.data, &result, err);
    size_t n = st == LEAT_OK ? result.rows.row_count : 0;
    struct leat_late_key *items = n ? leat_alloc(n * sizeof *items) : NULL;
    for (size_t i = 0; i < n; i++)
        items[i] = (struct leat_late_key){(uint32_t)((const int32_t *)result.rows.columns[0].data)[i],
                                          (uint64_t)((const int64_t *)result.rows.columns[1].data)[i]};
    table->late_sets[s] = (struct leat_late_set){items, n};
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

enum leat_status leat_late_load(struct leat_engine *engine, struct leat_gtable *table, int64_t version, const char *except,
                                struct leat_error *err) {
    size_t n = engine->project->source_count;
    enum leat_status st = LEAT_OK;
    leat_late_forget(engine, table);
    table->late_sets = leat_alloc((n + 1) * sizeof *table->late_sets);
    if (!table->late.delta) return LEAT_OK;
    char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, table->late.suffix);
    struct leat_buffer all = {0};
    struct leat_delta_snapshot then = {0};
    const struct leat_delta_snapshot *snapshot = leat_delta_current(table->late.delta);
    if (version >= 0 && version != snapshot->version) {
        st = leat_delta_snapshot(engine->env, engine->batch_conn, dir, version, &then, err);
        snapshot = &then;
    }
    if (st == LEAT_OK && snapshot->file_count) {
        leat_delta_select(dir, snapshot, &table->late.schema, NULL, &all);
        for (size_t s = 0; s < n && st == LEAT_OK; s++)
            if (!engine->references[s]) st = load_source(engine, table, s, all.data, except, err);
    }
    leat_delta_snapshot_deinit(&then);
    leat_buffer_deinit(&all);
    free(dir);
    return st == LEAT_OK ? st : leat_prepend(err, "late records of table \"%s\"", table->def->name);
}

bool leat_late_equal(const struct leat_engine *engine, const struct leat_gtable *a, const struct leat_gtable *b) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_late_set *x = &a->late_sets[s], *y = &b->late_sets[s];
        if (x->count != y->count || (x->count && memcmp(x->items, y->items, x->count * sizeof *x->items) != 0)) return false;
    }
    return true;
}

static bool freezes(const struct leat_gtable *table) {
    return table->def && table->def->frozen.column;
}

/* What is late for a table with FROZEN WHERE is so for no other. */
static bool may_share(const struct leat_engine *engine, const struct leat_gtable *a, const struct leat_gtable *b) {
    return !freezes(a) && !freezes(b) && leat_late_equal(engine, a, b);
}

bool leat_late_classify(struct leat_engine *engine) {
    struct leat_gtable none = {0};
    const struct leat_gtable **classes = leat_alloc((engine->project->table_count + 1) * sizeof(void *));
    int count = 1;
    bool changed = false;
    none.late_sets = leat_alloc((engine->project->source_count + 1) * sizeof *none.late_sets);
    classes[0] = &none;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        int class = 0;
        if (table->batch || !table->late_sets) continue;
        while (class < count && !may_share(engine, table, classes[class])) class++;
        if (class == count) classes[count++] = table;
        changed |= class != table->late_class;
        table->late_class = class;
    }
    free(none.late_sets);
    free(classes);
    return changed;
}

/* ---- history: what was decided before the groups were built anew ------------------------------------------------------- */

static uint64_t end_of(const struct leat_group *g, size_t s, uint32_t partition) {
    return leat_cursor_get(&g->engine->sources[s].ends, partition);
}

bool leat_group_in_history(const struct leat_group *g, int source) {
    const struct leat_cursors *history = &g->history[source];
    for (size_t i = 0; i < history->count; i++) {
        uint32_t partition = history->items[i].partition;
        uint64_t end = end_of(g, (size_t)source, partition), upto = history->items[i].next < end ? history->items[i].next : end;
        if (leat_cursor_get(&g->cursors[source], partition) < upto) return true;
    }
    return false;
}

static bool past_history(const struct leat_group *g) {
    for (size_t s = 0; s < g->engine->project->source_count; s++)
        for (size_t i = 0; g->reads[s] && i < g->history[s].count; i++)
            if (leat_cursor_get(&g->cursors[s], g->history[s].items[i].partition) < g->history[s].items[i].next) return false;
    return true;
}

void leat_late_settle(struct leat_group *g) {
    if (!g->late_loaded || !past_history(g)) return;
    for (int t = 0; t < g->table_count; t++) leat_late_forget(g->engine, g->tables[t]);
    leat_lows_forget(g);
    g->late_loaded = false;
}

/* The version of t__late that steps which are run again had before them: the one that the first restatement behind them started from, which may have
 * given records away before the process was killed; -1: as it is. */
static int64_t version_then(const struct leat_engine *engine, const struct leat_gtable *table) {
    size_t i;
    json_t *record;
    json_array_foreach(engine->records, i, record) {
        const json_t *late = json_object_get(json_object_get(record, "late"), table->def->name);
        if (late && leat_record_is(record, "restate") && (uint64_t)json_integer_value(json_object_get(record, "n")) > engine->step) return json_integer_value(late);
    }
    return -1;
}

enum leat_status leat_late_load_history(struct leat_group *g, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    if (past_history(g)) return LEAT_OK;
    g->late_loaded = true;
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++)
        if (!g->tables[t]->late_sets) st = leat_late_load(g->engine, g->tables[t], version_then(g->engine, g->tables[t]), NULL, err);
    return st == LEAT_OK ? leat_lows_load(g, err) : st;
}

static void raise_cursors(struct leat_cursors *to, const struct leat_cursors *from) {
    for (size_t i = 0; i < from->count; i++)
        if (from->items[i].next > leat_cursor_get(to, from->items[i].partition))
            leat_cursor_set(to, from->items[i].partition, from->items[i].next);
}

void leat_cursors_raise(struct leat_cursors *to, const json_t *cursors) {
    struct leat_cursors parsed = {0};
    leat_cursors_parse(&parsed, cursors);
    raise_cursors(to, &parsed);
    leat_cursors_free(&parsed);
}

/* A lost work folder: records that a table has found late may not have reached bronze. They come again, and are late again. */
static void raise_to_late(struct leat_cursors *to, const struct leat_late_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].offset >= leat_cursor_get(to, set->items[i].partition))
            leat_cursor_set(to, set->items[i].partition, set->items[i].offset + 1);
}

void leat_group_set_history(struct leat_group *g, const json_t *state) {
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        const char *name = g->engine->project->sources[s].name;
        leat_cursors_free(&g->history[s]);
        g->floors[s] = INT64_MIN;
        if (!g->reads[s]) continue;
        for (int t = 0; t < g->table_count; t++) {
            const json_t *old = leat_state_group(state, g->tables[t]->def->name), *watermark = json_object_get(json_object_get(old, "wm"), name);
            const json_t *floor = json_object_get(json_object_get(old, "floors"), name);
            leat_cursors_raise(&g->history[s], json_object_get(json_object_get(old, "cursors"), name));
            leat_cursors_raise(&g->history[s], json_object_get(json_object_get(old, "history"), name));
            if (watermark && json_integer_value(watermark) > g->floors[s]) g->floors[s] = json_integer_value(watermark);
            if (floor && json_integer_value(floor) > g->floors[s]) g->floors[s] = json_integer_value(floor);
        }
        if (!g->history[s].count) raise_cursors(&g->history[s], &g->engine->sources[s].ends); /* all of its tables are new */
        for (int t = 0; t < g->table_count && !state; t++)
            if (g->tables[t]->late_sets) raise_to_late(&g->history[s], &g->tables[t]->late_sets[s]);
    }
}

/* ---- event times still to come ------------------------------------------------------------------------------------------ */

void leat_lows_forget(struct leat_group *g) {
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        free(g->lows[s].items);
        g->lows[s] = (struct leat_lows){0};
    }
}

int64_t leat_lows_to_come(const struct leat_group *g, int source) {
    const struct leat_lows *lows = &g->lows[source];
    int64_t lowest = lows->count ? INT64_MAX : INT64_MIN;
    for (size_t i = 0; i < lows->count; i++)
        if (leat_cursor_get(&g->cursors[source], lows->items[i].partition) < lows->items[i].upto && lows->items[i].event_us < lowest)
            lowest = lows->items[i].event_us;
    return lowest;
}

/* Is all of the source's history that is there in bronze? */
static bool in_bronze(const struct leat_group *g, size_t s) {
    for (size_t i = 0; i < g->history[s].count; i++) {
        uint32_t partition = g->history[s].items[i].partition;
        uint64_t end = end_of(g, s, partition), upto = g->history[s].items[i].next;
        if (leat_cursor_get(&g->engine->sources[s].bronzed, partition) < (upto < end ? upto : end)) return false;
    }
    return true;
}

static enum leat_status load_lows(struct leat_group *g, size_t s, struct leat_error *err) {
    const uint64_t step = g->engine->max_step_rows, run = step < 100000 ? step : 100000;
    const struct leat_src *src = &g->engine->sources[s];
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    leat_putf(&sql, "SELECT _partition, CAST((_offset // %llu + 1) * %llu AS BIGINT), epoch_us(min(", (unsigned long long)run,
              (unsigned long long)run);
    leat_put_sql_name(&sql, src->def->schema.fields[src->def->event_time].name);
    leat_put(&sql, ")) AS low FROM (");
    leat_bronze_select(src, &g->history[s], NULL, &sql);
    leat_put(&sql, ") GROUP BY 1, 2 HAVING low IS NOT NULL ORDER BY 1, 2");
    enum leat_status st = leat_conn_query(g->engine->batch_conn, sql.data, &result, err);
    size_t n = st == LEAT_OK ? result.rows.row_count : 0;
    struct leat_low *items = n ? leat_alloc(n * sizeof *items) : NULL;
    for (size_t i = 0; i < n; i++)
        items[i] = (struct leat_low){(uint32_t)((const int32_t *)result.rows.columns[0].data)[i],
                                     (uint64_t)((const int64_t *)result.rows.columns[1].data)[i],
                                     ((const int64_t *)result.rows.columns[2].data)[i]};
    for (size_t i = 0; i < n; i++) {
        uint64_t end = leat_cursor_get(&g->history[s], items[i].partition);
        if (items[i].upto > end) items[i].upto = end;
    }
    g->lows[s] = (struct leat_lows){items, n};
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

enum leat_status leat_lows_load(struct leat_group *g, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    leat_lows_forget(g);
    for (size_t s = 0; s < g->engine->project->source_count && st == LEAT_OK; s++)
        if (g->reads[s] && g->engine->sources[s].def->event_time >= 0 && g->history[s].count && in_bronze(g, s)) st = load_lows(g, s, err);
    return st == LEAT_OK ? st : leat_prepend(err, "event times of bronze");
}
