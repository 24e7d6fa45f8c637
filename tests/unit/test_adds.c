/* Scheduled runs that add what is new to what is there: when they do, that the content is the query's, and that they say why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "sim/kill.h"

#define AT " SCHEDULE CRON '0 2 * * *' "
#define ROWS "CREATE MATERIALIZED TABLE rows" AT "AS SELECT id, k, v * 2 AS v FROM events WHERE v >= 0;\n"
#define GROUPS "CREATE MATERIALIZED TABLE groups" AT "REFRESH_MODE = INCREMENTAL AS SELECT k, window_start, count(*) AS n, sum(v) AS v, min(v) AS low, max(id) AS last, count(*) FILTER (WHERE v > 5) AS large\n" \
               "FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY k, window_start;\n"
#define WHOLE "CREATE MATERIALIZED TABLE whole" AT "REFRESH_MODE = FULL AS SELECT id, v FROM events;\n"
#define FORCED "CREATE MATERIALIZED TABLE forced" AT "REFRESH_MODE = INCREMENTAL AS SELECT id FROM events;\n"
#define ONCE "CREATE MATERIALIZED TABLE once" AT "AS SELECT DISTINCT k FROM events;\n"
#define TOLD "CREATE SINK told FROM rows WITH (connector = 'file', path = 'told.out', start = 'snapshot');\n"

static void events(struct world *w, int from, int count) {
    struct leat_buffer text = {0};
    for (int i = from; i < from + count; i++)
        leat_putf(&text, "{\"id\":\"e%05d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-%02d 12:00:00\"}\n", i, i % 7, i % 50 - 1, i / 1000 % 20 + 1);
    put(w, "in/events.ndjson", text.data, "a");
    leat_buffer_deinit(&text);
}

static void run_all(struct world *w) {
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
}

/* Commits of a table that take something away. */
static int replaced(struct world *w, const char *table) {
    int found = 0;
    for (int version = 0;; version++) {
        struct leat_buffer text = {0};
        struct leat_error err;
        char *path = leat_asprintf("%s/lake/%s/_delta_log/%020d.json", w->project, table, version);
        enum leat_status st = leat_io_read_all(w->env.io, path, 1 << 20, &text, &err);
        free(path);
        if (st == LEAT_OK) found += strstr(text.data, "{\"remove\"") && !strstr(text.data, "OPTIMIZE");
        leat_buffer_deinit(&text);
        if (st != LEAT_OK) return found;
    }
}

static void a_run_computes_what_is_new(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, ROWS GROUPS WHOLE FORCED ONCE TOLD);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    events(w, 0, 5000);
    run_all(w);
    expect_status(w, "\"last_run\":{\"computed\":\"all\",\"why\":\"thefirstrun\"}");
    for (int i = 0; i < 3; i++) {
        events(w, 5000 + i * 10, 10);
        run_all(w);
    }
    expect_status(w, "\"last_run\":{\"computed\":\"whatwasnew\",\"why\":\"REFRESH_MODE=INCREMENTAL\"}");
    expect_status(w, "\"last_run\":{\"computed\":\"all\",\"why\":\"REFRESH_MODE=FULLwasaskedfor\"}");
    expect_status(w, "msofCPUfor10newrecords");
    assert_int_equal(replaced(w, "forced"), 0); /* of `rows` its cost decides */
    assert_int_equal(replaced(w, "groups"), 3); /* merged */
    assert_int_equal(replaced(w, "whole"), 3);
    expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT id) FROM rows", "4929 4929");
    expect_text(w, "SELECT sum(n) || ' ' || sum(large) FROM groups", "5030 4323");
    char *fold = leat_asprintf("SELECT count(*) || ' ' || count(DISTINCT id) FROM read_json('%s/told.out', columns = {id: 'VARCHAR'})", w->project);
    leat_engine_deliver(w->engine);
    expect_text(w, fold, "4929 4929");
    reopen(w);
    run_all(w); /* nothing new */
    events(w, 5030, 20);
    run_all(w);
    expect_text(w, "SELECT count(*) FROM forced", "5050");
    free(fold);
    world_deinit(w);
}

/* Anything but new records makes a run compute all. */
static void what_else_has_changed_is_computed_whole(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    world_init(w, shop_sources, FORCED ROWS);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    events(w, 0, 100);
    run_all(w);
    events(w, 100, 100);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE forced AS SELECT id FROM events WHERE k <> 3", false, &diags, NULL, oops));
    run_all(w);
    assert_int_equal(replaced(w, "forced"), 1);
    OK(leat_engine_rebuild(w->engine, "forced", "to see", NULL, oops));
    assert_int_equal(replaced(w, "forced"), 2);
    put(w, "in/events.ndjson", "{\"id\":\"dead\",\"v\":\"x\",\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    events(w, 200, 5);
    run_all(w);
    assert_int_equal(replaced(w, "forced"), 2);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE forced SET FRESHNESS = INTERVAL '1' SECOND", false, &diags, NULL, oops));
    run(w);
    events(w, 205, 5);
    run(w);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE forced SET SCHEDULE CRON '0 2 * * *'", false, &diags, NULL, oops));
    for (int i = 0; i < 3; i++) {
        events(w, 210 + i * 5, 5);
        run_all(w);
    }
    expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT id) FROM forced", "193 193");
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

/* Killed at each call of a run that adds, or of a part that is refreshed: nothing is there twice, nothing told twice. */
static void killed_anywhere(void **state) {
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done; n += 1 + n * 3) {
        struct world world, *w = &world;
        struct leat_diagnostics diags = {0};
        struct leat_error err;
        world_init(w, shop_sources, FORCED GROUPS "CREATE SINK told FROM forced WITH (connector = 'file', path = 'told.out', start = 'snapshot');\n"
                                                  "CREATE SINK parts FROM groups WITH (connector = 'file', path = 'parts.out', start = 'snapshot', on_retract = 'send');\n");
        put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
        events(w, 0, 100);
        run_all(w);
        leat_engine_close(w->engine);
        w->engine = NULL;
        w->env.io = leat_io_killable();
        reopen(w);
        events(w, 100, 50);
        leat_io_kill_after(n);
        done = leat_engine_run_once(w->engine, true, false, &err) == LEAT_OK;
        events(w, 150, 10);
        if (done) done = leat_engine_ingest(w->engine, &(uint64_t){0}, &err) == LEAT_OK;
        if (done) done = leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE groups REFRESH PARTITION (k < 3)", false, &diags, NULL, &err) == LEAT_OK;
        leat_engine_close(w->engine);
        w->engine = NULL;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        reopen(w);
        expect_equal(w);
        run_all(w);
        expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || (SELECT sum(n) FROM groups) FROM forced", "160 160 160");
        leat_engine_deliver(w->engine);
        char *fold = leat_asprintf("SELECT (SELECT count(*) || ' ' || count(DISTINCT id) FROM read_json('%s/told.out', columns = {id: 'VARCHAR'})) || ' ' || (SELECT "
                                   "sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) - (SELECT count(*) FROM groups) FROM read_json('%s/parts.out', columns = {kind: 'VARCHAR'}))",
                                   w->project, w->project);
        expect_text(w, fold, "160 160 0");
        free(fold);
        leat_diagnostics_deinit(&diags);
        world_deinit(w);
    }
}

/* Bronze was moved away to read all files again: offsets are those of other records. */
static void another_work_folder_computes_all(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, FORCED);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    events(w, 0, 100);
    run_all(w);
    leat_engine_close(w->engine);
    w->engine = NULL;
    static const char *const gone[] = {".leat", "lake/bronze/events", "in/events.ndjson"};
    for (size_t i = 0; i < 3; i++) {
        char *path = leat_asprintf("%s/%s", w->project, gone[i]);
        OK(i == 2 ? w->env.io->ops->unlink(w->env.io, path, oops) : leat_io_remove_tree(w->env.io, path, oops));
        free(path);
    }
    events(w, 500, 120);
    reopen(w);
    run_all(w);
    expect_text(w, "SELECT count(*) || ' ' || min(id) FROM forced", "120 e00500");
    world_deinit(w);
}

/* Queries of both kinds, over rows with everything in them, NULLs, equal ones, none at all; after each run verify has compared all. */
static void sums_of_parts_are_the_whole(void **state) {
    static const char *const queries[] = {
        "SELECT id, k, amount * 2 AS twice, upper(id) AS up, note IS NULL AS bare FROM odd WHERE k IS NULL OR k <> 3",
        "SELECT k, unnest(string_split(note, ' ')) AS word FROM odd",
        "SELECT k, note, count(*) AS n, count(amount) AS known, sum(amount) AS amount, min(note) AS low, max(day) AS last FROM odd GROUP BY ALL",
        "SELECT sum(k) AS s, day AS of_day, bool_and(good) AS all_good, bool_or(good) AS one_good, max(amount) AS m FROM odd GROUP BY day",
        "SELECT amount % 7 AS rest, good, min(amount) FILTER (WHERE k > 2) AS low, sum(k) FILTER (WHERE good) AS s FROM odd WHERE amount IS NOT NULL GROUP BY ALL",
        "SELECT k, n FROM (SELECT k, good, count(*) AS n FROM odd GROUP BY k, good)", /* a key is left out: computed whole */
        "SELECT k, sum(amount) AS s FROM odd GROUP BY k HAVING count(*) > 2",         /* so is this */
        "SELECT k, n FROM (SELECT k, n, unnest(range(n)) AS u FROM (SELECT k, count(*) AS n FROM odd GROUP BY k))", /* and this: groups stand there several times */
        "SELECT CAST(amount AS DOUBLE) * 0 AS zero, CAST(note AS BLOB) AS bytes, CAST(k AS HUGEINT) AS h, count(*) AS n, min(CAST(amount AS DOUBLE) * 0) AS z, max(CAST(k AS FLOAT)) AS f FROM odd GROUP BY ALL",
        "SELECT TIME '00:00:00' + to_seconds(k + 2) AS t, to_days(k * 15) AS i, CAST(day AS TIMESTAMPTZ) AS z, max(to_days(k)) AS mi, min(CAST(md5(note) AS UUID)) AS u, sum(CAST(k AS HUGEINT)) AS s FROM odd GROUP BY ALL",
        "SELECT CAST(md5(note) AS UUID) AS u, CAST(CAST(day AS TIMESTAMP) AS TIMESTAMP_NS) + to_microseconds(k) AS ns, max(CAST(note AS BLOB)) AS b, count(k) AS n FROM odd GROUP BY ALL",
        "SELECT CASE WHEN k = 1 THEN CAST('nan' AS DOUBLE) WHEN k = 2 THEN CAST('infinity' AS DOUBLE) ELSE amount END AS d, min(CASE WHEN k = 1 THEN CAST('nan' AS DOUBLE) ELSE k END) AS m, sum(amount) AS s FROM odd GROUP BY ALL",
        "SELECT k, avg(amount) AS a, sum(CAST(k AS DOUBLE)) AS f FROM odd GROUP BY k", "SELECT count(*) AS n, sum(k) AS s FROM odd"};
    struct world world, *w = &world;
    struct leat_buffer tables = {0};
    struct leat_random random;
    (void)state;
    leat_random_seed(&random, 11);
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++)
        leat_putf(&tables, "CREATE MATERIALIZED TABLE t%zu" AT "REFRESH_MODE = INCREMENTAL AS %s;\n", i, queries[i]);
    world_init(w, "CREATE SOURCE odd (id VARCHAR, k INTEGER, amount DECIMAL(12,2), note VARCHAR, day DATE, good BOOLEAN)\n"
                  "WITH (connector = 'file', path = 'in/odd*.ndjson', format = 'json');\n", tables.data);
    for (int round = 0; round < 12; round++) {
        struct leat_buffer text = {0};
        for (uint64_t i = 0, n = leat_random_next(&random) % 4 ? leat_random_next(&random) % 40 : 0; i < n; i++) {
            uint64_t draw = leat_random_next(&random);
            leat_putf(&text, "{\"id\":\"i%u\"", (unsigned)(draw % 50));
            if (draw >> 8 & 3) leat_putf(&text, ",\"k\":%d", (int)(draw >> 10 & 7) - 2);
            if (draw >> 14 & 3) leat_putf(&text, ",\"amount\":%d.%02u", (int)(draw >> 16 & 127) - 60, (unsigned)(draw >> 24 & 63));
            if (draw >> 30 & 1) leat_putf(&text, ",\"note\":\"a%u b%u\"", (unsigned)(draw >> 31 & 3), (unsigned)(draw >> 33 & 1));
            if (draw >> 35 & 3) leat_putf(&text, ",\"day\":\"2026-01-%02u\"", (unsigned)(draw >> 37 & 7) + 1);
            leat_putf(&text, ",\"good\":%s}\n", draw >> 41 & 3 ? "true" : draw >> 43 & 1 ? "false" : "null");
        }
        put(w, round % 3 ? "in/odd.ndjson" : "in/odd2.ndjson", text.data ? text.data : "", "a");
        leat_buffer_deinit(&text);
        if (round % 4 == 3) reopen(w);
        run_all(w);
    }
    for (int i = 0; i < 2; i++) {
        char *table = leat_asprintf("t%d", i);
        assert_int_equal(replaced(w, table), 0);
        free(table);
    }
    leat_buffer_deinit(&tables);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_computes_what_is_new),
        cmocka_unit_test(sums_of_parts_are_the_whole),
        cmocka_unit_test(what_else_has_changed_is_computed_whole),
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(another_work_folder_computes_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
