/* Rows of a database, whichever it is, read one by one by a statement: what reference sources and extraction by a cursor (extract.h) read from.
 * Values come as text that their declared type reads, a BLOB's as bytes. Every call has a deadline, the source's option `timeout`, and ends soon with
 * CANCELLED once `stop` of open is set (by whatever thread; borrowed; NULL: none). Nothing here prints a connection string. Thread: one at a time. */
#ifndef LEAT_CONNECT_ROWS_H
#define LEAT_CONNECT_ROWS_H

#include <stdatomic.h>

#include "project/project.h"

struct leat_row_value { const char *data; size_t length; }; /* data NULL: NULL */

/* Which rows: all, or those whose cursor (a column's index; -1: none) is not NULL and not below `from` (as text; NULL: all), in its order. */
struct leat_rows_query { int cursor; const char *from; };

struct leat_database; /* an open connection */
struct leat_database_ops {
    const char *name; /* the connector's */
    /* source: borrowed, outlives the connection. Errors: IO, retriable. */
    enum leat_status (*open)(const struct leat_source *, const atomic_int *stop, struct leat_database **out, struct leat_error *);
    /* Runs the statement; what a former one still had to give is dropped. Errors: INVALID what the database says of it; IO; both retriable. */
    enum leat_status (*begin)(struct leat_database *, const struct leat_rows_query *, struct leat_error *);
    /* The next row, the source's declared columns in their order; valid until the next call. END: there are no more. */
    enum leat_status (*next)(struct leat_database *, const struct leat_row_value **values, struct leat_error *);
    /* All rows appended to `out` at once, where the database's types allow it; else UNSUPPORTED, nothing appended, and begin does it.
     * NULL: never. */
    enum leat_status (*columns)(struct leat_database *, struct leat_changes *out, struct leat_error *);
    void (*close)(struct leat_database *);
};
struct leat_database {
    const struct leat_database_ops *ops;
    bool times_are_text; /* it compares times as texts, in which '2026-01-31 10:00' is before '2026-01-31T00:00': `from` is a day */
};
extern const struct leat_database_ops leat_database_cassandra, leat_database_odbc, leat_database_postgres;
const struct leat_database_ops *leat_database_find(const char *connector); /* NULL: no database */

/* The database's name of a declared column. */
const char *leat_source_column(const struct leat_source *, size_t column);
bool leat_source_has_key(const struct leat_source *, size_t column); /* is it of the primary key? */
/* SELECT ... FROM the source's table or query, with names between these quotes. */
void leat_rows_put_select(struct leat_buffer *sql, const struct leat_source *, const struct leat_rows_query *, const char *quote);
/* "schema.table", each part quoted. */
void leat_rows_put_table(struct leat_buffer *sql, const char *table, const char *quote);

/* Cuts a row of more than LEAT_RECORD_BYTES_MAX, of whatever size the database sends, to one that is just too long. */
void leat_row_bound(struct leat_row_value *values, size_t count);
/* A value as JSON; the row as an object; the row as a line of CSV without a header. */
void leat_row_put_value(struct leat_buffer *, struct leat_type, struct leat_row_value);
void leat_row_put_json(struct leat_buffer *, const struct leat_source *, const struct leat_row_value *values, const int *columns, size_t count); /* these; NULL: the first `count` */
void leat_row_put_csv(struct leat_buffer *, const struct leat_source *, const struct leat_row_value *values);

#endif
