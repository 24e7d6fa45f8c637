#include "connect/cql/connection.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 << 10)

static int64_t now_us(const struct leat_cql_connection *c) {
    return c->shared->clock->monotonic_us(c->shared->clock);
}

void leat_cql_connection_init(struct leat_cql_connection *c, struct leat_cql_shared *shared, char *host, char *port) {
    *c = (struct leat_cql_connection){.shared = shared, .host = host, .port = port, .fd = -1};
    c->window = shared->in_flight_max;
    c->pause_us = shared->retry_min_us;
    c->streams = leat_alloc(shared->in_flight_max * sizeof *c->streams);
    c->free_streams = leat_alloc(shared->in_flight_max * sizeof *c->free_streams);
    c->lost = leat_alloc(shared->in_flight_max * sizeof *c->lost);
}

void leat_cql_connection_forget(struct leat_cql_connection *c) {
    memset(&c->error, 0, sizeof c->error);
    for (int i = 0; i < LEAT_CQL_STATEMENTS_MAX; i++) {
        free((void *)c->ids[i].data);
        c->ids[i] = (struct leat_cql_bytes){NULL, 0};
    }
    c->prepared = 0;
}

/* Gives back everything of the socket. */
static void hang_up(struct leat_cql_connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    leat_cql_tls_close(c->tls);
    c->tls = NULL;
    if (c->addresses) freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
    leat_buffer_deinit(&c->plain);
    leat_buffer_deinit(&c->wire);
    free(c->in);
    c->in = NULL;
    c->wire_sent = c->in_at = c->in_end = c->in_capacity = 0;
    c->ours = 0;
    leat_cql_connection_forget(c);
}

void leat_cql_connection_deinit(struct leat_cql_connection *c) {
    hang_up(c);
    free(c->streams);
    free(c->free_streams);
    free(c->lost);
    free(c->host);
    free(c->port);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

/* The pause doubles with each failure that no answer came between, and is shortened at random by up to a quarter, so
 * that clients do not come back all at once. */
static void pause_before_retry(struct leat_cql_connection *c) {
    int64_t pause = c->pause_us - (int64_t)leat_random_below(&c->shared->random, (uint64_t)c->pause_us / 4 + 1);
    c->retry_at_us = now_us(c) + pause;
    c->pause_us = c->pause_us * 2 < c->shared->retry_max_us ? c->pause_us * 2 : c->shared->retry_max_us;
}

void leat_cql_connection_break(struct leat_cql_connection *c, const struct leat_error *why) {
    hang_up(c);
    for (uint16_t i = 0; c->asked > 0 && i < c->shared->in_flight_max; i++)
        if (c->streams[i].asked) {
            c->streams[i].asked = false;
            c->lost[c->lost_count++] = c->streams[i].tag;
            c->lost_error = *why;
            c->asked--;
        }
    c->asked_bytes = 0;
    c->error = *why;
    c->failed = true;
    c->phase = LEAT_CQL_DOWN;
    pause_before_retry(c);
}

/* A failure of this host, with its name. */
static void fail(struct leat_cql_connection *c, struct leat_error *err) {
    leat_prepend(err, "%s:%s", c->host, c->port);
    if (err->status != LEAT_INVALID) err->retriable = true;
    leat_cql_connection_break(c, err);
}

static void fail_errno(struct leat_cql_connection *c, const char *what, int code) {
    struct leat_error err;
    leat_fail(&err, LEAT_IO, "%s: %s", what, strerror(code));
    fail(c, &err);
}

/* ---- Connecting ---- */

static void open_address(struct leat_cql_connection *c);

/* The address did not do; the next of the name, or the host is down. */
static void next_address(struct leat_cql_connection *c, int code) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->address = c->address->ai_next;
    if (c->address)
        open_address(c);
    else
        fail_errno(c, "cannot connect", code);
}

static void open_address(struct leat_cql_connection *c) {
    c->fd = socket(c->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        next_address(c, errno);
        return;
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    c->phase = LEAT_CQL_OPENING;
    if (connect(c->fd, c->address->ai_addr, c->address->ai_addrlen) != 0 && errno != EINPROGRESS)
        next_address(c, errno);
}

void leat_cql_connection_start(struct leat_cql_connection *c, int64_t now) {
    if (c->phase != LEAT_CQL_DOWN || now < c->retry_at_us) return;
    c->deadline_us = now + c->shared->connect_timeout_us;
    c->free_count = 0;
    for (uint16_t i = c->shared->in_flight_max; i > 0; i--)
        c->free_streams[c->free_count++] = (uint16_t)(i - 1);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int code = getaddrinfo(c->host, c->port, &hints, &c->addresses);
    if (code) {
        struct leat_error err;
        leat_fail(&err, LEAT_IO, "the host's name cannot be resolved: %s", gai_strerror(code));
        fail(c, &err);
        return;
    }
    c->address = c->addresses;
    open_address(c);
}

static void send_frame(struct leat_cql_connection *c, enum leat_status s, struct leat_error *err) {
    if (s) {
        fail(c, err);
        return;
    }
    if (c->phase == LEAT_CQL_READY && c->asked == 0 && c->ours == 0)
        c->deadline_us = now_us(c) + c->shared->request_timeout_us;
    c->ours++;
}

/* Frames of the handshake use the stream behind those of requests, one after the other; PREPAREs say their statement by
 * their stream. */
static int16_t our_stream(const struct leat_cql_connection *c, int statement) {
    return (int16_t)(c->shared->in_flight_max + statement);
}

static void greet(struct leat_cql_connection *c) {
    struct leat_error err;
    c->phase = LEAT_CQL_GREETING;
    send_frame(c, leat_cql_put_startup(c->tls ? &c->plain : &c->wire, our_stream(c, 0), &err), &err);
}

static void opened(struct leat_cql_connection *c) {
    int code = 0;
    socklen_t size = sizeof code;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
    if (code) {
        next_address(c, code);
        return;
    }
    if (!c->shared->tls) {
        greet(c);
        return;
    }
    struct leat_error err;
    c->phase = LEAT_CQL_SECURING;
    if (leat_cql_tls_open(c->shared->tls, c->shared->tls_any_host ? NULL : c->host, &c->tls, &err)) fail(c, &err);
}

static void secure(struct leat_cql_connection *c) {
    struct leat_error err;
    bool done = false;
    enum leat_status s = leat_cql_tls_handshake(c->tls, &done, &err);
    if (!s) s = leat_cql_tls_take(c->tls, &c->wire, &err);
    if (s)
        fail(c, &err);
    else if (done)
        greet(c);
}

void leat_cql_connection_prepare(struct leat_cql_connection *c) {
    struct leat_error err;
    while ((c->phase == LEAT_CQL_PREPARING || c->phase == LEAT_CQL_READY) && c->prepared < c->shared->statement_count) {
        int statement = c->prepared++;
        send_frame(c,
                   leat_cql_put_prepare(c->tls ? &c->plain : &c->wire, our_stream(c, statement),
                                        c->shared->statements[statement].text, &err),
                   &err);
    }
    if (c->phase == LEAT_CQL_PREPARING && c->ours == 0) c->phase = LEAT_CQL_READY;
}

static void prove(struct leat_cql_connection *c, const struct leat_cql_message *m) {
    struct leat_error err;
    if (!c->shared->user) {
        leat_fail(&err, LEAT_INVALID, "the server asks for a user and a password (%.*s), and none are given",
                  m->text.length, (const char *)m->text.data);
        fail(c, &err);
        return;
    }
    c->phase = LEAT_CQL_PROVING;
    send_frame(c,
               leat_cql_put_plain(c->tls ? &c->plain : &c->wire, our_stream(c, 0), c->shared->user,
                                  c->shared->password ? c->shared->password : "", &err),
               &err);
}

static void keep_id(struct leat_cql_connection *c, int statement, struct leat_cql_bytes id) {
    uint8_t *copy = leat_alloc((size_t)id.length + 1);
    if (id.length) memcpy(copy, id.data, (size_t)id.length);
    free((void *)c->ids[statement].data);
    c->ids[statement] = (struct leat_cql_bytes){copy, id.length};
}

/* Does it take the values that are sent? */
static bool takes_types(const struct leat_cql_statement *statement, const struct leat_cql_result *prepared) {
    bool same = !statement->types || statement->type_count == prepared->column_count;
    for (uint32_t i = 0; statement->types && same && i < prepared->column_count; i++)
        same = statement->types[i] == prepared->columns[i].type;
    return same;
}

/* An answer to a frame of our own. A statement that cannot be prepared stays so on this connection: requests that use
 * it are told why. */
static void advance(struct leat_cql_connection *c, const struct leat_cql_message *m) {
    struct leat_error err;
    int statement = m->stream - our_stream(c, 0);
    c->ours--;
    bool preparing = c->phase >= LEAT_CQL_PREPARING;
    if (preparing && m->opcode == LEAT_CQL_OP_RESULT && m->result.kind == LEAT_CQL_PREPARED &&
        statement < c->prepared) {
        if (takes_types(&c->shared->statements[statement], &m->result))
            keep_id(c, statement, m->result.prepared_id);
        else
            leat_fail(&c->error, LEAT_CONFLICT, "%s:%s: columns of the table have other types than they had", c->host, c->port);
    } else if (preparing && m->opcode == LEAT_CQL_OP_ERROR) {
        leat_cql_error(m, &c->error);
    } else if (c->phase == LEAT_CQL_GREETING && m->opcode == LEAT_CQL_OP_AUTHENTICATE) {
        prove(c, m);
        return;
    } else if ((c->phase == LEAT_CQL_GREETING && m->opcode == LEAT_CQL_OP_READY) ||
               (c->phase == LEAT_CQL_PROVING && m->opcode == LEAT_CQL_OP_AUTH_SUCCESS)) {
        c->phase = LEAT_CQL_PREPARING;
        memset(&c->error, 0, sizeof c->error);
    } else {
        if (m->opcode == LEAT_CQL_OP_ERROR)
            leat_cql_error(m, &err);
        else
            leat_fail(&err, LEAT_UNSUPPORTED, "the server answers the handshake with opcode 0x%02x", m->opcode);
        fail(c, &err);
        return;
    }
    leat_cql_connection_prepare(c);
    if (c->phase == LEAT_CQL_READY && c->ours == 0) {
        c->deadline_us = now_us(c) + c->shared->request_timeout_us;
        c->failed = false;
    }
}

/* ---- Moving bytes ---- */

void leat_cql_connection_flush(struct leat_cql_connection *c) {
    struct leat_error err;
    if (c->fd < 0 || c->phase == LEAT_CQL_OPENING) return;
    if (c->plain.length) { /* only with TLS, and only when its handshake is over */
        enum leat_status s = leat_cql_tls_write(c->tls, c->plain.data, c->plain.length, &err);
        if (!s) s = leat_cql_tls_take(c->tls, &c->wire, &err);
        if (s) {
            fail(c, &err);
            return;
        }
        leat_buffer_reset(&c->plain);
    }
    while (c->wire_sent < c->wire.length) {
        ssize_t n = send(c->fd, c->wire.data + c->wire_sent, c->wire.length - c->wire_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n < 0) {
            fail_errno(c, "sending", errno);
            return;
        }
        c->wire_sent += (size_t)n;
        if (c->phase == LEAT_CQL_READY) c->deadline_us = now_us(c) + c->shared->request_timeout_us; /* it may have waited here */
    }
    leat_buffer_reset(&c->wire);
    c->wire_sent = 0;
}

/* Room for at least `bytes` behind what is there. A frame's size was checked before, so the room is bounded by it. */
static void make_room(struct leat_cql_connection *c, size_t bytes) {
    if (c->in_at == c->in_end) c->in_at = c->in_end = 0;
    if (c->in_capacity - c->in_end >= bytes) return;
    size_t have = c->in_end - c->in_at;
    if (have) memmove(c->in, c->in + c->in_at, have);
    c->in_at = 0;
    c->in_end = have;
    if (c->in_capacity - have >= bytes) return;
    c->in_capacity = have + bytes > 2 * c->in_capacity ? have + bytes : 2 * c->in_capacity;
    c->in = leat_realloc(c->in, c->in_capacity);
}

static void closed_by_peer(struct leat_cql_connection *c) {
    struct leat_error err;
    leat_fail(&err, LEAT_IO, "the server closed the connection");
    fail(c, &err);
}

static void take_decrypted(struct leat_cql_connection *c) {
    struct leat_error err;
    if (c->phase == LEAT_CQL_SECURING) secure(c);
    for (size_t got = 1; got > 0 && c->tls && c->phase > LEAT_CQL_SECURING;) {
        bool closed;
        make_room(c, READ_BYTES);
        enum leat_status s =
            leat_cql_tls_read(c->tls, c->in + c->in_end, c->in_capacity - c->in_end, &got, &closed, &err);
        if (s) {
            fail(c, &err);
            return;
        }
        c->in_end += got;
        if (closed) {
            closed_by_peer(c);
            return;
        }
    }
}

/* One reading a call: other connections have their turn, and the kernel's buffer is the bound. */
static void receive(struct leat_cql_connection *c) {
    struct leat_error err;
    uint8_t cipher[16384], *into = cipher;
    size_t room = sizeof cipher;
    if (!c->tls) {
        make_room(c, READ_BYTES);
        into = c->in + c->in_end;
        room = c->in_capacity - c->in_end;
    }
    ssize_t n = recv(c->fd, into, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n < 0)
        fail_errno(c, "receiving", errno);
    else if (n == 0)
        closed_by_peer(c);
    else if (!c->tls)
        c->in_end += (size_t)n;
    else if (leat_cql_tls_receive(c->tls, cipher, (size_t)n, &err))
        fail(c, &err);
    else
        take_decrypted(c);
}

short leat_cql_connection_events(const struct leat_cql_connection *c) {
    if (c->fd < 0) return 0;
    if (c->phase == LEAT_CQL_OPENING) return POLLOUT;
    return (short)(POLLIN | (c->wire.length > c->wire_sent || c->plain.length ? POLLOUT : 0));
}

static bool waits_for_answer(const struct leat_cql_connection *c) {
    return c->fd >= 0 && (c->phase < LEAT_CQL_READY || c->asked > 0 || c->ours > 0);
}

int64_t leat_cql_connection_due_us(const struct leat_cql_connection *c) {
    if (c->phase == LEAT_CQL_DOWN) return c->retry_at_us;
    return waits_for_answer(c) ? c->deadline_us : INT64_MAX;
}

/* Half the window, for a host that has too much to do or a path that is too slow for it. */
static void narrow(struct leat_cql_connection *c) {
    c->window = c->window > 1 ? c->window / 2 : 1;
    c->grown = 0;
}

static void too_late(struct leat_cql_connection *c) {
    struct leat_error err;
    bool ready = c->phase == LEAT_CQL_READY;
    int64_t ms = (ready ? c->shared->request_timeout_us : c->shared->connect_timeout_us) / 1000;
    if (ready)
        leat_fail(&err, LEAT_IO, "%u requests on the way and no answer for %lld ms", c->asked + (unsigned)c->ours,
                  (long long)ms);
    else
        leat_fail(&err, LEAT_IO, "not ready for requests after %lld ms", (long long)ms);
    narrow(c);
    fail(c, &err);
}

static bool next_frame(struct leat_cql_connection *c, struct leat_cql_message *m);

void leat_cql_connection_work(struct leat_cql_connection *c, short events, int64_t now) {
    if (c->fd < 0) return;
    if (c->phase == LEAT_CQL_OPENING && events & (POLLOUT | POLLERR | POLLHUP))
        opened(c);
    else if (c->phase > LEAT_CQL_OPENING && events & (POLLIN | POLLERR | POLLHUP))
        receive(c);
    if (c->phase == LEAT_CQL_SECURING) secure(c);
    struct leat_cql_message m; /* answers to frames of our own; those of requests wait for leat_cql_connection_answer */
    while (c->phase > LEAT_CQL_SECURING && c->asked == 0 && next_frame(c, &m))
        leat_cql_message_deinit(&m);
    leat_cql_connection_flush(c);
    bool something_came = events & POLLIN; /* who looked too late may find answers that were in time */
    if (waits_for_answer(c) && now >= c->deadline_us && !something_came) too_late(c);
}

/* ---- Requests and answers ---- */

bool leat_cql_connection_takes(const struct leat_cql_connection *c, size_t bytes) {
    return c->phase == LEAT_CQL_READY && c->asked + c->lost_count < c->window &&
           (c->asked == 0 || c->asked_bytes + bytes <= c->shared->in_flight_bytes_max);
}

enum leat_status leat_cql_connection_send(struct leat_cql_connection *c, const struct leat_cql_request *request,
                                          uint64_t tag, struct leat_error *err) {
    for (size_t i = 0; i < request->item_count; i++) {
        int statement = request->items[i].statement;
        if (statement < 0 || c->ids[statement].data) continue;
        if (c->ours > 0) return leat_fail(err, LEAT_BUSY, "%s:%s: the statement is being prepared", c->host, c->port);
        *err = c->error;
        if (err->status == LEAT_BUSY) err->status = LEAT_IO; /* the server is; BUSY would mean that it may be sent in a moment */
        c->prepared = 0; /* all are asked for again by the next request */
        leat_cql_connection_prepare(c);
        return err->status ? err->status
                           : leat_fail(err, LEAT_BUSY, "%s:%s: the statement is not prepared", c->host, c->port);
    }
    struct leat_buffer *out = c->tls ? &c->plain : &c->wire;
    size_t before = out->length;
    uint16_t stream = c->free_streams[c->free_count - 1];
    enum leat_status s = leat_cql_put_request(out, (int16_t)stream, request, c->ids, err);
    if (s) return s;
    c->free_count--;
    if (c->asked == 0) c->deadline_us = now_us(c) + c->shared->request_timeout_us;
    c->streams[stream] = (struct leat_cql_stream){true, tag, (uint32_t)(out->length - before)};
    c->asked++;
    c->asked_bytes += out->length - before;
    if (out->length >= READ_BYTES) leat_cql_connection_flush(c);
    return LEAT_OK;
}

/* The next whole frame that is somebody's answer; frames of our own move the handshake on, events are passed over. */
static bool next_frame(struct leat_cql_connection *c, struct leat_cql_message *m) {
    struct leat_error err;
    while (c->fd >= 0 && c->in_end - c->in_at >= LEAT_CQL_HEADER_BYTES) {
        struct leat_cql_header header;
        if (leat_cql_header_read(c->in + c->in_at, c->shared->frame_bytes_max, &header, &err)) {
            fail(c, &err);
            return false;
        }
        size_t total = LEAT_CQL_HEADER_BYTES + header.body_bytes;
        if (c->in_end - c->in_at < total) {
            make_room(c, total - (c->in_end - c->in_at));
            return false;
        }
        const uint8_t *body = c->in + c->in_at + LEAT_CQL_HEADER_BYTES;
        c->in_at += total;
        if (leat_cql_message_read(&header, body, m, &err)) {
            fail(c, &err);
            return false;
        }
        if (m->stream >= 0 && m->stream < c->shared->in_flight_max && c->streams[m->stream].asked) return true;
        if (m->stream >= our_stream(c, 0) && c->ours > 0) {
            advance(c, m);
        } else if (m->stream >= 0) {
            leat_fail(&err, LEAT_CORRUPT, "an answer to stream %d, where nothing was asked", m->stream);
            fail(c, &err);
        }
        leat_cql_message_deinit(m);
    }
    return false;
}

/* The window grows by one for as many answers as it is wide. */
static void answered(struct leat_cql_connection *c, const struct leat_cql_message *m) {
    c->deadline_us = now_us(c) + c->shared->request_timeout_us;
    c->pause_us = c->shared->retry_min_us;
    if (m->opcode == LEAT_CQL_OP_ERROR && m->code == LEAT_CQL_OVERLOADED) {
        narrow(c);
    } else if (c->window < c->shared->in_flight_max && ++c->grown >= c->window) {
        c->window++;
        c->grown = 0;
    }
    if (m->opcode == LEAT_CQL_OP_ERROR && m->code == LEAT_CQL_UNPREPARED && c->ours == 0) /* else they are being prepared already */
        leat_cql_connection_forget(c);
}

bool leat_cql_connection_answer(struct leat_cql_connection *c, struct leat_cql_message *m, uint64_t *tag) {
    if (c->lost_count > 0) {
        *m = (struct leat_cql_message){.opcode = LEAT_CQL_OP_ERROR, .code = -1, .result.paging_state.length = -1};
        *tag = c->lost[--c->lost_count];
        return true;
    }
    if (c->phase != LEAT_CQL_READY || !next_frame(c, m)) return false;
    struct leat_cql_stream *stream = &c->streams[m->stream];
    *tag = stream->tag;
    stream->asked = false;
    c->asked--;
    c->asked_bytes -= stream->bytes;
    c->free_streams[c->free_count++] = (uint16_t)m->stream;
    answered(c, m);
    return true;
}
