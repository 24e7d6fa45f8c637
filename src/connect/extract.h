/* Incremental extraction: the rows of a database's table or query by a column that grows (`cursor`), again and again, each time from a little
 * before the last value (`overlap`) on: "the last 24 hours of orders every night".
 *
 * A row is taken once: its identity is a hash of its content (of the n-th of equal rows, of its content and n), and the identities of rows that
 * the overlap can give again are kept. A row that has changed has another content: a new record. What no cursor can see, it does not see: rows that are
 * deleted; rows that become visible later than the overlap is long; rows whose cursor is NULL.
 *
 * Each pass is one statement, in the cursor's order: memory holds the identities of one overlap, and a pass that was broken off goes on from there. */
#ifndef LEAT_CONNECT_EXTRACT_H
#define LEAT_CONNECT_EXTRACT_H

#include "base/env.h"
#include "data/message.h"
#include "state/keyed.h"

/* ---- Values of the cursor (extract_cursor.c) ---- */

/* Microseconds since 1970-01-01 UTC, or the integer. False: the text is not of the type. */
bool leat_cursor_parse(struct leat_type, const char *text, size_t length, int64_t *out);
/* As every database reads it: '2026-01-31T23:59:59.123', rounded down; a number. */
void leat_cursor_put(struct leat_buffer *, struct leat_type, int64_t value);
bool leat_cursor_is_time(struct leat_type);
/* What leat_cursor_put says of the value: a time without what is less than a millisecond, of a DATE less than a day. */
int64_t leat_cursor_floor(struct leat_type, int64_t value);

/* ---- Which columns identities are of (extract_columns.c) ---- */

/* A row is known by the content of the source's columns. When these have changed, rows of the overlap are known by the columns there were, as long as all of
 * those are still there. <path> is JSON: {"columns": [NAME, ...], "former": [{"columns": [NAME, ...], "until": CURSOR}, ...]}, the newest first; it is
 * written before a row is taken. */
struct leat_shape {
    int *columns; /* places among the present ones */
    size_t count;
    int64_t until; /* rows with a greater cursor were not taken then */
};
struct leat_shapes {
    struct leat_env *env;
    char *path;
    struct json_t *json;
    struct leat_shape *former;
    size_t count;
};
/* names: the present columns; high: the greatest cursor taken, INT64_MIN: none. Errors: IO, CORRUPT; nothing is open then. */
enum leat_status leat_shapes_open(struct leat_shapes *, struct leat_env *, const char *path, const char *const *names, size_t count, int64_t high,
                                  struct leat_error *) LEAT_MUST;
/* Rows whose cursor is below will not be asked for again. */
enum leat_status leat_shapes_forget(struct leat_shapes *, int64_t below, struct leat_error *) LEAT_MUST;
void leat_shapes_close(struct leat_shapes *);

/* ---- Identities of rows that may come again (extract_taken.c) ---- */

/* <path> is a list of entries of 32 bytes, little-endian: identity 8, cursor 8, offset of its record 8, XXH3-64 of those 24 bytes 8; appended and synced before
 * the records are. It ends at the first entry whose hash fails (a torn tail). Identity 0: what is below its cursor is forgotten. It is written anew when it has
 * become twice as long as what is remembered. */
struct leat_taken {
    struct leat_env *env;
    char *path;
    struct leat_keyed rows;
    uint32_t pass;
    int64_t floor;             /* identities below are forgotten, for good */
    struct leat_file *file;
    uint64_t file_entries, kept_after; /* entries in the file; rows that the last forgetting left */
    struct leat_buffer unsynced;
};
/* next_offset: of the log; entries from there on are of records that did not become durable. Errors: IO. */
enum leat_status leat_taken_open(struct leat_taken *, struct leat_env *, const char *path, uint64_t next_offset, struct leat_error *) LEAT_MUST;
void leat_taken_close(struct leat_taken *);
void leat_taken_begin_pass(struct leat_taken *);
/* The row's identity, if it is new (true); it is then the record at `offset`. Rows of one pass only.
 * contents  what it is, and, behind that, what it was when the source had other columns: it may be known by any of them */
bool leat_taken_add(struct leat_taken *, const struct leat_bytes *contents, size_t count, int64_t cursor, uint64_t offset, uint64_t *identity);
/* A record of a work folder that is lost. */
void leat_taken_recall(struct leat_taken *, uint64_t identity, int64_t cursor);
/* Rows whose cursor is below will not be asked for again; forgets them when that is worth it. */
enum leat_status leat_taken_forget(struct leat_taken *, int64_t below, struct leat_error *) LEAT_MUST;
/* What was added is durable. */
enum leat_status leat_taken_sync(struct leat_taken *, struct leat_error *) LEAT_MUST;

#endif
