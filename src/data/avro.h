/* Avro, decoded into columns as the writer's schema directs (Avro 1.11, "Binary Encoding", "Object Container Files").
 *
 * Our own decoder instead of libavro: that one builds a tree of values a record, to be walked again, where columns are wanted; and it
 * resolves a reader's schema where ours are DuckDB's types. Nothing is allocated a record but what strings need. Bounded: a length is
 * compared with what is left, nesting with LEAT_NESTING_MAX, the values of one record with a budget. */
#ifndef LEAT_DATA_AVRO_H
#define LEAT_DATA_AVRO_H

#include "base/mem.h"
#include "data/message.h"
#include "data/schema.h"

enum leat_avro_type {
    LEAT_AVRO_NULL, LEAT_AVRO_BOOLEAN, LEAT_AVRO_INT, LEAT_AVRO_LONG, LEAT_AVRO_FLOAT, LEAT_AVRO_DOUBLE, LEAT_AVRO_BYTES, LEAT_AVRO_STRING,
    LEAT_AVRO_RECORD, LEAT_AVRO_ENUM, LEAT_AVRO_ARRAY, LEAT_AVRO_MAP, LEAT_AVRO_UNION, LEAT_AVRO_FIXED,
};
/* What a number or bytes mean: logicalType, or Debezium's "connect.name". */
enum leat_avro_meaning {
    LEAT_AVRO_PLAIN, LEAT_AVRO_DECIMAL, LEAT_AVRO_DATE, LEAT_AVRO_TIME, LEAT_AVRO_TIMESTAMP,
    LEAT_AVRO_DURATION,         /* fixed(12): months, days, milliseconds */
    LEAT_AVRO_SCALED_DECIMAL,   /* Debezium's record of a scale and bytes */
};
struct leat_avro_node {
    uint8_t type, meaning;      /* enum leat_avro_type, enum leat_avro_meaning */
    uint8_t scale;              /* DECIMAL */
    int64_t unit_ns;            /* TIME, TIMESTAMP: what one counts */
    uint32_t size;              /* FIXED: bytes */
    char **names;               /* RECORD: fields; ENUM: symbols */
    uint32_t *children;         /* nodes of fields, branches; of ARRAY and MAP: of the items */
    size_t count;               /* of names (ENUM), of children */
};
struct leat_avro_schema {
    struct leat_avro_node *nodes; /* the first is the root */
    size_t node_count;
};
/* Parses a schema's JSON. NULL: done; else why not, in the arena; out is then empty. */
const char *leat_avro_schema_parse(const char *text, size_t length, struct leat_arena *, struct leat_avro_schema *out);
void leat_avro_schema_deinit(struct leat_avro_schema *);

/* Where reading is. fault: why it cannot go on, static; NULL: all is well. */
struct leat_avro_cursor {
    const char *at, *end;
    const char *fault;
    size_t values_left; /* that may still be read */
};
struct leat_avro_cursor leat_avro_cursor(struct leat_bytes);
int64_t leat_avro_long(struct leat_avro_cursor *);
struct leat_bytes leat_avro_bytes(struct leat_avro_cursor *);
/* Moves over a value. */
void leat_avro_skip(const struct leat_avro_schema *, uint32_t node, struct leat_avro_cursor *, int depth);
/* Through unions to the value's own node; UINT32_MAX: the cursor has a fault. */
uint32_t leat_avro_resolve(const struct leat_avro_schema *, uint32_t node, struct leat_avro_cursor *);
/* Appends a value as JSON. */
void leat_avro_put_json(const struct leat_avro_schema *, uint32_t node, struct leat_avro_cursor *, int depth, struct leat_buffer *out);
/* Appends the text of a scalar, as leat_value_parse reads it for the column's type. False: it is NULL. */
bool leat_avro_put_text(const struct leat_avro_schema *, uint32_t node, struct leat_avro_cursor *, struct leat_buffer *out);

/* An object container file of one record: its schema's text and the record's bytes; those are in the arena where they were compressed.
 * NULL: done; else why not. */
const char *leat_avro_container_open(struct leat_bytes file, struct leat_arena *, struct leat_bytes *schema, struct leat_bytes *record);

#endif
