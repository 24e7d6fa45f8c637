/* Canonical keys: equal bytes exactly when SQL says IS NOT DISTINCT FROM (rule 9): -0.0 = 0.0, every
 * NaN equals every NaN, intervals normalised as DuckDB compares them, NULL equals NULL and nothing
 * else, strings by bytes (collations are refused earlier). */
#ifndef LEAT_DATA_KEY_H
#define LEAT_DATA_KEY_H

#include "data/schema.h"

/* Appends the canonical encoding of columns[0..count) of one row: per column one tag byte (0 NULL,
 * 1 value) then the fixed bytes, or 4 bytes of length and the bytes. Self-delimiting. */
enum leat_status leat_key_encode(const struct leat_changes *c, size_t row, const uint16_t *columns, size_t count,
                                 struct leat_buffer *out, struct leat_error *err) LEAT_MUST;
/* Appends to out a row with these values in the columns and NULL elsewhere. CORRUPT: bytes that leat_key_encode did not write for them. */
enum leat_status leat_key_decode(const char *bytes, size_t n, const uint16_t *columns, size_t count, struct leat_changes *out,
                                 struct leat_error *err) LEAT_MUST;
struct leat_hash128 { uint64_t low, high; };
/* 128-bit XXH3 of the canonical key of rows [from, from+n): of its encoding, or of the bytes where the key is one string column.
 * Equal keys of equal types get equal hashes. Checkpoints hold them. out: n entries. */
void leat_key_hash(const struct leat_changes *c, size_t from, size_t n, const uint16_t *columns, size_t count, struct leat_hash128 *out);
/* Are the keys of two rows equal? The column lists have the same types pairwise. */
bool leat_key_equal(const struct leat_changes *a, size_t row_a, const uint16_t *columns_a,
                    const struct leat_changes *b, size_t row_b, const uint16_t *columns_b, size_t count);
/* Total order: each column ascending in DuckDB's order (strings by bytes, NaN greatest), NULLs last. <0, 0, >0. */
int leat_key_compare(const struct leat_changes *a, size_t row_a, const uint16_t *columns_a,
                     const struct leat_changes *b, size_t row_b, const uint16_t *columns_b, size_t count);

#endif
