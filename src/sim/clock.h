/* A virtual clock: sleeping jumps to the deadline, wall and monotonic time move together unless the test says
 * otherwise. Usable wherever a struct leat_clock is. One thread. */
#ifndef LEAT_SIM_CLOCK_H
#define LEAT_SIM_CLOCK_H

#include "base/env.h"

struct leat_sim_clock {
    struct leat_clock clock; /* first: &sim->clock is the clock to pass on */
    int64_t monotonic_us;
    int64_t wall_offset_us;  /* wall = monotonic + offset */
    uint64_t sleep_count;    /* calls of sleep_until that had to wait: "idle costs nothing" is measured with it */
    /* Called by sleep_until before it jumps; may return an earlier time to wake at (an event at that time: it may act on the
     * world first), else deadline_us. NULL: none. */
    int64_t (*on_sleep)(struct leat_sim_clock *, int64_t deadline_us);
    void *context;           /* the test's own */
};
/* Monotonic time starts at 1 second, wall time at wall_us since the epoch. */
void leat_sim_clock_init(struct leat_sim_clock *, int64_t wall_us);
void leat_sim_clock_advance(struct leat_sim_clock *, int64_t us);       /* both times; us >= 0 */
void leat_sim_clock_set_wall(struct leat_sim_clock *, int64_t wall_us); /* steps the wall clock alone, also backwards */

#endif
