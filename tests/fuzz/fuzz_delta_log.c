/* One line of a Delta log: parsed, applied to a state, and, when it is a file action, written and parsed again, which
 * must give the same path. A metaData line also goes through the schema parser, an add through the statistics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lake/delta_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct leat_delta_file *file) {
    struct leat_buffer text = {0};
    struct leat_delta_action again;
    leat_delta_put_add(&text, file, true);
    if (leat_delta_action_parse(text.data, text.length - 1, &again, NULL) != LEAT_OK ||
        strcmp(again.file.path, file->path) != 0)
        abort();
    leat_delta_action_deinit(&again);
    leat_buffer_deinit(&text);
}

static void check_parts(const struct leat_delta_action *action) {
    struct leat_error err;
    if (action->kind == LEAT_DELTA_ADD) {
        static struct leat_field fields[] = {{"a", {LEAT_BIGINT, 0, 0}, false},
                                             {"t", {LEAT_TIMESTAMP, 0, 0}, false},
                                             {"s", {LEAT_VARCHAR, 0, 0}, false}};
        struct leat_schema schema = {fields, 3};
        leat_delta_bounds_free(leat_delta_bounds_parse(&schema, action->file.stats_json));
        check_again(&action->file);
    }
    if (action->kind == LEAT_DELTA_METADATA) {
        struct leat_delta_columns columns;
        const struct leat_delta_metadata *m = &action->metadata;
        if (leat_delta_columns_parse(m->schema_json, m->partition_columns, m->partition_column_count, &columns, &err) ==
            LEAT_OK)
            leat_delta_columns_deinit(&columns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_delta_action action;
    struct leat_delta_state state;
    struct leat_error err;
    leat_delta_state_init(&state);
    if (leat_delta_action_parse((const char *)data, size, &action, &err) == LEAT_OK) {
        check_parts(&action);
        leat_delta_state_apply(&state, &action);
        if (leat_delta_state_finish(&state, "t", &err) != LEAT_OK && err.text[0] == '\0') abort();
    }
    leat_delta_action_deinit(&action);
    leat_delta_state_deinit(&state);
    return 0;
}
