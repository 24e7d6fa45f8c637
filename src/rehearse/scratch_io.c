#include "rehearse/scratch_io.h"

#include <string.h>

static struct leat_scratch_io *of(struct leat_io *io) {
    return io->context;
}

static bool counts(const struct leat_scratch_io *s, const char *path) {
    return s->counted_dir && strncmp(path, s->counted_dir, strlen(s->counted_dir)) == 0;
}

static enum leat_status s_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **file, struct leat_error *err) {
    struct leat_scratch_io *s = of(io);
    if (counts(s, path) && mode == LEAT_OPEN_READ) s->gets++; /* what is written is counted when it gets its name */
    return leat_io_real()->ops->open(leat_io_real(), path, mode, file, err);
}

static enum leat_status s_read_at(struct leat_file *f, uint64_t offset, void *out, size_t want, size_t *got, struct leat_error *err) {
    return leat_io_real()->ops->read_at(f, offset, out, want, got, err);
}

static enum leat_status s_write(struct leat_file *f, const void *bytes, size_t n, struct leat_error *err) {
    return leat_io_real()->ops->write(f, bytes, n, err);
}

static enum leat_status s_truncate(struct leat_file *f, uint64_t size, struct leat_error *err) {
    return leat_io_real()->ops->truncate(f, size, err);
}

static enum leat_status s_sync(struct leat_file *f, struct leat_error *err) {
    return leat_io_real()->ops->sync(f, err);
}

static enum leat_status s_no_sync(struct leat_file *f, struct leat_error *err) {
    (void)f, (void)err;
    return LEAT_OK;
}

static void s_close(struct leat_file *f) {
    leat_io_real()->ops->close(f);
}

static enum leat_status s_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    (void)io;
    return leat_io_real()->ops->stat(leat_io_real(), path, out, err);
}

static enum leat_status s_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    of(io)->puts += counts(of(io), to);
    return leat_io_real()->ops->link(leat_io_real(), from, to, err);
}

static enum leat_status s_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    of(io)->puts += counts(of(io), to);
    return leat_io_real()->ops->rename(leat_io_real(), from, to, err);
}

static enum leat_status s_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    of(io)->deletes += counts(of(io), path) && !leat_io_is_temp_name(strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    return leat_io_real()->ops->unlink(leat_io_real(), path, err);
}

static enum leat_status s_mkdir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    return leat_io_real()->ops->mkdir(leat_io_real(), path, err);
}

static enum leat_status s_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    return of(io)->unsynced ? LEAT_OK : leat_io_real()->ops->sync_dir(leat_io_real(), path, err);
}

static enum leat_status s_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *), void *context, struct leat_error *err) {
    of(io)->lists += counts(of(io), path);
    return leat_io_real()->ops->list(leat_io_real(), path, visit, context, err);
}

static enum leat_status s_lock(struct leat_file *f, struct leat_error *err) {
    return leat_io_real()->ops->lock(f, err);
}

static enum leat_status s_adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    struct leat_scratch_io *s = of(io);
    s->puts += counts(s, to);
    if (!s->unsynced) return leat_io_real()->ops->adopt(leat_io_real(), scratch, to, err);
    enum leat_status st = leat_io_real()->ops->link(leat_io_real(), scratch, to, err);
    return st == LEAT_OK ? leat_io_real()->ops->unlink(leat_io_real(), scratch, err) : st;
}

#define OPS(sync_of)                                                                                                                        \
    {                                                                                                                                       \
        .open = s_open, .read_at = s_read_at, .write = s_write, .truncate = s_truncate, .sync = sync_of, .close = s_close, .stat = s_stat, \
        .link = s_link, .rename = s_rename, .unlink = s_unlink, .mkdir = s_mkdir, .sync_dir = s_sync_dir, .list = s_list, .lock = s_lock,   \
        .adopt = s_adopt                                                                                                                    \
    }
static const struct leat_io_ops synced_ops = OPS(s_sync), unsynced_ops = OPS(s_no_sync);

void leat_scratch_io_init(struct leat_scratch_io *s, const char *counted_dir, bool unsynced) {
    *s = (struct leat_scratch_io){.counted_dir = counted_dir, .unsynced = unsynced};
    s->io = (struct leat_io){.ops = unsynced ? &unsynced_ops : &synced_ops, .context = s};
}
