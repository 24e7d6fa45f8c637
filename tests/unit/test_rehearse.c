/* Recorded input through a project in folders of its own: the same tables, the same late and dead records; a changed filter moves exactly its rows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/usage.h"
#include "engine_world.h"
#include "rehearse/measure.h"
#include "rehearse/waking.h"

static const char TABLES[] = "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                             "SELECT window_start, cat, count(*) AS n, sum(v) AS v FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) JOIN things USING (k) WHERE v >= 0 GROUP BY ALL;\n"
                             "CREATE MATERIALIZED TABLE kept FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v FROM events WHERE v >= 0;\n"
                             "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT sum(v) AS v FROM events;\n";

static void event(struct world *w, int n, int v, const char *time) {
    char *line = leat_asprintf("{\"id\":\"e%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-05-28 %s\",\"more\":%d}\n", n, n % 2 + 1, v, time, n);
    put(w, "in/events.ndjson", line, "a");
    w->now_us += 10000000;
    free(line);
    OK(leat_engine_run_once(w->engine, true, false, oops));
}

/* A late record, a dead one, a changed catalogue. */
static void shop(struct world *w) {
    shop_init(w, TABLES);
    event(w, 0, 5, "00:00:10");
    event(w, 1, 6, "00:00:15");
    event(w, 2, 7, "00:03:00");
    event(w, 3, 8, "00:00:20"); /* late for minutes */
    put(w, "in/events.ndjson", "no json\n", "a");
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n2,green,2\n", "w");
    event(w, 4, 9, "00:03:10");
    run(w);
}

static void record(struct world *w, struct leat_record *out) {
    char *dir = leat_asprintf("%s/recorded", w->dir);
    struct leat_record_options options = {.dir = dir, .from_us = INT64_MIN, .to_us = INT64_MAX, .clock = LEAT_CLOCK_ARRIVAL};
    OK(leat_record_make(&w->env, w->engine, &options, out, oops));
    free(dir);
}

/* Rehearses the project in `dir`, lets `look` see it. */
static void rehearse(struct world *w, const struct leat_record *r, const char *project_dir, const char *name, void (*look)(struct world *)) {
    char *dir = scratch_dir(w->dir, name);
    struct leat_rehearsal_options options = {.project_dir = project_dir, .dir = dir, .record = r, .lean = true};
    struct leat_diagnostics diags = {0};
    struct leat_rehearsal *rehearsal;
    OK(leat_rehearsal_open(&w->env, &options, &diags, &rehearsal, oops));
    OK(leat_rehearsal_run(rehearsal, INT64_MAX, oops));
    OK(leat_rehearsal_finish(rehearsal, oops));
    struct world other = *w;
    other.engine = leat_rehearsal_engine(rehearsal);
    expect_equal(&other);
    look(&other);
    leat_rehearsal_close(rehearsal);
    leat_diagnostics_deinit(&diags);
    free(dir);
}

static void look_same(struct world *w) {
    expect_text(w, "SELECT string_agg(strftime(window_start, '%M') || cat || n || v, ' ' ORDER BY window_start, cat) FROM minutes", "00green16 00red15 03red216");
    expect_text(w, "SELECT count(*) || ' ' || sum(v) FROM kept", "5 35");
    expect_text(w, "SELECT string_agg(_offset || ':' || event_time, ' ') FROM minutes__late", "3:2026-05-28 00:00:20");
    expect_text(w, "SELECT string_agg(_offset || ':' || payload, ' ') FROM events__dead", "4:no json");
    expect_text(w, "SELECT v FROM nightly", "35");
}

static void look_changed(struct world *w) {
    expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM kept", "e2 e3 e4");
}

static void it_goes_as_it_went(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_record r, again;
    shop(w);
    look_same(w);
    record(w, &r);
    assert_int_equal(r.records, 6);
    rehearse(w, &r, w->project, "same", look_same);
    OK(leat_record_load(&w->env, r.dir, &again, oops));
    assert_int_equal(again.records, 6);
    assert_true(again.first_us == r.first_us && again.last_us == r.last_us);
    /* Another filter; a sink, which must send nothing; a source that was never recorded. */
    char *changed = scratch_dir(w->dir, "changed"), *file = leat_asprintf("%s/p.sql", changed);
    FILE *to = fopen(file, "w");
    assert_non_null(to);
    fprintf(to, "%sCREATE SOURCE fresh (a INTEGER) WITH (connector = 'file', path = 'nowhere/*.ndjson', format = 'json');\n"
                "CREATE MATERIALIZED TABLE kept FRESHNESS = INTERVAL '1' SECOND AS SELECT id, v FROM events WHERE v >= 7;\n"
                "CREATE MATERIALIZED TABLE none FRESHNESS = INTERVAL '1' SECOND AS SELECT a FROM fresh;\n"
                "CREATE SINK out FROM kept WITH (connector = 'file', path = 'sent.ndjson');\n", shop_sources);
    assert_int_equal(fclose(to), 0);
    rehearse(w, &again, changed, "other", look_changed);
    char *sent = leat_asprintf("%s/sent.ndjson", changed);
    assert_false(leat_io_exists(w->env.io, sent));
    free(sent);
    free(file);
    free(changed);
    leat_record_deinit(&r);
    leat_record_deinit(&again);
    look_same(w); /* the project's own lake is untouched */
    world_deinit(w);
}

/* Scheduled and full runs take no simulated time: what fell due is there, however fast that time passes. */
static void runs_are_done_when_they_are_due(void **state) {
    (void)state;
    struct world world, other;
    struct leat_record r;
    struct leat_diagnostics diags = {0};
    struct leat_rehearsal *rehearsal;
    shop(&world);
    put(&world, "project.sql", "CREATE MATERIALIZED TABLE often FRESHNESS = INTERVAL '10' SECOND REFRESH_MODE = FULL AS SELECT count(*) AS n FROM events;\n"
                              "CREATE MATERIALIZED TABLE whole FRESHNESS = INTERVAL '10' SECOND AS SELECT a.id FROM events a LEFT JOIN events b ON a.v < b.v;\n", "a");
    reopen(&world);
    record(&world, &r);
    struct leat_rehearsal_options options = {.project_dir = world.project, .dir = scratch_dir(world.dir, "runs"), .record = &r, .lean = true};
    OK(leat_rehearsal_open(&world.env, &options, &diags, &rehearsal, oops));
    other = world;
    other.engine = leat_rehearsal_engine(rehearsal);
    OK(leat_rehearsal_run(rehearsal, r.last_us + INT64_C(20) * 1000000, oops));
    expect_text(&other, "SELECT n FROM often", "5");
    OK(leat_rehearsal_run(rehearsal, r.last_us + INT64_C(26) * 3600 * 1000000, oops));
    expect_text(&other, "SELECT v FROM nightly", "35");
    const struct leat_project *project = leat_engine_project(other.engine);
    for (size_t t = 0; t < project->table_count; t++) { /* what rows are compared by */
        char **key;
        size_t count = leat_engine_key(other.engine, t, &key);
        assert_int_equal(count, strcmp(project->tables[t].name, "minutes") == 0 ? 2 : 0);
        leat_names_free(key, count);
    }
    leat_rehearsal_close(rehearsal);
    leat_record_deinit(&r);
    leat_diagnostics_deinit(&diags);
    free((char *)options.dir);
    world_deinit(&world);
}

static const char NIGHTS[] = "CREATE MATERIALIZED TABLE minutes FRESHNESS = INTERVAL '1' SECOND AS\n"
                             "SELECT window_start, count(*) AS n FROM TUMBLE(events, ts, INTERVAL '1' MINUTE) GROUP BY window_start;\n"
                             "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT max(v) AS v, count(*) AS n FROM events;\n"
                             "CREATE MATERIALIZED TABLE above SCHEDULE CRON '0 4 * * *' AS SELECT v + 1 AS v FROM nightly;\n"
                             "CREATE MATERIALIZED TABLE often FRESHNESS = INTERVAL '1' HOUR REFRESH_MODE = FULL AS SELECT sum(v) AS v FROM events;\n";

/* Four and a half days of a record every six hours, each day a late one. */
static void days(struct world *w) {
    enum { RECORDS = 18, HOUR = 3600 };
    shop_init(w, NIGHTS);
    for (int n = 0; n < RECORDS; n++) {
        time_t at = (time_t)(w->now_us / 1000000) - (n % 4 == 3 ? 30 * HOUR : 0);
        char time[32], *line;
        strftime(time, sizeof time, "%F %T", gmtime(&at));
        line = leat_asprintf("{\"id\":\"e%d\",\"k\":1,\"v\":%d,\"ts\":\"%s\"}\n", n, n, time);
        put(w, "in/events.ndjson", line, "a");
        OK(leat_engine_run_once(w->engine, false, false, oops));
        w->now_us += INT64_C(6) * HOUR * 1000000;
        free(line);
    }
}

/* Rehearses; what the tables hold, when late records were admitted, and how many versions each table has: malloc'd. */
static void rehearse_days(struct world *w, const struct leat_record *r, bool lean, char **content, char **made) {
    struct leat_rehearsal_options options = {.project_dir = w->project, .dir = scratch_dir(w->dir, lean ? "lean" : "whole"), .record = r, .lean = lean};
    struct leat_diagnostics diags = {0};
    struct leat_rehearsal *rehearsal;
    struct world other = *w;
    OK(leat_rehearsal_open(&w->env, &options, &diags, &rehearsal, oops));
    OK(leat_rehearsal_run(rehearsal, INT64_MAX, oops));
    OK(leat_rehearsal_finish(rehearsal, oops));
    other.engine = leat_rehearsal_engine(rehearsal);
    expect_equal(&other);
    *content = text_of(&other, "SELECT concat_ws('; ', (SELECT string_agg(window_start || ' ' || n, ', ' ORDER BY window_start) FROM minutes), (SELECT v || ' ' || n FROM nightly), "
                               "(SELECT v FROM above), (SELECT v FROM often), (SELECT string_agg(_offset, ' ' ORDER BY _offset) FROM minutes__late))");
    char *sql = leat_asprintf("SELECT concat((SELECT string_agg(DISTINCT restated_at, ', ' ORDER BY restated_at) FROM minutes__restatements), '; ', (SELECT count(*) FROM glob('%s/lake/nightly/_delta_log/*.json')), ' ', "
                              "(SELECT count(*) FROM glob('%s/lake/above/_delta_log/*.json')), ' ', (SELECT count(*) FROM glob('%s/lake/often/_delta_log/*.json')))",
                              options.dir, options.dir, options.dir);
    *made = text_of(&other, sql);
    free(sql);
    leat_rehearsal_close(rehearsal);
    leat_diagnostics_deinit(&diags);
    free((char *)options.dir);
}

/* Runs and restatements that are done again before the end are seen by nobody: without them everything is the same. With something that remembers, they are
 * done. */
static void what_is_overtaken_is_left_out(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_record r;
    char *content[3], *made[3];
    days(w);
    record(w, &r);
    rehearse_days(w, &r, false, &content[0], &made[0]);
    rehearse_days(w, &r, true, &content[1], &made[1]);
    assert_string_equal(content[1], content[0]);
    assert_string_equal(made[0], "2026-05-30 03:00:00, 2026-05-31 03:00:00, 2026-06-01 03:00:00; 7 6 21");
    assert_string_equal(made[1], "2026-06-01 03:00:00; 3 3 4");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE kept (CONSTRAINT c EXPECT (v >= 0) ON VIOLATION FAIL UPDATE) FRESHNESS = INTERVAL '1' SECOND AS SELECT v FROM events;\n", "a");
    rehearse_days(w, &r, true, &content[2], &made[2]);
    assert_string_equal(content[2], content[0]);
    assert_string_equal(made[2], made[0]);
    leat_record_deinit(&r);
    for (int i = 0; i < 3; i++) {
        free(content[i]);
        free(made[i]);
    }
    world_deinit(w);
}

/* What the command does in a process of its own. */
struct runs {
    struct leat_env *env;
    struct leat_measure_options *options;
    int count;
};

static enum leat_status run_here(void *context, int64_t at_us, struct leat_buffer *out, struct leat_child_outcome *outcome, struct leat_error *err) {
    struct runs *runs = context;
    struct leat_diagnostics diags = {0};
    int64_t cpu_us = leat_usage_cpu_us();
    enum leat_status st = leat_measure_run(runs->env, runs->options, at_us, &diags, out, err);
    *outcome = (struct leat_child_outcome){.cpu_us = leat_usage_cpu_us() - cpu_us, .peak_bytes = 1000 + runs->count++};
    leat_diagnostics_deinit(&diags);
    return st;
}

static void measured(struct world *w, const struct leat_record *r, int64_t freshness_us, uint64_t sample, int records, int steps) {
    char *dir = scratch_dir(w->dir, "measured");
    struct leat_measure_options options = {.project_dir = w->project, .dir = dir, .record = r, .freshness_us = freshness_us, .sample_steps = sample,
                                           .commit_interval_us = 10000000};
    struct leat_diagnostics diags = {0};
    struct leat_buffer out = {0};
    struct leat_env env = w->env;
    env.clock = leat_clock_real();
    struct runs runs = {&env, &options, 0};
    options.run = run_here;
    options.context = &runs;
    OK(leat_measure(&env, &options, &diags, &out, oops));
    json_t *json = json_loads(out.data, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "records")), records);
    if (json_integer_value(json_object_get(json, "steps")) < steps) fail_msg("%s", out.data);
    assert_true(json_integer_value(json_object_get(json, "cpu_us")) > 0);
    assert_true(json_integer_value(json_object_get(json, "puts")) > 0);
    if (freshness_us >= LEAT_TIMER_FROM_US) { /* one that makes the tables, one that finds nothing, and those that count */
        assert_int_equal(runs.count, 2 + json_integer_value(json_object_get(json, "runs")));
        assert_int_equal(json_integer_value(json_object_get(json, "peak_bytes")), 1000 + runs.count - 1);
        assert_true(json_integer_value(json_object_get(json, "empty_cpu_us")) > 0);
    } else {
        assert_int_equal(runs.count, 0);
    }
    json_decref(json);
    leat_buffer_deinit(&out);
    leat_diagnostics_deinit(&diags);
    free(dir);
}

/* By `leat run`, and by a timer: opened anew for each run, a record is read once. */
static void each_way_of_running_is_measured(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_record r;
    shop(w);
    record(w, &r);
    measured(w, &r, 1000000, 1000, 5, 3); /* with the first one the tables are made, which is not measured */
    measured(w, &r, LEAT_TIMER_FROM_US, 1000, 6, 1);
    w->now_us += INT64_C(18) * 3600 * 1000000;
    event(w, 7, 7, "18:10:00"); /* hours later: the runs before the last two are one that does not count */
    leat_record_deinit(&r);
    record(w, &r);
    measured(w, &r, LEAT_TIMER_FROM_US, 2, 1, 1);
    leat_record_deinit(&r);
    world_deinit(w);
}

/* What a source's connector takes for itself: the file connector's is measured by waking it, a server's cannot be. */
static void waking_is_measured(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_record r;
    int64_t few = 0, many = 0, none = -1;
    shop(w);
    record(w, &r);
    const struct leat_project *project = leat_engine_project(w->engine);
    const struct leat_recorded_source *recorded = leat_record_find(&r, "events");
    struct leat_source source = project->sources[0];
    assert_string_equal(source.name, "events");
    assert_true(leat_waking_measurable(&source));
    struct leat_env env = w->env;
    env.clock = leat_clock_real();
    char *dir = scratch_dir(w->dir, "waking");
    OK(leat_waking_measure(&env, &source, recorded, dir, 100, 100, &few, oops));
    OK(leat_waking_measure(&env, &source, recorded, dir, 1000000, 1000000, &many, oops));
    assert_true(few > 0);
    assert_true(many > 100 * few);
    OK(leat_waking_measure(&env, &source, recorded, dir, 0, 0, &none, oops));
    assert_int_equal(none, 0);
    source.connector = (char *)"kafka";
    assert_false(leat_waking_measurable(&source));
    OK(leat_waking_measure(&env, &source, recorded, dir, 100, 100, &none, oops));
    assert_int_equal(none, 0);
    free(dir);
    leat_record_deinit(&r);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_as_it_went),
        cmocka_unit_test(runs_are_done_when_they_are_due),
        cmocka_unit_test(what_is_overtaken_is_left_out),
        cmocka_unit_test(each_way_of_running_is_measured),
        cmocka_unit_test(waking_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
