/* A few rows as one Parquet file. DuckDB's COPY costs about a millisecond however few the rows; most commits, late and
 * dead tables and checkpoints of small projects are that small. One row group, one plain, uncompressed page a column,
 * every column optional, no statistics (Delta's log has them). Larger batches are DuckDB's: dictionaries and
 * compression pay there. Source: parquet.thrift (format 2.10), Encodings.md; the footer in Thrift's compact protocol.
 */
#ifndef LEAT_DATA_PARQUET_H
#define LEAT_DATA_PARQUET_H

#include "data/schema.h"

/* Appends the file's bytes to `out`: the rows of all batches, in order; weights are not looked at.
 * schema       types of every batch's columns. Integers without a signed Parquet counterpart are widened: unsigned ones
 * to the next signed one, UBIGINT to DECIMAL(20,0), HUGEINT and UHUGEINT to DECIMAL(38,0) (as leat_delta_storage_type)
 * names        one a column; NULL: the schema's
 * Returns false, out unchanged, when the file would lose something: a TIME, INTERVAL, UUID or NESTED column, an integer
 * of more than 38 digits, a column of more than LEAT_PARQUET_PAGE_BYTES_MAX. Thread: any. */
bool leat_parquet_write(const struct leat_schema *schema, const char *const *names, const struct leat_changes *batches,
                        size_t batch_count, struct leat_buffer *out);

#endif
