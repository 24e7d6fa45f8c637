/* Byte format. A journal is one file, DIR/journal-<sequence, 16 hex digits>; the highest sequence counts, others are
 * leftovers of a rotation that a crash stopped before its last unlink, and are removed. The file is lines of
 *
 *     <16 lower-case hex digits: XXH64, seed 0, of the payload> <mark> <payload: JSON without newline> '\n'
 *
 * (no spaces between the parts other than the mark). The mark is ' ' for the first line of a write that ends in an
 * fsync, '+' for further lines of the same write. The first line is the journal's own and says how many bytes were
 * durable before the file got its name:
 *
 *     {"leat_journal":1,"sequence":N,"head_bytes":B}
 *
 * Writing. A new file is written whole, fsynced, linked to its name, and the directory fsynced (leat_io_write_durable).
 * Records wait in memory; sync writes all of them with one write and one fdatasync. After a write that failed
 * (no space) the file is cut back to its durable length and the records are dropped.
 *
 * Reading. Lines are taken as long as they are whole and their hash holds. From the first that is not, at offset T, the
 * rest is
 *   - damage, CORRUPT, if T lies before the end of the first line plus head_bytes, or if a valid line marked ' ' starts
 * after T: it was written after an fsync of everything before it;
 *   - else the torn tail of the last write (pages reach the disk in any order, so later '+' lines of that write may
 * look whole): never acknowledged, left out.
 * Then what was read is written to a new file that takes the old one's name, before anybody acts on it. An fsync of the
 * old one would not do: its end may be in the page cache alone, and where an fsync of it failed before, the next one
 * reports success without writing it. */
#include "state/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "base/limits.h"

#define NAME_PREFIX "journal-"
#define HASH_DIGITS 16
#define LINE_OVERHEAD (HASH_DIGITS + 2) /* hash, mark, newline */
#define HEADER_FORMAT "{\"leat_journal\":1,\"sequence\":%" PRIu64 ",\"head_bytes\":%zu}"

struct leat_journal {
    struct leat_env *env;
    char *dir, *path;
    uint64_t sequence;
    struct leat_file *file;
    uint64_t durable_bytes, cut_bytes;
    struct leat_buffer waiting;
    bool broken;    /* a failure after which nothing is known: every call is refused */
    bool cut_first; /* a failed write left bytes after durable_bytes that could not be cut off yet */
};

static char *journal_path(const char *dir, uint64_t sequence) {
    return leat_asprintf("%s/" NAME_PREFIX "%016" PRIx64, dir, sequence);
}

static enum leat_status put_line(struct leat_buffer *out, const char *json, size_t length, char mark,
                                 struct leat_error *err) {
    char start[HASH_DIGITS + 2];
    snprintf(start, sizeof start, "%016" PRIx64 "%c", (uint64_t)XXH64(json, length, 0), mark);
    enum leat_status status = leat_buffer_reserve(out, length + LINE_OVERHEAD, err);
    if (status != LEAT_OK) return status;
    leat_putn(out, start, HASH_DIGITS + 1);
    leat_putn(out, json, length);
    leat_putn(out, "\n", 1);
    return LEAT_OK;
}

static enum leat_status check_record(const char *json, size_t length, struct leat_error *err) {
    if (length == 0 || memchr(json, '\n', length) || memchr(json, '\0', length))
        return leat_fail(err, LEAT_INVALID, "a journal record must be one line of JSON");
    if (length > LEAT_JOURNAL_RECORD_BYTES_MAX)
        return leat_fail(err, LEAT_LIMIT, "a journal record of %zu bytes; at most %zu are allowed", length,
                         LEAT_JOURNAL_RECORD_BYTES_MAX);
    return LEAT_OK;
}

/* ---- reading ---- */

struct line {
    const char *json;
    size_t length, total; /* payload; whole line with newline */
    char mark;
};

/* Is there a whole line with a good hash at bytes[0..n)? */
static bool read_line(const char *bytes, size_t n, struct line *out) {
    if (n < LINE_OVERHEAD + 1) return false;
    uint64_t hash = 0;
    for (int i = 0; i < HASH_DIGITS; i++) {
        char c = bytes[i];
        if (c >= '0' && c <= '9')
            hash = hash << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            hash = hash << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    char mark = bytes[HASH_DIGITS];
    if (mark != ' ' && mark != '+') return false;
    const char *json = bytes + HASH_DIGITS + 1;
    const char *end = memchr(json, '\n', n - HASH_DIGITS - 1);
    if (!end || end == json || XXH64(json, (size_t)(end - json), 0) != hash) return false;
    *out =
        (struct line){.json = json, .length = (size_t)(end - json), .total = (size_t)(end - bytes) + 1, .mark = mark};
    return true;
}

/* A valid line marked ' ' anywhere after `from` proves that the bytes before it were durable. */
static bool durable_line_after(const char *bytes, size_t from, size_t n) {
    struct line line;
    for (size_t i = from + 1; i + LINE_OVERHEAD < n; i++)
        if (bytes[i + HASH_DIGITS] == ' ' && read_line(bytes + i, n - i, &line)) return true;
    return false;
}

static enum leat_status read_header(struct leat_journal *j, const char *bytes, size_t n, size_t *head_end,
                                    size_t *first, struct leat_error *err) {
    struct line line;
    uint64_t sequence = 0;
    size_t head_bytes = 0;
    if (!read_line(bytes, n, &line))
        return leat_fail(err, LEAT_CORRUPT, "%s: the first line is damaged; restore the file from a copy", j->path);
    if (sscanf(line.json, "{\"leat_journal\":1,\"sequence\":%" SCNu64 ",\"head_bytes\":%zu}", &sequence, &head_bytes) !=
        2)
        return leat_fail(err, LEAT_UNSUPPORTED, "%s: not a journal of this version of leat: %.*s", j->path,
                         (int)(line.length < 80 ? line.length : 80), line.json);
    if (sequence != j->sequence || head_bytes > n - line.total)
        return leat_fail(err, LEAT_CORRUPT,
                         "%s: the first line names journal %" PRIu64
                         " with %zu bytes of head, but the file has %zu bytes",
                         j->path, sequence, head_bytes, n);
    *first = line.total;
    *head_end = line.total + head_bytes;
    return LEAT_OK;
}

/* Visits every record; *kept: where the valid part ends. */
static enum leat_status replay(struct leat_journal *j, struct leat_buffer *content, LEAT_JOURNAL_VISIT(visit),
                               void *context, size_t *kept, struct leat_error *err) {
    size_t at = 0, head_end = 0, n = content->length;
    struct line line;
    enum leat_status status = read_header(j, content->data, n, &head_end, &at, err);
    if (status != LEAT_OK) return status;
    /* All checks first: a damaged journal must not be half replayed. */
    size_t first = at;
    while (at < n && read_line(content->data + at, n - at, &line))
        at += line.total;
    if (at < n && (at < head_end || durable_line_after(content->data, at, n)))
        return leat_fail(
            err, LEAT_CORRUPT,
            "%s: damaged at byte %zu, before records that were written after it; restore the file from a copy", j->path,
            at);
    *kept = at;
    for (at = first; at < *kept; at += line.total) {
        if (!read_line(content->data + at, *kept - at, &line)) break;
        content->data[at + line.total - 1] = '\0';
        status = visit ? visit(context, line.json, line.length, err) : LEAT_OK;
        content->data[at + line.total - 1] = '\n';
        if (status != LEAT_OK) return status;
    }
    return LEAT_OK;
}

/* ---- files of the directory ---- */

static bool parse_name(const char *name, uint64_t *sequence) {
    size_t prefix = strlen(NAME_PREFIX);
    if (strncmp(name, NAME_PREFIX, prefix) != 0 || strlen(name) != prefix + HASH_DIGITS) return false;
    char *end;
    *sequence = strtoull(name + prefix, &end, 16);
    return *end == '\0';
}

/* Newest sequence, 0 if there is none. */
static enum leat_status find_newest(struct leat_journal *j, struct leat_error *err) {
    char **names;
    size_t count;
    enum leat_status status = leat_io_list_sorted(j->env->io, j->dir, &names, &count, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < count; i++) {
        uint64_t sequence;
        if (parse_name(names[i], &sequence) && sequence > j->sequence) j->sequence = sequence;
    }
    leat_names_free(names, count);
    return LEAT_OK;
}

/* Removes older journals and temps. That a name stays harms nobody, so failures are only logged. */
static void remove_leftovers(struct leat_journal *j) {
    char **names;
    size_t count;
    struct leat_error err;
    if (leat_io_list_sorted(j->env->io, j->dir, &names, &count, &err) != LEAT_OK) return;
    for (size_t i = 0; i < count; i++) {
        uint64_t sequence;
        if (!leat_io_is_temp_name(names[i]) && !(parse_name(names[i], &sequence) && sequence < j->sequence)) continue;
        char *path = leat_asprintf("%s/%s", j->dir, names[i]);
        if (j->env->io->ops->unlink(j->env->io, path, &err) != LEAT_OK)
            leat_log(j->env, LEAT_LOG_WARN, "journal: a leftover stays: %s", err.text);
        free(path);
    }
    leat_names_free(names, count);
}

/* Makes journal-<sequence> with `head` durable. */
static enum leat_status write_new(struct leat_journal *j, const char *path, uint64_t sequence,
                                  const struct leat_journal_record *head, size_t count, uint64_t *size_bytes,
                                  struct leat_error *err) {
    struct leat_buffer lines = {0}, whole = {0};
    char header[128];
    enum leat_status status = LEAT_OK;
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        status = check_record(head[i].json, head[i].length, err);
        if (status == LEAT_OK) status = put_line(&lines, head[i].json, head[i].length, ' ', err);
    }
    if (status != LEAT_OK) goto out;
    int length = snprintf(header, sizeof header, HEADER_FORMAT, sequence, lines.length);
    status = put_line(&whole, header, (size_t)length, ' ', err);
    if (status == LEAT_OK) status = leat_buffer_add(&whole, lines.data, lines.length, err);
    if (status == LEAT_OK) status = leat_io_write_durable(j->env->io, path, whole.data, whole.length, false, err);
    *size_bytes = whole.length;
out:
    leat_buffer_deinit(&lines);
    leat_buffer_deinit(&whole);
    return status;
}

/* ---- public ---- */

static enum leat_status open_existing(struct leat_journal *j, LEAT_JOURNAL_VISIT(visit), void *context,
                                      struct leat_error *err) {
    struct leat_io *io = j->env->io;
    struct leat_buffer content = {0};
    size_t kept = 0;
    enum leat_status status =
        leat_io_read_all(io, j->path, LEAT_JOURNAL_FILE_BYTES_MAX + LEAT_JOURNAL_RECORD_BYTES_MAX, &content, err);
    if (status == LEAT_OK) status = replay(j, &content, visit, context, &kept, err);
    if (status != LEAT_OK) goto out;
    j->durable_bytes = kept;
    j->cut_bytes = content.length - kept;
    if (j->cut_bytes > 0)
        leat_log(j->env, LEAT_LOG_WARN, "journal: cut %" PRIu64 " torn bytes, never acknowledged, off %s", j->cut_bytes,
                 j->path);
    status = leat_io_write_durable(io, j->path, content.data, kept, true, err);
    if (status == LEAT_OK) status = io->ops->open(io, j->path, LEAT_OPEN_APPEND, &j->file, err);
out:
    leat_buffer_deinit(&content);
    return status;
}

enum leat_status leat_journal_open(struct leat_env *env, const char *dir, LEAT_JOURNAL_VISIT(visit), void *context,
                                   struct leat_journal **out, struct leat_error *err) {
    struct leat_journal *j = leat_alloc(sizeof *j);
    *out = NULL;
    j->env = env;
    j->dir = leat_strdup(dir);
    enum leat_status status = leat_io_mkdirs(env->io, dir, err);
    if (status == LEAT_OK) status = find_newest(j, err);
    if (status != LEAT_OK) goto out;
    if (j->sequence > 0) {
        j->path = journal_path(dir, j->sequence);
        status = open_existing(j, visit, context, err);
    } else {
        j->sequence = 1;
        j->path = journal_path(dir, j->sequence);
        status = write_new(j, j->path, j->sequence, NULL, 0, &j->durable_bytes, err);
        if (status == LEAT_OK) status = env->io->ops->open(env->io, j->path, LEAT_OPEN_APPEND, &j->file, err);
    }
    if (status == LEAT_OK) remove_leftovers(j);
out:
    if (status == LEAT_OK) {
        *out = j;
    } else {
        leat_prepend(err, "journal %s", dir);
        leat_journal_close(j);
    }
    return status;
}

static enum leat_status refuse_broken(struct leat_journal *j, struct leat_error *err) {
    leat_fail(err, LEAT_IO, "journal %s: closed after an earlier failure; stop and recover", j->path);
    if (err) err->fatal = true;
    return LEAT_IO;
}

/* Nothing is known about the file any more: every later call is refused. */
static enum leat_status break_journal(struct leat_journal *j, enum leat_status status, struct leat_error *err) {
    j->broken = true;
    if (err) {
        err->fatal = true;
        err->retriable = false;
    }
    return status;
}

enum leat_status leat_journal_append(struct leat_journal *j, const char *json, size_t length, struct leat_error *err) {
    if (j->broken) return refuse_broken(j, err);
    enum leat_status status = check_record(json, length, err);
    if (status != LEAT_OK) return status;
    if (leat_journal_size_bytes(j) + length + LINE_OVERHEAD > LEAT_JOURNAL_FILE_BYTES_MAX)
        return leat_fail(err, LEAT_LIMIT, "journal %s: more than %zu bytes; a checkpoint must come first", j->path,
                         LEAT_JOURNAL_FILE_BYTES_MAX);
    return put_line(&j->waiting, json, length, j->waiting.length ? '+' : ' ', err);
}

enum leat_status leat_journal_sync(struct leat_journal *j, struct leat_error *err) {
    const struct leat_io_ops *ops = j->env->io->ops;
    enum leat_status status = LEAT_OK;
    if (j->broken) return refuse_broken(j, err);
    if (j->waiting.length == 0) return LEAT_OK;
    if (j->cut_first) status = ops->truncate(j->file, j->durable_bytes, err);
    if (status == LEAT_OK) {
        j->cut_first = false;
        status = ops->write(j->file, j->waiting.data, j->waiting.length, err);
        if (status != LEAT_OK) j->cut_first = ops->truncate(j->file, j->durable_bytes, NULL) != LEAT_OK;
    }
    if (status != LEAT_OK) {
        if (err) err->retriable = true;
        leat_buffer_reset(&j->waiting);
        return status;
    }
    status = ops->sync(j->file, err);
    if (status != LEAT_OK) return break_journal(j, status, err);
    j->durable_bytes += j->waiting.length;
    leat_buffer_reset(&j->waiting);
    return LEAT_OK;
}

enum leat_status leat_journal_rotate(struct leat_journal *j, const struct leat_journal_record *head, size_t count,
                                     struct leat_error *err) {
    struct leat_io *io = j->env->io;
    if (j->broken) return refuse_broken(j, err);
    uint64_t size_bytes = 0;
    char *path = journal_path(j->dir, j->sequence + 1);
    struct leat_file *file = NULL;
    enum leat_status status = write_new(j, path, j->sequence + 1, head, count, &size_bytes, err);
    if (status == LEAT_OK) status = io->ops->open(io, path, LEAT_OPEN_APPEND, &file, err);
    if (status != LEAT_OK) {
        /* Once the new name may be there, the next opening takes it: records put into the old file would be lost. */
        struct leat_stat st;
        if (io->ops->stat(io, path, &st, NULL) != LEAT_NOT_FOUND || (err && err->fatal)) break_journal(j, status, err);
        leat_prepend(err, "journal rotation");
        free(path);
        return status;
    }
    io->ops->close(j->file);
    struct leat_error ignored;
    if (io->ops->unlink(io, j->path, &ignored) != LEAT_OK)
        leat_log(j->env, LEAT_LOG_WARN, "journal: a leftover stays: %s", ignored.text);
    free(j->path);
    j->path = path;
    j->file = file;
    j->sequence++;
    j->durable_bytes = size_bytes;
    j->cut_first = false;
    leat_buffer_reset(&j->waiting);
    return LEAT_OK;
}

void leat_journal_close(struct leat_journal *j) {
    if (!j) return;
    if (j->file) j->env->io->ops->close(j->file);
    leat_buffer_deinit(&j->waiting);
    free(j->dir);
    free(j->path);
    free(j);
}

uint64_t leat_journal_size_bytes(const struct leat_journal *j) {
    return j->durable_bytes + j->waiting.length;
}

uint64_t leat_journal_cut_bytes(const struct leat_journal *j) {
    return j->cut_bytes;
}
