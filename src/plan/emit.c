/* Making operators: memory, signatures, sharing of equal ones, pruning. */
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "plan/compile.h"

int leat_emit(struct leat_compile *c, enum leat_op_kind kind, int left, int right) {
    struct leat_plan *plan = c->plan;
    plan->ops = leat_realloc(plan->ops, (plan->op_count + 1) * sizeof *plan->ops);
    struct leat_op *op = &plan->ops[plan->op_count];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->close_key = -1;
    op->object = -1;
    op->children[0] = left;
    op->children[1] = right;
    op->child_count = (left >= 0) + (right >= 0);
    return (int)plan->op_count++;
}

void leat_emit_column(struct leat_op *op, const char *name, struct leat_type type, bool not_null) {
    leat_schema_add(&op->schema, name, type, not_null);
}

void leat_emit_time(struct leat_op *op, size_t column, int64_t span_us, int object) {
    op->times = leat_realloc(op->times, (op->time_count + 1) * sizeof *op->times);
    op->times[op->time_count++] =
        (struct leat_time_column){.column = (uint16_t)column, .span_us = span_us, .object = object};
}

struct leat_local leat_local_of(const struct leat_rel_column *c) {
    return (struct leat_local){
        .span_us = c->span_us, .back_us = c->back_us, .object = c->time_object, .step_us = c->step_us, .origin_us = c->origin_us};
}

struct leat_local leat_local_both(const struct leat_local *a, const struct leat_local *b) {
    struct leat_local both = *a;
    bool alike = a->span_us == b->span_us && a->back_us == b->back_us && a->step_us == b->step_us && a->origin_us == b->origin_us;
    if (b->span_us > both.span_us) both.span_us = b->span_us;
    if (b->back_us > both.back_us) both.back_us = b->back_us;
    if (!alike) both.step_us = 0;
    return both;
}

void leat_emit_local(struct leat_op *op, size_t column, const struct leat_local *from) {
    op->locals = leat_realloc(op->locals, (op->local_count + 1) * sizeof *op->locals);
    op->locals[op->local_count] = *from;
    op->locals[op->local_count++].column = (uint16_t)column;
}

const struct leat_local *leat_op_local(const struct leat_op *op, size_t column) {
    for (size_t i = 0; i < op->local_count; i++)
        if (op->locals[i].column == column) return &op->locals[i];
    return NULL;
}

void leat_emit_times(struct leat_op *op, size_t column, const struct leat_rel_column *from) {
    if (from->has_time) leat_emit_time(op, column, from->span_us, from->time_object);
    if (!from->has_local) return;
    const struct leat_local local = leat_local_of(from);
    leat_emit_local(op, column, &local);
}

const struct leat_time_column *leat_op_time(const struct leat_op *op, size_t column) {
    for (size_t i = 0; i < op->time_count; i++)
        if (op->times[i].column == column) return &op->times[i];
    return NULL;
}

static void free_op(struct leat_op *op) {
    leat_schema_deinit(&op->schema);
    for (size_t i = 0; i < op->map_count; i++)
        free(op->map[i].expression);
    free(op->times);
    free(op->locals);
    free(op->signature);
    free(op->why);
    free(op->state_bound);
    free(op->columns);
    free(op->filter);
    free(op->map);
    free(op->tests);
    free(op->keys);
    free(op->right_keys);
    free(op->orders);
    free(op->aggs);
    free(op->sql);
    memset(op, 0, sizeof *op);
}

void leat_plan_free(struct leat_plan *plan) {
    if (!plan) return;
    for (size_t i = 0; i < plan->op_count; i++)
        free_op(&plan->ops[i]);
    free(plan->ops);
    leat_schema_deinit(&plan->schema);
    free(plan->full_reason);
    leat_plan_free(plan->parts);
    free(plan->completed_sql);
    free(plan->checked_sql);
    free(plan->quarantine_sql);
    free(plan->inputs);
    free(plan);
}

static void put_indexes(struct leat_buffer *out, const char *title, const uint16_t *at, size_t count) {
    if (!count) return;
    leat_putf(out, " %s", title);
    for (size_t i = 0; i < count; i++)
        leat_putf(out, "%s%u", i ? "," : " ", at[i]);
}

static void put_object(struct leat_compile *c, const struct leat_op *op, struct leat_buffer *out) {
    if (op->object < 0) return;
    if (op->kind == LEAT_OP_TABLE)
        leat_putf(out, " %s", c->project->tables[op->object].name);
    else
        leat_putf(out, " %s", c->project->sources[op->object].name);
    if (op->kind == LEAT_OP_TABLE) put_indexes(out, "columns", op->columns, op->column_count);
    for (size_t i = 0; op->kind != LEAT_OP_TABLE && i < op->column_count; i++) /* a source may get further columns */
        leat_putf(out, " \"%s\"", op->schema.fields[i].name);
    if (op->cut_applies)
        leat_putf(out, " lateness %lld", (long long)(c->table->lateness_given ? c->table->lateness_us : 0));
    if (op->guard) leat_putf(out, " guard %016llx", (unsigned long long)op->guard);
}

static void put_map(const struct leat_op *op, struct leat_buffer *out) {
    for (size_t i = 0; i < op->map_count; i++) {
        if (op->map[i].from >= 0)
            leat_putf(out, " %d", op->map[i].from);
        else
            leat_putf(out, " [%s]", op->map[i].expression);
    }
    if (op->filter) leat_putf(out, " where [%s]", op->filter);
}

static char *make_signature(struct leat_compile *c, const struct leat_op *op) {
    static const char *const names[] = {"source",    "reference", "table", "map",       "distinct_on",
                                        "aggregate", "lookup",    "join",  "recompute", "union",
                                        "top_n", "constrain"};
    struct leat_buffer out = {0};
    leat_put(&out, names[op->kind]);
    put_object(c, op, &out);
    put_map(op, &out);
    put_indexes(&out, "keys", op->keys, op->key_count);
    if (op->right_keys) put_indexes(&out, "right", op->right_keys, op->key_count);
    for (size_t i = 0; i < op->order_count; i++)
        leat_putf(&out, " order %u%s%s", op->orders[i].column, op->orders[i].descending ? "d" : "a",
                  op->orders[i].nulls_first ? "f" : "l");
    if (op->kind == LEAT_OP_TOP_N)
        leat_putf(&out, " places %lld %lld%s", (long long)op->skip, (long long)op->take, op->ranked ? " ranked" : "");
    for (size_t i = 0; i < op->agg_count; i++) {
        const struct leat_agg *a = &op->aggs[i];
        leat_putf(&out, " agg %d(%d,%d,%d)", (int)a->kind, a->argument, a->by, a->filter);
    }
    if (op->by_place) leat_put(&out, " by place");
    if (op->global) leat_put(&out, " global");
    if (op->evict) leat_put(&out, " evict");
    if (op->close_key >= 0) leat_putf(&out, " close %d", op->close_key);
    if (op->kind == LEAT_OP_LOOKUP || op->kind == LEAT_OP_JOIN) leat_putf(&out, " join %d", (int)op->join);
    if (op->static_right) leat_put(&out, " static");
    if (op->apart.known)
        leat_putf(&out, " apart %u %u %lld %lld keep %lld %lld%s", op->apart.columns[0], op->apart.columns[1], (long long)op->apart.low_us,
                  (long long)op->apart.high_us, (long long)op->apart.keep_us[0], (long long)op->apart.keep_us[1], op->judges_apart ? " judged" : "");
    for (size_t i = 0; i < op->constraint_count; i++)
        leat_putf(&out, " constraint %s %d", op->constraints[i].name, (int)op->constraints[i].action);
    if (op->sql) leat_putf(&out, " [%s]", op->sql);
    for (size_t i = 0; i < op->schema.field_count; i++) {
        char type[32];
        leat_type_print(op->schema.fields[i].type, type);
        leat_putf(&out, "%s%s", i ? "," : " : ", type);
    }
    for (int i = 0; i < op->child_count; i++) {
        const char *child = c->plan->ops[op->children[i]].signature;
        XXH128_hash_t hash = XXH3_128bits(child, strlen(child));
        leat_putf(&out, " {%016llx%016llx}", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
    }
    return out.data;
}

bool leat_emit_done(struct leat_compile *c, int *index) {
    struct leat_plan *plan = c->plan;
    struct leat_op *op = &plan->ops[*index];
    for (size_t i = 0; i < op->schema.field_count; i++) {
        if (op->schema.fields[i].type.kind != LEAT_NESTED || op->kind == LEAT_OP_RECOMPUTE) continue; /* which is taken apart when it is used (emit_merged) */
        if (c->parts) op->signature = make_signature(c, op); /* it stands for itself */
        return leat_compile_refuse_nested(c, op->schema.fields[i].name);
    }
    if (op->schema.field_count > UINT16_MAX) return leat_compile_refuse(c, "more than %d columns", UINT16_MAX);
    op->signature = make_signature(c, op);
    for (int i = 0; i < *index; i++)
        if (strcmp(plan->ops[i].signature, op->signature) == 0) {
            free_op(op);
            plan->op_count--;
            *index = i;
            return true;
        }
    return true;
}

void leat_emit_give_up(struct leat_compile *c) {
    struct leat_plan *plan = c->plan;
    while (plan->op_count && !plan->ops[plan->op_count - 1].signature) free_op(&plan->ops[--plan->op_count]);
}

void leat_emit_sign(struct leat_compile *c) {
    for (size_t i = 0; i < c->plan->op_count; i++) {
        struct leat_op *op = &c->plan->ops[i];
        char *fresh = make_signature(c, op);
        free(op->signature);
        op->signature = fresh;
    }
}

static void mark_needed(const struct leat_plan *plan, int op, bool *needed) {
    if (needed[op]) return;
    needed[op] = true;
    for (int i = 0; i < plan->ops[op].child_count; i++)
        mark_needed(plan, plan->ops[op].children[i], needed);
}

void leat_emit_prune(struct leat_plan *plan, int root) {
    bool *needed = leat_alloc(plan->op_count * sizeof *needed);
    int *moved = leat_alloc(plan->op_count * sizeof *moved);
    size_t count = 0;
    mark_needed(plan, root, needed);
    if (plan->quarantine >= 0) mark_needed(plan, plan->quarantine, needed);
    for (size_t i = 0; i < plan->op_count; i++) {
        struct leat_op *op = &plan->ops[i];
        if (!needed[i]) {
            free_op(op);
            continue;
        }
        moved[i] = (int)count;
        for (int k = 0; k < op->child_count; k++)
            op->children[k] = moved[op->children[k]];
        plan->ops[count++] = *op;
    }
    plan->op_count = count;
    if (plan->constrain >= 0) plan->constrain = moved[plan->constrain];
    if (plan->quarantine >= 0) plan->quarantine = moved[plan->quarantine];
    free(needed);
    free(moved);
}
