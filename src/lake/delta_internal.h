/* What the files of lake/delta_*.c share. Nothing here is for other folders.
 *
 *   delta_action.c      one line of the log <-> an action
 *   delta_state.c       action reconciliation: the live files, tombstones, txns of one version
 *   delta_log.c         finds checkpoints and commits, replays them into a state
 *   delta_schema.c      schemaString <-> columns, the types columns have in Parquet
 *   delta_select.c      SQL that reads a snapshot
 *   delta_stats.c       DuckDB's COPY statistics -> Delta statistics; bounds for file skipping
 *   delta_write.c       data files: COPY to scratch, adopt; append, overwrite
 *   delta_commit.c      open, create, commit with conflict handling
 *   delta_checkpoint.c  checkpoint and _last_checkpoint
 *   delta_apply.c       weighted changes: which rows of which files go
 *   delta_rewrite.c     weighted changes: what is written instead
 *   delta_maintain.c    compaction, deleting, going back to a version, vacuum, what others did
 *   delta_pin.c         a version kept for good */
#ifndef LEAT_LAKE_DELTA_INTERNAL_H
#define LEAT_LAKE_DELTA_INTERNAL_H

#include "data/parquet.h"
#include "lake/delta.h"

#define LEAT_DELTA_LOG_DIR "_delta_log"
#define LEAT_DELTA_COMMIT_MAX_BYTES ((size_t)1 << 30) /* a commit file larger than this is refused */
#define LEAT_DELTA_PATH_MAX 4096
#define LEAT_DELTA_FILE_PREFIX "leat-" /* data files of this prefix have every column of the schema, but for those that the table has grown */
#define LEAT_DELTA_SINCE "leat.since." /* table property: a column that was added, and when */
#define LEAT_DELTA_LEFT "leat.left."   /* table property: a column that is written no more */
#define LEAT_DELTA_CHECKPOINT_EVERY 10
#define LEAT_DELTA_LARGE_PART 4          /* a file of a quarter of a row group is large: kept apart by its range, not joined */
#define LEAT_DELTA_SPLIT_ROW_GROUPS 2    /* of a file, where rows are split over files */
#define LEAT_DELTA_FILE_ROW_GROUPS 4     /* of a file that is written from memory; less than twice as many where no small one would be left */

/* ---- actions (delta_action.c) ---- */

enum leat_delta_action_kind {
    LEAT_DELTA_NO_ACTION, /* an action this reader may ignore */
    LEAT_DELTA_ADD,
    LEAT_DELTA_REMOVE,
    LEAT_DELTA_METADATA,
    LEAT_DELTA_PROTOCOL,
    LEAT_DELTA_TXN,
    LEAT_DELTA_COMMIT_INFO,
};
struct leat_delta_tombstone {
    char *path; /* first, as in struct leat_delta_file: the map compares it */
    char *partition_json;
    uint64_t size_bytes;
    int64_t deleted_ms;
};
struct leat_delta_metadata {
    char *id, *name, *description, *schema_json, *configuration_json;
    char **partition_columns;
    size_t partition_column_count;
    int64_t created_ms;
};
struct leat_delta_protocol {
    int64_t reader, writer;
    char **reader_features, **writer_features;
    size_t reader_feature_count, writer_feature_count;
};
struct leat_delta_action {
    enum leat_delta_action_kind kind;
    struct leat_delta_file file;           /* ADD */
    struct leat_delta_tombstone tombstone; /* REMOVE */
    struct leat_delta_metadata metadata;
    struct leat_delta_protocol protocol;
    struct leat_delta_txn txn;
    int64_t timestamp_ms; /* COMMIT_INFO, TXN (lastUpdated); -1: none */
    char *commit_id;      /* COMMIT_INFO: txnId */
    char *frontier_json;  /* COMMIT_INFO */
    bool data_change;     /* ADD, REMOVE */
    bool by_leat;         /* COMMIT_INFO */
};
/* One JSON document. CORRUPT with the reason; UNSUPPORTED for a deletion vector. out is always safe to deinit. */
enum leat_status leat_delta_action_parse(const char *line, size_t length, struct leat_delta_action *out,
                                         struct leat_error *err) LEAT_MUST;
void leat_delta_action_deinit(struct leat_delta_action *);
void leat_delta_metadata_deinit(struct leat_delta_metadata *);
void leat_delta_protocol_deinit(struct leat_delta_protocol *);
void leat_delta_file_deinit(struct leat_delta_file *);

/* Each appends one line with its newline. */
void leat_delta_put_add(struct leat_buffer *, const struct leat_delta_file *, bool data_change);
void leat_delta_put_remove(struct leat_buffer *, const struct leat_delta_file *, int64_t now_ms, bool data_change);
void leat_delta_put_txn(struct leat_buffer *, const struct leat_delta_txn *, int64_t now_ms);
void leat_delta_put_metadata(struct leat_buffer *, const struct leat_delta_metadata *);
void leat_delta_put_protocol(struct leat_buffer *, const struct leat_delta_protocol *);
void leat_delta_put_path(struct leat_buffer *, const char *path); /* percent-encoded as a URI path, no quotes */

/* ---- state (delta_state.c) ---- */

/* Index of strings that are the first member of array elements. */
struct leat_delta_map {
    uint32_t *slots; /* element index + 1; 0: free */
    size_t capacity, count;
};
struct leat_delta_bounds; /* parsed statistics of one file (delta_stats.c) */

struct leat_delta_state {
    struct leat_delta_snapshot snapshot;
    size_t file_capacity, txn_capacity;
    struct leat_delta_bounds **bounds; /* of each file, NULL until asked for */
    int64_t *txn_updated_ms;
    struct leat_delta_map file_map;
    struct leat_delta_tombstone *tombstones;
    size_t tombstone_count, tombstone_capacity;
    struct leat_delta_map tombstone_map;
    struct leat_delta_protocol protocol;
    struct leat_delta_metadata metadata;
    bool has_protocol, has_metadata;
    bool by_leat, data_change; /* some commit that was applied is leat's; changes rows */
    uint64_t live_bytes;
};
void leat_delta_state_init(struct leat_delta_state *); /* version -1 */
void leat_delta_state_deinit(struct leat_delta_state *);
/* Moves what it needs out of the action. */
void leat_delta_state_apply(struct leat_delta_state *, struct leat_delta_action *);
int64_t leat_delta_state_find(const struct leat_delta_state *, const char *path);       /* index of a live file or -1 */
int64_t leat_delta_state_deleted_ms(const struct leat_delta_state *, const char *path); /* of its tombstone; -1: none */
bool leat_delta_is_own_file(const struct leat_delta_file *);                            /* leat wrote it */
/* Forgets tombstones older than `before_ms`; one tombstone. */
void leat_delta_state_expire(struct leat_delta_state *, int64_t before_ms);
void leat_delta_state_forget_tombstone(struct leat_delta_state *, const char *path);
/* Copies metadata into the public snapshot and checks that there is a protocol leat can read. */
enum leat_status leat_delta_state_finish(struct leat_delta_state *, const char *table_dir,
                                         struct leat_error *err) LEAT_MUST;
enum leat_status leat_delta_check_writer(const struct leat_delta_state *, const char *table_dir,
                                         struct leat_error *err) LEAT_MUST;

/* ---- log (delta_log.c) ---- */

char *leat_delta_commit_path(const char *table_dir, int64_t version);
/* Parses and applies one commit file. NOT_FOUND when it is not there. commit_id_out (may be NULL): its txnId, malloc'd
 * or NULL. */
enum leat_status leat_delta_read_commit(struct leat_env *, const char *table_dir, int64_t version,
                                        struct leat_delta_state *, char **commit_id_out,
                                        struct leat_error *err) LEAT_MUST;
/* Reads commits after state->snapshot.version until none follows. */
enum leat_status leat_delta_catch_up(struct leat_env *, const char *table_dir, struct leat_delta_state *,
                                     struct leat_error *err) LEAT_MUST;
enum leat_status leat_delta_replay(struct leat_env *, struct leat_conn *, const char *table_dir, int64_t version,
                                   struct leat_delta_state *out, int64_t *out_checkpoint_version,
                                   struct leat_error *err) LEAT_MUST;

/* ---- schema (delta_schema.c) ---- */

struct leat_delta_column {
    char *name;
    char *duck_type;          /* of the column as the table's schema says, DuckDB's spelling */
    struct leat_type storage; /* NESTED for arrays, maps, structs */
    struct leat_type logical; /* "leat.type", or the storage type */
    bool nullable, has_leat_type, is_partition, is_timestamp;
};
struct leat_delta_columns {
    struct leat_delta_column *items;
    size_t count;
    bool ours; /* every column has leat.type and none is a partition column */
    bool has_invariants;
};
enum leat_status leat_delta_columns_parse(const char *schema_json, char *const *partition_columns,
                                          size_t partition_column_count, struct leat_delta_columns *out,
                                          struct leat_error *err) LEAT_MUST;
void leat_delta_columns_deinit(struct leat_delta_columns *);
/* schemaString for a logical schema. INVALID for names that differ only in case. */
enum leat_status leat_delta_schema_json(const struct leat_schema *, struct leat_buffer *out,
                                        struct leat_error *err) LEAT_MUST;

/* ---- statistics (delta_stats.c) ---- */

/* Delta statistics JSON of a file DuckDB wrote. INVALID when a NOT NULL column has NULLs. */
enum leat_status leat_delta_stats_json(const struct leat_schema *logical, const struct leat_copied_file *,
                                       struct leat_buffer *out, struct leat_error *err) LEAT_MUST;
int64_t leat_delta_stats_row_count(const char *stats_json); /* numRecords, -1: not told */
struct leat_delta_bound {
    bool has_range, is_text, has_null_count;
    int64_t low, high; /* integers, dates (days), timestamps (microseconds) */
    char *low_text, *high_text;
    int64_t null_count;
};
struct leat_delta_bounds {
    int64_t row_count;
    size_t count;
    struct leat_delta_bound columns[]; /* by logical column */
};
struct leat_delta_bounds *leat_delta_bounds_parse(const struct leat_schema *logical, const char *stats_json);
void leat_delta_bounds_free(struct leat_delta_bounds *);

/* ---- the writer (delta_commit.c, delta_write.c) ---- */

struct leat_delta {
    struct leat_env *env;
    struct leat_conn *conn;
    char *table_dir, *scratch_dir;
    char *input_name; /* of leat_conn_input, this writer's own */
    bool input_declared;
    struct leat_schema schema; /* logical */
    struct leat_delta_state state;
    bool stale; /* a commit's outcome is unknown: read the log before anything else */
    bool guarded, taking_back;
    int64_t vouched; /* the newest version that is known to have no rows of other programs; -1: not known */
    int checkpoint_every;
    int64_t checkpoint_version; /* newest one known, -1: none */
    int64_t row_group_rows;     /* LEAT_PARQUET_GROUP_ROWS, fewer in tests; a file of fewer rows is a small one */
    int cluster_column;         /* files are kept apart by its ranges when they are rewritten; -1: no fit column */
    bool grows;                 /* columns are matched by name, and may be missing on either side */
    size_t declared;            /* of the schema; the rest only the table has */
    bool is_updated;            /* rows are removed from it, or it has a key: large files are dear */
};
struct leat_delta_bounds *leat_delta_bounds_of(struct leat_delta *, size_t file_index); /* of a live file, cached */

struct leat_delta_commit {
    const struct leat_delta_commit_info *info; /* borrowed */
    struct leat_delta_file *added;             /* moved into the state on success */
    size_t added_count, added_capacity;
    char **removed; /* paths of live files */
    size_t removed_count, removed_capacity;
    bool data_change, blind_append;
    bool puts_back; /* `added` are files that earlier versions name: they stay on disk whatever becomes of the commit */
    bool few_rows; /* LEAT_FEW_ROWS at most are written: not worth compressing */
};
void leat_delta_commit_deinit(struct leat_delta_commit *);
void leat_delta_commit_remove(struct leat_delta_commit *, const char *path);
void leat_delta_commit_add(struct leat_delta_commit *, struct leat_delta_file *); /* moves it */
/* Brings the state up to date if it is stale, then answers whether info's txns are already in the table (*past). */
enum leat_status leat_delta_begin(struct leat_delta *, const struct leat_delta_commit_info *, bool *past,
                                  struct leat_error *err) LEAT_MUST;
/* Writes the next version. *done false: its txns are already there (a blind append lost a race against itself). On
 * CONFLICT the state is that of the winner and added files are gone. */
enum leat_status leat_delta_commit(struct leat_delta *, struct leat_delta_commit *, bool *done,
                                   struct leat_error *err) LEAT_MUST;
void leat_delta_drop_added(struct leat_delta *,
                           struct leat_delta_commit *); /* deletes data files that no commit will name */
enum leat_status leat_delta_checkpoint(struct leat_delta *, struct leat_error *err) LEAT_MUST;
int64_t leat_delta_now_ms(const struct leat_delta *);

/* COPYs `storage_sql` (columns of the storage types, in order) to scratch, adopts the file, and appends it to
 * commit->added, unless it has no rows. split: into files of LEAT_DELTA_SPLIT_ROW_GROUPS each. out_rows may be NULL. */
enum leat_status leat_delta_write_data(struct leat_delta *, const char *storage_sql, bool split,
                                       struct leat_delta_commit *, uint64_t *out_rows,
                                       struct leat_error *err) LEAT_MUST;
/* The same for a file in memory: its rows and statistics (text as DuckDB's), its bytes. */
enum leat_status leat_delta_add_bytes(struct leat_delta *, const struct leat_copied_file *, const struct leat_buffer *bytes,
                                      struct leat_delta_commit *, struct leat_error *err) LEAT_MUST;
/* Rows of the table's logical types into `commit`; weights are not looked at (delta_rows.c). */
enum leat_status leat_delta_write_rows(struct leat_delta *, const struct leat_changes *batches, size_t batch_count,
                                       bool split, struct leat_delta_commit *, struct leat_error *err) LEAT_MUST;
/* The end of writing, whose outcome `status` was: commits (replace: all live files go), or drops what was added. Frees `commit`. */
enum leat_status leat_delta_finish_write(struct leat_delta *, struct leat_delta_commit *commit, enum leat_status status, bool replace,
                                         bool *done, struct leat_error *err) LEAT_MUST;
/* The writer's own input exists: columns by position, to be bound before use. */
enum leat_status leat_delta_declare_input(struct leat_delta *, struct leat_error *err) LEAT_MUST;
/* INVALID unless the batch has the table's columns. */
enum leat_status leat_delta_check_columns(const struct leat_delta *, const struct leat_changes *, struct leat_error *err) LEAT_MUST;
/* "CAST(prefix.name AS T) AS name, ..." from logical values to storage. by_position: prefix.cN instead of names. */
void leat_delta_put_storage_columns(const struct leat_schema *, const char *prefix, bool by_position,
                                    struct leat_buffer *out);
/* A path as an SQL string that DuckDB does not take for a pattern. */
void leat_delta_put_file_literal(struct leat_buffer *, const char *path);
/* "read_parquet([...], ...)" over the chosen live files (indexes NULL: the first `count`). */
void leat_delta_put_scan(const char *table_dir, const struct leat_delta_file *files, const size_t *indexes,
                         size_t count, bool by_name, struct leat_buffer *out);

/* ---- changes (delta_apply.c, delta_rewrite.c) ---- */

struct leat_delta_plan {
    struct leat_delta *d;
    const struct leat_changes *changes;
    uint16_t *columns; /* compared: the key's, or all */
    size_t column_count;
    int64_t removals, inserts; /* sums of weights */
    bool repeats;              /* some weight is above +1 */
    size_t *candidates;        /* live files that may hold a row to remove */
    size_t candidate_count;
    uint64_t **taken; /* a candidate: bitmap of the rows that go, NULL: none yet */
    size_t *taken_words;
    int64_t *taken_count;
};
/* Writes what replaces the files that lose rows, and the rows to add, into `commit`. */
enum leat_status leat_delta_rewrite(struct leat_delta_plan *, struct leat_delta_commit *,
                                    struct leat_error *err) LEAT_MUST;

/* A FROM item over some live files of a writer: the table's columns in their storage types, and DuckDB's file_index and
 * file_row_number. Files of other engines may lack columns. */
void leat_delta_put_rows(const struct leat_delta *, const size_t *indexes, size_t count, struct leat_buffer *out);

#endif
