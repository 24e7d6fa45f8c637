/* Keyed hash table: 128-bit key hash -> entry with a stable 32-bit index.
 *
 * Open addressing with linear probing over 8-byte slots; entries lie in slabs that never move. A key is its 128-bit
 * fingerprint (leat_key_hash): two different keys are taken for one with probability n^2 / 2^129, 1.5e-19 for
 * 10^10 keys. XXH3 is not meant to withstand somebody who constructs collisions on purpose.
 * Depends on data/key.h. Thread: one at a time. Memory failure aborts (leat_alloc). */
#ifndef LEAT_STATE_KEYED_H
#define LEAT_STATE_KEYED_H

#include "data/key.h"

#define LEAT_NO_ENTRY UINT32_MAX

enum leat_entry_flag {
    LEAT_ENTRY_LIVE = 1,
    LEAT_ENTRY_DIRTY = 2,  /* changed since the last leat_keyed_clean: in the dirty list, or made since */
    LEAT_ENTRY_SAVED = 4,  /* was there at the last leat_keyed_clean or loaded: its removal needs a tombstone */
    LEAT_ENTRY_NEW = 8,    /* made by an upsert; the caller clears it */
    LEAT_ENTRY_USER = 256, /* first flag for the caller's use */
};
/* Start of every entry; the caller's payload follows, zeroed when the entry is made. 8-aligned. */
struct leat_entry {
    struct leat_hash128 key;
    uint32_t epoch; /* the caller's: the step that touched the entry last */
    uint32_t flags;
};

struct leat_keyed {
    uint64_t *slots; /* tag << 32 | entry index + 1; 0: empty */
    size_t slot_room_bytes; /* reserved (leat_reserve); 0: slots are on the heap */
    unsigned slot_bits;
    unsigned slab_shift;
    size_t entry_bytes;
    char **slabs;
    size_t slab_count, slab_capacity;
    char **regions; /* what is freed: several slabs each; room for slab_capacity */
    size_t region_count, region_bytes; /* bytes: of the last, which is being filled */
    uint32_t count; /* live entries */
    uint32_t bound; /* indexes ever given are below */
    uint32_t clean_bound; /* bound at the last leat_keyed_clean: what was made since needs no list */
    uint32_t *free; /* indexes to use again */
    size_t free_count, free_capacity;
    uint32_t *dirty; /* of the older ones; may hold indexes of entries removed since; check LIVE and DIRTY */
    size_t dirty_count, dirty_capacity;
};

void leat_keyed_init(struct leat_keyed *t, size_t payload_bytes);
void leat_keyed_deinit(struct leat_keyed *t); /* empty afterwards */
/* Room for `count` entries in all without growing again. */
void leat_keyed_reserve(struct leat_keyed *t, size_t count);
/* Finds or makes the entries of n keys (equal keys get one entry); out: n indexes. New entries have LEAT_ENTRY_NEW set and are not dirty yet.
 * At most 2^32 - 2 entries (asserted). */
void leat_keyed_upsert(struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *out);
/* As upsert, but missing keys give LEAT_NO_ENTRY. */
void leat_keyed_find(const struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *out);
/* The index may be given to another key by the next upsert. */
void leat_keyed_remove(struct leat_keyed *t, uint32_t index);
/* Nothing is dirty any more; every live entry counts as saved. */
void leat_keyed_clean(struct leat_keyed *t);
/* What is there was loaded: none of it is dirty, and a save of what is need not look through it. */
static inline void leat_keyed_loaded(struct leat_keyed *t) { t->clean_bound = t->bound; }
uint64_t leat_keyed_bytes(const struct leat_keyed *t);

void leat_keyed_push_dirty(struct leat_keyed *t, uint32_t index);

static inline struct leat_entry *leat_keyed_at(const struct leat_keyed *t, uint32_t index) {
    size_t in_slab = index & ((1u << t->slab_shift) - 1);
    return (struct leat_entry *)(t->slabs[index >> t->slab_shift] + in_slab * t->entry_bytes);
}
static inline void *leat_entry_payload(struct leat_entry *e) { return e + 1; }
static inline void leat_keyed_mark_dirty(struct leat_keyed *t, struct leat_entry *e, uint32_t index) {
    if (e->flags & LEAT_ENTRY_DIRTY) return;
    e->flags |= LEAT_ENTRY_DIRTY;
    if (index < t->clean_bound) leat_keyed_push_dirty(t, index);
}
/* Walks a save: full (every live entry) or only the dirty ones. *cursor starts at 0; false: no more. */
bool leat_keyed_next(const struct leat_keyed *t, bool only_dirty, uint64_t *cursor, uint32_t *index);

#endif
