/* Shared by complete.c (queries) and complete_call.c (aggregate and window calls). */
#ifndef LEAT_PLAN_COMPLETE_INTERNAL_H
#define LEAT_PLAN_COMPLETE_INTERNAL_H

#include "plan/complete.h"
#include "plan/json.h"

/* A SELECT DISTINCT ON whose order is complete, with a reference, and its columns. */
struct leat_distinct { json_t *node; struct leat_schema schema; };
struct leat_completion {
    struct leat_conn *conn;
    bool batch;      /* the completed text, not the planning one */
    bool differs;    /* a call is written otherwise in the other of the two texts */
    bool only_check; /* nothing is changed, described or bound */
    json_t *scope;   /* array of the CTE entries visible here */
    struct leat_distinct *distincts; size_t distinct_count; /* batch: written otherwise when all is complete: orders above are found over what is planned */
    int error_offset;
    struct leat_error *err;
    enum leat_status status;
    int depth;
};
/* The SELECT whose expressions are being completed. */
struct leat_select {
    json_t *node;
    json_t *columns; /* array of COLUMN_REFs or group expressions that tell its rows apart; NULL: not asked yet */
};

/* Fails unless it failed before; location: the offending node. Always false. */
bool leat_completion_fail(struct leat_completion *c, const json_t *location, const char *format, ...) LEAT_PRINTF(3, 4);
/* Completes one FUNCTION or WINDOW expression in place. false: failed. */
bool leat_complete_call(struct leat_completion *c, struct leat_select *select, json_t *call);
bool leat_complete_window(struct leat_completion *c, struct leat_select *select, json_t *window);
/* Becomes one by row_number where that can be written: once in the tree. An expression it is part of may stand in orders, too, as what groups does, and
 * has to stay the same there, where no window may be; or have given way to copies. */
void leat_complete_distinct(struct leat_conn *conn, const struct leat_distinct *distinct, const json_t *tree);
json_t *leat_find_modifier(const json_t *node, const char *type); /* NULL: it has none */
/* Whether the expression is or holds a call of an aggregate (windows apart). */
bool leat_has_aggregate(const json_t *expression);
/* select->columns, found when first asked for. NULL: failed. */
json_t *leat_select_columns(struct leat_completion *c, struct leat_select *select);
/* Appends `expression` ASC NULLS LAST to an array of orders unless it is there already. */
void leat_append_order(json_t *orders, const json_t *expression, bool descending);
/* Names and number of a query node's columns, described in the scope. false: it does not stand alone (no error is set).
 */
bool leat_describe_node(struct leat_completion *c, const json_t *node, struct leat_schema *out);

#endif
