/* The sinks there are; their options, and what can be said of one before it runs. */
#include "connect/sink.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/value_text.h"
#include "project/tables.h"
#include "state/row.h"

static const struct leat_sink_ops *sinks[] = {&leat_sink_file,  &leat_sink_webhook,   &leat_sink_postgres,
                                              &leat_sink_kafka, &leat_sink_cassandra, &leat_sink_redis,
                                              NULL}; /* the last: leat_sinks_add */
enum { SINK_ROOM = sizeof sinks / sizeof *sinks };
static size_t sink_count = SINK_ROOM - 1;

void leat_sinks_add(const struct leat_sink_ops *ops) {
    sinks[SINK_ROOM - 1] = ops;
    sink_count = SINK_ROOM;
}

const struct leat_option_spec leat_sink_options[] = {
    {.name = "connector", .type = LEAT_OPTION_TEXT, .required = true, .prose = "Where the changes go."},
    {.name = "start",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"now", "snapshot", NULL},
     .prose = "`snapshot` sends the rows that the table has first, `now` only what changes from now on. Left out: `snapshot` where rows are "
              "written by key, `now` for events and webhooks."},
    {.name = "on_retract",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"ignore", "send", NULL},
     .prose = "For events of a table that takes rows back: `ignore` sends what comes alone, `send` also what goes. A table whose rows are never "
              "taken back, or final (`EMIT ON WINDOW CLOSE`), needs none; corrections by a restatement are then left out."},
    {.name = "max_tries",
     .type = LEAT_OPTION_INT,
     .unit = "tries",
     .min = 1,
     .max = 1000000,
     .default_text = "20",
     .prose = "A change that the other side has refused so many times is a dead letter. A side that cannot be reached is tried for ever."},
    {.name = "retry_max",
     .type = LEAT_OPTION_INTERVAL,
     .min = 1000,
     .max = INT64_C(86400) * 1000000,
     .default_text = "1 minute",
     .prose = "Longest wait before the next try; the first is `retry_backoff` of the settings, and it doubles."},
    {.name = "spool_limit",
     .type = LEAT_OPTION_SIZE,
     .min = 64 << 10,
     .max = INT64_C(1) << 50,
     .default_text = "1 GiB",
     .prose = "Disk space for changes that wait. Beyond it the sink takes no more in; when it has caught up, it gets the difference between what "
              "it knows and what the table is then: no change is lost, but what came and went between is not told."},
};
const size_t leat_sink_option_count = sizeof leat_sink_options / sizeof *leat_sink_options;

const struct leat_sink_ops *leat_sink_find(const char *name) {
    for (size_t i = 0; i < sink_count; i++)
        if (strcasecmp(sinks[i]->name, name) == 0) return sinks[i];
    return NULL;
}

const struct leat_sink_ops *const *leat_sinks(size_t *count) {
    *count = sink_count;
    return sinks;
}

const char *leat_effect_kind_name(enum leat_effect_kind kind) {
    static const char *const names[] = {"upsert", "delete", "append", "retract"};
    return names[kind];
}

bool leat_sink_upserts(const struct leat_sink_ops *ops, const struct leat_table *table) {
    return ops->shape == LEAT_SINK_UPSERT || (ops->shape == LEAT_SINK_EITHER && table->primary_key_count);
}

/* ---- options ----------------------------------------------------------------------------------------------------------- */

static const struct leat_option_spec *spec_of(const struct leat_sink_ops *ops, const char *name) {
    const struct leat_option_spec *spec = leat_option_find(leat_sink_options, leat_sink_option_count, name);
    return spec ? spec : leat_option_find(ops->options, ops->option_count, name);
}

static struct leat_option *option_of(const struct leat_sink_def *def, const char *name) {
    for (size_t i = 0; i < def->option_count; i++)
        if (strcasecmp(def->options[i].name, name) == 0) return &def->options[i];
    return NULL;
}

const char *leat_sink_option(const struct leat_sink_def *def, const char *name) {
    const struct leat_option *option = option_of(def, name);
    return option ? option->value : NULL;
}

int64_t leat_sink_option_int(const struct leat_sink_def *def, const char *name, int64_t missing) {
    const struct leat_sink_ops *ops = def->connector ? leat_sink_find(def->connector) : NULL;
    const struct leat_option_spec *spec = ops ? spec_of(ops, name) : NULL;
    const char *text = leat_sink_option(def, name);
    struct leat_option_value value;
    return spec && text && leat_option_parse(spec, text, &value, NULL) == LEAT_OK ? value.number : missing;
}

static const struct leat_sink_ops *find_connector(const struct leat_sink_def *def, struct leat_diagnostics *diags) {
    const struct leat_option *option = option_of(def, "connector");
    const struct leat_sink_ops *ops = def->connector ? leat_sink_find(def->connector) : NULL;
    const char *names[SINK_ROOM];
    if (ops) return ops;
    for (size_t i = 0; i < sink_count; i++) names[i] = sinks[i]->name;
    const char *nearest = def->connector ? leat_nearest(def->connector, names, sink_count) : NULL;
    char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : leat_strdup("'leat connectors' lists them");
    if (!option)
        leat_diagnose(diags, def->place, false, hint, "sink '%s' has no connector", def->name);
    else if (option->secret)
        leat_diagnose(diags, option->place, false, NULL, "the connector must be named in the statement itself");
    else
        leat_diagnose(diags, option->place, false, hint, "there is no connector '%s' for sinks", def->connector);
    free(hint);
    return NULL;
}

static void unknown_option(const struct leat_sink_ops *ops, const struct leat_option *option, struct leat_diagnostics *diags) {
    const char *nearest = leat_option_nearest(ops->options, ops->option_count, option->name);
    if (!nearest) nearest = leat_option_nearest(leat_sink_options, leat_sink_option_count, option->name);
    char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
    leat_diagnose(diags, option->place, false, hint, "the connector '%s' has no option '%s'", ops->name, option->name);
    free(hint);
}

static void check_option(const struct leat_sink_def *def, const struct leat_sink_ops *ops, size_t index, struct leat_diagnostics *diags) {
    struct leat_option *option = &def->options[index];
    const struct leat_option_spec *spec = spec_of(ops, option->name);
    struct leat_error err = {0};
    if (!spec) {
        unknown_option(ops, option, diags);
        return;
    }
    for (size_t i = 0; i < index; i++)
        if (strcasecmp(def->options[i].name, option->name) == 0)
            leat_diagnose(diags, option->place, false, NULL, "option '%s' is given twice", spec->name);
    char *value = leat_option_normal(spec, option->value, &err);
    if (!value && (option->secret || spec->type == LEAT_OPTION_SECRET))
        leat_diagnose(diags, option->place, false, "the value is not shown because it is secret", "option '%s': the value does not fit",
                      spec->name);
    else if (!value)
        leat_diagnose(diags, option->place, false, NULL, "%s", err.text);
    if (!value) return;
    option->secret |= spec->type == LEAT_OPTION_SECRET;
    free(option->value);
    option->value = value;
}

static void add_defaults(struct leat_sink_def *def, const struct leat_sink_ops *ops, const struct leat_option_spec *specs, size_t count,
                         struct leat_diagnostics *diags) {
    for (size_t i = 0; i < count; i++) {
        if (option_of(def, specs[i].name)) continue;
        if (specs[i].required)
            leat_diagnose(diags, def->place, false, NULL, "sink '%s' lacks the option '%s' of the connector '%s'", def->name, specs[i].name,
                          ops->name);
        char *value = leat_option_default_text(&specs[i]);
        if (!value) continue;
        def->options = leat_realloc(def->options, (def->option_count + 1) * sizeof *def->options);
        def->options[def->option_count++] = (struct leat_option){.name = leat_strdup(specs[i].name), .value = value, .place = def->place};
    }
}

static void resolve(const struct leat_project *project, struct leat_sink_def *def, struct leat_diagnostics *diags) {
    const struct leat_sink_ops *ops = find_connector(def, diags);
    if (!ops || def->table == SIZE_MAX) return;
    size_t given = def->option_count;
    for (size_t i = 0; i < given; i++) check_option(def, ops, i, diags);
    add_defaults(def, ops, leat_sink_options, leat_sink_option_count, diags);
    add_defaults(def, ops, ops->options, ops->option_count, diags);
    bool upserts = leat_sink_upserts(ops, &project->tables[def->table]);
    const char *start = leat_sink_option(def, "start"), *retract = leat_sink_option(def, "on_retract");
    def->snapshot = start ? strcmp(start, "snapshot") == 0 : upserts && !ops->starts_now;
    def->retract_given = retract != NULL;
    def->send_retractions = retract && strcmp(retract, "send") == 0;
    def->resolved = true;
}

void leat_sinks_resolve(struct leat_project *project, struct leat_diagnostics *diags) {
    for (size_t i = 0; i < project->sink_count; i++)
        if (!project->sinks[i].resolved) resolve(project, &project->sinks[i], diags);
    leat_diagnostics_sort(diags);
}

void leat_reference_sinks(struct leat_buffer *out) {
    leat_put(out, "# Sinks\n\nWhat may stand in `WITH (...)` of `CREATE SINK`. `${NAME}` in a value is read from the environment and never shown; "
                  "`$${` stands for `${`.\n\n## Options of every sink\n\n");
    leat_options_markdown(leat_sink_options, leat_sink_option_count, out);
    for (size_t i = 0; i < SINK_ROOM - 1; i++) {
        leat_putf(out, "\n## %s\n\nThe sink `%s` %s.\n\n%s\n\n", sinks[i]->name, sinks[i]->name, sinks[i]->what, sinks[i]->guarantee);
        leat_options_markdown(sinks[i]->options, sinks[i]->option_count, out);
    }
}

/* ---- rule 4 ------------------------------------------------------------------------------------------------------------ */

void leat_sink_check(const struct leat_project *project, const struct leat_sink_def *def, const struct leat_schema *schema, bool append_only,
                     bool final, struct leat_diagnostics *diags) {
    const struct leat_table *table = &project->tables[def->table];
    const struct leat_sink_ops *ops = leat_sink_find(def->connector);
    bool upserts = leat_sink_upserts(ops, table);
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].type.kind == LEAT_NESTED)
            leat_diagnose(diags, def->from_place, false, "make it text in the table's query: CAST(... AS JSON) or to_json",
                          "column '%s' of table '%s' is nested, which sinks do not take", schema->fields[i].name, table->name);
    if (ops->shape == LEAT_SINK_UPSERT && !table->primary_key_count) {
        leat_diagnose(diags, def->from_place, false, "say which columns name a row: CREATE MATERIALIZED TABLE t (PRIMARY KEY (a, b)) ...",
                      "the connector '%s' writes rows by key, but table '%s' has no PRIMARY KEY", ops->name, table->name);
    } else if (upserts && def->retract_given) {
        leat_diagnose(diags, option_of(def, "on_retract")->place, false, "leave it out",
                      "on_retract means nothing where rows are written by key: a row that goes is deleted");
    } else if (!upserts && !append_only && !final && !def->retract_given) {
        leat_diagnose(diags, def->from_place, false,
                      "say on_retract = 'ignore' or 'send', or let the table say EMIT ON WINDOW CLOSE",
                      "table '%s' takes rows back when they change; what of that does sink '%s' tell?", table->name, def->name);
    }
    if (ops->check) ops->check(def, table, schema, diags);
}

/* ---- typed payloads ---------------------------------------------------------------------------------------------------- */

enum leat_status leat_effect_values(const struct leat_schema *schema, const struct leat_effect *effects, size_t count, struct leat_changes *out,
                                    struct leat_error *err) {
    struct leat_row_codec codec;
    enum leat_status st = LEAT_OK;
    const uint8_t **rows = leat_alloc((count + 1) * sizeof *rows);
    leat_row_codec_init(&codec, schema, NULL, schema->field_count);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        rows[i] = effects[i].payload;
        if (effects[i].payload_bytes < codec.string_area || leat_row_stored_size(&codec, rows[i]) != effects[i].payload_bytes)
            st = leat_fail(err, LEAT_CORRUPT, "effect %llu is not a row of this table", (unsigned long long)effects[i].sequence);
    }
    if (st == LEAT_OK) {
        size_t at = out->row_count;
        leat_changes_reserve(out, at + count);
        leat_row_read(&codec, rows, count, out, 0, at);
        out->row_count = at + count;
    }
    leat_row_codec_deinit(&codec);
    free(rows);
    return st;
}

void leat_effect_put_json(const struct leat_sink_context *c, const struct leat_effect_row *e, struct leat_buffer *out) {
    leat_putf(out, "{\"id\":\"%s-%llu\",\"table\":\"%s\",\"kind\":\"%s\"", c->identity, (unsigned long long)e->sequence, c->table->name,
              leat_effect_kind_name(e->kind));
    for (size_t i = 0; i < c->key_count; i++) {
        const char *name = c->schema->fields[c->key[i]].name;
        leat_put(out, i ? "," : ",\"key\":{");
        leat_put_json_string(out, name, strlen(name));
        leat_put(out, ":");
        leat_put_json_value(out, &e->rows->columns[c->key[i]], e->row);
    }
    if (c->key_count) leat_put(out, "}");
    leat_put(out, e->kind == LEAT_EFFECT_DELETE ? ",\"old\":" : ",\"row\":");
    leat_put_json_row(out, e->rows, e->row);
    if (e->old_row != SIZE_MAX) {
        leat_put(out, ",\"old\":");
        leat_put_json_row(out, e->rows, e->old_row);
    }
    leat_put(out, "}");
}
