/* The recorder: carries calls out on the real directory, keeps its own tree of names so that each op is recorded with
 * the file it meant, plans failures. */
#include "sim/disk_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "base/limits.h"

struct sim_file {
    struct leat_sim_disk *disk;
    struct leat_file *real;
    int inode; /* -1: outside the root */
    char path[];
};

/* Where a path leads: dir and key of its last part, and the inode behind it (-1: nothing there). */
struct place {
    bool inside, is_root;
    int dir, key, inode;
};

#define REAL (leat_io_real()->ops)

static void *grow(void *array, size_t count, size_t *capacity, size_t item_bytes) {
    if (count < *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : 64;
    return leat_realloc(array, *capacity * item_bytes);
}

/* ---- names ---- */

int sim_dir_find(const struct sim_dir *dir, int key) {
    for (size_t i = 0; i < dir->count; i++)
        if (dir->entries[i].key == key) return dir->entries[i].inode;
    return -1;
}

void sim_dir_set(struct sim_dir *dir, int key, int inode) {
    for (size_t i = 0; i < dir->count; i++)
        if (dir->entries[i].key == key) {
            dir->entries[i].inode = inode;
            return;
        }
    dir->entries = grow(dir->entries, dir->count, &dir->capacity, sizeof *dir->entries);
    dir->entries[dir->count++] = (struct sim_entry){.key = key, .inode = inode};
}

void sim_dir_remove(struct sim_dir *dir, int key) {
    for (size_t i = 0; i < dir->count; i++)
        if (dir->entries[i].key == key) {
            memmove(&dir->entries[i], &dir->entries[i + 1], (dir->count - i - 1) * sizeof *dir->entries);
            dir->count--;
            return;
        }
}

static size_t key_slot(const struct leat_sim_disk *d, int dir, const char *name, size_t length) {
    size_t mask = d->key_slot_count - 1;
    for (size_t slot = (size_t)XXH64(name, length, (uint64_t)dir) & mask;; slot = (slot + 1) & mask) {
        int key = d->key_slots[slot];
        if (key < 0) return slot;
        if (d->keys[key].dir == dir && strncmp(d->keys[key].name, name, length) == 0 &&
            d->keys[key].name[length] == '\0')
            return slot;
    }
}

static int intern(struct leat_sim_disk *d, int dir, const char *name, size_t length) {
    if ((d->key_count + 1) * 2 > d->key_slot_count) {
        d->key_slot_count = d->key_slot_count ? d->key_slot_count * 2 : 256;
        d->key_slots = leat_realloc(d->key_slots, d->key_slot_count * sizeof *d->key_slots);
        memset(d->key_slots, 0xFF, d->key_slot_count * sizeof *d->key_slots);
        for (size_t i = 0; i < d->key_count; i++)
            d->key_slots[key_slot(d, d->keys[i].dir, d->keys[i].name, strlen(d->keys[i].name))] = (int)i;
    }
    size_t slot = key_slot(d, dir, name, length);
    if (d->key_slots[slot] < 0) {
        d->keys = grow(d->keys, d->key_count, &d->key_capacity, sizeof *d->keys);
        d->keys[d->key_count] = (struct sim_key){.dir = dir, .name = leat_arena_copy(&d->arena, name, length)};
        d->key_slots[slot] = (int)d->key_count++;
    }
    return d->key_slots[slot];
}

static int new_inode(struct leat_sim_disk *d, bool is_dir) {
    d->inodes = grow(d->inodes, d->inode_count, &d->inode_capacity, sizeof *d->inodes);
    d->inodes[d->inode_count] = (struct sim_inode){.is_dir = is_dir};
    return (int)d->inode_count++;
}

static struct sim_op *record(struct leat_sim_disk *d, enum sim_op_kind kind, int inode) {
    d->ops = grow(d->ops, d->op_count, &d->op_capacity, sizeof *d->ops);
    struct sim_op *op = &d->ops[d->op_count++];
    *op = (struct sim_op){.kind = kind, .inode = inode, .key = -1, .from_key = -1};
    return op;
}

static void record_write(struct leat_sim_disk *d, int inode, const void *bytes, size_t length) {
    struct sim_op *op = record(d, SIM_WRITE, inode);
    op->offset = d->inodes[inode].size_bytes;
    op->bytes = leat_arena_copy(&d->arena, bytes, length);
    op->length = length;
    d->inodes[inode].size_bytes += length;
}

/* A new file or directory under key. */
static int record_new(struct leat_sim_disk *d, int key, bool is_dir) {
    int inode = new_inode(d, is_dir);
    record(d, is_dir ? SIM_MKDIR : SIM_CREATE, inode)->key = key;
    sim_dir_set(&d->inodes[d->keys[key].dir].live, key, inode);
    return inode;
}

/* ---- paths ---- */

/* Absolute, without ".", ".." and empty parts; by text only. */
static char *normalise(const char *path) {
    struct leat_buffer whole = {0}, out = {0};
    if (path[0] != '/') {
        char *cwd = getcwd(NULL, 0);
        if (cwd) leat_put(&whole, cwd);
        free(cwd);
    }
    leat_putf(&whole, "/%s", path);
    leat_put(&out, "");
    for (char *part = whole.data; *part;) {
        size_t length = strcspn(part, "/");
        if (length == 2 && memcmp(part, "..", 2) == 0) {
            while (out.length > 0 && out.data[--out.length] != '/') {
            }
            out.data[out.length] = '\0';
        } else if (length > 0 && !(length == 1 && *part == '.')) {
            leat_put(&out, "/");
            leat_putn(&out, part, length);
        }
        part += length + (part[length] == '/');
    }
    leat_buffer_deinit(&whole);
    return out.data;
}

/* Somebody else (DuckDB) made this: from now on it is known, all of it unsynced. */
static int import(struct leat_sim_disk *d, int key, const char *real_path) {
    struct stat st;
    if (lstat(real_path, &st) || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))) return -1;
    struct leat_buffer content = {0};
    if (S_ISREG(st.st_mode) && leat_io_read_all(leat_io_real(), real_path, LEAT_GIB, &content, NULL) != LEAT_OK)
        return -1;
    int inode = record_new(d, key, S_ISDIR(st.st_mode));
    if (content.length) record_write(d, inode, content.data, content.length);
    leat_buffer_deinit(&content);
    return inode;
}

static struct place locate(struct leat_sim_disk *d, const char *path) {
    struct place place = {.dir = -1, .key = -1, .inode = -1};
    char *full = normalise(path);
    size_t root_length = strlen(d->root);
    if (strncmp(full, d->root, root_length) != 0 || (full[root_length] != '/' && full[root_length] != '\0')) goto out;
    place.inside = true;
    place.is_root = full[root_length] == '\0';
    place.inode = 0;
    for (char *part = full + root_length; *part == '/' && place.inode >= 0;) {
        size_t length = strcspn(++part, "/");
        place.dir = place.inode;
        place.key = intern(d, place.dir, part, length);
        char *end = part + length, after = *end;
        *end = '\0';
        place.inode = sim_dir_find(&d->inodes[place.dir].live, place.key);
        if (place.inode < 0) place.inode = import(d, place.key, full);
        *end = after;
        part = end;
        /* A missing directory on the way: the real call will say so. */
        if (place.inode < 0 && after == '/') place.dir = place.key = -1;
    }
out:
    free(full);
    return place;
}

/* ---- planned failures ---- */

static bool due(struct leat_sim_disk *d, enum leat_sim_call call) {
    return d->fail_at[call] > 0 && --d->fail_at[call] == 0;
}

/* Counts the call; true when it is to fail: err is filled. */
static bool planned(struct leat_sim_disk *d, enum leat_sim_call call, const char *name, const char *path,
                    enum leat_status *status, struct leat_error *err) {
    d->calls[call]++;
    d->calls[LEAT_SIM_ANY]++;
    bool own = due(d, call), any = due(d, LEAT_SIM_ANY);
    if (!own && !any) return false;
    d->failures++;
    errno = d->fail_errno[own ? call : LEAT_SIM_ANY];
    *status = leat_fail_errno(err, name, path);
    if (err && (call == LEAT_SIM_SYNC || call == LEAT_SIM_SYNC_DIR)) err->fatal = true;
    return true;
}

static enum leat_status fail_crossing(const char *call, const char *from, const char *to, struct leat_error *err) {
    return leat_fail(err, LEAT_INVALID, "%s %s to %s: one of them is outside the simulated disk", call, from, to);
}

/* ---- the calls ---- */

static enum leat_status open_locked(struct leat_sim_disk *d, const char *path, enum leat_open_mode mode,
                                    struct leat_file **out, struct leat_error *err) {
    enum leat_status status;
    struct place place = locate(d, path);
    struct leat_file *real = NULL;
    if (place.inside && planned(d, LEAT_SIM_OPEN, "open", path, &status, err)) return status;
    status = REAL->open(leat_io_real(), path, mode, &real, err);
    if (status != LEAT_OK) return status;
    if (place.inside && place.inode < 0 && place.key >= 0) {
        place.inode = record_new(d, place.key, false);
    } else if (place.inside && mode == LEAT_OPEN_TRUNCATE && d->inodes[place.inode].size_bytes > 0) {
        record(d, SIM_TRUNCATE, place.inode);
        d->inodes[place.inode].size_bytes = 0;
    }
    size_t length = strlen(path) + 1;
    struct sim_file *file = leat_alloc(sizeof *file + length);
    *file = (struct sim_file){.disk = d, .real = real, .inode = place.inside ? place.inode : -1};
    memcpy(file->path, path, length);
    *out = (struct leat_file *)file;
    return LEAT_OK;
}

static enum leat_status write_locked(struct sim_file *f, const void *bytes, size_t n, struct leat_error *err) {
    struct leat_sim_disk *d = f->disk;
    enum leat_status status = LEAT_OK;
    size_t fits = n;
    if (planned(d, LEAT_SIM_WRITE, "write", f->path, &status, err)) {
        fits = n / 2;
    } else if (n > d->quota_left) {
        fits = (size_t)d->quota_left;
        d->failures++;
        errno = ENOSPC;
        status = leat_fail_errno(err, "write", f->path);
    }
    d->used_after_failed_sync += d->inodes[f->inode].sync_failed;
    struct leat_error real_err;
    enum leat_status real = fits ? REAL->write(f->real, bytes, fits, &real_err) : LEAT_OK;
    if (real != LEAT_OK) {
        if (err) *err = real_err;
        return real;
    }
    if (d->quota_left != UINT64_MAX) d->quota_left -= fits;
    if (fits) record_write(d, f->inode, bytes, fits);
    return status;
}

static enum leat_status truncate_locked(struct sim_file *f, uint64_t size_bytes, struct leat_error *err) {
    enum leat_status status;
    if (planned(f->disk, LEAT_SIM_TRUNCATE, "truncate", f->path, &status, err)) return status;
    status = REAL->truncate(f->real, size_bytes, err);
    if (status != LEAT_OK) return status;
    record(f->disk, SIM_TRUNCATE, f->inode)->offset = size_bytes;
    f->disk->inodes[f->inode].size_bytes = size_bytes;
    return LEAT_OK;
}

static enum leat_status sync_locked(struct sim_file *f, struct leat_error *err) {
    struct sim_inode *inode = &f->disk->inodes[f->inode];
    enum leat_status status;
    f->disk->used_after_failed_sync += inode->sync_failed;
    if (planned(f->disk, LEAT_SIM_SYNC, "fdatasync", f->path, &status, err)) {
        inode->sync_failed = true;
        return status;
    }
    record(f->disk, SIM_SYNC, f->inode);
    return LEAT_OK;
}

static enum leat_status two_names_locked(struct leat_sim_disk *d, enum sim_op_kind kind, const char *from,
                                         const char *to, struct leat_error *err) {
    bool link = kind == SIM_LINK;
    enum leat_status status;
    struct place a = locate(d, from), b = locate(d, to);
    if (a.inside != b.inside) return fail_crossing(link ? "link" : "rename", from, to, err);
    if (a.inside && planned(d, link ? LEAT_SIM_LINK : LEAT_SIM_RENAME, link ? "link" : "rename", to, &status, err))
        return status;
    status = link ? REAL->link(leat_io_real(), from, to, err) : REAL->rename(leat_io_real(), from, to, err);
    if (status != LEAT_OK || !a.inside || a.inode < 0 || b.key < 0) return status;
    if (a.inode == b.inode) return LEAT_OK; /* two names of one file: rename does nothing (POSIX) */
    struct sim_op *op = record(d, kind, a.inode);
    op->key = b.key;
    op->from_key = a.key;
    if (!link) sim_dir_remove(&d->inodes[a.dir].live, a.key);
    sim_dir_set(&d->inodes[b.dir].live, b.key, a.inode);
    return LEAT_OK;
}

static enum leat_status unlink_locked(struct leat_sim_disk *d, const char *path, struct leat_error *err) {
    enum leat_status status;
    struct place place = locate(d, path);
    if (place.inside && planned(d, LEAT_SIM_UNLINK, "unlink", path, &status, err)) return status;
    status = REAL->unlink(leat_io_real(), path, err);
    if (status != LEAT_OK || place.inode < 0 || place.key < 0) return status;
    record(d, SIM_UNLINK, place.inode)->key = place.key;
    sim_dir_remove(&d->inodes[place.dir].live, place.key);
    return LEAT_OK;
}

static enum leat_status mkdir_locked(struct leat_sim_disk *d, const char *path, struct leat_error *err) {
    enum leat_status status;
    struct place place = locate(d, path);
    if (place.inside && planned(d, LEAT_SIM_MKDIR, "mkdir", path, &status, err)) return status;
    status = REAL->mkdir(leat_io_real(), path, err);
    if (status == LEAT_OK && place.inside && place.inode < 0 && place.key >= 0) record_new(d, place.key, true);
    return status;
}

static enum leat_status sync_dir_locked(struct leat_sim_disk *d, const char *path, struct leat_error *err) {
    enum leat_status status;
    struct place place = locate(d, path);
    if (!place.inside) return LEAT_OK;
    if (planned(d, LEAT_SIM_SYNC_DIR, "fsync directory", path, &status, err)) return status;
    if (place.inode < 0 || !d->inodes[place.inode].is_dir) {
        errno = place.inode < 0 ? ENOENT : ENOTDIR;
        return leat_fail_errno(err, "open directory", path);
    }
    record(d, SIM_SYNC_DIR, place.inode);
    return LEAT_OK;
}

static enum leat_status adopt_locked(struct leat_sim_disk *d, const char *scratch, const char *to,
                                     struct leat_error *err) {
    size_t known = d->inode_count;
    struct place a = locate(d, scratch), b = locate(d, to);
    struct leat_buffer content = {0};
    struct leat_file *file = NULL;
    char *dir = leat_io_dirname(to);
    struct leat_stat st;
    if (!a.inside || !b.inside) {
        free(dir);
        return a.inside == b.inside ? REAL->adopt(leat_io_real(), scratch, to, err)
                                    : fail_crossing("adopt", scratch, to, err);
    }
    enum leat_status status = open_locked(d, scratch, LEAT_OPEN_READ, &file, err);
    if (status == LEAT_OK) status = REAL->stat(leat_io_real(), scratch, &st, err);
    if (status != LEAT_OK) goto out;
    if (st.is_dir || st.size_bytes == 0) {
        status = leat_fail(err, LEAT_CORRUPT, "%s: to be adopted as %s, but it is %s", scratch, to,
                           st.is_dir ? "not a regular file" : "empty");
        goto out;
    }
    if ((size_t)a.inode < known) { /* seen before: its maker may have written on since */
        status = leat_io_read_all(leat_io_real(), scratch, LEAT_GIB, &content, err);
        if (status != LEAT_OK) goto out;
        record(d, SIM_TRUNCATE, a.inode);
        d->inodes[a.inode].size_bytes = 0;
        record_write(d, a.inode, content.data, content.length);
    }
    if (st.size_bytes > d->quota_left) {
        d->failures++;
        errno = ENOSPC;
        status = leat_fail_errno(err, "fdatasync", scratch);
        goto out;
    }
    if (d->quota_left != UINT64_MAX) d->quota_left -= st.size_bytes;
    status = sync_locked((struct sim_file *)file, err);
    if (status == LEAT_OK) status = two_names_locked(d, SIM_LINK, scratch, to, err);
    if (status == LEAT_OK) status = sync_dir_locked(d, dir, err);
    if (status == LEAT_OK) status = unlink_locked(d, scratch, err);
out:
    if (file) {
        REAL->close(((struct sim_file *)file)->real);
        free(file);
    }
    leat_buffer_deinit(&content);
    free(dir);
    return status;
}

/* ---- the table ---- */

static struct leat_sim_disk *disk_of(struct leat_io *io) {
    return io->context;
}

#define LOCKED(d, call)                                                                                                \
    pthread_mutex_lock(&(d)->mutex);                                                                                   \
    enum leat_status status = call;                                                                                    \
    pthread_mutex_unlock(&(d)->mutex);                                                                                 \
    return status

static enum leat_status sim_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out,
                                 struct leat_error *err) {
    *out = NULL;
    LOCKED(disk_of(io), open_locked(disk_of(io), path, mode, out, err));
}

static enum leat_status sim_write(struct leat_file *file, const void *bytes, size_t n, struct leat_error *err) {
    struct sim_file *f = (struct sim_file *)file;
    if (f->inode < 0) return REAL->write(f->real, bytes, n, err);
    LOCKED(f->disk, write_locked(f, bytes, n, err));
}

static enum leat_status sim_truncate(struct leat_file *file, uint64_t size_bytes, struct leat_error *err) {
    struct sim_file *f = (struct sim_file *)file;
    if (f->inode < 0) return REAL->truncate(f->real, size_bytes, err);
    LOCKED(f->disk, truncate_locked(f, size_bytes, err));
}

static enum leat_status sim_sync(struct leat_file *file, struct leat_error *err) {
    struct sim_file *f = (struct sim_file *)file;
    if (f->inode < 0) return LEAT_OK;
    LOCKED(f->disk, sync_locked(f, err));
}

static enum leat_status sim_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    LOCKED(disk_of(io), two_names_locked(disk_of(io), SIM_LINK, from, to, err));
}

static enum leat_status sim_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    LOCKED(disk_of(io), two_names_locked(disk_of(io), SIM_RENAME, from, to, err));
}

static enum leat_status sim_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    LOCKED(disk_of(io), unlink_locked(disk_of(io), path, err));
}

static enum leat_status sim_mkdir(struct leat_io *io, const char *path, struct leat_error *err) {
    LOCKED(disk_of(io), mkdir_locked(disk_of(io), path, err));
}

static enum leat_status sim_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    LOCKED(disk_of(io), sync_dir_locked(disk_of(io), path, err));
}

static enum leat_status sim_adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    LOCKED(disk_of(io), adopt_locked(disk_of(io), scratch, to, err));
}

/* Reading calls: carried out after the planned failure, if any. */
static bool read_fails(struct leat_sim_disk *d, enum leat_sim_call call, const char *name, const char *path,
                       enum leat_status *status, struct leat_error *err) {
    pthread_mutex_lock(&d->mutex);
    bool fails = planned(d, call, name, path, status, err);
    pthread_mutex_unlock(&d->mutex);
    return fails;
}

static enum leat_status sim_read_at(struct leat_file *file, uint64_t offset, void *out, size_t want, size_t *got,
                                    struct leat_error *err) {
    struct sim_file *f = (struct sim_file *)file;
    enum leat_status status;
    *got = 0;
    if (f->inode >= 0 && read_fails(f->disk, LEAT_SIM_READ, "read", f->path, &status, err)) return status;
    return REAL->read_at(f->real, offset, out, want, got, err);
}

static enum leat_status sim_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *err) {
    enum leat_status status;
    if (read_fails(disk_of(io), LEAT_SIM_STAT, "stat", path, &status, err)) return status;
    return REAL->stat(leat_io_real(), path, out, err);
}

static enum leat_status sim_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *),
                                 void *context, struct leat_error *err) {
    enum leat_status status;
    if (read_fails(disk_of(io), LEAT_SIM_LIST, "list", path, &status, err)) return status;
    return REAL->list(leat_io_real(), path, visit, context, err);
}

static enum leat_status sim_lock(struct leat_file *file, struct leat_error *err) {
    struct sim_file *f = (struct sim_file *)file;
    enum leat_status status;
    if (f->inode >= 0 && read_fails(f->disk, LEAT_SIM_LOCK, "lock", f->path, &status, err)) return status;
    return REAL->lock(f->real, err);
}

static void sim_close(struct leat_file *file) {
    if (!file) return;
    REAL->close(((struct sim_file *)file)->real);
    free(file);
}

/* ---- opening and the rest of the interface ---- */

/* What is in the root at the start becomes known and durable. */
static enum leat_status scan(struct leat_sim_disk *d, int dir, const char *path, struct leat_error *err) {
    char **names;
    size_t count;
    enum leat_status status = leat_io_list_sorted(leat_io_real(), path, &names, &count, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        char *child = leat_asprintf("%s/%s", path, names[i]);
        struct stat st;
        if (lstat(child, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))) {
            int key = intern(d, dir, names[i], strlen(names[i])), inode = new_inode(d, S_ISDIR(st.st_mode));
            sim_dir_set(&d->inodes[dir].live, key, inode);
            sim_dir_set(&d->inodes[dir].first, key, inode);
            struct leat_buffer content = {0};
            if (S_ISDIR(st.st_mode))
                status = scan(d, inode, child, err);
            else
                status = leat_io_read_all(leat_io_real(), child, LEAT_GIB, &content, err);
            d->inodes[inode].size_bytes = d->inodes[inode].first_length = content.length;
            d->inodes[inode].first_bytes = leat_arena_copy(&d->arena, content.data, content.length);
            leat_buffer_deinit(&content);
        }
        free(child);
    }
    leat_names_free(names, count);
    return status;
}

enum leat_status leat_sim_disk_open(const char *root, struct leat_sim_disk **out, struct leat_error *err) {
    static const struct leat_io_ops ops = {
        .open = sim_open,
        .read_at = sim_read_at,
        .write = sim_write,
        .truncate = sim_truncate,
        .sync = sim_sync,
        .close = sim_close,
        .stat = sim_stat,
        .link = sim_link,
        .rename = sim_rename,
        .unlink = sim_unlink,
        .mkdir = sim_mkdir,
        .sync_dir = sim_sync_dir,
        .list = sim_list,
        .lock = sim_lock,
        .adopt = sim_adopt,
    };
    struct leat_sim_disk *d = leat_alloc(sizeof *d);
    *out = NULL;
    d->io = (struct leat_io){.ops = &ops, .context = d};
    d->root = normalise(root);
    d->quota_left = UINT64_MAX;
    pthread_mutex_init(&d->mutex, NULL);
    enum leat_status status = scan(d, new_inode(d, true), d->root, err);
    if (status == LEAT_OK)
        *out = d;
    else
        leat_sim_disk_close(d);
    return status;
}

void leat_sim_disk_close(struct leat_sim_disk *d) {
    if (!d) return;
    sim_model_free(d->model);
    for (size_t i = 0; i < d->inode_count; i++) {
        free(d->inodes[i].live.entries);
        free(d->inodes[i].first.entries);
    }
    free(d->inodes);
    free(d->ops);
    free(d->keys);
    free(d->key_slots);
    free(d->seen);
    free(d->root);
    leat_arena_deinit(&d->arena);
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

struct leat_io *leat_sim_disk_io(struct leat_sim_disk *d) {
    return &d->io;
}

size_t leat_sim_disk_op_count(const struct leat_sim_disk *d) {
    return d->op_count;
}

static void put_key_path(const struct leat_sim_disk *d, int key, struct leat_buffer *out) {
    if (key < 0) {
        leat_put(out, "the root");
        return;
    }
    /* A directory's own name: any key under which it was made. */
    int dir = d->keys[key].dir;
    for (size_t i = 0; dir > 0 && i < d->op_count; i++)
        if (d->ops[i].kind == SIM_MKDIR && d->ops[i].inode == dir) {
            put_key_path(d, d->ops[i].key, out);
            leat_put(out, "/");
            break;
        }
    leat_put(out, d->keys[key].name);
}

void leat_sim_disk_describe(const struct leat_sim_disk *d, size_t op_index, struct leat_buffer *out) {
    static const char *const names[] = {"create", "mkdir",  "write",  "truncate",      "sync",
                                        "link",   "rename", "unlink", "sync directory"};
    if (op_index >= d->op_count) {
        leat_put(out, "the end");
        return;
    }
    const struct sim_op *op = &d->ops[op_index];
    int key = op->key;
    for (size_t i = 0; key < 0 && i < d->op_count; i++)
        if (d->ops[i].inode == op->inode && d->ops[i].key >= 0) key = d->ops[i].key;
    leat_putf(out, "%zu: %s ", op_index, names[op->kind]);
    put_key_path(d, key, out);
    if (op->from_key >= 0) {
        leat_put(out, " from ");
        put_key_path(d, op->from_key, out);
    }
    if (op->kind == SIM_WRITE) leat_putf(out, " +%zu bytes at %llu", op->length, (unsigned long long)op->offset);
    if (op->kind == SIM_TRUNCATE) leat_putf(out, " to %llu bytes", (unsigned long long)op->offset);
}

void leat_sim_disk_fail(struct leat_sim_disk *d, enum leat_sim_call call, uint64_t n, int number) {
    pthread_mutex_lock(&d->mutex);
    d->fail_at[call] = n;
    d->fail_errno[call] = number;
    pthread_mutex_unlock(&d->mutex);
}

void leat_sim_disk_quota(struct leat_sim_disk *d, uint64_t bytes) {
    pthread_mutex_lock(&d->mutex);
    d->quota_left = bytes;
    pthread_mutex_unlock(&d->mutex);
}

uint64_t leat_sim_disk_failures(const struct leat_sim_disk *d) {
    return d->failures;
}

uint64_t leat_sim_disk_calls(const struct leat_sim_disk *d, enum leat_sim_call call) {
    return d->calls[call];
}

uint64_t leat_sim_disk_used_after_failed_sync(const struct leat_sim_disk *d) {
    return d->used_after_failed_sync;
}
