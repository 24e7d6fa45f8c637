/* See utf8.h. */
#include "data/utf8.h"

#include <string.h>

static bool is_tail(unsigned char c) {
    return (c & 0xC0) == 0x80;
}

/* Length of the valid sequence at s (n > 0 bytes left), 0 when there is none. */
static size_t sequence_length(const unsigned char *s, size_t n) {
    unsigned char c = s[0];
    if (c < 0x80) return 1;
    if (c < 0xC2 || c > 0xF4) return 0;
    if (c < 0xE0) return n >= 2 && is_tail(s[1]) ? 2 : 0;
    /* The second byte's range is what excludes overlong forms, surrogates and the beyond. */
    unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (n < 3 || s[1] < low || s[1] > high || !is_tail(s[2])) return 0;
    if (c < 0xF0) return 3;
    return n >= 4 && is_tail(s[3]) ? 4 : 0;
}

size_t leat_utf8_prefix(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    size_t at = 0;
    while (at < n) {
        uint64_t word;
        if (n - at >= 8 && (memcpy(&word, s + at, 8), !(word & 0x8080808080808080ull))) {
            at += 8;
            continue;
        }
        size_t length = sequence_length(s + at, n - at);
        if (!length) break;
        at += length;
    }
    return at;
}

bool leat_utf8_valid(const char *text, size_t n) {
    return leat_utf8_prefix(text, n) == n;
}

size_t leat_utf8_put(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(leads[length] | c);
    return length;
}
