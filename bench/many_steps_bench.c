/* A table committed every second for an hour of simulated time, then scanned; beside it the same table compacted to one file.
 * many_steps_bench FOLDER  prints: CPU of a scan over CPU of a scan of the compacted table, files, rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/usage.h"
#include "engine/engine.h"
#include "lake/delta.h"
#include "sim/clock.h"

static void need(enum leat_status st, const struct leat_error *err) {
    if (st == LEAT_OK) return;
    fprintf(stderr, "many_steps_bench: %s\n", err->text);
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

static double scan_cpu(struct leat_conn *conn, const char *from, struct leat_error *err) {
    struct leat_buffer sql = {0};
    int64_t value;
    leat_putf(&sql, "SELECT (sum(hash(t)) %% 1000000007)::BIGINT FROM (%s) t", from);
    need(leat_conn_int(conn, sql.data, &value, err), err);
    int64_t cpu = leat_usage_cpu_us();
    for (int i = 0; i < 20; i++) need(leat_conn_int(conn, sql.data, &value, err), err);
    leat_buffer_deinit(&sql);
    return (double)(leat_usage_cpu_us() - cpu);
}

int main(int argc, char **argv) {
    enum { SECONDS = 3600, ROWS = 300 };
    struct leat_env env;
    struct leat_error err = {0};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine;
    struct leat_clock clock;
    int64_t now_us = 1767225600000000;
    char in[600];
    if (argc != 2) return 2;
    leat_env_real(&env);
    leat_clock_virtual_init(&clock, &now_us);
    env.clock = &clock;
    snprintf(in, sizeof in, "%s/in", argv[1]);
    mkdir(in, 0777);
    FILE *sql = create(argv[1], "project.sql", "w");
    fputs("CREATE SOURCE events (id BIGINT NOT NULL, kind VARCHAR, amount DECIMAL(18,2))\n"
          "WITH (connector = 'file', path = 'in/events*.ndjson', format = 'json');\n"
          "CREATE MATERIALIZED TABLE archive FRESHNESS = INTERVAL '1' SECOND AS SELECT id, upper(kind) AS kind, amount FROM events;\n", sql);
    fclose(sql);
    struct leat_engine_options options = {.project_dir = argv[1]};
    need(leat_engine_open(&env, &options, &diags, &engine, &err), &err);
    for (int second = 0; second < SECONDS; second++) {
        FILE *events = create(argv[1], "in/events.ndjson", "a");
        for (int i = 0; i < ROWS; i++)
            fprintf(events, "{\"id\":%d,\"kind\":\"kind %d\",\"amount\":%d.25}\n", second * ROWS + i, i % 7, i);
        fclose(events);
        uint64_t got;
        bool did;
        now_us += 1000000;
        need(leat_engine_ingest(engine, &got, &err), &err);
        need(leat_engine_step(engine, true, &did, &err), &err);
        need(leat_engine_flush(engine, false, &err), &err);
    }
    leat_engine_close(engine);

    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_duck_options duck_options = {.use = LEAT_DUCK_BATCH, .threads = 1};
    struct leat_delta_snapshot snapshot = {0};
    struct leat_schema schema = {0};
    struct leat_buffer many = {0}, one = {0}, parquet = {0};
    char dir[700];
    snprintf(dir, sizeof dir, "%s/lake/archive", argv[1]);
    need(leat_duck_open(&duck_options, &duck, &err), &err);
    need(leat_conn_open(duck, &conn, &err), &err);
    need(leat_delta_snapshot(&env, conn, dir, -1, &snapshot, &err), &err);
    need(leat_delta_snapshot_schema(&snapshot, &schema, &err), &err);
    leat_delta_select(dir, &snapshot, &schema, NULL, &many);
    leat_put_parquet_options(&schema, false, &parquet);
    need(leat_conn_execf(conn, &err, "COPY (%s) TO '%s/one.parquet' (%s)", many.data, argv[1], parquet.data), &err);
    leat_putf(&one, "SELECT * FROM read_parquet('%s/one.parquet')", argv[1]);
    double of_many = scan_cpu(conn, many.data, &err), of_one = scan_cpu(conn, one.data, &err);
    printf("%.3f %zu %d version %lld\n", of_many / of_one, snapshot.file_count, SECONDS * ROWS, (long long)snapshot.version);
    return 0;
}
