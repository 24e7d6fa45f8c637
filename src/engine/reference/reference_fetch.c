/* A database read by a thread of its own while `leat run` goes on: one that is slow, or says nothing any more, holds nothing up but its own rows. What was read
 * is checked, compared and committed by the engine's thread, as if it had been read just then. The first version is waited for: the rows that are looked up
 * in it may be here already. */
#include <pthread.h>
#include <stdlib.h>

#include "engine/reference/reference_internal.h"

struct leat_reference_fetch {
    const struct leat_source *def;
    const struct leat_wake *wake;
    pthread_t thread;
    atomic_int stop, done;
    /* the thread's until `done`: */
    struct leat_changes rows;
    struct leat_buffer content;
    enum leat_status status;
    struct leat_error err;
};

static void *fetch(void *argument) {
    struct leat_reference_fetch *f = argument;
    f->status = leat_reference_rows_read(f->def, &f->stop, &f->rows, &f->content, &f->err);
    atomic_store(&f->done, 1);
    leat_wake_fire(f->wake);
    return NULL;
}

static void fetch_free(struct leat_reference_fetch *f) {
    leat_changes_deinit(&f->rows);
    leat_buffer_deinit(&f->content);
    free(f);
}

bool leat_reference_fetch(struct leat_reference *r) {
    if (!r->wake || !r->version || !leat_reference_is_remote(r)) return false;
    if (r->fetch) return !atomic_load(&r->fetch->done);
    struct leat_reference_fetch *f = leat_alloc(sizeof *f);
    f->def = r->def;
    f->wake = r->wake;
    leat_changes_init(&f->rows, &r->def->schema);
    if (pthread_create(&f->thread, NULL, fetch, f) != 0) {
        fetch_free(f);
        return false;
    }
    r->fetch = f;
    return true;
}

bool leat_reference_fetching(const struct leat_reference *r) {
    return r->fetch && !atomic_load(&r->fetch->done);
}

enum leat_status leat_reference_fetched(struct leat_reference *r, struct leat_changes *out, struct leat_buffer *content, struct leat_error *err) {
    struct leat_reference_fetch *f = r->fetch;
    enum leat_status st = f->status;
    r->fetch = NULL;
    pthread_join(f->thread, NULL);
    leat_changes_swap(out, &f->rows);
    *content = f->content;
    f->content = (struct leat_buffer){0};
    if (st != LEAT_OK && err) *err = f->err;
    fetch_free(f);
    return st;
}

void leat_reference_run(struct leat_reference *r, const struct leat_wake *wake, const atomic_int *stop) {
    r->wake = wake;
    r->stop = stop;
    if (wake || !r->fetch) return;
    atomic_store(&r->fetch->stop, 1);
    pthread_join(r->fetch->thread, NULL);
    fetch_free(r->fetch);
    r->fetch = NULL;
}
