/* A source's options: WITH against the connector's table, defaults, and what follows from them. */
#include "project/parse.h"
#include "schedule/cron.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct leat_given *find_given(const struct leat_given_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (strcasecmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

const char *leat_source_option(const struct leat_source *source, const char *name) {
    for (size_t i = 0; i < source->option_count; i++)
        if (strcasecmp(source->options[i].name, name) == 0)
            return source->options[i].value;
    const struct leat_option_table *table = source->connector ? leat_connector_table(source->connector) : NULL;
    const struct leat_option_spec *spec = table ? leat_option_find(table->specs, table->count, name) : NULL;
    return spec ? spec->default_text : NULL;
}

int64_t leat_source_option_int(const struct leat_source *source, const char *name, int64_t missing) {
    const struct leat_option_table *table = source->connector ? leat_connector_table(source->connector) : NULL;
    const struct leat_option_spec *spec = table ? leat_option_find(table->specs, table->count, name) : NULL;
    const char *text = leat_source_option(source, name);
    struct leat_option_value value;
    if (!spec || !text || leat_option_parse(spec, text, &value, NULL) != LEAT_OK)
        return missing;
    return value.number;
}

static char *what_there_is(void) {
    struct leat_buffer text = {0};
    leat_put(&text, "this version has:");
    for (size_t i = 0; i < leat_connector_table_count; i++)
        leat_putf(&text, "%s %s", i ? "," : "", leat_connector_tables[i]->name);
    return text.data;
}

/* The connector's table, or NULL with the reason reported. */
static const struct leat_option_table *find_connector(struct leat_parser *p, const struct leat_source *source,
                                                      const struct leat_given *given) {
    static const char *const later[] = {"webhook", "s3", "azure"};
    if (!given) {
        leat_diagnose(p->diags, source->place, false, "say WITH (connector = 'file', path = '...')",
                      "source '%s' has no connector", source->name);
        return NULL;
    }
    if (given->broken)
        return NULL;
    if (given->secret) {
        leat_diagnose(p->diags, given->value_place, false, NULL, "the connector must be named in the statement itself");
        return NULL;
    }
    const struct leat_option_table *table = leat_connector_table(given->text);
    if (table)
        return table;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (strcasecmp(later[i], given->text) == 0) {
            char *there = what_there_is();
            leat_diagnose(p->diags, given->value_place, false, there, "this version of leat does not run the connector '%s'", later[i]);
            free(there);
            return NULL;
        }
    }
    const char *names[8];
    size_t count = 0;
    for (; count < leat_connector_table_count && count < 8; count++)
        names[count] = leat_connector_tables[count]->name;
    const char *nearest = leat_nearest(given->text, names, count);
    char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : what_there_is();
    leat_diagnose(p->diags, given->value_place, false, hint, "there is no connector '%s'", given->text);
    free(hint);
    return NULL;
}

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t n = strlen(ending);
    return length >= n && strncasecmp(text + length - n, ending, n) == 0;
}

/* Length of a path without the ending that compression adds. */
static size_t plain_length(const char *path) {
    size_t length = strlen(path);
    if (ends_with(path, length, ".gz"))
        return length - 3;
    if (ends_with(path, length, ".zst"))
        return length - 4;
    return length;
}

static const char *format_of_path(const char *path) {
    static const struct {
        const char *ending, *format;
    } endings[] = {{".json", "json"}, {".jsonl", "json"}, {".ndjson", "json"}, {".csv", "csv"}, {".tsv", "csv"}, {".parquet", "parquet"}};
    size_t length = plain_length(path);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(path, length, endings[i].ending))
            return endings[i].format;
    return NULL;
}

const char *const leat_format_names[LEAT_FORMAT_COUNT] = {"json", "csv", "parquet", "raw", "avro"};

/* 'json', 'debezium-json', 'avro-confluent' ...; false: no format of any connector. */
static bool read_format(const char *text, struct leat_source *source) {
    static const char *const feeds[] = {"", "upsert", "debezium", "canal", "maxwell"};
    size_t feed = 0;
    for (size_t i = 1; i < sizeof feeds / sizeof *feeds; i++) {
        size_t length = strlen(feeds[i]);
        if (strncasecmp(text, feeds[i], length) != 0 || (text[length] && text[length] != '-')) continue;
        feed = i;
        text += length + (text[length] == '-');
    }
    source->feed = (enum leat_change_feed)feed;
    if (feed && !*text) text = "json";
    if (strcasecmp(text, "avro-confluent") == 0) text = "avro";
    for (size_t i = 0; i < LEAT_FORMAT_COUNT; i++) {
        if (strcasecmp(text, leat_format_names[i])) continue;
        source->format = (enum leat_format)i;
        return !feed || i == LEAT_FORMAT_JSON || (i == LEAT_FORMAT_AVRO && feed <= LEAT_FEED_DEBEZIUM);
    }
    return false;
}

static bool choose_format(struct leat_parser *p, struct leat_source *source, const struct leat_option_table *table,
                          const struct leat_given_list *given, const char *encode) {
    static const char *const later[] = {"protobuf", "xml", "orc", "text"};
    const struct leat_given *said = find_given(given, "format");
    const struct leat_given *path = find_given(given, "path");
    if (said && encode) {
        leat_diagnose(p->diags, said->place, false, "keep one of the two", "the format is said twice: by the option and by ENCODE");
        return false;
    }
    bool readable = path && !path->broken && path->text[0];
    const char *format = encode ? encode : said ? said->text : readable ? format_of_path(path->text) : NULL;
    const struct leat_option_spec *spec = leat_option_find(table->specs, table->count, "format");
    if (!spec) { /* a database's rows come as text, its changes as events */
        bool changes = find_given(given, "slot") != NULL;
        source->format = changes || find_given(given, "cursor") ? LEAT_FORMAT_JSON : LEAT_FORMAT_CSV;
        source->feed = changes ? LEAT_FEED_DEBEZIUM : LEAT_FEED_NONE;
        return true;
    }
    if (!format && !readable) format = spec->default_text;
    if (!format) {
        if (readable && !said)
            leat_diagnose(p->diags, path->value_place, false, "say format = 'json', 'csv' or 'parquet'",
                          "the format does not follow from the path's ending");
        return false;
    }
    bool here = false;
    struct leat_buffer choices = {0};
    for (size_t i = 0; spec->choices[i]; i++) {
        here |= strcasecmp(spec->choices[i], format) == 0;
        leat_putf(&choices, "%s%s", i ? ", " : "", spec->choices[i]);
    }
    bool known = read_format(format, source), wait = false;
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) wait |= strcasecmp(later[i], format) == 0;
    if (!here && (known || wait || encode)) {
        char *hint = leat_asprintf("the connector '%s' has: %s", table->name, choices.data);
        leat_diagnose(p->diags, said ? said->value_place : source->place, false, hint, "%s '%s'",
                      known ? "this connector does not have the format" : "this version of leat does not run the format", format);
        free(hint);
    }
    leat_buffer_deinit(&choices);
    return here && known; /* the option's own check says what else is right */
}

static bool check_delimiter(struct leat_parser *p, const struct leat_given *given, char **value) {
    if (strcmp(*value, "\\t") == 0 || strcasecmp(*value, "tab") == 0) {
        free(*value);
        *value = leat_strdup("\t");
    }
    if (strlen(*value) == 1 && strchr(",;|\t", **value))
        return true;
    leat_diagnose(p->diags, given->value_place, false, NULL, "option '%s' must be ',' ';' '|' or a tab ('\\t')", given->name);
    return false;
}

static void add_option(struct leat_source *source, const char *name, char *value, const struct leat_given *given) {
    source->options = leat_realloc(source->options, (source->option_count + 1) * sizeof *source->options);
    source->options[source->option_count++] = (struct leat_option){
        .name = leat_strdup(name),
        .value = value,
        .place = given ? given->place : source->place,
        .secret = given && given->secret,
        .given = given != NULL,
    };
}

static bool check_option(struct leat_parser *p, struct leat_source *source, const struct leat_option_table *table,
                         const struct leat_given *given, bool format_known) {
    const struct leat_option_spec *spec = leat_option_find(table->specs, table->count, given->name);
    if (!spec) {
        const char *nearest = leat_option_nearest(table->specs, table->count, given->name);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(p->diags, given->place, false, hint, "the connector '%s' has no option '%s'", table->name, given->name);
        free(hint);
        return false;
    }
    const char *name = strchr(spec->name, '*') ? given->name : spec->name;
    for (size_t i = 0; i < source->option_count; i++) {
        if (strcasecmp(source->options[i].name, name) == 0) {
            leat_diagnose(p->diags, given->place, false, NULL, "option '%s' is given twice", name);
            return false;
        }
    }
    unsigned formats = leat_connector_option_formats(table, spec->name);
    if (format_known && !(formats & 1u << source->format)) {
        leat_diagnose(p->diags, given->place, false, "leave it out", "option '%s' means nothing for format %s", spec->name,
                      leat_format_names[source->format]);
        return false;
    }
    char *value = given->broken ? NULL : leat_given_normalise(p, spec, given);
    if (value && strcmp(spec->name, "delimiter") == 0 && !check_delimiter(p, given, &value)) {
        free(value);
        value = NULL;
    }
    if (!value)
        return false;
    add_option(source, name, value, given);
    return true;
}

/* True if an unknown option is a misspelt `name`: that is reported already. */
static bool misspelt(const struct leat_option_table *table, const struct leat_given_list *given, const char *name) {
    for (size_t i = 0; i < given->count; i++) {
        if (leat_option_find(table->specs, table->count, given->items[i].name))
            continue;
        const char *nearest = leat_option_nearest(table->specs, table->count, given->items[i].name);
        if (nearest && strcmp(nearest, name) == 0)
            return true;
    }
    return false;
}

static bool add_defaults(struct leat_parser *p, struct leat_source *source, const struct leat_option_table *table,
                         const struct leat_given_list *given, bool format_known) {
    bool ok = true;
    const struct leat_given *path = find_given(given, "path");
    for (size_t i = 0; i < table->count; i++) {
        const struct leat_option_spec *spec = &table->specs[i];
        if (find_given(given, spec->name))
            continue;
        if (spec->required && misspelt(table, given, spec->name))
            continue;
        if (spec->required) {
            leat_diagnose(p->diags, source->place, false, NULL, "source '%s' lacks the option '%s' of the connector '%s'",
                          source->name, spec->name, table->name);
            ok = false;
            continue;
        }
        bool applies = leat_connector_option_formats(table, spec->name) & 1u << source->format;
        if (!spec->default_text || !format_known || !applies)
            continue;
        bool tab = strcmp(spec->name, "delimiter") == 0 && path && !path->broken && ends_with(path->text, plain_length(path->text), ".tsv");
        add_option(source, spec->name, tab ? leat_strdup("\t") : leat_option_default_text(spec), NULL);
    }
    return ok;
}

static bool check_together(struct leat_parser *p, const struct leat_given_list *given) {
    const struct leat_given *mode = find_given(given, "mode"), *refresh = find_given(given, "refresh");
    if (mode && refresh) {
        leat_diagnose(p->diags, mode->place, false, "leave out one of the two",
                      "mode is for files that are followed, refresh for a reference that is read whole");
        return false;
    }
    return true;
}

/* Rows of a database are those of a table or of a query, changes those of a table. */
static bool check_relation(struct leat_parser *p, const struct leat_source *source, const struct leat_given_list *given) {
    const struct leat_given *table = find_given(given, "table"), *query = find_given(given, "query"), *slot = find_given(given, "slot");
    const struct leat_given *not_both = slot ? find_given(given, "refresh") : NULL;
    if (slot && (query || not_both)) {
        leat_diagnose(p->diags, (query ? query : not_both)->place, false, "leave out one of the two", "a slot follows the changes of a table, not %s",
                      query ? "of a query" : "by refresh");
        return false;
    }
    if ((table != NULL) != (query != NULL)) return true;
    leat_diagnose(p->diags, table ? query->place : source->place, false, "say 'table' = '...' or query = 'SELECT ...'",
                  table ? "source '%s' has both a table and a query" : "source '%s' has neither a table nor a query", source->name);
    return false;
}

/* The column that extraction goes by. */
static bool check_cursor_column(struct leat_parser *p, const struct leat_source *source, const struct leat_given *cursor) {
    int column = leat_schema_find(&source->schema, cursor->text);
    if (column < 0) {
        leat_diagnose(p->diags, cursor->value_place, false, NULL, "the column '%s' of the option cursor is not declared", cursor->text);
        return false;
    }
    struct leat_type type = source->schema.fields[column].type;
    bool time = type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ || type.kind == LEAT_DATE;
    bool whole = type.kind == LEAT_SMALLINT || type.kind == LEAT_INTEGER || type.kind == LEAT_BIGINT || type.kind == LEAT_UINTEGER;
    char name[32];
    leat_type_print(type, name);
    if (!time && !whole)
        leat_diagnose(p->diags, cursor->value_place, false, "take a column that grows with every change: a time, or a number from a sequence",
                      "the cursor '%s' is %s; it must be TIMESTAMP, TIMESTAMPTZ, DATE, INTEGER or BIGINT", cursor->text, name);
    return time || whole;
}

static bool check_extraction(struct leat_parser *p, const struct leat_source *source, const struct leat_given_list *given) {
    static const char *const others[] = {"overlap", "overlap_values", "poll_interval", "cron", "idle_timeout"}, *const instead[] = {"refresh", "slot"};
    const struct leat_given *cursor = find_given(given, "cursor"), *cron = find_given(given, "cron");
    struct leat_cron parsed;
    struct leat_error err = {0};
    bool ok = true;
    for (size_t i = 0; i < sizeof others / sizeof *others && !cursor; i++) {
        const struct leat_given *other = find_given(given, others[i]);
        if (!other || (i == 4 && find_given(given, "slot"))) continue;
        leat_diagnose(p->diags, other->place, false, "leave it out, or say cursor = '...'", "%s means nothing for source '%s', which has no cursor", others[i], source->name);
        ok = false;
    }
    if (!cursor || !ok) return ok;
    for (size_t i = 0; i < sizeof instead / sizeof *instead; i++) {
        const struct leat_given *other = find_given(given, instead[i]);
        if (other) leat_diagnose(p->diags, other->place, false, "leave out one of the two", "a source has a cursor or %s, not both", instead[i]);
        ok &= !other;
    }
    if (cron && find_given(given, "poll_interval")) {
        leat_diagnose(p->diags, cron->place, false, "leave out one of the two", "a source has a poll_interval or a cron, not both");
        ok = false;
    }
    if (cron && !cron->broken && leat_cron_parse(cron->text, &parsed, &err) != LEAT_OK) {
        leat_diagnose(p->diags, cron->value_place, false, NULL, "%s", err.text);
        ok = false;
    }
    return (cursor->broken || check_cursor_column(p, source, cursor)) && ok;
}

bool leat_parser_source_options(struct leat_parser *p, struct leat_source *source, const struct leat_given_list *given,
                                const char *encode) {
    const struct leat_option_table *table = find_connector(p, source, find_given(given, "connector"));
    if (!table)
        return false;
    source->connector = leat_strdup(table->name);
    size_t before = leat_diagnostics_errors(p->diags);
    bool format_known = choose_format(p, source, table, given, encode);
    bool reported = leat_diagnostics_errors(p->diags) > before;
    bool ok = format_known;
    for (size_t i = 0; i < given->count; i++) {
        bool format = strcasecmp(given->items[i].name, "format") == 0;
        if (!(format && reported))
            ok &= check_option(p, source, table, &given->items[i], format_known);
    }
    ok &= add_defaults(p, source, table, given, format_known);
    source->refresh_us = leat_source_option_int(source, "refresh", 0);
    bool database = leat_option_find(table->specs, table->count, "query") != NULL;
    return ok && check_together(p, given) && (!database || (check_relation(p, source, given) && check_extraction(p, source, given)));
}
