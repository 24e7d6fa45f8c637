/* Every route there is: dispatch, OpenAPI, the docs page and the tests of access are made from this table. */
#include <stdlib.h>
#include <string.h>

#include "serve/internal.h"

#define FORMATS "json, ndjson, csv, parquet, arrow"
#define SSE "text/event-stream"

const struct leat_route leat_routes[] = {
    {"POST", "/v1/sources/{source}", LEAT_ROLE_WRITE, leat_handle_ingest, "Send records",
     "One JSON object, an array of them, or objects one a line (application/x-ndjson); gzip and zstd too. The answer comes when the records are durable. "
     "Records that cannot be used are counted as rejected, with reasons, and kept as dead letters. With the header Leat-Batch-Id a repeated request "
     "is answered as the first was and taken only once; one with that id and other records is refused (409).",
     true, false,
     {{"wait", "string", "A continuous table: its changes caused by these records are part of the answer."},
      {"timeout", "integer", "How long to wait for them, in milliseconds (5000)."}},
     "application/json"},
    {"GET", "/v1/tables/{table}/rows/{key...}", LEAT_ROLE_READ, leat_handle_row, "One row by its key",
     "The values of the PRIMARY KEY as path segments. The header Leat-Step names the step that the row reflects.", false, false, {{0}}, "application/json"},
    {"GET", "/v1/tables/{table}/rows", LEAT_ROLE_READ, leat_handle_rows, "Rows, by page, filtered, or all as a download",
     "COLUMN=value and COLUMN.OP=value filter (OP: eq, ne, lt, le, gt, ge). JSON comes in pages: `next` is the cursor of the next one, null at the end; a page may be short of its limit before. Rows that are there "
     "all the time come exactly once. Other formats give the whole table as of its last commit.",
     false, true,
     {{"limit", "integer", "Rows of a page, up to 10000 (100)."},
      {"cursor", "string", "Where to go on: `next` of the page before."},
      {"format", "string", FORMATS " (json)."}},
     "application/json"},
    {"GET", "/v1/tables/{table}/changes", LEAT_ROLE_READ, leat_handle_changes, "Changes as they happen (Server-Sent Events)",
     "Events upsert and delete (tables with a key), append and retract (others); data is the row. Resumes after the header Last-Event-ID. Where changes "
     "since then are no longer kept: event reset, the table's rows as upsert, event start; of a table without a key the answer 410.",
     false, false, {{"after", "string", "As the header Last-Event-ID; 'now' by default."}}, SSE},
    {"GET", "/v1/tables/{table}", LEAT_ROLE_READ, leat_handle_table, "One table: columns, freshness, balance", "", false, false, {{0}}, "application/json"},
    {"GET", "/v1/tables", LEAT_ROLE_READ, leat_handle_tables, "All tables", "", false, false, {{0}}, "application/json"},
    {"GET", "/v1/sources/{source}", LEAT_ROLE_READ, leat_handle_source, "One source: columns, records, watermark", "", false, false, {{0}}, "application/json"},
    {"GET", "/v1/sources", LEAT_ROLE_READ, leat_handle_sources, "All sources", "", false, false, {{0}}, "application/json"},
    {"POST", "/v1/sql", LEAT_ROLE_READ, leat_handle_sql, "Run a query (read-only)",
     "The body is one SELECT in DuckDB's dialect (text/plain), or {\"sql\":\"...\"}. It sees sources, tables, TABLE__late, TABLE__dead and SOURCE__dead as of their last "
     "commits, can read nothing else, and is stopped at its caps: its time (504), 1 GiB of memory and 256 MiB of rows (413). It runs in a process of its own; a query that ends "
     "that process is answered 500, code ended, and nothing else is.",
     true, false,
     {{"format", "string", FORMATS " (json)."}, {"timeout", "integer", "Milliseconds, up to 300000 (60000)."}},
     "application/json"},
    {"POST", "/v1/alter", LEAT_ROLE_ADMIN, leat_handle_alter, "Change a table: ALTER MATERIALIZED TABLE ...",
     "The body is one statement, as `leat alter` takes it. The answer, 202, names the change: look at /v1/alter/{change} until it says that it is done. The server may be "
     "closed for a moment meanwhile.",
     true, false, {{"dry_run", "boolean", "Only find out whether it can be done."}}, "application/json"},
    {"GET", "/v1/alter/{change}", LEAT_ROLE_ADMIN, leat_handle_altered, "Is a change done?",
     "200 once it is, 202 before, 409 with the reason where it was refused; that answer is given once.", false, false, {{0}}, "application/json"},
    {"GET", "/v1/status", LEAT_ROLE_READ, leat_handle_status, "What `leat status --json` prints", "", false, false, {{0}}, "application/json"},
    {"GET", "/v1/status/events", LEAT_ROLE_READ, leat_handle_status_stream, "The status as it changes (Server-Sent Events)", "At most once a second.", false, false, {{0}}, SSE},
    {"GET", "/v1/history", LEAT_ROLE_READ, leat_handle_history, "The newest batch runs", "", false, false, {{0}}, "application/json"},
    {"GET", "/v1/costs", LEAT_ROLE_READ, leat_handle_costs, "What `leat cost --json` found last", "null when it has not been run here.", false, false, {{0}}, "application/json"},
    {"GET", "/v1/graph", LEAT_ROLE_READ, leat_handle_graph, "Sources, views, tables and sinks, and what reads what", "", false, false, {{0}}, "application/json"},
    {"GET", "/metrics", LEAT_ROLE_READ, leat_handle_metrics, "The status as Prometheus scrapes it", "Text format 0.0.4; docs/reference/metrics.md lists the metrics.", false, false, {{0}}, "text/plain"},
    {"GET", "/v1/openapi.json", LEAT_ROLE_READ, leat_handle_openapi, "This description", "", false, false, {{0}}, "application/json"},
    {"GET", "/docs", 0, leat_handle_docs, "These routes as a page", "", false, false, {{0}}, "text/html"},
    {"GET", "/healthz", 0, leat_handle_health, "The process answers", "", false, false, {{0}}, "text/plain"},
    {"GET", "/readyz", 0, leat_handle_ready, "The engine takes its turns", "", false, false, {{0}}, "text/plain"},
    {"GET", "/{file...}", 0, leat_handle_web, "The dashboard's files", "", false, false, {{0}}, "text/html"},
};
const size_t leat_route_count = sizeof leat_routes / sizeof *leat_routes;

void leat_match_deinit(struct leat_match *match) {
    for (size_t i = 0; i < match->value_count; i++) free(match->values[i]);
    match->value_count = 0;
}

static size_t segment_length(const char *at) {
    return strcspn(at, "/");
}

/* Do path and template agree, segment for segment? Values are only counted: what they are is decoded later. */
static bool fits(const char *template, const char *path) {
    for (;;) {
        if (*template != '/' || *path != '/') return !*template && !*path;
        template++, path++;
        size_t t = segment_length(template), p = segment_length(path);
        if (t > 5 && memcmp(template + t - 4, "...}", 4) == 0) return true;
        if (*template == '{' ? p == 0 : (t != p || memcmp(template, path, t) != 0)) return false;
        template += t, path += p;
    }
}

static void take_values(const char *template, const char *path, struct leat_match *out) {
    while (*path == '/' && *template == '/') {
        template++, path++;
        size_t t = segment_length(template), p = segment_length(path);
        bool rest = t > 5 && memcmp(template + t - 4, "...}", 4) == 0;
        if (*template == '{') {
            char *value = out->value_count < LEAT_URL_SEGMENTS_MAX ? leat_url_decode(path, p, false) : NULL;
            if (!value) {
                out->problem = "a path that is too long or not percent-encoded UTF-8";
                return;
            }
            out->values[out->value_count++] = value;
        }
        path += p;
        template = rest ? template - 1 : template + t;
    }
}

void leat_route_find(const char *method, const char *path, struct leat_match *out) {
    *out = (struct leat_match){0};
    for (size_t i = 0; i < leat_route_count; i++) {
        const struct leat_route *route = &leat_routes[i];
        if (!fits(route->path, path)) continue;
        if (strcmp(route->method, method) != 0) {
            out->path_known = true;
            continue;
        }
        if (out->path_known && strcmp(route->path, "/{file...}") == 0) continue;
        out->route = route;
        take_values(route->path, path, out);
        return;
    }
}

void leat_put_allowed(const char *path, struct leat_buffer *out) {
    for (size_t i = 0; i < leat_route_count; i++)
        if (fits(leat_routes[i].path, path) && strcmp(leat_routes[i].path, "/{file...}") != 0)
            leat_putf(out, "%s%s", out->length ? ", " : "", leat_routes[i].method);
    if (!out->length) leat_put(out, "GET");
}

/* ---- descriptions ------------------------------------------------------------------------------------------ */

static void put_json(struct leat_buffer *out, const char *text) {
    leat_put_json_string(out, text, strlen(text));
}

/* "{key...}" is "{key}" there: OpenAPI has no parameter of several segments. */
static void put_path(struct leat_buffer *out, const char *path) {
    for (; *path; path++) {
        if (strncmp(path, "...}", 4) == 0) path += 3;
        leat_putn(out, path, 1);
    }
}

static void put_path_parameters(struct leat_buffer *out, const char *path, bool *any) {
    for (const char *at = path; (at = strchr(at, '{')); at++) {
        size_t n = strcspn(at + 1, ".}");
        leat_putf(out, "%s{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}}", *any ? "," : "", (int)n, at + 1);
        *any = true;
    }
}

static void put_operation(struct leat_buffer *out, const struct leat_route *route) {
    bool any = false;
    leat_put(out, "{\"summary\":");
    put_json(out, route->summary);
    leat_put(out, ",\"description\":");
    put_json(out, route->prose);
    leat_put(out, ",\"parameters\":[");
    put_path_parameters(out, route->path, &any);
    for (size_t i = 0; i < LEAT_ROUTE_PARAMS_MAX && route->params[i].name; i++) {
        leat_putf(out, "%s{\"name\":\"%s\",\"in\":\"query\",\"schema\":{\"type\":\"%s\"},\"description\":", any ? "," : "", route->params[i].name, route->params[i].type);
        put_json(out, route->params[i].prose);
        leat_put(out, "}");
        any = true;
    }
    if (route->columns)
        leat_putf(out, "%s{\"name\":\"filter\",\"in\":\"query\",\"style\":\"form\",\"explode\":true,\"schema\":{\"type\":\"object\",\"additionalProperties\":"
                       "{\"type\":\"string\"}},\"description\":\"COLUMN or COLUMN.OP and a value.\"}", any ? "," : "");
    leat_put(out, "],");
    if (route->body && route->role == LEAT_ROLE_WRITE)
        leat_put(out, "\"requestBody\":{\"required\":true,\"content\":{\"application/json\":{},\"application/x-ndjson\":{}}},");
    else if (route->body)
        leat_put(out, "\"requestBody\":{\"required\":true,\"content\":{\"text/plain\":{},\"application/json\":{}}},");
    leat_putf(out, "\"security\":[%s],\"x-leat-role\":\"%s\",\"responses\":{\"200\":{\"description\":\"OK\",\"content\":{\"%s\":{}}},"
                   "\"default\":{\"description\":\"An error\",\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}}}",
              route->role ? "{\"token\":[]}" : "", leat_role_name(route->role), route->answers);
}

void leat_put_openapi(struct leat_buffer *out) {
    leat_putf(out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"leat\",\"version\":\"%s\",\"description\":\"Tables kept fresh: records in, rows out, changes as "
                   "they happen.\"},\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},\"schemas\":{\"Error\":{\"type\":"
                   "\"object\",\"properties\":{\"error\":{\"type\":\"object\",\"properties\":{\"code\":{\"type\":\"string\"},\"message\":{\"type\":\"string\"}}}}}}},"
                   "\"paths\":{", LEAT_VERSION);
    bool first = true;
    for (size_t i = 0; i < leat_route_count; i++) {
        bool before = false, open = false;
        for (size_t k = 0; k < i; k++) before |= strcmp(leat_routes[k].path, leat_routes[i].path) == 0;
        if (before) continue;
        leat_put(out, first ? "\"" : ",\"");
        first = false;
        put_path(out, leat_routes[i].path);
        leat_put(out, "\":{");
        for (size_t k = i; k < leat_route_count; k++) {
            if (strcmp(leat_routes[k].path, leat_routes[i].path) != 0) continue;
            leat_put(out, open ? ",\"" : "\"");
            for (const char *c = leat_routes[k].method; *c; c++) leat_putf(out, "%c", *c | 0x20);
            leat_put(out, "\":");
            put_operation(out, &leat_routes[k]);
            open = true;
        }
        leat_put(out, "}");
    }
    leat_put(out, "}}\n");
}

static void put_html(struct leat_buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '<')
            leat_put(out, "&lt;");
        else if (*text == '&')
            leat_put(out, "&amp;");
        else
            leat_putn(out, text, 1);
    }
}

void leat_put_docs_page(struct leat_buffer *out) {
    leat_put(out, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>leat: HTTP routes</title>"
                  "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:2em auto;padding:0 1em;color-scheme:light dark}code{font-size:.95em}"
                  "dt{font-weight:600}section{border-top:1px solid #8888;padding:.5em 0}</style><h1>HTTP routes</h1><p>The same as OpenAPI: <code>/v1/openapi.json</code>. "
                  "Errors are <code>{\"error\":{\"code\":\"...\",\"message\":\"...\"}}</code>.</p>");
    for (size_t i = 0; i < leat_route_count; i++) {
        const struct leat_route *route = &leat_routes[i];
        leat_putf(out, "<section><h2><code>%s ", route->method);
        put_html(out, route->path);
        leat_put(out, "</code></h2><p>");
        put_html(out, route->summary);
        leat_putf(out, ". Role: %s.</p>", leat_role_name(route->role));
        if (*route->prose) {
            leat_put(out, "<p>");
            put_html(out, route->prose);
            leat_put(out, "</p>");
        }
        if (route->params[0].name) leat_put(out, "<dl>");
        for (size_t k = 0; k < LEAT_ROUTE_PARAMS_MAX && route->params[k].name; k++) {
            leat_putf(out, "<dt><code>?%s=</code> %s</dt><dd>", route->params[k].name, route->params[k].type);
            put_html(out, route->params[k].prose);
            leat_put(out, "</dd>");
        }
        leat_put(out, route->params[0].name ? "</dl></section>" : "</section>");
    }
    leat_put(out, "</html>\n");
}
