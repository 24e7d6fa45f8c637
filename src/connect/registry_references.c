/* Schemas that name types of other schemas, made whole: each type is put in where it is first named, so that the text stands by itself. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "connect/registry.h"

struct inliner {
    const struct leat_registry_type *types;
    bool *used; /* one a type: it stands in the text already */
    size_t count;
    bool failed;
};

static json_t *inline_type(struct inliner *in, json_t *type, const char *space, int depth);

/* The type of that name, or of that name in the namespace, which is not in the text yet; in->count: none. */
static size_t find_type(const struct inliner *in, const char *name, const char *space) {
    size_t i = 0, length = space && !strchr(name, '.') ? strlen(space) : 0;
    for (; i < in->count; i++) {
        const char *full = in->types[i].name;
        bool inside = length && strncmp(full, space, length) == 0 && full[length] == '.' && strcmp(full + length + 1, name) == 0;
        if (!in->used[i] && (inside || strcmp(full, name) == 0)) break;
    }
    return i;
}

static json_t *inline_name(struct inliner *in, json_t *name, const char *space, int depth) {
    size_t i = find_type(in, json_string_value(name), space);
    if (i == in->count) return json_incref(name);
    in->used[i] = true;
    json_t *type = json_loads(in->types[i].schema, JSON_DECODE_ANY, NULL), *whole = type ? inline_type(in, type, NULL, depth + 1) : NULL;
    in->failed |= !type;
    json_decref(type);
    return whole;
}

static json_t *inline_fields(struct inliner *in, json_t *fields, const char *space, int depth) {
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(fields); i++) {
        json_t *field = json_copy(json_array_get(fields, i)), *type = json_object_get(field, "type");
        if (type) json_object_set_new(field, "type", inline_type(in, type, space, depth + 1));
        json_array_append_new(list, field);
    }
    return list;
}

/* A new reference; NULL and in->failed where it cannot be had. */
static json_t *inline_type(struct inliner *in, json_t *type, const char *space, int depth) {
    static const char *const inner[] = {"type", "items", "values"};
    in->failed |= depth > LEAT_NESTING_MAX;
    if (in->failed) return NULL;
    if (json_is_string(type)) return inline_name(in, type, space, depth);
    if (json_is_array(type)) {
        json_t *branches = json_array();
        for (size_t i = 0; i < json_array_size(type); i++) json_array_append_new(branches, inline_type(in, json_array_get(type, i), space, depth + 1));
        return branches;
    }
    const char *name = json_string_value(json_object_get(type, "name")), *dot = name ? strrchr(name, '.') : NULL;
    const char *own = json_string_value(json_object_get(type, "namespace"));
    char *within = dot ? leat_strndup(name, (size_t)(dot - name)) : own ? leat_strdup(own) : space ? leat_strdup(space) : NULL;
    json_t *whole = json_copy(type);
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        json_t *part = json_object_get(type, inner[i]);
        if (part) json_object_set_new(whole, inner[i], inline_type(in, part, within, depth + 1));
    }
    json_t *fields = json_object_get(type, "fields");
    if (fields) json_object_set_new(whole, "fields", inline_fields(in, fields, within, depth));
    free(within);
    return whole;
}

char *leat_registry_inline(const char *schema, const struct leat_registry_type *types, size_t count) {
    struct inliner in = {.types = types, .count = count, .used = leat_alloc(count + 1)};
    json_t *json = json_loads(schema, JSON_DECODE_ANY, NULL), *whole = json ? inline_type(&in, json, NULL, 0) : NULL;
    char *text = whole && !in.failed ? json_dumps(whole, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(whole);
    json_decref(json);
    free(in.used);
    return text;
}
