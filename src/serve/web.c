/* The dashboard's files, as the build embedded them. */
#include "serve/web.h"

#include <stdio.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "serve/internal.h"

static const char *type_of(const char *path) {
    static const struct { const char *ending, *type; } types[] = {
        {".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"}, {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},   {".svg", "image/svg+xml"},                 {".png", "image/png"},
        {".json", "application/json"},         {".woff2", "font/woff2"},                  {".ico", "image/x-icon"},
        {".txt", "text/plain; charset=utf-8"}};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t length = strlen(types[i].ending);
        if (n > length && strcmp(path + n - length, types[i].ending) == 0) return types[i].type;
    }
    return "application/octet-stream";
}

static const struct leat_web_file *find(const struct leat_match *match) {
    struct leat_buffer path = {0};
    const struct leat_web_file *found = NULL;
    for (size_t i = 0; i < match->value_count; i++) leat_putf(&path, i ? "/%s" : "%s", match->values[i]);
    if (!path.length) leat_put(&path, "index.html");
    for (size_t i = 0; i < leat_web_file_count && !found; i++)
        if (strcmp(leat_web_files[i].path, path.data) == 0) found = &leat_web_files[i];
    leat_buffer_deinit(&path);
    return found;
}

void leat_handle_web(struct leat_request *r) {
    const struct leat_web_file *file = find(&r->match);
    const char *known = leat_request_header(r, MHD_HTTP_HEADER_IF_NONE_MATCH);
    char tag[24];
    if (!file) {
        leat_reply_error(r, 404, "not_found", "there is nothing at this path; /docs lists what there is");
        return;
    }
    size_t n = (size_t)(file->end - file->bytes);
    snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)XXH3_64bits(file->bytes, n));
    bool same = known && strcmp(known, tag) == 0;
    r->response = MHD_create_response_from_buffer(same ? 0 : n, (void *)(uintptr_t)file->bytes, MHD_RESPMEM_PERSISTENT);
    leat_reply(r, same ? 304 : 200, type_of(file->path));
    leat_reply_header(r, "ETag", "%s", tag);
    leat_reply_header(r, "Cache-Control", "no-cache");
    leat_reply_header(r, "Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'");
    leat_reply_header(r, "Referrer-Policy", "no-referrer");
}
