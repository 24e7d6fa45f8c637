/* CREATE CHECK: a planted error is found, with the rows, and told when it is over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "lake/delta.h"
#include "plan/plan.h"

static const char SOURCES[] =
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
    "CREATE SOURCE ledger (k INTEGER PRIMARY KEY, v DECIMAL(18,2))\n"
    "WITH (connector = 'file', path = 'in/ledger.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n";

static void event(struct world *w, const char *id, int k, int v) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 00:00:%s\"}\n", id, k, v, id);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

#define SUMS "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v, count(*) AS n FROM events GROUP BY k;\n"
#define WRONG_SUMS "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v, count(*) AS n FROM events WHERE v <> 7 GROUP BY k;\n"
#define BY_LEDGER "CREATE CHECK books COMPARE sums WITH ledger BY k;\n"
#define BY_QUERY "CREATE CHECK counted COMPARE sums WITH (SELECT k, count(id) AS n FROM events GROUP BY k) BY k;\n"

static void world_of(struct world *w, const char *tables) {
    world_init(w, SOURCES, tables);
    event(w, "01", 1, 5);
    event(w, "02", 2, 7);
    put(w, "in/ledger.csv", "k,v\n1,5.00\n2,7.00\n", "w");
}

/* An error in the catalogue, the system of record: the row, the columns, the drift; then its end. */
static void a_wrong_reference_is_found(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_of(w, SUMS BY_LEDGER BY_QUERY);
    run(w);
    expect_status(w, "\"name\":\"books\",\"table\":\"sums\",\"rows\":2,\"other_rows\":2,\"differing\":0");
    expect_status(w, "\"name\":\"counted\",\"table\":\"sums\",\"rows\":2,\"other_rows\":2,\"differing\":0");
    put(w, "in/ledger.csv", "k,v\n1,5.00\n2,9.00\n3,1.00\n", "w");
    run(w);
    expect_status(w, "\"differing\":2,\"only_table\":0,\"only_other\":1,\"changed\":1,\"drift_percent\":66.6");
    expect_text(w, "SELECT string_agg(kind || ' ' || key || ' ' || coalesce(columns, '-'), '; ' ORDER BY key) FROM books__differences",
                "differs {\"k\":2} v; only in the other {\"k\":3} -");
    reopen(w); /* the finding is in the lake */
    expect_status(w, "\"differing\":2,");
    put(w, "in/ledger.csv", "k,v\n1,5.00\n2,7.00\n", "w");
    run(w);
    expect_text(w, "SELECT count(*) FROM books__differences", "0");
    world_deinit(w);
}

/* An error in the pipeline's SQL: verify cannot see it, for it runs the same SQL. */
static void wrong_sql_is_found(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_of(w, WRONG_SUMS BY_LEDGER BY_QUERY);
    run(w);
    expect_text(w, "SELECT kind || row_of_other FROM books__differences", "only in the other{\"k\":2,\"v\":7.00}");
    expect_text(w, "SELECT kind || row_of_other FROM counted__differences", "only in the other{\"k\":2,\"n\":1}");
    world_deinit(w);
}

static atomic_int stop;
static int64_t stop_at_us;

static int64_t until_the_period_is_over(struct leat_sim_clock *clock, int64_t deadline_us) {
    if (clock->clock.now_us(&clock->clock) >= stop_at_us) stop = 1;
    return deadline_us;
}

/* `leat run` for a minute, the period of the check below. */
static void run_for_a_period(struct world *w) {
    struct leat_sim_clock clock;
    struct leat_clock *before = w->env.clock;
    leat_sim_clock_init(&clock, w->now_us);
    clock.on_sleep = until_the_period_is_over;
    stop = 0;
    stop_at_us = w->now_us + 60000000;
    w->env.clock = &clock.clock;
    OK(leat_engine_run(w->engine, &stop, oops));
    w->now_us = clock.clock.now_us(&clock.clock);
    w->env.clock = before;
}

#define EXTRACT "CREATE SOURCE extract (k INTEGER PRIMARY KEY, v BIGINT) WITH (connector = 'file', path = 'in/extract.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
#define BY_EXTRACT "CREATE MATERIALIZED TABLE names FRESHNESS = INTERVAL '1' SECOND AS SELECT e.id, x.k, x.v FROM events e JOIN extract x USING (k);\n"

/* An error in the source query: the rows that its filter loses are in no input, so verify and the watch find nothing; the system of record has
 * them. The table reads an extract and a stream, each of which loses some. */
static void a_wrong_source_query_is_found(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_of(w, EXTRACT SUMS BY_EXTRACT "CREATE CHECK books COMPARE sums WITH ledger BY k SCHEDULE CRON '* * * * *';\n"
                "CREATE CHECK listed COMPARE names WITH (SELECT CAST(id AS VARCHAR) AS id, k, v FROM (VALUES ('01', 1), ('02', 2)) t(id, k) JOIN ledger USING (k)) BY id "
                "SCHEDULE CRON '* * * * *';\n");
    put(w, "in/extract.csv", "k,v\n1,5\n2,7\n", "w");
    run_for_a_period(w);
    expect_status(w, "\"name\":\"books\",\"table\":\"sums\",\"rows\":2,\"other_rows\":2,\"differing\":0");
    expect_status(w, "\"name\":\"listed\",\"table\":\"names\",\"rows\":2,\"other_rows\":2,\"differing\":0");
    put(w, "in/ledger.csv", "k,v\n1,5.00\n2,7.00\n3,4.00\n", "w"); /* the stream's query says WHERE k < 3, */
    put(w, "in/extract.csv", "k,v\n1,5\n", "w");                    /* the extract's WHERE v <> 7 */
    run_for_a_period(w);
    expect_text(w, "SELECT string_agg(kind || coalesce(row_of_other, ''), '; ') FROM books__differences", "only in the other{\"k\":3,\"v\":4.00}");
    expect_text(w, "SELECT string_agg(kind || coalesce(row_of_other, ''), '; ') FROM listed__differences", "only in the other{\"id\":\"02\",\"k\":2,\"v\":7.00}");
    expect_equal(w);
    put(w, "in/extract.csv", "k,v\n1,5\n2,7\n", "w");
    event(w, "03", 3, 4);
    run_for_a_period(w);
    expect_text(w, "SELECT (SELECT count(*) FROM books__differences) + (SELECT count(*) FROM listed__differences)", "0");
    world_deinit(w);
}

/* `leat run` looks after commits, and rests as long as the budget says; with nothing new it does nothing. */
static void it_runs_by_itself_within_its_budget(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_of(w, SUMS BY_LEDGER "SET check_budget = 100;\n");
    run(w);
    struct leat_buffer first = {0}, second = {0};
    OK(leat_engine_status(w->engine, &first, oops));
    w->now_us += 3600000000;
    OK(leat_engine_run_once(w->engine, false, false, oops)); /* looks again, finds the same, and commits nothing */
    OK(leat_engine_status(w->engine, &second, oops));
    expect_text(w, "SELECT count(*) FROM books__differences", "0");
    char *path = leat_asprintf("%s/lake/books__differences/_delta_log/00000000000000000002.json", w->project);
    assert_false(leat_io_exists(w->env.io, path));
    free(path);
    leat_buffer_deinit(&first);
    leat_buffer_deinit(&second);
    world_deinit(w);
}

/* Somebody writes into the table's folder: rows of windows that are closed. */
static void plant(struct world *w) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_delta *delta;
    struct leat_buffer sql = {0};
    char *dir = leat_asprintf("%s/lake/minutes", w->project), *scratch = scratch_dir(w->dir, "planting");
    const struct leat_delta_options table = {.name = "minutes", .schema = &leat_engine_plan(w->engine, 0)->schema};
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_delta_open(&w->env, conn, dir, scratch, &table, &delta, oops));
    char *frontier = leat_strdup(leat_delta_current(delta)->frontier_json);
    leat_put(&sql, "SELECT * REPLACE (CASE WHEN window_start < '2026-01-01 00:00:50' THEN n + 1 ELSE n END AS n) FROM (");
    leat_delta_select(dir, leat_delta_current(delta), table.schema, NULL, &sql);
    leat_put(&sql, ")");
    const struct leat_delta_commit_info info = {.operation = "WRITE", .frontier_json = frontier};
    OK(leat_delta_overwrite(delta, sql.data, &info, NULL, oops));
    leat_delta_close(delta);
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_buffer_deinit(&sql);
    free(frontier);
    free(dir);
    free(scratch);
}

static int errors_told;

static int64_t until_two_sleeps(struct leat_sim_clock *clock, int64_t deadline_us) {
    if (clock->sleep_count >= 6) stop = 1;
    return deadline_us;
}

static void count_errors(struct leat_env *env, enum leat_log_level level, const char *text) {
    (void)env;
    errors_told += level == LEAT_LOG_ERROR && strstr(text, "drift watch") && strstr(text, "leat rebuild minutes");
}

static void run_for_a_while(struct world *w) {
    struct leat_sim_clock clock;
    struct leat_clock *before = w->env.clock;
    leat_sim_clock_init(&clock, w->now_us);
    clock.on_sleep = until_two_sleeps;
    stop = 0;
    w->env.clock = &clock.clock;
    OK(leat_engine_run(w->engine, &stop, oops));
    w->now_us = clock.clock.now_us(&clock.clock);
    w->env.clock = before;
}

/* What is not as its query says is found by `leat run` itself, in a closed period, and told; a rebuild mends it. */
static void the_watch_finds_a_damaged_table(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCES, "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                           "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '10' SECOND) GROUP BY window_start;\nSET drift_watch = 100;\n");
    put(w, "in/ledger.csv", "k,v\n1,5.00\n", "w");
    for (int i = 0; i < 58; i++) {
        char id[8];
        snprintf(id, sizeof id, "%02d", i);
        event(w, id, 1, i);
    }
    OK(leat_engine_run_once(w->engine, false, false, oops));
    w->env.log = count_errors;
    event(w, "58", 1, 1);
    run_for_a_while(w);
    expect_status(w, "\"drift_watch\":{\"periods\":");
    expect_status(w, "\"tables\":{\"minutes\":{\"differing\":0,\"checked_us\":");
    assert_int_equal(errors_told, 0);
    plant(w);
    reopen(w);
    event(w, "59", 1, 1);
    run_for_a_while(w);
    assert_true(errors_told > 0);
    OK(leat_engine_rebuild(w->engine, "minutes", "damaged", NULL, oops));
    expect_equal(w);
    world_deinit(w);
}

static void expect_problem(const char *text, const char *message) {
    struct leat_diagnostics diags = {0};
    char *all = leat_asprintf("%s%s%s", SOURCES, SUMS, text);
    struct leat_project *project = leat_project_parse("check.sql", all, strlen(all), &diags);
    if (!diags.count) OK(leat_project_check_queries(project, NULL, &diags, oops));
    if (!message) {
        assert_int_equal(diags.count, 0);
    } else {
        bool found = false;
        for (size_t i = 0; i < diags.count; i++) found |= strstr(diags.items[i].message, message) != NULL;
        if (!found) fail_msg("no '%s' but '%s' for %s", message, diags.count ? diags.items[0].message : "nothing", text);
    }
    leat_diagnostics_deinit(&diags);
    leat_project_free(project);
    free(all);
}

static void statements_are_checked(void **state) {
    (void)state;
    expect_problem("CREATE CHECK c COMPARE sums WITH (SELECT k, sum(v) AS v FROM events GROUP BY k) BY k SCHEDULE CRON '0 6 * * *' AT TIME ZONE 'Europe/Berlin';", NULL);
    expect_problem("CREATE CHECK c COMPARE sums WITH ledger BY (k);", NULL);
    expect_problem("CREATE CHECK c COMPARE sum WITH ledger BY k;", "there is no materialized table 'sum'");
    expect_problem("CREATE CHECK c COMPARE sums WITH ledgers BY k;", "there is no source, view or table 'ledgers'");
    expect_problem("CREATE CHECK c COMPARE sums WITH ledger BY n;", "check 'c': what it compares with has no column 'n'");
    expect_problem("CREATE CHECK c COMPARE sums WITH (SELECT kk FROM events) BY k;", "kk");
    expect_problem("CREATE CHECK c COMPARE sums WITH (SELECT k FROM events BY k;", "not closed");
    expect_problem("CREATE CHECK c COMPARE sums WITH ledger;", "expected BY");
    expect_problem("CREATE CHECK c COMPARE sums WITH ledger BY k; CREATE CHECK c COMPARE sums WITH ledger BY k;", "declared already");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_reference_is_found),
        cmocka_unit_test(wrong_sql_is_found),
        cmocka_unit_test(a_wrong_source_query_is_found),
        cmocka_unit_test(it_runs_by_itself_within_its_budget),
        cmocka_unit_test(the_watch_finds_a_damaged_table),
        cmocka_unit_test(statements_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
