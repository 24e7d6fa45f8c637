/* People's SQL in a process of its own. What a query's functions allocate is not counted by DuckDB, and it looks at an interrupt only between two pieces of work:
 * so a query runs in leat itself started anew ("leat sql-queries"), whose memory the kernel bounds, and which is killed at the query's deadline. Neither
 * reaches the process that has the tables. It lives from query to query, and is started anew where it was killed or ended.
 *
 * To it, each struct leat_query_frame and `length` bytes; the answer to each is struct leat_query_answer and, without an error, `length` bytes:
 *   O  the lake's folder, NUL, time zone, NUL, a path where one Parquet file may be written; before all others, once
 *   V  a view's name, NUL, its SELECT
 *   Q  struct leat_query_shape, name of the table whose rows it are (may be empty), NUL, the query. The answer's bytes are those of the HTTP answer */
#ifndef LEAT_SERVE_QUERY_CHILD_H
#define LEAT_SERVE_QUERY_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"

#define LEAT_QUERY_MEMORY_BYTES ((uint64_t)LEAT_GIB)       /* what DuckDB counts */
#define LEAT_QUERY_PROCESS_BYTES (2 * (uint64_t)LEAT_GIB)  /* all that the process has: with what functions make, the result and its text */
#define LEAT_QUERY_RESULT_BYTES_MAX (256 * LEAT_MIB)       /* of a result, and of rows as text; Parquet and the last row may come on top */
#define LEAT_QUERY_ANSWER_BYTES_MAX (2 * LEAT_QUERY_RESULT_BYTES_MAX)

enum { LEAT_QUERY_OPEN = 'O', LEAT_QUERY_VIEW = 'V', LEAT_QUERY_ASK = 'Q' };
struct leat_query_frame { uint32_t kind, length; };
struct leat_query_answer { uint64_t length; struct leat_error error; }; /* error.status OK: none */

enum leat_query_format { LEAT_QUERY_JSON, LEAT_QUERY_NDJSON, LEAT_QUERY_CSV, LEAT_QUERY_PARQUET, LEAT_QUERY_ARROW };
struct leat_query_shape {
    enum leat_query_format format;
    bool one_row;          /* the row alone, as JSON; NOT_FOUND when there is none */
    int64_t limit, cursor; /* of a page of a table's rows */
};

/* The process's main function. */
int leat_query_main(void);

#endif
