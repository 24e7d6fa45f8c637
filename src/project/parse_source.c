/* CREATE SOURCE name (columns) INCLUDE ... WITH (...) FORMAT PLAIN ENCODE ... */
#include "project/parse.h"

#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* INCLUDE key | topic | offset | partition | timestamp | header 'h' [VARCHAR | BLOB] [AS name] */
struct include {
    enum leat_meta what;
    char *name, *header;
    struct leat_place place;
    bool binary;
    bool topic; /* of MQTT, where it stands in the key's place */
};

/* What of a statement cannot be checked before all of it is read. */
struct source_draft {
    struct leat_source source;
    struct leat_given_list options;
    char **key_names; /* of PRIMARY KEY, inline ones too */
    struct leat_place key_place;
    size_t key_count;
    char *watermark_column;
    struct leat_place watermark_place;
    const char *encode; /* format said by FORMAT ... ENCODE, static; NULL: not said */
    struct include *includes;
    size_t include_count;
    struct leat_place with_place;
    bool with_seen, format_seen;
};

static void add_key(struct source_draft *draft, char *name, struct leat_place place) {
    draft->key_names = leat_realloc(draft->key_names, (draft->key_count + 1) * sizeof *draft->key_names);
    draft->key_names[draft->key_count++] = name;
    draft->key_place = place;
}

/* ---- columns ---- */

/* WITH (: the columns' `)` is missing. (WITH TIME ZONE is a type's.) */
static bool begins_with_list(const struct leat_parser *p) {
    return leat_parser_is(p, "WITH") && p->at + 1 < p->end && leat_token_is_operator(&p->tokens, p->at + 1, "(");
}

static bool ends_type(const struct leat_parser *p) {
    static const char *const words[] = {"NOT",    "NULL",    "PRIMARY", "FROM",       "DEFAULT", "COLLATE",
                                        "CHECK",  "UNIQUE",  "AS",      "REFERENCES", "COMMENT", "GENERATED",
                                        "CONSTRAINT"};
    if (leat_parser_is_operator(p, ",") || leat_parser_is_operator(p, ")") || begins_with_list(p))
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

/* Moves over a type's words and parentheses. False if what stands in parentheses cannot belong to a plain type. */
static bool skip_type(struct leat_parser *p) {
    bool plain = true;
    for (int depth = 0; p->at < p->end; p->at++) {
        if (depth == 0 && ends_type(p))
            break;
        bool word = leat_parser_kind(p) == LEAT_TOKEN_WORD || leat_parser_kind(p) == LEAT_TOKEN_QUOTED;
        if (depth > 0 && word && plain)
            plain = false;
        depth += leat_parser_is_operator(p, "(") || leat_parser_is_operator(p, "[") || leat_parser_is_operator(p, "<");
        depth -= leat_parser_is_operator(p, ")") || leat_parser_is_operator(p, "]") || leat_parser_is_operator(p, ">");
    }
    return plain;
}

/* The type; of kind NESTED when it is wrong (reported), so that the column is known all the same. */
static bool column_type(struct leat_parser *p, const char *column, struct leat_type *out) {
    size_t first = p->at;
    bool plain = skip_type(p), ok = false;
    *out = (struct leat_type){.kind = LEAT_NESTED};
    if (p->at == first) {
        leat_parser_error(p, first, "a column is written: name TYPE", "column '%s' has no type", column);
        return false;
    }
    char *text = leat_parser_text(p, first, p->at);
    struct leat_error err = {0};
    if (is_nested_type(text)) {
        leat_parser_error(p, first, "declare it VARCHAR: it then holds the JSON text, for json_extract and ->>",
                          "column '%s': nested types cannot be columns of a source in this version", column);
    } else if (!plain) {
        leat_parser_error(p, first, "a type is written like DECIMAL(18,2) or VARCHAR", "column '%s': its type cannot be understood",
                          column);
    } else if (leat_type_parse(text, strlen(text), out, &err) != LEAT_OK) {
        leat_parser_error(p, first, NULL, "column '%s': %s", column, err.text);
        *out = (struct leat_type){.kind = LEAT_NESTED};
    } else {
        ok = true;
    }
    free(text);
    return ok;
}

/* NOT NULL, NULL, PRIMARY KEY, FROM 'key', in any order. */
static bool column_rules(struct leat_parser *p, struct source_draft *draft, const char *column, bool *not_null, char **from) {
    while (!leat_parser_is_operator(p, ",") && !leat_parser_is_operator(p, ")") && !begins_with_list(p)) {
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
    bool ok = column_type(p, name, &type);
    ok = column_rules(p, draft, name, &not_null, &from) && ok;
    bool twice = leat_schema_find(&source->schema, name) >= 0, full = source->schema.field_count >= LEAT_COLUMNS_MAX - 3;
    if (reserved_column(name)) {
        leat_parser_error(p, at, "call it something else and say FROM 'field' for its name in the records",
                          "'%s' is a column that leat itself adds", name);
        ok = false;
    } else if (twice || full) {
        if (twice)
            leat_parser_error(p, at, NULL, "column '%s' is declared twice", name);
        else
            leat_parser_error(p, at, NULL, "a source can have at most %d columns", LEAT_COLUMNS_MAX - 3);
        ok = false;
    } else {
        size_t count = source->schema.field_count;
        leat_schema_add(&source->schema, name, type, not_null);
        source->source_names = leat_realloc(source->source_names, (count + 1) * sizeof *source->source_names);
        source->source_names[count] = from ? from : leat_strdup(name);
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

/* To the `,` or `)` that ends the item, the statement's end, or a WITH list that can only be outside. */
static void skip_source_item(struct leat_parser *p) {
    for (int depth = 0; p->at < p->end; p->at++) {
        bool open = leat_parser_is_operator(p, "("), close = leat_parser_is_operator(p, ")");
        if (depth == 0 && (close || leat_parser_is_operator(p, ",") || begins_with_list(p)))
            return;
        depth += open - close;
    }
}

static void parse_columns(struct leat_parser *p, struct source_draft *draft) {
    if (!leat_parser_expect_operator(p, "("))
        return;
    do {
        bool ok = parse_source_item(p, draft);
        if (!ok)
            skip_source_item(p);
        if (!ok && (leat_parser_at_end(p) || begins_with_list(p)))
            return; /* the missing `)` is part of what was reported */
    } while (leat_parser_accept_operator(p, ","));
    leat_parser_expect_operator(p, ")");
}

/* ---- clauses ---- */

static const char *const include_words[] = {"key", "offset", "partition", "timestamp", "header", "topic", NULL};

static bool include_word(struct leat_parser *p, struct include *out) {
    static const enum leat_meta kinds[] = {LEAT_META_KEY, LEAT_META_OFFSET, LEAT_META_PARTITION, LEAT_META_TIMESTAMP, LEAT_META_HEADER, LEAT_META_KEY};
    size_t at = p->at;
    for (size_t i = 0; include_words[i]; i++) {
        if (!leat_parser_accept(p, include_words[i])) continue;
        out->what = kinds[i];
        out->topic = i == 5;
        return true;
    }
    const char *nearest = leat_parser_nearest(p, at, include_words);
    if (!nearest)
        return leat_parser_expected(p, "key, topic, offset, partition, timestamp or header");
    char found[64];
    leat_parser_show(p, at, found);
    char *hint = leat_asprintf("did you mean '%s'?", nearest);
    leat_parser_error(p, at, hint, "INCLUDE knows key, topic, offset, partition, timestamp and header, not %s", found);
    free(hint);
    return false;
}

static const char *include_name(const struct include *one) {
    return one->header ? one->header : one->topic ? "topic" : include_words[one->what - LEAT_META_KEY];
}

static bool include_one(struct leat_parser *p, struct source_draft *draft) {
    struct include one = {.place = leat_parser_place(p, p->at)};
    size_t at = p->at;
    if (!include_word(p, &one))
        return false;
    if (one.what == LEAT_META_HEADER && !(one.header = leat_parser_string(p, "the header's name, as a string")))
        return false;
    if (one.what == LEAT_META_KEY || one.what == LEAT_META_HEADER) {
        one.binary = leat_parser_accept(p, "BLOB") || leat_parser_accept(p, "BYTEA");
        if (!one.binary) leat_parser_accept(p, "VARCHAR");
    }
    one.name = leat_parser_accept(p, "AS") ? leat_parser_name(p, "a column's name") : leat_strdup(include_name(&one));
    bool ok = one.name != NULL;
    for (size_t i = 0; i < draft->include_count && ok; i++) {
        const struct include *other = &draft->includes[i];
        if (other->what != one.what || (one.header && strcmp(one.header, other->header) != 0))
            continue;
        leat_parser_error(p, at, NULL, "'%s' is included twice", include_name(&one));
        ok = false;
    }
    if (!ok) {
        free(one.name);
        free(one.header);
        return false;
    }
    draft->includes = leat_realloc(draft->includes, (draft->include_count + 1) * sizeof *draft->includes);
    draft->includes[draft->include_count++] = one;
    return true;
}

static bool parse_include(struct leat_parser *p, struct source_draft *draft) {
    do {
        if (!include_one(p, draft))
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
    static const struct {
        const char *kind, *encoding, *format;
    } formats[] = {{"PLAIN", "JSON", "json"},          {"PLAIN", "CSV", "csv"},         {"PLAIN", "PARQUET", "parquet"},
                   {"PLAIN", "BYTES", "raw"},          {"PLAIN", "AVRO", "avro"},       {"UPSERT", "JSON", "upsert-json"},
                   {"UPSERT", "AVRO", "upsert-avro"},  {"DEBEZIUM", "JSON", "debezium-json"}, {"DEBEZIUM", "AVRO", "debezium-avro"},
                   {"CANAL", "JSON", "canal-json"},    {"MAXWELL", "JSON", "maxwell-json"}};
    size_t kind_at = p->at, encoding_at = p->at + 2, i;
    static const char *const kinds[] = {"PLAIN", "UPSERT", "DEBEZIUM", "CANAL", "MAXWELL"};
    bool known = false;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) known |= leat_parser_is(p, kinds[i]);
    if (!known)
        return leat_parser_expected(p, "PLAIN, UPSERT, DEBEZIUM, CANAL or MAXWELL");
    p->at++;
    if (!leat_parser_expect(p, "ENCODE"))
        return false;
    for (i = 0; i < sizeof formats / sizeof *formats && !draft->encode; i++)
        if (leat_parser_is_at(p, kind_at, formats[i].kind) && leat_parser_is_at(p, encoding_at, formats[i].encoding))
            draft->encode = formats[i].format;
    if (!draft->encode)
        return leat_parser_expected(p, leat_parser_is_at(p, kind_at, "PLAIN") ? "JSON, CSV, PARQUET, BYTES or AVRO" : "JSON or AVRO");
    p->at++;
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

static bool parse_clause(struct leat_parser *p, struct source_draft *draft) {
    static const char *const words[] = {"INCLUDE", "WITH", "FORMAT", NULL};
    if (leat_parser_accept(p, "INCLUDE"))
        return parse_include(p, draft);
    if (leat_parser_accept(p, "WITH"))
        return parse_with(p, draft);
    if (leat_parser_accept(p, "FORMAT"))
        return parse_format(p, draft);
    const char *nearest = leat_parser_nearest(p, p->at, words);
    char found[64];
    leat_parser_show(p, p->at, found);
    char *hint = nearest ? leat_asprintf("did you mean %s?", nearest) : NULL;
    leat_parser_error(p, p->at, hint, "expected INCLUDE, WITH, FORMAT or ';', found %s", found);
    free(hint);
    return false;
}

/* Clauses to the statement's end; after a wrong one goes on with the next word that begins a clause. */
static bool parse_clauses(struct leat_parser *p, struct source_draft *draft) {
    bool ok = true;
    while (!leat_parser_at_end(p)) {
        size_t at = p->at;
        if (parse_clause(p, draft))
            continue;
        ok = false;
        if (p->at == at)
            p->at++;
        while (!leat_parser_at_end(p) && !leat_parser_is(p, "INCLUDE") && !leat_parser_is(p, "WITH") && !leat_parser_is(p, "FORMAT"))
            p->at++;
    }
    return ok;
}

/* ---- what needs the whole statement ---- */

static void check_keys(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
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
            continue;
        }
        source->primary_key[source->primary_key_count++] = column;
        source->schema.fields[column].not_null = true;
    }
}

static void check_watermark(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    source->event_time = -1;
    if (!draft->watermark_column)
        return;
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
        return;
    }
    uint8_t kind = source->schema.fields[column].type.kind;
    if (kind == LEAT_NESTED)
        return; /* its type is wrong and reported */
    if (kind != LEAT_TIMESTAMP && kind != LEAT_TIMESTAMPTZ) {
        char type[32];
        leat_type_print(source->schema.fields[column].type, type);
        leat_diagnose(p->diags, draft->watermark_place, false, NULL,
                      "the watermark's column '%s' is %s; it must be TIMESTAMP or TIMESTAMPTZ", draft->watermark_column, type);
        return;
    }
    source->event_time = column;
}

/* A file's records have only a place and an arrival, which leat gives; a message brings its own. */
static bool include_beside(struct leat_source *source, const struct include *one) {
    bool *flag = one->what == LEAT_META_OFFSET ? &source->include_offset : one->what == LEAT_META_PARTITION ? &source->include_partition : &source->include_timestamp;
    char **name = one->what == LEAT_META_OFFSET ? &source->offset_name : one->what == LEAT_META_PARTITION ? &source->partition_name : &source->timestamp_name;
    if (one->what == LEAT_META_KEY || one->what == LEAT_META_HEADER)
        return false;
    *flag = true;
    *name = leat_strdup(one->name);
    return true;
}

static void add_meta(struct leat_source *source, enum leat_meta what, const char *name, struct leat_type type, bool not_null, const char *header) {
    size_t count = source->schema.field_count;
    leat_schema_add(&source->schema, name, type, not_null);
    source->source_names = leat_realloc(source->source_names, (count + 1) * sizeof *source->source_names);
    source->source_names[count] = leat_strdup(header ? header : name);
    source->meta = leat_realloc(source->meta, count + 1);
    source->meta[count] = (uint8_t)what;
    source->messages |= what != LEAT_META_DELETED;
}

static struct leat_type type_of_include(const struct include *one) {
    uint8_t kind = one->what == LEAT_META_OFFSET      ? LEAT_BIGINT
                   : one->what == LEAT_META_PARTITION ? LEAT_INTEGER
                   : one->what == LEAT_META_TIMESTAMP ? LEAT_TIMESTAMP
                   : one->binary                      ? LEAT_BLOB
                                                      : LEAT_VARCHAR;
    return (struct leat_type){.kind = kind};
}

static bool is_kafka(const struct leat_source *source) {
    return source->connector && strcmp(source->connector, "kafka") == 0;
}

/* Is it of a message what is included, not of the record's place here? */
static bool of_message(const struct leat_source *source, const struct include *one) {
    bool mqtt = source->connector && strcmp(source->connector, "mqtt") == 0;
    return one->topic ? mqtt : is_kafka(source);
}

/* Before keys and the watermark, which may name what is included. */
static void add_includes(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    source->value_count = source->schema.field_count;
    source->meta = leat_alloc(source->value_count + 1);
    source->messages = is_kafka(source) && source->feed != LEAT_FEED_NONE;
    for (size_t i = 0; i < draft->include_count; i++) {
        const struct include *one = &draft->includes[i];
        bool clash = leat_schema_find(&source->schema, one->name) >= 0 || reserved_column(one->name);
        for (size_t k = 0; k < i; k++)
            clash |= strcasecmp(one->name, draft->includes[k].name) == 0;
        if (clash) {
            leat_diagnose(p->diags, one->place, false, "say INCLUDE ... AS another_name",
                          "the included column '%s' has the name of another column", one->name);
            return;
        }
        bool certain = one->what == LEAT_META_OFFSET || one->what == LEAT_META_PARTITION;
        if (of_message(source, one))
            add_meta(source, one->what, one->name, type_of_include(one), certain, one->header);
        else if (!include_beside(source, one))
            leat_diagnose(p->diags, one->place, false, "INCLUDE takes offset, partition and timestamp here, of mqtt also topic",
                          "records of the connector '%s' have no %s", source->connector ? source->connector : "file",
                          one->topic ? "topic" : one->what == LEAT_META_KEY ? "key" : "headers");
    }
}

/* What a query in it reads would be known to nobody: the view reads the source alone. */
static bool holds_query(const char *condition) {
    static const char *const begin[] = {"FROM", "WITH", "TABLE", "PIVOT", "UNPIVOT", "DESCRIBE", "SUMMARIZE", "SHOW"}, *const words[] = {"SELECT", "VALUES"};
    struct leat_tokens tokens;
    leat_lex(condition, strlen(condition), &tokens);
    bool found = leat_tokens_have_any(&tokens, words, sizeof words / sizeof *words);
    for (size_t i = 0; i + 1 < tokens.count && !found; i++)
        found = leat_token_is_operator(&tokens, i, "(") && leat_token_is_any(&tokens, i + 1, begin, sizeof begin / sizeof *begin);
    leat_tokens_deinit(&tokens);
    return found;
}

/* Rule 17: the source becomes NAME__changes, with every change as it came, and NAME the view that folds them. Batch runs, the
 * oracle and the incremental plan then run the same SQL. */
static void add_fold(struct leat_parser *p, struct leat_source *source) {
    struct leat_project *project = p->project;
    const char *sequence = leat_source_option(source, "sequence"), *delete_when = leat_source_option(source, "delete_when");
    struct leat_buffer keys = {0}, columns = {0}, sql = {0};
    for (size_t i = 0; i < source->primary_key_count; i++) {
        if (i) leat_put(&keys, ", ");
        leat_put_sql_name(&keys, source->schema.fields[source->primary_key[i]].name);
    }
    for (size_t i = 0; i < source->schema.field_count; i++) {
        if (i) leat_put(&columns, ", ");
        leat_put_sql_name(&columns, source->schema.fields[i].name);
    }
    struct leat_view view = {.place = source->place, .sql_place = source->place, .name = source->name};
    source->name = leat_asprintf("%s__changes", view.name);
    add_meta(source, LEAT_META_DELETED, "__deleted", (struct leat_type){.kind = LEAT_BOOLEAN}, true, NULL);
    source->include_partition = source->include_offset = true;
    source->partition_name = leat_strdup("__partition");
    source->offset_name = leat_strdup("__offset");
    leat_putf(&sql, "SELECT %s FROM (SELECT DISTINCT ON (%s) * FROM ", columns.data, keys.data);
    leat_put_sql_name(&sql, source->name);
    leat_putf(&sql, " ORDER BY %s, ", keys.data);
    if (sequence) {
        leat_put_sql_name(&sql, sequence);
        leat_put(&sql, " DESC, ");
    }
    leat_put(&sql, "__partition DESC, __offset DESC) WHERE NOT __deleted");
    if (delete_when)
        leat_putf(&sql, " AND (%s\n) IS NOT TRUE", delete_when);
    for (size_t i = 0; delete_when && i < source->option_count; i++)
        if (source->options[i].value == delete_when) view.sql_place = source->options[i].place; /* the rest of the query has no errors */
    if (delete_when && holds_query(delete_when))
        leat_diagnose(p->diags, view.sql_place, false, "write a view over the source that leaves such rows out", "delete_when is a condition over the source's own columns, without a query");
    view.sql = sql.data;
    struct leat_query query = {.object = {LEAT_OBJECT_VIEW, project->view_count}, .reference_count = 1};
    query.references = leat_alloc(sizeof *query.references);
    query.references[0] = (struct leat_reference){.name = leat_strdup(source->name), .place = source->place};
    p->queries = leat_realloc(p->queries, (p->query_count + 1) * sizeof *p->queries);
    p->queries[p->query_count++] = query;
    project->views = leat_realloc(project->views, (project->view_count + 1) * sizeof *project->views);
    project->views[project->view_count++] = view;
    leat_buffer_deinit(&keys);
    leat_buffer_deinit(&columns);
}

static void check_feed(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    const char *sequence = leat_source_option(source, "sequence"), *of_feeds = sequence ? "sequence" : leat_source_option(source, "delete_when") ? "delete_when" : NULL;
    int column = sequence ? leat_schema_find(&source->schema, sequence) : -1;
    if (source->feed == LEAT_FEED_NONE) {
        const struct leat_option_table *table = leat_connector_table(source->connector);
        if (of_feeds)
            leat_diagnose(p->diags, source->place, false,
                          leat_option_find(table->specs, table->count, "cursor") ? "leave it out, or say cursor = '...' and PRIMARY KEY (...)"
                                                                                 : "leave it out, or say a format that is a change feed",
                          "%s means nothing for source '%s', which is no change feed", of_feeds, source->name);
        if (is_kafka(source) && source->primary_key_count && source->event_time < 0)
            leat_diagnose(p->diags, draft->key_place, false, "leave the key out; or, if each record is the current row of its key, say format = 'upsert-json'",
                          "source '%s' is a stream of records, of which many may have one key", source->name);
        return;
    }
    if (!source->primary_key_count)
        leat_diagnose(p->diags, source->place, false, "say PRIMARY KEY (...) behind the columns", "source '%s' is a change feed and needs a primary key",
                      source->name);
    if (source->event_time >= 0)
        leat_diagnose(p->diags, draft->watermark_place, false, "leave it out", "source '%s' is a change feed: its rows change, and none is late",
                      source->name);
    if (source->refresh_us)
        leat_diagnose(p->diags, source->place, false, "leave out refresh, or say format = 'json'", "source '%s' is a change feed, which is followed and not read whole",
                      source->name);
    if (source->include_partition || source->include_offset || source->include_timestamp)
        leat_diagnose(p->diags, draft->includes[0].place, false, "leave it out", "source '%s' is a change feed: its rows have no place of their own in files", source->name);
    if (sequence && column < 0)
        leat_diagnose(p->diags, source->place, false, NULL, "the column '%s' of the option sequence is not declared", sequence);
    else if (sequence && source->feed == LEAT_FEED_UPSERT && (size_t)column < source->value_count)
        leat_diagnose(p->diags, source->place, false, "say INCLUDE timestamp AS ts, and sequence = 'ts'",
                      "a record that deletes has no value, so that '%s' cannot order it", sequence);
    else if (sequence)
        source->schema.fields[column].not_null = true;
}

static void check_unknown_fields(struct leat_parser *p, const struct leat_source *source) {
    const char *name = leat_source_option(source, "unknown_fields");
    int column = name ? leat_schema_find(&source->schema, name) : -1;
    if (!name)
        return;
    const struct leat_field *field = column < 0 ? NULL : &source->schema.fields[column];
    if (!field)
        leat_diagnose(p->diags, source->place, false, "declare it: a VARCHAR", "the column '%s' of the option unknown_fields is not declared", name);
    else if (field->type.kind != LEAT_VARCHAR || field->not_null || (source->meta && (size_t)column >= source->value_count))
        leat_diagnose(p->diags, source->place, false, "declare a VARCHAR for it that may be NULL", "the column '%s' cannot take the fields that are not declared", name);
}

/* Consequences of being read whole instead of followed. */
static void check_reference(struct leat_parser *p, struct source_draft *draft) {
    struct leat_source *source = &draft->source;
    if (is_kafka(source) || source->feed != LEAT_FEED_NONE)
        return;
    bool by_refresh = source->refresh_us > 0, by_format = source->format == LEAT_FORMAT_PARQUET, database = !leat_source_option(source, "path");
    const struct leat_option_table *table = leat_connector_table(source->connector);
    bool can_be = leat_option_find(table->specs, table->count, "refresh") != NULL;
    bool by_connector = can_be && database && !leat_source_option(source, "cursor");
    source->reference = by_refresh || by_format || by_connector || (can_be && source->primary_key_count > 0 && source->event_time < 0);
    const char *encoding = leat_source_option(source, "encoding");
    if (!source->reference && encoding && (strcmp(encoding, "utf-16") == 0 || strcmp(encoding, "windows-1252") == 0)) {
        leat_diagnose(p->diags, source->place, false, "convert the files to utf-8, or make it a reference by refresh",
                      "source '%s' follows its files, which cannot be in %s", source->name, encoding);
    }
    if (!source->reference)
        return;
    const char *reason = by_refresh ? "it has refresh" : by_format ? "its format is parquet" : by_connector ? "it is read whole from a database" : "it has a primary key and no watermark";
    if (source->event_time >= 0) {
        leat_diagnose(p->diags, draft->watermark_place, false, "leave out the watermark, or what makes it a reference",
                      "'%s' is a reference source (%s) and cannot have a watermark", source->name, reason);
        return;
    }
    if (source->include_offset || source->include_partition || source->include_timestamp) {
        leat_diagnose(p->diags, draft->includes[0].place, false, "leave out INCLUDE, or what makes it a reference",
                      "'%s' is a reference source (%s): its rows have no offset, partition and arrival", source->name, reason);
        return;
    }
}

/* Only a watermark can be held back; only event time can say what is old. */
static void check_needs_watermark(struct leat_parser *p, const struct leat_source *source, const char *option, bool watermark) {
    for (size_t i = 0; i < source->option_count; i++)
        if (strcmp(source->options[i].name, option) == 0 && !watermark)
            leat_diagnose(p->diags, source->options[i].place, false, "leave it out, or say WATERMARK FOR ...",
                          "%s means nothing for source '%s', which has no WATERMARK", option, source->name);
}

static void source_draft_deinit(struct source_draft *draft) {
    leat_given_list_deinit(&draft->options);
    leat_names_free(draft->key_names, draft->key_count);
    free(draft->watermark_column);
    for (size_t i = 0; i < draft->include_count; i++) {
        free(draft->includes[i].name);
        free(draft->includes[i].header);
    }
    free(draft->includes);
}

void leat_parser_source(struct leat_parser *p) {
    struct source_draft draft = {.source = {.place = leat_parser_place(p, p->at), .event_time = -1}};
    struct leat_source *source = &draft.source;
    source->name = leat_parser_relation_name(p, "the source's name");
    if (!source->name)
        return;
    bool fresh = leat_parser_claim_name(p, source->name, source->place);
    size_t before = leat_diagnostics_errors(p->diags);
    parse_columns(p, &draft);
    bool columns = leat_diagnostics_errors(p->diags) == before;
    bool clauses = parse_clauses(p, &draft);
    if (columns && source->schema.field_count == 0)
        leat_diagnose(p->diags, source->place, false, "name its columns and their types in parentheses",
                      "source '%s' has no columns", source->name);
    bool options = (clauses || draft.with_seen) && leat_parser_source_options(p, source, &draft.options, draft.encode);
    if (options && leat_source_option(source, "cursor") && draft.key_count) source->feed = LEAT_FEED_DEBEZIUM; /* extracted rows are the newest of their keys */
    add_includes(p, &draft);
    check_keys(p, &draft);
    check_watermark(p, &draft);
    if (options && columns) {
        check_feed(p, &draft);
        check_unknown_fields(p, source);
        check_reference(p, &draft);
    }
    check_needs_watermark(p, source, "idle_timeout", draft.watermark_column != NULL);
    check_needs_watermark(p, source, "retention", draft.watermark_column != NULL);
    bool ok = leat_diagnostics_errors(p->diags) == before;
    if (ok && fresh && source->feed != LEAT_FEED_NONE)
        add_fold(p, source);
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
