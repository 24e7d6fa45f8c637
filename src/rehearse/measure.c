#include "rehearse/measure.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/usage.h"
#include "connect/recorded.h"
#include "rehearse/waking.h"

/* Figures that only grow. */
struct reading {
    int64_t cpu_us, wall_us, written_bytes;
    uint64_t puts, gets, lists, deletes, records, steps;
    json_t *phases, *tables;
};
struct measure {
    const struct leat_measure_options *options;
    struct leat_env *env;
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

/* sum += to - from */
static void add_difference(struct reading *sum, const struct reading *from, const struct reading *to) {
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
    add_numbers(sum->phases, from->phases, -1);
    add_numbers(sum->tables, from->tables, -1);
}

/* ---- kept by `leat run` ------------------------------------------------------------------------------------------------ */

static void at_end(void *context) {
    struct measure *m = context;
    struct reading now;
    struct leat_error ignored = {0};
    m->peak_bytes = leat_usage_peak_since_reset_bytes();
    if (take(m, &now, &ignored) == LEAT_OK) add_difference(&m->sum, &m->from, &now);
    drop(&now);
}

/* The recorded input's counts begin with the window. */
static void count_wakes_anew(const struct measure *m) {
    const struct leat_project *project = leat_engine_project(leat_rehearsal_engine(m->rehearsal));
    for (size_t s = 0; s < project->source_count; s++)
        if (project->sources[s].recording) project->sources[s].recording->wakes = project->sources[s].recording->records = 0;
}

/* What the sources' own connectors would have taken belongs to the reading of records. */
static enum leat_status add_waking(struct measure *m, struct leat_error *err) {
    const struct leat_project *project = leat_engine_project(leat_rehearsal_engine(m->rehearsal));
    enum leat_status st = LEAT_OK;
    for (size_t s = 0; s < project->source_count && st == LEAT_OK; s++) {
        const struct leat_source *source = &project->sources[s];
        const struct leat_recorded_source *recorded = leat_record_find(m->options->record, source->name);
        int64_t cpu_us = 0;
        if (!recorded || source->reference) continue;
        char *dir = leat_asprintf("%s/waking/%s", m->options->dir, source->name);
        st = leat_waking_measure(m->env, source, recorded, dir, source->recording->wakes, source->recording->records, &cpu_us, err);
        free(dir);
        m->sum.cpu_us += cpu_us;
        json_object_set_new(m->sum.phases, "ingest", json_integer(json_integer_value(json_object_get(m->sum.phases, "ingest")) + cpu_us));
    }
    return st;
}

int64_t leat_measure_step_us(int64_t freshness_us) {
    return freshness_us * LEAT_STEP_FIFTHS / LEAT_ALL_FIFTHS;
}

static enum leat_status measure_service(struct measure *m, struct leat_error *err) {
    const struct leat_record *record = m->options->record;
    int64_t f = m->options->freshness_us, step = leat_measure_step_us(f), commit = m->options->commit_interval_us, span = record->last_us - record->first_us;
    int64_t window = (int64_t)m->options->sample_steps * f, enough = (commit > step ? commit : step) * (LEAT_MEASURE_COMMITS + 2);
    enum { LEAST_US = 300000000, WARM_US = 10000000 };
    if (window > enough) window = enough;
    if (window < LEAST_US) window = LEAST_US;
    if (window > span) window = span;
    int64_t warm = window / 20 > WARM_US ? window / 20 : WARM_US;
    if (warm < step) warm = step; /* the first one makes the tables */
    if (window > span - warm && span - warm >= step) window = span - warm;
    if (window > step) window -= window % step; /* whole steps, whenever they come */
    int64_t from = record->last_us - window;
    enum leat_status st = LEAT_OK;
    if (from - warm > record->first_us) st = leat_rehearsal_skip(m->rehearsal, from - warm, err);
    leat_memory_trim();
    leat_usage_reset_peak();
    if (st == LEAT_OK && from > record->first_us) st = leat_rehearsal_run_to(m->rehearsal, from, NULL, NULL, err);
    if (st == LEAT_OK) st = take(m, &m->from, err);
    count_wakes_anew(m);
    m->window_us = window;
    if (st == LEAT_OK) st = leat_rehearsal_run_to(m->rehearsal, record->last_us + 1, at_end, m, err);
    drop(&m->from);
    if (st == LEAT_OK) st = add_waking(m, err);
    return st;
}

/* ---- kept by a timer that calls `leat run --once` ---------------------------------------------------------------------- */

static void put_json(json_t *json, struct leat_buffer *out) {
    char *text = json_dumps(json, JSON_COMPACT);
    leat_put(out, text);
    free(text);
    json_decref(json);
}

enum leat_status leat_measure_run(struct leat_env *env, const struct leat_measure_options *options, int64_t at_us, struct leat_diagnostics *diags,
                                  struct leat_buffer *out, struct leat_error *err) {
    struct measure m = {.options = options, .real = env->clock};
    struct leat_rehearsal_options rehearsal = {.project_dir = options->project_dir, .dir = options->dir, .record = options->record,
                                               .freshness_us = options->freshness_us, .resume_us = at_us};
    struct reading r = {0};
    int64_t written = leat_usage_written_bytes();
    enum leat_status st = leat_rehearsal_open(env, &rehearsal, diags, &m.rehearsal, err);
    if (st == LEAT_OK) st = leat_engine_run_once(leat_rehearsal_engine(m.rehearsal), false, false, err);
    if (st == LEAT_OK) st = take(&m, &r, err);
    leat_rehearsal_close(m.rehearsal);
    if (st == LEAT_OK)
        put_json(json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O}", "written_bytes", (json_int_t)(leat_usage_written_bytes() - written), "puts",
                           (json_int_t)r.puts, "gets", (json_int_t)r.gets, "lists", (json_int_t)r.lists, "deletes", (json_int_t)r.deletes, "records",
                           (json_int_t)r.records, "steps", (json_int_t)r.steps, "phases", r.phases, "tables", r.tables),
                 out);
    drop(&r);
    return st;
}

/* Adds what the run printed; records and steps are of all runs so far. */
static void add_run(struct measure *m, const json_t *run, bool counts) {
    struct reading *s = counts ? &m->sum : &m->from;
    s->records = (uint64_t)json_integer_value(json_object_get(run, "records"));
    s->steps = (uint64_t)json_integer_value(json_object_get(run, "steps"));
    if (!counts) return;
    s->written_bytes += json_integer_value(json_object_get(run, "written_bytes"));
    s->puts += (uint64_t)json_integer_value(json_object_get(run, "puts"));
    s->gets += (uint64_t)json_integer_value(json_object_get(run, "gets"));
    s->lists += (uint64_t)json_integer_value(json_object_get(run, "lists"));
    s->deletes += (uint64_t)json_integer_value(json_object_get(run, "deletes"));
    add_numbers(s->phases, json_object_get(run, "phases"), 1);
    add_numbers(s->tables, json_object_get(run, "tables"), 1);
}

static enum leat_status one_run(struct measure *m, int64_t at_us, bool counts, int64_t *cpu_us, int64_t *wall_us, struct leat_error *err) {
    struct leat_buffer out = {0};
    struct leat_child_outcome outcome = {0};
    int64_t began = m->real->monotonic_us(m->real);
    enum leat_status st = m->options->run(m->options->context, at_us, &out, &outcome, err);
    json_t *run = st == LEAT_OK ? json_loads(out.data ? out.data : "", 0, NULL) : NULL;
    if (st == LEAT_OK && !run) st = leat_fail(err, LEAT_CORRUPT, "a run that was measured gave no figures");
    *cpu_us += outcome.cpu_us;
    *wall_us += m->real->monotonic_us(m->real) - began;
    if (outcome.peak_bytes > m->peak_bytes) m->peak_bytes = outcome.peak_bytes;
    if (run) add_run(m, run, counts);
    json_decref(run);
    leat_buffer_deinit(&out);
    return st;
}

static enum leat_status measure_timer(struct measure *m, struct leat_error *err) {
    const struct leat_record *record = m->options->record;
    int64_t f = m->options->freshness_us, at = record->first_us, ignored = 0;
    uint64_t runs = (uint64_t)((record->last_us - record->first_us) / f + 1);
    if (runs > m->options->sample_steps) { /* behind all that came before, which the first one takes */
        runs = m->options->sample_steps;
        at = record->last_us - (int64_t)runs * f;
    }
    m->window_us = record->last_us - at;
    leat_rehearsal_close(m->rehearsal); /* the processes below go on in its folders */
    m->rehearsal = NULL;
    enum leat_status st = one_run(m, at - 1, false, &ignored, &ignored, err); /* makes the tables */
    if (st == LEAT_OK) st = one_run(m, at - 1, false, &m->empty_cpu_us, &m->empty_wall_us, err);
    while (m->runs < runs && st == LEAT_OK) {
        at = at + f > record->last_us ? record->last_us + 1 : at + f;
        st = one_run(m, at, true, &m->sum.cpu_us, &m->sum.wall_us, err);
        m->runs++;
    }
    m->sum.records -= m->from.records;
    m->sum.steps -= m->from.steps;
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
    put_json(json, out);
}

enum leat_status leat_measure(struct leat_env *env, const struct leat_measure_options *options, struct leat_diagnostics *diags,
                              struct leat_buffer *out, struct leat_error *err) {
    struct measure m = {.options = options, .env = env, .real = env->clock, .sum = {.phases = json_object(), .tables = json_object()}};
    struct leat_rehearsal_options rehearsal = {.project_dir = options->project_dir, .dir = options->dir, .record = options->record,
                                               .freshness_us = options->freshness_us, .rest_us = LEAT_MEASURE_REST_US};
    enum leat_status st = leat_rehearsal_open(env, &rehearsal, diags, &m.rehearsal, err);
    if (st == LEAT_OK) st = options->freshness_us >= LEAT_TIMER_FROM_US ? measure_timer(&m, err) : measure_service(&m, err);
    if (st == LEAT_OK) put(&m, out);
    leat_rehearsal_close(m.rehearsal);
    drop(&m.sum);
    return st;
}
