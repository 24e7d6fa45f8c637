/* The simulated disk: what its crash images may hold and what they must, failures on order, and thousands of images. */
#include "scratch.h"

#include <errno.h>
#include <sys/stat.h>
#include "sim/disk.h"

#define SEEDS 200

struct rig {
    char *root, *image;
    struct leat_sim_disk *disk;
    struct leat_io *io;
};
static char *scratch;

static void rig_open(struct rig *r) {
    r->root = scratch_dir(scratch, "root");
    r->image = leat_asprintf("%s/image", scratch);
    OK(leat_sim_disk_open(r->root, &r->disk, oops));
    r->io = leat_sim_disk_io(r->disk);
}

static void rig_close(struct rig *r) {
    leat_sim_disk_close(r->disk);
    free(r->root);
    free(r->image);
}

static const char *in(const char *dir, const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, 512, "%.400s/%.100s", dir, name);
    return path;
}

static struct leat_file *open_file(struct rig *r, const char *name, enum leat_open_mode mode) {
    struct leat_file *file;
    OK(r->io->ops->open(r->io, in(r->root, name), mode, &file, oops));
    return file;
}

static void append(struct rig *r, const char *name, const char *text, bool sync) {
    struct leat_file *file = open_file(r, name, LEAT_OPEN_APPEND);
    OK(r->io->ops->write(file, text, strlen(text), oops));
    if (sync) OK(r->io->ops->sync(file, oops));
    r->io->ops->close(file);
}

static void sync_dir(struct rig *r, const char *name) {
    OK(r->io->ops->sync_dir(r->io, in(r->root, name), oops));
}

/* Content of a file in the image with this seed, "-" when it is not there. */
static const char *content(struct rig *r, const char *name) {
    static struct leat_buffer buffers[4];
    static int next;
    struct leat_buffer *b = &buffers[next++ % 4];
    leat_buffer_reset(b);
    if (leat_io_read_all(leat_io_real(), in(r->image, name), 1 << 20, b, NULL) != LEAT_OK) leat_put(b, "-");
    leat_put(b, "");
    return b->data;
}

static void image(struct rig *r, uint64_t seed) {
    OK(leat_sim_disk_image(r->disk, leat_sim_disk_op_count(r->disk), seed, r->image, oops));
}

/* Counts, over the seeds, the images in which `name` has each of the texts; any other text fails the test. */
static void count_contents(struct rig *r, const char *name, const char *const *texts, int *counts, size_t n) {
    memset(counts, 0, n * sizeof *counts);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        image(r, seed);
        const char *got = content(r, name);
        size_t i = 0;
        while (i < n && strcmp(got, texts[i]) != 0)
            i++;
        if (i == n) fail_msg("seed %d: %s holds '%s'", (int)seed, name, got);
        counts[i]++;
    }
}

static void a_name_needs_its_directory_synced(void **state) {
    (void)state;
    struct rig r;
    int counts[2];
    rig_open(&r);
    append(&r, "f", "synced data", true);
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "f"), "-");
    image(&r, LEAT_SIM_KEEP_ALL);
    assert_string_equal(content(&r, "f"), "synced data");
    count_contents(&r, "f", (const char *const[]){"-", "synced data"}, counts, 2);
    assert_true(counts[0] > 20 && counts[1] > 20);
    sync_dir(&r, ".");
    count_contents(&r, "f", (const char *const[]){"-", "synced data"}, counts, 2);
    assert_int_equal(counts[0], 0);
    rig_close(&r);
}

static void unsynced_data_is_lost_kept_or_torn(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    append(&r, "f", "0123456789", true);
    sync_dir(&r, "");
    append(&r, "f", "abcdef", false);
    append(&r, "f", "ghij", false);
    int lengths[21] = {0}, zeros = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        image(&r, seed);
        struct leat_buffer got = {0};
        OK(leat_io_read_all(leat_io_real(), in(r.image, "f"), 100, &got, oops));
        assert_in_range(got.length, 10, 20);
        assert_memory_equal(got.data, "0123456789", 10);
        for (size_t i = 10; i < got.length; i++) {
            if (got.data[i] != 0)
                assert_int_equal(got.data[i], "0123456789abcdefghij"[i]);
            else
                zeros++;
        }
        lengths[got.length]++;
        leat_buffer_deinit(&got);
    }
    for (int i = 10; i <= 20; i++)
        assert_true(lengths[i] > 0);
    assert_true(lengths[10] > 20 && lengths[20] > 20 && zeros > 0);
    rig_close(&r);
}

static void pages_come_in_any_order(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    char *page = leat_alloc(4 * 4096 + 1);
    memset(page, 'x', 4 * 4096);
    append(&r, "f", "", true);
    sync_dir(&r, ".");
    append(&r, "f", page, false);
    bool hole_before_data = false;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        image(&r, seed);
        struct leat_buffer got = {0};
        OK(leat_io_read_all(leat_io_real(), in(r.image, "f"), 1 << 20, &got, oops));
        for (size_t i = 4096; i < got.length; i++)
            hole_before_data = hole_before_data || (got.data[i] == 'x' && got.data[i - 4096] == 0);
        leat_buffer_deinit(&got);
    }
    assert_true(hole_before_data);
    free(page);
    rig_close(&r);
}

static void a_rename_is_old_or_new(void **state) {
    (void)state;
    struct rig r;
    int counts[3];
    rig_open(&r);
    append(&r, "f", "old", true);
    append(&r, "t", "new", true);
    sync_dir(&r, ".");
    OK(r.io->ops->rename(r.io, in(r.root, "t"), in(r.root, "f"), oops));
    count_contents(&r, "f", (const char *const[]){"old", "new"}, counts, 2);
    assert_true(counts[0] > 20 && counts[1] > 20);
    for (uint64_t seed = 0; seed < SEEDS; seed++) { /* atomic: t is there exactly when f is old */
        image(&r, seed);
        bool old = strcmp(content(&r, "f"), "old") == 0;
        assert_string_equal(content(&r, "t"), old ? "new" : "-");
    }
    sync_dir(&r, ".");
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "f"), "new");
    assert_string_equal(content(&r, "t"), "-");
    /* Unlink: back or gone. And a name that is taken again keeps its order. */
    OK(r.io->ops->unlink(r.io, in(r.root, "f"), oops));
    append(&r, "f", "third", true);
    count_contents(&r, "f", (const char *const[]){"new", "third", "-"}, counts, 3);
    assert_true(counts[0] > 20 && counts[1] > 20 && counts[2] > 5);
    rig_close(&r);
}

static void links_share_their_file(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    append(&r, "t", "data", true);
    OK(r.io->ops->link(r.io, in(r.root, "t"), in(r.root, "f"), oops));
    sync_dir(&r, ".");
    image(&r, LEAT_SIM_LOSE_ALL);
    struct leat_stat a, b;
    OK(leat_io_real()->ops->stat(leat_io_real(), in(r.image, "t"), &a, oops));
    OK(leat_io_real()->ops->stat(leat_io_real(), in(r.image, "f"), &b, oops));
    assert_int_equal(a.inode, b.inode);
    rig_close(&r);
}

static void directories_hold_their_files(void **state) {
    (void)state;
    struct rig r;
    int counts[2];
    rig_open(&r);
    OK(r.io->ops->mkdir(r.io, in(r.root, "d"), oops));
    append(&r, "d/f", "x", true);
    sync_dir(&r, "d"); /* the file's name in d, not d's own */
    count_contents(&r, "d/f", (const char *const[]){"-", "x"}, counts, 2);
    assert_true(counts[0] > 20 && counts[1] > 20);
    sync_dir(&r, ".");
    count_contents(&r, "d/f", (const char *const[]){"-", "x"}, counts, 2);
    assert_int_equal(counts[0], 0);
    /* Across directories the fsync of the target takes the source's pending changes along. */
    OK(r.io->ops->mkdir(r.io, in(r.root, "e"), oops));
    sync_dir(&r, ".");
    append(&r, "d/g", "y", true);
    OK(r.io->ops->rename(r.io, in(r.root, "d/g"), in(r.root, "e/g"), oops));
    sync_dir(&r, "e");
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "e/g"), "y");
    assert_string_equal(content(&r, "d/g"), "-");
    rig_close(&r);
}

/* DuckDB's files are not seen being written; adopted, they are durable. */
static void foreign_files_count_when_adopted(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    OK(r.io->ops->mkdir(r.io, in(r.root, "scratch"), oops));
    OK(r.io->ops->mkdir(r.io, in(r.root, "table"), oops));
    sync_dir(&r, ".");
    scratch_write(in(r.root, "scratch/a"), "rows", 4);
    scratch_write(in(r.root, "scratch/b"), "rest", 4);
    image(&r, LEAT_SIM_KEEP_ALL);
    assert_string_equal(content(&r, "scratch/a"), "-");
    size_t before = leat_sim_disk_op_count(r.disk);
    OK(r.io->ops->adopt(r.io, in(r.root, "scratch/a"), in(r.root, "table/a"), oops));
    assert_int_equal(leat_sim_disk_op_count(r.disk) - before,
                     6); /* create, write, sync, link, sync directory, unlink */
    for (uint64_t seed = 0; seed < 50; seed++) {
        image(&r, seed);
        assert_string_equal(content(&r, "table/a"), "rows");
    }
    bool gone = false, empty = false;
    for (size_t at = before; at < leat_sim_disk_op_count(r.disk); at++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            OK(leat_sim_disk_image(r.disk, at, seed, r.image, oops));
            const char *got = content(&r, "table/a");
            gone = gone || strcmp(got, "-") == 0;
            empty = empty || (strcmp(got, "-") != 0 && strcmp(got, "rows") != 0);
        }
    assert_true(gone);
    assert_false(empty); /* the fsync comes before the link */
    /* The same scratch name again, written by somebody else to the same size. */
    scratch_write(in(r.root, "scratch/b"), "REST", 4);
    OK(r.io->ops->rename(r.io, in(r.root, "scratch/b"), in(r.root, "scratch/a"), oops));
    scratch_write(in(r.root, "scratch/a"), "LAST", 4);
    OK(r.io->ops->adopt(r.io, in(r.root, "scratch/a"), in(r.root, "table/c"), oops));
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "table/c"), "LAST");
    rig_close(&r);
}

static void what_was_there_is_durable(void **state) {
    (void)state;
    struct rig r;
    char *root = scratch_dir(scratch, "root"), *sub = leat_asprintf("%s/sub", root), *file = leat_asprintf("%s/f", sub);
    OK(leat_io_mkdirs(leat_io_real(), sub, oops));
    scratch_write(file, "there", 5);
    r.root = root;
    r.image = leat_asprintf("%s/image", scratch);
    OK(leat_sim_disk_open(root, &r.disk, oops));
    r.io = leat_sim_disk_io(r.disk);
    struct leat_file *f = open_file(&r, "sub/f", LEAT_OPEN_TRUNCATE);
    OK(r.io->ops->write(f, "now", 3, oops));
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "sub/f"), "there");
    image(&r, LEAT_SIM_KEEP_ALL);
    assert_string_equal(content(&r, "sub/f"), "now");
    OK(r.io->ops->sync(f, oops));
    r.io->ops->close(f);
    image(&r, LEAT_SIM_LOSE_ALL);
    assert_string_equal(content(&r, "sub/f"), "now");
    /* Back to the start, and forward again. */
    OK(leat_sim_disk_image(r.disk, 0, LEAT_SIM_KEEP_ALL, r.image, oops));
    assert_string_equal(content(&r, "sub/f"), "there");
    free(sub);
    free(file);
    rig_close(&r);
}

static void failures_come_when_ordered(void **state) {
    (void)state;
    struct rig r;
    struct leat_error err = {0};
    struct leat_stat st;
    rig_open(&r);
    struct leat_file *f = open_file(&r, "f", LEAT_OPEN_CREATE);
    leat_sim_disk_fail(r.disk, LEAT_SIM_WRITE, 2, ENOSPC);
    OK(r.io->ops->write(f, "0123", 4, oops));
    assert_int_equal(r.io->ops->write(f, "4567", 4, &err), LEAT_NO_SPACE);
    OK(r.io->ops->stat(r.io, in(r.root, "f"), &st, oops));
    assert_int_equal(st.size_bytes, 6); /* half of it came */
    leat_sim_disk_quota(r.disk, 3);
    OK(r.io->ops->write(f, "67", 2, oops));
    assert_int_equal(r.io->ops->write(f, "89", 2, &err), LEAT_NO_SPACE);
    assert_false(err.fatal);
    leat_sim_disk_quota(r.disk, UINT64_MAX);
    OK(r.io->ops->stat(r.io, in(r.root, "f"), &st, oops));
    assert_int_equal(st.size_bytes, 9);
    leat_sim_disk_fail(r.disk, LEAT_SIM_SYNC, 1, EIO);
    assert_int_equal(r.io->ops->sync(f, &err), LEAT_IO);
    assert_true(err.fatal);
    assert_int_equal(leat_sim_disk_used_after_failed_sync(r.disk), 0);
    OK(r.io->ops->sync(f, oops));
    assert_int_equal(leat_sim_disk_used_after_failed_sync(r.disk), 1);
    r.io->ops->close(f);
    leat_sim_disk_fail(r.disk, LEAT_SIM_ANY, 3, EIO);
    assert_int_equal(r.io->ops->unlink(r.io, in(r.root, "no"), &err), LEAT_NOT_FOUND);
    OK(r.io->ops->stat(r.io, r.root, &st, oops));
    assert_int_equal(r.io->ops->sync_dir(r.io, r.root, &err), LEAT_IO);
    assert_true(err.fatal);
    assert_int_equal(leat_sim_disk_failures(r.disk), 4);
    assert_int_equal(leat_sim_disk_calls(r.disk, LEAT_SIM_WRITE), 4);
    assert_int_equal(r.io->ops->link(r.io, in(r.root, "f"), in(scratch, "outside"), &err), LEAT_INVALID);
    rig_close(&r);
}

/* ---- many images of a small project ---- */

/* Two tables with a log of commits, a journal, a handful of data files, as leat writes them. */
static void write_project(struct rig *r, int rounds) {
    char name[64], text[600];
    const char *const dirs[] = {"journal", "log", "t1", "t1/_delta_log", "t2", "t2/_delta_log", "scratch"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        OK(leat_io_mkdirs(r->io, in(r->root, dirs[i]), oops));
    for (int round = 0; round < rounds; round++) {
        memset(text, 'a' + round % 26, sizeof text - 1);
        text[sizeof text - 1] = '\0';
        append(r, "log/segment", text, true);
        append(r, "journal/journal-1", "a step\n", true);
        if (round == 0) {
            sync_dir(r, "log");
            sync_dir(r, "journal");
        }
        for (int table = 1; table <= 2; table++) {
            char from[64];
            snprintf(from, sizeof from, "scratch/%d-%d", table, round);
            snprintf(name, sizeof name, "t%d/%d.parquet", table, round);
            scratch_write(in(r->root, from), text, sizeof text - 1);
            OK(r->io->ops->adopt(r->io, in(r->root, from), in(r->root, name), oops));
            snprintf(name, sizeof name, "t%d/_delta_log/%020d.json", table, round);
            OK(leat_io_write_durable(r->io, in(r->root, name), text, 100, false, oops));
        }
    }
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines sorted, in place of the text. */
static void sort_lines(struct leat_buffer *text) {
    char *lines[1000];
    size_t count = 0;
    struct leat_buffer sorted = {0};
    for (char *line = strtok(text->data, "\n"); line && count < 1000; line = strtok(NULL, "\n"))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < count; i++)
        leat_putf(&sorted, "%s\n", lines[i]);
    leat_buffer_deinit(text);
    *text = sorted;
}

static void images_are_repeatable_and_agree_with_fingerprints(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    write_project(&r, 3);
    size_t count = leat_sim_disk_op_count(r.disk), different = 0;
    for (size_t at = 0; at <= count; at += 3) {
        struct leat_buffer first = {0}, again = {0}, other = {0}, disk = {0};
        leat_sim_disk_fingerprint(r.disk, at, 9, &first);
        leat_sim_disk_fingerprint(r.disk, at > 5 ? at - 5 : 0, 9, &other);
        leat_sim_disk_fingerprint(r.disk, at, 9, &again);
        assert_string_equal(first.data, again.data);
        different += strcmp(first.data, other.data) != 0;
        OK(leat_sim_disk_image(r.disk, at, 9, r.image, oops));
        struct leat_sim_disk *of_image;
        OK(leat_sim_disk_open(r.image, &of_image, oops));
        leat_sim_disk_fingerprint(of_image, 0, 0, &disk);
        leat_sim_disk_close(of_image);
        sort_lines(&first);
        sort_lines(&disk);
        assert_string_equal(first.data, disk.data);
        leat_buffer_deinit(&first);
        leat_buffer_deinit(&again);
        leat_buffer_deinit(&other);
        leat_buffer_deinit(&disk);
    }
    assert_true(different > count / 6);
    rig_close(&r);
}

static void five_thousand_images(void **state) {
    (void)state;
    struct rig r;
    rig_open(&r);
    write_project(&r, 8);
    size_t count = leat_sim_disk_op_count(r.disk), made = 0, distinct = 0;
    struct leat_buffer text = {0};
    for (size_t at = 0; at <= count; at++) {
        for (uint64_t seed = 0; made < 5000 * (at + 1) / (count + 1); seed++, made++) {
            distinct += leat_sim_disk_is_new(r.disk, at, seed);
            OK(leat_sim_disk_image(r.disk, at, seed, r.image, oops));
            /* Whatever commit is there, its data file is there with all its bytes. */
            char commit[64], data[64];
            for (int round = 0; round < 8; round++) {
                snprintf(commit, sizeof commit, "t1/_delta_log/%020d.json", round);
                snprintf(data, sizeof data, "t1/%d.parquet", round);
                struct leat_stat st;
                if (!leat_io_exists(leat_io_real(), in(r.image, commit))) continue;
                OK(leat_io_real()->ops->stat(leat_io_real(), in(r.image, data), &st, oops));
                assert_int_equal(st.size_bytes, 599);
            }
        }
        leat_buffer_reset(&text);
        leat_sim_disk_describe(r.disk, at, &text);
        assert_true(text.length > 3);
    }
    assert_int_equal(made, 5000);
    assert_in_range(distinct, 2 * count, 4999);
    leat_buffer_deinit(&text);
    rig_close(&r);
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
        cmocka_unit_test(a_name_needs_its_directory_synced),
        cmocka_unit_test(unsynced_data_is_lost_kept_or_torn),
        cmocka_unit_test(pages_come_in_any_order),
        cmocka_unit_test(a_rename_is_old_or_new),
        cmocka_unit_test(links_share_their_file),
        cmocka_unit_test(directories_hold_their_files),
        cmocka_unit_test(foreign_files_count_when_adopted),
        cmocka_unit_test(what_was_there_is_durable),
        cmocka_unit_test(failures_come_when_ordered),
        cmocka_unit_test(images_are_repeatable_and_agree_with_fingerprints),
        cmocka_unit_test(five_thousand_images),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
