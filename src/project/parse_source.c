/* CREATE SOURCE name (columns) INCLUDE ... WITH (...) FORMAT PLAIN ENCODE ... */
#include "project/parse.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What of a statement cannot be checked before all of it is read. */
struct source_draft {
    struct leat_source source;
    struct leat_given_list options;
    struct leat_place *column_places;
    char **key_names; /* of PRIMARY KEY, inline ones too */
    struct leat_place key_place;
    size_t key_count;
    char *watermark_column;
    struct leat_place watermark_place;
    const char *encode; /* format said by FORMAT ... ENCODE, static; NULL: not said */
    struct leat_place include_place, with_place;
    bool with_seen, format_seen;
};

static void add_key(struct source_draft *draft, char *name, struct leat_place place) {
    draft->key_names = leat_realloc(draft->key_names, (draft->key_count + 1) * sizeof *draft->key_names);
    draft->key_names[draft->key_count++] = name;
    draft->key_place = place;
}

/* ---- columns ---- */

static bool ends_type(const struct leat_parser *p) {
    static const char *const words[] = {"NOT",    "NULL",    "PRIMARY", "FROM",       "DEFAULT", "COLLATE",
                                        "CHECK",  "UNIQUE",  "AS",      "REFERENCES", "COMMENT", "GENERATED",
                                        "CONSTRAINT"};
    if (leat_parser_is_operator(p, ",") || leat_parser_is_operator(p, ")"))
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (leat_parser_is(p, words[i]))
            return true;
    return false;
}

static bool is_nested_type(const char *text) {
    static const char *const words[] = {"STRUCT", "MAP", "LIST", "UNION", "ROW", "ARRAY"};
    if (strchr(text, '['))
        return true;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (strncasecmp(text, words[i], length) == 0 && (text[length] == '(' || text[length] == '<' || text[length] == ' '))
            return true;
    }
    return false;
}

static bool column_type(struct leat_parser *p, const char *column, struct leat_type *out) {
    size_t first = p->at;
    for (int depth = 0; p->at < p->end; p->at++) {
        if (depth == 0 && ends_type(p))
            break;
        depth += leat_parser_is_operator(p, "(") || leat_parser_is_operator(p, "[") || leat_parser_is_operator(p, "<");
        depth -= leat_parser_is_operator(p, ")") || leat_parser_is_operator(p, "]") || leat_parser_is_operator(p, ">");
    }
    if (p->at == first) {
        leat_parser_error(p, first, "a column is written: name TYPE", "column '%s' has no type", column);
        return false;
    }
    char *text = leat_parser_text(p, first, p->at);
    struct leat_error err = {0};
    bool ok = false;
    if (is_nested_type(text)) {
        leat_parser_error(p, first, "declare it VARCHAR: it then holds the JSON text, for json_extract and ->>",
                          "column '%s': nested types cannot be columns of a source in this version", column);
    } else if (leat_type_parse(text, strlen(text), out, &err) != LEAT_OK) {
        leat_parser_error(p, first, NULL, "column '%s': %s", column, err.text);
    } else {
        ok = true;
    }
    free(text);
    return ok;
}

/* NOT NULL, NULL, PRIMARY KEY, FROM 'key', in any order. */
static bool column_rules(struct leat_parser *p, struct source_draft *draft, const char *column, bool *not_null, char **from) {
    while (!leat_parser_is_operator(p, ",") && !leat_parser_is_operator(p, ")")) {
        size_t at = p->at;
        if (leat_parser_accept(p, "NOT")) {
            if (!leat_parser_expect(p, "NULL"))
                return false;
            *not_null = true;
        } else if (leat_parser_accept(p, "NULL")) {
            continue;
        } else if (leat_parser_accept(p, "PRIMARY")) {
            if (!leat_parser_expect(p, "KEY"))
                return false;
            if (draft->key_count) {
                leat_parser_error(p, at, "a key of several columns is written PRIMARY KEY (a, b) behind the columns",
                                  "this source has a primary key already");
                return false;
            }
            add_key(draft, leat_strdup(column), leat_parser_place(p, at));
            *not_null = true;
        } else if (leat_parser_accept(p, "FROM")) {
            free(*from);
            *from = leat_parser_string(p, "the field's name in the record, as a string");
            if (!*from)
                return false;
        } else {
            return leat_parser_expected(p, "NOT NULL, PRIMARY KEY, FROM 'field', ',' or ')'");
        }
    }
    return true;
}

static bool reserved_column(const char *name) {
    static const char *const names[] = {"_partition", "_offset", "_arrival", "_identity", "_payload", "_decode_version"};
    if (strncmp(name, "__", 2) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool parse_column(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    size_t at = p->at;
    char *name = leat_parser_name(p, "a column's name");
    if (!name)
        return false;
    struct leat_type type = {0};
    bool not_null = false;
    char *from = NULL;
    bool ok = column_type(p, name, &type) && column_rules(p, draft, name, &not_null, &from);
    if (ok && reserved_column(name)) {
        leat_parser_error(p, at, "call it something else and say FROM 'field' for its name in the records",
                          "'%s' is a column that leat itself adds", name);
        ok = false;
    }
    if (ok && leat_schema_find(&source->schema, name) >= 0) {
        leat_parser_error(p, at, NULL, "column '%s' is declared twice", name);
        ok = false;
    }
    if (ok && source->schema.field_count >= LEAT_COLUMNS_MAX - 3) {
        leat_parser_error(p, at, NULL, "a source can have at most %d columns", LEAT_COLUMNS_MAX - 3);
        ok = false;
    }
    if (ok) {
        size_t count = source->schema.field_count;
        leat_schema_add(&source->schema, name, type, not_null);
        source->source_names = leat_realloc(source->source_names, (count + 1) * sizeof *source->source_names);
        source->source_names[count] = from ? from : leat_strdup(name);
        draft->column_places = leat_realloc(draft->column_places, (count + 1) * sizeof *draft->column_places);
        draft->column_places[count] = leat_parser_place(p, at);
        from = NULL;
    }
    free(from);
    free(name);
    return ok;
}

/* WATERMARK FOR c AS c [- INTERVAL ...] */
static bool parse_watermark(struct leat_parser *p, struct source_draft *draft) {
    static const char *const form = "the watermark is written: WATERMARK FOR column AS column - INTERVAL '2' MINUTE";
    size_t at = p->at;
    p->at += 2;
    if (draft->watermark_column) {
        leat_parser_error(p, at, NULL, "a source has one watermark");
        return false;
    }
    draft->watermark_place = leat_parser_place(p, p->at);
    draft->watermark_column = leat_parser_name(p, "the event time's column");
    if (!draft->watermark_column || !leat_parser_expect(p, "AS"))
        return false;
    size_t again_at = p->at;
    char *again = leat_parser_name(p, "the same column again");
    if (!again)
        return false;
    bool same = strcasecmp(again, draft->watermark_column) == 0;
    free(again);
    if (!same) {
        leat_parser_error(p, again_at, form, "the watermark of '%s' must be computed from that column",
                          draft->watermark_column);
        return false;
    }
    if (leat_parser_accept_operator(p, "-") &&
        !leat_parser_interval(p, "the watermark's delay", false, &draft->source.watermark_delay_us))
        return false;
    if (leat_parser_is_operator(p, ",") || leat_parser_is_operator(p, ")"))
        return true;
    leat_parser_error(p, p->at, form, "this watermark cannot be understood");
    return false;
}

static bool parse_primary_key(struct leat_parser *p, struct source_draft *draft) {
    size_t at = p->at;
    char **names;
    size_t count;
    p->at += 2;
    if (!leat_parser_name_list(p, &names, &count))
        return false;
    bool ok = draft->key_count == 0;
    if (!ok)
        leat_parser_error(p, at, NULL, "this source has a primary key already");
    for (size_t i = 0; i < count && ok; i++)
        add_key(draft, leat_strdup(names[i]), leat_parser_place(p, at));
    leat_names_free(names, count);
    return ok;
}

static bool parse_source_item(struct leat_parser *p, struct source_draft *draft) {
    bool ok;
    if (leat_parser_is(p, "WATERMARK") && leat_parser_is_at(p, p->at + 1, "FOR"))
        ok = parse_watermark(p, draft);
    else if (leat_parser_is(p, "PRIMARY") && leat_parser_is_at(p, p->at + 1, "KEY"))
        ok = parse_primary_key(p, draft);
    else
        ok = parse_column(p, draft);
    if (ok && !leat_parser_is_operator(p, ",") && !leat_parser_is_operator(p, ")"))
        ok = leat_parser_expected(p, "',' or ')'");
    return ok;
}

static bool parse_columns(struct leat_parser *p, struct source_draft *draft) {
    bool ok = true;
    if (!leat_parser_expect_operator(p, "("))
        return false;
    do {
        if (!parse_source_item(p, draft)) {
            ok = false;
            leat_parser_skip_item(p);
        }
    } while (leat_parser_accept_operator(p, ","));
    return leat_parser_expect_operator(p, ")") && ok;
}

/* ---- clauses ---- */

static bool include_one(struct leat_parser *p, struct leat_source *source) {
    static const char *const words[] = {"offset", "partition", "timestamp", NULL};
    struct {
        const char *word;
        bool *flag;
        char **name;
    } kinds[] = {{"offset", &source->include_offset, &source->offset_name},
                 {"partition", &source->include_partition, &source->partition_name},
                 {"timestamp", &source->include_timestamp, &source->timestamp_name}};
    size_t at = p->at;
    for (size_t i = 0; i < 3; i++) {
        if (!leat_parser_accept(p, kinds[i].word))
            continue;
        char *name = leat_parser_accept(p, "AS") ? leat_parser_name(p, "a column's name") : leat_strdup(kinds[i].word);
        if (name && !*kinds[i].flag) {
            *kinds[i].flag = true;
            *kinds[i].name = name;
            return true;
        }
        if (name)
            leat_parser_error(p, at, NULL, "'%s' is included twice", kinds[i].word);
        free(name);
        return false;
    }
    if (leat_parser_is(p, "key") || leat_parser_is(p, "header") || leat_parser_is(p, "headers")) {
        leat_parser_error(p, at, "INCLUDE takes offset, partition and timestamp",
                          "this version of leat does not run INCLUDE key and INCLUDE header");
        return false;
    }
    const char *nearest = leat_parser_nearest(p, at, words);
    if (!nearest)
        return leat_parser_expected(p, "offset, partition or timestamp");
    char found[64];
    leat_parser_show(p, at, found);
    char *hint = leat_asprintf("did you mean '%s'?", nearest);
    leat_parser_error(p, at, hint, "INCLUDE knows offset, partition and timestamp, not %s", found);
    free(hint);
    return false;
}

static bool parse_include(struct leat_parser *p, struct source_draft *draft) {
    draft->include_place = leat_parser_place(p, p->at - 1);
    do {
        if (!include_one(p, &draft->source))
            return false;
    } while (leat_parser_accept_operator(p, ","));
    return true;
}

/* FORMAT PLAIN ENCODE JSON [(...)] */
static bool parse_format(struct leat_parser *p, struct source_draft *draft) {
    size_t at = p->at - 1;
    if (draft->format_seen) {
        leat_parser_error(p, at, NULL, "FORMAT is said twice");
        return false;
    }
    draft->format_seen = true;
    if (leat_parser_is(p, "UPSERT") || leat_parser_is(p, "DEBEZIUM")) {
        leat_parser_error(p, p->at, "this version reads FORMAT PLAIN",
                          "this version of leat does not run change feeds (FORMAT UPSERT and DEBEZIUM)");
        return false;
    }
    if (!leat_parser_expect(p, "PLAIN") || !leat_parser_expect(p, "ENCODE"))
        return false;
    static const char *const encodings[] = {"json", "csv", "parquet"};
    for (size_t i = 0; i < 3; i++)
        if (leat_parser_accept(p, encodings[i]))
            draft->encode = encodings[i];
    if (!draft->encode)
        return leat_parser_expected(p, "JSON, CSV or PARQUET");
    return !leat_parser_is_operator(p, "(") || leat_parser_given_list(p, &draft->options);
}

static bool parse_with(struct leat_parser *p, struct source_draft *draft) {
    if (draft->with_seen) {
        leat_parser_error(p, p->at - 1, "put all options into one list", "WITH is said twice");
        return false;
    }
    draft->with_seen = true;
    draft->with_place = leat_parser_place(p, p->at - 1);
    return leat_parser_given_list(p, &draft->options);
}

static bool parse_clauses(struct leat_parser *p, struct source_draft *draft) {
    static const char *const words[] = {"INCLUDE", "WITH", "FORMAT", NULL};
    while (!leat_parser_at_end(p)) {
        size_t at = p->at;
        bool ok;
        if (leat_parser_accept(p, "INCLUDE")) {
            ok = parse_include(p, draft);
        } else if (leat_parser_accept(p, "WITH")) {
            ok = parse_with(p, draft);
        } else if (leat_parser_accept(p, "FORMAT")) {
            ok = parse_format(p, draft);
        } else {
            const char *nearest = leat_parser_nearest(p, at, words);
            char found[64];
            leat_parser_show(p, at, found);
            char *hint = nearest ? leat_asprintf("did you mean %s?", nearest) : NULL;
            leat_parser_error(p, at, hint, "expected INCLUDE, WITH, FORMAT or ';', found %s", found);
            free(hint);
            ok = false;
        }
        if (!ok)
            return false;
    }
    return true;
}

/* ---- what needs the whole statement ---- */

static bool check_keys(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    bool ok = true;
    source->primary_key = draft->key_count ? leat_alloc(draft->key_count * sizeof *source->primary_key) : NULL;
    for (size_t i = 0; i < draft->key_count; i++) {
        int column = leat_schema_find(&source->schema, draft->key_names[i]);
        bool twice = false;
        for (size_t k = 0; k < source->primary_key_count; k++)
            twice |= source->primary_key[k] == column;
        if (column < 0 || twice) {
            leat_diagnose(p->diags, draft->key_place, false, NULL,
                          twice ? "the primary key names column '%s' twice" : "the primary key's column '%s' is not declared",
                          draft->key_names[i]);
            ok = false;
            continue;
        }
        source->primary_key[source->primary_key_count++] = column;
        source->schema.fields[column].not_null = true;
    }
    return ok;
}

static bool check_watermark(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    source->event_time = -1;
    if (!draft->watermark_column)
        return true;
    int column = leat_schema_find(&source->schema, draft->watermark_column);
    if (column < 0) {
        const char **names = leat_alloc((source->schema.field_count + 1) * sizeof *names);
        for (size_t i = 0; i < source->schema.field_count; i++)
            names[i] = source->schema.fields[i].name;
        const char *nearest = leat_nearest(draft->watermark_column, names, source->schema.field_count);
        char *hint = nearest ? leat_asprintf("did you mean '%s'?", nearest) : NULL;
        leat_diagnose(p->diags, draft->watermark_place, false, hint, "the watermark's column '%s' is not declared",
                      draft->watermark_column);
        free(hint);
        free(names);
        return false;
    }
    uint8_t kind = source->schema.fields[column].type.kind;
    if (kind != LEAT_TIMESTAMP && kind != LEAT_TIMESTAMPTZ) {
        char type[32];
        leat_type_print(source->schema.fields[column].type, type);
        leat_diagnose(p->diags, draft->watermark_place, false, NULL,
                      "the watermark's column '%s' is %s; it must be TIMESTAMP or TIMESTAMPTZ", draft->watermark_column, type);
        return false;
    }
    source->event_time = column;
    return true;
}

static bool check_includes(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    const char *names[] = {source->partition_name, source->offset_name, source->timestamp_name};
    for (size_t i = 0; i < 3; i++) {
        if (!names[i])
            continue;
        bool clash = leat_schema_find(&source->schema, names[i]) >= 0 || reserved_column(names[i]);
        for (size_t k = 0; k < i; k++)
            clash |= names[k] && strcasecmp(names[i], names[k]) == 0;
        if (clash) {
            leat_diagnose(p->diags, draft->include_place, false, "say INCLUDE ... AS another_name",
                          "the included column '%s' has the name of another column", names[i]);
            return false;
        }
    }
    return true;
}

/* Consequences of being read whole instead of followed. */
static bool check_reference(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    bool by_refresh = source->refresh_us > 0, by_format = source->format == LEAT_FORMAT_PARQUET;
    source->reference = by_refresh || by_format || (source->primary_key_count > 0 && source->event_time < 0);
    if (!source->reference)
        return true;
    const char *reason = by_refresh ? "it has refresh" : by_format ? "its format is parquet" : "it has a primary key and no watermark";
    if (source->event_time >= 0) {
        leat_diagnose(p->diags, draft->watermark_place, false, "leave out the watermark, or what makes it a reference",
                      "'%s' is a reference source (%s) and cannot have a watermark", source->name, reason);
        return false;
    }
    if (source->include_offset || source->include_partition || source->include_timestamp) {
        leat_diagnose(p->diags, draft->include_place, false, "leave out INCLUDE, or what makes it a reference",
                      "'%s' is a reference source (%s): its rows have no offset, partition and arrival", source->name, reason);
        return false;
    }
    return true;
}

static void source_draft_deinit(struct source_draft *draft) {
    leat_given_list_deinit(&draft->options);
    leat_names_free(draft->key_names, draft->key_count);
    free(draft->column_places);
    free(draft->watermark_column);
}

void leat_parser_source(struct leat_parser *p) {
    struct source_draft draft = {.source = {.place = leat_parser_place(p, p->at), .event_time = -1}};
    struct leat_source *source = &draft.source;
    source->name = leat_parser_relation_name(p, "the source's name");
    if (!source->name)
        return;
    bool fresh = leat_parser_claim_name(p, source->name, source->place);
    bool columns = parse_columns(p, &draft);
    bool clauses = columns || leat_parser_is(p, "INCLUDE") || leat_parser_is(p, "WITH") || leat_parser_is(p, "FORMAT");
    clauses = clauses && parse_clauses(p, &draft);
    bool ok = columns && clauses;
    if (columns) {
        ok &= check_keys(p, &draft);
        ok &= check_watermark(p, &draft);
        ok &= check_includes(p, &draft);
    }
    if (clauses) {
        bool options = leat_parser_source_options(p, source, &draft.options, draft.encode);
        ok &= options;
        if (ok)
            ok &= check_reference(p, &draft);
    }
    if (fresh) {
        struct leat_project *project = p->project;
        project->sources = leat_realloc(project->sources, (project->source_count + 1) * sizeof *project->sources);
        project->sources[project->source_count] = *source;
        if (!ok)
            leat_parser_mark_broken(p, (struct leat_object_ref){LEAT_OBJECT_SOURCE, project->source_count});
        project->source_count++;
    } else {
        leat_source_deinit(source);
    }
    source_draft_deinit(&draft);
}
