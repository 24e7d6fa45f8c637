/* See json_text.h. */
#include "data/json_text.h"

#include "data/utf8.h"

static const char *fail(struct leat_json_fault *fault, const char *at, const char *what) {
    *fault = (struct leat_json_fault){at, what};
    return NULL;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p, const char *end) {
    if (end - p < 4) return -1;
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int h = hex_value(p[i]);
        if (h < 0) return -1;
        v = v << 4 | h;
    }
    return v;
}

/* One escape whose backslash stands at p; writes its bytes (at most 4) and how many. */
static const char *take_escape(const char *p, const char *end, char *out, size_t *length,
                               struct leat_json_fault *fault) {
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2) return fail(fault, p, "an escape is cut off");
    const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
    if (letter) {
        *out = bytes[letter - letters];
        *length = 1;
        return p + 2;
    }
    if (p[1] != 'u') return fail(fault, p, "an unknown escape");
    int32_t code = hex4(p + 2, end);
    if (code < 0) return fail(fault, p, "\\u without four hexadecimal digits");
    const char *after = p + 6;
    if (code >= 0xDC00 && code <= 0xDFFF) return fail(fault, p, "half a surrogate pair");
    if (code >= 0xD800 && code <= 0xDBFF) {
        int32_t low = end - after >= 2 && after[0] == '\\' && after[1] == 'u' ? hex4(after + 2, end) : -1;
        if (low < 0xDC00 || low > 0xDFFF) return fail(fault, p, "half a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        after += 6;
    }
    *length = leat_utf8_put(out, (uint32_t)code);
    return after;
}

/* Finds the closing quote of the string that starts at p; *escaped: there is a backslash in it. */
static const char *find_quote(const char *p, const char *end, bool *escaped, struct leat_json_fault *fault) {
    *escaped = false;
    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"') return p;
        if (c < 0x20) return fail(fault, p, "a control character in a string");
        if (c == '\\') {
            *escaped = true;
            p++;
        }
    }
    return fail(fault, end, "a string without its closing quote");
}

const char *leat_json_string(const char *p, const char *end, struct leat_arena *arena, const char **text,
                             size_t *length, struct leat_json_fault *fault) {
    bool escaped;
    const char *close = find_quote(p, end, &escaped, fault);
    if (!close) return NULL;
    size_t n = (size_t)(close - p);
    if (n > UINT32_MAX) return fail(fault, p, "a string of 4 GiB or more");
    size_t valid = leat_utf8_prefix(p, n);
    if (valid != n) return fail(fault, p + valid, "invalid UTF-8");
    if (!escaped) {
        *text = p;
        *length = n;
        return close + 1;
    }
    /* Every escape is at least as long as what it stands for. */
    char *out = leat_arena_alloc(arena, n + 16);
    *text = out;
    while (p < close) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        size_t written;
        p = take_escape(p, close, out, &written, fault);
        if (!p) return NULL;
        out += written;
    }
    *length = (size_t)(out - *text);
    return close + 1;
}

/* As leat_json_string without the content. */
static const char *skip_string(const char *p, const char *end, struct leat_json_fault *fault) {
    bool escaped;
    const char *close = find_quote(p, end, &escaped, fault);
    if (!close) return NULL;
    while (escaped && (p = memchr(p, '\\', (size_t)(close - p)))) {
        char out[4];
        size_t written;
        p = take_escape(p, close, out, &written, fault);
        if (!p) return NULL;
    }
    return close + 1;
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && is_digit(*p))
        p++;
    return p;
}

const char *leat_json_skip_number(const char *p, const char *end, struct leat_json_fault *fault) {
    const char *start = p;
    if (p < end && *p == '-') p++;
    const char *digits = p;
    p = skip_digits(p, end);
    if (p == digits) return fail(fault, start, "not a JSON value");
    if (*digits == '0' && p - digits > 1) return fail(fault, start, "a number with a leading zero");
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p, end);
        if (p == fraction) return fail(fault, start, "a number without digits after its point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '-' || *p == '+')) p++;
        const char *exponent = p;
        p = skip_digits(p, end);
        if (p == exponent) return fail(fault, start, "a number without digits in its exponent");
    }
    return p;
}

static const char *skip_word(const char *p, const char *end, const char *word, struct leat_json_fault *fault) {
    size_t n = strlen(word);
    if ((size_t)(end - p) < n || memcmp(p, word, n)) return fail(fault, p, "not a JSON value");
    return p + n;
}

_Static_assert(LEAT_NESTING_MAX == 64, "the message below says so");

/* The members of an object or the items of an array, after its opening bracket. */
static const char *skip_container(const char *p, const char *end, int depth, char close,
                                  struct leat_json_fault *fault) {
    if (depth > LEAT_NESTING_MAX) return fail(fault, p, "nested deeper than 64");
    p = leat_json_space(p, end);
    if (p < end && *p == close) return p + 1;
    for (;;) {
        if (close == '}') {
            if (p >= end || *p != '"') return fail(fault, p, "a key in double quotes was expected");
            p = skip_string(p + 1, end, fault);
            if (!p) return NULL;
            p = leat_json_space(p, end);
            if (p >= end || *p != ':') return fail(fault, p, "\":\" was expected");
            p = leat_json_space(p + 1, end);
        }
        p = leat_json_skip(p, end, depth, fault);
        if (!p) return NULL;
        p = leat_json_space(p, end);
        if (p < end && *p == close) return p + 1;
        if (p >= end || *p != ',')
            return fail(fault, p, close == '}' ? "\",\" or \"}\" was expected" : "\",\" or \"]\" was expected");
        p = leat_json_space(p + 1, end);
    }
}

const char *leat_json_skip(const char *p, const char *end, int depth, struct leat_json_fault *fault) {
    if (p >= end) return fail(fault, p, "the record ends where a value was expected");
    switch (*p) {
    case '"':
        return skip_string(p + 1, end, fault);
    case '{':
        return skip_container(p + 1, end, depth + 1, '}', fault);
    case '[':
        return skip_container(p + 1, end, depth + 1, ']', fault);
    case 't':
        return skip_word(p, end, "true", fault);
    case 'f':
        return skip_word(p, end, "false", fault);
    case 'n':
        return skip_word(p, end, "null", fault);
    default:
        return leat_json_skip_number(p, end, fault);
    }
}
