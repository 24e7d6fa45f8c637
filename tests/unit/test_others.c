/* Other programs write into leat's tables: what they only arrange stays, rows that they change are taken back, and leat goes on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#include "engine/internal.h"

static const char TABLES[] = "CREATE MATERIALIZED TABLE sums FRESHNESS = INTERVAL '1' SECOND AS SELECT k, sum(v) AS v FROM events GROUP BY k;\n"
                             "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT id, v FROM events;\n";

static void event(struct world *w, const char *id, int k, int v) {
    char *line = leat_asprintf("{\"id\":\"%s\",\"k\":%d,\"v\":%d}\n", id, k, v);
    put(w, "in/events.ndjson", line, "a");
    free(line);
}

static void go(struct world *w) {
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
}

static void begin(struct world *w) {
    world_init(w, "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT) WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n", TABLES);
    event(w, "a", 1, 1);
    event(w, "b", 2, 2);
    go(w);
}

static const struct leat_delta_snapshot *now_of(struct world *w, int t) {
    return leat_delta_current(w->engine->tables[t].delta);
}

/* The next version of a table, as another program writes it. */
static void commit(struct world *w, int t, const char *operation, const char *actions) {
    char *name = leat_asprintf("lake/%s/_delta_log/%020lld.json", w->engine->tables[t].def->name, (long long)now_of(w, t)->version + 1);
    char *text = leat_asprintf("{\"commitInfo\":{\"timestamp\":1,\"operation\":\"%s\",\"engineInfo\":\"Apache-Spark/4.0.0 Delta-Lake/4.0.0\"}}\n%s", operation, actions);
    put(w, name, text, "w");
    free(text);
    free(name);
}

static void delete_all(struct world *w, int t) {
    struct leat_buffer gone = {0};
    for (size_t i = 0; i < now_of(w, t)->file_count; i++)
        leat_putf(&gone, "{\"remove\":{\"path\":\"%s\",\"deletionTimestamp\":1,\"dataChange\":true}}\n", now_of(w, t)->files[i].path);
    commit(w, t, "DELETE", gone.data);
    leat_buffer_deinit(&gone);
}

/* The same rows in a file of another name. */
static void optimize(struct world *w, int t) {
    const struct leat_delta_file *file = &now_of(w, t)->files[0];
    char *command = leat_asprintf("cp %s/lake/%s/%s %s/lake/%s/part-0.parquet", w->project, w->engine->tables[t].def->name, file->path, w->project, w->engine->tables[t].def->name);
    assert_int_equal(system(command), 0);
    char *actions = leat_asprintf("{\"remove\":{\"path\":\"%s\",\"deletionTimestamp\":1,\"dataChange\":false}}\n"
                                  "{\"add\":{\"path\":\"part-0.parquet\",\"partitionValues\":{},\"size\":%llu,\"modificationTime\":1,\"dataChange\":false}}\n",
                                  file->path, (unsigned long long)file->size_bytes);
    commit(w, t, "OPTIMIZE", actions);
    free(actions);
    free(command);
}

#define SUMS "SELECT string_agg(k || ' ' || v, ', ' ORDER BY k) FROM sums"
#define NIGHTLY "SELECT string_agg(id || ' ' || v, ', ' ORDER BY id) FROM nightly"

static void rows_of_others_are_taken_back(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    for (int i = 0; i < 4; i++) { /* beside a process that runs, and while none does */
        delete_all(w, 0);
        delete_all(w, 1);
        if (i % 2) reopen(w);
        if (i < 2) event(w, "c", i + 1, 10); /* a row that is there no more changes, or none does */
        go(w);
        expect_text(w, SUMS, i == 0 ? "1 11, 2 2" : "1 11, 2 12");
        expect_text(w, NIGHTLY, i == 0 ? "a 1, b 2, c 10" : "a 1, b 2, c 10, c 10");
    }
    delete_all(w, 0);
    OK(leat_engine_rebuild(w->engine, "sums", "to see", NULL, oops));
    expect_equal(w);
    expect_text(w, SUMS, "1 11, 2 12");
    world_deinit(w);
}

static void what_others_arrange_stays(void **state) {
    (void)state;
    struct world world, *w = &world;
    begin(w);
    optimize(w, 0);
    optimize(w, 1);
    event(w, "c", 3, 3);
    go(w);
    expect_text(w, SUMS, "1 1, 2 2, 3 3");
    bool kept = false;
    for (size_t i = 0; i < now_of(w, 0)->file_count; i++) kept |= strcmp(now_of(w, 0)->files[i].path, "part-0.parquet") == 0;
    assert_true(kept);
    world_deinit(w);
}

/* Sinks of a table that runs are told what differs between versions: of what others did nothing, whether leat ran meanwhile or not. */
static void sinks_are_not_told_of_others(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT) WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
                  "CREATE SINK told FROM nightly WITH (connector = 'file', path = 'told.out', start = 'snapshot', on_retract = 'send');\n", TABLES);
    event(w, "a", 1, 1);
    go(w);
    optimize(w, 1); /* says nothing of the number of rows */
    for (int i = 0; i < 2; i++) {
        event(w, i ? "c" : "b", 2, 2);
        go(w);
        delete_all(w, 1);
        if (i == 0) reopen(w);
    }
    go(w);
    reopen(w);
    go(w);
    expect_text(w, NIGHTLY, "a 1, b 2, c 2");
    char *sql = leat_asprintf("SELECT count(*) FROM read_text('%s/told.out'), LATERAL (SELECT unnest(string_split(trim(content, chr(10)), chr(10))))", w->project);
    expect_text(w, sql, "3");
    free(sql);
    world_deinit(w);
}

/* After a vacuum of theirs there is no way back; it is said what to do. */
static void with_their_vacuum_the_table_is_made_anew(void **state) {
    (void)state;
    struct world world, *w = &world;
    struct leat_error err = {0};
    begin(w);
    char *file = leat_asprintf("rm %s/lake/sums/%s", w->project, now_of(w, 0)->files[0].path), *folder = leat_asprintf("rm -r %s/lake/sums", w->project);
    delete_all(w, 0);
    assert_int_equal(system(file), 0);
    event(w, "c", 1, 3);
    assert_int_equal(leat_engine_run_once(w->engine, true, false, &err), LEAT_CORRUPT);
    assert_non_null(strstr(err.text, "another program has changed table \"sums\""));
    leat_engine_close(w->engine);
    w->engine = NULL;
    assert_int_equal(system(folder), 0);
    reopen(w);
    go(w);
    expect_text(w, SUMS, "1 4, 2 2");
    free(file);
    free(folder);
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_others_are_taken_back),
        cmocka_unit_test(what_others_arrange_stays),
        cmocka_unit_test(sinks_are_not_told_of_others),
        cmocka_unit_test(with_their_vacuum_the_table_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
