#include "engine/view.h"

#include <string.h>

void leat_view_reserve(struct leat_changes *c, size_t rows) {
    leat_changes_reserve(c, c->row_count + rows);
}

static uint64_t *need_valid(struct leat_changes *c, size_t column) {
    struct leat_column *col = &c->columns[column];
    if (!col->valid) {
        size_t words = (c->capacity + 63) / 64;
        col->valid = leat_alloc(words * 8 + 8);
        memset(col->valid, 0xff, words * 8);
    }
    return col->valid;
}

void leat_view_null(struct leat_changes *c, size_t column, size_t row) {
    need_valid(c, column)[row >> 6] &= ~(1ULL << (row & 63));
    size_t width = leat_type_size(c->columns[column].type);
    memset((char *)c->columns[column].data + row * width, 0, width);
}

static void set_bit(uint64_t *words, size_t row, bool on) {
    if (on)
        words[row >> 6] |= 1ULL << (row & 63);
    else
        words[row >> 6] &= ~(1ULL << (row & 63));
}

void leat_view_copy(struct leat_changes *c, size_t to, const struct leat_column *column, size_t from, size_t n) {
    size_t width = leat_type_size(column->type), at = c->row_count;
    if (!n) return;
    memcpy((char *)c->columns[to].data + at * width, (const char *)column->data + from * width, n * width);
    if (!column->valid && !c->columns[to].valid) return;
    uint64_t *valid = need_valid(c, to);
    if (!column->valid) {
        for (size_t i = 0; i < n; i++) set_bit(valid, at + i, true);
    } else if (((at | from) & 63) == 0) {
        memcpy(valid + (at >> 6), column->valid + (from >> 6), (n + 63) / 64 * 8);
    } else {
        for (size_t i = 0; i < n; i++)
            set_bit(valid, at + i, column->valid[(from + i) >> 6] >> ((from + i) & 63) & 1);
    }
}

void leat_view_gather(struct leat_changes *c, size_t to, const struct leat_column *column, const uint32_t *rows, size_t n) {
    size_t width = leat_type_size(column->type), at = c->row_count;
    if (!n) return;
    char *out = (char *)c->columns[to].data + at * width;
    const char *in = column->data;
    switch (width) {
    case 8:
        for (size_t i = 0; i < n; i++) memcpy(out + i * 8, in + rows[i] * (size_t)8, 8);
        break;
    case 4:
        for (size_t i = 0; i < n; i++) memcpy(out + i * 4, in + rows[i] * (size_t)4, 4);
        break;
    case 16:
        for (size_t i = 0; i < n; i++) memcpy(out + i * 16, in + rows[i] * (size_t)16, 16);
        break;
    default:
        for (size_t i = 0; i < n; i++) memcpy(out + i * width, in + rows[i] * width, width);
    }
    if (!column->valid && !c->columns[to].valid) return;
    uint64_t *valid = need_valid(c, to);
    for (size_t i = 0; i < n; i++)
        set_bit(valid, at + i, !column->valid || (column->valid[rows[i] >> 6] >> (rows[i] & 63) & 1));
}
