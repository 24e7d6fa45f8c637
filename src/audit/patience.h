/* How long can the business wait for this data? Three answers give a freshness: who acts on the table, how soon after the fact, and what
 * happens when it is late. */
#ifndef LEAT_AUDIT_PATIENCE_H
#define LEAT_AUDIT_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum leat_actor { LEAT_ACTOR_PROGRAM, LEAT_ACTOR_WATCHER, LEAT_ACTOR_READER, LEAT_ACTOR_REPORT, LEAT_ACTOR_NOBODY };
enum leat_harm { LEAT_HARM_NONE, LEAT_HARM_ANNOYANCE, LEAT_HARM_MONEY };
extern const char *const leat_actor_names[], *const leat_harm_names[]; /* as options spell them, NULL-terminated */

struct leat_patience {
    enum leat_actor actor;
    int64_t within_us; /* they act so soon after the fact; above 0 */
    enum leat_harm harm;
};
struct leat_freshness_advice {
    int64_t freshness_us;
    bool scheduled;      /* long enough that a nightly run is cheaper to run and easier to explain */
    char *clause;  /* FRESHNESS = ... or SCHEDULE ...; malloc'd */
    char *reason;  /* in words; malloc'd */
};
void leat_freshness_advise(const struct leat_patience *, struct leat_freshness_advice *out);
void leat_freshness_advice_deinit(struct leat_freshness_advice *);
/* "INTERVAL '5' MINUTE", as statements spell it. */
void leat_put_sql_interval(struct leat_buffer *, int64_t us);

#endif
