/* LOOKUP and JOIN: equi-joins with both sides retained; without keys a cross product.
 *
 * With L, R the sides before the step and dL, dR its changes, one step gives the change of the join of both:
 *   inner part     dL x R  +  (L + dL) x dR
 *   padded part    (LEFT, ANTI) left rows whose key has no right row:  dL where R has none
 *                  + (L + dL) x (has none now - had none before), for the keys in dR
 *   SEMI           the same with "has some"
 * so the order is: probe R with dL, add dL to L, probe L with dR, add dR to R, then look which of dR's keys turned.
 * NULL keys match nothing: such rows are not retained; unmatched left rows pass at once.
 * For SEMI and ANTI the right side keeps only its keys.
 * A static right side (read once, before the first left row) is taken first, and left rows are not retained.
 * Where rows that meet are only so far apart in time (op->apart), those that the cut has passed by that much are forgotten. Pairs that are
 * further apart are left out here (op->judges_apart), so that what was forgotten never shows. */
#include "stream/node.h"

#include <stdlib.h>

#include "stream/arrangement.h"

/* Right rows are decoded ahead where a step has this many left rows for each. */
enum { PAIR_LIMIT = 4096, LEFT_ROWS_EACH = 4 };

/* One side of pending output pairs: rows of a batch, encoded rows, or neither (NULLs; or not part of the output). */
struct join_side {
    const struct leat_changes *batch;
    bool copy; /* its strings do not outlive the step */
    uint32_t rows[PAIR_LIMIT];
    const uint8_t *bytes[PAIR_LIMIT];
};
struct join_node {
    struct leat_node base;
    struct leat_arrangement left, right;
    size_t left_count, right_count; /* output columns of each side */
    struct join_side left_side, right_side;
    int32_t weights[PAIR_LIMIT];
    size_t pair_count;
    struct leat_changes decoded; /* right rows, while a step wants them */
    uint32_t *decoded_at;        /* by their index in right.rows */
    struct leat_changes merged;  /* output of a step in which both sides changed */
};
/* A batch of one side with what is known of its keys. */
struct keyed_batch {
    const struct leat_changes *rows;
    struct leat_hash128 *hashes;
    uint8_t *null_key;
};

static void end_rows(struct join_node *join) {
    const struct leat_apart *apart = &join->base.op->apart;
    struct leat_arrangement *sides[2] = {&join->left, &join->right};
    for (int i = 0; i < 2 && apart->known; i++)
        if (apart->keep_us[i] != INT64_MAX) leat_arrangement_end_by(sides[i], apart->columns[i], apart->keep_us[i]);
}

/* Of the right side nothing but its keys, and the time by which they leave. */
static void keep_keys(struct join_node *join, const struct leat_schema *right) {
    const struct leat_op *op = join->base.op;
    uint16_t *columns = leat_alloc((op->key_count + 1) * sizeof *columns);
    size_t count = 0;
    bool timed = !op->apart.known || op->apart.keep_us[1] == INT64_MAX;
    for (; count < op->key_count; count++) {
        columns[count] = op->right_keys[count];
        timed |= columns[count] == op->apart.columns[1];
    }
    if (!timed) columns[count++] = op->apart.columns[1];
    leat_arrangement_init(&join->right, right, columns, count, op->right_keys, op->key_count);
    free(columns);
}

static enum leat_status join_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct join_node *join = (struct join_node *)node;
    const struct leat_op *op = node->op;
    const struct leat_schema *left = node->inputs[0], *right = node->inputs[1];
    bool right_out = op->join == LEAT_JOIN_INNER || op->join == LEAT_JOIN_LEFT;
    (void)conn;
    if (!left || !right) return leat_fail(err, LEAT_INVALID, "operator %d: a join needs two inputs", node->id);
    for (size_t i = 0; i < op->key_count; i++)
        if (!leat_type_equal(left->fields[op->keys[i]].type, right->fields[op->right_keys[i]].type))
            return leat_fail(err, LEAT_UNSUPPORTED,
                             "operator %d: join key %zu has different types on its sides: cast one", node->id, i);
    join->left_count = left->field_count;
    join->right_count = right_out ? right->field_count : 0;
    if (op->schema.field_count != join->left_count + join->right_count)
        return leat_fail(err, LEAT_INVALID, "operator %d: the join gives %zu columns, its schema has %zu", node->id,
                         join->left_count + join->right_count, op->schema.field_count);
    leat_arrangement_init(&join->left, left, NULL, 0, op->keys, op->key_count);
    if (right_out)
        leat_arrangement_init(&join->right, right, NULL, 0, op->right_keys, op->key_count);
    else
        keep_keys(join, right);
    end_rows(join);
    leat_changes_init(&join->merged, &op->schema);
    leat_changes_init(&join->decoded, right);
    return LEAT_OK;
}

static void join_close(struct leat_node *node) {
    struct join_node *join = (struct join_node *)node;
    leat_arrangement_deinit(&join->left);
    leat_arrangement_deinit(&join->right);
    if (join->merged.schema) leat_changes_deinit(&join->merged);
    if (join->decoded.schema) leat_changes_deinit(&join->decoded);
    free(join->decoded_at);
}

/* Are these consecutive rows? */
static bool in_a_row(const uint32_t *rows, size_t n) {
    uint32_t differ = 0;
    for (uint32_t i = 0; i < n; i++)
        differ |= rows[i] ^ (rows[0] + i);
    return !differ;
}

static void put_side(const struct join_side *side, const struct leat_row_codec *codec, size_t n,
                     struct leat_changes *out, size_t first, size_t count, size_t at, bool null) {
    if (!count) return;
    if (null)
        for (size_t i = 0; i < count; i++)
            leat_fill_null(out, first + i, at, n);
    else if (side->batch && !side->copy && in_a_row(side->rows, n))
        for (size_t i = 0; i < count; i++)
            leat_gather_borrowed(out, first + i, at, side->batch, i, NULL, side->rows[0], n);
    else if (side->batch)
        for (size_t i = 0; i < count; i++)
            (side->copy ? leat_gather : leat_gather_borrowed)(out, first + i, at, side->batch, i, side->rows, 0, n);
    else
        leat_row_read(codec, side->bytes, n, out, first, at);
}

/* Appends the pending pairs. right_null: the right columns are NULL. */
static void flush(struct join_node *join, struct leat_changes *out, bool right_null) {
    size_t at = out->row_count, n = join->pair_count;
    bool unit = true;
    if (!n) return;
    leat_changes_reserve(out, at + n);
    put_side(&join->left_side, &join->left.codec, n, out, 0, join->left_count, at, false);
    put_side(&join->right_side, &join->right.codec, n, out, join->left_count, join->right_count, at, right_null);
    for (size_t i = 0; i < n; i++)
        unit &= join->weights[i] == 1;
    if (!unit) leat_changes_need_weights(out);
    if (out->weights) memcpy(out->weights + at, join->weights, n * sizeof *out->weights);
    out->row_count = at + n;
    join->pair_count = 0;
}

static int64_t time_in_batch(const struct join_node *join, int side, const struct leat_changes *rows, size_t row) {
    return join->base.op->judges_apart ? ((const int64_t *)rows->columns[join->base.op->apart.columns[side]].data)[row] : 0;
}

/* All columns are stored where pairs are judged; rows with a NULL there are not retained. */
static int64_t time_of_row(const struct leat_arrangement *a, uint16_t column, const uint8_t *bytes) {
    int64_t v;
    memcpy(&v, bytes + a->codec.offsets[column], sizeof v);
    return v;
}

static bool is_infinite(int64_t time) {
    return time == INT64_MAX || time == -INT64_MAX;
}

/* Infinite times plus an interval stay what they are: the SQL above judges them. */
static bool may_meet(const struct leat_apart *apart, int64_t left, int64_t right) {
    leat_i128 by = (leat_i128)right - left;
    return (by >= apart->low_us && by <= apart->high_us) || is_infinite(left) || is_infinite(right);
}

/* The weight of a pair; 0 is left out by the caller. */
static enum leat_status pair_weight(int64_t a, int64_t b, int32_t *out, struct leat_error *err) {
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product) || product < INT32_MIN || product > INT32_MAX)
        return leat_fail(err, LEAT_LIMIT, "a join result row would have %lld x %lld copies; at most 2^31 are possible",
                         (long long)a, (long long)b);
    *out = (int32_t)product;
    return LEAT_OK;
}

/* A row that many left rows meet is decoded once. False: there are too many for that. */
static bool decode_right(struct join_node *join, size_t left_rows) {
    const struct leat_keyed *rows = &join->right.rows;
    const uint8_t *bytes[64];
    uint64_t cursor = 0;
    uint32_t index;
    size_t n = 0;
    if (!join->right_count || rows->count > left_rows / LEFT_ROWS_EACH) return false;
    join->decoded_at = leat_realloc(join->decoded_at, rows->bound * sizeof *join->decoded_at);
    leat_changes_reset(&join->decoded);
    leat_changes_reserve(&join->decoded, rows->count);
    for (bool more = true; more; n = 0) {
        while (n < 64 && (more = leat_keyed_next(rows, false, &cursor, &index))) {
            join->decoded_at[index] = (uint32_t)(join->decoded.row_count + n);
            bytes[n++] = leat_arranged_row_at(&join->right, index)->bytes;
        }
        leat_row_read(&join->right.codec, bytes, n, &join->decoded, 0, join->decoded.row_count);
        join->decoded.row_count += n;
    }
    return true;
}

/* dL against R as it was. */
static enum leat_status probe_right(struct join_node *join, const struct keyed_batch *left, struct leat_changes *out,
                                    struct leat_error *err) {
    const struct leat_op *op = join->base.op;
    enum leat_join_kind kind = op->join;
    const struct leat_changes *in = left->rows;
    uint32_t *keys = leat_alloc(in->row_count * sizeof *keys);
    enum leat_status status = LEAT_OK;
    leat_keyed_find(&join->right.keys, left->hashes, in->row_count, keys);
    bool decoded = decode_right(join, in->row_count);
    join->left_side.batch = in;
    join->right_side.batch = decoded ? &join->decoded : NULL;
    join->right_side.copy = decoded;
    for (uint32_t i = 0; i < in->row_count && (kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_LEFT); i++) {
        if (left->null_key[i] || keys[i] == LEAT_NO_ENTRY) continue;
        const struct leat_arranged_key *key = leat_arranged_key_at(&join->right, keys[i]);
        uint32_t left_rows = key->row_count, here;
        int64_t time = time_in_batch(join, 0, in, i);
        for (uint32_t at = key->head; left_rows; left_rows--) {
            const struct leat_arranged_row *row = leat_arranged_row_at(&join->right, at);
            here = at;
            at = row->next;
            if (op->judges_apart && !may_meet(&op->apart, time, time_of_row(&join->right, op->apart.columns[1], row->bytes))) continue;
            size_t pair = join->pair_count++;
            join->left_side.rows[pair] = i;
            if (decoded)
                join->right_side.rows[pair] = join->decoded_at[here];
            else
                join->right_side.bytes[pair] = row->bytes;
            status = pair_weight(leat_weight(in, i), row->weight, &join->weights[pair], err);
            if (status) goto out;
            if (join->pair_count == PAIR_LIMIT) flush(join, out, false);
        }
    }
    flush(join, out, false);
    for (uint32_t i = 0; i < in->row_count && kind != LEAT_JOIN_INNER; i++) {
        bool some =
            !left->null_key[i] && keys[i] != LEAT_NO_ENTRY && leat_arranged_key_at(&join->right, keys[i])->copies > 0;
        if (some != (kind == LEAT_JOIN_SEMI)) continue;
        join->left_side.rows[join->pair_count] = i;
        join->weights[join->pair_count++] = leat_weight(in, i);
        if (join->pair_count == PAIR_LIMIT) flush(join, out, true);
    }
    flush(join, out, true);
out:
    join->pair_count = 0;
    free(keys);
    return status;
}

/* All left rows of the key with this fingerprint against row `right_row` of dR (right_row_weight), or, padded, alone.
 */
static enum leat_status emit_left_rows(struct join_node *join, const struct leat_hash128 *hash, bool padded,
                                       uint32_t right_row, int32_t weight, struct leat_changes *out,
                                       struct leat_error *err) {
    const struct leat_op *op = join->base.op;
    uint32_t found;
    leat_keyed_find(&join->left.keys, hash, 1, &found);
    if (found == LEAT_NO_ENTRY) return LEAT_OK;
    const struct leat_arranged_key *key = leat_arranged_key_at(&join->left, found);
    uint32_t left_rows = key->row_count;
    int64_t time = padded ? 0 : time_in_batch(join, 1, join->right_side.batch, right_row);
    for (uint32_t at = key->head; left_rows; left_rows--) {
        const struct leat_arranged_row *row = leat_arranged_row_at(&join->left, at);
        at = row->next;
        if (op->judges_apart && !may_meet(&op->apart, time_of_row(&join->left, op->apart.columns[0], row->bytes), time)) continue;
        size_t pair = join->pair_count++;
        join->left_side.bytes[pair] = row->bytes;
        join->right_side.rows[pair] = right_row;
        enum leat_status status = pair_weight(row->weight, weight, &join->weights[pair], err);
        if (status) return status;
        if (join->pair_count == PAIR_LIMIT) flush(join, out, padded);
    }
    return LEAT_OK;
}

/* A key of dR: did it have a right row before the step? */
struct turned_key {
    struct leat_hash128 hash;
    bool had;
};

static size_t list_turned(struct join_node *join, const struct keyed_batch *right, struct turned_key *turned) {
    struct leat_keyed seen;
    size_t count = 0;
    leat_keyed_init(&seen, 0);
    for (size_t i = 0; i < right->rows->row_count; i++) {
        uint32_t index, found;
        if (right->null_key[i]) continue;
        leat_keyed_upsert(&seen, &right->hashes[i], 1, &index);
        struct leat_entry *e = leat_keyed_at(&seen, index);
        if (!(e->flags & LEAT_ENTRY_NEW)) continue;
        e->flags &= ~(uint32_t)LEAT_ENTRY_NEW;
        leat_keyed_find(&join->right.keys, &right->hashes[i], 1, &found);
        turned[count++] =
            (struct turned_key){.hash = right->hashes[i],
                                .had = found != LEAT_NO_ENTRY && leat_arranged_key_at(&join->right, found)->copies > 0};
    }
    leat_keyed_deinit(&seen);
    return count;
}

/* Left rows of keys that had no right row and have one now, or the other way round. */
static enum leat_status emit_turned(struct join_node *join, const struct turned_key *turned, size_t count,
                                    struct leat_changes *out, struct leat_error *err) {
    for (size_t i = 0; i < count; i++) {
        uint32_t found;
        leat_keyed_find(&join->right.keys, &turned[i].hash, 1, &found);
        bool has = found != LEAT_NO_ENTRY && leat_arranged_key_at(&join->right, found)->copies > 0;
        if (has == turned[i].had) continue;
        int32_t sign = has == (join->base.op->join == LEAT_JOIN_SEMI) ? 1 : -1;
        enum leat_status status = emit_left_rows(join, &turned[i].hash, true, 0, sign, out, err);
        if (status) return status;
    }
    flush(join, out, true);
    return LEAT_OK;
}

/* dR against L, which holds dL already; adds dR to R. */
static enum leat_status take_right(struct join_node *join, const struct keyed_batch *right, struct leat_changes *out,
                                   struct leat_error *err) {
    enum leat_join_kind kind = join->base.op->join;
    struct turned_key *turned = NULL;
    size_t turned_count = 0;
    enum leat_status status = LEAT_OK;
    join->left_side.batch = NULL;
    join->right_side.batch = right->rows;
    join->right_side.copy = false;
    if (kind == LEAT_JOIN_INNER || kind == LEAT_JOIN_LEFT) {
        for (uint32_t i = 0; i < right->rows->row_count && status == LEAT_OK; i++)
            if (!right->null_key[i])
                status = emit_left_rows(join, &right->hashes[i], false, i, leat_weight(right->rows, i), out, err);
        if (status) goto out;
        flush(join, out, false);
    }
    if (kind != LEAT_JOIN_INNER) {
        turned = leat_alloc(right->rows->row_count * sizeof *turned);
        turned_count = list_turned(join, right, turned);
    }
    leat_arrangement_apply(&join->right, right->rows, right->hashes, right->null_key);
    status = emit_turned(join, turned, turned_count, out, err);
out:
    join->pair_count = 0;
    free(turned);
    return status;
}

static void mark_null(struct keyed_batch *b, const struct leat_column *column) {
    if (!column->valid) return;
    for (size_t i = 0; i < b->rows->row_count; i++)
        b->null_key[i] |= leat_is_null(column, i);
}

/* A row without a time where pairs are judged by it meets nothing, like one without a key. */
static void key_batch(struct keyed_batch *b, const struct leat_changes *rows, const uint16_t *keys, size_t key_count, const struct leat_op *op, int side) {
    *b = (struct keyed_batch){.rows = rows};
    if (!rows) return;
    b->hashes = leat_realloc(NULL, rows->row_count * sizeof *b->hashes);
    b->null_key = leat_alloc(rows->row_count);
    leat_key_hash(rows, 0, rows->row_count, keys, key_count, b->hashes);
    for (size_t k = 0; k < key_count; k++)
        mark_null(b, &rows->columns[keys[k]]);
    if (op->judges_apart) mark_null(b, &rows->columns[op->apart.columns[side]]);
}

static enum leat_status join_step(struct leat_node *node, const struct leat_step_context *context,
                                  const struct leat_changes *const inputs[2], struct leat_changes *out,
                                  struct leat_error *err) {
    struct join_node *join = (struct join_node *)node;
    struct keyed_batch left, right;
    enum leat_status status = LEAT_OK;
    /* The inner and the padded part may cancel where both sides changed, or a right key was replaced. */
    bool merge = inputs[1] != NULL;
    struct leat_changes *to = merge ? &join->merged : out;
    key_batch(&left, inputs[0], node->op->keys, node->op->key_count, node->op, 0);
    key_batch(&right, inputs[1], node->op->right_keys, node->op->key_count, node->op, 1);
    if (right.rows && node->op->static_right)
        leat_arrangement_apply(&join->right, right.rows, right.hashes, right.null_key);
    if (left.rows) {
        status = probe_right(join, &left, to, err);
        if (status) goto out;
        if (!node->op->static_right) leat_arrangement_apply(&join->left, left.rows, left.hashes, left.null_key);
    }
    if (right.rows && !node->op->static_right) status = take_right(join, &right, to, err);
    if (status) goto out;
    leat_arrangement_sweep(&join->left);
    leat_arrangement_sweep(&join->right);
    leat_arrangement_forget(&join->left, context ? context->cut_us : INT64_MIN);
    leat_arrangement_forget(&join->right, context ? context->cut_us : INT64_MIN);
    if (merge) {
        leat_changes_consolidate(&join->merged);
        leat_changes_append(out, &join->merged, NULL, join->merged.row_count, 1);
        leat_changes_reset(&join->merged);
    }
out:
    free(left.hashes), free(left.null_key);
    free(right.hashes), free(right.null_key);
    return status;
}

static bool join_due(const struct leat_node *node, int64_t cut_us) {
    const struct join_node *join = (const struct join_node *)node;
    return leat_arrangement_due(&join->left, cut_us) || leat_arrangement_due(&join->right, cut_us);
}

static void join_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct join_node *join = (const struct join_node *)node;
    out->state_keys = join->left.rows.count + (uint64_t)join->right.rows.count;
    out->state_bytes = leat_arrangement_bytes(&join->left) + leat_arrangement_bytes(&join->right);
}

static struct leat_arrangement *arrangement_of(const struct leat_node *node, size_t part) {
    struct join_node *join = (struct join_node *)(uintptr_t)node;
    return part ? &join->right : &join->left;
}

static size_t join_parts(const struct leat_node *node) {
    (void)node;
    return 2;
}

static const struct leat_schema *join_part_schema(const struct leat_node *node, size_t part) {
    return &arrangement_of(node, part)->part_schema;
}

static enum leat_status join_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor,
                                  size_t max_rows, struct leat_changes *out, struct leat_error *err) {
    (void)err;
    return leat_arrangement_save(arrangement_of(node, part), only_dirty, cursor, max_rows, out);
}

static void join_clean(struct leat_node *node) {
    leat_arrangement_clean(arrangement_of(node, 0));
    leat_arrangement_clean(arrangement_of(node, 1));
}

static uint64_t join_part_rows(const struct leat_node *node, size_t part) {
    return arrangement_of(node, part)->rows.count;
}

static void join_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    leat_keyed_reserve(&arrangement_of(node, part)->rows, rows);
}

static enum leat_status join_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                  struct leat_error *err) {
    (void)err;
    leat_arrangement_load(arrangement_of(node, part), rows);
    return LEAT_OK;
}

static const struct leat_node_ops join_ops = {.open = join_open,
                                              .close = join_close,
                                              .step = join_step,
                                              .due = join_due,
                                              .stats = join_stats,
                                              .parts = join_parts,
                                              .part_schema = join_part_schema,
                                              .save = join_save,
                                              .clean = join_clean,
                                              .part_rows = join_part_rows,
                                              .load_hint = join_load_hint,
                                              .load = join_load};
const struct leat_node_kind leat_node_join = {&join_ops, sizeof(struct join_node)};
