/* Versioned reference sources (rule 1): a catalogue read whole from its files or its database, compared with the last version; what differs is a
 * change, kept for ever in the lake as <lake>/<source>__history:
 *   the source's columns, _version BIGINT, _weight INTEGER (+1 appears, -1 disappears), _at TIMESTAMP (clock of the refresh)
 * The content at version v is the sum of the weights up to v; version 0 is empty. The present version is held in memory.
 *
 * CSV and JSON go through leat's own decoder, so that a file means the same whether it is followed or refreshed; Parquet is read by
 * DuckDB and cast to the declared types. A refresh takes all of it or nothing: files that are missing, unreadable, being
 * written, or hold a record that does not decode, a NULL or duplicate primary key leave the last version, warn, and are tried
 * again with growing pauses.
 * Thread: the engine's, but for the reading of a database (reference_fetch.c). */
#ifndef LEAT_ENGINE_REFERENCE_H
#define LEAT_ENGINE_REFERENCE_H

#include <stdatomic.h>

#include "base/env.h"
#include "base/wake.h"
#include "project/project.h"
#include "sql/duck.h"

struct leat_reference;
/* Loads the history's newest version; reads no source file yet.
 * batch, def   borrowed; outlive the reference
 * incarnation  of the work folder: the history's txn is (incarnation, version)
 * Errors       INVALID a column has one of the names above; CONFLICT the history has other columns; CORRUPT */
enum leat_status leat_reference_open(struct leat_env *, struct leat_conn *batch, const struct leat_source *def, const char *project_dir,
                                     const char *lake_dir, const char *scratch_dir, const char *incarnation,
                                     struct leat_reference **out, struct leat_error *) LEAT_MUST;
/* NAME__versions: every row that `of`, which outlives it, ever had, with valid_from (NULL: since always, of version 1) and valid_to (NULL: it holds still).
 * Its versions are those of `of`; it is not refreshed itself.
 * def  borrowed; its columns are those of `of` and these two */
void leat_reference_open_versions(struct leat_reference *of, const struct leat_source *def, struct leat_reference **out);
void leat_reference_close(struct leat_reference *);

/* When the files are to be looked at next; 0 after open; INT64_MAX: never (read once, and read), or when the thread that reads has fired. */
int64_t leat_reference_due_us(const struct leat_reference *);
/* Looks at the files; where their sizes, times and inodes are those of the last reading, that is all. Otherwise (and of a database always) reads, compares, and
 * commits the differences to the history as the next version. `now_us`: the clock, for _at and the next due time.
 * Trouble with the source is not an error: it is logged, and leat_reference_problem tells it. Errors: the lake's. */
enum leat_status leat_reference_refresh(struct leat_reference *, int64_t now_us, bool *changed, struct leat_error *) LEAT_MUST;
/* `leat run` has begun: a refresh of a database only begins to read it, in a thread that fires `wake` when it has; the reference is then due. What is waited
 * for nevertheless (the first version) is given up once `stop` is set. Both borrowed. NULL, NULL: the run has ended; what was being read is given up. */
void leat_reference_run(struct leat_reference *, const struct leat_wake *wake, const atomic_int *stop);
const char *leat_reference_problem(const struct leat_reference *); /* why the last refresh failed; NULL: it did not */

uint64_t leat_reference_version(const struct leat_reference *); /* 0: nothing read ever */
uint64_t leat_reference_rows(const struct leat_reference *);    /* of the present version */
/* Appends to `out` (schema: the source's columns) what leads from version `from` to version `to`, disappearing rows first.
 * Errors: INVALID from > to; NOT_FOUND `to` is newer than the history. */
enum leat_status leat_reference_changes(struct leat_reference *, uint64_t from, uint64_t to, struct leat_changes *out, struct leat_error *) LEAT_MUST;
/* Appends a SELECT of the content at `version`, for the batch connection; good until the next refresh. */
void leat_reference_select(const struct leat_reference *, uint64_t version, struct leat_buffer *out_sql);

#endif
