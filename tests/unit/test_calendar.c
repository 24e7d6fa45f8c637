/* FRESHNESS ... BETWEEN ... ELSE, and SCHEDULE ... READY BY: when things are due, across midnight and clock changes, and what an engine makes of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/value.h"
#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "engine/tell/tell.h"
#include "engine_world.h"
#include "project/rewrite.h"
#include "schedule/zone.h"
#include "sim/clock.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static int64_t at(const char *text) {
    int64_t us;
    assert_int_equal(leat_value_parse_timestamp(text, strlen(text), &us), LEAT_VALUE_OK);
    return us;
}

static struct leat_zone *zone(const char *name) {
    const struct leat_duck_options options = {.use = LEAT_DUCK_PLAN, .threads = 1};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_zone *out;
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_zone_load(conn, name, &out, oops));
    leat_conn_close(conn);
    leat_duck_close(duck);
    return out;
}

static const struct leat_calendar DAY = {.between_us = SECOND, .else_us = HOUR, .from_minute = 7 * 60, .to_minute = 23 * 60};

#define expect_period(c, z, time, freshness, until) \
    do { \
        struct leat_period p = leat_calendar_at(c, z, at(time)); \
        assert_int_equal(p.freshness_us, freshness); \
        assert_int_equal(p.until_us, at(until)); \
    } while (0)

static void what_holds_and_until_when(void **state) {
    (void)state;
    struct leat_zone *berlin = zone("Europe/Berlin");
    expect_period(&DAY, NULL, "2026-03-01 06:59:59.999999", HOUR, "2026-03-01 07:00:00");
    expect_period(&DAY, NULL, "2026-03-01 07:00:00", SECOND, "2026-03-01 23:00:00");
    expect_period(&DAY, NULL, "2026-03-01 23:00:00", HOUR, "2026-03-02 07:00:00");
    expect_period(&DAY, berlin, "2026-01-15 06:00:00", SECOND, "2026-01-15 22:00:00"); /* UTC+1 */
    expect_period(&DAY, berlin, "2026-07-15 05:00:00", SECOND, "2026-07-15 21:00:00"); /* UTC+2 */
    /* The night in which the clocks go forward: seven comes an hour sooner. */
    expect_period(&DAY, berlin, "2026-03-28 22:00:00", HOUR, "2026-03-29 05:00:00");
    expect_period(&DAY, berlin, "2026-10-24 21:00:00", HOUR, "2026-10-25 06:00:00"); /* and back: an hour later */
    const struct leat_calendar night = {.between_us = MINUTE, .else_us = HOUR, .from_minute = 22 * 60, .to_minute = 6 * 60};
    expect_period(&night, NULL, "2026-03-01 23:00:00", MINUTE, "2026-03-02 06:00:00");
    expect_period(&night, NULL, "2026-03-01 12:00:00", HOUR, "2026-03-01 22:00:00");
    /* Between 02:10 and 02:40 of a night that has no such time there is nothing. */
    const struct leat_calendar gap = {.between_us = SECOND, .else_us = HOUR, .from_minute = 130, .to_minute = 160};
    expect_period(&gap, berlin, "2026-03-29 00:59:00", HOUR, "2026-03-29 01:00:00");
    expect_period(&gap, berlin, "2026-03-29 01:00:00", HOUR, "2026-03-30 00:10:00");
    const struct leat_calendar always = {.between_us = SECOND};
    assert_int_equal(leat_calendar_at(&always, NULL, 0).until_us, INT64_MAX);
}

#define expect_due(time, fifths, due) assert_int_equal(leat_calendar_due(&DAY, NULL, at(time), fifths), at(due))

static void when_something_is_due(void **state) {
    (void)state;
    expect_due("2026-03-01 12:00:00", 5, "2026-03-01 12:00:01");
    expect_due("2026-03-01 12:00:00", 4, "2026-03-01 12:00:00.8");
    expect_due("2026-03-01 01:00:00", 5, "2026-03-01 02:00:00");
    expect_due("2026-03-01 06:10:00", 5, "2026-03-01 07:00:01"); /* at seven it is too old already: within the second */
    expect_due("2026-03-01 06:55:00", 4, "2026-03-01 07:00:00.8");
    expect_due("2026-03-01 22:59:59.5", 5, "2026-03-02 00:00:00");
    expect_due("2026-03-01 06:00:00", 5, "2026-03-01 07:00:00");
    /* No period is as long as what may pass in it. */
    const struct leat_calendar slow = {.between_us = 12 * HOUR, .else_us = 20 * HOUR, .from_minute = 7 * 60, .to_minute = 13 * 60};
    assert_int_equal(leat_calendar_due(&slow, NULL, at("2026-03-01 08:00:00"), 5), at("2026-03-02 04:00:00"));
    assert_int_equal(leat_calendar_due(&slow, NULL, at("2026-03-01 14:00:00"), 5), at("2026-03-02 10:00:00"));
}

/* ---- the language ------------------------------------------------------------------------------------------------------ */

static const char SOURCE[] = "CREATE SOURCE events (id VARCHAR NOT NULL, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) WITH (connector = 'file', path = 'in/events.ndjson');\n";

static void expect_clause(const char *clause, const char *message) {
    struct leat_diagnostics diags = {0};
    char *text = leat_asprintf("%sCREATE MATERIALIZED TABLE t %s ALLOW LATENESS INTERVAL '1' SECOND AS SELECT id FROM events;\n", SOURCE, clause);
    struct leat_project *project = leat_project_parse("t.sql", text, strlen(text), &diags);
    if (!diags.count) OK(leat_project_check_queries(project, NULL, &diags, oops));
    if (!message && diags.count) fail_msg("%s: %s", clause, diags.items[0].message);
    if (message && !diags.count) fail_msg("%s: no error", clause);
    if (message && !strstr(diags.items[0].message, message)) fail_msg("%s: '%s', not '%s'", clause, diags.items[0].message, message);
    if (!message) { /* the whole clause is found to be replaced */
        char *other = leat_rewrite_clause(text, strlen(text), "t", LEAT_CLAUSE_REFRESH, "FRESHNESS = DOWNSTREAM");
        char *expected = leat_asprintf("%sCREATE MATERIALIZED TABLE t FRESHNESS = DOWNSTREAM ALLOW LATENESS INTERVAL '1' SECOND AS SELECT id FROM events;\n", SOURCE);
        assert_string_equal(other, expected);
        free(other);
        free(expected);
    }
    leat_diagnostics_deinit(&diags);
    leat_project_free(project);
    free(text);
}

static void spellings(void **state) {
    (void)state;
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR", NULL);
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '22:00' AND '06:00' ELSE INTERVAL '1 hour' AT TIME ZONE 'Europe/Berlin'", NULL);
    expect_clause("FRESHNESS INTERVAL '1 second' BETWEEN '7:00' AND '24:00' ELSE INTERVAL '1' HOUR", NULL);
    expect_clause("SCHEDULE CRON '0 2 * * *' READY BY '07:00'", NULL);
    expect_clause("SCHEDULE CRON '0 2 * * *' READY BY '07:00' AT TIME ZONE 'Europe/Berlin'", NULL);
    expect_clause("SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin' READY BY '07:00'", NULL);
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '7' AND '23:00' ELSE INTERVAL '1' HOUR", "'7' is no time of the day");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '25:00' ELSE INTERVAL '1' HOUR", "'25:00' is no time of the day");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '07:00' ELSE INTERVAL '1' HOUR", "the two times are the same");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00'", "expected ELSE");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' TO '23:00' ELSE INTERVAL '1' HOUR", "expected AND");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR", "expected BETWEEN");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND FROM '07:00' TO '23:00'", "expected BETWEEN");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '0' HOUR", "must be longer than zero");
    expect_clause("FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR AT TIME ZONE 'Europe/Berln'", "there is no time zone 'Europe/Berln'");
    expect_clause("SCHEDULE CRON '0 2 * * *' READY BY 'seven'", "'seven' is no time of the day");
    expect_clause("SCHEDULE CRON '0 2 * * *' READY AT '07:00'", "expected BY");
    expect_clause("SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'UTC' READY BY '07:00' AT TIME ZONE 'UTC'", "said twice");
    expect_clause("FRESHNESS = INTERVAL '1' HOUR READY BY '07:00'", "READY BY without SCHEDULE CRON");
}

/* ---- an engine --------------------------------------------------------------------------------------------------------- */

#define CALENDAR "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR AS SELECT id FROM events;\n"

static atomic_int stop;
static int64_t stop_us;
static int sleeps;

static int64_t until_then(struct leat_sim_clock *clock, int64_t deadline_us) {
    sleeps++;
    if (clock->clock.now_us(&clock->clock) + deadline_us - clock->clock.monotonic_us(&clock->clock) >= stop_us || sleeps > 10000) stop = 1;
    return deadline_us;
}

/* leat run up to a moment; how often it slept. */
static int run_until(struct world *w, int64_t until_us) {
    struct leat_sim_clock clock;
    struct leat_clock *before = w->env.clock;
    leat_sim_clock_init(&clock, w->now_us);
    clock.on_sleep = until_then;
    stop = sleeps = 0;
    stop_us = until_us;
    w->env.clock = &clock.clock;
    OK(leat_engine_run(w->engine, &stop, oops));
    w->now_us = clock.clock.now_us(&clock.clock);
    w->env.clock = before;
    return sleeps;
}

static void event(struct world *w, const char *id) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"ts\":\"2026-03-01 00:00:00\"}\n", id);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

/* At night an hour may pass; when the day begins, what waits is taken in within a second, and nothing else wakes anybody. */
static void a_table_that_keeps_hours(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    world_init(w, SOURCE, CALENDAR "CREATE MATERIALIZED TABLE u FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events;\n");
    w->now_us = at("2026-07-01 05:00:00");
    event(w, "a");
    run(w);
    expect_status(w, "\"freshness_us\":3600000000,\"calendar\":\"1secondbetween07:00and23:00,else1hour\"");
    assert_int_equal(w->engine->group_count, 2); /* u is of another group: its freshness is another one at night */
    w->now_us = at("2026-07-01 06:30:00");
    event(w, "b");
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, false, &did, oops)); /* the hour since five is over */
    w->now_us = at("2026-07-01 06:40:00");
    event(w, "c");
    OK(leat_engine_ingest(w->engine, &got, oops));
    struct leat_group *g = w->engine->tables[0].group;
    uint64_t steps = g->steps;
    OK(leat_engine_step(w->engine, false, &did, oops));
    assert_int_equal(g->steps, steps);
    assert_int_equal(g->due_us, at("2026-07-01 07:00:00.8"));
    w->now_us = g->due_us;
    OK(leat_engine_step(w->engine, false, &did, oops));
    assert_int_equal(g->steps, steps + 1);
    expect_status(w, "\"freshness_us\":1000000,\"calendar\":");
    assert_int_equal(g->pace.met, g->pace.steps); /* twenty minutes old, and as asked */
    reopen(w); /* found again by its name in journal and checkpoint */
    run(w);
    assert_int_equal(w->engine->tables[0].group->freshness.calendar.else_us, HOUR);
    world_deinit(w);
}

/* Under load the engine does not look for records until a step may be due; never past the moment at which a shorter freshness begins. */
static struct world *loaded;
static int64_t rests_to_us;

static int64_t a_record_comes(struct leat_sim_clock *clock, int64_t deadline_us) {
    rests_to_us = clock->clock.now_us(&clock->clock) + deadline_us - clock->clock.monotonic_us(&clock->clock);
    if (sleeps++) {
        stop = 1;
        return deadline_us;
    }
    event(loaded, "b"); /* wakes: the next turn takes it in, and steps */
    return clock->monotonic_us + SECOND;
}

static void the_rest_ends_with_the_night(void **state) {
    (void)state;
    struct world world, *w = loaded = &world;
    struct leat_sim_clock clock;
    world_init(w, SOURCE, CALENDAR "SET restate_at = 'never';\nSET commit_interval = INTERVAL '1' DAY;\nSET bronze_interval = INTERVAL '1' DAY;\n");
    w->now_us = at("2026-07-01 05:00:00");
    event(w, "a");
    run(w);
    struct leat_clock *before = w->env.clock;
    leat_sim_clock_init(&clock, at("2026-07-01 06:59:00"));
    clock.on_sleep = a_record_comes;
    stop = sleeps = 0;
    w->env.clock = &clock.clock;
    OK(leat_engine_run(w->engine, &stop, oops));
    w->env.clock = before;
    assert_int_equal(w->engine->tables[0].group->steps, 2);
    assert_in_range(rests_to_us, at("2026-07-01 06:59:00"), at("2026-07-01 07:00:00.8"));
    w->now_us = clock.clock.now_us(&clock.clock);
    world_deinit(w);
}

static void idle_means_asleep(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE, CALENDAR "SET restate_at = 'never';\n");
    w->now_us = at("2026-07-01 05:00:00");
    event(w, "a");
    run(w);
    OK(leat_engine_flush(w->engine, true, oops));
    w->now_us = at("2026-07-01 06:59:00");
    int with = run_until(w, at("2026-07-01 07:30:00"));
    put(w, "project.sql", SOURCE, "w");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' HOUR AS SELECT id FROM events;\nSET restate_at = 'never';\n", "a");
    w->now_us = at("2026-07-02 06:59:00");
    reopen(w);
    run(w);
    OK(leat_engine_flush(w->engine, true, oops));
    int without = run_until(w, at("2026-07-02 07:30:00"));
    assert_in_range(with, 1, without + 1);
    world_deinit(w);
}

/* The dial moves a table into its hours and out of them, and keeps its content. */
static void the_dial_turns_to_hours(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    struct leat_buffer said = {0};
    world_init(w, SOURCE, "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT id FROM events;\n");
    event(w, "a");
    run(w);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE t SET FRESHNESS = INTERVAL '1' SECOND BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR AT TIME ZONE 'Europe/Berlin'",
                         false, &diags, &said, oops));
    assert_non_null(strstr(said.data, "\"moved\""));
    event(w, "a");
    event(w, "b");
    run(w);
    expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM t", "a b");
    expect_status(w, "else1hour(Europe/Berlin)\"");
    leat_buffer_reset(&said);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE t SET FRESHNESS = INTERVAL '1' MINUTE", false, &diags, &said, oops));
    assert_non_null(strstr(said.data, "\"moved\""));
    run(w);
    expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM t", "a b");
    leat_buffer_deinit(&said);
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

/* ---- READY BY ---------------------------------------------------------------------------------------------------------- */

#define NIGHTLY(name, query, more) "CREATE MATERIALIZED TABLE " name " SCHEDULE CRON '0 2 * * *' " more " AS " query ";\n"

static struct leat_run_plan plan_of(struct world *w, int table) {
    return leat_deadline_plan(w->engine, &w->engine->tables[table]);
}

static void took(struct world *w, int table, int64_t us) {
    leat_deadline_ran(&w->engine->tables[table], us, 0);
}

static void it_begins_early_enough(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE, NIGHTLY("silver", "SELECT DISTINCT id FROM events", "") NIGHTLY("gold", "SELECT count(*) AS n FROM silver", "READY BY '07:00'"));
    event(w, "a");
    w->now_us = at("2026-07-01 12:00:00");
    OK(leat_engine_run_once(w->engine, true, false, oops)); /* asked for: of no time of the schedule */
    struct leat_run_plan plan = plan_of(w, 1);
    assert_int_equal(plan.scheduled_us, at("2026-07-02 02:00:00"));
    assert_int_equal(plan.ready_us, at("2026-07-02 07:00:00"));
    assert_int_equal(plan.start_us, plan.scheduled_us); /* it takes no time: at its hour */
    took(w, 1, 4 * HOUR);
    assert_int_equal(plan_of(w, 1).start_us, at("2026-07-02 01:59:00")); /* four hours, a quarter more, and a minute */
    assert_int_equal(plan_of(w, 0).start_us, at("2026-07-02 01:58:00")); /* what it reads comes before it */
    took(w, 0, 2 * HOUR);
    assert_int_equal(plan_of(w, 0).start_us, at("2026-07-01 23:28:00"));
    for (int i = 0; i < 19; i++) took(w, 1, HOUR);
    assert_int_equal(leat_deadline_takes(&w->engine->tables[1]), HOUR); /* one of twenty may have taken longer */
    took(w, 1, 100 * HOUR);
    took(w, 1, 100 * HOUR);
    assert_int_equal(plan_of(w, 1).start_us, at("2026-07-01 07:00:00")); /* never before the deadline before */
    world_deinit(w);
}

/* A run that was begun early is the one of its time; a restart knows that, and how long runs take. */
static void one_run_a_deadline(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE, NIGHTLY("gold", "SELECT count(*) AS n FROM events", "READY BY '07:00'"));
    event(w, "a");
    w->now_us = at("2026-07-01 12:00:00");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    took(w, 0, 5 * HOUR);
    assert_int_equal(plan_of(w, 0).start_us, at("2026-07-02 00:44:00"));
    w->now_us = at("2026-07-02 00:44:00");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    assert_int_equal(w->engine->tables[0].runs, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(plan_of(w, 0).scheduled_us, at("2026-07-03 02:00:00"));
        reopen(w); /* once by the journal, */
        OK(leat_engine_drain_and_checkpoint(w->engine, oops));
        reopen(w); /* once by its head */
    }
    w->now_us = at("2026-07-02 02:10:00");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    assert_int_equal(w->engine->tables[0].runs, 2);
    w->now_us = at("2026-07-03 02:00:00");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    assert_int_equal(w->engine->tables[0].runs, 3);
    world_deinit(w);
}

static void it_warns_before_it_is_missed(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, "CREATE MATERIALIZED TABLE prices (CONSTRAINT cheap EXPECT (price < 10) ON VIOLATION FAIL UPDATE)\n"
                                "SCHEDULE CRON '0 2 * * *' READY BY '07:00' AS SELECT k, price FROM things;\nSET alert_webhook = 'http://127.0.0.1:1/';\n"
                                "SET alert_failed_runs = 0;\n");
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    w->now_us = at("2026-07-01 12:00:00");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,"); /* nobody ran it for weeks: told, and made up for */
    took(w, 0, HOUR);
    put(w, "in/things.csv", "k,cat,price\n1,red,99\n", "w");
    w->now_us = at("2026-07-02 02:00:01");
    OK(leat_engine_run_once(w->engine, false, false, oops)); /* fails, and five hours are left */
    expect_status(w, "\"alerts\":[]");
    assert_true(leat_alerts_next_due(w->engine) <= at("2026-07-02 06:00:02"));
    w->now_us = at("2026-07-02 06:00:05");
    OK(leat_alerts_look(w->engine, false, oops));
    expect_status(w, "\"alerts\":[{\"alert\":\"not_ready\",\"on\":\"table\",\"object\":\"prices\"");
    expect_status(w, "maynotbereadyby07:00");
    w->now_us = at("2026-07-02 07:30:00");
    put(w, "in/things.csv", "k,cat,price\n1,red,5\n", "w");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":4,");
    world_deinit(w);
}

/* A first run that fails leaves its deadline open. */
static void a_first_run_that_fails(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, "CREATE MATERIALIZED TABLE prices (CONSTRAINT cheap EXPECT (price < 10) ON VIOLATION FAIL UPDATE)\n"
                                "SCHEDULE CRON '0 2 * * *' READY BY '07:00' AS SELECT k, price FROM things;\n");
    put(w, "in/things.csv", "k,cat,price\n1,red,99\n", "w");
    int64_t missed = plan_of(w, 0).ready_us;
    w->now_us = plan_of(w, 0).scheduled_us;
    OK(leat_engine_run_once(w->engine, false, false, oops));
    assert_int_equal(w->engine->tables[0].failures, 1);
    assert_int_equal(plan_of(w, 0).ready_us, missed);
    world_deinit(w);
}

/* Each table of a layer reads all of the layer before: as many ways to the last deadline as 2 to the number of layers. */
static void many_ways_to_a_deadline(void **state) {
    enum { LAYERS = 24 };
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer sql = {0};
    leat_put(&sql, NIGHTLY("a0", "SELECT id FROM events", "") NIGHTLY("b0", "SELECT id FROM events", ""));
    for (int i = 1; i < LAYERS; i++)
        for (char c = 'a'; c <= 'b'; c++)
            leat_putf(&sql, "CREATE MATERIALIZED TABLE %c%d SCHEDULE CRON '0 2 * * *' %sAS SELECT id FROM a%d UNION ALL SELECT id FROM b%d;\n", c, i,
                      i + 1 == LAYERS ? "READY BY '07:00' " : "", i - 1, i - 1);
    world_init(w, SOURCE, sql.data);
    for (int t = 0; t < 2 * LAYERS; t++) took(w, t, MINUTE);
    assert_int_equal(plan_of(w, 0).ready_us - plan_of(w, 0).start_us, 135 * SECOND);
    assert_int_equal(plan_of(w, 2 * LAYERS - 1).start_us - plan_of(w, 0).ready_us, (LAYERS - 2) * 135 * SECOND);
    leat_buffer_deinit(&sql);
    world_deinit(w);
}

/* FRESHNESS = DOWNSTREAM of what is read in two ways, which is read in two ways ...: each table is asked once. */
static void downstream_through_diamonds(void **state) {
    (void)state;
    enum { LAYERS = 30 };
    struct world world, *w = &world;
    struct leat_buffer sql = {0};
    struct leat_diagnostics diags = {0};
    world_init(w, SOURCE, "");
    leat_put(&sql, SOURCE);
    leat_put(&sql, "CREATE MATERIALIZED TABLE a0 FRESHNESS = DOWNSTREAM AS SELECT id FROM events;\nCREATE MATERIALIZED TABLE b0 FRESHNESS = DOWNSTREAM AS SELECT id FROM events;\n");
    for (int i = 1; i <= LAYERS; i++)
        for (char name = 'a'; name <= 'b'; name++)
            leat_putf(&sql, "CREATE MATERIALIZED TABLE %c%d FRESHNESS = %s AS SELECT id FROM a%d UNION ALL SELECT id FROM b%d;\n", name, i,
                      i < LAYERS ? "DOWNSTREAM" : name == 'a' ? "INTERVAL '7' SECOND" : "INTERVAL '9' SECOND", i - 1, i - 1);
    put(w, "project.sql", sql.data, "w");
    const struct leat_engine_options options = {.project_dir = w->project, .read_only = true, .compile_only = true};
    leat_engine_close(w->engine);
    OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
    for (int t = 0; t < 2 * LAYERS; t++) assert_int_equal(w->engine->tables[t].freshness.calendar.between_us, 7000000);
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&sql);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_and_until_when),
        cmocka_unit_test(when_something_is_due),
        cmocka_unit_test(a_first_run_that_fails),
        cmocka_unit_test(many_ways_to_a_deadline),
        cmocka_unit_test(the_rest_ends_with_the_night),
        cmocka_unit_test(spellings),
        cmocka_unit_test(a_table_that_keeps_hours),
        cmocka_unit_test(idle_means_asleep),
        cmocka_unit_test(the_dial_turns_to_hours),
        cmocka_unit_test(it_begins_early_enough),
        cmocka_unit_test(one_run_a_deadline),
        cmocka_unit_test(it_warns_before_it_is_missed),
        cmocka_unit_test(downstream_through_diamonds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
