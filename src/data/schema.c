/* Types and schemas: spellings, sizes, and the list of columns. See schema.h; batches are in changes.c. */
#include "data/schema.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/options.h"

struct spelling {
    const char *text;
    enum leat_kind kind;
};
/* DuckDB's own names first (they are the ones suggested and printed), then its aliases. */
static const struct spelling spellings[] = {
    {"BOOLEAN", LEAT_BOOLEAN},
    {"TINYINT", LEAT_TINYINT},
    {"SMALLINT", LEAT_SMALLINT},
    {"INTEGER", LEAT_INTEGER},
    {"BIGINT", LEAT_BIGINT},
    {"HUGEINT", LEAT_HUGEINT},
    {"UTINYINT", LEAT_UTINYINT},
    {"USMALLINT", LEAT_USMALLINT},
    {"UINTEGER", LEAT_UINTEGER},
    {"UBIGINT", LEAT_UBIGINT},
    {"UHUGEINT", LEAT_UHUGEINT},
    {"FLOAT", LEAT_FLOAT},
    {"DOUBLE", LEAT_DOUBLE},
    {"DECIMAL", LEAT_DECIMAL},
    {"VARCHAR", LEAT_VARCHAR},
    {"BLOB", LEAT_BLOB},
    {"DATE", LEAT_DATE},
    {"TIME", LEAT_TIME},
    {"TIMESTAMP", LEAT_TIMESTAMP},
    {"TIMESTAMP WITH TIME ZONE", LEAT_TIMESTAMPTZ},
    {"INTERVAL", LEAT_INTERVAL},
    {"UUID", LEAT_UUID},
    {"BOOL", LEAT_BOOLEAN},
    {"LOGICAL", LEAT_BOOLEAN},
    {"INT1", LEAT_TINYINT},
    {"INT2", LEAT_SMALLINT},
    {"SHORT", LEAT_SMALLINT},
    {"INT", LEAT_INTEGER},
    {"INT4", LEAT_INTEGER},
    {"SIGNED", LEAT_INTEGER},
    {"INT8", LEAT_BIGINT},
    {"LONG", LEAT_BIGINT},
    {"INT128", LEAT_HUGEINT},
    {"UINT8", LEAT_UTINYINT},
    {"UINT16", LEAT_USMALLINT},
    {"UINT32", LEAT_UINTEGER},
    {"UINT64", LEAT_UBIGINT},
    {"UINT128", LEAT_UHUGEINT},
    {"REAL", LEAT_FLOAT},
    {"FLOAT4", LEAT_FLOAT},
    {"FLOAT8", LEAT_DOUBLE},
    {"DOUBLE PRECISION", LEAT_DOUBLE},
    {"NUMERIC", LEAT_DECIMAL},
    {"DEC", LEAT_DECIMAL},
    {"CHAR", LEAT_VARCHAR},
    {"BPCHAR", LEAT_VARCHAR},
    {"CHARACTER VARYING", LEAT_VARCHAR},
    {"TEXT", LEAT_VARCHAR},
    {"STRING", LEAT_VARCHAR},
    {"BYTEA", LEAT_BLOB},
    {"BINARY", LEAT_BLOB},
    {"VARBINARY", LEAT_BLOB},
    {"TIME WITHOUT TIME ZONE", LEAT_TIME},
    {"DATETIME", LEAT_TIMESTAMP},
    {"TIMESTAMP_US", LEAT_TIMESTAMP},
    {"TIMESTAMP WITHOUT TIME ZONE", LEAT_TIMESTAMP},
    {"TIMESTAMPTZ", LEAT_TIMESTAMPTZ},
};
enum { SPELLING_COUNT = sizeof spellings / sizeof *spellings, TYPE_TEXT_MAX = 80 };
/* What DuckDB takes for DECIMAL without arguments, and its limit. */
enum { DECIMAL_DEFAULT_WIDTH = 18, DECIMAL_DEFAULT_SCALE = 3, DECIMAL_MAX_WIDTH = 38 };

static const char *const nested_words[] = {"LIST", "STRUCT", "ROW", "MAP", "UNION", "ARRAY"};

void leat_type_print(struct leat_type t, char out[32]) {
    if (t.kind == LEAT_DECIMAL) {
        snprintf(out, 32, "DECIMAL(%u,%u)", (unsigned)t.width, (unsigned)t.scale);
        return;
    }
    const char *name = "NESTED";
    for (size_t i = 0; i < SPELLING_COUNT; i++)
        if (spellings[i].kind == t.kind) {
            name = spellings[i].text;
            break;
        }
    snprintf(out, 32, "%s", name);
}

static const char *nearest_spelling(const char *word) {
    const char *best = spellings[0].text;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < SPELLING_COUNT; i++) {
        size_t distance = leat_edit_distance(word, spellings[i].text);
        if (distance < best_distance) {
            best_distance = distance;
            best = spellings[i].text;
        }
    }
    return best;
}

/* Upper case, one blank for any white space, none at the ends, before or after a parenthesis or comma.
 * False when it does not fit. */
static bool normalise(const char *text, size_t length, char out[TYPE_TEXT_MAX + 1]) {
    size_t n = 0;
    bool blank = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (isspace(c)) {
            blank = true;
            continue;
        }
        bool mark = c == '(' || c == ')' || c == ',';
        bool after_mark = n > 0 && (out[n - 1] == '(' || out[n - 1] == ',');
        if (blank && n > 0 && !mark && !after_mark) {
            if (n >= TYPE_TEXT_MAX) return false;
            out[n++] = ' ';
        }
        if (n >= TYPE_TEXT_MAX) return false;
        out[n++] = (char)toupper(c);
        blank = false;
    }
    out[n] = 0;
    return true;
}

static bool looks_nested(const char *word, size_t length) {
    if (length > 0 && word[length - 1] == ']') return true;
    for (size_t i = 0; i < sizeof nested_words / sizeof *nested_words; i++) {
        size_t n = strlen(nested_words[i]);
        if (length > n && !strncmp(word, nested_words[i], n) && word[n] == '(') return true;
    }
    return false;
}

/* "(18,2)" -> 18 and 2; *count says how many numbers there were. */
static bool parse_arguments(const char *text, unsigned values[2], int *count) {
    *count = 0;
    if (*text != '(') return false;
    do {
        text++;
        if (*count == 2 || !isdigit((unsigned char)*text)) return false;
        char *end;
        unsigned long v = strtoul(text, &end, 10);
        if (v > 1000000000ul) return false;
        values[(*count)++] = (unsigned)v;
        text = end;
    } while (*text == ',');
    return text[0] == ')' && text[1] == 0;
}

static enum leat_status parse_decimal(const char *arguments, struct leat_type *out, struct leat_error *err) {
    unsigned v[2] = {DECIMAL_DEFAULT_WIDTH, DECIMAL_DEFAULT_SCALE};
    int count = 0;
    if (*arguments) {
        if (!parse_arguments(arguments, v, &count))
            return leat_fail(err, LEAT_INVALID,
                             "\"DECIMAL%s\" is not a type: write DECIMAL(width,scale), such as DECIMAL(18,2)",
                             arguments);
        if (count == 1) v[1] = 0;
    }
    if (v[0] < 1 || v[0] > DECIMAL_MAX_WIDTH)
        return leat_fail(err, LEAT_INVALID, "DECIMAL width %u is outside 1 to %d", v[0], DECIMAL_MAX_WIDTH);
    if (v[1] > v[0])
        return leat_fail(err, LEAT_INVALID, "DECIMAL(%u,%u): the scale is larger than the width", v[0], v[1]);
    *out = (struct leat_type){.kind = LEAT_DECIMAL, .width = (uint8_t)v[0], .scale = (uint8_t)v[1]};
    return LEAT_OK;
}

enum leat_status leat_type_parse(const char *text, size_t length, struct leat_type *out, struct leat_error *err) {
    *out = (struct leat_type){.kind = LEAT_NESTED};
    while (length && isspace((unsigned char)*text))
        text++, length--;
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    char word[TYPE_TEXT_MAX + 1];
    bool fits = normalise(text, length, word);
    if (!fits) { /* only nested types are that long */
        char head[TYPE_TEXT_MAX + 1];
        if (!normalise(text, TYPE_TEXT_MAX / 2, head)) head[0] = 0;
        if (looks_nested(head, strlen(head)) || text[length - 1] == ']') return LEAT_OK;
        return leat_fail(err, LEAT_INVALID, "\"%.*s...\" is not a type", TYPE_TEXT_MAX / 2, text);
    }
    if (looks_nested(word, strlen(word))) return LEAT_OK;
    char *arguments = strchr(word, '(');
    char argument_text[TYPE_TEXT_MAX + 1] = "";
    if (arguments) {
        strcpy(argument_text, arguments);
        *arguments = 0;
    }
    for (size_t i = 0; i < SPELLING_COUNT; i++) {
        if (strcmp(word, spellings[i].text)) continue;
        if (spellings[i].kind == LEAT_DECIMAL) return parse_decimal(argument_text, out, err);
        unsigned v[2];
        int count = 0;
        /* DuckDB takes and ignores a length on VARCHAR; we do the same. */
        if (arguments &&
            !(spellings[i].kind == LEAT_VARCHAR && parse_arguments(argument_text, v, &count) && count == 1))
            return leat_fail(err, LEAT_INVALID, "type %s takes no \"%s\"", spellings[i].text, argument_text);
        out->kind = (uint8_t)spellings[i].kind;
        return LEAT_OK;
    }
    if (!strcmp(word, "JSON"))
        return leat_fail(err, LEAT_INVALID,
                         "type JSON: declare VARCHAR; an object or array is kept there as its JSON text");
    return leat_fail(err, LEAT_INVALID, "\"%.*s\" is not a type; did you mean %s?", (int)length, text,
                     nearest_spelling(word));
}

void leat_schema_add(struct leat_schema *s, const char *name, struct leat_type type, bool not_null) {
    s->fields = leat_realloc(s->fields, (s->field_count + 1) * sizeof *s->fields);
    s->fields[s->field_count++] = (struct leat_field){.name = leat_strdup(name), .type = type, .not_null = not_null};
}

void leat_schema_copy(struct leat_schema *out, const struct leat_schema *from) {
    *out = (struct leat_schema){0};
    for (size_t i = 0; i < from->field_count; i++)
        leat_schema_add(out, from->fields[i].name, from->fields[i].type, from->fields[i].not_null);
}

void leat_schema_deinit(struct leat_schema *s) {
    for (size_t i = 0; i < s->field_count; i++)
        free(s->fields[i].name);
    free(s->fields);
    *s = (struct leat_schema){0};
}

static bool equal_without_case(const char *a, const char *b) {
    for (;; a++, b++) {
        unsigned char x = (unsigned char)*a, y = (unsigned char)*b;
        if (x >= 'A' && x <= 'Z') x = (unsigned char)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (unsigned char)(y + 32);
        if (x != y) return false;
        if (!x) return true;
    }
}

int leat_schema_find(const struct leat_schema *s, const char *name) {
    for (size_t i = 0; i < s->field_count; i++)
        if (equal_without_case(s->fields[i].name, name)) return (int)i;
    return -1;
}
