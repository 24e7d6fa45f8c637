/* Reading a data file, drawing arrivals, ordering, pacing.
 *
 * Order. Every record gets a due number: by arrival, its event time plus a delay drawn from [0, shuffle]; by file, its
 * place. A second delivery is due later: by arrival up to max(shuffle, 1 minute) after the first, by file up to 1,000
 * records. Records go out by (due, record number, first before second). By file this needs a heap of pending second
 * deliveries alone; by arrival everything is read first. */
#include "connect/feed_run.h"
#include "connect/feed.h"
#include "connect/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES (4 * LEAT_MIB)
#define SYNC_BYTES (16 * LEAT_MIB) /* unpaced: synced at least this often */
#define REDELIVER_WITHIN_US 60000000
#define REDELIVER_WITHIN_RECORDS 1000
#define PACE_GRAIN_US 10000 /* what is due within it goes now */
#define SLICE_US 200000     /* longest sleep between two calls of progress */
#define ITEMS_MAX ((size_t)64 << 20)

/* A record to be delivered. */
struct item {
    int64_t due, event_us;
    uint64_t line;
    size_t at; /* by arrival: in `store` */
    char *own; /* by file, second delivery: its own copy */
    uint32_t length;
    bool second;
};
struct items {
    struct item *items;
    size_t count, capacity;
};

struct run {
    struct leat_env *env;
    const struct leat_feed_options *options;
    struct leat_feed *feed;
    struct leat_random random;
    struct leat_file_source source; /* reads the one file as a source does */
    struct leat_tailed file;
    struct leat_decoder *decoder; /* NULL: event times are not needed */
    struct leat_source dated;     /* the source, reduced to its event time where that can be decoded alone */
    struct leat_changes rows;
    uint32_t *row_records;
    int64_t *events; /* of the block at hand */
    int64_t last_event_us;
    struct leat_buffer store;
    struct items queue; /* by arrival: all; by file: a heap of second deliveries */
    struct leat_feed_progress progress;
    uint64_t unsynced_bytes;
    bool pacing_started;
    int64_t pace_start_us, pace_event_us;
};

/* ---- event times ---- */

static enum leat_status open_decoder(struct run *r, const struct leat_source *source, struct leat_error *err) {
    if (!r->options->by_arrival && !(r->options->speed > 0)) return LEAT_OK;
    if (source->event_time < 0)
        return leat_fail(err, LEAT_INVALID,
                         "source %s: ordering or pacing a feed needs an event time; declare a WATERMARK", source->name);
    const struct leat_field *field = &source->schema.fields[source->event_time];
    if (field->type.kind != LEAT_TIMESTAMP && field->type.kind != LEAT_TIMESTAMPTZ)
        return leat_fail(err, LEAT_INVALID, "source %s: the event time \"%s\" is not a timestamp", source->name,
                         field->name);
    r->dated = *source;
    r->dated.schema = (struct leat_schema){0};
    /* Without a header CSV columns are found by their place, so all are needed. */
    bool alone = source->format != LEAT_FORMAT_CSV || r->source.has_header;
    for (size_t i = 0; i < source->schema.field_count; i++)
        if (!alone || (int)i == source->event_time)
            leat_schema_add(&r->dated.schema, source->schema.fields[i].name, source->schema.fields[i].type, false);
    if (alone) {
        if (source->source_names) r->dated.source_names = source->source_names + source->event_time;
        r->dated.event_time = 0;
        r->dated.primary_key_count = 0;
        r->dated.meta = NULL; /* the one column is a value */
    }
    leat_changes_init(&r->rows, &r->dated.schema);
    r->row_records = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *r->row_records);
    r->events = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *r->events);
    return leat_decoder_open(&r->dated, &r->decoder, err);
}

/* events[i] of every record of the block; an unreadable one takes the time before it. */
static enum leat_status find_events(struct run *r, const struct leat_block *block, struct leat_error *err) {
    const struct leat_reject *rejects;
    size_t reject_count;
    if (!r->decoder) return LEAT_OK;
    leat_changes_reset(&r->rows);
    enum leat_status status = leat_decode(r->decoder, block, 0, block->record_count, &r->rows, r->row_records, NULL,
                                          &rejects, &reject_count, err);
    if (status != LEAT_OK) return status;
    for (uint32_t i = 0; i < block->record_count; i++)
        r->events[i] = INT64_MIN;
    const struct leat_column *column = &r->rows.columns[r->dated.event_time];
    const int64_t *values = column->data;
    for (size_t row = 0; row < r->rows.row_count; row++)
        if (!leat_is_null(column, row)) r->events[r->row_records[row]] = values[row];
    for (uint32_t i = 0; i < block->record_count; i++) {
        if (r->events[i] == INT64_MIN) {
            r->progress.undated++;
            r->events[i] = r->last_event_us;
        } else
            r->last_event_us = r->events[i];
    }
    return LEAT_OK;
}

/* ---- delivery ---- */

static enum leat_status tell(struct run *r, struct leat_error *err) {
    if (!r->options->progress || r->options->progress(r->options->context, &r->progress)) return LEAT_OK;
    return leat_fail(err, LEAT_CANCELLED,
                     "the feed was stopped after %" PRIu64
                     " records; what was fed stays, feeding again repeats nothing",
                     r->progress.records);
}

static enum leat_status sync_fed(struct run *r, struct leat_error *err) {
    if (!r->unsynced_bytes) return LEAT_OK;
    r->unsynced_bytes = 0;
    enum leat_status status = leat_feed_sync(r->feed, err);
    return status == LEAT_OK ? tell(r, err) : status;
}

/* Waits until the record's time has come. What came before it is synced first: nobody waits for what is not there yet.
 */
static enum leat_status pace(struct run *r, int64_t at_us, struct leat_error *err) {
    struct leat_clock *clock = r->env->clock;
    if (!(r->options->speed > 0) || at_us == INT64_MIN) return LEAT_OK; /* not a number: no pace */
    int64_t now_us = clock->monotonic_us(clock);
    if (!r->pacing_started) {
        r->pacing_started = true;
        r->pace_start_us = now_us;
        r->pace_event_us = at_us;
    }
    double ahead = ((double)at_us - (double)r->pace_event_us) / r->options->speed;
    if (ahead > 1e15) ahead = 1e15; /* thirty years */
    int64_t target_us = r->pace_start_us + (int64_t)ahead;
    if (target_us - now_us <= PACE_GRAIN_US) return LEAT_OK;
    enum leat_status status = sync_fed(r, err);
    while (status == LEAT_OK && (now_us = clock->monotonic_us(clock)) < target_us) {
        clock->sleep_until(clock, target_us - now_us > SLICE_US ? now_us + SLICE_US : target_us);
        status = tell(r, err);
    }
    return status;
}

static enum leat_status deliver(struct run *r, const struct item *item, const char *payload, struct leat_error *err) {
    enum leat_status status = pace(r, r->options->by_arrival ? item->due : item->event_us, err);
    if (status == LEAT_OK) status = leat_feed_add(r->feed, r->file.partition, item->line, payload, item->length, err);
    if (status != LEAT_OK) return status;
    r->progress.records++;
    r->progress.redelivered += item->second;
    r->progress.bytes += item->length;
    r->progress.event_us = item->event_us;
    r->unsynced_bytes += item->length + 1;
    return r->unsynced_bytes >= SYNC_BYTES ? sync_fed(r, err) : LEAT_OK;
}

static bool comes_before(const struct item *a, const struct item *b) {
    if (a->due != b->due) return a->due < b->due;
    if (a->line != b->line) return a->line < b->line;
    return a->second < b->second;
}

static int compare_items(const void *a, const void *b) {
    return comes_before(a, b) ? -1 : comes_before(b, a);
}

static struct item *push(struct items *q, struct item item) {
    if (q->count == q->capacity) {
        q->capacity = q->capacity ? q->capacity * 2 : 1024;
        q->items = leat_realloc(q->items, q->capacity * sizeof *q->items);
    }
    q->items[q->count] = item;
    return &q->items[q->count++];
}

static int64_t add_clamped(int64_t a, int64_t b) {
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static bool draw_second(struct run *r) {
    return r->options->redeliver > 0 && leat_random_unit(&r->random) < r->options->redeliver;
}

/* ---- by arrival ---- */

static enum leat_status collect(struct run *r, const struct leat_block *block, struct leat_error *err) {
    uint64_t within =
        r->options->shuffle_us > REDELIVER_WITHIN_US ? (uint64_t)r->options->shuffle_us : REDELIVER_WITHIN_US;
    for (uint32_t i = 0; i < block->record_count; i++) {
        uint32_t length = block->ends[i] - block->starts[i];
        struct item item = {
            .event_us = r->events[i], .line = block->base_offset + i, .at = r->store.length, .length = length};
        enum leat_status status = leat_buffer_add(&r->store, block->payload + block->starts[i], length, err);
        if (status == LEAT_LIMIT || r->queue.count >= ITEMS_MAX)
            return leat_fail(err, LEAT_LIMIT,
                             "%s: more than can be ordered in memory (%zu bytes or %zu records); feed it in parts, or "
                             "in the order of the file",
                             r->file.path, LEAT_FEED_SORT_BYTES_MAX, ITEMS_MAX);
        if (status != LEAT_OK) return status;
        int64_t delay = r->options->shuffle_us > 0
                            ? (int64_t)leat_random_below(&r->random, (uint64_t)r->options->shuffle_us + 1)
                            : 0;
        item.due = add_clamped(item.event_us, delay);
        push(&r->queue, item);
        if (!draw_second(r)) continue;
        item.due = add_clamped(item.due, 1 + (int64_t)leat_random_below(&r->random, within));
        item.second = true;
        push(&r->queue, item);
    }
    return LEAT_OK;
}

static enum leat_status deliver_sorted(struct run *r, struct leat_error *err) {
    struct items *q = &r->queue;
    /* Records before the first readable event time go with it. */
    if (q->count > 1) qsort(q->items, q->count, sizeof *q->items, compare_items);
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < q->count && status == LEAT_OK; i++)
        status = deliver(r, &q->items[i], r->store.data + q->items[i].at, err);
    return status;
}

/* ---- by file ---- */

static void sift_up(struct items *q, size_t i) {
    for (; i > 0 && comes_before(&q->items[i], &q->items[(i - 1) / 2]); i = (i - 1) / 2) {
        struct item swapped = q->items[i];
        q->items[i] = q->items[(i - 1) / 2];
        q->items[(i - 1) / 2] = swapped;
    }
}

static struct item pop(struct items *q) {
    struct item top = q->items[0], last = q->items[--q->count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < q->count; i = child) {
        if (child + 1 < q->count && comes_before(&q->items[child + 1], &q->items[child])) child++;
        if (!comes_before(&q->items[child], &last)) break;
        q->items[i] = q->items[child];
    }
    if (q->count) q->items[i] = last;
    return top;
}

/* Second deliveries due before `due`. */
static enum leat_status deliver_seconds(struct run *r, int64_t due, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    while (status == LEAT_OK && r->queue.count && r->queue.items[0].due < due) {
        struct item item = pop(&r->queue);
        status = deliver(r, &item, item.own, err);
        free(item.own);
    }
    return status;
}

static enum leat_status deliver_block(struct run *r, const struct leat_block *block, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    for (uint32_t i = 0; i < block->record_count && status == LEAT_OK; i++) {
        const char *payload = block->payload + block->starts[i];
        struct item item = {.due = (int64_t)(block->base_offset + i),
                            .line = block->base_offset + i,
                            .event_us = r->decoder ? r->events[i] : INT64_MIN,
                            .length = block->ends[i] - block->starts[i]};
        status = deliver_seconds(r, item.due, err);
        if (status == LEAT_OK) status = deliver(r, &item, payload, err);
        if (status != LEAT_OK || !draw_second(r)) continue;
        item.due += 1 + (int64_t)leat_random_below(&r->random, REDELIVER_WITHIN_RECORDS);
        item.second = true;
        item.own = leat_alloc((size_t)item.length + 1);
        memcpy(item.own, payload, item.length);
        push(&r->queue, item);
        sift_up(&r->queue, r->queue.count - 1);
    }
    return status;
}

/* ---- the run ---- */

/* How the table spells the file: as the source does, if it fits the source's path. */
static enum leat_status spell(struct run *r, const char *path, struct leat_error *err) {
    struct leat_glob glob;
    struct leat_stat st, other;
    struct leat_io *io = r->env->io;
    enum leat_status status = io->ops->stat(io, path, &st, err);
    if (status != LEAT_OK) return status;
    if (st.is_dir) return leat_fail(err, LEAT_INVALID, "%s is a folder; name a file", path);
    r->file.full = leat_strdup(path);
    r->file.seen = st;
    status = leat_glob_list(r->env, r->source.project_dir, r->source.pattern, &glob, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < glob.path_count && !r->file.path; i++) {
        char *full = glob.paths[i][0] == '/' ? leat_strdup(glob.paths[i])
                                             : leat_asprintf("%s/%s", r->source.project_dir, glob.paths[i]);
        if (io->ops->stat(io, full, &other, NULL) == LEAT_OK && other.inode == st.inode &&
            other.size_bytes == st.size_bytes)
            r->file.path = leat_strdup(glob.paths[i]);
        free(full);
    }
    leat_glob_deinit(&glob);
    if (!r->file.path) r->file.path = leat_strdup(path);
    return LEAT_OK;
}

static enum leat_status read_all(struct run *r, struct leat_error *err) {
    struct leat_block block;
    enum leat_status status;
    while ((status = leat_file_read(&r->source, &r->file, READ_BYTES, &block, err)) == LEAT_OK) {
        status = leat_feed_header(r->feed, block.header, block.header_length, err);
        if (status == LEAT_OK) status = find_events(r, &block, err);
        if (status == LEAT_OK)
            status = r->options->by_arrival ? collect(r, &block, err) : deliver_block(r, &block, err);
        if (status != LEAT_OK) return status;
    }
    return status;
}

static void run_deinit(struct run *r) {
    leat_feed_close(r->feed);
    leat_file_end_turn(&r->source);
    for (size_t i = 0; i < r->queue.count; i++)
        free(r->queue.items[i].own);
    free(r->queue.items);
    leat_buffer_deinit(&r->store);
    if (r->decoder) leat_decoder_close(r->decoder);
    if (r->row_records) leat_changes_deinit(&r->rows);
    leat_schema_deinit(&r->dated.schema);
    free(r->row_records);
    free(r->events);
    free(r->file.path);
    free(r->file.full);
    free(r->file.header);
    free(r->source.name);
    free(r->source.pattern);
    free(r->source.project_dir);
    free(r->source.buffer);
    free(r->source.starts);
    free(r->source.ends);
}

enum leat_status leat_feed_run(struct leat_env *env, const struct leat_source *source, const char *project_dir,
                               const char *state_dir, const char *path, const struct leat_feed_options *options,
                               struct leat_feed_progress *out, struct leat_error *err) {
    struct run r = {
        .env = env, .options = options, .last_event_us = INT64_MIN, .store.max_bytes = LEAT_FEED_SORT_BYTES_MAX};
    struct leat_error damage = {.status = LEAT_OK};
    r.source.env = env;
    r.source.project_dir = leat_strdup(project_dir);
    r.source.starts = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *r.source.starts);
    r.source.ends = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *r.source.ends);
    r.progress.event_us = INT64_MIN;
    leat_random_seed(&r.random, options->seed);
    enum leat_status status = leat_file_read_options(&r.source, source, err);
    r.source.once = true;
    if (status == LEAT_OK) status = open_decoder(&r, source, err);
    if (status == LEAT_OK) status = spell(&r, path, err);
    if (status == LEAT_OK) status = leat_feed_open(env, state_dir, &r.feed, err);
    if (status == LEAT_OK) status = leat_feed_file(r.feed, r.file.path, path, &r.file.partition, err);
    if (status != LEAT_OK) goto out;
    status = read_all(&r, err);
    if (status != LEAT_END && err->bad_data) { /* what came before the damage is fed */
        damage = *err;
        status = LEAT_END;
    }
    if (status == LEAT_END)
        status = options->by_arrival ? deliver_sorted(&r, err) : deliver_seconds(&r, INT64_MAX, err);
    if (status == LEAT_OK) status = leat_feed_sync(r.feed, err);
    if (status == LEAT_OK) status = tell(&r, err);
    if (status == LEAT_OK && damage.status != LEAT_OK) {
        *err = damage;
        status = damage.status;
    }
out:
    if (out) *out = r.progress;
    run_deinit(&r);
    return status;
}
