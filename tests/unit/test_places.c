/* DISTINCT ON by place: a winner that is challenged is read again, wherever its record is by then. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"
#include "plan/plan.h"

static const char PROJECT[] =
    "SET segment_size = '16 KiB';\n"
    "CREATE SOURCE clicks (id INTEGER NOT NULL, v BIGINT, note VARCHAR) WITH (connector = 'file', path = 'in/clicks*.ndjson', format = 'json');\n";

static void put_clicks(struct world *w, const char *file, int first, int count, int v) {
    struct leat_buffer text = {0};
    for (int id = first; id < first + count; id++)
        leat_putf(&text, "{\"id\":%d,\"v\":%d,\"note\":\"click %d says %d, and that at some length so that segments fill up: %d\",\"x\":1}\n", id, v, id,
                  v, id * 7919);
    put(w, file, text.data, "a");
    leat_buffer_deinit(&text);
}

/* Ingests and steps, without bronze, commit or checkpoint. */
static void step(struct world *w) {
    uint64_t got;
    bool did;
    OK(leat_engine_ingest(w->engine, &got, oops));
    OK(leat_engine_step(w->engine, false, &did, oops));
    assert_true(got && did);
    expect_equal(w);
}

static size_t segment_count(const struct world *w) {
    char **names, *dir = leat_asprintf("%s/.leat/log/clicks", w->project);
    size_t count;
    OK(leat_io_list_sorted(w->env.io, dir, &names, &count, oops));
    leat_names_free(names, count);
    free(dir);
    return count;
}

static void winners_are_read_again(void **state) {
    (void)state;
    struct world world, *w = &world;
    bool by_place = false;
    world_init(w, PROJECT,
               "CREATE MATERIALIZED TABLE firsts FRESHNESS = INTERVAL '1' SECOND AS\n"
               "SELECT DISTINCT ON (id) id, v * 2 + 1 AS v, upper(note) AS note FROM clicks WHERE v < 1000;\n");
    const struct leat_plan *plan = leat_engine_plan(w->engine, 0);
    for (size_t i = 0; i < plan->op_count; i++) by_place |= plan->ops[i].by_place;
    assert_true(by_place);
    put_clicks(w, "in/clicks1.ndjson", 0, 400, 100);
    step(w);
    put_clicks(w, "in/clicks1.ndjson", 10, 1, 100); /* delivered again */
    put_clicks(w, "in/clicks1.ndjson", 11, 3, 90);  /* from the chunk in memory */
    put_clicks(w, "in/clicks1.ndjson", 14, 3, 110); /* the winner stays */
    put_clicks(w, "in/clicks1.ndjson", 17, 3, 2000); /* filtered */
    step(w);
    reopen(w); /* all steps again, then on */
    put_clicks(w, "in/clicks1.ndjson", 11, 9, 80);
    step(w);
    OK(leat_engine_flush(w->engine, false, oops)); /* bronze has them, the log too */
    put_clicks(w, "in/clicks2.ndjson", 350, 100, 70); /* another partition; half of the keys are new */
    step(w);
    assert_true(segment_count(w) > 1);
    OK(leat_engine_drain_and_checkpoint(w->engine, oops));
    assert_int_equal(segment_count(w), 1); /* from now on only bronze has the beginning */
    reopen(w);
    put_clicks(w, "in/clicks1.ndjson", 0, 30, 60);
    put_clicks(w, "in/clicks2.ndjson", 100, 5, 60);
    put_clicks(w, "in/clicks1.ndjson", 400, 5, 60); /* winner in partition 2, challenger in 1 */
    step(w);
    put_clicks(w, "in/clicks2.ndjson", 0, 40, 50);
    step(w);
    reopen(w); /* the last steps are in the journal alone */
    run(w);
    put_clicks(w, "in/clicks1.ndjson", 0, 450, 40);
    run(w);
    world_deinit(w);
}

/* Bronze's dictionary keeps one of 0.0 and -0.0 for both: the record is the same for all that. */
static void zeros_have_no_sign(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_buffer text = {0};
    world_init(w,
               "SET segment_size = '16 KiB';\n"
               "CREATE SOURCE readings (id INTEGER NOT NULL, v DOUBLE, note VARCHAR) WITH (connector = 'file', path = 'in/readings.ndjson', format = 'json');\n",
               "CREATE MATERIALIZED TABLE firsts FRESHNESS = INTERVAL '1' SECOND AS SELECT DISTINCT ON (id) * FROM readings;\n");
    for (int id = 0; id < 600; id++)
        leat_putf(&text, "{\"id\":%d,\"v\":%s,\"note\":\"reading %d with some words to fill segments of the log\"}\n", id, id % 2 ? "0.0" : "-0.0", id);
    put(w, "in/readings.ndjson", text.data, "a");
    step(w);
    OK(leat_engine_flush(w->engine, false, oops));
    reopen(w); /* the step again, from bronze */
    leat_buffer_reset(&text);
    for (int id = 0; id < 600; id++) leat_putf(&text, "{\"id\":%d,\"v\":-1,\"note\":\"again\"}\n", id);
    put(w, "in/readings.ndjson", text.data, "a");
    step(w);
    leat_buffer_deinit(&text);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(winners_are_read_again),
        cmocka_unit_test(zeros_have_no_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
