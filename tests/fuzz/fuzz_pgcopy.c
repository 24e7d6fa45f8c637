/* Any bytes as pieces of PostgreSQL's binary COPY, each with its length (2 bytes) before it, for columns of all types; and all of them as a line of text. */
#include <stdlib.h>
#include <string.h>

#include "connect/postgres_copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct { uint32_t oid; struct leat_type type; } columns[] = {
    {16, {.kind = LEAT_BOOLEAN}},   {17, {.kind = LEAT_BLOB}},      {20, {.kind = LEAT_UHUGEINT}},  {23, {.kind = LEAT_TINYINT}},
    {25, {.kind = LEAT_VARCHAR}},   {701, {.kind = LEAT_DOUBLE}},   {1082, {.kind = LEAT_DATE}},    {1083, {.kind = LEAT_TIME}},
    {1184, {.kind = LEAT_TIMESTAMP}}, {2950, {.kind = LEAT_UUID}},  {1700, {.kind = LEAT_DECIMAL, .width = 18, .scale = 4}},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_schema schema = {0};
    struct leat_changes rows;
    struct leat_error err;
    struct leat_row_value values[3];
    uint32_t oids[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++) {
        leat_schema_add(&schema, "c", columns[i].type, false);
        oids[i] = columns[i].oid;
    }
    leat_changes_init(&rows, &schema);
    for (const uint8_t *at = data, *end = data + size; end - at >= 2;) {
        size_t length = (size_t)at[0] << 8 | at[1];
        if (length > (size_t)(end - at - 2)) length = (size_t)(end - at - 2);
        char *piece = malloc(length + !length); /* its end is where the sanitizer sees it */
        memcpy(piece, at + 2, length);
        if (leat_pgcopy_binary(oids, piece, length, &rows, &err) != LEAT_OK) leat_changes_reset(&rows);
        free(piece);
        at += 2 + length;
    }
    char *line = malloc(size + !size), *plain = malloc(size + 1);
    memcpy(line, data, size);
    if (leat_pgcopy_text(line, size, 3, plain, values))
        for (int i = 0; i < 3; i++)
            if (values[i].data && (values[i].data < plain || values[i].data + values[i].length > plain + size + 1)) abort();
    free(line);
    free(plain);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    return 0;
}
