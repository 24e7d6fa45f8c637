/* What a source's connector takes itself each time there is something new, which recorded input that stands in for it does not: measured. */
#ifndef LEAT_REHEARSE_WAKING_H
#define LEAT_REHEARSE_WAKING_H

#include "project/project.h"
#include "rehearse/record.h"

/* Can it be? Of a connector that talks to a server, or is talked to, it cannot. */
bool leat_waking_measurable(const struct leat_source *);
/* CPU time of the source's real connector over `wakes` wakes with so many records in all, as long as the recorded ones are: it follows input that grows
 * in `dir`, which is made. 0 where it cannot be measured, or none came. Rests between wakes, for about a second. */
enum leat_status leat_waking_measure(struct leat_env *, const struct leat_source *, const struct leat_recorded_source *, const char *dir, uint64_t wakes,
                                     uint64_t records, int64_t *cpu_us, struct leat_error *) LEAT_MUST;

#endif
