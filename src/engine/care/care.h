/* Lost work folders, retention, pins: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_CARE_H
#define LEAT_ENGINE_CARE_H

#include "engine/internal.h"

/* lost.c: a work folder that is new to a lake with records */
/* Before anything of a partition is committed to the lake, the lake says what the partition is. */
enum leat_status leat_src_keep(struct leat_src *, struct leat_error *) LEAT_MUST;
/* Before the connector is opened: a log that is empty, or was never there, goes on where bronze ends. CONFLICT: it is older than bronze. */
enum leat_status leat_src_follow_bronze(struct leat_src *, const struct leat_connector_ops *, const char *state_dir, struct leat_error *) LEAT_MUST;
enum leat_status leat_src_tell_seen(struct leat_src *, struct leat_error *) LEAT_MUST; /* after */
enum leat_status leat_src_tell_places(struct leat_src *, struct leat_error *) LEAT_MUST; /* after */
enum leat_status leat_src_tell_recalled(struct leat_src *, struct leat_error *) LEAT_MUST; /* after */

/* retain.c: what bronze no longer has. */
enum leat_status leat_retain_load(struct leat_src *, struct leat_error *) LEAT_MUST;
void leat_retain_check(struct leat_engine *, struct leat_diagnostics *); /* tables that cannot outlive their records */
void leat_retain_settle(struct leat_engine *);                         /* frozen_us of every table, also by FROZEN WHERE */
/* The changes that are not of frozen rows; borrowed, until the next call for the table. */
const struct leat_changes *leat_table_unfrozen(struct leat_gtable *, const struct leat_changes *);
void leat_table_put_frozen(const struct leat_gtable *, bool frozen, struct leat_buffer *sql); /* a condition on the table's rows; "true" where all are unfrozen */
uint64_t leat_src_kept(const struct leat_src *, uint32_t partition, uint64_t from, uint64_t to); /* records of a range that are not gone by retention */
enum leat_status leat_retain_if_due(struct leat_engine *, struct leat_error *) LEAT_MUST; /* with nothing waiting: drains and flushes by itself */
enum leat_status leat_retain_may_apply(const struct leat_engine *, const struct leat_gtable *, struct leat_error *) LEAT_MUST; /* may it be made anew? */

/* frozen.c: FROZEN WHERE */
void leat_frozen_check(struct leat_engine *, struct leat_diagnostics *);
const struct leat_local *leat_frozen_local(const struct leat_gtable *); /* of its column; NULL: no FROZEN WHERE */
bool leat_frozen_set(struct leat_gtable *, int64_t closed_us); /* true: it was another. leat_retain_settle has to follow */
json_t *leat_frozen_json(const struct leat_gtable *); /* new reference; NULL: nothing is frozen */
void leat_frozen_load(struct leat_gtable *, const json_t *); /* what that says, or nothing is frozen */
void leat_frozen_load_lake(struct leat_gtable *); /* raises it to what the table's newest commit says */
/* Appends the rows that are, of a version of the table in the lake (-1: newest). */
enum leat_status leat_frozen_rows(struct leat_engine *, struct leat_gtable *, int64_t version, struct leat_changes *to, struct leat_error *) LEAT_MUST;
/* Boundaries that the group's next step has, with these watermarks, per table; INT64_MIN: as it is. */
enum leat_status leat_frozen_next(struct leat_group *, const int64_t *watermarks, const bool *idle, int64_t *closed_us, struct leat_error *) LEAT_MUST;
enum leat_status leat_frozen_before_run(struct leat_engine *, struct leat_gtable *, struct leat_error *) LEAT_MUST; /* moves it to that of a run that begins */

/* pin.c */
/* Names the query that makes the table: its SQL and what that may name. In each commit's frontier. */
json_t *leat_table_query_id(const struct leat_engine *, const struct leat_gtable *);
bool leat_table_query_is(const struct leat_engine *, const struct leat_gtable *, const json_t *id); /* also as older frontiers have it */
/* lake/pins: a SELECT for each pin whose name is not an object's. */
enum leat_status leat_pin_texts(struct leat_engine *, enum leat_status (*put)(void *, size_t, const char *name, const char *select, struct leat_error *),
                                void *context, struct leat_error *) LEAT_MUST;

#endif
