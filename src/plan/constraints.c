/* CONSTRAINT n EXPECT (e) ON VIOLATION ...: as CHECK in SQL, a row violates when e is false; NULL passes.
 *
 * The query gets a column more for each constraint, whether the row violates it: the checked query. The table is its rows that violate
 * nothing but FAIL UPDATE, t__quarantine those that violate a QUARANTINE and no DROP ROW. */
#include <stdio.h>
#include <stdlib.h>

#include "plan/compile.h"
#include "plan/complete.h"

#define FLAG "__violates_%zu"

/* Is the text one expression and nothing else? */
static enum leat_status check_expression(struct leat_conn *conn, const struct leat_constraint *constraint, struct leat_error *err) {
    char *sql = leat_asprintf("SELECT (%s\n)", constraint->expression);
    int ignored;
    enum leat_status status = leat_complete_check(conn, sql, &ignored, err);
    free(sql);
    return status ? leat_prepend(err, "CONSTRAINT %s", constraint->name) : LEAT_OK;
}

enum leat_status leat_constraints_add(struct leat_conn *conn, const struct leat_table *table, char **sql, struct leat_error *err) {
    struct leat_buffer out = {0};
    if (table->constraint_count == 0) return LEAT_OK;
    for (size_t i = 0; i < table->constraint_count; i++) {
        enum leat_status status = check_expression(conn, &table->constraints[i], err);
        if (status) return status;
    }
    leat_put(&out, "SELECT *");
    for (size_t i = 0; i < table->constraint_count; i++)
        leat_putf(&out, ", ((%s\n) IS NOT DISTINCT FROM false) AS " FLAG, table->constraints[i].expression, i);
    leat_putf(&out, " FROM (%s\n)", *sql);
    free(*sql);
    *sql = out.data;
    return LEAT_OK;
}

/* "a OR b" over the constraints with this action or that, each written by `format`; false: there is none. */
static bool put_any(const struct leat_table *table, enum leat_violation action, enum leat_violation other, const char *format, size_t first,
                    struct leat_buffer *out) {
    bool any = false;
    for (size_t i = 0; i < table->constraint_count; i++) {
        if (table->constraints[i].action != action && table->constraints[i].action != other) continue;
        leat_put(out, any ? " OR " : "");
        leat_putf(out, format, first + i);
        any = true;
    }
    return any;
}

/* Which rows are the table's, or its quarantine's; false: all, and nothing is written. */
static bool put_condition(const struct leat_table *table, bool quarantine, const char *format, size_t first, struct leat_buffer *out) {
    struct leat_buffer without = {0};
    bool any = put_any(table, LEAT_ON_DROP_ROW, quarantine ? LEAT_ON_DROP_ROW : LEAT_ON_QUARANTINE, format, first, &without);
    if (quarantine) {
        leat_put(out, "(");
        put_any(table, LEAT_ON_QUARANTINE, LEAT_ON_QUARANTINE, format, first, out);
        leat_put(out, any ? ") AND " : ")");
    }
    if (any) leat_putf(out, "NOT (%s)", without.data);
    leat_buffer_deinit(&without);
    return any || quarantine;
}

/* The names of the constraints for which a row is in quarantine. */
static void put_names(const struct leat_table *table, const char *format, size_t first, struct leat_buffer *out) {
    leat_put(out, "concat_ws(', '");
    for (size_t i = 0; i < table->constraint_count; i++) {
        if (table->constraints[i].action != LEAT_ON_QUARANTINE) continue;
        leat_put(out, ", CASE WHEN ");
        leat_putf(out, format, first + i);
        leat_put(out, " THEN ");
        leat_put_sql_string(out, table->constraints[i].name);
        leat_put(out, " END");
    }
    leat_put(out, ")");
}

bool leat_table_quarantines(const struct leat_table *table) {
    for (size_t i = 0; i < table->constraint_count; i++)
        if (table->constraints[i].action == LEAT_ON_QUARANTINE) return true;
    return false;
}

static char *rows_of(const struct leat_plan *plan, const struct leat_table *table, const char *from, bool quarantine) {
    struct leat_buffer out = {0};
    leat_put(&out, "SELECT ");
    for (size_t i = 0; i < plan->schema.field_count; i++) {
        if (i) leat_put(&out, ", ");
        leat_put_sql_name(&out, plan->schema.fields[i].name);
    }
    if (quarantine) {
        leat_put(&out, ", ");
        put_names(table, FLAG, 0, &out);
        leat_put(&out, " AS _constraint");
    }
    leat_putf(&out, " FROM %s", from);
    struct leat_buffer condition = {0};
    if (put_condition(table, quarantine, FLAG, 0, &condition)) leat_putf(&out, " WHERE %s", condition.data);
    leat_buffer_deinit(&condition);
    return out.data;
}

void leat_constraints_complete(const struct leat_table *table, struct leat_plan *plan) {
    if (table->constraint_count == 0) return;
    plan->checked_sql = plan->completed_sql;
    char *from = leat_asprintf("(%s\n)", plan->checked_sql);
    plan->completed_sql = rows_of(plan, table, from, false);
    if (leat_table_quarantines(table)) plan->quarantine_sql = rows_of(plan, table, from, true);
    free(from);
}

char *leat_plan_checked_rows(const struct leat_plan *plan, const struct leat_table *table, const char *from, bool quarantine) {
    return rows_of(plan, table, from, quarantine);
}

void leat_plan_put_violations(const struct leat_table *table, const char *from, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < table->constraint_count; i++) leat_putf(sql, "%scount(*) FILTER (WHERE " FLAG ")", i ? ", " : "", i);
    leat_putf(sql, " FROM %s", from);
}

/* ---- operators */

static void copy_times(struct leat_op *op, const struct leat_op *below) {
    for (size_t i = 0; i < below->time_count; i++) leat_emit_time(op, below->times[i].column, below->times[i].span_us, below->times[i].object);
    for (size_t i = 0; i < below->local_count; i++)
        leat_emit_local(op, below->locals[i].column, &below->locals[i]);
}

static int emit_rows(struct leat_compile *c, int gate, bool quarantine) {
    int index = leat_emit(c, LEAT_OP_MAP, gate, -1);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *below = &c->plan->ops[gate];
    size_t count = below->schema.field_count - c->table->constraint_count;
    struct leat_buffer filter = {0}, names = {0};
    op->map_count = count + quarantine;
    op->map = leat_alloc((op->map_count + 1) * sizeof *op->map);
    for (size_t i = 0; i < count; i++) {
        op->map[i].from = (int)i;
        leat_emit_column(op, c->plan->schema.fields[i].name, below->schema.fields[i].type, below->schema.fields[i].not_null);
    }
    if (quarantine) {
        put_names(c->table, "c%zu", count, &names);
        op->map[count] = (struct leat_map_column){.from = -1, .expression = names.data};
        leat_emit_column(op, "_constraint", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    }
    copy_times(op, below);
    if (put_condition(c->table, quarantine, "c%zu", count, &filter)) op->filter = filter.data;
    op->append_only = below->append_only;
    op->incremental_class = 1;
    op->why = leat_strdup(quarantine ? "rows that violate a QUARANTINE" : "rows that violate neither DROP ROW nor QUARANTINE");
    return index;
}

bool leat_constraints_emit(struct leat_compile *c, int *root) {
    bool fails = false;
    if (c->table->constraint_count == 0) return true;
    int index = leat_emit(c, LEAT_OP_CONSTRAIN, *root, -1);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *below = &c->plan->ops[*root];
    for (size_t i = 0; i < below->schema.field_count; i++) {
        const struct leat_field *field = &below->schema.fields[i];
        char flag[32];
        snprintf(flag, sizeof flag, FLAG, i - c->plan->schema.field_count);
        leat_emit_column(op, i < c->plan->schema.field_count ? c->plan->schema.fields[i].name : flag, field->type, field->not_null);
    }
    copy_times(op, below);
    op->constraints = c->table->constraints;
    op->constraint_count = c->table->constraint_count;
    for (size_t i = 0; i < op->constraint_count; i++) fails |= op->constraints[i].action == LEAT_ON_FAIL_UPDATE;
    op->append_only = below->append_only;
    op->incremental_class = 1;
    op->why = leat_strdup("rows that violate a constraint are counted");
    op->state_bound = leat_strdup(fails ? "a number for each constraint; all changes while a row violates FAIL UPDATE"
                                        : "a number for each constraint");
    if (!leat_emit_done(c, &index)) return false;
    c->plan->constrain = index;
    if (leat_table_quarantines(c->table)) {
        c->plan->quarantine = emit_rows(c, index, true);
        if (!leat_emit_done(c, &c->plan->quarantine)) return false;
    }
    *root = emit_rows(c, index, false);
    return leat_emit_done(c, root);
}
