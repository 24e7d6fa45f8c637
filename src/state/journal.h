/* The journal: an append-only, fsynced list of JSON records (steps, mode changes, restatements). Rotation after a
 * checkpoint keeps it bounded. The byte format and the reader's algorithm stand at the top of journal.c. One journal a
 * directory, one process (the engine's project lock sees to it), one thread. */
#ifndef LEAT_STATE_JOURNAL_H
#define LEAT_STATE_JOURNAL_H

#include "base/env.h"

struct leat_journal;
struct leat_journal_record { const char *json; size_t length; };

/* Called for every record of the journal, oldest first. json: NUL-terminated, borrowed for the call. A failure ends the
 * opening with that status. */
#define LEAT_JOURNAL_VISIT(name) enum leat_status (*name)(void *context, const char *json, size_t length, struct leat_error *)

/* Opens the journal in dir (made if missing), replays every record through visit, cuts a torn tail, and makes durable
 * what was replayed: nothing that visit saw can be lost afterwards.
 * out        empty unless LEAT_OK; leat_journal_close
 * Errors     CORRUPT records that were durable fail their checks (names file and byte); IO; whatever visit gives */
enum leat_status leat_journal_open(struct leat_env *, const char *dir, LEAT_JOURNAL_VISIT(visit), void *context,
                                   struct leat_journal **out, struct leat_error *) LEAT_MUST;
/* Adds a record (one JSON text without a newline; copied). It is durable when leat_journal_sync has returned OK.
 * Errors     INVALID empty or with a newline or NUL; LIMIT record or journal too large (checkpoint and rotate) */
enum leat_status leat_journal_append(struct leat_journal *, const char *json, size_t length, struct leat_error *) LEAT_MUST;
/* Writes and fsyncs what was appended. After a failed fsync, err->fatal: the journal refuses every further call, and the process must
 * recover from what is on disk. After another failure (NO_SPACE) nothing of it is in the journal and nothing waits; it is retriable:
 * append again. */
enum leat_status leat_journal_sync(struct leat_journal *, struct leat_error *) LEAT_MUST;
/* Starts a new journal that holds just head[0..count) (durable on return) and removes the old one. All other records,
 * synced or waiting, are gone: the caller has them in a durable checkpoint. On a failure without err->fatal the old journal goes on. */
enum leat_status leat_journal_rotate(struct leat_journal *, const struct leat_journal_record *head, size_t count, struct leat_error *) LEAT_MUST;
/* Drops what is waiting; closing syncs nothing. NULL is allowed. */
void leat_journal_close(struct leat_journal *);

uint64_t leat_journal_size_bytes(const struct leat_journal *); /* on disk and waiting */
uint64_t leat_journal_cut_bytes(const struct leat_journal *);  /* torn bytes the opening cut off */

#endif
