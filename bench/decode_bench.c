/* Events per CPU second of the JSON decoder. Not a test.
 *
 *   decode_bench [FILE [ROUNDS]]
 *
 * FILE holds order events, one a line; without it (or with "-") a million events of about 218 bytes are made up. The
 * time is the process's CPU time of splitting and decoding, the median of the rounds. Batches of 8192 events. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/env.h"
#include "base/limits.h"
#include "data/decode.h"
#include "data/value.h"

enum { BATCH = 8192, MADE_UP = 1000000, ROUNDS_MAX = 99 };

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void make_up(struct leat_buffer *out) {
    static const char *const status[] = {"placed", "paid", "shipped", "delivered"}, *const currency[] = {"EUR", "USD",
                                                                                                         "GBP"};
    struct leat_random random;
    leat_random_seed(&random, 1);
    for (int64_t i = 0; i < MADE_UP; i++) {
        char id[37];
        leat_random_uuid(&random, id);
        int64_t at = 1795687200000000 + i * 20 - (int64_t)leat_random_below(&random, 120000000), year;
        unsigned month, day, cents = (unsigned)leat_random_below(&random, 50000);
        leat_civil_from_days(at / 86400000000, &year, &month, &day);
        long us = (long)(at % 86400000000);
        leat_putf(out,
                  "{\"event_id\":\"%s\",\"order_id\":%lld,\"customer_id\":%d,\"product_id\":%d,\"quantity\":%d,"
                  "\"amount\":%u.%02u,"
                  "\"currency\":\"%s\",\"status\":\"%s\",\"event_time\":\"%04d-%02u-%02uT%02ld:%02ld:%02ld.%06ldZ\"}\n",
                  id, (long long)(100000000 + i / 4), (int)leat_random_below(&random, 1000000),
                  (int)leat_random_below(&random, 1000), (int)leat_random_below(&random, 9) + 1, cents / 100,
                  cents % 100, currency[leat_random_below(&random, 3)], status[leat_random_below(&random, 4)],
                  (int)year, month, day, us / 3600000000, us / 60000000 % 60, us / 1000000 % 60, us % 1000000);
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Decodes everything once. */
static uint64_t decode_all(struct leat_decoder *decoder, struct leat_changes *batch, const char *bytes, size_t n,
                           uint64_t *rejected) {
    static uint32_t starts[BATCH], ends[BATCH], records[BATCH];
    static uint8_t lossy[BATCH];
    uint64_t rows = 0;
    for (size_t at = 0; at < n;) {
        struct leat_error err;
        struct leat_block block = {.payload = bytes + at, .starts = starts, .ends = ends};
        const struct leat_reject *rejects;
        size_t reject_count;
        size_t used =
            leat_split_records(LEAT_FORMAT_JSON, bytes + at, n - at, true, starts, ends, BATCH, &block.record_count);
        if (!used) break;
        block.payload_bytes = used;
        leat_changes_reset(batch);
        if (leat_decode(decoder, &block, 0, block.record_count, batch, records, lossy, &rejects, &reject_count, &err)) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        if (reject_count && !*rejected) fprintf(stderr, "first reject: %s\n", rejects[0].reason);
        *rejected += reject_count;
        rows += batch->row_count;
        at += used;
    }
    return rows;
}

int main(int argc, char **argv) {
    static const char *const columns[][2] = {
        {"event_id", "VARCHAR"},   {"order_id", "BIGINT"},  {"customer_id", "BIGINT"},
        {"product_id", "INTEGER"}, {"quantity", "INTEGER"}, {"amount", "DECIMAL(18,2)"},
        {"currency", "VARCHAR"},   {"status", "VARCHAR"},   {"event_time", "TIMESTAMP"}};
    struct leat_source source = {.name = "orders", .format = LEAT_FORMAT_JSON};
    struct leat_buffer text = {0};
    struct leat_error err;
    struct leat_decoder *decoder;
    struct leat_changes batch;
    double seconds[ROUNDS_MAX];
    int rounds = argc > 2 ? atoi(argv[2]) : 7;
    if (rounds < 1 || rounds > ROUNDS_MAX) rounds = 7;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        struct leat_type type;
        if (leat_type_parse(columns[i][1], strlen(columns[i][1]), &type, &err)) return 1;
        leat_schema_add(&source.schema, columns[i][0], type, false);
    }
    if (argc > 1 && strcmp(argv[1], "-")) {
        if (leat_io_read_all(leat_io_real(), argv[1], (size_t)4 << 30, &text, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
    } else {
        make_up(&text);
    }
    if (leat_buffer_reserve(&text, LEAT_PAYLOAD_SLACK, &err) || leat_decoder_open(&source, &decoder, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    leat_changes_init(&batch, &source.schema);
    uint64_t rows = 0, rejected = 0;
    for (int i = 0; i < rounds; i++) {
        double start = cpu_seconds();
        rejected = 0;
        rows = decode_all(decoder, &batch, text.data, text.length, &rejected);
        seconds[i] = cpu_seconds() - start;
    }
    qsort(seconds, (size_t)rounds, sizeof *seconds, compare_doubles);
    double median = seconds[rounds / 2];
    printf("%llu events (%llu rejected), %.1f bytes each: %.2f M events and %.2f GB per CPU second\n",
           (unsigned long long)rows, (unsigned long long)rejected, (double)text.length / (double)(rows + rejected),
           (double)(rows + rejected) / median / 1e6, (double)text.length / median / 1e9);
    leat_changes_deinit(&batch);
    leat_decoder_close(decoder);
    leat_schema_deinit(&source.schema);
    leat_buffer_deinit(&text);
    return 0;
}
