/* A log (log/log.h) of one partition. A record is a row: its weight (4 bytes, signed, little-endian) and its encoding
 * by state/row.h. A block has rows of one step, and as header
 *
 *    0  8  step
 *    8  8  the step's clock, microseconds
 *   16  8  XXH3-64 of VERSION and the columns' names and types
 *   24  4  number of the block within the step, from 0
 *   28  4  1: the step's last block
 *
 * In place of an arrival a block says how far the log goes with it: 2 * step where that step is whole, 2 * step - 1 in
 * the midst of it. A step that a crash cut short is appended again as a whole when it runs again; a reader begins anew
 * at a block 0. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/live/past.h"
#include "log/log.h"
#include "state/row.h"

enum { VERSION = 1, BLOCK_ROWS = 1024, HINTS = 64 };
#define BLOCK_BYTES (1 * LEAT_MIB)
#define SEGMENT_BYTES (4 * LEAT_MIB)

struct head {
    uint64_t step;
    int64_t clock_us;
    uint64_t schema;
    uint32_t piece, last;
};
_Static_assert(sizeof(struct head) == 32, "as on disk");

struct leat_past {
    struct leat_env *env;
    char *dir;
    const struct leat_schema *schema;
    struct leat_row_codec codec;
    uint64_t schema_hash, bytes_max;
    struct leat_row_block rows; /* the engine's thread: of a step under way */
    struct leat_buffer payload;
    pthread_mutex_t lock;
    struct leat_log *log; /* guarded, as what follows; NULL: nothing is kept */
    uint64_t next_offset, appended_step;
    struct {
        uint64_t step, offset;
    } hints[HINTS]; /* what comes after a step stands at an offset */
};

static uint64_t hash_schema(const struct leat_schema *schema) {
    struct leat_buffer text = {0};
    leat_putf(&text, "%d", VERSION);
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        leat_putf(&text, "|%s %s", schema->fields[i].name, type);
    }
    uint64_t hash = XXH3_64bits(text.data, text.length);
    leat_buffer_deinit(&text);
    return hash;
}

static uint64_t whole_at(const struct leat_log_end *end) {
    return (uint64_t)end->arrival_us / 2;
}

/* ---- keeping -------------------------------------------------------------------------------------------- */

static void close_log(struct leat_past *past) {
    leat_log_close(past->log);
    past->log = NULL;
    memset(past->hints, 0, sizeof past->hints);
}

/* Under the lock. */
static void give_up(struct leat_past *past, const struct leat_error *why) {
    struct leat_error err;
    if (why)
        leat_log(past->env, LEAT_LOG_WARN, "changes kept for those who follow a table are lost, they begin anew: %s",
                 why->text);
    close_log(past);
    if (leat_io_remove_tree(past->env->io, past->dir, &err) != LEAT_OK && err.status != LEAT_NOT_FOUND)
        leat_log(past->env, LEAT_LOG_WARN, "%s", err.text);
}

static enum leat_status open_log(struct leat_past *past, struct leat_error *err) {
    const struct leat_log_options options = {.segment_bytes = SEGMENT_BYTES};
    return leat_log_open(past->env, past->dir, &options, &past->log, err);
}

/* The last block's header says of what columns they are. Empty: of any. */
static enum leat_status look_at_last(struct leat_past *past, struct leat_error *err) {
    size_t count;
    const struct leat_log_end *end = leat_log_ends(past->log, &count);
    struct leat_log_cursor *cursor;
    struct leat_block block;
    if (!count) return leat_fail(err, LEAT_CORRUPT, "%s is empty", past->dir);
    past->next_offset = end->next_offset;
    past->appended_step = whole_at(end);
    if (leat_log_first_offset(past->log, 0) == end->next_offset) return LEAT_OK;
    enum leat_status st = leat_log_read(past->log, 0, end->next_offset - 1, end->next_offset, &cursor, err);
    if (st != LEAT_OK) return st;
    st = leat_log_next(cursor, &block, err);
    struct head head = {0};
    if (st == LEAT_OK && block.header_length == sizeof head) memcpy(&head, block.header, sizeof head);
    leat_log_cursor_close(cursor);
    if (st == LEAT_OK && head.schema != past->schema_hash)
        st = leat_fail(err, LEAT_INVALID, "%s has other columns", past->dir);
    return st;
}

struct leat_past *leat_past_new(struct leat_env *env, const char *dir, const struct leat_schema *schema,
                                uint64_t bytes_max) {
    struct leat_past *past = leat_alloc(sizeof *past);
    *past = (struct leat_past){.env = env,
                               .dir = leat_strdup(dir),
                               .schema = schema,
                               .schema_hash = hash_schema(schema),
                               .bytes_max = bytes_max};
    pthread_mutex_init(&past->lock, NULL);
    leat_row_codec_init(&past->codec, schema, NULL, schema->field_count);
    return past;
}

void leat_past_resume(struct leat_past *past) {
    struct leat_error err;
    if (!leat_io_exists(past->env->io, past->dir)) return;
    pthread_mutex_lock(&past->lock);
    enum leat_status st = open_log(past, &err);
    if (st == LEAT_OK) st = look_at_last(past, &err);
    if (st != LEAT_OK) give_up(past, &err);
    pthread_mutex_unlock(&past->lock);
}

void leat_past_free(struct leat_past *past) {
    if (!past) return;
    leat_log_close(past->log);
    leat_row_codec_deinit(&past->codec);
    leat_row_block_deinit(&past->rows);
    leat_buffer_deinit(&past->payload);
    pthread_mutex_destroy(&past->lock);
    free(past->dir);
    free(past);
}

bool leat_past_is_kept(const struct leat_past *past) {
    return past->log != NULL; /* changed by the engine's thread alone, which asks */
}

uint64_t leat_past_from(const struct leat_past *past) {
    const struct leat_log_end *oldest = past->log ? leat_log_oldest(past->log, 0) : NULL;
    return oldest ? ((uint64_t)oldest->arrival_us + 1) / 2 : UINT64_MAX;
}

uint64_t leat_past_upto(const struct leat_past *past) {
    size_t count = 0;
    const struct leat_log_end *end = past->log ? leat_log_ends(past->log, &count) : NULL;
    return count ? whole_at(end) : 0;
}

void leat_past_start(struct leat_past *past, uint64_t from) {
    struct leat_error err;
    pthread_mutex_lock(&past->lock);
    if (leat_io_exists(past->env->io, past->dir)) give_up(past, NULL);
    past->next_offset = 0;
    past->appended_step = from;
    enum leat_status st = open_log(past, &err);
    if (st == LEAT_OK) st = leat_log_begin(past->log, 0, 0, (int64_t)(from * 2), &err);
    if (st != LEAT_OK) give_up(past, &err);
    pthread_mutex_unlock(&past->lock);
}

void leat_past_forget(struct leat_past *past) {
    pthread_mutex_lock(&past->lock);
    if (past->log || leat_io_exists(past->env->io, past->dir)) give_up(past, NULL);
    pthread_mutex_unlock(&past->lock);
}

/* So many of the rows from `from` on go into one block; their records are in past->payload. */
static size_t put_records(struct leat_past *past, const struct leat_changes *rows, size_t from, uint32_t *starts,
                          uint32_t *ends) {
    const size_t *at = past->rows.starts;
    size_t n = 0;
    leat_buffer_reset(&past->payload);
    for (; n < BLOCK_ROWS && from + n < rows->row_count && (n == 0 || past->payload.length < BLOCK_BYTES); n++) {
        int32_t weight = leat_weight(rows, from + n);
        starts[n] = (uint32_t)past->payload.length;
        leat_putn(&past->payload, (const char *)&weight, sizeof weight);
        leat_putn(&past->payload, (const char *)past->rows.bytes + at[n], at[n + 1] - at[n]);
        ends[n] = (uint32_t)past->payload.length;
    }
    return n;
}

static enum leat_status append_step(struct leat_past *past, struct head *head, const struct leat_changes *rows,
                                    struct leat_error *err) {
    static const char slack[LEAT_PAYLOAD_SLACK];
    uint32_t starts[BLOCK_ROWS], ends[BLOCK_ROWS];
    enum leat_status st = LEAT_OK;
    for (size_t from = 0, n; from < rows->row_count && st == LEAT_OK; from += n, head->piece++) {
        size_t most = rows->row_count - from < BLOCK_ROWS ? rows->row_count - from : BLOCK_ROWS;
        leat_row_encode(&past->codec, rows, NULL, from, most, &past->rows);
        n = put_records(past, rows, from, starts, ends);
        head->last = from + n == rows->row_count;
        if (ends[n - 1] > LEAT_BLOCK_MAX) return leat_fail(err, LEAT_LIMIT, "a row of %u bytes", ends[n - 1]);
        leat_putn(&past->payload, slack, sizeof slack);
        struct leat_block block = {.base_offset = past->next_offset,
                                   .record_count = (uint32_t)n,
                                   .arrival_us = (int64_t)(head->step * 2 - !head->last),
                                   .payload = past->payload.data,
                                   .starts = starts,
                                   .ends = ends,
                                   .payload_bytes = ends[n - 1],
                                   .header = (const char *)head,
                                   .header_length = sizeof *head};
        pthread_mutex_lock(&past->lock);
        st = leat_log_append(past->log, &block, err);
        if (st == LEAT_OK) past->next_offset += n;
        pthread_mutex_unlock(&past->lock);
    }
    return st;
}

void leat_past_append(struct leat_past *past, uint64_t step, int64_t clock_us, const struct leat_changes *rows) {
    struct head head = {.step = step, .clock_us = clock_us, .schema = past->schema_hash};
    struct leat_error err;
    if (!past->log || step <= past->appended_step || !rows->row_count) return;
    if (append_step(past, &head, rows, &err) == LEAT_OK) {
        past->appended_step = step;
        return;
    }
    pthread_mutex_lock(&past->lock);
    give_up(past, &err);
    pthread_mutex_unlock(&past->lock);
}

void leat_past_sync(struct leat_past *past, uint64_t upto) {
    struct leat_block all = {.base_offset = past->next_offset,
                             .arrival_us = (int64_t)(upto * 2)}; /* no records: all of that step is there */
    struct leat_error err;
    if (!past->log || (leat_past_upto(past) >= upto && leat_log_size_bytes(past->log))) return;
    if (past->appended_step < upto) past->appended_step = upto;
    pthread_mutex_lock(&past->lock);
    enum leat_status st = leat_log_append(past->log, &all, &err);
    if (st == LEAT_OK) st = leat_log_sync(past->log, &err);
    if (st == LEAT_OK) st = leat_log_trim_to(past->log, past->bytes_max, &err);
    if (st != LEAT_OK) give_up(past, &err);
    pthread_mutex_unlock(&past->lock);
}

/* ---- reading -------------------------------------------------------------------------------------------- */

static enum leat_status read_rows(const struct leat_past *past, const struct leat_block *block,
                                  struct leat_changes *out, struct leat_error *err) {
    leat_changes_need_weights(out);
    leat_changes_reserve(out, out->row_count + block->record_count);
    for (uint32_t i = 0; i < block->record_count; i++) {
        const uint8_t *row = (const uint8_t *)block->payload + block->starts[i] + sizeof(int32_t);
        size_t bytes = block->ends[i] - block->starts[i];
        if (bytes < sizeof(int32_t) + past->codec.string_area ||
            leat_row_stored_size(&past->codec, row) != bytes - sizeof(int32_t))
            return leat_fail(err, LEAT_CORRUPT, "%s: record %llu is no row", past->dir,
                             (unsigned long long)(block->base_offset + i));
        leat_row_read(&past->codec, &row, 1, out, 0, out->row_count);
        memcpy(&out->weights[out->row_count], row - sizeof(int32_t), sizeof(int32_t));
        out->row_count++;
    }
    return LEAT_OK;
}

/* The first whole step after `after` from the cursor on; *head: what it is. END: there is none. */
static enum leat_status read_step(const struct leat_past *past, struct leat_log_cursor *cursor, uint64_t after,
                                  struct head *head, uint64_t *next, struct leat_changes *out, struct leat_error *err) {
    struct leat_block block;
    enum leat_status st;
    uint32_t pieces = 0;
    while ((st = leat_log_next(cursor, &block, err)) == LEAT_OK) {
        if (block.header_length != sizeof *head)
            return leat_fail(err, LEAT_CORRUPT, "%s: a block that does not say its step", past->dir);
        memcpy(head, block.header, sizeof *head);
        if (head->step <= after) continue;
        if (!head->piece) {
            leat_changes_reset(out);
            pieces = 0;
        }
        if (head->piece != pieces++)
            return leat_fail(err, LEAT_CORRUPT, "%s: step %llu lacks a part", past->dir,
                             (unsigned long long)head->step);
        if ((st = read_rows(past, &block, out, err)) != LEAT_OK) return st;
        *next = block.base_offset + block.record_count;
        if (head->last) return LEAT_OK;
    }
    return st;
}

static enum leat_status read_after(struct leat_past *past, uint64_t after, struct head *head, struct leat_changes *out,
                                   struct leat_error *err) {
    const struct leat_log_end *start = leat_log_find(past->log, 0, (int64_t)(after * 2));
    struct leat_log_cursor *cursor;
    if (!start)
        return leat_fail(err, LEAT_LIMIT, "changes after step %llu are no longer kept", (unsigned long long)after);
    uint64_t from = start->next_offset, next = 0;
    if (past->hints[after % HINTS].step == after && past->hints[after % HINTS].offset > from)
        from = past->hints[after % HINTS].offset;
    enum leat_status st = leat_log_read(past->log, 0, from, UINT64_MAX, &cursor, err);
    if (st != LEAT_OK) return st;
    st = read_step(past, cursor, after, head, &next, out, err);
    leat_log_cursor_close(cursor);
    if (st == LEAT_OK) {
        past->hints[head->step % HINTS].step = head->step;
        past->hints[head->step % HINTS].offset = next;
    }
    return st;
}

enum leat_status leat_past_read(struct leat_past *past, uint64_t after, uint64_t *step, int64_t *clock_us,
                                struct leat_changes *out, struct leat_error *err) {
    struct head head = {0};
    enum leat_status st;
    pthread_mutex_lock(&past->lock);
    *step = leat_past_upto(past);
    if (!past->log)
        st = leat_fail(err, LEAT_LIMIT, "changes after step %llu are not kept", (unsigned long long)after);
    else if (after >= *step)
        st = LEAT_END;
    else if ((st = read_after(past, after, &head, out, err)) == LEAT_OK) {
        *step = head.step;
        *clock_us = head.clock_us;
    } else if (st != LEAT_END && st != LEAT_LIMIT) {
        leat_log(past->env, LEAT_LOG_WARN, "changes kept for those who follow a table cannot be read: %s", err->text);
        st = leat_fail(err, LEAT_LIMIT, "changes after step %llu cannot be read", (unsigned long long)after);
    }
    pthread_mutex_unlock(&past->lock);
    return st;
}
