/* Bodies of requests: received piece by piece, decompressed with a cap, split into records. Thread: one at a time. */
#ifndef LEAT_SERVE_BODY_H
#define LEAT_SERVE_BODY_H

#include "base/limits.h"
#include "base/mem.h"

#define LEAT_BODY_BYTES_MAX (LEAT_BLOCK_MAX - LEAT_MIB)  /* decompressed, and as it comes */
#define LEAT_BODY_DISCARD_MAX (4 * LEAT_BODY_BYTES_MAX)  /* of a refused body: beyond it the connection is closed */
#define LEAT_BODY_ALL_MAX (256 * LEAT_MIB)               /* all bodies at once */
_Static_assert(LEAT_BODY_BYTES_MAX < LEAT_BLOCK_MAX, "a body is one block of the log");

enum leat_encoding { LEAT_ENCODING_NONE, LEAT_ENCODING_GZIP, LEAT_ENCODING_ZSTD };
/* False: an encoding that leat does not take. text NULL: none. */
bool leat_encoding_of(const char *text, enum leat_encoding *out);

struct leat_decompressor;
struct leat_body {
    enum leat_encoding encoding;
    struct leat_decompressor *decompressor;
    size_t received_bytes;      /* as they came */
    struct leat_buffer content; /* decompressed */
};
void leat_body_init(struct leat_body *, enum leat_encoding);
void leat_body_deinit(struct leat_body *);
/* LIMIT: the cap; INVALID: damaged compressed data. After an error nothing more may be added. */
enum leat_status leat_body_add(struct leat_body *, const char *bytes, size_t n, struct leat_error *) LEAT_MUST;
size_t leat_body_held_bytes(const struct leat_body *); /* of memory */
/* INVALID: it ends in the middle of compressed data. */
enum leat_status leat_body_end(struct leat_body *, struct leat_error *) LEAT_MUST;

/* The records of a text, in place: a control character is put behind each, and LEAT_PAYLOAD_SLACK bytes behind the text. */
struct leat_records { uint32_t *starts, *ends, count, capacity; };
/* lines: each line that is not blank is a record, whatever is in it. Else the text is JSON: an array's elements, or one value, or several.
 * INVALID names the byte and what is wrong there, or the nesting over LEAT_NESTING_MAX. LIMIT: too many records. */
enum leat_status leat_records_split(struct leat_buffer *text, bool lines, struct leat_records *out, struct leat_error *) LEAT_MUST;
void leat_records_deinit(struct leat_records *);

#endif
