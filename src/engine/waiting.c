/* A table that was made anew, and may not be shown while rows violate FAIL UPDATE, gathers in memory what its first commit will take: that
 * is state, so a checkpoint keeps it. Other tables have committed everything when a checkpoint is taken. */
#include <stdlib.h>

#include "engine/internal.h"
#include "stream/save.h"

static const struct leat_type T_INTEGER = {LEAT_INTEGER, 0, 0};

/* `pending` as the checkpoint's one part; on disk only whole. */
struct waiting {
    struct leat_changes *pending;
    struct leat_schema schema; /* and the weight */
    uint64_t based_on;
};

static size_t parts(const void *node) {
    (void)node;
    return 1;
}

static const struct leat_schema *schema(const void *node, size_t part) {
    (void)part;
    return &((const struct waiting *)node)->schema;
}

static enum leat_status save(void *node, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows, struct leat_changes *out,
                             struct leat_error *err) {
    const struct leat_changes *pending = ((const struct waiting *)node)->pending;
    (void)part, (void)only_dirty, (void)err;
    if (*cursor >= pending->row_count) return LEAT_END;
    size_t rows = pending->row_count - *cursor < max_rows ? pending->row_count - *cursor : max_rows;
    leat_save_changes(pending, *cursor, rows, out);
    out->row_count += rows;
    *cursor += rows;
    return LEAT_OK;
}

static void clean(void *node) {
    (void)node;
}

static uint64_t rows(const void *node, size_t part) {
    (void)part;
    return ((const struct waiting *)node)->pending->row_count;
}

static void load_hint(void *node, size_t part, uint64_t expected) {
    (void)node, (void)part, (void)expected;
}

static enum leat_status load(void *node, size_t part, const struct leat_changes *saved, struct leat_error *err) {
    (void)part, (void)err;
    leat_load_changes(((struct waiting *)node)->pending, saved, NULL, saved->row_count);
    return LEAT_OK;
}

static struct leat_checkpoint_node node_of(struct leat_changes *pending, char *signature) {
    static const struct leat_checkpoint_ops ops = {parts, schema, save, clean, rows, load_hint, load};
    struct waiting *w = leat_alloc(sizeof *w);
    w->pending = pending;
    leat_schema_copy(&w->schema, pending->schema);
    leat_schema_add(&w->schema, "__weight", T_INTEGER, true);
    return (struct leat_checkpoint_node){.signature = signature, .node = w, .ops = &ops, .optional = true, .based_on = &w->based_on};
}

/* By the project alone: who waited when a checkpoint was taken is in it. A sink that is new since makes a table one that may, and did not. */
bool leat_table_may_wait(const struct leat_engine *engine, const struct leat_gtable *table) {
    const struct leat_gtable *input;
    if (table->batch) return false;
    for (size_t i = 0; i < engine->project->sink_count; i++)
        if (engine->project->sinks[i].table == (size_t)table->index) return true;
    for (size_t i = 0; i < table->def->constraint_count; i++)
        if (table->def->constraints[i].action == LEAT_ON_FAIL_UPDATE) return true;
    for (size_t i = 0; i < table->plan->input_count; i++)
        if ((input = leat_table_input(engine, table, i)) && leat_table_may_wait(engine, input)) return true;
    return false;
}

struct leat_checkpoint_node *leat_waiting_nodes(struct leat_engine *engine, struct leat_checkpoint_node *nodes, size_t *count) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (!leat_table_may_wait(engine, table)) continue;
        nodes = leat_realloc(nodes, (*count + 2) * sizeof *nodes);
        nodes[(*count)++] = node_of(&table->pending, leat_asprintf("pending %s", table->def->name));
        if (table->quarantine.delta) nodes[(*count)++] = node_of(&table->quarantine.pending, leat_asprintf("quarantined %s", table->def->name));
    }
    return nodes;
}

void leat_waiting_nodes_free(struct leat_checkpoint_node *nodes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct waiting *w = nodes[i].node;
        leat_schema_deinit(&w->schema);
        free(w);
        free((char *)nodes[i].signature);
    }
}

void leat_waiting_settle(struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch) continue;
        if (table->committed_step >= engine->step) leat_changes_reset(&table->pending);
        if (table->quarantine.delta && table->quarantine.committed_step >= engine->step) leat_changes_reset(&table->quarantine.pending);
    }
}

void leat_waiting_forget(struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch) continue;
        leat_changes_reset(&table->pending);
        if (table->quarantine.delta) leat_changes_reset(&table->quarantine.pending);
    }
}
