/* Values of the native protocol (section 6): a [value] is its length as an [int] (-1: null), then its bytes,
 * big-endian. */
#include "connect/cql/cql.h"

#include <assert.h>
#include <string.h>

static void put_length(struct leat_buffer *b, int64_t n) {
    assert(n >= -1 && n <= INT32_MAX);
    uint32_t v = (uint32_t)(int32_t)n;
    leat_putn(b, (const char[]){(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v}, 4);
}

void leat_cql_put_null(struct leat_buffer *b) {
    put_length(b, -1);
}

void leat_cql_put_bytes(struct leat_buffer *b, const void *bytes, size_t n) {
    put_length(b, (int64_t)n);
    leat_putn(b, bytes, n);
}

/* The last `width` bytes of a number, the highest first. */
static void put_big_endian(struct leat_buffer *b, __int128 value, size_t width) {
    char bytes[17];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (char)(value >> (8 * (width - 1 - i) > 127 ? 127 : 8 * (width - 1 - i)));
    leat_putn(b, bytes, width);
}

void leat_cql_put_integer(struct leat_buffer *b, int64_t value, size_t width) {
    put_length(b, (int64_t)width);
    put_big_endian(b, value, width);
}

/* Section 6.23: the fewest bytes of two's complement. */
static size_t varint_bytes(__int128 value) {
    size_t n = 1;
    while (n < 16 && value >> (8 * n - 1) != (value < 0 ? -1 : 0))
        n++;
    return n;
}

void leat_cql_put_varint(struct leat_buffer *b, __int128 value) {
    size_t n = varint_bytes(value);
    put_length(b, (int64_t)n);
    put_big_endian(b, value, n);
}

void leat_cql_put_decimal(struct leat_buffer *b, __int128 unscaled, int32_t scale) {
    size_t n = varint_bytes(unscaled);
    put_length(b, (int64_t)n + 4);
    put_big_endian(b, scale, 4);
    put_big_endian(b, unscaled, n);
}

void leat_cql_put_double(struct leat_buffer *b, double value) {
    int64_t bits;
    memcpy(&bits, &value, 8);
    leat_cql_put_integer(b, bits, 8);
}

void leat_cql_put_float(struct leat_buffer *b, float value) {
    int32_t bits;
    memcpy(&bits, &value, 4);
    leat_cql_put_integer(b, bits, 4);
}

bool leat_cql_get_integer(struct leat_cql_bytes v, int64_t *out) {
    if (v.length != 1 && v.length != 2 && v.length != 4 && v.length != 8) return false;
    uint64_t value = v.data[0] & 0x80 ? ~(uint64_t)0 : 0;
    for (int32_t i = 0; i < v.length; i++)
        value = value << 8 | v.data[i];
    *out = (int64_t)value;
    return true;
}

void leat_cql_put_name(struct leat_buffer *b, const char *name) {
    leat_putn(b, "\"", 1);
    for (; *name; name++)
        leat_putn(b, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    leat_putn(b, "\"", 1);
}
