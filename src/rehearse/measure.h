/* What a project uses at one freshness: measured over recorded input on a simulated clock, as raw figures. cost.h makes days of them. */
#ifndef LEAT_REHEARSE_MEASURE_H
#define LEAT_REHEARSE_MEASURE_H

#include "base/child.h"
#include "rehearse/rehearse.h"

struct leat_measure_options {
    const char *project_dir, *dir;  /* dir: for the rehearsal's lake */
    const struct leat_record *record;
    int64_t freshness_us;           /* of every table */
    uint64_t sample_steps;          /* so many times the freshness is measured, less where that is more commits than needed; and so many runs by a timer */
    int64_t commit_interval_us;     /* the project's */
    /* Of a freshness that a timer keeps: does leat_measure_run in a process of its own. Both NULL where none is. */
    enum leat_status (*run)(void *context, int64_t at_us, struct leat_buffer *out, struct leat_child_outcome *, struct leat_error *);
    void *context;
};
/* Commits whose average is the rule: small files are joined every 64. */
#define LEAT_MEASURE_COMMITS 128
/* What waits rests for so long, so that other processes run meanwhile and what follows finds caches as cold as it would. */
#define LEAT_MEASURE_REST_US 10000
/* Freshness of an hour or more is kept by a timer that calls `leat run --once`; shorter ones by `leat run`. */
#define LEAT_TIMER_FROM_US (INT64_C(3600) * 1000000)
int64_t leat_measure_step_us(int64_t freshness_us); /* between two steps under steady input */

/* `leat run` is measured in this process, which should do nothing else: CPU time, peak memory and bytes written are the process's. A run by a timer is
 * a process from its start to its end, as it would be. Appends JSON:
 * freshness_us, timer; window_us, records, steps: what was measured; cpu_us, wall_us, peak_bytes, written_bytes; puts, gets, lists, deletes;
 * phases: {ingest, step, bronze, commit, checkpoint, batch}; tables: {name: {step, commit}} in microseconds; runs, empty_cpu_us, empty_wall_us: of
 * a run by a timer, and of one that finds nothing. */
enum leat_status leat_measure(struct leat_env *, const struct leat_measure_options *, struct leat_diagnostics *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* One run by a timer, in a rehearsal that has begun. Appends JSON: records, steps (of all runs so far), written_bytes, puts, gets, lists, deletes, phases, tables. */
enum leat_status leat_measure_run(struct leat_env *, const struct leat_measure_options *, int64_t at_us, struct leat_diagnostics *, struct leat_buffer *out,
                                  struct leat_error *) LEAT_MUST;

#endif
