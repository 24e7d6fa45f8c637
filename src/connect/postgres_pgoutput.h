/* Messages of PostgreSQL's logical replication (pgoutput, protocol version 1) to change events: lines of JSON as Debezium writes them,
 *   {"op":"c|u|r","after":{row}}   {"op":"d","before":{key}}
 * of one table, the declared columns alone. No input or output. Everything read is outside data.
 * Specification: PostgreSQL, "Logical Replication Message Formats", "Streaming Replication Protocol". */
#ifndef LEAT_CONNECT_POSTGRES_PGOUTPUT_H
#define LEAT_CONNECT_POSTGRES_PGOUTPUT_H

#include "project/project.h"

#define LEAT_PGOUTPUT_COLUMNS_MAX 1600 /* of a table of PostgreSQL */

struct leat_pgoutput { /* of one connection */
    const struct leat_source *source;
    const char *schema, *table;       /* NULL schema: any */
    uint32_t relation;                /* its number, once it was described */
    int column[LEAT_PGOUTPUT_COLUMNS_MAX]; /* of the relation's column: the declared one, -1: none */
    size_t column_count;
    const char *absent;               /* a declared column that it did not have as it was described last; NULL: none */
    bool renamed;                     /* the caller's: it had, by another name, so that its values are not known. Until the next description */
    bool in_transaction;
    uint64_t end_lsn;                 /* behind the last whole transaction */
};
/* One message of the stream; appends a line for each event. CORRUPT: it is not laid out as the protocol says; out may then have lines more. */
enum leat_status leat_pgoutput_read(struct leat_pgoutput *, const char *message, size_t length, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* A line of COPY's text format, whose fields are the declared columns in their order, as a row that was read ("op":"r"). */
enum leat_status leat_pgoutput_copied(const struct leat_source *, const char *line, size_t length, struct leat_buffer *out, struct leat_error *) LEAT_MUST;

#endif
