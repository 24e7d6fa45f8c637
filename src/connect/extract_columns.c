#include "connect/extract.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum { FORMER_MAX = 16 };

static json_t *names_of(const char *const *names, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_string(names[i]));
    return list;
}

/* The columns of these names; false: not all are there any more. */
static bool find_columns(const json_t *names, const char *const *now, size_t now_count, struct leat_shape *out) {
    out->columns = leat_alloc((json_array_size(names) + 1) * sizeof *out->columns);
    for (; out->count < json_array_size(names); out->count++) {
        const char *name = json_string_value(json_array_get(names, out->count));
        size_t i = 0;
        while (i < now_count && (!name || strcmp(now[i], name) != 0)) i++;
        if (i == now_count) return false;
        out->columns[out->count] = (int)i;
    }
    return true;
}

static enum leat_status save(const struct leat_shapes *s, struct leat_error *err) {
    char *text = json_dumps(s->json, JSON_COMPACT);
    enum leat_status st = leat_io_write_durable(s->env->io, s->path, text, strlen(text), true, err);
    free(text);
    return st;
}

static enum leat_status load(struct leat_shapes *s, struct leat_error *err) {
    struct leat_buffer text = {0};
    json_error_t why;
    enum leat_status st = leat_io_read_all(s->env->io, s->path, LEAT_MIB, &text, err);
    if (st == LEAT_OK) s->json = json_loadb(text.data, text.length, 0, &why);
    if (st == LEAT_OK && !json_is_array(json_object_get(s->json, "columns")))
        st = leat_fail(err, LEAT_CORRUPT, "%s is damaged; without it, the overlap is taken once more where columns have changed lately: remove it", s->path);
    leat_buffer_deinit(&text);
    return st == LEAT_NOT_FOUND ? LEAT_OK : st;
}

/* Identities taken so far are of the columns that the file names. False: it says nothing new. */
static bool note_change(struct leat_shapes *s, const char *const *names, size_t count, int64_t high) {
    json_t *now = names_of(names, count), *was = json_object_get(s->json, "columns"), *former = json_object_get(s->json, "former");
    bool same = json_equal(now, was);
    if (!s->json) s->json = json_pack("{s:[]}", "former");
    else if (!same && high != INT64_MIN) json_array_insert_new(former, 0, json_pack("{s:O, s:I}", "columns", was, "until", (json_int_t)high));
    while (json_array_size(former) > FORMER_MAX) json_array_remove(former, FORMER_MAX);
    json_object_set_new(s->json, "columns", now);
    return !same;
}

enum leat_status leat_shapes_open(struct leat_shapes *s, struct leat_env *env, const char *path, const char *const *names, size_t count, int64_t high,
                                  struct leat_error *err) {
    json_t *entry;
    size_t i;
    *s = (struct leat_shapes){.env = env, .path = leat_strdup(path)};
    enum leat_status st = load(s, err);
    if (st == LEAT_OK && note_change(s, names, count, high)) st = save(s, err);
    if (st != LEAT_OK) {
        leat_shapes_close(s);
        return st;
    }
    s->former = leat_alloc(FORMER_MAX * sizeof *s->former);
    json_array_foreach(json_object_get(s->json, "former"), i, entry) {
        struct leat_shape *shape = &s->former[s->count];
        shape->until = json_integer_value(json_object_get(entry, "until"));
        if (find_columns(json_object_get(entry, "columns"), names, count, shape)) s->count++;
        else free(shape->columns), *shape = (struct leat_shape){0};
    }
    return LEAT_OK;
}

enum leat_status leat_shapes_forget(struct leat_shapes *s, int64_t below, struct leat_error *err) {
    json_t *former = json_object_get(s->json, "former");
    size_t kept = 0, had = json_array_size(former);
    for (size_t i = 0; i < s->count; i++) {
        if (s->former[i].until < below) free(s->former[i].columns);
        else s->former[kept++] = s->former[i];
    }
    s->count = kept;
    for (size_t i = had; i-- > 0;)
        if (json_integer_value(json_object_get(json_array_get(former, i), "until")) < below) json_array_remove(former, i);
    return json_array_size(former) < had ? save(s, err) : LEAT_OK;
}

void leat_shapes_close(struct leat_shapes *s) {
    for (size_t i = 0; i < s->count; i++) free(s->former[i].columns);
    free(s->former);
    free(s->path);
    json_decref(s->json);
    *s = (struct leat_shapes){0};
}
