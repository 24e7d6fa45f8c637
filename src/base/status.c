/* Error objects: formatting, and the mapping of errno to status codes. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void leat_text_mend(char *text) {
    size_t n = strlen(text);
    for (size_t i = 0, length; i < n; i += length ? length : 1) {
        length = leat_utf8_length((const unsigned char *)text + i, n - i);
        if (!length) text[i] = '?';
    }
}

static void set_text(struct leat_error *err, enum leat_status status, const char *format, va_list args) {
    /* Formatted aside first: callers may pass err->text as an argument. */
    char text[LEAT_ERROR_TEXT_SIZE];
    vsnprintf(text, sizeof text, format, args);
    leat_text_mend(text);
    memset(err, 0, sizeof *err);
    err->status = status;
    memcpy(err->text, text, strlen(text) + 1);
}

enum leat_status leat_fail(struct leat_error *err, enum leat_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        set_text(err, status, format, args);
        va_end(args);
    }
    return status;
}

static enum leat_status status_of_errno(int number) {
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return LEAT_NO_SPACE;
    case ENOENT:
        return LEAT_NOT_FOUND;
    case EEXIST:
        return LEAT_EXISTS;
    case ENOMEM:
        return LEAT_NO_MEMORY;
    default:
        return LEAT_IO;
    }
}

enum leat_status leat_fail_errno(struct leat_error *err, const char *call, const char *path) {
    int number = errno;
    enum leat_status status = status_of_errno(number);
    char reason[128];
    const char *text = strerror_r(number, reason, sizeof reason); /* the GNU one: may or may not use `reason` */
    leat_fail(err, status, "%s %s: %s", call, path, text);
    errno = number;
    return status;
}

enum leat_status leat_prepend(struct leat_error *err, const char *format, ...) {
    if (!err) return LEAT_INVALID;
    char text[LEAT_ERROR_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (length < 0) return err->status;
    size_t used = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    /* What happened is at the end of the text; when it gets too long, the front (what was being done) stays. */
    const char *parts[] = {": ", err->text};
    for (int i = 0; i < 2; i++) {
        size_t part = strnlen(parts[i], sizeof text - 1 - used);
        memcpy(text + used, parts[i], part);
        used += part;
    }
    text[used] = '\0';
    leat_text_mend(text);
    memcpy(err->text, text, used + 1);
    return err->status;
}

const char *leat_status_name(enum leat_status status) {
    static const char *const names[] = {
        [LEAT_OK] = "OK",
        [LEAT_INVALID] = "INVALID",
        [LEAT_NOT_FOUND] = "NOT_FOUND",
        [LEAT_EXISTS] = "EXISTS",
        [LEAT_CONFLICT] = "CONFLICT",
        [LEAT_CORRUPT] = "CORRUPT",
        [LEAT_UNSUPPORTED] = "UNSUPPORTED",
        [LEAT_IO] = "IO",
        [LEAT_NO_SPACE] = "NO_SPACE",
        [LEAT_NO_MEMORY] = "NO_MEMORY",
        [LEAT_LIMIT] = "LIMIT",
        [LEAT_BUSY] = "BUSY",
        [LEAT_CANCELLED] = "CANCELLED",
        [LEAT_SQL] = "SQL",
        [LEAT_END] = "END",
    };
    size_t index = (size_t)status;
    return index < sizeof names / sizeof *names ? names[index] : "UNKNOWN";
}
