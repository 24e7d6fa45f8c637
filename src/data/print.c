#include "data/print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/value.h"

#define DAY_US INT64_C(86400000000)

static void put_u128(struct leat_buffer *b, unsigned __int128 v) {
    char digits[40];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + (int)(v % 10));
    while (v /= 10);
    leat_putn(b, digits + at, sizeof digits - at);
}

static void put_i128(struct leat_buffer *b, leat_i128 v) {
    if (v < 0) leat_putn(b, "-", 1);
    put_u128(b, v < 0 ? 0 - (unsigned __int128)v : (unsigned __int128)v);
}

static void put_i64(struct leat_buffer *b, int64_t v) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do
        digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (v < 0) digits[--at] = '-';
    leat_putn(b, digits + at, sizeof digits - at);
}

static leat_i128 integer_at(const struct leat_column *c, size_t row, size_t size) {
    switch (size) {
    case 1: return ((const int8_t *)c->data)[row];
    case 2: return ((const int16_t *)c->data)[row];
    case 4: return ((const int32_t *)c->data)[row];
    case 8: return ((const int64_t *)c->data)[row];
    default: break;
    }
    leat_i128 v;
    memcpy(&v, (const char *)c->data + row * sizeof v, sizeof v);
    return v;
}

static void put_decimal(struct leat_buffer *b, const struct leat_column *c, size_t row) {
    leat_i128 v = integer_at(c, row, leat_type_size(c->type));
    unsigned __int128 left = v < 0 ? 0 - (unsigned __int128)v : (unsigned __int128)v;
    char digits[48];
    size_t at = sizeof digits;
    for (int i = 0; left || i <= c->type.scale; i++) {
        if (i == c->type.scale && i > 0) digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    }
    if (v < 0) digits[--at] = '-';
    leat_putn(b, digits + at, sizeof digits - at);
}

static void put_double(struct leat_buffer *b, double v, bool single) {
    char text[40];
    if (isnan(v)) {
        leat_put(b, "NaN");
        return;
    }
    if (isinf(v)) {
        leat_put(b, v < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v) break;
    }
    leat_put(b, text);
}

static void put_date(struct leat_buffer *b, int64_t days) {
    int64_t year;
    unsigned month, day;
    leat_civil_from_days(days, &year, &month, &day);
    leat_putf(b, year >= 0 && year <= 9999 ? "%04lld-%02u-%02u" : "%lld-%02u-%02u", (long long)year, month, day);
}

static void put_time(struct leat_buffer *b, int64_t us) {
    int64_t s = us / 1000000, fraction = us % 1000000;
    char text[32];
    int n = snprintf(text, sizeof text, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    if (fraction) {
        n += snprintf(text + n, sizeof text - (size_t)n, ".%06d", (int)fraction);
        while (text[n - 1] == '0') n--;
    }
    leat_putn(b, text, (size_t)n);
}

static void put_timestamp(struct leat_buffer *b, int64_t us, bool zone) {
    int64_t days = us / DAY_US, left = us % DAY_US;
    if (us == INT64_MAX || us == -INT64_MAX) {
        leat_put(b, us < 0 ? "-infinity" : "infinity");
        return;
    }
    if (left < 0) {
        left += DAY_US;
        days--;
    }
    put_date(b, days);
    leat_putn(b, "T", 1);
    put_time(b, left);
    if (zone) leat_putn(b, "Z", 1);
}

static void put_interval(struct leat_buffer *b, const char *at) {
    int32_t months, days;
    int64_t us;
    memcpy(&months, at, 4);
    memcpy(&days, at + 4, 4);
    memcpy(&us, at + 8, 8);
    leat_put(b, "P");
    if (months) leat_putf(b, "%dM", months);
    if (days) leat_putf(b, "%dD", days);
    if (!us && (months || days)) return;
    uint64_t left = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    leat_putf(b, "T%s%llu", us < 0 ? "-" : "", (unsigned long long)(left / 1000000));
    if (left % 1000000) {
        char fraction[8];
        int n = snprintf(fraction, sizeof fraction, "%06d", (int)(left % 1000000));
        while (fraction[n - 1] == '0') n--;
        leat_putf(b, ".%.*s", n, fraction);
    }
    leat_put(b, "S");
}

static void put_uuid(struct leat_buffer *b, leat_i128 v) {
    unsigned __int128 u = (unsigned __int128)v ^ (unsigned __int128)1 << 127;
    uint64_t high = (uint64_t)(u >> 64), low = (uint64_t)u;
    leat_putf(b, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xFFFF), (unsigned)(high & 0xFFFF),
              (unsigned)(low >> 48), (unsigned long long)(low & 0xFFFFFFFFFFFFu));
}

static void put_base64(struct leat_buffer *b, const unsigned char *bytes, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16 | (i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0) | (i + 2 < n ? bytes[i + 2] : 0u);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
        leat_putn(b, four, 4);
    }
}

void leat_put_value(struct leat_buffer *b, const struct leat_column *c, size_t row) {
    if (leat_is_null(c, row)) return;
    switch ((enum leat_kind)c->type.kind) {
    case LEAT_BOOLEAN: leat_put(b, ((const uint8_t *)c->data)[row] ? "true" : "false"); break;
    case LEAT_TINYINT:
    case LEAT_SMALLINT:
    case LEAT_INTEGER:
    case LEAT_BIGINT: put_i64(b, (int64_t)integer_at(c, row, leat_type_size(c->type))); break;
    case LEAT_HUGEINT: put_i128(b, integer_at(c, row, 16)); break;
    case LEAT_UTINYINT: put_i64(b, ((const uint8_t *)c->data)[row]); break;
    case LEAT_USMALLINT: put_i64(b, ((const uint16_t *)c->data)[row]); break;
    case LEAT_UINTEGER: put_i64(b, ((const uint32_t *)c->data)[row]); break;
    case LEAT_UBIGINT: put_u128(b, ((const uint64_t *)c->data)[row]); break;
    case LEAT_UHUGEINT: put_u128(b, (unsigned __int128)integer_at(c, row, 16)); break;
    case LEAT_FLOAT: put_double(b, (double)((const float *)c->data)[row], true); break;
    case LEAT_DOUBLE: put_double(b, ((const double *)c->data)[row], false); break;
    case LEAT_DECIMAL: put_decimal(b, c, row); break;
    case LEAT_VARCHAR: {
        const struct leat_string *s = (const struct leat_string *)c->data + row;
        leat_putn(b, leat_string_data(s), s->length);
        break;
    }
    case LEAT_BLOB: {
        const struct leat_string *s = (const struct leat_string *)c->data + row;
        put_base64(b, (const unsigned char *)leat_string_data(s), s->length);
        break;
    }
    case LEAT_DATE: put_date(b, ((const int32_t *)c->data)[row]); break;
    case LEAT_TIME: put_time(b, ((const int64_t *)c->data)[row]); break;
    case LEAT_TIMESTAMP: put_timestamp(b, ((const int64_t *)c->data)[row], false); break;
    case LEAT_TIMESTAMPTZ: put_timestamp(b, ((const int64_t *)c->data)[row], true); break;
    case LEAT_INTERVAL: put_interval(b, (const char *)c->data + row * 16); break;
    case LEAT_UUID: put_uuid(b, integer_at(c, row, 16)); break;
    case LEAT_NESTED: break;
    }
}

static bool is_json_number(const struct leat_column *c, size_t row) {
    switch ((enum leat_kind)c->type.kind) {
    case LEAT_FLOAT: return isfinite(((const float *)c->data)[row]);
    case LEAT_DOUBLE: return isfinite(((const double *)c->data)[row]);
    default: return c->type.kind <= LEAT_UHUGEINT || c->type.kind == LEAT_DECIMAL;
    }
}

void leat_put_json_value(struct leat_buffer *b, const struct leat_column *c, size_t row) {
    if (leat_is_null(c, row)) {
        leat_putn(b, "null", 4);
    } else if (c->type.kind == LEAT_VARCHAR) {
        const struct leat_string *s = (const struct leat_string *)c->data + row;
        leat_put_json_string(b, leat_string_data(s), s->length);
    } else if (is_json_number(c, row)) {
        leat_put_value(b, c, row);
    } else {
        leat_putn(b, "\"", 1);
        leat_put_value(b, c, row); /* none of these holds a character to escape */
        leat_putn(b, "\"", 1);
    }
}

void leat_put_json_row(struct leat_buffer *b, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        const char *name = rows->schema->fields[c].name;
        leat_putn(b, c ? "," : "{", 1);
        leat_put_json_string(b, name, strlen(name));
        leat_putn(b, ":", 1);
        leat_put_json_value(b, &rows->columns[c], row);
    }
    leat_put(b, rows->schema->field_count ? "}" : "{}");
}

static void put_csv_text(struct leat_buffer *b, const char *text, size_t n) {
    bool plain = n > 0;
    for (size_t i = 0; i < n && plain; i++) plain = text[i] != ',' && text[i] != '"' && text[i] != '\n' && text[i] != '\r';
    if (plain) {
        leat_putn(b, text, n);
        return;
    }
    leat_putn(b, "\"", 1);
    for (size_t i = 0; i < n; i++) leat_putn(b, text[i] == '"' ? "\"\"" : text + i, text[i] == '"' ? 2 : 1);
    leat_putn(b, "\"", 1);
}

void leat_put_csv_row(struct leat_buffer *b, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        const struct leat_column *column = &rows->columns[c];
        if (c) leat_putn(b, ",", 1);
        if (column->type.kind == LEAT_VARCHAR && !leat_is_null(column, row)) {
            const struct leat_string *s = (const struct leat_string *)column->data + row;
            put_csv_text(b, leat_string_data(s), s->length);
        } else {
            leat_put_value(b, column, row);
        }
    }
    leat_putn(b, "\r\n", 2);
}

void leat_put_csv_header(struct leat_buffer *b, const struct leat_schema *schema) {
    for (size_t c = 0; c < schema->field_count; c++) {
        if (c) leat_putn(b, ",", 1);
        put_csv_text(b, schema->fields[c].name, strlen(schema->fields[c].name));
    }
    leat_putn(b, "\r\n", 2);
}
