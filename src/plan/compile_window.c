/* WINDOW: recomputed by DuckDB for the partitions that changed (class 6). */
#include <stdlib.h>
#include <string.h>

#include "plan/compile.h"
#include "plan/functions.h"

struct window_name {
    const char *type, *name;
    bool framed; /* the frame matters */
};
static const struct window_name window_names[] = {
    {"WINDOW_ROW_NUMBER", "row_number", false},
    {"WINDOW_RANK", "rank", false},
    {"WINDOW_RANK_DENSE", "dense_rank", false},
    {"WINDOW_PERCENT_RANK", "percent_rank", false},
    {"WINDOW_CUME_DIST", "cume_dist", false},
    {"WINDOW_NTILE", "ntile", false},
    {"WINDOW_LEAD", "lead", false},
    {"WINDOW_LAG", "lag", false},
    {"WINDOW_FIRST_VALUE", "first_value", true},
    {"WINDOW_LAST_VALUE", "last_value", true},
    {"WINDOW_NTH_VALUE", "nth_value", true},
};

struct windowing {
    const json_t *node;
    struct leat_rel rel; /* the child's columns, then partition columns that are expressions */
    size_t visible, window_count;
    struct leat_expression_writer writer;
    struct leat_buffer sql; /* of the window being written */
    bool can_fail;
    const char **texts; /* the different windows */
    const json_t **windows;
    size_t text_count;
    size_t *text_of; /* per window of the plan */
};

static bool write(struct leat_compile *c, struct windowing *w, const json_t *e) {
    return leat_expression_write(&w->writer, e, &w->sql, &w->can_fail) || leat_compile_refuse(c, "%s", w->writer.why);
}

static const char *function_name(const json_t *window) {
    const char *type = leat_json_text(window, "type"), *name = leat_json_text(window, "name");
    struct leat_type argument = leat_bound_type(leat_bound_expression_type(leat_json_at(window, "children", 0)));
    if (strcmp(type, "WINDOW_AGGREGATE") == 0) {
        if (strcmp(name, "count_star") == 0) return "count";
        if (argument.kind == LEAT_HUGEINT && strcmp(name, "sum") == 0) return "leat_sum_huge"; /* likewise */
        if (argument.kind == LEAT_DOUBLE && leat_json_count(window, "children") == 1) {
            if (strcmp(name, "sum") == 0) return "leat_sum"; /* exact: the order of rows does not matter */
            if (strcmp(name, "avg") == 0 || strcmp(name, "mean") == 0) return "leat_avg";
        }
        return leat_function_traits(name) & LEAT_FUNCTION_AGGREGATE ? name : NULL;
    }
    for (size_t i = 0; i < sizeof window_names / sizeof *window_names; i++)
        if (strcmp(window_names[i].type, type) == 0) return window_names[i].name;
    return NULL;
}

static bool write_call(struct leat_compile *c, struct windowing *w, const json_t *window) {
    const char *name = function_name(window);
    const json_t *children = json_object_get(window, "children"), *data = json_object_get(window, "function_data");
    const json_t *offset = json_object_get(window, "offset_expr"), *fallback = json_object_get(window, "default_expr");
    if (!name)
        return leat_compile_refuse(c, "window function %s %s", leat_json_text(window, "type"),
                                   leat_json_text(window, "name"));
    if (json_object_get(data, "quantiles"))
        return leat_compile_refuse(c, "a quantile over a window; compute it per group and join, or use SCHEDULE");
    leat_putf(&w->sql, "%s(%s", name, leat_json_true(window, "distinct") ? "DISTINCT " : "");
    for (size_t i = 0; i < json_array_size(children); i++) {
        if (i) leat_put(&w->sql, ", ");
        if (!write(c, w, json_array_get(children, i))) return false;
    }
    if (json_array_size(children) == 0 && leat_json_is(window, "type", "WINDOW_AGGREGATE")) leat_put(&w->sql, "*");
    if (json_object_get(data, "separator")) {
        leat_put(&w->sql, ", ");
        leat_put_sql_string(&w->sql, leat_json_text(data, "separator"));
    }
    if (json_is_object(fallback) && !json_is_object(offset)) leat_put(&w->sql, ", 1");
    for (int k = 0; k < 2; k++) {
        const json_t *more = k ? fallback : offset;
        if (!json_is_object(more)) continue;
        leat_put(&w->sql, ", ");
        if (!write(c, w, more)) return false;
    }
    const json_t *orders = json_object_get(window, "arg_orders");
    if (json_array_size(orders)) leat_put(&w->sql, " ORDER BY ");
    if (!leat_expression_write_orders(&w->writer, orders, &w->sql, &w->can_fail))
        return leat_compile_refuse(c, "%s", w->writer.why);
    leat_put(&w->sql, leat_json_true(window, "ignore_nulls") ? " IGNORE NULLS)" : ")");
    return true;
}

/* The binder turns RANGE offsets into absolute bounds, order - x for PRECEDING under ASC; x is wanted back. */
static const json_t *range_offset(const json_t *window, const json_t *bound, bool preceding) {
    const json_t *order = leat_json_at(window, "orders", 0), *left = leat_json_at(bound, "children", 0);
    bool minus = preceding != leat_json_is(order, "type", "DESCENDING");
    size_t a, b;
    if (!leat_json_is(bound, "name", minus ? "-" : "+") || leat_json_count(bound, "children") != 2) return NULL;
    if (!leat_bound_is_ref(left, &a) || !leat_bound_is_ref(json_object_get(order, "expression"), &b) || a != b)
        return NULL;
    return leat_json_at(bound, "children", 1);
}

static bool write_bound(struct leat_compile *c, struct windowing *w, const json_t *window, const char *which,
                        const char *expression) {
    const char *bound = leat_json_text(window, which);
    const json_t *e = json_object_get(window, expression);
    if (strcmp(bound, "UNBOUNDED_PRECEDING") == 0)
        leat_put(&w->sql, "UNBOUNDED PRECEDING");
    else if (strcmp(bound, "UNBOUNDED_FOLLOWING") == 0)
        leat_put(&w->sql, "UNBOUNDED FOLLOWING");
    else if (strncmp(bound, "CURRENT_ROW", 11) == 0)
        leat_put(&w->sql, "CURRENT ROW");
    else {
        bool preceding = strncmp(bound, "EXPR_PRECEDING", 14) == 0;
        if (strstr(bound, "_RANGE")) e = range_offset(window, e, preceding);
        if (!e) return leat_compile_refuse(c, "a window frame RANGE over an expression; order by a plain column");
        if (!write(c, w, e)) return false;
        leat_put(&w->sql, preceding ? " PRECEDING" : " FOLLOWING");
    }
    return true;
}

static const char *frame_mode(const json_t *window) {
    const char *start = leat_json_text(window, "start"), *end = leat_json_text(window, "end");
    if (strstr(start, "_ROWS") || strstr(end, "_ROWS")) return "ROWS";
    if (strstr(start, "_GROUPS") || strstr(end, "_GROUPS")) return "GROUPS";
    return "RANGE";
}

static bool write_frame(struct leat_compile *c, struct windowing *w, const json_t *window) {
    const char *exclude = leat_json_text(window, "exclude_clause");
    bool usual =
        leat_json_is(window, "start", "UNBOUNDED_PRECEDING") && leat_json_is(window, "end", "CURRENT_ROW_RANGE");
    if (usual && strcmp(exclude, "NO_OTHER") == 0) return true;
    leat_putf(&w->sql, " %s BETWEEN ", frame_mode(window));
    if (!write_bound(c, w, window, "start", "start_expr")) return false;
    leat_put(&w->sql, " AND ");
    if (!write_bound(c, w, window, "end", "end_expr")) return false;
    if (strcmp(exclude, "CURRENT_ROW") == 0)
        leat_put(&w->sql, " EXCLUDE CURRENT ROW");
    else if (strcmp(exclude, "GROUP") == 0)
        leat_put(&w->sql, " EXCLUDE GROUP");
    else if (strcmp(exclude, "TIES") == 0)
        leat_put(&w->sql, " EXCLUDE TIES");
    return true;
}

static bool write_window(struct leat_compile *c, struct windowing *w, const json_t *window) {
    const json_t *partitions = json_object_get(window, "partitions"), *orders = json_object_get(window, "orders");
    const json_t *filter = json_object_get(window, "filters");
    if (!write_call(c, w, window)) return false;
    if (json_is_object(filter)) {
        leat_put(&w->sql, " FILTER (WHERE ");
        if (!write(c, w, filter)) return false;
        leat_put(&w->sql, ")");
    }
    leat_put(&w->sql, " OVER (PARTITION BY ");
    for (size_t i = 0; i < json_array_size(partitions); i++) {
        if (i) leat_put(&w->sql, ", ");
        if (!write(c, w, json_array_get(partitions, i))) return false;
    }
    if (json_array_size(orders)) leat_put(&w->sql, " ORDER BY ");
    if (!leat_expression_write_orders(&w->writer, orders, &w->sql, &w->can_fail))
        return leat_compile_refuse(c, "%s", w->writer.why);
    if (!write_frame(c, w, window)) return false;
    leat_put(&w->sql, ")");
    return true;
}

/* Equal windows, such as one selected and tested by QUALIFY, are computed once. */
static bool write_windows(struct leat_compile *c, struct windowing *w) {
    w->texts = leat_arena_alloc(&c->arena, (w->window_count + 1) * sizeof *w->texts);
    w->windows = leat_arena_alloc(&c->arena, (w->window_count + 1) * sizeof *w->windows);
    w->text_of = leat_arena_alloc(&c->arena, (w->window_count + 1) * sizeof *w->text_of);
    for (size_t i = 0; i < w->window_count; i++) {
        size_t at = 0;
        leat_buffer_reset(&w->sql);
        if (!write_window(c, w, leat_json_at(w->node, "expressions", i))) return false;
        while (at < w->text_count && strcmp(w->texts[at], w->sql.data) != 0)
            at++;
        w->text_of[i] = at;
        if (at < w->text_count) continue;
        w->windows[w->text_count] = leat_json_at(w->node, "expressions", i);
        w->texts[w->text_count++] = leat_arena_copy(&c->arena, w->sql.data, w->sql.length);
    }
    return true;
}

/* Columns that every window partitions by; they become keys. */
static bool common_partitions(struct leat_compile *c, struct windowing *w, uint16_t **keys, size_t *key_count) {
    const struct leat_rel child = w->rel;
    size_t *seen = NULL, widest = 0;
    for (size_t i = 0; i < w->window_count; i++)
        widest += leat_json_count(leat_json_at(w->node, "expressions", i), "partitions");
    seen = leat_arena_alloc(&c->arena, (child.count + widest + 1) * sizeof *seen);
    memset(seen, 0, (child.count + widest + 1) * sizeof *seen);
    for (size_t i = 0; i < w->window_count; i++) {
        const json_t *window = leat_json_at(w->node, "expressions", i);
        for (size_t k = 0; k < leat_json_count(window, "partitions"); k++) {
            struct leat_rel_column column;
            if (!leat_rel_expression(c, &child, leat_json_at(window, "partitions", k), &column)) return false;
            size_t at = leat_rel_add(c, &w->rel, &column);
            if (seen[at] == i) seen[at] = i + 1;
        }
    }
    *keys = leat_arena_alloc(&c->arena, (w->rel.count + 1) * sizeof **keys);
    *key_count = 0;
    for (size_t at = 0; at < w->rel.count; at++)
        if (seen[at] == w->window_count) (*keys)[(*key_count)++] = (uint16_t)at;
    return true;
}

static bool emit_window(struct leat_compile *c, struct windowing *w, const uint16_t *keys, size_t key_count,
                        struct leat_rel *out) {
    int index = leat_emit(c, LEAT_OP_RECOMPUTE, w->rel.op, -1);
    struct leat_op *op = &c->plan->ops[index];
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT ");
    for (size_t i = 0; i < w->rel.count; i++)
        leat_putf(&sql, "%sc%zu", i ? ", " : "", i);
    for (size_t i = 0; i < w->text_count; i++)
        leat_putf(&sql, ", %s", w->texts[i]);
    leat_put(&sql, " FROM leat_input('in')");
    op->sql = sql.data;
    op->key_count = key_count;
    op->keys = leat_alloc((key_count + 1) * sizeof *op->keys);
    memcpy(op->keys, keys, key_count * sizeof *op->keys);
    for (size_t i = 0; i < w->rel.count; i++)
        leat_emit_column(op, w->rel.columns[i].name, w->rel.columns[i].type, w->rel.columns[i].not_null);
    for (size_t k = 0; k < key_count; k++) {
        const struct leat_rel_column *column = &w->rel.columns[keys[k]];
        leat_emit_times(op, keys[k], column);
    }
    for (size_t i = 0; i < w->text_count; i++) {
        const json_t *window = w->windows[i];
        const char *alias = leat_json_text(window, "alias");
        leat_emit_column(op, *alias ? alias : function_name(window),
                         leat_bound_type(leat_bound_expression_type(window)), false);
    }
    op->incremental_class = 6;
    op->why = leat_strdup("window functions: changed partitions are computed again");
    op->state_bound = leat_strdup("unbounded: all rows of every partition are kept");
    if (!leat_emit_done(c, &index)) return false;
    struct leat_rel whole;
    leat_rel_of_op(c, index, &whole);
    leat_rel_start(c, &whole, w->visible + w->window_count, out);
    for (size_t i = 0; i < w->visible; i++)
        out->columns[out->count++] = whole.columns[i];
    for (size_t i = 0; i < w->window_count; i++)
        out->columns[out->count++] = whole.columns[w->rel.count + w->text_of[i]];
    return true;
}

/* Which columns follow event time below the window functions: SESSION's end does so above them too. */
static struct leat_rel_column *remember_times(struct leat_compile *c, const struct leat_rel *rel) {
    struct leat_rel_column *before = leat_arena_alloc(&c->arena, (rel->count + 1) * sizeof *before);
    memcpy(before, rel->columns, rel->count * sizeof *before);
    return before;
}

static void keep_session_times(const struct leat_rel_column *before, size_t count, struct leat_rel *out) {
    for (size_t i = 0; i < count; i++) {
        if (out->columns[i].has_time || !(before[i].has_time || before[i].session_time)) continue;
        out->columns[i].session_time = true;
        out->columns[i].span_us = before[i].span_us;
        out->columns[i].time_object = before[i].time_object;
    }
}

bool leat_compile_window(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct windowing w = {.node = node, .window_count = leat_json_count(node, "expressions")};
    uint16_t *keys;
    size_t key_count;
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &w.rel)) return false;
    w.visible = w.rel.count;
    const struct leat_rel_column *before = remember_times(c, &w.rel);
    if (!common_partitions(c, &w, &keys, &key_count)) return false;
    if (key_count == 0)
        return leat_compile_refuse(
            c, "window functions without a PARTITION BY column that all of them share: one change can touch every "
               "row; add PARTITION BY or use SCHEDULE");
    if (!leat_rel_flush(c, &w.rel)) return false;
    leat_rel_writer(c, &w.rel, &w.writer);
    bool ok = write_windows(c, &w) && emit_window(c, &w, keys, key_count, out);
    if (ok) keep_session_times(before, w.visible, out);
    leat_buffer_deinit(&w.sql);
    return ok;
}
