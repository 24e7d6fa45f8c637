/* Alerts: each kind is raised once and over once, whatever crashes in between; what is told is durable first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/tell/alerts.h"
#include "engine/tell/tell.h"
#include "engine_world.h"
#include "sim/kill.h"

#define HOOK "SET alert_webhook = 'http://127.0.0.1:1/hook';\n"
#define RAW "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT id, k, v FROM events;\n"
#define SECOND INT64_C(1000000)

static uint64_t free_bytes;

static enum leat_status some_space(struct leat_io *io, const char *path, uint64_t *bytes, uint64_t *device, struct leat_error *err) {
    (void)io, (void)path, (void)err;
    *bytes = free_bytes;
    *device = 1;
    return LEAT_OK;
}

/* The shop on a disk that says how much is free, and that can die. */
static void alerts_init(struct world *w, const char *tables) {
    static struct leat_io_ops ops;
    static struct leat_io io = {.ops = &ops};
    leat_io_kill_after(UINT64_MAX);
    ops = *leat_io_killable()->ops;
    ops.space = some_space;
    free_bytes = UINT64_C(1) << 40;
    shop_init(w, tables);
    w->env.io = &io;
    reopen(w);
}

static void event(struct world *w, const char *id, int v) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":1,\"v\":%d,\"ts\":\"2026-01-01 00:00:00\"}\n", id, v);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void look(struct world *w) {
    w->now_us += 2 * SECOND;
    OK(leat_alerts_look(w->engine, false, oops));
}

/* So many events are durable and still to be sent: nobody listens there. */
static void expect_told(struct world *w, int count) {
    char *text = leat_asprintf("\"alert_webhook\":{\"waiting\":%d,", count);
    expect_status(w, text);
    free(text);
}

static void expect_raised(struct world *w, const char *kind, const char *on, const char *object) {
    char *text = leat_asprintf("\"alerts\":[{\"alert\":\"%s\",\"on\":\"%s\",\"object\":\"%s\",", kind, on, object);
    expect_status(w, text);
    free(text);
}

static void a_full_disk(void **state) {
    (void)state;
    struct world world, *w = &world;
    alerts_init(w, RAW HOOK);
    look(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":0,");
    free_bytes = 500 << 20;
    w->now_us += 10 * SECOND;
    look(w);
    expect_raised(w, "disk_low", "folder", "work");
    expect_status(w, "thediskisnearlyfull:500MiBfree");
    w->now_us += 10 * SECOND;
    look(w);
    reopen(w); /* what is raised is known after a restart */
    w->now_us += 10 * SECOND;
    look(w);
    expect_told(w, 1);
    free_bytes = 1100 << 20; /* enough, but not so much more that it would not be raised again at once */
    w->now_us += 10 * SECOND;
    look(w);
    expect_told(w, 1);
    free_bytes = 2000 << 20;
    w->now_us += 10 * SECOND;
    look(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    world_deinit(w);
}

static void a_table_that_is_too_old(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    alerts_init(w, RAW HOOK);
    event(w, "a", 1);
    OK(leat_engine_ingest(w->engine, &got, oops));
    w->now_us += 50 * SECOND;
    look(w);
    expect_told(w, 0);
    int64_t due = leat_alerts_next_due(w->engine); /* nothing else would wake the engine for it */
    assert_true(due > w->now_us && due < w->now_us + 12 * SECOND);
    w->now_us = due - 2 * SECOND;
    look(w);
    expect_raised(w, "freshness_missed", "table", "raw");
    look(w);
    assert_true(leat_alerts_next_due(w->engine) == INT64_MAX); /* only a step ends it */
    OK(leat_engine_step(w->engine, true, &did, oops)); /* too late, but it has everything now */
    look(w);
    event(w, "b", 1);
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops));
    look(w);
    expect_told(w, 1);
    w->now_us += 55 * SECOND;
    look(w);
    expect_told(w, 1); /* a minute of it, as for the beginning */
    w->now_us += 10 * SECOND;
    look(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    assert_true(leat_alerts_next_due(w->engine) == INT64_MAX); /* idle means asleep */
    world_deinit(w);
}

/* Each step comes too late though none waits long: overload is an alert, one slow step is none. */
static void steps_that_are_always_too_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    bool did;
    alerts_init(w, RAW HOOK);
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "e%d", i);
        event(w, id, 1);
        OK(leat_engine_ingest(w->engine, &got, oops));
        w->now_us += 3 * SECOND;
        OK(leat_engine_step(w->engine, true, &did, oops));
        look(w);
        if (i == 2) {
            w->now_us += 30 * SECOND; /* quiet: what was slow is forgotten */
            look(w);
        }
        if (i < 8) expect_told(w, 0);
    }
    expect_raised(w, "freshness_missed", "table", "raw");
    expect_told(w, 1);
    world_deinit(w);
}

static void a_sink_that_is_behind(void **state) {
    (void)state;
    struct world world, *w = &world;
    bool did;
    uint64_t got;
    alerts_init(w, RAW "CREATE SINK out FROM raw WITH (connector = 'file', path = 'gone/raw.out');\n" HOOK);
    run(w);
    event(w, "a", 1);
    OK(leat_engine_ingest(w->engine, &got, oops));
    do OK(leat_engine_step(w->engine, true, &did, oops));
    while (did);
    look(w);
    expect_told(w, 0);
    w->now_us = leat_alerts_next_due(w->engine);
    OK(leat_alerts_look(w->engine, false, oops));
    expect_raised(w, "sink_behind", "sink", "out");
    w->now_us += 3600 * SECOND;
    look(w);
    char *folder = scratch_dir(w->project, "gone");
    leat_engine_deliver(w->engine);
    look(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    free(folder);
    world_deinit(w);
}

static void dead_letters(void **state) {
    (void)state;
    struct world world, *w = &world;
    alerts_init(w, RAW HOOK);
    put(w, "in/events.ndjson", "not json\n", "a");
    run(w);
    expect_raised(w, "dead_letters", "source", "events");
    expect_status(w, "sourceevents:1newdeadletter;events__deadhasthem");
    put(w, "in/events.ndjson", "nor this\n", "a");
    run(w);
    reopen(w);
    expect_told(w, 1);
    w->now_us += 3500 * SECOND;
    put(w, "in/events.ndjson", "{}\n", "a"); /* one more within the hour */
    run(w);
    w->now_us += 3590 * SECOND;
    run(w);
    expect_told(w, 1);
    w->now_us += 20 * SECOND;
    run(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    reopen(w);
    run(w); /* those that were told of are not news again */
    expect_told(w, 2);
    put(w, "in/events.ndjson", "again\n", "a");
    run(w);
    expect_told(w, 3);
    world_deinit(w);
}

static void a_run_that_fails(void **state) {
    (void)state;
    struct world world, *w = &world;
    alerts_init(w, "CREATE MATERIALIZED TABLE prices (CONSTRAINT cheap EXPECT (price < 10) ON VIOLATION FAIL UPDATE)\n"
                   "SCHEDULE CRON '0 2 * * *' AS SELECT k, price FROM things;\n" HOOK);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_told(w, 0);
    put(w, "in/things.csv", "k,cat,price\n1,red,99\n", "w");
    for (int i = 0; i < 3; i++) OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_raised(w, "run_failed", "table", "prices");
    reopen(w);
    expect_told(w, 1);
    put(w, "in/things.csv", "k,cat,price\n1,red,9\n", "w");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    world_deinit(w);
}

static void a_check_that_drifts(void **state) {
    (void)state;
    struct world world, *w = &world;
    alerts_init(w, "CREATE MATERIALIZED TABLE kinds FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n"
                   "CREATE CHECK books COMPARE kinds WITH (SELECT k, price AS n FROM things WHERE k = 1) BY k;\n" HOOK);
    event(w, "a", 1);
    run(w);
    expect_told(w, 0);
    put(w, "in/things.csv", "k,cat,price\n1,red,7\n", "w");
    run(w);
    expect_raised(w, "drift", "check", "books");
    run(w);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    run(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    world_deinit(w);
}

/* Whatever call of the disk leat dies at, an incident is told once when it begins and once when it is over. */
static void a_crash_at_any_call(void **state) {
    (void)state;
    struct world world, *w = &world;
    int told = 0;
    alerts_init(w, RAW HOOK);
    look(w);
    for (uint64_t n = 0;; n++) {
        bool killed = false;
        for (int over = 0; over < 2; over++) {
            struct leat_error err = {0};
            free_bytes = over ? UINT64_C(1) << 40 : 0;
            w->now_us += 12 * SECOND;
            leat_io_kill_after(n);
            enum leat_status st = leat_alerts_look(w->engine, false, &err);
            killed |= leat_io_killed();
            assert_true(st == LEAT_OK || leat_io_killed());
            leat_engine_close(w->engine);
            w->engine = NULL;
            leat_io_kill_after(UINT64_MAX);
            reopen(w);
            w->now_us += 12 * SECOND;
            look(w);
            expect_told(w, ++told);
        }
        if (!killed) break;
        assert_true(n < 200);
    }
    assert_true(told > 10);
    world_deinit(w);
}

static enum leat_status takes_all(struct leat_sink *sink, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed, struct leat_error *err) {
    (void)sink, (void)stop, (void)err;
    for (size_t i = 0; i < count; i++)
        if (strstr(effects[i].payload, "alert.left_out") && !strstr(effects[i].payload, "{\"count\":25,")) fail_msg("%s", effects[i].payload);
    *confirmed = count;
    return LEAT_OK;
}

/* Events that find ten thousand waiting are counted, through restarts, and told as one when there is room again. */
static void more_than_can_wait(void **state) {
    (void)state;
    enum { MORE = 25, MOST = 10000 };
    struct world world, *w = &world;
    alerts_init(w, RAW HOOK);
    const struct leat_alert alert = {.kind = "disk_low", .on = "folder", .object = (char *)"work", .incident = (char *)"x"};
    for (int i = 0; i < MOST + MORE; i++) {
        leat_alert_tell(w->engine, &alert, i % 2 == 0, "again");
        if (i == MOST + 5) OK(leat_alerts_save(w->engine, oops));
    }
    look(w);
    look(w);
    expect_told(w, MOST);
    reopen(w);
    look(w);
    expect_told(w, MOST);
    struct leat_sink_ops ops = *w->engine->alerts->sink->ops;
    ops.deliver = takes_all;
    w->engine->alerts->sink->ops = &ops;
    leat_alerts_settle(w->engine);
    expect_told(w, 0);
    look(w);
    expect_told(w, 1);
    look(w);
    expect_told(w, 1);
    leat_alerts_settle(w->engine);
    expect_told(w, 0);
    w->engine->alerts->sink->ops = &leat_sink_webhook;
    world_deinit(w);
}

/* A webhook that is set while something is raised is told of it; without one, alerts are there all the same. */
static void a_webhook_that_comes_later(void **state) {
    (void)state;
    struct world world, *w = &world;
    alerts_init(w, RAW);
    free_bytes = 0;
    w->now_us += 12 * SECOND;
    look(w);
    expect_raised(w, "disk_low", "folder", "work");
    put(w, "project.sql", HOOK, "a");
    reopen(w);
    w->now_us += 12 * SECOND;
    look(w);
    expect_told(w, 1);
    expect_raised(w, "disk_low", "folder", "work");
    put(w, "project.sql", shop_sources, "w");
    put(w, "project.sql", RAW, "a");
    reopen(w);
    free_bytes = UINT64_C(1) << 40;
    w->now_us += 12 * SECOND;
    look(w);
    expect_status(w, "\"alerts\":[]");
    put(w, "project.sql", HOOK, "a");
    reopen(w);
    expect_told(w, 0); /* nothing of before */
    world_deinit(w);
}

/* What somebody was told over HTTP is in status.json too. */
static void status_json_has_it(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer text = {0};
    alerts_init(w, RAW);
    look(w);
    OK(leat_engine_publish_status(w->engine, oops));
    free_bytes = 0;
    w->now_us += 12 * SECOND;
    look(w);
    expect_raised(w, "disk_low", "folder", "work");
    OK(leat_engine_publish_status(w->engine, oops));
    char *path = leat_asprintf("%s/.leat/status.json", w->project);
    OK(leat_io_read_all(w->env.io, path, 1 << 20, &text, oops));
    assert_non_null(strstr(text.data, "disk_low"));
    free(path);
    leat_buffer_deinit(&text);
    world_deinit(w);
}

/* Without what was raised, numbers go on behind those that the outbox has: what is raised anew is told. */
static void a_state_that_is_lost(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_error err;
    alerts_init(w, RAW HOOK);
    free_bytes = 0;
    w->now_us += 12 * SECOND;
    look(w);
    expect_told(w, 1);
    char *path = leat_asprintf("%s/.leat/alerts/state.json", w->project);
    OK(w->env.io->ops->unlink(w->env.io, path, &err));
    free(path);
    reopen(w);
    w->now_us += 12 * SECOND;
    look(w);
    expect_raised(w, "disk_low", "folder", "work");
    expect_told(w, 2);
    world_deinit(w);
}

static void a_table_that_goes_takes_its_alert_along(void **state) {
    (void)state;
    struct world world, *w = &world;
    uint64_t got;
    alerts_init(w, RAW HOOK);
    event(w, "a", 1);
    OK(leat_engine_ingest(w->engine, &got, oops));
    w->now_us += 100 * SECOND;
    look(w);
    expect_raised(w, "freshness_missed", "table", "raw");
    put(w, "project.sql", shop_sources, "w");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE other FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM events;\n" HOOK, "a");
    reopen(w);
    look(w);
    expect_status(w, "\"alerts\":[],\"alert_webhook\":{\"waiting\":2,");
    world_deinit(w);
}

/* What is told is text, though an error quotes other bytes and is cut anywhere. */
static void it_is_text(void **state) {
    (void)state;
    char text[] = "caf\xc3\xa9 \xff\n\xe2\x82";
    leat_alert_clean(text);
    assert_string_equal(text, "caf\xc3\xa9 ? ??");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(a_table_that_is_too_old),
        cmocka_unit_test(steps_that_are_always_too_late),
        cmocka_unit_test(a_sink_that_is_behind),
        cmocka_unit_test(dead_letters),
        cmocka_unit_test(a_run_that_fails),
        cmocka_unit_test(a_check_that_drifts),
        cmocka_unit_test(a_crash_at_any_call),
        cmocka_unit_test(more_than_can_wait),
        cmocka_unit_test(a_webhook_that_comes_later),
        cmocka_unit_test(a_state_that_is_lost),
        cmocka_unit_test(status_json_has_it),
        cmocka_unit_test(it_is_text),
        cmocka_unit_test(a_table_that_goes_takes_its_alert_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
