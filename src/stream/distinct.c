/* DISTINCT_ON: the first row of each key in a total order. The input is append-only.
 *
 * Per key the hot table holds the key's fingerprint, the hash of the winning row's whole content and a pointer to that
 * row, encoded. A row delivered again (same key, same content) costs one probe; only a different row of a known key is
 * compared, and only a new or smaller row is stored. Nothing is ever forgotten: without a horizon every key is kept
 * (rule 18). */
#include "stream/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "state/heap.h"
#include "state/row.h"
#include "state/keyed.h"

enum { CHUNK_ROWS = 1024 };

struct winner {
    struct leat_hash128 content; /* of the encoded row */
    uint8_t *row;
    uint32_t touched; /* with the entry's epoch that of the step: its place in touched */
    uint32_t padding;
};
/* A key whose winner changed in this step. */
struct touched_key {
    uint8_t *old;  /* the winner before the step; NULL: the key is new */
    uint32_t from; /* row of the step's batch that wins now */
};
struct distinct_node {
    struct leat_node base;
    struct leat_keyed table; /* struct winner */
    struct leat_row_codec codec;
    struct leat_row_block block;
    struct leat_heap heap;
    struct leat_changes stored; /* one decoded winner, to compare with */
    uint32_t epoch;
    struct touched_key *touched;
    size_t touched_count, touched_capacity;
};

static enum leat_status distinct_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    const struct leat_schema *in = node->inputs[0];
    (void)conn;
    if (in->field_count != node->op->schema.field_count)
        return leat_fail(err, LEAT_INVALID, "operator %d: DISTINCT ON gives %zu columns of %zu", node->id,
                         node->op->schema.field_count, in->field_count);
    leat_keyed_init(&d->table, sizeof(struct winner));
    leat_row_codec_init(&d->codec, in, NULL, in->field_count);
    leat_changes_init(&d->stored, in);
    return LEAT_OK;
}

static void distinct_close(struct leat_node *node) {
    struct distinct_node *d = (struct distinct_node *)node;
    leat_keyed_deinit(&d->table);
    leat_row_codec_deinit(&d->codec);
    leat_heap_deinit(&d->heap);
    if (d->stored.schema) leat_changes_deinit(&d->stored);
    leat_row_block_deinit(&d->block);
    free(d->touched);
}

/* Is row a of x before row b of y in the op's order? */
static bool comes_before(const struct leat_op *op, const struct leat_changes *x, size_t a, const struct leat_changes *y,
                         size_t b) {
    for (size_t i = 0; i < op->order_count; i++) {
        const struct leat_order *order = &op->orders[i];
        bool null_a = leat_is_null(&x->columns[order->column], a), null_b = leat_is_null(&y->columns[order->column], b);
        if (null_a && null_b) continue;
        if (null_a || null_b) return null_a == order->nulls_first;
        int c = leat_key_compare(x, a, &order->column, y, b, &order->column, 1);
        if (c) return order->descending ? c > 0 : c < 0;
    }
    return false;
}

/* The key's winner is now row `from` of the step's batch, encoded in row i of the block. */
static void win(struct distinct_node *d, uint32_t index, uint32_t from, size_t i, const struct leat_hash128 *content) {
    struct leat_entry *e = leat_keyed_at(&d->table, index);
    struct winner *w = leat_entry_payload(e);
    size_t size = d->block.starts[i + 1] - d->block.starts[i];
    if (e->epoch != d->epoch) {
        if (d->touched_count == d->touched_capacity) {
            d->touched_capacity = d->touched_capacity ? d->touched_capacity * 2 : 256;
            d->touched = leat_realloc(d->touched, d->touched_capacity * sizeof *d->touched);
        }
        e->epoch = d->epoch;
        w->touched = (uint32_t)d->touched_count;
        d->touched[d->touched_count++].old = w->row;
        leat_keyed_mark_dirty(&d->table, e, index);
    } else {
        leat_heap_free(&d->heap, w->row, leat_row_stored_size(&d->codec, w->row));
    }
    d->touched[w->touched].from = from;
    w->content = *content;
    w->row = leat_heap_alloc(&d->heap, size);
    memcpy(w->row, d->block.bytes + d->block.starts[i], size);
}

/* Does the row come before the winner of its key? */
static bool beats(struct distinct_node *d, const struct leat_entry *e, const struct winner *w,
                  const struct leat_changes *in, uint32_t row) {
    if (e->epoch == d->epoch) return comes_before(d->base.op, in, row, in, d->touched[w->touched].from);
    const uint8_t *rows[1] = {w->row};
    leat_changes_truncate(&d->stored, 0);
    leat_changes_reset(&d->stored);
    leat_changes_reserve(&d->stored, 1);
    leat_row_read(&d->codec, rows, 1, &d->stored, 0, 0);
    d->stored.row_count = 1;
    return comes_before(d->base.op, in, row, &d->stored, 0);
}

static void hash_block(const struct leat_row_block *block, size_t n, struct leat_hash128 *out) {
    for (size_t i = 0; i < n; i++) {
        XXH128_hash_t h = XXH3_128bits(block->bytes + block->starts[i], block->starts[i + 1] - block->starts[i]);
        out[i] = (struct leat_hash128){.low = h.low64, .high = h.high64};
    }
}

static void take_chunk(struct distinct_node *d, const struct leat_changes *in, size_t from, size_t n) {
    struct leat_hash128 keys[CHUNK_ROWS], contents[CHUNK_ROWS];
    uint32_t entries[CHUNK_ROWS];
    leat_key_hash(in, from, n, d->base.op->keys, d->base.op->key_count, keys);
    leat_row_encode(&d->codec, in, NULL, from, n, &d->block);
    hash_block(&d->block, n, contents);
    leat_keyed_upsert(&d->table, keys, n, entries);
    for (size_t i = 0; i < n; i++) {
        struct leat_entry *e = leat_keyed_at(&d->table, entries[i]);
        struct winner *w = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_NEW) {
            e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
        } else {
            if (w->content.low == contents[i].low && w->content.high == contents[i].high) continue;
            if (!beats(d, e, w, in, (uint32_t)(from + i))) continue;
        }
        win(d, entries[i], (uint32_t)(from + i), i, &contents[i]);
    }
}

/* Gives the winners that lost as -1, the new ones as +1. */
static void settle(struct distinct_node *d, const struct leat_changes *in, struct leat_changes *out) {
    size_t lost = 0, at = out->row_count;
    const uint8_t **old = leat_alloc((d->touched_count + 1) * sizeof *old);
    uint32_t *rows = leat_alloc((d->touched_count + 1) * sizeof *rows);
    for (size_t i = 0; i < d->touched_count; i++) {
        rows[i] = d->touched[i].from;
        if (d->touched[i].old) old[lost++] = d->touched[i].old;
    }
    if (lost) {
        leat_changes_need_weights(out);
        leat_changes_reserve(out, at + lost);
        leat_row_read(&d->codec, old, lost, out, 0, at);
        for (size_t i = 0; i < lost; i++)
            out->weights[at + i] = -1;
        out->row_count += lost;
        at += lost;
    }
    for (size_t i = 0; i < lost; i++)
        leat_heap_free(&d->heap, (void *)(uintptr_t)old[i], leat_row_stored_size(&d->codec, old[i]));
    leat_changes_reserve(out, at + d->touched_count);
    for (size_t i = 0; i < out->schema->field_count; i++)
        leat_gather_borrowed(out, i, at, in, i, rows, 0, d->touched_count);
    out->row_count += d->touched_count;
    if (out->weights) /* an input row may stand for several copies; the result has it once */
        for (size_t i = 0; i < d->touched_count; i++)
            out->weights[at + i] = 1;
    free(rows);
    free(old);
}

static enum leat_status distinct_step(struct leat_node *node, const struct leat_step_context *context,
                                      const struct leat_changes *const inputs[2], struct leat_changes *out,
                                      struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    const struct leat_changes *in = inputs[0];
    (void)context;
    if (!in) return LEAT_OK;
    if (in->weights)
        for (size_t i = 0; i < in->row_count; i++)
            if (in->weights[i] <= 0)
                return leat_fail(
                    err, LEAT_INVALID,
                    "operator %d: DISTINCT ON was given a row with weight %d: its input must be append-only", node->id,
                    (int)in->weights[i]);
    d->touched_count = 0;
    d->epoch++;
    for (size_t from = 0; from < in->row_count; from += CHUNK_ROWS)
        take_chunk(d, in, from, in->row_count - from < CHUNK_ROWS ? in->row_count - from : CHUNK_ROWS);
    node->stats.keys_touched += d->touched_count;
    settle(d, in, out);
    return LEAT_OK;
}

static void distinct_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct distinct_node *d = (const struct distinct_node *)node;
    out->state_keys = d->table.count;
    out->state_bytes = leat_keyed_bytes(&d->table) + d->heap.reserved_bytes;
}

static size_t distinct_parts(const struct leat_node *node) {
    (void)node;
    return 1;
}

static const struct leat_schema *distinct_part_schema(const struct leat_node *node, size_t part) {
    (void)part;
    return &node->op->schema;
}

static enum leat_status distinct_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor,
                                      size_t max_rows, struct leat_changes *out, struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    const uint8_t **rows = leat_alloc((max_rows + 1) * sizeof *rows);
    size_t n = 0, at = out->row_count;
    uint32_t index;
    (void)part, (void)err;
    while (n < max_rows && leat_keyed_next(&d->table, only_dirty, cursor, &index))
        rows[n++] = ((const struct winner *)leat_entry_payload(leat_keyed_at(&d->table, index)))->row;
    leat_changes_reserve(out, at + n);
    leat_row_read(&d->codec, rows, n, out, 0, at);
    if (out->weights)
        for (size_t i = 0; i < n; i++)
            out->weights[at + i] = 1;
    out->row_count += n;
    free(rows);
    return n ? LEAT_OK : LEAT_END;
}

static void distinct_clean(struct leat_node *node) {
    leat_keyed_clean(&((struct distinct_node *)node)->table);
}

static uint64_t distinct_part_rows(const struct leat_node *node, size_t part) {
    (void)part;
    return ((const struct distinct_node *)node)->table.count;
}

static void distinct_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    (void)part;
    leat_keyed_reserve(&((struct distinct_node *)node)->table, rows);
}

static enum leat_status distinct_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                      struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    struct leat_hash128 keys[CHUNK_ROWS], contents[CHUNK_ROWS];
    uint32_t entries[CHUNK_ROWS];
    (void)part, (void)err;
    for (size_t from = 0; from < rows->row_count; from += CHUNK_ROWS) {
        size_t n = rows->row_count - from < CHUNK_ROWS ? rows->row_count - from : CHUNK_ROWS;
        leat_key_hash(rows, from, n, node->op->keys, node->op->key_count, keys);
        leat_row_encode(&d->codec, rows, NULL, from, n, &d->block);
        hash_block(&d->block, n, contents);
        leat_keyed_upsert(&d->table, keys, n, entries);
        for (size_t i = 0; i < n; i++) {
            struct leat_entry *e = leat_keyed_at(&d->table, entries[i]);
            struct winner *w = leat_entry_payload(e);
            size_t size = d->block.starts[i + 1] - d->block.starts[i];
            if (w->row) leat_heap_free(&d->heap, w->row, leat_row_stored_size(&d->codec, w->row));
            *w = (struct winner){.content = contents[i], .row = leat_heap_alloc(&d->heap, size)};
            memcpy(w->row, d->block.bytes + d->block.starts[i], size);
            e->flags = LEAT_ENTRY_LIVE | LEAT_ENTRY_SAVED;
        }
    }
    return LEAT_OK;
}

static const struct leat_node_ops distinct_ops = {.open = distinct_open,
                                                  .close = distinct_close,
                                                  .step = distinct_step,
                                                  .stats = distinct_stats,
                                                  .parts = distinct_parts,
                                                  .part_schema = distinct_part_schema,
                                                  .save = distinct_save,
                                                  .clean = distinct_clean,
                                                  .part_rows = distinct_part_rows,
                                                  .load_hint = distinct_load_hint,
                                                  .load = distinct_load};
const struct leat_node_kind leat_node_distinct = {&distinct_ops, sizeof(struct distinct_node)};
