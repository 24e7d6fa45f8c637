#include "sim/kill.h"

static struct leat_io_ops ops;
static uint64_t calls, limit = UINT64_MAX;

static enum leat_status count(struct leat_error *err) {
    if (calls < limit) {
        calls++;
        return LEAT_OK;
    }
    enum leat_status st = leat_fail(err, LEAT_IO, "the process was killed here");
    if (err) err->fatal = true;
    return st;
}

#define REAL leat_io_real()->ops
#define COUNTED(call)                                                                                                  \
    enum leat_status st = count(err);                                                                                  \
    return st == LEAT_OK ? REAL->call : st

static enum leat_status killable_open(struct leat_io *io, const char *path, enum leat_open_mode mode,
                                      struct leat_file **out, struct leat_error *err) {
    (void)io;
    *out = NULL;
    if (mode == LEAT_OPEN_READ) return REAL->open(leat_io_real(), path, mode, out, err);
    COUNTED(open(leat_io_real(), path, mode, out, err));
}

static enum leat_status killable_write(struct leat_file *file, const void *bytes, size_t n, struct leat_error *err) {
    COUNTED(write(file, bytes, n, err));
}

static enum leat_status killable_truncate(struct leat_file *file, uint64_t size_bytes, struct leat_error *err) {
    COUNTED(truncate(file, size_bytes, err));
}

static enum leat_status killable_sync(struct leat_file *file, struct leat_error *err) {
    (void)file; /* the kernel lives on */
    return count(err);
}

static enum leat_status killable_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    COUNTED(link(leat_io_real(), from, to, err));
}

static enum leat_status killable_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    COUNTED(rename(leat_io_real(), from, to, err));
}

static enum leat_status killable_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    COUNTED(unlink(leat_io_real(), path, err));
}

static enum leat_status killable_mkdir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    COUNTED(mkdir(leat_io_real(), path, err));
}

static enum leat_status killable_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io, (void)path;
    return count(err);
}

static enum leat_status killable_adopt(struct leat_io *io, const char *scratch, const char *to,
                                       struct leat_error *err) {
    (void)io;
    COUNTED(adopt(leat_io_real(), scratch, to, err));
}

struct leat_io *leat_io_killable(void) {
    static struct leat_io io = {.ops = &ops};
    ops = *REAL;
    ops.open = killable_open;
    ops.write = killable_write;
    ops.truncate = killable_truncate;
    ops.sync = killable_sync;
    ops.link = killable_link;
    ops.rename = killable_rename;
    ops.unlink = killable_unlink;
    ops.mkdir = killable_mkdir;
    ops.sync_dir = killable_sync_dir;
    ops.adopt = killable_adopt;
    return &io;
}

void leat_io_kill_after(uint64_t wanted) {
    calls = 0;
    limit = wanted;
}

uint64_t leat_io_kill_calls(void) {
    return calls;
}

bool leat_io_killed(void) {
    return calls >= limit;
}
