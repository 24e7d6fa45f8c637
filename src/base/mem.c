/* Allocation, growable buffers, text building, and the arena. The only place that aborts. */
#include "base/mem.h"

#include <malloc.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Noreturn void die(const char *what, size_t size_bytes) {
    fprintf(stderr, "leat: %s (%zu bytes)\n", what, size_bytes);
    abort();
}

void leat_panic(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("leat: internal error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void *leat_alloc(size_t size_bytes) {
    void *block = calloc(1, size_bytes ? size_bytes : 1);
    if (!block) die("out of memory", size_bytes);
    return block;
}

void *leat_realloc(void *block, size_t size_bytes) {
    void *grown = realloc(block, size_bytes ? size_bytes : 1);
    if (!grown) die("out of memory", size_bytes);
    return grown;
}

void *leat_alloc_lines(size_t size_bytes) {
    void *block = aligned_alloc(64, size_bytes);
    if (!block) die("out of memory", size_bytes);
    return memset(block, 0, size_bytes);
}

void leat_touch(void *bytes, size_t size_bytes) {
#ifdef MADV_POPULATE_WRITE
    (void)madvise(bytes, size_bytes, MADV_POPULATE_WRITE); /* an older kernel makes them one by one */
#else
    (void)bytes, (void)size_bytes;
#endif
}

void *leat_alloc_state(size_t size_bytes) {
    if (size_bytes < LEAT_HUGE_PAGE_BYTES) return leat_realloc(NULL, size_bytes);
    size_t whole = (size_bytes + LEAT_HUGE_PAGE_BYTES - 1) / LEAT_HUGE_PAGE_BYTES * LEAT_HUGE_PAGE_BYTES;
    void *block = whole < size_bytes ? NULL : aligned_alloc(LEAT_HUGE_PAGE_BYTES, whole);
    if (!block) die("out of memory", size_bytes);
    return block;
}

void leat_state_settled(void *block, size_t size_bytes) {
    size_t whole = size_bytes / LEAT_HUGE_PAGE_BYTES * LEAT_HUGE_PAGE_BYTES;
    if (whole) (void)madvise(block, whole, MADV_HUGEPAGE); /* a wish */
}

/* More is mapped than asked for, so that the block can begin at a huge page; what is before and behind is given back.
 */
void *leat_reserve(size_t room_bytes) {
    size_t mapped = room_bytes + 2 * LEAT_HUGE_PAGE_BYTES;
    char *start = mapped < room_bytes
                      ? MAP_FAILED
                      : mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) die("out of address space", room_bytes);
    size_t before = LEAT_HUGE_PAGE_BYTES - (uintptr_t)start % LEAT_HUGE_PAGE_BYTES;
    char *block = start + before;
    size_t after = mapped - before - room_bytes;
    (void)munmap(start, before);
    if (after) (void)munmap(block + room_bytes, after);
    return block;
}

void leat_unreserve(void *block, size_t room_bytes) {
    if (block) (void)munmap(block, room_bytes);
}

char *leat_strdup(const char *text) {
    return leat_strndup(text, strlen(text));
}

char *leat_strndup(const char *text, size_t length) {
    length = strnlen(text, length);
    char *copy = leat_alloc(length + 1);
    memcpy(copy, text, length);
    return copy;
}

static size_t measure(const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) die("a text cannot be formatted", 0);
    return (size_t)length;
}

char *leat_asprintf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t length = measure(format, args);
    char *text = leat_alloc(length + 1);
    vsnprintf(text, length + 1, format, args);
    va_end(args);
    return text;
}

/* ---- buffer ---- */

void leat_buffer_deinit(struct leat_buffer *b) {
    free(b->data);
    b->data = NULL;
    b->length = b->capacity = 0;
}

void leat_buffer_reset(struct leat_buffer *b) {
    b->length = 0;
    if (b->data) b->data[0] = '\0';
}

enum leat_status leat_buffer_reserve(struct leat_buffer *b, size_t extra_bytes, struct leat_error *err) {
    if (extra_bytes > SIZE_MAX / 4 - b->length)
        return leat_fail(err, LEAT_NO_MEMORY, "a buffer of %zu bytes cannot grow by %zu", b->length, extra_bytes);
    size_t need = b->length + extra_bytes;
    if (b->max_bytes && need > b->max_bytes)
        return leat_fail(err, LEAT_LIMIT, "%zu bytes are more than the %zu allowed here", need, b->max_bytes);
    need += 1; /* the NUL beyond `length` */
    if (need <= b->capacity) return LEAT_OK;
    size_t capacity = b->capacity + b->capacity / 2;
    if (capacity < 64) capacity = 64;
    if (capacity < need) capacity = need;
    char *grown = realloc(b->data, capacity);
    if (!grown) return leat_fail(err, LEAT_NO_MEMORY, "out of memory for a buffer of %zu bytes", capacity);
    b->data = grown;
    b->capacity = capacity;
    b->data[b->length] = '\0';
    return LEAT_OK;
}

enum leat_status leat_buffer_add(struct leat_buffer *b, const void *bytes, size_t n, struct leat_error *err) {
    enum leat_status status = leat_buffer_reserve(b, n, err);
    if (status != LEAT_OK) return status;
    if (n) memcpy(b->data + b->length, bytes, n);
    b->length += n;
    b->data[b->length] = '\0';
    return LEAT_OK;
}

void leat_putn(struct leat_buffer *b, const char *text, size_t n) {
    struct leat_error err;
    if (leat_buffer_add(b, text, n, &err) != LEAT_OK) die(err.text, n);
}

void leat_put(struct leat_buffer *b, const char *text) {
    leat_putn(b, text, strlen(text));
}

void leat_putf(struct leat_buffer *b, const char *format, ...) {
    struct leat_error err;
    va_list args;
    va_start(args, format);
    size_t length = measure(format, args);
    if (leat_buffer_reserve(b, length, &err) != LEAT_OK) die(err.text, length);
    vsnprintf(b->data + b->length, length + 1, format, args);
    b->length += length;
    va_end(args);
}

static void put_quoted(struct leat_buffer *b, const char *text, char quote) {
    leat_putn(b, &quote, 1);
    for (const char *end; (end = strchr(text, quote)); text = end + 1) {
        leat_putn(b, text, (size_t)(end - text) + 1);
        leat_putn(b, &quote, 1);
    }
    leat_put(b, text);
    leat_putn(b, &quote, 1);
}

void leat_put_sql_string(struct leat_buffer *b, const char *text) {
    put_quoted(b, text, '\'');
}

void leat_put_sql_name(struct leat_buffer *b, const char *name) {
    put_quoted(b, name, '"');
}

size_t leat_utf8_length(const unsigned char *text, size_t n) {
    unsigned char c = text[0];
    if (c < 0x80) return 1;
    size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    if ((c == 0xE0 && text[1] < 0xA0) || (c == 0xED && text[1] > 0x9F) || (c == 0xF0 && text[1] < 0x90) ||
        (c == 0xF4 && text[1] > 0x8F))
        return 0;
    return length;
}

void leat_put_json_string(struct leat_buffer *b, const char *text, size_t n) {
    leat_putn(b, "\"", 1);
    size_t plain = 0; /* start of the run not yet written */
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = leat_utf8_length((const unsigned char *)text + i, n - i);
        if (length > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += length;
            continue;
        }
        leat_putn(b, text + plain, i - plain);
        switch (c) {
        case '"':
            leat_put(b, "\\\"");
            break;
        case '\\':
            leat_put(b, "\\\\");
            break;
        case '\n':
            leat_put(b, "\\n");
            break;
        case '\r':
            leat_put(b, "\\r");
            break;
        case '\t':
            leat_put(b, "\\t");
            break;
        default:
            if (c < 0x20)
                leat_putf(b, "\\u%04x", c);
            else
                leat_put(b, "\xEF\xBF\xBD"); /* not UTF-8: the replacement character keeps the document valid */
        }
        plain = ++i;
    }
    leat_putn(b, text + plain, n - plain);
    leat_putn(b, "\"", 1);
}

/* ---- arena ---- */

struct leat_arena_block {
    struct leat_arena_block *next;
    size_t size_bytes, used_bytes;
    _Alignas(16) unsigned char bytes[];
};
#define ARENA_BLOCK_MIN ((size_t)16 << 10)
#define ARENA_BLOCK_MAX ((size_t)1 << 20)

/* Puts a block with room for `need` after the current one: a kept one if the next is large enough. */
static struct leat_arena_block *arena_advance(struct leat_arena *a, size_t need) {
    struct leat_arena_block *next = a->current ? a->current->next : a->first;
    if (!next || next->size_bytes < need) {
        size_t size = a->current ? a->current->size_bytes * 2 : ARENA_BLOCK_MIN;
        if (size > ARENA_BLOCK_MAX) size = ARENA_BLOCK_MAX;
        if (size < need) size = need;
        struct leat_arena_block *made = malloc(sizeof *made + size);
        if (!made) die("out of memory", size);
        made->size_bytes = size;
        made->next = next;
        if (a->current)
            a->current->next = made;
        else
            a->first = made;
        next = made;
    }
    next->used_bytes = 0;
    a->current = next;
    return next;
}

void *leat_arena_alloc(struct leat_arena *a, size_t size_bytes) {
    if (size_bytes > SIZE_MAX / 4) die("out of memory", size_bytes);
    size_t need = (size_bytes + 15) & ~(size_t)15;
    struct leat_arena_block *block = a->current;
    if (!block || block->size_bytes - block->used_bytes < need) block = arena_advance(a, need);
    void *out = block->bytes + block->used_bytes;
    block->used_bytes += need;
    a->used_bytes += need;
    return out;
}

char *leat_arena_copy(struct leat_arena *a, const void *bytes, size_t n) {
    char *copy = leat_arena_alloc(a, n + 1);
    if (n) memcpy(copy, bytes, n);
    copy[n] = '\0';
    return copy;
}

char *leat_arena_printf(struct leat_arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t length = measure(format, args);
    char *text = leat_arena_alloc(a, length + 1);
    vsnprintf(text, length + 1, format, args);
    va_end(args);
    return text;
}

void leat_arena_reset(struct leat_arena *a) {
    a->current = a->first;
    if (a->first) a->first->used_bytes = 0;
    a->used_bytes = 0;
}

void leat_arena_deinit(struct leat_arena *a) {
    for (struct leat_arena_block *block = a->first, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    a->first = a->current = NULL;
    a->used_bytes = 0;
}

void leat_memory_trim(void) {
    malloc_trim(0);
}
