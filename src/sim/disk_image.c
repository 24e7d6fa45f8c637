/* What a crash leaves. The model follows POSIX where it promises little and ext4 where names depend on each other:
 *
 *   data     fsync of a file makes all its content durable, under whatever names it has. Content written since is lost,
 * kept, kept up to any byte (in the order written), or page by page in any order; pages that did not come read as what
 * was there before, or as zeros; the size is any between old and new. Never other bytes. names    create, mkdir, link,
 * rename, unlink become durable by the fsync of the directory that holds the (new) name. Until then each is kept or
 * lost by itself, but a later change is lost with an earlier one on the same name (names change in order); in half of
 * the images as a prefix of all changes, as ext4's journal does. A rename is atomic. fsync of a directory takes along
 * the earlier changes of other directories on which its own depend (ext4: one transaction). fsync    of a file says
 * nothing of its names, of a directory nothing of the files' content nor of its own name in its parent. failed fsync
 * makes nothing durable.
 *
 * The model keeps the durable state at `position` and what is pending; it advances by ops, and starts over when asked
 * for an earlier point. */
#include "sim/disk_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define PAGE ((size_t)4096)

struct index_list {
    size_t *items;
    size_t count, capacity;
};
struct model_inode {
    struct leat_buffer durable;
    uint64_t durable_hash; /* if `hashed` */
    bool hashed;
    struct index_list pending; /* writes and truncates since the last fsync */
    struct sim_dir names;      /* durable entries of a directory */
};
struct sim_model {
    size_t position;
    struct model_inode *inodes;
    size_t inode_count;
    struct index_list pending_names;
};

static void push(struct index_list *list, size_t item) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 16;
        list->items = leat_realloc(list->items, list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = item;
}

static void copy_dir(struct sim_dir *out, const struct sim_dir *from) {
    *out = (struct sim_dir){
        .entries = leat_alloc(from->count * sizeof *from->entries), .count = from->count, .capacity = from->count};
    if (from->count) memcpy(out->entries, from->entries, from->count * sizeof *from->entries);
}

/* ---- the durable state ---- */

void sim_model_free(struct sim_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->inode_count; i++) {
        leat_buffer_deinit(&m->inodes[i].durable);
        free(m->inodes[i].pending.items);
        free(m->inodes[i].names.entries);
    }
    free(m->inodes);
    free(m->pending_names.items);
    free(m);
}

static struct sim_model *model_start(const struct leat_sim_disk *d) {
    struct sim_model *m = leat_alloc(sizeof *m);
    m->inode_count = d->inode_count;
    m->inodes = leat_alloc(d->inode_count * sizeof *m->inodes);
    for (size_t i = 0; i < d->inode_count; i++) {
        leat_putn(&m->inodes[i].durable, d->inodes[i].first_bytes ? d->inodes[i].first_bytes : "",
                  d->inodes[i].first_length);
        copy_dir(&m->inodes[i].names, &d->inodes[i].first);
    }
    return m;
}

/* The recorder has gone on since the model was made: newer inodes start empty. */
static void model_follow(struct sim_model *m, const struct leat_sim_disk *d) {
    if (m->inode_count == d->inode_count) return;
    m->inodes = leat_realloc(m->inodes, d->inode_count * sizeof *m->inodes);
    memset(m->inodes + m->inode_count, 0, (d->inode_count - m->inode_count) * sizeof *m->inodes);
    m->inode_count = d->inode_count;
}

static void set_length(struct leat_buffer *content, size_t length) {
    if (length > content->length) {
        if (leat_buffer_reserve(content, length - content->length, NULL) != LEAT_OK)
            leat_panic("a simulated file of %zu bytes", length);
        memset(content->data + content->length, 0, length - content->length);
    }
    content->length = length;
}

static void apply_data(struct leat_buffer *content, const struct sim_op *op, size_t length) {
    if (op->kind == SIM_TRUNCATE) {
        set_length(content, (size_t)op->offset);
        return;
    }
    size_t end = (size_t)op->offset + length;
    if (end > content->length) set_length(content, end);
    if (length) memcpy(content->data + op->offset, op->bytes, length);
}

static void apply_name(const struct leat_sim_disk *d, struct sim_dir *dirs_at, size_t stride, const struct sim_op *op) {
#define DIR_OF(key) ((struct sim_dir *)((char *)dirs_at + stride * (size_t)d->keys[key].dir))
    if (op->kind == SIM_RENAME) sim_dir_remove(DIR_OF(op->from_key), op->from_key);
    if (op->kind == SIM_UNLINK)
        sim_dir_remove(DIR_OF(op->key), op->key);
    else
        sim_dir_set(DIR_OF(op->key), op->key, op->inode);
#undef DIR_OF
}

/* fsync of directory `dir`: its pending names and, from the newest back, what they depend on. */
static void apply_sync_dir(const struct leat_sim_disk *d, struct sim_model *m, int dir) {
    bool *needed_key = leat_alloc(d->key_count), *needed = leat_alloc(m->pending_names.count);
    for (size_t i = m->pending_names.count; i-- > 0;) {
        const struct sim_op *op = &d->ops[m->pending_names.items[i]];
        needed[i] =
            d->keys[op->key].dir == dir || needed_key[op->key] || (op->from_key >= 0 && needed_key[op->from_key]);
        if (!needed[i]) continue;
        needed_key[op->key] = true;
        if (op->from_key >= 0) needed_key[op->from_key] = true;
    }
    size_t left = 0;
    for (size_t i = 0; i < m->pending_names.count; i++) {
        size_t index = m->pending_names.items[i];
        if (needed[i])
            apply_name(d, &m->inodes[0].names, sizeof *m->inodes, &d->ops[index]);
        else
            m->pending_names.items[left++] = index;
    }
    m->pending_names.count = left;
    free(needed_key);
    free(needed);
}

static struct sim_model *model_at(struct leat_sim_disk *d, size_t position) {
    if (d->model && d->model->position > position) {
        sim_model_free(d->model);
        d->model = NULL;
    }
    if (!d->model) d->model = model_start(d);
    struct sim_model *m = d->model;
    model_follow(m, d);
    for (; m->position < position && m->position < d->op_count; m->position++) {
        const struct sim_op *op = &d->ops[m->position];
        struct model_inode *inode = &m->inodes[op->inode];
        switch (op->kind) {
        case SIM_WRITE:
        case SIM_TRUNCATE:
            push(&inode->pending, m->position);
            break;
        case SIM_SYNC:
            for (size_t i = 0; i < inode->pending.count; i++) {
                const struct sim_op *data = &d->ops[inode->pending.items[i]];
                apply_data(&inode->durable, data, data->length);
            }
            inode->pending.count = 0;
            inode->hashed = false;
            break;
        case SIM_SYNC_DIR:
            apply_sync_dir(d, m, op->inode);
            break;
        default:
            push(&m->pending_names, m->position);
        }
    }
    return m;
}

/* ---- one image: names ---- */

static bool chance(struct leat_random *random, uint64_t of_eight) {
    return leat_random_below(random, 8) < of_eight;
}

/* Entries of every directory in this image; inode_count items. */
static struct sim_dir *choose_names(const struct leat_sim_disk *d, const struct sim_model *m, uint64_t seed) {
    struct sim_dir *dirs = leat_alloc(m->inode_count * sizeof *dirs);
    for (size_t i = 0; i < m->inode_count; i++)
        if (d->inodes[i].is_dir) copy_dir(&dirs[i], &m->inodes[i].names);
    size_t count = m->pending_names.count;
    if (seed == LEAT_SIM_LOSE_ALL || count == 0) return dirs;
    struct leat_random random;
    leat_random_seed(&random, seed);
    bool prefix = seed == LEAT_SIM_KEEP_ALL || chance(&random, 4);
    size_t prefix_length = seed == LEAT_SIM_KEEP_ALL ? count : (size_t)leat_random_below(&random, count + 1);
    uint64_t of_eight = 1 + leat_random_below(&random, 7);
    bool *lost_key = leat_alloc(d->key_count);
    for (size_t i = 0; i < count; i++) {
        const struct sim_op *op = &d->ops[m->pending_names.items[i]];
        bool kept = prefix ? i < prefix_length : chance(&random, of_eight);
        if (lost_key[op->key] || (op->from_key >= 0 && lost_key[op->from_key])) kept = false;
        if (kept) {
            apply_name(d, dirs, sizeof *dirs, op);
        } else {
            lost_key[op->key] = true;
            if (op->from_key >= 0) lost_key[op->from_key] = true;
        }
    }
    free(lost_key);
    return dirs;
}

/* ---- one image: content ---- */

/* In the order written, up to a random byte; often inside the last op. */
static void tear_in_order(const struct leat_sim_disk *d, const struct model_inode *inode, struct leat_random *random,
                          struct leat_buffer *content) {
    uint64_t total = 0, last = 0;
    for (size_t i = 0; i < inode->pending.count; i++) {
        last = d->ops[inode->pending.items[i]].length + 1; /* + 1: a truncate counts as well */
        total += last;
    }
    uint64_t cut =
        chance(random, 3) ? total - last + leat_random_below(random, last) : leat_random_below(random, total + 1);
    for (size_t i = 0; i < inode->pending.count && cut > 0; i++) {
        const struct sim_op *op = &d->ops[inode->pending.items[i]];
        cut--;
        size_t length = op->length < cut ? op->length : (size_t)cut;
        apply_data(content, op, length);
        cut -= length;
    }
}

/* Page by page, any order. content: the durable bytes on entry. */
static void tear_by_page(const struct leat_sim_disk *d, const struct model_inode *inode, struct leat_random *random,
                         struct leat_buffer *content) {
    struct leat_buffer whole = {0};
    leat_putn(&whole, content->data, content->length);
    for (size_t i = 0; i < inode->pending.count; i++) {
        const struct sim_op *op = &d->ops[inode->pending.items[i]];
        apply_data(&whole, op, op->length);
    }
    size_t low = content->length < whole.length ? content->length : whole.length;
    size_t high = content->length < whole.length ? whole.length : content->length;
    size_t size = chance(random, 5) ? whole.length : low + (size_t)leat_random_below(random, high - low + 1);
    set_length(content, size);
    uint64_t of_eight = 1 + leat_random_below(random, 7);
    for (size_t at = 0; at < size; at += PAGE) {
        size_t n = size - at < PAGE ? size - at : PAGE;
        if (at + n > whole.length) n = whole.length > at ? whole.length - at : 0;
        if (n > 0 && chance(random, of_eight)) memcpy(content->data + at, whole.data + at, n);
    }
    leat_buffer_deinit(&whole);
}

/* The content of one file in this image: the durable bytes themselves, or `made`. */
static const struct leat_buffer *choose_content(const struct leat_sim_disk *d, const struct sim_model *m, int number,
                                                uint64_t seed, struct leat_buffer *made) {
    const struct model_inode *inode = &m->inodes[number];
    if (inode->pending.count == 0 || seed == LEAT_SIM_LOSE_ALL) return &inode->durable;
    struct leat_random random;
    leat_random_seed(&random, seed * 0x9E3779B97F4A7C15u + (uint64_t)number);
    uint64_t choice = seed == LEAT_SIM_KEEP_ALL ? 1 : leat_random_below(&random, 6);
    if (choice == 0) return &inode->durable;
    leat_buffer_reset(made);
    leat_putn(made, inode->durable.data, inode->durable.length);
    if (choice == 1) {
        for (size_t i = 0; i < inode->pending.count; i++) {
            const struct sim_op *op = &d->ops[inode->pending.items[i]];
            apply_data(made, op, op->length);
        }
    } else if (choice <= 3) {
        tear_in_order(d, inode, &random, made);
    } else {
        tear_by_page(d, inode, &random, made);
    }
    return made;
}

/* ---- walking an image ---- */

struct walk {
    const struct leat_sim_disk *d;
    struct sim_model *m;
    uint64_t seed;
    const struct sim_dir *dirs;
    struct leat_buffer path, made;
    char **first_path;        /* per inode: where it was written, for further links */
    struct leat_buffer *text; /* fingerprint instead of files, if not NULL */
    size_t root_length;
};

static uint64_t hash_of(struct model_inode *inode, const struct leat_buffer *content) {
    if (content == &inode->durable && inode->hashed) return inode->durable_hash;
    uint64_t hash = XXH64(content->data, content->length, 0);
    if (content == &inode->durable) {
        inode->durable_hash = hash;
        inode->hashed = true;
    }
    return hash;
}

static enum leat_status put_file(struct walk *w, int inode, struct leat_error *err) {
    const struct leat_buffer *content = choose_content(w->d, w->m, inode, w->seed, &w->made);
    if (w->text) {
        leat_putf(w->text, "%s %zu %016llx\n", w->path.data + w->root_length, content->length,
                  (unsigned long long)hash_of(&w->m->inodes[inode], content));
        return LEAT_OK;
    }
    if (w->first_path[inode])
        return link(w->first_path[inode], w->path.data) ? leat_fail_errno(err, "link", w->path.data) : LEAT_OK;
    w->first_path[inode] = leat_strdup(w->path.data);
    int fd = open(w->path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return leat_fail_errno(err, "open", w->path.data);
    enum leat_status status = LEAT_OK;
    for (size_t done = 0; done < content->length && status == LEAT_OK;) {
        ssize_t n = write(fd, content->data + done, content->length - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            status = leat_fail_errno(err, "write", w->path.data);
    }
    close(fd);
    return status;
}

static enum leat_status put_dir(struct walk *w, int inode, struct leat_error *err) {
    const struct sim_dir *dir = &w->dirs[inode];
    enum leat_status status = LEAT_OK;
    if (w->text)
        leat_putf(w->text, "%s/\n", w->path.data + w->root_length);
    else if (mkdir(w->path.data, 0777))
        return leat_fail_errno(err, "mkdir", w->path.data);
    size_t length = w->path.length;
    for (size_t i = 0; i < dir->count && status == LEAT_OK; i++) {
        int child = dir->entries[i].inode;
        leat_putf(&w->path, "/%s", w->d->keys[dir->entries[i].key].name);
        status = w->d->inodes[child].is_dir ? put_dir(w, child, err) : put_file(w, child, err);
        w->path.length = length;
        w->path.data[length] = '\0';
    }
    return status;
}

static enum leat_status walk_image(struct leat_sim_disk *d, size_t after_op_index, uint64_t seed, const char *dest_dir,
                                   struct leat_buffer *text, struct leat_error *err) {
    pthread_mutex_lock(&d->mutex);
    struct walk w = {
        .d = d, .m = model_at(d, after_op_index), .seed = seed, .text = text, .root_length = strlen(dest_dir)};
    struct sim_dir *dirs = choose_names(d, w.m, seed);
    w.dirs = dirs;
    w.first_path = leat_alloc(d->inode_count * sizeof *w.first_path);
    leat_put(&w.path, dest_dir);
    enum leat_status status = put_dir(&w, 0, err);
    for (size_t i = 0; i < d->inode_count; i++) {
        free(w.first_path[i]);
        free(dirs[i].entries);
    }
    free(w.first_path);
    free(dirs);
    leat_buffer_deinit(&w.path);
    leat_buffer_deinit(&w.made);
    pthread_mutex_unlock(&d->mutex);
    return status;
}

enum leat_status leat_sim_disk_image(struct leat_sim_disk *d, size_t after_op_index, uint64_t seed,
                                     const char *dest_dir, struct leat_error *err) {
    enum leat_status status = leat_io_remove_tree(leat_io_real(), dest_dir, err);
    return status == LEAT_OK ? walk_image(d, after_op_index, seed, dest_dir, NULL, err) : status;
}

void leat_sim_disk_fingerprint(struct leat_sim_disk *d, size_t after_op_index, uint64_t seed, struct leat_buffer *out) {
    enum leat_status status = walk_image(d, after_op_index, seed, "", out, NULL);
    (void)status; /* text only: cannot fail */
}

bool leat_sim_disk_is_new(struct leat_sim_disk *d, size_t after_op_index, uint64_t seed) {
    struct leat_buffer text = {0};
    leat_sim_disk_fingerprint(d, after_op_index, seed, &text);
    uint64_t hash = XXH64(text.data, text.length, 0);
    leat_buffer_deinit(&text);
    if (d->seen_at != after_op_index) d->seen_count = 0;
    d->seen_at = after_op_index;
    for (size_t i = 0; i < d->seen_count; i++)
        if (d->seen[i] == hash) return false;
    if (d->seen_count == d->seen_capacity) {
        d->seen_capacity = d->seen_capacity ? d->seen_capacity * 2 : 64;
        d->seen = leat_realloc(d->seen, d->seen_capacity * sizeof *d->seen);
    }
    d->seen[d->seen_count++] = hash;
    return true;
}
