/* Waking a thread that sleeps on descriptors (leat_clock_wait). Thread: fire from any, also in a signal handler. */
#ifndef LEAT_BASE_WAKE_H
#define LEAT_BASE_WAKE_H

#include "base/status.h"

struct leat_wake {
    int fd; /* readable from the first fire after a drain on; -1: not open */
};
enum leat_status leat_wake_open(struct leat_wake *, struct leat_error *) LEAT_MUST;
void leat_wake_close(struct leat_wake *); /* a zeroed one that was never opened must have fd -1 */
void leat_wake_fire(const struct leat_wake *);
void leat_wake_drain(const struct leat_wake *);

#endif
