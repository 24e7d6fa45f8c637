/* AGGREGATE: state as relations.
 *
 * Part 0, one row a group: the keys, "rows", then an aggregate's columns by its state:
 *   COUNT, DISTINCT  the count
 *   SUM              <name>_sum DECIMAL(38, scale), <name>_n (rows with a value)
 *   WIDE             <name>_sum BLOB: 192-bit two's complement, little-endian; <name>_n
 *   EXACT            <name>_sum BLOB (leat_exact_state_save), <name> DOUBLE for readers, <name>_n
 *   PICK             <name>, NULL: none; ARG_* also <name>_by
 *   BOOL             <name>_true, <name>_false
 * One more part for each COUNT(DISTINCT): the keys, value, copies. */
#include "stream/aggregate.h"

#include <stdlib.h>

#include "stream/save.h"

static void add_column(struct leat_schema *s, const char *name, const char *suffix, struct leat_type type) {
    char *full = leat_asprintf("%s%s", name, suffix);
    for (int i = 2; leat_schema_find(s, full) >= 0; i++) {
        free(full);
        full = leat_asprintf("%s%s_%d", name, suffix, i);
    }
    leat_schema_add(s, full, type, false);
    free(full);
}

static void add_keys(const struct leat_aggregate *a, struct leat_schema *s) {
    for (size_t k = 0; k < a->base.op->key_count; k++)
        add_column(s, a->base.op->schema.fields[k].name, "", a->keys[k].type);
}

void leat_agg_describe_parts(struct leat_aggregate *a) {
    static const struct leat_type bigint = {.kind = LEAT_BIGINT}, blob = {.kind = LEAT_BLOB},
                                  real = {.kind = LEAT_DOUBLE};
    struct leat_schema *s = &a->part_schema;
    add_keys(a, s);
    add_column(s, "rows", "", bigint);
    for (size_t i = 0; i < a->base.op->agg_count; i++) {
        struct leat_agg_run *run = &a->aggs[i];
        const char *name = a->base.op->schema.fields[a->base.op->key_count + i].name;
        uint8_t scale = run->argument.kind == LEAT_DECIMAL ? run->argument.scale : 0;
        run->saved_at = s->field_count;
        switch (run->state) {
        case LEAT_STATE_COUNT:
            add_column(s, name, "", bigint);
            break;
        case LEAT_STATE_SUM:
            add_column(s, name, "_sum", (struct leat_type){.kind = LEAT_DECIMAL, .width = 38, .scale = scale});
            add_column(s, name, "_n", bigint);
            break;
        case LEAT_STATE_WIDE:
            add_column(s, name, "_sum", blob);
            add_column(s, name, "_n", bigint);
            break;
        case LEAT_STATE_EXACT:
            add_column(s, name, "_sum", blob);
            add_column(s, name, "", real);
            add_column(s, name, "_n", bigint);
            break;
        case LEAT_STATE_PICK:
            add_column(s, name, "", run->argument);
            if (run->by_offset != run->offset) add_column(s, name, "_by", run->by);
            break;
        case LEAT_STATE_BOOL:
            add_column(s, name, "_true", bigint);
            add_column(s, name, "_false", bigint);
            break;
        case LEAT_STATE_DISTINCT:
            add_column(s, name, "", bigint);
            add_keys(a, &run->distinct->part_schema);
            add_column(&run->distinct->part_schema, "value", "", run->argument);
            add_column(&run->distinct->part_schema, "copies", "", bigint);
            leat_changes_init(&run->distinct->tombstones, &run->distinct->part_schema);
            break;
        }
    }
    leat_changes_init(&a->tombstones, s);
}

static struct leat_agg_run *distinct_part(const struct leat_aggregate *a, size_t part) {
    for (size_t i = 0, seen = 0; i < a->base.op->agg_count; i++)
        if (a->aggs[i].distinct && ++seen == part) return &a->aggs[i];
    return NULL;
}

size_t leat_agg_parts(const struct leat_node *node) {
    const struct leat_aggregate *a = (const struct leat_aggregate *)node;
    size_t parts = 1;
    for (size_t i = 0; i < node->op->agg_count; i++)
        parts += a->aggs[i].distinct != NULL;
    return parts;
}

const struct leat_schema *leat_agg_part_schema(const struct leat_node *node, size_t part) {
    const struct leat_aggregate *a = (const struct leat_aggregate *)node;
    return part ? &distinct_part(a, part)->distinct->part_schema : &a->part_schema;
}

void leat_agg_tombstone(struct leat_aggregate *a, const char *group) {
    size_t at = leat_save_tombstone(&a->tombstones);
    leat_group_emit_keys(a, &group, 1, &a->tombstones, at);
    for (size_t i = a->base.op->key_count; i < a->part_schema.field_count; i++)
        leat_set_null(&a->tombstones, i, at);
}

/* ---- saving */

static void put_int(struct leat_changes *out, size_t column, size_t at, int64_t value) {
    ((int64_t *)out->columns[column].data)[at] = value;
}

static void put_blob(struct leat_changes *out, size_t column, size_t at, const void *bytes, size_t n) {
    ((struct leat_string *)out->columns[column].data)[at] =
        leat_string_of(leat_arena_copy(&out->strings, bytes, n), (uint32_t)n);
}

static void save_picked(const struct leat_agg_run *run, const char *group, struct leat_changes *out, size_t at) {
    bool arg = run->by_offset != run->offset;
    for (int k = 0; k < (arg ? 2 : 1); k++) {
        size_t column = run->saved_at + k, size = leat_type_size(k ? run->by : run->argument);
        if (!group[run->has_offset]) {
            leat_set_null(out, column, at);
            continue;
        }
        memcpy((char *)out->columns[column].data + at * size, group + (k ? run->by_offset : run->offset), size);
        if (leat_type_is_string(k ? run->by : run->argument)) leat_own_strings(out, column, at, 1);
    }
}

static void save_agg(const struct leat_agg_run *run, const char *group, struct leat_changes *out, size_t at) {
    const char *state = group + run->offset;
    size_t column = run->saved_at;
    switch (run->state) {
    case LEAT_STATE_COUNT:
        put_int(out, column, at, *(const int64_t *)state);
        break;
    case LEAT_STATE_DISTINCT:
        put_int(out, column, at, ((const struct leat_distinct_state *)state)->n);
        break;
    case LEAT_STATE_SUM: {
        const struct leat_sum_state *s = (const struct leat_sum_state *)state;
        memcpy((char *)out->columns[column].data + at * 16, s, 16);
        put_int(out, column + 1, at, s->n);
        break;
    }
    case LEAT_STATE_WIDE: {
        const struct leat_wide_state *s = (const struct leat_wide_state *)state;
        put_blob(out, column, at, s->limbs, sizeof s->limbs);
        put_int(out, column + 1, at, s->n);
        break;
    }
    case LEAT_STATE_EXACT: {
        const struct leat_exact_state *s = (const struct leat_exact_state *)state;
        unsigned char bytes[LEAT_EXACT_SUM_BYTES];
        put_blob(out, column, at, bytes, leat_exact_state_save(s, bytes));
        ((double *)out->columns[column + 1].data)[at] = s->result;
        put_int(out, column + 2, at, s->n);
        break;
    }
    case LEAT_STATE_PICK:
        save_picked(run, group, out, at);
        break;
    case LEAT_STATE_BOOL: {
        const struct leat_bool_state *s = (const struct leat_bool_state *)state;
        put_int(out, column, at, s->trues);
        put_int(out, column + 1, at, s->falses);
        break;
    }
    }
}

static void save_group(const struct leat_aggregate *a, const char *group, struct leat_changes *out, size_t at) {
    leat_group_emit_keys(a, &group, 1, out, at);
    put_int(out, a->base.op->key_count, at, leat_group_rows(group));
    for (size_t i = 0; i < a->base.op->agg_count; i++)
        save_agg(&a->aggs[i], group, out, at);
}

enum leat_status leat_agg_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                               struct leat_changes *out, struct leat_error *err) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    size_t n = 0, before = out->row_count;
    uint64_t entry_cursor;
    uint32_t index;
    (void)err;
    if (part) return leat_distinct_save(a, distinct_part(a, part), only_dirty, cursor, max_rows, out);
    if (!leat_save_tombstones(&a->tombstones, only_dirty, cursor, max_rows, out, &entry_cursor)) return LEAT_OK;
    size_t at = out->row_count, room = max_rows - (at - before);
    leat_changes_reserve(out, at + room);
    while (n < room && leat_keyed_next(&a->groups, only_dirty, &entry_cursor, &index))
        save_group(a, leat_group_at(a, index), out, at + n++);
    leat_save_added(&a->tombstones, only_dirty, out, n, entry_cursor, cursor);
    return out->row_count > before ? LEAT_OK : LEAT_END;
}

void leat_agg_clean(struct leat_node *node) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    leat_keyed_clean(&a->groups);
    leat_changes_reset(&a->tombstones);
    for (size_t i = 0; i < node->op->agg_count; i++) {
        if (!a->aggs[i].distinct) continue;
        leat_keyed_clean(&a->aggs[i].distinct->values);
        leat_changes_reset(&a->aggs[i].distinct->tombstones);
    }
}

uint64_t leat_agg_part_rows(const struct leat_node *node, size_t part) {
    const struct leat_aggregate *a = (const struct leat_aggregate *)node;
    return part ? distinct_part(a, part)->distinct->values.count : a->groups.count;
}

/* ---- loading */

void leat_agg_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    leat_keyed_reserve(part ? &distinct_part(a, part)->distinct->values : &a->groups, rows);
}

static int64_t get_int(const struct leat_changes *rows, size_t column, size_t row) {
    return ((const int64_t *)rows->columns[column].data)[row];
}

static enum leat_status get_blob(const struct leat_changes *rows, size_t column, size_t row, size_t n, const char **out,
                                 struct leat_error *err) {
    const struct leat_string *s = (const struct leat_string *)rows->columns[column].data + row;
    *out = leat_string_data(s);
    if (!leat_is_null(&rows->columns[column], row) && s->length == n) return LEAT_OK;
    return leat_fail(err, LEAT_CORRUPT, "aggregate state in a checkpoint: column \"%s\" holds %u bytes, not %zu",
                     rows->schema->fields[column].name, (unsigned)s->length, n);
}

static enum leat_status load_exact(const struct leat_agg_run *run, struct leat_exact_state *state,
                                   const struct leat_changes *rows, size_t row, struct leat_error *err) {
    const struct leat_column *column = &rows->columns[run->saved_at];
    const struct leat_string *s = (const struct leat_string *)column->data + row;
    if (!leat_is_null(column, row) &&
        leat_exact_state_load(state, leat_string_data(s), s->length, get_int(rows, run->saved_at + 2, row)))
        return LEAT_OK;
    return leat_fail(err, LEAT_CORRUPT, "aggregate state in a checkpoint: column \"%s\" holds no sum",
                     rows->schema->fields[run->saved_at].name);
}

static enum leat_status load_state(struct leat_aggregate *a, const struct leat_agg_run *run, char *group,
                                   const struct leat_changes *rows, size_t row, struct leat_error *err) {
    char *state = group + run->offset;
    size_t column = run->saved_at;
    const char *bytes;
    enum leat_status status = LEAT_OK;
    switch (run->state) {
    case LEAT_STATE_COUNT:
        *(int64_t *)state = get_int(rows, column, row);
        break;
    case LEAT_STATE_DISTINCT:
        ((struct leat_distinct_state *)state)->n = get_int(rows, column, row);
        break;
    case LEAT_STATE_SUM:
        memcpy(state, (const char *)rows->columns[column].data + row * 16, 16);
        ((struct leat_sum_state *)state)->n = get_int(rows, column + 1, row);
        break;
    case LEAT_STATE_WIDE:
        status = get_blob(rows, column, row, 3 * sizeof(uint64_t), &bytes, err);
        if (status) return status;
        memcpy(state, bytes, 3 * sizeof(uint64_t));
        ((struct leat_wide_state *)state)->n = get_int(rows, column + 1, row);
        break;
    case LEAT_STATE_EXACT:
        return load_exact(run, (struct leat_exact_state *)state, rows, row, err);
    case LEAT_STATE_BOOL:
        *(struct leat_bool_state *)state =
            (struct leat_bool_state){.trues = get_int(rows, column, row), .falses = get_int(rows, column + 1, row)};
        break;
    case LEAT_STATE_PICK:
        if (leat_is_null(&rows->columns[column], row)) break;
        group[run->has_offset] = 1;
        leat_agg_set_value(a, run->argument, state,
                           (const char *)rows->columns[column].data + row * leat_type_size(run->argument));
        if (run->by_offset != run->offset)
            leat_agg_set_value(a, run->by, group + run->by_offset,
                               (const char *)rows->columns[column + 1].data + row * leat_type_size(run->by));
        break;
    }
    return LEAT_OK;
}

/* Replaces what the group held, but for its counted values, which their own part replaces. */
static enum leat_status load_group(struct leat_aggregate *a, uint32_t index, const struct leat_changes *rows,
                                   size_t row, struct leat_error *err) {
    struct leat_entry *e = leat_keyed_at(&a->groups, index);
    char *group = leat_entry_payload(e);
    bool new = e->flags &LEAT_ENTRY_NEW;
    enum leat_status status = LEAT_OK;
    if (!new) {
        if (leat_group_rows(group) > 0 && !leat_group_fits(a, group)) a->withheld--;
        leat_group_clear(a, group);
        for (size_t i = 0; i < a->base.op->agg_count; i++)
            if (a->aggs[i].state == LEAT_STATE_PICK) group[a->aggs[i].has_offset] = 0;
    }
    e->flags = LEAT_ENTRY_LIVE | LEAT_ENTRY_SAVED;
    *(int64_t *)group = get_int(rows, a->base.op->key_count, row);
    leat_group_set_keys(a, group, rows, row, a->key_columns);
    for (size_t i = 0; i < a->base.op->agg_count && status == LEAT_OK; i++)
        status = load_state(a, &a->aggs[i], group, rows, row, err);
    if (status) return status;
    if (leat_group_rows(group) > 0 && !leat_group_fits(a, group)) a->withheld++;
    if (a->timed && new) leat_group_schedule(a, index);
    return LEAT_OK;
}

static void load_gone(struct leat_aggregate *a, uint32_t index) {
    if (index == LEAT_NO_ENTRY) return;
    struct leat_entry *e = leat_keyed_at(&a->groups, index);
    if (!(e->flags & LEAT_ENTRY_LIVE)) return;
    const char *group = leat_entry_payload(e);
    if (leat_group_rows(group) > 0 && !leat_group_fits(a, group)) a->withheld--;
    e->flags &= ~(uint32_t)LEAT_ENTRY_SAVED;
    leat_group_remove(a, index);
}

enum leat_status leat_agg_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                               struct leat_error *err) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    struct leat_hash128 keys[LEAT_AGG_CHUNK];
    uint32_t entries[LEAT_AGG_CHUNK];
    if (part) {
        leat_distinct_load(a, distinct_part(a, part), rows);
        return LEAT_OK;
    }
    for (size_t from = 0, n; from < rows->row_count; from += n) {
        bool gone;
        n = leat_save_run(rows, from, LEAT_AGG_CHUNK, &gone);
        leat_key_hash(rows, from, n, a->key_columns, node->op->key_count, keys);
        if (gone)
            leat_keyed_find(&a->groups, keys, n, entries);
        else
            leat_keyed_upsert(&a->groups, keys, n, entries);
        for (size_t i = 0; i < n; i++) {
            if (gone) {
                load_gone(a, entries[i]);
                continue;
            }
            enum leat_status status = load_group(a, entries[i], rows, from + i, err);
            if (status) return status;
        }
    }
    for (size_t i = 0; i < a->released_count; i++)
        leat_heap_string_free(&a->heap, &a->released[i]);
    a->released_count = 0;
    leat_keyed_loaded(&a->groups);
    return LEAT_OK;
}
