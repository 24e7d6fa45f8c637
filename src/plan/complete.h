/* Ties completed (rule 8) and functions checked (rule 7), on DuckDB's syntax tree. */
#ifndef LEAT_PLAN_COMPLETE_H
#define LEAT_PLAN_COMPLETE_H

#include "sql/duck.h"

/* planning    what the bound plan is made of: total orders added, arg_min and arg_max as they are (the C operator
 *             takes the smallest value among ties)
 * completed   what batch and oracle run: DuckDB's answer to it is the only one possible; sums of floats exact
 * Both malloc'd and empty unless LEAT_OK. *error_offset: byte in sql, -1 unknown.
 * Errors      SQL from DuckDB; UNSUPPORTED functions and clauses without one answer, with what to use instead */
enum leat_status leat_complete(struct leat_conn *plan_conn, const char *sql, char **planning, char **completed,
                               int *error_offset, struct leat_error *err) LEAT_MUST;

/* Only the checks: one SELECT, whose functions and clauses are allowed. Nothing is bound. */
enum leat_status leat_complete_check(struct leat_conn *plan_conn, const char *sql, int *error_offset,
                                     struct leat_error *err) LEAT_MUST;

#endif
