/* Any bytes as messages of PostgreSQL's logical replication, each with its length (2 bytes) before it; and all of them as a row that was copied. What
 * comes out must be whole lines of JSON without raw control characters. */
#include <stdlib.h>
#include <string.h>
#include "connect/postgres_pgoutput.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct leat_source *source(void) {
    static const char text[] = "CREATE SOURCE o (id BIGINT, s VARCHAR, b BLOB, f DOUBLE, t BOOLEAN, PRIMARY KEY (id)) WITH (connector = 'postgres', "
                               "dsn = 'host=x', 'table' = 'orders', slot = 'x');";
    static struct leat_project *project;
    struct leat_diagnostics diags = {0};
    if (!project) project = leat_project_parse("p.sql", text, sizeof text - 1, &diags);
    leat_diagnostics_deinit(&diags);
    return &project->sources[0];
}

static void check_lines(const struct leat_buffer *out) {
    if (out->length && out->data[out->length - 1] != '\n') abort();
    for (size_t i = 0, line = 0; i < out->length; i++) {
        if (i == line && out->data[i] != '{') abort();
        if (out->data[i] == '\n') line = i + 1;
        else if ((unsigned char)out->data[i] < 0x20) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_pgoutput reader = {.source = source(), .table = "orders"};
    struct leat_buffer out = {0};
    struct leat_error err;
    for (const uint8_t *at = data, *end = data + size; end - at >= 2;) {
        size_t length = (size_t)at[0] << 8 | at[1];
        if (length > (size_t)(end - at - 2)) length = (size_t)(end - at - 2);
        char *message = malloc(length + !length); /* its end is where the sanitizer sees it */
        memcpy(message, at + 2, length);
        if (leat_pgoutput_read(&reader, message, length, &out, &err) == LEAT_OK) check_lines(&out);
        free(message);
        at += 2 + length;
    }
    leat_buffer_reset(&out);
    char *row = malloc(size + !size);
    memcpy(row, data, size);
    if (leat_pgoutput_copied(source(), row, size, &out, &err) == LEAT_OK) check_lines(&out);
    free(row);
    leat_buffer_deinit(&out);
    return 0;
}
