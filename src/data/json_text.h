/* JSON text read the slow and complete way (RFC 8259): values that the decoder's fast path declines. All bounded by
 * `end`. */
#ifndef LEAT_DATA_JSON_TEXT_H
#define LEAT_DATA_JSON_TEXT_H

#include "base/limits.h"
#include "data/schema.h"

/* Where and why a text is not JSON. */
struct leat_json_fault {
    const char *at;
    const char *what; /* static */
};

static inline const char *leat_json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p;
}
/* Checks one value of any kind at p (no white space before it), `depth` containers around it. Returns what follows
 * it; NULL and fault. The bytes of strings are not checked for UTF-8. */
const char *leat_json_skip(const char *p, const char *end, int depth, struct leat_json_fault *fault);
/* The same for a number alone. */
const char *leat_json_skip_number(const char *p, const char *end, struct leat_json_fault *fault);
/* Reads the string whose opening quote is before p. Returns what follows the closing quote; *text and *length are
 * its content: a piece of the input, or in the arena where escapes had to be resolved. NULL and fault when it is not
 * a string or not UTF-8. */
const char *leat_json_string(const char *p, const char *end, struct leat_arena *arena, const char **text,
                             size_t *length, struct leat_json_fault *fault);

#endif
