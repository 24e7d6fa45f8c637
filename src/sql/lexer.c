#include "sql/lexer.h"

#include "data/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lexer {
    const char *text;
    size_t length, at;
    size_t line_start; /* offset of the current line's first byte */
    int line;
    size_t column_at;  /* the column of this offset was counted last ... */
    int column;        /* ... and is this; columns of a line are counted once */
    int suspect_line;
    struct leat_tokens *out;
    size_t token_capacity;
};

static bool is_name_start(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(unsigned char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_part(unsigned char c) {
    return is_name_start(c) || is_digit(c) || c == '$';
}

static bool is_space(unsigned char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_operator(unsigned char c) {
    return c != 0 && strchr("~!@#^&|`?+-*/%<>=", c) != NULL;
}

static int peek(const struct lexer *lx, size_t ahead) {
    return lx->at + ahead < lx->length ? (unsigned char)lx->text[lx->at + ahead] : -1;
}

static int count_characters(const char *text, size_t from, size_t to) {
    int count = 0;
    for (size_t i = from; i < to; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

static int column_of(struct lexer *lx, size_t offset) {
    if (lx->column_at < lx->line_start || lx->column_at > offset) {
        lx->column_at = lx->line_start;
        lx->column = 1;
    }
    lx->column += count_characters(lx->text, lx->column_at, offset);
    lx->column_at = offset;
    return lx->column;
}

void leat_text_place(const char *text, size_t length, size_t offset, int *line, int *column) {
    if (offset > length)
        offset = length;
    size_t line_start = length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    *line = 1;
    for (size_t i = line_start; i < offset; i++) {
        if (text[i] == '\n') {
            (*line)++;
            line_start = i + 1;
        }
    }
    *column = 1 + (offset > line_start ? count_characters(text, line_start, offset) : 0);
}

/* Notes line ends between two offsets as the lexer moves over them. */
static void move_to(struct lexer *lx, size_t to) {
    const char *from = lx->text + lx->at;
    const char *end = lx->text + to;
    const char *newline;
    while (from < end && (newline = memchr(from, '\n', (size_t)(end - from)))) {
        lx->line++;
        lx->line_start = (size_t)(newline - lx->text) + 1;
        from = newline + 1;
    }
    lx->at = to;
}

static void add_token(struct lexer *lx, enum leat_token_kind kind, size_t end) {
    struct leat_tokens *out = lx->out;
    if (out->count + 1 >= lx->token_capacity) {
        lx->token_capacity = lx->token_capacity ? lx->token_capacity * 2 : 64;
        out->items = leat_realloc(out->items, lx->token_capacity * sizeof *out->items);
    }
    out->items[out->count++] = (struct leat_token){
        .kind = kind,
        .offset = lx->at,
        .length = end - lx->at,
        .line = lx->line,
        .column = column_of(lx, lx->at),
    };
    int line = lx->line;
    move_to(lx, end);
    if (kind == LEAT_TOKEN_STRING && lx->line != line)
        lx->suspect_line = line;
}

/* Reports that what starts here has no end, and goes on behind the next `;` that ends a line. */
static void add_problem(struct lexer *lx, const char *message) {
    struct leat_tokens *out = lx->out;
    out->problems = leat_realloc(out->problems, (out->problem_count + 1) * sizeof *out->problems);
    out->problems[out->problem_count++] = (struct leat_lex_problem){
        .offset = lx->at,
        .line = lx->line,
        .column = column_of(lx, lx->at),
        .message = message,
        .suspect_line = lx->suspect_line,
    };
    size_t end = lx->at + 1;
    for (; end < lx->length; end++) {
        if (lx->text[end] != ';')
            continue;
        size_t after = end + 1;
        while (after < lx->length && (lx->text[after] == ' ' || lx->text[after] == '\t' || lx->text[after] == '\r'))
            after++;
        if (after == lx->length || lx->text[after] == '\n')
            break;
    }
    move_to(lx, end < lx->length ? end : lx->length);
}

/* Offset behind the closing quote that starts the search at `from`, or 0. A doubled quote stands for itself. */
static size_t quoted_end(const struct lexer *lx, size_t from, char quote, bool backslash) {
    for (size_t i = from; i < lx->length; i++) {
        if (backslash && lx->text[i] == '\\') {
            i++;
        } else if (lx->text[i] == quote) {
            if (i + 1 < lx->length && lx->text[i + 1] == quote)
                i++;
            else
                return i + 1;
        }
    }
    return 0;
}

/* True if the text holds the end of a statement and, on a new line, the beginning of another. */
static bool swallows_statement(const char *text, size_t length) {
    const char *end = text + length;
    for (const char *at = text; (at = memchr(at, ';', (size_t)(end - at))); at++) {
        const char *next = at + 1;
        bool newline = false;
        for (; next < end && is_space((unsigned char)*next); next++)
            newline |= *next == '\n';
        if (newline && end - next > 7 && strncasecmp(next, "CREATE ", 7) == 0)
            return true;
    }
    return false;
}

static void lex_string(struct lexer *lx, size_t prefix, bool backslash) {
    size_t end = quoted_end(lx, lx->at + prefix + 1, '\'', backslash);
    if (end && !swallows_statement(lx->text + lx->at, end - lx->at))
        add_token(lx, LEAT_TOKEN_STRING, end);
    else
        add_problem(lx, "this string has no closing '");
}

/* $tag$ ... $tag$; false if it is not one (a parameter such as $1). */
static bool lex_dollar(struct lexer *lx) {
    size_t tag = 1;
    while (peek(lx, tag) >= 0 && is_name_part((unsigned char)peek(lx, tag)) && peek(lx, tag) != '$')
        tag++;
    if (peek(lx, tag) != '$' || (tag > 1 && is_digit((unsigned char)peek(lx, 1))))
        return false;
    tag++;
    const char *begin = lx->text + lx->at;
    const char *close = memmem(begin + tag, lx->length - lx->at - tag, begin, tag);
    if (close)
        add_token(lx, LEAT_TOKEN_STRING, (size_t)(close - lx->text) + tag);
    else
        add_problem(lx, "this $-quoted string has no end");
    return true;
}

static void lex_block_comment(struct lexer *lx) {
    int depth = 0;
    for (size_t i = lx->at; i + 1 < lx->length; i++) {
        if (lx->text[i] == '/' && lx->text[i + 1] == '*') {
            depth++;
            i++;
        } else if (lx->text[i] == '*' && lx->text[i + 1] == '/') {
            i++;
            if (--depth == 0) {
                move_to(lx, i + 1);
                return;
            }
        }
    }
    add_problem(lx, "this comment has no closing */");
}

static void lex_number(struct lexer *lx) {
    size_t i = lx->at;
    const char *t = lx->text;
    if (t[i] == '0' && i + 1 < lx->length && strchr("xXbBoO", t[i + 1]) && t[i + 1]) {
        for (i += 2; i < lx->length && is_name_part((unsigned char)t[i]); i++) {
        }
        add_token(lx, LEAT_TOKEN_NUMBER, i);
        return;
    }
    while (i < lx->length && (is_digit((unsigned char)t[i]) || t[i] == '_'))
        i++;
    if (i < lx->length && t[i] == '.') {
        for (i++; i < lx->length && (is_digit((unsigned char)t[i]) || t[i] == '_'); i++) {
        }
    }
    if (i < lx->length && (t[i] == 'e' || t[i] == 'E')) {
        size_t digits = i + 1;
        if (digits < lx->length && (t[digits] == '+' || t[digits] == '-'))
            digits++;
        if (digits < lx->length && is_digit((unsigned char)t[digits])) {
            for (i = digits; i < lx->length && is_digit((unsigned char)t[i]); i++) {
            }
        }
    }
    add_token(lx, LEAT_TOKEN_NUMBER, i);
}

/* The longest run of operator characters that holds no comment; a run ending in a sign keeps it only if it has a
 * character that ordinary arithmetic has not (so that `=-1` is `=` and `-`). */
static void lex_operator(struct lexer *lx) {
    size_t length = 0;
    bool special = false;
    for (int c; (c = peek(lx, length)) >= 0 && is_operator((unsigned char)c); length++) {
        int next = peek(lx, length + 1);
        if (length && ((c == '-' && next == '-') || (c == '/' && next == '*')))
            break;
        special |= strchr("~!@#^&|`?%", c) != NULL;
    }
    while (!special && length > 1 && strchr("+-", lx->text[lx->at + length - 1]))
        length--;
    if (length == 0) { /* not an operator character at all */
        length = 1;
        while (peek(lx, length) >= 0 && (peek(lx, length) & 0xC0) == 0x80)
            length++;
        if (peek(lx, 0) == ':' && (peek(lx, 1) == ':' || peek(lx, 1) == '='))
            length = 2;
    }
    add_token(lx, LEAT_TOKEN_OPERATOR, lx->at + length);
}

static void lex_word(struct lexer *lx) {
    size_t length = 1;
    while (peek(lx, length) >= 0 && is_name_part((unsigned char)peek(lx, length)))
        length++;
    if (length == 1 && peek(lx, 1) == '\'' && strchr("eExXbBnN", lx->text[lx->at])) {
        lex_string(lx, 1, lx->text[lx->at] == 'e' || lx->text[lx->at] == 'E');
        return;
    }
    add_token(lx, LEAT_TOKEN_WORD, lx->at + length);
}

static void lex_one(struct lexer *lx) {
    unsigned char c = (unsigned char)lx->text[lx->at];
    if (is_space(c)) {
        size_t end = lx->at + 1;
        while (end < lx->length && is_space((unsigned char)lx->text[end]))
            end++;
        move_to(lx, end);
    } else if (c == '-' && peek(lx, 1) == '-') {
        const char *newline = memchr(lx->text + lx->at, '\n', lx->length - lx->at);
        move_to(lx, newline ? (size_t)(newline - lx->text) : lx->length);
    } else if (c == '/' && peek(lx, 1) == '*') {
        lex_block_comment(lx);
    } else if (c == '\'') {
        lex_string(lx, 0, false);
    } else if (c == '"') {
        size_t end = quoted_end(lx, lx->at + 1, '"', false);
        if (end)
            add_token(lx, LEAT_TOKEN_QUOTED, end);
        else
            add_problem(lx, "this quoted name has no closing \"");
    } else if (is_name_start(c)) {
        lex_word(lx);
    } else if (is_digit(c) || (c == '.' && peek(lx, 1) >= 0 && is_digit((unsigned char)peek(lx, 1)))) {
        lex_number(lx);
    } else if (c != '$' || !lex_dollar(lx)) {
        lex_operator(lx);
    }
}

void leat_lex(const char *text, size_t length, struct leat_tokens *out) {
    *out = (struct leat_tokens){.text = text};
    struct lexer lx = {.text = text, .length = length, .line = 1, .column = 1, .out = out};
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark is not part of the text */
        lx.at = lx.line_start = lx.column_at = 3;
    while (lx.at < length)
        lex_one(&lx);
    add_token(&lx, LEAT_TOKEN_END, length);
    out->count--;
}

void leat_tokens_deinit(struct leat_tokens *tokens) {
    free(tokens->items);
    free(tokens->problems);
    *tokens = (struct leat_tokens){0};
}

size_t leat_lex_statements(const struct leat_tokens *tokens, struct leat_statement **out) {
    struct leat_statement *statements = NULL;
    size_t count = 0, first = 0, problem = 0;
    for (size_t i = 0; i <= tokens->count; i++) {
        if (i < tokens->count && !leat_token_is_operator(tokens, i, ";"))
            continue;
        bool broken = false;
        while (problem < tokens->problem_count && tokens->problems[problem].offset <= tokens->items[i].offset) {
            broken = true;
            problem++;
        }
        if (i > first) {
            statements = leat_realloc(statements, (count + 1) * sizeof *statements);
            statements[count++] = (struct leat_statement){.first = first, .count = i - first, .broken = broken};
        }
        first = i + 1;
    }
    *out = statements;
    return count;
}

bool leat_token_is(const struct leat_tokens *tokens, size_t index, const char *word) {
    if (index >= tokens->count)
        return false;
    const struct leat_token *t = &tokens->items[index];
    return t->kind == LEAT_TOKEN_WORD && strlen(word) == t->length &&
           strncasecmp(tokens->text + t->offset, word, t->length) == 0;
}

bool leat_token_is_any(const struct leat_tokens *tokens, size_t index, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (leat_token_is(tokens, index, words[i])) return true;
    return false;
}

bool leat_tokens_have_any(const struct leat_tokens *tokens, const char *const *words, size_t count) {
    for (size_t i = 0; i < tokens->count; i++)
        if (leat_token_is_any(tokens, i, words, count)) return true;
    return false;
}

bool leat_token_is_operator(const struct leat_tokens *tokens, size_t index, const char *bytes) {
    if (index >= tokens->count)
        return false;
    const struct leat_token *t = &tokens->items[index];
    return t->kind == LEAT_TOKEN_OPERATOR && strlen(bytes) == t->length &&
           memcmp(tokens->text + t->offset, bytes, t->length) == 0;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Up to max digits of the base at s[*i]; *i moves behind them. */
static uint32_t read_digits(const char *s, size_t length, size_t *i, int base, int max) {
    uint32_t value = 0;
    for (int n = 0; n < max && *i < length; n++, (*i)++) {
        int digit = hex_value(s[*i]);
        if (digit < 0 || digit >= base)
            break;
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    return value;
}

/* One backslash escape of an E'' string; s[i] is behind the backslash; returns the offset behind the escape. */
static size_t put_escape(struct leat_buffer *out, const char *s, size_t length, size_t i) {
    char c = s[i];
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char *found = c ? strchr(letters, c) : NULL;
    if (found) {
        leat_putn(out, &meanings[found - letters], 1);
        return i + 1;
    }
    size_t start = i + (c == 'x' || c == 'u' || c == 'U');
    size_t end = start;
    if (c == 'x') {
        char byte = (char)read_digits(s, length, &end, 16, 2);
        if (end > start) {
            leat_putn(out, &byte, 1);
            return end;
        }
    } else if (c == 'u' || c == 'U') {
        uint32_t code = read_digits(s, length, &end, 16, c == 'u' ? 4 : 8);
        if (end - start == (c == 'u' ? 4 : 8) && code < 0x110000 && (code & 0xFFFFF800) != 0xD800) {
            char bytes[4];
            leat_putn(out, bytes, leat_utf8_put(bytes, code));
            return end;
        }
    } else if (c >= '0' && c <= '7') {
        char byte = (char)read_digits(s, length, &end, 8, 3);
        leat_putn(out, &byte, 1);
        return end;
    }
    leat_putn(out, &c, 1);
    return i + 1;
}

char *leat_token_value_bytes(const struct leat_tokens *tokens, size_t index, size_t *length_out) {
    const struct leat_token *t = &tokens->items[index];
    const char *s = tokens->text + t->offset;
    struct leat_buffer out = {0};
    leat_putn(&out, "", 0);
    if ((t->kind != LEAT_TOKEN_QUOTED && t->kind != LEAT_TOKEN_STRING) || t->length < 2) {
        leat_putn(&out, s, t->length);
    } else if (s[0] == '$') {
        size_t tag = (size_t)((const char *)memchr(s + 1, '$', t->length - 1) - s) + 1;
        leat_putn(&out, s + tag, t->length - 2 * tag);
    } else {
        size_t i = 1;
        char quote = s[0];
        bool backslash = quote == 'e' || quote == 'E';
        if (quote != '\'' && quote != '"') {
            quote = '\'';
            i = 2;
        }
        while (i + 1 < t->length) {
            if (backslash && s[i] == '\\') {
                i = put_escape(&out, s, t->length - 1, i + 1);
            } else {
                leat_putn(&out, s + i, 1);
                i += s[i] == quote ? 2 : 1;
            }
        }
    }
    *length_out = out.length;
    return out.data ? out.data : leat_strdup("");
}

char *leat_token_value(const struct leat_tokens *tokens, size_t index) {
    size_t length;
    return leat_token_value_bytes(tokens, index, &length);
}
