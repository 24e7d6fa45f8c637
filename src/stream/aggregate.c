/* AGGREGATE: groups, steps, time. See aggregate.h for the layout.
 *
 * A step: hash the keys of a chunk, find or make the groups, copy aside what is touched the first time, run one loop an
 * aggregate over the chunk; after the last chunk every touched group whose output row changed gives -old and +new. */
#include "stream/aggregate.h"

#include <stdlib.h>

enum { KEPT_STEP_BYTES = 32 << 20 };

static size_t take(size_t *at, size_t bytes, size_t align) {
    *at = (*at + align - 1) / align * align;
    size_t offset = *at;
    *at += bytes;
    return offset;
}

static bool is_wide(struct leat_type t) {
    return t.kind == LEAT_HUGEINT || t.kind == LEAT_UHUGEINT || (t.kind == LEAT_DECIMAL && t.width > 18);
}

/* How the aggregate's state is kept, or UNSUPPORTED. */
static enum leat_status choose_state(struct leat_agg_run *run, struct leat_error *err) {
    char type[32];
    switch (run->spec->kind) {
    case LEAT_AGG_COUNT_STAR:
    case LEAT_AGG_COUNT:
        run->state = LEAT_STATE_COUNT;
        return LEAT_OK;
    case LEAT_AGG_COUNT_DISTINCT:
        run->state = LEAT_STATE_DISTINCT;
        return LEAT_OK;
    case LEAT_AGG_MIN:
    case LEAT_AGG_ARG_MIN:
        run->state = LEAT_STATE_PICK;
        return LEAT_OK;
    case LEAT_AGG_MAX:
    case LEAT_AGG_ARG_MAX:
        run->state = LEAT_STATE_PICK;
        run->greatest = true;
        return LEAT_OK;
    case LEAT_AGG_BOOL_AND:
    case LEAT_AGG_BOOL_OR:
        run->state = LEAT_STATE_BOOL;
        if (run->argument.kind == LEAT_BOOLEAN) return LEAT_OK;
        break;
    case LEAT_AGG_SUM:
    case LEAT_AGG_AVG:
        if (leat_type_is_float(run->argument))
            run->state = LEAT_STATE_EXACT;
        else if (is_wide(run->argument))
            run->state = LEAT_STATE_WIDE;
        else
            run->state = LEAT_STATE_SUM;
        if (run->argument.kind <= LEAT_DECIMAL) return LEAT_OK;
        break;
    }
    leat_type_print(run->argument, type);
    return leat_fail(err, LEAT_UNSUPPORTED, "aggregate kind %d cannot take a column of type %s", (int)run->spec->kind,
                     type);
}

/* The type that the result column must have, so that aggregate_output.c may write it. */
static enum leat_status check_result(const struct leat_agg_run *run, struct leat_error *err) {
    enum leat_kind kind = run->spec->result.kind;
    bool ok = false;
    switch (run->state) {
    case LEAT_STATE_COUNT:
    case LEAT_STATE_DISTINCT:
        ok = kind == LEAT_BIGINT;
        break;
    case LEAT_STATE_SUM:
    case LEAT_STATE_WIDE:
        if (run->spec->kind == LEAT_AGG_AVG)
            ok = kind == LEAT_DOUBLE;
        else
            ok = kind == LEAT_HUGEINT || (kind == LEAT_DECIMAL && run->spec->result.width > 18) || kind == LEAT_BIGINT;
        break;
    case LEAT_STATE_EXACT:
        ok = kind == LEAT_DOUBLE;
        break;
    case LEAT_STATE_BOOL:
        ok = kind == LEAT_BOOLEAN;
        break;
    case LEAT_STATE_PICK:
        ok = leat_type_equal(run->spec->result, run->argument);
        break;
    }
    if (ok) return LEAT_OK;
    char type[32];
    leat_type_print(run->spec->result, type);
    return leat_fail(err, LEAT_UNSUPPORTED, "aggregate kind %d cannot give a column of type %s", (int)run->spec->kind,
                     type);
}

static void place_state(struct leat_agg_run *run, size_t *at) {
    static const size_t sizes[] = {
        [LEAT_STATE_COUNT] = sizeof(int64_t),
        [LEAT_STATE_SUM] = sizeof(struct leat_sum_state),
        [LEAT_STATE_WIDE] = sizeof(struct leat_wide_state),
        [LEAT_STATE_EXACT] = sizeof(struct leat_exact_state),
        [LEAT_STATE_BOOL] = sizeof(struct leat_bool_state),
        [LEAT_STATE_DISTINCT] = sizeof(struct leat_distinct_state),
    };
    if (run->state != LEAT_STATE_PICK) {
        run->offset = run->by_offset = take(at, sizes[run->state], 8);
        return;
    }
    bool arg = run->spec->kind == LEAT_AGG_ARG_MIN || run->spec->kind == LEAT_AGG_ARG_MAX;
    size_t size = leat_type_size(run->argument), by_size = leat_type_size(run->by);
    run->offset = run->by_offset = take(at, size, size < 8 ? size : 8);
    if (arg) run->by_offset = take(at, by_size, by_size < 8 ? by_size : 8);
}

static enum leat_status open_aggs(struct leat_aggregate *a, size_t *at, struct leat_error *err) {
    const struct leat_op *op = a->base.op;
    const struct leat_schema *in = a->base.inputs[0];
    for (size_t i = 0; i < op->agg_count; i++) {
        struct leat_agg_run *run = &a->aggs[i];
        run->spec = &op->aggs[i];
        int columns[3] = {run->spec->argument, run->spec->by, run->spec->filter};
        for (int k = 0; k < 3; k++)
            if (columns[k] >= (int)in->field_count)
                return leat_fail(err, LEAT_INVALID, "operator %d: aggregate %zu reads column %d of %zu", a->base.id, i,
                                 columns[k], in->field_count);
        bool arg = run->spec->kind == LEAT_AGG_ARG_MIN || run->spec->kind == LEAT_AGG_ARG_MAX;
        if ((run->spec->argument < 0 && run->spec->kind != LEAT_AGG_COUNT_STAR) || (run->spec->by < 0 && arg))
            return leat_fail(err, LEAT_INVALID, "operator %d: aggregate %zu lacks an input column", a->base.id, i);
        if (run->spec->argument >= 0) run->argument = in->fields[run->spec->argument].type;
        run->by = arg ? in->fields[run->spec->by].type : run->argument;
        enum leat_status status = choose_state(run, err);
        if (status == LEAT_OK) status = check_result(run, err);
        if (status) return status;
        place_state(run, at);
        a->picks |= run->state == LEAT_STATE_PICK;
        a->wide |= run->state == LEAT_STATE_WIDE || run->spec->result.kind == LEAT_BIGINT;
        if (run->state == LEAT_STATE_DISTINCT) {
            run->distinct = leat_alloc(sizeof *run->distinct);
            leat_keyed_init(&run->distinct->values, sizeof(struct leat_counted));
        }
    }
    return LEAT_OK;
}

static bool has_close_time(const struct leat_op *op) {
    for (size_t i = 0; i < op->time_count; i++)
        if (op->times[i].column == op->close_key) return true;
    return false;
}

static enum leat_status agg_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    const struct leat_op *op = node->op;
    size_t at = sizeof(int64_t);
    (void)conn;
    a->aggs = leat_alloc((op->agg_count + 1) * sizeof *a->aggs);
    a->keys = leat_alloc((op->key_count + 1) * sizeof *a->keys);
    a->key_columns = leat_alloc((op->key_count + 1) * sizeof *a->key_columns);
    if (op->schema.field_count != op->key_count + op->agg_count || (op->global && op->key_count))
        return leat_fail(err, LEAT_INVALID, "operator %d: %zu keys and %zu aggregates cannot give %zu columns",
                         node->id, op->key_count, op->agg_count, op->schema.field_count);
    if (op->close_key >= 0 && !op->global && !has_close_time(op))
        return leat_fail(err, LEAT_INVALID,
                         "operator %d: EMIT ON WINDOW CLOSE needs a group column that follows event time", node->id);
    enum leat_status status = open_aggs(a, &at, err);
    if (status) return status;
    for (size_t k = 0; k < op->key_count; k++) {
        struct leat_type type = node->inputs[0]->fields[op->keys[k]].type;
        size_t size = leat_type_size(type);
        a->keys[k] = (struct leat_group_key){.type = type, .offset = take(&at, size, size < 8 ? size : 8)};
        a->key_columns[k] = (uint16_t)k;
    }
    for (size_t k = 0; k < op->key_count; k++)
        a->keys[k].null_offset = take(&at, 1, 1);
    for (size_t i = 0; i < op->agg_count; i++)
        if (a->aggs[i].state == LEAT_STATE_PICK) a->aggs[i].has_offset = take(&at, 1, 1);
    a->payload_bytes = at;
    a->timed = !op->global && (op->evict || op->close_key >= 0);
    leat_keyed_init(&a->groups, a->payload_bytes);
    leat_agg_describe_parts(a);
    return LEAT_OK;
}

static void free_sums(struct leat_aggregate *a) {
    uint64_t cursor = 0;
    uint32_t index;
    bool exact = false;
    for (size_t i = 0; a->aggs && i < a->base.op->agg_count; i++)
        exact |= a->aggs[i].state == LEAT_STATE_EXACT;
    /* The heap owns all else; sums are too large for it. */
    while (exact && a->groups.slots && leat_keyed_next(&a->groups, false, &cursor, &index))
        for (size_t i = 0; i < a->base.op->agg_count; i++)
            if (a->aggs[i].state == LEAT_STATE_EXACT)
                free(((struct leat_exact_state *)(leat_group_at(a, index) + a->aggs[i].offset))->sum);
}

static void agg_close(struct leat_node *node) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    free_sums(a);
    for (size_t i = 0; a->aggs && i < node->op->agg_count; i++) {
        struct leat_distinct *d = a->aggs[i].distinct;
        if (!d) continue;
        leat_keyed_deinit(&d->values);
        if (d->tombstones.schema) leat_changes_deinit(&d->tombstones);
        leat_schema_deinit(&d->part_schema);
        free(d);
    }
    leat_keyed_deinit(&a->groups);
    leat_heap_deinit(&a->heap);
    if (a->tombstones.schema) leat_changes_deinit(&a->tombstones);
    leat_schema_deinit(&a->part_schema);
    leat_arena_deinit(&a->saved_memory);
    free(a->aggs);
    free(a->keys);
    free(a->key_columns);
    free(a->finals);
    free(a->recent);
    free(a->touched);
    free(a->saved);
    free(a->released);
}

/* ---- values and groups */

void leat_agg_release(struct leat_aggregate *a, const struct leat_string *s) {
    if (s->length <= LEAT_STRING_INLINE) return;
    if (a->released_count == a->released_capacity) {
        a->released_capacity = a->released_capacity ? a->released_capacity * 2 : 64;
        a->released = leat_realloc(a->released, a->released_capacity * sizeof *a->released);
    }
    a->released[a->released_count++] = *s;
}

void leat_agg_set_value(struct leat_aggregate *a, struct leat_type type, char *to, const void *from) {
    if (!leat_type_is_string(type)) {
        memcpy(to, from, leat_type_size(type));
        return;
    }
    struct leat_string copy = leat_heap_string(&a->heap, from);
    memcpy(to, &copy, sizeof copy);
}

void leat_group_set_keys(struct leat_aggregate *a, char *group, const struct leat_changes *rows, size_t row,
                         const uint16_t *columns) {
    for (size_t k = 0; k < a->base.op->key_count; k++) {
        const struct leat_column *column = &rows->columns[columns[k]];
        const struct leat_group_key *key = &a->keys[k];
        if (leat_is_null(column, row))
            group[key->null_offset] = 1;
        else
            leat_agg_set_value(a, key->type, group + key->offset,
                               (const char *)column->data + row * leat_type_size(key->type));
    }
}

static void release_value(struct leat_aggregate *a, struct leat_type type, const char *value) {
    struct leat_string s;
    if (!leat_type_is_string(type)) return;
    memcpy(&s, value, sizeof s);
    leat_agg_release(a, &s);
}

void leat_group_clear(struct leat_aggregate *a, char *group) {
    for (size_t k = 0; k < a->base.op->key_count; k++)
        release_value(a, a->keys[k].type, group + a->keys[k].offset);
    for (size_t i = 0; i < a->base.op->agg_count; i++) {
        const struct leat_agg_run *run = &a->aggs[i];
        if (run->state == LEAT_STATE_PICK && group[run->has_offset]) {
            release_value(a, run->argument, group + run->offset);
            if (run->by_offset != run->offset) release_value(a, run->by, group + run->by_offset);
        }
        if (run->state == LEAT_STATE_EXACT) {
            struct leat_exact_state *s = (struct leat_exact_state *)(group + run->offset);
            free(s->sum);
            s->sum = NULL;
        }
    }
}

void leat_group_remove(struct leat_aggregate *a, uint32_t index) {
    char *group = leat_group_at(a, index);
    bool saved = leat_keyed_at(&a->groups, index)->flags & LEAT_ENTRY_SAVED;
    if (saved) leat_agg_tombstone(a, group);
    for (size_t i = 0; i < a->base.op->agg_count; i++)
        if (a->aggs[i].distinct) leat_distinct_forget(a, &a->aggs[i], group, saved);
    leat_group_clear(a, group);
    leat_keyed_remove(&a->groups, index);
}

static void end_releases(struct leat_aggregate *a) {
    for (size_t i = 0; i < a->released_count; i++)
        leat_heap_string_free(&a->heap, &a->released[i]);
    a->released_count = 0;
}

/* ---- time */

static int64_t time_of(const struct leat_group_key *key, const char *group) {
    if (group[key->null_offset]) return INT64_MAX;
    if (key->type.kind == LEAT_DATE) {
        int32_t days;
        memcpy(&days, group + key->offset, sizeof days);
        return days == INT32_MAX ? INT64_MAX : days == -INT32_MAX ? INT64_MIN : (int64_t)days * 86400000000LL;
    }
    int64_t time;
    memcpy(&time, group + key->offset, sizeof time);
    return time;
}

static bool is_time(struct leat_type t) {
    return t.kind == LEAT_DATE || t.kind == LEAT_TIMESTAMP || t.kind == LEAT_TIMESTAMPTZ;
}

/* The cut from which on the group is final: the first of its time columns that is (EMIT ON WINDOW CLOSE: that one alone). */
static int64_t final_at(const struct leat_aggregate *a, const char *group) {
    const struct leat_op *op = a->base.op;
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < op->time_count; i++) {
        const struct leat_time_column *t = &op->times[i];
        int64_t end;
        if (t->column >= op->key_count || !is_time(a->keys[t->column].type)) continue;
        if (op->close_key >= 0 && t->column != op->close_key) continue;
        if (__builtin_add_overflow(time_of(&a->keys[t->column], group), t->span_us, &end)) continue;
        if (end < first) first = end;
    }
    return first;
}

static void push_final(struct leat_aggregate *a, struct leat_final f) {
    if (a->final_count == a->final_capacity) {
        a->final_capacity = a->final_capacity ? a->final_capacity * 2 : 64;
        a->finals = leat_realloc(a->finals, a->final_capacity * sizeof *a->finals);
    }
    size_t i = a->final_count++;
    for (; i && a->finals[(i - 1) / 2].at_us > f.at_us; i = (i - 1) / 2)
        a->finals[i] = a->finals[(i - 1) / 2];
    a->finals[i] = f;
}

static struct leat_final pop_final(struct leat_aggregate *a) {
    struct leat_final top = a->finals[0], last = a->finals[--a->final_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < a->final_count; i = child) {
        if (child + 1 < a->final_count && a->finals[child + 1].at_us < a->finals[child].at_us) child++;
        if (a->finals[child].at_us >= last.at_us) break;
        a->finals[i] = a->finals[child];
    }
    a->finals[i] = last;
    return top;
}

/* Groups that went away leave their place in the heap; make it anew when those are the larger part. */
static void trim_finals(struct leat_aggregate *a) {
    uint64_t cursor = 0;
    uint32_t index;
    if (a->final_count < 1024 || a->final_count / 2 < a->groups.count) return;
    a->final_count = 0;
    while (leat_keyed_next(&a->groups, false, &cursor, &index))
        leat_group_schedule(a, index);
}

void leat_group_schedule(struct leat_aggregate *a, uint32_t index) {
    int64_t at = final_at(a, leat_group_at(a, index));
    if (at != INT64_MAX) push_final(a, (struct leat_final){.at_us = at, .group = index});
}

/* Groups final by the cut: given once (EMIT ON WINDOW CLOSE) and dropped. One that is withheld stays, to be seen. */
static void close_groups(struct leat_aggregate *a, int64_t cut_us, struct leat_changes *out) {
    trim_finals(a);
    while (a->final_count && a->finals[0].at_us <= cut_us) {
        struct leat_final f = pop_final(a);
        struct leat_entry *e = leat_keyed_at(&a->groups, f.group);
        const char *group = leat_entry_payload(e);
        if (!(e->flags & LEAT_ENTRY_LIVE) || final_at(a, group) != f.at_us) continue;
        if (leat_group_rows(group) > 0 && !leat_group_fits(a, group)) continue;
        if (a->base.op->close_key >= 0 && leat_group_shows(a, group)) leat_group_emit(a, &group, 1, 1, out);
        leat_group_remove(a, f.group);
    }
}

static bool agg_due(const struct leat_node *node, int64_t cut_us) {
    const struct leat_aggregate *a = (const struct leat_aggregate *)node;
    if (node->op->global) return a->groups.count == 0;
    return a->final_count && a->finals[0].at_us <= cut_us;
}

/* ---- the step */

static void touch(struct leat_aggregate *a, struct leat_agg_chunk *c, size_t i) {
    struct leat_entry *e = leat_keyed_at(&a->groups, c->entries[i]);
    char *group = leat_entry_payload(e), *saved = NULL;
    if (a->touched_count == a->touched_capacity) {
        a->touched_capacity = a->touched_capacity ? a->touched_capacity * 2 : 1024;
        a->touched = leat_realloc(a->touched, a->touched_capacity * sizeof *a->touched);
        a->saved = leat_realloc(a->saved, a->touched_capacity * sizeof *a->saved);
    }
    e->epoch = a->epoch;
    leat_keyed_mark_dirty(&a->groups, e, c->entries[i]);
    if (e->flags & LEAT_ENTRY_NEW) {
        e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
        if (c->in) leat_group_set_keys(a, group, c->in, c->from + i, a->base.op->keys);
        if (a->timed) leat_group_schedule(a, c->entries[i]);
    } else if (a->base.op->close_key < 0 || a->wide) {
        saved = leat_arena_alloc(&a->saved_memory, a->payload_bytes);
        memcpy(saved, group, a->payload_bytes);
    }
    a->saved[a->touched_count] = saved;
    a->touched[a->touched_count++] = c->entries[i];
}

void leat_agg_find(struct leat_aggregate *a, struct leat_agg_chunk *c, size_t first, size_t n) {
    const struct leat_op *op = a->base.op;
    leat_key_hash(c->in, c->from + first, n, op->keys, op->key_count, c->keys + first);
    leat_keyed_upsert(&a->groups, c->keys + first, n, c->entries + first);
    for (size_t i = first; i < first + n; i++) {
        struct leat_entry *e = leat_keyed_at(&a->groups, c->entries[i]);
        if (e->epoch != a->epoch) touch(a, c, i);
        c->groups[i] = leat_entry_payload(e);
    }
}

static void count_rows(struct leat_agg_chunk *c) {
    const int32_t *weights = c->in->weights ? c->in->weights + c->from : NULL;
    for (size_t i = 0; i < c->n; i++)
        *(int64_t *)c->groups[i] += weights ? weights[i] : 1;
}

static enum leat_status check_weights(const struct leat_aggregate *a, const struct leat_changes *in,
                                      struct leat_error *err) {
    for (size_t i = 0; a->picks && in->weights && i < in->row_count; i++)
        if (in->weights[i] < 0)
            return leat_fail(
                err, LEAT_INVALID,
                "operator %d: MIN, MAX and ARG_* cannot take a row back (weight %d): the plan must recompute such keys",
                a->base.id, (int)in->weights[i]);
    return LEAT_OK;
}

static enum leat_status take_input(struct leat_aggregate *a, const struct leat_changes *in, struct leat_error *err) {
    struct leat_agg_chunk c;
    enum leat_status status = check_weights(a, in, err);
    c.in = in;
    for (c.from = 0; c.from < in->row_count && status == LEAT_OK; c.from += c.n) {
        c.n = in->row_count - c.from < LEAT_AGG_CHUNK ? in->row_count - c.from : LEAT_AGG_CHUNK;
        if (!leat_recent_find(a, &c)) leat_agg_find(a, &c, 0, c.n);
        count_rows(&c);
        for (size_t i = 0; i < a->base.op->agg_count && status == LEAT_OK; i++)
            status = leat_agg_update(a, &a->aggs[i], &c, err);
    }
    return status;
}

/* At the end of a step the touched groups are visited in the order of their first touch, which is no order in
 * memory: their lines are fetched this many groups ahead. */
enum { VISIT_AHEAD = 24, CACHE_LINE = 64 };

static inline char *visit(const struct leat_aggregate *a, size_t t) {
    if (t + VISIT_AHEAD < a->touched_count) {
        const char *later = (const char *)leat_keyed_at(&a->groups, a->touched[t + VISIT_AHEAD]);
        for (size_t line = 0; line < a->groups.entry_bytes; line += CACHE_LINE)
            __builtin_prefetch(later + line);
    }
    return leat_group_at(a, a->touched[t]);
}

static void finish_sums(struct leat_aggregate *a) {
    for (size_t i = 0; i < a->base.op->agg_count; i++) {
        if (a->aggs[i].state != LEAT_STATE_EXACT) continue;
        for (size_t t = 0; t < a->touched_count; t++) {
            struct leat_exact_state *s = (struct leat_exact_state *)(visit(a, t) + a->aggs[i].offset);
            s->result = leat_exact_state_result(s);
        }
    }
}

static void count_withheld(struct leat_aggregate *a, const char *saved, const char *group) {
    if (saved && leat_group_rows(saved) > 0 && !leat_group_fits(a, saved)) a->withheld--;
    if (leat_group_rows(group) > 0 && !leat_group_fits(a, group)) a->withheld++;
}

/* -old +new of every touched group whose output changed, in chunks. Groups without rows are moved to the
 * start of a->touched, to be removed; their number is returned. */
static size_t emit_changes(struct leat_aggregate *a, struct leat_changes *out) {
    const char *old[LEAT_AGG_CHUNK], *new[LEAT_AGG_CHUNK];
    size_t old_count = 0, new_count = 0, empty = 0;
    bool close = a->base.op->close_key >= 0;
    for (size_t t = 0; t < a->touched_count; t++) {
        const char *saved = a->saved[t], *group = visit(a, t);
        if (a->wide) count_withheld(a, saved, group);
        bool was = !close && saved && leat_group_shows(a, saved), is = !close && leat_group_shows(a, group);
        if (leat_group_rows(group) == 0) a->touched[empty++] = a->touched[t];
        if (was && is && leat_group_same(a, saved, group)) continue;
        if (was) old[old_count++] = saved;
        if (is) new[new_count++] = group;
        if (old_count < LEAT_AGG_CHUNK && new_count < LEAT_AGG_CHUNK) continue;
        leat_group_emit(a, old, old_count, -1, out);
        leat_group_emit(a, new, new_count, 1, out);
        old_count = new_count = 0;
    }
    leat_group_emit(a, old, old_count, -1, out);
    leat_group_emit(a, new, new_count, 1, out);
    return a->base.op->global ? 0 : empty;
}

static enum leat_status agg_step(struct leat_node *node, const struct leat_step_context *context,
                                 const struct leat_changes *const inputs[2], struct leat_changes *out,
                                 struct leat_error *err) {
    struct leat_aggregate *a = (struct leat_aggregate *)node;
    a->epoch++;
    a->touched_count = 0;
    /* A rare large step must not keep its memory for ever. */
    if (a->saved_memory.used_bytes > KEPT_STEP_BYTES) leat_arena_deinit(&a->saved_memory);
    leat_arena_reset(&a->saved_memory);
    if (node->op->global && a->groups.count == 0) {
        struct leat_agg_chunk first = {.n = 1};
        leat_key_hash(&a->tombstones, 0, 1, NULL, 0, first.keys);
        leat_keyed_upsert(&a->groups, first.keys, 1, first.entries);
        touch(a, &first, 0);
    }
    if (inputs[0]) {
        enum leat_status status = take_input(a, inputs[0], err);
        if (status) return status;
    }
    node->stats.keys_touched += a->touched_count;
    finish_sums(a);
    size_t empty = emit_changes(a, out);
    for (size_t t = 0; t < empty; t++)
        leat_group_remove(a, a->touched[t]);
    if (a->timed && context) close_groups(a, context->cut_us, out);
    end_releases(a);
    return LEAT_OK;
}

static uint64_t agg_withheld(const struct leat_node *node) {
    return ((const struct leat_aggregate *)node)->withheld;
}

static void agg_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct leat_aggregate *a = (const struct leat_aggregate *)node;
    out->state_keys = a->groups.count;
    out->state_bytes = leat_keyed_bytes(&a->groups) + a->heap.reserved_bytes + a->final_capacity * sizeof *a->finals;
    for (size_t i = 0; i < node->op->agg_count; i++) {
        if (a->aggs[i].distinct) out->state_bytes += leat_keyed_bytes(&a->aggs[i].distinct->values);
    }
}

static const struct leat_node_ops agg_ops = {.open = agg_open,
                                             .close = agg_close,
                                             .step = agg_step,
                                             .withheld = agg_withheld,
                                             .due = agg_due,
                                             .stats = agg_stats,
                                             .parts = leat_agg_parts,
                                             .part_schema = leat_agg_part_schema,
                                             .save = leat_agg_save,
                                             .clean = leat_agg_clean,
                                             .part_rows = leat_agg_part_rows,
                                             .load_hint = leat_agg_load_hint,
                                             .load = leat_agg_load};
const struct leat_node_kind leat_node_aggregate = {&agg_ops, sizeof(struct leat_aggregate)};
