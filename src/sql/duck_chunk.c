/* DuckDB chunks to change batches: the layouts are equal, so this is memcpy, bit copies and string
 * ownership. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sql/duck_internal.h"

static_assert(sizeof(struct leat_string) == sizeof(duckdb_string_t), "strings go to DuckDB and back by memcpy");
static_assert(sizeof(leat_i128) == sizeof(duckdb_hugeint), "hugeints go by memcpy");

static const struct {
    duckdb_type duck;
    enum leat_kind kind;
} KINDS[] = {
    {DUCKDB_TYPE_BOOLEAN, LEAT_BOOLEAN},     {DUCKDB_TYPE_TINYINT, LEAT_TINYINT},
    {DUCKDB_TYPE_SMALLINT, LEAT_SMALLINT},   {DUCKDB_TYPE_INTEGER, LEAT_INTEGER},
    {DUCKDB_TYPE_BIGINT, LEAT_BIGINT},       {DUCKDB_TYPE_HUGEINT, LEAT_HUGEINT},
    {DUCKDB_TYPE_UTINYINT, LEAT_UTINYINT},   {DUCKDB_TYPE_USMALLINT, LEAT_USMALLINT},
    {DUCKDB_TYPE_UINTEGER, LEAT_UINTEGER},   {DUCKDB_TYPE_UBIGINT, LEAT_UBIGINT},
    {DUCKDB_TYPE_UHUGEINT, LEAT_UHUGEINT},   {DUCKDB_TYPE_FLOAT, LEAT_FLOAT},
    {DUCKDB_TYPE_DOUBLE, LEAT_DOUBLE},       {DUCKDB_TYPE_DECIMAL, LEAT_DECIMAL},
    {DUCKDB_TYPE_VARCHAR, LEAT_VARCHAR},     {DUCKDB_TYPE_BLOB, LEAT_BLOB},
    {DUCKDB_TYPE_DATE, LEAT_DATE},           {DUCKDB_TYPE_TIME, LEAT_TIME},
    {DUCKDB_TYPE_TIMESTAMP, LEAT_TIMESTAMP}, {DUCKDB_TYPE_TIMESTAMP_TZ, LEAT_TIMESTAMPTZ},
    {DUCKDB_TYPE_INTERVAL, LEAT_INTERVAL},   {DUCKDB_TYPE_UUID, LEAT_UUID},
};

struct leat_type leat_duck_type(duckdb_logical_type type) {
    struct leat_type out = {.kind = LEAT_NESTED};
    duckdb_type id = duckdb_get_type_id(type);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (KINDS[i].duck == id) out.kind = (uint8_t)KINDS[i].kind;
    char *alias = duckdb_logical_type_get_alias(type);
    if (alias) { /* JSON and user types print and compare by rules of their own, but JSON is plain text */
        if (strcmp(alias, "JSON")) out.kind = LEAT_NESTED;
        duckdb_free(alias);
    }
    if (out.kind == LEAT_DECIMAL) {
        out.width = duckdb_decimal_width(type);
        out.scale = duckdb_decimal_scale(type);
    }
    return out;
}

duckdb_logical_type leat_duck_logical(struct leat_type type) {
    if (type.kind == LEAT_DECIMAL) return duckdb_create_decimal_type(type.width, type.scale);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (KINDS[i].kind == type.kind) return duckdb_create_logical_type(KINDS[i].duck);
    return duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
}

/* Long strings of rows [at, at+n) move into the batch's arena, all of a chunk in one allocation. */
static void own_strings(struct leat_changes *out, struct leat_string *s, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i].length > LEAT_STRING_INLINE) total += s[i].length;
    if (!total) return;
    char *bytes = leat_arena_alloc(&out->strings, total);
    for (size_t i = 0; i < n; i++) {
        if (s[i].length <= LEAT_STRING_INLINE) continue;
        memcpy(bytes, s[i].u.pointer.data, s[i].length);
        s[i].u.pointer.data = bytes;
        bytes += s[i].length;
    }
}

/* Marks NULLs; a word of 64 rows without any costs one compare. leat_set_null also zeroes the value, which DuckDB
 * leaves undefined, so it must run before strings are followed. */
static void copy_nulls(struct leat_changes *out, size_t column, size_t at, const uint64_t *valid, size_t n) {
    if (!valid) return;
    for (size_t word = 0; word * 64 < n; word++) {
        size_t left = n - word * 64;
        uint64_t nulls = ~valid[word] & (left < 64 ? (1ull << left) - 1 : ~0ull);
        for (; nulls; nulls &= nulls - 1)
            leat_set_null(out, column, at + word * 64 + (size_t)__builtin_ctzll(nulls));
    }
}

static void append_weights(struct leat_changes *out, const int32_t *weights, size_t n) {
    size_t ones = 0;
    if (!out->weights) {
        while (ones < n && weights[ones] == 1)
            ones++;
        if (ones == n) return;
        leat_changes_need_weights(out);
    }
    memcpy(out->weights + out->row_count, weights, n * sizeof *weights);
}

void leat_duck_append(duckdb_data_chunk chunk, const int *columns, struct leat_changes *out, struct leat_rows *rows) {
    size_t n = duckdb_data_chunk_get_size(chunk), at = out->row_count;
    idx_t column_count = duckdb_data_chunk_get_column_count(chunk);
    const int32_t *weights = NULL;
    leat_changes_reserve(out, at + n);
    for (idx_t i = 0; i < column_count; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, i);
        const void *data = duckdb_vector_get_data(vector);
        if (columns[i] == LEAT_CHUNK_WEIGHT) {
            weights = data;
        } else if (columns[i] == LEAT_CHUNK_ROW) {
            if (!rows) continue;
            if (rows->count + n > rows->capacity) {
                rows->capacity = (rows->count + n) * 2;
                rows->rows = leat_realloc(rows->rows, rows->capacity * sizeof *rows->rows);
            }
            memcpy(rows->rows + rows->count, data, n * sizeof *rows->rows);
            rows->count += n;
        } else {
            size_t target = (size_t)columns[i];
            struct leat_column *column = &out->columns[target];
            size_t size = leat_type_size(column->type);
            char *to = (char *)column->data + at * size;
            memcpy(to, data, n * size);
            copy_nulls(out, target, at, duckdb_vector_get_validity(vector), n);
            if (leat_type_is_string(column->type)) own_strings(out, (struct leat_string *)to, n);
        }
    }
    if (weights)
        append_weights(out, weights, n);
    else if (out->weights)
        for (size_t i = 0; i < n; i++)
            out->weights[at + i] = 1;
    out->row_count += n;
}

void leat_duck_truncate(struct leat_changes *out, size_t row_count) {
    for (size_t c = 0; c < out->schema->field_count; c++)
        for (size_t row = row_count; out->columns[c].valid && row < out->row_count; row++)
            out->columns[c].valid[row >> 6] |= 1ull << (row & 63);
    out->row_count = row_count;
}

static size_t bytes_of(const struct leat_changes *rows) {
    size_t width = 0;
    for (size_t c = 0; c < rows->schema->field_count; c++) width += leat_type_size(rows->schema->fields[c].type);
    return rows->row_count * width + rows->strings.used_bytes;
}

/* Of the texts that own_strings would copy. */
static size_t text_bytes_of(duckdb_data_chunk chunk, const struct leat_schema *schema) {
    size_t n = duckdb_data_chunk_get_size(chunk), total = 0;
    for (size_t c = 0; c < schema->field_count; c++) {
        if (!leat_type_is_string(schema->fields[c].type)) continue;
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, c);
        const struct leat_string *texts = duckdb_vector_get_data(vector);
        uint64_t *valid = duckdb_vector_get_validity(vector);
        for (size_t i = 0; i < n; i++)
            if (!valid || duckdb_validity_row_is_valid(valid, i)) total += texts[i].length;
    }
    return total;
}

/* Results are streamed: a chunk at a time, never held twice. Inputs are bound for the whole run, so that chunks may
 * point into them. Where the result is bounded its columns are the statement's. */
enum leat_status leat_duck_run(duckdb_prepared_statement statement, const int *columns, struct leat_changes *out,
                               struct leat_rows *rows, size_t bytes_max, struct leat_error *err) {
    duckdb_pending_result pending = NULL;
    duckdb_result result = {0};
    enum leat_status status = LEAT_OK;
    size_t row_count = out->row_count, rows_count = rows ? rows->count : 0;
    bool executed = false;

    if (duckdb_pending_prepared_streaming(statement, &pending) == DuckDBError) {
        status = leat_duck_fail(err, NULL, duckdb_pending_error(pending));
        goto out;
    }
    executed = true;
    if (duckdb_execute_pending(pending, &result) == DuckDBError) {
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
        goto out;
    }
    for (;;) {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
        if (!chunk) break;
        bool fits = !bytes_max || bytes_of(out) + text_bytes_of(chunk, out->schema) <= bytes_max;
        if (fits) leat_duck_append(chunk, columns, out, rows);
        duckdb_destroy_data_chunk(&chunk);
        if (!fits || (bytes_max && bytes_of(out) > bytes_max)) {
            status = leat_fail(err, LEAT_LIMIT, "the result has more than %zu MiB; ask for fewer rows or columns", bytes_max >> 20);
            goto out;
        }
    }
    const char *message = duckdb_result_error(&result);
    if (message && *message) status = leat_duck_fail(err, &result, message);
out:
    if (status) {
        leat_duck_truncate(out, row_count);
        if (rows) rows->count = rows_count;
    }
    if (executed) duckdb_destroy_result(&result);
    duckdb_destroy_pending(&pending);
    return status;
}
