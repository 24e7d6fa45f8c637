/* Reference pages from the option tables. */
#include "project/tables.h"

void leat_reference_settings(struct leat_buffer *out) {
    leat_put(out, "# Settings\n\n");
    leat_putf(out, "%s\n\n", leat_settings_table.prose);
    leat_options_markdown(leat_settings_table.specs, leat_settings_table.count, out);
}

/* The formats an option is for, when not for all. */
static void put_formats(struct leat_buffer *out, const struct leat_option_table *table) {
    static const char *const names[] = {"json", "csv", "parquet"};
    bool any = false;
    for (unsigned format = 0; format < 3; format++) {
        bool first = true;
        for (size_t i = 0; i < table->count; i++) {
            unsigned formats = leat_connector_option_formats(table, table->specs[i].name);
            if (formats == ~0u || !(formats >> format & 1))
                continue;
            if (!any)
                leat_put(out, "\nOptions that only some formats take:\n\n");
            if (first)
                leat_putf(out, "- %s: ", names[format]);
            leat_putf(out, "%s`%s`", first ? "" : ", ", table->specs[i].name);
            first = false;
            any = true;
        }
        if (!first)
            leat_put(out, "\n");
    }
}

void leat_reference_connectors(struct leat_buffer *out) {
    leat_put(out, "# Connectors\n\nWhat may stand in `WITH (...)` of `CREATE SOURCE`. `${NAME}` in a value is read from the "
                  "environment; `$${` stands for `${`.\n");
    for (size_t t = 0; t < leat_connector_table_count; t++) {
        const struct leat_option_table *table = leat_connector_tables[t];
        leat_putf(out, "\n## %s\n\n%s\n\n", table->name, table->prose);
        leat_options_markdown(table->specs, table->count, out);
        put_formats(out, table);
    }
}
