#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/cli.h"

enum { OPTION_FROM, OPTION_TO, OPTION_REASON };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "from", .type = LEAT_OPTION_TEXT, .prose = "Only records with an event time from this on: '2026-03-01' or '2026-03-01 12:00:00'."},
    {.name = "to", .type = LEAT_OPTION_TEXT, .prose = "Only records with an event time before this."},
    {.name = "reason", .type = LEAT_OPTION_TEXT, .default_text = "leat restate", .prose = "Why; kept with every changed row in TABLE__restatements."},
};

static void print(const char *text) {
    json_t *done = json_loads(text, 0, NULL), *entry;
    size_t i;
    if (!json_array_size(done)) puts("nothing is late");
    json_array_foreach(done, i, entry) {
        long long records = json_integer_value(json_object_get(entry, "records")), changes = json_integer_value(json_object_get(entry, "changes"));
        printf("%s: %lld late record%s admitted, %lld row%s of change\n", json_string_value(json_object_get(entry, "table")), records,
               records == 1 ? "" : "s", changes, changes == 1 ? "" : "s");
    }
    json_decref(done);
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.as_applied = true};
    struct leat_restate_options restate = {.table = cli->argument_count ? cli->arguments[0] : NULL, .from_us = INT64_MIN,
                                           .reason = cli->values[OPTION_REASON].text};
    struct leat_engine *engine;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    struct leat_object_ref ref;
    if (!leat_cli_read_time(cli, "restate", &OPTIONS[OPTION_FROM], OPTION_FROM, &restate.from_us) ||
        !leat_cli_read_time(cli, "restate", &OPTIONS[OPTION_TO], OPTION_TO, &restate.to_us))
        return LEAT_EXIT_USAGE;
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    if (restate.table && (!leat_project_find(leat_engine_project(engine), restate.table, &ref) || ref.kind != LEAT_OBJECT_TABLE)) {
        leat_cli_no_object(leat_engine_project(engine), LEAT_OBJECT_TABLE, restate.table);
        leat_engine_close(engine);
        return LEAT_EXIT_USAGE;
    }
    enum leat_status st = leat_engine_restate(engine, &restate, &text, &err);
    leat_engine_close(engine);
    if (st == LEAT_OK && cli->json)
        puts(text.data);
    else if (st == LEAT_OK)
        print(text.data);
    leat_buffer_deinit(&text);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(&err);
}

const struct leat_command leat_command_restate = {
    .name = "restate", .arguments = "[TABLE]", .max_arguments = 1, .summary = "admit late records; publish what changes, and keep an account of it",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Admits the records in TABLE__late (of the tables it is made of too; without TABLE, of all) and computes what stands on them anew from\n"
             "bronze. The table changes by the difference; old row, new row and the records responsible go to TABLE__restatements. Tables of the\n"
             "same freshness that read the same source are restated with it. A running 'leat run' does this once a day (setting restate_at).",
    .run = run,
};
