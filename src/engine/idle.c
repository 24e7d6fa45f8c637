/* Rule 15: what is idle does not hold the watermark back.
 *
 * Idle is a partition, or a whole source, of which the connector has said that it is caught up (lag 0), and again that nothing
 * came for the source's idle_timeout since. An error, a poll cut short by the bound on its bytes, and a start of the process begin
 * the time anew, and end idleness: what is not known to be caught up may be behind. So does the first record. Both are journaled
 * when they happen; what a step makes of them (watermarks, the sources that are idle) is in its own record, so a replay need not
 * know them.
 *
 * An idle partition is left out of its source's watermark. An idle source is left out of the cut of a table over several sources:
 * the table takes the watermark of the others for it (the cut set's floor), for good. Records that come older than that are late. */
#include <stdlib.h>

#include "engine/internal.h"

static int64_t timeout_us(const struct leat_src *src) {
    return leat_source_option_int(src->def, "idle_timeout", 0);
}

static struct leat_quiet *quiet_of(struct leat_src *src, uint32_t partition) {
    for (size_t i = 0; i < src->quiet_count; i++)
        if (src->quiet[i].partition == partition) return &src->quiet[i];
    src->quiet = leat_realloc(src->quiet, (src->quiet_count + 1) * sizeof *src->quiet);
    src->quiet[src->quiet_count] = (struct leat_quiet){.partition = partition};
    return &src->quiet[src->quiet_count++];
}

static enum leat_status journal_idle(struct leat_src *src, int64_t partition, bool idle, struct leat_error *err) {
    json_t *record = json_pack("{s:s,s:s,s:I}", "t", idle ? "idle" : "resume", "source", src->def->name, "clock",
                               (json_int_t)leat_engine_now(src->engine));
    if (partition >= 0) json_object_set_new(record, "partition", json_integer(partition));
    return leat_engine_journal(src->engine, record, err);
}

/* partition -1: the source as a whole */
static enum leat_status begin_anew(struct leat_src *src, struct leat_quiet *quiet, int64_t partition, struct leat_error *err) {
    quiet->since_us = -1;
    if (!quiet->idle) return LEAT_OK;
    quiet->idle = false;
    return journal_idle(src, partition, false, err);
}

static enum leat_status confirm(struct leat_src *src, struct leat_quiet *quiet, int64_t partition, int64_t now_us, struct leat_error *err) {
    if (quiet->since_us < 0) quiet->since_us = now_us;
    if (quiet->idle || now_us - quiet->since_us < timeout_us(src)) return LEAT_OK;
    quiet->idle = true;
    return journal_idle(src, partition, true, err);
}

void leat_idle_open(struct leat_src *src) {
    src->whole.since_us = -1;
    for (size_t i = 0; i < src->ends.count && timeout_us(src); i++) quiet_of(src, src->ends.items[i].partition)->since_us = -1;
}

enum leat_status leat_idle_record(struct leat_src *src, uint32_t partition, struct leat_error *err) {
    enum leat_status st;
    if (!timeout_us(src)) return LEAT_OK;
    if ((st = begin_anew(src, quiet_of(src, partition), partition, err)) != LEAT_OK) return st;
    return begin_anew(src, &src->whole, -1, err);
}

enum leat_status leat_idle_polled(struct leat_src *src, bool caught_up, struct leat_error *err) {
    int64_t now = src->engine->env->clock->monotonic_us(src->engine->env->clock);
    enum leat_status st;
    if (!timeout_us(src)) return LEAT_OK;
    for (size_t i = 0; i < src->quiet_count; i++) {
        struct leat_quiet *quiet = &src->quiet[i];
        st = caught_up ? confirm(src, quiet, quiet->partition, now, err) : begin_anew(src, quiet, quiet->partition, err);
        if (st != LEAT_OK) return st;
    }
    return caught_up ? confirm(src, &src->whole, -1, now, err) : begin_anew(src, &src->whole, -1, err);
}

static int64_t left_us(const struct leat_src *src, const struct leat_quiet *quiet, int64_t now_us) {
    if (quiet->idle || quiet->since_us < 0) return INT64_MAX;
    int64_t due = quiet->since_us + timeout_us(src);
    return due > now_us ? due - now_us : 0;
}

int64_t leat_idle_left_us(const struct leat_src *src) {
    int64_t now = src->engine->env->clock->monotonic_us(src->engine->env->clock), least = INT64_MAX;
    if (!timeout_us(src) || src->finished) return INT64_MAX;
    least = left_us(src, &src->whole, now);
    for (size_t i = 0; i < src->quiet_count; i++) {
        int64_t left = left_us(src, &src->quiet[i], now);
        if (left < least) least = left;
    }
    return least;
}

bool leat_idle_partition(const struct leat_src *src, uint32_t partition) {
    for (size_t i = 0; i < src->quiet_count; i++)
        if (src->quiet[i].partition == partition) return src->quiet[i].idle;
    return false;
}

/* ---- tables over several sources ----------------------------------------------------------------- */

/* The sources whose cuts the plan's late records are judged by; NULL: one source, or none can be idle. */
static bool *cut_sources(const struct leat_engine *engine, const struct leat_plan *plan) {
    size_t n = engine->project->source_count, count = 0;
    bool *sources = leat_alloc((n + 1) * sizeof *sources), can_be_idle = false;
    for (size_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].kind == LEAT_OP_SOURCE && plan->ops[i].cut_applies) sources[plan->ops[i].object] = true;
    for (size_t s = 0; s < n; s++) {
        count += sources[s];
        can_be_idle |= sources[s] && leat_source_option_int(&engine->project->sources[s], "idle_timeout", 0) > 0;
    }
    if (count >= 2 && can_be_idle) return sources;
    free(sources);
    return NULL;
}

static void put_names(const struct leat_engine *engine, const bool *sources, struct leat_buffer *out) {
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (sources[s]) leat_putf(out, "%s+", engine->project->sources[s].name);
}

void leat_plan_put_cut_set(const struct leat_engine *engine, const struct leat_plan *plan, struct leat_buffer *out) {
    bool *sources = cut_sources(engine, plan);
    if (sources) put_names(engine, sources, out);
    free(sources);
}

char *leat_cut_set_name(const struct leat_group *g, int set) {
    struct leat_buffer name = {0};
    leat_put(&name, "");
    if (set >= 0) put_names(g->engine, g->cut_sets[set].sources, &name);
    return name.data;
}

int leat_cut_set_of(struct leat_group *g, const struct leat_plan *plan) {
    size_t n = g->engine->project->source_count, at = 0;
    bool *sources = cut_sources(g->engine, plan);
    if (!sources) return -1;
    while (at < g->cut_set_count && memcmp(g->cut_sets[at].sources, sources, n * sizeof *sources) != 0) at++;
    if (at < g->cut_set_count) {
        free(sources);
        return (int)at;
    }
    g->cut_sets = leat_realloc(g->cut_sets, (g->cut_set_count + 1) * sizeof *g->cut_sets);
    g->cut_sets[at] = (struct leat_cut_set){.sources = sources, .floors = leat_alloc((n + 1) * sizeof(int64_t))};
    g->cut_set_count++;
    leat_cut_sets_clear(g);
    return (int)at;
}

void leat_cut_sets_clear(struct leat_group *g) {
    for (size_t i = 0; i < g->cut_set_count; i++)
        for (size_t s = 0; s < g->engine->project->source_count; s++) g->cut_sets[i].floors[s] = INT64_MIN;
}

void leat_cut_sets_free(struct leat_group *g) {
    for (size_t i = 0; i < g->cut_set_count; i++) {
        free(g->cut_sets[i].sources);
        free(g->cut_sets[i].floors);
    }
    free(g->cut_sets);
}

/* The lowest watermark of those that are not idle. One read to its end has nothing to say of others: it does not count. */
static bool lowest_active(const struct leat_group *g, const struct leat_cut_set *set, const int64_t *watermarks, const bool *idle, int64_t *out) {
    bool found = false;
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        int64_t watermark = watermarks[s] > set->floors[s] ? watermarks[s] : set->floors[s];
        if (!set->sources[s] || idle[s] || watermark == INT64_MAX) continue;
        if (!found || watermark < *out) *out = watermark;
        found = true;
    }
    return found;
}

int64_t leat_cut_set_watermark(const struct leat_group *g, int at, int source, const int64_t *watermarks, const bool *idle) {
    int64_t own = watermarks[source], others = INT64_MIN;
    if (at < 0) return own;
    const struct leat_cut_set *set = &g->cut_sets[at];
    if (set->floors[source] > own) own = set->floors[source];
    return idle[source] && lowest_active(g, set, watermarks, idle, &others) && others > own ? others : own;
}

void leat_cut_sets_advance(struct leat_group *g, const int64_t *watermarks, const bool *idle) {
    size_t n = g->engine->project->source_count;
    int64_t *reached = leat_alloc((n + 1) * sizeof *reached);
    for (size_t i = 0; i < g->cut_set_count; i++) {
        for (size_t s = 0; s < n; s++) reached[s] = leat_cut_set_watermark(g, (int)i, (int)s, watermarks, idle);
        for (size_t s = 0; s < n; s++) g->cut_sets[i].floors[s] = reached[s];
    }
    free(reached);
}

json_t *leat_cut_sets_json(const struct leat_group *g) {
    json_t *all = json_array();
    for (size_t i = 0; i < g->cut_set_count; i++) {
        json_t *set = json_object();
        for (size_t s = 0; s < g->engine->project->source_count; s++)
            if (g->cut_sets[i].sources[s])
                json_object_set_new(set, g->engine->project->sources[s].name, json_integer(g->cut_sets[i].floors[s]));
        json_array_append_new(all, set);
    }
    return all;
}

static bool same_set(const struct leat_group *g, const struct leat_cut_set *set, const json_t *saved) {
    for (size_t s = 0; s < g->engine->project->source_count; s++)
        if (set->sources[s] != (json_object_get(saved, g->engine->project->sources[s].name) != NULL)) return false;
    return true;
}

/* Never lowers a floor: what is there was cleared, or is of another group that these join. */
void leat_cut_sets_load(struct leat_group *g, const json_t *all) {
    size_t k;
    json_t *saved;
    json_array_foreach((json_t *)all, k, saved)
        for (size_t i = 0; i < g->cut_set_count; i++)
            for (size_t s = 0; s < g->engine->project->source_count && same_set(g, &g->cut_sets[i], saved); s++) {
                json_t *floor = json_object_get(saved, g->engine->project->sources[s].name);
                if (floor && json_integer_value(floor) > g->cut_sets[i].floors[s]) g->cut_sets[i].floors[s] = json_integer_value(floor);
            }
}
