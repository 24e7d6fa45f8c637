/* What is known of every key ever seen: 128 bits of its hash and 16 bytes of the caller's.
 *
 * An append-only hash table that is made for size, as a table that keeps every key for ever costs mostly its fresh memory and
 * what of it misses the cache: 32 bytes a key in order of arrival, and an index of 7 to 14 bytes a key. For keys that
 * come and go, or need more, see state/keyed.h, also for what a 128-bit fingerprint means.
 * Depends on data/key.h. Thread: one at a time. Memory failure aborts. */
#ifndef LEAT_STATE_FINGERPRINTS_H
#define LEAT_STATE_FINGERPRINTS_H

#include "data/key.h"

enum { LEAT_FINGERPRINT_CHUNKS = 24, LEAT_FINGERPRINT_FIRST_BITS = 9 };

struct leat_fingerprint {
    struct leat_hash128 key;
    uint64_t content, at; /* the caller's */
};
struct leat_fingerprint_line;
struct leat_fingerprints {
    struct leat_fingerprint_line *lines; /* the index: 2^line_bits */
    size_t line_room_bytes;              /* reserved (leat_reserve); 0: on the heap */
    unsigned line_bits, name_bits; /* name_bits: line_bits when tags were made last */
    uint32_t count;
    struct leat_fingerprint *chunks[LEAT_FINGERPRINT_CHUNKS]; /* each twice as large as the one before */
};

void leat_fingerprints_init(struct leat_fingerprints *t);
void leat_fingerprints_deinit(struct leat_fingerprints *t); /* empty afterwards */
/* Room in the index for `count` keys in all. */
void leat_fingerprints_reserve(struct leat_fingerprints *t, size_t count);
/* Finds or makes n keys; out: n indexes. New ones get the next indexes in the order of `keys`; their content and at are not set.
 * At most 2^32 - 2 keys (asserted). */
void leat_fingerprints_upsert(struct leat_fingerprints *t, const struct leat_hash128 *keys, size_t n, uint32_t *out);
uint64_t leat_fingerprints_bytes(const struct leat_fingerprints *t);

/* Stays where it is. index < count. */
static inline struct leat_fingerprint *leat_fingerprint_at(const struct leat_fingerprints *t, uint32_t index) {
    const uint64_t i = (uint64_t)index + (1u << LEAT_FINGERPRINT_FIRST_BITS);
    const unsigned bits = 63u - (unsigned)__builtin_clzll(i);
    return t->chunks[bits - LEAT_FINGERPRINT_FIRST_BITS] + (i - (1ull << bits));
}

#endif
