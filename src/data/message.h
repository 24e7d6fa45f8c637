/* A message as a record: what stands beside its value, and the value. One line of text, so that a dead letter's payload can be
 * read, and then the bytes as they came:
 *
 *     PARTITION OFFSET TIMESTAMP_US KEY_BYTES VALUE_BYTES HEADER_BYTES...\n<key><headers' values><value>
 *
 * Numbers in decimal; -1 bytes: there is none (a null value is a tombstone), TIMESTAMP_US -1: unknown. Headers are those that the
 * source includes, in the order of its columns: the last of its name. */
#ifndef LEAT_DATA_MESSAGE_H
#define LEAT_DATA_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LEAT_MESSAGE_HEADERS_MAX = 64, LEAT_MESSAGE_LINE_MAX = 128 + 12 * LEAT_MESSAGE_HEADERS_MAX };

/* data NULL: there is none. */
struct leat_bytes {
    const char *data;
    size_t length;
};
struct leat_message {
    int64_t partition, offset, timestamp_us;
    struct leat_bytes key, value, headers[LEAT_MESSAGE_HEADERS_MAX];
    size_t header_count;
};
/* Bytes that the message takes as a record, at most. */
size_t leat_message_size(const struct leat_message *);
/* Writes it; returns how many bytes. */
size_t leat_message_write(const struct leat_message *, char *out);
/* Reads one; borrows the record. False: it is none, or not all of it (its end may have been cut off). */
bool leat_message_read(const char *record, size_t length, struct leat_message *out);

#endif
