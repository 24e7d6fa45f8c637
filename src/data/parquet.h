/* Rows in memory as one Parquet file. DuckDB's COPY costs about a millisecond however few the rows, and for many of
 * them more than twice the CPU time: it copies them into its own shape, looks at every value once more than is needed,
 * and grows its pages by copying; and these rows are a table's every commit. What is computed by SQL anyway is DuckDB's
 * to write. Every column is optional, a page a column and row group. Source: parquet.thrift (format 2.10),
 * Encodings.md; the footer in Thrift's compact protocol.
 */
#ifndef LEAT_DATA_PARQUET_H
#define LEAT_DATA_PARQUET_H

#include "data/range.h"
#include "data/schema.h"

enum leat_parquet_form {
    LEAT_PARQUET_PLAIN,   /* for few rows, that are soon joined with others: plain values, uncompressed */
    LEAT_PARQUET_COMPACT, /* dictionaries where values repeat, else delta encodings of integers and lengths; zstd where
                             it helps; statistics in each row group. Floats are plain else: Spark's vectorised reader
                             lacks BYTE_STREAM_SPLIT */
};
struct leat_parquet_rows { /* of `batches`, in order; weights are not looked at */
    const struct leat_changes *batches;
    size_t batch_count;
    size_t from, count; /* rows [from, from + count), counted through all batches */
};
enum { LEAT_PARQUET_GROUP_ROWS = 122880 }; /* DuckDB's default */
enum { LEAT_FEW_ROWS = 256 };              /* up to which a file is written plain */

/* Appends the file's bytes to `out`.
 * schema       types of every batch's columns. Integers without a signed Parquet counterpart are widened: unsigned ones
 * to the next signed one, UBIGINT to DECIMAL(20,0), HUGEINT and UHUGEINT to DECIMAL(38,0) (as leat_delta_storage_type)
 * names        one a column; NULL: the schema's
 * group_rows   of a row group at most
 * ranges       one a column, zeroed: the ranges of what was written, strings borrowed from the batches. May be NULL
 * Returns false, `out` unchanged, when the file would lose something: no columns, a TIME, INTERVAL, UUID or NESTED column, an
 * integer of more than 38 digits, a column of more than LEAT_PARQUET_PAGE_BYTES_MAX in a row group. Thread: any. */
bool leat_parquet_write(const struct leat_schema *schema, const char *const *names,
                        const struct leat_parquet_rows *rows, enum leat_parquet_form form, size_t group_rows,
                        struct leat_range *ranges, struct leat_buffer *out);

#endif
