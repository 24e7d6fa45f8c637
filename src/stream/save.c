/* Common parts of saving and loading state. See save.h. */
#include "stream/save.h"

#include <stdlib.h>

#include "state/row.h"

size_t leat_save_tombstone(struct leat_changes *tombstones) {
    leat_changes_need_weights(tombstones);
    leat_changes_reserve(tombstones, tombstones->row_count + 1);
    tombstones->weights[tombstones->row_count] = -1;
    return tombstones->row_count++;
}

bool leat_save_tombstones(const struct leat_changes *tombstones, bool only_dirty, uint64_t *cursor, size_t max_rows,
                          struct leat_changes *out, uint64_t *entry_cursor) {
    size_t gone = only_dirty ? tombstones->row_count : 0;
    if (*cursor < gone) {
        size_t n = gone - *cursor < max_rows ? gone - *cursor : max_rows;
        uint32_t *rows = leat_alloc(n * sizeof *rows);
        for (size_t i = 0; i < n; i++)
            rows[i] = (uint32_t)(*cursor + i);
        leat_changes_append(out, tombstones, rows, n, 1);
        *cursor += n;
        free(rows);
        if (n == max_rows) return false;
    }
    *entry_cursor = *cursor - gone;
    return true;
}

void leat_save_added(const struct leat_changes *tombstones, bool only_dirty, struct leat_changes *out, size_t n,
                     uint64_t entry_cursor, uint64_t *cursor) {
    if (out->weights)
        for (size_t i = 0; i < n; i++)
            out->weights[out->row_count + i] = 1;
    out->row_count += n;
    *cursor = entry_cursor + (only_dirty ? tombstones->row_count : 0);
}

void leat_save_changes(const struct leat_changes *held, size_t from, size_t n, struct leat_changes *out) {
    size_t fields = held->schema->field_count, at = out->row_count;
    leat_changes_reserve(out, at + n);
    for (size_t c = 0; c < fields; c++) leat_gather(out, c, at, held, c, NULL, from, n);
    for (size_t i = 0; i < n; i++) {
        ((int32_t *)out->columns[fields].data)[at + i] = leat_weight(held, from + i);
        if (out->weights) out->weights[at + i] = 1;
    }
}

void leat_load_changes(struct leat_changes *held, const struct leat_changes *saved, const uint32_t *rows, size_t n) {
    size_t fields = held->schema->field_count, at = held->row_count;
    leat_changes_reserve(held, at + n);
    leat_changes_need_weights(held);
    for (size_t c = 0; c < fields; c++) leat_gather(held, c, at, saved, c, rows, 0, n);
    for (size_t i = 0; i < n; i++) held->weights[at + i] = ((const int32_t *)saved->columns[fields].data)[rows ? rows[i] : i];
    held->row_count += n;
}

size_t leat_save_run(const struct leat_changes *rows, size_t from, size_t max_rows, bool *gone) {
    size_t n = 1;
    *gone = leat_weight(rows, from) < 0;
    while (n < max_rows && from + n < rows->row_count && (leat_weight(rows, from + n) < 0) == *gone)
        n++;
    return n;
}
