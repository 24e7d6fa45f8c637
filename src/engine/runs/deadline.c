/* READY BY: a scheduled run begins at its time, or so much earlier that it is ready by its deadline.
 *
 * The deadline of a time of the schedule is the first showing of READY BY after it. How long a run takes is what its newest runs took: all but
 * one of twenty, and a quarter and a minute more. What such a table reads on a schedule has its run before, and so early that both fit. A run
 * never begins before the deadline of the day before: one run a deadline, however long it takes. */
#include <stdlib.h>
#include <string.h>

#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "schedule/zone.h"

#define MINUTE_US INT64_C(60000000)
#define DAY_US (1440 * MINUTE_US)

int64_t leat_deadline_takes(const struct leat_gtable *table) {
    int64_t most = 0, second = 0;
    for (size_t i = 0; i < table->took_count; i++) {
        int64_t took = table->took_us[i];
        if (took > most)
            second = most, most = took;
        else if (took > second)
            second = took;
    }
    return table->took_count == LEAT_TOOK_MAX ? second : most;
}

/* With room for a run that is somewhat longer; without any run yet, none. */
static int64_t room_for(const struct leat_gtable *table) {
    int64_t takes = leat_deadline_takes(table);
    return table->took_count ? takes + takes / 4 + MINUTE_US : 0;
}

void leat_deadline_ran(struct leat_gtable *table, int64_t took_us, int64_t covered_us) {
    if (table->took_count == LEAT_TOOK_MAX) memmove(table->took_us, table->took_us + 1, --table->took_count * sizeof *table->took_us);
    table->took_us[table->took_count++] = took_us;
    if (covered_us > table->covered_us) table->covered_us = covered_us;
}

static struct leat_zone *zone_of(const struct leat_engine *engine, const struct leat_gtable *table) {
    return leat_zone_find(engine->batch_conn, table->def->time_zone ? table->def->time_zone : leat_setting_text(engine->project, "time_zone"));
}

/* The first time of the schedule without a run: from the last run (or, where none has succeeded, the project's first start, or the schedule's) on.
 * However many were missed, one run catches up. */
static int64_t first_open(const struct leat_engine *engine, const struct leat_gtable *table) {
    struct leat_cron cron;
    struct leat_error ignored;
    if (leat_cron_parse(table->def->cron, &cron, &ignored) != LEAT_OK) return INT64_MAX;
    int64_t since = table->covered_us ? table->covered_us : table->runs && table->last_run_us ? table->last_run_us : engine->created_us;
    return leat_cron_next(&cron, zone_of(engine, table), table->turned_us > since ? table->turned_us : since);
}

static int64_t own_deadline(const struct leat_engine *engine, const struct leat_gtable *table, int64_t scheduled_us) {
    if (!table->def->ready_given || scheduled_us == INT64_MAX) return INT64_MAX;
    return leat_daily_next(table->def->ready_minute, zone_of(engine, table), scheduled_us - 1);
}

/* By the tables' indexes; known: made already, as many ways may lead from a table to one that reads it. */
struct plans { struct leat_run_plan *items; bool *known; };

static struct leat_run_plan plan_of(struct leat_engine *, const struct leat_gtable *, struct plans *);

/* When the table must be there for those that read it: the readers whose run comes with or after its own, and is awaited. */
static int64_t readers_deadline(struct leat_engine *engine, const struct leat_gtable *table, int64_t scheduled_us, struct plans *plans) {
    int64_t first = INT64_MAX;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *reader = &engine->tables[t];
        if (!reader->def->cron || reader->suspended || !leat_table_reads_table(reader, table)) continue;
        struct leat_run_plan plan = plan_of(engine, reader, plans);
        if (plan.ready_us != INT64_MAX && scheduled_us <= plan.scheduled_us && plan.start_us < first) first = plan.start_us;
    }
    return first;
}

static struct leat_run_plan make_plan(struct leat_engine *engine, const struct leat_gtable *table, struct plans *plans) {
    int64_t scheduled = first_open(engine, table), own = own_deadline(engine, table, scheduled);
    int64_t readers = scheduled == INT64_MAX ? INT64_MAX : readers_deadline(engine, table, scheduled, plans);
    struct leat_run_plan plan = {.scheduled_us = scheduled, .start_us = scheduled, .ready_us = own < readers ? own : readers};
    if (plan.ready_us == INT64_MAX) return plan;
    int64_t room = room_for(table), early = plan.ready_us - (room < DAY_US ? room : DAY_US);
    if (early < plan.start_us) plan.start_us = early;
    return plan;
}

static struct leat_run_plan plan_of(struct leat_engine *engine, const struct leat_gtable *table, struct plans *plans) {
    if (!plans->known[table->index]) plans->items[table->index] = make_plan(engine, table, plans);
    plans->known[table->index] = true;
    return plans->items[table->index];
}

struct leat_run_plan leat_deadline_plan(struct leat_engine *engine, struct leat_gtable *table) {
    size_t n = engine->project->table_count;
    struct plans plans = {leat_alloc(n * sizeof *plans.items), leat_alloc(n * sizeof *plans.known)};
    struct leat_run_plan plan = plan_of(engine, table, &plans);
    free(plans.items);
    free(plans.known);
    return plan;
}

int64_t leat_deadline_feared(struct leat_engine *engine, struct leat_gtable *table, const struct leat_run_plan *plan) {
    int64_t takes = leat_deadline_takes(table);
    const struct leat_run *run = leat_beside_run(engine);
    if (plan->ready_us == INT64_MAX) return INT64_MAX;
    if (!run || run->table != table) return plan->ready_us - takes;
    if (run->start_us + takes > plan->ready_us) return run->start_us; /* it began too late */
    int64_t longest = run->start_us + room_for(table);                /* longer than those before it */
    return table->took_count && longest < plan->ready_us ? longest : plan->ready_us;
}
