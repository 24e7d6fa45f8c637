/* Projects applied, late records, restatements, dead letters tried again: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_CHANGE_H
#define LEAT_ENGINE_CHANGE_H

#include "engine/internal.h"

/* Part of the group is under way, from where it is put to where the group was: a restatement, a table made anew or resumed. */
struct leat_rebuild {
    uint64_t step;
    int64_t clock_us;
    bool *nodes, *tables;               /* take part; change */
    bool resumes;                       /* what is read was never decided about: a suspended table goes on */
    bool queued;                        /* tables that do not change are read as the queues hold them, whatever their operators do */
    struct leat_cursors *upto;          /* per source of the project, as in the group */
    int64_t *watermarks;
    uint64_t *references;
    json_t *cut_sets;                   /* their floors */
};

/* late.c: rule 2 */
/* Reads t__late at a version (-1: newest), without what the predicate `except` (NULL: nothing) names. */
enum leat_status leat_late_load(struct leat_engine *, struct leat_gtable *, int64_t version, const char *except, struct leat_error *) LEAT_MUST;
void leat_late_forget(struct leat_engine *, struct leat_gtable *);
bool leat_late_has(const struct leat_gtable *, int source, uint32_t partition, uint64_t offset);
bool leat_late_equal(const struct leat_engine *, const struct leat_gtable *, const struct leat_gtable *); /* the loaded sets */
void leat_cursors_raise(struct leat_cursors *to, const json_t *cursors); /* to those, where they are later */
bool leat_late_classify(struct leat_engine *); /* by the loaded sets; true: the classes are others than before */
enum leat_status leat_late_load_history(struct leat_group *, struct leat_error *) LEAT_MUST; /* where there is history to read */
void leat_late_settle(struct leat_group *); /* forgets the sets when history is read */
/* History of a group that begins anew: what the tables' groups had read in `state` (a head brought up to date; NULL: none is known). */
void leat_group_set_history(struct leat_group *, const json_t *state);
/* Looks through history once, so that windows can close while it is read: memory is bounded by its disorder. */
enum leat_status leat_lows_load(struct leat_group *, struct leat_error *) LEAT_MUST;
int64_t leat_lows_to_come(const struct leat_group *, int source); /* INT64_MIN: not known */
void leat_lows_forget(struct leat_group *);
bool leat_group_in_history(const struct leat_group *, int source); /* some of what is there is still to be read */

/* restate.c: rule 12 */
enum leat_status leat_group_restate_again(struct leat_group *, json_t *record, struct leat_error *) LEAT_MUST; /* found in the journal */
/* For a step and clock as in the record; nothing is marked yet. */
void leat_rebuild_init(struct leat_group *, struct leat_rebuild *, const json_t *record);
void leat_rebuild_deinit(const struct leat_group *, struct leat_rebuild *);
/* What leads from the table in the lake at a version (-1: newest) to the content that has been gathered in `pending`. */
enum leat_status leat_table_difference(struct leat_engine *, struct leat_gtable *, int64_t version, struct leat_changes *out, struct leat_error *) LEAT_MUST;
enum leat_status leat_restate_source_may(struct leat_engine *, size_t source, struct leat_error *) LEAT_MUST; /* INVALID: why the next would refuse */
/* Builds anew what reads a source whose bronze has other records now, and publishes what differs; appends to done. */
enum leat_status leat_restate_source(struct leat_engine *, size_t source, const char *reason, json_t *done, struct leat_error *) LEAT_MUST;
/* Is the output column one of the primary key, or of the aggregate's keys? */
bool leat_table_is_key(const struct leat_gtable *, size_t column);
bool leat_engine_has_late(const struct leat_engine *);
void leat_restate_plan_next(struct leat_engine *, int64_t after_us); /* sets restate_due_us */
void leat_restate_look(struct leat_engine *); /* before new records: where nothing was late at the time, nothing is missed */
enum leat_status leat_restate_if_due(struct leat_engine *, struct leat_error *) LEAT_MUST;

/* retry.c: what a crash left half done; before recovery, and after it. */
enum leat_status leat_retry_settle(struct leat_engine *, struct leat_error *) LEAT_MUST;
enum leat_status leat_retry_finish(struct leat_engine *, struct leat_error *) LEAT_MUST;

/* apply.c: rule 20 */
/* The project that was applied last, by the journal; NULL: none is known. May have errors (diags). */
struct leat_project *leat_engine_applied(struct leat_engine *, struct leat_diagnostics *diags);
json_t *leat_engine_apply_record(const struct leat_engine *); /* found in the journal; borrowed; NULL: none */
/* Finishes an apply that the journal has decided. *usable false: its checkpoint cannot be read. */
enum leat_status leat_engine_apply_again(struct leat_engine *, json_t *record, bool *usable, struct leat_error *) LEAT_MUST;
/* Takes the project (also on failure). A failure before the decision leaves the former one running; change: NULL: nothing. */
enum leat_status leat_engine_take_project(struct leat_engine *, struct leat_project *, const struct leat_change *change, struct leat_diagnostics *diags,
                                          struct leat_error *) LEAT_MUST;
/* For readers beside the process: <work>/project.json, a copy of what the journal decided. NULL: none, or it cannot be read. */
struct leat_project *leat_engine_published_project(struct leat_engine *, struct leat_diagnostics *diags);
enum leat_status leat_engine_publish_project(struct leat_engine *, struct leat_error *) LEAT_MUST;
json_t *leat_project_json(const struct leat_project *); /* its texts; new reference */

#endif
