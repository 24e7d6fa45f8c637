/* TLS for the Redis sink: hiredis before 1.0 has none, but lends its buffers: what it wants to send is encrypted and sent, what comes is decrypted and
 * fed to its reader. The socket has the sink's time-outs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>
#include <hiredis/sds.h>

#include "base/limits.h"
#include "connect/cql/tls.h"
#include "connect/sink_redis.h"

struct leat_redis_tls {
    struct leat_cql_tls_context *context;
    struct leat_cql_tls *tls;
    struct leat_buffer wire;
    char piece[16 * LEAT_KIB];
};

static enum leat_status fail_socket(struct leat_error *err, const char *what) {
    leat_fail(err, LEAT_IO, "%s: %s", what, errno == EAGAIN || errno == EWOULDBLOCK ? "nothing within the time allowed" : strerror(errno));
    return LEAT_IO;
}

static enum leat_status send_wire(struct leat_redis_tls *t, int fd, struct leat_error *err) {
    leat_buffer_reset(&t->wire);
    enum leat_status st = leat_cql_tls_take(t->tls, &t->wire, err);
    for (size_t at = 0; st == LEAT_OK && at < t->wire.length;) {
        ssize_t n = send(fd, t->wire.data + at, t->wire.length - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_socket(err, "sending");
        at += (size_t)n;
    }
    return st;
}

static enum leat_status receive_wire(struct leat_redis_tls *t, int fd, struct leat_error *err) {
    ssize_t n;
    while ((n = recv(fd, t->piece, sizeof t->piece, 0)) < 0 && errno == EINTR) {}
    if (n < 0) return fail_socket(err, "receiving");
    if (n == 0) return leat_fail(err, LEAT_IO, "the connection was closed");
    return leat_cql_tls_receive(t->tls, t->piece, (size_t)n, err);
}

enum leat_status leat_redis_tls_open(const struct leat_cql_config *config, const char *host, redisContext *link, struct leat_redis_tls **out,
                                     struct leat_error *err) {
    struct leat_redis_tls *t = leat_alloc(sizeof *t);
    bool done = false;
    enum leat_status st = leat_cql_tls_context_open(config, &t->context, err);
    if (st == LEAT_OK) st = leat_cql_tls_open(t->context, config->tls_any_host ? NULL : host, &t->tls, err);
    while (st == LEAT_OK && !done) {
        st = leat_cql_tls_handshake(t->tls, &done, err);
        if (st == LEAT_OK) st = send_wire(t, link->fd, err);
        if (st == LEAT_OK && !done) st = receive_wire(t, link->fd, err);
    }
    *out = st == LEAT_OK ? t : NULL;
    if (st != LEAT_OK) leat_redis_tls_close(t);
    return st;
}

void leat_redis_tls_close(struct leat_redis_tls *t) {
    if (!t) return;
    leat_cql_tls_close(t->tls);
    leat_cql_tls_context_close(t->context);
    leat_buffer_deinit(&t->wire);
    free(t);
}

/* What was received and is decrypted, to hiredis' reader. */
static enum leat_status feed(struct leat_redis_tls *t, redisContext *link, struct leat_error *err) {
    for (size_t got = 1; got;) {
        bool closed;
        enum leat_status st = leat_cql_tls_read(t->tls, t->piece, sizeof t->piece, &got, &closed, err);
        if (st != LEAT_OK) return st;
        if (closed) return leat_fail(err, LEAT_IO, "the connection was closed");
        if (got && redisReaderFeed(link->reader, t->piece, got) != REDIS_OK) return leat_fail(err, LEAT_NO_MEMORY, "out of memory");
    }
    return LEAT_OK;
}

enum leat_status leat_redis_tls_reply(struct leat_redis_tls *t, redisContext *link, void **reply, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    if (sdslen(link->obuf)) {
        st = leat_cql_tls_write(t->tls, link->obuf, sdslen(link->obuf), err);
        sdsclear(link->obuf);
        if (st == LEAT_OK) st = send_wire(t, link->fd, err);
    }
    for (*reply = NULL; st == LEAT_OK;) {
        if (redisReaderGetReply(link->reader, reply) != REDIS_OK) return leat_fail(err, LEAT_IO, "%s", link->reader->errstr);
        if (*reply) return LEAT_OK;
        st = receive_wire(t, link->fd, err);
        if (st == LEAT_OK) st = feed(t, link, err);
        if (st == LEAT_OK) st = send_wire(t, link->fd, err);
    }
    return st;
}
