/* Runs a project over recorded input in folders of its own, on a simulated clock: steps, commits and runs happen when they would have
 * happened, and only the waiting is left out. Nothing of the project's own lake and work folder is touched. */
#ifndef LEAT_REHEARSE_REHEARSE_H
#define LEAT_REHEARSE_REHEARSE_H

#include "rehearse/record.h"
#include "rehearse/scratch_io.h"

struct leat_rehearsal_options {
    const char *project_dir;   /* the project that is rehearsed; its sources are fed by name */
    const char *dir;           /* its lake and work folder; made, what is in it is replaced */
    int64_t resume_us;         /* not 0: the next process of a rehearsal that has been in `dir` before goes on at this time of its clock */
    const struct leat_record *record;
    int64_t freshness_us;      /* of all tables, scheduled ones too; 0: as each says */
    int64_t step_us;           /* continuous tables step no more often than this; 0: as their freshness says. Fewer records may be late then */
    bool lean;                 /* for the tables at its end alone: commits are rare and wait for no disk, and runs that are overtaken are left out. Else
                                * all is done as live */
    double speed;              /* at most so many times real time; 0: as fast as it goes */
    int64_t rest_us;           /* each wait takes so long of real time, so that waking up costs what it does: another process was there meanwhile. 0: nothing */
    bool (*progress)(void *context, int64_t at_us); /* NULL: none; false: stop, which is CANCELLED */
    void *context;
};
struct leat_rehearsal; /* holds an engine */
/* The engine, opened, before the first record. Errors as leat_engine_open. */
enum leat_status leat_rehearsal_open(struct leat_env *, const struct leat_rehearsal_options *, struct leat_diagnostics *, struct leat_rehearsal **out, struct leat_error *) LEAT_MUST;
/* Everything that comes before `until_us` (INT64_MAX: all) as it would have gone. */
enum leat_status leat_rehearsal_run(struct leat_rehearsal *, int64_t until_us, struct leat_error *) LEAT_MUST;
/* The same; at_end (may be NULL) is called before what waits is stepped through and committed. */
enum leat_status leat_rehearsal_run_to(struct leat_rehearsal *, int64_t until_us, void (*at_end)(void *), void *context, struct leat_error *) LEAT_MUST;
/* Everything that comes before `until_us` at once, in large steps. */
enum leat_status leat_rehearsal_skip(struct leat_rehearsal *, int64_t until_us, struct leat_error *) LEAT_MUST;
/* What waits is stepped through and committed, every scheduled table is run. */
enum leat_status leat_rehearsal_finish(struct leat_rehearsal *, struct leat_error *) LEAT_MUST;
/* When it is over: the engine anew, for reading alone. The memory of its tables' state is given back. Errors as leat_engine_open */
enum leat_status leat_rehearsal_read(struct leat_rehearsal *, struct leat_error *) LEAT_MUST;
struct leat_engine *leat_rehearsal_engine(struct leat_rehearsal *);
const struct leat_scratch_io *leat_rehearsal_io(const struct leat_rehearsal *); /* requests to the lake so far */
void leat_rehearsal_close(struct leat_rehearsal *); /* its folders stay */

#endif
