/* A client of Cassandra's native protocol, version 4 (Cassandra 2.2 and later, ScyllaDB).
 *
 * A session holds one connection to each of its hosts and sends requests over them, many at once on each connection, told apart by
 * stream ids. It has no thread of its own: it works while its caller is in leat_cql_connect, _send, _wait or _run, and costs nothing
 * in between. A host that fails is left alone for a while (doubling up to a bound, with jitter) and then tried again; what was
 * on its way there comes back as failed, and the caller decides whether to send it again (a write with a timestamp of its own may be
 * repeated at will).
 *
 * Bounds: requests and bytes on the way per connection; the window of a host halves when it is overloaded or silent, and grows with its
 * answers; a frame's size; every wait has a deadline. A connection that has requests on the way and answers none of them for
 * request_timeout_us is closed.
 *
 * Depends on base/ (status, mem, env's clock) and OpenSSL. Thread: one session by one thread at a time; sessions are independent.
 * Specification: Apache Cassandra, native_protocol_v4.spec; sections are named where they are followed. Not here: compression, token-aware
 * choice of hosts, discovery of peers (hosts are those given), events. */
#ifndef LEAT_CONNECT_CQL_CQL_H
#define LEAT_CONNECT_CQL_CQL_H

#include <stdatomic.h>
#include <stdint.h>
#include "base/env.h"
#include "base/mem.h"

#define LEAT_CQL_PORT 9042
#define LEAT_CQL_HOSTS_MAX 32
#define LEAT_CQL_STATEMENTS_MAX 64 /* prepared ones of a session */
#define LEAT_CQL_BATCH_MAX 1000    /* statements of one batch; the protocol allows 65535 */

/* Section 3, [consistency]. */
enum leat_cql_consistency {
    LEAT_CQL_ANY, LEAT_CQL_ONE, LEAT_CQL_TWO, LEAT_CQL_THREE, LEAT_CQL_QUORUM, LEAT_CQL_ALL,
    LEAT_CQL_LOCAL_QUORUM, LEAT_CQL_EACH_QUORUM, LEAT_CQL_SERIAL, LEAT_CQL_LOCAL_SERIAL, LEAT_CQL_LOCAL_ONE,
};
/* Section 4.2.5.2, [option] ids of column types. */
enum leat_cql_type {
    LEAT_CQL_CUSTOM = 0x00, LEAT_CQL_ASCII = 0x01, LEAT_CQL_BIGINT = 0x02, LEAT_CQL_BLOB = 0x03, LEAT_CQL_BOOLEAN = 0x04,
    LEAT_CQL_COUNTER = 0x05, LEAT_CQL_DECIMAL = 0x06, LEAT_CQL_DOUBLE = 0x07, LEAT_CQL_FLOAT = 0x08, LEAT_CQL_INT = 0x09,
    LEAT_CQL_TIMESTAMP = 0x0B, LEAT_CQL_UUID = 0x0C, LEAT_CQL_VARCHAR = 0x0D, LEAT_CQL_VARINT = 0x0E, LEAT_CQL_TIMEUUID = 0x0F,
    LEAT_CQL_INET = 0x10, LEAT_CQL_DATE = 0x11, LEAT_CQL_TIME = 0x12, LEAT_CQL_SMALLINT = 0x13, LEAT_CQL_TINYINT = 0x14,
    LEAT_CQL_LIST = 0x20, LEAT_CQL_MAP = 0x21, LEAT_CQL_SET = 0x22, LEAT_CQL_UDT = 0x30, LEAT_CQL_TUPLE = 0x31,
};
/* Section 9, those a caller may want to tell apart. */
enum leat_cql_code {
    LEAT_CQL_SERVER_ERROR = 0x0000, LEAT_CQL_PROTOCOL_ERROR = 0x000A, LEAT_CQL_BAD_CREDENTIALS = 0x0100,
    LEAT_CQL_UNAVAILABLE = 0x1000, LEAT_CQL_OVERLOADED = 0x1001, LEAT_CQL_BOOTSTRAPPING = 0x1002,
    LEAT_CQL_WRITE_TIMEOUT = 0x1100, LEAT_CQL_READ_TIMEOUT = 0x1200, LEAT_CQL_READ_FAILURE = 0x1300, LEAT_CQL_WRITE_FAILURE = 0x1500,
    LEAT_CQL_SYNTAX_ERROR = 0x2000, LEAT_CQL_UNAUTHORIZED = 0x2100, LEAT_CQL_INVALID = 0x2200, LEAT_CQL_CONFIG_ERROR = 0x2300,
    LEAT_CQL_ALREADY_EXISTS = 0x2400, LEAT_CQL_UNPREPARED = 0x2500,
};

/* length -1: null (section 3, [bytes]); borrowed from whatever holds it. */
struct leat_cql_bytes { const uint8_t *data; int32_t length; };
bool leat_cql_is(struct leat_cql_bytes, const char *text); /* the same bytes? */

/* ---- Values: appended as [value], for leat_cql_item.values (section 6). Abort when out of memory. ---- */
void leat_cql_put_null(struct leat_buffer *);
void leat_cql_put_bytes(struct leat_buffer *, const void *bytes, size_t n); /* blob, text, ascii; n < 2^31 */
void leat_cql_put_integer(struct leat_buffer *, int64_t value, size_t width); /* big-endian, 1, 2, 4 or 8 bytes */
void leat_cql_put_varint(struct leat_buffer *, __int128 value);
void leat_cql_put_decimal(struct leat_buffer *, __int128 unscaled, int32_t scale);
void leat_cql_put_double(struct leat_buffer *, double);
void leat_cql_put_float(struct leat_buffer *, float);
/* Reads back: an integer of 1, 2, 4 or 8 bytes; false for any other length. */
bool leat_cql_get_integer(struct leat_cql_bytes, int64_t *out);
void leat_cql_put_name(struct leat_buffer *, const char *name); /* text of a statement: "name", quotes doubled */

/* ---- Results ---- */
enum leat_cql_result_kind {
    LEAT_CQL_NO_RESULT, LEAT_CQL_VOID, LEAT_CQL_ROWS, LEAT_CQL_KEYSPACE_SET, LEAT_CQL_PREPARED, LEAT_CQL_SCHEMA_CHANGED,
};
struct leat_cql_column { struct leat_cql_bytes name; uint16_t type; }; /* type: of elements nothing is kept */
/* Checked whole before it is given; borrowed from the session, valid until its next call. */
struct leat_cql_result {
    enum leat_cql_result_kind kind;
    struct leat_cql_column *columns; /* ROWS: of the rows (NULL where the server left them out); PREPARED: of the bind markers */
    uint32_t column_count, row_count;
    struct leat_cql_bytes paging_state; /* length -1: this was the last page */
    struct leat_cql_bytes prepared_id;
    const uint8_t *next_row, *end;
};
/* The next row's values (column_count of them) and true, or false behind the last. */
bool leat_cql_next_row(struct leat_cql_result *, struct leat_cql_bytes *values);

/* ---- Sessions ---- */
struct leat_cql_config {
    const char *contact_points;     /* "host", "host:port", "[v6]:port", separated by commas; borrowed for the call, as all texts */
    const char *user, *password;    /* for PLAIN (PasswordAuthenticator); NULL: none */
    bool tls;
    const char *tls_ca;             /* PEM file; NULL: the system's authorities */
    const char *tls_cert, *tls_key; /* PEM files of ours, where the server wants to know who we are; NULL: none */
    bool tls_any_host;              /* the certificate need not be the host's (it must be signed by an authority all the same) */
    uint16_t in_flight_max;         /* requests on the way per connection; 0: 256 */
    size_t in_flight_bytes_max;     /* 0: 1 MiB; one request may be larger */
    size_t frame_bytes_max;         /* of an answer; 0: 16 MiB */
    int64_t connect_timeout_us;     /* until a connection is ready for requests; 0: 5 s */
    int64_t request_timeout_us;     /* 0: 12 s (the server gives up a write after 2 s, a read after 5 s) */
    int64_t retry_min_us, retry_max_us; /* pause before a failed host is tried again; 0: 100 ms, 10 s */
};
struct leat_cql;
/* Does not connect. Errors: INVALID a contact point; NOT_FOUND or INVALID a file of TLS. The clock outlives the session. */
enum leat_status leat_cql_open(struct leat_clock *clock, const struct leat_cql_config *, struct leat_cql **out, struct leat_error *) LEAT_MUST;
void leat_cql_close(struct leat_cql *);

/* Registers a statement, which each connection prepares when it is made (those that are ready: at once); gives its number. The same text
 * gives the same number. types: of the values that will be sent with it (NULL: not looked at). Where a server takes others, now or when it
 * prepares the statement again because its table was made anew, requests are refused with CONFLICT: the same bytes would mean something else.
 * Text and types are copied. LIMIT: LEAT_CQL_STATEMENTS_MAX. */
enum leat_status leat_cql_prepare(struct leat_cql *, const char *text, const uint16_t *types, size_t type_count, int *statement,
                                  struct leat_error *) LEAT_MUST;

/* From now on waits also end soon after *stop is set (NULL: no more), with CANCELLED. Borrowed. */
void leat_cql_heed(struct leat_cql *, const atomic_int *stop);

/* Waits until a host is ready, at most until monotonic deadline_us. Errors: what the hosts said, one after the other, once all have
 * failed or the deadline is there (retriable but for wrong credentials). */
enum leat_status leat_cql_connect(struct leat_cql *, int64_t deadline_us, struct leat_error *) LEAT_MUST;

/* One statement: QUERY or EXECUTE (4.1.4, 4.1.6). Several: an unlogged BATCH (4.1.7). values: value_count [value]s one behind the other. */
struct leat_cql_item { int statement; const char *text; const void *values; size_t values_bytes; uint16_t value_count; }; /* text: where statement < 0 */
struct leat_cql_request {
    const struct leat_cql_item *items;
    size_t item_count;
    enum leat_cql_consistency consistency;
    int32_t page_rows;                  /* rows a page (one statement); 0: all */
    struct leat_cql_bytes paging_state; /* of the page before; length 0 or less: the first page */
};
struct leat_cql_reply {
    uint64_t tag;
    enum leat_status status;  /* of the request; OK: result holds */
    struct leat_error error;
    int32_t code;             /* the server's (enum leat_cql_code), -1: the error is not the server's word */
    struct leat_cql_result result;
};
/* Puts a request on its way; tag comes back with its answer. BUSY: no host can take one now (leat_cql_wait first, or connect); nothing was
 * sent. Memory is lent for the call. */
enum leat_status leat_cql_send(struct leat_cql *, const struct leat_cql_request *, uint64_t tag, struct leat_error *) LEAT_MUST;
/* The next answer, in any order; each sent request gets exactly one. END: nothing is on the way. BUSY: none until deadline_us. CANCELLED: stopped. */
enum leat_status leat_cql_wait(struct leat_cql *, int64_t deadline_us, struct leat_cql_reply *) LEAT_MUST;
size_t leat_cql_in_flight(const struct leat_cql *);
/* Closes the connections that have requests on the way; nothing is on the way any more. For a caller who gives up. */
void leat_cql_abandon(struct leat_cql *);

/* connect, send and wait for one request, where nothing else is on the way. The reply's error is given as the call's. */
enum leat_status leat_cql_run(struct leat_cql *, const struct leat_cql_request *, int64_t deadline_us, struct leat_cql_reply *, struct leat_error *) LEAT_MUST;
/* All pages of a statement, row by row; stops when visit returns false. */
enum leat_status leat_cql_each_row(struct leat_cql *, const struct leat_cql_request *, int64_t deadline_us,
                                   bool (*visit)(void *, const struct leat_cql_result *, const struct leat_cql_bytes *values), void *,
                                   struct leat_error *) LEAT_MUST;
/* After a change of the schema: waits until all nodes that the connected one knows of have the same version. BUSY at the deadline. */
enum leat_status leat_cql_agree(struct leat_cql *, int64_t deadline_us, struct leat_error *) LEAT_MUST;

#endif
