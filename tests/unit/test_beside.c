/* Runs beside the steps: tables of a freshness go on while the query of a scheduled table is computed; it sees the
 * frontier at which it began; it is stopped and begun again; rows that fail are looked for; what runs after it sees the
 * same frontier. */
#include <pthread.h>

#include <jansson.h>

#include "engine_world.h"

#include "base/io.h"
#include "engine/change/control.h"
#include "engine/internal.h"
#include "engine/runs/runs.h"
#include "engine/tell/effects.h"

/* The disk, but files that other threads than the test's adopt wait until they may. */
struct held_io {
    struct leat_io io;
    struct leat_io_ops ops;
    pthread_t engine;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed, untold; /* files, effects */
    int waiting, passed;
};
static struct held_io gate;

static void pass_gate(const bool *closed) {
    if (pthread_equal(pthread_self(), gate.engine)) return;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (*closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.waiting--;
    gate.passed++;
    pthread_mutex_unlock(&gate.lock);
}

static enum leat_status adopt(struct leat_io *io, const char *scratch, const char *to, struct leat_error *err) {
    (void)io;
    pass_gate(&gate.closed);
    return leat_io_real()->ops->adopt(leat_io_real(), scratch, to, err);
}

static void set_gate(bool closed) {
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    if (!closed) gate.untold = false;
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
    gate.closed = gate.untold = false;
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

/* A night's run over one record, held at the gate. */
static void run_with_one_record(struct world *w) {
    put(w, "in/events.ndjson", "{\"id\":\"a\",\"k\":1,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    turn(w);
    set_gate(true);
    night(w);
    turn(w);
    wait_at_gate();
}

/* The process goes while a run is under way, in good order or not: the next one begins it again. */
static void a_run_cut_short_begins_again(void **state) {
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        struct world w;
        world(&w, "");
        run_with_one_record(&w);
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

#define WIDE \
    "CREATE MATERIALIZED TABLE wide (PRIMARY KEY (id)) SCHEDULE CRON '0 2 * * *' AS SELECT id, v, repeat('x', 4000) AS text FROM events;\n" \
    "CREATE SINK wide_out FROM wide WITH (connector = 'file', path = 'wide.out', on_retract = 'send');\n"

/* Rows of which the outbox has several blocks before the batch is complete. */
static void put_wide(struct world *w, const char *prefix, int v) {
    struct leat_buffer lines = {0};
    for (int i = 0; i < 6000; i++) leat_putf(&lines, "{\"id\":\"%s%d\",\"k\":1,\"v\":%d,\"ts\":\"2026-01-01T00:00:00\"}\n", prefix, i, v);
    put(w, "in/events.ndjson", lines.data, "a");
    leat_buffer_deinit(&lines);
}

/* What was told adds up to the table, each effect once and in order. */
static void expect_told(struct world *w, const char *effects) {
    leat_engine_deliver(w->engine);
    char *from = leat_asprintf("read_json('%s/wide.out', format = 'newline_delimited', columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'JSON'})", w->project);
    char *sql = leat_asprintf("WITH f AS (SELECT \"row\"->>'id' AS id, sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END)::INTEGER AS n FROM %s GROUP BY 1 HAVING n <> 0), "
                              "t AS (SELECT id, 1 AS n FROM wide) SELECT count(*) FROM ((FROM f EXCEPT FROM t) UNION ALL (FROM t EXCEPT FROM f))", from);
    expect_text(w, sql, "0");
    free(sql);
    sql = leat_asprintf("SELECT count(*) || ' ' || count(*) FILTER (WHERE id <= before) FROM (SELECT id, lag(id) OVER () AS before FROM %s)", from);
    expect_text(w, sql, effects);
    free(sql);
    free(from);
}

static struct leat_sink_ops held_ops;
static const struct leat_sink_ops *real_ops;
static atomic_int encoded;

static enum leat_status encode(struct leat_sink *sink, const struct leat_effect_row *row, struct leat_buffer *out, struct leat_error *err) {
    if (++encoded == 3000) pass_gate(&gate.untold);
    return real_ops->encode(sink, row, out, err);
}

static void until_half_is_told(struct world *w) {
    struct leat_clock *clock = leat_clock_real();
    real_ops = w->engine->effects[0].ops;
    held_ops = *real_ops;
    held_ops.encode = encode;
    w->engine->effects[0].ops = &held_ops;
    encoded = 0;
    gate.untold = true;
    night(w);
    do {
        turn(w);
        clock->sleep_until(clock, clock->monotonic_us(clock) + 1000);
    } while (encoded < 3000);
    wait_at_gate();
    assert_null(leat_beside_run(w->engine)); /* the run itself has ended */
}

/* The disk as a power failure would find it now, with an engine of its own. */
static void open_image(const struct world *w, struct world *image) {
    *image = (struct world){.now_us = w->now_us + 1000000};
    leat_env_real(&image->env);
    leat_clock_virtual_init(&image->clock, &image->now_us);
    image->env.clock = &image->clock;
    image->env.log = quiet;
    image->dir = scratch_make();
    image->project = leat_asprintf("%s/project", image->dir);
    char *copy = leat_asprintf("cp -a %s %s", w->project, image->project);
    assert_int_equal(system(copy), 0);
    free(copy);
    reopen(image);
}

/* What a run changed is told beside the steps, too; cut short by a crash it is told by the next start, once. */
static void sinks_are_told_beside(void **state) {
    (void)state;
    struct world w, image;
    world(&w, WIDE);
    put_wide(&w, "a", 1);
    night(&w);
    finish(&w);
    expect_told(&w, "6000 0");
    put_wide(&w, "b", 2);
    until_half_is_told(&w);
    assert_true(leat_engine_runs_beside(w.engine));
    char *whole, *part;
    OK(leat_conn_text(w.engine->batch_conn, "SELECT current_setting('memory_limit')", &part, oops)); /* of both together there is one */
    put(&w, "in/events.ndjson", "{\"id\":\"c\",\"k\":7,\"v\":10,\"ts\":\"2026-01-01T00:00:00\"}\n", "a");
    uint64_t steps = w.engine->step;
    turn(&w);
    assert_true(w.engine->step > steps);
    open_image(&w, &image);
    expect_told(&image, "12000 0");
    world_deinit(&image);
    set_gate(false);
    finish(&w);
    expect_told(&w, "12000 0");
    night(&w);
    finish(&w);
    expect_told(&w, "12001 0");
    OK(leat_conn_text(w.engine->batch_conn, "SELECT current_setting('memory_limit')", &whole, oops));
    assert_string_equal(part, "953.6 MiB");
    assert_string_equal(whole, "3.7 GiB");
    free(whole);
    free(part);
    expect_equal(&w);
    world_deinit(&w);
}

static void *open_gate_soon(void *context) {
    struct leat_clock *clock = leat_clock_real();
    (void)context;
    clock->sleep_until(clock, clock->monotonic_us(clock) + 50000);
    set_gate(false);
    return NULL;
}

/* Stopped for a change of the project, it is told again from the beginning, also after a restart. */
static void telling_that_was_stopped_begins_again(void **state) {
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        struct world w;
        pthread_t other;
        world(&w, WIDE);
        put_wide(&w, "a", 1);
        night(&w);
        finish(&w);
        put_wide(&w, "b", 2);
        until_half_is_told(&w);
        assert_int_equal(pthread_create(&other, NULL, open_gate_soon, NULL), 0);
        leat_beside_cancel(w.engine);
        pthread_join(other, NULL);
        assert_false(leat_engine_runs_beside(w.engine));
        if (restart) reopen(&w);
        finish(&w);
        expect_told(&w, "12000 0");
        reopen(&w);
        put_wide(&w, "c", 3);
        night(&w);
        finish(&w);
        expect_told(&w, "18000 0");
        world_deinit(&w);
    }
}

static enum leat_status request(struct world *w, const char *text) {
    struct leat_buffer reply = {0};
    char id[37], *work = leat_asprintf("%s/.leat", w->project);
    OK(leat_control_request(&w->env, work, text, id, oops));
    OK(leat_control_serve(w->engine, oops));
    OK(leat_control_reply(&w->env, work, id, &reply, oops));
    json_t *json = json_loads(reply.data, 0, NULL);
    enum leat_status status = (enum leat_status)json_integer_value(json_object_get(json, "status"));
    json_decref(json);
    leat_buffer_deinit(&reply);
    free(work);
    return status;
}

#define ALTER(what) "{\"do\": \"alter\", \"sql\": \"ALTER MATERIALIZED TABLE " what "\"}"

/* What changes nothing does not stop a run: refused, so already, or for after it; what changes the project does. */
static void only_a_change_stops_a_run(void **state) {
    (void)state;
    struct world w;
    pthread_t other;
    world(&w, "");
    OK(leat_control_listen(w.engine, oops));
    run_with_one_record(&w);
    assert_int_equal(pthread_create(&other, NULL, open_gate_soon, NULL), 0); /* what stops it waits for it */
    assert_int_not_equal(request(&w, ALTER("nowhere SUSPEND")), LEAT_OK);
    assert_int_not_equal(request(&w, ALTER("now_t SET FRESHNESS = 'soon'")), LEAT_OK);
    assert_int_not_equal(request(&w, "{\"do\": \"dance\"}"), LEAT_OK);
    assert_int_equal(request(&w, ALTER("silver REFRESH PARTITION (id = 'a')")), LEAT_BUSY);
    assert_int_equal(request(&w, "{\"do\": \"apply\"}"), LEAT_OK);
    assert_true(leat_engine_runs_beside(w.engine));
    pthread_join(other, NULL);
    assert_int_equal(request(&w, ALTER("now_t SET FRESHNESS = INTERVAL '2' SECOND")), LEAT_OK);
    assert_false(leat_engine_runs_beside(w.engine));
    finish(&w);
    expect_text(&w, "SELECT count(*) FROM silver", "1");
    expect_equal(&w);
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
        cmocka_unit_test(sinks_are_told_beside),
        cmocka_unit_test(telling_that_was_stopped_begins_again),
        cmocka_unit_test(only_a_change_stops_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
