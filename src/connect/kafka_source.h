/* The parts of the Kafka source.
 *
 * kafka_source.c     the connector: assigning, blocks, ends, commits to the group, what is told
 * kafka_table.c      which partition of which topic, and which incarnation of it, a partition of leat's log is
 * kafka_watch.c      a thread that asks the brokers for partitions and their ends
 * kafka_client.c     librdkafka's configuration
 *
 * leat's offsets are dense, Kafka's are not (compaction, marks of transactions): the Kafka offset is each record's identity, and the
 * log's resume position is the Kafka offset to read next with a fingerprint of the record before it. At a start, and after an
 * error that may hide a change, that record is read again and compared: another one, or none where one must be, and the topic was
 * re-created or cut off, and its partition becomes a new one of the log (rule 6). (librdkafka 2.0 tells neither topic ids nor leader
 * epochs; this finds the same changes by their effect.) */
#ifndef LEAT_CONNECT_KAFKA_SOURCE_H
#define LEAT_CONNECT_KAFKA_SOURCE_H

#include <librdkafka/rdkafka.h>

#include "connect/connector.h"
#include "connect/registry.h"

/* ---- kafka_table.c ---- */

enum { LEAT_KAFKA_FINGERPRINT_BITS = 16 };

struct leat_kafka_partition {
    uint32_t number;          /* leat's */
    char *topic;
    int32_t partition;        /* Kafka's */
    int64_t from;             /* Kafka offset at which reading it began */
    bool ended;               /* another incarnation, with a higher number, has taken its place */
    /* not in the table's file: */
    uint64_t next_offset;     /* leat's */
    int64_t position;         /* Kafka offset to read next */
    uint16_t fingerprint;     /* of the record before it; 0: not known */
    uint64_t skip;            /* so many more records are in bronze already */
    bool assigned, waiting;   /* librdkafka has it; it is to be told where to read */
    bool verify;              /* the record before `position` is read first */
    bool at_end, reached_end; /* nothing more now; has been there since the start */
    bool asked, gone;         /* the watch is asked for its ends; the topic is not there */
    bool replaced;            /* the record before `position` is another one now */
};
struct leat_kafka_table {
    struct leat_env *env;
    char *path;
    struct leat_kafka_partition *items;
    size_t count;
    uint64_t revision;
};
/* Loads it; no file: empty. CORRUPT. */
enum leat_status leat_kafka_table_open(struct leat_env *, const char *state_dir, struct leat_kafka_table *out, struct leat_error *) LEAT_MUST;
void leat_kafka_table_deinit(struct leat_kafka_table *);
/* The incarnation that is read; NULL: none. Valid until add. */
struct leat_kafka_partition *leat_kafka_table_find(struct leat_kafka_table *, const char *topic, int32_t partition);
struct leat_kafka_partition *leat_kafka_table_add(struct leat_kafka_table *, const char *topic, int32_t partition, int64_t from);
enum leat_status leat_kafka_table_save(struct leat_kafka_table *, struct leat_error *) LEAT_MUST;
void leat_kafka_table_print(const struct leat_kafka_table *, struct leat_buffer *out);

/* ---- kafka_watch.c ---- */

struct leat_kafka_found {
    char *topic;
    int32_t partition;
    int64_t low, high, at_time; /* at_time: first offset of the start's time, or -1 */
};
struct leat_kafka_watch;
struct leat_kafka_watch_options {
    rd_kafka_t *rk;           /* borrowed */
    struct leat_clock *clock; /* borrowed */
    const char *topics;       /* borrowed: a list, or ^pattern */
    int64_t interval_us;
    int64_t start_ms;         /* >= 0: at_time is asked for */
    struct leat_registry *registry; /* borrowed; NULL: none */
    int wake_fd;              /* an eventfd, written when there is something to take */
};
/* Starts the thread. INVALID: the pattern. */
enum leat_status leat_kafka_watch_open(const struct leat_kafka_watch_options *, struct leat_kafka_watch **out, struct leat_error *) LEAT_MUST;
void leat_kafka_watch_close(struct leat_kafka_watch *); /* NULL: nothing; waits a few seconds at most */
void leat_kafka_watch_know(struct leat_kafka_watch *, const char *topic, int32_t partition); /* before the first round: not to be found */
void leat_kafka_watch_ask(struct leat_kafka_watch *, const char *topic, int32_t partition);  /* its ends, as soon as it is there */
void leat_kafka_watch_ask_schema(struct leat_kafka_watch *, uint32_t id);                    /* that the registry does not have as a file yet */
/* What was found since the last call: new partitions, all of a round at once, and what was asked for. *rounds: rounds that reached a
 * broker. note: what should be told, or empty. The list and its topics are the caller's. */
size_t leat_kafka_watch_take(struct leat_kafka_watch *, struct leat_kafka_found **out, uint64_t *rounds, char note[256]);

#endif
