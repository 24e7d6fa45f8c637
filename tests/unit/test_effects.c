/* Rules 4, 5 and 13: what sinks are told of tables, across crashes, changed projects, restatements and runs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#define RAW "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT id, k, v FROM events WHERE v >= 0;\n"
#define TOTALS \
    "CREATE MATERIALIZED TABLE totals (PRIMARY KEY (k)) FRESHNESS = INTERVAL '1' SECOND AS SELECT k, count(*) AS n, sum(v) AS v FROM events GROUP BY k;\n"
#define RAW_OUT "CREATE SINK raw_out FROM raw WITH (connector = 'file', path = 'raw.out');\n"
#define TOTALS_OUT "CREATE SINK totals_out FROM totals WITH (connector = 'file', path = 'totals.out', on_retract = 'send');\n"

static void event(struct world *w, int id, int k, int v, const char *time) {
    char *line = leat_asprintf("{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 %s\"}\n", id, k, v, time);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void change_project(struct world *w, const char *tables) {
    put(w, "project.sql", shop_sources, "w");
    put(w, "project.sql", tables, "a");
    reopen(w);
}

static char *path_of(struct world *w, const char *name) {
    return leat_asprintf("%s/%s", w->project, name);
}

/* Ingest, steps, delivery, but no commit: what a crash finds half done. */
static void go(struct world *w, bool deliver) {
    uint64_t got;
    bool did = true;
    OK(leat_engine_ingest(w->engine, &got, oops));
    while (did) OK(leat_engine_step(w->engine, true, &did, oops));
    if (deliver) leat_engine_deliver(w->engine);
}

#define LINES "read_json('%s', format = 'newline_delimited', columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'JSON'})"

/* The events of a file taken together are the table's rows; each is there once, in the order of their ids. */
static void expect_fold(struct world *w, const char *file, const char *table) {
    char *path = path_of(w, file);
    char *sql = leat_asprintf("WITH f AS (SELECT CAST(\"row\" AS VARCHAR) AS r, CAST(sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) AS INTEGER) AS n FROM " LINES
                              " GROUP BY 1 HAVING n <> 0), t AS (SELECT CAST(to_json(t) AS VARCHAR) AS r, count(*)::INTEGER AS n FROM %s t GROUP BY 1) "
                              "SELECT coalesce(string_agg(x, ' '), '') FROM (SELECT 'file ' || r || n AS x FROM (FROM f EXCEPT FROM t) UNION ALL "
                              "SELECT 'table ' || r || n FROM (FROM t EXCEPT FROM f))",
                              path, table);
    expect_text(w, sql, "");
    free(sql);
    sql = leat_asprintf("SELECT count(*) - count(DISTINCT id) || ' ' || count(*) FILTER (WHERE id <= before) FROM "
                        "(SELECT id, lag(id) OVER () AS before FROM " LINES ")",
                        path);
    expect_text(w, sql, "0 0");
    free(sql);
    free(path);
}

static void expect_lines(struct world *w, const char *file, const char *expected) {
    char *path = path_of(w, file), *sql = leat_asprintf("SELECT coalesce(string_agg(kind || CAST(\"row\" AS VARCHAR), ' '), '') FROM " LINES, path);
    expect_text(w, sql, expected);
    free(sql);
    free(path);
}

static void expect_count(struct world *w, const char *file, const char *expected) {
    char *path = path_of(w, file), *sql = leat_asprintf("SELECT count(*) FROM " LINES, path);
    expect_text(w, sql, expected);
    free(sql);
    free(path);
}

static void each_change_is_told_once(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, RAW TOTALS RAW_OUT TOTALS_OUT);
    for (int i = 0; i < 24; i++) {
        char time[16];
        snprintf(time, sizeof time, "00:%02d:00", i);
        event(w, i, i % 3, i % 5 - 1, time);
        switch (i % 6) {
        case 0: run(w); break;
        case 1: go(w, true); break;
        case 2: go(w, false); break;
        case 3: go(w, true); reopen(w); break;  /* delivered, not committed: a crash */
        case 4: go(w, false); reopen(w); break; /* told, not delivered */
        default: OK(leat_engine_flush(w->engine, true, oops)); break;
        }
    }
    run(w);
    expect_fold(w, "raw.out", "raw");
    expect_fold(w, "totals.out", "totals");
    expect_status(w, "\"waiting\":0,\"delivered\":19");
    world_deinit(w);
}

/* Promise 3: another query elsewhere makes everything anew, and nothing is told again; nor is a new query's content events. */
static void a_rebuild_tells_nothing_again(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, RAW TOTALS RAW_OUT TOTALS_OUT);
    for (int i = 0; i < 9; i++) event(w, i, i % 3, i, "00:00:00");
    run(w);
    expect_count(w, "raw.out", "9");
    expect_count(w, "totals.out", "3");
    change_project(w, RAW TOTALS RAW_OUT TOTALS_OUT "CREATE MATERIALIZED TABLE another FRESHNESS = INTERVAL '1' SECOND AS SELECT k FROM events;\n");
    event(w, 10, 1, 5, "00:00:00"); /* comes while it is made anew */
    run(w);
    expect_count(w, "raw.out", "10");
    expect_fold(w, "raw.out", "raw");
    expect_fold(w, "totals.out", "totals");
    expect_count(w, "totals.out", "5");
    change_project(w, "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT id, k, 10 * v AS v FROM events WHERE v >= 0;\n" TOTALS RAW_OUT
                       TOTALS_OUT);
    event(w, 11, 2, 6, "00:00:00");
    run(w);
    expect_count(w, "raw.out", "11");
    expect_fold(w, "totals.out", "totals");
    reopen(w);
    run(w);
    expect_count(w, "raw.out", "11");
    world_deinit(w);
}

/* The lake is behind what was told when leat dies, and the project is another one afterwards. */
static void a_crash_and_then_another_project(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "SET commit_interval = '1 hour';\n" RAW TOTALS RAW_OUT TOTALS_OUT);
    for (int i = 0; i < 9; i++) event(w, i, i % 3, i, "00:00:00");
    run(w);
    for (int i = 9; i < 15; i++) {
        event(w, i, i % 4, i, "00:00:00");
        go(w, i % 2);
    }
    event(w, 15, 3, 1, "00:00:00");
    uint64_t got;
    OK(leat_engine_ingest(w->engine, &got, oops)); /* and this was told to nobody */
    change_project(w, RAW TOTALS RAW_OUT TOTALS_OUT "CREATE MATERIALIZED TABLE another FRESHNESS = INTERVAL '1' SECOND AS SELECT k FROM events;\n");
    run(w);
    expect_count(w, "raw.out", "16");
    expect_fold(w, "raw.out", "raw");
    expect_fold(w, "totals.out", "totals");
    expect_text(w, "SELECT count(*) FROM raw", "16");
    world_deinit(w);
}

static void no_rebuild(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level;
    if (strstr(line, "made anew")) fail_msg("%s", line);
}

static void start_says_what_comes_first(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, RAW);
    event(w, 1, 1, 1, "00:00:00");
    run(w);
    change_project(w, RAW TOTALS RAW_OUT "CREATE SINK all_out FROM raw WITH (connector = 'file', path = 'all.out', start = 'snapshot');\n"
                       "CREATE SINK new_now FROM totals WITH (connector = 'file', path = 'now.out', on_retract = 'send');\n"
                       "CREATE SINK new_all FROM totals WITH (connector = 'file', path = 'new.out', on_retract = 'send', start = 'snapshot');\n");
    event(w, 2, 2, 2, "00:00:00");
    run(w);
    expect_lines(w, "raw.out", "append{\"id\":\"e2\",\"k\":2,\"v\":2}");
    expect_fold(w, "all.out", "raw");
    expect_fold(w, "new.out", "totals");
    expect_lines(w, "now.out", "append{\"k\":2,\"n\":1,\"v\":2}");
    event(w, 3, 1, 4, "00:00:00");
    run(w);
    expect_fold(w, "all.out", "raw");
    expect_fold(w, "new.out", "totals");
    expect_lines(w, "now.out", "append{\"k\":2,\"n\":1,\"v\":2} retract{\"k\":1,\"n\":1,\"v\":1} append{\"k\":1,\"n\":2,\"v\":5}");
    /* A new sink alone: nothing is made anew. */
    change_project(w, RAW TOTALS);
    event(w, 4, 1, 1, "00:00:00");
    run(w);
    OK(leat_engine_flush(w->engine, true, oops));
    w->env.log = no_rebuild;
    w->env.log_level = LEAT_LOG_INFO;
    change_project(w, RAW TOTALS "CREATE SINK one_more FROM totals WITH (connector = 'file', path = 'one.out', on_retract = 'send', start = 'snapshot');\n");
    run(w);
    expect_fold(w, "one.out", "totals");
    w->env.log = quiet;
    /* A table that is there and continues: the snapshot is what it holds. */
    change_project(w, RAW TOTALS "CREATE SINK late_all FROM totals WITH (connector = 'file', path = 'late.out', on_retract = 'send', start = 'snapshot');\n");
    run(w);
    expect_fold(w, "late.out", "totals");
    world_deinit(w);
}

static void a_run_tells_the_difference(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE daily (PRIMARY KEY (k)) SCHEDULE CRON '* * * * *' AS SELECT k, sum(v)::BIGINT AS v FROM events GROUP BY k;\n"
                 "CREATE SINK daily_out FROM daily WITH (connector = 'file', path = 'daily.out', on_retract = 'send');\n");
    event(w, 1, 1, 1, "00:00:00");
    event(w, 2, 2, 2, "00:00:00");
    for (int i = 0; i < 3; i++) {
        w->now_us += 60000000;
        run(w);
        expect_fold(w, "daily.out", "daily");
        expect_count(w, "daily.out", i == 0 ? "2" : "4");
        if (i == 0) event(w, 3, 2, 5, "00:00:00");
        reopen(w);
    }
    world_deinit(w);
}

/* Beyond spool_limit nothing is taken in; afterwards the sink gets the difference, and has everything once. */
static void a_sink_that_is_gone_for_long(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer lines = {0};
    shop_init(w, RAW TOTALS "CREATE SINK raw_out FROM raw WITH (connector = 'file', path = 'there/raw.out', spool_limit = '64 KiB');\n"
                       "CREATE SINK totals_out FROM totals WITH (connector = 'file', path = 'there/totals.out', on_retract = 'send', spool_limit = '64 KiB');\n");
    event(w, 0, 1, 1, "00:00:00");
    run(w);
    for (int round = 0; round < 6; round++) {
        leat_buffer_reset(&lines);
        for (int i = 0; i < 400; i++) leat_putf(&lines, "{\"id\":\"e%d-%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 00:00:00\"}\n", round, i, i, i);
        put(w, "in/events.ndjson", lines.data, "a");
        run(w);
        if (round == 3) expect_status(w, "\"cut\":true");
        if (round % 2) reopen(w);
    }
    char *there = path_of(w, "there");
    OK(leat_io_mkdirs(w->env.io, there, oops));
    free(there);
    for (int i = 1; i < 4; i++) {
        event(w, i, 1, 1, "00:00:00");
        run(w);
        if (i == 2) reopen(w);
    }
    expect_fold(w, "there/raw.out", "raw");
    expect_fold(w, "there/totals.out", "totals");
    expect_status(w, "\"cut\":false");
    leat_buffer_deinit(&lines);
    world_deinit(w);
}

#define MINUTES                                                                                                  \
    "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS SELECT window_start, count(*) AS n " \
    "FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"

/* Rule 12 and 4: a correction is told where retractions are, and is no event elsewhere. */
static void a_restatement_is_a_correction(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_restate_options options = {.reason = "test"};
    shop_init(w, MINUTES "CREATE SINK finals FROM minutes WITH (connector = 'file', path = 'finals.out');\n"
                         "CREATE SINK corrected FROM minutes WITH (connector = 'file', path = 'corrected.out', on_retract = 'send');\n");
    event(w, 1, 1, 1, "00:00:10");
    event(w, 2, 1, 1, "00:05:00");
    run(w);
    event(w, 3, 1, 1, "00:00:20"); /* late */
    event(w, 4, 1, 1, "00:09:00");
    run(w);
    expect_count(w, "finals.out", "2");
    OK(leat_engine_restate(w->engine, &options, NULL, oops));
    leat_engine_deliver(w->engine);
    expect_count(w, "finals.out", "2");
    expect_count(w, "corrected.out", "4");
    reopen(w);
    run(w);
    expect_count(w, "corrected.out", "4");
    change_project(w, MINUTES "CREATE SINK finals FROM minutes WITH (connector = 'file', path = 'finals.out');\n"
                              "CREATE MATERIALIZED TABLE another FRESHNESS = INTERVAL '1' SECOND AS SELECT k FROM events;\n");
    run(w); /* windows that had closed close again, unheard */
    expect_count(w, "finals.out", "2");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_told_once),     cmocka_unit_test(a_rebuild_tells_nothing_again),
        cmocka_unit_test(start_says_what_comes_first),  cmocka_unit_test(a_crash_and_then_another_project),
         cmocka_unit_test(a_run_tells_the_difference),
        cmocka_unit_test(a_restatement_is_a_correction), cmocka_unit_test(a_sink_that_is_gone_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
