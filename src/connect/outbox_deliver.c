/* The sink's side of an outbox: pieces of the log to the connector, progress, back-off, dead letters, the thread. */
#include <stdlib.h>
#include <string.h>

#include "connect/outbox_internal.h"
#include "data/value_text.h"

#define PIECE_EFFECTS 8192
#define KEPT_PAYLOAD_BYTES (64 * LEAT_KIB) /* of an effect that was too long */
#define SETTLE_TRIES 3
#define SAVE_INTERVAL_US INT64_C(1000000)

void leat_outbox_lock(struct leat_outbox *box) {
    if (pthread_mutex_lock(&box->lock) != 0) leat_panic("outbox: lock");
}

void leat_outbox_unlock(struct leat_outbox *box) {
    pthread_mutex_unlock(&box->lock);
}

void leat_outbox_wake(struct leat_outbox *box) {
    pthread_cond_broadcast(&box->changed);
}

/* ---- a piece ----------------------------------------------------------------------------------------------------------- */

static void add_effect(struct leat_outbox *box, uint64_t number, const char *record, size_t length) {
    uint32_t head[2];
    memcpy(head, record, sizeof head);
    const char *copy = leat_arena_copy(&box->arena, record + LEAT_EFFECT_HEAD_BYTES, length - LEAT_EFFECT_HEAD_BYTES);
    if (box->count == box->capacity) {
        box->capacity = box->capacity ? box->capacity * 2 : 64;
        box->effects = leat_realloc(box->effects, box->capacity * sizeof *box->effects);
        box->numbers = leat_realloc(box->numbers, box->capacity * sizeof *box->numbers);
    }
    enum leat_effect_kind kind = (enum leat_effect_kind)head[0];
    box->numbers[box->count] = number;
    box->effects[box->count++] = (struct leat_effect){.sequence = number << 1 | !leat_effect_removes(kind),
                                                      .kind = kind,
                                                      .key = copy,
                                                      .key_bytes = head[1],
                                                      .payload = copy + head[1],
                                                      .payload_bytes = length - LEAT_EFFECT_HEAD_BYTES - head[1]};
}

/* Copies what comes next out of the log; under the lock. */
static enum leat_status read_piece(struct leat_outbox *box, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    leat_arena_reset(&box->arena);
    box->count = 0;
    box->piece_end = box->confirmed;
    enum leat_status st = leat_log_read(box->log, 0, box->confirmed, box->published, &cursor, err);
    if (st != LEAT_OK) return st;
    bool full = false;
    while (!full && (st = leat_log_next(cursor, &block, err)) == LEAT_OK) {
        if (!box->count) box->since_us = block.arrival_us;
        for (uint32_t i = 0; i < block.record_count && !full; i++) {
            if (!leat_outbox_is_void(box, block.base_offset + i))
                add_effect(box, block.base_offset + i, block.payload + block.starts[i], block.ends[i] - block.starts[i]);
            box->piece_end = block.base_offset + i + 1;
            full = box->count == PIECE_EFFECTS || box->arena.used_bytes >= LEAT_DELIVERY_PIECE_BYTES;
        }
    }
    leat_log_cursor_close(cursor);
    if (st != LEAT_END) return st;
    box->piece_end = box->published; /* also over numbers that a restore passed over */
    return LEAT_OK;
}

/* ---- dead letters ------------------------------------------------------------------------------------------------------ */

/* A dead letter: sequence (8), time (8), kind (4), reason bytes (4), reason, payload as text. */
#define DEAD_HEAD_BYTES 24

static void put_payload_text(const struct leat_outbox *box, const struct leat_effect *effect, struct leat_buffer *out) {
    struct leat_changes row;
    struct leat_error ignored;
    if (!box->options.typed) {
        leat_putn(out, effect->payload, effect->payload_bytes);
        return;
    }
    leat_changes_init(&row, box->options.typed);
    if (leat_effect_values(box->options.typed, effect, 1, &row, &ignored) == LEAT_OK) leat_put_json_row(out, &row, 0);
    leat_changes_deinit(&row);
}

/* Text may be several times as long as the values were: of what is longer than a record the beginning, up to a whole letter. */
static void cut_record(struct leat_buffer *record) {
    if (record->length <= LEAT_RECORD_BYTES_MAX) return;
    record->length = LEAT_RECORD_BYTES_MAX;
    while (((unsigned char)record->data[record->length] & 0xc0) == 0x80) record->length--;
}

/* Durable before the effect counts as done. */
static enum leat_status bury(struct leat_outbox *box, const struct leat_effect *effect, const char *reason, struct leat_error *err) {
    struct leat_buffer record = {0};
    int64_t now = box->env.clock->now_us(box->env.clock);
    uint32_t kind = effect->kind, reason_bytes = (uint32_t)strlen(reason), start = 0, end;
    leat_putn(&record, (const char *)&effect->sequence, 8);
    leat_putn(&record, (const char *)&now, 8);
    leat_putn(&record, (const char *)&kind, 4);
    leat_putn(&record, (const char *)&reason_bytes, 4);
    leat_put(&record, reason);
    put_payload_text(box, effect, &record);
    cut_record(&record);
    end = (uint32_t)record.length;
    leat_outbox_lock(box);
    const struct leat_block block = {.base_offset = box->dead_count, .record_count = 1, .arrival_us = now, .payload = record.data,
                                     .starts = &start, .ends = &end, .payload_bytes = record.length};
    enum leat_status st = leat_log_append(box->dead, &block, err);
    if (st == LEAT_OK) st = leat_log_sync(box->dead, err);
    if (st != LEAT_OK) leat_outbox_fail(box, err);
    if (st == LEAT_OK) box->dead_count++;
    leat_outbox_unlock(box);
    leat_buffer_deinit(&record);
    return st;
}

enum leat_status leat_outbox_reject(struct leat_outbox *box, const struct leat_effect *effect, const char *reason, struct leat_error *err) {
    struct leat_effect kept = *effect;
    if (box->options.typed && kept.payload_bytes > KEPT_PAYLOAD_BYTES) kept.payload_bytes = 0; /* half of it is nothing */
    if (kept.payload_bytes > KEPT_PAYLOAD_BYTES) kept.payload_bytes = KEPT_PAYLOAD_BYTES;
    return bury(box, &kept, reason, err);
}

enum leat_status leat_outbox_dead(struct leat_outbox *box, uint64_t from, enum leat_status (*visit)(void *, const struct leat_dead_letter *, struct leat_error *),
                                  void *context, uint64_t *next, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    leat_outbox_lock(box);
    uint64_t end = box->dead_count, first = leat_log_first_offset(box->dead, 0);
    *next = end;
    enum leat_status st = leat_log_read(box->dead, 0, from > first ? from : first, end, &cursor, err);
    if (st == LEAT_OK) {
        while ((st = leat_log_next(cursor, &block, err)) == LEAT_OK) {
            struct leat_dead_letter letter = {.number = block.base_offset};
            const char *record = block.payload + block.starts[0];
            uint32_t kind, reason_bytes;
            memcpy(&letter.sequence, record, 8);
            memcpy(&letter.at_us, record + 8, 8);
            memcpy(&kind, record + 16, 4);
            memcpy(&reason_bytes, record + 20, 4);
            char *reason = leat_strndup(record + DEAD_HEAD_BYTES, reason_bytes);
            letter.kind = (enum leat_effect_kind)kind;
            letter.reason = reason;
            letter.payload = record + DEAD_HEAD_BYTES + reason_bytes;
            letter.payload_bytes = block.ends[0] - block.starts[0] - DEAD_HEAD_BYTES - reason_bytes;
            st = visit(context, &letter, err);
            free(reason);
            if (st != LEAT_OK) break;
        }
        leat_log_cursor_close(cursor);
    }
    leat_outbox_unlock(box);
    return st == LEAT_END ? LEAT_OK : st;
}

enum leat_status leat_outbox_trim_dead(struct leat_outbox *box, uint64_t upto, struct leat_error *err) {
    const struct leat_log_end end = {.partition = 0, .next_offset = upto};
    leat_outbox_lock(box);
    enum leat_status st = leat_log_trim(box->dead, &end, 1, err);
    leat_outbox_unlock(box);
    return st;
}

/* ---- a try ------------------------------------------------------------------------------------------------------------- */

/* The remote was put back to an earlier state, or a standby took over that lacked the last changes. Under the lock. */
static void go_back(struct leat_outbox *box, uint64_t next, uint64_t sequence) {
    uint64_t first = leat_log_first_offset(box->log, 0), from = next;
    if (first < box->voids_from) first = box->voids_from;
    if (from < first) from = first < box->confirmed ? first : box->confirmed;
    leat_log(&box->env, from > next ? LEAT_LOG_ERROR : LEAT_LOG_WARN,
             "the other side was put back to an earlier state: it had confirmed change %llu, and is at %llu. What came since is sent again%s", (unsigned long long)box->sent,
             (unsigned long long)sequence,
             from > next ? " as far as it is kept, which is not all: a sink of another name with start = 'snapshot' sends the whole table" : "");
    box->confirmed = from;
    if (box->saved > from) box->saved = from;
    box->sent = sequence;
    box->revision++;
}

/* What the remote already holds is not sent again. */
static enum leat_status ask_progress(struct leat_outbox *box, struct leat_error *err) {
    uint64_t sequence = 0;
    if (!box->ask) return LEAT_OK;
    enum leat_status st = box->sink->ops->progress(box->sink, &box->stop, &sequence, err);
    if (st != LEAT_OK) return st;
    leat_outbox_lock(box);
    uint64_t next = (sequence >> 1) + 1;
    if (sequence && next > box->confirmed && next <= box->published) {
        box->delivered += next - box->confirmed;
        box->confirmed = next;
        box->sent = sequence;
    } else if (sequence && sequence < box->sent && box->sink->ops->comes_back) {
        go_back(box, next, sequence);
    }
    leat_outbox_unlock(box);
    box->ask = false;
    return LEAT_OK;
}

/* Of the piece, so many are done. */
static void advance(struct leat_outbox *box, size_t done, size_t delivered) {
    leat_outbox_lock(box);
    if (done == box->count)
        box->confirmed = box->piece_end;
    else if (done)
        box->confirmed = box->numbers[done - 1] + 1;
    box->delivered += delivered;
    if (delivered) box->tries = 0; /* it goes on: the next wait is short */
    if (box->confirmed == box->published) {
        box->since_us = 0;
        box->revision++;
    }
    leat_outbox_unlock(box);
}

/* Is the effect at the head to be given up? */
static bool given_up(struct leat_outbox *box, uint64_t number, enum leat_status st, const struct leat_error *err) {
    if (st == LEAT_INVALID) return true;
    if (!err->bad_data) return false;
    box->refusals = box->refused == number ? box->refusals + 1 : 1;
    box->refused = number;
    return box->refusals >= box->options.max_tries;
}

static void went_well(struct leat_outbox *box) {
    leat_outbox_lock(box);
    if (box->tries) box->revision++;
    box->tries = 0;
    box->retry_at_us = box->retry_wall_us = 0;
    box->error[0] = 0;
    leat_outbox_unlock(box);
}

/* The next try waits: twice as long each time, between half and all of it by chance, so that many do not come at once. */
static void went_wrong(struct leat_outbox *box, const struct leat_error *err) {
    int64_t delay = box->options.retry_first_us;
    leat_outbox_lock(box);
    for (int i = 0; i < box->tries && delay < box->options.retry_max_us; i++) delay *= 2;
    if (delay > box->options.retry_max_us) delay = box->options.retry_max_us;
    delay = delay / 2 + (int64_t)(leat_random_unit(&box->env.random) * (double)(delay / 2));
    bool first = box->tries++ == 0;
    box->retry_at_us = box->env.clock->monotonic_us(box->env.clock) + delay;
    box->retry_wall_us = box->env.clock->now_us(box->env.clock) + delay;
    size_t length = strlen(err->text) < sizeof box->error ? strlen(err->text) : sizeof box->error - 1;
    memcpy(box->error, err->text, length);
    box->error[length] = 0;
    leat_text_mend(box->error);
    box->revision += first;
    leat_outbox_unlock(box);
    if (first) leat_log(&box->env, LEAT_LOG_WARN, "%s; tried again", err->text);
    leat_outbox_fail(box, err);
}

static void note_sent(struct leat_outbox *box, uint64_t sequence) {
    leat_outbox_lock(box);
    box->sent = sequence;
    leat_outbox_unlock(box);
}

static enum leat_status deliver_piece(struct leat_outbox *box, struct leat_error *err) {
    size_t confirmed = 0;
    enum leat_status st = box->sink->ops->deliver(box->sink, box->effects, box->count, &box->stop, &confirmed, err);
    if (confirmed > box->count) leat_panic("sink %s confirmed more than it was given", box->sink->ops->name);
    if (confirmed) note_sent(box, box->effects[confirmed - 1].sequence);
    if (st == LEAT_OK || confirmed == box->count) {
        advance(box, confirmed, confirmed);
        return st;
    }
    struct leat_error refusal = *err;
    box->ask = box->sink->ops->progress != NULL;
    if (atomic_load(&box->stop) || !given_up(box, box->numbers[confirmed], st, &refusal)) {
        advance(box, confirmed, confirmed);
        return st;
    }
    leat_log(&box->env, LEAT_LOG_ERROR, "%s; it is a dead letter", refusal.text);
    if ((st = bury(box, &box->effects[confirmed], refusal.text, err)) != LEAT_OK) return st;
    advance(box, confirmed + 1, confirmed);
    return LEAT_OK;
}

/* One try. *more: it went well, and something is still waiting. */
static void attempt(struct leat_outbox *box, bool *more) {
    struct leat_error err = {0};
    enum leat_status st = ask_progress(box, &err);
    if (st == LEAT_OK) {
        leat_outbox_lock(box);
        st = read_piece(box, &err);
        leat_outbox_unlock(box);
    }
    if (st == LEAT_OK && box->count)
        st = deliver_piece(box, &err);
    else if (st == LEAT_OK)
        advance(box, 0, 0);
    if (st == LEAT_OK)
        went_well(box);
    else if (!atomic_load(&box->stop))
        went_wrong(box, &err);
    leat_outbox_lock(box);
    *more = st == LEAT_OK && box->confirmed < box->published;
    leat_outbox_wake(box);
    leat_outbox_unlock(box);
}

/* Progress is only a matter of not sending again: a second's worth may be lost. */
static void save_progress(struct leat_outbox *box) {
    struct leat_error err = {0};
    uint64_t confirmed = box->confirmed; /* this thread's to change */
    box->save_due_us = box->env.clock->monotonic_us(box->env.clock) + SAVE_INTERVAL_US;
    if (confirmed == box->saved) return;
    if (leat_outbox_save(box, confirmed, &err) != LEAT_OK) {
        leat_log(&box->env, LEAT_LOG_WARN, "%s", err.text);
        return;
    }
    leat_outbox_lock(box);
    box->saved = confirmed;
    leat_outbox_unlock(box);
}

static void let_go(struct leat_outbox *box) {
    if (box->arena.used_bytes) leat_arena_deinit(&box->arena);
    box->count = 0;
}

void leat_outbox_deliver(struct leat_outbox *box, bool *more) {
    attempt(box, more);
    save_progress(box);
    if (!*more) let_go(box);
}

/* ---- the thread -------------------------------------------------------------------------------------------------------- */

void leat_outbox_threads_init(struct leat_outbox *box) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (pthread_mutex_init(&box->save_lock, NULL) != 0 || pthread_mutex_init(&box->lock, NULL) != 0 || pthread_cond_init(&box->changed, &attributes) != 0) leat_panic("outbox: lock");
    pthread_condattr_destroy(&attributes);
}

static void wait_until(struct leat_outbox *box, int64_t monotonic_us) {
    if (monotonic_us == INT64_MAX) {
        pthread_cond_wait(&box->changed, &box->lock);
        return;
    }
    const struct timespec until = {.tv_sec = (time_t)(monotonic_us / 1000000), .tv_nsec = (long)(monotonic_us % 1000000) * 1000};
    pthread_cond_timedwait(&box->changed, &box->lock, &until);
}

/* When there is something to do; under the lock. INT64_MAX: when it is woken. */
static int64_t next_due(const struct leat_outbox *box) {
    int64_t due = box->confirmed != box->saved ? box->save_due_us : INT64_MAX;
    if (box->confirmed < box->published && box->retry_at_us < due) due = box->retry_at_us;
    return due;
}

static void *loop(void *context) {
    struct leat_outbox *box = context;
    leat_outbox_lock(box);
    while (!atomic_load(&box->stop)) {
        int64_t now = box->env.clock->monotonic_us(box->env.clock), due = next_due(box);
        bool work = box->confirmed < box->published && box->retry_at_us <= now, more = false;
        if (due > now) {
            wait_until(box, due);
            continue;
        }
        leat_outbox_unlock(box);
        if (work) attempt(box, &more);
        if (box->env.clock->monotonic_us(box->env.clock) >= box->save_due_us) save_progress(box);
        if (!more) let_go(box);
        leat_outbox_lock(box);
    }
    leat_outbox_unlock(box);
    save_progress(box);
    return NULL;
}

enum leat_status leat_outbox_start(struct leat_outbox *box, struct leat_error *err) {
    int problem = pthread_create(&box->thread, NULL, loop, box);
    if (problem) return leat_fail(err, LEAT_IO, "%s: no thread: %s", box->dir, strerror(problem));
    box->running = true;
    return LEAT_OK;
}

void leat_outbox_threads_deinit(struct leat_outbox *box) {
    if (box->running) {
        leat_outbox_lock(box);
        atomic_store(&box->stop, 1);
        leat_outbox_wake(box);
        leat_outbox_unlock(box);
        pthread_join(box->thread, NULL);
        box->running = false;
    }
    pthread_cond_destroy(&box->changed);
    pthread_mutex_destroy(&box->save_lock);
    pthread_mutex_destroy(&box->lock);
}

void leat_outbox_settle(struct leat_outbox *box) {
    bool more = true;
    if (!box->running) {
        while (more) leat_outbox_deliver(box, &more);
        return;
    }
    leat_outbox_lock(box);
    while (box->confirmed < box->published && box->tries < SETTLE_TRIES) pthread_cond_wait(&box->changed, &box->lock);
    leat_outbox_unlock(box);
}

void leat_outbox_stats(struct leat_outbox *box, struct leat_outbox_stats *out) {
    leat_outbox_lock(box);
    uint64_t gap = box->confirmed < box->gap_from ? box->gap_to - box->gap_from : 0;
    *out = (struct leat_outbox_stats){.waiting = box->published - box->confirmed - gap,
                                      .delivered = box->delivered,
                                      .dead = box->dead_count,
                                      .bytes = leat_log_size_bytes(box->log),
                                      .since_us = box->published > box->confirmed ? box->since_us : 0,
                                      .retry_us = box->retry_wall_us,
                                      .tries = box->tries,
                                      .revision = box->revision + box->dead_count};
    memcpy(out->error, box->error, sizeof out->error);
    leat_outbox_unlock(box);
}
