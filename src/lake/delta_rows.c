/* Rows in memory onto a table: written as Parquet here, with their statistics; types that have no place in it, by DuckDB
 * from an input. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

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
    int64_t of_day = micros % 86400000000 + (micros % 86400000000 < 0 ? 86400000000 : 0), seconds = of_day / 1000000;
    put_date(out, micros / 86400000000 - (micros % 86400000000 < 0));
    leat_putf(out, " %02d:%02d:%02d.%06d%s", (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60),
              (int)(of_day % 1000000), utc ? "+00" : "");
}

static char *text_of(struct leat_type type, const union leat_bound *bound, size_t *length) {
    struct leat_buffer out = {0};
    leat_put(&out, "");
    if (type.kind == LEAT_VARCHAR) leat_putn(&out, leat_string_data(&bound->text), bound->text.length);
    else if (leat_type_is_float(type)) leat_putf(&out, "%.17g", bound->real); /* exactly, also a FLOAT read as a DOUBLE */
    else if (type.kind == LEAT_DATE) put_date(&out, (int64_t)bound->integer);
    else if (type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ)
        put_time(&out, (int64_t)bound->integer, type.kind == LEAT_TIMESTAMPTZ);
    else put_decimal(&out, bound->integer, type.kind == LEAT_DECIMAL ? type.scale : 0);
    *length = out.length;
    return out.data;
}

static struct leat_copied_column column_stats(const struct leat_field *field, const struct leat_range *r) {
    struct leat_copied_column out = {
        .name = leat_strdup(field->name), .null_count = (int64_t)r->null_count, .has_nan = r->has_nan};
    if (!r->any) return out;
    out.low = text_of(field->type, &r->low, &out.low_length);
    out.high = text_of(field->type, &r->high, &out.high_length);
    return out;
}

static struct leat_copied_file file_stats(const struct leat_schema *schema, const struct leat_range *ranges, uint64_t rows,
                                          size_t size_bytes) {
    struct leat_copied_file file = {.row_count = rows, .size_bytes = size_bytes, .column_count = schema->field_count};
    file.columns = leat_alloc((schema->field_count + 1) * sizeof *file.columns);
    for (size_t i = 0; i < schema->field_count; i++)
        file.columns[i] = column_stats(&schema->fields[i], &ranges[i]);
    return file;
}

/* ---- writing ---- */

/* One file. *done false: these rows have no place in it, nothing was written. */
static enum leat_status write_file(struct leat_delta *d, const struct leat_parquet_rows *rows, bool few_rows, bool *done,
                                   struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    struct leat_range *ranges = leat_alloc((d->schema.field_count + 1) * sizeof *ranges);
    enum leat_parquet_form form = few_rows ? LEAT_PARQUET_PLAIN : LEAT_PARQUET_COMPACT;
    enum leat_status status = LEAT_OK;
    *done = leat_parquet_write(&d->schema, NULL, rows, form, (size_t)d->row_group_rows, ranges, &bytes);
    if (*done) {
        struct leat_copied copied = {.files = leat_alloc(sizeof *copied.files), .file_count = 1};
        copied.files[0] = file_stats(&d->schema, ranges, rows->count, bytes.length);
        status = leat_delta_add_bytes(d, &copied.files[0], &bytes, commit, err);
        leat_copied_deinit(&copied);
    }
    free(ranges);
    leat_buffer_deinit(&bytes);
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

/* The rows from one on, by DuckDB. The batch that it lies in is copied from there. */
static enum leat_status write_rest(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count, size_t from,
                                   bool split, struct leat_delta_commit *commit, struct leat_error *err) {
    for (; from && from >= batches->row_count; batches++, batch_count--)
        from -= batches->row_count;
    if (!from) return write_by_duckdb(d, batches, batch_count, split, commit, err);
    struct leat_changes *rest = leat_alloc(batch_count * sizeof *rest);
    memcpy(rest, batches, batch_count * sizeof *rest);
    leat_changes_init(rest, batches->schema);
    leat_changes_append_range(rest, batches, from, batches->row_count - from);
    enum leat_status status = write_by_duckdb(d, rest, batch_count, split, commit, err);
    leat_changes_deinit(rest);
    free(rest);
    return status;
}

/* How many of the rows that are left go into the next file. Without `split` what would be left for a small one goes along: it would be
 * joined with others later, which is writing it twice. */
static size_t next_file_rows(const struct leat_delta *d, size_t left, bool split) {
    size_t rows = (size_t)d->row_group_rows * (split ? LEAT_DELTA_SPLIT_ROW_GROUPS : LEAT_DELTA_FILE_ROW_GROUPS);
    return left < rows || (!split && left < 2 * rows) ? left : rows;
}

enum leat_status leat_delta_write_rows(struct leat_delta *d, const struct leat_changes *batches, size_t batch_count,
                                       bool split, struct leat_delta_commit *commit, struct leat_error *err) {
    size_t total = 0, from = 0;
    for (size_t b = 0; b < batch_count; b++)
        total += batches[b].row_count;
    commit->few_rows = total <= LEAT_FEW_ROWS;
    enum leat_status status = LEAT_OK;
    for (bool done = true; from < total && done && status == LEAT_OK;) {
        struct leat_parquet_rows rows = {batches, batch_count, from, next_file_rows(d, total - from, split)};
        status = write_file(d, &rows, commit->few_rows, &done, commit, err);
        if (status == LEAT_OK && !done) status = write_rest(d, batches, batch_count, from, split, commit, err);
        from += rows.count;
    }
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
