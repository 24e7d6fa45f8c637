/* The engine of `leat feed`: plays a data file into a file source through the spool, in the order and at the pace asked
 * for. */
#ifndef LEAT_CONNECT_FEED_RUN_H
#define LEAT_CONNECT_FEED_RUN_H

#include "base/env.h"
#include "project/project.h"

#define LEAT_FEED_SORT_BYTES_MAX ((size_t)2 << 30) /* payload held to order by arrival */

struct leat_feed_progress {
    uint64_t records;     /* written, second deliveries counted */
    uint64_t redelivered; /* of those: second deliveries */
    uint64_t undated;     /* records without a readable event time: they go where the record before them goes */
    uint64_t bytes;
    int64_t event_us; /* of the last one written; INT64_MIN: none yet */
};
struct leat_feed_options {
    double speed;       /* event time runs this many times as fast as the clock; 0: as fast as possible */
    bool by_arrival;    /* order of event time + delay; else order of the file */
    int64_t shuffle_us; /* the delay of each record is drawn evenly from [0, shuffle_us]; by_arrival only */
    double redeliver;   /* share of records, 0 to 1, that come a second time later, with the same identity */
    uint64_t seed;      /* equal seed, file and options: equal spool */
    bool (*progress)(
        void *,
        const struct leat_feed_progress *); /* now and then, and at the end; false: stop (CANCELLED). May be NULL */
    void *context;
};
/* `path` is opened as given; if it is one of the files that fit the source's path it is that file, and the source no
 * longer tails it. state_dir: the connector's. What was written is durable also when this fails or is stopped; feeding
 * again repeats nothing. Errors: BUSY another feed; INVALID by_arrival or speed without an event time; LIMIT too much
 * to sort in memory; CORRUPT, LIMIT with bad_data: the file is damaged, what came before it was fed; as leat_feed_sync.
 */
enum leat_status leat_feed_run(struct leat_env *, const struct leat_source *, const char *project_dir,
                               const char *state_dir, const char *path, const struct leat_feed_options *,
                               struct leat_feed_progress *out, struct leat_error *) LEAT_MUST;

#endif
