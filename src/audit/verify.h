/* The oracle's judgement: do two queries give the same multiset of rows? Used by `leat verify` (promise 1). */
#ifndef LEAT_AUDIT_VERIFY_H
#define LEAT_AUDIT_VERIFY_H

#include "sql/duck.h"

struct leat_verify_row {
    int64_t copies; /* > 0: the oracle has that many more; < 0: the table has that many too many */
    char **values;  /* column_count texts, NULL for SQL NULL */
};
struct leat_verify_result {
    uint64_t differing;               /* missing_rows + extra_rows; 0: equal */
    int64_t oracle_rows, table_rows;  /* of each query */
    int64_t missing_rows, extra_rows; /* in the oracle alone; in the table alone */
    char **columns;                   /* names, as the oracle's query gives them */
    size_t column_count;
    struct leat_verify_row *examples; /* the first `limit` differing rows in the order of their columns */
    size_t example_count;
};
/* Compares the rows of two SELECTs as multisets; two values are the same when IS NOT DISTINCT FROM says so (NaN = NaN, 0.0 = -0.0,
 * NULL = NULL). Column names may differ, types must not (a nested type may stand against its text).
 * batch        borrowed; a BATCH connection, nothing else running on it
 * limit        examples wanted at most
 * out          owned by the caller, empty unless LEAT_OK; leat_verify_result_deinit
 * Errors       INVALID other columns or types, named; SQL, NO_MEMORY from DuckDB */
enum leat_status leat_verify(struct leat_conn *batch, const char *oracle_sql, const char *table_sql, size_t limit,
                                     struct leat_verify_result *out, struct leat_error *) LEAT_MUST;
/* The same where both queries are known to give `schema` (in the table, nested types as text): nothing is asked first, and where the
 * rows are equal `columns` stays empty. table_rows: of the table, -1 unknown; few are compared in this process. */
enum leat_status leat_verify_known(struct leat_conn *batch, const struct leat_schema *schema, int64_t table_rows,
                                   const char *oracle_sql, const char *table_sql, size_t limit, struct leat_verify_result *out,
                                   struct leat_error *) LEAT_MUST;
void leat_verify_result_deinit(struct leat_verify_result *);
/* The result for people: a summary line, then the examples as aligned columns. */
void leat_verify_print(const struct leat_verify_result *, struct leat_buffer *out);

#endif
