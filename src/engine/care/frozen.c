/* FROZEN WHERE (column < bound): rows that match stay as they are for good, as rows that outlive their records do (retain.c, whose means these are).
 *
 * Each table has one boundary F (`closed_us`): rows with a lower value of the column are frozen. It never falls while the statement is there, and a
 * version's is worked out when its step, or run, begins:
 *
 *   the lesser of  - the bound at the clock of the version before. So the first version is whole, and what comes late after an outage still makes the
 *                    rows that nobody had made yet;
 *                  - where windows have closed by what that had read (cut, else watermark; a run: event times, less the watermark's delay). So no row is
 *                    frozen that is still being made, and what an outage has held back is still taken in;
 *   and as before, where records from before then are still to be read, where FAIL UPDATE holds rows back, or the table is made anew and has not been
 *   committed.
 *
 * It is in the step's record, so that a step run again has the same; in the journal's head; and in the frontier of the table's commits, for a work
 * folder that is new to the lake. (A step that passes over changes of frozen rows is committed for that, though its rows are none.)
 *
 * A record all of whose rows are frozen is late (rule 2): those before E (`late_before_us`), the first time whose last window is at or past F. It is
 * told by the column's steps (plan.h, struct leat_local), so that the balance is exact also where F is in the midst of a window.
 *
 * Such a table shares no operators that stand on sources (its late_class is its own). Tables that read it see what it publishes: steps take changes
 * of frozen rows out where they leave its last operator, and whatever is made anew over it reads frozen rows from the lake. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/runs/runs.h"
#include "plan/json.h"

/* ---- the statement ------------------------------------------------------------------------------------------------------ */

const struct leat_local *leat_frozen_local(const struct leat_gtable *table) {
    const struct leat_plan *plan = table->plan;
    const struct leat_op *root = plan->op_count ? &plan->ops[plan->op_count - 1] : NULL;
    for (size_t i = 0; root && table->def->frozen.column && i < root->local_count; i++)
        if (strcasecmp(plan->schema.fields[root->locals[i].column].name, table->def->frozen.column) == 0) return &root->locals[i];
    return NULL;
}

static bool is_word(const char *name, const char *const *words) {
    for (; *words; words++)
        if (strcasecmp(name, *words) == 0) return true;
    return false;
}

static const char *const CLOCK[] = {"now", "current_timestamp", "transaction_timestamp", "get_current_timestamp", "today", "current_date", "localtimestamp",
                                    "current_localtimestamp", NULL};
static const char *const SPANS[] = {"to_years", "to_quarters", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds",
                                    "to_milliseconds", "to_microseconds", "trunc", NULL};

/* Does it only go forward as the clock does? *clock: it reads it. */
static bool is_monotone(const json_t *e, bool *clock) {
    const char *class = leat_json_text(e, "class"), *name = leat_json_text(e, "function_name");
    const json_t *children = json_object_get(e, "children"), *names = json_object_get(e, "column_names");
    bool other = false, first = false;
    if (strcmp(class, "CONSTANT") == 0) return true;
    if (strcmp(class, "CAST") == 0) return is_monotone(json_object_get(e, "child"), clock);
    if (strcmp(class, "COLUMN_REF") == 0) {
        *clock = true;
        return json_array_size(names) == 1 && is_word(json_string_value(json_array_get(names, 0)), CLOCK);
    }
    if (strcmp(class, "FUNCTION") != 0) return false;
    const json_t *a = json_array_get(children, 0), *b = json_array_get(children, 1);
    if (json_array_size(children) == 0) return *clock = true, is_word(name, CLOCK);
    if (!is_monotone(a, &first)) return false;
    if (json_array_size(children) == 1) return !first && (is_word(name, SPANS) || strcmp(name, "-") == 0);
    if (json_array_size(children) != 2 || !is_monotone(b, &other)) return false;
    *clock |= first | other;
    if (strcmp(name, "+") == 0) return true;
    if (strcmp(name, "-") == 0) return !other;
    return !first && (strcasecmp(name, "date_trunc") == 0 || strcasecmp(name, "datetrunc") == 0 || strcasecmp(name, "timezone") == 0);
}

static bool bound_is_monotone(struct leat_conn *conn, const char *bound) {
    struct leat_error ignored;
    char *sql = leat_asprintf("SELECT %s", bound), *text = NULL;
    bool clock = false, fits = false;
    if (leat_conn_parse(conn, sql, &text, &ignored) == LEAT_OK) {
        json_t *parsed = NULL;
        if (leat_json_load(text, &parsed, &ignored) != LEAT_OK) parsed = NULL;
        const json_t *statements = json_object_get(parsed, "statements"), *node = json_object_get(json_array_get(statements, 0), "node");
        const json_t *list = json_object_get(node, "select_list");
        fits = json_array_size(statements) == 1 && json_array_size(list) == 1 && leat_json_is(json_object_get(node, "from_table"), "type", "EMPTY") &&
               is_monotone(json_array_get(list, 0), &clock);
        json_decref(parsed);
    }
    free(text);
    free(sql);
    return fits;
}

static enum leat_status prepare_bound(struct leat_conn *conn, const struct leat_gtable *table, struct leat_stage **out, struct leat_error *err) {
    char type[32];
    leat_type_print(table->plan->schema.fields[leat_frozen_local(table)->column].type, type);
    char *sql = leat_asprintf("SELECT coalesce(epoch_us(CAST((%s\n) AS %s)), CAST(-9223372036854775807 AS BIGINT))", table->def->frozen.bound, type);
    enum leat_status st = leat_stage_prepare(conn, sql, out, err);
    free(sql);
    return st;
}

static enum leat_status run_bound(struct leat_conn *conn, const struct leat_gtable *table, struct leat_stage *stage, int64_t clock_us, int64_t *out,
                                  struct leat_error *err) {
    struct leat_changes row;
    leat_changes_init(&row, leat_stage_schema(stage));
    leat_conn_set_clock(conn, clock_us);
    enum leat_status st = leat_stage_run(stage, &row, NULL, err);
    if (st == LEAT_OK) *out = ((const int64_t *)row.columns[0].data)[0];
    if (st == LEAT_OK) *out += table->def->frozen.inclusive && *out < INT64_MAX;
    leat_changes_deinit(&row);
    return st == LEAT_OK ? st : leat_prepend(err, "FROZEN WHERE of table \"%s\"", table->def->name);
}

static enum leat_status find_bound(struct leat_conn *conn, const struct leat_gtable *table, int64_t clock_us, int64_t *out, struct leat_error *err) {
    struct leat_stage *stage = NULL;
    enum leat_status st = prepare_bound(conn, table, &stage, err);
    if (st == LEAT_OK) st = run_bound(conn, table, stage, clock_us, out, err);
    leat_stage_free(stage);
    return st;
}

/* The columns that could be named, for a hint; malloc'd, NULL: there are none. */
static char *columns_that_do(const struct leat_gtable *table) {
    const struct leat_plan *plan = table->plan;
    const struct leat_op *root = plan->op_count ? &plan->ops[plan->op_count - 1] : NULL;
    struct leat_buffer text = {0};
    for (size_t i = 0; root && i < root->local_count; i++)
        if (root->locals[i].step_us) leat_putf(&text, "%s'%s'", text.length ? ", " : "", plan->schema.fields[root->locals[i].column].name);
    return text.data;
}

static void check_column(const struct leat_gtable *table, struct leat_diagnostics *diags) {
    const struct leat_frozen_where *frozen = &table->def->frozen;
    const struct leat_local *local = leat_frozen_local(table);
    const struct leat_schema *schema = &table->plan->schema;
    bool there = false;
    for (size_t i = 0; i < schema->field_count; i++) there |= strcasecmp(schema->fields[i].name, frozen->column) == 0;
    if (local && local->step_us) return;
    char *columns = columns_that_do(table);
    char *hint = columns ? leat_asprintf("name one that does: %s", columns)
                         : leat_strdup("group, or partition, by a window or the event time itself, and select it; or leave FROZEN WHERE out");
    leat_diagnose(diags, frozen->column_place, false, hint, "table '%s' cannot freeze rows by '%s': %s", table->def->name, frozen->column,
                  !there ? "it has no such column"
                  : local ? "its values come of windows of several kinds, so that a record's time does not tell its rows"
                          : "the column does not follow the event time of a source through every GROUP BY, DISTINCT and JOIN");
    free(hint);
    free(columns);
}

static void check_bound(struct leat_engine *engine, const struct leat_gtable *table, struct leat_diagnostics *diags) {
    const struct leat_frozen_where *frozen = &table->def->frozen;
    struct leat_error err = {0};
    int64_t us = 0;
    if (!bound_is_monotone(engine->plan_conn, frozen->bound)) {
        leat_diagnose(diags, frozen->bound_place, false,
                      "such as now() - INTERVAL '7' DAY, date_trunc('month', now()) or TIMESTAMP '2026-01-01': a constant or the clock, intervals added or taken off, "
                      "date_trunc", "table '%s': FROZEN WHERE takes a bound that only goes forward", table->def->name);
        return;
    }
    if (!leat_frozen_local(table)) return;
    enum leat_status st = find_bound(engine->plan_conn, table, leat_engine_now(engine), &us, &err);
    if (st == LEAT_OK && us > INT64_MIN + 2) return;
    leat_diagnose(diags, frozen->bound_place, false, NULL, "table '%s': FROZEN WHERE has a bound that is no time: %s", table->def->name,
                  st == LEAT_OK ? "NULL" : err.text);
}

void leat_frozen_check(struct leat_engine *engine, struct leat_diagnostics *diags) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        const struct leat_frozen_where *frozen = &table->def->frozen;
        if (!frozen->column) continue;
        check_column(table, diags);
        check_bound(engine, table, diags);
        if (leat_table_quarantines(table->def))
            leat_diagnose(diags, frozen->place, false, "say ON VIOLATION DROP ROW, or leave FROZEN WHERE out",
                          "table '%s' cannot freeze rows: it has a CONSTRAINT ... QUARANTINE, and what is in quarantine goes on changing", table->def->name);
    }
}

/* ---- the boundary ------------------------------------------------------------------------------------------------------- */

/* The first time whose last row is at or past the boundary. */
static int64_t late_before(const struct leat_local *local, int64_t closed_us) {
    int64_t step = local->step_us, past = (closed_us - local->origin_us) % step;
    if (past < 0) past += step;
    return (past ? closed_us - past + step : closed_us) - local->back_us;
}

bool leat_frozen_set(struct leat_gtable *table, int64_t closed_us) {
    const struct leat_local *local = leat_frozen_local(table);
    if (!local || !local->step_us) closed_us = INT64_MIN;
    bool moved = closed_us != table->closed_us;
    table->closed_us = closed_us;
    table->late_before_us = closed_us == INT64_MIN ? INT64_MIN : late_before(local, closed_us);
    return moved;
}

json_t *leat_frozen_json(const struct leat_gtable *table) {
    if (table->closed_us == INT64_MIN) return NULL;
    return json_pack("{s:s,s:I}", "column", table->plan->schema.fields[leat_frozen_local(table)->column].name, "before", (json_int_t)table->closed_us);
}

/* INT64_MIN: none, or of another column. */
static int64_t parsed(const struct leat_gtable *table, const json_t *frozen) {
    const char *column = json_string_value(json_object_get(frozen, "column"));
    if (!column || !table->def->frozen.column || strcasecmp(column, table->def->frozen.column) != 0) return INT64_MIN;
    return json_integer_value(json_object_get(frozen, "before"));
}

void leat_frozen_load(struct leat_gtable *table, const json_t *frozen) {
    leat_frozen_set(table, parsed(table, frozen));
}

void leat_frozen_load_lake(struct leat_gtable *table) {
    json_t *frontier = leat_table_frontier(table), *frozen = json_object_get(frontier, "frozen");
    table->told_closed_us = parsed(table, frozen);
    if (table->told_closed_us > table->closed_us) leat_frozen_set(table, table->told_closed_us);
    json_decref(frontier);
}

enum leat_status leat_frozen_rows(struct leat_engine *engine, struct leat_gtable *table, int64_t version, struct leat_changes *to, struct leat_error *err) {
    struct leat_stage *stage = NULL;
    struct leat_buffer sql = {0};
    if (table->closed_us == INT64_MIN) return LEAT_OK;
    leat_put(&sql, "SELECT * FROM (");
    enum leat_status st = leat_table_select(engine, table, version, &sql, err);
    leat_put(&sql, ") WHERE ");
    leat_table_put_frozen(table, true, &sql);
    if (st == LEAT_OK) st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, to, NULL, err);
    leat_stage_free(stage);
    leat_buffer_deinit(&sql);
    return st;
}

/* Where a row's window has to have ended for it to be frozen. */
static int64_t lowest(int64_t bound_us, int64_t past_us, const struct leat_local *local) {
    int64_t us;
    if (past_us == INT64_MIN || past_us == INT64_MAX) return past_us == INT64_MIN ? INT64_MIN : bound_us;
    if (__builtin_sub_overflow(past_us, local->span_us - 1, &us)) return local->span_us > 0 ? INT64_MIN : bound_us;
    return us < bound_us ? us : bound_us;
}

/* Records that were there at the last step's clock, and that it has not read. */
static bool is_behind(const struct leat_group *g) {
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        const struct leat_chunk *c = g->reads[s] ? leat_group_unread(g, (int)s) : NULL;
        if (c && (c->arrivals || c->arrival_us <= g->last_clock_us)) return true;
    }
    return false;
}

enum leat_status leat_frozen_next(struct leat_group *g, const int64_t *watermarks, const bool *idle, int64_t *closed_us,
                                  struct leat_error *err) {
    bool *none = leat_alloc((g->engine->project->source_count + 1) * sizeof *none);
    enum leat_status st = LEAT_OK;
    bool behind = !g->started || is_behind(g);
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        const struct leat_local *local = leat_frozen_local(table);
        bool appears_now = table->def->emit_on_window_close; /* a row whose window this step closes */
        int64_t bound_us = INT64_MIN;
        closed_us[t] = INT64_MIN;
        if (!local || behind || leat_table_lags(table)) continue;
        if (!table->bound) st = prepare_bound(g->engine->step_conn, table, &table->bound, err);
        if (st == LEAT_OK) st = run_bound(g->engine->step_conn, table, table->bound, g->last_clock_us, &bound_us, err);
        int64_t us = lowest(bound_us, leat_group_past(g, t, appears_now ? g->watermarks : watermarks, appears_now ? none : idle), local);
        if (st == LEAT_OK && us > table->closed_us) closed_us[t] = us;
    }
    free(none);
    return st;
}

/* ---- scheduled tables: a run reads all there is, and keeps the rows that are frozen -------------------------------------- */

static bool is_timed_source(const struct leat_engine *engine, struct leat_object_ref input) {
    return input.kind == LEAT_OBJECT_SOURCE && !engine->references[input.index] && engine->sources[input.index].def->event_time >= 0;
}

/* How far event times had come in what the content was made of, as watermarks are. */
static enum leat_status seen_by_run(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, int64_t *out,
                                    struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    *out = INT64_MAX;
    for (size_t i = 0; i < table->plan->input_count && st == LEAT_OK; i++) {
        size_t s = table->plan->inputs[i].index;
        const struct leat_src *src = &engine->sources[s];
        struct leat_buffer sql = {0};
        struct leat_cursors upto = {0};
        int64_t us = INT64_MIN;
        if (!is_timed_source(engine, table->plan->inputs[i])) continue;
        leat_cursors_parse(&upto, json_object_get(json_object_get(frontier, "offsets"), src->def->name));
        leat_put(&sql, "SELECT coalesce(epoch_us(max(");
        leat_put_sql_name(&sql, src->def->schema.fields[src->def->event_time].name);
        leat_put(&sql, ")), -9223372036854775807) FROM (");
        leat_bronze_select(src, &upto, NULL, &sql);
        leat_put(&sql, ")");
        st = leat_conn_int(engine->batch_conn, sql.data, &us, err);
        us = us < INT64_MIN + 2 + src->def->watermark_delay_us ? INT64_MIN : us - src->def->watermark_delay_us;
        if (us < *out) *out = us;
        leat_buffer_deinit(&sql);
        leat_cursors_free(&upto);
    }
    return st;
}

enum leat_status leat_frozen_before_run(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    const struct leat_local *local = leat_frozen_local(table);
    json_t *frontier = local ? leat_table_frontier(table) : NULL;
    int64_t bound_us = INT64_MIN, seen_us = INT64_MIN;
    enum leat_status st = LEAT_OK;
    if (json_object_get(frontier, "balance")) {
        st = find_bound(engine->batch_conn, table, json_integer_value(json_object_get(frontier, "clock")), &bound_us, err);
        if (st == LEAT_OK && bound_us > table->closed_us) st = seen_by_run(engine, table, frontier, &seen_us, err);
        int64_t us = lowest(bound_us, seen_us, local);
        if (st == LEAT_OK && us > table->closed_us && leat_frozen_set(table, us)) leat_retain_settle(engine);
    }
    json_decref(frontier);
    return st;
}

/* New records of the source all of whose rows are frozen, less those that are dead letters or known to be late. */
static void put_new_late(const struct leat_run *run, const struct leat_src *src, const json_t *before, struct leat_buffer *sql) {
    const struct leat_engine *engine = run->engine;
    const struct leat_gtable *table = run->table;
    const struct leat_side *sides[2] = {&table->late, &table->dead};
    struct leat_cursors since = {0}, upto = {0};
    struct leat_buffer where = {0};
    leat_cursors_parse(&since, json_object_get(json_object_get(before, "offsets"), src->def->name));
    leat_cursors_parse(&upto, json_object_get(json_object_get(run->frontier, "offsets"), src->def->name));
    leat_bronze_put_below(&upto, &where);
    leat_put(&where, " AND NOT ");
    leat_bronze_put_below(&since, &where);
    leat_put(&where, " AND epoch_us(");
    leat_put_sql_name(&where, src->def->schema.fields[src->def->event_time].name);
    leat_putf(&where, ") < %lld", (long long)table->late_before_us);
    char *dir = leat_asprintf("%s/bronze/%s", engine->lake_dir, src->def->name);
    leat_put(sql, "SELECT ");
    leat_put_sql_string(sql, src->def->name);
    leat_put(sql, " AS _source, _partition, _offset, make_timestamp(epoch_us(");
    leat_put_sql_name(sql, src->def->schema.fields[src->def->event_time].name);
    leat_putf(sql, ")) AS event_time, _arrival AS arrival, make_timestamp(%lld) AS cut, CAST(%llu AS BIGINT) AS step FROM (", (long long)table->late_before_us,
              (unsigned long long)table->runs + 1);
    leat_delta_select(dir, leat_delta_current(src->bronze), &src->bronze_schema, where.data, sql);
    leat_put(sql, ")");
    for (int i = 0; i < 2; i++) {
        char *side = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, sides[i]->suffix);
        if (leat_delta_current(sides[i]->delta)->file_count) {
            leat_put(sql, " ANTI JOIN (SELECT _partition, _offset FROM (");
            leat_delta_select(side, leat_delta_current(sides[i]->delta), &sides[i]->schema, NULL, sql);
            leat_put(sql, ") WHERE _source = ");
            leat_put_sql_string(sql, src->def->name);
            leat_put(sql, ") USING (_partition, _offset)");
        }
        free(side);
    }
    free(dir);
    leat_buffer_deinit(&where);
    leat_cursors_free(&since);
    leat_cursors_free(&upto);
}

/* Those of the source that stay late, of the run's balance. */
static enum leat_status count_late(struct leat_run *run, const struct leat_src *src, struct leat_error *err) {
    struct leat_balance *b = &run->counts.balance[src->index];
    struct leat_buffer sql = {0};
    int64_t late = 0;
    leat_put(&sql, "SELECT count(*) FROM (");
    enum leat_status st = leat_side_select(run->engine, run->table, &run->table->late, -1, NULL, &sql, err);
    leat_put(&sql, ") WHERE _source = ");
    leat_put_sql_string(&sql, src->def->name);
    leat_putf(&sql, " AND epoch_us(event_time) < %lld", (long long)run->table->late_before_us);
    if (st == LEAT_OK) st = leat_conn_int(run->engine->batch_conn, sql.data, &late, err);
    leat_buffer_deinit(&sql);
    b->late = (uint64_t)late;
    b->admitted -= (uint64_t)late;
    return st;
}

static enum leat_status note_late_of(struct leat_run *run, const struct leat_src *src, const json_t *before, struct leat_error *err) {
    const struct leat_delta_commit_info info = {.operation = "WRITE"};
    struct leat_buffer sql = {0};
    int64_t rows = 0;
    put_new_late(run, src, before, &sql);
    char *count = leat_asprintf("SELECT count(*) FROM (%s)", sql.data);
    enum leat_status st = leat_conn_int(run->engine->batch_conn, count, &rows, err);
    if (st == LEAT_OK && rows) st = leat_delta_append(run->table->late.delta, sql.data, &info, NULL, err);
    free(count);
    leat_buffer_deinit(&sql);
    return st == LEAT_OK ? count_late(run, src, err) : st;
}

enum leat_status leat_frozen_note_late(struct leat_run *run, struct leat_error *err) {
    const struct leat_gtable *table = run->table;
    enum leat_status st = LEAT_OK;
    if (table->late_before_us == INT64_MIN) return LEAT_OK;
    json_t *before = leat_table_frontier(table);
    for (size_t i = 0; i < table->plan->input_count && st == LEAT_OK; i++) {
        const struct leat_object_ref input = table->plan->inputs[i];
        if (is_timed_source(run->engine, input)) st = note_late_of(run, &run->engine->sources[input.index], before, err);
    }
    json_decref(before);
    return st;
}
