/* Making backups. The layout stands in backup.h, what is copied in stage.c. */
#include "engine/care/backup_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/limits.h"
#include "engine/change/control.h"
#include "schedule/civil.h"
#include "sql/duck.h"

enum { FORMAT = 1, NAME_MAX_BYTES = 128, COPY_BYTES = 1 << 20, MANIFEST_BYTES_MAX = 1 << 30 };

/* ---- manifests --------------------------------------------------------------------------------------------------------- */

static char *checksum_of(json_t *manifest) {
    json_t *bare = json_copy(manifest);
    json_object_del(bare, "checksum");
    char *text = json_dumps(bare, JSON_COMPACT | JSON_SORT_KEYS);
    char *sum = leat_asprintf("%016llx", (unsigned long long)XXH3_64bits(text, strlen(text)));
    free(text);
    json_decref(bare);
    return sum;
}

enum leat_status leat_backup_manifest(struct leat_env *env, const char *path, json_t **out, struct leat_error *err) {
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(env->io, path, MANIFEST_BYTES_MAX, &text, err);
    json_t *manifest = st == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    leat_buffer_deinit(&text);
    *out = NULL;
    if (st != LEAT_OK) return st;
    json_int_t format = json_integer_value(json_object_get(manifest, "leat_backup"));
    char *sum = manifest ? checksum_of(manifest) : NULL;
    const char *said = json_string_value(json_object_get(manifest, "checksum"));
    if (format > FORMAT)
        st = leat_fail(err, LEAT_UNSUPPORTED, "%s is of a newer leat (format %lld): restore it with that one", path, (long long)format);
    else if (!sum || !said || strcmp(sum, said) != 0 || format < 1)
        st = leat_fail(err, LEAT_CORRUPT, "%s is damaged: its checksum is wrong", path);
    free(sum);
    if (st == LEAT_OK) *out = manifest;
    else json_decref(manifest);
    return st;
}

static int by_time(const void *a, const void *b) {
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "made_us")), y = json_integer_value(json_object_get(*(json_t *const *)b, "made_us"));
    return (x > y) - (x < y);
}

void leat_backup_list_deinit(struct leat_backup_list *list) {
    for (size_t i = 0; i < list->count; i++) json_decref(list->items[i]);
    free(list->items);
    *list = (struct leat_backup_list){0};
}

enum leat_status leat_backup_manifests(struct leat_env *env, const char *place, struct leat_backup_list *out, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    *out = (struct leat_backup_list){0};
    enum leat_status st = leat_io_list_sorted(env->io, place, &names, &count, err);
    out->items = leat_alloc((count + 1) * sizeof *out->items);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *path = leat_asprintf("%s/%s/backup.json", place, names[i]);
        if (leat_io_exists(env->io, path) && (st = leat_backup_manifest(env, path, &out->items[out->count], err)) == LEAT_OK) out->count++;
        if (st != LEAT_OK && !err->fatal) { /* one that is damaged is in the way of no other */
            leat_log(env, LEAT_LOG_WARN, "%s; it is passed over", err->text);
            out->damaged++;
            st = LEAT_OK;
        }
        free(path);
    }
    leat_names_free(names, count);
    if (st != LEAT_OK) leat_backup_list_deinit(out);
    else qsort(out->items, out->count, sizeof *out->items, by_time);
    return st;
}

static json_t *summary(const json_t *manifest) {
    json_t *entry = json_object();
    static const char *const keys[] = {"name", "made_us", "leat", "bytes"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) json_object_set(entry, keys[i], json_object_get(manifest, keys[i]));
    json_object_set_new(entry, "files", json_integer((json_int_t)json_array_size(json_object_get(manifest, "files"))));
    return entry;
}

enum leat_status leat_backup_list(struct leat_env *env, const char *place, struct leat_buffer *out, struct leat_error *err) {
    struct leat_backup_list list;
    enum leat_status st = leat_backup_manifests(env, place, &list, err);
    if (st != LEAT_OK) return st;
    json_t *all = json_array();
    for (size_t i = 0; i < list.count; i++) json_array_append_new(all, summary(list.items[i]));
    char *text = json_dumps(all, JSON_INDENT(1));
    leat_put(out, text);
    free(text);
    json_decref(all);
    leat_backup_list_deinit(&list);
    return LEAT_OK;
}

/* ---- one file ---------------------------------------------------------------------------------------------------------- */

enum leat_status leat_backup_copy(struct leat_io *io, const char *from, const char *to, uint64_t bytes, char xxh3[17], struct leat_error *err) {
    struct leat_file *in = NULL, *out = NULL;
    XXH3_state_t *state = XXH3_createState();
    char *piece = leat_alloc(COPY_BYTES);
    XXH3_64bits_reset(state);
    enum leat_status st = io->ops->open(io, from, LEAT_OPEN_READ, &in, err);
    if (st == LEAT_OK && to) st = io->ops->open(io, to, LEAT_OPEN_CREATE, &out, err);
    for (uint64_t at = 0; at < bytes && st == LEAT_OK;) {
        size_t want = bytes - at < COPY_BYTES ? (size_t)(bytes - at) : COPY_BYTES, got = 0;
        st = io->ops->read_at(in, at, piece, want, &got, err);
        if (st == LEAT_OK && got < want)
            st = leat_fail(err, LEAT_CORRUPT, "%s has %llu bytes, not %llu", from, (unsigned long long)(at + got), (unsigned long long)bytes);
        XXH3_64bits_update(state, piece, got);
        if (st == LEAT_OK && out) st = io->ops->write(out, piece, got, err);
        at += got;
    }
    if (st == LEAT_OK && out) st = io->ops->sync(out, err);
    snprintf(xxh3, 17, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    if (in) io->ops->close(in);
    if (out) io->ops->close(out);
    XXH3_freeState(state);
    free(piece);
    return st;
}

/* ---- a version --------------------------------------------------------------------------------------------------------- */

struct backup {
    struct leat_env *env;
    const struct leat_backup_options *options;
    char *lake_dir, *work_dir, *dir; /* dir: PLACE/NAME */
    json_t *staged, *files;          /* what is there; what the manifest says */
    json_t *before;                  /* path -> entry of the version before */
    char *before_dir;
    bool no_links;                   /* between the project and the place */
    uint64_t bytes, of_bytes, copied_files, copied_bytes;
};

/* Files that are never changed again: all of the lake (what is written anew gets a new file), checkpoints, and segments but the last. */
static bool is_fixed(const json_t *staged, size_t i) {
    const char *path = json_string_value(json_object_get(json_array_get(staged, i), "path"));
    if (strncmp(path, "lake/", 5) == 0 || strncmp(path, "work/checkpoint/", 16) == 0) return true;
    const char *next = json_string_value(json_object_get(json_array_get(staged, i + 1), "path"));
    size_t folder = (size_t)(strrchr(path, '/') - path);
    return strncmp(path, "work/log/", 9) == 0 && strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".log") == 0 && next &&
           strncmp(path, next, folder + 1) == 0; /* listed in order: a later segment follows */
}

static char *source_path(const struct backup *b, const char *path) {
    if (strncmp(path, "lake/", 5) == 0) return leat_asprintf("%s/" LEAT_LAKE_STAGE_DIR "/%s", b->lake_dir, path + 5);
    if (strncmp(path, "work/", 5) == 0) return leat_asprintf("%s/" LEAT_STAGE_DIR "/%s", b->work_dir, path + 5);
    return leat_asprintf("%s/%s", b->options->project_dir, path + strlen(".project/"));
}

static bool is_same(const json_t *before, const struct leat_stat *stat) {
    return before && json_integer_value(json_object_get(before, "bytes")) == (json_int_t)stat->size_bytes &&
           json_integer_value(json_object_get(before, "inode")) == (json_int_t)stat->inode &&
           json_integer_value(json_object_get(before, "modified_us")) == stat->modified_us;
}

/* Linked to the version before, or to the project's own file, or copied. */
static enum leat_status take_file(struct backup *b, const char *path, uint64_t bytes, bool fixed, struct leat_error *err) {
    struct leat_io *io = b->env->io;
    char *from = source_path(b, path), *to = leat_asprintf("%s/%s", b->dir, path), sum[17];
    const json_t *before = json_object_get(b->before, path);
    struct leat_stat stat;
    bool linked = false;
    enum leat_status st = io->ops->stat(io, from, &stat, err);
    if (st == LEAT_OK && fixed && is_same(before, &stat)) {
        char *older = leat_asprintf("%s/%s", b->before_dir, path);
        linked = io->ops->link(io, older, to, NULL) == LEAT_OK;
        snprintf(sum, sizeof sum, "%s", json_string_value(json_object_get(before, "xxh3")));
        free(older);
    }
    if (st == LEAT_OK && fixed && !linked && !b->no_links) {
        linked = io->ops->link(io, from, to, NULL) == LEAT_OK;
        b->no_links = !linked;
        if (linked) st = leat_backup_copy(io, from, NULL, bytes, sum, err);
    }
    if (st == LEAT_OK && !linked) {
        st = leat_backup_copy(io, from, to, bytes, sum, err);
        b->copied_files++;
        b->copied_bytes += bytes;
    }
    if (st == LEAT_OK)
        json_array_append_new(b->files, json_pack("{s:s,s:I,s:s,s:I,s:I}", "path", path, "bytes", (json_int_t)bytes, "xxh3", sum, "inode",
                                                  (json_int_t)stat.inode, "modified_us", (json_int_t)stat.modified_us));
    b->bytes += bytes;
    if (b->options->progress) b->options->progress(b->options->context, b->bytes, b->of_bytes);
    free(from);
    free(to);
    return st;
}

/* The folder that a file goes to, made and remembered, so that its names are synced at the end. */
static enum leat_status need_folder(struct backup *b, json_t *folders, const char *path, struct leat_error *err) {
    char *parent = leat_io_dirname(path), *full = leat_asprintf("%s/%s", b->dir, parent);
    enum leat_status st = LEAT_OK;
    if (!json_object_get(folders, parent)) {
        st = leat_io_mkdirs(b->env->io, full, err);
        json_object_set_new(folders, parent, json_true());
    }
    free(parent);
    free(full);
    return st;
}

static enum leat_status take_all(struct backup *b, struct leat_error *err) {
    json_t *folders = json_object(), *entry;
    enum leat_status st = LEAT_OK;
    size_t i;
    const char *folder;
    json_array_foreach(b->staged, i, entry) b->of_bytes += (uint64_t)json_integer_value(json_object_get(entry, "bytes"));
    json_array_foreach(b->staged, i, entry) {
        const char *path = json_string_value(json_object_get(entry, "path"));
        if (!path) st = leat_fail(err, LEAT_CORRUPT, "the snapshot's list has an entry without a path");
        if (st == LEAT_OK) st = need_folder(b, folders, path, err);
        if (st == LEAT_OK) st = take_file(b, path, (uint64_t)json_integer_value(json_object_get(entry, "bytes")), is_fixed(b->staged, i), err);
        if (st != LEAT_OK) break;
    }
    json_object_foreach(folders, folder, entry) {
        char *full = leat_asprintf("%s/%s", b->dir, folder);
        if (st == LEAT_OK) st = b->env->io->ops->sync_dir(b->env->io, full, err);
        free(full);
    }
    json_decref(folders);
    return st;
}

/* The .sql files as they are on the disk now. */
static enum leat_status add_texts(struct backup *b, struct leat_error *err) {
    struct leat_project *project;
    struct leat_diagnostics diags = {0};
    enum leat_status st = leat_project_load(b->env, b->options->project_dir, &project, &diags, err);
    for (size_t i = 0; st == LEAT_OK && i < project->file_count; i++) {
        char *path = leat_asprintf(".project/%s", project->files[i]->name);
        json_array_append_new(b->staged, json_pack("{s:s,s:I}", "path", path, "bytes", (json_int_t)project->files[i]->length));
        free(path);
    }
    if (st == LEAT_OK) leat_project_free(project);
    leat_diagnostics_deinit(&diags);
    return st;
}

static enum leat_status load_staged(struct backup *b, struct leat_error *err) {
    char *path = leat_asprintf("%s/" LEAT_STAGE_DIR "/files.json", b->work_dir);
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(b->env->io, path, MANIFEST_BYTES_MAX, &text, err);
    if (st == LEAT_OK) b->staged = json_loadb(text.data, text.length, 0, NULL);
    if (st == LEAT_OK && !json_is_array(b->staged)) st = leat_fail(err, LEAT_CORRUPT, "%s is no list", path);
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

static enum leat_status lake_manifest(struct backup *b, json_t **out, struct leat_error *err) {
    char *path = leat_asprintf("%s/" LEAT_LAKE_STAGE_DIR "/manifest.json", b->lake_dir);
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(b->env->io, path, MANIFEST_BYTES_MAX, &text, err);
    *out = st == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (!*out) *out = json_null();
    leat_buffer_deinit(&text);
    free(path);
    return st == LEAT_NOT_FOUND ? LEAT_OK : st;
}

static enum leat_status write_manifest(struct backup *b, const char *name, int64_t made_us, struct leat_error *err) {
    json_t *lake;
    enum leat_status st = lake_manifest(b, &lake, err);
    json_t *manifest = json_pack("{s:i,s:s,s:I,s:s,s:s,s:o,s:I,s:O}", "leat_backup", FORMAT, "name", name, "made_us", (json_int_t)made_us, "leat",
                                 LEAT_VERSION, "duckdb", leat_duck_version(), "manifest", lake, "bytes", (json_int_t)b->bytes, "files", b->files);
    char *sum = checksum_of(manifest), *path = leat_asprintf("%s/backup.json", b->dir);
    json_object_set_new(manifest, "checksum", json_string(sum));
    char *text = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (st == LEAT_OK) st = leat_io_write_durable(b->env->io, path, text, strlen(text), true, err);
    free(text);
    free(sum);
    free(path);
    json_decref(manifest);
    return st;
}

#define MARK ".incomplete"

static char *mark_of(const char *place, const char *name) {
    return leat_asprintf("%s/%s/" MARK, place, name);
}

/* The folder is marked before anything is in it, and no longer when its manifest is durable. */
static enum leat_status make_version(struct backup *b, const char *name, int64_t made_us, struct leat_error *err) {
    struct leat_io *io = b->env->io;
    char *mark = mark_of(b->options->place, name);
    enum leat_status st = leat_io_mkdirs(io, b->dir, err);
    if (st == LEAT_OK) st = leat_io_write_durable(io, mark, "", 0, true, err);
    if (st == LEAT_OK) st = load_staged(b, err);
    if (st == LEAT_OK) st = add_texts(b, err);
    if (st == LEAT_OK) st = take_all(b, err);
    if (st == LEAT_OK) st = io->ops->sync_dir(io, b->dir, err);
    if (st == LEAT_OK) st = write_manifest(b, name, made_us, err);
    if (st == LEAT_OK) st = io->ops->unlink(io, mark, err);
    if (st == LEAT_OK) st = io->ops->sync_dir(io, b->dir, err);
    free(mark);
    return st;
}

/* ---- the place --------------------------------------------------------------------------------------------------------- */

/* All that is in a version's folder but the mark. */
static enum leat_status remove_content(struct leat_io *io, const char *dir, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(io, dir, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *path = leat_asprintf("%s/%s", dir, names[i]);
        if (strcmp(names[i], MARK) != 0) st = leat_io_remove_tree(io, path, err);
        free(path);
    }
    leat_names_free(names, count);
    return st == LEAT_OK ? io->ops->sync_dir(io, dir, err) : st;
}

static enum leat_status remove_version(struct leat_io *io, const char *place, const char *name, struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s", place, name), *manifest = leat_asprintf("%s/backup.json", dir), *mark = mark_of(place, name);
    enum leat_status st = leat_io_write_durable(io, mark, "", 0, true, err); /* what is left after a crash is known as rubbish */
    if (st == LEAT_OK && leat_io_exists(io, manifest)) {
        st = io->ops->unlink(io, manifest, err);
        if (st == LEAT_OK) st = io->ops->sync_dir(io, dir, err);
    }
    if (st == LEAT_OK) st = remove_content(io, dir, err);
    if (st == LEAT_OK) st = leat_io_remove_tree(io, dir, err); /* the mark goes last */
    free(dir);
    free(manifest);
    free(mark);
    return st;
}

/* What a backup that was cut short left. */
static enum leat_status clear_incomplete(struct leat_io *io, const char *place, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(io, place, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *mark = mark_of(place, names[i]), *manifest = leat_asprintf("%s/%s/backup.json", place, names[i]);
        if (leat_io_exists(io, mark)) st = leat_io_exists(io, manifest) ? io->ops->unlink(io, mark, err) : remove_version(io, place, names[i], err);
        free(mark);
        free(manifest);
    }
    leat_names_free(names, count);
    return st;
}

static enum leat_status remove_older(struct backup *b, json_t *removed, struct leat_error *err) {
    struct leat_backup_list list;
    if (!b->options->keep) return LEAT_OK;
    enum leat_status st = leat_backup_manifests(b->env, b->options->place, &list, err);
    for (size_t i = 0; st == LEAT_OK && i + b->options->keep < list.count; i++) {
        const char *name = json_string_value(json_object_get(list.items[i], "name"));
        st = remove_version(b->env->io, b->options->place, name, err);
        json_array_append_new(removed, json_string(name));
    }
    if (list.items) leat_backup_list_deinit(&list);
    return st;
}

static enum leat_status load_before(struct backup *b, struct leat_error *err) {
    struct leat_backup_list list;
    json_t *entry;
    size_t i;
    enum leat_status st = leat_backup_manifests(b->env, b->options->place, &list, err);
    b->before = json_object();
    if (st != LEAT_OK) return st;
    if (list.count) {
        const json_t *last = list.items[list.count - 1];
        b->before_dir = leat_asprintf("%s/%s", b->options->place, json_string_value(json_object_get(last, "name")));
        json_array_foreach(json_object_get(last, "files"), i, entry) json_object_set(b->before, json_string_value(json_object_get(entry, "path")), entry);
    }
    leat_backup_list_deinit(&list);
    return LEAT_OK;
}

static enum leat_status hold(struct leat_env *env, const char *dir, const char *name, struct leat_file **out, struct leat_error *err) {
    char *path = leat_asprintf("%s/%s", dir, name);
    enum leat_status st = env->io->ops->open(env->io, path, LEAT_OPEN_APPEND, out, err);
    if (st == LEAT_OK) st = env->io->ops->lock(*out, err);
    free(path);
    return st;
}

static void let_go(struct leat_env *env, struct leat_file *file) {
    if (file) env->io->ops->close(file);
}

/* By the process that runs, or here while none does. */
static enum leat_status stage(struct backup *b, struct leat_error *err) {
    struct leat_buffer reply = {0};
    struct leat_file *work = NULL, *lake = NULL;
    enum leat_status st = leat_control_ask(b->env, b->work_dir, "{\"do\":\"stage\"}", INT64_MAX, &reply, err);
    if (st == LEAT_NOT_FOUND) {
        st = hold(b->env, b->work_dir, "lock", &work, err);
        if (st == LEAT_OK) st = hold(b->env, b->lake_dir, ".lock", &lake, err);
        if (st == LEAT_BUSY) leat_prepend(err, "a leat is at work here that takes no requests (run --once, apply, rebuild ...): try again when it is done");
        if (st == LEAT_OK) st = leat_stage(b->env, b->lake_dir, b->work_dir, NULL, err);
        let_go(b->env, lake);
        let_go(b->env, work);
        return st;
    }
    if (st != LEAT_OK) return st;
    json_t *answer = json_loadb(reply.data, reply.length, 0, NULL);
    const char *why = json_string_value(json_object_get(answer, "error"));
    st = (enum leat_status)json_integer_value(json_object_get(answer, "status"));
    if (!answer || st != LEAT_OK) st = leat_fail(err, st != LEAT_OK ? st : LEAT_IO, "%s", why ? why : "the running leat gave no answer");
    json_decref(answer);
    leat_buffer_deinit(&reply);
    return st;
}

static char *time_name(int64_t now_us) {
    int64_t seconds = now_us / 1000000, year;
    int month, day, second = (int)(seconds % 86400);
    leat_civil_date(seconds / 86400, &year, &month, &day);
    return leat_asprintf("%04d%02d%02dT%02d%02d%02dZ", (int)year, month, day, second / 3600, second / 60 % 60, second % 60);
}

/* A folder that was made and not marked yet is as good as none. */
static enum leat_status expect_unused(struct backup *b, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0, others = 0;
    enum leat_status st = leat_io_list_sorted(b->env->io, b->dir, &names, &count, err);
    for (size_t i = 0; i < count; i++) others += !leat_io_is_temp_name(names[i]);
    leat_names_free(names, count);
    if (st == LEAT_OK && others) st = leat_fail(err, LEAT_EXISTS, "there is %s already: choose another name", b->dir);
    return st == LEAT_OK ? leat_io_remove_tree(b->env->io, b->dir, err) : st;
}

static enum leat_status check_name(struct backup *b, const char *name, struct leat_error *err) {
    bool plain = isalnum((unsigned char)*name) && strlen(name) <= NAME_MAX_BYTES;
    for (const char *p = name; *p; p++) plain = plain && (isalnum((unsigned char)*p) || *p == '_' || *p == '-' || *p == '.');
    if (!plain) return leat_fail(err, LEAT_INVALID, "'%s' is no name for a backup: use letters, digits, '_', '-' and '.'", name);
    return expect_unused(b, err);
}

static enum leat_status run(struct backup *b, const char *name, struct leat_buffer *out, struct leat_error *err) {
    struct leat_file *place_lock = NULL, *lock = NULL;
    int64_t now_us = b->env->clock->now_us(b->env->clock), began_us = b->env->clock->monotonic_us(b->env->clock);
    json_t *removed = json_array();
    enum leat_status st = leat_io_exists(b->env->io, b->lake_dir) && leat_io_exists(b->env->io, b->work_dir)
                              ? LEAT_OK
                              : leat_fail(err, LEAT_NOT_FOUND, "%s has nothing to back up: it never ran ('leat run')", b->options->project_dir);
    if (st == LEAT_OK) st = leat_io_mkdirs(b->env->io, b->options->place, err);
    if (st == LEAT_OK) st = hold(b->env, b->options->place, ".lock", &place_lock, err);
    if (st == LEAT_OK) st = hold(b->env, b->work_dir, LEAT_BACKUP_LOCK, &lock, err);
    if (st == LEAT_OK) st = clear_incomplete(b->env->io, b->options->place, err);
    if (st == LEAT_OK) st = check_name(b, name, err);
    if (st == LEAT_OK) st = load_before(b, err);
    if (st == LEAT_OK) st = stage(b, err);
    if (st == LEAT_OK) st = make_version(b, name, now_us, err);
    if (lock && st != LEAT_BUSY) {
        struct leat_error other; /* what stays goes with the next backup, or the next start */
        enum leat_status dropped = leat_stage_drop(b->env, b->lake_dir, b->work_dir, &other);
        if (st == LEAT_OK && dropped != LEAT_OK) leat_log(b->env, LEAT_LOG_WARN, "%s", other.text);
    }
    if (st == LEAT_OK) st = remove_older(b, removed, err);
    if (st == LEAT_OK && out) {
        json_t *done = json_pack("{s:s,s:I,s:I,s:I,s:I,s:O,s:I}", "name", name, "files", (json_int_t)json_array_size(b->files), "bytes",
                                 (json_int_t)b->bytes, "copied_files", (json_int_t)b->copied_files, "copied_bytes", (json_int_t)b->copied_bytes,
                                 "removed", removed, "ms", (json_int_t)((b->env->clock->monotonic_us(b->env->clock) - began_us) / 1000));
        char *text = json_dumps(done, JSON_INDENT(1));
        leat_put(out, text);
        free(text);
        json_decref(done);
    }
    json_decref(removed);
    let_go(b->env, lock);
    let_go(b->env, place_lock);
    return st;
}

enum leat_status leat_backup(struct leat_env *env, const struct leat_backup_options *options, struct leat_buffer *out, struct leat_error *err) {
    struct backup b = {.env = env, .options = options, .files = json_array()};
    char *name = options->name ? leat_strdup(options->name) : time_name(env->clock->now_us(env->clock));
    b.lake_dir = options->lake_dir ? leat_strdup(options->lake_dir) : leat_asprintf("%s/lake", options->project_dir);
    b.work_dir = options->work_dir ? leat_strdup(options->work_dir) : leat_asprintf("%s/.leat", options->project_dir);
    b.dir = leat_asprintf("%s/%s", options->place, name);
    enum leat_status st = run(&b, name, out, err);
    json_decref(b.staged);
    json_decref(b.files);
    json_decref(b.before);
    free(b.before_dir);
    free(b.lake_dir);
    free(b.work_dir);
    free(b.dir);
    free(name);
    return st;
}
