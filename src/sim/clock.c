#include "sim/clock.h"

#include <string.h>

static int64_t sim_now_us(struct leat_clock *clock) {
    struct leat_sim_clock *sim = clock->context;
    return sim->monotonic_us + sim->wall_offset_us;
}

static int64_t sim_monotonic_us(struct leat_clock *clock) {
    return ((struct leat_sim_clock *)clock->context)->monotonic_us;
}

static void sim_sleep_until(struct leat_clock *clock, int64_t deadline_us) {
    struct leat_sim_clock *sim = clock->context;
    if (deadline_us <= sim->monotonic_us) return;
    sim->sleep_count++;
    int64_t wake_us = sim->on_sleep ? sim->on_sleep(sim, deadline_us) : deadline_us;
    if (wake_us > deadline_us) wake_us = deadline_us;
    if (wake_us > sim->monotonic_us) sim->monotonic_us = wake_us;
}

void leat_sim_clock_init(struct leat_sim_clock *sim, int64_t wall_us) {
    memset(sim, 0, sizeof *sim);
    sim->monotonic_us = 1000000;
    sim->wall_offset_us = wall_us - sim->monotonic_us;
    sim->clock = (struct leat_clock){
        .now_us = sim_now_us, .monotonic_us = sim_monotonic_us, .sleep_until = sim_sleep_until, .context = sim};
}

void leat_sim_clock_advance(struct leat_sim_clock *sim, int64_t us) {
    if (us > 0) sim->monotonic_us += us;
}

void leat_sim_clock_set_wall(struct leat_sim_clock *sim, int64_t wall_us) {
    sim->wall_offset_us = wall_us - sim->monotonic_us;
}
