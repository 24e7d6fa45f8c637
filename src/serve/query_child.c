/* The process that runs people's queries; see query_child.h. Its DuckDB instance is locked (as that of `leat sql`: it reads the lake and nothing else).
 * Parquet is written from the result by an instance of its own: the one that runs people's SQL writes nothing. */
#include "serve/query_child.h"

#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "data/arrow.h"
#include "data/value_text.h"
#include "engine/engine.h"
#include "sql/duck.h"

#define FOREVER_US (INT64_C(1000000) << 20)

struct runner {
    struct leat_child_pipe parent;
    struct leat_duck *duck;
    struct leat_conn *conn;
    char *parquet;
    struct leat_buffer out;
};
struct asked {
    struct leat_query_shape shape;
    const char *table, *sql; /* "": of no table */
};

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void put_columns(struct leat_buffer *out, const struct leat_schema *schema) {
    leat_put(out, "\"columns\":[");
    for (size_t c = 0; c < schema->field_count; c++) {
        char type[32];
        leat_type_print(schema->fields[c].type, type);
        leat_put(out, c ? ",{\"name\":" : "{\"name\":");
        leat_put_json_string(out, schema->fields[c].name, strlen(schema->fields[c].name));
        leat_putf(out, ",\"type\":\"%s\"}", type);
    }
    leat_put(out, "]");
}

static void put_array(struct leat_buffer *out, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        leat_put(out, c ? "," : "[");
        leat_put_json_value(out, &rows->columns[c], row);
    }
    leat_put(out, "]");
}

/* Names stand beside every value: text may be much longer than what it is made of. */
static enum leat_status check_size(const struct leat_buffer *out, size_t bytes_max, struct leat_error *err) {
    if (out->length <= bytes_max) return LEAT_OK;
    return leat_fail(err, LEAT_LIMIT, "the answer has more than %zu MB; ask for less, or as parquet or arrow", bytes_max / LEAT_MIB);
}

static enum leat_status put_json(struct leat_buffer *out, const struct asked *asked, const struct leat_result *result, struct leat_error *err) {
    size_t n = result->rows.row_count;
    leat_put(out, "{");
    if (*asked->table) {
        leat_put(out, "\"table\":");
        leat_put_json_string(out, asked->table, strlen(asked->table));
    } else {
        put_columns(out, &result->schema);
    }
    leat_put(out, ",\"rows\":[");
    for (size_t i = 0; i < n; i++) {
        enum leat_status st = check_size(out, LEAT_QUERY_RESULT_BYTES_MAX, err);
        if (st != LEAT_OK) return st;
        if (i) leat_put(out, ",");
        if (*asked->table)
            leat_put_json_row(out, &result->rows, i);
        else
            put_array(out, &result->rows, i);
    }
    leat_put(out, "]");
    if (*asked->table && n == (size_t)asked->shape.limit)
        leat_putf(out, ",\"next\":\"%lld\"", (long long)(asked->shape.cursor + asked->shape.limit));
    else if (*asked->table)
        leat_put(out, ",\"next\":null");
    leat_put(out, "}\n");
    return LEAT_OK;
}

static enum leat_status put_parquet(struct runner *r, const struct leat_result *result, struct leat_error *err) {
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP, .memory_limit_bytes = LEAT_QUERY_MEMORY_BYTES};
    struct leat_io *io = leat_io_real();
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_buffer sql = {0};
    enum leat_status st = leat_duck_open(&options, &duck, err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, err);
    if (st == LEAT_OK) st = leat_conn_input(conn, "result", &result->schema, true, err);
    if (st == LEAT_OK) {
        leat_conn_bind(conn, "result", &result->rows);
        leat_put(&sql, "COPY (SELECT * EXCLUDE (__row, __w) FROM leat_input('result')) TO ");
        leat_put_sql_string(&sql, r->parquet);
        leat_put(&sql, " (");
        leat_put_parquet_options(&result->schema, false, &sql);
        leat_put(&sql, ")");
        st = leat_conn_exec(conn, sql.data, err);
    }
    if (st == LEAT_OK) st = leat_io_read_all(io, r->parquet, LEAT_QUERY_ANSWER_BYTES_MAX, &r->out, err);
    if (leat_io_remove_tree(io, r->parquet, st == LEAT_OK ? err : NULL) != LEAT_OK && st == LEAT_OK) st = err->status;
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status put_rows(struct runner *r, const struct asked *asked, const struct leat_result *result, struct leat_error *err) {
    struct leat_buffer *out = &r->out;
    size_t n = result->rows.row_count;
    enum leat_status st = LEAT_OK;
    if (asked->shape.one_row) {
        if (!n) return leat_fail(err, LEAT_NOT_FOUND, "there is no row of that key");
        leat_put_json_row(out, &result->rows, 0);
        leat_put(out, "\n");
        return LEAT_OK;
    }
    switch (asked->shape.format) {
    case LEAT_QUERY_JSON: return put_json(out, asked, result, err);
    case LEAT_QUERY_NDJSON:
        for (size_t i = 0; i < n && (st = check_size(out, LEAT_QUERY_RESULT_BYTES_MAX, err)) == LEAT_OK; i++) {
            leat_put_json_row(out, &result->rows, i);
            leat_put(out, "\n");
        }
        return st;
    case LEAT_QUERY_CSV:
        leat_put_csv_header(out, &result->schema);
        for (size_t i = 0; i < n && (st = check_size(out, LEAT_QUERY_RESULT_BYTES_MAX, err)) == LEAT_OK; i++) leat_put_csv_row(out, &result->rows, i);
        return st;
    case LEAT_QUERY_PARQUET: return put_parquet(r, result, err);
    case LEAT_QUERY_ARROW: break;
    }
    leat_put_arrow_stream(out, &result->rows);
    return LEAT_OK;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static enum leat_status open_lake(struct runner *r, const char *lake, struct leat_error *err) {
    const char *time_zone = lake + strlen(lake) + 1;
    struct leat_duck_options locked = {.use = LEAT_DUCK_STEP, .threads = 2, .memory_limit_bytes = LEAT_QUERY_MEMORY_BYTES, .locked = true, .allowed_dir = lake,
                                       .time_zone = time_zone};
    r->parquet = leat_strdup(time_zone + strlen(time_zone) + 1);
    enum leat_status st = leat_duck_open(&locked, &r->duck, err);
    if (st == LEAT_OK) st = leat_conn_open(r->duck, &r->conn, err);
    if (st == LEAT_OK) leat_conn_cap_results(r->conn, LEAT_QUERY_RESULT_BYTES_MAX);
    return st;
}

static enum leat_status make_view(struct runner *r, char *name, struct leat_error *err) {
    return leat_view_make(r->conn, &(struct leat_view_text){.name = name, .select = name + strlen(name) + 1}, err);
}

static enum leat_status answer_query(struct runner *r, const char *body, struct leat_error *err) {
    struct asked asked;
    struct leat_result result = {0};
    memcpy(&asked.shape, body, sizeof asked.shape);
    asked.table = body + sizeof asked.shape;
    asked.sql = asked.table + strlen(asked.table) + 1;
    enum leat_status st = leat_conn_query(r->conn, asked.sql, &result, err);
    if (st == LEAT_OK) st = put_rows(r, &asked, &result, err);
    if (st == LEAT_OK) st = check_size(&r->out, LEAT_QUERY_ANSWER_BYTES_MAX, err);
    leat_result_deinit(&result);
    if (st == LEAT_NO_MEMORY)
        st = leat_fail(err, LEAT_LIMIT, "the query needs more memory than queries may have, %llu MB; ask for less", (unsigned long long)(LEAT_QUERY_MEMORY_BYTES / LEAT_MIB));
    return st;
}

static enum leat_status take_bytes(struct runner *r, void *to, size_t n, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t at = 0, got; at < n && st == LEAT_OK; at += got) st = leat_child_read(&r->parent, (char *)to + at, n - at, &got, FOREVER_US, err);
    return st;
}

static enum leat_status take_frame(struct runner *r, uint32_t *kind, char **body, struct leat_error *err) {
    struct leat_query_frame frame;
    enum leat_status st = take_bytes(r, &frame, sizeof frame, err);
    if (st != LEAT_OK) return st;
    *kind = frame.kind;
    *body = leat_alloc((size_t)frame.length + 1);
    return take_bytes(r, *body, frame.length, err);
}

/* False: it is over. */
static bool serve_frame(struct runner *r) {
    struct leat_query_answer answer = {0};
    struct leat_error *err = &answer.error;
    uint32_t kind = 0;
    char *body = NULL;
    bool goes_on = take_frame(r, &kind, &body, err) == LEAT_OK;
    if (goes_on) {
        leat_buffer_reset(&r->out);
        enum leat_status st = kind == LEAT_QUERY_OPEN ? open_lake(r, body, err) : kind == LEAT_QUERY_VIEW ? make_view(r, body, err) : answer_query(r, body, err);
        answer.length = st == LEAT_OK ? r->out.length : 0;
        if (st == LEAT_OK) answer.error = (struct leat_error){0}; /* of something that was tried on the way */
        goes_on = leat_child_write(&r->parent, &answer, sizeof answer, FOREVER_US, NULL) == LEAT_OK &&
                  leat_child_write(&r->parent, r->out.data, answer.length, FOREVER_US, NULL) == LEAT_OK;
        leat_buffer_deinit(&r->out); /* it may be large, and the next may come in a while */
    }
    free(body);
    return goes_on;
}

int leat_query_main(void) {
    struct runner r = {.parent = leat_child_parent()};
    leat_child_confine(LEAT_QUERY_PROCESS_BYTES);
    while (serve_frame(&r)) {}
    if (r.conn) leat_conn_close(r.conn);
    if (r.duck) leat_duck_close(r.duck);
    free(r.parquet);
    return 0;
}
