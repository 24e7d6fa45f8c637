/* Segment heads, seek marks and the block reader; format: log.c. */
#include "log/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC "LEATLOG1"
#define VERSION 1
#define CHECKED_FROM 16
#define ENDS_MAX ((size_t)1 << 22)
#define WINDOW_BYTES (256 * LEAT_KIB)
#define NAME_DIGITS 20

struct disk_head {
    char magic[8];
    uint64_t checksum; /* of everything after it, ends included */
    uint32_t version, end_count;
    uint64_t sequence, log_id, before_bytes;
};
_Static_assert(sizeof(struct disk_head) == LEAT_SEGMENT_HEAD_BYTES, "no padding in the head");
struct disk_end {
    uint32_t partition, jumped;
    uint64_t next_offset, position;
    int64_t arrival_us;
};
_Static_assert(sizeof(struct disk_end) == 32, "no padding in an end");

/* ---- ends ---- */

static size_t ends_position(const struct leat_ends *e, uint32_t partition) {
    size_t low = 0, high = e->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (e->items[middle].partition < partition)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct leat_log_end *leat_ends_find(const struct leat_ends *e, uint32_t partition) {
    size_t i = ends_position(e, partition);
    return i < e->count && e->items[i].partition == partition ? &e->items[i] : NULL;
}

struct leat_log_end *leat_ends_need(struct leat_ends *e, uint32_t partition) {
    size_t i = ends_position(e, partition);
    if (i < e->count && e->items[i].partition == partition) return &e->items[i];
    if (e->count == e->capacity) {
        e->capacity = e->capacity ? e->capacity * 2 : 8;
        e->items = leat_realloc(e->items, e->capacity * sizeof *e->items);
    }
    memmove(e->items + i + 1, e->items + i, (e->count - i) * sizeof *e->items);
    e->count++;
    e->items[i] = (struct leat_log_end){.partition = partition};
    return &e->items[i];
}

void leat_ends_copy(struct leat_ends *to, const struct leat_ends *from) {
    if (to->capacity < from->count) {
        to->capacity = from->count;
        to->items = leat_realloc(to->items, to->capacity * sizeof *to->items);
    }
    if (from->count) memcpy(to->items, from->items, from->count * sizeof *to->items);
    to->count = from->count;
}

void leat_ends_settle(struct leat_ends *e) {
    for (size_t i = 0; i < e->count; i++)
        e->items[i].jumped = false;
}

void leat_ends_deinit(struct leat_ends *e) {
    free(e->items);
    *e = (struct leat_ends){0};
}

/* ---- names and heads ---- */

void leat_segment_deinit(struct leat_segment *s) {
    leat_ends_deinit(&s->starts);
    leat_ends_deinit(&s->last_write_ends);
    free(s->marks);
    *s = (struct leat_segment){0};
}

char *leat_segment_path(const char *dir, uint64_t sequence) {
    return leat_asprintf("%s/%0*llu.log", dir, NAME_DIGITS, (unsigned long long)sequence);
}

bool leat_segment_parse_name(const char *name, uint64_t *sequence) {
    uint64_t value = 0;
    if (strlen(name) != NAME_DIGITS + 4 || strcmp(name + NAME_DIGITS, ".log") != 0) return false;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') return false;
        if (value > (UINT64_MAX - 9) / 10) return false;
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    *sequence = value;
    return true;
}

size_t leat_segment_head_bytes(size_t end_count) {
    return sizeof(struct disk_head) + end_count * sizeof(struct disk_end);
}

enum leat_status leat_segment_put_head(const struct leat_segment *s, uint64_t log_id, struct leat_buffer *out,
                                       struct leat_error *err) {
    size_t bytes = leat_segment_head_bytes(s->starts.count);
    enum leat_status status = leat_buffer_reserve(out, bytes, err);
    if (status != LEAT_OK) return status;
    char *to = out->data + out->length;
    struct disk_head head = {.version = VERSION,
                             .end_count = (uint32_t)s->starts.count,
                             .sequence = s->sequence,
                             .log_id = log_id,
                             .before_bytes = s->before_bytes};
    memcpy(head.magic, MAGIC, sizeof head.magic);
    for (size_t i = 0; i < s->starts.count; i++) {
        const struct leat_log_end *e = &s->starts.items[i];
        struct disk_end end = {.partition = e->partition,
                               .jumped = e->jumped,
                               .next_offset = e->next_offset,
                               .position = e->position,
                               .arrival_us = e->arrival_us};
        memcpy(to + sizeof head + i * sizeof end, &end, sizeof end);
    }
    memcpy(to, &head, sizeof head);
    head.checksum = XXH3_64bits(to + CHECKED_FROM, bytes - CHECKED_FROM);
    memcpy(to, &head, sizeof head);
    out->length += bytes;
    return LEAT_OK;
}

static bool ends_load(struct leat_ends *ends, const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct disk_end end;
        memcpy(&end, bytes + i * sizeof end, sizeof end);
        if (i > 0 && end.partition <= ends->items[i - 1].partition) return false;
        struct leat_log_end *e = leat_ends_need(ends, end.partition);
        *e = (struct leat_log_end){end.partition, end.next_offset, end.position, end.arrival_us, end.jumped != 0};
    }
    return true;
}

enum leat_status leat_segment_read_head(struct leat_segment *s, struct leat_io *io, const char *path, uint64_t *log_id,
                                        struct leat_error *err) {
    struct disk_head head;
    struct leat_buffer bytes = {0};
    struct leat_file *file = NULL;
    size_t got = 0;
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &file, err);
    if (status != LEAT_OK) return status;
    status = io->ops->read_at(file, 0, &head, sizeof head, &got, err);
    if (status != LEAT_OK) goto out;
    status = LEAT_END;
    if (got < sizeof head || memcmp(head.magic, MAGIC, sizeof head.magic) != 0 || head.version < VERSION ||
        head.sequence != s->sequence || head.end_count > ENDS_MAX)
        goto out;
    size_t need = leat_segment_head_bytes(head.end_count);
    status = leat_buffer_reserve(&bytes, need, err);
    if (status == LEAT_OK) status = io->ops->read_at(file, 0, bytes.data, need, &got, err);
    if (status != LEAT_OK) goto out;
    if (got < need || XXH3_64bits(bytes.data + CHECKED_FROM, need - CHECKED_FROM) != head.checksum ||
        !ends_load(&s->starts, bytes.data + sizeof head, head.end_count))
        status = LEAT_END;
    else if (head.version > VERSION) /* a valid head: no write that was cut short */
        status = leat_fail(err, LEAT_UNSUPPORTED, "%s: of a newer leat (version %u of the log's format)", path, head.version);
    *log_id = head.log_id;
    s->before_bytes = head.before_bytes;
out:
    if (status == LEAT_END) leat_fail(err, LEAT_END, "%s: no valid segment head", path);
    leat_buffer_deinit(&bytes);
    io->ops->close(file);
    return status;
}

/* ---- marks ---- */

void leat_segment_mark(struct leat_segment *s, uint32_t partition, uint64_t offset, uint64_t at) {
    for (size_t i = s->mark_count; i > 0; i--) {
        const struct leat_mark *m = &s->marks[i - 1];
        if (at - m->at >= LEAT_SEGMENT_MARK_BYTES) break;
        if (m->partition == partition) return;
    }
    if (s->mark_count == s->mark_capacity) {
        s->mark_capacity = s->mark_capacity ? s->mark_capacity * 2 : 64;
        s->marks = leat_realloc(s->marks, s->mark_capacity * sizeof *s->marks);
    }
    s->marks[s->mark_count++] = (struct leat_mark){.at = at, .offset = offset, .partition = partition};
}

uint64_t leat_segment_seek(const struct leat_segment *s, uint32_t partition, uint64_t offset) {
    for (size_t i = s->mark_count; i > 0; i--) {
        const struct leat_mark *m = &s->marks[i - 1];
        if (m->partition == partition && m->offset <= offset) return m->at;
    }
    return leat_segment_head_bytes(s->starts.count);
}

/* ---- reader ---- */

enum leat_status leat_reader_open(struct leat_block_reader *r, struct leat_io *io, const char *path, uint64_t sequence,
                                  uint64_t at, uint64_t end, struct leat_error *err) {
    leat_reader_close(r);
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &r->file, err);
    if (status != LEAT_OK) return status;
    r->io = io;
    r->sequence = sequence;
    r->at = at;
    r->end = end;
    r->window_at = 0;
    r->window_length = 0;
    return LEAT_OK;
}

/* Makes [at, at + n) lie in the window, 8-aligned; n bytes are known to be before `end`. */
static enum leat_status window_need(struct leat_block_reader *r, uint64_t at, size_t n, struct leat_error *err) {
    if (at >= r->window_at && at + n <= r->window_at + r->window_length && (at - r->window_at) % 8 == 0) return LEAT_OK;
    if (r->window_capacity < n || !r->window) {
        size_t capacity = n > WINDOW_BYTES ? n : WINDOW_BYTES;
        free(r->window);
        r->window_capacity = 0;
        r->window_length = 0;
        r->window = malloc(capacity + LEAT_PAYLOAD_SLACK);
        if (!r->window) return leat_fail(err, LEAT_NO_MEMORY, "out of memory for a block of %zu bytes", n);
        memset(r->window + capacity, 0, LEAT_PAYLOAD_SLACK);
        r->window_capacity = capacity;
    }
    size_t want = r->window_capacity, got = 0;
    if (want > WINDOW_BYTES && n < WINDOW_BYTES) want = WINDOW_BYTES;
    if (want > r->end - at) want = (size_t)(r->end - at);
    r->window_length = 0;
    enum leat_status status = r->io->ops->read_at(r->file, at, r->window, want, &got, err);
    if (status != LEAT_OK) return status;
    memset(r->window + got, 0, LEAT_PAYLOAD_SLACK);
    r->window_at = at;
    r->window_length = got;
    if (got < n)
        return leat_fail(err, LEAT_CORRUPT, "ends at byte %llu, inside a block", (unsigned long long)(at + got));
    return LEAT_OK;
}

enum leat_status leat_reader_head(struct leat_block_reader *r, struct leat_block_head *head, struct leat_error *err) {
    if (r->at >= r->end) return LEAT_END;
    if (r->end - r->at < LEAT_BLOCK_HEAD_BYTES)
        return leat_fail(err, LEAT_CORRUPT, "byte %llu: cut inside a block's head", (unsigned long long)r->at);
    enum leat_status status = window_need(r, r->at, LEAT_BLOCK_HEAD_BYTES, err);
    if (status != LEAT_OK) return status;
    if (!leat_block_read_head(r->window + (r->at - r->window_at), r->sequence, r->at, head) ||
        head->total_bytes > r->end - r->at)
        return leat_fail(err, LEAT_CORRUPT, "byte %llu: no valid block head", (unsigned long long)r->at);
    return LEAT_OK;
}

enum leat_status leat_reader_body(struct leat_block_reader *r, const struct leat_block_head *head, const char **bytes,
                                  struct leat_error *err) {
    *bytes = NULL;
    enum leat_status status = window_need(r, r->at, head->total_bytes, err);
    if (status != LEAT_OK) return status;
    const char *block = r->window + (r->at - r->window_at);
    if (!leat_block_check(block, head))
        return leat_fail(err, LEAT_CORRUPT, "byte %llu: a block's checksum does not hold", (unsigned long long)r->at);
    *bytes = block;
    return LEAT_OK;
}

void leat_reader_close(struct leat_block_reader *r) {
    if (r->file) r->io->ops->close(r->file);
    r->file = NULL;
}

void leat_reader_deinit(struct leat_block_reader *r) {
    leat_reader_close(r);
    free(r->window);
    *r = (struct leat_block_reader){0};
}

enum leat_status leat_reader_durable_beyond(struct leat_block_reader *r, uint64_t at, bool *yes,
                                            struct leat_error *err) {
    struct leat_block_head head;
    *yes = false;
    uint64_t start = at;
    for (at = (at + 7) & ~(uint64_t)7; at < r->end && r->end - at >= LEAT_BLOCK_HEAD_BYTES; at += 8) {
        enum leat_status status = window_need(r, at, LEAT_BLOCK_HEAD_BYTES, err);
        if (status != LEAT_OK) return status;
        if (!leat_block_read_head(r->window + (at - r->window_at), r->sequence, at, &head) ||
            head.synced_bytes <= start || head.total_bytes > r->end - at)
            continue;
        const char *bytes;
        r->at = at;
        status = leat_reader_body(r, &head, &bytes, err);
        if (status == LEAT_OK) {
            *yes = true;
            return LEAT_OK;
        }
        if (status != LEAT_CORRUPT) return status;
    }
    return LEAT_OK;
}
