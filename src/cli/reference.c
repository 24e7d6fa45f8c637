/* leat reference: the reference documentation, rendered from the tables that the program itself uses. */
#include <stdio.h>

#include "cli/cli.h"
#include "connect/sink.h"
#include "project/tables.h"

static int run(struct leat_cli *cli) {
    struct leat_buffer text = {0};
    (void)cli;
    leat_reference_settings(&text);
    leat_reference_connectors(&text);
    leat_reference_sinks(&text);
    fputs(text.data, stdout);
    leat_buffer_deinit(&text);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_reference = {
    .name = "reference", .arguments = "", .summary = "print settings and connector options as markdown",
    .prose = "Prints the reference of all settings and connector options, from the same tables the parser uses.",
    .run = run,
};
