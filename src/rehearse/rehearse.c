#include "rehearse/rehearse.h"

#include <stdlib.h>
#include <string.h>

#include "connect/recorded.h"
#include "sim/clock.h"

struct leat_rehearsal {
    struct leat_env env;       /* the caller's, with the clock below */
    struct leat_clock *real;
    struct leat_sim_clock clock;
    struct leat_scratch_io io;
    char *lake, *work;
    struct leat_rehearsal_options options;
    struct leat_recording *recordings; /* per source of the record */
    struct leat_recording none;        /* of what has no recording: references, which have their history; sources that are new */
    struct leat_engine *engine;
    int64_t until_us;
    int64_t began_real_us, began_us;   /* for `speed` */
    int64_t told_us;
    atomic_int stop;
    void (*at_end)(void *);
    void *at_end_context;
    bool cancelled;
};

/* ---- the clock --------------------------------------------------------------------------------------------------------- */

static int64_t next_arrival(const struct leat_rehearsal *r) {
    int64_t next = INT64_MAX;
    for (size_t s = 0; s < r->options.record->source_count; s++)
        if (r->recordings[s].next_us < next) next = r->recordings[s].next_us;
    return next;
}

static void keep_pace(struct leat_rehearsal *r, int64_t at_us) {
    if (r->options.speed <= 0) return;
    r->real->sleep_until(r->real, r->began_real_us + (int64_t)((double)(at_us - r->began_us) / r->options.speed));
}

/* Jumps to the deadline, or to the next record where that is waited for. At the end of what is to be run the engine is stopped. */
static void jump(struct leat_rehearsal *r, int64_t deadline_us, bool woken) {
    enum { PROGRESS_US = 200000 };
    int64_t offset = r->clock.wall_offset_us, wake_us = deadline_us + offset, next_us = next_arrival(r), real_us;
    if (woken && next_us < wake_us) wake_us = next_us;
    if (wake_us >= r->until_us) {
        wake_us = r->until_us;
        r->stop = 1;
    }
    if (next_us == INT64_MAX && r->until_us == INT64_MAX && wake_us > r->options.record->last_us) {
        wake_us = r->options.record->last_us; /* every project ends then, whatever it would do next */
        r->stop = 1;
    }
    if (r->stop && r->at_end) r->at_end(r->at_end_context);
    keep_pace(r, wake_us);
    if (wake_us - offset > r->clock.monotonic_us) r->clock.monotonic_us = wake_us - offset;
    if (!r->options.progress || (real_us = r->real->monotonic_us(r->real)) < r->told_us) return;
    r->told_us = real_us + PROGRESS_US;
    if (!r->options.progress(r->options.context, wake_us)) { r->stop = 1; r->cancelled = true; }
}

static void wait_for(struct leat_clock *clock, int64_t deadline_us, const int *fds, int count) {
    struct leat_rehearsal *r = ((struct leat_sim_clock *)clock->context)->context;
    bool woken = false; /* does it wait for the sources? */
    for (int i = 0; i < count; i++) woken |= fds[i] == LEAT_RECORDED_TOKEN;
    if (r->options.rest_us) r->real->sleep_until(r->real, r->real->monotonic_us(r->real) + r->options.rest_us);
    jump(r, deadline_us, woken);
}

/* ---- the project ------------------------------------------------------------------------------------------------------- */

static void set(struct leat_project *project, const char *name, const char *value) {
    for (size_t i = 0; i < project->setting_count; i++) {
        if (strcmp(project->settings[i].name, name) != 0) continue;
        free(project->settings[i].value);
        project->settings[i].value = leat_strdup(value);
    }
}

static void adjust_table(const struct leat_rehearsal *r, struct leat_table *table) {
    if (r->options.freshness_us) {
        table->freshness_us = r->options.freshness_us;
        table->calendar = (struct leat_calendar){0};
        table->downstream = false;
        free(table->cron);
        table->cron = NULL;
    }
    if (table->freshness_us && table->freshness_us < r->options.step_us) table->freshness_us = r->options.step_us;
    if (table->calendar.else_us && table->calendar.else_us < r->options.step_us) table->calendar.else_us = r->options.step_us;
}

static void adjust(void *context, struct leat_project *project) {
    struct leat_rehearsal *r = context;
    const struct leat_record *record = r->options.record;
    for (size_t s = 0; s < project->source_count; s++) {
        struct leat_source *source = &project->sources[s];
        const struct leat_recorded_source *recorded = leat_record_find(record, source->name);
        if (source->reference) {
            source->recording = &r->none; /* it never changes */
            if (source->refresh_us && source->refresh_us < r->options.step_us) source->refresh_us = r->options.step_us;
        } else {
            source->recording = recorded ? &r->recordings[recorded - record->sources] : &r->none;
            source->format = LEAT_FORMAT_JSON; /* records are written anew so */
        }
    }
    for (size_t t = 0; t < project->table_count; t++) adjust_table(r, &project->tables[t]);
    leat_project_detach(project);
    if (r->options.lean) {
        set(project, "commit_interval", "86400000000us"); /* or as many rows wait as memory is to hold */
        set(project, "bronze_interval", "86400000000us");
        set(project, "drift_watch", "0");
        set(project, "retry_backoff", "3600000000us");
    }
}

static enum leat_status link_tree(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_mkdirs(io, to, err);
    if (st == LEAT_OK) st = leat_io_list_sorted(io, from, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        struct leat_stat is;
        char *source = leat_asprintf("%s/%s", from, names[i]), *target = leat_asprintf("%s/%s", to, names[i]);
        st = io->ops->stat(io, source, &is, err);
        if (st == LEAT_OK) st = is.is_dir ? link_tree(io, source, target, err) : io->ops->link(io, source, target, err);
        free(source);
        free(target);
    }
    leat_names_free(names, count);
    return st;
}

/* The histories of references, by hard links: their files never change. */
static enum leat_status link_histories(struct leat_rehearsal *r, const char *lake, struct leat_error *err) {
    static const char ENDING[] = "__history";
    char **names = NULL;
    size_t count = 0;
    enum leat_status st = leat_io_list_sorted(r->env.io, r->options.record->lake_dir, &names, &count, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        size_t length = strlen(names[i]);
        if (length < sizeof ENDING || strcmp(names[i] + length - strlen(ENDING), ENDING) != 0) continue;
        char *from = leat_asprintf("%s/%s", r->options.record->lake_dir, names[i]), *to = leat_asprintf("%s/%s", lake, names[i]);
        st = link_tree(r->env.io, from, to, err);
        free(from);
        free(to);
    }
    leat_names_free(names, count);
    return st;
}

static enum leat_status open_engine(struct leat_rehearsal *r, bool read_only, struct leat_diagnostics *diags, struct leat_error *err) {
    const struct leat_engine_options options = {.project_dir = r->options.project_dir, .lake_dir = r->lake, .work_dir = r->work, .in_turns = true,
                                                .read_only = read_only,
                                                .ends_us = r->options.lean && r->options.record->records ? r->options.record->last_us : 0,
                                                .adjust = adjust, .adjust_context = r};
    return leat_engine_open(&r->env, &options, diags, &r->engine, err);
}

static enum leat_status make_folders(struct leat_rehearsal *r, struct leat_error *err) {
    enum leat_status st = leat_io_remove_tree(r->env.io, r->options.dir, err);
    if (st == LEAT_OK) st = leat_io_mkdirs(r->env.io, r->lake, err);
    return st == LEAT_OK ? link_histories(r, r->lake, err) : st;
}

enum leat_status leat_rehearsal_open(struct leat_env *env, const struct leat_rehearsal_options *options, struct leat_diagnostics *diags,
                                     struct leat_rehearsal **out, struct leat_error *err) {
    struct leat_rehearsal *r = leat_alloc(sizeof *r);
    const struct leat_record *record = options->record;
    *out = NULL;
    r->env = *env;
    r->real = env->clock;
    r->options = *options;
    r->recordings = leat_alloc((record->source_count + 1) * sizeof *r->recordings);
    for (size_t s = 0; s < record->source_count; s++)
        r->recordings[s] = (struct leat_recording){.path = record->sources[s].path, .next_us = record->sources[s].first_us};
    r->none.next_us = INT64_MAX;
    leat_sim_clock_init(&r->clock, options->resume_us ? options->resume_us : record->records ? record->first_us - 1 : r->real->now_us(r->real));
    r->clock.context = r;
    r->clock.clock.wait = wait_for;
    r->env.clock = &r->clock.clock;
    r->began_us = r->clock.clock.now_us(&r->clock.clock);
    r->began_real_us = r->real->monotonic_us(r->real);
    r->lake = leat_asprintf("%s/lake", options->dir);
    r->work = leat_asprintf("%s/work", options->dir);
    leat_scratch_io_init(&r->io, r->lake, options->lean);
    r->env.io = &r->io.io;
    enum leat_status st = options->resume_us ? LEAT_OK : make_folders(r, err);
    if (st == LEAT_OK) st = open_engine(r, false, diags, err);
    if (st != LEAT_OK) {
        leat_rehearsal_close(r);
        return st;
    }
    *out = r;
    return LEAT_OK;
}

/* ---- running ----------------------------------------------------------------------------------------------------------- */

enum leat_status leat_rehearsal_run_to(struct leat_rehearsal *r, int64_t until_us, void (*call)(void *), void *context, struct leat_error *err) {
    r->until_us = until_us;
    r->stop = 0;
    r->at_end = call;
    r->at_end_context = context;
    enum leat_status st = leat_engine_run(r->engine, &r->stop, err);
    r->at_end = NULL;
    return st == LEAT_OK && r->cancelled ? leat_fail(err, LEAT_CANCELLED, "stopped") : st;
}

enum leat_status leat_rehearsal_run(struct leat_rehearsal *r, int64_t until_us, struct leat_error *err) {
    return leat_rehearsal_run_to(r, until_us, NULL, NULL, err);
}

enum leat_status leat_rehearsal_skip(struct leat_rehearsal *r, int64_t until_us, struct leat_error *err) {
    int64_t now_us = r->clock.clock.now_us(&r->clock.clock);
    uint64_t got;
    enum leat_status st = LEAT_OK;
    if (until_us - 1 > now_us) leat_sim_clock_advance(&r->clock, until_us - 1 - now_us);
    do {
        bool did = true;
        st = leat_engine_ingest(r->engine, &got, err);
        while (st == LEAT_OK && did) st = leat_engine_step(r->engine, true, &did, err);
        if (st == LEAT_OK) st = leat_engine_flush(r->engine, false, err);
    } while (st == LEAT_OK && got);
    return st;
}

enum leat_status leat_rehearsal_finish(struct leat_rehearsal *r, struct leat_error *err) {
    return leat_engine_run_once(r->engine, true, false, err);
}

enum leat_status leat_rehearsal_read(struct leat_rehearsal *r, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    leat_engine_close(r->engine);
    r->engine = NULL;
    enum leat_status st = open_engine(r, true, &diags, err);
    leat_diagnostics_deinit(&diags);
    return st;
}

struct leat_engine *leat_rehearsal_engine(struct leat_rehearsal *r) {
    return r->engine;
}

const struct leat_scratch_io *leat_rehearsal_io(const struct leat_rehearsal *r) {
    return &r->io;
}

void leat_rehearsal_close(struct leat_rehearsal *r) {
    if (!r) return;
    leat_engine_close(r->engine);
    free(r->recordings);
    free(r->lake);
    free(r->work);
    free(r);
}
