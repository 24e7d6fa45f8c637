/* What the duck*.c files share; nobody else includes it. */
#ifndef LEAT_SQL_DUCK_INTERNAL_H
#define LEAT_SQL_DUCK_INTERNAL_H

#include <duckdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "sql/duck.h"

/* A declared input. Bound statements keep a reference, so a name declared anew leaves them a dead slot, not
 * freed memory. */
struct leat_slot {
    char *name;
    struct leat_schema schema;
    bool named, retired;
    int64_t note; /* of leat_conn_note; -1: none */
    uint64_t hash; /* its part of the connection's world */
    atomic_int references;
    const struct leat_changes *batches; /* borrowed */
    size_t batch_count;
};

/* Answers of the planner (duck_memo.c). */
struct leat_memo {
    struct leat_answer *answers;
    size_t bytes;
};

struct leat_duck {
    duckdb_database database;
    enum leat_duck_use use;
    bool locked;
    pthread_mutex_t lock; /* guards connections and their lists of slots, and the memo */
    struct leat_memo memo; /* of an instance for planning */
    struct leat_conn **connections;
    size_t connection_count;
};

/* DuckDB's own parser and planner as functions from text to text. */
enum leat_serialiser {
    LEAT_SERIALISE_PLAN,  /* a query -> its plan, by the optimiser rules of the instance */
    LEAT_SERIALISE_BOUND, /* a query -> its plan as bound */
    LEAT_SERIALISE_SQL,   /* statements -> their syntax tree */
    LEAT_DESERIALISE_SQL, /* a syntax tree -> SQL */
    LEAT_SERIALISER_COUNT
};
enum { LEAT_MEMO_DESCRIBE = LEAT_SERIALISER_COUNT }; /* beside the serialisers */

struct leat_conn {
    struct leat_duck *duck;
    duckdb_connection handle;
    idx_t id; /* DuckDB's number of the connection: how callbacks find us */
    struct leat_slot **slots;
    size_t slot_count;
    uint64_t world; /* changes with every input declared and statement run: what bound names may mean */
    bool clock_set;
    int64_t clock_us;
    size_t result_bytes_max; /* 0: any */
    int error_offset; /* of the last failed parse or plan, -1: unknown */
    struct leat_stage *serialisers[LEAT_SERIALISER_COUNT]; /* NULL: not used yet */
};

/* Type of a DuckDB column: ours, or NESTED for what a change batch cannot hold. */
struct leat_type leat_duck_type(duckdb_logical_type type);
duckdb_logical_type leat_duck_logical(struct leat_type type); /* caller destroys */

/* Turns a failed result into err (result may be NULL: then text alone decides). */
enum leat_status leat_duck_fail(struct leat_error *err, duckdb_result *result, const char *text);
/* Of a locked instance: INVALID where the statement is no query, or calls a table function that does more than read. *syntax: false
 * when it cannot be parsed, which DuckDB says better. */
enum leat_status leat_duck_check_query(struct leat_conn *, const char *sql, bool *syntax, struct leat_error *) LEAT_MUST;
enum leat_status leat_duck_only_queries(struct leat_error *) LEAT_MUST;
enum leat_status leat_duck_prepare(struct leat_conn *, const char *sql, duckdb_prepared_statement *out,
                                   struct leat_error *);
/* The answer to `sql` in `world` (0: it depends on nothing but `sql`), a copy; false: none is remembered. */
bool leat_memo_find(struct leat_conn *, int kind, uint64_t world, const char *sql, char **text, struct leat_schema *schema);
void leat_memo_keep(struct leat_conn *, int kind, uint64_t world, const char *sql, const char *text, const struct leat_schema *schema);
void leat_memo_deinit(struct leat_memo *);
/* What an input adds to the world (exclusive or: declared anew, it takes the former one's place); the world after a statement. */
uint64_t leat_memo_input(const char *name, const struct leat_schema *, bool named);
uint64_t leat_memo_statement(uint64_t before, const char *sql);
/* The connection a callback runs for, by DuckDB's number; NULL when unknown. */
struct leat_conn *leat_duck_connection(struct leat_duck *, idx_t id);

/* Appends one fetched chunk to `out`; columns[i] is the target column of chunk column i, or one of the below. */
enum { LEAT_CHUNK_WEIGHT = -1, LEAT_CHUNK_ROW = -2 };
void leat_duck_append(duckdb_data_chunk chunk, const int *columns, struct leat_changes *out, struct leat_rows *rows);
/* Takes rows appended after `row_count` away again. */
void leat_duck_truncate(struct leat_changes *out, size_t row_count);
/* Executes and appends all of the result; on failure out and rows are as before. LIMIT: more than bytes_max (0: any). */
enum leat_status leat_duck_run(duckdb_prepared_statement, const int *columns, struct leat_changes *out,
                               struct leat_rows *rows, size_t bytes_max, struct leat_error *);

/* An {"error":true} answer becomes SQL with its message, its place in c->error_offset. out malloc'd. */
enum leat_status leat_duck_serialise(struct leat_conn *, enum leat_serialiser, const char *argument, char **out,
                                     struct leat_error *) LEAT_MUST;
enum leat_status leat_duck_register_inputs(struct leat_duck *, duckdb_connection, struct leat_error *);
enum leat_status leat_duck_register_functions(struct leat_duck *, duckdb_connection, struct leat_error *);
int64_t leat_duck_now(const struct leat_conn *);
void leat_slot_release(struct leat_slot *);

#endif
