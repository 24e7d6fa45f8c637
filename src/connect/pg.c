/* PostgreSQL by libpq's non-blocking calls. */
#include "connect/pg.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "data/value_text.h"

#define SLICE_MS 100 /* how late a stop may be noticed */

static enum leat_status fail(struct leat_pg *pg, struct leat_error *err, const char *what) {
    char text[500];
    const char *said = pg->conn ? PQerrorMessage(pg->conn) : "out of memory";
    size_t length = strcspn(said, "\n");
    if (length >= sizeof text) length = sizeof text - 1;
    memcpy(text, said, length);
    text[length] = 0;
    leat_pg_close(pg);
    leat_fail(err, LEAT_IO, "PostgreSQL: %s%s%s", what, *text ? ": " : "", text);
    err->retriable = true;
    return LEAT_IO;
}

static enum leat_status cancelled(struct leat_pg *pg, struct leat_error *err) {
    leat_pg_close(pg);
    return leat_fail(err, LEAT_CANCELLED, "PostgreSQL: stopped");
}

/* Waits until the socket is ready. OK: look again; the caller's state machine says what for. */
static enum leat_status wait_socket(struct leat_pg *pg, short events, int64_t deadline_us, struct leat_error *err) {
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = events};
    for (;;) {
        if (pg->stop && atomic_load(pg->stop)) return cancelled(pg, err);
        if (pg->env->clock->monotonic_us(pg->env->clock) > deadline_us) return fail(pg, err, "no answer in time");
        if (fd.fd < 0) return fail(pg, err, "the connection is gone");
        if (poll(&fd, 1, SLICE_MS) > 0) return LEAT_OK;
    }
}

static int64_t deadline(const struct leat_pg *pg) {
    return pg->env->clock->monotonic_us(pg->env->clock) + pg->timeout_us;
}

static void ignore_notice(void *context, const PGresult *notice) {
    (void)context, (void)notice;
}

/* A password that is not quoted or escaped as it must be ends up in the host, the port or what libpq complains of. */
bool leat_pg_dsn_is_whole(const char *dsn, const char **why) {
    static const char uri[] = "user and password in a URI are percent-encoded (@ is %40, / is %2F, % is %25)",
                      keywords[] = "values with blanks, quotes or backslashes stand in '...', with \\' and \\\\ in them";
    bool is_uri = strncmp(dsn, "postgresql://", 13) == 0 || strncmp(dsn, "postgres://", 11) == 0;
    if (!is_uri && !strchr(dsn, '=')) return true; /* a database's name */
    PQconninfoOption *parsed = PQconninfoParse(dsn, NULL);
    bool whole = parsed != NULL;
    for (const PQconninfoOption *o = parsed; o && o->keyword && whole; o++) {
        if (!o->val) continue;
        if (strcmp(o->keyword, "port") == 0) whole = strspn(o->val, "0123456789,") == strlen(o->val);
        if (strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0) whole = *o->val == '@' || !strchr(o->val, '@'); /* @: an abstract socket */
    }
    PQconninfoFree(parsed);
    *why = is_uri ? uri : keywords;
    return whole;
}

enum leat_status leat_pg_connect(struct leat_pg *pg, const char *dsn, struct leat_error *err) {
    const char *const keywords[] = {"dbname", "application_name", "client_encoding", "options", NULL};
    /* what values look like must not depend on the server's settings */
    const char *const values[] = {dsn, "leat", "UTF8", "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c standard_conforming_strings=on", NULL};
    if (pg->conn && PQstatus(pg->conn) == CONNECTION_OK) return LEAT_OK;
    leat_pg_close(pg);
    const char *why;
    if (!leat_pg_dsn_is_whole(dsn, &why)) {
        leat_fail(err, LEAT_IO, "PostgreSQL: the dsn cannot be read: %s", why);
        err->retriable = true;
        return LEAT_IO;
    }
    pg->conn = PQconnectStartParams(keywords, values, 1);
    if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD) return fail(pg, err, "cannot connect");
    int64_t until = deadline(pg);
    short events = POLLOUT;
    for (;;) {
        enum leat_status st = wait_socket(pg, events, until, err);
        if (st != LEAT_OK) return st;
        switch (PQconnectPoll(pg->conn)) {
        case PGRES_POLLING_OK:
            PQsetnonblocking(pg->conn, 1);
            PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);
            return LEAT_OK;
        case PGRES_POLLING_READING: events = POLLIN; break;
        case PGRES_POLLING_WRITING: events = POLLOUT; break;
        default: return fail(pg, err, "cannot connect");
        }
    }
}

void leat_pg_close(struct leat_pg *pg) {
    if (pg->conn) PQfinish(pg->conn);
    pg->conn = NULL;
}

static enum leat_status flush(struct leat_pg *pg, struct leat_error *err) {
    int64_t until = deadline(pg);
    for (int left; (left = PQflush(pg->conn)) != 0;) {
        if (left < 0) return fail(pg, err, "sending");
        enum leat_status st = wait_socket(pg, POLLIN | POLLOUT, until, err);
        if (st != LEAT_OK) return st;
        if (!PQconsumeInput(pg->conn)) return fail(pg, err, "sending");
    }
    return LEAT_OK;
}

/* The next result of what was sent; NULL: there are no more. */
static enum leat_status next_result(struct leat_pg *pg, PGresult **result, struct leat_error *err) {
    int64_t until = deadline(pg);
    *result = NULL;
    while (PQisBusy(pg->conn)) {
        enum leat_status st = wait_socket(pg, POLLIN, until, err);
        if (st != LEAT_OK) return st;
        if (!PQconsumeInput(pg->conn)) return fail(pg, err, "waiting for an answer");
    }
    *result = PQgetResult(pg->conn);
    return LEAT_OK;
}

static enum leat_status refused(const PGresult *result, struct leat_error *err) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE), *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
               *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    if (!state) state = "";
    bool data = strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0;
    bool again = strncmp(state, "40", 2) == 0 || strncmp(state, "53", 2) == 0 || strncmp(state, "55", 2) == 0 || strncmp(state, "57", 2) == 0;
    leat_fail(err, again ? LEAT_BUSY : LEAT_SQL, "PostgreSQL: %s (%s)%s%.200s", text ? text : "an error", state, detail ? ": " : "", detail ? detail : "");
    err->bad_data = data;
    err->retriable = again;
    return again ? LEAT_BUSY : LEAT_SQL;
}

static bool went_well(const PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN || status == PGRES_EMPTY_QUERY;
}

/* Takes all results; the first error wins, and the last result is kept. stop_at_copy: until the server waits for COPY's data. */
static enum leat_status take_results(struct leat_pg *pg, bool stop_at_copy, PGresult **last, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (;;) {
        PGresult *result;
        enum leat_status next = next_result(pg, &result, st == LEAT_OK ? err : &(struct leat_error){0});
        if (next != LEAT_OK) return st == LEAT_OK ? next : st;
        if (!result) return st;
        bool copy = PQresultStatus(result) == PGRES_COPY_IN;
        if (!went_well(result) && st == LEAT_OK) st = refused(result, err);
        if (last) {
            PQclear(*last);
            *last = result;
        } else {
            PQclear(result);
        }
        if (copy && stop_at_copy) return st;
        if (copy) PQputCopyEnd(pg->conn, "no data");
    }
}

enum leat_status leat_pg_exec(struct leat_pg *pg, const char *sql, PGresult **result, struct leat_error *err) {
    PGresult *last = NULL;
    if (!pg->conn) return leat_fail(err, LEAT_IO, "PostgreSQL: not connected");
    if (!PQsendQuery(pg->conn, sql)) return fail(pg, err, "sending");
    enum leat_status st = flush(pg, err);
    if (st == LEAT_OK) st = take_results(pg, false, &last, err);
    if (st == LEAT_OK && result)
        *result = last;
    else
        PQclear(last);
    return st;
}

enum leat_status leat_pg_copy_in(struct leat_pg *pg, const char *sql, const char *bytes, size_t n, struct leat_error *err) {
    enum { CHUNK = 64 << 10 };
    if (!pg->conn) return leat_fail(err, LEAT_IO, "PostgreSQL: not connected");
    if (!PQsendQuery(pg->conn, sql)) return fail(pg, err, "sending");
    enum leat_status st = flush(pg, err);
    PGresult *last = NULL;
    if (st == LEAT_OK) st = take_results(pg, true, &last, err);
    bool ready = st == LEAT_OK && PQresultStatus(last) == PGRES_COPY_IN;
    PQclear(last);
    if (!ready) return st == LEAT_OK ? leat_fail(err, LEAT_SQL, "PostgreSQL: COPY did not begin") : st;
    for (size_t at = 0; at < n && st == LEAT_OK;) {
        size_t take = n - at < CHUNK ? n - at : CHUNK;
        int put = PQputCopyData(pg->conn, bytes + at, (int)take);
        if (put < 0) return fail(pg, err, "sending");
        if (put > 0) at += take; /* else there was no room: after flushing, the same again */
        st = flush(pg, err);
    }
    if (st != LEAT_OK) return st;
    if (PQputCopyEnd(pg->conn, NULL) < 0) return fail(pg, err, "sending");
    if ((st = flush(pg, err)) == LEAT_OK) st = take_results(pg, false, NULL, err);
    return st;
}

/* ---- values ------------------------------------------------------------------------------------------------------------ */

static void put_hex(struct leat_buffer *out, const struct leat_string *s) {
    const char *bytes = leat_string_data(s);
    leat_put(out, "\\x");
    for (uint32_t i = 0; i < s->length; i++) leat_putf(out, "%02x", (unsigned char)bytes[i]);
}

/* Text of a value as PostgreSQL reads it. */
static void put_text(struct leat_buffer *out, const struct leat_column *column, size_t row) {
    if (column->type.kind == LEAT_BLOB)
        put_hex(out, &((const struct leat_string *)column->data)[row]);
    else
        leat_put_value(out, column, row);
}

void leat_pg_put_copy_value(struct leat_buffer *out, const struct leat_column *column, size_t row) {
    if (leat_is_null(column, row)) {
        leat_put(out, "\\N");
        return;
    }
    if (!leat_type_is_string(column->type)) {
        leat_put_value(out, column, row);
        return;
    }
    struct leat_buffer text = {0};
    put_text(&text, column, row);
    for (size_t i = 0, plain = 0; i <= text.length; i++) {
        char c = i < text.length ? text.data[i] : '\t';
        if (c != '\\' && c != '\t' && c != '\n' && c != '\r') continue;
        leat_putn(out, text.data + plain, i - plain);
        if (i < text.length) leat_put(out, c == '\\' ? "\\\\" : c == '\t' ? "\\t" : c == '\n' ? "\\n" : "\\r");
        plain = i + 1;
    }
    leat_buffer_deinit(&text);
}

void leat_pg_put_literal(struct leat_buffer *out, const struct leat_column *column, size_t row) {
    struct leat_buffer text = {0};
    if (leat_is_null(column, row)) {
        leat_put(out, "NULL::");
    } else {
        leat_put(&text, "");
        put_text(&text, column, row);
        leat_put_sql_string(out, text.data);
        leat_put(out, "::");
    }
    leat_pg_put_type(out, column->type);
    leat_buffer_deinit(&text);
}

void leat_pg_put_type(struct leat_buffer *out, struct leat_type type) {
    static const char *const names[] = {
        [LEAT_BOOLEAN] = "boolean",     [LEAT_TINYINT] = "smallint",          [LEAT_SMALLINT] = "smallint",    [LEAT_INTEGER] = "integer",
        [LEAT_BIGINT] = "bigint",       [LEAT_HUGEINT] = "numeric(39,0)",     [LEAT_UTINYINT] = "smallint",    [LEAT_USMALLINT] = "integer",
        [LEAT_UINTEGER] = "bigint",     [LEAT_UBIGINT] = "numeric(20,0)",     [LEAT_UHUGEINT] = "numeric(39,0)", [LEAT_FLOAT] = "real",
        [LEAT_DOUBLE] = "double precision", [LEAT_VARCHAR] = "text",          [LEAT_BLOB] = "bytea",           [LEAT_DATE] = "date",
        [LEAT_TIME] = "time",           [LEAT_TIMESTAMP] = "timestamp",       [LEAT_TIMESTAMPTZ] = "timestamptz", [LEAT_INTERVAL] = "interval",
        [LEAT_UUID] = "uuid",
    };
    if (type.kind == LEAT_DECIMAL)
        leat_putf(out, "numeric(%d,%d)", type.width, type.scale);
    else
        leat_put(out, names[type.kind]);
}
