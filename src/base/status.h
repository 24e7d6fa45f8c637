/* Status codes and the caller-owned error object. Bottom of the dependency order. */
#ifndef LEAT_BASE_STATUS_H
#define LEAT_BASE_STATUS_H

#include <stdbool.h>

enum leat_status {
    LEAT_OK = 0,
    LEAT_INVALID,     /* the caller's or user's input is wrong (a statement, an option) */
    LEAT_NOT_FOUND,   /* a named thing does not exist */
    LEAT_EXISTS,      /* a thing to be made exists already (a Delta version, a file) */
    LEAT_CONFLICT,    /* somebody else changed what we meant to change */
    LEAT_CORRUPT,     /* durable data fails its own checks */
    LEAT_UNSUPPORTED, /* well-formed, but not something leat does */
    LEAT_IO,          /* the operating system refused; message names call, path and errno */
    LEAT_NO_SPACE,    /* ENOSPC or a quota */
    LEAT_NO_MEMORY,
    LEAT_LIMIT,       /* a bound of limits.h or of an option */
    LEAT_BUSY,        /* locked by another process, or not yet */
    LEAT_CANCELLED,
    LEAT_SQL,         /* DuckDB rejected or failed a statement */
    LEAT_END,         /* no more items (not a failure) */
};

#define LEAT_ERROR_TEXT_SIZE 1024

/* Filled by the lowest layer that knows what happened; upper layers may prepend what they were
 * doing; logged once, at the edge. */
struct leat_error {
    enum leat_status status;
    bool retriable; /* the same call may succeed later */
    bool fatal;     /* the process must stop and recover from what is durable (failed fsync) */
    bool bad_data;  /* one record is at fault: dead letter, never retried */
    char text[LEAT_ERROR_TEXT_SIZE]; /* UTF-8 */
};

#define LEAT_MUST __attribute__((warn_unused_result))
#define LEAT_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Sets err (may be NULL) to status and the formatted text, clears the flags, returns status. */
enum leat_status leat_fail(struct leat_error *err, enum leat_status status, const char *format, ...)
    LEAT_PRINTF(3, 4);
/* As leat_fail for a failed system call: takes errno, appends its text, maps ENOSPC/EDQUOT to
 * NO_SPACE, ENOENT to NOT_FOUND, EEXIST to EXISTS, ENOMEM to NO_MEMORY, the rest to IO. */
enum leat_status leat_fail_errno(struct leat_error *err, const char *call, const char *path);
/* Prepends "<formatted>: " to the text; returns err's status (LEAT_INVALID if err is NULL). */
enum leat_status leat_prepend(struct leat_error *err, const char *format, ...) LEAT_PRINTF(2, 3);
/* Makes UTF-8 of a text, in place, whatever it quotes and wherever it was cut: a byte that is none becomes '?'. */
void leat_text_mend(char *text);
/* Upper-case name of a status, static. */
const char *leat_status_name(enum leat_status status);

#endif
