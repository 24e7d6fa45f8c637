/* Seen by serve/ only. */
#ifndef LEAT_SERVE_INTERNAL_H
#define LEAT_SERVE_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "base/options.h"
#include "engine/live/live.h"
#include "serve/auth.h"
#include "serve/body.h"
#include "serve/query_child.h"
#include "serve/serve.h"
#include "serve/url.h"

struct leat_request;
struct leat_stream;
struct leat_query;

/* ---- routes.c ---- */
struct leat_param { const char *name, *type, *prose; }; /* type: OpenAPI's */
#define LEAT_ROUTE_PARAMS_MAX 8
struct leat_route {
    const char *method, *path;  /* "/v1/tables/{table}/rows/{key...}": a last name with dots takes the rest */
    unsigned role;              /* one of enum leat_role; 0: open to everybody */
    void (*handle)(struct leat_request *);
    const char *summary, *prose;
    bool body, columns;         /* takes a body; columns of the table are parameters too */
    struct leat_param params[LEAT_ROUTE_PARAMS_MAX];
    const char *answers;        /* content type of what a 200 gives */
};
extern const struct leat_route leat_routes[];
extern const size_t leat_route_count;
struct leat_match {
    const struct leat_route *route; /* NULL: none */
    bool path_known;                /* by another method */
    char *values[LEAT_URL_SEGMENTS_MAX]; /* decoded, in order of the path's names; owned */
    size_t value_count;
    const char *problem;            /* the path cannot be decoded */
};
void leat_route_find(const char *method, const char *raw_path, struct leat_match *out);
void leat_match_deinit(struct leat_match *);
void leat_put_allowed(const char *raw_path, struct leat_buffer *out); /* "GET, POST" */
void leat_put_openapi(struct leat_buffer *out);
void leat_put_docs_page(struct leat_buffer *out);

/* ---- serve.c ---- */
struct leat_header { const char *name; char value[96]; };
struct leat_request {
    struct leat_serve *serve;
    struct MHD_Connection *connection;
    struct leat_match match;
    struct leat_query_string query;
    bool suspended;             /* the connection's thread alone: the request is another's until that has resumed it */
    bool answered;
    int64_t started_us;
    struct leat_body body;
    size_t counted_bytes;       /* of it, in serve->body_bytes */
    size_t counted_answer_bytes; /* in serve->answer_bytes */
    bool refused;               /* the answer stands; a body that still comes is thrown away */
    /* The answer: made in any thread before leat_request_resume */
    unsigned status;
    const char *type;           /* NULL: JSON */
    struct leat_buffer answer;
    struct leat_header headers[4]; size_t header_count;
    struct MHD_Response *response; /* instead of `answer` */
    void (*render)(struct leat_request *); /* makes the answer from `work`, in the connection's thread; NULL: it is made */
    void *work; void (*free_work)(void *);
    char *work_text;            /* freed with the request */
};
struct leat_serve {
    struct leat_env *env;
    struct leat_engine *engine;
    struct leat_live *live;
    const struct leat_project *project;
    struct MHD_Daemon *daemon;
    struct leat_bearers tokens;
    bool tls;
    uint32_t incarnation;        /* of this process: cursors are of its memory */
    char *address;
    _Atomic uint64_t body_bytes; /* held by bodies that are being received or wait */
    _Atomic uint64_t answer_bytes; /* of queries, until their clients have taken them */
    atomic_int outstanding;      /* requests that another thread will answer */
    atomic_bool closing;
    struct leat_query *queries;
    /* Streams and the clerk */
    pthread_mutex_t lock;
    pthread_cond_t wake_clerk;
    pthread_t clerk;
    bool streams_open, clerk_runs;
    struct leat_stream *streams;
    size_t stream_count;
    struct leat_peer *peers;     /* open connections */
    char *status_text;           /* the newest status, for its stream */
    uint64_t status_number;
    bool status_asked;
};
/* An open connection. One that has not asked anything for a while, or not completely, is shut down. */
struct leat_peer {
    int fd;
    _Atomic int64_t waits_since_us; /* for a request's headers; 0: one is under way */
    struct leat_peer *next, **link; /* guarded by serve->lock */
};
int64_t leat_peers_tick(struct leat_serve *, int64_t now_us); /* under the lock; the next deadline, INT64_MAX: none */

/* The answer is r->answer with this status; type NULL: JSON. */
void leat_reply(struct leat_request *, unsigned status, const char *type);
/* {"error":{"code":...,"message":...}} */
void leat_reply_error(struct leat_request *, unsigned status, const char *code, const char *format, ...) LEAT_PRINTF(4, 5);
void leat_reply_status(struct leat_request *, const struct leat_error *); /* an error of leat's as HTTP has it */
void leat_reply_header(struct leat_request *, const char *name, const char *format, ...) LEAT_PRINTF(3, 4);
/* Before the work goes to another thread; that thread calls resume once, after which the request is not its any more. */
void leat_request_suspend(struct leat_request *);
void leat_request_resume(struct leat_request *);
const char *leat_request_header(struct leat_request *, const char *name); /* NULL: none */
/* The table of the path; NULL: answered 404. */
const struct leat_live_table *leat_request_table(struct leat_request *);
int64_t leat_serve_now(const struct leat_serve *); /* monotonic */

/* The answer is made by the engine's thread between two of its turns; 503 where it stops first. */
void leat_request_ask(struct leat_request *, void (*make)(struct leat_request *, struct leat_engine *));
char *leat_request_sql(struct leat_request *); /* of the body: text, or {"sql":"..."}; NULL: answered. Owned by the caller */

/* ---- handlers ---- */
void leat_handle_ingest(struct leat_request *);
void leat_handle_rows(struct leat_request *);
void leat_handle_row(struct leat_request *);
void leat_handle_changes(struct leat_request *);
void leat_handle_status_stream(struct leat_request *);
void leat_handle_sql(struct leat_request *);
void leat_handle_status(struct leat_request *);
void leat_handle_tables(struct leat_request *);
void leat_handle_table(struct leat_request *);
void leat_handle_sources(struct leat_request *);
void leat_handle_source(struct leat_request *);
void leat_handle_history(struct leat_request *);
void leat_handle_graph(struct leat_request *);
void leat_handle_alter(struct leat_request *);
void leat_handle_altered(struct leat_request *);
void leat_handle_costs(struct leat_request *);
void leat_handle_openapi(struct leat_request *);
void leat_handle_docs(struct leat_request *);
void leat_handle_health(struct leat_request *);
void leat_handle_ready(struct leat_request *);
void leat_handle_metrics(struct leat_request *);
void leat_handle_web(struct leat_request *);

/* ---- stream.c ---- */
enum leat_status leat_streams_open(struct leat_serve *, struct leat_error *) LEAT_MUST;
void leat_streams_stop(struct leat_serve *);  /* ends all streams */
void leat_streams_close(struct leat_serve *);
void leat_clerk_wake(struct leat_serve *);    /* a deadline is new */

/* ---- query.c ---- */
enum leat_status leat_queries_open(struct leat_serve *, struct leat_error *) LEAT_MUST;
void leat_queries_stop(struct leat_serve *);  /* nothing is run any more; what waits is answered */
void leat_queries_close(struct leat_serve *); /* after the daemon */
struct leat_query_options {
    enum leat_query_format format;
    int64_t timeout_us;
    const char *file;             /* a download of that name; NULL: none. Lives as long as the engine */
    const char *table;            /* JSON as a page of this table's rows: */
    int64_t limit, cursor;
    bool one_row;                 /* the row alone; 404 when there is none */
};
/* Suspends the request and runs `sql` (copied) for it. */
void leat_query_run(struct leat_request *, const char *sql, const struct leat_query_options *);
bool leat_query_format_of(const char *text, enum leat_query_format *out);
extern const char *const leat_query_formats[];

#endif
