/* Recovery: the newest usable checkpoint, then the journal's later steps again, over the same ranges, cut, clock and
 * reference versions, under the project they were taken with. (Another project is applied afterwards: apply.c.) When the software
 * changed (rule 5), or the state is gone, every group starts empty and is fed from bronze and the log; the tables' next commit
 * replaces their content. */
#include <stdlib.h>
#include <string.h>

#include "engine/care/care.h"
#include "engine/internal.h"
#include "engine/change/change.h"
#include "engine/runs/runs.h"

bool leat_record_is(const json_t *record, const char *type) {
    const char *is = json_string_value(json_object_get(record, "t"));
    return is && strcmp(is, type) == 0;
}

enum leat_status leat_engine_write_head(struct leat_engine *engine, struct leat_error *err) {
    json_t *state = leat_engine_state(engine);
    char *text = json_dumps(state, JSON_COMPACT);
    struct leat_journal_record head = {text, strlen(text)};
    enum leat_status st = leat_journal_rotate(engine->journal, &head, 1, err);
    if (st == LEAT_OK) engine->journal_head_bytes = leat_journal_size_bytes(engine->journal);
    free(text);
    json_decref(state);
    return st;
}

void leat_group_set_empty(struct leat_group *g) {
    for (size_t s = 0; s < g->engine->project->source_count; s++) {
        leat_cursors_free(&g->cursors[s]);
        g->watermarks[s] = INT64_MIN;
        g->time_counts[s] = 0;
        g->reference_versions[s] = 0;
    }
    leat_cut_sets_clear(g);
    g->started = false;
}

/* Tables share operators where their late sets are equal. */
static enum leat_status rearrange(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++)
        if (!engine->tables[t].batch) st = leat_late_load(engine, &engine->tables[t], -1, NULL, err);
    if (st != LEAT_OK || !leat_late_classify(engine)) return st;
    leat_groups_free(engine);
    if ((st = leat_groups_arrange(engine, err)) != LEAT_OK) return st;
    free(engine->fingerprint);
    engine->fingerprint = leat_engine_fingerprint(engine);
    return LEAT_OK;
}

/* What is made anew over a table with FROZEN WHERE takes the frozen rows from the lake. */
static enum leat_status give_frozen(struct leat_engine *engine, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int k = 0; k < engine->group_count; k++)
        for (size_t t = 0; t < engine->project->table_count && st == LEAT_OK; t++)
            if (engine->groups[k]->queues[t].schema) st = leat_frozen_rows(engine, &engine->tables[t], -1, &engine->groups[k]->queues[t], err);
    return st;
}

/* Where the boundaries of FROZEN WHERE had come to. */
static void raise_frozen(struct leat_engine *engine) {
    size_t i;
    json_t *record;
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        json_array_foreach(engine->records, i, record) {
            json_t *before = leat_record_is(record, "step") ? json_object_get(json_object_get(record, "frozen"), table->def->name) : NULL;
            if (before && json_integer_value(before) > table->closed_us) leat_frozen_set(table, json_integer_value(before));
        }
        leat_frozen_load_lake(table);
    }
    leat_retain_settle(engine);
}

/* Every group begins again from the first record. What `old` (a head brought up to date; NULL: none) has read is history: its late
 * records are known. */
static enum leat_status reset(struct leat_engine *engine, const json_t *old, struct leat_error *err) {
    enum leat_status st = rearrange(engine, err);
    if (st != LEAT_OK) return st;
    for (int k = 0; k < engine->group_count; k++) {
        struct leat_group *g = engine->groups[k];
        leat_group_set_empty(g);
        leat_group_set_history(g, old);
        if ((st = leat_group_reset_nodes(g, err)) != LEAT_OK) return st;
        g->late_loaded = true;
        if ((st = leat_lows_load(g, err)) != LEAT_OK) return st;
        leat_late_settle(g);
    }
    for (size_t t = 0; t < engine->project->table_count; t++)
        if (!engine->tables[t].batch) memset(engine->tables[t].balance, 0, engine->project->source_count * sizeof *engine->tables[t].balance);
    if ((st = give_frozen(engine, err)) != LEAT_OK) return st;
    engine->reset_step = engine->step;
    for (size_t t = 0; t < engine->project->table_count; t++) engine->tables[t].made_step = engine->step;
    return leat_engine_write_head(engine, err);
}

/* What a table holds from before the reset is replaced by its next commit. */
static void mark_overwrites(struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (table->batch) continue;
        table->overwrite = table->committed_step <= table->made_step;
        struct leat_side *quarantine = &table->quarantine;
        if (quarantine->delta)
            quarantine->overwrite = quarantine->committed_step <= table->made_step && leat_delta_current(quarantine->delta)->file_count > 0;
        table->dead.overwrite = table->dead.committed_step <= table->made_step && leat_delta_current(table->dead.delta)->file_count > 0;
    }
}

static uint64_t last_step(const json_t *records) {
    uint64_t last = 0;
    size_t i;
    json_t *record;
    json_array_foreach((json_t *)records, i, record) {
        uint64_t n = (uint64_t)json_integer_value(json_object_get(record, "n"));
        if (!leat_record_is(record, "run") && n > last) last = n;
    }
    return last;
}

/* Whose step or restatement the record is. */
static struct leat_group *group_of(struct leat_engine *engine, const json_t *record) {
    const char *suspended = json_string_value(json_object_get(record, "suspended"));
    struct leat_group *found = NULL;
    for (int k = 0; k < engine->group_count && !found; k++) {
        struct leat_group *g = engine->groups[k];
        json_t *own = leat_freshness_json(&g->freshness);
        bool its = suspended ? g->suspended && strcmp(g->suspended->def->name, suspended) == 0 : !g->suspended && json_equal(own, json_object_get(record, "g"));
        if (its) found = g;
        json_decref(own);
    }
    return found;
}

static enum leat_status replay_records(struct leat_engine *engine, const json_t *records, bool steps, struct leat_error *err) {
    uint64_t from = engine->step;
    size_t i;
    json_t *record;
    json_array_foreach((json_t *)records, i, record) {
        if (leat_record_is(record, "run")) leat_engine_replay_run(engine, record);
        if (leat_record_is(record, "part")) leat_history_add(engine, record);
        bool restate = leat_record_is(record, "restate");
        if (!steps || !(restate || leat_record_is(record, "step"))) continue;
        if ((uint64_t)json_integer_value(json_object_get(record, "n")) <= from) continue;
        struct leat_group *group = group_of(engine, record);
        if (!group) return leat_fail(err, LEAT_CORRUPT, "journal: a step of a group that does not exist");
        engine->replayed = true;
        enum leat_status st = restate ? leat_group_restate_again(group, record, err) : leat_group_replay(group, record, err);
        if (st != LEAT_OK)
            return leat_prepend(err, "replaying step %lld", (long long)json_integer_value(json_object_get(record, "n")));
        int64_t clock = json_integer_value(json_object_get(record, "c"));
        if (clock > engine->clock_us) engine->clock_us = clock;
    }
    return LEAT_OK;
}

/* Brings the head's groups up to the journal's last steps: what they had read, and their watermarks. */
static void bring_up_to_date(json_t *head, const json_t *records) {
    json_t *record, *group;
    size_t i, k;
    json_array_foreach((json_t *)records, i, record) {
        if (!leat_record_is(record, "step")) continue;
        json_array_foreach(json_object_get(head, "groups"), k, group) {
            if (!json_equal(json_object_get(group, "freshness"), json_object_get(record, "g")) || json_object_get(group, "suspended")) continue;
            json_object_update(json_object_get(group, "cursors"), json_object_get(record, "to"));
            json_object_update(json_object_get(group, "wm"), json_object_get(record, "wm"));
        }
    }
}

static bool same_text(const json_t *object, const char *key, const char *text) {
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, text) == 0;
}

/* It had not begun when the state was saved, and what waited for it of other groups' tables is nowhere. */
static bool misses_changes(const struct leat_group *g) {
    for (size_t t = 0; t < g->engine->project->table_count; t++)
        if (!g->started && g->queues[t].schema) return true;
    return false;
}

static bool any_misses_changes(const struct leat_engine *engine) {
    for (int k = 0; k < engine->group_count; k++)
        if (misses_changes(engine->groups[k])) return true;
    return false;
}

/* Puts the newest state in place that the journal can be replayed on. *usable: false when there is none. */
static enum leat_status load_state(struct leat_engine *engine, const json_t *head, bool *usable, struct leat_error *err) {
    json_t *checkpoint = NULL;
    enum leat_status st;
    bool loaded = false;
    *usable = false;
    if (!same_text(head, "fp", engine->fingerprint)) return LEAT_OK;
    if ((st = leat_engine_load_checkpoint(engine, &checkpoint, err)) != LEAT_OK) return st;
    json_int_t reset_step = json_integer_value(json_object_get(head, "reset_step"));
    if (checkpoint && same_text(checkpoint, "fp", engine->fingerprint) &&
        json_integer_value(json_object_get(checkpoint, "reset_step")) == reset_step &&
        json_integer_value(json_object_get(checkpoint, "n")) >= json_integer_value(json_object_get(head, "n"))) {
        if (json_integer_value(json_object_get(checkpoint, "n")) > json_integer_value(json_object_get(head, "n")))
            leat_engine_load_runs(engine, checkpoint);
        leat_engine_load_streams(engine, checkpoint);
        *usable = loaded = !any_misses_changes(engine);
    } else if (json_integer_value(json_object_get(head, "n")) == reset_step) {
        leat_engine_load_runs(engine, head);
        for (int k = 0; k < engine->group_count && st == LEAT_OK; k++) {
            leat_group_set_empty(engine->groups[k]);
            if (checkpoint) st = leat_group_reset_nodes(engine->groups[k], err);
        }
        leat_engine_load_streams(engine, head);
        if (st == LEAT_OK) st = give_frozen(engine, err);
        *usable = true;
    }
    if (loaded)
        leat_waiting_settle(engine);
    else
        leat_waiting_forget(engine);
    json_decref(checkpoint);
    return st;
}

/* A crash between a run's Delta commit and its journal record: the run has happened (its number must not be given again,
 * or the next run's commit would be taken for it), but what it read is not known, so it is due again. */
static void note_unjournaled_runs(struct leat_engine *engine) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        struct leat_gtable *table = &engine->tables[t];
        if (!table->batch || table->committed_step <= table->runs) continue;
        table->runs = table->committed_step;
        table->inputs_seen = 0;
        engine->manifest_is_due = true;
    }
}

static void rewind_sources(struct leat_engine *engine) {
    for (size_t s = 0; s < engine->project->source_count; s++)
        if (!engine->references[s]) leat_src_rewind(&engine->sources[s]);
}

enum leat_status leat_engine_replay(struct leat_engine *engine, struct leat_error *err) {
    engine->replaying = true;
    engine->replay_from = engine->step;
    for (int k = 0; k < engine->group_count; k++) {
        enum leat_status st = leat_late_load_history(engine->groups[k], err);
        if (st != LEAT_OK) return st;
    }
    rewind_sources(engine);
    enum leat_status st = replay_records(engine, engine->records, true, err);
    engine->replaying = false;
    return st;
}

/* The operators' state cannot be used: all is made anew from the first record. */
static enum leat_status begin_anew(struct leat_engine *engine, json_t *head, struct leat_error *err) {
    leat_log(engine->env, LEAT_LOG_INFO, "the state cannot be used: tables are made anew from bronze");
    enum leat_status st = replay_records(engine, engine->records, false, err);
    if (st != LEAT_OK) return st;
    engine->step = last_step(engine->records);
    bring_up_to_date(head, engine->records);
    raise_frozen(engine);
    if ((st = reset(engine, head, err)) != LEAT_OK) return st;
    mark_overwrites(engine);
    rewind_sources(engine);
    engine->checkpoint_step = engine->replay_from = engine->step;
    return LEAT_OK;
}

/* The state that the head describes, where it can be used; else all anew. */
static enum leat_status recover_from(struct leat_engine *engine, json_t *head, bool stands, struct leat_error *err) {
    bool usable = false;
    enum leat_status st;
    leat_engine_load_classes(engine, head);
    if ((st = leat_groups_arrange(engine, err)) != LEAT_OK) return st;
    free(engine->fingerprint);
    engine->fingerprint = leat_engine_fingerprint(engine);
    if (!head) {
        if ((st = reset(engine, NULL, err)) != LEAT_OK) return st;
        usable = true;
    } else {
        leat_engine_load_runs(engine, head);
        if (stands && (st = load_state(engine, head, &usable, err)) != LEAT_OK) return st;
    }
    if (usable) {
        mark_overwrites(engine);
        engine->checkpoint_step = engine->step; /* of what is saved; the steps run again below are in the journal alone */
        st = leat_engine_replay(engine, err);
    } else {
        engine->replaying = true;
        st = begin_anew(engine, head, err);
    }
    engine->replaying = false;
    note_unjournaled_runs(engine);
    return st;
}

/* The checkpoint that was taken after the apply, when the crash kept the journal from being begun anew. */
static json_t *checkpoint_after(struct leat_engine *engine, const json_t *apply) {
    json_t *saved = leat_engine_checkpoint_state(engine);
    if (saved && json_integer_value(json_object_get(saved, "n")) >= json_integer_value(json_object_get(apply, "n"))) return saved;
    json_decref(saved);
    return NULL;
}

/* What was read must be there still: the log cannot tell damage of its last write from a write that was never acknowledged. */
static enum leat_status check_inputs(const struct leat_engine *engine, struct leat_error *err) {
    for (int k = 0; k < engine->group_count; k++)
        for (size_t s = 0; s < engine->project->source_count; s++) {
            const struct leat_cursors *read = &engine->groups[k]->cursors[s];
            for (size_t i = 0; engine->groups[k]->reads[s] && i < read->count; i++) {
                uint64_t end = leat_cursor_get(&engine->sources[s].ends, read->items[i].partition);
                if (read->items[i].next > end)
                    return leat_fail(err, LEAT_CORRUPT, "source \"%s\": %llu records of partition %u have been read, but the log ends at %llu: it is damaged. Restore "
                                     "the work folder; or remove %s, and leat goes on from what the lake holds", engine->project->sources[s].name,
                                     (unsigned long long)read->items[i].next, read->items[i].partition, (unsigned long long)end, engine->work_dir);
            }
        }
    return LEAT_OK;
}

/* A commit follows its step's record: a table that is past the journal has seen another work folder of this name. */
static enum leat_status check_tables(const struct leat_engine *engine, struct leat_error *err) {
    for (size_t t = 0; t < engine->project->table_count; t++) {
        const struct leat_gtable *table = &engine->tables[t];
        if (!table->batch && table->committed_step > engine->step)
            return leat_fail(err, LEAT_CONFLICT, "table \"%s\" has step %llu, this work folder only knows of %llu: it is an older copy. Use the newest one; or remove "
                             "%s, and leat goes on from what the lake holds", table->def->name, (unsigned long long)table->committed_step,
                             (unsigned long long)engine->step, engine->work_dir);
    }
    return LEAT_OK;
}

static enum leat_status recover(struct leat_engine *engine, struct leat_error *err) {
    json_t *head = json_array_get(engine->records, 0), *apply = leat_engine_apply_record(engine), *after = NULL;
    bool usable = false;
    enum leat_status st = LEAT_OK;
    if (apply) {
        after = checkpoint_after(engine, apply);
        if (!after) st = leat_engine_apply_again(engine, apply, &usable, err);
        if (st == LEAT_OK && usable) note_unjournaled_runs(engine);
        if (st != LEAT_OK || usable) return st;
        leat_groups_free(engine);
        if (after) head = after;
    }
    st = recover_from(engine, head, !apply || after, err);
    json_decref(after);
    return st;
}

enum leat_status leat_engine_recover(struct leat_engine *engine, struct leat_error *err) {
    bool is_new = json_array_size(engine->records) == 0;
    enum leat_status st = recover(engine, err);
    if (st == LEAT_OK) st = check_inputs(engine, err);
    if (st == LEAT_OK) st = check_tables(engine, err);
    if (st == LEAT_OK) leat_reflects_ask(engine, !is_new);
    return st;
}
