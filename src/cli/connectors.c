/* leat connectors: what there is to read from and to write to, from the same tables that statements are checked by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "cli/cli.h"
#include "connect/sink.h"
#include "project/tables.h"

static void show(const char *what, const char *name, const char *prose, const char *guarantee, const struct leat_option_spec *specs, size_t count) {
    struct leat_buffer text = {0};
    printf("%s %s\n%s\n", what, name, prose);
    if (guarantee) printf("%s\n", guarantee);
    leat_options_help(specs, count, &text);
    printf("\n%s\n", text.data ? text.data : "");
    leat_buffer_deinit(&text);
}

static json_t *as_json(const char *what, const char *name, const char *prose, const char *guarantee, const struct leat_option_spec *specs, size_t count) {
    json_t *options = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(options, json_pack("{s:s,s:b,s:s?,s:s}", "name", specs[i].name, "required", specs[i].required, "default",
                                                 specs[i].default_text, "meaning", specs[i].prose));
    return json_pack("{s:s,s:s,s:s,s:s?,s:o}", "kind", what, "name", name, "about", prose, "guarantee", guarantee, "options", options);
}

static bool wanted(const struct leat_cli *cli, const char *name) {
    return !cli->argument_count || strcasecmp(cli->arguments[0], name) == 0;
}

static size_t print_all(struct leat_cli *cli, json_t *list) {
    size_t sinks, shown = 0;
    const struct leat_sink_ops *const *all = leat_sinks(&sinks);
    bool whole = cli->argument_count;
    for (size_t i = 0; i < leat_connector_table_count; i++) {
        const struct leat_option_table *t = leat_connector_tables[i];
        if (!wanted(cli, t->name)) continue;
        shown++;
        if (cli->json)
            json_array_append_new(list, as_json("source", t->name, t->prose, NULL, t->specs, t->count));
        else if (whole)
            show("source", t->name, t->prose, NULL, t->specs, t->count);
        else
            printf("source %-10s %s\n", t->name, t->prose);
    }
    for (size_t i = 0; i < sinks; i++) {
        const struct leat_sink_ops *ops = all[i];
        if (!wanted(cli, ops->name)) continue;
        shown++;
        if (cli->json)
            json_array_append_new(list, as_json("sink", ops->name, ops->what, ops->guarantee, ops->options, ops->option_count));
        else if (whole)
            show("sink", ops->name, ops->what, ops->guarantee, ops->options, ops->option_count);
        else
            printf("sink   %-10s %s\n", ops->name, ops->what);
    }
    return shown;
}

static void no_such(const char *name) {
    size_t sinks, n = 0;
    const struct leat_sink_ops *const *all = leat_sinks(&sinks);
    const char **names = leat_alloc((leat_connector_table_count + sinks) * sizeof *names);
    for (size_t i = 0; i < leat_connector_table_count; i++) names[n++] = leat_connector_tables[i]->name;
    for (size_t i = 0; i < sinks; i++) names[n++] = all[i]->name;
    const char *nearest = leat_nearest(name, names, n);
    fprintf(stderr, "leat: there is no connector '%s'; ", name);
    fprintf(stderr, nearest ? "did you mean '%s'?\n" : "'leat connectors' lists them\n", nearest);
    free(names);
}

static int run(struct leat_cli *cli) {
    json_t *list = json_array();
    size_t shown = print_all(cli, list);
    if (cli->json) {
        char *text = json_dumps(list, JSON_INDENT(1));
        puts(text);
        free(text);
    } else if (!shown) {
        no_such(cli->arguments[0]);
    } else if (!cli->argument_count) {
        puts("\n'leat connectors NAME' shows its options and what it guarantees.");
    }
    json_decref(list);
    return shown ? LEAT_EXIT_OK : LEAT_EXIT_USAGE;
}

const struct leat_command leat_command_connectors = {
    .name = "connectors", .arguments = "[NAME]", .summary = "what can be read from and written to; NAME: its options", .max_arguments = 1,
    .prose = "Lists the connectors of sources and sinks, or shows one: what may stand in WITH (...), and what is guaranteed.",
    .run = run,
};
