/* The journal: replay, torn tails, damage, rotation; then every crash point and every failing call. */
#include "scratch.h"

#include <errno.h>
#include "sim/disk.h"
#include "state/journal.h"

static char *scratch;

static enum leat_status collect(void *context, const char *json, size_t length, struct leat_error *err) {
    (void)err;
    assert_int_equal(strlen(json), length);
    leat_putf(context, "%s|", json);
    return LEAT_OK;
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env;
    (void)level;
    (void)line;
}

static void env_init(struct leat_env *env, struct leat_io *io) {
    leat_env_real(env);
    env->log = quiet;
    if (io) env->io = io;
}

/* Opens, collects, closes. out: records joined by '|'. */
static enum leat_status read_journal(struct leat_io *io, const char *dir, struct leat_buffer *out,
                                     struct leat_error *err) {
    struct leat_env env;
    struct leat_journal *j;
    env_init(&env, io);
    leat_buffer_reset(out);
    leat_put(out, "");
    enum leat_status status = leat_journal_open(&env, dir, collect, out, &j, err);
    leat_journal_close(j);
    return status;
}

static void assert_records(const char *dir, const char *want) {
    struct leat_buffer got = {0};
    OK(read_journal(NULL, dir, &got, oops));
    assert_string_equal(got.data, want);
    leat_buffer_deinit(&got);
}

static void add(struct leat_journal *j, const char *json) {
    OK(leat_journal_append(j, json, strlen(json), oops));
}

static void records_come_back_in_order(void **state) {
    (void)state;
    char *dir = scratch_dir(scratch, "order");
    struct leat_env env;
    struct leat_journal *j;
    env_init(&env, NULL);
    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    add(j, "{\"a\":1}");
    OK(leat_journal_sync(j, oops));
    OK(leat_journal_sync(j, oops));
    add(j, "{\"b\":2}");
    add(j, "{\"c\":3}");
    OK(leat_journal_sync(j, oops));
    add(j, "{\"lost\":1}");
    leat_journal_close(j);
    assert_records(dir, "{\"a\":1}|{\"b\":2}|{\"c\":3}|");

    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    struct leat_journal_record head[] = {{"{\"state\":9}", 11}, {"{\"mode\":2}", 10}};
    uint64_t before = leat_journal_size_bytes(j);
    OK(leat_journal_rotate(j, head, 1, oops));
    assert_true(leat_journal_size_bytes(j) < before);
    add(j, "{\"d\":4}");
    OK(leat_journal_sync(j, oops));
    assert_records(dir, "{\"state\":9}|{\"d\":4}|");
    OK(leat_journal_rotate(j, head, 2, oops));
    leat_journal_close(j);
    assert_records(dir, "{\"state\":9}|{\"mode\":2}|");
    char **names;
    size_t count;
    OK(leat_io_list_sorted(env.io, dir, &names, &count, oops));
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "journal-0000000000000003");
    leat_names_free(names, count);
    free(dir);
}

static void bad_records_are_refused(void **state) {
    (void)state;
    char *dir = scratch_dir(scratch, "refuse");
    struct leat_env env;
    struct leat_journal *j;
    struct leat_error err;
    env_init(&env, NULL);
    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    assert_int_equal(leat_journal_append(j, "", 0, &err), LEAT_INVALID);
    assert_int_equal(leat_journal_append(j, "{\n}", 3, &err), LEAT_INVALID);
    assert_int_equal(leat_journal_append(j, "{\0}", 3, &err), LEAT_INVALID);
    leat_journal_close(j);
    free(dir);
}

static enum leat_status refuse_second(void *context, const char *json, size_t length, struct leat_error *err) {
    (void)json;
    (void)length;
    return ++*(int *)context == 2 ? leat_fail(err, LEAT_UNSUPPORTED, "no more") : LEAT_OK;
}

/* Every cut and every changed byte of a small journal: a prefix of the records, or CORRUPT; never other records. */
static void damage_is_torn_tail_or_corrupt(void **state) {
    (void)state;
    char *dir = scratch_dir(scratch, "damage"), *path = leat_asprintf("%s/journal-0000000000000001", dir);
    struct leat_env env;
    struct leat_journal *j;
    struct leat_error err = {0};
    struct leat_buffer whole = {0}, got = {0};
    env_init(&env, NULL);
    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    add(j, "{\"a\":1}");
    OK(leat_journal_sync(j, oops));
    size_t first_end = (size_t)leat_journal_size_bytes(j);
    add(j, "{\"b\":2}");
    add(j, "{\"c\":3}");
    OK(leat_journal_sync(j, oops));
    leat_journal_close(j);
    int calls = 0;
    assert_int_equal(leat_journal_open(&env, dir, refuse_second, &calls, &j, &err), LEAT_UNSUPPORTED);
    assert_null(j);
    OK(leat_io_read_all(env.io, path, 4096, &whole, oops));
    size_t head_end = (size_t)(strchr(whole.data, '\n') - whole.data) + 1;
    static const char *const allowed[] = {"{\"a\":1}|{\"b\":2}|{\"c\":3}|", "{\"a\":1}|{\"b\":2}|", "{\"a\":1}|", ""};
    for (size_t at = 0; at < whole.length * 2; at++) {
        size_t byte = at / 2;
        char *copy = leat_strndup(whole.data, whole.length);
        copy[byte] = (char)(copy[byte] ^ 0x11);
        scratch_write(path, copy, at % 2 ? whole.length : byte);
        free(copy);
        enum leat_status status = read_journal(NULL, dir, &got, &err);
        bool changed = at % 2;
        if (byte < head_end || (changed && byte < first_end)) {
            assert_int_equal(status, LEAT_CORRUPT);
            continue;
        }
        assert_int_equal(status, LEAT_OK);
        bool known = false;
        for (size_t i = 0; i < 4; i++)
            known = known || strcmp(got.data, allowed[i]) == 0;
        assert_true(known);
        assert_true(strlen(got.data) <= byte - head_end);
        /* What is added behind the cut is read back. */
        OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
        add(j, "{\"z\":4}");
        OK(leat_journal_sync(j, oops));
        leat_journal_close(j);
        leat_put(&got, "{\"z\":4}|");
        assert_records(dir, got.data);
    }
    leat_buffer_deinit(&whole);
    leat_buffer_deinit(&got);
    free(path);
    free(dir);
}

/* ---- crash points and failing calls ---- */

/* One call of the script: what the journal holds before and after, as joined records, and its ops. */
struct event {
    char before[64], after[64];
    bool rotate;
    size_t first_op, end_op;
    bool done;
};
struct script {
    struct event events[32];
    size_t count;
    bool fatal;
};

/* A record named by one letter, several pages long for capital letters. The test's texts hold the letter only. */
static void add_letter(struct leat_journal *j, char letter) {
    struct leat_buffer json = {0};
    leat_putf(&json, "{\"%c\":\"", letter);
    for (int i = 0; letter < 'a' && i < 9000; i++)
        leat_putf(&json, "%c", 'a' + i % 26);
    leat_put(&json, "\"}");
    OK(leat_journal_append(j, json.data, json.length, oops));
    leat_buffer_deinit(&json);
}

static enum leat_status collect_letter(void *context, const char *json, size_t length, struct leat_error *err) {
    (void)length;
    (void)err;
    leat_putf(context, "%c", json[2]);
    return LEAT_OK;
}

static struct event *begin(struct script *s, struct leat_sim_disk *disk, const char *after, bool rotate) {
    struct event *e = &s->events[s->count++];
    snprintf(e->before, sizeof e->before, "%s", s->count > 1 ? e[-1].after : "");
    snprintf(e->after, sizeof e->after, "%s", after);
    e->rotate = rotate;
    e->first_op = leat_sim_disk_op_count(disk);
    e->end_op = SIZE_MAX;
    return e;
}

/* Ends the event; false: the script must stop. A failure that is not fatal is tried again. */
static bool finish(struct script *s, struct leat_sim_disk *disk, struct event *e, enum leat_status status,
                   const struct leat_error *err) {
    if (status == LEAT_OK) {
        e->end_op = leat_sim_disk_op_count(disk);
        e->done = true;
        return true;
    }
    s->fatal = err->fatal;
    return false;
}

/* Appends the letters that `after` has more than what is there, and syncs. */
static bool sync_event(struct script *s, struct leat_sim_disk *disk, struct leat_journal *j, const char *after) {
    struct leat_error err = {0};
    struct event *e = begin(s, disk, after, false);
    for (int tries = 0; tries < 2; tries++) {
        for (const char *letter = after + strlen(e->before); *letter; letter++)
            add_letter(j, *letter);
        memset(&err, 0, sizeof err);
        if (finish(s, disk, e, leat_journal_sync(j, &err), &err)) return true;
        if (err.fatal) {
            assert_int_equal(leat_journal_append(j, "{}", 2, &err), LEAT_IO);
            assert_true(err.fatal);
            assert_int_equal(leat_journal_sync(j, &err), LEAT_IO);
            assert_int_equal(leat_journal_rotate(j, NULL, 0, &err), LEAT_IO);
            return false;
        }
        assert_true(err.retriable);
    }
    fail_msg("a single failure failed twice: %s", err.text);
    return false;
}

static bool rotate_event(struct script *s, struct leat_sim_disk *disk, struct leat_journal *j, char letter) {
    char json[] = {'{', '"', letter, '"', ':', '1', '}'}, after[] = {letter, '\0'};
    struct leat_journal_record head = {json, sizeof json};
    struct leat_error err = {0};
    struct event *e = begin(s, disk, after, true);
    for (int tries = 0; tries < 2; tries++) {
        memset(&err, 0, sizeof err);
        if (finish(s, disk, e, leat_journal_rotate(j, &head, 1, &err), &err)) return true;
        if (err.fatal) {
            assert_int_equal(leat_journal_sync(j, &err), LEAT_IO);
            return false;
        }
    }
    fail_msg("a single failure failed twice: %s", err.text);
    return false;
}

static void run_script(struct script *s, struct leat_sim_disk *disk, const char *dir) {
    struct leat_env env;
    struct leat_journal *j = NULL;
    struct leat_error err = {0};
    env_init(&env, leat_sim_disk_io(disk));
    struct event *e = begin(s, disk, "", true);
    for (int tries = 0; tries < 2 && !j && !err.fatal; tries++)
        if (leat_journal_open(&env, dir, NULL, NULL, &j, &err) == LEAT_OK) break;
    if (!j) return;
    finish(s, disk, e, LEAT_OK, NULL);
    if (!sync_event(s, disk, j, "a")) goto out;
    if (!sync_event(s, disk, j, "aBcD")) goto out;
    if (!rotate_event(s, disk, j, 'e')) goto out;
    if (!sync_event(s, disk, j, "ef")) goto out;
    if (!sync_event(s, disk, j, "efGH")) goto out;
    if (!rotate_event(s, disk, j, 'i')) goto out;
    if (!rotate_event(s, disk, j, 'k')) goto out;
    sync_event(s, disk, j, "kl");
out:
    leat_journal_close(j);
}

/* May a journal that crashed at op `at` hold exactly `got`? */
static bool allowed(const struct script *s, size_t at, const char *got) {
    for (size_t i = 0; i < s->count; i++) {
        const struct event *e = &s->events[i];
        if (e->done && e->end_op < at) continue;
        if (e->done && e->end_op == at && strcmp(got, e->after) == 0) return true;
        if (e->first_op > at) continue;
        if (e->done && e->end_op == at) continue;
        if (strcmp(got, e->before) == 0 || strcmp(got, e->after) == 0) return true;
        size_t before = strlen(e->before), length = strlen(got);
        if (!e->rotate && length >= before && strncmp(got, e->after, length) == 0) return true;
    }
    return false;
}

static void recover(struct leat_io *io, const char *dir, struct leat_buffer *got, const char *what) {
    struct leat_env env;
    struct leat_journal *j;
    struct leat_error err = {0};
    env_init(&env, io);
    leat_buffer_reset(got);
    leat_put(got, "");
    if (leat_journal_open(&env, dir, collect_letter, got, &j, &err) != LEAT_OK) fail_msg("%s: %s", what, err.text);
    leat_journal_close(j);
}

/* A crash of the recovery itself: what the finished recovery showed must never be lost again. */
static void crash_recovery(const char *image, const char *again, const struct script *s, size_t at, uint64_t seed) {
    struct leat_sim_disk *disk;
    struct leat_buffer got = {0}, second = {0};
    char *dir = leat_asprintf("%s/j", image), *dir_again = leat_asprintf("%s/j", again);
    OK(leat_sim_disk_open(image, &disk, oops));
    recover(leat_sim_disk_io(disk), dir, &got, "first recovery");
    size_t end = leat_sim_disk_op_count(disk);
    for (size_t op = 0; op <= end; op++) {
        OK(leat_sim_disk_image(disk, op, seed + op, again, oops));
        recover(NULL, dir_again, &second, "second recovery");
        if (op == end)
            assert_string_equal(second.data, got.data);
        else
            assert_true(allowed(s, at, second.data));
    }
    leat_sim_disk_close(disk);
    leat_buffer_deinit(&got);
    leat_buffer_deinit(&second);
    free(dir);
    free(dir_again);
}

static void check_images(struct leat_sim_disk *disk, const struct script *s, size_t from, size_t seeds, bool twice) {
    char *image = leat_asprintf("%s/image", scratch), *again = leat_asprintf("%s/again", scratch),
         *dir = leat_asprintf("%s/j", image);
    struct leat_buffer got = {0}, where = {0};
    for (size_t at = from; at <= leat_sim_disk_op_count(disk); at++) {
        leat_buffer_reset(&where);
        leat_sim_disk_describe(disk, at, &where);
        for (uint64_t seed = 0; seed < seeds; seed++) {
            if (!leat_sim_disk_is_new(disk, at, seed)) continue;
            OK(leat_sim_disk_image(disk, at, seed, image, oops));
            if (twice && seed % 4 == 1) {
                crash_recovery(image, again, s, at, seed);
                continue;
            }
            recover(NULL, dir, &got, where.data);
            if (!allowed(s, at, got.data))
                fail_msg("crash before %s, seed %d: the journal holds '%s'", where.data, (int)seed, got.data);
        }
    }
    leat_buffer_deinit(&got);
    leat_buffer_deinit(&where);
    free(image);
    free(again);
    free(dir);
}

static void every_crash_leaves_a_prefix(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "root"), *dir = leat_asprintf("%s/j", root);
    struct leat_sim_disk *disk;
    struct script script = {0};
    OK(leat_sim_disk_open(root, &disk, oops));
    run_script(&script, disk, dir);
    assert_true(script.events[script.count - 1].done);
    check_images(disk, &script, 0, 200, true);
    leat_sim_disk_close(disk);
    free(root);
    free(dir);
}

/* Fails call 1, 2, ... of any kind. */
static void every_failing_call_is_survived(void **state) {
    (void)state;
    static const int numbers[] = {EIO, ENOSPC};
    for (uint64_t n = 1, failed = 1; failed; n++) {
        failed = 0;
        for (size_t i = 0; i < 2; i++) {
            char *root = scratch_dir(scratch, "root"), *dir = leat_asprintf("%s/j", root);
            struct leat_sim_disk *disk;
            struct script script = {0};
            OK(leat_sim_disk_open(root, &disk, oops));
            leat_sim_disk_fail(disk, LEAT_SIM_ANY, n, numbers[i]);
            run_script(&script, disk, dir);
            failed += leat_sim_disk_failures(disk);
            assert_int_equal(leat_sim_disk_used_after_failed_sync(disk), 0);
            check_images(disk, &script, leat_sim_disk_op_count(disk), 24, false);
            leat_sim_disk_close(disk);
            free(root);
            free(dir);
        }
    }
}

/* A process that died before its fsync leaves records in the page cache. Once an opening has shown them, they stay. */
static void what_an_opening_showed_is_durable(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "root"), *dir = leat_asprintf("%s/new/j", root),
         *model = scratch_dir(scratch, "model");
    char *path = leat_asprintf("%s/journal-0000000000000001", dir), *image = leat_asprintf("%s/image", scratch);
    char *model_path = leat_asprintf("%s/journal-0000000000000001", model),
         *image_dir = leat_asprintf("%s/new/j", image);
    struct leat_sim_disk *disk;
    struct leat_env env;
    struct leat_journal *j;
    struct leat_file *file;
    struct leat_buffer bytes = {0}, got = {0};
    env_init(&env, NULL);
    OK(leat_journal_open(&env, model, NULL, NULL, &j, oops));
    add_letter(j, 'a');
    OK(leat_journal_sync(j, oops));
    leat_journal_close(j);
    OK(leat_io_read_all(env.io, model_path, 4096, &bytes, oops));

    OK(leat_sim_disk_open(root, &disk, oops));
    struct leat_io *io = leat_sim_disk_io(disk);
    char *parent = leat_io_dirname(dir);
    OK(io->ops->mkdir(io, parent, oops));
    OK(io->ops->mkdir(io, dir, oops));
    OK(io->ops->sync_dir(io, root, oops));
    OK(io->ops->open(io, path, LEAT_OPEN_CREATE, &file, oops));
    OK(io->ops->write(file, bytes.data, bytes.length, oops));
    io->ops->close(file);
    recover(io, dir, &got, "after the process died");
    assert_string_equal(got.data, "a");
    OK(leat_sim_disk_image(disk, leat_sim_disk_op_count(disk), LEAT_SIM_LOSE_ALL, image, oops));
    recover(NULL, image_dir, &got, "after the power cut");
    assert_string_equal(got.data, "a");
    leat_sim_disk_close(disk);
    leat_buffer_deinit(&bytes);
    leat_buffer_deinit(&got);
    char *owned[] = {root, dir, model, path, image, model_path, image_dir, parent};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

/* After a failed fsync the kernel shows what it will not write, and reports success from then on: the next process must
 * not rely on that file. */
static void a_file_is_not_used_after_its_failed_sync(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "root"), *dir = leat_asprintf("%s/j", root);
    char *image = leat_asprintf("%s/image", scratch), *image_dir = leat_asprintf("%s/j", image);
    struct leat_sim_disk *disk;
    struct leat_env env;
    struct leat_journal *j;
    struct leat_error err = {0};
    struct leat_buffer before = {0}, after = {0};
    OK(leat_sim_disk_open(root, &disk, oops));
    env_init(&env, leat_sim_disk_io(disk));
    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    add_letter(j, 'a');
    OK(leat_journal_sync(j, oops));
    add_letter(j, 'b');
    leat_sim_disk_fail(disk, LEAT_SIM_SYNC, 1, EIO);
    assert_int_equal(leat_journal_sync(j, &err), LEAT_IO);
    assert_true(err.fatal);
    leat_journal_close(j);
    recover(leat_sim_disk_io(disk), dir, &before, "in the next process");
    assert_int_equal(leat_sim_disk_used_after_failed_sync(disk), 0);
    OK(leat_sim_disk_image(disk, leat_sim_disk_op_count(disk), LEAT_SIM_LOSE_ALL, image, oops));
    recover(NULL, image_dir, &after, "after a power cut then");
    assert_string_equal(after.data, before.data);
    leat_sim_disk_close(disk);
    leat_buffer_deinit(&before);
    leat_buffer_deinit(&after);
    char *owned[] = {root, dir, image, image_dir};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

static void a_full_disk_is_retried(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "root"), *dir = leat_asprintf("%s/j", root);
    struct leat_sim_disk *disk;
    struct leat_env env;
    struct leat_journal *j;
    struct leat_error err = {0};
    struct leat_buffer got = {0};
    OK(leat_sim_disk_open(root, &disk, oops));
    env_init(&env, leat_sim_disk_io(disk));
    OK(leat_journal_open(&env, dir, NULL, NULL, &j, oops));
    leat_sim_disk_quota(disk, 10000);
    for (int i = 0; i < 3; i++) {
        add_letter(j, 'B');
        add_letter(j, 'D');
        assert_int_equal(leat_journal_sync(j, &err), LEAT_NO_SPACE);
        assert_true(err.retriable);
        assert_false(err.fatal);
    }
    leat_sim_disk_quota(disk, UINT64_MAX);
    add_letter(j, 'B');
    add_letter(j, 'c');
    OK(leat_journal_sync(j, oops));
    leat_journal_close(j);
    recover(NULL, dir, &got, "after the disk was full");
    assert_string_equal(got.data, "Bc");
    leat_buffer_deinit(&got);
    leat_sim_disk_close(disk);
    free(root);
    free(dir);
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
        cmocka_unit_test(records_come_back_in_order),     cmocka_unit_test(bad_records_are_refused),
        cmocka_unit_test(damage_is_torn_tail_or_corrupt), cmocka_unit_test(every_crash_leaves_a_prefix),
        cmocka_unit_test(every_failing_call_is_survived), cmocka_unit_test(what_an_opening_showed_is_durable),
        cmocka_unit_test(a_full_disk_is_retried),         cmocka_unit_test(a_file_is_not_used_after_its_failed_sync),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
