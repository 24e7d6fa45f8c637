/* See parquet.h. The file: "PAR1", row groups, each the pages of its columns one after another, the footer, its length
 * (4 bytes), "PAR1". */
#include "data/parquet.h"

#include <stdlib.h>

#include "data/parquet_internal.h"

static const char MAGIC[] = "PAR1";

static bool list_columns(const struct leat_schema *schema, const char *const *names, struct leat_parquet_column *out) {
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *field = &schema->fields[i];
        out[i] = (struct leat_parquet_column){.name = names ? names[i] : field->name, .type = field->type};
        if (!leat_parquet_storage_of(field->type, &out[i].storage)) return false;
    }
    return schema->field_count > 0; /* without columns there are no rows in a file */
}

/* All row groups; the chunks' places are counted from `start`. */
static bool put_groups(const struct leat_parquet_column *columns, size_t column_count,
                       const struct leat_parquet_rows *rows, enum leat_parquet_form form, size_t group_rows,
                       struct leat_parquet_chunk *chunks, struct leat_buffer *out) {
    struct leat_parquet_work work;
    size_t start = out->length;
    bool fits = true;
    leat_parquet_work_init(&work, form, rows->count < group_rows ? rows->count : group_rows);
    leat_put(out, MAGIC);
    for (size_t done = 0; done < rows->count && fits; done += group_rows) {
        struct leat_parquet_rows group = *rows;
        group.from += done;
        group.count = rows->count - done < group_rows ? rows->count - done : group_rows;
        for (size_t i = 0; i < column_count && fits; i++)
            fits = leat_parquet_put_column(&work, &columns[i], &group, i, start, chunks++, out);
    }
    leat_parquet_work_deinit(&work);
    return fits;
}

static void join_ranges(const struct leat_parquet_column *columns, size_t column_count,
                        const struct leat_parquet_chunk *chunks, size_t group_count, struct leat_range *ranges) {
    for (size_t g = 0; g < group_count; g++)
        for (size_t i = 0; i < column_count; i++)
            leat_range_join(&ranges[i], &chunks[g * column_count + i].range, columns[i].type);
}

bool leat_parquet_write(const struct leat_schema *schema, const char *const *names,
                        const struct leat_parquet_rows *rows, enum leat_parquet_form form, size_t group_rows,
                        struct leat_range *ranges, struct leat_buffer *out) {
    size_t start = out->length, n = schema->field_count, groups = (rows->count + group_rows - 1) / group_rows;
    struct leat_parquet_column *columns = leat_alloc((n + 1) * sizeof *columns);
    struct leat_parquet_chunk *chunks = leat_alloc((groups * n + 1) * sizeof *chunks);
    bool fits = list_columns(schema, names, columns) && put_groups(columns, n, rows, form, group_rows, chunks, out);
    if (fits) {
        size_t footer = out->length;
        leat_parquet_put_footer(columns, n, chunks, groups, form == LEAT_PARQUET_COMPACT, out);
        int32_t length = (int32_t)(out->length - footer);
        leat_putn(out, (const char *)&length, sizeof length);
        leat_put(out, MAGIC);
        if (ranges) join_ranges(columns, n, chunks, groups, ranges);
    } else if (out->length > start) {
        out->length = start;
        out->data[start] = 0;
    }
    free(chunks);
    free(columns);
    return fits;
}
