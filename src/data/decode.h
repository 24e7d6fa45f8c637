/* Schema-directed decoding of records into columns. One decoder a source; not thread-safe.
 * out's schema is the source's declared columns (without INCLUDE columns). Each record gives exactly one
 * row or one reject. Strings in `out` may point into the payload (keep it while the batch lives) or into out->strings. */
#ifndef LEAT_DATA_DECODE_H
#define LEAT_DATA_DECODE_H

#include "data/schema.h"
#include "log/log.h"
#include "project/project.h"

struct leat_reject { uint32_t record; char *reason; }; /* reason owned by the decoder until the next call */
struct leat_decoder;
enum leat_status leat_decoder_open(const struct leat_source *, struct leat_decoder **out, struct leat_error *) LEAT_MUST;
void leat_decoder_close(struct leat_decoder *);
/* Avro by a registry's schemas: they are files of dir, NUMBER.json (empty: there is no such schema that can be used). */
void leat_decoder_use_schemas(struct leat_decoder *, struct leat_io *, const char *dir);
/* Decodes records [from, from+count) of the block, appending rows; records_out[row - rows_before] = index of the record in the block;
 * lossy[...] bit set in `lossy` (may be NULL; one byte a row) where the columns lose something of the payload (unknown keys, dropped precision ...).
 * CSV columns are found by block->header (re-read when it changes); without a header by declared order.
 * Rejects: bad JSON/CSV, NOT NULL missing, a value that does not fit its type, invalid UTF-8, nesting over 64. */
enum leat_status leat_decode(struct leat_decoder *, const struct leat_block *, uint32_t from, uint32_t count, struct leat_changes *out,
                             uint32_t *records_out, uint8_t *lossy, const struct leat_reject **rejects, size_t *reject_count, struct leat_error *) LEAT_MUST;
/* Splits bytes into records (newline; CSV: quoted newlines). Returns how many bytes were consumed; fills starts/ends up to max records.
 * at_end: the last record may lack its newline. */
size_t leat_split_records(enum leat_format, const char *bytes, size_t n, bool at_end, uint32_t *starts, uint32_t *ends, uint32_t max, uint32_t *count);

#endif
