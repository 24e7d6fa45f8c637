/* Few rows are fetched and compared here, which asks the least of DuckDB. Else first the number of rows of both queries and the
 * sums of two hashes of each row: equal multisets have equal sums, and different ones do not have both equal by chance. This
 * needs no memory and is all that a right table costs. Where the rows or the sums differ: oracle rows weigh +1, table rows -1; a group of equal rows whose weights do not cancel differs.
 * The empty grouping set counts all rows on the way. The differences go through a temporary table, so that a large
 * one spills instead of filling memory. */
#include "audit/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char DIFFERENCES[] = "leat_verify_differences";

static enum leat_status check_columns(const struct leat_schema *oracle, const struct leat_schema *table,
                                      struct leat_error *err) {
    if (oracle->field_count != table->field_count)
        return leat_fail(err, LEAT_INVALID, "the oracle gives %zu columns, the table %zu", oracle->field_count,
                         table->field_count);
    for (size_t i = 0; i < oracle->field_count; i++) {
        struct leat_type a = oracle->fields[i].type, b = table->fields[i].type;
        bool text =
            (a.kind == LEAT_NESTED && b.kind == LEAT_VARCHAR) || (a.kind == LEAT_VARCHAR && b.kind == LEAT_NESTED);
        if (leat_type_equal(a, b) || text) continue;
        char is[32], wanted[32];
        leat_type_print(a, wanted);
        leat_type_print(b, is);
        return leat_fail(err, LEAT_INVALID, "column \"%s\" is %s in the oracle, but \"%s\" is %s in the table",
                         oracle->fields[i].name, wanted, table->fields[i].name, is);
    }
    return LEAT_OK;
}

static void put_names(struct leat_buffer *b, size_t column_count, const char *format) {
    for (size_t i = 0; i < column_count; i++) {
        if (i) leat_put(b, ", ");
        leat_putf(b, format, i);
    }
}

/* SELECT weight, columns (nested against text: as text) FROM (sql) named c0, c1, ... */
static void put_side(struct leat_buffer *b, const char *weight, const char *sql, const struct leat_schema *mine,
                     const struct leat_schema *other) {
    size_t length = strlen(sql);
    while (length && strchr("; \t\r\n", sql[length - 1]))
        length--;
    leat_putf(b, "SELECT %s AS w", weight);
    for (size_t i = 0; i < mine->field_count; i++) {
        bool text = mine->fields[i].type.kind == LEAT_NESTED && other->fields[i].type.kind == LEAT_VARCHAR;
        leat_putf(b, text ? ", CAST(c%zu AS VARCHAR) AS c%zu" : ", c%zu AS c%zu", i, i);
    }
    leat_put(b, " FROM (");
    leat_putn(b, sql, length);
    leat_put(b, "\n) AS side(");
    put_names(b, mine->field_count, "c%zu");
    leat_put(b, ")");
}

static enum leat_status find_differences(struct leat_conn *c, const char *oracle_sql, const struct leat_schema *oracle,
                                         const char *table_sql, const struct leat_schema *table,
                                         struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_putf(&sql,
              "CREATE OR REPLACE TEMP TABLE %s AS SELECT grouping(c0) AS total, CAST(coalesce(sum(w), 0) AS BIGINT) AS "
              "copies, "
              "count(*) FILTER (WHERE w > 0) AS oracle_rows, count(*) FILTER (WHERE w < 0) AS table_rows, ",
              DIFFERENCES);
    put_names(&sql, oracle->field_count, "c%zu");
    leat_put(&sql, " FROM (");
    put_side(&sql, "1", oracle_sql, oracle, table);
    leat_put(&sql, " UNION ALL ");
    put_side(&sql, "-1", table_sql, table, oracle);
    leat_put(&sql, ") GROUP BY GROUPING SETS ((");
    put_names(&sql, oracle->field_count, "c%zu");
    leat_put(&sql, "), ()) HAVING grouping(c0) = 1 OR sum(w) <> 0");
    enum leat_status status = leat_conn_exec(c, sql.data, err);
    leat_buffer_deinit(&sql);
    return status;
}

static void put_sums(struct leat_buffer *b, const char *side, size_t column_count) {
    leat_putf(b, "SELECT count(*) AS n_%s, sum(hash(", side);
    put_names(b, column_count, "c%zu");
    leat_putf(b, ")) AS h_%s, sum(hash(hash(", side);
    put_names(b, column_count, "c%zu");
    leat_putf(b, "), 'second', c0)) AS g_%s FROM (", side);
}

static enum leat_status compare_sums(struct leat_conn *c, const char *oracle_sql, const struct leat_schema *oracle,
                                     const char *table_sql, const struct leat_schema *table,
                                     struct leat_verify_result *out, bool *equal, struct leat_error *err) {
    struct leat_buffer sql = {0};
    char *text = NULL;
    leat_put(&sql, "SELECT concat_ws(' ', n_oracle, n_table, CAST(n_oracle = n_table AND h_oracle IS NOT DISTINCT FROM h_table "
                   "AND g_oracle IS NOT DISTINCT FROM g_table AS INTEGER)) FROM (");
    put_sums(&sql, "oracle", oracle->field_count);
    put_side(&sql, "1", oracle_sql, oracle, table);
    leat_put(&sql, ")), (");
    put_sums(&sql, "table", table->field_count);
    put_side(&sql, "-1", table_sql, table, oracle);
    leat_put(&sql, "))");
    enum leat_status status = leat_conn_text(c, sql.data, &text, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    char *rest = text;
    out->oracle_rows = strtoll(rest, &rest, 10);
    out->table_rows = strtoll(rest, &rest, 10);
    *equal = strtoll(rest, &rest, 10) == 1;
    free(text);
    return LEAT_OK;
}

static enum leat_status read_totals(struct leat_conn *c, struct leat_verify_result *out, struct leat_error *err) {
    struct leat_result r;
    struct leat_buffer sql = {0};
    leat_putf(&sql,
              "SELECT CAST(coalesce(sum(oracle_rows) FILTER (WHERE total = 1), 0) AS BIGINT), "
              "CAST(coalesce(sum(table_rows) FILTER (WHERE total = 1), 0) AS BIGINT), "
              "CAST(coalesce(sum(copies) FILTER (WHERE total = 0 AND copies > 0), 0) AS BIGINT), "
              "CAST(coalesce(-sum(copies) FILTER (WHERE total = 0 AND copies < 0), 0) AS BIGINT) FROM %s",
              DIFFERENCES);
    enum leat_status status = leat_conn_query(c, sql.data, &r, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    int64_t *totals[] = {&out->oracle_rows, &out->table_rows, &out->missing_rows, &out->extra_rows};
    for (size_t i = 0; i < 4; i++)
        *totals[i] = ((const int64_t *)r.rows.columns[i].data)[0];
    leat_result_deinit(&r);
    out->differing = (uint64_t)out->missing_rows + (uint64_t)out->extra_rows;
    return LEAT_OK;
}

static enum leat_status read_examples(struct leat_conn *c, size_t limit, struct leat_verify_result *out,
                                      struct leat_error *err) {
    struct leat_result r;
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT copies, ");
    put_names(&sql, out->column_count, "CAST(c%zu AS VARCHAR)");
    leat_putf(&sql, " FROM %s WHERE total = 0 ORDER BY ", DIFFERENCES);
    put_names(&sql, out->column_count, "c%zu");
    leat_putf(&sql, ", copies LIMIT %zu", limit);
    enum leat_status status = leat_conn_query(c, sql.data, &r, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    out->example_count = r.rows.row_count;
    out->examples = leat_alloc((r.rows.row_count + 1) * sizeof *out->examples);
    for (size_t row = 0; row < r.rows.row_count; row++) {
        out->examples[row].copies = ((const int64_t *)r.rows.columns[0].data)[row];
        out->examples[row].values = leat_alloc((out->column_count + 1) * sizeof(char *));
        for (size_t i = 0; i < out->column_count; i++) {
            const struct leat_column *column = &r.rows.columns[i + 1];
            const struct leat_string *text = (const struct leat_string *)column->data + row;
            if (!leat_is_null(column, row))
                out->examples[row].values[i] = leat_strndup(leat_string_data(text), text->length);
        }
    }
    leat_result_deinit(&r);
    return LEAT_OK;
}

/* Names and types; with LIMIT 0 the optimiser has nothing left to do. */
static enum leat_status describe(struct leat_conn *c, const char *sql, struct leat_schema *out, struct leat_error *err) {
    struct leat_buffer empty = {0};
    size_t length = strlen(sql);
    while (length && strchr("; \t\r\n", sql[length - 1]))
        length--;
    leat_put(&empty, "SELECT * FROM (");
    leat_putn(&empty, sql, length);
    leat_put(&empty, "\n) LIMIT 0");
    enum leat_status status = leat_conn_describe(c, empty.data, out, err);
    leat_buffer_deinit(&empty);
    return status;
}

enum { FEW_ROWS = 10000 };

/* Rows of both sides, with weights that cancel where they are equal. *done: false when there are many, or the types are not those
 * expected. */
static enum leat_status compare_few(struct leat_conn *c, const struct leat_schema *schema, const char *oracle_sql,
                                    const char *table_sql, struct leat_verify_result *out, bool *equal, bool *done,
                                    struct leat_error *err) {
    struct leat_buffer sql = {0};
    struct leat_result r;
    leat_put(&sql, "SELECT * FROM (");
    put_side(&sql, "1", oracle_sql, schema, schema);
    leat_put(&sql, " UNION ALL ");
    put_side(&sql, "-1", table_sql, schema, schema);
    leat_putf(&sql, ") LIMIT %d", 2 * FEW_ROWS + 1);
    *done = false;
    enum leat_status status = leat_conn_query(c, sql.data, &r, err);
    leat_buffer_deinit(&sql);
    if (status) return status;
    *done = r.rows.row_count <= 2 * FEW_ROWS && r.schema.field_count == schema->field_count + 1 &&
            r.schema.fields[0].type.kind == LEAT_INTEGER;
    for (size_t i = 0; i < schema->field_count && *done; i++)
        *done = leat_type_equal(r.schema.fields[i + 1].type, schema->fields[i].type);
    if (*done) {
        struct leat_changes rows = {.schema = schema, .columns = r.rows.columns + 1, .row_count = r.rows.row_count,
                                    .capacity = r.rows.capacity, .weights = r.rows.columns[0].data};
        for (size_t i = 0; i < rows.row_count; i++)
            *(rows.weights[i] > 0 ? &out->oracle_rows : &out->table_rows) += 1;
        leat_changes_consolidate(&rows);
        *equal = rows.row_count == 0;
    }
    leat_result_deinit(&r);
    return LEAT_OK;
}

static bool holds_nested(const struct leat_schema *schema) {
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].type.kind == LEAT_NESTED) return true;
    return false;
}

enum leat_status leat_verify_known(struct leat_conn *batch, const struct leat_schema *schema, int64_t table_rows,
                                   const char *oracle_sql, const char *table_sql, size_t limit, struct leat_verify_result *out,
                                   struct leat_error *err) {
    struct leat_schema text = {0};
    struct leat_error ignored;
    bool equal = false, done = false;
    *out = (struct leat_verify_result){0};
    enum leat_status status = LEAT_OK;
    if (table_rows >= 0 && table_rows <= FEW_ROWS && !holds_nested(schema))
        status = compare_few(batch, schema, oracle_sql, table_sql, out, &equal, &done, &ignored);
    if (!status && !done) {
        leat_schema_copy(&text, schema);
        for (size_t i = 0; i < text.field_count; i++)
            if (text.fields[i].type.kind == LEAT_NESTED) text.fields[i].type = (struct leat_type){.kind = LEAT_VARCHAR};
        status = compare_sums(batch, oracle_sql, schema, table_sql, &text, out, &equal, &ignored);
        leat_schema_deinit(&text);
    }
    if (!status && equal) return LEAT_OK;
    return leat_verify(batch, oracle_sql, table_sql, limit, out, err);
}

enum leat_status leat_verify(struct leat_conn *batch, const char *oracle_sql, const char *table_sql, size_t limit,
                             struct leat_verify_result *out, struct leat_error *err) {
    struct leat_schema oracle = {0}, table = {0};
    struct leat_error ignored;
    *out = (struct leat_verify_result){0};
    enum leat_status status = describe(batch, oracle_sql, &oracle, err);
    if (status) {
        leat_prepend(err, "the oracle's query");
        goto out;
    }
    if ((status = describe(batch, table_sql, &table, err))) {
        leat_prepend(err, "the table's query");
        goto out;
    }
    if ((status = check_columns(&oracle, &table, err))) goto out;
    out->column_count = oracle.field_count;
    out->columns = leat_alloc((oracle.field_count + 1) * sizeof(char *));
    for (size_t i = 0; i < oracle.field_count; i++)
        out->columns[i] = leat_strdup(oracle.fields[i].name);
    bool equal = false;
    if ((status = compare_sums(batch, oracle_sql, &oracle, table_sql, &table, out, &equal, err)) || equal) goto out;
    if ((status = find_differences(batch, oracle_sql, &oracle, table_sql, &table, err))) goto out;
    status = read_totals(batch, out, err);
    if (!status && limit) status = read_examples(batch, limit, out, err);
    if (leat_conn_execf(batch, &ignored, "DROP TABLE IF EXISTS %s", DIFFERENCES) && !status)
        status = leat_fail(err, ignored.status, "%s", ignored.text);
out:
    leat_schema_deinit(&oracle);
    leat_schema_deinit(&table);
    if (status) leat_verify_result_deinit(out);
    return status;
}

void leat_verify_result_deinit(struct leat_verify_result *r) {
    for (size_t row = 0; row < r->example_count; row++) {
        for (size_t i = 0; i < r->column_count; i++)
            free(r->examples[row].values[i]);
        free(r->examples[row].values);
    }
    for (size_t i = 0; i < r->column_count; i++)
        free(r->columns[i]);
    free(r->examples);
    free(r->columns);
    *r = (struct leat_verify_result){0};
}

/* ---- text */

enum { CELL_MAX = 40 }; /* longer values are cut: this is for reading, the tables hold the rest */

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void put_cell(struct leat_buffer *out, const char *text, size_t width) {
    size_t is = width_of(text), shown = 0;
    for (; *text && (shown < CELL_MAX || ((unsigned char)*text & 0xc0) == 0x80); text++) {
        shown += ((unsigned char)*text & 0xc0) != 0x80;
        leat_putn(out, *text == '\n' || *text == '\t' || *text == '\r' ? " " : text, 1);
    }
    leat_putf(out, "%*s  ", (int)(width > is ? width - is : 0), "");
}

static void trim_line(struct leat_buffer *out) {
    while (out->length && out->data[out->length - 1] == ' ')
        out->data[--out->length] = 0;
    leat_put(out, "\n");
}

void leat_verify_print(const struct leat_verify_result *r, struct leat_buffer *out) {
    if (!r->differing) {
        leat_putf(out, "equal: %" PRId64 " rows\n", r->table_rows);
        return;
    }
    leat_putf(
        out, "different: %" PRId64 " rows missing, %" PRId64 " too many (oracle %" PRId64 " rows, table %" PRId64 ")\n",
        r->missing_rows, r->extra_rows, r->oracle_rows, r->table_rows);
    if (!r->example_count) return;
    size_t *widths = leat_alloc((r->column_count + 1) * sizeof *widths);
    for (size_t i = 0; i < r->column_count; i++) {
        widths[i] = width_of(r->columns[i]);
        for (size_t row = 0; row < r->example_count; row++) {
            const char *value = r->examples[row].values[i];
            size_t width = value ? width_of(value) : 4;
            if (width > widths[i]) widths[i] = width;
        }
        if (widths[i] > CELL_MAX) widths[i] = CELL_MAX;
    }
    leat_put(out, "  copies  ");
    for (size_t i = 0; i < r->column_count; i++)
        put_cell(out, r->columns[i], widths[i]);
    trim_line(out);
    for (size_t row = 0; row < r->example_count; row++) {
        leat_putf(out, "  %+6" PRId64 "  ", r->examples[row].copies);
        for (size_t i = 0; i < r->column_count; i++)
            put_cell(out, r->examples[row].values[i] ? r->examples[row].values[i] : "NULL", widths[i]);
        trim_line(out);
    }
    free(widths);
}
