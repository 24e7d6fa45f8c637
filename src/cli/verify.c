#include <stdio.h>

#include "cli/cli.h"

enum { OPTION_ROWS };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "rows", .type = LEAT_OPTION_INT, .unit = "rows", .min = 0, .max = 1000000, .default_text = "10",
     .prose = "How many differing rows of each table to print."},
};

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.as_applied = true};
    struct leat_engine *engine;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    enum leat_status st = leat_engine_verify(engine, cli->argument_count ? cli->arguments[0] : NULL,
                                             (size_t)cli->values[OPTION_ROWS].number, &text, &differing, &err);
    fputs(text.data ? text.data : "", stdout);
    leat_buffer_deinit(&text);
    leat_engine_close(engine);
    if (st != LEAT_OK) return leat_cli_failed(&err);
    return differing ? LEAT_EXIT_NO : LEAT_EXIT_OK;
}

const struct leat_command leat_command_verify = {
    .name = "verify", .arguments = "[TABLE]", .max_arguments = 1, .summary = "compare tables with their SELECT run by DuckDB",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Runs each table's completed SELECT with plain DuckDB over the lake, at the table's frontier and less its late and dead\n"
             "letters, and prints the rows that differ. Exit code 1 when any do.",
    .run = run,
};
