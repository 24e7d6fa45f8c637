/* Where a column of a bound plan comes from. */
#ifndef LEAT_PLAN_LINEAGE_H
#define LEAT_PLAN_LINEAGE_H

#include "plan/bound.h"
#include "sql/duck.h"

/* Remembers, on the connection, which column of a source is its watermarked event time. */
enum leat_status leat_remember_event_time(struct leat_conn *plan_conn, const char *source, size_t column,
                                          struct leat_error *err) LEAT_MUST;
/* The source last asked about, for many columns of one plan; begins zeroed, borrows from the plan. */
struct leat_event_time_memo {
    const char *source;
    int64_t position; /* -1: none */
};
/* Is output column `column` of the plan node a source's event time, unchanged? */
bool leat_is_event_time(struct leat_conn *plan_conn, const json_t *node, size_t column, struct leat_event_time_memo *);

#endif
