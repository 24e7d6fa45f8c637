/* What the engine says of itself: status and parts of it, made by the engine's thread between two of its turns. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "connect/http.h"
#include "serve/internal.h"

struct ask {
    struct leat_call call;
    struct leat_request *request;
    void (*make)(struct leat_request *, struct leat_engine *); /* the engine's thread */
};

static void answer(struct leat_call *call, struct leat_engine *engine) {
    struct ask *ask = (struct ask *)(void *)call;
    struct leat_request *r = ask->request;
    if (engine) {
        ask->make(r, engine);
    } else {
        leat_reply_error(r, 503, "stopping", "leat stops");
        leat_reply_header(r, "Retry-After", "1");
    }
    leat_request_resume(r);
}

void leat_request_ask(struct leat_request *r, void (*make)(struct leat_request *, struct leat_engine *)) {
    struct ask *ask = leat_alloc(sizeof *ask);
    ask->call.run = answer;
    ask->request = r;
    ask->make = make;
    r->work = ask;
    r->free_work = free;
    leat_request_suspend(r);
    leat_engine_post(r->serve->engine, &ask->call);
}

static json_t *status_of(struct leat_request *r, struct leat_engine *engine) {
    struct leat_buffer text = {0};
    struct leat_error err;
    json_t *json = leat_engine_status(engine, &text, &err) == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (!json) leat_reply_error(r, 500, "failed", "no status");
    leat_buffer_deinit(&text);
    return json;
}

static void reply_json(struct leat_request *r, json_t *json) {
    char *text = json_dumps(json, JSON_COMPACT);
    leat_put(&r->answer, text);
    leat_put(&r->answer, "\n");
    leat_reply(r, 200, NULL);
    free(text);
    json_decref(json);
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

static void make_status(struct leat_request *r, struct leat_engine *engine) {
    struct leat_error err;
    if (leat_engine_status(engine, &r->answer, &err) != LEAT_OK)
        leat_reply_status(r, &err);
    else
        leat_reply(r, 200, NULL);
}

void leat_handle_status(struct leat_request *r) {
    leat_request_ask(r, make_status);
}

static void make_history(struct leat_request *r, struct leat_engine *engine) {
    json_t *status = status_of(r, engine);
    if (!status) return;
    reply_json(r, json_pack("{s:O}", "runs", json_object_get(status, "history")));
    json_decref(status);
}

void leat_handle_history(struct leat_request *r) {
    leat_request_ask(r, make_history);
}

/* ---- tables and sources ----------------------------------------------------------------------------------------------- */

static json_t *columns_json(const struct leat_schema *schema) {
    json_t *columns = json_array();
    for (size_t c = 0; c < schema->field_count; c++) {
        char type[32];
        leat_type_print(schema->fields[c].type, type);
        json_array_append_new(columns, json_pack("{s:s,s:s}", "name", schema->fields[c].name, "type", type));
    }
    return columns;
}

static json_t *named(const json_t *list, const char *name) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item)
        if (strcasecmp(json_string_value(json_object_get(item, "name")), name) == 0) return item;
    return NULL;
}

static void add_table(const struct leat_serve *serve, json_t *json) {
    const struct leat_live_table *table = leat_live_find(serve->live, json_string_value(json_object_get(json, "name")));
    if (!table) return;
    json_t *key = json_array();
    for (size_t i = 0; i < table->key_count; i++) json_array_append_new(key, json_string(table->schema.fields[table->key[i]].name));
    json_object_set_new(json, "columns", columns_json(&table->schema));
    json_object_set_new(json, "primary_key", key);
    json_object_set_new(json, "continuous", json_boolean(table->continuous));
    json_object_set_new(json, "live", json_boolean(table->held));
    if (table->held) json_object_set_new(json, "live_rows", json_integer((json_int_t)leat_live_rows(serve->live, table)));
    json_object_set_new(json, "sql", json_string(serve->project->tables[table->index].sql));
}

static void make_tables(struct leat_request *r, struct leat_engine *engine) {
    json_t *status = status_of(r, engine), *item;
    size_t i;
    if (!status) return;
    json_t *tables = json_object_get(status, "tables");
    json_array_foreach(tables, i, item) add_table(r->serve, item);
    if (r->match.value_count)
        item = named(tables, r->match.values[0]);
    else
        item = NULL;
    reply_json(r, item ? json_incref(item) : json_pack("{s:O}", "tables", tables));
    json_decref(status);
}

void leat_handle_tables(struct leat_request *r) {
    leat_request_ask(r, make_tables);
}

void leat_handle_table(struct leat_request *r) {
    if (leat_request_table(r)) leat_request_ask(r, make_tables);
}

static void add_source(struct leat_request *r, struct leat_engine *engine, size_t s, json_t *json) {
    const struct leat_source *source = &r->serve->project->sources[s];
    struct leat_connector *connector = leat_engine_connector(engine, s);
    json_object_set_new(json, "connector", json_string(source->connector));
    json_object_set_new(json, "columns", columns_json(&source->schema));
    if (source->event_time >= 0) json_object_set_new(json, "event_time", json_string(source->schema.fields[source->event_time].name));
    if (!leat_connector_is_http(connector)) return;
    uint64_t batches, bytes;
    leat_http_waiting(connector, &batches, &bytes);
    json_object_set_new(json, "post", json_sprintf("/v1/sources/%s", source->name));
    json_object_set_new(json, "waiting_batches", json_integer((json_int_t)batches));
    json_object_set_new(json, "waiting_bytes", json_integer((json_int_t)bytes));
}

static void make_sources(struct leat_request *r, struct leat_engine *engine) {
    json_t *status = status_of(r, engine), *item;
    const struct leat_project *project = r->serve->project;
    if (!status) return;
    json_t *sources = json_object_get(status, "sources");
    for (size_t s = 0; s < project->source_count; s++)
        if ((item = named(sources, project->sources[s].name))) add_source(r, engine, s, item);
    item = r->match.value_count ? named(sources, r->match.values[0]) : NULL;
    if (r->match.value_count && !item)
        leat_reply_error(r, 404, "not_found", "there is no source '%.100s'", r->match.values[0]);
    else
        reply_json(r, item ? json_incref(item) : json_pack("{s:O}", "sources", sources));
    json_decref(status);
}

void leat_handle_sources(struct leat_request *r) {
    leat_request_ask(r, make_sources);
}

void leat_handle_source(struct leat_request *r) {
    leat_request_ask(r, make_sources);
}

/* ---- costs ----------------------------------------------------------------------------------------------------------------- */

static void make_costs(struct leat_request *r, struct leat_engine *engine) {
    enum { COSTS_BYTES_MAX = 4 << 20 };
    struct leat_error err;
    char *path = leat_asprintf("%s/" LEAT_COSTS_FILE, leat_engine_work_dir(engine));
    struct leat_io *io = r->serve->env->io;
    enum leat_status st = leat_io_exists(io, path) ? leat_io_read_all(io, path, COSTS_BYTES_MAX, &r->answer, &err) : LEAT_OK;
    if (!r->answer.length) leat_put(&r->answer, "null\n");
    if (st == LEAT_OK)
        leat_reply(r, 200, NULL);
    else
        leat_reply_status(r, &err);
    free(path);
}

void leat_handle_costs(struct leat_request *r) {
    leat_request_ask(r, make_costs);
}

/* ---- the graph ------------------------------------------------------------------------------------------------------------ */

static void add_edges(const struct leat_project *project, const struct leat_object_ref *inputs, size_t count, const char *to, json_t *edges) {
    for (size_t i = 0; i < count; i++)
        json_array_append_new(edges, json_pack("{s:s,s:s}", "from", leat_project_object_name(project, inputs[i]), "to", to));
}

static void make_graph(struct leat_request *r, struct leat_engine *engine) {
    const struct leat_project *project = leat_engine_project(engine);
    json_t *nodes = json_array(), *edges = json_array();
    for (size_t i = 0; i < project->order_count; i++) {
        struct leat_object_ref ref = project->order[i];
        const char *name = leat_project_object_name(project, ref);
        if (ref.kind == LEAT_OBJECT_SOURCE) {
            const struct leat_source *source = &project->sources[ref.index];
            json_array_append_new(nodes, json_pack("{s:s,s:s,s:s}", "name", name, "kind", source->reference ? "reference" : "source", "connector", source->connector));
            if (source->versions) add_edges(project, &(struct leat_object_ref){LEAT_OBJECT_SOURCE, source->versions_of}, 1, name, edges);
        } else if (ref.kind == LEAT_OBJECT_VIEW) {
            const struct leat_view *view = &project->views[ref.index];
            json_array_append_new(nodes, json_pack("{s:s,s:s}", "name", name, "kind", "view"));
            add_edges(project, view->inputs, view->input_count, name, edges);
        } else {
            const struct leat_table *table = &project->tables[ref.index];
            json_t *node = json_pack("{s:s,s:s}", "name", name, "kind", "table");
            if (table->cron) json_object_set_new(node, "schedule", json_string(table->cron));
            json_array_append_new(nodes, node);
            add_edges(project, table->inputs, table->input_count, name, edges);
        }
    }
    for (size_t i = 0; i < project->sink_count; i++) {
        const struct leat_sink_def *sink = &project->sinks[i];
        json_array_append_new(nodes, json_pack("{s:s,s:s,s:s}", "name", sink->name, "kind", "sink", "connector", sink->connector));
        json_array_append_new(edges, json_pack("{s:s,s:s}", "from", project->tables[sink->table].name, "to", sink->name));
    }
    reply_json(r, json_pack("{s:o,s:o}", "nodes", nodes, "edges", edges));
}

void leat_handle_graph(struct leat_request *r) {
    leat_request_ask(r, make_graph);
}

/* ---- what needs no engine ---------------------------------------------------------------------------------------------------- */

void leat_handle_openapi(struct leat_request *r) {
    leat_put_openapi(&r->answer);
    leat_reply(r, 200, NULL);
}

void leat_handle_docs(struct leat_request *r) {
    leat_put_docs_page(&r->answer);
    leat_reply(r, 200, "text/html; charset=utf-8");
}

void leat_handle_health(struct leat_request *r) {
    leat_put(&r->answer, "ok\n");
    leat_reply(r, 200, "text/plain");
}

static void make_ready(struct leat_request *r, struct leat_engine *engine) {
    (void)engine;
    leat_put(&r->answer, "ready\n");
    leat_reply(r, 200, "text/plain");
}

void leat_handle_ready(struct leat_request *r) {
    leat_request_ask(r, make_ready);
}
