/* Waiting for what records cause in a table (POST ...?wait=TABLE): the groups between the source and the table step at once, in the order in
 * which changes travel, instead of when they are due. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/live.h"
#include "engine/wait.h"

static void mark_inputs(const struct leat_engine *engine, int table, bool *needed) {
    if (needed[table]) return;
    needed[table] = true;
    const struct leat_plan *plan = engine->tables[table].plan;
    for (size_t i = 0; i < plan->input_count; i++)
        if (plan->inputs[i] >> 24 == LEAT_OBJECT_TABLE) mark_inputs(engine, plan->inputs[i] & 0xffffff, needed);
}

/* The table's key columns that the source has too, of the same type: its rows and these records are then matched by them. */
static size_t shared_columns(const struct leat_engine *engine, const struct leat_wait *wait, uint16_t *of_table, uint16_t *of_source) {
    const struct leat_table *table = engine->tables[wait->table].def;
    const struct leat_schema *rows = &engine->tables[wait->table].plan->schema, *records = &engine->project->sources[wait->source].schema;
    size_t n = 0;
    for (size_t i = 0; i < table->primary_key_count && n < LEAT_WAIT_COLUMNS_MAX; i++) {
        int column = leat_schema_find(rows, table->primary_key[i]), field = leat_schema_find(records, table->primary_key[i]);
        if (column < 0 || field < 0 || !leat_type_equal(rows->fields[column].type, records->fields[field].type)) continue;
        of_table[n] = (uint16_t)column;
        of_source[n++] = (uint16_t)field;
    }
    return n;
}

static int by_hash(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct leat_hash128));
}

/* The keys of the records, while their chunk is in memory. */
static void take_keys(struct leat_engine *engine, struct leat_wait *wait) {
    uint16_t of_source[LEAT_WAIT_COLUMNS_MAX];
    const struct leat_src *src = &engine->sources[wait->source];
    wait->key_columns = shared_columns(engine, wait, wait->columns, of_source);
    if (!wait->key_columns) return;
    for (const struct leat_chunk *c = src->first; c; c = c->next) {
        if (c->partition != wait->partition || c->to <= wait->from || c->from >= wait->to) continue;
        size_t from = leat_chunk_row(c, wait->from), n = leat_chunk_row(c, wait->to) - from;
        wait->keys = leat_realloc(wait->keys, (wait->key_count + n + 1) * sizeof *wait->keys);
        leat_key_hash(&c->rows, from, n, of_source, wait->key_columns, wait->keys + wait->key_count);
        wait->key_count += n;
    }
    if (wait->key_count) qsort(wait->keys, wait->key_count, sizeof *wait->keys, by_hash);
}

static void add_changes(struct leat_wait *wait, const struct leat_changes *rows) {
    size_t n = rows->row_count, kept = 0;
    uint32_t *picked = leat_alloc((n + 1) * sizeof *picked);
    struct leat_hash128 *hashes = leat_alloc((n + 1) * sizeof *hashes);
    if (wait->key_columns) leat_key_hash(rows, 0, n, wait->columns, wait->key_columns, hashes);
    for (size_t i = 0; i < n; i++)
        if (!wait->key_columns || (wait->key_count && bsearch(&hashes[i], wait->keys, wait->key_count, sizeof *hashes, by_hash)))
            picked[kept++] = (uint32_t)i;
    leat_changes_append(&wait->changes, rows, picked, kept, 1);
    free(picked);
    free(hashes);
}

static void finish(struct leat_engine *engine, struct leat_wait *wait, enum leat_status status) {
    const struct leat_live_table *table = leat_live_table_at(engine->live, (size_t)wait->table);
    struct leat_live_changes changes;
    struct leat_error ignored;
    enum leat_status st = LEAT_OK;
    uint64_t after = wait->after_step;
    while (status == LEAT_OK && wait->begun && (st = leat_live_next(engine->live, table, after, &changes, &ignored)) == LEAT_OK) {
        after = changes.step;
        add_changes(wait, changes.rows);
        leat_live_release(&changes);
    }
    wait->step = engine->step;
    wait->partial = st == LEAT_LIMIT;
    wait->done(wait, status);
}

void leat_engine_wait(struct leat_engine *engine, struct leat_wait *wait) {
    leat_changes_init(&wait->changes, &leat_live_table_at(engine->live, (size_t)wait->table)->schema);
    wait->next = engine->waits;
    engine->waits = wait;
}

void leat_wait_deinit(struct leat_wait *wait) {
    if (wait->changes.schema) leat_changes_deinit(&wait->changes);
    free(wait->keys);
}

static bool has_passed(const struct leat_engine *engine, const struct leat_wait *wait) {
    bool *needed = leat_alloc((engine->project->table_count + 1) * sizeof *needed), passed = true;
    mark_inputs(engine, wait->table, needed);
    for (size_t t = 0; t < engine->project->table_count && passed; t++) {
        const struct leat_group *g = needed[t] ? engine->tables[t].group : NULL;
        if (g && g->reads[wait->source]) passed = leat_cursor_get(&g->cursors[wait->source], wait->partition) >= wait->to;
    }
    free(needed);
    return passed;
}

static enum leat_status step_for_all(struct leat_engine *engine, struct leat_error *err) {
    bool *needed = leat_alloc((engine->project->table_count + 1) * sizeof *needed), did;
    int64_t now = leat_engine_now(engine), cpu = leat_usage_cpu_us();
    enum leat_status st = LEAT_OK;
    for (const struct leat_wait *wait = engine->waits; wait; wait = wait->next) mark_inputs(engine, wait->table, needed);
    for (size_t i = 0; i < engine->project->order_count && st == LEAT_OK; i++) {
        struct leat_object_ref ref = engine->project->order[i];
        struct leat_group *g = ref.kind == LEAT_OBJECT_TABLE && needed[ref.index] ? engine->tables[ref.index].group : NULL;
        if (!g) continue;
        st = leat_group_step(g, &did, err);
        if (st == LEAT_OK && did) g->due_us = now + g->freshness_us * 4 / 5;
    }
    leat_phase_end(engine, LEAT_PHASE_STEP, cpu);
    free(needed);
    return st == LEAT_OK ? st : leat_prepend(err, "step");
}

enum leat_status leat_waits_step(struct leat_engine *engine, struct leat_error *err) {
    if (!engine->waits) return LEAT_OK;
    for (struct leat_wait *wait = engine->waits; wait; wait = wait->next) {
        const struct leat_src *src = &engine->sources[wait->source];
        if (wait->begun || leat_cursor_get(&src->ends, wait->partition) < wait->to) continue; /* on their way from the intake */
        wait->begun = true;
        wait->after_step = engine->step;
        take_keys(engine, wait);
    }
    enum leat_status st = step_for_all(engine, err);
    int64_t now = engine->env->clock->monotonic_us(engine->env->clock);
    for (struct leat_wait **at = &engine->waits, *wait; st == LEAT_OK && (wait = *at);) {
        bool passed = wait->begun && has_passed(engine, wait);
        if (!passed && now < wait->deadline_us) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        finish(engine, wait, passed ? LEAT_OK : LEAT_LIMIT);
    }
    return st;
}

int64_t leat_waits_left_us(const struct leat_engine *engine) {
    int64_t now = engine->env->clock->monotonic_us(engine->env->clock), left = INT64_MAX;
    for (const struct leat_wait *wait = engine->waits; wait; wait = wait->next)
        if (wait->deadline_us - now < left) left = wait->deadline_us - now;
    return left;
}

void leat_waits_cancel(struct leat_engine *engine) {
    for (struct leat_wait *wait; (wait = engine->waits);) {
        engine->waits = wait->next;
        finish(engine, wait, LEAT_CANCELLED);
    }
}
