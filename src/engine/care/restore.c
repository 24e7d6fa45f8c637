/* From a backup to a project again. The folder is marked while it is incomplete, and no leat opens it then; at the end it says when it was
 * restored, behind which time the sequences of its sinks go on (connect/outbox.c). */
#include <stdlib.h>
#include <string.h>

#include "connect/partitions.h"
#include "engine/care/backup_internal.h"

static enum leat_status choose_newest(struct leat_env *env, const char *place, json_t **out, struct leat_error *err) {
    struct leat_backup_list list;
    enum leat_status st = leat_backup_manifests(env, place, &list, err);
    if (st != LEAT_OK) return st;
    if (list.damaged)
        st = leat_fail(err, LEAT_CORRUPT, "which version in %s is the newest is not known, one is damaged: choose one by its name ('leat backup --list')", place);
    else if (!list.count)
        st = leat_fail(err, LEAT_NOT_FOUND, "%s has no complete backup", place);
    else
        *out = json_incref(list.items[list.count - 1]);
    leat_backup_list_deinit(&list);
    return st;
}

static enum leat_status choose(struct leat_env *env, const struct leat_backup_options *options, json_t **out, struct leat_error *err) {
    *out = NULL;
    if (!options->name) return choose_newest(env, options->place, out, err);
    char *path = leat_asprintf("%s/%s/backup.json", options->place, options->name);
    enum leat_status st = strchr(options->name, '/') || !leat_io_exists(env->io, path)
                              ? leat_fail(err, LEAT_NOT_FOUND, "%s has no complete backup '%s'; 'leat backup --list' names those it has", options->place, options->name)
                              : leat_backup_manifest(env, path, out, err);
    free(path);
    return st;
}

static char *target_of(const struct leat_backup_options *options, const char *path) {
    if (strncmp(path, "lake/", 5) == 0 && options->lake_dir) return leat_asprintf("%s/%s", options->lake_dir, path + 5);
    if (strncmp(path, "work/", 5) == 0 && options->work_dir) return leat_asprintf("%s/%s", options->work_dir, path + 5);
    if (strncmp(path, "work/", 5) == 0) return leat_asprintf("%s/.leat/%s", options->project_dir, path + 5);
    if (strncmp(path, ".project/", 9) == 0) return leat_asprintf("%s/%s", options->project_dir, path + 9);
    return leat_asprintf("%s/%s", options->project_dir, path);
}

/* A path of the manifest stays below the folder. */
static bool is_below(const char *path) {
    bool known = path && (strncmp(path, "lake/", 5) == 0 || strncmp(path, "work/", 5) == 0 || strncmp(path, ".project/", 9) == 0);
    return known && !strstr(path, "/../") && !strstr(path, "//");
}

/* Each file, to where it belongs or (to_disk false) only read; then the folders are synced. */
static enum leat_status each_file(struct leat_env *env, const struct leat_backup_options *options, const json_t *manifest, bool to_disk,
                                  struct leat_error *err) {
    json_t *files = json_object_get(manifest, "files"), *entry, *folders = json_object();
    const char *name = json_string_value(json_object_get(manifest, "name")), *folder;
    uint64_t done = 0, of = (uint64_t)json_integer_value(json_object_get(manifest, "bytes"));
    enum leat_status st = LEAT_OK;
    size_t i;
    json_array_foreach(files, i, entry) {
        const char *path = json_string_value(json_object_get(entry, "path")), *said = json_string_value(json_object_get(entry, "xxh3"));
        uint64_t bytes = (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
        char sum[17];
        if (!is_below(path) || !said) {
            st = leat_fail(err, LEAT_CORRUPT, "backup '%s' names a file that cannot be part of it", name);
            break;
        }
        char *from = leat_asprintf("%s/%s/%s", options->place, name, path), *to = target_of(options, path), *parent = leat_io_dirname(to);
        if (to_disk && !json_object_get(folders, parent)) st = leat_io_mkdirs(env->io, parent, err);
        json_object_set_new(folders, parent, json_true());
        if (st == LEAT_OK) st = leat_backup_copy(env->io, from, to_disk ? to : NULL, bytes, sum, err);
        if (st == LEAT_OK && strcmp(sum, said) != 0)
            st = leat_fail(err, LEAT_CORRUPT, "%s is damaged: its checksum is %s, and was %s when it was backed up; choose another version", from, sum, said);
        done += bytes;
        if (options->progress) options->progress(options->context, done, of);
        free(from);
        free(to);
        free(parent);
        if (st != LEAT_OK) break;
    }
    json_object_foreach(folders, folder, entry)
        if (st == LEAT_OK && to_disk) st = env->io->ops->sync_dir(env->io, folder, err);
    json_decref(folders);
    return st;
}

static void report(const json_t *manifest, struct leat_buffer *out) {
    if (!out) return;
    json_t *done = json_copy((json_t *)manifest);
    json_object_set_new(done, "files", json_integer((json_int_t)json_array_size(json_object_get(manifest, "files"))));
    json_object_del(done, "manifest");
    json_object_del(done, "checksum");
    char *text = json_dumps(done, JSON_INDENT(1));
    leat_put(out, text);
    free(text);
    json_decref(done);
}

enum leat_status leat_backup_verify(struct leat_env *env, const struct leat_backup_options *options, struct leat_buffer *out, struct leat_error *err) {
    json_t *manifest;
    enum leat_status st = choose(env, options, &manifest, err);
    if (st != LEAT_OK) return st;
    st = each_file(env, options, manifest, false, err);
    if (st == LEAT_OK) report(manifest, out);
    json_decref(manifest);
    return st;
}

static enum leat_status expect_empty(struct leat_env *env, const char *dir, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(env->io, dir, &names, &count, err);
    if (st == LEAT_OK && count) st = leat_fail(err, LEAT_EXISTS, "%s is not empty ('%s' ...): restore into a folder that is, or is not there yet", dir, names[0]);
    leat_names_free(names, count);
    return st;
}

static enum leat_status write_restored(struct leat_env *env, const char *work_dir, const json_t *manifest, struct leat_error *err) {
    char *path = leat_asprintf("%s/" LEAT_RESTORED, work_dir);
    int64_t now_us = env->clock->now_us(env->clock), made_us = json_integer_value(json_object_get(manifest, "made_us"));
    json_t *restored = json_pack("{s:I,s:O,s:O}", "at_us", (json_int_t)(now_us > made_us ? now_us : made_us), "backup", json_object_get(manifest, "name"),
                                 "made_us", json_object_get(manifest, "made_us"));
    char *text = json_dumps(restored, JSON_COMPACT);
    enum leat_status st = leat_io_write_durable(env->io, path, text, strlen(text), true, err); /* also over that of an earlier restore */
    free(text);
    json_decref(restored);
    free(path);
    return st;
}

/* Input files may be copies now, with other inodes and times: a file source knows its own by their beginnings, as after a lost work folder. A
 * replication slot may have gone on: its connector has to look. */
static enum leat_status tell_connectors(struct leat_env *env, const char *work_dir, struct leat_error *err) {
    char *connectors = leat_asprintf("%s/connector", work_dir), **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(env->io, connectors, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *dir = leat_asprintf("%s/%s", connectors, names[i]), *path = leat_asprintf("%s/partitions.json", dir);
        char *slot = leat_asprintf("%s/slot", dir), *restored = leat_asprintf("%s/restored", dir);
        struct leat_partitions partitions;
        struct leat_buffer text = {0};
        if (leat_io_exists(env->io, path) && (st = leat_partitions_open(env, dir, &partitions, err)) == LEAT_OK) {
            leat_partitions_print(&partitions, false, &text);
            st = leat_io_write_durable(env->io, path, text.data, text.length, true, err);
            leat_partitions_deinit(&partitions);
        }
        if (st == LEAT_OK && leat_io_exists(env->io, slot)) st = leat_io_write_durable(env->io, restored, "", 0, true, err);
        leat_buffer_deinit(&text);
        free(slot);
        free(restored);
        free(path);
        free(dir);
    }
    leat_names_free(names, count);
    free(connectors);
    return st;
}

static enum leat_status fill(struct leat_env *env, const struct leat_backup_options *options, const char *work_dir, const json_t *manifest,
                             struct leat_error *err) {
    char *mark = leat_asprintf("%s/" LEAT_RESTORING, work_dir);
    enum leat_status st = leat_io_mkdirs(env->io, work_dir, err);
    if (st == LEAT_OK) st = leat_io_write_durable(env->io, mark, "", 0, true, err);
    if (st == LEAT_OK) st = each_file(env, options, manifest, true, err);
    if (st == LEAT_OK) st = tell_connectors(env, work_dir, err);
    if (st == LEAT_OK) st = write_restored(env, work_dir, manifest, err);
    if (st == LEAT_OK) st = env->io->ops->unlink(env->io, mark, err);
    if (st == LEAT_OK) st = env->io->ops->sync_dir(env->io, work_dir, err);
    free(mark);
    return st;
}

enum leat_status leat_restore(struct leat_env *env, const struct leat_backup_options *options, struct leat_buffer *out, struct leat_error *err) {
    char *work_dir = options->work_dir ? leat_strdup(options->work_dir) : leat_asprintf("%s/.leat", options->project_dir);
    json_t *manifest;
    enum leat_status st = choose(env, options, &manifest, err);
    if (st == LEAT_OK) {
        st = expect_empty(env, options->project_dir, err);
        if (st == LEAT_OK && options->lake_dir) st = expect_empty(env, options->lake_dir, err);
        if (st == LEAT_OK) st = expect_empty(env, work_dir, err);
        if (st == LEAT_OK) st = fill(env, options, work_dir, manifest, err);
        if (st == LEAT_OK) report(manifest, out);
        json_decref(manifest);
    }
    free(work_dir);
    return st;
}
