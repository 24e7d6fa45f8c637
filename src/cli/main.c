#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "connect/odbc.h"
#include "data/value.h"
#include "serve/query_child.h"

static const struct leat_command *const COMMANDS[] = {
    &leat_command_check, &leat_command_explain, &leat_command_run, &leat_command_apply, &leat_command_alter, &leat_command_status, &leat_command_sql,
    &leat_command_verify, &leat_command_restate, &leat_command_advise,
    &leat_command_rehearse, &leat_command_diff, &leat_command_cost, &leat_command_rebuild, &leat_command_retry_dead, &leat_command_redecode,
    &leat_command_feed, &leat_command_generate, &leat_command_reference,
    &leat_command_backup, &leat_command_restore,
    &leat_command_pin, &leat_command_new, &leat_command_demo,
    &leat_command_connectors, &leat_command_completion,
};
enum { COMMAND_COUNT = sizeof COMMANDS / sizeof *COMMANDS, OPTIONS_MAX = 64, ARGUMENTS_MAX = 64 };

static const struct leat_option_spec GLOBAL[] = {
    {.name = "project", .type = LEAT_OPTION_PATH, .default_text = ".", .prose = "The project's folder, of .sql files."},
    {.name = "json", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Print JSON for programs instead of text for people."},
    {.name = "verbose", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Say more about what happens."},
    {.name = "log", .type = LEAT_OPTION_ENUM, .choices = (const char *const[]){"text", "json", NULL}, .default_text = "text",
     .prose = "How lines of the log on stderr look: for people, or JSON with time, level and message."},
    {.name = "help", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Show this help."},
};
enum { GLOBAL_PROJECT, GLOBAL_JSON, GLOBAL_VERBOSE, GLOBAL_LOG, GLOBAL_HELP, GLOBAL_COUNT };

size_t leat_command_option_count(const struct leat_command *command) {
    return command->option_count_at ? *command->option_count_at : command->option_count;
}

const struct leat_command *const *leat_cli_commands(size_t *count) {
    *count = COMMAND_COUNT;
    return COMMANDS;
}

const struct leat_option_spec *leat_cli_globals(size_t *count) {
    *count = GLOBAL_COUNT;
    return GLOBAL;
}

void leat_cli_say(struct leat_cli *cli, const char *format, ...) {
    va_list args;
    char line[1024];
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (cli->env.log)
        cli->env.log(&cli->env, LEAT_LOG_INFO, line);
    else
        fprintf(stderr, "%s\n", line);
}

const char *leat_cli_span(int64_t us, char out[LEAT_SPAN_BYTES]) {
    long long s = us / 1000000;
    if (s < 100)
        snprintf(out, LEAT_SPAN_BYTES, "%lld s", s);
    else if (s < 6000)
        snprintf(out, LEAT_SPAN_BYTES, "%lld min", s / 60);
    else if (s < 48 * 3600)
        snprintf(out, LEAT_SPAN_BYTES, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        snprintf(out, LEAT_SPAN_BYTES, "%lld days", s / 86400);
    return out;
}

bool leat_cli_is_terminal(int fd) {
    return isatty(fd) == 1;
}

int leat_cli_failed(const struct leat_error *err) {
    fprintf(stderr, "leat: %s\n", err->text);
    if (err->status == LEAT_BUSY) fputs("    check, explain, sql and status can be used meanwhile\n", stderr);
    if (err->status == LEAT_BUSY) return LEAT_EXIT_BUSY;
    return err->status == LEAT_INVALID || err->status == LEAT_NOT_FOUND ? LEAT_EXIT_USAGE : LEAT_EXIT_FAILED;
}

size_t leat_cli_diagnostics(const struct leat_cli *cli, const struct leat_diagnostics *diags) {
    size_t errors = 0;
    for (size_t i = 0; i < diags->count; i++) {
        const struct leat_diagnostic *d = &diags->items[i];
        errors += !d->warning;
        if (cli->json) continue;
        fputs(d->place.file ? d->place.file : cli->project, stderr);
        if (d->place.line) fprintf(stderr, ":%d:%d", d->place.line, d->place.column);
        fprintf(stderr, ": %s: %s\n", d->warning ? "warning" : "error", d->message);
        if (d->suggestion) fprintf(stderr, "    %s\n", d->suggestion);
    }
    return errors;
}

void leat_cli_no_object(const struct leat_project *project, enum leat_object_kind kind, const char *name) {
    bool table = kind == LEAT_OBJECT_TABLE;
    size_t n = table ? project->table_count : project->source_count;
    const char **names = leat_alloc((n + 1) * sizeof *names);
    for (size_t i = 0; i < n; i++)
        names[i] = table ? project->tables[i].name : project->sources[i].reference ? NULL : project->sources[i].name;
    const char *nearest = leat_nearest(name, names, n);
    fprintf(stderr, "leat: there is no %s '%s'", table ? "materialized table" : "unbounded source", name);
    fprintf(stderr, nearest ? "; did you mean '%s'?\n" : "; see 'leat status'\n", nearest);
    free(names);
}

int leat_cli_open(struct leat_cli *cli, const struct leat_engine_options *given, struct leat_engine **out) {
    struct leat_engine_options options = *given;
    struct leat_diagnostics diags = {0};
    struct leat_error err = {0};
    options.project_dir = cli->project;
    enum leat_status st = leat_engine_open(&cli->env, &options, &diags, out, &err);
    size_t errors = leat_cli_diagnostics(cli, &diags);
    leat_diagnostics_deinit(&diags);
    if (st == LEAT_OK) return LEAT_EXIT_OK;
    return errors ? LEAT_EXIT_NO : leat_cli_failed(&err);
}

bool leat_cli_read_time(const struct leat_cli *cli, const char *command, const struct leat_option_spec *spec, int option, int64_t *out) {
    const char *text = cli->values[option].text;
    int32_t days;
    if (!cli->given[option]) return true;
    if (leat_value_parse_timestamp(text, strlen(text), out) == LEAT_VALUE_OK) return true;
    if (leat_value_parse_date(text, strlen(text), &days) == LEAT_VALUE_OK) {
        *out = (int64_t)days * 86400 * 1000000;
        return true;
    }
    fprintf(stderr, "leat %s: --%s '%s' is no time; write '2026-03-01' or '2026-03-01 12:00:00'\n", command, spec->name, text);
    return false;
}

static void print_usage(FILE *to) {
    fputs("leat keeps SQL tables as fresh as the business needs them, as nightly batch, as a stream, or between.\n\n"
          "Usage: leat COMMAND [options]\n\nCommands:\n", to);
    for (int i = 0; i < COMMAND_COUNT; i++) fprintf(to, "  %-10s %s\n", COMMANDS[i]->name, COMMANDS[i]->summary);
    fputs("\n'leat COMMAND --help' says more about one. Exit codes: 0 done, 1 the answer is no (errors or differences found),\n"
          "2 wrong usage, 3 failed, 4 another leat holds the project.\n", to);
}

static void print_help(const struct leat_command *command) {
    struct leat_buffer text = {0};
    printf("Usage: leat %s [options]%s%s\n\n%s\n", command->name, command->arguments[0] ? " " : "", command->arguments, command->prose);
    leat_put(&text, "\nOptions:\n");
    leat_options_help(command->options, leat_command_option_count(command), &text);
    leat_options_help(GLOBAL, GLOBAL_COUNT, &text);
    fputs(text.data, stdout);
    leat_buffer_deinit(&text);
}

struct parse {
    const struct leat_command *command;
    struct leat_option_value values[OPTIONS_MAX], global[GLOBAL_COUNT];
    bool given[OPTIONS_MAX];
    const char *arguments[ARGUMENTS_MAX];
    int argument_count;
};

/* --max-step-rows and --max_step_rows are one; people read the first. */
static void respell(char *name, char from, char to) {
    for (; *name; name++)
        if (*name == from) *name = to;
}

static int unknown_option(const struct leat_command *command, const char *name) {
    const char *nearest = leat_option_nearest(command->options, leat_command_option_count(command), name);
    if (!nearest) nearest = leat_option_nearest(GLOBAL, GLOBAL_COUNT, name);
    char *shown = leat_strdup(name), *likely = nearest ? leat_strdup(nearest) : NULL;
    respell(shown, '_', '-');
    fprintf(stderr, "leat %s: unknown option --%s; ", command->name, shown);
    if (likely) {
        respell(likely, '_', '-');
        fprintf(stderr, "did you mean --%s?\n", likely);
    } else {
        fprintf(stderr, "see 'leat %s --help'\n", command->name);
    }
    free(shown);
    free(likely);
    return LEAT_EXIT_USAGE;
}

static int parse_option(struct parse *p, char **argv, int argc, int *at) {
    char name[64];
    const char *text = argv[*at] + 2, *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : strlen(text);
    struct leat_error err = {0};
    if (length >= sizeof name) length = sizeof name - 1;
    memcpy(name, text, length);
    name[length] = 0;
    respell(name, '-', '_');
    const struct leat_option_spec *spec = leat_option_find(p->command->options, leat_command_option_count(p->command), name);
    struct leat_option_value *into = spec ? &p->values[spec - p->command->options] : NULL;
    if (!spec && (spec = leat_option_find(GLOBAL, GLOBAL_COUNT, name))) into = &p->global[spec - GLOBAL];
    if (!spec) return unknown_option(p->command, name);
    const char *value = equals ? equals + 1 : NULL;
    if (!value && spec->type == LEAT_OPTION_BOOL) value = "true";
    if (!value && *at + 1 < argc) value = argv[++*at];
    respell(name, '_', '-');
    if (!value) {
        fprintf(stderr, "leat %s: --%s needs a value\n", p->command->name, name);
        return LEAT_EXIT_USAGE;
    }
    if (into >= p->values && into < p->values + OPTIONS_MAX) p->given[into - p->values] = true;
    if (leat_option_parse(spec, value, into, &err) != LEAT_OK) {
        const char *reason = strstr(err.text, "': "); /* behind the option's name */
        fprintf(stderr, "leat %s: --%s: %s\n", p->command->name, name, reason ? reason + 3 : err.text);
        return LEAT_EXIT_USAGE;
    }
    return LEAT_EXIT_OK;
}

static int parse_line(struct parse *p, int argc, char **argv) {
    for (size_t i = 0; i < leat_command_option_count(p->command); i++) p->values[i] = leat_option_default(&p->command->options[i]);
    for (int i = 0; i < GLOBAL_COUNT; i++) p->global[i] = leat_option_default(&GLOBAL[i]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0) {
            p->global[GLOBAL_HELP].number = 1;
        } else if (argv[i][0] == '-' && argv[i][1] == '-' && argv[i][2] > ' ') { /* "-- text" is SQL */
            int code = parse_option(p, argv, argc, &i);
            if (code != LEAT_EXIT_OK) return code;
        } else if (p->argument_count < ARGUMENTS_MAX) {
            p->arguments[p->argument_count++] = argv[i];
        }
    }
    if (p->global[GLOBAL_HELP].number) return LEAT_EXIT_OK;
    if (p->argument_count < p->command->min_arguments || p->argument_count > p->command->max_arguments) {
        bool more = p->argument_count > p->command->max_arguments;
        fprintf(stderr, "leat %s: %s%s%s\nUsage: leat %s [options] %s\n", p->command->name,
                more ? "one argument too many, '" : "an argument is missing", more ? p->arguments[p->command->max_arguments] : "",
                more ? "'; quote what has spaces" : "", p->command->name, p->command->arguments);
        return LEAT_EXIT_USAGE;
    }
    return LEAT_EXIT_OK;
}

int main(int argc, char **argv) {
    static struct parse p;
    const char *names[COMMAND_COUNT];
    static char help[] = "--help";
    if (argc == 3 && strcmp(argv[1], "help") == 0) argv[1] = argv[2], argv[2] = help;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? LEAT_EXIT_USAGE : LEAT_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("leat " LEAT_VERSION);
        return LEAT_EXIT_OK;
    }
    if (argc == 2 && strcmp(argv[1], "odbc-rows") == 0) return (signal(SIGPIPE, SIG_IGN), leat_odbc_main()); /* started by leat itself */
    if (argc == 2 && strcmp(argv[1], "sql-queries") == 0) return (signal(SIGPIPE, SIG_IGN), leat_query_main());
    if (argv[1][0] == '-') {
        fprintf(stderr, "leat: the command comes first, options behind it: leat COMMAND %s ...\n", argv[1]);
        return LEAT_EXIT_USAGE;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = COMMANDS[i]->name;
        if (strcmp(argv[1], COMMANDS[i]->name) == 0) p.command = COMMANDS[i];
    }
    if (!p.command) {
        const char *nearest = leat_nearest(argv[1], names, COMMAND_COUNT);
        fprintf(stderr, "leat: unknown command '%s'", argv[1]);
        fprintf(stderr, nearest ? "; did you mean '%s'?\n" : "; see 'leat --help'\n", nearest);
        return LEAT_EXIT_USAGE;
    }
    int code = parse_line(&p, argc, argv);
    if (code != LEAT_EXIT_OK) return code;
    if (p.global[GLOBAL_HELP].number) {
        print_help(p.command);
        return LEAT_EXIT_OK;
    }
    struct leat_cli cli = {.project = p.global[GLOBAL_PROJECT].text,
                           .json = p.global[GLOBAL_JSON].number,
                           .values = p.values,
                           .given = p.given,
                           .arguments = p.arguments,
                           .argument_count = p.argument_count};
    /* Steps allocate and free the same large blocks again and again: keep them instead of asking the kernel for zeroed
     * pages each time. leat_engine_run gives them back when idle. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    leat_env_real(&cli.env);
    cli.env.log_level = p.global[GLOBAL_VERBOSE].number ? LEAT_LOG_INFO : LEAT_LOG_WARN;
    if (p.global[GLOBAL_LOG].number) cli.env.log = leat_log_json;
    signal(SIGPIPE, SIG_IGN);
    code = p.command->run(&cli);
    if (fflush(stdout) != 0 && code == LEAT_EXIT_OK) code = LEAT_EXIT_FAILED;
    return code;
}
