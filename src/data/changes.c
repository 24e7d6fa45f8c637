/* Change batches: growing, copying and consolidating columns. See schema.h.
 *
 * Invariant: in a validity bitmap the bits of rows not yet there are 1, so that appending a value needs no
 * bit work; whoever takes rows away sets their bits again. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "data/key.h"
#include "data/schema.h"

/* Readable bytes past the last value: vector loads at the end of a column need no care. */
enum { COLUMN_PADDING_BYTES = 64 };

static size_t valid_words(size_t rows) {
    return (rows + 63) / 64;
}

void leat_changes_init(struct leat_changes *c, const struct leat_schema *schema) {
    *c = (struct leat_changes){.schema = schema};
    c->columns = leat_alloc((schema->field_count + 1) * sizeof *c->columns);
    for (size_t i = 0; i < schema->field_count; i++)
        c->columns[i].type = schema->fields[i].type;
}

void leat_changes_deinit(struct leat_changes *c) {
    for (size_t i = 0; c->columns && i < c->schema->field_count; i++) {
        free(c->columns[i].data);
        free(c->columns[i].valid);
    }
    free(c->columns);
    free(c->weights);
    leat_arena_deinit(&c->strings);
    *c = (struct leat_changes){0};
}

void leat_changes_reset(struct leat_changes *c) {
    c->row_count = 0;
    for (size_t i = 0; c->columns && i < c->schema->field_count; i++) {
        free(c->columns[i].valid);
        c->columns[i].valid = NULL;
    }
    free(c->weights);
    c->weights = NULL;
    leat_arena_reset(&c->strings);
}

static void grow_valid(struct leat_column *column, size_t old_rows, size_t rows) {
    size_t had = column->valid ? valid_words(old_rows) : 0, want = valid_words(rows);
    column->valid = leat_realloc(column->valid, want * sizeof *column->valid);
    if (want > had) memset(column->valid + had, 0xff, (want - had) * sizeof *column->valid);
}

void leat_changes_reserve(struct leat_changes *c, size_t rows) {
    if (rows <= c->capacity) return;
    size_t capacity = c->capacity * 2 > rows ? c->capacity * 2 : rows;
    if (capacity < 16) capacity = 16;
    for (size_t i = 0; i < c->schema->field_count; i++) {
        struct leat_column *column = &c->columns[i];
        column->data = leat_realloc(column->data, capacity * leat_type_size(column->type) + COLUMN_PADDING_BYTES);
        if (column->valid) grow_valid(column, c->capacity, capacity);
    }
    if (c->weights) c->weights = leat_realloc(c->weights, capacity * sizeof *c->weights);
    c->capacity = capacity;
}

void leat_changes_need_weights(struct leat_changes *c) {
    if (c->weights) return;
    c->weights = leat_realloc(NULL, (c->capacity + 1) * sizeof *c->weights);
    for (size_t i = 0; i < c->row_count; i++)
        c->weights[i] = 1;
}

void leat_set_null(struct leat_changes *c, size_t column, size_t row) {
    struct leat_column *target = &c->columns[column];
    assert(row < c->capacity);
    if (!target->valid) grow_valid(target, 0, c->capacity);
    target->valid[row >> 6] &= ~(1ull << (row & 63));
    size_t size = leat_type_size(target->type);
    memset((char *)target->data + row * size, 0, size);
}

#define GATHER(bytes)                                                                                                  \
    do {                                                                                                               \
        struct value {                                                                                                 \
            unsigned char byte[bytes];                                                                                 \
        };                                                                                                             \
        const struct value *in = from->data;                                                                           \
        struct value *out = (struct value *)into->data + at;                                                           \
        for (size_t i = 0; i < count; i++)                                                                             \
            out[i] = in[rows[i]];                                                                                      \
    } while (0)

static void copy_values(struct leat_column *into, size_t at, const struct leat_column *from, const uint32_t *rows,
                        size_t count) {
    size_t size = leat_type_size(into->type);
    if (!rows) {
        memcpy((char *)into->data + at * size, from->data, count * size);
        return;
    }
    switch (size) {
    case 1:
        GATHER(1);
        break;
    case 2:
        GATHER(2);
        break;
    case 4:
        GATHER(4);
        break;
    case 8:
        GATHER(8);
        break;
    case 16:
        GATHER(16);
        break;
    default:
        break;
    }
}

/* Rows [at, at+count) hold copied string structs: bring the bytes of the long ones into our arena. */
static void own_strings(struct leat_changes *c, struct leat_column *column, size_t at, size_t count) {
    struct leat_string *s = (struct leat_string *)column->data + at;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        if (s[i].length > LEAT_STRING_INLINE) total += s[i].length;
    if (!total) return;
    char *bytes = leat_arena_alloc(&c->strings, total);
    for (size_t i = 0; i < count; i++) {
        if (s[i].length <= LEAT_STRING_INLINE) continue;
        memcpy(bytes, s[i].u.pointer.data, s[i].length);
        s[i].u.pointer.data = bytes;
        bytes += s[i].length;
    }
}

static void copy_nulls(struct leat_changes *c, size_t column, const struct leat_column *from, const uint32_t *rows,
                       size_t count) {
    struct leat_column *into = &c->columns[column];
    for (size_t i = 0; i < count; i++) {
        size_t row = rows ? rows[i] : i;
        if (!leat_is_null(from, row)) continue;
        if (!into->valid) grow_valid(into, 0, c->capacity);
        size_t at = c->row_count + i;
        into->valid[at >> 6] &= ~(1ull << (at & 63));
    }
}

void leat_changes_append(struct leat_changes *c, const struct leat_changes *from, const uint32_t *rows, size_t count,
                         int32_t sign) {
    assert(c != from && c->schema->field_count == from->schema->field_count);
    if (!count) return;
    leat_changes_reserve(c, c->row_count + count);
    for (size_t i = 0; i < c->schema->field_count; i++) {
        struct leat_column *into = &c->columns[i];
        const struct leat_column *source = &from->columns[i];
        assert(leat_type_equal(into->type, source->type));
        copy_values(into, c->row_count, source, rows, count);
        if (source->valid) copy_nulls(c, i, source, rows, count);
        if (leat_type_is_string(into->type)) own_strings(c, into, c->row_count, count);
    }
    if (from->weights || sign != 1) leat_changes_need_weights(c);
    if (c->weights)
        for (size_t i = 0; i < count; i++)
            c->weights[c->row_count + i] = sign * leat_weight(from, rows ? rows[i] : i);
    c->row_count += count;
}

void leat_changes_append_range(struct leat_changes *c, const struct leat_changes *from, size_t first, size_t count) {
    uint32_t *rows = leat_alloc((count + 1) * sizeof *rows);
    for (size_t i = 0; i < count; i++)
        rows[i] = (uint32_t)(first + i);
    leat_changes_append(c, from, rows, count, 1);
    free(rows);
}

void leat_changes_swap(struct leat_changes *a, struct leat_changes *b) {
    struct leat_changes t = *a;
    *a = *b;
    *b = t;
}

/* Moves row `from` down to row `to` < from. */
static void move_row(struct leat_changes *c, size_t to, size_t from) {
    for (size_t i = 0; i < c->schema->field_count; i++) {
        struct leat_column *column = &c->columns[i];
        size_t size = leat_type_size(column->type);
        memcpy((char *)column->data + to * size, (char *)column->data + from * size, size);
        if (!column->valid) continue;
        uint64_t bit = column->valid[from >> 6] >> (from & 63) & 1;
        column->valid[to >> 6] = (column->valid[to >> 6] & ~(1ull << (to & 63))) | bit << (to & 63);
    }
    c->weights[to] = c->weights[from];
}

static void drop_zero_rows(struct leat_changes *c) {
    size_t kept = 0, rows = c->row_count;
    for (size_t row = 0; row < rows; row++) {
        if (!c->weights[row]) continue;
        if (kept != row) move_row(c, kept, row);
        kept++;
    }
    for (size_t i = 0; i < c->schema->field_count; i++)
        if (c->columns[i].valid)
            for (size_t row = kept; row < rows; row++)
                c->columns[i].valid[row >> 6] |= 1ull << (row & 63);
    c->row_count = kept;
}

/* Open addressing over row numbers; a slot keeps part of the hash so that most misses need no compare. */
struct slot {
    uint32_t tag, row_plus_1;
};

static void merge_rows(struct leat_changes *c, const uint16_t *all, const struct leat_hash128 *hashes,
                       struct slot *slots, size_t mask) {
    size_t columns = c->schema->field_count;
    for (size_t row = 0; row < c->row_count; row++) {
        uint32_t tag = (uint32_t)(hashes[row].high >> 32);
        for (size_t at = hashes[row].low & mask;; at = (at + 1) & mask) {
            if (!slots[at].row_plus_1) {
                slots[at] = (struct slot){.tag = tag, .row_plus_1 = (uint32_t)row + 1};
                break;
            }
            size_t other = slots[at].row_plus_1 - 1;
            if (slots[at].tag != tag || !leat_key_equal(c, row, all, c, other, all, columns)) continue;
            int32_t sum;
            /* A sum that does not fit stays spread over several rows. */
            if (__builtin_add_overflow(c->weights[other], c->weights[row], &sum)) continue;
            c->weights[other] = sum;
            c->weights[row] = 0;
            break;
        }
    }
}

void leat_changes_consolidate(struct leat_changes *c) {
    size_t columns = c->schema->field_count, rows = c->row_count;
    if (!rows || (rows == 1 && !c->weights)) return;
    assert(rows < UINT32_MAX && columns <= UINT16_MAX);
    leat_changes_need_weights(c);
    size_t slot_count = 16;
    while (slot_count < rows * 2)
        slot_count *= 2;
    uint16_t *all = leat_alloc((columns + 1) * sizeof *all);
    for (size_t i = 0; i < columns; i++)
        all[i] = (uint16_t)i;
    struct leat_hash128 *hashes = leat_realloc(NULL, rows * sizeof *hashes);
    struct slot *slots = leat_alloc(slot_count * sizeof *slots);
    leat_key_hash(c, 0, rows, all, columns, hashes);
    merge_rows(c, all, hashes, slots, slot_count - 1);
    drop_zero_rows(c);
    free(slots);
    free(hashes);
    free(all);
}
