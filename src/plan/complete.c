/* Walks a query's syntax tree: refuses what has no single answer, and gives every choice among equal rows a total
 * order, so that DuckDB has only one answer left.
 *
 *   LIMIT, OFFSET                  ORDER BY gets all output columns, by position
 *   DISTINCT ON                    the same, event time before the others; completed text: by row_number (complete_distinct.c)
 *   row_number, ntile, lag, lead,
 *   ROWS frames                    OVER's ORDER BY gets all columns of FROM (after GROUP BY: the group's)
 *   first_value ... in RANGE       the argument is ordered by OVER's order, then by itself
 *   list, string_agg, mode, ...    the argument is ordered by itself
 *   any_value, first               min
 *   arg_min, arg_max               completed text only: first(x ORDER BY y, x) FILTER (both NOT NULL)
 *
 * rank and its relatives, and aggregates over RANGE or GROUPS frames, treat equal rows alike already: an order
 * added there would change their answer. */
#include "plan/complete.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "plan/complete_internal.h"
#include "plan/functions.h"
#include "plan/lineage.h"

#define MAX_DEPTH 1000

static bool walk(struct leat_completion *c, struct leat_select *select, json_t *value);
static bool walk_query(struct leat_completion *c, json_t *node);

/* The first place known in a tree; -1: none. */
static int find_place(const json_t *value) {
    const json_t *at = json_object_get(value, "query_location");
    const char *key;
    json_t *member;
    int place = -1;
    if (json_is_integer(at)) return (int)json_integer_value(at);
    for (size_t i = 0; place < 0 && i < json_array_size(value); i++)
        place = find_place(json_array_get(value, i));
    if (json_is_object(value))
        json_object_foreach((json_t *)value, key, member) if (place < 0) place = find_place(member);
    return place;
}

bool leat_completion_fail(struct leat_completion *c, const json_t *location, const char *format, ...) {
    char text[LEAT_ERROR_TEXT_SIZE];
    va_list args;
    if (c->status) return false;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->status = leat_fail(c->err, LEAT_UNSUPPORTED, "%s", text);
    c->error_offset = find_place(location);
    return false;
}

static bool failed_check(struct leat_completion *c, const json_t *location, enum leat_status status) {
    if (!status) return true;
    c->error_offset = find_place(location);
    c->status = status;
    return false;
}

/* ---- describing parts of the query */

static json_t *statement_of(const json_t *node) {
    return json_pack("{s:b,s:[{s:O}]}", "error", 0, "statements", "node", node);
}

static char *node_text(struct leat_completion *c, const json_t *node, struct leat_error *err) {
    json_t *copy = json_deep_copy(node), *statement, *map = json_array();
    char *json, *sql = NULL;
    json_array_extend(map, c->scope);
    json_array_extend(map, json_object_get(json_object_get(copy, "cte_map"), "map"));
    json_object_set_new(copy, "cte_map", json_pack("{s:o}", "map", map));
    statement = statement_of(copy);
    json = leat_json_dump(statement);
    if (leat_conn_unparse(c->conn, json, &sql, err)) sql = NULL;
    free(json);
    json_decref(statement);
    json_decref(copy);
    return sql;
}

bool leat_describe_node(struct leat_completion *c, const json_t *node, struct leat_schema *out) {
    struct leat_error ignored = {0};
    char *sql = node_text(c, node, &ignored);
    bool ok = sql && leat_conn_describe(c->conn, sql, out, &ignored) == LEAT_OK;
    free(sql);
    return ok;
}

/* SELECT <items> FROM the same relations. */
static json_t *select_over(const json_t *node, json_t *items) {
    static const char *const keep[] = {"type", "from_table"};
    json_t *result = json_pack("{s:[],s:{s:[]},s:O,s:n,s:[],s:[],s:s,s:n,s:n,s:n}", "modifiers", "cte_map", "map",
                               "select_list", items, "where_clause", "group_expressions", "group_sets",
                               "aggregate_handling", "STANDARD_HANDLING", "having", "sample", "qualify");
    for (size_t i = 0; i < sizeof keep / sizeof *keep; i++)
        json_object_set(result, keep[i], json_object_get(node, keep[i]));
    json_object_set(result, "cte_map", json_object_get(node, "cte_map"));
    return result;
}

bool leat_has_aggregate(const json_t *e) {
    if (json_is_array(e)) {
        for (size_t i = 0; i < json_array_size(e); i++)
            if (leat_has_aggregate(json_array_get(e, i))) return true;
        return false;
    }
    if (!json_is_object(e)) return false;
    const char *class = leat_json_text(e, "class");
    if (strcmp(class, "SUBQUERY") == 0) return false;
    if (strcmp(class, "FUNCTION") == 0 &&
        leat_function_traits(leat_json_text(e, "function_name")) & LEAT_FUNCTION_AGGREGATE)
        return true;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)e, key, value) if (leat_has_aggregate(value)) return true;
    return false;
}

static bool has_window(const json_t *e) {
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(e); i++)
        if (has_window(json_array_get(e, i))) return true;
    if (!json_is_object(e)) return false;
    if (leat_json_is(e, "class", "WINDOW")) return true;
    if (leat_json_is(e, "class", "SUBQUERY")) return false;
    json_object_foreach((json_t *)e, key, value) if (has_window(value)) return true;
    return false;
}

/* Every relation of FROM by the name its columns can be qualified with; subqueries without one get one. */
static bool collect_relations(struct leat_completion *c, json_t *from, json_t *names) {
    const char *type = leat_json_text(from, "type"), *alias = leat_json_text(from, "alias");
    if (strcmp(type, "JOIN") == 0) {
        bool left_only = leat_json_is(from, "join_type", "SEMI") || leat_json_is(from, "join_type", "ANTI");
        return collect_relations(c, json_object_get(from, "left"), names) &&
               (left_only || collect_relations(c, json_object_get(from, "right"), names));
    }
    if (strcmp(type, "EMPTY") == 0) return true;
    if (!*alias && strcmp(type, "BASE_TABLE") == 0) alias = leat_json_text(from, "table_name");
    if (!*alias) {
        char made[32];
        snprintf(made, sizeof made, "leat_from_%zu", json_array_size(names) + 1);
        json_object_set_new(from, "alias", json_string(made));
        alias = leat_json_text(from, "alias");
    }
    json_array_append_new(names, json_string(alias));
    return true;
}

static bool add_relation_columns(struct leat_completion *c, struct leat_select *select, const char *relation,
                                 json_t *out) {
    struct leat_schema schema = {0};
    json_t *star = json_pack("{s:s,s:s,s:s,s:s,s:[],s:[],s:b,s:n,s:[],s:[]}", "class", "STAR", "type", "STAR", "alias",
                             "", "relation_name", relation, "exclude_list", "replace_list", "columns", 0, "expr",
                             "qualified_exclude_list", "rename_list");
    json_t *items = json_pack("[o]", star), *node = select_over(select->node, items);
    bool ok = leat_describe_node(c, node, &schema);
    for (size_t i = 0; i < schema.field_count; i++)
        json_array_append_new(out, json_pack("{s:s,s:s,s:s,s:[s,s]}", "class", "COLUMN_REF", "type", "COLUMN_REF",
                                             "alias", "", "column_names", relation, schema.fields[i].name));
    leat_schema_deinit(&schema);
    json_decref(node);
    json_decref(items);
    if (ok) return true;
    return leat_completion_fail(c, select->node,
                                "the columns of \"%s\" cannot be found to complete the order of a window function; "
                                "name a full order in it, or move the subquery into a CTE",
                                relation);
}

/* GROUP BY ALL would take a completed window for an expression to group by: its groups are named instead. */
static bool name_all_groups(struct leat_completion *c, json_t *node) {
    json_t *list = json_object_get(node, "select_list"), *groups = json_array(), *set = json_array();
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        if (leat_json_is(item, "class", "STAR")) {
            json_decref(groups);
            json_decref(set);
            return leat_completion_fail(c, item, "GROUP BY ALL with * beside a window function: name the columns");
        }
        if (leat_has_aggregate(item) || has_window(item)) continue;
        json_t *group = json_deep_copy(item);
        json_object_set_new(group, "alias", json_string(""));
        json_array_append_new(set, json_integer((json_int_t)json_array_size(groups)));
        json_array_append_new(groups, group);
    }
    json_object_set_new(node, "group_expressions", groups);
    json_object_set_new(node, "group_sets", json_pack("[o]", set));
    json_object_set_new(node, "aggregate_handling", json_string("STANDARD_HANDLING"));
    return true;
}

/* After GROUP BY, rows differ in the group's expressions. *grouped: whether there is one. */
static bool add_group_columns(struct leat_completion *c, struct leat_select *select, json_t *out, bool *grouped) {
    json_t *node = select->node, *list = json_object_get(node, "select_list");
    bool all = leat_json_is(node, "aggregate_handling", "FORCE_AGGREGATES");
    if (all && !name_all_groups(c, node)) return false;
    json_t *groups = json_object_get(node, "group_expressions");
    *grouped =
        json_array_size(groups) > 0 || leat_has_aggregate(list) || leat_has_aggregate(json_object_get(node, "having"));
    for (size_t i = 0; i < json_array_size(groups); i++) {
        json_t *group = json_array_get(groups, i), *value = json_object_get(json_object_get(group, "value"), "value");
        if (leat_json_is(group, "class", "CONSTANT") && json_is_integer(value))
            group = json_array_get(list, (size_t)json_integer_value(value) - 1);
        if (group) json_array_append(out, group);
    }
    return true;
}

json_t *leat_select_columns(struct leat_completion *c, struct leat_select *select) {
    if (select->columns) return select->columns;
    json_t *columns = json_array(), *names = json_array();
    bool grouped = false, ok = add_group_columns(c, select, columns, &grouped);
    if (ok && !grouped) {
        ok = collect_relations(c, json_object_get(select->node, "from_table"), names);
        for (size_t i = 0; ok && i < json_array_size(names); i++)
            ok = add_relation_columns(c, select, json_string_value(json_array_get(names, i)), columns);
    }
    json_decref(names);
    if (!ok) {
        json_decref(columns);
        return NULL;
    }
    return select->columns = columns;
}

/* ---- ORDER BY for DISTINCT ON and LIMIT */

json_t *leat_find_modifier(const json_t *node, const char *type) {
    for (size_t i = 0; i < leat_json_count(node, "modifiers"); i++)
        if (leat_json_is(leat_json_at(node, "modifiers", i), "type", type)) return leat_json_at(node, "modifiers", i);
    return NULL;
}

static json_t *position(size_t at) {
    return json_pack("{s:s,s:s,s:s,s:{s:{s:s,s:n},s:b,s:i}}", "class", "CONSTANT", "type", "VALUE_CONSTANT", "alias",
                     "", "value", "type", "id", "INTEGER", "type_info", "is_null", 0, "value", (int)at);
}

static bool orders_everything(const json_t *orders) {
    for (size_t i = 0; i < json_array_size(orders); i++)
        if (leat_json_is(json_object_get(json_array_get(orders, i), "expression"), "class", "STAR")) return true;
    return false;
}

/* Event time first: then the row that is kept is the earliest, a record never replaces one that is older than itself,
 * and what is counted by window stays final once the cut has passed it. */
static void order_by_event_time(struct leat_completion *c, const json_t *node, size_t count, json_t *orders) {
    struct leat_error ignored = {0};
    json_t *bare = json_copy((json_t *)node), *plan = NULL;
    json_object_set_new(bare, "modifiers", json_array());
    char *sql = node_text(c, bare, &ignored), *json = NULL;
    json_decref(bare);
    bool ok = sql && !leat_conn_bound_plan(c->conn, sql, &json, &ignored) && !leat_json_load(json, &plan, &ignored);
    for (size_t i = 0; ok && i < count; i++) {
        if (!leat_is_event_time(c->conn, leat_json_at(plan, "plans", 0), i)) continue;
        json_t *at = position(i + 1);
        leat_append_order(orders, at, false);
        json_decref(at);
    }
    json_decref(plan);
    free(json);
    free(sql);
}

static bool complete_order(struct leat_completion *c, json_t *node) {
    const json_t *distinct = leat_find_modifier(node, "DISTINCT_MODIFIER");
    bool distinct_on = leat_json_count(distinct, "distinct_on_targets") > 0;
    bool limited = leat_find_modifier(node, "LIMIT_MODIFIER") || leat_find_modifier(node, "LIMIT_PERCENT_MODIFIER");
    if (!distinct_on && !limited) return true;
    struct leat_schema schema = {0};
    size_t count = leat_json_count(node, "select_list");
    if (leat_describe_node(c, node, &schema))
        count = schema.field_count;
    else
        for (size_t i = 0; i < leat_json_count(node, "select_list"); i++)
            if (leat_json_is(leat_json_at(node, "select_list", i), "class", "STAR")) count = 0;
    if (count == 0) {
        leat_schema_deinit(&schema);
        return leat_completion_fail(
            c, node, "the columns of a subquery with %s cannot be found to complete its order; name them instead of *",
            distinct_on ? "DISTINCT ON" : "LIMIT");
    }
    json_t *modifiers = json_object_get(node, "modifiers"), *order = leat_find_modifier(node, "ORDER_MODIFIER");
    if (!order) {
        order = json_pack("{s:s,s:[]}", "type", "ORDER_MODIFIER", "orders");
        json_array_insert_new(modifiers, distinct ? 1 : 0, order);
    }
    json_t *orders = json_object_get(order, "orders");
    bool whole = orders_everything(orders);
    if (distinct_on && !whole) order_by_event_time(c, node, count, orders);
    for (size_t i = 1; i <= count && !whole; i++) {
        json_t *at = position(i);
        leat_append_order(orders, at, false);
        json_decref(at);
    }
    c->differs |= distinct_on;
    if (!distinct_on || !c->batch) {
        leat_schema_deinit(&schema);
        return true;
    }
    c->distincts = leat_realloc(c->distincts, (c->distinct_count + 1) * sizeof *c->distincts);
    c->distincts[c->distinct_count++] = (struct leat_distinct){json_incref(node), schema};
    return true;
}

/* ---- the walk */

static bool check_type(struct leat_completion *c, const json_t *e) {
    const json_t *info = json_object_get(json_object_get(e, "cast_type"), "type_info");
    if (*leat_json_text(info, "collation"))
        return leat_completion_fail(c, e, "COLLATE is refused: text compares by its bytes; use lower(x)");
    return true;
}

static bool walk_members(struct leat_completion *c, struct leat_select *select, json_t *value) {
    const char *key;
    json_t *member;
    json_object_foreach(value, key, member) if (!walk(c, select, member)) return false;
    return true;
}

static bool walk_expression(struct leat_completion *c, struct leat_select *select, json_t *e, const char *class) {
    if (strcmp(class, "FUNCTION") == 0 || strcmp(class, "WINDOW") == 0) {
        const char *schema = leat_json_text(e, "schema"), *catalog = leat_json_text(e, "catalog");
        if (*catalog || (*schema && strcmp(schema, "main") != 0)) /* DuckDB itself writes main.list_value for [...] */
            return leat_completion_fail(c, e, "function %s.%s is refused: write it without a schema",
                                        *schema ? schema : catalog, leat_json_text(e, "function_name"));
        if (!failed_check(c, e, leat_function_check(leat_json_text(e, "function_name"), c->err))) return false;
    }
    if (strcmp(class, "COLLATE") == 0)
        return leat_completion_fail(
            c, e, "COLLATE is refused: text compares by its bytes, the same everywhere; use lower(x)");
    if (strcmp(class, "PARAMETER") == 0)
        return leat_completion_fail(c, e, "a parameter ($1, ?) has no value in a table's query");
    if (strcmp(class, "CAST") == 0 && !check_type(c, e)) return false;
    if (!walk_members(c, select, e)) return false;
    if (!select || c->only_check) return true;
    if (strcmp(class, "FUNCTION") == 0) return leat_complete_call(c, select, e);
    if (strcmp(class, "WINDOW") == 0) return leat_complete_window(c, select, e);
    return true;
}

static bool walk_relation(struct leat_completion *c, struct leat_select *select, json_t *from, const char *type) {
    if (json_is_object(json_object_get(from, "sample")))
        return leat_completion_fail(
            c, from,
            "a sample is refused: a run again would give other rows; use a condition such as hash(key) %% 10 = 0");
    if (json_is_object(json_object_get(from, "at_clause")))
        return leat_completion_fail(c, from,
                                    "AT (VERSION | TIMESTAMP) is refused: a plain name means the version of this step");
    if (strcmp(type, "TABLE_FUNCTION") == 0 &&
        !failed_check(
            c, from,
            leat_function_check_table(leat_json_text(json_object_get(from, "function"), "function_name"), c->err)))
        return false;
    if (strcmp(type, "JOIN") == 0) {
        if (leat_json_is(from, "ref_type", "ASOF"))
            return leat_completion_fail(
                c, from,
                "ASOF JOIN is refused: it chooses arbitrarily among equal times; use a join and "
                "QUALIFY row_number() OVER (PARTITION BY ... ORDER BY ... DESC) = 1");
        if (leat_json_is(from, "ref_type", "POSITIONAL"))
            return leat_completion_fail(c, from,
                                        "POSITIONAL JOIN is refused: tables have no order of rows; join by a key");
    }
    if (strcmp(type, "SHOW_REF") == 0)
        return leat_completion_fail(c, from, "DESCRIBE, SHOW and SUMMARIZE are not queries of rows");
    if (strcmp(type, "TABLE_FUNCTION") == 0)
        return walk(c, select, json_object_get(json_object_get(from, "function"), "children"));
    return walk_members(c, select, from);
}

static bool walk(struct leat_completion *c, struct leat_select *select, json_t *value) {
    bool ok = true;
    if (++c->depth > MAX_DEPTH) return leat_completion_fail(c, value, "the query is nested too deeply");
    if (json_is_array(value)) {
        for (size_t i = 0; ok && i < json_array_size(value); i++)
            ok = walk(c, select, json_array_get(value, i));
    } else if (json_is_object(value)) {
        const char *class = leat_json_text(value, "class"), *type = leat_json_text(value, "type");
        size_t length = strlen(type);
        if (length > 5 && strcmp(type + length - 5, "_NODE") == 0)
            ok = walk_query(c, value);
        else if (*class)
            ok = walk_expression(c, select, value, class);
        else if (json_object_get(value, "sample") || strcmp(type, "JOIN") == 0 || strcmp(type, "TABLE_FUNCTION") == 0 ||
                 strcmp(type, "SHOW_REF") == 0)
            ok = walk_relation(c, select, value, type);
        else
            ok = walk_members(c, select, value);
    }
    c->depth--;
    return ok;
}

static bool walk_ctes(struct leat_completion *c, json_t *node) {
    json_t *map = json_object_get(json_object_get(node, "cte_map"), "map");
    for (size_t i = 0; i < json_array_size(map); i++) {
        json_t *entry = json_array_get(map, i);
        if (!walk(c, NULL, json_object_get(entry, "value"))) return false;
        json_array_append(c->scope, entry);
    }
    return true;
}

/* A changed call would change the name of its column; the old name stays. */
static bool name_item(struct leat_completion *c, struct leat_select *select, json_t *item, const json_t *before) {
    struct leat_schema schema = {0};
    if (c->only_check || *leat_json_text(item, "alias") || leat_json_is(item, "class", "COLUMN_REF") ||
        json_equal(item, before))
        return true;
    json_t *items = json_pack("[O]", before), *node = json_copy(select->node);
    json_object_set(node, "select_list", items);
    json_object_set_new(node, "modifiers", json_array());
    json_object_set_new(node, "qualify", json_null());
    if (leat_describe_node(c, node, &schema) && schema.field_count == 1)
        json_object_set_new(item, "alias", json_string(schema.fields[0].name));
    leat_schema_deinit(&schema);
    json_decref(node);
    json_decref(items);
    return true;
}

static bool walk_select(struct leat_completion *c, json_t *node) {
    struct leat_select select = {.node = node};
    json_t *list = json_object_get(node, "select_list");
    const char *key;
    json_t *member;
    bool ok = walk(c, NULL, json_object_get(node, "from_table"));
    if (ok && json_is_object(json_object_get(node, "sample")))
        ok = leat_completion_fail(c, node, "USING SAMPLE is refused: a run again would give other rows");
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i), *before = json_deep_copy(item);
        ok = walk(c, &select, item) && name_item(c, &select, item, before);
        json_decref(before);
    }
    if (ok) json_object_foreach(node, key, member) {
            if (strcmp(key, "select_list") == 0 || strcmp(key, "from_table") == 0 || strcmp(key, "cte_map") == 0)
                continue;
            if (!(ok = walk(c, &select, member))) break;
        }
    json_decref(select.columns);
    return ok;
}

static bool walk_query(struct leat_completion *c, json_t *node) {
    size_t visible = json_array_size(c->scope);
    bool ok = walk_ctes(c, node);
    if (ok && leat_json_is(node, "type", "SELECT_NODE")) {
        ok = walk_select(c, node);
    } else if (ok) {
        const char *key;
        json_t *member;
        json_object_foreach(node, key, member) if (strcmp(key, "cte_map") != 0 && !(ok = walk(c, NULL, member))) break;
    }
    ok = ok && (c->only_check || complete_order(c, node));
    while (json_array_size(c->scope) > visible)
        json_array_remove(c->scope, json_array_size(c->scope) - 1);
    return ok;
}

/* *alike: the other text, for batch or for planning, is the same. */
static enum leat_status complete_tree(struct leat_conn *conn, const char *sql, const json_t *original, bool batch,
                                      char **out, bool *alike, int *error_offset, struct leat_error *err) {
    struct leat_completion c = {.conn = conn, .batch = batch, .err = err, .error_offset = -1, .scope = json_array()};
    json_t *tree = json_deep_copy(original);
    char *text = NULL;
    bool ok = walk(&c, NULL, json_object_get(tree, "statements"));
    for (size_t i = 0; i < c.distinct_count; i++) {
        if (ok) leat_complete_distinct(conn, &c.distincts[i], tree);
        json_decref(c.distincts[i].node);
        leat_schema_deinit(&c.distincts[i].schema);
    }
    free(c.distincts);
    if (!ok) {
        if (!c.status) c.status = leat_fail(err, LEAT_UNSUPPORTED, "the query cannot be completed");
        *error_offset = c.error_offset;
    } else if (json_equal(tree, original)) {
        *out = leat_strdup(sql);
    } else {
        text = leat_json_dump(tree);
        c.status = leat_conn_unparse(conn, text, out, err);
    }
    *alike = !c.differs;
    free(text);
    json_decref(tree);
    json_decref(c.scope);
    return c.status;
}

static enum leat_status parse_select(struct leat_conn *conn, const char *sql, json_t **tree, int *error_offset,
                                     struct leat_error *err) {
    char *json = NULL;
    *tree = NULL;
    *error_offset = -1;
    enum leat_status status = leat_conn_parse(conn, sql, &json, err);
    if (status) *error_offset = leat_conn_error_offset(conn);
    if (!status) status = leat_json_load(json, tree, err);
    if (!status && leat_json_count(*tree, "statements") != 1)
        status = leat_fail(err, LEAT_INVALID, "one SELECT is wanted, not %zu statements",
                           leat_json_count(*tree, "statements"));
    free(json);
    return status;
}

enum leat_status leat_complete_check(struct leat_conn *conn, const char *sql, int *error_offset,
                                     struct leat_error *err) {
    struct leat_completion c = {
        .conn = conn, .only_check = true, .err = err, .error_offset = -1, .scope = json_array()};
    json_t *tree;
    c.status = parse_select(conn, sql, &tree, error_offset, err);
    if (!c.status && !walk(&c, NULL, json_object_get(tree, "statements"))) *error_offset = c.error_offset;
    json_decref(tree);
    json_decref(c.scope);
    return c.status;
}

static bool is_float_sum(const json_t *e) {
    static const char *const names[] = {"sum", "avg", "mean", "sum_no_overflow"};
    const char *class = leat_json_text(e, "expression_class");
    if (strcmp(class, "BOUND_AGGREGATE") != 0 && strcmp(class, "BOUND_WINDOW") != 0) return false;
    uint8_t kind = leat_bound_type(leat_bound_expression_type(leat_json_at(e, "children", 0))).kind;
    if (kind != LEAT_FLOAT && kind != LEAT_DOUBLE && kind != LEAT_UHUGEINT && kind != LEAT_HUGEINT) return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (leat_json_is(e, "name", names[i])) return true;
    return false;
}

static bool holds_float_sum(const json_t *value) {
    const char *key;
    json_t *member;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (holds_float_sum(json_array_get(value, i))) return true;
    if (!json_is_object(value)) return false;
    if (is_float_sum(value)) return true;
    json_object_foreach((json_t *)value, key, member) if (holds_float_sum(member)) return true;
    return false;
}

static bool calls_any(const json_t *value, const char *const *names) {
    const char *key;
    json_t *member;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (calls_any(json_array_get(value, i), names)) return true;
    if (!json_is_object(value)) return false;
    for (const char *called = leat_json_text(value, "function_name"); *called && *names; names++)
        if (strcasecmp(called, *names) == 0) return true;
    json_object_foreach((json_t *)value, key, member) if (calls_any(member, names)) return true;
    return false;
}

/* Whether a sum's or average's answer could depend on the order of rows; yes when that cannot be told. */
static bool sums_floats(struct leat_conn *conn, const json_t *tree, const char *sql) {
    static const char *const sums[] = {"sum", "avg", "mean", "sum_no_overflow", NULL};
    struct leat_error ignored = {0};
    if (!calls_any(tree, sums)) return false;
    char *json = NULL;
    json_t *plan = NULL;
    bool known = !leat_conn_bound_plan(conn, sql, &json, &ignored) && !leat_json_load(json, &plan, &ignored);
    bool found = !known || holds_float_sum(plan);
    json_decref(plan);
    free(json);
    return found;
}

enum leat_status leat_complete(struct leat_conn *conn, const char *sql, char **planning, char **completed,
                               int *error_offset, struct leat_error *err) {
    char *text = NULL;
    json_t *tree = NULL;
    bool alike;
    *planning = *completed = NULL;
    enum leat_status status = parse_select(conn, sql, &tree, error_offset, err);
    if (status) goto out;
    if ((status = complete_tree(conn, sql, tree, false, planning, &alike, error_offset, err))) goto out;
    if (alike)
        text = leat_strdup(*planning);
    else if ((status = complete_tree(conn, sql, tree, true, &text, &alike, error_offset, err)))
        goto out;
    if (!sums_floats(conn, tree, text)) {
        *completed = text;
        text = NULL;
    } else if ((status = leat_conn_exact_sums(conn, text, completed, err))) {
        *error_offset = leat_conn_error_offset(conn);
        goto out;
    }
out:
    if (status) {
        free(*planning);
        free(*completed);
        *planning = *completed = NULL;
    }
    free(text);
    json_decref(tree);
    return status;
}
