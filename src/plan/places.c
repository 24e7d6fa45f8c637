/* DISTINCT ON that need not keep its rows: where each comes from one record of one source by stateless, repeatable
 * expressions, the operator remembers the record's place, and the rare conflict reads the record again. The place
 * travels as one more column, the last, from the source through the MAPs.
 *
 * Not where a different row of a known key is to be expected: with an ORDER BY that asks for the latest row, or where
 * the rows tell re-deliveries apart (columns of INCLUDE). */
#include <stdlib.h>

#include "plan/compile.h"

static bool is_repeatable(const struct leat_op *map) {
    if (map->filter && strstr(map->filter, "leat_now")) return false;
    for (size_t i = 0; i < map->map_count; i++) {
        const char *text = map->map[i].expression;
        if (map->map[i].from < 0 && (strncmp(text, "unnest(", 7) == 0 || strstr(text, "leat_now"))) return false;
    }
    return true;
}

/* Does every reader of the operator find its columns by position, so that one more behind them does not matter? */
static bool may_widen(const struct leat_plan *plan, int index) {
    for (size_t i = 0; i < plan->op_count; i++)
        for (int k = 0; k < plan->ops[i].child_count; k++) {
            enum leat_op_kind kind = plan->ops[i].kind;
            if (plan->ops[i].children[k] != index) continue;
            if (kind != LEAT_OP_MAP && kind != LEAT_OP_AGGREGATE && kind != LEAT_OP_DISTINCT_ON) return false;
        }
    return true;
}

static bool reads_included(const struct leat_project *project, const struct leat_op *source) {
    for (size_t i = 0; i < source->column_count; i++)
        if (source->columns[i] >= project->sources[source->object].schema.field_count &&
            source->columns[i] != LEAT_COLUMN_PLACE)
            return true;
    return false;
}

static bool wants_places(const struct leat_plan *plan, const struct leat_project *project,
                         const struct leat_op *distinct) {
    for (size_t i = 0; i < distinct->order_count; i++)
        if (distinct->orders[i].descending || distinct->orders[i].nulls_first) return false;
    int at = distinct->children[0];
    for (; plan->ops[at].kind == LEAT_OP_MAP; at = plan->ops[at].children[0])
        if (!is_repeatable(&plan->ops[at]) || !may_widen(plan, at)) return false;
    return plan->ops[at].kind == LEAT_OP_SOURCE && may_widen(plan, at) && !reads_included(project, &plan->ops[at]);
}

/* widened: which operators have the column already. */
static void add_place(struct leat_plan *plan, int index, bool *widened) {
    struct leat_op *op = &plan->ops[index];
    if (widened[index]) return;
    widened[index] = true;
    leat_emit_column(op, "__place", (struct leat_type){.kind = LEAT_HUGEINT}, true);
    if (op->kind == LEAT_OP_SOURCE) {
        op->columns = leat_realloc(op->columns, (op->column_count + 1) * sizeof *op->columns);
        op->columns[op->column_count++] = LEAT_COLUMN_PLACE;
        return;
    }
    add_place(plan, op->children[0], widened);
    op->map = leat_realloc(op->map, (op->map_count + 1) * sizeof *op->map);
    op->map[op->map_count++] = (struct leat_map_column){.from = (int)plan->ops[op->children[0]].schema.field_count - 1};
}

void leat_plan_places(struct leat_plan *plan, const struct leat_project *project) {
    bool *widened = leat_alloc(plan->op_count + 1);
    for (size_t i = 0; i < plan->op_count; i++) {
        struct leat_op *op = &plan->ops[i];
        if (op->kind != LEAT_OP_DISTINCT_ON || !wants_places(plan, project, op)) continue;
        op->by_place = true;
        add_place(plan, op->children[0], widened);
        char *bound = op->state_bound;
        op->state_bound = leat_asprintf("%s: a fingerprint and a place, %d bytes, for %s; its row only after a different one came (the first is read again from the log or bronze)",
                                        op->evict ? bound : "unbounded", op->evict ? 44 : 40, op->evict ? "each" : "every key ever seen");
        free(bound);
    }
    free(widened);
}
