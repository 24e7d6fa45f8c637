/* ALTER MATERIALIZED TABLE t REFRESH PARTITION (condition): only the rows that fit a condition on t's columns.
 *
 * Of a scheduled or full table the query is run for these rows alone, over the lake as it is now (DuckDB pushes the condition down, so that only what it
 * needs is read), and what differs is committed. The commit's frontier then has, beside what the last whole run reflects, "parts": condition and
 * inputs of each part that was refreshed since, oldest first. So the content is still exactly what the frontier says (promise 1), and verify
 * compares it with that: rows that fit the last part's condition over that part's inputs, the others as before it. A whole run ends all parts.
 * Without a difference nothing is written: the rows are what the former frontier says, too.
 *
 * A table that is kept fresh has nothing to refresh; its rows are compared with its query, and it is made anew where they differ. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"
#include "sql/lexer.h"

#define PARTS_MAX 16 /* each makes verify's query longer */

/* ---- what verify compares with ---------------------------------------------------------------------------------------------- */

static enum leat_status put_at(struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, const char *query, struct leat_buffer *sql,
                               struct leat_error *err) {
    struct leat_buffer inputs = {0};
    leat_put(&inputs, "");
    enum leat_status st = leat_batch_with(engine, table, frontier, &inputs, err);
    if (st == LEAT_OK) leat_putf(sql, "%s SELECT * FROM (%s\n)", inputs.data, query);
    leat_buffer_deinit(&inputs);
    return st;
}

enum leat_status leat_parts_put(struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, const char *query, struct leat_buffer *sql,
                                struct leat_error *err) {
    struct leat_buffer all = {0};
    json_t *part;
    size_t i;
    enum leat_status st = put_at(engine, table, frontier, query, &all, err);
    json_array_foreach(json_object_get(frontier, "parts"), i, part) {
        const char *where = json_string_value(json_object_get(part, "where"));
        char *before = leat_strdup(all.data ? all.data : "");
        leat_buffer_reset(&all);
        leat_putf(&all, "SELECT * FROM (%s) WHERE (%s) IS NOT TRUE UNION ALL SELECT * FROM (", before, where);
        free(before);
        if (st == LEAT_OK) st = put_at(engine, table, part, query, &all, err);
        leat_putf(&all, ") WHERE (%s)", where);
    }
    if (st == LEAT_OK) leat_put(sql, all.data);
    leat_buffer_deinit(&all);
    return st;
}

/* ---- what can be refreshed in parts ------------------------------------------------------------------------------------------- */

/* age(then) is to now; age(later, then) is not. */
static bool is_age_to_now(const struct leat_tokens *tokens, size_t at) {
    int depth = 0;
    if (!leat_token_is(tokens, at, "age") || !leat_token_is_operator(tokens, at + 1, "(")) return false;
    for (size_t i = at + 1; i < tokens->count; i++) {
        depth += leat_token_is_operator(tokens, i, "(");
        depth -= leat_token_is_operator(tokens, i, ")");
        if (depth == 0) return true;
        if (depth == 1 && leat_token_is_operator(tokens, i, ",")) return false;
    }
    return false;
}

/* A part has one clock reading, verify's query one: no part of a query that reads it. */
bool leat_reads_clock(const char *sql) {
    static const char *const words[] = {"now", "current_timestamp", "current_date", "current_time", "today", "transaction_timestamp", "get_current_timestamp",
                                        "get_current_time", "localtimestamp", "localtime", "current_localtimestamp", "current_localtime", "leat_now", "random",
                                        "uuid", "gen_random_uuid"};
    struct leat_tokens tokens;
    leat_lex(sql, strlen(sql), &tokens);
    bool found = leat_tokens_have_any(&tokens, words, sizeof words / sizeof *words);
    for (size_t i = 0; i < tokens.count && !found; i++) found = is_age_to_now(&tokens, i);
    leat_tokens_deinit(&tokens);
    return found;
}

/* It, or a view that it may name. seen: the views that have been looked at. */
static bool depends_on_clock(const struct leat_engine *engine, const char *sql, bool *seen) {
    struct leat_tokens tokens;
    bool found = leat_reads_clock(sql);
    leat_lex(sql, strlen(sql), &tokens);
    for (size_t i = 0; i < tokens.count && !found; i++) {
        char *word = leat_token_value(&tokens, i);
        for (size_t v = 0; v < engine->project->view_count && !found; v++) {
            if (seen[v] || strcasecmp(word, engine->project->views[v].name) != 0) continue;
            seen[v] = true;
            found = depends_on_clock(engine, engine->view_sql[v], seen);
        }
        free(word);
    }
    leat_tokens_deinit(&tokens);
    return found;
}

/* What else it reads would be another thing when verify asks. */
static bool has_query(const char *where) {
    static const char *const after[] = {"FROM", "VALUES", "TABLE", "WITH"};
    struct leat_tokens tokens;
    bool found = false;
    leat_lex(where, strlen(where), &tokens);
    for (size_t i = 0; i < tokens.count && !found; i++) {
        found = leat_token_is(&tokens, i, "SELECT") ||
                (leat_token_is_operator(&tokens, i, "(") && leat_token_is_any(&tokens, i + 1, after, sizeof after / sizeof *after));
    }
    leat_tokens_deinit(&tokens);
    return found;
}

static bool is_key(const struct leat_op *op, size_t column) {
    bool found = false;
    for (size_t i = 0; i < op->key_count; i++) found |= op->keys[i] == column;
    return found;
}

/* Does an operator's column say which group, or which row of several that are one, a row is? Where nothing groups, every column does. */
static bool tells_groups(const struct leat_plan *plan, int op, size_t column) {
    const struct leat_op *o = &plan->ops[op];
    size_t left = o->child_count ? plan->ops[o->children[0]].schema.field_count : 0;
    switch (o->kind) {
    case LEAT_OP_SOURCE:
    case LEAT_OP_REFERENCE:
    case LEAT_OP_TABLE: return true;
    case LEAT_OP_MAP:
        if (o->map[column].from >= 0) return tells_groups(plan, o->children[0], (size_t)o->map[column].from);
        for (size_t i = 0; i < left; i++) /* computed of anything */
            if (!tells_groups(plan, o->children[0], i)) return false;
        return true;
    case LEAT_OP_AGGREGATE: return column < o->key_count && tells_groups(plan, o->children[0], o->keys[column]);
    case LEAT_OP_DISTINCT_ON: return is_key(o, column) && tells_groups(plan, o->children[0], column);
    case LEAT_OP_LOOKUP:
    case LEAT_OP_JOIN: return column < left ? tells_groups(plan, o->children[0], column) : tells_groups(plan, o->children[1], column - left);
    case LEAT_OP_TOP_N: /* the place comes last */
    case LEAT_OP_CONSTRAIN: return column < left && tells_groups(plan, o->children[0], column);
    case LEAT_OP_UNION: return tells_groups(plan, o->children[0], column) && tells_groups(plan, o->children[1], column);
    default: return false; /* computed of all rows of a key */
    }
}

/* Of a row whose key stays, other columns may fit before and not after: a part of such rows could hold a key twice, or not at all. */
static bool may_say(const struct leat_gtable *table, size_t column) {
    const struct leat_plan *plan = table->plan;
    bool key = false;
    if (!table->batch) return true;
    for (size_t i = 0; i < table->def->primary_key_count; i++) key |= strcasecmp(table->def->primary_key[i], plan->schema.fields[column].name) == 0;
    if (table->def->primary_key_count) return key;
    return !plan->op_count || tells_groups(plan, (int)plan->op_count - 1, column);
}

static void put_columns_of_condition(const struct leat_gtable *table, struct leat_buffer *sql) {
    const struct leat_schema *schema = &table->plan->schema;
    size_t count = 0;
    for (size_t i = 0; i < schema->field_count; i++) {
        if (!may_say(table, i)) continue;
        leat_put(sql, count++ ? ", " : "");
        leat_put_sql_name(sql, schema->fields[i].name);
    }
    if (!count) leat_put(sql, "NULL AS __none");
}

static const char *columns_word(const struct leat_gtable *table) {
    if (table->batch && table->def->primary_key_count) return "PRIMARY KEY";
    for (size_t i = 0; i < table->plan->schema.field_count; i++)
        if (!may_say(table, i)) return "columns that it groups by";
    return "columns";
}

static enum leat_status check_condition(struct leat_engine *engine, const struct leat_gtable *table, const char *where, struct leat_error *err) {
    struct leat_schema schema = {0};
    struct leat_buffer sql = {0};
    leat_putf(&sql, "SELECT (%s) FROM (SELECT ", where);
    put_columns_of_condition(table, &sql);
    leat_put(&sql, " FROM (");
    enum leat_status st = has_query(where) ? leat_fail(err, LEAT_UNSUPPORTED, "a query in it") : leat_table_select(engine, table, -1, &sql, err);
    leat_put(&sql, "))");
    if (st == LEAT_OK) st = leat_conn_describe(engine->batch_conn, sql.data, &schema, err);
    if (st == LEAT_OK && (schema.field_count != 1 || schema.fields[0].type.kind != LEAT_BOOLEAN))
        st = leat_fail(err, LEAT_INVALID, "'%.200s' is no condition", where);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&sql);
    return st == LEAT_OK ? st : leat_prepend(err, "REFRESH PARTITION takes a condition on the table's %s", columns_word(table));
}

static enum leat_status check_table(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, const char *where, struct leat_error *err) {
    const char *name = table->def->name;
    bool nested = false, *seen = leat_alloc(engine->project->view_count + 1);
    bool clock = depends_on_clock(engine, table->plan->completed_sql, seen) || leat_reads_clock(where);
    free(seen);
    for (size_t i = 0; i < table->plan->schema.field_count; i++) nested |= table->plan->schema.fields[i].type.kind == LEAT_NESTED;
    if (engine->pass) return leat_fail(err, LEAT_BUSY, "runs are under way; ask again when they have ended");
    if (!json_object_get(frontier, "balance") || json_object_get(frontier, "turned") || table->asked)
        return leat_fail(err, LEAT_INVALID, "table \"%s\" has not been run as it is now: REFRESH it whole first", name);
    if (table->plan->checked_sql || nested)
        return leat_fail(err, LEAT_UNSUPPORTED, "table \"%s\" has %s: REFRESH it whole", name, nested ? "columns of nested types" : "constraints, which are the whole run's");
    if (clock)
        return leat_fail(err, LEAT_UNSUPPORTED, "table \"%s\" depends on when it is computed: REFRESH it whole", name);
    return LEAT_OK;
}

/* ---- a scheduled table --------------------------------------------------------------------------------------------------------- */

static enum leat_status add_rows(struct leat_engine *engine, const char *sql, int sign, struct leat_changes *to, struct leat_error *err) {
    struct leat_stage *stage = NULL;
    struct leat_changes rows;
    leat_changes_init(&rows, to->schema);
    enum leat_status st = leat_stage_prepare(engine->batch_conn, sql, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, &rows, NULL, err);
    if (st == LEAT_OK) leat_changes_append(to, &rows, NULL, rows.row_count, sign);
    leat_stage_free(stage);
    leat_changes_deinit(&rows);
    return st;
}

/* The part now, less the part as it stands. */
static enum leat_status find_difference(struct leat_engine *engine, const struct leat_gtable *table, const json_t *part, const char *where, struct leat_changes *out,
                                        struct leat_error *err) {
    struct leat_buffer old = {0}, now = {0};
    leat_put(&old, "SELECT * FROM (");
    leat_put(&now, "SELECT * FROM (");
    enum leat_status st = leat_table_select(engine, table, -1, &old, err);
    leat_conn_set_clock(engine->batch_conn, json_integer_value(json_object_get(part, "clock")));
    if (st == LEAT_OK) st = put_at(engine, table, part, table->plan->completed_sql, &now, err);
    leat_putf(&old, ") WHERE (%s) AND ", where);
    leat_putf(&now, ") WHERE (%s) AND ", where);
    leat_table_put_frozen(table, false, &old); /* rows that outlive their records stay (retain.c) */
    leat_table_put_frozen(table, false, &now);
    char *came = leat_asprintf("%s EXCEPT ALL %s", now.data, old.data), *went = leat_asprintf("%s EXCEPT ALL %s", old.data, now.data);
    if (st == LEAT_OK) st = leat_engine_parallel(engine, true, err);
    if (st == LEAT_OK) st = add_rows(engine, came, 1, out, err);
    if (st == LEAT_OK) st = add_rows(engine, went, -1, out, err);
    st = leat_engine_narrow(engine, st, err);
    free(came);
    free(went);
    leat_buffer_deinit(&old);
    leat_buffer_deinit(&now);
    return st;
}

/* The frontier with one more part; former ones of the same condition are covered by it. */
static void add_part(json_t *frontier, json_t *part, const char *where) {
    json_t *parts = json_object_get(frontier, "parts"), *former;
    size_t i;
    if (!parts) json_object_set_new(frontier, "parts", parts = json_array());
    json_array_foreach(parts, i, former)
        if (strcmp(json_string_value(json_object_get(former, "where")), where) == 0) json_array_remove(parts, i--);
    json_object_set_new(part, "where", json_string(where));
    json_array_append(parts, part);
}

static enum leat_status commit_part(struct leat_engine *engine, struct leat_gtable *table, const json_t *frontier, const struct leat_changes *changes,
                                    struct leat_error *err) {
    char *run_id = leat_table_app_id(engine, table), *app_id = leat_asprintf("%s/part", run_id), *text = json_dumps(frontier, JSON_COMPACT);
    struct leat_delta_txn txn = {app_id, leat_delta_current(table->delta)->version + 1};
    const struct leat_delta_commit_info info = {.operation = "MERGE", .frontier_json = text, .txns = &txn, .txn_count = 1};
    enum leat_status st = leat_delta_apply(table->delta, changes, NULL, 0, &info, NULL, err);
    if (st == LEAT_OK) st = leat_effects_ran(table, engine, false, err);
    free(run_id);
    free(app_id);
    free(text);
    return st;
}

static enum leat_status journal_part(struct leat_engine *engine, const struct leat_gtable *table, const char *where, int64_t start_us, int64_t cpu_us, size_t changed,
                                     struct leat_error *err) {
    json_t *record = json_pack("{s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:i,s:I}", "t", "part", "table", table->def->name, "where", where, "start", (json_int_t)start_us, "end",
                               (json_int_t)leat_engine_now(engine), "rows", (json_int_t)changed, "cpu_us", (json_int_t)(leat_usage_cpu_us() - cpu_us), "bytes", 0,
                               "version", (json_int_t)leat_delta_current(table->delta)->version);
    leat_history_add(engine, record);
    engine->status_is_news = true;
    return leat_engine_journal(engine, record, err);
}

static enum leat_status refresh_run(struct leat_engine *engine, struct leat_gtable *table, const char *where, size_t *changed, struct leat_error *err) {
    json_t *frontier = leat_table_frontier(table), *part = NULL;
    int64_t start_us = leat_engine_now(engine), cpu_us = leat_usage_cpu_us();
    struct leat_buffer now = {0};
    struct leat_changes changes;
    leat_changes_init(&changes, &table->plan->schema);
    enum leat_status st = check_table(engine, table, frontier, where, err);
    if (st == LEAT_OK) st = leat_frozen_before_run(engine, table, err);
    if (st == LEAT_OK) {
        json_t *frozen = leat_frozen_json(table);
        if (frozen) json_object_set_new(frontier, "frozen", frozen);
        leat_frontier_json(engine, NULL, NULL, &now);
        part = json_loads(now.data, 0, NULL);
        leat_reflects_put_ids(engine, table, part);
        st = find_difference(engine, table, part, where, &changes, err);
    }
    *changed = changes.row_count;
    if (st == LEAT_OK && changes.row_count) {
        add_part(frontier, part, where);
        if (json_array_size(json_object_get(frontier, "parts")) > PARTS_MAX)
            st = leat_fail(err, LEAT_INVALID, "%d parts of table \"%s\" have been refreshed since its last whole run: REFRESH it whole", PARTS_MAX, table->def->name);
        else
            st = commit_part(engine, table, frontier, &changes, err);
        engine->manifest_is_due |= st == LEAT_OK;
        if (st == LEAT_OK) st = leat_tables_commit(engine, err); /* the manifest */
    }
    if (st == LEAT_OK) st = journal_part(engine, table, where, start_us, cpu_us, changes.row_count, err);
    json_decref(part);
    json_decref(frontier);
    leat_buffer_deinit(&now);
    leat_changes_deinit(&changes);
    return st;
}

/* ---- a table that is kept fresh -------------------------------------------------------------------------------------------------- */

static enum leat_status mend(struct leat_engine *engine, struct leat_gtable *table, const char *where, size_t *changed, struct leat_error *err) {
    struct leat_buffer report = {0};
    char *condition = leat_asprintf("(%s)", where);
    uint64_t differing = 0;
    enum leat_status st = leat_table_verify(engine, table, condition, 5, &report, &differing, err);
    *changed = differing;
    if (st == LEAT_OK && differing) st = leat_engine_rebuild(engine, table->def->name, "REFRESH PARTITION", NULL, err);
    leat_buffer_deinit(&report);
    free(condition);
    return st;
}

enum leat_status leat_engine_refresh_part(struct leat_engine *engine, const char *name, const char *where, bool dry_run, struct leat_buffer *out,
                                          struct leat_error *err) {
    struct leat_object_ref ref;
    size_t changed = 0;
    leat_project_find(engine->project, name, &ref);
    struct leat_gtable *table = &engine->tables[ref.index];
    if (table->suspended) return leat_fail(err, LEAT_INVALID, "table \"%s\" is suspended: RESUME it", name);
    enum leat_status st = check_condition(engine, table, where, err);
    if (st == LEAT_OK && !dry_run) {
        st = leat_engine_drain(engine, err);
        if (st == LEAT_OK) st = leat_engine_flush(engine, false, err);
        if (st == LEAT_OK) st = table->batch ? refresh_run(engine, table, where, &changed, err) : mend(engine, table, where, &changed, err);
    }
    if (st == LEAT_OK && out)
        leat_putf(out, "{\"tables\": [{\"table\": \"%s\", \"fate\": \"part\", \"changes\": %zu}], \"rows\": 0, \"bytes\": 0}", table->def->name, changed);
    return st;
}
