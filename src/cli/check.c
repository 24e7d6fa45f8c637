#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/cli.h"
#include "plan/plan.h"

static void print_json(const struct leat_diagnostics *diags) {
    json_t *list = json_array();
    for (size_t i = 0; i < diags->count; i++) {
        const struct leat_diagnostic *d = &diags->items[i];
        json_array_append_new(list, json_pack("{s:s?,s:i,s:i,s:s,s:s,s:s?}", "file", d->place.file, "line", d->place.line, "column",
                                              d->place.column, "severity", d->warning ? "warning" : "error", "message", d->message,
                                              "suggestion", d->suggestion));
    }
    char *text = json_dumps(list, JSON_INDENT(1));
    puts(text);
    free(text);
    json_decref(list);
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.project_dir = cli->project, .read_only = true, .compile_only = true};
    struct leat_engine *engine = NULL;
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    enum leat_status st = leat_engine_open(&cli->env, &options, &diags, &engine, &err);
    size_t errors = leat_cli_diagnostics(cli, &diags);
    int code = errors ? LEAT_EXIT_NO : LEAT_EXIT_OK;
    if (cli->json) print_json(&diags);
    if (st != LEAT_OK && !errors) code = leat_cli_failed(&err);
    if (st == LEAT_OK && !cli->json) {
        const struct leat_project *project = leat_engine_project(engine);
        size_t sources = 0;
        for (size_t s = 0; s < project->source_count; s++) sources += !project->sources[s].versions;
        printf("%zu source%s, %zu view%s, %zu table%s: no errors\n", sources, sources == 1 ? "" : "s",
               project->view_count, project->view_count == 1 ? "" : "s", project->table_count, project->table_count == 1 ? "" : "s");
    } else if (errors && !cli->json) {
        fprintf(stderr, "%zu error%s\n", errors, errors == 1 ? "" : "s");
    }
    leat_diagnostics_deinit(&diags);
    leat_engine_close(engine);
    return code;
}

const struct leat_command leat_command_check = {
    .name = "check", .arguments = "", .summary = "report every error of the project",
    .prose = "Reads all .sql files of the project and reports every error in one run: file, line, column, what is wrong and\n"
             "the nearest valid spelling. Exit code 1 when there are errors.",
    .run = run,
};
