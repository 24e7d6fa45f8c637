/* UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LEAT_DATA_UTF8_H
#define LEAT_DATA_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when all n bytes form complete, valid sequences. Source: Unicode 15, table 3-7. */
bool leat_utf8_valid(const char *text, size_t n);
/* Writes the sequence of one code point (not a surrogate, at most 0x10FFFF); returns 1 to 4. */
size_t leat_utf8_put(char *out, uint32_t code_point);
/* Bytes of the longest valid prefix. */
size_t leat_utf8_prefix(const char *text, size_t n);

#endif
