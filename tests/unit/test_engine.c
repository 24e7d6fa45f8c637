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
#include "sql/duck.h"

static const char SOURCES[] =
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
    "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price INTEGER)\n"
    "WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n";

static void shop_init(struct world *w, const char *tables) {
    world_init(w, SOURCES, tables);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n2,blue,2\n", "w");
}

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

static volatile int stop;

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

static char *text_of(struct world *w, const char *sql) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    char *text = NULL;
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_engine_sql_views(w->engine, conn, oops));
    OK(leat_conn_text(conn, sql, &text, oops));
    leat_conn_close(conn);
    leat_duck_close(duck);
    return text;
}

static void expect_text(struct world *w, const char *sql, const char *expected) {
    char *text = text_of(w, sql);
    assert_string_equal(text, expected);
    free(text);
}

static const char MINUTES[] = "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                              "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n";

static void event(struct world *w, const char *id, int v, const char *time) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 %s\"}\n", id, v % 3, v, time);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

/* In a minute that is over: late. */
static void with_one_late(struct world *w, const char *tables) {
    shop_init(w, tables);
    event(w, "a", 1, "00:00:10");
    run(w);
    event(w, "b", 2, "00:05:00");
    run(w);
    event(w, "late", 4, "00:00:20");
    event(w, "c", 8, "00:05:10");
    run(w);
}

static void change_project(struct world *w, const char *tables) {
    put(w, "project.sql", SOURCES, "w");
    put(w, "project.sql", tables, "a");
    reopen(w);
}

#define ALL_OF(table) "SELECT string_agg(n || ':' || v, ' ' ORDER BY window_start) FROM " table

/* Rule 2: another query of the same name and source leaves out what was late, and nothing else; so does the query after it. */
static void a_changed_query_keeps_what_is_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_one_late(w, MINUTES);
    expect_text(w, ALL_OF("minutes"), "1:1 2:10");
    for (int i = 0; i < 2; i++) {
        change_project(w, i ? MINUTES
                            : "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '2' SECOND AS SELECT window_start, count(*) AS n, 10 * sum(v) AS v\n"
                              "FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
        run(w);
        expect_text(w, ALL_OF("minutes"), i ? "1:1 2:10" : "1:10 2:100");
        expect_text(w, "SELECT count(*) || ' at ' || min(_offset) FROM minutes__late", "1 at 2");
        expect_text(w, "SELECT count(*) FROM events", "4");
    }
    /* The watermark has not gone back. */
    event(w, "late again", 16, "00:00:30");
    run(w);
    expect_text(w, ALL_OF("minutes"), "1:1 2:10");
    expect_text(w, "SELECT count(*) FROM minutes__late", "2");
    reopen(w);
    expect_equal(w);
    world_deinit(w);
}

/* What was late for one table is not for a new one; both read the source, each its own records. */
static void a_new_table_has_nothing_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_one_late(w, MINUTES);
    char *both = leat_asprintf("%sCREATE MATERIALIZED TABLE twice FRESHNESS = INTERVAL '1' SECOND AS\n"
                               "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n",
                               MINUTES);
    change_project(w, both);
    free(both);
    for (int i = 0; i < 2; i++) {
        run(w);
        expect_text(w, ALL_OF("minutes"), "1:1 2:10");
        expect_text(w, ALL_OF("twice"), "2:5 2:10");
        reopen(w);
    }
    event(w, "late for both", 16, "00:00:30");
    run(w);
    expect_text(w, "SELECT (SELECT count(*) FROM minutes__late) || ' ' || (SELECT count(*) FROM twice__late)", "2 1");
    world_deinit(w);
}

/* A rebuild over many steps, stopped in the middle, with a checkpoint or without, knows what is late. */
static void a_rebuild_goes_on_where_it_was(void **state) {
    (void)state;
    struct world world, *w = &world;
    bool did;
    uint64_t got;
    with_one_late(w, MINUTES);
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        char *other = leat_asprintf("%sCREATE MATERIALIZED TABLE other%d FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events;\n", MINUTES, checkpoint);
        put(w, "project.sql", SOURCES, "w");
        put(w, "project.sql", other, "a");
        free(other);
        struct leat_engine_options options = {.project_dir = w->project, .max_step_rows = 1};
        struct leat_diagnostics diags = {0};
        leat_engine_close(w->engine);
        OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
        leat_diagnostics_deinit(&diags);
        OK(leat_engine_ingest(w->engine, &got, oops));
        for (int i = 0; i < 2; i++) OK(leat_engine_step(w->engine, true, &did, oops));
        OK(leat_engine_flush(w->engine, checkpoint, oops));
        expect_equal(w);
        reopen(w);
        run(w);
        expect_text(w, ALL_OF("minutes"), "1:1 2:10");
        expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    }
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_reference_read_twice),   cmocka_unit_test(computed_keys_survive_a_restart),
        cmocka_unit_test(a_rebuild_keeps_arrival_times),
        cmocka_unit_test(every_source_wakes),
        cmocka_unit_test(verify_knows_who_is_behind), cmocka_unit_test(verify_knows_what_is_closed),
        cmocka_unit_test(withheld_rows_are_told),     cmocka_unit_test(a_start_without_news_keeps_the_state),
        cmocka_unit_test(runs_have_a_row_balance),
        cmocka_unit_test(a_changed_query_keeps_what_is_late), cmocka_unit_test(a_new_table_has_nothing_late),
        cmocka_unit_test(a_rebuild_goes_on_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
