/* POST /v1/sources/{source}: the body's records go to the http connector as one batch; the answer is made when they are durable, or, with
 * ?wait=TABLE, when that table has stepped over them. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "connect/http.h"
#include "data/value_text.h"
#include "engine/live/wait.h"
#include "serve/internal.h"

enum { WAIT_MS = 5000, WAIT_MS_MAX = 60000, BATCH_ID_MAX = 200 };

struct work {
    struct leat_http_batch batch; /* first: done gets it */
    struct leat_wait wait;
    struct leat_call call;
    struct leat_request *request;
    struct leat_records records;
    char *id;
    const struct leat_live_table *table; /* waited for; NULL: none */
    enum leat_status waited;
};

static void free_work(void *work) {
    struct work *w = work;
    leat_http_batch_deinit(&w->batch);
    leat_wait_deinit(&w->wait);
    leat_records_deinit(&w->records);
    free(w->id);
    free(w);
}

/* ---- the answer ------------------------------------------------------------------------------------------------ */

static void put_rejects(struct leat_buffer *out, const struct leat_http_batch *batch) {
    leat_put(out, ",\"rejects\":[");
    for (size_t i = 0; i < batch->reject_count; i++) {
        leat_putf(out, "%s{\"index\":%u,\"offset\":%llu,\"reason\":", i ? "," : "", batch->rejects[i].index, (unsigned long long)batch->rejects[i].offset);
        leat_put_json_string(out, batch->rejects[i].reason, strlen(batch->rejects[i].reason));
        leat_put(out, "}");
    }
    leat_put(out, "]");
}

static void put_changes(struct leat_buffer *out, const struct work *w) {
    const struct leat_changes *rows = &w->wait.changes; /* empty, without a schema, when the engine stopped before */
    bool keyed = w->table->key_count > 0;
    leat_put(out, ",\"wait\":{\"table\":");
    leat_put_json_string(out, w->table->name, strlen(w->table->name));
    leat_putf(out, ",\"complete\":%s,\"matched_by\":", w->waited == LEAT_OK && !w->wait.partial ? "true" : "false");
    leat_put(out, w->wait.key_columns ? "\"key\"" : "null");
    leat_putf(out, ",\"step\":%llu,\"changes\":[", (unsigned long long)w->wait.step);
    for (size_t i = 0; i < rows->row_count; i++) {
        int32_t weight = leat_weight(rows, i), copies = keyed ? 1 : weight < 0 ? -weight : weight;
        for (int32_t copy = 0; copy < copies; copy++) {
            leat_putf(out, "%s{\"op\":\"%s\",\"row\":", i || copy ? "," : "", keyed ? weight > 0 ? "upsert" : "delete" : weight > 0 ? "append" : "retract");
            leat_put_json_row(out, rows, i);
            leat_put(out, "}");
        }
    }
    leat_put(out, "]}");
}

struct keyed { struct leat_hash128 hash; uint32_t row; };

static int by_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    int order = memcmp(&x->hash, &y->hash, sizeof x->hash);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

/* Of the changes of a key only the last: one that also comes has not gone. */
static void drop_replaced(struct work *w) {
    struct leat_changes *rows = &w->wait.changes, kept;
    size_t n = rows->row_count, picked_count = 0;
    struct leat_hash128 *hashes = leat_alloc((n + 1) * sizeof *hashes);
    struct keyed *order = leat_alloc((n + 1) * sizeof *order);
    bool *last = leat_alloc(n + 1);
    uint32_t *picked = leat_alloc((n + 1) * sizeof *picked);
    leat_key_hash(rows, 0, n, w->table->key, w->table->key_count, hashes);
    for (size_t i = 0; i < n; i++) order[i] = (struct keyed){hashes[i], (uint32_t)i};
    qsort(order, n, sizeof *order, by_key);
    for (size_t i = 0; i < n; i++) last[order[i].row] = i + 1 == n || memcmp(&order[i].hash, &order[i + 1].hash, sizeof order->hash) != 0;
    for (size_t i = 0; i < n; i++)
        if (last[i]) picked[picked_count++] = (uint32_t)i;
    leat_changes_init(&kept, rows->schema);
    leat_changes_append(&kept, rows, picked, picked_count, 1);
    leat_changes_swap(&kept, rows);
    leat_changes_deinit(&kept);
    free(hashes);
    free(order);
    free(last);
    free(picked);
}

static void put_answer(struct leat_buffer *out, const struct leat_http_batch *batch, const char *source) {
    leat_put(out, "{\"source\":");
    leat_put_json_string(out, source, strlen(source));
    leat_putf(out, ",\"accepted\":%llu,\"rejected\":%u,\"partition\":%u,\"from_offset\":%llu,\"to_offset\":%llu,\"duplicate\":%s",
              (unsigned long long)(batch->to - batch->from - batch->rejected), batch->rejected, batch->partition, (unsigned long long)batch->from,
              (unsigned long long)batch->to, batch->duplicate ? "true" : "false");
    if (!batch->duplicate) put_rejects(out, batch);
}

static void render(struct leat_request *r) {
    struct work *w = r->work;
    if (w->batch.status == LEAT_CONFLICT) {
        leat_reply_error(r, 409, "batch_id",
                         "Leat-Batch-Id '%s' was used for other records (offsets %llu to %llu); nothing of these was taken. A batch sent again has the same records; "
                         "another one needs an id of its own",
                         w->id, (unsigned long long)w->batch.from, (unsigned long long)w->batch.to);
        return;
    }
    if (w->batch.status != LEAT_OK) {
        leat_reply_error(r, 503, "stopping", "leat stops; nothing of this was taken, send it again");
        leat_reply_header(r, "Retry-After", "1");
        return;
    }
    put_answer(&r->answer, &w->batch, r->match.values[0]);
    if (w->table) {
        if (w->table->key_count && w->wait.changes.row_count) drop_replaced(w);
        put_changes(&r->answer, w);
    }
    leat_put(&r->answer, "}\n");
    leat_reply(r, 200, NULL);
}

/* ---- the engine's thread ------------------------------------------------------------------------------------------- */

static void waited(struct leat_wait *wait, enum leat_status status) {
    struct work *w = (struct work *)((char *)wait - offsetof(struct work, wait));
    w->waited = status;
    leat_request_resume(w->request);
}

/* The engine's; NULL: it has stopped. */
static void begin_wait(struct leat_call *call, struct leat_engine *engine) {
    struct work *w = (struct work *)((char *)call - offsetof(struct work, call));
    if (engine)
        leat_engine_wait(engine, &w->wait);
    else
        waited(&w->wait, LEAT_CANCELLED);
}

/* Where the source is polled. */
static void durable(struct leat_http_batch *batch) {
    struct work *w = (struct work *)(void *)batch;
    if (!w->table || batch->status != LEAT_OK) {
        leat_request_resume(w->request);
        return;
    }
    w->wait.partition = batch->partition;
    w->wait.from = batch->from;
    w->wait.to = batch->to;
    w->wait.done = waited;
    w->call.run = begin_wait;
    leat_engine_post(w->request->serve->engine, &w->call);
}

/* ---- the request ------------------------------------------------------------------------------------------------------ */

/* The source's number; project->source_count: answered. */
static size_t find_source(struct leat_request *r) {
    const struct leat_project *project = r->serve->project;
    const char *name = r->match.values[0], **names = leat_alloc((project->source_count + 1) * sizeof *names);
    size_t found = project->source_count;
    for (size_t s = 0; s < project->source_count; s++) {
        bool http = leat_connector_is_http(leat_engine_connector(r->serve->engine, s));
        names[s] = http ? project->sources[s].name : NULL;
        if (strcasecmp(project->sources[s].name, name) != 0) continue;
        found = s;
        if (http) goto out;
        leat_reply_error(r, 405, "method", "source '%s' has the connector '%s'; only http sources take records", project->sources[s].name,
                         project->sources[s].connector);
        found = project->source_count;
        goto out;
    }
    const char *nearest = leat_nearest(name, names, project->source_count);
    leat_reply_error(r, 404, "not_found", nearest ? "there is no source '%.100s'; did you mean '%s'?" : "there is no source '%.100s'", name, nearest);
out:
    free(names);
    return found;
}

/* False: no type that leat takes. */
static bool body_is_lines(struct leat_request *r, bool *lines) {
    static const struct { const char *type; bool lines; } types[] = {{"application/json", false},     {"application/x-ndjson", true},
                                                                     {"application/ndjson", true},    {"application/jsonl", true},
                                                                     {"application/x-jsonlines", true}};
    const char *type = leat_request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    size_t n = type ? strcspn(type, "; ") : 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].type) != n || strncasecmp(types[i].type, type, n) != 0) continue;
        *lines = types[i].lines;
        return true;
    }
    leat_reply_error(r, 415, "type", "say Content-Type: application/json (an object or an array) or application/x-ndjson (objects one a line)");
    return false;
}

static bool read_wait(struct leat_request *r, struct work *w) {
    const char *name = leat_query_value(&r->query, "wait"), *timeout = leat_query_value(&r->query, "timeout");
    if (!name) return true;
    w->table = leat_live_find(r->serve->live, name);
    if (!w->table || !w->table->continuous) {
        leat_reply_error(r, 400, "parameter", w->table ? "table '%.100s' is not continuous: it has no changes to wait for" : "there is no table '%.100s' to wait for", name);
        return false;
    }
    int64_t ms = WAIT_MS;
    if (timeout && (leat_parse_int(timeout, &ms, NULL) != LEAT_OK || ms < 1 || ms > WAIT_MS_MAX)) {
        leat_reply_error(r, 400, "parameter", "timeout is a number of milliseconds up to %d", WAIT_MS_MAX);
        return false;
    }
    w->wait.table = w->table->index;
    w->wait.deadline_us = leat_serve_now(r->serve) + ms * 1000;
    return true;
}

static bool read_batch_id(struct leat_request *r, struct work *w) {
    const char *id = leat_request_header(r, "Leat-Batch-Id");
    if (!id) return true;
    if (!*id || strlen(id) > BATCH_ID_MAX) {
        leat_reply_error(r, 400, "batch_id", "Leat-Batch-Id has 1 to %d characters", BATCH_ID_MAX);
        return false;
    }
    w->id = leat_strdup(id);
    w->batch.id = w->id;
    w->batch.id_bytes = strlen(id);
    return true;
}

void leat_handle_ingest(struct leat_request *r) {
    struct leat_serve *serve = r->serve;
    struct leat_error err;
    bool lines;
    size_t source = find_source(r);
    if (source == serve->project->source_count || !body_is_lines(r, &lines)) return;
    struct work *w = leat_alloc(sizeof *w);
    r->work = w;
    r->free_work = free_work;
    w->request = r;
    w->wait.source = source;
    if (!read_wait(r, w) || !read_batch_id(r, w)) return;
    if (leat_records_split(&r->body.content, lines, &w->records, &err) != LEAT_OK) {
        leat_reply_status(r, &err);
        return;
    }
    if (!w->records.count) {
        leat_reply_error(r, 400, "empty", "the body has no record");
        return;
    }
    w->batch.bytes = r->body.content.data;
    w->batch.byte_count = r->body.content.length;
    w->batch.starts = w->records.starts;
    w->batch.ends = w->records.ends;
    w->batch.count = w->records.count;
    w->batch.done = durable;
    r->render = render;
    leat_request_suspend(r);
    if (leat_http_offer(leat_engine_connector(serve->engine, source), &w->batch, &err) == LEAT_OK) return;
    r->render = NULL;
    leat_reply_status(r, &err);
    leat_request_resume(r);
}
