/* Shared by the nodes' checkpoints: the sequence a save walks is first the tombstones (only_dirty), then the
 * entries; one cursor counts through both. */
#ifndef LEAT_STREAM_SAVE_H
#define LEAT_STREAM_SAVE_H

#include "data/schema.h"

/* Makes room for one more tombstone (weight -1) and counts it; returns its row, to be filled by the caller. */
size_t leat_save_tombstone(struct leat_changes *tombstones);
/* Appends tombstones from *cursor on. False: out has max_rows new rows, come again. True: go on with the entries from *entry_cursor. */
bool leat_save_tombstones(const struct leat_changes *tombstones, bool only_dirty, uint64_t *cursor, size_t max_rows,
                          struct leat_changes *out, uint64_t *entry_cursor);
/* n entries were written at out->row_count: counts them, weight +1, and moves *cursor. */
void leat_save_added(const struct leat_changes *tombstones, bool only_dirty, struct leat_changes *out, size_t n,
                     uint64_t entry_cursor, uint64_t *cursor);
/* Changes that wait, saved as rows of their own (weight +1) whose column after the changes' own ones, an INTEGER, is the change's weight.
 * save: rows from..from+n of `held` at out->row_count, which is left to the caller to move, like the columns after the weight.
 * load: rows[] of `saved` (NULL: all n) back, appended to `held`. */
void leat_save_changes(const struct leat_changes *held, size_t from, size_t n, struct leat_changes *out);
void leat_load_changes(struct leat_changes *held, const struct leat_changes *saved, const uint32_t *rows, size_t n);
/* Loading: how many rows from `from` on, at most max_rows, have the same sign of weight; *gone: negative. */
size_t leat_save_run(const struct leat_changes *rows, size_t from, size_t max_rows, bool *gone);

#endif
