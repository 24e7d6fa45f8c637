/* The compiler checks itself: DuckDB describes every SQL text of a plan, and the types must be the plan's. */
#include <stdlib.h>

#include "plan/compile.h"

static void put_map_select(const struct leat_op *op, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < op->map_count; i++) {
        if (i) leat_put(sql, ", ");
        if (op->map[i].from >= 0)
            leat_putf(sql, "c%d", op->map[i].from);
        else
            leat_put(sql, op->map[i].expression);
    }
    leat_put(sql, " FROM leat_input('in')");
    if (op->filter) leat_putf(sql, " WHERE %s", op->filter);
}

/* A column of another type gets a cast: the value is the plan's, only its written form bound differently. */
static void repair(struct leat_op *op, size_t column, const char *expected) {
    if (op->kind == LEAT_OP_MAP) {
        char *old = op->map[column].expression;
        op->map[column].expression = leat_asprintf("CAST(%s AS %s)", old, expected);
        op->map[column].can_fail = true;
        op->map[column].tumbled = (struct leat_tumbled){0};
        free(old);
        return;
    }
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < op->schema.field_count; i++) {
        char type[32];
        leat_type_print(op->schema.fields[i].type, type);
        leat_putf(&sql, i == column ? "%sCAST(r%zu AS %s)" : "%sr%zu", i ? ", " : "", i, type);
    }
    leat_putf(&sql, " FROM (%s) AS recomputed(", op->sql);
    for (size_t i = 0; i < op->schema.field_count; i++)
        leat_putf(&sql, "%sr%zu", i ? ", " : "", i);
    leat_put(&sql, ")");
    free(op->sql);
    op->sql = sql.data;
}

static enum leat_status check_op(struct leat_conn *conn, struct leat_plan *plan, struct leat_op *op, bool *repaired,
                                 struct leat_error *err) {
    static const char *const names[2] = {"in", "right"};
    struct leat_buffer sql = {0};
    struct leat_schema schema = {0};
    enum leat_status status = LEAT_OK;
    *repaired = false;
    for (int i = 0; i < op->child_count && !status; i++)
        status = leat_conn_input(conn, names[i], &plan->ops[op->children[i]].schema, false, err);
    if (op->kind == LEAT_OP_MAP)
        put_map_select(op, &sql);
    else
        leat_put(&sql, op->sql);
    if (!status) status = leat_conn_describe(conn, sql.data, &schema, err);
    if (!status && schema.field_count != op->schema.field_count)
        status = leat_fail(err, LEAT_CORRUPT, "a written stage gives %zu columns, not %zu", schema.field_count,
                           op->schema.field_count);
    for (size_t i = 0; !status && i < schema.field_count; i++) {
        char expected[32];
        if (leat_type_equal(schema.fields[i].type, op->schema.fields[i].type)) continue;
        leat_type_print(op->schema.fields[i].type, expected);
        if (op->kind == LEAT_OP_MAP && op->map[i].from >= 0)
            status = leat_fail(err, LEAT_CORRUPT, "a written stage gives column %zu another type than %s", i, expected);
        else
            repair(op, i, expected);
        *repaired = true;
    }
    if (status) leat_prepend(err, "leat wrote \"%.300s\"", sql.data);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&sql);
    return status;
}

static bool only_passes(const struct leat_op *map) {
    for (size_t i = 0; i < map->map_count; i++)
        if (map->map[i].from < 0) return false;
    return !map->filter;
}

enum leat_status leat_plan_check(struct leat_conn *conn, struct leat_plan *plan, struct leat_error *err) {
    for (size_t i = 0; i < plan->op_count; i++) {
        struct leat_op *op = &plan->ops[i];
        bool repaired;
        if (op->kind != LEAT_OP_RECOMPUTE && (op->kind != LEAT_OP_MAP || only_passes(op))) continue;
        enum leat_status status = check_op(conn, plan, op, &repaired, err);
        if (!status && repaired) status = check_op(conn, plan, op, &repaired, err);
        if (status) return status;
    }
    return LEAT_OK;
}
