/* What the status tells of freshness: who waits, how long, for whom, and which rows are final. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/internal.h"
#include "engine_world.h"
#include "sim/clock.h"

static const char SOURCES[] = "CREATE SOURCE fast (v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '10' SECOND)\n"
                              "WITH (connector = 'file', path = 'in/fast.ndjson', format = 'json');\n"
                              "CREATE SOURCE slow (v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
                              "WITH (connector = 'file', path = 'in/slow.ndjson', format = 'json');\n";
static const char TABLES[] = "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                             "SELECT window_start, sum(v) AS v FROM TUMBLE(slow, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
                             "CREATE MATERIALIZED TABLE total FRESHNESS = INTERVAL '1' SECOND AS SELECT sum(v) AS v FROM fast;\n";

static void event(struct world *w, const char *file, const char *time) {
    char *line = leat_asprintf("{\"v\":1,\"ts\":\"2026-01-01 %s\"}\n", time);
    put(w, file, line, "a"); /* two seconds pass */
    free(line);
}

static void the_status_says_who_is_behind(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    world_init(w, SOURCES, TABLES);
    event(w, "in/fast.ndjson", "00:05:00");
    event(w, "in/slow.ndjson", "00:01:30");
    run(w);
    event(w, "in/fast.ndjson", "00:05:00"); /* a step knows what the steps before it saw */
    event(w, "in/slow.ndjson", "00:01:20");
    run(w);
    expect_status(w, "\"held_by\":{\"source\":\"slow\"}");
    /* 2026-01-01 00:01:30 in microseconds: windows before it are final, others not. */
    expect_status(w, "\"final\":{\"column\":\"window_start\",\"span_us\":60000000,\"before_us\":1767225690000000}");
    expect_status(w, "\"waiting\":0,\"waiting_since_us\":null");
    expect_status(w, "\"steps\":2,\"met\":2");

    int64_t arrived = w->now_us;
    event(w, "in/fast.ndjson", "00:05:01");
    OK(leat_engine_ingest(w->engine, &got, oops));
    assert_int_equal(got, 1);
    char *waits = leat_asprintf("\"waiting\":1,\"waiting_since_us\":%lld", (long long)arrived + 2000000);
    expect_status(w, waits);
    free(waits);
    w->now_us += 5000000; /* taken up too late: asked was a second */
    OK(leat_engine_step(w->engine, true, &did, oops));
    expect_status(w, "\"steps\":3,\"met\":2");
    expect_status(w, ",5000000,");
    world_deinit(w);
}

static struct world *written;
static atomic_int stop;
static int sleeps, waiting;

/* A record a sleep; what a step has given is in the lake before the next one. */
static int64_t write_one(struct leat_sim_clock *clock, int64_t deadline_us) {
    (void)clock;
    waiting += leat_table_pending(&written->engine->tables[0]) > 0;
    stop = sleeps++ > 200;
    put(written, "in/fast.ndjson", "{\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    return deadline_us;
}

static int waits_between_steps(const char *commit_interval) {
    struct world world, *w = &world;
    struct leat_sim_clock clock;
    char *tables = leat_asprintf("SET commit_interval = '%s';\nCREATE MATERIALIZED TABLE total FRESHNESS = INTERVAL '1' SECOND AS SELECT sum(v) AS v FROM fast;\n", commit_interval);
    world_init(w, SOURCES, tables);
    leat_sim_clock_init(&clock, w->now_us);
    clock.on_sleep = write_one;
    w->env.clock = &clock.clock;
    written = w;
    stop = sleeps = waiting = 0;
    OK(leat_engine_run(w->engine, &stop, oops));
    assert_true(w->engine->groups[0]->steps > 50);
    w->env.clock = &w->clock;
    world_deinit(w);
    free(tables);
    return waiting;
}

/* Commits that come about as often as steps follow them at once; others when it is time. */
static void a_commit_follows_its_step(void **state) {
    (void)state;
    assert_in_range(waits_between_steps("1 second"), 0, 1);
    assert_in_range(waits_between_steps("500 milliseconds"), 0, 1);
    assert_true(waits_between_steps("5 seconds") > 30);
}

static int64_t slow_now_us(struct leat_clock *clock) {
    struct leat_sim_clock *sim = clock->context;
    leat_sim_clock_advance(sim, 10000);
    return sim->monotonic_us + sim->wall_offset_us;
}

static int64_t stop_now(struct leat_sim_clock *clock, int64_t deadline_us) {
    (void)clock;
    stop = 1;
    return deadline_us;
}

/* Where steps take longer than they should be apart, and other tables have time: commits are no more frequent for it. */
static void steps_that_are_behind(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_sim_clock clock;
    world_init(w, SOURCES, "CREATE MATERIALIZED TABLE total FRESHNESS = INTERVAL '10' MILLISECONDS AS SELECT sum(v) AS v FROM fast;\n"
                           "CREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '1' HOUR AS SELECT sum(v) AS v FROM slow;\n");
    for (int i = 0; i < 300; i++) put(w, "in/fast.ndjson", "{\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    put(w, "in/slow.ndjson", "{\"v\":1,\"ts\":\"2026-01-01 00:00:00\"}\n", "a");
    reopen_with(w, 1);
    leat_sim_clock_init(&clock, w->now_us);
    clock.on_sleep = stop_now;
    clock.clock.now_us = slow_now_us;
    w->env.clock = &clock.clock;
    int64_t began_us = clock.monotonic_us, before = leat_delta_current(w->engine->tables[0].delta)->version;
    stop = 0;
    OK(leat_engine_run(w->engine, &stop, oops));
    int64_t seconds = (clock.monotonic_us - began_us) / 1000000, commits = leat_delta_current(w->engine->tables[0].delta)->version - before;
    assert_true(w->engine->groups[0]->steps >= 300);
    if (commits > 3 + seconds / 10) fail_msg("%lld commits in %lld seconds", (long long)commits, (long long)seconds);
    w->env.clock = &w->clock;
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_status_says_who_is_behind), cmocka_unit_test(a_commit_follows_its_step),
                                       cmocka_unit_test(steps_that_are_behind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
