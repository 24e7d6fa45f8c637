/* DuckDB behind one small interface; sql/duck*.c are the only files that include duckdb.h.
 *
 * Three kinds of instance, never mixed (DUCKDB facts: global settings, re-binding): STEP (threads=1, prepared stages over
 * change batches), PLAN (stand-in table functions, allow-listed optimiser rules), BATCH (lake scans,
 * user SQL, Parquet writing). Every instance pins: TimeZone of the project (default UTC), default_null_order=nulls_last,
 * integer_division=false, default_collation binary, preserve_insertion_order=false for BATCH, and registers
 * leat's functions:
 *   leat_tumble(TIMESTAMP|TIMESTAMPTZ|DATE, width_us BIGINT, origin_us BIGINT) -> window start (floor, also before 1970)
 *   leat_hop(time, slide_us, size_us, origin_us, n BIGINT) -> start of the n-th window before the last that holds the time
 *   leat_session_end(end, time) -> end (NULL without a time): SESSION's, known to the planner
 *   leat_sum/leat_avg(DOUBLE): exact and independent of order (base/exact_sum.h), also with DISTINCT, FILTER and OVER. DuckDB's
 *     own sum and avg (mean) over FLOAT, DOUBLE and UHUGEINT depend on the order of rows, and its C interface cannot replace
 *     them: leat_conn_exact_sums renames the calls in a query. Over integers and decimals sum and avg are order-independent, but
 *     for the failure when a partial sum leaves 38 digits.
 *   leat_now(), volatile, and as macros over it now, current_timestamp, transaction_timestamp, get_current_timestamp, today,
 *     current_date, localtimestamp, current_localtimestamp, current_time, localtime, get_current_time, current_localtime,
 *     age(t): the clock reading of leat_conn_set_clock, the wall clock before the first (rule 7). What a macro cannot
 *     cover and the planner must refuse: these names qualified by `system` or `pg_catalog`; random, setseed, uuid, gen_random_uuid,
 *     uuidv4, uuidv7, nextval, currval, txid_current, current_query, getvariable and the like, as rule 7's allow-list does.
 * Thread: a connection and all it made belong to one thread at a time; instances may be shared. */
#ifndef LEAT_SQL_DUCK_H
#define LEAT_SQL_DUCK_H

#include "base/env.h"
#include "data/schema.h"

struct leat_duck;  /* an instance */
struct leat_conn;  /* a connection */
struct leat_stage; /* a prepared statement over inputs */

enum leat_duck_use { LEAT_DUCK_STEP, LEAT_DUCK_PLAN, LEAT_DUCK_BATCH };
struct leat_duck_options {
    enum leat_duck_use use;
    int threads;                 /* 0: 1 */
    uint64_t memory_limit_bytes; /* 0: 4 GiB */
    const char *temp_dir;        /* NULL: no spilling */
    const char *time_zone;       /* NULL: UTC */
    bool locked;                 /* user SQL: no file or network access, configuration locked; leat_conn_query runs only queries */
    const char *allowed_dir;     /* locked: the one directory (the lake) whose files stay readable; NULL: none */
};
enum leat_status leat_duck_open(const struct leat_duck_options *, struct leat_duck **out, struct leat_error *) LEAT_MUST;
void leat_duck_close(struct leat_duck *);
const char *leat_duck_version(void);
enum leat_status leat_conn_open(struct leat_duck *, struct leat_conn **out, struct leat_error *) LEAT_MUST;
void leat_conn_close(struct leat_conn *);
/* Threads of the connection's whole instance from its next statement on. */
enum leat_status leat_conn_set_threads(struct leat_conn *, int threads, struct leat_error *) LEAT_MUST;

/* Runs one or more statements, results dropped. Errors: SQL with DuckDB's text (bad_data set for conversion, out of
 * range, invalid input, division: errors a row can cause); fatal set on FATAL/INTERNAL. */
enum leat_status leat_conn_exec(struct leat_conn *, const char *sql, struct leat_error *) LEAT_MUST;
enum leat_status leat_conn_execf(struct leat_conn *, struct leat_error *, const char *format, ...) LEAT_PRINTF(3, 4) LEAT_MUST;
/* A materialised result in our own memory. NESTED result columns come as VARCHAR (DuckDB's text). */
struct leat_result {
    struct leat_schema schema;
    struct leat_changes rows; /* rows.schema == &schema: do not move the struct */
};
enum leat_status leat_conn_query(struct leat_conn *, const char *sql, struct leat_result *out, struct leat_error *) LEAT_MUST;
void leat_result_deinit(struct leat_result *);
/* Of a locked instance: larger results are LIMIT (about; in our memory). 0: any size. */
void leat_conn_cap_results(struct leat_conn *, size_t bytes_max);
/* First column of the first row as text, malloc'd; NULL text for SQL NULL; NOT_FOUND when no row. */
enum leat_status leat_conn_text(struct leat_conn *, const char *sql, char **out, struct leat_error *) LEAT_MUST;
enum leat_status leat_conn_int(struct leat_conn *, const char *sql, int64_t *out, struct leat_error *) LEAT_MUST;
/* Runs a COPY ... TO with the option RETURN_STATS: the files written and their columns' statistics (DuckDB's text of the
 * values; NULL: none). has_nan: -1 unknown, 0, 1. null_count: -1 unknown. Columns inside nested ones are left out. */
struct leat_copied_column { char *name, *low, *high; size_t low_length, high_length; int64_t null_count; int has_nan; };
struct leat_copied_file { char *path; uint64_t row_count, size_bytes; struct leat_copied_column *columns; size_t column_count; };
struct leat_copied { struct leat_copied_file *files; size_t file_count; };
/* Appends "FORMAT parquet, ..." for COPY: what every Parquet file of leat's is written with. */
void leat_put_parquet_options(const struct leat_schema *, bool few_rows, struct leat_buffer *out);
enum leat_status leat_conn_copy(struct leat_conn *, const char *sql, struct leat_copied *out, struct leat_error *) LEAT_MUST;
void leat_copied_deinit(struct leat_copied *);
/* Names and types of a query's result without running it. NESTED kinds stay NESTED. */
enum leat_status leat_conn_describe(struct leat_conn *, const char *sql, struct leat_schema *out, struct leat_error *) LEAT_MUST;
/* Stops a running statement from another thread. */
void leat_conn_interrupt(struct leat_conn *);
void leat_conn_set_clock(struct leat_conn *, int64_t now_us);
/* Plan instances: json_serialize_plan / json_serialize_sql / json_deserialize_sql of `sql`; an {"error":true} answer
 * becomes SQL with its message (and position where given). out malloc'd JSON text. */
int leat_conn_error_offset(const struct leat_conn *); /* byte in sql of the last failure of these; -1: unknown */
enum leat_status leat_conn_bound_plan(struct leat_conn *, const char *sql, char **out, struct leat_error *) LEAT_MUST;
enum leat_status leat_conn_parse(struct leat_conn *, const char *sql, char **out_json, struct leat_error *) LEAT_MUST;
enum leat_status leat_conn_unparse(struct leat_conn *, const char *json, char **out_sql, struct leat_error *) LEAT_MUST;

/* `sql` with sum, avg and mean over floats made leat_sum and leat_avg, all else and the output names unchanged; a copy of `sql` when
 * there are none. Any instance on which the query binds. Errors: SQL; UNSUPPORTED where names would change. */
enum leat_status leat_conn_exact_sums(struct leat_conn *, const char *sql, char **out_sql, struct leat_error *) LEAT_MUST;

/* Inputs: batches readable in SQL. After leat_conn_input(conn, "x", schema, named) the table function call
 * leat_input('x') has the schema's columns, named c0, c1, ... (named=false) or by their own names (named=true), then
 *   __row UINTEGER  position in the batch        __w INTEGER  weight
 * With use=PLAN the same declaration serves as the stand-in (no rows, and no __row and __w, so that * is the user's own) and, with named=true, the bare name x in FROM resolves to it
 * by a replacement scan, compared without case. Declaring a name again replaces it (prepared stages over the old
 * one become invalid). The bound batch is borrowed until the next bind; strings in it must be valid UTF-8. */
enum leat_status leat_conn_input(struct leat_conn *, const char *name, const struct leat_schema *, bool named, struct leat_error *) LEAT_MUST;
void leat_conn_bind(struct leat_conn *, const char *name, const struct leat_changes *batch); /* NULL: empty */
/* Several batches of the schema as one input, in order; the array is borrowed too. */
void leat_conn_bind_all(struct leat_conn *, const char *name, const struct leat_changes *batches, size_t count);
/* A number that the caller keeps with an input until it is declared anew; -1: none, or no such input. */
void leat_conn_note(struct leat_conn *, const char *name, int64_t note);
int64_t leat_conn_noted(const struct leat_conn *, const char *name);

/* Prepares once; runs many times. `out` is appended to (its schema must have the stage's types; checked); strings are
 * copied into out->strings. A result column named __w becomes the weight instead of a column.
 * rows_out (may be NULL): a result column named __row is put there (grown with leat_realloc) instead of a column. */
struct leat_rows { uint32_t *rows; size_t count, capacity; };
enum leat_status leat_stage_prepare(struct leat_conn *, const char *sql, struct leat_stage **out, struct leat_error *) LEAT_MUST;
const struct leat_schema *leat_stage_schema(const struct leat_stage *); /* without __w and __row */
enum leat_status leat_stage_run(struct leat_stage *, struct leat_changes *out, struct leat_rows *rows_out, struct leat_error *) LEAT_MUST;
void leat_stage_free(struct leat_stage *);

#endif
