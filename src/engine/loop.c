/* What runs when: ingest, steps, commits, checkpoints, batch runs; `run --once` and `run`. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/change/control.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

void leat_phase_end(struct leat_engine *engine, enum leat_phase phase, int64_t from_us) {
    engine->phase_cpu_us[phase] += leat_usage_thread_cpu_us() - from_us;
}

enum leat_status leat_engine_ingest(struct leat_engine *engine, uint64_t *got, struct leat_error *err) {
    enum leat_status st;
    int64_t cpu = leat_usage_thread_cpu_us();
    *got = 0;
    for (size_t s = 0; s < engine->project->source_count; s++) {
        if (engine->references[s]) {
            bool changed = false;
            int64_t now = leat_engine_now(engine);
            bool once = engine->project->sources[s].refresh_us == 0;
            if (once && leat_reference_version(engine->references[s])) continue; /* read: it never changes again */
            if (leat_reference_due_us(engine->references[s]) > now && (once || !engine->all)) continue;
            if ((st = leat_reference_refresh(engine->references[s], now, &changed, err)) != LEAT_OK) return st;
            continue;
        }
        struct leat_src *src = &engine->sources[s];
        uint64_t records = 0;
        if ((st = leat_src_poll(src, &records, err)) != LEAT_OK) return leat_prepend(err, "source \"%s\"", src->def->name);
        /* Rule 6: nothing of these records leaves before this has returned. */
        if (records && !src->intake && (st = leat_src_sync(src, err)) != LEAT_OK) return st;
        src->polled = records;
        *got += records;
    }
    leat_phase_end(engine, LEAT_PHASE_INGEST, cpu);
    return LEAT_OK;
}

enum leat_status leat_engine_step(struct leat_engine *engine, bool all, bool *did, struct leat_error *err) {
    int64_t now = leat_engine_now(engine);
    *did = false;
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *group = engine->groups[k];
        bool stepped = false;
        leat_group_turn(group);
        if (!all && group->due_us > now && !leat_effects_hold(group)) continue;
        int64_t cpu = leat_usage_thread_cpu_us();
        enum leat_status st = leat_group_step(group, &stepped, err);
        leat_phase_end(engine, LEAT_PHASE_STEP, cpu);
        if (st == LEAT_OK) st = leat_effects_sync(engine, err);
        if (st != LEAT_OK) return leat_prepend(err, "step");
        if (leat_effects_want_commit(engine)) {
            if ((st = leat_tables_commit(engine, err)) != LEAT_OK) return st;
            *did = true;
        }
        if (!stepped) continue;
        *did = true;
        group->due_us = leat_freshness_due(engine, &group->freshness, now, LEAT_STEP_FIFTHS);
    }
    return LEAT_OK;
}

static uint64_t pending_rows(const struct leat_engine *engine) {
    uint64_t rows = 0;
    for (size_t t = 0; t < engine->project->table_count; t++) rows += leat_table_pending(&engine->tables[t]);
    return rows;
}

static uint64_t bronze_waiting(const struct leat_engine *engine) {
    uint64_t rows = 0;
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (!engine->references[s]) rows += leat_bronze_waiting(&engine->sources[s]);
    return rows;
}

/* So many rows waiting for a commit are reason enough for it: they are held in memory. */
static uint64_t waiting_rows_max(const struct leat_engine *engine) {
    enum { ROWS = 500000 };
    return engine->max_step_rows > ROWS ? engine->max_step_rows : ROWS;
}

static enum leat_status flush_bronze(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st;
    for (size_t s = 0; s < engine->project->source_count; s++) {
        struct leat_src *src = &engine->sources[s];
        if (engine->references[s]) continue;
        while (leat_bronze_waiting(src)) {
            uint64_t before = leat_bronze_waiting(src);
            if ((st = leat_src_refill(src, NULL, err)) != LEAT_OK) return st;
            if ((st = leat_bronze_flush(src, err)) != LEAT_OK) return st;
            leat_src_release(src);
            if (leat_bronze_waiting(src) == before) break; /* the rest follows when the groups have made room */
        }
    }
    return LEAT_OK;
}

/* A suspended table reads on from the version it has seen. */
static bool is_read_by_suspended(const struct leat_engine *engine, const struct leat_gtable *table) {
    for (int k = 0; k < engine->group_count; k++) {
        const struct leat_gtable *reader = engine->groups[k]->suspended;
        if (reader && leat_table_reads_table(reader, table)) return true;
    }
    return false;
}

static enum leat_status vacuum_one(struct leat_delta *delta, int64_t keep_us, struct leat_error *err) {
    size_t removed;
    return delta ? leat_delta_vacuum(delta, keep_us / 1000, &removed, err) : LEAT_OK;
}

static enum leat_status vacuum_table(struct leat_engine *engine, struct leat_gtable *table, int64_t keep_us, struct leat_error *err) {
    struct leat_side *sides[] = {&table->late, &table->dead, &table->quarantine, &table->audit};
    enum leat_status st = is_read_by_suspended(engine, table) ? LEAT_OK : vacuum_one(table->delta, keep_us, err);
    for (size_t i = 0; i < sizeof sides / sizeof *sides && st == LEAT_OK; i++) st = vacuum_one(sides[i]->delta, keep_us, err);
    return st;
}

/* Files that only versions older than history_retention refer to. */
static enum leat_status vacuum(struct leat_engine *engine, struct leat_error *err) {
    const int64_t hour_us = INT64_C(3600000000), keep_us = leat_setting_int(engine->project, "history_retention");
    int64_t now = leat_engine_now(engine);
    enum leat_status st = LEAT_OK;
    if (now < engine->vacuum_due_us || engine->beside) return LEAT_OK; /* a run reads what was there when it began */
    bool first = engine->vacuum_due_us == 0; /* a short run leaves it to a long one */
    engine->vacuum_due_us = now + hour_us;
    for (size_t t = 0; !first && st == LEAT_OK && t < engine->project->table_count; t++) st = vacuum_table(engine, &engine->tables[t], keep_us, err);
    for (size_t s = 0; !first && st == LEAT_OK && s < engine->project->source_count; s++) {
        st = vacuum_one(engine->sources[s].bronze, keep_us, err);
        if (st == LEAT_OK) st = vacuum_one(engine->sources[s].dead, keep_us, err);
    }
    return st;
}

enum leat_status leat_engine_flush(struct leat_engine *engine, bool checkpoint, struct leat_error *err) {
    enum leat_status st;
    if ((st = flush_bronze(engine, err)) != LEAT_OK) return st;
    if ((st = leat_tables_commit(engine, err)) != LEAT_OK) return st;
    if ((st = vacuum(engine, err)) != LEAT_OK) return st;
    return checkpoint ? leat_engine_checkpoint(engine, err) : LEAT_OK;
}

/* Also after many steps of a few records each: a start reads the whole journal, and runs it again. */
static bool checkpoint_due(const struct leat_engine *engine) {
    uint64_t due = engine->options.journal_due_bytes ? engine->options.journal_due_bytes : LEAT_JOURNAL_DUE_BYTES;
    if (leat_journal_size_bytes(engine->journal) - engine->journal_head_bytes > due) return true;
    return engine->records_since_checkpoint >= (uint64_t)leat_setting_int(engine->project, "checkpoint_records");
}

/* At a stop: running a few steps again at the next start costs less than saving the state, but only once. */
static bool checkpoint_pays(const struct leat_engine *engine) {
    return checkpoint_due(engine) || engine->replayed || engine->step == engine->reset_step;
}

/* What a step gives is committed at once where the last commit is about as long ago as they are apart. If steps and commits that come about equally often
 * went on each at its own times, rows would wait half as long again. The next step: of the groups that have made one since the last commit; of one that is
 * behind it may be due already. */
static void commit_with_step(struct leat_engine *engine, int64_t now) {
    int64_t next_step_us = INT64_MAX, due_us = engine->committed_us + leat_setting_int(engine->project, "commit_interval");
    for (int k = 0; k < engine->group_count; k++)
        if (engine->groups[k]->due_us > engine->committed_us) next_step_us = earlier(next_step_us, engine->groups[k]->due_us);
    if (next_step_us < INT64_MAX && due_us - now <= (next_step_us - now) / 4) engine->commit_due_us = now;
}

/* Commits that are due by time or by size. */
static enum leat_status flush_due(struct leat_engine *engine, bool stepped, struct leat_error *err) {
    int64_t now = leat_engine_now(engine);
    uint64_t rows_max = waiting_rows_max(engine);
    enum leat_status st = LEAT_OK;
    if (stepped && now < engine->commit_due_us) commit_with_step(engine, now);
    if (checkpoint_due(engine)) {
        /* All groups at one point: what waits between them is empty, so the checkpoint is just their state. */
        if ((st = leat_engine_drain(engine, err)) != LEAT_OK) return st;
        if ((st = leat_engine_flush(engine, true, err)) != LEAT_OK) return st;
        engine->commit_due_us = now + leat_setting_int(engine->project, "commit_interval");
        engine->bronze_due_us = now + leat_setting_int(engine->project, "bronze_interval");
        return LEAT_OK;
    }
    /* One a turn: what is due meanwhile is stepped between the two. */
    bool bronze = now >= engine->bronze_due_us || bronze_waiting(engine) >= rows_max;
    if ((engine->bronze_turn = bronze && !engine->bronze_turn)) {
        if ((st = flush_bronze(engine, err)) != LEAT_OK) return st;
        engine->bronze_due_us = now + leat_setting_int(engine->project, "bronze_interval");
        return LEAT_OK;
    }
    uint64_t waiting = pending_rows(engine);
    if (now >= engine->commit_due_us || waiting >= rows_max) {
        if (waiting) engine->committed_us = now;
        if ((st = leat_tables_commit(engine, err)) != LEAT_OK) return st;
        engine->commit_due_us = now + leat_setting_int(engine->project, "commit_interval");
        st = vacuum(engine, err);
    }
    return st;
}

enum leat_status leat_engine_drain(struct leat_engine *engine, struct leat_error *err) {
    uint64_t rows_max = waiting_rows_max(engine);
    bool did = true;
    while (did) {
        enum leat_status st = leat_engine_step(engine, true, &did, err);
        if (st != LEAT_OK) return st;
        if (pending_rows(engine) >= rows_max && (st = leat_tables_commit(engine, err)) != LEAT_OK) return st;
        if (bronze_waiting(engine) >= rows_max && (st = flush_bronze(engine, err)) != LEAT_OK) return st;
    }
    return LEAT_OK;
}

/* A source whose first records, or whose last ones of those there were at the start, are still on their way. */
static const struct leat_src *source_behind(const struct leat_engine *engine) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_src *src = &engine->sources[s];
        if (!engine->references[s] && src->connector->ops->behind && src->connector->ops->behind(src->connector)) return src;
    }
    return NULL;
}

/* Sleeps until a source that is behind may have more. False: nothing came for too long. */
static bool wait_for_sources(struct leat_engine *engine, int64_t *since_us) {
    enum { PATIENCE_US = 30000000 };
    struct leat_clock *clock = engine->env->clock;
    int64_t now = clock->monotonic_us(clock);
    if (!*since_us) *since_us = now;
    if (now - *since_us >= PATIENCE_US) return false;
    struct leat_connector *connector = source_behind(engine)->connector;
    int fd = connector->ops->wake_fd(connector);
    int64_t until = *since_us + PATIENCE_US, next = connector->ops->next_poll_us(connector);
    leat_clock_wait(clock, next >= 0 && now + next < until ? now + next : until, &fd, 1);
    return true;
}

/* Sources that end by themselves: their last poll gave records. Others never stop giving. */
static bool more_to_read(const struct leat_engine *engine) {
    bool more = false;
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const struct leat_src *src = &engine->sources[s];
        if (!engine->references[s] && !src->connector->ops->behind) more |= src->polled > 0;
    }
    return more || source_behind(engine);
}

enum leat_status leat_engine_run_once(struct leat_engine *engine, bool all, bool final, struct leat_error *err) {
    enum leat_status st;
    uint64_t got;
    int64_t waiting_since_us = 0;
    engine->all = all;
    do {
        if ((st = leat_engine_ingest(engine, &got, err)) != LEAT_OK) return st;
        if ((st = leat_engine_drain(engine, err)) != LEAT_OK) return st;
        if (checkpoint_due(engine) && (st = leat_engine_flush(engine, true, err)) != LEAT_OK) return st;
        if (engine->progress) engine->progress(engine->progress_context, got);
        if (got) waiting_since_us = 0;
        if (!got && source_behind(engine) && !wait_for_sources(engine, &waiting_since_us)) break;
    } while (more_to_read(engine));
    const struct leat_src *behind = source_behind(engine);
    if (final) {
        engine->final = true;
        st = leat_engine_drain(engine, err);
        engine->final = false;
        if (st != LEAT_OK) return st;
    }
    if ((st = leat_engine_flush(engine, checkpoint_pays(engine), err)) != LEAT_OK) return st;
    if ((st = leat_restate_if_due(engine, err)) != LEAT_OK) return st;
    st = leat_engine_batch(engine, all, err);
    if (st == LEAT_OK) st = leat_retain_if_due(engine, err);
    if (st == LEAT_OK) st = leat_checks_run(engine, true, err);
    engine->all = false;
    if (st == LEAT_OK) leat_effects_settle(engine);
    if (st == LEAT_OK) st = leat_effects_keep_dead(engine, err);
    if (st == LEAT_OK) st = leat_alerts_look(engine, true, err);
    if (st == LEAT_OK) leat_alerts_settle(engine);
    if (st == LEAT_OK && behind)
        st = leat_fail(err, LEAT_BUSY,
                       "source \"%s\": not all that is there could be read: nothing came for 30 seconds. What was read is in the tables; the next run goes "
                       "on from there",
                       behind->def->name);
    return st;
}

/* ---- leat run ------------------------------------------------------------------------------------ */

/* When there is something to do without new input; INT64_MAX: never (promise 5). */
static int64_t next_due(struct leat_engine *engine) {
    int64_t due = INT64_MAX;
    for (int k = 0; k < engine->group_count; k++)
        if (leat_group_has_input(engine->groups[k])) due = earlier(due, engine->groups[k]->due_us);
    if (pending_rows(engine)) due = earlier(due, engine->commit_due_us);
    if (bronze_waiting(engine)) due = earlier(due, engine->bronze_due_us);
    for (size_t s = 0; s < engine->project->source_count; s++) {
        int64_t left = engine->references[s] ? INT64_MAX : leat_idle_left_us(&engine->sources[s]);
        if (left != INT64_MAX) due = earlier(due, leat_engine_now(engine) + left);
    }
    due = earlier(due, leat_alerts_next_due(engine));
    if (engine->status_is_news || leat_effects_moved(engine) || leat_alerts_moved(engine)) due = earlier(due, engine->status_due_us);
    if (leat_engine_has_late(engine) && !engine->beside) due = earlier(due, engine->restate_due_us);
    due = earlier(due, leat_checks_next_due(engine));
    for (size_t t = 0; t < engine->project->table_count && !engine->beside; t++) /* its end wakes */
        if (engine->tables[t].batch) due = earlier(due, leat_batch_next_due(engine, &engine->tables[t]));
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (engine->references[s] && (engine->project->sources[s].refresh_us || !leat_reference_version(engine->references[s])))
            due = earlier(due, leat_reference_due_us(engine->references[s]));
    return due;
}

static void shrink(struct leat_changes *c) {
    const struct leat_schema *schema = c->schema;
    if (!schema || c->row_count) return;
    leat_changes_deinit(c);
    leat_changes_init(c, schema);
}

/* Batches keep the room of the largest step so far; idle, that goes back to the system. */
static void give_back_memory(struct leat_engine *engine) {
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *g = engine->groups[k];
        for (int i = 0; i < g->node_count; i++) shrink(&g->nodes[i].out);
        for (size_t t = 0; t < engine->project->table_count; t++) shrink(&g->queues[t]);
    }
    for (size_t t = 0; t < engine->project->table_count; t++) {
        shrink(&engine->tables[t].pending);
        shrink(&engine->tables[t].late.pending);
        shrink(&engine->tables[t].dead.pending);
        shrink(&engine->tables[t].quarantine.pending);
    }
    for (size_t s = 0; s < engine->project->source_count; s++) {
        struct leat_src *src = &engine->sources[s];
        if (engine->references[s]) continue;
        pthread_mutex_lock(&src->log_lock);
        leat_log_rest(src->log);
        pthread_mutex_unlock(&src->log_lock);
    }
    leat_memory_trim();
}

/* How long to sleep: until something is due, or the sources must be asked again, whichever is first. A wake-up by a
 * source's descriptor ends the sleep early, but polls are at least a tenth of the shortest freshness apart. */
static void sleep_until_due(struct leat_engine *engine, bool got_input) {
    struct leat_clock *clock = engine->env->clock;
    int64_t now = leat_engine_now(engine), due = next_due(engine), shortest = INT64_MAX;
    int *fds = leat_alloc((engine->project->source_count + 2) * sizeof *fds), fd_count = 0;
    fds[fd_count++] = engine->mailbox.wake.fd;
    fds[fd_count++] = engine->control_fd;
    for (int k = 0; k < engine->group_count; k++) shortest = earlier(shortest, engine->groups[k]->freshness_us);
    for (size_t s = 0; s < engine->project->source_count; s++) {
        struct leat_src *src = &engine->sources[s];
        if (engine->references[s]) continue;
        int64_t wait = src->intake ? -1 : src->connector->ops->next_poll_us(src->connector);
        int fd = src->intake ? leat_intake_fd(src->intake) : src->connector->ops->wake_fd(src->connector);
        if (wait >= 0) due = earlier(due, now + (shortest == INT64_MAX ? wait : earlier(wait, shortest / 2)));
        if (fd >= 0 && (!got_input || engine->waits)) fds[fd_count++] = fd;
    }
    /* Under load, rest until the next step may be due instead of waking for every write. */
    for (int k = 0; k < engine->group_count && got_input; k++) due = earlier(due, leat_freshness_due(engine, &engine->groups[k]->freshness, now, LEAT_STEP_FIFTHS));
    int64_t left = due == INT64_MAX ? 3600 * (int64_t)1000000 : due - now, waits = leat_waits_left_us(engine);
    if (waits < left) left = waits > 10000 ? 10000 : waits; /* the groups have not read them yet: there is more to step through */
    if (left <= 0) goto out;
    if (got_input) engine->trimmed = false;
    if (!got_input && !engine->trimmed && left > 500000) {
        give_back_memory(engine);
        engine->trimmed = true;
    }
    leat_clock_wait(clock, clock->monotonic_us(clock) + left, fds, fd_count);
out:
    free(fds);
}

/* wake, stop: see leat_reference_run. */
static void run_references(struct leat_engine *engine, const struct leat_wake *wake, const atomic_int *stop) {
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (engine->references[s]) leat_reference_run(engine->references[s], wake, stop);
}

enum leat_status leat_engine_run(struct leat_engine *engine, const atomic_int *stop, struct leat_error *err) {
    enum leat_status st = leat_intakes_start(engine, err);
    bool did;
    if (st == LEAT_OK) st = leat_control_listen(engine, err);
    if (st == LEAT_OK) st = leat_mailbox_open_again(engine, err);
    if (st == LEAT_OK) run_references(engine, &engine->mailbox.wake, stop);
    while (st == LEAT_OK && !*stop && !leat_control_parked(engine)) {
        uint64_t got;
        leat_restate_look(engine);
        if ((st = leat_engine_ingest(engine, &got, err)) != LEAT_OK) break;
        leat_mailbox_run(engine); /* after the records, before they are stepped over: who waits for them is here now (intake.c) */
        if ((st = leat_waits_step(engine, err)) != LEAT_OK) break;
        if ((st = leat_engine_step(engine, false, &did, err)) != LEAT_OK) break;
        if ((st = flush_due(engine, did, err)) != LEAT_OK) break;
        if (!engine->beside && (st = leat_restate_if_due(engine, err)) != LEAT_OK) break;
        if ((st = leat_engine_batch_beside(engine, err)) != LEAT_OK) break;
        if (!engine->beside && leat_engine_now(engine) >= engine->retain_due_us && (st = leat_retain_if_due(engine, err)) != LEAT_OK) break;
        if ((st = leat_checks_run(engine, false, err)) != LEAT_OK) break;
        if ((st = leat_effects_keep_dead(engine, err)) != LEAT_OK) break;
        if ((st = leat_effects_catch_up(engine, err)) != LEAT_OK) break;
        if ((st = leat_watch_run(engine, err)) != LEAT_OK) break;
        if ((st = leat_alerts_look(engine, false, err)) != LEAT_OK) break;
        if ((st = leat_control_serve(engine, err)) != LEAT_OK || leat_control_parked(engine)) break;
        if ((st = leat_engine_publish_status(engine, err)) != LEAT_OK) break;
        sleep_until_due(engine, got > 0);
    }
    struct leat_error problem;
    run_references(engine, NULL, NULL);
    leat_beside_cancel(engine);
    enum leat_status stopped = leat_intakes_stop(engine, &problem);
    if (st == LEAT_OK && stopped != LEAT_OK) {
        st = stopped;
        *err = problem;
    }
    if (!leat_control_parked(engine)) leat_control_close(engine);
    leat_waits_cancel(engine);
    leat_mailbox_close(engine);
    if (st == LEAT_OK) st = leat_engine_drain(engine, err);
    leat_live_stopped(engine);
    if (st == LEAT_OK) st = leat_engine_flush(engine, checkpoint_pays(engine), err);
    return st == LEAT_OK ? leat_effects_keep_dead(engine, err) : st; /* what waits is durable, and delivered by the next run */
}

enum leat_status leat_engine_drain_and_checkpoint(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = leat_engine_drain(engine, err);
    return st == LEAT_OK ? leat_engine_flush(engine, true, err) : st;
}
