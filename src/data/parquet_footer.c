/* What Thrift describes in a Parquet file: page headers and the footer. Source: parquet.thrift, Thrift's compact
 * protocol. */
#include <stdlib.h>

#include "data/parquet_internal.h"

/* ---- Thrift's compact protocol */

enum { T_TRUE = 1, T_FALSE = 2, T_BYTE = 3, T_I32 = 5, T_I64 = 6, T_BINARY = 8, T_LIST = 9, T_STRUCT = 12 };
enum { DEPTH_MAX = 8 };

struct thrift {
    struct leat_buffer *out;
    int last[DEPTH_MAX]; /* the field before, by nesting */
    int depth;
};

static void put_field(struct thrift *t, int id, unsigned type) {
    int *last = &t->last[t->depth];
    leat_parquet_put_byte(t->out, (unsigned)(id - *last) << 4 | type); /* all ids here are less than 16 apart */
    *last = id;
}

static void open_struct(struct thrift *t) {
    t->last[++t->depth] = 0;
}

static void close_struct(struct thrift *t) {
    leat_parquet_put_byte(t->out, 0);
    t->depth--;
}

static void put_number(struct thrift *t, int id, unsigned type, int64_t value) {
    put_field(t, id, type);
    leat_parquet_put_zigzag(t->out, value);
}

static void put_text(struct thrift *t, int id, const char *text) {
    put_field(t, id, T_BINARY);
    leat_parquet_put_varint(t->out, strlen(text));
    leat_put(t->out, text);
}

static void put_list(struct thrift *t, int id, unsigned type, size_t count) {
    put_field(t, id, T_LIST);
    if (count < 15) {
        leat_parquet_put_byte(t->out, (unsigned)count << 4 | type);
    } else {
        leat_parquet_put_byte(t->out, 0xf0 | type);
        leat_parquet_put_varint(t->out, count);
    }
}

/* ---- types */

bool leat_parquet_storage_of(struct leat_type type, struct leat_parquet_storage *out) {
    static const struct leat_parquet_storage plain[] = {
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
        *out = (struct leat_parquet_storage){type.width <= 9    ? P_INT32
                                             : type.width <= 18 ? P_INT64
                                                                : P_FIXED,
                                             C_DECIMAL, type.width, type.scale};
        return true;
    default:
        *out = plain[type.kind];
        return true;
    }
}

/* ---- pages and footer */

enum { DATA_PAGE = 0, DICTIONARY_PAGE = 2 };

static void open_page(struct thrift *t, int type, int header, size_t plain_bytes, size_t bytes) {
    put_number(t, 1, T_I32, type);
    put_number(t, 2, T_I32, (int64_t)plain_bytes);
    put_number(t, 3, T_I32, (int64_t)bytes);
    put_field(t, header, T_STRUCT);
    open_struct(t);
}

static void close_page(struct thrift *t) {
    close_struct(t);
    leat_parquet_put_byte(t->out, 0);
}

void leat_parquet_put_page_header(size_t values, int encoding, size_t plain_bytes, size_t bytes,
                                  struct leat_buffer *out) {
    struct thrift t = {.out = out};
    open_page(&t, DATA_PAGE, 5, plain_bytes, bytes);
    put_number(&t, 1, T_I32, (int64_t)values);
    put_number(&t, 2, T_I32, encoding);
    put_number(&t, 3, T_I32, E_RLE); /* of definition levels */
    put_number(&t, 4, T_I32, E_RLE);
    close_page(&t);
}

void leat_parquet_put_dictionary_header(size_t values, size_t plain_bytes, size_t bytes, struct leat_buffer *out) {
    struct thrift t = {.out = out};
    open_page(&t, DICTIONARY_PAGE, 7, plain_bytes, bytes);
    put_number(&t, 1, T_I32, (int64_t)values);
    put_number(&t, 2, T_I32, E_PLAIN);
    close_page(&t);
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

static void put_logical_decimal(struct thrift *t, const struct leat_parquet_storage *s) {
    put_field(t, 10, T_STRUCT);
    open_struct(t);
    put_field(t, 5, T_STRUCT);
    open_struct(t);
    put_number(t, 1, T_I32, s->scale);
    put_number(t, 2, T_I32, s->width);
    close_struct(t);
    close_struct(t);
}

static void put_element(struct thrift *t, const struct leat_parquet_column *column) {
    const struct leat_parquet_storage *s = &column->storage;
    open_struct(t);
    put_number(t, 1, T_I32, s->physical);
    if (s->physical == P_FIXED) put_number(t, 2, T_I32, 16);
    put_number(t, 3, T_I32, 1); /* OPTIONAL */
    put_text(t, 4, column->name);
    if (s->converted != C_NONE) put_number(t, 6, T_I32, s->converted);
    if (s->converted == C_DECIMAL) {
        put_number(t, 7, T_I32, s->scale);
        put_number(t, 8, T_I32, s->width);
        put_logical_decimal(t, s);
    }
    if (s->converted == C_TIMESTAMP_MICROS) put_logical_timestamp(t, column->type.kind == LEAT_TIMESTAMPTZ);
    close_struct(t);
}

/* ---- statistics */

enum { TEXT_BOUND_MAX = 64 }; /* a longer bound is left out */

static void put_bytes(struct thrift *t, int id, const void *bytes, size_t n) {
    put_field(t, id, T_BINARY);
    leat_parquet_put_varint(t->out, n);
    leat_putn(t->out, bytes, n);
}

/* As a plain value. A zero is written as the zero that is further out: readers may tell -0.0 from 0.0. */
static void put_real(struct thrift *t, int id, int physical, double value, double zero) {
    if (value == 0) value = zero;
    float narrow = (float)value;
    if (physical == P_FLOAT)
        put_bytes(t, id, &narrow, sizeof narrow);
    else
        put_bytes(t, id, &value, sizeof value);
}

static void put_bounds(struct thrift *t, int physical, const struct leat_range *r) {
    int64_t high = (int64_t)r->high.integer, low = (int64_t)r->low.integer;
    const struct leat_string *high_text = &r->high.text, *low_text = &r->low.text;
    switch (physical) {
    case P_INT32: /* the low half comes first */
    case P_INT64:
        put_bytes(t, 5, &high, physical == P_INT32 ? 4 : 8);
        put_bytes(t, 6, &low, physical == P_INT32 ? 4 : 8);
        break;
    case P_FLOAT:
    case P_DOUBLE:
        if (r->has_nan) break;
        put_real(t, 5, physical, r->high.real, 0.0);
        put_real(t, 6, physical, r->low.real, -0.0);
        break;
    case P_BYTE_ARRAY:
        if (high_text->length > TEXT_BOUND_MAX || low_text->length > TEXT_BOUND_MAX) break;
        put_bytes(t, 5, leat_string_data(high_text), high_text->length);
        put_bytes(t, 6, leat_string_data(low_text), low_text->length);
        break;
    default: /* wide decimals: readers differ */
        break;
    }
}

static void put_statistics(struct thrift *t, int physical, const struct leat_range *r) {
    put_field(t, 12, T_STRUCT);
    open_struct(t);
    put_number(t, 3, T_I64, (int64_t)r->null_count);
    if (r->any) put_bounds(t, physical, r);
    close_struct(t);
}

/* ---- the footer */

static void put_chunk(struct thrift *t, const struct leat_parquet_column *column,
                      const struct leat_parquet_chunk *chunk, bool statistics) {
    open_struct(t);
    put_number(t, 2, T_I64, (int64_t)(chunk->dictionary_start ? chunk->dictionary_start : chunk->start));
    put_field(t, 3, T_STRUCT);
    open_struct(t);
    put_number(t, 1, T_I32, column->storage.physical);
    put_list(t, 2, T_I32, chunk->dictionary_start ? 3 : 2);
    leat_parquet_put_zigzag(t->out, chunk->encoding);
    leat_parquet_put_zigzag(t->out, E_RLE);
    if (chunk->dictionary_start) leat_parquet_put_zigzag(t->out, E_PLAIN);
    put_list(t, 3, T_BINARY, 1);
    leat_parquet_put_varint(t->out, strlen(column->name));
    leat_put(t->out, column->name);
    put_number(t, 4, T_I32, chunk->codec);
    put_number(t, 5, T_I64, (int64_t)chunk->rows);
    put_number(t, 6, T_I64, (int64_t)chunk->plain_bytes);
    put_number(t, 7, T_I64, (int64_t)chunk->bytes);
    put_number(t, 9, T_I64, (int64_t)chunk->start);
    if (chunk->dictionary_start) put_number(t, 11, T_I64, (int64_t)chunk->dictionary_start);
    if (statistics) put_statistics(t, column->storage.physical, &chunk->range);
    close_struct(t);
    close_struct(t);
}

static void put_group(struct thrift *t, const struct leat_parquet_column *columns, size_t column_count,
                      const struct leat_parquet_chunk *chunks, bool statistics) {
    size_t plain_bytes = 0;
    open_struct(t);
    put_list(t, 1, T_STRUCT, column_count);
    for (size_t i = 0; i < column_count; i++) {
        put_chunk(t, &columns[i], &chunks[i], statistics);
        plain_bytes += chunks[i].plain_bytes;
    }
    put_number(t, 2, T_I64, (int64_t)plain_bytes);
    put_number(t, 3, T_I64, (int64_t)chunks[0].rows);
    close_struct(t);
}

/* Bounds are in the order of their types: readers look at none otherwise. */
static void put_orders(struct thrift *t, size_t column_count) {
    put_list(t, 7, T_STRUCT, column_count);
    for (size_t i = 0; i < column_count; i++) {
        open_struct(t);
        put_field(t, 1, T_STRUCT);
        open_struct(t);
        close_struct(t);
        close_struct(t);
    }
}

void leat_parquet_put_footer(const struct leat_parquet_column *columns, size_t column_count,
                             const struct leat_parquet_chunk *chunks, size_t group_count, bool statistics,
                             struct leat_buffer *out) {
    struct thrift t = {.out = out};
    size_t rows = 0;
    for (size_t g = 0; g < group_count; g++)
        rows += chunks[g * column_count].rows;
    put_number(&t, 1, T_I32, 1); /* version */
    put_list(&t, 2, T_STRUCT, column_count + 1);
    open_struct(&t);
    put_text(&t, 4, "schema");
    put_number(&t, 5, T_I32, (int64_t)column_count);
    close_struct(&t);
    for (size_t i = 0; i < column_count; i++)
        put_element(&t, &columns[i]);
    put_number(&t, 3, T_I64, (int64_t)rows);
    put_list(&t, 4, T_STRUCT, group_count);
    for (size_t g = 0; g < group_count; g++)
        put_group(&t, columns, column_count, chunks + g * column_count, statistics);
    put_text(&t, 6, "leat version " LEAT_VERSION);
    if (statistics) put_orders(&t, column_count);
    leat_parquet_put_byte(out, 0);
}
