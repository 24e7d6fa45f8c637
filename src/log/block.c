/* Encodes and decodes blocks; format: log.c. */
#include "log/block.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC 0x314B4C42u /* "BLK1" */
#define VERSION 1
#define FLAG_IDENTITIES 1u
#define FLAGS_KNOWN FLAG_IDENTITIES
#define PAYLOAD_MAX (LEAT_BLOCK_MAX + LEAT_BLOCK_RECORDS_MAX) /* a terminator a record more */
#define CHECKED_FROM 16                                       /* the checksum covers the bytes after itself */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the format is little-endian and written as it lies in memory");

/* The head as it lies on disk. */
struct disk_head {
    uint32_t magic;
    uint16_t version, flags;
    uint64_t checksum;
    uint64_t file, at, synced_bytes;
    uint64_t base_offset, position;
    int64_t arrival_us;
    uint32_t partition, record_count, payload_bytes, header_bytes;
};
_Static_assert(sizeof(struct disk_head) == LEAT_BLOCK_HEAD_BYTES, "no padding in the head");

static uint64_t encoded_bytes(uint64_t records, bool identities, uint64_t header_bytes, uint64_t payload_bytes) {
    uint64_t n = LEAT_BLOCK_HEAD_BYTES + records * (identities ? 12 : 4) + header_bytes + payload_bytes;
    return (n + 7) & ~(uint64_t)7;
}

size_t leat_block_encoded_bytes(const struct leat_block *b) {
    uint64_t payload = 0;
    uint32_t end = 0;
    if (b->payload_bytes > UINT32_MAX || b->header_length > LEAT_RECORD_BYTES_MAX ||
        b->record_count > LEAT_BLOCK_RECORDS_MAX)
        return 0;
    for (uint32_t i = 0; i < b->record_count; i++) {
        if (b->starts[i] < end || b->ends[i] < b->starts[i]) return 0;
        end = b->ends[i];
        payload += end - b->starts[i] + 1;
    }
    if (end > b->payload_bytes || payload > PAYLOAD_MAX || b->base_offset > UINT64_MAX - b->record_count) return 0;
    return encoded_bytes(b->record_count, b->identities != NULL, b->header_length, payload);
}

void leat_block_encode(const struct leat_block *b, const struct leat_block_place *place, char *out) {
    struct disk_head head = {
        .magic = MAGIC,
        .version = VERSION,
        .flags = b->identities ? FLAG_IDENTITIES : 0,
        .file = place->file,
        .at = place->at,
        .synced_bytes = place->synced_bytes,
        .base_offset = b->base_offset,
        .position = b->position,
        .arrival_us = b->arrival_us,
        .partition = b->partition,
        .record_count = b->record_count,
        .header_bytes = (uint32_t)b->header_length,
    };
    char *to = out + sizeof head;
    if (b->identities) {
        memcpy(to, b->identities, (size_t)b->record_count * 8);
        to += (size_t)b->record_count * 8;
    }
    char *lengths = to;
    to += (size_t)b->record_count * 4;
    if (b->header_length) memcpy(to, b->header, b->header_length);
    to += b->header_length;
    char *payload = to;
    for (uint32_t i = 0; i < b->record_count; i++) {
        uint32_t length = b->ends[i] - b->starts[i];
        memcpy(lengths + (size_t)i * 4, &length, 4);
        memcpy(to, b->payload + b->starts[i], length);
        to += length;
        *to++ = '\n'; /* decoders run into it instead of checking for an end */
    }
    head.payload_bytes = (uint32_t)(to - payload);
    size_t total = encoded_bytes(b->record_count, b->identities != NULL, b->header_length, head.payload_bytes);
    memset(to, 0, total - (size_t)(to - out));
    memcpy(out, &head, sizeof head);
    head.checksum = XXH3_64bits(out + CHECKED_FROM, total - CHECKED_FROM) ^ ((uint64_t)VERSION << 16 | head.flags);
    memcpy(out, &head, sizeof head);
}

bool leat_block_read_head(const char *bytes, uint64_t file, uint64_t at, struct leat_block_head *out) {
    struct disk_head head;
    memcpy(&head, bytes, sizeof head);
    if (head.magic != MAGIC || head.version != VERSION || (head.flags & ~FLAGS_KNOWN) || head.file != file ||
        head.at != at || head.synced_bytes > at || head.payload_bytes > PAYLOAD_MAX ||
        head.header_bytes > LEAT_RECORD_BYTES_MAX || head.record_count > LEAT_BLOCK_RECORDS_MAX ||
        head.base_offset > UINT64_MAX - head.record_count)
        return false;
    *out = (struct leat_block_head){
        .checksum = head.checksum ^ ((uint64_t)VERSION << 16 | head.flags),
        .synced_bytes = head.synced_bytes,
        .base_offset = head.base_offset,
        .position = head.position,
        .arrival_us = head.arrival_us,
        .partition = head.partition,
        .record_count = head.record_count,
        .payload_bytes = head.payload_bytes,
        .header_bytes = head.header_bytes,
        .has_identities = head.flags & FLAG_IDENTITIES,
    };
    out->total_bytes = encoded_bytes(head.record_count, out->has_identities, head.header_bytes, head.payload_bytes);
    return true;
}

static const char *lengths_of(const char *bytes, const struct leat_block_head *head) {
    return bytes + LEAT_BLOCK_HEAD_BYTES + (head->has_identities ? (size_t)head->record_count * 8 : 0);
}

bool leat_block_check(const char *bytes, const struct leat_block_head *head) {
    if (XXH3_64bits(bytes + CHECKED_FROM, head->total_bytes - CHECKED_FROM) != head->checksum) return false;
    const char *lengths = lengths_of(bytes, head);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < head->record_count; i++) {
        uint32_t length;
        memcpy(&length, lengths + (size_t)i * 4, 4);
        sum += (uint64_t)length + 1;
    }
    return sum == head->payload_bytes;
}

void leat_block_view(const char *bytes, const struct leat_block_head *head, struct leat_block_index *index,
                     struct leat_block *out) {
    uint32_t count = head->record_count;
    if (index->capacity < count || !index->starts) {
        free(index->starts);
        index->capacity = count < 1024 ? 1024 : count;
        index->starts = leat_alloc((size_t)index->capacity * 2 * sizeof *index->starts);
    }
    uint32_t *starts = index->starts, *ends = starts + count, at = 0;
    const char *lengths = lengths_of(bytes, head);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length;
        memcpy(&length, lengths + (size_t)i * 4, 4);
        starts[i] = at;
        ends[i] = at + length;
        at += length + 1;
    }
    const char *header = lengths + (size_t)count * 4;
    *out = (struct leat_block){
        .partition = head->partition,
        .base_offset = head->base_offset,
        .record_count = count,
        .arrival_us = head->arrival_us,
        .position = head->position,
        .payload = header + head->header_bytes,
        .starts = starts,
        .ends = ends,
        .identities = head->has_identities ? (const uint64_t *)(const void *)(bytes + LEAT_BLOCK_HEAD_BYTES) : NULL,
        .payload_bytes = count ? ends[count - 1] : 0,
        .header = header,
        .header_length = head->header_bytes,
    };
}

void leat_block_index_deinit(struct leat_block_index *index) {
    free(index->starts);
    *index = (struct leat_block_index){0};
}

void leat_block_trim(struct leat_block *b, uint64_t from, uint64_t to) {
    uint64_t end = b->base_offset + b->record_count;
    uint32_t skip = from > b->base_offset ? (uint32_t)(from - b->base_offset) : 0;
    if (to < end) b->record_count -= (uint32_t)(end - to);
    b->record_count -= skip;
    b->base_offset += skip;
    b->starts += skip;
    b->ends += skip;
    if (b->identities) b->identities += skip;
    b->payload_bytes = b->record_count ? b->ends[b->record_count - 1] : 0;
}
