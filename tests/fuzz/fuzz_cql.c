/* Any bytes as answers of a Cassandra: frames one behind the other, each decoded, its rows and values read. */
#include <stdlib.h>
#include <string.h>
#include "connect/cql/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_rows(struct leat_cql_result *result) {
    struct leat_cql_bytes *values = calloc(result->column_count + 1, sizeof *values);
    volatile unsigned sum = 0; /* reads must happen */
    uint32_t rows = 0;
    for (; leat_cql_next_row(result, values); rows++)
        for (uint32_t i = 0; i < result->column_count; i++) {
            int64_t number;
            for (int32_t b = 0; b < values[i].length; b++)
                sum = sum + values[i].data[b];
            if (leat_cql_get_integer(values[i], &number)) sum = sum + (unsigned)number;
        }
    if (result->kind == LEAT_CQL_ROWS && rows != result->row_count) abort();
    for (uint32_t i = 0; result->columns && i < result->column_count; i++)
        for (int32_t b = 0; b < result->columns[i].name.length; b++)
            sum = sum + result->columns[i].name.data[b];
    free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_error err;
    while (size >= LEAT_CQL_HEADER_BYTES) {
        struct leat_cql_header header;
        if (leat_cql_header_read(data, 1 << 20, &header, &err)) break;
        /* A body cut short is read as one that says so. A copy: the end is where the sanitizer sees it. */
        if (header.body_bytes > size - LEAT_CQL_HEADER_BYTES)
            header.body_bytes = (uint32_t)(size - LEAT_CQL_HEADER_BYTES);
        uint8_t *body = malloc(header.body_bytes + 1);
        memcpy(body, data + LEAT_CQL_HEADER_BYTES, header.body_bytes);
        uint8_t *exact = realloc(body, header.body_bytes ? header.body_bytes : 1);
        struct leat_cql_message message;
        if (leat_cql_message_read(&header, exact, &message, &err) == LEAT_OK) {
            if (message.opcode == LEAT_CQL_OP_ERROR && leat_cql_error(&message, &err) == LEAT_OK) abort();
            read_rows(&message.result);
            leat_cql_message_deinit(&message);
        }
        free(exact);
        data += LEAT_CQL_HEADER_BYTES + header.body_bytes;
        size -= LEAT_CQL_HEADER_BYTES + header.body_bytes;
    }
    return 0;
}
