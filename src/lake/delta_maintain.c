/* Upkeep: joining small files, deleting files nobody can need.
 *
 * Compaction is meant to be asked for often and to answer quickly. A small file costs a reader more to open than to
 * read: small files are joined as soon as five to eight of them have like sizes (each at most CHAIN_FACTOR times what
 * the smaller ones of the chain add up to). Simulated over 3,600 commits of 100 rows that leaves 5 files on average, 10
 * at most, and writes each row 8 times. Files of 8 MB or four row groups up cost a scan nothing, only the log an entry: they
 * wait until there are many, then as many as make a file of the target's size are joined, so their rows are rewritten
 * once; in a table whose rows are updated they stay, since an update rewrites whole files. */
#include "lake/delta_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define SMALL_BYTES ((uint64_t)8 << 20)
#define SMALL_ROW_GROUPS 4 /* where rows are updated: what is not large */
#define BYTES_PER_ROW 32   /* where the log does not tell a file's rows */
#define CHAIN_MIN 5        /* files joined at once in a small table, where each file weighs in a scan */
#define CHAIN_FACTOR 3     /* the next file of a chain has at most so many times the rows of those before it */
#define CHAIN_MAX 8        /* and in a large one */
#define ROWS_PER_CHAINED_FILE 65536
#define FILES_MAX 1000      /* joined in one go */
#define MEDIUM_COUNT_MAX 64 /* then some are joined */
#define DEFAULT_TARGET_BYTES ((uint64_t)128 << 20)

/* ---- compaction ---- */

static uint64_t rows_of(const struct leat_delta_file *f) {
    return f->row_count >= 0 ? (uint64_t)f->row_count : f->size_bytes / BYTES_PER_ROW;
}

static int compare_rows(const void *a, const void *b, void *context) {
    const struct leat_delta_file *files = context;
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    uint64_t left = rows_of(&files[x]), right = rows_of(&files[y]);
    return left != right ? (left < right ? -1 : 1) : x < y ? -1 : x > y;
}

/* The longest chain of files of like size in order[0..count), ascending; 0 when none is long enough. */
static size_t choose_small(const struct leat_delta_file *files, const size_t *order, size_t count, size_t chain_min,
                           size_t *out_from) {
    for (size_t from = 0; from + chain_min <= count;) {
        uint64_t sum = rows_of(&files[order[from]]);
        size_t to = from + 1;
        while (to < count && to - from < FILES_MAX && rows_of(&files[order[to]]) <= CHAIN_FACTOR * sum)
            sum += rows_of(&files[order[to++]]);
        if (to - from >= chain_min) {
            *out_from = from;
            return to - from;
        }
        from = to;
    }
    return 0;
}

static size_t choose_medium(const struct leat_delta_file *files, const size_t *order, size_t count,
                            uint64_t target_bytes) {
    uint64_t sum = 0;
    size_t n = 0;
    if (count < MEDIUM_COUNT_MAX) return 0;
    while (n < count && sum < target_bytes)
        sum += files[order[n++]].size_bytes;
    return n > 1 ? n : 0;
}

static enum leat_status join_files(struct leat_delta *d, const size_t *indexes, size_t count, bool *done,
                                   struct leat_error *err) {
    static const struct leat_delta_commit_info info = {.operation = "OPTIMIZE"};
    struct leat_delta_commit commit = {.info = &info, .data_change = false};
    struct leat_buffer sql = {0};
    uint64_t written = 0, expected = 0;
    bool known = true;
    for (size_t i = 0; i < count; i++) {
        const struct leat_delta_file *f = &d->state.snapshot.files[indexes[i]];
        leat_delta_commit_remove(&commit, f->path);
        known = known && f->row_count >= 0;
        expected += (uint64_t)f->row_count;
    }
    leat_put(&sql, "SELECT ");
    leat_delta_put_storage_columns(&d->schema, "t", false, &sql);
    leat_put(&sql, " FROM ");
    leat_delta_put_rows(d, indexes, count, &sql);
    leat_put(&sql, " t");
    enum leat_status status = leat_delta_write_data(d, sql.data, false, &commit, &written, err);
    if (status == LEAT_OK && known && written != expected)
        status = leat_fail(err, LEAT_CORRUPT,
                           "table %s: joining %zu files gave %" PRIu64 " rows where the log says %" PRIu64,
                           d->table_dir, count, written, expected);
    if (status == LEAT_OK) {
        status = leat_delta_commit(d, &commit, done, err);
        if (status == LEAT_CONFLICT) status = LEAT_OK; /* there will be another occasion */
    } else {
        leat_delta_drop_added(d, &commit);
    }
    leat_delta_commit_deinit(&commit);
    leat_buffer_deinit(&sql);
    return status;
}

enum leat_status leat_delta_compact(struct leat_delta *d, uint64_t target_bytes, bool *done, struct leat_error *err) {
    const struct leat_delta_snapshot *snapshot = &d->state.snapshot;
    bool past;
    if (done) *done = false;
    if (target_bytes == 0) target_bytes = DEFAULT_TARGET_BYTES;
    enum leat_status status = leat_delta_begin(d, NULL, &past, err);
    if (status != LEAT_OK || snapshot->file_count < CHAIN_MIN) return status;
    uint64_t small_bytes = SMALL_BYTES < target_bytes / 2 ? SMALL_BYTES : target_bytes / 2;
    size_t *small = leat_alloc(snapshot->file_count * sizeof *small),
           *medium = leat_alloc(snapshot->file_count * sizeof *medium);
    size_t small_count = 0, medium_count = 0, from = 0, *chosen = small;
    uint64_t live_rows = 0, group_rows = (uint64_t)d->row_group_rows,
             small_rows = d->is_updated ? group_rows / LEAT_DELTA_LARGE_PART : group_rows * SMALL_ROW_GROUPS;
    for (size_t i = 0; i < snapshot->file_count; i++) {
        const struct leat_delta_file *f = &snapshot->files[i];
        live_rows += rows_of(f);
        if (f->size_bytes < small_bytes && rows_of(f) < small_rows)
            small[small_count++] = i;
        else if (f->size_bytes < target_bytes / 2 && !d->is_updated)
            medium[medium_count++] = i;
    }
    qsort_r(small, small_count, sizeof *small, compare_rows, snapshot->files);
    qsort_r(medium, medium_count, sizeof *medium, compare_rows, snapshot->files);
    uint64_t chain_min = live_rows / ROWS_PER_CHAINED_FILE;
    chain_min = chain_min < CHAIN_MIN ? CHAIN_MIN : chain_min > CHAIN_MAX ? CHAIN_MAX : chain_min;
    size_t count = choose_small(snapshot->files, small, small_count, (size_t)chain_min, &from);
    if (!count) {
        chosen = medium;
        from = 0;
        count = choose_medium(snapshot->files, medium, medium_count, target_bytes);
    }
    if (count) status = join_files(d, chosen + from, count, done, err);
    free(small);
    free(medium);
    return status;
}

/* ---- deleting ---- */

static void put_file(struct leat_delta *d, size_t file, struct leat_buffer *sql) {
    leat_put(sql, "(SELECT ");
    leat_delta_put_storage_columns(&d->schema, "t", false, sql);
    leat_put(sql, " FROM ");
    leat_delta_put_rows(d, &file, 1, sql);
    leat_put(sql, " t)");
}

/* How many rows of a file the condition holds for, and how many it has. */
static enum leat_status count_matching(struct leat_delta *d, size_t file, const char *where, int64_t *matching, int64_t *all, struct leat_error *err) {
    struct leat_buffer sql = {0};
    leat_putf(&sql, "SELECT count(*) FILTER (WHERE (%s) IS TRUE) FROM ", where);
    put_file(d, file, &sql);
    enum leat_status status = leat_conn_int(d->conn, sql.data, matching, err);
    *all = d->state.snapshot.files[file].row_count;
    if (status == LEAT_OK && *all < 0) {
        leat_buffer_reset(&sql);
        leat_put(&sql, "SELECT count(*) FROM ");
        put_file(d, file, &sql);
        status = leat_conn_int(d->conn, sql.data, all, err);
    }
    leat_buffer_deinit(&sql);
    return status;
}

enum leat_status leat_delta_delete(struct leat_delta *d, const char *where, const struct leat_delta_commit_info *info, uint64_t *deleted, struct leat_error *err) {
    struct leat_delta_commit commit = {.info = info, .data_change = true};
    struct leat_buffer rest = {0};
    uint64_t written = 0, expected = 0;
    bool past, done;
    *deleted = 0;
    enum leat_status status = leat_delta_begin(d, NULL, &past, err);
    for (size_t i = 0; status == LEAT_OK && i < d->state.snapshot.file_count; i++) {
        int64_t matching, all;
        status = count_matching(d, i, where, &matching, &all, err);
        if (status != LEAT_OK || matching == 0) continue;
        leat_delta_commit_remove(&commit, d->state.snapshot.files[i].path);
        *deleted += (uint64_t)matching;
        if (matching == all) continue;
        leat_put(&rest, rest.length ? " UNION ALL SELECT * FROM " : "SELECT * FROM ");
        put_file(d, i, &rest);
        leat_putf(&rest, " WHERE (%s) IS NOT TRUE", where);
        expected += (uint64_t)(all - matching);
    }
    if (status == LEAT_OK && rest.length) status = leat_delta_write_data(d, rest.data, false, &commit, &written, err);
    if (status == LEAT_OK && written != expected)
        status = leat_fail(err, LEAT_CORRUPT, "table %s: %" PRIu64 " rows stay, %" PRIu64 " were written", d->table_dir, expected, written);
    if (status == LEAT_OK && *deleted)
        status = leat_delta_commit(d, &commit, &done, err);
    else if (status != LEAT_OK)
        leat_delta_drop_added(d, &commit);
    leat_delta_commit_deinit(&commit);
    leat_buffer_deinit(&rest);
    return status;
}

/* ---- going back to a version ---- */

static enum leat_status put_back(struct leat_delta *d, struct leat_delta_file *file, struct leat_delta_commit *commit, struct leat_error *err) {
    struct leat_stat there;
    char *path = leat_asprintf("%s/%s", d->table_dir, file->path);
    enum leat_status status = d->env->io->ops->stat(d->env->io, path, &there, err);
    free(path);
    if (status != LEAT_OK) return status;
    leat_delta_commit_add(commit, file);
    *file = (struct leat_delta_file){.path = leat_strdup(file->path)}; /* its state looks it up by that */
    return LEAT_OK;
}

enum leat_status leat_delta_restore(struct leat_delta *d, int64_t version, const struct leat_delta_commit_info *info, struct leat_error *err) {
    struct leat_delta_commit commit = {.info = info, .data_change = true, .puts_back = true};
    struct leat_delta_state then;
    int64_t checkpoint;
    bool past, done;
    leat_delta_state_init(&then);
    enum leat_status status = leat_delta_begin(d, NULL, &past, err);
    if (status == LEAT_OK) status = leat_delta_replay(d->env, d->conn, d->table_dir, version, &then, &checkpoint, err);
    for (size_t i = 0; status == LEAT_OK && i < d->state.snapshot.file_count; i++)
        if (leat_delta_state_find(&then, d->state.snapshot.files[i].path) < 0) leat_delta_commit_remove(&commit, d->state.snapshot.files[i].path);
    for (size_t i = 0; status == LEAT_OK && i < then.snapshot.file_count; i++)
        if (leat_delta_state_find(&d->state, then.snapshot.files[i].path) < 0) status = put_back(d, &then.snapshot.files[i], &commit, err);
    if (status == LEAT_OK && (commit.added_count || commit.removed_count)) status = leat_delta_commit(d, &commit, &done, err);
    leat_delta_commit_deinit(&commit);
    leat_delta_state_deinit(&then);
    return status;
}

/* Whose is version v, and did it change rows? */
static enum leat_status look_at(const struct leat_delta *d, int64_t v, bool *by_leat, bool *data_change, struct leat_error *err) {
    struct leat_delta_state one;
    leat_delta_state_init(&one);
    enum leat_status status = leat_delta_read_commit(d->env, d->table_dir, v, &one, NULL, err);
    *by_leat = one.by_leat;
    *data_change = one.data_change;
    leat_delta_state_deinit(&one);
    return status;
}

/* The newest version that is not another program's, if rows have changed since; -1: they have not. */
static enum leat_status find_left(const struct leat_delta *d, int64_t *out, struct leat_error *err) {
    int64_t left = d->state.snapshot.version;
    bool by_leat = false, changed = false;
    enum leat_status status = LEAT_OK;
    for (; left > d->vouched; left--) {
        bool data_change = false;
        status = look_at(d, left, &by_leat, &data_change, err);
        if (status == LEAT_NOT_FOUND && !changed) status = LEAT_OK, by_leat = true; /* so long ago that the log has it no more */
        if (status != LEAT_OK || by_leat) break;
        changed |= data_change;
    }
    *out = changed ? left : -1;
    return status;
}

enum leat_status leat_delta_take_back(struct leat_delta *d, int64_t *theirs, struct leat_error *err) {
    static const struct leat_delta_commit_info back = {.operation = "RESTORE"};
    int64_t left = -1;
    bool past;
    *theirs = -1;
    d->taking_back = true;
    enum leat_status status = leat_delta_begin(d, NULL, &past, err);
    if (status == LEAT_OK) status = find_left(d, &left, err);
    if (status == LEAT_OK && left >= 0) {
        *theirs = d->state.snapshot.version;
        status = leat_delta_restore(d, left, &back, err);
    }
    d->taking_back = false;
    if (status == LEAT_NOT_FOUND)
        return leat_fail(err, LEAT_CORRUPT, "another program has changed table \"%s\", and what leat had left is not there any more; remove the table's folder: it is made anew then",
                         d->state.snapshot.name);
    if (status != LEAT_OK) return status;
    d->vouched = d->state.snapshot.version;
    if (*theirs >= 0)
        leat_log(d->env, LEAT_LOG_WARN, "table %s: another program had changed its rows (version %" PRId64 "); they are what leat had left again", d->state.snapshot.name, *theirs);
    return LEAT_OK;
}

/* ---- vacuum ---- */

struct names {
    char **items;
    size_t count, capacity;
};

static bool keep_name(void *context, const char *name) {
    struct names *n = context;
    size_t length = strlen(name);
    bool data = name[0] != '_' && name[0] != '.' && length > 8 && strcmp(name + length - 8, ".parquet") == 0;
    if (!data && !leat_io_is_temp_name(name)) return true;
    if (n->count == n->capacity) {
        n->capacity = n->capacity ? n->capacity * 2 : 64;
        n->items = leat_realloc(n->items, n->capacity * sizeof *n->items);
    }
    n->items[n->count++] = leat_strdup(name);
    return true;
}

static void names_deinit(struct names *n) {
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
}

/* Removed from the table before `before_ms`; a file the log does not know at all counts from when it was written. */
static bool may_go(const struct leat_delta *d, const char *path, const char *name, int64_t before_ms) {
    struct leat_stat st;
    if (leat_delta_state_find(&d->state, name) >= 0) return false;
    int64_t deleted_ms = leat_delta_state_deleted_ms(&d->state, name);
    if (deleted_ms >= 0) return deleted_ms <= before_ms;
    if (d->env->io->ops->stat(d->env->io, path, &st, NULL) != LEAT_OK || st.is_dir) return false;
    return st.modified_us / 1000 <= before_ms;
}

static enum leat_status clean_directory(struct leat_delta *d, const char *dir, bool data, int64_t before_ms,
                                        size_t *removed, struct leat_error *err) {
    struct names names = {0};
    enum leat_status status = d->env->io->ops->list(d->env->io, dir, keep_name, &names, err);
    for (size_t i = 0; status == LEAT_OK && i < names.count; i++) {
        const char *name = names.items[i];
        if (!data && !leat_io_is_temp_name(name)) continue; /* the log's own checkpoints */
        char *path = leat_asprintf("%s/%s", dir, name);
        if (may_go(d, path, name, before_ms)) {
            status = d->env->io->ops->unlink(d->env->io, path, err);
            if (status == LEAT_NOT_FOUND)
                status = LEAT_OK;
            else if (status == LEAT_OK)
                ++*removed;
            if (status == LEAT_OK) leat_delta_state_forget_tombstone(&d->state, name);
        }
        free(path);
    }
    names_deinit(&names);
    return status;
}

enum leat_status leat_delta_vacuum(struct leat_delta *d, int64_t keep_ms, size_t *removed, struct leat_error *err) {
    bool past;
    size_t count = 0;
    /* Another process may have committed files this state does not know as live. */
    d->stale = true;
    enum leat_status status = leat_delta_begin(d, NULL, &past, err);
    if (status == LEAT_OK) {
        int64_t before_ms = leat_delta_now_ms(d) - (keep_ms > 0 ? keep_ms : 0);
        char *log_dir = leat_asprintf("%s/" LEAT_DELTA_LOG_DIR, d->table_dir);
        status = clean_directory(d, d->table_dir, true, before_ms, &count, err);
        if (status == LEAT_OK) status = clean_directory(d, log_dir, false, before_ms, &count, err);
        free(log_dir);
    }
    if (removed) *removed = count;
    return status;
}
