/* New columns of a source (rule 20): they have values from then on, what was decoded before stays as it is, and tables that do not use them
 * keep state and content. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "sim/kill.h"

#include "engine/internal.h"

#define SOURCE(more) \
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, " more "v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) INCLUDE offset AS place\n" \
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
#define SUMS "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v, max(place) AS place FROM events GROUP BY k;\n"
#define NOTED "CREATE MATERIALIZED TABLE noted FRESHNESS = INTERVAL '1' SECOND AS SELECT note, count(*) AS n, sum(weight) AS weight FROM events GROUP BY note;\n"
#define ONCE "CREATE MATERIALIZED TABLE once FRESHNESS = INTERVAL '1' SECOND AS SELECT id, k, note, weight, v, ts FROM (SELECT DISTINCT ON (k) id, k, note, weight, v, ts FROM events);\n"
#define NIGHTLY "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT note, count(*) AS n FROM events GROUP BY note;\n"
#define NEW "note VARCHAR, weight DECIMAL(10,2), "

/* The bytes have the new fields from the beginning. */
static void event(struct world *w, int id, int k) {
    char *line = leat_asprintf("{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 00:00:%02d\",\"note\":\"n%d\",\"weight\":%d.5}\n", id, k, id, id % 60, id % 2, id);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

/* The project of now; fates: what is said of it, before and after. */
static void apply(struct world *w, const char *source, const char *tables, const char *const *said) {
    put(w, "project.sql", source, "w");
    put(w, "project.sql", tables, "a");
    for (int dry = 1; dry >= 0; dry--) {
        const struct leat_change change = {.dry_run = dry};
        struct leat_diagnostics diags = {0};
        struct leat_buffer out = {0};
        struct leat_error err = {0};
        if (leat_engine_apply(w->engine, &change, &diags, &out, &err) != LEAT_OK) fail_msg("%s %s", err.text, diags.count ? diags.items[0].message : "");
        for (size_t i = 0; said[i]; i++)
            if (!strstr(out.data, said[i])) fail_msg("%s is not in %s", said[i], out.data);
        leat_diagnostics_deinit(&diags);
        leat_buffer_deinit(&out);
    }
}

/* A process that no call of it kills, yet. */
static void reopen_on(struct world *w, struct leat_io *io) {
    leat_engine_close(w->engine);
    w->engine = NULL;
    leat_io_kill_after(UINT64_MAX);
    w->env.io = io;
    reopen(w);
}

static const char noted[] = "SELECT string_agg(coalesce(note, '-') || ' ' || n || ' ' || coalesce(weight, 0), '; ' ORDER BY note) FROM noted";

static void expect_contents(struct world *w, const char *notes) {
    expect_equal(w);
    expect_text(w, noted, notes);
}

static void a_new_column_has_values_from_then_on(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(""), SUMS);
    for (int i = 0; i < 6; i++) event(w, i, i % 2);
    run(w);
    char *before = text_of(w, "SELECT CAST(list(s ORDER BY k) AS VARCHAR) FROM sums s");
    apply(w, SOURCE(NEW), SUMS NOTED NIGHTLY, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", "\"noted\",\n   \"fate\": \"new\"", NULL});
    expect_text(w, "SELECT CAST(list(s ORDER BY k) AS VARCHAR) FROM sums s", before);
    expect_contents(w, "- 6 0.00");
    event(w, 6, 1);
    event(w, 7, 0);
    run(w);
    expect_contents(w, "n0 1 6.50; n1 1 7.50; - 6 0.00");
    reopen(w); /* steps are run again, from bronze and from the log */
    run(w);
    expect_contents(w, "n0 1 6.50; n1 1 7.50; - 6 0.00");
    OK(leat_engine_rebuild(w->engine, "noted", "to see", NULL, oops));
    expect_contents(w, "n0 1 6.50; n1 1 7.50; - 6 0.00");
    OK(leat_engine_batch(w->engine, true, oops));
    expect_text(w, "SELECT string_agg(coalesce(note, '-') || n, ' ' ORDER BY note) FROM nightly", "n01 n11 -6");
    expect_equal(w);
    reopen_without_work(w); /* the log is gone: bronze decides */
    event(w, 8, 0);
    run(w);
    expect_contents(w, "n0 2 15.00; n1 1 7.50; - 6 0.00");
    free(before);
    world_deinit(w);
}

/* DISTINCT ON keeps a place instead of a row, and reads it again: not from the log, whose bytes say more than what was decoded. */
static void rows_read_again_are_as_they_were(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(""), SUMS);
    event(w, 2, 1);
    run(w);
    apply(w, SOURCE(NEW), SUMS ONCE, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    expect_text(w, "SELECT string_agg(id || coalesce(note, '-'), ' ') FROM once", "e2-");
    event(w, 1, 1); /* before it in the order of ties: takes its place */
    run(w);
    expect_text(w, "SELECT string_agg(id || coalesce(note, '-'), ' ') FROM once", "e1n1");
    reopen(w);
    event(w, 0, 1);
    run(w);
    expect_text(w, "SELECT string_agg(id || coalesce(note, '-'), ' ') FROM once", "e0n0");
    world_deinit(w);
}

/* A column that is declared no more stays in the archive; back again, it is NULL in between. */
static void a_column_goes_and_comes_back(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(NEW), SUMS NOTED ONCE);
    event(w, 1, 1);
    run(w);
    apply(w, SOURCE(""), SUMS, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", "\"noted\",\n   \"fate\": \"gone\"", NULL});
    event(w, 2, 1);
    run(w);
    reopen(w);
    apply(w, SOURCE(NEW), SUMS NOTED ONCE, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    event(w, 3, 1);
    event(w, 5, 2);
    run(w);
    expect_contents(w, "n1 3 10.50; - 1 0.00");
    OK(leat_engine_rebuild(w->engine, "once", "to see", NULL, oops));
    expect_equal(w);
    world_deinit(w);
}

/* Refused, the former project goes on, over an archive that has the column by then. */
static void a_refused_change_leaves_the_former_project(void **state) {
    (void)state;
    struct world world, *w = &world;
    const struct leat_change change = {0};
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    world_init(w, SOURCE(""), SUMS);
    event(w, 1, 1);
    run(w);
    put(w, "project.sql", SOURCE(NEW) "CREATE SOURCE gone (k INTEGER PRIMARY KEY, name VARCHAR) WITH (connector = 'file', path = 'in/gone.csv', format = 'csv');\n" SUMS
        "CREATE MATERIALIZED TABLE named FRESHNESS = INTERVAL '1' SECOND AS SELECT e.id, g.name FROM events e JOIN gone g USING (k);\n", "w");
    assert_true(leat_engine_apply(w->engine, &change, &diags, NULL, &err) != LEAT_OK);
    assert_false(err.fatal);
    leat_diagnostics_deinit(&diags);
    int64_t threads;
    OK(leat_conn_int(w->engine->batch_conn, "SELECT current_setting('threads')", &threads, oops));
    assert_int_equal(threads, 1); /* others only spin beside a single writer */
    event(w, 2, 1);
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_equal(w);
    apply(w, SOURCE(NEW), SUMS NOTED, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    event(w, 3, 1);
    run(w);
    expect_contents(w, "n1 1 3.50; - 2 0.00");
    world_deinit(w);
}

/* Asked for, records before the columns get their values from what bronze kept of them; what that changes is in the account. */
static void old_records_are_decoded_again(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer out = {0};
    world_init(w, SOURCE(""), SUMS);
    for (int i = 0; i < 4; i++) event(w, i, i % 2);
    put(w, "in/events.ndjson", "{\"id\":\"plain\",\"k\":0,\"v\":9,\"ts\":\"2026-01-01 00:00:05\"}\n", "a"); /* nothing was lost: no payload */
    run(w);
    apply(w, SOURCE(NEW), SUMS NOTED ONCE, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    event(w, 6, 1);
    run(w);
    expect_contents(w, "n0 1 6.50; - 5 0.00");
    OK(leat_engine_redecode(w->engine, "events", "to have them", &out, oops));
    assert_non_null(strstr(out.data, "\"payloads\": 4,\n \"decoded\": 4"));
    expect_contents(w, "n0 3 9.50; n1 2 5.00; - 1 0.00");
    expect_text(w, "SELECT string_agg(id || note, ' ' ORDER BY id) FROM once", "e0n0 e1n1");
    expect_text(w, "SELECT count(*) > 0 AND count(DISTINCT reason) = 1 FROM noted__restatements", "true");
    reopen(w);
    event(w, 7, 1);
    run(w);
    expect_contents(w, "n0 3 9.50; n1 3 12.50; - 1 0.00");
    expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT place) FROM events", "7 7");
    leat_buffer_deinit(&out);
    world_deinit(w);
}

/* A table that FAIL UPDATE holds cannot be made from other records: then bronze must not get them, for the other tables would be of the former ones. */
static void what_cannot_be_rebuilt_is_not_decoded_again(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_error err = {0};
    world_init(w, SOURCE(""), SUMS);
    for (int i = 0; i < 4; i++) event(w, i, i % 2);
    run(w);
    apply(w, SOURCE(NEW), SUMS NOTED "CREATE MATERIALIZED TABLE held (CONSTRAINT small EXPECT (v < 3) ON VIOLATION FAIL UPDATE) FRESHNESS = INTERVAL '1' SECOND AS SELECT k, v FROM events;\n",
          (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    run(w);
    assert_int_equal(leat_engine_redecode(w->engine, "events", "to have them", NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "\"held\" is held at an earlier version by FAIL UPDATE"));
    expect_contents(w, "- 4 0.00"); /* as before, and equal to what bronze has */
    reopen(w);
    event(w, 6, 1);
    run(w);
    expect_contents(w, "n0 1 6.50; - 4 0.00");
    world_deinit(w);
}

/* Of another freshness, and so of another group: its rows come of the first's changes and of the source. */
#define BELOW "CREATE MATERIALIZED TABLE strict (CONSTRAINT known EXPECT (note IS NULL OR note <> 'n1') ON VIOLATION FAIL UPDATE)\n" \
              "FRESHNESS = INTERVAL '1' MINUTE AS SELECT s.k, n.note FROM (SELECT DISTINCT k FROM events) s CROSS JOIN noted n;\n"
#define STRICT "CREATE MATERIALIZED TABLE strict (CONSTRAINT known EXPECT (note IS NULL OR note <> 'n1') ON VIOLATION FAIL UPDATE)\n" \
               "FRESHNESS = INTERVAL '1' SECOND AS SELECT k, note FROM events;\n"

/* That a row violates FAIL UPDATE may be known only when bronze has the records. Then all is as it was, also where it was killed at any call, and a
 * start goes on. `below`: over a table of another group, made before. */
static void fail_update_stops(bool below) {
    bool done = false;
    for (uint64_t n = 1; !done; n += 3 + 3 * n) {
        struct world world, *w = &world;
        struct leat_error err = {0};
        world_init(w, SOURCE(""), SUMS);
        for (int i = 0; i < 4; i++) event(w, i, i % 2);
        run(w);
        apply(w, SOURCE(NEW), below ? SUMS NOTED BELOW : SUMS NOTED STRICT, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
        run(w);
        reopen_on(w, leat_io_killable());
        leat_io_kill_after(n);
        enum leat_status st = leat_engine_redecode(w->engine, "events", "to have them", NULL, &err);
        if (st == LEAT_OK) fail_msg("decoded again, whatever FAIL UPDATE says");
        done = strstr(err.text, "nothing is changed: ") && strstr(err.text, "FAIL UPDATE");
        reopen_on(w, leat_io_real());
        expect_text(w, "SELECT count(note) || ' ' || count(*) FROM events", "0 4");
        event(w, 6, 0);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        expect_contents(w, "n0 1 6.50; - 4 0.00");
        expect_status(w, "\"exact\":true");
        if (done) { /* without the constraint it goes */
            apply(w, SOURCE(NEW), SUMS NOTED, (const char *const[]){NULL});
            OK(leat_engine_redecode(w->engine, "events", "to have them", NULL, oops));
            expect_contents(w, "n0 3 9.50; n1 2 5.00");
        }
        world_deinit(w);
    }
}

static void a_redecode_that_fail_update_stops(void **state) {
    (void)state;
    fail_update_stops(false);
}

static void a_redecode_that_fail_update_stops_below(void **state) {
    (void)state;
    fail_update_stops(true);
}

/* Killed at each call of it: the command again does what was not done, and nothing is there twice. */
static void a_redecode_that_is_killed(void **state) {
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done; n += 2 + 2 * n) {
        struct world world, *w = &world;
        struct leat_error err;
        world_init(w, SOURCE(""), SUMS);
        for (int i = 0; i < 4; i++) event(w, i, i % 2);
        put(w, "in/events.ndjson", "{\"id\":\"plain\",\"k\":0,\"v\":9,\"ts\":\"2026-01-01 00:00:05\"}\n", "a");
        run(w);
        apply(w, SOURCE(NEW), SUMS NOTED ONCE NIGHTLY, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
        event(w, 6, 1);
        OK(leat_engine_run_once(w->engine, true, false, oops));
        reopen_on(w, leat_io_killable());
        leat_io_kill_after(n);
        done = leat_engine_redecode(w->engine, "events", "to have them", NULL, &err) == LEAT_OK;
        reopen_on(w, leat_io_real()); /* whatever was half done: tables say what bronze says */
        OK(leat_engine_run_once(w->engine, true, false, oops));
        expect_equal(w);
        expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT place) FROM events", "6 6");
        expect_status(w, "\"exact\":true");
        OK(leat_engine_redecode(w->engine, "events", "to have them", NULL, oops));
        expect_contents(w, "n0 3 9.50; n1 2 5.00; - 1 0.00");
        expect_text(w, "SELECT string_agg(coalesce(note, '-') || n, ' ' ORDER BY note) FROM nightly", "n03 n12 -1");
        expect_text(w, "SELECT string_agg(id || note, ' ' ORDER BY id) FROM once", "e0n0 e1n1");
        event(w, 7, 1);
        run(w);
        expect_contents(w, "n0 3 9.50; n1 3 12.50; - 1 0.00");
        expect_text(w, "SELECT count(*) || ' ' || count(DISTINCT place) FROM events", "7 7");
        world_deinit(w);
    }
}

/* A suspended table stays as it is, and is run whole when it resumes. */
static void a_suspended_table_is_run_when_it_resumes(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    world_init(w, SOURCE(""), SUMS);
    for (int i = 0; i < 4; i++) event(w, i, i % 2);
    run(w);
    apply(w, SOURCE(NEW), SUMS NIGHTLY, (const char *const[]){"\"sums\",\n   \"fate\": \"kept\"", NULL});
    OK(leat_engine_run_once(w->engine, true, false, oops));
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE nightly SUSPEND", false, &diags, NULL, oops));
    OK(leat_engine_redecode(w->engine, "events", "to have them", NULL, oops));
    expect_text(w, "SELECT string_agg(coalesce(note, '-') || n, ' ' ORDER BY note) FROM nightly", "-4");
    reopen(w);
    OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE nightly RESUME", false, &diags, NULL, oops));
    run(w);
    expect_text(w, "SELECT string_agg(coalesce(note, '-') || n, ' ' ORDER BY note) FROM nightly", "n02 n12");
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

/* A table that was continuous, and has not been run since it is scheduled, is of the former records as well. */
static void one_that_turned_to_a_schedule_is_run(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(""), SUMS);
    for (int i = 0; i < 4; i++) event(w, i, i % 2);
    run(w);
    apply(w, SOURCE(NEW), SUMS "CREATE MATERIALIZED TABLE nightly FRESHNESS = INTERVAL '1' DAY AS SELECT note, count(*) AS n FROM events GROUP BY note;\n", (const char *const[]){NULL});
    OK(leat_engine_run_once(w->engine, true, false, oops));
    apply(w, SOURCE(NEW), SUMS NIGHTLY, (const char *const[]){"\"nightly\",\n   \"fate\": \"scheduled\"", NULL});
    OK(leat_engine_redecode(w->engine, "events", "to have them", NULL, oops));
    expect_equal(w);
    expect_text(w, "SELECT string_agg(coalesce(note, '-') || n, ' ' ORDER BY note) FROM nightly", "n02 n12");
    world_deinit(w);
}

/* A type cannot be another one: what was decoded stays. */
static void another_type_is_refused(void **state) {
    (void)state;
    struct world world, *w = &world;
    const struct leat_change change = {0};
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    world_init(w, SOURCE(""), SUMS);
    event(w, 1, 1);
    run(w);
    put(w, "project.sql", "CREATE SOURCE events (id VARCHAR NOT NULL, k BIGINT, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts) INCLUDE offset AS place\n"
                          "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n" SUMS, "w");
    assert_true(leat_engine_apply(w->engine, &change, &diags, NULL, &err) != LEAT_OK);
    assert_non_null(strstr(err.text, "a column that has records keeps its type"));
    leat_diagnostics_deinit(&diags);
    run(w);
    world_deinit(w);
}

/* As many records are unusable afterwards, but others. */
static void other_records_are_dead_letters(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE(""), SUMS);
    put(w, "in/events.ndjson", "{\"id\":\"bad\",\"ts\":\"2026-01-01 00:00:00\",\"note\":\"5\"}\n{\"id\":\"7\",\"ts\":\"2026-01-01 00:00:00\",\"note\":\"oops\"}\n", "a");
    run(w);
    apply(w, SOURCE(NEW), SUMS "CREATE MATERIALIZED TABLE numbers FRESHNESS = INTERVAL '1' SECOND AS SELECT CAST(coalesce(note, id) AS INTEGER) AS n FROM events;\n",
          (const char *const[]){NULL});
    run(w);
    expect_text(w, "SELECT string_agg(_offset, ' ') FROM numbers__dead", "0");
    OK(leat_engine_redecode(w->engine, "events", "to see", NULL, oops));
    expect_equal(w);
    expect_text(w, "SELECT string_agg(n, ' ') FROM numbers", "5");
    expect_text(w, "SELECT string_agg(_offset, ' ') FROM numbers__dead", "1");
    world_deinit(w);
}

/* The version of a table with other columns may be the number of one that it had before: what was run over that is run again. */
static void a_full_table_over_one_with_other_columns(void **state) {
    (void)state;
    struct world world, *w = &world;
    static const char *const tables[] = {"CREATE MATERIALIZED TABLE all_of FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events;\n",
                                         "CREATE MATERIALIZED TABLE widest FRESHNESS = INTERVAL '1' SECOND REFRESH_MODE = FULL AS SELECT max(v) AS v, count(*) AS n FROM all_of;\n"};
    char *both = leat_asprintf("%s%s", tables[0], tables[1]);
    world_init(w, SOURCE(""), both);
    event(w, 1, 1);
    run(w);
    event(w, 2, 1);
    OK(leat_engine_run_once(w->engine, false, false, oops));
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_text(w, "SELECT n FROM widest", "2");
    apply(w, SOURCE(NEW), both, (const char *const[]){"\"all_of\",\n   \"fate\": \"anew\"", NULL});
    expect_equal(w);
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_equal(w);
    expect_text(w, "SELECT n FROM widest", "2");
    free(both);
    world_deinit(w);
}

/* A table that is scheduled from now on and has other columns, killed after so many calls of the start that brings both. Returns whether it came to its end. */
static bool killed_with_other_columns(uint64_t calls) {
    struct world world, *w = &world;
    struct leat_error err = {0};
    struct leat_diagnostics diags = {0};
    world_init(w, SOURCE(""), "CREATE MATERIALIZED TABLE all_of FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM events;\n");
    struct leat_engine_options options = {.project_dir = w->project};
    w->env.io = leat_io_killable();
    leat_io_kill_after(UINT64_MAX);
    reopen(w);
    event(w, 1, 1);
    run(w);
    put(w, "project.sql", SOURCE(NEW), "w");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE all_of SCHEDULE CRON '0 2 * * *' AS SELECT * FROM events;\n", "a");
    leat_engine_close(w->engine);
    leat_io_kill_after(calls);
    bool finished = leat_engine_open(&w->env, &options, &diags, &w->engine, &err) == LEAT_OK;
    if (!finished && !leat_io_killed()) fail_msg("%s", err.text);
    leat_diagnostics_deinit(&diags);
    leat_engine_close(w->engine);
    w->engine = NULL;
    leat_io_kill_after(UINT64_MAX);
    reopen(w);
    run(w);
    expect_text(w, "SELECT count(*) FROM all_of", "1");
    world_deinit(w);
    return finished;
}

static void killed_anywhere(void **state) {
    (void)state;
    for (uint64_t calls = 60; !killed_with_other_columns(calls); calls += 9) continue;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_column_has_values_from_then_on),
        cmocka_unit_test(rows_read_again_are_as_they_were),
        cmocka_unit_test(a_column_goes_and_comes_back),
        cmocka_unit_test(a_refused_change_leaves_the_former_project),
        cmocka_unit_test(old_records_are_decoded_again),
        cmocka_unit_test(what_cannot_be_rebuilt_is_not_decoded_again),
        cmocka_unit_test(a_redecode_that_fail_update_stops),
        cmocka_unit_test(a_redecode_that_fail_update_stops_below),
        cmocka_unit_test(a_redecode_that_is_killed),
        cmocka_unit_test(other_records_are_dead_letters),
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(a_full_table_over_one_with_other_columns),
        cmocka_unit_test(a_suspended_table_is_run_when_it_resumes),
        cmocka_unit_test(one_that_turned_to_a_schedule_is_run),
        cmocka_unit_test(another_type_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
