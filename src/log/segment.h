/* One segment file of a log: its header, its name, finding the end of what holds, seeking in it. Internal to log/. */
#ifndef LEAT_LOG_SEGMENT_H
#define LEAT_LOG_SEGMENT_H

#include "log/block.h"

#define LEAT_SEGMENT_HEAD_BYTES 48
#define LEAT_SEGMENT_MARK_BYTES (256u << 10) /* at most this is hopped over when seeking */

/* Partitions' ends sorted by partition. */
struct leat_ends {
    struct leat_log_end *items;
    size_t count, capacity;
};
const struct leat_log_end *leat_ends_find(const struct leat_ends *, uint32_t partition); /* NULL: none */
struct leat_log_end *leat_ends_need(struct leat_ends *, uint32_t partition);             /* made with next_offset 0 */
void leat_ends_copy(struct leat_ends *to, const struct leat_ends *from);
void leat_ends_settle(struct leat_ends *); /* no end is one that jumped */
void leat_ends_deinit(struct leat_ends *);

/* A place to start reading: a block of `partition` whose first record is `offset` stands at `at`. */
struct leat_mark {
    uint64_t at, offset;
    uint32_t partition;
};

struct leat_segment {
    uint64_t sequence;
    uint64_t size_bytes;              /* valid, durable bytes */
    uint64_t before_bytes;            /* how much of the segment before it is valid; 0: it is the first */
    struct leat_ends starts;          /* the partitions' ends when it began */
    struct leat_ends last_write_ends; /* the last segment's, while it is opened: ends before its last write */
    struct leat_mark *marks;          /* per partition about one in LEAT_SEGMENT_MARK_BYTES, in order of position */
    size_t mark_count, mark_capacity;
    bool marked; /* marks are complete up to size_bytes */
};
void leat_segment_deinit(struct leat_segment *);
char *leat_segment_path(const char *dir, uint64_t sequence);
bool leat_segment_parse_name(const char *name, uint64_t *sequence);
size_t leat_segment_head_bytes(size_t end_count);
/* Appends the segment's head (sequence, starts) to `out`. */
enum leat_status leat_segment_put_head(const struct leat_segment *, uint64_t log_id, struct leat_buffer *out,
                                       struct leat_error *) LEAT_MUST;
/* Reads the head into segment->starts and *log_id. END: torn or not a head. */
enum leat_status leat_segment_read_head(struct leat_segment *, struct leat_io *, const char *path, uint64_t *log_id,
                                        struct leat_error *) LEAT_MUST;
/* Takes note of a block at `at` for seeking. */
void leat_segment_mark(struct leat_segment *, uint32_t partition, uint64_t offset, uint64_t at);
uint64_t leat_segment_seek(const struct leat_segment *, uint32_t partition, uint64_t offset);

/* Reads blocks of one file one after another through a window. */
struct leat_block_reader {
    struct leat_io *io;
    struct leat_file *file; /* owned */
    uint64_t sequence;
    uint64_t at, end; /* next block; where reading stops */
    char *window;     /* window_capacity bytes + tail, 16-aligned */
    size_t window_capacity, window_length;
    uint64_t window_at;
};
enum leat_status leat_reader_open(struct leat_block_reader *, struct leat_io *, const char *path, uint64_t sequence,
                                  uint64_t at, uint64_t end, struct leat_error *) LEAT_MUST;
/* The head at `at`. END: at the end; CORRUPT (text without the file's name): no block can be there. */
enum leat_status leat_reader_head(struct leat_block_reader *, struct leat_block_head *, struct leat_error *) LEAT_MUST;
/* The whole checked block whose head was just read, 8-aligned, valid until the next call. CORRUPT: checksum. */
enum leat_status leat_reader_body(struct leat_block_reader *, const struct leat_block_head *, const char **bytes,
                                  struct leat_error *) LEAT_MUST;
static inline void leat_reader_skip(struct leat_block_reader *r, const struct leat_block_head *h) {
    r->at += h->total_bytes;
}
void leat_reader_close(struct leat_block_reader *); /* keeps the window for the next file */
void leat_reader_deinit(struct leat_block_reader *);
/* Is there, from `at` on, a valid block that was written when more than `at` bytes of the file were durable? Then what
 * is at `at` is damage, not a write cut short. */
enum leat_status leat_reader_durable_beyond(struct leat_block_reader *, uint64_t at, bool *yes,
                                            struct leat_error *) LEAT_MUST;

#endif
