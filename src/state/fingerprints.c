/* Fingerprints. See fingerprints.h.
 *
 * The index is an array of cache lines of twelve places: a byte of each key's hash (the tag), to compare all at once,
 * and the key's index. A key stands in the first line from its home on (the hash's upper bits) that had a place free;
 * where that is not its home it is marked as away. Load at most 0.8.
 *
 * The index grows in place: from the last line down each is split in two. Which of them is a key's is the next bit of
 * its hash, so that no fingerprint need be looked at: a place has one more bit than the tag, for the first time, then
 * the tag's upper bits. After DOUBLINGS times tags are made anew. */
#include "state/fingerprints.h"

#include <assert.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    LINE_BYTES = 64,
    LINE_PLACES = 12,
    MIN_LINE_BITS = 2,
    DOUBLINGS = 3,
    LINES_AHEAD = 6,
    RECORDS_AHEAD = 16,
    PROBE_CHUNK = 256,
    TOUCH_BYTES = 256 << 10
};
/* Address space for the index: so many times what it needs when it is reserved. */
enum { LINE_ROOM = 16 };
#define NONE UINT32_MAX

struct leat_fingerprint_line {
    uint8_t tags[LINE_PLACES];
    uint32_t marks; /* 4 bits: how many places are taken; then a bit for each that is away, and one more of its hash */
    uint32_t indexes[LINE_PLACES];
};
_Static_assert(sizeof(struct leat_fingerprint_line) == LINE_BYTES, "a probe touches one line");

enum { COUNT_BITS = 4, AWAY_BIT = COUNT_BITS, HASH_BIT = COUNT_BITS + LINE_PLACES };

static inline unsigned count_of(const struct leat_fingerprint_line *line) {
    return line->marks & ((1u << COUNT_BITS) - 1);
}
/* The nine bits of a key's hash behind those of its home when tags were made last; the tag is the lower eight. */
static inline unsigned name_of(const struct leat_fingerprints *t, const struct leat_hash128 *key) {
    return (unsigned)(key->low << t->name_bits >> 55);
}
static inline uint8_t tag_of(const struct leat_fingerprints *t, const struct leat_hash128 *key) {
    return (uint8_t)name_of(t, key);
}
static inline size_t home_of(const struct leat_fingerprints *t, const struct leat_hash128 *key) {
    return key->low >> (64 - t->line_bits);
}
static size_t line_mask(const struct leat_fingerprints *t) {
    return ((size_t)1 << t->line_bits) - 1;
}
static bool same_key(const struct leat_hash128 *a, const struct leat_hash128 *b) {
    return a->low == b->low && a->high == b->high;
}
static bool fits(unsigned line_bits, size_t count) {
    return count * 5 <= ((size_t)(4 * LINE_PLACES) << line_bits);
}
static size_t chunk_bytes(size_t chunk) {
    return sizeof(struct leat_fingerprint) << (LEAT_FINGERPRINT_FIRST_BITS + chunk);
}

/* A bit for each place of the line that has the tag. */
static inline unsigned matches(const struct leat_fingerprint_line *line, uint8_t tag) {
    unsigned match = 0;
#ifdef __SSE2__
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)line);
    match = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    for (unsigned i = 0; i < LINE_PLACES; i++)
        match |= (unsigned)(line->tags[i] == tag) << i;
#endif
    return match & ((1u << count_of(line)) - 1);
}

void leat_fingerprints_init(struct leat_fingerprints *t) {
    *t = (struct leat_fingerprints){.line_bits = MIN_LINE_BITS, .name_bits = MIN_LINE_BITS};
    t->lines = leat_alloc_lines(sizeof *t->lines << t->line_bits);
}

static void free_lines(struct leat_fingerprints *t) {
    if (t->line_room_bytes)
        leat_unreserve(t->lines, t->line_room_bytes);
    else
        free(t->lines);
}

void leat_fingerprints_deinit(struct leat_fingerprints *t) {
    free_lines(t);
    for (size_t i = 0; i < LEAT_FINGERPRINT_CHUNKS; i++)
        free(t->chunks[i]);
    *t = (struct leat_fingerprints){0};
}

/* ---- the index */

/* Into the line, which has a place free. */
static inline void put(struct leat_fingerprint_line *line, unsigned name, bool away, uint32_t index) {
    const unsigned place = count_of(line);
    line->tags[place] = (uint8_t)name;
    line->indexes[place] = index;
    line->marks += 1 + ((uint32_t)away << (AWAY_BIT + place)) + ((uint32_t)(name >> 8) << (HASH_BIT + place));
}

/* Makes room for 2^bits lines; what is new is zero. */
static void extend_lines(struct leat_fingerprints *t, unsigned bits) {
    const size_t old_bytes = sizeof *t->lines << t->line_bits, bytes = sizeof *t->lines << bits;
    if (bytes > t->line_room_bytes) {
        const size_t room = bytes < LEAT_HUGE_PAGE_BYTES ? 0 : bytes * LINE_ROOM;
        struct leat_fingerprint_line *lines = room ? leat_reserve(room) : leat_alloc_lines(bytes);
        memcpy(lines, t->lines, old_bytes);
        free_lines(t);
        t->lines = lines;
        t->line_room_bytes = room;
    }
    if (t->line_room_bytes) leat_touch((char *)t->lines + old_bytes, bytes - old_bytes);
}

/* Asks for the fingerprints of a line, or of those in it that are away. Always inline: a function that only prefetches
 * would count as one without effect. */
static inline __attribute__((always_inline)) void fetch_line(const struct leat_fingerprints *t, size_t i, bool all) {
    const struct leat_fingerprint_line *line = &t->lines[i];
    for (unsigned k = 0; k < count_of(line); k++)
        if (all || line->marks >> (AWAY_BIT + k) & 1) __builtin_prefetch(leat_fingerprint_at(t, line->indexes[k]));
}

static void name_anew(struct leat_fingerprints *t) {
    t->name_bits = t->line_bits;
    for (size_t i = 0; i <= line_mask(t); i++) {
        struct leat_fingerprint_line *line = &t->lines[i];
        if (i + LINES_AHEAD <= line_mask(t)) fetch_line(t, i + LINES_AHEAD, true);
        uint32_t bits = 0;
        for (unsigned k = 0; k < count_of(line); k++) {
            unsigned name = name_of(t, &leat_fingerprint_at(t, line->indexes[k])->key);
            line->tags[k] = (uint8_t)name;
            bits |= (uint32_t)(name >> 8) << (HASH_BIT + k);
        }
        line->marks = (line->marks & ((1u << HASH_BIT) - 1)) | bits;
    }
}

/* A place while its line is split. */
struct moved {
    size_t home;
    uint32_t index;
    unsigned name;
};
struct moved_list {
    struct moved *items;
    size_t count, capacity;
};

static void set_aside(struct moved_list *list, struct moved m) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = leat_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = m;
}

/* Lines above `line` are split already; what belongs elsewhere, which only happens near the start and the end, waits.
 */
static void move(struct leat_fingerprints *t, size_t line, struct moved m, struct moved_list *waiting) {
    size_t at = m.home, last = line_mask(t);
    while (at >= line && at < last && count_of(&t->lines[at]) == LINE_PLACES)
        at++;
    if (at < line || count_of(&t->lines[at]) == LINE_PLACES)
        set_aside(waiting, m);
    else
        put(&t->lines[at], m.name, at != m.home, m.index);
}

/* Nearly all go to the two lines that become of theirs, and have room there. */
static void split_line(struct leat_fingerprints *t, size_t i, unsigned name_bit, struct moved_list *waiting) {
    const struct leat_fingerprint_line line = t->lines[i];
    memset(&t->lines[i], 0, sizeof line);
    for (unsigned k = 0; k < count_of(&line); k++) {
        const bool away = line.marks >> (AWAY_BIT + k) & 1;
        const unsigned name = line.tags[k] | (line.marks >> (HASH_BIT + k) & 1) << 8;
        struct leat_fingerprint_line *half = &t->lines[2 * i + (name >> name_bit & 1)];
        if (!away && count_of(half) < LINE_PLACES) {
            put(half, name, false, line.indexes[k]);
            continue;
        }
        struct moved m = {.home = (size_t)(half - t->lines), .index = line.indexes[k], .name = name};
        if (away) m.home = home_of(t, &leat_fingerprint_at(t, m.index)->key);
        move(t, i, m, waiting);
    }
}

static void double_lines(struct leat_fingerprints *t) {
    struct moved_list waiting = {0};
    if (t->line_bits - t->name_bits == DOUBLINGS) name_anew(t);
    const size_t old_count = (size_t)1 << t->line_bits;
    const unsigned name_bit = 8 - (t->line_bits - t->name_bits);
    extend_lines(t, t->line_bits + 1);
    t->line_bits++;
    for (size_t i = old_count; i-- > 0;) {
        if (i >= LINES_AHEAD) fetch_line(t, i - LINES_AHEAD, false);
        split_line(t, i, name_bit, &waiting);
    }
    for (size_t i = 0; i < waiting.count; i++) {
        const struct moved *m = &waiting.items[i];
        size_t at = m->home;
        while (count_of(&t->lines[at]) == LINE_PLACES)
            at = (at + 1) & line_mask(t);
        put(&t->lines[at], m->name, at != m->home, m->index);
    }
    free(waiting.items);
    if (t->line_room_bytes) leat_state_settled(t->lines, sizeof *t->lines << t->line_bits);
}

void leat_fingerprints_reserve(struct leat_fingerprints *t, size_t count) {
    assert(count < UINT32_MAX - 1);
    while (!fits(t->line_bits, count)) {
        if (t->count) {
            double_lines(t);
        } else {
            extend_lines(t, t->line_bits + 1);
            t->name_bits = ++t->line_bits;
        }
    }
}

/* The key's index, or NONE with *line the one to put it into. */
static uint32_t probe(const struct leat_fingerprints *t, const struct leat_hash128 *key,
                      struct leat_fingerprint_line **line) {
    for (size_t at = home_of(t, key);; at = (at + 1) & line_mask(t)) {
        *line = &t->lines[at];
        for (unsigned match = matches(*line, tag_of(t, key)); match; match &= match - 1) {
            uint32_t index = (*line)->indexes[__builtin_ctz(match)];
            if (same_key(&leat_fingerprint_at(t, index)->key, key)) return index;
        }
        if (count_of(*line) < LINE_PLACES) return NONE;
    }
}

/* First pass over at most PROBE_CHUNK keys: what their home line says, most likely the key's index or NONE; what
 * probing them needs is on its way into the cache. */
static void guess(const struct leat_fingerprints *t, const struct leat_hash128 *keys, size_t n, uint32_t *out) {
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(&t->lines[home_of(t, &keys[i])], 1);
    for (size_t i = 0; i < n; i++) {
        const size_t home = home_of(t, &keys[i]);
        const struct leat_fingerprint_line *line = &t->lines[home];
        unsigned match = matches(line, tag_of(t, &keys[i]));
        out[i] = match ? line->indexes[__builtin_ctz(match)] : NONE;
        if (match) __builtin_prefetch(leat_fingerprint_at(t, out[i]));
        if (count_of(line) == LINE_PLACES) __builtin_prefetch(&t->lines[(home + 1) & line_mask(t)], 1);
    }
}

/* ---- the fingerprints */

/* A new chunk when the last is full; the pages that come next are made a few at once. */
static struct leat_fingerprint *append(struct leat_fingerprints *t) {
    const uint64_t i = (uint64_t)t->count + (1u << LEAT_FINGERPRINT_FIRST_BITS);
    const unsigned bits = 63u - (unsigned)__builtin_clzll(i);
    const size_t chunk = bits - LEAT_FINGERPRINT_FIRST_BITS,
                 at_bytes = (i - (1ull << bits)) * sizeof(struct leat_fingerprint);
    assert(t->count < UINT32_MAX - 1);
    if (!at_bytes) {
        if (chunk) leat_state_settled(t->chunks[chunk - 1], chunk_bytes(chunk - 1));
        t->chunks[chunk] = leat_alloc_state(chunk_bytes(chunk));
    }
    struct leat_fingerprint *f = t->chunks[chunk] + at_bytes / sizeof *f;
    if (chunk_bytes(chunk) >= LEAT_HUGE_PAGE_BYTES && at_bytes % TOUCH_BYTES == 0) leat_touch(f, TOUCH_BYTES);
    __builtin_prefetch((const char *)f + RECORDS_AHEAD * sizeof *f, 1);
    t->count++;
    return f;
}

void leat_fingerprints_upsert(struct leat_fingerprints *t, const struct leat_hash128 *keys, size_t n, uint32_t *out) {
    for (size_t from = 0; from < n; from += PROBE_CHUNK) {
        size_t end = n - from < PROBE_CHUNK ? n : from + PROBE_CHUNK;
        leat_fingerprints_reserve(t, (size_t)t->count + (end - from));
        guess(t, keys + from, end - from, out + from);
        for (size_t i = from; i < end; i++) {
            struct leat_fingerprint_line *line;
            if (out[i] != NONE && same_key(&leat_fingerprint_at(t, out[i])->key, &keys[i])) continue;
            out[i] = probe(t, &keys[i], &line);
            if (out[i] != NONE) continue;
            out[i] = t->count;
            append(t)->key = keys[i];
            put(line, name_of(t, &keys[i]), line != &t->lines[home_of(t, &keys[i])], out[i]);
        }
    }
}

uint64_t leat_fingerprints_bytes(const struct leat_fingerprints *t) {
    return (sizeof *t->lines << t->line_bits) + t->count * (uint64_t)sizeof(struct leat_fingerprint);
}
