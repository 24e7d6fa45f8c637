#include "rehearse/record.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "connect/recorded.h"
#include "sql/duck.h"

const char *const leat_record_clock_names[] = {"auto", "arrival", "event", NULL};

/* Exact in both directions: what JSON's numbers would round is written as text, which the decoder takes as well. */
static bool as_text(enum leat_kind kind) {
    return kind == LEAT_DOUBLE || kind == LEAT_FLOAT || kind == LEAT_DECIMAL || kind == LEAT_HUGEINT || kind == LEAT_BLOB;
}

static void put_json(const struct leat_source *source, struct leat_buffer *sql) {
    leat_put(sql, "to_json({");
    for (size_t i = 0; i < source->schema.field_count; i++) {
        bool text = as_text(source->schema.fields[i].type.kind);
        if (i) leat_put(sql, ", ");
        leat_put_sql_string(sql, source->source_names[i]);
        leat_put(sql, text ? ": CAST(" : ": ");
        leat_put_sql_name(sql, source->schema.fields[i].name);
        if (text) leat_put(sql, " AS VARCHAR)");
    }
    leat_put(sql, "})");
}

/* Records in order of arrival, each with the bytes that came where they were kept as JSON. */
static void put_records(const struct leat_engine *engine, size_t s, struct leat_buffer *sql) {
    const struct leat_source *source = &leat_engine_project(engine)->sources[s];
    leat_put(sql, "SELECT *, row_number() OVER (ORDER BY arrival, _partition, _offset) AS n, "
                  "count(event) OVER (ORDER BY arrival, _partition, _offset ROWS UNBOUNDED PRECEDING) AS timed FROM ("
                  "SELECT CAST(_partition AS BIGINT) AS _partition, _offset, epoch_us(_arrival) AS arrival, ");
    if (source->event_time >= 0) {
        leat_put(sql, "epoch_us(");
        leat_put_sql_name(sql, source->schema.fields[source->event_time].name);
        leat_put(sql, ")");
    } else {
        leat_put(sql, "CAST(NULL AS BIGINT)");
    }
    leat_put(sql, " AS event, ");
    if (source->format == LEAT_FORMAT_JSON) leat_put(sql, "coalesce(_payload, ");
    leat_put(sql, "encode(CAST(");
    put_json(source, sql);
    leat_put(sql, source->format == LEAT_FORMAT_JSON ? " AS VARCHAR)))" : " AS VARCHAR))");
    leat_put(sql, " AS line FROM (");
    leat_engine_archive(engine, s, sql);
    leat_put(sql, ") UNION ALL SELECT CAST(_partition AS BIGINT), _offset, epoch_us(_arrival), NULL, payload FROM (");
    leat_engine_dead_letters(engine, s, sql);
    leat_put(sql, "))");
}

/* A table `recorded`: n, due, _partition, line. By event, the k-th record to arrive comes at the k-th event time of all: in the order it came, at
 * the pace at which things happened. One without an event time comes with the one before it. */
static enum leat_status make_table(struct leat_conn *conn, const struct leat_engine *engine, size_t s, bool by_event, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "CREATE OR REPLACE TEMP TABLE recorded AS WITH r AS MATERIALIZED (");
    put_records(engine, s, &sql);
    leat_put(&sql, by_event ? "), t AS (SELECT event AS due, row_number() OVER (ORDER BY event) AS timed FROM r WHERE event IS NOT NULL) "
                              "SELECT n, due, _partition, line FROM r JOIN t ON t.timed = greatest(r.timed, 1)"
                            : ") SELECT n, arrival AS due, _partition, line FROM r");
    enum leat_status st = leat_conn_exec(conn, sql.data, err);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status write_slice(struct leat_recorder *recorder, const struct leat_result *rows, struct leat_recorded_source *out,
                                    struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < rows->rows.row_count && st == LEAT_OK; i++) {
        int64_t at = ((const int64_t *)rows->rows.columns[0].data)[i], partition = ((const int64_t *)rows->rows.columns[1].data)[i];
        const struct leat_string *line = (const struct leat_string *)rows->rows.columns[2].data + i;
        st = leat_recorder_add(recorder, at, (uint32_t)partition, leat_string_data(line), line->length, err);
        if (!out->records) out->first_us = at;
        out->last_us = at;
        out->records++;
        out->bytes += line->length;
    }
    return st;
}

static enum leat_status write_file(struct leat_env *env, struct leat_conn *conn, const struct leat_record_options *options,
                                   struct leat_recorded_source *out, struct leat_error *err) {
    enum { SLICE = 100000 };
    struct leat_recorder *recorder;
    int64_t total = 0;
    enum leat_status st = leat_recorder_open(env, out->path, &recorder, err);
    if (st == LEAT_OK) st = leat_conn_int(conn, "SELECT count(*) FROM recorded", &total, err);
    for (int64_t n = 1; n <= total && st == LEAT_OK; n += SLICE) {
        struct leat_result rows = {0};
        char *sql = leat_asprintf("SELECT due, _partition, line FROM recorded WHERE n >= %lld AND n < %lld AND due >= %lld AND due < %lld ORDER BY n",
                                  (long long)n, (long long)(n + SLICE), (long long)options->from_us, (long long)options->to_us);
        st = leat_conn_query(conn, sql, &rows, err);
        if (st == LEAT_OK) st = write_slice(recorder, &rows, out, err);
        leat_result_deinit(&rows);
        free(sql);
    }
    if (st == LEAT_OK) st = leat_recorder_finish(recorder, err);
    leat_recorder_close(recorder);
    return st;
}

/* Did everything arrive in a tenth of the time the events span? Then it was loaded, not followed. */
static enum leat_status was_loaded(struct leat_conn *conn, const struct leat_engine *engine, size_t s, bool *out, struct leat_error *err) {
    const struct leat_source *source = &leat_engine_project(engine)->sources[s];
    struct leat_buffer sql = {0};
    int64_t loaded = 0;
    *out = false;
    if (source->event_time < 0) return LEAT_OK;
    leat_put(&sql, "SELECT CAST(coalesce(10 * (max(epoch_us(_arrival)) - min(epoch_us(_arrival))) < max(t) - min(t), false) AS BIGINT) FROM (SELECT *, epoch_us(");
    leat_put_sql_name(&sql, source->schema.fields[source->event_time].name);
    leat_put(&sql, ") AS t FROM (");
    leat_engine_archive(engine, s, &sql);
    leat_put(&sql, "))");
    enum leat_status st = leat_conn_int(conn, sql.data, &loaded, err);
    leat_buffer_deinit(&sql);
    *out = loaded;
    return st;
}

static void add_up(struct leat_record *r, const struct leat_recorded_source *source);

static enum leat_status record_source(struct leat_env *env, const struct leat_engine *engine, struct leat_conn *conn, size_t s,
                                      const struct leat_record_options *options, struct leat_record *out, struct leat_error *err) {
    const struct leat_source *source = &leat_engine_project(engine)->sources[s];
    struct leat_recorded_source *recorded = &out->sources[out->source_count++];
    *recorded = (struct leat_recorded_source){.name = leat_strdup(source->name), .path = leat_asprintf("%s/%s.recorded", out->dir, source->name),
                                              .first_us = INT64_MAX, .last_us = INT64_MIN, .by_event = options->clock == LEAT_CLOCK_EVENT};
    if (source->format != LEAT_FORMAT_JSON && source->format != LEAT_FORMAT_CSV)
        return leat_fail(err, LEAT_UNSUPPORTED, "its format cannot be written anew");
    enum leat_status st = LEAT_OK;
    if (options->clock == LEAT_CLOCK_AUTO) st = was_loaded(conn, engine, s, &recorded->by_event, err);
    if (st == LEAT_OK) st = make_table(conn, engine, s, recorded->by_event, err);
    if (st == LEAT_OK) st = write_file(env, conn, options, recorded, err);
    if (st != LEAT_OK) return leat_prepend(err, "recorded input of source \"%s\"", source->name);
    add_up(out, recorded);
    return LEAT_OK;
}

/* What the folder holds, for another process. */
static enum leat_status save(struct leat_env *env, const struct leat_record *r, struct leat_error *err) {
    json_t *sources = json_array();
    for (size_t s = 0; s < r->source_count; s++) {
        const struct leat_recorded_source *source = &r->sources[s];
        json_array_append_new(sources, json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "name", source->name, "by_event", (int)source->by_event, "records",
                                                 (json_int_t)source->records, "bytes", (json_int_t)source->bytes, "first_us",
                                                 (json_int_t)source->first_us, "last_us", (json_int_t)source->last_us));
    }
    json_t *json = json_pack("{s:s,s:o}", "lake_dir", r->lake_dir, "sources", sources);
    char *text = json_dumps(json, JSON_INDENT(1)), *path = leat_asprintf("%s/recorded.json", r->dir);
    enum leat_status st = leat_io_write_durable(env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    json_decref(json);
    return st;
}

static void add_up(struct leat_record *r, const struct leat_recorded_source *source) {
    r->records += source->records;
    r->bytes += source->bytes;
    if (source->first_us < r->first_us) r->first_us = source->first_us;
    if (source->last_us > r->last_us) r->last_us = source->last_us;
}

enum leat_status leat_record_load(struct leat_env *env, const char *dir, struct leat_record *out, struct leat_error *err) {
    enum { BYTES_MAX = 16 << 20 };
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/recorded.json", dir);
    json_error_t problem;
    *out = (struct leat_record){.first_us = INT64_MAX, .last_us = INT64_MIN};
    enum leat_status st = leat_io_read_all(env->io, path, BYTES_MAX, &text, err);
    json_t *json = st == LEAT_OK ? json_loads(text.data ? text.data : "", 0, &problem) : NULL, *sources = json_object_get(json, "sources"), *source;
    size_t i;
    if (st == LEAT_OK && !json_is_array(sources)) st = leat_fail(err, LEAT_CORRUPT, "%s: %s", path, json ? "no sources" : problem.text);
    if (st == LEAT_OK) {
        out->dir = leat_strdup(dir);
        out->lake_dir = leat_strdup(json_string_value(json_object_get(json, "lake_dir")));
        out->sources = leat_alloc((json_array_size(sources) + 1) * sizeof *out->sources);
    }
    json_array_foreach(sources, i, source) {
        const char *name = json_string_value(json_object_get(source, "name"));
        struct leat_recorded_source *to = &out->sources[out->source_count++];
        *to = (struct leat_recorded_source){.name = leat_strdup(name), .path = leat_asprintf("%s/%s.recorded", dir, name),
                                            .by_event = json_is_true(json_object_get(source, "by_event")),
                                            .records = (uint64_t)json_integer_value(json_object_get(source, "records")),
                                            .bytes = (uint64_t)json_integer_value(json_object_get(source, "bytes")),
                                            .first_us = json_integer_value(json_object_get(source, "first_us")),
                                            .last_us = json_integer_value(json_object_get(source, "last_us"))};
        add_up(out, to);
    }
    json_decref(json);
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

enum leat_status leat_record_make(struct leat_env *env, const struct leat_engine *engine, const struct leat_record_options *options,
                                  struct leat_record *out, struct leat_error *err) {
    const struct leat_project *project = leat_engine_project(engine);
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    *out = (struct leat_record){.dir = leat_strdup(options->dir), .lake_dir = leat_strdup(leat_engine_lake_dir(engine)), .first_us = INT64_MAX,
                                .last_us = INT64_MIN};
    out->sources = leat_alloc((project->source_count + 1) * sizeof *out->sources);
    char *spill = leat_asprintf("%s/spill", options->dir);
    const struct leat_duck_options batch = {.use = LEAT_DUCK_BATCH, .threads = 2, .temp_dir = spill, .memory_limit_bytes = (uint64_t)1 << 30};
    enum leat_status st = leat_io_remove_tree(env->io, options->dir, err);
    if (st == LEAT_OK) st = leat_io_mkdirs(env->io, spill, err);
    if (st == LEAT_OK) st = leat_duck_open(&batch, &duck, err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, err);
    for (size_t s = 0; s < project->source_count && st == LEAT_OK; s++)
        if (!project->sources[s].reference) st = record_source(env, engine, conn, s, options, out, err);
    if (st == LEAT_OK) st = save(env, out, err);
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    struct leat_error ignored;
    if (leat_io_remove_tree(env->io, spill, &ignored) != LEAT_OK) leat_log(env, LEAT_LOG_WARN, "%s", ignored.text);
    free(spill);
    if (st != LEAT_OK) leat_record_deinit(out);
    return st;
}

void leat_record_deinit(struct leat_record *r) {
    for (size_t s = 0; s < r->source_count; s++) {
        free(r->sources[s].name);
        free(r->sources[s].path);
    }
    free(r->sources);
    free(r->dir);
    free(r->lake_dir);
    *r = (struct leat_record){0};
}

const struct leat_recorded_source *leat_record_find(const struct leat_record *r, const char *source) {
    for (size_t s = 0; s < r->source_count; s++)
        if (strcasecmp(r->sources[s].name, source) == 0) return &r->sources[s];
    return NULL;
}
