/* A table's query, compiled: ties completed, bound by DuckDB, its plan turned into operators. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "plan/compile.h"
#include "plan/complete.h"

#define MAX_DEPTH 400 /* plan nodes below each other */

/* ---- leaves */

/* A position in the declared row for every output column of the scan. */
static bool scan_columns(struct leat_compile *c, const json_t *node, uint16_t *out, size_t *count) {
    size_t wanted = leat_json_count(node, "projection_ids"), indexes = leat_json_count(node, "column_indexes");
    size_t types = leat_json_count(node, "returned_types");
    bool projected = wanted > 0;
    *count = projected ? wanted : indexes;
    for (size_t i = 0; i < *count; i++) {
        uint64_t at = i, column = 0;
        if (projected && (!leat_json_uint64(leat_json_at(node, "projection_ids", i), &at) || at >= indexes))
            return leat_compile_refuse(c, "a scan of an unknown shape");
        leat_json_uint64(json_object_get(leat_json_at(node, "column_indexes", at), "index"), &column);
        if (leat_json_count(leat_json_at(node, "column_indexes", at), "child_indexes"))
            return leat_compile_refuse(c, "a scan of parts of nested columns");
        out[i] = column < types ? (uint16_t)column : 0; /* "no column", for count(*): any will do */
    }
    return true;
}

static void emit_source_columns(struct leat_compile *c, struct leat_op *op, const struct leat_source *source,
                                size_t index) {
    struct leat_schema row = {0};
    leat_source_row_schema(source, &row);
    for (size_t i = 0; i < op->column_count; i++) {
        const struct leat_field *field = &row.fields[op->columns[i]];
        bool key = false;
        for (size_t k = 0; k < source->primary_key_count; k++)
            key = key || (source->reference && source->primary_key[k] == op->columns[i]);
        leat_emit_column(op, field->name, field->type, field->not_null || key);
        bool time = field->type.kind == LEAT_TIMESTAMP || field->type.kind == LEAT_TIMESTAMPTZ;
        if (!source->reference && op->columns[i] == source->event_time && time && c->cut_sources[index])
            leat_emit_time(op, i, 1, (int)index);
        const struct leat_local itself = {.span_us = 1, .object = (int)index, .step_us = 1};
        if (!source->reference && op->columns[i] == source->event_time && time) leat_emit_local(op, i, &itself);
    }
    leat_schema_deinit(&row);
}

static bool compile_source(struct leat_compile *c, size_t index, const uint16_t *columns, size_t count,
                           struct leat_rel *out) {
    const struct leat_source *source = &c->project->sources[index];
    int op_index = leat_emit(c, source->reference ? LEAT_OP_REFERENCE : LEAT_OP_SOURCE, -1, -1);
    struct leat_op *op = &c->plan->ops[op_index];
    op->object = (int)index;
    op->columns = leat_alloc((count + 1) * sizeof *op->columns);
    memcpy(op->columns, columns, count * sizeof *columns);
    op->column_count = count;
    op->incremental_class = 1;
    op->append_only = !source->reference || source->refresh_us == 0;
    op->cut_applies = !source->reference && source->event_time >= 0 && c->cut_sources[index];
    emit_source_columns(c, op, source, index);
    op->why = source->reference ? leat_strdup(source->refresh_us ? "differences between versions" : "read once")
                                : leat_strdup("rows as they come");
    if (!leat_emit_done(c, &op_index)) return false;
    leat_rel_of_op(c, op_index, out);
    for (size_t i = 0; source->reference && i < count; i++)
        for (size_t k = 0; k < source->primary_key_count && k < 32; k++)
            if (source->primary_key[k] == columns[i]) out->columns[i].reference_key = (int)k;
    return true;
}

/* What another table publishes may be taken back at any time: late records folded in, a new definition. */
static bool compile_table_input(struct leat_compile *c, const json_t *node, size_t index, const uint16_t *columns,
                                size_t count, struct leat_rel *out) {
    int op_index = leat_emit(c, LEAT_OP_TABLE, -1, -1);
    struct leat_op *op = &c->plan->ops[op_index];
    op->object = (int)index;
    op->columns = leat_alloc((count + 1) * sizeof *op->columns);
    memcpy(op->columns, columns, count * sizeof *columns);
    op->column_count = count;
    op->incremental_class = 1;
    for (size_t i = 0; i < count; i++)
        leat_emit_column(op, json_string_value(leat_json_at(node, "names", columns[i])),
                         leat_bound_type(leat_json_at(node, "returned_types", columns[i])), false);
    op->why = leat_strdup("the changes of another table");
    if (!leat_emit_done(c, &op_index)) return false;
    leat_rel_of_op(c, op_index, out);
    return true;
}

static bool compile_get(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    const char *name = leat_json_text(leat_json_at(node, "parameters", 0), "value");
    struct leat_object_ref ref;
    size_t count, capacity = leat_json_count(node, "projection_ids") + leat_json_count(node, "column_indexes");
    uint16_t *columns = leat_arena_alloc(&c->arena, (capacity + 1) * sizeof *columns);
    if (strcasecmp(leat_json_text(node, "name"), "unnest") == 0)
        return leat_compile_refuse(c, "unnest in FROM; write SELECT ..., unnest(list) FROM ... instead");
    if (strcasecmp(leat_json_text(node, "name"), "leat_input") != 0)
        return leat_compile_refuse(c, "table function %s in FROM: its rows come from no source",
                                   leat_json_text(node, "name"));
    if (!leat_project_find(c->project, name, &ref))
        return leat_compile_refuse(c, "\"%s\" is not an object of the project", name);
    if (leat_json_count(json_object_get(node, "table_filters"), "filters"))
        return leat_compile_refuse(c, "a scan with filters of its own");
    if (!scan_columns(c, node, columns, &count)) return false;
    if (ref.kind == LEAT_OBJECT_SOURCE) return compile_source(c, ref.index, columns, count, out);
    return compile_table_input(c, node, ref.index, columns, count, out);
}

static bool compile_cte_ref(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    for (size_t i = c->cte_count; i-- > 0;) {
        if (c->ctes[i].index != leat_json_int(node, "cte_index")) continue;
        leat_rel_start(c, &c->ctes[i].rel, c->ctes[i].rel.count, out);
        memcpy(out->columns, c->ctes[i].rel.columns, c->ctes[i].rel.count * sizeof *out->columns);
        out->count = c->ctes[i].rel.count;
        return true;
    }
    return leat_compile_refuse(c, "a recursive query: every change could change every later round; use SCHEDULE");
}

static bool compile_delim_get(struct leat_compile *c, struct leat_rel *out) {
    if (c->delim_count == 0) return leat_compile_refuse(c, "a correlated subquery of this shape; write it as a join");
    const struct leat_rel *rel = c->delim[c->delim_count - 1];
    leat_rel_start(c, rel, rel->count, out);
    memcpy(out->columns, rel->columns, rel->count * sizeof *out->columns);
    out->count = rel->count;
    return true;
}

/* ---- row-wise nodes */

/* What a filter says of the rows of a join is of use below. */
static void note_above(struct leat_compile *c, const json_t *filter, const json_t *child) {
    const json_t *through = leat_json_is(child, "type", "LOGICAL_PROJECTION") ? json_object_get(child, "expressions") : NULL;
    if (!leat_json_is(through ? leat_json_at(child, "children", 0) : child, "type", "LOGICAL_COMPARISON_JOIN")) return;
    c->above = json_object_get(filter, "expressions");
    c->above_through = through;
}

static bool compile_filter(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    bool done;
    if (!leat_compile_first_rows(c, node, out, &done)) return false;
    const json_t *child = leat_json_at(node, "children", 0);
    if (!done) note_above(c, node, child);
    if (!done && !leat_compile_node(c, child, out)) return false;
    for (size_t i = 0; !done && i < leat_json_count(node, "expressions"); i++)
        if (!leat_rel_filter(c, out, leat_json_at(node, "expressions", i))) return false;
    leat_rel_keep(c, json_object_get(node, "projection_map"), out);
    return true;
}

static bool compile_projection(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct leat_rel child;
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &child)) return false;
    return leat_rel_project(c, &child, json_object_get(node, "expressions"), out);
}

static bool compile_order(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), out)) return false;
    leat_rel_keep(c, json_object_get(node, "projections"), out);
    return true;
}

/* One row becomes as many as its list has entries: still row by row. */
static bool compile_unnest(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct leat_rel child;
    size_t count = leat_json_count(node, "expressions");
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &child)) return false;
    leat_rel_start(c, &child, child.count + count, out);
    for (size_t i = 0; i < child.count; i++) {
        struct leat_rel_column column = child.columns[i];
        if (column.type.kind == LEAT_NESTED) {
            column = leat_rel_text(c, (struct leat_type){.kind = LEAT_BOOLEAN}, false, "CAST(NULL AS BOOLEAN)");
            column.unusable = true;
        }
        out->columns[out->count++] = column;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *unnest = leat_json_at(node, "expressions", i);
        struct leat_rel_column list, entry;
        struct leat_type type = leat_bound_type(leat_bound_expression_type(unnest));
        if (!leat_json_is(unnest, "expression_class", "BOUND_UNNEST"))
            return leat_compile_refuse(c, "an unnest inside an expression");
        if (!leat_rel_expression(c, &child, json_object_get(unnest, "child"), &list)) return false;
        struct leat_rel one = {.columns = &list, .count = 1};
        entry = leat_rel_text(c, type, list.can_fail, "unnest(%s)", leat_rel_column_text(c, &one, 0));
        entry.name = *leat_json_text(unnest, "alias") ? leat_json_text(unnest, "alias") : "unnest";
        out->columns[out->count++] = entry;
    }
    out->one_row = false;
    return leat_rel_flush(c, out);
}

bool leat_compile_union(struct leat_compile *c, struct leat_rel *left, struct leat_rel *right) {
    if (left->count != right->count) return leat_compile_refuse(c, "UNION ALL of different numbers of columns");
    if (!leat_rel_flush(c, left) || !leat_rel_flush(c, right)) return false;
    int index = leat_emit(c, LEAT_OP_UNION, left->op, right->op);
    struct leat_op *op = &c->plan->ops[index];
    op->append_only = c->plan->ops[left->op].append_only && c->plan->ops[right->op].append_only;
    op->incremental_class = 1;
    for (size_t i = 0; i < left->count; i++) {
        const struct leat_rel_column *a = &left->columns[i], *b = &right->columns[i];
        if (!leat_type_equal(a->type, b->type))
            return leat_compile_refuse(c, "UNION ALL of different types; cast them");
        leat_emit_column(op, a->name, a->type, a->not_null && b->not_null);
        if (a->has_time && b->has_time)
            leat_emit_time(op, i, a->span_us > b->span_us ? a->span_us : b->span_us, a->time_object);
        if (a->has_local && b->has_local) {
            const struct leat_local x = leat_local_of(a), y = leat_local_of(b), both = leat_local_both(&x, &y);
            leat_emit_local(op, i, &both);
        }
    }
    op->why = leat_strdup("both inputs, row by row");
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, left);
    return true;
}

static bool compile_union(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), out)) return false;
    for (size_t i = 1; i < leat_json_count(node, "children"); i++) {
        struct leat_rel next;
        if (!leat_compile_node(c, leat_json_at(node, "children", i), &next)) return false;
        if (!leat_compile_union(c, out, &next)) return false;
    }
    return true;
}

/* ---- constant rows: a count of no rows is one row for ever */

#define MAX_VALUES 1000

static bool compile_any_input(struct leat_compile *c, struct leat_rel *out) {
    const uint16_t first = 0;
    for (size_t i = 0; i < c->plan->input_count; i++)
        if (c->plan->inputs[i].kind == LEAT_OBJECT_SOURCE) return compile_source(c, c->plan->inputs[i].index, &first, 1, out);
    return leat_compile_refuse(
        c,
        "rows written in the query itself (VALUES, or SELECT without FROM) without a source beside them; put constant "
        "rows into a file and declare it as a source");
}

static bool compile_unit(struct leat_compile *c, struct leat_rel *out) {
    struct leat_rel input, none;
    if (!compile_any_input(c, &input)) return false;
    leat_rel_start(c, &input, 0, &none);
    leat_rel_filter_text(c, &none, "false", false);
    if (!leat_rel_flush(c, &none)) return false;
    int index = leat_emit(c, LEAT_OP_AGGREGATE, none.op, -1);
    struct leat_op *op = &c->plan->ops[index];
    struct leat_type bigint = {.kind = LEAT_BIGINT};
    op->global = true;
    op->keys = leat_alloc(sizeof *op->keys);
    op->aggs = leat_alloc(sizeof *op->aggs);
    op->agg_count = 1;
    op->aggs[0] =
        (struct leat_agg){.kind = LEAT_AGG_COUNT_STAR, .argument = -1, .by = -1, .filter = -1, .result = bigint};
    op->incremental_class = 3;
    op->why = leat_strdup("the one row behind constant rows");
    op->state_bound = leat_strdup("one row");
    leat_emit_column(op, "zero", bigint, true);
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, out);
    out->count = 0;
    out->one_row = true;
    return true;
}

static bool compile_values(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    size_t rows = leat_json_count(node, "expressions");
    struct leat_rel unit;
    if (!leat_json_is(leat_json_at(node, "children", 0), "type", "LOGICAL_DUMMY_SCAN") || rows == 0 ||
        rows > MAX_VALUES)
        return leat_compile_refuse(c,
                                   "VALUES that refer to other tables, or more than %d of them; put them into a file "
                                   "and declare it as a source",
                                   MAX_VALUES);
    if (!compile_unit(c, &unit) || !leat_rel_project(c, &unit, leat_json_at(node, "expressions", 0), out)) return false;
    for (size_t i = 1; i < rows; i++) {
        struct leat_rel next;
        if (!leat_rel_project(c, &unit, leat_json_at(node, "expressions", i), &next) || !leat_compile_union(c, out, &next))
            return false;
    }
    return true;
}

static bool compile_empty(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    const json_t *types = json_object_get(node, "return_types");
    struct leat_rel unit;
    if (!json_is_array(types)) return leat_compile_refuse(c, "a condition that is never true");
    if (!compile_unit(c, &unit)) return false;
    leat_rel_start(c, &unit, json_array_size(types), out);
    for (size_t i = 0; i < json_array_size(types); i++) {
        struct leat_type type = leat_bound_type(json_array_get(types, i));
        char spelling[32];
        if (type.kind == LEAT_NESTED) return leat_compile_refuse_nested(c, "expression");
        leat_type_print(type, spelling);
        out->columns[out->count++] = leat_rel_text(c, type, false, "CAST(NULL AS %s)", spelling);
    }
    leat_rel_filter_text(c, out, "false", false);
    return true;
}

static bool compile_cte(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct leat_rel rel;
    if (c->cte_count == sizeof c->ctes / sizeof *c->ctes)
        return leat_compile_refuse(c, "more than 64 common table expressions");
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &rel) || !leat_rel_flush(c, &rel)) return false;
    c->ctes[c->cte_count++] = (struct leat_cte){.index = leat_json_int(node, "table_index"), .rel = rel};
    return leat_compile_node(c, leat_json_at(node, "children", 1), out);
}

static bool compile_by_type(struct leat_compile *c, const json_t *node, const char *type, struct leat_rel *out) {
    if (strcmp(type, "GET") == 0) return compile_get(c, node, out);
    if (strcmp(type, "PROJECTION") == 0) return compile_projection(c, node, out);
    if (strcmp(type, "FILTER") == 0) return compile_filter(c, node, out);
    if (strcmp(type, "AGGREGATE_AND_GROUP_BY") == 0) return leat_compile_aggregate(c, node, out);
    if (strcmp(type, "DISTINCT") == 0) return leat_compile_distinct(c, node, out);
    if (strcmp(type, "WINDOW") == 0) return leat_compile_window(c, node, out);
    if (strcmp(type, "COMPARISON_JOIN") == 0 || strcmp(type, "DELIM_JOIN") == 0) return leat_compile_join(c, node, out);
    if (strcmp(type, "CROSS_PRODUCT") == 0) return leat_compile_cross(c, node, out);
    if (strcmp(type, "UNION") == 0) return compile_union(c, node, out);
    if (strcmp(type, "EXCEPT") == 0 || strcmp(type, "INTERSECT") == 0) return leat_compile_set_difference(c, node, out);
    if (strcmp(type, "ORDER_BY") == 0) return compile_order(c, node, out);
    if (strcmp(type, "MATERIALIZED_CTE") == 0) return compile_cte(c, node, out);
    if (strcmp(type, "CTE_REF") == 0) return compile_cte_ref(c, node, out);
    if (strcmp(type, "DELIM_GET") == 0) return compile_delim_get(c, out);
    if (strcmp(type, "LIMIT") == 0) return leat_compile_limit(c, node, out);
    if (strcmp(type, "UNNEST") == 0) return compile_unnest(c, node, out);
    if (strcmp(type, "ANY_JOIN") == 0)
        return leat_compile_refuse(
            c, "a join whose condition is no conjunction of comparisons (OR, or a function of both sides): every "
               "row would have to be compared with every other; use UNION of two joins, or SCHEDULE");
    if (strcmp(type, "EXPRESSION_GET") == 0) return compile_values(c, node, out);
    if (strcmp(type, "DUMMY_SCAN") == 0) return compile_unit(c, out);
    if (strcmp(type, "EMPTY_RESULT") == 0) return compile_empty(c, node, out);
    if (strcmp(type, "RECURSIVE_CTE") == 0)
        return leat_compile_refuse(c, "a recursive query: a change could change every later round; use SCHEDULE");
    return leat_compile_refuse(c, "operator %s of DuckDB's plan", type);
}

bool leat_compile_node(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    const char *type = leat_json_text(node, "type");
    if (strncmp(type, "LOGICAL_", 8) == 0) type += 8;
    if (++c->depth > MAX_DEPTH) return leat_compile_refuse(c, "a query nested this deeply");
    bool ok = compile_by_type(c, node, type, out);
    c->depth--;
    return ok;
}

/* ---- the table */

static void reset_plan(struct leat_compile *c) {
    struct leat_plan *old = c->plan;
    c->plan = leat_alloc(sizeof *c->plan);
    c->plan->constrain = c->plan->quarantine = -1;
    if (old) {
        c->plan->schema = old->schema;
        c->plan->completed_sql = old->completed_sql;
        c->plan->inputs = old->inputs;
        c->plan->input_count = old->input_count;
        old->schema = (struct leat_schema){0};
        old->completed_sql = NULL;
        old->inputs = NULL;
        leat_plan_free(old);
    }
    leat_arena_reset(&c->arena);
    c->cte_count = c->delim_count = 0;
    c->depth = 0;
}

/* EMIT ON WINDOW CLOSE holds back the topmost AGGREGATE; above it only row-wise stages make sense. */
static enum leat_status close_windows(struct leat_compile *c, int root, struct leat_error *err) {
    struct leat_op *op = &c->plan->ops[root];
    if (op->time_count == 0)
        return leat_fail(err, LEAT_INVALID,
                         "EMIT ON WINDOW CLOSE needs a column in the result that says when a window closes: "
                         "group by window_start of TUMBLE or HOP, or window_end of SESSION, over a source with WATERMARK, and select it");
    while (op->kind == LEAT_OP_MAP)
        op = &c->plan->ops[op->children[0]];
    if (op->kind != LEAT_OP_AGGREGATE || op->time_count == 0)
        return leat_fail(
            err, LEAT_INVALID,
            "EMIT ON WINDOW CLOSE needs a GROUP BY of window_start as the last step of the query, with only row-wise "
            "expressions and HAVING after it%s",
            op->kind == LEAT_OP_RECOMPUTE
                ? "; over rows that can be taken back, such as SESSION's, of count, sum, avg and count(DISTINCT) alone"
                : "");
    op->close_key = op->times[0].column;
    op->append_only = true;
    free(op->why);
    op->why = leat_strdup("mergeable aggregates per window, published when the cut closes it");
    for (int i = (int)(op - c->plan->ops) + 1; i <= root; i++)
        if (c->plan->ops[i].kind == LEAT_OP_MAP)
            c->plan->ops[i].append_only = c->plan->ops[c->plan->ops[i].children[0]].append_only;
    return LEAT_OK;
}

static bool compile_root(struct leat_compile *c, const json_t *document, int *root) {
    struct leat_rel rel;
    const json_t *plan = leat_json_at(document, "plans", 0);
    if (leat_json_count(document, "plans") != 1) return leat_compile_refuse(c, "a query that is not one statement");
    if (!leat_compile_node(c, plan, &rel) || !leat_rel_flush(c, &rel)) return false;
    size_t expected = c->plan->schema.field_count + c->table->constraint_count;
    if (rel.count != expected)
        return leat_compile_refuse(c, "DuckDB's plan gives %zu columns instead of %zu", rel.count, expected);
    *root = rel.op;
    return true;
}

static void root_names(struct leat_compile *c, int root) {
    struct leat_op *op = &c->plan->ops[root];
    for (size_t i = 0; i < op->schema.field_count; i++) {
        free(op->schema.fields[i].name);
        op->schema.fields[i].name = leat_strdup(c->plan->schema.fields[i].name);
        c->plan->schema.fields[i].not_null = op->schema.fields[i].not_null;
    }
}

static int cut_with(const struct leat_compile *c, int source) {
    while (c->cut_with[source] != source) source = c->cut_with[source];
    return source;
}

void leat_cut_together(struct leat_compile *c, int a, int b) {
    c->cut_with[cut_with(c, a)] = cut_with(c, b);
}

/* A window over the rows of a join that are only so far apart closes by the cuts of both its sources. */
static void tumble_together(struct leat_compile *c) {
    int count = (int)c->project->source_count;
    bool *any = leat_alloc(((size_t)count + 1) * sizeof *any);
    for (int i = 0; i < count; i++) any[cut_with(c, i)] |= c->tumbled[i];
    for (int i = 0; i < count; i++) c->tumbled[i] = any[cut_with(c, i)];
    free(any);
}

/* First with every watermark as a cut, to see which event times go through TUMBLE; again when some cuts do not apply.
 */
static bool compile_ops(struct leat_compile *c, const json_t *document, int *root) {
    size_t count = c->project->source_count;
    bool all = c->table->lateness_given || c->table->emit_on_window_close, again = false;
    for (size_t i = 0; i < count; i++) {
        c->cut_sources[i] = c->project->sources[i].event_time >= 0;
        c->tumbled[i] = false;
        c->cut_with[i] = (int)i;
    }
    if (!compile_root(c, document, root)) return false;
    tumble_together(c);
    for (size_t i = 0; !all && i < count; i++) {
        again = again || (c->cut_sources[i] && !c->tumbled[i]);
        c->cut_sources[i] = c->cut_sources[i] && c->tumbled[i];
    }
    if (!again) return true;
    reset_plan(c);
    return compile_root(c, document, root);
}

static void summarise(struct leat_plan *plan) {
    for (size_t i = 0; i < plan->op_count; i++) {
        if (plan->ops[i].incremental_class > plan->incremental_class)
            plan->incremental_class = plan->ops[i].incremental_class;
        if (plan->ops[i].cut_applies) plan->has_cut = true;
    }
}

/* Whatever can be kept below what cannot. */
static void compile_parts(struct leat_compile *c, const json_t *node) {
    struct leat_rel rel;
    c->depth = 0;
    c->delim_count = 0;
    if (leat_compile_node(c, node, &rel) && leat_rel_flush(c, &rel)) return;
    leat_emit_give_up(c);
    for (size_t i = 0; i < leat_json_count(node, "children"); i++) compile_parts(c, leat_json_at(node, "children", i));
}

static struct leat_plan *take_parts(struct leat_compile *c, const json_t *document) {
    struct leat_plan *parts = leat_alloc(sizeof *parts);
    c->parts = true;
    compile_parts(c, leat_json_at(document, "plans", 0));
    *parts = (struct leat_plan){.ops = c->plan->ops, .op_count = c->plan->op_count, .constrain = -1, .quarantine = -1};
    c->plan->ops = NULL;
    c->plan->op_count = 0;
    return parts;
}

static enum leat_status give_up(struct leat_compile *c, const json_t *document, const char *reason, struct leat_error *err) {
    if (c->table->mode == LEAT_MODE_INCREMENTAL)
        return leat_fail(err, LEAT_UNSUPPORTED, "REFRESH_MODE = INCREMENTAL is impossible here: %s", reason);
    if (c->table->emit_on_window_close)
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "EMIT ON WINDOW CLOSE needs an incremental plan, which is impossible here: %s", reason);
    char *kept = leat_strdup(reason);
    reset_plan(c);
    c->plan->parts = take_parts(c, document);
    c->plan->incremental_class = 7;
    c->plan->full_reason = kept;
    return LEAT_OK;
}

static enum leat_status compile_plan(struct leat_compile *c, const char *planning, int *error_offset,
                                     struct leat_error *err) {
    char *json = NULL;
    json_t *document = NULL;
    int root = -1;
    bool full = c->table->mode == LEAT_MODE_FULL;
    struct leat_error ignored;
    enum leat_status status = leat_conn_bound_plan(c->conn, planning, &json, full ? &ignored : err);
    if (full) { /* a plan that cannot be had gives no parts; what is wrong with the query is said where it is described */
        if (!status) status = leat_json_load(json, &document, &ignored);
        status = give_up(c, document, "REFRESH_MODE = FULL was asked for", err);
        goto out;
    }
    if (status) {
        *error_offset = leat_conn_error_offset(c->conn);
        goto out;
    }
    if ((status = leat_json_load(json, &document, err))) goto out;
    if (!compile_ops(c, document, &root)) {
        char reason[sizeof c->why];
        memcpy(reason, c->why, sizeof reason);
        status = give_up(c, document, reason, err);
        goto out;
    }
    if (c->table->emit_on_window_close && (status = close_windows(c, root, err))) goto out;
    if (!leat_constraints_emit(c, &root)) {
        status = give_up(c, document, c->why, err);
        goto out;
    }
    leat_emit_prune(c->plan, root);
    leat_plan_places(c->plan, c->project);
    leat_emit_sign(c);
    if (leat_plan_guard(c->plan)) leat_emit_sign(c);
    root_names(c, (int)c->plan->op_count - 1);
    if ((status = leat_plan_check(c->conn, c->plan, err))) {
        char reason[LEAT_ERROR_TEXT_SIZE];
        memcpy(reason, err->text, sizeof reason);
        status = give_up(c, document, reason, err);
        goto out;
    }
    summarise(c->plan);
out:
    json_decref(document);
    free(json);
    return status;
}

static void add_input(const struct leat_project *project, struct leat_plan *plan, struct leat_object_ref ref) {
    if (ref.kind == LEAT_OBJECT_VIEW) {
        for (size_t i = 0; i < project->views[ref.index].input_count; i++)
            add_input(project, plan, project->views[ref.index].inputs[i]);
        return;
    }
    for (size_t i = 0; i < plan->input_count; i++)
        if (plan->inputs[i].kind == ref.kind && plan->inputs[i].index == ref.index) return;
    plan->inputs = leat_realloc(plan->inputs, (plan->input_count + 1) * sizeof *plan->inputs);
    plan->inputs[plan->input_count++] = ref;
}

static enum leat_status check_names(const struct leat_table *table, const struct leat_schema *schema,
                                    struct leat_error *err) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *field = &schema->fields[i];
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(schema->fields[k].name, field->name) == 0)
                return leat_fail(err, LEAT_INVALID,
                                 "two columns of the result are called \"%s\": give one of them another name with AS",
                                 field->name);
        if (field->type.kind == LEAT_NESTED)
            return leat_fail(err, LEAT_UNSUPPORTED,
                             "column \"%s\" is a list, struct, enum or bit string; a table holds plain values: use "
                             "to_json(...)::VARCHAR, array_to_string(...) or a cast to VARCHAR",
                             field->name);
        if (strncmp(field->name, "__", 2) == 0)
            return leat_fail(err, LEAT_INVALID,
                             "column \"%s\": names that begin with two underscores are leat's own; use AS",
                             field->name);
    }
    for (size_t i = 0; i < table->primary_key_count; i++)
        if (leat_schema_find(schema, table->primary_key[i]) < 0)
            return leat_fail(err, LEAT_INVALID, "PRIMARY KEY names \"%s\", which the query does not give",
                             table->primary_key[i]);
    if (leat_table_quarantines(table) && leat_schema_find(schema, "_constraint") >= 0)
        return leat_fail(err, LEAT_INVALID, "column \"_constraint\": %s__quarantine has a column of its own of this name; use AS", table->name);
    return LEAT_OK;
}

/* Names and types, after the query's functions were found harmless: binding read_csv() would open its file. */
static enum leat_status describe_query(struct leat_conn *conn, const struct leat_table *table, struct leat_schema *out,
                                       int *error_offset, struct leat_error *err) {
    char *plan = NULL;
    enum leat_status status = leat_complete_check(conn, table->sql, error_offset, err);
    if (status) return status;
    if ((status = leat_conn_describe(conn, table->sql, out, err)) == LEAT_OK) return LEAT_OK;
    struct leat_error ignored = {0}; /* the same failure once more, for its place */
    if (leat_conn_bound_plan(conn, table->sql, &plan, &ignored)) *error_offset = leat_conn_error_offset(conn);
    free(plan);
    return status;
}

enum leat_status leat_plan_compile(struct leat_conn *plan_conn, const struct leat_project *project,
                                   const struct leat_table *table, struct leat_plan **out, int *error_offset,
                                   struct leat_error *err) {
    struct leat_compile c = {.project = project, .table = table, .conn = plan_conn};
    char *sql = leat_strdup(table->sql), *planning = NULL;
    *out = NULL;
    *error_offset = -1;
    c.cut_sources = leat_alloc((project->source_count + 1) * sizeof *c.cut_sources);
    c.tumbled = leat_alloc((project->source_count + 1) * sizeof *c.tumbled);
    c.cut_with = leat_alloc((project->source_count + 1) * sizeof *c.cut_with);
    reset_plan(&c);
    enum leat_status status = describe_query(plan_conn, table, &c.plan->schema, error_offset, err);
    if (!status) status = check_names(table, &c.plan->schema, err);
    if (!status) status = leat_constraints_add(plan_conn, table, &sql, err);
    if (!status) status = leat_complete(plan_conn, sql, &planning, &c.plan->completed_sql, error_offset, err);
    if (!status) {
        for (size_t i = 0; i < table->input_count; i++)
            add_input(project, c.plan, table->inputs[i]);
        status = compile_plan(&c, planning, error_offset, err);
    }
    if (table->constraint_count && *error_offset >= 0) *error_offset = -1; /* a place in the wrapped text */
    if (!status) {
        leat_constraints_complete(table, c.plan);
        *out = c.plan;
        c.plan = NULL;
    }
    leat_plan_free(c.plan);
    leat_arena_deinit(&c.arena);
    free(c.cut_sources);
    free(c.tumbled);
    free(c.cut_with);
    free(planning);
    free(sql);
    return status;
}
