#include "sql/sql_message.h"

#include "sql/lexer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the place ---- */

/* The code point at text[*i], which moves behind it; broken sequences count one byte. */
static uint32_t next_code_point(const char *text, size_t length, size_t *i) {
    unsigned char c = (unsigned char)text[(*i)++];
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;
    uint32_t code = more == 3 ? c & 7u : more == 2 ? c & 15u : more == 1 ? c & 31u : c;
    for (; more > 0 && *i < length && ((unsigned char)text[*i] & 0xC0) == 0x80; more--)
        code = code << 6 | ((unsigned char)text[(*i)++] & 0x3Fu);
    return code;
}

/* Columns of a terminal that DuckDB counts for it; none for tabs and other control characters. */
static int display_width(uint32_t code) {
    static const uint32_t wide[][2] = {{0x1100, 0x115F}, {0x2E80, 0xA4CF},   {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},  {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60}, {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if (code < 0x20 || code == 0x7F)
        return 0;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (code >= wide[i][0] && code <= wide[i][1])
            return 2;
    return 1;
}

/* Offset in text of the character that begins at a display column. */
static size_t offset_of_column(const char *text, size_t length, size_t column) {
    size_t i = 0, at = 0;
    while (i < length) {
        size_t next = i;
        int width = display_width(next_code_point(text, length, &next));
        if (at >= column && width > 0)
            break;
        at += (size_t)width;
        i = next;
    }
    return i;
}

static bool same_but_tabs(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !((a[i] == '\t' || a[i] == ' ') && (b[i] == '\t' || b[i] == ' ')))
            return false;
    return true;
}

static int64_t find_in_line(const char *line, size_t length, const char *part, size_t part_length) {
    for (size_t i = 0; i + part_length <= length; i++)
        if (same_but_tabs(line + i, part, part_length))
            return (int64_t)i;
    return -1;
}

/* "\nLINE n: excerpt\n   ^" */
static int64_t caret_offset(const char *sql, const char *message) {
    const char *at = NULL;
    for (const char *next = message; (next = strstr(next, "\nLINE ")); next++)
        at = next + 1;
    if (!at)
        return -1;
    char *colon;
    unsigned long number = strtoul(at + 5, &colon, 10);
    if (colon[0] != ':' || colon[1] != ' ' || number == 0)
        return -1;
    const char *excerpt = colon + 2, *newline = strchr(excerpt, '\n');
    if (!newline)
        return -1;
    size_t spaces = strspn(newline + 1, " "), lead = (size_t)(excerpt - at), length = (size_t)(newline - excerpt);
    if (newline[1 + spaces] != '^' || spaces < lead)
        return -1;
    const char *line = sql;
    for (unsigned long i = 1; i < number; i++) {
        line = strchr(line, '\n');
        if (!line++)
            return -1;
    }
    size_t line_length = strcspn(line, "\n"), column = spaces - lead;
    bool cut_before = length > 3 && memcmp(excerpt, "...", 3) == 0, cut_after = length > 6 && memcmp(excerpt + length - 3, "...", 3) == 0;
    if (cut_before && column >= 3) {
        excerpt += 3;
        length -= 3;
        column -= 3;
    }
    size_t within = offset_of_column(excerpt, length, column);
    int64_t start = find_in_line(line, line_length, excerpt, length - (cut_after ? 3 : 0));
    return start < 0 ? -1 : (line - sql) + start + (int64_t)within;
}

/* The first "name" or 'function(...' of the message that the statement holds as a word. */
static int64_t quoted_word_offset(const char *sql, const char *message) {
    struct leat_tokens tokens;
    int64_t found = -1;
    leat_lex(sql, strlen(sql), &tokens);
    for (const char *at = message; found < 0 && (at = strpbrk(at, "\"'"));) {
        const char *begin = at + 1, *end = strpbrk(begin, *at == '"' ? "\"" : "'(");
        if (!end)
            break;
        char *word = leat_strndup(begin, (size_t)(end - begin));
        for (size_t i = 0; i < tokens.count && found < 0 && *word; i++) {
            enum leat_token_kind kind = tokens.items[i].kind;
            char *name = kind == LEAT_TOKEN_WORD || kind == LEAT_TOKEN_QUOTED ? leat_token_value(&tokens, i) : NULL;
            if (name && strcasecmp(name, word) == 0)
                found = (int64_t)tokens.items[i].offset;
            free(name);
        }
        free(word);
        at = end + 1;
    }
    leat_tokens_deinit(&tokens);
    return found;
}

int64_t leat_sql_message_offset(const char *sql, const char *message) {
    int64_t offset = caret_offset(sql, message);
    if (offset >= 0)
        return offset;
    if (strstr(message, "syntax error at end of input"))
        return (int64_t)strlen(sql);
    return quoted_word_offset(sql, message);
}

/* ---- the text ---- */

static bool starts_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Appends a line without surrounding white space, after a blank. */
static void put_line(struct leat_buffer *out, const char *line, size_t length) {
    while (length && strchr(" \t\r", *line)) {
        line++;
        length--;
    }
    while (length && strchr(" \t\r", line[length - 1]))
        length--;
    if (out->length && length)
        leat_put(out, " ");
    leat_putn(out, line, length);
}

/* `Candidate bindings: "a", "b"`, `Did you mean "a"?` as one question. False for other lines. */
static bool put_candidates(struct leat_buffer *hint, const char *line, size_t length) {
    static const char *const beginnings[] = {"Candidate bindings: : ", "Candidate bindings: ", "Candidate tables: ",
                                             "Candidate Entries: ", "Did you mean "};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        size_t skip = strlen(beginnings[i]);
        if (length <= skip || !starts_with(line, beginnings[i]))
            continue;
        leat_buffer_reset(hint);
        leat_put(hint, "did you mean ");
        leat_putn(hint, line + skip, length - skip - (line[length - 1] == '?'));
        leat_put(hint, "?");
        return true;
    }
    return false;
}

char *leat_sql_message_text(const char *message, char **hint) {
    struct leat_buffer text = {0}, advice = {0};
    const char *kind = strstr(message, " Error: ");
    leat_put(&text, "");
    if (kind && kind - message < 24 && !memchr(message, '\n', (size_t)(kind - message)))
        message = kind + 8;
    bool first = true;
    for (const char *line = message; *line;) {
        size_t length = strcspn(line, "\n");
        if (starts_with(line, "LINE ") || strstr(line, "Candidate functions:") == line + strspn(line, " \t"))
            break;
        if (first)
            put_line(&text, line, length);
        else if (!put_candidates(&advice, line, length))
            put_line(&advice, line, length);
        first = false;
        line += length + (line[length] == '\n');
    }
    *hint = advice.length ? advice.data : NULL;
    if (!advice.length)
        leat_buffer_deinit(&advice);
    return text.data ? text.data : leat_strdup("");
}
