/* Writes bound expressions back as SQL with the types the binder gave them. */
#ifndef LEAT_PLAN_EXPRESSION_H
#define LEAT_PLAN_EXPRESSION_H

#include "plan/bound.h"

/* What a BOUND_REF stands for: a column of the stage's input ("c3") or the text of an expression below. */
struct leat_expression_ref {
    const char *text;
    bool can_fail;
    bool unusable;  /* must not be written */
    bool is_column; /* text is a bare column: JSON must be cast back, parentheses are not needed */
};
#define LEAT_ONE_ROW_COUNT "CAST(1 AS BIGINT)" /* count(*) of a relation that always has one row */
struct leat_expression_writer {
    const struct leat_expression_ref *refs;
    size_t ref_count;
    int lambda_depth; /* internal: lambdas around */
    bool reads_clock; /* set: now() or a relative of it was written */
    char why[256];    /* set on refusal */
};
/* Appends the SQL of `expression`. *can_fail is set (never cleared) when some row can make it raise.
 * false: it cannot be written, writer->why says what it is; the buffer holds rubbish then. */
bool leat_expression_write(struct leat_expression_writer *writer, const json_t *expression, struct leat_buffer *out,
                           bool *can_fail);
/* "ASC NULLS LAST"-style orders of ORDER BY, windows and aggregates: `expr DESC NULLS FIRST, ...`. */
bool leat_expression_write_orders(struct leat_expression_writer *writer, const json_t *orders, struct leat_buffer *out,
                                  bool *can_fail);

/* "=", "IS DISTINCT FROM" ... for the plan's COMPARE_EQUAL, ...; NULL: none of them. */
const char *leat_comparison_symbol(const char *type);

#endif
