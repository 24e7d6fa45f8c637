#include <stdio.h>

#include "cli/cli.h"
#include "plan/plan.h"

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.read_only = true, .compile_only = true};
    struct leat_engine *engine;
    struct leat_buffer text = {0};
    struct leat_object_ref wanted = {0};
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    const struct leat_project *project = leat_engine_project(engine);
    if (cli->argument_count && (!leat_project_find(project, cli->arguments[0], &wanted) || wanted.kind != LEAT_OBJECT_TABLE)) {
        leat_cli_no_object(project, LEAT_OBJECT_TABLE, cli->arguments[0]);
        leat_engine_close(engine);
        return LEAT_EXIT_USAGE;
    }
    if (cli->json) leat_put(&text, "[");
    for (size_t t = 0, shown = 0; t < project->table_count; t++) {
        if (cli->argument_count && wanted.index != t) continue;
        if (shown++) leat_put(&text, cli->json ? "," : "\n");
        leat_plan_explain(project, &project->tables[t], leat_engine_plan(engine, t), cli->json, &text);
    }
    if (cli->json) leat_put(&text, "]\n");
    fputs(text.data ? text.data : "", stdout);
    leat_buffer_deinit(&text);
    leat_engine_close(engine);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_explain = {
    .name = "explain", .arguments = "[TABLE]", .max_arguments = 1, .summary = "show how tables are kept and why",
    .prose = "For each table (or the one named): its operators, the incremental class each part got and why, the state kept and what\n"
             "bounds it, and the completed SQL that batch runs and that verify compares with.",
    .run = run,
};
