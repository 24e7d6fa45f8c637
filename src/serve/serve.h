/* HTTP in front of a running engine: records in, tables out, changes as they happen, SQL, status, the dashboard's files.
 *
 * serve.c     the daemon and the life of a request       routes.c   the table from which dispatch, OpenAPI, the docs page and tests come
 * auth.c      tokens, roles, where a request may come from  body.c     bodies received, decompressed, split into records
 * ingest.c    POST /v1/sources/S                         rows.c     rows by key, pages, filters
 * stream.c    Server-Sent Events                         query.c    SQL and downloads, in query_child.c's processes
 * info.c      status, tables, sources, history           web.c      files embedded by the build
 *
 * Threads: those of libmicrohttpd answer what needs no engine (rows of live tables) or suspend the connection and hand the work on; the
 * engine is reached only by leat_engine_post, the http connector's queue and engine/live/live.h. Two hand SQL to a process each; one, the clerk, sleeps until a deadline. */
#ifndef LEAT_SERVE_SERVE_H
#define LEAT_SERVE_SERVE_H

#include "engine/engine.h"

struct leat_serve;
struct leat_serve_options {
    const char *listen;      /* "127.0.0.1:8080", "[::1]:8080", "localhost:0" (any free port) */
    const char *tokens_file; /* outside the project; NULL: none */
    const char *tokens_text; /* the same lines (from the environment); NULL: none */
    const char *tls_certificate, *tls_key; /* PEM files; both or none */
};
/* Serves until closed; the engine was opened with `serve`. The engine must be run for most requests to be answered.
 * Errors: INVALID the options (never with a secret in the text); IO the address cannot be had. */
enum leat_status leat_serve_open(struct leat_env *, struct leat_engine *, const struct leat_serve_options *, struct leat_serve **out,
                                 struct leat_error *) LEAT_MUST;
/* After leat_engine_run has returned, before leat_engine_close: waiting requests are answered 503. */
void leat_serve_close(struct leat_serve *);
const char *leat_serve_address(const struct leat_serve *); /* "http://127.0.0.1:8080" */

#endif
