/* Which alerts there are, and when: the table of kinds, and the rule by which a condition is raised and over. */
#include "engine/tell/alerts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tell/effects.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

enum { SECOND_US = 1000000, LOOK_US = SECOND_US, DISK_US = 10 * SECOND_US, WAIT_US = 10 * SECOND_US, ROOM_US = 60 * SECOND_US };

struct look {
    struct leat_engine *engine;
    struct leat_alerts *alerts;
    const struct leat_alert_kind *kind;
    int64_t now_us;
    bool first;                /* at the start: counters are only taken down */
    bool last;                 /* the process ends: nothing is waited for */
};
struct leat_alert_kind {
    const char *name, *on;
    const char *over;          /* what is told when it is */
    void (*look)(struct look *);
};

static int64_t setting(const struct look *l, const char *name) {
    return leat_setting_int(l->engine->project, name);
}

/* ---- raised, over ------------------------------------------------------------------------------------------------------ */

static struct leat_alert *find(const struct look *l, const char *object) {
    for (size_t i = 0; i < l->alerts->count; i++) {
        struct leat_alert *a = &l->alerts->items[i];
        if (a->kind == l->kind->name && a->on == l->kind->on && strcmp(a->object, object) == 0) return a;
    }
    return NULL;
}

static void look_again(const struct look *l, int64_t at_us) {
    if (at_us < l->alerts->next_us) l->alerts->next_us = at_us;
}

/* Its object is there, and nothing is known of it. */
static void leave(struct look *l, const char *object) {
    struct leat_alert *a = find(l, object);
    if (a) a->looked = true;
}

static void end(struct leat_engine *engine, struct leat_alert *a, const char *over) {
    char *text = leat_asprintf("%s %s: %s", a->on, a->object, over);
    leat_alert_tell(engine, a, false, text);
    free(text);
    free(a->incident);
    free(a->text);
    a->incident = a->text = NULL;
    a->raised_us = a->good_us = 0;
}

/* All is well with the object: what was raised is over when that has been so for calm_us. */
static void well(struct look *l, const char *object, int64_t calm_us) {
    struct leat_alert *a = find(l, object);
    if (!a) return;
    a->looked = true;
    if (!a->raised_us) return;
    if (!a->good_us) a->good_us = l->now_us;
    if (l->last || l->now_us >= a->good_us + calm_us)
        end(l->engine, a, l->kind->over);
    else
        look_again(l, a->good_us + calm_us);
}

/* All is not well with the object, since then; true: raise() is to say it. */
static bool unwell(struct look *l, const char *object, int64_t since_us, int64_t patience_us) {
    struct leat_alert *a = find(l, object);
    if (a) a->looked = true;
    if (a && a->raised_us) {
        a->good_us = 0;
        return false;
    }
    if (l->first) return false;
    if (l->now_us >= since_us + patience_us) return true;
    look_again(l, since_us + patience_us);
    return false;
}

LEAT_PRINTF(3, 4) static void raise_alert(struct look *l, const char *object, const char *format, ...) {
    char text[600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    leat_alert_clean(text);
    struct leat_alert *a = leat_alert_of(l->alerts, l->kind->name, l->kind->on, object);
    a->looked = true;
    a->raised_us = l->now_us;
    a->good_us = 0;
    a->text = leat_strdup(text);
    a->incident = leat_asprintf("%s-%llu", l->alerts->identity, (unsigned long long)l->alerts->events + 1);
    leat_alert_tell(l->engine, a, true, text);
}

/* A count that should not grow. It is measured from what it was when all was quiet. */
static void count(struct look *l, const char *object, uint64_t now) {
    uint64_t limit = (uint64_t)setting(l, "alert_dead_letters");
    int64_t quiet_us = setting(l, "alert_quiet");
    struct leat_alert *a = leat_alert_of(l->alerts, l->kind->name, l->kind->on, object);
    a->looked = true;
    if (!a->counts) { /* met for the first time: what is there is no news */
        a->counts = l->alerts->dirty = true;
        a->base = a->seen = now;
    }
    if (now > a->seen) a->last_us = l->now_us;
    if (now < a->base) a->base = now; /* they were mended */
    a->seen = now;
    uint64_t fresh = now - a->base;
    if (!l->first && !a->raised_us && limit && fresh >= limit) {
        raise_alert(l, object, "%s %s: %llu new dead letter%s; %s__dead has them, with the reason", l->kind->on, object, (unsigned long long)fresh,
                    fresh == 1 ? "" : "s", object);
    } else if (!fresh || l->now_us >= a->last_us + quiet_us) {
        l->alerts->dirty |= a->base != now;
        a->base = now;
        if (a->raised_us) end(l->engine, a, l->kind->over);
        return;
    }
    look_again(l, a->last_us + quiet_us);
}

/* ---- what is looked at ------------------------------------------------------------------------------------------------- */

static void look_runs(struct look *l) {
    int64_t limit = setting(l, "alert_failed_runs");
    for (size_t t = 0; t < l->engine->project->table_count; t++) {
        struct leat_gtable *table = &l->engine->tables[t];
        const char *name = table->def->name;
        bool held = table->group && leat_table_held(table);
        if (!limit || (!held && table->failures < limit)) {
            if (!held && !table->failures) well(l, name, 0);
            else leave(l, name);
            continue;
        }
        if (!unwell(l, name, l->now_us, 0)) continue;
        char *why = held ? leat_table_violation_text(table, NULL) : NULL;
        if (held)
            raise_alert(l, name, "table %s keeps its old content: %s", name, why ? why : "a constraint is violated");
        else
            raise_alert(l, name, "table %s: its run has failed%s: %s", name, table->failures > 1 ? " again" : "", table->last_error ? table->last_error : "?");
        free(why);
    }
}

static void say_late(struct look *l, const struct leat_gtable *table, const struct leat_run_plan *plan) {
    const struct leat_run *run = leat_beside_run(l->engine);
    bool runs = run && run->table == table, over = plan->ready_us <= l->now_us;
    struct leat_buffer text = {0}, left = {0};
    leat_put_interval(&left, (over ? l->now_us - plan->ready_us : plan->ready_us - l->now_us) / SECOND_US * SECOND_US);
    leat_putf(&text, over ? "table %s was to be ready by %02d:%02d, %s ago" : "table %s may not be ready by %02d:%02d, in %s", table->def->name,
              table->def->ready_minute / 60, table->def->ready_minute % 60, left.data);
    if (runs) leat_putf(&text, "; its run has been under way for %lld s", (long long)((l->now_us - run->start_us) / SECOND_US));
    if (!runs && !over) leat_put(&text, "; its run has not begun");
    leat_putf(&text, " and takes about %lld s", (long long)(leat_deadline_takes(table) / SECOND_US));
    if (table->last_error) leat_putf(&text, "; it has failed: %s", table->last_error);
    raise_alert(l, table->def->name, "%s", text.data);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&left);
}

static void look_deadlines(struct look *l) {
    for (size_t t = 0; t < l->engine->project->table_count; t++) {
        struct leat_gtable *table = &l->engine->tables[t];
        if (!table->def->ready_given || !table->def->cron || table->suspended) continue;
        struct leat_run_plan plan = leat_deadline_plan(l->engine, table);
        int64_t since = leat_deadline_feared(l->engine, table, &plan);
        if (since > l->now_us) {
            well(l, table->def->name, 0);
            if (since != INT64_MAX) look_again(l, since + SECOND_US);
        } else if (unwell(l, table->def->name, since + SECOND_US, 0)) {
            say_late(l, table, &plan);
        }
    }
}

static void look_freshness(struct look *l) {
    int64_t patience = setting(l, "alert_freshness");
    for (int k = 0; k < l->engine->group_count; k++) {
        struct leat_group *g = l->engine->groups[k];
        int64_t due, since;
        if (g->suspended) continue;
        leat_group_turn(g);
        since = leat_pace_missed_since(g, l->now_us, &due);
        if (due + patience > l->now_us) look_again(l, due + patience); /* what is over only by a step waits for that */
        for (int t = 0; t < g->table_count; t++) {
            const char *name = g->tables[t]->def->name;
            if (!since) {
                well(l, name, patience);
            } else if (unwell(l, name, since, patience)) {
                struct leat_buffer asked = {0};
                leat_freshness_put(&g->freshness, &asked);
                raise_alert(l, name, "table %s has been older than asked (%s) for %lld s", name, asked.data, (long long)((l->now_us - since) / SECOND_US));
                leat_buffer_deinit(&asked);
            }
        }
    }
}

static void look_sinks(struct look *l) {
    int64_t patience = setting(l, "alert_sink_behind");
    for (size_t i = 0; i < l->engine->effects_count; i++) {
        const struct leat_effects *e = &l->engine->effects[i];
        struct leat_outbox_stats stats;
        leat_outbox_stats(e->outbox, &stats);
        const struct leat_alert *a = find(l, e->def->name);
        bool raised = a && a->raised_us;
        if (!stats.waiting || (raised && l->now_us < stats.since_us + patience / 2)) {
            well(l, e->def->name, 0);
            if (stats.waiting) look_again(l, stats.since_us + patience);
            continue;
        }
        if (raised) look_again(l, l->now_us + WAIT_US);
        if (!unwell(l, e->def->name, stats.since_us, patience)) continue;
        raise_alert(l, e->def->name, "sink %s: %llu changes wait, the oldest for %lld s%s%s", e->def->name, (unsigned long long)stats.waiting,
                    (long long)((l->now_us - stats.since_us) / SECOND_US), stats.error[0] ? ": " : "", stats.error);
    }
}

static void look_source_letters(struct look *l) {
    for (size_t s = 0; s < l->engine->project->source_count; s++) {
        const struct leat_src *src = &l->engine->sources[s];
        if (l->engine->references[s]) continue;
        count(l, src->def->name, leat_delta_rows(src->dead));
    }
}

static void look_table_letters(struct look *l) {
    for (size_t t = 0; t < l->engine->project->table_count; t++) {
        const struct leat_gtable *table = &l->engine->tables[t];
        if (table->dead.delta) count(l, table->def->name, leat_delta_rows(table->dead.delta));
    }
}

static void look_sink_letters(struct look *l) {
    for (size_t i = 0; i < l->engine->effects_count; i++) {
        struct leat_outbox_stats stats;
        leat_outbox_stats(l->engine->effects[i].outbox, &stats);
        count(l, l->engine->effects[i].def->name, stats.dead);
    }
}

static void look_checks(struct look *l) {
    for (size_t i = 0; l->engine->checks && i < l->engine->project->check_count; i++) {
        const struct leat_check_def *def = &l->engine->project->checks[i];
        uint64_t rows = leat_check_differing(l->engine, i);
        if (!rows)
            well(l, def->name, 0);
        else if (unwell(l, def->name, l->now_us, 0))
            raise_alert(l, def->name, "check %s: %llu row%s of table %s differ; %s__differences has them", def->name, (unsigned long long)rows,
                        rows == 1 ? "" : "s", def->of, def->name);
    }
}

static void look_watch(struct look *l) {
    for (size_t t = 0; t < l->engine->project->table_count; t++) {
        const struct leat_gtable *table = &l->engine->tables[t];
        if (!table->watched_us)
            leave(l, table->def->name);
        else if (!table->drifting)
            well(l, table->def->name, 0);
        else if (unwell(l, table->def->name, l->now_us, 0))
            raise_alert(l, table->def->name, "table %s is not what its query says: %llu row%s differ; 'leat rebuild %s' mends it", table->def->name,
                        (unsigned long long)table->drifting, table->drifting == 1 ? "" : "s", table->def->name);
    }
}

/* What is free, looked at now and then; false: nobody knows. */
static bool look_at_disks(struct look *l) {
    struct leat_io *io = l->engine->env->io;
    uint64_t devices[2] = {0};
    struct leat_error ignored;
    if (!io->ops->space) return false;
    if (l->now_us < l->alerts->disk_us + DISK_US && !l->last) return true;
    if (io->ops->space(io, l->engine->work_dir, &l->alerts->free_bytes[0], &devices[0], &ignored) != LEAT_OK ||
        io->ops->space(io, l->engine->lake_dir, &l->alerts->free_bytes[1], &devices[1], &ignored) != LEAT_OK)
        return false;
    l->alerts->one_disk = devices[0] == devices[1];
    l->alerts->disk_us = l->now_us;
    return true;
}

static void look_disk(struct look *l) {
    static const char *const NAMES[] = {"work", "lake"};
    uint64_t limit = (uint64_t)setting(l, "alert_disk_free");
    if (!limit || !look_at_disks(l)) return;
    for (int i = 0; i < (l->alerts->one_disk ? 1 : 2); i++) {
        const struct leat_alert *a = find(l, NAMES[i]);
        bool raised = a && a->raised_us;
        uint64_t enough = raised ? limit + limit / 4 : limit;
        if (l->alerts->free_bytes[i] >= enough) {
            well(l, NAMES[i], 0);
            continue;
        }
        if (raised) look_again(l, l->alerts->disk_us + DISK_US);
        if (!unwell(l, NAMES[i], l->now_us, 0)) continue;
        struct leat_buffer left = {0};
        leat_put_size(&left, (int64_t)(l->alerts->free_bytes[i] / LEAT_MIB * LEAT_MIB));
        raise_alert(l, NAMES[i], "the disk is nearly full: %s free where %s is", left.data, i ? l->engine->lake_dir : l->engine->work_dir);
        leat_buffer_deinit(&left);
        look_again(l, l->alerts->disk_us + DISK_US);
    }
}

static const struct leat_alert_kind KINDS[] = {
    {"run_failed", "table", "it runs again", look_runs},
    {"not_ready", "table", "it is ready", look_deadlines},
    {"freshness_missed", "table", "it is as fresh as asked again", look_freshness},
    {"sink_behind", "sink", "it has caught up", look_sinks},
    {"dead_letters", "source", "no more have come", look_source_letters},
    {"dead_letters", "table", "no more have come", look_table_letters},
    {"dead_letters", "sink", "no more have come", look_sink_letters},
    {"drift", "check", "it agrees again", look_checks},
    {"drift", "table", "where it differed it is what its query says again", look_watch},
    {"disk_low", "folder", "there is room again", look_disk},
};

/* ---- for the engine ---------------------------------------------------------------------------------------------------- */

struct leat_alert *leat_alert_of(struct leat_alerts *alerts, const char *kind, const char *on, const char *object) {
    const struct leat_alert_kind *known = NULL;
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS && kind && on && object; i++)
        if (strcmp(KINDS[i].name, kind) == 0 && strcmp(KINDS[i].on, on) == 0) known = &KINDS[i];
    if (!known) return NULL;
    const struct look l = {.alerts = alerts, .kind = known};
    struct leat_alert *a = find(&l, object);
    if (a) return a;
    alerts->items = leat_realloc(alerts->items, (alerts->count + 1) * sizeof *alerts->items);
    alerts->items[alerts->count] = (struct leat_alert){.kind = known->name, .on = known->on, .object = leat_strdup(object)};
    return &alerts->items[alerts->count++];
}

static void look_at_all(struct look *l) {
    struct leat_alerts *alerts = l->alerts;
    for (size_t i = 0; i < alerts->count; i++) alerts->items[i].looked = false;
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        l->kind = &KINDS[i];
        l->kind->look(l);
    }
    size_t kept = 0;
    for (size_t i = 0; i < alerts->count; i++) {
        struct leat_alert *a = &alerts->items[i];
        if (!a->looked && a->raised_us) end(l->engine, a, "it is no longer looked at");
        if (a->looked && (a->raised_us || a->counts)) {
            alerts->items[kept++] = *a;
            continue;
        }
        free(a->object);
        alerts->dirty |= a->counts;
    }
    alerts->count = kept;
}

enum leat_status leat_alerts_open(struct leat_engine *engine, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts = leat_alloc(sizeof *alerts);
    enum leat_status st = leat_alerts_load(engine, err);
    if (st != LEAT_OK) return leat_prepend(err, "alerts");
    struct look l = {.engine = engine, .alerts = alerts, .now_us = leat_engine_now(engine), .first = true};
    alerts->next_us = INT64_MAX;
    look_at_all(&l);
    return leat_alerts_save(engine, err);
}

enum leat_status leat_alerts_look(struct leat_engine *engine, bool last, struct leat_error *err) {
    struct leat_alerts *alerts = engine->alerts;
    struct look l = {.engine = engine, .alerts = alerts, .now_us = leat_engine_now(engine), .last = last};
    alerts->skipped = !last && l.now_us < alerts->look_us;
    if (alerts->skipped) return LEAT_OK;
    if (engine->options.adjust) return LEAT_OK; /* a rehearsal alarms nobody */
    alerts->look_us = l.now_us + LOOK_US;
    alerts->next_us = INT64_MAX;
    look_at_all(&l);
    if (alerts->left_out) look_again(&l, l.now_us + ROOM_US);
    return leat_alerts_save(engine, err);
}

int64_t leat_alerts_next_due(const struct leat_engine *engine) {
    const struct leat_alerts *alerts = engine->alerts;
    int64_t due = alerts->next_us > alerts->look_us ? alerts->next_us : alerts->look_us;
    return alerts->skipped || alerts->dirty ? alerts->look_us : alerts->next_us == INT64_MAX ? INT64_MAX : due;
}

json_t *leat_alerts_json(struct leat_engine *engine) {
    json_t *all = json_array();
    for (size_t i = 0; engine->alerts && i < engine->alerts->count; i++) {
        const struct leat_alert *a = &engine->alerts->items[i];
        if (!a->raised_us) continue;
        json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:s,s:I,s:s}", "alert", a->kind, "on", a->on, "object", a->object, "incident", a->incident, "raised_us",
                                             (json_int_t)a->raised_us, "text", a->text));
    }
    if (engine->alerts) engine->alerts->moved = false;
    return all;
}
