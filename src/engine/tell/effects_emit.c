/* A table's changes to a sink's effects. */
#include <stdlib.h>
#include <string.h>

#include "engine/tell/effects.h"
#include "state/row.h"

struct emission {
    struct leat_effects *e;
    const struct leat_changes *rows;
    uint64_t mark;
    struct leat_hash128 *hashes;        /* of whole rows */
    struct leat_buffer key, payload;
    struct leat_row_block block;
};

void leat_effects_emit_init(struct leat_effects *e) {
    const struct leat_table *table = e->table->def;
    const struct leat_schema *schema = &e->table->plan->schema;
    e->key = leat_alloc((table->primary_key_count + 1) * sizeof *e->key);
    e->all = leat_alloc((schema->field_count + 1) * sizeof *e->all);
    for (size_t i = 0; i < table->primary_key_count; i++) e->key[i] = (uint16_t)leat_schema_find(schema, table->primary_key[i]);
    for (size_t i = 0; i < schema->field_count; i++) e->all[i] = (uint16_t)i;
    if (e->ops->encode) return;
    e->codec = leat_alloc(sizeof *e->codec);
    leat_row_codec_init(e->codec, schema, NULL, schema->field_count);
}

void leat_effects_emit_deinit(struct leat_effects *e) {
    if (e->codec) leat_row_codec_deinit(e->codec);
    free(e->codec);
    free(e->key);
    free(e->all);
}

/* Rows without a key keep the order of a row's coming and going, where both are told. */
static enum leat_status put_key(struct emission *m, size_t row, struct leat_error *err) {
    const struct leat_effects *e = m->e;
    size_t keys = e->table->def->primary_key_count;
    leat_buffer_reset(&m->key);
    if (keys) return leat_key_encode(m->rows, row, e->key, keys, &m->key, err);
    if (!e->def->send_retractions) return LEAT_OK;
    return leat_key_encode(m->rows, row, e->all, m->rows->schema->field_count, &m->key, err);
}

static enum leat_status put_payload(struct emission *m, const struct leat_effect_row *effect, struct leat_error *err) {
    struct leat_effects *e = m->e;
    leat_buffer_reset(&m->payload);
    if (e->ops->encode) return e->ops->encode(e->sink, effect, &m->payload, err);
    leat_row_encode(e->codec, m->rows, NULL, effect->row, 1, &m->block);
    leat_putn(&m->payload, (const char *)m->block.bytes, m->block.starts[1]);
    return LEAT_OK;
}

static enum leat_status emit(struct emission *m, enum leat_effect_kind kind, size_t row, size_t old_row, struct leat_error *err) {
    struct leat_effects *e = m->e;
    const struct leat_effect_row made = {kind, leat_outbox_next_sequence(e->outbox, kind), m->rows, row, old_row};
    enum leat_status st = put_key(m, row, err);
    if (st == LEAT_OK) st = put_payload(m, &made, err);
    const struct leat_effect effect = {.sequence = made.sequence,
                                       .kind = kind,
                                       .key = m->key.data,
                                       .key_bytes = m->key.length,
                                       .payload = m->payload.data,
                                       .payload_bytes = m->payload.length};
    if (st == LEAT_OK) st = leat_outbox_append(e->outbox, m->mark, &effect, m->hashes[row], err);
    if (st == LEAT_OK) return st;
    leat_prepend(err, "sink \"%s\"", e->def->name);
    if (err->fatal || (st != LEAT_LIMIT && st != LEAT_INVALID)) return st;
    const struct leat_error reason = *err; /* of this one alone */
    return leat_outbox_reject(e->outbox, &effect, reason.text, err);
}

/* ---- by key ------------------------------------------------------------------------------------------------------------ */

struct keyed_row { struct leat_hash128 hash; size_t row; };

static int by_key(const void *a, const void *b) {
    const struct keyed_row *x = a, *y = b;
    if (x->hash.high != y->hash.high) return x->hash.high < y->hash.high ? -1 : 1;
    if (x->hash.low != y->hash.low) return x->hash.low < y->hash.low ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* The rows of each key become one effect: what it is now, or that it is gone. */
static enum leat_status emit_keys(struct emission *m, struct leat_error *err) {
    const struct leat_changes *rows = m->rows;
    size_t n = rows->row_count;
    struct leat_hash128 *hashes = leat_alloc((n + 1) * sizeof *hashes);
    struct keyed_row *order = leat_alloc((n + 1) * sizeof *order);
    enum leat_status st = LEAT_OK;
    leat_key_hash(rows, 0, n, m->e->key, m->e->table->def->primary_key_count, hashes);
    for (size_t i = 0; i < n; i++) order[i] = (struct keyed_row){hashes[i], i};
    qsort(order, n, sizeof *order, by_key);
    for (size_t i = 0, next; i < n && st == LEAT_OK; i = next) {
        size_t now = SIZE_MAX, gone = SIZE_MAX;
        for (next = i; next < n && memcmp(&order[next].hash, &order[i].hash, sizeof order[i].hash) == 0; next++) {
            int32_t weight = leat_weight(rows, order[next].row);
            if (weight > 0) now = order[next].row;
            if (weight < 0) gone = order[next].row;
        }
        if (now != SIZE_MAX)
            st = emit(m, LEAT_EFFECT_UPSERT, now, gone, err);
        else if (gone != SIZE_MAX)
            st = emit(m, LEAT_EFFECT_DELETE, gone, SIZE_MAX, err);
    }
    free(order);
    free(hashes);
    return st;
}

/* ---- as events --------------------------------------------------------------------------------------------------------- */

/* What goes first, then what comes, each as often as its weight says, in the order of the rows. */
static enum leat_status emit_events(struct emission *m, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; m->rows->weights && m->e->def->send_retractions && i < m->rows->row_count; i++)
        for (int32_t w = m->rows->weights[i]; w < 0 && st == LEAT_OK; w++) st = emit(m, LEAT_EFFECT_RETRACT, i, SIZE_MAX, err);
    for (size_t i = 0; i < m->rows->row_count; i++)
        for (int32_t w = leat_weight(m->rows, i); w > 0 && st == LEAT_OK; w--) st = emit(m, LEAT_EFFECT_APPEND, i, SIZE_MAX, err);
    return st;
}

static bool takes_back(const struct leat_changes *c) {
    for (size_t i = 0; c->weights && i < c->row_count; i++)
        if (c->weights[i] < 0) return true;
    return false;
}

enum leat_status leat_effects_emit(struct leat_effects *e, const struct leat_changes *changes, uint64_t mark, struct leat_error *err) {
    struct emission m = {.e = e, .rows = changes, .mark = mark};
    struct leat_changes net; /* what came and went within them is nothing */
    bool consolidate = takes_back(changes);
    leat_changes_init(&net, changes->schema);
    if (consolidate) {
        leat_changes_append(&net, changes, NULL, changes->row_count, 1);
        leat_changes_consolidate(&net);
        m.rows = &net;
    }
    m.hashes = leat_alloc((m.rows->row_count + 1) * sizeof *m.hashes);
    leat_key_hash(m.rows, 0, m.rows->row_count, e->all, m.rows->schema->field_count, m.hashes);
    enum leat_status st = e->upserts ? emit_keys(&m, err) : emit_events(&m, err);
    free(m.hashes);
    leat_buffer_deinit(&m.key);
    leat_buffer_deinit(&m.payload);
    leat_row_block_deinit(&m.block);
    leat_changes_deinit(&net);
    return st;
}
