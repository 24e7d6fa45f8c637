/* The life of a project's effects: opening, what a step, a commit, a run and a restatement tell, catching up. */
#include "engine/tell/effects.h"
#include "engine/tell/tell.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

/* A table's steps and the versions of one that runs are numbered apart. */
static uint64_t mark_of(const struct leat_gtable *table, uint64_t number) {
    return (number + 1) << 1 | table->batch;
}

static bool mark_is_run(uint64_t mark) {
    return mark & 1;
}

static uint64_t delta_version(const struct leat_gtable *table) {
    return (uint64_t)leat_delta_current(table->delta)->version;
}

static bool taken_in(const struct leat_effects *e, uint64_t mark) {
    uint64_t last = leat_outbox_mark(e->outbox);
    return last && mark_is_run(last) == mark_is_run(mark) && last >= mark;
}

static enum leat_status complete(struct leat_effects *e, uint64_t mark, struct leat_error *err) {
    return leat_outbox_complete(e->outbox, mark, e->engine->clock_us, err);
}

/* ---- what is kept of a sink -------------------------------------------------------------------------------------------- */

static void put_signatures(const struct leat_engine *engine, const struct leat_gtable *table, struct leat_buffer *text) {
    const struct leat_plan *plan = table->plan;
    leat_putf(text, "%s=%s;", table->def->name, plan->op_count ? plan->ops[plan->op_count - 1].signature : plan->completed_sql);
    const struct leat_gtable *input;
    for (size_t i = 0; i < plan->input_count; i++)
        if ((input = leat_table_input(engine, table, i))) put_signatures(engine, input, text);
}

static json_t *hash_json(const struct leat_buffer *text) {
    return json_sprintf("%016llx", (unsigned long long)XXH3_64bits(text->data, text->length));
}

static json_t *plan_json(const struct leat_effects *e) {
    struct leat_buffer text = {0};
    put_signatures(e->engine, e->table, &text);
    json_t *hash = hash_json(&text);
    leat_buffer_deinit(&text);
    return hash;
}

static json_t *schema_json(const struct leat_effects *e) {
    const struct leat_schema *schema = &e->table->plan->schema;
    struct leat_buffer text = {0};
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        leat_putf(&text, "%s %s;", schema->fields[i].name, type);
    }
    for (size_t i = 0; i < e->table->def->primary_key_count; i++) leat_putf(&text, "%s,", e->table->def->primary_key[i]);
    json_t *hash = hash_json(&text);
    leat_buffer_deinit(&text);
    return hash;
}

static char *state_path(const struct leat_effects *e) {
    return leat_asprintf("%s/sink.json", e->dir);
}

static enum leat_status save_state(struct leat_effects *e, json_t *plan, struct leat_error *err) {
    json_t *state = json_pack("{s:s,s:s,s:o,s:o}", "table", e->table->def->name, "connector", e->ops->name, "schema", schema_json(e), "plan", plan);
    if (e->cut_version >= 0) json_object_set_new(state, "cut", json_pack("[I,I]", (json_int_t)e->cut_version, (json_int_t)e->cut_mark));
    char *text = json_dumps(state, JSON_COMPACT), *path = state_path(e);
    enum leat_status st = leat_io_write_durable(e->engine->env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    json_decref(state);
    return st;
}

static bool same(const json_t *state, const char *key, json_t *now) {
    bool equal = json_equal(json_object_get(state, key), now);
    json_decref(now);
    return equal;
}

/* What is kept of another table, connector or set of columns says nothing of this one: its sink begins anew. */
static enum leat_status load_state(struct leat_effects *e, struct leat_error *err) {
    struct leat_io *io = e->engine->env->io;
    char *path = state_path(e);
    struct leat_buffer text = {0};
    e->cut_version = -1;
    enum leat_status st = leat_io_read_all(io, path, LEAT_MIB, &text, err);
    free(path);
    json_t *state = st == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL, *plan = plan_json(e);
    leat_buffer_deinit(&text);
    if (st != LEAT_OK && st != LEAT_NOT_FOUND) goto out;
    st = LEAT_OK;
    bool fits = state && same(state, "table", json_string(e->table->def->name)) && same(state, "connector", json_string(e->ops->name)) &&
                same(state, "schema", schema_json(e));
    if (fits) {
        json_t *cut = json_object_get(state, "cut");
        if (cut) e->cut_version = json_integer_value(json_array_get(cut, 0)), e->cut_mark = (uint64_t)json_integer_value(json_array_get(cut, 1));
        e->same_plan = same(state, "plan", json_incref(plan));
        goto out;
    }
    if (leat_io_exists(io, e->dir)) {
        leat_log(e->engine->env, LEAT_LOG_WARN, "sink %s has another table, connector or columns now: it begins anew (start = '%s')", e->def->name,
                 e->def->snapshot ? "snapshot" : "now");
        st = leat_io_remove_tree(io, e->dir, err);
    }
    if (st == LEAT_OK) st = leat_io_mkdirs(io, e->state_dir, err);
    if (st == LEAT_OK) st = save_state(e, json_incref(plan), err);
    e->same_plan = true;
out:
    json_decref(state);
    json_decref(plan);
    return st;
}

/* A sink that is no longer in the project takes its spool with it. */
static enum leat_status forget_others(struct leat_engine *engine, struct leat_error *err) {
    char *dir = leat_asprintf("%s/sink", engine->work_dir), **names;
    size_t count;
    enum leat_status st = leat_io_list_sorted(engine->env->io, dir, &names, &count, err);
    for (size_t i = 0; st == LEAT_OK && i < count; i++) {
        bool known = false;
        for (size_t s = 0; s < engine->project->sink_count; s++) known |= strcmp(engine->project->sinks[s].name, names[i]) == 0;
        if (known) continue;
        char *gone = leat_asprintf("%s/%s", dir, names[i]);
        leat_log(engine->env, LEAT_LOG_WARN, "sink %s is not in the project any more; what it had not delivered is dropped", names[i]);
        st = leat_io_remove_tree(engine->env->io, gone, err);
        free(gone);
    }
    if (st == LEAT_OK) leat_names_free(names, count);
    free(dir);
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------- */

static enum leat_status open_one(struct leat_engine *engine, size_t index, struct leat_error *err) {
    struct leat_effects *e = &engine->effects[index];
    e->engine = engine;
    e->def = &engine->project->sinks[index];
    e->ops = leat_sink_find(e->def->connector);
    e->table = &engine->tables[e->def->table];
    e->upserts = leat_sink_upserts(e->ops, e->table->def);
    e->dir = leat_asprintf("%s/sink/%s", engine->work_dir, e->def->name);
    e->state_dir = leat_asprintf("%s/connector", e->dir);
    e->identity = leat_asprintf("%s-%.8s", e->def->name, engine->incarnation);
    e->env = *engine->env;
    leat_random_seed(&e->env.random, leat_random_next(&engine->env->random));
    leat_effects_emit_init(e);
    enum leat_status st = load_state(e, err);
    if (st != LEAT_OK) return st;
    e->context = (struct leat_sink_context){.env = &e->env, .def = e->def, .table = e->table->def, .schema = &e->table->plan->schema, .key = e->key,
                                            .key_count = e->table->def->primary_key_count, .project_dir = engine->project_dir,
                                            .state_dir = e->state_dir, .identity = e->identity};
    if ((st = e->ops->open(&e->context, &e->sink, err)) != LEAT_OK) return st;
    int64_t first = leat_setting_int(engine->project, "retry_backoff"), max = leat_sink_option_int(e->def, "retry_max", 0);
    uint64_t limit = (uint64_t)leat_sink_option_int(e->def, "spool_limit", 0);
    const struct leat_outbox_options options = {.max_tries = leat_sink_option_int(e->def, "max_tries", 1),
                                                .retry_first_us = first,
                                                .retry_max_us = max > first ? max : first,
                                                .begin_us = leat_engine_now(engine),
                                                .restored_us = engine->restored_us,
                                                .segment_bytes = limit / 8 < 8 * LEAT_MIB ? limit / 8 : 0,
                                                .typed = e->ops->encode ? NULL : &e->table->plan->schema};
    return leat_outbox_open(&e->env, e->dir, &options, e->sink, &e->outbox, err);
}

enum leat_status leat_effects_open(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = forget_others(engine, err);
    engine->effects = leat_alloc((engine->project->sink_count + 1) * sizeof *engine->effects);
    for (size_t i = 0; i < engine->project->sink_count && st == LEAT_OK; i++) {
        engine->effects_count = i + 1;
        if ((st = open_one(engine, i, err)) != LEAT_OK) leat_prepend(err, "sink \"%s\"", engine->project->sinks[i].name);
    }
    return st;
}

void leat_effects_close(struct leat_engine *engine) {
    for (size_t i = 0; i < engine->effects_count; i++) {
        struct leat_effects *e = &engine->effects[i];
        leat_outbox_close(e->outbox);
        if (e->sink) e->ops->close(e->sink);
        leat_effects_emit_deinit(e);
        leat_effects_close_dead(e);
        free(e->dir);
        free(e->state_dir);
        free(e->identity);
    }
    free(engine->effects);
    engine->effects = NULL;
    engine->effects_count = 0;
}

enum leat_status leat_effects_sync(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) st = leat_outbox_sync(engine->effects[i].outbox, err);
    return st;
}

/* ---- tables made anew -------------------------------------------------------------------------------------------------- */

static bool reads_table(const struct leat_engine *engine, const struct leat_gtable *table, const struct leat_gtable *other) {
    const struct leat_gtable *input;
    if (table == other) return true;
    for (size_t i = 0; i < table->plan->input_count; i++)
        if ((input = leat_table_input(engine, table, i)) && reads_table(engine, input, other)) return true;
    return false;
}

static bool reads_group(const struct leat_gtable *table, const struct leat_group *g) {
    for (int t = 0; t < g->table_count; t++)
        if (reads_table(g->engine, table, g->tables[t])) return true;
    return false;
}

static bool has_sink(const struct leat_gtable *table) {
    const struct leat_engine *engine = table->group ? table->group->engine : NULL;
    for (size_t i = 0; engine && i < engine->effects_count; i++)
        if (engine->effects[i].table == table) return true;
    return false;
}

/* Has everything that had been read before, here and in the groups below, come to the table? */
static bool caught_up(const struct leat_gtable *table) {
    const struct leat_engine *engine = table->group->engine;
    for (int k = 0; k < engine->group_count; k++)
        if (reads_group(table, engine->groups[k]) && !leat_group_settled(engine->groups[k])) return false;
    return true;
}

bool leat_effects_gathers(const struct leat_gtable *table) {
    return table->overwrite && table->group && has_sink(table) && !caught_up(table);
}

/* By FAIL UPDATE, here or below: only new records can bring the commit. */
static bool held_up(const struct leat_engine *engine, const struct leat_gtable *table) {
    if (!table->overwrite || !table->group) return false;
    bool held = leat_table_held(table) != NULL;
    for (size_t i = 0; i < table->plan->input_count && !held; i++) {
        const struct leat_gtable *input = leat_table_input(engine, table, i);
        held = input && held_up(engine, input);
    }
    return held;
}

bool leat_effects_hold(const struct leat_group *g) {
    for (size_t i = 0; i < g->engine->effects_count; i++) {
        const struct leat_gtable *table = g->engine->effects[i].table;
        if (table->overwrite && table->group && reads_group(table, g) && !held_up(g->engine, table)) return true;
    }
    return false;
}

bool leat_effects_want_commit(const struct leat_engine *engine) {
    for (size_t i = 0; i < engine->effects_count; i++) {
        const struct leat_gtable *table = engine->effects[i].table;
        if (table->overwrite && table->group && !leat_table_waits(table) && caught_up(table)) return true;
    }
    return false;
}

/* ---- what a table tells ------------------------------------------------------------------------------------------------ */

static bool listens(const struct leat_effects *e, const struct leat_gtable *table) {
    return e->table == table && e->cut_version < 0 && leat_outbox_mark(e->outbox) && !e->snapshot_due;
}

enum leat_status leat_effects_step(struct leat_gtable *table, const struct leat_changes *changes, uint64_t step, bool restated,
                                   struct leat_error *err) {
    struct leat_engine *engine = table->group->engine;
    enum leat_status st = LEAT_OK;
    if (table->overwrite || !changes->row_count) return LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        uint64_t mark = mark_of(table, step);
        if (!listens(e, table) || taken_in(e, mark)) continue;
        if (restated && !e->upserts && !e->def->send_retractions) continue; /* a correction, not an event */
        if ((st = leat_effects_emit(e, changes, mark, err)) == LEAT_OK) st = complete(e, mark, err);
    }
    return st;
}

/* The new content is told to a new sink that wants it, the difference to one that knows the old. A query that is another one now has
 * other rows, which are no events. */
static enum leat_status replaced_one(struct leat_effects *e, const struct leat_changes *diff, uint64_t mark, struct leat_error *err) {
    bool fresh = leat_outbox_mark(e->outbox) == 0;
    enum leat_status st = LEAT_OK;
    if ((e->snapshot_due = fresh && e->def->snapshot && e->table->frozen_us > INT64_MIN)) return LEAT_OK; /* once committed: with the rows that stay (retain.c) */
    if (fresh && e->def->snapshot) st = leat_effects_emit(e, &e->table->pending, mark, err);
    if (!fresh && (e->upserts || e->same_plan || e->def->send_retractions))
        st = leat_effects_emit_untold(e, diff, &e->table->pending, mark_of(e->table, e->table->committed_step), mark, err);
    return st == LEAT_OK ? complete(e, mark, err) : st;
}

enum leat_status leat_effects_replaced(struct leat_gtable *table, const struct leat_changes *diff, struct leat_error *err) {
    struct leat_engine *engine = table->group->engine;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        uint64_t mark = mark_of(table, engine->step);
        if (e->table != table || e->cut_version >= 0) continue;
        e->snapshot_due = false;
        if (!taken_in(e, mark)) st = replaced_one(e, diff, mark, err);
        if (st == LEAT_OK) st = leat_outbox_sync(e->outbox, err);
        if (st == LEAT_OK && !e->same_plan) st = save_state(e, plan_json(e), err);
        e->same_plan = true;
    }
    return st;
}

uint64_t leat_effects_run_mark(const struct leat_effects *e) {
    return mark_of(e->table, delta_version(e->table));
}

bool leat_effects_is_cut(struct leat_effects *e) {
    struct leat_outbox_stats stats;
    leat_outbox_stats(e->outbox, &stats);
    bool full = stats.waiting && stats.bytes > (uint64_t)leat_sink_option_int(e->def, "spool_limit", 0);
    e->cut_version = full ? (int64_t)(leat_outbox_mark(e->outbox) >> 1) - 1 : -1; /* shown; the mark says the same */
    return full;
}

/* From the version it knows to the current one; with spool_limit reached, later and from the same version on. */
static enum leat_status tell_run(struct leat_effects *e, struct leat_error *err) {
    uint64_t mark = leat_effects_run_mark(e), last = leat_outbox_mark(e->outbox);
    e->run_due = false;
    if (taken_in(e, mark) || leat_effects_is_cut(e)) return LEAT_OK;
    enum leat_status st = last ? leat_effects_emit_versions(e, (int64_t)(last >> 1) - 1, mark, err) : complete(e, mark, err);
    return st == LEAT_OK ? leat_outbox_sync(e->outbox, err) : st;
}

enum leat_status leat_effects_ran(struct leat_gtable *table, struct leat_engine *engine, bool beside, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        if (e->table != table) continue;
        if (beside && leat_outbox_mark(e->outbox))
            e->run_due = true;
        else
            st = tell_run(e, err);
    }
    return st;
}

/* ---- beginning, catching up -------------------------------------------------------------------------------------------- */

/* A new sink of a table that is there; one whose table was kept by steps until now, or runs again after a crash in between. */
static enum leat_status begin_run(struct leat_effects *e, struct leat_error *err) {
    uint64_t last = leat_outbox_mark(e->outbox), mark = mark_of(e->table, delta_version(e->table));
    if (last && mark_is_run(last)) return tell_run(e, err);
    return !last && e->def->snapshot ? leat_effects_emit_versions(e, -1, mark, err) : complete(e, mark, err);
}

static enum leat_status tell_snapshot(struct leat_effects *e, struct leat_error *err) {
    e->snapshot_due = false;
    return leat_effects_emit_versions(e, -1, mark_of(e->table, e->engine->step), err);
}

static enum leat_status begin_one(struct leat_effects *e, struct leat_error *err) {
    struct leat_gtable *table = e->table;
    if (table->batch) return begin_run(e, err);
    if (table->overwrite || leat_outbox_mark(e->outbox)) return LEAT_OK;
    if (!e->def->snapshot) return complete(e, mark_of(table, e->engine->step), err);
    if (!table->pending.row_count) return tell_snapshot(e, err);
    e->snapshot_due = true;
    return LEAT_OK;
}

enum leat_status leat_effects_begin(struct leat_engine *engine, bool threads, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) st = begin_one(&engine->effects[i], err);
    if (st == LEAT_OK) st = leat_effects_sync(engine, err);
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK && threads; i++) st = leat_outbox_start(engine->effects[i].outbox, err);
    return st;
}

/* Spool limit: takes nothing in from this version on, until what waits is delivered. */
static enum leat_status bound_spool(struct leat_effects *e, struct leat_error *err) {
    struct leat_outbox_stats stats;
    uint64_t limit = (uint64_t)leat_sink_option_int(e->def, "spool_limit", 0), mark = mark_of(e->table, e->engine->step);
    leat_outbox_stats(e->outbox, &stats);
    if (e->cut_version >= 0 && leat_outbox_mark(e->outbox) <= e->cut_mark) {
        if (stats.waiting) return LEAT_OK;
        enum leat_status st = leat_effects_emit_versions(e, e->cut_version, mark, err);
        if (st == LEAT_OK) st = leat_outbox_sync(e->outbox, err);
        if (st != LEAT_OK) return st;
    } else if (e->cut_version < 0) {
        if (stats.bytes <= limit || !stats.waiting) return LEAT_OK;
        leat_log(e->engine->env, LEAT_LOG_WARN, "sink %s: %llu changes wait, more than spool_limit; it takes no more in until they are delivered",
                 e->def->name, (unsigned long long)stats.waiting);
        e->cut_version = (int64_t)delta_version(e->table);
        e->cut_mark = leat_outbox_mark(e->outbox);
        return save_state(e, plan_json(e), err);
    }
    e->cut_version = -1;
    return save_state(e, plan_json(e), err);
}

enum leat_status leat_effects_committed(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        struct leat_gtable *table = e->table;
        if (!table->batch && !table->overwrite && !table->pending.row_count) {
            if (e->snapshot_due) st = tell_snapshot(e, err);
            if (st == LEAT_OK) st = bound_spool(e, err);
        }
        if (st == LEAT_OK) st = leat_outbox_sync(e->outbox, err);
        if (st == LEAT_OK) st = leat_outbox_trim(e->outbox, table->batch ? UINT64_MAX : mark_of(table, table->committed_step), err);
    }
    return st;
}

enum leat_status leat_effects_catch_up(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < engine->effects_count && st == LEAT_OK; i++) {
        struct leat_effects *e = &engine->effects[i];
        if (e->cut_version < 0) continue;
        if (e->table->batch && engine->options.in_turns)
            st = tell_run(e, err); /* else beside (telling.c) */
        else if (!e->table->batch && !e->table->overwrite && !e->table->pending.row_count)
            st = bound_spool(e, err);
    }
    return st;
}

void leat_effects_settle(struct leat_engine *engine) {
    for (size_t i = 0; i < engine->effects_count; i++) leat_outbox_settle(engine->effects[i].outbox);
}

void leat_engine_deliver(struct leat_engine *engine) {
    leat_effects_settle(engine);
    leat_alerts_settle(engine);
}

bool leat_effects_moved(struct leat_engine *engine) {
    bool moved = false;
    for (size_t i = 0; i < engine->effects_count; i++) {
        struct leat_outbox_stats stats;
        leat_outbox_stats(engine->effects[i].outbox, &stats);
        moved |= stats.waiting || engine->effects[i].cut_version >= 0 || stats.revision != engine->effects[i].published_revision;
    }
    return moved;
}

/* ---- showing ----------------------------------------------------------------------------------------------------------- */

json_t *leat_effects_json(struct leat_engine *engine) {
    json_t *list = json_array();
    for (size_t i = 0; i < engine->effects_count; i++) {
        struct leat_effects *e = &engine->effects[i];
        struct leat_outbox_stats stats;
        leat_outbox_stats(e->outbox, &stats);
        e->published_revision = stats.revision;
        json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:i,s:b}", "name", e->def->name, "table", e->table->def->name, "connector",
                                 e->ops->name, "start", e->def->snapshot ? "snapshot" : "now", "guarantee", e->ops->guarantee, "waiting",
                                 (json_int_t)stats.waiting, "delivered", (json_int_t)stats.delivered, "dead", (json_int_t)stats.dead, "spool_bytes",
                                 (json_int_t)stats.bytes, "tries", stats.tries, "cut", e->cut_version >= 0);
        if (stats.since_us) json_object_set_new(json, "behind_since_us", json_integer(stats.since_us));
        if (stats.retry_us) json_object_set_new(json, "retry_us", json_integer(stats.retry_us));
        if (stats.error[0]) json_object_set_new(json, "error", json_string(stats.error));
        json_array_append_new(list, json);
    }
    return list;
}
