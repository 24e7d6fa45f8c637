/* One step of a group: choose input ranges, journal them, run the nodes, hand the changes on. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/step.h"
#include "engine/tell/tell.h"
#include "state/row.h"

static void input_init(const struct leat_group *g, struct leat_step_input *in) {
    size_t n = leat_group_sources(g) + 1;
    *in = (struct leat_step_input){0};
    in->to = leat_alloc(n * sizeof *in->to);
    in->watermarks = leat_alloc(n * sizeof *in->watermarks);
    in->idle = leat_alloc(n * sizeof *in->idle);
    in->references = leat_alloc(n * sizeof *in->references);
    in->closed_us = leat_alloc((size_t)(g->table_count + 1) * sizeof *in->closed_us);
    for (int t = 0; t < g->table_count; t++) in->closed_us[t] = INT64_MIN;
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        leat_cursors_copy(&in->to[s], &g->cursors[s]);
        in->watermarks[s] = g->watermarks[s];
        in->references[s] = g->reference_versions[s];
    }
}

static void input_deinit(const struct leat_group *g, struct leat_step_input *in) {
    for (size_t s = 0; s < leat_group_sources(g); s++) leat_cursors_free(&in->to[s]);
    free(in->to);
    free(in->watermarks);
    free(in->idle);
    free(in->references);
    free(in->closed_us);
}

/* ---- watermarks -------------------------------------------------------------------------------- */

static bool all_read(const struct leat_group *g, int s) {
    const struct leat_src *src = &g->engine->sources[s];
    for (size_t i = 0; i < src->ends.count; i++)
        if (leat_cursor_get(&g->cursors[s], src->ends.items[i].partition) < src->ends.items[i].next) return false;
    return true;
}

/* Read to its end by the group, which therefore knows how far its event times have come. */
static bool partition_idle(const struct leat_group *g, int s, uint32_t partition) {
    const struct leat_src *src = &g->engine->sources[s];
    return leat_idle_partition(src, partition) &&
           leat_cursor_get(&g->cursors[s], partition) >= leat_cursor_get(&src->ends, partition);
}

static bool source_idle(const struct leat_group *g, int s) {
    return g->engine->sources[s].whole.idle && all_read(g, s);
}

/* The fed partition 0 and the newest file hold the watermark back unless they are idle; a file that is followed by a newer one
 * is complete (files are read in order of name). */
static int64_t watermark_now(const struct leat_group *g, int s) {
    const struct leat_src *src = &g->engine->sources[s];
    int64_t lowest = INT64_MAX, delay = src->def->watermark_delay_us;
    if (src->def->event_time < 0) return INT64_MIN;
    bool history = leat_group_in_history(g, s);
    if (!history && all_read(g, s) && (src->finished || g->engine->final)) return INT64_MAX;
    for (size_t i = 0; i < g->time_counts[s]; i++) {
        bool newest = i + 1 == g->time_counts[s];
        if (g->times[s][i].partition != 0 && !newest) continue;
        if (partition_idle(g, s, g->times[s][i].partition)) continue;
        if (g->times[s][i].max_event_us < lowest) lowest = g->times[s][i].max_event_us;
    }
    int64_t floor = history || g->watermarks[s] > g->floors[s] ? g->watermarks[s] : g->floors[s];
    if (lowest == INT64_MAX || lowest == INT64_MIN) return floor;
    int64_t watermark = lowest < INT64_MIN + delay ? INT64_MIN : lowest - delay;
    int64_t to_come = history ? leat_lows_to_come(g, s) : INT64_MAX; /* no record of history may find its window closed */
    if (to_come < watermark) watermark = to_come;
    return watermark > floor ? watermark : floor;
}

void leat_group_note_time(struct leat_group *g, size_t s, uint32_t partition, int64_t event_us) {
    size_t at = 0, n = g->time_counts[s];
    while (at < n && g->times[s][at].partition < partition) at++;
    if (at == n || g->times[s][at].partition != partition) {
        g->times[s] = leat_realloc(g->times[s], (n + 1) * sizeof *g->times[s]);
        memmove(g->times[s] + at + 1, g->times[s] + at, (n - at) * sizeof *g->times[s]);
        g->times[s][at] = (struct leat_partition_time){partition, INT64_MIN};
        g->time_counts[s]++;
    }
    if (event_us > g->times[s][at].max_event_us) g->times[s][at].max_event_us = event_us;
}

/* ---- ranges of chunks ---------------------------------------------------------------------------- */

bool leat_chunk_range_of(const struct leat_chunk *chunk, uint64_t from, uint64_t to, struct leat_chunk_range *out) {
    if (from < chunk->from) from = chunk->from;
    if (to > chunk->to) to = chunk->to;
    if (from >= to) return false;
    *out = (struct leat_chunk_range){chunk, leat_chunk_row(chunk, from), leat_chunk_row(chunk, to), from, to};
    return true;
}

/* Chunks stay until bronze has them: of many small ones nearly all are read. */
const struct leat_chunk *leat_group_unread(const struct leat_group *g, int s) {
    const struct leat_chunk *passed = g->passed[s];
    if (passed && leat_cursor_get(&g->cursors[s], passed->partition) < passed->to) passed = NULL; /* the group began anew */
    const struct leat_chunk *c = passed ? passed->next : g->engine->sources[s].first;
    for (; c && leat_cursor_get(&g->cursors[s], c->partition) >= c->to; c = c->next) passed = c;
    g->passed[s] = passed;
    return c;
}

/* Extends the ranges over what is waiting, in arrival order, up to the step's row limit. */
static void choose_ranges(struct leat_group *g, struct leat_step_input *in) {
    bool hold = !g->rebuild && leat_effects_hold(g);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        uint64_t left = g->engine->max_step_rows;
        if (!g->reads[s]) continue;
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c && left; c = c->next) {
            struct leat_chunk_range range;
            uint64_t end = g->rebuild ? leat_cursor_get(&g->rebuild->upto[s], c->partition) : UINT64_MAX;
            if (hold) end = leat_cursor_get(&g->history[s], c->partition);
            if (!leat_chunk_range_of(c, leat_cursor_get(&in->to[s], c->partition), end, &range)) continue;
            uint64_t records = range.to - range.from, take = records < left ? records : left;
            leat_cursor_set(&in->to[s], c->partition, range.from + take);
            left -= take;
            if (take < records) break;
        }
    }
}

static int64_t range_max_event(const struct leat_src *src, const struct leat_chunk_range *range) {
    const struct leat_column *times = &range->chunk->rows.columns[src->def->event_time];
    int64_t latest = INT64_MIN;
    if (range->from_row == 0 && range->to_row == range->chunk->rows.row_count) return range->chunk->max_event_us;
    for (size_t i = range->from_row; i < range->to_row; i++)
        if (!leat_is_null(times, i) && ((const int64_t *)times->data)[i] > latest) latest = ((const int64_t *)times->data)[i];
    return latest;
}

/* FAIL UPDATE: once when it begins and once when it is over. */
static void tell_violations(struct leat_gtable *table) {
    bool held = leat_table_held(table) != NULL;
    struct leat_env *env = table->group->engine->env;
    if (held == table->held) return;
    table->held = held;
    if (held) {
        char *why = leat_table_violation_text(table, NULL);
        leat_log(env, LEAT_LOG_ERROR, "table %s: %s", table->def->name, why);
        free(why);
    } else {
        leat_log(env, LEAT_LOG_INFO, "table %s: nothing violates FAIL UPDATE any more; it goes on", table->def->name);
    }
}

static enum leat_status publish(struct leat_group *g, uint64_t step, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = g->tables[t];
        const struct leat_changes *changes = leat_table_unfrozen(table, g->nodes[table->root].result);
        if (g->rebuild && !g->rebuild->tables[t]) continue;
        if (!g->rebuild) tell_violations(table);
        if (table->quarantine_root >= 0 && g->nodes[table->quarantine_root].result && (g->rebuild || step > table->quarantine.committed_step)) {
            const struct leat_changes *rows = g->nodes[table->quarantine_root].result;
            leat_changes_append(&table->quarantine.pending, rows, NULL, rows->row_count, 1);
        }
        if (!changes) continue;
        if (g->rebuild) {
            leat_changes_append(&table->pending, changes, NULL, changes->row_count, 1);
            continue;
        }
        if (step > table->committed_step) leat_changes_append(&table->pending, changes, NULL, changes->row_count, 1);
        table->changes_out += changes->row_count;
        leat_live_change(g->engine, table, changes);
        for (int k = 0; k < g->engine->group_count; k++) {
            struct leat_changes *queue = &g->engine->groups[k]->queues[table->index];
            if (queue->schema && g->engine->groups[k] != g) leat_changes_append(queue, changes, NULL, changes->row_count, 1);
        }
        st = leat_effects_step(table, changes, step, false, err);
    }
    return st;
}

/* Moves the group's frontier past the step. */
static void advance(struct leat_group *g, const struct leat_step_input *in) {
    struct leat_engine *engine = g->engine;
    leat_cut_sets_advance(g, in->watermarks, in->idle);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        struct leat_src *src = &engine->sources[s];
        if (!g->reads[s]) {
            g->reference_versions[s] = in->references[s];
            continue;
        }
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c; c = c->next) {
            struct leat_chunk_range range;
            if (!leat_chunk_range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
            leat_group_note_time(g, s, c->partition, src->def->event_time >= 0 ? range_max_event(src, &range) : INT64_MIN);
            engine->records_since_checkpoint += range.to - range.from;
        }
        leat_cursors_copy(&g->cursors[s], &in->to[s]);
        g->watermarks[s] = in->watermarks[s];
        leat_src_release(src);
    }
    leat_late_settle(g);
    leat_queues_clear(g);
    g->last_clock_us = in->clock_us;
    g->started = true;
    g->steps++;
    engine->step = in->step;
}

static enum leat_status execute(struct leat_group *g, const struct leat_step_input *in, struct leat_error *err) {
    bool moved = false;
    for (int t = 0; t < g->table_count; t++) moved |= in->closed_us[t] != INT64_MIN && leat_frozen_set(g->tables[t], in->closed_us[t]);
    if (moved) leat_retain_settle(g->engine);
    leat_conn_set_clock(g->engine->step_conn, in->clock_us);
    enum leat_status st = leat_step_run(g, in, err);
    if (st == LEAT_OK) st = publish(g, in->step, err);
    if (st == LEAT_OK && !g->rebuild) leat_live_step_done(g, in->step, in->clock_us);
    if (st == LEAT_OK) advance(g, in);
    leat_step_clear(g);
    return st;
}

/* ---- journal ------------------------------------------------------------------------------------- */

static json_t *record_of(const struct leat_group *g, const struct leat_step_input *in) {
    json_t *record = json_pack("{s:s,s:I,s:o,s:I}", "t", "step", "n", (json_int_t)in->step, "g", leat_freshness_json(&g->freshness), "c",
                               (json_int_t)in->clock_us);
    json_t *ranges = json_object(), *watermarks = json_object(), *references = json_object(), *idle = json_array();
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        const char *name = g->engine->project->sources[s].name;
        if (g->reads[s]) {
            json_object_set_new(ranges, name, leat_cursors_json(&in->to[s]));
            json_object_set_new(watermarks, name, json_integer(in->watermarks[s]));
            if (in->idle[s]) json_array_append_new(idle, json_string(name));
        } else if (in->references[s]) {
            json_object_set_new(references, name, json_integer((json_int_t)in->references[s]));
        }
    }
    json_object_set_new(record, "to", ranges);
    json_object_set_new(record, "wm", watermarks);
    json_object_set_new(record, "ref", references);
    if (json_array_size(idle)) json_object_set(record, "idle", idle);
    json_decref(idle);
    for (int t = 0; t < g->table_count; t++) {
        if (in->closed_us[t] == INT64_MIN) continue;
        if (!json_object_get(record, "frozen")) json_object_set_new(record, "frozen", json_object());
        json_object_set_new(json_object_get(record, "frozen"), g->tables[t]->def->name, json_integer(in->closed_us[t]));
    }
    return record;
}

/* Did choose_ranges find anything? With memory full of what another group still has to read, it may not. */
static bool any_range(const struct leat_group *g, const struct leat_step_input *in) {
    for (size_t s = 0; s < leat_group_sources(g); s++)
        for (size_t i = 0; i < in->to[s].count; i++)
            if (in->to[s].items[i].next > leat_cursor_get(&g->cursors[s], in->to[s].items[i].partition)) return true;
    return false;
}

static bool queues_waiting(const struct leat_group *g) {
    for (size_t t = 0; t < g->engine->project->table_count; t++)
        if (g->queues[t].schema && g->queues[t].row_count) return true;
    return false;
}

static bool references_waiting(const struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) {
        int s = g->nodes[i].op->object;
        if (g->nodes[i].op->kind == LEAT_OP_REFERENCE && leat_reference_version(g->engine->references[s]) > g->reference_versions[s])
            return true;
    }
    return false;
}

static bool timers_due(struct leat_group *g) {
    size_t n = leat_group_sources(g) + 1;
    int64_t *watermarks = leat_alloc(n * sizeof *watermarks);
    int64_t *cuts = leat_alloc((size_t)(g->node_count + 1) * sizeof *cuts);
    bool *idle = leat_alloc(n * sizeof *idle);
    bool due = false, moved = g->cut_set_count > 0;
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        watermarks[s] = g->reads[s] ? watermark_now(g, (int)s) : INT64_MIN;
        idle[s] = g->reads[s] && source_idle(g, (int)s);
        moved |= g->reads[s] && watermarks[s] != g->watermarks[s];
    }
    leat_step_cuts(g, watermarks, idle, cuts);
    for (int i = 0; i < g->node_count && moved && !due; i++)
        due = g->nodes[i].node && leat_node_due(g->nodes[i].node, cuts[i] == LEAT_CUT_NONE ? INT64_MIN : cuts[i]);
    free(watermarks);
    free(idle);
    free(cuts);
    return due;
}

/* A reference that is read once must be there before the first row: looked-up rows are not kept for it. */
bool leat_group_waits_for_reference(const struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_op *op = g->nodes[i].op;
        if (op->kind == LEAT_OP_REFERENCE && g->engine->project->sources[op->object].refresh_us == 0 &&
            leat_reference_version(g->engine->references[op->object]) == 0)
            return true;
    }
    return false;
}

bool leat_group_has_input(struct leat_group *g) {
    if (g->suspended || leat_group_waits_for_reference(g)) return false;
    if (!g->started || references_waiting(g)) return true;
    bool hold = leat_effects_hold(g);
    for (size_t s = 0; s < leat_group_sources(g); s++)
        if (g->reads[s] && (hold ? leat_group_in_history(g, (int)s) : !all_read(g, (int)s))) return true;
    return queues_waiting(g) || timers_due(g);
}

bool leat_group_settled(struct leat_group *g) {
    if (!g->started || references_waiting(g) || queues_waiting(g)) return false;
    for (size_t s = 0; s < leat_group_sources(g); s++)
        if (g->reads[s] && leat_group_in_history(g, (int)s)) return false;
    return !timers_due(g);
}

static int64_t oldest_arrival(const struct leat_group *g, const struct leat_step_input *in) {
    int64_t oldest = INT64_MAX;
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        if (!g->reads[s]) continue;
        for (const struct leat_chunk *c = leat_group_unread(g, (int)s); c; c = c->next) {
            struct leat_chunk_range range;
            if (!leat_chunk_range_of(c, leat_cursor_get(&g->cursors[s], c->partition), leat_cursor_get(&in->to[s], c->partition), &range)) continue;
            if (!c->arrivals && c->arrival_us < oldest) oldest = c->arrival_us; /* what is read back from bronze has been there before */
        }
    }
    return oldest;
}

enum leat_status leat_group_step(struct leat_group *g, bool *did, struct leat_error *err) {
    struct leat_step_input in;
    enum leat_status st;
    *did = false;
    if (!leat_group_has_input(g)) return LEAT_OK;
    for (size_t s = 0; s < leat_group_sources(g); s++)
        if (g->reads[s] && (st = leat_src_refill(&g->engine->sources[s], NULL, err)) != LEAT_OK) return st;
    input_init(g, &in);
    in.step = g->engine->step + 1;
    in.clock_us = leat_engine_now(g->engine);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        if (g->reads[s]) in.watermarks[s] = watermark_now(g, (int)s);
        if (g->reads[s]) in.idle[s] = source_idle(g, (int)s);
        if (g->engine->references[s]) in.references[s] = leat_reference_version(g->engine->references[s]);
    }
    choose_ranges(g, &in);
    if (!any_range(g, &in) && g->started && !references_waiting(g) && !queues_waiting(g) && !timers_due(g)) {
        input_deinit(g, &in);
        return LEAT_OK;
    }
    int64_t oldest = oldest_arrival(g, &in), cpu = leat_usage_thread_cpu_us();
    if ((st = leat_frozen_next(g, in.watermarks, in.idle, in.closed_us, err)) == LEAT_OK && (st = leat_engine_journal(g->engine, record_of(g, &in), err)) == LEAT_OK) st = execute(g, &in, err);
    if (st == LEAT_OK) {
        *did = true;
        leat_pace_note(g, oldest, leat_usage_thread_cpu_us() - cpu);
    }
    input_deinit(g, &in);
    return st;
}

int64_t leat_group_watermark(const struct leat_group *g, size_t source) {
    return watermark_now(g, (int)source);
}

enum leat_status leat_group_align(struct leat_group *g, const int64_t *watermarks, struct leat_error *err) {
    struct leat_step_input in;
    input_init(g, &in);
    in.step = g->engine->step + 1;
    in.clock_us = leat_engine_now(g->engine);
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        if (!g->reads[s]) continue;
        if (watermarks[s] > in.watermarks[s]) in.watermarks[s] = watermarks[s];
        in.idle[s] = source_idle(g, (int)s);
    }
    enum leat_status st = leat_engine_journal(g->engine, record_of(g, &in), err);
    if (st == LEAT_OK) st = execute(g, &in, err);
    input_deinit(g, &in);
    return st;
}

static bool names_source(const json_t *names, const char *name) {
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0) return true;
    return false;
}

enum leat_status leat_group_replay(struct leat_group *g, const json_t *record, struct leat_error *err) {
    struct leat_step_input in;
    input_init(g, &in);
    in.step = (uint64_t)json_integer_value(json_object_get(record, "n"));
    in.clock_us = json_integer_value(json_object_get(record, "c"));
    for (size_t s = 0; s < leat_group_sources(g); s++) {
        const char *name = g->engine->project->sources[s].name;
        json_t *to = json_object_get(json_object_get(record, "to"), name);
        json_t *watermark = json_object_get(json_object_get(record, "wm"), name);
        json_t *version = json_object_get(json_object_get(record, "ref"), name);
        if (to) leat_cursors_parse(&in.to[s], to);
        if (watermark) in.watermarks[s] = json_integer_value(watermark);
        in.idle[s] = names_source(json_object_get(record, "idle"), name);
        if (version) in.references[s] = (uint64_t)json_integer_value(version);
    }
    for (int t = 0; t < g->table_count; t++) {
        json_t *closed = json_object_get(json_object_get(record, "frozen"), g->tables[t]->def->name);
        if (closed) in.closed_us[t] = json_integer_value(closed);
    }
    enum leat_status st = LEAT_OK;
    for (size_t s = 0; s < leat_group_sources(g) && st == LEAT_OK; s++)
        if (g->reads[s]) st = leat_src_refill(&g->engine->sources[s], &in.to[s], err);
    if (st == LEAT_OK) st = execute(g, &in, err);
    input_deinit(g, &in);
    return st;
}

/* A table's rows, not what led to them: consolidated whenever they have doubled. */
static void keep_small(struct leat_group *g, size_t *kept) {
    for (int t = 0; t < g->table_count; t++) {
        struct leat_changes *rows = &g->tables[t]->pending;
        if (!g->rebuild->tables[t] || rows->row_count < 2 * kept[t] + 500000) continue;
        leat_changes_consolidate(rows);
        kept[t] = rows->row_count;
    }
}

enum leat_status leat_group_rebuild(struct leat_group *g, struct leat_error *err) {
    const struct leat_rebuild *r = g->rebuild;
    size_t *kept = leat_alloc((size_t)(g->table_count + 1) * sizeof *kept);
    enum leat_status st = LEAT_OK;
    for (bool more = true; more && st == LEAT_OK;) {
        struct leat_step_input in;
        for (size_t s = 0; s < leat_group_sources(g) && st == LEAT_OK; s++)
            if (g->reads[s]) st = leat_src_refill_below(&g->engine->sources[s], &r->upto[s], err);
        if (st != LEAT_OK) break;
        input_init(g, &in);
        in.step = r->step;
        in.clock_us = r->clock_us;
        memcpy(in.references, r->references, leat_group_sources(g) * sizeof *in.references);
        choose_ranges(g, &in);
        more = any_range(g, &in);
        for (size_t s = 0; s < leat_group_sources(g) && more; s++) {
            int64_t to_come = leat_lows_to_come(g, (int)s), safe = to_come < r->watermarks[s] ? to_come : r->watermarks[s];
            if (safe > in.watermarks[s]) in.watermarks[s] = safe;
        }
        if (!more) { /* windows close */
            memcpy(in.watermarks, r->watermarks, leat_group_sources(g) * sizeof *in.watermarks);
            leat_cut_sets_load(g, r->cut_sets);
        }
        uint64_t records = 0;
        for (size_t s = 0; s < leat_group_sources(g); s++)
            for (size_t i = 0; i < in.to[s].count; i++) records += in.to[s].items[i].next - leat_cursor_get(&g->cursors[s], in.to[s].items[i].partition);
        st = execute(g, &in, err);
        if (g->engine->progress) g->engine->progress(g->engine->progress_context, records);
        keep_small(g, kept);
        input_deinit(g, &in);
    }
    free(kept);
    return st;
}
