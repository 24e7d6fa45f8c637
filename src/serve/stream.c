/* Server-Sent Events. A stream holds one place: the step and the position in it that its client has. What comes next is read from engine/live/live.h when the
 * client's connection can take more, so a slow client costs one step's changes and no queue; with nothing to send the connection is suspended until the
 * engine says that a step changed something. What memory no longer has comes from disk; one that is behind even that is told `reset` and the rows of the table,
 * while steps go on: events without an id, so that a client cut off meanwhile begins anew, then every change since the snapshot was begun. Of a table
 * without a key (rows of it are not in memory) the stream ends, and its client is told 410 when it comes again.
 *
 * The clerk is a thread that sleeps until the next deadline: a comment on streams that were quiet for a while (a dead client is noticed by that), the status once a
 * second while somebody follows it, queries over their time. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "data/key.h"
#include "data/value_text.h"
#include "serve/internal.h"

enum { STREAMS_MAX = 1000, PIECE_ROWS = 256, PIECE_BYTES = 256 << 10, SCAN_ROWS = 16 };
#define BEAT_US INT64_C(15000000)
#define STATUS_US INT64_C(1000000)

struct leat_stream {
    struct leat_serve *serve;
    struct MHD_Connection *connection;
    struct leat_stream *next, **link; /* guarded by serve->lock */
    bool parked, beat, ended;         /* guarded */
    int64_t quiet_since_us;           /* guarded */
    const struct leat_live_table *table; /* NULL: of the status */
    uint64_t step;                    /* everything up to this step was sent, */
    size_t sent;                      /* and so many events of the next that has any (`at`) */
    struct leat_live_changes at;
    size_t row;                       /* in at.rows */
    uint64_t known;                   /* so many events of `at` its client has from before */
    bool resetting;                   /* the table's rows are being sent, as of `step` or later, */
    uint64_t cursor;                  /* so far */
    uint64_t status_number;
    struct leat_buffer text;
    size_t text_sent;
};

/* ---- events ----------------------------------------------------------------------------------------------------------- */

/* A row that goes and whose key also comes is part of an upsert. Rows are in order of key, what goes first. */
static bool is_replaced(const struct leat_live_table *table, const struct leat_changes *rows, size_t row) {
    if (!table->key_count || leat_weight(rows, row) > 0) return false;
    for (size_t next = row + 1; next < rows->row_count; next++) {
        if (!leat_key_equal(rows, row, table->key, rows, next, table->key, table->key_count)) return false;
        if (leat_weight(rows, next) > 0) return true;
    }
    return false;
}

static void put_event(struct leat_stream *s, const struct leat_changes *rows, size_t row) {
    bool comes = leat_weight(rows, row) > 0, keyed = s->table->key_count > 0;
    int32_t copies = keyed ? 1 : leat_weight(rows, row);
    for (copies = copies < 0 ? -copies : copies; copies > 0; copies--) {
        bool last = copies == 1 && row + 1 == rows->row_count; /* a row that comes or only goes: the last one is never replaced */
        if (++s->sent <= s->known) continue;
        leat_putf(&s->text, "id: %llu", (unsigned long long)s->at.step);
        if (!last) leat_putf(&s->text, ".%zu", s->sent);
        leat_put(&s->text, "\nevent: ");
        leat_putf(&s->text, "%s\ndata: ", keyed ? comes ? "upsert" : "delete" : comes ? "append" : "retract");
        leat_put_json_row(&s->text, rows, row);
        leat_put(&s->text, "\n\n");
    }
}

/* Fills s->text with what is next. END: nothing yet; LIMIT: it is no longer at hand. */
static enum leat_status next_changes(struct leat_stream *s) {
    struct leat_error ignored;
    while (!s->text.length) {
        if (!s->at.held_by) {
            enum leat_status st = leat_live_next(s->serve->live, s->table, s->step, &s->at, &ignored);
            if (st != LEAT_OK) return st;
            s->row = 0;
            s->sent = 0;
            s->known = 0;
        }
        const struct leat_changes *rows = s->at.rows;
        for (int n = 0; s->row < rows->row_count && n < PIECE_ROWS && s->text.length < PIECE_BYTES; s->row++, n++)
            if (!is_replaced(s->table, rows, s->row)) put_event(s, rows, s->row);
        if (s->row < rows->row_count) continue;
        s->step = s->at.step;
        leat_live_release(&s->at);
    }
    return LEAT_OK;
}

static void put_start(struct leat_stream *s) {
    leat_putf(&s->text, "id: %llu\nevent: start\ndata: {\"step\":%llu}\n\n", (unsigned long long)s->step, (unsigned long long)s->step);
}

static void begin_reset(struct leat_stream *s) {
    leat_live_release(&s->at);
    s->step = leat_live_now(s->serve->live).step;
    s->resetting = true;
    s->cursor = 0;
    leat_putf(&s->text, "event: reset\ndata: {\"step\":%llu}\n\n", (unsigned long long)s->step);
}

static void next_snapshot(struct leat_stream *s) {
    struct leat_live_frontier ignored;
    struct leat_changes rows;
    leat_changes_init(&rows, &s->table->schema);
    do {
        leat_changes_reset(&rows);
        leat_live_scan(s->serve->live, s->table, &s->cursor, SCAN_ROWS, SCAN_ROWS, NULL, NULL, &rows, &ignored);
        for (size_t row = 0; row < rows.row_count; row++) {
            leat_put(&s->text, "event: upsert\ndata: ");
            leat_put_json_row(&s->text, &rows, row);
            leat_put(&s->text, "\n\n");
        }
        s->resetting = s->cursor != 0;
    } while (s->resetting && s->text.length < PIECE_BYTES);
    leat_changes_deinit(&rows);
    if (!s->resetting) put_start(s);
}

/* Fills s->text. END: nothing yet; LIMIT: what comes next is lost. */
static enum leat_status next_events(struct leat_stream *s) {
    enum leat_status st = LEAT_OK;
    if (s->resetting)
        next_snapshot(s);
    else if ((st = next_changes(s)) == LEAT_LIMIT && s->table->held) {
        begin_reset(s);
        st = LEAT_OK;
    }
    return st;
}

/* Under the lock. */
static enum leat_status next_status(struct leat_stream *s) {
    struct leat_serve *serve = s->serve;
    if (!serve->status_text || serve->status_number == s->status_number) return LEAT_END;
    s->status_number = serve->status_number;
    leat_putf(&s->text, "id: %llu\nevent: status\ndata: ", (unsigned long long)s->status_number);
    for (const char *c = serve->status_text; *c; c++)
        if (*c != '\n') leat_putn(&s->text, c, 1);
    leat_put(&s->text, "\n\n");
    return LEAT_OK;
}

/* Suspends the connection unless there is something to send after all: looked at and suspended under one lock, which whoever has news takes. */
static enum leat_status park(struct leat_stream *s) {
    struct leat_serve *serve = s->serve;
    struct leat_live_changes news = {0};
    struct leat_error ignored;
    pthread_mutex_lock(&serve->lock);
    enum leat_status st = s->ended || atomic_load(&serve->closing) ? LEAT_CANCELLED : LEAT_END;
    if (st == LEAT_END && !s->table) st = next_status(s);
    if (st == LEAT_END && s->table) st = leat_live_next(serve->live, s->table, s->step, &news, &ignored);
    bool again = (st == LEAT_OK || st == LEAT_LIMIT) && s->table;
    if (st == LEAT_END && s->beat) {
        leat_put(&s->text, ":\n\n");
        st = LEAT_OK;
    }
    s->beat = false;
    if (st == LEAT_END) {
        s->parked = true;
        s->quiet_since_us = leat_serve_now(serve);
        MHD_suspend_connection(s->connection);
    }
    pthread_mutex_unlock(&serve->lock);
    leat_live_release(&news);
    return again ? next_events(s) : st;
}

/* In the connection's thread. */
static ssize_t read_stream(void *context, uint64_t position, char *out, size_t room) {
    struct leat_stream *s = context;
    (void)position;
    if (s->text_sent == s->text.length) {
        leat_buffer_reset(&s->text);
        s->text_sent = 0;
        enum leat_status st = s->table ? next_events(s) : LEAT_END;
        if (st == LEAT_END) st = park(s);
        if (st == LEAT_END) return 0;
        if (st != LEAT_OK) return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = s->text.length - s->text_sent;
    if (n > room) n = room;
    memcpy(out, s->text.data + s->text_sent, n);
    s->text_sent += n;
    return (ssize_t)n;
}

static void unpark(struct leat_stream *s) {
    s->parked = false;
    MHD_resume_connection(s->connection);
}

static void drop_stream(struct leat_stream *s) {
    if (s->table) leat_live_leave(s->serve->live, s->table);
    leat_live_release(&s->at);
    leat_buffer_deinit(&s->text);
    free(s);
}

static void free_stream(void *context) {
    struct leat_stream *s = context;
    struct leat_serve *serve = s->serve;
    pthread_mutex_lock(&serve->lock);
    *s->link = s->next;
    if (s->next) s->next->link = s->link;
    serve->stream_count--;
    pthread_mutex_unlock(&serve->lock);
    drop_stream(s);
}

/* ---- opening a stream ------------------------------------------------------------------------------------------------------ */

static void open_stream(struct leat_request *r, struct leat_stream *s) {
    struct leat_serve *serve = r->serve;
    s->serve = serve;
    s->connection = r->connection;
    pthread_mutex_lock(&serve->lock);
    bool full = serve->stream_count >= STREAMS_MAX;
    if (!full) {
        serve->stream_count++;
        s->next = serve->streams;
        s->link = &serve->streams;
        if (s->next) s->next->link = &s->next;
        serve->streams = s;
    }
    pthread_mutex_unlock(&serve->lock);
    if (full) {
        leat_reply_error(r, 429, "busy", "%d clients follow already", STREAMS_MAX);
        leat_reply_header(r, "Retry-After", "10");
        drop_stream(s);
        return;
    }
    r->response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32 << 10, read_stream, s, free_stream);
    leat_reply(r, 200, "text/event-stream");
    leat_reply_header(r, "Cache-Control", "no-store");
    leat_reply_header(r, "X-Accel-Buffering", "no");
    leat_clerk_wake(serve);
}

/* "STEP.NUMBER": the events up to that one are known. */
static bool parse_id(const char *text, uint64_t *step, uint64_t *number) {
    char *end;
    *number = 0;
    if (*text < '0' || *text > '9') return false;
    *step = strtoull(text, &end, 10);
    if (!*end) {
        *number = UINT64_MAX;
        return true;
    }
    if (*end != '.' || end[1] < '0' || end[1] > '9') return false;
    *number = strtoull(end + 1, &end, 10);
    return !*end;
}

/* Goes on in the middle of a step: its events up to `number` are passed over. */
static enum leat_status skip_events(struct leat_stream *s, uint64_t step, uint64_t number, struct leat_error *err) {
    enum leat_status st = leat_live_next(s->serve->live, s->table, step - 1, &s->at, err);
    if (st == LEAT_LIMIT) return st;
    s->step = step;
    if (st != LEAT_OK || s->at.step != step) { /* nothing more of that step */
        leat_live_release(&s->at);
        return LEAT_OK;
    }
    s->step = step - 1;
    s->known = number;
    return LEAT_OK;
}

void leat_handle_changes(struct leat_request *r) {
    const struct leat_live_table *table = leat_request_table(r);
    const char *after = leat_request_header(r, "Last-Event-ID");
    uint64_t step = 0, number = 0;
    struct leat_error err;
    if (!table) return;
    if (!table->continuous) {
        leat_reply_error(r, 400, "not_continuous", "table \"%s\" is recomputed as a whole; only continuous tables have changes to follow", table->name);
        return;
    }
    if (!after) after = leat_query_value(&r->query, "after");
    if (after && strcmp(after, "now") == 0) after = NULL;
    if (after && !parse_id(after, &step, &number)) {
        leat_reply_error(r, 400, "parameter", "'%.60s' is not the id of an event (STEP.NUMBER) or of a step", after);
        return;
    }
    struct leat_stream *s = leat_alloc(sizeof *s);
    s->serve = r->serve;
    s->table = table;
    leat_live_follow(r->serve->live, table); /* first: from here on nothing is lost */
    s->step = after ? step : leat_live_now(r->serve->live).step;
    enum leat_status st = LEAT_OK;
    if (after && number != UINT64_MAX && step > 0) {
        st = skip_events(s, step, number, &err);
    } else {
        st = leat_live_next(r->serve->live, table, s->step, &s->at, &err);
        leat_live_release(&s->at);
        if (st == LEAT_END) st = LEAT_OK;
    }
    if (st == LEAT_LIMIT && table->held) {
        begin_reset(s);
    } else if (st != LEAT_OK) {
        leat_reply_error(r, 410, "gone", "%s; read the table (/v1/tables/%s/rows says its step) and follow it from that step", err.text, table->name);
        drop_stream(s);
        return;
    } else if (!after) {
        put_start(s);
    } else {
        leat_put(&s->text, ":\n\n");
    }
    open_stream(r, s);
}

void leat_handle_status_stream(struct leat_request *r) {
    struct leat_stream *s = leat_alloc(sizeof *s);
    leat_put(&s->text, "retry: 2000\n\n");
    open_stream(r, s);
}

/* ---- waking --------------------------------------------------------------------------------------------------------------- */

/* The engine's thread: a step changed something, or the engine stops. */
static void on_step(void *context) {
    struct leat_serve *serve = context;
    pthread_mutex_lock(&serve->lock);
    for (struct leat_stream *s = serve->streams; s; s = s->next)
        if (s->parked && s->table) unpark(s);
    pthread_mutex_unlock(&serve->lock);
}

void leat_clerk_wake(struct leat_serve *serve) {
    pthread_mutex_lock(&serve->lock);
    pthread_cond_signal(&serve->wake_clerk);
    pthread_mutex_unlock(&serve->lock);
}

/* But for the time, which always is another. */
static bool same_status(const char *a, const char *b) {
    const char *clock = strstr(a, "\"now_us\"");
    return clock && strncmp(a, b, (size_t)(clock - a)) == 0;
}

struct status_call { struct leat_call call; struct leat_serve *serve; };

static void read_status(struct leat_call *call, struct leat_engine *engine) {
    struct leat_serve *serve = ((struct status_call *)(void *)call)->serve;
    struct leat_buffer text = {0};
    struct leat_error ignored;
    bool ok = engine && leat_engine_status(engine, &text, &ignored) == LEAT_OK;
    pthread_mutex_lock(&serve->lock);
    serve->status_asked = false;
    if (ok && (!serve->status_text || !same_status(serve->status_text, text.data))) {
        free(serve->status_text);
        serve->status_text = text.data;
        text = (struct leat_buffer){0};
        serve->status_number++;
        for (struct leat_stream *s = serve->streams; s; s = s->next)
            if (s->parked && !s->table) unpark(s);
    }
    pthread_mutex_unlock(&serve->lock);
    leat_buffer_deinit(&text);
    free(call);
}

/* Under the lock. The next deadline of streams; *ask: the status is wanted. */
static int64_t look_at_streams(struct leat_serve *serve, int64_t now, int64_t *status_due, bool *ask) {
    int64_t next = INT64_MAX;
    bool wanted = false;
    for (struct leat_stream *s = serve->streams; s; s = s->next) {
        wanted |= !s->table;
        if (!s->parked) continue;
        if (s->quiet_since_us + BEAT_US <= now) {
            s->beat = true;
            unpark(s);
        } else if (s->quiet_since_us + BEAT_US < next) {
            next = s->quiet_since_us + BEAT_US;
        }
    }
    *ask = wanted && !serve->status_asked && *status_due <= now;
    if (*ask) {
        serve->status_asked = true;
        *status_due = now + STATUS_US;
    }
    if (serve->stream_count && next == INT64_MAX) next = now + BEAT_US; /* those that are not parked now will be */
    return wanted && *status_due < next ? *status_due : next;
}

static void *clerk(void *context) {
    struct leat_serve *serve = context;
    int64_t status_due = 0;
    pthread_mutex_lock(&serve->lock);
    while (!atomic_load(&serve->closing)) {
        bool ask;
        int64_t now = leat_serve_now(serve), next = look_at_streams(serve, now, &status_due, &ask), peers = leat_peers_tick(serve, now);
        if (peers < next) next = peers;
        pthread_mutex_unlock(&serve->lock);
        if (ask) {
            struct status_call *call = leat_alloc(sizeof *call);
            call->call.run = read_status;
            call->serve = serve;
            leat_engine_post(serve->engine, &call->call);
        }
        pthread_mutex_lock(&serve->lock);
        if (atomic_load(&serve->closing)) break;
        if (next == INT64_MAX) {
            pthread_cond_wait(&serve->wake_clerk, &serve->lock);
        } else {
            if (next < now + 1000) next = now + 1000;
            struct timespec until = {.tv_sec = next / 1000000, .tv_nsec = (next % 1000000) * 1000};
            pthread_cond_timedwait(&serve->wake_clerk, &serve->lock, &until);
        }
    }
    pthread_mutex_unlock(&serve->lock);
    return NULL;
}

enum leat_status leat_streams_open(struct leat_serve *serve, struct leat_error *err) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&serve->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&serve->wake_clerk, &attributes);
    pthread_condattr_destroy(&attributes);
    serve->streams_open = true;
    leat_live_on_step(serve->live, on_step, serve);
    serve->clerk_runs = pthread_create(&serve->clerk, NULL, clerk, serve) == 0;
    return serve->clerk_runs ? LEAT_OK : leat_fail(err, LEAT_LIMIT, "no more threads can be made");
}

void leat_streams_stop(struct leat_serve *serve) {
    if (!serve->clerk_runs) return;
    leat_clerk_wake(serve);
    pthread_join(serve->clerk, NULL);
    serve->clerk_runs = false;
    pthread_mutex_lock(&serve->lock);
    for (struct leat_stream *s = serve->streams; s; s = s->next) {
        s->ended = true;
        if (s->parked) unpark(s);
    }
    pthread_mutex_unlock(&serve->lock);
}

void leat_streams_close(struct leat_serve *serve) {
    if (!serve->streams_open) return;
    leat_live_on_step(serve->live, NULL, NULL);
    free(serve->status_text);
    pthread_cond_destroy(&serve->wake_clerk);
    pthread_mutex_destroy(&serve->lock);
}
