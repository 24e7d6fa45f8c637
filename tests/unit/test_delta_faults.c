/* Every disk call of every operation fails once, before or after it took effect, alone or for good (as in a crash): the
 * table is then the old one or the new one, and doing the operation again with the same txn gives the new one. */
#include <errno.h>

#include "delta_support.h"
#include "sim/disk.h"

static struct {
    const struct leat_io_ops *real;
    int at;        /* the call that fails; 0: none */
    int calls;     /* made so far */
    bool after;    /* it takes effect all the same */
    bool for_good; /* and so do all later ones */
    bool struck;
} fault;

/* The real disk without waiting for it: nothing here depends on what survives a power cut. */
static enum leat_status fast_sync(struct leat_file *file, struct leat_error *err) {
    (void)file, (void)err;
    return LEAT_OK;
}

static enum leat_status fast_sync_dir(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io, (void)path, (void)err;
    return LEAT_OK;
}

static enum leat_status fast_adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    enum leat_status status = leat_io_real()->ops->link(io, scratch, to, err);
    return status == LEAT_OK ? leat_io_real()->ops->unlink(io, scratch, err) : status;
}

static struct leat_io_ops fast_ops, faulty_ops;
static struct leat_io fast_io, faulty_io;

/* Whether this call fails; `effect` is set to whether it is to be carried out. */
static bool strikes(bool *effect) {
    fault.calls++;
    bool now = fault.at && (fault.calls == fault.at || (fault.for_good && fault.calls > fault.at));
    *effect = !now || (fault.after && fault.calls == fault.at);
    fault.struck = fault.struck || now;
    return now;
}

static enum leat_status injected(struct leat_error *err) {
    return leat_fail(err, LEAT_IO, "injected");
}

#define WRAP(name, parameters, arguments)                                                                              \
    static enum leat_status faulty_##name parameters {                                                                 \
        bool effect, fails = strikes(&effect);                                                                         \
        enum leat_status status = effect ? fault.real->name arguments : LEAT_OK;                                       \
        if (!fails) return status;                                                                                     \
        return status == LEAT_EXISTS ? status : injected(err);                                                         \
    }
WRAP(read_at, (struct leat_file * file, uint64_t offset, void *out, size_t want, size_t *got, struct leat_error *err),
     (file, offset, out, want, got, err))
WRAP(write, (struct leat_file * file, const void *bytes, size_t n, struct leat_error *err), (file, bytes, n, err))
WRAP(sync, (struct leat_file * file, struct leat_error *err), (file, err))
WRAP(link, (struct leat_io * io, const char *from, const char *to, struct leat_error *err), (io, from, to, err))
WRAP(rename, (struct leat_io * io, const char *from, const char *to, struct leat_error *err), (io, from, to, err))
WRAP(unlink, (struct leat_io * io, const char *path, struct leat_error *err), (io, path, err))
WRAP(mkdir, (struct leat_io * io, const char *path, struct leat_error *err), (io, path, err))
WRAP(sync_dir, (struct leat_io * io, const char *path, struct leat_error *err), (io, path, err))
WRAP(list,
     (struct leat_io * io, const char *path, bool (*visit)(void *, const char *), void *context,
      struct leat_error *err),
     (io, path, visit, context, err))
WRAP(adopt, (struct leat_io * io, const char *scratch, const char *to, struct leat_error *err), (io, scratch, to, err))

static enum leat_status faulty_open(struct leat_io *io, const char *path, enum leat_open_mode mode,
                                    struct leat_file **out, struct leat_error *err) {
    bool effect;
    if (strikes(&effect)) return injected(err);
    return fault.real->open(io, path, mode, out, err);
}

static void arm(struct fixture *f, int at, bool after, bool for_good) {
    fault.real = &fast_ops;
    faulty_ops = fast_ops;
    faulty_ops.open = faulty_open;
    faulty_ops.read_at = faulty_read_at;
    faulty_ops.write = faulty_write;
    faulty_ops.sync = faulty_sync;
    faulty_ops.link = faulty_link;
    faulty_ops.rename = faulty_rename;
    faulty_ops.unlink = faulty_unlink;
    faulty_ops.mkdir = faulty_mkdir;
    faulty_ops.sync_dir = faulty_sync_dir;
    faulty_ops.list = faulty_list;
    faulty_ops.adopt = faulty_adopt;
    faulty_io = fast_io;
    faulty_io.ops = &faulty_ops;
    fault.at = at;
    fault.after = after;
    fault.for_good = for_good;
    fault.calls = 0;
    fault.struck = false;
    f->env.io = &faulty_io;
}

static void disarm(struct fixture *f) {
    f->env.io = &fast_io;
}

enum operation { CREATE, APPEND, OVERWRITE, APPLY, COMPACT, VACUUM, OPERATIONS };

static struct leat_schema schema;

static enum leat_status open_it(struct fixture *f, struct leat_delta **out) {
    struct leat_delta_options options = {.name = "t", .schema = &schema, .checkpoint_every = 1};
    return leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, out, &f->err);
}

static enum leat_status operate(struct fixture *f, struct leat_delta *d, enum operation operation) {
    struct leat_delta_txn txn = {"app", 2};
    struct leat_delta_commit_info info = {.operation = "WRITE", .txns = &txn, .txn_count = 1};
    static const uint16_t key[] = {0};
    bool done;
    size_t removed;
    switch (operation) {
    case APPEND:
        return leat_delta_append(d, "SELECT 77 AS id", &info, &done, &f->err);
    case OVERWRITE:
        return leat_delta_overwrite(d, "SELECT 77 AS id UNION ALL SELECT 78", &info, &done, &f->err);
    case APPLY: {
        struct leat_changes changes;
        leat_changes_init(&changes, &schema);
        leat_changes_reserve(&changes, 2);
        leat_changes_need_weights(&changes);
        changes.row_count = 2;
        ((int64_t *)changes.columns[0].data)[0] = 3;
        ((int64_t *)changes.columns[0].data)[1] = 77;
        changes.weights[0] = -1;
        changes.weights[1] = 1;
        enum leat_status status = leat_delta_apply(d, &changes, key, 1, &info, &done, &f->err);
        leat_changes_deinit(&changes);
        return status;
    }
    case COMPACT:
        return leat_delta_compact(d, 0, &done, &f->err);
    case VACUUM:
        return leat_delta_vacuum(d, 0, &removed, &f->err);
    default:
        return LEAT_OK;
    }
}

/* The rows as text, by a fresh replay. */
static char *rows_of(struct fixture *f) {
    struct leat_delta_snapshot s;
    struct leat_buffer sql = {0};
    char *text = NULL;
    must(f, leat_delta_snapshot(&f->env, f->conn, f->table, -1, &s, &f->err));
    leat_put(&sql, "SELECT coalesce(string_agg(id, ' ' ORDER BY id), '') FROM (");
    leat_delta_select(f->table, &s, &schema, NULL, &sql);
    leat_put(&sql, ")");
    must(f, leat_conn_text(f->conn, sql.data, &text, &f->err));
    leat_buffer_deinit(&sql);
    leat_delta_snapshot_deinit(&s);
    return text;
}

static const char *const before = "0 1 2 3 4 5 6 7";
static const char *const wanted[OPERATIONS] = {
    "", "0 1 2 3 4 5 6 7 77", "77 78", "0 1 2 4 5 6 7 77", "0 1 2 3 4 5 6 7", "0 1 2 3 4 5 6 7"};

static char *pattern; /* the table every attempt starts from; files are never written twice, so links do for copies */

static void make_pattern(struct fixture *f) {
    struct leat_delta *d = NULL;
    must(f, open_it(f, &d));
    for (int i = 0; i < 8; i++) {
        struct leat_delta_txn txns[] = {{"app", 1}, {"load", i}};
        struct leat_delta_commit_info info = {.operation = "WRITE", .txns = txns, .txn_count = 2};
        char *sql = leat_asprintf("SELECT %d AS id", i);
        must(f, leat_delta_append(d, sql, &info, NULL, &f->err));
        free(sql);
    }
    leat_delta_close(d);
    pattern = leat_asprintf("%s/pattern", f->root);
    must(f, f->env.io->ops->rename(f->env.io, f->table, pattern, &f->err));
}

static void link_folder(struct fixture *f, const char *from, const char *to) {
    char **names = NULL;
    size_t count = 0;
    struct leat_stat st;
    must(f, leat_io_mkdirs(f->env.io, to, &f->err));
    must(f, leat_io_list_sorted(f->env.io, from, &names, &count, &f->err));
    for (size_t i = 0; i < count; i++) {
        char *source = leat_asprintf("%s/%s", from, names[i]), *target = leat_asprintf("%s/%s", to, names[i]);
        must(f, f->env.io->ops->stat(f->env.io, source, &st, &f->err));
        if (st.is_dir)
            link_folder(f, source, target);
        else
            must(f, f->env.io->ops->link(f->env.io, source, target, &f->err));
        free(source);
        free(target);
    }
    leat_names_free(names, count);
}

static void make_table(struct fixture *f, enum operation operation) {
    must(f, leat_io_remove_tree(f->env.io, f->table, &f->err));
    if (operation != CREATE) link_folder(f, pattern, f->table);
}

static void check_old_or_new(struct fixture *f, enum operation operation, int at) {
    char *rows = rows_of(f);
    if (strcmp(rows, operation == CREATE ? "" : before) != 0 && strcmp(rows, wanted[operation]) != 0)
        fail_msg("operation %d, call %d: %s", operation, at, rows);
    free(rows);
}

static void check_new(struct fixture *f, enum operation operation, int at) {
    char *rows = rows_of(f);
    if (strcmp(rows, wanted[operation]) != 0) fail_msg("operation %d, call %d, done again: %s", operation, at, rows);
    free(rows);
}

static bool try_one(struct fixture *f, enum operation operation, int at, bool after, bool for_good) {
    struct leat_delta *d = NULL;
    make_table(f, operation);
    if (operation != CREATE) must(f, open_it(f, &d));
    arm(f, at, after, for_good);
    enum leat_status status = operation == CREATE ? open_it(f, &d) : operate(f, d, operation);
    bool struck = fault.struck;
    disarm(f);
    check_old_or_new(f, operation, at);
    if (status == LEAT_OK) check_new(f, operation, at);
    if (for_good || !d) { /* the process is gone */
        leat_delta_close(d);
        d = NULL;
        must(f, open_it(f, &d));
    }
    must(f, operate(f, d, operation));
    check_new(f, operation, at);
    size_t removed;
    must(f, leat_delta_vacuum(d, 0, &removed, &f->err));
    check_new(f, operation, at);
    leat_delta_close(d);
    return struck;
}

static void test_faults(void **state) {
    struct fixture *f = *state;
    leat_schema_add(&schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    fast_ops = *leat_io_real()->ops;
    fast_ops.sync = fast_sync;
    fast_ops.sync_dir = fast_sync_dir;
    fast_ops.adopt = fast_adopt;
    fast_io = *leat_io_real();
    fast_io.ops = &fast_ops;
    disarm(f);
    make_pattern(f);
    for (enum operation operation = CREATE; operation < OPERATIONS; operation++)
        for (int mode = 0; mode < 3; mode++) { /* a crash before call n+1 is one after call n */
            int at = 1;
            while (try_one(f, operation, at, mode > 0, mode > 1))
                at++;
            assert_true(at > 3);
        }
    leat_schema_deinit(&schema);
    free(pattern);
}

/* A version whose name was not synced is gone after a power cut; unless somebody opened the table and built on it. */
static void test_what_an_opening_showed_is_durable(void **state) {
    struct fixture *f = *state;
    struct leat_sim_disk *disk;
    struct leat_delta *d;
    struct leat_delta_snapshot seen;
    char *image = leat_asprintf("%s-image", f->root), *image_table = leat_asprintf("%s/table", image);
    leat_schema_add(&schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    must(f, leat_sim_disk_open(f->root, &disk, &f->err));
    f->env.io = leat_sim_disk_io(disk);
    must(f, open_it(f, &d));
    uint64_t opened = leat_sim_disk_calls(disk, LEAT_SIM_SYNC_DIR);
    must(f, operate(f, d, APPEND));
    uint64_t syncs = leat_sim_disk_calls(disk, LEAT_SIM_SYNC_DIR) - opened;
    for (uint64_t n = 1; n <= syncs; n++) {
        struct leat_delta_commit_info info = {.operation = "WRITE"};
        leat_sim_disk_fail(disk, LEAT_SIM_SYNC_DIR, n, EIO);
        assert_int_not_equal(leat_delta_append(d, "SELECT 78 AS id", &info, NULL, &f->err), LEAT_OK);
        leat_delta_close(d);
        must(f, open_it(f, &d));
        must(f, leat_sim_disk_image(disk, leat_sim_disk_op_count(disk), LEAT_SIM_LOSE_ALL, image, &f->err));
        must(f, leat_delta_snapshot(&f->env, f->conn, image_table, -1, &seen, &f->err));
        assert_int_equal(seen.version, leat_delta_current(d)->version);
        leat_delta_snapshot_deinit(&seen);
    }
    leat_delta_close(d);
    leat_sim_disk_close(disk);
    f->env.io = leat_io_real();
    must(f, leat_io_remove_tree(f->env.io, image, &f->err));
    leat_schema_deinit(&schema);
    free(image);
    free(image_table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_an_opening_showed_is_durable, fixture_up, fixture_down),
        cmocka_unit_test_setup_teardown(test_faults, fixture_up, fixture_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
