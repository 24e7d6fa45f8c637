/* Backups: what is restored goes on exactly, an interrupted one is never taken for whole, damage is found, sinks' sequences go on behind it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/care/backup.h"
#include "engine_world.h"
#include "sim/disk.h"
#include "sim/kill.h"

#define FAILS(call, status) \
    do { \
        struct leat_error oops[1] = {{0}}; \
        assert_int_equal((call), (status)); \
    } while (0)

static const char SOURCES[] =
    "CREATE SOURCE events (id VARCHAR NOT NULL, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n";
static const char TABLES[] =
    "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
    "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
    "CREATE MATERIALIZED TABLE copies (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, max(v) AS v FROM events GROUP BY id;\n"
    "CREATE SINK told FROM copies WITH (connector = 'file', path = 'told.ndjson', on_retract = 'send');\n";

static void event(struct world *w, const char *file, const char *id, int v, const char *time) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"v\":%d,\"ts\":\"2026-01-01 %s\"}\n", id, v, time);
    put(w, file, line, "a");
    free(line);
}

static char *in(const struct world *w, const char *name) {
    return leat_asprintf("%s/%s", w->dir, name);
}

static void begin(struct world *w) {
    world_init(w, SOURCES, TABLES);
    event(w, "in/events1.ndjson", "a", 1, "00:00:10");
    event(w, "in/events2.ndjson", "b", 2, "00:05:00");
    run(w);
    event(w, "in/events2.ndjson", "late", 4, "00:00:20");
    run(w);
}

static json_t *backup(struct world *w, const char *place, const char *name, uint64_t keep) {
    char *dir = in(w, place);
    const struct leat_backup_options options = {.project_dir = w->project, .place = dir, .name = name, .keep = keep};
    struct leat_buffer text = {0};
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_backup(&w->env, &options, &text, oops));
    json_t *made = json_loads(text.data, 0, NULL);
    leat_buffer_deinit(&text);
    free(dir);
    return made;
}

static long long copied(json_t *made) {
    long long files = json_integer_value(json_object_get(made, "copied_files"));
    json_decref(made);
    return files;
}

static enum leat_status restore(struct world *w, const char *place, const char *name, const char *to, struct leat_error *err) {
    char *dir = in(w, place), *target = in(w, to);
    const struct leat_backup_options options = {.project_dir = target, .place = dir, .name = name};
    enum leat_status st = leat_restore(&w->env, &options, NULL, err);
    free(dir);
    free(target);
    return st;
}

/* Goes on in another folder, with copies of the inputs as they are now. */
static void move_to(struct world *w, const char *to) {
    char *target = in(w, to), *command = leat_asprintf("cp -r %s/in %s/ && { cp %s/told.ndjson %s/ || true; }", w->project, target, w->project, target);
    leat_engine_close(w->engine);
    w->engine = NULL;
    assert_int_equal(system(command), 0);
    free(command);
    free(w->project);
    w->project = target;
    reopen(w);
}

static char *told(struct world *w) {
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/told.ndjson", w->project);
    OK(leat_io_read_all(w->env.io, path, 1 << 20, &text, oops));
    free(path);
    return text.data;
}

static size_t lines(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += *text == '\n';
    return n;
}

static const char COPIES[] = "SELECT string_agg(id || v, ' ' ORDER BY id) FROM copies";
static const char MINUTES[] = "SELECT string_agg(n || ':' || v, ' ' ORDER BY window_start) FROM minutes";

/* From an older backup: what came after it is read again, late stays late, and nothing that was told at the backup is told again. */
static void what_is_restored_goes_on(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    json_decref(backup(w, "kept", "one", 0));
    reopen(w);
    char *before = told(w);
    event(w, "in/events1.ndjson", "c", 8, "00:05:10");
    run(w);
    OK(restore(w, "kept", "one", "again", oops));
    move_to(w, "again");
    char *same = told(w);
    run(w);
    expect_text(w, COPIES, "a1 b2 c8 late4");
    expect_text(w, MINUTES, "1:1 2:10");
    expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    char *after = told(w);
    assert_true(strncmp(after, before, strlen(before)) == 0);
    assert_int_equal(lines(after), lines(same) + 1); /* c: told by the original after the backup, and once more by the copy */
    free(before);
    free(same);
    free(after);
    reopen(w);
    event(w, "in/events1.ndjson", "d", 16, "00:05:20");
    run(w);
    after = told(w);
    assert_int_equal(lines(after), 6);
    /* Rule 13: sequences do not come again: the last id is higher than any before. */
    unsigned long long last = 0;
    for (const char *at = after; (at = strstr(at, "{\"id\":\"told-")); at++) {
        unsigned long long sequence = strtoull(strchr(at + 12, '-') + 1, NULL, 10);
        assert_true(sequence > last);
        last = sequence;
    }
    free(after);
    world_deinit(w);
}

static void only_what_is_new_is_copied(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer list = {0};
    begin(w);
    json_t *first = backup(w, "kept", "one", 0);
    json_int_t files = json_integer_value(json_object_get(first, "files"));
    assert_true(copied(first) < files / 2); /* on one file system data files are links */
    long long second = copied(backup(w, "kept", "two", 0));
    reopen(w);
    event(w, "in/events1.ndjson", "c", 8, "00:05:10");
    run(w);
    assert_true(copied(backup(w, "kept", "three", 2)) <= second + 2);
    char *place = in(w, "kept");
    OK(leat_backup_list(&w->env, place, &list, oops));
    assert_null(strstr(list.data, "\"one\""));
    assert_non_null(strstr(list.data, "\"two\""));
    struct leat_backup_options options = {.project_dir = w->project, .place = place, .name = "three"};
    FAILS(leat_backup(&w->env, &options, NULL, oops), LEAT_EXISTS);
    options.name = "../x";
    FAILS(leat_backup(&w->env, &options, NULL, oops), LEAT_INVALID);
    options.name = NULL; /* "two" was linked with "one", which is gone */
    for (int i = 0; i < 2; i++, options.name = "two") OK(leat_backup_verify(&w->env, &options, NULL, oops));
    FAILS(restore(w, "kept", "one", "again", oops), LEAT_NOT_FOUND);
    FAILS(restore(w, "kept", "two", "project", oops), LEAT_EXISTS);
    leat_buffer_deinit(&list);
    free(place);
    world_deinit(w);
}

static void damage_is_found(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    json_decref(backup(w, "kept", "one", 0));
    char *place = in(w, "kept"), *manifest = leat_asprintf("%s/one/backup.json", place);
    char *flip = leat_asprintf("f=$(ls %s/one/lake/copies/*.parquet | head -1); cp \"$f\" %s/x && printf X | dd of=%s/x bs=1 seek=20 conv=notrunc 2>/dev/null && mv %s/x \"$f\"",
                               place, w->dir, w->dir, w->dir);
    const struct leat_backup_options options = {.project_dir = w->project, .place = place};
    OK(leat_backup_verify(&w->env, &options, NULL, oops));
    assert_int_equal(system(flip), 0);
    FAILS(leat_backup_verify(&w->env, &options, NULL, oops), LEAT_CORRUPT);
    FAILS(restore(w, "kept", NULL, "again", oops), LEAT_CORRUPT);
    /* What a restore that failed left is no project. */
    struct leat_engine_options engine_options = {.project_dir = in(w, "again")};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine;
    char *sql = leat_asprintf("cp %s/project.sql %s/", w->project, engine_options.project_dir);
    assert_int_equal(system(sql), 0);
    FAILS(leat_engine_open(&w->env, &engine_options, &diags, &engine, oops), LEAT_INVALID);
    leat_diagnostics_deinit(&diags);
    char *cut = leat_asprintf("sed -i s/one/onf/ %s", manifest);
    assert_int_equal(system(cut), 0);
    FAILS(leat_backup_verify(&w->env, &options, NULL, oops), LEAT_CORRUPT);
    free((char *)engine_options.project_dir);
    free(cut);
    free(sql);
    free(flip);
    free(manifest);
    free(place);
    world_deinit(w);
}

static void a_damaged_version_is_in_no_others_way(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer list = {0};
    begin(w);
    json_decref(backup(w, "kept", "one", 0));
    json_decref(backup(w, "kept", "two", 0));
    char *place = in(w, "kept"), *cut = leat_asprintf("sed -i s/two/twp/ %s/two/backup.json", place);
    assert_int_equal(system(cut), 0);
    json_decref(backup(w, "kept", "three", 0));
    OK(leat_backup_list(&w->env, place, &list, oops));
    assert_true(strstr(list.data, "\"one\"") && strstr(list.data, "\"three\"") && !strstr(list.data, "\"two\""));
    FAILS(restore(w, "kept", NULL, "again", oops), LEAT_CORRUPT); /* which is the newest? */
    FAILS(restore(w, "kept", "two", "again", oops), LEAT_CORRUPT);
    OK(restore(w, "kept", "one", "again", oops));
    leat_buffer_deinit(&list);
    free(cut);
    free(place);
    world_deinit(w);
}

/* A sink's thread saves its progress at any moment: the file is linked after another, longer one took its place. */
static enum leat_status link_what_came(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    const char *name = strrchr(from, '/');
    if (strcmp(name, "/progress.json") == 0) {
        char *command = leat_asprintf("sed -i 's/}$/,\"more\":1}/' '%s'", from);
        assert_int_equal(system(command), 0);
        free(command);
    }
    return leat_io_real()->ops->link(leat_io_real(), from, to, err);
}

static void what_is_linked_is_copied_whole(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    struct leat_io_ops ops = *leat_io_real()->ops;
    struct leat_io io = *leat_io_real();
    ops.link = link_what_came;
    io.ops = &ops;
    w->env.io = &io;
    json_decref(backup(w, "kept", "one", 0));
    w->env.io = leat_io_real();
    char *path = leat_asprintf("%s/kept/one/work/sink/told/progress.json", w->dir);
    json_t *progress = json_load_file(path, 0, NULL);
    assert_non_null(json_object_get(progress, "more"));
    json_decref(progress);
    free(path);
    world_deinit(w);
}

static size_t folders_in(struct world *w, const char *place) {
    char **names, *dir = in(w, place);
    size_t count, folders = 0;
    OK(leat_io_list_sorted(w->env.io, dir, &names, &count, oops));
    for (size_t i = 0; i < count; i++) folders += names[i][0] != '.';
    leat_names_free(names, count);
    free(dir);
    return folders;
}

/* A kill in the midst of a removal, or just when a folder was made: the next backup clears away what is left. */
static void nothing_is_left_of_what_was_cut_short(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    char *place = in(w, "kept");
    struct leat_backup_options options = {.project_dir = w->project, .place = place, .keep = 1};
    bool done = false;
    json_decref(backup(w, "kept", "first", 1));
    for (uint64_t n = 0; !done; n += 3) {
        struct leat_error err;
        char *name = leat_asprintf("try%llu", (unsigned long long)n), *next = leat_asprintf("next%llu", (unsigned long long)n);
        options.name = name;
        w->env.io = leat_io_killable();
        leat_io_kill_after(n);
        done = leat_backup(&w->env, &options, NULL, &err) == LEAT_OK;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        char *backup_json = leat_asprintf("%s/%s/backup.json", place, name);
        if (!leat_io_exists(w->env.io, backup_json)) OK(leat_backup(&w->env, &options, NULL, oops)); /* the name is free */
        options.name = next;
        OK(leat_backup(&w->env, &options, NULL, oops));
        assert_int_equal(folders_in(w, "kept"), 1);
        free(backup_json);
        free(name);
        free(next);
    }
    free(place);
    world_deinit(w);
}

/* The process dies at each of its calls: then there is no version, or a whole one, and the next backup is not in its way. */
static void killed_anywhere(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    json_decref(backup(w, "kept", "one", 0));
    char *place = in(w, "kept");
    struct leat_backup_options options = {.project_dir = w->project, .place = place, .name = "two", .keep = 1};
    struct leat_error err;
    bool done = false;
    uint64_t kills = 0;
    w->env.io = leat_io_killable();
    for (uint64_t n = 0; !done; n += 1 + n / 16) {
        struct leat_buffer list = {0};
        leat_io_kill_after(n);
        done = leat_backup(&w->env, &options, NULL, &err) == LEAT_OK;
        if (n > 5000) fail_msg("%s", err.text);
        leat_io_kill_after(UINT64_MAX);
        kills += !done;
        OK(leat_backup_list(&w->env, place, &list, oops));
        bool one = strstr(list.data, "\"one\""), two = strstr(list.data, "\"two\"");
        assert_true(one || two);
        for (int k = 0; k < 2; k++) {
            struct leat_backup_options check = options;
            check.name = k ? "two" : "one";
            if (k ? two : one) OK(leat_backup_verify(&w->env, &check, NULL, oops));
        }
        leat_buffer_deinit(&list);
        if (two) { /* whole before the kill: the next try finds the name taken, so it gets another */
            char *gone = leat_asprintf("rm -rf %s && mkdir %s", place, place);
            assert_int_equal(system(gone), 0);
            free(gone);
            options.name = "one";
            options.keep = 0;
            OK(leat_backup(&w->env, &options, NULL, oops));
            options.name = "two";
            options.keep = 1;
        }
    }
    assert_true(kills > 30);
    w->env.io = leat_io_real();
    reopen(w); /* and the project never minded */
    run(w);
    expect_text(w, COPIES, "a1 b2 late4");
    free(place);
    world_deinit(w);
}

/* Power is lost at each call of a backup and of a restore: what has backup.json is whole; what can be opened is as at the backup. */
static void power_lost_anywhere(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_sim_disk *disk;
    begin(w);
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_sim_disk_open(w->dir, &disk, oops));
    w->env.io = leat_sim_disk_io(disk);
    json_decref(backup(w, "kept", "one", 0));
    size_t made = leat_sim_disk_op_count(disk);
    OK(restore(w, "kept", "one", "again", oops));
    size_t ops = leat_sim_disk_op_count(disk);
    w->env.io = leat_io_real();
    char *image = leat_asprintf("%s-image", w->dir), *place = leat_asprintf("%s/kept", image), *target = leat_asprintf("%s/again", image);
    char *mark = leat_asprintf("%s/.leat/restoring", target), *done = leat_asprintf("%s/.leat/restored.json", target);
    uint64_t whole = 0, restored = 0;
    for (size_t at = 0; at <= ops; at += at + 3 > made && at < made + 3 ? 1 : at + 5 > ops ? 1 : 7) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            struct leat_backup_options options = {.project_dir = target, .place = place, .name = "one"};
            struct leat_error err;
            OK(leat_sim_disk_image(disk, at, seed, image, oops));
            enum leat_status st = leat_backup_verify(&w->env, &options, NULL, &err);
            assert_true(st == LEAT_OK || (st == LEAT_NOT_FOUND && at < made));
            whole += st == LEAT_OK;
            if (at < made || !leat_io_exists(w->env.io, done) || leat_io_exists(w->env.io, mark)) continue;
            restored++;
            char *project = w->project;
            w->project = leat_strdup(target);
            reopen(w);
            expect_text(w, COPIES, "a1 b2 late4");
            leat_engine_close(w->engine);
            w->engine = NULL;
            free(w->project);
            w->project = project;
        }
    }
    assert_true(whole > 10 && restored > 0);
    leat_sim_disk_close(disk);
    scratch_remove(image);
    free(image);
    free(place);
    free(target);
    free(mark);
    free(done);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_restored_goes_on), cmocka_unit_test(only_what_is_new_is_copied), cmocka_unit_test(damage_is_found),
        cmocka_unit_test(a_damaged_version_is_in_no_others_way),
        cmocka_unit_test(what_is_linked_is_copied_whole), cmocka_unit_test(nothing_is_left_of_what_was_cut_short),
        cmocka_unit_test(killed_anywhere),          cmocka_unit_test(power_lost_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
