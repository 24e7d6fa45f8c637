/* The file connector: options, and the round in which files and the spool get their turns. See file.h for the other
 * parts. */
#include "connect/file.h"
#include "connect/file_source.h"
#include "connect/file_spool.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SAVE_SEEN_US 10000000

static struct leat_file_source *self(struct leat_connector *c) {
    return (struct leat_file_source *)(void *)c;
}

/* ---- options; project/ has checked names and values against the table, defaults included ---- */

static bool option_is(const struct leat_source *source, const char *name, const char *value) {
    const char *text = leat_source_option(source, name);
    return text && strcasecmp(text, value) == 0;
}

enum leat_status leat_file_read_options(struct leat_file_source *s, const struct leat_source *source,
                                        struct leat_error *err) {
    const char *path = leat_source_option(source, "path");
    if (!path || !*path)
        return leat_fail(err, LEAT_INVALID, "source %s: the file connector needs a path", source->name);
    if (source->format == LEAT_FORMAT_PARQUET)
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "source %s: Parquet files cannot be followed; give a refresh to make it a reference",
                         source->name);
    if (option_is(source, "encoding", "utf-16"))
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "source %s: utf-16 files cannot be followed; convert them to utf-8, or give a refresh to make "
                         "it a reference",
                         source->name);
    s->name = leat_strdup(source->name);
    s->pattern = leat_strdup(path);
    s->format = source->format;
    s->once = option_is(source, "mode", "once");
    s->has_header = s->format == LEAT_FORMAT_CSV && !option_is(source, "header", "false");
    s->compression = option_is(source, "compression", "none")   ? LEAT_COMPRESSION_NONE
                     : option_is(source, "compression", "gzip") ? LEAT_COMPRESSION_GZIP
                     : option_is(source, "compression", "zstd") ? LEAT_COMPRESSION_ZSTD
                                                                : LEAT_COMPRESSION_AUTO;
    int64_t line = leat_source_option_int(source, "max_line_bytes", (int64_t)LEAT_MIB);
    s->max_line_bytes = line < 1 ? 1 : line > (int64_t)LEAT_RECORD_BYTES_MAX ? LEAT_RECORD_BYTES_MAX : (size_t)line;
    s->max_ratio = leat_source_option_int(source, "max_decompressed_ratio", 200);
    s->poll_interval_us = leat_source_option_int(source, "poll_interval", 1000000);
    return LEAT_OK;
}

/* ---- opening and closing ---- */

static void file_close(struct leat_connector *connector) {
    struct leat_file_source *s = self(connector);
    struct leat_error err;
    if (!s) return;
    leat_file_end_turn(s);
    if (s->scanned && leat_file_save_seen(s, &err) != LEAT_OK)
        leat_log(s->env, LEAT_LOG_WARN, "source %s: %s", s->name, err.text);
    leat_spool_reader_close(s->spool);
    leat_watch_close(s->watch);
    leat_file_list_deinit(s);
    leat_partitions_deinit(&s->table);
    free(s->buffer);
    free(s->starts);
    free(s->ends);
    free(s->pattern);
    free(s->project_dir);
    free(s->name);
    free(s);
}

static enum leat_status check_resume(const struct leat_file_source *s, const struct leat_log_end *resume, size_t count,
                                     struct leat_error *err) {
    uint32_t last = s->table.count ? s->table.items[s->table.count - 1].number : LEAT_SPOOL_PARTITION;
    for (size_t i = 0; i < count; i++)
        if (resume[i].partition > last)
            return leat_fail(err, LEAT_CORRUPT,
                             "source %s: the log has partition %u but %s ends at %u; restore that file", s->name,
                             resume[i].partition, s->table.path, last);
    return LEAT_OK;
}

static enum leat_status file_open(struct leat_env *env, const struct leat_source *source, const char *project_dir,
                                  const char *state_dir, const struct leat_log_end *resume, size_t resume_count,
                                  struct leat_connector **out, struct leat_error *err) {
    struct leat_file_source *s = leat_alloc(sizeof *s);
    struct leat_log_end spool_end = {.partition = LEAT_SPOOL_PARTITION};
    *out = NULL;
    s->base.ops = &leat_connector_file;
    s->env = env;
    s->project_dir = leat_strdup(project_dir);
    enum leat_status status = leat_file_read_options(s, source, err);
    if (status == LEAT_OK) status = leat_io_mkdirs(env->io, state_dir, err);
    if (status == LEAT_OK) status = leat_partitions_open(env, state_dir, &s->table, err);
    if (status == LEAT_OK) status = check_resume(s, resume, resume_count, err);
    if (status != LEAT_OK) goto out;
    s->starts = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *s->starts);
    s->ends = leat_alloc(LEAT_BLOCK_RECORDS_MAX * sizeof *s->ends);
    s->progress = leat_alloc((resume_count + 1) * sizeof *s->progress);
    for (size_t i = 0; i < resume_count; i++) {
        if (resume[i].partition == LEAT_SPOOL_PARTITION)
            spool_end = resume[i];
        else
            s->progress[s->progress_count++] = resume[i];
    }
    s->watch = s->once ? NULL : leat_watch_open(env);
    status = leat_spool_reader_open(s, state_dir, &spool_end, &s->spool, err);
    if (status != LEAT_OK) goto out;
    *out = &s->base;
    s = NULL;
out:
    if (s) file_close(&s->base);
    return status;
}

/* ---- rounds ---- */

static enum leat_status begin_round(struct leat_file_source *s, struct leat_error *err) {
    struct leat_clock *clock = s->env->clock;
    bool names = !s->watch || s->rescan, look = !s->scanned || (!s->once && (!s->watch || leat_watch_fired(s->watch, &names)));
    look |= s->rescan;
    s->listed &= !names;
    s->rescan = false;
    for (size_t i = 0; i < s->file_count && !look; i++)
        look = s->files[i].failed && clock->monotonic_us(clock) >= s->files[i].retry_us;
    enum leat_status status = look ? leat_file_scan(s, err) : LEAT_OK;
    if (status != LEAT_OK) {
        s->pause = true;
        if (status == LEAT_IO || status == LEAT_NO_SPACE || status == LEAT_BUSY || status == LEAT_NO_MEMORY)
            err->retriable = !err->fatal;
        return status;
    }
    s->in_round = true;
    s->turn = 0;
    return LEAT_OK;
}

/* END, unless the disk failed to sync: what was seen can else be saved later. */
static enum leat_status end_round(struct leat_file_source *s, struct leat_error *err) {
    struct leat_clock *clock = s->env->clock;
    struct leat_error problem = {0};
    s->in_round = false;
    s->rounds = s->caught_up = true;
    if (s->buffer_capacity > LEAT_MIB && s->quiet_rounds++ > 0) { /* a quiet source keeps no large buffer */
        free(s->buffer);
        s->buffer = NULL;
        s->buffer_capacity = 0;
    }
    if (!s->seen_differs || clock->monotonic_us(clock) < s->saved_us + SAVE_SEEN_US) return LEAT_END;
    s->saved_us = clock->monotonic_us(clock);
    enum leat_status status = leat_file_save_seen(s, &problem);
    if (status != LEAT_OK && problem.fatal) {
        if (err) *err = problem;
        return status;
    }
    if (status != LEAT_OK) leat_log(s->env, LEAT_LOG_WARN, "source %s: %s", s->name, problem.text);
    return LEAT_END;
}

/* A file's turn is over. What must be told goes up as an error; the position stays. */
static enum leat_status finish_turn(struct leat_file_source *s, struct leat_tailed *f, enum leat_status status,
                                    struct leat_error *err) {
    struct leat_clock *clock = s->env->clock;
    leat_file_end_turn(s);
    s->turn++;
    f->idle = true;
    if (status == LEAT_END) return LEAT_OK;
    if (status == LEAT_NOT_FOUND) { /* gone between scan and turn: the next scan says so */
        f->unchecked = s->rescan = true;
        return LEAT_OK;
    }
    if (err->bad_data) {
        f->damaged = true;
        s->seen_differs = true;
        return status;
    }
    if (err->fatal) return status;
    f->failed = true;
    f->retry_us = clock->monotonic_us(clock) + LEAT_FILE_RETRY_US;
    err->retriable = true;
    return status;
}

static enum leat_status file_poll(struct leat_connector *connector, size_t max_bytes, struct leat_block *out,
                                  struct leat_error *err) {
    struct leat_file_source *s = self(connector);
    struct leat_error own;
    enum leat_status status = LEAT_OK;
    if (!err) err = &own;
    *out = (struct leat_block){0};
    s->caught_up = false;
    if (s->pause) {
        s->pause = false;
        s->in_round = false;
        return LEAT_END;
    }
    if (!s->in_round) status = begin_round(s, err);
    while (status == LEAT_OK && s->turn < s->file_count) {
        struct leat_tailed *f = &s->files[s->turn];
        if (f->idle || f->fed || f->partition == 0) {
            leat_file_end_turn(s);
            s->turn++;
            continue;
        }
        status = leat_file_read(s, f, max_bytes, out, err);
        if (status == LEAT_OK && out->record_count == 0) continue; /* left out */
        if (status == LEAT_OK) {
            s->quiet_rounds = 0;
            return LEAT_OK;
        }
        status = finish_turn(s, f, status, err);
    }
    if (status != LEAT_OK) return status;
    status = leat_spool_reader_poll(s->spool, out, err);
    if (status == LEAT_END)
        status = end_round(s, err);
    else if (status != LEAT_OK)
        s->pause = true;
    return status;
}

/* A file that waits to be tried again may have more. */
static bool any_failed(const struct leat_file_source *s) {
    for (size_t i = 0; i < s->file_count; i++)
        if (s->files[i].failed) return true;
    return false;
}

static bool file_finished(struct leat_connector *connector) {
    const struct leat_file_source *s = self(connector);
    return s->once && s->rounds && !s->rescan && !s->in_round && !any_failed(s);
}

static bool file_caught_up(struct leat_connector *connector) {
    const struct leat_file_source *s = self(connector);
    return s->caught_up && !s->rescan && !any_failed(s);
}

static int64_t file_next_poll_us(struct leat_connector *connector) {
    const struct leat_file_source *s = self(connector);
    if (file_finished(connector)) return -1;
    if (!s->watch || !s->scanned || s->rescan) return s->poll_interval_us;
    return any_failed(s) ? LEAT_FILE_RETRY_US : -1;
}

static int file_wake_fd(struct leat_connector *connector) {
    const struct leat_file_source *s = self(connector);
    return s->watch ? leat_watch_fd(s->watch) : -1;
}

uint64_t leat_connector_file_redelivered(struct leat_connector *connector) {
    return leat_spool_reader_redelivered(self(connector)->spool);
}

/* ---- a lost work folder ---- */

static uint64_t file_revision(struct leat_connector *connector) {
    const struct leat_stat *seen = &self(connector)->table.seen;
    return seen->inode ^ (uint64_t)seen->modified_us << 20 ^ seen->size_bytes;
}

static void file_describe(struct leat_connector *connector, struct leat_buffer *out) {
    leat_partitions_print(&self(connector)->table, false, out);
}

static enum leat_status file_restore(struct leat_env *env, const char *state_dir, const char *text, size_t length, struct leat_error *err) {
    char *path = leat_asprintf("%s/partitions.json", state_dir);
    enum leat_status status = leat_io_write_durable(env->io, path, text, length, true, err);
    free(path);
    return status;
}

static uint64_t file_lost(struct leat_connector *connector) {
    return leat_spool_reader_lost(self(connector)->spool);
}

static void file_seen(struct leat_connector *connector, uint64_t identity) {
    leat_spool_reader_seen(self(connector)->spool, identity);
}

const struct leat_connector_ops leat_connector_file = {
    .name = "file",
    .open = file_open,
    .poll = file_poll,
    .finished = file_finished,
    .caught_up = file_caught_up,
    .next_poll_us = file_next_poll_us,
    .wake_fd = file_wake_fd,
    .close = file_close,
    .revision = file_revision,
    .describe = file_describe,
    .restore = file_restore,
    .lost = file_lost,
    .seen = file_seen,
};
