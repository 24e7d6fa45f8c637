/* The engine's side of an outbox: opening, appending, trimming. Delivery is in outbox_deliver.c.
 *
 * A record of log/ (little-endian):
 *    0  1  kind (enum leat_effect_kind), 3 zero bytes
 *    4  4  key bytes
 *    8 16  hash of the row
 *   24     key, then payload
 * Its number is its offset in the log, its sequence 2 * number, + 1 where it brings a row. A block's header holds the number of its batch's
 * first record (8 bytes) and the batch's mark (8). Its position is the mark of the last complete batch << 1, + 1 if the block's own batch goes
 * on behind it: an end that is odd is a batch cut short by a crash, which is void from its first record on. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "connect/outbox_internal.h"

#define BLOCK_BYTES (1 * LEAT_MIB)
#define BLOCK_RECORDS 65536u
#define SEGMENT_BYTES (8 * LEAT_MIB)

enum leat_status leat_outbox_alive(struct leat_outbox *box, struct leat_error *err) {
    if (!atomic_load(&box->failed)) return LEAT_OK;
    *err = box->failure;
    return err->status;
}

void leat_outbox_fail(struct leat_outbox *box, const struct leat_error *err) {
    if (!err->fatal || atomic_load(&box->failed)) return;
    box->failure = *err;
    atomic_store(&box->failed, 1);
}

/* ---- progress ---------------------------------------------------------------------------------------------------------- */

enum leat_status leat_outbox_save(struct leat_outbox *box, uint64_t confirmed, struct leat_error *err) {
    char *path = leat_asprintf("%s/progress.json", box->dir);
    json_t *voids = json_array();
    pthread_mutex_lock(&box->save_lock);
    leat_outbox_lock(box);
    for (size_t i = 0; i < box->void_count; i++) /* as long as the log has them */
        if (box->voids[i].to > confirmed || box->voids[i].to > leat_log_first_offset(box->log, 0))
            json_array_append_new(voids, json_pack("[I,I]", (json_int_t)box->voids[i].from, (json_int_t)box->voids[i].to));
    json_t *progress = json_pack("{s:I,s:I,s:I,s:I,s:o}", "confirmed", (json_int_t)confirmed, "delivered", (json_int_t)box->delivered, "sent", (json_int_t)box->sent,
                                 "voids_from", (json_int_t)box->voids_from, "void", voids);
    leat_outbox_unlock(box);
    char *text = json_dumps(progress, JSON_COMPACT);
    enum leat_status st = leat_io_write_durable(box->env.io, path, text, strlen(text), true, err);
    pthread_mutex_unlock(&box->save_lock);
    if (st != LEAT_OK) leat_outbox_fail(box, err);
    free(text);
    json_decref(progress);
    free(path);
    return st;
}

static void add_void(struct leat_outbox *box, uint64_t from, uint64_t to) {
    box->voids = leat_realloc(box->voids, (box->void_count + 1) * sizeof *box->voids);
    box->voids[box->void_count++] = (struct leat_outbox_void){from, to};
}

static enum leat_status load_progress(struct leat_outbox *box, struct leat_error *err) {
    char *path = leat_asprintf("%s/progress.json", box->dir);
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(box->env.io, path, LEAT_MIB, &text, err);
    if (st == LEAT_OK) {
        json_t *progress = json_loadb(text.data, text.length, 0, NULL), *item;
        size_t i;
        box->saved = box->confirmed = (uint64_t)json_integer_value(json_object_get(progress, "confirmed"));
        box->delivered = (uint64_t)json_integer_value(json_object_get(progress, "delivered"));
        box->sent = (uint64_t)json_integer_value(json_object_get(progress, "sent"));
        json_t *from = json_object_get(progress, "voids_from"); /* a former leat kept only those from `confirmed` on */
        box->voids_from = from ? (uint64_t)json_integer_value(from) : box->confirmed;
        json_array_foreach(json_object_get(progress, "void"), i, item)
            add_void(box, (uint64_t)json_integer_value(json_array_get(item, 0)), (uint64_t)json_integer_value(json_array_get(item, 1)));
        if (!progress) st = leat_fail(err, LEAT_CORRUPT, "%s is not JSON", path);
        json_decref(progress);
    } else if (st == LEAT_NOT_FOUND) {
        st = LEAT_OK;
    }
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

static const struct leat_log_end *log_end(const struct leat_log *log) {
    size_t count;
    const struct leat_log_end *ends = leat_log_ends(log, &count);
    return count ? &ends[0] : NULL;
}

struct leat_batch { uint64_t first, mark; };

static enum leat_status read_batch(const struct leat_outbox *box, const struct leat_block *block, struct leat_batch *out, struct leat_error *err) {
    if (block->header_length != sizeof *out)
        return leat_fail(err, LEAT_CORRUPT, "%s/log: a block at %llu that does not say what batch it is of", box->dir,
                         (unsigned long long)block->base_offset);
    memcpy(out, block->header, sizeof *out);
    return LEAT_OK;
}

/* A crash cut a batch short: the records it left are void, which is made durable before anything else. */
static enum leat_status void_rest(struct leat_outbox *box, const struct leat_log_end *end, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    struct leat_batch batch = {0};
    enum leat_status st = leat_log_read(box->log, 0, end->next_offset - 1, end->next_offset, &cursor, err);
    if (st != LEAT_OK) return st;
    st = leat_log_next(cursor, &block, err);
    if (st == LEAT_OK) st = read_batch(box, &block, &batch, err);
    leat_log_cursor_close(cursor);
    if (st != LEAT_OK) return st;
    for (size_t i = 0; i < box->void_count; i++)
        if (box->voids[i].from == batch.first && box->voids[i].to == end->next_offset) return LEAT_OK;
    add_void(box, batch.first, end->next_offset);
    return leat_outbox_save(box, box->confirmed, err);
}

/* Since when the oldest one waits. */
static enum leat_status note_oldest(struct leat_outbox *box, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    if (box->confirmed == box->published) return LEAT_OK;
    enum leat_status st = leat_log_read(box->log, 0, box->confirmed, box->published, &cursor, err);
    if (st != LEAT_OK) return st;
    if ((st = leat_log_next(cursor, &block, err)) == LEAT_OK) box->since_us = block.arrival_us;
    leat_log_cursor_close(cursor);
    return st == LEAT_END ? LEAT_OK : st;
}

/* The folder is as it was at a backup, but the remote has had effects since, with higher sequences: what is new has to have higher ones still.
 * (Numbers begin at the clock's microseconds and no sink takes one every microsecond.) What waits from before keeps its own: the remote may know it. */
static enum leat_status go_behind_restore(struct leat_outbox *box, struct leat_error *err) {
    uint64_t behind = (uint64_t)box->options.restored_us / 2;
    if (box->next >= behind) return LEAT_OK;
    enum leat_status st = leat_log_jump(box->log, 0, behind, err);
    if (st != LEAT_OK) return st;
    if (box->confirmed >= box->published && box->confirmed < behind) box->confirmed = behind;
    box->gap_from = box->next;
    box->next = box->published = box->batch_first = box->gap_to = behind;
    return LEAT_OK;
}

static enum leat_status open_logs(struct leat_outbox *box, const struct leat_outbox_options *options, struct leat_error *err) {
    const struct leat_log_options log_options = {.segment_bytes = options->segment_bytes ? options->segment_bytes : SEGMENT_BYTES};
    char *log = leat_asprintf("%s/log", box->dir), *dead = leat_asprintf("%s/dead", box->dir);
    enum leat_status st = leat_log_open(&box->env, log, &log_options, &box->log, err);
    if (st == LEAT_OK) st = leat_log_open(&box->env, dead, &log_options, &box->dead, err);
    free(log);
    free(dead);
    if (st != LEAT_OK) return st;
    const struct leat_log_end *end = log_end(box->dead);
    box->dead_count = end ? end->next_offset : 0;
    end = log_end(box->log);
    if (!end) {
        uint64_t first = (uint64_t)(options->begin_us > 0 ? options->begin_us : 0) / 2;
        if ((uint64_t)box->options.restored_us / 2 > first) first = (uint64_t)box->options.restored_us / 2;
        if (box->confirmed > first) first = box->confirmed; /* its log was empty: numbers are never given twice */
        box->next = box->published = box->batch_first = first;
        box->confirmed = first;
        return leat_log_begin(box->log, 0, first, options->begin_us, err);
    }
    box->next = box->published = box->batch_first = end->next_offset;
    box->mark = end->position >> 1;
    uint64_t first = leat_log_first_offset(box->log, 0);
    if (box->confirmed < first) box->confirmed = first;
    st = end->position & 1 ? void_rest(box, end, err) : LEAT_OK;
    if (st == LEAT_OK) st = go_behind_restore(box, err);
    if (st == LEAT_OK && box->confirmed > box->published)
        st = leat_fail(err, LEAT_CORRUPT, "%s: %llu effects are confirmed, but its log ends at %llu", box->dir, (unsigned long long)box->confirmed,
                       (unsigned long long)box->published);
    return st == LEAT_OK ? note_oldest(box, err) : st;
}

enum leat_status leat_outbox_open(struct leat_env *env, const char *dir, const struct leat_outbox_options *options, struct leat_sink *sink,
                                  struct leat_outbox **out, struct leat_error *err) {
    struct leat_outbox *box = leat_alloc(sizeof *box);
    box->env = *env;
    leat_random_seed(&box->env.random, leat_random_next(&env->random));
    box->dir = leat_strdup(dir);
    box->options = *options;
    box->sink = sink;
    box->ask = sink->ops->progress != NULL;
    leat_outbox_threads_init(box);
    enum leat_status st = leat_io_mkdirs(env->io, dir, err);
    if (st == LEAT_OK) st = load_progress(box, err);
    if (st == LEAT_OK) st = open_logs(box, options, err);
    if (st != LEAT_OK) {
        leat_outbox_close(box);
        return st;
    }
    *out = box;
    return LEAT_OK;
}

void leat_outbox_close(struct leat_outbox *box) {
    if (!box) return;
    leat_outbox_threads_deinit(box);
    if (box->log) leat_log_close(box->log);
    if (box->dead) leat_log_close(box->dead);
    leat_buffer_deinit(&box->payload);
    leat_arena_deinit(&box->arena);
    free(box->effects);
    free(box->numbers);
    free(box->starts);
    free(box->ends);
    free(box->voids);
    free(box->dir);
    free(box);
}

/* ---- appending --------------------------------------------------------------------------------------------------------- */

uint64_t leat_outbox_mark(const struct leat_outbox *box) {
    return box->mark;
}

uint64_t leat_outbox_next_sequence(const struct leat_outbox *box, enum leat_effect_kind kind) {
    return (box->next << 1) + !leat_effect_removes(kind);
}

/* The records gathered so far as a block; last: the batch ends with them. */
static enum leat_status put_block(struct leat_outbox *box, uint64_t mark, bool last, struct leat_error *err) {
    const struct leat_batch batch = {box->batch_first, mark};
    struct leat_block block = {.base_offset = box->next - box->gathered,
                               .record_count = box->gathered,
                               .arrival_us = box->clock_us,
                               .position = last ? mark << 1 : box->mark << 1 | 1,
                               .payload = box->payload.data ? box->payload.data : "",
                               .starts = box->starts,
                               .ends = box->ends,
                               .payload_bytes = box->payload.length,
                               .header = (const char *)&batch,
                               .header_length = sizeof batch};
    leat_outbox_lock(box);
    enum leat_status st = leat_log_append(box->log, &block, err);
    leat_outbox_unlock(box);
    leat_buffer_reset(&box->payload);
    box->gathered = 0;
    return st;
}

enum leat_status leat_outbox_append(struct leat_outbox *box, uint64_t mark, const struct leat_effect *effect, struct leat_hash128 row,
                                    struct leat_error *err) {
    const uint32_t head[2] = {(uint32_t)effect->kind, (uint32_t)effect->key_bytes};
    size_t bytes = LEAT_EFFECT_HEAD_BYTES + effect->key_bytes + effect->payload_bytes;
    enum leat_status st = LEAT_OK;
    if (bytes > LEAT_RECORD_BYTES_MAX)
        return leat_fail(err, LEAT_LIMIT, "an effect of %zu bytes; the most is %zu", bytes, LEAT_RECORD_BYTES_MAX);
    if (box->payload.length && (box->payload.length + bytes > BLOCK_BYTES || box->gathered == BLOCK_RECORDS))
        if ((st = put_block(box, mark, false, err)) != LEAT_OK) return st;
    if (!box->starts) {
        box->starts = leat_alloc(BLOCK_RECORDS * sizeof *box->starts);
        box->ends = leat_alloc(BLOCK_RECORDS * sizeof *box->ends);
    }
    box->starts[box->gathered] = (uint32_t)box->payload.length;
    leat_putn(&box->payload, (const char *)head, sizeof head);
    leat_putn(&box->payload, (const char *)&row, sizeof row);
    leat_putn(&box->payload, effect->key, effect->key_bytes);
    leat_putn(&box->payload, effect->payload, effect->payload_bytes);
    box->ends[box->gathered++] = (uint32_t)box->payload.length;
    box->next++;
    return LEAT_OK;
}

enum leat_status leat_outbox_complete(struct leat_outbox *box, uint64_t mark, int64_t clock_us, struct leat_error *err) {
    box->clock_us = clock_us;
    enum leat_status st = put_block(box, mark, true, err);
    box->batch_first = box->next;
    box->mark = mark;
    box->dirty = true;
    return st;
}

enum leat_status leat_outbox_abandon(struct leat_outbox *box, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    box->next -= box->gathered; /* these are nowhere yet */
    box->gathered = 0;
    leat_buffer_reset(&box->payload);
    leat_outbox_lock(box);
    uint64_t confirmed = box->confirmed;
    bool any = box->next > box->batch_first;
    if (any) st = leat_log_sync(box->log, err); /* or numbers that are void would be given again after a crash */
    if (any && st == LEAT_OK) add_void(box, box->batch_first, box->next);
    leat_outbox_unlock(box);
    if (any && st == LEAT_OK) st = leat_outbox_save(box, confirmed, err);
    box->batch_first = box->next;
    return st;
}

enum leat_status leat_outbox_sync(struct leat_outbox *box, struct leat_error *err) {
    enum leat_status st = leat_outbox_alive(box, err);
    if (st != LEAT_OK || !box->dirty) return st;
    leat_outbox_lock(box);
    st = leat_log_sync(box->log, err);
    if (st == LEAT_OK) {
        if (box->published == box->confirmed && box->next > box->published) box->since_us = box->clock_us;
        box->published = box->next;
        box->dirty = false;
        leat_outbox_wake(box);
    }
    leat_outbox_unlock(box);
    return st;
}

/* ---- reading, trimming ------------------------------------------------------------------------------------------------- */

bool leat_outbox_is_void(const struct leat_outbox *box, uint64_t number) {
    for (size_t i = 0; i < box->void_count; i++)
        if (number >= box->voids[i].from && number < box->voids[i].to) return true;
    return false;
}

enum leat_status leat_outbox_visit(struct leat_outbox *box, uint64_t mark, void (*visit)(void *, const struct leat_outbox_effect *),
                                   void *context, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    leat_outbox_lock(box);
    enum leat_status st = leat_log_read(box->log, 0, leat_log_first_offset(box->log, 0), box->published, &cursor, err);
    if (st == LEAT_OK) {
        struct leat_batch batch;
        while ((st = leat_log_next(cursor, &block, err)) == LEAT_OK && (st = read_batch(box, &block, &batch, err)) == LEAT_OK)
            for (uint32_t i = 0; i < block.record_count && batch.mark > mark; i++) {
                const char *record = block.payload + block.starts[i];
                struct leat_outbox_effect effect = {.mark = batch.mark, .key = record + LEAT_EFFECT_HEAD_BYTES};
                uint32_t head[2];
                memcpy(head, record, sizeof head);
                memcpy(&effect.row, record + sizeof head, sizeof effect.row);
                effect.kind = (enum leat_effect_kind)head[0];
                effect.key_bytes = head[1];
                if (!leat_outbox_is_void(box, block.base_offset + i)) visit(context, &effect);
            }
        leat_log_cursor_close(cursor);
    }
    leat_outbox_unlock(box);
    return st == LEAT_END ? LEAT_OK : st;
}

/* The number of the first record of a batch above `mark`. */
static enum leat_status first_above(struct leat_outbox *box, uint64_t mark, uint64_t upto, uint64_t *number, struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    *number = upto;
    enum leat_status st = leat_log_read(box->log, 0, leat_log_first_offset(box->log, 0), upto, &cursor, err);
    if (st != LEAT_OK) return st;
    struct leat_batch batch = {0};
    while (batch.mark <= mark && (st = leat_log_next(cursor, &block, err)) == LEAT_OK)
        if ((st = read_batch(box, &block, &batch, err)) != LEAT_OK) break;
    if (st == LEAT_OK) *number = block.base_offset;
    leat_log_cursor_close(cursor);
    return st == LEAT_END ? LEAT_OK : st;
}

enum leat_status leat_outbox_trim(struct leat_outbox *box, uint64_t mark, struct leat_error *err) {
    uint64_t floor;
    enum leat_status st = LEAT_OK;
    leat_outbox_lock(box);
    floor = box->saved;
    if (atomic_load(&box->ask) && box->sent && box->sink->ops->comes_back) floor = leat_log_first_offset(box->log, 0); /* it may have been put back */
    if (floor > leat_log_first_offset(box->log, 0) && mark < box->mark) /* else nobody wants to know what is confirmed */
        st = first_above(box, mark, floor, &floor, err);
    const struct leat_log_end end = {.partition = 0, .next_offset = floor};
    if (st == LEAT_OK) st = leat_log_trim(box->log, &end, 1, err);
    leat_outbox_unlock(box);
    return st;
}

void leat_outbox_hold(struct leat_outbox *box) {
    leat_outbox_lock(box);
}

void leat_outbox_release(struct leat_outbox *box) {
    leat_outbox_unlock(box);
}

uint64_t leat_outbox_bytes(struct leat_outbox *box) {
    leat_outbox_lock(box);
    uint64_t bytes = leat_log_size_bytes(box->log);
    leat_outbox_unlock(box);
    return bytes;
}
