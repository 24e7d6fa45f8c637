/* Verify, row balance, checks, drift watch: what the engine and its rooms call. */
#ifndef LEAT_ENGINE_PROOF_H
#define LEAT_ENGINE_PROOF_H

#include "engine/internal.h"

struct leat_runs_pass;
/* The row balance of a run (balance.c): what is known, and what is to be counted. */
struct leat_balance_query { size_t source; bool dead; char *sql; };
struct leat_balance_plan { struct leat_balance *balance; struct leat_balance_query *queries; size_t query_count; };

/* balance.c */
json_t *leat_balance_json(const struct leat_engine *, const struct leat_balance *);                 /* per source; new reference */
void leat_balance_load(const struct leat_engine *, const json_t *, struct leat_balance *out); /* the same back; out: per source */
void leat_balance_load_frontier(const struct leat_engine *, struct leat_gtable *);            /* of a batch table's current version */
/* Of a run that begins (pass NULL: of what is there now): what is known, and what has to be counted over the run's views. */
void leat_balance_plan(const struct leat_engine *, const struct leat_gtable *, const struct leat_runs_pass *, struct leat_balance_plan *out);
enum leat_status leat_balance_count(struct leat_balance_plan *, struct leat_conn *, struct leat_error *) LEAT_MUST; /* any thread */
void leat_balance_plan_deinit(struct leat_balance_plan *);

/* verify.c: one table against its SELECT, or the rows of both that fit `where` (NULL: all). The tables are committed. */
bool leat_table_begins_anew(const struct leat_gtable *); /* its content is from before its group, which has read nothing */
enum leat_status leat_table_verify(struct leat_engine *, struct leat_gtable *, const char *where, size_t max_rows, struct leat_buffer *out, uint64_t *differing,
                                   struct leat_error *) LEAT_MUST;

/* watch.c: verify by itself, one table's closed period after the other, within the setting drift_watch. */
enum leat_status leat_watch_run(struct leat_engine *, struct leat_error *) LEAT_MUST;
json_t *leat_watch_json(const struct leat_engine *); /* new reference */

/* check.c */
enum leat_status leat_checks_open(struct leat_engine *, struct leat_error *) LEAT_MUST;
void leat_checks_close(struct leat_engine *);
/* Those that are due; with all, also those whose rest is not over. The tables are committed. */
enum leat_status leat_checks_run(struct leat_engine *, bool all, struct leat_error *) LEAT_MUST;
int64_t leat_checks_next_due(struct leat_engine *);
uint64_t leat_check_differing(const struct leat_engine *, size_t check); /* rows, as found last */
json_t *leat_checks_json(const struct leat_engine *); /* new reference */
void leat_check_select(const struct leat_engine *, size_t check, struct leat_buffer *sql); /* the rows that differ */

#endif
