/* Statistics of data files: DuckDB's, in its text form, to Delta's JSON, and back to bounds.
 *
 * Delta wants JSON: numRecords, minValues, maxValues, nullCount. Left out, because a wrong bound loses rows in a
 * reader: floats of a file with NaN, infinities, dates outside years 1-9999, booleans and binaries (no engine writes
 * them). Strings are cut to 32 characters; a cut maximum is rounded up.
 * Source: Delta PROTOCOL.md, "Per-file Statistics". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define STRING_PREFIX_CHARACTERS 32

/* ---- values as JSON ---- */

static bool is_json_number(const char *text) {
    const char *p = text;
    if (*p == '-') p++;
    if (*p == '0' && p[1] >= '0' && p[1] <= '9') return false;
    if (!(*p >= '0' && *p <= '9')) return false;
    while (*p >= '0' && *p <= '9')
        p++;
    if (*p == '.') {
        if (!(p[1] >= '0' && p[1] <= '9')) return false;
        for (p++; *p >= '0' && *p <= '9';)
            p++;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!(*p >= '0' && *p <= '9')) return false;
        while (*p >= '0' && *p <= '9')
            p++;
    }
    return *p == '\0';
}

static bool is_digits(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* YYYY-MM-DD, years 0001-9999 */
static bool is_plain_date(const char *text, size_t length) {
    return length >= 10 && is_digits(text, 4) && text[4] == '-' && is_digits(text + 5, 2) && text[7] == '-' &&
           is_digits(text + 8, 2) && memcmp(text, "0000", 4) != 0;
}

/* "2020-01-01 00:00:00.5[+00]" -> 2020-01-01T00:00:00.500000[Z] */
static bool put_timestamp(struct leat_buffer *out, const char *text, size_t length, bool zoned) {
    if (zoned) {
        if (length < 3 || memcmp(text + length - 3, "+00", 3) != 0) return false;
        length -= 3;
    }
    if (length < 19 || !is_plain_date(text, length) || text[10] != ' ' || !is_digits(text + 11, 2) || text[13] != ':' ||
        !is_digits(text + 14, 2) || text[16] != ':' || !is_digits(text + 17, 2))
        return false;
    char fraction[7] = "000000";
    if (length > 19) {
        if (text[19] != '.' || length - 20 > 6 || !is_digits(text + 20, length - 20)) return false;
        memcpy(fraction, text + 20, length - 20);
    }
    leat_putf(out, "\"%.10sT%.8s.%s%s\"", text, text + 11, fraction, zoned ? "Z" : "");
    return true;
}

/* Length of the UTF-8 character at p, 0 when it is not valid. */
static size_t utf8_length(const unsigned char *p, size_t left) {
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xC2 && p[0] < 0xE0 ? 2
               : (p[0] & 0xF0) == 0xE0       ? 3
               : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                             : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0) return 0;
    if (p[0] == 0xED && p[1] > 0x9F) return 0;
    if (p[0] == 0xF0 && p[1] < 0x90) return 0;
    if (p[0] == 0xF4 && p[1] > 0x8F) return 0;
    return n;
}

static uint32_t utf8_decode(const unsigned char *p, size_t n) {
    if (n == 1) return p[0];
    uint32_t c = p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3Fu);
    return c;
}

static size_t utf8_encode(uint32_t c, char out[4]) {
    if (c < 0x80) return out[0] = (char)c, 1;
    if (c < 0x800) return out[0] = (char)(0xC0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3F)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xE0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3F)),
               out[2] = (char)(0x80 | (c & 0x3F)), 3;
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* The next larger text of no more characters: the last character that can grow does, what follows goes. */
static bool round_up(char *text, size_t *length) {
    size_t n = *length;
    while (n) {
        size_t start = n - 1;
        while (start && ((unsigned char)text[start] & 0xC0) == 0x80)
            start--;
        uint32_t c = utf8_decode((unsigned char *)text + start, n - start);
        c = c == 0xD7FF ? 0xE000 : c + 1;
        if (c <= 0x10FFFF) {
            *length = start + utf8_encode(c, text + start);
            return true;
        }
        n = start;
    }
    return false;
}

static bool put_string_bound(struct leat_buffer *out, const char *text, size_t length, bool is_high) {
    size_t kept = 0;
    for (int characters = 0; kept < length && characters < STRING_PREFIX_CHARACTERS; characters++) {
        size_t n = utf8_length((const unsigned char *)text + kept, length - kept);
        if (n == 0) return false;
        kept += n;
    }
    char cut[STRING_PREFIX_CHARACTERS * 4 + 4];
    memcpy(cut, text, kept);
    if (is_high && kept < length && !round_up(cut, &kept)) return false;
    leat_put_json_string(out, cut, kept);
    return true;
}

static bool put_bound(struct leat_buffer *out, struct leat_type storage, const struct leat_copied_column *raw,
                      bool is_high) {
    const char *text = is_high ? raw->high : raw->low;
    size_t length = is_high ? raw->high_length : raw->low_length;
    switch (storage.kind) {
    case LEAT_VARCHAR:
        return put_string_bound(out, text, length, is_high);
    case LEAT_DATE:
        if (length != 10 || !is_plain_date(text, length)) return false;
        leat_putf(out, "\"%s\"", text);
        return true;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        return put_timestamp(out, text, length, storage.kind == LEAT_TIMESTAMPTZ);
    case LEAT_FLOAT:
    case LEAT_DOUBLE:
        if (raw->has_nan != 0 || !is_json_number(text)) return false;
        if (strtod(text, NULL) == 0) text = is_high ? "0.0" : "-0.0"; /* the file may hold both zeros */
        leat_put(out, text);
        return true;
    case LEAT_TINYINT:
    case LEAT_SMALLINT:
    case LEAT_INTEGER:
    case LEAT_BIGINT:
    case LEAT_DECIMAL:
        if (!is_json_number(text)) return false;
        leat_put(out, text);
        return true;
    default:
        return false;
    }
}

static void put_member(struct leat_buffer *into, const char *name, const struct leat_buffer *value) {
    if (into->length) leat_put(into, ",");
    leat_put_json_string(into, name, strlen(name));
    leat_put(into, ":");
    leat_putn(into, value->data, value->length);
}

/* Both bounds or none: a reader may take a lone one for a whole range. */
static void put_column_stats(const struct leat_field *field, const struct leat_copied_column *raw,
                             struct leat_buffer *value, struct leat_buffer *lows, struct leat_buffer *highs,
                             struct leat_buffer *nulls) {
    struct leat_type storage = leat_delta_storage_type(field->type);
    if (raw->null_count >= 0) {
        leat_buffer_reset(value);
        leat_putf(value, "%" PRId64, raw->null_count);
        put_member(nulls, field->name, value);
    }
    if (!raw->low || !raw->high) return;
    struct leat_buffer high = {0};
    leat_buffer_reset(value);
    if (put_bound(value, storage, raw, false) && put_bound(&high, storage, raw, true)) {
        put_member(lows, field->name, value);
        put_member(highs, field->name, &high);
    }
    leat_buffer_deinit(&high);
}

enum leat_status leat_delta_stats_json(const struct leat_schema *logical, const struct leat_copied_file *copied,
                                       struct leat_buffer *out, struct leat_error *err) {
    struct leat_buffer value = {0}, lows = {0}, highs = {0}, nulls = {0};
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < copied->column_count; i++) {
        const struct leat_copied_column *raw = &copied->columns[i];
        int index = leat_schema_find(logical, raw->name);
        if (index < 0) continue;
        const struct leat_field *field = &logical->fields[index];
        if (field->not_null && raw->null_count > 0) {
            status =
                leat_fail(err, LEAT_INVALID,
                          "column \"%.64s\" is NOT NULL, but %" PRId64 " of the rows to be written have NULL there",
                          field->name, raw->null_count);
            goto out;
        }
        put_column_stats(field, raw, &value, &lows, &highs, &nulls);
    }
    leat_putf(out, "{\"numRecords\":%" PRIu64 ",\"minValues\":{%s},\"maxValues\":{%s},\"nullCount\":{%s}}",
              copied->row_count, lows.data ? lows.data : "", highs.data ? highs.data : "",
              nulls.data ? nulls.data : "");
out:
    leat_buffer_deinit(&value);
    leat_buffer_deinit(&lows);
    leat_buffer_deinit(&highs);
    leat_buffer_deinit(&nulls);
    return status;
}

/* ---- reading statistics ---- */

/* A decimal or hugeint bound may be larger than 64 bits, which the strict reading refuses. */
static json_t *load_stats(const char *text) {
    json_error_t ignored;
    json_t *root = json_loads(text, 0, &ignored);
    return root ? root : json_loads(text, JSON_DECODE_INT_AS_REAL, &ignored);
}

static bool integer_of(const json_t *value, int64_t *out) {
    if (json_is_integer(value)) {
        *out = (int64_t)json_integer_value(value);
        return true;
    }
    double real = json_real_value(value);
    if (!json_is_real(value) || fabs(real) > 9007199254740992.0 || real != floor(real)) return false;
    *out = (int64_t)real;
    return true;
}

int64_t leat_delta_stats_row_count(const char *stats_json) {
    static const char usual[] = "{\"numRecords\":"; /* every writer known puts it first: no need to parse the rest */
    if (strncmp(stats_json, usual, sizeof usual - 1) == 0 && is_digits(stats_json + sizeof usual - 1, 1)) {
        char *end;
        long long count = strtoll(stats_json + sizeof usual - 1, &end, 10);
        if ((*end == ',' || *end == '}') && count < LLONG_MAX) return count;
    }
    json_t *root = load_stats(stats_json);
    int64_t rows;
    if (!integer_of(json_object_get(root, "numRecords"), &rows) || rows < 0) rows = -1;
    json_decref(root);
    return rows;
}

static int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* ISO time to microseconds. is_high: a fraction of three digits or fewer was cut, so the value may be almost one
 * millisecond more. */
static bool parse_time(const char *text, bool is_high, int64_t *out) {
    size_t length = strlen(text);
    if (!is_plain_date(text, length)) return false;
    int64_t days = days_from_civil(atoi(text), atoi(text + 5), atoi(text + 8));
    if (length < 19 || (text[10] != 'T' && text[10] != ' ') || !is_digits(text + 11, 2) || !is_digits(text + 14, 2) ||
        !is_digits(text + 17, 2))
        return false;
    int64_t micros = ((atoi(text + 11) * 60 + atoi(text + 14)) * (int64_t)60 + atoi(text + 17)) * 1000000;
    const char *p = text + 19;
    if (*p == '.') {
        int64_t unit = 100000;
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10)
            micros += (*p - '0') * unit;
    }
    if (p - text <= 23 && is_high) micros += 999;
    if (*p != '\0' && strcmp(p, "Z") != 0 && strcmp(p, "+00:00") != 0) return false;
    *out = days * 86400000000 + micros;
    return true;
}

static bool parse_bound(struct leat_type storage, json_t *low, json_t *high, struct leat_delta_bound *out) {
    const char *low_text = json_string_value(low), *high_text = json_string_value(high);
    switch (storage.kind) {
    case LEAT_TINYINT:
    case LEAT_SMALLINT:
    case LEAT_INTEGER:
    case LEAT_BIGINT:
        return integer_of(low, &out->low) && integer_of(high, &out->high);
    case LEAT_VARCHAR:
        if (!low_text || !high_text) return false;
        out->is_text = true;
        out->low_text = leat_strdup(low_text);
        out->high_text = leat_strdup(high_text);
        return true;
    case LEAT_DATE:
        if (!low_text || !high_text || strlen(low_text) != 10 || strlen(high_text) != 10) return false;
        if (!is_plain_date(low_text, 10) || !is_plain_date(high_text, 10)) return false;
        out->low = days_from_civil(atoi(low_text), atoi(low_text + 5), atoi(low_text + 8));
        out->high = days_from_civil(atoi(high_text), atoi(high_text + 5), atoi(high_text + 8));
        return true;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        return low_text && high_text && parse_time(low_text, false, &out->low) &&
               parse_time(high_text, true, &out->high);
    default:
        return false;
    }
}

struct leat_delta_bounds *leat_delta_bounds_parse(const struct leat_schema *logical, const char *stats_json) {
    struct leat_delta_bounds *b = leat_alloc(sizeof *b + logical->field_count * sizeof b->columns[0]);
    json_t *root = stats_json ? load_stats(stats_json) : NULL;
    json_t *lows = json_object_get(root, "minValues"), *highs = json_object_get(root, "maxValues"),
           *nulls = json_object_get(root, "nullCount");
    if (!integer_of(json_object_get(root, "numRecords"), &b->row_count)) b->row_count = -1;
    b->count = logical->field_count;
    for (size_t i = 0; i < b->count; i++) {
        const struct leat_field *f = &logical->fields[i];
        struct leat_delta_bound *bound = &b->columns[i];
        bound->has_null_count = integer_of(json_object_get(nulls, f->name), &bound->null_count);
        bound->has_range = parse_bound(leat_delta_storage_type(f->type), json_object_get(lows, f->name),
                                       json_object_get(highs, f->name), bound);
    }
    json_decref(root);
    return b;
}

struct leat_delta_bounds *leat_delta_bounds_of(struct leat_delta *d, size_t index) {
    if (!d->state.bounds[index])
        d->state.bounds[index] = leat_delta_bounds_parse(&d->schema, d->state.snapshot.files[index].stats_json);
    return d->state.bounds[index];
}

void leat_delta_bounds_free(struct leat_delta_bounds *b) {
    if (!b) return;
    for (size_t i = 0; i < b->count; i++) {
        free(b->columns[i].low_text);
        free(b->columns[i].high_text);
    }
    free(b);
}
