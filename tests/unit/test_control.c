/* What other processes ask of the one that runs: the status is of now, and who asks waits no longer than it said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/change/control.h"
#include "engine/internal.h"
#include "engine_world.h"

static const char SOURCES[] = "CREATE SOURCE e (id INTEGER, ts TIMESTAMP) WITH (connector = 'file', path = 'in/*.csv', format = 'csv', header = false);";
static const char TABLES[] = "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM e;";

static char *work_of(const struct world *w) {
    return leat_asprintf("%s/.leat", w->project);
}

static json_int_t records_in(const json_t *status) {
    return json_integer_value(json_object_get(json_array_get(json_object_get(status, "sources"), 0), "records"));
}

/* The published file may be seconds old. */
static void the_status_is_of_now(void **state) {
    (void)state;
    struct world w;
    char id[37], *work;
    struct leat_buffer reply = {0}, published = {0};
    world_init(&w, SOURCES, TABLES);
    work = work_of(&w);
    OK(leat_control_listen(w.engine, oops));
    OK(leat_engine_publish_status(w.engine, oops));
    put(&w, "in/a.csv", "1,2026-05-01 00:00:00\n2,2026-05-01 00:00:01\n", "w");
    OK(leat_engine_run_once(w.engine, false, false, oops));
    OK(leat_engine_publish_status(w.engine, oops)); /* not due yet */
    char *path = leat_asprintf("%s/status.json", work);
    OK(leat_io_read_all(w.env.io, path, 1 << 20, &published, oops));
    OK(leat_control_request(&w.env, work, "{\"do\":\"status\"}", id, oops));
    OK(leat_control_serve(w.engine, oops));
    OK(leat_control_reply(&w.env, work, id, &reply, oops));
    json_t *old = json_loadb(published.data, published.length, 0, NULL), *now = json_loadb(reply.data, reply.length, 0, NULL);
    assert_int_equal(records_in(old), 0);
    assert_int_equal(json_integer_value(json_object_get(now, "status")), LEAT_OK);
    assert_int_equal(records_in(json_object_get(now, "answer")), 2);
    json_decref(old);
    json_decref(now);
    leat_buffer_deinit(&reply);
    leat_buffer_deinit(&published);
    free(path);
    free(work);
    world_deinit(&w);
}

/* By a process that is busy: nothing is left behind that it would answer to nobody. */
static void asks_no_longer_than_it_said(void **state) {
    (void)state;
    struct world w;
    struct leat_error err;
    struct leat_buffer reply = {0};
    char **names = NULL;
    size_t count;
    world_init(&w, SOURCES, TABLES);
    char *work = work_of(&w), *control = leat_asprintf("%s/control", work);
    assert_int_equal(leat_control_ask(&w.env, work, "{\"do\":\"status\"}", 1000000, &reply, &err), LEAT_NOT_FOUND);
    OK(leat_control_listen(w.engine, oops));
    assert_int_equal(leat_control_ask(&w.env, work, "{\"do\":\"status\"}", 1000000, &reply, &err), LEAT_BUSY);
    OK(leat_io_list_sorted(w.env.io, control, &names, &count, oops));
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "wake");
    leat_names_free(names, count);
    free(control);
    free(work);
    world_deinit(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_is_of_now),
        cmocka_unit_test(asks_no_longer_than_it_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
