/* A pass: what several scheduled tables read is computed once, and is what each of them would have read. */
#include <jansson.h>

#include "engine_world.h"

#include "engine/internal.h"
#include "engine/runs/runs.h"

#define NIGHTLY " SCHEDULE CRON '0 2 * * *' AS "
#define TABLE(name, query) "CREATE MATERIALIZED TABLE " name NIGHTLY query ";\n"

static const char views[] = "CREATE VIEW plain AS SELECT id, k, v FROM events WHERE v < 100;\n"
                            "CREATE VIEW single AS SELECT DISTINCT id, k, v, id::INTEGER AS number FROM plain;\n"
                            "CREATE VIEW sums AS SELECT k, count(*) AS n, sum(v)::BIGINT AS v FROM single GROUP BY k;\n";

static void events(struct world *w) {
    for (int i = 0; i < 20; i++) {
        char line[100];
        snprintf(line, sizeof line, "{\"id\":\"%d\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01T00:00:00\"}\n", i % 15, i % 3, i % 15);
        put(w, "in/events.ndjson", line, "a");
    }
}

static void night(struct world *w) {
    w->now_us += INT64_C(26) * 3600 * 1000000;
}

static void finish(struct world *w) {
    struct leat_clock *clock = leat_clock_real();
    uint64_t got;
    do {
        OK(leat_engine_ingest(w->engine, &got, oops));
        OK(leat_engine_batch_beside(w->engine, oops));
        w->now_us += 2000000;
        clock->sleep_until(clock, clock->monotonic_us(clock) + 1000);
    } while (leat_engine_runs_beside(w->engine));
}

/* The views that a pass of everything computes once, by name. */
static char *chosen(struct world *w) {
    struct leat_runs_pass *pass;
    struct leat_buffer names = {0};
    OK(leat_pass_begin(w->engine, true, &pass, oops));
    for (size_t v = 0; v < w->engine->project->view_count; v++)
        if (pass->once[v]) leat_putf(&names, "%s ", w->engine->project->views[v].name);
    leat_put(&names, "");
    leat_pass_end(pass);
    return names.data;
}

static void expect_chosen(const char *tables, const char *expected) {
    struct world w;
    char *text = leat_asprintf("%s%s", views, tables), *names;
    shop_init(&w, text);
    names = chosen(&w);
    assert_string_equal(names, expected);
    free(names);
    free(text);
    world_deinit(&w);
}

static void what_several_read_whole_is_computed_once(void **state) {
    (void)state;
    expect_chosen(TABLE("a", "SELECT id FROM single") TABLE("b", "SELECT k, max(v) AS v FROM single GROUP BY k"), "single ");
    expect_chosen(TABLE("a", "SELECT id FROM single") TABLE("b", "SELECT id FROM single WHERE k = 2"), "");
    expect_chosen(TABLE("a", "SELECT id FROM single") TABLE("b", "SELECT count(*) FILTER (WHERE k = 2) AS n FROM single"), "single ");
    expect_chosen(TABLE("a", "SELECT id FROM plain") TABLE("b", "SELECT k FROM plain"), ""); /* nothing to save */
    expect_chosen(TABLE("a", "SELECT id FROM single") "CREATE MATERIALIZED TABLE b FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM single;\n", "");
    /* sums is read twice and reads single once; with a reader of its own single is read twice. */
    expect_chosen(TABLE("a", "SELECT k FROM sums") TABLE("b", "SELECT n FROM sums"), "sums ");
    expect_chosen(TABLE("a", "SELECT k FROM sums") TABLE("b", "SELECT n FROM sums") TABLE("c", "SELECT id FROM single"), "single sums ");
}

static struct leat_gtable *table(struct world *w, const char *name) {
    struct leat_object_ref ref;
    assert_true(leat_project_find(w->engine->project, name, &ref));
    return &w->engine->tables[ref.index];
}

/* Rows taken from what the first table's run kept are missing from the second's: it reads them there. */
static void the_second_reads_what_the_first_made(void **state) {
    (void)state;
    struct world w;
    struct leat_runs_pass *pass;
    char *text = leat_asprintf("%s%s", views, TABLE("a", "SELECT id FROM single") TABLE("b", "SELECT id, k FROM single"));
    uint64_t got;
    shop_init(&w, text);
    events(&w);
    OK(leat_engine_ingest(w.engine, &got, oops));
    OK(leat_pass_begin(w.engine, true, &pass, oops));
    OK(leat_batch_run(w.engine, table(&w, "a"), pass, oops));
    char *rows;
    OK(leat_conn_text(pass->here.conn, "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%once%'", &rows, oops));
    OK(leat_conn_execf(pass->here.conn, oops, "DELETE FROM %s WHERE id = '3'", rows));
    free(rows);
    OK(leat_batch_run(w.engine, table(&w, "b"), pass, oops));
    leat_pass_end(pass);
    expect_text(&w, "SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM b)", "15 14");
    night(&w);
    OK(leat_engine_batch(w.engine, true, oops)); /* a pass of its own */
    expect_equal(&w);
    free(text);
    world_deinit(&w);
}

/* At once, beside, with new records, and with a table between views that runs in the same pass. */
static void every_way_is_equal(void **state) {
    (void)state;
    struct world w;
    char *text = leat_asprintf("%s%s%s%s", views,
                               TABLE("a", "SELECT * FROM sums") TABLE("b", "SELECT k, n FROM sums") TABLE("c", "SELECT id, number FROM single"),
                               "CREATE VIEW of_a AS SELECT DISTINCT n FROM a;\n",
                               TABLE("d", "SELECT n FROM of_a") TABLE("e", "SELECT count(*) AS n, sum(n)::BIGINT AS s FROM of_a"));
    shop_init(&w, text);
    events(&w);
    night(&w);
    OK(leat_engine_run_once(w.engine, true, false, oops));
    for (size_t t = 0; t < w.engine->project->table_count; t++)
        if (w.engine->tables[t].last_error) fail_msg("%s", w.engine->tables[t].last_error);
    expect_equal(&w);
    expect_text(&w, "SELECT (SELECT sum(n) FROM a) || ' ' || (SELECT n FROM e)", "15 1");
    put(&w, "in/events.ndjson", "{\"id\":\"77\",\"k\":1,\"v\":7,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    night(&w);
    finish(&w);
    expect_equal(&w);
    expect_text(&w, "SELECT (SELECT sum(n) FROM a) || ' ' || (SELECT n FROM e)", "16 2");
    reopen(&w);
    put(&w, "in/events.ndjson", "{\"id\":\"78\",\"k\":1,\"v\":7,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    night(&w);
    finish(&w);
    expect_equal(&w);
    expect_text(&w, "SELECT (SELECT sum(n) FROM a) || ' ' || (SELECT count(*) FROM c)", "17 17");
    free(text);
    world_deinit(&w);
}

/* A row whose number cannot be read is a dead letter of the table that reads numbers, and a row of the others. */
static void a_row_fails_for_those_who_read_it(void **state) {
    (void)state;
    for (int beside = 0; beside < 2; beside++) {
        struct world w;
        char *text = leat_asprintf("%s%s", views,
                                   TABLE("a", "SELECT k, count(*) AS n FROM (SELECT DISTINCT id, k FROM plain) GROUP BY k")
                                   TABLE("b", "SELECT id, k FROM single") TABLE("c", "SELECT id, number FROM single"));
        shop_init(&w, text);
        events(&w);
        put(&w, "in/events.ndjson", "{\"id\":\"x\",\"k\":9,\"v\":50,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
        night(&w);
        if (beside)
            finish(&w);
        else
            OK(leat_engine_run_once(w.engine, true, false, oops));
        assert_int_equal(leat_engine_failed_runs(w.engine), 0);
        expect_equal(&w);
        expect_text(&w, "SELECT (SELECT count(*) FROM a) || ' ' || (SELECT count(*) FROM c__dead) || ' ' || (SELECT count(*) FROM c WHERE id = 'x')", "4 1 0");
        free(text);
        world_deinit(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_several_read_whole_is_computed_once),
        cmocka_unit_test(the_second_reads_what_the_first_made),
        cmocka_unit_test(every_way_is_equal),
        cmocka_unit_test(a_row_fails_for_those_who_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
