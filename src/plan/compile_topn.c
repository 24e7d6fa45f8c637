/* The first rows of each key, or of everything: LIMIT and row_number() compared with constants become TOP_N. */
#include <stdlib.h>

#include "plan/compile.h"

enum { MOST_PLACES = 1000000 };

bool leat_compile_top_n(struct leat_compile *c, const json_t *targets, const json_t *by, struct leat_places places,
                        struct leat_rel *rel, struct leat_rel *out) {
    size_t visible = rel->count, key_count = json_array_size(targets), order_count;
    uint16_t *keys = leat_arena_alloc(&c->arena, (key_count + 1) * sizeof *keys);
    struct leat_order *orders;
    if (places.last - places.first >= MOST_PLACES)
        return leat_compile_refuse(c, "more than %d rows of one key by LIMIT or row_number()", MOST_PLACES);
    if (!leat_compile_total_order(c, targets, by, rel, keys, &orders, &order_count) || !leat_rel_flush(c, rel))
        return false;
    int index = leat_emit(c, LEAT_OP_TOP_N, rel->op, -1);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *child = &c->plan->ops[rel->op];
    op->key_count = key_count;
    op->keys = leat_alloc((key_count + 1) * sizeof *op->keys);
    memcpy(op->keys, keys, key_count * sizeof *keys);
    op->order_count = order_count;
    op->orders = leat_alloc((order_count + 1) * sizeof *op->orders);
    memcpy(op->orders, orders, order_count * sizeof *orders);
    op->skip = places.first - 1;
    op->take = places.last - places.first + 1;
    op->ranked = places.shown;
    op->forgets = child->append_only;
    for (size_t i = 0; i < rel->count; i++)
        leat_emit_column(op, rel->columns[i].name, rel->columns[i].type, rel->columns[i].not_null);
    if (op->ranked) leat_emit_column(op, "place", (struct leat_type){.kind = LEAT_BIGINT}, true);
    for (size_t i = 0; i < child->time_count; i++)
        for (size_t k = 0; k < key_count; k++)
            if (keys[k] == child->times[i].column)
                leat_emit_time(op, keys[k], child->times[i].span_us, child->times[i].object);
    for (size_t k = 0; k < key_count; k++) {
        const struct leat_local *l = leat_op_local(child, keys[k]);
        if (l) leat_emit_local(op, l->column, l);
    }
    op->incremental_class = 6;
    op->why = leat_strdup("the rows of each key in order: only what moves inside the places asked for changes");
    if (child->append_only)
        op->state_bound =
            leat_asprintf("the first %lld rows%s", (long long)places.last, key_count ? " of every key ever seen" : "");
    else
        op->state_bound =
            leat_strdup(key_count ? "unbounded: all rows of every key are kept" : "unbounded: all rows are kept");
    size_t place = rel->count;
    bool ranked = op->ranked;
    if (!leat_emit_done(c, &index)) return false;
    struct leat_rel whole;
    leat_rel_of_op(c, index, &whole);
    leat_rel_start(c, &whole, visible + 1, out);
    for (size_t i = 0; i < visible; i++)
        out->columns[out->count++] = whole.columns[i];
    if (ranked) out->columns[out->count++] = whole.columns[place];
    return true;
}

/* ---- LIMIT */

static bool constant_limit(const json_t *value, int64_t without, int64_t *out) {
    if (leat_json_is(value, "type", "UNSET")) {
        *out = without;
        return true;
    }
    *out = leat_json_int(value, "constant_integer");
    return leat_json_is(value, "type", "CONSTANT_VALUE") && *out >= 0;
}

bool leat_compile_limit(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    const json_t *order = leat_json_at(node, "children", 0);
    struct leat_rel rel;
    int64_t limit, offset;
    if (!leat_json_is(order, "type", "LOGICAL_ORDER_BY") ||
        !constant_limit(json_object_get(node, "limit_val"), INT64_MAX, &limit) ||
        !constant_limit(json_object_get(node, "offset_val"), 0, &offset) || offset > INT64_MAX / 4 || limit == 0 ||
        limit > INT64_MAX / 4)
        return leat_compile_refuse(
            c, "LIMIT and OFFSET that are not numbers above zero, or OFFSET without LIMIT: one change "
               "can move every row; use LIMIT with a number, or SCHEDULE");
    if (!leat_compile_node(c, leat_json_at(order, "children", 0), &rel)) return false;
    struct leat_places places = {.first = offset + 1, .last = offset + limit};
    if (!leat_compile_top_n(c, NULL, json_object_get(order, "orders"), places, &rel, out)) return false;
    leat_rel_keep(c, json_object_get(order, "projections"), out);
    return true;
}

/* ---- row_number() */

static bool is_column(const json_t *e, size_t at) {
    size_t ref;
    return leat_bound_is_ref(e, &ref) && ref == at;
}

static bool constant_place(const json_t *e, int64_t *number) {
    return leat_bound_int_constant(e, number) && *number <= INT32_MAX && *number >= INT32_MIN;
}

static void from_place(struct leat_places *places, int64_t first) {
    if (first > places->first) places->first = first;
}

static void to_place(struct leat_places *places, int64_t last) {
    if (last < places->last) places->last = last;
}

static bool narrow_between(const json_t *e, size_t at, struct leat_places *places) {
    int64_t lower, upper;
    if (!is_column(json_object_get(e, "input"), at) || !constant_place(json_object_get(e, "lower"), &lower) ||
        !constant_place(json_object_get(e, "upper"), &upper))
        return false;
    from_place(places, lower + !leat_json_true(e, "lower_inclusive"));
    to_place(places, upper - !leat_json_true(e, "upper_inclusive"));
    return true;
}

static bool narrow_comparison(const json_t *e, size_t at, struct leat_places *places) {
    const char *type = leat_json_text(e, "type");
    int64_t number;
    if (!is_column(json_object_get(e, "left"), at) || !constant_place(json_object_get(e, "right"), &number))
        return false;
    bool equal = strcmp(type, "COMPARE_EQUAL") == 0;
    if (equal || strcmp(type, "COMPARE_GREATERTHANOREQUALTO") == 0) from_place(places, number);
    if (equal || strcmp(type, "COMPARE_LESSTHANOREQUALTO") == 0) to_place(places, number);
    if (strcmp(type, "COMPARE_GREATERTHAN") == 0) from_place(places, number + 1);
    if (strcmp(type, "COMPARE_LESSTHAN") == 0) to_place(places, number - 1);
    return equal || strncmp(type, "COMPARE_LESSTHAN", 16) == 0 || strncmp(type, "COMPARE_GREATERTHAN", 19) == 0;
}

/* Narrows `places` by a condition of nothing but comparisons of the column `at` with constants; false: another kind. */
static bool narrow(const json_t *condition, size_t at, struct leat_places *places) {
    struct leat_places all = *places;
    if (leat_json_is(condition, "type", "COMPARE_BETWEEN")) return narrow_between(condition, at, places);
    if (!leat_json_is(condition, "type", "CONJUNCTION_AND")) return narrow_comparison(condition, at, places);
    for (size_t i = 0; i < leat_json_count(condition, "children"); i++)
        if (!narrow(leat_json_at(condition, "children", i), at, &all)) return false;
    *places = all;
    return true;
}

/* The one row_number() that all windows of the node are; NULL: there are others. */
static const json_t *only_row_number(const json_t *windows) {
    const json_t *window = leat_json_at(windows, "expressions", 0);
    if (!leat_json_is(windows, "type", "LOGICAL_WINDOW")) return NULL;
    for (size_t i = 0; i < leat_json_count(windows, "expressions"); i++) { /* one selected, the same tested */
        const json_t *other = leat_json_at(windows, "expressions", i);
        if (!leat_json_is(other, "type", "WINDOW_ROW_NUMBER") || leat_json_count(other, "arg_orders") ||
            !json_equal(json_object_get(other, "partitions"), json_object_get(window, "partitions")) ||
            !json_equal(json_object_get(other, "orders"), json_object_get(window, "orders")))
            return NULL;
    }
    return window;
}

/* Is a column of the windows, which follow the child's `width` columns, passed on by the filter? */
static bool shows_place(const json_t *filter, size_t width) {
    const json_t *map = json_object_get(filter, "projection_map");
    for (size_t i = 0; i < json_array_size(map); i++)
        if ((size_t)json_integer_value(json_array_get(map, i)) >= width) return true;
    return json_array_size(map) == 0;
}

static bool answers(const json_t *condition, size_t width, size_t windows, struct leat_places *places) {
    bool answered = false;
    for (size_t k = 0; k < windows; k++)
        answered = answered || narrow(condition, width + k, places);
    return answered;
}

/* The child's columns and, for each window, the place. */
static void append_places(struct leat_compile *c, struct leat_rel *rel, size_t width, size_t windows,
                          const struct leat_places *places) {
    struct leat_rel wide;
    struct leat_rel_column place;
    if (places->shown && places->first == places->last)
        place = leat_rel_text(c, (struct leat_type){.kind = LEAT_BIGINT}, false, "CAST(%lld AS BIGINT)",
                              (long long)places->first);
    else if (places->shown)
        place = rel->columns[width];
    else
        place = leat_rel_text(c, (struct leat_type){.kind = LEAT_BIGINT}, false, "CAST(NULL AS BIGINT)");
    place.not_null = places->shown;
    leat_rel_start(c, rel, width + windows, &wide);
    memcpy(wide.columns, rel->columns, width * sizeof *wide.columns);
    wide.count = width;
    for (size_t k = 0; k < windows; k++)
        wide.columns[wide.count++] = place;
    *rel = wide;
}

bool leat_compile_first_rows(struct leat_compile *c, const json_t *filter, struct leat_rel *out, bool *done) {
    const json_t *windows = leat_json_at(filter, "children", 0), *window = only_row_number(windows);
    size_t count = leat_json_count(windows, "expressions");
    struct leat_places places = {.first = 1, .last = INT64_MAX};
    struct leat_rel child;
    *done = false;
    if (!window) return true;
    if (!leat_compile_node(c, leat_json_at(windows, "children", 0), &child)) return false;
    size_t width = child.count;
    for (size_t i = 0; i < leat_json_count(filter, "expressions"); i++)
        answers(leat_json_at(filter, "expressions", i), width, count, &places);
    if (places.last == INT64_MAX || places.last < places.first) return true;
    const json_t *partitions = json_object_get(window, "partitions"), *orders = json_object_get(window, "orders");
    places.shown = shows_place(filter, width);
    struct leat_places asked = places;
    asked.shown = places.shown && places.first != places.last; /* else the place is a constant */
    bool keyed_first = places.first == 1 && places.last == 1 && json_array_size(partitions);
    if (keyed_first ? !leat_compile_first(c, partitions, orders, &child, out)
                    : !leat_compile_top_n(c, partitions, orders, asked, &child, out))
        return false;
    append_places(c, out, width, count, &places);
    for (size_t i = 0; i < leat_json_count(filter, "expressions"); i++)
        if (!answers(leat_json_at(filter, "expressions", i), width, count, &places) &&
            !leat_rel_filter(c, out, leat_json_at(filter, "expressions", i)))
            return false;
    *done = true;
    return true;
}
