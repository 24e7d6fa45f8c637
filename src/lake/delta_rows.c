/* Rows in memory onto a table. A few are written as Parquet here, with their statistics; more, or types that have no
 * place in Parquet, by DuckDB from an input. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/parquet.h"
#include "data/value.h"

/* ---- statistics, in DuckDB's spelling: delta_stats.c knows what of it readers may have ---- */

static void put_decimal(struct leat_buffer *out, leat_i128 value, unsigned scale) {
    char digits[48];
    size_t at = sizeof digits;
    unsigned __int128 left = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    digits[--at] = 0;
    for (unsigned n = 0; left || n <= scale; n++, left /= 10) {
        if (scale && n == scale) digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(left % 10));
    }
    if (value < 0) digits[--at] = '-';
    leat_put(out, digits + at);
}

static void put_date(struct leat_buffer *out, int64_t days) {
    int64_t year;
    unsigned month, day;
    leat_civil_from_days(days, &year, &month, &day);
    leat_putf(out, "%04" PRId64 "-%02u-%02u", year, month, day);
}

static void put_time(struct leat_buffer *out, int64_t micros, bool utc) {
    int64_t days = micros / 86400000000 - (micros % 86400000000 < 0), of_day = micros - days * 86400000000;
    int64_t seconds = of_day / 1000000;
    put_date(out, days);
    leat_putf(out, " %02d:%02d:%02d.%06d%s", (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60),
              (int)(of_day % 1000000), utc ? "+00" : "");
}

static leat_i128 integer_at(const struct leat_column *c, size_t row) {
    const void *data = c->data;
    switch (leat_type_size(c->type)) {
    case 1:
        return c->type.kind == LEAT_UTINYINT ? ((const uint8_t *)data)[row] : ((const int8_t *)data)[row];
    case 2:
        return c->type.kind == LEAT_USMALLINT ? ((const uint16_t *)data)[row] : ((const int16_t *)data)[row];
    case 4:
        return c->type.kind == LEAT_UINTEGER ? (leat_i128)((const uint32_t *)data)[row] : ((const int32_t *)data)[row];
    case 8:
        return c->type.kind == LEAT_UBIGINT ? (leat_i128)((const uint64_t *)data)[row] : ((const int64_t *)data)[row];
    default:
        return ((const leat_i128 *)data)[row];
    }
}

static double float_at(const struct leat_column *c, size_t row) {
    return c->type.kind == LEAT_FLOAT ? (double)((const float *)c->data)[row] : ((const double *)c->data)[row];
}

static bool is_float(struct leat_type t) {
    return t.kind == LEAT_FLOAT || t.kind == LEAT_DOUBLE;
}

static void put_value(struct leat_buffer *out, const struct leat_column *c, size_t row) {
    if (c->type.kind == LEAT_VARCHAR) {
        const struct leat_string *s = &((const struct leat_string *)c->data)[row];
        leat_putn(out, leat_string_data(s), s->length);
    } else if (is_float(c->type)) {
        leat_putf(out, "%.17g", float_at(c, row)); /* exactly, also a FLOAT read as a DOUBLE */
    } else if (c->type.kind == LEAT_DATE) {
        put_date(out, ((const int32_t *)c->data)[row]);
    } else if (c->type.kind == LEAT_TIMESTAMP || c->type.kind == LEAT_TIMESTAMPTZ) {
        put_time(out, ((const int64_t *)c->data)[row], c->type.kind == LEAT_TIMESTAMPTZ);
    } else {
        put_decimal(out, integer_at(c, row), c->type.kind == LEAT_DECIMAL ? c->type.scale : 0);
    }
}

static int compare_strings(const struct leat_string *a, const struct leat_string *b) {
    size_t n = a->length < b->length ? a->length : b->length;
    int order = memcmp(leat_string_data(a), leat_string_data(b), n);
    return order ? order : a->length < b->length ? -1 : a->length > b->length;
}

static int compare(const struct leat_column *a, size_t i, const struct leat_column *b, size_t k) {
    if (a->type.kind == LEAT_VARCHAR)
        return compare_strings(&((const struct leat_string *)a->data)[i], &((const struct leat_string *)b->data)[k]);
    if (is_float(a->type)) return float_at(a, i) < float_at(b, k) ? -1 : float_at(a, i) > float_at(b, k);
    return integer_at(a, i) < integer_at(b, k) ? -1 : integer_at(a, i) > integer_at(b, k);
}

/* A value of some batch. */
struct value_at {
    const struct leat_column *column; /* NULL: none yet */
    size_t row;
};

static char *text_of(struct value_at v, size_t *length) {
    struct leat_buffer text = {0};
    leat_put(&text, "");
    put_value(&text, v.column, v.row);
    *length = text.length;
    return text.data;
}

static struct leat_copied_column column_stats(const struct leat_field *field, const struct leat_changes *batches,
                                              size_t batch_count, size_t column) {
    struct leat_copied_column out = {.name = leat_strdup(field->name)};
    struct value_at low = {0}, high = {0};
    bool ranged = field->type.kind != LEAT_BLOB && field->type.kind != LEAT_BOOLEAN;
    for (size_t b = 0; b < batch_count; b++) {
        const struct leat_column *c = &batches[b].columns[column];
        for (size_t row = 0; row < batches[b].row_count; row++) {
            if (leat_is_null(c, row)) {
                out.null_count++;
            } else if (is_float(c->type) && isnan(float_at(c, row))) {
                out.has_nan = 1;
            } else if (ranged) {
                if (!low.column || compare(c, row, low.column, low.row) < 0) low = (struct value_at){c, row};
                if (!high.column || compare(c, row, high.column, high.row) > 0) high = (struct value_at){c, row};
            }
        }
    }
    if (low.column) out.low = text_of(low, &out.low_length);
    if (high.column) out.high = text_of(high, &out.high_length);
    return out;
}

static struct leat_copied_file file_stats(const struct leat_schema *schema, const struct leat_changes *batches,
                                          size_t batch_count, uint64_t rows, size_t size_bytes) {
    struct leat_copied_file file = {.row_count = rows, .size_bytes = size_bytes, .column_count = schema->field_count};
    file.columns = leat_alloc((schema->field_count + 1) * sizeof *file.columns);
    for (size_t i = 0; i < schema->field_count; i++)
        file.columns[i] = column_stats(&schema->fields[i], batches, batch_count, i);
    return file;
}

/* ---- writing ---- */

static enum leat_status write_here(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                   uint64_t rows, const struct leat_buffer *bytes, struct leat_delta_commit *commit,
                                   struct leat_error *err) {
    struct leat_copied copied = {.files = leat_alloc(sizeof *copied.files), .file_count = 1};
    copied.files[0] = file_stats(&d->schema, batches, batch_count, rows, bytes->length);
    enum leat_status status = leat_delta_add_bytes(d, &copied.files[0], bytes, commit, err);
    leat_copied_deinit(&copied);
    return status;
}

static enum leat_status write_by_duckdb(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                        bool split, struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_buffer sql = {0};
    enum leat_status status = leat_delta_declare_input(d, err);
    if (status != LEAT_OK) return status;
    leat_put(&sql, "SELECT ");
    leat_delta_put_storage_columns(&d->schema, "i", true, &sql);
    leat_putf(&sql, " FROM leat_input('%s') i", d->input_name);
    leat_conn_bind_all(d->conn, d->input_name, batches, batch_count);
    status = leat_delta_write_data(d, sql.data, split, commit, NULL, err);
    leat_conn_bind(d->conn, d->input_name, NULL);
    leat_buffer_deinit(&sql);
    return status;
}

enum leat_status leat_delta_write_rows(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                       bool split, struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    uint64_t rows = 0;
    for (size_t b = 0; b < batch_count; b++)
        rows += batches[b].row_count;
    if (!rows) return LEAT_OK;
    commit->few_rows = rows <= LEAT_FEW_ROWS;
    enum leat_status status;
    if (commit->few_rows && leat_parquet_write(&d->schema, NULL, batches, batch_count, &bytes))
        status = write_here(d, batches, batch_count, rows, &bytes, commit, err);
    else
        status = write_by_duckdb(d, batches, batch_count, split, commit, err);
    leat_buffer_deinit(&bytes);
    return status;
}

static enum leat_status commit_rows(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                    bool replace, const struct leat_delta_commit_info *info, bool *done,
                                    struct leat_error *err) {
    struct leat_delta_commit commit = {.info = info, .data_change = true, .blind_append = !replace};
    bool past = false;
    if (done) *done = false;
    enum leat_status status = LEAT_OK;
    for (size_t b = 0; b < batch_count && status == LEAT_OK; b++)
        status = leat_delta_check_columns(d, &batches[b], err);
    if (status == LEAT_OK) status = leat_delta_begin(d, info, &past, err);
    if (status != LEAT_OK || past) return status;
    status = leat_delta_write_rows(d, batches, batch_count, replace, &commit, err);
    return leat_delta_finish_write(d, &commit, status, replace, done, err);
}

enum leat_status leat_delta_append_rows(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                        const struct leat_delta_commit_info *info, bool *done, struct leat_error *err) {
    return commit_rows(d, batches, batch_count, false, info, done, err);
}

enum leat_status leat_delta_overwrite_rows(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                           const struct leat_delta_commit_info *info, bool *done,
                                           struct leat_error *err) {
    return commit_rows(d, batches, batch_count, true, info, done, err);
}
