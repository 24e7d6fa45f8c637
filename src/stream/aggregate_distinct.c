/* COUNT(DISTINCT): per aggregate a nested table of (group, value) -> how many copies. Each group heads a list of
 * its values, so that they go with it. */
#include "stream/aggregate.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "stream/save.h"

static struct leat_counted *counted_at(const struct leat_distinct *d, uint32_t index) {
    return leat_entry_payload(leat_keyed_at(&d->values, index));
}
static struct leat_distinct_state *state_of(const struct leat_agg_run *run, char *group) {
    return (struct leat_distinct_state *)(group + run->offset);
}

static struct leat_hash128 pair_hash(const struct leat_hash128 *group, const struct leat_hash128 *value) {
    uint64_t words[4] = {group->low, group->high, value->low, value->high};
    XXH128_hash_t h = XXH3_128bits(words, sizeof words);
    return (struct leat_hash128){.low = h.low64, .high = h.high64};
}

static void link_value(struct leat_distinct *d, struct leat_distinct_state *s, uint32_t index, uint32_t group) {
    struct leat_counted *v = counted_at(d, index);
    v->group = group;
    v->previous = 0;
    v->next = s->head;
    if (s->head) counted_at(d, s->head - 1)->previous = index + 1;
    s->head = index + 1;
}

/* The row of the part for one counted value: keys, value, copies. */
static void put_part_row(const struct leat_aggregate *a, const struct leat_agg_run *run, const char *group,
                         const struct leat_counted *v, struct leat_changes *out, size_t at) {
    size_t value = a->base.op->key_count;
    leat_group_emit_keys(a, &group, 1, out, at);
    memcpy((char *)out->columns[value].data + at * leat_type_size(run->argument), v->value,
           leat_type_size(run->argument));
    if (leat_type_is_string(run->argument)) leat_own_strings(out, value, at, 1);
    ((int64_t *)out->columns[value + 1].data)[at] = v->copies;
}

static void drop_value(struct leat_aggregate *a, const struct leat_agg_run *run, uint32_t index, bool tombstone) {
    struct leat_distinct *d = run->distinct;
    struct leat_entry *e = leat_keyed_at(&d->values, index);
    struct leat_counted *v = leat_entry_payload(e);
    char *group = leat_group_at(a, v->group);
    if (tombstone && e->flags & LEAT_ENTRY_SAVED)
        put_part_row(a, run, group, v, &d->tombstones, leat_save_tombstone(&d->tombstones));
    if (v->previous)
        counted_at(d, v->previous - 1)->next = v->next;
    else
        state_of(run, group)->head = v->next;
    if (v->next) counted_at(d, v->next - 1)->previous = v->previous;
    if (leat_type_is_string(run->argument)) leat_heap_string_free(&a->heap, (const struct leat_string *)v->value);
    leat_keyed_remove(&d->values, index);
}

void leat_distinct_update(struct leat_aggregate *a, const struct leat_agg_run *run, struct leat_agg_chunk *c,
                          const int32_t *weights) {
    struct leat_hash128 hashes[LEAT_AGG_CHUNK];
    uint32_t rows[LEAT_AGG_CHUNK], entries[LEAT_AGG_CHUNK], zero[LEAT_AGG_CHUNK];
    struct leat_distinct *d = run->distinct;
    const uint16_t argument = (uint16_t)run->spec->argument;
    size_t n = 0, zero_count = 0, size = leat_type_size(run->argument);
    leat_key_hash(c->in, c->from, c->n, &argument, 1, hashes);
    for (size_t i = 0; i < c->n; i++) {
        if (weights && !weights[i]) continue;
        rows[n] = (uint32_t)i;
        hashes[n++] = pair_hash(&leat_keyed_at(&a->groups, c->entries[i])->key, &hashes[i]);
    }
    leat_keyed_upsert(&d->values, hashes, n, entries);
    for (size_t k = 0; k < n; k++) {
        size_t i = rows[k];
        struct leat_entry *e = leat_keyed_at(&d->values, entries[k]);
        struct leat_counted *v = leat_entry_payload(e);
        struct leat_distinct_state *s = state_of(run, c->groups[i]);
        if (e->flags & LEAT_ENTRY_NEW) {
            e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
            leat_agg_set_value(a, run->argument, v->value,
                               (const char *)c->in->columns[argument].data + (c->from + i) * size);
            link_value(d, s, entries[k], c->entries[i]);
        }
        bool was = v->copies > 0;
        v->copies += weights ? weights[i] : 1;
        s->n += (int64_t)(v->copies > 0) - was;
        leat_keyed_mark_dirty(&d->values, e, entries[k]);
        if (!v->copies) zero[zero_count++] = entries[k];
    }
    for (size_t k = 0; k < zero_count; k++) {
        struct leat_entry *e = leat_keyed_at(&d->values, zero[k]);
        if (e->flags & LEAT_ENTRY_LIVE && !counted_at(d, zero[k])->copies) drop_value(a, run, zero[k], true);
    }
}

void leat_distinct_forget(struct leat_aggregate *a, const struct leat_agg_run *run, char *group, bool tombstones) {
    while (state_of(run, group)->head)
        drop_value(a, run, state_of(run, group)->head - 1, tombstones);
}

enum leat_status leat_distinct_save(struct leat_aggregate *a, const struct leat_agg_run *run, bool only_dirty,
                                    uint64_t *cursor, size_t max_rows, struct leat_changes *out) {
    struct leat_distinct *d = run->distinct;
    size_t n = 0, before = out->row_count;
    uint64_t entry_cursor;
    uint32_t index;
    if (!leat_save_tombstones(&d->tombstones, only_dirty, cursor, max_rows, out, &entry_cursor)) return LEAT_OK;
    size_t at = out->row_count, room = max_rows - (at - before);
    leat_changes_reserve(out, at + room);
    while (n < room && leat_keyed_next(&d->values, only_dirty, &entry_cursor, &index)) {
        const struct leat_counted *v = counted_at(d, index);
        put_part_row(a, run, leat_group_at(a, v->group), v, out, at + n++);
    }
    leat_save_added(&d->tombstones, only_dirty, out, n, entry_cursor, cursor);
    return out->row_count > before ? LEAT_OK : LEAT_END;
}

/* One chunk of the part, its groups found; hashes of group and value, rows of the batch. */
static void load_values(struct leat_aggregate *a, const struct leat_agg_run *run, const struct leat_changes *rows,
                        const struct leat_hash128 *hashes, const uint32_t *groups, const uint32_t *at, size_t n) {
    struct leat_distinct *d = run->distinct;
    size_t value = a->base.op->key_count, size = leat_type_size(run->argument);
    uint32_t entries[LEAT_AGG_CHUNK];
    leat_keyed_upsert(&d->values, hashes, n, entries);
    for (size_t i = 0; i < n; i++) {
        struct leat_entry *e = leat_keyed_at(&d->values, entries[i]);
        struct leat_counted *v = leat_entry_payload(e);
        if (e->flags & LEAT_ENTRY_NEW) {
            leat_agg_set_value(a, run->argument, v->value, (const char *)rows->columns[value].data + at[i] * size);
            link_value(d, state_of(run, leat_group_at(a, groups[i])), entries[i], groups[i]);
        }
        e->flags = LEAT_ENTRY_LIVE | LEAT_ENTRY_SAVED;
        v->copies = ((const int64_t *)rows->columns[value + 1].data)[at[i]];
    }
}

static void forget_values(struct leat_aggregate *a, const struct leat_agg_run *run, const struct leat_hash128 *hashes,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t found;
        leat_keyed_find(&run->distinct->values, &hashes[i], 1, &found);
        if (found != LEAT_NO_ENTRY) drop_value(a, run, found, false);
    }
}

/* Values of groups that a later increment took away have no group any more: part 0 was loaded first. */
void leat_distinct_load(struct leat_aggregate *a, const struct leat_agg_run *run, const struct leat_changes *rows) {
    const uint16_t value = (uint16_t)a->base.op->key_count;
    struct leat_hash128 keys[LEAT_AGG_CHUNK], hashes[LEAT_AGG_CHUNK];
    uint32_t groups[LEAT_AGG_CHUNK], at[LEAT_AGG_CHUNK];
    for (size_t from = 0, n; from < rows->row_count; from += n) {
        bool gone;
        size_t kept = 0;
        n = leat_save_run(rows, from, LEAT_AGG_CHUNK, &gone);
        leat_key_hash(rows, from, n, a->key_columns, value, keys);
        leat_key_hash(rows, from, n, &value, 1, hashes);
        leat_keyed_find(&a->groups, keys, n, groups);
        for (size_t i = 0; i < n; i++) {
            if (groups[i] == LEAT_NO_ENTRY) continue;
            hashes[kept] = pair_hash(&keys[i], &hashes[i]);
            groups[kept] = groups[i];
            at[kept++] = (uint32_t)(from + i);
        }
        if (gone)
            forget_values(a, run, hashes, kept);
        else
            load_values(a, run, rows, hashes, groups, at, kept);
    }
    leat_keyed_loaded(&run->distinct->values);
}
