/* Bytes to records. See decode.h. */
#include "data/decode.h"

/* A quoted CSV field that is not closed within this many bytes was no quoted field: its line ends where it ends. */
enum { QUOTED_MAX_BYTES = 128 * 1024 };

/* A quote opens a field only at the record's start or after what may be a delimiter (see csv_decode.c). */
static bool may_open(const char *start, const char *quote) {
    return quote == start || quote[-1] == ',' || quote[-1] == ';' || quote[-1] == '\t' || quote[-1] == '|';
}

/* The line feed that ends the CSV record at `start`, `line` being its first; NULL: not within the bytes. */
static const char *csv_record_end(const char *start, const char *line, const char *end, bool at_end) {
    const char *p = start, *first_line = line;
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(line - p));
        if (!quote) return line;
        if (!may_open(start, quote)) {
            p = quote + 1;
            continue;
        }
        for (p = quote + 1;;) { /* to the closing quote; two are one of the content */
            const char *close = memchr(p, '"', (size_t)(end - p));
            if (!close || close - start > QUOTED_MAX_BYTES)
                return at_end || end - start > QUOTED_MAX_BYTES ? first_line : NULL;
            if (close + 1 == end && !at_end) return NULL; /* perhaps the first of two */
            p = close + 1;
            if (p == end || *p != '"') break;
            p++;
        }
        if (line < p) {
            line = memchr(p, '\n', (size_t)(end - p));
            if (!line) {
                if (!at_end) return NULL;
                line = end;
            }
        }
    }
}

static bool is_blank(enum leat_format format, const char *p, const char *end) {
    if (format == LEAT_FORMAT_CSV) return p == end;
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    return p == end;
}

size_t leat_split_records(enum leat_format format, const char *bytes, size_t n, bool at_end, uint32_t *starts,
                          uint32_t *ends, uint32_t max, uint32_t *count) {
    *count = 0;
    if (n > UINT32_MAX) n = UINT32_MAX, at_end = false;
    const char *p = bytes, *end = bytes + n;
    while (p < end && *count < max) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        if (!line && !at_end) break;
        if (!line) line = end;
        if (format == LEAT_FORMAT_CSV) {
            line = csv_record_end(p, line, end, at_end);
            if (!line) break;
        }
        const char *stop = line > p && line[-1] == '\r' ? line - 1 : line;
        if (!is_blank(format, p, stop)) {
            starts[*count] = (uint32_t)(p - bytes);
            ends[(*count)++] = (uint32_t)(stop - bytes);
        }
        p = line < end ? line + 1 : end;
    }
    return (size_t)(p - bytes);
}
