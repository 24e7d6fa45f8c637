/* How fresh the groups' tables have been, and what that cost: measured at each step, for people. Not part of any state: it begins with
 * the process. */
#include "engine/internal.h"

#include <string.h>

#include "base/usage.h"

enum { BUCKET_US = 10 * 1000000 };

static struct leat_pace_bucket *bucket_of(struct leat_pace *pace, int64_t now_us) {
    int64_t start = now_us - now_us % BUCKET_US;
    struct leat_pace_bucket *b = &pace->buckets[pace->newest];
    if (b->start_us == start) return b;
    if (b->start_us) pace->newest = (pace->newest + 1) % LEAT_PACE_BUCKETS;
    b = &pace->buckets[pace->newest];
    *b = (struct leat_pace_bucket){.start_us = start};
    return b;
}

void leat_pace_note(struct leat_group *g, int64_t oldest_us, int64_t cpu_us) {
    struct leat_pace *pace = &g->pace;
    int64_t now = leat_engine_now(g->engine), age = now - oldest_us;
    pace->cpu_us += cpu_us;
    if (oldest_us == INT64_MAX) return; /* only timers or references */
    struct leat_pace_bucket *b = bucket_of(pace, now);
    if (age > b->worst_us) b->worst_us = age;
    b->steps++;
    pace->steps++;
    /* A step begins when the freshness is used up, and takes its time: what it may take is a tenth more. */
    int64_t due = leat_freshness_due(g->engine, &g->freshness, oldest_us, LEAT_ALL_FIFTHS);
    bool met = now <= due + g->freshness_us / 10;
    pace->met += met;
    if (!met && !pace->missed_since_us) pace->missed_since_us = due;
    if (met)
        pace->missed_since_us = 0;
    else
        pace->missed_us = now;
}

static const char *table_name(const struct leat_group *g, int t) {
    return g->tables[t]->def->name;
}

/* The source, and of it the partition, that the group's watermark waits for. */
static json_t *holder_json(const struct leat_group *g) {
    const struct leat_project *project = g->engine->project;
    int slowest = -1;
    for (size_t s = 0; s < project->source_count; s++)
        if (g->reads[s] && project->sources[s].event_time >= 0 && (slowest < 0 || g->watermarks[s] < g->watermarks[slowest])) slowest = (int)s;
    if (slowest < 0) return json_null();
    json_t *holder = json_pack("{s:s}", "source", project->sources[slowest].name);
    size_t at = 0;
    for (size_t i = 1; i < g->time_counts[slowest]; i++)
        if (g->times[slowest][i].max_event_us < g->times[slowest][at].max_event_us) at = i;
    if (g->time_counts[slowest] > 1) json_object_set_new(holder, "partition", json_integer(g->times[slowest][at].partition));
    return holder;
}

/* Records that the group has still to read, and since when the oldest of them waits. (What is read back from bronze has been there before.) */
static uint64_t waiting(const struct leat_group *g, int64_t *since_us) {
    uint64_t records = 0;
    *since_us = INT64_MAX;
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        const struct leat_src *src = &g->engine->sources[s];
        if (!g->reads[s]) continue;
        for (size_t i = 0; i < src->ends.count; i++)
            records += src->ends.items[i].next - leat_cursor_get(&g->cursors[s], src->ends.items[i].partition);
        for (const struct leat_chunk *c = src->first; c; c = c->next)
            if (!c->arrivals && leat_cursor_get(&g->cursors[s], c->partition) < c->to && c->arrival_us < *since_us) *since_us = c->arrival_us;
    }
    return records;
}

int64_t leat_pace_missed_since(struct leat_group *g, int64_t now_us, int64_t *due_us) {
    enum { QUIET_US = 10 * 1000000 };
    struct leat_pace *pace = &g->pace;
    int64_t arrived, quiet = g->freshness_us > QUIET_US / 2 ? 2 * g->freshness_us : QUIET_US;
    uint64_t records = waiting(g, &arrived);
    bool waits = records && arrived != INT64_MAX;
    int64_t due = waits ? leat_freshness_due(g->engine, &g->freshness, arrived, LEAT_ALL_FIFTHS) : 0;
    *due_us = waits ? due + g->freshness_us / 10 : 0;
    if (waits && now_us > *due_us) return pace->missed_since_us ? pace->missed_since_us : due;
    if (!waits && now_us > pace->missed_us + quiet) pace->missed_since_us = 0; /* it has had everything for a while */
    if (pace->missed_since_us && !waits) *due_us = pace->missed_us + quiet;
    return pace->missed_since_us;
}

json_t *leat_pace_json(const struct leat_group *g) {
    json_t *tables = json_array(), *watermarks = json_object(), *attained = json_array();
    int64_t since;
    uint64_t records = waiting(g, &since);
    for (int t = 0; t < g->table_count; t++)
        json_array_append_new(tables, json_string(table_name(g, t)));
    for (size_t s = 0; s < g->engine->project->source_count; s++)
        if (g->reads[s] && g->watermarks[s] != INT64_MIN && g->watermarks[s] != INT64_MAX)
            json_object_set_new(watermarks, g->engine->project->sources[s].name, json_integer(g->watermarks[s]));
    for (int i = 1; i <= LEAT_PACE_BUCKETS; i++) {
        const struct leat_pace_bucket *b = &g->pace.buckets[(g->pace.newest + i) % LEAT_PACE_BUCKETS];
        if (b->start_us)
            json_array_append_new(attained, json_pack("[I,I,I]", (json_int_t)b->start_us, (json_int_t)b->worst_us, (json_int_t)b->steps));
    }
    return json_pack("{s:I,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:I,s:o,s:o}", "freshness_us", (json_int_t)g->freshness_us, "tables", tables, "steps",
                     (json_int_t)g->pace.steps, "met", (json_int_t)g->pace.met, "cpu_us", (json_int_t)g->pace.cpu_us, "waiting",
                     (json_int_t)records, "waiting_since_us", records && since != INT64_MAX ? json_integer(since) : json_null(),
                     "watermarks", watermarks, "last_step_us", (json_int_t)g->last_clock_us, "held_by", holder_json(g), "attained", attained);
}
