#include "connect/extract.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/limits.h"

struct entry { uint64_t identity; int64_t cursor; uint64_t offset, check; };
_Static_assert(sizeof(struct entry) == 32, "as it lies in the file");
struct row { int64_t cursor; uint64_t offset; uint32_t pass, equal; }; /* equal: rows with the content of this first one, in that pass */
enum { FORGET_AFTER = 100000 };

static uint64_t check_of(const struct entry *entry) {
    return XXH3_64bits(entry, sizeof *entry - sizeof entry->check);
}

static void put_entry(struct leat_buffer *out, uint64_t identity, int64_t cursor, uint64_t offset) {
    struct entry entry = {.identity = identity, .cursor = cursor, .offset = offset};
    entry.check = check_of(&entry);
    leat_putn(out, (const char *)&entry, sizeof entry);
}

static struct row *find(const struct leat_taken *t, uint64_t identity) {
    const struct leat_hash128 key = {identity, 0};
    uint32_t index;
    leat_keyed_find(&t->rows, &key, 1, &index);
    return index == LEAT_NO_ENTRY ? NULL : leat_entry_payload(leat_keyed_at(&t->rows, index));
}

static struct row *insert(struct leat_taken *t, uint64_t identity) {
    const struct leat_hash128 key = {identity, 0};
    uint32_t index;
    leat_keyed_upsert(&t->rows, &key, 1, &index);
    return leat_entry_payload(leat_keyed_at(&t->rows, index));
}

void leat_taken_begin_pass(struct leat_taken *t) {
    t->pass++;
}

/* Of the n-th of equal rows. Not 0, and as a BIGINT not negative. */
static uint64_t identity_of(const void *content, size_t length, uint64_t n) {
    return (XXH3_64bits_withSeed(content, length, n) & INT64_MAX) | (uint64_t)(length == 0);
}

/* The row with this content: the n-th of equal ones in this pass, counted from 0. */
struct turn {
    uint64_t identity;
    uint32_t n;
    struct row *first, *row; /* what is known of the first of them, and of this one; NULL: nothing */
};

static struct turn turn_of(const struct leat_taken *t, struct leat_bytes content) {
    struct turn turn = {.identity = identity_of(content.data, content.length, 0)};
    turn.first = turn.row = find(t, turn.identity);
    if (!turn.first || turn.first->pass != t->pass) return turn;
    turn.n = turn.first->equal + 1;
    turn.identity = identity_of(content.data, content.length, turn.n);
    turn.row = find(t, turn.identity);
    return turn;
}

bool leat_taken_add(struct leat_taken *t, const struct leat_bytes *contents, size_t count, int64_t cursor, uint64_t offset, uint64_t *identity) {
    struct turn turn, present = {0};
    for (size_t i = 0; i < count; i++) {
        turn = turn_of(t, contents[i]);
        if (!i) present = turn;
        if (!turn.row) continue;
        turn.row->pass = t->pass;
        turn.first->equal = turn.n;
        return false;
    }
    *identity = present.identity;
    if (present.n) present.first->equal = present.n; /* before rows may move */
    *insert(t, *identity) = (struct row){.cursor = cursor, .offset = offset, .pass = t->pass};
    put_entry(&t->unsynced, *identity, cursor, offset);
    return true;
}

void leat_taken_recall(struct leat_taken *t, uint64_t identity, int64_t cursor) {
    *insert(t, identity) = (struct row){.cursor = cursor};
    put_entry(&t->unsynced, identity, cursor, 0);
}

/* ---- The file ---- */

static enum leat_status rewrite(struct leat_taken *t, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    struct leat_io *io = t->env->io;
    uint64_t cursor = 0;
    uint32_t index;
    put_entry(&bytes, 0, t->floor, 0);
    while (leat_keyed_next(&t->rows, false, &cursor, &index)) {
        struct leat_entry *e = leat_keyed_at(&t->rows, index);
        const struct row *row = leat_entry_payload(e);
        put_entry(&bytes, e->key.low, row->cursor, row->offset);
    }
    if (t->file) io->ops->close(t->file);
    t->file = NULL;
    enum leat_status st = leat_io_write_durable(io, t->path, bytes.data, bytes.length, true, err);
    if (st == LEAT_OK) st = io->ops->open(io, t->path, LEAT_OPEN_APPEND, &t->file, err);
    t->file_entries = bytes.length / sizeof(struct entry);
    leat_buffer_reset(&t->unsynced); /* they are among them */
    leat_buffer_deinit(&bytes);
    return st;
}

static void load(struct leat_taken *t, const struct leat_buffer *bytes, uint64_t next_offset, bool *clean) {
    size_t at = 0;
    for (; at + sizeof(struct entry) <= bytes->length; at += sizeof(struct entry)) {
        struct entry entry;
        memcpy(&entry, bytes->data + at, sizeof entry);
        if (entry.check != check_of(&entry)) break;
        t->file_entries++;
        if (!entry.identity) t->floor = entry.cursor;
        else if (entry.offset < next_offset) *insert(t, entry.identity) = (struct row){.cursor = entry.cursor, .offset = entry.offset};
        else *clean = false;
    }
    *clean &= at == bytes->length;
}

enum leat_status leat_taken_open(struct leat_taken *t, struct leat_env *env, const char *path, uint64_t next_offset, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    bool clean = true;
    *t = (struct leat_taken){.env = env, .path = leat_strdup(path), .floor = INT64_MIN};
    leat_keyed_init(&t->rows, sizeof(struct row));
    enum leat_status st = leat_io_read_all(env->io, path, 64 * LEAT_GIB, &bytes, err);
    if (st == LEAT_NOT_FOUND) st = LEAT_OK;
    if (st == LEAT_OK) load(t, &bytes, next_offset, &clean);
    leat_buffer_deinit(&bytes);
    if (st == LEAT_OK) st = clean && t->file_entries ? env->io->ops->open(env->io, path, LEAT_OPEN_APPEND, &t->file, err) : rewrite(t, err);
    if (st != LEAT_OK) leat_taken_close(t);
    return st;
}

void leat_taken_close(struct leat_taken *t) {
    if (t->file) t->env->io->ops->close(t->file);
    leat_keyed_deinit(&t->rows);
    leat_buffer_deinit(&t->unsynced);
    free(t->path);
    *t = (struct leat_taken){0};
}

enum leat_status leat_taken_forget(struct leat_taken *t, int64_t below, struct leat_error *err) {
    uint64_t cursor = 0;
    uint32_t index;
    if (below <= t->floor || t->rows.count < 2 * t->kept_after + FORGET_AFTER) return LEAT_OK;
    t->floor = below;
    while (leat_keyed_next(&t->rows, false, &cursor, &index))
        if (((struct row *)leat_entry_payload(leat_keyed_at(&t->rows, index)))->cursor < below) leat_keyed_remove(&t->rows, index);
    t->kept_after = t->rows.count;
    return t->file_entries > 2 * t->kept_after + FORGET_AFTER ? rewrite(t, err) : LEAT_OK;
}

enum leat_status leat_taken_sync(struct leat_taken *t, struct leat_error *err) {
    if (!t->unsynced.length) return LEAT_OK;
    if (!t->file) return rewrite(t, err);
    enum leat_status st = t->env->io->ops->write(t->file, t->unsynced.data, t->unsynced.length, err);
    if (st == LEAT_OK) st = t->env->io->ops->sync(t->file, err);
    if (st != LEAT_OK) return leat_prepend(err, "%s", t->path);
    t->file_entries += t->unsynced.length / sizeof(struct entry);
    leat_buffer_reset(&t->unsynced);
    return LEAT_OK;
}
