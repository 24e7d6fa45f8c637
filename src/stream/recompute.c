/* RECOMPUTE: DuckDB computes anew just the keys that changed.
 *
 * The inputs are retained by key. For the touched keys of a step, all at once, the op's query (which is partitioned by
 * the keys) runs over their rows before and after; the output is new minus old. Rows with a weight become that many
 * copies. Of a join that judges each left row by itself (op->by_row), and a key of which only left rows changed, those alone are joined: what went with the
 * right rows before, what came with them now, which are the same. Rows that no change to come meets (op->apart) are forgotten: what a join gave of them is the same
 * before and after, and is left. A key for which the query raises is found by halving, withheld (it has no output rows), and tried again
 * whenever it changes. */
#include "stream/node.h"

#include <stdlib.h>
#include <string.h>

#include "stream/arrangement.h"
#include "stream/save.h"

enum { ALONE_MAX = 8 }; /* withheld keys tried alone at most; more are halved: they may have recovered together */

struct recompute_node {
    struct leat_node base;
    struct leat_conn *conn;
    size_t side_count;
    struct leat_arrangement sides[2];
    char *names[2];
    struct leat_stage *stage;
    struct leat_changes merged, result; /* of op->schema */
    struct leat_keyed withheld;         /* struct withheld_key */
    struct leat_row_codec key_codec;    /* the key columns of side 0 */
    struct leat_schema withheld_schema; /* key columns, reason */
    struct leat_changes withheld_gone;
    struct leat_heap heap;
    bool started; /* without keys: the one group has given its first result */
};
struct withheld_key {
    uint8_t *key;
    struct leat_string reason;
};
/* The rows of the touched keys at one time: key i's rows of side s are [starts[s][i], starts[s][i+1]). */
struct key_rows {
    struct leat_changes rows[2];
    size_t *starts[2];
};
struct touched {
    struct leat_hash128 *hashes;
    size_t *examples; /* a row of the step's input (side 0 first, then side 1) that has the key */
    bool *skip_old;   /* withheld until now: had no output */
    bool *failed;
    bool *by_row;     /* only its left rows that changed are computed */
    size_t count, sound; /* the first `sound` were not withheld until now */
    size_t by_row_count;
    /* The step's left rows, encoded, and of each key (by_row) which they are: one more than the first, and than the next of each. */
    struct leat_row_block left;
    uint32_t *first, *next;
};

static const uint16_t *side_keys(const struct leat_op *op, size_t side) {
    return side ? op->right_keys : op->keys;
}

/* The query with its input names made this node's own. */
static char *bind_names(struct recompute_node *r) {
    static const char *const placeholders[2] = {"leat_input('in')", "leat_input('right')"};
    struct leat_buffer sql = {0};
    for (const char *at = r->base.op->sql; *at;) {
        size_t side = 0;
        while (side < r->side_count && strncmp(at, placeholders[side], strlen(placeholders[side])) != 0)
            side++;
        if (side == r->side_count) {
            leat_putn(&sql, at++, 1);
            continue;
        }
        leat_put(&sql, "leat_input(");
        leat_put_sql_string(&sql, r->names[side]);
        leat_put(&sql, ")");
        at += strlen(placeholders[side]);
    }
    return sql.data;
}

static enum leat_status recompute_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct recompute_node *r = (struct recompute_node *)node;
    const struct leat_op *op = node->op;
    r->conn = conn;
    r->side_count = node->inputs[1] && op->child_count > 1 ? 2 : 1;
    if (r->side_count == 2 && op->key_count && !op->right_keys)
        return leat_fail(err, LEAT_INVALID, "operator %d: RECOMPUTE over two inputs needs keys of both", node->id);
    for (size_t s = 0; s < r->side_count; s++) {
        leat_arrangement_init(&r->sides[s], node->inputs[s], NULL, 0, side_keys(op, s), op->key_count);
        r->names[s] = leat_asprintf("n%d_%s", node->id, s ? "right" : "in");
        enum leat_status status = leat_conn_input(conn, r->names[s], node->inputs[s], false, err);
        if (status) return status;
        if (op->apart.known && op->apart.keep_us[s] != INT64_MAX) leat_arrangement_end_by(&r->sides[s], op->apart.columns[s], op->apart.keep_us[s]);
    }
    leat_changes_init(&r->merged, &op->schema);
    leat_changes_init(&r->result, &op->schema);
    leat_keyed_init(&r->withheld, sizeof(struct withheld_key));
    leat_row_codec_init(&r->key_codec, node->inputs[0], op->keys, op->key_count);
    for (size_t k = 0; k < op->key_count; k++) {
        const struct leat_field *field = &node->inputs[0]->fields[op->keys[k]];
        leat_schema_add(&r->withheld_schema, field->name, field->type, false);
    }
    leat_schema_add(&r->withheld_schema, "reason", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    leat_changes_init(&r->withheld_gone, &r->withheld_schema);
    return LEAT_OK;
}

/* As a MAP's: made when the first rows come. */
static enum leat_status need_stage(struct recompute_node *r, struct leat_error *err) {
    if (r->stage) return LEAT_OK;
    char *sql = bind_names(r);
    enum leat_status status = leat_stage_prepare(r->conn, sql, &r->stage, err);
    free(sql);
    return status;
}

static void recompute_close(struct leat_node *node) {
    struct recompute_node *r = (struct recompute_node *)node;
    for (size_t s = 0; s < 2; s++) {
        if (r->names[s]) leat_conn_bind(r->conn, r->names[s], NULL);
        free(r->names[s]);
        leat_arrangement_deinit(&r->sides[s]);
    }
    leat_stage_free(r->stage);
    if (r->merged.schema) leat_changes_deinit(&r->merged);
    if (r->result.schema) leat_changes_deinit(&r->result);
    if (r->withheld_gone.schema) leat_changes_deinit(&r->withheld_gone);
    leat_schema_deinit(&r->withheld_schema);
    leat_keyed_deinit(&r->withheld);
    leat_row_codec_deinit(&r->key_codec);
    leat_heap_deinit(&r->heap);
}

static void touched_deinit(struct touched *t) {
    free(t->hashes);
    free(t->examples);
    free(t->skip_old);
    free(t->failed);
    free(t->by_row);
    free(t->first);
    free(t->next);
    leat_row_block_deinit(&t->left);
}

static void add_touched(struct touched *t, const struct leat_hash128 *hash, size_t example, bool withheld) {
    t->skip_old[t->count] = withheld;
    t->examples[t->count] = example;
    t->hashes[t->count++] = *hash;
}

/* Keys that were withheld go last: they will likely raise again, which halving would find anew among the others. */
static void order_touched(struct touched *t) {
    struct touched all = *t;
    *t = (struct touched){.hashes = leat_alloc((all.count + 1) * sizeof *t->hashes),
                          .examples = leat_alloc((all.count + 1) * sizeof *t->examples),
                          .skip_old = leat_alloc(all.count + 1),
                          .failed = leat_alloc(all.count + 1),
                          .by_row = leat_alloc(all.count + 1)};
    for (int withheld = 0; withheld < 2; withheld++) {
        for (size_t i = 0; i < all.count; i++)
            if (all.skip_old[i] == withheld) add_touched(t, &all.hashes[i], all.examples[i], withheld);
        if (!withheld) t->sound = t->count;
    }
    touched_deinit(&all);
}

/* Keys of which no right row changed: their left rows are chained, the earliest first. number_of: of each input row (side 0 first) its key's. */
static void find_by_row(struct recompute_node *r, const struct leat_changes *const inputs[2], const uint32_t *number_of, struct touched *t) {
    size_t left_rows = inputs[0] ? inputs[0]->row_count : 0, right_rows = inputs[1] ? inputs[1]->row_count : 0;
    if (!r->base.op->by_row || !r->base.op->key_count || !left_rows) return;
    for (size_t i = 0; i < t->count; i++) t->by_row[i] = true;
    for (size_t i = 0; i < right_rows; i++) t->by_row[number_of[left_rows + i]] = false;
    for (size_t i = 0; i < t->count; i++) t->by_row_count += t->by_row[i];
    if (!t->by_row_count) return;
    t->first = leat_alloc(t->count * sizeof *t->first);
    t->next = leat_alloc(left_rows * sizeof *t->next);
    for (size_t i = left_rows; i > 0; i--) {
        t->next[i - 1] = t->first[number_of[i - 1]];
        t->first[number_of[i - 1]] = (uint32_t)i;
    }
    leat_row_encode(&r->sides[0].codec, inputs[0], NULL, 0, left_rows, &t->left);
}

/* The distinct keys of the step's inputs, in order of appearance. */
static void list_touched(struct recompute_node *r, const struct leat_changes *const inputs[2],
                         struct leat_hash128 *const hashes[2], struct touched *t) {
    struct leat_keyed seen;
    size_t most = 1, base = 0;
    bool any_withheld = false;
    for (size_t s = 0; s < r->side_count; s++)
        if (inputs[s]) most += inputs[s]->row_count;
    *t = (struct touched){.hashes = leat_alloc(most * sizeof *t->hashes),
                          .examples = leat_alloc(most * sizeof *t->examples),
                          .skip_old = leat_alloc(most),
                          .failed = leat_alloc(most),
                          .by_row = leat_alloc(most)};
    uint32_t *number_of = leat_alloc(most * sizeof *number_of);
    leat_keyed_init(&seen, sizeof(uint32_t));
    for (size_t s = 0; s < r->side_count; s++) {
        for (size_t i = 0; inputs[s] && i < inputs[s]->row_count; i++) {
            uint32_t index, found;
            leat_keyed_upsert(&seen, &hashes[s][i], 1, &index);
            struct leat_entry *e = leat_keyed_at(&seen, index);
            uint32_t *number = leat_entry_payload(e);
            if (e->flags & LEAT_ENTRY_NEW) *number = (uint32_t)t->count;
            number_of[base + i] = *number;
            if (!(e->flags & LEAT_ENTRY_NEW)) continue;
            e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
            leat_keyed_find(&r->withheld, &hashes[s][i], 1, &found);
            add_touched(t, &hashes[s][i], base + i, found != LEAT_NO_ENTRY);
            any_withheld |= found != LEAT_NO_ENTRY;
        }
        if (inputs[s]) base += inputs[s]->row_count;
    }
    if (!t->count && !r->base.op->key_count) { /* the one group of a query without keys */
        leat_key_hash(&r->merged, 0, 1, NULL, 0, &t->hashes[0]);
        t->count = 1;
    }
    leat_keyed_deinit(&seen);
    t->sound = t->count;
    if (any_withheld)
        order_touched(t);
    else
        find_by_row(r, inputs, number_of, t);
    free(number_of);
}

/* Pointers to encoded rows, gathered before they are decoded together. */
struct row_list {
    const uint8_t **bytes;
    size_t count, capacity;
};

static void list_row(struct row_list *list, const uint8_t *bytes, int64_t copies) {
    for (int64_t copy = 0; copy < copies; copy++) {
        if (list->count == list->capacity) {
            list->capacity = list->capacity ? list->capacity * 2 : 256;
            list->bytes = leat_realloc(list->bytes, list->capacity * sizeof *list->bytes);
        }
        list->bytes[list->count++] = bytes;
    }
}

/* Lists the rows of one key of a side, as many times as their weights say. */
static void list_key(const struct leat_arrangement *a, const struct leat_hash128 *hash, struct row_list *list) {
    uint32_t found;
    leat_keyed_find(&a->keys, hash, 1, &found);
    if (found == LEAT_NO_ENTRY) return;
    const struct leat_arranged_key *key = leat_arranged_key_at(a, found);
    uint32_t left = key->row_count;
    for (uint32_t at = key->head; left; left--) {
        const struct leat_arranged_row *row = leat_arranged_row_at(a, at);
        list_row(list, row->bytes, row->weight);
        at = row->next;
    }
}

/* The left rows of a key that went (sign -1) or came in this step. */
static void list_changed(const struct touched *t, size_t key, const struct leat_changes *left, int sign, struct row_list *list) {
    for (uint32_t row = t->first[key]; row; row = t->next[row - 1])
        list_row(list, t->left.bytes + t->left.starts[row - 1], (int64_t)sign * leat_weight(left, row - 1));
}

/* Of keys that are computed whole their rows; or, with `changed`, the left rows of the others that went or came, beside all their right ones. */
static void collect(struct recompute_node *r, const struct touched *t, bool old, const struct leat_changes *changed, struct key_rows *k) {
    struct row_list list = {0};
    for (size_t s = 0; s < r->side_count; s++) {
        list.count = 0;
        k->starts[s] = leat_alloc((t->count + 1) * sizeof *k->starts[s]);
        for (size_t i = 0; i < t->count; i++) {
            k->starts[s][i] = list.count;
            if (t->by_row[i] != (changed != NULL) || (old && t->skip_old[i])) continue;
            if (changed && s == 0)
                list_changed(t, i, changed, old ? -1 : 1, &list);
            else
                list_key(&r->sides[s], &t->hashes[i], &list);
        }
        k->starts[s][t->count] = list.count;
        leat_changes_init(&k->rows[s], r->base.inputs[s]);
        leat_changes_reserve(&k->rows[s], list.count);
        leat_row_read(&r->sides[s].codec, list.bytes, list.count, &k->rows[s], 0, 0);
        k->rows[s].row_count = list.count;
    }
    free(list.bytes);
}

static void key_rows_deinit(struct key_rows *k) {
    for (size_t s = 0; s < 2; s++) {
        if (k->rows[s].schema) leat_changes_deinit(&k->rows[s]);
        free(k->starts[s]);
    }
}

static void append_range(struct leat_changes *out, const struct leat_changes *from, size_t first, size_t n) {
    leat_changes_reserve(out, n);
    for (size_t i = 0; i < out->schema->field_count; i++)
        leat_gather(out, i, 0, from, i, NULL, first, n);
    out->row_count = n;
}

/* Runs the query over the rows of keys [from, to), appending to r->result; a key that raises is marked failed. */
static enum leat_status run_keys(struct recompute_node *r, const struct key_rows *k, struct touched *t, size_t from,
                                 size_t to, char **reasons, struct leat_error *err) {
    struct leat_changes part[2] = {0};
    size_t before = r->result.row_count;
    for (size_t s = 0; s < r->side_count; s++) {
        size_t first = k->starts[s][from], end = k->starts[s][to];
        if (first == 0 && end == k->rows[s].row_count) {
            leat_conn_bind(r->conn, r->names[s], &k->rows[s]);
            continue;
        }
        leat_changes_init(&part[s], k->rows[s].schema);
        append_range(&part[s], &k->rows[s], first, end - first);
        leat_conn_bind(r->conn, r->names[s], &part[s]);
    }
    enum leat_status status = leat_stage_run(r->stage, &r->result, NULL, err);
    for (size_t s = 0; s < r->side_count; s++) {
        leat_conn_bind(r->conn, r->names[s], NULL);
        if (part[s].schema) leat_changes_deinit(&part[s]);
    }
    if (status == LEAT_OK || !err->bad_data || err->fatal) return status;
    leat_changes_truncate(&r->result, before);
    if (to - from == 1) {
        t->failed[from] = true;
        if (reasons) reasons[from] = leat_strdup(err->text);
        return LEAT_OK;
    }
    size_t middle = from + (to - from) / 2;
    status = run_keys(r, k, t, from, middle, reasons, err);
    return status ? status : run_keys(r, k, t, middle, to, reasons, err);
}

static void release_withheld(struct recompute_node *r, uint32_t index) {
    struct leat_entry *e = leat_keyed_at(&r->withheld, index);
    struct withheld_key *w = leat_entry_payload(e);
    if (e->flags & LEAT_ENTRY_SAVED) {
        const uint8_t *rows[1] = {w->key};
        size_t at = leat_save_tombstone(&r->withheld_gone);
        leat_row_read(&r->key_codec, rows, 1, &r->withheld_gone, 0, at);
        leat_set_null(&r->withheld_gone, r->key_codec.count, at);
    }
    if (w->key) leat_heap_free(&r->heap, w->key, leat_row_stored_size(&r->key_codec, w->key));
    leat_heap_string_free(&r->heap, &w->reason);
    leat_keyed_remove(&r->withheld, index);
}

/* The key is that of row `row` of `rows`, whose key columns are at `columns`. */
static void withhold(struct recompute_node *r, const struct leat_hash128 *hash, const struct leat_changes *rows,
                     size_t row, const uint16_t *columns, const struct leat_string *reason) {
    struct leat_row_codec codec = r->key_codec;
    struct leat_row_block block = {0};
    uint32_t index;
    leat_keyed_upsert(&r->withheld, hash, 1, &index);
    struct leat_entry *e = leat_keyed_at(&r->withheld, index);
    struct withheld_key *w = leat_entry_payload(e);
    if (!w->key) {
        codec.columns = (uint16_t *)(uintptr_t)columns;
        leat_row_encode(&codec, rows, NULL, row, 1, &block);
        w->key = leat_heap_alloc(&r->heap, block.starts[1]);
        memcpy(w->key, block.bytes, block.starts[1]);
        leat_row_block_deinit(&block);
    }
    leat_heap_string_free(&r->heap, &w->reason);
    w->reason = leat_heap_string(&r->heap, reason);
    leat_keyed_mark_dirty(&r->withheld, e, index);
}

/* Keys that failed are withheld now, the other touched ones no longer. */
static void settle_withheld(struct recompute_node *r, const struct touched *t, char *const *reasons,
                            const struct leat_changes *const inputs[2]) {
    size_t left_rows = inputs[0] ? inputs[0]->row_count : 0;
    for (size_t i = 0; i < t->count; i++) {
        if (t->failed[i]) {
            size_t side = t->examples[i] < left_rows ? 0 : 1;
            struct leat_string reason = leat_string_of(reasons[i], (uint32_t)strlen(reasons[i]));
            withhold(r, &t->hashes[i], inputs[side], t->examples[i] - (side ? left_rows : 0),
                     side_keys(r->base.op, side), &reason);
        } else if (t->skip_old[i]) {
            uint32_t found;
            leat_keyed_find(&r->withheld, &t->hashes[i], 1, &found);
            if (found != LEAT_NO_ENTRY) release_withheld(r, found);
        }
    }
}

static bool has_rows(const struct recompute_node *r, const struct key_rows *k) {
    for (size_t s = 0; s < r->side_count; s++)
        if (k->rows[s].row_count) return true;
    return false;
}

/* Runs the query over all touched keys and adds its result with `sign` to r->merged. */
static enum leat_status run_all(struct recompute_node *r, const struct key_rows *k, struct touched *t, int32_t sign,
                                char **reasons, struct leat_error *err) {
    leat_changes_reset(&r->result);
    enum leat_status status = need_stage(r, err);
    if (status) return status;
    if (t->sound) status = run_keys(r, k, t, 0, t->sound, reasons, err);
    size_t withheld = sign > 0 ? t->count - t->sound : 0, width = withheld <= ALONE_MAX ? 1 : withheld;
    for (size_t i = t->sound; i < t->sound + withheld && status == LEAT_OK; i += width)
        status = run_keys(r, k, t, i, i + width, reasons, err);
    if (status == LEAT_OK) leat_changes_append(&r->merged, &r->result, NULL, r->result.row_count, sign);
    return status;
}

/* Adds to r->merged what the changed left rows of keys by row give. If the query raises for one, it is as if all keys had been taken whole, which tells what is
 * to be withheld. */
static enum leat_status run_by_row(struct recompute_node *r, const struct leat_changes *left, struct touched *t, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    bool failed = false;
    for (int sign = -1; sign <= 1 && t->by_row_count && status == LEAT_OK && !failed; sign += 2) {
        struct key_rows k = {0};
        collect(r, t, sign < 0, left, &k);
        if (k.rows[0].row_count) status = run_all(r, &k, t, sign, NULL, err);
        for (size_t i = 0; i < t->count; i++) failed |= t->failed[i];
        key_rows_deinit(&k);
    }
    if (failed) {
        memset(t->by_row, 0, t->count);
        memset(t->failed, 0, t->count);
        leat_changes_reset(&r->merged);
    }
    return status;
}

/* While a key is withheld, what its rows give has still to come. */
static void forget_ended(struct recompute_node *r, const struct leat_step_context *context) {
    for (size_t s = 0; s < r->side_count && context && !r->withheld.count; s++)
        leat_arrangement_forget(&r->sides[s], context->cut_us);
}

static enum leat_status recompute_step(struct leat_node *node, const struct leat_step_context *context,
                                       const struct leat_changes *const inputs[2], struct leat_changes *out,
                                       struct leat_error *err) {
    struct recompute_node *r = (struct recompute_node *)node;
    struct leat_hash128 *hashes[2] = {NULL, NULL};
    struct key_rows old = {0}, new = {0};
    struct touched t;
    struct leat_error local = {0};
    bool keyless = !node->op->key_count;
    enum leat_status status = LEAT_OK;
    if (!err) err = &local;
    for (size_t s = 0; s < r->side_count; s++) {
        if (!inputs[s]) continue;
        hashes[s] = leat_realloc(NULL, inputs[s]->row_count * sizeof *hashes[s]);
        leat_key_hash(inputs[s], 0, inputs[s]->row_count, side_keys(node->op, s), node->op->key_count, hashes[s]);
    }
    bool any = inputs[0] || (r->side_count == 2 && inputs[1]);
    if (!any && (!keyless || r->started)) {
        forget_ended(r, context);
        return LEAT_OK;
    }
    list_touched(r, inputs, hashes, &t);
    char **reasons = leat_alloc((t.count + 1) * sizeof *reasons);
    node->stats.keys_touched += t.count;
    leat_changes_reset(&r->merged);
    status = run_by_row(r, inputs[0], &t, err);
    collect(r, &t, true, NULL, &old);
    for (size_t s = 0; s < r->side_count; s++)
        if (inputs[s]) leat_arrangement_apply(&r->sides[s], inputs[s], hashes[s], NULL);
    collect(r, &t, false, NULL, &new);
    if (status) goto out;
    if (keyless ? r->started && !t.skip_old[0] : has_rows(r, &old)) status = run_all(r, &old, &t, -1, NULL, err);
    memset(t.failed, 0, t.count);
    if (status == LEAT_OK && (keyless || has_rows(r, &new))) status = run_all(r, &new, &t, 1, reasons, err);
    if (status) goto out;
    r->started = true;
    settle_withheld(r, &t, reasons, inputs);
    for (size_t s = 0; s < r->side_count; s++)
        leat_arrangement_sweep(&r->sides[s]);
    forget_ended(r, context);
    leat_changes_consolidate(&r->merged);
    leat_changes_append(out, &r->merged, NULL, r->merged.row_count, 1);
out:
    for (size_t i = 0; i < t.count; i++)
        free(reasons[i]);
    free(reasons);
    key_rows_deinit(&old);
    key_rows_deinit(&new);
    touched_deinit(&t);
    free(hashes[0]), free(hashes[1]);
    return status;
}

static uint64_t recompute_withheld(const struct leat_node *node) {
    return ((const struct recompute_node *)node)->withheld.count;
}

static bool recompute_due(const struct leat_node *node, int64_t cut_us) {
    const struct recompute_node *r = (const struct recompute_node *)node;
    if (!node->op->key_count) return !r->started;
    return !r->withheld.count && (leat_arrangement_due(&r->sides[0], cut_us) || leat_arrangement_due(&r->sides[1], cut_us));
}

static void recompute_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct recompute_node *r = (const struct recompute_node *)node;
    for (size_t s = 0; s < r->side_count; s++) {
        out->state_keys += r->sides[s].rows.count;
        out->state_bytes += leat_arrangement_bytes(&r->sides[s]);
    }
    out->state_bytes += leat_keyed_bytes(&r->withheld) + r->heap.reserved_bytes;
}

static size_t recompute_parts(const struct leat_node *node) {
    return ((const struct recompute_node *)node)->side_count + 1;
}

static const struct leat_schema *recompute_part_schema(const struct leat_node *node, size_t part) {
    const struct recompute_node *r = (const struct recompute_node *)node;
    return part < r->side_count ? &r->sides[part].part_schema : &r->withheld_schema;
}

/* The part of a query without keys: a row with reason NULL once it has given its first result, and the reason when
 * it is withheld. Two rows at most, so an increment is the whole part. */
static enum leat_status save_keyless(struct recompute_node *r, uint64_t *cursor, struct leat_changes *out) {
    uint64_t entry_cursor = 0;
    uint32_t index;
    if (*cursor || !r->started) return LEAT_END;
    bool withheld = leat_keyed_next(&r->withheld, false, &entry_cursor, &index);
    size_t at = out->row_count, n = withheld ? 2 : 1;
    leat_changes_reserve(out, at + n);
    leat_set_null(out, 0, at);
    if (withheld) {
        const struct withheld_key *w = leat_entry_payload(leat_keyed_at(&r->withheld, index));
        ((struct leat_string *)out->columns[0].data)[at + 1] = w->reason;
        leat_own_strings(out, 0, at + 1, 1);
    }
    for (size_t i = 0; out->weights && i < n; i++)
        out->weights[at + i] = 1;
    out->row_count += n;
    *cursor = n;
    return LEAT_OK;
}

/* The withheld keys and why. */
static enum leat_status save_withheld(struct recompute_node *r, bool only_dirty, uint64_t *cursor, size_t max_rows,
                                      struct leat_changes *out) {
    size_t n = 0, before = out->row_count, reason = r->key_codec.count;
    uint64_t entry_cursor;
    uint32_t index;
    if (!leat_save_tombstones(&r->withheld_gone, only_dirty, cursor, max_rows, out, &entry_cursor)) return LEAT_OK;
    size_t at = out->row_count, room = max_rows - (at - before);
    leat_changes_reserve(out, at + room);
    while (n < room && leat_keyed_next(&r->withheld, only_dirty, &entry_cursor, &index)) {
        struct withheld_key *w = leat_entry_payload(leat_keyed_at(&r->withheld, index));
        const uint8_t *rows[1] = {w->key};
        leat_row_read(&r->key_codec, rows, 1, out, 0, at + n);
        ((struct leat_string *)out->columns[reason].data)[at + n] = w->reason;
        n++;
    }
    leat_own_strings(out, reason, at, n);
    leat_save_added(&r->withheld_gone, only_dirty, out, n, entry_cursor, cursor);
    return out->row_count > before ? LEAT_OK : LEAT_END;
}

static enum leat_status recompute_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor,
                                       size_t max_rows, struct leat_changes *out, struct leat_error *err) {
    struct recompute_node *r = (struct recompute_node *)node;
    (void)err;
    if (part < r->side_count) return leat_arrangement_save(&r->sides[part], only_dirty, cursor, max_rows, out);
    if (!node->op->key_count) return save_keyless(r, cursor, out);
    return save_withheld(r, only_dirty, cursor, max_rows, out);
}

static void recompute_clean(struct leat_node *node) {
    struct recompute_node *r = (struct recompute_node *)node;
    for (size_t s = 0; s < r->side_count; s++)
        leat_arrangement_clean(&r->sides[s]);
    leat_keyed_clean(&r->withheld);
    leat_changes_reset(&r->withheld_gone);
}

static uint64_t recompute_part_rows(const struct leat_node *node, size_t part) {
    const struct recompute_node *r = (const struct recompute_node *)node;
    return part < r->side_count ? r->sides[part].rows.count : r->withheld.count;
}

static void recompute_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    struct recompute_node *r = (struct recompute_node *)node;
    leat_keyed_reserve(part < r->side_count ? &r->sides[part].rows : &r->withheld, rows);
}

static enum leat_status recompute_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                       struct leat_error *err) {
    struct recompute_node *r = (struct recompute_node *)node;
    size_t reason = r->key_codec.count;
    (void)err;
    if (part < r->side_count) {
        leat_arrangement_load(&r->sides[part], rows);
        return LEAT_OK;
    }
    for (size_t i = 0; i < rows->row_count; i++) {
        struct leat_hash128 hash;
        uint32_t found;
        leat_key_hash(rows, i, 1, r->sides[0].stored_all, reason, &hash); /* the key columns come first */
        leat_keyed_find(&r->withheld, &hash, 1, &found);
        if (found != LEAT_NO_ENTRY) {
            leat_keyed_at(&r->withheld, found)->flags &= ~(uint32_t)LEAT_ENTRY_SAVED;
            release_withheld(r, found);
        }
        if (leat_weight(rows, i) < 0) continue;
        if (leat_is_null(&rows->columns[reason], i)) {
            r->started = true;
            continue;
        }
        withhold(r, &hash, rows, i, r->sides[0].stored_all, (const struct leat_string *)rows->columns[reason].data + i);
    }
    leat_keyed_clean(&r->withheld);
    return LEAT_OK;
}

static const struct leat_node_ops recompute_ops = {.open = recompute_open,
                                                   .close = recompute_close,
                                                   .step = recompute_step,
                                                   .withheld = recompute_withheld,
                                                   .due = recompute_due,
                                                   .stats = recompute_stats,
                                                   .parts = recompute_parts,
                                                   .part_schema = recompute_part_schema,
                                                   .save = recompute_save,
                                                   .clean = recompute_clean,
                                                   .part_rows = recompute_part_rows,
                                                   .load_hint = recompute_load_hint,
                                                   .load = recompute_load};
const struct leat_node_kind leat_node_recompute = {&recompute_ops, sizeof(struct recompute_node)};
