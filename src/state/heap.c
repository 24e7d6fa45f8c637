/* State memory. See heap.h. */
#include "state/heap.h"

#include <stdlib.h>

enum { FIRST_REGION_BYTES = 1 << 14, MAX_REGION_BYTES = 2 << 20, REGION_HEADER_BYTES = 16 };

struct leat_heap_large {
    struct leat_heap_large *next, *previous;
};
_Static_assert(sizeof(struct leat_heap_region) <= REGION_HEADER_BYTES, "region header");

void leat_heap_deinit(struct leat_heap *h) {
    while (h->regions) {
        struct leat_heap_region *next = h->regions->next;
        free(h->regions);
        h->regions = next;
    }
    while (h->large) {
        struct leat_heap_large *next = h->large->next;
        free(h->large);
        h->large = next;
    }
    *h = (struct leat_heap){0};
}

static void *alloc_large(struct leat_heap *h, size_t size) {
    struct leat_heap_large *block = leat_realloc(NULL, sizeof *block + size);
    *block = (struct leat_heap_large){.next = h->large};
    if (h->large) h->large->previous = block;
    h->large = block;
    h->reserved_bytes += sizeof *block + size;
    return block + 1;
}

static void free_large(struct leat_heap *h, void *memory, size_t size) {
    struct leat_heap_large *block = (struct leat_heap_large *)memory - 1;
    if (block->previous)
        block->previous->next = block->next;
    else
        h->large = block->next;
    if (block->next) block->next->previous = block->previous;
    h->reserved_bytes -= sizeof *block + size;
    free(block);
}

static void new_region(struct leat_heap *h) {
    if (!h->region_bytes) h->region_bytes = FIRST_REGION_BYTES;
    struct leat_heap_region *region = leat_alloc_state(h->region_bytes);
    if (h->regions) leat_state_settled(h->regions, h->filling_bytes);
    h->filling_bytes = h->region_bytes;
    region->next = h->regions;
    h->regions = region;
    h->bump = (char *)region + REGION_HEADER_BYTES;
    h->bump_left = h->region_bytes - REGION_HEADER_BYTES;
    h->reserved_bytes += h->region_bytes;
    if (h->region_bytes < MAX_REGION_BYTES) h->region_bytes *= 2;
}

void *leat_heap_alloc(struct leat_heap *h, size_t size) {
    if (size > LEAT_HEAP_SMALL) return alloc_large(h, size);
    size_t class = size ? (size + 7) / 8 : 1;
    void *block = h->free[class];
    if (block) {
        memcpy(&h->free[class], block, sizeof(void *));
        return block;
    }
    if (h->bump_left < class * 8) {
        /* The rest of the region is not lost: it becomes one free block of its own class. */
        if (h->bump_left >= 8) leat_heap_free(h, h->bump, h->bump_left);
        new_region(h);
    }
    block = h->bump;
    h->bump += class * 8;
    h->bump_left -= class * 8;
    return block;
}

void leat_heap_free(struct leat_heap *h, void *block, size_t size) {
    if (!block) return;
    if (size > LEAT_HEAP_SMALL) {
        free_large(h, block, size);
        return;
    }
    size_t class = size ? (size + 7) / 8 : 1;
    memcpy(block, &h->free[class], sizeof(void *));
    h->free[class] = block;
}

struct leat_string leat_heap_string(struct leat_heap *h, const struct leat_string *s) {
    struct leat_string copy = *s;
    if (s->length <= LEAT_STRING_INLINE) return copy;
    char *bytes = leat_heap_alloc(h, s->length);
    memcpy(bytes, s->u.pointer.data, s->length);
    copy.u.pointer.data = bytes;
    return copy;
}

void leat_heap_string_free(struct leat_heap *h, const struct leat_string *s) {
    if (s->length > LEAT_STRING_INLINE) leat_heap_free(h, (void *)(uintptr_t)s->u.pointer.data, s->length);
}
