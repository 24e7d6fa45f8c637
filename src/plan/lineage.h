/* Where a column of a bound plan comes from. */
#ifndef LEAT_PLAN_LINEAGE_H
#define LEAT_PLAN_LINEAGE_H

#include "plan/bound.h"
#include "sql/duck.h"

/* Is output column `column` of the plan node a source's event time, unchanged? leat_plan_declare_source noted, at the source's
 * input, which column that is. */
bool leat_is_event_time(struct leat_conn *plan_conn, const json_t *node, size_t column);

#endif
