/* What other threads may read of a running engine: tables with a PRIMARY KEY held in memory, at the frontier of the last step, and the
 * changes of the newest steps of every continuous table. Kept only where somebody serves (leat_engine_options.serve).
 *
 * Written by the engine's thread alone, all tables of a step at once; readers take a lock for as long as one read takes. Rows that are
 * given out are copies. Thread: any, unless said otherwise. */
#ifndef LEAT_ENGINE_LIVE_H
#define LEAT_ENGINE_LIVE_H

#include "engine/engine.h"

struct leat_live;
struct leat_live_table { /* constant while the engine is open */
    const char *name;
    int index;                        /* in the project's tables */
    struct leat_schema schema;
    uint16_t *key; size_t key_count;  /* PRIMARY KEY, positions in the schema */
    bool continuous;                  /* has a change stream */
    bool held;                        /* in memory: continuous, with a key */
};
struct leat_live *leat_engine_live(const struct leat_engine *); /* NULL: not serving */
size_t leat_live_table_count(const struct leat_live *);
const struct leat_live_table *leat_live_table_at(const struct leat_live *, size_t index);
const struct leat_live_table *leat_live_find(const struct leat_live *, const char *name); /* without case; NULL: none */

/* The last step whose changes can be read, and its clock. */
struct leat_live_frontier { uint64_t step; int64_t clock_us; };
struct leat_live_frontier leat_live_now(struct leat_live *);

/* Of tables that are held. key: one row, the key columns in order. Appends the row to `out` (the table's schema). False: no such row. */
bool leat_live_get(struct leat_live *, const struct leat_live_table *, const struct leat_changes *key, struct leat_changes *out,
                   struct leat_live_frontier *);
/* Rows from *cursor (0: the first) on for which keep (NULL: all) says so, at most max_rows of them, looking at no more than max_seen. Rows keep
 * their place while they exist, so calls one after the other give each row that was there all the time once. *cursor: where to go on; 0:
 * there are no more. One call is of one frontier, and ends before max_rows where rows are large (bounded memory). */
void leat_live_scan(struct leat_live *, const struct leat_live_table *, uint64_t *cursor, size_t max_rows, size_t max_seen,
                    bool (*keep)(void *, const struct leat_changes *, size_t row), void *context, struct leat_changes *out,
                    struct leat_live_frontier *);
uint64_t leat_live_rows(struct leat_live *, const struct leat_live_table *);

/* The consolidated changes of a table by one step, in an order that is the same whenever the step runs again: by key (else by row), what
 * goes before what comes. */
struct leat_live_changes {
    uint64_t step;
    int64_t clock_us;
    const struct leat_changes *rows;
    struct leat_live_step *held_by; /* release it */
};
/* Somebody follows the table: its changes are kept on disk too (SET changes_kept), for when it comes back after it left, or after a restart. As
 * long as anybody who ever followed it could go on from there. */
void leat_live_follow(struct leat_live *, const struct leat_live_table *);
void leat_live_leave(struct leat_live *, const struct leat_live_table *);
/* The first changes after a step. OK; END: none yet; LIMIT: changes after that step are neither in memory nor kept on disk. */
enum leat_status leat_live_next(struct leat_live *, const struct leat_live_table *, uint64_t after_step, struct leat_live_changes *, struct leat_error *) LEAT_MUST;
void leat_live_release(struct leat_live_changes *);
/* told is called in the engine's thread after every step that changed something, and when the engine stops. Set before it runs. */
void leat_live_on_step(struct leat_live *, void (*told)(void *), void *context);

#endif
