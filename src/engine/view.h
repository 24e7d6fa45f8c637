/* Column-wise copying between change batches without copying strings: the source's string memory must
 * outlive the destination's use. Destinations are freed by leat_changes_deinit as usual. */
#ifndef LEAT_ENGINE_VIEW_H
#define LEAT_ENGINE_VIEW_H
#include "data/schema.h"
/* Room for `rows` more rows in c. */
void leat_view_reserve(struct leat_changes *c, size_t rows);
/* Appends values [from, from+n) of `column` to c's column `to` at row c->row_count (the caller raises row_count
 * once all columns are there). */
void leat_view_copy(struct leat_changes *c, size_t to, const struct leat_column *column, size_t from, size_t n);
/* The same with chosen rows. */
void leat_view_gather(struct leat_changes *c, size_t to, const struct leat_column *column, const uint32_t *rows, size_t n);
/* Marks row as NULL in c's column whose capacity was reserved. */
void leat_view_null(struct leat_changes *c, size_t column, size_t row);
#endif
