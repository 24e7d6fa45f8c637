/* Encoded rows and column gathering. See row.h. */
#include "state/row.h"

#include <assert.h>
#include <stdlib.h>

void leat_row_codec_init(struct leat_row_codec *codec, const struct leat_schema *schema, const uint16_t *columns,
                         size_t count) {
    *codec = (struct leat_row_codec){.count = count};
    codec->types = leat_alloc((count + 1) * sizeof *codec->types);
    codec->columns = leat_alloc((count + 1) * sizeof *codec->columns);
    codec->offsets = leat_alloc((count + 1) * sizeof *codec->offsets);
    size_t at = (count + 7) / 8;
    for (size_t i = 0; i < count; i++) {
        codec->columns[i] = columns ? columns[i] : (uint16_t)i;
        codec->types[i] = schema->fields[codec->columns[i]].type;
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

size_t leat_row_size(const struct leat_row_codec *codec, const struct leat_changes *c, size_t row) {
    size_t size = codec->string_area;
    if (!codec->string_count) return size;
    for (size_t i = 0; i < codec->count; i++) {
        const struct leat_column *column = &c->columns[codec->columns[i]];
        if (leat_type_is_string(codec->types[i]) && !leat_is_null(column, row))
            size += ((const struct leat_string *)column->data)[row].length;
    }
    return size;
}

/* Fixed sizes let the compiler turn each copy into one move. */
static inline void copy_value(void *to, const void *from, size_t size) {
    switch (size) {
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    case 16: memcpy(to, from, 16); break;
    default: break;
    }
}

void leat_row_write(const struct leat_row_codec *codec, const struct leat_changes *c, size_t row, uint8_t *to) {
    uint32_t end = 0;
    memset(to, 0, (codec->count + 7) / 8);
    for (size_t i = 0; i < codec->count; i++) {
        const struct leat_column *column = &c->columns[codec->columns[i]];
        bool null = leat_is_null(column, row);
        if (null) to[i >> 3] |= (uint8_t)(1u << (i & 7));
        if (leat_type_is_string(codec->types[i])) {
            if (!null) {
                const struct leat_string *s = (const struct leat_string *)column->data + row;
                if (s->length) memcpy(to + codec->string_area + end, leat_string_data(s), s->length);
                end += s->length;
            }
            memcpy(to + codec->offsets[i], &end, 4);
            continue;
        }
        size_t size = leat_type_size(codec->types[i]);
        if (null) memset(to + codec->offsets[i], 0, size);
        else copy_value(to + codec->offsets[i], (const char *)column->data + row * size, size);
    }
}

size_t leat_row_stored_size(const struct leat_row_codec *codec, const uint8_t *bytes) {
    uint32_t end = 0;
    if (codec->string_count) memcpy(&end, bytes + codec->string_area - 4, 4);
    return codec->string_area + (size_t)end;
}

static void read_strings(const struct leat_row_codec *codec, size_t i, bool first, const uint8_t *const *rows, size_t n,
                         struct leat_string *to) {
    for (size_t r = 0; r < n; r++) {
        uint32_t begin = 0, end;
        if (!first) memcpy(&begin, rows[r] + codec->offsets[i] - 4, 4);
        memcpy(&end, rows[r] + codec->offsets[i], 4);
        to[r] = leat_string_of((const char *)rows[r] + codec->string_area + begin, end - begin);
    }
}

#define READ_FIXED(bytes)                                                                                              \
    for (size_t r = 0; r < n; r++)                                                                                     \
        memcpy(to + r * (bytes), rows[r] + offset, bytes)

static void read_fixed(size_t offset, size_t size, const uint8_t *const *rows, size_t n, char *to) {
    switch (size) {
    case 1: READ_FIXED(1); break;
    case 2: READ_FIXED(2); break;
    case 4: READ_FIXED(4); break;
    case 8: READ_FIXED(8); break;
    case 16: READ_FIXED(16); break;
    default: break;
    }
}

void leat_row_read(const struct leat_row_codec *codec, const uint8_t *const *rows, size_t n, struct leat_changes *out,
                   size_t first_column, size_t at) {
    bool first_string = true;
    assert(at + n <= out->capacity || !n);
    for (size_t i = 0; i < codec->count; i++) {
        struct leat_column *column = &out->columns[first_column + i];
        size_t size = leat_type_size(codec->types[i]);
        assert(leat_type_equal(column->type, codec->types[i]));
        char *to = (char *)column->data + at * size;
        if (leat_type_is_string(codec->types[i])) {
            read_strings(codec, i, first_string, rows, n, (struct leat_string *)to);
            first_string = false;
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
    case 1: GATHER(1); break;
    case 2: GATHER(2); break;
    case 4: GATHER(4); break;
    case 8: GATHER(8); break;
    case 16: GATHER(16); break;
    default: break;
    }
}

void leat_gather(struct leat_changes *out, size_t out_column, size_t at, const struct leat_changes *from, size_t column,
                 const uint32_t *rows, size_t first_row, size_t n) {
    struct leat_column *into = &out->columns[out_column];
    const struct leat_column *source = &from->columns[column];
    size_t size = leat_type_size(into->type);
    if (!n) return;
    assert(leat_type_equal(into->type, source->type) && at + n <= out->capacity);
    char *to = (char *)into->data + at * size;
    if (rows) gather_values(to, source->data, size, rows, n);
    else memcpy(to, (const char *)source->data + first_row * size, n * size);
    if (source->valid)
        for (size_t i = 0; i < n; i++)
            if (leat_is_null(source, rows ? rows[i] : first_row + i)) leat_set_null(out, out_column, at + i);
    if (leat_type_is_string(into->type)) leat_own_strings(out, out_column, at, n);
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
