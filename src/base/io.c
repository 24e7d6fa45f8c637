/* The real disk: struct leat_io_ops over Linux system calls. */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct leat_file {
    int fd;
    char *bounce; /* DIRECT_BYTES, aligned; NULL until the first large write */
    bool buffered; /* direct writes are refused here */
    char path[]; /* for messages */
};

/* After a failed fsync the kernel may have dropped the dirty pages and marked them clean (Rebello et al., "Can
 * applications recover from fsync failures?", 2020): trying again proves nothing, so the process must stop. */
static enum leat_status fail_sync(struct leat_error *err, const char *call, const char *path) {
    enum leat_status status = leat_fail_errno(err, call, path);
    if (err) err->fatal = true;
    return status;
}

static enum leat_status real_open(struct leat_io *io, const char *path, enum leat_open_mode mode,
                                  struct leat_file **out, struct leat_error *err) {
    static const int flags[] = {
        [LEAT_OPEN_READ] = O_RDONLY | O_NONBLOCK, /* of a pipe: or else one waits for its writer */
        [LEAT_OPEN_APPEND] = O_RDWR | O_APPEND | O_CREAT,
        [LEAT_OPEN_CREATE] = O_RDWR | O_APPEND | O_CREAT | O_EXCL,
        [LEAT_OPEN_TRUNCATE] = O_RDWR | O_APPEND | O_CREAT | O_TRUNC,
    };
    (void)io;
    *out = NULL;
    int fd;
    do
        fd = open(path, flags[mode] | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return leat_fail_errno(err, "open", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
        close(fd);
        return leat_fail(err, LEAT_INVALID, "open %s: it is a pipe, not a file", path);
    }
    size_t length = strlen(path) + 1;
    struct leat_file *file = leat_alloc(sizeof *file + length);
    file->fd = fd;
    memcpy(file->path, path, length);
    *out = file;
    return LEAT_OK;
}

static enum leat_status real_read_at(struct leat_file *file, uint64_t offset, void *out, size_t want, size_t *got,
                                     struct leat_error *err) {
    *got = 0;
    if (offset > INT64_MAX - want)
        return leat_fail(err, LEAT_INVALID, "read %s: offset %llu is beyond any file", file->path,
                         (unsigned long long)offset);
    while (*got < want) {
        ssize_t n = pread(file->fd, (char *)out + *got, want - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return leat_fail_errno(err, "read", file->path);
        if (n == 0) break;
        *got += (size_t)n;
    }
    return LEAT_OK;
}

static enum leat_status write_buffered(struct leat_file *file, const char *from, size_t n, struct leat_error *err) {
    while (n > 0) {
        ssize_t done = write(file->fd, from, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return leat_fail_errno(err, "write", file->path);
        from += done;
        n -= (size_t)done;
    }
    return LEAT_OK;
}

/* Large writes go around the page cache: filling fresh pages of it costs sixteen times the CPU time, and what is written
 * here is rarely read again. Both ways meet at the end of the file, on page bounds, so each page has one owner. */
enum { DIRECT_BYTES = 4 << 20, DIRECT_MIN_BYTES = 1 << 18, DIRECT_ALIGNMENT = 4096 };

static bool set_direct(struct leat_file *file, bool direct) {
    int flags = fcntl(file->fd, F_GETFL);
    return flags >= 0 && fcntl(file->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/* Writes whole pages from `from`, the file ending on one, by way of aligned memory if they are not in such themselves; *done: how many bytes, fewer than n if direct writes do not work here. */
static enum leat_status write_direct(struct leat_file *file, const char *from, size_t n, size_t *done, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    bool aligned = (uintptr_t)from % DIRECT_ALIGNMENT == 0;
    *done = 0;
    if (!aligned && !file->bounce) file->bounce = aligned_alloc(DIRECT_ALIGNMENT, DIRECT_BYTES);
    if ((!aligned && !file->bounce) || !set_direct(file, true)) return LEAT_OK;
    while (*done < n) {
        size_t piece = n - *done < DIRECT_BYTES ? n - *done : DIRECT_BYTES;
        if (!aligned) memcpy(file->bounce, from + *done, piece);
        ssize_t written = write(file->fd, aligned ? from + *done : file->bounce, piece);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && errno != EINVAL) status = leat_fail_errno(err, "write", file->path);
        if (written > 0) *done += (size_t)written;
        if (written < 0 || written % DIRECT_ALIGNMENT) break;
    }
    if (!set_direct(file, false) && status == LEAT_OK) status = leat_fail_errno(err, "fcntl", file->path);
    return status;
}

static enum leat_status real_write(struct leat_file *file, const void *bytes, size_t n, struct leat_error *err) {
    const char *from = bytes;
    struct stat st;
    if (n < DIRECT_MIN_BYTES || file->buffered) {
        free(file->bounce); /* a quiet file keeps no memory for it */
        file->bounce = NULL;
        return write_buffered(file, from, n, err);
    }
    if (fstat(file->fd, &st)) return leat_fail_errno(err, "stat", file->path);
    size_t head = (DIRECT_ALIGNMENT - (size_t)st.st_size % DIRECT_ALIGNMENT) % DIRECT_ALIGNMENT, done;
    size_t whole = (n - head) / DIRECT_ALIGNMENT * DIRECT_ALIGNMENT;
    enum leat_status status = write_buffered(file, from, head, err);
    if (status == LEAT_OK) status = write_direct(file, from + head, whole, &done, err);
    if (status != LEAT_OK) return status;
    file->buffered = done < whole;
    return write_buffered(file, from + head + done, n - head - done, err);
}

static enum leat_status real_truncate(struct leat_file *file, uint64_t size_bytes, struct leat_error *err) {
    int failed;
    do
        failed = ftruncate(file->fd, (off_t)size_bytes);
    while (failed && errno == EINTR);
    return failed ? leat_fail_errno(err, "truncate", file->path) : LEAT_OK;
}

static enum leat_status real_sync(struct leat_file *file, struct leat_error *err) {
    return fdatasync(file->fd) ? fail_sync(err, "fdatasync", file->path) : LEAT_OK;
}

static void real_close(struct leat_file *file) {
    if (!file) return;
    free(file->bounce);
    close(file->fd); /* what must be durable was synced before; the result says nothing more */
    free(file);
}

static enum leat_status real_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    (void)io;
    struct stat st;
    memset(out, 0, sizeof *out);
    if (stat(path, &st)) return leat_fail_errno(err, "stat", path);
    out->size_bytes = (uint64_t)st.st_size;
    out->modified_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    out->inode = (uint64_t)st.st_ino;
    out->is_dir = S_ISDIR(st.st_mode);
    return LEAT_OK;
}

static enum leat_status real_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    return link(from, to) ? leat_fail_errno(err, "link", to) : LEAT_OK;
}

static enum leat_status real_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    return rename(from, to) ? leat_fail_errno(err, "rename", to) : LEAT_OK;
}

static enum leat_status real_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    if (unlink(path) == 0) return LEAT_OK;
    /* Linux says EISDIR for a directory (POSIX: EPERM); an empty one is removed like a file. */
    if (errno == EISDIR || errno == EPERM) {
        if (rmdir(path) == 0) return LEAT_OK;
        return leat_fail_errno(err, "rmdir", path);
    }
    return leat_fail_errno(err, "unlink", path);
}

static enum leat_status real_mkdir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    if (mkdir(path, 0777) == 0) return LEAT_OK;
    int number = errno;
    struct stat st;
    if (number == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return LEAT_OK;
    errno = number;
    return leat_fail_errno(err, "mkdir", path);
}

static enum leat_status real_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return leat_fail_errno(err, "open directory", path);
    enum leat_status status = fsync(fd) ? fail_sync(err, "fsync directory", path) : LEAT_OK;
    close(fd);
    return status;
}

static enum leat_status real_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *name),
                                  void *context, struct leat_error *err) {
    (void)io;
    DIR *dir = opendir(path);
    if (!dir) return leat_fail_errno(err, "list", path);
    enum leat_status status = LEAT_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) status = leat_fail_errno(err, "list", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (!visit(context, entry->d_name)) break;
    }
    closedir(dir);
    return status;
}

static enum leat_status real_lock(struct leat_file *file, struct leat_error *err) {
    int failed;
    do
        failed = flock(file->fd, LOCK_EX | LOCK_NB);
    while (failed && errno == EINTR);
    if (!failed) return LEAT_OK;
    if (errno != EWOULDBLOCK) return leat_fail_errno(err, "lock", file->path);
    leat_fail(err, LEAT_BUSY, "%s is locked by another process", file->path);
    if (err) err->retriable = true;
    return LEAT_BUSY;
}

static enum leat_status real_adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    char *dir = NULL;
    int fd = open(scratch, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return leat_fail_errno(err, "open", scratch);
    struct stat st;
    if (fstat(fd, &st)) {
        status = leat_fail_errno(err, "stat", scratch);
        goto out;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        status = leat_fail(err, LEAT_CORRUPT, "%s: to be adopted as %s, but it is %s", scratch, to,
                           S_ISREG(st.st_mode) ? "empty" : "not a regular file");
        goto out;
    }
    if (fsync(fd)) {
        status = fail_sync(err, "fsync", scratch);
        goto out;
    }
    status = real_link(io, scratch, to, err);
    if (status != LEAT_OK) goto out;
    dir = leat_io_dirname(to);
    status = real_sync_dir(io, dir, err);
    if (status != LEAT_OK) goto out;
    status = real_unlink(io, scratch, err);
out:
    free(dir);
    close(fd);
    return status;
}

static enum leat_status real_space(struct leat_io *io, const char *path, uint64_t *free_bytes, uint64_t *device, struct leat_error *err) {
    struct statvfs space;
    struct stat st;
    (void)io;
    if (statvfs(path, &space) || stat(path, &st)) return leat_fail_errno(err, "statvfs", path);
    *free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    *device = st.st_dev;
    return LEAT_OK;
}

struct leat_io *leat_io_real(void) {
    static const struct leat_io_ops ops = {
        .open = real_open,
        .read_at = real_read_at,
        .write = real_write,
        .truncate = real_truncate,
        .sync = real_sync,
        .close = real_close,
        .stat = real_stat,
        .link = real_link,
        .rename = real_rename,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .sync_dir = real_sync_dir,
        .list = real_list,
        .lock = real_lock,
        .adopt = real_adopt,
        .space = real_space,
    };
    static struct leat_io io = {.ops = &ops};
    return &io;
}
