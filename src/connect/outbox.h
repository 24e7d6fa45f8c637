/* The outbox of one sink: its effects in a durable log, and the thread that hands them over.
 *
 * The engine's thread appends effects in batches; a batch has a mark (the step or run it comes from) and counts when it is complete and
 * synced. The sink's thread, asleep when there is nothing, takes what counts in order and in bounded pieces, and keeps durably how far the
 * remote has confirmed. Effects are numbered in the log; a number never comes again.
 *
 * On disk: log/ (partition 0, see outbox.c for the record's bytes), dead/ (a log of dead letters), progress.json.
 * Threads: the engine's calls all but the sink's own loop; a mutex stands between. */
#ifndef LEAT_CONNECT_OUTBOX_H
#define LEAT_CONNECT_OUTBOX_H

#include "connect/sink.h"
#include "data/key.h"

struct leat_outbox;
struct leat_outbox_options {
    int64_t max_tries;
    int64_t retry_first_us, retry_max_us;
    int64_t begin_us;              /* of a new outbox: its first sequence (rule 13) */
    int64_t restored_us;           /* when the folder came out of a backup: new sequences are above it; 0: it did not */
    uint64_t segment_bytes;        /* 0: 8 MiB */
    const struct leat_schema *typed; /* payloads are leat_effect_values of it; NULL: text. For dead letters */
};
/* sink: borrowed; closed by the caller after the outbox. A batch that a crash left incomplete is void.
 * Errors: as leat_log_open; CORRUPT progress that does not fit the log */
enum leat_status leat_outbox_open(struct leat_env *, const char *dir, const struct leat_outbox_options *, struct leat_sink *sink,
                                  struct leat_outbox **out, struct leat_error *) LEAT_MUST;
void leat_outbox_close(struct leat_outbox *); /* stops the thread; NULL is allowed */

/* ---- the engine's side ---- */

uint64_t leat_outbox_mark(const struct leat_outbox *); /* of the last complete batch; 0: there never was one */
uint64_t leat_outbox_next_sequence(const struct leat_outbox *, enum leat_effect_kind); /* of the effect that is appended next */
/* Adds an effect (sequence as just told) to the batch. row: hash of the whole row, to know it again (leat_outbox_visit). The bytes are
 * copied. LIMIT: more than LEAT_RECORD_BYTES_MAX. */
enum leat_status leat_outbox_append(struct leat_outbox *, uint64_t mark, const struct leat_effect *, struct leat_hash128 row, struct leat_error *) LEAT_MUST;
/* A dead letter at once, instead of leat_outbox_append: it cannot be made or kept. Of a long payload the beginning. Durable on return. */
enum leat_status leat_outbox_reject(struct leat_outbox *, const struct leat_effect *, const char *reason, struct leat_error *) LEAT_MUST;
/* Ends the batch, which may be empty (then the mark alone is kept). */
enum leat_status leat_outbox_complete(struct leat_outbox *, uint64_t mark, int64_t clock_us, struct leat_error *) LEAT_MUST;
/* What has been appended since the last complete batch is void, durably. */
enum leat_status leat_outbox_abandon(struct leat_outbox *, struct leat_error *) LEAT_MUST;
/* Makes what is complete durable and wakes the thread. err->fatal also when the sink's thread met a failed fsync. */
enum leat_status leat_outbox_sync(struct leat_outbox *, struct leat_error *) LEAT_MUST;
/* Everything of complete batches above `mark` that is still in the log, in order. */
struct leat_outbox_effect { uint64_t mark; enum leat_effect_kind kind; const char *key; size_t key_bytes; struct leat_hash128 row; };
enum leat_status leat_outbox_visit(struct leat_outbox *, uint64_t mark, void (*visit)(void *, const struct leat_outbox_effect *), void *context,
                                   struct leat_error *) LEAT_MUST;
/* Drops what is confirmed and of batches up to `mark`. */
enum leat_status leat_outbox_trim(struct leat_outbox *, uint64_t mark, struct leat_error *) LEAT_MUST;
uint64_t leat_outbox_bytes(struct leat_outbox *); /* on disk */
/* In between nothing of it changes on disk but progress.json, which is whole at any time and never ahead of the rest. */
void leat_outbox_hold(struct leat_outbox *);
void leat_outbox_release(struct leat_outbox *);

/* Dead letters from number `from` on, in order; borrowed for the call. reason, payload: text. */
struct leat_dead_letter { uint64_t number, sequence; enum leat_effect_kind kind; int64_t at_us; const char *reason, *payload; size_t payload_bytes; };
enum leat_status leat_outbox_dead(struct leat_outbox *, uint64_t from, enum leat_status (*visit)(void *, const struct leat_dead_letter *, struct leat_error *),
                                  void *context, uint64_t *next, struct leat_error *) LEAT_MUST;
enum leat_status leat_outbox_trim_dead(struct leat_outbox *, uint64_t upto, struct leat_error *) LEAT_MUST;

struct leat_outbox_stats {
    uint64_t waiting;              /* effects durable but not confirmed */
    uint64_t delivered, dead;      /* ever */
    uint64_t bytes;
    int64_t since_us;              /* when the oldest waiting one was made; 0: none waits */
    int64_t retry_us;              /* wall clock of the next try; 0: it goes well */
    int tries;                     /* failed ones in a row */
    uint64_t revision;             /* changes when people would want to know */
    char error[256];               /* the last one; "" when it goes well */
};
void leat_outbox_stats(struct leat_outbox *, struct leat_outbox_stats *out);

/* ---- delivery ---- */

enum leat_status leat_outbox_start(struct leat_outbox *, struct leat_error *) LEAT_MUST; /* the thread */
/* One try without a thread (tests, simulation). *more: it went well, and something is still waiting. */
void leat_outbox_deliver(struct leat_outbox *, bool *more);
/* Waits until nothing waits or three tries in a row have failed; without the thread, until one has. */
void leat_outbox_settle(struct leat_outbox *);

#endif
