/* leat completion: what a shell needs to complete the command line, from the tables that the command line itself is parsed by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static void put_option_name(const struct leat_option_spec *spec, struct leat_buffer *out) {
    leat_put(out, "--");
    for (const char *c = spec->name; *c; c++) leat_putn(out, *c == '_' ? "-" : c, 1);
}

/* The options of a command and those of all, words apart by spaces. */
static void put_options(const struct leat_command *command, struct leat_buffer *out) {
    size_t globals;
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    for (size_t i = 0; i < leat_command_option_count(command); i++) {
        put_option_name(&command->options[i], out);
        leat_put(out, " ");
    }
    for (size_t i = 0; i < globals; i++) {
        put_option_name(&global[i], out);
        leat_put(out, i + 1 < globals ? " " : "");
    }
}

static void put_choices(const struct leat_option_spec *spec, struct leat_buffer *out) {
    for (size_t i = 0; spec->choices[i]; i++) leat_putf(out, "%s%s", i ? " " : "", spec->choices[i]);
}

static bool is_file(const struct leat_option_spec *spec) {
    return spec->type == LEAT_OPTION_PATH;
}

static bool takes_value(const struct leat_option_spec *spec) {
    return spec->type != LEAT_OPTION_BOOL;
}

/* In quotes of sh: ' becomes '\''. */
static void put_quoted(const char *text, struct leat_buffer *out) {
    leat_put(out, "'");
    for (; *text; text++) leat_putn(out, *text == '\'' ? "'\\''" : text, *text == '\'' ? 4 : 1);
    leat_put(out, "'");
}

static void put_command_names(struct leat_buffer *out) {
    size_t count;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    for (size_t i = 0; i < count; i++) leat_putf(out, "%s%s", i ? " " : "", commands[i]->name);
}

/* ---- bash -------------------------------------------------------------------------------------------------------------- */

static void put_bash_values(const char *command, const struct leat_option_spec *spec, struct leat_buffer *out) {
    if (!takes_value(spec)) return;
    leat_putf(out, "    %s:", command);
    put_option_name(spec, out);
    leat_put(out, ") ");
    if (spec->type == LEAT_OPTION_ENUM) {
        leat_put(out, "COMPREPLY=($(compgen -W \"");
        put_choices(spec, out);
        leat_put(out, "\" -- \"$cur\"))");
    } else {
        leat_put(out, is_file(spec) ? "COMPREPLY=($(compgen -f -- \"$cur\"))" : "COMPREPLY=()");
    }
    leat_put(out, "; return ;;\n");
}

static void put_bash(struct leat_buffer *out) {
    size_t count, globals;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    leat_put(out, "# bash completion of leat\n_leat() {\n  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                  "  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W \"");
    put_command_names(out);
    leat_put(out, " --help --version\" -- \"$cur\"))\n    return\n  fi\n  case ${COMP_WORDS[1]}:$prev in\n");
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < leat_command_option_count(commands[i]); k++) put_bash_values(commands[i]->name, &commands[i]->options[k], out);
    for (size_t k = 0; k < globals; k++) put_bash_values("*", &global[k], out);
    leat_put(out, "  esac\n  case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < count; i++) {
        leat_putf(out, "    %s) words=\"", commands[i]->name);
        put_options(commands[i], out);
        leat_put(out, "\" ;;\n");
    }
    leat_put(out, "  esac\n  case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n  esac\n}\n"
                  "complete -o filenames -F _leat leat\n");
}

/* ---- zsh --------------------------------------------------------------------------------------------------------------- */

/* The prose's first sentence, without what has a meaning in zsh's descriptions. */
static void put_zsh_prose(const char *prose, struct leat_buffer *out) {
    for (const char *c = prose; *c && *c != '.'; c++) {
        if (strchr("[]:\\", *c)) continue;
        leat_putn(out, *c == '\n' ? " " : c, 1);
    }
}

static void put_zsh_option(const struct leat_option_spec *spec, struct leat_buffer *out) {
    struct leat_buffer text = {0};
    put_option_name(spec, &text);
    leat_put(&text, takes_value(spec) ? "=[" : "[");
    put_zsh_prose(spec->prose, &text);
    leat_put(&text, "]");
    if (takes_value(spec)) leat_putf(&text, ":%s:", spec->name);
    if (spec->type == LEAT_OPTION_ENUM) {
        leat_put(&text, "(");
        put_choices(spec, &text);
        leat_put(&text, ")");
    } else if (is_file(spec)) {
        leat_put(&text, "_files");
    }
    leat_put(out, " ");
    put_quoted(text.data, out);
    leat_buffer_deinit(&text);
}

static void put_zsh(struct leat_buffer *out) {
    size_t count, globals;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    leat_put(out, "#compdef leat\n_leat() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(");
    for (size_t i = 0; i < count; i++) {
        struct leat_buffer text = {0};
        leat_putf(&text, "%s:", commands[i]->name);
        put_zsh_prose(commands[i]->summary, &text);
        leat_put(out, "\n      ");
        put_quoted(text.data, out);
        leat_buffer_deinit(&text);
    }
    leat_put(out, ")\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n");
    for (size_t i = 0; i < count; i++) {
        leat_putf(out, "    %s) shift words; (( CURRENT-- )); _arguments -s", commands[i]->name);
        for (size_t k = 0; k < leat_command_option_count(commands[i]); k++) put_zsh_option(&commands[i]->options[k], out);
        for (size_t k = 0; k < globals; k++) put_zsh_option(&global[k], out);
        leat_put(out, " '*:file:_files' ;;\n");
    }
    leat_put(out, "  esac\n}\n_leat \"$@\"\n");
}

/* ---- fish -------------------------------------------------------------------------------------------------------------- */

static void put_fish_option(const char *condition, const struct leat_option_spec *spec, struct leat_buffer *out) {
    struct leat_buffer prose = {0}, name = {0}, choices = {0};
    leat_put(&prose, "");
    put_zsh_prose(spec->prose, &prose);
    put_option_name(spec, &name);
    leat_putf(out, "complete -c leat%s -l %s", condition, name.data + 2);
    if (takes_value(spec)) leat_put(out, is_file(spec) ? " -r -F" : " -x");
    if (spec->type == LEAT_OPTION_ENUM) {
        put_choices(spec, &choices);
        leat_put(out, " -a ");
        put_quoted(choices.data, out);
    }
    leat_put(out, " -d ");
    put_quoted(prose.data, out);
    leat_put(out, "\n");
    leat_buffer_deinit(&prose);
    leat_buffer_deinit(&name);
    leat_buffer_deinit(&choices);
}

static void put_fish(struct leat_buffer *out) {
    size_t count, globals;
    const struct leat_command *const *commands = leat_cli_commands(&count);
    const struct leat_option_spec *global = leat_cli_globals(&globals);
    leat_put(out, "# fish completion of leat\n");
    for (size_t i = 0; i < count; i++) {
        leat_putf(out, "complete -c leat -n __fish_use_subcommand -f -a %s -d ", commands[i]->name);
        put_quoted(commands[i]->summary, out);
        leat_put(out, "\n");
        char *condition = leat_asprintf(" -n '__fish_seen_subcommand_from %s'", commands[i]->name);
        for (size_t k = 0; k < leat_command_option_count(commands[i]); k++) put_fish_option(condition, &commands[i]->options[k], out);
        free(condition);
    }
    for (size_t k = 0; k < globals; k++) put_fish_option("", &global[k], out);
}

static int run(struct leat_cli *cli) {
    static const struct { const char *name; void (*put)(struct leat_buffer *); } SHELLS[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};
    for (size_t i = 0; i < sizeof SHELLS / sizeof *SHELLS; i++) {
        struct leat_buffer text = {0};
        if (strcmp(cli->arguments[0], SHELLS[i].name) != 0) continue;
        SHELLS[i].put(&text);
        fputs(text.data, stdout);
        leat_buffer_deinit(&text);
        return LEAT_EXIT_OK;
    }
    fprintf(stderr, "leat completion: '%s' is none of bash, zsh, fish\n", cli->arguments[0]);
    return LEAT_EXIT_USAGE;
}

const struct leat_command leat_command_completion = {
    .name = "completion", .arguments = "bash|zsh|fish", .min_arguments = 1, .max_arguments = 1, .summary = "print what a shell needs to complete leat's command line",
    .prose = "Prints a completion script. bash: eval \"$(leat completion bash)\" in ~/.bashrc; zsh: into a file _leat of $fpath; fish: into\n"
             "~/.config/fish/completions/leat.fish. The Debian package brings all three.",
    .run = run,
};
