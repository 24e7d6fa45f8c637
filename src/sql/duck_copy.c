/* COPY ... TO with RETURN_STATS: which files were written and what is in their columns. */
#include <stdlib.h>
#include <string.h>

#include "sql/duck_internal.h"

/* Delta encodings (PARQUET_VERSION V2) write and read in half the time of plain pages and are smaller. With them floats
 * would get BYTE_STREAM_SPLIT, which Spark's vectorised reader lacks; so files with floats stay with plain pages.
 * A dictionary of more entries than DICTIONARY_MAX costs more than it saves: building one over unique strings, to throw
 * it away, is a third of writing them.
 * A file of few rows is made anew when it is joined with others: until then compressing costs a quarter of writing it, and a sixth
 * of reading it, for nothing. */
enum { DICTIONARY_MAX = 4096 };

void leat_put_parquet_options(const struct leat_schema *schema, bool few_rows, struct leat_buffer *out) {
    bool plain = few_rows;
    for (size_t i = 0; i < schema->field_count; i++)
        plain |= leat_type_is_float(schema->fields[i].type);
    leat_putf(out, "FORMAT parquet, COMPRESSION %s, PARQUET_VERSION %s, DICTIONARY_SIZE_LIMIT %d",
              few_rows ? "uncompressed" : "zstd, COMPRESSION_LEVEL 1", plain ? "V1" : "V2", DICTIONARY_MAX);
}

static char *copy_text(duckdb_vector vector, idx_t row, size_t *length) {
    uint64_t *valid = duckdb_vector_get_validity(vector);
    if (valid && !duckdb_validity_row_is_valid(valid, row)) return NULL;
    duckdb_string_t *s = &((duckdb_string_t *)duckdb_vector_get_data(vector))[row];
    size_t n = duckdb_string_t_length(*s);
    char *text = leat_alloc(n + 1);
    memcpy(text, duckdb_string_t_data(s), n);
    if (length) *length = n;
    return text;
}

static void free_column(struct leat_copied_column *c) {
    free(c->name);
    free(c->low);
    free(c->high);
}

/* One statistic of one column: `row` of the inner map's entries. */
static void take_statistic(struct leat_copied_column *column, duckdb_vector entries, idx_t row) {
    char *key = copy_text(duckdb_struct_vector_get_child(entries, 0), row, NULL);
    size_t length = 0;
    char *value = copy_text(duckdb_struct_vector_get_child(entries, 1), row, &length);
    if (key && value) {
        if (!strcmp(key, "null_count")) column->null_count = strtoll(value, NULL, 10);
        if (!strcmp(key, "has_nan")) column->has_nan = strcmp(value, "false") ? 1 : 0;
        if (!strcmp(key, "min")) {
            free(column->low);
            column->low = value;
            column->low_length = length;
            value = NULL;
        } else if (!strcmp(key, "max")) {
            free(column->high);
            column->high = value;
            column->high_length = length;
            value = NULL;
        }
    }
    free(key);
    free(value);
}

/* "a""b" -> a"b; false for a path into a nested column ("a"."b"). */
static bool unquote(char *name) {
    size_t length = strlen(name), n = 0;
    if (length < 2 || name[0] != '"' || name[length - 1] != '"') return true;
    for (size_t i = 1; i + 1 < length; i++) {
        if (name[i] == '"') {
            if (name[i + 1] != '"' || i + 2 >= length) return false;
            i++;
        }
        name[n++] = name[i];
    }
    name[n] = '\0';
    return true;
}

/* The columns of one file: row `row` of MAP(column, MAP(statistic, text)). */
static void take_columns(struct leat_copied_file *file, duckdb_vector map, idx_t row) {
    duckdb_list_entry outer = ((duckdb_list_entry *)duckdb_vector_get_data(map))[row];
    duckdb_vector entries = duckdb_list_vector_get_child(map);
    duckdb_vector inner = duckdb_struct_vector_get_child(entries, 1);
    file->columns = leat_alloc((size_t)outer.length * sizeof *file->columns);
    for (idx_t i = outer.offset; i < outer.offset + outer.length; i++) {
        struct leat_copied_column column = {.null_count = -1, .has_nan = -1};
        column.name = copy_text(duckdb_struct_vector_get_child(entries, 0), i, NULL);
        duckdb_list_entry list = ((duckdb_list_entry *)duckdb_vector_get_data(inner))[i];
        for (idx_t k = list.offset; k < list.offset + list.length; k++)
            take_statistic(&column, duckdb_list_vector_get_child(inner), k);
        if (column.name && unquote(column.name)) file->columns[file->column_count++] = column;
        else free_column(&column);
    }
}

/* Column positions of the answer, by name. */
struct positions {
    idx_t path, rows, size, columns;
};

static bool find_positions(duckdb_result *result, struct positions *out) {
    static const char *const names[] = {"filename", "count", "file_size_bytes", "column_statistics"};
    static const duckdb_type types[] = {DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_UBIGINT, DUCKDB_TYPE_UBIGINT, DUCKDB_TYPE_MAP};
    idx_t *found[] = {&out->path, &out->rows, &out->size, &out->columns};
    for (size_t n = 0; n < 4; n++) {
        idx_t i = 0, count = duckdb_column_count(result);
        while (i < count && strcmp(duckdb_column_name(result, i), names[n])) i++;
        if (i == count || duckdb_column_type(result, i) != types[n]) return false;
        *found[n] = i;
    }
    return true;
}

static void take_chunk(duckdb_data_chunk chunk, const struct positions *at, struct leat_copied *out) {
    idx_t rows = duckdb_data_chunk_get_size(chunk);
    out->files = leat_realloc(out->files, (out->file_count + rows) * sizeof *out->files);
    for (idx_t i = 0; i < rows; i++) {
        struct leat_copied_file *file = &out->files[out->file_count++];
        *file = (struct leat_copied_file){0};
        file->path = copy_text(duckdb_data_chunk_get_vector(chunk, at->path), i, NULL);
        file->row_count = ((uint64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, at->rows)))[i];
        file->size_bytes = ((uint64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, at->size)))[i];
        take_columns(file, duckdb_data_chunk_get_vector(chunk, at->columns), i);
    }
}

enum leat_status leat_conn_copy(struct leat_conn *c, const char *sql, struct leat_copied *out, struct leat_error *err) {
    duckdb_result result;
    struct positions at;
    enum leat_status status = LEAT_OK;
    *out = (struct leat_copied){0};
    if (duckdb_query(c->handle, sql, &result) == DuckDBError) {
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    } else if (!find_positions(&result, &at)) {
        status = leat_fail(err, LEAT_INVALID, "not a COPY with RETURN_STATS: %.200s", sql);
    } else {
        for (duckdb_data_chunk chunk; (chunk = duckdb_fetch_chunk(result));) {
            take_chunk(chunk, &at, out);
            duckdb_destroy_data_chunk(&chunk);
        }
    }
    duckdb_destroy_result(&result);
    return status;
}

void leat_copied_deinit(struct leat_copied *copied) {
    for (size_t i = 0; i < copied->file_count; i++) {
        for (size_t k = 0; k < copied->files[i].column_count; k++)
            free_column(&copied->files[i].columns[k]);
        free(copied->files[i].columns);
        free(copied->files[i].path);
    }
    free(copied->files);
    *copied = (struct leat_copied){0};
}
