/* Sinks and alerts: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_TELL_H
#define LEAT_ENGINE_TELL_H

#include "engine/internal.h"

/* effects.c: what sinks are told */
enum leat_status leat_effects_open(struct leat_engine *, struct leat_error *) LEAT_MUST;  /* before recovery */
enum leat_status leat_effects_begin(struct leat_engine *, bool threads, struct leat_error *) LEAT_MUST; /* after it */
void leat_effects_close(struct leat_engine *);
/* A table's changes of a step; restated: of a restatement. Nothing is durable before leat_effects_sync. */
enum leat_status leat_effects_step(struct leat_gtable *, const struct leat_changes *, uint64_t step, bool restated, struct leat_error *) LEAT_MUST;
/* Before the commit that replaces the content of a table made anew, whose new content is `pending`. diff: to the lake's. Synced. */
enum leat_status leat_effects_replaced(struct leat_gtable *, const struct leat_changes *diff, struct leat_error *) LEAT_MUST;
/* A table's run has committed. beside: its sinks are told by the next leat_telling_begin, not at once. */
enum leat_status leat_effects_ran(struct leat_gtable *, struct leat_engine *, bool beside, struct leat_error *) LEAT_MUST;
enum leat_status leat_effects_committed(struct leat_engine *, struct leat_error *) LEAT_MUST; /* after commits */
enum leat_status leat_effects_sync(struct leat_engine *, struct leat_error *) LEAT_MUST;
/* A table made anew whose sinks must not see it half-way: it commits when everything that had been read has come to it. */
bool leat_effects_gathers(const struct leat_gtable *);
bool leat_effects_hold(const struct leat_group *); /* such a table depends on the group: no new records before that commit */
bool leat_effects_want_commit(const struct leat_engine *); /* that commit is to be made now */
void leat_effects_settle(struct leat_engine *);    /* waits until all is delivered, or sinks have failed */
enum leat_status leat_effects_catch_up(struct leat_engine *, struct leat_error *) LEAT_MUST; /* sinks that were cut off and have delivered what waited */
bool leat_effects_moved(struct leat_engine *);     /* since the last leat_effects_json: what people would want to know, or something waits */
json_t *leat_effects_json(struct leat_engine *);   /* for status; new reference */

/* effects_dead.c */
enum leat_status leat_effects_keep_dead(struct leat_engine *, struct leat_error *) LEAT_MUST; /* commits dead letters to the lake */
enum leat_status leat_effects_dead_select(struct leat_engine *, const struct leat_sink_def *, struct leat_buffer *sql, bool *there, struct leat_error *) LEAT_MUST;

/* alerts.c: what somebody wants to be told of, raised and over once each. See alerts.h. */
enum leat_status leat_alerts_open(struct leat_engine *, struct leat_error *) LEAT_MUST; /* after effects */
/* Now and then; last: the process is about to end. What begins or is over is durable, and with the outbox, on return. */
enum leat_status leat_alerts_look(struct leat_engine *, bool last, struct leat_error *) LEAT_MUST;
int64_t leat_alerts_next_due(const struct leat_engine *); /* INT64_MAX: nothing turns by time alone */
json_t *leat_alerts_json(struct leat_engine *);           /* what is raised; new reference */

/* alerts_told.c */
void leat_alerts_close(struct leat_engine *);
bool leat_alerts_moved(const struct leat_engine *);       /* since the last status: there is something to show, or it waits */
void leat_alerts_settle(struct leat_engine *);            /* waits until they are told, or that has failed */
json_t *leat_alerts_webhook_json(struct leat_engine *);   /* NULL: none is set */
/* The webhook as a sink's definition, to be freed by leat_sink_def_deinit; false: none is set, and out is empty. */
bool leat_alerts_sink(const struct leat_project *, struct leat_sink_def *out);

/* telling.c: the difference between two versions of a table, told to one sink. begin and end in the engine's thread; compute in any, while nobody
 * else appends to the sink's outbox. *out NULL: nobody is to be told anything. end: unless all was told, it is told again from the same version on. */
struct leat_telling {
    struct leat_effects *effects;
    uint64_t mark, slices;
    char *now, *before;                 /* SELECTs; before NULL: there was nothing */
    atomic_bool stop;                   /* it is not to go on */
    enum leat_status status;
    struct leat_error error;
};
enum leat_status leat_telling_begin(struct leat_engine *, struct leat_telling **out, struct leat_error *) LEAT_MUST;
void leat_telling_compute(struct leat_telling *, struct leat_conn *);
enum leat_status leat_telling_end(struct leat_telling *, struct leat_error *) LEAT_MUST; /* frees it */

#endif
