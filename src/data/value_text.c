/* Values to text and JSON. */
#include "data/value_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/value.h"

static void put_unsigned(struct leat_buffer *out, unsigned __int128 v) {
    char digits[40];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v);
    leat_putn(out, digits + at, sizeof digits - at);
}

static void put_signed(struct leat_buffer *out, leat_i128 v) {
    if (v < 0) leat_put(out, "-");
    put_unsigned(out, v < 0 ? -(unsigned __int128)v : (unsigned __int128)v);
}

static leat_i128 unscaled(struct leat_type type, const void *value) {
    switch (leat_type_size(type)) {
    case 2: return *(const int16_t *)value;
    case 4: return *(const int32_t *)value;
    case 8: return *(const int64_t *)value;
    default: break;
    }
    leat_i128 wide;
    memcpy(&wide, value, sizeof wide);
    return wide;
}

static void put_decimal(struct leat_buffer *out, struct leat_type type, const void *value) {
    leat_i128 v = unscaled(type, value);
    unsigned __int128 whole = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v, part = 0, unit = 1;
    char digits[40];
    for (int i = 0; i < type.scale; i++) unit *= 10;
    part = whole % unit;
    if (v < 0) leat_put(out, "-");
    put_unsigned(out, whole / unit);
    if (!type.scale) return;
    for (int i = type.scale; i-- > 0; part /= 10) digits[i] = (char)('0' + (int)(part % 10));
    leat_put(out, ".");
    leat_putn(out, digits, type.scale);
}

/* The shortest digits that read back as the same number. */
static void put_float(struct leat_buffer *out, double v, bool single) {
    char text[40];
    if (isnan(v) || isinf(v)) {
        leat_put(out, isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
        return;
    }
    for (int digits = single ? 6 : 15; digits <= (single ? 9 : 17); digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v) break;
    }
    leat_put(out, text);
}

static void put_date(struct leat_buffer *out, int64_t days) {
    int64_t year;
    unsigned month, day;
    leat_civil_from_days(days, &year, &month, &day);
    leat_putf(out, "%04lld-%02u-%02u", (long long)year, month, day);
}

static void put_time(struct leat_buffer *out, int64_t us) {
    int64_t s = us / 1000000;
    int fraction = (int)(us % 1000000), digits = 6;
    leat_putf(out, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    if (!fraction) return;
    for (; fraction % 10 == 0; fraction /= 10) digits--;
    leat_putf(out, ".%0*d", digits, fraction);
}

static void put_timestamp(struct leat_buffer *out, int64_t us, const char *between, const char *after) {
    const int64_t day_us = INT64_C(86400) * 1000000;
    int64_t days = us / day_us - (us % day_us < 0);
    if (us == INT64_MAX || us == -INT64_MAX) { /* DuckDB's infinity */
        leat_put(out, us > 0 ? "infinity" : "-infinity");
        return;
    }
    put_date(out, days);
    leat_put(out, between);
    put_time(out, us - days * day_us);
    leat_put(out, after);
}

static void put_interval(struct leat_buffer *out, const void *value) {
    int32_t months, days;
    int64_t us;
    memcpy(&months, value, 4);
    memcpy(&days, (const char *)value + 4, 4);
    memcpy(&us, (const char *)value + 8, 8);
    const char *between = "";
    if (months) leat_putf(out, "%d months", months), between = " ";
    if (days) leat_putf(out, "%s%d days", between, days), between = " ";
    if (us || !*between) leat_putf(out, "%s%" PRId64 " us", between, us);
}

static void put_uuid(struct leat_buffer *out, const void *value) {
    unsigned __int128 v;
    memcpy(&v, value, sizeof v);
    v ^= (unsigned __int128)1 << 127;
    uint64_t high = (uint64_t)(v >> 64), low = (uint64_t)v;
    leat_putf(out, "%08x-%04x-%04x-%04x-%012" PRIx64, (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff),
              (unsigned)(low >> 48), low & UINT64_C(0xffffffffffff));
}

static void put_number(struct leat_buffer *out, struct leat_type type, const void *v) {
    switch ((enum leat_kind)type.kind) {
    case LEAT_TINYINT: put_signed(out, *(const int8_t *)v); return;
    case LEAT_SMALLINT: put_signed(out, *(const int16_t *)v); return;
    case LEAT_INTEGER: put_signed(out, *(const int32_t *)v); return;
    case LEAT_BIGINT: put_signed(out, *(const int64_t *)v); return;
    case LEAT_UTINYINT: put_unsigned(out, *(const uint8_t *)v); return;
    case LEAT_USMALLINT: put_unsigned(out, *(const uint16_t *)v); return;
    case LEAT_UINTEGER: put_unsigned(out, *(const uint32_t *)v); return;
    case LEAT_UBIGINT: put_unsigned(out, *(const uint64_t *)v); return;
    case LEAT_FLOAT: put_float(out, (double)*(const float *)v, true); return;
    case LEAT_DOUBLE: put_float(out, *(const double *)v, false); return;
    case LEAT_DECIMAL: put_decimal(out, type, v); return;
    default: break;
    }
    leat_i128 wide;
    memcpy(&wide, v, sizeof wide);
    if (type.kind == LEAT_UHUGEINT)
        put_unsigned(out, (unsigned __int128)wide);
    else
        put_signed(out, wide);
}

static const void *value_at(const struct leat_column *column, size_t row) {
    return (const char *)column->data + row * leat_type_size(column->type);
}

static void put_other(struct leat_buffer *out, const struct leat_column *column, size_t row, bool iso) {
    const void *v = value_at(column, row);
    const struct leat_string *s = v;
    switch ((enum leat_kind)column->type.kind) {
    case LEAT_BOOLEAN: leat_put(out, *(const uint8_t *)v ? "true" : "false"); return;
    case LEAT_VARCHAR:
    case LEAT_BLOB: leat_putn(out, leat_string_data(s), s->length); return;
    case LEAT_DATE: put_date(out, *(const int32_t *)v); return;
    case LEAT_TIME: put_time(out, *(const int64_t *)v); return;
    case LEAT_TIMESTAMP: put_timestamp(out, *(const int64_t *)v, iso ? "T" : " ", ""); return;
    case LEAT_TIMESTAMPTZ: put_timestamp(out, *(const int64_t *)v, iso ? "T" : " ", iso ? "Z" : "+00"); return;
    case LEAT_INTERVAL: put_interval(out, v); return;
    case LEAT_UUID: put_uuid(out, v); return;
    default: put_number(out, column->type, v); return;
    }
}

void leat_put_value(struct leat_buffer *out, const struct leat_column *column, size_t row) {
    put_other(out, column, row, false);
}

void leat_put_base64(struct leat_buffer *out, const void *bytes, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)(i + 1 < n ? in[i + 1] : 0) << 8 | (i + 2 < n ? in[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
        leat_putn(out, four, 4);
    }
}

void leat_put_json_value(struct leat_buffer *out, const struct leat_column *column, size_t row) {
    const void *v = value_at(column, row);
    const struct leat_string *s = v;
    if (leat_is_null(column, row)) {
        leat_put(out, "null");
        return;
    }
    switch ((enum leat_kind)column->type.kind) {
    case LEAT_BOOLEAN: put_other(out, column, row, true); return;
    case LEAT_VARCHAR: leat_put_json_string(out, leat_string_data(s), s->length); return;
    case LEAT_FLOAT:
    case LEAT_DOUBLE:
        if (isfinite(column->type.kind == LEAT_FLOAT ? (double)*(const float *)v : *(const double *)v)) {
            put_number(out, column->type, v);
            return;
        }
        break;
    case LEAT_BLOB:
        leat_put(out, "\"");
        leat_put_base64(out, leat_string_data(s), s->length);
        leat_put(out, "\"");
        return;
    case LEAT_DATE:
    case LEAT_TIME:
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
    case LEAT_INTERVAL:
    case LEAT_UUID: break;
    default: put_number(out, column->type, v); return;
    }
    leat_put(out, "\"");
    put_other(out, column, row, true);
    leat_put(out, "\"");
}

void leat_put_json_row(struct leat_buffer *out, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        const char *name = rows->schema->fields[c].name;
        leat_put(out, c ? "," : "{");
        leat_put_json_string(out, name, strlen(name));
        leat_put(out, ":");
        leat_put_json_value(out, &rows->columns[c], row);
    }
    leat_put(out, rows->schema->field_count ? "}" : "{}");
}

static void put_csv_text(struct leat_buffer *out, const char *text, size_t n) {
    bool plain = n > 0;
    for (size_t i = 0; i < n && plain; i++) plain = text[i] != ',' && text[i] != '"' && text[i] != '\n' && text[i] != '\r';
    if (plain) {
        leat_putn(out, text, n);
        return;
    }
    leat_put(out, "\"");
    for (size_t i = 0; i < n; i++) leat_putn(out, text[i] == '"' ? "\"\"" : text + i, text[i] == '"' ? 2 : 1);
    leat_put(out, "\"");
}

void leat_put_csv_row(struct leat_buffer *out, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        const struct leat_column *column = &rows->columns[c];
        const struct leat_string *s = value_at(column, row);
        if (c) leat_put(out, ",");
        if (leat_is_null(column, row)) continue;
        if (column->type.kind == LEAT_VARCHAR)
            put_csv_text(out, leat_string_data(s), s->length);
        else if (column->type.kind == LEAT_BLOB)
            leat_put_base64(out, leat_string_data(s), s->length);
        else
            leat_put_value(out, column, row);
    }
    leat_put(out, "\r\n");
}

void leat_put_csv_header(struct leat_buffer *out, const struct leat_schema *schema) {
    for (size_t c = 0; c < schema->field_count; c++) {
        if (c) leat_put(out, ",");
        put_csv_text(out, schema->fields[c].name, strlen(schema->fields[c].name));
    }
    leat_put(out, "\r\n");
}
