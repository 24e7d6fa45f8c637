/* Rules 2 and 12: what is late stays late, until it is restated. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/internal.h"
#include "engine_world.h"
#include "sim/kill.h"

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

/* Rows can be asked whether they may still change, and what waits for them. */
static void rows_are_provisional_or_final(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_restate_options options = {.reason = "test"};
    with_one_late(w, MINUTES);
    expect_text(w, "SELECT string_agg(strftime(window_start, '%M') || ' ' || _final || ' ' || _late_waiting, ', ' ORDER BY window_start) FROM minutes__windows",
                "00 true 1, 05 false 0");
    OK(leat_engine_restate(w->engine, &options, NULL, oops));
    expect_text(w, "SELECT string_agg(n || ' ' || _final || ' ' || _late_waiting, ', ' ORDER BY window_start) FROM minutes__windows",
                "2 true 0, 2 false 0");
    world_deinit(w);
}

static void change_project(struct world *w, const char *tables) {
    put(w, "project.sql", shop_sources, "w");
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
        put(w, "project.sql", shop_sources, "w");
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

static void restate(struct world *w, const char *table, const char *expected) {
    struct leat_restate_options options = {.table = table, .reason = "test"};
    struct leat_buffer done = {0};
    OK(leat_engine_restate(w->engine, &options, &done, oops));
    char *flat = done.data;
    size_t n = 0;
    for (const char *at = flat; *at; at++)
        if (*at != '\n' && *at != ' ') flat[n++] = *at;
    flat[n] = 0;
    assert_string_equal(flat, expected);
    leat_buffer_deinit(&done);
    expect_equal(w);
}

/* After it the table is its SELECT less dead letters alone; the balance is exact; what changed is on record; once is enough. */
static void late_records_are_admitted(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_one_late(w, MINUTES);
    expect_status(w, "\"balance\":{\"events\":{\"in\":4,\"admitted\":3,\"late\":1,\"dead\":0,\"exact\":true}}");
    restate(w, NULL, "[{\"table\":\"minutes\",\"records\":1,\"changes\":2}]");
    expect_text(w, ALL_OF("minutes"), "2:5 2:10");
    expect_text(w, "SELECT count(*) FROM minutes__late", "0");
    expect_status(w, "\"balance\":{\"events\":{\"in\":4,\"admitted\":4,\"late\":0,\"dead\":0,\"exact\":true}}");
    expect_text(w, "SELECT old || ' ' || \"new\" || ' ' || records || ' ' || record_count || ' ' || reason FROM minutes__restatements",
                "{\"window_start\":\"2026-01-01 00:00:00\",\"n\":1,\"v\":1} {\"window_start\":\"2026-01-01 00:00:00\",\"n\":2,\"v\":5} "
                "[{\"source\":\"events\",\"partition\":1,\"offset\":2}] 1 test");
    restate(w, NULL, "[]");
    for (int i = 0; i < 2; i++) {
        reopen(w);
        expect_text(w, ALL_OF("minutes"), "2:5 2:10");
        expect_equal(w);
    }
    /* The cut is where it was, and the open window goes on. */
    event(w, "late again", 16, "00:00:30");
    event(w, "d", 32, "00:05:20");
    run(w);
    expect_text(w, ALL_OF("minutes"), "2:5 3:42");
    expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    restate(w, "minutes", "[{\"table\":\"minutes\",\"records\":1,\"changes\":2}]");
    expect_text(w, ALL_OF("minutes"), "3:21 3:42");
    world_deinit(w);
}

/* Only event times of the range; the rest stays late, also through a rebuild. */
static void a_range_is_restated(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_restate_options options = {.reason = "test", .from_us = 1767225660000000, .to_us = 1767225720000000}; /* 00:01 .. 00:02 */
    with_one_late(w, MINUTES);
    event(w, "late too", 16, "00:01:00");
    event(w, "late three", 32, "00:02:00");
    run(w);
    OK(leat_engine_restate(w->engine, &options, NULL, oops));
    expect_equal(w);
    expect_text(w, ALL_OF("minutes"), "1:1 1:16 2:10");
    expect_text(w, "SELECT string_agg(_offset, ' ' ORDER BY _offset) FROM minutes__late", "2 5");
    char *other = leat_asprintf("%sCREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events;\n", MINUTES);
    change_project(w, other);
    free(other);
    run(w);
    expect_text(w, ALL_OF("minutes"), "1:1 1:16 2:10");
    world_deinit(w);
}

/* Tables on the table, of the same freshness and of another; a join with a reference; a table that nothing was late for. */
static void what_is_built_on_it_follows(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *tables = leat_asprintf(
        "%sCREATE MATERIALIZED TABLE parities FRESHNESS = INTERVAL '1' SECOND AS SELECT CAST(v AS INTEGER) & 1 AS odd, sum(v) AS v FROM minutes GROUP BY ALL;\n"
        "CREATE MATERIALIZED TABLE sizes FRESHNESS = INTERVAL '7' SECOND AS SELECT n, count(*) AS windows FROM minutes GROUP BY n;\n"
        "CREATE MATERIALIZED TABLE all_events FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v FROM events;\n"
        "CREATE MATERIALIZED TABLE priced FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' SECOND AS SELECT window_start, t.cat, sum(e.v) AS v, count(*) AS n\n"
        "FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) e JOIN things t USING (k) GROUP BY ALL;\n"
        "CREATE MATERIALIZED TABLE mixed FRESHNESS = INTERVAL '1' SECOND AS SELECT window_start, sum(m.windows) AS w, count(*) AS n\n"
        "FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) e JOIN sizes m ON m.n = e.v GROUP BY ALL;\n", MINUTES);
    with_one_late(w, tables);
    free(tables);
    OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    expect_text(w, "SELECT string_agg(odd || ':' || v, ' ' ORDER BY odd) FROM parities", "0:10 1:1");
    expect_text(w, "SELECT string_agg(n || ':' || windows, ' ' ORDER BY n) FROM sizes", "1:1 2:1");
    event(w, "late one", 64, "00:00:30");
    run(w);
    restate(w, "parities", "[{\"table\":\"minutes\",\"records\":2,\"changes\":2},{\"table\":\"parities\",\"records\":0,\"changes\":2},"
                          "{\"table\":\"priced\",\"records\":2,\"changes\":2},{\"table\":\"mixed\",\"records\":2,\"changes\":0}]");
    expect_text(w, "SELECT string_agg(odd || ':' || v, ' ' ORDER BY odd) FROM parities", "0:10 1:69");
    expect_text(w, "SELECT string_agg(n || ':' || windows, ' ' ORDER BY n) FROM sizes", "2:1 3:1");
    reopen(w);
    event(w, "d", 128, "00:05:30");
    run(w);
    expect_text(w, "SELECT string_agg(odd || ':' || v, ' ' ORDER BY odd) FROM parities", "0:138 1:69");
    world_deinit(w);
}

/* Killed at every third call that writes: what is run again from bronze leaves out what was late then, though t__late has given it away already; a table of another
 * freshness stands on it. */
static void killed_behind_a_lost_folder(void **state) {
    (void)state;
    struct leat_restate_options options = {.reason = "test"};
    char *tables = leat_asprintf("%sCREATE MATERIALIZED TABLE sizes FRESHNESS = INTERVAL '7' SECOND AS SELECT n, count(*) AS windows, sum(v) AS v FROM minutes GROUP BY n;\n", MINUTES);
    bool done = false;
    for (uint64_t n = 1; !done; n += 3) {
        struct world world, *w = &world;
        struct leat_error err;
        with_one_late(w, tables);
        w->env.io = leat_io_killable();
        reopen_without_work(w);
        OK(leat_engine_ingest(w->engine, &(uint64_t){0}, oops));
        OK(leat_engine_drain(w->engine, oops));
        OK(leat_engine_flush(w->engine, false, oops));
        leat_io_kill_after(n);
        done = leat_engine_restate(w->engine, &options, NULL, &err) == LEAT_OK;
        leat_engine_close(w->engine);
        w->engine = NULL;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        reopen(w);
        OK(leat_engine_restate(w->engine, &options, NULL, oops));
        run(w);
        expect_text(w, "SELECT string_agg(n || ':' || windows || ':' || v, ' ') FROM sizes", "2:2:15");
        world_deinit(w);
    }
    free(tables);
}

/* A late record on which the table's expressions fail becomes a dead letter; the balance stays exact. */
static void a_late_record_may_be_dead(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS SELECT window_start, count(*) AS n, sum(CAST(id AS INTEGER)) AS v\n"
                  "FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
    event(w, "1", 1, "00:00:10");
    event(w, "2", 1, "00:05:10");
    run(w);
    event(w, "not a number", 1, "00:00:20");
    event(w, "4", 1, "00:00:20");
    event(w, "neither", 1, "00:05:20");
    run(w);
    expect_text(w, "SELECT count(*) FROM minutes__late", "2");
    for (int i = 0; i < 2; i++) {
        if (i == 0) restate(w, NULL, "[{\"table\":\"minutes\",\"records\":2,\"changes\":2}]");
        expect_text(w, ALL_OF("minutes"), "2:5 1:2");
        expect_text(w, "SELECT string_agg(_offset, ' ' ORDER BY _offset) FROM minutes__dead", "2 4");
        expect_status(w, "\"balance\":{\"events\":{\"in\":5,\"admitted\":3,\"late\":0,\"dead\":2,\"exact\":true}}");
        reopen(w);
        expect_equal(w);
    }
    world_deinit(w);
}

/* Tables whose late sets differ are restated together, each with its own. */
static void different_late_sets(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_one_late(w, MINUTES);
    char *both = leat_asprintf("%sCREATE MATERIALIZED TABLE twice FRESHNESS = INTERVAL '1' SECOND AS\n"
                               "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n",
                               MINUTES);
    change_project(w, both);
    run(w);
    event(w, "late for both", 16, "00:00:30");
    run(w);
    restate(w, "twice", "[{\"table\":\"minutes\",\"records\":2,\"changes\":2},{\"table\":\"twice\",\"records\":1,\"changes\":2}]");
    expect_text(w, ALL_OF("minutes"), "3:21 2:10");
    expect_text(w, ALL_OF("twice"), "3:21 2:10");
    reopen(w);
    event(w, "d", 32, "00:05:30");
    run(w);
    expect_text(w, ALL_OF("twice"), "3:21 3:42");
    expect_text(w, ALL_OF("minutes"), "3:21 3:42");
    free(both);
    world_deinit(w);
}

/* Once a day, at the next chance; unless told never to. */
static void once_a_day(void **state) {
    (void)state;
    for (int never = 0; never < 2; never++) {
        struct world world, *w = &world;
        char *tables = leat_asprintf("%s%s", never ? "SET restate_at = 'never';" : "", MINUTES);
        with_one_late(w, tables);
        free(tables);
        run(w);
        expect_text(w, ALL_OF("minutes"), "1:1 2:10");
        w->now_us += INT64_C(86400000000);
        if (never) reopen(w);
        run(w);
        expect_text(w, ALL_OF("minutes"), never ? "1:1 2:10" : "2:5 2:10");
        event(w, "late again", 16, "00:00:30");
        run(w);
        w->now_us += INT64_C(3600000000);
        run(w);
        expect_text(w, ALL_OF("minutes"), never ? "1:1 2:10" : "2:5 2:10");
        w->now_us += INT64_C(86400000000);
        reopen(w);
        run(w);
        expect_text(w, ALL_OF("minutes"), never ? "1:1 2:10" : "3:21 2:10");
        world_deinit(w);
    }
}

/* A run reads everything, so nothing stays late; back as a stream, the table has what the run had. */
static void a_run_admits_what_was_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_one_late(w, MINUTES);
    change_project(w, "CREATE MATERIALIZED TABLE minutes SCHEDULE CRON '0 2 * * *' AS\n"
                      "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
    expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    for (int i = 0; i < 2; i++) {
        OK(leat_engine_run_once(w->engine, true, false, oops));
        expect_equal(w);
        expect_text(w, ALL_OF("minutes"), "2:5 2:10");
        expect_text(w, "SELECT count(*) FROM minutes__late", "0");
        reopen(w);
    }
    change_project(w, MINUTES);
    run(w);
    expect_text(w, ALL_OF("minutes"), "2:5 2:10");
    world_deinit(w);
}

static void ask(struct world *w, struct leat_change what) {
    struct leat_diagnostics diags = {0};
    OK(leat_engine_apply(w->engine, &what, &diags, NULL, oops));
    leat_diagnostics_deinit(&diags);
}

/* It is restated where it stands: over the other table as it was then. Returns whether the restatement came to its end. */
static bool suspended_and_killed(uint64_t calls) {
    struct world world, *w = &world;
    struct leat_restate_options options = {.reason = "test"};
    struct leat_error err = {0};
    char *tables = leat_asprintf("%sCREATE MATERIALIZED TABLE totals FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n"
                                 "CREATE MATERIALIZED TABLE away FRESHNESS = INTERVAL '1' SECOND AS SELECT window_start, count(*) AS n, sum(t.n) AS v\n"
                                 "FROM (FROM TUMBLE(events, ts, INTERVAL '1' MINUTE)) e JOIN totals t ON e.k = t.k GROUP BY window_start;\n", MINUTES);
    with_one_late(w, tables);
    free(tables);
    ask(w, (struct leat_change){.suspend = "away"});
    event(w, "d", 16, "00:05:20");
    run(w);
    w->env.io = leat_io_killable();
    leat_io_kill_after(UINT64_MAX);
    reopen(w);
    leat_io_kill_after(calls);
    bool finished = leat_engine_restate(w->engine, &options, NULL, &err) == LEAT_OK;
    if (!finished && !leat_io_killed()) fail_msg("%s", err.text);
    leat_engine_close(w->engine);
    w->engine = NULL;
    leat_io_kill_after(UINT64_MAX);
    reopen(w);
    run(w);
    ask(w, (struct leat_change){.resume = "away"});
    event(w, "e", 32, "00:05:30");
    run(w);
    reopen(w);
    expect_equal(w);
    world_deinit(w);
    return finished;
}

/* Its query is another one while it is suspended: what comes after that waits in the lake, not in memory, and keeps no checkpoint back. */
static void made_anew_while_suspended(int anew) { /* 1: the other table, too, with other columns */
    struct world world, *w = &world;
    for (int i = 0; i < 3; i++) {
        char *tables = leat_asprintf("CREATE MATERIALIZED TABLE totals FRESHNESS = INTERVAL '%d' SECOND AS SELECT k, count(*) * %d AS n%s FROM events GROUP BY k;\n"
                                     "CREATE MATERIALIZED TABLE away FRESHNESS = INTERVAL '1' SECOND AS SELECT sum(n) + %d AS n FROM totals;\n", 1 + i / 2, 1 + anew,
                                     anew && i ? ", max(v) AS v" : "", i);
        if (!i) {
            with_one_late(w, tables);
            ask(w, (struct leat_change){.suspend = "away"});
        } else {
            put(w, "project.sql", shop_sources, "w");
            put(w, "project.sql", tables, "a");
            ask(w, (struct leat_change){0});
            event(w, "d", 16, "00:05:20");
            run(w);
        }
        free(tables);
    }
    ask(w, (struct leat_change){.resume = "away"});
    run(w);
    expect_text(w, "SELECT n FROM away", anew ? "14" : "8");
    world_deinit(w);
}

static void a_suspended_table_is_made_anew(void **state) {
    (void)state;
    made_anew_while_suspended(0);
    made_anew_while_suspended(1);
}

static void a_suspended_table_is_restated_where_it_stands(void **state) {
    (void)state;
    for (uint64_t calls = 8; !suspended_and_killed(calls); calls += 11) continue;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_provisional_or_final),
        cmocka_unit_test(a_changed_query_keeps_what_is_late), cmocka_unit_test(a_new_table_has_nothing_late),
        cmocka_unit_test(a_rebuild_goes_on_where_it_was),     cmocka_unit_test(late_records_are_admitted),
        cmocka_unit_test(a_range_is_restated),                cmocka_unit_test(what_is_built_on_it_follows),
        cmocka_unit_test(killed_behind_a_lost_folder),
        cmocka_unit_test(a_late_record_may_be_dead),          cmocka_unit_test(different_late_sets),
        cmocka_unit_test(a_suspended_table_is_made_anew), cmocka_unit_test(a_suspended_table_is_restated_where_it_stands),
        cmocka_unit_test(once_a_day),                         cmocka_unit_test(a_run_admits_what_was_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
