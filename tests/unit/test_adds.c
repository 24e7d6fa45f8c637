/* Scheduled runs that add what is new to what is there: when they do, that the content is the query's, and that they say why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

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
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_computes_what_is_new),
        cmocka_unit_test(what_else_has_changed_is_computed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
