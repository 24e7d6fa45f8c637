/* A table that is read gets other columns: its Delta table is replaced, whose versions count anew. What its readers reflect is gone then, and the
 * lake alone says so where the work folder is lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#define SOURCE(MORE) \
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, ts TIMESTAMP NOT NULL" MORE ", WATERMARK FOR ts AS ts)\n" \
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
#define SECOND "FRESHNESS = INTERVAL '1' SECOND"
#define NIGHTLY "SCHEDULE CRON '0 2 * * *'"
#define ROWS(DIAL) "CREATE MATERIALIZED TABLE rows " DIAL " AS SELECT * FROM events;\n"
#define SUMS(DIAL) "CREATE MATERIALIZED TABLE sums " DIAL " AS SELECT k, count(*) AS n FROM rows GROUP BY k;\n"

static const char SUMS_TEXT[] = "SELECT string_agg(k || ':' || n, ' ' ORDER BY k) FROM sums";

static void event(struct world *w, int k) {
    char *line = leat_asprintf("{\"id\":\"a\",\"k\":%d,\"ts\":\"2026-01-01 00:00:00\",\"x\":7}\n", k);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void begin(struct world *w, const char *tables) {
    world_init(w, SOURCE(""), tables);
    event(w, 1);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    event(w, 2);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, SUMS_TEXT, "1:1 2:1");
}

static void change(struct world *w, const char *source, const char *tables) {
    put(w, "project.sql", source, "w");
    put(w, "project.sql", tables, "a");
    reopen(w);
}

/* Steps, and no runs. */
static void step_all(struct world *w) {
    uint64_t got;
    bool did = true;
    OK(leat_engine_ingest(w->engine, &got, oops));
    while (did) OK(leat_engine_step(w->engine, true, &did, oops));
    OK(leat_engine_flush(w->engine, false, oops));
}

static void lose(struct world *w) {
    reopen_without_work(w);
    step_all(w);
}

static void expect_verify(struct world *w, const char *line) {
    struct leat_buffer report = {0};
    uint64_t differing;
    OK(leat_engine_verify(w->engine, NULL, 5, &report, &differing, oops));
    if (differing || !strstr(report.data, line)) fail_msg("verify does not say '%s':\n%s", line, report.data);
    leat_buffer_deinit(&report);
}

/* Frontiers as they were before there were ids. */
static void forget_ids(struct world *w) {
    char *command = leat_asprintf("sed -i -E 's/(\\\\?)\"ids\\1\":\\{[^}]*\\},?//; s/,\\}/}/' %s/lake/*/_delta_log/*.json && ! grep -q ids %s/lake/sums/_delta_log/*.json",
                                  w->project, w->project);
    assert_int_equal(system(command), 0);
    free(command);
}

/* The numbers of the versions that were read are there again or not, of another table. */
static void of_a_run(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct world w;
        begin(&w, ROWS(SECOND) SUMS(NIGHTLY));
        if (way & 1) forget_ids(&w);
        change(&w, SOURCE(", x INTEGER"), ROWS(SECOND) SUMS(NIGHTLY));
        for (int i = 0; way & 2 && i < 3; i++) { /* past the version that was read */
            event(&w, 9);
            step_all(&w);
        }
        expect_verify(&w, "sums: not compared: it is to be run again");
        lose(&w);
        expect_verify(&w, "sums: not compared: it is to be run again");
        reopen(&w);
        expect_verify(&w, "sums: not compared: it is to be run again");
        event(&w, 2);
        run(&w);
        expect_text(&w, SUMS_TEXT, way & 2 ? "1:1 2:2 9:3" : "1:1 2:2");
        lose(&w); /* what it read is there: it can be compared, and waits for the night */
        expect_verify(&w, "sums: 0 differing rows");
        world_deinit(&w);
    }
}

/* A reader that turns to a schedule in the same change has content of a table that is replaced. */
static void of_what_turned(void **state) {
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct world w;
        begin(&w, ROWS(SECOND) SUMS(SECOND));
        if (way & 1) forget_ids(&w);
        change(&w, SOURCE(", x INTEGER"), way & 2 ? ROWS(NIGHTLY) SUMS(SECOND) : ROWS(SECOND) SUMS(NIGHTLY));
        expect_verify(&w, "sums: not compared: it is to be run again");
        lose(&w);
        expect_verify(&w, "sums: not compared: it is to be run again");
        event(&w, 2);
        OK(leat_engine_run_once(w.engine, way & 2, false, oops));
        expect_equal(&w);
        expect_text(&w, SUMS_TEXT, "1:1 2:2");
        world_deinit(&w);
    }
}

/* Where nothing was replaced the content says what it reflects, and is compared. */
static void of_tables_that_stay(void **state) {
    (void)state;
    struct world w;
    begin(&w, ROWS(SECOND) SUMS(SECOND));
    change(&w, SOURCE(""), ROWS(SECOND) SUMS(NIGHTLY));
    expect_equal(&w);
    reopen_without_work(&w);
    expect_verify(&w, "rows: not compared: it is made anew from bronze");
    expect_verify(&w, "sums: equal");
    step_all(&w);
    expect_equal(&w);
    event(&w, 3);
    run(&w);
    expect_text(&w, SUMS_TEXT, "1:1 2:1");
    world_deinit(&w);
}

#define QUERY(N) "SELECT k, count(*) + " N " AS n FROM rows GROUP BY k"
#define OF_QUERY(DIAL, N) ROWS(SECOND) "CREATE MATERIALIZED TABLE sums " DIAL " AS " QUERY(N) ";\n"
#define OF_VIEW(N, OTHER) \
    ROWS(SECOND) "CREATE VIEW counts AS " QUERY(N) ";\nCREATE VIEW doubles AS SELECT k, n FROM counts;\nCREATE VIEW other AS SELECT " OTHER " AS x FROM rows;\n" \
                 "CREATE MATERIALIZED TABLE sums " NIGHTLY " AS SELECT * FROM doubles;\n"

/* A scheduled table's query, or a view that it reads, is another, with the same columns; also as it turns to a schedule, and where the work folder is
 * lost before it has run. */
static void of_another_query(void **state) {
    (void)state;
    static const char *const CHANGES[][2] = {{OF_QUERY(NIGHTLY, "1"), OF_QUERY(NIGHTLY, "5")}, {OF_QUERY(SECOND, "1"), OF_QUERY(NIGHTLY, "5")},
                                             {OF_VIEW("1", "k"), OF_VIEW("5", "k")}};
    for (int way = 0; way < 6; way++) {
        struct world w;
        world_init(&w, SOURCE(""), CHANGES[way / 2][0]);
        event(&w, 1);
        OK(leat_engine_run_once(w.engine, true, false, oops));
        expect_text(&w, SUMS_TEXT, "1:2");
        change(&w, SOURCE(""), CHANGES[way / 2][1]);
        expect_verify(&w, "sums: not compared: it is to be run again");
        if (way % 2) lose(&w);
        expect_verify(&w, "sums: not compared: it is to be run again");
        run(&w);
        expect_text(&w, SUMS_TEXT, "1:6");
        world_deinit(&w);
    }
}

static void of_views_that_others_read(void **state) {
    (void)state;
    struct world w;
    world_init(&w, SOURCE(""), OF_VIEW("1", "k"));
    event(&w, 1);
    OK(leat_engine_run_once(w.engine, true, false, oops));
    change(&w, SOURCE(""), OF_VIEW("1", "k + 1"));
    expect_verify(&w, "sums: 0 differing rows");
    lose(&w);
    expect_verify(&w, "sums: 0 differing rows");
    world_deinit(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_a_run), cmocka_unit_test(of_what_turned), cmocka_unit_test(of_tables_that_stay),
                                       cmocka_unit_test(of_another_query), cmocka_unit_test(of_views_that_others_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
