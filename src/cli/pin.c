#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "cli/cli.h"

enum { OPTION_SEED, OPTION_DROP };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "seed", .type = LEAT_OPTION_TEXT, .prose = "Kept in the manifest: the seed of the split or the training that is made from this version."},
    {.name = "drop", .type = LEAT_OPTION_TEXT, .prose = "Give up the pin of this name; its files go unless the table still needs them."},
};

static void print_pin(const json_t *pin) {
    printf("%-28s %s version %lld, %lld rows\n", json_string_value(json_object_get(pin, "pin")), json_string_value(json_object_get(pin, "table")),
           (long long)json_integer_value(json_object_get(pin, "version")), (long long)json_integer_value(json_object_get(pin, "rows")));
}

static int print_all(struct leat_cli *cli, const char *text) {
    json_t *pins = json_loads(text, 0, NULL), *pin;
    size_t i;
    if (cli->json)
        puts(text);
    else if (!json_array_size(pins))
        puts("no pins; 'leat pin TABLE VERSION v AS name' makes one");
    else
        json_array_foreach(pins, i, pin) print_pin(pin);
    json_decref(pins);
    return LEAT_EXIT_OK;
}

/* TABLE [VERSION v] [AS name]; false: said what is wrong. */
static bool read_words(struct leat_cli *cli, struct leat_pin_options *out) {
    for (int i = 1; i < cli->argument_count; i += 2) {
        const char *word = cli->arguments[i], *value = i + 1 < cli->argument_count ? cli->arguments[i + 1] : NULL;
        char *end = NULL;
        if (value && strcasecmp(word, "AS") == 0) {
            out->name = value;
        } else if (value && strcasecmp(word, "VERSION") == 0) {
            out->version = strtoll(value, &end, 10);
            if (!*value || *end || out->version < 0) {
                fprintf(stderr, "leat pin: '%s' is no version; 'leat status' shows a table's newest\n", value);
                return false;
            }
        } else {
            fprintf(stderr, "leat pin: '%s' is not understood here; write: leat pin TABLE VERSION 3 AS name\n", word);
            return false;
        }
    }
    return true;
}

static int pin(struct leat_cli *cli, struct leat_engine *engine, struct leat_error *err) {
    struct leat_pin_options options = {.version = -1, .seed = cli->given[OPTION_SEED] ? cli->values[OPTION_SEED].text : NULL};
    struct leat_object_ref ref;
    struct leat_buffer text = {0};
    char *made_up = NULL;
    const struct leat_project *project = leat_engine_project(engine);
    if (!read_words(cli, &options)) return LEAT_EXIT_USAGE;
    if (!leat_project_find(project, cli->arguments[0], &ref) || ref.kind != LEAT_OBJECT_TABLE) {
        leat_cli_no_object(project, LEAT_OBJECT_TABLE, cli->arguments[0]);
        return LEAT_EXIT_USAGE;
    }
    options.table = ref.index;
    if (!options.name && options.version < 0) {
        fputs("leat pin: say which: leat pin TABLE VERSION v, or AS name for the newest\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    if (!options.name) options.name = made_up = leat_asprintf("%s_v%lld", project->tables[ref.index].name, (long long)options.version);
    enum leat_status st = leat_engine_pin(engine, &options, &text, err);
    if (st == LEAT_OK && cli->json) puts(text.data);
    if (st == LEAT_OK && !cli->json) {
        json_t *manifest = json_loads(text.data, 0, NULL);
        print_pin(manifest);
        const char *note = json_string_value(json_object_get(manifest, "note"));
        if (note) printf("    without its SQL: %s\n", note);
        printf("    %s/pins/%s\n", leat_engine_lake_dir(engine), options.name);
        json_decref(manifest);
    }
    leat_buffer_deinit(&text);
    free(made_up);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(err);
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.read_only = true};
    struct leat_engine *engine;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    enum leat_status st = LEAT_OK;
    if (cli->given[OPTION_DROP] && cli->argument_count) {
        fputs("leat pin: --drop NAME stands alone\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    if (cli->given[OPTION_DROP])
        st = leat_engine_unpin(engine, cli->values[OPTION_DROP].text, &err);
    else if (cli->argument_count)
        code = pin(cli, engine, &err);
    else if ((st = leat_engine_pins(engine, &text, &err)) == LEAT_OK)
        code = print_all(cli, text.data);
    leat_buffer_deinit(&text);
    leat_engine_close(engine);
    return st == LEAT_OK ? code : leat_cli_failed(&err);
}

const struct leat_command leat_command_pin = {
    .name = "pin", .arguments = "[TABLE [VERSION v] [AS name]]", .max_arguments = 5, .summary = "keep a version of a table for good, under a name",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Keeps the version (the newest, if only a name is given) as lake/pins/NAME: a Delta table of its own that nothing changes or vacuums. Its\n"
             "files are hard links, so it costs space only for what the table itself no longer has. _pin.json beside it says what made it: the SQL with\n"
             "its views, the versions of all inputs, the seed. 'leat sql' reads it by its name. Without TABLE, lists the pins.",
    .run = run,
};
