/* Loading and dumping of DuckDB's JSON; see json.h for what jansson cannot read. */
#include "plan/json.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_string(const char *p) {
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && p[1]) p++;
    return *p ? p + 1 : p;
}

static bool is_token_char(char c) {
    return isalnum((unsigned char)c) || c == '-' || c == '+' || c == '.';
}

/* Too large for a signed 64-bit integer, or a word that is not JSON. */
static bool token_is_raw(const char *token, size_t length) {
    bool negative = token[0] == '-';
    const char *digits = token + (negative ? 1 : 0);
    size_t count = length - (negative ? 1 : 0);
    if (count == 0) return false;
    if (*digits == 'N' || *digits == 'I') return true;
    for (size_t i = 0; i < count; i++)
        if (!isdigit((unsigned char)digits[i])) return false;
    return count > 19 ||
           (count == 19 && strncmp(digits, negative ? "9223372036854775808" : "9223372036854775807", 19) > 0);
}

enum leat_status leat_json_load(const char *text, json_t **out, struct leat_error *err) {
    struct leat_buffer clean = {0};
    *out = NULL;
    for (const char *p = text; *p;) {
        const char *start = p;
        if (*p == '"') {
            p = skip_string(p);
            leat_putn(&clean, start, (size_t)(p - start));
        } else if (is_token_char(*p)) {
            while (is_token_char(*p))
                p++;
            size_t length = (size_t)(p - start);
            if (token_is_raw(start, length)) {
                leat_put(&clean, "\"\\u0001raw:");
                leat_putn(&clean, start, length);
                leat_put(&clean, "\"");
            } else {
                leat_putn(&clean, start, length);
            }
        } else {
            leat_putn(&clean, p++, 1);
        }
    }
    json_error_t why;
    *out = json_loadb(clean.data ? clean.data : "", clean.length, JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
    leat_buffer_deinit(&clean);
    if (!*out)
        return leat_fail(err, LEAT_CORRUPT, "DuckDB's JSON cannot be read: %s at byte %d", why.text, why.position);
    return LEAT_OK;
}

char *leat_json_dump(const json_t *document) {
    static const char mark[] = "\"\\u0001raw:";
    char *text = json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    struct leat_buffer out = {0};
    for (const char *p = text ? text : "null"; *p;) {
        if (*p != '"') {
            leat_putn(&out, p++, 1);
            continue;
        }
        const char *end = skip_string(p);
        if (strncmp(p, mark, sizeof mark - 1) == 0)
            leat_putn(&out, p + sizeof mark - 1, (size_t)(end - p) - sizeof mark);
        else
            leat_putn(&out, p, (size_t)(end - p));
        p = end;
    }
    free(text);
    return out.data;
}

const char *leat_json_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

bool leat_json_is(const json_t *object, const char *key, const char *text) {
    return strcmp(leat_json_text(object, key), text) == 0;
}

json_int_t leat_json_int(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

bool leat_json_true(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

size_t leat_json_count(const json_t *object, const char *key) {
    return json_array_size(json_object_get(object, key));
}

json_t *leat_json_at(const json_t *object, const char *key, size_t index) {
    return json_array_get(json_object_get(object, key), index);
}

bool leat_json_uint64(const json_t *value, uint64_t *out) {
    if (json_is_integer(value)) {
        *out = (uint64_t)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    size_t mark = strlen(LEAT_JSON_RAW);
    if (!text || strncmp(text, LEAT_JSON_RAW, mark) != 0 || !isdigit((unsigned char)text[mark])) return false;
    errno = 0;
    char *end;
    *out = strtoull(text + mark, &end, 10);
    return errno == 0 && *end == 0;
}
