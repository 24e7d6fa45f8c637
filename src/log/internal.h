/* What log.c and cursor.c share. */
#ifndef LEAT_LOG_INTERNAL_H
#define LEAT_LOG_INTERNAL_H

#include "log/segment.h"

struct leat_log {
    struct leat_env *env;
    char *dir;
    uint64_t segment_bytes, log_id;
    struct leat_segment *segments; /* oldest first, sequences without a gap; the last takes appends */
    size_t segment_count, segment_capacity;
    struct leat_file *file; /* the last segment, NULL until something is written */
    struct leat_ends durable, appended;
    bool jumped; /* a partition's offsets: the next write begins a segment */
    /* Blocks appended and not yet written, laid out for their place: after the last segment's durable bytes or, if
     * begins_segment, from the start of `next`. */
    struct leat_buffer pending;
    /* Where they lie: as far from a page's start as their place in the file is, so that direct writes need no copy. NULL: nowhere yet. */
    char *room;
    size_t touched_bytes, small_writes; /* of it; in a row, beside what was touched */
    bool begins_segment;
    struct leat_segment next;
    bool failed; /* a sync failed: nothing more is taken or given */
};
/* Fails once a sync has failed. */
enum leat_status leat_log_alive(const struct leat_log *, struct leat_error *) LEAT_MUST;
/* Where the records of segments[index] end for a partition: what the next segment starts with. */
const struct leat_ends *leat_log_ends_of(const struct leat_log *, size_t index);

#endif
