/* GET <url>/schemas/ids/<number> */
#include "connect/registry.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES_MAX = 4 << 20, TIMEOUT_S = 5 };

struct leat_registry {
    struct leat_io *io;
    char *urls, *login, *dir;
};

struct leat_registry *leat_registry_open(struct leat_io *io, const char *urls, const char *username, const char *password, const char *dir) {
    struct leat_registry *r = leat_alloc(sizeof *r);
    r->io = io;
    r->urls = leat_strdup(urls);
    r->login = username ? leat_asprintf("%s:%s", username, password ? password : "") : NULL;
    r->dir = leat_strdup(dir);
    return r;
}

void leat_registry_close(struct leat_registry *r) {
    if (!r) return;
    free(r->urls);
    free(r->login);
    free(r->dir);
    free(r);
}

static char *path_of(const struct leat_registry *r, uint32_t id) {
    return leat_asprintf("%s/%u.json", r->dir, id);
}

bool leat_registry_has(const struct leat_registry *r, uint32_t id) {
    char *path = path_of(r, id);
    bool has = leat_io_exists(r->io, path);
    free(path);
    return has;
}

static size_t take(char *bytes, size_t size, size_t count, void *context) {
    return leat_buffer_add(context, bytes, size * count, NULL) == LEAT_OK ? size * count : 0;
}

/* *code: HTTP's, 0: no answer. */
static void get(const struct leat_registry *r, const char *url, struct leat_buffer *answer, long *code, char why[CURL_ERROR_SIZE]) {
    CURL *curl = curl_easy_init();
    *code = 0;
    *why = 0;
    if (!curl) return;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (r->login) curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    if (r->login) curl_easy_setopt(curl, CURLOPT_USERPWD, r->login);
    if (curl_easy_perform(curl) == CURLE_OK) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, code);
    curl_easy_cleanup(curl);
}

static enum leat_status save(const struct leat_registry *r, uint32_t id, const char *schema, struct leat_error *err) {
    char *path = path_of(r, id);
    enum leat_status st = leat_io_mkdirs(r->io, r->dir, err);
    if (st == LEAT_OK) st = leat_io_write_durable(r->io, path, schema, strlen(schema), true, err);
    free(path);
    return st;
}

static enum leat_status ask(const struct leat_registry *r, const char *base, uint32_t id, struct leat_error *err) {
    struct leat_buffer answer = {.max_bytes = ANSWER_BYTES_MAX};
    char why[CURL_ERROR_SIZE];
    long code;
    size_t length = strlen(base);
    while (length && base[length - 1] == '/') length--;
    char *url = leat_asprintf("%.*s/schemas/ids/%u", (int)length, base, id);
    get(r, url, &answer, &code, why);
    json_t *json = code == 200 ? json_loadb(answer.data ? answer.data : "", answer.length, 0, NULL) : NULL;
    const char *schema = json_string_value(json_object_get(json, "schema")), *type = json_string_value(json_object_get(json, "schemaType"));
    bool usable = schema && (!type || strcmp(type, "AVRO") == 0) && !json_array_size(json_object_get(json, "references"));
    enum leat_status st;
    if (schema || code == 404)
        st = save(r, id, usable ? schema : "", err);
    else if (code)
        st = leat_fail(err, LEAT_IO, "the schema registry answered %ld to a question for schema %u", code, id);
    else
        st = leat_fail(err, LEAT_IO, "the schema registry does not answer: %s", why[0] ? why : "no connection");
    json_decref(json);
    leat_buffer_deinit(&answer);
    free(url);
    return st;
}

enum leat_status leat_registry_fetch(struct leat_registry *r, uint32_t id, struct leat_error *err) {
    char *list = leat_strdup(r->urls), *rest = list, *url;
    enum leat_status st = leat_fail(err, LEAT_INVALID, "schema.registry.url is empty");
    while ((url = strsep(&rest, ","))) {
        url += strspn(url, " \t");
        url[strcspn(url, " \t")] = 0;
        if (*url && (st = ask(r, url, id, err)) == LEAT_OK) break;
    }
    free(list);
    return st;
}
