/* AGGREGATE and DISTINCT: mergeable aggregates in C (classes 3 and 4), the rest recomputed per group (class 6). */
#include <stdio.h>
#include <stdlib.h>

#include "plan/compile.h"
#include "plan/functions.h"

struct agg_name {
    const char *name;
    enum leat_agg_kind kind;
    size_t arguments;
    bool needs_append_only; /* a retraction could uncover a value that was not kept */
};
/* first and any_value without an order mean the smallest value (rule 8). */
static const struct agg_name agg_names[] = {
    {"count_star", LEAT_AGG_COUNT_STAR, 0, false},
    {"count", LEAT_AGG_COUNT_STAR, 0, false},
    {"count", LEAT_AGG_COUNT, 1, false},
    {"sum", LEAT_AGG_SUM, 1, false},
    {"leat_sum", LEAT_AGG_SUM, 1, false},
    {"avg", LEAT_AGG_AVG, 1, false},
    {"mean", LEAT_AGG_AVG, 1, false},
    {"leat_avg", LEAT_AGG_AVG, 1, false},
    {"min", LEAT_AGG_MIN, 1, true},
    {"max", LEAT_AGG_MAX, 1, true},
    {"any_value", LEAT_AGG_MIN, 1, true},
    {"arbitrary", LEAT_AGG_MIN, 1, true},
    {"first", LEAT_AGG_MIN, 1, true},
    {"arg_min", LEAT_AGG_ARG_MIN, 2, true},
    {"argmin", LEAT_AGG_ARG_MIN, 2, true},
    {"min_by", LEAT_AGG_ARG_MIN, 2, true},
    {"arg_max", LEAT_AGG_ARG_MAX, 2, true},
    {"argmax", LEAT_AGG_ARG_MAX, 2, true},
    {"max_by", LEAT_AGG_ARG_MAX, 2, true},
    {"bool_and", LEAT_AGG_BOOL_AND, 1, false},
    {"bool_or", LEAT_AGG_BOOL_OR, 1, false},
    {"count_if", LEAT_AGG_SUM, 1, false}, /* NULL over NULLs alone */
    {"countif", LEAT_AGG_SUM, 1, false},
};

/* One AGGREGATE under work: `input` collects the columns that groups, arguments and filters need. */
struct aggregation {
    const json_t *node;
    struct leat_rel child, input;
    size_t group_count, agg_count;
    size_t *groups;        /* columns of input */
    struct leat_agg *aggs; /* argument, by, filter: columns of input until settled */
};

static const struct agg_name *find_agg(const json_t *agg) {
    const char *name = leat_json_text(agg, "name");
    size_t arguments = leat_json_count(agg, "children");
    bool ordered = leat_json_count(json_object_get(agg, "order_bys"), "orders") > 0;
    if (ordered && leat_function_traits(name) & LEAT_FUNCTION_ORDERED) return NULL;
    for (size_t i = 0; i < sizeof agg_names / sizeof *agg_names; i++)
        if (agg_names[i].arguments == arguments && strcmp(agg_names[i].name, name) == 0) return &agg_names[i];
    return NULL;
}

static bool is_number(struct leat_type type) {
    return type.kind >= LEAT_TINYINT && type.kind <= LEAT_DECIMAL && type.kind != LEAT_UHUGEINT;
}

/* Can the C operator do this aggregate over this input? */
static const struct agg_name *mergeable(const json_t *agg, bool append_only) {
    const struct agg_name *found = find_agg(agg);
    bool distinct = leat_json_is(agg, "aggregate_type", "DISTINCT");
    struct leat_type type = leat_bound_type(leat_bound_expression_type(leat_json_at(agg, "children", 0)));
    if (!found || (found->needs_append_only && !append_only)) return NULL;
    if ((found->kind == LEAT_AGG_SUM || found->kind == LEAT_AGG_AVG) &&
        (distinct || !(is_number(type) || (type.kind == LEAT_BOOLEAN && found->kind == LEAT_AGG_SUM))))
        return NULL;
    for (size_t i = 0; i < found->arguments; i++)
        if (leat_bound_type(leat_bound_expression_type(leat_json_at(agg, "children", i))).kind == LEAT_NESTED)
            return NULL;
    return found;
}

static bool plain_grouping(const json_t *node) {
    size_t sets = leat_json_count(node, "grouping_sets"), groups = leat_json_count(node, "groups");
    if (leat_json_count(node, "grouping_functions") || sets > 1) return false;
    return sets == 0 || json_array_size(leat_json_at(node, "grouping_sets", 0)) == groups;
}

static bool add_input(struct leat_compile *c, struct aggregation *a, const json_t *e, size_t *at) {
    struct leat_rel_column column;
    if (!leat_rel_expression(c, &a->child, e, &column)) return false;
    *at = leat_rel_add(c, &a->input, &column);
    return true;
}

static bool collect_groups(struct leat_compile *c, struct aggregation *a) {
    a->groups = leat_arena_alloc(&c->arena, (a->group_count + 1) * sizeof *a->groups);
    for (size_t i = 0; i < a->group_count; i++)
        if (!add_input(c, a, leat_json_at(a->node, "groups", i), &a->groups[i])) return false;
    return true;
}

static bool collect_filter(struct leat_compile *c, struct aggregation *a, const json_t *agg, struct leat_agg *out) {
    const json_t *filter = json_object_get(agg, "filter");
    size_t at;
    out->filter = -1;
    if (!json_is_object(filter)) return true;
    if (!add_input(c, a, filter, &at)) return false;
    out->filter = (int)at;
    return true;
}

/* sum(BOOLEAN) adds numbers. */
static bool add_argument(struct leat_compile *c, struct aggregation *a, const json_t *e, bool as_number, size_t *at) {
    struct leat_rel_column column;
    if (!leat_rel_expression(c, &a->child, e, &column)) return false;
    if (as_number && column.type.kind == LEAT_BOOLEAN) {
        struct leat_rel one = {.columns = &column, .count = 1};
        struct leat_type integer = {.kind = LEAT_INTEGER};
        column = leat_rel_text(c, integer, column.can_fail, "CAST(%s AS INTEGER)", leat_rel_column_text(c, &one, 0));
    }
    *at = leat_rel_add(c, &a->input, &column);
    return true;
}

static bool collect_aggregate(struct leat_compile *c, struct aggregation *a, const json_t *agg, bool append_only,
                              struct leat_agg *out) {
    const struct agg_name *found = mergeable(agg, append_only);
    size_t at;
    *out = (struct leat_agg){
        .kind = found->kind, .argument = -1, .by = -1, .result = leat_bound_type(leat_bound_expression_type(agg))};
    if (found->kind == LEAT_AGG_COUNT && leat_json_is(agg, "aggregate_type", "DISTINCT"))
        out->kind = LEAT_AGG_COUNT_DISTINCT;
    for (size_t i = 0; i < found->arguments; i++) {
        if (!add_argument(c, a, leat_json_at(agg, "children", i), found->kind == LEAT_AGG_SUM, &at)) return false;
        if (i == 0)
            out->argument = (int)at;
        else
            out->by = (int)at;
    }
    return collect_filter(c, a, agg, out);
}

static void describe_state(const struct aggregation *a, struct leat_op *op) {
    const struct leat_rel_column *lost = NULL;
    for (size_t i = 0; i < a->group_count; i++)
        if (a->input.columns[a->groups[i]].time_lost) lost = &a->input.columns[a->groups[i]];
    if (op->evict)
        op->state_bound =
            leat_asprintf("groups leave when the cut passes \"%s\"", op->schema.fields[op->times[0].column].name);
    else if (op->global)
        op->state_bound = leat_strdup("one row");
    else if (lost)
        op->state_bound = leat_asprintf("unbounded: \"%s\" is an event time, but %s", lost->name, lost->time_lost);
    else
        op->state_bound =
            leat_strdup("unbounded: every group is kept, because no group column is an event time that the cut can "
                        "pass (group by window_start of TUMBLE over a source with a watermark to bound it)");
}

static bool emit_aggregate(struct leat_compile *c, struct aggregation *a, struct leat_rel *out) {
    uint16_t *at;
    if (!leat_rel_settle(c, &a->input, &at)) return false;
    int index = leat_emit(c, LEAT_OP_AGGREGATE, a->input.op, -1);
    struct leat_op *op = &c->plan->ops[index];
    op->key_count = a->group_count;
    op->keys = leat_alloc((a->group_count + 1) * sizeof *op->keys);
    op->global = a->group_count == 0;
    for (size_t i = 0; i < a->group_count; i++) {
        const struct leat_rel_column *column = &a->input.columns[a->groups[i]];
        op->keys[i] = at[a->groups[i]];
        leat_emit_column(op, column->name, column->type, column->not_null);
        leat_emit_times(op, i, column);
    }
    op->agg_count = a->agg_count;
    op->aggs = leat_alloc((a->agg_count + 1) * sizeof *op->aggs);
    for (size_t i = 0; i < a->agg_count; i++) {
        const json_t *agg = leat_json_at(a->node, "expressions", i);
        struct leat_agg *g = &op->aggs[i];
        const char *alias = agg ? leat_json_text(agg, "alias") : "";
        *g = a->aggs[i];
        if (g->argument >= 0) g->argument = at[g->argument];
        if (g->by >= 0) g->by = at[g->by];
        if (g->filter >= 0) g->filter = at[g->filter];
        leat_emit_column(op, *alias ? alias : leat_json_text(agg, "name"), g->result,
                         g->kind <= LEAT_AGG_COUNT_DISTINCT);
    }
    op->evict = op->time_count > 0;
    op->append_only = a->agg_count == 0 && !op->global && c->plan->ops[a->input.op].append_only;
    op->incremental_class = op->time_count ? 4 : 3;
    op->why = leat_strdup(a->agg_count == 0 ? "distinct rows are counted"
                          : op->evict       ? "mergeable aggregates per window"
                                            : "mergeable aggregates");
    describe_state(a, op);
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, out);
    out->one_row = a->group_count == 0;
    return true;
}

/* ---- GROUPING SETS, ROLLUP, CUBE: one aggregate a set, side by side */

static bool has_group(const json_t *set, size_t group, size_t *at) {
    for (*at = 0; *at < json_array_size(set); ++*at)
        if ((size_t)json_integer_value(json_array_get(set, *at)) == group) return true;
    return false;
}

/* GROUPING(a, b): a bit for each, the first the highest: 1 where the set does not group by it. */
static struct leat_rel_column grouping_value(struct leat_compile *c, const json_t *function, const json_t *set) {
    long long value = 0;
    size_t at;
    for (size_t i = 0; i < json_array_size(function); i++)
        value = value << 1 | !has_group(set, (size_t)json_integer_value(json_array_get(function, i)), &at);
    struct leat_rel_column column =
        leat_rel_text(c, (struct leat_type){.kind = LEAT_BIGINT}, false, "CAST(%lld AS BIGINT)", value);
    column.not_null = true;
    column.name = "grouping";
    return column;
}

/* The result of one set with all groups as columns: those that it has not are NULL. */
static void widen_set(struct leat_compile *c, const struct aggregation *a, const json_t *set, const struct leat_rel *of_set,
                      struct leat_rel *out) {
    size_t functions = leat_json_count(a->node, "grouping_functions"), at;
    leat_rel_start(c, of_set, a->group_count + a->agg_count + functions, out);
    for (size_t g = 0; g < a->group_count; g++) {
        const struct leat_rel_column *group = &a->input.columns[a->groups[g]];
        char type[32];
        struct leat_rel_column *column = &out->columns[out->count++];
        if (has_group(set, g, &at)) {
            *column = of_set->columns[at];
            continue;
        }
        leat_type_print(group->type, type);
        *column = leat_rel_text(c, group->type, false, "CAST(NULL AS %s)", type);
        column->name = group->name;
    }
    for (size_t i = 0; i < a->agg_count; i++)
        out->columns[out->count++] = of_set->columns[json_array_size(set) + i];
    for (size_t i = 0; i < functions; i++)
        out->columns[out->count++] = grouping_value(c, leat_json_at(a->node, "grouping_functions", i), set);
}

static bool emit_sets(struct leat_compile *c, struct aggregation *a, struct leat_rel *out) {
    for (size_t s = 0; s < leat_json_count(a->node, "grouping_sets"); s++) {
        const json_t *set = leat_json_at(a->node, "grouping_sets", s);
        struct aggregation one = *a;
        struct leat_rel of_set, wide;
        one.group_count = json_array_size(set);
        one.groups = leat_arena_alloc(&c->arena, (one.group_count + 1) * sizeof *one.groups);
        for (size_t k = 0; k < one.group_count; k++)
            one.groups[k] = a->groups[json_integer_value(json_array_get(set, k))];
        if (!emit_aggregate(c, &one, &of_set)) return false;
        a->input = one.input;
        widen_set(c, a, set, &of_set, &wide);
        if (s == 0)
            *out = wide;
        else if (!leat_compile_union(c, out, &wide))
            return false;
    }
    return true;
}

/* ---- class 6 */

/* One aggregate call being written over the columns of the input. */
struct call {
    struct leat_compile *c;
    struct leat_expression_writer writer;
    struct leat_buffer *sql;
    bool can_fail;
};

static bool write(struct call *w, const json_t *e) {
    return leat_expression_write(&w->writer, e, w->sql, &w->can_fail) || leat_compile_refuse(w->c, "%s", w->writer.why);
}

static bool write_filter(struct call *w, const json_t *agg, bool more) {
    const json_t *filter = json_object_get(agg, "filter");
    if (!json_is_object(filter)) return true;
    leat_put(w->sql, more ? " AND " : " FILTER (WHERE ");
    if (!write(w, filter)) return false;
    if (!more) leat_put(w->sql, ")");
    return true;
}

/* arg_max(x, y) with its ties completed: the smallest x among the rows of the largest y. */
static bool write_arg(struct call *w, const json_t *agg, bool largest) {
    const json_t *value = leat_json_at(agg, "children", 0), *by = leat_json_at(agg, "children", 1);
    leat_put(w->sql, "first(");
    if (!write(w, value)) return false;
    leat_put(w->sql, " ORDER BY ");
    if (!write(w, by)) return false;
    leat_put(w->sql, largest ? " DESC NULLS LAST, " : " ASC NULLS LAST, ");
    if (!write(w, value)) return false;
    leat_put(w->sql, " ASC NULLS LAST) FILTER (WHERE ");
    if (!write(w, value)) return false;
    leat_put(w->sql, " IS NOT NULL AND ");
    if (!write(w, by)) return false;
    leat_put(w->sql, " IS NOT NULL");
    if (!write_filter(w, agg, true)) return false;
    leat_put(w->sql, ")");
    return true;
}

/* What the binder moved out of the arguments: the separator of string_agg, the fractions of quantiles. */
static bool write_moved(struct call *w, const json_t *agg, const char *name) {
    const json_t *data = json_object_get(agg, "function_data"), *quantiles = json_object_get(data, "quantiles");
    bool ok = true;
    if (json_object_get(data, "separator")) {
        leat_put(w->sql, ", ");
        leat_put_sql_string(w->sql, leat_json_text(data, "separator"));
    }
    if (!quantiles || strcmp(name, "median") == 0) return true;
    if (leat_json_true(data, "desc")) return leat_compile_refuse(w->c, "a descending quantile; use 1 - the fraction");
    leat_put(w->sql, json_array_size(quantiles) == 1 ? ", " : ", [");
    for (size_t i = 0; ok && i < json_array_size(quantiles); i++) {
        json_t *constant =
            json_pack("{s:s,s:O}", "expression_class", "BOUND_CONSTANT", "value", json_array_get(quantiles, i));
        if (i) leat_put(w->sql, ", ");
        ok = write(w, constant);
        json_decref(constant);
    }
    if (json_array_size(quantiles) > 1) leat_put(w->sql, "]");
    return ok;
}

/* Sums of floats by leat's exact ones: the order of rows does not matter. */
static const char *written_name(const json_t *agg) {
    const char *name = leat_json_text(agg, "name");
    struct leat_type type = leat_bound_type(leat_bound_expression_type(leat_json_at(agg, "children", 0)));
    bool floating = leat_json_count(agg, "children") == 1 && leat_type_is_float(type);
    if (strcmp(name, "count_star") == 0) return "count";
    if (type.kind == LEAT_HUGEINT && strcmp(name, "sum") == 0) return "leat_sum_huge";
    if (floating && strcmp(name, "sum") == 0) return "leat_sum";
    if (floating && (strcmp(name, "avg") == 0 || strcmp(name, "mean") == 0)) return "leat_avg";
    return name;
}

static bool write_aggregate(struct leat_compile *c, struct aggregation *a, const json_t *agg, struct leat_buffer *sql) {
    struct call w = {.c = c, .sql = sql};
    const char *name = written_name(agg);
    const struct agg_name *known = find_agg(agg);
    const json_t *orders = json_object_get(json_object_get(agg, "order_bys"), "orders");
    size_t arguments = leat_json_count(agg, "children");
    leat_rel_writer(c, &a->input, &w.writer);
    if (!leat_function_traits(name))
        return leat_compile_refuse(c, "aggregate %s cannot be computed step by step", name);
    if (known && (known->kind == LEAT_AGG_ARG_MIN || known->kind == LEAT_AGG_ARG_MAX))
        return write_arg(&w, agg, known->kind == LEAT_AGG_ARG_MAX);
    leat_putf(sql, "%s(%s", name, leat_json_is(agg, "aggregate_type", "DISTINCT") ? "DISTINCT " : "");
    for (size_t i = 0; i < arguments; i++) {
        if (i) leat_put(sql, ", ");
        if (!write(&w, leat_json_at(agg, "children", i))) return false;
    }
    if (arguments == 0) leat_put(sql, "*");
    if (!write_moved(&w, agg, name)) return false;
    if (json_array_size(orders)) leat_put(sql, " ORDER BY ");
    if (!leat_expression_write_orders(&w.writer, orders, sql, &w.can_fail))
        return leat_compile_refuse(c, "%s", w.writer.why);
    leat_put(sql, ")");
    return write_filter(&w, agg, false);
}

/* The groups that every grouping set has. */
static size_t common_groups(const json_t *node, size_t group_count, bool *common) {
    size_t count = 0, sets = leat_json_count(node, "grouping_sets");
    for (size_t g = 0; g < group_count; g++) {
        size_t in_sets = 0;
        for (size_t s = 0; s < sets; s++) {
            const json_t *set = leat_json_at(node, "grouping_sets", s);
            for (size_t k = 0; k < json_array_size(set); k++)
                if ((size_t)json_integer_value(json_array_get(set, k)) == g) {
                    in_sets++;
                    break;
                }
        }
        common[g] = in_sets == sets;
        count += common[g];
    }
    return count;
}

static void put_grouping(const struct aggregation *a, struct leat_buffer *sql) {
    leat_put(sql, " GROUP BY ");
    if (plain_grouping(a->node)) {
        for (size_t i = 0; i < a->group_count; i++)
            leat_putf(sql, "%sc%zu", i ? ", " : "", a->groups[i]);
        return;
    }
    leat_put(sql, "GROUPING SETS (");
    for (size_t s = 0; s < leat_json_count(a->node, "grouping_sets"); s++) {
        const json_t *set = leat_json_at(a->node, "grouping_sets", s);
        leat_put(sql, s ? ", (" : "(");
        for (size_t k = 0; k < json_array_size(set); k++)
            leat_putf(sql, "%sc%zu", k ? ", " : "", a->groups[json_integer_value(json_array_get(set, k))]);
        leat_put(sql, ")");
    }
    leat_put(sql, ")");
}

static void put_grouping_functions(const struct aggregation *a, struct leat_buffer *sql) {
    for (size_t i = 0; i < leat_json_count(a->node, "grouping_functions"); i++) {
        const json_t *function = leat_json_at(a->node, "grouping_functions", i);
        leat_put(sql, ", grouping(");
        for (size_t k = 0; k < json_array_size(function); k++)
            leat_putf(sql, "%sc%zu", k ? ", " : "", a->groups[json_integer_value(json_array_get(function, k))]);
        leat_put(sql, ")");
    }
}

/* The input keeps the child's columns at their places, for the references in arguments and filters, then the groups. */
static bool place_groups(struct leat_compile *c, struct aggregation *a) {
    leat_rel_start(c, &a->child, a->child.count, &a->input);
    memcpy(a->input.columns, a->child.columns, a->child.count * sizeof *a->input.columns);
    a->input.count = a->child.count;
    return collect_groups(c, a) && leat_rel_flush(c, &a->input);
}

static bool recompute(struct leat_compile *c, struct aggregation *a, struct leat_rel *out) {
    struct leat_buffer sql = {0};
    bool *common = leat_arena_alloc(&c->arena, (a->group_count + 1) * sizeof *common);
    bool plain = plain_grouping(a->node), ok = true;
    size_t key_count = plain ? a->group_count : common_groups(a->node, a->group_count, common);
    if (key_count == 0)
        return leat_compile_refuse(
            c, plain ? "aggregates that need all rows of one group (such as median, string_agg, or max after "
                       "retractions) without GROUP BY; add a GROUP BY column or use SCHEDULE"
                     : "such aggregates (median, string_agg, or max after retractions) in GROUPING SETS, ROLLUP or CUBE "
                       "without a column common to all sets; make one table per grouping, or use SCHEDULE");
    if (!place_groups(c, a)) return false;
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < a->group_count; i++)
        leat_putf(&sql, "%sc%zu", i ? ", " : "", a->groups[i]);
    for (size_t i = 0; ok && i < a->agg_count; i++) {
        leat_put(&sql, ", ");
        ok = write_aggregate(c, a, leat_json_at(a->node, "expressions", i), &sql);
    }
    put_grouping_functions(a, &sql);
    leat_put(&sql, " FROM leat_input('in')");
    put_grouping(a, &sql);
    if (!ok) {
        leat_buffer_deinit(&sql);
        return false;
    }
    int index = leat_emit(c, LEAT_OP_RECOMPUTE, a->input.op, -1);
    struct leat_op *op = &c->plan->ops[index];
    op->sql = sql.data;
    op->keys = leat_alloc((key_count + 1) * sizeof *op->keys);
    for (size_t i = 0; i < a->group_count; i++) {
        const struct leat_rel_column *column = &a->input.columns[a->groups[i]];
        bool key = plain || common[i];
        if (key) op->keys[op->key_count++] = (uint16_t)a->groups[i];
        leat_emit_column(op, column->name, column->type, key && column->not_null);
        if (key) leat_emit_times(op, i, column);
    }
    for (size_t i = 0; i < a->agg_count; i++) {
        const json_t *agg = leat_json_at(a->node, "expressions", i);
        const char *alias = leat_json_text(agg, "alias");
        leat_emit_column(op, *alias ? alias : leat_json_text(agg, "name"),
                         leat_bound_type(leat_bound_expression_type(agg)), false);
    }
    for (size_t i = 0; i < leat_json_count(a->node, "grouping_functions"); i++)
        leat_emit_column(op, "grouping", (struct leat_type){.kind = LEAT_BIGINT}, true);
    op->incremental_class = 6;
    op->why = leat_strdup("an aggregate that cannot be merged: changed groups are computed again");
    op->state_bound = leat_strdup("unbounded: all rows of every group are kept");
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, out);
    return true;
}

/* ---- shapes that DuckDB makes for subqueries */

/* first(x), count(*) over a relation of exactly one row: x and 1. */
static bool over_one_row(struct leat_compile *c, struct aggregation *a, struct leat_rel *out, bool *done) {
    *done = false;
    if (!a->child.one_row || a->group_count) return true;
    for (size_t i = 0; i < a->agg_count; i++) {
        const json_t *agg = leat_json_at(a->node, "expressions", i);
        bool known = leat_json_is(agg, "name", "first") || leat_json_is(agg, "name", "count_star");
        if (!known || json_is_object(json_object_get(agg, "filter"))) return true;
    }
    leat_rel_start(c, &a->child, a->agg_count, out);
    for (size_t i = 0; i < a->agg_count; i++) {
        const json_t *agg = leat_json_at(a->node, "expressions", i);
        struct leat_rel_column *column = &out->columns[out->count++];
        if (leat_json_is(agg, "name", "count_star")) {
            *column = leat_rel_text(c, (struct leat_type){.kind = LEAT_BIGINT}, false, LEAT_ONE_ROW_COUNT);
        } else if (!leat_rel_expression(c, &a->child, leat_json_at(agg, "children", 0), column)) {
            return false;
        }
    }
    *done = true;
    return true;
}

/* EXISTS without correlation: count(*) over LIMIT n. */
static const json_t *count_over_limit(const json_t *node, json_int_t *limit) {
    const json_t *child = leat_json_at(node, "children", 0), *agg = leat_json_at(node, "expressions", 0);
    const json_t *value = json_object_get(child, "limit_val");
    if (leat_json_count(node, "groups") || leat_json_count(node, "expressions") != 1) return NULL;
    if (!leat_json_is(agg, "name", "count_star") || json_is_object(json_object_get(agg, "filter"))) return NULL;
    if (!leat_json_is(child, "type", "LOGICAL_LIMIT") || !leat_json_is(value, "type", "CONSTANT_VALUE")) return NULL;
    if (!leat_json_is(json_object_get(child, "offset_val"), "type", "UNSET")) return NULL;
    *limit = leat_json_int(value, "constant_integer");
    return leat_json_at(child, "children", 0);
}

static void start(struct leat_compile *c, const json_t *node, struct aggregation *a) {
    a->node = node;
    a->group_count = leat_json_count(node, "groups");
    a->agg_count = leat_json_count(node, "expressions");
    a->aggs = leat_arena_alloc(&c->arena, (a->agg_count + 1) * sizeof *a->aggs);
    leat_rel_start(c, &a->child, 0, &a->input);
}

/* A scalar subquery that may give several rows raises in DuckDB: first(x) with count(*) from a "more than one row"
 * check. */
static bool is_scalar_check(const struct aggregation *a) {
    return a->group_count == 0 && a->agg_count == 2 &&
           leat_json_is(leat_json_at(a->node, "expressions", 0), "name", "first") &&
           leat_json_is(leat_json_at(a->node, "expressions", 1), "name", "count_star") &&
           leat_json_is(a->node, "groupings_index", LEAT_JSON_RAW "18446744073709551615");
}

bool leat_compile_aggregate(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct aggregation a = {0};
    json_int_t limit = 0;
    const json_t *limited = count_over_limit(node, &limit);
    bool done, append_only;
    if (!leat_compile_node(c, limited ? limited : leat_json_at(node, "children", 0), &a.child)) return false;
    start(c, node, &a);
    if (!over_one_row(c, &a, out, &done) || done) return done;
    if (is_scalar_check(&a))
        return leat_compile_refuse(
            c, "a scalar subquery that can give more than one row: use max(), min() or another aggregate in it");
    append_only = c->plan->ops[a.child.op].append_only;
    bool plain = plain_grouping(node), in_c = true;
    for (size_t i = 0; in_c && i < a.agg_count; i++)
        in_c = mergeable(leat_json_at(node, "expressions", i), append_only) != NULL;
    if (!in_c) return recompute(c, &a, out);
    if (!collect_groups(c, &a)) return false;
    for (size_t i = 0; i < a.agg_count; i++)
        if (!collect_aggregate(c, &a, leat_json_at(node, "expressions", i), append_only, &a.aggs[i])) return false;
    if (!plain) return emit_sets(c, &a, out);
    if (!emit_aggregate(c, &a, out)) return false;
    if (limited)
        out->columns[0] =
            leat_rel_text(c, out->columns[0].type, false, "least(c0, CAST(%lld AS BIGINT))", (long long)limit);
    return true;
}

/* ---- DISTINCT */

bool leat_compile_distinct_rel(struct leat_compile *c, struct leat_rel *in, struct leat_rel *out) {
    struct aggregation a = {.child = *in, .group_count = in->count};
    leat_rel_start(c, in, in->count, &a.input);
    a.groups = leat_arena_alloc(&c->arena, (in->count + 1) * sizeof *a.groups);
    a.aggs = leat_arena_alloc(&c->arena, sizeof *a.aggs);
    for (size_t i = 0; i < in->count; i++)
        a.groups[i] = leat_rel_add(c, &a.input, &in->columns[i]);
    if (in->count == 0) return leat_compile_refuse(c, "DISTINCT without columns");
    return emit_aggregate(c, &a, out);
}

/* The order of DISTINCT ON, completed by every column that it does not name. */
struct total_order {
    struct leat_order *items;
    size_t count;
};

static void order_by(struct total_order *order, uint16_t column, bool descending, bool nulls_first) {
    for (size_t i = 0; i < order->count; i++)
        if (order->items[i].column == column) return;
    order->items[order->count++] =
        (struct leat_order){.column = column, .descending = descending, .nulls_first = nulls_first};
}

bool leat_compile_total_order(struct leat_compile *c, const json_t *targets, const json_t *by, struct leat_rel *rel,
                              uint16_t *keys, struct leat_order **orders, size_t *order_count) {
    struct leat_rel source = *rel;
    struct leat_rel_column column;
    size_t most = rel->count + json_array_size(targets) + json_array_size(by) + 1;
    struct total_order order = {.items = leat_arena_alloc(&c->arena, most * sizeof *order.items)};
    for (size_t i = 0; i < json_array_size(targets); i++) {
        if (!leat_rel_expression(c, &source, json_array_get(targets, i), &column)) return false;
        keys[i] = (uint16_t)leat_rel_add(c, rel, &column);
    }
    for (size_t i = 0; i < json_array_size(by); i++) {
        const json_t *item = json_array_get(by, i);
        if (!leat_rel_expression(c, &source, json_object_get(item, "expression"), &column)) return false;
        order_by(&order, (uint16_t)leat_rel_add(c, rel, &column), leat_json_is(item, "type", "DESCENDING"),
                 leat_json_is(item, "null_order", "NULLS FIRST"));
    }
    for (size_t i = 0; i < rel->count; i++)
        order_by(&order, (uint16_t)i, false, false);
    *orders = order.items;
    *order_count = order.count;
    return true;
}

/* The winner of a key changes to a row that comes earlier in the order. When the order begins with event time
 * ascending, or event time is part of the key, the row it replaces is not older than the new one, so the cut's
 * promise holds for what is taken back too. */
static void distinct_on_times(struct leat_op *op, const struct leat_op *child, const struct total_order *order) {
    for (size_t i = 0; i < child->time_count; i++) {
        const struct leat_time_column *t = &child->times[i];
        bool in_key = false;
        size_t first = 0;
        for (size_t k = 0; k < op->key_count; k++)
            in_key = in_key || op->keys[k] == t->column;
        while (first < order->count) { /* key columns in the order say nothing */
            bool key = false;
            for (size_t k = 0; k < op->key_count; k++)
                key = key || op->keys[k] == order->items[first].column;
            if (!key) break;
            first++;
        }
        bool leads = first < order->count && order->items[first].column == t->column &&
                     !order->items[first].descending && !order->items[first].nulls_first;
        if (in_key || leads) leat_emit_time(op, t->column, t->span_us, t->object);
    }
    for (size_t k = 0; k < op->key_count; k++) { /* where it only leads, an older row of the key may have kept this one out */
        const struct leat_local *l = leat_op_local(child, op->keys[k]);
        if (l) leat_emit_local(op, l->column, l);
    }
}

/* The time that ends a key's admissible records, where one of its columns follows event time. */
static const struct leat_time_column *key_time(const struct leat_op *op) {
    for (size_t k = 0; k < op->key_count; k++) {
        const struct leat_time_column *t = leat_op_time(op, op->keys[k]);
        uint8_t kind = op->schema.fields[op->keys[k]].type.kind;
        if (t && (kind == LEAT_TIMESTAMP || kind == LEAT_TIMESTAMPTZ)) return t;
    }
    return NULL;
}

bool leat_compile_first(struct leat_compile *c, const json_t *targets, const json_t *by, struct leat_rel *rel,
                        struct leat_rel *out) {
    size_t visible = rel->count, key_count = json_array_size(targets);
    uint16_t *keys = leat_arena_alloc(&c->arena, (key_count + 1) * sizeof *keys);
    struct total_order order;
    if (!c->plan->ops[rel->op].append_only)
        return leat_compile_top_n(c, targets, by, (struct leat_places){.first = 1, .last = 1}, rel, out);
    if (!leat_compile_total_order(c, targets, by, rel, keys, &order.items, &order.count) || !leat_rel_flush(c, rel))
        return false;
    int index = leat_emit(c, LEAT_OP_DISTINCT_ON, rel->op, -1);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *child = &c->plan->ops[rel->op];
    op->key_count = key_count;
    op->keys = leat_alloc((key_count + 1) * sizeof *op->keys);
    memcpy(op->keys, keys, key_count * sizeof *keys);
    for (size_t i = 0; i < rel->count; i++)
        leat_emit_column(op, rel->columns[i].name, rel->columns[i].type, rel->columns[i].not_null);
    op->order_count = order.count;
    op->orders = leat_alloc((order.count + 1) * sizeof *op->orders);
    memcpy(op->orders, order.items, order.count * sizeof *order.items);
    distinct_on_times(op, child, &order);
    op->incremental_class = 2;
    op->why = leat_strdup("the first row of each key stays");
    const struct leat_time_column *ends = key_time(op);
    op->evict = ends != NULL;
    op->state_bound = ends ? leat_asprintf("keys leave when the cut passes \"%s\"", op->schema.fields[ends->column].name)
                           : leat_strdup("unbounded: one row for every key ever seen");
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, out);
    child = &c->plan->ops[rel->op];
    for (size_t i = 0; i < child->time_count; i++)
        if (!out->columns[child->times[i].column].has_time)
            out->columns[child->times[i].column].time_lost =
                "DISTINCT ON may replace an old row; let its ORDER BY begin with the event time, ascending";
    out->count = visible;
    return true;
}

bool leat_compile_distinct(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct leat_rel rel;
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &rel)) return false;
    if (leat_json_is(node, "distinct_type", "DISTINCT_ON"))
        return leat_compile_first(c, json_object_get(node, "distinct_targets"),
                                  json_object_get(json_object_get(node, "order_by"), "orders"), &rel, out);
    return leat_compile_distinct_rel(c, &rel, out);
}
