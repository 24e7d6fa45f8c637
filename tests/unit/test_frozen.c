/* FROZEN WHERE: rows that match stay as they are, whatever comes or is done afterwards; what cannot keep them is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "sim/kill.h"

#define SOURCES \
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE)\n" \
    "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n" \
    "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR) WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
#define T "CREATE MATERIALIZED TABLE "
#define FRESH " FRESHNESS = INTERVAL '1' SECOND "
#define BEHIND "FROZEN WHERE (window_start < now() - INTERVAL '20' MINUTE) "
#define MINUTES_AS "AS SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"
#define MINUTES T "minutes" FRESH BEHIND MINUTES_AS
#define REST \
    T "plain" FRESH MINUTES_AS \
    T "copies" FRESH "FROZEN WHERE (current_timestamp - INTERVAL '20' MINUTE >= ts) AS SELECT id, v, ts FROM events WHERE v < 1000;\n" \
    T "named" FRESH BEHIND "AS SELECT window_start, cat, count(*) AS n FROM TUMBLE(with_cat, ts, INTERVAL '5' MINUTE) GROUP BY ALL;\n" \
    T "over" FRESH "AS SELECT cat, sum(n) AS n FROM named GROUP BY cat;\n" \
    T "slowly FRESHNESS = INTERVAL '5' SECOND AS SELECT cat, sum(n) AS n FROM named GROUP BY cat;\n"
#define VIEWS "CREATE VIEW with_cat AS SELECT e.*, cat FROM events e LEFT JOIN things USING (k);\n"
#define PROJECT SOURCES VIEWS MINUTES REST

static const int64_t MIDNIGHT_US = INT64_C(1780012800000000); /* 2026-05-29 */
static int line;

static void at_minute(struct world *w, int minute) {
    int64_t us = MIDNIGHT_US + minute * INT64_C(60000000);
    if (us > w->now_us) w->now_us = us;
}

/* Four events a minute of [from, to). */
static void events(struct world *w, int from, int to) {
    struct leat_buffer text = {0};
    for (int m = from; m < to; m++)
        for (int i = 0; i < 4; i++, line++)
            leat_putf(&text, "{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-05-29 %02d:%02d:%02d\"}\n", line, line % 3, line, m / 60, m % 60, i * 13);
    put(w, "in/events.ndjson", text.data, "a");
    leat_buffer_deinit(&text);
}

static void one_event(struct world *w, const char *ts) {
    char *text = leat_asprintf("{\"id\":\"one%d\",\"k\":0,\"v\":5,\"ts\":\"%s\"}\n", line++, ts);
    put(w, "in/events.ndjson", text, "a");
    free(text);
}

static void things(struct world *w, const char *zero) {
    char *text = leat_asprintf("k,cat\n0,%s\n1,one\n2,two\n", zero);
    put(w, "in/things.csv", text, "w");
    free(text);
}

static void run_quietly(struct world *w) {
    w->now_us += 2000000;
    OK(leat_engine_run_once(w->engine, true, false, oops));
}

static void run_all(struct world *w) {
    run_quietly(w);
    expect_equal(w);
}

/* An hour and a half, in steps of half an hour; what the tests look at is frozen early in the last. */
static void begin(struct world *w) {
    line = 0;
    world_init(w, PROJECT, "");
    things(w, "zero");
    for (int half = 0; half < 3; half++) {
        at_minute(w, half * 30 + 30);
        events(w, half * 30, half * 30 + 30);
        run_quietly(w);
    }
}

static char *frozen_rows(struct world *w) {
    return text_of(w, "SELECT md5((SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM minutes WHERE window_start < x) r) || "
                      "(SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM copies WHERE ts < x) r) || "
                      "(SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM named WHERE window_start < x) r)) "
                      "FROM (SELECT TIMESTAMP '2026-05-29 00:40:00' AS x)");
}

/* What was frozen is; tables above have the content as it is; the balance is exact. */
static void expect_frozen(struct world *w, const char *rows) {
    struct leat_buffer status = {0};
    char *now = frozen_rows(w);
    assert_string_equal(now, rows);
    free(now);
    expect_text(w, "SELECT count(*) FROM (FROM over EXCEPT ALL SELECT cat, sum(n) FROM named GROUP BY cat)", "0");
    expect_text(w, "SELECT count(*) FROM (FROM slowly EXCEPT ALL SELECT cat, sum(n) FROM named GROUP BY cat)", "0");
    OK(leat_engine_status(w->engine, &status, oops));
    if (strstr(status.data, "\"exact\": false")) fail_msg("%s", status.data);
    leat_buffer_deinit(&status);
}

static enum leat_status apply(struct world *w, const char *text, struct leat_buffer *plan, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    const struct leat_change change = {0};
    put(w, "project.sql", text, "w");
    enum leat_status st = leat_engine_apply(w->engine, &change, &diags, plan, err);
    leat_diagnostics_deinit(&diags);
    if (st != LEAT_OK && !err->text[0]) fail_msg("the project has errors");
    return st;
}

static void apply_it(struct world *w, const char *text, struct leat_buffer *plan) {
    struct leat_error err = {0};
    if (apply(w, text, plan, &err) != LEAT_OK) fail_msg("%s", err.text);
}

static void nothing_changes_frozen_rows(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    char *rows = frozen_rows(w);
    expect_status(w, "{\"column\":\"window_start\",\"before_us\":1780017004000000}"); /* the clock of the step before, which read the records, less 20 minutes */
    things(w, "naught");
    one_event(w, "2026-05-29 00:31:00");
    one_event(w, "2026-05-29 01:15:00"); /* its window is closed, but not frozen */
    run_all(w);
    expect_frozen(w, rows);
    expect_text(w, "SELECT count(*) > 0 FROM named WHERE cat = 'naught'", "true");
    expect_text(w, "SELECT (SELECT count(*) FROM minutes__late) || ' ' || (SELECT count(*) FROM copies__late) || ' ' || (SELECT count(*) FROM plain__late)", "2 1 2");
    const struct leat_restate_options all = {.from_us = LEAT_RESTATE_FROM_MIN, .to_us = LEAT_RESTATE_TO_MAX, .reason = "test"};
    OK(leat_engine_restate(w->engine, &all, NULL, oops));
    expect_equal(w);
    expect_frozen(w, rows);
    expect_text(w, "SELECT (SELECT count(*) FROM minutes__late) || ' ' || (SELECT count(*) FROM copies__late) || ' ' || (SELECT count(*) FROM plain__late)", "1 1 0");
    expect_text(w, "SELECT n FROM plain WHERE window_start = '2026-05-29 00:30:00'", "21");
    static const char *const tables[] = {"copies", "over", "slowly"}; /* with those below them */
    for (size_t i = 0; i < 3; i++) OK(leat_engine_rebuild(w->engine, tables[i], "test", NULL, oops));
    expect_equal(w);
    expect_frozen(w, rows);
    apply_it(w, SOURCES VIEWS T "minutes" FRESH BEHIND "AS SELECT window_start, count(*) AS n, sum(v) + 1000000 AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n" REST,
             NULL);
    run_all(w);
    expect_frozen(w, rows);
    expect_text(w, "SELECT min(v) FILTER (WHERE window_start >= '2026-05-29 01:15:00') > 1000000 AND max(v) FILTER (WHERE window_start < '2026-05-29 01:10:00') < 1000000 FROM minutes", "true");
    things(w, "none");
    char *checkpoint = leat_asprintf("%s/.leat/checkpoint", w->project); /* all is made anew, under the same journal */
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_io_remove_tree(w->env.io, checkpoint, oops));
    free(checkpoint);
    reopen(w);
    run_all(w);
    expect_frozen(w, rows);
    things(w, "nil");
    reopen_without_work(w);
    run_all(w);
    expect_frozen(w, rows);
    at_minute(w, 120);
    events(w, 90, 120);
    run_all(w);
    expect_frozen(w, rows);
    expect_text(w, "SELECT count(*) FROM copies WHERE id LIKE 'e%'", "480");
    free(rows);
    world_deinit(w);
}

#define HOUR "SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM named WHERE window_start < '2026-05-29 01:00:00') r"

/* The lake alone says that rows are frozen whose changes have been passed over, also where there were no others. */
static void what_was_passed_over_is_told(void **state) {
    (void)state;
    struct world world, *w = &world;
    line = 0;
    world_init(w, SOURCES VIEWS, T "named" FRESH "FROZEN WHERE (window_start < TIMESTAMP '2026-05-29 01:00:00') AS\n"
                                   "SELECT window_start, cat, count(*) AS n FROM TUMBLE(with_cat, ts, INTERVAL '5' MINUTE) GROUP BY ALL;\n");
    things(w, "zero");
    events(w, 0, 60);
    events(w, 70, 71);
    at_minute(w, 75);
    run_all(w);
    expect_status(w, "\"before_us\":null"); /* the first version is whole */
    char *rows = text_of(w, HOUR);
    things(w, "naught");
    run_all(w);
    reopen_without_work(w);
    run_all(w);
    expect_text(w, HOUR, rows);
    expect_text(w, "SELECT count(*) FILTER (WHERE cat = 'zero') || ' ' || count(*) FILTER (WHERE cat = 'naught') FROM named", "12 1");
    free(rows);
    world_deinit(w);
}

/* Killed at each call while the boundary moves and changes of frozen rows come. */
static void killed_anywhere(void **state) {
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done; n += 1 + n * 6) {
        struct world world, *w = &world;
        struct leat_error err;
        begin(w);
        char *rows = frozen_rows(w);
        leat_engine_close(w->engine);
        w->engine = NULL;
        w->env.io = leat_io_killable();
        reopen(w);
        things(w, "naught");
        one_event(w, "2026-05-29 00:31:00");
        at_minute(w, 120);
        events(w, 90, 120);
        w->now_us += 2000000;
        leat_io_kill_after(n);
        done = leat_engine_run_once(w->engine, true, false, &err) == LEAT_OK;
        leat_engine_close(w->engine);
        w->engine = NULL;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        reopen(w);
        run_quietly(w);
        run_all(w);
        expect_frozen(w, rows);
        expect_text(w, "SELECT (SELECT count(*) FROM copies) || ' ' || (SELECT sum(n) FROM minutes) || ' ' || (SELECT sum(n) FROM named) || ' ' || (SELECT count(*) FROM copies__late)",
                    "480 480 480 1");
        free(rows);
        world_deinit(w);
    }
}

/* ---- the statement is changed -------------------------------------------------------------------------------------------- */

static void without_it_rows_thaw(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer plan = {0};
    struct leat_error err;
    begin(w);
    char *rows = frozen_rows(w);
    things(w, "naught");
    run_all(w);
    apply_it(w, SOURCES VIEWS T "minutes" FRESH "FROZEN WHERE (window_start < TIMESTAMP '2020-01-01') " MINUTES_AS REST, NULL);
    run_all(w);
    expect_frozen(w, rows); /* an earlier bound thaws nothing */
    assert_int_equal(apply(w, SOURCES VIEWS T "minutes" FRESH BEHIND "AS SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n" REST,
                           NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "has other columns"));
    assert_int_equal(apply(w, SOURCES VIEWS T "minutes" FRESH "FROZEN WHERE (t < now()) AS SELECT window_start, count(*) AS n, sum(v) AS v, window_start AS t FROM "
                                              "TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n" REST, NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "frozen by \"window_start\", not by \"t\""));
    run_all(w);
    expect_frozen(w, rows);
    apply_it(w, SOURCES VIEWS MINUTES T "named" FRESH "AS SELECT window_start, cat, count(*) AS n FROM TUMBLE(with_cat, ts, INTERVAL '5' MINUTE) GROUP BY ALL;\n"
                T "over" FRESH "AS SELECT cat, sum(n) AS n FROM named GROUP BY cat;\n", &plan);
    assert_non_null(strstr(plan.data, "\"thaws\": true"));
    run_all(w);
    expect_text(w, "SELECT count(*) FILTER (WHERE cat = 'zero') || ' ' || count(*) FILTER (WHERE cat = 'naught') FROM named", "0 18");
    apply_it(w, PROJECT, NULL); /* frozen again, as they are now; nothing is made anew for it */
    things(w, "nil");
    run_all(w);
    things(w, "none");
    run_all(w);
    expect_text(w, "SELECT count(*) FILTER (WHERE cat = 'naught') > 10 AND count(*) FILTER (WHERE cat = 'zero') = 0 FROM named WHERE window_start < '2026-05-29 01:00'", "true");
    leat_buffer_deinit(&plan);
    free(rows);
    world_deinit(w);
}

/* ---- scheduled tables ------------------------------------------------------------------------------------------------------ */

static void days(struct world *w, int from, int to) {
    struct leat_buffer text = {0};
    for (int d = from; d < to; d++, line++) leat_putf(&text, "{\"id\":\"d%d\",\"k\":1,\"v\":%d,\"ts\":\"2026-%02d-%02d 12:00:00\"}\n", line, d, d > 31 ? 6 : 5, d > 31 ? d - 31 : d);
    put(w, "in/events.ndjson", text.data, "a");
    leat_buffer_deinit(&text);
}

static void at_day(struct world *w, int day) { /* of May, at 03:00 */
    at_minute(w, (day - 29) * 1440 + 180);
}

static void a_month_is_closed(void **state) {
    (void)state;
    struct world world, *w = &world;
    line = 0;
    world_init(w, SOURCES, T "daily SCHEDULE CRON '0 2 * * *' FROZEN WHERE (window_start < date_trunc('month', now())) AS\n"
                             "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_start;\n");
    at_day(w, 30);
    days(w, 1, 30);
    run(w);
    expect_text(w, "SELECT count(*) FROM daily", "29");
    at_day(w, 41); /* ten days without a run: June 10 */
    days(w, 30, 41);
    run(w);
    expect_text(w, "SELECT sum(n) FROM daily", "40"); /* nothing was closed on May 30 but April */
    at_day(w, 42);
    days(w, 20, 21); /* in May, which is closed: by the run of June 10 */
    days(w, 35, 36);
    run(w);
    expect_text(w, "SELECT sum(n) || ' ' || sum(n) FILTER (WHERE window_start < '2026-06-01') FROM daily", "41 31");
    expect_text(w, "SELECT string_agg(event_time::VARCHAR, ' ') FROM daily__late", "2026-05-20 12:00:00");
    expect_status(w, "\"before_us\":1780272000000000"); /* June 1 */
    expect_status(w, "{\"in\":42,\"admitted\":41,\"late\":1,\"dead\":0,\"exact\":true}");
    for (int i = 0; i < 2; i++) {
        reopen(w);
        OK(leat_engine_rebuild(w->engine, "daily", "test", NULL, oops));
        expect_equal(w);
        expect_text(w, "SELECT sum(n) FILTER (WHERE window_start < '2026-06-01') || ' ' || (SELECT count(*) FROM daily__late) FROM daily", "31 1");
        reopen_without_work(w);
        at_day(w, 43 + i);
        run(w);
        expect_text(w, "SELECT sum(n) FILTER (WHERE window_start < '2026-06-01') || ' ' || (SELECT count(*) FROM daily__late) FROM daily", "31 1");
        expect_status(w, "\"exact\":true");
    }
    /* Kept fresh from now on: the same rows are frozen, and the same record is late. */
    apply_it(w, SOURCES T "daily" FRESH "FROZEN WHERE (window_start < date_trunc('month', now())) AS\n"
                          "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_start;\n", NULL);
    run_all(w);
    expect_text(w, "SELECT sum(n) || ' ' || sum(n) FILTER (WHERE window_start < '2026-06-01') || ' ' || (SELECT count(*) FROM daily__late) FROM daily", "41 31 1");
    for (int i = 0; i < 2; i++) { /* scheduled again, and then without the clause */
        char *text = leat_asprintf(SOURCES T "daily SCHEDULE CRON '0 2 * * *' %s AS\n"
                                   "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' DAY) GROUP BY window_start;\n",
                                   i ? "" : "FROZEN WHERE (window_start < date_trunc('month', now()))");
        apply_it(w, text, NULL);
        at_day(w, 46 + i);
        run(w);
        expect_text(w, "SELECT sum(n) || ' ' || (SELECT count(*) FROM daily__late) FROM daily", i ? "42 0" : "41 1");
        expect_status(w, "\"exact\":true");
        free(text);
    }
    world_deinit(w);
}

/* What an outage held back is taken in, however many steps that takes, though its time is long past the bound. */
static void an_outage_is_made_up_for(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    line = 0;
    world_init(w, SOURCES, MINUTES T "copies" FRESH "FROZEN WHERE (ts < now() - INTERVAL '20' MINUTE) AS SELECT id, v, ts FROM events;\n"
                                T "closed" FRESH "EMIT ON WINDOW CLOSE FROZEN WHERE (window_end <= now()) AS\n"
                                "SELECT window_end, count(*) AS n FROM HOP(events, ts, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE) GROUP BY window_end;\n");
    at_minute(w, 30);
    events(w, 0, 30);
    run_all(w);
    leat_engine_close(w->engine);
    const struct leat_engine_options small = {.project_dir = w->project, .max_step_rows = 50};
    OK(leat_engine_open(&w->env, &small, &diags, &w->engine, oops));
    at_minute(w, 20 * 60);
    events(w, 30, 180);
    run_all(w);
    run_all(w);
    expect_text(w, "SELECT (SELECT count(*) FROM copies) || ' ' || (SELECT count(*) FROM copies__late) || ' ' || (SELECT sum(n) FROM minutes)", "720 0 720");
    expect_text(w, "SELECT count(*) || ' ' || sum(n) || ' ' || max(window_end) FROM closed", "35 1380 2026-05-29 02:55:00"); /* each as it closes, before it freezes */
    expect_text(w, "SELECT count(*) FROM closed__late", "0");
    one_event(w, "2026-05-29 02:49:00"); /* the second of its windows, up to 02:55, is closed, too */
    run_all(w);
    expect_text(w, "SELECT (SELECT count(*) FROM closed__late) || ' ' || (SELECT sum(n) FROM closed)", "1 1380");
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

/* Rows that FAIL UPDATE holds back are not frozen before they are there. */
static void what_is_held_back_is_not_frozen(void **state) {
    (void)state;
    struct world world, *w = &world;
    line = 0;
    world_init(w, SOURCES, T "copies (CONSTRAINT known EXPECT (cat IS NOT NULL) ON VIOLATION FAIL UPDATE)" FRESH "FROZEN WHERE (ts < now() - INTERVAL '20' MINUTE) AS\n"
                             "SELECT e.id, e.ts, t.cat FROM events e LEFT JOIN things t USING (k);\n");
    things(w, "zero");
    at_minute(w, 30);
    events(w, 0, 30);
    run_all(w);
    expect_text(w, "SELECT count(*) FROM copies", "120");
    put(w, "in/things.csv", "k,cat\n0,zero\n", "w");
    for (int half = 1; half < 4; half++) {
        at_minute(w, half * 30 + 30);
        events(w, half * 30, half * 30 + 30);
        run_quietly(w);
    }
    expect_text(w, "SELECT count(*) FROM copies", "120");
    things(w, "zero");
    run_all(w);
    run_all(w);
    expect_text(w, "SELECT count(*) FROM copies", "480");
    world_deinit(w);
}

/* ---- what is refused ------------------------------------------------------------------------------------------------------- */

struct refused { const char *table, *why; };

/* All in one project, in which each finding stands beside its table. */
static void expect_refused(const struct refused *refused, size_t count) {
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine;
    struct leat_error err;
    world_init(w, SOURCES, MINUTES);
    leat_engine_close(w->engine);
    w->engine = NULL;
    for (size_t i = 0; i < count; i++) put(w, "project.sql", refused[i].table, "a");
    const struct leat_engine_options options = {.project_dir = w->project, .compile_only = true, .read_only = true};
    assert_int_not_equal(leat_engine_open(&w->env, &options, &diags, &engine, &err), LEAT_OK);
    int first = 0;
    for (const char *c = SOURCES MINUTES; *c; c++) first += *c == '\n';
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t k = 0; k < diags.count; k++)
            found |= diags.items[k].place.line == first + 1 + (int)i &&
                     (strstr(diags.items[k].message, refused[i].why) || (diags.items[k].suggestion && strstr(diags.items[k].suggestion, refused[i].why)));
        if (found) continue;
        struct leat_buffer text = {0};
        leat_diagnostics_print(&diags, &text);
        fail_msg("%s: %s", refused[i].table, text.data ? text.data : "no finding");
    }
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

#define COPY(name, condition) T name FRESH "FROZEN WHERE (" condition ") AS SELECT id, k, v, ts FROM events;\n"

static void what_cannot_freeze_is_refused(void **state) {
    (void)state;
    static const struct refused FORMS[] = {
        {COPY("a", "ts < now() AND k > 1"), "takes one comparison"},
        {COPY("b", "ts > now()"), "before the bound"},
        {COPY("c", "ts < now() OR ts < v"), "takes one comparison"},
        {COPY("d", "id = 'x'"), "takes one comparison"},
    };
    static const struct refused BOUNDS[] = {
        {COPY("a", "ts < now() - to_days(k)"), "only goes forward"},
        {COPY("b", "ts < TIMESTAMP '2026-01-01' - (now() - ts)"), "only goes forward"},
        {COPY("c", "ts < (SELECT max(ts) FROM events)"), "only goes forward"},
        {COPY("d", "ts < 'yesterday'"), "no time"},
        {COPY("e", "\"when\" < now()"), "it has no such column"},
        {COPY("f", "v < now()"), "does not follow the event time"},
        {COPY("g", "v < now()"), "name one that does: 'ts'"},
        {T "h" FRESH "FROZEN WHERE (ts < now()) AS SELECT max(ts) AS ts, k FROM events GROUP BY k;\n", "does not follow the event time"},
        {T "i" FRESH "FROZEN WHERE (window_start < now()) AS SELECT window_start FROM minutes;\n", "does not follow the event time"},
        {T "j SCHEDULE CRON '0 2 * * *' FROZEN WHERE (d < now()) AS SELECT date_trunc('month', ts) AS d, count(*) AS n FROM events GROUP BY ALL;\n", "does not follow"},
        {T "k (CONSTRAINT c EXPECT (k > 0) ON VIOLATION QUARANTINE)" FRESH "FROZEN WHERE (ts < now()) AS SELECT k, ts FROM events;\n", "QUARANTINE"},
        {T "l" FRESH "FROZEN WHERE (ts < now()) AS SELECT ts, v FROM events UNION ALL SELECT ts + INTERVAL '1' HOUR, v FROM events;\n", "several kinds"},
    };
    expect_refused(FORMS, sizeof FORMS / sizeof *FORMS);
    expect_refused(BOUNDS, sizeof BOUNDS / sizeof *BOUNDS);
}

/* The work folder is lost, and the query has other columns: as with leat apply, what is frozen is not made anew. */
static void other_columns_after_a_loss_are_refused(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_engine_options options = {0};
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    begin(w);
    char *rows = frozen_rows(w), *work = leat_asprintf("%s/.leat", w->project);
    options.project_dir = w->project;
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_io_remove_tree(w->env.io, work, oops));
    put(w, "project.sql", SOURCES VIEWS T "minutes" FRESH BEHIND "AS SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n" REST, "w");
    assert_int_equal(leat_engine_open(&w->env, &options, &diags, &w->engine, &err), LEAT_INVALID);
    if (!strstr(err.text, "table \"minutes\" has frozen rows in the lake")) fail_msg("%s", err.text);
    leat_diagnostics_deinit(&diags);
    put(w, "project.sql", PROJECT, "w");
    OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
    leat_diagnostics_deinit(&diags);
    run_all(w);
    expect_frozen(w, rows);
    free(work);
    free(rows);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changes_frozen_rows),
        cmocka_unit_test(what_was_passed_over_is_told),
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(without_it_rows_thaw),
        cmocka_unit_test(a_month_is_closed),
        cmocka_unit_test(an_outage_is_made_up_for),
        cmocka_unit_test(what_is_held_back_is_not_frozen),
        cmocka_unit_test(what_cannot_freeze_is_refused),
        cmocka_unit_test(other_columns_after_a_loss_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
