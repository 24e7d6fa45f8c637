/* Messages as records; the format stands in message.h. */
#include "data/message.h"

#include <string.h>

static char *put_number(char *to, int64_t number) {
    char digits[24];
    size_t n = 0;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    if (number < 0) *to++ = '-';
    do
        digits[n++] = (char)('0' + left % 10);
    while (left /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

static int64_t length_of(const struct leat_bytes *bytes) {
    return bytes->data ? (int64_t)bytes->length : -1;
}

static char *put_bytes(char *to, const struct leat_bytes *bytes) {
    if (bytes->data) memcpy(to, bytes->data, bytes->length);
    return bytes->data ? to + bytes->length : to;
}

size_t leat_message_size(const struct leat_message *m) {
    size_t size = LEAT_MESSAGE_LINE_MAX + m->key.length + m->value.length;
    for (size_t i = 0; i < m->header_count; i++)
        size += m->headers[i].length;
    return size;
}

size_t leat_message_write(const struct leat_message *m, char *out) {
    const int64_t numbers[] = {m->partition, m->offset, m->timestamp_us, length_of(&m->key), length_of(&m->value)};
    char *to = out;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (i) *to++ = ' ';
        to = put_number(to, numbers[i]);
    }
    for (size_t i = 0; i < m->header_count; i++) {
        *to++ = ' ';
        to = put_number(to, length_of(&m->headers[i]));
    }
    *to++ = '\n';
    to = put_bytes(to, &m->key);
    for (size_t i = 0; i < m->header_count; i++)
        to = put_bytes(to, &m->headers[i]);
    return (size_t)(put_bytes(to, &m->value) - out);
}

/* At most 18 digits, so that nothing overflows. */
static const char *take_number(const char *p, const char *end, int64_t *out) {
    bool negative = p < end && *p == '-';
    const char *first = p += negative;
    int64_t number = 0;
    for (; p < end && *p >= '0' && *p <= '9' && p - first < 18; p++)
        number = number * 10 + (*p - '0');
    *out = negative ? -number : number;
    return p > first && p < end ? p : NULL;
}

static const char *take_bytes(const char *p, const char *end, int64_t length, struct leat_bytes *out) {
    *out = (struct leat_bytes){0};
    if (!p || length < 0) return p;
    if (length > end - p) return NULL;
    *out = (struct leat_bytes){p, (size_t)length};
    return p + length;
}

bool leat_message_read(const char *record, size_t length, struct leat_message *out) {
    enum { FIXED = 5 };
    const char *p = record, *end = record + length;
    int64_t numbers[FIXED + LEAT_MESSAGE_HEADERS_MAX];
    size_t count = 0;
    for (;; p++) {
        if (count == sizeof numbers / sizeof *numbers || !(p = take_number(p, end, &numbers[count++]))) return false;
        if (*p != ' ') break;
    }
    if (*p++ != '\n' || count < FIXED) return false;
    out->partition = numbers[0];
    out->offset = numbers[1];
    out->timestamp_us = numbers[2];
    out->header_count = count - FIXED;
    p = take_bytes(p, end, numbers[3], &out->key);
    for (size_t i = 0; i < out->header_count; i++)
        p = take_bytes(p, end, numbers[FIXED + i], &out->headers[i]);
    p = take_bytes(p, end, numbers[4], &out->value);
    return p == end;
}
