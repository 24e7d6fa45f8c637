/* A set of record identities (file number << 40 | record number) that stays small where records come about in order:
 * bitmaps of 65,536 records, of which full ones take no memory. */
#ifndef LEAT_CONNECT_SEEN_H
#define LEAT_CONNECT_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEAT_IDENTITY_LINE_BITS 40
static inline uint64_t leat_identity(uint32_t file_number, uint64_t line) {
    return (uint64_t)file_number << LEAT_IDENTITY_LINE_BITS | line;
}
static inline uint32_t leat_identity_file(uint64_t identity) {
    return (uint32_t)(identity >> LEAT_IDENTITY_LINE_BITS);
}
static inline uint64_t leat_identity_line(uint64_t identity) {
    return identity & (((uint64_t)1 << LEAT_IDENTITY_LINE_BITS) - 1);
}

struct leat_seen_chunk {
    uint64_t key;
    uint64_t *bits;
    uint32_t count;
}; /* key: identity >> 16; bits NULL: all of them */
struct leat_seen {
    struct leat_seen_chunk *slots; /* open addressing, a power of two; count 0: empty slot */
    size_t slot_count, used;
};
/* Adds; false if it was there. Aborts when out of memory. */
bool leat_seen_add(struct leat_seen *, uint64_t identity);
bool leat_seen_has(const struct leat_seen *, uint64_t identity);
size_t leat_seen_bytes(const struct leat_seen *); /* memory held */
void leat_seen_deinit(struct leat_seen *);

#endif
