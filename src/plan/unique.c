/* Are the rows of a relation told apart by some of its columns? Needed for scalar subqueries, which may give one row
 * at most: where that is certain they are left joins. */
#include <stdio.h>
#include <stdlib.h>

#include "plan/compile.h"

#define MAX_COLUMNS 256

struct column_set {
    bool has[MAX_COLUMNS];
};

static bool unique(const struct leat_compile *c, int index, const struct column_set *columns);

static bool covers(const struct column_set *columns, const uint16_t *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (keys[i] >= MAX_COLUMNS || !columns->has[keys[i]]) return false;
    return true;
}

/* (c3 IS NULL) and coalesce(c3, ...) beside each other, as compile_join.c writes null-safe keys, tell c3. */
static bool null_safe_column(const struct leat_op *op, const struct column_set *columns, size_t at, unsigned *out) {
    char test[32];
    if (sscanf(op->map[at].expression, "coalesce(c%u,", out) != 1 || *out >= MAX_COLUMNS) return false;
    snprintf(test, sizeof test, "(c%u IS NULL)", *out);
    for (size_t i = 0; i < op->map_count && i < MAX_COLUMNS; i++)
        if (columns->has[i] && op->map[i].from < 0 && strcmp(op->map[i].expression, test) == 0) return true;
    return false;
}

static bool unique_map(const struct leat_compile *c, const struct leat_op *op, const struct column_set *columns) {
    struct column_set below = {{0}};
    for (size_t i = 0; i < op->map_count && i < MAX_COLUMNS; i++) {
        unsigned column;
        if (!columns->has[i]) continue;
        if (op->map[i].from >= MAX_COLUMNS) return false;
        if (op->map[i].from >= 0)
            below.has[op->map[i].from] = true;
        else if (strncmp(op->map[i].expression, "unnest(", 7) == 0)
            return false;
        else if (null_safe_column(op, columns, i, &column))
            below.has[column] = true;
    }
    for (size_t i = 0; i < op->map_count; i++)
        if (op->map[i].from < 0 && strncmp(op->map[i].expression, "unnest(", 7) == 0) return false;
    return unique(c, op->children[0], &below);
}

/* At most one right row meets a left row, and left rows differ in `columns`. */
static bool unique_join(const struct leat_compile *c, const struct leat_op *op, const struct column_set *columns) {
    struct column_set left = *columns, right = {{0}};
    size_t left_count = c->plan->ops[op->children[0]].schema.field_count;
    bool wide = op->join == LEAT_JOIN_INNER || op->join == LEAT_JOIN_LEFT;
    for (size_t i = left_count; i < MAX_COLUMNS; i++)
        left.has[i] = false;
    if (!unique(c, op->children[0], &left)) return false;
    if (op->kind == LEAT_OP_LOOKUP || !wide) return true;
    for (size_t i = 0; i < op->key_count; i++)
        if (op->right_keys[i] < MAX_COLUMNS) right.has[op->right_keys[i]] = true;
    return unique(c, op->children[1], &right);
}

static bool unique_reference(const struct leat_compile *c, const struct leat_op *op, const struct column_set *columns) {
    const struct leat_source *source = &c->project->sources[op->object];
    for (size_t k = 0; k < source->primary_key_count; k++) {
        bool found = false;
        for (size_t i = 0; i < op->column_count && i < MAX_COLUMNS; i++)
            found = found || (columns->has[i] && op->columns[i] == source->primary_key[k]);
        if (!found) return false;
    }
    return source->primary_key_count > 0;
}

static bool unique(const struct leat_compile *c, int index, const struct column_set *columns) {
    const struct leat_op *op = &c->plan->ops[index];
    switch (op->kind) {
    case LEAT_OP_AGGREGATE:
        for (size_t i = 0; i < op->key_count; i++)
            if (i >= MAX_COLUMNS || !columns->has[i]) return false;
        return true;
    case LEAT_OP_DISTINCT_ON:
        return covers(columns, op->keys, op->key_count);
    case LEAT_OP_MAP:
        return unique_map(c, op, columns);
    case LEAT_OP_LOOKUP:
    case LEAT_OP_JOIN:
        return unique_join(c, op, columns);
    case LEAT_OP_REFERENCE:
        return unique_reference(c, op, columns);
    default:
        return false;
    }
}

bool leat_rel_is_unique(const struct leat_compile *c, const struct leat_rel *rel, const struct leat_rel_column *columns,
                        size_t count) {
    struct column_set set = {{0}};
    for (size_t i = 0; i < rel->count; i++)
        if (rel->columns[i].from < 0 && strncmp(rel->columns[i].text, "unnest(", 7) == 0) return false;
    for (size_t i = 0; i < count; i++)
        if (columns[i].from >= 0 && columns[i].from < MAX_COLUMNS) set.has[columns[i].from] = true;
    return rel->one_row || unique(c, rel->op, &set);
}
