/* The durable log of one unbounded source: records by partition and offset, in checksummed segments.
 * Appended in blocks (up to LEAT_BLOCK_MAX bytes); acknowledged = leat_log_sync returned OK. The byte format stands at the top of
 * log.c. A torn tail (after a crash) is cut at the last block whose checksum holds; damage before it is
 * CORRUPT. One writer; readers in the same thread. */
#ifndef LEAT_LOG_LOG_H
#define LEAT_LOG_LOG_H

#include "base/env.h"
#include "base/limits.h"

/* A run of consecutive records of one partition. Borrowed pointers unless said otherwise. */
struct leat_block {
    uint32_t partition;
    uint64_t base_offset;      /* offset of record 0 */
    uint32_t record_count;
    int64_t arrival_us;        /* leat's own clock at ingest, monotone (rule 16) */
    uint64_t position;         /* connector's resume point after this block (bytes of the file ...) */
    const char *payload;       /* record bytes back to back, 64 readable bytes after the end */
    const uint32_t *ends;      /* record i is payload[ends[i-1] .. ends[i]) (record terminators not included are skipped by `starts`) */
    const uint32_t *starts;    /* record i starts here */
    const uint64_t *identities; /* NULL, or (file << 40 | line) a record: fed records; offset is the identity otherwise */
    size_t payload_bytes;
    char *owned;               /* NULL, or the memory `payload` stands in, from malloc: it goes with the block, and who has the block frees or keeps it */
    const char *header; size_t header_length; /* CSV: the file's header line; else empty */
};

struct leat_log;
struct leat_log_options { uint64_t segment_bytes; /* 0: 64 MiB */ };
enum leat_status leat_log_open(struct leat_env *, const char *dir, const struct leat_log_options *, struct leat_log **out, struct leat_error *) LEAT_MUST;
void leat_log_close(struct leat_log *);
/* Of a log that is empty: a partition's records before next_offset are elsewhere (in bronze, after the work folder was lost). */
enum leat_status leat_log_begin(struct leat_log *, uint32_t partition, uint64_t next_offset, int64_t arrival_us, struct leat_error *) LEAT_MUST;
/* The partition goes on at next_offset, which is higher than where it is; readers pass over what is between. Durable with what is
 * appended next; until then, after a restart, it is as if it had not been called. INVALID: something is appended and not synced. */
enum leat_status leat_log_jump(struct leat_log *, uint32_t partition, uint64_t next_offset, struct leat_error *) LEAT_MUST;
/* base_offset must equal the partition's next offset (INVALID otherwise). Copies the block into the write buffer; when that is full, syncs
 * first (and may fail as leat_log_sync does, the block then not taken). No records: only the position moves. */
enum leat_status leat_log_append(struct leat_log *, const struct leat_block *, struct leat_error *) LEAT_MUST;
/* Everything appended is on disk (one write + one fdatasync); err->fatal on a failed sync: the log is closed for good. A failed write (a
 * full disk) is undone, what was appended is kept and err->retriable set: call it again later. */
enum leat_status leat_log_sync(struct leat_log *, struct leat_error *) LEAT_MUST;

/* Nothing is coming: gives back the memory of former writes, unless there is something to sync. */
void leat_log_rest(struct leat_log *);

struct leat_log_end {
    uint32_t partition;
    uint64_t next_offset, position;
    int64_t arrival_us;
    bool jumped; /* offsets before next_offset were passed over: leat_log_jump */
};
/* Durable ends of all partitions, sorted; survive deletion of segments (each segment starts with them). Borrowed until the next call. */
const struct leat_log_end *leat_log_ends(const struct leat_log *, size_t *count);
uint64_t leat_log_first_offset(const struct leat_log *, uint32_t partition); /* oldest kept; next_offset if none */
/* What the oldest segment starts with; borrowed until the next call. NULL: the partition is not known. */
const struct leat_log_end *leat_log_oldest(const struct leat_log *, uint32_t partition);
/* Where to begin for records that arrived after arrival_us: what a segment starts with, at or before the first of them. NULL: records that
 * arrived after it have been trimmed. Borrowed until the next call. */
const struct leat_log_end *leat_log_find(const struct leat_log *, uint32_t partition, int64_t arrival_us);

/* Reads blocks in append order whose records intersect [from, to) of `partition`; the block returned is trimmed to
 * the range. END after the last. The block's memory is the cursor's, valid until the next call. Only what is durable is read.
 * Errors: NOT_FOUND `from` was trimmed (see leat_log_first_offset); CORRUPT damage, a missing record. */
struct leat_log_cursor;
enum leat_status leat_log_read(struct leat_log *, uint32_t partition, uint64_t from, uint64_t to, struct leat_log_cursor **out, struct leat_error *) LEAT_MUST;
enum leat_status leat_log_next(struct leat_log_cursor *, struct leat_block *out, struct leat_error *) LEAT_MUST;
void leat_log_cursor_close(struct leat_log_cursor *);
/* Drops whole segments all of whose records are below the floors (rule 14). Floors: next offset still needed per partition. */
enum leat_status leat_log_trim(struct leat_log *, const struct leat_log_end *floors, size_t count, struct leat_error *) LEAT_MUST;
/* Drops the oldest segments, but never the last one, until the rest has at most so many bytes. */
enum leat_status leat_log_trim_to(struct leat_log *, uint64_t bytes, struct leat_error *) LEAT_MUST;
uint64_t leat_log_size_bytes(const struct leat_log *);

#endif
