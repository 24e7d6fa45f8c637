/* EXPLAIN: the operators as a tree, what each keeps and why, and the SQL that batch and oracle run. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "plan/json.h"
#include "plan/plan.h"

static const char *const kind_names[] = {"SOURCE",    "REFERENCE", "TABLE", "MAP",       "DISTINCT ON",
                                         "AGGREGATE", "LOOKUP",    "JOIN",  "RECOMPUTE", "UNION ALL",
                                         "TOP N", "CONSTRAIN"};
static const char *const violation_names[] = {"drop row", "quarantine", "fail update"};
static const char *const join_names[] = {"inner", "left", "semi", "anti"};
static const char *const agg_formats[] = {
    "count(*)", "count(%s)",       "count(DISTINCT %s)", "sum(%s)",      "avg(%s)",    "min(%s)",
    "max(%s)",  "arg_min(%s, %s)", "arg_max(%s, %s)",    "bool_and(%s)", "bool_or(%s)"};
static const char *const class_names[] = {"",
                                          "row by row",
                                          "de-duplication",
                                          "mergeable aggregates",
                                          "event-time windows",
                                          "joins",
                                          "changed keys are computed again",
                                          "full recompute"};

static const char *object_name(const struct leat_project *project, const struct leat_op *op) {
    return op->kind == LEAT_OP_TABLE ? project->tables[op->object].name : project->sources[op->object].name;
}

/* A stage's text with the names of its input's columns in place of c0, c1, ... */
static void put_with_names(struct leat_buffer *out, const char *text, const struct leat_schema *schema) {
    bool word = false; /* inside an identifier or a number */
    for (const char *p = text; *p;) {
        if (*p == '\'' || *p == '"') {
            const char *end = strchr(p + 1, *p);
            size_t length = end ? (size_t)(end - p) + 1 : strlen(p);
            leat_putn(out, p, length);
            p += length;
            word = false;
            continue;
        }
        if (!word && *p == 'c' && isdigit((unsigned char)p[1])) {
            char *end;
            unsigned long column = strtoul(p + 1, &end, 10);
            if (!isalnum((unsigned char)*end) && *end != '_' && column < schema->field_count) {
                leat_put(out, schema->fields[column].name);
                p = end;
                continue;
            }
        }
        word = isalnum((unsigned char)*p) || *p == '_';
        leat_putn(out, p++, 1);
    }
}

/* What a column of a child is called, or the expression it is when it has no name of its own. */
static void put_column(struct leat_buffer *out, const struct leat_plan *plan, const struct leat_op *op, int child,
                       int column) {
    const struct leat_op *below = &plan->ops[op->children[child]];
    const char *name = below->schema.fields[column].name;
    bool unnamed = strcmp(name, "expression") == 0 && below->kind == LEAT_OP_MAP && below->map[column].from < 0;
    if (unnamed)
        put_with_names(out, below->map[column].expression, &plan->ops[below->children[0]].schema);
    else
        leat_put(out, name);
}

void leat_plan_put_duration(struct leat_buffer *out, int64_t us) {
    if (us != 1 && (us % 1000000 == 1 || us % 1000000 == -999999)) us--; /* a time is passed the moment after */
    if (us % 86400000000 == 0 && us)
        leat_putf(out, "%" PRId64 " d", us / 86400000000);
    else if (us % 3600000000 == 0 && us)
        leat_putf(out, "%" PRId64 " h", us / 3600000000);
    else if (us % 60000000 == 0 && us)
        leat_putf(out, "%" PRId64 " min", us / 60000000);
    else if (us % 1000000 == 0 && us)
        leat_putf(out, "%" PRId64 " s", us / 1000000);
    else
        leat_putf(out, "%" PRId64 " us", us);
}

static void put_aggregate(const struct leat_plan *plan, const struct leat_op *op, size_t i, struct leat_buffer *out) {
    const struct leat_agg *a = &op->aggs[i];
    const char *format = agg_formats[a->kind], *mark = strstr(format, "%s");
    if (!mark)
        leat_put(out, format);
    else {
        leat_putn(out, format, (size_t)(mark - format));
        put_column(out, plan, op, 0, a->argument);
        if (a->by >= 0) {
            leat_put(out, ", ");
            put_column(out, plan, op, 0, a->by);
        }
        leat_put(out, ")");
    }
    if (a->filter < 0) return;
    leat_put(out, " where ");
    put_column(out, plan, op, 0, a->filter);
}

static void put_keys(const struct leat_plan *plan, const struct leat_op *op, struct leat_buffer *out) {
    for (size_t i = 0; i < op->key_count; i++) {
        if (i) leat_put(out, ", ");
        put_column(out, plan, op, 0, op->keys[i]);
        if (!op->right_keys) continue;
        leat_put(out, " = ");
        put_column(out, plan, op, 1, op->right_keys[i]);
    }
}

/* What the operator does, in one phrase. */
static void put_detail(const struct leat_project *project, const struct leat_plan *plan, const struct leat_op *op,
                       struct leat_buffer *out) {
    switch (op->kind) {
    case LEAT_OP_SOURCE:
    case LEAT_OP_REFERENCE:
    case LEAT_OP_TABLE:
        leat_putf(out, "%s", object_name(project, op));
        break;
    case LEAT_OP_MAP: {
        size_t expressions = 0;
        for (size_t i = 0; i < op->map_count; i++)
            expressions += op->map[i].from < 0;
        leat_putf(out, "%zu columns, %zu computed%s", op->map_count, expressions, op->filter ? ", filtered" : "");
        break;
    }
    case LEAT_OP_AGGREGATE:
        if (op->key_count) leat_put(out, "by ");
        put_keys(plan, op, out);
        if (op->global) leat_put(out, "all rows");
        for (size_t i = 0; i < op->agg_count; i++) {
            leat_put(out, i ? ", " : ": ");
            put_aggregate(plan, op, i, out);
        }
        break;
    case LEAT_OP_LOOKUP:
    case LEAT_OP_JOIN:
        leat_putf(out, "%s%s", join_names[op->join], op->key_count ? " on " : ""); /* fallthrough */
    case LEAT_OP_RECOMPUTE:
    case LEAT_OP_DISTINCT_ON:
        if (op->kind == LEAT_OP_RECOMPUTE || op->kind == LEAT_OP_DISTINCT_ON) leat_put(out, "by ");
        put_keys(plan, op, out);
        break;
    case LEAT_OP_TOP_N:
        leat_putf(out, "places %lld to %lld", (long long)op->skip + 1, (long long)(op->skip + op->take));
        if (op->key_count) leat_put(out, " by ");
        put_keys(plan, op, out);
        break;
    case LEAT_OP_CONSTRAIN:
        for (size_t i = 0; i < op->constraint_count; i++)
            leat_putf(out, "%s%s %s", i ? ", " : "", op->constraints[i].name, violation_names[op->constraints[i].action]);
        break;
    case LEAT_OP_UNION:
        break;
    }
}

static void put_line(struct leat_buffer *out, int depth, const char *title, const char *text) {
    leat_putf(out, "%*s%s%s\n", depth * 2 + 4, "", title, text);
}

static void put_op(const struct leat_project *project, const struct leat_plan *plan, int index, int depth, bool *seen,
                   struct leat_buffer *out) {
    const struct leat_op *op = &plan->ops[index];
    leat_putf(out, "%*s[%d] %s%s", depth * 2, "", index, kind_names[op->kind], op->kind == LEAT_OP_UNION ? "" : " ");
    put_detail(project, plan, op, out);
    if (seen[index]) {
        leat_put(out, " (shared, shown above)\n");
        return;
    }
    seen[index] = true;
    leat_putf(out, "  (class %d: %s)\n", op->incremental_class, op->why ? op->why : "");
    if (op->filter) {
        leat_putf(out, "%*swhere ", depth * 2 + 4, "");
        put_with_names(out, op->filter, &plan->ops[op->children[0]].schema);
        leat_put(out, "\n");
    }
    for (size_t i = 0; i < op->map_count; i++)
        if (op->map[i].from < 0) {
            leat_putf(out, "%*s%s = ", depth * 2 + 4, "", op->schema.fields[i].name);
            put_with_names(out, op->map[i].expression, &plan->ops[op->children[0]].schema);
            leat_put(out, op->map[i].can_fail ? "  -- can fail\n" : "\n");
        }
    if (op->sql) put_line(out, depth, "sql ", op->sql);
    if (op->order_count) {
        leat_putf(out, "%*sfirst by ", depth * 2 + 4, "");
        for (size_t i = 0; i < op->order_count; i++) {
            if (i) leat_put(out, ", ");
            put_column(out, plan, op, 0, op->orders[i].column);
            leat_putf(out, "%s%s", op->orders[i].descending ? " desc" : "",
                      op->orders[i].nulls_first ? " nulls first" : "");
        }
        leat_put(out, "\n");
    }
    if (op->cut_applies) put_line(out, depth, "late records are decided by the cut", "");
    if (op->guard) put_line(out, depth, "read in several places: a record that fails in one is a dead letter in all", "");
    for (size_t i = 0; i < op->time_count; i++) {
        leat_putf(out, "%*sevent time %s, closed ", depth * 2 + 4, "", op->schema.fields[op->times[i].column].name);
        leat_plan_put_duration(out, op->times[i].span_us);
        leat_put(out, " after its value\n");
    }
    if (op->close_key >= 0)
        put_line(out, depth, "published when the cut closes ", op->schema.fields[op->close_key].name);
    if (op->state_bound) put_line(out, depth, "state ", op->state_bound);
    if (op->append_only) put_line(out, depth, "append-only", "");
    for (int i = 0; i < op->child_count; i++)
        put_op(project, plan, op->children[i], depth + 1, seen, out);
}

/* How its runs are computed, and why. */
static void put_runs(const struct leat_table *table, const struct leat_plan *plan, struct leat_buffer *out) {
    const char *why;
    enum leat_adds adds = leat_plan_adds(plan, &why);
    if (table->frozen.column && adds != LEAT_ADDS_NOTHING) adds = LEAT_ADDS_NOTHING, why = "rows are frozen (FROZEN WHERE)";
    if (plan->full_reason || (table->cron && adds == LEAT_ADDS_NOTHING)) {
        leat_putf(out, "  every run computes the whole table: %s\n", plan->full_reason ? plan->full_reason : why);
    } else if (table->cron) {
        leat_putf(out, "  a run adds what is new since the last to what is there%s\n",
                  table->mode == LEAT_MODE_INCREMENTAL ? ": REFRESH_MODE = INCREMENTAL" : " where that takes less CPU than computing all, as former runs tell; `leat status` says which");
    }
}

static void explain_text(const struct leat_project *project, const struct leat_table *table,
                         const struct leat_plan *plan, struct leat_buffer *out) {
    leat_putf(out, "table %s: class %d, %s\n", table->name, plan->incremental_class,
              class_names[plan->incremental_class]);
    put_runs(table, plan, out);
    if (table->frozen.column)
        leat_putf(out, "  frozen where %s %s %s, at the clock of the version before and once the window is over: those rows stay as they are, and records for them are late; "
                  "`leat status` says up to when\n", table->frozen.column, table->frozen.inclusive ? "<=" : "<", table->frozen.bound);
    leat_put(out, "columns\n");
    for (size_t i = 0; i < plan->schema.field_count; i++) {
        char type[32];
        leat_type_print(plan->schema.fields[i].type, type);
        leat_putf(out, "  %s %s%s\n", plan->schema.fields[i].name, type,
                  plan->schema.fields[i].not_null ? " NOT NULL" : "");
    }
    if (plan->op_count) {
        bool *seen = leat_alloc(plan->op_count * sizeof *seen);
        leat_put(out, "operators\n");
        put_op(project, plan, (int)plan->op_count - 1, 1, seen, out);
        free(seen);
    }
    leat_putf(out, "batch and oracle run\n  %s\n", plan->completed_sql);
    if (plan->quarantine_sql) leat_putf(out, "%s__quarantine has\n  %s\n", table->name, plan->quarantine_sql);
}

static void set_text(json_t *object, const char *key, const char *text) {
    if (text) json_object_set_new(object, key, json_string(text));
}

static json_t *columns_json(const struct leat_schema *schema) {
    json_t *columns = json_array();
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        json_array_append_new(columns, json_pack("{s:s,s:s,s:b}", "name", schema->fields[i].name, "type", type,
                                                 "not_null", (int)schema->fields[i].not_null));
    }
    return columns;
}

static json_t *op_json(const struct leat_project *project, const struct leat_plan *plan, size_t index) {
    const struct leat_op *op = &plan->ops[index];
    struct leat_buffer detail = {0};
    json_t *children = json_array(), *times = json_array(), *expressions = json_array();
    for (int i = 0; i < op->child_count; i++)
        json_array_append_new(children, json_integer(op->children[i]));
    for (size_t i = 0; i < op->time_count; i++)
        json_array_append_new(times, json_pack("{s:s,s:I,s:s}", "column", op->schema.fields[op->times[i].column].name,
                                               "span_us", (json_int_t)op->times[i].span_us, "source",
                                               project->sources[op->times[i].object].name));
    for (size_t i = 0; i < op->map_count; i++)
        if (op->map[i].from < 0)
            json_array_append_new(expressions, json_pack("{s:s,s:s,s:b}", "column", op->schema.fields[i].name, "sql",
                                                         op->map[i].expression, "can_fail", (int)op->map[i].can_fail));
    put_detail(project, plan, op, &detail);
    json_t *object = json_pack("{s:i,s:s,s:s,s:i,s:o,s:o,s:b}", "operator", (int)index, "kind", kind_names[op->kind],
                               "detail", detail.data ? detail.data : "", "class", op->incremental_class, "children",
                               children, "columns", columns_json(&op->schema), "append_only", (int)op->append_only);
    set_text(object, "why", op->why);
    set_text(object, "filter", op->filter);
    set_text(object, "sql", op->sql);
    set_text(object, "state", op->state_bound);
    if (op->cut_applies) json_object_set_new(object, "cut_applies", json_true());
    if (op->guard) json_object_set_new(object, "guarded", json_true());
    if (op->evict || op->apart.known) json_object_set_new(object, "evict", json_true());
    if (op->close_key >= 0) set_text(object, "published_when_closed", op->schema.fields[op->close_key].name);
    if (json_array_size(times)) json_object_set(object, "event_times", times);
    if (json_array_size(expressions)) json_object_set(object, "expressions", expressions);
    json_decref(times);
    json_decref(expressions);
    leat_buffer_deinit(&detail);
    return object;
}

static void explain_json(const struct leat_project *project, const struct leat_table *table,
                         const struct leat_plan *plan, struct leat_buffer *out) {
    json_t *ops = json_array();
    for (size_t i = 0; i < plan->op_count; i++)
        json_array_append_new(ops, op_json(project, plan, i));
    json_t *object =
        json_pack("{s:s,s:i,s:s,s:o,s:o,s:s,s:b}", "table", table->name, "class", plan->incremental_class, "class_name",
                  class_names[plan->incremental_class], "columns", columns_json(&plan->schema), "operators", ops,
                  "completed_sql", plan->completed_sql, "has_cut", (int)plan->has_cut);
    set_text(object, "full_reason", plan->full_reason);
    if (table->frozen.column)
        json_object_set_new(object, "frozen", json_pack("{s:s,s:s,s:s}", "column", table->frozen.column, "operator", table->frozen.inclusive ? "<=" : "<", "bound",
                                                        table->frozen.bound));
    char *text = json_dumps(object, JSON_INDENT(2));
    leat_put(out, text ? text : "{}");
    leat_put(out, "\n");
    free(text);
    json_decref(object);
}

void leat_plan_explain(const struct leat_project *project, const struct leat_table *table, const struct leat_plan *plan,
                       bool json, struct leat_buffer *out) {
    if (json)
        explain_json(project, table, plan, out);
    else
        explain_text(project, table, plan, out);
}
