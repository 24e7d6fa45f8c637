/* Parquet's encodings of integers. Source: Encodings.md of the format (delta encoding, RLE / bit-packing hybrid). */
#include <stdlib.h>

#include "data/parquet_internal.h"

enum { BLOCK = 128, MINIBLOCK = 32, MINIBLOCKS = BLOCK / MINIBLOCK, PACKED_MAX = MINIBLOCK * 8 };
enum { VARINT_MAX = 10 };

char *leat_parquet_grow(struct leat_buffer *out, size_t n) {
    struct leat_error err;
    if (leat_buffer_reserve(out, n, &err) != LEAT_OK) leat_panic("%s", err.text);
    char *at = out->data + out->length;
    out->length += n;
    out->data[out->length] = 0;
    return at;
}

/* 32 values of `width` bits, the first in the lowest; 4 * width bytes. */
static char *pack(const uint64_t *values, unsigned width, char *at) {
    uint64_t word = 0;
    unsigned used = 0;
    if (!width) return at;
    for (size_t i = 0; i < MINIBLOCK; i++) {
        word |= values[i] << used;
        used += width;
        if (used < 64) continue;
        memcpy(at, &word, sizeof word);
        at += sizeof word;
        used -= 64;
        word = used ? values[i] >> (width - used) : 0;
    }
    memcpy(at, &word, used / 8);
    return at + used / 8;
}

static char *put_varint(char *at, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        *at++ = (char)((value & 0x7f) | 0x80);
    *at++ = (char)value;
    return at;
}

static char *put_zigzag(char *at, int64_t value) {
    return put_varint(at, (uint64_t)value << 1 ^ (uint64_t)(value >> 63));
}

void leat_parquet_put_byte(struct leat_buffer *out, unsigned byte) {
    char c = (char)byte;
    leat_putn(out, &c, 1);
}

void leat_parquet_put_varint(struct leat_buffer *out, uint64_t value) {
    char bytes[VARINT_MAX];
    leat_putn(out, bytes, (size_t)(put_varint(bytes, value) - bytes));
}

void leat_parquet_put_zigzag(struct leat_buffer *out, int64_t value) {
    char bytes[VARINT_MAX];
    leat_putn(out, bytes, (size_t)(put_zigzag(bytes, value) - bytes));
}

/* The differences of n + 1 values, at most BLOCK, less the lowest of them. */
static char *put_block(const int64_t *values, size_t n, bool narrow, char *at) {
    uint64_t deltas[BLOCK];
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t delta = (uint64_t)values[i + 1] - (uint64_t)values[i];
        if (narrow) delta = (uint64_t)(int32_t)(uint32_t)delta;
        deltas[i] = delta;
        lowest = (int64_t)delta < lowest ? (int64_t)delta : lowest;
    }
    for (size_t i = 0; i < n; i++)
        deltas[i] -= (uint64_t)lowest;
    memset(deltas + n, 0, (BLOCK - n) * sizeof *deltas);
    at = put_zigzag(at, lowest);
    char *widths = at;
    at += MINIBLOCKS;
    for (size_t m = 0; m < MINIBLOCKS; m++) {
        uint64_t all = 0;
        for (size_t i = 0; i < MINIBLOCK; i++)
            all |= deltas[m * MINIBLOCK + i];
        widths[m] = (char)leat_parquet_bits(all);
        if (m * MINIBLOCK < n) at = pack(deltas + m * MINIBLOCK, leat_parquet_bits(all), at);
    }
    return at;
}

void leat_parquet_put_delta(const int64_t *values, size_t count, bool narrow, struct leat_buffer *out) {
    size_t start = out->length, blocks = count / BLOCK + 1;
    char *at = leat_parquet_grow(out, 4 * VARINT_MAX + blocks * (VARINT_MAX + MINIBLOCKS + BLOCK * sizeof *values));
    at = put_varint(at, BLOCK);
    at = put_varint(at, MINIBLOCKS);
    at = put_varint(at, count);
    at = put_zigzag(at, count ? values[0] : 0);
    for (size_t i = 0; i + 1 < count; i += BLOCK)
        at = put_block(values + i, count - 1 - i < BLOCK ? count - 1 - i : BLOCK, narrow, at);
    out->length = start + (size_t)(at - (out->data + start));
}

static bool all_equal(const uint32_t *values, size_t count) {
    for (size_t i = 1; i < count; i++)
        if (values[i] != values[0]) return false;
    return true;
}

void leat_parquet_put_packed(const uint32_t *values, size_t count, unsigned width, struct leat_buffer *out) {
    if (all_equal(values, count)) {
        uint32_t value = count ? values[0] : 0;
        leat_parquet_put_varint(out, (uint64_t)count << 1);
        leat_putn(out, (const char *)&value, (width + 7) / 8);
        return;
    }
    size_t groups = (count + 7) / 8;
    leat_parquet_put_varint(out, (uint64_t)groups << 1 | 1);
    size_t start = out->length;
    char *at = leat_parquet_grow(out, (count / MINIBLOCK + 1) * PACKED_MAX);
    for (size_t i = 0; i < count; i += MINIBLOCK) {
        uint64_t some[MINIBLOCK] = {0};
        for (size_t k = 0; k < MINIBLOCK && i + k < count; k++)
            some[k] = values[i + k];
        at = pack(some, width, at);
    }
    out->length = start + groups * width;
}
