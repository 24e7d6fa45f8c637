/* Tokens of DuckDB's and PostgreSQL's SQL, with places. Knows nothing of statements but where they end.
 *
 * Follows PostgreSQL's lexical structure ("SQL Syntax", 4.1) as DuckDB keeps it: nested block comments,
 * E'' escapes, $tag$ quoting, operators that never swallow a comment or a trailing sign.
 * Depends on base/ and data/utf8.h. Thread: any; results are plain memory. */
#ifndef LEAT_SQL_LEXER_H
#define LEAT_SQL_LEXER_H

#include "base/mem.h"

enum leat_token_kind {
    LEAT_TOKEN_END,      /* after the last token; length 0 */
    LEAT_TOKEN_WORD,     /* keyword or name without quotes */
    LEAT_TOKEN_QUOTED,   /* "name" */
    LEAT_TOKEN_STRING,   /* 'x', E'x', X'00', $tag$x$tag$ */
    LEAT_TOKEN_NUMBER,   /* 1, 1_000, .5, 1e3, 0xFF */
    LEAT_TOKEN_OPERATOR, /* also ( ) [ ] { } , . ; : and every other character */
};
struct leat_token {
    enum leat_token_kind kind;
    size_t offset, length; /* bytes in the text */
    int line, column;      /* 1-based; columns count characters, a tab is one */
};
/* Something that never ends: a string, a quoted name, a comment. Its rest up to the next `;` at a line's end
 * is skipped, so that later statements are still seen. A '...' string that runs over the end of a statement and the line
 * CREATE ... behind it counts as one without end: its quote is missing far more often than such text is meant (which
 * $$...$$ still can hold). */
struct leat_lex_problem {
    size_t offset;
    int line, column;
    const char *message; /* static */
    int suspect_line;    /* the last string before it that runs over a line's end, perhaps the one without its end; 0: none */
};
struct leat_tokens {
    const char *text; /* borrowed */
    struct leat_token *items;
    size_t count; /* without the END token that items[count] is */
    struct leat_lex_problem *problems;
    size_t problem_count;
};

/* Splits text into tokens; comments and white space are left out. Never fails: what cannot be read is a problem.
 * text  borrowed as long as *out is used; need not be NUL-terminated; NUL bytes are ordinary (bad) characters
 * out   owned by the caller */
void leat_lex(const char *text, size_t length, struct leat_tokens *out);
void leat_tokens_deinit(struct leat_tokens *tokens);

/* A statement: tokens [first, first + count), without the `;`. Empty statements are left out. */
struct leat_statement {
    size_t first, count;
    bool broken; /* holds a problem: the rest of it is missing */
};
/* Splits at every `;` token, also inside parentheses: an unclosed one must not swallow the file. out: malloc'd, caller
 * frees. */
size_t leat_lex_statements(const struct leat_tokens *tokens, struct leat_statement **out);

/* True for the word (not quoted) in any case. */
bool leat_token_is(const struct leat_tokens *tokens, size_t index, const char *word);
/* True for one of them. */
bool leat_token_is_any(const struct leat_tokens *tokens, size_t index, const char *const *words, size_t count);
bool leat_tokens_have_any(const struct leat_tokens *tokens, const char *const *words, size_t count);
/* True for exactly these operator bytes. */
bool leat_token_is_operator(const struct leat_tokens *tokens, size_t index, const char *bytes);
/* The meaning of a token, malloc'd: names and strings without their quotes and with escapes resolved, others as written. */
char *leat_token_value(const struct leat_tokens *tokens, size_t index);
/* The same, *length_out bytes (a string may hold NUL bytes by an escape). */
char *leat_token_value_bytes(const struct leat_tokens *tokens, size_t index, size_t *length_out);

/* Line and column of a byte offset (clamped to the text's end). */
void leat_text_place(const char *text, size_t length, size_t offset, int *line, int *column);

#endif
