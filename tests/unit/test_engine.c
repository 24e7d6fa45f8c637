/* The engine over small projects: what only shows when operators, groups and restarts meet; each answer is verify's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "engine_world.h"

/* Both joins read the same changes of the reference, each other columns of them. */
static void one_reference_read_twice(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE named FRESHNESS = INTERVAL '1' SECOND AS\n"
                  "SELECT e.id, t.cat FROM events e LEFT JOIN things t ON t.k = e.k WHERE e.v IN (SELECT k FROM things);\n"
                  "CREATE MATERIALIZED TABLE priced FRESHNESS = INTERVAL '1' SECOND AS\n"
                  "SELECT * FROM events WHERE v > (SELECT count(*) FROM things WHERE cat = 'red') AND k IN (SELECT k FROM things);\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":2,\"ts\":\"2026-01-01 00:00:00\"}\n{\"id\":\"b\",\"k\":2,\"v\":1,\"ts\":\"2026-01-01 00:00:01\"}\n", "a");
    run(w);
    put(w, "in/things.csv", "k,cat,price\n2,red,1\n3,a longer category name,2\n", "w");
    run(w);
    put(w, "in/things.csv", "k,cat,price\n1,red,7\n2,a longer category name,1\n", "w");
    run(w);
    world_deinit(w);
}

/* EXISTS joins on two computed columns; a checkpoint must not mix them up. */
static void computed_keys_survive_a_restart(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE known FRESHNESS = INTERVAL '1' SECOND AS\n"
                  "SELECT id, v FROM events e WHERE EXISTS (SELECT 1 FROM things t WHERE t.k = e.v);\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":3,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(w);
    reopen(w);
    put(w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"v\":0,\"ts\":\"2026-01-01 00:00:01\"}\n", "a");
    put(w, "in/things.csv", "k,cat,price\n0,red,1\n", "w");
    run(w);
    world_deinit(w);
}

/* The log keeps the newest records; those before come back from bronze, each with the arrival it had. */
static void a_rebuild_keeps_arrival_times(void **state) {
    (void)state;
    enum { WIDTH = 20000 };
    struct world world, *w = &world;
    char *wide = malloc(WIDTH + 1);
    memset(wide, 'x', WIDTH);
    wide[WIDTH] = '\0';
    shop_init(w, "CREATE SOURCE timed (id INTEGER) INCLUDE timestamp WITH (connector = 'file', path = 'in/timed.ndjson', format = 'json');\n"
                  "SET segment_size = 16384;\nSET checkpoint_records = 1;\n"
                  "CREATE MATERIALIZED TABLE arrived FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM timed;\n");
    for (int i = 0; i < 8; i++) {
        char *line = leat_asprintf("{\"id\":%d,\"wide\":\"%s\"}\n", i, wide);
        put(w, "in/timed.ndjson", line, "a");
        free(line);
        run(w);
    }
    put(w, "project.sql", "CREATE MATERIALIZED TABLE counted FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM timed;\n", "a");
    reopen(w);
    run(w);
    world_deinit(w);
    free(wide);
}

static atomic_int stop;

static void *stop_by_the_last_source(void *context) {
    struct world *w = context;
    usleep(300000); /* the engine is asleep then, or the test shows nothing */
    stop = 1;
    put(w, "in19/a.ndjson", "{\"id\":1}\n", "a");
    return NULL;
}

/* Each source's descriptor ends the sleep, however many there are. (If one does not, this does not end.) */
static void every_source_wakes(void **state) {
    (void)state;
    struct world world, *w = &world;
    pthread_t thread;
    struct leat_buffer sources = {0};
    for (int i = 0; i < 20; i++)
        leat_putf(&sources, "CREATE SOURCE many%d (id INTEGER) WITH (connector = 'file', path = 'in%d/*.ndjson', format = 'json');\n", i, i);
    world_init(w, sources.data, "CREATE MATERIALIZED TABLE counted FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM many19;\n");
    leat_buffer_deinit(&sources);
    for (int i = 0; i < 20; i++) {
        char *folder = leat_asprintf("%s/in%d", w->project, i);
        OK(leat_io_mkdirs(w->env.io, folder, oops));
        free(folder);
    }
    w->env.clock = leat_clock_real();
    reopen(w);
    stop = 0;
    assert_int_equal(pthread_create(&thread, NULL, stop_by_the_last_source, w), 0);
    OK(leat_engine_run(w->engine, &stop, oops));
    assert_int_equal(pthread_join(thread, NULL), 0);
    expect_equal(w);
    world_deinit(w);
}

/* The slower group has not yet taken what the faster one has published. */
static void verify_knows_who_is_behind(void **state) {
    (void)state;
    struct world world, *w = &world;
    bool did;
    uint64_t got;
    shop_init(w, "CREATE MATERIALIZED TABLE by_key FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n"
                  "CREATE MATERIALIZED TABLE by_count FRESHNESS = INTERVAL '1' HOUR AS SELECT n, count(*) AS m FROM by_key GROUP BY n;\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(w);
    for (int i = 0; i < 3; i++) {
        put(w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"ts\":\"2026-01-01 00:00:00\"}\n{\"id\":\"b\",\"k\":2,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
        OK(leat_engine_ingest(w->engine, &got, oops));
        OK(leat_engine_step(w->engine, false, &did, oops));
        expect_equal(w);
    }
    world_deinit(w);
}

/* Before its window closes a row is in the query's answer, but not yet the table's. */
static void verify_knows_what_is_closed(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE closed FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                  "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(w);
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"ts\":\"2026-01-01 00:02:00\"}\n", "a");
    run(w);
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"ts\":\"2026-01-01 00:03:00\"}\n", "a");
    run(w);
    world_deinit(w);
}

/* A key whose value raises is left out; verify says that there is nothing to compare with. */
static void withheld_rows_are_told(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer report = {0};
    uint64_t differing;
    shop_init(w, "CREATE MATERIALIZED TABLE numbers FRESHNESS = INTERVAL '1' SECOND AS\n"
                  "SELECT k, CAST(m AS INTEGER) AS m FROM (SELECT k, max(id) AS m FROM events GROUP BY k);\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"ts\":\"2026-01-01 00:00:00\"}\n{\"id\":\"1\",\"k\":2,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    OK(leat_engine_verify(w->engine, NULL, 5, &report, &differing, oops));
    assert_int_equal(differing, 0);
    assert_non_null(strstr(report.data, "not compared"));
    leat_buffer_deinit(&report);
    world_deinit(w);
}

/* The first stop leaves steps to the journal; the second, without a step of its own, must save what those steps made. */
static void a_start_without_news_keeps_the_state(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer status = {0};
    shop_init(w, "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v FROM events GROUP BY k;\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":2,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(w);
    for (int i = 0; i < 3; i++) {
        reopen(w);
        expect_equal(w);
        run(w);
    }
    OK(leat_engine_status(w->engine, &status, oops));
    assert_non_null(strstr(status.data, "\"steps\": 1"));
    assert_non_null(strstr(status.data, "\"in\": 1"));
    leat_buffer_deinit(&status);
    world_deinit(w);
}

/* A scheduled and a full table: of what bronze held at the run, what is undecodable and what the table's expressions fail on. */
static void runs_have_a_row_balance(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT k, sum(v) AS v FROM events GROUP BY k;\n"
                  "CREATE MATERIALIZED TABLE numbers SCHEDULE CRON '0 2 * * *' AS SELECT k, CAST(id AS INTEGER) AS n FROM events;\n"
                  "CREATE MATERIALIZED TABLE newest FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events ORDER BY ts LIMIT 3;\n");
    put(w, "in/events.ndjson", "{\"id\":\"1\",\"k\":1,\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\nbroken\n{\"id\":\"x\",\"k\":2,\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    const char *const nightly = "\"balance\":{\"events\":{\"in\":3,\"admitted\":2,\"late\":0,\"dead\":1,\"exact\":true}}";
    const char *const numbers = "\"balance\":{\"events\":{\"in\":3,\"admitted\":1,\"late\":0,\"dead\":2,\"exact\":true}}";
    for (int i = 0; i < 2; i++) {
        expect_status(w, nightly);
        expect_status(w, numbers);
        reopen(w);
    }
    put(w, "in/events.ndjson", "{\"id\":\"2\",\"k\":1,\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(w); /* the nightly ones are not due: their balance is that of their version */
    expect_status(w, nightly);
    expect_status(w, numbers);
    expect_status(w, "\"balance\":{\"events\":{\"in\":4,\"admitted\":3,\"late\":0,\"dead\":1,\"exact\":true}}");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE copy FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events;\n", "a");
    reopen(w); /* all continuous tables are made anew; what the runs left stays */
    run(w);
    expect_status(w, nightly);
    world_deinit(w);
}

/* Sums of HUGEINT, where a part of the sum does not fit but the sum does: as a stream, by recomputation and in a run. */
static void sums_that_fit_in_the_end(void **state) {
    (void)state;
    struct world world, *w = &world;
#define BIG "CAST(v AS HUGEINT) * 90000000000000000000000000000000000000"
    shop_init(w, "CREATE MATERIALIZED TABLE stream FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(" BIG ") AS s, sum(CAST(v AS HUGEINT)) AS n FROM events GROUP BY k;\n"
                 "CREATE MATERIALIZED TABLE windows FRESHNESS = INTERVAL '1' SECOND AS SELECT id, sum(" BIG ") OVER (PARTITION BY k) AS s FROM events;\n"
                 "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT k, sum(" BIG ") AS s FROM events GROUP BY k;\n");
    const int values[] = {1, 1, -1};
    for (int i = 0; i < 3; i++) {
        char *line = leat_asprintf("{\"id\":\"%d\",\"k\":1,\"v\":%d,\"ts\":\"2026-01-01 00:00:00\"}\n", i, values[i]);
        put(w, "in/events.ndjson", line, "a");
        free(line);
    }
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    assert_int_equal(leat_engine_failed_runs(w->engine), 0);
    put(w, "in/events.ndjson", "{\"id\":\"x\",\"k\":1,\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a"); /* 1.8 * 10^38 does not fit */
    OK(leat_engine_run_once(w->engine, true, false, oops));
    assert_int_equal(leat_engine_failed_runs(w->engine), 1);
    world_deinit(w);
}

/* Steps of a record each: the journal would reach its limit before there are records enough for a checkpoint. */
static void a_long_journal_is_begun_anew(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    world_init(w, "CREATE SOURCE events (v INTEGER) WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n",
               "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT sum(v) AS v FROM events;\n");
    struct leat_engine_options options = {.project_dir = w->project, .max_step_rows = 1, .journal_due_bytes = 4096};
    for (int i = 0; i < 100; i++) put(w, "in/events.ndjson", "{\"v\":1}\n", "a");
    leat_engine_close(w->engine);
    OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
    OK(leat_engine_run_once(w->engine, true, false, oops));
    char *command = leat_asprintf("test $(cat %s/.leat/journal/* | grep -c '\"t\":\"step\"') -lt 60", w->project);
    assert_int_equal(system(command), 0);
    free(command);
    reopen(w);
    expect_equal(w);
    expect_text(w, "SELECT v FROM sums", "100");
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

/* 128 bits hold numbers of 39 digits, the lake 38: such a row is a dead letter, and the others are written. */
static void numbers_longer_than_the_lake_has(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE huge FRESHNESS = INTERVAL '1' SECOND AS SELECT id, CAST(v AS HUGEINT) * 50000000000000000000000000000000000000 AS h FROM events;\n");
    const int values[] = {1, 2, -2, 3, -1};
    for (int i = 0; i < 5; i++) {
        char *line = leat_asprintf("{\"id\":\"%d\",\"k\":1,\"v\":%d,\"ts\":\"2026-01-01 00:00:00\"}\n", i, values[i]);
        put(w, "in/events.ndjson", line, "a");
        free(line);
    }
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_status(w, "\"balance\":{\"events\":{\"in\":5,\"admitted\":2,\"late\":0,\"dead\":3,\"exact\":true}}");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_reference_read_twice),   cmocka_unit_test(computed_keys_survive_a_restart),
        cmocka_unit_test(a_rebuild_keeps_arrival_times),
        cmocka_unit_test(every_source_wakes),
        cmocka_unit_test(a_long_journal_is_begun_anew),
        cmocka_unit_test(verify_knows_who_is_behind), cmocka_unit_test(verify_knows_what_is_closed),
        cmocka_unit_test(withheld_rows_are_told),     cmocka_unit_test(a_start_without_news_keeps_the_state),
        cmocka_unit_test(runs_have_a_row_balance),     cmocka_unit_test(sums_that_fit_in_the_end),
        cmocka_unit_test(numbers_longer_than_the_lake_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
