/* Between the two halves of applying a project: apply.c decides, apply_state.c moves state and builds. Seen by engine/apply* only. */
#ifndef LEAT_ENGINE_APPLY_H
#define LEAT_ENGINE_APPLY_H

#include "engine/internal.h"

enum leat_fate {
    LEAT_FATE_BATCH,
    LEAT_FATE_KEPT,    /* state and content stay */
    LEAT_FATE_RESUMED, /* the same, and it reads on from where it was suspended */
    LEAT_FATE_ANEW,    /* from bronze, beside what is there */
};
struct leat_apply {
    struct leat_engine *engine; /* with the new project */
    const json_t *state;        /* of the former: all its groups stand at one frontier */
    json_t *record;             /* what the journal keeps of it */
    enum leat_fate *fates;      /* per table */
    struct leat_changes *diffs; /* per table: what its kept readers have to be told; schema NULL: nothing */
};

json_t *leat_apply_former(const struct leat_apply *, const struct leat_gtable *); /* what the state knows of it; NULL: nothing */
int64_t leat_apply_version(const struct leat_apply *, const char *which, const struct leat_gtable *); /* -1: it has none */

/* apply_state.c */
/* Needs the record's versions, frontier and suspended tables. */
void leat_apply_fates(struct leat_apply *);
bool leat_apply_thaws(const struct leat_apply *, const struct leat_gtable *); /* its frozen rows are made anew with it: FROZEN WHERE is gone */
enum leat_status leat_apply_may_freeze(const struct leat_apply *, struct leat_error *) LEAT_MUST; /* INVALID: frozen rows do not fit the new query */
/* Makes the groups, gives them the frontier and the state that is kept, builds the rest, in memory. */
enum leat_status leat_apply_move(struct leat_apply *, struct leat_error *) LEAT_MUST;

#endif
