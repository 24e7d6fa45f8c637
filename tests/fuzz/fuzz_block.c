/* Any bytes as a block of the log: reading a head, checking, viewing. The checksum is made to hold for half of the
 * inputs, so that what it protects is also met with lengths that lie. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "base/limits.h"
#include "log/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_block_head head;
    if (size < LEAT_BLOCK_HEAD_BYTES || size > 1 << 16) return 0;
    char *bytes = malloc(size + LEAT_PAYLOAD_SLACK);
    memcpy(bytes, data, size);
    memset(bytes + size, 0, LEAT_PAYLOAD_SLACK);
    memcpy(bytes, "BLK1\1\0", 6); /* magic and version */
    uint64_t file, at;
    memcpy(&file, bytes + 16, 8);
    memcpy(&at, bytes + 24, 8);
    if (leat_block_read_head(bytes, file, at, &head) && head.total_bytes <= size) {
        if (data[size - 1] & 1) head.checksum = XXH3_64bits(bytes + 16, head.total_bytes - 16);
        if (leat_block_check(bytes, &head)) {
            struct leat_block_index index = {0};
            struct leat_block block;
            leat_block_view(bytes, &head, &index, &block);
            volatile unsigned sum = 0; /* reads must happen */
            for (uint32_t i = 0; i < block.record_count; i++)
                for (uint32_t b = block.starts[i]; b < block.ends[i]; b++)
                    sum = sum + (unsigned char)block.payload[b];
            for (size_t i = 0; i < block.header_length; i++)
                sum = sum + (unsigned char)block.header[i];
            for (int i = 0; i < LEAT_PAYLOAD_SLACK; i++)
                sum = sum + (unsigned char)block.payload[block.payload_bytes + (size_t)i];
            /* What was read can be written, and reads back the same. */
            size_t length = leat_block_encoded_bytes(&block);
            if (length != head.total_bytes) abort();
            struct leat_block_place place = {.file = file, .at = at, .synced_bytes = head.synced_bytes};
            char *again = malloc(length);
            leat_block_encode(&block, &place, again);
            if (memcmp(again + 32, bytes + 32, 48) != 0) abort();
            free(again);
            leat_block_index_deinit(&index);
        }
    }
    free(bytes);
    return 0;
}
