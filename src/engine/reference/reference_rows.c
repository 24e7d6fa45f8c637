/* A reference in a database: a table or a query, read whole by one statement. Where the database's types are the declared ones they become columns at
 * once; else the rows come as CSV and are decoded like a file of that, so that a value means the same wherever it stood. */
#include "engine/reference/reference_internal.h"

#include <stdlib.h>
#include <string.h>

#include "connect/rows.h"

static void put_header(struct leat_buffer *content, const struct leat_source *def) {
    struct leat_row_value *names = leat_alloc((def->value_count + 1) * sizeof *names);
    struct leat_source text = *def;
    leat_schema_copy(&text.schema, &def->schema);
    for (size_t i = 0; i < def->value_count; i++) {
        const char *name = leat_source_column(def, i);
        names[i] = (struct leat_row_value){name, strlen(name)};
        text.schema.fields[i].type.kind = LEAT_VARCHAR;
    }
    leat_row_put_csv(content, &text, names);
    leat_schema_deinit(&text.schema);
    free(names);
}

static enum leat_status read_csv(struct leat_database *rows, const struct leat_source *def, struct leat_buffer *content, struct leat_error *err) {
    const struct leat_rows_query all = {.cursor = -1};
    const struct leat_row_value *values;
    enum leat_status st = rows->ops->begin(rows, &all, err);
    put_header(content, def);
    while (st == LEAT_OK && (st = rows->ops->next(rows, &values, err)) == LEAT_OK) {
        leat_row_put_csv(content, def, values);
        if (content->length > LEAT_REFERENCE_BYTES_MAX)
            st = leat_fail(err, LEAT_LIMIT, "it is larger than %zu bytes, which a reference may be", LEAT_REFERENCE_BYTES_MAX);
    }
    return st == LEAT_END ? LEAT_OK : st;
}

enum leat_status leat_reference_rows_read(const struct leat_source *def, const atomic_int *stop, struct leat_changes *out, struct leat_buffer *content, struct leat_error *err) {
    struct leat_database *rows;
    enum leat_status st = leat_database_find(def->connector)->open(def, stop, &rows, err);
    if (st != LEAT_OK) return st;
    st = rows->ops->columns ? rows->ops->columns(rows, out, err) : LEAT_UNSUPPORTED;
    if (st == LEAT_UNSUPPORTED) st = read_csv(rows, def, content, err);
    rows->ops->close(rows);
    return st;
}
