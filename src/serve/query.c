/* SQL for requests. Two threads take queries from a bounded queue, each with a connection of one locked DuckDB instance (as `leat sql`: it reads
 * the lake and nothing else), which is opened when it is needed and closed when it has not been for a while. What the views are is asked of the engine; while
 * the engine is busy the views of before are used. A query is stopped at its time by the clerk, at its memory by DuckDB, at its
 * result's size here. Parquet is written from the result by an instance of its own: the one that runs people's SQL writes nothing. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <jansson.h>

#include "data/arrow.h"
#include "data/utf8.h"
#include "data/value_text.h"
#include "serve/internal.h"
#include "sql/duck.h"

enum { WORKERS = 2, QUEUE_MAX = 32, IDLE_SECONDS = 30, VIEWS_WAIT_MS = 2000, STOP_AGAIN_US = 10000 };
#define QUERY_MEMORY_BYTES ((uint64_t)LEAT_GIB)
#define RESULT_BYTES_MAX (256 * LEAT_MIB)

const char *const leat_query_formats[] = {"json", "ndjson", "csv", "parquet", "arrow", NULL};

struct job {
    struct job *next;
    struct leat_request *request;
    char *sql;
    struct leat_query_options options;
    int64_t deadline_us;
    bool stopped;
};
struct worker {
    struct leat_query *queries;
    pthread_t thread;
    bool started;
    bool ended;                /* guarded */
    struct leat_conn *conn;    /* guarded: the clerk interrupts it */
    struct job *running;       /* guarded */
    struct leat_view_texts made;
};
struct leat_query {
    struct leat_serve *serve;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    int queued, using; /* workers with a connection */
    bool closing;
    struct leat_duck *duck;
    struct worker workers[WORKERS];
    uint64_t files;
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

static const char *made_of(const struct worker *w, const char *name) {
    for (size_t i = 0; i < w->made.count; i++)
        if (strcmp(w->made.items[i].name, name) == 0) return w->made.items[i].select;
    return NULL;
}

/* Views whose text is the same still read what they should. One that reads a view that is made anew finds the new one. */
static enum leat_status make_views(struct worker *w, struct leat_error *err) {
    struct leat_view_texts now = {0};
    enum leat_status st = ask_views(w->queries->serve, &now, err);
    if (st == LEAT_BUSY && w->made.count) return LEAT_OK;
    for (size_t i = 0; i < now.count && st == LEAT_OK; i++) {
        const char *made = made_of(w, now.items[i].name);
        if (!made || strcmp(made, now.items[i].select) != 0) st = leat_view_make(w->conn, &now.items[i], err);
    }
    if (st == LEAT_OK) {
        leat_view_texts_deinit(&w->made);
        w->made = now;
    } else {
        leat_view_texts_deinit(&now);
    }
    return st;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

static void put_columns(struct leat_buffer *out, const struct leat_schema *schema) {
    leat_put(out, "\"columns\":[");
    for (size_t c = 0; c < schema->field_count; c++) {
        char type[32];
        leat_type_print(schema->fields[c].type, type);
        leat_put(out, c ? ",{\"name\":" : "{\"name\":");
        leat_put_json_string(out, schema->fields[c].name, strlen(schema->fields[c].name));
        leat_putf(out, ",\"type\":\"%s\"}", type);
    }
    leat_put(out, "]");
}

static void put_array(struct leat_buffer *out, const struct leat_changes *rows, size_t row) {
    for (size_t c = 0; c < rows->schema->field_count; c++) {
        leat_put(out, c ? "," : "[");
        leat_put_json_value(out, &rows->columns[c], row);
    }
    leat_put(out, "]");
}

/* Names stand beside every value: text may be much longer than what it is made of. */
static enum leat_status check_size(const struct leat_buffer *out, struct leat_error *err) {
    if (out->length <= RESULT_BYTES_MAX) return LEAT_OK;
    return leat_fail(err, LEAT_LIMIT, "the answer has more than %zu MB; ask for less, or as parquet or arrow", (size_t)(RESULT_BYTES_MAX / LEAT_MIB));
}

static enum leat_status reply_json(struct job *job, const struct leat_result *result, struct leat_error *err) {
    struct leat_buffer *out = &job->request->answer;
    size_t n = result->rows.row_count;
    leat_put(out, "{");
    if (job->options.table) {
        leat_put(out, "\"table\":");
        leat_put_json_string(out, job->options.table, strlen(job->options.table));
    } else {
        put_columns(out, &result->schema);
    }
    leat_put(out, ",\"rows\":[");
    for (size_t i = 0; i < n; i++) {
        enum leat_status st = check_size(out, err);
        if (st != LEAT_OK) return st;
        if (i) leat_put(out, ",");
        if (job->options.table)
            leat_put_json_row(out, &result->rows, i);
        else
            put_array(out, &result->rows, i);
    }
    leat_put(out, "]");
    if (job->options.table && n == (size_t)job->options.limit)
        leat_putf(out, ",\"next\":\"%lld\"", (long long)(job->options.cursor + job->options.limit));
    else if (job->options.table)
        leat_put(out, ",\"next\":null");
    leat_put(out, "}\n");
    leat_reply(job->request, 200, NULL);
    return LEAT_OK;
}

static enum leat_status reply_parquet(struct leat_query *q, struct job *job, const struct leat_result *result, struct leat_error *err) {
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP};
    struct leat_io *io = q->serve->env->io;
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_buffer sql = {0};
    pthread_mutex_lock(&q->lock);
    uint64_t number = ++q->files;
    pthread_mutex_unlock(&q->lock);
    char *path = leat_asprintf("%s/download-%llu.parquet", leat_engine_scratch_dir(q->serve->engine), (unsigned long long)number);
    enum leat_status st = leat_duck_open(&options, &duck, err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, err);
    if (st == LEAT_OK) st = leat_conn_input(conn, "result", &result->schema, true, err);
    if (st == LEAT_OK) {
        leat_conn_bind(conn, "result", &result->rows);
        leat_put(&sql, "COPY (SELECT * EXCLUDE (__row, __w) FROM leat_input('result')) TO ");
        leat_put_sql_string(&sql, path);
        leat_put(&sql, " (");
        leat_put_parquet_options(&result->schema, false, &sql);
        leat_put(&sql, ")");
        st = leat_conn_exec(conn, sql.data, err);
    }
    if (st == LEAT_OK) st = leat_io_read_all(io, path, 2 * RESULT_BYTES_MAX, &job->request->answer, err);
    if (st == LEAT_OK) leat_reply(job->request, 200, "application/vnd.apache.parquet");
    struct leat_error ignored;
    if (leat_io_remove_tree(io, path, &ignored) != LEAT_OK) leat_log(q->serve->env, LEAT_LOG_WARN, "http: %s", ignored.text);
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    leat_buffer_deinit(&sql);
    free(path);
    return st;
}

static enum leat_status reply_rows(struct leat_query *q, struct job *job, const struct leat_result *result, struct leat_error *err) {
    struct leat_request *r = job->request;
    size_t n = result->rows.row_count;
    enum leat_status st = LEAT_OK;
    if (job->options.one_row) {
        if (!n) return leat_fail(err, LEAT_NOT_FOUND, "there is no row of that key");
        leat_put_json_row(&r->answer, &result->rows, 0);
        leat_put(&r->answer, "\n");
        leat_reply(r, 200, NULL);
        return LEAT_OK;
    }
    switch (job->options.format) {
    case LEAT_QUERY_JSON: return reply_json(job, result, err);
    case LEAT_QUERY_NDJSON:
        for (size_t i = 0; i < n && (st = check_size(&r->answer, err)) == LEAT_OK; i++) {
            leat_put_json_row(&r->answer, &result->rows, i);
            leat_put(&r->answer, "\n");
        }
        leat_reply(r, 200, "application/x-ndjson");
        return st;
    case LEAT_QUERY_CSV:
        leat_put_csv_header(&r->answer, &result->schema);
        for (size_t i = 0; i < n && (st = check_size(&r->answer, err)) == LEAT_OK; i++) leat_put_csv_row(&r->answer, &result->rows, i);
        leat_reply(r, 200, "text/csv; charset=utf-8");
        return st;
    case LEAT_QUERY_PARQUET: return reply_parquet(q, job, result, err);
    case LEAT_QUERY_ARROW: break;
    }
    leat_put_arrow_stream(&r->answer, &result->rows);
    leat_reply(r, 200, "application/vnd.apache.arrow.stream");
    return LEAT_OK;
}

/* ---- workers ----------------------------------------------------------------------------------------------------------- */

static enum leat_status open_conn(struct worker *w, struct leat_error *err) {
    struct leat_query *q = w->queries;
    enum leat_status st = LEAT_OK;
    struct leat_conn *conn = NULL;
    if (w->conn) return LEAT_OK;
    pthread_mutex_lock(&q->lock);
    if (!q->duck) {
        char *lake = realpath(leat_engine_lake_dir(q->serve->engine), NULL);
        struct leat_duck_options locked = {.use = LEAT_DUCK_STEP, .threads = 2, .memory_limit_bytes = QUERY_MEMORY_BYTES, .locked = true, .allowed_dir = lake,
                                           .time_zone = leat_setting_text(q->serve->project, "time_zone")};
        st = leat_duck_open(&locked, &q->duck, err);
        free(lake);
    }
    if (st == LEAT_OK) st = leat_conn_open(q->duck, &conn, err);
    if (st == LEAT_OK) {
        leat_conn_cap_results(conn, RESULT_BYTES_MAX);
        w->conn = conn;
        q->using++;
    }
    pthread_mutex_unlock(&q->lock);
    return st;
}

static void close_conn(struct worker *w) {
    struct leat_query *q = w->queries;
    struct leat_duck *duck = NULL;
    if (!w->conn) return;
    pthread_mutex_lock(&q->lock);
    leat_conn_close(w->conn);
    w->conn = NULL;
    if (--q->using == 0) {
        duck = q->duck;
        q->duck = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    leat_view_texts_deinit(&w->made);
    if (duck) leat_duck_close(duck);
}

static enum leat_status run_query(struct worker *w, struct job *job, struct leat_error *err) {
    struct leat_query *q = w->queries;
    struct leat_result result = {0};
    enum leat_status st = open_conn(w, err);
    if (st == LEAT_OK) st = make_views(w, err);
    if (st != LEAT_OK) return st;
    pthread_mutex_lock(&q->lock);
    w->running = job;
    pthread_mutex_unlock(&q->lock);
    leat_clerk_wake(q->serve);
    st = leat_conn_query(w->conn, job->sql, &result, err);
    pthread_mutex_lock(&q->lock);
    w->running = NULL;
    pthread_mutex_unlock(&q->lock);
    if (st == LEAT_OK) st = reply_rows(q, job, &result, err);
    leat_result_deinit(&result);
    return st;
}

static void run_job(struct worker *w, struct job *job) {
    struct leat_error err = {0};
    bool closing = atomic_load(&w->queries->serve->closing);
    enum leat_status st = closing ? leat_fail(&err, LEAT_CANCELLED, "leat stops") : run_query(w, job, &err);
    if (st != LEAT_OK && job->stopped && !closing)
        leat_reply_error(job->request, 504, "timeout", "the query took more than its time (?timeout=) and was stopped");
    else if (st != LEAT_OK)
        leat_reply_status(job->request, &err);
    if (st == LEAT_OK && job->options.file) {
        const char *ending = job->options.format == LEAT_QUERY_ARROW ? "arrows" : leat_query_formats[job->options.format];
        leat_reply_header(job->request, "Content-Disposition", "attachment; filename=\"%.60s.%s\"", job->options.file, ending);
    }
    if (st != LEAT_OK && err.fatal) close_conn(w); /* DuckDB's instance is invalid from here on */
    leat_request_resume(job->request);
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
            if (!w->conn) {
                pthread_cond_wait(&q->more, &q->lock);
            } else if (pthread_cond_timedwait(&q->more, &q->lock, &until) != 0 && !q->first) {
                pthread_mutex_unlock(&q->lock);
                close_conn(w);
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
    close_conn(w);
    pthread_mutex_lock(&q->lock);
    w->ended = true;
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* DuckDB forgets an interrupt that comes before a statement is executed: so it is told again until the query has ended. */
int64_t leat_queries_tick(struct leat_serve *serve, int64_t now_us) {
    struct leat_query *q = serve->queries;
    int64_t next = INT64_MAX;
    if (!q) return next;
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < WORKERS; i++) {
        struct job *job = q->workers[i].running;
        if (!job) continue;
        if (job->deadline_us <= now_us || q->closing) {
            job->stopped = true;
            leat_conn_interrupt(q->workers[i].conn);
            if (now_us + STOP_AGAIN_US < next) next = now_us + STOP_AGAIN_US;
        } else if (job->deadline_us < next) {
            next = job->deadline_us;
        }
    }
    pthread_mutex_unlock(&q->lock);
    return next;
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

static bool all_ended(struct leat_query *q) {
    bool ended = true;
    pthread_mutex_lock(&q->lock);
    for (int i = 0; i < WORKERS; i++) ended = ended && (q->workers[i].ended || !q->workers[i].started);
    pthread_mutex_unlock(&q->lock);
    return ended;
}

void leat_queries_stop(struct leat_serve *serve) {
    struct leat_query *q = serve->queries;
    struct leat_clock *clock = leat_clock_real(); /* a signal has ended the sleeps of the engine's */
    if (!q) return;
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->more);
    pthread_mutex_unlock(&q->lock);
    for (; !all_ended(q); clock->sleep_until(clock, clock->monotonic_us(clock) + STOP_AGAIN_US)) leat_queries_tick(serve, leat_serve_now(serve));
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
