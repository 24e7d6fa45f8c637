/* Restatement (rule 12): late records are admitted after all. A window that the cut has closed has no state any more, so whatever
 * stands on the late records is built anew from bronze beside the present state: up to the same frontier, with what is left of the
 * late set. The difference to what the lake holds is published, state and content are swapped, and t__late loses what was admitted.
 *
 * One journal record decides: it is written when the new state is ready and before anything of it is seen; a restart that finds it
 * does the same again (the record names the versions of the tables in the lake it started from). It is taken only when nothing
 * waits: groups have read everything, bronze and tables are committed. Every table of the group that stands on a restated record is
 * restated with it; tables of other groups get the difference as changes. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"
#include "schedule/cron.h"
#include "schedule/zone.h"

/* What the group was before, to go back to. */
struct before {
    struct leat_node **nodes;
    struct leat_cursors *cursors;
    int64_t *watermarks;
    uint64_t *references;
    struct leat_balance **balances; /* per table of the group */
    uint64_t *withheld;
    bool started;
    uint64_t steps, step, records_since_checkpoint;
    int64_t clock_us;
};

/* ---- which records, which operators ------------------------------------------------------------------------------------ */

/* The records that the restatement admits to a table, as a condition on rows of t__late. */
static char *admitted(const json_t *record, const struct leat_gtable *table) {
    struct leat_buffer sql = {0};
    size_t i;
    const char *source;
    json_t *name, *before, *from = json_object_get(record, "from"), *to = json_object_get(record, "to");
    const json_t *frozen = json_object_get(json_object_get(record, "frozen"), table->def->name);
    if (json_array_size(json_object_get(record, "sources")) == 0) return leat_strdup("false");
    leat_put(&sql, "_source IN (");
    json_array_foreach(json_object_get(record, "sources"), i, name) {
        if (i) leat_put(&sql, ", ");
        leat_put_sql_string(&sql, json_string_value(name));
    }
    leat_put(&sql, ")");
    json_object_foreach(json_object_get(record, "retained"), source, before) {
        leat_put(&sql, " AND (_source <> ");
        leat_put_sql_string(&sql, source);
        leat_putf(&sql, " OR event_time >= make_timestamp(%lld))", (long long)json_integer_value(before));
    }
    if (frozen) leat_putf(&sql, " AND event_time >= make_timestamp(%lld)", (long long)json_integer_value(frozen));
    if (from) leat_putf(&sql, " AND event_time >= make_timestamp(%lld)", (long long)json_integer_value(from));
    if (to) leat_putf(&sql, " AND event_time < make_timestamp(%lld)", (long long)json_integer_value(to));
    return sql.data;
}

static int64_t version_in(const json_t *record, const char *which, const struct leat_gtable *table) {
    json_t *version = json_object_get(json_object_get(record, which), table->def->name);
    return version ? json_integer_value(version) : -1;
}

/* Loads what stays late of every table; *counts, per table and source: how many records are admitted. */
static enum leat_status load_late(struct leat_group *g, const json_t *record, uint64_t *counts, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    size_t n = leat_group_sources(g);
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        int64_t version = version_in(record, "late", table);
        if ((st = leat_late_load(g->engine, table, version, NULL, err)) != LEAT_OK) break;
        for (size_t s = 0; s < n; s++) counts[(size_t)t * n + s] = table->late_sets[s].count;
        char *except = admitted(record, table);
        st = leat_late_load(g->engine, table, version, except, err);
        free(except);
        if (st != LEAT_OK) break;
        for (size_t s = 0; s < n; s++) counts[(size_t)t * n + s] -= table->late_sets[s].count;
    }
    g->late_loaded = true;
    return st;
}

static bool names(const json_t *array, const char *name) {
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)array, i, entry)
        if (strcmp(json_string_value(entry), name) == 0) return true;
    return false;
}

/* Tables that are to be built anew, whether anything changes or not. */
static void mark_rebuilt(struct leat_group *g, struct leat_rebuild *r, const json_t *record) {
    for (int t = 0; t < g->table_count; t++) {
        if (!names(json_object_get(record, "rebuild"), g->tables[t]->def->name)) continue;
        r->tables[t] = true;
        r->nodes[g->tables[t]->root] = true;
        if (g->tables[t]->quarantine_root >= 0) r->nodes[g->tables[t]->quarantine_root] = true;
    }
}

/* Which tables change with the sources' late records (or with all of a source that was read anew), and which operators have to be built
 * anew for that. */
static void mark(struct leat_group *g, struct leat_rebuild *r, const uint64_t *counts, const json_t *record) {
    bool *changes = leat_alloc((size_t)(g->node_count + 1) * sizeof *changes);
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        if (node->op->kind == LEAT_OP_SOURCE)
            changes[i] = names(json_object_get(record, "reread"), g->engine->project->sources[node->op->object].name);
        for (int t = 0; t < g->table_count && node->op->kind == LEAT_OP_SOURCE; t++)
            changes[i] |= node->owner == g->tables[t] && counts[(size_t)t * leat_group_sources(g) + (size_t)node->op->object];
        for (int c = 0; c < 2; c++) changes[i] |= node->children[c] >= 0 && changes[node->children[c]];
        r->nodes[i] = changes[i];
    }
    for (int t = 0; t < g->table_count; t++) r->tables[t] = changes[g->tables[t]->root];
    mark_rebuilt(g, r, record);
    for (int i = g->node_count - 1; i >= 0; i--)
        for (int c = 0; c < 2 && r->nodes[i]; c++)
            if (g->nodes[i].children[c] >= 0) r->nodes[g->nodes[i].children[c]] = true;
    free(changes);
}

/* ---- building anew ----------------------------------------------------------------------------------------------------- */

void leat_rebuild_init(struct leat_group *g, struct leat_rebuild *r, const json_t *record) {
    size_t n = leat_group_sources(g) + 1;
    *r = (struct leat_rebuild){.step = (uint64_t)json_integer_value(json_object_get(record, "n")),
                               .clock_us = json_integer_value(json_object_get(record, "c"))};
    r->nodes = leat_alloc((size_t)(g->node_count + 1) * sizeof *r->nodes);
    r->tables = leat_alloc((size_t)(g->table_count + 1) * sizeof *r->tables);
    r->upto = leat_alloc(n * sizeof *r->upto);
    r->watermarks = leat_alloc(n * sizeof *r->watermarks);
    r->references = leat_alloc(n * sizeof *r->references);
    r->cut_sets = leat_cut_sets_json(g);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        leat_cursors_copy(&r->upto[s], &g->cursors[s]);
        r->watermarks[s] = g->watermarks[s];
        r->references[s] = g->reference_versions[s];
    }
}

void leat_rebuild_deinit(const struct leat_group *g, struct leat_rebuild *r) {
    for (size_t s = 0; s < leat_group_sources(g); s++) leat_cursors_free(&r->upto[s]);
    free(r->nodes);
    free(r->tables);
    free(r->upto);
    free(r->watermarks);
    free(r->references);
    json_decref(r->cut_sets);
}

static bool reads_anew(const struct leat_group *g, size_t s) {
    for (int i = 0; i < g->node_count; i++)
        if (g->rebuild->nodes[i] && g->nodes[i].op->kind == LEAT_OP_SOURCE && g->nodes[i].op->object == (int)s) return true;
    return false;
}

/* Puts the group at the beginning, with empty operators where they are built anew. */
static enum leat_status begin(struct leat_group *g, struct before *b, struct leat_error *err) {
    struct leat_engine *engine = g->engine;
    size_t n = leat_group_sources(g) + 1;
    enum leat_status st = LEAT_OK;
    *b = (struct before){.started = g->started, .steps = g->steps, .step = engine->step, .clock_us = g->last_clock_us,
                         .records_since_checkpoint = engine->records_since_checkpoint, .cursors = g->cursors,
                         .watermarks = g->watermarks, .references = g->reference_versions};
    b->nodes = leat_alloc((size_t)(g->node_count + 1) * sizeof *b->nodes);
    b->balances = leat_alloc((size_t)(g->table_count + 1) * sizeof *b->balances);
    b->withheld = leat_alloc((size_t)(g->table_count + 1) * sizeof *b->withheld);
    g->cursors = leat_alloc(n * sizeof *g->cursors);
    g->watermarks = leat_alloc(n * sizeof *g->watermarks);
    g->reference_versions = leat_alloc(n * sizeof *g->reference_versions);
    g->started = false;
    leat_cut_sets_clear(g);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        g->watermarks[s] = INT64_MIN;
        leat_cursors_copy(&g->history[s], &g->rebuild->upto[s]);
        if (!reads_anew(g, s))
            leat_cursors_copy(&g->cursors[s], &b->cursors[s]);
        else
            leat_src_rewind(&engine->sources[s]);
    }
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!g->rebuild->tables[t]) continue;
        b->balances[t] = table->balance;
        b->withheld[t] = table->withheld;
        table->balance = leat_alloc(n * sizeof *table->balance);
        table->withheld = 0;
    }
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        if (!g->rebuild->nodes[i] || !g->nodes[i].node) continue;
        b->nodes[i] = g->nodes[i].node;
        g->nodes[i].node = NULL;
        st = leat_group_open_node(g, i, err);
    }
    return st;
}

/* Keeps what was built (or, with `back`, returns to what was there) and lets go of the other. */
static void end(struct leat_group *g, struct before *b, bool back) {
    struct leat_engine *engine = g->engine;
    for (int i = 0; i < g->node_count; i++) {
        struct leat_node *other = back ? g->nodes[i].node : b->nodes[i];
        if (!b->nodes[i]) continue;
        if (other) leat_node_close(other);
        if (back) g->nodes[i].node = b->nodes[i];
    }
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!b->balances[t]) continue;
        free(back ? table->balance : b->balances[t]);
        if (!back) continue;
        table->balance = b->balances[t];
        table->withheld = b->withheld[t];
        leat_changes_reset(&table->pending);
        leat_changes_reset(&table->dead.pending);
        if (table->quarantine.delta) leat_changes_reset(&table->quarantine.pending);
    }
    if (back) {
        struct leat_cursors *cursors = g->cursors;
        int64_t *watermarks = g->watermarks;
        uint64_t *references = g->reference_versions;
        g->cursors = b->cursors, b->cursors = cursors;
        g->watermarks = b->watermarks, b->watermarks = watermarks;
        g->reference_versions = b->references, b->references = references;
        g->last_clock_us = b->clock_us;
        engine->step = b->step;
        leat_cut_sets_load(g, g->rebuild->cut_sets);
        for (size_t s = 0; s < leat_group_sources(g); s++)
            if (g->reads[s]) leat_src_rewind(&engine->sources[s]);
        leat_queues_clear(g);
    }
    g->started = b->started;
    g->steps = b->steps + !back;
    engine->records_since_checkpoint = b->records_since_checkpoint;
    for (size_t s = 0; s < leat_group_sources(g); s++) leat_cursors_free(&b->cursors[s]);
    free(b->cursors);
    free(b->watermarks);
    free(b->references);
    free(b->nodes);
    free(b->balances);
    free(b->withheld);
}

/* Tables of other groups that operators read: their content, as it was taken in so far. Of the group's own, which are built anew with them, what is
 * frozen. */
static enum leat_status fill_queues(struct leat_group *g, const json_t *record, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        if (node->op->kind != LEAT_OP_TABLE || !g->rebuild->nodes[i]) continue;
        struct leat_gtable *upstream = &g->engine->tables[node->op->object];
        if (node->children[0] >= 0 && upstream->closed_us == INT64_MIN) continue;
        struct leat_changes *queue = &g->queues[node->op->object];
        struct leat_stage *stage = NULL;
        struct leat_buffer sql = {0};
        if (!queue->schema) leat_changes_init(queue, &upstream->plan->schema);
        if (queue->row_count) continue; /* filled for another operator */
        if (node->children[0] >= 0) {
            st = leat_frozen_rows(g->engine, upstream, version_in(record, "tables", upstream), queue, err);
            continue;
        }
        st = leat_table_select(g->engine, upstream, version_in(record, "tables", upstream), &sql, err);
        if (st == LEAT_OK) st = leat_stage_prepare(g->engine->batch_conn, sql.data, &stage, err);
        if (st == LEAT_OK) st = leat_stage_run(stage, queue, NULL, err);
        leat_stage_free(stage);
        leat_buffer_deinit(&sql);
    }
    return st;
}

/* ---- the difference, and its audit ------------------------------------------------------------------------------------- */

static void put_columns(const struct leat_schema *schema, struct leat_buffer *sql) {
    for (size_t i = 0; i < schema->field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, schema->fields[i].name);
    }
}

enum leat_status leat_table_difference(struct leat_engine *engine, struct leat_gtable *table, int64_t version, struct leat_changes *out,
                                       struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_stage *stage = NULL;
    leat_changes_consolidate(&table->pending);
    leat_conn_bind(engine->batch_conn, table->def->name, &table->pending);
    leat_put(&sql, "SELECT ");
    put_columns(&table->plan->schema, &sql);
    leat_put(&sql, ", CAST(sum(__c) AS INTEGER) AS __w FROM (SELECT ");
    put_columns(&table->plan->schema, &sql);
    leat_put(&sql, ", __w AS __c FROM leat_input(");
    leat_put_sql_string(&sql, table->def->name);
    leat_put(&sql, ") UNION ALL SELECT *, -1 AS __c FROM (");
    enum leat_status st = leat_table_select(engine, table, version, &sql, err);
    leat_put(&sql, ") WHERE ");
    leat_table_put_frozen(table, false, &sql);
    leat_put(&sql, ") GROUP BY ");
    put_columns(&table->plan->schema, &sql);
    leat_put(&sql, " HAVING sum(__c) <> 0");
    if (st == LEAT_OK) st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, out, NULL, err);
    leat_stage_free(stage);
    leat_conn_bind(engine->batch_conn, table->def->name, NULL);
    leat_buffer_deinit(&sql);
    return st;
}

/* Is the output column one of the aggregate's keys? Old and new rows of a key stand side by side in the audit. */
bool leat_table_is_key(const struct leat_gtable *table, size_t column) {
    const struct leat_plan *plan = table->plan;
    int at = (int)plan->op_count - 1;
    for (size_t i = 0; i < table->def->primary_key_count; i++)
        if (strcmp(table->def->primary_key[i], plan->schema.fields[column].name) == 0) return true;
    if (at < 0) return false; /* it is computed whole, by runs */
    while (plan->ops[at].kind == LEAT_OP_MAP && plan->ops[at].map[column].from >= 0) {
        column = (size_t)plan->ops[at].map[column].from;
        at = plan->ops[at].children[0];
    }
    return plan->ops[at].kind == LEAT_OP_AGGREGATE && column < plan->ops[at].key_count;
}

static void put_struct(const struct leat_gtable *table, bool keys, struct leat_buffer *sql) {
    const struct leat_schema *schema = &table->plan->schema;
    bool any = false;
    for (size_t i = 0; i < schema->field_count; i++) any |= leat_table_is_key(table, i);
    const char *between = "{";
    for (size_t i = 0; i < schema->field_count; i++) {
        if (keys && any && !leat_table_is_key(table, i)) continue;
        leat_put(sql, between);
        leat_put_sql_string(sql, schema->fields[i].name);
        leat_put(sql, ": ");
        leat_put_sql_name(sql, schema->fields[i].name);
        between = ", ";
    }
    leat_put(sql, "}");
}

/* The admitted records of all tables of the group. */
static enum leat_status put_records(struct leat_group *g, const json_t *record, struct leat_buffer *sql, struct leat_error *err) {
    const char *between = "SELECT DISTINCT _source, _partition, _offset, event_time FROM (";
    bool any = false;
    enum leat_status st = LEAT_OK;
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        if (version_in(record, "late", table) < 0) continue;
        leat_put(sql, between);
        any = true;
        between = " UNION ALL ";
        char *where = admitted(record, table);
        st = leat_side_select(g->engine, table, &table->late, version_in(record, "late", table), where, sql, err);
        free(where);
    }
    leat_put(sql, any ? ")" : "SELECT NULL::VARCHAR AS _source, NULL::INTEGER AS _partition, NULL::BIGINT AS _offset, NULL::TIMESTAMP AS event_time WHERE false");
    return st;
}

#define RECORDS_MAX 100 /* named in an audit row; all are counted */

/* A row a changed key: old, new, and the records responsible: those whose time is in its window, else all that were admitted. */
static enum leat_status audit(struct leat_group *g, struct leat_gtable *table, const json_t *record, const struct leat_changes *diff,
                              struct leat_error *err) {
    struct leat_engine *engine = g->engine;
    const struct leat_op *root = &table->plan->ops[table->plan->op_count - 1];
    const struct leat_time_column *time = root->time_count ? &root->times[0] : NULL;
    struct leat_buffer sql = {0};
    struct leat_stage *stage = NULL;
    char *input = leat_asprintf("%s@restated", table->def->name);
    enum leat_status st = leat_conn_input(engine->batch_conn, input, &table->plan->schema, true, err);
    if (st != LEAT_OK) goto out;
    leat_conn_bind(engine->batch_conn, input, diff);
    leat_put(&sql, "WITH late AS MATERIALIZED (");
    if ((st = put_records(g, record, &sql, err)) != LEAT_OK) goto out;
    leat_put(&sql, "), d AS (SELECT *, unnest(range(abs(__w))) AS __copy FROM leat_input(");
    leat_put_sql_string(&sql, input);
    leat_put(&sql, ")), r AS (SELECT __w > 0 AS __new, CAST(");
    put_struct(table, true, &sql);
    leat_put(&sql, " AS VARCHAR) AS __key, CAST(to_json(");
    put_struct(table, false, &sql);
    leat_put(&sql, ") AS VARCHAR) AS __text, ");
    if (time) {
        leat_put(&sql, "epoch_us(");
        leat_put_sql_name(&sql, table->plan->schema.fields[time->column].name);
        leat_put(&sql, ")");
    } else {
        leat_put(&sql, "CAST(NULL AS BIGINT)");
    }
    leat_putf(&sql,
              " AS __time FROM d), n AS (SELECT *, row_number() OVER (PARTITION BY __key, __new ORDER BY __text) AS __n FROM r), "
              "x AS (SELECT row_number() OVER () AS __id, o.__text AS __old, n.__text AS __new, coalesce(o.__time, n.__time) AS __time "
              "FROM (FROM n WHERE NOT __new) o FULL JOIN (FROM n WHERE __new) n ON o.__key = n.__key AND o.__n = n.__n%s), "
              "m AS (SELECT __id, count(*) AS __count, list({'source': _source, 'partition': _partition, 'offset': _offset} "
              "ORDER BY _source, _partition, _offset) AS __list FROM x JOIN late ON __time IS NULL OR "
              "(epoch_us(event_time) >= __time AND epoch_us(event_time) < __time + %lld) GROUP BY __id) "
              "SELECT make_timestamp(%lld) AS restated_at, CAST(%lld AS BIGINT) AS step, ",
              diff->row_count ? "" : " UNION ALL SELECT 1, NULL, NULL, NULL", time ? (long long)time->span_us : 0LL,
              (long long)json_integer_value(json_object_get(record, "c")), (long long)json_integer_value(json_object_get(record, "n")));
    leat_put_sql_string(&sql, json_string_value(json_object_get(record, "reason")));
    leat_putf(&sql, " AS reason, __old AS old, __new AS \"new\", coalesce(__count, 0) AS record_count, "
                    "CAST(to_json(coalesce(__list, [])[1:%d]) AS VARCHAR) AS records FROM x LEFT JOIN m USING (__id) ORDER BY old, \"new\"",
              RECORDS_MAX);
    if ((st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err)) == LEAT_OK)
        st = leat_stage_run(stage, &table->audit.pending, NULL, err);
out:
    leat_stage_free(stage);
    leat_conn_bind(engine->batch_conn, input, NULL);
    leat_buffer_deinit(&sql);
    free(input);
    return st == LEAT_OK ? st : leat_prepend(err, "audit of the restatement of \"%s\"", table->def->name);
}

/* Prepares the commit of t__late without what was admitted. */
static enum leat_status keep_late(struct leat_engine *engine, struct leat_gtable *table, const json_t *record, struct leat_error *err) {
    char *where = admitted(record, table), *other = leat_asprintf("NOT (%s)", where);
    struct leat_buffer sql = {0};
    struct leat_stage *stage = NULL;
    leat_changes_reset(&table->late.pending);
    enum leat_status st = leat_side_select(engine, table, &table->late, version_in(record, "late", table), other, &sql, err);
    if (st == LEAT_OK) st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, &table->late.pending, NULL, err);
    table->late.overwrite = st == LEAT_OK;
    leat_stage_free(stage);
    leat_buffer_deinit(&sql);
    free(where);
    free(other);
    return st;
}

/* ---- one group --------------------------------------------------------------------------------------------------------- */

struct outcome {
    uint64_t *counts;           /* per table and source: records admitted */
    struct leat_changes *diffs; /* per table */
};

static uint64_t records_of(const struct leat_group *g, const struct outcome *o, int t) {
    uint64_t n = 0;
    for (size_t s = 0; s < leat_group_sources(g); s++) n += o->counts[(size_t)t * leat_group_sources(g) + s];
    return n;
}

/* A table that FAIL UPDATE holds at an earlier version has no content to compare with. */
static const struct leat_gtable *held_table(const struct leat_group *g) {
    for (int t = 0; t < g->table_count; t++)
        if (leat_table_lags(g->tables[t])) return g->tables[t];
    return NULL;
}

/* Everything that can fail before the record is written. */
static enum leat_status prepare(struct leat_group *g, const json_t *record, struct outcome *o, struct leat_error *err) {
    enum leat_status st = leat_group_rebuild(g, err);
    const struct leat_gtable *held = st == LEAT_OK ? held_table(g) : NULL;
    if (held)
        st = leat_fail(err, LEAT_INVALID, "with the %s a row of table \"%s\" violates FAIL UPDATE%s", json_object_get(record, "reread") ? "records decoded again" : "late records",
                       held->def->name, json_object_get(record, "reread") ? "" : "; they stay late until none does");
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!g->rebuild->tables[t]) continue;
        st = leat_table_difference(g->engine, table, version_in(record, "tables", table), &o->diffs[t], err);
        if (st == LEAT_OK) st = leat_table_open_audit(g->engine, table, true, err);
        if (st == LEAT_OK && (o->diffs[t].row_count || records_of(g, o, t))) st = audit(g, table, record, &o->diffs[t], err);
        if (st == LEAT_OK && records_of(g, o, t)) st = keep_late(g->engine, table, record, err);
    }
    return st;
}

/* Dead letters only become more: records that were late and fail. Of records that were decoded anew, others may fail. */
static bool same_dead(const struct leat_gtable *table, const json_t *record) {
    return table->dead.pending.row_count == leat_delta_rows(table->dead.delta) && !json_object_get(record, "reread");
}

/* The next commit's rows of one table; none where the lake has them from before a restart. */
static enum leat_status publish(struct leat_group *g, int t, const json_t *record, struct outcome *o, struct leat_error *err) {
    struct leat_gtable *table = g->tables[t];
    const struct leat_changes *diff = &o->diffs[t];
    uint64_t step = g->rebuild->step;
    leat_changes_reset(&table->pending);
    if (step > table->committed_step) leat_changes_append(&table->pending, diff, NULL, diff->row_count, 1);
    table->changes_out += diff->row_count;
    leat_live_change(g->engine, table, diff);
    for (int k = 0; k < g->engine->group_count; k++) {
        struct leat_changes *queue = &g->engine->groups[k]->queues[table->index];
        if (queue->schema && g->engine->groups[k] != g) leat_changes_append(queue, diff, NULL, diff->row_count, 1);
    }
    if (step <= table->late.committed_step) {
        leat_changes_reset(&table->late.pending);
        table->late.overwrite = false;
    }
    if (step <= table->dead.committed_step || same_dead(table, record))
        leat_changes_reset(&table->dead.pending);
    else
        table->dead.overwrite = true;
    if (table->quarantine.delta && step <= table->quarantine.committed_step) leat_changes_reset(&table->quarantine.pending);
    if (table->quarantine.delta) table->quarantine.overwrite = step > table->quarantine.committed_step;
    if (step <= table->audit.committed_step) leat_changes_reset(&table->audit.pending);
    table->restated += records_of(g, o, t);
    table->restated_us = g->rebuild->clock_us;
    return leat_effects_step(table, diff, step, true, err);
}

static void unprepare(struct leat_group *g) {
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!g->rebuild->tables[t]) continue;
        if (table->audit.delta) leat_changes_reset(&table->audit.pending);
        leat_changes_reset(&table->late.pending);
        table->late.overwrite = false;
    }
}

/* `record` is written to the journal (again: by a restart that found it there) when all is ready. */
static enum leat_status restate_group(struct leat_group *g, json_t *record, bool again, struct outcome *o, struct leat_error *err) {
    struct leat_rebuild rebuild;
    struct before before;
    leat_rebuild_init(g, &rebuild, record);
    g->rebuild = &rebuild;
    enum leat_status st = load_late(g, record, o->counts, err);
    if (st == LEAT_OK) {
        mark(g, &rebuild, o->counts, record);
        st = begin(g, &before, err);
        if (st == LEAT_OK) st = leat_lows_load(g, err);
        if (st == LEAT_OK) st = fill_queues(g, record, err);
        if (st == LEAT_OK) st = prepare(g, record, o, err);
        if (st == LEAT_OK && !again) st = leat_engine_journal(g->engine, json_incref(record), err);
        if (st != LEAT_OK) unprepare(g);
        end(g, &before, st != LEAT_OK);
    }
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++)
        if (rebuild.tables[t]) st = publish(g, t, record, o, err);
    if (st == LEAT_OK) st = leat_effects_sync(g->engine, err);
    if (st == LEAT_OK) leat_live_step_done(g, rebuild.step, rebuild.clock_us);
    if (st == LEAT_OK) g->engine->restated_us = rebuild.clock_us;
    for (int t = 0; t < g->table_count; t++) leat_late_forget(g->engine, g->tables[t]);
    leat_lows_forget(g);
    g->late_loaded = false;
    leat_rebuild_deinit(g, &rebuild);
    g->rebuild = NULL;
    return st == LEAT_OK ? st : leat_prepend(err, "restatement");
}

static void outcome_init(const struct leat_group *g, struct outcome *o) {
    o->counts = leat_alloc(((size_t)g->table_count * leat_group_sources(g) + 1) * sizeof *o->counts);
    o->diffs = leat_alloc((size_t)(g->table_count + 1) * sizeof *o->diffs);
    for (int t = 0; t < g->table_count; t++) leat_changes_init(&o->diffs[t], &g->tables[t]->plan->schema);
}

static void outcome_deinit(const struct leat_group *g, struct outcome *o) {
    for (int t = 0; t < g->table_count; t++) leat_changes_deinit(&o->diffs[t]);
    free(o->diffs);
    free(o->counts);
}

enum leat_status leat_group_restate_again(struct leat_group *g, json_t *record, struct leat_error *err) {
    struct outcome o;
    outcome_init(g, &o);
    enum leat_status st = restate_group(g, record, true, &o, err);
    outcome_deinit(g, &o);
    return st;
}

/* ---- which groups ------------------------------------------------------------------------------------------------------ */

/* Adds the sources of which the table has late records in the range. */
static enum leat_status add_sources(struct leat_engine *engine, struct leat_gtable *table, const struct leat_restate_options *options,
                                    json_t *sources, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    leat_put(&sql, "SELECT DISTINCT _source FROM (");
    enum leat_status st = leat_side_select(engine, table, &table->late, -1, NULL, &sql, err);
    leat_putf(&sql, ") WHERE event_time >= make_timestamp(%lld) AND event_time < make_timestamp(%lld)", (long long)options->from_us,
              (long long)options->to_us);
    for (size_t s = 0; s < engine->project->source_count; s++) {
        if (engine->references[s] || engine->sources[s].retained_us == INT64_MIN) continue;
        leat_put(&sql, " AND (_source <> ");
        leat_put_sql_string(&sql, engine->project->sources[s].name);
        leat_putf(&sql, " OR event_time >= make_timestamp(%lld))", (long long)engine->sources[s].retained_us);
    }
    if (table->late_before_us > INT64_MIN) leat_putf(&sql, " AND event_time >= make_timestamp(%lld)", (long long)table->late_before_us);
    leat_put(&sql, " ORDER BY 1");
    if (st == LEAT_OK) st = leat_conn_query(engine->batch_conn, sql.data, &result, err);
    for (size_t i = 0; st == LEAT_OK && i < result.rows.row_count; i++) {
        const struct leat_string *name = &((const struct leat_string *)result.rows.columns[0].data)[i];
        json_t *text = json_stringn(leat_string_data(name), name->length), *known;
        size_t k;
        bool there = false;
        json_array_foreach(sources, k, known) there |= json_equal(known, text);
        if (there)
            json_decref(text);
        else
            json_array_append_new(sources, text);
    }
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

/* Of the tables that a suspended one reads, those that it has seen. */
static json_t *versions_json(const struct leat_group *g) {
    const struct leat_engine *engine = g->engine;
    json_t *versions = json_object();
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        json_t *seen = table == g->suspended ? NULL : json_object_get(g->versions, table->def->name);
        if (!table->batch) json_object_set_new(versions, table->def->name, json_integer(seen ? json_integer_value(seen) : leat_delta_current(table->delta)->version));
    }
    return versions;
}

/* What is late of a time whose rows are frozen stays late. */
static json_t *retained_json(const struct leat_engine *engine) {
    json_t *retained = json_object();
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (!engine->references[s] && engine->sources[s].retained_us > INT64_MIN)
            json_object_set_new(retained, engine->project->sources[s].name, json_integer(engine->sources[s].retained_us));
    return retained;
}

static json_t *record_of(const struct leat_group *g, const struct leat_restate_options *options, json_t *sources) {
    struct leat_engine *engine = g->engine;
    json_t *late = json_object();
    for (int t = 0; t < g->table_count; t++) {
        const struct leat_gtable *table = g->tables[t];
        if (leat_delta_current(table->late.delta)->file_count)
            json_object_set_new(late, table->def->name, json_integer(leat_delta_current(table->late.delta)->version));
    }
    json_t *record = json_pack("{s:s,s:I,s:o,s:I,s:s,s:O,s:o,s:o}", "t", "restate", "n", (json_int_t)engine->step + 1, "g",
                               leat_freshness_json(&g->freshness), "c", (json_int_t)leat_engine_now(engine), "reason", options->reason, "sources",
                               sources, "late", late, "tables", versions_json(g));
    if (g->engine->project->source_count) json_object_set_new(record, "retained", retained_json(g->engine));
    for (int t = 0; t < g->table_count; t++) {
        if (g->tables[t]->late_before_us == INT64_MIN) continue;
        if (!json_object_get(record, "frozen")) json_object_set_new(record, "frozen", json_object());
        json_object_set_new(json_object_get(record, "frozen"), g->tables[t]->def->name, json_integer(g->tables[t]->late_before_us));
    }
    if (g->suspended) json_object_set_new(record, "suspended", json_string(g->suspended->def->name));
    if (options->from_us > LEAT_RESTATE_FROM_MIN) json_object_set_new(record, "from", json_integer(options->from_us));
    if (options->to_us < LEAT_RESTATE_TO_MAX) json_object_set_new(record, "to", json_integer(options->to_us));
    return record;
}

static void report(const struct leat_group *g, const bool *changed, const struct outcome *o, json_t *done) {
    for (int t = 0; t < g->table_count; t++)
        if (changed[t])
            json_array_append_new(done, json_pack("{s:s,s:I,s:I}", "table", g->tables[t]->def->name, "records",
                                                  (json_int_t)records_of(g, o, t), "changes", (json_int_t)o->diffs[t].row_count));
}

/* Builds anew what the record names, publishes what differs, reports the tables that were named or changed. */
static enum leat_status restate_named(struct leat_group *g, json_t *record, json_t *done, struct leat_error *err) {
    struct outcome o;
    bool *changed = leat_alloc((size_t)(g->table_count + 1) * sizeof *changed);
    outcome_init(g, &o);
    enum leat_status st = restate_group(g, record, false, &o, err);
    for (int t = 0; t < g->table_count; t++)
        changed[t] = o.diffs[t].row_count || names(json_object_get(record, "rebuild"), g->tables[t]->def->name);
    if (st == LEAT_OK) report(g, changed, &o, done);
    outcome_deinit(g, &o);
    free(changed);
    if (st == LEAT_OK) st = leat_engine_drain(g->engine, err);
    return st == LEAT_OK ? leat_engine_flush(g->engine, false, err) : st;
}

static enum leat_status may_rebuild(struct leat_group *g, struct leat_error *err) {
    const struct leat_gtable *held = held_table(g);
    if (held) return leat_fail(err, LEAT_INVALID, "table \"%s\" is held at an earlier version by FAIL UPDATE; mend that first", held->def->name);
    return g->late_loaded ? leat_fail(err, LEAT_INVALID, "tables are still being made anew from bronze; let 'leat run' finish first") : LEAT_OK;
}

static enum leat_status rebuild_named(struct leat_group *g, const char *what, const char *name, const char *reason, json_t *done, struct leat_error *err) {
    const struct leat_restate_options options = {.from_us = LEAT_RESTATE_FROM_MIN, .to_us = LEAT_RESTATE_TO_MAX, .reason = reason};
    enum leat_status st = may_rebuild(g, err);
    if (st != LEAT_OK) return st;
    json_t *none = json_array(), *record = record_of(g, &options, none);
    json_object_set_new(record, what, json_pack("[s]", name));
    st = restate_named(g, record, done, err);
    json_decref(record);
    json_decref(none);
    return st;
}

enum leat_status leat_restate_source_may(struct leat_engine *engine, size_t source, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int k = 0; k < engine->group_count && st == LEAT_OK; k++)
        if (engine->groups[k]->reads[source]) st = may_rebuild(engine->groups[k], err);
    return st;
}

enum leat_status leat_restate_source(struct leat_engine *engine, size_t source, const char *reason, json_t *done, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int k = 0; k < engine->group_count && st == LEAT_OK; k++)
        if (engine->groups[k]->reads[source])
            st = rebuild_named(engine->groups[k], "reread", engine->project->sources[source].name, reason, done, err);
    return st;
}

static void dump(json_t *done, struct leat_buffer *out) {
    char *text = out ? json_dumps(done, JSON_INDENT(1)) : NULL;
    if (text) leat_put(out, text);
    free(text);
}

enum leat_status leat_engine_rebuild(struct leat_engine *engine, const char *name, const char *reason, struct leat_buffer *out, struct leat_error *err) {
    struct leat_object_ref ref;
    json_t *done = json_array();
    if (!leat_project_find(engine->project, name, &ref) || ref.kind != LEAT_OBJECT_TABLE) {
        json_decref(done);
        return leat_fail(err, LEAT_NOT_FOUND, "there is no materialized table \"%s\"", name);
    }
    struct leat_gtable *table = &engine->tables[ref.index];
    enum leat_status st = leat_engine_drain(engine, err);
    if (st == LEAT_OK) st = leat_engine_flush(engine, false, err);
    if (st == LEAT_OK && table->group) {
        st = rebuild_named(table->group, "rebuild", table->def->name, reason, done, err);
        if (st == LEAT_OK) st = leat_engine_checkpoint(engine, err); /* or a restart does it again */
    } else if (st == LEAT_OK && table->batch) {
        table->asked = true; /* whole */
        st = leat_batch_run(engine, table, NULL, err);
        if (st == LEAT_OK) st = leat_tables_commit(engine, err); /* the manifest */
        if (st == LEAT_OK && table->last_error) st = leat_fail(err, LEAT_SQL, "%s", table->last_error);
        json_array_append_new(done, json_pack("{s:s,s:i,s:I}", "table", table->def->name, "records", 0, "rows", (json_int_t)table->last_rows));
    }
    if (st == LEAT_OK) dump(done, out);
    json_decref(done);
    return st;
}

static enum leat_status restate_if_late(struct leat_group *g, const struct leat_restate_options *options, const bool *wanted, json_t *done,
                                        struct leat_error *err) {
    struct leat_engine *engine = g->engine;
    json_t *sources = json_array();
    enum leat_status st = LEAT_OK;
    /* A lost work folder whose records have not all come again: their late set is not complete. */
    const struct leat_gtable *held = held_table(g);
    if (held) leat_log(engine->env, LEAT_LOG_WARN, "late records stay late while table %s is held by FAIL UPDATE", held->def->name);
    for (int t = 0; t < g->table_count && st == LEAT_OK && !g->late_loaded && !held; t++)
        if (wanted[g->tables[t]->index] && leat_delta_current(g->tables[t]->late.delta)->file_count)
            st = add_sources(engine, g->tables[t], options, sources, err);
    if (st == LEAT_OK && json_array_size(sources)) {
        struct outcome o;
        bool *changed = leat_alloc((size_t)(g->table_count + 1) * sizeof *changed);
        uint64_t *before = leat_alloc((size_t)(g->table_count + 1) * sizeof *before);
        json_t *record = record_of(g, options, sources);
        outcome_init(g, &o);
        for (int t = 0; t < g->table_count; t++) before[t] = g->tables[t]->audit.pending.row_count;
        st = restate_group(g, record, false, &o, err);
        bool refused = st == LEAT_INVALID && !err->fatal; /* nothing was done; other groups are not concerned */
        if (refused) leat_log(engine->env, LEAT_LOG_WARN, "%s", err->text);
        for (int t = 0; t < g->table_count; t++) changed[t] = records_of(g, &o, t) || g->tables[t]->audit.pending.row_count > before[t];
        if (st == LEAT_OK) report(g, changed, &o, done);
        if (refused) st = LEAT_OK;
        outcome_deinit(g, &o);
        json_decref(record);
        free(before);
        free(changed);
        if (st == LEAT_OK) st = leat_engine_drain(engine, err);
        if (st == LEAT_OK) st = leat_engine_flush(engine, false, err);
    }
    json_decref(sources);
    return st;
}

enum leat_status leat_engine_restate(struct leat_engine *engine, const struct leat_restate_options *given, struct leat_buffer *out,
                                     struct leat_error *err) {
    struct leat_restate_options options = *given;
    bool *wanted = leat_alloc((engine->project->table_count + 1) * sizeof *wanted);
    json_t *done = json_array();
    struct leat_object_ref ref;
    enum leat_status st = LEAT_OK;
    if (options.from_us < LEAT_RESTATE_FROM_MIN) options.from_us = LEAT_RESTATE_FROM_MIN;
    if (options.to_us == 0 || options.to_us > LEAT_RESTATE_TO_MAX) options.to_us = LEAT_RESTATE_TO_MAX;
    if (options.table && (!leat_project_find(engine->project, options.table, &ref) || ref.kind != LEAT_OBJECT_TABLE))
        st = leat_fail(err, LEAT_NOT_FOUND, "there is no materialized table \"%s\"", options.table);
    else if (options.table)
        leat_table_mark(engine, &engine->tables[ref.index], wanted);
    else
        memset(wanted, true, engine->project->table_count * sizeof *wanted);
    if (st == LEAT_OK) st = leat_engine_drain(engine, err);
    if (st == LEAT_OK) st = leat_engine_flush(engine, false, err);
    for (int k = 0; k < engine->group_count && st == LEAT_OK; k++)
        st = restate_if_late(engine->groups[k], &options, wanted, done, err);
    if (st == LEAT_OK && json_array_size(done)) st = leat_engine_checkpoint(engine, err); /* or a restart does it again */
    if (st == LEAT_OK && out) {
        char *text = json_dumps(done, JSON_INDENT(1));
        leat_put(out, text);
        free(text);
    }
    json_decref(done);
    free(wanted);
    return st;
}

bool leat_engine_has_late(const struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        if (!table->batch && (leat_delta_current(table->late.delta)->file_count || table->late.pending.row_count)) return true;
    }
    return false;
}

/* ---- once a day -------------------------------------------------------------------------------------------------------- */

void leat_restate_plan_next(struct leat_engine *engine, int64_t after_us) {
    int minute;
    struct leat_cron cron;
    struct leat_error ignored;
    engine->restate_due_us = INT64_MAX;
    if (!leat_setting_time_of_day(leat_setting_text(engine->project, "restate_at"), &minute) || minute < 0) return;
    char *text = leat_asprintf("%d %d * * *", minute % 60, minute / 60);
    if (leat_cron_parse(text, &cron, &ignored) == LEAT_OK)
        engine->restate_due_us =
            leat_cron_next(&cron, leat_zone_find(engine->batch_conn, leat_setting_text(engine->project, "time_zone")), after_us);
    free(text);
}

void leat_restate_look(struct leat_engine *engine) {
    int64_t now = leat_engine_now(engine);
    if (now >= engine->restate_due_us && !leat_engine_has_late(engine)) leat_restate_plan_next(engine, now);
}

enum leat_status leat_restate_if_due(struct leat_engine *engine, struct leat_error *err) {
    const struct leat_restate_options options = {.reason = "daily"};
    int64_t now = leat_engine_now(engine);
    if (now < engine->restate_due_us || !leat_engine_has_late(engine)) return LEAT_OK;
    leat_restate_plan_next(engine, now);
    if (leat_is_overtaken(engine, engine->restate_due_us)) return LEAT_OK;
    enum leat_status st = leat_engine_restate(engine, &options, NULL, err);
    if (st == LEAT_OK || err->fatal) return st;
    leat_log(engine->env, LEAT_LOG_ERROR, "late records stay late until the next restatement: %s", err->text);
    return LEAT_OK;
}
