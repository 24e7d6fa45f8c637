/* Values and rows as text for people and programs: JSON, CSV.
 *
 * JSON: booleans and numbers are JSON's (BIGINT, HUGEINT and DECIMAL with all their digits); NaN and the infinities of floats are
 * strings; DATE "2026-01-31"; TIME "12:30:00.5"; TIMESTAMP "2026-01-31T12:30:00.5"; TIMESTAMP WITH TIME ZONE the same with "Z"; INTERVAL
 * ISO 8601 ("P1M2DT3.5S"); UUID its text; BLOB base64. Doubles are the shortest text that reads back equal.
 * Deterministic; thread: any. */
#ifndef LEAT_DATA_PRINT_H
#define LEAT_DATA_PRINT_H

#include "data/schema.h"

void leat_put_value(struct leat_buffer *, const struct leat_column *, size_t row); /* text, unquoted; NULL: nothing */
void leat_put_json_value(struct leat_buffer *, const struct leat_column *, size_t row);
void leat_put_json_row(struct leat_buffer *, const struct leat_changes *, size_t row); /* {"a":1,"b":null} */
void leat_put_csv_row(struct leat_buffer *, const struct leat_changes *, size_t row);  /* RFC 4180, ends with CRLF; NULL empty, empty text "" */
void leat_put_csv_header(struct leat_buffer *, const struct leat_schema *);

#endif
