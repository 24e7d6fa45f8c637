/* The format number of a folder; see format.h. */
#include "engine/care/format.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static enum leat_status write_ours(struct leat_env *env, const char *path, struct leat_error *err) {
    char *text = leat_asprintf("{\"leat_format\":%d,\"readable_from\":%d,\"leat\":\"%s\"}\n", LEAT_FORMAT, LEAT_FORMAT_READABLE_FROM, LEAT_VERSION);
    enum leat_status st = leat_io_write_durable(env->io, path, text, strlen(text), true, err);
    free(text);
    return st;
}

enum leat_status leat_format_settle(struct leat_env *env, const char *path, bool write, const char *otherwise, struct leat_error *err) {
    enum { BYTES_MAX = 4096 };
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(env->io, path, BYTES_MAX, &text, err);
    if (st == LEAT_NOT_FOUND) return write ? write_ours(env, path, err) : LEAT_OK;
    json_t *format = st == LEAT_OK ? json_loadb(text.data ? text.data : "", text.length, 0, NULL) : NULL;
    json_int_t number = json_integer_value(json_object_get(format, "leat_format")), from = json_integer_value(json_object_get(format, "readable_from"));
    const char *leat = json_string_value(json_object_get(format, "leat"));
    if (st == LEAT_OK && (number < 1 || from < 1))
        st = leat_fail(err, LEAT_CORRUPT, "%s does not say which format this is", path);
    else if (st == LEAT_OK && from > LEAT_FORMAT)
        st = leat_fail(err, LEAT_UNSUPPORTED, "%s: written by leat %s in format %lld; this is leat %s, which reads formats up to %d. Use that version; %s", path,
                       leat ? leat : "?", (long long)number, LEAT_VERSION, LEAT_FORMAT, otherwise);
    else if (st == LEAT_OK && write && (number != LEAT_FORMAT || !leat || strcmp(leat, LEAT_VERSION) != 0))
        st = write_ours(env, path, err);
    json_decref(format);
    leat_buffer_deinit(&text);
    return st;
}
