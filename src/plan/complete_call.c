/* Completing aggregate and window calls: what of their answer is left to the order of rows gets an order. */
#include <string.h>
#include <strings.h>

#include "plan/complete_internal.h"
#include "plan/functions.h"

static bool named(const char *name, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(name, names[i]) == 0) return true;
    return false;
}
#define NAMED(name, ...)                                                                                               \
    named(name, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static json_t *own_orders(json_t *call) {
    json_t *holder = json_object_get(call, "order_bys"), *orders;
    if (!json_is_object(holder)) {
        holder = json_pack("{s:s,s:[]}", "type", "ORDER_MODIFIER", "orders");
        json_object_set_new(call, "order_bys", holder);
    }
    orders = json_object_get(holder, "orders");
    if (!json_is_array(orders)) {
        orders = json_array();
        json_object_set_new(holder, "orders", orders);
    }
    return orders;
}

/* Equal but for where they stand in the text. */
static bool same_expression(const json_t *a, const json_t *b) {
    if (json_is_object(a) && json_is_object(b)) {
        const char *key;
        json_t *value;
        if (json_object_size(a) != json_object_size(b)) return false;
        json_object_foreach((json_t *)a, key, value) if (strcmp(key, "query_location") != 0 &&
                                                         !same_expression(value, json_object_get(b, key))) return false;
        return true;
    }
    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!same_expression(json_array_get(a, i), json_array_get(b, i))) return false;
        return true;
    }
    return json_equal(a, b);
}

void leat_append_order(json_t *orders, const json_t *expression, bool descending) {
    for (size_t i = 0; i < json_array_size(orders); i++)
        if (same_expression(json_object_get(json_array_get(orders, i), "expression"), expression)) return;
    json_t *copy = json_deep_copy(expression);
    if (json_object_get(copy, "alias")) json_object_set_new(copy, "alias", json_string(""));
    json_array_append_new(orders, json_pack("{s:s,s:s,s:o}", "type", descending ? "DESCENDING" : "ASCENDING",
                                            "null_order", "NULLS LAST", "expression", copy));
}

static json_t *is_not_null(const json_t *expression) {
    return json_pack("{s:s,s:s,s:s,s:[o]}", "class", "OPERATOR", "type", "OPERATOR_IS_NOT_NULL", "alias", "",
                     "children", json_deep_copy(expression));
}

/* first(x ORDER BY y DESC, x) FILTER (x IS NOT NULL AND y IS NOT NULL), as arg_max ignores such rows. */
static void rewrite_arg(json_t *call, bool largest, bool keep_null_value) {
    json_t *children = json_object_get(call, "children");
    json_t *value = json_incref(json_array_get(children, 0)), *by = json_incref(json_array_get(children, 1));
    json_t *orders = own_orders(call), *rest = json_copy(orders), *filter = json_object_get(call, "filter");
    json_t *conditions = json_array();
    json_array_clear(orders);
    leat_append_order(orders, by, largest);
    for (size_t i = 0; i < json_array_size(rest); i++)
        json_array_append(orders, json_array_get(rest, i));
    leat_append_order(orders, value, false);
    if (!keep_null_value) json_array_append_new(conditions, is_not_null(value));
    json_array_append_new(conditions, is_not_null(by));
    if (json_is_object(filter)) json_array_append(conditions, filter);
    if (json_array_size(conditions) == 1)
        json_object_set(call, "filter", json_array_get(conditions, 0));
    else
        json_object_set_new(call, "filter",
                            json_pack("{s:s,s:s,s:s,s:O}", "class", "CONJUNCTION", "type", "CONJUNCTION_AND", "alias",
                                      "", "children", conditions));
    json_object_set_new(call, "function_name", json_string("first"));
    json_object_set_new(call, "distinct", json_false());
    json_array_clear(children);
    json_array_append(children, value);
    json_decref(conditions);
    json_decref(rest);
    json_decref(value);
    json_decref(by);
}

static bool complete_arg(struct leat_completion *c, json_t *call, const char *name) {
    bool largest = NAMED(name, "arg_max", "argmax", "max_by", "arg_max_null", "arg_max_nulls_last");
    bool keep_null = NAMED(name, "arg_max_null", "arg_min_null");
    size_t arguments = leat_json_count(call, "children");
    if (arguments != 2 || NAMED(name, "arg_max_nulls_last", "arg_min_nulls_last"))
        return leat_completion_fail(c, call, "%s with %zu arguments is refused: use list(value ORDER BY by %s)[1:n]",
                                    name, arguments, largest ? "DESC" : "ASC");
    /* Planned, plain arg_min and arg_max stay: the C operator takes the smallest value among ties. */
    if (keep_null || json_array_size(own_orders(call))) {
        rewrite_arg(call, largest, keep_null);
    } else {
        c->differs = true;
        if (c->batch) rewrite_arg(call, largest, keep_null);
    }
    return true;
}

bool leat_complete_call(struct leat_completion *c, struct leat_select *select, json_t *call) {
    const char *name = leat_json_text(call, "function_name");
    json_t *argument = leat_json_at(call, "children", 0);
    (void)select;
    if (!(leat_function_traits(name) & LEAT_FUNCTION_ORDERED) || !argument) return true;
    json_t *orders = own_orders(call);
    if (NAMED(name, "any_value", "arbitrary", "first") && json_array_size(orders) == 0) {
        json_object_set_new(call, "function_name", json_string("min"));
        return true;
    }
    if (strncasecmp(name, "arg", 3) == 0 || NAMED(name, "max_by", "min_by")) {
        if (strcasecmp(name, "array_agg") != 0 && strcasecmp(name, "arbitrary") != 0)
            return complete_arg(c, call, name);
    }
    leat_append_order(orders, argument, false);
    return true;
}

static bool rows_frame(const json_t *window) {
    return strstr(leat_json_text(window, "start"), "_ROWS") || strstr(leat_json_text(window, "end"), "_ROWS");
}

static json_t *member_array(json_t *object, const char *key) {
    json_t *array = json_object_get(object, key);
    if (!json_is_array(array)) {
        array = json_array();
        json_object_set_new(object, key, array);
    }
    return array;
}

/* Inside the frame: the window's own order first, then the value. */
static void complete_inner_order(json_t *window) {
    json_t *inner = member_array(window, "arg_orders"), *orders = json_object_get(window, "orders");
    if (json_array_size(inner) == 0)
        for (size_t i = 0; i < json_array_size(orders); i++) {
            json_t *order = json_deep_copy(json_array_get(orders, i));
            json_array_append_new(inner, order);
        }
    leat_append_order(inner, leat_json_at(window, "children", 0), false);
}

bool leat_complete_window(struct leat_completion *c, struct leat_select *select, json_t *window) {
    const char *name = leat_json_text(window, "function_name"), *type = leat_json_text(window, "type");
    bool by_row = NAMED(name, "row_number", "ntile", "lag", "lead");
    bool by_value = NAMED(name, "first_value", "last_value", "nth_value", "first", "last");
    unsigned traits = leat_function_traits(name);
    if (strcasecmp(name, "fill") == 0)
        return leat_completion_fail(c, window, "fill() is refused: it interpolates between arbitrary rows");
    if (strcmp(type, "WINDOW_AGGREGATE") == 0 && NAMED(name, "any_value", "arbitrary")) {
        json_object_set_new(window, "function_name", json_string("min"));
    } else if (strcmp(type, "WINDOW_AGGREGATE") == 0 &&
               (strncasecmp(name, "arg_", 4) == 0 || NAMED(name, "argmax", "argmin", "max_by", "min_by"))) {
        return leat_completion_fail(c, window,
                                    "%s as a window function is refused, since its ties cannot be completed: use "
                                    "first_value(value ORDER BY by) OVER (...), or GROUP BY and a join",
                                    name);
    } else if (by_value || (strcmp(type, "WINDOW_AGGREGATE") == 0 && traits & LEAT_FUNCTION_ORDERED)) {
        if (!rows_frame(window) || json_array_size(json_object_get(window, "arg_orders"))) complete_inner_order(window);
    }
    if (!by_row && !rows_frame(window)) return true;
    json_t *columns = leat_select_columns(c, select), *orders = member_array(window, "orders");
    if (!columns) return false;
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const json_t *column = json_array_get(columns, i);
        bool partition = false;
        for (size_t k = 0; k < leat_json_count(window, "partitions"); k++)
            partition = partition || same_expression(leat_json_at(window, "partitions", k), column);
        if (!partition) leat_append_order(orders, column, false);
    }
    return true;
}
