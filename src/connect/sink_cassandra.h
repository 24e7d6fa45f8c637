/* Shared by the sink_cassandra*.c files. */
#ifndef LEAT_CONNECT_SINK_CASSANDRA_H
#define LEAT_CONNECT_SINK_CASSANDRA_H

#include "connect/cql/cql.h"
#include "connect/sink.h"

struct leat_cassandra_column { /* of the leat table, as it is in Cassandra */
    char *name;
    uint16_t type;             /* enum leat_cql_type */
    int partition, clustering; /* place in the key, -1: not in it */
};
struct leat_cassandra_sink {
    struct leat_sink base;
    const struct leat_sink_context *context;
    struct leat_cql *session;
    struct leat_cassandra_column *columns;   /* one a column of the table */
    uint16_t *partition, *key;               /* columns of the partition key; of all of the key, partition first; in Cassandra's order */
    size_t partition_count, key_count;
    bool known;                              /* columns, partition and key are what Cassandra says */
    int upsert, remove;                      /* statements */
    enum leat_cql_consistency consistency;
    int64_t timeout_us;
};

/* sink_cassandra_schema.c: what the table is in Cassandra: made first where `create` says so, else found; then compared with ours.
 * Errors: NOT_FOUND, CONFLICT (what does not fit, and what to do), retriable ones of the session. */
enum leat_status leat_cassandra_learn(struct leat_cassandra_sink *, struct leat_error *) LEAT_MUST;
void leat_cassandra_forget(struct leat_cassandra_sink *);

/* sink_cassandra_types.c */
/* The type of CQL that a column of ours becomes; NULL: there is none. */
const char *leat_cassandra_type_of(struct leat_type);
/* May values of our type be written to a column of that type of CQL (as system_schema spells it)? Gives its number, or -1. */
int leat_cassandra_accepts(struct leat_type, const char *cql);
void leat_cassandra_accepted(struct leat_type, struct leat_buffer *out); /* "int, bigint or varint" */
/* Appends a value for a column of that type. key: one that names a row (there it must be exact). INVALID: it cannot be written. */
enum leat_status leat_cassandra_put(const struct leat_column *, size_t row, uint16_t cql_type, bool key, struct leat_buffer *out,
                                    struct leat_error *) LEAT_MUST;

#endif
