/* A running project: ingest, steps, Delta commits, checkpoints, batch runs, recovery. One engine a
 * project folder (an exclusive lock on the work folder); single-threaded; all waiting through the
 * environment's clock. The commands of cli/ and the tests are thin over this. */
#ifndef LEAT_ENGINE_ENGINE_H
#define LEAT_ENGINE_ENGINE_H

#include <stdatomic.h>
#include "base/env.h"
#include "project/project.h"

struct leat_engine;
struct leat_engine_options {
    const char *project_dir;
    const char *lake_dir;      /* NULL: <project>/lake */
    const char *work_dir;      /* NULL: <project>/.leat */
    bool read_only;            /* no lock, no ingest, no commits: sql, explain, status */
    bool compile_only;         /* check, explain: plans, but nothing of the lake or the work folder is opened */
    bool deliver;              /* sinks hand over in threads of their own; else only when leat_engine_deliver or run_once says so */
    bool as_applied;           /* the project as it was applied last, whatever the files say now */
    const struct leat_project *like; /* the texts of this project instead of the files; NULL: the files */
    uint64_t max_step_rows;    /* 0: the project's setting */
    uint64_t journal_due_bytes; /* of steps in the journal, then a checkpoint is taken; 0: LEAT_JOURNAL_DUE_BYTES */
    bool serve;                /* keep what engine/live/live.h gives */
    bool in_turns;             /* scheduled and full runs are no threads beside the steps: where the clock is not the real one they would take no time */
    int64_t ends_us;           /* a rehearsal for its tables alone: what is done over again by then is left out (runs/overtaken.c); 0: nothing is */
    /* A rehearsal: called with the project as loaded, before anything is made of it; may change freshness and where input comes from. */
    void (*adjust)(void *context, struct leat_project *);
    void *adjust_context;
    struct leat_duck *shared_step, *shared_plan, *shared_batch; /* tests: reuse instances; NULL: own */
};
/* Loads the project (diagnostics with errors: INVALID, details in diags), recovers, and applies the project where it is another one
 * than the work folder's (apply.c). Errors: BUSY another leat holds the folder. */
enum leat_status leat_engine_open(struct leat_env *, const struct leat_engine_options *, struct leat_diagnostics *diags,
                                  struct leat_engine **out, struct leat_error *) LEAT_MUST;
/* Frees everything; nothing is flushed (that is leat_engine_flush): a close without flush is a crash that recovery handles. */
void leat_engine_close(struct leat_engine *);
const struct leat_project *leat_engine_project(const struct leat_engine *);
const struct leat_plan *leat_engine_plan(const struct leat_engine *, size_t table); /* borrowed */

enum { LEAT_STEP_FIFTHS = 4, LEAT_ALL_FIFTHS = 5 }; /* steps are so much of a freshness apart; the rest is for polling and the step itself */

/* One poll of every source into the log, synced, decoded. *got: records read. */
enum leat_status leat_engine_ingest(struct leat_engine *, uint64_t *got, struct leat_error *) LEAT_MUST;
/* Steps every group that is due (all = false) or has anything to do (all = true), one step each. *did: any step ran. */
enum leat_status leat_engine_step(struct leat_engine *, bool all, bool *did, struct leat_error *) LEAT_MUST;
/* Bronze and table commits of everything pending, manifest; with `checkpoint` also a checkpoint and trimming. */
enum leat_status leat_engine_flush(struct leat_engine *, bool checkpoint, struct leat_error *) LEAT_MUST;
/* Batch runs: due ones, or with all every scheduled table. A failing run is recorded and retried later, not an error here. */
enum leat_status leat_engine_batch(struct leat_engine *, bool all, struct leat_error *) LEAT_MUST;
/* What is due, one after the other, each in a thread of its own with less priority than the steps: returns at once. Called between two turns of
 * leat_engine_run: begins one, or commits one that is done. The mailbox wakes the engine when one is done. */
enum leat_status leat_engine_batch_beside(struct leat_engine *, struct leat_error *) LEAT_MUST;
bool leat_engine_runs_beside(const struct leat_engine *); /* one is under way */
/* Everything waiting is stepped through, committed and checkpointed. */
enum leat_status leat_engine_drain_and_checkpoint(struct leat_engine *, struct leat_error *) LEAT_MUST;
/* Everything due, then returns: `leat run --once`. final: event time ends, windows close. */
enum leat_status leat_engine_run_once(struct leat_engine *, bool all, bool final, struct leat_error *) LEAT_MUST;
/* `leat run`: until *stop becomes non-zero, or, where other threads have to stop for it, until a change is asked for: leat_control_parked. */
enum leat_status leat_engine_run(struct leat_engine *, const atomic_int *stop, struct leat_error *) LEAT_MUST;

/* Rule 12: late records are admitted; what changes is published as a difference, and kept in <table>__restatements with old, new,
 * reason and records. Steps and commits what waits first. out (may be NULL): JSON, an entry a table that took part. Nothing late:
 * nothing happens. */
struct leat_restate_options {
    const char *table;         /* and the tables it is made of; NULL: all */
    int64_t from_us, to_us;    /* event times [from, to); INT64_MIN and 0: no bound */
    const char *reason;
};
#define LEAT_RESTATE_FROM_MIN (-INT64_C(200000000000000000)) /* bounds that DuckDB has timestamps for */
#define LEAT_RESTATE_TO_MAX INT64_C(9000000000000000000)
enum leat_status leat_engine_restate(struct leat_engine *, const struct leat_restate_options *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;

/* Rule 20: takes the project's files as they are now or, where one of these is asked of a table, leaves the project as it is; at once or
 * not at all: on a failure that is not fatal the former project runs on. What asks the same as before keeps state and content; the rest is built from
 * bronze beside it and published as a difference. Steps and commits what waits first. dry_run: only says what would change.
 * out (may be NULL): JSON, {"tables": [{"table", "fate", "reads": {"rows", "bytes"}}], "rows", "bytes", "ms"}; fate is "kept", "moved",
 * "anew", "new", "run", "suspended", "resumed", "scheduled", "batch", "gone"; rows and bytes are bronze's, that are read again; ms is how long it took.
 * Errors: INVALID the files have errors (diags), a table that is not there, a reference that cannot be read yet. */
struct leat_change {
    const char *suspend, *resume, *run; /* run: a scheduled table, now */
    bool dry_run;
};
enum leat_status leat_engine_apply(struct leat_engine *, const struct leat_change *, struct leat_diagnostics *diags, struct leat_buffer *out,
                                   struct leat_error *) LEAT_MUST;
/* ALTER MATERIALIZED TABLE: SET and AS rewrite the statement in its file, then the files are applied; on a failure the file is as it was. */
enum leat_status leat_engine_alter(struct leat_engine *, const char *sql, bool dry_run, struct leat_diagnostics *diags, struct leat_buffer *out,
                                   struct leat_error *) LEAT_MUST;

/* Makes a table anew from bronze beside the present one, and publishes what differs in one commit: nothing, where nothing does. A scheduled
 * table is run. out (may be NULL): JSON as leat_engine_restate's. Progress: leat_engine_on_progress. */
enum leat_status leat_engine_rebuild(struct leat_engine *, const char *table, const char *reason, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Decodes a source's dead letters again, with the columns and settings of now. What is usable goes to bronze, at its old place, and what reads
 * the source is built anew and published as a difference, with an account in t__restatements. A crash leaves it done or begun; begun, the next
 * start finishes it. out (may be NULL): JSON {"dead", "usable", "tables": [as leat_engine_restate's]}. */
enum leat_status leat_engine_retry_dead(struct leat_engine *, const char *source, const char *reason, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* The only way in which records that are decoded change (rule 20): those of bronze that were decoded before the source got its newest columns are
 * decoded again, where their payload was kept (it is where they had fields without a column), and what reads the source is built anew and published
 * as a difference, with an account. A crash in between leaves some decoded, and no table that differs from them. out (may be NULL): JSON
 * {"payloads", "decoded", "tables"}. Errors: UNSUPPORTED a CSV source. */
enum leat_status leat_engine_redecode(struct leat_engine *, const char *source, const char *reason, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Promise 1 for one table (all when NULL): prints differing rows to out; *differing their number. */
enum leat_status leat_engine_verify(struct leat_engine *, const char *table, size_t max_rows, struct leat_buffer *out, uint64_t *differing, struct leat_error *) LEAT_MUST;
/* Keeps a version of a table under a name of its own, lake/pins/NAME, for good: a Delta table (lake/delta.h, leat_delta_pin) and
 * _pin.json: the SQL that made it, the inputs' versions (frontier), the seed. For an engine that is open to read; beside a running one.
 * out: the manifest. Errors: INVALID a name that is not plain or is taken; EXISTS; NOT_FOUND no such version. */
struct leat_pin_options {
    size_t table;
    int64_t version; /* -1: newest */
    const char *name;
    const char *seed; /* of what is made from it, a split or a training; NULL: none */
};
enum leat_status leat_engine_pin(struct leat_engine *, const struct leat_pin_options *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* The manifests of all pins, as a JSON array. */
enum leat_status leat_engine_pins(struct leat_engine *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
enum leat_status leat_engine_unpin(struct leat_engine *, const char *name, struct leat_error *) LEAT_MUST; /* NOT_FOUND */
/* A call into the engine's thread, made between two of its turns; the engine sleeps no longer than until then. `run` is called exactly
 * once, with NULL when the engine stops first; the struct is the caller's until then. Thread: any, until leat_engine_close. */
struct leat_call {
    void (*run)(struct leat_call *, struct leat_engine *);
    struct leat_call *next;
};
void leat_engine_post(struct leat_engine *, struct leat_call *);
/* The opened connector of a source; NULL: a reference, or read-only. Its own functions say which threads may use it. */
struct leat_connector;
struct leat_connector *leat_engine_connector(const struct leat_engine *, size_t source);

/* Called now and then during run_once with the records just read. */
void leat_engine_on_progress(struct leat_engine *, void (*progress)(void *, uint64_t records), void *context);
const char *leat_engine_lake_dir(const struct leat_engine *);
const char *leat_engine_work_dir(const struct leat_engine *);
#define LEAT_COSTS_FILE "costs.json" /* in the work folder: what `leat cost` found last, for the dashboard */
uint64_t leat_engine_failed_runs(const struct leat_engine *); /* tables whose last run failed, or held back by FAIL UPDATE */
/* Sinks hand over what waits, each until it has nothing more or fails. */
void leat_engine_deliver(struct leat_engine *);
/* Status as JSON. */
enum leat_status leat_engine_status(struct leat_engine *, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* A connection on which every source (its bronze), reference, table, <table>__late and <source>__dead is a view at one frontier. */
struct leat_conn;
/* SQL of a source's archive, as it is now: declared and INCLUDE columns, _partition, _offset, _arrival, _identity. Appended to out. */
void leat_engine_recorded(const struct leat_engine *, size_t source, struct leat_buffer *out);
/* SQL of a table's content as it is now, appended to out. */
enum leat_status leat_engine_content(struct leat_engine *, size_t table, struct leat_buffer *out, struct leat_error *) LEAT_MUST;
/* Columns that tell a table's rows apart: its primary key, or the keys of its GROUP BY; none where neither is there. malloc'd names. */
size_t leat_engine_key(const struct leat_engine *, size_t table, char ***names);
/* SQL of the whole archive, every column of it, and of the source's dead letters. */
void leat_engine_archive(const struct leat_engine *, size_t source, struct leat_buffer *out);
void leat_engine_dead_letters(const struct leat_engine *, size_t source, struct leat_buffer *out);
enum leat_status leat_engine_sql_views(struct leat_engine *, struct leat_conn *, struct leat_error *) LEAT_MUST;
/* The same as texts, which another thread makes views of on a connection of its own: name and SELECT, inputs first. */
struct leat_view_text { char *name, *select; };
struct leat_view_texts { struct leat_view_text *items; size_t count; };
enum leat_status leat_engine_view_texts(struct leat_engine *, struct leat_view_texts *out, struct leat_error *) LEAT_MUST;
void leat_view_texts_deinit(struct leat_view_texts *);
enum leat_status leat_view_make(struct leat_conn *, const struct leat_view_text *, struct leat_error *) LEAT_MUST; /* any thread */
const char *leat_engine_scratch_dir(const struct leat_engine *); /* emptied when the engine is opened */

#endif
