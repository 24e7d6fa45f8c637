/* The disk: the real table, the helpers over it, and leat_io_write_durable under every failing call and every crash. */
#include "scratch.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sim/disk.h"

static char *scratch;

static void the_real_table(void **state) {
    (void)state;
    struct leat_io *io = leat_io_real();
    const struct leat_io_ops *ops = io->ops;
    char *dir = scratch_dir(scratch, "real"), *a = leat_asprintf("%s/a", dir), *b = leat_asprintf("%s/b", dir);
    struct leat_file *file;
    struct leat_error err = {0};
    struct leat_stat st;
    char bytes[32];
    size_t got;
    assert_int_equal(ops->open(io, a, LEAT_OPEN_READ, &file, &err), LEAT_NOT_FOUND);
    assert_null(file);
    assert_non_null(strstr(err.text, a));
    OK(ops->open(io, a, LEAT_OPEN_CREATE, &file, oops));
    OK(ops->write(file, "hello", 5, oops));
    OK(ops->sync(file, oops));
    OK(ops->truncate(file, 3, oops));
    OK(ops->write(file, "ium", 3, oops)); /* at the end, wherever that is now */
    OK(ops->read_at(file, 1, bytes, sizeof bytes, &got, oops));
    assert_int_equal(got, 5);
    assert_memory_equal(bytes, "elium", 5);
    OK(ops->read_at(file, 100, bytes, sizeof bytes, &got, oops));
    assert_int_equal(got, 0);
    assert_int_equal(ops->read_at(file, UINT64_MAX, bytes, 1, &got, &err), LEAT_INVALID);
    OK(ops->lock(file, oops));
    struct leat_file *second;
    OK(ops->open(io, a, LEAT_OPEN_APPEND, &second, oops));
    assert_int_equal(ops->lock(second, &err), LEAT_BUSY);
    assert_true(err.retriable);
    ops->close(file);
    OK(ops->lock(second, oops));
    ops->close(second);
    assert_int_equal(ops->open(io, a, LEAT_OPEN_CREATE, &file, &err), LEAT_EXISTS);
    OK(ops->link(io, a, b, oops));
    assert_int_equal(ops->link(io, a, b, &err), LEAT_EXISTS);
    struct leat_stat st_b;
    OK(ops->stat(io, a, &st, oops));
    OK(ops->stat(io, b, &st_b, oops));
    assert_true(st.inode == st_b.inode && st.size_bytes == 6 && !st.is_dir && st.modified_us > 1700000000000000);
    OK(ops->unlink(io, b, oops));
    assert_int_equal(ops->unlink(io, b, &err), LEAT_NOT_FOUND);
    OK(ops->rename(io, a, b, oops));
    OK(ops->mkdir(io, a, oops));
    OK(ops->mkdir(io, a, oops));
    assert_int_equal(ops->mkdir(io, b, &err), LEAT_EXISTS);
    OK(ops->sync_dir(io, dir, oops));
    OK(ops->unlink(io, a, oops)); /* an empty directory */
    OK(ops->open(io, b, LEAT_OPEN_TRUNCATE, &file, oops));
    ops->close(file);
    OK(ops->stat(io, b, &st, oops));
    assert_int_equal(st.size_bytes, 0);
    ops->close(NULL);
    free(dir);
    free(a);
    free(b);
}

/* shift: how far the bytes in memory are from where they are in a page of the file. */
/* Whoever opens one waits for another who writes to it: forever. */
static void a_pipe_is_no_file(void **state) {
    (void)state;
    struct leat_io *io = leat_io_real();
    char *dir = scratch_dir(scratch, "pipe"), *path = leat_asprintf("%s/p", dir);
    struct leat_file *file;
    struct leat_error err = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    assert_int_equal(io->ops->open(io, path, LEAT_OPEN_READ, &file, &err), LEAT_INVALID);
    alarm(0);
    assert_null(file);
    assert_non_null(strstr(err.text, "it is a pipe, not a file"));
    free(path);
    free(dir);
}

static void write_large_and_small(char *room, size_t room_bytes, size_t shift) {
    struct leat_io *io = leat_io_real();
    static const size_t sizes[] = {5, 1 << 18, 4091, 4096 * 100, (3 << 20) + 13, 10, 700001, (1 << 20) - 1, 1 << 21};
    char *dir = scratch_dir(scratch, "large"), *path = leat_asprintf("%s/a", dir);
    struct leat_buffer expected = {.data = room + shift, .capacity = room_bytes - shift}, found = {0};
    struct leat_file *file;
    OK(io->ops->open(io, path, LEAT_OPEN_TRUNCATE, &file, oops));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t from = expected.length;
        expected.length += sizes[i];
        for (size_t k = from; k < expected.length; k++)
            expected.data[k] = (char)(k * 2654435761u >> 16);
        OK(io->ops->write(file, expected.data + from, sizes[i], oops));
        if (i == 4) { /* goes on after what is cut, in another handle */
            expected.length -= 1000;
            OK(io->ops->truncate(file, expected.length, oops));
            io->ops->close(file);
            OK(io->ops->open(io, path, LEAT_OPEN_APPEND, &file, oops));
        }
    }
    OK(io->ops->sync(file, oops));
    io->ops->close(file);
    OK(leat_io_read_all(io, path, SIZE_MAX / 4, &found, oops));
    assert_int_equal(found.length, expected.length);
    assert_int_equal(memcmp(found.data, expected.data, found.length), 0);
    leat_buffer_deinit(&found);
    free(path);
    free(dir);
}

/* Large writes go another way to the disk than small ones; the file must not show it, wherever in a page each begins, there and in memory. */
static void large_writes_join_small_ones(void **state) {
    (void)state;
    const size_t room_bytes = 16 << 20;
    char *room = leat_reserve(room_bytes);
    static const size_t shifts[] = {0, 1, 512, 4095};
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++)
        write_large_and_small(room, room_bytes, shifts[i]);
    leat_unreserve(room, room_bytes);
}

static void helpers(void **state) {
    (void)state;
    struct leat_io *io = leat_io_real();
    char *dir = scratch_dir(scratch, "helpers"), *deep = leat_asprintf("%s/x/y/z", dir),
         *file = leat_asprintf("%s/f", deep);
    struct leat_error err = {0};
    struct leat_buffer content = {0};
    char **names;
    size_t count;
    OK(leat_io_mkdirs(io, deep, oops));
    OK(leat_io_mkdirs(io, deep, oops));
    assert_false(leat_io_exists(io, file));
    OK(leat_io_write_durable(io, file, "one", 3, false, oops));
    assert_true(leat_io_exists(io, file));
    assert_int_equal(leat_io_write_durable(io, file, "two", 3, false, &err), LEAT_EXISTS);
    assert_int_equal(leat_io_mkdirs(io, file, &err), LEAT_EXISTS);
    leat_put(&content, "before ");
    OK(leat_io_read_all(io, file, 3, &content, oops));
    assert_string_equal(content.data, "before one");
    assert_int_equal(leat_io_read_all(io, file, 2, &content, &err), LEAT_LIMIT);
    assert_string_equal(content.data, "before one");
    assert_int_equal(leat_io_read_all(io, "no/such/file", 2, &content, &err), LEAT_NOT_FOUND);
    OK(leat_io_write_durable(io, file, "longer", 6, true, oops));
    leat_buffer_reset(&content);
    OK(leat_io_read_all(io, file, SIZE_MAX, &content, oops));
    assert_string_equal(content.data, "longer");
    OK(leat_io_list_sorted(io, deep, &names, &count, oops)); /* no temp stays */
    assert_int_equal(count, 1);
    leat_names_free(names, count);
    OK(leat_io_list_sorted(io, "no/such/dir", &names, &count, oops));
    assert_int_equal(count, 0);
    assert_true(leat_io_is_temp_name(".f.0.leat-tmp"));
    assert_false(leat_io_is_temp_name("f.leat-tmp") || leat_io_is_temp_name(".leat-tmp") || leat_io_is_temp_name(""));
    /* A symbolic link to a directory is removed itself, not what it leads to. */
    char *other = scratch_dir(scratch, "other"), *kept = leat_asprintf("%s/kept", other),
         *link = leat_asprintf("%s/link", dir);
    scratch_write(kept, "k", 1);
    assert_int_equal(symlink("../other", link), 0);
    OK(leat_io_remove_tree(io, dir, oops));
    OK(leat_io_remove_tree(io, dir, oops));
    assert_false(leat_io_exists(io, dir));
    assert_true(leat_io_exists(io, kept));
    static const struct {
        const char *path, *dir;
    } dirs[] = {{"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"a//b/", "a"}, {"/", "/"}, {"", "."}};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char *got = leat_io_dirname(dirs[i].path);
        assert_string_equal(got, dirs[i].dir);
        free(got);
    }
    leat_buffer_deinit(&content);
    char *owned[] = {dir, deep, file, other, kept, link};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

static void adopting_checks_links_and_unlinks(void **state) {
    (void)state;
    char *dir = scratch_dir(scratch, "adopt"), *from = leat_asprintf("%s/s", dir), *to = leat_asprintf("%s/t", dir);
    struct leat_error err = {0};
    struct leat_sim_disk *disk;
    OK(leat_sim_disk_open(dir, &disk, oops));
    struct leat_io *both[] = {leat_io_real(), leat_sim_disk_io(disk)};
    for (size_t i = 0; i < 2; i++) {
        struct leat_io *io = both[i];
        assert_int_equal(io->ops->adopt(io, from, to, &err), LEAT_NOT_FOUND);
        scratch_write(from, "", 0);
        assert_int_equal(io->ops->adopt(io, from, to, &err), LEAT_CORRUPT);
        scratch_write(from, "data", 4);
        OK(io->ops->adopt(io, from, to, oops));
        assert_false(leat_io_exists(io, from));
        scratch_write(from, "more", 4);
        assert_int_equal(io->ops->adopt(io, from, to, &err), LEAT_EXISTS);
        assert_true(leat_io_exists(io, from));
        OK(io->ops->unlink(io, from, oops));
        OK(io->ops->unlink(io, to, oops));
        OK(io->ops->mkdir(io, from, oops));
        assert_int_equal(io->ops->adopt(io, from, to, &err), LEAT_CORRUPT);
        OK(io->ops->unlink(io, from, oops));
    }
    leat_sim_disk_close(disk);
    free(dir);
    free(from);
    free(to);
}

/* ---- write_durable: old or new, whatever happens ---- */

#define OLD_BYTES 5000
#define NEW_BYTES 9000
static char old_content[OLD_BYTES], new_content[NEW_BYTES];

enum seen { SEEN_NONE, SEEN_OLD, SEEN_NEW, SEEN_GARBAGE };
static enum seen look(const char *path) {
    struct leat_buffer content = {0};
    enum leat_status status = leat_io_read_all(leat_io_real(), path, 1 << 20, &content, NULL);
    enum seen seen = SEEN_GARBAGE;
    if (status == LEAT_NOT_FOUND)
        seen = SEEN_NONE;
    else if (content.length == OLD_BYTES && memcmp(content.data, old_content, OLD_BYTES) == 0)
        seen = SEEN_OLD;
    else if (content.length == NEW_BYTES && memcmp(content.data, new_content, NEW_BYTES) == 0)
        seen = SEEN_NEW;
    leat_buffer_deinit(&content);
    return seen;
}

/* One write under a plan of failure; then all crash points of it. *failed: did the planned call come. */
static void write_and_crash(bool replace, uint64_t fail_nth, int number, size_t seeds, bool *failed) {
    char *root = scratch_dir(scratch, "root"), *path = leat_asprintf("%s/f", root),
         *image = leat_asprintf("%s/image", scratch);
    char *image_path = leat_asprintf("%s/f", image);
    enum seen before = replace ? SEEN_OLD : SEEN_NONE;
    struct leat_sim_disk *disk;
    struct leat_error err = {0};
    if (replace) scratch_write(path, old_content, OLD_BYTES);
    OK(leat_sim_disk_open(root, &disk, oops));
    leat_sim_disk_fail(disk, LEAT_SIM_ANY, fail_nth, number);
    enum leat_status status =
        leat_io_write_durable(leat_sim_disk_io(disk), path, new_content, NEW_BYTES, replace, &err);
    *failed = leat_sim_disk_failures(disk) > 0;
    if (!*failed) assert_int_equal(status, LEAT_OK);
    enum seen now = look(path);
    assert_true(now == SEEN_NEW || (status != LEAT_OK && now == before));
    size_t end = leat_sim_disk_op_count(disk);
    bool was_new = false;
    for (size_t at = 0; at <= end; at++)
        for (uint64_t seed = 0; seed < seeds; seed++) {
            if (!leat_sim_disk_is_new(disk, at, seed)) continue;
            OK(leat_sim_disk_image(disk, at, seed, image, oops));
            enum seen after = look(image_path);
            struct leat_buffer where = {0};
            leat_sim_disk_describe(disk, at, &where);
            if (after != SEEN_NEW && (after != before || (at == end && status == LEAT_OK)))
                fail_msg("crash before %s, seed %d: content %d", where.data, (int)seed, (int)after);
            was_new = was_new || after == SEEN_NEW;
            leat_buffer_deinit(&where);
        }
    assert_true(was_new || status != LEAT_OK);
    leat_sim_disk_close(disk);
    free(root);
    free(path);
    free(image);
    free(image_path);
}

static void writing_durably_is_all_or_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < NEW_BYTES; i++)
        new_content[i] = (char)('A' + i % 23);
    memset(old_content, 'o', OLD_BYTES);
    bool failed = true;
    for (int replace = 0; replace < 2; replace++) {
        write_and_crash(replace, 0, 0, 300, &failed);
        assert_false(failed);
        failed = true;
        for (uint64_t n = 1; failed; n++) {
            write_and_crash(replace, n, EIO, 50, &failed);
            if (failed) write_and_crash(replace, n, ENOSPC, 3, &failed);
        }
    }
}

/* A new directory chain: whoever got OK can rely on it. */
static void made_directories_survive(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "root"), *deep = leat_asprintf("%s/a/b/c", root),
         *image = leat_asprintf("%s/image", scratch);
    char *image_deep = leat_asprintf("%s/a/b/c", image);
    struct leat_sim_disk *disk;
    OK(leat_sim_disk_open(root, &disk, oops));
    OK(leat_io_mkdirs(leat_sim_disk_io(disk), deep, oops));
    for (uint64_t seed = 0; seed < 20; seed++) {
        OK(leat_sim_disk_image(disk, leat_sim_disk_op_count(disk), seed, image, oops));
        assert_true(leat_io_exists(leat_io_real(), image_deep));
    }
    leat_sim_disk_close(disk);
    free(root);
    free(deep);
    free(image);
    free(image_deep);
}

static int make(void **state) {
    (void)state;
    scratch = scratch_make();
    return 0;
}

static int clean(void **state) {
    (void)state;
    scratch_remove(scratch);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_real_table),
        cmocka_unit_test(a_pipe_is_no_file),
        cmocka_unit_test(large_writes_join_small_ones),
        cmocka_unit_test(helpers),
        cmocka_unit_test(adopting_checks_links_and_unlinks),
        cmocka_unit_test(writing_durably_is_all_or_nothing),
        cmocka_unit_test(made_directories_survive),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
