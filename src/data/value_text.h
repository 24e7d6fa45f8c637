/* Values to text and to JSON, exactly: what is read back as the value's type is the value. */
#ifndef LEAT_DATA_VALUE_TEXT_H
#define LEAT_DATA_VALUE_TEXT_H

#include "data/schema.h"

/* Appends the text of a value that is not NULL: numbers in full (the shortest text of a floating-point number that reads back as the same;
 * NaN, Infinity, -Infinity), true and false, 2026-01-31, 23:59:59.5, 2026-01-31 23:59:59.5 (TIMESTAMPTZ: UTC, with +00), strings and blobs
 * as their bytes, UUIDs in lower case, intervals as "1 month 2 days 3 us". */
void leat_put_value(struct leat_buffer *, const struct leat_column *, size_t row);
/* Appends a value as JSON: null, numbers, true and false; everything else a string: times as ISO 8601 (TIMESTAMPTZ with Z), blobs in base64,
 * what JSON has no number for as "NaN", "Infinity", "-Infinity". Invalid UTF-8 becomes U+FFFD. */
void leat_put_json_value(struct leat_buffer *, const struct leat_column *, size_t row);
/* Appends the row as a JSON object, the columns in their order. */
void leat_put_json_row(struct leat_buffer *, const struct leat_changes *, size_t row);
/* Appends the row as a line of CSV (RFC 4180, ends with CRLF; NULL is empty, an empty text is "", blobs in base64); the line of names. */
void leat_put_csv_row(struct leat_buffer *, const struct leat_changes *, size_t row);
void leat_put_csv_header(struct leat_buffer *, const struct leat_schema *);
void leat_put_base64(struct leat_buffer *, const void *bytes, size_t n);

#endif
