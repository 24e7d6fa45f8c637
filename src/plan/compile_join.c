/* Joins: look-ups in keyed references, retained equi-joins, and the rest recomputed per key (class 6). */
#include <stdio.h>
#include <stdlib.h>

#include "plan/compile.h"

struct join {
    const json_t *node;
    const char *type; /* INNER, LEFT, ... as it is after swapping */
    struct leat_rel left, right;
    size_t left_visible, right_visible; /* columns before key columns were added */
    bool swapped;
    size_t key_count;
    uint16_t *keys, *right_keys;
    bool *is_key; /* per condition */
    const json_t *above, *through; /* conditions of the filter over the join, and the projection in between; NULL: none */
    size_t condition_count;
};

static const json_t *condition_side(const struct join *j, size_t i, bool left) {
    return json_object_get(leat_json_at(j->node, "conditions", i), left != j->swapped ? "left" : "right");
}

static const char *condition_comparison(const struct join *j, size_t i) {
    static const char *const mirrored[][2] = {
        {"COMPARE_LESSTHAN", "COMPARE_GREATERTHAN"},
        {"COMPARE_GREATERTHAN", "COMPARE_LESSTHAN"},
        {"COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO"},
        {"COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHANOREQUALTO"},
    };
    const char *comparison = leat_json_text(leat_json_at(j->node, "conditions", i), "comparison");
    for (size_t k = 0; j->swapped && k < sizeof mirrored / sizeof *mirrored; k++)
        if (strcmp(mirrored[k][0], comparison) == 0) return mirrored[k][1];
    return comparison;
}

static bool is_equality(const char *comparison) {
    return strcmp(comparison, "COMPARE_EQUAL") == 0 || strcmp(comparison, "COMPARE_NOT_DISTINCT_FROM") == 0;
}

/* Some value of the type, standing for NULL beside an "is NULL" key. */
static const char *stand_in(struct leat_compile *c, struct leat_type type) {
    char spelling[32];
    leat_type_print(type, spelling);
    switch ((enum leat_kind)type.kind) {
    case LEAT_BOOLEAN:
        return "false";
    case LEAT_VARCHAR:
        return "''";
    case LEAT_BLOB:
        return "CAST('' AS BLOB)";
    case LEAT_DATE:
        return "DATE '1970-01-01'";
    case LEAT_TIME:
        return "TIME '00:00:00'";
    case LEAT_TIMESTAMP:
        return "TIMESTAMP '1970-01-01 00:00:00'";
    case LEAT_TIMESTAMPTZ:
        return "TIMESTAMPTZ '1970-01-01 00:00:00+00'";
    case LEAT_INTERVAL:
        return "INTERVAL '0 days'";
    case LEAT_UUID:
        return "CAST('00000000-0000-0000-0000-000000000000' AS UUID)";
    default:
        return leat_arena_printf(&c->arena, "CAST(0 AS %s)", spelling);
    }
}

static void add_key(struct leat_compile *c, struct join *j, const struct leat_rel_column *left,
                    const struct leat_rel_column *right) {
    j->keys[j->key_count] = (uint16_t)leat_rel_add(c, &j->left, left);
    j->right_keys[j->key_count] = (uint16_t)leat_rel_add(c, &j->right, right);
    j->key_count++;
}

/* JOIN and LOOKUP keys match as SQL's = does: NULL matches nothing. IS NOT DISTINCT FROM between two columns that can
 * be NULL becomes two keys that cannot: "is it NULL" and the value or a stand-in. */
static void add_null_safe_key(struct leat_compile *c, struct join *j, struct leat_rel_column *left,
                              struct leat_rel_column *right) {
    struct leat_rel_column *sides[2] = {left, right}, flags[2], values[2];
    for (int k = 0; k < 2; k++) {
        struct leat_rel one = {.columns = sides[k], .count = 1};
        const char *text = leat_rel_column_text(c, &one, 0);
        flags[k] = leat_rel_text(c, (struct leat_type){.kind = LEAT_BOOLEAN}, sides[k]->can_fail, "(%s IS NULL)", text);
        values[k] =
            leat_rel_text(c, sides[k]->type, sides[k]->can_fail, "coalesce(%s, %s)", text, stand_in(c, sides[k]->type));
        flags[k].not_null = values[k].not_null = true;
    }
    add_key(c, j, &flags[0], &flags[1]);
    add_key(c, j, &values[0], &values[1]);
}

/* The reference that a relation stands on when its rows are that reference's rows, or NULL. */
static const struct leat_source *reference_below(const struct leat_compile *c, const struct leat_rel *rel) {
    const struct leat_op *op = &c->plan->ops[rel->op];
    if (op->kind == LEAT_OP_MAP) op = &c->plan->ops[op->children[0]];
    if (op->kind != LEAT_OP_REFERENCE) return NULL;
    const struct leat_source *source = &c->project->sources[op->object];
    return source->primary_key_count > 0 && source->primary_key_count <= 32 ? source : NULL;
}

/* Do the equalities name every primary key column of the reference on this side? key_of[p]: the condition. */
static bool covers_primary_key(struct leat_compile *c, const struct join *j, bool right_side, size_t *key_of) {
    const struct leat_rel *rel = right_side ? &j->right : &j->left;
    const struct leat_source *source = reference_below(c, rel);
    if (!source) return false;
    uint32_t seen = 0;
    for (size_t i = 0; i < j->condition_count; i++) {
        struct leat_rel_column column;
        if (!is_equality(condition_comparison(j, i))) continue;
        if (!leat_rel_expression(c, rel, condition_side(j, i, !right_side), &column) || column.reference_key < 0)
            continue;
        if (seen & 1u << column.reference_key) continue;
        seen |= 1u << column.reference_key;
        key_of[column.reference_key] = i;
    }
    return seen == (uint32_t)((uint64_t)(1ull << source->primary_key_count) - 1);
}

static void swap_sides(struct join *j) {
    struct leat_rel rel = j->left;
    size_t visible = j->left_visible;
    j->left = j->right, j->right = rel;
    j->left_visible = j->right_visible, j->right_visible = visible;
    j->swapped = !j->swapped;
    if (strcmp(j->type, "RIGHT") == 0)
        j->type = "LEFT";
    else if (strcmp(j->type, "LEFT") == 0)
        j->type = "RIGHT";
}

/* Chooses the keys. lookup: only the reference's primary key; the other equalities are filters then. */
static bool choose_keys(struct leat_compile *c, struct join *j, const size_t *key_of, size_t lookup_keys) {
    struct leat_rel left = j->left, right = j->right;
    j->keys = leat_arena_alloc(&c->arena, (2 * j->condition_count + 1) * sizeof *j->keys);
    j->right_keys = leat_arena_alloc(&c->arena, (2 * j->condition_count + 1) * sizeof *j->right_keys);
    j->is_key = leat_arena_alloc(&c->arena, (j->condition_count + 1) * sizeof *j->is_key);
    for (size_t i = 0; i < j->condition_count; i++) {
        const char *comparison = condition_comparison(j, i);
        struct leat_rel_column a, b;
        j->is_key[i] = is_equality(comparison);
        if (lookup_keys) {
            j->is_key[i] = false;
            for (size_t k = 0; k < lookup_keys; k++)
                j->is_key[i] = j->is_key[i] || key_of[k] == i;
        }
        if (!j->is_key[i]) continue;
        if (!leat_rel_expression(c, &left, condition_side(j, i, true), &a)) return false;
        if (!leat_rel_expression(c, &right, condition_side(j, i, false), &b)) return false;
        if (a.type.kind == LEAT_NESTED)
            return leat_compile_refuse(c, "a join on a list, struct or another nested value");
        if (!leat_type_equal(a.type, b.type))
            return leat_compile_refuse(c, "a join on columns of different types; cast one side");
        bool null_safe = strcmp(comparison, "COMPARE_NOT_DISTINCT_FROM") == 0 && !a.not_null && !b.not_null;
        if (null_safe)
            add_null_safe_key(c, j, &a, &b);
        else
            add_key(c, j, &a, &b);
    }
    return true;
}

static bool has_residual(const struct join *j) {
    for (size_t i = 0; i < j->condition_count; i++)
        if (!j->is_key[i]) return true;
    return false;
}

/* The conditions that are not keys, over the joined operator; can_fail is set. */
static bool write_residual(struct leat_compile *c, const struct join *j, const struct leat_rel *joined,
                           const char **out, bool *can_fail) {
    struct leat_rel left = {.op = joined->op, .columns = joined->columns, .count = j->left.count};
    struct leat_rel right = {.op = joined->op, .columns = joined->columns + j->left.count, .count = j->right.count};
    const char *text = NULL;
    for (size_t i = 0; i < j->condition_count; i++) {
        struct leat_rel_column sides[2];
        const char *symbol = leat_comparison_symbol(condition_comparison(j, i));
        if (j->is_key[i]) continue;
        if (!symbol) return leat_compile_refuse(c, "a join condition with %s", condition_comparison(j, i));
        if (!leat_rel_expression(c, &left, condition_side(j, i, true), &sides[0])) return false;
        if (!leat_rel_expression(c, &right, condition_side(j, i, false), &sides[1])) return false;
        struct leat_rel both = {.columns = sides, .count = 2};
        const char *a = leat_rel_column_text(c, &both, 0), *b = leat_rel_column_text(c, &both, 1);
        const char *one = leat_arena_printf(&c->arena, "(%s %s %s)", a, symbol, b);
        text = text ? leat_arena_printf(&c->arena, "%s AND %s", text, one) : one;
        *can_fail |= sides[0].can_fail || sides[1].can_fail;
    }
    *out = text;
    return true;
}

static void pick_side(struct leat_compile *c, const json_t *map, const struct leat_rel *from, size_t offset,
                      size_t visible, struct leat_rel *out) {
    size_t count = json_array_size(map) ? json_array_size(map) : visible;
    for (size_t i = 0; i < count; i++) {
        size_t at = json_array_size(map) ? (size_t)json_integer_value(json_array_get(map, i)) : i;
        struct leat_rel_column column = from->columns[offset + at];
        struct leat_rel_column *grown = leat_arena_alloc(&c->arena, (out->count + 1) * sizeof *grown);
        if (out->count) memcpy(grown, out->columns, out->count * sizeof *grown);
        grown[out->count++] = column;
        out->columns = grown;
    }
}

/* The columns DuckDB's plan expects: its left ones, then its right ones, projection maps applied. */
static void pick_output(struct leat_compile *c, const struct join *j, const struct leat_rel *joined, bool both,
                        struct leat_rel *out) {
    const json_t *left_map = json_object_get(j->node, "left_projection_map"),
                 *right_map = json_object_get(j->node, "right_projection_map");
    leat_rel_start(c, joined, 0, out);
    if (!j->swapped) {
        pick_side(c, left_map, joined, 0, j->left_visible, out);
        if (both) pick_side(c, right_map, joined, j->left.count, j->right_visible, out);
    } else {
        pick_side(c, left_map, joined, j->left.count, j->right_visible, out);
        pick_side(c, right_map, joined, 0, j->left_visible, out);
    }
}

static void emit_sides(struct leat_compile *c, const struct join *j, struct leat_op *op, bool right, bool left_nullable,
                       bool right_nullable) {
    for (size_t i = 0; i < j->left.count; i++)
        leat_emit_column(op, j->left.columns[i].name, j->left.columns[i].type,
                         j->left.columns[i].not_null && !left_nullable);
    for (size_t i = 0; right && i < j->right.count; i++) {
        const char *name = j->right.columns[i].name;
        if (leat_schema_find(&op->schema, name) >= 0) name = leat_arena_printf(&c->arena, "right.%s", name);
        leat_emit_column(op, name, j->right.columns[i].type, j->right.columns[i].not_null && !right_nullable);
    }
    op->key_count = j->key_count;
    op->keys = leat_alloc((j->key_count + 1) * sizeof *op->keys);
    op->right_keys = leat_alloc((j->key_count + 1) * sizeof *op->right_keys);
    memcpy(op->keys, j->keys, j->key_count * sizeof *op->keys);
    memcpy(op->right_keys, j->right_keys, j->key_count * sizeof *op->right_keys);
}

static void keep_key_local(const struct leat_op *left, const struct leat_op *right, const struct join *j, size_t k, struct leat_op *op) {
    const struct leat_local *a = leat_op_local(left, j->keys[k]), *b = leat_op_local(right, j->right_keys[k]);
    bool left_stays = strcmp(j->type, "FULL") != 0 && strcmp(j->type, "RIGHT") != 0; /* else it may be NULL */
    if (!a || !b || !left_stays || leat_op_local(op, j->keys[k])) return;
    const struct leat_local both = leat_local_both(a, b);
    leat_emit_local(op, j->keys[k], &both);
}

/* Where both sides of a key follow event time, a row changes only while the cut has not passed its key. */
static void keep_key_times(const struct leat_compile *c, const struct join *j, struct leat_op *op, bool both) {
    const struct leat_op *left = &c->plan->ops[j->left.op], *right = &c->plan->ops[j->right.op];
    for (size_t k = 0; k < j->key_count; k++) {
        const struct leat_time_column *a = leat_op_time(left, j->keys[k]), *b = leat_op_time(right, j->right_keys[k]);
        keep_key_local(left, right, j, k, op);
        if (!a || !b || leat_op_time(op, j->keys[k])) continue;
        int64_t span = a->span_us > b->span_us ? a->span_us : b->span_us;
        leat_emit_time(op, j->keys[k], span, a->object);
        if (both && !leat_op_time(op, j->left.count + j->right_keys[k]))
            leat_emit_time(op, j->left.count + j->right_keys[k], span, b->object);
    }
}

/* Remembers for EXPLAIN which columns of `joined` followed event time on the left. */
static void lose_times(struct leat_compile *c, const struct join *j, struct leat_rel *joined, const char *why) {
    const struct leat_op *left = &c->plan->ops[j->left.op];
    for (size_t i = 0; i < left->time_count; i++)
        if (left->times[i].column < joined->count && !joined->columns[left->times[i].column].has_time)
            joined->columns[left->times[i].column].time_lost = why;
}

/* ---- LOOKUP */

/* Is the mark of IN or EXISTS, true or false, never NULL? Then it says just whether there is a match. */
static bool mark_is_plain(struct leat_compile *c, const struct join *j) {
    for (size_t i = 0; i < j->condition_count; i++) {
        struct leat_rel_column a, b;
        const char *comparison = condition_comparison(j, i);
        if (strcmp(comparison, "COMPARE_NOT_DISTINCT_FROM") == 0) continue;
        if (strcmp(comparison, "COMPARE_EQUAL") != 0) return false;
        if (!leat_rel_expression(c, &j->left, condition_side(j, i, true), &a)) return false;
        if (!leat_rel_expression(c, &j->right, condition_side(j, i, false), &b)) return false;
        if (!a.not_null || !b.not_null) return false;
    }
    return true;
}

static bool refuse_mark(struct leat_compile *c) {
    return leat_compile_refuse(
        c, "NOT IN (SELECT ...), or IN (SELECT ...) as a value, where a NULL on either side would decide about every "
           "row; use [NOT] EXISTS, or declare both columns NOT NULL");
}

/* How the rows that a look-up joined, and what its conditions beyond the key say, become the join's answer. */
static bool finish_lookup(struct leat_compile *c, struct join *j, const char *type, struct leat_rel *joined,
                          struct leat_rel *out) {
    const char *residual = NULL;
    bool can_fail = false;
    if (!write_residual(c, j, joined, &residual, &can_fail)) return false;
    if (strcmp(type, "MARK") == 0) {
        /* the mark is made from the residual below */
    } else if (strcmp(type, "ANTI") == 0 && residual) {
        const char *text = leat_arena_printf(&c->arena, "(c%zu IS NULL OR (%s) IS DISTINCT FROM true)",
                                             j->left.count + j->right_keys[0], residual);
        leat_rel_filter_text(c, joined, text, can_fail);
    } else if (strcmp(type, "LEFT") == 0 && residual) {
        for (size_t i = j->left.count; i < joined->count; i++) {
            struct leat_rel_column *column = &joined->columns[i];
            struct leat_rel_column chosen =
                leat_rel_text(c, column->type, can_fail, "CASE WHEN %s THEN c%zu END", residual, i);
            chosen.name = column->name;
            *column = chosen;
        }
    } else if (residual) {
        leat_rel_filter_text(c, joined, residual, can_fail);
    }
    bool mark = strcmp(type, "MARK") == 0;
    pick_output(c, j, joined, !mark && strcmp(type, "SEMI") != 0 && strcmp(type, "ANTI") != 0, out);
    if (mark) {
        struct leat_type boolean = {.kind = LEAT_BOOLEAN};
        struct leat_rel_column column =
            leat_rel_text(c, boolean, can_fail, "(c%zu IS NOT NULL%s%s%s)", j->left.count + j->right_keys[0],
                          residual ? " AND coalesce(" : "", residual ? residual : "", residual ? ", false)" : "");
        column.not_null = true;
        leat_rel_add(c, out, &column);
    }
    return true;
}

static bool emit_lookup(struct leat_compile *c, struct join *j, struct leat_rel *out) {
    const struct leat_source *source = reference_below(c, &j->right);
    bool fixed = source->refresh_us == 0, residual = has_residual(j);
    const char *type = j->type;
    enum leat_join_kind kind = LEAT_JOIN_INNER;
    if (strcmp(type, "LEFT") == 0 || strcmp(type, "MARK") == 0)
        kind = LEAT_JOIN_LEFT;
    else if (strcmp(type, "SEMI") == 0)
        kind = residual ? LEAT_JOIN_INNER : LEAT_JOIN_SEMI; /* unique: at most one match */
    else if (strcmp(type, "ANTI") == 0)
        kind = residual ? LEAT_JOIN_LEFT : LEAT_JOIN_ANTI;
    if (!leat_rel_flush(c, &j->left) || !leat_rel_flush(c, &j->right)) return false;
    int index = leat_emit(c, LEAT_OP_LOOKUP, j->left.op, j->right.op);
    struct leat_op *op = &c->plan->ops[index];
    const struct leat_op *left = &c->plan->ops[j->left.op];
    bool wide = kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_LEFT;
    op->join = kind;
    op->static_right = fixed;
    emit_sides(c, j, op, wide, false, kind == LEAT_JOIN_LEFT);
    op->append_only = left->append_only && fixed;
    for (size_t i = 0; fixed && i < left->time_count; i++)
        leat_emit_time(op, left->times[i].column, left->times[i].span_us, left->times[i].object);
    for (size_t i = 0; i < left->local_count; i++) /* a change of the reference repeats rows, of the same records */
        leat_emit_local(op, left->locals[i].column, &left->locals[i]);
    op->incremental_class = 5;
    op->why = leat_asprintf("looked up in %s by its primary key", source->name);
    op->state_bound = fixed
                          ? leat_asprintf("the rows of %s", source->name)
                          : leat_asprintf("unbounded: the rows of %s, and every row that came by, since a change of %s "
                                          "re-emits the rows it touches",
                                          source->name, source->name);
    if (!leat_emit_done(c, &index)) return false;
    struct leat_rel joined;
    leat_rel_of_op(c, index, &joined);
    lose_times(c, j, &joined,
               leat_arena_printf(&c->arena, "a change of %s takes back and repeats rows of any age", source->name));
    if (!wide) {
        pick_output(c, j, &joined, false, out);
        return true;
    }
    return finish_lookup(c, j, type, &joined, out);
}

/* ---- how far apart in time rows meet */

static void output_columns(struct leat_compile *c, const struct join *j, struct leat_apart_output *out) {
    size_t most = j->left.count + j->right.count + json_array_size(json_object_get(j->node, "left_projection_map")) +
                  json_array_size(json_object_get(j->node, "right_projection_map"));
    leat_rel_start(c, &j->left, most, &out->rel);
    out->right = leat_arena_alloc(&c->arena, most * sizeof *out->right);
    out->columns = leat_arena_alloc(&c->arena, most * sizeof *out->columns);
    for (int half = 0; half < 2; half++) {
        const json_t *map = json_object_get(j->node, half ? "right_projection_map" : "left_projection_map");
        bool right = (half == 1) != j->swapped;
        size_t mapped = json_array_size(map), count = mapped ? mapped : right ? j->right_visible : j->left_visible;
        for (size_t i = 0; i < count; i++, out->rel.count++) {
            size_t at = mapped ? (size_t)json_integer_value(json_array_get(map, i)) : i;
            out->right[out->rel.count] = right;
            out->columns[out->rel.count] = (uint16_t)at;
            out->rel.columns[out->rel.count] = (right ? &j->right : &j->left)->columns[at];
        }
    }
}

static void project_output(struct leat_compile *c, const json_t *expressions, struct leat_apart_output *out) {
    struct leat_apart_output below = *out;
    size_t count = json_array_size(expressions), ref;
    leat_rel_start(c, &below.rel, count, &out->rel);
    out->right = leat_arena_alloc(&c->arena, (count + 1) * sizeof *out->right);
    out->columns = leat_arena_alloc(&c->arena, (count + 1) * sizeof *out->columns);
    for (size_t i = 0; i < count; i++, out->rel.count++) {
        bool is_ref = leat_bound_is_ref(json_array_get(expressions, i), &ref) && ref < below.rel.count;
        out->rel.columns[i] = is_ref ? below.rel.columns[ref] : (struct leat_rel_column){.type = {.kind = LEAT_NESTED}};
        out->right[i] = is_ref && below.right[ref];
        out->columns[i] = is_ref ? below.columns[ref] : 0;
    }
}

/* Can a condition raise, but for an event time at the end of all times? */
static bool conditions_raise(struct leat_compile *c, const struct join *j) {
    for (size_t i = 0; i < 2 * j->condition_count; i++) {
        const struct leat_rel *rel = i % 2 ? &j->left : &j->right;
        const json_t *e = condition_side(j, i / 2, i % 2);
        struct leat_rel_column column;
        if (leat_rel_expression(c, rel, e, &column) && column.can_fail && !leat_apart_is_moved(rel, e)) return true;
    }
    return false;
}

static const char raised_go[] = "where a condition raises, all rows of its key go, of any age";

/* Both sides are flushed. What is known goes to the operator if rows can be forgotten by it. */
static void set_apart(struct leat_compile *c, const struct join *j, enum leat_apart_pads pads, struct leat_op *op) {
    struct leat_aparts all = {0};
    struct leat_apart pair;
    bool by_key = false, inner = strcmp(j->type, "INNER") == 0, raises = op->kind == LEAT_OP_RECOMPUTE && conditions_raise(c, j);
    for (size_t i = 0; i < j->condition_count; i++)
        leat_apart_compare(&all, &j->left, condition_side(j, i, true), condition_comparison(j, i), &j->right, condition_side(j, i, false), j->is_key[i]);
    if (inner && json_array_size(j->above)) {
        struct leat_apart_output output;
        output_columns(c, j, &output);
        if (j->through) project_output(c, j->through, &output);
        for (size_t i = 0; i < json_array_size(j->above); i++) leat_apart_filter(&all, &output, json_array_get(j->above, i));
    }
    leat_apart_choose(c, &all, &j->left, &j->right, pads, &pair, &by_key);
    bool all_stay = !pair.known || (pair.keep_us[0] == INT64_MAX && pair.keep_us[1] == INT64_MAX);
    op->state_bound = raises && !all_stay ? leat_asprintf("unbounded: all rows of both sides are kept: %s", raised_go) : leat_apart_describe(c, &j->left, &j->right, &pair);
    if (raises) return; /* what a withheld key had given is taken back, and comes again: all of it, also after a restart */
    for (size_t i = 0; i < all.count; i++)
        if (all.by_key[i]) leat_apart_times(c, &j->left, &j->right, &all.pairs[i], op);
    if (all_stay) return;
    op->apart = pair;
    op->judges_apart = inner && !by_key;
    leat_apart_times(c, &j->left, &j->right, &pair, op);
}

/* ---- JOIN */

static bool emit_join(struct leat_compile *c, struct join *j, struct leat_rel *out) {
    enum leat_join_kind kind = LEAT_JOIN_INNER;
    const char *residual = NULL;
    bool can_fail = false;
    if (strcmp(j->type, "LEFT") == 0)
        kind = LEAT_JOIN_LEFT;
    else if (strcmp(j->type, "SEMI") == 0)
        kind = LEAT_JOIN_SEMI;
    else if (strcmp(j->type, "ANTI") == 0)
        kind = LEAT_JOIN_ANTI;
    bool wide = kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_LEFT;
    if (!leat_rel_flush(c, &j->left) || !leat_rel_flush(c, &j->right)) return false;
    int index = leat_emit(c, LEAT_OP_JOIN, j->left.op, j->right.op);
    struct leat_op *op = &c->plan->ops[index];
    op->join = kind;
    emit_sides(c, j, op, wide, false, kind == LEAT_JOIN_LEFT);
    op->append_only = (kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_SEMI) && c->plan->ops[j->left.op].append_only &&
                      c->plan->ops[j->right.op].append_only;
    keep_key_times(c, j, op, wide);
    op->incremental_class = 5;
    op->why = leat_strdup(j->key_count ? "equi-join, both sides kept by key" : "cross product, both sides kept");
    set_apart(c, j, kind == LEAT_JOIN_INNER ? LEAT_PADS_NONE : LEAT_PADS_LEFT, op);
    if (!leat_emit_done(c, &index)) return false;
    struct leat_rel joined;
    leat_rel_of_op(c, index, &joined);
    lose_times(c, j, &joined, "a new row of the other side of a join meets rows of any age");
    if (wide && !write_residual(c, j, &joined, &residual, &can_fail)) return false;
    if (residual) leat_rel_filter_text(c, &joined, residual, can_fail);
    pick_output(c, j, &joined, wide, out);
    return true;
}

/* ---- class 6: both sides kept, DuckDB joins the keys that changed */

static void prefixed_writer(struct leat_compile *c, size_t count, const char *prefix,
                            struct leat_expression_writer *out) {
    struct leat_expression_ref *refs = leat_arena_alloc(&c->arena, (count + 1) * sizeof *refs);
    for (size_t i = 0; i < count; i++)
        refs[i] =
            (struct leat_expression_ref){.text = leat_arena_printf(&c->arena, "%s.c%zu", prefix, i), .is_column = true};
    *out = (struct leat_expression_writer){.refs = refs, .ref_count = count};
}

static bool put_conditions(struct leat_compile *c, const struct join *j, struct leat_buffer *sql) {
    struct leat_expression_writer left, right;
    bool can_fail = false;
    prefixed_writer(c, j->left.count, "l", &left);
    prefixed_writer(c, j->right.count, "r", &right);
    for (size_t i = 0; i < j->condition_count; i++) {
        const char *symbol = leat_comparison_symbol(condition_comparison(j, i));
        if (!symbol) return leat_compile_refuse(c, "a join condition with %s", condition_comparison(j, i));
        if (i) leat_put(sql, " AND ");
        if (!leat_expression_write(&left, condition_side(j, i, true), sql, &can_fail))
            return leat_compile_refuse(c, "%s", left.why);
        leat_putf(sql, " %s ", symbol);
        if (!leat_expression_write(&right, condition_side(j, i, false), sql, &can_fail))
            return leat_compile_refuse(c, "%s", right.why);
    }
    return true;
}

static void put_columns(struct leat_buffer *sql, const char *prefix, size_t count, bool more) {
    for (size_t i = 0; i < count; i++)
        leat_putf(sql, "%s%s.c%zu", i || more ? ", " : "", prefix, i);
}

static bool put_join_sql(struct leat_compile *c, const struct join *j, bool mark, bool wide, struct leat_buffer *sql) {
    leat_put(sql, "SELECT ");
    put_columns(sql, "l", j->left.count, false);
    if (wide) put_columns(sql, "r", j->right.count, j->left.count > 0);
    if (mark)
        leat_put(sql, ", EXISTS (SELECT 1 FROM leat_input('right') AS r WHERE ");
    else
        leat_putf(sql, " FROM leat_input('in') AS l %s JOIN leat_input('right') AS r ON ", j->type);
    if (!put_conditions(c, j, sql)) return false;
    if (mark) leat_put(sql, ") FROM leat_input('in') AS l");
    return true;
}

static bool emit_recomputed_join(struct leat_compile *c, struct join *j, struct leat_rel *out) {
    struct leat_buffer sql = {0};
    bool mark = strcmp(j->type, "MARK") == 0,
         narrow = mark || strcmp(j->type, "SEMI") == 0 || strcmp(j->type, "ANTI") == 0;
    bool left_nullable = strcmp(j->type, "FULL") == 0 || strcmp(j->type, "RIGHT") == 0;
    if (!leat_rel_flush(c, &j->left) || !leat_rel_flush(c, &j->right)) return false;
    if (!put_join_sql(c, j, mark, !narrow, &sql)) {
        leat_buffer_deinit(&sql);
        return false;
    }
    int index = leat_emit(c, LEAT_OP_RECOMPUTE, j->left.op, j->right.op);
    struct leat_op *op = &c->plan->ops[index];
    op->sql = sql.data;
    emit_sides(c, j, op, !narrow, left_nullable, true);
    if (mark) leat_emit_column(op, "mark", (struct leat_type){.kind = LEAT_BOOLEAN}, true);
    keep_key_times(c, j, op, !narrow);
    op->incremental_class = 6;
    const char *kind = strcmp(j->type, "FULL") == 0   ? "full join"
                       : mark                         ? "IN or EXISTS as a value"
                       : strcmp(j->type, "LEFT") == 0 ? "left join with conditions beyond equality"
                                                      : "EXISTS with conditions beyond equality";
    op->by_row = strcmp(j->type, "FULL") != 0;
    op->why = leat_asprintf(op->by_row ? "%s: changed rows, and keys whose other side changed, are joined again" : "%s: changed keys are joined again", kind);
    set_apart(c, j, op->by_row ? LEAT_PADS_LEFT : LEAT_PADS_BOTH, op);
    if (!leat_emit_done(c, &index)) return false;
    struct leat_rel joined;
    leat_rel_of_op(c, index, &joined);
    lose_times(c, j, &joined, conditions_raise(c, j) ? raised_go : "a new row of the other side of a join meets rows of any age");
    pick_output(c, j, &joined, !narrow, out);
    if (mark) {
        struct leat_rel_column column = joined.columns[joined.count - 1];
        leat_rel_add(c, out, &column);
    }
    return true;
}

/* ---- choice */

/* A scalar subquery whose conditions are all equalities, over rows that they tell apart. */
static bool gives_one_row(struct leat_compile *c, const struct join *j) {
    struct leat_rel_column *columns = leat_arena_alloc(&c->arena, (j->condition_count + 1) * sizeof *columns);
    for (size_t i = 0; i < j->condition_count; i++) {
        if (!is_equality(condition_comparison(j, i))) return false;
        if (!leat_rel_expression(c, &j->right, condition_side(j, i, false), &columns[i])) return false;
    }
    return leat_rel_is_unique(c, &j->right, columns, j->condition_count);
}

static bool plan_join(struct leat_compile *c, struct join *j, struct leat_rel *out) {
    size_t key_of[32];
    bool inner = strcmp(j->type, "INNER") == 0, right = strcmp(j->type, "RIGHT") == 0;
    bool simple = inner || strcmp(j->type, "LEFT") == 0 || strcmp(j->type, "SEMI") == 0 || strcmp(j->type, "ANTI") == 0;
    size_t equalities = 0;
    for (size_t i = 0; i < j->condition_count; i++)
        equalities += is_equality(condition_comparison(j, i));
    if (right) {
        swap_sides(j);
        simple = true;
    } else if (inner && !covers_primary_key(c, j, true, key_of) && covers_primary_key(c, j, false, key_of)) {
        swap_sides(j);
    }
    bool mark = strcmp(j->type, "MARK") == 0, single = strcmp(j->type, "SINGLE") == 0;
    if (mark && !mark_is_plain(c, j)) return *c->why ? false : refuse_mark(c);
    if (single) j->type = "LEFT"; /* over a primary key there is one row at most */
    if ((simple || mark || single) && covers_primary_key(c, j, true, key_of))
        return choose_keys(c, j, key_of, reference_below(c, &j->right)->primary_key_count) && emit_lookup(c, j, out);
    if (single && !gives_one_row(c, j))
        return leat_compile_refuse(
            c, "a scalar subquery that can give more than one row: use max(), min() or another aggregate in it, or "
               "compare with the whole primary key of a reference");
    simple = simple || single;
    if (equalities == 0 && !inner)
        return leat_compile_refuse(
            c,
            "a %s join without an equality: every row would have to be compared with every other; "
            "add an equality to its condition or use SCHEDULE",
            j->type);
    if (!choose_keys(c, j, NULL, 0)) return false;
    if (simple && (!has_residual(j) || strcmp(j->type, "INNER") == 0)) return emit_join(c, j, out);
    if (simple || mark || strcmp(j->type, "FULL") == 0) return emit_recomputed_join(c, j, out);
    return leat_compile_refuse(c, "a join of type %s", j->type);
}

static bool compile_delim(struct leat_compile *c, struct join *j) {
    if (leat_json_true(j->node, "delim_flipped") || c->delim_count == sizeof c->delim / sizeof *c->delim)
        return leat_compile_refuse(c, "a correlated subquery of this shape; write it as a join");
    if (!leat_rel_flush(c, &j->left)) return false;
    struct leat_rel *distinct = leat_arena_alloc(&c->arena, sizeof *distinct), columns;
    if (!leat_rel_project(c, &j->left, json_object_get(j->node, "duplicate_eliminated_columns"), &columns))
        return false;
    if (!leat_compile_distinct_rel(c, &columns, distinct)) return false;
    c->delim[c->delim_count++] = distinct;
    return true;
}

bool leat_compile_join(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct join j = {.node = node,
                     .type = leat_json_text(node, "join_type"),
                     .condition_count = leat_json_count(node, "conditions"),
                     .above = c->above,
                     .through = c->above_through};
    c->above = c->above_through = NULL;
    bool delim = leat_json_is(node, "type", "LOGICAL_DELIM_JOIN");
    if (json_is_object(json_object_get(node, "predicate")))
        return leat_compile_refuse(c, "a join with an extra predicate");
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &j.left)) return false;
    if (delim && !compile_delim(c, &j)) return false;
    bool ok = leat_compile_node(c, leat_json_at(node, "children", 1), &j.right);
    if (delim) c->delim_count--;
    if (!ok) return false;
    j.left_visible = j.left.count;
    j.right_visible = j.right.count;
    return plan_join(c, &j, out);
}

bool leat_compile_cross(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct join j = {.node = node, .type = "INNER"};
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &j.left)) return false;
    if (!leat_compile_node(c, leat_json_at(node, "children", 1), &j.right)) return false;
    j.left_visible = j.left.count;
    j.right_visible = j.right.count;
    bool one_row = j.left.one_row && j.right.one_row;
    if (!choose_keys(c, &j, NULL, 0) || !emit_join(c, &j, out)) return false;
    out->one_row = one_row;
    return true;
}

/* EXCEPT and INTERSECT: every column is a key. */
bool leat_compile_set_difference(struct leat_compile *c, const json_t *node, struct leat_rel *out) {
    struct join j = {.node = node};
    struct leat_buffer sql = {0};
    const char *word = leat_json_is(node, "type", "LOGICAL_EXCEPT") ? "EXCEPT" : "INTERSECT";
    if (leat_json_count(node, "children") != 2) return leat_compile_refuse(c, "%s of more than two queries", word);
    if (!leat_compile_node(c, leat_json_at(node, "children", 0), &j.left)) return false;
    if (!leat_compile_node(c, leat_json_at(node, "children", 1), &j.right)) return false;
    if (!leat_rel_flush(c, &j.left) || !leat_rel_flush(c, &j.right)) return false;
    j.keys = leat_arena_alloc(&c->arena, (j.left.count + 1) * sizeof *j.keys);
    j.right_keys = j.keys;
    for (size_t i = 0; i < j.left.count; i++)
        j.keys[j.key_count++] = (uint16_t)i;
    leat_put(&sql, "SELECT ");
    put_columns(&sql, "l", j.left.count, false);
    leat_putf(&sql, " FROM leat_input('in') AS l %s%s SELECT ", word, leat_json_true(node, "setop_all") ? " ALL" : "");
    put_columns(&sql, "r", j.right.count, false);
    leat_put(&sql, " FROM leat_input('right') AS r");
    int index = leat_emit(c, LEAT_OP_RECOMPUTE, j.left.op, j.right.op);
    struct leat_op *op = &c->plan->ops[index];
    op->sql = sql.data;
    emit_sides(c, &j, op, false, false, false);
    op->incremental_class = 6;
    op->why = leat_asprintf("%s: changed rows are compared again", word);
    op->state_bound = leat_strdup("unbounded: all rows of both sides are kept");
    if (!leat_emit_done(c, &index)) return false;
    leat_rel_of_op(c, index, out);
    return true;
}
