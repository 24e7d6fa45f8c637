/* A connection to PostgreSQL by libpq that never waits without a deadline. Thread: one connection by one thread at a time. */
#ifndef LEAT_CONNECT_POSTGRES_H
#define LEAT_CONNECT_POSTGRES_H

#include <stdatomic.h>

#include <libpq-fe.h>

#include "base/env.h"

struct leat_postgres;
/* dsn: "postgresql://..." or "host=... dbname=..."; never part of an error. replication: one that can stream changes, too. Sessions
 * speak UTF-8, UTC, ISO dates and exact floating-point numbers. timeout_us: for the connection (at most 10 s), and for each first answer. stop: once it is
 * set (by whatever thread), every call ends soon with CANCELLED; NULL: none. Errors: IO, retriable (also a wrong password: it may be put right). */
enum leat_status leat_postgres_connect(struct leat_clock *, const char *dsn, bool replication, int64_t timeout_us, const atomic_int *stop,
                                       struct leat_postgres **out, struct leat_error *) LEAT_MUST;
void leat_postgres_close(struct leat_postgres *);
PGconn *leat_postgres_conn(struct leat_postgres *);
/* Runs one statement. timeout_us: without a word from the server. *out: its result (PQclear), NULL on failure; out may be NULL. Errors: INVALID what the server says of
 * the statement, SQL state in parentheses; IO the connection, retriable. */
enum leat_status leat_postgres_run(struct leat_postgres *, const char *sql, int64_t timeout_us, PGresult **out, struct leat_error *) LEAT_MUST;
/* Begins COPY ... TO STDOUT; then its rows as they come, the caller's (PQfreemem); END behind the last. A connection that has not come to the END can
 * only be closed. timeout_us: without a byte. */
enum leat_status leat_postgres_copy_begin(struct leat_postgres *, const char *sql, int64_t timeout_us, struct leat_error *) LEAT_MUST;
enum leat_status leat_postgres_copy_next(struct leat_postgres *, int64_t timeout_us, char **row, size_t *length, struct leat_error *) LEAT_MUST;
/* Both: each row is lent to `take`. */
enum leat_status leat_postgres_copy_each(struct leat_postgres *, const char *sql, int64_t timeout_us,
                                         enum leat_status (*take)(void *, const char *row, size_t length, struct leat_error *), void *,
                                         struct leat_error *) LEAT_MUST;

#endif
