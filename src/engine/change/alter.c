/* ALTER: the file is rewritten, then applied; on a failure it is as it was. SUSPEND, RESUME and REFRESH leave the files alone. */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "project/alter.h"

static const struct leat_text_file *find_file(const struct leat_project *project, const struct leat_alter *alter, struct leat_buffer *text) {
    for (size_t i = 0; i < project->file_count; i++)
        if (leat_alter_rewrite(alter, project->files[i], text)) return project->files[i];
    return NULL;
}

static enum leat_status no_table(const struct leat_project *project, const char *name, struct leat_error *err) {
    const char **names = leat_alloc((project->table_count + 1) * sizeof *names);
    for (size_t t = 0; t < project->table_count; t++) names[t] = project->tables[t].name;
    const char *nearest = leat_nearest(name, names, project->table_count);
    enum leat_status st = leat_fail(err, LEAT_NOT_FOUND, nearest ? "there is no materialized table \"%s\"; did you mean \"%s\"?"
                                                                : "there is no materialized table \"%s\"", name, nearest);
    free(names);
    return st;
}

static enum leat_status rewrite_and_apply(struct leat_engine *engine, const struct leat_alter *alter, bool dry_run, struct leat_diagnostics *diags,
                                          struct leat_buffer *out, struct leat_error *err) {
    const struct leat_change change = {.dry_run = dry_run};
    struct leat_io *io = engine->env->io;
    struct leat_project *files = NULL;
    struct leat_buffer text = {0};
    enum leat_status st = leat_project_load(engine->env, engine->project_dir, &files, diags, err);
    if (st != LEAT_OK) return st;
    const struct leat_text_file *file = find_file(files, alter, &text);
    if (!file) {
        st = no_table(files, alter->table, err);
        leat_project_free(files);
        return st;
    }
    char *path = leat_asprintf("%s/%s", engine->project_dir, file->name);
    st = leat_io_write_durable(io, path, text.data, text.length, true, err);
    if (st == LEAT_OK) {
        st = leat_engine_apply(engine, &change, diags, out, err);
        if ((st != LEAT_OK && !err->fatal) || dry_run) {
            struct leat_error problem;
            if (leat_io_write_durable(io, path, file->text, file->length, true, &problem) != LEAT_OK)
                leat_log(engine->env, LEAT_LOG_ERROR, "%s is left as ALTER wrote it: %s", path, problem.text);
        }
    }
    free(path);
    leat_buffer_deinit(&text);
    leat_project_free(files);
    return st;
}

static enum leat_status refresh(struct leat_engine *engine, const struct leat_alter *alter, bool dry_run, struct leat_diagnostics *diags,
                                struct leat_buffer *out, struct leat_error *err) {
    struct leat_object_ref ref;
    const struct leat_change change = {.run = alter->table, .dry_run = dry_run};
    if (!leat_project_find(engine->project, alter->table, &ref) || ref.kind != LEAT_OBJECT_TABLE) return no_table(engine->project, alter->table, err);
    if (alter->text) return leat_engine_refresh_part(engine, alter->table, alter->text, dry_run, out, err);
    if (engine->tables[ref.index].batch) return leat_engine_apply(engine, &change, diags, out, err);
    /* Kept fresh all the time: it is brought up to what has been read, and published. */
    enum leat_status st = dry_run ? LEAT_OK : leat_engine_drain(engine, err);
    if (st == LEAT_OK && !dry_run) st = leat_engine_flush(engine, false, err);
    if (st == LEAT_OK && out) leat_put(out, "{\"tables\": [], \"rows\": 0, \"bytes\": 0}");
    return st;
}

enum leat_status leat_engine_alter(struct leat_engine *engine, const char *sql, bool dry_run, struct leat_diagnostics *diags, struct leat_buffer *out,
                                   struct leat_error *err) {
    struct leat_alter alter;
    enum leat_status st = leat_alter_parse(sql, &alter, err);
    if (st != LEAT_OK) return st;
    const struct leat_change suspend = {.suspend = alter.table, .dry_run = dry_run}, resume = {.resume = alter.table, .dry_run = dry_run};
    switch (alter.kind) {
    case LEAT_ALTER_DIAL:
    case LEAT_ALTER_QUERY: st = rewrite_and_apply(engine, &alter, dry_run, diags, out, err); break;
    case LEAT_ALTER_SUSPEND: st = leat_engine_apply(engine, &suspend, diags, out, err); break;
    case LEAT_ALTER_RESUME: st = leat_engine_apply(engine, &resume, diags, out, err); break;
    case LEAT_ALTER_REFRESH: st = refresh(engine, &alter, dry_run, diags, out, err); break;
    }
    leat_alter_deinit(&alter);
    return st;
}
