/* Reading a log: one partition's blocks of a range of offsets, segment by segment. Format: log.c. */
#include "log/internal.h"

#include <stdlib.h>

struct leat_log_cursor {
    struct leat_log *log;
    uint32_t partition;
    uint64_t next, to; /* offsets still to give */
    uint64_t sequence; /* segment being read; 0: none yet */
    struct leat_block_reader reader;
    struct leat_block_index index;
};

static uint64_t next_offset_in(const struct leat_ends *ends, uint32_t partition) {
    const struct leat_log_end *end = leat_ends_find(ends, partition);
    return end ? end->next_offset : 0;
}

enum leat_status leat_log_read(struct leat_log *log, uint32_t partition, uint64_t from, uint64_t to,
                               struct leat_log_cursor **out, struct leat_error *err) {
    *out = NULL;
    enum leat_status status = leat_log_alive(log, err);
    if (status != LEAT_OK) return status;
    uint64_t end = next_offset_in(&log->durable, partition);
    if (to > end) to = end;
    uint64_t first = leat_log_first_offset(log, partition);
    if (from < to && from < first)
        return leat_fail(err, LEAT_NOT_FOUND, "log %s: partition %u: offset %llu was trimmed, the oldest kept is %llu",
                         log->dir, partition, (unsigned long long)from, (unsigned long long)first);
    struct leat_log_cursor *cursor = leat_alloc(sizeof *cursor);
    cursor->log = log;
    cursor->partition = partition;
    cursor->next = from;
    cursor->to = to;
    *out = cursor;
    return LEAT_OK;
}

void leat_log_cursor_close(struct leat_log_cursor *cursor) {
    if (!cursor) return;
    leat_reader_deinit(&cursor->reader);
    leat_block_index_deinit(&cursor->index);
    free(cursor);
}

/* Notes where blocks stand, so that later ranges in the segment are found without hopping from its start. */
static enum leat_status mark_all(struct leat_segment *s, struct leat_block_reader *reader, struct leat_error *err) {
    struct leat_block_head head;
    enum leat_status status;
    uint64_t at = reader->at;
    reader->at = leat_segment_head_bytes(s->starts.count);
    while ((status = leat_reader_head(reader, &head, err)) == LEAT_OK) {
        leat_segment_mark(s, head.partition, head.base_offset, reader->at);
        leat_reader_skip(reader, &head);
    }
    reader->at = at;
    s->marked = status == LEAT_END;
    return status == LEAT_END ? LEAT_OK : status;
}

/* Opens the segment that holds offset `next`, at or before its block. */
static enum leat_status open_segment_of(struct leat_log_cursor *c, struct leat_error *err) {
    struct leat_log *log = c->log;
    struct leat_segment *s = NULL;
    for (size_t i = 0; i < log->segment_count && !s; i++)
        if (next_offset_in(leat_log_ends_of(log, i), c->partition) > c->next) s = &log->segments[i];
    if (!s || next_offset_in(&s->starts, c->partition) > c->next)
        return leat_fail(err, LEAT_NOT_FOUND, "log %s: partition %u: offset %llu was trimmed while it was being read",
                         log->dir, c->partition, (unsigned long long)c->next);
    char *path = leat_segment_path(log->dir, s->sequence);
    enum leat_status status = leat_reader_open(&c->reader, log->env->io, path, s->sequence, 0, s->size_bytes, err);
    if (status == LEAT_OK && !s->marked) {
        status = mark_all(s, &c->reader, err);
        if (status != LEAT_OK) leat_prepend(err, "%s", path);
    }
    free(path);
    if (status != LEAT_OK) return status;
    c->reader.at = leat_segment_seek(s, c->partition, c->next);
    c->sequence = s->sequence;
    return LEAT_OK;
}

/* Does the partition go on at a higher offset where the segment ended? */
static bool pass_over(struct leat_log_cursor *c) {
    const struct leat_log *log = c->log;
    size_t i = 0;
    while (i < log->segment_count && log->segments[i].sequence != c->sequence)
        i++;
    const struct leat_log_end *end = i < log->segment_count ? leat_ends_find(leat_log_ends_of(log, i), c->partition) : NULL;
    if (!end || !end->jumped) return false;
    c->next = end->next_offset;
    leat_reader_close(&c->reader);
    c->sequence = 0;
    return true;
}

static enum leat_status fail_in_segment(struct leat_log_cursor *c, enum leat_status status, struct leat_error *err) {
    char *path = leat_segment_path(c->log->dir, c->sequence);
    leat_prepend(err, "%s", path);
    free(path);
    leat_reader_close(&c->reader);
    c->sequence = 0;
    return status;
}

enum leat_status leat_log_next(struct leat_log_cursor *c, struct leat_block *out, struct leat_error *err) {
    struct leat_block_head head;
    const char *bytes;
    *out = (struct leat_block){0};
    enum leat_status status = leat_log_alive(c->log, err);
    if (status != LEAT_OK) return status;
    while (c->next < c->to) {
        if (!c->sequence) {
            status = open_segment_of(c, err);
            if (status != LEAT_OK) return status;
        }
        status = leat_reader_head(&c->reader, &head, err);
        if (status == LEAT_END) { /* the rest is in a later segment */
            uint64_t done = c->sequence;
            leat_reader_close(&c->reader);
            c->sequence = 0;
            status = open_segment_of(c, err);
            if (status != LEAT_OK) return status;
            if (c->sequence == done && pass_over(c)) continue;
            if (c->sequence == done) {
                leat_fail(err, LEAT_CORRUPT, "partition %u: offset %llu is missing", c->partition,
                          (unsigned long long)c->next);
                return fail_in_segment(c, LEAT_CORRUPT, err);
            }
            continue;
        }
        if (status != LEAT_OK) return fail_in_segment(c, status, err);
        uint64_t end = head.base_offset + head.record_count;
        if (head.partition != c->partition || end <= c->next) {
            leat_reader_skip(&c->reader, &head);
            continue;
        }
        if (head.base_offset > c->next) {
            leat_fail(err, LEAT_CORRUPT, "partition %u: offset %llu is missing", c->partition,
                      (unsigned long long)c->next);
            return fail_in_segment(c, LEAT_CORRUPT, err);
        }
        status = leat_reader_body(&c->reader, &head, &bytes, err);
        if (status != LEAT_OK) return fail_in_segment(c, status, err);
        leat_block_view(bytes, &head, &c->index, out);
        leat_block_trim(out, c->next, c->to);
        c->next = end < c->to ? end : c->to;
        leat_reader_skip(&c->reader, &head);
        return LEAT_OK;
    }
    return LEAT_END;
}
