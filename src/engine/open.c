/* Opening and closing an engine; the small services everything uses: clock, journal. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "connect/sink.h"
#include "engine/care/backup.h"
#include "engine/change/control.h"
#include "engine/care/format.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

int64_t leat_engine_now(struct leat_engine *engine) {
    int64_t now = engine->env->clock->now_us(engine->env->clock);
    if (now > engine->clock_us) engine->clock_us = now; /* a clock stepping back is held (rules 7 and 16) */
    return engine->clock_us;
}

enum leat_status leat_engine_journal(struct leat_engine *engine, json_t *record, struct leat_error *err) {
    char *text = json_dumps(record, JSON_COMPACT);
    enum leat_status st = leat_journal_append(engine->journal, text, strlen(text), err);
    if (st == LEAT_OK) st = leat_journal_sync(engine->journal, err);
    free(text);
    json_decref(record);
    return st;
}

static char *join(const char *dir, const char *name) {
    return leat_asprintf("%s/%s", dir, name);
}

/* The work folder's incarnation names what this engine wrote into the lake; a wiped folder gets a new one. */
static enum leat_status load_identity(struct leat_engine *engine, struct leat_error *err) {
    char *path = join(engine->work_dir, "identity");
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(engine->env->io, path, 64, &text, err);
    if (st == LEAT_NOT_FOUND && engine->read_only) {
        st = LEAT_OK; /* never run: the lake is as empty */
    } else if (st == LEAT_NOT_FOUND) {
        leat_random_uuid(&engine->env->random, engine->incarnation);
        st = leat_io_write_durable(engine->env->io, path, engine->incarnation, 36, false, err);
    } else if (st == LEAT_OK && text.length == 36) {
        memcpy(engine->incarnation, text.data, 36);
    } else if (st == LEAT_OK) {
        st = leat_fail(err, LEAT_CORRUPT, "%s: not an identity of 36 characters", path);
    }
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

static enum leat_status check_formats(struct leat_engine *engine, struct leat_error *err) {
    char *work = join(engine->work_dir, "format.json"), *lake = join(engine->lake_dir, ".format.json");
    bool write = !engine->read_only;
    enum leat_status st = leat_format_settle(engine->env, work, write, "or remove the work folder, and leat goes on from what the lake holds", err);
    if (st == LEAT_OK) st = leat_format_settle(engine->env, lake, write, "or restore the lake from a backup", err);
    free(work);
    free(lake);
    return st;
}

static enum leat_status open_folders(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st;
    char *lock = join(engine->work_dir, "lock"), *lake_lock = join(engine->lake_dir, ".lock");
    struct leat_io *io = engine->env->io;
    if ((st = leat_io_mkdirs(io, engine->lake_dir, err)) != LEAT_OK) goto out;
    if ((st = leat_io_mkdirs(io, engine->work_dir, err)) != LEAT_OK) goto out;
    if ((st = io->ops->open(io, lock, LEAT_OPEN_APPEND, &engine->lock, err)) != LEAT_OK) goto out;
    if ((st = io->ops->lock(engine->lock, err)) != LEAT_OK) {
        leat_prepend(err, "another leat has %s open", engine->project_dir);
        goto out;
    }
    if ((st = io->ops->open(io, lake_lock, LEAT_OPEN_APPEND, &engine->lake_lock, err)) != LEAT_OK) goto out;
    if ((st = io->ops->lock(engine->lake_lock, err)) != LEAT_OK) {
        leat_prepend(err, "another leat, of another work folder, writes the lake %s", engine->lake_dir);
        goto out;
    }
    if ((st = leat_io_remove_tree(io, engine->scratch_dir, err)) != LEAT_OK) goto out; /* a crash's leftovers */
    if ((st = leat_io_mkdirs(io, engine->scratch_dir, err)) != LEAT_OK) goto out;
    if ((st = check_formats(engine, err)) != LEAT_OK) goto out;
    if ((st = leat_backup_settle(engine->env, engine->lake_dir, engine->work_dir, err)) != LEAT_OK) goto out;
    if ((st = leat_restored_at(engine->env, engine->work_dir, &engine->restored_us, err)) != LEAT_OK) goto out;
    st = load_identity(engine, err);
out:
    free(lock);
    free(lake_lock);
    return st;
}

int leat_engine_scan_threads(const struct leat_engine *engine) {
    int threads = (int)leat_setting_int(engine->project, "threads");
    return threads ? threads : leat_usage_processors();
}

enum leat_status leat_engine_parallel(struct leat_engine *engine, bool parallel, struct leat_error *err) {
    if (!engine->own_batch || leat_engine_scan_threads(engine) == 1) return LEAT_OK;
    return leat_conn_set_threads(engine->batch_conn, parallel ? leat_engine_scan_threads(engine) : 1, err);
}

enum leat_status leat_engine_narrow(struct leat_engine *engine, enum leat_status so_far, struct leat_error *err) {
    struct leat_error ignored;
    enum leat_status st = leat_engine_parallel(engine, false, so_far == LEAT_OK ? err : &ignored);
    return so_far == LEAT_OK ? st : so_far;
}

static enum leat_status open_duck(struct leat_engine *engine, const struct leat_engine_options *options, struct leat_error *err) {
    const char *zone = leat_setting_text(engine->project, "time_zone");
    struct leat_duck_options step = {.use = LEAT_DUCK_STEP, .threads = 1, .time_zone = zone};
    struct leat_duck_options plan = {.use = LEAT_DUCK_PLAN, .threads = 1, .time_zone = zone};
    struct leat_duck_options batch = {.use = LEAT_DUCK_BATCH,
                                      .threads = leat_engine_scan_threads(engine),
                                      .memory_limit_bytes = (uint64_t)leat_setting_int(engine->project, "memory_limit"),
                                      .temp_dir = engine->scratch_dir,
                                      .time_zone = zone};
    enum leat_status st;
    engine->step_duck = options->shared_step;
    engine->plan_duck = options->shared_plan;
    engine->batch_duck = options->shared_batch;
    if (!engine->plan_duck && (st = leat_duck_open(&plan, &engine->plan_duck, err)) != LEAT_OK) return st;
    if (!engine->batch_duck && (st = leat_duck_open(&batch, &engine->batch_duck, err)) != LEAT_OK) return st;
    engine->own_plan = !options->shared_plan;
    engine->own_batch = !options->shared_batch;
    if ((st = leat_conn_open(engine->plan_duck, &engine->plan_conn, err)) != LEAT_OK) return st;
    if ((st = leat_conn_open(engine->batch_duck, &engine->batch_conn, err)) != LEAT_OK) return st;
    if (engine->read_only) return LEAT_OK;
    if (!engine->step_duck && (st = leat_duck_open(&step, &engine->step_duck, err)) != LEAT_OK) return st;
    engine->own_step = !options->shared_step;
    return leat_conn_open(engine->step_duck, &engine->step_conn, err);
}

static enum leat_status open_inputs(struct leat_engine *engine, struct leat_error *err) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_source *def = &engine->project->sources[s];
        enum leat_status st = LEAT_OK;
        if (def->versions)
            leat_reference_open_versions(engine->references[def->versions_of], def, &engine->references[s]);
        else if (def->reference)
            st = leat_reference_open(engine->env, engine->batch_conn, def, engine->project_dir, engine->lake_dir, engine->scratch_dir,
                                     engine->incarnation, &engine->references[s], err);
        else
            st = leat_src_open(engine, (int)s, err);
        if (st != LEAT_OK) return leat_prepend(err, "source \"%s\"", def->name);
    }
    return LEAT_OK;
}

static enum leat_status check_sinks(struct leat_engine *engine, struct leat_diagnostics *diags, struct leat_error *err) {
    for (size_t i = 0; i < engine->project->sink_count; i++) {
        const struct leat_sink_def *def = &engine->project->sinks[i];
        const struct leat_plan *plan = engine->tables[def->table].plan;
        bool append_only = plan->op_count && plan->ops[plan->op_count - 1].append_only;
        leat_sink_check(engine->project, def, &plan->schema, append_only, engine->project->tables[def->table].emit_on_window_close, diags);
    }
    struct leat_sink_def alerts;
    if (leat_alerts_sink(engine->project, &alerts)) leat_sink_webhook.check(&alerts, NULL, NULL, diags);
    leat_sink_def_deinit(&alerts);
    return leat_diagnostics_errors(diags) ? leat_fail(err, LEAT_INVALID, "the project has errors") : LEAT_OK;
}

static void close_plan_duck(struct leat_engine *engine) {
    if (engine->plan_conn) leat_conn_close(engine->plan_conn);
    engine->plan_conn = NULL;
    if (engine->plan_duck && engine->own_plan) leat_duck_close(engine->plan_duck);
    engine->plan_duck = NULL;
}

enum leat_status leat_engine_open_project(struct leat_engine *engine, struct leat_project *project, struct leat_diagnostics *diags,
                                          struct leat_error *err) {
    const struct leat_engine_options *options = &engine->options;
    enum leat_status st;
    engine->project = project;
    leat_sinks_resolve(project, diags);
    if (leat_diagnostics_errors(diags)) return leat_fail(err, LEAT_INVALID, "the project has errors");
    /* Every query and zone, with places; costs an instance of its own, where none is shared, so only where that is the question. */
    if (options->compile_only && (st = leat_project_check_queries(project, options->shared_plan, diags, err)) != LEAT_OK) return st;
    if (leat_diagnostics_errors(diags)) return leat_fail(err, LEAT_INVALID, "the project has errors");
    if (options->adjust) options->adjust(options->adjust_context, project);
    size_t n = project->source_count + 1;
    engine->sources = leat_alloc(n * sizeof *engine->sources);
    engine->references = leat_alloc(n * sizeof *engine->references);
    engine->view_sql = leat_alloc((project->view_count + 1) * sizeof *engine->view_sql);
    engine->tables = leat_alloc((project->table_count + 1) * sizeof *engine->tables);
    engine->max_step_rows = options->max_step_rows ? options->max_step_rows : (uint64_t)leat_setting_int(project, "max_step_rows");
    if ((st = open_duck(engine, options, err)) != LEAT_OK) return st;
    if ((st = leat_groups_build(engine, options->compile_only ? diags : NULL, err)) != LEAT_OK) {
        struct leat_error other;
        if (st == LEAT_SQL && !options->compile_only && leat_project_check_queries(project, options->shared_plan, diags, &other) != LEAT_OK) *err = other;
        return st;
    }
    if ((st = check_sinks(engine, diags, err)) != LEAT_OK) return st;
    leat_retain_check(engine, diags);
    leat_frozen_check(engine, diags);
    if (leat_diagnostics_errors(diags)) return leat_fail(err, LEAT_INVALID, "the project has errors");
    if ((engine->read_only || options->compile_only) && (st = leat_groups_arrange(engine, err)) != LEAT_OK) return st; /* else recovery knows how */
    if (options->compile_only) return LEAT_OK;
    if ((st = open_inputs(engine, err)) != LEAT_OK) return st;
    for (size_t t = 0; t < project->table_count; t++)
        if ((st = leat_table_open_delta(engine, &engine->tables[t], err)) != LEAT_OK) return st;
    for (size_t t = 0; t < project->table_count; t++) leat_frozen_load_lake(&engine->tables[t]);
    leat_retain_settle(engine);
    if ((st = leat_checks_open(engine, err)) != LEAT_OK) return st;
    close_plan_duck(engine); /* plans are made; what planning took is given back */
    if (options->serve) leat_live_open(engine);
    return LEAT_OK;
}

static enum leat_status collect(void *context, const char *json, size_t length, struct leat_error *err) {
    struct leat_engine *engine = context;
    json_error_t problem;
    json_t *record = json_loadb(json, length, 0, &problem);
    if (!record) return leat_fail(err, LEAT_CORRUPT, "journal record: %s", problem.text);
    json_array_append_new(engine->records, record);
    return LEAT_OK;
}

static enum leat_status open_journal(struct leat_engine *engine, struct leat_error *err) {
    char *dir = join(engine->work_dir, "journal");
    enum leat_status st = leat_journal_open(engine->env, dir, collect, engine, &engine->journal, err);
    free(dir);
    return st;
}

enum leat_status leat_engine_start(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = leat_retry_settle(engine, err);
    if (st == LEAT_OK) st = leat_tables_take_back(engine, err); /* before anybody is told of their rows */
    if (st == LEAT_OK) st = leat_effects_open(engine, err);
    if (st == LEAT_OK) st = leat_engine_recover(engine, err);
    if (st == LEAT_OK) st = leat_live_load(engine, err);
    if (st == LEAT_OK) st = leat_effects_begin(engine, engine->options.deliver, err);
    return st == LEAT_OK ? leat_alerts_open(engine, err) : st;
}

/* What runs, finished under the project it was begun with; then the project of the files. */
static enum leat_status open_applied(struct leat_engine *engine, struct leat_project *files, struct leat_diagnostics *diags, struct leat_error *err) {
    struct leat_diagnostics old = {0};
    struct leat_project *applied = leat_engine_applied(engine, &old);
    bool same = !applied || leat_project_same_text(applied, files), keep = engine->options.as_applied;
    enum leat_status st;
    if (same) {
        leat_project_free(applied);
        st = leat_engine_open_project(engine, files, diags, err);
        if (st == LEAT_OK) st = leat_engine_start(engine, err);
        goto out;
    }
    st = leat_engine_open_project(engine, applied, &old, err);
    if (st != LEAT_OK && !err->fatal && !keep) {
        leat_log(engine->env, LEAT_LOG_WARN, "the project as it was applied last can no longer be opened (%s)", err->text);
        leat_engine_close_project(engine);
        st = leat_engine_open_project(engine, files, diags, err);
        if (st == LEAT_OK) st = leat_engine_start(engine, err);
        goto out;
    }
    if (st == LEAT_OK) st = leat_engine_start(engine, err);
    if (st == LEAT_OK && !keep)
        st = leat_engine_take_project(engine, files, NULL, diags, err);
    else
        leat_project_free(files);
out:
    leat_diagnostics_deinit(&old);
    return st;
}

/* What a reader reads: the lake is of the project that runs, not of files that may have changed since. */
static struct leat_project *as_published(struct leat_engine *engine, struct leat_project *files) {
    struct leat_diagnostics diags = {0};
    struct leat_project *published = engine->options.compile_only ? NULL : leat_engine_published_project(engine, &diags);
    bool usable = published && !leat_diagnostics_errors(&diags);
    leat_diagnostics_deinit(&diags);
    leat_project_free(usable ? files : published);
    return usable ? published : files;
}

enum leat_status leat_engine_open(struct leat_env *env, const struct leat_engine_options *options, struct leat_diagnostics *diags,
                                  struct leat_engine **out, struct leat_error *err) {
    struct leat_engine *engine = leat_alloc(sizeof *engine);
    struct leat_project *files = NULL;
    enum leat_status st = LEAT_OK;
    *out = NULL;
    engine->env = env;
    if ((st = leat_mailbox_open(engine, err)) != LEAT_OK) {
        free(engine);
        return st;
    }
    engine->options = *options;
    engine->read_only = options->read_only;
    engine->control_fd = -1;
    engine->history = json_array();
    engine->status_is_news = true;
    engine->records = json_array();
    engine->project_dir = leat_strdup(options->project_dir);
    engine->lake_dir = options->lake_dir ? leat_strdup(options->lake_dir) : join(options->project_dir, "lake");
    engine->work_dir = options->work_dir ? leat_strdup(options->work_dir) : join(options->project_dir, ".leat");
    engine->scratch_dir = join(engine->work_dir, "scratch");
    if (options->like)
        files = leat_project_same(options->like, diags);
    else if ((st = leat_project_load(env, options->project_dir, &files, diags, err)) != LEAT_OK)
        goto out;
    if (leat_diagnostics_errors(diags)) {
        st = leat_fail(err, LEAT_INVALID, "the project has errors");
        leat_project_free(files);
        goto out;
    }
    engine->created_us = leat_engine_now(engine);
    st = engine->read_only ? check_formats(engine, err) : open_folders(engine, err);
    if (st == LEAT_OK && engine->read_only) st = load_identity(engine, err);
    if (st == LEAT_OK && engine->read_only) {
        st = leat_engine_open_project(engine, as_published(engine, files), diags, err);
        goto out;
    }
    if (st == LEAT_OK) st = open_journal(engine, err);
    if (st != LEAT_OK) {
        leat_project_free(files);
        goto out;
    }
    if ((st = open_applied(engine, files, diags, err)) != LEAT_OK) goto out;
    json_array_clear(engine->records);
    if ((st = leat_engine_publish_project(engine, err)) != LEAT_OK) goto out;
    leat_restate_plan_next(engine, engine->restated_us > engine->created_us ? engine->restated_us : engine->created_us);
    if ((st = leat_engine_parallel(engine, false, err)) != LEAT_OK) goto out;
    st = leat_retry_finish(engine, err);
out:
    if (st != LEAT_OK) {
        leat_engine_close(engine);
        return st;
    }
    *out = engine;
    return LEAT_OK;
}

static void table_close(struct leat_gtable *table, size_t source_count) {
    leat_table_close_delta(table);
    if (table->pending.schema) leat_changes_deinit(&table->pending);
    if (table->plan) leat_plan_free(table->plan);
    for (size_t s = 0; table->late_sets && s < source_count; s++) free(table->late_sets[s].items);
    free(table->late_sets);
    free(table->balance);
    free(table->drift_where);
    free(table->last_error);
    free(table->run_why);
}

void leat_engine_close_project(struct leat_engine *engine) {
    const struct leat_project *project = engine->project;
    leat_beside_cancel(engine);
    leat_live_close(engine);
    leat_alerts_close(engine);
    leat_effects_close(engine);
    leat_checks_close(engine);
    if (engine->groups) leat_groups_free(engine);
    for (size_t s = 0; engine->sources && s < project->source_count; s++) {
        leat_src_close(&engine->sources[s]);
        if (engine->references[s]) leat_reference_close(engine->references[s]);
    }
    for (size_t t = 0; engine->tables && t < project->table_count; t++) table_close(&engine->tables[t], project->source_count);
    if (engine->step_conn) leat_conn_close(engine->step_conn);
    close_plan_duck(engine);
    if (engine->batch_conn) leat_conn_close(engine->batch_conn);
    if (engine->step_duck && engine->own_step) leat_duck_close(engine->step_duck);
    if (engine->batch_duck && engine->own_batch) leat_duck_close(engine->batch_duck);
    for (size_t i = 0; engine->made_views && i < project->order_count; i++) free(engine->made_views[i]);
    for (size_t v = 0; engine->view_sql && v < project->view_count; v++) free(engine->view_sql[v]);
    free(engine->made_views);
    free(engine->view_sql);
    free(engine->sources);
    free(engine->references);
    free(engine->tables);
    free(engine->fingerprint);
    leat_project_free(engine->project);
    engine->step_conn = engine->batch_conn = NULL;
    engine->step_duck = engine->batch_duck = NULL;
    engine->memory_shared = false;
    engine->made_views = engine->view_sql = NULL;
    engine->sources = NULL;
    engine->references = NULL;
    engine->tables = NULL;
    engine->fingerprint = NULL;
    engine->project = NULL;
}

void leat_engine_close(struct leat_engine *engine) {
    if (!engine) return;
    leat_mailbox_close(engine);
    leat_control_close(engine);
    leat_engine_close_project(engine);
    if (engine->journal) leat_journal_close(engine->journal);
    if (engine->lock) engine->env->io->ops->close(engine->lock);
    if (engine->lake_lock) engine->env->io->ops->close(engine->lake_lock);
    json_decref(engine->history);
    json_decref(engine->records);
    free(engine->project_dir);
    free(engine->lake_dir);
    free(engine->work_dir);
    free(engine->scratch_dir);
    free(engine->parked);
    pthread_mutex_destroy(&engine->mailbox.lock);
    free(engine);
}

struct leat_connector *leat_engine_connector(const struct leat_engine *engine, size_t source) {
    return engine->references[source] ? NULL : engine->sources[source].connector;
}

const struct leat_project *leat_engine_project(const struct leat_engine *engine) {
    return engine->project;
}

const struct leat_plan *leat_engine_plan(const struct leat_engine *engine, size_t table) {
    return engine->tables[table].plan;
}

void leat_engine_on_progress(struct leat_engine *engine, void (*progress)(void *, uint64_t records), void *context) {
    engine->progress = progress;
    engine->progress_context = context;
}

uint64_t leat_engine_failed_runs(const struct leat_engine *engine) {
    uint64_t failed = 0;
    for (size_t t = 0; t < engine->project->table_count; t++) failed += engine->tables[t].failures > 0 || leat_table_held(&engine->tables[t]);
    return failed;
}

const char *leat_engine_lake_dir(const struct leat_engine *engine) {
    return engine->lake_dir;
}

const char *leat_engine_work_dir(const struct leat_engine *engine) {
    return engine->work_dir;
}

const char *leat_engine_scratch_dir(const struct leat_engine *engine) {
    return engine->scratch_dir;
}
