#include "connect/seen.h"
#include "base/mem.h"

#include <stdlib.h>

#define CHUNK_BITS 16
#define CHUNK_RECORDS (1u << CHUNK_BITS)

static size_t find_slot(const struct leat_seen *s, uint64_t key) {
    size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (s->slot_count - 1);
    while (s->slots[i].count && s->slots[i].key != key)
        i = (i + 1) & (s->slot_count - 1);
    return i;
}

static void grow(struct leat_seen *s) {
    struct leat_seen old = *s;
    s->slot_count = old.slot_count ? old.slot_count * 2 : 64;
    s->slots = leat_alloc(s->slot_count * sizeof *s->slots);
    for (size_t i = 0; i < old.slot_count; i++)
        if (old.slots[i].count) s->slots[find_slot(s, old.slots[i].key)] = old.slots[i];
    free(old.slots);
}

bool leat_seen_has(const struct leat_seen *s, uint64_t identity) {
    if (!s->slot_count) return false;
    const struct leat_seen_chunk *c = &s->slots[find_slot(s, identity >> CHUNK_BITS)];
    uint64_t bit = identity & (CHUNK_RECORDS - 1);
    return c->count && (!c->bits || (c->bits[bit >> 6] >> (bit & 63) & 1));
}

bool leat_seen_add(struct leat_seen *s, uint64_t identity) {
    if (s->used * 2 >= s->slot_count) grow(s);
    struct leat_seen_chunk *c = &s->slots[find_slot(s, identity >> CHUNK_BITS)];
    uint64_t bit = identity & (CHUNK_RECORDS - 1), mask = (uint64_t)1 << (bit & 63);
    if (!c->count) {
        c->key = identity >> CHUNK_BITS;
        c->bits = leat_alloc(CHUNK_RECORDS / 8);
        s->used++;
    } else if (!c->bits || (c->bits[bit >> 6] & mask))
        return false;
    c->bits[bit >> 6] |= mask;
    if (++c->count == CHUNK_RECORDS) {
        free(c->bits);
        c->bits = NULL;
    }
    return true;
}

size_t leat_seen_bytes(const struct leat_seen *s) {
    size_t bytes = s->slot_count * sizeof *s->slots;
    for (size_t i = 0; i < s->slot_count; i++)
        if (s->slots[i].bits) bytes += CHUNK_RECORDS / 8;
    return bytes;
}

void leat_seen_deinit(struct leat_seen *s) {
    for (size_t i = 0; i < s->slot_count; i++)
        free(s->slots[i].bits);
    free(s->slots);
    *s = (struct leat_seen){0};
}
