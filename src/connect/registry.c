/* GET <url>/schemas/ids/<number>, and of what it refers to <url>/subjects/<subject>/versions/<version>. */
#include "connect/registry.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_BYTES_MAX = 4 << 20, TIMEOUT_S = 5, REFERENCES_MAX = 100 };

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

/* The schema that the registry has at a path, with what stands beside it. *json: NULL where there is none, which only a registry can say: its error has a
 * number. (A wrong path or a proxy answers 404, too; that its schemas are not there would be remembered.) */
static enum leat_status get_json(const struct leat_registry *r, const char *base, const char *path, json_t **json, struct leat_error *err) {
    struct leat_buffer answer = {.max_bytes = ANSWER_BYTES_MAX};
    char why[CURL_ERROR_SIZE];
    long code;
    size_t length = strlen(base);
    while (length && base[length - 1] == '/') length--;
    char *url = leat_asprintf("%.*s%s", (int)length, base, path);
    get(r, url, &answer, &code, why);
    *json = code == 200 || code == 404 ? json_loadb(answer.data ? answer.data : "", answer.length, 0, NULL) : NULL;
    bool none = code == 404 && json_is_integer(json_object_get(*json, "error_code"));
    if (code != 200 || !json_is_string(json_object_get(*json, "schema"))) {
        json_decref(*json);
        *json = NULL;
    }
    enum leat_status st = LEAT_OK;
    if (code && !*json && !none)
        st = leat_fail(err, LEAT_IO, "the schema registry answered %ld to a question for %s%s", code, path, code == 404 ? ", but not as a registry does: is schema.registry.url right?" : "");
    if (!code) st = leat_fail(err, LEAT_IO, "the schema registry does not answer: %s", why[0] ? why : "no connection");
    leat_buffer_deinit(&answer);
    free(url);
    return st;
}

/* Types of other schemas that a schema names, and that those name. */
struct gathered {
    struct leat_registry_type types[REFERENCES_MAX];
    size_t count;
    bool unusable; /* one is not there, is not Avro, or they are too many */
};

static bool is_gathered(const struct gathered *g, const char *name) {
    for (size_t i = 0; i < g->count; i++)
        if (strcmp(g->types[i].name, name) == 0) return true;
    return false;
}

static bool is_avro(json_t *schema) {
    const char *type = json_string_value(json_object_get(schema, "schemaType"));
    return json_is_string(json_object_get(schema, "schema")) && (!type || strcmp(type, "AVRO") == 0);
}

static enum leat_status gather(const struct leat_registry *r, const char *base, json_t *references, struct gathered *g, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < json_array_size(references) && st == LEAT_OK && !g->unusable; i++) {
        json_t *reference = json_array_get(references, i), *json = NULL;
        const char *name = json_string_value(json_object_get(reference, "name")), *subject = json_string_value(json_object_get(reference, "subject"));
        if (name && is_gathered(g, name)) continue;
        g->unusable = !name || !subject || g->count == REFERENCES_MAX;
        if (g->unusable) break;
        char *escaped = curl_easy_escape(NULL, subject, 0);
        char *path = leat_asprintf("/subjects/%s/versions/%lld", escaped ? escaped : "", (long long)json_integer_value(json_object_get(reference, "version")));
        st = get_json(r, base, path, &json, err);
        g->unusable = st == LEAT_OK && !is_avro(json);
        if (st == LEAT_OK && !g->unusable) {
            g->types[g->count++] = (struct leat_registry_type){leat_strdup(name), leat_strdup(json_string_value(json_object_get(json, "schema")))};
            st = gather(r, base, json_object_get(json, "references"), g, err); /* each name once: it ends */
        }
        json_decref(json);
        curl_free(escaped);
        free(path);
    }
    return st;
}

static enum leat_status ask(const struct leat_registry *r, const char *base, uint32_t id, struct leat_error *err) {
    struct gathered g = {0};
    json_t *json = NULL;
    char *path = leat_asprintf("/schemas/ids/%u", id), *whole = NULL;
    enum leat_status st = get_json(r, base, path, &json, err);
    if (st == LEAT_OK && json) st = gather(r, base, json_object_get(json, "references"), &g, err);
    const char *schema = is_avro(json) && !g.unusable ? json_string_value(json_object_get(json, "schema")) : "";
    if (g.count && *schema) schema = whole = leat_registry_inline(schema, g.types, g.count);
    if (st == LEAT_OK) st = save(r, id, schema ? schema : "", err);
    for (size_t i = 0; i < g.count; i++) {
        free(g.types[i].name);
        free(g.types[i].schema);
    }
    json_decref(json);
    free(whole);
    free(path);
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
