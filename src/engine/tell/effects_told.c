/* A table made anew after a crash: its sinks were told changes of steps that the lake had not. The difference to the lake is corrected by them,
 * so that nothing is told twice and what is no longer true is taken back. */
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "engine/tell/effects.h"

/* By key: what the sink was told last. As events: how often a row was told, the key being the row. */
struct told { struct leat_hash128 key, row; size_t order; int64_t times; bool gone, used; char *bytes; size_t byte_count; };
struct told_list { struct told *items; size_t count, capacity; bool upserts; };

static struct leat_hash128 hash_bytes(const char *bytes, size_t n) {
    XXH128_hash_t hash = XXH3_128bits(bytes, n);
    return (struct leat_hash128){hash.low64, hash.high64};
}

static int compare_hashes(const struct leat_hash128 *a, const struct leat_hash128 *b) {
    if (a->high != b->high) return a->high < b->high ? -1 : 1;
    return (a->low > b->low) - (a->low < b->low);
}

static int by_key(const void *a, const void *b) {
    const struct told *x = a, *y = b;
    int order = compare_hashes(&x->key, &y->key);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void collect(void *context, const struct leat_outbox_effect *effect) {
    struct told_list *list = context;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 256;
        list->items = leat_realloc(list->items, list->capacity * sizeof *list->items);
    }
    bool gone = leat_effect_removes(effect->kind);
    struct told told = {.row = effect->row, .order = list->count, .gone = gone, .times = gone ? -1 : 1};
    told.key = list->upserts ? hash_bytes(effect->key, effect->key_bytes) : effect->row;
    if (list->upserts) {
        told.bytes = leat_alloc(effect->key_bytes + 1);
        told.byte_count = effect->key_bytes;
        memcpy(told.bytes, effect->key, effect->key_bytes);
    }
    list->items[list->count++] = told;
}

/* One entry a key: the last, or the sum. */
static void settle(struct told_list *list) {
    size_t kept = 0;
    if (list->count) qsort(list->items, list->count, sizeof *list->items, by_key);
    for (size_t i = 0; i < list->count; i++) {
        if (kept && compare_hashes(&list->items[kept - 1].key, &list->items[i].key) == 0) {
            int64_t times = list->items[kept - 1].times + list->items[i].times;
            free(list->items[kept - 1].bytes);
            list->items[kept - 1] = list->items[i];
            list->items[kept - 1].times = times;
        } else {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

static struct told *find(const struct told_list *list, struct leat_hash128 key) {
    struct told wanted = {.key = key};
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare_hashes(&list->items[middle].key, &wanted.key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->count && compare_hashes(&list->items[low].key, &key) == 0 ? &list->items[low] : NULL;
}

static void add(struct leat_changes *to, const struct leat_changes *from, size_t row, int32_t weight) {
    uint32_t index = (uint32_t)row;
    int32_t was = leat_weight(from, row);
    size_t at = to->row_count;
    if (!weight) return;
    leat_changes_append(to, from, &index, 1, 1);
    if (weight == was) return;
    leat_changes_need_weights(to);
    to->weights[at] = weight;
}

/* Rows that were told are taken off the difference. */
static void correct_events(const struct leat_effects *e, const struct told_list *list, const struct leat_changes *diff, struct leat_changes *out) {
    struct leat_hash128 *rows = leat_alloc((diff->row_count + 1) * sizeof *rows);
    leat_key_hash(diff, 0, diff->row_count, e->all, diff->schema->field_count, rows);
    for (size_t i = 0; i < diff->row_count; i++) {
        struct told *told = find(list, rows[i]);
        int32_t weight = leat_weight(diff, i);
        if (told && (weight > 0) == (told->times > 0)) {
            int64_t less = llabs(told->times) < llabs((long long)weight) ? told->times : weight;
            told->times -= less;
            weight -= (int32_t)less;
        }
        add(out, diff, i, weight);
    }
    free(rows);
}

/* Keys that were told get what they are now, where it is not what was told; the others the difference. */
static enum leat_status correct_keys(const struct leat_effects *e, const struct told_list *list, const struct leat_changes *diff,
                                     const struct leat_changes *content, struct leat_changes *out, struct leat_error *err) {
    size_t keys = e->table->def->primary_key_count;
    struct leat_buffer key = {0};
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < diff->row_count && st == LEAT_OK; i++) {
        leat_buffer_reset(&key);
        st = leat_key_encode(diff, i, e->key, keys, &key, err);
        if (st == LEAT_OK && !find(list, hash_bytes(key.data, key.length))) add(out, diff, i, leat_weight(diff, i));
    }
    for (size_t i = 0; i < content->row_count && st == LEAT_OK; i++) {
        leat_buffer_reset(&key);
        if ((st = leat_key_encode(content, i, e->key, keys, &key, err)) != LEAT_OK) break;
        struct told *told = find(list, hash_bytes(key.data, key.length));
        struct leat_hash128 row;
        if (!told) continue;
        leat_key_hash(content, i, 1, e->all, content->schema->field_count, &row);
        told->used = true;
        if (told->gone || compare_hashes(&row, &told->row) != 0) add(out, content, i, 1);
    }
    for (size_t i = 0; i < list->count && st == LEAT_OK; i++) {
        const struct told *told = &list->items[i];
        if (told->used || told->gone) continue;
        st = leat_key_decode(told->bytes, told->byte_count, e->key, keys, out, err); /* nothing else is known of the row that goes */
        if (st != LEAT_OK) break;
        leat_changes_need_weights(out);
        out->weights[out->row_count - 1] = -1;
    }
    leat_buffer_deinit(&key);
    return st;
}

enum leat_status leat_effects_emit_untold(struct leat_effects *e, const struct leat_changes *diff, const struct leat_changes *content, uint64_t since,
                                          uint64_t mark, struct leat_error *err) {
    struct told_list list = {.upserts = e->upserts};
    struct leat_changes corrected;
    leat_changes_init(&corrected, diff->schema);
    enum leat_status st = leat_outbox_visit(e->outbox, since, collect, &list, err);
    settle(&list);
    if (st == LEAT_OK && !list.count)
        st = leat_effects_emit(e, diff, mark, err);
    else if (st == LEAT_OK && !e->upserts)
        correct_events(e, &list, diff, &corrected);
    else if (st == LEAT_OK)
        st = correct_keys(e, &list, diff, content, &corrected, err);
    if (st == LEAT_OK && list.count) st = leat_effects_emit(e, &corrected, mark, err);
    leat_changes_deinit(&corrected);
    for (size_t i = 0; i < list.count; i++) free(list.items[i].bytes);
    free(list.items);
    return st;
}
