/* Memory: growable byte buffer with a maximum, and an arena. Allocation failure is a status where
 * the size comes from outside (buffers), and an abort with a message where it is ours (small,
 * bounded structures): leat_alloc never returns NULL. */
#ifndef LEAT_BASE_MEM_H
#define LEAT_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

void *leat_alloc(size_t size_bytes);               /* zeroed; aborts when out of memory */
void *leat_realloc(void *block, size_t size_bytes); /* aborts when out of memory */
void *leat_alloc_lines(size_t size_bytes);         /* zeroed, from a cache line (64 bytes) on, a multiple of it; freed by free() */
/* State that is read at random and grows for ever. Not zeroed, freed by free(); aligned to huge pages where it is large enough
 * for them (LEAT_HUGE_PAGE_BYTES). Filled with small pages first: a huge page that a virtual machine never had before is five times as
 * dear per byte. leat_state_settled says that the block is full and will be read: the kernel may then join its pages, in the
 * background. Aborts when out of memory. */
#define LEAT_HUGE_PAGE_BYTES ((size_t)2 << 20)
void *leat_alloc_state(size_t size_bytes);
void leat_state_settled(void *block, size_t size_bytes);
/* Zeroed state memory that is to grow in place: address space of room_bytes at once, pages only when they are touched. Aborts
 * when there is none. Freed by leat_unreserve with the same size. */
void *leat_reserve(size_t room_bytes);
void leat_unreserve(void *block, size_t room_bytes);
/* These bytes, in whole pages, are about to be written: the kernel makes the pages at once, which is cheaper than one by one. */
void leat_touch(void *bytes, size_t size_bytes);
void leat_memory_trim(void); /* gives free memory back to the system; for when there is nothing to do */
char *leat_strdup(const char *text);
char *leat_strndup(const char *text, size_t length);
char *leat_asprintf(const char *format, ...) LEAT_PRINTF(1, 2);
/* Writes the text to stderr and aborts: for a bug of ours (an assertion that stays on), never for outside data. */
_Noreturn void leat_panic(const char *format, ...) LEAT_PRINTF(1, 2);

/* Growable bytes. data is always NUL-terminated beyond `length` once anything was added. */
struct leat_buffer {
    char *data;
    size_t length, capacity;
    size_t max_bytes; /* 0: no limit but memory */
};
void leat_buffer_deinit(struct leat_buffer *b); /* empty afterwards, reusable */
void leat_buffer_reset(struct leat_buffer *b);  /* length 0, keeps memory */
/* LIMIT beyond max_bytes, NO_MEMORY; b unchanged on failure. */
enum leat_status leat_buffer_reserve(struct leat_buffer *b, size_t extra_bytes, struct leat_error *err) LEAT_MUST;
enum leat_status leat_buffer_add(struct leat_buffer *b, const void *bytes, size_t n, struct leat_error *err) LEAT_MUST;
/* Text building for internal, bounded text (SQL, messages): aborts on out-of-memory. */
void leat_put(struct leat_buffer *b, const char *text);
void leat_putn(struct leat_buffer *b, const char *text, size_t n);
void leat_putf(struct leat_buffer *b, const char *format, ...) LEAT_PRINTF(2, 3);
/* Length of the valid UTF-8 sequence at text (1-4), 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
size_t leat_utf8_length(const unsigned char *text, size_t n);
/* Appends text as an SQL string literal 'it''s' / quoted identifier "a""b" / JSON string. */
void leat_put_sql_string(struct leat_buffer *b, const char *text);
void leat_put_sql_name(struct leat_buffer *b, const char *name);
void leat_put_json_string(struct leat_buffer *b, const char *text, size_t n);

/* Bump allocator; everything is freed together. Blocks are kept by reset. Not thread-safe. */
struct leat_arena_block;
struct leat_arena {
    struct leat_arena_block *first, *current;
    size_t used_bytes; /* handed out since the last reset */
};
void *leat_arena_alloc(struct leat_arena *a, size_t size_bytes); /* 16-aligned, not zeroed; aborts when out of memory */
char *leat_arena_copy(struct leat_arena *a, const void *bytes, size_t n); /* n bytes + NUL */
char *leat_arena_printf(struct leat_arena *a, const char *format, ...) LEAT_PRINTF(2, 3);
void leat_arena_reset(struct leat_arena *a);
void leat_arena_deinit(struct leat_arena *a);

#endif
