/* A version kept for good: a table of its own whose data files are hard links to the version's. It costs no space while
 * the version's files are there, and is untouched by vacuum, compaction and everything else that happens to the table.
 *
 * Order: the files, their directory, then commit 0, which makes it a table. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static bool inside(const char *path) {
    return path[0] != '/' && !strstr(path, "..") && !strstr(path, "://");
}

static enum leat_status link_file(struct leat_env *env, const char *table_dir, const char *pin_dir, const char *path,
                                  struct leat_error *err) {
    if (!inside(path)) return leat_fail(err, LEAT_UNSUPPORTED, "file %s lies outside its table's folder", path);
    char *from = leat_asprintf("%s/%s", table_dir, path), *to = leat_asprintf("%s/%s", pin_dir, path);
    char *folder = leat_io_dirname(to);
    enum leat_status status = leat_io_mkdirs(env->io, folder, err);
    if (status == LEAT_OK) status = env->io->ops->link(env->io, from, to, err);
    if (status == LEAT_NOT_FOUND)
        status = leat_fail(err, LEAT_NOT_FOUND, "file %s of this version is gone: it was vacuumed before it was pinned",
                           path);
    if (status == LEAT_OK) status = env->io->ops->sync_dir(env->io, folder, err);
    free(folder);
    free(from);
    free(to);
    return status;
}

/* Commit 0 of the pin: the version's protocol and columns under a new id, its files, its frontier. */
static void put_commit(struct leat_env *env, struct leat_delta_state *state, const char *name,
                       struct leat_buffer *out) {
    struct leat_delta_metadata metadata = state->metadata;
    char id[37];
    leat_random_uuid(&env->random, id);
    metadata.id = id;
    metadata.name = (char *)(uintptr_t)name;
    leat_putf(out,
              "{\"commitInfo\":{\"timestamp\":%" PRId64
              ",\"operation\":\"CLONE\",\"operationParameters\":{\"sourceVersion\":\"%" PRId64
              "\"},\"isBlindAppend\":false,\"engineInfo\":\"leat/" LEAT_VERSION "\"",
              env->clock->now_us(env->clock) / 1000, state->snapshot.version);
    if (state->snapshot.frontier_json) leat_putf(out, ",\"leat.frontier\":%s", state->snapshot.frontier_json);
    leat_put(out, "}}\n");
    leat_delta_put_protocol(out, &state->protocol);
    leat_delta_put_metadata(out, &metadata);
    for (size_t i = 0; i < state->snapshot.file_count; i++)
        leat_delta_put_add(out, &state->snapshot.files[i], true);
}

enum leat_status leat_delta_pin(struct leat_env *env, struct leat_conn *batch, const char *table_dir, int64_t version,
                                const char *pin_dir, const char *name, struct leat_error *err) {
    struct leat_delta_state state;
    struct leat_buffer commit = {0};
    int64_t checkpoint_version;
    char *path = leat_delta_commit_path(pin_dir, 0), *log_dir = leat_io_dirname(path);
    if (leat_io_exists(env->io, path)) {
        free(path);
        free(log_dir);
        return leat_fail(err, LEAT_EXISTS, "%s is pinned already", name);
    }
    enum leat_status status = leat_delta_replay(env, batch, table_dir, version, &state, &checkpoint_version, err);
    bool replayed = status == LEAT_OK;
    if (replayed && state.snapshot.version < 0)
        status = leat_fail(err, LEAT_NOT_FOUND, "table %s does not exist", table_dir);
    if (status == LEAT_OK) status = leat_io_mkdirs(env->io, log_dir, err);
    for (size_t i = 0; status == LEAT_OK && i < state.snapshot.file_count; i++)
        status = link_file(env, table_dir, pin_dir, state.snapshot.files[i].path, err);
    if (status == LEAT_OK) {
        put_commit(env, &state, name, &commit);
        status = leat_io_write_durable(env->io, path, commit.data, commit.length, false, err);
    }
    if (replayed) leat_delta_state_deinit(&state);
    leat_buffer_deinit(&commit);
    free(path);
    free(log_dir);
    return status;
}
