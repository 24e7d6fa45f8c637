/* FlatBuffers are written front to back: a table's vtable stands right before it, what it refers to behind it, and the reference is put in when that
 * place is known. All positions are from the message's start, which is 8-aligned in the stream. */
#include "data/arrow.h"

#include <stdlib.h>

#include "data/value_text.h"

enum { HEADER_SCHEMA = 1, HEADER_RECORD_BATCH = 3, VERSION_5 = 4 };
enum { TYPE_INT = 2, TYPE_FLOAT = 3, TYPE_BINARY = 4, TYPE_UTF8 = 5, TYPE_BOOL = 6, TYPE_DECIMAL = 7, TYPE_DATE = 8, TYPE_TIME = 9, TYPE_TIMESTAMP = 10, TYPE_INTERVAL = 11, TYPE_FIXED = 15 };
enum { UNIT_DAY = 0, UNIT_MICROSECOND = 2, UNIT_MONTH_DAY_NANO = 2, PRECISION_SINGLE = 1, PRECISION_DOUBLE = 2 };
enum { FIELDS_MAX = 7 };

/* ---- FlatBuffers ----------------------------------------------------------------------------------------------- */

static void put_zeros(struct leat_buffer *b, size_t n) {
    static const char zeros[64];
    for (; n; n -= n < sizeof zeros ? n : sizeof zeros) leat_putn(b, zeros, n < sizeof zeros ? n : sizeof zeros);
}

static void align(struct leat_buffer *b, size_t ahead, size_t to) {
    put_zeros(b, (to - (b->length + ahead) % to) % to);
}

static void set(struct leat_buffer *b, size_t at, uint64_t value, size_t size) {
    memcpy(b->data + at, &value, size); /* little-endian, as the format */
}

/* The reference at `at` is to what comes next, once that is aligned. */
static void refer(struct leat_buffer *b, size_t at) {
    set(b, at, b->length - at, 4);
}

/* sizes: of the fields, 0: left out. at: where each is. Returns the table's place. */
static size_t put_table(struct leat_buffer *b, const uint8_t *sizes, size_t count, size_t *at) {
    size_t vtable_bytes = 4 + 2 * count, offset = 4, offsets[FIELDS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        if (!sizes[i]) continue;
        offset = (offset + sizes[i] - 1) / sizes[i] * sizes[i];
        offsets[i] = offset;
        offset += sizes[i];
    }
    align(b, vtable_bytes, 8);
    size_t vtable = b->length;
    put_zeros(b, vtable_bytes + offset);
    size_t table = vtable + vtable_bytes;
    set(b, vtable, vtable_bytes, 2);
    set(b, vtable + 2, offset, 2);
    for (size_t i = 0; i < count; i++) {
        set(b, vtable + 4 + 2 * i, offsets[i], 2);
        at[i] = table + offsets[i];
    }
    set(b, table, vtable_bytes, 4);
    return table;
}

/* A table comes next: its place is behind its vtable. */
static size_t refer_table(struct leat_buffer *b, size_t reference, const uint8_t *sizes, size_t count, size_t *at) {
    size_t table = put_table(b, sizes, count, at);
    set(b, reference, table - reference, 4);
    return table;
}

static void refer_string(struct leat_buffer *b, size_t reference, const char *text) {
    uint32_t n = (uint32_t)strlen(text);
    align(b, 0, 4);
    refer(b, reference);
    leat_putn(b, (const char *)&n, 4);
    leat_putn(b, text, n + 1);
}

/* ---- schema ------------------------------------------------------------------------------------------------------- */

static bool is_text(struct leat_type t) {
    return t.kind == LEAT_VARCHAR || t.kind == LEAT_HUGEINT || t.kind == LEAT_UHUGEINT;
}

static uint8_t arrow_type(struct leat_type t) {
    if (is_text(t)) return TYPE_UTF8;
    switch ((enum leat_kind)t.kind) {
    case LEAT_BOOLEAN: return TYPE_BOOL;
    case LEAT_FLOAT:
    case LEAT_DOUBLE: return TYPE_FLOAT;
    case LEAT_DECIMAL: return TYPE_DECIMAL;
    case LEAT_BLOB: return TYPE_BINARY;
    case LEAT_DATE: return TYPE_DATE;
    case LEAT_TIME: return TYPE_TIME;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ: return TYPE_TIMESTAMP;
    case LEAT_INTERVAL: return TYPE_INTERVAL;
    case LEAT_UUID: return TYPE_FIXED;
    default: return TYPE_INT;
    }
}

static void put_type(struct leat_buffer *b, size_t reference, struct leat_type t) {
    size_t at[FIELDS_MAX];
    switch (arrow_type(t)) {
    case TYPE_INT:
        refer_table(b, reference, (const uint8_t[]){4, 1}, 2, at);
        set(b, at[0], 8 * leat_type_size(t), 4);
        set(b, at[1], t.kind <= LEAT_HUGEINT, 1);
        break;
    case TYPE_FLOAT:
        refer_table(b, reference, (const uint8_t[]){2}, 1, at);
        set(b, at[0], t.kind == LEAT_FLOAT ? PRECISION_SINGLE : PRECISION_DOUBLE, 2);
        break;
    case TYPE_DECIMAL:
        refer_table(b, reference, (const uint8_t[]){4, 4, 4}, 3, at);
        set(b, at[0], t.width, 4);
        set(b, at[1], t.scale, 4);
        set(b, at[2], 128, 4);
        break;
    case TYPE_DATE:
        refer_table(b, reference, (const uint8_t[]){2}, 1, at);
        set(b, at[0], UNIT_DAY, 2);
        break;
    case TYPE_TIME:
        refer_table(b, reference, (const uint8_t[]){2, 4}, 2, at);
        set(b, at[0], UNIT_MICROSECOND, 2);
        set(b, at[1], 64, 4);
        break;
    case TYPE_TIMESTAMP:
        refer_table(b, reference, (const uint8_t[]){2, t.kind == LEAT_TIMESTAMPTZ ? 4 : 0}, 2, at);
        set(b, at[0], UNIT_MICROSECOND, 2);
        if (t.kind == LEAT_TIMESTAMPTZ) refer_string(b, at[1], "UTC");
        break;
    case TYPE_INTERVAL:
        refer_table(b, reference, (const uint8_t[]){2}, 1, at);
        set(b, at[0], UNIT_MONTH_DAY_NANO, 2);
        break;
    case TYPE_FIXED:
        refer_table(b, reference, (const uint8_t[]){4}, 1, at);
        set(b, at[0], 16, 4);
        break;
    default: refer_table(b, reference, NULL, 0, at); break;
    }
}

static void put_field(struct leat_buffer *b, size_t reference, const struct leat_field *field) {
    size_t at[FIELDS_MAX];
    refer_table(b, reference, (const uint8_t[]){4, 1, 1, 4, 0, 4}, 6, at);
    set(b, at[1], 1, 1);
    set(b, at[2], arrow_type(field->type), 1);
    refer_string(b, at[0], field->name);
    put_type(b, at[3], field->type);
    align(b, 0, 4);
    refer(b, at[5]); /* no children */
    put_zeros(b, 4);
}

static void put_schema(struct leat_buffer *b, size_t reference, const struct leat_schema *schema) {
    size_t at[FIELDS_MAX];
    uint32_t n = (uint32_t)schema->field_count;
    refer_table(b, reference, (const uint8_t[]){2, 4}, 2, at);
    align(b, 0, 4);
    refer(b, at[1]);
    leat_putn(b, (const char *)&n, 4);
    size_t fields = b->length;
    put_zeros(b, 4 * (size_t)n);
    for (size_t i = 0; i < n; i++) put_field(b, fields + 4 * i, &schema->fields[i]);
}

/* ---- record batches ---------------------------------------------------------------------------------------------------- */

struct piece { int64_t offset, length; };
struct body { struct leat_buffer bytes; struct piece *pieces; size_t count; };

static void begin_piece(struct body *body) {
    align(&body->bytes, 0, 8);
    body->pieces[body->count].offset = (int64_t)body->bytes.length;
}

static void end_piece(struct body *body) {
    body->pieces[body->count].length = (int64_t)body->bytes.length - body->pieces[body->count].offset;
    body->count++;
    align(&body->bytes, 0, 8);
}

static int64_t put_validity(struct body *body, const struct leat_column *c, size_t n) {
    int64_t nulls = 0;
    for (size_t i = 0; i < n; i++) nulls += leat_is_null(c, i);
    begin_piece(body);
    if (nulls) leat_putn(&body->bytes, (const char *)c->valid, (n + 7) / 8);
    end_piece(body);
    return nulls;
}

/* Offsets first: they say where each text ends, so texts are put aside. */
static void put_texts(struct body *body, const struct leat_column *c, size_t n) {
    struct leat_buffer texts = {0};
    int32_t end = 0;
    begin_piece(body);
    leat_putn(&body->bytes, (const char *)&end, 4);
    for (size_t i = 0; i < n; i++) {
        const struct leat_string *s = (const struct leat_string *)c->data + i;
        if (leat_is_null(c, i)) {
        } else if (leat_type_is_string(c->type)) {
            leat_putn(&texts, leat_string_data(s), s->length);
        } else {
            leat_put_value(&texts, c, i);
        }
        end = (int32_t)texts.length;
        leat_putn(&body->bytes, (const char *)&end, 4);
    }
    end_piece(body);
    begin_piece(body);
    if (texts.length) leat_putn(&body->bytes, texts.data, texts.length);
    end_piece(body);
    leat_buffer_deinit(&texts);
}

static void put_bits(struct leat_buffer *out, const uint8_t *values, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        unsigned char bits = 0;
        for (size_t k = 0; k < 8 && i + k < n; k++) bits |= (unsigned char)((values[i + k] != 0) << k);
        leat_putn(out, (const char *)&bits, 1);
    }
}

static void put_wide(struct leat_buffer *out, const struct leat_column *c, size_t i) {
    size_t size = leat_type_size(c->type);
    leat_i128 value = size == 2 ? ((const int16_t *)c->data)[i] : size == 4 ? ((const int32_t *)c->data)[i] : size == 8 ? ((const int64_t *)c->data)[i] : 0;
    if (size == 16) memcpy(&value, (const char *)c->data + 16 * i, 16);
    leat_putn(out, (const char *)&value, 16);
}

static void put_interval(struct leat_buffer *out, const struct leat_column *c, size_t i) {
    char value[16];
    int64_t us;
    memcpy(value, (const char *)c->data + 16 * i, 16);
    memcpy(&us, value + 8, 8);
    us = us > INT64_MAX / 1000 ? INT64_MAX : us < INT64_MIN / 1000 ? INT64_MIN : us * 1000;
    memcpy(value + 8, &us, 8);
    leat_putn(out, value, 16);
}

static void put_uuid(struct leat_buffer *out, const struct leat_column *c, size_t i) {
    const unsigned char *from = (const unsigned char *)c->data + 16 * i;
    char value[16];
    for (int k = 0; k < 16; k++) value[k] = (char)from[15 - k];
    value[0] = (char)(value[0] ^ 0x80);
    leat_putn(out, value, 16);
}

static int64_t put_column(struct body *body, const struct leat_column *c, size_t n) {
    int64_t nulls = put_validity(body, c, n);
    if (is_text(c->type) || c->type.kind == LEAT_BLOB) {
        put_texts(body, c, n);
        return nulls;
    }
    begin_piece(body);
    switch (arrow_type(c->type)) {
    case TYPE_BOOL: put_bits(&body->bytes, c->data, n); break;
    case TYPE_DECIMAL:
        for (size_t i = 0; i < n; i++) put_wide(&body->bytes, c, i);
        break;
    case TYPE_INTERVAL:
        for (size_t i = 0; i < n; i++) put_interval(&body->bytes, c, i);
        break;
    case TYPE_FIXED:
        for (size_t i = 0; i < n; i++) put_uuid(&body->bytes, c, i);
        break;
    default:
        if (n) leat_putn(&body->bytes, c->data, n * leat_type_size(c->type));
        break;
    }
    end_piece(body);
    return nulls;
}

static void refer_structs(struct leat_buffer *b, size_t reference, const void *items, uint32_t count) {
    align(b, 4, 8);
    refer(b, reference);
    leat_putn(b, (const char *)&count, 4);
    if (count) leat_putn(b, items, 16 * (size_t)count);
}

static void put_batch(struct leat_buffer *b, size_t reference, const struct body *body, const struct piece *nodes, size_t columns, size_t rows) {
    size_t at[FIELDS_MAX];
    refer_table(b, reference, (const uint8_t[]){8, 4, 4}, 3, at);
    set(b, at[0], rows, 8);
    refer_structs(b, at[1], nodes, (uint32_t)columns);
    refer_structs(b, at[2], body->pieces, (uint32_t)body->count);
}

/* ---- messages --------------------------------------------------------------------------------------------------------------- */

static size_t begin_message(struct leat_buffer *b, uint8_t header, size_t body_bytes) {
    size_t at[FIELDS_MAX];
    put_zeros(b, 4);
    refer_table(b, 0, (const uint8_t[]){2, 1, 4, 8}, 4, at);
    set(b, at[0], VERSION_5, 2);
    set(b, at[1], header, 1);
    set(b, at[3], body_bytes, 8);
    return at[2];
}

static void put_message(struct leat_buffer *out, struct leat_buffer *message, const struct leat_buffer *body) {
    align(message, 0, 8);
    const uint32_t head[2] = {0xFFFFFFFFu, (uint32_t)message->length};
    leat_putn(out, (const char *)head, sizeof head);
    leat_putn(out, message->data, message->length);
    if (body && body->length) leat_putn(out, body->data, body->length);
    leat_buffer_deinit(message);
}

void leat_put_arrow_stream(struct leat_buffer *out, const struct leat_changes *rows) {
    struct leat_buffer message = {0};
    size_t columns = rows->schema->field_count;
    put_schema(&message, begin_message(&message, HEADER_SCHEMA, 0), rows->schema);
    put_message(out, &message, NULL);
    if (rows->row_count) {
        struct body body = {.pieces = leat_alloc((3 * columns + 1) * sizeof *body.pieces)};
        struct piece *nodes = leat_alloc((columns + 1) * sizeof *nodes); /* length and number of NULLs */
        for (size_t c = 0; c < columns; c++)
            nodes[c] = (struct piece){(int64_t)rows->row_count, put_column(&body, &rows->columns[c], rows->row_count)};
        put_batch(&message, begin_message(&message, HEADER_RECORD_BATCH, body.bytes.length), &body, nodes, columns, rows->row_count);
        put_message(out, &message, &body.bytes);
        leat_buffer_deinit(&body.bytes);
        free(body.pieces);
        free(nodes);
    }
    const uint32_t end[2] = {0xFFFFFFFFu, 0};
    leat_putn(out, (const char *)end, sizeof end);
}
