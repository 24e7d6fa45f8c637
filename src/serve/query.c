/* SQL for requests. Two threads take queries from a bounded queue; each has them run by a process of its own (query_child.h), which is started when it is
 * needed and ended when it has not been for a while. What the views are is asked of the engine; while the engine is busy the views of before are used. A query over
 * its time is ended with its process, one over its memory by the kernel's bound of that process. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <jansson.h>

#include "base/child.h"
#include "data/utf8.h"
#include "serve/internal.h"

enum { WORKERS = 2, QUEUE_MAX = 32, IDLE_SECONDS = 30, VIEWS_WAIT_MS = 2000 };
#define ANSWERS_BYTES_MAX (2 * LEAT_QUERY_ANSWER_BYTES_MAX) /* of all that are on their way to clients */

const char *const leat_query_formats[] = {"json", "ndjson", "csv", "parquet", "arrow", NULL};

struct job {
    struct job *next;
    struct leat_request *request;
    char *sql;
    struct leat_query_options options;
    int64_t deadline_us;
};
struct worker {
    struct leat_query *queries;
    pthread_t thread;
    bool started;
    bool lost;                     /* what the child said was not read to its end, or will not come */
    struct leat_child_pipe child;  /* guarded: it is killed when leat stops; opened and closed by the thread alone */
    struct leat_view_texts made;   /* in the child */
};
struct leat_query {
    struct leat_serve *serve;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    int queued;
    bool closing;
    struct worker workers[WORKERS];
};

bool leat_query_format_of(const char *text, enum leat_query_format *out) {
    for (int i = 0; leat_query_formats[i]; i++) {
        if (strcasecmp(leat_query_formats[i], text) != 0) continue;
        *out = (enum leat_query_format)i;
        return true;
    }
    return false;
}

/* ---- views ----------------------------------------------------------------------------------------------------- */

/* Shared by the asking thread and the engine's: who comes last frees it. */
struct views_call {
    struct leat_call call;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int holders;
    bool done;
    enum leat_status status;
    struct leat_error error;
    struct leat_view_texts texts;
};

static void views_release(struct views_call *c) {
    pthread_mutex_lock(&c->lock);
    bool last = --c->holders == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last) return;
    leat_view_texts_deinit(&c->texts);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->answered);
    free(c);
}

static void read_views(struct leat_call *call, struct leat_engine *engine) {
    struct views_call *c = (struct views_call *)(void *)call;
    struct leat_view_texts texts = {0};
    struct leat_error error = {0};
    enum leat_status status = engine ? leat_engine_view_texts(engine, &texts, &error) : leat_fail(&error, LEAT_CANCELLED, "leat stops");
    pthread_mutex_lock(&c->lock);
    c->texts = texts;
    c->status = status;
    c->error = error;
    c->done = true;
    pthread_cond_signal(&c->answered);
    pthread_mutex_unlock(&c->lock);
    views_release(c);
}

static void cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct timespec at_time(int64_t monotonic_us) {
    return (struct timespec){.tv_sec = monotonic_us / 1000000, .tv_nsec = (monotonic_us % 1000000) * 1000};
}

/* The engine's answer, or BUSY when it does not come in time. */
static enum leat_status ask_views(struct leat_serve *serve, struct leat_view_texts *out, struct leat_error *err) {
    struct views_call *c = leat_alloc(sizeof *c);
    struct timespec until = at_time(leat_serve_now(serve) + VIEWS_WAIT_MS * INT64_C(1000));
    enum leat_status st;
    c->call.run = read_views;
    c->holders = 2;
    pthread_mutex_init(&c->lock, NULL);
    cond_init(&c->answered);
    leat_engine_post(serve->engine, &c->call);
    pthread_mutex_lock(&c->lock);
    while (!c->done && pthread_cond_timedwait(&c->answered, &c->lock, &until) == 0) {
    }
    if (c->done) {
        st = c->status;
        if (st != LEAT_OK) *err = c->error;
        *out = c->texts;
        c->texts = (struct leat_view_texts){0};
    } else {
        st = leat_fail(err, LEAT_BUSY, "the engine is busy with a longer run; try again");
    }
    pthread_mutex_unlock(&c->lock);
    views_release(c);
    return st;
}

/* ---- the child ------------------------------------------------------------------------------------------------ */

/* Where the child writes what is to be downloaded as Parquet. */
static char *parquet_path(const struct worker *w) {
    return leat_asprintf("%s/download-%d.parquet", leat_engine_scratch_dir(w->queries->serve->engine), (int)(w - w->queries->workers));
}

static void close_child(struct worker *w) {
    struct leat_query *q = w->queries;
    struct leat_error err;
    pthread_mutex_lock(&q->lock);
    struct leat_child_pipe child = w->child;
    w->child = (struct leat_child_pipe){0};
    pthread_mutex_unlock(&q->lock);
    if (!child.pid) return;
    leat_child_close(&child);
    leat_view_texts_deinit(&w->made);
    w->lost = false;
    char *path = parquet_path(w);
    if (leat_io_remove_tree(q->serve->env->io, path, &err) != LEAT_OK) leat_log(q->serve->env, LEAT_LOG_WARN, "http: %s", err.text);
    free(path);
}

static enum leat_status hear_bytes(struct worker *w, int64_t deadline_us, void *to, size_t n, struct leat_error *err) {
    for (size_t at = 0, got; at < n; at += got) {
        int64_t left_us = deadline_us - leat_serve_now(w->queries->serve);
        enum leat_status st = leat_child_read(&w->child, (char *)to + at, n - at, &got, left_us > 0 ? left_us : 0, err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

/* What slow clients have not taken yet stays in memory: it is counted until their requests are over. */
static enum leat_status count_answer(struct leat_request *r, size_t bytes, struct leat_error *err) {
    r->counted_answer_bytes = bytes;
    if (atomic_fetch_add(&r->serve->answer_bytes, bytes) + bytes <= ANSWERS_BYTES_MAX) return LEAT_OK;
    atomic_fetch_sub(&r->serve->answer_bytes, bytes);
    r->counted_answer_bytes = 0;
    return leat_fail(err, LEAT_BUSY, "too much of the answers of other queries is still on its way to their clients");
}

/* The answer to one frame; its bytes go to r, which may be NULL where there are none. w->lost: there was none, or it is not read. */
static enum leat_status hear(struct worker *w, int64_t deadline_us, struct leat_request *r, struct leat_error *err) {
    struct leat_query_answer answer;
    enum leat_status st = hear_bytes(w, deadline_us, &answer, sizeof answer, err);
    if (st == LEAT_OK && answer.error.status != LEAT_OK) {
        *err = answer.error;
        return err->status;
    }
    if (st == LEAT_OK && answer.length > (r ? LEAT_QUERY_ANSWER_BYTES_MAX : 0)) st = leat_fail(err, LEAT_CORRUPT, "a query's process said what none says");
    if (st == LEAT_OK && r) st = count_answer(r, answer.length, err);
    if (st == LEAT_OK && r) st = leat_buffer_reserve(&r->answer, answer.length, err);
    if (st == LEAT_OK && r) st = hear_bytes(w, deadline_us, r->answer.data, answer.length, err);
    w->lost = st != LEAT_OK;
    if (st == LEAT_OK && r) r->answer.length = answer.length;
    return st;
}

static enum leat_status tell(struct worker *w, int64_t deadline_us, uint32_t kind, const struct leat_buffer *body, struct leat_request *r, struct leat_error *err) {
    struct leat_query_frame frame = {.kind = kind, .length = (uint32_t)body->length};
    int64_t left_us = deadline_us - leat_serve_now(w->queries->serve);
    if (left_us < 0) left_us = 0;
    if (body->length > UINT32_MAX) return leat_fail(err, LEAT_LIMIT, "more than 4 GiB for a query's process");
    enum leat_status st = leat_child_write(&w->child, &frame, sizeof frame, left_us, err);
    if (st == LEAT_OK) st = leat_child_write(&w->child, body->data, body->length, left_us, err);
    w->lost = st != LEAT_OK;
    return st == LEAT_OK ? hear(w, deadline_us, r, err) : st;
}

static void put_text(struct leat_buffer *out, const char *text) {
    leat_putn(out, text, strlen(text) + 1);
}

static enum leat_status start_child(struct worker *w, struct leat_error *err) {
    struct leat_query *q = w->queries;
    char *program = leat_child_self();
    char *const argv[] = {program, (char[]){"sql-queries"}, NULL};
    pthread_mutex_lock(&q->lock);
    enum leat_status st = q->closing ? leat_fail(err, LEAT_CANCELLED, "leat stops") : leat_child_open(argv, &w->child, err);
    pthread_mutex_unlock(&q->lock);
    free(program);
    return st;
}

static enum leat_status open_child(struct worker *w, int64_t deadline_us, struct leat_error *err) {
    struct leat_serve *serve = w->queries->serve;
    struct leat_buffer body = {0};
    if (leat_child_waits(&w->child)) return LEAT_OK;
    close_child(w); /* one that has ended meanwhile */
    enum leat_status st = start_child(w, err);
    if (st != LEAT_OK) return st;
    char *lake = realpath(leat_engine_lake_dir(serve->engine), NULL), *path = parquet_path(w);
    put_text(&body, lake ? lake : "");
    put_text(&body, leat_setting_text(serve->project, "time_zone"));
    put_text(&body, path);
    st = tell(w, deadline_us, LEAT_QUERY_OPEN, &body, NULL, err);
    if (st != LEAT_OK) err->fatal = true; /* it has no instance */
    leat_buffer_deinit(&body);
    free(lake);
    free(path);
    return st;
}

static enum leat_status make_view(struct worker *w, int64_t deadline_us, const struct leat_view_text *view, struct leat_error *err) {
    struct leat_buffer body = {0};
    put_text(&body, view->name);
    put_text(&body, view->select);
    enum leat_status st = tell(w, deadline_us, LEAT_QUERY_VIEW, &body, NULL, err);
    leat_buffer_deinit(&body);
    return st;
}

static const char *made_of(const struct worker *w, const char *name) {
    for (size_t i = 0; i < w->made.count; i++)
        if (strcmp(w->made.items[i].name, name) == 0) return w->made.items[i].select;
    return NULL;
}

/* Views whose text is the same still read what they should. One that reads a view that is made anew finds the new one. */
static enum leat_status make_views(struct worker *w, int64_t deadline_us, struct leat_error *err) {
    struct leat_view_texts now = {0};
    enum leat_status st = ask_views(w->queries->serve, &now, err);
    if (st == LEAT_BUSY && w->made.count) return LEAT_OK;
    for (size_t i = 0; i < now.count && st == LEAT_OK; i++) {
        const char *made = made_of(w, now.items[i].name);
        if (!made || strcmp(made, now.items[i].select) != 0) st = make_view(w, deadline_us, &now.items[i], err);
    }
    if (st == LEAT_OK) {
        leat_view_texts_deinit(&w->made);
        w->made = now;
    } else {
        leat_view_texts_deinit(&now);
    }
    return st;
}

/* ---- workers ----------------------------------------------------------------------------------------------------------- */

static const char *type_of(const struct leat_query_options *options) {
    static const char *const types[] = {[LEAT_QUERY_JSON] = NULL, [LEAT_QUERY_NDJSON] = "application/x-ndjson", [LEAT_QUERY_CSV] = "text/csv; charset=utf-8",
                                        [LEAT_QUERY_PARQUET] = "application/vnd.apache.parquet", [LEAT_QUERY_ARROW] = "application/vnd.apache.arrow.stream"};
    return options->one_row ? NULL : types[options->format];
}

static enum leat_status run_query(struct worker *w, struct job *job, struct leat_error *err) {
    struct leat_query_shape shape;
    struct leat_buffer body = {0};
    if (leat_serve_now(w->queries->serve) >= job->deadline_us) return leat_fail(err, LEAT_CANCELLED, "the query waited for longer than its time");
    memset(&shape, 0, sizeof shape);
    shape.format = job->options.format;
    shape.one_row = job->options.one_row;
    shape.limit = job->options.limit;
    shape.cursor = job->options.cursor;
    leat_putn(&body, (const char *)&shape, sizeof shape);
    put_text(&body, job->options.table ? job->options.table : "");
    put_text(&body, job->sql);
    enum leat_status st = open_child(w, job->deadline_us, err);
    if (st == LEAT_OK) st = make_views(w, job->deadline_us, err);
    if (st == LEAT_OK) st = tell(w, job->deadline_us, LEAT_QUERY_ASK, &body, job->request, err);
    leat_buffer_deinit(&body);
    return st;
}

static bool is_closing(struct leat_query *q) {
    pthread_mutex_lock(&q->lock);
    bool closing = q->closing;
    pthread_mutex_unlock(&q->lock);
    return closing || atomic_load(&q->serve->closing);
}

static void reply_failed(struct worker *w, struct job *job, const struct leat_error *err) {
    struct leat_request *r = job->request;
    bool ended = w->lost && err->status != LEAT_BUSY, unheard = ended || err->status == LEAT_CANCELLED;
    leat_buffer_deinit(&r->answer); /* it may be large */
    if (unheard && is_closing(w->queries))
        leat_reply_status(r, &(struct leat_error){.status = LEAT_CANCELLED, .text = "leat stops"});
    else if (unheard && leat_serve_now(r->serve) >= job->deadline_us)
        leat_reply_error(r, 504, "timeout", "the query took more than its time (?timeout=) and was stopped");
    else if (ended)
        leat_reply_error(r, 500, "ended", "the query ended the process that ran it: it needs more memory than the %llu MB that a query may have, or DuckDB fails at it",
                         (unsigned long long)(LEAT_QUERY_PROCESS_BYTES / LEAT_MIB));
    else
        leat_reply_status(r, err);
}

static void run_job(struct worker *w, struct job *job) {
    struct leat_error err = {0};
    enum leat_status st = is_closing(w->queries) ? leat_fail(&err, LEAT_CANCELLED, "leat stops") : run_query(w, job, &err);
    if (st == LEAT_OK) leat_reply(job->request, 200, type_of(&job->options));
    else reply_failed(w, job, &err);
    if (st == LEAT_OK && job->options.file) {
        const char *ending = job->options.format == LEAT_QUERY_ARROW ? "arrows" : leat_query_formats[job->options.format];
        leat_reply_header(job->request, "Content-Disposition", "attachment; filename=\"%.60s.%s\"", job->options.file, ending);
    }
    leat_request_resume(job->request);
    if (w->lost || (st != LEAT_OK && err.fatal)) close_child(w); /* fatal: DuckDB's instance is invalid from here on */
    free(job->sql);
    free(job);
}

static void *work(void *context) {
    struct worker *w = context;
    struct leat_query *q = w->queries;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        while (!q->first && !q->closing) {
            struct timespec until = at_time(leat_serve_now(q->serve) + IDLE_SECONDS * INT64_C(1000000));
            if (!w->child.pid) {
                pthread_cond_wait(&q->more, &q->lock);
            } else if (pthread_cond_timedwait(&q->more, &q->lock, &until) != 0 && !q->first) {
                pthread_mutex_unlock(&q->lock);
                close_child(w);
                pthread_mutex_lock(&q->lock);
            }
        }
        struct job *job = q->first;
        if (job) {
            q->first = job->next;
            if (!q->first) q->last = &q->first;
            q->queued--;
        }
        pthread_mutex_unlock(&q->lock);
        if (!job) break;
        run_job(w, job);
    }
    close_child(w);
    return NULL;
}

enum leat_status leat_queries_open(struct leat_serve *serve, struct leat_error *err) {
    struct leat_query *q = serve->queries = leat_alloc(sizeof *q);
    q->serve = serve;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    cond_init(&q->more);
    for (int i = 0; i < WORKERS; i++) {
        q->workers[i].queries = q;
        q->workers[i].started = pthread_create(&q->workers[i].thread, NULL, work, &q->workers[i]) == 0;
        if (!q->workers[i].started) return leat_fail(err, LEAT_LIMIT, "no more threads can be made");
    }
    return LEAT_OK;
}

void leat_queries_stop(struct leat_serve *serve) {
    struct leat_query *q = serve->queries;
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    for (int i = 0; i < WORKERS; i++) leat_child_kill(&q->workers[i].child);
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
    for (int i = 0; i < WORKERS; i++)
        if (q->workers[i].started) pthread_join(q->workers[i].thread, NULL);
}

void leat_queries_close(struct leat_serve *serve) {
    struct leat_query *q = serve->queries;
    if (!q) return;
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->more);
    free(q);
}

void leat_query_run(struct leat_request *r, const char *sql, const struct leat_query_options *options) {
    struct leat_query *q = r->serve->queries;
    struct job *job = leat_alloc(sizeof *job);
    job->request = r;
    job->sql = leat_strdup(sql);
    job->options = *options;
    job->deadline_us = leat_serve_now(r->serve) + options->timeout_us;
    pthread_mutex_lock(&q->lock);
    bool full = q->queued >= QUEUE_MAX || q->closing;
    if (!full) {
        leat_request_suspend(r);
        *q->last = job;
        q->last = &job->next;
        q->queued++;
        pthread_cond_signal(&q->more);
    }
    pthread_mutex_unlock(&q->lock);
    if (!full) return;
    leat_reply_error(r, 429, "busy", "too many queries wait");
    leat_reply_header(r, "Retry-After", "1");
    free(job->sql);
    free(job);
}

/* ---- POST /v1/sql --------------------------------------------------------------------------------------------------------- */

static char *trimmed(const char *text, size_t n) {
    while (n && (isspace((unsigned char)text[n - 1]) || text[n - 1] == ';')) n--;
    return leat_strndup(text, n);
}

/* The query in the body; NULL: answered. */
char *leat_request_sql(struct leat_request *r) {
    const struct leat_buffer *body = &r->body.content;
    const char *type = leat_request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (body->length && (memchr(body->data, 0, body->length) || !leat_utf8_valid(body->data, body->length))) {
        leat_reply_error(r, 400, "sql", "the body is not UTF-8, or has a NUL byte");
        return NULL;
    }
    if (!type || strncasecmp(type, "application/json", 16) != 0) {
        if (!type || strncasecmp(type, "text/plain", 10) == 0 || strncasecmp(type, "application/sql", 15) == 0) return trimmed(body->data ? body->data : "", body->length);
        leat_reply_error(r, 415, "type", "send the query as text/plain, or as application/json: {\"sql\":\"SELECT ...\"}");
        return NULL;
    }
    json_error_t error;
    json_t *json = json_loadb(body->data ? body->data : "", body->length, 0, &error);
    const char *text = json_string_value(json_object_get(json, "sql"));
    char *sql = text ? trimmed(text, strlen(text)) : NULL;
    if (!sql) leat_reply_error(r, 400, "sql", "the body is not {\"sql\":\"SELECT ...\"}");
    json_decref(json);
    return sql;
}

void leat_handle_sql(struct leat_request *r) {
    enum { TIMEOUT_MS = 60000, TIMEOUT_MS_MAX = 300000 };
    const char *format = leat_query_value(&r->query, "format"), *timeout = leat_query_value(&r->query, "timeout");
    struct leat_query_options options = {0};
    int64_t ms = TIMEOUT_MS;
    if (format && !leat_query_format_of(format, &options.format)) {
        leat_reply_error(r, 400, "parameter", "format is json, ndjson, csv, parquet or arrow");
        return;
    }
    if (timeout && (leat_parse_int(timeout, &ms, NULL) != LEAT_OK || ms < 1 || ms > TIMEOUT_MS_MAX)) {
        leat_reply_error(r, 400, "parameter", "timeout is a number of milliseconds up to %d", TIMEOUT_MS_MAX);
        return;
    }
    char *sql = leat_request_sql(r);
    if (!sql) return;
    options.timeout_us = ms * 1000;
    if (*sql)
        leat_query_run(r, sql, &options);
    else
        leat_reply_error(r, 400, "sql", "the body is one query, such as SELECT 1");
    free(sql);
}
