/* The `file` sink: effects appended to a file, one JSON object a line, fsynced before they count.
 *
 * Every line begins with its effect's id, so the file itself says how far it is: after a crash what was written in part is removed, and what is in
 * the file is not written again. A file that was moved away is begun anew. */
#include <stdlib.h>
#include <string.h>

#include "connect/sink.h"

static const struct leat_option_spec options[] = {
    {.name = "path",
     .type = LEAT_OPTION_PATH,
     .required = true,
     .prose = "The file, relative to the project's folder; it is made when the first change comes. Its folder must be there."},
};

struct file_sink {
    struct leat_sink base;
    const struct leat_sink_context *context;
    char *path;
};

static enum leat_status file_open(const struct leat_sink_context *context, struct leat_sink **out, struct leat_error *err) {
    struct file_sink *sink = leat_alloc(sizeof *sink);
    const char *path = leat_sink_option(context->def, "path");
    (void)err;
    sink->base.ops = &leat_sink_file;
    sink->context = context;
    sink->path = path[0] == '/' ? leat_strdup(path) : leat_asprintf("%s/%s", context->project_dir, path);
    *out = &sink->base;
    return LEAT_OK;
}

static void file_close(struct leat_sink *base) {
    struct file_sink *sink = (struct file_sink *)base;
    free(sink->path);
    free(sink);
}

static enum leat_status file_encode(struct leat_sink *base, const struct leat_effect_row *effect, struct leat_buffer *payload,
                                    struct leat_error *err) {
    (void)err;
    leat_effect_put_json(((struct file_sink *)base)->context, effect, payload);
    leat_put(payload, "\n");
    return LEAT_OK;
}

/* The offset behind the last line feed in the file's last `size` bytes from `from` on; SIZE_MAX: there is none. */
static size_t behind_last_line(const char *bytes, size_t size) {
    while (size && bytes[size - 1] != '\n') size--;
    return size ? size : SIZE_MAX;
}

/* Sequence in the line that begins at `line`; 0: it is not one of this sink's. */
static uint64_t sequence_of(const struct file_sink *sink, const char *line) {
    char *begin = leat_asprintf("{\"id\":\"%s-", sink->context->identity);
    size_t length = strlen(begin);
    uint64_t sequence = strncmp(line, begin, length) == 0 ? strtoull(line + length, NULL, 10) : 0;
    free(begin);
    return sequence;
}

/* Finds the last line that counts; *end: where it ends (0: there is none). Of the last write any page may be there when power was lost, the others
 * being zeros: what counts ends before the first zero byte that this write may have left. */
static enum leat_status last_line(struct file_sink *sink, struct leat_file *file, uint64_t size, uint64_t *end, uint64_t *sequence,
                                  struct leat_error *err) {
    const struct leat_io_ops *ops = sink->context->env->io->ops;
    enum leat_status st = LEAT_OK;
    char *bytes = NULL;
    *end = *sequence = 0;
    for (uint64_t want = LEAT_DELIVERY_BYTES_MAX; size && st == LEAT_OK; want *= 4) {
        size_t take = want < size ? (size_t)want : (size_t)size, got = 0;
        bytes = leat_realloc(bytes, take + 1);
        if ((st = ops->read_at(file, size - take, bytes, take, &got, err)) != LEAT_OK) break;
        bytes[got] = 0;
        size_t behind = behind_last_line(bytes, strlen(bytes)), before = behind == SIZE_MAX ? SIZE_MAX : behind_last_line(bytes, behind - 1);
        if (take < size && (behind == SIZE_MAX || before == SIZE_MAX)) continue;
        if (behind == SIZE_MAX) break;
        *end = size - take + behind;
        *sequence = sequence_of(sink, bytes + (before == SIZE_MAX ? 0 : before));
        break;
    }
    free(bytes);
    return st;
}

static enum leat_status file_progress(struct leat_sink *base, const atomic_int *stop, uint64_t *sequence, struct leat_error *err) {
    (void)stop;
    struct file_sink *sink = (struct file_sink *)base;
    struct leat_io *io = sink->context->env->io;
    struct leat_file *file;
    struct leat_stat stat;
    uint64_t end;
    *sequence = 0;
    enum leat_status st = io->ops->stat(io, sink->path, &stat, err);
    if (st == LEAT_NOT_FOUND) return LEAT_OK;
    if (st == LEAT_OK) st = io->ops->open(io, sink->path, LEAT_OPEN_APPEND, &file, err);
    if (st != LEAT_OK) return st;
    st = last_line(sink, file, stat.size_bytes, &end, sequence, err);
    if (st == LEAT_OK && end < stat.size_bytes) st = io->ops->truncate(file, end, err);
    if (st == LEAT_OK && stat.size_bytes) st = io->ops->sync(file, err); /* what was found there counts from now on */
    io->ops->close(file);
    return st;
}

static enum leat_status sync_folder(struct file_sink *sink, struct leat_error *err) {
    char *dir = leat_io_dirname(sink->path);
    enum leat_status st = sink->context->env->io->ops->sync_dir(sink->context->env->io, dir, err);
    free(dir);
    return st;
}

static enum leat_status file_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop,
                                     size_t *confirmed, struct leat_error *err) {
    struct file_sink *sink = (struct file_sink *)base;
    struct leat_io *io = sink->context->env->io;
    struct leat_buffer lines = {0};
    struct leat_file *file;
    (void)stop;
    *confirmed = 0;
    bool there = leat_io_exists(io, sink->path);
    enum leat_status st = io->ops->open(io, sink->path, LEAT_OPEN_APPEND, &file, err);
    if (st != LEAT_OK) return st;
    for (size_t i = 0; i < count; i++) leat_putn(&lines, effects[i].payload, effects[i].payload_bytes);
    st = io->ops->write(file, lines.data, lines.length, err);
    if (st == LEAT_OK) st = io->ops->sync(file, err);
    if (st == LEAT_OK && !there) st = sync_folder(sink, err);
    if (st == LEAT_OK) *confirmed = count;
    io->ops->close(file);
    leat_buffer_deinit(&lines);
    return st;
}

const struct leat_sink_ops leat_sink_file = {
    .name = "file",
    .what = "appends changes to a file, one JSON object a line",
    .guarantee = "Each change is in the file once, in order, also after a crash: every line names its change, and what was written in part is removed. "
                 "What somebody moves away or cuts off is not written again.",
    .shape = LEAT_SINK_EVENTS,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .open = file_open,
    .encode = file_encode,
    .deliver = file_deliver,
    .progress = file_progress,
    .close = file_close,
};
