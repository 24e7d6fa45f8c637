/* Calls from other threads into the engine's (leat_engine_post). */
#include "engine/internal.h"
#include "engine/live/live_internal.h"

enum leat_status leat_mailbox_open(struct leat_engine *engine, struct leat_error *err) {
    struct leat_mailbox *m = &engine->mailbox;
    m->last = &m->first;
    pthread_mutex_init(&m->lock, NULL);
    return leat_wake_open(&m->wake, err);
}

/* A second leat_engine_run. */
enum leat_status leat_mailbox_open_again(struct leat_engine *engine, struct leat_error *err) {
    struct leat_mailbox *m = &engine->mailbox;
    enum leat_status st = m->wake.fd < 0 ? leat_wake_open(&m->wake, err) : LEAT_OK;
    pthread_mutex_lock(&m->lock);
    m->closed = st != LEAT_OK;
    pthread_mutex_unlock(&m->lock);
    return st;
}

void leat_engine_post(struct leat_engine *engine, struct leat_call *call) {
    struct leat_mailbox *m = &engine->mailbox;
    call->next = NULL;
    pthread_mutex_lock(&m->lock);
    bool closed = m->closed;
    if (!closed) {
        *m->last = call;
        m->last = &call->next;
        leat_wake_fire(&m->wake);
    }
    pthread_mutex_unlock(&m->lock);
    if (closed) call->run(call, NULL);
}

static struct leat_call *take_all(struct leat_mailbox *m, bool close) {
    pthread_mutex_lock(&m->lock);
    struct leat_call *first = m->first;
    m->first = NULL;
    m->last = &m->first;
    m->closed |= close;
    leat_wake_drain(&m->wake);
    pthread_mutex_unlock(&m->lock);
    return first;
}

static void run_all(struct leat_call *call, struct leat_engine *engine) {
    for (struct leat_call *next; call; call = next) {
        next = call->next; /* run may free it */
        call->run(call, engine);
    }
}

void leat_mailbox_run(struct leat_engine *engine) {
    run_all(take_all(&engine->mailbox, false), engine);
}

void leat_mailbox_close(struct leat_engine *engine) {
    run_all(take_all(&engine->mailbox, true), NULL);
    leat_wake_close(&engine->mailbox.wake);
}
