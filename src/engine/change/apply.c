/* Another project takes the place of the one that runs (promise 6, rule 20): ALTER, `leat apply`, a start with changed files.
 *
 *   1. Everything is brought to one point under the former project: all groups read what is there and take the same watermarks, tables
 *      and bronze are committed, a checkpoint is taken; the journal holds its head alone.
 *   2. The new project is opened. Tables that ask the same as before keep state and content, whatever their freshness is now; others are
 *      built from bronze beside, up to the same frontier, what is late staying late. Nothing of it can be seen.
 *   3. One journal record decides: the project's text, the frontier, the lake's versions it was compared with. A failure before it
 *      leaves the former project running; a restart that finds it does 2 again and goes on from there.
 *   4. The next commit of a table made anew writes what differs. Kept tables that read it get the difference as changes.
 *
 * The journal's head has the project's text too, so that a start with changed files after a crash first finishes under the former
 * project, then applies the files. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "engine/change/apply.h"
#include "engine/care/care.h"
#include "engine/change/change.h"
#include "engine/live/live_internal.h"
#include "engine/proof/proof.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"

json_t *leat_project_json(const struct leat_project *project) {
    json_t *files = json_array();
    for (size_t i = 0; i < project->file_count; i++) {
        json_t *text = json_stringn(project->files[i]->text, project->files[i]->length);
        if (!text) text = json_null(); /* not UTF-8: in a comment at best; then it is not known what was applied */
        json_array_append_new(files, json_pack("[s,o]", project->files[i]->name, text));
    }
    return files;
}

static struct leat_project *project_of(const struct leat_engine *engine, const json_t *files, struct leat_diagnostics *diags) {
    size_t n = json_array_size(files), i;
    struct leat_text_file *texts = leat_alloc((n + 1) * sizeof *texts);
    struct leat_project *project = NULL;
    json_t *file;
    bool known = n > 0;
    json_array_foreach((json_t *)files, i, file) {
        const json_t *text = json_array_get(file, 1);
        known &= json_is_string(text);
        texts[i] = (struct leat_text_file){(char *)json_string_value(json_array_get(file, 0)), (char *)json_string_value(text), json_string_length(text)};
    }
    if (known) project = leat_project_of(engine->project_dir, texts, n, diags);
    free(texts);
    return project;
}

json_t *leat_engine_apply_record(const struct leat_engine *engine) {
    json_t *found = NULL, *record;
    size_t i;
    json_array_foreach(engine->records, i, record)
        if (leat_record_is(record, "apply")) found = record;
    return found;
}

struct leat_project *leat_engine_applied(struct leat_engine *engine, struct leat_diagnostics *diags) {
    const json_t *apply = leat_engine_apply_record(engine), *last = apply ? apply : json_array_get(engine->records, 0);
    return project_of(engine, json_object_get(last, "project"), diags);
}

static char *published_path(const struct leat_engine *engine) {
    return leat_asprintf("%s/project.json", engine->work_dir);
}

struct leat_project *leat_engine_published_project(struct leat_engine *engine, struct leat_diagnostics *diags) {
    struct leat_buffer text = {0};
    struct leat_error ignored;
    char *path = published_path(engine);
    enum leat_status st = leat_io_read_all(engine->env->io, path, LEAT_JOURNAL_RECORD_BYTES_MAX, &text, &ignored);
    json_t *files = st == LEAT_OK && text.data ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    struct leat_project *project = files ? project_of(engine, files, diags) : NULL;
    json_decref(files);
    leat_buffer_deinit(&text);
    free(path);
    return project;
}

enum leat_status leat_engine_publish_project(struct leat_engine *engine, struct leat_error *err) {
    json_t *files = leat_project_json(engine->project);
    char *path = published_path(engine), *text = json_dumps(files, JSON_COMPACT);
    struct leat_buffer there = {0};
    struct leat_error ignored;
    enum leat_status st = leat_io_read_all(engine->env->io, path, LEAT_JOURNAL_RECORD_BYTES_MAX, &there, &ignored);
    bool same = st == LEAT_OK && there.length == strlen(text) && memcmp(there.data, text, there.length) == 0;
    st = same ? LEAT_OK : leat_io_write_durable(engine->env->io, path, text, strlen(text), true, err);
    leat_buffer_deinit(&there);
    json_decref(files);
    free(text);
    free(path);
    return st;
}

/* ---- one point ------------------------------------------------------------------------------------------------------------ */

/* Groups that have read the same may have closed different windows: now they close the same. */
static enum leat_status align(struct leat_engine *engine, struct leat_error *err) {
    size_t n = engine->project->source_count;
    int64_t *watermarks = leat_alloc((n + 1) * sizeof *watermarks);
    enum leat_status st = LEAT_OK;
    for (size_t s = 0; s < n; s++) {
        watermarks[s] = INT64_MIN;
        for (int k = 0; k < engine->group_count; k++) {
            const struct leat_group *g = engine->groups[k];
            int64_t theirs = g->reads[s] && g->started && !g->suspended ? leat_group_watermark(g, s) : INT64_MIN;
            if (theirs > watermarks[s]) watermarks[s] = theirs;
        }
    }
    for (int k = 0; k < engine->group_count && st == LEAT_OK; k++)
        if (engine->groups[k]->started && !engine->groups[k]->suspended) st = leat_group_align(engine->groups[k], watermarks, err);
    free(watermarks);
    return st == LEAT_OK ? leat_engine_drain(engine, err) : st;
}

static enum leat_status settle(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = leat_engine_drain(engine, err);
    if (st == LEAT_OK) st = align(engine, err);
    return st == LEAT_OK ? leat_engine_flush(engine, true, err) : st;
}

/* ---- the record ----------------------------------------------------------------------------------------------------------- */

static void put_frontier(const struct leat_engine *engine, json_t *record) {
    json_t *to = json_object(), *references = json_object(), *tables = json_object(), *late = json_object();
    for (size_t s = 0; s < engine->project->source_count; s++) {
        const char *name = engine->project->sources[s].name;
        if (engine->references[s])
            json_object_set_new(references, name, json_integer((json_int_t)leat_reference_version(engine->references[s])));
        else
            json_object_set_new(to, name, leat_cursors_json(&engine->sources[s].ends));
    }
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        if (!table->beside) json_object_set_new(tables, table->def->name, json_integer(leat_delta_current(table->delta)->version));
        if (table->late.delta) json_object_set_new(late, table->def->name, json_integer(leat_delta_current(table->late.delta)->version));
    }
    json_object_set_new(record, "to", to);
    json_object_set_new(record, "ref", references);
    json_object_set_new(record, "tables", tables);
    json_object_set_new(record, "late", late);
}

static json_t *suspended_in(const json_t *state) {
    json_t *names = json_array(), *table;
    const char *name;
    json_object_foreach(json_object_get(state, "tables"), name, table)
        if (json_is_true(json_object_get(table, "suspended"))) json_array_append_new(names, json_string(name));
    return names;
}

/* All but the frontier. */
static json_t *record_of(struct leat_engine *engine, const json_t *state, const struct leat_change *change) {
    char *software = leat_engine_software(engine);
    json_int_t from = json_integer_value(json_object_get(state, "n"));
    json_t *record = json_pack("{s:s,s:I,s:I,s:I,s:s,s:o,s:o}", "t", "apply", "n", from + 1, "from", from, "c", (json_int_t)leat_engine_now(engine),
                               "sw", software, "project", leat_project_json(engine->project), "suspended", suspended_in(state));
    json_t *suspended = json_object_get(record, "suspended"), *name;
    size_t i;
    if (change->suspend) json_array_append_new(suspended, json_string(change->suspend));
    json_array_foreach(suspended, i, name)
        if (change->resume && strcasecmp(json_string_value(name), change->resume) == 0) json_array_remove(suspended, i--);
    if (change->run) json_object_set_new(record, "run", json_string(change->run));
    free(software);
    return record;
}

/* ---- what changes ----------------------------------------------------------------------------------------------------------- */

/* A reference that is read once has to be there before the first row that is looked up in it. */
static enum leat_status read_references(struct leat_engine *engine, struct leat_error *err) {
    for (size_t s = 0; s < engine->project->source_count; s++) {
        bool changed;
        if (!engine->references[s] || engine->project->sources[s].refresh_us || leat_reference_version(engine->references[s])) continue;
        enum leat_status st = leat_reference_refresh(engine->references[s], leat_engine_now(engine), &changed, err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

static enum leat_status references_are_there(const struct leat_engine *engine, struct leat_error *err) {
    for (int k = 0; k < engine->group_count; k++)
        if (leat_group_waits_for_reference(engine->groups[k]))
            return leat_fail(err, LEAT_INVALID, "table \"%s\" looks rows up in a source that is read once, and that cannot be read yet; make it available, "
                             "then apply again", engine->groups[k]->tables[0]->def->name);
    return LEAT_OK;
}

static bool told(const struct leat_apply *a, const struct leat_group *g, const struct leat_gtable *table) {
    for (int t = 0; t < g->table_count && g->queues[table->index].schema; t++) {
        enum leat_fate fate = a->fates[g->tables[t]->index];
        if (fate != LEAT_FATE_ANEW && leat_table_reads_table(g->tables[t], table)) return true;
    }
    return false;
}

/* What kept readers of changed tables have to be told. */
static enum leat_status find_differences(struct leat_apply *a, struct leat_error *err) {
    struct leat_engine *engine = a->engine;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        bool any = false;
        if (a->fates[t] != LEAT_FATE_ANEW && a->fates[t] != LEAT_FATE_RESUMED) continue;
        for (int k = 0; k < engine->group_count; k++) any |= told(a, engine->groups[k], table);
        if (!any) continue;
        leat_changes_init(&a->diffs[t], &table->plan->schema);
        if (a->fates[t] == LEAT_FATE_RESUMED) {
            leat_changes_append(&a->diffs[t], &table->pending, NULL, table->pending.row_count, 1);
            continue;
        }
        enum leat_status st = leat_table_difference(engine, table, leat_apply_version(a, "tables", table), &a->diffs[t], err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

/* Side tables that are derived with the content are replaced with it; a restart finds what was committed before it. */
static void take_side(struct leat_side *side, uint64_t made_step) {
    if (side->committed_step > made_step)
        leat_changes_reset(&side->pending);
    else
        side->overwrite = leat_delta_current(side->delta)->file_count > 0;
}

static void take_anew(struct leat_gtable *table, uint64_t made_step) {
    table->made_step = made_step;
    table->overwrite = table->committed_step <= made_step;
    if (!table->overwrite) leat_changes_reset(&table->pending);
    take_side(&table->dead, made_step);
    if (table->quarantine.delta) take_side(&table->quarantine, made_step);
}

static enum leat_status take_resumed(struct leat_gtable *table, uint64_t step, struct leat_error *err) {
    table->overwrite = false;
    enum leat_status st = leat_effects_step(table, &table->pending, step, false, err);
    if (table->committed_step >= step) leat_changes_reset(&table->pending);
    if (table->late.committed_step >= step) leat_changes_reset(&table->late.pending);
    if (table->dead.committed_step >= step) leat_changes_reset(&table->dead.pending);
    if (table->quarantine.delta && table->quarantine.committed_step >= step) leat_changes_reset(&table->quarantine.pending);
    return st;
}

/* Versions of a table that has other columns now are those of another: what read the former says nothing any more. */
static bool reads_replaced(const struct leat_apply *a, const struct leat_gtable *reader) {
    for (size_t i = 0; i < reader->plan->input_count; i++) {
        const struct leat_gtable *input = leat_table_input(a->engine, reader, i);
        if (input && leat_apply_version(a, "tables", input) < 0) return true;
    }
    return false;
}

/* With the views that it reads. State from before it said that: as the content's frontier says. */
static bool same_query(const struct leat_apply *a, const struct leat_gtable *table) {
    const json_t *was = json_object_get(leat_apply_former(a, table), "query");
    return was ? leat_table_query_is(a->engine, table, was) : leat_reflects_query(a->engine, table);
}

/* A table that was continuous and is run from now on: its content stays as it is until its first run, and says what it reflects. */
static enum leat_status take_turned(struct leat_apply *a, struct leat_gtable *table, struct leat_error *err) {
    const json_t *former = leat_apply_former(a, table), *group = leat_state_group(a->state, table->def->name);
    json_t *versions = json_object_get(group, "versions");
    table->turned_us = json_integer_value(json_object_get(a->record, "c"));
    bool other_columns = leat_apply_version(a, "tables", table) < 0; /* its new place is empty, also where a crash has left it */
    if (other_columns || reads_replaced(a, table) || !same_query(a, table) || json_object_get(former, "waits") || json_object_get(former, "held") ||
        !json_is_true(json_object_get(group, "started"))) {
        table->asked = true;
        return LEAT_OK;
    }
    json_t *frontier = json_pack("{s:O,s:O,s:O,s:O,s:O,s:O,s:b}", "step", json_object_get(a->record, "n"), "offsets", json_object_get(group, "cursors"),
                                 "references", json_object_get(group, "ref"), "tables", versions ? versions : json_object_get(a->record, "tables"), "clock",
                                 json_object_get(group, "clock"), "balance", json_object_get(former, "balance"), "turned", 1);
    json_t *frozen = leat_frozen_json(table);
    if (frozen) json_object_set_new(frontier, "frozen", frozen);
    leat_reflects_put_ids(a->engine, table, frontier);
    json_object_set_new(frontier, "query", leat_table_query_id(a->engine, table));
    char *text = json_dumps(frontier, JSON_COMPACT);
    enum leat_status st = leat_table_commit_frontier(a->engine, table, text, (uint64_t)json_integer_value(json_object_get(a->record, "n")), err);
    if (st == LEAT_OK) leat_balance_load_frontier(a->engine, table);
    free(text);
    json_decref(frontier);
    return st;
}

/* Of a table that was scheduled before. */
static bool has_signature(const struct leat_apply *a, const struct leat_gtable *table) {
    const char *was = json_string_value(json_object_get(leat_apply_former(a, table), "sig"));
    char *signature = leat_table_signature(a->engine, table);
    bool same = !was || strcmp(was, signature) == 0;
    free(signature);
    return same;
}

static enum leat_status take_batch(struct leat_apply *a, struct leat_gtable *table, struct leat_error *err) {
    const char *run = json_string_value(json_object_get(a->record, "run"));
    if (run && strcasecmp(run, table->def->name) == 0) table->asked = true;
    if (json_object_get(leat_apply_former(a, table), "g")) return take_turned(a, table, err);
    if (!has_signature(a, table) || !same_query(a, table)) table->asked = true;
    return LEAT_OK;
}

/* After the decision. */
static enum leat_status take(struct leat_apply *a, struct leat_error *err) {
    struct leat_engine *engine = a->engine;
    uint64_t step = (uint64_t)json_integer_value(json_object_get(a->record, "n"));
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        enum leat_status st = LEAT_OK;
        switch (a->fates[t]) {
        case LEAT_FATE_BATCH: st = take_batch(a, table, err); break;
        case LEAT_FATE_KEPT: table->overwrite = false; break;
        case LEAT_FATE_RESUMED: st = take_resumed(table, step, err); break;
        case LEAT_FATE_ANEW: take_anew(table, step - 1); break;
        }
        if (st == LEAT_OK) st = leat_table_move_in(engine, table, err);
        if (st != LEAT_OK) return st;
        if (table->batch) table->asked |= reads_replaced(a, table);
        if (a->fates[t] != LEAT_FATE_KEPT) leat_live_forget_past(engine, table);
        for (int k = 0; k < engine->group_count && a->diffs[t].schema; k++)
            if (told(a, engine->groups[k], table))
                leat_changes_append(&engine->groups[k]->queues[t], &a->diffs[t], NULL, a->diffs[t].row_count, 1);
    }
    engine->step = step;
    enum leat_status told_them = leat_effects_sync(engine, err);
    if (told_them != LEAT_OK) return told_them;
    for (int k = 0; k < engine->group_count; k++) {
        enum leat_status st = leat_late_load_history(engine->groups[k], err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

/* ---- one project after another --------------------------------------------------------------------------------------------- */

static void apply_init(struct leat_apply *a, struct leat_engine *engine, const json_t *state, json_t *record) {
    size_t n = engine->project->table_count + 1;
    *a = (struct leat_apply){.engine = engine, .state = state, .record = record};
    a->fates = leat_alloc(n * sizeof *a->fates);
    a->diffs = leat_alloc(n * sizeof *a->diffs);
    leat_engine_load_runs(engine, state);
    leat_apply_fates(a);
}

static void apply_deinit(struct leat_apply *a) {
    for (size_t t = 0; a->engine->project && t < a->engine->project->table_count; t++)
        if (a->diffs[t].schema) leat_changes_deinit(&a->diffs[t]);
    free(a->fates);
    free(a->diffs);
}

static void say(const struct leat_apply *a) {
    static const char *const WORDS[] = {NULL, "goes on", "resumes", "is made anew from bronze"};
    for (size_t t = 0; t < a->engine->project->table_count; t++)
        if (WORDS[a->fates[t]]) leat_log(a->engine->env, LEAT_LOG_INFO, "table %s %s", a->engine->tables[t].def->name, WORDS[a->fates[t]]);
}

enum leat_status leat_engine_apply_again(struct leat_engine *engine, json_t *record, bool *usable, struct leat_error *err) {
    const json_t *head = json_array_get(engine->records, 0);
    json_t *saved = leat_engine_checkpoint_state(engine);
    char *software = leat_engine_software(engine);
    struct leat_apply a;
    enum leat_status st = LEAT_OK;
    *usable = strcmp(software, json_string_value(json_object_get(record, "sw"))) == 0 &&
              json_equal(json_object_get(head, "n"), json_object_get(record, "from")) &&
              json_equal(json_object_get(head, "n"), json_object_get(saved, "n")) &&
              json_equal(json_object_get(head, "reset_step"), json_object_get(saved, "reset_step"));
    free(software);
    json_decref(saved);
    if (!*usable) return LEAT_OK;
    apply_init(&a, engine, head, record);
    if ((st = leat_apply_move(&a, err)) == LEAT_OK) st = find_differences(&a, err);
    if (st == LEAT_OK) st = take(&a, err);
    apply_deinit(&a);
    engine->checkpoint_step = (uint64_t)json_integer_value(json_object_get(record, "from")); /* the apply itself is in the journal alone */
    if (st == LEAT_OK) st = leat_engine_replay(engine, err);
    return st == LEAT_OK ? st : leat_prepend(err, "applying the project again");
}

/* Up to the decision; *decided: it has been made. */
static enum leat_status move_over(struct leat_engine *engine, const json_t *state, const struct leat_change *change, bool *decided, struct leat_error *err) {
    struct leat_apply a;
    enum leat_status st = read_references(engine, err);
    if (st != LEAT_OK) return st;
    json_t *record = record_of(engine, state, change);
    put_frontier(engine, record);
    apply_init(&a, engine, state, record);
    if ((st = leat_apply_move(&a, err)) == LEAT_OK) st = references_are_there(engine, err);
    if (st == LEAT_OK) st = find_differences(&a, err);
    if (st == LEAT_OK) st = leat_engine_journal(engine, json_incref(record), err);
    if (st == LEAT_OK) {
        *decided = true;
        engine->undecided = false;
        say(&a);
        st = leat_effects_open(engine, err);
        if (st == LEAT_OK) st = take(&a, err);
        if (st == LEAT_OK) st = leat_live_load(engine, err);
        if (st == LEAT_OK) st = leat_effects_begin(engine, engine->options.deliver, err);
        if (st == LEAT_OK) st = leat_alerts_open(engine, err);
    }
    apply_deinit(&a);
    json_decref(record);
    return st;
}

static enum leat_status return_to(struct leat_engine *engine, json_t *state, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    leat_engine_close_project(engine);
    engine->undecided = false;
    json_array_clear(engine->records);
    json_array_append(engine->records, state);
    struct leat_project *former = leat_engine_applied(engine, &diags);
    enum leat_status st = former ? leat_engine_open_project(engine, former, &diags, err) : leat_fail(err, LEAT_CORRUPT, "the former project is not known");
    if (st == LEAT_OK) st = leat_engine_start(engine, err);
    json_array_clear(engine->records);
    leat_diagnostics_deinit(&diags);
    return st;
}

enum leat_status leat_engine_take_project(struct leat_engine *engine, struct leat_project *next, const struct leat_change *change,
                                          struct leat_diagnostics *diags, struct leat_error *err) {
    const struct leat_change nothing = {0};
    bool decided = false;
    enum leat_status st = settle(engine, err);
    if (st != LEAT_OK) {
        leat_project_free(next);
        return leat_prepend(err, "before the change");
    }
    json_t *state = leat_engine_state(engine);
    leat_engine_close_project(engine);
    engine->undecided = true;
    st = leat_engine_open_project(engine, next, diags, err);
    if (st == LEAT_OK) st = leat_engine_parallel(engine, true, err);
    if (st == LEAT_OK) st = move_over(engine, state, change ? change : &nothing, &decided, err);
    if (st != LEAT_OK && !decided && !err->fatal) {
        struct leat_error problem;
        if (return_to(engine, state, &problem) != LEAT_OK) {
            *err = problem;
            err->fatal = true;
            leat_prepend(err, "going back to the former project");
        }
    }
    json_decref(state);
    if (engine->batch_conn) st = leat_engine_narrow(engine, st, err);
    if (st == LEAT_OK) st = leat_engine_drain_and_checkpoint(engine, err);
    if (st == LEAT_OK) st = leat_engine_publish_project(engine, err);
    if (st != LEAT_OK && decided) err->fatal = true; /* the next start finishes it */
    engine->status_due_us = 0;
    return st;
}

/* ---- what would change ------------------------------------------------------------------------------------------------------ */

static bool same_columns(const struct leat_schema *a, const struct leat_schema *b) {
    bool same = a->field_count == b->field_count;
    for (size_t i = 0; same && i < a->field_count; i++)
        same = strcmp(a->fields[i].name, b->fields[i].name) == 0 && leat_type_equal(a->fields[i].type, b->fields[i].type);
    return same;
}

static const struct leat_gtable *table_named(const struct leat_engine *engine, const char *name) {
    struct leat_object_ref ref;
    return leat_project_find(engine->project, name, &ref) && ref.kind == LEAT_OBJECT_TABLE ? &engine->tables[ref.index] : NULL;
}

/* Rows and bytes of bronze that building the table reads; of a table it reads, what the lake holds. */
static void add_cost(const struct leat_apply *a, const struct leat_engine *running, const struct leat_gtable *table, json_int_t *rows, json_int_t *bytes) {
    for (size_t i = 0; i < table->plan->input_count; i++) {
        const char *name;
        const struct leat_delta *delta = NULL;
        size_t index = table->plan->inputs[i].index;
        struct leat_object_ref ref;
        if (table->plan->inputs[i].kind == LEAT_OBJECT_TABLE) {
            const struct leat_gtable *upstream = table_named(running, a->engine->project->tables[index].name);
            delta = upstream && a->fates[index] != LEAT_FATE_ANEW ? upstream->delta : NULL;
        } else {
            name = a->engine->project->sources[index].name;
            if (leat_project_find(running->project, name, &ref) && ref.kind == LEAT_OBJECT_SOURCE && running->sources[ref.index].bronze)
                delta = running->sources[ref.index].bronze;
        }
        for (size_t f = 0; delta && f < leat_delta_current(delta)->file_count; f++) {
            *rows += leat_delta_current(delta)->files[f].row_count;
            *bytes += (json_int_t)leat_delta_current(delta)->files[f].size_bytes;
        }
    }
}

static bool is_freshness(const struct leat_gtable *table, const json_t *was) {
    json_t *now = leat_freshness_json(&table->freshness);
    bool same = json_equal(now, was);
    json_decref(now);
    return same;
}

/* Nothing of the lake is open here: a state that does not say the query says only by the signature. */
static bool runs_again(const struct leat_apply *a, const struct leat_gtable *table) {
    return !has_signature(a, table) || reads_replaced(a, table) || (json_object_get(leat_apply_former(a, table), "query") && !same_query(a, table));
}

static const char *fate_word(const struct leat_apply *a, const struct leat_gtable *table) {
    const json_t *former = leat_apply_former(a, table), *was = json_object_get(former, "g");
    bool was_suspended = json_is_true(json_object_get(former, "suspended"));
    const char *run = json_string_value(json_object_get(a->record, "run"));
    if (!former) return "new";
    if (run && strcasecmp(run, table->def->name) == 0) return "run";
    if (table->suspended && !was_suspended) return "suspended";
    if (was_suspended && !table->suspended && a->fates[table->index] != LEAT_FATE_ANEW) return "resumed";
    switch (a->fates[table->index]) {
    case LEAT_FATE_BATCH: return was ? "scheduled" : runs_again(a, table) ? "again" : leat_apply_thaws(a, table) ? "thaws" : "batch";
    case LEAT_FATE_ANEW: return "anew";
    default: return is_freshness(table, was) ? "kept" : "moved";
    }
}

static json_t *plan_json(const struct leat_apply *a, const struct leat_engine *running) {
    json_t *tables = json_array();
    json_int_t all_rows = 0, all_bytes = 0;
    const struct leat_project *project = a->engine->project;
    for (size_t i = 0; i < project->order_count; i++) {
        if (project->order[i].kind != LEAT_OBJECT_TABLE) continue;
        const struct leat_gtable *table = &a->engine->tables[project->order[i].index];
        json_int_t rows = 0, bytes = 0;
        if (a->fates[table->index] == LEAT_FATE_ANEW) add_cost(a, running, table, &rows, &bytes);
        all_rows += rows;
        all_bytes += bytes;
        json_t *entry = json_pack("{s:s,s:s,s:{s:I,s:I}}", "table", table->def->name, "fate", fate_word(a, table), "reads", "rows", rows, "bytes", bytes);
        if (table->closed_us != INT64_MIN) json_object_set_new(entry, "frozen_before_us", json_integer(table->closed_us));
        if (leat_apply_thaws(a, table)) json_object_set_new(entry, "thaws", json_true());
        json_array_append_new(tables, entry);
    }
    for (size_t t = 0; t < running->project->table_count; t++)
        if (!table_named(a->engine, running->project->tables[t].name))
            json_array_append_new(tables, json_pack("{s:s,s:s}", "table", running->project->tables[t].name, "fate", "gone"));
    return json_pack("{s:o,s:I,s:I}", "tables", tables, "rows", all_rows, "bytes", all_bytes);
}

/* A table is told something; the project stays as it is, whatever the files say by now. */
static bool keeps_project(const struct leat_change *change) {
    return change->suspend || change->resume || change->run;
}

/* The project to be, with plans, in an engine that opens nothing. */
static enum leat_status open_candidate(struct leat_engine *engine, const struct leat_change *change, struct leat_diagnostics *diags,
                                       struct leat_engine **out, struct leat_error *err) {
    struct leat_engine_options options = {.project_dir = engine->project_dir, .lake_dir = engine->lake_dir, .work_dir = engine->work_dir,
                                          .read_only = true, .compile_only = true, .shared_plan = engine->options.shared_plan,
                                          .shared_batch = engine->batch_duck, .like = keeps_project(change) ? engine->project : NULL};
    return leat_engine_open(engine->env, &options, diags, out, err);
}

static enum leat_status check_names(const struct leat_engine *candidate, const struct leat_change *change, struct leat_error *err) {
    const char *const names[] = {change->suspend, change->resume, change->run};
    for (size_t i = 0; i < 3; i++) {
        const struct leat_gtable *table = names[i] ? table_named(candidate, names[i]) : NULL;
        if (names[i] && !table) return leat_fail(err, LEAT_NOT_FOUND, "there is no materialized table \"%s\"", names[i]);
        if (names[i] && names[i] == change->run && !table->batch)
            return leat_fail(err, LEAT_INVALID, "table \"%s\" is not scheduled: it is kept fresh all the time", names[i]);
    }
    return LEAT_OK;
}

static enum leat_status plan_change(struct leat_engine *engine, const struct leat_change *change, struct leat_diagnostics *diags, json_t **plan,
                                    struct leat_error *err) {
    struct leat_engine *candidate = NULL;
    struct leat_apply a = {0};
    json_t *state = leat_engine_state(engine), *record = NULL, *versions = json_object();
    enum leat_status st = open_candidate(engine, change, diags, &candidate, err);
    if (st == LEAT_OK) st = check_names(candidate, change, err);
    if (st != LEAT_OK) goto out;
    for (size_t t = 0; t < candidate->project->table_count; t++) {
        const struct leat_gtable *now = table_named(engine, candidate->project->tables[t].name);
        if (now && same_columns(&now->plan->schema, &candidate->tables[t].plan->schema)) json_object_set_new(versions, now->def->name, json_integer(0));
    }
    record = record_of(candidate, state, change);
    json_object_set(record, "tables", versions);
    apply_init(&a, candidate, state, record);
    if ((st = leat_apply_may_freeze(&a, err)) == LEAT_OK) *plan = plan_json(&a, engine);
    apply_deinit(&a);
out:
    leat_engine_close(candidate);
    json_decref(state);
    json_decref(record);
    json_decref(versions);
    return st;
}

/* Is it as it is to be? Then nothing need be brought to one point for it. */
static bool is_so(const struct leat_engine *engine, const struct leat_project *next, const struct leat_change *change) {
    const struct leat_gtable *suspend = change->suspend ? table_named(engine, change->suspend) : NULL;
    const struct leat_gtable *resume = change->resume ? table_named(engine, change->resume) : NULL;
    return leat_project_same_text(engine->project, next) && !change->run && (!suspend || suspend->suspended) && (!resume || !resume->suspended);
}

enum leat_status leat_engine_apply(struct leat_engine *engine, const struct leat_change *change, struct leat_diagnostics *diags, struct leat_buffer *out,
                                   struct leat_error *err) {
    int64_t began = engine->env->clock->monotonic_us(engine->env->clock);
    struct leat_project *files = NULL;
    json_t *plan = NULL;
    enum leat_status st = plan_change(engine, change, diags, &plan, err);
    if (st == LEAT_OK && !change->dry_run) {
        if (keeps_project(change))
            files = leat_project_same(engine->project, diags);
        else
            st = leat_project_load(engine->env, engine->project_dir, &files, diags, err);
        if (st == LEAT_OK && is_so(engine, files, change))
            leat_project_free(files);
        else if (st == LEAT_OK)
            st = leat_engine_take_project(engine, files, change, diags, err);
        int64_t took_us = engine->env->clock->monotonic_us(engine->env->clock) - began;
        json_object_set_new(plan, "ms", json_integer(took_us / 1000));
    }
    if (st == LEAT_OK && out) {
        char *text = json_dumps(plan, JSON_INDENT(1));
        leat_put(out, text);
        free(text);
    }
    json_decref(plan);
    return st;
}
