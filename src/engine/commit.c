/* Delta commits of continuous tables, and the manifest that names one consistent set of versions. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

static const struct leat_type T_INTEGER = {LEAT_INTEGER, 0, 0}, T_BIGINT = {LEAT_BIGINT, 0, 0},
                              T_TIMESTAMP = {LEAT_TIMESTAMP, 0, 0}, T_VARCHAR = {LEAT_VARCHAR, 0, 0};

/* Steps and batch runs are numbered apart: a table that goes from one to the other must not take one for the other. */
char *leat_table_app_id(const struct leat_engine *engine, const struct leat_gtable *table) {
    return leat_asprintf(table->batch ? "%s/%s/run" : "%s/%s", engine->incarnation, table->def->name);
}

const struct leat_node *leat_table_constrain(const struct leat_gtable *table) {
    return table->group && table->constrain >= 0 ? table->group->nodes[table->constrain].node : NULL;
}

const struct leat_changes *leat_table_held(const struct leat_gtable *table) {
    const struct leat_node *node = leat_table_constrain(table);
    return node ? leat_node_held(node) : NULL;
}

int64_t leat_table_violating(const struct leat_gtable *table, size_t constraint) {
    const struct leat_node *node = leat_table_constrain(table);
    return node ? leat_node_violating(node, constraint) : table->violating ? table->violating[constraint] : 0;
}

char *leat_table_violation_text(const struct leat_gtable *table, const int64_t *violating) {
    for (size_t i = 0; i < table->def->constraint_count; i++) {
        const struct leat_constraint *constraint = &table->def->constraints[i];
        int64_t rows = violating ? violating[i] : leat_table_violating(table, i);
        if (constraint->action != LEAT_ON_FAIL_UPDATE || rows <= 0) continue;
        return leat_asprintf("CONSTRAINT %s ON VIOLATION FAIL UPDATE: %lld row%s violate%s EXPECT (%s); the table stays at its last version "
                             "until none does",
                             constraint->name, (long long)rows, rows == 1 ? "" : "s", rows == 1 ? "s" : "", constraint->expression);
    }
    return NULL;
}

/* FROZEN WHERE, as leat apply says it too; with the work folder lost nobody has asked that. */
static enum leat_status may_set_aside(struct leat_engine *engine, const struct leat_gtable *table, const char *dir, struct leat_error *err) {
    struct leat_delta_snapshot now = {0};
    struct leat_error ignored;
    if (!table->def->frozen.column) return LEAT_OK;
    bool known = leat_delta_snapshot(engine->env, engine->batch_conn, dir, -1, &now, &ignored) == LEAT_OK;
    json_t *frontier = known && now.frontier_json ? json_loads(now.frontier_json, 0, NULL) : NULL;
    bool frozen = json_object_get(frontier, "frozen");
    json_decref(frontier);
    leat_delta_snapshot_deinit(&now);
    if (!frozen) return LEAT_OK;
    return leat_fail(err, LEAT_INVALID,
                     "table \"%s\" has frozen rows in the lake, and its query has other columns, which they do not fit; give the query a table of another name, or, to "
                     "do without these rows, move %s away", table->def->name, dir);
}

/* With other columns than the ones there, a new table takes the old one's place; while the project is only a candidate, a place beside. */
static enum leat_status open_in_place(struct leat_engine *engine, const char *name, const char *dir, const struct leat_delta_options *options,
                                      struct leat_delta **out, bool *beside, struct leat_error *err) {
    enum leat_status st = leat_delta_open(engine->env, engine->batch_conn, dir, engine->scratch_dir, options, out, err);
    if (st != LEAT_CONFLICT || engine->read_only) return st;
    if (engine->undecided) {
        char *place = leat_asprintf("%s/.candidate/%s", engine->lake_dir, name);
        st = leat_io_remove_tree(engine->env->io, place, err);
        if (st == LEAT_OK) st = leat_delta_open(engine->env, engine->batch_conn, place, engine->scratch_dir, options, out, err);
        *beside = true;
        free(place);
        return st;
    }
    char *aside = leat_asprintf("%s/.replaced/%s-%lld", engine->lake_dir, name, (long long)leat_engine_now(engine));
    char *parent = leat_asprintf("%s/.replaced", engine->lake_dir);
    leat_log(engine->env, LEAT_LOG_WARN, "table %s has other columns now; its former content is kept in %s", name, aside);
    st = leat_io_mkdirs(engine->env->io, parent, err);
    if (st == LEAT_OK) st = engine->env->io->ops->rename(engine->env->io, dir, aside, err);
    if (st == LEAT_OK) st = leat_delta_open(engine->env, engine->batch_conn, dir, engine->scratch_dir, options, out, err);
    free(aside);
    free(parent);
    return st;
}

static enum leat_status open_side(struct leat_engine *engine, struct leat_gtable *table, struct leat_side *side,
                                  struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s%s", engine->lake_dir, table->def->name, side->suffix);
    char *name = leat_asprintf("%s%s", table->def->name, side->suffix), *app_id = leat_table_app_id(engine, table);
    struct leat_delta_options options = {.name = name, .schema = &side->schema, .guarded = side == &table->quarantine};
    leat_changes_init(&side->pending, &side->schema);
    enum leat_status st = open_in_place(engine, name, dir, &options, &side->delta, &side->beside, err);
    if (st == LEAT_OK) {
        int64_t version = leat_delta_txn_version(leat_delta_current(side->delta), app_id);
        side->committed_step = version < 0 ? 0 : (uint64_t)version;
        side->overwrite = side == &table->dead && version < 0 && leat_delta_current(side->delta)->file_count > 0;
    }
    free(dir);
    free(name);
    free(app_id);
    return st;
}

enum leat_status leat_table_open_audit(struct leat_engine *engine, struct leat_gtable *table, bool create, struct leat_error *err) {
    if (table->audit.delta) return LEAT_OK;
    char *log = leat_asprintf("%s/%s__restatements/_delta_log", engine->lake_dir, table->def->name);
    bool there = create || leat_io_exists(engine->env->io, log);
    free(log);
    if (!there) return LEAT_OK;
    table->audit.suffix = "__restatements";
    leat_schema_add(&table->audit.schema, "restated_at", T_TIMESTAMP, false);
    leat_schema_add(&table->audit.schema, "step", T_BIGINT, false);
    leat_schema_add(&table->audit.schema, "reason", T_VARCHAR, false);
    leat_schema_add(&table->audit.schema, "old", T_VARCHAR, false);
    leat_schema_add(&table->audit.schema, "new", T_VARCHAR, false);
    leat_schema_add(&table->audit.schema, "record_count", T_BIGINT, false);
    leat_schema_add(&table->audit.schema, "records", T_VARCHAR, false);
    return open_side(engine, table, &table->audit, err);
}

static enum leat_status open_late(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    table->late.suffix = "__late";
    leat_schema_add(&table->late.schema, "_source", T_VARCHAR, false);
    leat_schema_add(&table->late.schema, "_partition", T_INTEGER, false);
    leat_schema_add(&table->late.schema, "_offset", T_BIGINT, false);
    leat_schema_add(&table->late.schema, "event_time", T_TIMESTAMP, false);
    leat_schema_add(&table->late.schema, "arrival", T_TIMESTAMP, false);
    leat_schema_add(&table->late.schema, "cut", T_TIMESTAMP, false);
    leat_schema_add(&table->late.schema, "step", T_BIGINT, false);
    return open_side(engine, table, &table->late, err);
}

static bool was_continuous(const struct leat_engine *engine, const struct leat_gtable *table) {
    char *log = leat_asprintf("%s/%s__late/_delta_log", engine->lake_dir, table->def->name);
    bool there = leat_io_exists(engine->env->io, log);
    free(log);
    return there;
}

static void side_close(struct leat_side *side) {
    if (side->delta) leat_delta_close(side->delta);
    if (side->pending.schema) leat_changes_deinit(&side->pending);
    leat_schema_deinit(&side->schema);
    *side = (struct leat_side){0};
}

void leat_table_close_delta(struct leat_gtable *table) {
    if (table->unfrozen.schema) leat_changes_deinit(&table->unfrozen);
    leat_stage_free(table->bound);
    table->bound = NULL;
    if (table->delta) leat_delta_close(table->delta);
    table->delta = NULL;
    side_close(&table->late);
    side_close(&table->dead);
    side_close(&table->quarantine);
    side_close(&table->audit);
    free(table->violating);
    table->violating = NULL;
}

static struct leat_delta_options table_options(const struct leat_gtable *table, struct leat_buffer *keys) {
    for (size_t i = 0; i < table->def->primary_key_count; i++)
        leat_putf(keys, "%s%s", i ? "," : "", table->def->primary_key[i]);
    return (struct leat_delta_options){.name = table->def->name, .schema = &table->plan->schema, .primary_key = keys->data, .guarded = true};
}

enum leat_status leat_table_move_in(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s", engine->lake_dir, table->def->name), *side_dir = leat_asprintf("%s__quarantine", dir);
    char *side_name = leat_asprintf("%s__quarantine", table->def->name);
    struct leat_buffer keys = {0};
    struct leat_delta_options options = table_options(table, &keys), side = {.name = side_name, .schema = &table->quarantine.schema, .guarded = true};
    enum leat_status st = LEAT_OK;
    if (table->beside) {
        leat_delta_close(table->delta);
        table->delta = NULL;
        st = open_in_place(engine, table->def->name, dir, &options, &table->delta, &table->beside, err);
        table->beside = false;
    }
    if (st == LEAT_OK && table->quarantine.beside) {
        leat_delta_close(table->quarantine.delta);
        table->quarantine.delta = NULL;
        st = open_in_place(engine, side_name, side_dir, &side, &table->quarantine.delta, &table->quarantine.beside, err);
        table->quarantine.beside = false;
    }
    leat_buffer_deinit(&keys);
    free(dir);
    free(side_dir);
    free(side_name);
    return st;
}

enum leat_status leat_table_open_delta(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    char *dir = leat_asprintf("%s/%s", engine->lake_dir, table->def->name), *app_id = leat_table_app_id(engine, table);
    struct leat_buffer keys = {0};
    struct leat_delta_options options = table_options(table, &keys);
    enum leat_status st = leat_delta_open(engine->env, engine->batch_conn, dir, engine->scratch_dir, &options, &table->delta, err);
    if (st == LEAT_CONFLICT && !engine->read_only) {
        st = engine->undecided ? LEAT_OK : may_set_aside(engine, table, dir, err);
        if (st == LEAT_OK) st = open_in_place(engine, table->def->name, dir, &options, &table->delta, &table->beside, err);
    }
    if (st != LEAT_OK) goto out;
    int64_t version = leat_delta_txn_version(leat_delta_current(table->delta), app_id);
    table->committed_step = version < 0 ? 0 : (uint64_t)version;
    table->overwrite = version < 0; /* nothing of this incarnation is there: the first commit replaces what is */
    if ((st = leat_conn_input(engine->batch_conn, table->def->name, &table->plan->schema, true, err)) != LEAT_OK) goto out;
    table->dead.suffix = "__dead";
    leat_schema_add(&table->dead.schema, "_source", T_VARCHAR, false);
    leat_schema_add(&table->dead.schema, "_partition", T_INTEGER, false);
    leat_schema_add(&table->dead.schema, "_offset", T_BIGINT, false);
    leat_schema_add(&table->dead.schema, "reason", T_VARCHAR, false);
    leat_schema_add(&table->dead.schema, "step", T_BIGINT, false);
    if ((st = open_side(engine, table, &table->dead, err)) != LEAT_OK) goto out;
    if (leat_table_quarantines(table->def)) {
        table->quarantine.suffix = "__quarantine";
        leat_schema_copy(&table->quarantine.schema, &table->plan->schema);
        leat_schema_add(&table->quarantine.schema, "_constraint", T_VARCHAR, false);
        if ((st = open_side(engine, table, &table->quarantine, err)) != LEAT_OK) goto out;
    }
    if (table->batch) {
        table->violating = leat_alloc((table->def->constraint_count + 1) * sizeof *table->violating);
        leat_balance_load_frontier(engine, table);
        st = was_continuous(engine, table) || table->def->frozen.column ? open_late(engine, table, err) : LEAT_OK;
        goto out;
    }
    if ((st = open_late(engine, table, err)) != LEAT_OK) goto out;
    st = leat_table_open_audit(engine, table, false, err);
out:
    free(dir);
    free(app_id);
    leat_buffer_deinit(&keys);
    return st;
}

/* weight +n becomes n rows, so that each is written once. */
static void expand_copies(struct leat_changes *c) {
    bool any = false;
    for (size_t i = 0; c->weights && i < c->row_count; i++) any |= c->weights[i] > 1;
    if (!any) return;
    struct leat_changes out;
    leat_changes_init(&out, c->schema);
    for (size_t i = 0; i < c->row_count; i++) {
        uint32_t row = (uint32_t)i;
        int32_t copies = c->weights[i] > 1 ? c->weights[i] : 1, weight = c->weights[i];
        if (weight > 1) c->weights[i] = 1;
        for (int32_t k = 0; k < copies; k++) leat_changes_append(&out, c, &row, 1, 1);
        c->weights[i] = weight;
    }
    leat_changes_swap(c, &out);
    leat_changes_deinit(&out);
}

json_t *leat_table_frontier(const struct leat_gtable *table) {
    const char *text = leat_delta_current(table->delta)->frontier_json;
    return text ? json_loads(text, 0, NULL) : NULL;
}

void leat_frontier_json(struct leat_engine *engine, const struct leat_group *group, const json_t *run, struct leat_buffer *out) {
    json_t *frontier = json_object(), *sources = json_object(), *references = json_object();
    json_object_set_new(frontier, "step", json_integer((json_int_t)engine->step));
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const char *name = engine->project->sources[s].name;
        if (engine->references[s])
            json_object_set_new(references, name,
                                json_integer((json_int_t)(group ? group->reference_versions[s] : leat_reference_version(engine->references[s]))));
        else
            json_object_set_new(sources, name, leat_cursors_json(group ? &group->cursors[s] : &engine->sources[s].bronzed));
    }
    json_object_set_new(frontier, "offsets", sources);
    json_object_set_new(frontier, "references", references);
    json_t *versions = json_object();
    for (size_t t = 0; t < engine->project->table_count; t++)
        json_object_set_new(versions, engine->tables[t].def->name,
                            json_integer(leat_delta_current(engine->tables[t].delta)->version));
    json_object_set_new(frontier, "tables", versions);
    json_object_set_new(frontier, "clock", json_integer(engine->clock_us));
    if (run) json_object_update(frontier, (json_t *)run);
    char *text = json_dumps(frontier, JSON_COMPACT);
    leat_put(out, text);
    free(text);
    json_decref(frontier);
}

static enum leat_status write_rows(struct leat_delta *delta, const struct leat_changes *rows, bool overwrite,
                                   const struct leat_delta_commit_info *info, struct leat_error *err) {
    return overwrite ? leat_delta_overwrite_rows(delta, rows, 1, info, NULL, err) : leat_delta_append_rows(delta, rows, 1, info, NULL, err);
}

/* Dead letters of records that are gone from bronze (retention): nothing could find them again. */
static enum leat_status read_outlived(struct leat_engine *engine, struct leat_gtable *table, struct leat_changes *out, struct leat_error *err) {
    struct leat_buffer where = {0}, sql = {0};
    struct leat_stage *stage = NULL;
    for (size_t s = 0; s < engine->project->source_count; s++) {
        if (engine->references[s] || !engine->sources[s].begins.count) continue;
        leat_put(&where, where.length ? " OR (_source = " : "(_source = ");
        leat_put_sql_string(&where, engine->project->sources[s].name);
        leat_put(&where, " AND ");
        leat_bronze_put_below(&engine->sources[s].begins, &where);
        leat_put(&where, ")");
    }
    enum leat_status st = LEAT_OK;
    if (where.length && leat_delta_current(table->dead.delta)->file_count) {
        st = leat_side_select(engine, table, &table->dead, -1, where.data, &sql, err);
        if (st == LEAT_OK) st = leat_stage_prepare(engine->batch_conn, sql.data, &stage, err);
        if (st == LEAT_OK) st = leat_stage_run(stage, out, NULL, err);
    }
    leat_stage_free(stage);
    leat_buffer_deinit(&where);
    leat_buffer_deinit(&sql);
    return st;
}

static enum leat_status replace_dead(struct leat_engine *engine, struct leat_gtable *table, const struct leat_delta_commit_info *info, struct leat_error *err) {
    struct leat_changes rows;
    leat_changes_init(&rows, &table->dead.schema);
    enum leat_status st = read_outlived(engine, table, &rows, err);
    if (st == LEAT_OK) {
        leat_changes_append(&rows, &table->dead.pending, NULL, table->dead.pending.row_count, 1);
        st = write_rows(table->dead.delta, &rows, true, info, err);
    }
    leat_changes_deinit(&rows);
    return st;
}

static enum leat_status commit_side(struct leat_engine *engine, struct leat_gtable *table, struct leat_side *side, const struct leat_delta_commit_info *info,
                                    struct leat_error *err) {
    if (!side->pending.row_count && !side->overwrite) return LEAT_OK;
    bool replace = side == &table->dead && side->overwrite;
    enum leat_status st = replace ? replace_dead(engine, table, info, err) : write_rows(side->delta, &side->pending, side->overwrite, info, err);
    if (st == LEAT_OK) {
        leat_changes_reset(&side->pending);
        side->overwrite = false;
        side->committed_step = engine->step;
    }
    return st;
}

enum leat_status leat_table_commit_frontier(struct leat_engine *engine, struct leat_gtable *table, const char *frontier, uint64_t step,
                                            struct leat_error *err) {
    char *app_id = leat_asprintf("%s/%s/turned", engine->incarnation, table->def->name);
    struct leat_delta_txn txn = {app_id, (int64_t)step};
    struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = frontier, .txns = &txn, .txn_count = 1};
    enum leat_status st = write_rows(table->delta, &table->pending, false, &info, err);
    free(app_id);
    return st;
}

static bool has_retraction(const struct leat_changes *c) {
    for (size_t i = 0; c->weights && i < c->row_count; i++)
        if (c->weights[i] < 0) return true;
    return false;
}

/* Changes of any sign onto a table: the last row of a key wins nothing, whole rows go and come. told: the commit says something without them, too. */
static enum leat_status commit_changes(struct leat_delta *delta, struct leat_changes *changes, bool *overwrite, bool told,
                                       struct leat_delta_commit_info *info, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    if (has_retraction(changes)) leat_changes_consolidate(changes);
    expand_copies(changes);
    info->operation = "WRITE";
    if (*overwrite) {
        if ((st = write_rows(delta, changes, true, info, err)) == LEAT_OK) *overwrite = false;
    } else if (changes->row_count && has_retraction(changes)) {
        info->operation = "MERGE";
        st = leat_delta_apply(delta, changes, NULL, 0, info, NULL, err);
    } else if (changes->row_count || told) {
        st = write_rows(delta, changes, false, info, err);
    }
    if (st == LEAT_OK) leat_changes_reset(changes);
    return st;
}

static enum leat_status commit_quarantine(struct leat_engine *engine, struct leat_gtable *table, struct leat_delta_commit_info *info,
                                          struct leat_error *err) {
    struct leat_side *side = &table->quarantine;
    if (!side->delta || (!side->pending.row_count && !side->overwrite)) return LEAT_OK;
    enum leat_status st = commit_changes(side->delta, &side->pending, &side->overwrite, false, info, err);
    if (st == LEAT_OK) side->committed_step = engine->step;
    return st;
}

static bool hides(const struct leat_gtable *table) {
    return table->overwrite && table->group && (leat_table_held(table) || leat_effects_gathers(table));
}

static bool waits(const struct leat_gtable *table) {
    const struct leat_gtable *input;
    if (!table->group) return false;
    if (hides(table)) return true;
    for (size_t i = 0; i < table->plan->input_count; i++)
        if ((input = leat_table_input(table->group->engine, table, i)) && waits(input)) return true;
    return false;
}

/* This is asked at every step: nearly always no table has anything to hide. */
bool leat_table_waits(const struct leat_gtable *table) {
    const struct leat_engine *engine = table->group ? table->group->engine : NULL;
    bool any = false;
    for (size_t t = 0; engine && t < engine->project->table_count; t++) any |= hides(&engine->tables[t]);
    return any && waits(table);
}

bool leat_table_lags(const struct leat_gtable *table) {
    return table->overwrite || leat_table_held(table) || leat_table_waits(table);
}

/* A work folder that is new to the lake is to know of the boundary, when changes of frozen rows were passed over, or when it has moved far, though
 * there is nothing else to commit. */
static bool tells_frozen(const struct leat_gtable *table) {
    const int64_t FAR_US = INT64_C(3600000000);
    if (table->closed_us <= table->told_closed_us) return false;
    return table->passed_over || table->told_closed_us == INT64_MIN || table->closed_us - FAR_US >= table->told_closed_us;
}

uint64_t leat_table_pending(const struct leat_gtable *table) {
    uint64_t rows = 0, sides = 0;
    if (table->batch) return 0;
    if (!table->group->started) return 0;
    sides = table->late.pending.row_count + table->late.overwrite + table->dead.pending.row_count + table->dead.overwrite +
            table->audit.pending.row_count;
    rows = table->pending.row_count + table->overwrite + table->quarantine.pending.row_count + table->quarantine.overwrite + tells_frozen(table);
    return leat_table_waits(table) ? sides : rows + sides;
}

/* Content made anew: what differs from the lake's is committed, all of it only where most does. */
static enum leat_status replace_content(struct leat_engine *engine, struct leat_gtable *table, struct leat_delta_commit_info *info,
                                        struct leat_error *err) {
    struct leat_changes diff;
    uint64_t rows = leat_delta_rows(table->delta);
    enum leat_status st = LEAT_OK;
    leat_changes_init(&diff, &table->plan->schema);
    if (has_retraction(&table->pending)) leat_changes_consolidate(&table->pending);
    if (rows) st = leat_table_difference(engine, table, -1, &diff, err);
    if (st == LEAT_OK) st = leat_effects_replaced(table, rows ? &diff : &table->pending, err);
    if (st != LEAT_OK) goto out;
    if (rows && diff.row_count == 0) {
        st = write_rows(table->delta, &diff, false, info, err);
    } else if (rows && (diff.row_count < rows || table->frozen_us > INT64_MIN)) {
        info->operation = "MERGE";
        expand_copies(&diff);
        st = leat_delta_apply(table->delta, &diff, NULL, 0, info, NULL, err);
    } else {
        expand_copies(&table->pending);
        st = write_rows(table->delta, &table->pending, true, info, err);
    }
    if (st != LEAT_OK) goto out;
    table->overwrite = false;
    leat_changes_reset(&table->pending);
out:
    leat_changes_deinit(&diff);
    return st;
}

static enum leat_status commit_table(struct leat_engine *engine, struct leat_gtable *table, struct leat_error *err) {
    enum leat_status st;
    struct leat_buffer frontier = {0};
    json_t *facts = json_pack("{s:o}", "query", leat_table_query_id(engine, table));
    if (leat_table_time(table)) json_object_set_new(facts, "cut", json_integer(leat_group_cut(table->group, table->root)));
    json_t *frozen = leat_frozen_json(table);
    if (frozen) json_object_set_new(facts, "frozen", frozen);
    leat_reflects_put_ids(engine, table, facts);
    leat_frontier_json(engine, table->group, facts, &frontier);
    json_decref(facts);
    char *app_id = leat_table_app_id(engine, table);
    struct leat_delta_txn txn = {app_id, (int64_t)engine->step};
    struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = frontier.data, .txns = &txn, .txn_count = 1};
    if ((st = commit_side(engine, table, &table->late, &info, err)) != LEAT_OK) goto out;
    if ((st = commit_side(engine, table, &table->dead, &info, err)) != LEAT_OK) goto out;
    if (table->audit.delta && (st = commit_side(engine, table, &table->audit, &info, err)) != LEAT_OK) goto out;
    if (leat_table_waits(table)) goto out;
    if ((st = commit_quarantine(engine, table, &info, err)) != LEAT_OK) goto out;
    const int64_t before = leat_delta_current(table->delta)->version;
    if (table->overwrite)
        st = replace_content(engine, table, &info, err);
    else
        st = commit_changes(table->delta, &table->pending, &table->overwrite, tells_frozen(table), &info, err);
    if (st != LEAT_OK) goto out;
    table->committed_step = engine->step;
    if (leat_delta_current(table->delta)->version != before) {
        table->told_closed_us = table->closed_us;
        table->passed_over = false;
    }
    if (leat_setting_int(engine->project, "compact_files")) st = leat_delta_compact(table->delta, 128u << 20, NULL, err);
out:
    free(app_id);
    leat_buffer_deinit(&frontier);
    return st == LEAT_OK ? st : leat_prepend(err, "table \"%s\"", table->def->name);
}

/* Delta has no commit over several tables: this names the versions that belong together, written last (promise 4). */
static enum leat_status write_manifest(struct leat_engine *engine, const char *frontier, struct leat_error *err) {
    json_t *manifest = json_object(), *versions = json_object();
    json_object_set_new(manifest, "frontier", json_loads(frontier, 0, NULL));
    for (size_t t = 0; t < engine->project->table_count; t++)
        json_object_set_new(versions, engine->tables[t].def->name,
                            json_integer(leat_delta_current(engine->tables[t].delta)->version));
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (engine->sources[s].bronze) {
            char *name = leat_asprintf("bronze/%s", engine->project->sources[s].name);
            json_object_set_new(versions, name, json_integer(leat_delta_current(engine->sources[s].bronze)->version));
            free(name);
        }
    json_object_set_new(manifest, "versions", versions);
    char *text = json_dumps(manifest, JSON_INDENT(1) | JSON_SORT_KEYS), *path = leat_asprintf("%s/manifest.json", engine->lake_dir);
    enum leat_status st = leat_io_write_durable(engine->env->io, path, text, strlen(text), true, err);
    free(text);
    free(path);
    json_decref(manifest);
    return st;
}

enum leat_status leat_tables_take_back(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    int64_t theirs;
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        if (table->overwrite && !table->batch) continue; /* its next commit replaces all */
        st = leat_delta_take_back(table->delta, &theirs, err);
        if (st == LEAT_OK && table->quarantine.delta && !table->quarantine.overwrite) st = leat_delta_take_back(table->quarantine.delta, &theirs, err);
    }
    return st;
}

enum leat_status leat_tables_commit(struct leat_engine *engine, struct leat_error *err) {
    struct leat_buffer frontier = {0};
    enum leat_status st = LEAT_OK;
    bool any = false;
    int64_t cpu = leat_usage_thread_cpu_us();
    if ((st = leat_tables_take_back(engine, err)) != LEAT_OK) return st;
    leat_frontier_json(engine, NULL, NULL, &frontier);
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch || !leat_table_pending(table)) continue;
        for (size_t s = 0; !any && st == LEAT_OK && s < engine->project->source_count; s++)
            if (!engine->references[s]) st = leat_src_keep(&engine->sources[s], err);
        any = true;
        int64_t begun = leat_usage_thread_cpu_us();
        if (st == LEAT_OK) st = commit_table(engine, table, err);
        table->commit_cpu_us += leat_usage_thread_cpu_us() - begun;
    }
    if (st == LEAT_OK && (any || engine->manifest_is_due)) st = write_manifest(engine, frontier.data, err);
    if (st == LEAT_OK) engine->manifest_is_due = false;
    if (st == LEAT_OK) st = leat_effects_committed(engine, err);
    leat_phase_end(engine, LEAT_PHASE_COMMIT, cpu);
    leat_buffer_deinit(&frontier);
    return st;
}
