/* The engine's own structures; seen by engine/ only.
 *
 * source   an unbounded source: connector -> log -> chunks (decoded) -> groups and bronze
 * chunk    the decoded records of one block, shared by everyone who still has to read it
 * group    the continuous tables of one freshness: one graph of nodes, stepped together; a suspended table has one of its own
 * gnode    one operator of the graph, shared by tables with equal signatures
 * gtable   one table: its Delta table, pending changes, late rows, row balance */
#ifndef LEAT_ENGINE_INTERNAL_H
#define LEAT_ENGINE_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/mem.h"
#include "base/wake.h"
#include "connect/connector.h"
#include "data/decode.h"
#include "data/key.h"
#include "engine/engine.h"
#include "engine/reference/reference.h"
#include "lake/delta.h"
#include "log/log.h"
#include "plan/plan.h"
#include "sql/duck.h"
#include "state/checkpoint.h"
#include "state/journal.h"
#include "stream/op.h"

struct leat_dead_record { /* all text owned by the chunk's arena */
    uint64_t offset;
    const char *reason;
    struct leat_string payload;
};
struct leat_chunk {
    struct leat_chunk *next;
    uint32_t partition;
    uint64_t from, to;           /* records [from, to) */
    int64_t arrival_us;
    int64_t *arrivals;           /* per row, of a chunk read back from bronze; NULL: all are arrival_us */
    int64_t max_event_us;        /* INT64_MIN: none */
    char *payload;               /* owned copy of the block's bytes, or NULL */
    struct leat_changes rows;    /* the source's declared columns */
    uint64_t *offsets;           /* per row */
    uint64_t *identities;        /* per row, or NULL */
    struct leat_string *raw;     /* per row: payload where the columns lose something, else length 0; or NULL */
    struct leat_dead_record *dead; size_t dead_count;
    struct leat_arena arena;
};
struct leat_cursor { uint32_t partition; uint64_t next; };
struct leat_cursors { struct leat_cursor *items; size_t count; };

/* Since when (monotonic) the connector says that there is nothing more; -1: it has not said so since the last record. */
struct leat_quiet { uint32_t partition; int64_t since_us; bool idle; };
/* Sources that tables have a cut of together, and how far (a watermark) the others have taken each while it was idle. */
struct leat_cut_set { bool *sources; int64_t *floors; };
struct leat_partition_time { uint32_t partition; int64_t max_event_us; };
struct leat_src {
    struct leat_engine *engine;
    struct leat_intake *intake;         /* NULL: the engine's own thread polls */
    pthread_mutex_t log_lock;           /* held while the log is used: an intake uses it too */
    const struct leat_source *def;
    int index;
    struct leat_connector *connector;   /* NULL when read-only */
    struct leat_log *log;
    struct leat_decoder *decoder;
    char *dir;
    struct leat_chunk *first, *last;    /* decoded, not yet needed by all; in arrival order */
    uint64_t chunk_rows;                /* rows held in chunks */
    struct leat_cursors ends;           /* next offset ingested per partition */
    struct leat_cursors loaded;         /* next offset not yet in a chunk */
    struct leat_delta *bronze, *dead;
    struct leat_schema bronze_schema, dead_schema;
    struct leat_cursors grown;           /* records before these were decoded with fewer columns (bronze, never the log, says what is in them) */
    /* Rule 3 (retain.c): records with event times before retained_us may be gone, INT64_MIN: none; bronze begins at `begins`, and has all after it. */
    int64_t retained_us;
    struct leat_cursors begins;
    struct leat_cursors bronzed, deaded; /* next offset per partition that bronze / the dead letters have */
    int64_t last_arrival_us;
    bool finished;
    struct leat_quiet whole, *quiet; size_t quiet_count; /* with idle_timeout: of the source, of its partitions */
    uint64_t kept_revision, kept_hash;  /* of the connector's description in the lake */
    uint64_t records_in, records_dead;
    uint64_t polled;                    /* records that the last poll gave */
};

struct leat_balance { uint64_t in, admitted, late, dead; };
struct leat_late_key { uint32_t partition; uint64_t offset; };
struct leat_low { uint32_t partition; uint64_t upto; int64_t event_us; }; /* the lowest of a run of records that ends before upto */
struct leat_lows { struct leat_low *items; size_t count; };
struct leat_late_set { struct leat_late_key *items; size_t count; }; /* sorted */
/* A table beside a table: append-only, committed with it, idempotent on its own. */
struct leat_side {
    const char *suffix;
    struct leat_delta *delta;
    struct leat_schema schema;
    struct leat_changes pending;
    uint64_t committed_step;
    bool overwrite, beside;
};
/* How fresh a table is asked to be, by the hour; zone: of the calendar, NULL: the project's, borrowed. */
struct leat_freshness { struct leat_calendar calendar; const char *zone; };
enum { LEAT_TOOK_MAX = 20 };
struct leat_gtable {
    const struct leat_table *def;
    int index;                          /* in project->tables */
    struct leat_plan *plan;
    struct leat_freshness freshness;    /* that is asked; DOWNSTREAM: of those who read it */
    struct leat_group *group;           /* NULL: scheduled or full */
    int root;                           /* gnode */
    int constrain, quarantine_root;     /* gnodes; -1: none */

    struct leat_delta *delta;
    struct leat_changes pending;        /* since the last Delta commit */
    int64_t frozen_us;                  /* rows with lower times stay as they are (retain.c, frozen.c); INT64_MIN: none */
    int64_t closed_us, late_before_us;  /* by FROZEN WHERE (frozen.c): the same, and records from before are late */
    struct leat_stage *bound;           /* of FROZEN WHERE, on the steps' connection; NULL: not yet asked */
    int64_t told_closed_us;             /* closed_us, as the newest commit has it */
    bool passed_over;                   /* changes of frozen rows were, since the boundary was told */
    struct leat_changes unfrozen;       /* of a step's changes, where some are of frozen rows */

    uint64_t committed_step;            /* from the Delta txn at open */
    uint64_t made_step;                 /* made anew after this step: until it has committed, its next commit replaces the content */
    bool suspended;                     /* takes no steps and no runs */
    bool asked;                         /* batch: a run is due now, whatever the schedule says */
    int64_t turned_us;                  /* batch: since when, after it was continuous */
    struct leat_side late, dead;        /* t__late; t__dead: rows whose expressions failed */
    struct leat_side audit;             /* t__restatements; opened when there is one */
    uint64_t restated; int64_t restated_us; /* late records admitted by restatements; the last one's time */
    struct leat_late_set *late_sets;    /* per source: what t__late holds, while history is read; NULL: not loaded */
    int late_class;                     /* tables of one class share operators */
    struct leat_side quarantine;        /* t__quarantine; delta NULL without a constraint that says QUARANTINE */
    int64_t *violating;                 /* batch: per constraint, rows that violate it in the last run */
    bool held;                          /* its violations are told */
    uint64_t changes_out, withheld;
    int64_t commit_cpu_us, batch_cpu_us; /* of its commits, of its runs, since the start */
    struct leat_balance *balance;       /* per source of the project */
    /* batch */
    bool overwrite;                     /* the next commit replaces the whole content */
    bool beside;                        /* the lake has other columns: the candidate's table is opened beside it */
    bool batch;                         /* scheduled, or class 7 */
    int64_t retry_us, last_run_us;
    int64_t covered_us;                 /* times of the schedule up to this one have had their run; 0: none had */
    int64_t took_us[LEAT_TOOK_MAX]; size_t took_count; /* of the newest runs that succeeded, oldest first */
    uint64_t runs; int failures;
    char *last_error;
    char *run_why;                      /* batch: why the last run computed all of its query, or only what was new; NULL: not known */
    bool run_added;                     /* it computed what was new */
    int64_t last_cpu_us, last_rows;
    uint64_t inputs_seen;               /* fingerprint of inputs at the last full run */
    int64_t watched_us;                 /* when the drift watch compared it, 0: not since the start; */
    uint64_t drifting; char *drift_where; /* so many rows differed, of those that fit this (NULL: all) */
    uint64_t verified[2];               /* the comparison that last found content, and quarantine, equal (verify.c); 0: none */
};
struct leat_gnode {
    const struct leat_op *op;
    struct leat_node *node;             /* NULL for SOURCE, REFERENCE, TABLE */
    int children[2];
    struct leat_changes out, view;      /* this step's changes: owned, or borrowed columns: a SOURCE's of one chunk, a MAP's of its input */
    struct leat_changes *result;        /* &out, &view, or NULL: nothing in this step */
    int64_t lateness_us;                /* of the tables it serves; -1: no cut */
    int64_t cpu_us;                     /* of its steps, since the start */
    int late_class;                     /* of the tables it serves; 0 where no source is below */
    bool on_source;                     /* a source is below */
    struct leat_gtable *owner;          /* SOURCE: one of the tables it serves; all have equal late sets */
    int cut_set;                        /* of the tables it serves; -1: none */
    struct leat_gtable *keeper;         /* while a project is applied: the table whose saved state this is; NULL: none's */
    bool *feeds;                        /* per table of the group: does it depend on this node? */
    bool *counts;                       /* SOURCE, per table of the group: keeps its row balance of this source */
};
/* How old the oldest record of each step was when the step was done, worst of ten seconds; since the process started. */
enum { LEAT_PACE_BUCKETS = 180 };
struct leat_pace_bucket { int64_t start_us, worst_us; uint32_t steps; };
struct leat_pace {
    struct leat_pace_bucket buckets[LEAT_PACE_BUCKETS];
    size_t newest;
    uint64_t steps, met;                /* steps with records; those within the freshness */
    int64_t missed_since_us, missed_us; /* since when steps have been too late (0: the last was not); the last one that was */
    int64_t cpu_us;
};
struct leat_rebuild;
struct leat_group {
    struct leat_engine *engine;
    struct leat_pace pace;
    struct leat_gtable *suspended;      /* the one table, which takes no steps; NULL: the group steps */
    json_t *versions;                   /* suspended: of the tables it may read, as it has taken them in */
    struct leat_rebuild *rebuild;       /* NULL: ordinary steps */
    struct leat_freshness freshness;
    int64_t freshness_us, turns_us;     /* what it is now, and until when: leat_group_turn */
    struct leat_gnode *nodes; int node_count;
    struct leat_gtable **tables; int table_count;
    bool *reads;                        /* per source of the project: has a SOURCE node here */
    struct leat_cursors *cursors;       /* per source of the project: next record to read */
    const struct leat_chunk **passed;   /* per source: this chunk and all before it are read; NULL: not known */
    int64_t *watermarks;                /* per source: journaled, INT64_MIN none */
    struct leat_cursors *history;       /* per source: records before these were decided (rule 2): t__late says which are late */
    int64_t *floors;                    /* per source: the watermark never falls below this, once history is read */
    bool late_loaded;                   /* its tables' late sets are in memory */
    struct leat_lows *lows;             /* per source: event times still to come in history */
    struct leat_partition_time **times; size_t *time_counts; /* per source, per partition */
    struct leat_cut_set *cut_sets; size_t cut_set_count;
    uint64_t *reference_versions;       /* per source of the project */
    struct leat_changes *queues;        /* per table of the project: changes waiting from other groups; schema NULL if unused */
    int64_t last_clock_us, due_us;
    bool started;                       /* has stepped at least once (global aggregates give their row) */
    uint64_t rows_touched, steps;
};
enum leat_phase { LEAT_PHASE_INGEST, LEAT_PHASE_STEP, LEAT_PHASE_BRONZE, LEAT_PHASE_COMMIT, LEAT_PHASE_CHECKPOINT, LEAT_PHASE_BATCH, LEAT_PHASE_COUNT };
struct leat_mailbox { pthread_mutex_t lock; struct leat_wake wake; struct leat_call *first, **last; bool closed; };
struct leat_check;
/* Verify by itself (watch.c). */
struct leat_watch {
    int64_t due_us, checked_us, from_us, to_us; /* the last period; to_us 0: the whole table */
    size_t next, last;                          /* tables */
    uint64_t step, periods, differing;          /* what it was at; since the start */
};
/* What a name stands for in a run. print: of the text and of all that it reads; once: computed when it is made, for others of the pass read it too. */
struct leat_run_view { size_t position; char *name, *select; struct leat_hash128 print; bool once; };
struct leat_run_views { struct leat_run_view *items; size_t count; };
/* A connection on which runs are computed, and the views that they have made on it. A thread at a time. */
struct leat_run_space {
    struct leat_duck *duck;             /* an instance of its own; NULL: the connection is on another's */
    struct leat_conn *conn;             /* NULL: not open */
    struct leat_run_view *made; size_t made_count; /* per position of project->order; without texts */
};
struct leat_runs_pass;
struct leat_engine {
    struct leat_env *env;
    struct leat_mailbox mailbox;
    struct leat_live *live;             /* NULL: nobody serves */
    struct leat_wait *waits;
    struct leat_engine_options options; /* as opened; the texts are those below */
    struct leat_project *project;       /* the applied one */
    int control_fd;                     /* control.c; -1: nobody can ask */
    char *parked;                       /* a request that changes the project under those who are served: their server has to be closed for it */
    json_t *records;                    /* writing: of the journal, as it was opened */
    bool undecided;                     /* the project is a candidate: nothing in the lake may move for it */
    char *project_dir, *lake_dir, *work_dir, *scratch_dir;
    bool read_only;
    struct leat_file *lock, *lake_lock;
    struct leat_duck *step_duck, *plan_duck, *batch_duck;
    bool own_step, own_plan, own_batch;
    struct leat_conn *step_conn, *plan_conn, *batch_conn;
    struct leat_src *sources;           /* per project source; reference ones unused */
    struct leat_reference **references; /* per project source, NULL for unbounded */
    struct leat_gtable *tables;         /* per project table */
    struct leat_watch watch;
    struct leat_check *checks;          /* per check of the project; NULL: not opened */
    char **view_sql;                    /* per project view: its query with ties completed */
    char **made_views;                  /* per position of project->order: what its view on batch_conn selects; NULL: none made */
    struct leat_group **groups; int group_count;
    struct leat_journal *journal;
    char incarnation[37];               /* of the work folder */
    int next_node_id;
    int64_t phase_cpu_us[LEAT_PHASE_COUNT]; /* where the CPU time went since the start */
    uint64_t step;                      /* the last journaled step, over all groups */
    uint64_t checkpoint_step, records_since_checkpoint;
    uint64_t journal_head_bytes; /* of the journal as it began; 0: not known */
    uint64_t replay_from; /* the step whose state recovery began with; those after it were run again */
    int64_t commit_due_us, committed_us; /* committed: when rows were, last */
    int64_t clock_us;                   /* never runs backwards */
    uint64_t max_step_rows;
    bool bronze_turn;                   /* the last turn flushed bronze: the next is for tables */
    bool replaying;                     /* recovery: nothing is written */
    bool trimmed;                       /* memory was given back in this idle time */
    bool replayed;                      /* this start had to run steps again: the next stop saves the state */
    bool final;                         /* event time ends: windows close */
    bool all;                           /* run --all: also what is not due */
    int64_t bronze_due_us, status_due_us, vacuum_due_us, retain_due_us;
    int64_t restated_us, restate_due_us; /* the last restatement; when late records are admitted next */
    uint64_t status_step;
    bool manifest_is_due;               /* a run has committed since the last manifest */
    bool status_is_news;                /* though there was no step: a run began or ended, or nothing was told yet */
    void (*progress)(void *, uint64_t records);
    void *progress_context;
    int64_t created_us;                 /* first start of the work folder */
    int64_t restored_us;                /* when it came out of a backup; 0: it did not */
    json_t *history;                    /* the newest runs, oldest first */
    uint64_t reset_step;                /* state began empty after this step */
    char *fingerprint;                  /* of software, settings and plans (rule 5) */
    struct leat_beside *beside;         /* a run beside the steps; NULL: none is under way */
    struct leat_runs_pass *pass;        /* the tables that run one after the other see one frontier; NULL: none is under way */
    bool memory_shared;                 /* the batch instance leaves memory to that of what is computed beside */
    struct leat_run_space apart;        /* of what is computed beside, in an instance of its own */
    struct leat_effects *effects;       /* per project sink (engine/tell/effects.h) */
    size_t effects_count;
    struct leat_alerts *alerts;         /* engine/tell/alerts.h; NULL: read-only */
};
static inline size_t leat_group_sources(const struct leat_group *g) { /* of the project, whether the group reads them or not */
    return g->engine->project->source_count;
}

/* chunk.c */
void leat_chunk_free(struct leat_chunk *);
size_t leat_chunk_row(const struct leat_chunk *, uint64_t offset); /* the first at or past it: rows are in offset order */
int64_t leat_chunk_arrival(const struct leat_chunk *, size_t row);
uint64_t leat_cursor_get(const struct leat_cursors *, uint32_t partition); /* 0 when unknown */
void leat_cursor_set(struct leat_cursors *, uint32_t partition, uint64_t next);
void leat_cursors_copy(struct leat_cursors *to, const struct leat_cursors *from);
void leat_cursors_free(struct leat_cursors *);
json_t *leat_cursors_json(const struct leat_cursors *);
void leat_cursors_parse(struct leat_cursors *, const json_t *);
/* Decodes a block into a new chunk, which takes the payload if the block owns it and copies it otherwise. */
enum leat_status leat_chunk_decode(const struct leat_src *, struct leat_decoder *, struct leat_block *, struct leat_chunk **out, struct leat_error *) LEAT_MUST;

/* source.c */
enum leat_status leat_src_open(struct leat_engine *, int index, struct leat_error *) LEAT_MUST;
void leat_src_close(struct leat_src *);
enum leat_status leat_src_poll(struct leat_src *, uint64_t *records, struct leat_error *) LEAT_MUST;  /* append, not synced */
enum leat_status leat_src_sync(struct leat_src *, struct leat_error *) LEAT_MUST; /* what was polled is durable, and whoever waits for that is told */
void leat_src_tell_rejected(const struct leat_src *, const struct leat_chunk *);
/* Records that the log has: the source's end moves past them. chunk (NULL: none) is taken, or freed where it is not the time for it. */
enum leat_status leat_src_took(struct leat_src *, uint32_t partition, uint64_t from, uint32_t count, int64_t arrival_us, struct leat_chunk *, struct leat_error *) LEAT_MUST;
enum leat_status leat_intakes_start(struct leat_engine *, struct leat_error *) LEAT_MUST; /* source.c: of all sources that are prompt */
enum leat_status leat_intakes_stop(struct leat_engine *, struct leat_error *) LEAT_MUST;
/* Makes chunks of waiting records until memory's bound, or (upto given) of everything below it. */
enum leat_status leat_src_refill(struct leat_src *, const struct leat_cursors *upto, struct leat_error *) LEAT_MUST;
enum leat_status leat_src_refill_below(struct leat_src *, const struct leat_cursors *upto, struct leat_error *) LEAT_MUST; /* both bounds */
void leat_src_rewind(struct leat_src *); /* no chunks; the next refill starts at the lowest cursor of groups and bronze */
void leat_src_release(struct leat_src *); /* drops chunks that bronze and every group are past */

/* bronze.c */
enum { LEAT_DECODE_VERSION = 1 };
#define LEAT_BRONZE_LACKS \
    "bronze of source \"%s\" lacks %llu records of partition %u, offsets %llu to %llu: somebody deleted them. What was computed from them stays as it " \
    "is; to make it anew, restore %s/bronze/%s to a version that has them"
enum leat_status leat_bronze_open(struct leat_src *, struct leat_error *) LEAT_MUST;
enum leat_status leat_bronze_flush(struct leat_src *, struct leat_error *) LEAT_MUST;
void leat_bronze_cursors(const struct leat_delta_snapshot *, struct leat_cursors *out); /* up to where a version of bronze, or of the dead letters, has records */
uint64_t leat_bronze_waiting(const struct leat_src *); /* rows not yet in bronze */
/* SQL text: the source's row-schema columns (plus _partition, _offset) from bronze up to `upto`. */
void leat_bronze_select(const struct leat_src *, const struct leat_cursors *upto, const char *extra_where, struct leat_buffer *sql);
void leat_bronze_put_below(const struct leat_cursors *upto, struct leat_buffer *sql); /* the condition on _partition and _offset */
/* Reads bronze rows of [from, to) of a partition as chunks through visit (which takes ownership). */
enum leat_status leat_bronze_read(struct leat_src *, uint32_t partition, uint64_t from, uint64_t to,
                                  enum leat_status (*visit)(void *, struct leat_chunk *, struct leat_error *), void *context, struct leat_error *) LEAT_MUST;
/* The rows at n offsets (ascending, n > 0) of a partition, those that bronze has, as one chunk; without its dead records. */
enum leat_status leat_bronze_pick(struct leat_src *, uint32_t partition, const uint64_t *offsets, size_t n, struct leat_chunk **out, struct leat_error *) LEAT_MUST;

/* group.c */
/* Compiles the tables. With diags all that cannot be compiled are listed there (INVALID); else the first one is the error. */
enum leat_status leat_groups_build(struct leat_engine *, struct leat_diagnostics *diags, struct leat_error *) LEAT_MUST;
enum leat_status leat_groups_arrange(struct leat_engine *, struct leat_error *) LEAT_MUST; /* makes the groups, empty */
void leat_groups_free(struct leat_engine *);
void leat_queues_clear(struct leat_group *); /* what waited is taken in; a suspended group has none beyond the pass that filled them */
void leat_group_free(struct leat_group *);
enum leat_status leat_group_open_node(struct leat_group *, int index, struct leat_error *) LEAT_MUST; /* empty state; closes the former */
enum leat_status leat_group_reset_nodes(struct leat_group *, struct leat_error *) LEAT_MUST; /* empty state */
bool leat_freshness_same(const struct leat_freshness *, const struct leat_freshness *);
/* Names it in journal and state: microseconds, and of a calendar a text; new reference. */
json_t *leat_freshness_json(const struct leat_freshness *);
void leat_freshness_put(const struct leat_freshness *, struct leat_buffer *out); /* for people: "1 second between 07:00 and 23:00, else 1 hour" */
/* When what waits since then has waited for so many fifths of what it may. */
int64_t leat_freshness_due(const struct leat_engine *, const struct leat_freshness *, int64_t since_us, int fifths);
void leat_group_turn(struct leat_group *); /* freshness_us is what it is now */
const struct leat_gtable *leat_table_input(const struct leat_engine *, const struct leat_gtable *, size_t input); /* the i-th of its plan's; NULL: it is no table */
void leat_table_mark(const struct leat_engine *, const struct leat_gtable *, bool *marked /* by table */); /* it, and all tables that it is made of */
bool leat_table_reads(const struct leat_gtable *, size_t source); /* itself, not through other tables */
bool leat_table_reads_table(const struct leat_gtable *, const struct leat_gtable *other); /* so, too */
void leat_table_put_columns(const struct leat_gtable *, struct leat_buffer *out); /* for hashes */
/* What a table's state and content depend on, as a hash; malloc'd. Equal: both can be kept. */
char *leat_table_signature(const struct leat_engine *, const struct leat_gtable *);

/* idle.c */
void leat_idle_open(struct leat_src *);
enum leat_status leat_idle_record(struct leat_src *, uint32_t partition, struct leat_error *) LEAT_MUST; /* a record came */
/* A poll has ended. caught_up: the connector has looked everywhere and has nothing more. */
enum leat_status leat_idle_polled(struct leat_src *, bool caught_up, struct leat_error *) LEAT_MUST;
int64_t leat_idle_left_us(const struct leat_src *); /* until more of it is idle, if nothing comes; INT64_MAX: never */
bool leat_idle_partition(const struct leat_src *, uint32_t partition);
int leat_cut_set_of(struct leat_group *, const struct leat_plan *); /* made when there is none; -1: none is needed */
void leat_plan_put_cut_set(const struct leat_engine *, const struct leat_plan *, struct leat_buffer *out); /* its sources; nothing: none is needed */
char *leat_cut_set_name(const struct leat_group *, int set); /* its sources, the same in every project; malloc'd */
/* The watermark of a source for the tables of a cut set (-1: its own); idle: per source. */
int64_t leat_cut_set_watermark(const struct leat_group *, int set, int source, const int64_t *watermarks, const bool *idle);
void leat_cut_sets_advance(struct leat_group *, const int64_t *watermarks, const bool *idle);
void leat_cut_sets_clear(struct leat_group *);
void leat_cut_sets_free(struct leat_group *);
json_t *leat_cut_sets_json(const struct leat_group *);
void leat_cut_sets_load(struct leat_group *, const json_t *);

/* fetch.c: rows of an operator's input read again by place (leat_step_context.fetch); context: struct leat_fetch */
struct leat_fetch { struct leat_group *group; int node; };
enum leat_status leat_fetch_rows(void *context, const leat_i128 *places, size_t n, struct leat_changes *out, struct leat_error *) LEAT_MUST;

/* step.c */
/* A SOURCE op's columns of rows of a chunk (rows[], NULL: first_row ...), put at `at` of out, which has room; strings stay the chunk's. */
void leat_source_rows(const struct leat_src *, const struct leat_op *source, const struct leat_chunk *, const uint32_t *rows, size_t first_row,
                      size_t n, struct leat_changes *out, size_t at);
void leat_group_note_time(struct leat_group *, size_t source, uint32_t partition, int64_t event_us); /* the partition's highest event time is at least that */
/* The lowest cut of the table's sources, or watermark where one has none; per source: watermarks, idle. */
int64_t leat_group_past(const struct leat_group *, int table, const int64_t *watermarks, const bool *idle);
int64_t leat_group_cut(const struct leat_group *, int node); /* of its last step; INT64_MIN: none yet, INT64_MAX: past everything */
/* The first chunk of a source that the group has not read to its end; NULL: none. Later ones may be read. */
const struct leat_chunk *leat_group_unread(const struct leat_group *, int source);
bool leat_group_has_input(struct leat_group *);
bool leat_group_settled(struct leat_group *); /* has read its history, and nothing but new records is left to do */
enum leat_status leat_group_step(struct leat_group *, bool *did, struct leat_error *) LEAT_MUST;
/* Runs a journaled step again. */
enum leat_status leat_group_replay(struct leat_group *, const json_t *record, struct leat_error *) LEAT_MUST;
/* Reads from the group's cursors to where g->rebuild says; what the changing tables hold is then in their `pending`. */
enum leat_status leat_group_rebuild(struct leat_group *, struct leat_error *) LEAT_MUST;
/* A step that reads nothing and takes the group to these watermarks (per source; those of its own where they are later). */
enum leat_status leat_group_align(struct leat_group *, const int64_t *watermarks, struct leat_error *) LEAT_MUST;
int64_t leat_group_watermark(const struct leat_group *, size_t source); /* as its next step would see it */
bool leat_group_waits_for_reference(const struct leat_group *); /* one that is read once, and was not yet */

/* content.c */
enum leat_status leat_table_windows(struct leat_engine *, const struct leat_gtable *, struct leat_buffer *sql, struct leat_error *) LEAT_MUST;
/* The column of the table's result that is a window's start, or an event time; NULL: none. */
const struct leat_time_column *leat_table_time(const struct leat_gtable *);

/* commit.c */
enum leat_status leat_table_open_delta(struct leat_engine *, struct leat_gtable *, struct leat_error *) LEAT_MUST;
void leat_table_close_delta(struct leat_gtable *);
enum leat_status leat_table_move_in(struct leat_engine *, struct leat_gtable *, struct leat_error *) LEAT_MUST; /* what was opened beside */
/* Writes down what the content reflects, which does not change: once a step. */
enum leat_status leat_table_commit_frontier(struct leat_engine *, struct leat_gtable *, const char *frontier, uint64_t step, struct leat_error *) LEAT_MUST;
/* The node that counts violations, and what it holds back (FAIL UPDATE); NULL: none. */
const struct leat_node *leat_table_constrain(const struct leat_gtable *);
const struct leat_changes *leat_table_held(const struct leat_gtable *);
/* Rows that violate the constraint, continuous or in the last run. */
int64_t leat_table_violating(const struct leat_gtable *, size_t constraint);
/* Why the table stays at its version; malloc'd, NULL: no constraint that says FAIL UPDATE is violated. */
char *leat_table_violation_text(const struct leat_gtable *, const int64_t *violating);
/* t__restatements; without `create` only where it is there. */
enum leat_status leat_table_open_audit(struct leat_engine *, struct leat_gtable *, bool create, struct leat_error *) LEAT_MUST;
char *leat_table_app_id(const struct leat_engine *, const struct leat_gtable *); /* of its Delta txn; owned by the caller */
enum leat_status leat_tables_commit(struct leat_engine *, struct leat_error *) LEAT_MUST;
/* A table says what its SELECT says; what another program wrote into it cannot stay, and what changes next would not fit. */
enum leat_status leat_tables_take_back(struct leat_engine *, struct leat_error *) LEAT_MUST;
json_t *leat_table_frontier(const struct leat_gtable *); /* of its newest commit: new reference; NULL: there is none, or it says nothing */
/* What a commit reflects: of a group's tables, or (NULL) of a batch run over the lake as it is, with what is known of the
 * run (balance, violations; else NULL). */
void leat_frontier_json(struct leat_engine *, const struct leat_group *, const json_t *run, struct leat_buffer *out);
/* Made anew, but not to be shown yet, since rows violate FAIL UPDATE or a sink is to be told all at once; or it reads one of which that is so, and must not
 * be ahead of it: the former content stays. */
bool leat_table_waits(const struct leat_gtable *);
bool leat_table_lags(const struct leat_gtable *); /* its next commit gives more than what the last steps changed: made anew, held by FAIL UPDATE, waiting */
uint64_t leat_table_pending(const struct leat_gtable *); /* rows that the next commit takes */

/* checkpoint.c */
enum leat_status leat_engine_checkpoint(struct leat_engine *, struct leat_error *) LEAT_MUST;
enum leat_status leat_engine_load_checkpoint(struct leat_engine *, json_t **state, struct leat_error *) LEAT_MUST; /* NULL: none */
/* Loads the operators that have a keeper, by the names they had in the project whose checkpoint's `state` this is. */
enum leat_status leat_engine_adopt_nodes(struct leat_engine *, const json_t *state, struct leat_error *) LEAT_MUST;
/* What the newest checkpoint says of the engine; NULL: none that can be read. */
json_t *leat_engine_checkpoint_state(struct leat_engine *);

/* waiting.c: what tables that wait (leat_table_waits) have gathered, as parts of a checkpoint */
struct leat_checkpoint_node *leat_waiting_nodes(struct leat_engine *, struct leat_checkpoint_node *nodes, size_t *count); /* appends */
void leat_waiting_nodes_free(struct leat_checkpoint_node *nodes, size_t count); /* what was appended */
/* By the project alone, so that saving and loading agree. */
bool leat_table_may_wait(const struct leat_engine *, const struct leat_gtable *);
/* After loading: forgets what tables have committed since the checkpoint. */
void leat_waiting_settle(struct leat_engine *);
void leat_waiting_forget(struct leat_engine *);

/* pace.c */
/* After a step: when the oldest of its records arrived (INT64_MAX: it had none), and its CPU time. */
void leat_pace_note(struct leat_group *, int64_t oldest_us, int64_t cpu_us);
/* Since when the group's tables have been older than asked, as its steps and what waits show; 0: they are not. *due_us: when that may become
 * another by time alone; 0: it does not. */
int64_t leat_pace_missed_since(struct leat_group *, int64_t now_us, int64_t *due_us);
/* For the status: freshness attained, what waits, watermarks and who holds them back. */
json_t *leat_pace_json(const struct leat_group *);

/* loop.c */
/* Books the thread's CPU time since `from_us` (leat_usage_thread_cpu_us) to a phase. */
void leat_phase_end(struct leat_engine *, enum leat_phase, int64_t from_us);
enum leat_status leat_engine_drain(struct leat_engine *, struct leat_error *) LEAT_MUST; /* steps until nothing is left to do */

/* status.c */
enum leat_status leat_engine_publish_status(struct leat_engine *, struct leat_error *) LEAT_MUST; /* <work>/status.json, at most once in 5 seconds */

/* recover.c */
bool leat_record_is(const json_t *record, const char *type); /* of the journal: "step", "restate", "run", ... */
enum leat_status leat_engine_write_head(struct leat_engine *, struct leat_error *) LEAT_MUST;
enum leat_status leat_engine_recover(struct leat_engine *, struct leat_error *) LEAT_MUST;
/* Runs the journal's records after the engine's step again. */
enum leat_status leat_engine_replay(struct leat_engine *, struct leat_error *) LEAT_MUST;
void leat_group_set_empty(struct leat_group *); /* nothing read */

/* state.c */
char *leat_engine_fingerprint(const struct leat_engine *); /* malloc'd */
json_t *leat_engine_state(const struct leat_engine *);     /* new reference */
void leat_engine_load_runs(struct leat_engine *, const json_t *state);
void leat_engine_load_classes(struct leat_engine *, const json_t *state); /* and what is suspended */
void leat_engine_load_streams(struct leat_engine *, const json_t *state);
void leat_table_load_stream(struct leat_engine *, struct leat_gtable *, const json_t *state);
char *leat_engine_software(const struct leat_engine *); /* the part of the fingerprint that no project changes; malloc'd */
json_t *leat_group_json(const struct leat_group *);     /* new reference */
void leat_group_load(struct leat_group *, const json_t *);
/* The group that the table stood in; NULL: it was not continuous. */
json_t *leat_state_group(const json_t *state, const char *table);
void leat_engine_replay_run(struct leat_engine *, json_t *run);
void leat_history_add(struct leat_engine *, json_t *run); /* keeps a reference */

/* open.c */
int leat_engine_scan_threads(const struct leat_engine *); /* that a run may use */
/* Many threads for DuckDB's scans (batch runs, recovery), or one: beside a single writer the others only spin. */
enum leat_status leat_engine_parallel(struct leat_engine *, bool parallel, struct leat_error *) LEAT_MUST;
/* One thread again, also where what it was widened for has failed: the first failure is what is returned. */
enum leat_status leat_engine_narrow(struct leat_engine *, enum leat_status so_far, struct leat_error *) LEAT_MUST;
/* Everything that hangs on the project, without state. Takes the project, also on failure; then close_project. */
enum leat_status leat_engine_open_project(struct leat_engine *, struct leat_project *, struct leat_diagnostics *diags, struct leat_error *) LEAT_MUST;
enum leat_status leat_engine_start(struct leat_engine *, struct leat_error *) LEAT_MUST; /* then: its effects, and its state by recovery */
void leat_engine_close_project(struct leat_engine *);
int64_t leat_engine_now(struct leat_engine *); /* monotone wall clock */
enum leat_status leat_engine_journal(struct leat_engine *, json_t *record, struct leat_error *) LEAT_MUST; /* steals record; appends and syncs */

#endif
