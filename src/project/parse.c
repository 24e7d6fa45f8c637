/* Files into statements, statements to the function that reads them; what the language has but this version does not
 * run is refused here by name. */
#include "project/parse.h"

#include "data/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void unsupported(struct leat_parser *p, size_t token, const char *what, const char *suggestion) {
    leat_parser_error(p, token, suggestion, "this version of leat does not run %s", what);
}

/* [OR REPLACE | OR ALTER]: a project says how things are, so both are the same as plain CREATE. */
static bool skip_or_replace(struct leat_parser *p) {
    if (!leat_parser_accept(p, "OR"))
        return true;
    if (leat_parser_accept(p, "REPLACE") || leat_parser_accept(p, "ALTER"))
        return true;
    return leat_parser_expected(p, "REPLACE or ALTER");
}

static bool skip_if_not_exists(struct leat_parser *p) {
    if (!leat_parser_is(p, "IF") || !leat_parser_is_at(p, p->at + 1, "NOT"))
        return true;
    p->at += 2;
    return leat_parser_expect(p, "EXISTS");
}

/* Words of other systems, and what stands for them here; NULL: none that is known. */
static const char *said_elsewhere(const struct leat_parser *p, size_t at) {
    static const struct { const char *word, *here; } WORDS[] = {
        {"DYNAMIC", "say CREATE MATERIALIZED TABLE name FRESHNESS = INTERVAL ... AS SELECT ..."},
        {"STREAMING", "say CREATE MATERIALIZED TABLE name FRESHNESS = INTERVAL ... AS SELECT ..."},
        {"STREAM", "say CREATE SOURCE for input; changes of a table are followed by a SINK or over HTTP"},
        {"INSERT", "what goes out is told by CREATE SINK name FROM table WITH (connector = ...)"},
        {"DROP", "leave its CREATE statement out of the files, then `leat apply`"},
        {"{", "files are SQL as it stands, not templates: names of tables are written plainly, ${NAME} is read from the environment"},
    };
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (leat_parser_is_at(p, at, WORDS[i].word) || leat_token_is_operator(&p->tokens, at, WORDS[i].word)) return WORDS[i].here;
    return NULL;
}

static void parse_create(struct leat_parser *p) {
    static const char *const kinds[] = {"SOURCE", "VIEW", "MATERIALIZED", "SINK", "CHECK", NULL};
    if (!skip_or_replace(p))
        return;
    size_t at = p->at;
    if (leat_parser_accept(p, "SOURCE")) {
        if (skip_if_not_exists(p))
            leat_parser_source(p);
    } else if (leat_parser_accept(p, "VIEW")) {
        if (skip_if_not_exists(p))
            leat_parser_view(p);
    } else if (leat_parser_accept(p, "MATERIALIZED")) {
        if (leat_parser_is(p, "VIEW"))
            leat_parser_error(p, p->at, "say CREATE MATERIALIZED TABLE name FRESHNESS = INTERVAL ... AS SELECT ...",
                              "leat has materialized tables, not materialized views");
        else if (leat_parser_expect(p, "TABLE") && skip_if_not_exists(p))
            leat_parser_table(p);
    } else if (leat_parser_accept(p, "SINK")) {
        if (skip_if_not_exists(p))
            leat_parser_sink(p);
    } else if (leat_parser_accept(p, "CHECK")) {
        leat_parser_check(p);
    } else if (leat_parser_is(p, "TABLE")) {
        leat_parser_error(p, at, "say CREATE SOURCE for input, CREATE MATERIALIZED TABLE ... AS SELECT for results",
                          "a project has no plain tables");
    } else {
        const char *nearest = leat_parser_nearest(p, at, kinds);
        char found[64];
        leat_parser_show(p, at, found);
        char *hint = nearest ? leat_asprintf("did you mean %s?", nearest) : NULL;
        leat_parser_error(p, at, hint ? hint : said_elsewhere(p, at), "expected SOURCE, VIEW, MATERIALIZED TABLE, SINK or CHECK after CREATE, found %s", found);
        free(hint);
    }
}

static void parse_statement(struct leat_parser *p) {
    static const char *const verbs[] = {"CREATE", "SET", "ALTER", NULL};
    size_t at = p->at;
    if (leat_parser_accept(p, "CREATE")) {
        parse_create(p);
    } else if (leat_parser_accept(p, "SET")) {
        leat_parser_set(p);
    } else if (leat_parser_is(p, "ALTER")) {
        leat_parser_error(p, at, "`leat alter \"ALTER ...\"` rewrites the table's statement and applies it", "ALTER stands in no file: what it would change stands in CREATE");
    } else if (leat_parser_is(p, "AUTO")) {
        unsupported(p, at, "AUTO CDC", "say PRIMARY KEY (...), sequence = '...' and delete_when = '...' in CREATE SOURCE");
    } else {
        const char *nearest = leat_parser_nearest(p, at, verbs);
        char found[64];
        leat_parser_show(p, at, found);
        char *hint = nearest ? leat_asprintf("did you mean %s?", nearest) : NULL;
        const char *here = hint ? hint : said_elsewhere(p, at);
        leat_parser_error(p, at, here ? here : "a project holds CREATE and SET statements; queries are for `leat sql`",
                          "expected CREATE or SET, found %s", found);
        free(hint);
    }
}

static void report_problems(struct leat_parser *p) {
    for (size_t i = 0; i < p->tokens.problem_count; i++) {
        const struct leat_lex_problem *problem = &p->tokens.problems[i];
        char *hint = problem->suspect_line ? leat_asprintf("the string that begins in line %d runs over the line's end; "
                                                           "perhaps its closing ' is missing",
                                                           problem->suspect_line)
                                           : NULL;
        leat_diagnose(p->diags,
                      (struct leat_place){.file = p->file->name, .line = problem->line, .column = problem->column}, false,
                      hint, "%s", problem->message);
        free(hint);
    }
}

/* True where a statement plainly begins although no `;` stands before it: CREATE SOURCE ... at the beginning of a line. */
static bool begins_statement(const struct leat_parser *p, size_t token) {
    static const char *const kinds[] = {"SOURCE", "VIEW", "MATERIALIZED", "SINK", "CHECK", "OR"};
    const struct leat_token *t = &p->tokens.items[token];
    if (t->column != 1 || !leat_parser_is_at(p, token, "CREATE"))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (leat_parser_is_at(p, token + 1, kinds[i]))
            return true;
    return false;
}

/* The statement p->at .. p->end, and, where a `;` was forgotten, those in it. */
static void parse_statements(struct leat_parser *p) {
    size_t end = p->end;
    while (p->at < end) {
        p->end = end;
        for (size_t i = p->at + 1; i < end && p->end == end; i++)
            if (begins_statement(p, i))
                p->end = i;
        size_t next = p->end;
        if (next < end)
            leat_parser_error(p, next, NULL, "a ';' is missing before this statement");
        parse_statement(p);
        p->at = next;
    }
}

/* Offset of the first byte that cannot be part of an SQL text, or file->length. */
static size_t first_bad_byte(const struct leat_text_file *file) {
    const char *nul = file->length ? memchr(file->text, 0, file->length) : NULL;
    return leat_utf8_prefix(file->text, nul ? (size_t)(nul - file->text) : file->length);
}

static bool check_text(struct leat_parser *p, const struct leat_text_file *file) {
    size_t bad = first_bad_byte(file);
    if (bad == file->length)
        return true;
    struct leat_place place = {.file = file->name};
    leat_text_place(file->text, file->length, bad, &place.line, &place.column);
    leat_diagnose(p->diags, place, false, "save the file as UTF-8", "the byte 0x%02x here is not UTF-8 text; the file is not read",
                  (unsigned char)file->text[bad]);
    return false;
}

void leat_parser_file(struct leat_parser *p, const struct leat_text_file *file) {
    struct leat_statement *statements;
    p->file = file;
    if (!check_text(p, file))
        return;
    leat_lex(file->text, file->length, &p->tokens);
    report_problems(p);
    size_t count = leat_lex_statements(&p->tokens, &statements);
    for (size_t i = 0; i < count; i++) {
        p->at = statements[i].first;
        p->end = statements[i].first + statements[i].count;
        size_t before = p->diags->count;
        parse_statements(p);
        /* what else is wrong with a statement whose string never ends follows from that */
        if (statements[i].broken)
            leat_diagnostics_truncate(p->diags, before);
    }
    free(statements);
    leat_tokens_deinit(&p->tokens);
}

void leat_parser_deinit(struct leat_parser *p) {
    for (size_t i = 0; i < p->query_count; i++) {
        struct leat_query *query = &p->queries[i];
        for (size_t r = 0; r < query->reference_count; r++) {
            free(query->references[r].name);
            free(query->references[r].time_column);
        }
        free(query->references);
    }
    free(p->queries);
    leat_names_free(p->windowed, p->windowed_count);
    free(p->broken);
}
