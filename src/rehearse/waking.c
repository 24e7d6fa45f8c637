#include "rehearse/waking.h"

#include <stdlib.h>
#include <string.h>

#include "base/usage.h"
#include "connect/connector.h"
#include "rehearse/measure.h"

/* The first wakes are not counted: they find the file new. */
enum { COUNTED = 30, NOT_COUNTED = 5 };

bool leat_waking_measurable(const struct leat_source *source) {
    return leat_connector_of(source) == &leat_connector_file;
}

/* The source as it is, over plain lines in a file `input`. Its options are freed by the caller. */
static struct leat_source over_input(const struct leat_source *source) {
    static char input[] = "input", none[] = "none";
    struct leat_source copy = *source;
    copy.recording = NULL;
    copy.options = leat_alloc((source->option_count + 1) * sizeof *copy.options);
    for (size_t i = 0; i < source->option_count; i++) {
        copy.options[i] = source->options[i];
        if (strcmp(copy.options[i].name, "path") == 0) copy.options[i].value = input;
        if (strcmp(copy.options[i].name, "compression") == 0) copy.options[i].value = none;
    }
    return copy;
}

static enum leat_status read_all_new(struct leat_connector *connector, struct leat_error *err) {
    enum { MOST_BYTES = 16 << 20 };
    struct leat_block block;
    enum leat_status st;
    while ((st = connector->ops->poll(connector, MOST_BYTES, &block, err)) == LEAT_OK) free(block.owned);
    return st == LEAT_END ? LEAT_OK : st;
}

static enum leat_status wake_often(struct leat_env *env, struct leat_connector *connector, struct leat_file *input, const struct leat_buffer *lines,
                                   int64_t *cpu_us, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (int i = 0; i < NOT_COUNTED + COUNTED && st == LEAT_OK; i++) {
        st = env->io->ops->write(input, lines->data, lines->length, err);
        if (st != LEAT_OK) break;
        env->clock->sleep_until(env->clock, env->clock->monotonic_us(env->clock) + LEAT_MEASURE_REST_US);
        int64_t from = leat_usage_thread_cpu_us();
        st = read_all_new(connector, err);
        if (i >= NOT_COUNTED) *cpu_us += leat_usage_thread_cpu_us() - from;
    }
    return st;
}

static void put_lines(const struct leat_recorded_source *recorded, uint64_t count, struct leat_buffer *out) {
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t n = recorded->records ? recorded->bytes / recorded->records : 0; n > 0; n--) leat_put(out, "x");
        leat_put(out, "x\n");
    }
}

enum leat_status leat_waking_measure(struct leat_env *env, const struct leat_source *source, const struct leat_recorded_source *recorded, const char *dir,
                                     uint64_t wakes, uint64_t records, int64_t *cpu_us, struct leat_error *err) {
    enum { MOST_RECORDS = 1000 }; /* beyond, a wake is nothing beside its records */
    struct leat_connector *connector = NULL;
    struct leat_file *input = NULL;
    struct leat_buffer lines = {0};
    *cpu_us = 0;
    if (!leat_waking_measurable(source) || !wakes) return LEAT_OK;
    char *path = leat_asprintf("%s/input", dir), *state = leat_asprintf("%s/state", dir);
    struct leat_source copy = over_input(source);
    uint64_t each = (records + wakes - 1) / wakes;
    put_lines(recorded, each < MOST_RECORDS ? each : MOST_RECORDS, &lines);
    enum leat_status st = leat_io_mkdirs(env->io, state, err);
    if (st == LEAT_OK) st = env->io->ops->open(env->io, path, LEAT_OPEN_APPEND, &input, err);
    if (st == LEAT_OK) st = leat_connector_file.open(env, &copy, dir, state, NULL, 0, &connector, err);
    if (st == LEAT_OK) st = wake_often(env, connector, input, &lines, cpu_us, err);
    *cpu_us = (int64_t)((double)*cpu_us / COUNTED * (double)wakes);
    if (connector) connector->ops->close(connector);
    if (input) env->io->ops->close(input);
    leat_buffer_deinit(&lines);
    free(copy.options);
    free(path);
    free(state);
    return st == LEAT_OK ? st : leat_prepend(err, "measuring source \"%s\"", source->name);
}
