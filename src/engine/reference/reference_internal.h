/* Shared by the reference*.c files. */
#ifndef LEAT_ENGINE_REFERENCE_INTERNAL_H
#define LEAT_ENGINE_REFERENCE_INTERNAL_H

#include "connect/rows.h"
#include "engine/reference/reference.h"
#include "lake/delta.h"

/* The files of a source at one moment; none of a database's. */
struct leat_reference_files {
    char **paths; /* as io opens them, sorted */
    struct leat_stat *stats;
    size_t count;
};

struct leat_reference {
    struct leat_env *env;
    struct leat_conn *batch;
    const struct leat_source *def;
    struct leat_reference *of; /* NAME__versions: the reference whose history it shows; what follows is not used then */
    char *project_dir, *table_dir, *scratch_dir, *incarnation;
    char *input; /* name of its batches on `batch` */

    struct leat_schema history_schema;
    struct leat_delta_snapshot opened; /* the history as found; current until `delta` is open */
    struct leat_delta *delta;          /* opened by the first append: looking writes nothing */

    uint64_t version, row_count;
    struct leat_changes current; /* rows of `version` */
    struct leat_changes last;    /* from version - 1 to version, if has_last */
    bool has_last;

    int64_t due_us;
    struct leat_reference_files seen; /* what `version` was read from */
    bool settled;                     /* `seen` is old enough to trust the files' times */
    char *problem;
    int failures;

    const struct leat_wake *wake; /* leat_reference_run */
    const atomic_int *stop;
    struct leat_reference_fetch *fetch; /* NULL: none */
};

static inline bool leat_reference_is_remote(const struct leat_reference *r) {
    return leat_database_find(r->def->connector) != NULL;
}

/* A reference is held in memory; what is larger belongs into an unbounded source. */
#define LEAT_REFERENCE_BYTES_MAX ((size_t)4 << 30)
/* reference_rows.c: all rows of a database, in `out`, or, if content is not empty then, as CSV with a header. stop: as of leat_database_ops. Thread: any. */
enum leat_status leat_reference_rows_read(const struct leat_source *, const atomic_int *stop, struct leat_changes *out, struct leat_buffer *content, struct leat_error *);

/* reference_fetch.c. leat_reference_fetch: is a thread reading? One is begun where it may be. False: what is there is to be taken by
 * leat_reference_fetched if there is a `fetch`, or to be read here. `out` (empty) and content as above. */
bool leat_reference_fetch(struct leat_reference *);
bool leat_reference_fetching(const struct leat_reference *);
enum leat_status leat_reference_fetched(struct leat_reference *, struct leat_changes *out, struct leat_buffer *content, struct leat_error *);

/* reference_read.c. NOT_FOUND: no file fits the path. */
enum leat_status leat_reference_list(struct leat_reference *, struct leat_reference_files *out, struct leat_error *);
bool leat_reference_same_files(const struct leat_reference_files *, const struct leat_reference_files *);
bool leat_reference_are_settled(const struct leat_reference_files *);
void leat_reference_files_deinit(struct leat_reference_files *);
/* All rows of the files into `out` (empty; schema: the source's), checked: types, NOT NULL, the primary key. */
enum leat_status leat_reference_read(struct leat_reference *, const struct leat_reference_files *,
                                     struct leat_changes *out, struct leat_error *);

/* reference_history.c */
enum leat_status leat_reference_load(struct leat_reference *, struct leat_error *);
enum leat_status leat_reference_append(struct leat_reference *, const struct leat_changes *diff, int64_t now_us,
                                       struct leat_error *);
void leat_reference_put_columns(const struct leat_reference *, struct leat_buffer *sql);
void leat_reference_put_history(const struct leat_reference *, struct leat_buffer *sql); /* a SELECT of all its rows; there is a version */
void leat_reference_put_empty(const struct leat_reference *, struct leat_buffer *sql);
/* Appends the rows of `sql`, whose last column __w is their weight: disappearing rows first, then by the columns, the same in every replay. */
enum leat_status leat_reference_read_changes(struct leat_reference *, struct leat_buffer *sql, struct leat_changes *out, struct leat_error *);

/* reference_versions.c; see leat_reference_open_versions. */
enum leat_status leat_reference_versions_changes(struct leat_reference *, uint64_t from, uint64_t to, struct leat_changes *out, struct leat_error *);
void leat_reference_versions_select(const struct leat_reference *, uint64_t version, struct leat_buffer *out_sql);

#endif
