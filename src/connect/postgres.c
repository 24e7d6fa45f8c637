#include "connect/postgres.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/pg.h"

enum { SLICE_US = 100000 }; /* how late a stop may be noticed */
#define CONNECT_MAX_US INT64_C(10000000) /* who waits for a large answer need not wait as long for a server that is not there */

struct leat_postgres {
    struct leat_clock *clock;
    const atomic_int *stop; /* NULL: none */
    PGconn *conn;
};

/* libpq's message: its first line, and a hint or detail behind it. */
static enum leat_status fail(struct leat_error *err, enum leat_status status, const char *what, const char *message) {
    size_t length = strcspn(message, "\n");
    leat_fail(err, status, "PostgreSQL: %s%.*s", what, (int)(length < 600 ? length : 600), message);
    if (err && status != LEAT_INVALID) err->retriable = true;
    return status;
}

static enum leat_status fail_connection(struct leat_postgres *p, struct leat_error *err) {
    return fail(err, LEAT_IO, "", PQerrorMessage(p->conn));
}

static int64_t now(const struct leat_postgres *p) {
    return p->clock->monotonic_us(p->clock);
}

/* Waits for the socket. late: what is said at the deadline. */
static enum leat_status wait_for(struct leat_postgres *p, short events, int64_t deadline_us, const char *late, struct leat_error *err) {
    for (;;) {
        int64_t left = deadline_us - now(p);
        if (p->stop && atomic_load(p->stop)) return leat_fail(err, LEAT_CANCELLED, "PostgreSQL: stopped");
        if (left <= 0) return fail(err, LEAT_IO, "", late);
        if (p->stop && left > SLICE_US) left = SLICE_US;
        struct pollfd fd = {.fd = PQsocket(p->conn), .events = events};
        if (poll(&fd, 1, (int)((left + 999) / 1000)) > 0) return LEAT_OK;
    }
}

static enum leat_status wait_for_answer(struct leat_postgres *p, short events, int64_t timeout_us, struct leat_error *err) {
    return wait_for(p, events, now(p) + timeout_us, "the server says nothing within the time allowed", err);
}

static enum leat_status open_connection(struct leat_postgres *p, int64_t timeout_us, struct leat_error *err) {
    int64_t deadline = now(p) + (timeout_us < CONNECT_MAX_US ? timeout_us : CONNECT_MAX_US);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    char late[300];
    if (PQstatus(p->conn) == CONNECTION_BAD) return fail_connection(p, err);
    snprintf(late, sizeof late, "no connection within the time allowed to %s", PQhost(p->conn) ? PQhost(p->conn) : "the server");
    while (next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING) {
        enum leat_status st = wait_for(p, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, late, err);
        if (st != LEAT_OK) return st;
        next = PQconnectPoll(p->conn);
    }
    return next == PGRES_POLLING_OK ? LEAT_OK : fail_connection(p, err);
}

enum leat_status leat_postgres_connect(struct leat_clock *clock, const char *dsn, bool replication, int64_t timeout_us, const atomic_int *stop,
                                       struct leat_postgres **out, struct leat_error *err) {
    static const char session[] = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'";
    const char *names[] = {"dbname", "fallback_application_name", "client_encoding", replication ? "replication" : NULL, NULL};
    const char *values[] = {dsn, "leat", "UTF8", "database", NULL};
    struct leat_postgres *p = leat_alloc(sizeof *p);
    const char *why;
    *out = NULL;
    if (!leat_pg_dsn_is_whole(dsn, &why)) {
        free(p);
        return fail(err, LEAT_IO, "the dsn cannot be read: ", why);
    }
    p->clock = clock;
    p->stop = stop;
    p->conn = PQconnectStartParams(names, values, 1);
    if (!p->conn) {
        free(p);
        return leat_fail(err, LEAT_NO_MEMORY, "PostgreSQL: no memory");
    }
    enum leat_status st = open_connection(p, timeout_us, err);
    if (st == LEAT_OK && PQsetnonblocking(p->conn, 1) != 0) st = fail_connection(p, err);
    if (st == LEAT_OK) st = leat_postgres_run(p, session, timeout_us, NULL, err);
    if (st != LEAT_OK) leat_postgres_close(p);
    else *out = p;
    return st;
}

void leat_postgres_close(struct leat_postgres *p) {
    if (!p) return;
    PQfinish(p->conn);
    free(p);
}

PGconn *leat_postgres_conn(struct leat_postgres *p) {
    return p->conn;
}

static enum leat_status send_statement(struct leat_postgres *p, const char *sql, int64_t timeout_us, struct leat_error *err) {
    if (!PQsendQuery(p->conn, sql)) return fail_connection(p, err);
    for (int left; (left = PQflush(p->conn)) != 0;) {
        if (left < 0) return fail_connection(p, err);
        enum leat_status st = wait_for_answer(p, POLLIN | POLLOUT, timeout_us, err);
        if (st != LEAT_OK) return st;
        if (!PQconsumeInput(p->conn)) return fail_connection(p, err);
    }
    return LEAT_OK;
}

/* The next result of the statement; NULL behind the last. */
static enum leat_status next_result(struct leat_postgres *p, int64_t timeout_us, PGresult **out, struct leat_error *err) {
    *out = NULL;
    while (PQisBusy(p->conn)) {
        enum leat_status st = wait_for_answer(p, POLLIN, timeout_us, err);
        if (st != LEAT_OK) return st;
        if (!PQconsumeInput(p->conn)) return fail_connection(p, err);
    }
    *out = PQgetResult(p->conn);
    return LEAT_OK;
}

static enum leat_status fail_statement(struct leat_postgres *p, const PGresult *result, struct leat_error *err) {
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!message || PQstatus(p->conn) == CONNECTION_BAD) return fail_connection(p, err);
    bool ours = state && (strncmp(state, "42", 2) == 0 || strncmp(state, "22", 2) == 0 || strncmp(state, "3D", 2) == 0);
    leat_fail(err, ours ? LEAT_INVALID : LEAT_IO, "PostgreSQL: %s (%s)", message, state ? state : "?");
    if (err) err->retriable = true;
    return ours ? LEAT_INVALID : LEAT_IO;
}

/* What the statement has said is passed over; the last failure counts. */
static enum leat_status finish(struct leat_postgres *p, int64_t timeout_us, struct leat_error *err) {
    enum leat_status st = LEAT_OK, read;
    PGresult *result;
    while ((read = next_result(p, timeout_us, &result, err)) == LEAT_OK && result) {
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) st = fail_statement(p, result, err);
        PQclear(result);
    }
    return read != LEAT_OK ? read : st;
}

enum leat_status leat_postgres_run(struct leat_postgres *p, const char *sql, int64_t timeout_us, PGresult **out, struct leat_error *err) {
    PGresult *result = NULL;
    enum leat_status st = send_statement(p, sql, timeout_us, err);
    if (out) *out = NULL;
    if (st == LEAT_OK) st = next_result(p, timeout_us, &result, err);
    if (st != LEAT_OK) return st;
    ExecStatusType said = PQresultStatus(result);
    if (said == PGRES_COPY_OUT || said == PGRES_COPY_BOTH || said == PGRES_COPY_IN) {
        if (out) *out = result;
        else PQclear(result);
        return LEAT_OK; /* the caller takes what follows */
    }
    if (said != PGRES_TUPLES_OK && said != PGRES_COMMAND_OK) st = fail_statement(p, result, err);
    if (st == LEAT_OK && out) *out = result;
    else PQclear(result);
    struct leat_error ignored;
    enum leat_status ended = finish(p, timeout_us, st == LEAT_OK ? err : &ignored);
    if (st == LEAT_OK && ended != LEAT_OK && out) {
        PQclear(*out);
        *out = NULL;
    }
    return st != LEAT_OK ? st : ended;
}

enum leat_status leat_postgres_copy_begin(struct leat_postgres *p, const char *sql, int64_t timeout_us, struct leat_error *err) {
    PGresult *begun = NULL;
    enum leat_status st = leat_postgres_run(p, sql, timeout_us, &begun, err);
    bool copies = st == LEAT_OK && PQresultStatus(begun) == PGRES_COPY_OUT;
    PQclear(begun);
    return st == LEAT_OK && !copies ? leat_fail(err, LEAT_INVALID, "PostgreSQL: the statement copies nothing out") : st;
}

enum leat_status leat_postgres_copy_next(struct leat_postgres *p, int64_t timeout_us, char **out, size_t *length, struct leat_error *err) {
    for (;;) {
        int n = PQgetCopyData(p->conn, out, 1);
        *length = n > 0 ? (size_t)n : 0;
        if (n > 0) return LEAT_OK;
        *out = NULL;
        if (n < 0) {
            enum leat_status st = finish(p, timeout_us, err);
            return st == LEAT_OK ? LEAT_END : st;
        }
        enum leat_status st = wait_for_answer(p, POLLIN, timeout_us, err);
        if (st != LEAT_OK) return st;
        if (!PQconsumeInput(p->conn)) return fail_connection(p, err);
    }
}

enum leat_status leat_postgres_copy_each(struct leat_postgres *p, const char *sql, int64_t timeout_us,
                                         enum leat_status (*take)(void *, const char *row, size_t length, struct leat_error *), void *context,
                                         struct leat_error *err) {
    char *row;
    size_t length;
    enum leat_status st = leat_postgres_copy_begin(p, sql, timeout_us, err);
    while (st == LEAT_OK && (st = leat_postgres_copy_next(p, timeout_us, &row, &length, err)) == LEAT_OK) {
        st = take(context, row, length, err);
        PQfreemem(row);
    }
    return st == LEAT_END ? LEAT_OK : st;
}
