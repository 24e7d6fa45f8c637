/* Inner loops of the JSON decoder: eight digits, one string, one remembered pattern at a time. Everything here may
 * read up to 32 bytes past where it stops; the caller sees to it that they are readable. Little-endian. */
#ifndef LEAT_DATA_JSON_SCAN_H
#define LEAT_DATA_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
/* Without SSE2 (arm64), or where a test says so, plain C. */
#if defined(__SSE2__) && !defined(LEAT_NO_SIMD)
#define LEAT_SSE2
#include <emmintrin.h>
#endif

#include "data/schema.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words of text are read lowest byte first");

#define LEAT_LIKELY(x) __builtin_expect(!!(x), 1)
#define LEAT_UNLIKELY(x) __builtin_expect(!!(x), 0)
enum { LEAT_PATTERN_BYTES = 32 };

static inline uint64_t leat_load_u64(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* First byte at or after p that is a quote, a backslash or a control character; *high is set when a byte
 * above 0x7F stands before it. The text must hold such a byte. */
static inline const char *leat_scan_string(const char *p, bool *high) {
#if defined(LEAT_SSE2)
    for (;; p += 16) {
        __m128i v = _mm_loadu_si128((const void *)p);
        __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"')), escape = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        unsigned stop = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));
        unsigned top = (unsigned)_mm_movemask_epi8(v);
        if (stop) {
            if (top & (stop ^ (stop - 1))) *high = true;
            return p + __builtin_ctz(stop);
        }
        if (top) *high = true;
    }
#else
    for (;; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\' || c < 0x20) return p;
        if (c >= 0x80) *high = true;
    }
#endif
}

/* Do the `length` bytes of the pattern stand at p? mask: one bit a byte of the pattern. Length 0: an unused one, no. */
static inline bool leat_match_pattern(const char *p, const unsigned char *pattern, uint32_t mask, unsigned length) {
#if defined(LEAT_SSE2)
    (void)length;
    __m128i a = _mm_cmpeq_epi8(_mm_loadu_si128((const void *)p), _mm_loadu_si128((const void *)pattern));
    __m128i b = _mm_cmpeq_epi8(_mm_loadu_si128((const void *)(p + 16)), _mm_loadu_si128((const void *)(pattern + 16)));
    uint32_t equal = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
    return (equal & mask) == mask;
#else
    (void)mask;
    return length && memcmp(p, pattern, length) == 0;
#endif
}

/* High bit of each byte that is not an ASCII digit. */
static inline uint64_t leat_nondigits(uint64_t v) {
    uint64_t t = v ^ 0x3030303030303030ull;
    return (((t & 0x7f7f7f7f7f7f7f7full) + 0x7676767676767676ull) | t) & 0x8080808080808080ull;
}

/* Value of eight ASCII digits, the first in the lowest byte: pairs, then fours, then all, by multiplication. Bytes
 * that are 0 count as the digit 0. */
static inline uint64_t leat_eight_digits(uint64_t v) {
    v = (v & 0x0F0F0F0F0F0F0F0Full) * 2561 >> 8;
    v = (v & 0x00FF00FF00FF00FFull) * 6553601 >> 16;
    return (v & 0x0000FFFF0000FFFFull) * 42949672960001ull >> 32;
}

/* Past the digits of a number at p that is whole and not negative, up to the comma or brace behind it; NULL: leave it
 * to others. */
static inline const char *leat_scan_whole(const char *p) {
#if defined(LEAT_SSE2)
    __m128i digits = _mm_sub_epi8(_mm_loadu_si128((const void *)p), _mm_set1_epi8('0'));
    unsigned stop = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits)) & 0xffff;
    if (LEAT_UNLIKELY(!stop || stop & 1 || (*p == '0' && !(stop & 2)))) return NULL;
    p += __builtin_ctz(stop);
#else
    uint64_t stop = leat_nondigits(leat_load_u64(p));
    if (!stop || stop & 0x80 || (*p == '0' && !(stop & 0x8000))) return NULL;
    p += __builtin_ctzll(stop) / 8;
#endif
    return *p == ',' || *p == '}' ? p : NULL;
}

static const uint64_t leat_powers_of_10[] = {1ull,
                                             10ull,
                                             100ull,
                                             1000ull,
                                             10000ull,
                                             100000ull,
                                             1000000ull,
                                             10000000ull,
                                             100000000ull,
                                             1000000000ull,
                                             10000000000ull,
                                             100000000000ull,
                                             1000000000000ull,
                                             10000000000000ull,
                                             100000000000000ull,
                                             1000000000000000ull,
                                             10000000000000000ull,
                                             100000000000000000ull,
                                             1000000000000000000ull};

/* Reads 1 to 18 digits at p; returns where they end, or NULL when there are none, more, or a needless leading 0. */
static inline __attribute__((always_inline)) const char *leat_scan_digits(const char *p, uint64_t *out) {
    uint64_t v = leat_load_u64(p), stop = leat_nondigits(v);
    if (LEAT_LIKELY(stop)) {
        unsigned bits = (unsigned)__builtin_ctzll(stop) & ~7u;
        if (LEAT_UNLIKELY(!bits || (bits > 8 && *p == '0'))) return NULL;
        *out = leat_eight_digits(v << (64 - bits));
        return p + bits / 8;
    }
    if (*p == '0') return NULL;
    uint64_t value = leat_eight_digits(v);
    p += 8;
    v = leat_load_u64(p);
    stop = leat_nondigits(v);
    if (LEAT_LIKELY(stop)) {
        unsigned bits = (unsigned)__builtin_ctzll(stop) & ~7u;
        if (bits) value = value * leat_powers_of_10[bits / 8] + leat_eight_digits(v << (64 - bits));
        *out = value;
        return p + bits / 8;
    }
    value = value * 100000000 + leat_eight_digits(v);
    p += 8;
    for (int extra = 0; *p >= '0' && *p <= '9'; p++) {
        if (++extra > 2) return NULL;
        value = value * 10 + (uint64_t)(*p - '0');
    }
    *out = value;
    return p;
}

/* leat_string_of for text with 16 readable bytes. */
static inline void leat_put_string(struct leat_string *out, const char *text, uint32_t length) {
    if (length > LEAT_STRING_INLINE) {
        out->u.pointer.length = length;
        memcpy(out->u.pointer.prefix, text, 4);
        out->u.pointer.data = text;
        return;
    }
#if defined(LEAT_SSE2)
    static const unsigned char keep[2 * 16] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    /* keep + 12 - length: `length` bytes of 255, then zeros. */
    __m128i mask = _mm_loadu_si128((const void *)(keep + LEAT_STRING_INLINE - length));
    __m128i v = _mm_and_si128(_mm_loadu_si128((const void *)text), mask);
    _mm_storeu_si128((void *)out, _mm_or_si128(_mm_slli_si128(v, 4), _mm_cvtsi32_si128((int)length)));
#else
    *out = leat_string_of(text, length);
#endif
}

#endif
