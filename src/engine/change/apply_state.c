/* Moving state between projects. All groups of the former project stand at one frontier, so an operator is worth the same in any group:
 * what decides is only whether its table asks the same as before (leat_table_signature) and holds the same records for late. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/change/apply.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/runs/runs.h"

json_t *leat_apply_former(const struct leat_apply *a, const struct leat_gtable *table) {
    return json_object_get(json_object_get(a->state, "tables"), table->def->name);
}

int64_t leat_apply_version(const struct leat_apply *a, const char *which, const struct leat_gtable *table) {
    json_t *version = json_object_get(json_object_get(a->record, which), table->def->name);
    return version ? json_integer_value(version) : -1;
}

bool leat_apply_thaws(const struct leat_apply *a, const struct leat_gtable *table) {
    return !table->def->frozen.column && json_object_get(leat_apply_former(a, table), "frozen");
}

enum leat_status leat_apply_may_freeze(const struct leat_apply *a, struct leat_error *err) {
    for (size_t t = 0; t < a->engine->project->table_count; t++) {
        const struct leat_gtable *table = &a->engine->tables[t];
        const char *name = table->def->name, *was = json_string_value(json_object_get(json_object_get(leat_apply_former(a, table), "frozen"), "column"));
        if (!was || !table->def->frozen.column) continue;
        if (strcasecmp(was, table->def->frozen.column) != 0)
            return leat_fail(err, LEAT_INVALID,
                             "table \"%s\" has rows that are frozen by \"%s\", not by \"%s\"; keep the column, or leave FROZEN WHERE out once: then they thaw, and are "
                             "made anew", name, was, table->def->frozen.column);
        if (leat_apply_version(a, "tables", table) < 0)
            return leat_fail(err, LEAT_INVALID,
                             "table \"%s\" has frozen rows, and its new query has other columns (or NULLs where there were none), which they do not fit; give the new "
                             "query a table of another name, or leave FROZEN WHERE out: then they thaw, and are made anew", name);
    }
    return LEAT_OK;
}

/* ---- fates --------------------------------------------------------------------------------------------------------------- */

static bool asks_the_same(const struct leat_apply *a, const struct leat_gtable *table) {
    const json_t *former = leat_apply_former(a, table), *group = leat_state_group(a->state, table->def->name);
    char *signature = leat_table_signature(a->engine, table);
    const char *was = json_string_value(json_object_get(former, "sig"));
    bool same = was && strcmp(was, signature) == 0;
    free(signature);
    if (leat_apply_thaws(a, table)) return false;
    return same && json_is_true(json_object_get(group, "started")) && !json_object_get(former, "waits");
}

/* Can the reader take a difference of this table as a change? */
static bool tells_difference(const struct leat_apply *a, const struct leat_gtable *table) {
    return leat_apply_version(a, "tables", table) >= 0 && !leat_table_may_wait(a->engine, table);
}

static enum leat_fate fate_of(const struct leat_apply *a, const struct leat_gtable *table) {
    if (table->batch) return LEAT_FATE_BATCH;
    if (!asks_the_same(a, table)) return LEAT_FATE_ANEW;
    for (size_t i = 0; i < table->plan->input_count; i++) {
        const struct leat_gtable *input = leat_table_input(a->engine, table, i);
        if (input && a->fates[input->index] == LEAT_FATE_ANEW && !tells_difference(a, input)) return LEAT_FATE_ANEW;
    }
    bool was_suspended = json_is_true(json_object_get(leat_apply_former(a, table), "suspended"));
    return was_suspended && !table->suspended ? LEAT_FATE_RESUMED : LEAT_FATE_KEPT;
}

static bool same_group(const struct leat_gtable *a, const struct leat_gtable *b) {
    return a == b || (!a->suspended && !b->suspended && leat_freshness_same(&a->freshness, &b->freshness));
}

/* Readers of a changing table that step together take its difference in one way: from the queue, or by being made anew. */
static bool must_join(const struct leat_apply *a, const struct leat_gtable *reader) {
    const struct leat_engine *engine = a->engine;
    for (size_t u = 0; u < engine->project->table_count; u++) {
        if (a->fates[u] != LEAT_FATE_ANEW && a->fates[u] != LEAT_FATE_RESUMED) continue;
        if (!leat_table_reads_table(reader, &engine->tables[u])) continue;
        for (size_t t = 0; t < engine->project->table_count; t++)
            if (a->fates[t] == LEAT_FATE_ANEW && same_group(reader, &engine->tables[t]) && leat_table_reads_table(&engine->tables[t], &engine->tables[u]))
                return true;
    }
    return false;
}

void leat_apply_fates(struct leat_apply *a) {
    struct leat_engine *engine = a->engine;
    const struct leat_project *project = engine->project;
    size_t i, anew = 0, before;
    json_t *name;
    for (size_t t = 0; t < project->table_count; t++) engine->tables[t].suspended = false;
    json_array_foreach(json_object_get(a->record, "suspended"), i, name)
        for (size_t t = 0; t < project->table_count; t++)
            engine->tables[t].suspended |= strcasecmp(project->tables[t].name, json_string_value(name)) == 0;
    do { /* a table made anew may draw others with it */
        before = anew;
        anew = 0;
        for (i = 0; i < project->order_count; i++) {
            if (project->order[i].kind != LEAT_OBJECT_TABLE) continue;
            struct leat_gtable *table = &engine->tables[project->order[i].index];
            enum leat_fate *fate = &a->fates[table->index];
            if (*fate != LEAT_FATE_ANEW) *fate = fate_of(a, table);
            if ((*fate == LEAT_FATE_KEPT || *fate == LEAT_FATE_RESUMED) && !table->suspended && must_join(a, table)) *fate = LEAT_FATE_ANEW;
            anew += *fate == LEAT_FATE_ANEW;
        }
    } while (anew != before);
}

/* ---- who shares operators -------------------------------------------------------------------------------------------------- */

static bool same_watermarks(const json_t *a, const json_t *b) {
    const char *source;
    json_t *watermark;
    json_object_foreach((json_t *)a, source, watermark) {
        json_t *other = json_object_get(b, source);
        if (other && !json_equal(watermark, other)) return false;
    }
    return true;
}

static json_int_t former_class(const struct leat_apply *a, const struct leat_gtable *table) {
    return json_integer_value(json_object_get(leat_apply_former(a, table), "late_class"));
}

/* Equal operators of the two have equal state: they were one, or nothing that tells them apart has happened. */
static bool may_share(const struct leat_apply *a, const struct leat_gtable *x, const struct leat_gtable *y) {
    if (x->def->frozen.column || y->def->frozen.column) return false; /* what is late for it is so for no other */
    if (x->suspended || y->suspended || a->fates[x->index] == LEAT_FATE_RESUMED || a->fates[y->index] == LEAT_FATE_RESUMED) return false;
    if (a->fates[x->index] == LEAT_FATE_KEPT && a->fates[y->index] == LEAT_FATE_KEPT) {
        const json_t *gx = leat_state_group(a->state, x->def->name), *gy = leat_state_group(a->state, y->def->name);
        if (gx == gy) return former_class(a, x) == former_class(a, y);
        if (!same_watermarks(json_object_get(gx, "wm"), json_object_get(gy, "wm")) ||
            !json_equal(json_object_get(gx, "cut_sets"), json_object_get(gy, "cut_sets")))
            return false;
    }
    return leat_late_equal(a->engine, x, y);
}

static enum leat_status classify(struct leat_apply *a, struct leat_error *err) {
    struct leat_engine *engine = a->engine;
    int next = 1;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch) continue;
        enum leat_status st = leat_late_load(engine, table, leat_apply_version(a, "late", table), NULL, err);
        if (st != LEAT_OK) return st;
        table->late_class = 0;
    }
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch) continue;
        for (int class = 1; class <= next && !table->late_class; class++) {
            bool fits = true;
            for (size_t u = 0; u < t && fits; u++)
                fits = engine->tables[u].batch || engine->tables[u].late_class != class || may_share(a, table, &engine->tables[u]);
            if (fits) table->late_class = class;
        }
        if (table->late_class == next) next++;
    }
    return LEAT_OK;
}

/* ---- the frontier --------------------------------------------------------------------------------------------------------- */

static void raise_to(int64_t *to, const json_t *value) {
    if (value && json_integer_value(value) > *to) *to = json_integer_value(value);
}

/* What a group of the former project has seen, the new one has seen too. */
static void join_group(struct leat_group *g, const json_t *former) {
    const struct leat_project *project = g->engine->project;
    leat_cut_sets_load(g, json_object_get(former, "cut_sets"));
    if (json_integer_value(json_object_get(former, "clock")) > g->last_clock_us) g->last_clock_us = json_integer_value(json_object_get(former, "clock"));
    for (size_t s = 0; s < project->source_count; s++) {
        const char *name = project->sources[s].name;
        json_t *pair;
        size_t i;
        raise_to(&g->watermarks[s], json_object_get(json_object_get(former, "wm"), name));
        raise_to(&g->floors[s], json_object_get(json_object_get(former, "floors"), name));
        leat_cursors_raise(&g->history[s], json_object_get(json_object_get(former, "history"), name));
        json_array_foreach(json_object_get(json_object_get(former, "times"), name), i, pair)
            leat_group_note_time(g, s, (uint32_t)json_integer_value(json_array_get(pair, 0)), json_integer_value(json_array_get(pair, 1)));
    }
    json_t *freshness = leat_freshness_json(&g->freshness);
    bool same = json_equal(json_object_get(former, "freshness"), freshness);
    json_decref(freshness);
    if (!same) return;
    g->steps = (uint64_t)json_integer_value(json_object_get(former, "steps"));
    g->rows_touched = (uint64_t)json_integer_value(json_object_get(former, "rows_touched"));
}

static void set_frontier(const struct leat_apply *a, struct leat_group *g) {
    const struct leat_project *project = a->engine->project;
    json_t *former;
    size_t i;
    leat_group_set_empty(g);
    json_array_foreach(json_object_get(a->state, "groups"), i, former)
        if (!json_object_get(former, "suspended")) join_group(g, former);
    for (size_t s = 0; s < project->source_count; s++) {
        const char *name = project->sources[s].name;
        if (a->engine->references[s])
            g->reference_versions[s] = (uint64_t)json_integer_value(json_object_get(json_object_get(a->record, "ref"), name));
        else
            leat_cursors_parse(&g->cursors[s], json_object_get(json_object_get(a->record, "to"), name));
    }
    g->started = true;
}

/* What a table that is suspended from now on has seen of others: of one that begins anew with other columns nothing, its version 0. */
static json_t *seen_versions(const struct leat_apply *a) {
    json_t *seen = json_copy(json_object_get(a->record, "tables"));
    for (size_t t = 0; t < a->engine->project->table_count; t++)
        if (leat_apply_version(a, "tables", &a->engine->tables[t]) < 0) json_object_set_new(seen, a->engine->tables[t].def->name, json_integer(0));
    return seen;
}

static void place_groups(const struct leat_apply *a) {
    for (int k = 0; k < a->engine->group_count; k++) {
        struct leat_group *g = a->engine->groups[k];
        set_frontier(a, g);
        if (!g->suspended) continue;
        if (a->fates[g->suspended->index] == LEAT_FATE_KEPT) leat_group_load(g, leat_state_group(a->state, g->suspended->def->name));
        if (!g->versions) g->versions = seen_versions(a);
    }
}

/* ---- building ------------------------------------------------------------------------------------------------------------- */

/* Tables of one group that are brought to its frontier together: made anew, or (one) resumed. */
struct pass {
    struct leat_apply *apply;
    struct leat_group *group;
    struct leat_rebuild rebuild;
    bool anew;
    const json_t *from; /* resumed: its former group */
};

static bool in_pass(const struct pass *p, const struct leat_gtable *table) {
    for (int t = 0; t < p->group->table_count; t++)
        if (p->group->tables[t] == table) return p->rebuild.tables[t];
    return false;
}

static void mark_nodes(struct pass *p) {
    struct leat_group *g = p->group;
    bool *nodes = p->rebuild.nodes;
    for (int t = 0; t < g->table_count; t++) {
        if (!p->rebuild.tables[t]) continue;
        nodes[g->tables[t]->root] = true;
        if (g->tables[t]->quarantine_root >= 0) nodes[g->tables[t]->quarantine_root] = true;
    }
    for (int i = g->node_count - 1; i >= 0; i--) {
        const struct leat_gnode *node = &g->nodes[i];
        if (!nodes[i] || (node->op->kind == LEAT_OP_TABLE && !in_pass(p, &g->engine->tables[node->op->object]))) continue;
        for (int c = 0; c < 2; c++)
            if (node->children[c] >= 0) nodes[node->children[c]] = true;
    }
}

static bool needs_source(const struct pass *p, size_t s) {
    const struct leat_group *g = p->group;
    for (int i = 0; i < g->node_count; i++)
        if (p->rebuild.nodes[i] && g->nodes[i].op->kind == LEAT_OP_SOURCE && g->nodes[i].op->object == (int)s) return true;
    return false;
}

/* Puts the group where the pass begins. */
static void go_back(struct pass *p) {
    struct leat_group *g = p->group;
    leat_group_set_empty(g);
    if (!p->anew) leat_group_load(g, p->from);
    g->started = !p->anew;
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        leat_cursors_copy(&g->history[s], &p->rebuild.upto[s]);
        if (!needs_source(p, s)) leat_cursors_copy(&g->cursors[s], &p->rebuild.upto[s]);
    }
}

static enum leat_status open_nodes(struct pass *p, struct leat_error *err) {
    struct leat_group *g = p->group;
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < g->node_count && st == LEAT_OK; i++) {
        if (p->rebuild.nodes[i]) st = leat_group_open_node(g, i, err);
    }
    for (int t = 0; t < g->table_count; t++) {
        struct leat_gtable *table = g->tables[t];
        if (!p->rebuild.tables[t]) continue;
        memset(table->balance, 0, g->engine->project->source_count * sizeof *table->balance);
        table->withheld = 0;
    }
    return st;
}

static enum leat_status add_content(struct leat_engine *engine, const struct leat_gtable *table, int64_t version, int sign, struct leat_changes *to,
                                    struct leat_error *err) {
    struct leat_stage *stage = NULL;
    struct leat_buffer sql = {0};
    struct leat_changes rows;
    leat_changes_init(&rows, &table->plan->schema);
    enum leat_status st = leat_table_select(engine, table, version, &sql, err);
    if (st == LEAT_OK) st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err);
    if (st == LEAT_OK) st = leat_stage_run(stage, &rows, NULL, err);
    if (st == LEAT_OK) leat_changes_append(to, &rows, NULL, rows.row_count, sign);
    leat_stage_free(stage);
    leat_buffer_deinit(&sql);
    leat_changes_deinit(&rows);
    return st;
}

/* A table made anew gives what it makes; its frozen rows are in the lake. */
static enum leat_status add_frozen(const struct leat_apply *a, const struct leat_gtable *table, struct leat_changes *queue, struct leat_error *err) {
    int64_t version = leat_apply_version(a, "tables", table);
    if (version < 0) return LEAT_OK;
    if (!queue->schema) leat_changes_init(queue, &table->plan->schema);
    return leat_frozen_rows(a->engine, &a->engine->tables[table->index], version, queue, err);
}

/* What an operator that reads a table outside of the pass takes in: all of it, or what has changed since it was suspended. */
static enum leat_status fill_queue(struct pass *p, const struct leat_gtable *table, struct leat_changes *queue, struct leat_error *err) {
    const struct leat_apply *a = p->apply;
    int64_t now = leat_apply_version(a, "tables", table);
    enum leat_status st = LEAT_OK;
    if (!queue->schema) leat_changes_init(queue, &table->plan->schema);
    if (!p->anew) {
        const json_t *then = json_object_get(json_object_get(p->from, "versions"), table->def->name);
        if (now == json_integer_value(then)) return LEAT_OK;
        st = add_content(a->engine, table, now, 1, queue, err);
        if (st == LEAT_OK) st = add_content(a->engine, table, json_integer_value(then), -1, queue, err);
        if (st == LEAT_OK) leat_changes_consolidate(queue);
        return st;
    }
    if (p->group->suspended) return now < 0 ? LEAT_OK : add_content(a->engine, table, now, 1, queue, err); /* what is to be committed comes when it resumes */
    if (a->fates[table->index] != LEAT_FATE_ANEW) st = add_content(a->engine, table, now, 1, queue, err);
    if (st == LEAT_OK && a->fates[table->index] == LEAT_FATE_ANEW) st = add_frozen(a, table, queue, err);
    if (st == LEAT_OK && a->fates[table->index] != LEAT_FATE_KEPT)
        leat_changes_append(queue, &table->pending, NULL, table->pending.row_count, 1);
    return st;
}

static enum leat_status fill_queues(struct pass *p, struct leat_error *err) {
    struct leat_group *g = p->group;
    for (int i = 0; i < g->node_count; i++) {
        const struct leat_gnode *node = &g->nodes[i];
        if (!p->rebuild.nodes[i] || node->op->kind != LEAT_OP_TABLE) continue;
        const struct leat_gtable *table = &g->engine->tables[node->op->object];
        if (g->queues[table->index].row_count) continue;
        enum leat_status st = in_pass(p, table) ? (p->anew ? add_frozen(p->apply, table, &g->queues[table->index], err) : LEAT_OK)
                                                : fill_queue(p, table, &g->queues[table->index], err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

static enum leat_status load_late(const struct pass *p, struct leat_error *err) {
    struct leat_group *g = p->group;
    enum leat_status st = LEAT_OK;
    g->late_loaded = true;
    for (int t = 0; t < g->table_count && st == LEAT_OK; t++)
        if (!g->tables[t]->late_sets) st = leat_late_load(g->engine, g->tables[t], leat_apply_version(p->apply, "late", g->tables[t]), NULL, err);
    return st;
}

static void rewind_sources(const struct pass *p) {
    struct leat_engine *engine = p->group->engine;
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (!engine->references[s]) leat_src_rewind(&engine->sources[s]);
}

/* Back to the frontier. Of a source that is new to the groups nobody but the pass knows how far its event times have come. */
static void arrive(struct pass *p, const json_t *frontier) {
    struct leat_group *g = p->group;
    size_t n = g->engine->project->source_count;
    struct leat_partition_time **times = leat_alloc((n + 1) * sizeof *times);
    size_t *counts = leat_alloc((n + 1) * sizeof *counts);
    for (size_t s = 0; s < n; s++) {
        times[s] = g->times[s];
        counts[s] = g->time_counts[s];
        g->times[s] = NULL;
    }
    leat_group_load(g, frontier);
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < counts[s]; i++) leat_group_note_time(g, s, times[s][i].partition, times[s][i].max_event_us);
        free(times[s]);
    }
    free(times);
    free(counts);
}

static enum leat_status run_pass(struct pass *p, struct leat_error *err) {
    struct leat_group *g = p->group;
    uint64_t since_checkpoint = g->engine->records_since_checkpoint;
    json_t *frontier = leat_group_json(g);
    mark_nodes(p);
    g->rebuild = &p->rebuild;
    go_back(p);
    enum leat_status st = load_late(p, err);
    if (st == LEAT_OK) st = leat_lows_load(g, err);
    if (st == LEAT_OK && p->anew) st = open_nodes(p, err);
    if (st == LEAT_OK) st = fill_queues(p, err);
    if (st == LEAT_OK) {
        rewind_sources(p);
        st = leat_group_rebuild(g, err);
    }
    arrive(p, frontier);
    g->rebuild = NULL;
    g->late_loaded = false;
    leat_lows_forget(g);
    g->engine->records_since_checkpoint = since_checkpoint;
    json_decref(frontier);
    return st;
}

static void pass_init(struct pass *p, struct leat_apply *a, struct leat_group *g, const json_t *from) {
    *p = (struct pass){.apply = a, .group = g, .anew = !from, .from = from};
    leat_rebuild_init(g, &p->rebuild, a->record);
    p->rebuild.queued = true;
    p->rebuild.resumes = from != NULL;
}

/* The table's operators as they were when it was suspended. What it shares with others from now on, all that does not read a source, is brought up from
 * there too, and is then what theirs are. */
static enum leat_status adopt_suspended(const struct leat_apply *a, struct leat_gtable *table, struct leat_error *err) {
    struct leat_group *own = table->group;
    enum leat_status st = LEAT_OK;
    int t = 0;
    while (own->tables[t] != table) t++;
    for (int k = 0; k < a->engine->group_count; k++)
        for (int i = 0; i < a->engine->groups[k]->node_count; i++) a->engine->groups[k]->nodes[i].keeper = NULL;
    for (int i = 0; i < own->node_count && st == LEAT_OK; i++) {
        if (!own->nodes[i].feeds[t]) continue;
        own->nodes[i].keeper = table;
        st = leat_group_open_node(own, i, err); /* empty again: another resumed one may have used it */
    }
    return st == LEAT_OK ? leat_engine_adopt_nodes(a->engine, a->state, err) : st;
}

static enum leat_status resume(struct leat_apply *a, struct leat_error *err) {
    for (size_t t = 0; t < a->engine->project->table_count; t++) {
        struct leat_gtable *table = &a->engine->tables[t];
        struct pass p;
        if (a->fates[t] != LEAT_FATE_RESUMED) continue;
        pass_init(&p, a, table->group, leat_state_group(a->state, table->def->name));
        for (int i = 0; i < p.group->table_count; i++) p.rebuild.tables[i] = p.group->tables[i] == table;
        enum leat_status st = adopt_suspended(a, table, err);
        if (st == LEAT_OK) st = run_pass(&p, err);
        leat_rebuild_deinit(p.group, &p.rebuild);
        if (st != LEAT_OK) return leat_prepend(err, "table \"%s\"", table->def->name);
        table->changes_out += table->pending.row_count;
    }
    return LEAT_OK;
}

/* Tables made anew that read such of another group are built after them. */
static int *layers_of(const struct leat_apply *a, int *highest) {
    const struct leat_engine *engine = a->engine;
    const struct leat_project *project = engine->project;
    int *layers = leat_alloc((project->table_count + 1) * sizeof *layers);
    *highest = 0;
    for (size_t i = 0; i < project->order_count; i++) {
        if (project->order[i].kind != LEAT_OBJECT_TABLE || a->fates[project->order[i].index] != LEAT_FATE_ANEW) continue;
        const struct leat_gtable *table = &engine->tables[project->order[i].index];
        for (size_t k = 0; k < table->plan->input_count; k++) {
            const struct leat_gtable *input = leat_table_input(engine, table, k);
            if (!input || a->fates[input->index] != LEAT_FATE_ANEW) continue;
            int least = layers[input->index] + (input->group != table->group);
            if (least > layers[table->index]) layers[table->index] = least;
        }
        if (layers[table->index] > *highest) *highest = layers[table->index];
    }
    return layers;
}

static enum leat_status build(struct leat_apply *a, struct leat_error *err) {
    int highest, *layers = layers_of(a, &highest);
    enum leat_status st = LEAT_OK;
    for (int layer = 0; layer <= highest && st == LEAT_OK; layer++)
        for (int k = 0; k < a->engine->group_count && st == LEAT_OK; k++) {
            struct pass p;
            bool any = false;
            pass_init(&p, a, a->engine->groups[k], NULL);
            for (int t = 0; t < p.group->table_count; t++) {
                int index = p.group->tables[t]->index;
                any |= p.rebuild.tables[t] = a->fates[index] == LEAT_FATE_ANEW && layers[index] == layer;
            }
            if (any) st = run_pass(&p, err);
            leat_rebuild_deinit(p.group, &p.rebuild);
        }
    free(layers);
    return st;
}

/* Operators of tables that stay, but for those that others share which are built anew, or brought up from where they were suspended. */
static void choose_keepers(const struct leat_apply *a) {
    for (int k = 0; k < a->engine->group_count; k++) {
        struct leat_group *g = a->engine->groups[k];
        for (int i = 0; i < g->node_count; i++) {
            bool brought = false;
            g->nodes[i].keeper = NULL;
            for (int t = 0; t < g->table_count; t++) {
                if (!g->nodes[i].feeds[t]) continue;
                brought |= a->fates[g->tables[t]->index] != LEAT_FATE_KEPT;
                g->nodes[i].keeper = g->tables[t];
            }
            if (brought) g->nodes[i].keeper = NULL;
        }
    }
}

enum leat_status leat_apply_move(struct leat_apply *a, struct leat_error *err) {
    struct leat_engine *engine = a->engine;
    enum leat_status st = leat_apply_may_freeze(a, err);
    if (st == LEAT_OK) st = classify(a, err);
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++)
        if (a->fates[t] == LEAT_FATE_ANEW || engine->tables[t].beside) st = leat_retain_may_apply(engine, &engine->tables[t], err);
    if (st == LEAT_OK) st = leat_groups_arrange(engine, err);
    if (st != LEAT_OK) return st;
    engine->fingerprint = leat_engine_fingerprint(engine);
    place_groups(a);
    choose_keepers(a);
    if ((st = leat_engine_adopt_nodes(engine, a->state, err)) != LEAT_OK) return st;
    for (size_t t = 0; t < engine->project->table_count; t++)
        if (a->fates[t] == LEAT_FATE_KEPT || a->fates[t] == LEAT_FATE_RESUMED) leat_table_load_stream(engine, &engine->tables[t], a->state);
    if ((st = resume(a, err)) == LEAT_OK) st = build(a, err);
    for (size_t t = 0; t < engine->project->table_count; t++) leat_late_forget(engine, &engine->tables[t]);
    for (int k = 0; k < engine->group_count; k++) engine->groups[k]->late_loaded = false;
    for (size_t s = 0; s < engine->project->source_count && st == LEAT_OK; s++)
        if (!engine->references[s]) leat_src_rewind(&engine->sources[s]); /* to where the groups are: history is behind them */
    return st;
}
