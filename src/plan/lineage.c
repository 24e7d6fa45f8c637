/* Follows a column of a bound plan down to the scan it comes from, through operators that pass values on unchanged. */
#include "plan/lineage.h"

#include <string.h>

/* Number of output columns; false where it is not needed to know. */
static bool width_of(const json_t *node, size_t *out) {
    const char *type = leat_json_text(node, "type");
    const json_t *child = leat_json_at(node, "children", 0);
    if (strcmp(type, "LOGICAL_GET") == 0) {
        *out = leat_json_count(node, "projection_ids") ? leat_json_count(node, "projection_ids")
                                                       : leat_json_count(node, "column_indexes");
        return true;
    }
    if (strcmp(type, "LOGICAL_PROJECTION") == 0) {
        *out = leat_json_count(node, "expressions");
        return true;
    }
    if (strcmp(type, "LOGICAL_FILTER") == 0 && leat_json_count(node, "projection_map")) {
        *out = leat_json_count(node, "projection_map");
        return true;
    }
    if (strcmp(type, "LOGICAL_AGGREGATE_AND_GROUP_BY") == 0) {
        *out = leat_json_count(node, "groups") + leat_json_count(node, "expressions") +
               leat_json_count(node, "grouping_functions");
        return true;
    }
    if (strcmp(type, "LOGICAL_FILTER") == 0 || strcmp(type, "LOGICAL_DISTINCT") == 0 ||
        strcmp(type, "LOGICAL_LIMIT") == 0 || strcmp(type, "LOGICAL_ORDER_BY") == 0)
        return width_of(child, out);
    if (strcmp(type, "LOGICAL_WINDOW") == 0) {
        if (!width_of(child, out)) return false;
        *out += leat_json_count(node, "expressions");
        return true;
    }
    if (strcmp(type, "LOGICAL_COMPARISON_JOIN") == 0 && !leat_json_count(node, "left_projection_map") &&
        !leat_json_count(node, "right_projection_map")) {
        size_t right = 0;
        bool narrow = leat_json_is(node, "join_type", "SEMI") || leat_json_is(node, "join_type", "ANTI");
        if (!width_of(child, out) || (!narrow && !width_of(leat_json_at(node, "children", 1), &right))) return false;
        *out += right;
        return true;
    }
    return false;
}

static bool mapped(const json_t *map, size_t *column) {
    if (json_array_size(map) == 0) return true;
    if (*column >= json_array_size(map)) return false;
    *column = (size_t)json_integer_value(json_array_get(map, *column));
    return true;
}

/* One step down: the child and its column, or false. */
static bool step_down(const json_t **node, size_t *column) {
    const char *type = leat_json_text(*node, "type");
    const json_t *child = leat_json_at(*node, "children", 0), *expressions = NULL;
    size_t width;
    if (strcmp(type, "LOGICAL_PROJECTION") == 0)
        expressions = json_object_get(*node, "expressions");
    else if (strcmp(type, "LOGICAL_AGGREGATE_AND_GROUP_BY") == 0)
        expressions = json_object_get(*node, "groups");
    if (expressions) {
        if (!leat_bound_is_ref(json_array_get(expressions, *column), column)) return false;
    } else if (strcmp(type, "LOGICAL_FILTER") == 0) {
        if (!mapped(json_object_get(*node, "projection_map"), column)) return false;
    } else if (strcmp(type, "LOGICAL_ORDER_BY") == 0) {
        if (!mapped(json_object_get(*node, "projections"), column)) return false;
    } else if (strcmp(type, "LOGICAL_COMPARISON_JOIN") == 0) {
        if (!width_of(*node, &width) || !width_of(child, &width)) return false;
        if (*column >= width) *column -= width, child = leat_json_at(*node, "children", 1);
    } else if (strcmp(type, "LOGICAL_WINDOW") == 0) {
        if (!width_of(child, &width) || *column >= width) return false;
    } else if (strcmp(type, "LOGICAL_DISTINCT") != 0 && strcmp(type, "LOGICAL_LIMIT") != 0) {
        return false;
    }
    *node = child;
    return child != NULL;
}

bool leat_is_event_time(struct leat_conn *plan_conn, const json_t *node, size_t column) {
    uint64_t position;
    while (!leat_json_is(node, "type", "LOGICAL_GET"))
        if (!step_down(&node, &column)) return false;
    if (leat_json_count(node, "projection_ids"))
        column = (size_t)json_integer_value(leat_json_at(node, "projection_ids", column));
    if (!leat_json_uint64(json_object_get(leat_json_at(node, "column_indexes", column), "index"), &position))
        return false;
    int64_t event_time = leat_conn_noted(plan_conn, leat_json_text(leat_json_at(node, "parameters", 0), "value"));
    return event_time >= 0 && position == (uint64_t)event_time;
}
