/* Shared by the sink_redis*.c files: TLS. */
#ifndef LEAT_CONNECT_SINK_REDIS_H
#define LEAT_CONNECT_SINK_REDIS_H

#include <hiredis/hiredis.h>

#include "connect/cql/cql.h"

struct leat_redis_tls;
/* Over a connection that hiredis has made, whose time-outs are set. config: the fields tls_*. host: whom the certificate must be for. Errors: what the
 * peer or the certificate is not; the connection is then of no more use. */
enum leat_status leat_redis_tls_open(const struct leat_cql_config *, const char *host, redisContext *, struct leat_redis_tls **out, struct leat_error *) LEAT_MUST;
void leat_redis_tls_close(struct leat_redis_tls *);
/* redisGetReply over it. */
enum leat_status leat_redis_tls_reply(struct leat_redis_tls *, redisContext *, void **reply, struct leat_error *) LEAT_MUST;

#endif
