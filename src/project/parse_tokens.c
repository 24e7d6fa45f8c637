/* The cursor over a statement's tokens and the small things statements are made of. */
#include "project/parse.h"

#include "base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* leat adds endings to it, and a folder's name has at most 255 bytes */
#define RELATION_NAME_MAX 128
_Static_assert(RELATION_NAME_MAX <= LEAT_NAME_MAX, "a relation's name is a name");



struct leat_place leat_parser_place(const struct leat_parser *p, size_t token) {
    const struct leat_token *t = &p->tokens.items[token <= p->tokens.count ? token : p->tokens.count];
    return (struct leat_place){.file = p->file->name, .line = t->line, .column = t->column};
}

void leat_parser_error(struct leat_parser *p, size_t token, const char *suggestion, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char text[LEAT_ERROR_TEXT_SIZE];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    leat_diagnose(p->diags, leat_parser_place(p, token), false, suggestion, "%s", text);
}

void leat_parser_show(const struct leat_parser *p, size_t token, char out[64]) {
    if (token >= p->end) {
        snprintf(out, 64, "the end of the statement");
        return;
    }
    const struct leat_token *t = &p->tokens.items[token];
    const char *text = p->tokens.text + t->offset;
    int length = 0;
    while (length < 40 && (size_t)length < t->length && (unsigned char)text[length] >= ' ')
        length++;
    while (length > 0 && (size_t)length < t->length && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--; /* not in the middle of a character */
    const char *quote = t->kind == LEAT_TOKEN_STRING ? "" : "'";
    snprintf(out, 64, "%s%.*s%s%s", quote, length, text, (size_t)length < t->length ? "..." : "", quote);
}

bool leat_parser_expected(struct leat_parser *p, const char *what) {
    char found[64];
    leat_parser_show(p, p->at, found);
    leat_parser_error(p, p->at, NULL, "expected %s, found %s", what, found);
    return false;
}

bool leat_parser_at_end(const struct leat_parser *p) {
    return p->at >= p->end;
}

enum leat_token_kind leat_parser_kind(const struct leat_parser *p) {
    return p->at < p->end ? p->tokens.items[p->at].kind : LEAT_TOKEN_END;
}

bool leat_parser_is_at(const struct leat_parser *p, size_t token, const char *word) {
    return token < p->end && leat_token_is(&p->tokens, token, word);
}

bool leat_parser_is(const struct leat_parser *p, const char *word) {
    return leat_parser_is_at(p, p->at, word);
}

bool leat_parser_is_operator(const struct leat_parser *p, const char *bytes) {
    return p->at < p->end && leat_token_is_operator(&p->tokens, p->at, bytes);
}

bool leat_parser_accept(struct leat_parser *p, const char *word) {
    bool found = leat_parser_is(p, word);
    p->at += found;
    return found;
}

bool leat_parser_accept_operator(struct leat_parser *p, const char *bytes) {
    bool found = leat_parser_is_operator(p, bytes);
    p->at += found;
    return found;
}

bool leat_parser_expect(struct leat_parser *p, const char *word) {
    if (leat_parser_accept(p, word))
        return true;
    char what[64];
    snprintf(what, sizeof what, "%s", word);
    return leat_parser_expected(p, what);
}

bool leat_parser_expect_operator(struct leat_parser *p, const char *bytes) {
    if (leat_parser_accept_operator(p, bytes))
        return true;
    char what[16];
    snprintf(what, sizeof what, "'%s'", bytes);
    return leat_parser_expected(p, what);
}

char *leat_parser_name(struct leat_parser *p, const char *what) {
    enum leat_token_kind kind = leat_parser_kind(p);
    if (kind != LEAT_TOKEN_WORD && kind != LEAT_TOKEN_QUOTED) {
        leat_parser_expected(p, what);
        return NULL;
    }
    size_t length;
    char *name = leat_token_value_bytes(&p->tokens, p->at, &length);
    if (length == 0 || strlen(name) != length) {
        leat_parser_error(p, p->at, NULL, "a name must not be empty or hold a NUL byte");
        free(name);
        return NULL;
    }
    if (length > LEAT_NAME_MAX) {
        leat_parser_error(p, p->at, NULL, "this name is %zu bytes long; at most %d are allowed", length, LEAT_NAME_MAX);
        free(name);
        return NULL;
    }
    p->at++;
    return name;
}

/* Why a name cannot be that of a relation; NULL: it can. */
static const char *relation_name_problem(const char *name) {
    static const char *const suffixes[] = {"__late", "__dead", "__quarantine", "__restatements", "__history", "__versions", "__differences"};
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(name);
    if (strspn(name, plain) != length || (name[0] >= '0' && name[0] <= '9'))
        return "names become folders of the lake: use letters, digits and _, and begin with a letter";
    if (length > RELATION_NAME_MAX)
        return "it is longer than 128 bytes";
    if (strncasecmp(name, "leat_", 5) == 0 || strncmp(name, "__", 2) == 0)
        return "names that begin with leat_ or __ are leat's own";
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (length > strlen(suffixes[i]) && strcasecmp(name + length - strlen(suffixes[i]), suffixes[i]) == 0)
            return "names that end in __late, __dead, __quarantine, __restatements, __history, __versions and __differences are those of leat's own tables";
    return NULL;
}

char *leat_parser_relation_name(struct leat_parser *p, const char *what) {
    size_t token = p->at;
    char *name = leat_parser_name(p, what);
    if (!name)
        return NULL;
    if (leat_parser_is_operator(p, ".")) {
        leat_parser_error(p, p->at, "leave out what stands before the dot", "names of a project are not qualified");
        free(name);
        return NULL;
    }
    const char *why = relation_name_problem(name);
    if (!why)
        return name;
    leat_parser_error(p, token, why, "'%s' cannot be the name of a relation", name);
    free(name);
    return NULL;
}

bool leat_parser_name_list(struct leat_parser *p, char ***out, size_t *count) {
    *out = NULL;
    *count = 0;
    if (!leat_parser_expect_operator(p, "("))
        return false;
    do {
        char *name = leat_parser_name(p, "a column name");
        if (!name)
            goto failed;
        *out = leat_realloc(*out, (*count + 1) * sizeof **out);
        (*out)[(*count)++] = name;
    } while (leat_parser_accept_operator(p, ","));
    if (leat_parser_expect_operator(p, ")"))
        return true;
failed:
    leat_names_free(*out, *count);
    *out = NULL;
    *count = 0;
    return false;
}

char *leat_parser_string(struct leat_parser *p, const char *what) {
    if (leat_parser_kind(p) != LEAT_TOKEN_STRING) {
        leat_parser_expected(p, what);
        return NULL;
    }
    size_t length;
    char *text = leat_token_value_bytes(&p->tokens, p->at, &length);
    if (strlen(text) != length) {
        leat_parser_error(p, p->at, NULL, "this string holds a NUL byte");
        free(text);
        return NULL;
    }
    p->at++;
    return text;
}

/* A word behind a bare number is its unit, known or not, unless it begins another clause. */
static bool is_unit(const struct leat_parser *p, const char *length) {
    static const char *const others[] = {"AS",           "ALLOW",      "EMIT",    "FRESHNESS", "SCHEDULE",
                                         "REFRESH_MODE", "FROZEN", "CONSTRAINT", "PRIMARY", "AT"};
    if (leat_parser_kind(p) != LEAT_TOKEN_WORD || strpbrk(length, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (leat_parser_is(p, others[i]))
            return false;
    return true;
}

bool leat_parser_interval(struct leat_parser *p, const char *what, bool above_zero, int64_t *us_out) {
    size_t first = p->at;
    *us_out = 0;
    if (!leat_parser_expect(p, "INTERVAL"))
        return false;
    enum leat_token_kind kind = leat_parser_kind(p);
    if (kind != LEAT_TOKEN_STRING && kind != LEAT_TOKEN_NUMBER) {
        leat_parser_expected(p, "an interval's length such as '10'");
        return false;
    }
    char *length = leat_token_value(&p->tokens, p->at++);
    char *whole = NULL;
    if (is_unit(p, length)) {
        char *unit = leat_token_value(&p->tokens, p->at++);
        whole = leat_asprintf("%s %s", length, unit);
        free(unit);
    }
    struct leat_error err = {0};
    bool ok = leat_parse_interval(whole ? whole : length, us_out, &err) == LEAT_OK;
    if (!ok)
        leat_parser_error(p, first, NULL, "%s: %s", what, err.text);
    else if (*us_out < 0 || (above_zero && *us_out == 0)) {
        leat_parser_error(p, first, NULL, "%s must %s", what, above_zero ? "be longer than zero" : "not be negative");
        ok = false;
    }
    free(length);
    free(whole);
    return ok;
}

void leat_parser_skip_item(struct leat_parser *p) {
    for (int depth = 0; p->at < p->end; p->at++) {
        if (leat_parser_is_operator(p, "(") || leat_parser_is_operator(p, "["))
            depth++;
        else if (depth && (leat_parser_is_operator(p, ")") || leat_parser_is_operator(p, "]")))
            depth--;
        else if (!depth && (leat_parser_is_operator(p, ",") || leat_parser_is_operator(p, ")")))
            return;
    }
}

void leat_parser_skip_list(struct leat_parser *p) {
    do {
        leat_parser_skip_item(p);
    } while (leat_parser_accept_operator(p, ","));
    leat_parser_accept_operator(p, ")");
}

char *leat_parser_text(const struct leat_parser *p, size_t first, size_t last) {
    if (first >= last)
        return leat_strdup("");
    const struct leat_token *a = &p->tokens.items[first], *b = &p->tokens.items[last - 1];
    return leat_strndup(p->tokens.text + a->offset, b->offset + b->length - a->offset);
}

const char *leat_parser_nearest(const struct leat_parser *p, size_t token, const char *const *words) {
    if (token >= p->end || p->tokens.items[token].kind != LEAT_TOKEN_WORD)
        return NULL;
    size_t count = 0;
    while (words[count])
        count++;
    char *word = leat_token_value(&p->tokens, token);
    const char *nearest = leat_nearest(word, words, count);
    free(word);
    return nearest;
}
