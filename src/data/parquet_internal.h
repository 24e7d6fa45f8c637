/* Between the files that write Parquet: parquet.c (the file), parquet_page.c (a column's pages), parquet_encode.c
 * (encodings), parquet_footer.c (what Thrift describes). */
#ifndef LEAT_DATA_PARQUET_INTERNAL_H
#define LEAT_DATA_PARQUET_INTERNAL_H

#include <zstd.h>

#include "data/parquet.h"

/* ---- parquet.thrift's numbers */

enum { P_BOOLEAN = 0, P_INT32 = 1, P_INT64 = 2, P_FLOAT = 4, P_DOUBLE = 5, P_BYTE_ARRAY = 6, P_FIXED = 7 };
enum {
    C_NONE = -1,
    C_UTF8 = 0,
    C_DECIMAL = 5,
    C_DATE = 6,
    C_TIMESTAMP_MICROS = 10,
    C_INT_8 = 15,
    C_INT_16,
    C_INT_32,
    C_INT_64
};
enum { E_PLAIN = 0, E_RLE = 3, E_DELTA_BINARY_PACKED = 5, E_DELTA_LENGTH_BYTE_ARRAY = 6, E_RLE_DICTIONARY = 8 };
enum { CODEC_NONE = 0, CODEC_ZSTD = 6 };

struct leat_parquet_storage {
    int physical, converted; /* -1: none */
    uint8_t width, scale;    /* C_DECIMAL */
};

/* What the footer says of a column's part of a row group. */
struct leat_parquet_chunk {
    size_t rows;
    size_t dictionary_start, start; /* of the pages' headers, from the file's start; dictionary_start 0: none */
    size_t bytes, plain_bytes;      /* of headers and pages, as they are and before compression */
    int encoding, codec;
    struct leat_range range;
};

struct leat_parquet_column {
    const char *name;
    struct leat_type type;
    struct leat_parquet_storage storage;
};

/* ---- parquet_encode.c: all append */

void leat_parquet_put_byte(struct leat_buffer *out, unsigned byte);
void leat_parquet_put_varint(struct leat_buffer *out, uint64_t value);
void leat_parquet_put_zigzag(struct leat_buffer *out, int64_t value);

/* DELTA_BINARY_PACKED. narrow: INT32, whose differences wrap at 32 bits. */
void leat_parquet_put_delta(const int64_t *values, size_t count, bool narrow, struct leat_buffer *out);
/* RLE and bit-packing: one run. `width` bits a value, 1 to 32. */
void leat_parquet_put_packed(const uint32_t *values, size_t count, unsigned width, struct leat_buffer *out);
/* How many bits the value takes; 0: none. */
static inline unsigned leat_parquet_bits(uint64_t value) {
    return value ? 64 - (unsigned)__builtin_clzll(value) : 0;
}
/* n bytes more, to be filled; aborts when out of memory. */
char *leat_parquet_grow(struct leat_buffer *out, size_t n);

/* ---- parquet_page.c */

struct leat_parquet_work { /* memory that the pages of a file are made in */
    enum leat_parquet_form form;
    struct leat_buffer dictionary, page, packed, packed_dictionary;
    int64_t *integers; /* a row group's */
    uint32_t *indices;
    struct leat_parquet_entries *entries;
    ZSTD_CCtx *zstd;
};
void leat_parquet_work_init(struct leat_parquet_work *, enum leat_parquet_form, size_t rows /* of a group at most */);
void leat_parquet_work_deinit(struct leat_parquet_work *);
/* Appends one column's pages of these rows. false: they do not fit, see leat_parquet_write. */
bool leat_parquet_put_column(struct leat_parquet_work *, const struct leat_parquet_column *,
                             const struct leat_parquet_rows *, size_t column, size_t file_start,
                             struct leat_parquet_chunk *chunk, struct leat_buffer *out);

/* The next of the rows that lie together in a batch. */
struct leat_parquet_span {
    const struct leat_column *column;
    size_t from, to;
    size_t batch, left; /* where it goes on; zeroed at first */
    bool begun;
};
bool leat_parquet_next(const struct leat_parquet_rows *, size_t column, struct leat_parquet_span *);

/* ---- parquet_footer.c */

bool leat_parquet_storage_of(struct leat_type type, struct leat_parquet_storage *out); /* false: it has none */
void leat_parquet_put_page_header(size_t values, int encoding, size_t plain_bytes, size_t bytes,
                                  struct leat_buffer *out);
void leat_parquet_put_dictionary_header(size_t values, size_t plain_bytes, size_t bytes, struct leat_buffer *out);
/* chunks: group after group, a chunk a column; statistics: of each chunk. */
void leat_parquet_put_footer(const struct leat_parquet_column *columns, size_t column_count,
                             const struct leat_parquet_chunk *chunks, size_t group_count, bool statistics,
                             struct leat_buffer *out);

#endif
