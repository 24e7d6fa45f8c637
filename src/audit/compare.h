/* How do two queries' rows differ? By key where there is one: rows on one side only, rows that changed, and in which columns; without a key as
 * multisets. For rehearsals, `leat diff` and checks; promise 1 is verify.h's. */
#ifndef LEAT_AUDIT_COMPARE_H
#define LEAT_AUDIT_COMPARE_H

#include "sql/duck.h"

/* The differing rows stay in this temporary table of the connection until the next comparison:
 * kind VARCHAR ('left', 'right': there alone; 'changed'), copies BIGINT, key, "left", "right", columns VARCHAR (JSON objects; names of
 * the columns that changed) */
#define LEAT_DIFFERENCES "temp.leat_differences"

struct leat_compare_options {
    const char *left_sql, *right_sql;
    char *const *key; size_t key_count; /* column names; 0: as multisets */
    size_t example_max;
};
struct leat_compare_column {
    char *name, *left_type, *right_type; /* a type is NULL where the side lacks the column */
    bool compared;                       /* both have it; other numbers are compared as numbers, else the right one is cast */
    uint64_t changed;                    /* rows in which it differs */
};
struct leat_compare_example { char *kind, *key, *left, *right, *columns; int64_t copies; }; /* NULL where there is none */
struct leat_compare_result {
    uint64_t left_rows, right_rows;
    uint64_t only_left, only_right, changed;
    bool by_key;
    char *note;                          /* why not by key though one was given; NULL */
    struct leat_compare_column *columns; size_t column_count;
    struct leat_compare_example *examples; size_t example_count; /* ordered by key */
};
/* batch   borrowed; a BATCH connection
 * out     owned by the caller; empty unless LEAT_OK; leat_compare_deinit
 * Errors  INVALID no column in common, a key column that is not in both; SQL, NO_MEMORY */
enum leat_status leat_compare(struct leat_conn *batch, const struct leat_compare_options *, struct leat_compare_result *out, struct leat_error *) LEAT_MUST;
void leat_compare_deinit(struct leat_compare_result *);
uint64_t leat_compare_differing(const struct leat_compare_result *);
/* Of the larger side's rows, in percent. */
double leat_compare_drift(const struct leat_compare_result *);
/* For people; left and right: what the sides are called. */
void leat_compare_print(const struct leat_compare_result *, const char *left, const char *right, struct leat_buffer *out);
/* As members of a JSON object without its braces. */
void leat_compare_json(const struct leat_compare_result *, struct leat_buffer *out);

#endif
