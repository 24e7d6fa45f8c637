/* A project in a scratch folder under a virtual clock, and the engine over it; each answer is verify's. */
#ifndef LEAT_TESTS_ENGINE_WORLD_H
#define LEAT_TESTS_ENGINE_WORLD_H

#include "engine/engine.h"
#include "scratch.h"
#include "sim/clock.h"
#include "sql/duck.h"

struct world {
    struct leat_env env;
    struct leat_clock clock;
    int64_t now_us;
    char *dir, *project;
    struct leat_engine *engine;
};
static inline void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static inline void put(struct world *w, const char *name, const char *text, const char *mode) {
    char *path = leat_asprintf("%s/%s", w->project, name);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(path);
    w->now_us += 2000000;
}

/* step_rows: of a step, at most; 0: as the project says. */
static inline void reopen_with(struct world *w, uint64_t step_rows) {
    struct leat_engine_options options = {.project_dir = w->project, .max_step_rows = step_rows};
    struct leat_diagnostics diags = {0};
    leat_engine_close(w->engine);
    OK(leat_engine_open(&w->env, &options, &diags, &w->engine, oops));
    leat_diagnostics_deinit(&diags);
}

static inline void reopen(struct world *w) {
    reopen_with(w, 0);
}

/* Opened again behind a lost work folder. */
static inline void reopen_without_work(struct world *w) {
    char *work = leat_asprintf("%s/.leat", w->project);
    leat_engine_close(w->engine);
    w->engine = NULL;
    OK(leat_io_remove_tree(w->env.io, work, oops));
    free(work);
    reopen(w);
}

static inline void world_init(struct world *w, const char *sources, const char *tables) {
    *w = (struct world){.now_us = 1780000000000000};
    leat_env_real(&w->env);
    leat_clock_virtual_init(&w->clock, &w->now_us);
    w->env.clock = &w->clock;
    w->env.log = quiet;
    w->dir = scratch_make();
    w->project = scratch_dir(w->dir, "project");
    char *in = leat_asprintf("%s/in", w->project);
    OK(leat_io_mkdirs(w->env.io, in, oops));
    free(in);
    put(w, "project.sql", sources, "w");
    put(w, "project.sql", tables, "a");
    reopen(w);
}

static inline void world_deinit(struct world *w) {
    leat_engine_close(w->engine);
    scratch_remove(w->dir);
    free(w->project);
}

static inline void expect_equal(struct world *w) {
    struct leat_buffer report = {0};
    uint64_t differing;
    OK(leat_engine_verify(w->engine, NULL, 5, &report, &differing, oops));
    if (differing) fail_msg("%s", report.data);
    leat_buffer_deinit(&report);
}

static inline void run(struct world *w) {
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_equal(w);
}

static inline void expect_status(struct world *w, const char *part) {
    struct leat_buffer status = {0};
    OK(leat_engine_status(w->engine, &status, oops));
    char *flat = status.data;
    size_t n = 0;
    for (const char *at = flat; *at; at++)
        if (*at != '\n' && *at != ' ') flat[n++] = *at;
    flat[n] = 0;
    if (!strstr(flat, part)) fail_msg("status lacks %s:\n%s", part, flat);
    leat_buffer_deinit(&status);
}

/* What a query over the lake as it is now gives, as text; malloc'd. */
static inline char *text_of(struct world *w, const char *sql) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH, .threads = 1, .time_zone = "UTC"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    char *text = NULL;
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    OK(leat_engine_sql_views(w->engine, conn, oops));
    OK(leat_conn_text(conn, sql, &text, oops));
    leat_conn_close(conn);
    leat_duck_close(duck);
    return text;
}

static inline void expect_text(struct world *w, const char *sql, const char *expected) {
    char *text = text_of(w, sql);
    assert_string_equal(text, expected);
    free(text);
}

/* Events and a reference, for the tests that need no others. */
static const char shop_sources[] __attribute__((unused)) =
    "CREATE SOURCE events (id VARCHAR NOT NULL, k INTEGER, v BIGINT, ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts)\n"
    "WITH (connector = 'file', path = 'in/events.ndjson', format = 'json');\n"
    "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR, price INTEGER)\n"
    "WITH (connector = 'file', path = 'in/things.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n";

static inline void shop_init(struct world *w, const char *tables) {
    world_init(w, shop_sources, tables);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n2,blue,2\n", "w");
}

#endif
