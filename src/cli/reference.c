/* leat reference: the reference documentation, rendered from the tables that the program itself uses: markdown pages and man pages. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "connect/sink.h"
#include "project/tables.h"
#include "serve/metrics.h"

/* ---- man pages: roff --------------------------------------------------------------------------------------------------- */

/* Text as it is: backslashes, hyphens of options, and lines that begin with what roff takes for a request. Markdown's backquotes become bold. */
static void put_roff(const char *text, struct leat_buffer *out) {
    bool bold = false, begins = true;
    for (; *text; text++) {
        if (begins && (*text == '.' || *text == '\'')) leat_put(out, "\\&");
        begins = *text == '\n';
        if (*text == '\\')
            leat_put(out, "\\e");
        else if (*text == '-')
            leat_put(out, "\\-");
        else if (*text == '`')
            leat_put(out, (bold = !bold) ? "\\fB" : "\\fR");
        else
            leat_putn(out, text, 1);
    }
    if (bold) leat_put(out, "\\fR");
}

static void put_value_name(const struct leat_option_spec *spec, struct leat_buffer *out) {
    static const char *const NAMES[] = {[LEAT_OPTION_INT] = "N", [LEAT_OPTION_REAL] = "X", [LEAT_OPTION_SIZE] = "SIZE", [LEAT_OPTION_INTERVAL] = "INTERVAL",
                                        [LEAT_OPTION_TEXT] = "TEXT", [LEAT_OPTION_PATH] = "PATH", [LEAT_OPTION_SECRET] = "SECRET"};
    if (spec->type == LEAT_OPTION_ENUM)
        for (size_t i = 0; spec->choices[i]; i++) leat_putf(out, "%s%s", i ? "|" : "", spec->choices[i]);
    else
        leat_put(out, spec->type == LEAT_OPTION_BOOL ? "true|false" : NAMES[spec->type]);
}

/* dashes: as the command line spells it */
static void put_man_option(const struct leat_option_spec *spec, bool dashes, struct leat_buffer *out) {
    leat_put(out, ".TP\n\\fB");
    if (dashes) leat_put(out, "\\-\\-");
    for (const char *c = spec->name; *c; c++) leat_put(out, dashes && *c == '_' ? "\\-" : (const char[]){*c, 0});
    leat_put(out, "\\fR");
    if (!dashes || spec->type != LEAT_OPTION_BOOL) {
        leat_put(out, " \\fI");
        put_value_name(spec, out);
        leat_put(out, "\\fR");
    }
    leat_put(out, "\n");
    put_roff(spec->prose, out);
    if (spec->default_text && *spec->default_text && spec->type != LEAT_OPTION_BOOL) {
        leat_put(out, " Default: \\fB");
        put_roff(spec->default_text, out);
        leat_put(out, "\\fR.");
    }
    leat_put(out, "\n");
}

static void put_man_command(const struct leat_command *command, struct leat_buffer *out) {
    leat_putf(out, ".SS leat %s\n.B leat %s\n[options] ", command->name, command->name);
    put_roff(command->arguments, out);
    leat_put(out, "\n.PP\n");
    put_roff(command->prose, out);
    leat_put(out, "\n");
    for (size_t i = 0; i < leat_command_option_count(command); i++) put_man_option(&command->options[i], true, out);
}

static void put_man_leat(struct leat_buffer *out) {
    size_t count, globals;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    leat_put(out, ".TH LEAT 1 \"\" \"leat " LEAT_VERSION "\" \"User Commands\"\n.SH NAME\nleat \\- SQL tables kept as fresh as the business needs them\n.SH SYNOPSIS\n.B leat\n"
                  "\\fICOMMAND\\fR [options]\n.SH DESCRIPTION\nA project is a folder of .sql files that declare sources, tables, sinks and checks. leat keeps each table as fresh as it asks, as\n"
                  "nightly batch, as a stream, or between, over one lake of Delta tables.\n.SH OPTIONS OF EVERY COMMAND\n");
    for (size_t i = 0; i < globals; i++) put_man_option(&global[i], true, out);
    leat_put(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < count; i++) put_man_command(commands[i], out);
    leat_put(out, ".SH EXIT STATUS\n0 done; 1 the answer is no (errors or differences found); 2 wrong usage; 3 failed; 4 another leat holds the project.\n"
                  ".SH ENVIRONMENT\n.TP\n.B LEAT_TOKENS\nWho may use HTTP: lines of roles, token and, where it is to end, its time.\n.TP\n.I NAME\nAny that a project's files\n"
                  "name as ${NAME}.\n.SH FILES\n.TP\n.I PROJECT/.leat\nThe work folder: log, journal, state.\n.TP\n.I PROJECT/lake\nThe tables.\n.SH SEE ALSO\n.BR leat\\-settings (5)\n");
}

static void put_man_settings(struct leat_buffer *out) {
    leat_put(out, ".TH LEAT\\-SETTINGS 5 \"\" \"leat " LEAT_VERSION "\" \"File Formats\"\n.SH NAME\nleat\\-settings \\- settings of a leat project\n.SH SYNOPSIS\n.B SET\n"
                  "\\fIname\\fR = \\fIvalue\\fR;\n.SH DESCRIPTION\n");
    put_roff(leat_settings_table.prose, out);
    leat_put(out, "\n.SH SETTINGS\n");
    for (size_t i = 0; i < leat_settings_table.count; i++) put_man_option(&leat_settings_table.specs[i], false, out);
    leat_put(out, ".SH SEE ALSO\n.BR leat (1)\n");
}

/* ---- the pages --------------------------------------------------------------------------------------------------------- */

static void put_commands(struct leat_buffer *out) {
    size_t count, globals;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    leat_put(out, "# Commands\n\n`leat COMMAND [options]`. Options are spelled with dashes: `--max-step-rows`. Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 failed, "
                  "4 another leat holds the project.\n\n## Options of every command\n\n");
    leat_options_markdown(global, globals, out);
    for (size_t i = 0; i < count; i++) {
        leat_putf(out, "\n## leat %s%s%s\n\n%s\n\n", commands[i]->name, *commands[i]->arguments ? " " : "", commands[i]->arguments, commands[i]->prose);
        if (leat_command_option_count(commands[i])) leat_options_markdown(commands[i]->options, leat_command_option_count(commands[i]), out);
    }
}

enum { PAGE_ALL, PAGE_COUNT = 8 };
static const char *const PAGES[PAGE_COUNT + 1] = {"all", "settings", "connectors", "sinks", "metrics", "commands", "leat.1", "leat-settings.5", NULL};
static void (*const PUT[PAGE_COUNT])(struct leat_buffer *) = {NULL, leat_reference_settings, leat_reference_connectors, leat_reference_sinks,
                                                            leat_reference_metrics, put_commands, put_man_leat, put_man_settings};
enum { MARKDOWN_END = 4 }; /* of "all": those that docs/reference has from here */

static const struct leat_option_spec OPTIONS[] = {
    {.name = "page", .type = LEAT_OPTION_ENUM, .choices = PAGES, .default_text = "all", .prose = "One page alone; `leat.1` and `leat-settings.5` are man pages."},
};

static int run(struct leat_cli *cli) {
    struct leat_buffer text = {0};
    int64_t page = cli->values[0].number;
    for (int i = 1; i < PAGE_COUNT; i++)
        if (page == PAGE_ALL ? i < MARKDOWN_END : page == i) PUT[i](&text);
    fputs(text.data, stdout);
    leat_buffer_deinit(&text);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_reference = {
    .name = "reference", .arguments = "", .summary = "print settings, connector options, metrics and commands as markdown, or as man pages",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Prints the reference of all settings and connector options, from the same tables the parser uses; with --page another page.",
    .run = run,
};
