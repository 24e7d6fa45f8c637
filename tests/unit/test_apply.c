/* A change of the project, killed at each of its last calls to the disk; then a second change. (tests/dial does this at length.) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "sim/kill.h"

static enum leat_status alter(struct world *w, const char *sql, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    enum leat_status st = leat_engine_alter(w->engine, sql, false, &diags, NULL, err);
    leat_diagnostics_deinit(&diags);
    return st;
}

/* Suspends the only table, so that no step follows, the process being killed after so many calls. True if it was. */
static bool suspend(uint64_t calls, uint64_t *made) {
    struct world w;
    world_init(&w, shop_sources, "");
    leat_engine_close(w.engine);
    w.engine = NULL;
    w.env.io = leat_io_killable();
    leat_io_kill_after(UINT64_MAX);
    put(&w, "project.sql", "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT ON (k) k, v FROM events ORDER BY k, v;\n", "a");
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01 00:00:00\"}\n", "w");
    reopen(&w);
    run(&w);
    leat_io_kill_after(calls);
    struct leat_error err;
    enum leat_status st = alter(&w, "ALTER MATERIALIZED TABLE t SUSPEND", &err);
    bool killed = leat_io_killed();
    *made = leat_io_kill_calls();
    leat_io_kill_after(UINT64_MAX);
    assert_true(killed || st == LEAT_OK);
    if (killed) {
        reopen(&w);
        /* The second change finds the operators where the first has left them. */
        OK(alter(&w, "ALTER MATERIALIZED TABLE t SET FRESHNESS = INTERVAL '10' SECOND", oops));
        OK(alter(&w, "ALTER MATERIALIZED TABLE t RESUME", oops));
        put(&w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"v\":5,\"ts\":\"2026-01-01 00:00:01\"}\n", "a");
        run(&w);
        expect_text(&w, "SELECT concat(k, ' ', v) FROM t", "1 5");
    }
    world_deinit(&w);
    return killed;
}

static void a_change_after_one_that_was_killed(void **state) {
    (void)state;
    uint64_t calls, ignored;
    assert_false(suspend(UINT64_MAX, &calls));
    for (uint64_t after = calls * 3 / 4; after < calls; after += 4) suspend(after, &ignored);
}

/* What becomes of a scheduled table is said: one that asks otherwise does not wait for its time. */
static void a_scheduled_table_that_asks_otherwise(void **state) {
    (void)state;
    static const char night[] = "CREATE MATERIALIZED TABLE night SCHEDULE CRON '0 2 * * *' AS SELECT k FROM seen;\n";
    struct world w;
    struct leat_diagnostics diags = {0};
    struct leat_buffer out = {0};
    shop_init(&w, "CREATE VIEW seen AS SELECT k FROM events;\n");
    put(&w, "night.sql", night, "w");
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    reopen(&w);
    OK(leat_engine_run_once(w.engine, true, false, oops));
    static const char *const fates[] = {"batch", "again", "again", "batch"};
    for (size_t i = 0; i < 4; i++) {
        const struct leat_change change = {.dry_run = i < 2};
        char *said = leat_asprintf("\"night\",\n   \"fate\": \"%s\"", fates[i]);
        if (i == 1) put(&w, "night.sql", "CREATE MATERIALIZED TABLE night SCHEDULE CRON '0 2 * * *' AS SELECT k + 1 AS k FROM seen;\n", "w");
        OK(leat_engine_apply(w.engine, &change, &diags, &out, oops));
        if (!strstr(out.data, said)) fail_msg("%zu: %s", i, out.data);
        leat_buffer_reset(&out);
        free(said);
    }
    run(&w);
    expect_text(&w, "SELECT k FROM night", "2");
    leat_buffer_deinit(&out);
    leat_diagnostics_deinit(&diags);
    world_deinit(&w);
}

/* A table that stays as it is reads on from where it was: history is not read again, which here is not even there. */
static void tables_that_stay_do_not_read_history_again(void **state) {
    (void)state;
    struct world w;
    shop_init(&w, "CREATE MATERIALIZED TABLE sums (PRIMARY KEY (k)) FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v)::BIGINT AS v FROM events GROUP BY k;\n");
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    run(&w);
    OK(leat_engine_drain_and_checkpoint(w.engine, oops));
    put(&w, "night.sql", "CREATE MATERIALIZED TABLE night SCHEDULE CRON '0 2 * * *' AS SELECT * FROM sums;\n", "w");
    reopen(&w);
    char *command = leat_asprintf("rm %s/lake/bronze/events/*.parquet", w.project);
    assert_int_equal(system(command), 0);
    free(command);
    put(&w, "in/events.ndjson", "{\"id\":\"b\",\"k\":2,\"v\":1,\"ts\":\"2026-01-01T00:00:01\"}\n", "a");
    uint64_t got;
    bool did;
    OK(leat_engine_ingest(w.engine, &got, oops));
    assert_int_equal(got, 1);
    OK(leat_engine_step(w.engine, true, &did, oops));
    OK(leat_engine_flush(w.engine, false, oops));
    expect_status(&w, "\"name\":\"sums\",\"kept\":\"incremental\",\"class\":3,\"rows\":2,");
    world_deinit(&w);
}

#define ONCE "CREATE SOURCE prices (k INTEGER PRIMARY KEY, price INTEGER) WITH (connector = 'file', path = 'in/prices.csv', format = 'csv');\n"
#define COUNTS "CREATE MATERIALIZED TABLE counts FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n"
#define PRICED "CREATE MATERIALIZED TABLE priced FRESHNESS = INTERVAL '7' SECOND AS SELECT k, n, price FROM counts LEFT JOIN prices USING (k);\n"

static void count_one(struct world *w) {
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    OK(leat_engine_run_once(w->engine, true, false, oops));
}

/* A table that cannot begin, since a reference is not there yet, does not keep the others from being saved; and what it has not seen of them
 * is there when it begins. */
static void beside_a_table_that_waits(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct world world, *w = &world;
        struct leat_diagnostics diags = {0};
        const struct leat_change files = {0};
        shop_init(w, ONCE COUNTS PRICED);
        count_one(w);
        OK(leat_engine_drain_and_checkpoint(w->engine, oops));
        count_one(w);
        if (way == 2) { /* the table goes, in place */
            put(w, "project.sql", shop_sources, "w");
            put(w, "project.sql", COUNTS, "a");
            OK(leat_engine_apply(w->engine, &files, &diags, NULL, oops));
        } else {
            OK(leat_engine_drain_and_checkpoint(w->engine, oops));
            if (way) reopen(w);
            put(w, "in/prices.csv", "k,price\n1,5\n", "w");
        }
        count_one(w);
        expect_equal(w);
        expect_text(w, "SELECT n FROM counts", "3");
        if (way != 2) expect_text(w, "SELECT n || ' ' || price FROM priced", "3 5");
        leat_diagnostics_deinit(&diags);
        world_deinit(w);
    }
}

static void write_columns(struct world *w, const char *time, const char *name) {
    char *text = leat_asprintf("CREATE SOURCE events (id BIGINT, ts %s) WITH (connector = 'file', path = 'in/events.ndjson');\n"
                               "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT id AS %s, ts FROM events;\n"
                               "CREATE MATERIALIZED TABLE counted FRESHNESS = INTERVAL '1' SECOND AS SELECT ts, count(*) AS n FROM t GROUP BY ts;\n"
                               "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT ts FROM events;\n", time, name);
    put(w, "project.sql", text, "w");
    free(text);
}

/* A column that only has another name, or can have no NULL any more, makes the table another in the lake: it has all rows there, not those to come alone. */
static void other_columns_of_the_same_rows(void **state) {
    (void)state;
    static const char *const ways[][2] = {{"TIMESTAMP", "b"}, {"TIMESTAMP NOT NULL", "a"}, {"TIMESTAMP NOT NULL", "b"}};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++)
        for (int restart = 0; restart < 2; restart++) {
            struct world world, *w = &world;
            struct leat_diagnostics diags = {0};
            const struct leat_change files = {0};
            world_init(w, "", "");
            write_columns(w, "TIMESTAMP", "a");
            put(w, "in/events.ndjson", "{\"id\":1,\"ts\":\"2026-01-01 00:00:00\"}\n{\"id\":2,\"ts\":\"2026-01-01 00:00:00\"}\n", "w");
            reopen(w);
            OK(leat_engine_run_once(w->engine, true, false, oops));
            write_columns(w, ways[way][0], ways[way][1]);
            if (restart)
                reopen(w);
            else
                OK(leat_engine_apply(w->engine, &files, &diags, NULL, oops));
            run(w);
            char *sql = leat_asprintf("SELECT string_agg(%s, ' ' ORDER BY ALL) FROM t", ways[way][1]);
            expect_text(w, sql, "1 2");
            free(sql);
            expect_text(w, "SELECT count(*) FROM nightly", "2");
            put(w, "in/events.ndjson", "{\"id\":3,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
            run(w);
            expect_text(w, "SELECT count(*) FROM t", "3");
            expect_text(w, "SELECT n FROM counted", "3");
            expect_equal(w);
            leat_diagnostics_deinit(&diags);
            world_deinit(w);
        }
}

/* Records that are read back from bronze, here behind a lost work folder, have been there before: tables are not late by their age. */
static void history_is_no_delay(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n");
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":1,\"ts\":\"2026-03-01 00:00:00\"}\n", "a");
    run(w);
    expect_status(w, "\"tables\":[\"t\"],\"steps\":1,");
    reopen_without_work(w);
    run(w);
    expect_text(w, "SELECT n FROM t", "1");
    expect_status(w, "\"tables\":[\"t\"],\"steps\":0,\"met\":0");
    world_deinit(w);
}

/* A table made anew reads a table that stays, and has an operator in common with it: what that gives is not read besides the content. */
static void an_operator_in_common(void **state) {
    (void)state;
    static const char *const STAYS[] = {"SELECT * FROM firsts", "SELECT k, count(*) AS id FROM firsts GROUP BY k"};
    for (int way = 0; way < 2; way++) {
        struct world w;
        const char *stays = STAYS[way];
        char *tables = leat_asprintf("CREATE MATERIALIZED TABLE firsts FRESHNESS = INTERVAL '1' SECOND AS SELECT id, k FROM events;\n"
                                     "CREATE MATERIALIZED TABLE stays FRESHNESS = INTERVAL '1' SECOND AS %s;\n", stays);
        shop_init(&w, tables);
        for (int i = 0; i < 2; i++) put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
        OK(leat_engine_run_once(w.engine, true, false, oops));
        char *pairs = leat_asprintf("CREATE MATERIALIZED TABLE pairs FRESHNESS = INTERVAL '1' SECOND AS SELECT s.k, count(*) AS n, max(f.id) AS id\n"
                                    "FROM stays s JOIN (%s) f ON s.k = f.k GROUP BY s.k;\n", stays);
        put(&w, "pairs.sql", pairs, "w");
        reopen(&w);
        expect_equal(&w);
        expect_text(&w, "SELECT n FROM pairs", way ? "1" : "4");
        put(&w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:01\"}\n", "a");
        run(&w);
        expect_text(&w, "SELECT n FROM pairs", way ? "1" : "9");
        free(pairs);
        free(tables);
        world_deinit(&w);
    }
}

/* What reads no source is shared by tables of one freshness, also by those that resume: from where each was suspended, whatever the others have seen. */
static void what_resumes_shares_with_others(void **state) {
    (void)state;
    struct world w;
    shop_init(&w, "CREATE MATERIALIZED TABLE of FRESHNESS = INTERVAL '7' SECOND AS SELECT * FROM events;\n"
                  "CREATE VIEW counted AS SELECT k, count(*) AS n FROM of GROUP BY k;\n"
                  "CREATE MATERIALIZED TABLE stays FRESHNESS = INTERVAL '1' SECOND AS SELECT e.id, c.n FROM events e JOIN counted c ON c.k = e.k;\n"
                  "CREATE MATERIALIZED TABLE away FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM counted;\n"
                  "CREATE MATERIALIZED TABLE later FRESHNESS = INTERVAL '1' SECOND AS SELECT n, k FROM counted;\n");
    static const char *const changes[] = {"away SUSPEND", "later SUSPEND", "away RESUME", "later RESUME"};
    for (int i = 0; i <= 4; i++) {
        char *line = leat_asprintf("{\"id\":\"e%d\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01 00:00:00\"}\n", i);
        put(&w, "in/events.ndjson", line, "a");
        free(line);
        run(&w);
        char *sql = leat_asprintf("ALTER MATERIALIZED TABLE %s", i < 4 ? changes[i] : "stays SET FRESHNESS = INTERVAL '2' SECOND");
        OK(alter(&w, sql, oops));
        free(sql);
        expect_equal(&w);
    }
    put(&w, "in/events.ndjson", "{\"id\":\"last\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    run(&w);
    reopen(&w);
    run(&w);
    expect_text(&w, "SELECT count(*) || ' ' || min(n) || ' ' || max(n) FROM stays", "6 6 6");
    expect_text(&w, "SELECT k || ' ' || n FROM away", "1 6");
    expect_text(&w, "SELECT k || ' ' || n FROM later", "1 6");
    world_deinit(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_change_after_one_that_was_killed), cmocka_unit_test(a_scheduled_table_that_asks_otherwise),
                                       cmocka_unit_test(tables_that_stay_do_not_read_history_again),
                                       cmocka_unit_test(beside_a_table_that_waits), cmocka_unit_test(other_columns_of_the_same_rows),
                                       cmocka_unit_test(history_is_no_delay), cmocka_unit_test(an_operator_in_common),
                                       cmocka_unit_test(what_resumes_shares_with_others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
