/* leat cost: one process a freshness, so that memory and CPU time are its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/child.h"
#include "cli/cli.h"
#include "rehearse/cost.h"
#include "rehearse/measure.h"
#include "rehearse/waking.h"

enum { OPTION_SAMPLE, OPTION_ROUNDS, OPTION_PRICES, OPTION_PRINT_PRICES, OPTION_SVG, OPTION_CLOCK, OPTION_SCRATCH, OPTION_ONLY, OPTION_AT };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "sample", .type = LEAT_OPTION_INT, .unit = "steps", .min = 10, .max = 100000000, .default_text = "130",
     .prose = "So many times each freshness is measured, at most 128 commits of what a running process keeps, behind all that came before; the rest is extrapolated. More is slower and surer."},
    {.name = "rounds", .type = LEAT_OPTION_INT, .min = 1, .max = 99, .default_text = "3",
     .prose = "All freshnesses are measured so many times in turn, and of each the middle one by CPU time counts: what disturbed one round is left out."},
    {.name = "prices", .type = LEAT_OPTION_PATH, .prose = "File of prices; --print-prices shows what it looks like."},
    {.name = "print_prices", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Print the prices that are used without a file, and stop."},
    {.name = "svg", .type = LEAT_OPTION_PATH, .prose = "Write the curve as a picture into this file."},
    {.name = "clock", .type = LEAT_OPTION_ENUM, .choices = leat_record_clock_names, .default_text = "auto",
     .prose = "When records come: as they arrived, or by event time. Auto: by event time where all arrived within a tenth of the time the events span."},
    {.name = "scratch", .type = LEAT_OPTION_PATH, .prose = "Folder for the recording and the rehearsals' lakes. Default: .leat-rehearsal in the project, removed afterwards."},
    {.name = "only", .type = LEAT_OPTION_INTERVAL, .min = 1000, .max = INT64_C(31) * 86400 * 1000000,
     .prose = "Measure this one freshness from the recording in --scratch and print raw figures. This is how the command calls itself."},
    {.name = "at", .type = LEAT_OPTION_INT, .unit = "us", .min = 1, .max = INT64_MAX, .prose = "With --only: the one run that a timer begins at this time."},
};

static const int64_t POINTS_US[] = {INT64_C(86400000000), INT64_C(3600000000), 300000000, 60000000, 10000000, 1000000, 100000};
enum { POINTS = sizeof POINTS_US / sizeof *POINTS_US };

static char *scratch_of(const struct leat_cli *cli) {
    return cli->given[OPTION_SCRATCH] ? leat_strdup(cli->values[OPTION_SCRATCH].text) : leat_asprintf("%s/.leat-rehearsal", cli->project);
}

/* ---- the child, and its children ----------------------------------------------------------------------------------------- */

struct child {
    const struct leat_cli *cli;
    char *self, *scratch;
};

/* leat_measure_options.run */
static enum leat_status run_by_timer(void *context, int64_t at_us, struct leat_buffer *out, struct leat_child_outcome *outcome, struct leat_error *err) {
    struct child *child = context;
    char *only = leat_asprintf("%lld us", (long long)child->cli->values[OPTION_ONLY].number), *at = leat_asprintf("%lld", (long long)at_us);
    char *argv[] = {child->self, "cost", "--project", (char *)child->cli->project, "--scratch", child->scratch, "--only", only, "--at", at, NULL};
    enum leat_status st = leat_child_run(argv, out, outcome, err);
    if (st == LEAT_OK && outcome->exit_code) st = leat_fail(err, LEAT_INVALID, "a run at %s failed (see above)", only);
    free(only);
    free(at);
    return st;
}

static enum leat_status commit_interval(struct leat_cli *cli, int64_t *out, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_project *project = NULL;
    enum leat_status st = leat_project_load(&cli->env, cli->project, &project, &diags, err);
    if (st == LEAT_OK) *out = leat_setting_int(project, "commit_interval");
    if (project) leat_project_free(project);
    leat_diagnostics_deinit(&diags);
    return st;
}

static int measure_one(struct leat_cli *cli) {
    struct child child = {cli, leat_child_self(), scratch_of(cli)};
    struct leat_record record = {0};
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    struct leat_buffer out = {0};
    char *recorded = leat_asprintf("%s/recorded", child.scratch), *dir = leat_asprintf("%s/one", child.scratch);
    struct leat_measure_options options = {.project_dir = cli->project, .dir = dir, .record = &record, .freshness_us = cli->values[OPTION_ONLY].number,
                                           .sample_steps = (uint64_t)cli->values[OPTION_SAMPLE].number, .run = run_by_timer, .context = &child};
    enum leat_status st = leat_record_load(&cli->env, recorded, &record, &err);
    if (cli->given[OPTION_AT]) {
        if (st == LEAT_OK) st = leat_measure_run(&cli->env, &options, cli->values[OPTION_AT].number, &diags, &out, &err);
    } else {
        if (st == LEAT_OK) st = commit_interval(cli, &options.commit_interval_us, &err);
        if (st == LEAT_OK) st = leat_measure(&cli->env, &options, &diags, &out, &err);
    }
    if (st == LEAT_OK) puts(out.data);
    leat_cli_diagnostics(cli, &diags);
    leat_diagnostics_deinit(&diags);
    leat_record_deinit(&record);
    leat_buffer_deinit(&out);
    free(child.self);
    free(child.scratch);
    free(recorded);
    free(dir);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(&err);
}

/* ---- the parent -------------------------------------------------------------------------------------------------------- */

struct cost {
    struct leat_cli *cli;
    char *scratch, *self;
    struct leat_record record;
    struct leat_buffer measured;
    struct leat_cost_need *needs;
    size_t need_count;
    struct leat_engine *engine; /* read-only: names and freshness of tables */
    int64_t commit_interval_us;
};

static enum leat_status measure_point(struct cost *c, size_t i, struct leat_error *err) {
    struct leat_child_outcome outcome;
    char *only = leat_asprintf("%lld us", (long long)POINTS_US[i]), *sample = leat_asprintf("%lld", (long long)c->cli->values[OPTION_SAMPLE].number);
    char *argv[] = {c->self, "cost", "--project", (char *)c->cli->project, "--scratch", c->scratch, "--sample", sample, "--only", only, NULL};
    enum leat_status st = leat_child_run(argv, &c->measured, &outcome, err);
    if (st == LEAT_OK && outcome.exit_code) st = leat_fail(err, LEAT_INVALID, "measuring at %s failed (see above)", only);
    free(only);
    free(sample);
    return st;
}

static enum leat_status measure_round(struct cost *c, size_t begun, size_t all, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < POINTS && st == LEAT_OK; i++) {
        if (leat_cli_is_terminal(2)) fprintf(stderr, "\rmeasuring %zu of %zu ", begun + i + 1, all);
        leat_put(&c->measured, i ? "," : "[");
        st = measure_point(c, i, err);
    }
    leat_put(&c->measured, "]");
    return st;
}

static enum leat_status measure_all(struct cost *c, struct leat_error *err) {
    size_t rounds = (size_t)c->cli->values[OPTION_ROUNDS].number;
    enum leat_status st = LEAT_OK;
    for (size_t r = 0; r < rounds && st == LEAT_OK; r++) {
        leat_put(&c->measured, r ? "," : "[");
        st = measure_round(c, r * POINTS, rounds * POINTS, err);
    }
    leat_put(&c->measured, "]");
    if (leat_cli_is_terminal(2)) fputs("\r                        \r", stderr);
    return st;
}

static int prepare(struct cost *c, struct leat_error *err, enum leat_status *st) {
    struct leat_engine_options options = {.read_only = true};
    char *recorded = leat_asprintf("%s/recorded", c->scratch);
    struct leat_record_options wanted = {.dir = recorded, .from_us = INT64_MIN, .to_us = INT64_MAX,
                                         .clock = (enum leat_record_clock)c->cli->values[OPTION_CLOCK].number};
    int code = leat_cli_open(c->cli, &options, &c->engine);
    if (code == LEAT_EXIT_OK) {
        const struct leat_project *project = leat_engine_project(c->engine);
        *st = leat_record_make(&c->cli->env, c->engine, &wanted, &c->record, err);
        c->commit_interval_us = leat_setting_int(project, "commit_interval");
        c->needs = leat_alloc((project->table_count + 1) * sizeof *c->needs);
        for (size_t t = 0; t < project->table_count; t++) {
            const struct leat_table *table = &project->tables[t];
            struct leat_calendar always = {.between_us = table->freshness_us ? table->freshness_us : POINTS_US[0]};
            c->needs[c->need_count++] = (struct leat_cost_need){table->name, table->calendar.else_us ? table->calendar : always};
        }
    }
    free(recorded);
    return code;
}

static enum leat_status write_svg(struct cost *c, const struct leat_cost *cost, const struct leat_prices *prices, struct leat_error *err) {
    struct leat_buffer svg = {0};
    if (!c->cli->given[OPTION_SVG]) return LEAT_OK;
    leat_cost_svg(cost, prices, &svg);
    enum leat_status st = leat_io_write_durable(c->cli->env.io, c->cli->values[OPTION_SVG].text, svg.data, svg.length, true, err);
    leat_buffer_deinit(&svg);
    return st;
}

/* The dashboard shows the newest. */
static enum leat_status keep(struct cost *c, const struct leat_cost *cost, const struct leat_prices *prices, struct leat_error *err) {
    struct leat_buffer json = {0};
    char *path = leat_asprintf("%s/.leat/" LEAT_COSTS_FILE, c->cli->project);
    leat_cost_json(cost, prices, c->needs, c->need_count, &json);
    enum leat_status st = leat_io_write_durable(c->cli->env.io, path, json.data, json.length, true, err);
    leat_buffer_deinit(&json);
    free(path);
    return st;
}

static void put_unmeasured(const struct cost *c, struct leat_buffer *out) {
    const struct leat_project *project = leat_engine_project(c->engine);
    for (size_t s = 0; s < project->source_count; s++) {
        const struct leat_source *source = &project->sources[s];
        const struct leat_recorded_source *recorded = leat_record_find(&c->record, source->name);
        if (source->reference || !recorded || !recorded->records || leat_waking_measurable(source)) continue;
        leat_putf(out, "Not in these figures: what connector %s of source %s takes itself to receive records.\n", source->connector, source->name);
    }
}

static enum leat_status report(struct cost *c, const struct leat_prices *prices, struct leat_error *err) {
    struct leat_cost cost = {0};
    struct leat_buffer out = {0};
    enum leat_status st = leat_cost_model(c->measured.data, c->record.records, c->record.last_us - c->record.first_us, c->commit_interval_us,
                                          prices, &cost, err);
    if (st == LEAT_OK && c->cli->json)
        leat_cost_json(&cost, prices, c->needs, c->need_count, &out);
    else if (st == LEAT_OK) {
        leat_cost_print(&cost, prices, c->needs, c->need_count, &out);
        put_unmeasured(c, &out);
    }
    if (st == LEAT_OK) fputs(out.data, stdout);
    if (st == LEAT_OK) st = write_svg(c, &cost, prices, err);
    if (st == LEAT_OK) st = keep(c, &cost, prices, err);
    leat_cost_deinit(&cost);
    leat_buffer_deinit(&out);
    return st;
}

static enum leat_status load_prices(struct leat_cli *cli, struct leat_prices *out, struct leat_error *err) {
    enum { PRICES_BYTES_MAX = 1 << 20 };
    struct leat_buffer text = {0};
    enum leat_status st = LEAT_OK;
    if (!cli->given[OPTION_PRICES]) return leat_prices_parse(leat_prices_default, out, err);
    st = leat_io_read_all(cli->env.io, cli->values[OPTION_PRICES].text, PRICES_BYTES_MAX, &text, err);
    if (st == LEAT_OK) st = leat_prices_parse(text.data ? text.data : "", out, err);
    leat_buffer_deinit(&text);
    return st;
}

static int run(struct leat_cli *cli) {
    struct cost c = {.cli = cli};
    struct leat_prices prices = {0};
    struct leat_error err = {0}, ignored;
    if (cli->values[OPTION_PRINT_PRICES].number) {
        fputs(leat_prices_default, stdout);
        return LEAT_EXIT_OK;
    }
    if (cli->given[OPTION_ONLY]) return measure_one(cli);
    c.scratch = scratch_of(cli);
    c.self = leat_child_self();
    enum leat_status st = load_prices(cli, &prices, &err);
    int code = st == LEAT_OK ? prepare(&c, &err, &st) : LEAT_EXIT_OK;
    if (code == LEAT_EXIT_OK && st == LEAT_OK && !c.record.records)
        st = leat_fail(&err, LEAT_NOT_FOUND, "nothing is recorded yet: bronze holds no record; run 'leat run' for a while, better for a day");
    if (code == LEAT_EXIT_OK && st == LEAT_OK) st = measure_all(&c, &err);
    if (code == LEAT_EXIT_OK && st == LEAT_OK) st = report(&c, &prices, &err);
    if (st != LEAT_OK) code = leat_cli_failed(&err);
    if (leat_io_remove_tree(cli->env.io, c.scratch, &ignored) != LEAT_OK) fprintf(stderr, "leat: %s\n", ignored.text);
    leat_engine_close(c.engine);
    leat_record_deinit(&c.record);
    leat_prices_deinit(&prices);
    leat_buffer_deinit(&c.measured);
    free(c.needs);
    free(c.scratch);
    free(c.self);
    return code;
}

const struct leat_command leat_command_cost = {
    .name = "cost", .arguments = "", .summary = "what each freshness would cost, measured on the project's own recorded input",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Rehearses what the sources have recorded at 24 h, 1 h, 5 min, 1 min, 10 s, 1 s and 100 ms on a simulated clock, in a scratch lake, and shows for a day:\n"
             "CPU seconds, peak memory, bytes written, requests to an object store, hours up, the smallest machine that holds it, and money for thirty\n"
             "days at the prices of --prices. From an hour on a timer calls 'leat run --once'; below, 'leat run' stays up. Says for each table which\n"
             "freshness does for what it asks, and what more or less would take. 'leat run' may go on meanwhile, but not on busy processors.",
    .run = run,
};
