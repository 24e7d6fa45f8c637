/* Encoded rows and column gathering. See row.h. */
#include "state/row.h"

#include <assert.h>
#include <stdlib.h>

void leat_row_codec_init(struct leat_row_codec *codec, const struct leat_schema *schema, const uint16_t *columns,
                         size_t count) {
    *codec = (struct leat_row_codec){.count = count, .canonical = true};
    codec->types = leat_alloc((count + 1) * sizeof *codec->types);
    codec->columns = leat_alloc((count + 1) * sizeof *codec->columns);
    codec->offsets = leat_alloc((count + 1) * sizeof *codec->offsets);
    size_t at = (count + 7) / 8;
    for (size_t i = 0; i < count; i++) {
        codec->columns[i] = columns ? columns[i] : (uint16_t)i;
        codec->types[i] = schema->fields[codec->columns[i]].type;
        enum leat_kind kind = codec->types[i].kind;
        if (kind == LEAT_FLOAT || kind == LEAT_DOUBLE || kind == LEAT_INTERVAL) codec->canonical = false;
        if (leat_type_is_string(codec->types[i])) continue;
        codec->offsets[i] = (uint32_t)at;
        at += leat_type_size(codec->types[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (!leat_type_is_string(codec->types[i])) continue;
        codec->offsets[i] = (uint32_t)at;
        codec->string_count++;
        at += 4;
    }
    codec->string_area = (uint32_t)at;
}

void leat_row_codec_deinit(struct leat_row_codec *codec) {
    free(codec->types);
    free(codec->columns);
    free(codec->offsets);
    *codec = (struct leat_row_codec){0};
}

/* ---- encoding, column by column */

static size_t row_at(const uint32_t *rows, size_t first_row, size_t i) {
    return rows ? rows[i] : first_row + i;
}

/* Lays the rows out: starts from their lengths. */
static void place_rows(const struct leat_row_codec *codec, const struct leat_changes *c, const uint32_t *rows,
                       size_t first_row, size_t n, struct leat_row_block *block) {
    if (n + 1 > block->start_capacity) {
        block->start_capacity = n + 1;
        block->starts = leat_realloc(block->starts, block->start_capacity * sizeof *block->starts);
    }
    size_t *starts = block->starts;
    for (size_t i = 0; i <= n; i++)
        starts[i] = i * codec->string_area;
    for (size_t k = 0, extra = 0; codec->string_count && k < codec->count; k++, extra = 0) {
        if (!leat_type_is_string(codec->types[k])) continue;
        const struct leat_column *column = &c->columns[codec->columns[k]];
        const struct leat_string *s = column->data;
        for (size_t i = 0; i < n; i++) {
            size_t row = row_at(rows, first_row, i);
            extra += leat_is_null(column, row) ? 0 : s[row].length;
            starts[i + 1] += extra;
        }
    }
    if (starts[n] > block->byte_capacity) {
        block->byte_capacity = starts[n] + starts[n] / 2;
        block->bytes = leat_realloc(block->bytes, block->byte_capacity);
    }
}

#define WRITE_FIXED(width)                                                                                             \
    for (size_t i = 0; i < n; i++)                                                                                     \
    memcpy(to + starts[i], in + row_at(rows, first_row, i) * (width), width)

static void write_fixed(const char *in, size_t size, const uint32_t *rows, size_t first_row, size_t n,
                        const size_t *starts, uint8_t *to) {
    switch (size) {
    case 1:
        WRITE_FIXED(1);
        break;
    case 2:
        WRITE_FIXED(2);
        break;
    case 4:
        WRITE_FIXED(4);
        break;
    case 8:
        WRITE_FIXED(8);
        break;
    case 16:
        WRITE_FIXED(16);
        break;
    default:
        break;
    }
}

static void write_strings(const struct leat_row_codec *codec, size_t k, bool first, const struct leat_column *column,
                          const uint32_t *rows, size_t first_row, size_t n, struct leat_row_block *block) {
    const struct leat_string *s = column->data;
    for (size_t i = 0; i < n; i++) {
        size_t row = row_at(rows, first_row, i);
        uint8_t *to = block->bytes + block->starts[i];
        uint32_t end = 0, length = leat_is_null(column, row) ? 0 : s[row].length;
        if (!first) memcpy(&end, to + codec->offsets[k] - 4, 4);
        if (length) memcpy(to + codec->string_area + end, leat_string_data(&s[row]), length);
        end += length;
        memcpy(to + codec->offsets[k], &end, 4);
    }
}

static void write_nulls(const struct leat_row_codec *codec, size_t k, const struct leat_column *column,
                        const uint32_t *rows, size_t first_row, size_t n, struct leat_row_block *block) {
    bool string = leat_type_is_string(codec->types[k]);
    for (size_t i = 0; i < n; i++) {
        if (!leat_is_null(column, row_at(rows, first_row, i))) continue;
        uint8_t *to = block->bytes + block->starts[i];
        to[k >> 3] |= (uint8_t)(1u << (k & 7));
        if (!string) memset(to + codec->offsets[k], 0, leat_type_size(codec->types[k]));
    }
}

void leat_row_encode(const struct leat_row_codec *codec, const struct leat_changes *c, const uint32_t *rows,
                     size_t first_row, size_t n, struct leat_row_block *block) {
    size_t bitmap = (codec->count + 7) / 8;
    bool first_string = true;
    place_rows(codec, c, rows, first_row, n, block);
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < bitmap; b++)
            block->bytes[block->starts[i] + b] = 0;
    for (size_t k = 0; k < codec->count; k++) {
        const struct leat_column *column = &c->columns[codec->columns[k]];
        if (leat_type_is_string(codec->types[k])) {
            write_strings(codec, k, first_string, column, rows, first_row, n, block);
            first_string = false;
        } else {
            write_fixed(column->data, leat_type_size(codec->types[k]), rows, first_row, n, block->starts,
                        block->bytes + codec->offsets[k]);
        }
        if (column->valid) write_nulls(codec, k, column, rows, first_row, n, block);
    }
}

void leat_row_block_deinit(struct leat_row_block *block) {
    free(block->bytes);
    free(block->starts);
    *block = (struct leat_row_block){0};
}

size_t leat_row_stored_size(const struct leat_row_codec *codec, const uint8_t *bytes) {
    uint32_t end = 0;
    if (codec->string_count) memcpy(&end, bytes + codec->string_area - 4, 4);
    return codec->string_area + (size_t)end;
}

struct leat_string leat_row_string(const struct leat_row_codec *codec, const uint8_t *bytes, size_t column) {
    uint32_t at = codec->offsets[column], first = codec->string_area - 4 * (uint32_t)codec->string_count;
    uint32_t begin = 0, end;
    if (at != first) memcpy(&begin, bytes + at - 4, 4);
    memcpy(&end, bytes + at, 4);
    return leat_string_of((const char *)bytes + codec->string_area + begin, end - begin);
}

#define READ_FIXED(bytes)                                                                                              \
    for (size_t r = 0; r < n; r++)                                                                                     \
    memcpy(to + r * (bytes), rows[r] + offset, bytes)

static void read_fixed(size_t offset, size_t size, const uint8_t *const *rows, size_t n, char *to) {
    switch (size) {
    case 1:
        READ_FIXED(1);
        break;
    case 2:
        READ_FIXED(2);
        break;
    case 4:
        READ_FIXED(4);
        break;
    case 8:
        READ_FIXED(8);
        break;
    case 16:
        READ_FIXED(16);
        break;
    default:
        break;
    }
}

void leat_row_read(const struct leat_row_codec *codec, const uint8_t *const *rows, size_t n, struct leat_changes *out,
                   size_t first_column, size_t at) {
    assert(at + n <= out->capacity || !n);
    for (size_t i = 0; i < codec->count; i++) {
        struct leat_column *column = &out->columns[first_column + i];
        size_t size = leat_type_size(codec->types[i]);
        assert(leat_type_equal(column->type, codec->types[i]));
        char *to = (char *)column->data + at * size;
        if (leat_type_is_string(codec->types[i])) {
            for (size_t r = 0; r < n; r++)
                ((struct leat_string *)to)[r] = leat_row_string(codec, rows[r], i);
            leat_own_strings(out, first_column + i, at, n);
        } else {
            read_fixed(codec->offsets[i], size, rows, n, to);
        }
        for (size_t r = 0; r < n; r++)
            if (rows[r][i >> 3] >> (i & 7) & 1) leat_set_null(out, first_column + i, at + r);
    }
}

void leat_own_strings(struct leat_changes *out, size_t out_column, size_t at, size_t n) {
    struct leat_string *s = (struct leat_string *)out->columns[out_column].data + at;
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].length > LEAT_STRING_INLINE) total += s[i].length;
    if (!total) return;
    char *bytes = leat_arena_alloc(&out->strings, total);
    for (size_t i = 0; i < n; i++) {
        if (s[i].length <= LEAT_STRING_INLINE) continue;
        memcpy(bytes, s[i].u.pointer.data, s[i].length);
        s[i].u.pointer.data = bytes;
        bytes += s[i].length;
    }
}

#define GATHER(bytes)                                                                                                  \
    for (size_t i = 0; i < n; i++)                                                                                     \
    memcpy(to + i * (bytes), in + (size_t)rows[i] * (bytes), bytes)

static void gather_values(char *to, const char *in, size_t size, const uint32_t *rows, size_t n) {
    switch (size) {
    case 1:
        GATHER(1);
        break;
    case 2:
        GATHER(2);
        break;
    case 4:
        GATHER(4);
        break;
    case 8:
        GATHER(8);
        break;
    case 16:
        GATHER(16);
        break;
    default:
        break;
    }
}

void leat_gather_borrowed(struct leat_changes *out, size_t out_column, size_t at, const struct leat_changes *from,
                          size_t column, const uint32_t *rows, size_t first_row, size_t n) {
    struct leat_column *into = &out->columns[out_column];
    const struct leat_column *source = &from->columns[column];
    size_t size = leat_type_size(into->type);
    if (!n) return;
    assert(leat_type_equal(into->type, source->type) && at + n <= out->capacity);
    char *to = (char *)into->data + at * size;
    if (rows)
        gather_values(to, source->data, size, rows, n);
    else
        memcpy(to, (const char *)source->data + first_row * size, n * size);
    if (source->valid)
        for (size_t i = 0; i < n; i++)
            if (leat_is_null(source, rows ? rows[i] : first_row + i)) leat_set_null(out, out_column, at + i);
}

void leat_gather(struct leat_changes *out, size_t out_column, size_t at, const struct leat_changes *from, size_t column,
                 const uint32_t *rows, size_t first_row, size_t n) {
    leat_gather_borrowed(out, out_column, at, from, column, rows, first_row, n);
    if (n && leat_type_is_string(out->columns[out_column].type)) leat_own_strings(out, out_column, at, n);
}

void leat_fill_null(struct leat_changes *out, size_t out_column, size_t at, size_t n) {
    for (size_t i = 0; i < n; i++)
        leat_set_null(out, out_column, at + i);
}

void leat_changes_truncate(struct leat_changes *c, size_t row_count) {
    for (size_t i = 0; i < c->schema->field_count; i++)
        if (c->columns[i].valid)
            for (size_t row = row_count; row < c->row_count; row++)
                c->columns[i].valid[row >> 6] |= 1ull << (row & 63);
    if (row_count < c->row_count) c->row_count = row_count;
}

void leat_changes_view(struct leat_changes *view, struct leat_column *columns, const struct leat_changes *c,
                       size_t from, size_t n) {
    assert(from % 64 == 0 && from + n <= c->row_count);
    *view = (struct leat_changes){.schema = c->schema, .row_count = n, .capacity = n, .columns = columns};
    for (size_t i = 0; i < c->schema->field_count; i++) {
        columns[i].type = c->columns[i].type;
        columns[i].data = (char *)c->columns[i].data + from * leat_type_size(columns[i].type);
        columns[i].valid = c->columns[i].valid ? c->columns[i].valid + from / 64 : NULL;
    }
    view->weights = c->weights ? c->weights + from : NULL;
}

uint64_t *leat_valid_from(struct leat_arena *arena, const struct leat_column *column, size_t from, size_t n) {
    if (!column->valid) return NULL;
    if (from % 64 == 0) return column->valid + from / 64;
    size_t words = (n + 63) / 64, shift = from % 64, in_words = (from + n + 63) / 64 - from / 64;
    const uint64_t *in = column->valid + from / 64;
    uint64_t *valid = leat_arena_alloc(arena, words * sizeof *valid);
    for (size_t i = 0; i < words; i++)
        valid[i] = in[i] >> shift | (i + 1 < in_words ? in[i + 1] << (64 - shift) : 0);
    return valid;
}
