/* Promise 1, checked: each table against its SELECT run by DuckDB over its direct inputs at its frontier. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "audit/verify.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"

/* Rows and keys of the table that are left out because an expression raises on them behind a join or an aggregate (rule 10). */
static uint64_t withheld(const struct leat_gtable *table) {
    uint64_t count = table->withheld;
    const struct leat_group *g = table->group;
    for (int t = 0; g && t < g->table_count; t++)
        for (int i = 0; i < g->node_count && g->tables[t] == table; i++)
            if (g->nodes[i].node && g->nodes[i].feeds[t]) count += leat_node_withheld(g->nodes[i].node);
    return count;
}

/* EMIT ON WINDOW CLOSE: the rows that the group's last cut had closed; a window without times never is. */
static void put_closed(const struct leat_gtable *table, const char *query, struct leat_buffer *sql) {
    const struct leat_plan *plan = table->plan;
    leat_put(sql, query);
    if (!table->group || !table->def->emit_on_window_close) return;
    const struct leat_op *root = &plan->ops[plan->op_count - 1];
    if (!root->time_count) return;
    const struct leat_time_column *time = &root->times[0];
    const struct leat_group *g = table->group;
    int node = table->root; /* down to the one that holds windows back */
    while (g->nodes[node].op->close_key < 0 && g->nodes[node].children[0] >= 0) node = g->nodes[node].children[0];
    int64_t cut = leat_group_cut(g, node);
    leat_buffer_reset(sql);
    leat_putf(sql, "SELECT * FROM (%s\n) WHERE ", query);
    if (cut == INT64_MIN) {
        leat_put(sql, "false");
        return;
    }
    leat_putf(sql, "epoch_us(");
    leat_put_sql_name(sql, root->schema.fields[time->column].name);
    if (cut == INT64_MAX)
        leat_put(sql, ") IS NOT NULL");
    else
        leat_putf(sql, ") + %lld <= %lld", (long long)time->span_us, (long long)cut);
}

/* DuckDB's sums of decimals may pass the 38 digits of their type and fail only where 128 bits end; leat withholds such rows, for
 * no reader of the lake could hold them. */
static void leave_out_overflown(const struct leat_gtable *table, struct leat_buffer *sql) {
    struct leat_buffer out = {0};
    leat_putf(&out, "SELECT * FROM (%s\n) WHERE true", sql->data);
    for (size_t i = 0; i < table->plan->schema.field_count; i++) {
        const struct leat_field *field = &table->plan->schema.fields[i];
        if (field->type.kind != LEAT_HUGEINT && (field->type.kind != LEAT_DECIMAL || field->type.width != 38)) continue;
        leat_put(&out, " AND (length(regexp_replace(CAST(");
        leat_put_sql_name(&out, field->name);
        leat_put(&out, " AS VARCHAR), '[^0-9]', '', 'g')) <= 38) IS NOT FALSE");
    }
    leat_buffer_reset(sql);
    leat_put(sql, out.data);
    leat_buffer_deinit(&out);
}

/* May what the aggregate sums pass 38 digits? An average is a DOUBLE, and its sum as wide as what it is of. */
static bool sums_widely(const struct leat_plan *plan, const struct leat_op *op, const struct leat_agg *agg) {
    bool average = agg->kind == LEAT_AGG_AVG;
    if (!average && agg->kind != LEAT_AGG_SUM) return false;
    const struct leat_type type = average ? plan->ops[op->children[0]].schema.fields[agg->argument].type : agg->result;
    return type.kind == LEAT_HUGEINT || (type.kind == LEAT_DECIMAL && type.width > (average ? 18 : 37));
}

/* Does an operator below `end` give such sums? */
static bool any_sums_widely(const struct leat_plan *plan, int end) {
    for (int i = 0; i < end; i++)
        for (size_t k = 0; plan->ops[i].kind == LEAT_OP_AGGREGATE && k < plan->ops[i].agg_count; k++)
            if (sums_widely(plan, &plan->ops[i], &plan->ops[i].aggs[k])) return true;
    return false;
}

/* Do the differing rows tell of sums with which DuckDB went on? Below LIMIT, a join, another aggregate, a filter, they decide about other rows, or are
 * there no more. Else they are rows that the table withholds, which leave_out_overflown cannot know by their digits where DuckDB, which looks at 128
 * bits only when it adds a row, not when it adds what two parts of the input gave, had any number come out. */
static bool are_of_withheld_sums(const struct leat_gtable *table, const struct leat_verify_result *result) {
    const struct leat_plan *plan = table->plan;
    uint64_t keys = withheld(table);
    int root = (int)plan->op_count - 1;
    if (!keys) return false;
    while (plan->ops[root].kind == LEAT_OP_MAP && !plan->ops[root].filter) root = plan->ops[root].children[0];
    if (any_sums_widely(plan, root)) return true;
    return any_sums_widely(plan, (int)plan->op_count) && !result->extra_rows && (uint64_t)result->missing_rows <= keys;
}

/* What a table or its quarantine would hold without FAIL UPDATE: with the changes that wait for the violation's end. */
static enum leat_status put_content(struct leat_engine *engine, const struct leat_gtable *table, bool quarantine, struct leat_buffer *sql,
                                    struct leat_error *err) {
    const struct leat_side *side = quarantine ? &table->quarantine : NULL;
    const struct leat_changes *held = leat_table_held(table);
    enum leat_status st = LEAT_OK;
    char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, side ? side->suffix : "");
    if (held) leat_put(sql, "(");
    leat_delta_select(dir, leat_delta_current(side ? side->delta : table->delta), side ? &side->schema : &table->plan->schema, NULL, sql);
    if (held) {
        char *input = leat_asprintf("%s@held", table->def->name);
        st = leat_conn_input(engine->batch_conn, input, held->schema, true, err);
        leat_conn_bind(engine->batch_conn, input, held);
        for (int i = 0; i < 2; i++) {
            struct leat_buffer from = {0};
            leat_put(&from, "(");
            leat_put_changed_rows(input, held->schema, i ? "<" : ">", &from);
            leat_put(&from, ")");
            char *rows = leat_plan_checked_rows(table->plan, table->def, from.data, quarantine);
            leat_putf(sql, i ? ") EXCEPT ALL %s" : " UNION ALL %s", rows);
            free(rows);
            leat_buffer_deinit(&from);
        }
        free(input);
    }
    free(dir);
    return st;
}

static int64_t content_rows(const struct leat_delta *delta) {
    const struct leat_delta_snapshot *now = leat_delta_current(delta);
    int64_t rows = 0;
    for (size_t i = 0; i < now->file_count; i++) {
        if (now->files[i].row_count < 0) return -1;
        rows += now->files[i].row_count;
    }
    return rows;
}

/* Everything the comparison depends on: both queries, and the clock, which only queries that are not kept incrementally may read. Files
 * never change, so the same comparison has the same answer. 0: it reads changes in memory. */
static uint64_t comparison(const struct leat_gtable *table, const char *oracle, const char *content, int64_t clock_us) {
    struct leat_buffer text = {0};
    leat_putf(&text, "%s\n%s\n%lld", oracle, content, table->plan->incremental_class == 7 ? (long long)clock_us : 0);
    uint64_t hash = strstr(text.data, "leat_input(") ? 0 : XXH3_64bits(text.data, text.length);
    leat_buffer_deinit(&text);
    return hash;
}

static bool recorded(const struct leat_gtable *table, const char *fact) {
    json_t *frontier = leat_table_frontier(table);
    bool is = json_object_get(frontier, fact) != NULL;
    json_decref(frontier);
    return is;
}

/* A batch table's content is of a run, or of the time before it was scheduled; not if it was held back then. */
static bool says_what_it_reflects(const struct leat_gtable *table) {
    return recorded(table, "balance");
}

/* Of a table that was continuous it is not known any more what was withheld. */
static bool may_withhold(const struct leat_gtable *table) {
    return table->failures || withheld(table) || (table->batch && recorded(table, "turned"));
}

static void restrict_to(struct leat_buffer *sql, const char *where) {
    char *all = leat_strdup(sql->data);
    leat_buffer_reset(sql);
    leat_putf(sql, "SELECT * FROM (%s\n) WHERE %s", all, where);
    free(all);
}

/* frontier: of a run's commit. where: a condition on the table's rows, NULL: all of them. */
static enum leat_status compare(struct leat_engine *engine, struct leat_gtable *table, bool quarantine, const json_t *frontier, const char *where, int64_t clock_us,
                                size_t max_rows, struct leat_buffer *out, uint64_t *differing, struct leat_error *err) {
    struct leat_buffer content = {0}, query = {0}, oracle = {0};
    struct leat_verify_result result = {0};
    const struct leat_schema *schema = quarantine ? &table->quarantine.schema : &table->plan->schema;
    const char *suffix = quarantine ? table->quarantine.suffix : "";
    bool answered = false;
    enum leat_status st = put_content(engine, table, quarantine, &content, err);
    put_closed(table, quarantine ? table->plan->quarantine_sql : table->plan->completed_sql, &query);
    if (withheld(table) || (table->batch && recorded(table, "turned"))) leave_out_overflown(table, &query);
    if (where) restrict_to(&query, where);
    if (st == LEAT_OK) st = leat_parts_put(engine, table, frontier, query.data, &oracle, err);
    if (st == LEAT_OK) {
        if (where) restrict_to(&content, where);
        uint64_t question = where ? 0 : comparison(table, oracle.data, content.data, clock_us);
        answered = question && table->verified[quarantine] == question;
        int64_t rows = content_rows(quarantine ? table->quarantine.delta : table->delta);
        if (!answered) st = leat_verify_known(engine->batch_conn, schema, rows, oracle.data, content.data, max_rows, &result, err);
        if (st == LEAT_OK && !result.differing && question) table->verified[quarantine] = question;
    }
    if (st != LEAT_OK && err->bad_data && may_withhold(table)) {
        /* DuckDB gives no answer at all where one row raises: there is nothing to compare with. */
        leat_putf(out, "%s%s: not compared, since rows are withheld: %s\n", table->def->name, suffix, err->text);
        st = LEAT_OK;
    } else if (answered) {
        leat_putf(out, "%s%s: equal, as compared before\n", table->def->name, suffix);
    } else if (st == LEAT_OK && result.differing && are_of_withheld_sums(table, &result)) {
        leat_putf(out, "%s%s: not compared, since rows are withheld: a sum has more than 38 digits, which DuckDB goes on with\n", table->def->name, suffix);
    } else if (st == LEAT_OK) {
        uint64_t rows = result.differing;
        *differing += rows;
        leat_putf(out, "%s%s: %llu differing rows\n", table->def->name, suffix, (unsigned long long)rows);
        if (rows) leat_verify_print(&result, out);
    }
    leat_verify_result_deinit(&result);
    leat_buffer_deinit(&content);
    leat_buffer_deinit(&query);
    leat_buffer_deinit(&oracle);
    return st;
}

enum leat_status leat_table_verify(struct leat_engine *engine, struct leat_gtable *table, const char *where, size_t max_rows,
                                     struct leat_buffer *out, uint64_t *differing, struct leat_error *err) {
    int64_t clock = table->group ? table->group->last_clock_us : engine->clock_us;
    const char *recorded = leat_delta_current(table->delta)->frontier_json;
    json_t *frontier = table->batch && recorded ? json_loads(recorded, 0, NULL) : NULL;
    if (frontier) clock = json_integer_value(json_object_get(frontier, "clock"));
    leat_conn_set_clock(engine->batch_conn, clock);
    struct leat_buffer derivable = {0};
    if (table->frozen_us > INT64_MIN) { /* what is older stays as it is, and nothing can say it again */
        leat_table_put_frozen(table, false, &derivable);
        if (where) leat_putf(&derivable, " AND (%s)", where);
    }
    enum leat_status st = compare(engine, table, false, frontier, derivable.data ? derivable.data : where, clock, max_rows, out, differing, err);
    if (st == LEAT_OK && table->quarantine.delta && !where) st = compare(engine, table, true, frontier, NULL, clock, max_rows, out, differing, err);
    leat_buffer_deinit(&derivable);
    json_decref(frontier);
    return st == LEAT_OK ? st : leat_prepend(err, "verify \"%s\"", table->def->name);
}

bool leat_table_begins_anew(const struct leat_gtable *table) {
    return table->group && !table->group->started && table->overwrite && leat_delta_current(table->delta)->file_count > 0;
}

static enum leat_status verify_tables(struct leat_engine *engine, const char *name, size_t max_rows, struct leat_buffer *out,
                                      uint64_t *differing, struct leat_error *err) {
    struct leat_object_ref ref;
    if (name && (!leat_project_find(engine->project, name, &ref) || ref.kind != LEAT_OBJECT_TABLE))
        return leat_fail(err, LEAT_NOT_FOUND, "there is no materialized table \"%s\"", name);
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (name && ref.index != t) continue;
        if (table->batch && table->asked && leat_delta_current(table->delta)->frontier_json) { /* what it read may not be there any more */
            leat_putf(out, "%s: not compared: it is to be run again\n", table->def->name);
            continue;
        }
        if (table->batch && !says_what_it_reflects(table)) {
            leat_putf(out, "%s: never run\n", table->def->name);
            continue;
        }
        if (table->suspended && table->group && !table->group->started) {
            leat_putf(out, "%s: not compared: it is suspended, and made anew when it resumes\n", table->def->name);
            continue;
        }
        if (leat_table_begins_anew(table)) {
            leat_putf(out, "%s: not compared: it is made anew from bronze, of which nothing is read yet: 'leat run --once' does it\n", table->def->name);
            continue;
        }
        if (leat_table_waits(table)) {
            leat_putf(out, "%s: not compared: it, or a table it reads, was made anew, and it shows its former content while rows violate FAIL UPDATE\n", table->def->name);
            continue;
        }
        enum leat_status st = leat_table_verify(engine, table, NULL, max_rows, out, differing, err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

enum leat_status leat_engine_verify(struct leat_engine *engine, const char *name, size_t max_rows, struct leat_buffer *out,
                                    uint64_t *differing, struct leat_error *err) {
    enum leat_status st = leat_engine_flush(engine, false, err);
    *differing = 0;
    if (st == LEAT_OK) st = leat_engine_parallel(engine, true, err);
    if (st == LEAT_OK) st = verify_tables(engine, name, max_rows, out, differing, err);
    return leat_engine_narrow(engine, st, err);
}
