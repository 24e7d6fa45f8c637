/* Retention of bronze: rows outlive their records, whatever is done afterwards; what cannot is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "sim/kill.h"

#define SOURCE(retention) \
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '2' MINUTE)\n" \
    "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json'" retention ");\n"
#define THINGS \
    "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR) WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
#define KEPT ", retention = INTERVAL '20' MINUTE"
#define MINUTES \
    "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n" \
    "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"
#define COPIES "CREATE MATERIALIZED TABLE copies FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v, ts FROM events WHERE v < 1000;\n"
#define NAMED \
    "CREATE VIEW with_cat AS SELECT e.*, cat FROM events e LEFT JOIN things USING (k);\n" \
    "CREATE MATERIALIZED TABLE named FRESHNESS = INTERVAL '1' SECOND AS\n" \
    "SELECT window_start, cat, count(*) AS n FROM TUMBLE(with_cat, ts, INTERVAL '5' MINUTE) GROUP BY ALL;\n"
#define HOURS \
    "CREATE MATERIALIZED TABLE quarters SCHEDULE CRON '0 2 * * *' AS\n" \
    "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '15' MINUTE) GROUP BY window_start;\n"

static int line;

/* So many events a minute of [from, to), in two files. */
static void events(struct world *w, int from, int to) {
    struct leat_buffer text[2] = {{0}, {0}};
    for (int m = from; m < to; m++)
        for (int i = 0; i < 4; i++, line++)
            leat_putf(&text[line % 2], "{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 %02d:%02d:%02d\"}\n", line, line % 3, line, m / 60, m % 60, i * 13);
    for (int i = 0; i < 2; i++) put(w, i ? "in/events2.ndjson" : "in/events1.ndjson", text[i].data, "a");
    leat_buffer_deinit(&text[0]);
    leat_buffer_deinit(&text[1]);
}

static void things(struct world *w, const char *zero) {
    char *text = leat_asprintf("k,cat\n0,%s\n1,one\n2,two\n", zero);
    put(w, "in/things.csv", text, "w");
    free(text);
}

static void run_all(struct world *w) {
    w->now_us += 60000000;
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
}

static uint64_t count_of(struct world *w, const char *sql) {
    char *text = text_of(w, sql);
    uint64_t n = strtoull(text, NULL, 10);
    free(text);
    return n;
}

/* The rows of everything up to a minute: what a boundary before it freezes. */
static char *rows_upto(struct world *w, int minute) {
    char *sql = leat_asprintf(
        "SELECT md5((SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM minutes WHERE window_start < x) r) || '|' ||"
        "(SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM copies WHERE ts < x) r) || '|' ||"
        "(SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM named WHERE window_start < x) r) || '|' ||"
        "(SELECT string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR) FROM (SELECT * FROM quarters WHERE window_start < x) r)) "
        "FROM (SELECT TIMESTAMP '2026-01-01 %02d:%02d:00' AS x)", minute / 60, minute % 60);
    char *text = text_of(w, sql);
    free(sql);
    return text;
}

static void begin(struct world *w) {
    line = 0;
    world_init(w, SOURCE(KEPT) THINGS, MINUTES COPIES NAMED HOURS);
    things(w, "zero");
    events(w, 0, 30);
    run_all(w);
}

/* An hour: the first half of it leaves bronze. Frozen up to 00:35: 01:00 - 20 min - watermark, what closes. */
static char *an_hour(struct world *w) {
    begin(w);
    assert_int_equal(count_of(w, "SELECT count(*) FROM events"), 120 - 31); /* before 00:29:39 - 2 min - 20 min */
    events(w, 30, 60);
    run_all(w);
    return rows_upto(w, 30);
}

static void expect_frozen(struct world *w, const char *rows) {
    char *now = rows_upto(w, 30);
    assert_string_equal(now, rows);
    free(now);
}

static void rows_outlive_their_records(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *rows = an_hour(w);
    assert_true(count_of(w, "SELECT count(*) FROM events") < 140);
    assert_int_equal(count_of(w, "SELECT count(*) FROM copies"), 240);
    expect_status(w, "\"exact\":true");
    things(w, "naught"); /* repeats rows of all ages, of which the frozen ones stay */
    run_all(w);
    expect_frozen(w, rows);
    assert_int_equal(count_of(w, "SELECT count(*) FROM named WHERE cat = 'naught' AND window_start < TIMESTAMP '2026-01-01 00:30'"), 0);
    assert_true(count_of(w, "SELECT count(*) FROM named WHERE cat = 'naught'") > 1);
    for (int i = 0; i < 2; i++) {
        reopen(w);
        run_all(w);
        expect_frozen(w, rows);
    }
    free(rows);
    world_deinit(w);
}

static enum leat_status apply(struct world *w, const char *text) {
    struct leat_diagnostics diags = {0};
    struct leat_error err;
    const struct leat_change change = {0};
    put(w, "project.sql", text, "w");
    enum leat_status st = leat_engine_apply(w->engine, &change, &diags, NULL, &err);
    leat_diagnostics_deinit(&diags);
    return st;
}

/* What a scheduled table has not read when the boundary could move is not taken from it. */
static void a_scheduled_table_reads_them_first(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    for (int hour = 0; hour < 2; hour++) {
        events(w, 30 + hour * 30, 60 + hour * 30);
        w->now_us += 60000000;
        OK(leat_engine_run_once(w->engine, false, false, oops)); /* not its time */
        expect_equal(w);
    }
    run_all(w);
    expect_text(w, "SELECT sum(n) FROM quarters", "360");
    assert_true(count_of(w, "SELECT count(*) FROM events") < 140);
    world_deinit(w);
}

/* Nor is a row of it that records come to for longer than they are kept. */
static void a_scheduled_window_longer_than_retention_stays_open(void **state) {
    (void)state;
    struct world world, *w = &world;
    line = 0;
    world_init(w, SOURCE(KEPT), MINUTES "CREATE MATERIALIZED TABLE hourly SCHEDULE CRON '0 2 * * *' AS\n"
                                        "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' HOUR) GROUP BY window_start;\n");
    for (int half = 0; half < 5; half++) {
        events(w, half * 30, half * 30 + 30);
        run_all(w);
    }
    expect_text(w, "SELECT string_agg(n, ' ' ORDER BY window_start) FROM hourly", "240 240 120");
    assert_true(count_of(w, "SELECT count(*) FROM events") < 500);
    world_deinit(w);
}

/* A sink that is new when the table is made anew gets the rows, too, that nothing can compute any more. */
static void a_new_sink_gets_them(void **state) {
    (void)state;
    struct world world, *w = &world;
    free(an_hour(w));
    assert_int_equal(apply(w, SOURCE(KEPT) THINGS COPIES NAMED HOURS
                           "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                           "SELECT window_start, count(*) AS n, sum(v) + 1 AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"
                           "CREATE SINK told FROM minutes WITH (connector = 'file', path = 'told.out', on_retract = 'send', start = 'snapshot');\n"),
                     LEAT_OK);
    run_all(w);
    leat_engine_deliver(w->engine);
    char *fold = leat_asprintf("SELECT sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) - (SELECT count(*) FROM minutes) FROM "
                               "read_json('%s/told.out', columns = {kind: 'VARCHAR'})", w->project);
    expect_text(w, fold, "0");
    free(fold);
    world_deinit(w);
}

static void made_anew_they_stay(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *rows = an_hour(w);
    static const char *const tables[] = {"minutes", "copies", "named", "quarters"};
    for (size_t i = 0; i < 4; i++) OK(leat_engine_rebuild(w->engine, tables[i], "test", NULL, oops));
    expect_equal(w);
    expect_frozen(w, rows);
    char *work = leat_asprintf("%s/.leat", w->project);
    for (int i = 0; i < 2; i++) {
        leat_engine_close(w->engine);
        w->engine = NULL;
        OK(leat_io_remove_tree(w->env.io, work, oops));
        reopen(w);
        run_all(w);
        expect_frozen(w, rows);
        expect_status(w, "\"exact\":true");
    }
    events(w, 60, 90);
    run_all(w);
    expect_frozen(w, rows);
    assert_int_equal(count_of(w, "SELECT count(*) FROM copies"), 360);
    free(work);
    free(rows);
    world_deinit(w);
}

/* The same, and then a record from before the boundary and one from after it that is late for windows. */
static char *an_hour_and_late_ones(struct world *w) {
    char *rows = an_hour(w);
    put(w, "in/events1.ndjson", "{\"id\":\"old\",\"k\":1,\"v\":7,\"ts\":\"2026-01-01 00:01:00\"}\n", "a");
    put(w, "in/events1.ndjson", "{\"id\":\"less old\",\"k\":1,\"v\":7,\"ts\":\"2026-01-01 00:51:00\"}\n", "a");
    run_all(w);
    return rows;
}

/* A record from before the boundary is late for every table, also without windows, and no restatement admits it. */
static void what_comes_too_late_stays_late(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *rows = an_hour_and_late_ones(w);
    expect_frozen(w, rows);
    expect_text(w, "SELECT count(*) FROM copies__late", "1");
    expect_text(w, "SELECT count(*) FROM minutes__late", "2");
    expect_text(w, "SELECT count(*) FROM copies WHERE id = 'less old'", "1");
    const struct leat_restate_options options = {.from_us = LEAT_RESTATE_FROM_MIN, .to_us = LEAT_RESTATE_TO_MAX, .reason = "test"};
    for (int i = 0; i < 2; i++) {
        OK(leat_engine_restate(w->engine, &options, NULL, oops));
        expect_equal(w);
        expect_frozen(w, rows);
        expect_text(w, "SELECT count(*) FROM minutes__late", "1");
    }
    expect_status(w, "\"exact\":true");
    free(rows);
    world_deinit(w);
}

/* Dead letters of a table outlive their records, too. */
static void dead_letters_stay(void **state) {
    (void)state;
    struct world world, *w = &world;
    line = 0;
    world_init(w, SOURCE(KEPT), MINUTES "CREATE MATERIALIZED TABLE casts FRESHNESS = INTERVAL '1' SECOND AS\n"
                                "SELECT CAST(CASE WHEN v % 30 = 0 THEN id ELSE '1' END AS INTEGER) AS n, ts FROM events;\n");
    events(w, 0, 30);
    run_all(w);
    events(w, 30, 60);
    run_all(w);
    assert_true(count_of(w, "SELECT count(*) FROM events") < 140);
    char *letters = text_of(w, "SELECT string_agg(_partition || ' ' || _offset || reason, ';' ORDER BY ALL) FROM casts__dead"), *work = leat_asprintf("%s/.leat", w->project);
    expect_text(w, "SELECT count(*) FROM casts__dead", "8");
    for (int i = 0; i < 2; i++) {
        leat_engine_close(w->engine);
        w->engine = NULL;
        OK(leat_io_remove_tree(w->env.io, work, oops));
        reopen(w);
        run_all(w);
        expect_text(w, "SELECT string_agg(_partition || ' ' || _offset || reason, ';' ORDER BY ALL) FROM casts__dead", letters);
        expect_status(w, "\"exact\":true");
        OK(leat_engine_rebuild(w->engine, "casts", "test", NULL, oops));
        expect_text(w, "SELECT count(*) FROM casts__dead", "8");
    }
    free(letters);
    free(work);
    world_deinit(w);
}

/* Turned to a schedule, a table admits what was late for it, but for what it cannot: that stays told. */
static void a_run_admits_what_it_can(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *rows = an_hour_and_late_ones(w);
    expect_text(w, "SELECT count(*) FROM minutes__late", "2");
    assert_int_equal(apply(w, SOURCE(KEPT) THINGS COPIES NAMED HOURS
                           "CREATE MATERIALIZED TABLE minutes SCHEDULE CRON '0 2 * * *' AS\n"
                           "SELECT window_start, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"),
                     LEAT_OK);
    for (int i = 0; i < 2; i++) {
        run_all(w);
        expect_frozen(w, rows);
        expect_text(w, "SELECT string_agg(CAST(event_time AS VARCHAR), ' ') FROM minutes__late", "2026-01-01 00:01:00");
        expect_text(w, "SELECT n FROM minutes WHERE window_start = '2026-01-01 00:50:00'", "21");
    }
    free(rows);
    world_deinit(w);
}

static void a_changed_query_keeps_them_or_is_refused(void **state) {
    (void)state;
    struct world world, *w = &world;
    char *rows = an_hour(w);
    /* The same columns: what can be computed again is, the rest stays. */
    assert_int_equal(apply(w, SOURCE(KEPT) THINGS COPIES NAMED HOURS
                           "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                           "SELECT window_start, count(*) AS n, sum(v) + 1 AS v FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"),
                     LEAT_OK);
    run_all(w);
    expect_frozen(w, rows);
    /* Others, or none to tell them apart by. */
    assert_int_equal(apply(w, SOURCE(KEPT) THINGS COPIES NAMED HOURS
                           "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                           "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '5' MINUTE) GROUP BY window_start;\n"),
                     LEAT_INVALID);
    assert_int_equal(apply(w, SOURCE("") THINGS COPIES NAMED HOURS
                           "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                           "SELECT max(ts) AS window_start, count(*) AS n, sum(v) + 1 AS v FROM events;\n"),
                     LEAT_INVALID);
    run_all(w);
    expect_frozen(w, rows);
    free(rows);
    world_deinit(w);
}

static void expect_refused(const char *table, const char *why) {
    struct world world, *w = &world;
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine;
    struct leat_error err;
    struct leat_buffer text = {0};
    world_init(w, SOURCE(KEPT) THINGS, MINUTES);
    leat_engine_close(w->engine);
    w->engine = NULL;
    put(w, "project.sql", table, "a");
    const struct leat_engine_options options = {.project_dir = w->project, .compile_only = true, .read_only = true};
    assert_int_equal(leat_engine_open(&w->env, &options, &diags, &engine, &err), LEAT_INVALID);
    leat_diagnostics_print(&diags, &text);
    if (!text.data || !strstr(text.data, why)) fail_msg("%s: %s", table, text.data ? text.data : "no finding");
    leat_buffer_deinit(&text);
    leat_diagnostics_deinit(&diags);
    world_deinit(w);
}

static void what_cannot_keep_its_rows_is_refused(void **state) {
    (void)state;
    expect_refused("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n FROM events GROUP BY k;\n", "no column that follows");
    expect_refused("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT ON (id) * FROM events ORDER BY ts;\n", "no column that follows");
    expect_refused("CREATE VIEW once AS SELECT DISTINCT ON (id) * FROM events ORDER BY ts;\n"
                   "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS\n"
                   "SELECT window_start, count(*) AS n FROM TUMBLE(once, ts, INTERVAL '1' MINUTE) GROUP BY ALL;\n", "no column that follows");
    expect_refused("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT n FROM minutes;\n", "reads another table");
    expect_refused("CREATE MATERIALIZED TABLE t SCHEDULE CRON '0 2 * * *' AS SELECT id, row_number() OVER (PARTITION BY k ORDER BY ts) AS r, ts FROM events;\n",
                   "no column that follows");
    expect_refused("CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT a.ts, b.id FROM events a JOIN events b USING (k);\n",
                   "no column that follows");
}

/* Killed at each call of a run that moves the boundary. */
static void killed_anywhere(void **state) {
    (void)state;
    bool done = false;
    for (uint64_t n = 1; !done; n += 1 + n * 2) {
        struct world world, *w = &world;
        struct leat_error err;
        begin(w);
        leat_engine_close(w->engine);
        w->engine = NULL;
        w->env.io = leat_io_killable();
        reopen(w);
        events(w, 30, 60);
        w->now_us += 60000000;
        leat_io_kill_after(n);
        done = leat_engine_run_once(w->engine, true, false, &err) == LEAT_OK;
        leat_engine_close(w->engine);
        w->engine = NULL;
        leat_io_kill_after(UINT64_MAX);
        w->env.io = leat_io_real();
        reopen(w);
        run_all(w);
        run_all(w);
        expect_text(w, "SELECT (SELECT count(*) FROM copies) || ' ' || (SELECT sum(n) FROM minutes) || ' ' || (SELECT sum(n) FROM named) || ' ' || "
                       "(SELECT sum(n) FROM quarters) || ' ' || (SELECT count(*) < 140 FROM events)", "240 240 240 240 true");
        world_deinit(w);
    }
}

/* ---- drawn ----------------------------------------------------------------------------------------------------------------- */

#define T "CREATE MATERIALIZED TABLE "
#define FRESH " FRESHNESS = INTERVAL '1' SECOND AS "
static const struct { const char *name, *time, *sql; int64_t back_us; } drawn[] = {
    {"hops", "window_start", T "hops" FRESH "SELECT window_start, k, count(*) AS n, sum(v) AS v FROM HOP(events, ts, INTERVAL '2' MINUTE, INTERVAL '10' MINUTE) GROUP BY ALL;\n", 0},
    {"closed", "window_start", T "closed FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '3' MINUTE) GROUP BY ALL;\n", 0},
    {"once", "ts", T "once" FRESH "SELECT DISTINCT ON (k, ts) k, ts, v FROM events ORDER BY v;\n", 0},
    {"later", "t", T "later" FRESH "SELECT ts + INTERVAL '1' HOUR AS t, sum(v) AS v FROM events GROUP BY ALL;\n", INT64_C(3600000000)},
    {"ones", "ts", T "ones" FRESH "SELECT ts, v FROM events WHERE k = 0 UNION ALL SELECT ts, -v FROM events WHERE k = 1;\n", 0},
    {"pairs", "ts", T "pairs" FRESH "SELECT a.ts, a.v, b.v AS w FROM events a JOIN events b ON a.ts = b.ts AND a.k = b.k;\n", 0},
    {"least", "ts", T "least" FRESH "SELECT ts, v FROM (SELECT ts, v, row_number() OVER (PARTITION BY ts ORDER BY v, id) AS r FROM events) WHERE r <= 2;\n", 0},
    {"named", "window_start", NAMED, 0},
    {"quarters", "window_start", HOURS, 0},
};
enum { DRAWN = sizeof drawn / sizeof *drawn };

static int64_t boundary(struct world *w) {
    struct leat_buffer status = {0};
    OK(leat_engine_status(w->engine, &status, oops));
    const char *at = strstr(status.data, "\"retained_from_us\":");
    int64_t us = at ? strtoll(at + strlen("\"retained_from_us\":"), NULL, 10) : INT64_MIN;
    leat_buffer_deinit(&status);
    return us;
}

static char *frozen(struct world *w, int64_t before_us) {
    struct leat_buffer sql = {0};
    for (size_t i = 0; i < DRAWN; i++)
        leat_putf(&sql, "%s(SELECT coalesce(md5(string_agg(r::VARCHAR, ';' ORDER BY r::VARCHAR)), '-') || ' %s ' FROM (SELECT * FROM %s WHERE epoch_us(%s) < %lld) r)",
                  i ? " || " : "SELECT ", drawn[i].name, drawn[i].name, drawn[i].time, (long long)(before_us + drawn[i].back_us));
    char *text = text_of(w, sql.data);
    leat_buffer_deinit(&sql);
    return text;
}

static void feed_some(struct world *w, struct leat_random *random, int *minute) {
    struct leat_buffer text = {0};
    for (int i = 0; i < 60; i++, line++) {
        int m = *minute + i / 6 - (leat_random_below(random, 12) ? 0 : (int)leat_random_below(random, 50)), s = (int)leat_random_below(random, 4) * 15;
        if (m < 0) m = 0;
        leat_putf(&text, "{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-%02d %02d:%02d:%02d\"}\n", line, (int)leat_random_below(random, 3), line, 1 + m / 1440,
                  m / 60 % 24, m % 60, s);
    }
    if (!leat_random_below(random, 3)) leat_put(&text, "not json\n");
    put(w, leat_random_below(random, 2) ? "in/events2.ndjson" : "in/events1.ndjson", text.data, "a");
    *minute += 10;
    leat_buffer_deinit(&text);
}

static void do_something(struct world *w, struct leat_random *random, int *minute) {
    const struct leat_restate_options all = {.from_us = LEAT_RESTATE_FROM_MIN, .to_us = LEAT_RESTATE_TO_MAX, .reason = "test"};
    struct leat_diagnostics diags = {0};
    char *work = leat_asprintf("%s/.leat", w->project), name[16];
    switch (leat_random_below(random, 9)) {
    case 0: OK(leat_engine_rebuild(w->engine, drawn[leat_random_below(random, DRAWN)].name, "test", NULL, oops)); break;
    case 1: OK(leat_engine_restate(w->engine, &all, NULL, oops)); break;
    case 2: reopen(w); break;
    case 3:
        leat_engine_close(w->engine);
        w->engine = NULL;
        OK(leat_io_remove_tree(w->env.io, work, oops));
        reopen(w);
        break;
    case 4: OK(leat_engine_alter(w->engine, "ALTER MATERIALIZED TABLE quarters REFRESH PARTITION (window_start < TIMESTAMP '2026-01-01 03:00:00')", false, &diags, NULL, oops)); break;
    case 5:
        snprintf(name, sizeof name, "zero%d", (int)leat_random_below(random, 100));
        things(w, name);
        break;
    default: feed_some(w, random, minute);
    }
    leat_diagnostics_deinit(&diags);
    free(work);
}

/* Whatever is done, rows that were frozen stay as they were, and the others are what DuckDB makes of what is there. */
static void drawn_deeds(void **state) {
    (void)state;
    const char *seeds = getenv("LEAT_SEEDS"); /* many: LEAT_SEEDS=100 */
    int first = seeds ? 1 : 3, last = seeds ? atoi(seeds) : first, moved = 0; /* the third begins early */
    for (int seed = first; seed <= last; seed++) {
        struct world world, *w = &world;
        struct leat_random random;
        struct leat_buffer tables = {0};
        int minute = 0;
        leat_random_seed(&random, (uint64_t)seed);
        for (size_t i = 0; i < DRAWN; i++) leat_put(&tables, drawn[i].sql);
        world_init(w, SOURCE(KEPT) THINGS, tables.data);
        things(w, "zero");
        feed_some(w, &random, &minute);
        run_all(w);
        int64_t before = boundary(w);
        char *rows = frozen(w, before == INT64_MIN ? 0 : before);
        for (int i = 0; i < (seeds ? 16 : 10); i++) {
            do_something(w, &random, &minute);
            run_all(w);
            char *now = frozen(w, before == INT64_MIN ? 0 : before);
            if (strcmp(now, rows) != 0) fail_msg("seed %d, deed %d:\n%s\n%s", seed, i, rows, now);
            int64_t next = boundary(w);
            assert_true(next >= before);
            moved += next > before;
            before = next;
            free(now);
            free(rows);
            rows = frozen(w, before == INT64_MIN ? 0 : before);
        }
        free(rows);
        leat_buffer_deinit(&tables);
        world_deinit(w);
    }
    assert_true(moved > last - first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_outlive_their_records),
        cmocka_unit_test(a_scheduled_table_reads_them_first),
        cmocka_unit_test(a_scheduled_window_longer_than_retention_stays_open),
        cmocka_unit_test(a_new_sink_gets_them),
        cmocka_unit_test(made_anew_they_stay),
        cmocka_unit_test(what_comes_too_late_stays_late),
        cmocka_unit_test(a_changed_query_keeps_them_or_is_refused),
        cmocka_unit_test(what_cannot_keep_its_rows_is_refused),
        cmocka_unit_test(dead_letters_stay),
        cmocka_unit_test(a_run_admits_what_it_can),
        cmocka_unit_test(killed_anywhere),
        cmocka_unit_test(drawn_deeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
