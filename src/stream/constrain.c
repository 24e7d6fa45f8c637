/* CONSTRAIN: counts the rows that violate each constraint, and holds the table back while rows violate one that says FAIL UPDATE:
 * its changes wait here, added up, until none does any more, and then leave together. So the table, its quarantine and who reads it
 * stay at the last version without violations, and other tables go on.
 *
 * The last columns of the input are BOOLEAN, never NULL, one a constraint: does the row violate it?
 *
 * State parts: 0 (number, value): violating rows by constraint, and under -1 the hold's number; 1: the rows held, with their weight
 * and the hold they belong to. Rows of another hold than the last one are of the past: so nothing need be said of rows gone. */
#include <stdlib.h>

#include "stream/node.h"
#include "stream/save.h"

struct constrain_node {
    struct leat_node base;
    size_t count, first_flag;
    int64_t *violating;
    struct leat_changes held;
    int64_t hold;            /* number of the hold, or of its compaction */
    size_t saved, compacted; /* rows of `held` in the last checkpoint; left by the last compaction */
    struct leat_schema counts_schema, held_schema;
};

static const struct leat_type T_BIGINT = {LEAT_BIGINT, 0, 0}, T_INTEGER = {LEAT_INTEGER, 0, 0};

static enum leat_status constrain_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct constrain_node *n = (struct constrain_node *)node;
    (void)conn, (void)err;
    n->count = node->op->constraint_count;
    n->first_flag = node->op->schema.field_count - n->count;
    n->violating = leat_alloc((n->count + 1) * sizeof *n->violating);
    leat_changes_init(&n->held, &node->op->schema);
    leat_schema_add(&n->counts_schema, "number", T_INTEGER, true);
    leat_schema_add(&n->counts_schema, "value", T_BIGINT, true);
    leat_schema_copy(&n->held_schema, &node->op->schema);
    leat_schema_add(&n->held_schema, "__weight", T_INTEGER, true);
    leat_schema_add(&n->held_schema, "__hold", T_BIGINT, true);
    return LEAT_OK;
}

static void constrain_close(struct leat_node *node) {
    struct constrain_node *n = (struct constrain_node *)node;
    if (n->held.schema) leat_changes_deinit(&n->held);
    leat_schema_deinit(&n->counts_schema);
    leat_schema_deinit(&n->held_schema);
    free(n->violating);
}

static bool holds(const struct constrain_node *n) {
    for (size_t i = 0; i < n->count; i++)
        if (n->base.op->constraints[i].action == LEAT_ON_FAIL_UPDATE && n->violating[i] > 0) return true;
    return false;
}

static void count_violations(struct constrain_node *n, const struct leat_changes *in) {
    for (size_t i = 0; i < n->count; i++) {
        const bool *flags = in->columns[n->first_flag + i].data;
        for (size_t row = 0; row < in->row_count; row++)
            if (flags[row]) n->violating[i] += leat_weight(in, row);
    }
}

static void next_hold(struct constrain_node *n) {
    n->hold++;
    n->saved = 0;
}

static void hold_back(struct constrain_node *n, const struct leat_changes *in) {
    leat_changes_append(&n->held, in, NULL, in->row_count, 1);
    if (n->held.row_count < 2 * n->compacted + 1024) return;
    leat_changes_consolidate(&n->held);
    n->compacted = n->held.row_count;
    next_hold(n);
}

static enum leat_status constrain_step(struct leat_node *node, const struct leat_step_context *context,
                                       const struct leat_changes *const inputs[2], struct leat_changes *out, struct leat_error *err) {
    struct constrain_node *n = (struct constrain_node *)node;
    (void)context, (void)err;
    if (!inputs[0]) return LEAT_OK;
    count_violations(n, inputs[0]);
    if (holds(n)) {
        hold_back(n, inputs[0]);
        return LEAT_OK;
    }
    if (!n->held.row_count) {
        leat_changes_append(out, inputs[0], NULL, inputs[0]->row_count, 1);
        return LEAT_OK;
    }
    leat_changes_append(&n->held, inputs[0], NULL, inputs[0]->row_count, 1);
    leat_changes_consolidate(&n->held);
    leat_changes_append(out, &n->held, NULL, n->held.row_count, 1);
    leat_changes_reset(&n->held);
    n->compacted = 0;
    next_hold(n);
    return LEAT_OK;
}

int64_t leat_node_violating(const struct leat_node *node, size_t constraint) {
    return ((const struct constrain_node *)node)->violating[constraint];
}

const struct leat_changes *leat_node_held(const struct leat_node *node) {
    const struct constrain_node *n = (const struct constrain_node *)node;
    return holds(n) ? &n->held : NULL;
}

static void constrain_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct constrain_node *n = (const struct constrain_node *)node;
    out->state_keys = n->held.row_count;
    out->state_bytes = n->held.strings.used_bytes;
    for (size_t c = 0; c < n->held.schema->field_count; c++)
        out->state_bytes += n->held.capacity * leat_type_size(n->held.schema->fields[c].type);
}

/* ---- checkpoints */

static size_t constrain_parts(const struct leat_node *node) {
    (void)node;
    return 2;
}

static const struct leat_schema *constrain_part_schema(const struct leat_node *node, size_t part) {
    const struct constrain_node *n = (const struct constrain_node *)node;
    return part ? &n->held_schema : &n->counts_schema;
}

static enum leat_status save_counts(const struct constrain_node *n, uint64_t *cursor, struct leat_changes *out) {
    size_t at = out->row_count;
    if (*cursor) return LEAT_END;
    leat_changes_reserve(out, at + n->count + 1);
    for (size_t i = 0; i <= n->count; i++) {
        ((int32_t *)out->columns[0].data)[at + i] = i < n->count ? (int32_t)i : -1;
        ((int64_t *)out->columns[1].data)[at + i] = i < n->count ? n->violating[i] : n->hold;
    }
    for (size_t i = at; out->weights && i <= at + n->count; i++) out->weights[i] = 1;
    out->row_count += n->count + 1;
    *cursor = 1;
    return LEAT_OK;
}

static enum leat_status save_held(const struct constrain_node *n, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                  struct leat_changes *out) {
    size_t from = (only_dirty ? n->saved : 0) + *cursor, at = out->row_count, fields = n->held.schema->field_count;
    if (from >= n->held.row_count) return LEAT_END;
    size_t rows = n->held.row_count - from < max_rows ? n->held.row_count - from : max_rows;
    leat_save_changes(&n->held, from, rows, out);
    for (size_t i = 0; i < rows; i++) ((int64_t *)out->columns[fields + 1].data)[at + i] = n->hold;
    out->row_count += rows;
    *cursor += rows;
    return LEAT_OK;
}

static enum leat_status constrain_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                       struct leat_changes *out, struct leat_error *err) {
    const struct constrain_node *n = (const struct constrain_node *)node;
    (void)err;
    return part ? save_held(n, only_dirty, cursor, max_rows, out) : save_counts(n, cursor, out);
}

static void constrain_clean(struct leat_node *node) {
    struct constrain_node *n = (struct constrain_node *)node;
    n->saved = n->held.row_count;
}

static uint64_t constrain_part_rows(const struct leat_node *node, size_t part) {
    const struct constrain_node *n = (const struct constrain_node *)node;
    return part ? n->held.row_count : n->count + 1;
}

static void load_counts(struct constrain_node *n, const struct leat_changes *rows) {
    for (size_t i = 0; i < rows->row_count; i++) {
        int32_t number = ((const int32_t *)rows->columns[0].data)[i];
        int64_t value = ((const int64_t *)rows->columns[1].data)[i];
        if (number >= 0 && (size_t)number < n->count) n->violating[number] = value;
        if (number >= 0 || value == n->hold) continue;
        n->hold = value;
        leat_changes_reset(&n->held);
    }
}

static void load_held(struct constrain_node *n, const struct leat_changes *rows) {
    size_t fields = n->held.schema->field_count;
    uint32_t *chosen = leat_alloc((rows->row_count + 1) * sizeof *chosen);
    size_t count = 0;
    for (size_t i = 0; i < rows->row_count; i++)
        if (((const int64_t *)rows->columns[fields + 1].data)[i] == n->hold) chosen[count++] = (uint32_t)i;
    leat_load_changes(&n->held, rows, chosen, count);
    n->saved = n->held.row_count;
    free(chosen);
}

static enum leat_status constrain_load(struct leat_node *node, size_t part, const struct leat_changes *rows, struct leat_error *err) {
    struct constrain_node *n = (struct constrain_node *)node;
    (void)err;
    if (part)
        load_held(n, rows);
    else
        load_counts(n, rows);
    return LEAT_OK;
}

static const struct leat_node_ops constrain_ops = {.open = constrain_open,
                                                   .close = constrain_close,
                                                   .step = constrain_step,
                                                   .stats = constrain_stats,
                                                   .parts = constrain_parts,
                                                   .part_schema = constrain_part_schema,
                                                   .save = constrain_save,
                                                   .clean = constrain_clean,
                                                   .part_rows = constrain_part_rows,
                                                   .load = constrain_load};
const struct leat_node_kind leat_node_constrain = {&constrain_ops, sizeof(struct constrain_node)};
