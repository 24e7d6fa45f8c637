/* Frames and messages of the native protocol v4: bytes to structs and back. No input or output. Everything read is outside data: lengths are
 * checked against what is there before anything is allocated or followed.
 *
 *   0         8        16        24        32         40          72
 *   | version |  flags  |      stream       | opcode  |  length ... | body     big-endian (section 1)
 *   body of a response: [tracing id, flag 2] [warnings, flag 8] [custom payload, flag 4] message (section 4) */
#ifndef LEAT_CONNECT_CQL_FRAME_H
#define LEAT_CONNECT_CQL_FRAME_H

#include "connect/cql/cql.h"

#define LEAT_CQL_HEADER_BYTES 9
#define LEAT_CQL_FRAME_BYTES_LIMIT ((size_t)256 << 20) /* section 2.5 */
#define LEAT_CQL_COLUMNS_MAX 65535                     /* of a row; rows without metadata only claim how many they have */
#define LEAT_CQL_TYPE_DEPTH_MAX 16                     /* collections in collections */

enum leat_cql_opcode {
    LEAT_CQL_OP_ERROR = 0x00, LEAT_CQL_OP_STARTUP = 0x01, LEAT_CQL_OP_READY = 0x02, LEAT_CQL_OP_AUTHENTICATE = 0x03,
    LEAT_CQL_OP_OPTIONS = 0x05, LEAT_CQL_OP_SUPPORTED = 0x06, LEAT_CQL_OP_QUERY = 0x07, LEAT_CQL_OP_RESULT = 0x08,
    LEAT_CQL_OP_PREPARE = 0x09, LEAT_CQL_OP_EXECUTE = 0x0A, LEAT_CQL_OP_REGISTER = 0x0B, LEAT_CQL_OP_EVENT = 0x0C,
    LEAT_CQL_OP_BATCH = 0x0D, LEAT_CQL_OP_AUTH_CHALLENGE = 0x0E, LEAT_CQL_OP_AUTH_RESPONSE = 0x0F, LEAT_CQL_OP_AUTH_SUCCESS = 0x10,
};
struct leat_cql_header { uint8_t flags, opcode; int16_t stream; uint32_t body_bytes; };
/* A response's header. CORRUPT: not version 4, a request, or a body of more than max_body_bytes. */
enum leat_status leat_cql_header_read(const uint8_t bytes[LEAT_CQL_HEADER_BYTES], size_t max_body_bytes, struct leat_cql_header *,
                                      struct leat_error *) LEAT_MUST;

/* What leat looks at of a response. Borrows the body; result.columns is owned: leat_cql_message_deinit. */
struct leat_cql_message {
    uint8_t opcode;
    int16_t stream;
    int32_t code;               /* ERROR */
    struct leat_cql_bytes text; /* ERROR: message; AUTHENTICATE: class; AUTH_*: token; EVENT: its type */
    struct leat_cql_result result;
};
/* CORRUPT: the body is not what its opcode says; out is empty then. */
enum leat_status leat_cql_message_read(const struct leat_cql_header *, const uint8_t *body, struct leat_cql_message *out, struct leat_error *) LEAT_MUST;
void leat_cql_message_deinit(struct leat_cql_message *);
/* The server's error as one of ours; the text names the code. Returns the status. */
enum leat_status leat_cql_error(const struct leat_cql_message *, struct leat_error *);

/* Requests: whole frames, appended. LIMIT: beyond what a frame or a batch may hold; out is unchanged then. */
enum leat_status leat_cql_put_startup(struct leat_buffer *out, int16_t stream, struct leat_error *) LEAT_MUST;
enum leat_status leat_cql_put_plain(struct leat_buffer *out, int16_t stream, const char *user, const char *password, struct leat_error *) LEAT_MUST;
enum leat_status leat_cql_put_prepare(struct leat_buffer *out, int16_t stream, const char *text, struct leat_error *) LEAT_MUST;
/* ids: of the connection's prepared statements, by statement. */
enum leat_status leat_cql_put_request(struct leat_buffer *out, int16_t stream, const struct leat_cql_request *, const struct leat_cql_bytes *ids,
                                      struct leat_error *) LEAT_MUST;

#endif
