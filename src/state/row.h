/* Rows as bytes: how state keeps whole rows compactly, and columns of batches gathered and put back.
 *
 * Encoding of a row (only ever in memory; checkpoints hold typed columns):
 *   ceil(columns / 8) bytes   bit i set: column i is NULL
 *   fixed-width columns       in order, their bytes as in the batch (zero under a NULL), unaligned
 *   4 bytes a string column   where its bytes end, counted from the start of the string bytes
 *   string bytes              in order
 * Exact, not canonical: -0.0 stays -0.0. Depends on data/schema.h. */
#ifndef LEAT_STATE_ROW_H
#define LEAT_STATE_ROW_H

#include "data/schema.h"

struct leat_row_codec {
    size_t count, string_count;
    struct leat_type *types;
    uint16_t *columns;  /* the batch columns that are encoded */
    uint32_t *offsets;  /* of a fixed value, or of a string's end position */
    uint32_t string_area; /* where the string bytes begin */
    bool canonical;       /* equal rows have equal bytes: no FLOAT, DOUBLE, INTERVAL */
};
/* Encodings of many rows, one behind the other: row i's bytes are [starts[i], starts[i+1]). Zero it before the first use. */
struct leat_row_block {
    uint8_t *bytes;
    size_t *starts;
    size_t byte_capacity, start_capacity;
};
/* columns (NULL: 0..count-1) of batches with this schema. */
void leat_row_codec_init(struct leat_row_codec *codec, const struct leat_schema *schema, const uint16_t *columns, size_t count);
void leat_row_codec_deinit(struct leat_row_codec *codec);
/* Encodes n rows of a batch, chosen by rows[] (NULL: first_row, first_row+1 ...), into the block, replacing what it held. */
void leat_row_encode(const struct leat_row_codec *codec, const struct leat_changes *c, const uint32_t *rows, size_t first_row,
                     size_t n, struct leat_row_block *block);
void leat_row_block_deinit(struct leat_row_block *block);
size_t leat_row_stored_size(const struct leat_row_codec *codec, const uint8_t *bytes);
/* A string value of an encoded row, not NULL; it points into the row. */
struct leat_string leat_row_string(const struct leat_row_codec *codec, const uint8_t *bytes, size_t column);
/* Decodes n rows into out's columns first_column.. at rows at..at+n. The caller has reserved them and sets row_count. */
void leat_row_read(const struct leat_row_codec *codec, const uint8_t *const *rows, size_t n, struct leat_changes *out,
                   size_t first_column, size_t at);

/* out's column at rows at..at+n := from's column at rows[] (NULL: first_row, first_row+1 ...), strings copied. As above, the
 * caller has reserved the rows; new rows' validity bits are 1 (the invariant of changes.c). */
void leat_gather(struct leat_changes *out, size_t out_column, size_t at, const struct leat_changes *from, size_t column,
                 const uint32_t *rows, size_t first_row, size_t n);
/* The same without copying strings: they stay in from's memory. */
void leat_gather_borrowed(struct leat_changes *out, size_t out_column, size_t at, const struct leat_changes *from, size_t column,
                          const uint32_t *rows, size_t first_row, size_t n);
void leat_fill_null(struct leat_changes *out, size_t out_column, size_t at, size_t n);
/* Copies the bytes of long strings at rows at..at+n into out's arena. */
void leat_own_strings(struct leat_changes *out, size_t out_column, size_t at, size_t n);
/* Forgets rows from `row_count` on. */
void leat_changes_truncate(struct leat_changes *c, size_t row_count);
/* Makes *view the rows from..from+n of c without copying; from is a multiple of 64. columns: c's field_count, the caller's
 * storage. The view is valid while c is unchanged and is never deinitialised. */
void leat_changes_view(struct leat_changes *view, struct leat_column *columns, const struct leat_changes *c, size_t from, size_t n);
/* Validity of rows from..from+n of a column of at least so many rows, from anywhere: the column's own words or, moved, the arena's. NULL:
 * none is NULL. */
uint64_t *leat_valid_from(struct leat_arena *, const struct leat_column *, size_t from, size_t n);

#endif
