/* The lowest and the highest value of a column, its NULLs, its NaNs: what statistics of files are made of. */
#ifndef LEAT_DATA_RANGE_H
#define LEAT_DATA_RANGE_H

#include "data/schema.h"

union leat_bound {
    leat_i128 integer;       /* integers, DECIMAL (unscaled), DATE, TIME, TIMESTAMP[TZ]; UHUGEINT below 2^127 */
    double real;             /* FLOAT, DOUBLE */
    struct leat_string text; /* VARCHAR, in DuckDB's order: by bytes; borrows the column's memory */
};
struct leat_range {
    uint64_t null_count;
    bool has_nan; /* neither lowest nor highest */
    bool any;     /* low and high are there; never for BOOLEAN, BLOB, INTERVAL, UUID, NESTED */
    union leat_bound low, high;
};
/* Takes in rows [from, to) of a column; `r` starts zeroed and sees one type only. */
void leat_range_add(struct leat_range *r, const struct leat_column *c, size_t from, size_t to);
/* Takes in another range of the same type. */
void leat_range_join(struct leat_range *r, const struct leat_range *more, struct leat_type type);

#endif
