/* DISTINCT_ON: the first row of each key in a total order. The input is append-only.
 *
 * Per key the hot table holds the key's fingerprint, the hash of the winning row's whole content and a pointer to that
 * row, encoded. A row delivered again (same key, same content) costs one probe; only a different row of a known key is compared, and
 * only a new or smaller row is stored. Nothing is ever forgotten: without a horizon every key is kept (rule 18). */
#include "stream/node.h"

#include <stdlib.h>

#include "state/heap.h"
#include "state/row.h"
#include "state/keyed.h"

enum { CHUNK_ROWS = 1024 };
#define NO_ROW UINT32_MAX

struct winner {
    struct leat_hash128 content;
    uint8_t *row;     /* as of the step's start; NULL: the key is new in this step */
    uint32_t from;    /* row of the step's batch that won since, or NO_ROW */
    uint32_t padding;
};
struct distinct_node {
    struct leat_node base;
    struct leat_keyed table; /* struct winner */
    struct leat_row_codec codec;
    struct leat_heap heap;
    uint16_t *all_columns;
    struct leat_changes stored; /* one decoded winner, to compare with */
    uint32_t *touched;
    size_t touched_count, touched_capacity;
};

static struct winner *winner_at(struct distinct_node *d, uint32_t index) {
    return leat_entry_payload(leat_keyed_at(&d->table, index));
}

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
    d->all_columns = leat_alloc((in->field_count + 1) * sizeof *d->all_columns);
    for (size_t i = 0; i < in->field_count; i++)
        d->all_columns[i] = (uint16_t)i;
    return LEAT_OK;
}

static void distinct_close(struct leat_node *node) {
    struct distinct_node *d = (struct distinct_node *)node;
    leat_keyed_deinit(&d->table);
    leat_row_codec_deinit(&d->codec);
    leat_heap_deinit(&d->heap);
    if (d->stored.schema) leat_changes_deinit(&d->stored);
    free(d->all_columns);
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

static void touch(struct distinct_node *d, uint32_t index) {
    if (d->touched_count == d->touched_capacity) {
        d->touched_capacity = d->touched_capacity ? d->touched_capacity * 2 : 256;
        d->touched = leat_realloc(d->touched, d->touched_capacity * sizeof *d->touched);
    }
    d->touched[d->touched_count++] = index;
}

static void read_stored(struct distinct_node *d, const uint8_t *row) {
    const uint8_t *rows[1] = {row};
    leat_changes_truncate(&d->stored, 0);
    leat_changes_reset(&d->stored);
    leat_changes_reserve(&d->stored, 1);
    leat_row_read(&d->codec, rows, 1, &d->stored, 0, 0);
    d->stored.row_count = 1;
}

/* A row of a known key with other content than its winner. */
static void challenge(struct distinct_node *d, uint32_t index, const struct leat_changes *in, uint32_t row,
                      const struct leat_hash128 *content) {
    struct winner *w = winner_at(d, index);
    bool wins;
    if (w->from != NO_ROW) {
        wins = comes_before(d->base.op, in, row, in, w->from);
    } else {
        read_stored(d, w->row);
        wins = comes_before(d->base.op, in, row, &d->stored, 0);
        if (wins) touch(d, index);
    }
    if (!wins) return;
    w->from = row;
    w->content = *content;
}

static void take_chunk(struct distinct_node *d, const struct leat_changes *in, size_t from, size_t n) {
    struct leat_hash128 keys[CHUNK_ROWS], contents[CHUNK_ROWS];
    uint32_t entries[CHUNK_ROWS];
    leat_key_hash(in, from, n, d->base.op->keys, d->base.op->key_count, keys);
    leat_key_hash(in, from, n, d->all_columns, d->codec.count, contents);
    leat_keyed_upsert(&d->table, keys, n, entries);
    for (size_t i = 0; i < n; i++) {
        struct leat_entry *e = leat_keyed_at(&d->table, entries[i]);
        struct winner *w = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_NEW) {
            e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
            *w = (struct winner){.content = contents[i], .from = (uint32_t)(from + i)};
            touch(d, entries[i]);
        } else if (w->content.low != contents[i].low || w->content.high != contents[i].high) {
            challenge(d, entries[i], in, (uint32_t)(from + i), &contents[i]);
        }
    }
}

/* Gives the winners that lost as -1, the new ones as +1, and stores the latter. */
static void settle(struct distinct_node *d, const struct leat_changes *in, struct leat_changes *out) {
    size_t lost = 0, at = out->row_count;
    const uint8_t **old = leat_alloc((d->touched_count + 1) * sizeof *old);
    uint32_t *rows = leat_alloc((d->touched_count + 1) * sizeof *rows);
    for (size_t i = 0; i < d->touched_count; i++) {
        struct winner *w = winner_at(d, d->touched[i]);
        rows[i] = w->from;
        if (w->row) old[lost++] = w->row;
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
    leat_changes_append(out, in, rows, d->touched_count, 1);
    if (out->weights) /* an input row may stand for several copies; the result has it once */
        for (size_t i = 0; i < d->touched_count; i++)
            out->weights[at + i] = 1;
    for (size_t i = 0; i < d->touched_count; i++) {
        struct leat_entry *e = leat_keyed_at(&d->table, d->touched[i]);
        struct winner *w = leat_entry_payload(e);
        size_t size = leat_row_size(&d->codec, in, w->from);
        if (w->row) leat_heap_free(&d->heap, w->row, leat_row_stored_size(&d->codec, w->row));
        w->row = leat_heap_alloc(&d->heap, size);
        leat_row_write(&d->codec, in, w->from, w->row);
        w->from = NO_ROW;
        leat_keyed_mark_dirty(&d->table, e, d->touched[i]);
    }
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
                return leat_fail(err, LEAT_INVALID, "operator %d: DISTINCT ON was given a row with weight %d: its input must be append-only",
                                 node->id, (int)in->weights[i]);
    d->touched_count = 0;
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
        rows[n++] = winner_at(d, index)->row;
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
        leat_key_hash(rows, from, n, d->all_columns, d->codec.count, contents);
        leat_keyed_upsert(&d->table, keys, n, entries);
        for (size_t i = 0; i < n; i++) {
            struct leat_entry *e = leat_keyed_at(&d->table, entries[i]);
            struct winner *w = leat_entry_payload(e);
            if (w->row) leat_heap_free(&d->heap, w->row, leat_row_stored_size(&d->codec, w->row));
            *w = (struct winner){.content = contents[i], .from = NO_ROW};
            w->row = leat_heap_alloc(&d->heap, leat_row_size(&d->codec, rows, from + i));
            leat_row_write(&d->codec, rows, from + i, w->row);
            e->flags = LEAT_ENTRY_LIVE | LEAT_ENTRY_SAVED;
        }
    }
    return LEAT_OK;
}

static const struct leat_node_ops distinct_ops = {
    .open = distinct_open, .close = distinct_close, .step = distinct_step, .stats = distinct_stats,
    .parts = distinct_parts, .part_schema = distinct_part_schema, .save = distinct_save, .clean = distinct_clean,
    .load_hint = distinct_load_hint, .load = distinct_load};
const struct leat_node_kind leat_node_distinct = {&distinct_ops, sizeof(struct distinct_node)};
