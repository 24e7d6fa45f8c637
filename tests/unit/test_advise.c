/* leat advise: lateness measured from the archive, freshness from who waits, and the project's file rewritten in place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "audit/generate.h"
#include "audit/lateness.h"
#include "audit/patience.h"
#include "engine_world.h"
#include "project/rewrite.h"

static const char ORDERS[] = "CREATE SOURCE order_events (event_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL,\n"
                             "WATERMARK FOR event_time AS event_time) WITH (connector = 'file', path = 'in/order_events.ndjson', format = 'json');\n";

static void generate(struct world *w, const char *dir, uint64_t seed, uint64_t events) {
    /* Seeds differ in disorder and lateness too. */
    struct leat_generate_options options = {.out_dir = dir, .seed = seed, .events = events, .rate = 1, .start_us = 1767225600000000,
                                            .out_of_order_us = 1000000 * (int64_t)(5 + seed % 1000 * 7), .late_by_us = 3600000000,
                                            .late_permille = (uint32_t)(seed % 1000 % 4 * 3), .products = 5, .product_versions = 1,
                                            .customers = 50, .open_orders = 100};
    OK(leat_generate(&w->env, &options, oops));
}

static size_t propose(struct world *w, double share, struct leat_lateness *l, bool *certain) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_buffer select = {0};
    leat_engine_recorded(w->engine, 0, &select);
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_lateness_measure(conn, &(struct leat_lateness_options){.select = select.data, .event_time = "event_time", .files = true}, l, oops));
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_buffer_deinit(&select);
    return leat_lateness_choose(l, share, certain);
}

/* Independently: how many lines of a file come more than `delay_us` after the latest before them. */
static double share_missed(const char *dir, int64_t delay_us) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    char *text;
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    char *sql = leat_asprintf("SELECT CAST(avg(CAST(coalesce(latest - t > %lld, false) AS INTEGER)) AS VARCHAR) FROM (SELECT t, max(t) OVER "
                              "(ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest FROM (SELECT epoch_us(CAST(event_time AS "
                              "TIMESTAMP)) AS t, row_number() OVER () AS n FROM read_json('%s/order_events.ndjson', format = 'newline_delimited', "
                              "columns = {event_time: 'TIMESTAMP'})))",
                              (long long)delay_us, dir);
    OK(leat_conn_text(conn, sql, &text, oops));
    double share = strtod(text, NULL);
    free(text);
    free(sql);
    leat_conn_close(conn);
    leat_duck_close(duck);
    return share;
}

/* What is proposed from one day holds on the next. */
static void a_watermark_holds_on_the_next_day(void **state) {
    (void)state;
    const double share = 0.002;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world world, *w = &world;
        struct leat_lateness l;
        bool certain;
        world_init(w, ORDERS, "");
        char *today = leat_asprintf("%s/in", w->project), *tomorrow = scratch_dir(w->dir, "tomorrow");
        generate(w, today, seed, 8000);
        generate(w, tomorrow, seed + 1000, 8000);
        OK(leat_engine_run_once(w->engine, false, false, oops));
        size_t delay = propose(w, share, &l, &certain);
        assert_true(certain);
        assert_true(l.records == 8000);
        double missed = share_missed(tomorrow, leat_lateness_delays[delay]), here = share_missed(today, leat_lateness_delays[delay]);
        if (missed > share) fail_msg("seed %d: %f missed with %lld us", (int)seed, missed, (long long)leat_lateness_delays[delay]);
        assert_true((double)leat_lateness_missed(&l, delay) / (double)l.records - here < 1e-9 &&
                    here - (double)leat_lateness_missed(&l, delay) / (double)l.records < 1e-9);
        /* The next shorter delay would not do: not simply the longest is proposed. */
        if (delay) assert_true((double)leat_lateness_missed(&l, delay - 1) + 3 > share * (double)l.records / 2);
        leat_lateness_deinit(&l);
        free(today);
        free(tomorrow);
        world_deinit(w);
    }
}

static void few_records_promise_nothing(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_lateness l;
    bool certain;
    world_init(w, ORDERS, "");
    put(w, "in/order_events.ndjson",
        "{\"event_id\":\"a\",\"event_time\":\"2026-01-01 00:01:00\"}\n{\"event_id\":\"b\",\"event_time\":\"2026-01-01 00:00:18\"}\n", "a");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    size_t delay = propose(w, 0.01, &l, &certain);
    assert_false(certain);
    assert_true(leat_lateness_delays[delay] == 45000000);
    leat_lateness_deinit(&l);
    world_deinit(w);
}

static void expect_advice(enum leat_actor actor, int64_t within_s, enum leat_harm harm, const char *clause) {
    struct leat_freshness_advice advice;
    leat_freshness_advise(&(struct leat_patience){actor, within_s * 1000000, harm}, &advice);
    assert_string_equal(advice.clause, clause);
    leat_freshness_advice_deinit(&advice);
}

static void freshness_follows_from_who_waits(void **state) {
    (void)state;
    expect_advice(LEAT_ACTOR_PROGRAM, 10, LEAT_HARM_MONEY, "FRESHNESS = INTERVAL '2' SECOND");
    expect_advice(LEAT_ACTOR_WATCHER, 1, LEAT_HARM_MONEY, "FRESHNESS = INTERVAL '1' SECOND");
    expect_advice(LEAT_ACTOR_READER, 3600, LEAT_HARM_ANNOYANCE, "FRESHNESS = INTERVAL '30' MINUTE");
    expect_advice(LEAT_ACTOR_REPORT, 60, LEAT_HARM_NONE, "FRESHNESS = INTERVAL '1' HOUR");
    expect_advice(LEAT_ACTOR_REPORT, 86400, LEAT_HARM_NONE, "SCHEDULE CRON '0 2 * * *'");
    expect_advice(LEAT_ACTOR_NOBODY, 1, LEAT_HARM_MONEY, "SCHEDULE CRON '0 2 * * *'");
}

static void expect_rewritten(const char *text, const char *object, enum leat_clause clause, const char *replacement, const char *expected) {
    char *out = leat_rewrite_clause(text, strlen(text), object, clause, replacement);
    if (!expected) {
        assert_null(out);
        return;
    }
    assert_non_null(out);
    assert_string_equal(out, expected);
    free(out);
}

static void one_clause_is_rewritten(void **state) {
    (void)state;
    const char *two = "-- FRESHNESS of a\nCREATE MATERIALIZED TABLE a FRESHNESS = INTERVAL '1' SECOND /* x */ AS SELECT 1;\n"
                      "CREATE OR ALTER MATERIALIZED TABLE IF NOT EXISTS b (PRIMARY KEY (x)) SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'\nAS SELECT 2 AS x;";
    expect_rewritten(two, "A", LEAT_CLAUSE_REFRESH, "FRESHNESS = INTERVAL '5' MINUTE",
                     "-- FRESHNESS of a\nCREATE MATERIALIZED TABLE a FRESHNESS = INTERVAL '5' MINUTE /* x */ AS SELECT 1;\n"
                     "CREATE OR ALTER MATERIALIZED TABLE IF NOT EXISTS b (PRIMARY KEY (x)) SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'\nAS SELECT 2 AS x;");
    expect_rewritten(two, "b", LEAT_CLAUSE_REFRESH, "FRESHNESS = INTERVAL '5' MINUTE",
                     "-- FRESHNESS of a\nCREATE MATERIALIZED TABLE a FRESHNESS = INTERVAL '1' SECOND /* x */ AS SELECT 1;\n"
                     "CREATE OR ALTER MATERIALIZED TABLE IF NOT EXISTS b (PRIMARY KEY (x)) FRESHNESS = INTERVAL '5' MINUTE\nAS SELECT 2 AS x;");
    expect_rewritten(two, "c", LEAT_CLAUSE_REFRESH, "FRESHNESS = INTERVAL '5' MINUTE", NULL);
    expect_rewritten("CREATE MATERIALIZED TABLE a FRESHNESS DOWNSTREAM AS SELECT 'FRESHNESS';", "a", LEAT_CLAUSE_LATENESS,
                     "ALLOW LATENESS INTERVAL '1' HOUR", "CREATE MATERIALIZED TABLE a FRESHNESS DOWNSTREAM ALLOW LATENESS INTERVAL '1' HOUR AS SELECT 'FRESHNESS';");
    expect_rewritten("CREATE MATERIALIZED TABLE a ALLOW LATENESS INTERVAL '3 days' FRESHNESS = INTERVAL 2 MINUTES AS SELECT 1;", "a", LEAT_CLAUSE_LATENESS,
                     "ALLOW LATENESS INTERVAL '1' HOUR", "CREATE MATERIALIZED TABLE a ALLOW LATENESS INTERVAL '1' HOUR FRESHNESS = INTERVAL 2 MINUTES AS SELECT 1;");
    expect_rewritten("CREATE SOURCE s (\"t t\" TIMESTAMP, WATERMARK FOR \"t t\" AS \"t t\" - INTERVAL '2' MINUTE, x INTEGER) WITH (a = 'b');", "s",
                     LEAT_CLAUSE_WATERMARK, "- INTERVAL '1' HOUR",
                     "CREATE SOURCE s (\"t t\" TIMESTAMP, WATERMARK FOR \"t t\" AS \"t t\" - INTERVAL '1' HOUR, x INTEGER) WITH (a = 'b');");
    expect_rewritten("CREATE SOURCE s (t TIMESTAMP, WATERMARK FOR t AS t) WITH (a = 'b');", "s", LEAT_CLAUSE_WATERMARK, "- INTERVAL '1' HOUR",
                     "CREATE SOURCE s (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '1' HOUR) WITH (a = 'b');");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watermark_holds_on_the_next_day),
        cmocka_unit_test(few_records_promise_nothing),
        cmocka_unit_test(freshness_follows_from_who_waits),
        cmocka_unit_test(one_clause_is_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
