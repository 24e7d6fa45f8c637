/* What the commands that compare tables ask of an engine. */
#include <stdlib.h>

#include "engine/internal.h"

enum leat_status leat_engine_content(struct leat_engine *engine, size_t table, struct leat_buffer *out, struct leat_error *err) {
    return leat_table_select(engine, &engine->tables[table], -1, out, err);
}

size_t leat_engine_key(const struct leat_engine *engine, size_t index, char ***names) {
    const struct leat_gtable *table = &engine->tables[index];
    const struct leat_schema *schema = &table->plan->schema;
    size_t count = 0;
    *names = leat_alloc((schema->field_count + 1) * sizeof **names);
    for (size_t i = 0; i < schema->field_count; i++)
        if (leat_table_is_key(table, i)) (*names)[count++] = leat_strdup(schema->fields[i].name);
    return count;
}
