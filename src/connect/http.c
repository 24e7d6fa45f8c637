/* The http connector; see http.h.
 *
 * <state>/batches is a list of entries of 48 bytes, little-endian:
 *   id (XXH3-128 of its bytes) 16, from 8, records (XXH3-64, http.h) 8, count 4, rejected 4, XXH3-64 with seed 1 of the former 40 bytes 8
 * or, written before records were looked at:
 *   id 16, from 8, to 8, rejected 4, partition 4, XXH3-64 of the former 40 bytes 8
 * appended and synced before the records are. The list ends at the first entry whose hash fails (a torn tail). It is written anew when it has
 * become twice as long as what is remembered. */
#include "connect/http.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/wake.h"
#include "state/keyed.h"

#define QUEUE_BYTES_MAX (64 * LEAT_MIB)
#define QUEUE_BATCHES_MAX 10000
#define REJECTS_TOLD_MAX 100

struct known { uint64_t from, records; uint32_t count, rejected; }; /* records 0: not known */
struct entry {
    struct leat_hash128 id;
    struct known known;
    uint64_t check;
};
_Static_assert(sizeof(struct entry) == 48, "as it lies in the file");
struct old_known { uint64_t from, to; uint32_t rejected, partition; };
_Static_assert(sizeof(struct old_known) == sizeof(struct known), "in the same place");
enum { CHECK_SEED = 1 };

struct queue { struct leat_http_batch *first, **last; };

struct http_source {
    struct leat_connector base;
    struct leat_env *env;
    char *name, *path;
    size_t max_line_bytes;
    uint32_t ids_max;
    uint64_t next_offset;

    pthread_mutex_t lock; /* guards what follows, up to given */
    struct leat_wake wake;
    struct queue waiting;
    uint64_t waiting_bytes, waiting_batches;
    bool closed;

    struct queue given;              /* polled, not yet durable; in order of offset, duplicates among them */
    struct leat_http_batch *rejecting; /* of the given: the one the last reject was of */
    struct leat_buffer payload;
    uint32_t *starts, *ends;
    size_t record_capacity;

    struct leat_keyed ids; /* struct known */
    struct leat_hash128 *order; /* ring of the remembered, ids_max */
    uint32_t order_first, order_count;
    struct leat_file *file;
    uint64_t file_entries;
};

static struct http_source *self(struct leat_connector *c) {
    return (struct http_source *)(void *)c;
}

/* ---- queues ------------------------------------------------------------------------------------------ */

static void queue_add(struct queue *queue, struct leat_http_batch *batch) {
    batch->next = NULL;
    *queue->last = batch;
    queue->last = &batch->next;
}

static struct leat_http_batch *queue_take(struct queue *queue) {
    struct leat_http_batch *batch = queue->first;
    if (!batch) return NULL;
    queue->first = batch->next;
    if (!queue->first) queue->last = &queue->first;
    batch->next = NULL;
    return batch;
}

void leat_http_batch_deinit(struct leat_http_batch *batch) {
    for (size_t i = 0; i < batch->reject_count; i++) free(batch->rejects[i].reason);
    free(batch->rejects);
    batch->rejects = NULL;
    batch->reject_count = 0;
}

static void finish(struct leat_http_batch *batch, enum leat_status status) {
    batch->status = status;
    batch->done(batch);
}

/* Of the records, not of what stands around them: the same ones as an array and as lines are the same. Never 0. */
static uint64_t records_of(const struct leat_http_batch *batch) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t length = batch->ends[i] - batch->starts[i];
        XXH3_64bits_update(&state, &length, sizeof length);
        XXH3_64bits_update(&state, batch->bytes + batch->starts[i], length);
    }
    return XXH3_64bits_digest(&state) | 1;
}

bool leat_connector_is_http(const struct leat_connector *connector) {
    return connector && connector->ops == &leat_connector_http;
}

enum leat_status leat_http_offer(struct leat_connector *connector, struct leat_http_batch *batch, struct leat_error *err) {
    struct http_source *s = self(connector);
    enum leat_status st = LEAT_OK;
    if (batch->byte_count > LEAT_BLOCK_MAX || batch->count > LEAT_BLOCK_RECORDS_MAX)
        return leat_fail(err, LEAT_LIMIT, "a batch has at most %zu bytes and %u records; send it in parts", (size_t)LEAT_BLOCK_MAX, LEAT_BLOCK_RECORDS_MAX);
    batch->status = LEAT_OK;
    if (batch->id) batch->records = records_of(batch);
    pthread_mutex_lock(&s->lock);
    if (s->closed) {
        st = leat_fail(err, LEAT_CANCELLED, "leat stops");
    } else if (s->waiting_batches >= QUEUE_BATCHES_MAX || (s->waiting_bytes && s->waiting_bytes + batch->byte_count > QUEUE_BYTES_MAX)) {
        st = leat_fail(err, LEAT_BUSY, "source \"%s\" has %llu batches waiting", s->name, (unsigned long long)s->waiting_batches);
        err->retriable = true;
    } else {
        bool first = !s->waiting.first;
        s->waiting_bytes += batch->byte_count;
        s->waiting_batches++;
        queue_add(&s->waiting, batch);
        if (first) leat_wake_fire(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

void leat_http_waiting(struct leat_connector *connector, uint64_t *batches, uint64_t *bytes) {
    struct http_source *s = self(connector);
    pthread_mutex_lock(&s->lock);
    *batches = s->waiting_batches;
    *bytes = s->waiting_bytes;
    pthread_mutex_unlock(&s->lock);
}

void leat_http_stop(struct leat_connector *connector) {
    struct http_source *s = self(connector);
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    struct queue left = s->waiting;
    s->waiting = (struct queue){NULL, &s->waiting.first};
    s->waiting_bytes = s->waiting_batches = 0;
    pthread_mutex_unlock(&s->lock);
    if (!left.first) left.last = &left.first;
    for (struct leat_http_batch *batch; (batch = queue_take(&left));) finish(batch, LEAT_CANCELLED);
    for (struct leat_http_batch *batch; (batch = queue_take(&s->given));) finish(batch, LEAT_CANCELLED);
}

/* ---- ids that were taken ---------------------------------------------------------------------------------- */

static struct leat_hash128 hash_of(const struct leat_http_batch *batch) {
    XXH128_hash_t hash = XXH3_128bits(batch->id, batch->id_bytes);
    return (struct leat_hash128){hash.low64, hash.high64};
}

static uint64_t check_of(const struct entry *entry) {
    return XXH3_64bits_withSeed(entry, sizeof *entry - sizeof entry->check, CHECK_SEED);
}

/* False: it is torn. */
static bool read_entry(const char *bytes, struct entry *entry) {
    struct old_known old;
    memcpy(entry, bytes, sizeof *entry);
    if (entry->check == check_of(entry)) return true;
    if (entry->check != XXH3_64bits(entry, sizeof *entry - sizeof entry->check)) return false;
    memcpy(&old, &entry->known, sizeof old);
    entry->known = (struct known){.from = old.from, .count = (uint32_t)(old.to - old.from), .rejected = old.rejected};
    return true;
}

static struct known *known_at(const struct http_source *s, const struct leat_hash128 *id) {
    uint32_t found;
    leat_keyed_find(&s->ids, id, 1, &found);
    return found == LEAT_NO_ENTRY ? NULL : leat_entry_payload(leat_keyed_at(&s->ids, found));
}

static struct known *remember(struct http_source *s, const struct leat_hash128 *id) {
    uint32_t index;
    if (s->order_count == s->ids_max) {
        leat_keyed_find(&s->ids, &s->order[s->order_first], 1, &index);
        leat_keyed_remove(&s->ids, index);
        s->order_first = (s->order_first + 1) % s->ids_max;
        s->order_count--;
    }
    s->order[(s->order_first + s->order_count++) % s->ids_max] = *id;
    leat_keyed_upsert(&s->ids, id, 1, &index);
    return leat_entry_payload(leat_keyed_at(&s->ids, index));
}

static void put_entry(struct leat_buffer *out, const struct leat_hash128 *id, const struct known *known) {
    struct entry entry = {.id = *id, .known = *known};
    entry.check = check_of(&entry);
    leat_putn(out, (const char *)&entry, sizeof entry);
}

/* The file with just what is remembered. */
static enum leat_status rewrite_ids(struct http_source *s, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    struct leat_io *io = s->env->io;
    for (uint32_t i = 0; i < s->order_count; i++) {
        const struct leat_hash128 *id = &s->order[(s->order_first + i) % s->ids_max];
        put_entry(&bytes, id, known_at(s, id));
    }
    if (s->file) io->ops->close(s->file);
    s->file = NULL;
    enum leat_status st = leat_io_write_durable(io, s->path, bytes.length ? bytes.data : "", bytes.length, true, err);
    if (st == LEAT_OK) st = io->ops->open(io, s->path, LEAT_OPEN_APPEND, &s->file, err);
    s->file_entries = s->order_count;
    leat_buffer_deinit(&bytes);
    return st;
}

static enum leat_status load_ids(struct http_source *s, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    size_t at = 0;
    bool clean = true;
    enum leat_status st = leat_io_read_all(s->env->io, s->path, LEAT_GIB, &bytes, err);
    if (st == LEAT_NOT_FOUND) st = LEAT_OK;
    for (; st == LEAT_OK && at + sizeof(struct entry) <= bytes.length; at += sizeof(struct entry)) {
        struct entry entry;
        if (!read_entry(bytes.data + at, &entry)) break;
        struct known *known = known_at(s, &entry.id); /* forgotten and taken again: the later one counts */
        if (entry.known.from + entry.known.count > s->next_offset) { /* its records did not become durable */
            clean = false;
            continue;
        }
        *(known ? known : remember(s, &entry.id)) = entry.known;
        s->file_entries++;
    }
    clean &= at == bytes.length;
    leat_buffer_deinit(&bytes);
    if (st != LEAT_OK) return st;
    return clean ? s->env->io->ops->open(s->env->io, s->path, LEAT_OPEN_APPEND, &s->file, err) : rewrite_ids(s, err);
}

static enum leat_status http_sync(struct leat_connector *connector, struct leat_error *err) {
    struct http_source *s = self(connector);
    struct leat_buffer bytes = {0};
    enum leat_status st = LEAT_OK;
    uint64_t entries = 0;
    for (struct leat_http_batch *batch = s->given.first; batch; batch = batch->next) {
        if (!batch->id || batch->duplicate) continue;
        struct leat_hash128 id = hash_of(batch);
        struct known *known = known_at(s, &id);
        if (!known || known->from != batch->from) continue; /* forgotten already: more ids in one round than are remembered */
        known->rejected = batch->rejected;
        put_entry(&bytes, &id, known);
        entries++;
    }
    if (!entries) goto out;
    if (s->file_entries + entries > 2 * (uint64_t)s->ids_max + 1000) {
        st = rewrite_ids(s, err);
        goto out;
    }
    st = s->env->io->ops->write(s->file, bytes.data, bytes.length, err);
    if (st == LEAT_OK) st = s->env->io->ops->sync(s->file, err);
    s->file_entries += entries;
out:
    leat_buffer_deinit(&bytes);
    return st == LEAT_OK ? st : leat_prepend(err, "source \"%s\": %s", s->name, s->path);
}

/* ---- polling ---------------------------------------------------------------------------------------------- */

static bool is_duplicate(struct http_source *s, struct leat_http_batch *batch) {
    if (!batch->id) return false;
    struct leat_hash128 id = hash_of(batch);
    const struct known *known = known_at(s, &id);
    if (!known) return false;
    batch->duplicate = true;
    batch->from = known->from;
    batch->to = known->from + known->count;
    batch->partition = LEAT_HTTP_PARTITION;
    batch->rejected = known->rejected;
    if (known->records && known->records != batch->records) batch->status = LEAT_CONFLICT;
    return true;
}

static void take(struct http_source *s, struct leat_http_batch *batch) {
    batch->partition = LEAT_HTTP_PARTITION;
    batch->from = s->next_offset;
    batch->to = s->next_offset += batch->count;
    queue_add(&s->given, batch);
    if (!batch->id) return;
    struct leat_hash128 id = hash_of(batch);
    *remember(s, &id) = (struct known){.from = batch->from, .records = batch->records, .count = batch->count};
}

/* The batches that wait, up to a block's worth of them; NULL: none. */
static struct leat_http_batch *next_waiting(struct http_source *s, size_t bytes_left, size_t records_left) {
    pthread_mutex_lock(&s->lock);
    struct leat_http_batch *batch = s->waiting.first;
    if (batch && (batch->byte_count > bytes_left || batch->count > records_left)) batch = NULL;
    if (batch) {
        queue_take(&s->waiting);
        s->waiting_bytes -= batch->byte_count;
        s->waiting_batches--;
    }
    if (!s->waiting.first) leat_wake_drain(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return batch;
}

static void reserve_records(struct http_source *s, size_t count) {
    if (count <= s->record_capacity) return;
    s->record_capacity = count < 1024 ? 1024 : count * 2;
    s->starts = leat_realloc(s->starts, s->record_capacity * sizeof *s->starts);
    s->ends = leat_realloc(s->ends, s->record_capacity * sizeof *s->ends);
}

/* A record that is too long is only its beginning. */
static void put_records(struct http_source *s, const struct leat_http_batch *batch, struct leat_block *block) {
    uint32_t at = (uint32_t)s->payload.length;
    reserve_records(s, block->record_count + batch->count);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t length = batch->ends[i] - batch->starts[i];
        if (length > s->max_line_bytes) length = (uint32_t)s->max_line_bytes + 1;
        s->starts[block->record_count + i] = at + batch->starts[i];
        s->ends[block->record_count + i] = at + batch->starts[i] + length;
        if (batch->starts[i] + length < batch->ends[i]) batch->bytes[batch->starts[i] + length] = '\n';
    }
    leat_putn(&s->payload, batch->bytes, batch->byte_count);
    leat_putn(&s->payload, "\n", 1);
    block->record_count += batch->count;
}

static bool only_duplicates(const struct http_source *s) {
    for (const struct leat_http_batch *batch = s->given.first; batch; batch = batch->next)
        if (!batch->duplicate) return false;
    return true;
}

/* Everything given is durable. */
static void finish_given(struct http_source *s) {
    for (struct leat_http_batch *batch; (batch = queue_take(&s->given));) {
        struct leat_hash128 id = batch->id ? hash_of(batch) : (struct leat_hash128){0};
        const struct known *known = batch->duplicate ? known_at(s, &id) : NULL;
        if (known) batch->rejected = known->rejected; /* of a batch of the same round it was not known before */
        finish(batch, batch->status);
    }
}

/* One block a round: the log makes it durable as a whole, after the ids. */
static enum leat_status http_poll(struct leat_connector *connector, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct http_source *s = self(connector);
    (void)err;
    *out = (struct leat_block){.partition = LEAT_HTTP_PARTITION, .base_offset = s->next_offset};
    if (!only_duplicates(s)) return LEAT_END;
    leat_buffer_reset(&s->payload);
    if (max_bytes > LEAT_BLOCK_MAX) max_bytes = LEAT_BLOCK_MAX;
    for (;;) {
        bool first = out->record_count == 0;
        size_t room = first ? SIZE_MAX : max_bytes > s->payload.length ? max_bytes - s->payload.length - 1 : 0;
        struct leat_http_batch *batch = next_waiting(s, room, first ? SIZE_MAX : LEAT_BLOCK_RECORDS_MAX - out->record_count);
        if (!batch) break;
        if (is_duplicate(s, batch)) {
            queue_add(&s->given, batch);
            continue;
        }
        take(s, batch);
        put_records(s, batch, out);
    }
    if (!out->record_count) {
        if (only_duplicates(s)) finish_given(s);
        if (s->payload.capacity > LEAT_MIB) leat_buffer_deinit(&s->payload);
        return LEAT_END;
    }
    for (int i = 0; i < LEAT_PAYLOAD_SLACK; i++) leat_putn(&s->payload, "\0", 1);
    out->payload = s->payload.data;
    out->payload_bytes = s->payload.length - LEAT_PAYLOAD_SLACK;
    out->starts = s->starts;
    out->ends = s->ends;
    out->position = s->next_offset;
    return LEAT_OK;
}

static void http_rejected(struct leat_connector *connector, uint32_t partition, uint64_t offset, const char *reason) {
    struct http_source *s = self(connector);
    (void)partition;
    struct leat_http_batch *batch = s->rejecting && s->rejecting->from <= offset ? s->rejecting : s->given.first;
    while (batch && (batch->duplicate || offset >= batch->to)) batch = batch->next;
    if (!batch || offset < batch->from) return;
    s->rejecting = batch;
    batch->rejected++;
    if (batch->reject_count == REJECTS_TOLD_MAX) return;
    batch->rejects = leat_realloc(batch->rejects, (batch->reject_count + 1) * sizeof *batch->rejects);
    batch->rejects[batch->reject_count++] = (struct leat_http_reject){(uint32_t)(offset - batch->from), offset, leat_strdup(reason)};
}

static void http_synced(struct leat_connector *connector) {
    struct http_source *s = self(connector);
    s->rejecting = NULL;
    finish_given(s);
}

/* ---- the descriptor ------------------------------------------------------------------------------------------ */

static bool http_finished(struct leat_connector *connector) {
    (void)connector;
    return false;
}

static bool http_caught_up(struct leat_connector *connector) {
    uint64_t batches, bytes;
    leat_http_waiting(connector, &batches, &bytes);
    return batches == 0;
}

static int64_t http_next_poll_us(struct leat_connector *connector) {
    return http_caught_up(connector) ? -1 : 0;
}

static int http_wake_fd(struct leat_connector *connector) {
    return self(connector)->wake.fd;
}

static void http_close(struct leat_connector *connector) {
    struct http_source *s = self(connector);
    if (!s) return;
    leat_http_stop(connector);
    if (s->file) s->env->io->ops->close(s->file);
    leat_wake_close(&s->wake);
    leat_keyed_deinit(&s->ids);
    leat_buffer_deinit(&s->payload);
    pthread_mutex_destroy(&s->lock);
    free(s->order);
    free(s->starts);
    free(s->ends);
    free(s->path);
    free(s->name);
    free(s);
}

static enum leat_status http_open(struct leat_env *env, const struct leat_source *source, const char *project_dir, const char *state_dir,
                                  const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    struct http_source *s = leat_alloc(sizeof *s);
    (void)project_dir;
    *out = NULL;
    s->base.ops = &leat_connector_http;
    s->env = env;
    s->name = leat_strdup(source->name);
    s->path = leat_asprintf("%s/batches", state_dir);
    s->max_line_bytes = (size_t)leat_source_option_int(source, "max_line_bytes", (int64_t)LEAT_MIB);
    s->ids_max = (uint32_t)leat_source_option_int(source, "batch_ids", 100000);
    s->order = leat_alloc((size_t)s->ids_max * sizeof *s->order);
    s->waiting.last = &s->waiting.first;
    s->given.last = &s->given.first;
    s->wake.fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    leat_keyed_init(&s->ids, sizeof(struct known));
    for (size_t i = 0; i < resume_count; i++)
        if (resume[i].partition == LEAT_HTTP_PARTITION) s->next_offset = resume[i].next_offset;
    enum leat_status st = leat_wake_open(&s->wake, err);
    if (st == LEAT_OK) st = load_ids(s, err);
    if (st != LEAT_OK) {
        http_close(&s->base);
        return st;
    }
    *out = &s->base;
    return LEAT_OK;
}

const struct leat_connector_ops leat_connector_http = {
    .name = "http",
    .open = http_open,
    .poll = http_poll,
    .finished = http_finished,
    .caught_up = http_caught_up,
    .next_poll_us = http_next_poll_us,
    .wake_fd = http_wake_fd,
    .close = http_close,
    .rejected = http_rejected,
    .sync = http_sync,
    .synced = http_synced,
    .prompt = true,
};
