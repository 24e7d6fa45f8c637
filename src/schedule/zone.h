/* Time zones as tables of offset changes, computed once by DuckDB's ICU (never the host's zone files). */
#ifndef LEAT_SCHEDULE_ZONE_H
#define LEAT_SCHEDULE_ZONE_H

#include "schedule/cron.h"
#include "sql/duck.h"

/* The zone's table: exact to the second from 2000 to 2100; earlier and later times have the nearest offset known.
 * name  IANA name ("Europe/Berlin"), any case
 * out   lives as long as the process, immutable: any thread may use it
 * Errors INVALID unknown zone, with the nearest name; SQL */
enum leat_status leat_zone_load(struct leat_conn *conn, const char *name, struct leat_zone **out, struct leat_error *err) LEAT_MUST;
/* The same; NULL when it cannot be had. leat_cron_next takes NULL as UTC. */
struct leat_zone *leat_zone_find(struct leat_conn *conn, const char *name);

#endif
