/* Nodes by kind, and the nodes without state: inputs passed through, UNION ALL. */
#include "stream/node.h"

#include <assert.h>
#include <stdlib.h>

static enum leat_status pass_step(struct leat_node *node, const struct leat_step_context *context,
                                  const struct leat_changes *const inputs[2], struct leat_changes *out,
                                  struct leat_error *err) {
    (void)node, (void)context, (void)err;
    for (int i = 0; i < 2; i++)
        if (inputs[i]) leat_changes_append(out, inputs[i], NULL, inputs[i]->row_count, 1);
    return LEAT_OK;
}

static const struct leat_node_ops pass_ops = {.step = pass_step};
const struct leat_node_kind leat_node_pass = {&pass_ops, sizeof(struct leat_node)};

static const struct leat_node_kind *const kinds[] = {
    [LEAT_OP_SOURCE] = &leat_node_pass,          [LEAT_OP_REFERENCE] = &leat_node_pass,
    [LEAT_OP_TABLE] = &leat_node_pass,           [LEAT_OP_MAP] = &leat_node_map,
    [LEAT_OP_DISTINCT_ON] = &leat_node_distinct, [LEAT_OP_AGGREGATE] = &leat_node_aggregate,
    [LEAT_OP_LOOKUP] = &leat_node_join,          [LEAT_OP_JOIN] = &leat_node_join,
    [LEAT_OP_RECOMPUTE] = &leat_node_recompute,  [LEAT_OP_UNION] = &leat_node_pass,
    [LEAT_OP_TOP_N] = &leat_node_topn,           [LEAT_OP_CONSTRAIN] = &leat_node_constrain,
};

/* Are two schemas the same types in the same order? */
static bool same_types(const struct leat_schema *a, const struct leat_schema *b) {
    if (a->field_count != b->field_count) return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!leat_type_equal(a->fields[i].type, b->fields[i].type)) return false;
    return true;
}

static enum leat_status check_inputs(const struct leat_op *op, const struct leat_node *node, struct leat_error *err) {
    for (int i = 0; i < op->child_count && i < 2; i++) {
        if (node->inputs[i]) continue;
        return leat_fail(err, LEAT_INVALID, "operator %d was opened without the schema of its child %d", node->id, i);
    }
    for (int i = 0; i < 2; i++) {
        bool pass = op->kind == LEAT_OP_UNION;
        if (!pass || i >= op->child_count || same_types(node->inputs[i], &op->schema)) continue;
        return leat_fail(err, LEAT_INVALID, "UNION ALL: child %d has other column types than the result", i);
    }
    return LEAT_OK;
}

enum leat_status leat_node_open(struct leat_conn *step_conn, const struct leat_op *op,
                                const struct leat_schema *const input_schemas[2], int node_id, struct leat_node **out,
                                struct leat_error *err) {
    *out = NULL;
    if ((size_t)op->kind >= sizeof kinds / sizeof *kinds)
        return leat_fail(err, LEAT_INVALID, "unknown operator kind %d", (int)op->kind);
    const struct leat_node_kind *kind = kinds[op->kind];
    struct leat_node *node = leat_alloc(kind->size_bytes);
    *node = (struct leat_node){.ops = kind->ops, .op = op, .id = node_id};
    for (int i = 0; i < 2; i++)
        node->inputs[i] = input_schemas && input_schemas[i] ? input_schemas[i] : op->child_count ? NULL : &op->schema;
    enum leat_status status = check_inputs(op, node, err);
    if (status == LEAT_OK && node->ops->open) status = node->ops->open(node, step_conn, err);
    if (status == LEAT_OK)
        *out = node;
    else
        leat_node_close(node);
    return status;
}

void leat_node_close(struct leat_node *node) {
    if (!node) return;
    if (node->ops->close) node->ops->close(node);
    free(node);
}

enum leat_status leat_node_step(struct leat_node *node, const struct leat_step_context *context,
                                const struct leat_changes *const inputs[2], struct leat_changes *out,
                                struct leat_error *err) {
    const struct leat_changes *present[2] = {NULL, NULL};
    size_t before = out->row_count;
    for (int i = 0; i < 2; i++)
        if (inputs && inputs[i] && inputs[i]->row_count) {
            present[i] = inputs[i];
            node->stats.rows_in += inputs[i]->row_count;
        }
    node->passed = false;
    enum leat_status status = node->ops->step(node, context, present, out, err);
    node->stats.rows_out += node->passed ? present[0]->row_count : out->row_count - before;
    return status;
}

bool leat_node_passed(const struct leat_node *node, const struct leat_changes *input, struct leat_changes *view) {
    if (!node->passed) return false;
    for (size_t i = 0; i < node->op->map_count; i++)
        view->columns[i] = input->columns[node->op->map[i].from];
    view->row_count = input->row_count;
    view->weights = input->weights;
    return true;
}

enum leat_status leat_nodes_pass(struct leat_node *const *nodes, size_t count, const struct leat_step_context *context,
                                 const struct leat_changes *rows, struct leat_changes *out, struct leat_error *err) {
    struct leat_changes *between = leat_alloc((count + 1) * sizeof *between);
    enum leat_status status = LEAT_OK;
    size_t made = 0;
    while (made < count && status == LEAT_OK) {
        const struct leat_changes *inputs[2] = {rows, NULL};
        leat_changes_init(&between[made], &nodes[made]->op->schema);
        status = nodes[made]->ops->step(nodes[made], context, inputs, &between[made], err);
        rows = &between[made++];
    }
    if (status == LEAT_OK) leat_changes_append(out, rows, NULL, rows->row_count, 1);
    while (made)
        leat_changes_deinit(&between[--made]);
    free(between);
    return status;
}

const struct leat_failed_row *leat_node_failed(const struct leat_node *node, size_t *count) {
    *count = 0;
    return node->ops->failed ? node->ops->failed(node, count) : NULL;
}

uint64_t leat_node_withheld(const struct leat_node *node) {
    return node->ops->withheld ? node->ops->withheld(node) : 0;
}

bool leat_node_due(const struct leat_node *node, int64_t cut_us) {
    return node->ops->due && node->ops->due(node, cut_us);
}

void leat_node_stats(const struct leat_node *node, struct leat_node_stats *out) {
    *out = node->stats;
    if (node->ops->stats) node->ops->stats(node, out);
}

size_t leat_node_state_parts(const struct leat_node *node) {
    return node->ops->parts ? node->ops->parts(node) : 0;
}

const struct leat_schema *leat_node_state_schema(const struct leat_node *node, size_t part) {
    assert(part < leat_node_state_parts(node));
    return node->ops->part_schema(node, part);
}

enum leat_status leat_node_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                struct leat_changes *out, struct leat_error *err) {
    assert(part < leat_node_state_parts(node));
    return node->ops->save(node, part, only_dirty, cursor, max_rows, out, err);
}

void leat_node_clean(struct leat_node *node) {
    if (node->ops->clean) node->ops->clean(node);
}

void leat_node_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    if (node->ops->load_hint) node->ops->load_hint(node, part, rows);
}

enum leat_status leat_node_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                struct leat_error *err) {
    if (part >= leat_node_state_parts(node))
        return leat_fail(err, LEAT_CORRUPT, "a checkpoint holds part %zu of operator %d, which has %zu parts", part,
                         node->id, leat_node_state_parts(node));
    if (!same_types(rows->schema, leat_node_state_schema(node, part)))
        return leat_fail(err, LEAT_CORRUPT, "part %zu of operator %d has other column types in the checkpoint", part,
                         node->id);
    return node->ops->load(node, part, rows, err);
}

/* ---- as checkpoints see a node */

static size_t checkpoint_parts(const void *node) {
    return leat_node_state_parts(node);
}
static const struct leat_schema *checkpoint_schema(const void *node, size_t part) {
    return leat_node_state_schema(node, part);
}
static enum leat_status checkpoint_save(void *node, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                        struct leat_changes *out, struct leat_error *err) {
    return leat_node_save(node, part, only_dirty, cursor, max_rows, out, err);
}
static uint64_t checkpoint_rows(const void *node, size_t part) {
    return ((const struct leat_node *)node)->ops->part_rows(node, part);
}
static void checkpoint_clean(void *node) {
    leat_node_clean(node);
}
static void checkpoint_load_hint(void *node, size_t part, uint64_t rows) {
    leat_node_load_hint(node, part, rows);
}
static enum leat_status checkpoint_load(void *node, size_t part, const struct leat_changes *rows,
                                        struct leat_error *err) {
    return leat_node_load(node, part, rows, err);
}

struct leat_checkpoint_node leat_node_checkpoint(struct leat_node *node, const char *signature) {
    static const struct leat_checkpoint_ops ops = {.parts = checkpoint_parts,
                                                   .schema = checkpoint_schema,
                                                   .save = checkpoint_save,
                                                   .clean = checkpoint_clean,
                                                   .rows = checkpoint_rows,
                                                   .load_hint = checkpoint_load_hint,
                                                   .load = checkpoint_load};
    return (struct leat_checkpoint_node){
        .signature = signature, .node = node, .ops = &ops, .based_on = &node->based_on};
}
