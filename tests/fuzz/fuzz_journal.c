/* The journal's reader over any bytes: it gives records, or CORRUPT or UNSUPPORTED; after an opening that succeeded, an
 * added record comes back behind the same records. The first byte chooses: even, the rest is the file; odd, each line
 * of the rest (its first byte the mark) gets a good hash first, behind a good first line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include "state/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A disk of one file in memory. */
struct leat_file {
    int unused;
};
static struct leat_buffer disk;
static struct leat_file the_file;

static enum leat_status mem_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out,
                                 struct leat_error *err) {
    (void)io, (void)path, (void)mode, (void)err;
    *out = &the_file;
    return LEAT_OK;
}
static enum leat_status mem_read_at(struct leat_file *f, uint64_t offset, void *out, size_t want, size_t *got,
                                    struct leat_error *err) {
    (void)f, (void)err;
    size_t left = offset < disk.length ? disk.length - (size_t)offset : 0;
    *got = want < left ? want : left;
    if (*got) memcpy(out, disk.data + offset, *got);
    return LEAT_OK;
}
static enum leat_status mem_write(struct leat_file *f, const void *bytes, size_t n, struct leat_error *err) {
    (void)f;
    return leat_buffer_add(&disk, bytes, n, err);
}
static enum leat_status mem_truncate(struct leat_file *f, uint64_t size_bytes, struct leat_error *err) {
    (void)f, (void)err;
    if (size_bytes > disk.length) abort();
    disk.length = (size_t)size_bytes;
    return LEAT_OK;
}
static enum leat_status mem_sync(struct leat_file *f, struct leat_error *err) {
    (void)f, (void)err;
    return LEAT_OK;
}
static void mem_close(struct leat_file *f) {
    (void)f;
}
static enum leat_status mem_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    (void)io, (void)err;
    *out = (struct leat_stat){.size_bytes = disk.length, .is_dir = strchr(path, '-') == NULL};
    return LEAT_OK;
}
static enum leat_status mem_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io, (void)path, (void)err;
    return LEAT_OK;
}
static enum leat_status mem_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *),
                                 void *context, struct leat_error *err) {
    (void)io, (void)path, (void)err;
    visit(context, "journal-0000000000000001");
    return LEAT_OK;
}

static enum leat_status collect(void *context, const char *json, size_t length, struct leat_error *err) {
    (void)err;
    leat_putn(context, json, length);
    leat_put(context, "\n");
    return LEAT_OK;
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static void put_line(struct leat_buffer *out, char mark, const char *json, size_t n) {
    leat_putf(out, "%016" PRIx64 "%c", (uint64_t)XXH64(json, n, 0), mark);
    leat_putn(out, json, n);
    leat_put(out, "\n");
}

static void put_forged(const uint8_t *data, size_t size) {
    static const char header[] = "{\"leat_journal\":1,\"sequence\":1,\"head_bytes\":0}";
    put_line(&disk, ' ', header, sizeof header - 1);
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t n = end ? (size_t)(end - data) : size;
        if (n > 1) put_line(&disk, (char)data[0], (const char *)data + 1, n - 1);
        data += n + (end != NULL);
        size -= n + (end != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct leat_io_ops ops = {
        .open = mem_open,
        .read_at = mem_read_at,
        .write = mem_write,
        .truncate = mem_truncate,
        .sync = mem_sync,
        .close = mem_close,
        .stat = mem_stat,
        .sync_dir = mem_sync_dir,
        .list = mem_list,
    };
    struct leat_io io = {.ops = &ops};
    struct leat_env env = {.io = &io, .log = quiet};
    struct leat_journal *j;
    struct leat_error err;
    struct leat_buffer before = {0}, after = {0};
    if (size == 0) return 0;
    leat_buffer_reset(&disk);
    if (data[0] % 2)
        put_forged(data + 1, size - 1);
    else
        leat_putn(&disk, (const char *)data + 1, size - 1);

    enum leat_status status = leat_journal_open(&env, "dir", collect, &before, &j, &err);
    if (status == LEAT_OK) {
        if (leat_journal_append(j, "{}", 2, &err) != LEAT_OK || leat_journal_sync(j, &err) != LEAT_OK) abort();
        leat_journal_close(j);
        leat_put(&before, "{}\n");
        if (leat_journal_open(&env, "dir", collect, &after, &j, &err) != LEAT_OK) abort();
        leat_journal_close(j);
        if (before.length != after.length || memcmp(before.data, after.data, before.length) != 0) abort();
    } else if (status != LEAT_CORRUPT && status != LEAT_UNSUPPORTED) {
        abort();
    }
    leat_buffer_deinit(&before);
    leat_buffer_deinit(&after);
    leat_buffer_deinit(&disk);
    return 0;
}
