/* Blocks of state memory of any size (strings, encoded rows): size classes of 8 bytes with free lists over
 * large regions. Freed space is used again by blocks of its class, so memory is bounded by the sum of each class's peak;
 * blocks over LEAT_HEAP_SMALL come from the C allocator and go back to it. Thread: one at a time. */
#ifndef LEAT_STATE_HEAP_H
#define LEAT_STATE_HEAP_H

#include "data/schema.h"

#define LEAT_HEAP_SMALL 512
struct leat_heap_large;
struct leat_heap {
    void *free[LEAT_HEAP_SMALL / 8 + 1];
    struct leat_heap_region { struct leat_heap_region *next; } *regions;
    char *bump;
    size_t bump_left, region_bytes, filling_bytes; /* of the next region; of the one being filled */
    struct leat_heap_large *large;
    uint64_t reserved_bytes; /* taken from the system */
};
void leat_heap_deinit(struct leat_heap *h); /* frees everything; an all-zero heap is ready for use */
void *leat_heap_alloc(struct leat_heap *h, size_t size_bytes); /* 8-aligned, not zeroed; aborts when out of memory */
void leat_heap_free(struct leat_heap *h, void *block, size_t size_bytes); /* size as allocated; NULL is fine */
/* Copy of a string with its bytes in the heap (short ones have none), and the end of such a copy. */
struct leat_string leat_heap_string(struct leat_heap *h, const struct leat_string *s);
void leat_heap_string_free(struct leat_heap *h, const struct leat_string *s);

#endif
