/* An outbox's own structure; seen by outbox*.c only. */
#ifndef LEAT_CONNECT_OUTBOX_INTERNAL_H
#define LEAT_CONNECT_OUTBOX_INTERNAL_H

#include <pthread.h>

#include "connect/outbox.h"
#include "log/log.h"

#define LEAT_EFFECT_HEAD_BYTES 24

struct leat_outbox_void { uint64_t from, to; };
struct leat_outbox {
    struct leat_env env;            /* a copy: its own randomness */
    char *dir;
    struct leat_outbox_options options;
    struct leat_sink *sink;

    /* the engine's side */
    uint64_t mark, next, batch_first;
    int64_t clock_us;
    bool dirty;
    struct leat_buffer payload;     /* records gathered for the next block */
    uint32_t *starts, *ends, gathered;

    /* between the threads: under the lock */
    pthread_mutex_t save_lock;      /* progress.json; taken before `lock` */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct leat_log *log, *dead;
    uint64_t published;             /* effects below are durable and complete */
    uint64_t confirmed;
    uint64_t gap_from, gap_to;      /* numbers that a restore passed over, in this process */
    uint64_t saved;                 /* what progress.json says */
    uint64_t sent;                  /* sequence of the last effect that the remote has confirmed; 0: not known */
    uint64_t voids_from;            /* all voids from here on are known */
    uint64_t delivered, dead_count, revision;
    int64_t since_us;               /* when what follows `confirmed` was made */
    int64_t retry_at_us, retry_wall_us; /* 0: at once */
    int tries;
    char error[256];
    atomic_int stop, failed;
    atomic_int ask;                 /* the remote's progress first; the sink's thread's to change */
    struct leat_error failure;      /* set before `failed` is */
    bool running, started;
    pthread_t thread;
    struct leat_outbox_void *voids; /* of batches cut short */
    size_t void_count;

    /* the sink's thread */
    uint64_t refused; int64_t refusals; /* number of the effect refused last, how often in a row */
    int64_t save_due_us;
    struct leat_effect *effects; uint64_t *numbers; size_t count, capacity; /* the piece under way */
    uint64_t piece_end;
    struct leat_arena arena;
};

enum leat_status leat_outbox_alive(struct leat_outbox *, struct leat_error *);
void leat_outbox_fail(struct leat_outbox *, const struct leat_error *); /* a failed fsync, which stops the engine; the first is kept */
enum leat_status leat_outbox_save(struct leat_outbox *, uint64_t confirmed, struct leat_error *);
bool leat_outbox_is_void(const struct leat_outbox *, uint64_t number);

void leat_outbox_threads_init(struct leat_outbox *);
void leat_outbox_threads_deinit(struct leat_outbox *); /* stops the thread */
void leat_outbox_lock(struct leat_outbox *);
void leat_outbox_unlock(struct leat_outbox *);
void leat_outbox_wake(struct leat_outbox *);

#endif
