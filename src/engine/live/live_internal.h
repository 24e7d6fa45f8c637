/* Records taken in by a thread, calls from other threads, readers in memory: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_LIVE_INTERNAL_H
#define LEAT_ENGINE_LIVE_INTERNAL_H

#include "engine/internal.h"

/* intake.c */
enum leat_status leat_intake_start(struct leat_src *, uint64_t rows_max, struct leat_error *) LEAT_MUST;
enum leat_status leat_intake_stop(struct leat_src *, struct leat_error *) LEAT_MUST; /* what it had taken in is the engine's then */
enum leat_status leat_intake_take(struct leat_intake *, uint64_t *records, bool *caught_up, struct leat_error *) LEAT_MUST;
int leat_intake_fd(const struct leat_intake *); /* readable: there is something to take */

/* mailbox.c */
enum leat_status leat_mailbox_open(struct leat_engine *, struct leat_error *) LEAT_MUST;
enum leat_status leat_mailbox_open_again(struct leat_engine *, struct leat_error *) LEAT_MUST; /* after leat_mailbox_close */
void leat_mailbox_run(struct leat_engine *); /* all calls that wait */
void leat_mailbox_close(struct leat_engine *); /* those that wait, and all that come, are told that the engine has stopped */

/* wait.c: see wait.h */
enum leat_status leat_waits_step(struct leat_engine *, struct leat_error *) LEAT_MUST;
int64_t leat_waits_left_us(const struct leat_engine *); /* to the first deadline; INT64_MAX: nobody waits */
void leat_waits_cancel(struct leat_engine *);

/* live.c: see live.h. All do nothing where nobody serves. */
void leat_live_open(struct leat_engine *);
void leat_live_close(struct leat_engine *);
enum leat_status leat_live_load(struct leat_engine *, struct leat_error *) LEAT_MUST; /* after recovery: from the lake and what is pending */
void leat_live_change(struct leat_engine *, const struct leat_gtable *, const struct leat_changes *); /* of the step under way */
void leat_live_step_done(struct leat_group *, uint64_t step, int64_t clock_us);
void leat_live_keep(struct leat_engine *); /* before a checkpoint: what is kept of changes is durable up to the engine's step */
void leat_live_forget_past(struct leat_engine *, const struct leat_gtable *); /* the content is another one now, not told as changes */
void leat_live_stopped(struct leat_engine *);

#endif
