/* Retention of bronze, and what it must not take with it (rule 3: full recompute never erases history).
 *
 * The boundary of a source is an event time E (`retained_us`) and, for each partition, the first offset that is kept (`begins`): every record before
 * that offset has an event time before E. It stands in lake/bronze/SOURCE/_retained.json, durable before a record goes:
 *
 *   {"leat_retained":1,"before_us":E,"begins":[[partition,offset],...],"at_us":when}
 *
 * A table can outlive its records where its result falls apart in event time (plan.h, struct leat_local): a row with a time v comes only of
 * records from v - back_us on. Rows with v < E + back_us are frozen: they stay as they are for good. All others can still be computed from what
 * is there. So
 *   - changes of frozen rows, whatever gives them (a reference that changes, a table made anew from what is left), are passed over (step.c);
 *   - a table made anew is compared, and run tables are replaced, without frozen rows (restate.c, commit.c, batch.c), and so does the oracle (verify.c);
 *   - a record from before E that comes now is late, for every table over the source (step.c), and what is late from before E stays so.
 * E moves only when every table has closed and committed all rows that it freezes, a scheduled one in its last run. `leat check` refuses `retention`
 * where a table cannot do this: without such a column, over other tables, with QUARANTINE. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/care/care.h"

enum { FORMAT = 1, FILE_BYTES_MAX = 64 << 20, LOOK_EVERY_S = 3600, PARTS = 64 };

static int64_t wanted(const struct leat_src *src) {
    return leat_source_option_int(src->def, "retention", 0);
}

/* Also through other tables. */
static bool stands_on(const struct leat_engine *engine, const struct leat_gtable *table, size_t s) {
    const struct leat_gtable *input;
    if (leat_table_reads(table, s)) return true;
    for (size_t i = 0; i < table->plan->input_count; i++)
        if ((input = leat_table_input(engine, table, i)) && stands_on(engine, input, s)) return true;
    return false;
}

static const struct leat_local *local_of(const struct leat_gtable *table) {
    if (leat_frozen_local(table)) return leat_frozen_local(table);
    const struct leat_plan *plan = table->plan;
    const struct leat_op *root = plan->op_count ? &plan->ops[plan->op_count - 1] : NULL;
    return root && root->local_count ? &root->locals[0] : NULL;
}

/* ---- the boundary ------------------------------------------------------------------------------------------------------- */

static char *file_path(const struct leat_src *src) {
    return leat_asprintf("%s/bronze/%s/_retained.json", src->engine->lake_dir, src->def->name);
}

enum leat_status leat_retain_load(struct leat_src *src, struct leat_error *err) {
    char *path = file_path(src);
    struct leat_buffer text = {0};
    src->retained_us = INT64_MIN;
    enum leat_status st = leat_io_read_all(src->engine->env->io, path, FILE_BYTES_MAX, &text, err);
    if (st == LEAT_OK) {
        json_t *boundary = json_loadb(text.data, text.length, 0, NULL), *before = json_object_get(boundary, "before_us");
        json_int_t format = json_integer_value(json_object_get(boundary, "leat_retained"));
        if (format > FORMAT)
            st = leat_fail(err, LEAT_UNSUPPORTED, "%s is of a newer leat (format %lld)", path, (long long)format);
        else if (format < 1 || !json_is_integer(before))
            st = leat_fail(err, LEAT_CORRUPT, "%s does not say from when on bronze is kept", path);
        else
            src->retained_us = json_integer_value(before);
        leat_cursors_parse(&src->begins, json_object_get(boundary, "begins"));
        json_decref(boundary);
    } else if (st == LEAT_NOT_FOUND) {
        st = LEAT_OK;
    }
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

static enum leat_status save(const struct leat_src *src, int64_t before_us, const struct leat_cursors *begins, struct leat_error *err) {
    json_t *boundary = json_pack("{s:i,s:I,s:o,s:I}", "leat_retained", FORMAT, "before_us", (json_int_t)before_us, "begins", leat_cursors_json(begins), "at_us",
                                 (json_int_t)leat_engine_now(src->engine));
    char *text = json_dumps(boundary, JSON_COMPACT), *path = file_path(src);
    enum leat_status st = leat_io_write_durable(src->engine->env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    json_decref(boundary);
    return st;
}

uint64_t leat_src_kept(const struct leat_src *src, uint32_t partition, uint64_t from, uint64_t to) {
    uint64_t begin = leat_cursor_get(&src->begins, partition);
    if (from < begin) from = begin;
    return to > from ? to - from : 0;
}

/* ---- frozen rows -------------------------------------------------------------------------------------------------------- */

void leat_retain_settle(struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        const struct leat_local *local = local_of(table);
        table->frozen_us = table->closed_us;
        for (size_t s = 0; local && s < engine->project->source_count; s++) {
            if (engine->references[s] || !leat_table_reads(table, s) || engine->sources[s].retained_us == INT64_MIN) continue;
            int64_t us = engine->sources[s].retained_us + local->back_us;
            if (us > table->frozen_us) table->frozen_us = us;
        }
    }
}

const struct leat_changes *leat_table_unfrozen(struct leat_gtable *table, const struct leat_changes *changes) {
    if (!changes || table->frozen_us == INT64_MIN) return changes;
    const struct leat_column *times = &changes->columns[local_of(table)->column];
    uint32_t *rows = NULL;
    size_t n = 0;
    for (size_t i = 0; i < changes->row_count; i++) {
        bool frozen = !leat_is_null(times, i) && ((const int64_t *)times->data)[i] < table->frozen_us;
        if (frozen && !rows) {
            rows = leat_alloc(changes->row_count * sizeof *rows);
            for (n = 0; n < i; n++) rows[n] = (uint32_t)n;
        }
        if (!frozen && rows) rows[n++] = (uint32_t)i;
    }
    if (!rows) return changes;
    if (!table->unfrozen.schema) leat_changes_init(&table->unfrozen, &table->plan->schema);
    leat_changes_reset(&table->unfrozen);
    if (n) leat_changes_append(&table->unfrozen, changes, rows, n, 1);
    free(rows);
    return &table->unfrozen;
}

void leat_table_put_frozen(const struct leat_gtable *table, bool frozen, struct leat_buffer *sql) {
    if (table->frozen_us == INT64_MIN) {
        leat_put(sql, frozen ? "false" : "true");
        return;
    }
    leat_put(sql, frozen ? "(epoch_us(" : "(NOT coalesce(epoch_us(");
    leat_put_sql_name(sql, table->plan->schema.fields[local_of(table)->column].name);
    leat_putf(sql, frozen ? ") < %lld)" : ") < %lld, false))", (long long)table->frozen_us);
}

enum leat_status leat_retain_may_apply(const struct leat_engine *engine, const struct leat_gtable *table, struct leat_error *err) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        if (engine->references[s] || engine->sources[s].retained_us == INT64_MIN || !stands_on(engine, table, s)) continue;
        if (!table->beside && table->frozen_us > INT64_MIN) continue;
        char *log = leat_asprintf("%s/%s/_delta_log", engine->lake_dir, table->def->name);
        bool there = leat_io_exists(engine->env->io, log);
        free(log);
        if (there)
            return leat_fail(err, LEAT_INVALID,
                             "table \"%s\" has rows whose records are no longer in bronze (retention of source \"%s\"), and its new query %s, so that they would be "
                             "lost; give the new query a table of another name",
                             table->def->name, engine->project->sources[s].name,
                             table->beside ? "has other columns" : "does not tell them apart by event time");
    }
    return LEAT_OK;
}

/* ---- leat check --------------------------------------------------------------------------------------------------------- */

static const char *why_not(const struct leat_engine *engine, const struct leat_gtable *table, size_t s) {
    if (!leat_table_reads(table, s)) return "it reads another table";
    for (size_t i = 0; i < table->plan->input_count; i++)
        if (table->plan->inputs[i].kind == LEAT_OBJECT_TABLE) return "it reads another table, too";
    if (leat_table_quarantines(table->def)) return "it has a CONSTRAINT ... QUARANTINE";
    if (!local_of(table)) return "it has no column that follows the event time through every GROUP BY, DISTINCT and JOIN";
    (void)engine;
    return NULL;
}

void leat_retain_check(struct leat_engine *engine, struct leat_diagnostics *diags) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_source *def = &engine->project->sources[s];
        if (def->reference || !leat_source_option_int(def, "retention", 0)) continue;
        for (size_t t = 0; t < engine->project->table_count; t++) {
            const struct leat_gtable *table = &engine->tables[t];
            const char *why = stands_on(engine, table, s) ? why_not(engine, table, s) : NULL;
            if (why)
                leat_diagnose(diags, table->def->place, false,
                              "group, or partition, by a window or the event time itself, and select it; or leave the source's retention out",
                              "table '%s' could not keep its rows when records of source '%s' go (retention): %s", table->def->name, def->name, why);
        }
    }
}

/* ---- moving it ---------------------------------------------------------------------------------------------------------- */

static void lower(int64_t *to, int64_t us) {
    if (us < *to) *to = us;
}

/* What the group has seen of the source: no later than its watermark, which may be plus infinity (rule 15). */
static int64_t seen_us(const struct leat_group *g, size_t s) {
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < g->time_counts[s]; i++)
        if (g->times[s][i].max_event_us > last) last = g->times[s][i].max_event_us;
    return g->watermarks[s] < last ? g->watermarks[s] : last;
}

/* Offsets that the content of a scheduled table reflects; no records: it never ran. */
static bool run_upto(const struct leat_engine *engine, const struct leat_gtable *table, size_t s, struct leat_cursors *out) {
    json_t *frontier = leat_table_frontier(table);
    json_t *offsets = json_object_get(json_object_get(frontier, "offsets"), engine->project->sources[s].name);
    leat_cursors_parse(out, offsets);
    bool ran = offsets != NULL;
    json_decref(frontier);
    return ran;
}

static bool has_cut(const struct leat_gtable *table, size_t s) {
    for (size_t i = 0; i < table->plan->op_count; i++)
        if (table->plan->ops[i].kind == LEAT_OP_SOURCE && table->plan->ops[i].object == (int)s && table->plan->ops[i].cut_applies) return true;
    return false;
}

/* The latest boundary that every table allows; INT64_MIN: none now. */
static int64_t allowed_us(const struct leat_engine *engine, size_t s) {
    int64_t last = INT64_MAX;
    bool any = false;
    for (int k = 0; k < engine->group_count; k++) {
        const struct leat_group *g = engine->groups[k];
        if (!g->reads[s]) continue;
        if (g->suspended || !g->started || g->late_loaded) return INT64_MIN;
        lower(&last, seen_us(g, s));
        any = true;
    }
    if (!any || last == INT64_MIN || last == INT64_MAX) return INT64_MIN; /* scheduled tables alone: nobody watches its event time */
    const int64_t seen = last;
    last -= wanted(&engine->sources[s]);
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        const struct leat_local *local = local_of(table);
        if (!leat_table_reads(table, s)) continue;
        if (table->suspended || table->failures) return INT64_MIN;
        if (table->batch && local) lower(&last, seen - local->span_us - local->back_us); /* its windows are open as long as those of steps */
        if (table->batch) continue;
        if (leat_table_lags(table)) return INT64_MIN;
        if (!has_cut(table, s)) continue;
        int64_t cut = leat_group_cut(table->group, table->root);
        if (cut == INT64_MIN) return INT64_MIN;
        if (cut != INT64_MAX) lower(&last, cut - local->span_us - local->back_us);
    }
    return last;
}

static void cap(struct leat_cursors *begins, const struct leat_cursors *by) {
    for (size_t i = 0; i < begins->count; i++) {
        uint64_t most = leat_cursor_get(by, begins->items[i].partition);
        if (begins->items[i].next > most) begins->items[i].next = most;
    }
}

/* The first offset of each partition with a time that is kept; the last record stays in any case: it says where the partition is. */
static enum leat_status find_begins(struct leat_src *src, int64_t before_us, struct leat_cursors *out, struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result result = {0};
    leat_put(&sql, "SELECT _partition, least(coalesce(min(_offset) FILTER (WHERE NOT coalesce(epoch_us(");
    leat_put_sql_name(&sql, src->def->schema.fields[src->def->event_time].name);
    leat_putf(&sql, ") < %lld, false)), max(_offset)), max(_offset)) FROM (", (long long)before_us);
    leat_bronze_select(src, &src->bronzed, NULL, &sql);
    leat_put(&sql, ") GROUP BY 1 ORDER BY 1");
    enum leat_status st = leat_conn_query(src->engine->batch_conn, sql.data, &result, err);
    for (size_t i = 0; st == LEAT_OK && i < result.rows.row_count; i++) {
        uint64_t first = (uint64_t)((const int64_t *)result.rows.columns[1].data)[i];
        if (first) leat_cursor_set(out, (uint32_t)((const int32_t *)result.rows.columns[0].data)[i], first);
    }
    leat_result_deinit(&result);
    leat_buffer_deinit(&sql);
    return st;
}

/* No table loses what it has not read. */
static bool cap_all(struct leat_src *src, struct leat_cursors *begins) {
    const struct leat_engine *engine = src->engine;
    size_t s = (size_t)src->index;
    bool known = true;
    for (int k = 0; k < engine->group_count; k++)
        if (engine->groups[k]->reads[s]) cap(begins, &engine->groups[k]->cursors[s]);
    for (size_t t = 0; t < engine->project->table_count && known; t++) {
        struct leat_cursors upto = {0};
        if (!engine->tables[t].batch || !leat_table_reads(&engine->tables[t], s)) continue;
        known = run_upto(engine, &engine->tables[t], s, &upto);
        cap(begins, &upto);
        leat_cursors_free(&upto);
    }
    for (size_t i = 0; i < src->begins.count; i++)
        if (src->begins.items[i].next > leat_cursor_get(begins, src->begins.items[i].partition))
            leat_cursor_set(begins, src->begins.items[i].partition, src->begins.items[i].next);
    return known;
}

/* What is before the boundary goes; also what an earlier process, which made it, did not come to. */
static enum leat_status remove_before(struct leat_src *src, uint64_t *removed, struct leat_error *err) {
    struct leat_buffer where = {0};
    struct leat_delta *tables[] = {src->bronze, src->dead};
    enum leat_status st = LEAT_OK;
    *removed = 0;
    leat_bronze_put_below(&src->begins, &where);
    for (int i = 0; i < 2 && st == LEAT_OK; i++) {
        uint64_t rows;
        const char *frontier = leat_delta_current(tables[i])->frontier_json;
        char *kept = frontier ? leat_strdup(frontier) : NULL; /* the snapshot's goes with the commit */
        const struct leat_delta_commit_info info = {.operation = "DELETE", .frontier_json = kept};
        st = leat_delta_delete(tables[i], where.data, &info, &rows, err);
        *removed += rows;
        free(kept);
    }
    leat_buffer_deinit(&where);
    return st;
}

static enum leat_status move_boundary(struct leat_src *src, int64_t before_us, struct leat_error *err) {
    struct leat_cursors begins = {0};
    uint64_t removed = 0;
    enum leat_status st = find_begins(src, before_us, &begins, err);
    if (st == LEAT_OK && begins.count && cap_all(src, &begins)) {
        st = save(src, before_us, &begins, err);
        if (st == LEAT_OK) {
            src->retained_us = before_us;
            leat_cursors_copy(&src->begins, &begins);
            leat_retain_settle(src->engine);
            st = remove_before(src, &removed, err);
        }
        if (st == LEAT_OK && removed)
            leat_log(src->engine->env, LEAT_LOG_INFO, "source %s: %llu records are older than its retention and left bronze", src->def->name,
                     (unsigned long long)removed);
    }
    leat_cursors_free(&begins);
    return st == LEAT_OK ? st : leat_prepend(err, "retention of source \"%s\"", src->def->name);
}

/* A scheduled table has what its last run read: none of what came since may be of a row that freezes. */
static enum leat_status lower_to_run(struct leat_src *src, const struct leat_gtable *table, int64_t *before_us, struct leat_error *err) {
    const struct leat_local *local = local_of(table);
    struct leat_buffer sql = {0}, unread = {0};
    struct leat_cursors upto = {0};
    int64_t first = INT64_MAX;
    if (!local || !run_upto(src->engine, table, (size_t)src->index, &upto)) *before_us = INT64_MIN;
    leat_put(&unread, "NOT ");
    leat_bronze_put_below(&upto, &unread);
    leat_put(&sql, "SELECT coalesce(min(us), 9223372036854775807) FROM (SELECT epoch_us(");
    leat_put_sql_name(&sql, src->def->schema.fields[src->def->event_time].name);
    leat_put(&sql, ") AS us FROM (");
    leat_bronze_select(src, &src->bronzed, unread.data, &sql);
    leat_putf(&sql, ")) WHERE us >= CAST('%lld' AS BIGINT)", (long long)src->retained_us); /* others are too late already */
    enum leat_status st = *before_us == INT64_MIN ? LEAT_OK : leat_conn_int(src->engine->batch_conn, sql.data, &first, err);
    if (st == LEAT_OK && first != INT64_MAX) lower(before_us, first - local->span_us - local->back_us);
    leat_cursors_free(&upto);
    leat_buffer_deinit(&unread);
    leat_buffer_deinit(&sql);
    return st;
}

/* A little at a time costs as much as much at once. */
static bool is_worth_it(const struct leat_src *src, int64_t before_us) {
    return before_us != INT64_MIN && (src->retained_us == INT64_MIN || before_us - src->retained_us >= wanted(src) / PARTS);
}

/* Where the boundary is to be; INT64_MIN: where it is. */
static enum leat_status find_boundary(struct leat_engine *engine, size_t s, int64_t *before_us, struct leat_error *err) {
    struct leat_src *src = &engine->sources[s];
    enum leat_status st = LEAT_OK;
    *before_us = engine->references[s] || !wanted(src) ? INT64_MIN : allowed_us(engine, s);
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK && is_worth_it(src, *before_us); t++)
        if (engine->tables[t].batch && leat_table_reads(&engine->tables[t], s)) st = lower_to_run(src, &engine->tables[t], before_us, err);
    if (!is_worth_it(src, *before_us)) *before_us = INT64_MIN;
    return st;
}

enum leat_status leat_retain_if_due(struct leat_engine *engine, struct leat_error *err) {
    bool due = false;
    int64_t before_us;
    enum leat_status st = LEAT_OK;
    engine->retain_due_us = leat_engine_now(engine) + LOOK_EVERY_S * INT64_C(1000000);
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++) {
        st = find_boundary(engine, s, &before_us, err);
        due |= before_us != INT64_MIN;
    }
    if (!due || st != LEAT_OK) return st;
    /* Everything that bronze gave is in the tables, and recovery begins after it. */
    st = leat_engine_drain_and_checkpoint(engine, err);
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++) {
        st = find_boundary(engine, s, &before_us, err);
        if (st == LEAT_OK && before_us != INT64_MIN) st = move_boundary(&engine->sources[s], before_us, err);
    }
    return st;
}
