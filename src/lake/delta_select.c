/* SQL that reads a snapshot.
 *
 * Files that leat wrote have every column of the schema in its storage type: one read_parquet with casts. Other files
 * may lack columns, have more, or hold timestamps as INT96, which DuckDB reads without a zone; partition columns are
 * in the log, not in the file. Those are read by name, a group of equal partition values at a time, below a row-less
 * template that supplies missing columns as NULL. */
#include "lake/delta_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ONE_BY_ONE_MAX 256 /* files of other engines read each on its own */

/* DuckDB expands patterns in paths; a bracket around a special character makes it plain. */
void leat_delta_put_file_literal(struct leat_buffer *b, const char *path) {
    struct leat_buffer safe = {0};
    for (const char *p = path; *p; p++) {
        if (*p == '*' || *p == '?' || *p == '[')
            leat_putf(&safe, "[%c]", *p);
        else
            leat_putn(&safe, p, 1);
    }
    leat_put_sql_string(b, safe.data ? safe.data : "");
    leat_buffer_deinit(&safe);
}

void leat_delta_put_scan(const char *table_dir, const struct leat_delta_file *files, const size_t *indexes,
                         size_t count, bool by_name, struct leat_buffer *out) {
    struct leat_buffer path = {0};
    leat_put(out, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        leat_buffer_reset(&path);
        leat_putf(&path, "%s/%s", table_dir, files[indexes ? indexes[i] : i].path);
        if (i) leat_put(out, ", ");
        leat_delta_put_file_literal(out, path.data);
    }
    leat_putf(out, "], hive_partitioning = false%s)", by_name ? ", union_by_name = true" : "");
    leat_buffer_deinit(&path);
}

static const struct leat_delta_column *find_column(const struct leat_delta_columns *columns, const char *name) {
    for (size_t i = 0; i < columns->count; i++)
        if (strcasecmp(columns->items[i].name, name) == 0) return &columns->items[i];
    return NULL;
}

/* One output column: the stored column cast to `wanted` (NULL: to the table's own logical type). */
static void put_output_column(const struct leat_delta_columns *columns, const char *name,
                              const struct leat_type *wanted, struct leat_buffer *out) {
    const struct leat_delta_column *c = find_column(columns, name);
    char type[32];
    struct leat_type target = wanted ? *wanted : c->logical;
    bool nested = target.kind == LEAT_NESTED;
    if (!nested) leat_type_print(target, type);
    if (!c) {
        leat_putf(out, "CAST(NULL AS %s)", nested ? "VARCHAR" : type);
    } else {
        bool cast = !nested && !leat_type_equal(target, c->storage);
        if (cast) leat_put(out, "CAST(");
        leat_put_sql_name(out, c->name);
        if (cast) leat_putf(out, " AS %s)", type);
    }
    leat_put(out, " AS ");
    leat_put_sql_name(out, name);
}

static void put_output_columns(const struct leat_delta_columns *columns, const struct leat_schema *logical,
                               struct leat_buffer *out) {
    size_t count = logical ? logical->field_count : columns->count;
    for (size_t i = 0; i < count; i++) {
        if (i) leat_put(out, ", ");
        if (logical)
            put_output_column(columns, logical->fields[i].name, &logical->fields[i].type, out);
        else
            put_output_column(columns, columns->items[i].name, NULL, out);
    }
}

/* Is every output column the stored one of the same name, so that a condition means the same below the select? */
static bool passes_through(const struct leat_delta_columns *columns, const struct leat_schema *logical) {
    for (size_t i = 0; logical && i < logical->field_count; i++) {
        const struct leat_delta_column *c = find_column(columns, logical->fields[i].name);
        if (!c || !leat_type_equal(logical->fields[i].type, c->storage)) return false;
    }
    return logical != NULL;
}

/* A column of another engine's file as its storage type. */
static void put_stored_column(const struct leat_delta_column *c, struct leat_buffer *out) {
    leat_put(out, c->is_timestamp ? "make_timestamptz(epoch_us(" : "CAST(");
    leat_put_sql_name(out, c->name);
    if (c->is_timestamp)
        leat_put(out, "))");
    else
        leat_putf(out, " AS %s)", c->duck_type);
    leat_put(out, " AS ");
    leat_put_sql_name(out, c->name);
}

/* A row-less select of every stored column; zoned: as the table has them, else times without a zone, see the top. */
static void put_template(const struct leat_delta_columns *columns, bool zoned, struct leat_buffer *out) {
    leat_put(out, "SELECT ");
    for (size_t i = 0; i < columns->count; i++) {
        const struct leat_delta_column *c = &columns->items[i];
        leat_putf(out, "%sCAST(NULL AS %s) AS ", i ? ", " : "", c->is_timestamp && !zoned ? "TIMESTAMP" : c->duck_type);
        leat_put_sql_name(out, c->name);
    }
    leat_put(out, " WHERE false");
}

/* A partition value as a literal of the column's type; the empty string is NULL.
 * Source: PROTOCOL.md, "Partition Value Serialization". */
static void put_partition_value(const struct leat_delta_column *c, json_t *value, struct leat_buffer *out) {
    char number[64];
    const char *text = json_string_value(value);
    if (json_is_integer(value)) {
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        text = number;
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    }
    if (!text || !text[0]) {
        leat_putf(out, "CAST(NULL AS %s)", c->is_timestamp ? "TIMESTAMP" : c->duck_type);
    } else if (c->storage.kind == LEAT_BLOB) {
        leat_put(out, "'");
        for (const unsigned char *p = (const unsigned char *)text; *p; p++)
            leat_putf(out, "\\x%02X", *p);
        leat_put(out, "'::BLOB");
    } else {
        leat_put(out, "CAST(");
        leat_put_sql_string(out, text);
        leat_putf(out, " AS %s)", c->is_timestamp ? "TIMESTAMP" : c->duck_type);
    }
}

/* One read of some files with equal partition values, as the table's columns in their storage types. file_index: NULL,
 * or the number to give in that column, beside DuckDB's file_row_number. */
static void put_branch(const char *table_dir, const struct leat_delta_snapshot *snapshot,
                       const struct leat_delta_columns *columns, const size_t *indexes, size_t count,
                       const size_t *file_index, struct leat_buffer *out) {
    json_error_t ignored;
    const char *partition = snapshot->files[indexes[0]].partition_json;
    json_t *values = snapshot->partition_column_count ? json_loads(partition ? partition : "{}", 0, &ignored) : NULL;
    leat_put(out, "SELECT ");
    for (size_t i = 0; i < columns->count; i++) {
        if (i) leat_put(out, ", ");
        put_stored_column(&columns->items[i], out);
    }
    if (file_index) leat_putf(out, ", %zu AS file_index, file_row_number", *file_index);
    leat_put(out, " FROM (");
    put_template(columns, false, out);
    leat_put(out, " UNION ALL BY NAME SELECT ");
    if (snapshot->partition_column_count == 0) {
        leat_put(out, "*");
    } else { /* some writers put partition columns into the file too; the log's value counts */
        leat_put(out, "COLUMNS(lambda c: lower(c) NOT IN (");
        for (size_t i = 0; i < snapshot->partition_column_count; i++) {
            leat_put(out, i ? ", lower(" : "lower(");
            leat_put_sql_string(out, snapshot->partition_columns[i]);
            leat_put(out, ")");
        }
        leat_put(out, "))");
    }
    for (size_t i = 0; i < columns->count; i++) {
        if (!columns->items[i].is_partition) continue;
        leat_put(out, ", ");
        put_partition_value(&columns->items[i], json_object_get(values, columns->items[i].name), out);
        leat_put(out, " AS ");
        leat_put_sql_name(out, columns->items[i].name);
    }
    leat_put(out, file_index ? ", file_row_number FROM " : " FROM ");
    leat_delta_put_scan(table_dir, snapshot->files, indexes, count, true, out);
    leat_put(out, ")");
    json_decref(values);
}

static int compare_partitions(const void *a, const void *b, void *context) {
    const struct leat_delta_snapshot *snapshot = context;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int order = strcmp(snapshot->files[x].partition_json, snapshot->files[y].partition_json);
    return order ? order : x < y ? -1 : 1;
}

/* DuckDB takes the widest of the types that the files of one read have, and would turn times without a zone into times
 * with one by the session's zone: files that may differ in this are read one by one, up to a number. */
static void put_foreign_source(const char *table_dir, const struct leat_delta_snapshot *snapshot,
                               const struct leat_delta_columns *columns, struct leat_buffer *out) {
    size_t *order = leat_alloc(snapshot->file_count * sizeof *order);
    bool times = false;
    for (size_t i = 0; i < snapshot->file_count; i++)
        order[i] = i;
    for (size_t i = 0; i < columns->count; i++)
        times = times || columns->items[i].is_timestamp;
    qsort_r(order, snapshot->file_count, sizeof *order, compare_partitions, (void *)(uintptr_t)snapshot);
    bool one_by_one = times && snapshot->file_count <= ONE_BY_ONE_MAX;
    leat_put(out, "(");
    for (size_t from = 0, to; from < snapshot->file_count; from = to) {
        const char *partition = snapshot->files[order[from]].partition_json;
        to = from + 1;
        while (!one_by_one && to < snapshot->file_count &&
               strcmp(snapshot->files[order[to]].partition_json, partition) == 0)
            to++;
        if (from) leat_put(out, " UNION ALL ");
        put_branch(table_dir, snapshot, columns, order + from, to - from, NULL, out);
    }
    leat_put(out, ")");
    free(order);
}

void leat_delta_put_rows(const struct leat_delta *d, const size_t *indexes, size_t count, struct leat_buffer *out) {
    const struct leat_delta_snapshot *snapshot = &d->state.snapshot;
    struct leat_delta_columns columns;
    bool own = !snapshot->grown_json;
    for (size_t i = 0; own && i < count; i++)
        own = leat_delta_is_own_file(&snapshot->files[indexes[i]]);
    if (own || leat_delta_columns_parse(snapshot->schema_json, NULL, 0, &columns, NULL) != LEAT_OK) {
        leat_delta_put_scan(d->table_dir, snapshot->files, indexes, count, false, out);
        return;
    }
    leat_put(out, "(");
    for (size_t i = 0; i < count; i++) {
        if (i) leat_put(out, " UNION ALL ");
        put_branch(d->table_dir, snapshot, &columns, &indexes[i], 1, &i, out);
    }
    leat_put(out, ")");
    leat_delta_columns_deinit(&columns);
}

/* Has every file every column? */
static bool written_by_leat(const struct leat_delta_snapshot *snapshot) {
    if (snapshot->grown_json) return false;
    for (size_t i = 0; i < snapshot->file_count; i++)
        if (!leat_delta_is_own_file(&snapshot->files[i])) return false;
    return true;
}

void leat_delta_select(const char *table_dir, const struct leat_delta_snapshot *snapshot,
                       const struct leat_schema *logical, const char *extra_where, struct leat_buffer *out_sql) {
    struct leat_delta_columns columns = {0};
    struct leat_error err;
    bool exists = snapshot->schema_json != NULL;
    if (exists && leat_delta_columns_parse(snapshot->schema_json, snapshot->partition_columns,
                                           snapshot->partition_column_count, &columns, &err) != LEAT_OK) {
        leat_put(out_sql, "SELECT error("); /* the reason reaches whoever runs the statement */
        leat_put_sql_string(out_sql, err.text);
        leat_put(out_sql, ")");
        return;
    }
    columns.ours = columns.ours && written_by_leat(snapshot);
    bool wrap = extra_where && !(exists && columns.ours && snapshot->file_count && passes_through(&columns, logical));
    if (wrap) leat_put(out_sql, "SELECT * FROM (");
    leat_put(out_sql, "SELECT ");
    put_output_columns(&columns, logical, out_sql);
    leat_put(out_sql, exists ? " FROM " : " WHERE false");
    if (!exists) {
        /* the NULLs of put_output_column are typed */
    } else if (snapshot->file_count == 0) {
        leat_put(out_sql, "(");
        put_template(&columns, true, out_sql);
        leat_put(out_sql, ")");
    } else if (columns.ours) {
        leat_delta_put_scan(table_dir, snapshot->files, NULL, snapshot->file_count, false, out_sql);
    } else {
        put_foreign_source(table_dir, snapshot, &columns, out_sql);
    }
    if (extra_where) leat_putf(out_sql, wrap ? ") WHERE %s" : " WHERE %s", extra_where);
    leat_delta_columns_deinit(&columns);
}
