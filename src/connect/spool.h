/* Names and places of the spool's files, shared by its writer (feed.c) and reader (file_spool.c). */
#ifndef LEAT_CONNECT_SPOOL_H
#define LEAT_CONNECT_SPOOL_H

#include "log/segment.h"

#define LEAT_SPOOL_DIGITS 6
#define LEAT_SPOOL_FILE_MAX 999999u
#define LEAT_SPOOL_FILE_BYTES LEAT_SEGMENT_BYTES
#define LEAT_SPOOL_AT_BITS 40 /* a position is file << 40 | byte */
_Static_assert(LEAT_SPOOL_FILE_BYTES + 4 * LEAT_BLOCK_MAX < (size_t)1 << LEAT_SPOOL_AT_BITS,
               "a place in a spool file fits");

static inline char *leat_spool_path(const char *dir, uint64_t number) {
    return leat_asprintf("%s/%0*llu.spool", dir, LEAT_SPOOL_DIGITS, (unsigned long long)number);
}
/* Numbers of the spool files, ascending; CORRUPT: one is missing in between. */
enum leat_status leat_spool_list(struct leat_io *, const char *dir, uint64_t *first, uint64_t *last,
                                 struct leat_error *) LEAT_MUST; /* 0, 0: none */

#endif
