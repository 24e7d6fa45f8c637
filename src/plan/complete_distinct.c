/* DISTINCT ON as runs and the oracle compute it: the first row of each key by row_number(), over the same columns.
 *
 *   SELECT DISTINCT ON (k) list FROM ... ORDER BY o     becomes
 *   SELECT c1 AS name, ... FROM (SELECT list, k, o FROM ...) AS t(c1, ..., k1, o1)
 *   QUALIFY row_number() OVER (PARTITION BY k1 ORDER BY o1) = 1
 *
 * DuckDB computes DISTINCT ON by an aggregate first(x ORDER BY all) for each column, whose states it cannot spill: 2.5 million records of 10
 * columns, each with a key of its own, took 9.4 s of CPU and 4.0 GB; by a window 1.9 s and 0.5 GB. With 10,000 keys the two cost the same. */
#include "plan/complete_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct ranked {
    const struct leat_schema *schema; /* of the SELECT */
    const json_t *list;
    json_t *extra;               /* expressions that only the keys and the order need: further columns of the inner SELECT */
    bool *used;                  /* columns of the inner SELECT: keys, and what is ordered by already */
    struct leat_buffer keys, orders;
    bool renames;                /* some item has a name of its own, which an expression might mean */
};

static size_t constant_position(const json_t *e) {
    const json_t *value = json_object_get(e, "value"), *at = json_object_get(value, "value");
    return leat_json_is(e, "class", "CONSTANT") && json_is_integer(at) ? (size_t)json_integer_value(at) : 0;
}

/* The output column that a bare name means, counted from one; 0: none. Twice there: *clear false. */
static size_t named_position(const struct ranked *r, const json_t *e, bool *clear) {
    const char *name = json_string_value(leat_json_at(e, "column_names", 0));
    size_t found = 0;
    if (leat_json_count(e, "column_names") != 1) return 0;
    for (size_t i = 0; name && i < r->schema->field_count; i++) {
        if (strcasecmp(name, r->schema->fields[i].name) != 0) continue;
        if (found) *clear = false;
        found = i + 1;
    }
    return found;
}

static size_t extra_position(struct ranked *r, const json_t *e) {
    size_t n = json_array_size(r->extra), i = 0;
    const json_t *names = json_object_get(e, "column_names");
    while (i < n && !(names && json_equal(names, json_object_get(json_array_get(r->extra, i), "column_names")))) i++;
    if (i == n) json_array_append(r->extra, (json_t *)e);
    return r->schema->field_count + i + 1;
}

/* COLUMNS(...) anywhere: as many expressions as columns fit. */
static bool holds_star(const json_t *e) {
    const char *key;
    json_t *value;
    for (size_t i = 0; i < json_array_size(e); i++)
        if (holds_star(json_array_get(e, i))) return true;
    if (!json_is_object(e) || leat_json_is(e, "class", "SUBQUERY")) return false;
    if (leat_json_is(e, "class", "STAR")) return true;
    json_object_foreach((json_t *)e, key, value) if (holds_star(value)) return true;
    return false;
}

/* A key or an order as a column of the inner SELECT, counted from one; 0: that cannot be told. */
static size_t column_of(struct ranked *r, const json_t *e) {
    bool name = leat_json_is(e, "class", "COLUMN_REF"), clear = true;
    size_t at = name ? named_position(r, e, &clear) : constant_position(e);
    if (!clear || at > r->schema->field_count) return 0;
    if (!name && !at && (leat_json_is(e, "class", "CONSTANT") || holds_star(e) || r->renames)) return 0;
    return at ? at : extra_position(r, e);
}

static bool put_keys(struct ranked *r, const json_t *targets) {
    for (size_t i = 0; i < json_array_size(targets); i++) {
        size_t at = column_of(r, json_array_get(targets, i));
        if (!at) return false;
        leat_putf(&r->keys, i ? ", __c%zu" : "__c%zu", at);
        r->used[at] = true;
    }
    return true;
}

static bool put_orders(struct ranked *r, const json_t *orders) {
    for (size_t i = 0; i < json_array_size(orders); i++) {
        const json_t *order = json_array_get(orders, i);
        size_t at = column_of(r, json_object_get(order, "expression"));
        if (!at) return false;
        if (r->used[at]) continue;
        r->used[at] = true;
        leat_putf(&r->orders, r->orders.length ? ", __c%zu" : " ORDER BY __c%zu", at);
        leat_put(&r->orders, leat_json_is(order, "type", "DESCENDING") ? " DESC" : " ASC");
        leat_put(&r->orders, leat_json_is(order, "null_order", "NULLS FIRST") ? " NULLS FIRST" : " NULLS LAST");
    }
    leat_put(&r->orders, "");
    return true;
}

static void put_outer(const struct ranked *r, struct leat_buffer *sql) {
    size_t n = r->schema->field_count, all = n + json_array_size(r->extra);
    for (size_t i = 0; i < n; i++) {
        leat_putf(sql, i ? ", __c%zu AS " : "SELECT __c%zu AS ", i + 1);
        leat_put_sql_name(sql, r->schema->fields[i].name);
    }
    leat_put(sql, " FROM (SELECT 0) AS __ranked(");
    for (size_t i = 0; i < all; i++) leat_putf(sql, i ? ", __c%zu" : "__c%zu", i + 1);
    leat_putf(sql, ") QUALIFY row_number() OVER (PARTITION BY %s%s) = 1", r->keys.data, r->orders.data);
}

/* Puts the SELECT, with the further columns and without what made it DISTINCT ON, into the outer one, whose node `node` becomes. */
static bool wrap(struct leat_conn *conn, const struct ranked *r, json_t *node) {
    struct leat_buffer sql = {0};
    struct leat_error ignored = {0};
    char *json = NULL;
    json_t *tree = NULL;
    put_outer(r, &sql);
    bool ok = !leat_conn_parse(conn, sql.data, &json, &ignored) && !leat_json_load(json, &tree, &ignored);
    json_t *outer = ok ? json_object_get(leat_json_at(tree, "statements", 0), "node") : NULL;
    json_t *holder = json_object_get(json_object_get(outer, "from_table"), "subquery");
    if ((ok = ok && holder)) {
        json_t *inner = json_copy(node), *list = json_copy((json_t *)r->list);
        json_array_extend(list, r->extra);
        json_object_set_new(inner, "select_list", list);
        json_object_set_new(inner, "modifiers", json_array());
        json_object_set_new(holder, "node", inner);
        json_object_clear(node);
        json_object_update(node, outer);
    }
    json_decref(tree);
    free(json);
    leat_buffer_deinit(&sql);
    return ok;
}

static bool is_plain(const json_t *node) {
    return leat_json_count(node, "modifiers") == 2 && !leat_json_count(node, "group_expressions") && !leat_json_count(node, "group_sets") &&
           leat_json_is(node, "aggregate_handling", "STANDARD_HANDLING") && !json_is_object(json_object_get(node, "having")) &&
           !json_is_object(json_object_get(node, "qualify")) && !leat_has_aggregate(json_object_get(node, "select_list"));
}

static size_t count_equal(const json_t *in, const json_t *node) {
    const char *key;
    json_t *value;
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(in); i++) count += count_equal(json_array_get(in, i), node);
    if (!json_is_object(in)) return count;
    if (json_equal(in, node)) return 1;
    json_object_foreach((json_t *)in, key, value) count += count_equal(value, node);
    return count;
}

void leat_complete_distinct(struct leat_conn *conn, const struct leat_distinct *d, const json_t *tree) {
    struct ranked r = {.schema = &d->schema, .list = json_object_get(d->node, "select_list"), .extra = json_array()};
    const json_t *targets = json_object_get(leat_find_modifier(d->node, "DISTINCT_MODIFIER"), "distinct_on_targets");
    const json_t *orders = json_object_get(leat_find_modifier(d->node, "ORDER_MODIFIER"), "orders");
    r.used = leat_alloc(d->schema.field_count + json_array_size(targets) + json_array_size(orders) + 1);
    for (size_t i = 0; i < json_array_size(r.list); i++) r.renames |= *leat_json_text(json_array_get(r.list, i), "alias") != '\0';
    if (d->schema.field_count && is_plain(d->node) && count_equal(tree, d->node) == 1 && put_keys(&r, targets) && put_orders(&r, orders)) wrap(conn, &r, d->node);
    json_decref(r.extra);
    free(r.used);
    leat_buffer_deinit(&r.keys);
    leat_buffer_deinit(&r.orders);
}
