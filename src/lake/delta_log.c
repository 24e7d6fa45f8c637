/* Finding and replaying a table's log.
 *
 * The newest state starts from the checkpoint that _last_checkpoint names, or, where that is missing or damaged,
 * from the newest complete checkpoint found by listing, or from commit 0; then the commits follow without a gap.
 * With a trusted _last_checkpoint the directory is not listed: later commits are probed one by one, and some names
 * past the first missing one, so that a lost commit is noticed. A checkpoint that cannot be read is skipped for an
 * older one.
 * Source: Delta PROTOCOL.md, "Delta Log Entries", "Checkpoints", "Last Checkpoint File". */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_AHEAD 16      /* names probed past the end of the log for a gap */
#define FRONTIER_SEARCH 64 /* commits before a checkpoint looked at for a frontier */
#define PARTS_MAX 100000

char *leat_delta_commit_path(const char *table_dir, int64_t version) {
    return leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/%020" PRId64 ".json", table_dir, version);
}

/* Applies the lines of one commit. only_info: nothing but the commitInfo. */
static enum leat_status apply_lines(struct leat_delta_state *state, const char *data, size_t length, bool only_info,
                                    char **commit_id_out, struct leat_error *err) {
    const char *end = data + length;
    for (const char *line = data; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = newline ? (size_t)(newline - line) : (size_t)(end - line);
        const char *next = line + n + 1;
        while (n && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
            n--;
        if (n) {
            struct leat_delta_action action;
            enum leat_status status = leat_delta_action_parse(line, n, &action, err);
            if (status == LEAT_OK) {
                if (action.kind == LEAT_DELTA_COMMIT_INFO && commit_id_out && !*commit_id_out) {
                    *commit_id_out = action.commit_id;
                    action.commit_id = NULL;
                }
                if (!only_info || action.kind == LEAT_DELTA_COMMIT_INFO) leat_delta_state_apply(state, &action);
            }
            leat_delta_action_deinit(&action);
            if (status != LEAT_OK) return status;
        }
        line = next;
    }
    return LEAT_OK;
}

static enum leat_status read_commit(struct leat_env *env, const char *table_dir, int64_t version,
                                    struct leat_delta_state *state, bool only_info, char **commit_id_out,
                                    struct leat_error *err) {
    struct leat_buffer text = {.max_bytes = LEAT_DELTA_COMMIT_MAX_BYTES};
    char *path = leat_delta_commit_path(table_dir, version);
    enum leat_status status = leat_io_read_all(env->io, path, LEAT_DELTA_COMMIT_MAX_BYTES - 4096, &text, err);
    if (status == LEAT_OK) {
        state->snapshot.commit_timestamp_ms = -1;
        status = apply_lines(state, text.data, text.length, only_info, commit_id_out, err);
        if (status != LEAT_OK)
            status = leat_prepend(err, "%s", path);
        else {
            struct leat_stat st;
            if (state->snapshot.commit_timestamp_ms < 0 && env->io->ops->stat(env->io, path, &st, NULL) == LEAT_OK)
                state->snapshot.commit_timestamp_ms = st.modified_us / 1000;
            state->snapshot.version = version;
        }
    }
    leat_buffer_deinit(&text);
    free(path);
    return status;
}

enum leat_status leat_delta_read_commit(struct leat_env *env, const char *table_dir, int64_t version,
                                        struct leat_delta_state *state, char **commit_id_out, struct leat_error *err) {
    return read_commit(env, table_dir, version, state, false, commit_id_out, err);
}

enum leat_status leat_delta_catch_up(struct leat_env *env, const char *table_dir, struct leat_delta_state *state,
                                     struct leat_error *err) {
    enum leat_status status;
    do
        status = read_commit(env, table_dir, state->snapshot.version + 1, state, false, NULL, err);
    while (status == LEAT_OK);
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}

/* ---- what the directory holds ---- */

struct checkpoint {
    int64_t version;
    int64_t parts; /* 1: a single file */
    int64_t found; /* parts seen */
};
struct listing {
    int64_t *commits;
    size_t commit_count, commit_capacity;
    struct checkpoint *checkpoints;
    size_t checkpoint_count, checkpoint_capacity;
    bool has_v2; /* checkpoints named by a UUID */
};

static void *grown(void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return items;
    *capacity = *capacity ? *capacity * 2 : 64;
    return leat_realloc(items, *capacity * size);
}

/* Exactly `digits` digits at text; -1 when not, or too large. */
static int64_t digits_at(const char *text, int digits) {
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        if (value > (INT64_MAX - 9) / 10) return -1;
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

static void note_checkpoint(struct listing *l, int64_t version, int64_t parts) {
    for (size_t i = 0; i < l->checkpoint_count; i++)
        if (l->checkpoints[i].version == version && l->checkpoints[i].parts == parts) {
            l->checkpoints[i].found++;
            return;
        }
    l->checkpoints = grown(l->checkpoints, l->checkpoint_count, &l->checkpoint_capacity, sizeof *l->checkpoints);
    l->checkpoints[l->checkpoint_count++] = (struct checkpoint){version, parts, 1};
}

static bool visit_name(void *context, const char *name) {
    struct listing *l = context;
    if (strlen(name) < 25) return true;
    int64_t version = digits_at(name, 20);
    if (version < 0) return true;
    const char *rest = name + 20;
    if (strcmp(rest, ".json") == 0) {
        l->commits = grown(l->commits, l->commit_count, &l->commit_capacity, sizeof *l->commits);
        l->commits[l->commit_count++] = version;
    } else if (strcmp(rest, ".checkpoint.parquet") == 0) {
        note_checkpoint(l, version, 1);
    } else if (strncmp(rest, ".checkpoint.", 12) == 0) {
        rest += 12;
        int64_t part = strlen(rest) == 29 ? digits_at(rest, 10) : -1;
        int64_t parts =
            part > 0 && rest[10] == '.' && strcmp(rest + 21, ".parquet") == 0 ? digits_at(rest + 11, 10) : -1;
        if (parts > 0 && parts <= PARTS_MAX && part <= parts)
            note_checkpoint(l, version, parts);
        else
            l->has_v2 = true;
    }
    return true;
}

static int compare_versions(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static enum leat_status list_log(struct leat_env *env, const char *table_dir, struct listing *out,
                                 struct leat_error *err) {
    char *dir = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR, table_dir);
    struct leat_stat st;
    enum leat_status status = LEAT_OK;
    memset(out, 0, sizeof *out);
    if (env->io->ops->stat(env->io, dir, &st, NULL) == LEAT_OK)
        status = env->io->ops->list(env->io, dir, visit_name, out, err);
    if (out->commit_count) qsort(out->commits, out->commit_count, sizeof *out->commits, compare_versions);
    free(dir);
    return status;
}

static void listing_deinit(struct listing *l) {
    free(l->commits);
    free(l->checkpoints);
}

/* ---- checkpoints ---- */

/* Does a STRUCT(...) type text have a member of this name at its top level? */
static bool struct_has(const char *type, const char *name) {
    size_t n = strlen(name);
    int depth = 0;
    for (const char *p = type; *p; p++) {
        if (*p == '(')
            depth++;
        else if (*p == ')')
            depth--;
        else if (*p == '"' && p[1] != '"') {
            const char *close = strchr(p + 1, '"');
            if (!close) return false;
            if (depth == 1 && (size_t)(close - p - 1) == n && memcmp(p + 1, name, n) == 0 && close[1] == ' ')
                return true;
            p = close;
        } else if (depth == 1 && (p == type || p[-1] == '(' || p[-1] == ' ') && strncmp(p, name, n) == 0 &&
                   p[n] == ' ') {
            return true;
        }
    }
    return false;
}

/* Type text of a column in the answer of DESCRIBE, malloc'd; NULL: there is none. */
static char *column_type(const struct leat_result *columns, const char *name) {
    const struct leat_string *names = columns->rows.columns[0].data, *types = columns->rows.columns[1].data;
    for (size_t i = 0; i < columns->rows.row_count; i++)
        if (names[i].length == strlen(name) && memcmp(leat_string_data(&names[i]), name, names[i].length) == 0)
            return leat_strndup(leat_string_data(&types[i]), types[i].length);
    return NULL;
}

/* SQL giving one JSON action a row: {"add":{...}}, from whatever columns this checkpoint has. */
static void put_checkpoint_sql(const struct leat_result *columns, const char *scan, struct leat_buffer *sql) {
    static const char *const kinds[] = {"txn", "metaData", "protocol", "remove", "add"};
    static const char *const add_members[] = {"path",       "partitionValues", "size", "modificationTime",
                                              "dataChange", "deletionVector"};
    bool any = false;
    leat_put(sql, "SELECT line FROM (SELECT CASE");
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char *type = column_type(columns, kinds[k]);
        if (!type) continue;
        any = true;
        leat_putf(sql, " WHEN r.\"%s\" IS NOT NULL THEN '{\"%s\":' || ", kinds[k], kinds[k]);
        if (strcmp(kinds[k], "add") == 0) {
            bool comma = false;
            leat_put(sql, "to_json(struct_pack(");
            for (size_t m = 0; m < sizeof add_members / sizeof *add_members; m++) {
                if (!struct_has(type, add_members[m])) continue;
                leat_putf(sql, "%s\"%s\" := r.\"add\".\"%s\"", comma ? ", " : "", add_members[m], add_members[m]);
                comma = true;
            }
            bool text = struct_has(type, "stats"), parsed = struct_has(type, "stats_parsed");
            if (text && parsed)
                leat_put(sql, ", stats := coalesce(r.\"add\".stats, to_json(r.\"add\".stats_parsed)::VARCHAR)");
            else if (text)
                leat_put(sql, ", stats := r.\"add\".stats");
            else if (parsed)
                leat_put(sql, ", stats := to_json(r.\"add\".stats_parsed)::VARCHAR");
            leat_put(sql, "))");
        } else {
            leat_putf(sql, "to_json(r.\"%s\")", kinds[k]);
        }
        leat_put(sql, "::VARCHAR || '}'");
        free(type);
    }
    if (!any) leat_put(sql, " WHEN false THEN ''");
    leat_putf(sql, " END AS line FROM %s r) WHERE line IS NOT NULL", scan);
}

static enum leat_status apply_checkpoint_rows(struct leat_conn *conn, const char *sql, struct leat_delta_state *state,
                                              struct leat_error *err) {
    struct leat_result result;
    memset(&result, 0, sizeof result);
    enum leat_status status = leat_conn_query(conn, sql, &result, err);
    if (status != LEAT_OK) return status;
    const struct leat_string *lines = result.rows.columns[0].data;
    for (size_t i = 0; status == LEAT_OK && i < result.rows.row_count; i++) {
        struct leat_delta_action action;
        status = leat_delta_action_parse(leat_string_data(&lines[i]), lines[i].length, &action, err);
        if (status == LEAT_OK) leat_delta_state_apply(state, &action);
        leat_delta_action_deinit(&action);
    }
    leat_result_deinit(&result);
    return status;
}

static enum leat_status read_checkpoint(struct leat_conn *conn, const char *table_dir, const struct checkpoint *c,
                                        struct leat_delta_state *state, struct leat_error *err) {
    struct leat_buffer scan = {0}, sql = {0};
    struct leat_result columns = {0};
    enum leat_status status;
    if (!conn)
        return leat_fail(err, LEAT_INVALID, "table %s: reading a checkpoint needs a DuckDB connection", table_dir);
    leat_put(&scan, "read_parquet([");
    for (int64_t part = 1; part <= c->parts; part++) {
        char *path = c->parts == 1 ? leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/%020" PRId64 ".checkpoint.parquet",
                                                   table_dir, c->version)
                                   : leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/%020" PRId64 ".checkpoint.%010" PRId64
                                                   ".%010" PRId64 ".parquet",
                                                   table_dir, c->version, part, c->parts);
        if (part > 1) leat_put(&scan, ", ");
        leat_delta_put_file_literal(&scan, path);
        free(path);
    }
    leat_put(&scan, "], hive_partitioning = false, union_by_name = true)");
    leat_putf(&sql, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM %s)", scan.data);
    status = leat_conn_query(conn, sql.data, &columns, err);
    if (status != LEAT_OK) goto out;
    leat_buffer_reset(&sql);
    put_checkpoint_sql(&columns, scan.data, &sql);
    status = apply_checkpoint_rows(conn, sql.data, state, err);
    if (status == LEAT_OK) state->snapshot.version = c->version;
out:
    leat_result_deinit(&columns);
    leat_buffer_deinit(&scan);
    leat_buffer_deinit(&sql);
    return status;
}

/* A checkpoint holds no commitInfo: the commits before it, where still there, have the timestamp and the frontier. */
static void recover_commit_info(struct leat_env *env, const char *table_dir, struct leat_delta_state *state) {
    int64_t version = state->snapshot.version;
    for (int64_t v = version; v >= 0 && v > version - FRONTIER_SEARCH && !state->snapshot.frontier_json; v--) {
        struct leat_delta_state info;
        leat_delta_state_init(&info);
        struct leat_error ignored;
        enum leat_status status = read_commit(env, table_dir, v, &info, true, NULL, &ignored);
        if (status == LEAT_OK) {
            if (v == version) state->snapshot.commit_timestamp_ms = info.snapshot.commit_timestamp_ms;
            state->snapshot.frontier_json = info.snapshot.frontier_json;
            info.snapshot.frontier_json = NULL;
        }
        leat_delta_state_deinit(&info);
        if (status != LEAT_OK) break;
    }
}

/* The checkpoint _last_checkpoint names; false when it is missing or not to be trusted. */
static bool read_last_checkpoint(struct leat_env *env, const char *table_dir, struct checkpoint *out) {
    struct leat_buffer text = {0};
    struct leat_error ignored;
    json_error_t at;
    char *path = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR "/_last_checkpoint", table_dir);
    bool ok = false;
    if (leat_io_read_all(env->io, path, (size_t)1 << 24, &text, &ignored) == LEAT_OK && text.length) {
        json_t *root = json_loadb(text.data, text.length, 0, &at);
        json_t *version = json_object_get(root, "version"), *parts = json_object_get(root, "parts");
        *out = (struct checkpoint){-1, 1, 1};
        if (json_is_integer(version)) out->version = (int64_t)json_integer_value(version);
        if (json_is_integer(parts)) out->parts = (int64_t)json_integer_value(parts);
        ok = out->version >= 0 && out->parts >= 1 && out->parts <= PARTS_MAX && !json_object_get(root, "v2Checkpoint");
        json_decref(root);
    }
    leat_buffer_deinit(&text);
    free(path);
    return ok;
}

/* ---- replay ---- */

static enum leat_status gap(const char *table_dir, int64_t missing, int64_t later, struct leat_error *err) {
    return leat_fail(err, LEAT_CORRUPT,
                     "the log of table %s has a gap: commit %" PRId64 " is missing but %" PRId64 " is there", table_dir,
                     missing, later);
}

/* From the checkpoint that _last_checkpoint names. *used false: it cannot be read, or is past the version asked for. */
static enum leat_status replay_from_hint(struct leat_env *env, struct leat_conn *conn, const char *table_dir,
                                         int64_t version, struct leat_delta_state *state, int64_t *checkpoint_version,
                                         bool *used, struct leat_error *err) {
    struct checkpoint hint;
    struct leat_error ignored;
    *used = false;
    if (!read_last_checkpoint(env, table_dir, &hint) || (version >= 0 && hint.version > version)) return LEAT_OK;
    if (read_checkpoint(conn, table_dir, &hint, state, &ignored) != LEAT_OK || !state->has_metadata ||
        !state->has_protocol) {
        leat_delta_state_deinit(state);
        return LEAT_OK;
    }
    *used = true;
    *checkpoint_version = hint.version;
    recover_commit_info(env, table_dir, state);
    while (version < 0 || state->snapshot.version < version) {
        enum leat_status status = read_commit(env, table_dir, state->snapshot.version + 1, state, false, NULL, err);
        if (status == LEAT_NOT_FOUND) break;
        if (status != LEAT_OK) return status;
    }
    for (int64_t ahead = 2; version != state->snapshot.version && ahead < 2 + LOOK_AHEAD; ahead++) {
        char *path = leat_delta_commit_path(table_dir, state->snapshot.version + ahead);
        bool there = leat_io_exists(env->io, path);
        free(path);
        if (there) return gap(table_dir, state->snapshot.version + 1, state->snapshot.version + ahead, err);
    }
    return LEAT_OK;
}

/* Newest complete checkpoint at or before `limit` that is older than `below`; NULL: none. */
static const struct checkpoint *best_checkpoint(const struct listing *l, int64_t limit, int64_t below) {
    const struct checkpoint *best = NULL;
    for (size_t i = 0; i < l->checkpoint_count; i++) {
        const struct checkpoint *c = &l->checkpoints[i];
        if (c->found != c->parts || c->version >= below || (limit >= 0 && c->version > limit)) continue;
        if (!best || c->version > best->version || (c->version == best->version && c->parts < best->parts)) best = c;
    }
    return best;
}

static enum leat_status replay_listed(struct leat_env *env, const char *table_dir, int64_t version,
                                      const struct listing *l, struct leat_delta_state *state, struct leat_error *err) {
    size_t i = 0;
    while (i < l->commit_count && l->commits[i] <= state->snapshot.version)
        i++;
    for (; i < l->commit_count && (version < 0 || l->commits[i] <= version); i++) {
        if (l->commits[i] != state->snapshot.version + 1)
            return gap(table_dir, state->snapshot.version + 1, l->commits[i], err);
        enum leat_status status = read_commit(env, table_dir, l->commits[i], state, false, NULL, err);
        if (status != LEAT_OK) return status;
    }
    if (version >= 0 && i < l->commit_count && state->snapshot.version < version)
        return gap(table_dir, state->snapshot.version + 1, l->commits[i], err);
    return LEAT_OK;
}

static enum leat_status replay_from_listing(struct leat_env *env, struct leat_conn *conn, const char *table_dir,
                                            int64_t version, struct leat_delta_state *state,
                                            int64_t *checkpoint_version, struct leat_error *err) {
    struct listing l;
    struct leat_error why = {0};
    enum leat_status status = list_log(env, table_dir, &l, err);
    if (status != LEAT_OK || (l.commit_count == 0 && l.checkpoint_count == 0 && !l.has_v2)) goto out;
    const struct checkpoint *c = best_checkpoint(&l, version, INT64_MAX);
    bool from_start = l.commit_count && l.commits[0] == 0;
    while (c) {
        enum leat_status read = read_checkpoint(conn, table_dir, c, state, &why);
        if (read == LEAT_OK && state->has_metadata && state->has_protocol) break;
        leat_log(env, LEAT_LOG_WARN, "table %s: checkpoint %" PRId64 " is skipped: %s", table_dir, c->version,
                 read == LEAT_OK ? "it has no metaData or protocol" : why.text);
        leat_delta_state_deinit(state);
        c = best_checkpoint(&l, version, c->version);
    }
    if (c) {
        *checkpoint_version = c->version;
        recover_commit_info(env, table_dir, state);
    } else if (!from_start) {
        if (l.has_v2)
            status = leat_fail(err, LEAT_UNSUPPORTED, "table %s uses v2Checkpoint, which leat cannot read", table_dir);
        else if (version >= 0 && best_checkpoint(&l, -1, INT64_MAX))
            status = leat_fail(err, LEAT_NOT_FOUND, "version %" PRId64 " of table %s is gone: the log was cleaned up",
                               version, table_dir);
        else if (why.text[0])
            status = leat_fail(err, LEAT_CORRUPT, "table %s: no checkpoint can be read and commit 0 is gone: %.700s",
                               table_dir, why.text);
        else
            status = gap(table_dir, 0, l.commit_count ? l.commits[0] : -1, err);
        goto out;
    }
    status = replay_listed(env, table_dir, version, &l, state, err);
out:
    listing_deinit(&l);
    return status;
}

enum leat_status leat_delta_replay(struct leat_env *env, struct leat_conn *conn, const char *table_dir, int64_t version,
                                   struct leat_delta_state *out, int64_t *out_checkpoint_version,
                                   struct leat_error *err) {
    bool used = false;
    leat_delta_state_init(out);
    *out_checkpoint_version = -1;
    enum leat_status status = replay_from_hint(env, conn, table_dir, version, out, out_checkpoint_version, &used, err);
    if (status == LEAT_OK && !used)
        status = replay_from_listing(env, conn, table_dir, version, out, out_checkpoint_version, err);
    if (status == LEAT_OK && version >= 0 && out->snapshot.version != version)
        status = leat_fail(err, LEAT_NOT_FOUND, "table %s has no version %" PRId64 "%s", table_dir, version,
                           out->snapshot.version < 0 ? ": it does not exist" : "");
    if (status == LEAT_OK && out->snapshot.version >= 0) status = leat_delta_state_finish(out, table_dir, err);
    if (status != LEAT_OK) leat_delta_state_deinit(out);
    return status;
}

enum leat_status leat_delta_settle(struct leat_env *env, const char *table_dir, struct leat_error *err) {
    char *log_dir = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR, table_dir);
    enum leat_status status = env->io->ops->sync_dir(env->io, log_dir, err);
    free(log_dir);
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}

enum leat_status leat_delta_snapshot(struct leat_env *env, struct leat_conn *batch, const char *table_dir,
                                     int64_t version, struct leat_delta_snapshot *out, struct leat_error *err) {
    struct leat_delta_state state;
    int64_t checkpoint_version;
    memset(out, 0, sizeof *out);
    out->version = -1;
    enum leat_status status = leat_delta_replay(env, batch, table_dir, version, &state, &checkpoint_version, err);
    if (status == LEAT_OK) {
        for (size_t i = 0; i < state.snapshot.file_count; i++)
            leat_delta_bounds_free(state.bounds[i]);
        free(state.bounds);
        state.bounds = NULL;
        *out = state.snapshot;
        memset(&state.snapshot, 0, sizeof state.snapshot);
    }
    leat_delta_state_deinit(&state);
    return status;
}
