/* One connection of a session: a socket that does not block, TLS, the handshake of the protocol, streams. Driven by the session, which polls. */
#ifndef LEAT_CONNECT_CQL_CONNECTION_H
#define LEAT_CONNECT_CQL_CONNECTION_H

#include <poll.h>
#include "connect/cql/frame.h"
#include "connect/cql/tls.h"

enum leat_cql_phase {
    LEAT_CQL_DOWN,       /* no socket; again at retry_at_us */
    LEAT_CQL_OPENING,    /* TCP */
    LEAT_CQL_SECURING,   /* TLS */
    LEAT_CQL_GREETING,   /* STARTUP is sent */
    LEAT_CQL_PROVING,    /* AUTH_RESPONSE is sent */
    LEAT_CQL_PREPARING,  /* PREPAREs are sent */
    LEAT_CQL_READY,
};
struct leat_cql_stream { bool asked; uint64_t tag; uint32_t bytes; };

/* What connections of a session share; owned by the session. */
struct leat_cql_shared {
    struct leat_clock *clock;
    struct leat_random random; /* for pauses */
    struct leat_cql_tls_context *tls;
    bool tls_any_host;
    char *user, *password;
    uint16_t in_flight_max;
    size_t in_flight_bytes_max, frame_bytes_max;
    int64_t connect_timeout_us, request_timeout_us, retry_min_us, retry_max_us;
    struct leat_cql_statement { char *text; uint16_t *types; size_t type_count; } statements[LEAT_CQL_STATEMENTS_MAX]; /* types NULL: any */
    int statement_count;
};
struct leat_cql_connection {
    struct leat_cql_shared *shared;
    char *host, *port;
    enum leat_cql_phase phase;
    struct addrinfo *addresses, *address;  /* what the name stands for, and which of them is being tried */
    int fd;
    struct leat_cql_tls *tls;
    struct leat_buffer plain, wire;        /* to be encrypted (with TLS), to be sent from wire_sent */
    size_t wire_sent;
    uint8_t *in;                           /* received: [in_at, in_end) of in_capacity */
    size_t in_at, in_end, in_capacity;
    struct leat_cql_stream *streams;       /* in_flight_max; frames of our own use the numbers behind */
    uint16_t *free_streams, free_count;
    uint16_t asked, window, grown;         /* requests on the way, how many may be, answers since it grew */
    size_t asked_bytes;
    uint64_t *lost;                        /* tags of requests that went down with the connection and are not told yet */
    uint16_t lost_count;
    struct leat_error lost_error;
    int ours;                              /* frames of the handshake or of PREPARE on the way */
    int prepared;                          /* statements of the session that were sent to be prepared */
    struct leat_cql_bytes ids[LEAT_CQL_STATEMENTS_MAX]; /* owned; data NULL: not prepared */
    int64_t deadline_us;                   /* monotonic: the handshake must be over, or the next answer be there */
    int64_t retry_at_us, pause_us;
    bool failed;                           /* since it was last ready */
    struct leat_error error;               /* why it is down, or a statement is not prepared */
};

void leat_cql_connection_init(struct leat_cql_connection *, struct leat_cql_shared *, char *host, char *port); /* takes host and port */
void leat_cql_connection_deinit(struct leat_cql_connection *);
/* Starts connecting where it is DOWN and its pause is over. */
void leat_cql_connection_start(struct leat_cql_connection *, int64_t now_us);
/* What to poll for (0: nothing), and until when at most. */
short leat_cql_connection_events(const struct leat_cql_connection *);
int64_t leat_cql_connection_due_us(const struct leat_cql_connection *);
/* After polling: what the socket allows, deadlines. */
void leat_cql_connection_work(struct leat_cql_connection *, short events, int64_t now_us);
/* Sends what waits to be sent, as far as the socket takes it. */
void leat_cql_connection_flush(struct leat_cql_connection *);
bool leat_cql_connection_takes(const struct leat_cql_connection *, size_t bytes); /* ready, and room in the window */
/* LIMIT: the request cannot be sent at all. BUSY: its statement is not prepared yet; others: what preparing it said. */
enum leat_status leat_cql_connection_send(struct leat_cql_connection *, const struct leat_cql_request *, uint64_t tag, struct leat_error *) LEAT_MUST;
/* Prepares statements that are new to it; all, after those it has are forgotten. */
void leat_cql_connection_prepare(struct leat_cql_connection *);
void leat_cql_connection_forget(struct leat_cql_connection *);
/* Is there an answer, or a request that was lost with a connection? message: of the answer (to be deinited), borrowing `in` until the next
 * call; else message.opcode is ERROR with code -1, and lost_error tells. */
bool leat_cql_connection_answer(struct leat_cql_connection *, struct leat_cql_message *, uint64_t *tag);
/* Closes the socket; requests on the way will be told as lost. */
void leat_cql_connection_break(struct leat_cql_connection *, const struct leat_error *);

#endif
