/* A lost work folder: the lake is enough to go on, without a record twice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "connect/feed.h"
#include "engine_world.h"
#include "lake/delta.h"
#include "sql/duck.h"

static const char SOURCES[] =
    "CREATE SOURCE events (id VARCHAR NOT NULL, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) INCLUDE offset, partition, timestamp\n"
    "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n";
static const char TABLES[] =
    "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
    "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
    "CREATE MATERIALIZED TABLE copies FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v, \"partition\" AS p, \"offset\" AS o, \"timestamp\" AS t FROM events;\n"
    "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT count(*) AS n FROM events;\n";

static void event(struct world *w, const char *file, const char *id, int v, const char *time) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"v\":%d,\"ts\":\"2026-01-01 %s\"}\n", id, v, time);
    put(w, file, line, "a");
    free(line);
}

static uint64_t files_changed(struct world *w, const char *table) {
    char *sql = leat_asprintf("SELECT count(*) FROM glob('%s/lake/%s/*.parquet')", w->project, table), *text = text_of(w, sql);
    uint64_t n = strtoull(text, NULL, 10);
    free(text);
    free(sql);
    return n;
}

static void begin(struct world *w) {
    world_init(w, SOURCES, TABLES);
    event(w, "in/events1.ndjson", "a", 1, "00:00:10");
    event(w, "in/events2.ndjson", "b", 2, "00:05:00");
    put(w, "in/events2.ndjson", "broken\n", "a");
    run(w);
    event(w, "in/events2.ndjson", "late", 4, "00:00:20");
    event(w, "in/events2.ndjson", "c", 8, "00:05:10");
    event(w, "in/events3.ndjson", "d", 16, "00:05:20");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
}

static const char MINUTES_TEXT[] = "SELECT string_agg(n || ':' || v, ' ' ORDER BY window_start) FROM minutes";
static const char COPIES_TEXT[] = "SELECT string_agg(id || p || o, ' ' ORDER BY p, o) FROM copies";

/* Files go on where bronze ends, with their partitions; late stays late; tables whose content is right are not written again. */
static void the_lake_is_enough(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    uint64_t minutes = files_changed(w, "minutes"), copies = files_changed(w, "copies");
    for (int i = 0; i < 3; i++) {
        reopen_without_work(w);
        run(w);
        expect_text(w, MINUTES_TEXT, "1:1 3:26");
        expect_text(w, COPIES_TEXT, "a10 b20 late22 c23 d30");
        expect_text(w, "SELECT count(*) || ' ' || min(_offset) FROM minutes__late", "1 2");
        expect_text(w, "SELECT count(*) FROM events__dead", "1");
        expect_status(w, "\"balance\":{\"events\":{\"in\":6,\"admitted\":4,\"late\":1,\"dead\":1,\"exact\":true}}");
        assert_int_equal(files_changed(w, "minutes"), minutes);
        assert_int_equal(files_changed(w, "copies"), copies);
    }
    event(w, "in/events2.ndjson", "e", 32, "00:05:30");
    event(w, "in/events4.ndjson", "f", 64, "00:05:40");
    event(w, "in/events4.ndjson", "late too", 128, "00:00:40");
    for (int i = 0; i < 2; i++) {
        run(w);
        expect_text(w, COPIES_TEXT, "a10 b20 late22 c23 e24 d30 f40 late too41");
        reopen(w);
    }
    expect_text(w, MINUTES_TEXT, "1:1 5:122");
    expect_text(w, "SELECT count(*) FROM minutes__late", "2");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, "SELECT n FROM nightly", "8");
    world_deinit(w);
}

/* What only the lost log had is read again from the files: the same records. */
static void past_bronze_is_read_again(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    begin(w);
    event(w, "in/events1.ndjson", "x", 32, "00:05:30");
    event(w, "in/events2.ndjson", "y", 64, "00:05:40");
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops));
    reopen_without_work(w);
    run(w);
    expect_text(w, COPIES_TEXT, "a10 x11 b20 late22 c23 y24 d30");
    expect_text(w, MINUTES_TEXT, "1:1 5:122");
    world_deinit(w);
}

/* A file that has grown, and been copied, since. */
static void files_may_be_copies(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    char *from = leat_asprintf("%s/in/events2.ndjson", w->project), *to = leat_asprintf("%s/in/copy", w->project);
    leat_engine_close(w->engine);
    w->engine = NULL;
    struct leat_buffer text = {0};
    OK(leat_io_read_all(w->env.io, from, 1 << 20, &text, oops));
    put(w, "in/copy", text.data, "w");
    assert_int_equal(rename(to, from), 0);
    event(w, "in/events2.ndjson", "grown", 32, "00:05:30");
    reopen_without_work(w);
    run(w);
    expect_text(w, COPIES_TEXT, "a10 b20 late22 c23 grown24 d30");
    leat_buffer_deinit(&text);
    free(from);
    free(to);
    world_deinit(w);
}

static void feed(struct world *w, int from, int to) {
    struct leat_feed *feed;
    uint32_t number;
    char *state = leat_asprintf("%s/.leat/connector/events", w->project), *full = leat_asprintf("%s/fed.ndjson", w->project);
    put(w, "fed.ndjson", "{\"some\":\"line\"}\n", "w");
    OK(leat_feed_open(&w->env, state, &feed, oops));
    OK(leat_feed_file(feed, "fed.ndjson", full, &number, oops));
    for (int i = from; i < to; i++) {
        char *line = leat_asprintf("{\"id\":\"f%d\",\"v\":1,\"ts\":\"2026-01-01 00:06:00\"}", i);
        OK(leat_feed_add(feed, number, (uint64_t)i, line, strlen(line), oops));
        free(line);
    }
    OK(leat_feed_sync(feed, oops));
    leat_feed_close(feed);
    free(state);
    free(full);
}

/* Bronze keeps the identities of what was fed: feeding again adds only what is new. */
static void what_was_fed_is_known(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    feed(w, 0, 5);
    run(w);
    expect_text(w, "SELECT count(*) FROM events WHERE \"partition\" = 0", "5");
    for (int i = 0; i < 2; i++) {
        reopen_without_work(w);
        feed(w, 0, 6 + i);
        for (int k = 0; k < 2; k++) {
            run(w);
            expect_text(w, "SELECT count(*) || ' ' || max(\"offset\") FROM events WHERE \"partition\" = 0", i ? "7 6" : "6 5");
            expect_text(w, "SELECT count(*) FROM copies WHERE p = 0", i ? "7" : "6");
            reopen(w);
        }
    }
    world_deinit(w);
}

/* One lake, two work folders: not at once, and not in turn. */
static void two_work_folders(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    struct leat_engine *other = NULL;
    begin(w);
    char *work = leat_asprintf("%s/.other", w->project);
    struct leat_engine_options options = {.project_dir = w->project, .work_dir = work};
    assert_int_equal(leat_engine_open(&w->env, &options, &diags, &other, &err), LEAT_BUSY);
    assert_non_null(strstr(err.text, "another work folder"));
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_engine_open(&w->env, &options, &diags, &other, oops));
    event(w, "in/events1.ndjson", "x", 32, "00:05:30");
    OK(leat_engine_run_once(other, false, false, oops));
    leat_engine_close(other);
    options.work_dir = NULL;
    assert_int_equal(leat_engine_open(&w->env, &options, &diags, &other, &err), LEAT_CONFLICT);
    assert_non_null(strstr(err.text, "another work folder has written since"));
    leat_diagnostics_deinit(&diags);
    free(work);
    world_deinit(w);
}

/* Rule 3: records deleted from bronze are not erased from the tables by a rebuild, a restatement or a run. */
static void history_is_not_erased(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    struct leat_restate_options restate = {.reason = "test"};
    begin(w);
    /* As DELETE in another tool would: a version of bronze without its first file. */
    leat_engine_close(w->engine);
    w->engine = NULL;
    char *dir = leat_asprintf("%s/lake/bronze/events", w->project);
    struct leat_duck_options duck_options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_delta_snapshot now = {0};
    OK(leat_duck_open(&duck_options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_delta_snapshot(&w->env, conn, dir, -1, &now, oops));
    assert_true(now.file_count >= 2);
    char *commit = leat_asprintf("lake/bronze/events/_delta_log/%020lld.json", (long long)now.version + 1);
    char *remove = leat_asprintf("{\"commitInfo\":{\"timestamp\":1780000000000,\"operation\":\"DELETE\"}}\n"
                                 "{\"remove\":{\"path\":\"%s\",\"deletionTimestamp\":1780000000000,\"dataChange\":true}}\n", now.files[0].path);
    put(w, commit, remove, "w");
    leat_delta_snapshot_deinit(&now);
    leat_conn_close(conn);
    leat_duck_close(duck);
    reopen(w);
    event(w, "in/events1.ndjson", "x", 32, "00:05:30");
    OK(leat_engine_run_once(w->engine, true, false, oops)); /* steps go on; the nightly run fails and keeps its content */
    assert_int_equal(leat_engine_failed_runs(w->engine), 1);
    expect_text(w, "SELECT n FROM nightly", "5");
    expect_text(w, COPIES_TEXT, "a10 x11 b20 late22 c23 d30");
    reopen_without_work(w); /* the log, which still had them, is gone too */
    assert_int_equal(leat_engine_restate(w->engine, &restate, NULL, &err), LEAT_CORRUPT);
    assert_non_null(strstr(err.text, "somebody deleted"));
    assert_int_equal(leat_engine_run_once(w->engine, false, false, &err), LEAT_CORRUPT);
    assert_non_null(strstr(err.text, "somebody deleted"));
    char *now_text = text_of(w, "SELECT count(*) FROM copies");
    assert_string_equal(now_text, "6");
    free(now_text);
    free(commit);
    free(remove);
    free(dir);
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

static enum leat_status try_open(struct world *w, uint64_t step_rows, struct leat_error *err) {
    struct leat_engine_options options = {.project_dir = w->project, .max_step_rows = step_rows};
    struct leat_diagnostics diags = {0};
    leat_engine_close(w->engine);
    w->engine = NULL;
    enum leat_status st = leat_engine_open(&w->env, &options, &diags, &w->engine, err);
    leat_diagnostics_deinit(&diags);
    return st;
}

static void step_all(struct world *w) {
    bool did = true;
    uint64_t got;
    OK(leat_engine_ingest(w->engine, &got, oops));
    while (did) OK(leat_engine_step(w->engine, true, &did, oops));
}

static void shell(struct world *w, const char *format) {
    char *command = leat_asprintf(format, w->project, w->project);
    assert_int_equal(system(command), 0);
    free(command);
}


/* The log's end is damaged, and bronze does not have it yet: what the journal says was read is not there. */
static void the_end_of_the_log_is_damaged(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_error err = {0};
    world_init(w, SOURCES, TABLES);
    event(w, "in/events1.ndjson", "a", 1, "00:00:10");
    run(w);
    event(w, "in/events1.ndjson", "b", 2, "00:00:20");
    step_all(w);
    leat_engine_close(w->engine);
    w->engine = NULL;
    shell(w, "truncate -s -8 %s/.leat/log/events/*.log");
    assert_int_equal(try_open(w, 0, &err), LEAT_CORRUPT);
    assert_non_null(strstr(err.text, "the log ends at 1"));
    reopen_without_work(w); /* as it says */
    run(w);
    expect_text(w, "SELECT count(*) FROM copies", "2");
    world_deinit(w);
}

/* A copy of the work folder put back beside a lake that has gone on: tables would take its next steps for those that they have. */
static void a_copy_of_the_work_folder(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_error err = {0};
    uint64_t got;
    world_init(w, SOURCES, TABLES);
    OK(try_open(w, 1, oops));
    for (int i = 1; i < 4; i++) event(w, "in/events1.ndjson", "a", i, "00:00:10");
    OK(leat_engine_ingest(w->engine, &got, oops));
    shell(w, "cp -r %s/.leat %s/copy");
    step_all(w);
    OK(leat_engine_flush(w->engine, false, oops));
    leat_engine_close(w->engine);
    w->engine = NULL;
    shell(w, "cd %s; rm -r .leat; mv %s/copy .leat");
    assert_int_equal(try_open(w, 0, &err), LEAT_CONFLICT);
    reopen_without_work(w);
    event(w, "in/events1.ndjson", "a", 4, "00:00:10");
    run(w);
    expect_text(w, "SELECT count(*) FROM copies", "4");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lake_is_enough),    cmocka_unit_test(past_bronze_is_read_again), cmocka_unit_test(files_may_be_copies),
        cmocka_unit_test(what_was_fed_is_known), cmocka_unit_test(two_work_folders),
        cmocka_unit_test(history_is_not_erased), cmocka_unit_test(the_end_of_the_log_is_damaged),
        cmocka_unit_test(a_copy_of_the_work_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
