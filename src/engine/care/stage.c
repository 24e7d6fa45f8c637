/* A snapshot of lake and work folder by hard links, for a backup: made between two turns of the engine, so that the lake is at one frontier
 * and journal, checkpoint and tables agree, or by whoever holds the locks while nobody runs. Copying is the asker's matter (backup.c).
 *
 * Other threads go on: a sink's is held off its outbox while that is linked; a thread that takes records in appends to the log after the
 * connector's own files, so the log is linked first: whatever it has, they know. Other processes may feed (a spool that only grows and
 * says itself what of it counts) and drop pins (a file that went in between was not part of a pin any more). */
#include "engine/care/backup.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "engine/tell/alerts.h"
#include "engine/tell/effects.h"
#include "engine/internal.h"

struct stage {
    struct leat_io *io;
    json_t *files;
    json_t *first; /* folders that were linked before the rest: {"work/sink/NAME": true} */
};

/* What belongs to a process, or is made anew. */
static bool is_left_out(const char *told) {
    static const char *const names[] = {"work/lock", "work/" LEAT_BACKUP_LOCK, "work/" LEAT_STAGE_DIR, "work/scratch", "work/control",
                                        "work/status.json", "lake/.lock", "lake/" LEAT_LAKE_STAGE_DIR};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(told, names[i]) == 0) return true;
    return leat_io_is_temp_name(strrchr(told, '/') + 1);
}

/* Its size is that of what was linked: another thread may just have put a file of another size in its place. */
static enum leat_status stage_file(struct stage *s, const char *from, const char *to, const char *name, struct leat_error *err) {
    struct leat_stat linked;
    enum leat_status st = s->io->ops->link(s->io, from, to, err);
    if (st == LEAT_NOT_FOUND) return LEAT_OK;
    if (st == LEAT_OK) st = s->io->ops->stat(s->io, to, &linked, err);
    if (st == LEAT_OK)
        json_array_append_new(s->files, json_pack("{s:s,s:I}", "path", name, "bytes", (json_int_t)linked.size_bytes));
    return st;
}

/* from/... to to/..., told as name/... */
static enum leat_status stage_tree(struct stage *s, const char *from, const char *to, const char *name, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(s->io, from, &names, &count, err);
    if (st == LEAT_OK) st = s->io->ops->mkdir(s->io, to, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        char *a = leat_asprintf("%s/%s", from, names[i]), *b = leat_asprintf("%s/%s", to, names[i]), *told = leat_asprintf("%s/%s", name, names[i]);
        struct leat_stat stat;
        bool skip = is_left_out(told) || json_object_get(s->first, told);
        if (!skip) st = s->io->ops->stat(s->io, a, &stat, err);
        if (!skip && st == LEAT_OK)
            st = stat.is_dir ? stage_tree(s, a, b, told, err) : stage_file(s, a, b, told, err);
        else if (st == LEAT_NOT_FOUND)
            st = LEAT_OK;
        free(a);
        free(b);
        free(told);
    }
    leat_names_free(names, count);
    return st;
}

/* One folder below the work folder, before the rest. */
static enum leat_status stage_first(struct stage *s, const char *work_dir, const char *kind, const char *which, struct leat_error *err) {
    char *from = leat_asprintf("%s/%s/%s", work_dir, kind, which), *parent = leat_asprintf("%s/" LEAT_STAGE_DIR "/%s", work_dir, kind);
    char *to = leat_asprintf("%s/%s", parent, which), *told = leat_asprintf("work/%s/%s", kind, which);
    enum leat_status st = leat_io_exists(s->io, from) ? s->io->ops->mkdir(s->io, parent, err) : LEAT_OK;
    if (st == LEAT_OK && leat_io_exists(s->io, from)) st = stage_tree(s, from, to, told, err);
    json_object_set_new(s->first, told, json_true());
    free(from);
    free(parent);
    free(to);
    free(told);
    return st;
}

static enum leat_status stage_sinks(struct stage *s, struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        leat_outbox_hold(e->outbox);
        st = stage_first(s, engine->work_dir, "sink", e->def->name, err);
        leat_outbox_release(e->outbox);
    }
    return st;
}

static enum leat_status stage_alerts(struct stage *s, struct leat_engine *engine, struct leat_error *err) {
    struct leat_outbox *outbox = engine->alerts ? engine->alerts->outbox : NULL;
    if (!outbox) return LEAT_OK;
    leat_outbox_hold(outbox);
    enum leat_status st = stage_first(s, engine->work_dir, "alerts", "outbox", err);
    leat_outbox_release(outbox);
    return st;
}

static enum leat_status stage_logs(struct stage *s, struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->project->source_count && st == LEAT_OK; i++) {
        struct leat_src *src = &engine->sources[i];
        if (!src->intake) continue;
        pthread_mutex_lock(&src->log_lock);
        st = stage_first(s, engine->work_dir, "log", src->def->name, err);
        pthread_mutex_unlock(&src->log_lock);
    }
    return st;
}

static enum leat_status write_list(struct stage *s, const char *path, struct leat_error *err) {
    char *text = json_dumps(s->files, JSON_COMPACT);
    enum leat_status st = leat_io_write_durable(s->io, path, text, strlen(text), true, err);
    free(text);
    return st;
}

enum leat_status leat_stage(struct leat_env *env, const char *lake_dir, const char *work_dir, struct leat_engine *engine, struct leat_error *err) {
    struct stage s = {.io = env->io, .files = json_array(), .first = json_object()};
    char *work = leat_asprintf("%s/" LEAT_STAGE_DIR, work_dir), *lake = leat_asprintf("%s/" LEAT_LAKE_STAGE_DIR, lake_dir);
    char *list = leat_asprintf("%s/files.json", work);
    enum leat_status st = leat_stage_drop(env, lake_dir, work_dir, err);
    if (st == LEAT_OK) st = s.io->ops->mkdir(s.io, work, err);
    if (st == LEAT_OK && engine) st = stage_sinks(&s, engine, err);
    if (st == LEAT_OK && engine) st = stage_alerts(&s, engine, err);
    if (st == LEAT_OK && engine) st = stage_logs(&s, engine, err);
    if (st == LEAT_OK) st = stage_tree(&s, work_dir, work, "work", err);
    if (st == LEAT_OK) st = stage_tree(&s, lake_dir, lake, "lake", err);
    if (st == LEAT_OK) st = write_list(&s, list, err);
    json_decref(s.files);
    json_decref(s.first);
    free(work);
    free(lake);
    free(list);
    return st;
}

enum leat_status leat_stage_drop(struct leat_env *env, const char *lake_dir, const char *work_dir, struct leat_error *err) {
    char *work = leat_asprintf("%s/" LEAT_STAGE_DIR, work_dir), *lake = leat_asprintf("%s/" LEAT_LAKE_STAGE_DIR, lake_dir);
    enum leat_status st = leat_io_remove_tree(env->io, work, err);
    if (st == LEAT_OK) st = leat_io_remove_tree(env->io, lake, err);
    free(work);
    free(lake);
    return st;
}

enum leat_status leat_backup_settle(struct leat_env *env, const char *lake_dir, const char *work_dir, struct leat_error *err) {
    char *cut = leat_asprintf("%s/" LEAT_RESTORING, work_dir), *lock = leat_asprintf("%s/" LEAT_BACKUP_LOCK, work_dir);
    char *work = leat_asprintf("%s/" LEAT_STAGE_DIR, work_dir), *lake = leat_asprintf("%s/" LEAT_LAKE_STAGE_DIR, lake_dir);
    struct leat_file *file = NULL;
    enum leat_status st = LEAT_OK;
    if (leat_io_exists(env->io, cut))
        st = leat_fail(err, LEAT_INVALID, "%s is there: a 'leat restore' into this folder was cut short. Remove the folder and restore again", cut);
    else if (leat_io_exists(env->io, work) || leat_io_exists(env->io, lake))
        st = env->io->ops->open(env->io, lock, LEAT_OPEN_APPEND, &file, err);
    if (file && env->io->ops->lock(file, NULL) == LEAT_OK) st = leat_stage_drop(env, lake_dir, work_dir, err);
    if (file) env->io->ops->close(file);
    free(cut);
    free(lock);
    free(work);
    free(lake);
    return st;
}

enum leat_status leat_restored_at(struct leat_env *env, const char *work_dir, int64_t *at_us, struct leat_error *err) {
    char *path = leat_asprintf("%s/" LEAT_RESTORED, work_dir);
    struct leat_buffer text = {0};
    *at_us = 0;
    enum leat_status st = leat_io_read_all(env->io, path, LEAT_MIB, &text, err);
    if (st == LEAT_OK) {
        json_t *restored = json_loadb(text.data, text.length, 0, NULL);
        *at_us = json_integer_value(json_object_get(restored, "at_us"));
        if (*at_us <= 0) st = leat_fail(err, LEAT_CORRUPT, "%s does not say when the folder was restored", path);
        json_decref(restored);
    } else if (st == LEAT_NOT_FOUND) {
        st = LEAT_OK;
    }
    leat_buffer_deinit(&text);
    free(path);
    return st;
}
