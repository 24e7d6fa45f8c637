/* The http connector: records that other threads hand in by the batch, as bodies of POST requests; who parses HTTP is serve/.
 *
 * A batch is one partition's next records, all in one block of the log, so a crash takes all of them or none. It is answered once: after its
 * records are durable. A batch that carries an id is taken once: the newest ids (option batch_ids) are remembered in <state>/batches, made
 * durable before the records, and what says of records that the log does not have is dropped at the next start.
 *
 * The queue is bounded in bytes and batches. Offers come from any thread; everything else runs in the one that polls. */
#ifndef LEAT_CONNECT_HTTP_H
#define LEAT_CONNECT_HTTP_H

#include "connect/connector.h"

#define LEAT_HTTP_PARTITION 1u

struct leat_http_reject { uint32_t index; uint64_t offset; char *reason; };
struct leat_http_batch {
    struct leat_http_batch *next;
    /* The sender's; unchanged until done. bytes: LEAT_PAYLOAD_SLACK more are readable behind byte_count, and the byte behind each record is a
     * control character. Records ascend and are not empty of bytes. */
    char *bytes;
    size_t byte_count;
    uint32_t *starts, *ends, count;
    const char *id; size_t id_bytes; /* NULL: none */
    void (*done)(struct leat_http_batch *); /* in the thread that polls, once */
    /* Set before done: */
    enum leat_status status;  /* OK; CONFLICT: its id was known, with other records: nothing of it was taken; CANCELLED: the engine stops, nothing either */
    bool duplicate;           /* its id was known: the offsets are those of then */
    uint32_t partition;
    uint64_t from, to;        /* offsets [from, to) */
    uint32_t rejected;        /* of its records */
    uint64_t records;         /* a hash of them; the connector's own */
    struct leat_http_reject *rejects; size_t reject_count; /* the first of them; not of a duplicate. Freed by leat_http_batch_deinit */
};
void leat_http_batch_deinit(struct leat_http_batch *); /* what the connector put in, not what the sender did */

bool leat_connector_is_http(const struct leat_connector *);
/* OK: done will be called. BUSY: the queue is full, try again after a while. CANCELLED: closed. LIMIT: more than a block of the log takes. */
enum leat_status leat_http_offer(struct leat_connector *, struct leat_http_batch *, struct leat_error *) LEAT_MUST;
/* When nobody polls any more: takes no more; what waits is cancelled. */
void leat_http_stop(struct leat_connector *);
/* Any thread: batches and bytes that wait, for status and back-pressure. */
void leat_http_waiting(struct leat_connector *, uint64_t *batches, uint64_t *bytes);

#endif
