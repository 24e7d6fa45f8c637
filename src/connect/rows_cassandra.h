/* Values of CQL as text; see rows_cassandra.c. */
#ifndef LEAT_CONNECT_ROWS_CASSANDRA_H
#define LEAT_CONNECT_ROWS_CASSANDRA_H

#include "connect/cql/cql.h"

/* Is it no value of its type: null, or of no bytes, which Cassandra takes for any type but is none of a number, a time or a UUID? */
bool leat_cassandra_is_null(uint16_t type, struct leat_cql_bytes);
/* Appends a value that is not null (a BLOB's bytes) as leat's types read it. False: it is not laid out as its type says, or the type is not known here
 * (collections, tuples, inet); the buffer may then have more. Everything is outside data. Specification: native_protocol_v4.spec, section 6. */
bool leat_cassandra_put_text(struct leat_buffer *, uint16_t type, struct leat_cql_bytes);

#endif
