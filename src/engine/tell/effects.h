/* Effects: what the sinks of a project are told, made from the changes of their tables (rules 4, 5, 6, 13).
 *
 * A step's changes become effects in the engine's thread and are durable in the sink's outbox before any is sent. A mark says which step (or,
 * of a table that runs, which version of its Delta table) an outbox has taken in, so that a step run again adds nothing. While a table is
 * made anew its steps say nothing: it gathers up to where it had been, commits there, and the sink is told the difference to what it knows. */
#ifndef LEAT_ENGINE_EFFECTS_H
#define LEAT_ENGINE_EFFECTS_H

#include "connect/outbox.h"
#include "engine/internal.h"

struct leat_effects { /* of one sink */
    struct leat_engine *engine;
    const struct leat_sink_def *def;
    const struct leat_sink_ops *ops;
    struct leat_gtable *table;
    struct leat_env env;                /* the connector's */
    struct leat_sink_context context;
    struct leat_sink *sink;
    struct leat_outbox *outbox;
    struct leat_row_codec *codec;       /* typed payloads; NULL: the connector encodes */
    uint16_t *key, *all;
    char *dir, *state_dir, *identity;
    bool upserts;
    bool same_plan;                     /* the table's query is the one whose rows were told */
    bool run_due;                       /* a run beside has committed, of which it has not been told */
    bool snapshot_due;                  /* of a new sink: the table's rows, at its next commit */
    int64_t cut_version;                /* spool_limit: the version it knows, nothing is taken in; -1: not cut off */
    uint64_t cut_mark;
    uint64_t dead_kept;                 /* dead letters that the lake has */
    struct leat_delta *dead;            /* opened when there are dead letters */
    struct leat_schema dead_schema;
    uint64_t published_revision;        /* in status.json */
};

/* effects_emit.c: changes (of any weights) as one part of a batch; rows that go are left out where the sink ignores them. */
enum leat_status leat_effects_emit(struct leat_effects *, const struct leat_changes *, uint64_t mark, struct leat_error *) LEAT_MUST;
/* effects_told.c: the same for a table made anew: diff to the lake, whose version has the effects up to mark `since`; content: what it is now. */
enum leat_status leat_effects_emit_untold(struct leat_effects *, const struct leat_changes *diff, const struct leat_changes *content, uint64_t since,
                                          uint64_t mark, struct leat_error *) LEAT_MUST;
/* telling.c: tells what leads from version `from` (-1: none) of the table to the current one, here and now; the batch is complete then. */
enum leat_status leat_effects_emit_versions(struct leat_effects *, int64_t from, uint64_t mark, struct leat_error *) LEAT_MUST;
/* effects.c: of a table that runs. */
bool leat_effects_is_cut(struct leat_effects *); /* spool_limit is reached */
uint64_t leat_effects_run_mark(const struct leat_effects *); /* of the table's newest version */
void leat_effects_emit_init(struct leat_effects *);
void leat_effects_emit_deinit(struct leat_effects *);
void leat_effects_close_dead(struct leat_effects *); /* effects_dead.c */

#endif
