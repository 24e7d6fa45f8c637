/* Delta Lake tables on a disk: the log (replay, commit, checkpoint), and writing data files.
 * Follows the Delta PROTOCOL.md; reader 1-3 with timestampNtz (and refuses features it does not know), writer 2/7.
 * A table directory is identified by its path and, across a wipe, by metaData.id. */
#ifndef LEAT_LAKE_DELTA_H
#define LEAT_LAKE_DELTA_H

#include "base/env.h"
#include "data/schema.h"
#include "sql/duck.h"

struct leat_delta_file {       /* one live `add` */
    char *path;                /* relative to the table, as in the log, URL-decoded */
    uint64_t size_bytes;
    int64_t modified_ms;
    int64_t row_count;         /* -1: no statistics */
    char *stats_json;          /* NULL: none */
    char *partition_json;      /* partitionValues object text, "{}" */
};
struct leat_delta_txn { char *app_id; int64_t version; };
struct leat_delta_snapshot {
    int64_t version;           /* -1: the table does not exist */
    char *table_id;
    int64_t created_ms;        /* metaData.createdTime; -1: not said */
    char *schema_json;         /* metaData.schemaString */
    char *grown_json;          /* {column: note of leat_delta_grow}; NULL: every file of leat's has every column */
    char *name;
    char **partition_columns; size_t partition_column_count;
    struct leat_delta_file *files; size_t file_count;
    struct leat_delta_txn *txns; size_t txn_count;
    int64_t commit_timestamp_ms;
    char *frontier_json;       /* of the newest commitInfo that has one ("leat.frontier"), or NULL */
};
/* Versions of a process that died between link and fsync are made durable, so that nothing is built on what a power cut
 * would still take away. For whoever writes what depends on the versions; a missing table is OK. */
enum leat_status leat_delta_settle(struct leat_env *, const char *table_dir, struct leat_error *) LEAT_MUST;
/* Replays the log into its state at `version` (-1: newest). Missing table: version -1, OK.
 * Errors: NOT_FOUND version gone or not yet; CORRUPT a gap or bad JSON; UNSUPPORTED a reader feature. */
enum leat_status leat_delta_snapshot(struct leat_env *, struct leat_conn *batch, const char *table_dir, int64_t version,
                                     struct leat_delta_snapshot *out, struct leat_error *) LEAT_MUST;
void leat_delta_snapshot_deinit(struct leat_delta_snapshot *);
int64_t leat_delta_txn_version(const struct leat_delta_snapshot *, const char *app_id); /* -1: none */

/* A writer keeps the newest snapshot in memory and commits against it. One writer a table a process. */
struct leat_delta;
struct leat_delta_options {
    const char *name;
    const struct leat_schema *schema;     /* logical columns; types without a Delta counterpart are stored as in
                                             leat_delta_storage_type and restored by leat_delta_select */
    const char *primary_key;              /* comma separated, informative; NULL: none */
    int checkpoint_every;                 /* commits; 0: 10 */
    bool grows;                           /* the table may lack columns, and have more: see leat_delta_schema */
    bool guarded;                         /* nothing is written on top of rows of other programs: leat_delta_take_back comes first */
};
/* Opens, or creates with commit 0 (protocol, metaData). CONFLICT when the existing schema differs. */
enum leat_status leat_delta_open(struct leat_env *, struct leat_conn *batch, const char *table_dir, const char *scratch_dir,
                                 const struct leat_delta_options *, struct leat_delta **out, struct leat_error *) LEAT_MUST;
void leat_delta_close(struct leat_delta *);
/* What is written: the schema of the options and, where the table grows, after it the columns that only the table has. Borrowed. */
const struct leat_schema *leat_delta_schema(const struct leat_delta *);
/* Of a table that grows: the columns that it lacks are added, nullable, in one commit that keeps `note` (JSON) with each as the table property
 * "leat.since.COLUMN"; what was written before has NULL there. Columns that only the table has are noted as "leat.left.COLUMN", and those that
 * come back as if they were new. Nothing of that: nothing happens. */
enum leat_status leat_delta_grow(struct leat_delta *, const char *note, struct leat_error *) LEAT_MUST;
const struct leat_delta_snapshot *leat_delta_current(const struct leat_delta *); /* borrowed; until the next commit */
uint64_t leat_delta_rows(const struct leat_delta *); /* that it has now; a file of another program that does not say how many counts as one */
/* The type a column has in Parquet: HUGEINT, UBIGINT, UHUGEINT -> DECIMAL(38|20|38,0); unsigned -> next wider signed; TIME,
 * INTERVAL, UUID, NESTED -> VARCHAR; others unchanged. */
struct leat_type leat_delta_storage_type(struct leat_type t);
/* The table's columns by its own schema, as leat types (nested ones NESTED). out is initialised by the call. */
enum leat_status leat_delta_snapshot_schema(const struct leat_delta_snapshot *, struct leat_schema *out, struct leat_error *) LEAT_MUST;
/* SQL text reading a snapshot with the logical schema: "SELECT CAST(..) AS a, ... FROM read_parquet([...])", empty tables too.
 * Columns of `logical` are found by name; NULL: all columns of the table. extra_where: NULL or a predicate. */
void leat_delta_select(const char *table_dir, const struct leat_delta_snapshot *, const struct leat_schema *logical,
                       const char *extra_where, struct leat_buffer *out_sql);

struct leat_delta_commit_info {
    const char *operation;           /* "WRITE", "MERGE", "OPTIMIZE", "CREATE TABLE" ... */
    const char *frontier_json;       /* NULL: none */
    const struct leat_delta_txn *txns; size_t txn_count;
};
/* Each commit: data files are written, by DuckDB to scratch what SQL computes, and adopted (fsync, link), then _delta_log/N.json is linked
 * (never overwritten) and the directory fsynced; every `checkpoint_every` commits a checkpoint and
 * _last_checkpoint. When a txn (app_id, version) is already at or past `version`, nothing is written: OK, *done=false.
 * `done` may be NULL. */
enum leat_status leat_delta_append(struct leat_delta *, const char *select_sql, const struct leat_delta_commit_info *, bool *done, struct leat_error *) LEAT_MUST;
enum leat_status leat_delta_overwrite(struct leat_delta *, const char *select_sql, const struct leat_delta_commit_info *, bool *done, struct leat_error *) LEAT_MUST;
/* leat_delta_overwrite in two parts, so that the long one, the query and its files, can be done beside other use of the table:
 *   leat_delta_stage            the table's thread: nothing is done yet
 *   leat_delta_stage_run        any thread, one at a time, on a connection of its own; the table may be used and changed meanwhile
 *   leat_delta_overwrite_staged the table's thread: the commit, as above; for the live files of that moment
 * Files of a stage that is freed without a commit are removed. The table outlives its stages. */
struct leat_delta_staged;
struct leat_delta_staged *leat_delta_stage(struct leat_delta *, const char *select_sql);
enum leat_status leat_delta_stage_run(struct leat_delta_staged *, struct leat_conn *, struct leat_error *) LEAT_MUST;
enum leat_status leat_delta_overwrite_staged(struct leat_delta *, struct leat_delta_staged *, const struct leat_delta_commit_info *, bool *done,
                                             struct leat_error *) LEAT_MUST;
enum leat_status leat_delta_append_staged(struct leat_delta *, struct leat_delta_staged *, const struct leat_delta_commit_info *, bool *done,
                                          struct leat_error *) LEAT_MUST; /* the same, and what is there stays */
void leat_delta_stage_free(struct leat_delta_staged *); /* NULL is allowed */
/* The same with rows in memory: columns of the table's logical types in order, weights not looked at. Few of them are written without DuckDB. */
enum leat_status leat_delta_append_rows(struct leat_delta *, const struct leat_changes *batches, size_t batch_count,
                                        const struct leat_delta_commit_info *, bool *done, struct leat_error *) LEAT_MUST;
enum leat_status leat_delta_overwrite_rows(struct leat_delta *, const struct leat_changes *batches, size_t batch_count,
                                           const struct leat_delta_commit_info *, bool *done, struct leat_error *) LEAT_MUST;
/* Applies consolidated weighted changes: rows with weight > 0 are added, with weight < 0 that many equal
 * rows (IS NOT DISTINCT FROM on all columns, or on key_columns when key_count > 0) are removed, by rewriting only the files whose statistics admit
 * them. What others have committed meanwhile stays. CORRUPT when a row to remove is not there. */
enum leat_status leat_delta_apply(struct leat_delta *, const struct leat_changes *changes, const uint16_t *key_columns, size_t key_count,
                                  const struct leat_delta_commit_info *, bool *done, struct leat_error *) LEAT_MUST;
/* Joins small files into files of about target_bytes (dataChange=false) when that is worth it. *done: did anything. */
enum leat_status leat_delta_compact(struct leat_delta *, uint64_t target_bytes, bool *done, struct leat_error *) LEAT_MUST;
/* Deletes the rows that `where` holds for, a condition on the table's columns: files of such rows alone go, others that have some are written anew
 * without them, all in one commit. *deleted: rows; none: nothing is written. The files stay on disk for earlier versions, until a vacuum. */
enum leat_status leat_delta_delete(struct leat_delta *, const char *where, const struct leat_delta_commit_info *, uint64_t *deleted, struct leat_error *) LEAT_MUST;
/* The rows are again those of `version`, as a new version; columns and txns stay those of now. NOT_FOUND where a vacuum took it or its files. */
enum leat_status leat_delta_restore(struct leat_delta *, int64_t version, const struct leat_delta_commit_info *, struct leat_error *) LEAT_MUST;
/* Rows that another program added, changed or removed since leat's newest commit are taken back: as that commit left it, the table is a new
 * version. Files that others have only joined stay so. *theirs: the version that had such rows; -1: none had, and nothing is done, for the price
 * of a look for a next version. Logged. CORRUPT: what leat left is not there any more. */
enum leat_status leat_delta_take_back(struct leat_delta *, int64_t *theirs, struct leat_error *) LEAT_MUST;
/* Deletes files no live version within `keep_ms` refers to. */
enum leat_status leat_delta_vacuum(struct leat_delta *, int64_t keep_ms, size_t *removed, struct leat_error *) LEAT_MUST;
/* Makes `version` (-1: newest) of the table a Delta table of its own in pin_dir, called `name`, whose files are hard links: what is
 * vacuumed or compacted in the table later does not touch it. Needs no writer, and may run beside one. A failed or interrupted attempt
 * leaves files in pin_dir, for the caller to remove.
 * Errors: EXISTS there is a pin; NOT_FOUND no such version, or its files are gone. */
enum leat_status leat_delta_pin(struct leat_env *, struct leat_conn *batch, const char *table_dir, int64_t version, const char *pin_dir,
                                const char *name, struct leat_error *) LEAT_MUST;

#endif
