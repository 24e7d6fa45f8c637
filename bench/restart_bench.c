/* How long a start takes with many keys of state: makes a project with KEYS keys, saves its state, then opens it anew.
 * restart_bench FOLDER KEYS  prints: seconds from open to the first step done, keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/engine.h"

static void need(enum leat_status st, const struct leat_error *err) {
    if (st == LEAT_OK) return;
    fprintf(stderr, "restart_bench: %s\n", err->text);
    exit(3);
}

static FILE *create(const char *dir, const char *name, const char *mode) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (file) return file;
    perror(path);
    exit(3);
}

int main(int argc, char **argv) {
    struct leat_env env;
    struct leat_error err = {0};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine;
    char in[600];
    if (argc != 3) return 2;
    unsigned long keys = strtoul(argv[2], NULL, 10);
    leat_env_real(&env);
    snprintf(in, sizeof in, "%s/in", argv[1]);
    mkdir(in, 0777);
    FILE *sql = create(argv[1], "project.sql", "w");
    fputs("CREATE SOURCE events (id BIGINT NOT NULL, status VARCHAR, ts TIMESTAMP NOT NULL)\n"
          "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n"
          "CREATE MATERIALIZED TABLE latest FRESHNESS = INTERVAL '1' SECOND\n"
          "AS SELECT id, arg_max(status, ts) AS status, max(ts) AS ts FROM events GROUP BY id;\n", sql);
    fclose(sql);
    FILE *events = create(argv[1], "in/events.ndjson", "w");
    for (unsigned long i = 0; i < keys; i++)
        fprintf(events, "{\"id\":%lu,\"status\":\"shipped\",\"ts\":\"2026-01-%02lu 10:%02lu:00\"}\n", i * 7919 % 1000000007, 1 + i % 28, i % 60);
    fclose(events);
    struct leat_engine_options options = {.project_dir = argv[1]};
    need(leat_engine_open(&env, &options, &diags, &engine, &err), &err);
    need(leat_engine_run_once(engine, false, false, &err), &err);
    need(leat_engine_drain_and_checkpoint(engine, &err), &err);
    leat_engine_close(engine);
    events = create(argv[1], "in/events.ndjson", "a");
    fputs("{\"id\":1,\"status\":\"returned\",\"ts\":\"2026-02-01 10:00:00\"}\n", events);
    fclose(events);
    int64_t start = env.clock->monotonic_us(env.clock);
    uint64_t got;
    bool did;
    need(leat_engine_open(&env, &options, &diags, &engine, &err), &err);
    need(leat_engine_ingest(engine, &got, &err), &err);
    need(leat_engine_step(engine, true, &did, &err), &err);
    double seconds = (double)(env.clock->monotonic_us(env.clock) - start) / 1e6;
    printf("%.3f %lu %llu\n", seconds, keys, (unsigned long long)got);
    leat_engine_close(engine);
    return 0;
}
