/* The command line: one file per command, one descriptor each; main.c parses by the option tables.
 *
 * Exit codes: 0 done; 1 the answer is no (check found errors, verify found differing rows); 2 wrong usage;
 * 3 failed (disk, data, DuckDB); 4 another leat holds the project. */
#ifndef LEAT_CLI_CLI_H
#define LEAT_CLI_CLI_H

#include "base/env.h"
#include "base/options.h"
#include "engine/engine.h"

enum { LEAT_EXIT_OK = 0, LEAT_EXIT_NO = 1, LEAT_EXIT_USAGE = 2, LEAT_EXIT_FAILED = 3, LEAT_EXIT_BUSY = 4 };

struct leat_cli {
    struct leat_env env;
    const char *project;                   /* --project DIR, default "." */
    bool json;                             /* --json */
    const struct leat_option_value *values; /* in the order of the command's options; defaults filled in */
    const bool *given;
    const char *const *arguments;          /* positional */
    int argument_count;
};
struct leat_command {
    const char *name, *arguments, *summary; /* arguments: "[TABLE]" for the usage line */
    int min_arguments, max_arguments;
    const struct leat_option_spec *options;
    size_t option_count;
    const size_t *option_count_at;         /* instead, where the table is another folder's */
    const char *prose;                     /* what --help says below the usage line */
    int (*run)(struct leat_cli *);
};
extern const struct leat_command leat_command_check, leat_command_explain, leat_command_run, leat_command_status, leat_command_sql,
    leat_command_verify, leat_command_apply, leat_command_alter, leat_command_restate, leat_command_advise, leat_command_rehearse, leat_command_diff, leat_command_cost, leat_command_feed, leat_command_generate, leat_command_reference,
    leat_command_rebuild, leat_command_retry_dead, leat_command_redecode;
extern const struct leat_command leat_command_backup, leat_command_restore;
extern const struct leat_command leat_command_pin, leat_command_new, leat_command_demo,
    leat_command_connectors, leat_command_completion;

size_t leat_command_option_count(const struct leat_command *);
const struct leat_command *const *leat_cli_commands(size_t *count);
const struct leat_option_spec *leat_cli_globals(size_t *count); /* options of every command */
/* Something to know that no error is: a line on stderr, as the log has it where that is JSON. */
void leat_cli_say(struct leat_cli *, const char *format, ...) LEAT_PRINTF(2, 3);
/* Prints the error, returns the exit code for it. */
int leat_cli_failed(const struct leat_error *);
/* Prints diagnostics file:line:column; returns how many are errors. */
size_t leat_cli_diagnostics(const struct leat_cli *, const struct leat_diagnostics *);
/* Opens the engine, printing what is wrong: LEAT_EXIT_OK or the exit code. */
int leat_cli_open(struct leat_cli *, const struct leat_engine_options *, struct leat_engine **out);
/* Says that there is no such table, or no such source that can be fed, and which name is near. */
void leat_cli_no_object(const struct leat_project *, enum leat_object_kind, const char *name);
bool leat_cli_is_terminal(int fd);
/* "3 s", "4 min", "5 h 20 min", "6 days": what a person wants to know. Returns out. */
enum { LEAT_SPAN_BYTES = 48 };
const char *leat_cli_span(int64_t us, char out[LEAT_SPAN_BYTES]);
/* An option that is a timestamp, or a date: its midnight. *out stays where it is not given. False: neither (said). */
bool leat_cli_read_time(const struct leat_cli *, const char *command, const struct leat_option_spec *, int option, int64_t *out);
/* ALTER (sql given), or applies the changed files; by the running process where there is one. Prints the outcome; the exit code. */
int leat_cli_change(struct leat_cli *, const char *sql, bool dry_run);

#endif
