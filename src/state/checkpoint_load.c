/* Reading checkpoints. See checkpoint.h for the format. */
#include "state/checkpoint_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- what the manifest says, checked before anything is loaded */

static enum leat_status check_file(struct leat_env *env, const char *dir, const json_t *file, struct leat_error *err) {
    const char *name = json_string_value(json_object_get(file, "path")),
               *kind = json_string_value(json_object_get(file, "kind"));
    struct leat_stat stat;
    if (!name || !kind || strstr(name, "..") || *name == '/')
        return leat_fail(err, LEAT_CORRUPT, "checkpoint manifest in %s: a file without a proper path and kind", dir);
    char *path = leat_checkpoint_path(dir, name);
    enum leat_status status = env->io->ops->stat(env->io, path, &stat, err);
    if (status == LEAT_NOT_FOUND) status = leat_fail(err, LEAT_CORRUPT, "%s is missing, the checkpoint needs it", path);
    if (status == LEAT_OK && (json_int_t)stat.size_bytes != json_integer_value(json_object_get(file, "bytes")))
        status = leat_fail(err, LEAT_CORRUPT, "%s has %llu bytes, its checkpoint says %lld", path,
                           (unsigned long long)stat.size_bytes,
                           (long long)json_integer_value(json_object_get(file, "bytes")));
    free(path);
    return status;
}

static enum leat_status check_files(struct leat_env *env, const char *dir, const json_t *entry,
                                    struct leat_error *err) {
    size_t p, f;
    json_t *part, *file;
    json_array_foreach(json_object_get(entry, "parts"), p, part)
        json_array_foreach(json_object_get(part, "files"), f, file) {
        enum leat_status status = check_file(env, dir, file, err);
        if (status) return status;
    }
    return LEAT_OK;
}

static enum leat_status check_usable(struct leat_env *env, const char *dir, const json_t *manifest,
                                     const struct leat_checkpoint_node *nodes, size_t node_count,
                                     struct leat_error *err) {
    if (json_integer_value(json_object_get(manifest, "format")) != 1)
        return leat_fail(err, LEAT_NOT_FOUND, "the checkpoint in %s has another format", dir);
    for (size_t i = 0; i < node_count; i++) {
        json_t *entry = leat_checkpoint_find_node(manifest, &nodes[i]);
        if (!entry && nodes[i].optional) continue;
        if (!entry)
            return leat_fail(err, LEAT_NOT_FOUND, "the checkpoint in %s has no operator like \"%.200s\"", dir,
                             nodes[i].signature);
        if (!leat_checkpoint_same_parts(entry, &nodes[i], false))
            return leat_fail(err, LEAT_NOT_FOUND, "the checkpoint in %s keeps the state of \"%.200s\" in other columns",
                             dir, nodes[i].signature);
    }
    for (size_t i = 0; i < node_count; i++) {
        enum leat_status status = check_files(env, dir, leat_checkpoint_find_node(manifest, &nodes[i]), err);
        if (status) return status;
    }
    return LEAT_OK;
}

/* ---- loading */

/* By position: the file's columns may have other names. */
static void put_read(struct leat_buffer *sql, const struct leat_schema *schema, const char *path) {
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        leat_putf(sql, "%sCAST(c%zu AS %s)", i ? ", " : "", i, type);
    }
    leat_put(sql, " FROM read_parquet(");
    leat_put_sql_string(sql, path);
    leat_put(sql, ") t(");
    for (size_t i = 0; i < schema->field_count; i++) leat_putf(sql, "%sc%zu", i ? ", " : "", i);
    leat_put(sql, ")");
}

static enum leat_status load_file(struct leat_conn *conn, const char *dir, const struct leat_checkpoint_node *node,
                                  size_t part, const json_t *file, struct leat_error *err) {
    const char *kind = json_string_value(json_object_get(file, "kind"));
    char *path = leat_checkpoint_path(dir, json_string_value(json_object_get(file, "path")));
    struct leat_changes rows;
    struct leat_buffer sql = {0};
    struct leat_stage *stage = NULL;
    put_read(&sql, node->ops->schema(node->node, part), path);
    leat_changes_init(&rows, node->ops->schema(node->node, part));
    leat_changes_reserve(&rows, (size_t)json_integer_value(json_object_get(file, "rows")));
    enum leat_status status = leat_stage_prepare(conn, sql.data, &stage, err);
    if (status == LEAT_OK) status = leat_stage_run(stage, &rows, NULL, err);
    if (status == LEAT_OK && (json_int_t)rows.row_count != json_integer_value(json_object_get(file, "rows")))
        status = leat_fail(err, LEAT_CORRUPT, "%s holds %zu rows, its checkpoint says %lld", path, rows.row_count,
                           (long long)json_integer_value(json_object_get(file, "rows")));
    if (status == LEAT_OK && !strcmp(kind, "gone")) {
        leat_changes_need_weights(&rows);
        for (size_t i = 0; i < rows.row_count; i++)
            rows.weights[i] = -1;
    }
    if (status == LEAT_OK) status = node->ops->load(node->node, part, &rows, err);
    leat_stage_free(stage);
    leat_changes_deinit(&rows);
    leat_buffer_deinit(&sql);
    free(path);
    return status;
}

static enum leat_status load_node(struct leat_conn *conn, const char *dir, const struct leat_checkpoint_node *node,
                                  const json_t *entry, struct leat_error *err) {
    size_t p, f;
    json_t *part, *file;
    json_array_foreach(json_object_get(entry, "parts"), p, part) {
        uint64_t rows = 0;
        json_array_foreach(json_object_get(part, "files"), f, file) {
            const char *kind = json_string_value(json_object_get(file, "kind"));
            if (!strcmp(kind, "base")) rows += (uint64_t)json_integer_value(json_object_get(file, "rows"));
        }
        node->ops->load_hint(node->node, p, rows);
        json_array_foreach(json_object_get(part, "files"), f, file) {
            enum leat_status status = load_file(conn, dir, node, p, file, err);
            if (status) return status;
        }
    }
    return LEAT_OK;
}

static void give(const json_t *manifest, uint64_t *step, char **engine_json) {
    if (step) *step = (uint64_t)json_integer_value(json_object_get(manifest, "step"));
    if (engine_json) *engine_json = json_dumps(json_object_get(manifest, "engine"), JSON_COMPACT | JSON_PRESERVE_ORDER);
}

enum leat_status leat_checkpoint_peek(struct leat_env *env, const char *dir, uint64_t *step, char **engine_json,
                                      struct leat_error *err) {
    json_t *manifest;
    uint64_t number;
    if (engine_json) *engine_json = NULL;
    enum leat_status status = leat_checkpoint_newest(env, dir, &number, &manifest, err);
    if (status == LEAT_OK) give(manifest, step, engine_json);
    json_decref(manifest);
    return status;
}

enum leat_status leat_checkpoint_load(struct leat_env *env, struct leat_conn *batch, const char *dir, uint64_t *step,
                                      char **engine_json, const struct leat_checkpoint_node *nodes, size_t node_count,
                                      struct leat_error *err) {
    json_t *manifest;
    uint64_t number;
    if (engine_json) *engine_json = NULL;
    enum leat_status status = leat_checkpoint_newest(env, dir, &number, &manifest, err);
    if (status == LEAT_OK) status = check_usable(env, dir, manifest, nodes, node_count, err);
    for (size_t i = 0; i < node_count && status == LEAT_OK; i++) {
        const json_t *entry = leat_checkpoint_find_node(manifest, &nodes[i]);
        if (!entry) continue;
        status = load_node(batch, dir, &nodes[i], entry, err);
        if (status == LEAT_OK) *nodes[i].based_on = number;
    }
    if (status == LEAT_OK) give(manifest, step, engine_json);
    json_decref(manifest);
    return status;
}
