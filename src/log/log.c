/* The durable log of one source: opening, appending, syncing, trimming. Reading is in cursor.c, blocks in block.c,
 * segment heads and seeking in segment.c.
 *
 * Byte format (little-endian). A log is a directory of segments NNNNNNNNNNNNNNNNNNNN.log (20 decimal digits: the
 * sequence number, without gaps). A segment is a head and then blocks; everything is a multiple of 8 bytes.
 *
 *   segment head                          block
 *    0  8  "LEATLOG1"                      0  4  "BLK1"
 *    8  8  XXH3-64 of all after it         4  2  version (1)
 *   16  4  version (1)                     6  2  flags: 1 = identities
 *   20  4  number of ends                  8  8  XXH3-64 of all after it, xor (version << 16 | flags)
 *   24  8  sequence number                16  8  sequence number of the segment
 *   32  8  log id, equal in all segments  24  8  position of this block in the segment
 *   40  8  valid bytes of the segment      32  8  synced: bytes of the segment durable before this block was written
 *          before it                      40  8  offset of the first record
 *   48 32  each end: partition (4), 0 (4), 48  8  position: the connector's resume point after the block
 *          next offset (8), position (8),
 *          arrival (8, signed)
 *                                         56  8  arrival, microseconds since the epoch, signed
 *                                         64  4  partition
 *                                         68  4  records
 *                                         72  4  payload bytes
 *                                         76  4  header text bytes
 *                                         80     identities, 8 each (if flagged)
 *                                                record lengths, 4 each, header text,
 *                                                payload (each record and a line feed),
 *                                                zeros up to a multiple of 8
 *
 * Validity. A segment starts with the ends of all partitions at that moment, so deleting older segments loses no
 * position, and the next segment's ends say where this one's records end. Blocks count if the checksum holds and they
 * stand in their own place.
 *
 * (An end's second word is 1 where its partition goes on at a higher offset than the segment before ended with:
 * leat_log_jump. Readers of before that word find an offset missing, CORRUPT.)
 *
 * Writing. One write and one fdatasync per sync; a new segment's head goes in the same write as its first blocks, the
 * directory is synced after it, and only then is anything acknowledged. A segment is begun only when the one before is
 * durable to its end.
 *
 * Opening. Only the last write can be incomplete. So in the last segment everything after the last valid block is cut
 * off, unless a valid block further on says that the place had been durable: that is damage, CORRUPT. So is an invalid
 * block anywhere else, found when it is read. (Damage of the last write of a log after it was acknowledged looks like a
 * write cut short and is cut; whoever recorded that these records existed, as the journal does, notices.) A last
 * segment without a valid head was never acknowledged and is removed. What is left of the last write may be in memory
 * alone: after a failed fsync the kernel shows the bytes but will not write them. So before it counts it is written
 * once more, to a new file: a small segment as a whole, under its own name; of a larger one the last write, as the next
 * segment. The old bytes are then behind the end that the next segment states. */
#include "log/internal.h"

#include <stdlib.h>
#include <string.h>

#define PENDING_MAX (2 * LEAT_BLOCK_MAX) /* beyond it append syncs by itself */
#define REWRITE_BYTES (4 * LEAT_MIB)     /* a last segment up to this size is written anew as a whole */
#define PENDING_KEPT LEAT_MIB            /* memory a quiet log keeps between syncs ... */
#define SMALL_WRITES 64                  /* ... after so many small ones */
#define PAGE_BYTES 4096
#define ROOM_BYTES (LEAT_BLOCK_MAX + 13 * LEAT_BLOCK_RECORDS_MAX + LEAT_RECORD_BYTES_MAX + 4 * LEAT_MIB) /* the largest block behind a segment's head */

_Static_assert(ROOM_BYTES >= PENDING_MAX + LEAT_MIB, "what append lets wait has room");

enum leat_status leat_log_alive(const struct leat_log *log, struct leat_error *err) {
    if (!log->failed) return LEAT_OK;
    leat_fail(err, LEAT_IO, "log %s: closed by a failed sync; restart leat to recover from what is durable", log->dir);
    if (err) err->fatal = true;
    return LEAT_IO;
}

const struct leat_ends *leat_log_ends_of(const struct leat_log *log, size_t index) {
    return index + 1 < log->segment_count ? &log->segments[index + 1].starts : &log->durable;
}

static struct leat_segment *last_segment(struct leat_log *log) {
    return log->segment_count ? &log->segments[log->segment_count - 1] : NULL;
}

static void segments_add(struct leat_log *log, struct leat_segment *moved) {
    if (log->segment_count == log->segment_capacity) {
        log->segment_capacity = log->segment_capacity ? log->segment_capacity * 2 : 8;
        log->segments = leat_realloc(log->segments, log->segment_capacity * sizeof *log->segments);
    }
    log->segments[log->segment_count++] = *moved;
    *moved = (struct leat_segment){0};
}

/* ---- opening ---- */

/* Applies a block's head to ends. False: its offset does not follow. */
static bool ends_advance(struct leat_ends *ends, uint32_t partition, uint64_t base_offset, uint32_t count,
                         uint64_t position, int64_t arrival_us) {
    struct leat_log_end *end = leat_ends_need(ends, partition);
    if (end->next_offset != base_offset) return false;
    end->next_offset += count;
    end->position = position;
    end->arrival_us = arrival_us;
    return true;
}

/* Reads the last segment to the end of what holds: size_bytes, marks and log->durable; *last_write_at: where the last
 * write began. */
static enum leat_status scan_last(struct leat_log *log, struct leat_segment *s, uint64_t file_bytes, const char *path,
                                  uint64_t *last_write_at, struct leat_error *err) {
    *last_write_at = 0;
    struct leat_block_reader reader = {0};
    struct leat_block_head head;
    const char *bytes;
    leat_ends_copy(&log->durable, &s->starts);
    leat_ends_settle(&log->durable);
    leat_ends_copy(&s->last_write_ends, &log->durable);
    enum leat_status status = leat_reader_open(&reader, log->env->io, path, s->sequence,
                                               leat_segment_head_bytes(s->starts.count), file_bytes, err);
    if (status != LEAT_OK) goto out;
    for (;;) {
        status = leat_reader_head(&reader, &head, err);
        if (status == LEAT_OK) status = leat_reader_body(&reader, &head, &bytes, err);
        if (status != LEAT_OK) break;
        if (head.synced_bytes != *last_write_at) {
            *last_write_at = head.synced_bytes;
            leat_ends_copy(&s->last_write_ends, &log->durable);
        }
        if (!ends_advance(&log->durable, head.partition, head.base_offset, head.record_count, head.position,
                          head.arrival_us)) {
            status = leat_fail(err, LEAT_CORRUPT,
                               "%s: byte %llu: partition %u: a block starts at offset %llu out of sequence", path,
                               (unsigned long long)reader.at, head.partition, (unsigned long long)head.base_offset);
            goto out;
        }
        leat_segment_mark(s, head.partition, head.base_offset, reader.at);
        leat_reader_skip(&reader, &head);
    }
    s->size_bytes = reader.at;
    s->marked = true;
    if (status == LEAT_END) status = LEAT_OK;
    if (status != LEAT_CORRUPT) goto out;
    bool damage = false;
    struct leat_error scan_err;
    status = leat_reader_durable_beyond(&reader, s->size_bytes, &damage, &scan_err);
    if (status != LEAT_OK)
        *err = scan_err;
    else if (damage)
        status = leat_fail(err, LEAT_CORRUPT, "damaged inside: %s", err->text);
    if (status != LEAT_OK) leat_prepend(err, "%s", path);
out:
    leat_reader_deinit(&reader);
    return status;
}

/* Encodes the blocks of the last write (bytes: the segment's from next->before_bytes on) for their place in `next`. */
static enum leat_status move_last_write(struct leat_log *log, const struct leat_segment *s, struct leat_segment *next,
                                        const char *bytes, struct leat_buffer *out, struct leat_error *err) {
    struct leat_block_index index = {0};
    struct leat_block_head head;
    struct leat_block block;
    leat_ends_copy(&next->starts, &s->last_write_ends);
    enum leat_status status = leat_segment_put_head(next, log->log_id, out, err);
    for (uint64_t at = next->before_bytes; at < s->size_bytes && status == LEAT_OK; at += head.total_bytes) {
        struct leat_block_place place = {.file = next->sequence, .at = out->length};
        if (!leat_block_read_head(bytes + (at - next->before_bytes), s->sequence, at,
                                  &head)) { /* it was valid a moment ago */
            status = leat_fail(err, LEAT_CORRUPT, "log %s: segment %llu changed while it was opened", log->dir,
                               (unsigned long long)s->sequence);
            break;
        }
        leat_block_view(bytes + (at - next->before_bytes), &head, &index, &block);
        size_t length = leat_block_encoded_bytes(&block);
        status = leat_buffer_reserve(out, length, err);
        if (status != LEAT_OK) break;
        leat_block_encode(&block, &place, out->data + out->length);
        leat_segment_mark(next, block.partition, block.base_offset, place.at);
        out->length += length;
    }
    leat_block_index_deinit(&index);
    return status;
}

static enum leat_status read_range(struct leat_io *io, const char *path, uint64_t from, uint64_t to,
                                   struct leat_buffer *out, struct leat_error *err) {
    struct leat_file *file = NULL;
    size_t got = 0, want = (size_t)(to - from);
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &file, err);
    if (status != LEAT_OK) return status;
    status = leat_buffer_reserve(out, want + LEAT_PAYLOAD_SLACK, err);
    if (status == LEAT_OK) status = io->ops->read_at(file, from, out->data, want, &got, err);
    if (status == LEAT_OK && got < want)
        status = leat_fail(err, LEAT_CORRUPT, "%s: became shorter while it was opened", path);
    out->length = got;
    io->ops->close(file);
    return status;
}

/* Puts what of the last segment may not be on the disk into pages that certainly are dirty, and syncs those. A small
 * segment is written anew in its place; of a large one only the last write goes into a new segment, and the old bytes
 * stay unused behind its end. */
static enum leat_status settle_last(struct leat_log *log, struct leat_segment *s, uint64_t last_write_at,
                                    struct leat_error *err) {
    struct leat_io *io = log->env->io;
    struct leat_buffer bytes = {0}, moved = {0};
    struct leat_segment next = {.sequence = s->sequence + 1, .before_bytes = last_write_at, .marked = true};
    bool in_place = s->size_bytes <= REWRITE_BYTES || last_write_at == 0;
    char *path = leat_segment_path(log->dir, s->sequence), *next_path = leat_segment_path(log->dir, next.sequence);
    enum leat_status status = read_range(io, path, in_place ? 0 : last_write_at, s->size_bytes, &bytes, err);
    if (status == LEAT_OK && in_place) status = leat_io_write_durable(io, path, bytes.data, bytes.length, true, err);
    if (status == LEAT_OK && !in_place) {
        status = move_last_write(log, s, &next, bytes.data, &moved, err);
        if (status == LEAT_OK) status = leat_io_write_durable(io, next_path, moved.data, moved.length, false, err);
        if (status == LEAT_OK) {
            s->size_bytes = last_write_at;
            next.size_bytes = moved.length;
            segments_add(log, s);
            *s = next;
            next = (struct leat_segment){0};
        }
    }
    if (status == LEAT_OK) status = io->ops->open(io, in_place ? path : next_path, LEAT_OPEN_APPEND, &log->file, err);
    leat_segment_deinit(&next);
    leat_buffer_deinit(&bytes);
    leat_buffer_deinit(&moved);
    free(path);
    free(next_path);
    return status;
}

/* The last segment has no valid head: unless a valid block in it shows that the head was durable once, it was never
 * acknowledged. */
static enum leat_status drop_headless(struct leat_log *log, const struct leat_segment *s, uint64_t file_bytes,
                                      const char *path, struct leat_error *err) {
    struct leat_block_reader reader = {0};
    bool damage = false;
    enum leat_status status = leat_reader_open(&reader, log->env->io, path, s->sequence, 0, file_bytes, err);
    if (status == LEAT_OK) status = leat_reader_durable_beyond(&reader, 0, &damage, err);
    if (status == LEAT_OK && damage) status = leat_fail(err, LEAT_CORRUPT, "%s: the segment's head is damaged", path);
    leat_reader_deinit(&reader);
    if (status != LEAT_OK) return status;
    leat_log(log->env, LEAT_LOG_WARN, "log %s: removed, its first write was never acknowledged", path);
    status = log->env->io->ops->unlink(log->env->io, path, err);
    if (status == LEAT_OK) status = log->env->io->ops->sync_dir(log->env->io, log->dir, err);
    return status;
}

static bool ends_reach(const struct leat_ends *later, const struct leat_ends *earlier) {
    for (size_t i = 0; i < earlier->count; i++) {
        const struct leat_log_end *end = leat_ends_find(later, earlier->items[i].partition);
        if (!end || end->next_offset < earlier->items[i].next_offset) return false;
    }
    return true;
}

/* The last segment of which the head holds: to its end, and ready to append. */
static enum leat_status open_last(struct leat_log *log, struct leat_segment *s, struct leat_error *err) {
    struct leat_stat st;
    uint64_t last_write_at = 0;
    char *path = leat_segment_path(log->dir, s->sequence);
    enum leat_status status = log->env->io->ops->stat(log->env->io, path, &st, err);
    if (status == LEAT_OK) status = scan_last(log, s, st.size_bytes, path, &last_write_at, err);
    if (status == LEAT_OK && s->size_bytes < st.size_bytes)
        leat_log(log->env, LEAT_LOG_WARN, "log %s: cut %llu bytes of a write that was never acknowledged", path,
                 (unsigned long long)(st.size_bytes - s->size_bytes));
    if (status == LEAT_OK) status = settle_last(log, s, last_write_at, err);
    if (status == LEAT_OK) segments_add(log, s);
    free(path);
    return status;
}

static enum leat_status check_follows(const struct leat_log *log, struct leat_segment *before,
                                      const struct leat_segment *s, uint64_t log_id, const char *path,
                                      struct leat_error *err) {
    if (log_id != log->log_id || !ends_reach(&s->starts, &before->starts))
        return leat_fail(err, LEAT_CORRUPT, "%s: belongs to another log than the segment before it", path);
    if (before->size_bytes < s->before_bytes)
        return leat_fail(err, LEAT_CORRUPT, "log %s: segment %llu is cut: %llu bytes, not %llu", log->dir,
                         (unsigned long long)before->sequence, (unsigned long long)before->size_bytes,
                         (unsigned long long)s->before_bytes);
    before->size_bytes = s->before_bytes;
    return LEAT_OK;
}

static enum leat_status open_segment(struct leat_log *log, uint64_t sequence, bool is_last, struct leat_error *err) {
    struct leat_segment s = {.sequence = sequence}, *before = last_segment(log);
    char *path = leat_segment_path(log->dir, sequence);
    struct leat_stat st;
    uint64_t log_id = 0;
    enum leat_status status = LEAT_OK;
    if (before && sequence != before->sequence + 1)
        status = leat_fail(err, LEAT_CORRUPT, "log %s: segment %llu is missing", log->dir,
                           (unsigned long long)before->sequence + 1);
    if (status == LEAT_OK) status = log->env->io->ops->stat(log->env->io, path, &st, err);
    if (status == LEAT_OK) status = leat_segment_read_head(&s, log->env->io, path, &log_id, err);
    if (status == LEAT_END && is_last) {
        status = drop_headless(log, &s, st.size_bytes, path, err);
        if (status != LEAT_OK || !before) goto out;
        leat_segment_deinit(&s); /* then the one before is the last */
        s = *before;
        log->segment_count--;
    } else if (status == LEAT_END) {
        status = leat_fail(err, LEAT_CORRUPT, "%s: the segment's head is damaged", path);
        goto out;
    } else {
        if (status == LEAT_OK && before) status = check_follows(log, before, &s, log_id, path, err);
        if (status != LEAT_OK) goto out;
        log->log_id = log_id;
        s.size_bytes = st.size_bytes;
    }
    if (is_last)
        status = open_last(log, &s, err);
    else
        segments_add(log, &s);
out:
    leat_segment_deinit(&s);
    free(path);
    return status;
}

static void remove_temp(struct leat_log *log, const char *name) {
    struct leat_error ignored; /* it only takes space */
    char *path = leat_asprintf("%s/%s", log->dir, name);
    log->env->io->ops->unlink(log->env->io, path, &ignored);
    free(path);
}

enum leat_status leat_log_open(struct leat_env *env, const char *dir, const struct leat_log_options *options,
                               struct leat_log **out, struct leat_error *err) {
    char **names = NULL;
    size_t name_count = 0;
    uint64_t *sequences = NULL;
    size_t count = 0;
    struct leat_log *log = leat_alloc(sizeof *log);
    *out = NULL;
    log->env = env;
    log->dir = leat_strdup(dir);
    log->segment_bytes = options && options->segment_bytes ? options->segment_bytes : LEAT_SEGMENT_BYTES;
    enum leat_status status = leat_io_mkdirs(env->io, dir, err);
    if (status == LEAT_OK) status = leat_io_list_sorted(env->io, dir, &names, &name_count, err);
    if (status != LEAT_OK) goto out;
    sequences = leat_alloc((name_count + 1) * sizeof *sequences);
    for (size_t i = 0; i < name_count; i++) {
        if (leat_segment_parse_name(names[i], &sequences[count]))
            count++;
        else if (leat_io_is_temp_name(names[i]))
            remove_temp(log, names[i]);
    }
    for (size_t i = 0; i < count && status == LEAT_OK; i++)
        status = open_segment(log, sequences[i], i + 1 == count, err);
    if (status != LEAT_OK) goto out;
    leat_ends_copy(&log->appended, &log->durable);
    if (!log->segment_count) log->log_id = leat_random_next(&env->random);
    *out = log;
    log = NULL;
out:
    leat_log_close(log);
    free(sequences);
    leat_names_free(names, name_count);
    return status;
}

void leat_log_rest(struct leat_log *log) {
    if (log->pending.length) return;
    leat_unreserve(log->room, ROOM_BYTES);
    log->room = NULL;
    log->touched_bytes = log->small_writes = 0;
    log->pending = (struct leat_buffer){0};
}

void leat_log_close(struct leat_log *log) {
    if (!log) return;
    if (log->file) log->env->io->ops->close(log->file);
    for (size_t i = 0; i < log->segment_count; i++)
        leat_segment_deinit(&log->segments[i]);
    leat_segment_deinit(&log->next);
    leat_ends_deinit(&log->durable);
    leat_ends_deinit(&log->appended);
    leat_unreserve(log->room, ROOM_BYTES);
    free(log->segments);
    free(log->dir);
    free(log);
}

/* ---- appending ---- */

/* Before the first block of a write: where does it go? */
static enum leat_status begin_write(struct leat_log *log, struct leat_error *err) {
    struct leat_segment *last = last_segment(log);
    log->begins_segment = !last || last->size_bytes >= log->segment_bytes || log->jumped; /* a head can say so */
    size_t in_page = log->begins_segment ? 0 : (size_t)(last->size_bytes % PAGE_BYTES), capacity = ROOM_BYTES - in_page;
    if (!log->room) log->room = leat_reserve(ROOM_BYTES);
    log->pending = (struct leat_buffer){.data = log->room + in_page, .capacity = capacity, .max_bytes = capacity - 1};
    if (!log->begins_segment) return LEAT_OK;
    leat_segment_deinit(&log->next);
    log->next.sequence = last ? last->sequence + 1 : 1;
    log->next.before_bytes = last ? last->size_bytes : 0;
    log->next.marked = true;
    leat_ends_copy(&log->next.starts, &log->durable);
    return leat_segment_put_head(&log->next, log->log_id, &log->pending, err);
}

enum leat_status leat_log_begin(struct leat_log *log, uint32_t partition, uint64_t next_offset, int64_t arrival_us,
                                struct leat_error *err) {
    if (log->segment_count || log->pending.length)
        return leat_fail(err, LEAT_INVALID, "log %s: has records already", log->dir);
    struct leat_ends *ends[2] = {&log->durable, &log->appended};
    for (int i = 0; i < 2; i++) {
        struct leat_log_end *end = leat_ends_need(ends[i], partition);
        end->next_offset = next_offset;
        end->arrival_us = arrival_us;
    }
    return LEAT_OK;
}

enum leat_status leat_log_jump(struct leat_log *log, uint32_t partition, uint64_t next_offset, struct leat_error *err) {
    struct leat_log_end *ends[2] = {leat_ends_need(&log->durable, partition), leat_ends_need(&log->appended, partition)};
    if (log->pending.length || next_offset < ends[0]->next_offset)
        return leat_fail(err, LEAT_INVALID, "log %s: partition %u cannot go on at offset %llu", log->dir, partition,
                         (unsigned long long)next_offset);
    for (int i = 0; i < 2; i++) {
        ends[i]->next_offset = next_offset;
        ends[i]->jumped = true;
    }
    log->jumped = true;
    return LEAT_OK;
}

enum leat_status leat_log_append(struct leat_log *log, const struct leat_block *block, struct leat_error *err) {
    enum leat_status status = leat_log_alive(log, err);
    if (status != LEAT_OK) return status;
    const struct leat_log_end *end = leat_ends_find(&log->appended, block->partition);
    uint64_t expected = end ? end->next_offset : 0;
    if (block->base_offset != expected)
        return leat_fail(err, LEAT_INVALID, "log %s: partition %u goes on at offset %llu, not %llu", log->dir,
                         block->partition, (unsigned long long)expected, (unsigned long long)block->base_offset);
    size_t bytes = leat_block_encoded_bytes(block);
    if (!bytes)
        return leat_fail(err, LEAT_INVALID, "log %s: partition %u: a malformed block", log->dir, block->partition);
    if (log->pending.length && log->pending.length + bytes > PENDING_MAX) {
        status = leat_log_sync(log, err);
        if (status != LEAT_OK) return status;
    }
    bool first = log->pending.length == 0;
    if (first) status = begin_write(log, err);
    if (status == LEAT_OK) status = leat_buffer_reserve(&log->pending, bytes, err);
    if (status != LEAT_OK) {
        if (first) leat_buffer_reset(&log->pending);
        return status;
    }
    struct leat_segment *s = log->begins_segment ? &log->next : last_segment(log);
    struct leat_block_place place = {
        .file = s->sequence, .at = s->size_bytes + log->pending.length, .synced_bytes = s->size_bytes};
    leat_block_encode(block, &place, log->pending.data + log->pending.length);
    leat_segment_mark(s, block->partition, block->base_offset, place.at);
    log->pending.length += bytes;
    ends_advance(&log->appended, block->partition, block->base_offset, block->record_count, block->position,
                 block->arrival_us);
    return LEAT_OK;
}

static enum leat_status fail_for_good(struct leat_log *log, struct leat_error *err) {
    log->failed = true;
    if (err) err->fatal = true;
    return leat_prepend(err, "log %s", log->dir);
}

/* A write that failed half-way leaves bytes behind what is durable; they go, so that the same write can be tried again.
 */
static enum leat_status undo_write(struct leat_log *log, struct leat_error *err) {
    struct leat_io *io = log->env->io;
    struct leat_error undo_err;
    enum leat_status status = err ? err->status : LEAT_IO;
    if (log->begins_segment) {
        char *path = leat_segment_path(log->dir, log->next.sequence);
        if (log->file) io->ops->close(log->file);
        log->file = NULL;
        io->ops->unlink(io, path, &undo_err); /* if it stays, the next try empties it */
        free(path);
    } else if (io->ops->truncate(log->file, last_segment(log)->size_bytes, &undo_err) != LEAT_OK) {
        if (err) leat_prepend(err, "%s after", undo_err.text);
        return fail_for_good(log, err);
    }
    if (err) err->retriable = true;
    if (err) leat_prepend(err, "log %s", log->dir);
    return status;
}

static enum leat_status write_pending(struct leat_log *log, struct leat_error *err) {
    struct leat_io *io = log->env->io;
    enum leat_status status = LEAT_OK;
    if (log->begins_segment) {
        char *path = leat_segment_path(log->dir, log->next.sequence);
        if (log->file) io->ops->close(log->file);
        log->file = NULL;
        status = io->ops->open(io, path, LEAT_OPEN_TRUNCATE, &log->file, err);
        free(path);
    }
    if (status == LEAT_OK) status = io->ops->write(log->file, log->pending.data, log->pending.length, err);
    if (status != LEAT_OK) return undo_write(log, err);
    status = io->ops->sync(log->file, err);
    if (status == LEAT_OK && log->begins_segment) status = io->ops->sync_dir(io, log->dir, err);
    return status == LEAT_OK ? LEAT_OK : fail_for_good(log, err);
}

enum leat_status leat_log_sync(struct leat_log *log, struct leat_error *err) {
    struct leat_error own;
    if (!err) err = &own;
    enum leat_status status = leat_log_alive(log, err);
    if (status != LEAT_OK || log->pending.length == 0) return status;
    status = write_pending(log, err);
    if (status != LEAT_OK) return status;
    if (log->begins_segment) {
        segments_add(log, &log->next);
        leat_ends_settle(&log->appended);
        log->jumped = false;
    }
    log->begins_segment = false;
    last_segment(log)->size_bytes += log->pending.length;
    if (log->pending.length > log->touched_bytes) log->touched_bytes = log->pending.length;
    bool small = log->touched_bytes > PENDING_KEPT && log->pending.length < log->touched_bytes / 8;
    log->small_writes = small ? log->small_writes + 1 : 0;
    leat_buffer_reset(&log->pending);
    if (log->small_writes == SMALL_WRITES) leat_log_rest(log);
    leat_ends_copy(&log->durable, &log->appended);
    return LEAT_OK;
}

/* ---- ends, trimming ---- */

const struct leat_log_end *leat_log_ends(const struct leat_log *log, size_t *count) {
    *count = log->durable.count;
    return log->durable.items;
}

const struct leat_log_end *leat_log_oldest(const struct leat_log *log, uint32_t partition) {
    return leat_ends_find(log->segment_count ? &log->segments[0].starts : &log->durable, partition);
}

uint64_t leat_log_first_offset(const struct leat_log *log, uint32_t partition) {
    const struct leat_log_end *start = leat_log_oldest(log, partition);
    return start ? start->next_offset : 0;
}

const struct leat_log_end *leat_log_find(const struct leat_log *log, uint32_t partition, int64_t arrival_us) {
    const struct leat_log_end *start = leat_ends_find(&log->durable, partition);
    if (start && start->arrival_us <= arrival_us) return start;
    for (size_t i = log->segment_count; i > 0; i--) {
        start = leat_ends_find(&log->segments[i - 1].starts, partition);
        if (start && start->arrival_us <= arrival_us) return start;
    }
    return NULL;
}

static uint64_t floor_of(const struct leat_log_end *floors, size_t count, uint32_t partition) {
    for (size_t i = 0; i < count; i++)
        if (floors[i].partition == partition) return floors[i].next_offset;
    return 0; /* not named: everything is still needed */
}

/* Is every record of the oldest segment below its floor? */
static bool oldest_is_free(const struct leat_log *log, const struct leat_log_end *floors, size_t count) {
    const struct leat_ends *starts = &log->segments[0].starts, *ends = leat_log_ends_of(log, 0);
    for (size_t i = 0; i < ends->count; i++) {
        const struct leat_log_end *start = leat_ends_find(starts, ends->items[i].partition);
        if (ends->items[i].next_offset == (start ? start->next_offset : 0)) continue;
        if (floor_of(floors, count, ends->items[i].partition) < ends->items[i].next_offset) return false;
    }
    return true;
}

static enum leat_status drop_oldest(struct leat_log *log, struct leat_error *err) {
    struct leat_io *io = log->env->io;
    char *path = leat_segment_path(log->dir, log->segments[0].sequence);
    enum leat_status status = io->ops->unlink(io, path, err);
    free(path);
    if (status != LEAT_OK && status != LEAT_NOT_FOUND) return status;
    /* One by one: were a later name gone and an earlier one not, the log would have a hole. */
    status = io->ops->sync_dir(io, log->dir, err);
    if (status != LEAT_OK) return fail_for_good(log, err);
    leat_segment_deinit(&log->segments[0]);
    log->segment_count--;
    memmove(log->segments, log->segments + 1, log->segment_count * sizeof *log->segments);
    return LEAT_OK;
}

enum leat_status leat_log_trim(struct leat_log *log, const struct leat_log_end *floors, size_t count,
                               struct leat_error *err) {
    enum leat_status status = leat_log_alive(log, err);
    while (status == LEAT_OK && log->segment_count > 1 && oldest_is_free(log, floors, count))
        status = drop_oldest(log, err);
    return status;
}

enum leat_status leat_log_trim_to(struct leat_log *log, uint64_t bytes, struct leat_error *err) {
    enum leat_status status = leat_log_alive(log, err);
    while (status == LEAT_OK && log->segment_count > 1 && leat_log_size_bytes(log) > bytes)
        status = drop_oldest(log, err);
    return status;
}

uint64_t leat_log_size_bytes(const struct leat_log *log) {
    uint64_t sum = 0;
    for (size_t i = 0; i < log->segment_count; i++)
        sum += log->segments[i].size_bytes;
    return sum;
}
