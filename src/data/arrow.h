/* Rows as an Arrow IPC stream (Arrow columnar format 1.x: a schema message, record batches, the end mark). Types: integers, floats, decimal128,
 * utf8, binary, date32, time64[us], timestamp[us] with and without UTC, month_day_nano intervals; UUID is fixed_size_binary(16), HUGEINT and UHUGEINT
 * are utf8, since Arrow has none of 128 bits.
 * Source: Apache Arrow format/Schema.fbs and Message.fbs, FlatBuffers. */
#ifndef LEAT_DATA_ARROW_H
#define LEAT_DATA_ARROW_H

#include "data/schema.h"

void leat_put_arrow_stream(struct leat_buffer *out, const struct leat_changes *rows);

#endif
