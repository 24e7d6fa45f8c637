/* Reading Avro's binary encoding: a cursor that stops at the first fault, values as text, values as JSON, containers. */
#include "data/avro.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/limits.h"
#include "data/value.h"
#include "data/value_text.h"

enum { EMPTY_VALUES_MAX = 1 << 16 }; /* nearly all values take a byte at least */
static const char too_short[] = "it ends in the middle of a value";

struct leat_avro_cursor leat_avro_cursor(struct leat_bytes bytes) {
    return (struct leat_avro_cursor){.at = bytes.data, .end = bytes.data + bytes.length, .values_left = bytes.length + EMPTY_VALUES_MAX};
}

static void fault(struct leat_avro_cursor *c, const char *why) {
    if (!c->fault) c->fault = why;
    c->at = c->end;
}

/* ---- primitives ---- */

int64_t leat_avro_long(struct leat_avro_cursor *c) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end) {
            fault(c, too_short);
            return 0;
        }
        uint64_t byte = (unsigned char)*c->at++;
        value |= (byte & 0x7f) << shift;
        if (!(byte & 0x80)) return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    }
    fault(c, "a number has more than ten bytes");
    return 0;
}

static struct leat_bytes take(struct leat_avro_cursor *c, int64_t length) {
    if (length < 0 || length > c->end - c->at) {
        fault(c, length < 0 ? "a length is negative" : too_short);
        return (struct leat_bytes){"", 0};
    }
    struct leat_bytes bytes = {c->at, (size_t)length};
    c->at += length;
    return bytes;
}

struct leat_bytes leat_avro_bytes(struct leat_avro_cursor *c) {
    return take(c, leat_avro_long(c));
}

static double take_double(struct leat_avro_cursor *c, bool single) {
    struct leat_bytes bytes = take(c, single ? 4 : 8);
    float f = 0;
    double d = 0;
    if (c->fault) return 0;
    if (single)
        memcpy(&f, bytes.data, sizeof f);
    else
        memcpy(&d, bytes.data, sizeof d);
    return single ? (double)f : d;
}

/* Items of the next block of an array or map; 0: there are no more. */
static uint64_t take_block(struct leat_avro_cursor *c) {
    int64_t count = leat_avro_long(c);
    if (count < 0) {
        leat_avro_long(c); /* the block's bytes */
        count = count == INT64_MIN ? INT64_MAX : -count;
    }
    if (c->fault) return 0;
    return (uint64_t)count;
}

uint32_t leat_avro_resolve(const struct leat_avro_schema *s, uint32_t node, struct leat_avro_cursor *c) {
    const struct leat_avro_node *n = &s->nodes[node];
    if (n->type != LEAT_AVRO_UNION) return node;
    int64_t branch = leat_avro_long(c);
    if (!c->fault && (branch < 0 || (uint64_t)branch >= n->count)) fault(c, "a union's branch is not one of its schema");
    return c->fault ? UINT32_MAX : n->children[branch]; /* no union is directly inside a union */
}

/* One value more. Values may take no bytes, and records of records as many of them as two to the power of their depth. */
static bool too_much(struct leat_avro_cursor *c, int depth) {
    if (depth > LEAT_NESTING_MAX) fault(c, "it is nested too deeply");
    if (c->values_left-- == 0) fault(c, "it has too many values");
    return c->fault != NULL;
}

void leat_avro_skip(const struct leat_avro_schema *s, uint32_t node, struct leat_avro_cursor *c, int depth) {
    if (too_much(c, depth) || (node = leat_avro_resolve(s, node, c)) == UINT32_MAX) return;
    const struct leat_avro_node *n = &s->nodes[node];
    switch ((enum leat_avro_type)n->type) {
    case LEAT_AVRO_NULL:
    case LEAT_AVRO_UNION:
        return;
    case LEAT_AVRO_BOOLEAN:
        take(c, 1);
        return;
    case LEAT_AVRO_INT:
    case LEAT_AVRO_LONG:
    case LEAT_AVRO_ENUM:
        leat_avro_long(c);
        return;
    case LEAT_AVRO_FLOAT:
    case LEAT_AVRO_DOUBLE:
        take(c, n->type == LEAT_AVRO_FLOAT ? 4 : 8);
        return;
    case LEAT_AVRO_BYTES:
    case LEAT_AVRO_STRING:
        leat_avro_bytes(c);
        return;
    case LEAT_AVRO_FIXED:
        take(c, n->size);
        return;
    case LEAT_AVRO_RECORD:
        for (size_t i = 0; i < n->count && !c->fault; i++)
            leat_avro_skip(s, n->children[i], c, depth + 1);
        return;
    case LEAT_AVRO_ARRAY:
    case LEAT_AVRO_MAP:
        for (uint64_t left; (left = take_block(c));)
            for (; left && !c->fault; left--) {
                if (n->type == LEAT_AVRO_MAP) leat_avro_bytes(c);
                leat_avro_skip(s, n->children[0], c, depth + 1);
            }
        return;
    }
}

/* ---- text of scalars ---- */

static void put_column(struct leat_buffer *out, uint8_t kind, uint8_t scale, const void *value) {
    struct leat_column column = {.type = {.kind = kind, .width = kind == LEAT_DECIMAL ? 38 : 0, .scale = scale}, .data = (void *)(uintptr_t)value};
    leat_put_value(out, &column, 0);
}

/* Two's complement, big-endian. */
static void put_decimal(struct leat_avro_cursor *c, struct leat_bytes bytes, int64_t scale, struct leat_buffer *out) {
    const leat_i128 limit = (leat_i128)10000000000000000000u * (leat_i128)10000000000000000000u; /* 10^38 */
    leat_i128 value = bytes.length && *bytes.data & 0x80 ? -1 : 0;
    size_t skip = 0;
    while (bytes.length - skip > 16 && (signed char)bytes.data[skip] == (signed char)value) skip++;
    bool cut = skip && (signed char)bytes.data[skip] >> 7 != (signed char)value; /* the sign went with what was skipped */
    if (cut || bytes.length - skip > 16 || scale < 0 || scale > 38) {
        fault(c, "a decimal has more than 38 digits");
        return;
    }
    for (size_t i = skip; i < bytes.length; i++)
        value = (leat_i128)((unsigned __int128)value << 8 | (unsigned char)bytes.data[i]);
    if (value >= limit || value <= -limit)
        fault(c, "a decimal has more than 38 digits");
    else
        put_column(out, LEAT_DECIMAL, (uint8_t)scale, &value);
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static void put_number(const struct leat_avro_node *n, struct leat_avro_cursor *c, struct leat_buffer *out) {
    int64_t value = leat_avro_long(c), us;
    int32_t days = (int32_t)value;
    if (c->fault) return;
    switch ((enum leat_avro_meaning)n->meaning) {
    case LEAT_AVRO_DATE:
        if (value < -719162 || value > 2932896)
            fault(c, "a date is outside the years 1 to 9999");
        else
            put_column(out, LEAT_DATE, 0, &days);
        return;
    case LEAT_AVRO_TIME:
    case LEAT_AVRO_TIMESTAMP:
        us = n->unit_ns >= 1000 ? value : floor_divide(value, 1000);
        if (n->unit_ns > 1000 && __builtin_mul_overflow(us, n->unit_ns / 1000, &us)) us = INT64_MAX;
        bool time = n->meaning == LEAT_AVRO_TIME;
        if (time ? us < 0 || us > 86400000000 : us < -62135596800000000 || us > 253402300799999999)
            fault(c, time ? "a time is outside the day" : "a timestamp is outside the years 1 to 9999");
        else
            put_column(out, time ? LEAT_TIME : LEAT_TIMESTAMP, 0, &us);
        return;
    default:
        leat_putf(out, "%" PRId64, value);
    }
}

static void put_duration(struct leat_bytes bytes, struct leat_buffer *out) {
    uint32_t parts[3] = {0};
    if (bytes.length == sizeof parts) memcpy(parts, bytes.data, sizeof parts);
    leat_putf(out, "%" PRIu32 " months %" PRIu32 " days %" PRIu32 " milliseconds", parts[0], parts[1], parts[2]);
}

static void put_double(double value, bool single, struct leat_buffer *out) {
    float f = (float)value;
    put_column(out, single ? LEAT_FLOAT : LEAT_DOUBLE, 0, single ? (const void *)&f : (const void *)&value);
}

static void put_symbol(const struct leat_avro_node *n, struct leat_avro_cursor *c, struct leat_buffer *out) {
    int64_t symbol = leat_avro_long(c);
    if (!c->fault && (symbol < 0 || (uint64_t)symbol >= n->count))
        fault(c, "an enum's symbol is not one of its schema");
    else if (!c->fault)
        leat_put(out, n->names[symbol]);
}

/* Debezium: the scale, and the digits in bytes. */
static void put_scaled(const struct leat_avro_schema *s, const struct leat_avro_node *n, struct leat_avro_cursor *c, struct leat_buffer *out) {
    if (s->nodes[n->children[0]].type != LEAT_AVRO_INT || s->nodes[n->children[1]].type != LEAT_AVRO_BYTES) {
        fault(c, "a VariableScaleDecimal is not a scale and bytes");
        return;
    }
    int64_t scale = leat_avro_long(c);
    struct leat_bytes bytes = leat_avro_bytes(c);
    if (!c->fault) put_decimal(c, bytes, scale, out);
}

bool leat_avro_put_text(const struct leat_avro_schema *s, uint32_t node, struct leat_avro_cursor *c, struct leat_buffer *out) {
    if ((node = leat_avro_resolve(s, node, c)) == UINT32_MAX) return false;
    const struct leat_avro_node *n = &s->nodes[node];
    struct leat_bytes bytes;
    switch ((enum leat_avro_type)n->type) {
    case LEAT_AVRO_NULL:
    case LEAT_AVRO_UNION:
        return false;
    case LEAT_AVRO_BOOLEAN:
        bytes = take(c, 1);
        if (!c->fault) leat_put(out, *bytes.data ? "true" : "false");
        return true;
    case LEAT_AVRO_INT:
    case LEAT_AVRO_LONG:
        put_number(n, c, out);
        return true;
    case LEAT_AVRO_FLOAT:
    case LEAT_AVRO_DOUBLE:
        put_double(take_double(c, n->type == LEAT_AVRO_FLOAT), n->type == LEAT_AVRO_FLOAT, out);
        return true;
    case LEAT_AVRO_ENUM:
        put_symbol(n, c, out);
        return true;
    case LEAT_AVRO_BYTES:
    case LEAT_AVRO_STRING:
    case LEAT_AVRO_FIXED:
        bytes = n->type == LEAT_AVRO_FIXED ? take(c, n->size) : leat_avro_bytes(c);
        if (c->fault) return true;
        if (n->meaning == LEAT_AVRO_DECIMAL)
            put_decimal(c, bytes, n->scale, out);
        else if (n->meaning == LEAT_AVRO_DURATION)
            put_duration(bytes, out);
        else
            leat_putn(out, bytes.data, bytes.length);
        return true;
    case LEAT_AVRO_RECORD:
        if (n->meaning == LEAT_AVRO_SCALED_DECIMAL) {
            put_scaled(s, n, c, out);
            return true;
        }
        leat_avro_put_json(s, node, c, 1, out);
        return true;
    case LEAT_AVRO_ARRAY:
    case LEAT_AVRO_MAP:
        leat_avro_put_json(s, node, c, 1, out);
        return true;
    }
    return false;
}

/* ---- JSON ---- */

static void put_json_scalar(const struct leat_avro_schema *s, uint32_t node, struct leat_avro_cursor *c, struct leat_buffer *out) {
    const struct leat_avro_node *n = &s->nodes[node];
    struct leat_buffer text = {0};
    bool there = leat_avro_put_text(s, node, c, &text);
    bool number = n->meaning == LEAT_AVRO_PLAIN && n->type >= LEAT_AVRO_INT && n->type <= LEAT_AVRO_DOUBLE;
    bool finite = text.length && strchr("-0123456789", text.data[0]) && !strchr(text.data, 'I');
    bool bare = n->type == LEAT_AVRO_BOOLEAN || (number && finite) || n->meaning == LEAT_AVRO_DECIMAL || n->meaning == LEAT_AVRO_SCALED_DECIMAL;
    bool binary = n->meaning == LEAT_AVRO_PLAIN && (n->type == LEAT_AVRO_BYTES || n->type == LEAT_AVRO_FIXED);
    if (!there) {
        leat_put(out, "null");
    } else if (bare) {
        leat_putn(out, text.data ? text.data : "", text.length);
    } else if (binary) {
        leat_put(out, "\"");
        leat_put_base64(out, text.data ? text.data : "", text.length);
        leat_put(out, "\"");
    } else {
        leat_put_json_string(out, text.data ? text.data : "", text.length);
    }
    leat_buffer_deinit(&text);
}

void leat_avro_put_json(const struct leat_avro_schema *s, uint32_t node, struct leat_avro_cursor *c, int depth, struct leat_buffer *out) {
    if (too_much(c, depth) || (node = leat_avro_resolve(s, node, c)) == UINT32_MAX) return;
    const struct leat_avro_node *n = &s->nodes[node];
    bool first = true;
    switch ((enum leat_avro_type)n->type) {
    case LEAT_AVRO_RECORD:
        if (n->meaning == LEAT_AVRO_SCALED_DECIMAL) break;
        leat_put(out, "{");
        for (size_t i = 0; i < n->count && !c->fault; i++) {
            if (i) leat_put(out, ",");
            leat_put_json_string(out, n->names[i], strlen(n->names[i]));
            leat_put(out, ":");
            leat_avro_put_json(s, n->children[i], c, depth + 1, out);
        }
        leat_put(out, "}");
        return;
    case LEAT_AVRO_ARRAY:
    case LEAT_AVRO_MAP:
        leat_put(out, n->type == LEAT_AVRO_MAP ? "{" : "[");
        for (uint64_t left; (left = take_block(c));)
            for (; left && !c->fault; left--, first = false) {
                if (!first) leat_put(out, ",");
                struct leat_bytes key = n->type == LEAT_AVRO_MAP ? leat_avro_bytes(c) : (struct leat_bytes){0};
                if (n->type == LEAT_AVRO_MAP) {
                    leat_put_json_string(out, key.data, key.length);
                    leat_put(out, ":");
                }
                leat_avro_put_json(s, n->children[0], c, depth + 1, out);
            }
        leat_put(out, n->type == LEAT_AVRO_MAP ? "}" : "]");
        return;
    default:
        break;
    }
    put_json_scalar(s, node, c, out);
}

/* ---- container files ---- */

static const char *inflate_block(struct leat_bytes data, struct leat_arena *arena, struct leat_bytes *out) {
    size_t room = 4 * data.length + 256; /* of many records: not for each as much as the largest may have */
    int result = Z_BUF_ERROR;
    for (bool most = false; result == Z_BUF_ERROR && !most; room *= 8) {
        z_stream stream = {.next_in = (Bytef *)(uintptr_t)data.data, .avail_in = (uInt)data.length};
        most = room >= LEAT_RECORD_BYTES_MAX;
        if (most) room = LEAT_RECORD_BYTES_MAX;
        if (inflateInit2(&stream, -15) != Z_OK) return "no memory to decompress its block";
        char *bytes = leat_arena_alloc(arena, room);
        stream.next_out = (Bytef *)bytes;
        stream.avail_out = (uInt)room;
        result = inflate(&stream, Z_FINISH);
        *out = (struct leat_bytes){bytes, room - stream.avail_out};
        inflateEnd(&stream);
        if (stream.avail_out) break; /* there was room: it is the data that is short */
    }
    return result == Z_STREAM_END ? NULL : "its block is not deflated data, or too large";
}

static bool is(struct leat_bytes bytes, const char *text) {
    return bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0;
}

const char *leat_avro_container_open(struct leat_bytes file, struct leat_arena *arena, struct leat_bytes *schema, struct leat_bytes *record) {
    enum { SYNC_BYTES = 16 };
    struct leat_bytes codec = {0};
    *schema = *record = (struct leat_bytes){0};
    if (file.length < 4 || memcmp(file.data, "Obj\1", 4) != 0)
        return "it is not an Avro container file; for values that are framed by a schema registry's clients, say schema.registry.url";
    struct leat_avro_cursor c = leat_avro_cursor((struct leat_bytes){file.data + 4, file.length - 4});
    for (uint64_t left; (left = take_block(&c));)
        for (; left && !c.fault; left--) {
            struct leat_bytes key = leat_avro_bytes(&c), value = leat_avro_bytes(&c);
            if (is(key, "avro.schema")) *schema = value;
            if (is(key, "avro.codec")) codec = value;
        }
    take(&c, SYNC_BYTES);
    if (c.fault) return c.fault;
    if (c.at == c.end) return "the container file has no record";
    int64_t count = leat_avro_long(&c);
    *record = leat_avro_bytes(&c);
    take(&c, SYNC_BYTES);
    if (c.fault) return c.fault;
    if (!schema->data) return "the container file has no schema";
    if (count != 1 || c.at != c.end) return "the container file has several records; leat takes one a message";
    if (!codec.data || is(codec, "null")) return NULL;
    return is(codec, "deflate") ? inflate_block(*record, arena, record) : "the container file's codec is neither null nor deflate";
}
