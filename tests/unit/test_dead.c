/* Records on which a table's expressions fail (rule 10): dead letters, once, and nowhere in the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#define NUMBERS "SELECT id FROM events WHERE CAST(id AS INTEGER) > 0"
#define TABLE(name, query) "CREATE MATERIALIZED TABLE " name " FRESHNESS = INTERVAL '1' SECOND AS " query ";\n"
#define IDS(table) "SELECT string_agg(id, ' ' ORDER BY id) FROM " table
#define DEAD(table) "SELECT string_agg(_offset, ' ' ORDER BY _offset) FROM " table "__dead"

static void event(struct world *w, const char *id, int k) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 00:00:00\"}\n", id, k, k);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void expect_balance(struct world *w, int admitted, int dead) {
    char *balance = leat_asprintf("\"balance\":{\"events\":{\"in\":%d,\"admitted\":%d,\"late\":0,\"dead\":%d,\"exact\":true}}", admitted + dead, admitted, dead);
    expect_status(w, balance);
    free(balance);
}

/* The second is no number. */
static void three_events(struct world *w) {
    event(w, "1", 1);
    event(w, "x", 1);
    event(w, "2", 1);
}

static void five_events(struct world *w) {
    three_events(w);
    event(w, "y", 2);
    event(w, "3", 2);
}

/* ... of these five. */
static void expect_two_dead(struct world *w, const char *rows) {
    expect_text(w, IDS("t"), rows);
    expect_text(w, DEAD("t"), "1 3");
    expect_balance(w, 3, 2);
}

/* A table that reads the events in two places; steps of one, two and three records give the same. */
static void expect_everywhere(const char *table, const char *rows) {
    for (uint64_t step_rows = 1; step_rows <= 3; step_rows++) {
        struct world world, *w = &world;
        shop_init(w, table);
        reopen_with(w, step_rows);
        five_events(w);
        run(w);
        for (int again = 0; again < 2; again++) {
            expect_two_dead(w, rows);
            reopen(w);
        }
        world_deinit(w);
    }
}

static void what_fails_in_one_place_is_dead_in_all(void **state) {
    (void)state;
    expect_everywhere(TABLE("t", NUMBERS " UNION ALL SELECT id FROM events WHERE v > 0"), "1 1 2 2 3 3");
    expect_everywhere(TABLE("t", NUMBERS " UNION ALL SELECT id FROM events"), "1 1 2 2 3 3");
    expect_everywhere(TABLE("t", "SELECT b.id FROM (SELECT id, k FROM events WHERE CAST(id AS INTEGER) > 0) a JOIN events b ON a.k = b.k"), "1 1 2 2 3");
    expect_everywhere(TABLE("t", "SELECT id FROM events e WHERE NOT EXISTS (SELECT 1 FROM (SELECT CAST(id AS INTEGER) + 1 AS n FROM events WHERE id <> '2') s WHERE s.n = e.k)"),
                      "1 2");
}

static void what_fails_in_two_places_is_dead_once(void **state) {
    (void)state;
    expect_everywhere(TABLE("t", NUMBERS " UNION ALL SELECT id FROM events WHERE CAST(id AS BIGINT) > 1"), "1 2 2 3 3");
}

/* A condition that can fail itself stays above what is computed before it, here as in DuckDB: a record that it would leave out fails nevertheless. In a run, too. */
static void what_fails_before_it_is_left_out(void **state) {
    (void)state;
    struct world world, *w = &world;
    const char *query = "SELECT id, n FROM (SELECT id, k % 3 AS p, n FROM (SELECT id, k, CAST(id AS INTEGER) AS n FROM events)) WHERE p <> 2";
    char *tables = leat_asprintf("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS %s;\n"
                                 "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS %s;\n", query, query);
    shop_init(w, tables);
    event(w, "1", 1);
    event(w, "x", 2);
    event(w, "2", 1);
    event(w, "3", 2);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, IDS("t"), "1 2");
    expect_text(w, IDS("nightly"), "1 2");
    expect_text(w, DEAD("t"), "1");
    expect_text(w, DEAD("nightly"), "1");
    expect_balance(w, 3, 1);
    free(tables);
    world_deinit(w);
}

/* DuckDB computes a number that the lake cannot hold. */
static void what_is_too_long_is_dead_in_all(void **state) {
    (void)state;
    static const char *const schedules[] = {"FRESHNESS = INTERVAL '1' SECOND", "SCHEDULE CRON '0 2 * * *'"};
    static const char *const queries[] = {"SELECT DISTINCT CAST(id AS UHUGEINT) * 1000000 AS n FROM events UNION ALL SELECT k FROM events",
                                          "SELECT unnest([CAST(id AS HUGEINT) * 1000000]) AS n FROM events UNION ALL SELECT k FROM events",
                                          "SELECT unnest([md5_number(id)]) AS n FROM events WHERE length(id) > 4 UNION ALL SELECT k FROM events"};
    for (size_t i = 0; i < 6; i++) {
        struct world world, *w = &world;
        char *table = leat_asprintf("CREATE MATERIALIZED TABLE t %s AS %s;\n", schedules[i % 2], queries[i / 2]);
        shop_init(w, table);
        event(w, "7", 1);
        event(w, i / 2 == 2 ? "never" : "123456789012345678901234567890123", 2);
        event(w, "8", 3);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        assert_int_equal(leat_engine_failed_runs(w->engine), 0);
        expect_equal(w);
        expect_text(w, "SELECT string_agg(n, ' ' ORDER BY n) FROM t WHERE n < 5", "1 3");
        expect_text(w, DEAD("t"), "1");
        world_deinit(w);
        free(table);
    }
}

/* Tables that read the same places otherwise share nothing that hangs on what is dead. */
static void it_lives_in_other_tables(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, TABLE("two", NUMBERS " UNION ALL SELECT id FROM events WHERE v > 0") TABLE("alone", "SELECT id FROM events WHERE v > 0")
                 TABLE("numbers", NUMBERS) TABLE("same", "SELECT id FROM (" NUMBERS " UNION ALL SELECT id FROM events WHERE v > 0) WHERE id <> '2'"));
    three_events(w);
    run(w);
    expect_text(w, IDS("two"), "1 1 2 2");
    expect_text(w, IDS("alone"), "1 2 x");
    expect_text(w, IDS("numbers"), "1 2");
    expect_text(w, IDS("same"), "1 1");
    expect_text(w, DEAD("two"), "1");
    expect_text(w, DEAD("numbers"), "1");
    expect_text(w, "SELECT count(*) FROM alone__dead", "0");
    world_deinit(w);
}

/* One of two tables has its expressions give places, too: first rows are found again by them. */
static void with_first_rows(void **state) {
    (void)state;
    static const char *const orders[] = {TABLE("t", "SELECT * FROM (SELECT DISTINCT ON (k) id, k, CAST(id AS BIGINT) AS n, ts FROM events) UNION ALL SELECT id, k, v, ts FROM events"),
                                         TABLE("u", "SELECT id, k, CAST(id AS BIGINT) AS n, ts FROM events UNION ALL SELECT id, k, v, ts FROM events")};
    for (int i = 0; i < 2; i++) {
        struct world world, *w = &world;
        char *tables = leat_asprintf("%s%s", orders[i], orders[!i]);
        shop_init(w, tables);
        three_events(w);
        run(w);
        expect_text(w, IDS("t"), "1 1 2");
        expect_text(w, IDS("u"), "1 1 2 2");
        expect_text(w, DEAD("t"), "1");
        expect_text(w, DEAD("u"), "1");
        expect_balance(w, 2, 1);
        world_deinit(w);
        free(tables);
    }
}

/* Rows of a table have no record: they are withheld as long as they are there, and told of once. */
static void rows_of_tables_are_withheld(void **state) {
    (void)state;
    static const struct { const char *id; int withheld; const char *dead; } steps[] = {{"1", 0, "0"}, {"x", 1, "1"}, {"y", 1, "2"}, {"5", 0, "2"}};
    struct world world, *w = &world;
    shop_init(w, TABLE("names", "SELECT v % 1 AS g, arg_max(id, v) AS id FROM events GROUP BY g") TABLE("t", "SELECT g, CAST(id AS INTEGER) AS n FROM names"));
    for (int i = 0; i < 4; i++) {
        event(w, steps[i].id, i);
        run(w);
        char *said = leat_asprintf("\"withheld\":%d", steps[i].withheld);
        if (steps[i].withheld) expect_status(w, said);
        free(said);
        expect_text(w, "SELECT count(*) FROM t__dead", steps[i].dead);
    }
    expect_text(w, "SELECT n FROM t", "5");
    expect_status(w, "\"withheld\":0");
    world_deinit(w);
}

/* The operator of first rows may keep places of records, which no expression reads; a list is unnested, which no condition does. */
static void scheduled_tables(void **state) {
    (void)state;
    static const char *const queries[] = {"SELECT DISTINCT ON (id) id, CAST(id AS INTEGER) AS n, v, ts FROM events",
                                          "SELECT unnest([CAST(CAST(id AS INTEGER) AS VARCHAR)]) AS id, k FROM events"};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        struct world world, *w = &world;
        char *table = leat_asprintf("CREATE MATERIALIZED TABLE t SCHEDULE CRON '0 2 * * *' AS %s;\n", queries[i]);
        shop_init(w, table);
        three_events(w);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        assert_int_equal(leat_engine_failed_runs(w->engine), 0);
        expect_equal(w);
        expect_text(w, IDS("t"), "1 2");
        expect_text(w, DEAD("t"), "1");
        world_deinit(w);
        free(table);
    }
}

/* A query that only full runs keep, by nature or since that was asked for: the parts below say which records fail. */
static void full_runs_find_them(void **state) {
    (void)state;
    static const char *const tables[] = {
        "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events WHERE k NOT IN (SELECT CAST(id AS INTEGER) + 1 FROM events WHERE id <> '2');\n",
        "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND REFRESH_MODE = FULL AS SELECT id FROM events WHERE CAST(id AS INTEGER) < 3;\n",
        "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND REFRESH_MODE = FULL AS\n"
        "WITH numbers AS MATERIALIZED (SELECT id, CAST(id AS INTEGER) AS n, k FROM events) SELECT a.id FROM numbers a WHERE n NOT IN (SELECT n + 2 FROM numbers);\n",
        /* a column of a part is a list */
        "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT a.id FROM (SELECT id, [CAST(id AS INTEGER), v] AS l FROM events) a\n"
        "JOIN (SELECT [CAST(id AS INTEGER), v] AS l FROM events WHERE v < 2) b ON a.l = b.l;\n",
        "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT array_to_string(l, '') AS id FROM (SELECT [id] AS l FROM events WHERE v > 9\n"
        "UNION ALL SELECT [id] FROM events WHERE CAST(id AS INTEGER) > 0 GROUP BY id HAVING max(k) < 2);\n",
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        struct world world, *w = &world;
        shop_init(w, tables[i]);
        five_events(w);
        run(w);
        assert_int_equal(leat_engine_failed_runs(w->engine), 0);
        expect_two_dead(w, "1 2");
        world_deinit(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fails_in_one_place_is_dead_in_all),
        cmocka_unit_test(what_fails_in_two_places_is_dead_once),
        cmocka_unit_test(what_fails_before_it_is_left_out),
        cmocka_unit_test(what_is_too_long_is_dead_in_all),
        cmocka_unit_test(it_lives_in_other_tables),
        cmocka_unit_test(with_first_rows),
        cmocka_unit_test(rows_of_tables_are_withheld),
        cmocka_unit_test(scheduled_tables),
        cmocka_unit_test(full_runs_find_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
