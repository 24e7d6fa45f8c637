/* Waiting for what records cause in a table (POST ...?wait=TABLE): the groups between the source and the table step at once, in the order in
 * which changes travel, instead of when they are due. */
#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "engine/internal.h"
#include "engine/live/live_internal.h"
#include "engine/live/live.h"
#include "engine/live/wait.h"

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
    const struct leat_group *g = engine->tables[wait->table].group;
    const struct leat_src *src = &engine->sources[wait->source];
    /* Not read yet by the table's group, if that reads the source itself. */
    const struct leat_chunk *first = g && g->reads[wait->source] ? leat_group_unread(g, (int)wait->source) : src->first;
    wait->key_columns = shared_columns(engine, wait, wait->columns, of_source);
    if (!wait->key_columns) return;
    for (const struct leat_chunk *c = first; c; c = c->next) {
        if (c->partition != wait->partition || c->to <= wait->from || c->from >= wait->to) continue;
        size_t from = leat_chunk_row(c, wait->from), n = leat_chunk_row(c, wait->to) - from;
        wait->keys = leat_realloc(wait->keys, (wait->key_count + n + 1) * sizeof *wait->keys);
        leat_key_hash(&c->rows, from, n, of_source, wait->key_columns, wait->keys + wait->key_count);
        wait->key_count += n;
    }
    if (wait->key_count) qsort(wait->keys, wait->key_count, sizeof *wait->keys, by_hash);
}

/* A step's changes of a table by the hash of some columns: many wait for the same. */
struct hashed { struct leat_hash128 hash; uint32_t row; };
struct hashed_changes {
    int table;
    uint64_t step;
    uint16_t columns[LEAT_WAIT_COLUMNS_MAX];
    size_t column_count;
    struct hashed *items;
};

static void hash_changes(struct hashed_changes *h, const struct leat_wait *wait, uint64_t step, const struct leat_changes *rows) {
    size_t n = rows->row_count;
    if (h->items && h->table == wait->table && h->step == step && h->column_count == wait->key_columns &&
        memcmp(h->columns, wait->columns, wait->key_columns * sizeof *h->columns) == 0)
        return;
    struct leat_hash128 *hashes = leat_alloc((n + 1) * sizeof *hashes);
    leat_key_hash(rows, 0, n, wait->columns, wait->key_columns, hashes);
    h->items = leat_realloc(h->items, (n + 1) * sizeof *h->items);
    for (size_t i = 0; i < n; i++) h->items[i] = (struct hashed){hashes[i], (uint32_t)i};
    qsort(h->items, n, sizeof *h->items, by_hash); /* stable enough: rows of a key are sorted again below */
    free(hashes);
    h->table = wait->table;
    h->step = step;
    h->column_count = wait->key_columns;
    memcpy(h->columns, wait->columns, sizeof h->columns);
}

static int by_row(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The changes of the keys that the records have; of all where the two share none. */
static void add_changes(struct leat_wait *wait, uint64_t step, const struct leat_changes *rows, struct hashed_changes *hashed) {
    uint32_t *picked = leat_alloc((rows->row_count + 1) * sizeof *picked);
    size_t kept = 0, n = rows->row_count;
    if (!wait->key_columns) {
        leat_changes_append(&wait->changes, rows, NULL, n, 1);
        free(picked);
        return;
    }
    hash_changes(hashed, wait, step, rows);
    for (size_t k = 0; k < wait->key_count; k++) {
        if (k && by_hash(&wait->keys[k], &wait->keys[k - 1]) == 0) continue;
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (by_hash(&hashed->items[middle], &wait->keys[k]) < 0) low = middle + 1;
            else high = middle;
        }
        for (; low < n && by_hash(&hashed->items[low], &wait->keys[k]) == 0; low++) picked[kept++] = hashed->items[low].row;
    }
    qsort(picked, kept, sizeof *picked, by_row);
    leat_changes_append(&wait->changes, rows, picked, kept, 1);
    free(picked);
}

static void finish(struct leat_engine *engine, struct leat_wait *wait, enum leat_status status, struct hashed_changes *hashed) {
    const struct leat_live_table *table = leat_live_table_at(engine->live, (size_t)wait->table);
    struct leat_live_changes changes;
    struct leat_error ignored;
    enum leat_status st = LEAT_OK;
    uint64_t after = wait->after_step;
    while (status == LEAT_OK && wait->begun && (st = leat_live_next(engine->live, table, after, &changes, &ignored)) == LEAT_OK) {
        after = changes.step;
        add_changes(wait, changes.step, changes.rows, hashed);
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
    leat_table_mark(engine, &engine->tables[wait->table], needed);
    for (size_t t = 0; t < engine->project->table_count && passed; t++) {
        const struct leat_group *g = needed[t] ? engine->tables[t].group : NULL;
        if (g && g->reads[wait->source]) passed = leat_cursor_get(&g->cursors[wait->source], wait->partition) >= wait->to;
    }
    free(needed);
    return passed;
}

static enum leat_status step_for_all(struct leat_engine *engine, struct leat_error *err) {
    bool *needed = leat_alloc((engine->project->table_count + 1) * sizeof *needed), did;
    int64_t now = leat_engine_now(engine), cpu = leat_usage_thread_cpu_us();
    enum leat_status st = LEAT_OK;
    for (const struct leat_wait *wait = engine->waits; wait; wait = wait->next) leat_table_mark(engine, &engine->tables[wait->table], needed);
    for (size_t i = 0; i < engine->project->order_count && st == LEAT_OK; i++) {
        struct leat_object_ref ref = engine->project->order[i];
        struct leat_group *g = ref.kind == LEAT_OBJECT_TABLE && needed[ref.index] ? engine->tables[ref.index].group : NULL;
        if (!g) continue;
        st = leat_group_step(g, &did, err);
        if (st == LEAT_OK && did) g->due_us = leat_freshness_due(engine, &g->freshness, now, LEAT_STEP_FIFTHS);
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
    struct hashed_changes hashed = {0};
    for (struct leat_wait **at = &engine->waits, *wait; st == LEAT_OK && (wait = *at);) {
        bool passed = wait->begun && has_passed(engine, wait);
        if (!passed && now < wait->deadline_us) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        finish(engine, wait, passed ? LEAT_OK : LEAT_LIMIT, &hashed);
    }
    free(hashed.items);
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
        finish(engine, wait, LEAT_CANCELLED, NULL);
    }
}
