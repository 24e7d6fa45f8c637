/* A reference in a PostgreSQL database: a table or a query, read whole by COPY in one statement, which sees one moment. It comes as CSV with a header
 * and is decoded like a file of that, so that a value means the same wherever it stood. */
#include "engine/reference_internal.h"

#include "connect/postgres.h"

#define CONNECT_TIMEOUT_US INT64_C(10000000)

/* A column as text that its declared type reads back; a blob as DuckDB spells one. */
static void put_column(struct leat_buffer *sql, const struct leat_source *def, size_t i) {
    const char *renamed = def->source_names ? def->source_names[i] : NULL, *name = renamed ? renamed : def->schema.fields[i].name;
    bool blob = def->schema.fields[i].type.kind == LEAT_BLOB;
    leat_put(sql, blob ? "regexp_replace(encode(" : "");
    leat_put_sql_name(sql, name);
    if (!blob) return;
    leat_put(sql, ", 'hex'), '(..)', '\\x\\1', 'g') AS ");
    leat_put_sql_name(sql, name);
}

static void put_copy(struct leat_buffer *sql, const struct leat_source *def) {
    const char *query = leat_source_option(def, "query");
    leat_put(sql, "COPY (SELECT ");
    for (size_t i = 0; i < def->schema.field_count; i++) {
        leat_put(sql, i ? ", " : "");
        put_column(sql, def, i);
    }
    leat_put(sql, " FROM ");
    if (query) leat_putf(sql, "(%s\n) AS leat_query", query);
    else leat_postgres_put_table(sql, leat_source_option(def, "table"));
    leat_put(sql, ") TO STDOUT (FORMAT csv, HEADER true)");
}

enum leat_status leat_reference_copy(struct leat_reference *r, struct leat_buffer *content, struct leat_error *err) {
    struct leat_postgres *server;
    struct leat_buffer sql = {0};
    int64_t timeout = leat_source_option_int(r->def, "timeout", 60000000);
    enum leat_status st = leat_postgres_connect(leat_clock_real(), leat_source_option(r->def, "dsn"), false,
                                                timeout < CONNECT_TIMEOUT_US ? timeout : CONNECT_TIMEOUT_US, &server, err);
    if (st != LEAT_OK) return st;
    put_copy(&sql, r->def);
    st = leat_postgres_copy(server, sql.data, timeout, content, err);
    leat_buffer_deinit(&sql);
    leat_postgres_close(server);
    return st;
}
