/* An arrangement: the rows of a changing relation retained by key, as a multiset of encoded rows with weights.
 *
 * Keys are found by hash, rows by the hash of their content, both in one probe; the rows of a key form a doubly linked list. Each
 * row costs about 56 bytes of entry, 16 of slots and its encoding. Checkpoints hold its typed columns and `copies`.
 * Depends on state/keyed.h, heap.h, row.h. */
#ifndef LEAT_STREAM_ARRANGEMENT_H
#define LEAT_STREAM_ARRANGEMENT_H

#include "state/heap.h"
#include "state/keyed.h"
#include "state/row.h"

struct leat_arranged_key {
    int64_t copies;  /* the sum of its rows' weights */
    uint32_t head;   /* first row or LEAT_NO_ENTRY */
    uint32_t row_count;
};
struct leat_arranged_row {
    uint8_t *bytes;
    int64_t weight;
    uint32_t next, previous, key;
};
struct leat_index_list { uint32_t *items; size_t count, capacity; };
/* Rows that end: by their index the cut from which on they may be forgotten; INT64_MAX: none, or there is no row. */
struct leat_arranged_ends {
    bool on;
    size_t column; /* among the stored ones, a TIMESTAMP or TIMESTAMPTZ */
    int64_t keep_us;
    int64_t *at_us;
    size_t capacity;
    int64_t last_us;   /* all rows that end have ended by then; INT64_MIN: there is none */
    uint64_t look_at;  /* when there are so many rows it is looked whether half have ended */
};
struct leat_arrangement {
    struct leat_row_codec codec;
    struct leat_row_block block; /* the chunk being applied */
    uint16_t *key_columns;   /* in the batches */
    uint16_t *stored_keys;   /* the same among the stored columns */
    uint16_t *stored_all;    /* 0..codec.count-1 */
    size_t key_count;
    struct leat_keyed keys;  /* struct leat_arranged_key */
    struct leat_keyed rows;  /* struct leat_arranged_row */
    struct leat_heap heap;
    struct leat_index_list emptied_rows, emptied_keys; /* that may have no copies or rows left */
    bool lists_changed;      /* the user's: wants the list of changed rows */
    struct leat_index_list changed; /* rows whose weight was touched since the last sweep; one may be in it several times */
    struct leat_arranged_ends ends;
    struct leat_schema part_schema; /* stored columns, then copies BIGINT */
    struct leat_changes tombstones;
};

/* Batches have `schema`. columns: the stored ones, NULL: all of them; every key column must be among them. */
void leat_arrangement_init(struct leat_arrangement *a, const struct leat_schema *schema, const uint16_t *columns,
                           size_t column_count, const uint16_t *keys, size_t key_count);
void leat_arrangement_deinit(struct leat_arrangement *a); /* an all-zero one is fine */
/* After init: a row with the value v in `column` (of the batches, and stored) ends when v + keep_us <= cut, one without a value, or an infinite one, never. */
void leat_arrangement_end_by(struct leat_arrangement *a, uint16_t column, int64_t keep_us);
/* Drops the rows that have ended when they are half of all or all that end; nobody may refer to rows. They leave no tombstones: what is stored
 * of them goes when the checkpoint's base is written anew, and until then ends again when it is loaded. */
void leat_arrangement_forget(struct leat_arrangement *a, int64_t cut_us);
/* Is a step worth while to forget alone? When the cut is that of sources read to their end, all that ends has ended. */
bool leat_arrangement_due(const struct leat_arrangement *a, int64_t cut_us);
/* Adds the batch's weights. key_hashes: row_count entries; skip (may be NULL): rows not to retain. Indexes of rows and keys and
 * encoded bytes stay until leat_arrangement_sweep, also those of rows that have no copies left (weight 0). */
void leat_arrangement_apply(struct leat_arrangement *a, const struct leat_changes *batch,
                            const struct leat_hash128 *key_hashes, const uint8_t *skip);
/* The row has `weight` copies from now on; 0: it goes with the next sweep. */
void leat_arrangement_set_weight(struct leat_arrangement *a, uint32_t row, int64_t weight);
/* Drops rows without copies and keys without rows: once at the end of a step. */
void leat_arrangement_sweep(struct leat_arrangement *a);
static inline struct leat_arranged_key *leat_arranged_key_at(const struct leat_arrangement *a, uint32_t key) {
    return leat_entry_payload(leat_keyed_at(&a->keys, key));
}
static inline struct leat_arranged_row *leat_arranged_row_at(const struct leat_arrangement *a, uint32_t row) {
    return leat_entry_payload(leat_keyed_at(&a->rows, row));
}
uint64_t leat_arrangement_bytes(const struct leat_arrangement *a);

/* Checkpoint, as in op.h. */
enum leat_status leat_arrangement_save(struct leat_arrangement *a, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                       struct leat_changes *out);
void leat_arrangement_clean(struct leat_arrangement *a);
void leat_arrangement_load(struct leat_arrangement *a, const struct leat_changes *rows);

#endif
