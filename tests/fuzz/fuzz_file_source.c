/* Any bytes as a source's file: plain, gzip, zstd; JSON or CSV. The first byte chooses; the rest is the file. Reading
 * it in one go and in small pieces with restarts must give the same records. */
#include <stdio.h>
#include "connect/connector.h"
#include "memory_io.h"

struct sum {
    uint64_t hash, records, position;
};

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static void add(struct sum *sum, const struct leat_block *b) {
    for (uint32_t i = 0; i < b->record_count; i++) {
        sum->hash = (sum->hash ^ (b->ends[i] - b->starts[i])) * 0x100000001B3u;
        for (uint32_t at = b->starts[i]; at < b->ends[i]; at++)
            sum->hash = (sum->hash ^ (unsigned char)b->payload[at]) * 0x100000001B3u;
    }
    sum->records += b->record_count;
    sum->position = b->position;
}

static struct sum read_file(struct leat_env *env, const struct leat_source *source, const uint8_t *data, size_t size,
                            size_t max_bytes, bool restart) {
    struct sum sum = {0};
    struct leat_connector *connector = NULL;
    struct leat_error err;
    struct leat_log_end end = {.partition = 1};
    memory_clear();
    if (leat_buffer_add(&memory_make("p/f")->bytes, data, size, &err) != LEAT_OK) abort();
    for (int polls = 0; polls < 4000; polls++) {
        struct leat_block b;
        if (!connector && leat_connector_file.open(env, source, "p", "p/.state", &end, end.next_offset > 0, &connector,
                                                   &err) != LEAT_OK)
            abort();
        enum leat_status status = connector->ops->poll(connector, max_bytes, &b, &err);
        if (status == LEAT_END) break;
        if (status != LEAT_OK && err.bad_data) continue;
        if (status != LEAT_OK || b.base_offset != end.next_offset || b.position < end.position) abort();
        add(&sum, &b);
        end.next_offset += b.record_count;
        end.position = b.position;
        if (!restart) continue;
        connector->ops->close(connector);
        connector = NULL;
    }
    if (connector) connector->ops->close(connector);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 1 << 16) return 0;
    int64_t now_us = 0;
    struct leat_clock clock;
    struct leat_env env = {.io = memory_io(), .clock = &clock, .log = quiet, .log_level = LEAT_LOG_ERROR};
    leat_clock_virtual_init(&clock, &now_us);
    struct leat_option options[] = {
        {.name = (char *)"path", .value = (char *)"f"},
        {.name = (char *)"mode", .value = (char *)(data[0] & 1 ? "once" : "tail")},
        {.name = (char *)"header", .value = (char *)(data[0] & 2 ? "true" : "false")},
        {.name = (char *)"max_line_bytes", .value = (char *)"1024"},
    };
    struct leat_source source = {.name = (char *)"s",
                                 .connector = (char *)"file",
                                 .format = data[0] & 4 ? LEAT_FORMAT_CSV : LEAT_FORMAT_JSON,
                                 .options = options,
                                 .option_count = 4,
                                 .event_time = -1};
    struct sum whole = read_file(&env, &source, data + 1, size - 1, 1 << 20, false);
    if (whole.records < 3000) {
        struct sum parts = read_file(&env, &source, data + 1, size - 1, 1 + data[0] / 8, false);
        if (parts.hash != whole.hash || parts.records != whole.records) abort();
    }
    if (whole.records < 100) {
        struct sum restarts = read_file(&env, &source, data + 1, size - 1, 300, true);
        if (restarts.hash != whole.hash || restarts.records != whole.records) abort();
    }
    memory_clear();
    return 0;
}
