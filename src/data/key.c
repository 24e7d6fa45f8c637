/* Canonical keys. See key.h.
 *
 * Encoding of one column: 0x00 for NULL; else 0x01 and
 *   fixed-width   the value's bytes as in the column; FLOAT and DOUBLE: -0.0 as 0.0, any NaN as the one quiet NaN;
 *                 INTERVAL: micros carried into days (24 h), days into months (30 days), each towards zero, as
 *                 DuckDB does before it compares
 *   strings       length as 4 bytes, then the bytes
 * Little-endian. Each column's length follows from its first bytes, so that a concatenation stays unambiguous. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data/key.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static const int64_t micros_per_day = 86400000000LL;
enum { DAYS_PER_MONTH = 30, STACK_KEY_BYTES = 4096, ROWS_AT_ONCE = 32, MAX_FIXED_BYTES = 1 + 16 };

struct interval {
    int32_t months, days;
    int64_t micros;
};
struct wide_interval {
    int64_t months, days, micros;
};

static struct wide_interval carried(const void *value) {
    struct interval in;
    memcpy(&in, value, sizeof in);
    struct wide_interval out;
    out.days = in.days + in.micros / micros_per_day;
    out.micros = in.micros % micros_per_day;
    out.months = in.months + out.days / DAYS_PER_MONTH;
    out.days %= DAYS_PER_MONTH;
    return out;
}

/* 24 bytes would not fit the fixed maximum: months need 33 bits, days and micros are small after carrying. */
static void put_interval(unsigned char *out, const void *value) {
    struct wide_interval w = carried(value);
    int8_t days = (int8_t)w.days;
    memcpy(out, &w.months, 7);
    memcpy(out + 7, &days, 1);
    memcpy(out + 8, &w.micros, 8);
}

static double canonical_double(double v) {
    return isnan(v) ? (double)NAN : v == 0 ? 0.0 : v;
}
static float canonical_float(float v) {
    return isnan(v) ? NAN : v == 0 ? 0.0f : v;
}

static inline const char *value_at(const struct leat_column *column, size_t row, size_t size) {
    return (const char *)column->data + row * size;
}

/* Writes the bytes of a fixed-width value that is not NULL; returns how many. */
static inline size_t put_fixed(unsigned char *out, const struct leat_column *column, size_t row) {
    switch ((enum leat_kind)column->type.kind) {
    case LEAT_FLOAT: {
        float v = canonical_float(((const float *)column->data)[row]);
        memcpy(out, &v, 4);
        return 4;
    }
    case LEAT_DOUBLE: {
        double v = canonical_double(((const double *)column->data)[row]);
        memcpy(out, &v, 8);
        return 8;
    }
    case LEAT_INTERVAL:
        put_interval(out, value_at(column, row, 16));
        return 16;
    default:
        break;
    }
    size_t size = leat_type_size(column->type);
    const char *value = value_at(column, row, size);
    switch (size) {
    case 1:
        memcpy(out, value, 1);
        break;
    case 2:
        memcpy(out, value, 2);
        break;
    case 4:
        memcpy(out, value, 4);
        break;
    case 8:
        memcpy(out, value, 8);
        break;
    case 16:
        memcpy(out, value, 16);
        break;
    default:
        break;
    }
    return size;
}

static inline const struct leat_string *string_at(const struct leat_column *column, size_t row) {
    return (const struct leat_string *)column->data + row;
}

static size_t key_bound(const struct leat_changes *c, size_t row, const uint16_t *columns, size_t count) {
    size_t bound = count * MAX_FIXED_BYTES;
    for (size_t i = 0; i < count; i++) {
        const struct leat_column *column = &c->columns[columns[i]];
        if (leat_type_is_string(column->type) && !leat_is_null(column, row)) bound += string_at(column, row)->length;
    }
    return bound;
}

/* out has room for key_bound; returns the length. */
static size_t put_key(unsigned char *out, const struct leat_changes *c, size_t row, const uint16_t *columns,
                      size_t count) {
    unsigned char *start = out;
    for (size_t i = 0; i < count; i++) {
        const struct leat_column *column = &c->columns[columns[i]];
        if (leat_is_null(column, row)) {
            *out++ = 0;
            continue;
        }
        *out++ = 1;
        if (leat_type_is_string(column->type)) {
            const struct leat_string *s = string_at(column, row);
            memcpy(out, &s->length, 4);
            if (s->length <=
                LEAT_STRING_INLINE) /* of constant size; there is room, and what is too much is overwritten */
                memcpy(out + 4, s->u.inlined, LEAT_STRING_INLINE);
            else
                memcpy(out + 4, s->u.pointer.data, s->length);
            out += 4 + (size_t)s->length;
        } else {
            out += put_fixed(out, column, row);
        }
    }
    return (size_t)(out - start);
}

enum leat_status leat_key_encode(const struct leat_changes *c, size_t row, const uint16_t *columns, size_t count,
                                 struct leat_buffer *out, struct leat_error *err) {
    enum leat_status status = leat_buffer_reserve(out, key_bound(c, row, columns, count) + 1, err);
    if (status) return status;
    out->length += put_key((unsigned char *)out->data + out->length, c, row, columns, count);
    out->data[out->length] = 0;
    return LEAT_OK;
}

static inline struct leat_hash128 hash_bytes(const void *bytes, size_t n) {
    XXH128_hash_t h = XXH3_128bits(bytes, n);
    return (struct leat_hash128){.low = h.low64, .high = h.high64};
}

/* The constant length lets the compiler reduce XXH3 to its few instructions for short input. The tag and the value are
 * stored as one: a load that spans two recent stores would wait for both. */
#define HASH_WIDTH(width, ctype)                                                                                       \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        const uint64_t value = ((const ctype *)column->data)[from + i];                                                \
        const struct words words = {{value << 8 | 1, value >> 56}};                                                    \
        out[i] = hash_bytes(&words, 1 + (width));                                                                      \
    }

struct words {
    uint64_t v __attribute__((vector_size(16)));
};

/* One fixed-width column whose bytes are canonical already. */
static void hash_plain(const struct leat_column *column, size_t from, size_t n, struct leat_hash128 *out) {
    const char *data = column->data;
    unsigned char key[MAX_FIXED_BYTES] = {1};
    switch (leat_type_size(column->type)) {
    case 1:
        HASH_WIDTH(1, uint8_t) break;
    case 2:
        HASH_WIDTH(2, uint16_t) break;
    case 4:
        HASH_WIDTH(4, uint32_t) break;
    case 8:
        HASH_WIDTH(8, uint64_t) break;
    case 16:
        for (size_t i = 0; i < n; i++) {
            memcpy(key + 1, data + (from + i) * 16, 16);
            out[i] = hash_bytes(key, sizeof key);
        }
        break;
    default:
        break;
    }
    if (!column->valid) return;
    const struct leat_hash128 null_hash = hash_bytes("", 1);
    for (size_t i = 0; i < n; i++)
        if (leat_is_null(column, from + i)) out[i] = null_hash;
}

static bool is_plain(struct leat_type t) {
    return t.kind != LEAT_FLOAT && t.kind != LEAT_DOUBLE && t.kind != LEAT_INTERVAL && !leat_type_is_string(t);
}

enum { TEXTS_AHEAD = 16 };

/* One string column: its bytes as they are; NULL under another seed. */
static void hash_strings(const struct leat_column *column, size_t from, size_t n, struct leat_hash128 *out) {
    const struct leat_string *s = (const struct leat_string *)column->data + from;
    for (size_t i = 0; i < n; i++) {
        /* The bytes are where they were decoded, longer ago than the cache remembers. */
        if (i + TEXTS_AHEAD < n) {
            const char *later = leat_string_data(&s[i + TEXTS_AHEAD]);
            __builtin_prefetch(later);
            __builtin_prefetch(later + s[i + TEXTS_AHEAD].length);
        }
        out[i] = hash_bytes(leat_string_data(&s[i]), s[i].length);
    }
    if (!column->valid) return;
    XXH128_hash_t h = XXH3_128bits_withSeed("", 0, 1);
    for (size_t i = 0; i < n; i++)
        if (leat_is_null(column, from + i)) out[i] = (struct leat_hash128){.low = h.low64, .high = h.high64};
}

/* The keys of some rows are written before the first is hashed: bytes that were stored just now in other pieces than they
 * are loaded in would be waited for. */
static void hash_encoded(const struct leat_changes *c, size_t from, size_t n, const uint16_t *columns, size_t count,
                         struct leat_hash128 *out) {
    unsigned char stack[STACK_KEY_BYTES], *keys = stack;
    size_t ends[ROWS_AT_ONCE], bound = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        bound += key_bound(c, from + i, columns, count);
    if (bound > sizeof stack) keys = leat_realloc(NULL, bound);
    for (size_t i = 0; i < n; i++)
        ends[i] = at += put_key(keys + at, c, from + i, columns, count);
    for (size_t i = 0, start = 0; i < n; start = ends[i++])
        out[i] = hash_bytes(keys + start, ends[i] - start);
    if (keys != stack) free(keys);
}

void leat_key_hash(const struct leat_changes *c, size_t from, size_t n, const uint16_t *columns, size_t count,
                   struct leat_hash128 *out) {
    if (count == 1 && is_plain(c->columns[columns[0]].type)) {
        hash_plain(&c->columns[columns[0]], from, n, out);
        return;
    }
    if (count == 1 && leat_type_is_string(c->columns[columns[0]].type)) {
        hash_strings(&c->columns[columns[0]], from, n, out);
        return;
    }
    for (size_t i = 0; i < n; i += ROWS_AT_ONCE)
        hash_encoded(c, from + i, n - i < ROWS_AT_ONCE ? n - i : ROWS_AT_ONCE, columns, count, out + i);
}

static inline bool value_equal(const struct leat_column *a, size_t row_a, const struct leat_column *b, size_t row_b) {
    switch ((enum leat_kind)a->type.kind) {
    case LEAT_VARCHAR:
    case LEAT_BLOB:
        return leat_string_equal(string_at(a, row_a), string_at(b, row_b));
    case LEAT_FLOAT: {
        float x = ((const float *)a->data)[row_a], y = ((const float *)b->data)[row_b];
        return x == y || (isnan(x) && isnan(y));
    }
    case LEAT_DOUBLE: {
        double x = ((const double *)a->data)[row_a], y = ((const double *)b->data)[row_b];
        return x == y || (isnan(x) && isnan(y));
    }
    case LEAT_INTERVAL: {
        struct wide_interval x = carried(value_at(a, row_a, 16)), y = carried(value_at(b, row_b, 16));
        return x.months == y.months && x.days == y.days && x.micros == y.micros;
    }
    default: {
        size_t size = leat_type_size(a->type);
        return memcmp(value_at(a, row_a, size), value_at(b, row_b, size), size) == 0;
    }
    }
}

bool leat_key_equal(const struct leat_changes *a, size_t row_a, const uint16_t *columns_a, const struct leat_changes *b,
                    size_t row_b, const uint16_t *columns_b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct leat_column *x = &a->columns[columns_a[i]], *y = &b->columns[columns_b[i]];
        bool null_x = leat_is_null(x, row_a), null_y = leat_is_null(y, row_b);
        if (null_x != null_y) return false;
        if (!null_x && !value_equal(x, row_a, y, row_b)) return false;
    }
    return true;
}

#define THREE_WAY(x, y) (((x) > (y)) - ((x) < (y)))
#define COMPARE_AS(type)                                                                                               \
    do {                                                                                                               \
        type x, y;                                                                                                     \
        memcpy(&x, value_at(a, row_a, sizeof x), sizeof x);                                                            \
        memcpy(&y, value_at(b, row_b, sizeof y), sizeof y);                                                            \
        return THREE_WAY(x, y);                                                                                        \
    } while (0)

static int compare_doubles(double x, double y) {
    if (isnan(x) || isnan(y)) return (isnan(x) != 0) - (isnan(y) != 0);
    return THREE_WAY(x, y);
}

static int compare_intervals(const void *a, const void *b) {
    struct wide_interval x = carried(a), y = carried(b);
    int order = THREE_WAY(x.months, y.months);
    if (!order) order = THREE_WAY(x.days, y.days);
    return order ? order : THREE_WAY(x.micros, y.micros);
}

static int compare_signed(const struct leat_column *a, size_t row_a, const struct leat_column *b, size_t row_b) {
    switch (leat_type_size(a->type)) {
    case 1:
        COMPARE_AS(int8_t);
    case 2:
        COMPARE_AS(int16_t);
    case 4:
        COMPARE_AS(int32_t);
    case 8:
        COMPARE_AS(int64_t);
    default:
        COMPARE_AS(leat_i128);
    }
}

static int value_compare(const struct leat_column *a, size_t row_a, const struct leat_column *b, size_t row_b) {
    switch ((enum leat_kind)a->type.kind) {
    case LEAT_VARCHAR:
    case LEAT_BLOB:
        return leat_string_compare(string_at(a, row_a), string_at(b, row_b));
    case LEAT_FLOAT:
        return compare_doubles((double)((const float *)a->data)[row_a], (double)((const float *)b->data)[row_b]);
    case LEAT_DOUBLE:
        return compare_doubles(((const double *)a->data)[row_a], ((const double *)b->data)[row_b]);
    case LEAT_INTERVAL:
        return compare_intervals(value_at(a, row_a, 16), value_at(b, row_b, 16));
    case LEAT_BOOLEAN:
    case LEAT_UTINYINT:
        COMPARE_AS(uint8_t);
    case LEAT_USMALLINT:
        COMPARE_AS(uint16_t);
    case LEAT_UINTEGER:
        COMPARE_AS(uint32_t);
    case LEAT_UBIGINT:
        COMPARE_AS(uint64_t);
    case LEAT_UHUGEINT:
        COMPARE_AS(unsigned __int128);
    default:
        return compare_signed(a, row_a, b, row_b); /* UUID too: its flipped top bit makes it signed */
    }
}

int leat_key_compare(const struct leat_changes *a, size_t row_a, const uint16_t *columns_a,
                     const struct leat_changes *b, size_t row_b, const uint16_t *columns_b, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct leat_column *x = &a->columns[columns_a[i]], *y = &b->columns[columns_b[i]];
        bool null_x = leat_is_null(x, row_a), null_y = leat_is_null(y, row_b);
        if (null_x || null_y) {
            if (null_x && null_y) continue;
            return null_x ? 1 : -1;
        }
        int order = value_compare(x, row_a, y, row_b);
        if (order) return order;
    }
    return 0;
}

/* ---- back to values ---- */

static void take_interval(void *out, const char *bytes) {
    struct interval v = {.days = (int8_t)bytes[7]};
    int64_t months = (int8_t)bytes[6] < 0 ? -1 : 0;
    memcpy(&months, bytes, 7);
    memcpy(&v.micros, bytes + 8, 8);
    v.months = (int32_t)months;
    memcpy(out, &v, sizeof v);
}

/* One column's value; how many bytes it took, 0: they are not such a value. */
static size_t take_value(const char *bytes, size_t n, struct leat_changes *out, uint16_t index) {
    struct leat_column *column = &out->columns[index];
    size_t size = leat_type_size(column->type), row = out->row_count;
    if (n && *bytes == 0) {
        leat_set_null(out, index, row);
        return 1;
    }
    if (leat_type_is_string(column->type)) {
        uint32_t length;
        if (n < 5) return 0;
        memcpy(&length, bytes + 1, 4);
        if (n - 5 < length) return 0;
        ((struct leat_string *)column->data)[row] = leat_string_of(leat_arena_copy(&out->strings, bytes + 5, length), length);
        return 5 + (size_t)length;
    }
    if (n < 1 + size) return 0;
    if (column->type.kind == LEAT_INTERVAL)
        take_interval((char *)column->data + row * size, bytes + 1);
    else
        memcpy((char *)column->data + row * size, bytes + 1, size);
    return 1 + size;
}

enum leat_status leat_key_decode(const char *bytes, size_t n, const uint16_t *columns, size_t count, struct leat_changes *out,
                                 struct leat_error *err) {
    size_t at = 0, taken = 1;
    leat_changes_reserve(out, out->row_count + 1);
    for (size_t c = 0; c < out->schema->field_count; c++) {
        bool is_key = false;
        for (size_t i = 0; i < count; i++) is_key |= columns[i] == c;
        if (!is_key) leat_set_null(out, c, out->row_count);
    }
    for (size_t i = 0; i < count && taken; i++) at += taken = take_value(bytes + at, n - at, out, columns[i]);
    if (!taken || at != n) return leat_fail(err, LEAT_CORRUPT, "a key that is not one of these columns");
    out->row_count++;
    return LEAT_OK;
}
