/* The changes of one table on disk, step by step: those that memory (live.h) no longer has, and those from before a restart. Kept once
 * somebody has followed the table, as many as fit into a size.
 *
 * What it holds need not be durable as long as the steps can run again: it is synced before a checkpoint, and before memory drops a step. It
 * is a convenience for readers, so that a failure of it (a full disk) costs the history, never a step: whoever needed it is told.
 *
 * Writers: the engine's thread alone. leat_past_read: any thread. */
#ifndef LEAT_ENGINE_PAST_H
#define LEAT_ENGINE_PAST_H

#include "base/env.h"
#include "data/schema.h"

struct leat_past;
/* schema: borrowed. Nothing is kept, and nothing touched on disk, before leat_past_resume or leat_past_start. */
struct leat_past *leat_past_new(struct leat_env *, const char *dir, const struct leat_schema *, uint64_t bytes_max);
void leat_past_free(struct leat_past *); /* NULL is allowed */
void leat_past_resume(struct leat_past *); /* what an earlier process has left, if anything; damaged, or of other columns: that is removed */
bool leat_past_is_kept(const struct leat_past *);
uint64_t leat_past_from(const struct leat_past *);  /* it has what came after this step */
uint64_t leat_past_upto(const struct leat_past *);  /* and every change up to this one, durably */
void leat_past_start(struct leat_past *, uint64_t from_step); /* begins, empty */
void leat_past_forget(struct leat_past *);                    /* ends, and removes what there is on disk */
/* Changes of a step, later than those before; a step that it has is passed over. */
void leat_past_append(struct leat_past *, uint64_t step, int64_t clock_us, const struct leat_changes *);
/* Makes durable what was appended, which are all changes up to a step, and drops the oldest beyond the size. */
void leat_past_sync(struct leat_past *, uint64_t upto_step);
/* The first changes after a step: appended to `out` (initialised, empty). END: none up to *step; LIMIT: not known any more. */
enum leat_status leat_past_read(struct leat_past *, uint64_t after_step, uint64_t *step, int64_t *clock_us, struct leat_changes *out, struct leat_error *) LEAT_MUST;

#endif
