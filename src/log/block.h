/* Block codec: one struct leat_block as checksummed bytes. The log's segments and the feed's spool are made of these;
 * the byte format stands at the top of log.c. Depends on XXH3-64 (xxhash). */
#ifndef LEAT_LOG_BLOCK_H
#define LEAT_LOG_BLOCK_H

#include "log/log.h"

#define LEAT_BLOCK_HEAD_BYTES 80

/* Where a block stands. A block is valid only in its place, so bytes of one block inside another's payload are never
 * taken for one. */
struct leat_block_place {
    uint64_t file;         /* sequence number of the segment or spool file */
    uint64_t at;           /* position of the block in it */
    uint64_t synced_bytes; /* how much of the file was durable before this block was written */
};

/* Bytes the block takes encoded (a multiple of 8), 0 if it is malformed: starts/ends not ascending or beyond
 * payload_bytes, or more than LEAT_BLOCK_MAX payload or LEAT_BLOCK_RECORDS_MAX records. */
size_t leat_block_encoded_bytes(const struct leat_block *);
/* Writes leat_block_encoded_bytes bytes. */
void leat_block_encode(const struct leat_block *, const struct leat_block_place *, char *out);

/* What a head says, before its checksum is proven. */
struct leat_block_head {
    uint64_t total_bytes, checksum, synced_bytes, base_offset, position;
    int64_t arrival_us;
    uint32_t partition, record_count, payload_bytes, header_bytes;
    bool has_identities;
};
/* False: no block can start here (magic, version, place, lengths that contradict each other). bytes:
 * LEAT_BLOCK_HEAD_BYTES. */
bool leat_block_read_head(const char *bytes, uint64_t file, uint64_t at, struct leat_block_head *out);
/* Proves the checksum of total_bytes bytes and that the record lengths add up. `file` as in the place. */
bool leat_block_check(const char *bytes, const struct leat_block_head *);

/* The index arrays of a decoded block, kept between blocks. */
struct leat_block_index {
    uint32_t *starts;
    uint32_t capacity;
}; /* starts, then ends */
/* Views a checked block; bytes must be 8-aligned and followed by LEAT_PAYLOAD_SLACK readable bytes; out borrows both.
 */
void leat_block_view(const char *bytes, const struct leat_block_head *, struct leat_block_index *,
                     struct leat_block *out);
void leat_block_index_deinit(struct leat_block_index *);
/* Narrows a viewed block to the records [from, to), which it holds; position stays the end of the whole block. */
void leat_block_trim(struct leat_block *, uint64_t from, uint64_t to);

#endif
