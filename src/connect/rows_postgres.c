/* Rows of PostgreSQL: COPY of one statement, which sees one moment of the database. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "connect/postgres.h"
#include "connect/postgres_copy.h"
#include "connect/rows.h"

#define COLUMNS_BYTES_MAX ((uint64_t)4 << 30)

struct postgres_rows {
    struct leat_database base;
    const struct leat_source *source;
    int64_t timeout_us;
    const atomic_int *stop;
    struct leat_postgres *server; /* NULL: not connected */
    bool copying;                 /* the statement has rows left */
    char *row;                    /* libpq's, of the last row */
    char *plain;                  /* its fields, escapes undone */
    size_t plain_bytes;
    struct leat_row_value *values;
};

static struct postgres_rows *self(struct leat_database *rows) {
    return (struct postgres_rows *)(void *)rows;
}

static enum leat_status dial(struct postgres_rows *r, struct leat_error *err) {
    if (r->server && !r->copying && PQstatus(leat_postgres_conn(r->server)) == CONNECTION_OK) return LEAT_OK;
    leat_postgres_close(r->server);
    r->server = NULL;
    r->copying = false;
    return leat_postgres_connect(leat_clock_real(), leat_source_option(r->source, "dsn"), false, r->timeout_us, r->stop, &r->server, err);
}

static void postgres_close(struct leat_database *rows) {
    struct postgres_rows *r = self(rows);
    if (!r) return;
    PQfreemem(r->row);
    leat_postgres_close(r->server);
    free(r->plain);
    free(r->values);
    free(r);
}

static enum leat_status postgres_open(const struct leat_source *source, const atomic_int *stop, struct leat_database **out, struct leat_error *err) {
    struct postgres_rows *r = leat_alloc(sizeof *r);
    r->base.ops = &leat_database_postgres;
    r->source = source;
    r->stop = stop;
    r->timeout_us = leat_source_option_int(source, "timeout", 60000000);
    r->values = leat_alloc((source->value_count + 1) * sizeof *r->values);
    enum leat_status st = dial(r, err);
    *out = st == LEAT_OK ? &r->base : NULL;
    if (st != LEAT_OK) postgres_close(&r->base);
    return st;
}

static enum leat_status begin_copy(struct postgres_rows *r, const struct leat_rows_query *query, const char *options, struct leat_error *err) {
    struct leat_buffer sql = {0};
    enum leat_status st = dial(r, err);
    leat_put(&sql, "COPY (");
    leat_rows_put_select(&sql, r->source, query, "\"");
    leat_putf(&sql, ") TO STDOUT%s", options);
    if (st == LEAT_OK) st = leat_postgres_copy_begin(r->server, sql.data, r->timeout_us, err);
    leat_buffer_deinit(&sql);
    r->copying = st == LEAT_OK;
    return st;
}

static enum leat_status postgres_begin(struct leat_database *rows, const struct leat_rows_query *query, struct leat_error *err) {
    return begin_copy(self(rows), query, "", err);
}

static enum leat_status next_piece(struct postgres_rows *r, size_t *length, struct leat_error *err) {
    PQfreemem(r->row);
    r->row = NULL;
    enum leat_status st = leat_postgres_copy_next(r->server, r->timeout_us, &r->row, length, err);
    if (st == LEAT_END) r->copying = false;
    return st;
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A bytea as PostgreSQL writes it, \x and pairs of hexadecimal digits, to its bytes in place. Other text stays: it is the value of another type. */
static void decode_bytea(char *text, struct leat_row_value *v) {
    if (v->length < 2 || v->length % 2 || text[0] != '\\' || text[1] != 'x') return;
    for (size_t i = 2; i < v->length; i++)
        if (digit(text[i]) < 0) return;
    v->length = v->length / 2 - 1;
    for (size_t i = 0; i < v->length; i++) text[i] = (char)(digit(text[2 + 2 * i]) << 4 | digit(text[3 + 2 * i]));
}

static enum leat_status postgres_next(struct leat_database *rows, const struct leat_row_value **values, struct leat_error *err) {
    struct postgres_rows *r = self(rows);
    size_t length, count = r->source->value_count;
    enum leat_status st = r->copying ? next_piece(r, &length, err) : LEAT_END;
    if (st != LEAT_OK) return st;
    if (length >= r->plain_bytes) r->plain = leat_realloc(r->plain, r->plain_bytes = length + length / 4 + 1024);
    if (!leat_pgcopy_text(r->row, length, count, r->plain, r->values))
        return leat_fail(err, LEAT_CORRUPT, "PostgreSQL: a copied row has not %zu fields", count);
    for (size_t i = 0; i < count; i++)
        if (r->source->schema.fields[i].type.kind == LEAT_BLOB && r->values[i].data)
            decode_bytea(r->plain + (r->values[i].data - r->plain), &r->values[i]);
    leat_row_bound(r->values, count);
    *values = r->values;
    return LEAT_OK;
}

/* The database's types of the columns. False: they are not for the binary format. */
static enum leat_status column_types(struct postgres_rows *r, const struct leat_rows_query *all, uint32_t *types, bool *fit, struct leat_error *err) {
    struct leat_buffer sql = {0};
    PGresult *described = NULL;
    enum leat_status st = dial(r, err);
    leat_rows_put_select(&sql, r->source, all, "\"");
    leat_put(&sql, " LIMIT 0");
    if (st == LEAT_OK) st = leat_postgres_run(r->server, sql.data, r->timeout_us, &described, err);
    *fit = st == LEAT_OK && PQnfields(described) == (int)r->source->value_count;
    for (int i = 0; *fit && i < PQnfields(described); i++) types[i] = PQftype(described, i);
    *fit = *fit && leat_pgcopy_fits(types, &r->source->schema);
    PQclear(described);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status take_columns(struct postgres_rows *r, const uint32_t *types, struct leat_changes *out, struct leat_error *err) {
    size_t length, row_max = (size_t)leat_source_option_int(r->source, "max_line_bytes", (int64_t)LEAT_MIB);
    uint64_t bytes = 0;
    enum leat_status st;
    while ((st = next_piece(r, &length, err)) == LEAT_OK) {
        if (length > row_max) return leat_fail(err, LEAT_LIMIT, "row %zu is longer than max_line_bytes (%zu)", out->row_count + 1, row_max);
        if ((bytes += length) > COLUMNS_BYTES_MAX) return leat_fail(err, LEAT_LIMIT, "it is larger than %llu bytes, which a reference may be", (unsigned long long)COLUMNS_BYTES_MAX);
        if ((st = leat_pgcopy_binary(types, r->row, length, out, err)) != LEAT_OK) return st;
    }
    return st == LEAT_END ? LEAT_OK : st;
}

static enum leat_status postgres_columns(struct leat_database *rows, struct leat_changes *out, struct leat_error *err) {
    struct postgres_rows *r = self(rows);
    const struct leat_rows_query all = {.cursor = -1};
    uint32_t *types = leat_alloc((r->source->value_count + 1) * sizeof *types);
    bool fit;
    enum leat_status st = column_types(r, &all, types, &fit, err);
    if (st == LEAT_OK && !fit) st = leat_fail(err, LEAT_UNSUPPORTED, "PostgreSQL: a column's type is not the declared one");
    if (st == LEAT_OK) st = begin_copy(r, &all, " (FORMAT binary)", err);
    if (st == LEAT_OK) st = take_columns(r, types, out, err);
    free(types);
    return st;
}

const struct leat_database_ops leat_database_postgres = {
    .name = "postgres",
    .open = postgres_open,
    .begin = postgres_begin,
    .next = postgres_next,
    .columns = postgres_columns,
    .close = postgres_close,
};
