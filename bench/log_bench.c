/* Throughput of the log and of the file source, per CPU second and by the clock.
 *   log_bench DIR [MEGABYTES]    DIR: made, filled and removed again
 * Built with: cmake --preset release && cmake --build --preset release --target log_bench */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>
#include "connect/connector.h"

#define RECORD_BYTES 218
#define BLOCK_RECORDS 4096

static struct leat_env env;
static struct leat_error err;

static void must(enum leat_status status) {
    if (status == LEAT_OK) return;
    fprintf(stderr, "log_bench: %s\n", err.text);
    exit(1);
}

static double seconds(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double started_wall, started_cpu;
static void start(void) {
    started_wall = seconds(CLOCK_MONOTONIC);
    started_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
}
static void report(const char *what, double bytes, double records) {
    double wall = seconds(CLOCK_MONOTONIC) - started_wall, cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - started_cpu;
    printf("%-44s %7.2f GB/cpu-s %7.2f GB/s %8.2f M records/cpu-s\n", what, bytes / cpu / 1e9, bytes / wall / 1e9,
           records / cpu / 1e6);
}

static void bench_log(const char *dir, uint32_t blocks) {
    char *payload = malloc(BLOCK_RECORDS * (RECORD_BYTES + 1) + 64), *log_dir = leat_asprintf("%s/log", dir);
    uint32_t *starts = malloc(BLOCK_RECORDS * 4), *ends = malloc(BLOCK_RECORDS * 4);
    struct leat_log *log = NULL;
    struct leat_log_cursor *cursor = NULL;
    struct leat_block b;
    for (uint32_t i = 0; i < BLOCK_RECORDS; i++) {
        starts[i] = i * (RECORD_BYTES + 1);
        ends[i] = starts[i] + RECORD_BYTES;
        memset(payload + starts[i], (int)('a' + i % 26), RECORD_BYTES);
    }
    double bytes = (double)blocks * BLOCK_RECORDS * RECORD_BYTES, records = (double)blocks * BLOCK_RECORDS;
    must(leat_log_open(&env, log_dir, NULL, &log, &err));
    start();
    for (uint32_t i = 0; i < blocks; i++) {
        b = (struct leat_block){.partition = i % 4,
                                .base_offset = (uint64_t)(i / 4) * BLOCK_RECORDS,
                                .record_count = BLOCK_RECORDS,
                                .payload = payload,
                                .payload_bytes = ends[BLOCK_RECORDS - 1],
                                .starts = starts,
                                .ends = ends,
                                .position = i};
        must(leat_log_append(log, &b, &err));
        if (i % 16 == 15) must(leat_log_sync(log, &err));
    }
    must(leat_log_sync(log, &err));
    report("log append, a sync each 14 MB", bytes, records);
    start();
    uint64_t count = 0;
    for (uint32_t p = 0; p < 4; p++) {
        must(leat_log_read(log, p, 0, UINT64_MAX, &cursor, &err));
        while (leat_log_next(cursor, &b, &err) == LEAT_OK)
            count += b.record_count;
        leat_log_cursor_close(cursor);
    }
    report("log read, 4 partitions in turn, checked", (double)count * RECORD_BYTES, (double)count);
    leat_log_close(log);
    start();
    must(leat_log_open(&env, log_dir, NULL, &log, &err));
    printf("%-44s %7.1f ms\n", "log open", (seconds(CLOCK_MONOTONIC) - started_wall) * 1e3);
    start();
    uint64_t next = (uint64_t)(blocks / 4) * BLOCK_RECORDS;
    enum { SMALL = 500 };
    for (int i = 0; i < SMALL; i++) {
        b = (struct leat_block){.partition = 0,
                                .base_offset = next++,
                                .record_count = 1,
                                .payload = payload,
                                .payload_bytes = RECORD_BYTES,
                                .starts = starts,
                                .ends = ends};
        must(leat_log_append(log, &b, &err));
        must(leat_log_sync(log, &err));
    }
    printf("%-44s %7.1f us\n", "one record, append and sync", (seconds(CLOCK_MONOTONIC) - started_wall) * 1e6 / SMALL);
    leat_log_close(log);
    free(log_dir);
    free(payload);
    free(starts);
    free(ends);
}

static void put(const char *path, const char *bytes, size_t n) {
    struct leat_file *file = NULL;
    must(env.io->ops->open(env.io, path, LEAT_OPEN_TRUNCATE, &file, &err));
    must(env.io->ops->write(file, bytes, n, &err));
    env.io->ops->close(file);
}

static void bench_source(const char *dir, const char *name, const char *what) {
    struct leat_option options[] = {{.name = (char *)"path", .value = (char *)name},
                                    {.name = (char *)"mode", .value = (char *)"once"}};
    struct leat_source source = {.name = (char *)"s",
                                 .connector = (char *)"file",
                                 .format = LEAT_FORMAT_JSON,
                                 .options = options,
                                 .option_count = 2,
                                 .event_time = -1};
    struct leat_connector *connector = NULL;
    struct leat_block b;
    char *state = leat_asprintf("%s/state-%s", dir, name);
    double bytes = 0, records = 0;
    must(leat_connector_file.open(&env, &source, dir, state, NULL, 0, &connector, &err));
    start();
    while (connector->ops->poll(connector, 4 << 20, &b, &err) == LEAT_OK) {
        bytes += (double)b.payload_bytes;
        records += (double)b.record_count;
    }
    report(what, bytes, records);
    connector->ops->close(connector);
    free(state);
}

static void bench_sources(const char *dir, size_t megabytes) {
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/plain", dir);
    for (uint64_t i = 0; text.length < megabytes << 20; i++)
        leat_putf(&text,
                  "{\"event_id\":\"%016llx\",\"order_id\":%llu,\"customer_id\":%llu,\"product_id\":%llu,\"quantity\":%"
                  "llu,\"amount\":%llu.%02llu,"
                  "\"status\":\"shipped\",\"event_time\":\"2024-01-01T00:%02llu:%02llu.%03lluZ\",\"note\":"
                  "\"xxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n",
                  (unsigned long long)(i * 0x9E3779B97F4A7C15u), (unsigned long long)i / 3,
                  (unsigned long long)i * 7919 % 100000, (unsigned long long)i % 1000, (unsigned long long)i % 9,
                  (unsigned long long)i % 977, (unsigned long long)i % 100, (unsigned long long)i / 60 % 60,
                  (unsigned long long)i % 60, (unsigned long long)i % 1000);
    put(path, text.data, text.length);
    bench_source(dir, "plain", "file source, plain, split into records");
    size_t capacity = ZSTD_compressBound(text.length);
    char *packed = malloc(capacity);
    size_t n = ZSTD_compress(packed, capacity, text.data, text.length, 3);
    free(path);
    path = leat_asprintf("%s/zstd", dir);
    put(path, packed, n);
    bench_source(dir, "zstd", "file source, zstd");
    z_stream z = {.next_in = (Bytef *)(void *)text.data,
                  .avail_in = (uInt)text.length,
                  .next_out = (Bytef *)(void *)packed,
                  .avail_out = (uInt)capacity};
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK &&
        deflate(&z, Z_FINISH) == Z_STREAM_END) {
        free(path);
        path = leat_asprintf("%s/gzip", dir);
        put(path, packed, capacity - z.avail_out);
        bench_source(dir, "gzip", "file source, gzip");
    }
    deflateEnd(&z);
    free(packed);
    free(path);
    leat_buffer_deinit(&text);
}

int main(int argc, char **argv) {
    size_t megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 512;
    if (argc < 2 || megabytes < 1) {
        fprintf(stderr, "usage: log_bench DIR [MEGABYTES]\n");
        return 2;
    }
    leat_env_real(&env);
    must(leat_io_mkdirs(env.io, argv[1], &err));
    bench_log(argv[1], (uint32_t)((megabytes << 20) / (BLOCK_RECORDS * RECORD_BYTES)) / 4 * 4);
    bench_sources(argv[1], megabytes < 256 ? megabytes : 256);
    must(leat_io_remove_tree(env.io, argv[1], &err));
    return 0;
}
