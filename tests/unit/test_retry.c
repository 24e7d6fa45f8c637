/* leat rebuild and leat retry-dead: made anew from bronze; dead letters that are usable after all; a crash in between. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#include "engine/internal.h"
#include "sim/kill.h"

/* v may not be missing, at first. */
#define SOURCE(v)                                                                                                                       \
    "CREATE SOURCE events (id VARCHAR NOT NULL, v BIGINT" v ", ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"                        \
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
static const char TABLES[] = "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                             "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
                             "CREATE MATERIALIZED TABLE totals FRESHNESS = INTERVAL '2' SECOND AS SELECT count(*) AS windows, sum(n) AS n FROM minutes;\n"
                             "CREATE MATERIALIZED TABLE above SCHEDULE CRON '0 2 * * *' AS SELECT n.n, e.n AS events FROM nightly n, (SELECT count(*) AS n FROM events) e;\n"
                             "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT count(*) AS n FROM events;\n";

static void line(struct world *w, const char *text) {
    put(w, "in/events.ndjson", text, "a");
}

static void with_dead_letters(struct world *w) {
    world_init(w, SOURCE(" NOT NULL"), TABLES);
    line(w, "{\"id\":\"a\",\"v\":1,\"ts\":\"2026-01-01 00:00:10\"}\n");
    line(w, "{\"id\":\"b\",\"ts\":\"2026-01-01 00:00:20\"}\n");              /* dead: no v */
    line(w, "{\"id\":\"c\",\"v\":4,\"ts\":\"2026-01-01 00:05:00\"}\n");
    run(w);
    line(w, "{\"id\":\"late\",\"v\":8,\"ts\":\"2026-01-01 00:00:30\"}\n");    /* late */
    line(w, "{\"id\":\"d\",\"x\":\"kept\",\"ts\":\"2026-01-01 00:05:30\"}\n"); /* dead: no v */
    line(w, "no json\n");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, "SELECT count(*) FROM events__dead", "3");
}

static void mend(struct world *w) {
    put(w, "project.sql", SOURCE(""), "w");
    put(w, "project.sql", TABLES, "a");
    reopen(w);
    run(w);
}

#define MINUTES "SELECT string_agg(n || ':' || coalesce(v, 0), ' ' ORDER BY window_start) FROM minutes"

static void mended(struct world *w) {
    expect_equal(w);
    expect_text(w, MINUTES, "2:1 2:4"); /* the late one is still late */
    expect_text(w, "SELECT windows || ' ' || n FROM totals", "2 4");
    expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM events", "a b c d late");
    expect_text(w, "SELECT string_agg(payload, ' ') FROM events__dead", "no json");
    expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    expect_status(w, "\"events\":{\"in\":6,\"admitted\":4,\"late\":1,\"dead\":1,\"exact\":true}");
}

static void retry(struct world *w, const char *expected) {
    struct leat_buffer out = {0};
    OK(leat_engine_retry_dead(w->engine, "events", "the column may be missing", &out, oops));
    if (!strstr(out.data, expected)) fail_msg("no %s in %s", expected, out.data);
    leat_buffer_deinit(&out);
}

static void usable_dead_letters_are_admitted(void **state) {
    (void)state;
    struct world world, *w = &world;
    with_dead_letters(w);
    retry(w, "\"usable\": 0"); /* nothing was mended */
    mend(w);
    retry(w, "\"usable\": 2");
    mended(w);
    expect_text(w, "SELECT n || ' ' || events FROM above", "5 5"); /* after what it reads */
    expect_text(w, "SELECT string_agg(reason || ' ' || \"new\", ';' ORDER BY \"new\") FROM minutes__restatements WHERE old IS NOT NULL",
                "the column may be missing {\"window_start\":\"2026-01-01 00:00:00\",\"n\":2,\"v\":1};the column may be missing "
                "{\"window_start\":\"2026-01-01 00:05:00\",\"n\":2,\"v\":4}");
    retry(w, "\"usable\": 0"); /* a second time: nothing */
    reopen(w);
    mended(w);
    line(w, "{\"id\":\"e\",\"v\":16,\"ts\":\"2026-01-01 00:05:40\"}\n");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, MINUTES, "2:1 3:20");
    expect_text(w, "SELECT n FROM nightly", "6");
    world_deinit(w);
}

/* Killed after bronze was committed, and again at any later call that reaches the disk: the next start finishes it. */
static struct leat_io_ops failing;
static int calls_left;

static enum leat_status refuse(struct leat_error *err) {
    leat_fail(err, LEAT_IO, "planted");
    err->fatal = true;
    return LEAT_IO;
}

static enum leat_status failing_link(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    return calls_left-- > 0 ? leat_io_real()->ops->link(leat_io_real(), from, to, err) : refuse(err);
}

static enum leat_status failing_rename(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    (void)io;
    return calls_left-- > 0 ? leat_io_real()->ops->rename(leat_io_real(), from, to, err) : refuse(err);
}

static enum leat_status failing_unlink(struct leat_io *io, const char *path, struct leat_error *err) {
    (void)io;
    return calls_left-- > 0 ? leat_io_real()->ops->unlink(leat_io_real(), path, err) : refuse(err);
}

static enum leat_status failing_adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    (void)io;
    return calls_left-- > 0 ? leat_io_real()->ops->adopt(leat_io_real(), scratch, to, err) : refuse(err);
}

static void a_crash_is_finished_at_the_next_start(void **state) {
    (void)state;
    int finished = 0;
    for (int n = 1; !finished && n < 200; n += 11) {
        struct world world, *w = &world;
        with_dead_letters(w);
        mend(w);
        struct leat_io io = {.ops = &failing, .context = w->env.io->context};
        struct leat_io *real = w->env.io;
        struct leat_error err = {0};
        failing = *real->ops;
        failing.link = failing_link;
        failing.rename = failing_rename;
        failing.unlink = failing_unlink;
        failing.adopt = failing_adopt;
        calls_left = n;
        w->env.io = &io;
        finished = leat_engine_retry_dead(w->engine, "events", "test", NULL, &err) == LEAT_OK;
        w->env.io = real;
        reopen(w);
        retry(w, "\"usable\""); /* what had not begun is done now */
        mended(w);
        world_deinit(w);
    }
    assert_true(finished);
}

/* A record that is in the log, and not in bronze, when leat starts where it had been killed. */
static void arrives_before_it_is_finished(struct world *w) {
    uint64_t records = 0;
    char *marker = leat_asprintf("%s/.leat/retry", w->project), *aside = leat_asprintf("%s/.leat/aside", w->project);
    bool half_done = rename(marker, aside) == 0;
    reopen(w);
    line(w, "{\"id\":\"e\",\"v\":16,\"ts\":\"2026-01-01 00:05:50\"}\n");
    if (half_done) {
        OK(leat_src_poll(&w->engine->sources[0], &records, oops));
        OK(leat_src_sync(&w->engine->sources[0], oops));
        assert_int_equal(records, 1);
        leat_engine_close(w->engine);
        w->engine = NULL;
        assert_int_equal(rename(aside, marker), 0);
        reopen(w);
    }
    free(marker);
    free(aside);
}

/* A table may not be made of what is usable now: FAIL UPDATE. Then the dead letters stay what they are, killed anywhere too. */
static void dead_letters_that_fail_update_stops(void **state) {
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done; n += 3 + 3 * n) {
        struct world world, *w = &world;
        struct leat_error err = {0};
        with_dead_letters(w);
        put(w, "project.sql", SOURCE(""), "w");
        put(w, "project.sql", TABLES, "a");
        put(w, "project.sql", "CREATE MATERIALIZED TABLE strict (CONSTRAINT known EXPECT (v IS NOT NULL) ON VIOLATION FAIL UPDATE)\n"
                              "FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v FROM events;\n", "a");
        w->env.io = leat_io_killable();
        leat_io_kill_after(UINT64_MAX);
        reopen(w);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        leat_io_kill_after(n);
        if (leat_engine_retry_dead(w->engine, "events", "test", NULL, &err) == LEAT_OK) fail_msg("made of what FAIL UPDATE does not allow");
        done = strstr(err.text, "nothing is changed: ") && strstr(err.text, "\"strict\" violates FAIL UPDATE");
        leat_engine_close(w->engine);
        w->engine = NULL;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        arrives_before_it_is_finished(w);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        expect_equal(w);
        expect_text(w, MINUTES, "1:1 2:20");
        expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM events", "a c e late");
        expect_text(w, "SELECT count(*) FROM events__dead", "3");
        expect_status(w, "\"events\":{\"in\":7,\"admitted\":3,\"late\":1,\"dead\":3,\"exact\":true}");
        world_deinit(w);
    }
}

static void a_rebuild_finds_what_is_there(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer out = {0};
    with_dead_letters(w);
    for (int i = 0; i < 2; i++) {
        OK(leat_engine_rebuild(w->engine, "minutes", "test", &out, oops));
        assert_non_null(strstr(out.data, "\"changes\": 0"));
        leat_buffer_reset(&out);
        expect_equal(w);
        expect_text(w, MINUTES, "1:1 1:4");
        reopen(w);
        expect_equal(w);
    }
    OK(leat_engine_rebuild(w->engine, "totals", "test", &out, oops)); /* made of another group's table */
    expect_equal(w);
    OK(leat_engine_rebuild(w->engine, "nightly", "test", NULL, oops));
    line(w, "{\"id\":\"e\",\"v\":16,\"ts\":\"2026-01-01 00:05:40\"}\n");
    run(w);
    expect_text(w, MINUTES, "1:1 2:20");
    expect_text(w, "SELECT windows || ' ' || n FROM totals", "2 3");
    leat_buffer_deinit(&out);
    world_deinit(w);
}

/* A table over one of its own group, and what a constraint has set aside. */
static void a_rebuild_reads_the_tables_of_its_group(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(""),
               "CREATE MATERIALIZED TABLE checked (CONSTRAINT small EXPECT (v < 5) ON VIOLATION QUARANTINE) FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v FROM events;\n"
               "CREATE MATERIALIZED TABLE over FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n, sum(v) AS v FROM checked;\n");
    line(w, "{\"id\":\"a\",\"v\":1,\"ts\":\"2026-01-01 00:00:10\"}\n{\"id\":\"b\",\"v\":9,\"ts\":\"2026-01-01 00:00:10\"}\n");
    run(w);
    static const char *const tables[] = {"over", "checked"};
    for (int i = 0; i < 2; i++) {
        OK(leat_engine_rebuild(w->engine, tables[i], "test", NULL, oops));
        for (int k = 0; k < 2; k++) {
            expect_equal(w);
            expect_text(w, "SELECT n || ' ' || v FROM over", "1 1");
            expect_text(w, "SELECT count(*) FROM checked__quarantine", "1");
            reopen(w);
        }
    }
    line(w, "{\"id\":\"c\",\"v\":2,\"ts\":\"2026-01-01 00:00:10\"}\n");
    run(w);
    expect_equal(w);
    expect_text(w, "SELECT n || ' ' || v FROM over", "2 3");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usable_dead_letters_are_admitted),
        cmocka_unit_test(a_rebuild_finds_what_is_there),
        cmocka_unit_test(a_rebuild_reads_the_tables_of_its_group),
        cmocka_unit_test(dead_letters_that_fail_update_stops),
        cmocka_unit_test(a_crash_is_finished_at_the_next_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
