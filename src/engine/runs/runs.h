/* Scheduled and full runs: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_RUNS_H
#define LEAT_ENGINE_RUNS_H

#include "engine/internal.h"
#include "engine/proof/proof.h"

/* Scheduled and full tables that are due run one after the other, over what there was when the first began (pass.c). */
struct leat_runs_pass {
    json_t *frontier;                   /* as leat_frontier_json; the versions of tables that have run since are the new ones */
    int64_t *bronze_versions;           /* per source */
    int64_t began_us;                   /* what is due later is for another pass: it has to see what came until then */
    size_t next;                        /* in the project's order */
    bool beside;                        /* steps go on between its runs */
    bool *once;                         /* per view of the project: it is computed once for all that read it */
    struct leat_run_space here;         /* in the engine's instance */
};
/* Of a table over one source: records up to the run's frontier, those that it adds; since: {source: cursors}, NULL: it computes all. */
struct leat_run_records { uint64_t of, added; json_t *since; };
/* One run of a table (batch.c). Between begin and end the lake goes on; what the run sees does not. */
struct leat_run {
    struct leat_engine *engine;
    struct leat_gtable *table;
    const struct leat_runs_pass *pass;  /* NULL: what there is now */
    bool beside;                        /* computed in a thread of its own */
    int64_t start_us, cpu_us, own_cpu_us; /* at its begin: the clock, the process's CPU time, the engine's thread's */
    int64_t covered_us;                 /* times of the schedule up to this one are its own */
    bool tried_dead;
    bool whole;                         /* computes all, whatever would be cheaper */
    enum leat_adds adds;
    struct leat_run_records records;
    char *base;                         /* the frontier of what it adds to */
    struct leat_delta_staged *dead;     /* this time the rows that fail are looked for */
    struct leat_run_views views;
    struct leat_balance_plan counts;
    json_t *frontier;
    uint64_t inputs;                    /* their fingerprint */
    int64_t *violating;
    struct leat_delta_staged *content, *quarantine;
    struct leat_conn *conn;             /* while it computes */
    enum leat_status status;
    struct leat_error error;
};

/* frozen.c: before the run's commit: new records for rows that are frozen are late, and the balance says so. */
enum leat_status leat_frozen_note_late(struct leat_run *, struct leat_error *) LEAT_MUST;

/* adds.c: how a run is to be computed, up to frontier `now`; sets table->run_why. records: the caller releases `since`. */
enum leat_adds leat_run_adds(const struct leat_engine *, struct leat_gtable *, const json_t *now, struct leat_run_records *);

/* part.c: parts of a table that were refreshed alone */
bool leat_reads_clock(const char *sql); /* part.c: now() and its kin, or random() */
/* SQL of the query's rows as a commit's frontier says: over the inputs of the whole run, and for each part over its own. */
enum leat_status leat_parts_put(struct leat_engine *, const struct leat_gtable *, const json_t *frontier, const char *query, struct leat_buffer *sql,
                                struct leat_error *) LEAT_MUST;
/* of a table of the project; where: a condition on its columns. out (may be NULL): JSON, as leat_engine_apply's. */
enum leat_status leat_engine_refresh_part(struct leat_engine *, const char *table, const char *where, bool dry_run, struct leat_buffer *out,
                                          struct leat_error *) LEAT_MUST;

/* views.c */
/* Views of everything `reader` may read: at its group's frontier; with `frontier` (what a Delta commit recorded) as of then; else newest.
 * reader NULL: everything, nothing excluded. */
enum leat_status leat_batch_views(struct leat_engine *, struct leat_conn *, const struct leat_gtable *reader, const json_t *frontier, struct leat_error *) LEAT_MUST;
/* The same for one statement: "WITH name AS (...), ..."; out begins empty and stays so where nothing is read. */
enum leat_status leat_batch_with(struct leat_engine *, const struct leat_gtable *reader, const json_t *frontier, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* The same for a run, as texts with their prints: run->views. */
enum leat_status leat_run_views_collect(struct leat_run *, const json_t *frontier, struct leat_error *) LEAT_MUST;
void leat_run_views_deinit(struct leat_run_views *);
/* SQL text: the rows of a bound input whose weight is `which` ("<", ">") 0, as often as it says. */
void leat_put_changed_rows(const char *input, const struct leat_schema *, const char *which, struct leat_buffer *sql);
/* SQL text of a table's content, or of rows of a table beside it, at a version of its Delta table (-1: newest). */
enum leat_status leat_table_select(struct leat_engine *, const struct leat_gtable *, int64_t version, struct leat_buffer *sql, struct leat_error *) LEAT_MUST;
enum leat_status leat_side_select(struct leat_engine *, const struct leat_gtable *, const struct leat_side *, int64_t version, const char *where,
                                  struct leat_buffer *sql, struct leat_error *) LEAT_MUST;

/* reflects.c */
/* Beside the versions that the frontier names of the tables it reads: "ids", {table: its Delta table's id}. */
void leat_reflects_put_ids(const struct leat_engine *, const struct leat_gtable *, json_t *frontier);
bool leat_reflects_id(const json_t *frontier, const struct leat_gtable *input); /* false: the version it names is of a table that was replaced */
bool leat_reflects_query(const struct leat_engine *, const struct leat_gtable *); /* did the query of now make the content that there is, if any? */
/* Tables whose runs read what is gone are asked to run again: what knew that may have been in a work folder that was lost. knows_queries: the work
 * folder is not new, and knows of tables whose query is another. */
void leat_reflects_ask(struct leat_engine *, bool knows_queries);

/* batch.c */
enum leat_status leat_batch_run(struct leat_engine *, struct leat_gtable *, struct leat_runs_pass *, struct leat_error *) LEAT_MUST; /* pass: as of it; NULL: now */
/* The same in parts: begin and end in the engine's thread, compute in any. end says whether to compute again. */
enum leat_status leat_run_begin(struct leat_engine *, struct leat_gtable *, const struct leat_runs_pass *, struct leat_run **out, struct leat_error *) LEAT_MUST;
void leat_run_compute(struct leat_run *, struct leat_run_space *);
enum leat_status leat_run_end(struct leat_run *, bool *again, struct leat_error *) LEAT_MUST;
void leat_run_free(struct leat_run *);
int64_t leat_batch_next_due(struct leat_engine *, struct leat_gtable *);

/* pass.c. begin flushes; all: also what is not due. What runs after a table reads what it made: ran. */
enum leat_status leat_pass_begin(struct leat_engine *, bool all, struct leat_runs_pass **out, struct leat_error *) LEAT_MUST;
bool leat_pass_is_due(struct leat_engine *, struct leat_gtable *, const struct leat_runs_pass *, bool all); /* pass NULL: would it be in one that began now? */
bool leat_pass_shares(const struct leat_runs_pass *, const struct leat_engine *, const struct leat_gtable *); /* reads what is computed once */
void leat_pass_ran(struct leat_runs_pass *, const struct leat_gtable *);
void leat_pass_end(struct leat_runs_pass *);
enum leat_status leat_space_make(struct leat_run_space *, const struct leat_run_views *, struct leat_error *) LEAT_MUST; /* any thread */
void leat_space_close(struct leat_run_space *);

/* beside.c: leat_engine_batch_beside */
const struct leat_run *leat_beside_run(const struct leat_engine *); /* under way; NULL: none */
void leat_beside_cancel(struct leat_engine *); /* a run under way is stopped, and due again */

/* overtaken.c */
bool leat_is_overtaken(const struct leat_engine *, int64_t again_us); /* what comes again at this time, seen by nobody until then */
void leat_runs_pass_over(struct leat_engine *); /* runs that are due and overtaken count as done */

/* deadline.c: SCHEDULE ... READY BY */
struct leat_run_plan {
    int64_t scheduled_us;               /* the first time of the schedule that has had no run; INT64_MAX: never */
    int64_t start_us;                   /* when its run begins: then, or earlier where that would be too late */
    int64_t ready_us;                   /* by when it is to be ready, by itself or for who reads it; INT64_MAX: whenever */
};
struct leat_run_plan leat_deadline_plan(struct leat_engine *, struct leat_gtable *); /* of a scheduled table */
/* From when on it must be feared that the table will not be ready; INT64_MAX: nothing is asked. */
int64_t leat_deadline_feared(struct leat_engine *, struct leat_gtable *, const struct leat_run_plan *);
int64_t leat_deadline_takes(const struct leat_gtable *); /* what all but one of twenty runs have kept to; 0: none has run */
void leat_deadline_ran(struct leat_gtable *, int64_t took_us, int64_t covered_us); /* a run has succeeded */

#endif
