/* Can a run add what is new to what is there? Where every row of the result comes of one record of one unbounded source, and records are never taken
 * back, the query over the new records gives the new rows; where groups are merged of such rows, their results merge with those that are there. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

static const char *merging(const struct leat_agg *agg) {
    switch (agg->kind) {
    case LEAT_AGG_COUNT_STAR:
    case LEAT_AGG_COUNT: return "sum";
    case LEAT_AGG_SUM: return leat_type_is_float(agg->result) ? NULL : "sum"; /* sums of floats depend on their order */
    case LEAT_AGG_MIN: return "min";
    case LEAT_AGG_MAX: return "max";
    case LEAT_AGG_BOOL_AND: return "bool_and";
    case LEAT_AGG_BOOL_OR: return "bool_or";
    default: return NULL;
    }
}

static const struct leat_op *below(const struct leat_plan *plan, const struct leat_op *op) {
    return &plan->ops[op->children[0]];
}

static bool rows_of_one_source(const struct leat_plan *plan, const struct leat_op *op) {
    while (op->kind == LEAT_OP_MAP) op = below(plan, op);
    return op->kind == LEAT_OP_SOURCE;
}

static bool repeats_rows(const struct leat_op *map) {
    for (size_t i = 0; i < map->map_count; i++)
        if (map->map[i].from < 0 && strncmp(map->map[i].expression, "unnest(", 7) == 0) return true;
    return false;
}

/* The column of the aggregate that stands in column `at` of the root; -1: an expression, or rows are left out or repeated on the way. */
static int source_column(const struct leat_plan *plan, const struct leat_op *op, int at) {
    for (; op->kind == LEAT_OP_MAP && at >= 0; op = below(plan, op)) {
        if (op->filter || repeats_rows(op)) return -1;
        at = op->map[at].from;
    }
    return at;
}

static const struct leat_op *aggregate_of(const struct leat_plan *plan) {
    const struct leat_op *op = &plan->ops[plan->op_count - 1];
    while (op->kind == LEAT_OP_MAP) op = below(plan, op);
    return op->kind == LEAT_OP_AGGREGATE && !op->global && op->close_key < 0 && rows_of_one_source(plan, below(plan, op)) ? op : NULL;
}

enum leat_adds leat_plan_adds(const struct leat_plan *plan, const char **why) {
    const struct leat_op *root = plan->op_count ? &plan->ops[plan->op_count - 1] : NULL;
    *why = plan->full_reason;
    if (plan->incremental_class == 7 || !root) return LEAT_ADDS_NOTHING;
    *why = "its rows depend on more than a record each, or on more than one source";
    if (rows_of_one_source(plan, root)) return LEAT_ADDS_ROWS;
    const struct leat_op *aggregate = aggregate_of(plan);
    if (!aggregate) return LEAT_ADDS_NOTHING;
    size_t keys = 0;
    *why = "its groups' results do not tell what new records make of them";
    for (size_t i = 0; i < plan->schema.field_count; i++) {
        int at = source_column(plan, root, (int)i);
        if (at < 0 || (at >= (int)aggregate->key_count && !merging(&aggregate->aggs[at - (int)aggregate->key_count]))) return LEAT_ADDS_NOTHING;
        bool again = false;
        for (size_t k = 0; k < i; k++) again |= source_column(plan, root, (int)k) == at;
        keys += at < (int)aggregate->key_count && !again;
    }
    return keys == aggregate->key_count ? LEAT_ADDS_GROUPS : LEAT_ADDS_NOTHING;
}

void leat_plan_put_merge(const struct leat_plan *plan, const char *there, const char *added, struct leat_buffer *sql) {
    const struct leat_op *root = &plan->ops[plan->op_count - 1], *aggregate = aggregate_of(plan);
    struct leat_buffer keys = {0};
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < plan->schema.field_count; i++) {
        int at = source_column(plan, root, (int)i);
        const struct leat_field *field = &plan->schema.fields[i];
        bool key = at < (int)aggregate->key_count;
        char type[32];
        leat_type_print(field->type, type);
        leat_put(sql, i ? ", " : "");
        if (!key) leat_putf(sql, "CAST(%s(", merging(&aggregate->aggs[at - (int)aggregate->key_count]));
        leat_put_sql_name(sql, field->name);
        if (!key) {
            leat_putf(sql, ") AS %s) AS ", type);
            leat_put_sql_name(sql, field->name);
        } else {
            leat_put(&keys, keys.length ? ", " : "");
            leat_putf(&keys, "%zu", i + 1);
        }
    }
    leat_putf(sql, " FROM (%s UNION ALL SELECT * FROM (%s\n)) GROUP BY %s", there, added, keys.data);
    leat_buffer_deinit(&keys);
}
