/* The real disk, for a process that is killed after so many calls that change something: from then on each of them
 * fails for good, and what was done before stays, as the kernel keeps it. (sim/disk.h loses what was not synced, which
 * costs more.) One at a time; one thread. */
#ifndef LEAT_SIM_KILL_H
#define LEAT_SIM_KILL_H

#include "base/io.h"

struct leat_io *leat_io_killable(void);  /* static; like the real one until it is armed */
void leat_io_kill_after(uint64_t calls); /* UINT64_MAX: never */
uint64_t leat_io_kill_calls(void);       /* made since then */
bool leat_io_killed(void);

#endif
