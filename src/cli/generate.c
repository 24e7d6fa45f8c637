#include <stdio.h>

#include "audit/generate.h"
#include "cli/cli.h"

static int run(struct leat_cli *cli) {
    struct leat_generate_options options;
    struct leat_error err = {0};
    enum leat_status st = leat_generate_from_values(cli->values, &options, &err);
    if (st == LEAT_OK) st = leat_generate(&cli->env, &options, &err);
    if (st != LEAT_OK) return leat_cli_failed(&err);
    if (!cli->json) printf("%llu events in %s; what was planted: planted.json there\n", (unsigned long long)options.events, options.out_dir);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_generate = {
    .name = "generate", .arguments = "", .summary = "write a seeded shop's data, with what was planted in it",
    .options = leat_generate_specs, .option_count_at = &leat_generate_spec_count,
    .prose = "Writes orders with their status changes, payments and a catalogue that changes, with late, duplicate, malformed,\n"
             "out-of-order and fraudulent events by option; planted.json beside them says exactly how many of each.",
    .run = run,
};
