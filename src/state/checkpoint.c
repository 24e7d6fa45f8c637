/* Writing checkpoints. See checkpoint.h for the format; checkpoint_load.c reads it. */
#include "state/checkpoint_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/parquet.h"
#include "state/row.h"

enum { FILE_ROWS = 1 << 19, FORMAT = 1, MAX_FILES = 64 };
static const char *const input_name = "leat_checkpoint";

/* ---- shared with loading */

char *leat_checkpoint_path(const char *dir, const char *name) {
    return leat_asprintf("%s/%s", dir, name);
}

/* Types that DuckDB's Parquet writer would change. */
bool leat_checkpoint_as_text(struct leat_type t) {
    return t.kind == LEAT_HUGEINT || t.kind == LEAT_UHUGEINT || t.kind == LEAT_INTERVAL;
}

static bool is_number(const char *name, uint64_t *out) {
    char *end;
    if (*name < '1' || *name > '9') return false;
    *out = strtoull(name, &end, 10);
    return !*end;
}

enum leat_status leat_checkpoint_newest(struct leat_env *env, const char *dir, uint64_t *number, json_t **manifest,
                                        struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    *number = 0;
    *manifest = NULL;
    enum leat_status status = leat_io_list_sorted(env->io, dir, &names, &count, err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) {
        uint64_t n;
        if (!is_number(names[i], &n) || n <= *number) continue;
        char *path = leat_asprintf("%s/%s/manifest.json", dir, names[i]);
        if (leat_io_exists(env->io, path)) *number = n;
        free(path);
    }
    leat_names_free(names, count);
    if (!*number) return leat_fail(err, LEAT_NOT_FOUND, "%s holds no checkpoint", dir);
    struct leat_buffer text = {0};
    json_error_t why;
    char *path = leat_asprintf("%s/%llu/manifest.json", dir, (unsigned long long)*number);
    status = leat_io_read_all(env->io, path, LEAT_CHECKPOINT_MANIFEST_BYTES_MAX, &text, err);
    if (status == LEAT_OK) {
        *manifest = json_loadb(text.data ? text.data : "", text.length, 0, &why);
        if (!*manifest || !json_is_object(*manifest)) {
            status = leat_fail(err, LEAT_CORRUPT, "%s is not a checkpoint manifest: %s", path,
                               *manifest ? "no object" : why.text);
            json_decref(*manifest);
            *manifest = NULL;
        }
    }
    leat_buffer_deinit(&text);
    free(path);
    return status;
}

json_t *leat_checkpoint_find_node(const json_t *manifest, const struct leat_checkpoint_node *node) {
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(manifest, "nodes"), i, entry) {
        const char *signature = json_string_value(json_object_get(entry, "signature"));
        if (signature && !strcmp(signature, node->signature)) return entry;
    }
    return NULL;
}

static json_t *columns_json(const struct leat_schema *schema) {
    json_t *columns = json_array();
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        json_array_append_new(columns, json_pack("[s,s]", schema->fields[i].name, type));
    }
    return columns;
}

/* The same types; names say only where a column came from, and where operators are shared that depends on who came first. */
static bool same_columns(const json_t *saved, const json_t *now, bool named) {
    bool same = json_array_size(saved) == json_array_size(now);
    for (size_t i = 0; same && i < json_array_size(now); i++)
        for (size_t of = named ? 0 : 1; same && of < 2; of++) same = json_equal(json_array_get(json_array_get(saved, i), of), json_array_get(json_array_get(now, i), of));
    return same;
}

bool leat_checkpoint_same_parts(const json_t *entry, const struct leat_checkpoint_node *node, bool named) {
    const json_t *parts = json_object_get(entry, "parts");
    bool same = json_array_size(parts) == node->ops->parts(node->node);
    for (size_t p = 0; same && p < json_array_size(parts); p++) {
        json_t *columns = columns_json(node->ops->schema(node->node, p));
        same = same_columns(json_object_get(json_array_get(parts, p), "columns"), columns, named);
        json_decref(columns);
    }
    return same;
}

/* The column's name in the files: computed columns may share one, there they must not (case is ignored). malloc'd. */
static char *file_column(const struct leat_schema *schema, size_t column) {
    const char *name = schema->fields[column].name;
    bool again = !*name;
    for (size_t i = 0; i < column && !again; i++)
        again = !strcasecmp(schema->fields[i].name, name);
    return again ? leat_asprintf("%s#%zu", name, column + 1) : leat_strdup(name);
}

static void put_name(struct leat_buffer *sql, const struct leat_schema *schema, size_t column) {
    char *name = file_column(schema, column);
    leat_put_sql_name(sql, name);
    free(name);
}

/* ---- saving */

struct writer {
    struct leat_env *env;
    struct leat_conn *conn;
    const char *dir;
    char *scratch; /* <dir>/scratch */
    uint64_t number;
    size_t node, part, file;
    struct leat_error *err;
};

static void put_copy(struct leat_buffer *sql, const struct leat_schema *schema, bool few_rows, const char *path) {
    leat_put(sql, "COPY (SELECT ");
    for (size_t i = 0; i < schema->field_count; i++) {
        leat_putf(sql, leat_checkpoint_as_text(schema->fields[i].type) ? "%sCAST(c%zu AS VARCHAR) AS " : "%sc%zu AS ",
                  i ? ", " : "", i);
        put_name(sql, schema, i);
    }
    leat_put(sql, " FROM leat_input(");
    leat_put_sql_string(sql, input_name);
    leat_put(sql, ")) TO ");
    leat_put_sql_string(sql, path);
    leat_put(sql, " (");
    leat_put_parquet_options(schema, few_rows, sql);
    leat_put(sql, ")");
}

static enum leat_status copy_rows(struct writer *w, const struct leat_changes *all, size_t first, size_t count, const char *path) {
    struct leat_buffer sql = {0};
    struct leat_changes some;
    leat_changes_init(&some, all->schema);
    if (count < all->row_count) leat_changes_append_range(&some, all, first, count);
    const struct leat_changes *rows = count < all->row_count ? &some : all;
    char *scratch = leat_asprintf("%s/part.parquet", w->scratch);
    put_copy(&sql, rows->schema, count <= LEAT_FEW_ROWS, scratch);
    enum leat_status status = leat_conn_input(w->conn, input_name, rows->schema, false, w->err);
    leat_conn_bind(w->conn, input_name, rows);
    if (status == LEAT_OK) status = leat_conn_exec(w->conn, sql.data, w->err);
    leat_conn_bind(w->conn, input_name, NULL);
    if (status == LEAT_OK) status = w->env->io->ops->adopt(w->env->io, scratch, path, w->err);
    leat_changes_deinit(&some);
    leat_buffer_deinit(&sql);
    free(scratch);
    return status;
}

/* false: what their types are takes DuckDB. */
static bool encode(const struct leat_changes *all, size_t first, size_t count, struct leat_buffer *out) {
    const struct leat_schema *schema = all->schema;
    const struct leat_parquet_rows rows = {all, 1, first, count};
    enum leat_parquet_form form = count <= LEAT_FEW_ROWS ? LEAT_PARQUET_PLAIN : LEAT_PARQUET_COMPACT;
    char **names = leat_alloc((schema->field_count + 1) * sizeof *names);
    for (size_t i = 0; i < schema->field_count; i++)
        names[i] = file_column(schema, i);
    bool done = leat_parquet_write(schema, (const char *const *)names, &rows, form, LEAT_PARQUET_GROUP_ROWS, NULL, out);
    leat_names_free(names, schema->field_count);
    return done;
}

/* Writes one file with rows [first, first + count) of the batch and lists it in `files`. */
static enum leat_status write_file(struct writer *w, const struct leat_changes *all, size_t first, size_t count, const char *kind, json_t *files) {
    struct leat_buffer bytes = {0};
    struct leat_stat stat;
    char *name = leat_asprintf("%llu/%zu-%zu-%zu.parquet", (unsigned long long)w->number, w->node, w->part, w->file++);
    char *path = leat_checkpoint_path(w->dir, name);
    enum leat_status status = encode(all, first, count, &bytes)
                                  ? leat_io_write_durable(w->env->io, path, bytes.data, bytes.length, false, w->err)
                                  : copy_rows(w, all, first, count, path);
    if (status == LEAT_OK) status = w->env->io->ops->stat(w->env->io, path, &stat, w->err);
    if (status == LEAT_OK)
        json_array_append_new(files, json_pack("{s:s,s:I,s:I,s:s}", "path", name, "rows", (json_int_t)count,
                                               "bytes", (json_int_t)stat.size_bytes, "kind", kind));
    leat_buffer_deinit(&bytes);
    free(name);
    free(path);
    return status;
}

/* The rows that say "gone" come first; they get a file of their own. */
static enum leat_status write_rows(struct writer *w, const struct leat_changes *rows, bool increment, json_t *files) {
    size_t gone = 0;
    enum leat_status status = LEAT_OK;
    while (gone < rows->row_count && leat_weight(rows, gone) < 0)
        gone++;
    if (gone) status = write_file(w, rows, 0, gone, "gone", files);
    if (status == LEAT_OK && gone < rows->row_count)
        status = write_file(w, rows, gone, rows->row_count - gone, gone || increment ? "now" : "base", files);
    return status;
}

static enum leat_status write_part(struct writer *w, const struct leat_checkpoint_node *node, bool increment,
                                   json_t *files) {
    const struct leat_schema *schema = node->ops->schema(node->node, w->part);
    struct leat_changes rows;
    uint64_t cursor = 0;
    enum leat_status status = LEAT_OK;
    leat_changes_init(&rows, schema);
    w->file = 0;
    while (status == LEAT_OK) {
        leat_changes_reset(&rows);
        status = node->ops->save(node->node, w->part, increment, &cursor, FILE_ROWS, &rows, w->err);
        if (status == LEAT_OK) status = write_rows(w, &rows, increment, files);
    }
    leat_changes_deinit(&rows);
    return status == LEAT_END ? LEAT_OK : status;
}

/* How many rows an increment of this part would have; stops counting beyond `most`. */
static enum leat_status count_dirty(const struct leat_checkpoint_node *node, size_t part, uint64_t most,
                                    uint64_t *count, struct leat_error *err) {
    struct leat_changes rows;
    uint64_t cursor = 0;
    enum leat_status status = LEAT_OK;
    leat_changes_init(&rows, node->ops->schema(node->node, part));
    for (*count = 0; status == LEAT_OK && *count <= most; *count += rows.row_count) {
        leat_changes_reset(&rows);
        status = node->ops->save(node->node, part, true, &cursor, 4096, &rows, err);
    }
    leat_changes_deinit(&rows);
    return status == LEAT_END ? LEAT_OK : status;
}

/* May all parts of the node be written as increments on what the last checkpoint has of it, and is that worth it? */
static enum leat_status choose_increment(const struct leat_checkpoint_node *node, uint64_t number, const json_t *last,
                                         bool *increment, struct leat_error *err) {
    uint64_t live = 0, stored = 0, dirty = 0;
    size_t p, f;
    json_t *part, *file;
    *increment = false;
    if (!last || !*node->based_on || *node->based_on != number || !leat_checkpoint_same_parts(last, node, true))
        return LEAT_OK;
    json_array_foreach(json_object_get(last, "parts"), p, part) {
        const json_t *files = json_object_get(part, "files");
        if (json_array_size(files) >= MAX_FILES) return LEAT_OK;
        live += node->ops->rows(node->node, p);
        json_array_foreach(files, f, file) stored += (uint64_t)json_integer_value(json_object_get(file, "rows"));
    }
    for (p = 0; p < node->ops->parts(node->node) && dirty <= live / 2; p++) {
        uint64_t count;
        enum leat_status status = count_dirty(node, p, live / 2 - dirty, &count, err);
        if (status) return status;
        dirty += count;
    }
    *increment = dirty <= live / 2 && stored + dirty <= live + live / 2;
    return LEAT_OK;
}

static enum leat_status write_node(struct writer *w, const struct leat_checkpoint_node *node, uint64_t last_number,
                                   const json_t *last_manifest, json_t *nodes) {
    json_t *last = leat_checkpoint_find_node(last_manifest, node), *parts = json_array();
    bool increment;
    enum leat_status status = choose_increment(node, last_number, last, &increment, w->err);
    for (w->part = 0; status == LEAT_OK && w->part < node->ops->parts(node->node); w->part++) {
        json_t *files = json_array();
        if (increment)
            json_array_extend(files, json_object_get(json_array_get(json_object_get(last, "parts"), w->part), "files"));
        status = write_part(w, node, increment, files);
        json_array_append_new(parts, json_pack("{s:o,s:o}", "columns",
                                               columns_json(node->ops->schema(node->node, w->part)), "files", files));
    }
    json_array_append_new(nodes, json_pack("{s:s,s:o}", "signature", node->signature, "parts", parts));
    return status;
}

static bool refers_to(const json_t *manifest, const char *path) {
    size_t i, j, k;
    json_t *node, *part, *file;
    json_array_foreach(json_object_get(manifest, "nodes"), i, node)
        json_array_foreach(json_object_get(node, "parts"), j, part)
            json_array_foreach(json_object_get(part, "files"), k, file) {
        const char *have = json_string_value(json_object_get(file, "path"));
        if (have && !strcmp(have, path)) return true;
    }
    return false;
}

/* Removes every file the manifest (of checkpoint `number`) does not need, the older manifests first. Failures only cost
 * space: what stays is tried again after the next checkpoint. */
static void remove_old(struct leat_env *env, const char *dir, uint64_t number, const json_t *manifest) {
    char **names = NULL, **files = NULL;
    size_t count = 0, file_count;
    struct leat_error ignored;
    if (leat_io_list_sorted(env->io, dir, &names, &count, &ignored)) return;
    for (size_t i = 0; i < count; i++) {
        uint64_t n;
        if (!is_number(names[i], &n) || n == number) continue;
        char *folder = leat_checkpoint_path(dir, names[i]);
        char *old = leat_checkpoint_path(folder, "manifest.json");
        bool needed = false;
        file_count = 0;
        if (leat_io_remove_tree(env->io, old, &ignored) == LEAT_OK &&
            leat_io_list_sorted(env->io, folder, &files, &file_count, &ignored) == LEAT_OK) {
            for (size_t f = 0; f < file_count; f++) {
                char *relative = leat_asprintf("%s/%s", names[i], files[f]),
                     *path = leat_checkpoint_path(dir, relative);
                if (refers_to(manifest, relative))
                    needed = true;
                else if (leat_io_remove_tree(env->io, path, &ignored))
                    needed = true;
                free(relative);
                free(path);
            }
            leat_names_free(files, file_count);
            if (!needed && leat_io_remove_tree(env->io, folder, &ignored)) needed = true;
        }
        free(old);
        free(folder);
    }
    leat_names_free(names, count);
}

/* The first number no folder has, so that a crash's leftovers are never taken for this checkpoint's. */
static enum leat_status next_number(struct leat_env *env, const char *dir, uint64_t *number, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    *number = 1;
    enum leat_status status = leat_io_list_sorted(env->io, dir, &names, &count, err);
    for (size_t i = 0; i < count; i++) {
        uint64_t n;
        if (is_number(names[i], &n) && n >= *number) *number = n + 1;
    }
    leat_names_free(names, count);
    return status;
}

static enum leat_status write_manifest(struct writer *w, json_t *manifest) {
    char *text = json_dumps(manifest, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    char *path = leat_asprintf("%s/%llu/manifest.json", w->dir, (unsigned long long)w->number);
    enum leat_status status = leat_io_write_durable(w->env->io, path, text, strlen(text), false, w->err);
    free(text);
    free(path);
    return status;
}

enum leat_status leat_checkpoint_save(struct leat_env *env, struct leat_conn *batch, const char *dir, uint64_t step,
                                      const char *engine_json, const struct leat_checkpoint_node *nodes,
                                      size_t node_count, struct leat_error *err) {
    struct writer w = {
        .env = env, .conn = batch, .dir = dir, .err = err, .scratch = leat_checkpoint_path(dir, "scratch")};
    json_t *last = NULL, *list = json_array(), *engine = json_loads(engine_json, 0, NULL), *manifest = NULL;
    uint64_t last_number;
    char *folder = NULL;
    enum leat_status status = LEAT_OK;
    if (!json_is_object(engine)) {
        status = leat_fail(err, LEAT_INVALID, "a checkpoint needs a JSON object from the engine");
        goto out;
    }
    if ((status = leat_io_remove_tree(env->io, w.scratch, err)) || (status = leat_io_mkdirs(env->io, w.scratch, err)))
        goto out;
    status = leat_checkpoint_newest(env, dir, &last_number, &last, err);
    if (status && status != LEAT_NOT_FOUND && status != LEAT_CORRUPT)
        goto out; /* without a usable one all is written whole */
    if ((status = next_number(env, dir, &w.number, err))) goto out;
    folder = leat_asprintf("%s/%llu", dir, (unsigned long long)w.number);
    if ((status = leat_io_mkdirs(env->io, folder, err))) goto out;
    for (w.node = 0; w.node < node_count && status == LEAT_OK; w.node++)
        status = write_node(&w, &nodes[w.node], last_number, last, list);
    if (status) goto out;
    manifest = json_pack("{s:i,s:s,s:s,s:I,s:O,s:O}", "format", FORMAT, "leat", LEAT_VERSION, "duckdb",
                         leat_duck_version(), "step", (json_int_t)step, "engine", engine, "nodes", list);
    if ((status = write_manifest(&w, manifest))) goto out;
    for (size_t i = 0; i < node_count; i++) {
        nodes[i].ops->clean(nodes[i].node);
        *nodes[i].based_on = w.number;
    }
    remove_old(env, dir, w.number, manifest);
out:
    if (status && status != LEAT_OK) leat_prepend(err, "checkpoint in %s", dir);
    json_decref(last);
    json_decref(list);
    json_decref(engine);
    json_decref(manifest);
    free(folder);
    free(w.scratch);
    return status;
}

enum leat_status leat_checkpoint_forget(struct leat_env *env, const char *dir, struct leat_error *err) {
    return leat_io_remove_tree(env->io, dir, err);
}
