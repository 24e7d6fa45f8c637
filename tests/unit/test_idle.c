/* Rule 15 on a virtual clock: what is idle, what is not, and what a table over several sources makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connect/feed.h"
#include "engine_world.h"

static const char SOURCES[] =
    "CREATE SOURCE a (id VARCHAR, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/a*.ndjson', format = 'json', idle_timeout = INTERVAL '10' SECOND);\n"
    "CREATE SOURCE b (id VARCHAR, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/b*.ndjson', format = 'json');\n";
static const char TABLES[] =
    "CREATE MATERIALIZED TABLE both FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
    "SELECT window_start, count(*) AS n FROM (SELECT window_start FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) UNION ALL\n"
    "SELECT window_start FROM TUMBLE(b, ts, INTERVAL '1' MINUTE)) GROUP BY window_start;\n"
    "CREATE MATERIALIZED TABLE alone FRESHNESS = INTERVAL '1' SECOND AS\n"
    "SELECT window_start, count(*) AS n FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
    "CREATE MATERIALIZED TABLE beside FRESHNESS = INTERVAL '1' SECOND AS\n" /* the operator of alone, with another cut */
    "SELECT window_start, count(*) AS n FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) GROUP BY window_start UNION ALL\n"
    "SELECT window_start, count(*) AS n FROM TUMBLE(b, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n";

static void add(struct world *w, char source, const char *time) {
    char name[32], line[96];
    snprintf(name, sizeof name, "in/%c.ndjson", source);
    snprintf(line, sizeof line, "{\"id\":\"x\",\"ts\":\"2026-01-01 %s\"}\n", time);
    put(w, name, line, "a");
    w->now_us -= 2000000;
}

/* Time goes on, the sources are asked, whatever is due steps. */
static void tick(struct world *w, int seconds) {
    uint64_t got;
    bool did;
    w->now_us += seconds * INT64_C(1000000);
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops));
    expect_equal(w);
}

static void expect_both(struct world *w, int rows) {
    char part[96];
    snprintf(part, sizeof part, "\"name\":\"both\",\"kept\":\"incremental\",\"class\":4,\"rows\":%d,", rows);
    expect_status(w, part);
}

static void an_idle_source_holds_nobody_back(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCES, TABLES);
    add(w, 'a', "00:00:10");
    add(w, 'b', "00:00:20");
    tick(w, 1);
    add(w, 'b', "00:05:00");
    tick(w, 1);
    tick(w, 8);
    expect_both(w, 0); /* a may still have something to say */
    tick(w, 2);
    expect_both(w, 1);
    expect_status(w, "\"idle\":true");
    add(w, 'a', "00:00:30"); /* behind what both has published; alone has not waited for b */
    tick(w, 1);
    expect_both(w, 1);
    expect_status(w, "\"a\":{\"in\":2,\"admitted\":1,\"late\":1,\"dead\":0,\"exact\":true},\"b\"");
    expect_status(w, "\"balance\":{\"a\":{\"in\":2,\"admitted\":2,\"late\":0,\"dead\":0,\"exact\":true}}");
    add(w, 'a', "00:05:30");
    add(w, 'b', "00:06:10");
    tick(w, 1);
    for (int i = 0; i < 2; i++) { /* the journal, then a checkpoint */
        reopen(w);
        expect_equal(w);
        expect_both(w, 1);
        expect_status(w, "\"a\":{\"in\":3,\"admitted\":2,\"late\":1,\"dead\":0,\"exact\":true},\"b\"");
        OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    }
    add(w, 'a', "00:04:59"); /* still late: what idleness gave away does not come back */
    tick(w, 1);
    expect_status(w, "\"a\":{\"in\":4,\"admitted\":2,\"late\":2,\"dead\":0,\"exact\":true},\"b\"");
    tick(w, 11);
    expect_both(w, 2);
    world_deinit(w);
}

static void a_restart_begins_the_time_anew(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCES, TABLES);
    add(w, 'a', "00:00:10");
    add(w, 'b', "00:05:00");
    tick(w, 1);
    tick(w, 9);
    reopen(w);
    tick(w, 9);
    expect_both(w, 0);
    tick(w, 9);
    expect_both(w, 0);
    tick(w, 2);
    expect_both(w, 1);
    world_deinit(w);
}

static bool a_fails;

static enum leat_status failing_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out,
                                     struct leat_error *err) {
    if (a_fails && strstr(path, "in/a.ndjson")) return leat_fail(err, LEAT_IO, "injected");
    return leat_io_real()->ops->open(io, path, mode, out, err);
}

static void a_source_that_fails_is_not_idle(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCES, TABLES);
    struct leat_io_ops ops = *w->env.io->ops;
    struct leat_io io = {.ops = &ops, .context = w->env.io->context};
    ops.open = failing_open;
    w->env.io = &io;
    reopen(w);
    add(w, 'a', "00:00:10");
    add(w, 'b', "00:05:00");
    tick(w, 1);
    add(w, 'a', "00:00:20");
    a_fails = true;
    for (int i = 0; i < 5; i++) tick(w, 10); /* tried again after a minute */
    expect_both(w, 0);
    a_fails = false;
    tick(w, 20); /* read */
    expect_status(w, "\"a\":{\"in\":2,");
    tick(w, 9);
    expect_both(w, 0);
    tick(w, 2);
    expect_both(w, 1);
    world_deinit(w);
}

/* Partition 0 is what `leat feed` plays; files go on meanwhile. */
static void an_idle_partition_holds_its_source_no_longer(void **state) {
    (void)state;
    static const char fed[] = "{\"id\":\"x\",\"ts\":\"2026-01-01 00:00:10\"}";
    struct world world, *w = &world;
    struct leat_feed *feed;
    uint32_t number;
    world_init(w, SOURCES,
               "CREATE MATERIALIZED TABLE both FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
               "SELECT window_start, count(*) AS n FROM TUMBLE(a, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n");
    char *dir = leat_asprintf("%s/.leat/connector/a", w->project), *elsewhere = leat_asprintf("%s/elsewhere.ndjson", w->project);
    put(w, "elsewhere.ndjson", fed, "w");
    OK(leat_feed_open(&w->env, dir, &feed, oops));
    OK(leat_feed_file(feed, elsewhere, elsewhere, &number, oops));
    OK(leat_feed_add(feed, number, 1, fed, sizeof fed - 1, oops));
    OK(leat_feed_sync(feed, oops));
    leat_feed_close(feed);
    free(dir);
    free(elsewhere);
    for (int i = 0; i < 5; i++) {
        char time[16];
        snprintf(time, sizeof time, "00:0%d:00", i + 1);
        add(w, 'a', time);
        tick(w, 2);
        expect_both(w, 0);
    }
    tick(w, 1);
    add(w, 'a', "00:06:30");
    tick(w, 1);
    expect_both(w, 5); /* of its own minute and of 00:01 to 00:04 */
    tick(w, 1);
    expect_both(w, 6);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_source_holds_nobody_back),
        cmocka_unit_test(a_restart_begins_the_time_anew),
        cmocka_unit_test(a_source_that_fails_is_not_idle),
        cmocka_unit_test(an_idle_partition_holds_its_source_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
