/* Rows of PostgreSQL's COPY ... TO STDOUT, in its text and its binary format. No input or output; everything read is outside data.
 * Specification: PostgreSQL, COPY, "File Formats"; the types' send functions. */
#ifndef LEAT_CONNECT_POSTGRES_COPY_H
#define LEAT_CONNECT_POSTGRES_COPY_H

#include "connect/rows.h"

/* A line of the text format: its fields, escapes undone, in `plain` (length + 1 bytes), which `values` points into. False: it has not `count` fields. */
bool leat_pgcopy_text(const char *line, size_t length, size_t count, char *plain, struct leat_row_value *values);

/* Can columns of these PostgreSQL types (OIDs) be decoded as `schema` declares them, each value meaning what its text would? */
bool leat_pgcopy_fits(const uint32_t *types, const struct leat_schema *schema);
/* A piece of the binary format, as the server sends them: the header, a row, or the end. A row is appended to `out`, strings copied.
 * Errors INVALID a value that the declared type cannot hold; CORRUPT it is not laid out as the format says. `out` may then have a row more. */
enum leat_status leat_pgcopy_binary(const uint32_t *types, const char *piece, size_t length, struct leat_changes *out, struct leat_error *) LEAT_MUST;

#endif
