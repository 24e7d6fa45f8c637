/* DISTINCT_ON: the first row of each key in a total order. The input is append-only.
 *
 * Of each key the table of fingerprints holds a hash of what the winning row says besides, and where that row is:
 *   by place   the record it came from (partition and offset). Where the same source record gives the same row again
 *              (op->by_place), and de-duplication is meant, a different row of a known key is rare
 *   kept       the row itself, encoded, in the heap
 * A row delivered again (same key, same content) costs one probe. A different row of a key known by place makes the
 * step fetch the winner (context->fetch), all such keys of a step at once; from then on that key's row is kept, so that
 * a key is fetched once however often it conflicts. When that turns out to be common, rows of new keys are kept at
 * once. Which of the two it is never shows in the result. Every key is kept (rule 18), but where a key column follows
 * event time (op->evict): keys that the cut has passed are forgotten when they are half of all, after a checkpoint.
 *
 * Checkpoint: part 0 the keys known by place (and, to forget them, the minute of their time), the last part the rows that are kept; a key moves from the one to the
 * other only, so a row of the last part is always the newer one. */
#include "stream/node.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <assert.h>
#include <stdlib.h>

#include "state/fingerprints.h"
#include "state/heap.h"
#include "state/row.h"

enum { CHUNK_ROWS = 1024 };
/* Rows of new keys are kept once more rows than this and a share of all had to be fetched. */
enum { FETCHES_FEW = 256, FETCH_SHARE = 512 };

/* What a fingerprint's `at` says: two bits what it is, one whether the key is in the list of changed ones, and a place,
 * or a pointer to an encoded row, or an index in touched. A place beyond these bits has its row kept. */
enum { PARTITION_BITS = 21, OFFSET_BITS = 40, VALUE_BITS = PARTITION_BITS + OFFSET_BITS };
_Static_assert(VALUE_BITS == 61, "with the three bits above a place fills 64");
#define VALUE_MASK ((1ull << VALUE_BITS) - 1)
#define CHANGED (1ull << VALUE_BITS)
#define KIND_MASK (3ull << (VALUE_BITS + 1))
enum kind { BY_PLACE, KEPT, TOUCHED, FETCHING /* by place, and asked for */ };

/* A key that was there before and whose winner changed in this step. */
struct touched_key {
    uint8_t *old;  /* the winner before the step */
    uint32_t from; /* row of the step's batch that wins now */
    uint32_t index;
};
/* A different row of a key known by place. */
struct challenge {
    uint32_t index, row;
};
struct distinct_node {
    struct leat_node base;
    struct leat_fingerprints table;
    struct leat_row_codec codec;
    struct leat_row_block block;
    struct leat_heap heap;
    struct leat_changes stored; /* one decoded winner, to compare with */
    struct leat_schema place_schema;
    uint16_t *content_columns; /* the columns that are no keys */
    size_t content_count;
    uint64_t rows_seen, rows_fetched, kept_count;
    /* evict: the key's column that follows event time, and of each key the minute of its value */
    const struct leat_time_column *time;
    int32_t *minutes;
    size_t minute_capacity;
    int64_t cut_us;
    uint32_t look_at; /* when there are so many keys it is looked whether half can be forgotten */
    /* since the last checkpoint: every key from clean_count on, and of the older ones these */
    uint32_t clean_count;
    uint32_t *changed;
    size_t changed_count, changed_capacity;
    /* of the step: its new keys begin at first_new; the batch's row that wins each */
    uint32_t first_new;
    uint32_t *new_rows;
    size_t new_count, new_capacity;
    struct touched_key *touched;
    size_t touched_count, touched_capacity;
    struct challenge *challenges;
    size_t challenge_count, challenge_capacity;
    bool keep_new, some_kept; /* rows of its new keys are to be kept: all, some */
};

static enum kind kind_of(const struct leat_fingerprint *f) {
    return (enum kind)(f->at >> (VALUE_BITS + 1));
}
static uint64_t value_of(const struct leat_fingerprint *f) {
    return f->at & VALUE_MASK;
}
static void set_kind(struct leat_fingerprint *f, enum kind kind) {
    f->at = (f->at & ~KIND_MASK) | (uint64_t)kind << (VALUE_BITS + 1);
}
static void set_at(struct leat_fingerprint *f, enum kind kind, uint64_t value) {
    assert(value <= VALUE_MASK);
    f->at = (f->at & CHANGED) | (uint64_t)kind << (VALUE_BITS + 1) | value;
}

static bool is_key(const struct leat_op *op, size_t column) {
    for (size_t k = 0; k < op->key_count; k++)
        if (op->keys[k] == column) return true;
    return false;
}

static void describe_places(struct leat_schema *s, bool minutes) {
    const struct leat_type bigint = {.kind = LEAT_BIGINT}, integer = {.kind = LEAT_INTEGER};
    leat_schema_add(s, "key_low", bigint, true);
    leat_schema_add(s, "key_high", bigint, true);
    leat_schema_add(s, "content", bigint, true);
    leat_schema_add(s, "_partition", integer, true);
    leat_schema_add(s, "_offset", bigint, true);
    if (minutes) leat_schema_add(s, "_minute", integer, true);
}

/* ---- keys that end */

static const int64_t MINUTE_US = 60000000;
enum { NEVER = INT32_MAX, LOOK_AT_FIRST = 64 };

static int32_t minute_of(const struct distinct_node *d, const struct leat_changes *c, size_t row) {
    const struct leat_column *column = &c->columns[d->time->column];
    if (leat_is_null(column, row)) return NEVER;
    int64_t v = ((const int64_t *)column->data)[row], minute = v / MINUTE_US - (v % MINUTE_US < 0);
    return minute < INT32_MIN ? INT32_MIN : minute >= NEVER ? NEVER : (int32_t)minute;
}

/* After the last value of the key's minute no admissible record can have it. */
static bool has_ended(const struct distinct_node *d, uint32_t index) {
    int64_t minute = d->minutes[index], end; /* a span is negative where the column is ahead of event time */
    if (minute == NEVER || d->cut_us == INT64_MIN || __builtin_add_overflow((minute + 1) * MINUTE_US, d->time->span_us, &end)) return false;
    return end <= d->cut_us;
}

static void room_for_minutes(struct distinct_node *d) {
    if (!d->time || d->minute_capacity >= d->table.count) return;
    d->minute_capacity = d->table.count + d->table.count / 2;
    d->minutes = leat_realloc(d->minutes, d->minute_capacity * sizeof *d->minutes);
}

static enum leat_status distinct_open(struct leat_node *node, struct leat_conn *conn, struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    const struct leat_schema *in = node->inputs[0];
    size_t columns = node->op->schema.field_count;
    (void)conn;
    if (in->field_count < columns || (node->op->by_place && in->field_count == columns))
        return leat_fail(err, LEAT_INVALID, "operator %d: DISTINCT ON gives %zu columns of %zu", node->id, columns,
                         in->field_count);
    leat_fingerprints_init(&d->table);
    leat_row_codec_init(&d->codec, in, NULL, columns);
    leat_changes_init(&d->stored, &node->op->schema);
    for (size_t i = 0; node->op->evict && i < node->op->time_count; i++) {
        const struct leat_time_column *t = &node->op->times[i];
        uint8_t kind = node->op->schema.fields[t->column].type.kind;
        if (is_key(node->op, t->column) && (kind == LEAT_TIMESTAMP || kind == LEAT_TIMESTAMPTZ)) d->time = t;
    }
    d->cut_us = INT64_MIN;
    d->look_at = LOOK_AT_FIRST;
    describe_places(&d->place_schema, d->time != NULL);
    d->content_columns = leat_alloc((columns + 1) * sizeof *d->content_columns);
    for (size_t i = 0; i < columns; i++)
        if (!is_key(node->op, i)) d->content_columns[d->content_count++] = (uint16_t)i;
    return LEAT_OK;
}

static void distinct_close(struct leat_node *node) {
    struct distinct_node *d = (struct distinct_node *)node;
    leat_fingerprints_deinit(&d->table);
    leat_row_codec_deinit(&d->codec);
    leat_heap_deinit(&d->heap);
    if (d->stored.schema) leat_changes_deinit(&d->stored);
    leat_schema_deinit(&d->place_schema);
    leat_row_block_deinit(&d->block);
    free(d->content_columns);
    free(d->minutes);
    free(d->changed);
    free(d->new_rows);
    free(d->touched);
    free(d->challenges);
}

/* ---- what a row says besides its key: 64 bits. A round is a bijection of the value and of what came before, so rows
 * that differ in one value of up to eight bytes always differ in the hash. */

static inline uint64_t fold(uint64_t h, uint64_t value) {
    const uint64_t a = 0x9E3779B185EBCA87ull, b = 0xC2B2AE3D27D4EB4Full, c = 0x85EBCA77C2B2AE63ull;
    value *= b;
    h ^= (value << 31 | value >> 33) * a;
    return (h << 27 | h >> 37) * a + c;
}

static const uint64_t null_mark = 0x27D4EB2F165667C5ull;

#define FOLD_ALL(ctype)                                                                                                \
    for (size_t i = 0; i < n; i++)                                                                                     \
    out[i] = fold(out[i], (uint64_t)((const ctype *)data)[i])

/* Equal doubles have equal bits: a Parquet dictionary, bronze's, keeps one of 0.0 and -0.0 for both. */
static uint64_t canonical_bits(double x) {
    static const uint64_t nan = 0x7FF8000000000000;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x == 0 ? 0 : x != x ? nan : bits;
}

static void fold_column(const struct leat_column *column, size_t from, size_t n, uint64_t *out) {
    size_t size = leat_type_size(column->type);
    const void *data = (const char *)column->data + from * size;
    for (size_t i = 0; column->valid && i < n; i++) /* the value under a NULL is zero */
        if (leat_is_null(column, from + i)) out[i] ^= null_mark;
    if (leat_type_is_string(column->type)) {
        const struct leat_string *s = data;
        for (size_t i = 0; i < n; i++)
            out[i] = fold(out[i], XXH3_64bits(leat_string_data(&s[i]), s[i].length));
        return;
    }
    if (column->type.kind == LEAT_DOUBLE) {
        for (size_t i = 0; i < n; i++)
            out[i] = fold(out[i], canonical_bits(((const double *)data)[i]));
        return;
    }
    if (column->type.kind == LEAT_FLOAT) {
        for (size_t i = 0; i < n; i++)
            out[i] = fold(out[i], canonical_bits((double)((const float *)data)[i]));
        return;
    }
    switch (size) {
    case 1:
        FOLD_ALL(uint8_t);
        break;
    case 2:
        FOLD_ALL(uint16_t);
        break;
    case 4:
        FOLD_ALL(uint32_t);
        break;
    case 8:
        FOLD_ALL(uint64_t);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            out[i] = fold(fold(out[i], ((const uint64_t *)data)[2 * i]), ((const uint64_t *)data)[2 * i + 1]);
        break;
    }
}

static void hash_contents(const struct distinct_node *d, const struct leat_changes *c, size_t from, size_t n,
                          uint64_t *out) {
    memset(out, 0, n * sizeof *out);
    for (size_t k = 0; k < d->content_count; k++)
        fold_column(&c->columns[d->content_columns[k]], from, n, out);
}

/* ---- places */

static leat_i128 place_at(const struct distinct_node *d, const struct leat_changes *in, size_t row) {
    leat_i128 place;
    memcpy(&place, (const char *)in->columns[d->base.op->schema.field_count].data + row * sizeof place, sizeof place);
    return place;
}

/* False: it does not fit. */
static bool pack_place(leat_i128 place, uint64_t *out) {
    uint64_t partition = (uint64_t)(place >> 64), offset = (uint64_t)place;
    *out = partition << OFFSET_BITS | offset;
    return partition >> PARTITION_BITS == 0 && offset >> OFFSET_BITS == 0;
}
static uint64_t partition_of(uint64_t packed) {
    return packed >> OFFSET_BITS;
}
static uint64_t offset_of(uint64_t packed) {
    return packed & ((1ull << OFFSET_BITS) - 1);
}

/* ---- rows that are kept */

static uint8_t *kept_row(const struct leat_fingerprint *f) {
    return (uint8_t *)(uintptr_t)value_of(f);
}

static void free_row(struct distinct_node *d, uint8_t *row) {
    leat_heap_free(&d->heap, row, leat_row_stored_size(&d->codec, row));
}

/* The key keeps row i of the block. */
static void keep(struct distinct_node *d, struct leat_fingerprint *f, size_t i) {
    size_t size = d->block.starts[i + 1] - d->block.starts[i];
    uint8_t *row = leat_heap_alloc(&d->heap, size);
    memcpy(row, d->block.bytes + d->block.starts[i], size);
    set_at(f, KEPT, (uintptr_t)row);
}

/* ---- the step */

/* Is row a of x before row b of y in the op's order? */
static bool comes_before(const struct leat_op *op, const struct leat_changes *x, size_t a, const struct leat_changes *y,
                         size_t b) {
    for (size_t i = 0; i < op->order_count; i++) {
        const struct leat_order *order = &op->orders[i];
        bool null_a = leat_is_null(&x->columns[order->column], a), null_b = leat_is_null(&y->columns[order->column], b);
        if (null_a && null_b) continue;
        if (null_a || null_b) return null_a == order->nulls_first;
        int c = leat_key_compare(x, a, &order->column, y, b, &order->column, 1);
        if (c) return order->descending ? c > 0 : c < 0;
    }
    return false;
}

/* Room for one more item; the list's address and capacity. */
static void *one_more(void *list, size_t count, size_t *capacity, size_t item_bytes) {
    if (count < *capacity) return list;
    *capacity = *capacity ? *capacity * 2 : 64;
    return leat_realloc(list, *capacity * item_bytes);
}

static void list_changed(struct distinct_node *d, struct leat_fingerprint *f, uint32_t index) {
    if (index >= d->clean_count || f->at & CHANGED) return;
    f->at |= CHANGED;
    d->changed = one_more(d->changed, d->changed_count, &d->changed_capacity, sizeof *d->changed);
    d->changed[d->changed_count++] = index;
}

/* The row of the batch that wins the key as of now; NULL: its winner is from before this step. */
static uint32_t *winning_row(const struct distinct_node *d, const struct leat_fingerprint *f, uint32_t index) {
    if (index >= d->first_new) return &d->new_rows[index - d->first_new];
    return kind_of(f) == TOUCHED ? &d->touched[value_of(f)].from : NULL;
}

/* A key of this step is known by the place of the row that wins it, or keeps that row at the step's end: KEPT, and none
 * yet. */
static void place_new(struct distinct_node *d, struct leat_fingerprint *f, const struct leat_changes *in,
                      uint32_t row) {
    uint64_t place;
    f->at = 0;
    if (!d->keep_new && pack_place(place_at(d, in, row), &place)) {
        set_at(f, BY_PLACE, place);
        return;
    }
    set_at(f, KEPT, 0);
    d->some_kept = true;
}

/* The winner of the key is now row `from` of the step's batch. */
static void win(struct distinct_node *d, struct leat_fingerprint *f, uint32_t index, const struct leat_changes *in,
                uint32_t from, uint64_t content) {
    uint32_t *now = winning_row(d, f, index);
    f->content = content;
    if (now) {
        *now = from;
        if (index >= d->first_new) place_new(d, f, in, from);
        return;
    }
    d->touched = one_more(d->touched, d->touched_count, &d->touched_capacity, sizeof *d->touched);
    d->touched[d->touched_count] = (struct touched_key){.old = kept_row(f), .from = from, .index = index};
    set_at(f, TOUCHED, d->touched_count++);
    list_changed(d, f, index);
}

/* Does the row come before the winner of its key, which is of this step or kept? */
static bool beats(struct distinct_node *d, const struct leat_fingerprint *f, uint32_t index,
                  const struct leat_changes *in, uint32_t row) {
    const uint32_t *now = winning_row(d, f, index);
    if (now) return comes_before(d->base.op, in, row, in, *now);
    const uint8_t *rows[1] = {kept_row(f)};
    leat_changes_truncate(&d->stored, 0);
    leat_changes_reset(&d->stored);
    leat_changes_reserve(&d->stored, 1);
    leat_row_read(&d->codec, rows, 1, &d->stored, 0, 0);
    d->stored.row_count = 1;
    return comes_before(d->base.op, in, row, &d->stored, 0);
}

static void postpone(struct distinct_node *d, uint32_t index, uint32_t row) {
    d->challenges = one_more(d->challenges, d->challenge_count, &d->challenge_capacity, sizeof *d->challenges);
    d->challenges[d->challenge_count++] = (struct challenge){index, row};
}

static void take_chunk(struct distinct_node *d, const struct leat_changes *in, size_t from, size_t n) {
    struct leat_hash128 keys[CHUNK_ROWS];
    uint64_t contents[CHUNK_ROWS];
    uint32_t indexes[CHUNK_ROWS], next = d->table.count;
    leat_key_hash(in, from, n, d->base.op->keys, d->base.op->key_count, keys);
    hash_contents(d, in, from, n, contents);
    leat_fingerprints_upsert(&d->table, keys, n, indexes);
    room_for_minutes(d);
    for (size_t i = 0; i < n; i++) {
        struct leat_fingerprint *f = leat_fingerprint_at(&d->table, indexes[i]);
        uint32_t row = (uint32_t)(from + i);
        if (indexes[i] == next) { /* new: they are made in the order of rows */
            if (d->time) d->minutes[next] = minute_of(d, in, row);
            next++;
            f->content = contents[i];
            place_new(d, f, in, row);
            d->new_rows[d->new_count++] = row;
            continue;
        }
        if (f->content == contents[i]) continue;
        if (!winning_row(d, f, indexes[i]) && kind_of(f) != KEPT)
            postpone(d, indexes[i], row);
        else if (beats(d, f, indexes[i], in, row))
            win(d, f, indexes[i], in, row, contents[i]);
    }
}

/* ---- conflicts with winners known by place */

/* Is the row that was fetched the one the key knows? */
static enum leat_status check_fetched(struct distinct_node *d, const struct leat_fingerprint *f,
                                      const struct leat_changes *rows, size_t row, struct leat_error *err) {
    struct leat_hash128 key;
    uint64_t content;
    leat_key_hash(rows, row, 1, d->base.op->keys, d->base.op->key_count, &key);
    hash_contents(d, rows, row, 1, &content);
    if (key.low == f->key.low && key.high == f->key.high && content == f->content) return LEAT_OK;
    return leat_fail(err, LEAT_CORRUPT,
                     "operator %d: the record at offset %llu of partition %llu, read again, is not the row it was: "
                     "rebuild the table from bronze",
                     d->base.id, (unsigned long long)offset_of(value_of(f)),
                     (unsigned long long)partition_of(value_of(f)));
}

/* Fetches the winners of the challenged keys and keeps them. */
static enum leat_status fetch_winners(struct distinct_node *d, const struct leat_step_context *context,
                                      struct leat_error *err) {
    uint32_t *indexes = leat_alloc(d->challenge_count * sizeof *indexes);
    leat_i128 *places = leat_alloc(d->challenge_count * sizeof *places);
    struct leat_changes rows;
    size_t count = 0;
    for (size_t i = 0; i < d->challenge_count; i++) {
        struct leat_fingerprint *f = leat_fingerprint_at(&d->table, d->challenges[i].index);
        if (kind_of(f) == FETCHING) continue;
        set_kind(f, FETCHING);
        indexes[count] = d->challenges[i].index;
        places[count++] = (leat_i128)partition_of(value_of(f)) << 64 | offset_of(value_of(f));
    }
    d->rows_fetched += count;
    leat_changes_init(&rows, d->base.inputs[0]);
    enum leat_status status =
        context && context->fetch
            ? context->fetch(context->fetch_context, places, count, &rows, err)
            : leat_fail(err, LEAT_INVALID, "operator %d: nothing can fetch the rows it knows by place", d->base.id);
    if (status == LEAT_OK && rows.row_count != count)
        status = leat_fail(err, LEAT_CORRUPT, "operator %d: %zu rows were fetched by place, %zu came", d->base.id,
                           count, rows.row_count);
    for (size_t i = 0; i < count && status == LEAT_OK; i++)
        status = check_fetched(d, leat_fingerprint_at(&d->table, indexes[i]), &rows, i, err);
    if (status == LEAT_OK) leat_row_encode(&d->codec, &rows, NULL, 0, count, &d->block);
    for (size_t i = 0; i < count && status == LEAT_OK; i++, d->kept_count++)
        keep(d, leat_fingerprint_at(&d->table, indexes[i]), i);
    leat_changes_deinit(&rows);
    free(indexes);
    free(places);
    return status;
}

static enum leat_status settle_challenges(struct distinct_node *d, const struct leat_step_context *context,
                                          const struct leat_changes *in, struct leat_error *err) {
    if (!d->challenge_count) return LEAT_OK;
    enum leat_status status = fetch_winners(d, context, err);
    for (size_t i = 0; i < d->challenge_count && status == LEAT_OK; i++) {
        struct challenge c = d->challenges[i];
        struct leat_fingerprint *f = leat_fingerprint_at(&d->table, c.index);
        uint64_t content;
        if (!beats(d, f, c.index, in, c.row)) continue;
        hash_contents(d, in, c.row, 1, &content);
        win(d, f, c.index, in, c.row, content);
    }
    d->challenge_count = 0;
    return status;
}

/* ---- the step's end */

/* Winners that lost: given as -1, and forgotten. */
static void give_losers(struct distinct_node *d, struct leat_changes *out) {
    size_t lost = d->touched_count, at = out->row_count;
    if (!lost) return;
    const uint8_t **old = leat_alloc(lost * sizeof *old);
    for (size_t i = 0; i < lost; i++)
        old[i] = d->touched[i].old;
    leat_changes_need_weights(out);
    leat_changes_reserve(out, at + lost);
    leat_row_read(&d->codec, old, lost, out, 0, at);
    for (size_t i = 0; i < lost; i++)
        out->weights[at + i] = -1;
    out->row_count += lost;
    for (size_t i = 0; i < lost; i++)
        free_row(d, d->touched[i].old);
    free(old);
}

static void give_winners(const struct leat_changes *in, const uint32_t *rows, size_t n, struct leat_changes *out) {
    size_t at = out->row_count;
    bool all = n == in->row_count; /* then they are in order: each row is its own key's only one */
    leat_changes_reserve(out, at + n);
    for (size_t i = 0; i < out->schema->field_count; i++)
        leat_gather_borrowed(out, i, at, in, i, all ? NULL : rows, 0, n);
    out->row_count += n;
    if (out->weights) /* an input row may stand for several copies; the result has it once */
        for (size_t i = 0; i < n; i++)
            out->weights[at + i] = 1;
}

/* The keys keep these rows of the batch. */
static void keep_rows(struct distinct_node *d, const struct leat_changes *in, const uint32_t *indexes,
                      const uint32_t *rows, size_t n) {
    for (size_t at = 0; at < n; at += CHUNK_ROWS) {
        size_t part = n - at < CHUNK_ROWS ? n - at : CHUNK_ROWS;
        leat_row_encode(&d->codec, in, rows + at, 0, part, &d->block);
        for (size_t i = 0; i < part; i++)
            keep(d, leat_fingerprint_at(&d->table, indexes[at + i]), i);
    }
}

/* New keys that are not known by place keep their rows; touched ones keep theirs. */
static void settle(struct distinct_node *d, const struct leat_changes *in, struct leat_changes *out) {
    size_t n = d->new_count + d->touched_count, count = 0;
    uint32_t *rows = leat_realloc(NULL, (n + 1) * sizeof *rows), *indexes = leat_realloc(NULL, (n + 1) * sizeof *rows);
    for (size_t i = 0; i < d->touched_count; i++)
        d->new_rows[d->new_count + i] = d->touched[i].from;
    give_losers(d, out);
    give_winners(in, d->new_rows, n, out);
    for (uint32_t i = 0; d->some_kept && i < d->new_count; i++) {
        if (kind_of(leat_fingerprint_at(&d->table, d->first_new + i)) != KEPT) continue;
        rows[count] = d->new_rows[i];
        indexes[count++] = d->first_new + i;
    }
    d->kept_count += count;
    for (size_t i = 0; i < d->touched_count; i++) {
        rows[count] = d->touched[i].from;
        indexes[count++] = d->touched[i].index;
    }
    keep_rows(d, in, indexes, rows, count);
    free(rows);
    free(indexes);
}

static enum leat_status distinct_step(struct leat_node *node, const struct leat_step_context *context,
                                      const struct leat_changes *const inputs[2], struct leat_changes *out,
                                      struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    const struct leat_changes *in = inputs[0];
    if (context) d->cut_us = context->cut_us;
    if (!in) return LEAT_OK;
    if (in->weights)
        for (size_t i = 0; i < in->row_count; i++)
            if (in->weights[i] <= 0)
                return leat_fail(
                    err, LEAT_INVALID,
                    "operator %d: DISTINCT ON was given a row with weight %d: its input must be append-only", node->id,
                    (int)in->weights[i]);
    d->new_count = d->touched_count = d->challenge_count = 0;
    d->first_new = d->table.count;
    d->keep_new = !node->op->by_place || d->rows_fetched > FETCHES_FEW + d->rows_seen / FETCH_SHARE;
    d->some_kept = false;
    if (d->new_capacity < in->row_count) {
        d->new_capacity = in->row_count + in->row_count / 2;
        d->new_rows = leat_realloc(d->new_rows, d->new_capacity * sizeof *d->new_rows);
    }
    d->rows_seen += in->row_count;
    for (size_t from = 0; from < in->row_count; from += CHUNK_ROWS)
        take_chunk(d, in, from, in->row_count - from < CHUNK_ROWS ? in->row_count - from : CHUNK_ROWS);
    enum leat_status status = settle_challenges(d, context, in, err);
    if (status) return status;
    node->stats.keys_touched += d->new_count + d->touched_count;
    settle(d, in, out);
    return LEAT_OK;
}

static void distinct_stats(const struct leat_node *node, struct leat_node_stats *out) {
    const struct distinct_node *d = (const struct distinct_node *)node;
    out->state_keys = d->table.count;
    out->state_bytes = leat_fingerprints_bytes(&d->table) + d->heap.reserved_bytes + d->minute_capacity * sizeof *d->minutes;
}

/* ---- checkpoints */

static size_t distinct_parts(const struct leat_node *node) {
    return node->op->by_place ? 2 : 1;
}

static bool is_places(const struct leat_node *node, size_t part) {
    return node->op->by_place && part == 0;
}

static const struct leat_schema *distinct_part_schema(const struct leat_node *node, size_t part) {
    return is_places(node, part) ? &((const struct distinct_node *)node)->place_schema : &node->op->schema;
}

static void save_places(struct distinct_node *d, const uint32_t *indexes, size_t n, struct leat_changes *out) {
    size_t at = out->row_count;
    uint64_t *low = (uint64_t *)out->columns[0].data + at, *high = (uint64_t *)out->columns[1].data + at,
             *content = (uint64_t *)out->columns[2].data + at, *offset = (uint64_t *)out->columns[4].data + at;
    uint32_t *partition = (uint32_t *)out->columns[3].data + at;
    for (size_t i = 0; d->time && i < n; i++) ((int32_t *)out->columns[5].data)[at + i] = d->minutes[indexes[i]];
    for (size_t i = 0; i < n; i++) {
        const struct leat_fingerprint *f = leat_fingerprint_at(&d->table, indexes[i]);
        low[i] = f->key.low;
        high[i] = f->key.high;
        content[i] = f->content;
        partition[i] = (uint32_t)partition_of(value_of(f));
        offset[i] = offset_of(value_of(f));
    }
}

/* Keys as a save goes through them: all, or those listed as changed and then the new ones. */
static bool next_key(const struct distinct_node *d, bool only_dirty, uint64_t *cursor, uint32_t *index) {
    const uint64_t listed = only_dirty ? d->changed_count : 0, first = only_dirty ? d->clean_count : 0;
    if (*cursor >= listed + d->table.count - first) return false;
    *index = *cursor < listed ? d->changed[*cursor] : (uint32_t)(first + *cursor - listed);
    ++*cursor;
    return true;
}

static enum leat_status distinct_save(struct leat_node *node, size_t part, bool only_dirty, uint64_t *cursor,
                                      size_t max_rows, struct leat_changes *out, struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    uint32_t *indexes = leat_realloc(NULL, (max_rows + 1) * sizeof *indexes), index;
    const uint8_t **rows = leat_realloc(NULL, (max_rows + 1) * sizeof *rows);
    size_t n = 0, at = out->row_count;
    bool places = is_places(node, part);
    (void)err;
    while (n < max_rows && next_key(d, only_dirty, cursor, &index)) {
        const struct leat_fingerprint *f = leat_fingerprint_at(&d->table, index);
        if (places != (kind_of(f) == BY_PLACE)) continue;
        if (!places) rows[n] = kept_row(f);
        indexes[n++] = index;
    }
    leat_changes_reserve(out, at + n);
    if (places)
        save_places(d, indexes, n, out);
    else
        leat_row_read(&d->codec, rows, n, out, 0, at);
    if (out->weights)
        for (size_t i = 0; i < n; i++)
            out->weights[at + i] = 1;
    out->row_count += n;
    free(rows);
    free(indexes);
    return n ? LEAT_OK : LEAT_END;
}

/* A table of the keys that have not ended, in their order; what is stored of the others goes when the checkpoint's base is written anew. */
static void forget_ended(struct distinct_node *d, uint32_t live) {
    struct leat_fingerprints old = d->table;
    struct leat_hash128 keys[CHUNK_ROWS];
    uint32_t from[CHUNK_ROWS], indexes[CHUNK_ROWS];
    leat_fingerprints_init(&d->table);
    leat_fingerprints_reserve(&d->table, live);
    for (uint32_t at = 0; at < old.count;) {
        size_t n = 0;
        for (; at < old.count && n < CHUNK_ROWS; at++) {
            struct leat_fingerprint *f = leat_fingerprint_at(&old, at);
            if (!has_ended(d, at)) {
                keys[n] = f->key;
                from[n++] = at;
            } else if (kind_of(f) == KEPT) {
                free_row(d, kept_row(f));
                d->kept_count--;
            }
        }
        leat_fingerprints_upsert(&d->table, keys, n, indexes);
        for (size_t i = 0; i < n; i++) { /* new ones, so index <= from */
            *leat_fingerprint_at(&d->table, indexes[i]) = *leat_fingerprint_at(&old, from[i]);
            d->minutes[indexes[i]] = d->minutes[from[i]];
        }
    }
    leat_fingerprints_deinit(&old);
}

static void forget_if_worth_it(struct distinct_node *d) {
    uint32_t live = 0;
    if (!d->time || d->table.count < d->look_at) return;
    for (uint32_t i = 0; i < d->table.count; i++) live += !has_ended(d, i);
    if (live <= d->table.count / 2) forget_ended(d, live);
    d->look_at = d->table.count + d->table.count / 4 > LOOK_AT_FIRST ? d->table.count + d->table.count / 4 : LOOK_AT_FIRST;
}

static void distinct_clean(struct leat_node *node) {
    struct distinct_node *d = (struct distinct_node *)node;
    for (size_t i = 0; i < d->changed_count; i++)
        leat_fingerprint_at(&d->table, d->changed[i])->at &= ~CHANGED;
    d->changed_count = 0;
    forget_if_worth_it(d);
    d->clean_count = d->table.count;
}

static uint64_t distinct_part_rows(const struct leat_node *node, size_t part) {
    const struct distinct_node *d = (const struct distinct_node *)node;
    return is_places(node, part) ? d->table.count - d->kept_count : d->kept_count;
}

static void distinct_load_hint(struct leat_node *node, size_t part, uint64_t rows) {
    struct distinct_node *d = (struct distinct_node *)node;
    (void)part;
    leat_fingerprints_reserve(&d->table, d->table.count + rows);
}

/* What a checkpoint says of a key that is kept already is older. */
static enum leat_status load_places(struct distinct_node *d, const struct leat_changes *rows, size_t from, size_t n,
                                    struct leat_error *err) {
    const uint64_t *low = rows->columns[0].data, *high = rows->columns[1].data, *content = rows->columns[2].data,
                   *offset = rows->columns[4].data;
    const uint32_t *partition = rows->columns[3].data;
    struct leat_hash128 keys[CHUNK_ROWS] = {0};
    uint32_t indexes[CHUNK_ROWS], known = d->table.count;
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct leat_hash128){.low = low[from + i], .high = high[from + i]};
    leat_fingerprints_upsert(&d->table, keys, n, indexes);
    room_for_minutes(d);
    for (size_t i = 0; i < n; i++) {
        struct leat_fingerprint *f = leat_fingerprint_at(&d->table, indexes[i]);
        if (d->time) d->minutes[indexes[i]] = ((const int32_t *)rows->columns[5].data)[from + i];
        leat_i128 place = (leat_i128)partition[from + i] << 64 | offset[from + i];
        uint64_t packed;
        if (indexes[i] == known) {
            known++;
            f->at = 0;
        }
        if (kind_of(f) == KEPT) continue;
        if (!pack_place(place, &packed))
            return leat_fail(err, LEAT_CORRUPT, "operator %d: a checkpoint has a record at offset %llu of partition %u",
                             d->base.id, (unsigned long long)offset[from + i], (unsigned)partition[from + i]);
        f->content = content[from + i];
        set_at(f, BY_PLACE, packed);
    }
    return LEAT_OK;
}

static enum leat_status load_rows(struct distinct_node *d, const struct leat_changes *rows, size_t from, size_t n,
                                  struct leat_error *err) {
    struct leat_hash128 keys[CHUNK_ROWS];
    uint64_t contents[CHUNK_ROWS];
    uint32_t indexes[CHUNK_ROWS], known = d->table.count;
    (void)err;
    leat_key_hash(rows, from, n, d->base.op->keys, d->base.op->key_count, keys);
    hash_contents(d, rows, from, n, contents);
    leat_row_encode(&d->codec, rows, NULL, from, n, &d->block);
    leat_fingerprints_upsert(&d->table, keys, n, indexes);
    room_for_minutes(d);
    for (size_t i = 0; i < n; i++) {
        struct leat_fingerprint *f = leat_fingerprint_at(&d->table, indexes[i]);
        if (d->time) d->minutes[indexes[i]] = minute_of(d, rows, from + i);
        if (indexes[i] == known) {
            known++;
            f->at = 0;
        }
        if (kind_of(f) == KEPT)
            free_row(d, kept_row(f));
        else
            d->kept_count++;
        f->content = contents[i];
        keep(d, f, i);
    }
    return LEAT_OK;
}

static enum leat_status distinct_load(struct leat_node *node, size_t part, const struct leat_changes *rows,
                                      struct leat_error *err) {
    struct distinct_node *d = (struct distinct_node *)node;
    enum leat_status status = LEAT_OK;
    for (size_t from = 0; from < rows->row_count && status == LEAT_OK; from += CHUNK_ROWS) {
        size_t n = rows->row_count - from < CHUNK_ROWS ? rows->row_count - from : CHUNK_ROWS;
        status = (is_places(node, part) ? load_places : load_rows)(d, rows, from, n, err);
    }
    d->clean_count = d->table.count;
    return status;
}

static const struct leat_node_ops distinct_ops = {.open = distinct_open,
                                                  .close = distinct_close,
                                                  .step = distinct_step,
                                                  .stats = distinct_stats,
                                                  .parts = distinct_parts,
                                                  .part_schema = distinct_part_schema,
                                                  .save = distinct_save,
                                                  .clean = distinct_clean,
                                                  .part_rows = distinct_part_rows,
                                                  .load_hint = distinct_load_hint,
                                                  .load = distinct_load};
const struct leat_node_kind leat_node_distinct = {&distinct_ops, sizeof(struct distinct_node)};
