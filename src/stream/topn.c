/* TOP_N: per key the rows whose place in a total order lies in (skip, skip + take], with their place if asked for.
 *
 * All rows are retained by key; those of a key also hang in a treap over the order, each node with the number of copies
 * below it, so that a change costs the logarithm of the key's rows plus what moved inside the window. A node's priority
 * is the hash of its row: the tree has one shape, whatever the order of arrival. The order is over all columns, so two
 * rows compare as equal only if they are the same row (canonically: -0.0 is 0.0).
 * In a step: list the windows of the touched keys, move their changed rows, list the windows again, give the
 * difference. Source: Seidel and Aragon, "Randomized Search Trees", 1996. */
#include "stream/node.h"

#include <stdlib.h>

#include "stream/arrangement.h"
#include "stream/compare.h"

/* Beside each row of the arrangement, by its index. */
struct place {
    uint32_t left, right;
    int64_t copies; /* as counted in the tree; 0: not in it */
    int64_t below;  /* copies of the whole subtree */
};
/* Copies of one row that are in a window, the first at place `rank`. */
struct shown {
    uint32_t row;
    int64_t rank, copies;
};
/* The windows of several keys, one behind the other: key i's is [starts[i], starts[i + 1]). */
struct shown_list {
    struct shown *items;
    size_t count, capacity;
    size_t *starts;
};

struct topn_node {
    struct leat_node base;
    struct leat_arrangement rows;
    struct place *places;
    uint32_t *roots; /* by index of the arrangement's key */
    size_t place_capacity, root_capacity;
    bool unplaced; /* rows were loaded that hang in no tree yet */
    struct shown_list before, after;
    const uint8_t **out_rows; /* the difference, before it is decoded */
    int32_t *out_weights;
    int64_t *out_ranks;
    size_t out_count, out_capacity;
};

/* ---- comparing encoded rows */

static bool value_at(const struct leat_row_codec *codec, const uint8_t *row, size_t column, struct leat_string *text,
                     const void **value) {
    if (row[column >> 3] >> (column & 7) & 1) return false;
    *value = row + codec->offsets[column];
    if (!leat_type_is_string(codec->types[column])) return true;
    *text = leat_row_string(codec, row, column);
    *value = text;
    return true;
}

/* Signed zeros are one value in an order: what they share goes on to the next column. */
static int compare_values(struct leat_type type, const void *a, const void *b) {
    if (type.kind == LEAT_DOUBLE) {
        double x, y;
        memcpy(&x, a, sizeof x), memcpy(&y, b, sizeof y);
        return x == y ? 0 : leat_compare_double(x, y);
    }
    if (type.kind == LEAT_FLOAT) {
        float x, y;
        memcpy(&x, a, sizeof x), memcpy(&y, b, sizeof y);
        return x == y ? 0 : leat_compare_double(x, y);
    }
    return leat_compare_value(type, a, b);
}

static int compare_rows(const struct topn_node *t, uint32_t a, uint32_t b) {
    const struct leat_row_codec *codec = &t->rows.codec;
    const struct leat_op *op = t->base.op;
    const uint8_t *x = leat_arranged_row_at(&t->rows, a)->bytes, *y = leat_arranged_row_at(&t->rows, b)->bytes;
    for (size_t i = 0; i < op->order_count && a != b; i++) {
        const struct leat_order *order = &op->orders[i];
        struct leat_string texts[2];
        const void *left = NULL, *right = NULL;
        bool has_left = value_at(codec, x, order->column, &texts[0], &left);
        bool has_right = value_at(codec, y, order->column, &texts[1], &right);
        if (!has_left && !has_right) continue;
        if (!has_left || !has_right) return has_left != order->nulls_first ? -1 : 1;
        int c = compare_values(codec->types[order->column], left, right);
        if (c) return order->descending ? -c : c;
    }
    return 0;
}

/* ---- the treap */

static struct place *place_of(const struct topn_node *t, uint32_t row) {
    return &t->places[row];
}

static int64_t below(const struct topn_node *t, uint32_t row) {
    return row == LEAT_NO_ENTRY ? 0 : place_of(t, row)->below;
}

static void add_up(const struct topn_node *t, uint32_t row) {
    struct place *p = place_of(t, row);
    p->below = p->copies + below(t, p->left) + below(t, p->right);
}

static bool above(const struct topn_node *t, uint32_t a, uint32_t b) {
    uint64_t x = leat_keyed_at(&t->rows.rows, a)->key.high, y = leat_keyed_at(&t->rows.rows, b)->key.high;
    return x != y ? x > y : a < b;
}

/* Every row of a comes before every row of b. */
static uint32_t merge(const struct topn_node *t, uint32_t a, uint32_t b) {
    if (a == LEAT_NO_ENTRY) return b;
    if (b == LEAT_NO_ENTRY) return a;
    bool first = above(t, a, b);
    uint32_t top = first ? a : b;
    if (first)
        place_of(t, a)->right = merge(t, place_of(t, a)->right, b);
    else
        place_of(t, b)->left = merge(t, a, place_of(t, b)->left);
    add_up(t, top);
    return top;
}

/* Into the rows before `row` and those after it; the tree does not hold it. */
static void split(const struct topn_node *t, uint32_t tree, uint32_t row, uint32_t *before, uint32_t *after) {
    if (tree == LEAT_NO_ENTRY) {
        *before = *after = LEAT_NO_ENTRY;
        return;
    }
    struct place *p = place_of(t, tree);
    if (compare_rows(t, tree, row) < 0) {
        split(t, p->right, row, &p->right, after);
        *before = tree;
    } else {
        split(t, p->left, row, before, &p->left);
        *after = tree;
    }
    add_up(t, tree);
}

static uint32_t insert(const struct topn_node *t, uint32_t tree, uint32_t row) {
    struct place *p = place_of(t, row);
    if (tree == LEAT_NO_ENTRY || above(t, row, tree)) {
        split(t, tree, row, &p->left, &p->right);
        add_up(t, row);
        return row;
    }
    struct place *top = place_of(t, tree);
    if (compare_rows(t, row, tree) < 0)
        top->left = insert(t, top->left, row);
    else
        top->right = insert(t, top->right, row);
    add_up(t, tree);
    return tree;
}

static uint32_t take_out(const struct topn_node *t, uint32_t tree, uint32_t row) {
    struct place *top = place_of(t, tree);
    if (tree == row) return merge(t, top->left, top->right);
    if (compare_rows(t, row, tree) < 0)
        top->left = take_out(t, top->left, row);
    else
        top->right = take_out(t, top->right, row);
    add_up(t, tree);
    return tree;
}

/* The row's place in its key's tree follows its weight. */
static void settle_row(struct topn_node *t, uint32_t index) {
    const struct leat_arranged_row *row = leat_arranged_row_at(&t->rows, index);
    struct place *p = place_of(t, index);
    uint32_t *root = &t->roots[row->key];
    int64_t copies = row->weight > 0 ? row->weight : 0;
    if (copies == p->copies) return;
    if (p->copies) *root = take_out(t, *root, index);
    *p = (struct place){.left = LEAT_NO_ENTRY, .right = LEAT_NO_ENTRY, .copies = copies};
    if (copies) *root = insert(t, *root, index);
}

/* Rows and keys that the arrangement has made since: not in any tree yet. */
static void make_room(struct topn_node *t) {
    if (t->rows.rows.bound > t->place_capacity) {
        size_t room = t->rows.rows.bound + (size_t)t->rows.rows.bound / 2 + 64;
        t->places = leat_realloc(t->places, room * sizeof *t->places);
        memset(t->places + t->place_capacity, 0, (room - t->place_capacity) * sizeof *t->places);
        t->place_capacity = room;
    }
    if (t->rows.keys.bound > t->root_capacity) {
        size_t room = t->rows.keys.bound + (size_t)t->rows.keys.bound / 2 + 64;
        t->roots = leat_realloc(t->roots, room * sizeof *t->roots);
        for (size_t i = t->root_capacity; i < room; i++)
            t->roots[i] = LEAT_NO_ENTRY;
        t->root_capacity = room;
    }
}

static void place_loaded(struct topn_node *t) {
    uint64_t cursor = 0;
    uint32_t index;
    make_room(t);
    while (leat_keyed_next(&t->rows.rows, false, &cursor, &index))
        settle_row(t, index);
    t->unplaced = false;
}

/* ---- windows */

static void show(struct shown_list *list, uint32_t row, int64_t rank, int64_t copies) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->items = leat_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = (struct shown){.row = row, .rank = rank, .copies = copies};
}

/* Lists what a tree has at the places (skip, end]; its first copy is at place `first`. */
static void list_window(const struct topn_node *t, uint32_t tree, int64_t first, struct shown_list *list) {
    int64_t skip = t->base.op->skip, end = t->base.op->skip + t->base.op->take;
    while (tree != LEAT_NO_ENTRY && first <= end && first + below(t, tree) > skip) {
        const struct place *p = place_of(t, tree);
        list_window(t, p->left, first, list);
        int64_t from = first + below(t, p->left), to = from + p->copies; /* [from, to) */
        if (from <= skip) from = skip + 1;
        if (to > end + 1) to = end + 1;
        if (from < to) show(list, tree, from, to - from);
        first += below(t, p->left) + p->copies;
        tree = p->right;
    }
}

static void list_windows(const struct topn_node *t, const uint32_t *keys, size_t count, struct shown_list *list) {
    list->count = 0;
    list->starts = leat_realloc(list->starts, (count + 1) * sizeof *list->starts);
    for (size_t i = 0; i < count; i++) {
        list->starts[i] = list->count;
        list_window(t, t->roots[keys[i]], 1, list);
    }
    list->starts[count] = list->count;
}

/* ---- the difference of two lists of windows */

static void give(struct topn_node *t, uint32_t row, int64_t weight, int64_t rank) {
    if (t->out_count == t->out_capacity) {
        t->out_capacity = t->out_capacity ? t->out_capacity * 2 : 64;
        t->out_rows = leat_realloc(t->out_rows, t->out_capacity * sizeof *t->out_rows);
        t->out_weights = leat_realloc(t->out_weights, t->out_capacity * sizeof *t->out_weights);
        t->out_ranks = leat_realloc(t->out_ranks, t->out_capacity * sizeof *t->out_ranks);
    }
    t->out_rows[t->out_count] = leat_arranged_row_at(&t->rows, row)->bytes;
    t->out_weights[t->out_count] = (int32_t)weight;
    t->out_ranks[t->out_count++] = rank;
}

/* Without places: how many copies of a row are shown. A row is in a list at most once, so marks by row suffice. */
static void differ_by_copies(struct topn_node *t) {
    struct leat_keyed *rows = &t->rows.rows;
    for (size_t i = 0; i < t->before.count; i++)
        leat_keyed_at(rows, t->before.items[i].row)->epoch = (uint32_t)i + 1;
    for (size_t i = 0; i < t->after.count; i++) {
        struct shown *now = &t->after.items[i];
        uint32_t mark = leat_keyed_at(rows, now->row)->epoch;
        struct shown *old = mark ? &t->before.items[mark - 1] : NULL;
        int64_t change = now->copies - (old ? old->copies : 0);
        if (old) old->copies = 0;
        if (change) give(t, now->row, change, 0);
    }
    for (size_t i = 0; i < t->before.count; i++) {
        leat_keyed_at(rows, t->before.items[i].row)->epoch = 0;
        if (t->before.items[i].copies) give(t, t->before.items[i].row, -t->before.items[i].copies, 0);
    }
}

/* With places: one row for each place; both lists begin at the same one. */
static void differ_by_place(struct topn_node *t, struct shown *old, const struct shown *old_end, struct shown *now,
                            const struct shown *now_end) {
    while (old < old_end || now < now_end) {
        bool was = old < old_end, is = now < now_end, moved = !was || !is || old->row != now->row;
        int64_t n = !is || (was && old->copies < now->copies) ? old->copies : now->copies;
        for (int64_t k = 0; moved && k < n; k++) {
            if (was) give(t, old->row, -1, old->rank + k);
            if (is) give(t, now->row, 1, now->rank + k);
        }
        if (was) old->rank += n, old->copies -= n;
        if (is) now->rank += n, now->copies -= n;
        if (was && !old->copies) old++;
        if (is && !now->copies) now++;
    }
}

/* Rows that have fallen behind the last place, where nothing is ever taken back. */
static void forget(struct topn_node *t, uint32_t key) {
    int64_t end = t->base.op->skip + t->base.op->take, over;
    while ((over = below(t, t->roots[key]) - end) > 0) {
        uint32_t last = t->roots[key];
        while (place_of(t, last)->right != LEAT_NO_ENTRY)
            last = place_of(t, last)->right;
        int64_t copies = place_of(t, last)->copies;
        leat_arrangement_set_weight(&t->rows, last, copies > over ? copies - over : 0);
        settle_row(t, last);
    }
}

static void emit(struct topn_node *t, struct leat_changes *out) {
    size_t at = out->row_count, columns = t->rows.codec.count;
    if (!t->out_count) return;
    leat_changes_need_weights(out);
    leat_changes_reserve(out, at + t->out_count);
    leat_row_read(&t->rows.codec, t->out_rows, t->out_count, out, 0, at);
    memcpy(out->weights + at, t->out_weights, t->out_count * sizeof *t->out_weights);
    if (t->base.op->ranked)
        memcpy((int64_t *)out->columns[columns].data + at, t->out_ranks, t->out_count * sizeof *t->out_ranks);
    out->row_count += t->out_count;
    t->out_count = 0;
}

/* ---- the node */

static enum leat_status topn_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct topn_node *t = (struct topn_node *)node;
    const struct leat_op *op = node->op;
    const struct leat_schema *in = node->inputs[0];
    (void)conn;
    if (op->schema.field_count != in->field_count + op->ranked || op->order_count < in->field_count)
        return leat_fail(err, LEAT_INVALID, "operator %d: TOP_N gives %zu columns of %zu and orders by %zu", node->id,
                         op->schema.field_count, in->field_count, op->order_count);
    leat_arrangement_init(&t->rows, in, NULL, 0, op->keys, op->key_count);
    t->rows.lists_changed = true;
    return LEAT_OK;
}

static void topn_close(struct leat_node *node) {
    struct topn_node *t = (struct topn_node *)node;
    leat_arrangement_deinit(&t->rows);
    free(t->places);
    free(t->roots);
    free(t->before.items), free(t->before.starts);
    free(t->after.items), free(t->after.starts);
    free(t->out_rows);
    free(t->out_weights);
    free(t->out_ranks);
}

/* The keys of the changed rows, each once; malloc'd. */
static uint32_t *touched_keys(const struct topn_node *t, size_t *count) {
    const struct leat_index_list *changed = &t->rows.changed;
    uint32_t *keys = leat_realloc(NULL, (changed->count + 1) * sizeof *keys);
    *count = 0;
    for (size_t i = 0; i < changed->count; i++) {
        uint32_t key = leat_arranged_row_at(&t->rows, changed->items[i])->key;
        struct leat_entry *e = leat_keyed_at(&t->rows.keys, key);
        if (e->epoch) continue;
        e->epoch = 1;
        keys[(*count)++] = key;
    }
    for (size_t i = 0; i < *count; i++)
        leat_keyed_at(&t->rows.keys, keys[i])->epoch = 0;
    return keys;
}

static enum leat_status topn_step(struct leat_node *node, const struct leat_step_context *context,
                                  const struct leat_changes *const inputs[2], struct leat_changes *out,
                                  struct leat_error *err) {
    struct topn_node *t = (struct topn_node *)node;
    const struct leat_changes *in = inputs[0];
    size_t count;
    (void)context, (void)err;
    if (!in) return LEAT_OK;
    if (t->unplaced) place_loaded(t);
    struct leat_hash128 *hashes = leat_realloc(NULL, in->row_count * sizeof *hashes);
    leat_key_hash(in, 0, in->row_count, node->op->keys, node->op->key_count, hashes);
    leat_arrangement_apply(&t->rows, in, hashes, NULL);
    make_room(t);
    uint32_t *keys = touched_keys(t, &count);
    node->stats.keys_touched += count;
    list_windows(t, keys, count, &t->before);
    for (size_t i = 0; i < t->rows.changed.count; i++)
        settle_row(t, t->rows.changed.items[i]);
    list_windows(t, keys, count, &t->after);
    if (!node->op->ranked) differ_by_copies(t);
    for (size_t i = 0; i < count && node->op->ranked; i++)
        differ_by_place(t, t->before.items + t->before.starts[i], t->before.items + t->before.starts[i + 1],
                        t->after.items + t->after.starts[i], t->after.items + t->after.starts[i + 1]);
    emit(t, out);
    for (size_t i = 0; i < count && node->op->forgets; i++)
        forget(t, keys[i]);
    leat_arrangement_sweep(&t->rows);
    free(keys);
    free(hashes);
    return LEAT_OK;
}

static void topn_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct topn_node *t = (const struct topn_node *)node;
    out->state_keys = t->rows.rows.count;
    out->state_bytes =
        leat_arrangement_bytes(&t->rows) + t->place_capacity * sizeof *t->places + t->root_capacity * sizeof *t->roots;
}

static size_t topn_parts(const struct leat_node *node) {
    (void)node;
    return 1;
}

static const struct leat_schema *topn_part_schema(const struct leat_node *node, size_t part) {
    (void)part;
    return &((const struct topn_node *)node)->rows.part_schema;
}

static enum leat_status topn_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor,
                                  size_t max_rows, struct leat_changes *out, struct leat_error *err) {
    (void)part, (void)err;
    return leat_arrangement_save(&((struct topn_node *)node)->rows, only_dirty, cursor, max_rows, out);
}

static void topn_clean(struct leat_node *node) {
    leat_arrangement_clean(&((struct topn_node *)node)->rows);
}

static uint64_t topn_part_rows(const struct leat_node *node, size_t part) {
    (void)part;
    return ((const struct topn_node *)node)->rows.rows.count;
}

static void topn_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    (void)part;
    leat_keyed_reserve(&((struct topn_node *)node)->rows.rows, rows);
}

static enum leat_status topn_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                  struct leat_error *err) {
    struct topn_node *t = (struct topn_node *)node;
    (void)part, (void)err;
    leat_arrangement_load(&t->rows, rows);
    t->unplaced = true;
    return LEAT_OK;
}

static const struct leat_node_ops topn_ops = {.open = topn_open,
                                              .close = topn_close,
                                              .step = topn_step,
                                              .stats = topn_stats,
                                              .parts = topn_parts,
                                              .part_schema = topn_part_schema,
                                              .save = topn_save,
                                              .clean = topn_clean,
                                              .part_rows = topn_part_rows,
                                              .load_hint = topn_load_hint,
                                              .load = topn_load};
const struct leat_node_kind leat_node_topn = {&topn_ops, sizeof(struct topn_node)};
