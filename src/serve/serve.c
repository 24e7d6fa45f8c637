/* The daemon, and the life of a request: begun when its headers are there (who asks, which route, how large), its body received, handled,
 * answered; or suspended while another thread makes the answer. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/usage.h"
#include "connect/http.h"
#include "serve/internal.h"

enum {
    HEADER_BYTES_MAX = 16 << 10,  /* of a connection's memory: request line, headers, and a piece of body */
    CONNECTIONS_MAX = 4096,
    IDLE_SECONDS = 60,            /* without a byte either way */
    HEADER_SECONDS = 60,          /* from a connection's beginning, or its last answer, to the headers of its next request */
    BODY_SECONDS = 60,            /* from the headers to the last byte of the body */
    THREADS = 2,
    LISTEN_BACKLOG = 1024,
};

int64_t leat_serve_now(const struct leat_serve *serve) {
    return serve->env->clock->monotonic_us(serve->env->clock);
}

const char *leat_serve_address(const struct leat_serve *serve) {
    return serve->address;
}

/* ---- answers ----------------------------------------------------------------------------------------------- */

const char *leat_request_header(struct leat_request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

void leat_reply(struct leat_request *r, unsigned status, const char *type) {
    r->status = status;
    r->type = type;
    r->answered = true;
}

void leat_reply_header(struct leat_request *r, const char *name, const char *format, ...) {
    if (r->header_count == sizeof r->headers / sizeof *r->headers) return;
    struct leat_header *header = &r->headers[r->header_count++];
    va_list args;
    va_start(args, format);
    vsnprintf(header->value, sizeof header->value, format, args);
    va_end(args);
    header->name = name;
}

void leat_reply_error(struct leat_request *r, unsigned status, const char *code, const char *format, ...) {
    char text[LEAT_ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    leat_buffer_reset(&r->answer);
    leat_putf(&r->answer, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    leat_put_json_string(&r->answer, text, strlen(text));
    leat_put(&r->answer, "}}\n");
    leat_reply(r, status, NULL);
}

void leat_reply_status(struct leat_request *r, const struct leat_error *err) {
    static const struct { enum leat_status status; unsigned http; const char *code; } known[] = {
        {LEAT_INVALID, 400, "invalid"},         {LEAT_SQL, 400, "sql"},
        {LEAT_NOT_FOUND, 404, "not_found"},     {LEAT_LIMIT, 413, "too_large"},
        {LEAT_UNSUPPORTED, 501, "unsupported"}, {LEAT_BUSY, 429, "busy"},
        {LEAT_CANCELLED, 503, "stopping"},      {LEAT_NO_SPACE, 507, "no_space"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].status != err->status || err->fatal) continue; /* fatal: leat's own failure, or DuckDB's */
        leat_reply_error(r, known[i].http, known[i].code, "%s", err->text);
        if (err->status == LEAT_BUSY || err->status == LEAT_CANCELLED) leat_reply_header(r, "Retry-After", "1");
        return;
    }
    leat_log(r->serve->env, LEAT_LOG_ERROR, "http: %s", err->text); /* with paths: not for those outside */
    leat_reply_error(r, 500, "failed", "leat failed at this; its log says more");
}

const struct leat_live_table *leat_request_table(struct leat_request *r) {
    const struct leat_live *live = r->serve->live;
    const struct leat_live_table *table = leat_live_find(live, r->match.values[0]);
    if (table) return table;
    size_t n = leat_live_table_count(live);
    const char **names = leat_alloc((n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++) names[i] = leat_live_table_at(live, i)->name;
    const char *nearest = leat_nearest(r->match.values[0], names, n);
    leat_reply_error(r, 404, "not_found", nearest ? "there is no table '%.100s'; did you mean '%s'?" : "there is no table '%.100s'; /v1/tables lists them",
                     r->match.values[0], nearest);
    free(names);
    return NULL;
}

static enum MHD_Result send_answer(struct leat_request *r) {
    if (r->render) {
        void (*render)(struct leat_request *) = r->render;
        r->render = NULL;
        render(r);
    }
    struct MHD_Response *response = r->response;
    if (!response) {
        response = MHD_create_response_from_buffer(r->answer.length, r->answer.data, MHD_RESPMEM_MUST_FREE);
        if (!response) return MHD_NO;
        r->answer = (struct leat_buffer){0};
    }
    r->response = NULL;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type ? r->type : "application/json");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < r->header_count; i++) MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    enum MHD_Result queued = MHD_queue_response(r->connection, r->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- other threads --------------------------------------------------------------------------------------------- */

void leat_request_suspend(struct leat_request *r) {
    r->suspended = true;
    atomic_fetch_add(&r->serve->outstanding, 1);
    MHD_suspend_connection(r->connection);
}

void leat_request_resume(struct leat_request *r) {
    struct leat_serve *serve = r->serve;
    MHD_resume_connection(r->connection);
    atomic_fetch_sub(&serve->outstanding, 1);
}

/* ---- connections --------------------------------------------------------------------------------------------------- */

static struct leat_peer *peer_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **own, enum MHD_ConnectionNotificationCode code) {
    struct leat_serve *serve = context;
    struct leat_peer *peer = *own;
    pthread_mutex_lock(&serve->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *own = peer = leat_alloc(sizeof *peer);
        peer->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        atomic_store(&peer->waits_since_us, leat_serve_now(serve));
        peer->next = serve->peers;
        peer->link = &serve->peers;
        if (peer->next) peer->next->link = &peer->next;
        if (!serve->peers) pthread_cond_signal(&serve->wake_clerk);
        serve->peers = peer;
    } else if (peer) {
        *peer->link = peer->next;
        if (peer->next) peer->next->link = peer->link;
        free(peer);
        *own = NULL;
    }
    pthread_mutex_unlock(&serve->lock);
}

int64_t leat_peers_tick(struct leat_serve *serve, int64_t now_us) {
    int64_t next = INT64_MAX;
    for (struct leat_peer *peer = serve->peers; peer; peer = peer->next) {
        int64_t since = atomic_load(&peer->waits_since_us), due = since ? since + HEADER_SECONDS * INT64_C(1000000) : now_us + HEADER_SECONDS * INT64_C(1000000);
        if (due <= now_us) shutdown(peer->fd, SHUT_RDWR); /* libmicrohttpd sees its end and closes it */
        else if (due < next) next = due;
    }
    return next;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static enum MHD_Result add_query(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    (void)kind;
    leat_query_add(context, name, value);
    return MHD_YES;
}

static void refuse_access(struct leat_request *r, enum leat_access access, unsigned role) {
    if (access == LEAT_ACCESS_ROLE) {
        leat_reply_error(r, 403, "forbidden", "this token does not have the role '%s'", leat_role_name(role));
        return;
    }
    leat_reply_error(r, 401, access == LEAT_ACCESS_NONE ? "token_missing" : access == LEAT_ACCESS_EXPIRED ? "token_expired" : "token_wrong",
                     access == LEAT_ACCESS_NONE      ? "send a token: Authorization: Bearer ..."
                     : access == LEAT_ACCESS_EXPIRED ? "this token has expired"
                                                     : "there is no such token");
    leat_reply_header(r, "WWW-Authenticate", "Bearer realm=\"leat\"");
}

/* Without tokens whoever reaches the port may do everything: so it is reached only from this machine, and not from a page of elsewhere that a browser on
 * it shows. */
static bool check_access(struct leat_request *r) {
    const struct leat_serve *serve = r->serve;
    const struct leat_route *route = r->match.route;
    const char *host = leat_request_header(r, MHD_HTTP_HEADER_HOST), *origin = leat_request_header(r, MHD_HTTP_HEADER_ORIGIN);
    int64_t now = serve->env->clock->now_us(serve->env->clock);
    enum leat_access access = leat_bearers_check(&serve->tokens, leat_request_header(r, MHD_HTTP_HEADER_AUTHORIZATION), route->role, now);
    if (access != LEAT_ACCESS_OK) {
        refuse_access(r, access, route->role);
        return false;
    }
    if (serve->tokens.count) return true;
    if (host && !leat_host_is_loopback(host)) {
        leat_reply_error(r, 403, "host", "without tokens leat answers only to names of this machine, such as localhost, not to '%.100s'", host);
        return false;
    }
    if (origin && strcmp(route->method, "GET") != 0 && !leat_origin_is_own(origin, host)) {
        leat_reply_error(r, 403, "origin", "a page of '%.100s' may not do this", origin);
        return false;
    }
    return true;
}

static bool check_parameters(struct leat_request *r) {
    const struct leat_route *route = r->match.route;
    if (r->match.problem || r->query.problem) {
        leat_reply_error(r, 400, "url", "the address has %s", r->match.problem ? r->match.problem : r->query.problem);
        return false;
    }
    for (size_t i = 0; i < r->query.count && !route->columns; i++) {
        const char *name = r->query.items[i].name, *names[LEAT_ROUTE_PARAMS_MAX];
        size_t n = 0;
        bool known = false;
        for (; n < LEAT_ROUTE_PARAMS_MAX && route->params[n].name; n++) {
            names[n] = route->params[n].name;
            known |= strcmp(names[n], name) == 0;
        }
        if (known) continue;
        const char *nearest = leat_nearest(name, names, n);
        leat_reply_error(r, 400, "parameter", nearest ? "unknown parameter '%.100s'; did you mean '%s'?" : "unknown parameter '%.100s'", name, nearest);
        return false;
    }
    return true;
}

static bool too_many_bodies(struct leat_request *r) {
    if (atomic_load(&r->serve->body_bytes) <= LEAT_BODY_ALL_MAX) return false;
    leat_reply_error(r, 429, "busy", "too many bodies are under way");
    leat_reply_header(r, "Retry-After", "1");
    return true;
}

static bool begin_body(struct leat_request *r) {
    const char *length = leat_request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH), *encoded = leat_request_header(r, MHD_HTTP_HEADER_CONTENT_ENCODING);
    enum leat_encoding encoding;
    if (!leat_encoding_of(encoded, &encoding)) {
        leat_reply_error(r, 415, "encoding", "Content-Encoding '%.50s' is not known; gzip, zstd or none", encoded);
        return false;
    }
    if (length && strtoull(length, NULL, 10) > LEAT_BODY_BYTES_MAX) {
        leat_reply_error(r, 413, "too_large", "the body has more than %zu bytes; send it in parts", (size_t)LEAT_BODY_BYTES_MAX);
        return false;
    }
    if (too_many_bodies(r)) return false;
    leat_body_init(&r->body, encoding);
    return true;
}

struct framing { const char *length, *coding; bool several; };

static enum MHD_Result look_at_framing(void *context, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct framing *f = context;
    (void)kind;
    const char **of = strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0 ? &f->length : strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0 ? &f->coding : NULL;
    if (of && *of) f->several = true;
    if (of) *of = value ? value : "";
    return MHD_YES;
}

/* Where the body ends must be the same for whoever stands in front of us: what follows it would else be a request that nobody there has seen. */
static bool check_framing(struct leat_request *r) {
    struct framing f = {0};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, look_at_framing, &f);
    if (!f.several && !(f.length && f.coding) && (!f.coding || strcasecmp(f.coding, "chunked") == 0)) return true;
    leat_reply_error(r, 400, "framing", "say how long the body is once: one Content-Length, or Transfer-Encoding: chunked");
    leat_reply_header(r, "Connection", "close");
    return false;
}

/* The answer, where the headers are enough for it; else false: go on. */
static bool refuse(struct leat_request *r, const char *method, const char *url) {
    leat_route_find(strcmp(method, "HEAD") == 0 ? "GET" : method, url, &r->match);
    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, add_query, &r->query);
    if (!check_framing(r)) return true;
    if (atomic_load(&r->serve->closing)) {
        leat_reply_error(r, 503, "stopping", "leat stops");
        leat_reply_header(r, "Retry-After", "1");
        return true;
    }
    if (!r->match.route) {
        if (r->match.path_known) {
            struct leat_buffer allowed = {0};
            leat_put_allowed(url, &allowed);
            leat_reply_error(r, 405, "method", "%s is not for this path; it takes %s", method, allowed.data);
            leat_reply_header(r, "Allow", "%s", allowed.data);
            leat_buffer_deinit(&allowed);
        } else {
            leat_reply_error(r, 404, "not_found", "there is nothing at this path; /docs lists what there is");
        }
        return true;
    }
    if (!check_access(r) || !check_parameters(r)) return true;
    return r->match.route->body && !begin_body(r);
}

static void handle(struct leat_request *r) {
    struct leat_error err;
    if (r->match.route->body && leat_body_end(&r->body, &err) != LEAT_OK)
        leat_reply_status(r, &err);
    else
        r->match.route->handle(r);
}

static enum MHD_Result proceed(struct leat_request *r) {
    return !r->suspended && r->answered ? send_answer(r) : MHD_YES; /* a suspended one may not even be looked at */
}

static bool announces_body(struct leat_request *r) {
    const char *length = leat_request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length && strcmp(length, "0") != 0) || leat_request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

/* What is wrong is told when the body is over: libmicrohttpd takes no answer before. */
static bool take_piece(struct leat_request *r, const char *bytes, size_t n) {
    struct leat_error err;
    if (too_many_bodies(r)) return false;
    if (leat_body_add(&r->body, bytes, n, &err) == LEAT_OK) return true;
    leat_reply_status(r, &err);
    return false;
}

static enum MHD_Result receive(struct leat_request *r, const char *bytes, size_t *n) {
    if (leat_serve_now(r->serve) - r->started_us > BODY_SECONDS * INT64_C(1000000)) return MHD_NO;
    if (r->refused || !r->match.route->body) { /* nobody wants it */
        r->body.received_bytes += *n;
        if (r->body.received_bytes > LEAT_BODY_DISCARD_MAX) return MHD_NO;
    } else if (!take_piece(r, bytes, *n)) {
        r->refused = true;
        leat_body_deinit(&r->body);
    }
    size_t held = leat_body_held_bytes(&r->body);
    atomic_fetch_add(&r->serve->body_bytes, held - r->counted_bytes);
    r->counted_bytes = held;
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
                                  const char *bytes, size_t *n, void **own) {
    struct leat_request *r = *own;
    (void)version;
    if (!r) {
        *own = r = leat_alloc(sizeof *r);
        r->serve = context;
        r->connection = connection;
        r->started_us = leat_serve_now(r->serve);
        struct leat_peer *peer = peer_of(connection);
        if (peer) atomic_store(&peer->waits_since_us, 0);
        /* An answer now would close the connection (libmicrohttpd reads no further): only where a body is on its way that nobody wants. */
        r->refused = refuse(r, method, url);
        return r->refused && announces_body(r) ? proceed(r) : MHD_YES;
    }
    if (r->suspended) { /* resumed */
        r->suspended = false;
        return send_answer(r);
    }
    if (*n) return receive(r, bytes, n);
    if (!r->refused) handle(r);
    return proceed(r);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **own, enum MHD_RequestTerminationCode code) {
    struct leat_request *r = *own;
    (void)context, (void)code;
    struct leat_peer *peer = peer_of(connection);
    if (!r) return;
    if (peer) atomic_store(&peer->waits_since_us, leat_serve_now(r->serve));
    atomic_fetch_sub(&r->serve->body_bytes, r->counted_bytes);
    atomic_fetch_sub(&r->serve->answer_bytes, r->counted_answer_bytes);
    if (r->work) r->free_work(r->work);
    free(r->work_text);
    leat_match_deinit(&r->match);
    leat_query_deinit(&r->query);
    leat_body_deinit(&r->body);
    leat_buffer_deinit(&r->answer);
    free(r);
    *own = NULL;
}

/* Paths and parameters are decoded by us, once, after they were taken apart. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text) {
    (void)context, (void)connection;
    return strlen(text);
}

static void on_log(void *context, const char *format, va_list args) {
    struct leat_serve *serve = context;
    char text[512];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = 0;
    leat_log(serve->env, LEAT_LOG_INFO, "http: %s", text);
}

/* ---- opening -------------------------------------------------------------------------------------------------------- */

struct place { struct sockaddr_storage address; char host[64]; bool six, loopback; };

static enum leat_status parse_listen(const char *text, struct place *out, struct leat_error *err) {
    const char *colon = strrchr(text, ':'), *host = text;
    size_t n = colon ? (size_t)(colon - text) : 0;
    char *end;
    memset(out, 0, sizeof *out);
    long port = colon && colon[1] ? strtol(colon + 1, &end, 10) : -1;
    if (port < 0 || port > 65535 || *end) goto bad;
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') host++, n -= 2, out->six = true;
    if (n == 0 || n >= sizeof out->host) goto bad;
    memcpy(out->host, host, n);
    if (!out->six && strcasecmp(out->host, "localhost") == 0) snprintf(out->host, sizeof out->host, "127.0.0.1");
    if (out->six) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&out->address;
        address->sin6_family = AF_INET6;
        address->sin6_port = htons((uint16_t)port);
        if (inet_pton(AF_INET6, out->host, &address->sin6_addr) != 1) goto bad;
        out->loopback = IN6_IS_ADDR_LOOPBACK(&address->sin6_addr);
    } else {
        struct sockaddr_in *address = (struct sockaddr_in *)&out->address;
        address->sin_family = AF_INET;
        address->sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, out->host, &address->sin_addr) != 1) goto bad;
        out->loopback = ntohl(address->sin_addr.s_addr) >> 24 == 127;
    }
    return LEAT_OK;
bad:
    return leat_fail(err, LEAT_INVALID, "cannot listen at '%s': say an address of this machine and a port, such as 127.0.0.1:8080 or [::1]:8080", text);
}

static enum leat_status read_pem(struct leat_serve *serve, const char *path, struct leat_buffer *out, struct leat_error *err) {
    enum leat_status st = leat_io_read_all(serve->env->io, path, LEAT_MIB, out, err);
    if (st == LEAT_OK && !out->length) st = leat_fail(err, LEAT_INVALID, "%s is empty", path);
    return st == LEAT_OK ? st : leat_prepend(err, "TLS");
}

static enum leat_status read_tokens(struct leat_serve *serve, const struct leat_serve_options *options, struct leat_error *err) {
    struct leat_buffer text = {0};
    enum leat_status st = LEAT_OK;
    if (options->tokens_text) st = leat_bearers_add(&serve->tokens, "LEAT_TOKENS", options->tokens_text, err);
    if (st == LEAT_OK && options->tokens_file) {
        char *file = realpath(options->tokens_file, NULL), *project = realpath(serve->project->dir, NULL);
        size_t n = project ? strlen(project) : 0;
        if (file && project && strncmp(file, project, n) == 0 && file[n] == '/')
            st = leat_fail(err, LEAT_INVALID, "the tokens' file %s is inside the project, where it would be copied and committed with it; keep it elsewhere",
                           options->tokens_file);
        free(file);
        free(project);
        if (st == LEAT_OK) st = leat_io_read_all(serve->env->io, options->tokens_file, LEAT_MIB, &text, err);
        if (st == LEAT_OK && text.length) st = leat_bearers_add(&serve->tokens, options->tokens_file, text.data, err);
        if (text.data) explicit_bzero(text.data, text.length);
    }
    leat_buffer_deinit(&text);
    if (st == LEAT_OK && !serve->tokens.count && (options->tokens_file || options->tokens_text))
        st = leat_fail(err, LEAT_INVALID, "there is no token in what should hold them");
    return st;
}

static enum leat_status start(struct leat_serve *serve, const struct leat_serve_options *options, const struct place *place, struct leat_error *err) {
    struct leat_buffer certificate = {0}, key = {0};
    enum leat_status st = LEAT_OK;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG;
    if (place->six) flags |= MHD_USE_IPv6;
    if (serve->tls) {
        flags |= MHD_USE_TLS;
        if ((st = read_pem(serve, options->tls_certificate, &certificate, err)) != LEAT_OK) goto out;
        if ((st = read_pem(serve, options->tls_key, &key, err)) != LEAT_OK) goto out;
    }
    struct MHD_OptionItem more[] = {
        {serve->tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, certificate.data},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, key.data},
        {MHD_OPTION_END, 0, NULL},
    };
    serve->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, serve, MHD_OPTION_EXTERNAL_LOGGER, on_log, serve, MHD_OPTION_SOCK_ADDR, &place->address,
                                     MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                     MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                                     MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)LISTEN_BACKLOG, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, serve,
                                     MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
    if (!serve->daemon) {
        st = leat_fail(err, LEAT_IO, "cannot listen at %s: is the address this machine's, and the port free%s?", options->listen,
                       serve->tls ? ", and do the certificate and the key belong together" : "");
        goto out;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(serve->daemon, MHD_DAEMON_INFO_BIND_PORT);
    serve->address = leat_asprintf(place->six ? "%s://[%s]:%u" : "%s://%s:%u", serve->tls ? "https" : "http", place->host, info ? info->port : 0u);
out:
    if (key.data) explicit_bzero(key.data, key.length);
    leat_buffer_deinit(&certificate);
    leat_buffer_deinit(&key);
    return st;
}

enum leat_status leat_serve_open(struct leat_env *env, struct leat_engine *engine, const struct leat_serve_options *options, struct leat_serve **out,
                                 struct leat_error *err) {
    struct leat_serve *serve = leat_alloc(sizeof *serve);
    struct place place;
    enum leat_status st;
    *out = NULL;
    serve->env = env;
    serve->engine = engine;
    serve->live = leat_engine_live(engine);
    serve->project = leat_engine_project(engine);
    serve->incarnation = (uint32_t)leat_random_next(&env->random);
    serve->tls = options->tls_certificate || options->tls_key;
    leat_usage_allow_files(2 * CONNECTIONS_MAX);
    if ((st = parse_listen(options->listen, &place, err)) != LEAT_OK) goto out;
    if (!options->tls_certificate != !options->tls_key) {
        st = leat_fail(err, LEAT_INVALID, "TLS needs both a certificate and its key");
        goto out;
    }
    if ((st = read_tokens(serve, options, err)) != LEAT_OK) goto out;
    if (!place.loopback && !serve->tokens.count) {
        st = leat_fail(err, LEAT_INVALID, "%s can be reached from other machines: give tokens (--tokens FILE), or listen at 127.0.0.1", options->listen);
        goto out;
    }
    if (!place.loopback && !serve->tls)
        leat_log(env, LEAT_LOG_WARN, "http: tokens and rows cross the network in the clear; give --tls-certificate and --tls-key, or put a proxy in front");
    if ((st = leat_queries_open(serve, err)) != LEAT_OK) goto out;
    if ((st = leat_streams_open(serve, err)) != LEAT_OK) goto out;
    st = start(serve, options, &place, err);
out:
    if (st != LEAT_OK) {
        leat_serve_close(serve);
        return st;
    }
    *out = serve;
    return LEAT_OK;
}

void leat_serve_close(struct leat_serve *serve) {
    if (!serve) return;
    atomic_store(&serve->closing, true);
    leat_streams_stop(serve);
    leat_queries_stop(serve);
    for (size_t i = 0; i < serve->project->source_count; i++) {
        struct leat_connector *connector = leat_engine_connector(serve->engine, i);
        if (leat_connector_is_http(connector)) leat_http_stop(connector);
    }
    /* The engine has cancelled what it still had to answer; the answers need a moment to be on their way. */
    struct leat_clock *clock = leat_clock_real(); /* a signal has ended the sleeps of the engine's */
    for (int i = 0; i < 500 && atomic_load(&serve->outstanding) > 0; i++) clock->sleep_until(clock, clock->monotonic_us(clock) + 10000);
    if (serve->daemon) MHD_stop_daemon(serve->daemon);
    leat_queries_close(serve);
    leat_streams_close(serve);
    leat_bearers_deinit(&serve->tokens);
    free(serve->address);
    free(serve);
}
