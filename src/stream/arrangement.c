/* Retained rows by key. See arrangement.h. */
#include "stream/arrangement.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <stdlib.h>

#include "stream/save.h"

enum { CHUNK_ROWS = 512, LOOK_AT_FIRST = 64, LOOK_SHARE = 16 };

void leat_arrangement_init(struct leat_arrangement *a, const struct leat_schema *schema, const uint16_t *columns,
                           size_t column_count, const uint16_t *keys, size_t key_count) {
    size_t count = columns ? column_count : schema->field_count;
    *a = (struct leat_arrangement){.key_count = key_count};
    leat_row_codec_init(&a->codec, schema, columns, count);
    a->key_columns = leat_alloc((key_count + 1) * sizeof *a->key_columns);
    a->stored_keys = leat_alloc((key_count + 1) * sizeof *a->stored_keys);
    a->stored_all = leat_alloc((count + 1) * sizeof *a->stored_all);
    for (size_t i = 0; i < count; i++) {
        const struct leat_field *field = &schema->fields[a->codec.columns[i]];
        a->stored_all[i] = (uint16_t)i;
        leat_schema_add(&a->part_schema, field->name, field->type, false);
    }
    for (size_t k = 0; k < key_count; k++) {
        size_t at = 0;
        while (at < count && a->codec.columns[at] != keys[k])
            at++;
        assert(at < count);
        a->key_columns[k] = keys[k];
        a->stored_keys[k] = (uint16_t)at;
    }
    leat_schema_add(&a->part_schema, "copies", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_keyed_init(&a->keys, sizeof(struct leat_arranged_key));
    leat_keyed_init(&a->rows, sizeof(struct leat_arranged_row));
    leat_changes_init(&a->tombstones, &a->part_schema);
}

void leat_arrangement_deinit(struct leat_arrangement *a) {
    if (a->tombstones.schema) leat_changes_deinit(&a->tombstones);
    leat_schema_deinit(&a->part_schema);
    leat_keyed_deinit(&a->keys);
    leat_keyed_deinit(&a->rows);
    leat_heap_deinit(&a->heap);
    leat_row_codec_deinit(&a->codec);
    leat_row_block_deinit(&a->block);
    free(a->key_columns);
    free(a->stored_keys);
    free(a->stored_all);
    free(a->emptied_rows.items);
    free(a->emptied_keys.items);
    free(a->changed.items);
    free(a->ends.at_us);
    *a = (struct leat_arrangement){0};
}

/* ---- rows that end */

void leat_arrangement_end_by(struct leat_arrangement *a, uint16_t column, int64_t keep_us) {
    size_t at = 0;
    while (at < a->codec.count && a->codec.columns[at] != column) at++;
    assert(at < a->codec.count);
    a->ends = (struct leat_arranged_ends){.on = true, .column = at, .keep_us = keep_us, .last_us = INT64_MIN, .look_at = LOOK_AT_FIRST};
}

static int64_t end_of(const struct leat_arrangement *a, const uint8_t *bytes) {
    const size_t column = a->ends.column;
    int64_t v, end;
    if (bytes[column / 8] >> column % 8 & 1) return INT64_MAX;
    memcpy(&v, bytes + a->codec.offsets[column], sizeof v);
    return v == INT64_MAX || v == -INT64_MAX || __builtin_add_overflow(v, a->ends.keep_us, &end) ? INT64_MAX : end;
}

static void note_end(struct leat_arrangement *a, uint32_t index, const uint8_t *bytes) {
    struct leat_arranged_ends *ends = &a->ends;
    if (!ends->on) return;
    if (index >= ends->capacity) {
        size_t capacity = (size_t)index + index / 2 + LOOK_AT_FIRST;
        ends->at_us = leat_realloc(ends->at_us, capacity * sizeof *ends->at_us);
        while (ends->capacity < capacity) ends->at_us[ends->capacity++] = INT64_MAX;
    }
    ends->at_us[index] = end_of(a, bytes);
    if (ends->at_us[index] != INT64_MAX && ends->at_us[index] > ends->last_us) ends->last_us = ends->at_us[index];
}

static void link_row(struct leat_arrangement *a, uint32_t index, struct leat_arranged_row *row, uint32_t key_index) {
    struct leat_arranged_key *key = leat_arranged_key_at(a, key_index);
    if (!key->row_count) key->head = LEAT_NO_ENTRY;
    row->key = key_index;
    row->previous = LEAT_NO_ENTRY;
    row->next = key->head;
    if (key->head != LEAT_NO_ENTRY) leat_arranged_row_at(a, key->head)->previous = index;
    key->head = index;
    key->row_count++;
}

static void push_index(struct leat_index_list *list, uint32_t index) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = leat_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = index;
}

static void unlink_row(struct leat_arrangement *a, const struct leat_arranged_row *row) {
    struct leat_arranged_key *key = leat_arranged_key_at(a, row->key);
    if (row->previous == LEAT_NO_ENTRY)
        key->head = row->next;
    else
        leat_arranged_row_at(a, row->previous)->next = row->next;
    if (row->next != LEAT_NO_ENTRY) leat_arranged_row_at(a, row->next)->previous = row->previous;
    if (--key->row_count == 0) push_index(&a->emptied_keys, row->key);
}

static void drop_row(struct leat_arrangement *a, uint32_t index) {
    struct leat_entry *e = leat_keyed_at(&a->rows, index);
    struct leat_arranged_row *row = leat_entry_payload(e);
    if (e->flags & LEAT_ENTRY_SAVED) {
        const uint8_t *rows[1] = {row->bytes};
        size_t at = leat_save_tombstone(&a->tombstones);
        leat_row_read(&a->codec, rows, 1, &a->tombstones, 0, at);
        ((int64_t *)a->tombstones.columns[a->codec.count].data)[at] = 0;
    }
    if (a->ends.on) a->ends.at_us[index] = INT64_MAX;
    leat_arranged_key_at(a, row->key)->copies -= row->weight;
    unlink_row(a, row);
    leat_heap_free(&a->heap, row->bytes, leat_row_stored_size(&a->codec, row->bytes));
    leat_keyed_remove(&a->rows, index);
}

/* The row's entry is new: keep its bytes, those of row i of the block, and hang it under its key. */
static void keep_row(struct leat_arrangement *a, uint32_t index, size_t i, uint32_t key) {
    struct leat_entry *e = leat_keyed_at(&a->rows, index);
    struct leat_arranged_row *row = leat_entry_payload(e);
    size_t size = a->block.starts[i + 1] - a->block.starts[i];
    e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
    row->bytes = leat_heap_alloc(&a->heap, size);
    memcpy(row->bytes, a->block.bytes + a->block.starts[i], size);
    link_row(a, index, row, key);
    note_end(a, index, row->bytes);
}

struct chunk {
    uint32_t rows[CHUNK_ROWS]; /* of the batch */
    struct leat_hash128 contents[CHUNK_ROWS], keys[CHUNK_ROWS];
    uint32_t row_entries[CHUNK_ROWS], key_entries[CHUNK_ROWS];
    size_t n;
};

/* Encodes the chunk's rows of the batch into the block and hashes their content: the bytes where equal rows have equal
 * ones. */
static void encode_chunk(struct leat_arrangement *a, const struct leat_row_codec *codec,
                         const struct leat_changes *batch, struct chunk *c) {
    leat_row_encode(codec, batch, c->rows, 0, c->n, &a->block);
    for (size_t i = 0; i < c->n; i++) {
        if (!codec->canonical) {
            leat_key_hash(batch, c->rows[i], 1, codec->columns, codec->count, &c->contents[i]);
            continue;
        }
        XXH128_hash_t h =
            XXH3_128bits(a->block.bytes + a->block.starts[i], a->block.starts[i + 1] - a->block.starts[i]);
        c->contents[i] = (struct leat_hash128){.low = h.low64, .high = h.high64};
    }
}

void leat_arrangement_set_weight(struct leat_arrangement *a, uint32_t index, int64_t weight) {
    struct leat_entry *e = leat_keyed_at(&a->rows, index);
    struct leat_arranged_row *row = leat_entry_payload(e);
    leat_arranged_key_at(a, row->key)->copies += weight - row->weight;
    row->weight = weight;
    leat_keyed_mark_dirty(&a->rows, e, index);
    if (!weight) push_index(&a->emptied_rows, index);
    if (a->lists_changed) push_index(&a->changed, index);
}

static void apply_chunk(struct leat_arrangement *a, const struct leat_changes *batch, struct chunk *c) {
    leat_keyed_upsert(&a->rows, c->contents, c->n, c->row_entries);
    leat_keyed_upsert(&a->keys, c->keys, c->n, c->key_entries);
    for (size_t i = 0; i < c->n; i++) {
        struct leat_entry *e = leat_keyed_at(&a->rows, c->row_entries[i]);
        struct leat_arranged_row *row = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_NEW) keep_row(a, c->row_entries[i], i, c->key_entries[i]);
        leat_arrangement_set_weight(a, c->row_entries[i], row->weight + leat_weight(batch, c->rows[i]));
    }
}

void leat_arrangement_apply(struct leat_arrangement *a, const struct leat_changes *batch,
                            const struct leat_hash128 *key_hashes, const uint8_t *skip) {
    struct chunk c;
    for (size_t from = 0; from < batch->row_count; from += CHUNK_ROWS) {
        size_t n = batch->row_count - from < CHUNK_ROWS ? batch->row_count - from : CHUNK_ROWS;
        c.n = 0;
        for (size_t i = 0; i < n; i++) {
            if ((skip && skip[from + i]) || !leat_weight(batch, from + i)) continue;
            c.rows[c.n] = (uint32_t)(from + i);
            c.keys[c.n++] = key_hashes[from + i];
        }
        encode_chunk(a, &a->codec, batch, &c);
        apply_chunk(a, batch, &c);
    }
}

void leat_arrangement_sweep(struct leat_arrangement *a) {
    for (size_t i = 0; i < a->emptied_rows.count; i++) {
        struct leat_entry *e = leat_keyed_at(&a->rows, a->emptied_rows.items[i]);
        const struct leat_arranged_row *row = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_LIVE && !row->weight) drop_row(a, a->emptied_rows.items[i]);
    }
    for (size_t i = 0; i < a->emptied_keys.count; i++) {
        struct leat_entry *e = leat_keyed_at(&a->keys, a->emptied_keys.items[i]);
        const struct leat_arranged_key *key = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_LIVE && !key->row_count) leat_keyed_remove(&a->keys, a->emptied_keys.items[i]);
    }
    a->emptied_rows.count = a->emptied_keys.count = a->changed.count = 0;
}

/* The walk goes over all indexes ever given: there must be rows enough to pay for it. */
static bool all_ended(const struct leat_arrangement *a, int64_t cut_us) {
    return a->ends.on && a->ends.last_us != INT64_MIN && cut_us >= a->ends.last_us && a->rows.count >= a->rows.bound / LOOK_SHARE;
}

bool leat_arrangement_due(const struct leat_arrangement *a, int64_t cut_us) {
    return cut_us >= INT64_MAX - 1 && all_ended(a, cut_us);
}

void leat_arrangement_forget(struct leat_arrangement *a, int64_t cut_us) {
    struct leat_arranged_ends *ends = &a->ends;
    bool all = all_ended(a, cut_us);
    uint32_t ended = 0, bound = a->rows.bound;
    if (!ends->on || cut_us == INT64_MIN || (!all && a->rows.count < ends->look_at)) return;
    for (uint32_t i = 0; i < bound; i++) ended += ends->at_us[i] <= cut_us;
    for (uint32_t i = 0; i < bound && ended && (all || ended >= a->rows.count / 2); i++) {
        if (ends->at_us[i] > cut_us) continue;
        leat_keyed_at(&a->rows, i)->flags &= ~(uint32_t)LEAT_ENTRY_SAVED;
        drop_row(a, i);
    }
    leat_arrangement_sweep(a);
    if (all) ends->last_us = INT64_MIN;
    ends->look_at = a->rows.count + a->rows.count / 4 + bound / LOOK_SHARE;
    if (ends->look_at < LOOK_AT_FIRST) ends->look_at = LOOK_AT_FIRST;
}

uint64_t leat_arrangement_bytes(const struct leat_arrangement *a) {
    return leat_keyed_bytes(&a->keys) + leat_keyed_bytes(&a->rows) + a->heap.reserved_bytes + a->ends.capacity * sizeof *a->ends.at_us;
}

enum leat_status leat_arrangement_save(struct leat_arrangement *a, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                       struct leat_changes *out) {
    size_t n = 0, before = out->row_count;
    uint64_t entry_cursor;
    if (!leat_save_tombstones(&a->tombstones, only_dirty, cursor, max_rows, out, &entry_cursor)) return LEAT_OK;
    size_t at = out->row_count, room = max_rows - (at - before);
    const uint8_t **rows = leat_alloc((room + 1) * sizeof *rows);
    leat_changes_reserve(out, at + room);
    int64_t *copies = (int64_t *)out->columns[a->codec.count].data + at;
    uint32_t index;
    while (n < room && leat_keyed_next(&a->rows, only_dirty, &entry_cursor, &index)) {
        const struct leat_arranged_row *row = leat_arranged_row_at(a, index);
        rows[n] = row->bytes;
        copies[n++] = row->weight;
    }
    leat_row_read(&a->codec, rows, n, out, 0, at);
    leat_save_added(&a->tombstones, only_dirty, out, n, entry_cursor, cursor);
    free(rows);
    return out->row_count > before ? LEAT_OK : LEAT_END;
}

void leat_arrangement_clean(struct leat_arrangement *a) {
    leat_keyed_clean(&a->rows);
    leat_changes_reset(&a->tombstones);
}

static void load_present(struct leat_arrangement *a, const struct leat_changes *rows, size_t from, struct chunk *c) {
    const int64_t *copies = rows->columns[a->codec.count].data;
    leat_keyed_upsert(&a->rows, c->contents, c->n, c->row_entries);
    leat_keyed_upsert(&a->keys, c->keys, c->n, c->key_entries);
    for (size_t i = 0; i < c->n; i++) {
        struct leat_entry *e = leat_keyed_at(&a->rows, c->row_entries[i]);
        struct leat_arranged_row *row = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_NEW) keep_row(a, c->row_entries[i], i, c->key_entries[i]);
        e->flags |= LEAT_ENTRY_SAVED;
        leat_arranged_key_at(a, c->key_entries[i])->copies += copies[from + i] - row->weight;
        row->weight = copies[from + i];
    }
}

static void load_gone(struct leat_arrangement *a, struct chunk *c) {
    leat_keyed_find(&a->rows, c->contents, c->n, c->row_entries);
    for (size_t i = 0; i < c->n; i++) {
        if (c->row_entries[i] == LEAT_NO_ENTRY) continue;
        struct leat_entry *e = leat_keyed_at(&a->rows, c->row_entries[i]);
        if (!(e->flags & LEAT_ENTRY_LIVE)) continue;
        e->flags &= ~(uint32_t)LEAT_ENTRY_SAVED;
        drop_row(a, c->row_entries[i]);
    }
}

void leat_arrangement_load(struct leat_arrangement *a, const struct leat_changes *rows) {
    struct chunk c;
    struct leat_row_codec codec = a->codec; /* the same encoding, read from the part's columns */
    codec.columns = a->stored_all;
    for (size_t from = 0; from < rows->row_count; from += c.n) {
        bool gone;
        c.n = leat_save_run(rows, from, CHUNK_ROWS, &gone);
        for (size_t i = 0; i < c.n; i++)
            c.rows[i] = (uint32_t)(from + i);
        encode_chunk(a, &codec, rows, &c);
        leat_key_hash(rows, from, c.n, a->stored_keys, a->key_count, c.keys);
        if (gone)
            load_gone(a, &c);
        else
            load_present(a, rows, from, &c);
    }
    leat_arrangement_sweep(a);
    leat_keyed_loaded(&a->rows);
}
