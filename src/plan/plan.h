/* The incremental plan of one table: operators over change batches, compiled from DuckDB's bound plan
 * (plan/compile.c). Pure description; stream/ runs it. All columns are addressed by position; stage
 * SQL names them c0, c1, ... over leat_input('in').
 *
 * plan/compile*.c    plan nodes -> operators           plan/relation.c    pending MAPs, fused
 * plan/expression.c  bound expressions -> SQL          plan/emit.c        operators, signatures, sharing
 * plan/complete*.c   ties completed (rule 8)           plan/check.c       every written text described and compared
 * plan/functions.c   the allow-list (rule 7)           plan/explain.c     EXPLAIN
 * plan/direct.c      what a MAP does without DuckDB  plan/apart.c        joins whose rows meet within some time
 * plan/lineage.c     where a column comes from         plan/declare.c     the planner's world
 * plan/places.c      de-duplication by place of the record */
#ifndef LEAT_PLAN_PLAN_H
#define LEAT_PLAN_PLAN_H

#include "data/schema.h"
#include "project/project.h"
#include "sql/duck.h"

enum leat_op_kind {
    LEAT_OP_SOURCE,      /* the step's rows of an unbounded source; append-only */
    LEAT_OP_REFERENCE,   /* version differences of a reference source */
    LEAT_OP_TABLE,       /* the changes of another table */
    LEAT_OP_MAP,         /* class 1: filter and projection, row-wise */
    LEAT_OP_DISTINCT_ON, /* class 2: the first row of each key in a total order */
    LEAT_OP_AGGREGATE,   /* classes 3 and 4: mergeable aggregates in C */
    /* class 5: join with a reference source (child 1, LEAT_OP_REFERENCE or a MAP over it) whose rows are unique per key.
     * Keys match as SQL's =: NULL matches nothing; so in JOIN. */
    LEAT_OP_LOOKUP,
    LEAT_OP_JOIN,        /* class 5: equi-join, both sides retained; no keys: cross product */
    /* class 6: DuckDB recomputes the keys that changed, over one input or two. Keys group as IS NOT DISTINCT FROM: rows
     * whose key is NULL are recomputed together. A row with weight n is n rows of leat_input. */
    LEAT_OP_RECOMPUTE,
    LEAT_OP_UNION,       /* UNION ALL, same types */
    LEAT_OP_TOP_N,       /* class 6: of each key the rows at the places (skip, skip + take] of a total order */
    /* Counts the rows that violate constraints, and holds all changes back while a row violates one that says FAIL UPDATE. */
    LEAT_OP_CONSTRAIN,
};
enum leat_agg_kind {
    LEAT_AGG_COUNT_STAR, LEAT_AGG_COUNT, LEAT_AGG_COUNT_DISTINCT, LEAT_AGG_SUM, LEAT_AGG_AVG,
    LEAT_AGG_MIN, LEAT_AGG_MAX, LEAT_AGG_ARG_MIN, LEAT_AGG_ARG_MAX, LEAT_AGG_BOOL_AND, LEAT_AGG_BOOL_OR,
};
struct leat_agg {
    enum leat_agg_kind kind;
    /* Input columns; -1: none. ARG_MIN/MAX: value, ordering column; ties: smallest value. Rows with either NULL do not
     * count. */
    int argument, by;
    int filter;           /* BOOLEAN input column, only true counts; -1: none */
    struct leat_type result;
};
struct leat_tumbled { uint16_t column; int64_t width_us, origin_us; /* width 0: it is something else */ };
struct leat_map_column {
    int from;             /* >= 0: passes input column through; -1: expression */
    char *expression;     /* over c0..; one that is unnest(list) makes a row for each entry (several: side by side) */
    bool can_fail;        /* a row can make it raise */
    struct leat_tumbled tumbled; /* the expression is leat_tumble of a TIMESTAMP or TIMESTAMPTZ column */
};
/* A comparison of a column with a constant of its type, an integer of at most 64 bits inside: true from low to high, or outside of them;
 * NULL passes no test. */
struct leat_test { uint16_t column; bool outside; int64_t low, high; };
struct leat_order { uint16_t column; bool descending, nulls_first; };
enum leat_join_kind { LEAT_JOIN_INNER, LEAT_JOIN_LEFT, LEAT_JOIN_SEMI, LEAT_JOIN_ANTI };

/* An output column that follows event time: every change still to come, of a row that appears or one that is taken
 * back, has a value v there with v + span_us > cut (raw event time: span 1; window_start of width w: span w), or NULL.
 * That rests on late records being kept out, and on a reference without refresh giving all its rows in the first step. */
struct leat_time_column { uint16_t column; int64_t span_us; int object; /* the source's index */ };

/* An output column by which the result falls apart in event time: a row with a value v there comes only of records of the source (of each
 * source below) with event times from v - back_us to below v + span_us, of references, and of nothing else. So a part of the result can be
 * computed from a part of the input, and rows can outlive their records (rule 3). NULL does not occur.
 * step_us: every value is origin_us and a multiple of it, and a record of time t comes into no row past the last such value at or before t + back_us,
 * but into that one's unless it is filtered out; all its windows are as long. 0: that cannot be said. */
struct leat_local { uint16_t column; int64_t span_us, back_us; int object; int64_t step_us, origin_us; };

/* How far apart in time rows of two inputs that meet are: columns[1] of the right one less columns[0] of the left one is from low_us to high_us
 * (INT64_MIN, INT64_MAX: no matter). A row of side i with a value v there meets no change to come, and none takes it back, once v + keep_us[i] <= cut: it may be
 * forgotten (INT64_MAX: never). */
struct leat_apart { bool known; uint16_t columns[2]; int64_t low_us, high_us, keep_us[2]; };

#define LEAT_COLUMN_PLACE UINT16_MAX
struct leat_op {
    enum leat_op_kind kind;
    int children[2]; int child_count;   /* indexes in plan->ops, always smaller than this op's own */
    struct leat_schema schema;          /* output; names are for people, positions count */
    bool append_only;                   /* never gives a negative weight */
    struct leat_time_column *times; size_t time_count;
    struct leat_local *locals; size_t local_count;
    char *signature;                    /* equal signature = same result: shared inside a group */
    int incremental_class;              /* 1..6 */
    char *why;                          /* for EXPLAIN */
    char *state_bound;                  /* what bounds the state, or why nothing does; NULL: no state */
    /* SOURCE, REFERENCE, TABLE */
    int object;                         /* index of the source or table in the project */
    /* Which columns of the row schema or of the table, in output order; SOURCE: LEAT_COLUMN_PLACE is the record's place (by_place below). */
    uint16_t *columns; size_t column_count;
    bool cut_applies;                   /* SOURCE: records before the cut are late for this table */
    /* SOURCE: the table reads these records in several places, and one can fail there: what fails in one place is dead in all (rule 10). Equal
     * where the same ones fail. 0: one place, or none can fail. */
    uint64_t guard;
    /* MAP */
    char *filter; bool filter_can_fail; /* NULL: none */
    struct leat_map_column *map; size_t map_count;
    struct leat_test *tests; size_t test_count; /* not 0: the filter says that all of these hold, and nothing else */
    /* DISTINCT_ON, TOP_N, AGGREGATE (group columns, output first), RECOMPUTE: columns of child 0; LOOKUP, JOIN, RECOMPUTE over
     * two inputs: left in keys, right in right_keys */
    uint16_t *keys; uint16_t *right_keys; size_t key_count;
    struct leat_order *orders; size_t order_count;  /* DISTINCT_ON: total order, the first row stays; TOP_N */
    int64_t skip, take;                             /* TOP_N; copies of a row have places one after the other */
    bool forgets;                                   /* TOP_N: the input takes nothing back: rows past the last place never come back */
    bool ranked;                                    /* TOP_N: the place is the last column, BIGINT */
    /* DISTINCT_ON: the input has one more column, the last: the place of the row's record (HUGEINT, partition << 64 | offset).
     * The same record gives the same row whenever it is read, so places may be remembered instead of rows. */
    bool by_place;
    struct leat_agg *aggs; size_t agg_count;        /* AGGREGATE; output: keys then aggs */
    bool global;                        /* AGGREGATE without GROUP BY: one row always */
    /* AGGREGATE, DISTINCT_ON: groups, keys, with v + span_us <= cut for one of `times` that is a key are final and may be
     * dropped; the input may take rows back, but not theirs. A NULL in that column is never final. */
    bool evict;
    /* AGGREGATE: EMIT ON WINDOW CLOSE by keys[close_key], -1: no. A group appears when v + span_us <= cut; `times` here
     * and above tell the span, the promise about changes to come is then the opposite one. */
    int close_key;
    bool static_right;                  /* LOOKUP: the reference is read once, before the first row: left rows need not be kept */
    enum leat_join_kind join;           /* LOOKUP, JOIN; output: left columns then (INNER, LEFT) right columns */
    struct leat_apart apart;            /* JOIN, RECOMPUTE over two inputs */
    bool judges_apart;                  /* JOIN, INNER: what is not so apart, or has a NULL there, is left out here; else the keys or the SQL say it */
    /* CONSTRAIN: one a constraint; the last columns are BOOLEAN: does the row violate it? Borrowed from the project. */
    const struct leat_constraint *constraints; size_t constraint_count;
    char *sql;                          /* RECOMPUTE: over leat_input('in') (and leat_input('right')), gives the output */
    bool by_row;                        /* RECOMPUTE over two inputs: what a left row gives hangs on it and the right rows of its key, on no other left row */
};
struct leat_plan {
    struct leat_op *ops; size_t op_count; /* topological; the last is the root */
    int constrain, quarantine;          /* the CONSTRAIN operator; the one whose rows t__quarantine has; -1: none */
    struct leat_schema schema;          /* of the table: output names and types */
    int incremental_class;              /* the highest of the ops; 7: full recompute only */
    char *full_reason;                  /* class 7: why */
    struct leat_plan *parts;            /* class 7: operators of what lies below that; their MAPs over sources say which records fail (rule 10). Else NULL */
    char *completed_sql;                /* ties completed, constraints applied: what batch and oracle run, over the names
                                         * of sources, tables and views (leat_complete gives a view's) */
    /* With constraints: the query with a column more for each, whether the row violates it; and, where one says QUARANTINE, the rows of
     * t__quarantine (the table's columns and _constraint). Else NULL. */
    char *checked_sql, *quarantine_sql;
    struct leat_object_ref *inputs; size_t input_count; /* sources and tables read, each once, views resolved */
    bool has_cut;                       /* windowed: late records exist for this table */
};
/* Columns and types of every source and of the tables planned so far, by name; planner's world. `plan_conn` is a
 * connection of a PLAN instance on which leat_plan_declare was called for all objects the query can see. */
enum leat_status leat_plan_declare_source(struct leat_conn *plan_conn, const struct leat_source *, struct leat_error *) LEAT_MUST;
/* *completed (may be NULL): its query with ties completed, malloc'd, set when OK. *error_offset: byte in view->sql, -1 unknown. */
enum leat_status leat_plan_declare_view(struct leat_conn *plan_conn, const struct leat_view *, char **completed, int *error_offset,
                                        struct leat_error *) LEAT_MUST;
enum leat_status leat_plan_declare_table(struct leat_conn *plan_conn, const struct leat_table *, const struct leat_plan *,
                                         struct leat_error *) LEAT_MUST;
/* Compiles a table. A query that cannot be kept incrementally gives class 7 with the reason, not an error.
 * Errors   SQL: err holds DuckDB's message, *error_offset the byte in table->sql, -1 unknown; UNSUPPORTED: functions and
 *          clauses off the allow-list, with what to use instead, and REFRESH_MODE = INCREMENTAL or EMIT ON WINDOW CLOSE
 *          where they are impossible; INVALID: names of the result */
enum leat_status leat_plan_compile(struct leat_conn *plan_conn, const struct leat_project *, const struct leat_table *,
                                   struct leat_plan **out, int *error_offset, struct leat_error *) LEAT_MUST;
bool leat_table_quarantines(const struct leat_table *);
/* The table's rows (or those of its quarantine) among the rows of `from`, which has the columns of checked_sql; malloc'd. */
char *leat_plan_checked_rows(const struct leat_plan *, const struct leat_table *, const char *from, bool quarantine);
/* One row: how many of them violate each constraint. */
void leat_plan_put_violations(const struct leat_table *, const char *from, struct leat_buffer *sql);
/* Can a row make a MAP's filter or expressions raise? */
bool leat_map_can_fail(const struct leat_op *map);
/* Appends the condition, over c0.., that holds for just the rows for which the filter, or past the filter an expression, raises. */
void leat_map_put_raises(const struct leat_op *map, struct leat_buffer *sql);
/* Sets guard of every SOURCE by the signatures of what reads it, which have to be final but for the guards. They are part of them then: leat_emit_sign. */
bool leat_plan_guard(struct leat_plan *plan); /* is there any? */
void leat_plan_free(struct leat_plan *);
/* What new records of its source do to a plan's result (adds.c): they add rows, or to groups; NOTHING: it has to be computed whole, *why (borrowed). */
enum leat_adds { LEAT_ADDS_NOTHING, LEAT_ADDS_ROWS, LEAT_ADDS_GROUPS };
enum leat_adds leat_plan_adds(const struct leat_plan *, const char **why);
/* Of GROUPS: SQL that merges the result there was (a SELECT) with that of new records. Appended to sql. */
void leat_plan_put_merge(const struct leat_plan *, const char *there, const char *added, struct leat_buffer *sql);
void leat_plan_put_duration(struct leat_buffer *out, int64_t us); /* 2 h */
/* EXPLAIN as text for people or JSON. */
void leat_plan_explain(const struct leat_project *, const struct leat_table *, const struct leat_plan *, bool json, struct leat_buffer *out);

#endif
