/* Reading, changing and saving the partition table. */
#include "connect/partitions.h"
#include "base/limits.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define TABLE_BYTES_MAX (256 * LEAT_MIB)
#define LOCK_WAIT_US 10000000
#define LOCK_RETRY_US 20000

static void clear(struct leat_partitions *t) {
    for (size_t i = 0; i < t->count; i++)
        free(t->items[i].path);
    free(t->items);
    t->items = NULL;
    t->count = t->capacity = 0;
}

static struct leat_partition *append(struct leat_partitions *t) {
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 16;
        t->items = leat_realloc(t->items, t->capacity * sizeof *t->items);
    }
    t->items[t->count] = (struct leat_partition){0};
    return &t->items[t->count++];
}

static bool take_entry(struct leat_partitions *t, json_t *json) {
    json_int_t number, inode, size_bytes, modified_us, head_bytes;
    const char *path, *hash;
    int damaged, fed, replaced;
    if (json_unpack(json, "{s:I,s:s,s:I,s:I,s:I,s:I,s:s,s:b,s:b,s:b}", "number", &number, "path", &path, "inode",
                    &inode, "size_bytes", &size_bytes, "modified_us", &modified_us, "head_bytes", &head_bytes,
                    "head_hash", &hash, "damaged", &damaged, "fed", &fed, "replaced", &replaced) != 0)
        return false;
    uint32_t last = t->count ? t->items[t->count - 1].number : 0;
    if (number <= last || number > LEAT_PARTITION_NUMBER_MAX || head_bytes < 0 || head_bytes > LEAT_FILE_HEAD_BYTES)
        return false;
    *append(t) = (struct leat_partition){
        .number = (uint32_t)number,
        .path = leat_strdup(path),
        .inode = (uint64_t)inode,
        .size_bytes = (uint64_t)size_bytes,
        .modified_us = modified_us,
        .head_bytes = (uint32_t)head_bytes,
        .head_hash = strtoull(hash, NULL, 16),
        .damaged = damaged,
        .fed = fed,
        .replaced = replaced,
    };
    return true;
}

static enum leat_status load(struct leat_partitions *t, struct leat_error *err) {
    struct leat_buffer text = {0};
    json_error_t json_err;
    json_t *root = NULL, *entry;
    size_t i;
    clear(t);
    t->seen = (struct leat_stat){0};
    enum leat_status status = t->env->io->ops->stat(t->env->io, t->path, &t->seen, err);
    if (status == LEAT_NOT_FOUND) return LEAT_OK;
    if (status == LEAT_OK) status = leat_io_read_all(t->env->io, t->path, TABLE_BYTES_MAX, &text, err);
    if (status != LEAT_OK) return status;
    root = json_loadb(text.data, text.length, 0, &json_err);
    if (!root || json_integer_value(json_object_get(root, "version")) != 1) {
        status = leat_fail(err, LEAT_CORRUPT, "%s: not a partition table of version 1%s%s", t->path, root ? "" : ": ",
                           root ? "" : json_err.text);
        goto out;
    }
    json_array_foreach(json_object_get(root, "partitions"), i, entry) {
        if (take_entry(t, entry)) continue;
        status = leat_fail(err, LEAT_CORRUPT, "%s: entry %zu is not a partition, or out of order", t->path, i);
        goto out;
    }
out:
    json_decref(root);
    leat_buffer_deinit(&text);
    return status;
}

enum leat_status leat_partitions_open(struct leat_env *env, const char *state_dir, struct leat_partitions *out,
                                      struct leat_error *err) {
    *out = (struct leat_partitions){.env = env};
    out->path = leat_asprintf("%s/partitions.json", state_dir);
    out->lock_path = leat_asprintf("%s/partitions.lock", state_dir);
    enum leat_status status = load(out, err);
    if (status != LEAT_OK) leat_partitions_deinit(out);
    return status;
}

void leat_partitions_deinit(struct leat_partitions *t) {
    if (!t->env) return;
    leat_partitions_unlock(t);
    clear(t);
    free(t->path);
    free(t->lock_path);
    *t = (struct leat_partitions){0};
}

enum leat_status leat_partitions_refresh(struct leat_partitions *t, bool *changed, struct leat_error *err) {
    struct leat_stat st = {0};
    *changed = false;
    enum leat_status status = t->env->io->ops->stat(t->env->io, t->path, &st, err);
    if (status != LEAT_OK && status != LEAT_NOT_FOUND) return status;
    if (st.inode == t->seen.inode && st.size_bytes == t->seen.size_bytes && st.modified_us == t->seen.modified_us)
        return LEAT_OK;
    *changed = true;
    return load(t, err);
}

enum leat_status leat_partitions_lock(struct leat_partitions *t, struct leat_error *err) {
    struct leat_io *io = t->env->io;
    struct leat_clock *clock = t->env->clock;
    int64_t deadline_us = clock->monotonic_us(clock) + LOCK_WAIT_US;
    enum leat_status status = io->ops->open(io, t->lock_path, LEAT_OPEN_APPEND, &t->lock, err);
    if (status != LEAT_OK) return status;
    while ((status = io->ops->lock(t->lock, err)) == LEAT_BUSY) {
        int64_t now_us = clock->monotonic_us(clock);
        if (now_us >= deadline_us) break;
        clock->sleep_until(clock, now_us + LOCK_RETRY_US);
    }
    bool changed;
    if (status == LEAT_OK) status = leat_partitions_refresh(t, &changed, err);
    if (status != LEAT_OK) leat_partitions_unlock(t);
    return status;
}

void leat_partitions_unlock(struct leat_partitions *t) {
    if (t->lock) t->env->io->ops->close(t->lock);
    t->lock = NULL;
}

void leat_partitions_print(const struct leat_partitions *t, bool stats, struct leat_buffer *out) {
    leat_put(out, "{\"version\":1,\"partitions\":[");
    for (size_t i = 0; i < t->count; i++) {
        const struct leat_partition *p = &t->items[i];
        leat_putf(out, "%s\n{\"number\":%u,\"path\":", i ? "," : "", p->number);
        leat_put_json_string(out, p->path, strlen(p->path));
        leat_putf(out,
                  ",\"inode\":%" PRId64 ",\"size_bytes\":%" PRIu64 ",\"modified_us\":%" PRId64
                  ",\"head_bytes\":%u,\"head_hash\":\"%016" PRIx64 "\",\"damaged\":%s,\"fed\":%s,\"replaced\":%s}",
                  stats ? (int64_t)p->inode : 0, stats ? p->size_bytes : 0, stats ? p->modified_us : 0, p->head_bytes,
                  p->head_hash, p->damaged ? "true" : "false", p->fed ? "true" : "false", p->replaced ? "true" : "false");
    }
    leat_put(out, "\n]}\n");
}

enum leat_status leat_partitions_save(struct leat_partitions *t, struct leat_error *err) {
    struct leat_buffer text = {0};
    leat_partitions_print(t, true, &text);
    enum leat_status status = leat_io_write_durable(t->env->io, t->path, text.data, text.length, true, err);
    if (status == LEAT_OK) status = t->env->io->ops->stat(t->env->io, t->path, &t->seen, err);
    leat_buffer_deinit(&text);
    return status;
}

struct leat_partition *leat_partitions_get(struct leat_partitions *t, uint32_t number) {
    for (size_t low = 0, high = t->count; low < high;) {
        size_t middle = (low + high) / 2;
        if (t->items[middle].number == number) return &t->items[middle];
        if (t->items[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct leat_partition *leat_partitions_of_path(struct leat_partitions *t, const char *path) {
    for (size_t i = t->count; i > 0; i--)
        if (!t->items[i - 1].replaced && strcmp(t->items[i - 1].path, path) == 0) return &t->items[i - 1];
    return NULL;
}

enum leat_status leat_partitions_add(struct leat_partitions *t, const char *path, struct leat_partition **out,
                                     struct leat_error *err) {
    uint32_t last = t->count ? t->items[t->count - 1].number : LEAT_SPOOL_PARTITION;
    *out = NULL;
    if (last >= LEAT_PARTITION_NUMBER_MAX)
        return leat_fail(err, LEAT_LIMIT, "%s: no partition numbers are left", t->path);
    struct leat_partition *old = leat_partitions_of_path(t, path);
    if (old) old->replaced = true;
    *out = append(t);
    (*out)->number = last + 1;
    (*out)->path = leat_strdup(path);
    return LEAT_OK;
}

uint64_t leat_file_head_hash(const void *head, size_t bytes) {
    return XXH3_64bits(head, bytes);
}

enum leat_status leat_file_fingerprint(struct leat_io *io, const char *path, uint32_t *head_bytes, uint64_t *hash,
                                       struct leat_error *err) {
    char head[LEAT_FILE_HEAD_BYTES];
    struct leat_file *file = NULL;
    size_t want = *head_bytes ? *head_bytes : sizeof head, got = 0;
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &file, err);
    if (status != LEAT_OK) return status;
    status = io->ops->read_at(file, 0, head, want, &got, err);
    io->ops->close(file);
    *head_bytes = (uint32_t)got;
    *hash = leat_file_head_hash(head, got);
    return status;
}
