/* Whole-file and whole-tree helpers over struct leat_io; no system call here. */
#include "base/io.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMP_SUFFIX ".leat-tmp"
#define TEMP_TRIES 10000

char *leat_io_dirname(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length ? leat_strndup(path, length) : leat_strdup(".");
}

bool leat_io_is_temp_name(const char *name) {
    size_t length = strlen(name), suffix = strlen(TEMP_SUFFIX);
    return name[0] == '.' && length > suffix && strcmp(name + length - suffix, TEMP_SUFFIX) == 0;
}

enum leat_status leat_io_read_all(struct leat_io *io, const char *path, size_t max_bytes, struct leat_buffer *out,
                                  struct leat_error *err) {
    struct leat_file *file = NULL;
    size_t before = out->length, got = 0;
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &file, err);
    if (status != LEAT_OK) return status;
    struct leat_stat st;
    status = io->ops->stat(io, path, &st, err);
    size_t chunk = status == LEAT_OK && st.size_bytes < max_bytes ? (size_t)st.size_bytes + 1 : max_bytes;
    if (status != LEAT_OK) goto out;
    do { /* the size is a hint: the file may grow meanwhile */
        if (chunk < 4096) chunk = 4096;
        status = leat_buffer_reserve(out, chunk, err);
        if (status != LEAT_OK) goto out;
        status = io->ops->read_at(file, out->length - before, out->data + out->length, chunk, &got, err);
        if (status != LEAT_OK) goto out;
        out->length += got;
        out->data[out->length] = '\0';
        if (out->length - before > max_bytes) {
            status = leat_fail(err, LEAT_LIMIT, "%s is larger than the %zu bytes allowed for it", path, max_bytes);
            goto out;
        }
    } while (got == chunk);
out:
    if (status != LEAT_OK) {
        out->length = before;
        if (out->data) out->data[before] = '\0';
    }
    io->ops->close(file);
    return status;
}

/* Opens a file of a name nobody has, beside `path`. The name is ours to unlink. */
static enum leat_status open_temp(struct leat_io *io, const char *path, char **out_name, struct leat_file **out,
                                  struct leat_error *err) {
    static atomic_uint counter;
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    enum leat_status status = LEAT_EXISTS;
    for (int i = 0; i < TEMP_TRIES && status == LEAT_EXISTS; i++) {
        char *name =
            leat_asprintf("%.*s.%s.%u" TEMP_SUFFIX, (int)(base - path), path, base, atomic_fetch_add(&counter, 1));
        status = io->ops->open(io, name, LEAT_OPEN_CREATE, out, err);
        if (status == LEAT_OK)
            *out_name = name;
        else
            free(name);
    }
    return status;
}

enum leat_status leat_io_write_durable(struct leat_io *io, const char *path, const void *bytes, size_t n, bool replace,
                                       struct leat_error *err) {
    struct leat_file *file = NULL;
    char *temp = NULL, *dir = leat_io_dirname(path);
    bool temp_there = false;
    enum leat_status status = open_temp(io, path, &temp, &file, err);
    if (status != LEAT_OK) goto out;
    temp_there = true;
    status = io->ops->write(file, bytes, n, err);
    if (status != LEAT_OK) goto out;
    status = io->ops->sync(file, err);
    if (status != LEAT_OK) goto out;
    io->ops->close(file);
    file = NULL;
    status = replace ? io->ops->rename(io, temp, path, err) : io->ops->link(io, temp, path, err);
    if (status != LEAT_OK) goto out;
    if (replace) temp_there = false;
    status = io->ops->sync_dir(io, dir, err);
out:
    if (file) io->ops->close(file);
    if (temp_there) { /* a temp that stays is rubbish, never a wrong answer */
        struct leat_error ignored;
        io->ops->unlink(io, temp, &ignored);
    }
    free(temp);
    free(dir);
    return status;
}

enum leat_status leat_io_mkdirs(struct leat_io *io, const char *path, struct leat_error *err) {
    struct leat_stat st;
    struct leat_error sync_err = {0};
    char *parent = leat_io_dirname(path);
    enum leat_status status = LEAT_OK;
    if (io->ops->stat(io, path, &st, NULL) == LEAT_OK) {
        if (!st.is_dir) {
            status = leat_fail(err, LEAT_EXISTS, "%s is there but not a directory", path);
            goto out;
        }
        /* A process that died between mkdir and fsync leaves a name that a power cut still takes away. What is above is
         * durable: it was synced before this one was made. A parent that we may not read was not made by us. */
        if (io->ops->sync_dir(io, parent, &sync_err) != LEAT_OK && sync_err.fatal) {
            status = sync_err.status;
            if (err) *err = sync_err;
        }
        goto out;
    }
    if (strcmp(parent, path) != 0) status = leat_io_mkdirs(io, parent, err);
    if (status == LEAT_OK) status = io->ops->mkdir(io, path, err);
    if (status == LEAT_OK) status = io->ops->sync_dir(io, parent, err);
out:
    free(parent);
    return status;
}

bool leat_io_exists(struct leat_io *io, const char *path) {
    struct leat_stat st;
    return io->ops->stat(io, path, &st, NULL) == LEAT_OK;
}

struct names {
    char **items;
    size_t count, capacity;
};

static bool collect_name(void *context, const char *name) {
    struct names *names = context;
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? names->capacity * 2 : 16;
        names->items = leat_realloc(names->items, names->capacity * sizeof *names->items);
    }
    names->items[names->count++] = leat_strdup(name);
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum leat_status leat_io_list_sorted(struct leat_io *io, const char *path, char ***out_names, size_t *out_count,
                                     struct leat_error *err) {
    struct names names = {0};
    *out_names = NULL;
    *out_count = 0;
    enum leat_status status = io->ops->list(io, path, collect_name, &names, err);
    if (status == LEAT_NOT_FOUND) return LEAT_OK;
    if (status != LEAT_OK) {
        leat_names_free(names.items, names.count);
        return status;
    }
    if (names.count > 1) qsort(names.items, names.count, sizeof *names.items, compare_names);
    *out_names = names.items;
    *out_count = names.count;
    return LEAT_OK;
}

void leat_names_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

enum leat_status leat_io_remove_tree(struct leat_io *io, const char *path, struct leat_error *err) {
    /* unlink first: it never follows a symbolic link, so a link to a directory is removed, not its target's content. */
    struct leat_error first;
    enum leat_status status = io->ops->unlink(io, path, &first);
    if (status == LEAT_OK || status == LEAT_NOT_FOUND) return LEAT_OK;
    struct leat_stat st;
    if (io->ops->stat(io, path, &st, NULL) != LEAT_OK || !st.is_dir) {
        if (err) *err = first;
        return status;
    }
    char **names;
    size_t count;
    status = leat_io_list_sorted(io, path, &names, &count, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        char *child = leat_asprintf("%s/%s", path, names[i]);
        status = leat_io_remove_tree(io, child, err);
        free(child);
    }
    leat_names_free(names, count);
    if (status == LEAT_OK) status = io->ops->unlink(io, path, err);
    return status == LEAT_NOT_FOUND ? LEAT_OK : status;
}
