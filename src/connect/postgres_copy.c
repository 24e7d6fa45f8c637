#include "connect/postgres_copy.h"

#include <string.h>

#include "data/utf8.h"
#include "data/value.h"

/* ---- Text ---- */

/* A field, its escapes undone in place of `to`. */
static struct leat_row_value read_field(const char *from, const char *end, char *to) {
    static const char letters[] = "bfnrtv", bytes[] = "\b\f\n\r\t\v";
    if (end - from == 2 && from[0] == '\\' && from[1] == 'N') return (struct leat_row_value){0};
    struct leat_row_value v = {.data = to};
    for (; from < end; from++) {
        if (*from == '\\' && from + 1 < end) {
            const char *letter = strchr(letters, *++from);
            *to++ = letter && *letter ? bytes[letter - letters] : *from;
        } else {
            *to++ = *from;
        }
    }
    v.length = (size_t)(to - v.data);
    return v;
}

bool leat_pgcopy_text(const char *line, size_t length, size_t count, char *plain, struct leat_row_value *values) {
    const char *end = length && line[length - 1] == '\n' ? line + length - 1 : line + length;
    size_t found = 0;
    for (const char *from = line; from <= end && found <= count; found++) {
        const char *tab = memchr(from, '\t', (size_t)(end - from));
        if (found < count) values[found] = read_field(from, tab ? tab : end, plain);
        if (found < count && values[found].data) plain += values[found].length;
        from = tab ? tab + 1 : end + 1;
    }
    return found == count;
}

/* ---- Binary ---- */

enum oid { /* pg_type.dat */
    BOOL = 16, BYTEA = 17, NAME = 19, INT8 = 20, INT2 = 21, INT4 = 23, TEXT = 25, JSON = 114, XML = 142, FLOAT4 = 700, FLOAT8 = 701, BPCHAR = 1042,
    VARCHAR = 1043, DATE = 1082, TIME = 1083, TIMESTAMP = 1114, TIMESTAMPTZ = 1184, NUMERIC = 1700, UUID = 2950,
};
enum { DAYS_TO_2000 = 10957, DAY_MIN = -719162, DAY_MAX = 2932896 }; /* from 1970: 0001-01-01, 9999-12-31 */
static const int64_t DAY_US = INT64_C(86400000000);
static const char HEADER[11] = "PGCOPY\n\377\r\n"; /* and its NUL */

static bool is_integer(uint8_t kind) {
    return kind >= LEAT_TINYINT && kind <= LEAT_UHUGEINT;
}

static bool fits(uint32_t type, uint8_t kind) {
    switch (type) {
    case BOOL: return kind == LEAT_BOOLEAN;
    case BYTEA: return kind == LEAT_BLOB;
    case INT2:
    case INT4:
    case INT8: return is_integer(kind);
    case NAME:
    case TEXT:
    case JSON:
    case XML:
    case BPCHAR:
    case VARCHAR: return kind == LEAT_VARCHAR;
    case FLOAT4: return kind == LEAT_FLOAT;
    case FLOAT8: return kind == LEAT_DOUBLE;
    case DATE: return kind == LEAT_DATE;
    case TIME: return kind == LEAT_TIME;
    case TIMESTAMP:
    case TIMESTAMPTZ: return kind == LEAT_TIMESTAMP || kind == LEAT_TIMESTAMPTZ;
    case NUMERIC: return kind == LEAT_DECIMAL;
    case UUID: return kind == LEAT_UUID;
    default: return false;
    }
}

bool leat_pgcopy_fits(const uint32_t *types, const struct leat_schema *schema) {
    for (size_t i = 0; i < schema->field_count; i++)
        if (!fits(types[i], schema->fields[i].type.kind)) return false;
    return true;
}

static uint64_t big_endian(const uint8_t *at, size_t bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++) n = n << 8 | at[i];
    return n;
}

static int64_t big_endian_signed(const uint8_t *at, size_t bytes) {
    return (int64_t)(big_endian(at, bytes) << (64 - 8 * bytes)) >> (64 - 8 * bytes);
}

static bool put_integer(int64_t n, uint8_t kind, void *to) {
    static const int64_t low[] = {[LEAT_TINYINT] = INT8_MIN, [LEAT_SMALLINT] = INT16_MIN, [LEAT_INTEGER] = INT32_MIN, [LEAT_BIGINT] = INT64_MIN,
                                  [LEAT_HUGEINT] = INT64_MIN, [LEAT_UHUGEINT] = 0};
    static const int64_t high[] = {[LEAT_TINYINT] = INT8_MAX, [LEAT_SMALLINT] = INT16_MAX, [LEAT_INTEGER] = INT32_MAX, [LEAT_BIGINT] = INT64_MAX,
                                   [LEAT_HUGEINT] = INT64_MAX, [LEAT_UTINYINT] = UINT8_MAX, [LEAT_USMALLINT] = UINT16_MAX,
                                   [LEAT_UINTEGER] = UINT32_MAX, [LEAT_UBIGINT] = INT64_MAX, [LEAT_UHUGEINT] = INT64_MAX};
    leat_i128 wide = n;
    if (n < low[kind] || n > high[kind]) return false;
    memcpy(to, &wide, leat_type_size((struct leat_type){.kind = kind})); /* little-endian */
    return true;
}

/* Digits in base 10,000, `weight` of them and one before the point; as the value's text, which decides how it is rounded. */
static bool put_numeric(const uint8_t *at, size_t length, struct leat_type type, void *to, bool *corrupt) {
    char text[400];
    size_t n = 0;
    *corrupt = length < 8;
    if (*corrupt) return false;
    size_t count = big_endian(at, 2), scale = big_endian(at + 6, 2);
    int weight = (int)big_endian_signed(at + 2, 2), sign = (int)big_endian(at + 4, 2);
    *corrupt = length != 8 + 2 * count || (sign != 0 && sign != 0x4000 && sign < 0xC000);
    if (*corrupt || sign >= 0xC000 || weight > 20) return false; /* NaN, infinities; too large for any DECIMAL */
    if (scale > 200) scale = 200;
    if (sign) text[n++] = '-';
    for (int i = 0; i <= weight || i == 0; i++) {
        unsigned digits = weight >= 0 && (size_t)i < count ? (unsigned)big_endian(at + 8 + 2 * i, 2) : 0;
        if (digits > 9999) return *corrupt = true, false;
        for (unsigned unit = 1000; unit; unit /= 10) text[n++] = (char)('0' + digits / unit % 10);
    }
    if (scale) text[n++] = '.';
    for (size_t i = 0; i < scale; i++) {
        int digit = weight + 1 + (int)(i / 4); /* index of the group of four */
        static const unsigned units[] = {1000, 100, 10, 1};
        unsigned digits = digit >= 0 && (size_t)digit < count ? (unsigned)big_endian(at + 8 + 2 * digit, 2) : 0;
        if (digits > 9999) return *corrupt = true, false;
        text[n++] = (char)('0' + digits / units[i % 4] % 10);
    }
    enum leat_value_status st = leat_value_parse(type, text, n, to, NULL);
    return st == LEAT_VALUE_OK || st == LEAT_VALUE_LOSSY;
}

static bool put_timestamp(int64_t us, void *to) {
    if (us < (DAY_MIN - DAYS_TO_2000) * DAY_US || us >= (DAY_MAX + 1 - DAYS_TO_2000) * DAY_US) return false;
    us += DAYS_TO_2000 * DAY_US;
    memcpy(to, &us, sizeof us);
    return true;
}

static bool put_date(int64_t days, void *to) {
    days += DAYS_TO_2000;
    if (days < DAY_MIN || days > DAY_MAX) return false;
    int32_t value = (int32_t)days;
    memcpy(to, &value, sizeof value);
    return true;
}

static size_t width_of(uint32_t type) { /* 0: it varies */
    switch (type) {
    case BOOL: return 1;
    case INT2: return 2;
    case INT4:
    case FLOAT4:
    case DATE: return 4;
    case INT8:
    case FLOAT8:
    case TIME:
    case TIMESTAMP:
    case TIMESTAMPTZ: return 8;
    case UUID: return 16;
    default: return 0;
    }
}

static bool put_time(int64_t us, void *to, bool *corrupt) {
    *corrupt = us < 0 || us > DAY_US;
    memcpy(to, &us, sizeof us);
    return !*corrupt;
}

static void put_uuid(const uint8_t *at, void *to) {
    uint64_t halves[2] = {big_endian(at + 8, 8), big_endian(at, 8) ^ UINT64_C(1) << 63};
    memcpy(to, halves, sizeof halves);
}

/* False: the type cannot hold it, or (*corrupt) it is no value of PostgreSQL's type. */
static bool put_value(uint32_t pg, const uint8_t *at, size_t length, struct leat_type type, struct leat_arena *strings, void *to, bool *corrupt) {
    size_t width = width_of(pg);
    uint64_t bits;
    *corrupt = width && length != width;
    if (*corrupt) return false;
    switch (pg) {
    case BOOL: *(uint8_t *)to = *at != 0; return true;
    case INT2:
    case INT4:
    case INT8: return put_integer(big_endian_signed(at, width), type.kind, to);
    case FLOAT4:
    case FLOAT8: bits = big_endian(at, width); memcpy(to, &bits, width); return true;
    case TIME: return put_time(big_endian_signed(at, width), to, corrupt);
    case DATE: return put_date(big_endian_signed(at, width), to);
    case TIMESTAMP:
    case TIMESTAMPTZ: return put_timestamp(big_endian_signed(at, width), to);
    case NUMERIC: return put_numeric(at, length, type, to, corrupt);
    case UUID: put_uuid(at, to); return true;
    default: {
        if (pg != BYTEA && !leat_utf8_valid((const char *)at, length)) return false;
        const char *bytes = length > LEAT_STRING_INLINE ? leat_arena_copy(strings, at, length) : (const char *)at;
        *(struct leat_string *)to = leat_string_of(bytes, (uint32_t)length);
        return true;
    }
    }
}

static enum leat_status corrupt_row(struct leat_error *err) {
    return leat_fail(err, LEAT_CORRUPT, "PostgreSQL: a copied row is not laid out as the binary format says");
}

static enum leat_status read_row(const uint32_t *types, const uint8_t *at, const uint8_t *end, struct leat_changes *out, struct leat_error *err) {
    const struct leat_schema *schema = out->schema;
    size_t row = out->row_count;
    if (row == out->capacity) leat_changes_reserve(out, row ? 2 * row : 1024);
    out->row_count++;
    if (out->weights) out->weights[row] = 1;
    for (size_t i = 0; i < schema->field_count; i++) {
        if (end - at < 4) return corrupt_row(err);
        int64_t length = big_endian_signed(at, 4);
        bool corrupt = false;
        at += 4;
        if (length == -1) {
            leat_set_null(out, i, row);
            continue;
        }
        if (length < 0 || length > end - at) return corrupt_row(err);
        struct leat_column *column = &out->columns[i];
        if (column->valid) column->valid[row >> 6] |= UINT64_C(1) << (row & 63);
        void *to = (char *)column->data + row * leat_type_size(column->type);
        if (!put_value(types[i], at, (size_t)length, column->type, &out->strings, to, &corrupt)) {
            char name[32];
            leat_type_print(column->type, name);
            return corrupt ? corrupt_row(err) : leat_fail(err, LEAT_INVALID, "row %zu: column \"%s\": the value is not a %s", row + 1, schema->fields[i].name, name);
        }
        at += length;
    }
    return at == end ? LEAT_OK : corrupt_row(err);
}

enum leat_status leat_pgcopy_binary(const uint32_t *types, const char *piece, size_t length, struct leat_changes *out, struct leat_error *err) {
    const uint8_t *at = (const uint8_t *)piece, *end = at + length;
    if (length >= sizeof HEADER + 8 && memcmp(at, HEADER, sizeof HEADER) == 0) {
        uint64_t extension = big_endian(at + sizeof HEADER + 4, 4);
        at += sizeof HEADER + 8;
        if (extension > (uint64_t)(end - at)) return corrupt_row(err);
        at += extension;
        if (at == end) return LEAT_OK;
    }
    if (end - at < 2) return corrupt_row(err);
    int64_t count = big_endian_signed(at, 2);
    at += 2;
    if (count == -1) return at == end ? LEAT_OK : corrupt_row(err);
    return count == (int64_t)out->schema->field_count ? read_row(types, at, end, out, err) : corrupt_row(err);
}
