/* REFRESH PARTITION: the rows that fit a condition are of now, the others of the last run; verify knows which are which. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#define DAILY "CREATE MATERIALIZED TABLE daily SCHEDULE CRON '0 2 * * *' AS SELECT window_start, t.cat, count(*) AS n, sum(v) AS v\n" \
              "FROM TUMBLE(events, ts, INTERVAL '1' DAY) e JOIN things t USING (k) GROUP BY ALL;\n"
#define TOLD "CREATE SINK told FROM daily WITH (connector = 'file', path = 'told.out', on_retract = 'send', start = 'snapshot');\n"

static void event(struct world *w, int day, int k, int v) {
    char *line = leat_asprintf("{\"id\":\"e\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-%02d 12:00:00\"}\n", k, v, day);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static enum leat_status ask(struct world *w, const char *table, const char *part, struct leat_buffer *out, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    char *sql = leat_asprintf("ALTER MATERIALIZED TABLE %s REFRESH PARTITION %s", table, part);
    OK(leat_engine_ingest(w->engine, &(uint64_t){0}, oops));
    enum leat_status st = leat_engine_alter(w->engine, sql, false, &diags, out, err);
    leat_diagnostics_deinit(&diags);
    free(sql);
    return st;
}

static void refresh(struct world *w, const char *table, const char *part, int changes) {
    struct leat_buffer out = {0};
    struct leat_error err = {0};
    char *expected = leat_asprintf("\"changes\": %d}", changes);
    if (ask(w, table, part, &out, &err) != LEAT_OK) fail_msg("%s: %s", part, err.text);
    if (!strstr(out.data, expected)) fail_msg("%s: not %s but %s", part, expected, out.data);
    expect_equal(w);
    leat_buffer_deinit(&out);
    free(expected);
}

static void refused(struct world *w, const char *table, const char *part, const char *why) {
    struct leat_error err = {0};
    assert_int_not_equal(ask(w, table, part, NULL, &err), LEAT_OK);
    if (!strstr(err.text, why)) fail_msg("%s: not '%s' but '%s'", part, why, err.text);
}

static const char days[] = "SELECT string_agg(day(window_start) || cat || n, ' ' ORDER BY window_start, cat) FROM daily";

static void only_what_fits_is_of_now(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, DAILY TOLD);
    for (int day = 1; day <= 3; day++) event(w, day, 1, day);
    refused(w, "daily", "(cat <> '')", "has not been run");
    refused(w, "daily", "(n > 1)", "columns that it groups by"); /* a group of one record before, of two now: it would stand there twice */
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_text(w, days, "1red1 2red1 3red1");
    for (int day = 1; day <= 4; day++) event(w, day, 1 + day % 2, 10);
    refresh(w, "daily", "(window_start >= TIMESTAMP '2026-01-02' AND window_start < TIMESTAMP '2026-01-03')", 2);
    expect_text(w, days, "1red1 2red2 3red1");
    refresh(w, "daily", "(window_start = TIMESTAMP '2026-01-02', cat = 'red')", 0); /* covered: nothing is written */
    refresh(w, "daily", "(cat = 'red')", 1); /* the fourth day */
    expect_text(w, days, "1red1 2red2 3red1 4red1");
    char *manifest = leat_asprintf("SELECT versions.daily = (SELECT count(*) - 1 FROM glob('%s/lake/daily/_delta_log/*.json')) FROM "
                                   "read_json('%s/lake/manifest.json', columns = {versions: 'STRUCT(daily BIGINT)'})", w->project, w->project);
    expect_text(w, manifest, "true"); /* readers find the part there */
    free(manifest);
    reopen(w);
    expect_equal(w);
    expect_status(w, "\"where\":\"(cat='red')\""); /* the history of runs knows */
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n2,green,2\n", "w");
    refresh(w, "daily", "(cat = 'green')", 2); /* the others still have what was blue */
    event(w, 2, 1, 5);
    refresh(w, "daily", "(cat = 'red')", 2);
    expect_text(w, days, "1green1 1red1 2red3 3green1 3red1 4red1");
    leat_engine_deliver(w->engine);
    char *path = leat_asprintf("%s/told.out", w->project);
    char *fold = leat_asprintf("SELECT sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) = (SELECT count(*) FROM daily) AND count(DISTINCT id) = count(*) FROM "
                               "read_json('%s', columns = {id: 'VARCHAR', kind: 'VARCHAR'})", path);
    expect_text(w, fold, "true");
    OK(leat_engine_run_once(w->engine, true, false, oops)); /* whole again */
    expect_equal(w);
    expect_text(w, days, "1green1 1red1 2red3 3green1 3red1 4red1");
    free(fold);
    free(path);
    world_deinit(w);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE a SCHEDULE CRON '0 2 * * *' AS SELECT k, max(v) AS v, now() AS at FROM events GROUP BY k;\n"
                 "CREATE MATERIALIZED TABLE b (CONSTRAINT c EXPECT (v > 0) ON VIOLATION DROP ROW) SCHEDULE CRON '0 2 * * *' AS SELECT k, v FROM events;\n"
                 "CREATE VIEW seen AS SELECT k, now() AS at FROM events;\n"
                 "CREATE MATERIALIZED TABLE through SCHEDULE CRON '0 2 * * *' AS SELECT * FROM seen;\n"
                 "CREATE MATERIALIZED TABLE aged SCHEDULE CRON '0 2 * * *' AS SELECT k, age(ts) AS old, age(ts, ts) AS none FROM events;\n"
                 "CREATE MATERIALIZED TABLE keyed (PRIMARY KEY (k)) SCHEDULE CRON '0 2 * * *' AS SELECT k, count(*) AS n FROM events GROUP BY k;\n"
                 "CREATE MATERIALIZED TABLE c SCHEDULE CRON '0 2 * * *' AS SELECT k, v FROM events;\n");
    event(w, 1, 1, 1);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    refused(w, "a", "(k = 1)", "depends on when it is computed");
    refused(w, "through", "(k = 1)", "depends on when it is computed");
    refused(w, "aged", "(k = 1)", "depends on when it is computed");
    refused(w, "keyed", "(n > 1)", "the table's PRIMARY KEY"); /* the key would stand there twice, and a sink be told that it is gone */
    refused(w, "c", "(k IN (SELECT k FROM things))", "a query in it");
    refused(w, "c", "(k IN (FROM things))", "a query in it");
    refused(w, "c", "(current_localtimestamp() > TIMESTAMP '2020-01-01')", "depends on when");
    refused(w, "b", "(k = 1)", "constraints");
    refused(w, "c", "(n = 1)", "a condition on the table's columns");
    refused(w, "c", "(v + 1)", "no condition");
    refused(w, "c", "(v = random())", "depends on when");
    refused(w, "d", "(k = 1)", "there is no materialized table");
    for (int i = 0; i < 17; i++) {
        char *part = leat_asprintf("(k = %d)", i);
        event(w, 1, i, 1);
        if (i < 16) refresh(w, "c", part, 1);
        else refused(w, "c", part, "REFRESH it whole");
        free(part);
    }
    world_deinit(w);
}

/* A table that is kept fresh is mended where it differs. */
static void a_fresh_table_has_nothing_to_refresh(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v FROM events GROUP BY k;\n");
    event(w, 1, 1, 1);
    run(w);
    event(w, 1, 2, 1);
    refresh(w, "sums", "(k = 2)", 0);
    expect_text(w, "SELECT count(*) FROM sums", "2");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_fits_is_of_now),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_fresh_table_has_nothing_to_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
