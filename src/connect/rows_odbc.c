/* Rows of a database by ODBC; the driver runs in a process of its own (odbc.h). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/child.h"
#include "base/limits.h"
#include "connect/odbc.h"
#include "connect/rows.h"

struct odbc_rows {
    struct leat_database base;
    const struct leat_source *source;
    char *dsn;
    int64_t timeout_us;
    const atomic_int *stop;
    struct leat_child_pipe child;
    char quote[8];
    bool selecting; /* the statement has rows left */
    struct leat_buffer in;
    size_t at; /* of `in` read */
    struct leat_row_value *values;
};

static struct odbc_rows *self(struct leat_database *rows) {
    return (struct odbc_rows *)(void *)rows;
}

/* ---- What the driver says, without the password ---- */

/* The value of PWD or PASSWORD in the connection string; length 0: there is none. */
static const char *find_password(const char *dsn, size_t *length) {
    *length = 0;
    for (const char *at = dsn; *at;) {
        at += strspn(at, " \t");
        size_t key = strcspn(at, "=;");
        if (at[key] != '=') {
            at += key + (at[key] == ';');
            continue;
        }
        const char *value = at + key + 1;
        value += strspn(value, " \t");
        while (key && strchr(" \t", at[key - 1])) key--;
        bool braces = *value == '{', found = (key == 3 && strncasecmp(at, "pwd", 3) == 0) || (key == 8 && strncasecmp(at, "password", 8) == 0);
        value += braces;
        size_t n = strcspn(value, braces ? "}" : ";");
        if (found) return *length = n, value;
        at = value + n;
        at += strcspn(at, ";");
        at += *at == ';';
    }
    return "";
}

static void put_without_password(struct leat_buffer *out, const char *text, const char *dsn) {
    size_t length;
    const char *password = find_password(dsn, &length);
    while (*text) {
        bool secret = length && strncmp(text, password, length) == 0;
        if (secret) leat_put(out, "***");
        else leat_putn(out, *text == '\n' ? " " : text, 1);
        text += secret ? length : 1;
    }
}

static enum leat_status fail_said(struct odbc_rows *r, const char *said, size_t length, struct leat_error *err) {
    struct leat_buffer text = {0};
    char *plain = leat_strndup(said, length);
    put_without_password(&text, length > 5 ? plain + 5 : "the driver says nothing", r->dsn);
    bool ours = strncmp(plain, "42", 2) == 0 || strncmp(plain, "22", 2) == 0 || strncmp(plain, "07", 2) == 0 || strncmp(plain, "IM", 2) == 0;
    enum leat_status st = leat_fail(err, ours ? LEAT_INVALID : LEAT_IO, "ODBC: %.600s (%.5s)", text.data, plain);
    if (err) err->retriable = true;
    leat_buffer_deinit(&text);
    free(plain);
    return st;
}

/* ---- Frames ---- */

/* How the driver's process ended, as leat_child_close says it. */
static int hang_up(struct odbc_rows *r) {
    int code = leat_child_close(&r->child);
    r->selecting = false;
    leat_buffer_reset(&r->in);
    r->at = 0;
    return code;
}

static enum leat_status send_frame(struct odbc_rows *r, uint32_t kind, const struct leat_buffer *body, struct leat_error *err) {
    struct leat_odbc_frame frame = {kind, (uint32_t)body->length};
    enum leat_status st = leat_child_write(&r->child, &frame, sizeof frame, r->timeout_us, err);
    if (st == LEAT_OK) st = leat_child_write(&r->child, body->data, body->length, r->timeout_us, err);
    return st;
}

/* At least `want` bytes from r->at on. */
static enum leat_status receive(struct odbc_rows *r, size_t want, struct leat_error *err) {
    enum { PIECE = 128 << 10 };
    while (r->in.length - r->at < want) {
        size_t got;
        if (r->at == r->in.length) r->at = r->in.length = 0;
        if (r->at >= PIECE) {
            memmove(r->in.data, r->in.data + r->at, r->in.length - r->at);
            r->in.length -= r->at;
            r->at = 0;
        }
        enum leat_status st = leat_buffer_reserve(&r->in, PIECE, err);
        if (st == LEAT_OK) st = leat_child_read(&r->child, r->in.data + r->in.length, PIECE, &got, r->timeout_us, err);
        if (st != LEAT_OK) return st;
        r->in.length += got;
    }
    return LEAT_OK;
}

/* The next frame; its bytes are lent until the next call. */
static enum leat_status next_frame(struct odbc_rows *r, struct leat_odbc_frame *frame, const char **bytes, struct leat_error *err) {
    enum leat_status st = receive(r, sizeof *frame, err);
    if (st == LEAT_OK) {
        memcpy(frame, r->in.data + r->at, sizeof *frame);
        if (frame->length > LEAT_ODBC_FRAME_MAX) st = leat_fail(err, LEAT_LIMIT, "a row of %u bytes is too long", frame->length);
    }
    if (st == LEAT_OK) st = receive(r, sizeof *frame + frame->length, err);
    if (st != LEAT_OK) {
        int code = hang_up(r);
        if (code == 128 + SIGALRM) leat_fail(err, LEAT_IO, "the driver hung, and was ended");
        else if (code > 128 && code != 128 + SIGKILL) leat_fail(err, LEAT_IO, "the driver crashed (%s)", strsignal(code - 128));
        leat_prepend(err, "ODBC");
        if (err) err->retriable = true;
        return st;
    }
    *bytes = r->in.data + r->at + sizeof *frame;
    r->at += sizeof *frame + frame->length;
    return LEAT_OK;
}

/* ---- The connection ---- */

/* How names are quoted, and what database it is. */
static void take_greeting(struct odbc_rows *r, const char *bytes, size_t length) {
    static const char text_times[] = "SQLite";
    size_t quote = strnlen(bytes, length), prefix = sizeof text_times - 1;
    snprintf(r->quote, sizeof r->quote, "%.*s", (int)quote, bytes);
    r->base.times_are_text = length > quote + prefix && strncasecmp(bytes + quote + 1, text_times, prefix) == 0;
}

static enum leat_status dial(struct odbc_rows *r, struct leat_error *err) {
    if (r->child.pid && !r->selecting) return LEAT_OK;
    hang_up(r);
    char *program = leat_child_self();
    char *const argv[] = {program, (char[]){"odbc-rows"}, NULL};
    uint32_t timeout_s = (uint32_t)((r->timeout_us + 999999) / 1000000);
    struct leat_buffer body = {0};
    struct leat_odbc_frame frame;
    const char *bytes;
    leat_putn(&body, (const char *)&timeout_s, sizeof timeout_s);
    leat_put(&body, r->dsn);
    enum leat_status st = leat_child_open(argv, &r->child, err);
    r->child.stop = r->stop;
    if (st == LEAT_OK) st = send_frame(r, LEAT_ODBC_CONNECT, &body, err);
    if (st == LEAT_OK) st = next_frame(r, &frame, &bytes, err);
    if (st == LEAT_OK && frame.kind != LEAT_ODBC_QUOTE) st = fail_said(r, bytes, frame.length, err);
    if (st == LEAT_OK) take_greeting(r, bytes, frame.length);
    if (st != LEAT_OK) hang_up(r);
    explicit_bzero(body.data, body.length);
    leat_buffer_deinit(&body);
    free(program);
    return st;
}

static void odbc_close(struct leat_database *rows) {
    struct odbc_rows *r = self(rows);
    if (!r) return;
    hang_up(r);
    leat_buffer_deinit(&r->in);
    free(r->dsn);
    free(r->values);
    free(r);
}

static enum leat_status odbc_open(const struct leat_source *source, const atomic_int *stop, struct leat_database **out, struct leat_error *err) {
    struct odbc_rows *r = leat_alloc(sizeof *r);
    const char *dsn = leat_source_option(source, "dsn");
    r->base.ops = &leat_database_odbc;
    r->source = source;
    r->dsn = strchr(dsn, '=') ? leat_strdup(dsn) : leat_asprintf("DSN=%s", dsn);
    r->timeout_us = leat_source_option_int(source, "timeout", 60000000);
    r->stop = stop;
    r->values = leat_alloc((source->value_count + 1) * sizeof *r->values);
    enum leat_status st = dial(r, err);
    *out = st == LEAT_OK ? &r->base : NULL;
    if (st != LEAT_OK) odbc_close(&r->base);
    return st;
}

static enum leat_status odbc_begin(struct leat_database *rows, const struct leat_rows_query *query, struct leat_error *err) {
    struct odbc_rows *r = self(rows);
    struct leat_buffer body = {0};
    uint32_t count = (uint32_t)r->source->value_count;
    enum leat_status st = dial(r, err);
    leat_putn(&body, (const char *)&count, sizeof count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t kind = r->source->schema.fields[i].type.kind;
        char as = kind == LEAT_BLOB ? LEAT_ODBC_BYTES : kind == LEAT_VARCHAR ? LEAT_ODBC_WIDE_TEXT : LEAT_ODBC_TEXT;
        leat_putn(&body, &as, 1);
    }
    leat_rows_put_select(&body, r->source, query, r->quote);
    if (st == LEAT_OK) st = send_frame(r, LEAT_ODBC_SELECT, &body, err);
    leat_buffer_deinit(&body);
    r->selecting = st == LEAT_OK;
    return st;
}

static enum leat_status odbc_next(struct leat_database *rows, const struct leat_row_value **values, struct leat_error *err) {
    struct odbc_rows *r = self(rows);
    struct leat_odbc_frame frame;
    const char *bytes;
    if (!r->selecting) return LEAT_END;
    enum leat_status st = next_frame(r, &frame, &bytes, err);
    if (st != LEAT_OK) return st;
    if (frame.kind != LEAT_ODBC_ROW) {
        r->selecting = false;
        return frame.kind == LEAT_ODBC_END ? LEAT_END : fail_said(r, bytes, frame.length, err);
    }
    const char *end = bytes + frame.length;
    for (size_t i = 0; i < r->source->value_count; i++) {
        int32_t length = 0;
        if (end - bytes >= (ptrdiff_t)sizeof length) memcpy(&length, bytes, sizeof length);
        bytes += sizeof length;
        if (bytes > end || length < -1 || length > end - bytes) {
            hang_up(r);
            return leat_fail(err, LEAT_CORRUPT, "ODBC: a row is not laid out as it should be");
        }
        r->values[i] = (struct leat_row_value){length < 0 ? NULL : bytes, length < 0 ? 0 : (size_t)length};
        bytes += length < 0 ? 0 : length;
    }
    *values = r->values;
    return LEAT_OK;
}

const struct leat_database_ops leat_database_odbc = {
    .name = "odbc",
    .open = odbc_open,
    .begin = odbc_begin,
    .next = odbc_next,
    .close = odbc_close,
};
