/* Keyed hash table. See keyed.h.
 *
 * A slot holds 32 bits of the key's hash (the tag) and the entry's index. The home slot is the tag's upper bits, so
 * that the table can grow, and close the gap of a removed key, from the slots alone without touching an entry. Growing
 * is done in place, almost in order: fresh memory is what costs most in a table that only grows. Load at most 0.6. */
#include "state/keyed.h"

#include <assert.h>
#include <stdlib.h>

enum { MIN_SLOT_BITS = 6, SLAB_BYTES = 1 << 18, PROBE_CHUNK = 256, CACHE_LINE = 64, MAX_PREFETCH_LINES = 4 };
/* Address space for slots: so many times what they need when it is reserved. */
enum { SLOT_ROOM = 16 };
/* Slots at the table's start that growing sets aside, since they may stand before the end of their cluster. */
enum { GROW_PREFIX = 1024 };

static uint32_t tag_of(const struct leat_hash128 *key) {
    return (uint32_t)(key->low >> 32);
}
static uint32_t slot_tag(uint64_t slot) {
    return (uint32_t)(slot >> 32);
}
static uint32_t slot_index(uint64_t slot) {
    return (uint32_t)slot - 1;
}
static size_t home_of(const struct leat_keyed *t, uint32_t tag) {
    return tag >> (32 - t->slot_bits);
}
static size_t slot_mask(const struct leat_keyed *t) {
    return ((size_t)1 << t->slot_bits) - 1;
}
static bool key_equal(const struct leat_entry *e, const struct leat_hash128 *key) {
    return e->key.low == key->low && e->key.high == key->high;
}
static bool fits(unsigned slot_bits, size_t count) {
    return count * 5 <= ((size_t)3 << slot_bits);
}

void leat_keyed_init(struct leat_keyed *t, size_t payload_bytes) {
    *t = (struct leat_keyed){.slot_bits = MIN_SLOT_BITS};
    t->entry_bytes = (sizeof(struct leat_entry) + payload_bytes + 7) & ~(size_t)7;
    t->slab_shift = 4;
    while (t->entry_bytes << (t->slab_shift + 1) <= SLAB_BYTES)
        t->slab_shift++;
    t->slots = leat_alloc(sizeof *t->slots << t->slot_bits);
}

static void free_slots(struct leat_keyed *t) {
    if (t->slot_room_bytes)
        leat_unreserve(t->slots, t->slot_room_bytes);
    else
        free(t->slots);
}

void leat_keyed_deinit(struct leat_keyed *t) {
    for (size_t i = 0; i < t->region_count; i++)
        free(t->regions[i]);
    free(t->regions);
    free(t->slabs);
    free_slots(t);
    free(t->free);
    free(t->dirty);
    *t = (struct leat_keyed){0};
}

static void place(struct leat_keyed *t, uint64_t slot) {
    size_t mask = slot_mask(t), at = home_of(t, slot_tag(slot));
    while (t->slots[at])
        at = (at + 1) & mask;
    t->slots[at] = slot;
}

/* Makes room for the slots of 2^bits; what is new is zero. */
static void extend_slots(struct leat_keyed *t, unsigned bits) {
    size_t old_bytes = sizeof *t->slots << t->slot_bits, bytes = sizeof *t->slots << bits;
    if (bytes < LEAT_HUGE_PAGE_BYTES) {
        t->slots = leat_realloc(t->slots, bytes);
        memset((char *)t->slots + old_bytes, 0, bytes - old_bytes);
    } else if (bytes > t->slot_room_bytes) {
        size_t room = bytes * SLOT_ROOM;
        uint64_t *slots = leat_reserve(room);
        memcpy(slots, t->slots, old_bytes);
        free_slots(t);
        t->slots = slots;
        t->slot_room_bytes = room;
    }
}

struct slot_list {
    uint64_t *slots;
    size_t count, capacity;
};

static void set_aside(struct slot_list *list, uint64_t slot) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : GROW_PREFIX;
        list->slots = leat_realloc(list->slots, list->capacity * sizeof *list->slots);
    }
    list->slots[list->count++] = slot;
}

/* A slot's new home is at least twice its old one. So, from the last slot down, each finds its new place behind those
 * that still stand at their old one; the few for which that does not hold (near the start, or far behind their home)
 * wait. */
static void grow_slots(struct leat_keyed *t, unsigned bits) {
    size_t old_count = (size_t)1 << t->slot_bits, prefix = old_count < GROW_PREFIX ? old_count : GROW_PREFIX;
    struct slot_list waiting = {0};
    extend_slots(t, bits);
    t->slot_bits = bits;
    if (!t->count) return;
    for (size_t i = 0; i < prefix; i++) {
        if (t->slots[i]) set_aside(&waiting, t->slots[i]);
        t->slots[i] = 0;
    }
    for (size_t i = old_count; i-- > prefix;) {
        uint64_t slot = t->slots[i];
        if (!slot) continue;
        t->slots[i] = 0;
        if (home_of(t, slot_tag(slot)) >= i)
            place(t, slot);
        else
            set_aside(&waiting, slot);
    }
    for (size_t i = 0; i < waiting.count; i++)
        place(t, waiting.slots[i]);
    free(waiting.slots);
    if (t->slot_room_bytes) leat_state_settled(t->slots, sizeof *t->slots << bits);
}

void leat_keyed_reserve(struct leat_keyed *t, size_t count) {
    assert(count < UINT32_MAX - 1);
    unsigned bits = t->slot_bits;
    while (!fits(bits, count))
        bits++;
    assert(bits <= 32);
    if (bits > t->slot_bits) grow_slots(t, bits);
}

/* One slab, or for a table that is large already as many as fill whole huge pages. Not zeroed: an entry is zeroed when
 * it is made, while its line is needed anyway. */
static void add_slabs(struct leat_keyed *t) {
    size_t slab_bytes = t->entry_bytes << t->slab_shift,
           count = t->slab_count >= 16 ? 4 * LEAT_HUGE_PAGE_BYTES / slab_bytes : 1;
    if (!count) count = 1;
    if (t->slab_count + count > t->slab_capacity) {
        t->slab_capacity = t->slab_capacity * 2 + count;
        t->slabs = leat_realloc(t->slabs, t->slab_capacity * sizeof *t->slabs);
        t->regions = leat_realloc(t->regions, t->slab_capacity * sizeof *t->regions);
    }
    char *region = leat_alloc_state(count * slab_bytes);
    if (t->region_count) leat_state_settled(t->regions[t->region_count - 1], t->region_bytes);
    t->region_bytes = count * slab_bytes;
    t->regions[t->region_count++] = region;
    for (size_t i = 0; i < count; i++)
        t->slabs[t->slab_count++] = region + i * slab_bytes;
}

static uint32_t new_entry(struct leat_keyed *t, const struct leat_hash128 *key) {
    uint32_t index;
    if (t->free_count) {
        index = t->free[--t->free_count];
    } else {
        index = t->bound++;
        if (index >> t->slab_shift == t->slab_count) add_slabs(t);
    }
    struct leat_entry *e = leat_keyed_at(t, index);
    memset(e, 0, t->entry_bytes);
    e->key = *key;
    e->flags = LEAT_ENTRY_LIVE | LEAT_ENTRY_NEW;
    t->count++;
    return index;
}

/* The whole probe of one key: its entry, or LEAT_NO_ENTRY with *at the empty slot for it. */
static uint32_t probe(const struct leat_keyed *t, const struct leat_hash128 *key, size_t *at) {
    uint32_t tag = tag_of(key);
    size_t mask = slot_mask(t);
    for (*at = home_of(t, tag);; *at = (*at + 1) & mask) {
        uint64_t slot = t->slots[*at];
        if (!slot) return LEAT_NO_ENTRY;
        if (slot_tag(slot) == tag && key_equal(leat_keyed_at(t, slot_index(slot)), key)) return slot_index(slot);
    }
}

/* First pass over at most PROBE_CHUNK keys: the first entry whose tag agrees (most likely the key's), its lines on
 * their way into the cache; or LEAT_NO_ENTRY. ends: the slot of the entry, or the empty one. */
static void probe_tags(const struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *candidates,
                       size_t *ends) {
    size_t mask = slot_mask(t), lines = (t->entry_bytes + CACHE_LINE - 1) / CACHE_LINE;
    if (lines > MAX_PREFETCH_LINES) lines = MAX_PREFETCH_LINES;
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(&t->slots[home_of(t, tag_of(&keys[i]))]);
    for (size_t i = 0; i < n; i++) {
        uint32_t tag = tag_of(&keys[i]);
        size_t at = home_of(t, tag);
        uint64_t slot;
        while ((slot = t->slots[at]) && slot_tag(slot) != tag)
            at = (at + 1) & mask;
        candidates[i] = slot_index(slot); /* an empty slot is 0: LEAT_NO_ENTRY */
        ends[i] = at;
        if (!slot) continue;
        const char *entry = (const char *)leat_keyed_at(t, candidates[i]);
        for (size_t line = 0; line < lines; line++)
            __builtin_prefetch(entry + line * CACHE_LINE);
    }
}

static void upsert_chunk(struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *out) {
    size_t ends[PROBE_CHUNK];
    if (!fits(t->slot_bits, t->count + n)) leat_keyed_reserve(t, (size_t)t->count + n);
    probe_tags(t, keys, n, out, ends);
    for (size_t i = 0; i < n; i++) {
        size_t at = ends[i];
        uint32_t index = out[i];
        if (index != LEAT_NO_ENTRY) {
            if (key_equal(leat_keyed_at(t, index), &keys[i])) continue;
            index = probe(t, &keys[i], &at);
        } else if (t->slots[at]) {
            /* An earlier key of the chunk took the slot; were it this one's equal, it would stand just there. */
            index = probe(t, &keys[i], &at);
        }
        if (index == LEAT_NO_ENTRY) {
            index = new_entry(t, &keys[i]);
            t->slots[at] = (uint64_t)tag_of(&keys[i]) << 32 | (index + 1u);
        }
        out[i] = index;
    }
}

void leat_keyed_upsert(struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *out) {
    for (size_t from = 0; from < n; from += PROBE_CHUNK)
        upsert_chunk(t, keys + from, n - from < PROBE_CHUNK ? n - from : PROBE_CHUNK, out + from);
}

void leat_keyed_find(const struct leat_keyed *t, const struct leat_hash128 *keys, size_t n, uint32_t *out) {
    for (size_t from = 0; from < n; from += PROBE_CHUNK) {
        size_t chunk = n - from < PROBE_CHUNK ? n - from : PROBE_CHUNK;
        size_t ends[PROBE_CHUNK], at;
        probe_tags(t, keys + from, chunk, out + from, ends);
        for (size_t i = from; i < from + chunk; i++) {
            if (out[i] == LEAT_NO_ENTRY || key_equal(leat_keyed_at(t, out[i]), &keys[i])) continue;
            out[i] = probe(t, &keys[i], &at);
        }
    }
}

void leat_keyed_remove(struct leat_keyed *t, uint32_t index) {
    struct leat_entry *e = leat_keyed_at(t, index);
    size_t gap, mask = slot_mask(t);
    assert(e->flags & LEAT_ENTRY_LIVE);
    uint32_t found = probe(t, &e->key, &gap);
    assert(found == index);
    (void)found;
    /* Close the gap: move back every follower of the cluster that may stand in it. */
    for (size_t at = (gap + 1) & mask; t->slots[at]; at = (at + 1) & mask) {
        size_t home = home_of(t, slot_tag(t->slots[at]));
        if (((at - home) & mask) < ((at - gap) & mask)) continue;
        t->slots[gap] = t->slots[at];
        gap = at;
    }
    t->slots[gap] = 0;
    e->flags = 0;
    t->count--;
    if (t->free_count == t->free_capacity) {
        t->free_capacity = t->free_capacity ? t->free_capacity * 2 : 64;
        t->free = leat_realloc(t->free, t->free_capacity * sizeof *t->free);
    }
    t->free[t->free_count++] = index;
}

void leat_keyed_push_dirty(struct leat_keyed *t, uint32_t index) {
    if (t->dirty_count == t->dirty_capacity) {
        t->dirty_capacity = t->dirty_capacity ? t->dirty_capacity * 2 : 64;
        t->dirty = leat_realloc(t->dirty, t->dirty_capacity * sizeof *t->dirty);
    }
    t->dirty[t->dirty_count++] = index;
}

static void count_as_saved(struct leat_entry *e) {
    if (e->flags & LEAT_ENTRY_LIVE) e->flags = (e->flags & ~(uint32_t)LEAT_ENTRY_DIRTY) | LEAT_ENTRY_SAVED;
}

void leat_keyed_clean(struct leat_keyed *t) {
    for (size_t i = 0; i < t->dirty_count; i++)
        count_as_saved(leat_keyed_at(t, t->dirty[i]));
    for (uint32_t i = t->clean_bound; i < t->bound; i++)
        count_as_saved(leat_keyed_at(t, i));
    t->dirty_count = 0;
    t->clean_bound = t->bound;
}

/* Of the dirty ones: those that are listed, then those that came since. */
bool leat_keyed_next(const struct leat_keyed *t, bool only_dirty, uint64_t *cursor, uint32_t *index) {
    const uint32_t need = only_dirty ? LEAT_ENTRY_LIVE | LEAT_ENTRY_DIRTY : LEAT_ENTRY_LIVE;
    const uint64_t listed = only_dirty ? t->dirty_count : 0, first = only_dirty ? t->clean_bound : 0;
    for (uint64_t end = listed + t->bound - first; *cursor < end;) {
        uint32_t i = *cursor < listed ? t->dirty[*cursor] : (uint32_t)(first + *cursor - listed);
        ++*cursor;
        if ((leat_keyed_at(t, i)->flags & need) != need) continue;
        *index = i;
        return true;
    }
    return false;
}

uint64_t leat_keyed_bytes(const struct leat_keyed *t) {
    return (sizeof *t->slots << t->slot_bits) + t->slab_count * (t->entry_bytes << t->slab_shift) +
           (t->free_capacity + t->dirty_capacity) * sizeof(uint32_t);
}
