/* What the outside world is, handed down to everything: disk, clock, randomness, diagnostics. Tests
 * and the simulator pass their own. */
#ifndef LEAT_BASE_ENV_H
#define LEAT_BASE_ENV_H

#include <stdint.h>
#include "base/io.h"

struct leat_clock {
    int64_t (*now_us)(struct leat_clock *);                  /* wall clock, microseconds since the epoch, UTC */
    int64_t (*monotonic_us)(struct leat_clock *);
    /* Sleeps until monotonic `deadline_us`, or until a signal or wake fd arrives, whichever is first. */
    void (*sleep_until)(struct leat_clock *, int64_t deadline_us);
    /* leat_clock_wait of a clock that knows when its descriptors become readable. NULL: as sleep_until. */
    void (*wait)(struct leat_clock *, int64_t deadline_us, const int *fds, int count);
    void *context; /* real clock: NULL or const int *, a wake fd (a pipe's end, an eventfd) that sleep_until also polls */
};
struct leat_clock *leat_clock_real(void);
/* The real clock; from the first leat_clock_alarm on, which a signal handler may call, all its sleeps end at once. (A flag
 * alone does not do: a signal between looking at it and sleeping would wait for the sleep's end.) */
struct leat_clock *leat_clock_with_alarm(void);
void leat_clock_alarm(void);
/* sleep_until that also ends when one of the descriptors is readable (real clock; others just sleep). */
void leat_clock_wait(struct leat_clock *, int64_t deadline_us, const int *fds, int count);
/* Virtual: starts at the given wall time; sleep_until jumps. (sim/clock.h gives more.) */
void leat_clock_virtual_init(struct leat_clock *, int64_t *now_us_storage);

/* xoshiro256**, seeded by splitmix64; deterministic per seed. Not for secrets. */
struct leat_random { uint64_t s[4]; };
void leat_random_seed(struct leat_random *, uint64_t seed);
uint64_t leat_random_next(struct leat_random *);
uint64_t leat_random_below(struct leat_random *, uint64_t bound); /* [0,bound), unbiased; bound > 0 */
double leat_random_unit(struct leat_random *);                    /* [0,1) */
void leat_random_uuid(struct leat_random *, char out[37]); /* version 4 text from the generator */

enum leat_log_level { LEAT_LOG_DEBUG, LEAT_LOG_INFO, LEAT_LOG_WARN, LEAT_LOG_ERROR };
struct leat_env {
    struct leat_io *io;
    struct leat_clock *clock;
    struct leat_random random;
    enum leat_log_level log_level;
    void (*log)(struct leat_env *, enum leat_log_level, const char *line); /* NULL: stderr */
    void *log_context;
};
void leat_env_real(struct leat_env *); /* real disk and clock, seeded from the OS */
/* As env->log: lines of JSON on stderr, {"time", "level", "message"}. */
void leat_log_json(struct leat_env *, enum leat_log_level, const char *line);
void leat_log(struct leat_env *, enum leat_log_level, const char *format, ...) LEAT_PRINTF(3, 4);

#endif
