/* The process that speaks to an ODBC driver; see odbc.h. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sql.h>
#include <sqlext.h>

#include "base/child.h"
#include "base/limits.h"
#include "connect/odbc.h"
#include "data/utf8.h"

enum { FOREVER_S = 1 << 20, PIECE_BYTES = 64 << 10, SEND_BYTES = 64 << 10, ALARM_MARGIN_S = 30 };

struct odbc_child {
    struct leat_child_pipe parent;
    SQLHENV environment;
    SQLHDBC connection;
    uint32_t timeout_s;
    struct leat_buffer out;
    char *piece;
    bool gone; /* the parent: there is nothing more to do */
};

/* ---- Frames ---- */

static void flush(struct odbc_child *c) {
    if (!c->gone && c->out.length && leat_child_write(&c->parent, c->out.data, c->out.length, INT64_C(1000000) * FOREVER_S, NULL) != LEAT_OK) c->gone = true;
    leat_buffer_reset(&c->out);
}

static void take_bytes(struct odbc_child *c, void *to, size_t n) {
    for (char *at = to, *end = at + n; at < end && !c->gone;) {
        size_t got;
        if (leat_child_read(&c->parent, at, (size_t)(end - at), &got, INT64_C(1000000) * FOREVER_S, NULL) != LEAT_OK) c->gone = true;
        at += got;
    }
}

static size_t begin_frame(struct odbc_child *c, uint32_t kind) {
    struct leat_odbc_frame frame = {.kind = kind};
    leat_putn(&c->out, (const char *)&frame, sizeof frame);
    return c->out.length;
}

static void end_frame(struct odbc_child *c, size_t begin) {
    uint32_t length = (uint32_t)(c->out.length - begin);
    memcpy(c->out.data + begin - sizeof length, &length, sizeof length);
}

static void say(struct odbc_child *c, uint32_t kind, const char *state, const char *text) {
    size_t begin = begin_frame(c, kind);
    leat_put(&c->out, state);
    leat_put(&c->out, text);
    end_frame(c, begin);
    flush(c);
}

/* What the driver says of its failure. */
static void say_failed(struct odbc_child *c, SQLSMALLINT kind, SQLHANDLE handle) {
    SQLCHAR state[6] = "HY000", text[1024] = "the driver says no more";
    SQLINTEGER number;
    SQLSMALLINT length;
    if (!SQL_SUCCEEDED(SQLGetDiagRec(kind, handle, 1, state, &number, text, sizeof text, &length))) memcpy(state, "HY000", 6);
    say(c, LEAT_ODBC_ERROR, (const char *)state, (const char *)text);
}

/* ---- Values ---- */

/* UTF-16 to UTF-8; half a pair becomes what no text is. */
static void put_utf8(struct leat_buffer *out, const SQLWCHAR *text, size_t count) {
    char bytes[4];
    for (size_t i = 0; i < count; i++) {
        uint32_t point = text[i];
        bool high = point >= 0xD800 && point < 0xDC00, pair = high && i + 1 < count && text[i + 1] >= 0xDC00 && text[i + 1] < 0xE000;
        if (pair) point = 0x10000 + ((point - 0xD800) << 10) + (text[++i] - 0xDC00u);
        if (!pair && point >= 0xD800 && point < 0xE000) leat_putn(out, "\xFF", 1);
        else leat_putn(out, bytes, leat_utf8_put(bytes, point));
    }
}

/* So many bytes of UTF-16; returns how many of them were left at the piece's start for the next. */
static size_t put_piece(struct odbc_child *c, size_t bytes, bool more) {
    const SQLWCHAR *text = (const SQLWCHAR *)(const void *)c->piece;
    size_t count = bytes / sizeof *text;
    bool half = more && count && text[count - 1] >= 0xD800 && text[count - 1] < 0xDC00;
    put_utf8(&c->out, text, count - half);
    if (half) memmove(c->piece, &text[count - 1], sizeof *text);
    return half ? sizeof *text : 0;
}

/* Appends the value's length and bytes; what is beyond *room, which becomes less by them, is left out. False: the driver failed. */
static bool put_column(struct odbc_child *c, SQLHSTMT statement, SQLUSMALLINT column, char kind, size_t *room) {
    SQLSMALLINT type = kind == LEAT_ODBC_BYTES ? SQL_C_BINARY : kind == LEAT_ODBC_WIDE_TEXT ? SQL_C_WCHAR : SQL_C_CHAR;
    size_t end = kind == LEAT_ODBC_BYTES ? 0 : kind == LEAT_ODBC_WIDE_TEXT ? sizeof(SQLWCHAR) : 1; /* the terminator's bytes */
    int32_t length = -1;
    size_t at = c->out.length, begin = at + sizeof length;
    leat_putn(&c->out, (const char *)&length, sizeof length);
    size_t kept = 0; /* bytes at the piece's start: half a pair, the other half of which comes with the next */
    for (;;) {
        SQLLEN indicator;
        size_t most = PIECE_BYTES - kept;
        SQLRETURN st = SQLGetData(statement, column, type, c->piece + kept, (SQLLEN)most, &indicator);
        if (st == SQL_NO_DATA) break;
        if (!SQL_SUCCEEDED(st)) return false;
        if (indicator == SQL_NULL_DATA) return true;
        bool more = indicator == SQL_NO_TOTAL || (size_t)indicator > most - end;
        size_t got = more ? most - end : (size_t)indicator;
        if (kind == LEAT_ODBC_WIDE_TEXT) kept = put_piece(c, kept + got, more);
        else leat_putn(&c->out, c->piece, got);
        if (c->out.length - begin > *room) c->out.length = begin + *room;
        if (st == SQL_SUCCESS) break;
    }
    length = (int32_t)(c->out.length - begin);
    *room -= (size_t)length;
    memcpy(c->out.data + at, &length, sizeof length);
    return true;
}

static bool send_rows(struct odbc_child *c, SQLHSTMT statement, const char *kinds, uint32_t count) {
    SQLRETURN st = SQL_NO_DATA;
    alarm(c->timeout_s + ALARM_MARGIN_S);
    while (!c->gone && SQL_SUCCEEDED(st = SQLFetch(statement))) {
        size_t begin = begin_frame(c, LEAT_ODBC_ROW), room = LEAT_RECORD_BYTES_MAX + 1; /* as leat_row_bound */
        for (uint32_t i = 0; i < count; i++) {
            if (put_column(c, statement, (SQLUSMALLINT)(i + 1), kinds[i], &room)) continue;
            c->out.length = begin - sizeof(struct leat_odbc_frame);
            return false;
        }
        end_frame(c, begin);
        if (c->out.length < SEND_BYTES) continue;
        alarm(0); /* the parent takes them when it can */
        flush(c);
        alarm(c->timeout_s + ALARM_MARGIN_S);
    }
    alarm(0);
    return st == SQL_NO_DATA;
}

static void select_rows(struct odbc_child *c, const char *request, uint32_t length) {
    uint32_t count;
    SQLHSTMT statement;
    memcpy(&count, request, sizeof count);
    const char *kinds = request + sizeof count, *sql = kinds + count;
    if (!SQL_SUCCEEDED(SQLAllocHandle(SQL_HANDLE_STMT, c->connection, &statement))) {
        say_failed(c, SQL_HANDLE_DBC, c->connection);
        return;
    }
    SQLSetStmtAttr(statement, SQL_ATTR_QUERY_TIMEOUT, (SQLPOINTER)(uintptr_t)c->timeout_s, 0); /* where the driver can */
    alarm(c->timeout_s + ALARM_MARGIN_S);
    SQLRETURN st = SQLExecDirect(statement, (SQLCHAR *)(uintptr_t)sql, (SQLINTEGER)(length - sizeof count - count));
    alarm(0);
    bool all = (SQL_SUCCEEDED(st) || st == SQL_NO_DATA) && send_rows(c, statement, kinds, count);
    if (all) say(c, LEAT_ODBC_END, "", "");
    else say_failed(c, SQL_HANDLE_STMT, statement);
    SQLFreeHandle(SQL_HANDLE_STMT, statement);
}

static bool connect_to(struct odbc_child *c, const char *request) {
    SQLCHAR said[1024], quote[8] = "\"", name[64] = "";
    SQLSMALLINT length;
    memcpy(&c->timeout_s, request, sizeof c->timeout_s);
    SQLAllocHandle(SQL_HANDLE_ENV, SQL_NULL_HANDLE, &c->environment);
    SQLSetEnvAttr(c->environment, SQL_ATTR_ODBC_VERSION, (SQLPOINTER)(uintptr_t)SQL_OV_ODBC3, 0);
    SQLAllocHandle(SQL_HANDLE_DBC, c->environment, &c->connection);
    SQLSetConnectAttr(c->connection, SQL_ATTR_LOGIN_TIMEOUT, (SQLPOINTER)(uintptr_t)(c->timeout_s < 10 ? c->timeout_s : 10), 0);
    SQLSetConnectAttr(c->connection, SQL_ATTR_ACCESS_MODE, (SQLPOINTER)(uintptr_t)SQL_MODE_READ_ONLY, 0);
    alarm(c->timeout_s + ALARM_MARGIN_S);
    SQLRETURN st = SQLDriverConnect(c->connection, NULL, (SQLCHAR *)(uintptr_t)(request + sizeof c->timeout_s), SQL_NTS, said, sizeof said, &length,
                                    SQL_DRIVER_NOPROMPT);
    alarm(0);
    if (!SQL_SUCCEEDED(st)) {
        say_failed(c, SQL_HANDLE_DBC, c->connection);
        return false;
    }
    if (!SQL_SUCCEEDED(SQLGetInfo(c->connection, SQL_IDENTIFIER_QUOTE_CHAR, quote, sizeof quote, &length)) || *quote == ' ') *quote = 0;
    if (!SQL_SUCCEEDED(SQLGetInfo(c->connection, SQL_DBMS_NAME, name, sizeof name, &length))) *name = 0;
    size_t begin = begin_frame(c, LEAT_ODBC_QUOTE);
    leat_putn(&c->out, (const char *)quote, strlen((const char *)quote) + 1);
    leat_put(&c->out, (const char *)name);
    end_frame(c, begin);
    flush(c);
    return true;
}

int leat_odbc_main(void) {
    struct odbc_child c = {.parent = leat_child_parent(), .piece = leat_alloc(PIECE_BYTES)};
    leat_child_leaves_no_core();
    while (!c.gone) {
        struct leat_odbc_frame frame = {0};
        take_bytes(&c, &frame, sizeof frame);
        if (c.gone || frame.length > LEAT_ODBC_FRAME_MAX || frame.length < sizeof(uint32_t)) break;
        char *request = leat_alloc(frame.length + 1);
        take_bytes(&c, request, frame.length);
        if (!c.gone && frame.kind == LEAT_ODBC_CONNECT && !connect_to(&c, request)) c.gone = true;
        if (!c.gone && frame.kind == LEAT_ODBC_SELECT) select_rows(&c, request, frame.length);
        free(request);
    }
    return 0;
}
