/* PostgreSQL by libpq, with a deadline and a stop flag for every wait. Nothing here prints a connection string. */
#ifndef LEAT_CONNECT_PG_H
#define LEAT_CONNECT_PG_H

#include <stdatomic.h>

#include <libpq-fe.h>

#include "base/env.h"
#include "data/schema.h"

struct leat_pg {
    struct leat_env *env;
    PGconn *conn;               /* NULL: not connected */
    int64_t timeout_us;         /* of connecting, and of each answer */
    const atomic_int *stop;     /* a wait ends soon after it is set: CANCELLED. NULL: never */
};
/* False: libpq would not read it as it is meant, and say so in words that may be the password's. *why: what to do. */
bool leat_pg_dsn_is_whole(const char *dsn, const char **why);
/* dsn: keywords or a URI. Errors IO: it cannot be reached or does not let us in. A second call is OK at once while the connection holds. */
enum leat_status leat_pg_connect(struct leat_pg *, const char *dsn, struct leat_error *) LEAT_MUST;
void leat_pg_close(struct leat_pg *);
/* Runs statements without parameters. *result (may be NULL): of the last one; PQclear. Errors: IO, the connection then closed; SQL the server
 * says no, err->bad_data where values are at fault (SQLSTATE classes 22 and 23); BUSY worth trying again (class 40 and the like). */
enum leat_status leat_pg_exec(struct leat_pg *, const char *sql, PGresult **result, struct leat_error *) LEAT_MUST;
/* COPY ... FROM STDIN in text format with these bytes. Errors as leat_pg_exec. */
enum leat_status leat_pg_copy_in(struct leat_pg *, const char *sql, const char *bytes, size_t n, struct leat_error *) LEAT_MUST;
/* A value for COPY's text format (NULL: \N), and the type that a column is created with. */
void leat_pg_put_copy_value(struct leat_buffer *, const struct leat_column *, size_t row);
void leat_pg_put_type(struct leat_buffer *, struct leat_type);
void leat_pg_put_literal(struct leat_buffer *, const struct leat_column *, size_t row); /* 'text'::type, NULL */

#endif
