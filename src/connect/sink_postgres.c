/* The `postgres` sink: effects to a table, and how far they are to leat_progress beside it, in one transaction: each counts once.
 *
 * A piece of effects goes by COPY to a temporary table and from there by two statements into the table (the last effect of each key alone);
 * rows that are only appended go there directly. What the values of one effect make impossible is found by halving the piece.
 *
 * A transaction first locks the sink's row of leat_progress and finds the sequence it knows, or gives up: one that a killed leat had sent and the
 * server was still working on is waited for, and seen. */
#include <stdlib.h>
#include <string.h>

#include "connect/pg.h"
#include "connect/sink.h"

static const struct leat_option_spec options[] = {
    {.name = "dsn", .type = LEAT_OPTION_SECRET, .required = true, .prose = "How to connect: libpq's keywords (`host=... dbname=...`) or a `postgresql://` URI."},
    {.name = "table", .type = LEAT_OPTION_TEXT, .prose = "The table, or `schema.table`. Left out: the name of leat's table."},
    {.name = "create",
     .type = LEAT_OPTION_BOOL,
     .default_text = "true",
     .prose = "Makes the table, with the primary key, where there is none. A table that is there needs these columns, and a unique index over the key."},
    {.name = "timeout",
     .type = LEAT_OPTION_INTERVAL,
     .min = 100000,
     .max = INT64_C(3600000000),
     .default_text = "30 seconds",
     .prose = "How long connecting, and each answer, may take; the server waits as long for a lock, and ends a transaction that leat left open for twice as long."},
};

struct postgres {
    struct leat_sink base;
    const struct leat_sink_context *context;
    struct leat_pg pg;
    char *table, *progress, *columns, *key_columns; /* SQL text */
    bool upserts;
    bool ready;              /* on this connection: tables made, staging table there */
    uint64_t known;          /* the sequence that leat_progress has */
    struct leat_changes rows;
    struct leat_buffer text; /* COPY's */
};

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

static char *names(const struct leat_schema *schema, const uint16_t *columns, size_t n) {
    struct leat_buffer text = {0};
    for (size_t i = 0; i < n; i++) {
        if (i) leat_put(&text, ", ");
        leat_put_sql_name(&text, schema->fields[columns ? columns[i] : i].name);
    }
    return text.data ? text.data : leat_strdup("");
}

/* name in the schema of the target table, quoted */
static char *qualified(const char *table, const char *name) {
    struct leat_buffer text = {0};
    const char *dot = strchr(table, '.');
    if (dot) {
        char *schema = leat_strndup(table, (size_t)(dot - table));
        leat_put_sql_name(&text, schema);
        leat_put(&text, ".");
        free(schema);
    }
    leat_put_sql_name(&text, name ? name : dot ? dot + 1 : table);
    return text.data;
}

static enum leat_status postgres_open(const struct leat_sink_context *context, struct leat_sink **out, struct leat_error *err) {
    struct postgres *sink = leat_alloc(sizeof *sink);
    const char *table = leat_sink_option(context->def, "table");
    (void)err;
    if (!table) table = context->table->name;
    sink->base.ops = &leat_sink_postgres;
    sink->context = context;
    sink->pg = (struct leat_pg){.env = context->env, .timeout_us = leat_sink_option_int(context->def, "timeout", 30000000)};
    sink->table = qualified(table, NULL);
    sink->progress = qualified(table, "leat_progress");
    sink->columns = names(context->schema, NULL, context->schema->field_count);
    sink->key_columns = names(context->schema, context->key, context->key_count);
    sink->upserts = leat_sink_upserts(sink->base.ops, context->table);
    leat_changes_init(&sink->rows, context->schema);
    *out = &sink->base;
    return LEAT_OK;
}

static void postgres_close(struct leat_sink *base) {
    struct postgres *sink = (struct postgres *)base;
    leat_pg_close(&sink->pg);
    leat_changes_deinit(&sink->rows);
    leat_buffer_deinit(&sink->text);
    free(sink->table);
    free(sink->progress);
    free(sink->columns);
    free(sink->key_columns);
    free(sink);
}

/* ---- the connection ---------------------------------------------------------------------------------------------------- */

static void put_create(const struct postgres *sink, struct leat_buffer *sql) {
    const struct leat_schema *schema = sink->context->schema;
    leat_putf(sql, "CREATE TABLE IF NOT EXISTS %s (", sink->table);
    for (size_t i = 0; i < schema->field_count; i++) {
        if (i) leat_put(sql, ", ");
        leat_put_sql_name(sql, schema->fields[i].name);
        leat_put(sql, " ");
        leat_pg_put_type(sql, schema->fields[i].type);
    }
    if (sink->context->key_count) leat_putf(sql, ", PRIMARY KEY (%s)", sink->key_columns);
    leat_put(sql, ");");
}

/* CREATE ... IF NOT EXISTS needs the right to create even where the table is there. */
static enum leat_status is_there(struct postgres *sink, const char *table, bool *there, struct leat_error *err) {
    struct leat_buffer sql = {0};
    PGresult *result = NULL;
    leat_put(&sql, "SELECT to_regclass(");
    leat_put_sql_string(&sql, table);
    leat_put(&sql, ") IS NOT NULL");
    enum leat_status st = leat_pg_exec(&sink->pg, sql.data, &result, err);
    if (st == LEAT_OK) *there = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    leat_buffer_deinit(&sql);
    return st;
}

/* A server may take hours to learn that whoever began a transaction is gone without a word, and leaves its lock of leat_progress until then; one that waits for
 * the lock it does not ask at all. */
static void put_limits(const struct postgres *sink, struct leat_buffer *sql) {
    long long ms = (long long)(sink->pg.timeout_us / 1000);
    leat_putf(sql, "SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = %lld;", ms, 2 * ms);
}

static enum leat_status prepare(struct postgres *sink, struct leat_error *err) {
    struct leat_buffer sql = {0};
    bool progress = false, table = false;
    enum leat_status st = is_there(sink, sink->progress, &progress, err);
    if (st == LEAT_OK) st = is_there(sink, sink->table, &table, err);
    put_limits(sink, &sql);
    if (!progress)
        leat_putf(&sql, "CREATE TABLE IF NOT EXISTS %s (sink text PRIMARY KEY, sequence bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());",
                  sink->progress);
    if (!table && leat_sink_option_int(sink->context->def, "create", 1)) put_create(sink, &sql);
    leat_putf(&sql, "CREATE TEMP TABLE leat_stage ON COMMIT DELETE ROWS AS SELECT false AS leat_gone, %s FROM %s WITH NO DATA;", sink->columns,
              sink->table);
    leat_putf(&sql, "INSERT INTO %s (sink, sequence) VALUES (", sink->progress);
    leat_put_sql_string(&sql, sink->context->identity);
    leat_put(&sql, ", 0) ON CONFLICT DO NOTHING;");
    if (st == LEAT_OK) st = leat_pg_exec(&sink->pg, sql.data, NULL, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status connect_to(struct postgres *sink, struct leat_error *err) {
    bool connected = sink->pg.conn != NULL;
    enum leat_status st = leat_pg_connect(&sink->pg, leat_sink_option(sink->context->def, "dsn"), err);
    if (st != LEAT_OK) return st;
    if (connected && sink->ready) return LEAT_OK;
    sink->ready = false;
    if ((st = prepare(sink, err)) != LEAT_OK) {
        leat_pg_close(&sink->pg);
        return st;
    }
    sink->ready = true;
    return LEAT_OK;
}

static enum leat_status read_progress(struct postgres *sink, const char *lock, uint64_t *sequence, struct leat_error *err) {
    struct leat_buffer sql = {0};
    PGresult *result = NULL;
    leat_putf(&sql, "SELECT sequence FROM %s WHERE sink = ", sink->progress);
    leat_put_sql_string(&sql, sink->context->identity);
    leat_put(&sql, lock);
    enum leat_status st = leat_pg_exec(&sink->pg, sql.data, &result, err);
    if (st == LEAT_OK && PQntuples(result) != 1) st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL: somebody deleted this sink's row of leat_progress");
    if (st == LEAT_OK) *sequence = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status described(const struct postgres *sink, enum leat_status st, struct leat_error *err) {
    return st == LEAT_OK ? st : leat_prepend(err, "sink \"%s\"", sink->context->def->name);
}

static enum leat_status postgres_progress(struct leat_sink *base, const atomic_int *stop, uint64_t *sequence, struct leat_error *err) {
    struct postgres *sink = (struct postgres *)base;
    sink->pg.stop = stop;
    /* What a former connection of ours had sent may still be at work: its lock is waited for. */
    enum leat_status st = connect_to(sink, err);
    if (st == LEAT_OK) st = read_progress(sink, " FOR UPDATE", sequence, err);
    if (st == LEAT_OK) sink->known = *sequence;
    if (st != LEAT_OK) leat_pg_close(&sink->pg);
    sink->pg.stop = NULL;
    return described(sink, st, err);
}

/* ---- a piece ----------------------------------------------------------------------------------------------------------- */

static void put_row(struct postgres *sink, size_t row) {
    for (size_t c = 0; c < sink->rows.schema->field_count; c++) {
        if (c) leat_put(&sink->text, "\t");
        leat_pg_put_copy_value(&sink->text, &sink->rows.columns[c], row);
    }
    leat_put(&sink->text, "\n");
}

struct keyed { const struct leat_effect *effect; size_t row; };

static int by_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    size_t least = x->effect->key_bytes < y->effect->key_bytes ? x->effect->key_bytes : y->effect->key_bytes;
    int order = memcmp(x->effect->key, y->effect->key, least);
    if (order) return order;
    if (x->effect->key_bytes != y->effect->key_bytes) return x->effect->key_bytes < y->effect->key_bytes ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static bool same_key(const struct leat_effect *a, const struct leat_effect *b) {
    return a->key_bytes == b->key_bytes && memcmp(a->key, b->key, a->key_bytes) == 0;
}

/* The last effect of each key to the staging table, and from there. */
static enum leat_status write_keys(struct postgres *sink, const struct leat_effect *effects, size_t n, struct leat_error *err) {
    struct keyed *order = leat_alloc(n * sizeof *order);
    struct leat_buffer sql = {0};
    bool gone = false;
    for (size_t i = 0; i < n; i++) order[i] = (struct keyed){&effects[i], i};
    qsort(order, n, sizeof *order, by_key);
    leat_buffer_reset(&sink->text);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && same_key(order[i].effect, order[i + 1].effect)) continue;
        bool removes = leat_effect_removes(order[i].effect->kind);
        gone |= removes;
        leat_put(&sink->text, removes ? "t\t" : "f\t");
        put_row(sink, order[i].row);
    }
    free(order);
    leat_putf(&sql, "COPY leat_stage (leat_gone, %s) FROM STDIN", sink->columns);
    enum leat_status st = leat_pg_copy_in(&sink->pg, sql.data, sink->text.data, sink->text.length, err);
    leat_buffer_reset(&sql);
    if (gone) leat_putf(&sql, "DELETE FROM %s AS t USING leat_stage AS s WHERE s.leat_gone", sink->table);
    for (size_t i = 0; gone && i < sink->context->key_count; i++) {
        const char *name = sink->context->schema->fields[sink->context->key[i]].name;
        leat_put(&sql, " AND t.");
        leat_put_sql_name(&sql, name);
        leat_put(&sql, " = s.");
        leat_put_sql_name(&sql, name);
    }
    if (gone) leat_put(&sql, "; ");
    leat_putf(&sql, "INSERT INTO %s (%s) SELECT %s FROM leat_stage WHERE NOT leat_gone ON CONFLICT (%s) DO ", sink->table, sink->columns, sink->columns,
              sink->key_columns);
    const char *between = "UPDATE SET ";
    for (size_t c = 0; c < sink->context->schema->field_count; c++) {
        bool key = false;
        for (size_t k = 0; k < sink->context->key_count; k++) key |= sink->context->key[k] == c;
        if (key) continue;
        leat_put(&sql, between);
        leat_put_sql_name(&sql, sink->context->schema->fields[c].name);
        leat_put(&sql, " = EXCLUDED.");
        leat_put_sql_name(&sql, sink->context->schema->fields[c].name);
        between = ", ";
    }
    if (between[0] == 'U') leat_put(&sql, "NOTHING");
    if (st == LEAT_OK) st = leat_pg_exec(&sink->pg, sql.data, NULL, err);
    leat_buffer_deinit(&sql);
    return st;
}

/* One of the rows that are equal to this. */
static enum leat_status delete_row(struct postgres *sink, size_t row, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_putf(&sql, "DELETE FROM %s WHERE ctid = (SELECT ctid FROM %s WHERE ", sink->table, sink->table);
    for (size_t c = 0; c < sink->rows.schema->field_count; c++) {
        if (c) leat_put(&sql, " AND ");
        leat_put_sql_name(&sql, sink->rows.schema->fields[c].name);
        leat_put(&sql, " IS NOT DISTINCT FROM ");
        leat_pg_put_literal(&sql, &sink->rows.columns[c], row);
    }
    leat_put(&sql, " LIMIT 1)");
    enum leat_status st = leat_pg_exec(&sink->pg, sql.data, NULL, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status write_rows(struct postgres *sink, const struct leat_effect *effects, size_t n, struct leat_error *err) {
    char *copy = leat_asprintf("COPY %s (%s) FROM STDIN", sink->table, sink->columns);
    enum leat_status st = LEAT_OK;
    for (size_t i = 0, next; i < n && st == LEAT_OK; i = next) {
        next = i + 1;
        if (effects[i].kind == LEAT_EFFECT_RETRACT) {
            st = delete_row(sink, i, err);
            continue;
        }
        leat_buffer_reset(&sink->text);
        for (next = i; next < n && effects[next].kind == LEAT_EFFECT_APPEND; next++) put_row(sink, next);
        st = leat_pg_copy_in(&sink->pg, copy, sink->text.data, sink->text.length, err);
    }
    free(copy);
    return st;
}

static enum leat_status write_progress(struct postgres *sink, uint64_t sequence, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_putf(&sql, "UPDATE %s SET sequence = %llu, at = now() WHERE sink = ", sink->progress, (unsigned long long)sequence);
    leat_put_sql_string(&sql, sink->context->identity);
    leat_put(&sql, "; COMMIT");
    enum leat_status st = leat_pg_exec(&sink->pg, sql.data, NULL, err);
    leat_buffer_deinit(&sql);
    return st;
}

/* One transaction. After a failure nothing of it is there; where the answer to COMMIT is missing, progress will tell. */
static enum leat_status transact(struct postgres *sink, const struct leat_effect *effects, size_t n, struct leat_error *err) {
    uint64_t found = 0;
    leat_changes_reset(&sink->rows);
    enum leat_status st = leat_effect_values(sink->context->schema, effects, n, &sink->rows, err);
    if (st == LEAT_OK) st = leat_pg_exec(&sink->pg, "BEGIN", NULL, err);
    if (st == LEAT_OK) st = read_progress(sink, " FOR UPDATE", &found, err);
    if (st == LEAT_OK && found != sink->known)
        st = leat_fail(err, LEAT_CONFLICT, "PostgreSQL: leat_progress was moved by somebody else; it is read again");
    if (st == LEAT_OK) st = sink->upserts ? write_keys(sink, effects, n, err) : write_rows(sink, effects, n, err);
    if (st == LEAT_OK) st = write_progress(sink, effects[n - 1].sequence, err);
    if (st == LEAT_OK) {
        sink->known = effects[n - 1].sequence;
        return LEAT_OK;
    }
    struct leat_error ignored;
    if (sink->pg.conn && leat_pg_exec(&sink->pg, "ROLLBACK", NULL, &ignored) != LEAT_OK) leat_pg_close(&sink->pg);
    return st;
}

static enum leat_status postgres_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop,
                                         size_t *confirmed, struct leat_error *err) {
    struct postgres *sink = (struct postgres *)base;
    *confirmed = 0;
    sink->pg.stop = stop;
    enum leat_status st = connect_to(sink, err);
    for (size_t take = count; st == LEAT_OK && *confirmed < count && !atomic_load(stop);) {
        if (take > count - *confirmed) take = count - *confirmed;
        st = transact(sink, effects + *confirmed, take, err);
        if (st == LEAT_OK) {
            *confirmed += take;
            take *= 2;
        } else if (err->bad_data && take > 1) { /* one of them is at fault */
            take /= 2;
            st = LEAT_OK;
        }
    }
    sink->pg.stop = NULL;
    if (st == LEAT_SQL && err->bad_data) {
        leat_prepend(err, "sink \"%s\"", sink->context->def->name);
        return err->status = LEAT_INVALID;
    }
    return described(sink, st, err);
}

const struct leat_sink_ops leat_sink_postgres = {
    .name = "postgres",
    .what = "writes a table of PostgreSQL",
    .guarantee = "Exactly once: the rows and how far they are (leat_progress) are one transaction. With a PRIMARY KEY the table holds what leat's "
                 "table held at some step, else its rows as they came. A row that PostgreSQL cannot hold (a NUL character, a violated constraint) is a "
                 "dead letter. A server that was put back to an earlier state gets what it lost again, as far as that is kept here (the last changes are); where it is not, leat says so.",
    .shape = LEAT_SINK_EITHER,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .open = postgres_open,
    .deliver = postgres_deliver,
    .progress = postgres_progress,
    .comes_back = true,
    .close = postgres_close,
};
