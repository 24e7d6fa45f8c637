#include "connect/cql/connection.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct leat_cql {
    struct leat_cql_shared shared;
    struct leat_cql_connection hosts[LEAT_CQL_HOSTS_MAX];
    size_t host_count, turn;         /* turn: whose answers are looked at first, so that all have theirs */
    struct leat_cql_message message; /* of the last reply */
    const atomic_int *stop;          /* NULL: nobody stops it */
};

#define STOP_LOOK_US 100000 /* how long a stop may go unseen */

static int64_t now_us(const struct leat_cql *s) {
    return s->shared.clock->monotonic_us(s->shared.clock);
}

/* ---- Opening ---- */

static void add_host(struct leat_cql *s, const char *host, size_t host_bytes, const char *port, size_t port_bytes) {
    leat_cql_connection_init(&s->hosts[s->host_count++], &s->shared, leat_strndup(host, host_bytes),
                             leat_strndup(port, port_bytes));
}

/* "host", "host:port", "v6", "[v6]", "[v6]:port". */
static enum leat_status parse_point(struct leat_cql *s, const char *text, size_t n, struct leat_error *err) {
    static const char default_port[] = "9042";
    const char *end = text + n, *host = text, *host_end = end, *port = NULL;
    const char *bracket = *text == '[' ? memchr(text, ']', n) : NULL, *colon = memchr(text, ':', n);
    if (bracket) {
        host = text + 1;
        host_end = bracket;
        if (bracket + 1 < end) port = bracket[1] == ':' ? bracket + 2 : end;
    } else if (colon && !memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        host_end = colon;
        port = colon + 1;
    }
    long number = port ? 0 : LEAT_CQL_PORT;
    for (const char *c = port; c && c < end && number < 100000; c++)
        number = isdigit((unsigned char)*c) ? number * 10 + *c - '0' : 100000;
    if (host == host_end || number < 1 || number > 65535)
        return leat_fail(err, LEAT_INVALID, "'%.*s' is not a contact point; write host, host:port or [address]:port",
                         (int)n, text);
    if (s->host_count == LEAT_CQL_HOSTS_MAX)
        return leat_fail(err, LEAT_INVALID, "more than %d contact points", LEAT_CQL_HOSTS_MAX);
    if (port)
        add_host(s, host, (size_t)(host_end - host), port, (size_t)(end - port));
    else
        add_host(s, host, (size_t)(host_end - host), default_port, sizeof default_port - 1);
    return LEAT_OK;
}

static enum leat_status parse_points(struct leat_cql *s, const char *text, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    while (!status && *text) {
        size_t n = strcspn(text, ",");
        const char *from = text, *to = text + n;
        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        if (from < to) status = parse_point(s, from, (size_t)(to - from), err);
        text += n + (text[n] == ',');
    }
    return status || s->host_count ? status : leat_fail(err, LEAT_INVALID, "no contact point is given");
}

static int64_t or_default(int64_t given, int64_t usual) {
    return given > 0 ? given : usual;
}

enum leat_status leat_cql_open(struct leat_clock *clock, const struct leat_cql_config *config, struct leat_cql **out,
                               struct leat_error *err) {
    *out = NULL;
    struct leat_cql *s = leat_alloc(sizeof *s);
    s->shared = (struct leat_cql_shared){
        .clock = clock,
        .tls_any_host = config->tls_any_host,
        .in_flight_max = (uint16_t)or_default(config->in_flight_max < 16384 ? config->in_flight_max : 16384, 256),
        .in_flight_bytes_max = config->in_flight_bytes_max ? config->in_flight_bytes_max : (size_t)1 << 20,
        .frame_bytes_max = config->frame_bytes_max ? config->frame_bytes_max : (size_t)16 << 20,
        .connect_timeout_us = or_default(config->connect_timeout_us, 5000000),
        .request_timeout_us = or_default(config->request_timeout_us, 12000000),
        .retry_min_us = or_default(config->retry_min_us, 100000),
        .retry_max_us = or_default(config->retry_max_us, 10000000),
    };
    leat_random_seed(&s->shared.random, (uint64_t)now_us(s) ^ (uintptr_t)s);
    if (config->user) s->shared.user = leat_strdup(config->user);
    if (config->password) s->shared.password = leat_strdup(config->password);
    s->message.result.paging_state.length = -1;
    enum leat_status status = parse_points(s, config->contact_points, err);
    if (!status && config->tls) status = leat_cql_tls_context_open(config, &s->shared.tls, err);
    if (status)
        leat_cql_close(s);
    else
        *out = s;
    return status;
}

void leat_cql_close(struct leat_cql *s) {
    if (!s) return;
    leat_cql_message_deinit(&s->message);
    for (size_t i = 0; i < s->host_count; i++)
        leat_cql_connection_deinit(&s->hosts[i]);
    for (int i = 0; i < s->shared.statement_count; i++)
        free(s->shared.statements[i].text), free(s->shared.statements[i].types);
    leat_cql_tls_context_close(s->shared.tls);
    free(s->shared.user);
    free(s->shared.password);
    free(s);
}

void leat_cql_heed(struct leat_cql *s, const atomic_int *stop) {
    s->stop = stop;
}

static bool stopped(const struct leat_cql *s) {
    return s->stop && atomic_load(s->stop);
}

static void set_types(struct leat_cql_statement *statement, const uint16_t *types, size_t count) {
    free(statement->types);
    statement->types = types ? leat_alloc((count + 1) * sizeof *types) : NULL;
    statement->type_count = count;
    if (types) memcpy(statement->types, types, count * sizeof *types);
}

static bool has_types(const struct leat_cql_statement *statement, const uint16_t *types, size_t count) {
    if (!types || !statement->types) return !types && !statement->types;
    return statement->type_count == count && memcmp(statement->types, types, count * sizeof *types) == 0;
}

enum leat_status leat_cql_prepare(struct leat_cql *s, const char *text, const uint16_t *types, size_t type_count, int *statement,
                                  struct leat_error *err) {
    int count = s->shared.statement_count, at = 0;
    while (at < count && strcmp(s->shared.statements[at].text, text) != 0)
        at++;
    *statement = at;
    bool fresh = at == count;
    if (!fresh && has_types(&s->shared.statements[at], types, type_count)) return LEAT_OK;
    if (at == LEAT_CQL_STATEMENTS_MAX)
        return leat_fail(err, LEAT_LIMIT, "more than %d prepared statements", LEAT_CQL_STATEMENTS_MAX);
    if (fresh) s->shared.statements[s->shared.statement_count++].text = leat_strdup(text);
    set_types(&s->shared.statements[at], types, type_count);
    for (size_t i = 0; i < s->host_count; i++) {
        if (s->hosts[i].phase != LEAT_CQL_READY) continue;
        if (!fresh) leat_cql_connection_forget(&s->hosts[i]);
        leat_cql_connection_prepare(&s->hosts[i]);
    }
    return LEAT_OK;
}

/* ---- The loop ---- */

/* Starts what is due, waits for any socket until wait_until_us at most, and does what the sockets allow. */
static void pump(struct leat_cql *s, int64_t wait_until_us) {
    struct pollfd fds[LEAT_CQL_HOSTS_MAX];
    int64_t now = now_us(s), until = wait_until_us;
    if (s->stop && until > now + STOP_LOOK_US) until = now + STOP_LOOK_US;
    for (size_t i = 0; i < s->host_count; i++) {
        leat_cql_connection_start(&s->hosts[i], now);
        leat_cql_connection_flush(&s->hosts[i]);
        fds[i] = (struct pollfd){.fd = s->hosts[i].fd, .events = leat_cql_connection_events(&s->hosts[i])};
        int64_t due = leat_cql_connection_due_us(&s->hosts[i]);
        if (s->hosts[i].lost_count) due = now;
        if (due < until) until = due;
    }
    int64_t wait_ms = until > now ? (until - now + 999) / 1000 : 0;
    if (poll(fds, s->host_count, wait_ms > 60000 ? 60000 : (int)wait_ms) < 0) memset(fds, 0, sizeof fds);
    now = now_us(s);
    for (size_t i = 0; i < s->host_count; i++)
        leat_cql_connection_work(&s->hosts[i], fds[i].revents, now);
}

static bool ready(const struct leat_cql *s) {
    for (size_t i = 0; i < s->host_count; i++)
        if (s->hosts[i].phase == LEAT_CQL_READY) return true;
    return false;
}

/* Every host has failed, and none of them is on its way. */
static bool all_failed(const struct leat_cql *s) {
    for (size_t i = 0; i < s->host_count; i++)
        if (!s->hosts[i].failed || s->hosts[i].fd >= 0) return false;
    return true;
}

static enum leat_status tell_failures(const struct leat_cql *s, struct leat_error *err) {
    struct leat_error all;
    leat_fail(&all, LEAT_IO, "no host of Cassandra is ready");
    all.retriable = true;
    for (size_t i = 0; i < s->host_count; i++) {
        const struct leat_cql_connection *c = &s->hosts[i];
        size_t n = strlen(all.text);
        if (c->error.status)
            snprintf(all.text + n, sizeof all.text - n, "; %s", c->error.text);
        else
            snprintf(all.text + n, sizeof all.text - n, "; %s:%s: no answer yet", c->host, c->port);
        if (s->host_count == 1 && c->error.status == LEAT_INVALID) all.status = LEAT_INVALID, all.retriable = false;
    }
    if (err) *err = all;
    return all.status;
}

enum leat_status leat_cql_connect(struct leat_cql *s, int64_t deadline_us, struct leat_error *err) {
    pump(s, 0); /* a connection that died while nobody looked */
    for (size_t i = 0; i < s->host_count && !ready(s); i++)
        if (s->hosts[i].phase == LEAT_CQL_DOWN) s->hosts[i].failed = false; /* ask each of them anew */
    while (!ready(s)) {
        if (stopped(s)) return leat_fail(err, LEAT_CANCELLED, "stopped");
        if (all_failed(s) || now_us(s) >= deadline_us) return tell_failures(s, err);
        pump(s, deadline_us);
    }
    return LEAT_OK;
}

size_t leat_cql_in_flight(const struct leat_cql *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->host_count; i++)
        n += (size_t)s->hosts[i].asked + s->hosts[i].lost_count;
    return n;
}

void leat_cql_abandon(struct leat_cql *s) {
    struct leat_error err;
    leat_fail(&err, LEAT_CANCELLED, "given up");
    for (size_t i = 0; i < s->host_count; i++) {
        struct leat_cql_connection *c = &s->hosts[i];
        if (c->asked) {
            leat_cql_connection_break(c, &err);
            c->retry_at_us = 0;
        }
        c->lost_count = 0;
    }
}

/* The ready host with the most room. */
static struct leat_cql_connection *choose(struct leat_cql *s, size_t bytes) {
    struct leat_cql_connection *best = NULL;
    for (size_t i = 0; i < s->host_count; i++) {
        struct leat_cql_connection *c = &s->hosts[i];
        if (leat_cql_connection_takes(c, bytes) && (!best || c->window - c->asked > best->window - best->asked))
            best = c;
    }
    return best;
}

enum leat_status leat_cql_send(struct leat_cql *s, const struct leat_cql_request *request, uint64_t tag,
                               struct leat_error *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < request->item_count; i++)
        bytes += request->items[i].values_bytes;
    struct leat_cql_connection *c = choose(s, bytes);
    if (!c) return leat_fail(err, LEAT_BUSY, "no host of Cassandra can take a request now");
    return leat_cql_connection_send(c, request, tag, err);
}

static bool next_answer(struct leat_cql *s, struct leat_cql_reply *reply) {
    for (size_t i = 0; i < s->host_count; i++) {
        struct leat_cql_connection *c = &s->hosts[(s->turn + i) % s->host_count];
        if (!leat_cql_connection_answer(c, &s->message, &reply->tag)) continue;
        s->turn = (s->turn + i + 1) % s->host_count;
        reply->code = -1;
        reply->status = LEAT_OK;
        reply->error.status = LEAT_OK;
        if (s->message.opcode == LEAT_CQL_OP_RESULT) {
            reply->result = s->message.result;
            return true;
        }
        reply->result = (struct leat_cql_result){.paging_state.length = -1};
        reply->code = s->message.opcode == LEAT_CQL_OP_ERROR ? s->message.code : -1;
        if (s->message.opcode != LEAT_CQL_OP_ERROR)
            leat_fail(&reply->error, LEAT_CORRUPT, "%s:%s: a request is answered with opcode 0x%02x", c->host, c->port,
                      s->message.opcode);
        else if (s->message.code < 0)
            reply->error = c->lost_error;
        else
            leat_cql_error(&s->message, &reply->error);
        reply->status = reply->error.status;
        return true;
    }
    return false;
}

/* Is a statement on its way to be prepared where nothing else is? */
static bool preparing(const struct leat_cql *s) {
    for (size_t i = 0; i < s->host_count; i++)
        if (s->hosts[i].phase == LEAT_CQL_READY && s->hosts[i].ours > 0) return true;
    return false;
}

enum leat_status leat_cql_wait(struct leat_cql *s, int64_t deadline_us, struct leat_cql_reply *reply) {
    leat_cql_message_deinit(&s->message);
    for (;;) {
        if (next_answer(s, reply)) return LEAT_OK;
        if (leat_cql_in_flight(s) == 0 && !preparing(s)) return LEAT_END;
        pump(s, deadline_us);
        if (stopped(s)) return LEAT_CANCELLED;
        if (now_us(s) >= deadline_us) return next_answer(s, reply) ? LEAT_OK : LEAT_BUSY;
    }
}

/* ---- One at a time ---- */

/* Sends, waiting for a host that can take it and has prepared the statement. */
static enum leat_status send_patiently(struct leat_cql *s, const struct leat_cql_request *request, int64_t deadline_us,
                                       struct leat_error *err) {
    for (;;) {
        enum leat_status status = leat_cql_connect(s, deadline_us, err);
        if (status) return status;
        status = leat_cql_send(s, request, 0, err);
        if (status != LEAT_BUSY || now_us(s) >= deadline_us || stopped(s)) return status;
        pump(s, deadline_us);
    }
}

enum leat_status leat_cql_run(struct leat_cql *s, const struct leat_cql_request *request, int64_t deadline_us,
                              struct leat_cql_reply *reply, struct leat_error *err) {
    assert(leat_cql_in_flight(s) == 0);
    reply->code = -1;
    enum leat_status status = send_patiently(s, request, deadline_us, err);
    if (status) return status;
    status = leat_cql_wait(s, deadline_us, reply);
    if (status) {
        leat_cql_abandon(s);
        if (status == LEAT_CANCELLED) return leat_fail(err, LEAT_CANCELLED, "stopped");
        leat_fail(err, LEAT_BUSY, "Cassandra does not answer in time");
        err->retriable = true;
        return LEAT_BUSY;
    }
    if (reply->status) *err = reply->error;
    return reply->status;
}

enum leat_status leat_cql_each_row(struct leat_cql *s, const struct leat_cql_request *request, int64_t deadline_us,
                                   bool (*visit)(void *, const struct leat_cql_result *,
                                                 const struct leat_cql_bytes *values),
                                   void *context, struct leat_error *err) {
    struct leat_cql_request page = *request;
    struct leat_buffer state = {0};
    enum leat_status status;
    bool more = true;
    do {
        struct leat_cql_reply reply;
        status = leat_cql_run(s, &page, deadline_us, &reply, err);
        if (status || reply.result.kind != LEAT_CQL_ROWS) break;
        struct leat_cql_bytes *values = leat_alloc((reply.result.column_count + 1) * sizeof *values);
        while (more && leat_cql_next_row(&reply.result, values))
            more = visit(context, &reply.result, values);
        free(values);
        leat_buffer_reset(&state);
        if (reply.result.paging_state.length < 0) break;
        leat_putn(&state, (const char *)reply.result.paging_state.data, (size_t)reply.result.paging_state.length);
        page.paging_state = (struct leat_cql_bytes){(const uint8_t *)state.data, reply.result.paging_state.length};
    } while (more && page.paging_state.length > 0);
    leat_buffer_deinit(&state);
    return status;
}

struct versions {
    uint8_t first[16];
    bool any, differ;
};

static bool see_version(void *context, const struct leat_cql_result *result, const struct leat_cql_bytes *values) {
    struct versions *v = context;
    if (result->column_count != 1 || values[0].length != 16) return true; /* a node that is not heard of has none */
    if (v->any && memcmp(v->first, values[0].data, 16) != 0) v->differ = true;
    memcpy(v->first, values[0].data, 16);
    v->any = true;
    return true;
}

enum leat_status leat_cql_agree(struct leat_cql *s, int64_t deadline_us, struct leat_error *err) {
    static const char *const texts[] = {"SELECT schema_version FROM system.local WHERE key = 'local'",
                                        "SELECT schema_version FROM system.peers"};
    for (;;) {
        struct versions seen = {0};
        for (int i = 0; i < 2; i++) {
            struct leat_cql_item item = {.statement = -1, .text = texts[i]};
            struct leat_cql_request request = {
                .items = &item, .item_count = 1, .consistency = LEAT_CQL_ONE, .page_rows = 1000};
            enum leat_status status = leat_cql_each_row(s, &request, deadline_us, see_version, &seen, err);
            if (status) return status;
        }
        if (!seen.differ) return LEAT_OK;
        int64_t again = now_us(s) + 200000;
        if (again >= deadline_us) break;
        while (now_us(s) < again)
            pump(s, again);
    }
    leat_fail(err, LEAT_BUSY, "the nodes of Cassandra do not agree on the schema yet");
    err->retriable = true;
    return LEAT_BUSY;
}
