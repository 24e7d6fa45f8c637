/* A step: step.c chooses what it reads, journals it and hands on what comes of it; step_nodes.c runs the nodes. */
#ifndef LEAT_ENGINE_STEP_H
#define LEAT_ENGINE_STEP_H

#include "engine/internal.h"

/* What a step reads; equal content whether chosen now or read back from the journal. */
struct leat_step_input {
    uint64_t step;
    int64_t clock_us;
    struct leat_cursors *to;           /* per source: end of the range; from is the group's cursor */
    int64_t *watermarks;               /* per source */
    bool *idle;                        /* per source */
    uint64_t *references;              /* per source: version to reach */
    int64_t *closed_us;                /* per table of the group: the boundary that FROZEN WHERE has from now on; INT64_MIN: as it is */
};
#define LEAT_CUT_NONE INT64_MAX

/* Rows and offsets of a chunk that a step reads. */
struct leat_chunk_range { const struct leat_chunk *chunk; size_t from_row, to_row; uint64_t from, to; };
bool leat_chunk_range_of(const struct leat_chunk *, uint64_t from, uint64_t to, struct leat_chunk_range *out); /* false: it has none of these offsets */

/* Runs the nodes over what the step reads, and counts what is late and dead. Their results stay until leat_step_clear. */
enum leat_status leat_step_run(struct leat_group *, const struct leat_step_input *, struct leat_error *) LEAT_MUST;
void leat_step_clear(struct leat_group *);
/* Per node the lowest cut of the sources below it; LEAT_CUT_NONE where none has one (yet). */
void leat_step_cuts(const struct leat_group *, const int64_t *watermarks, const bool *idle, int64_t *cuts);

#endif
