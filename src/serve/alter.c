/* ALTER over HTTP. A change of the project closes this server for as long as it takes, so it cannot be waited for in one request: it is asked
 * for as another process would ask (engine/change/control.h), and the answer is fetched, from the server that is open then, by the name it was given. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "engine/change/control.h"
#include "serve/internal.h"

static void ask(struct leat_request *r, struct leat_engine *engine) {
    struct leat_error err;
    char id[37], *text = r->work_text;
    const char *dry = leat_query_value(&r->query, "dry_run");
    json_t *request = json_pack("{s:s,s:s,s:b}", "do", "alter", "sql", text, "dry_run", (int)(dry && strcmp(dry, "true") == 0));
    char *json = json_dumps(request, JSON_COMPACT);
    if (leat_control_request(r->serve->env, leat_engine_work_dir(engine), json, id, &err) != LEAT_OK) {
        leat_reply_status(r, &err);
    } else {
        leat_putf(&r->answer, "{\"change\":\"%s\"}\n", id);
        leat_reply(r, 202, NULL);
        leat_reply_header(r, "Location", "/v1/alter/%s", id);
    }
    free(json);
    json_decref(request);
}

void leat_handle_alter(struct leat_request *r) {
    char *sql = leat_request_sql(r);
    if (!sql) return;
    if (*sql) {
        free(r->work_text);
        r->work_text = sql;
        leat_request_ask(r, ask);
        return;
    }
    leat_reply_error(r, 400, "sql", "the body is one statement, such as ALTER MATERIALIZED TABLE t SET FRESHNESS = INTERVAL '1' HOUR");
    free(sql);
}

/* It becomes a file's name. */
static bool is_id(const char *text) {
    for (const char *p = text; *p; p++)
        if (!isxdigit((unsigned char)*p) && *p != '-') return false;
    return strlen(text) == 36;
}

static void look(struct leat_request *r, struct leat_engine *engine) {
    struct leat_error err;
    struct leat_buffer reply = {0};
    enum leat_status st = leat_control_reply(r->serve->env, leat_engine_work_dir(engine), r->match.values[0], &reply, &err);
    json_t *answer = st == LEAT_OK ? json_loadb(reply.data, reply.length, 0, NULL) : NULL;
    const char *why = json_string_value(json_object_get(answer, "error")), *found = json_string_value(json_object_get(answer, "diagnostics"));
    if (st == LEAT_NOT_FOUND) {
        leat_put(&r->answer, "{\"done\":false}\n");
        leat_reply(r, 202, NULL);
    } else if (st != LEAT_OK) {
        leat_reply_status(r, &err);
    } else if (why && *why) {
        leat_reply_error(r, 409, "refused", "%s%s%s", why, found && *found ? "\n" : "", found ? found : "");
    } else {
        leat_put(&r->answer, "{\"done\":true}\n");
        leat_reply(r, 200, NULL);
    }
    json_decref(answer);
    leat_buffer_deinit(&reply);
}

void leat_handle_altered(struct leat_request *r) {
    if (is_id(r->match.values[0]))
        leat_request_ask(r, look);
    else
        leat_reply_error(r, 404, "not_found", "there is no such change");
}
