/* CONSTRAINT ... ON VIOLATION, continuous and scheduled alike: the table, its quarantine and the counts are those of the query's rows,
 * through retractions, restarts and rebuilds; FAIL UPDATE stops one table and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

static const char SOURCES[] = "CREATE SOURCE events (id VARCHAR NOT NULL, v BIGINT)\n"
                              "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n";

static char *tables(const char *constraints) {
    return leat_asprintf("CREATE MATERIALIZED TABLE kept %s FRESHNESS = INTERVAL '1' SECOND AS SELECT id, sum(v) AS v FROM events GROUP BY id;\n"
                         "CREATE MATERIALIZED TABLE nightly %s SCHEDULE CRON '0 2 * * *' AS SELECT id, sum(v) AS v FROM events GROUP BY id;\n"
                         "CREATE MATERIALIZED TABLE after FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM kept;\n"
                         "CREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM events;\n",
                         constraints, constraints);
}

static void begin(struct world *w, const char *constraints) {
    char *sql = tables(constraints);
    world_init(w, SOURCES, sql);
    free(sql);
}

static void event(struct world *w, const char *id, int v) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"v\":%d}\n", id, v);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void run_all(struct world *w) {
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
}

#define ROWS(table) "SELECT coalesce(string_agg(id || ' ' || v, ', ' ORDER BY id), '') FROM " table

static void expect_rows(struct world *w, const char *expected) {
    expect_text(w, ROWS("kept"), expected);
    expect_text(w, ROWS("nightly"), expected);
}

static void expect_quarantine(struct world *w, const char *expected) {
    expect_text(w, "SELECT coalesce(string_agg(id || ' ' || v || ' ' || _constraint, '; ' ORDER BY id), '') FROM kept__quarantine", expected);
    expect_text(w, "SELECT coalesce(string_agg(id || ' ' || v || ' ' || _constraint, '; ' ORDER BY id), '') FROM nightly__quarantine", expected);
}

static void rows_go_to_quarantine_and_back(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w, "(CONSTRAINT positive EXPECT (v > 0) ON VIOLATION DROP ROW, CONSTRAINT small EXPECT (v < 10) ON VIOLATION QUARANTINE,\n"
             " CONSTRAINT even EXPECT (v % 2 = 0) ON VIOLATION QUARANTINE)");
    event(w, "a", 2);
    event(w, "b", 11);
    event(w, "c", 12);
    event(w, "d", -3); /* dropped, not in quarantine */
    put(w, "in/events.ndjson", "{\"id\":\"e\"}\n", "a"); /* NULL passes */
    run_all(w);
    expect_rows(w, "a 2");
    expect_text(w, "SELECT count(*) FROM kept", "2");
    expect_quarantine(w, "b 11 small, even; c 12 small");
    expect_status(w, "\"violations\":{\"positive\":1,\"small\":2,\"even\":2},\"quarantined\":2,\"freshness_us\"");
    expect_status(w, "\"violations\":{\"positive\":1,\"small\":2,\"even\":2},\"quarantined\":2,\"runs\"");
    reopen(w);
    expect_status(w, "\"violations\":{\"positive\":1,\"small\":2,\"even\":2},\"quarantined\":2,\"freshness_us\"");
    expect_status(w, "\"violations\":{\"positive\":1,\"small\":2,\"even\":2},\"quarantined\":2,\"runs\"");
    event(w, "b", -3);
    event(w, "c", -13);
    event(w, "a", 1);
    run_all(w);
    expect_rows(w, "b 8");
    expect_quarantine(w, "a 3 even");
    OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    reopen(w);
    event(w, "a", 1);
    run_all(w);
    expect_rows(w, "a 4, b 8");
    expect_quarantine(w, "");
    expect_text(w, "SELECT n || ' ' || v FROM after", "3 12");
    world_deinit(w);
}

static void fail_update_stops_one_table(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w, "(CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE, CONSTRAINT even EXPECT (v % 2 = 0) ON VIOLATION QUARANTINE)");
    event(w, "a", 2);
    event(w, "b", 3);
    run_all(w);
    expect_rows(w, "a 2");
    for (int i = 0; i < 3; i++) {
        event(w, "c", -10);
        event(w, "a", 2);
        run_all(w);
        expect_rows(w, "a 2"); /* the last version */
        expect_quarantine(w, "b 3 even");
        expect_text(w, "SELECT n || ' ' || v FROM after", "1 2");
        expect_text(w, "SELECT n FROM other", i == 0 ? "4" : i == 1 ? "6" : "8");
        expect_status(w, "\"error\":\"CONSTRAINTpositiveONVIOLATIONFAILUPDATE:1rowviolatesEXPECT(v>0);");
        assert_int_equal(leat_engine_failed_runs(w->engine), 2);
        if (i == 1) OK(leat_engine_drain_and_checkpoint(w->engine, oops));
        reopen(w);
        expect_equal(w);
    }
    event(w, "c", 34); /* the row is well again */
    event(w, "b", 1);
    w->now_us += INT64_C(3600000000); /* past the back-off of the scheduled one */
    run_all(w);
    expect_rows(w, "a 8, b 4, c 4");
    expect_quarantine(w, "");
    expect_text(w, "SELECT n || ' ' || v FROM after", "3 16");
    assert_int_equal(leat_engine_failed_runs(w->engine), 0);
    world_deinit(w);
}

/* Made anew while rows violate: what was there stays to be read. */
static void a_rebuild_does_not_show_half(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w, "(CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE)");
    event(w, "a", 2);
    run_all(w);
    event(w, "c", -10);
    event(w, "a", 2);
    run_all(w);
    char *sql = tables("(CONSTRAINT positive EXPECT (v >= 0) ON VIOLATION FAIL UPDATE)");
    put(w, "project.sql", SOURCES, "w");
    put(w, "project.sql", sql, "a");
    free(sql);
    reopen(w);
    run_all(w);
    expect_rows(w, "a 2");
    reopen(w);
    run_all(w);
    expect_rows(w, "a 2");
    event(w, "c", 10);
    w->now_us += INT64_C(3600000000);
    run_all(w);
    expect_rows(w, "a 4, c 0");
    expect_text(w, "SELECT n || ' ' || v FROM after", "2 4");
    world_deinit(w);
}

/* What came before the first violation, and had not been committed, waits with the rest: in checkpoints too. */
static void what_waits_survives_a_checkpoint(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    begin(w, "(CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE, CONSTRAINT even EXPECT (v % 2 = 0) ON VIOLATION QUARANTINE)");
    event(w, "a", 2);
    event(w, "b", 3);
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops));
    event(w, "c", -10);
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    for (int i = 0; i < 2; i++) {
        reopen(w);
        run_all(w);
        expect_text(w, ROWS("kept"), "");
        OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    }
    event(w, "c", 12);
    w->now_us += INT64_C(3600000000);
    run_all(w);
    expect_rows(w, "a 2, c 2");
    expect_quarantine(w, "b 3 even");
    reopen(w);
    run_all(w);
    expect_rows(w, "a 2, c 2");
    expect_text(w, "SELECT n || ' ' || v FROM after", "2 4");
    world_deinit(w);
}

/* A table made anew that reads one that waits, and has a sink, waits too; the records that end the violation are read none the less. */
static void a_sink_below_waits_with_it(void **state) {
    (void)state;
    static const char *const when[] = {"SCHEDULE CRON '0 2 * * *'", "FRESHNESS = INTERVAL '1' SECOND"};
    struct world world, *w = &world;
    for (int i = 0; i < 2; i++) {
        char *sql = leat_asprintf("CREATE MATERIALIZED TABLE kept (CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE) FRESHNESS = INTERVAL '1' DAY AS\n"
                                  "SELECT id, sum(v) AS v FROM events GROUP BY id;\n"
                                  "CREATE MATERIALIZED TABLE after %s AS SELECT * FROM kept;\n"
                                  "CREATE SINK told FROM after WITH (connector = 'file', path = 'told.out', on_retract = 'send', start = 'snapshot');\n", when[i]);
        if (i == 0) world_init(w, SOURCES, sql);
        put(w, "project.sql", SOURCES, "w");
        put(w, "project.sql", sql, "a");
        free(sql);
        if (i == 1) reopen(w);
        event(w, "c", i == 0 ? -10 : 11);
        OK(leat_engine_run_once(w->engine, false, false, oops)); /* the scheduled one is not run */
    }
    expect_text(w, ROWS("after"), "c 1");
    expect_equal(w);
    char *told = leat_asprintf("SELECT count(*) FROM read_json('%s/told.out')", w->project);
    expect_text(w, told, "1");
    free(told);
    world_deinit(w);
}

/* A table that was committed before the one it reads had begun is not ahead of it when that one waits, through restarts and checkpoints. */
static void a_reader_is_not_ahead_of_what_waits(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    world_init(w, SOURCES,
               "CREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM events;\n"
               "CREATE MATERIALIZED TABLE kept (CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE) FRESHNESS = INTERVAL '7' SECOND AS\n"
               "SELECT id, sum(v) AS v FROM events GROUP BY id;\n"
               "CREATE MATERIALIZED TABLE after (CONSTRAINT few EXPECT (v < 50) ON VIOLATION QUARANTINE) FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM kept;\n"
               "CREATE SINK told FROM other WITH (connector = 'file', path = 'told.out', on_retract = 'send', start = 'snapshot');\n");
    event(w, "a", 2);
    event(w, "b", 60);
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops)); /* the sink's table is caught up: a commit before kept has begun */
    event(w, "c", -10);
    run_all(w);
    for (int i = 0; i < 3; i++) {
        expect_text(w, ROWS("kept"), "");
        expect_text(w, ROWS("after"), "");
        expect_text(w, "SELECT count(*) FROM after__quarantine", "0");
        if (i == 1) OK(leat_engine_drain_and_checkpoint(w->engine, oops));
        reopen(w);
        expect_equal(w);
    }
    event(w, "c", 12);
    run_all(w);
    expect_text(w, ROWS("kept"), "a 2, b 60, c 2");
    expect_text(w, ROWS("after"), "a 2, c 2");
    expect_text(w, "SELECT id FROM after__quarantine", "b");
    reopen(w);
    run_all(w);
    expect_text(w, ROWS("after"), "a 2, c 2");
    world_deinit(w);
}

/* A late record that would violate stays late; tables of another freshness take theirs in. */
static void late_records_that_violate_stay_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer out = {0};
    const struct leat_restate_options options = {.reason = "to see"};
    world_init(w, "CREATE SOURCE timed (id VARCHAR NOT NULL, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) WITH (connector = 'file', path = 'in/timed.ndjson', format = 'json');\n",
               "CREATE MATERIALIZED TABLE strict (CONSTRAINT positive EXPECT (v > 0) ON VIOLATION FAIL UPDATE) FRESHNESS = INTERVAL '1' SECOND AS\n"
               "SELECT window_start, min(v) AS v FROM TUMBLE(timed, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
               "CREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '2' SECOND AS SELECT window_start, sum(v) AS v FROM TUMBLE(timed, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
    put(w, "in/timed.ndjson", "{\"id\":\"a\",\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n{\"id\":\"b\",\"v\":2,\"ts\":\"2026-01-01 00:10:00\"}\n", "w");
    run_all(w);
    put(w, "in/timed.ndjson", "{\"id\":\"late\",\"v\":-5,\"ts\":\"2026-01-01 00:00:30\"}\n", "a");
    run_all(w);
    for (int i = 0; i < 2; i++) {
        OK(leat_engine_restate(w->engine, &options, &out, oops));
        expect_equal(w);
        expect_text(w, "SELECT string_agg(v, ' ' ORDER BY window_start) FROM strict", "1 2");
        expect_text(w, "SELECT string_agg(v, ' ' ORDER BY window_start) FROM other", "-4 2");
        expect_text(w, "SELECT (SELECT count(*) FROM strict__late) || ' ' || (SELECT count(*) FROM other__late)", "1 0");
        reopen(w);
    }
    leat_buffer_deinit(&out);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_go_to_quarantine_and_back),
        cmocka_unit_test(fail_update_stops_one_table),
        cmocka_unit_test(a_rebuild_does_not_show_half),
        cmocka_unit_test(what_waits_survives_a_checkpoint),
        cmocka_unit_test(a_sink_below_waits_with_it),
        cmocka_unit_test(a_reader_is_not_ahead_of_what_waits),
        cmocka_unit_test(late_records_that_violate_stay_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
