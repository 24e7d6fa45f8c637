/* Versions of tables that are kept under names of their own: lake/pins/NAME, a Delta table and _pin.json, what made it. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <xxhash.h>

#include "engine/internal.h"
#include "engine/care/care.h"

enum { NAME_MAX_BYTES = 128, MANIFEST_MAX_BYTES = 16 << 20 };

static void mark_views(const struct leat_project *project, const struct leat_object_ref *inputs, size_t count, bool *views) {
    for (size_t i = 0; i < count; i++) {
        if (inputs[i].kind != LEAT_OBJECT_VIEW || views[inputs[i].index]) continue;
        views[inputs[i].index] = true;
        mark_views(project, project->views[inputs[i].index].inputs, project->views[inputs[i].index].input_count, views);
    }
}

/* all_views: also those that it does not read, as in older frontiers. */
static json_t *query_id(const struct leat_engine *engine, const struct leat_gtable *table, bool all_views) {
    const struct leat_project *project = engine->project;
    bool *views = leat_alloc(project->view_count + 1);
    struct leat_buffer text = {0};
    char id[17];
    mark_views(project, table->def->inputs, table->def->input_count, views);
    leat_putf(&text, "%s;%s;", table->plan->completed_sql, leat_setting_text(project, "time_zone"));
    for (size_t v = 0; v < project->view_count; v++)
        if (all_views || views[v]) leat_putf(&text, "%s=%s;", project->views[v].name, engine->view_sql[v]);
    snprintf(id, sizeof id, "%016llx", (unsigned long long)XXH3_64bits(text.data, text.length));
    leat_buffer_deinit(&text);
    free(views);
    return json_string(id);
}

json_t *leat_table_query_id(const struct leat_engine *engine, const struct leat_gtable *table) {
    return query_id(engine, table, false);
}

bool leat_table_query_is(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *id) {
    json_t *now = query_id(engine, table, false), *with_all = query_id(engine, table, true);
    bool same = json_equal(id, now) || json_equal(id, with_all);
    json_decref(now);
    json_decref(with_all);
    return same;
}

static char *pins_dir(const struct leat_engine *engine) {
    return leat_asprintf("%s/pins", engine->lake_dir);
}

static char *pin_dir(const struct leat_engine *engine, const char *name) {
    return leat_asprintf("%s/pins/%s", engine->lake_dir, name);
}

/* It becomes a folder and a name in SQL. */
static enum leat_status check_name(const struct leat_engine *engine, const char *name, struct leat_error *err) {
    struct leat_object_ref ref;
    bool plain = isalpha((unsigned char)*name) && strlen(name) <= NAME_MAX_BYTES;
    for (const char *p = name; *p; p++)
        plain = plain && (isalnum((unsigned char)*p) || *p == '_');
    if (!plain)
        return leat_fail(err, LEAT_INVALID, "'%s' is no name for a pin: use letters, digits and _, a letter first", name);
    if (leat_project_find(engine->project, name, &ref) || strstr(name, "__"))
        return leat_fail(err, LEAT_INVALID, "'%s' is the name of something in the project; give the pin another one: AS name", name);
    return LEAT_OK;
}

/* The SQL, if it is still what made this version; the views are part of it. */
static void put_sql(const struct leat_engine *engine, const struct leat_gtable *table, const json_t *frontier, json_t *manifest) {
    const json_t *made_by = json_object_get(frontier, "query");
    json_t *views = json_object();
    if (made_by && leat_table_query_is(engine, table, made_by)) {
        for (size_t v = 0; v < engine->project->view_count; v++)
            json_object_set_new(views, engine->project->views[v].name, json_string(engine->view_sql[v]));
        json_object_set_new(manifest, "sql", json_string(table->def->sql));
        json_object_set_new(manifest, "completed_sql", json_string(table->plan->completed_sql));
        json_object_set(manifest, "views", views);
    } else {
        json_object_set_new(manifest, "sql", json_null());
        json_object_set_new(manifest, "note", json_string("the SQL of the project is no longer the one that wrote this version"));
    }
    json_decref(views);
}

static json_t *make_manifest(struct leat_engine *engine, const struct leat_pin_options *pin, const struct leat_delta_snapshot *then) {
    const struct leat_gtable *table = &engine->tables[pin->table];
    int64_t rows = 0, bytes = 0;
    for (size_t i = 0; i < then->file_count; i++) {
        rows += then->files[i].row_count > 0 ? then->files[i].row_count : 0;
        bytes += (int64_t)then->files[i].size_bytes;
    }
    json_t *frontier = then->frontier_json ? json_loads(then->frontier_json, 0, NULL) : NULL;
    json_t *manifest = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:s}", "pin", pin->name, "table", table->def->name, "version",
                                 (json_int_t)then->version, "committed_us", (json_int_t)then->commit_timestamp_ms * 1000, "pinned_us",
                                 (json_int_t)leat_engine_now(engine), "rows", (json_int_t)rows, "bytes", (json_int_t)bytes, "leat",
                                 LEAT_VERSION, "duckdb", leat_duck_version());
    json_object_set_new(manifest, "seed", pin->seed ? json_string(pin->seed) : json_null());
    put_sql(engine, table, frontier, manifest);
    json_object_set_new(manifest, "inputs", frontier ? frontier : json_null());
    return manifest;
}

/* The manifest goes last and makes it a pin: what an interrupted attempt left has none. */
static enum leat_status write_pin(struct leat_engine *engine, const char *table_dir, const char *dir, const struct leat_pin_options *pin,
                                  int64_t version, const char *manifest, struct leat_error *err) {
    char *path = leat_asprintf("%s/_pin.json", dir);
    enum leat_status st = LEAT_OK;
    if (leat_io_exists(engine->env->io, path))
        st = leat_fail(err, LEAT_EXISTS, "there is a pin '%s' already; choose another name: AS name", pin->name);
    if (st == LEAT_OK) st = leat_io_remove_tree(engine->env->io, dir, err);
    if (st == LEAT_OK) st = leat_delta_pin(engine->env, engine->batch_conn, table_dir, version, dir, pin->name, err);
    if (st == LEAT_OK) st = leat_io_write_durable(engine->env->io, path, manifest, strlen(manifest), true, err);
    free(path);
    return st;
}

enum leat_status leat_engine_pin(struct leat_engine *engine, const struct leat_pin_options *pin, struct leat_buffer *out,
                                 struct leat_error *err) {
    struct leat_delta_snapshot then;
    enum leat_status st = check_name(engine, pin->name, err);
    if (st != LEAT_OK) return st;
    const char *table = engine->tables[pin->table].def->name;
    char *table_dir = leat_asprintf("%s/%s", engine->lake_dir, table), *dir = pin_dir(engine, pin->name);
    st = leat_delta_snapshot(engine->env, engine->batch_conn, table_dir, pin->version, &then, err);
    if (st == LEAT_OK && then.version < 0)
        st = leat_fail(err, LEAT_NOT_FOUND, "table \"%s\" has no version yet; 'leat run --once --all' makes one", table);
    if (st == LEAT_OK) {
        json_t *manifest = make_manifest(engine, pin, &then);
        char *text = json_dumps(manifest, JSON_INDENT(1));
        st = write_pin(engine, table_dir, dir, pin, then.version, text, err);
        leat_put(out, text);
        free(text);
        json_decref(manifest);
    }
    leat_delta_snapshot_deinit(&then);
    free(table_dir);
    free(dir);
    return st;
}

static enum leat_status for_each_pin(struct leat_engine *engine, enum leat_status (*visit)(struct leat_engine *, const char *, void *, struct leat_error *),
                                     void *context, struct leat_error *err) {
    char *dir = pins_dir(engine), **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(engine->env->io, dir, &names, &count, err);
    for (size_t i = 0; st == LEAT_OK && i < count; i++) {
        char *path = leat_asprintf("%s/%s/_pin.json", dir, names[i]);
        if (leat_io_exists(engine->env->io, path)) st = visit(engine, names[i], context, err);
        free(path);
    }
    leat_names_free(names, count);
    free(dir);
    return st;
}

static enum leat_status add_manifest(struct leat_engine *engine, const char *name, void *all, struct leat_error *err) {
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/pins/%s/_pin.json", engine->lake_dir, name);
    enum leat_status st = leat_io_read_all(engine->env->io, path, MANIFEST_MAX_BYTES, &text, err);
    json_t *manifest = st == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (st == LEAT_OK && !manifest) st = leat_fail(err, LEAT_CORRUPT, "%s is not JSON", path);
    if (manifest) json_array_append_new(all, manifest);
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

enum leat_status leat_engine_pins(struct leat_engine *engine, struct leat_buffer *out, struct leat_error *err) {
    json_t *all = json_array();
    enum leat_status st = for_each_pin(engine, add_manifest, all, err);
    char *text = json_dumps(all, JSON_INDENT(1));
    if (st == LEAT_OK) leat_put(out, text);
    free(text);
    json_decref(all);
    return st;
}

struct put {
    enum leat_status (*call)(void *, size_t, const char *, const char *, struct leat_error *);
    void *context;
};

static enum leat_status put_text(struct leat_engine *engine, const char *name, void *context, struct leat_error *err) {
    const struct put *put = context;
    struct leat_object_ref ref;
    struct leat_delta_snapshot pin;
    if (leat_project_find(engine->project, name, &ref)) return LEAT_OK; /* came into the project later */
    char *dir = pin_dir(engine, name);
    enum leat_status st = leat_delta_snapshot(engine->env, engine->batch_conn, dir, -1, &pin, err);
    if (st == LEAT_OK && pin.version >= 0) {
        struct leat_buffer sql = {0};
        leat_delta_select(dir, &pin, NULL, NULL, &sql);
        st = put->call(put->context, 0, name, sql.data, err);
        leat_buffer_deinit(&sql);
    }
    leat_delta_snapshot_deinit(&pin);
    free(dir);
    return st;
}

enum leat_status leat_pin_texts(struct leat_engine *engine, enum leat_status (*call)(void *, size_t, const char *, const char *, struct leat_error *),
                                void *context, struct leat_error *err) {
    struct put put = {call, context};
    return for_each_pin(engine, put_text, &put, err);
}

enum leat_status leat_engine_unpin(struct leat_engine *engine, const char *name, struct leat_error *err) {
    enum leat_status st = check_name(engine, name, err);
    if (st != LEAT_OK) return st;
    char *dir = pin_dir(engine, name), *manifest = leat_asprintf("%s/_pin.json", dir);
    if (!leat_io_exists(engine->env->io, manifest)) st = leat_fail(err, LEAT_NOT_FOUND, "there is no pin '%s'; 'leat pin' lists them", name);
    if (st == LEAT_OK) st = engine->env->io->ops->unlink(engine->env->io, manifest, err); /* from here on it is not one */
    if (st == LEAT_OK) st = leat_io_remove_tree(engine->env->io, dir, err);
    free(manifest);
    free(dir);
    return st;
}
