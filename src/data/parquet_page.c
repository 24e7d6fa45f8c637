/* A column's pages: the definition levels (1: not NULL; RLE or bit-packed, behind their length) and then the values
 * that are not NULL. Plain, or in the encoding that fits them, before it their dictionary if they have one. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "base/limits.h"
#include "data/parquet_internal.h"

/* ---- rows of batches */

bool leat_parquet_next(const struct leat_parquet_rows *rows, size_t column, struct leat_parquet_span *span) {
    if (!span->begun) {
        span->begun = true;
        span->left = rows->count;
        for (span->to = rows->from;
             span->batch < rows->batch_count && span->to >= rows->batches[span->batch].row_count;)
            span->to -= rows->batches[span->batch++].row_count;
    } else {
        span->batch++;
        span->to = 0;
    }
    for (; span->left && span->batch < rows->batch_count; span->batch++, span->to = 0) {
        size_t there = rows->batches[span->batch].row_count - span->to;
        if (!there) continue;
        span->column = &rows->batches[span->batch].columns[column];
        span->from = span->to;
        span->to += there < span->left ? there : span->left;
        span->left -= span->to - span->from;
        return true;
    }
    return false;
}

/* ---- definition levels, booleans: bits, the first lowest */

struct bits {
    struct leat_buffer *out;
    unsigned byte, count;
};

static void put_bit(struct bits *b, bool bit) {
    b->byte |= (unsigned)bit << b->count;
    if (++b->count < 8) return;
    leat_parquet_put_byte(b->out, b->byte);
    b->byte = b->count = 0;
}

static void put_last_bits(struct bits *b) {
    if (b->count) leat_parquet_put_byte(b->out, b->byte);
}

static void put_int32(struct leat_buffer *out, int32_t value) {
    leat_putn(out, (const char *)&value, sizeof value);
}

static void put_levels(const struct leat_parquet_rows *rows, size_t column, size_t nulls, struct leat_buffer *out) {
    size_t at = out->length;
    struct bits bits = {.out = out};
    put_int32(out, 0);
    if (nulls == 0 || nulls == rows->count) { /* one run */
        leat_parquet_put_varint(out, (uint64_t)rows->count << 1);
        leat_parquet_put_byte(out, nulls == 0);
    } else {
        leat_parquet_put_varint(out, (uint64_t)(rows->count + 7) / 8 << 1 | 1);
        for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);)
            for (size_t row = s.from; row < s.to; row++)
                put_bit(&bits, !leat_is_null(s.column, row));
        put_last_bits(&bits);
    }
    int32_t length = (int32_t)(out->length - at - sizeof length);
    memcpy(out->data + at, &length, sizeof length);
}

/* ---- plain values */

static void put_fixed(struct leat_buffer *out, leat_i128 value) { /* 16 bytes, the highest first */
    char bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[15 - i] = (char)((unsigned __int128)value >> (8 * i));
    leat_putn(out, bytes, sizeof bytes);
}

static bool put_huge(struct leat_buffer *out, leat_i128 value) {
    const leat_i128 limit = (leat_i128)1000000000000000000 * 1000000000000000000 * 100; /* 10^38 */
    if (value >= limit || value <= -limit) return false;
    put_fixed(out, value);
    return true;
}

static void put_int64(struct leat_buffer *out, int64_t value) {
    leat_putn(out, (const char *)&value, sizeof value);
}

static void put_string(struct leat_buffer *out, const struct leat_string *s) {
    put_int32(out, (int32_t)s->length);
    leat_putn(out, leat_string_data(s), s->length);
}

/* One value that is not NULL; false when it does not fit its storage type. */
static bool put_value(struct leat_buffer *out, const struct leat_column *c, size_t row) {
    const void *data = c->data;
    switch (c->type.kind) {
    case LEAT_TINYINT:
        put_int32(out, ((const int8_t *)data)[row]);
        return true;
    case LEAT_UTINYINT:
        put_int32(out, ((const uint8_t *)data)[row]);
        return true;
    case LEAT_SMALLINT:
        put_int32(out, ((const int16_t *)data)[row]);
        return true;
    case LEAT_USMALLINT:
        put_int32(out, ((const uint16_t *)data)[row]);
        return true;
    case LEAT_UINTEGER:
        put_int64(out, ((const uint32_t *)data)[row]);
        return true;
    case LEAT_UBIGINT:
        put_fixed(out, ((const uint64_t *)data)[row]);
        return true;
    case LEAT_HUGEINT:
        return put_huge(out, ((const leat_i128 *)data)[row]);
    case LEAT_UHUGEINT: /* beyond 2^127 it looks negative */
        return ((const leat_i128 *)data)[row] >= 0 && put_huge(out, ((const leat_i128 *)data)[row]);
    case LEAT_DECIMAL:
        if (c->type.width <= 4)
            put_int32(out, ((const int16_t *)data)[row]);
        else if (c->type.width <= 9)
            put_int32(out, ((const int32_t *)data)[row]);
        else if (c->type.width <= 18)
            put_int64(out, ((const int64_t *)data)[row]);
        else
            put_fixed(out, ((const leat_i128 *)data)[row]);
        return true;
    case LEAT_VARCHAR:
    case LEAT_BLOB:
        put_string(out, &((const struct leat_string *)data)[row]);
        return true;
    default: { /* as it lies in memory */
        size_t size = leat_type_size(c->type);
        leat_putn(out, (const char *)data + row * size, size);
        return true;
    }
    }
}

static bool put_plain(const struct leat_parquet_rows *rows, size_t column, struct leat_buffer *out) {
    struct bits bits = {.out = out};
    size_t start = out->length;
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);) {
        const struct leat_column *c = s.column;
        for (size_t row = s.from; row < s.to; row++) {
            if (leat_is_null(c, row)) continue;
            if (c->type.kind == LEAT_BOOLEAN)
                put_bit(&bits, ((const uint8_t *)c->data)[row]);
            else if (!put_value(out, c, row))
                return false;
            if (out->length - start > LEAT_PARQUET_PAGE_BYTES_MAX) return false;
        }
    }
    put_last_bits(&bits);
    return true;
}

/* ---- compact: dictionaries. Of strings and numbers alike, for as long as there are few of them */

enum { ENTRIES_MAX = 4096, SLOT_BITS = 13, SLOTS = 1 << SLOT_BITS };
enum {
    DICTIONARY_ROWS_MIN = 64,
    TRIAL_ROWS = 1024,
    TRIAL_ENTRIES_MAX = 960
}; /* so many different ones at first: they will not repeat */

struct leat_parquet_entries {
    uint16_t slots[SLOTS]; /* entry + 1 */
    size_t count;
    union {
        int64_t integers[ENTRIES_MAX];
        struct leat_string texts[ENTRIES_MAX];
    };
};

static uint64_t mix(uint64_t a) {
    a *= 0x9E3779B97F4A7C15u;
    return a ^ a >> 32;
}

/* The upper bits: the lower ones of a product tell nothing of values whose own are zeros, as of most floats. */
static size_t slot_of(uint64_t hash) {
    return hash >> (64 - SLOT_BITS);
}

/* Both words of a short one are compared: they are padded with zeros. */
static bool same_text(const struct leat_string *a, const struct leat_string *b) {
    uint64_t words_a[2], words_b[2];
    memcpy(words_a, a, sizeof words_a);
    memcpy(words_b, b, sizeof words_b);
    if (words_a[0] != words_b[0]) return false;
    return words_a[1] == words_b[1] || (a->length > LEAT_STRING_INLINE && leat_string_equal(a, b));
}

static uint64_t hash_of(const struct leat_string *s) {
    uint64_t words[2];
    if (s->length > LEAT_STRING_INLINE) return XXH3_64bits(s->u.pointer.data, s->length);
    memcpy(words, s, sizeof words); /* padded with zeros */
    return mix(words[0] ^ mix(words[1]));
}

static bool too_many(const struct leat_parquet_entries *e, size_t seen) {
    return e->count == ENTRIES_MAX || (e->count > TRIAL_ENTRIES_MAX && seen < TRIAL_ROWS);
}

/* The entry's place, or -1: there are too many. */
static int64_t find_integer(struct leat_parquet_entries *e, int64_t value, size_t seen) {
    size_t slot = slot_of(mix((uint64_t)value));
    for (; e->slots[slot]; slot = (slot + 1) % SLOTS)
        if (e->integers[e->slots[slot] - 1] == value) return e->slots[slot] - 1;
    if (too_many(e, seen)) return -1;
    e->integers[e->count] = value;
    e->slots[slot] = (uint16_t)++e->count;
    return (int64_t)e->count - 1;
}

static int64_t find_text(struct leat_parquet_entries *e, const struct leat_string *value, size_t seen) {
    size_t slot = slot_of(hash_of(value));
    for (; e->slots[slot]; slot = (slot + 1) % SLOTS)
        if (same_text(&e->texts[e->slots[slot] - 1], value)) return e->slots[slot] - 1;
    if (too_many(e, seen)) return -1;
    e->texts[e->count] = *value;
    e->slots[slot] = (uint16_t)++e->count;
    return (int64_t)e->count - 1;
}

static void forget_entries(struct leat_parquet_entries *e) {
    memset(e->slots, 0, sizeof e->slots);
    e->count = 0;
}

static bool index_integers(struct leat_parquet_work *w, size_t count) {
    forget_entries(w->entries);
    for (size_t i = 0; i < count; i++) {
        int64_t entry = find_integer(w->entries, w->integers[i], i);
        if (entry < 0) return false;
        w->indices[i] = (uint32_t)entry;
    }
    return true;
}

static bool index_texts(struct leat_parquet_work *w, const struct leat_parquet_rows *rows, size_t column,
                        size_t count) {
    size_t n = 0;
    forget_entries(w->entries);
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);) {
        const struct leat_string *v = s.column->data;
        for (size_t row = s.from; row < s.to; row++) {
            if (leat_is_null(s.column, row)) continue;
            int64_t entry = find_text(w->entries, &v[row], n);
            if (entry < 0) return false;
            w->indices[n++] = (uint32_t)entry;
        }
    }
    return w->entries->count <= count / 2;
}

static int put_indices(struct leat_parquet_work *w, size_t count) {
    unsigned width = leat_parquet_bits(w->entries->count - 1);
    if (!width) width = 1;
    leat_parquet_put_byte(&w->page, width);
    leat_parquet_put_packed(w->indices, count, width, &w->page);
    return E_RLE_DICTIONARY;
}

/* ---- compact: the encoding that fits */

#define GATHER(type)                                                                                                   \
    do {                                                                                                               \
        const type *v = s.column->data;                                                                                \
        for (size_t row = s.from; row < s.to; row++)                                                                   \
            if (!leat_is_null(s.column, row)) out[n++] = (int64_t)v[row];                                              \
    } while (0)

/* Numbers, dates and times of up to 64 bits that are not NULL; floats as their bits. */
static size_t gather_integers(const struct leat_parquet_rows *rows, size_t column, struct leat_type type,
                              int64_t *out) {
    size_t n = 0;
    bool is_unsigned = type.kind >= LEAT_UTINYINT && type.kind <= LEAT_UINTEGER;
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);) {
        switch (leat_type_size(type)) {
        case 1:
            if (is_unsigned)
                GATHER(uint8_t);
            else
                GATHER(int8_t);
            break;
        case 2:
            if (is_unsigned)
                GATHER(uint16_t);
            else
                GATHER(int16_t);
            break;
        case 4:
            if (is_unsigned)
                GATHER(uint32_t);
            else
                GATHER(int32_t);
            break;
        default:
            GATHER(int64_t);
        }
    }
    return n;
}

/* Numbers of up to 64 bits: a dictionary where that is smaller than their deltas (floats: than they are). */
static int put_numbers(struct leat_parquet_work *w, const struct leat_parquet_column *column,
                       const struct leat_parquet_rows *rows, size_t index) {
    enum { HEADER_BYTES = 32 }; /* and what the footer says of it, roughly */
    int physical = column->storage.physical;
    bool narrow = physical == P_INT32 || physical == P_FLOAT, real = physical == P_FLOAT || physical == P_DOUBLE;
    size_t count = gather_integers(rows, index, column->type, w->integers), width = narrow ? 4 : 8;
    size_t start = w->page.length, bytes = count * width;
    if (!real) {
        leat_parquet_put_delta(w->integers, count, narrow, &w->page);
        bytes = w->page.length - start;
    }
    if (index_integers(w, count) &&
        HEADER_BYTES + w->entries->count * width + count * leat_parquet_bits(w->entries->count - 1) / 8 < bytes) {
        w->page.length = start;
        for (size_t i = 0; i < w->entries->count; i++)
            leat_putn(&w->dictionary, (const char *)&w->entries->integers[i], width);
        return put_indices(w, count);
    }
    if (!real) return E_DELTA_BINARY_PACKED;
    return put_plain(rows, index, &w->page) ? E_PLAIN : -1;
}

/* -1: too long. */
static int put_texts(struct leat_parquet_work *w, const struct leat_parquet_rows *rows, size_t column, size_t count) {
    if (count >= DICTIONARY_ROWS_MIN && index_texts(w, rows, column, count)) {
        for (size_t i = 0; i < w->entries->count; i++) {
            put_string(&w->dictionary, &w->entries->texts[i]);
            if (w->dictionary.length > LEAT_PARQUET_PAGE_BYTES_MAX) return -1;
        }
        return put_indices(w, count);
    }
    size_t n = 0, bytes = 0;
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);) {
        const struct leat_string *v = s.column->data;
        for (size_t row = s.from; row < s.to; row++) {
            if (leat_is_null(s.column, row)) continue;
            w->integers[n++] = v[row].length;
            bytes += v[row].length;
        }
    }
    if (bytes > LEAT_PARQUET_PAGE_BYTES_MAX) return -1;
    leat_parquet_put_delta(w->integers, n, true, &w->page);
    char *at = leat_parquet_grow(&w->page, bytes);
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, column, &s);) {
        const struct leat_string *v = s.column->data;
        for (size_t row = s.from; row < s.to; row++) {
            if (leat_is_null(s.column, row)) continue;
            memcpy(at, leat_string_data(&v[row]), v[row].length);
            at += v[row].length;
        }
    }
    return E_DELTA_LENGTH_BYTE_ARRAY;
}

/* The encoding, or -1. */
static int put_values(struct leat_parquet_work *w, const struct leat_parquet_column *column,
                      const struct leat_parquet_rows *rows, size_t index, const struct leat_range *range) {
    size_t count = rows->count - range->null_count;
    int physical = column->storage.physical;
    if (w->form == LEAT_PARQUET_COMPACT && count) {
        if (physical == P_BYTE_ARRAY) return put_texts(w, rows, index, count);
        if (physical != P_BOOLEAN && physical != P_FIXED) return put_numbers(w, column, rows, index);
    }
    return put_plain(rows, index, &w->page) ? E_PLAIN : -1;
}

/* ---- pages */

void leat_parquet_work_init(struct leat_parquet_work *w, enum leat_parquet_form form, size_t rows) {
    *w = (struct leat_parquet_work){.form = form};
    if (form != LEAT_PARQUET_COMPACT) return;
    w->integers = leat_alloc((rows + 1) * sizeof *w->integers);
    w->indices = leat_alloc((rows + 1) * sizeof *w->indices);
    w->entries = leat_alloc(sizeof *w->entries);
    w->zstd = ZSTD_createCCtx();
    if (!w->zstd) leat_panic("out of memory");
}

void leat_parquet_work_deinit(struct leat_parquet_work *w) {
    leat_buffer_deinit(&w->dictionary);
    leat_buffer_deinit(&w->page);
    leat_buffer_deinit(&w->packed);
    leat_buffer_deinit(&w->packed_dictionary);
    free(w->integers);
    free(w->indices);
    free(w->entries);
    ZSTD_freeCCtx(w->zstd);
}

static void compress(struct leat_parquet_work *w, const struct leat_buffer *page, struct leat_buffer *packed) {
    leat_buffer_reset(packed);
    size_t room = ZSTD_compressBound(page->length);
    char *at = leat_parquet_grow(packed, room);
    size_t n = ZSTD_compressCCtx(w->zstd, at, room, page->data, page->length, 1);
    if (ZSTD_isError(n)) leat_panic("zstd: %s", ZSTD_getErrorName(n));
    packed->length = n;
}

static bool shrinks(size_t packed, size_t plain) {
    return packed < plain - plain / 20;
}

/* A column's pages have one codec: zstd where it makes them a twentieth smaller, the dictionary with its indices.
 * Packed integers often do not shrink: their beginning tells, where no NULLs come first. */
static int choose_codec(struct leat_parquet_work *w, int encoding, bool nulls) {
    enum { TRIAL_BYTES = 16 << 10 };
    if (w->form != LEAT_PARQUET_COMPACT) return CODEC_NONE;
    if (encoding == E_DELTA_BINARY_PACKED && !nulls && w->page.length > 2 * TRIAL_BYTES) {
        struct leat_buffer trial = {.data = w->page.data, .length = TRIAL_BYTES};
        compress(w, &trial, &w->packed);
        if (!shrinks(w->packed.length, TRIAL_BYTES)) return CODEC_NONE;
    }
    compress(w, &w->page, &w->packed);
    leat_buffer_reset(&w->packed_dictionary);
    if (encoding == E_RLE_DICTIONARY) compress(w, &w->dictionary, &w->packed_dictionary);
    bool worth = shrinks(w->packed.length + w->packed_dictionary.length, w->page.length + w->dictionary.length);
    return worth ? CODEC_ZSTD : CODEC_NONE;
}

/* Behind its header, which counts from `header` on. */
static void put_body(size_t header, const struct leat_buffer *plain, const struct leat_buffer *body,
                     struct leat_parquet_chunk *chunk, struct leat_buffer *out) {
    chunk->plain_bytes += out->length - header + plain->length;
    leat_putn(out, body->data, body->length);
    chunk->bytes += out->length - header;
}

static void put_dictionary(struct leat_parquet_work *w, struct leat_parquet_chunk *chunk, struct leat_buffer *out) {
    const struct leat_buffer *body = chunk->codec == CODEC_ZSTD ? &w->packed_dictionary : &w->dictionary;
    size_t header = out->length;
    leat_parquet_put_dictionary_header(w->entries->count, w->dictionary.length, body->length, out);
    put_body(header, &w->dictionary, body, chunk, out);
}

static void put_page(struct leat_parquet_work *w, struct leat_parquet_chunk *chunk, struct leat_buffer *out) {
    const struct leat_buffer *body = chunk->codec == CODEC_ZSTD ? &w->packed : &w->page;
    size_t header = out->length;
    leat_parquet_put_page_header(chunk->rows, chunk->encoding, w->page.length, body->length, out);
    put_body(header, &w->page, body, chunk, out);
}

bool leat_parquet_put_column(struct leat_parquet_work *w, const struct leat_parquet_column *column,
                             const struct leat_parquet_rows *rows, size_t index, size_t file_start,
                             struct leat_parquet_chunk *chunk, struct leat_buffer *out) {
    *chunk = (struct leat_parquet_chunk){.rows = rows->count};
    for (struct leat_parquet_span s = {0}; leat_parquet_next(rows, index, &s);)
        leat_range_add(&chunk->range, s.column, s.from, s.to);
    leat_buffer_reset(&w->page);
    leat_buffer_reset(&w->dictionary);
    put_levels(rows, index, chunk->range.null_count, &w->page);
    chunk->encoding = put_values(w, column, rows, index, &chunk->range);
    if (chunk->encoding < 0 || w->page.length > LEAT_PARQUET_PAGE_BYTES_MAX) return false;
    chunk->codec = choose_codec(w, chunk->encoding, chunk->range.null_count > 0);
    if (chunk->encoding == E_RLE_DICTIONARY) {
        chunk->dictionary_start = out->length - file_start;
        put_dictionary(w, chunk, out);
    }
    chunk->start = out->length - file_start;
    put_page(w, chunk, out);
    return true;
}
