/* TLS for one connection, over memory: bytes of the wire in and out, bytes of the application in and out. OpenSSL. */
#ifndef LEAT_CONNECT_CQL_TLS_H
#define LEAT_CONNECT_CQL_TLS_H

#include "connect/cql/cql.h"

struct leat_cql_tls_context; /* of a session: authorities and our certificate */
struct leat_cql_tls;         /* of a connection */
/* Reads the files of config. NOT_FOUND or INVALID, naming the file. */
enum leat_status leat_cql_tls_context_open(const struct leat_cql_config *, struct leat_cql_tls_context **, struct leat_error *) LEAT_MUST;
void leat_cql_tls_context_close(struct leat_cql_tls_context *);
/* host: what the certificate must be for (a name or an address); NULL: any. */
enum leat_status leat_cql_tls_open(struct leat_cql_tls_context *, const char *host, struct leat_cql_tls **, struct leat_error *) LEAT_MUST;
void leat_cql_tls_close(struct leat_cql_tls *);

enum leat_status leat_cql_tls_receive(struct leat_cql_tls *, const void *wire, size_t n, struct leat_error *) LEAT_MUST;
/* Goes on with the handshake, as far as what was received allows. *done: it is over. Errors: what the peer or the certificate is not. */
enum leat_status leat_cql_tls_handshake(struct leat_cql_tls *, bool *done, struct leat_error *) LEAT_MUST;
/* Up to n decrypted bytes; *got 0: more must be received first; *closed: the peer has said goodbye. */
enum leat_status leat_cql_tls_read(struct leat_cql_tls *, void *out, size_t n, size_t *got, bool *closed, struct leat_error *) LEAT_MUST;
/* Encrypts all of it; what is to be sent, of this and of the handshake, is appended by leat_cql_tls_take. */
enum leat_status leat_cql_tls_write(struct leat_cql_tls *, const void *bytes, size_t n, struct leat_error *) LEAT_MUST;
enum leat_status leat_cql_tls_take(struct leat_cql_tls *, struct leat_buffer *wire, struct leat_error *) LEAT_MUST;

#endif
