/* What a run changed, told to a sink: the difference between two versions of its table, in slices that fit into memory. It may take as long as the
 * run, so where the run was computed beside the steps this is, too. The sink's outbox keeps what is appended as a batch that counts when it is
 * complete and synced, which is done at the end, in the engine's thread; cut short by a crash, or stopped, all of it is void, and the difference is
 * told again: the outbox's mark says from which version on. */
#include <stdlib.h>

#include "engine/tell/effects.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

static void put_columns(const struct leat_schema *schema, struct leat_buffer *sql) {
    for (size_t i = 0; i < schema->field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, schema->fields[i].name);
    }
}

static void put_hash(const struct leat_effects *e, struct leat_buffer *sql) {
    const struct leat_table *table = e->table->def;
    leat_put(sql, "hash(");
    for (size_t i = 0; i < table->primary_key_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, table->primary_key[i]);
    }
    if (!table->primary_key_count) put_columns(&e->table->plan->schema, sql);
    leat_put(sql, ")");
}

/* Rows with weights: those now less those before, of one slice of the keys. */
static void put_difference(const struct leat_telling *t, uint64_t slice, struct leat_buffer *sql) {
    const struct leat_schema *schema = &t->effects->table->plan->schema;
    leat_put(sql, "SELECT ");
    put_columns(schema, sql);
    leat_putf(sql, ", CAST(sum(__c) AS INTEGER) AS __w FROM (SELECT *, 1 AS __c FROM (%s)", t->now);
    if (t->before) leat_putf(sql, " UNION ALL SELECT *, -1 AS __c FROM (%s)", t->before);
    leat_put(sql, ")");
    if (t->slices > 1) {
        leat_put(sql, " WHERE ");
        put_hash(t->effects, sql);
        leat_putf(sql, " %% %llu = %llu", (unsigned long long)t->slices, (unsigned long long)slice);
    }
    leat_put(sql, " GROUP BY ");
    put_columns(schema, sql);
    leat_put(sql, " HAVING sum(__c) <> 0");
}

static enum leat_status tell_slice(struct leat_telling *t, struct leat_conn *conn, uint64_t slice, struct leat_error *err) {
    struct leat_changes changes;
    struct leat_buffer sql = {0};
    struct leat_stage *stage = NULL;
    leat_changes_init(&changes, &t->effects->table->plan->schema);
    put_difference(t, slice, &sql);
    enum leat_status st = leat_stage_prepare(conn, sql.data, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, &changes, NULL, err);
    if (st == LEAT_OK) st = leat_effects_emit(t->effects, &changes, t->mark, err);
    leat_stage_free(stage);
    leat_buffer_deinit(&sql);
    leat_changes_deinit(&changes);
    return st;
}

/* ---- begin, compute, end ----------------------------------------------------------------------------------------------- */

static void deinit(struct leat_telling *t) {
    free(t->now);
    free(t->before);
}

static enum leat_status prepare(struct leat_telling *t, struct leat_effects *e, int64_t from, uint64_t mark, struct leat_error *err) {
    enum { SLICE_ROWS = 500000 };
    const struct leat_delta_snapshot *now = leat_delta_current(e->table->delta);
    struct leat_buffer sql = {0};
    *t = (struct leat_telling){.effects = e, .mark = mark};
    t->slices = 1 + leat_delta_rows(e->table->delta) / SLICE_ROWS;
    enum leat_status st = leat_table_select(e->engine, e->table, now->version, &sql, err);
    t->now = sql.data;
    sql = (struct leat_buffer){0};
    if (st == LEAT_OK && from >= 0) st = leat_table_select(e->engine, e->table, from, &sql, err);
    t->before = sql.data;
    return st;
}

void leat_telling_compute(struct leat_telling *t, struct leat_conn *conn) {
    for (uint64_t slice = 0; slice < t->slices && t->status == LEAT_OK && !atomic_load(&t->stop); slice++)
        t->status = tell_slice(t, conn, slice, &t->error);
}

enum leat_status leat_effects_emit_versions(struct leat_effects *e, int64_t from, uint64_t mark, struct leat_error *err) {
    struct leat_telling t;
    enum leat_status st = prepare(&t, e, from, mark, err);
    if (st == LEAT_OK) {
        leat_telling_compute(&t, e->engine->batch_conn);
        if ((st = t.status) != LEAT_OK) *err = t.error;
    }
    deinit(&t);
    if (st == LEAT_OK) st = leat_outbox_complete(e->outbox, mark, e->engine->clock_us, err);
    return st == LEAT_OK ? st : leat_prepend(err, "sink \"%s\"", e->def->name);
}

/* A sink that is behind its table's runs, and takes in; NULL: none is. */
static struct leat_effects *find_due(struct leat_engine *engine) {
    for (size_t i = 0; i < engine->effects_count; i++) {
        struct leat_effects *e = &engine->effects[i];
        if (!e->table->batch || (!e->run_due && e->cut_version < 0)) continue;
        e->run_due = false;
        if (!leat_effects_is_cut(e) && leat_outbox_mark(e->outbox) < leat_effects_run_mark(e)) return e;
    }
    return NULL;
}

enum leat_status leat_telling_begin(struct leat_engine *engine, struct leat_telling **out, struct leat_error *err) {
    struct leat_effects *e = find_due(engine);
    *out = NULL;
    if (!e) return LEAT_OK;
    e->run_due = true; /* until it is told */
    struct leat_telling *t = leat_alloc(sizeof *t);
    enum leat_status st = leat_outbox_sync(e->outbox, err); /* nothing is left to be synced while another thread appends */
    if (st == LEAT_OK) st = prepare(t, e, (int64_t)(leat_outbox_mark(e->outbox) >> 1) - 1, leat_effects_run_mark(e), err);
    if (st == LEAT_OK) {
        *out = t;
        return st;
    }
    deinit(t);
    free(t);
    return leat_prepend(err, "sink \"%s\"", e->def->name);
}

enum leat_status leat_telling_end(struct leat_telling *t, struct leat_error *err) {
    struct leat_effects *e = t->effects;
    bool stopped = atomic_load(&t->stop);
    enum leat_status st = stopped ? LEAT_OK : t->status;
    if (st != LEAT_OK) *err = t->error;
    if (st == LEAT_OK && !stopped) st = leat_outbox_complete(e->outbox, t->mark, e->engine->clock_us, err);
    if (st == LEAT_OK) st = stopped ? leat_outbox_abandon(e->outbox, err) : leat_outbox_sync(e->outbox, err);
    if (st == LEAT_OK && !stopped) e->run_due = false;
    deinit(t);
    free(t);
    return st == LEAT_OK ? st : leat_prepend(err, "sink \"%s\"", e->def->name);
}
