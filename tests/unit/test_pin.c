/* Pins: a version that stays readable whatever becomes of the table, with what made it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine_world.h"
#include "lake/delta.h"

static const char TOTALS[] = "CREATE VIEW doubled AS SELECT k, 2 * v AS v FROM events;\n"
                             "CREATE MATERIALIZED TABLE totals FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v FROM doubled GROUP BY k;\n";
#define CONTENT(table) "SELECT string_agg(k || ':' || v, ' ' ORDER BY k) FROM " table

static void event(struct world *w, const char *id, int k, int v) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":%d,\"v\":%d,\"ts\":\"2026-01-01 00:00:10\"}\n", id, k, v);
    put(w, "in/events.ndjson", line, "a");
    free(line);
    run(w);
}

static json_t *pin(struct world *w, const char *name, int64_t version) {
    struct leat_pin_options options = {.version = version, .name = name, .seed = "7"};
    struct leat_buffer text = {0};
    OK(leat_engine_pin(w->engine, &options, &text, oops));
    json_t *manifest = json_loads(text.data, 0, NULL);
    assert_non_null(manifest);
    leat_buffer_deinit(&text);
    return manifest;
}

static void expect_refused(struct world *w, const char *name, int64_t version, enum leat_status expected) {
    struct leat_pin_options options = {.version = version, .name = name};
    struct leat_buffer text = {0};
    struct leat_error err;
    assert_int_equal(leat_engine_pin(w->engine, &options, &text, &err), expected);
    leat_buffer_deinit(&text);
}

/* Takes every file from the table that its newest version does not name. */
static void vacuum_all(struct world *w) {
    struct leat_duck_options use = {.use = LEAT_DUCK_BATCH, .threads = 1};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_delta *delta;
    struct leat_schema schema = {0};
    size_t removed = 0;
    char *dir = leat_asprintf("%s/lake/totals", w->project), *scratch = scratch_dir(w->dir, "scratch");
    leat_schema_add(&schema, "k", (struct leat_type){.kind = LEAT_INTEGER}, false);
    leat_schema_add(&schema, "v", (struct leat_type){.kind = LEAT_HUGEINT}, false);
    struct leat_delta_options options = {.name = "totals", .schema = &schema};
    leat_engine_close(w->engine);
    w->engine = NULL;
    w->now_us += 1000000;
    OK(leat_duck_open(&use, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_delta_open(&w->env, conn, dir, scratch, &options, &delta, oops));
    OK(leat_delta_vacuum(delta, 0, &removed, oops));
    assert_true(removed > 0);
    leat_delta_close(delta);
    leat_conn_close(conn);
    leat_duck_close(duck);
    leat_schema_deinit(&schema);
    free(dir);
    free(scratch);
    reopen(w);
}

static void a_pin_outlives_its_table_s_files(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, TOTALS);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    event(w, "a", 1, 10);
    json_t *first = pin(w, "first", -1);
    event(w, "b", 1, 20);
    event(w, "c", 2, 5);
    expect_text(w, CONTENT("totals"), "1:60 2:10");
    expect_text(w, CONTENT("first"), "1:20");
    int64_t version = json_integer_value(json_object_get(first, "version"));
    json_decref(pin(w, "again", version)); /* an older version by its number */
    expect_text(w, CONTENT("again"), "1:20");
    vacuum_all(w);
    expect_text(w, CONTENT("first"), "1:20");
    expect_text(w, CONTENT("totals"), "1:60 2:10");
    expect_refused(w, "third", version, LEAT_NOT_FOUND); /* its files are gone now */
    OK(leat_engine_unpin(w->engine, "again", oops));
    expect_text(w, CONTENT("first"), "1:20"); /* the files have another name yet */
    json_decref(first);
    world_deinit(w);
}

static void the_manifest_says_what_made_it(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, TOTALS);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    event(w, "a", 1, 10);
    json_t *manifest = pin(w, "first", -1), *inputs = json_object_get(manifest, "inputs");
    assert_string_equal(json_string_value(json_object_get(manifest, "seed")), "7");
    assert_non_null(strstr(json_string_value(json_object_get(manifest, "sql")), "FROM doubled"));
    assert_non_null(strstr(json_string_value(json_object_get(json_object_get(manifest, "views"), "doubled")), "2 * v"));
    json_t *offsets = json_object_get(json_object_get(inputs, "offsets"), "events");
    assert_int_equal(json_integer_value(json_array_get(json_array_get(offsets, 0), 1)), 1);
    int64_t version = json_integer_value(json_object_get(manifest, "version"));
    json_decref(manifest);
    /* A view below it changes: what wrote the version is no longer known, and not claimed. */
    put(w, "project.sql", shop_sources, "w");
    put(w, "project.sql", "CREATE VIEW doubled AS SELECT k, 3 * v AS v FROM events;\n", "a");
    put(w, "project.sql", strchr(TOTALS, '\n') + 1, "a");
    reopen(w);
    manifest = pin(w, "second", version);
    assert_true(json_is_null(json_object_get(manifest, "sql")));
    json_decref(manifest);
    world_deinit(w);
}

static void names_are_checked(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, shop_sources, TOTALS);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n", "w");
    event(w, "a", 1, 10);
    static const char *const bad[] = {"", "../x", "a/b", "1a", "a b", "totals", "doubled", "events", "totals__late", "a.b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(w, bad[i], -1, LEAT_INVALID);
    json_decref(pin(w, "good", -1));
    expect_refused(w, "good", -1, LEAT_EXISTS);
    expect_refused(w, "other", 99, LEAT_NOT_FOUND);
    struct leat_error err;
    assert_int_equal(leat_engine_unpin(w->engine, "../../project", &err), LEAT_INVALID);
    assert_int_equal(leat_engine_unpin(w->engine, "other", &err), LEAT_NOT_FOUND);
    /* What an interrupted attempt left is no pin, and is in nobody's way. */
    char *manifest = leat_asprintf("%s/lake/pins/good/_pin.json", w->project);
    assert_int_equal(unlink(manifest), 0);
    free(manifest);
    assert_int_equal(leat_engine_unpin(w->engine, "good", &err), LEAT_NOT_FOUND);
    json_decref(pin(w, "good", -1));
    expect_text(w, CONTENT("good"), "1:20");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pin_outlives_its_table_s_files),
        cmocka_unit_test(the_manifest_says_what_made_it),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
