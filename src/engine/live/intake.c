/* A thread that takes in a source's records while the engine runs, where somebody waits for them to be durable (leat_connector_ops.prompt): polls, appends,
 * decodes, syncs, answers. What it has made durable it hands to the engine's thread as chunks, so that a long commit or run does not hold answers up. When
 * the engine falls far behind, chunks are no longer handed over but read from the log later, as after any backlog.
 *
 * Shared with the engine's thread: the log, under the source's log_lock, and the list of items, under the intake's lock. */
#include <stdlib.h>

#include "engine/internal.h"
#include "engine/live/live_internal.h"

enum { POLL_BYTES = 16 << 20 };

struct item {
    struct item *next;
    uint32_t partition, count;
    uint64_t from;
    int64_t arrival_us;
    struct leat_chunk *chunk; /* NULL: to be read from the log */
};
struct leat_intake {
    struct leat_src *src;
    struct leat_decoder *decoder;
    pthread_t thread;
    struct leat_wake news, stop_wake; /* to the engine; to the thread */
    int64_t last_arrival_us;
    uint64_t rows_max;
    pthread_mutex_t lock; /* guards what follows */
    struct item *first, **last;
    uint64_t rows; /* in the items' chunks */
    bool busy, stop;
    enum leat_status status; /* not OK: the thread has ended because of it */
    struct leat_error error;
};

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void hand_over(struct leat_intake *in, struct item *item) {
    pthread_mutex_lock(&in->lock);
    if (item->chunk && in->rows + item->chunk->rows.row_count > in->rows_max) {
        leat_chunk_free(item->chunk);
        item->chunk = NULL;
    }
    if (item->chunk) in->rows += item->chunk->rows.row_count;
    *in->last = item;
    in->last = &item->next;
    leat_wake_fire(&in->news);
    pthread_mutex_unlock(&in->lock);
}

static enum leat_status append(struct leat_intake *in, struct leat_block *block, struct leat_error *err) {
    struct leat_clock *clock = in->src->engine->env->clock;
    int64_t now = clock->now_us(clock);
    if (now > in->last_arrival_us) in->last_arrival_us = now;
    block->arrival_us = in->last_arrival_us;
    pthread_mutex_lock(&in->src->log_lock);
    enum leat_status st = leat_log_append(in->src->log, block, err);
    pthread_mutex_unlock(&in->src->log_lock);
    return st;
}

static enum leat_status sync_all(struct leat_intake *in, struct leat_error *err) {
    struct leat_connector *connector = in->src->connector;
    enum leat_status st = connector->ops->sync ? connector->ops->sync(connector, err) : LEAT_OK;
    if (st != LEAT_OK) return st;
    pthread_mutex_lock(&in->src->log_lock);
    st = leat_log_sync(in->src->log, err);
    pthread_mutex_unlock(&in->src->log_lock);
    return st;
}

/* One block: OK, or END when there is none now. */
static enum leat_status take_block(struct leat_intake *in, struct leat_error *err) {
    struct leat_connector *connector = in->src->connector;
    struct leat_block block = {0};
    struct leat_chunk *chunk = NULL;
    enum leat_status st = connector->ops->poll(connector, POLL_BYTES, &block, err);
    if (st != LEAT_OK && (err->bad_data || err->retriable) && !err->fatal && st != LEAT_END) {
        leat_log(in->src->engine->env, LEAT_LOG_WARN, "source %s: %s", in->src->def->name, err->text);
        return err->retriable ? LEAT_END : LEAT_OK;
    }
    if (st == LEAT_OK) st = append(in, &block, err);
    if (st == LEAT_OK) st = leat_chunk_decode(in->src, in->decoder, &block, &chunk, err);
    free(block.owned);
    if (st != LEAT_OK) return st;
    leat_src_tell_rejected(in->src, chunk);
    if ((st = sync_all(in, err)) != LEAT_OK) {
        leat_chunk_free(chunk);
        return st;
    }
    struct item *item = leat_alloc(sizeof *item);
    *item = (struct item){.partition = block.partition, .count = block.record_count, .from = block.base_offset, .arrival_us = block.arrival_us, .chunk = chunk};
    if (connector->ops->synced) connector->ops->synced(connector);
    hand_over(in, item); /* after the answer: who waits for what the records cause has then told the engine before it steps over them (loop.c) */
    return LEAT_OK;
}

static bool is_stopped(struct leat_intake *in, bool busy) {
    pthread_mutex_lock(&in->lock);
    in->busy = busy;
    bool stop = in->stop;
    pthread_mutex_unlock(&in->lock);
    return stop;
}

static void *take_in(void *context) {
    struct leat_intake *in = context;
    struct leat_connector *connector = in->src->connector;
    struct leat_clock *clock = leat_clock_real(); /* not the engine's, whose sleeps a signal ends for good */
    struct leat_error err = {0};
    enum leat_status st = LEAT_OK;
    while (!is_stopped(in, true)) {
        st = take_block(in, &err);
        if (st != LEAT_OK && st != LEAT_END) break;
        if (st != LEAT_END || is_stopped(in, false)) continue;
        int64_t wait = connector->ops->next_poll_us(connector);
        const int fds[] = {in->stop_wake.fd, connector->ops->wake_fd(connector)};
        leat_clock_wait(clock, clock->monotonic_us(clock) + (wait < 0 ? INT64_C(3600000000) : wait), fds, fds[1] < 0 ? 1 : 2);
    }
    pthread_mutex_lock(&in->lock);
    in->busy = false;
    in->status = st == LEAT_END ? LEAT_OK : st;
    in->error = err;
    leat_wake_fire(&in->news);
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

/* ---- the engine's thread -------------------------------------------------------------------------------------------- */

static void intake_free(struct leat_intake *in) {
    if (in->decoder) leat_decoder_close(in->decoder);
    leat_wake_close(&in->news);
    leat_wake_close(&in->stop_wake);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

enum leat_status leat_intake_start(struct leat_src *src, uint64_t rows_max, struct leat_error *err) {
    struct leat_intake *in = leat_alloc(sizeof *in);
    *in = (struct leat_intake){.src = src, .rows_max = rows_max, .last_arrival_us = src->last_arrival_us, .news.fd = -1, .stop_wake.fd = -1};
    in->last = &in->first;
    pthread_mutex_init(&in->lock, NULL);
    if (src->connector->ops->halt) src->connector->ops->halt(src->connector, false);
    enum leat_status st = leat_decoder_open(src->def, &in->decoder, err);
    if (st == LEAT_OK) st = leat_wake_open(&in->news, err);
    if (st == LEAT_OK) st = leat_wake_open(&in->stop_wake, err);
    if (st == LEAT_OK && pthread_create(&in->thread, NULL, take_in, in) != 0) st = leat_fail(err, LEAT_LIMIT, "no more threads can be made");
    if (st == LEAT_OK)
        src->intake = in;
    else
        intake_free(in);
    return st;
}

int leat_intake_fd(const struct leat_intake *in) {
    return in->news.fd;
}

enum leat_status leat_intake_take(struct leat_intake *in, uint64_t *records, bool *caught_up, struct leat_error *err) {
    struct leat_src *src = in->src;
    pthread_mutex_lock(&in->lock);
    struct item *item = in->first;
    in->first = NULL;
    in->last = &in->first;
    in->rows = 0;
    *caught_up = !item && !in->busy && src->connector->ops->caught_up(src->connector);
    enum leat_status st = LEAT_OK, failed = in->status;
    if (failed != LEAT_OK) *err = in->error;
    leat_wake_drain(&in->news);
    pthread_mutex_unlock(&in->lock);
    for (struct item *next; item; item = next) {
        next = item->next;
        if (st == LEAT_OK) st = leat_src_took(src, item->partition, item->from, item->count, item->arrival_us, item->chunk, err);
        else leat_chunk_free(item->chunk);
        *records += item->count;
        free(item);
    }
    return st == LEAT_OK ? failed : st;
}

enum leat_status leat_intake_stop(struct leat_src *src, struct leat_error *err) {
    struct leat_intake *in = src->intake;
    uint64_t records = 0;
    bool caught_up;
    if (!in) return LEAT_OK;
    pthread_mutex_lock(&in->lock);
    in->stop = true;
    pthread_mutex_unlock(&in->lock);
    leat_wake_fire(&in->stop_wake);
    if (src->connector->ops->halt) src->connector->ops->halt(src->connector, true);
    pthread_join(in->thread, NULL);
    enum leat_status st = leat_intake_take(in, &records, &caught_up, err);
    src->intake = NULL;
    intake_free(in);
    return st;
}
