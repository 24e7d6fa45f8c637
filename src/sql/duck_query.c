/* One-shot statements: exec, query, describe, and DuckDB's own parser and planner as JSON. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "data/utf8.h"
#include "sql/duck_internal.h"

enum leat_status leat_duck_prepare(struct leat_conn *c, const char *sql, duckdb_prepared_statement *out,
                                   struct leat_error *err) {
    *out = NULL;
    if (duckdb_prepare(c->handle, sql, out) == DuckDBSuccess) return LEAT_OK;
    enum leat_status status = leat_duck_fail(err, NULL, duckdb_prepare_error(*out));
    if (err) err->bad_data = false; /* no row was read yet: the statement itself is at fault */
    duckdb_destroy_prepare(out);
    *out = NULL;
    return status;
}

enum leat_status leat_conn_exec(struct leat_conn *c, const char *sql, struct leat_error *err) {
    duckdb_result result;
    enum leat_status status = LEAT_OK;
    if (duckdb_query(c->handle, sql, &result) == DuckDBError)
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    duckdb_destroy_result(&result);
    c->world = leat_memo_statement(c->world, sql);
    return status;
}

enum leat_status leat_conn_execf(struct leat_conn *c, struct leat_error *err, const char *format, ...) {
    va_list args;
    char *sql = NULL;
    va_start(args, format);
    int length = vasprintf(&sql, format, args);
    va_end(args);
    if (length < 0) return leat_fail(err, LEAT_NO_MEMORY, "no memory for a statement");
    enum leat_status status = leat_conn_exec(c, sql, err);
    free(sql);
    return status;
}

/* Names and types of a prepared statement; *nested: how many columns a change batch cannot hold. */
static void read_schema(duckdb_prepared_statement statement, struct leat_schema *out, size_t *nested) {
    idx_t column_count = duckdb_prepared_statement_column_count(statement);
    *out = (struct leat_schema){0};
    *nested = 0;
    for (idx_t i = 0; i < column_count; i++) {
        const char *name = duckdb_prepared_statement_column_name(statement, i);
        duckdb_logical_type logical = duckdb_prepared_statement_column_logical_type(statement, i);
        struct leat_type type = leat_duck_type(logical);
        leat_schema_add(out, name, type, false);
        *nested += type.kind == LEAT_NESTED;
        duckdb_destroy_logical_type(&logical);
        duckdb_free((void *)name);
    }
}

/* The statement as a subquery: without the semicolons and blanks at its end. */
static void put_subquery(struct leat_buffer *out, const char *sql) {
    size_t length = strlen(sql);
    while (length && strchr("; \t\r\n", sql[length - 1]))
        length--;
    leat_put(out, "(");
    leat_putn(out, sql, length);
    leat_put(out, "\n)");
}

/* The same query with the columns a batch cannot hold (all columns, if all) as text. */
static char *cast_to_text(const char *sql, const struct leat_schema *schema, bool all) {
    struct leat_buffer b = {0};
    leat_put(&b, "SELECT ");
    for (size_t i = 0; i < schema->field_count; i++) {
        bool cast = all || schema->fields[i].type.kind == LEAT_NESTED;
        leat_putf(&b, cast ? "%sCAST(#%zu AS VARCHAR) AS " : "%s#%zu AS ", i ? ", " : "", i + 1);
        leat_put_sql_name(&b, schema->fields[i].name);
    }
    leat_put(&b, " FROM ");
    put_subquery(&b, sql);
    return b.data;
}

/* Prepares for reading: nested columns (all columns, if all_text) become text. */
static enum leat_status prepare_reading(struct leat_conn *c, const char *sql, bool all_text,
                                        duckdb_prepared_statement *out, struct leat_schema *schema,
                                        struct leat_error *err) {
    size_t nested;
    *schema = (struct leat_schema){0};
    bool syntax = true;
    enum leat_status status = c->duck->locked ? leat_duck_check_query(c, sql, &syntax, err) : LEAT_OK;
    if (!status) status = leat_duck_prepare(c, sql, out, err);
    if (status) return status;
    /* EXPLAIN neither: EXPLAIN ANALYZE COPY ... would write. */
    if (c->duck->locked && (!syntax || duckdb_prepared_statement_type(*out) != DUCKDB_STATEMENT_TYPE_SELECT)) {
        duckdb_destroy_prepare(out);
        *out = NULL;
        return leat_duck_only_queries(err);
    }
    read_schema(*out, schema, &nested);
    for (size_t i = 0; i < schema->field_count && all_text; i++)
        nested += schema->fields[i].type.kind != LEAT_VARCHAR;
    if (!nested) return LEAT_OK; /* preparing again would plan again */
    char *wrapped = cast_to_text(sql, schema, all_text);
    duckdb_destroy_prepare(out);
    leat_schema_deinit(schema);
    status = leat_duck_prepare(c, wrapped, out, err);
    free(wrapped);
    if (!status) read_schema(*out, schema, &nested);
    return status;
}

static enum leat_status query(struct leat_conn *c, const char *sql, bool all_text, struct leat_result *out,
                              struct leat_error *err) {
    duckdb_prepared_statement statement = NULL;
    int *columns = NULL;
    *out = (struct leat_result){0};
    enum leat_status status = prepare_reading(c, sql, all_text, &statement, &out->schema, err);
    if (status) goto out;
    leat_changes_init(&out->rows, &out->schema);
    columns = leat_alloc((out->schema.field_count + 1) * sizeof *columns);
    for (size_t i = 0; i < out->schema.field_count; i++)
        columns[i] = (int)i;
    status = leat_duck_run(statement, columns, &out->rows, NULL, c->result_bytes_max, err);
out:
    if (statement) duckdb_destroy_prepare(&statement);
    free(columns);
    if (status) leat_result_deinit(out);
    return status;
}

static bool read_result_schema(duckdb_result *result, struct leat_schema *out) {
    bool plain = true;
    *out = (struct leat_schema){0};
    for (idx_t i = 0; i < duckdb_column_count(result); i++) {
        duckdb_logical_type logical = duckdb_column_logical_type(result, i);
        struct leat_type type = leat_duck_type(logical);
        leat_schema_add(out, duckdb_column_name(result, i), type, false);
        plain = plain && type.kind != LEAT_NESTED;
        duckdb_destroy_logical_type(&logical);
    }
    return plain;
}

/* A query that is not prepared first: one that reads files is planned again when a prepared statement of it runs.
 * *done: false when a column has a type that must become text, which the careful way does. */
static enum leat_status query_at_once(struct leat_conn *c, const char *sql, struct leat_result *out, bool *done,
                                      struct leat_error *err) {
    duckdb_result result;
    int *columns = NULL;
    enum leat_status status = LEAT_OK;
    *out = (struct leat_result){0};
    *done = true;
    if (duckdb_query(c->handle, sql, &result) == DuckDBError) {
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    } else if ((*done = read_result_schema(&result, &out->schema))) {
        leat_changes_init(&out->rows, &out->schema);
        columns = leat_alloc((out->schema.field_count + 1) * sizeof *columns);
        for (size_t i = 0; i < out->schema.field_count; i++)
            columns[i] = (int)i;
        for (duckdb_data_chunk chunk; (chunk = duckdb_fetch_chunk(result));) {
            leat_duck_append(chunk, columns, &out->rows, NULL);
            duckdb_destroy_data_chunk(&chunk);
        }
    } else {
        leat_schema_deinit(&out->schema);
    }
    duckdb_destroy_result(&result);
    free(columns);
    return status;
}

enum leat_status leat_conn_query(struct leat_conn *c, const char *sql, struct leat_result *out,
                                 struct leat_error *err) {
    bool done = false;
    if (!c->duck->locked) { /* there the kind of statement is looked at first */
        enum leat_status at_once = query_at_once(c, sql, out, &done, err);
        if (at_once || done) return at_once;
    }
    return query(c, sql, false, out, err);
}

void leat_conn_cap_results(struct leat_conn *c, size_t bytes_max) {
    c->result_bytes_max = bytes_max;
}

void leat_result_deinit(struct leat_result *r) {
    if (r->rows.schema) leat_changes_deinit(&r->rows);
    leat_schema_deinit(&r->schema);
    *r = (struct leat_result){0};
}

/* One value of a statement that is not prepared first: preparing plans it, and running it would plan it again wherever
 * something was created since. *done: false when the result is not one text, which the careful way turns into one. */
static enum leat_status text_at_once(struct leat_conn *c, const char *sql, char **out, bool *done, struct leat_error *err) {
    duckdb_result result;
    enum leat_status status = LEAT_OK;
    *done = true;
    if (duckdb_query(c->handle, sql, &result) == DuckDBError) {
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    } else if (duckdb_column_type(&result, 0) != DUCKDB_TYPE_VARCHAR) {
        *done = false;
    } else {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
        duckdb_vector vector = chunk ? duckdb_data_chunk_get_vector(chunk, 0) : NULL;
        if (!chunk || !duckdb_data_chunk_get_size(chunk)) {
            status = leat_fail(err, LEAT_NOT_FOUND, "the query gives no row: %.200s", sql);
        } else {
            uint64_t *valid = duckdb_vector_get_validity(vector);
            duckdb_string_t *text = duckdb_vector_get_data(vector);
            if (!valid || duckdb_validity_row_is_valid(valid, 0))
                *out = leat_strndup(duckdb_string_t_data(text), duckdb_string_t_length(*text));
        }
        if (chunk) duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    return status;
}

enum leat_status leat_conn_text(struct leat_conn *c, const char *sql, char **out, struct leat_error *err) {
    struct leat_result r;
    bool done;
    *out = NULL;
    if (!c->duck->locked) {
        enum leat_status at_once = text_at_once(c, sql, out, &done, err);
        if (at_once || done) return at_once;
    }
    enum leat_status status = query(c, sql, true, &r, err);
    if (status) return status;
    if (!r.rows.row_count || !r.schema.field_count) {
        status = leat_fail(err, LEAT_NOT_FOUND, "the query gives no row: %.200s", sql);
    } else if (!leat_is_null(&r.rows.columns[0], 0)) {
        const struct leat_string *s = r.rows.columns[0].data;
        *out = leat_strndup(leat_string_data(s), s->length);
    }
    leat_result_deinit(&r);
    return status;
}

/* Value `row` of an integer column; false: another type or out of range. */
static bool read_int(const struct leat_column *column, size_t row, int64_t *out) {
    switch (column->type.kind) {
    case LEAT_BOOLEAN:
    case LEAT_UTINYINT:
        *out = ((const uint8_t *)column->data)[row];
        return true;
    case LEAT_TINYINT:
        *out = ((const int8_t *)column->data)[row];
        return true;
    case LEAT_SMALLINT:
        *out = ((const int16_t *)column->data)[row];
        return true;
    case LEAT_USMALLINT:
        *out = ((const uint16_t *)column->data)[row];
        return true;
    case LEAT_INTEGER:
        *out = ((const int32_t *)column->data)[row];
        return true;
    case LEAT_UINTEGER:
        *out = ((const uint32_t *)column->data)[row];
        return true;
    case LEAT_BIGINT:
        *out = ((const int64_t *)column->data)[row];
        return true;
    case LEAT_UBIGINT: {
        uint64_t value = ((const uint64_t *)column->data)[row];
        *out = (int64_t)value;
        return value <= INT64_MAX;
    }
    case LEAT_HUGEINT: {
        leat_i128 value;
        memcpy(&value, (const char *)column->data + row * sizeof value, sizeof value);
        *out = (int64_t)value;
        return value >= INT64_MIN && value <= INT64_MAX;
    }
    default:
        return false;
    }
}

/* As text_at_once. */
static enum leat_status int_at_once(struct leat_conn *c, const char *sql, int64_t *out, bool *done, struct leat_error *err) {
    duckdb_result result;
    enum leat_status status = LEAT_OK;
    *done = false;
    if (duckdb_query(c->handle, sql, &result) == DuckDBError) {
        status = leat_duck_fail(err, &result, duckdb_result_error(&result));
    } else {
        duckdb_data_chunk chunk = duckdb_fetch_chunk(result);
        if (chunk && duckdb_data_chunk_get_size(chunk) && duckdb_data_chunk_get_column_count(chunk)) {
            duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, 0);
            duckdb_logical_type logical = duckdb_vector_get_column_type(vector);
            struct leat_column column = {.type = leat_duck_type(logical), .data = duckdb_vector_get_data(vector)};
            uint64_t *valid = duckdb_vector_get_validity(vector);
            *done = (!valid || duckdb_validity_row_is_valid(valid, 0)) && read_int(&column, 0, out);
            duckdb_destroy_logical_type(&logical);
        }
        if (chunk) duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    return status;
}

enum leat_status leat_conn_int(struct leat_conn *c, const char *sql, int64_t *out, struct leat_error *err) {
    struct leat_result r;
    bool done;
    *out = 0;
    if (!c->duck->locked) {
        enum leat_status at_once = int_at_once(c, sql, out, &done, err);
        if (at_once || done) return at_once;
    }
    enum leat_status status = query(c, sql, false, &r, err);
    if (status) return status;
    if (!r.rows.row_count || !r.schema.field_count)
        status = leat_fail(err, LEAT_NOT_FOUND, "the query gives no row: %.200s", sql);
    else if (leat_is_null(&r.rows.columns[0], 0))
        status = leat_fail(err, LEAT_NOT_FOUND, "the query gives NULL: %.200s", sql);
    else if (!read_int(&r.rows.columns[0], 0, out))
        status = leat_fail(err, LEAT_INVALID, "the query does not give a 64-bit integer: %.200s", sql);
    leat_result_deinit(&r);
    return status;
}

enum leat_status leat_conn_describe(struct leat_conn *c, const char *sql, struct leat_schema *out,
                                    struct leat_error *err) {
    duckdb_prepared_statement statement;
    size_t nested;
    *out = (struct leat_schema){0};
    if (leat_memo_find(c, LEAT_MEMO_DESCRIBE, c->world, sql, NULL, out)) return LEAT_OK;
    enum leat_status status = leat_duck_prepare(c, sql, &statement, err);
    if (status) return status;
    read_schema(statement, out, &nested);
    duckdb_destroy_prepare(&statement);
    leat_memo_keep(c, LEAT_MEMO_DESCRIBE, c->world, sql, NULL, out);
    return LEAT_OK;
}

/* A serialisation that failed is a successful query whose text says {"error":true,...}. */
static enum leat_status check_serialised(struct leat_conn *c, const char *json, struct leat_error *err) {
    if (strncmp(json, "{\"error\":true", 13) != 0) return LEAT_OK;
    json_t *root = json_loads(json, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "error_type"));
    const char *message = json_string_value(json_object_get(root, "error_message"));
    const char *position = json_string_value(json_object_get(root, "position"));
    if (position) c->error_offset = atoi(position);
    enum leat_status status = leat_fail(err, LEAT_SQL, "%s: %s", type ? type : "error", message ? message : json);
    json_decref(root);
    return status;
}

/* The statements are prepared once a connection: parsing and planning one takes longer than what it is called for. */
static const struct {
    const char *input, *sql;
} SERIALISERS[LEAT_SERIALISER_COUNT] = {
    [LEAT_SERIALISE_PLAN] = {"leat plan", "SELECT json_serialize_plan(c0, optimize := true) FROM leat_input('leat plan')"},
    [LEAT_SERIALISE_BOUND] = {"leat bound",
                              "SELECT json_serialize_plan(c0, optimize := false) FROM leat_input('leat bound')"},
    [LEAT_SERIALISE_SQL] = {"leat parse", "SELECT json_serialize_sql(c0) FROM leat_input('leat parse')"},
    [LEAT_DESERIALISE_SQL] = {"leat unparse",
                              "SELECT json_deserialize_sql(c0::JSON) FROM leat_input('leat unparse')"},
};

static enum leat_status prepare_serialiser(struct leat_conn *c, enum leat_serialiser which, struct leat_error *err) {
    struct leat_schema text = {0};
    uint64_t world = c->world;
    leat_schema_add(&text, "c0", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    enum leat_status status = leat_conn_input(c, SERIALISERS[which].input, &text, false, err);
    if (!status) status = leat_stage_prepare(c, SERIALISERS[which].sql, &c->serialisers[which], err);
    leat_schema_deinit(&text);
    c->world = world; /* no statement of others names that input */
    return status;
}

static enum leat_status run_serialiser(struct leat_conn *c, enum leat_serialiser which, struct leat_string argument,
                                       char **out, struct leat_error *err) {
    struct leat_column column = {.type = {.kind = LEAT_VARCHAR}, .data = &argument};
    struct leat_changes in = {.columns = &column, .row_count = 1}, result;
    leat_changes_init(&result, leat_stage_schema(c->serialisers[which]));
    leat_conn_bind(c, SERIALISERS[which].input, &in);
    enum leat_status status = leat_stage_run(c->serialisers[which], &result, NULL, err);
    leat_conn_bind(c, SERIALISERS[which].input, NULL);
    if (!status && result.row_count == 1 && !leat_is_null(&result.columns[0], 0)) {
        const struct leat_string *text = result.columns[0].data;
        *out = leat_strndup(leat_string_data(text), text->length);
    }
    leat_changes_deinit(&result);
    return status;
}

enum leat_status leat_duck_serialise(struct leat_conn *c, enum leat_serialiser which, const char *argument, char **out,
                                     struct leat_error *err) {
    size_t length = strlen(argument);
    enum leat_status status = LEAT_OK;
    uint64_t world = which == LEAT_SERIALISE_PLAN || which == LEAT_SERIALISE_BOUND ? c->world : 0;
    *out = NULL;
    c->error_offset = -1;
    if (leat_memo_find(c, (int)which, world, argument, out, NULL)) return LEAT_OK;
    if (length > UINT32_MAX || !leat_utf8_valid(argument, length))
        return leat_fail(err, LEAT_SQL, "Parser Error: a statement that is not valid UTF-8, or longer than 4 GiB");
    if (!c->serialisers[which]) status = prepare_serialiser(c, which, err);
    if (!status) status = run_serialiser(c, which, leat_string_of(argument, (uint32_t)length), out, err);
    if (!status && *out) status = check_serialised(c, *out, err);
    if (!status && !*out) status = leat_fail(err, LEAT_SQL, "DuckDB serialised a statement to NULL");
    if (!status) leat_memo_keep(c, (int)which, world, argument, *out, NULL);
    if (status) {
        free(*out);
        *out = NULL;
        if (err) err->bad_data = false;
    }
    return status;
}

enum leat_status leat_conn_bound_plan(struct leat_conn *c, const char *sql, char **out, struct leat_error *err) {
    return leat_duck_serialise(c, LEAT_SERIALISE_PLAN, sql, out, err);
}

enum leat_status leat_conn_parse(struct leat_conn *c, const char *sql, char **out_json, struct leat_error *err) {
    return leat_duck_serialise(c, LEAT_SERIALISE_SQL, sql, out_json, err);
}

enum leat_status leat_conn_unparse(struct leat_conn *c, const char *json, char **out_sql, struct leat_error *err) {
    return leat_duck_serialise(c, LEAT_DESERIALISE_SQL, json, out_sql, err);
}

int leat_conn_error_offset(const struct leat_conn *c) {
    return c->error_offset;
}
