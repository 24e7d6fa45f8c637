/* Runs beside the steps: tables of a freshness go on while the query of a scheduled table is computed; it sees the
 * frontier at which it began; it is stopped and begun again; rows that fail are looked for; what runs after it sees the
 * same frontier. */
#include <pthread.h>

#include <jansson.h>

#include "engine_world.h"

#include "base/io.h"
#include "engine/internal.h"

/* The disk, but files that other threads than the test's adopt wait until they may. */
struct held_io {
    struct leat_io io;
    struct leat_io_ops ops;
    pthread_t engine;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
    int waiting, passed;
};
static struct held_io gate;

static enum leat_status adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    (void)io;
    if (!pthread_equal(pthread_self(), gate.engine)) {
        pthread_mutex_lock(&gate.lock);
        gate.waiting++;
        pthread_cond_broadcast(&gate.changed);
        while (gate.closed)
            pthread_cond_wait(&gate.changed, &gate.lock);
        gate.waiting--;
        gate.passed++;
        pthread_mutex_unlock(&gate.lock);
    }
    return leat_io_real()->ops->adopt(leat_io_real(), scratch, to, err);
}

static void set_gate(bool closed) {
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void wait_at_gate(void) {
    pthread_mutex_lock(&gate.lock);
    while (!gate.waiting)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static const char tables[] =
    "CREATE MATERIALIZED TABLE now_t (PRIMARY KEY (k)) FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v)::BIGINT AS "
    "v FROM events GROUP BY k;\n"
    "CREATE MATERIALIZED TABLE silver (PRIMARY KEY (id)) SCHEDULE CRON '0 2 * * *' AS SELECT id, k, v FROM events;\n"
    "CREATE MATERIALIZED TABLE gold (PRIMARY KEY (k)) SCHEDULE CRON '0 2 * * *' AS\n"
    "SELECT s.k, count(*) AS n, max(e.n) AS records FROM silver s, (SELECT count(*) AS n FROM events) e GROUP BY "
    "s.k;\n";

static void world(struct world *w, const char *more) {
    pthread_mutex_init(&gate.lock, NULL);
    pthread_cond_init(&gate.changed, NULL);
    gate.engine = pthread_self();
    gate.ops = *leat_io_real()->ops;
    gate.ops.adopt = adopt;
    gate.io = *leat_io_real();
    gate.io.ops = &gate.ops;
    gate.closed = false;
    gate.waiting = gate.passed = 0;
    char *text = leat_asprintf("%s%s", tables, more);
    shop_init(w, text);
    free(text);
    w->env.io = &gate.io;
    reopen(w);
}

static void turn(struct world *w) {
    uint64_t got;
    bool did;
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, true, &did, oops));
    OK(leat_engine_batch_beside(w->engine, oops));
    w->now_us += 2000000;
}

static void night(struct world *w) {
    w->now_us += INT64_C(26) * 3600 * 1000000;
}

/* Turns until nothing is under way. */
static void finish(struct world *w) {
    struct leat_clock *clock = leat_clock_real();
    do {
        turn(w);
        clock->sleep_until(clock, clock->monotonic_us(clock) + 1000);
    } while (leat_engine_runs_beside(w->engine));
}

static void steps_go_on(void **state) {
    (void)state;
    struct world w;
    world(&w, "");
    put(&w, "in/events.ndjson",
        "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n{\"id\":\"b\",\"k\":2,\"v\":1,\"ts\":\"2026-"
        "01-01T00:00:00\"}\n",
        "a");
    turn(&w);
    set_gate(true);
    night(&w);
    turn(&w);
    assert_true(leat_engine_runs_beside(w.engine));
    wait_at_gate();
    for (int i = 0; i < 5; i++) {
        char line[100];
        snprintf(line, sizeof line, "{\"id\":\"c%d\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:0%d\"}\n", i, i);
        put(&w, "in/events.ndjson", line, "a");
        turn(&w);
        OK(leat_engine_flush(w.engine, i == 3, oops)); /* commits, and a checkpoint, in its midst */
        char *expected = leat_asprintf("%d", 20 + 10 * i);
        expect_text(&w, "SELECT v FROM now_t WHERE k = 1", expected);
        free(expected);
    }
    assert_true(leat_engine_runs_beside(w.engine));
    expect_text(&w, "SELECT count(*) FROM silver", "0");
    set_gate(false);
    finish(&w);
    assert_int_equal(gate.passed, 2);
    expect_text(&w, "SELECT count(*) FROM silver", "2"); /* as of its begin */
    expect_text(&w, "SELECT string_agg(k || ' ' || n || ' ' || records, ',' ORDER BY k) FROM gold",
                "1 1 2,2 1 2"); /* of the same pass */
    expect_equal(&w);
    night(&w);
    finish(&w);
    expect_text(&w, "SELECT count(*) FROM silver", "7");
    expect_text(&w, "SELECT string_agg(k || ' ' || n || ' ' || records, ',' ORDER BY k) FROM gold", "1 6 7,2 1 7");
    expect_equal(&w);
    world_deinit(&w);
}

/* The process goes while a run is under way, in good order or not: the next one begins it again. */
static void a_run_cut_short_begins_again(void **state) {
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        struct world w;
        world(&w, "");
        put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
        turn(&w);
        set_gate(true);
        night(&w);
        turn(&w);
        wait_at_gate();
        set_gate(false);
        atomic_int stop = 1;
        if (in_order) OK(leat_engine_run(w.engine, &stop, oops));
        reopen(&w);
        expect_text(&w, "SELECT count(*) FROM silver", "0");
        put(&w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
        finish(&w);
        expect_text(&w, "SELECT count(*) FROM silver", "2");
        expect_equal(&w);
        world_deinit(&w);
    }
}

/* Rows that make the query fail are found beside, too. */
static void failing_rows_are_found_beside(void **state) {
    (void)state;
    struct world w;
    world(&w, "CREATE MATERIALIZED TABLE inverse (PRIMARY KEY (id)) SCHEDULE CRON '0 2 * * *' AS SELECT id, "
              "(id::INTEGER) AS number FROM events;\n");
    put(&w, "in/events.ndjson",
        "{\"id\":\"1\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n{\"id\":\"x\",\"k\":2,\"v\":1,\"ts\":\"2026-"
        "01-01T00:00:00\"}\n",
        "a");
    turn(&w);
    night(&w);
    finish(&w);
    expect_text(&w, "SELECT string_agg(number::VARCHAR, ',') FROM inverse", "1");
    expect_text(&w, "SELECT count(*) || ' ' || any_value(_offset) FROM inverse__dead", "1 1");
    expect_equal(&w);
    world_deinit(&w);
}

/* What falls due while another run is under way sees what has come until then, not what that one sees. */
static void what_is_due_later_sees_what_came_until_then(void **state) {
    (void)state;
    struct world w;
    world(&w, "CREATE MATERIALIZED TABLE later (PRIMARY KEY (id)) SCHEDULE CRON '0 5 * * *' AS SELECT id FROM events;\n");
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    turn(&w);
    w.now_us += (INT64_C(26) * 3600 - w.now_us / 1000000 % 86400) * 1000000; /* 02:00 */
    set_gate(true);
    turn(&w);
    wait_at_gate();
    put(&w, "in/events.ndjson", "{\"id\":\"b\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    w.now_us += INT64_C(3) * 3600 * 1000000; /* 05:00 */
    turn(&w);
    set_gate(false);
    finish(&w);
    finish(&w);
    expect_text(&w, "SELECT (SELECT count(*) FROM silver) || ' ' || (SELECT count(*) FROM later)", "1 2");
    expect_equal(&w);
    world_deinit(&w);
}

static json_t *document(const struct world *w, const char *name) {
    char *path = leat_asprintf("%s/%s", w->project, name);
    json_t *json = json_load_file(path, 0, NULL);
    free(path);
    return json;
}

static void expect_in_manifest(struct world *w) {
    json_t *manifest = document(w, "lake/manifest.json"), *versions = json_object_get(manifest, "versions");
    for (size_t t = 0; t < w->engine->project->table_count; t++) {
        const struct leat_gtable *table = &w->engine->tables[t];
        assert_int_equal(json_integer_value(json_object_get(versions, table->def->name)), leat_delta_current(table->delta)->version);
    }
    json_decref(manifest);
}

/* Promise 4: the versions that belong together are those after all that ran together. */
static void the_manifest_names_what_runs_made(void **state) {
    (void)state;
    struct world w;
    world(&w, "");
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    turn(&w);
    OK(leat_engine_flush(w.engine, false, oops));
    night(&w);
    finish(&w);
    expect_in_manifest(&w);
    reopen(&w);
    night(&w);
    OK(leat_engine_run_once(w.engine, false, false, oops));
    expect_in_manifest(&w);
    world_deinit(&w);
}

static bool says_it_runs(struct world *w, const char *name) {
    OK(leat_engine_publish_status(w->engine, oops));
    w->now_us += 6000000;
    json_t *status = document(w, ".leat/status.json"), *table;
    size_t i;
    bool found = false, runs = false;
    json_array_foreach(json_object_get(status, "tables"), i, table) {
        if (strcmp(json_string_value(json_object_get(table, "name")), name) != 0) continue;
        found = true;
        runs = json_object_get(table, "running_since_us");
    }
    assert_true(found);
    json_decref(status);
    return runs;
}

/* What other processes read says so when a run begins and ends, though nothing is stepped over. */
static void the_status_tells_runs_without_steps(void **state) {
    (void)state;
    struct world w;
    world(&w, "");
    assert_false(says_it_runs(&w, "silver"));
    put(&w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    turn(&w);
    assert_false(says_it_runs(&w, "silver"));
    set_gate(true);
    night(&w);
    turn(&w);
    wait_at_gate();
    assert_true(says_it_runs(&w, "silver"));
    set_gate(false);
    finish(&w);
    assert_false(says_it_runs(&w, "silver"));
    world_deinit(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_go_on),
        cmocka_unit_test(a_run_cut_short_begins_again),
        cmocka_unit_test(failing_rows_are_found_beside),
        cmocka_unit_test(what_is_due_later_sees_what_came_until_then),
        cmocka_unit_test(the_manifest_names_what_runs_made),
        cmocka_unit_test(the_status_tells_runs_without_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
