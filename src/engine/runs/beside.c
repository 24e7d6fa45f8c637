/* Runs, and what sinks are told of them, beside the steps. The query of a scheduled or full table may take minutes; tables of a freshness of a second go
 * on meanwhile. Since a run sees files that do not change, at a frontier that was fixed when it began, it does not
 * matter when it is computed: a thread with a DuckDB instance of its own does that, with what the steps leave of the
 * processors, and the engine commits what it made between two turns. One at a time. A run that was not committed, after
 * a crash or because it was cancelled, is due again.
 *
 * A run that is known to be brief is done at once: it costs less than the instance. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

#define BRIEF_US INT64_C(20000) /* CPU time */

struct leat_beside {
    struct leat_engine *engine;
    struct leat_run *run;         /* or */
    struct leat_telling *telling;
    pthread_t thread;
    pthread_mutex_t lock;
    struct leat_conn *conn; /* guarded: to be interrupted */
    atomic_bool done;
};

/* ---- memory: what one instance may use is split while there are two ---------------------------------------- */

static uint64_t limit_of(const struct leat_engine *engine, bool beside) {
    uint64_t all = (uint64_t)leat_setting_int(engine->project, "memory_limit");
    return beside ? all / 4 * 3 : all / 4;
}

/* Where the engine's instance holds more than its part already it keeps its limit: less of it is not to be had. */
static void share_memory(struct leat_engine *engine, bool shared) {
    struct leat_error ignored;
    uint64_t limit = shared ? limit_of(engine, false) : (uint64_t)leat_setting_int(engine->project, "memory_limit");
    if (engine->memory_shared == shared || !engine->own_batch) return;
    if (leat_conn_execf(engine->batch_conn, &ignored, "SET memory_limit = '%lluB'", (unsigned long long)limit) == LEAT_OK) engine->memory_shared = shared;
}

/* ---- the thread ------------------------------------------------------------------------------------------ */

static void set_conn(struct leat_beside *b, struct leat_conn *conn) {
    pthread_mutex_lock(&b->lock);
    b->conn = conn;
    pthread_mutex_unlock(&b->lock);
}

/* An instance for what is computed one after the other. */
static enum leat_status open_space(const struct leat_engine *engine, struct leat_run_space *space, struct leat_error *err) {
    if (space->conn) return LEAT_OK;
    char *temp = leat_asprintf("%s/run", engine->scratch_dir); /* instances do not share a folder */
    const struct leat_duck_options options = {.use = LEAT_DUCK_BATCH,
                                              .threads = leat_engine_scan_threads(engine),
                                              .memory_limit_bytes = limit_of(engine, true),
                                              .temp_dir = temp,
                                              .time_zone = leat_setting_text(engine->project, "time_zone")};
    enum leat_status st = leat_duck_open(&options, &space->duck, err);
    if (st == LEAT_OK) st = leat_conn_open(space->duck, &space->conn, err);
    free(temp);
    if (st != LEAT_OK) leat_space_close(space);
    return st;
}

static void compute(struct leat_beside *b) {
    struct leat_run_space *space = &b->engine->apart;
    enum leat_status *status = b->run ? &b->run->status : &b->telling->status;
    struct leat_error *error = b->run ? &b->run->error : &b->telling->error;
    enum leat_status st = open_space(b->engine, space, error);
    if (st != LEAT_OK) {
        *status = st;
        return;
    }
    set_conn(b, space->conn);
    if (b->run)
        leat_run_compute(b->run, space);
    else
        leat_telling_compute(b->telling, space->conn);
    set_conn(b, NULL);
}

static void *work(void *context) {
    struct leat_beside *b = context;
    leat_usage_yield_to_others();
    compute(b);
    atomic_store(&b->done, true);
    leat_wake_fire(&b->engine->mailbox.wake);
    return NULL;
}

/* ---- the engine's side ------------------------------------------------------------------------------------ */

static enum leat_status start_thread(struct leat_beside *b, struct leat_error *err) {
    atomic_store(&b->done, false);
    share_memory(b->engine, true);
    if (pthread_create(&b->thread, NULL, work, b) == 0) return LEAT_OK;
    return leat_fail(err, LEAT_LIMIT, "no more threads can be made");
}

static void drop(struct leat_engine *engine) {
    struct leat_beside *b = engine->beside;
    leat_run_free(b->run);
    pthread_mutex_destroy(&b->lock);
    free(b);
    engine->beside = NULL;
    engine->status_is_news = true;
}

/* Nothing is left to be computed. */
static void end_pass(struct leat_engine *engine) {
    leat_pass_end(engine->pass);
    engine->pass = NULL;
    leat_space_close(&engine->apart);
    if (engine->batch_conn) share_memory(engine, false);
}

void leat_beside_cancel(struct leat_engine *engine) {
    struct leat_beside *b = engine->beside;
    struct leat_clock *clock = leat_clock_real(); /* for a thread, not for the engine's own time */
    if (b && b->telling) atomic_store(&b->telling->stop, true);
    while (b && !atomic_load(
                    &b->done)) { /* again and again: what is interrupted is the statement under way, if there is one */
        pthread_mutex_lock(&b->lock);
        if (b->conn) leat_conn_interrupt(b->conn);
        pthread_mutex_unlock(&b->lock);
        clock->sleep_until(clock, clock->monotonic_us(clock) + 2000);
    }
    if (b) {
        struct leat_error problem;
        pthread_join(b->thread, NULL);
        if (b->run) leat_log(engine->env, LEAT_LOG_INFO, "table %s: its run was stopped, it begins again", b->run->table->def->name);
        if (b->telling && leat_telling_end(b->telling, &problem) != LEAT_OK) /* the outbox says so too: a failed disk stops the engine at its next use */
            leat_log(engine->env, LEAT_LOG_ERROR, "%s", problem.text);
        drop(engine);
    }
    end_pass(engine);
}

const struct leat_run *leat_beside_run(const struct leat_engine *engine) {
    return engine->beside ? engine->beside->run : NULL;
}

bool leat_engine_runs_beside(const struct leat_engine *engine) {
    return engine->beside != NULL;
}

static enum leat_status finish(struct leat_engine *engine, struct leat_error *err) {
    struct leat_beside *b = engine->beside;
    bool again;
    enum leat_status st;
    pthread_join(b->thread, NULL);
    if (b->telling) {
        st = leat_telling_end(b->telling, err);
        drop(engine);
        return st;
    }
    st = leat_run_end(b->run, &again, err);
    if (st == LEAT_OK && again && (st = start_thread(b, err)) == LEAT_OK) return LEAT_OK;
    leat_pass_ran(engine->pass, b->run->table);
    drop(engine);
    return st;
}

static bool is_brief(const struct leat_engine *engine, const struct leat_gtable *table) {
    return table->runs && table->last_cpu_us < BRIEF_US && !table->failures && !leat_pass_shares(engine->pass, engine, table);
}

static enum leat_status run_brief(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    enum leat_status st = leat_engine_parallel(engine, true, err);
    if (st == LEAT_OK) st = leat_batch_run(engine, table, engine->pass, err);
    return leat_engine_narrow(engine, st, err);
}

static enum leat_status begin_beside(struct leat_engine *engine, struct leat_run *run, struct leat_telling *telling, struct leat_error *err) {
    struct leat_beside *b = leat_alloc(sizeof *b);
    *b = (struct leat_beside){.engine = engine, .run = run, .telling = telling};
    pthread_mutex_init(&b->lock, NULL);
    engine->beside = b;
    engine->status_is_news = true;
    return start_thread(b, err);
}

static enum leat_status start_run(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    struct leat_run *run;
    if (is_brief(engine, table)) return run_brief(engine, table, err);
    enum leat_status st = leat_run_begin(engine, table, engine->pass, &run, err);
    if (st != LEAT_OK) return st;
    run->beside = true;
    if ((st = begin_beside(engine, run, NULL, err)) != LEAT_OK) drop(engine);
    return st;
}

static enum leat_status start_telling(struct leat_engine *engine, struct leat_error *err) {
    struct leat_telling *telling;
    struct leat_error ignored;
    enum leat_status st = leat_telling_begin(engine, &telling, err);
    if (st != LEAT_OK || !telling || (st = begin_beside(engine, NULL, telling, err)) == LEAT_OK) return st;
    atomic_store(&telling->stop, true);
    if (leat_telling_end(telling, &ignored) != LEAT_OK) leat_log(engine->env, LEAT_LOG_ERROR, "%s", ignored.text);
    drop(engine);
    return st;
}

enum leat_status leat_engine_batch_beside(struct leat_engine *engine, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    enum leat_status st;
    if (engine->options.in_turns) {
        leat_runs_pass_over(engine);
        return leat_engine_batch(engine, false, err);
    }
    if (engine->beside && !atomic_load(&engine->beside->done)) return LEAT_OK;
    if (engine->beside && (st = finish(engine, err)) != LEAT_OK) return st;
    if (!engine->beside && (st = start_telling(engine, err)) != LEAT_OK) return st;
    for (size_t i = engine->pass ? engine->pass->next : 0; i < project->order_count && !engine->beside; i++) {
        if (project->order[i].kind != LEAT_OBJECT_TABLE) continue;
        struct leat_gtable *table = &engine->tables[project->order[i].index];
        if (!leat_pass_is_due(engine, table, engine->pass, false)) continue;
        if (!engine->pass && (st = leat_pass_begin(engine, false, &engine->pass, err)) != LEAT_OK) return st;
        engine->pass->beside = true;
        engine->pass->next = i + 1;
        if ((st = start_run(engine, table, err)) != LEAT_OK) return st;
        if (!engine->beside && (st = start_telling(engine, err)) != LEAT_OK) return st;
    }
    if (engine->beside) return LEAT_OK;
    bool ran = engine->pass;
    end_pass(engine);
    return ran ? leat_tables_commit(engine, err) : LEAT_OK; /* the manifest */
}
