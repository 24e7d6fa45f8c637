#include "rehearse/measure.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/usage.h"

/* Figures that only grow. */
struct reading {
    int64_t cpu_us, wall_us, written_bytes;
    uint64_t puts, gets, lists, deletes, records, steps;
    json_t *phases, *tables;
};
struct measure {
    const struct leat_measure_options *options;
    struct leat_clock *real;
    struct leat_rehearsal *rehearsal;
    struct reading from, sum;
    int64_t window_us;
    uint64_t runs;
    int64_t empty_cpu_us, empty_wall_us;
    int64_t peak_bytes;
};

static void add_numbers(json_t *to, const json_t *from, int sign) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value) {
        json_t *old = json_object_get(to, key);
        if (json_is_object(value)) {
            if (!old) json_object_set_new(to, key, json_object());
            add_numbers(json_object_get(to, key), value, sign);
        } else {
            json_object_set_new(to, key, json_integer(json_integer_value(old) + sign * json_integer_value(value)));
        }
    }
}

/* The engine's own account: phases, tables, steps. */
static enum leat_status read_engine(struct measure *m, struct reading *out, struct leat_error *err) {
    struct leat_buffer text = {0};
    enum leat_status st = leat_engine_status(leat_rehearsal_engine(m->rehearsal), &text, err);
    json_t *status = st == LEAT_OK ? json_loads(text.data, 0, NULL) : NULL, *entry;
    size_t i;
    out->phases = json_object();
    out->tables = json_object();
    add_numbers(out->phases, json_object_get(status, "phase_cpu_us"), 1);
    json_array_foreach(json_object_get(status, "tables"), i, entry) {
        json_int_t batch = json_integer_value(json_object_get(entry, "batch_cpu_us"));
        json_object_set_new(out->tables, json_string_value(json_object_get(entry, "name")),
                            json_pack("{s:I,s:I}", "step", json_integer_value(json_object_get(entry, "step_cpu_us")) + batch, "commit",
                                      json_integer_value(json_object_get(entry, "commit_cpu_us"))));
    }
    json_array_foreach(json_object_get(status, "sources"), i, entry)
        out->records += (uint64_t)json_integer_value(json_object_get(entry, "records"));
    out->steps = (uint64_t)json_integer_value(json_object_get(status, "step"));
    json_decref(status);
    leat_buffer_deinit(&text);
    return st;
}

static enum leat_status take(struct measure *m, struct reading *out, struct leat_error *err) {
    const struct leat_scratch_io *io = leat_rehearsal_io(m->rehearsal);
    *out = (struct reading){.puts = io->puts, .gets = io->gets, .lists = io->lists, .deletes = io->deletes,
                            .written_bytes = leat_usage_written_bytes(), .cpu_us = leat_usage_cpu_us(), .wall_us = m->real->monotonic_us(m->real)};
    return read_engine(m, out, err);
}

static void drop(struct reading *r) {
    json_decref(r->phases);
    json_decref(r->tables);
    *r = (struct reading){0};
}

/* sum += to - from; `fresh`: the engine's account began anew in between. */
static void add_difference(struct reading *sum, const struct reading *from, const struct reading *to, bool fresh) {
    sum->cpu_us += to->cpu_us - from->cpu_us;
    sum->wall_us += to->wall_us - from->wall_us;
    sum->written_bytes += to->written_bytes - from->written_bytes;
    sum->puts += to->puts - from->puts;
    sum->gets += to->gets - from->gets;
    sum->lists += to->lists - from->lists;
    sum->deletes += to->deletes - from->deletes;
    sum->records += to->records - from->records;
    sum->steps += to->steps - from->steps;
    add_numbers(sum->phases, to->phases, 1);
    add_numbers(sum->tables, to->tables, 1);
    if (fresh) return;
    add_numbers(sum->phases, from->phases, -1);
    add_numbers(sum->tables, from->tables, -1);
}

/* ---- kept by `leat run` ------------------------------------------------------------------------------------------------ */

static void at_end(void *context) {
    struct measure *m = context;
    struct reading now;
    struct leat_error ignored = {0};
    m->peak_bytes = leat_usage_peak_since_reset_bytes();
    if (take(m, &now, &ignored) == LEAT_OK) add_difference(&m->sum, &m->from, &now, false);
    drop(&now);
}

static enum leat_status measure_service(struct measure *m, struct leat_error *err) {
    const struct leat_record *record = m->options->record;
    int64_t f = m->options->freshness_us, span = record->last_us - record->first_us;
    int64_t window = (int64_t)m->options->sample_steps * f, enough = m->options->commit_interval_us * (LEAT_MEASURE_COMMITS + 2), warm;
    enum { LEAST_US = 60000000, STEPS_MIN = 20 };
    if (enough < STEPS_MIN * f) enough = STEPS_MIN * f;
    if (window > enough) window = enough;
    if (window < LEAST_US) window = LEAST_US;
    if (window > span) window = span;
    warm = window / 20 > 10000000 ? window / 20 : 10000000;
    int64_t from = record->last_us - window;
    enum leat_status st = LEAT_OK;
    if (from - warm > record->first_us) st = leat_rehearsal_skip(m->rehearsal, from - warm, err);
    leat_memory_trim();
    leat_usage_reset_peak();
    if (st == LEAT_OK && from > record->first_us) st = leat_rehearsal_run_to(m->rehearsal, from, NULL, NULL, err);
    if (st == LEAT_OK) st = take(m, &m->from, err);
    m->window_us = window;
    if (st == LEAT_OK) st = leat_rehearsal_run_to(m->rehearsal, record->last_us + 1, at_end, m, err);
    drop(&m->from);
    return st;
}

/* ---- kept by a timer that calls `leat run --once` ---------------------------------------------------------------------- */

static enum leat_status run_once(struct measure *m, int64_t at_us, struct reading *spent, struct leat_diagnostics *diags, struct leat_error *err) {
    struct reading from = {.cpu_us = leat_usage_cpu_us(), .wall_us = m->real->monotonic_us(m->real), .written_bytes = leat_usage_written_bytes()}, to;
    const struct leat_scratch_io *io = leat_rehearsal_io(m->rehearsal);
    from.puts = io->puts, from.gets = io->gets, from.lists = io->lists, from.deletes = io->deletes;
    from.records = m->sum.records, from.steps = m->sum.steps;
    enum leat_status st = leat_rehearsal_reopen(m->rehearsal, at_us, diags, err);
    if (st == LEAT_OK) st = leat_engine_run_once(leat_rehearsal_engine(m->rehearsal), false, false, err);
    if (st == LEAT_OK) st = take(m, &to, err);
    if (st == LEAT_OK) {
        leat_rehearsal_shut(m->rehearsal);
        to.cpu_us = leat_usage_cpu_us();
        to.wall_us = m->real->monotonic_us(m->real);
        add_difference(spent, &from, &to, true);
        drop(&to);
    }
    return st;
}

static enum leat_status measure_timer(struct measure *m, struct leat_diagnostics *diags, struct leat_error *err) {
    const struct leat_record *record = m->options->record;
    int64_t f = m->options->freshness_us, at = record->first_us;
    uint64_t runs = (uint64_t)((record->last_us - record->first_us) / f + 1);
    enum leat_status st = LEAT_OK;
    struct reading empty = {.phases = json_object(), .tables = json_object()}, first = {.phases = json_object(), .tables = json_object()};
    leat_rehearsal_shut(m->rehearsal);
    st = run_once(m, record->first_us - 1, &first, diags, err); /* makes the tables */
    if (st == LEAT_OK) st = run_once(m, record->first_us - 1, &empty, diags, err);
    m->empty_cpu_us = empty.cpu_us;
    m->empty_wall_us = empty.wall_us;
    drop(&first);
    drop(&empty);
    while (m->runs < runs && st == LEAT_OK) {
        at = at + f > record->last_us ? record->last_us + 1 : at + f;
        st = run_once(m, at, &m->sum, diags, err);
        m->runs++;
        if (m->options->progress) m->options->progress(m->options->context, (double)m->runs / (double)runs);
    }
    m->window_us = record->last_us - record->first_us;
    m->peak_bytes = leat_usage_peak_bytes();
    return st;
}

static void put(const struct measure *m, struct leat_buffer *out) {
    const struct reading *s = &m->sum;
    json_t *json = json_pack("{s:I,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O,s:I,s:I,s:I}", "freshness_us",
                             (json_int_t)m->options->freshness_us, "timer", (int)(m->options->freshness_us >= LEAT_TIMER_FROM_US), "window_us",
                             (json_int_t)m->window_us, "records", (json_int_t)s->records, "steps", (json_int_t)s->steps, "cpu_us",
                             (json_int_t)s->cpu_us, "wall_us", (json_int_t)s->wall_us, "peak_bytes", (json_int_t)m->peak_bytes, "written_bytes",
                             (json_int_t)s->written_bytes, "puts", (json_int_t)s->puts, "gets", (json_int_t)s->gets, "lists", (json_int_t)s->lists,
                             "deletes", (json_int_t)s->deletes, "phases", s->phases, "tables", s->tables, "runs", (json_int_t)m->runs,
                             "empty_cpu_us", (json_int_t)m->empty_cpu_us, "empty_wall_us", (json_int_t)m->empty_wall_us);
    char *text = json_dumps(json, JSON_COMPACT);
    leat_put(out, text);
    free(text);
    json_decref(json);
}

enum leat_status leat_measure(struct leat_env *env, const struct leat_measure_options *options, struct leat_diagnostics *diags,
                              struct leat_buffer *out, struct leat_error *err) {
    struct measure m = {.options = options, .real = env->clock, .sum = {.phases = json_object(), .tables = json_object()}};
    struct leat_rehearsal_options rehearsal = {.project_dir = options->project_dir, .dir = options->dir, .record = options->record,
                                               .freshness_us = options->freshness_us};
    enum leat_status st = leat_rehearsal_open(env, &rehearsal, diags, &m.rehearsal, err);
    if (st == LEAT_OK) st = options->freshness_us >= LEAT_TIMER_FROM_US ? measure_timer(&m, diags, err) : measure_service(&m, err);
    if (st == LEAT_OK) put(&m, out);
    leat_rehearsal_close(m.rehearsal);
    drop(&m.sum);
    return st;
}
