/* Compiles every table and arranges the continuous ones into groups of one freshness, whose graphs
 * share operators with equal signatures. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "base/options.h"
#include "engine/internal.h"
#include "engine/change/change.h"
#include "schedule/zone.h"

static enum leat_status declare_view(struct leat_engine *engine, size_t index, struct leat_place *place, struct leat_error *err) {
    const struct leat_view *view = &engine->project->views[index];
    int offset = -1;
    enum leat_status st = leat_plan_declare_view(engine->plan_conn, view, &engine->view_sql[index], &offset, err);
    if (st == LEAT_OK) return st;
    *place = offset >= 0 ? leat_sql_place(&view->map, &view->sql_place, (size_t)offset) : view->place;
    return leat_prepend(err, "view \"%s\"", view->name);
}

static enum leat_status declare(struct leat_engine *engine, struct leat_object_ref ref, struct leat_place *place, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    switch (ref.kind) {
    case LEAT_OBJECT_SOURCE: return leat_plan_declare_source(engine->plan_conn, &project->sources[ref.index], err);
    case LEAT_OBJECT_VIEW: return declare_view(engine, ref.index, place, err);
    case LEAT_OBJECT_TABLE:
        return leat_plan_declare_table(engine->plan_conn, &project->tables[ref.index], engine->tables[ref.index].plan, err);
    }
    return LEAT_OK;
}

const struct leat_gtable *leat_table_input(const struct leat_engine *engine, const struct leat_gtable *table, size_t i) {
    const struct leat_object_ref input = table->plan->inputs[i];
    return input.kind == LEAT_OBJECT_TABLE ? &engine->tables[input.index] : NULL;
}

void leat_table_mark(const struct leat_engine *engine, const struct leat_gtable *table, bool *marked) {
    const struct leat_gtable *input;
    if (marked[table->index]) return;
    marked[table->index] = true;
    for (size_t i = 0; i < table->plan->input_count; i++)
        if ((input = leat_table_input(engine, table, i))) leat_table_mark(engine, input, marked);
}

static bool reads(const struct leat_gtable *table, enum leat_object_kind kind, size_t index) {
    for (size_t i = 0; i < table->plan->input_count; i++)
        if (table->plan->inputs[i].kind == kind && table->plan->inputs[i].index == index) return true;
    return false;
}

bool leat_table_reads(const struct leat_gtable *table, size_t source) {
    return reads(table, LEAT_OBJECT_SOURCE, source);
}

bool leat_table_reads_table(const struct leat_gtable *table, const struct leat_gtable *other) {
    return reads(table, LEAT_OBJECT_TABLE, (size_t)other->index);
}

/* With another name, or NULLs where there were none, a column is another: what the lake has is a table of its own then. */
void leat_table_put_columns(const struct leat_gtable *table, struct leat_buffer *out) {
    const struct leat_schema *schema = &table->plan->schema;
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        leat_putf(out, "%s %s%s;", schema->fields[i].name, type, schema->fields[i].not_null ? " not null" : "");
    }
}

char *leat_table_signature(const struct leat_engine *engine, const struct leat_gtable *table) {
    const struct leat_plan *plan = table->plan;
    struct leat_buffer text = {0};
    char *software = leat_engine_software(engine);
    leat_putf(&text, "%s%s;", software, table->batch ? "batch" : "continuous");
    if (table->batch) {
        leat_putf(&text, "%s;%s", plan->completed_sql, plan->quarantine_sql ? plan->quarantine_sql : "");
    } else {
        leat_putf(&text, "%s;%s;%lld;", plan->ops[plan->op_count - 1].signature,
                  plan->quarantine >= 0 ? plan->ops[plan->quarantine].signature : "", (long long)table->def->lateness_us);
        leat_plan_put_cut_set(engine, plan, &text);
    }
    leat_table_put_columns(table, &text);
    XXH128_hash_t hash = XXH3_128bits(text.data, text.length);
    leat_buffer_deinit(&text);
    free(software);
    return leat_asprintf("%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

/* A table reading a batch table is itself recomputed: what it reads has no change stream. */
static bool reads_batch_table(const struct leat_engine *engine, const struct leat_plan *plan) {
    for (size_t i = 0; i < plan->input_count; i++)
        if (plan->inputs[i].kind == LEAT_OBJECT_TABLE && engine->tables[plan->inputs[i].index].batch) return true;
    return false;
}

static enum leat_status compile_table(struct leat_engine *engine, size_t index, struct leat_place *place, struct leat_error *err) {
    const struct leat_table *def = &engine->project->tables[index];
    int offset = -1;
    enum leat_status st = leat_plan_compile(engine->plan_conn, engine->project, def, &engine->tables[index].plan, &offset, err);
    if (st == LEAT_OK) return LEAT_OK;
    *place = offset >= 0 ? leat_sql_place(&def->map, &def->sql_place, (size_t)offset) : def->place;
    return leat_prepend(err, "table \"%s\"", def->name);
}

static void prepare_table(struct leat_engine *engine, size_t index) {
    struct leat_gtable *table = &engine->tables[index];
    table->def = &engine->project->tables[index];
    table->index = (int)index;
    table->closed_us = table->late_before_us = table->told_closed_us = table->frozen_us = INT64_MIN;
    table->batch = table->def->cron || table->plan->incremental_class == 7 || reads_batch_table(engine, table->plan);
    table->balance = leat_alloc(engine->project->source_count * sizeof *table->balance);
    leat_changes_init(&table->pending, &table->plan->schema);
}

static struct leat_freshness own_freshness(const struct leat_gtable *table) {
    struct leat_freshness f = {.calendar = table->def->calendar, .zone = table->def->calendar.else_us ? table->def->time_zone : NULL};
    f.calendar.between_us = table->def->freshness_us;
    return f;
}

static int64_t shortest_of(const struct leat_freshness *f) {
    const struct leat_calendar *c = &f->calendar;
    return c->else_us && c->else_us < c->between_us ? c->else_us : c->between_us;
}

/* FRESHNESS = DOWNSTREAM: as those who read it; where they differ, their shortest, at all hours (an hour when nobody continuous does). Theirs are known. */
static struct leat_freshness freshness_of(const struct leat_engine *engine, const struct leat_gtable *table) {
    struct leat_freshness all = {.calendar = {.between_us = 3600 * (int64_t)1000000}};
    bool any = false;
    if (!table->def->downstream) return own_freshness(table);
    for (size_t i = 0; i < engine->project->table_count; i++) {
        const struct leat_gtable *reader = &engine->tables[i];
        if (reader->def->cron || !leat_table_reads_table(reader, table)) continue;
        const struct leat_freshness theirs = reader->freshness;
        if (any && !leat_freshness_same(&all, &theirs)) {
            int64_t mine = shortest_of(&all), other = shortest_of(&theirs);
            all = (struct leat_freshness){.calendar = {.between_us = mine < other ? mine : other}};
        } else {
            all = theirs;
        }
        any = true;
    }
    return all;
}

/* Readers stand behind what they read. */
static void settle_freshness(struct leat_engine *engine) {
    for (size_t i = engine->project->order_count; i-- > 0;) {
        const struct leat_object_ref ref = engine->project->order[i];
        if (ref.kind == LEAT_OBJECT_TABLE) engine->tables[ref.index].freshness = freshness_of(engine, &engine->tables[ref.index]);
    }
}

bool leat_freshness_same(const struct leat_freshness *a, const struct leat_freshness *b) {
    const struct leat_calendar *x = &a->calendar, *y = &b->calendar;
    if (x->between_us != y->between_us || x->else_us != y->else_us) return false;
    if (!x->else_us) return true;
    return x->from_minute == y->from_minute && x->to_minute == y->to_minute &&
           (a->zone && b->zone ? strcasecmp(a->zone, b->zone) == 0 : !a->zone && !b->zone);
}

json_t *leat_freshness_json(const struct leat_freshness *f) {
    const struct leat_calendar *c = &f->calendar;
    if (!c->else_us) return json_integer(c->between_us);
    return json_sprintf("%lld/%d-%d/%lld/%s", (long long)c->between_us, c->from_minute, c->to_minute, (long long)c->else_us, f->zone ? f->zone : "");
}

void leat_freshness_put(const struct leat_freshness *f, struct leat_buffer *out) {
    const struct leat_calendar *c = &f->calendar;
    leat_put_interval(out, c->between_us);
    if (!c->else_us) return;
    leat_putf(out, " between %02d:%02d and %02d:%02d, else ", c->from_minute / 60, c->from_minute % 60, c->to_minute / 60, c->to_minute % 60);
    leat_put_interval(out, c->else_us);
    if (f->zone) leat_putf(out, " (%s)", f->zone);
}

static struct leat_zone *zone_of(const struct leat_engine *engine, const struct leat_freshness *f) {
    if (!f->calendar.else_us) return NULL;
    return leat_zone_find(engine->batch_conn, f->zone ? f->zone : leat_setting_text(engine->project, "time_zone"));
}

int64_t leat_freshness_due(const struct leat_engine *engine, const struct leat_freshness *f, int64_t since_us, int fifths) {
    return leat_calendar_due(&f->calendar, zone_of(engine, f), since_us, fifths);
}

void leat_group_turn(struct leat_group *g) {
    int64_t now = leat_engine_now(g->engine);
    if (now < g->turns_us) return;
    struct leat_period period = leat_calendar_at(&g->freshness.calendar, zone_of(g->engine, &g->freshness), now);
    g->freshness_us = period.freshness_us;
    g->turns_us = period.until_us;
}

static struct leat_group *group_for(struct leat_engine *engine, struct leat_gtable *table) {
    for (int i = 0; i < engine->group_count && !table->suspended; i++)
        if (leat_freshness_same(&engine->groups[i]->freshness, &table->freshness) && !engine->groups[i]->suspended) return engine->groups[i];
    size_t sources = engine->project->source_count + 1, tables = engine->project->table_count + 1;
    struct leat_group *g = leat_alloc(sizeof *g);
    g->engine = engine;
    g->freshness = table->freshness;
    leat_group_turn(g);
    g->suspended = table->suspended ? table : NULL;
    g->reads = leat_alloc(sources * sizeof *g->reads);
    g->cursors = leat_alloc(sources * sizeof *g->cursors);
    g->passed = leat_alloc(sources * sizeof *g->passed);
    g->watermarks = leat_alloc(sources * sizeof *g->watermarks);
    g->history = leat_alloc(sources * sizeof *g->history);
    g->floors = leat_alloc(sources * sizeof *g->floors);
    g->lows = leat_alloc(sources * sizeof *g->lows);
    g->times = leat_alloc(sources * sizeof *g->times);
    g->time_counts = leat_alloc(sources * sizeof *g->time_counts);
    g->reference_versions = leat_alloc(sources * sizeof *g->reference_versions);
    g->queues = leat_alloc(tables * sizeof *g->queues);
    for (size_t i = 0; i < sources; i++) g->watermarks[i] = g->floors[i] = INT64_MIN;
    engine->groups = leat_realloc(engine->groups, (size_t)(engine->group_count + 1) * sizeof *engine->groups);
    engine->groups[engine->group_count++] = g;
    return g;
}

static int find_gnode(const struct leat_group *g, const struct leat_op *op, const struct leat_gnode *like) {
    for (int i = 0; i < g->node_count; i++)
        if (strcmp(g->nodes[i].op->signature, op->signature) == 0 && g->nodes[i].lateness_us == like->lateness_us &&
            g->nodes[i].cut_set == like->cut_set && g->nodes[i].late_class == like->late_class)
            return i;
    return -1;
}

static bool reads_source(const struct leat_plan *plan, int op) {
    const struct leat_op *o = &plan->ops[op];
    for (int i = 0; i < o->child_count; i++)
        if (reads_source(plan, o->children[i])) return true;
    return o->kind == LEAT_OP_SOURCE;
}

static bool below_cut(const struct leat_plan *plan, int op) {
    const struct leat_op *o = &plan->ops[op];
    if (o->kind == LEAT_OP_SOURCE && o->cut_applies) return true;
    for (int i = 0; i < o->child_count; i++)
        if (below_cut(plan, o->children[i])) return true;
    return false;
}

static void add_table(struct leat_group *g, struct leat_gtable *table) {
    const struct leat_plan *plan = table->plan;
    int *where = leat_alloc(plan->op_count * sizeof *where), table_set = leat_cut_set_of(g, plan);
    for (size_t i = 0; i < plan->op_count; i++) {
        const struct leat_op *op = &plan->ops[i];
        bool cut = below_cut(plan, (int)i);
        struct leat_gnode like = {.op = op,
                                  .lateness_us = cut ? table->def->lateness_us : -1,
                                  .cut_set = cut ? table_set : -1,
                                  .on_source = reads_source(plan, (int)i),
                                  .late_class = reads_source(plan, (int)i) ? table->late_class : 0,
                                  .owner = table};
        where[i] = find_gnode(g, op, &like);
        if (where[i] >= 0) continue;
        g->nodes = leat_realloc(g->nodes, (size_t)(g->node_count + 1) * sizeof *g->nodes);
        struct leat_gnode *node = &g->nodes[g->node_count];
        *node = like;
        node->children[0] = op->child_count > 0 ? where[op->children[0]] : -1;
        node->children[1] = op->child_count > 1 ? where[op->children[1]] : -1;
        if (op->kind == LEAT_OP_SOURCE) g->reads[op->object] = true;
        if (op->kind == LEAT_OP_TABLE) {
            struct leat_gtable *upstream = &g->engine->tables[op->object];
            if (upstream->group == g) node->children[0] = upstream->root;
        }
        where[i] = g->node_count++;
    }
    table->group = g;
    table->root = where[plan->op_count - 1];
    table->constrain = plan->constrain >= 0 ? where[plan->constrain] : -1;
    table->quarantine_root = plan->quarantine >= 0 ? where[plan->quarantine] : -1;
    g->tables = leat_realloc(g->tables, (size_t)(g->table_count + 1) * sizeof *g->tables);
    g->tables[g->table_count++] = table;
    free(where);
}

/* Marks which tables each node feeds, and for each (table, source) the one SOURCE node that keeps its row balance. */
static void mark_feeds(struct leat_group *g) {
    for (int i = 0; i < g->node_count; i++) {
        g->nodes[i].feeds = leat_alloc((size_t)g->table_count * sizeof(bool));
        g->nodes[i].counts = leat_alloc((size_t)g->table_count * sizeof(bool));
    }
    for (int t = 0; t < g->table_count; t++) {
        g->nodes[g->tables[t]->root].feeds[t] = true;
        for (int i = g->node_count - 1; i >= 0; i--) {
            struct leat_gnode *node = &g->nodes[i];
            if (!node->feeds[t] || node->op->kind == LEAT_OP_TABLE) continue;
            for (int c = 0; c < 2; c++)
                if (node->children[c] >= 0) g->nodes[node->children[c]].feeds[t] = true;
        }
        for (size_t s = 0; s < g->engine->project->source_count; s++)
            for (int i = 0; i < g->node_count; i++) {
                struct leat_gnode *node = &g->nodes[i];
                if (!node->feeds[t] || node->op->kind != LEAT_OP_SOURCE || node->op->object != (int)s) continue;
                node->counts[t] = true;
                break;
            }
    }
}

enum leat_status leat_group_open_node(struct leat_group *g, int index, struct leat_error *err) {
    struct leat_gnode *node = &g->nodes[index];
    if (node->node) leat_node_close(node->node);
    node->node = NULL;
    if (node->op->kind == LEAT_OP_SOURCE || node->op->kind == LEAT_OP_REFERENCE || node->op->kind == LEAT_OP_TABLE) return LEAT_OK;
    int id = g->engine->next_node_id++;
    const struct leat_schema *schemas[2] = {NULL, NULL};
    for (int c = 0; c < 2; c++)
        if (node->children[c] >= 0) schemas[c] = &g->nodes[node->children[c]].op->schema;
    enum leat_status st = leat_node_open(g->engine->step_conn, node->op, schemas, id, &node->node, err);
    return st == LEAT_OK ? st : leat_prepend(err, "operator %d", index);
}

enum leat_status leat_group_reset_nodes(struct leat_group *g, struct leat_error *err) {
    for (int i = 0; i < g->node_count; i++) {
        enum leat_status st = leat_group_open_node(g, i, err);
        if (st != LEAT_OK) return st;
    }
    g->started = false;
    return LEAT_OK;
}

static bool reads_one_of(const struct leat_project *project, struct leat_object_ref ref, const struct leat_object_ref *others, size_t count) {
    if (ref.kind == LEAT_OBJECT_SOURCE) return false;
    const struct leat_object_ref *inputs = ref.kind == LEAT_OBJECT_VIEW ? project->views[ref.index].inputs : project->tables[ref.index].inputs;
    size_t n = ref.kind == LEAT_OBJECT_VIEW ? project->views[ref.index].input_count : project->tables[ref.index].input_count;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < count; k++)
            if (inputs[i].kind == others[k].kind && inputs[i].index == others[k].index) return true;
    return false;
}

enum leat_status leat_groups_build(struct leat_engine *engine, struct leat_diagnostics *diags, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    struct leat_object_ref *broken = leat_alloc((project->order_count + 1) * sizeof *broken);
    size_t broken_count = 0;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < project->order_count; i++) {
        struct leat_object_ref ref = project->order[i];
        struct leat_place place = {0};
        if (reads_one_of(project, ref, broken, broken_count)) { /* nothing can be said of it */
            broken[broken_count++] = ref;
            continue;
        }
        bool table = ref.kind == LEAT_OBJECT_TABLE;
        st = table ? compile_table(engine, ref.index, &place, err) : LEAT_OK;
        if (st == LEAT_OK && table) prepare_table(engine, ref.index);
        if (st == LEAT_OK) st = declare(engine, ref, &place, err);
        if (st == LEAT_OK) continue;
        bool finding = place.file && (st == LEAT_SQL || st == LEAT_INVALID || st == LEAT_UNSUPPORTED);
        if (!finding || !diags) {
            if (place.file) leat_prepend(err, "%s:%d:%d", place.file, place.line, place.column);
            break;
        }
        leat_diagnose(diags, place, false, NULL, "%s", err->text);
        broken[broken_count++] = ref;
        st = LEAT_OK;
    }
    free(broken);
    if (st == LEAT_OK && broken_count) st = leat_fail(err, LEAT_INVALID, "the project has errors");
    if (st == LEAT_OK) settle_freshness(engine);
    return st;
}

enum leat_status leat_groups_arrange(struct leat_engine *engine, struct leat_error *err) {
    const struct leat_project *project = engine->project;
    enum leat_status st;
    for (size_t i = 0; i < project->order_count; i++) {
        if (project->order[i].kind != LEAT_OBJECT_TABLE) continue;
        struct leat_gtable *table = &engine->tables[project->order[i].index];
        if (!table->batch) add_table(group_for(engine, table), table);
    }
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *g = engine->groups[k];
        mark_feeds(g);
        for (int i = 0; i < g->node_count; i++) {
            leat_changes_init(&g->nodes[i].out, &g->nodes[i].op->schema);
            leat_changes_init(&g->nodes[i].view, &g->nodes[i].op->schema);
            const struct leat_op *op = g->nodes[i].op;
            if (op->kind == LEAT_OP_TABLE && !g->suspended && !g->queues[op->object].schema)
                leat_changes_init(&g->queues[op->object], &engine->tables[op->object].plan->schema);
        }
        if (!engine->read_only && (st = leat_group_reset_nodes(g, err)) != LEAT_OK) return st;
    }
    return LEAT_OK;
}

void leat_groups_free(struct leat_engine *engine) {
    for (int k = 0; k < engine->group_count; k++) leat_group_free(engine->groups[k]);
    free(engine->groups);
    engine->groups = NULL;
    engine->group_count = 0;
}

void leat_queues_clear(struct leat_group *g) {
    for (size_t t = 0; t < g->engine->project->table_count; t++) {
        if (!g->queues[t].schema) continue;
        if (g->suspended)
            leat_changes_deinit(&g->queues[t]);
        else
            leat_changes_reset(&g->queues[t]);
    }
}

void leat_group_free(struct leat_group *g) {
    leat_lows_forget(g);
    free(g->lows);
    for (int i = 0; i < g->node_count; i++) {
        struct leat_gnode *node = &g->nodes[i];
        if (node->node) leat_node_close(node->node);
        leat_changes_deinit(&node->out);
        memset(node->view.columns, 0, node->op->schema.field_count * sizeof *node->view.columns);
        leat_changes_deinit(&node->view);
        free(node->feeds);
        free(node->counts);
    }
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        leat_cursors_free(&g->cursors[s]);
        leat_cursors_free(&g->history[s]);
        free(g->times[s]);
    }
    free(g->history);
    free(g->floors);
    for (size_t t = 0; t < g->engine->project->table_count; t++)
        if (g->queues[t].schema) leat_changes_deinit(&g->queues[t]);
    leat_cut_sets_free(g);
    json_decref(g->versions);
    free(g->nodes);
    free(g->tables);
    free(g->reads);
    free(g->cursors);
    free(g->passed);
    free(g->watermarks);
    free(g->times);
    free(g->time_counts);
    free(g->reference_versions);
    free(g->queues);
    free(g);
}
