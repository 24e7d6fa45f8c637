/* Inside the compiler: relations under construction and the operators they stand on. Not for other folders. */
#ifndef LEAT_PLAN_COMPILE_H
#define LEAT_PLAN_COMPILE_H

#include "plan/bound.h"
#include "plan/expression.h"
#include "plan/plan.h"

/* One column of a relation: an operator's column as it is, or an expression over the operator's columns. */
struct leat_rel_column {
    int from;         /* >= 0: the operator's column; -1: text */
    const char *text; /* arena */
    bool can_fail;
    struct leat_type type;
    const char *name; /* for people; arena or plan JSON */
    bool not_null;
    bool has_time; /* follows event time: value + span_us > cut for every change still to come */
    int64_t span_us;
    int time_object;
    /* With it alone, or beside has_time: `back_us`, as in struct leat_local. */
    bool has_local;
    int64_t back_us;
    int64_t step_us, origin_us; /* as in struct leat_local */
    bool session_time;     /* it did, with this span, before window functions that partition by other columns */
    const char *time_lost; /* it did follow event time, until this; NULL */
    bool unusable;         /* a nested column that did not survive an unnest beside it */
    struct leat_tumbled tumbled; /* what the text says, over the operator's columns */
    int reference_key;     /* >= 0: carries that primary key column of the reference below, unchanged or widened; -1 */
};
/* An operator with a MAP on top that is not emitted yet, so that adjacent filters and projections fuse. */
struct leat_rel {
    int op;
    struct leat_rel_column *columns; /* arena */
    size_t count;
    const char *filter; /* over the operator's columns; NULL: none */
    bool filter_can_fail;
    struct leat_test *tests; /* arena; what the filter says, as far as it is tests */
    size_t test_count;
    bool untested; /* the filter says more than its tests */
    bool one_row; /* exactly one row always */
};
struct leat_cte {
    json_int_t index;
    struct leat_rel rel;
};
struct leat_compile {
    const struct leat_project *project;
    const struct leat_table *table;
    struct leat_conn *conn;
    struct leat_plan *plan;
    struct leat_arena arena;
    struct leat_cte ctes[64];
    size_t cte_count;
    struct leat_rel *delim[16]; /* the duplicate-eliminated columns of the DELIM_JOINs around */
    size_t delim_count;
    bool *cut_sources; /* per source of the project: its late records are decided for this table */
    bool *tumbled;     /* per source: its event time went through leat_tumble */
    int *cut_with;     /* per source: another one whose cut is wanted where this one's is; itself: none more */
    const json_t *above, *above_through; /* the conditions of a filter over the join that is compiled next, and the projection in between; NULL */
    int depth;
    bool parts;        /* what is made is not kept by steps: runs ask it which records fail (take_parts) */
    char why[512]; /* set when something is beyond the incremental classes */
};

/* All of these: false = not incremental, c->why says why and what to do. */
bool leat_compile_node(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_aggregate(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_distinct(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_distinct_rel(struct leat_compile *c, struct leat_rel *in,
                               struct leat_rel *out); /* SELECT DISTINCT * */
/* DISTINCT ON (targets) ... ORDER BY orders over rel, whose columns `out` has; rel is flushed. */
bool leat_compile_first(struct leat_compile *c, const json_t *targets, const json_t *orders, struct leat_rel *rel,
                        struct leat_rel *out);
/* Places of rows in an order, counted from 1. */
struct leat_places { int64_t first, last; bool shown; /* the place is a column of the result, after rel's */ };
/* The rows at these places of each key (targets; none: of all rows) in the order `by`; rel is flushed. */
bool leat_compile_top_n(struct leat_compile *c, const json_t *targets, const json_t *by, struct leat_places places,
                        struct leat_rel *rel, struct leat_rel *out);
bool leat_compile_limit(struct leat_compile *c, const json_t *node, struct leat_rel *out);
/* A filter of row_number() by constants; *done: false, it is something else and nothing was made of it. */
bool leat_compile_first_rows(struct leat_compile *c, const json_t *filter, struct leat_rel *out, bool *done);
/* Columns of rel (added where they are expressions) for the targets, and the order `by` with all further columns after
 * it. orders: arena. */
bool leat_compile_total_order(struct leat_compile *c, const json_t *targets, const json_t *by, struct leat_rel *rel,
                              uint16_t *keys, struct leat_order **orders, size_t *order_count);
bool leat_compile_window(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_join(struct leat_compile *c, const json_t *node, struct leat_rel *out);
/* left := left UNION ALL right; both are flushed. */
bool leat_compile_union(struct leat_compile *c, struct leat_rel *left, struct leat_rel *right);
bool leat_compile_cross(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_set_difference(struct leat_compile *c, const json_t *node, struct leat_rel *out);
bool leat_compile_refuse(struct leat_compile *c, const char *format, ...) LEAT_PRINTF(2, 3);
bool leat_compile_refuse_nested(struct leat_compile *c, const char *column);

/* relation.c */
void leat_rel_of_op(struct leat_compile *c, int op, struct leat_rel *out);
/* What expression `e` over `in` gives, as a column over the same operator. */
bool leat_rel_expression(struct leat_compile *c, const struct leat_rel *in, const json_t *e,
                         struct leat_rel_column *out);
/* The relation with the columns `expressions` over `in`; `in` may be flushed when the texts grow too long. */
bool leat_rel_project(struct leat_compile *c, struct leat_rel *in, const json_t *expressions, struct leat_rel *out);
/* An outer projection map keeps some columns, in its order; an empty one all. */
void leat_rel_keep(struct leat_compile *c, const json_t *map, struct leat_rel *rel);
bool leat_rel_filter(struct leat_compile *c, struct leat_rel *rel, const json_t *condition);
void leat_rel_filter_text(struct leat_compile *c, struct leat_rel *rel, const char *text, bool can_fail);
/* Adds a column unless an equal one is there; its index. */
size_t leat_rel_add(struct leat_compile *c, struct leat_rel *rel, const struct leat_rel_column *column);
void leat_rel_start(struct leat_compile *c, const struct leat_rel *in, size_t capacity,
                    struct leat_rel *out); /* no columns yet */
/* A column with this text over the operator of rel. */
struct leat_rel_column leat_rel_text(struct leat_compile *c, struct leat_type type, bool can_fail, const char *format,
                                     ...) LEAT_PRINTF(4, 5);
/* Text of column i over the operator: "c3" or the expression. Arena. */
const char *leat_rel_column_text(struct leat_compile *c, const struct leat_rel *rel, size_t i);
/* Emits the pending MAP if there is one; afterwards column i is the operator's column i. */
bool leat_rel_flush(struct leat_compile *c, struct leat_rel *rel);
/* As flush, but a relation without filter and expressions may stay wider or reordered: at[i] is where column i stands.
 */
bool leat_rel_settle(struct leat_compile *c, struct leat_rel *rel, uint16_t **at);
/* A writer whose references are the columns of rel, as they stand over its operator. refs: arena. */
void leat_rel_writer(struct leat_compile *c, const struct leat_rel *rel, struct leat_expression_writer *out);

/* direct.c. The window start that `e` over `rel` is; width 0: it is something else. */
struct leat_tumbled leat_rel_tumbled(const struct leat_rel *rel, const json_t *e);
/* Adds the tests that `condition` over `rel` is the conjunction of; false: it is something else, and nothing was added. */
bool leat_rel_add_tests(struct leat_compile *c, struct leat_rel *rel, const json_t *condition);

/* apart.c: how far apart in time rows of two inputs meet. Columns are those of flushed relations. */
struct leat_aparts { struct leat_apart pairs[8]; bool by_key[8]; size_t count; };
/* What the columns of a join's result (rel: their types) are: of the right input? which? */
struct leat_apart_output { struct leat_rel rel; bool *right; uint16_t *columns; };
/* Which sides' rows give something where they meet nothing, or give one thing however many they meet. */
enum leat_apart_pads { LEAT_PADS_NONE, LEAT_PADS_LEFT, LEAT_PADS_BOTH };
bool leat_apart_is_moved(const struct leat_rel *rel, const json_t *e); /* a time that follows event time, plus intervals */
void leat_apart_compare(struct leat_aparts *all, const struct leat_rel *left, const json_t *left_side, const char *comparison, const struct leat_rel *right,
                        const json_t *right_side, bool is_key);
void leat_apart_filter(struct leat_aparts *all, const struct leat_apart_output *output, const json_t *condition);
/* false: nothing is said. by_key: the equality of keys says it. */
bool leat_apart_choose(struct leat_compile *c, const struct leat_aparts *all, const struct leat_rel *left, const struct leat_rel *right, enum leat_apart_pads pads,
                       struct leat_apart *out, bool *by_key);
/* The times that the result of op follows, of which no rows come that are further apart. */
void leat_apart_times(struct leat_compile *c, const struct leat_rel *left, const struct leat_rel *right, const struct leat_apart *pair, struct leat_op *op);
char *leat_apart_describe(struct leat_compile *c, const struct leat_rel *left, const struct leat_rel *right, const struct leat_apart *pair); /* a state_bound */
/* compile.c: where one of the two sources has a cut, the other one gets its own. */
void leat_cut_together(struct leat_compile *c, int a, int b);

/* unique.c: do these columns, over the operator of rel, tell its rows apart? false: not known. */
bool leat_rel_is_unique(const struct leat_compile *c, const struct leat_rel *rel, const struct leat_rel_column *columns,
                        size_t count);

/* constraints.c */
enum leat_status leat_constraints_add(struct leat_conn *, const struct leat_table *, char **sql, struct leat_error *) LEAT_MUST; /* the checked query */
bool leat_constraints_emit(struct leat_compile *c, int *root);
void leat_constraints_complete(const struct leat_table *, struct leat_plan *); /* completed_sql becomes checked_sql */

/* emit.c: operators. The new operator's index. */
int leat_emit(struct leat_compile *c, enum leat_op_kind kind, int left, int right);
void leat_emit_column(struct leat_op *op, const char *name, struct leat_type type, bool not_null);
void leat_emit_time(struct leat_op *op, size_t column, int64_t span_us, int object);
const struct leat_time_column *leat_op_time(const struct leat_op *op, size_t column);
void leat_emit_local(struct leat_op *op, size_t column, const struct leat_local *from);
struct leat_local leat_local_of(const struct leat_rel_column *);
/* Of a row that records of both, or of either, make. */
struct leat_local leat_local_both(const struct leat_local *a, const struct leat_local *b);
const struct leat_local *leat_op_local(const struct leat_op *op, size_t column);
/* Both, as far as the column has them. */
void leat_emit_times(struct leat_op *op, size_t column, const struct leat_rel_column *from);
/* Completes the operator made last: refuses nested columns, writes its signature, and gives an equal older operator
 * instead if there is one. */
bool leat_emit_done(struct leat_compile *c, int *op);
/* Drops the operator made last where it was not completed: others may be made then. */
void leat_emit_give_up(struct leat_compile *c);
/* Writes every signature again, after operators were changed. */
void leat_emit_sign(struct leat_compile *c);
/* Drops operators that the root does not need; the root is the last afterwards. */
void leat_emit_prune(struct leat_plan *plan, int root);

/* places.c: DISTINCT ONs that need not keep their rows. Before the signatures are final. */
void leat_plan_places(struct leat_plan *plan, const struct leat_project *project);

/* check.c: has DuckDB describe every SQL text of the plan and compares the types; a column of another type gets a cast.
 */
enum leat_status leat_plan_check(struct leat_conn *conn, struct leat_plan *plan, struct leat_error *err) LEAT_MUST;

#endif
