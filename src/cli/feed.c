#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "connect/feed_run.h"

enum { OPTION_SPEED, OPTION_ARRIVAL, OPTION_SHUFFLE, OPTION_REDELIVER, OPTION_SEED };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "speed", .type = LEAT_OPTION_REAL, .min = 0, .max = -1, .default_text = "0",
     .prose = "Event time runs this many times as fast as the clock; 0: as fast as possible."},
    {.name = "by_arrival", .type = LEAT_OPTION_BOOL, .default_text = "false",
     .prose = "Order the records by event time instead of by file; implied by --shuffle."},
    {.name = "shuffle", .type = LEAT_OPTION_INTERVAL, .min = 0, .max = 366LL * 86400 * 1000000, .default_text = "0 seconds",
     .prose = "Each record arrives this much after its event time at most, drawn evenly."},
    {.name = "redeliver", .type = LEAT_OPTION_REAL, .min = 0, .max = 1, .default_text = "0", .prose = "Share of records delivered a second time."},
    {.name = "seed", .type = LEAT_OPTION_INT, .min = 0, .max = INT64_MAX, .default_text = "1", .prose = "For what is drawn."},
};

struct progress { bool terminal; };

static bool on_progress(void *context, const struct leat_feed_progress *now) {
    const struct progress *p = context;
    if (p->terminal) fprintf(stderr, "\r%llu records", (unsigned long long)now->records);
    return true;
}

static int run(struct leat_cli *cli) {
    struct leat_diagnostics diags = {0};
    struct leat_project *project = NULL;
    struct leat_error err = {0};
    struct leat_object_ref ref;
    struct progress progress = {leat_cli_is_terminal(2)};
    enum leat_status st = leat_project_load(&cli->env, cli->project, &project, &diags, &err);
    size_t errors = leat_cli_diagnostics(cli, &diags);
    leat_diagnostics_deinit(&diags);
    if (st != LEAT_OK) return leat_cli_failed(&err);
    int code = errors ? LEAT_EXIT_NO : LEAT_EXIT_OK;
    if (code == LEAT_EXIT_OK && (!leat_project_find(project, cli->arguments[0], &ref) || ref.kind != LEAT_OBJECT_SOURCE ||
                                 project->sources[ref.index].reference)) {
        leat_cli_no_object(project, LEAT_OBJECT_SOURCE, cli->arguments[0]);
        code = LEAT_EXIT_USAGE;
    }
    uint64_t records = 0, again = 0;
    if (code == LEAT_EXIT_OK && strcmp(project->sources[ref.index].connector, "file") != 0) {
        fprintf(stderr, "leat feed: source \"%s\" is read by the connector '%s'; only file sources can be fed (send the file by POST instead)\n",
                project->sources[ref.index].name, project->sources[ref.index].connector);
        code = LEAT_EXIT_USAGE;
    }
    for (int i = 1; i < cli->argument_count && code == LEAT_EXIT_OK; i++) {
        const struct leat_source *source = &project->sources[ref.index];
        struct leat_feed_options options = {.speed = cli->values[OPTION_SPEED].real,
                                            .by_arrival = cli->values[OPTION_ARRIVAL].number || cli->given[OPTION_SHUFFLE],
                                            .shuffle_us = cli->values[OPTION_SHUFFLE].number,
                                            .redeliver = cli->values[OPTION_REDELIVER].real,
                                            .seed = (uint64_t)cli->values[OPTION_SEED].number + (uint64_t)i,
                                            .progress = on_progress,
                                            .context = &progress};
        struct leat_feed_progress done = {0};
        char *state_dir = leat_asprintf("%s/.leat/connector/%s", cli->project, source->name);
        st = leat_io_mkdirs(cli->env.io, state_dir, &err);
        if (st == LEAT_OK) st = leat_feed_run(&cli->env, source, cli->project, state_dir, cli->arguments[i], &options, &done, &err);
        free(state_dir);
        records += done.records;
        again += done.redelivered;
        if (st != LEAT_OK) code = leat_cli_failed(&err);
    }
    if (progress.terminal) fputc('\n', stderr);
    if (code == LEAT_EXIT_OK && !cli->json)
        printf("%llu records fed, %llu of them second deliveries\n", (unsigned long long)records, (unsigned long long)again);
    leat_project_free(project);
    return code;
}

const struct leat_command leat_command_feed = {
    .name = "feed", .arguments = "SOURCE FILE...", .min_arguments = 2, .max_arguments = 64,
    .summary = "play files into a source, in arrival order, N times as fast",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Plays data files into a file source through its spool; 'leat run' takes them up, now or later. Each record keeps its\n"
             "identity (file and line): what was delivered already is dropped and counted, so feeding again repeats nothing.",
    .run = run,
};
