#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"
#include "engine/change/control.h"

enum { OPTION_DRY_RUN };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "dry_run", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Only say what would change and what it would read."},
};

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void print_table(const json_t *table, bool dry_run) {
    static const struct { const char *fate, *would, *did; } WORDS[] = {
        {"moved", "moves to its new freshness; state and content stay", "moved to its new freshness; state and content stayed"},
        {"anew", "is made anew from bronze; what differs is published", "was made anew from bronze; what differs was published"},
        {"new", "is new, made from bronze", "is new, made from bronze"},
        {"suspended", "is suspended: takes no steps and no runs, its input is kept", "is suspended: takes no steps and no runs, its input is kept"},
        {"resumed", "resumes and catches up", "resumed and has caught up"},
        {"scheduled", "goes over to scheduled runs; the content stays, the state goes", "went over to scheduled runs; the content stayed, the state went"},
        {"run", "is run now", "is run now"},
        {"again", "is run whole, as its query or what it reads has changed", "is run whole, as its query or what it reads has changed"},
        {"thaws", "stays as it is until its next run", "stays as it is until its next run"},
        {"part", "is refreshed where the condition holds", "was refreshed where the condition holds"},
        {"gone", "is no longer kept; its Delta table stays in the lake", "is no longer kept; its Delta table stays in the lake"},
    };
    const char *fate = json_string_value(json_object_get(table, "fate"));
    const json_t *reads = json_object_get(table, "reads");
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        if (strcmp(fate, WORDS[i].fate) != 0) continue;
        printf("%s %s", json_string_value(json_object_get(table, "table")), dry_run ? WORDS[i].would : WORDS[i].did);
        if (number(reads, "rows"))
            printf(" (%lld rows, %.1f MB of Parquet)", (long long)number(reads, "rows"), (double)number(reads, "bytes") / 1e6);
        if (json_object_get(table, "thaws")) fputs(!dry_run && strcmp(fate, "anew") == 0 ? "; frozen rows have thawed" : "; frozen rows thaw, and change with it", stdout);
        if (json_object_get(table, "frozen_before_us") && strcmp(fate, "anew") == 0) printf(dry_run ? "; frozen rows stay" : "; frozen rows stayed");
        if (!dry_run && json_object_get(table, "changes"))
            printf(": %lld row%s of change", (long long)number(table, "changes"), number(table, "changes") == 1 ? "" : "s");
        putchar('\n');
    }
}

static void print_plan(const json_t *plan, bool dry_run) {
    json_t *table;
    size_t i, kept = 0;
    json_array_foreach(json_object_get(plan, "tables"), i, table) {
        const char *fate = json_string_value(json_object_get(table, "fate"));
        kept += strcmp(fate, "kept") == 0 || strcmp(fate, "batch") == 0;
        print_table(table, dry_run);
    }
    if (kept) printf("%zu table%s %s\n", kept, kept == 1 ? "" : "s", kept == 1 ? "stays as it is" : "stay as they are");
    if (!dry_run && json_object_get(plan, "ms")) printf("done in %.1f s\n", (double)number(plan, "ms") / 1000.0);
}

/* The outcome of a request, here or in the running process. */
static int finish(struct leat_cli *cli, const json_t *plan, const char *findings, const struct leat_error *err, bool dry_run) {
    if (findings && *findings) fputs(findings, stderr);
    if (err->status != LEAT_OK) return findings && *findings ? LEAT_EXIT_NO : leat_cli_failed(err);
    if (cli->json) {
        char *text = json_dumps(plan, JSON_INDENT(1));
        puts(text);
        free(text);
    } else {
        print_plan(plan, dry_run);
    }
    return LEAT_EXIT_OK;
}

static int here(struct leat_cli *cli, const char *sql, bool dry_run) {
    struct leat_engine_options options = {.as_applied = true};
    struct leat_engine *engine;
    struct leat_diagnostics diags = {0};
    struct leat_buffer text = {0}, findings = {0};
    struct leat_error err = {0};
    const struct leat_change change = {.dry_run = dry_run};
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    enum leat_status st = sql ? leat_engine_alter(engine, sql, dry_run, &diags, &text, &err) : leat_engine_apply(engine, &change, &diags, &text, &err);
    if (st == LEAT_OK) err.status = LEAT_OK;
    leat_engine_close(engine);
    leat_diagnostics_print(&diags, &findings);
    json_t *plan = text.data ? json_loads(text.data, 0, NULL) : NULL;
    code = finish(cli, plan, findings.data, &err, dry_run);
    json_decref(plan);
    leat_diagnostics_deinit(&diags);
    leat_buffer_deinit(&findings);
    leat_buffer_deinit(&text);
    return code;
}

int leat_cli_change(struct leat_cli *cli, const char *sql, bool dry_run) {
    json_t *request = json_pack("{s:s,s:b}", "do", sql ? "alter" : "apply", "dry_run", (int)dry_run);
    struct leat_buffer reply = {0};
    struct leat_error err = {0};
    if (sql) json_object_set_new(request, "sql", json_string(sql));
    char *text = json_dumps(request, JSON_COMPACT), *work = leat_asprintf("%s/.leat", cli->project);
    enum leat_status st = leat_control_ask(&cli->env, work, text, INT64_MAX, &reply, &err);
    free(text);
    free(work);
    json_decref(request);
    if (st == LEAT_NOT_FOUND) return here(cli, sql, dry_run);
    if (st != LEAT_OK) return leat_cli_failed(&err);
    json_t *answer = json_loads(reply.data ? reply.data : "", 0, NULL);
    err = (struct leat_error){.status = (enum leat_status)number(answer, "status")};
    const char *why = json_string_value(json_object_get(answer, "error"));
    snprintf(err.text, sizeof err.text, "%s", why ? why : "");
    int code = finish(cli, json_object_get(answer, "answer"), json_string_value(json_object_get(answer, "diagnostics")), &err, dry_run);
    json_decref(answer);
    leat_buffer_deinit(&reply);
    return code;
}

static int run_apply(struct leat_cli *cli) {
    return leat_cli_change(cli, NULL, cli->values[OPTION_DRY_RUN].number);
}

static int run_alter(struct leat_cli *cli) {
    return leat_cli_change(cli, cli->arguments[0], cli->values[OPTION_DRY_RUN].number);
}

const struct leat_command leat_command_apply = {
    .name = "apply", .arguments = "", .summary = "take the project's changed files over; --dry-run: say what would change",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Compares the .sql files with the project that was applied last, and says for each table what changes and how many rows of bronze that\n"
             "reads; then takes the files over, at once or not at all. Tables whose query did not change keep state and content, whatever their\n"
             "freshness is now; others are built beside and published as a difference. A 'leat run' beside it takes the change over between two\n"
             "steps and goes on; without one this command does it. ('leat run' applies changed files at its start by itself.)",
    .run = run_apply,
};
const struct leat_command leat_command_alter = {
    .name = "alter", .arguments = "STATEMENT", .min_arguments = 1, .max_arguments = 1, .summary = "ALTER MATERIALIZED TABLE: turn the dial, suspend, resume, refresh",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "ALTER MATERIALIZED TABLE name\n"
             "  SET FRESHNESS = INTERVAL '10' SECOND [BETWEEN '07:00' AND '23:00' ELSE INTERVAL '1' HOUR] | SET FRESHNESS = DOWNSTREAM\n"
             "  SET SCHEDULE CRON '0 2 * * *' [READY BY '07:00'] [AT TIME ZONE 'Europe/Berlin']\n"
             "  AS SELECT ...\n"
             "  SUSPEND | RESUME | REFRESH [PARTITION (condition on the table's columns)]\n"
             "SET and AS rewrite the statement in the project's file, where comments and layout stay, and apply it (see 'leat apply'; other changed\n"
             "files are applied with it). SUSPEND stops the table's steps or runs and keeps its state and input; RESUME catches up. REFRESH runs a\n"
             "scheduled table now, and brings a continuous one up to date. Works beside a 'leat run' and without one. 'leat sql' takes ALTER too.",
    .run = run_alter,
};
