/* ALTER MATERIALIZED TABLE: read, and written into the file that declares the table. Only the clause or the query is replaced: comments,
 * spaces and everything else stay as they were. */
#include "project/alter.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql/lexer.h"

#define SHAPE                                                                                                                          \
    "say ALTER MATERIALIZED TABLE name SET FRESHNESS = INTERVAL '...' [BETWEEN '...' AND '...' ELSE INTERVAL '...'] | " \
    "SET SCHEDULE CRON '...' [READY BY '...'] [AT TIME ZONE '...'] | SUSPEND | RESUME | " \
    "REFRESH [PARTITION (condition)] | AS SELECT ..."

static enum leat_status refuse(const struct leat_tokens *tokens, size_t at, const char *expected, struct leat_error *err) {
    char *found = at < tokens->count ? leat_strndup(tokens->text + tokens->items[at].offset, tokens->items[at].length) : leat_strdup("the end");
    enum leat_status st = leat_fail(err, LEAT_INVALID, "expected %s, found %.40s; " SHAPE, expected, found);
    free(found);
    return st;
}

static bool accept(const struct leat_tokens *tokens, size_t *at, const char *word) {
    if (*at >= tokens->count || !leat_token_is(tokens, *at, word)) return false;
    (*at)++;
    return true;
}

/* From a token to the statement's end, as written. */
static char *rest_of(const struct leat_tokens *tokens, size_t at) {
    size_t last = tokens->count - 1;
    while (last > at && leat_token_is_operator(tokens, last, ";")) last--;
    size_t from = tokens->items[at].offset, to = tokens->items[last].offset + tokens->items[last].length;
    return leat_strndup(tokens->text + from, to - from);
}

static bool opens(const struct leat_tokens *tokens, size_t at) {
    return leat_token_is_operator(tokens, at, "(") || leat_token_is_operator(tokens, at, "[") || leat_token_is_operator(tokens, at, "{");
}

static bool closes(const struct leat_tokens *tokens, size_t at) {
    return leat_token_is_operator(tokens, at, ")") || leat_token_is_operator(tokens, at, "]") || leat_token_is_operator(tokens, at, "}");
}

/* What stands in the parentheses, as one condition: Flink's list (day = '...', shop = 1) too. *at: behind them. NULL: there are none. */
static char *condition(const struct leat_tokens *tokens, size_t *at) {
    struct leat_buffer out = {0};
    size_t first = *at, i = first;
    int depth = 0;
    if (i >= tokens->count || !leat_token_is_operator(tokens, i, "(")) return NULL;
    leat_put(&out, "(");
    for (; i < tokens->count; i++) {
        const struct leat_token *token = &tokens->items[i];
        depth += opens(tokens, i);
        depth -= closes(tokens, i);
        if (depth == 0) break;
        if (depth == 1 && leat_token_is_operator(tokens, i, ","))
            leat_put(&out, ") AND (");
        else if (i > first)
            leat_putf(&out, "%s%.*s", out.data[out.length - 1] == '(' ? "" : " ", (int)token->length, tokens->text + token->offset);
    }
    leat_put(&out, ")");
    if (i == tokens->count || i == first + 1 || !leat_token_is_operator(tokens, i, ")")) leat_buffer_deinit(&out);
    else *at = i + 1;
    return out.data;
}

static enum leat_status parse_action(const struct leat_tokens *tokens, size_t at, struct leat_alter *out, struct leat_error *err) {
    size_t begin = at;
    if (accept(tokens, &at, "SUSPEND"))
        out->kind = LEAT_ALTER_SUSPEND;
    else if (accept(tokens, &at, "RESUME"))
        out->kind = LEAT_ALTER_RESUME;
    else if (accept(tokens, &at, "REFRESH"))
        out->kind = LEAT_ALTER_REFRESH;
    else if (accept(tokens, &at, "AS"))
        out->kind = LEAT_ALTER_QUERY;
    else if (accept(tokens, &at, "SET"))
        out->kind = LEAT_ALTER_DIAL;
    else
        return refuse(tokens, begin, "SET, SUSPEND, RESUME, REFRESH or AS", err);
    if (out->kind == LEAT_ALTER_REFRESH && accept(tokens, &at, "PARTITION")) {
        out->text = condition(tokens, &at);
        if (!out->text) return refuse(tokens, at, "a condition in parentheses", err);
    }
    if (out->kind == LEAT_ALTER_DIAL && (at >= tokens->count || (!leat_token_is(tokens, at, "FRESHNESS") && !leat_token_is(tokens, at, "SCHEDULE"))))
        return refuse(tokens, at, "FRESHNESS or SCHEDULE", err);
    bool takes_text = out->kind == LEAT_ALTER_DIAL || out->kind == LEAT_ALTER_QUERY;
    bool ended = at >= tokens->count || leat_token_is_operator(tokens, at, ";");
    if (takes_text && ended) return refuse(tokens, at, "more", err);
    if (!takes_text && !ended) return refuse(tokens, at, "nothing more", err);
    if (takes_text) out->text = rest_of(tokens, at);
    return LEAT_OK;
}

enum leat_status leat_alter_parse(const char *sql, struct leat_alter *out, struct leat_error *err) {
    struct leat_tokens tokens;
    size_t at = 0;
    enum leat_status st;
    *out = (struct leat_alter){0};
    leat_lex(sql, strlen(sql), &tokens);
    for (size_t i = 0; i + 1 < tokens.count; i++)
        if (leat_token_is_operator(&tokens, i, ";")) {
            st = leat_fail(err, LEAT_INVALID, "one statement at a time");
            goto out;
        }
    if (!accept(&tokens, &at, "ALTER") || !accept(&tokens, &at, "MATERIALIZED") || !accept(&tokens, &at, "TABLE")) {
        st = refuse(&tokens, at, "ALTER MATERIALIZED TABLE", err);
    } else if (at >= tokens.count) {
        st = refuse(&tokens, at, "the table's name", err);
    } else {
        out->table = leat_token_value(&tokens, at);
        st = parse_action(&tokens, at + 1, out, err);
    }
out:
    leat_tokens_deinit(&tokens);
    if (st != LEAT_OK) leat_alter_deinit(out);
    return st;
}

void leat_alter_deinit(struct leat_alter *alter) {
    free(alter->table);
    free(alter->text);
    *alter = (struct leat_alter){0};
}

/* ---- in the file ------------------------------------------------------------------------------------------------------------ */

/* The first token behind the name of the table that the statement declares; 0: it declares none, or another. */
static size_t declares(const struct leat_tokens *tokens, const struct leat_statement *statement, const char *table) {
    size_t at = statement->first, end = at + statement->count;
    if (!accept(tokens, &at, "CREATE")) return 0;
    if (accept(tokens, &at, "OR") && !accept(tokens, &at, "REPLACE")) accept(tokens, &at, "ALTER");
    if (!accept(tokens, &at, "MATERIALIZED") || !accept(tokens, &at, "TABLE")) return 0;
    if (accept(tokens, &at, "IF") && accept(tokens, &at, "NOT")) accept(tokens, &at, "EXISTS");
    if (at >= end) return 0;
    char *name = leat_token_value(tokens, at);
    bool same = strcasecmp(name, table) == 0;
    free(name);
    return same ? at + 1 : 0;
}

static bool begins_clause(const struct leat_tokens *tokens, size_t at) {
    static const char *const WORDS[] = {"FRESHNESS", "SCHEDULE", "ALLOW", "EMIT", "REFRESH_MODE", "FROZEN", "CONSTRAINT", "PRIMARY", "AS"};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (leat_token_is(tokens, at, WORDS[i])) return true;
    return false;
}

struct span { size_t first, last; }; /* tokens [first, last) */

static size_t behind_list(const struct leat_tokens *tokens, size_t at, size_t end) {
    int depth = 0;
    if (at >= end || !leat_token_is_operator(tokens, at, "(")) return at;
    do {
        depth += leat_token_is_operator(tokens, at, "(");
        depth -= leat_token_is_operator(tokens, at, ")");
        at++;
    } while (at < end && depth);
    return at;
}

/* The clause that says how fresh the table is, or its query without a trailing EMIT ON WINDOW CLOSE. */
static struct span find_span(const struct leat_tokens *tokens, size_t at, size_t end, bool query) {
    struct span none = {0};
    at = behind_list(tokens, at, end);
    for (; at < end && !leat_token_is(tokens, at, "AS"); at++) {
        if (query || (!leat_token_is(tokens, at, "FRESHNESS") && !leat_token_is(tokens, at, "SCHEDULE"))) continue;
        size_t last = at + 1;
        while (last < end && !begins_clause(tokens, last)) last++;
        return (struct span){at, last};
    }
    if (!query || at + 1 >= end) return none;
    bool emits = end - at > 5 && leat_token_is(tokens, end - 4, "EMIT") && leat_token_is(tokens, end - 3, "ON") &&
                 leat_token_is(tokens, end - 2, "WINDOW") && leat_token_is(tokens, end - 1, "CLOSE");
    return (struct span){at + 1, emits ? end - 4 : end};
}

bool leat_alter_rewrite(const struct leat_alter *alter, const struct leat_text_file *file, struct leat_buffer *out) {
    struct leat_tokens tokens;
    struct leat_statement *statements = NULL;
    struct span span = {0};
    leat_lex(file->text, file->length, &tokens);
    size_t count = leat_lex_statements(&tokens, &statements);
    for (size_t i = 0; i < count && !span.last; i++) {
        size_t at = declares(&tokens, &statements[i], alter->table);
        if (at) span = find_span(&tokens, at, statements[i].first + statements[i].count, alter->kind == LEAT_ALTER_QUERY);
    }
    if (span.last) {
        const struct leat_token *first = &tokens.items[span.first], *last = &tokens.items[span.last - 1];
        size_t after = last->offset + last->length;
        leat_putn(out, file->text, first->offset);
        leat_put(out, alter->text);
        leat_putn(out, file->text + after, file->length - after);
    }
    free(statements);
    leat_tokens_deinit(&tokens);
    return span.last > 0;
}
