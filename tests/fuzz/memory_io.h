/* A disk in memory for fuzz targets: files by name, no directories to speak of, nothing fails. One thread. */
#ifndef LEAT_TESTS_MEMORY_IO_H
#define LEAT_TESTS_MEMORY_IO_H

#include <stdlib.h>
#include <string.h>
#include "base/io.h"

#define MEMORY_FILES_MAX 64
struct memory_file {
    char *path;
    struct leat_buffer bytes;
    uint64_t inode;
    bool used;
};
static struct memory_file memory_files[MEMORY_FILES_MAX];
static uint64_t memory_next_inode = 1;
struct leat_file {
    struct memory_file *at;
};

static struct memory_file *memory_find(const char *path) {
    for (int i = 0; i < MEMORY_FILES_MAX; i++)
        if (memory_files[i].used && strcmp(memory_files[i].path, path) == 0) return &memory_files[i];
    return NULL;
}
static struct memory_file *memory_make(const char *path) {
    for (int i = 0; i < MEMORY_FILES_MAX; i++)
        if (!memory_files[i].used) {
            memory_files[i] =
                (struct memory_file){.path = leat_strdup(path), .inode = memory_next_inode++, .used = true};
            return &memory_files[i];
        }
    abort();
}
static void memory_drop(struct memory_file *f) {
    free(f->path);
    leat_buffer_deinit(&f->bytes);
    *f = (struct memory_file){0};
}
static void memory_clear(void) {
    for (int i = 0; i < MEMORY_FILES_MAX; i++)
        if (memory_files[i].used) memory_drop(&memory_files[i]);
}
static enum leat_status m_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out,
                               struct leat_error *err) {
    (void)io;
    struct memory_file *f = memory_find(path);
    *out = NULL;
    if (!f && mode == LEAT_OPEN_READ) return leat_fail(err, LEAT_NOT_FOUND, "%s", path);
    if (f && mode == LEAT_OPEN_CREATE) return leat_fail(err, LEAT_EXISTS, "%s", path);
    if (!f) f = memory_make(path);
    if (mode == LEAT_OPEN_TRUNCATE) leat_buffer_reset(&f->bytes);
    *out = leat_alloc(sizeof **out);
    (*out)->at = f;
    return LEAT_OK;
}
static enum leat_status m_read_at(struct leat_file *file, uint64_t offset, void *out, size_t want, size_t *got,
                                  struct leat_error *err) {
    (void)err;
    size_t length = file->at->bytes.length;
    *got = offset >= length ? 0 : want < length - offset ? want : (size_t)(length - offset);
    if (*got) memcpy(out, file->at->bytes.data + offset, *got);
    return LEAT_OK;
}
static enum leat_status m_write(struct leat_file *file, const void *bytes, size_t n, struct leat_error *err) {
    return leat_buffer_add(&file->at->bytes, bytes, n, err);
}
static enum leat_status m_truncate(struct leat_file *file, uint64_t size, struct leat_error *err) {
    (void)err;
    if (size < file->at->bytes.length) file->at->bytes.length = (size_t)size;
    return LEAT_OK;
}
static enum leat_status m_sync(struct leat_file *file, struct leat_error *err) {
    (void)file, (void)err;
    return LEAT_OK;
}
static void m_close(struct leat_file *file) {
    free(file);
}
static enum leat_status m_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    (void)io;
    struct memory_file *f = memory_find(path);
    size_t n = strlen(path);
    *out = (struct leat_stat){0};
    if (f)
        *out = (struct leat_stat){
            .size_bytes = f->bytes.length, .modified_us = (int64_t)f->bytes.length, .inode = f->inode};
    for (int i = 0; i < MEMORY_FILES_MAX && !f && !out->is_dir; i++)
        out->is_dir =
            memory_files[i].used && strncmp(memory_files[i].path, path, n) == 0 && memory_files[i].path[n] == '/';
    return f || out->is_dir ? LEAT_OK : leat_fail(err, LEAT_NOT_FOUND, "%s", path);
}
static enum leat_status m_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    struct memory_file *f = memory_find(path);
    if (!f) return leat_fail(err, LEAT_NOT_FOUND, "%s", path);
    memory_drop(f);
    return LEAT_OK;
}
static enum leat_status m_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    struct memory_file *f = memory_find(from);
    if (!f) return leat_fail(err, LEAT_NOT_FOUND, "%s", from);
    m_unlink(io, to, NULL);
    free(f->path);
    f->path = leat_strdup(to);
    return LEAT_OK;
}
static enum leat_status m_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    struct memory_file *f = memory_find(from);
    (void)io;
    if (!f) return leat_fail(err, LEAT_NOT_FOUND, "%s", from);
    if (memory_find(to)) return leat_fail(err, LEAT_EXISTS, "%s", to);
    return leat_buffer_add(&memory_make(to)->bytes, f->bytes.data, f->bytes.length, err);
}
static enum leat_status m_path(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io, (void)path, (void)err;
    return LEAT_OK;
}
static enum leat_status m_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *), void *context,
                               struct leat_error *err) {
    (void)io, (void)err;
    size_t n = strlen(path);
    for (int i = 0; i < MEMORY_FILES_MAX; i++)
        if (memory_files[i].used && strncmp(memory_files[i].path, path, n) == 0 && memory_files[i].path[n] == '/' &&
            !strchr(memory_files[i].path + n + 1, '/') && !visit(context, memory_files[i].path + n + 1))
            break;
    return LEAT_OK;
}
static enum leat_status m_lock(struct leat_file *file, struct leat_error *err) {
    (void)file, (void)err;
    return LEAT_OK;
}
static struct leat_io *memory_io(void) {
    static const struct leat_io_ops ops = {
        .open = m_open,
        .read_at = m_read_at,
        .write = m_write,
        .truncate = m_truncate,
        .sync = m_sync,
        .close = m_close,
        .stat = m_stat,
        .link = m_link,
        .rename = m_rename,
        .unlink = m_unlink,
        .mkdir = m_path,
        .sync_dir = m_path,
        .list = m_list,
        .lock = m_lock,
    };
    static struct leat_io io = {.ops = &ops};
    return &io;
}

#endif
