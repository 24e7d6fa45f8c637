/* Unbounded sources: connector -> log -> chunks. */
#include <stdlib.h>
#include <string.h>

#include "connect/recorded.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/live/live_internal.h"

enum { POLL_BYTES = 16 << 20, POLL_TOTAL_BYTES = 64 << 20 };

static void add_chunk(struct leat_src *src, struct leat_chunk *chunk) {
    if (src->last)
        src->last->next = chunk;
    else
        src->first = chunk;
    src->last = chunk;
    src->chunk_rows += chunk->rows.row_count;
    leat_cursor_set(&src->loaded, chunk->partition, chunk->to);
}

static uint64_t chunk_rows_max(const struct leat_src *src) {
    return 2 * src->engine->max_step_rows + 500000;
}

enum leat_status leat_src_open(struct leat_engine *engine, int index, struct leat_error *err) {
    struct leat_src *src = &engine->sources[index];
    enum leat_status st;
    char *log_dir = NULL, *state_dir = NULL;
    pthread_mutex_init(&src->log_lock, NULL);
    src->engine = engine;
    src->index = index;
    src->def = &engine->project->sources[index];
    if ((st = leat_decoder_open(src->def, &src->decoder, err)) != LEAT_OK) return st;
    if ((st = leat_bronze_open(src, err)) != LEAT_OK) return st;
    if (engine->read_only) return LEAT_OK;
    const struct leat_connector_ops *ops = src->def->recording ? &leat_connector_recorded : leat_connector_of(src->def);
    if (!ops)
        return leat_fail(err, LEAT_UNSUPPORTED, "source \"%s\": no connector \"%s\"", src->def->name, src->def->connector);
    log_dir = leat_asprintf("%s/log/%s", engine->work_dir, src->def->name);
    state_dir = leat_asprintf("%s/connector/%s", engine->work_dir, src->def->name);
    src->dir = state_dir;
    char *schemas = leat_asprintf("%s/schemas", state_dir);
    leat_decoder_use_schemas(src->decoder, engine->env->io, schemas);
    free(schemas);
    if ((st = leat_io_mkdirs(engine->env->io, log_dir, err)) != LEAT_OK) goto out;
    if ((st = leat_io_mkdirs(engine->env->io, state_dir, err)) != LEAT_OK) goto out;
    struct leat_log_options options = {.segment_bytes = (uint64_t)leat_setting_int(engine->project, "segment_size")};
    if ((st = leat_log_open(engine->env, log_dir, &options, &src->log, err)) != LEAT_OK) goto out;
    if ((st = leat_src_follow_bronze(src, ops, state_dir, err)) != LEAT_OK) goto out;
    size_t count;
    const struct leat_log_end *ends = leat_log_ends(src->log, &count);
    for (size_t i = 0; i < count; i++) {
        leat_cursor_set(&src->ends, ends[i].partition, ends[i].next_offset);
        if (ends[i].arrival_us > src->last_arrival_us) src->last_arrival_us = ends[i].arrival_us;
    }
    leat_idle_open(src);
    st = ops->open(engine->env, src->def, engine->project_dir, state_dir, ends, count, &src->connector, err);
    if (st == LEAT_OK) st = leat_src_tell_seen(src, err);
    if (st == LEAT_OK) st = leat_src_tell_places(src, err);
    if (st == LEAT_OK) st = leat_src_tell_recalled(src, err);
out:
    free(log_dir);
    return st;
}

/* Nobody may hold on to a chunk that goes. */
static void forget_passed(struct leat_src *src, const struct leat_chunk *chunk) {
    for (int k = 0; src->engine && k < src->engine->group_count; k++) {
        const struct leat_chunk **passed = &src->engine->groups[k]->passed[src->index];
        if (!chunk || *passed == chunk) *passed = NULL;
    }
}

static void drop_chunks(struct leat_src *src) {
    forget_passed(src, NULL);
    for (struct leat_chunk *c = src->first, *next; c; c = next) {
        next = c->next;
        leat_chunk_free(c);
    }
    src->first = src->last = NULL;
    src->chunk_rows = 0;
}

void leat_src_close(struct leat_src *src) {
    struct leat_error ignored;
    if (src->intake && leat_intake_stop(src, &ignored) != LEAT_OK) leat_log(src->engine->env, LEAT_LOG_WARN, "source %s: %s", src->def->name, ignored.text);
    if (src->engine) pthread_mutex_destroy(&src->log_lock);
    if (src->connector) src->connector->ops->close(src->connector);
    if (src->log) leat_log_close(src->log);
    if (src->decoder) leat_decoder_close(src->decoder);
    if (src->bronze) leat_delta_close(src->bronze);
    if (src->dead) leat_delta_close(src->dead);
    drop_chunks(src);
    leat_schema_deinit(&src->bronze_schema);
    leat_schema_deinit(&src->dead_schema);
    leat_cursors_free(&src->ends);
    leat_cursors_free(&src->loaded);
    leat_cursors_free(&src->begins);
    leat_cursors_free(&src->bronzed);
    leat_cursors_free(&src->deaded);
    leat_cursors_free(&src->grown);
    free(src->dir);
    free(src->quiet);
    *src = (struct leat_src){0};
}

void leat_src_tell_rejected(const struct leat_src *src, const struct leat_chunk *chunk) {
    if (!src->connector->ops->rejected) return;
    for (size_t i = 0; i < chunk->dead_count; i++)
        src->connector->ops->rejected(src->connector, chunk->partition, chunk->dead[i].offset, chunk->dead[i].reason);
}

enum leat_status leat_src_sync(struct leat_src *src, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector->ops;
    enum leat_status st = ops->sync ? ops->sync(src->connector, err) : LEAT_OK;
    if (st == LEAT_OK) st = leat_log_sync(src->log, err);
    if (st == LEAT_OK && ops->synced) ops->synced(src->connector);
    return st;
}

/* Memory is bounded: what does not fit is read from the log when the groups have caught up. */
static bool has_room(const struct leat_src *src, uint32_t partition, uint64_t from) {
    return leat_cursor_get(&src->loaded, partition) == from && src->chunk_rows < chunk_rows_max(src);
}

enum leat_status leat_src_took(struct leat_src *src, uint32_t partition, uint64_t from, uint32_t count, int64_t arrival_us, struct leat_chunk *chunk,
                               struct leat_error *err) {
    bool room = has_room(src, partition, from);
    src->last_arrival_us = arrival_us;
    leat_cursor_set(&src->ends, partition, from + count);
    if (chunk && room)
        add_chunk(src, chunk);
    else
        leat_chunk_free(chunk);
    return leat_idle_record(src, partition, err);
}

/* Takes one block of the connector into the log. END: there is none now. *polled: the connector gave one; what fails then is ours. */
static enum leat_status poll_block(struct leat_src *src, uint64_t *records, size_t *bytes, bool *polled, struct leat_error *err) {
    const struct leat_connector_ops *ops = src->connector->ops;
    struct leat_block block = {0};
    struct leat_chunk *chunk = NULL;
    enum leat_status st = ops->poll(src->connector, POLL_BYTES, &block, err);
    if (!(*polled = st == LEAT_OK)) return st;
    int64_t now = leat_engine_now(src->engine);
    block.arrival_us = now > src->last_arrival_us ? now : src->last_arrival_us;
    st = leat_log_append(src->log, &block, err);
    if (st == LEAT_OK && (ops->rejected || has_room(src, block.partition, block.base_offset)))
        st = leat_chunk_decode(src, src->decoder, &block, &chunk, err);
    free(block.owned);
    if (st != LEAT_OK) return st;
    if (chunk) leat_src_tell_rejected(src, chunk);
    *records += block.record_count;
    *bytes += block.payload_bytes;
    return leat_src_took(src, block.partition, block.base_offset, block.record_count, block.arrival_us, chunk, err);
}

enum leat_status leat_src_poll(struct leat_src *src, uint64_t *records, struct leat_error *err) {
    size_t total_bytes = 0;
    bool caught_up = false;
    enum leat_status st = LEAT_OK;
    if (src->intake) {
        if ((st = leat_intake_take(src->intake, records, &caught_up, err)) != LEAT_OK) return st;
        return leat_idle_polled(src, caught_up, err);
    }
    while (total_bytes < POLL_TOTAL_BYTES && st != LEAT_END) {
        bool polled;
        st = poll_block(src, records, &total_bytes, &polled, err);
        if (st == LEAT_OK || st == LEAT_END) continue;
        if (polled || err->fatal || !(err->bad_data || err->retriable)) return st;
        leat_log(src->engine->env, LEAT_LOG_WARN, "source %s: %s", src->def->name, err->text);
        if (err->retriable) break;
    }
    if (src->connector->ops->finished(src->connector)) src->finished = true;
    return leat_idle_polled(src, st == LEAT_END && src->connector->ops->caught_up(src->connector), err);
}

enum leat_status leat_intakes_start(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++)
        if (!engine->references[s] && engine->sources[s].connector->ops->prompt)
            st = leat_intake_start(&engine->sources[s], chunk_rows_max(&engine->sources[s]) / 2, err);
    return st;
}

enum leat_status leat_intakes_stop(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status first = LEAT_OK;
    for (size_t s = 0; s < engine->project->source_count; s++) {
        struct leat_error problem = {0};
        enum leat_status st = leat_intake_stop(&engine->sources[s], &problem);
        if (st == LEAT_OK || first != LEAT_OK) continue;
        first = st;
        *err = problem;
    }
    return first;
}

static enum leat_status take_chunk(void *context, struct leat_chunk *chunk, struct leat_error *err) {
    (void)err;
    add_chunk(context, chunk);
    return LEAT_OK;
}

static enum leat_status load_from_log(struct leat_src *src, uint32_t partition, uint64_t from, uint64_t to, uint64_t rows_max,
                                      struct leat_error *err) {
    struct leat_log_cursor *cursor;
    struct leat_block block;
    pthread_mutex_lock(&src->log_lock);
    enum leat_status st = leat_log_read(src->log, partition, from, to, &cursor, err);
    if (st != LEAT_OK) goto out;
    while (src->chunk_rows < rows_max && (st = leat_log_next(cursor, &block, err)) == LEAT_OK) {
        struct leat_chunk *chunk;
        if ((st = leat_chunk_decode(src, src->decoder, &block, &chunk, err)) != LEAT_OK) break;
        add_chunk(src, chunk);
    }
    leat_log_cursor_close(cursor);
out:
    pthread_mutex_unlock(&src->log_lock);
    return st == LEAT_END ? LEAT_OK : st;
}

/* Loads the next slice of one partition, from bronze where it is archived, else from the log (rule 14). Bronze decides what a record is: the
 * decoder may be another one by now, and what was decoded, or was a dead letter, stays so (rule 20). What somebody deleted from bronze may
 * still be in the log. */
static enum leat_status load_partition(struct leat_src *src, uint32_t partition, uint64_t to, uint64_t rows_max, struct leat_error *err) {
    enum { BRONZE_SLICE = 500000 };
    uint64_t bronzed = leat_cursor_get(&src->bronzed, partition), next, in_log;
    pthread_mutex_lock(&src->log_lock);
    in_log = leat_log_first_offset(src->log, partition);
    pthread_mutex_unlock(&src->log_lock);
    while ((next = leat_cursor_get(&src->loaded, partition)) < to && src->chunk_rows < rows_max) {
        if (next >= bronzed && next >= in_log) return load_from_log(src, partition, next, to, rows_max, err);
        uint64_t upto = bronzed < to ? bronzed : to;
        if (next >= upto)
            return leat_fail(err, LEAT_CORRUPT, "source \"%s\": records %llu to %llu of partition %u are neither in the log nor in bronze",
                             src->def->name, (unsigned long long)next, (unsigned long long)(in_log < to ? in_log : to), partition);
        if (upto - next > BRONZE_SLICE) upto = next + BRONZE_SLICE;
        enum leat_status st = leat_bronze_read(src, partition, next, upto, take_chunk, src, err);
        if (st == LEAT_CORRUPT && (next = leat_cursor_get(&src->loaded, partition)) >= in_log)
            st = load_from_log(src, partition, next, upto, UINT64_MAX, err);
        if (st == LEAT_OK && leat_cursor_get(&src->loaded, partition) <= next)
            st = leat_fail(err, LEAT_CORRUPT, "source \"%s\": no record of partition %u from offset %llu on can be read", src->def->name, partition, (unsigned long long)next);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

static enum leat_status refill(struct leat_src *src, const struct leat_cursors *upto, uint64_t rows_max, struct leat_error *err) {
    for (size_t i = 0; i < src->ends.count; i++) {
        uint32_t partition = src->ends.items[i].partition;
        uint64_t to = upto ? leat_cursor_get(upto, partition) : src->ends.items[i].next;
        if (leat_cursor_get(&src->loaded, partition) >= to) continue;
        enum leat_status st = load_partition(src, partition, to, rows_max, err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

enum leat_status leat_src_refill_below(struct leat_src *src, const struct leat_cursors *upto, struct leat_error *err) {
    return refill(src, upto, chunk_rows_max(src), err);
}

enum leat_status leat_src_refill(struct leat_src *src, const struct leat_cursors *upto, struct leat_error *err) {
    /* Chunks that only bronze still needs must not keep the groups from reading on. */
    if (src->chunk_rows >= chunk_rows_max(src) && !src->engine->replaying) {
        enum leat_status st = leat_bronze_flush(src, err);
        if (st != LEAT_OK) return st;
        leat_src_release(src);
    }
    return refill(src, upto, upto ? UINT64_MAX : chunk_rows_max(src), err);
}

/* What a suspended table has still to read is read from the log or bronze when it resumes. */
static bool reads_chunks(const struct leat_group *g, const struct leat_src *src) {
    return g->reads[src->index] && (!g->suspended || g->rebuild);
}

void leat_src_rewind(struct leat_src *src) {
    const struct leat_engine *engine = src->engine;
    drop_chunks(src);
    leat_cursors_copy(&src->loaded, &src->bronzed);
    for (size_t i = 0; i < src->ends.count; i++) {
        uint32_t partition = src->ends.items[i].partition;
        uint64_t lowest = leat_cursor_get(&src->bronzed, partition);
        for (int g = 0; g < engine->group_count; g++) {
            uint64_t next = leat_cursor_get(&engine->groups[g]->cursors[src->index], partition);
            if (reads_chunks(engine->groups[g], src) && next < lowest) lowest = next;
        }
        leat_cursor_set(&src->loaded, partition, lowest);
    }
}

static bool chunk_needed(const struct leat_src *src, const struct leat_chunk *chunk) {
    const struct leat_engine *engine = src->engine;
    if (leat_cursor_get(&src->bronzed, chunk->partition) < chunk->to) return true;
    for (int g = 0; g < engine->group_count; g++) {
        const struct leat_group *group = engine->groups[g];
        if (!reads_chunks(group, src)) continue;
        if (leat_cursor_get(&group->cursors[src->index], chunk->partition) < chunk->to) return true;
    }
    return false;
}

void leat_src_release(struct leat_src *src) {
    while (src->first && !chunk_needed(src, src->first)) {
        struct leat_chunk *chunk = src->first;
        src->first = chunk->next;
        if (!src->first) src->last = NULL;
        src->chunk_rows -= chunk->rows.row_count;
        forget_passed(src, chunk);
        leat_chunk_free(chunk);
    }
}
