/* See parquet.h. The file: "PAR1", per column a page header and a page, the footer, its length (4 bytes), "PAR1". A
 * page holds the definition levels (1: not NULL; RLE or bit-packed, behind their length) and then the values that are
 * not NULL, plain. */
#include "data/parquet.h"

#include <stdlib.h>

#include "base/limits.h"

static const char MAGIC[] = "PAR1";

/* ---- Thrift's compact protocol */

enum { T_TRUE = 1, T_FALSE = 2, T_BYTE = 3, T_I32 = 5, T_I64 = 6, T_BINARY = 8, T_LIST = 9, T_STRUCT = 12 };
enum { DEPTH_MAX = 8 };

struct thrift {
    struct leat_buffer *out;
    int last[DEPTH_MAX]; /* the field before, by nesting */
    int depth;
};

static void put_byte(struct leat_buffer *out, unsigned byte) {
    char c = (char)byte;
    leat_putn(out, &c, 1);
}

static void put_varint(struct leat_buffer *out, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        put_byte(out, (unsigned)(value & 0x7f) | 0x80);
    put_byte(out, (unsigned)value);
}

static void put_zigzag(struct leat_buffer *out, int64_t value) {
    put_varint(out, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

static void put_field(struct thrift *t, int id, unsigned type) {
    int *last = &t->last[t->depth];
    put_byte(t->out, (unsigned)(id - *last) << 4 | type); /* all ids here are less than 16 apart */
    *last = id;
}

static void open_struct(struct thrift *t) {
    t->last[++t->depth] = 0;
}

static void close_struct(struct thrift *t) {
    put_byte(t->out, 0);
    t->depth--;
}

static void put_number(struct thrift *t, int id, unsigned type, int64_t value) {
    put_field(t, id, type);
    put_zigzag(t->out, value);
}

static void put_text(struct thrift *t, int id, const char *text) {
    put_field(t, id, T_BINARY);
    put_varint(t->out, strlen(text));
    leat_put(t->out, text);
}

static void put_list(struct thrift *t, int id, unsigned type, size_t count) {
    put_field(t, id, T_LIST);
    if (count < 15) {
        put_byte(t->out, (unsigned)count << 4 | type);
    } else {
        put_byte(t->out, 0xf0 | type);
        put_varint(t->out, count);
    }
}

/* ---- types */

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

struct storage {
    int physical, converted; /* -1: none */
    uint8_t width, scale;    /* C_DECIMAL */
};

static bool storage_of(struct leat_type type, struct storage *out) {
    static const struct storage plain[] = {
        [LEAT_BOOLEAN] = {P_BOOLEAN, C_NONE, 0, 0},
        [LEAT_TINYINT] = {P_INT32, C_INT_8, 0, 0},
        [LEAT_SMALLINT] = {P_INT32, C_INT_16, 0, 0},
        [LEAT_INTEGER] = {P_INT32, C_INT_32, 0, 0},
        [LEAT_BIGINT] = {P_INT64, C_INT_64, 0, 0},
        [LEAT_HUGEINT] = {P_FIXED, C_DECIMAL, 38, 0},
        [LEAT_UTINYINT] = {P_INT32, C_INT_16, 0, 0},
        [LEAT_USMALLINT] = {P_INT32, C_INT_32, 0, 0},
        [LEAT_UINTEGER] = {P_INT64, C_INT_64, 0, 0},
        [LEAT_UBIGINT] = {P_FIXED, C_DECIMAL, 20, 0},
        [LEAT_UHUGEINT] = {P_FIXED, C_DECIMAL, 38, 0},
        [LEAT_FLOAT] = {P_FLOAT, C_NONE, 0, 0},
        [LEAT_DOUBLE] = {P_DOUBLE, C_NONE, 0, 0},
        [LEAT_VARCHAR] = {P_BYTE_ARRAY, C_UTF8, 0, 0},
        [LEAT_BLOB] = {P_BYTE_ARRAY, C_NONE, 0, 0},
        [LEAT_DATE] = {P_INT32, C_DATE, 0, 0},
        [LEAT_TIMESTAMP] = {P_INT64, C_TIMESTAMP_MICROS, 0, 0},
        [LEAT_TIMESTAMPTZ] = {P_INT64, C_TIMESTAMP_MICROS, 0, 0},
    };
    switch (type.kind) {
    case LEAT_TIME:
    case LEAT_INTERVAL:
    case LEAT_UUID:
    case LEAT_NESTED:
        return false;
    case LEAT_DECIMAL:
        *out = (struct storage){type.width <= 9    ? P_INT32
                                : type.width <= 18 ? P_INT64
                                                   : P_FIXED,
                                C_DECIMAL, type.width, type.scale};
        return true;
    default:
        *out = plain[type.kind];
        return true;
    }
}

/* ---- values */

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

static void put_int32(struct leat_buffer *out, int32_t value) {
    leat_putn(out, (const char *)&value, sizeof value);
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

/* Booleans are bits, the first lowest. */
struct bits {
    struct leat_buffer *out;
    unsigned byte, count;
};

static void put_bit(struct bits *b, bool bit) {
    b->byte |= (unsigned)bit << b->count;
    if (++b->count < 8) return;
    put_byte(b->out, b->byte);
    b->byte = b->count = 0;
}

static void put_last_bits(struct bits *b) {
    if (b->count) put_byte(b->out, b->byte);
}

static void put_levels(const struct leat_changes *batches, size_t batch_count, size_t column, size_t rows,
                       struct leat_buffer *out) {
    size_t at = out->length, nulls = 0;
    struct bits bits = {.out = out};
    put_int32(out, 0);
    for (size_t b = 0; b < batch_count; b++)
        for (size_t row = 0; batches[b].columns[column].valid && row < batches[b].row_count; row++)
            nulls += leat_is_null(&batches[b].columns[column], row);
    if (nulls == 0 || nulls == rows) { /* one run */
        put_varint(out, (uint64_t)rows << 1);
        put_byte(out, nulls == 0);
    } else {
        put_varint(out, (uint64_t)(rows + 7) / 8 << 1 | 1);
        for (size_t b = 0; b < batch_count; b++)
            for (size_t row = 0; row < batches[b].row_count; row++)
                put_bit(&bits, !leat_is_null(&batches[b].columns[column], row));
        put_last_bits(&bits);
    }
    int32_t length = (int32_t)(out->length - at - sizeof length);
    memcpy(out->data + at, &length, sizeof length);
}

static bool put_values(const struct leat_changes *batches, size_t batch_count, size_t column, struct leat_buffer *out) {
    struct bits bits = {.out = out};
    size_t start = out->length;
    for (size_t b = 0; b < batch_count; b++) {
        const struct leat_column *c = &batches[b].columns[column];
        for (size_t row = 0; row < batches[b].row_count; row++) {
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

/* ---- the file */

struct chunk { /* of one column */
    const char *name;
    bool utc;
    struct storage storage;
    size_t start, bytes; /* of header and page */
};

static void put_page_header(size_t rows, size_t page_bytes, struct leat_buffer *out) {
    struct thrift t = {.out = out};
    put_number(&t, 1, T_I32, 0); /* DATA_PAGE */
    put_number(&t, 2, T_I32, (int64_t)page_bytes);
    put_number(&t, 3, T_I32, (int64_t)page_bytes);
    put_field(&t, 5, T_STRUCT);
    open_struct(&t);
    put_number(&t, 1, T_I32, (int64_t)rows);
    put_number(&t, 2, T_I32, 0); /* PLAIN */
    put_number(&t, 3, T_I32, 3); /* RLE */
    put_number(&t, 4, T_I32, 3);
    close_struct(&t);
    put_byte(out, 0);
}

static void put_logical_timestamp(struct thrift *t, bool utc) {
    put_field(t, 10, T_STRUCT);
    open_struct(t);
    put_field(t, 8, T_STRUCT);
    open_struct(t);
    put_field(t, 1, utc ? T_TRUE : T_FALSE);
    put_field(t, 2, T_STRUCT);
    open_struct(t);
    put_field(t, 2, T_STRUCT); /* MICROS */
    open_struct(t);
    close_struct(t);
    close_struct(t);
    close_struct(t);
    close_struct(t);
}

static void put_logical_decimal(struct thrift *t, const struct storage *s) {
    put_field(t, 10, T_STRUCT);
    open_struct(t);
    put_field(t, 5, T_STRUCT);
    open_struct(t);
    put_number(t, 1, T_I32, s->scale);
    put_number(t, 2, T_I32, s->width);
    close_struct(t);
    close_struct(t);
}

static void put_element(struct thrift *t, const struct chunk *chunk) {
    struct storage s = chunk->storage;
    open_struct(t);
    put_number(t, 1, T_I32, s.physical);
    if (s.physical == P_FIXED) put_number(t, 2, T_I32, 16);
    put_number(t, 3, T_I32, 1); /* OPTIONAL */
    put_text(t, 4, chunk->name);
    if (s.converted != C_NONE) put_number(t, 6, T_I32, s.converted);
    if (s.converted == C_DECIMAL) {
        put_number(t, 7, T_I32, s.scale);
        put_number(t, 8, T_I32, s.width);
        put_logical_decimal(t, &s);
    }
    if (s.converted == C_TIMESTAMP_MICROS) put_logical_timestamp(t, chunk->utc);
    close_struct(t);
}

static void put_chunk(struct thrift *t, size_t rows, const struct chunk *chunk) {
    open_struct(t);
    put_number(t, 2, T_I64, (int64_t)chunk->start);
    put_field(t, 3, T_STRUCT);
    open_struct(t);
    put_number(t, 1, T_I32, chunk->storage.physical);
    put_list(t, 2, T_I32, 2);
    put_zigzag(t->out, 0); /* PLAIN */
    put_zigzag(t->out, 3); /* RLE */
    put_list(t, 3, T_BINARY, 1);
    put_varint(t->out, strlen(chunk->name));
    leat_put(t->out, chunk->name);
    put_number(t, 4, T_I32, 0); /* UNCOMPRESSED */
    put_number(t, 5, T_I64, (int64_t)rows);
    put_number(t, 6, T_I64, (int64_t)chunk->bytes);
    put_number(t, 7, T_I64, (int64_t)chunk->bytes);
    put_number(t, 9, T_I64, (int64_t)chunk->start);
    close_struct(t);
    close_struct(t);
}

static void put_footer(const struct chunk *chunks, size_t chunk_count, size_t rows, struct leat_buffer *out) {
    struct thrift t = {.out = out};
    size_t bytes = 0;
    put_number(&t, 1, T_I32, 1); /* version */
    put_list(&t, 2, T_STRUCT, chunk_count + 1);
    open_struct(&t);
    put_text(&t, 4, "schema");
    put_number(&t, 5, T_I32, (int64_t)chunk_count);
    close_struct(&t);
    for (size_t i = 0; i < chunk_count; i++)
        put_element(&t, &chunks[i]);
    put_number(&t, 3, T_I64, (int64_t)rows);
    put_list(&t, 4, T_STRUCT, 1);
    open_struct(&t);
    put_list(&t, 1, T_STRUCT, chunk_count);
    for (size_t i = 0; i < chunk_count; i++) {
        put_chunk(&t, rows, &chunks[i]);
        bytes += chunks[i].bytes;
    }
    put_number(&t, 2, T_I64, (int64_t)bytes);
    put_number(&t, 3, T_I64, (int64_t)rows);
    close_struct(&t);
    put_text(&t, 6, "leat version " LEAT_VERSION);
    put_byte(out, 0);
}

static bool put_columns(const struct leat_changes *batches, size_t batch_count, size_t rows, struct chunk *chunks,
                        size_t chunk_count, struct leat_buffer *out) {
    struct leat_buffer page = {0};
    size_t file_start = out->length;
    bool fits = true;
    leat_put(out, MAGIC);
    for (size_t i = 0; i < chunk_count && fits; i++) {
        leat_buffer_reset(&page);
        put_levels(batches, batch_count, i, rows, &page);
        fits = put_values(batches, batch_count, i, &page);
        chunks[i].start = out->length - file_start;
        put_page_header(rows, page.length, out);
        leat_putn(out, page.data, page.length);
        chunks[i].bytes = out->length - file_start - chunks[i].start;
    }
    leat_buffer_deinit(&page);
    return fits;
}

static bool list_chunks(const struct leat_schema *schema, const char *const *names, struct chunk *out) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *field = &schema->fields[i];
        out[i] = (struct chunk){.name = names ? names[i] : field->name, .utc = field->type.kind == LEAT_TIMESTAMPTZ};
        if (!storage_of(field->type, &out[i].storage)) return false;
    }
    return true;
}

bool leat_parquet_write(const struct leat_schema *schema, const char *const *names, const struct leat_changes *batches,
                        size_t batch_count, struct leat_buffer *out) {
    size_t rows = 0, start = out->length, n = schema->field_count;
    struct chunk *chunks = leat_alloc((n + 1) * sizeof *chunks);
    for (size_t b = 0; b < batch_count; b++)
        rows += batches[b].row_count;
    bool fits = list_chunks(schema, names, chunks) && put_columns(batches, batch_count, rows, chunks, n, out);
    if (fits) {
        size_t footer = out->length;
        put_footer(chunks, n, rows, out);
        put_int32(out, (int32_t)(out->length - footer));
        leat_put(out, MAGIC);
    } else if (out->length > start) {
        out->length = start;
        out->data[start] = 0;
    }
    free(chunks);
    return fits;
}
