/* leat rebuild, leat retry-dead, leat redecode: what was recorded, computed anew. */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "cli/cli.h"

enum { OPTION_REASON };
static const struct leat_option_spec REBUILD_OPTIONS[] = {
    {.name = "reason", .type = LEAT_OPTION_TEXT, .default_text = "leat rebuild", .prose = "Why; kept with every changed row in TABLE__restatements."}};
static const struct leat_option_spec REDECODE_OPTIONS[] = {
    {.name = "reason", .type = LEAT_OPTION_TEXT, .default_text = "leat redecode", .prose = "Why; kept with every changed row in TABLE__restatements."}};
static const struct leat_option_spec RETRY_OPTIONS[] = {
    {.name = "reason", .type = LEAT_OPTION_TEXT, .default_text = "leat retry-dead", .prose = "Why; kept with every changed row in TABLE__restatements."}};

static void on_progress(void *context, uint64_t records) {
    uint64_t *total = context;
    *total += records;
    if (records) fprintf(stderr, "\r%llu records", (unsigned long long)*total);
}

static void print_tables(const json_t *tables) {
    size_t i;
    json_t *entry;
    json_array_foreach((json_t *)tables, i, entry) {
        long long changes = json_integer_value(json_object_get(entry, "changes"));
        const char *name = json_string_value(json_object_get(entry, "table"));
        if (json_object_get(entry, "rows"))
            printf("%s: run, %lld rows\n", name, json_integer_value(json_object_get(entry, "rows")));
        else
            printf(changes ? "%s: %lld row%s of change\n" : "%s: as it was\n", name, changes, changes == 1 ? "" : "s");
    }
}

typedef enum leat_status rerun(struct leat_engine *, const char *object, const char *reason, struct leat_buffer *out, struct leat_error *);

/* Does it to the table, or the source that is no reference, which the argument names. */
static int run_again(struct leat_cli *cli, enum leat_object_kind kind, rerun *again, void (*print)(const json_t *)) {
    struct leat_engine_options options = {0};
    struct leat_engine *engine;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    struct leat_object_ref ref;
    uint64_t total = 0;
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    if (leat_cli_is_terminal(2)) leat_engine_on_progress(engine, on_progress, &total);
    const struct leat_project *project = leat_engine_project(engine);
    if (!leat_project_find(project, cli->arguments[0], &ref) || ref.kind != kind ||
        (kind == LEAT_OBJECT_SOURCE && project->sources[ref.index].reference)) {
        leat_cli_no_object(project, kind, cli->arguments[0]);
        leat_engine_close(engine);
        return LEAT_EXIT_USAGE;
    }
    enum leat_status st = again(engine, cli->arguments[0], cli->values[OPTION_REASON].text, &text, &err);
    leat_engine_close(engine);
    if (total) fputc('\n', stderr);
    if (st == LEAT_OK && cli->json) {
        puts(text.data);
    } else if (st == LEAT_OK) {
        json_t *json = json_loads(text.data, 0, NULL);
        print(json);
        json_decref(json);
    }
    leat_buffer_deinit(&text);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(&err);
}

static int run_rebuild(struct leat_cli *cli) {
    return run_again(cli, LEAT_OBJECT_TABLE, leat_engine_rebuild, print_tables);
}

static void print_retried(const json_t *json) {
    long long dead = json_integer_value(json_object_get(json, "dead")), usable = json_integer_value(json_object_get(json, "usable"));
    printf("%lld dead letter%s: %lld usable now%s\n", dead, dead == 1 ? "" : "s", usable, usable ? ", admitted" : "");
    print_tables(json_object_get(json, "tables"));
}

static int run_retry(struct leat_cli *cli) {
    return run_again(cli, LEAT_OBJECT_SOURCE, leat_engine_retry_dead, print_retried);
}

static void print_decoded(const json_t *json) {
    long long read = json_integer_value(json_object_get(json, "payloads")), decoded = json_integer_value(json_object_get(json, "decoded"));
    printf("%lld record%s older than the newest columns whose payload was kept: %lld decoded\n", read, read == 1 ? "" : "s", decoded);
    print_tables(json_object_get(json, "tables"));
}

static int run_redecode(struct leat_cli *cli) {
    return run_again(cli, LEAT_OBJECT_SOURCE, leat_engine_redecode, print_decoded);
}

const struct leat_command leat_command_rebuild = {
    .name = "rebuild", .arguments = "TABLE", .min_arguments = 1, .max_arguments = 1, .summary = "make a table anew from bronze",
    .options = REBUILD_OPTIONS, .option_count = 1,
    .prose = "Computes the table anew from the archive of its sources, beside the present one, and publishes what differs in one commit: nothing, where\n"
             "nothing does. Readers see the present content until then. What is late stays so. A scheduled table is run. Needs the project to\n"
             "itself; with a killed process the table stays as it was.",
    .run = run_rebuild,
};
const struct leat_command leat_command_retry_dead = {
    .name = "retry-dead", .arguments = "SOURCE", .min_arguments = 1, .max_arguments = 1, .summary = "decode dead letters again, after the cause was mended",
    .options = RETRY_OPTIONS, .option_count = 1,
    .prose = "Decodes the source's dead letters again, with the columns (NOT NULL), options and settings (max_future) of now. Those that are usable go to\n"
             "bronze, at their old place; tables on the source are built anew from it and change by the difference, with an account in\n"
             "TABLE__restatements. The others stay dead letters. Of CSV, fields are taken in the order of the declared columns. Needs the project to itself.",
    .run = run_retry,
};
const struct leat_command leat_command_redecode = {
    .name = "redecode", .arguments = "SOURCE", .min_arguments = 1, .max_arguments = 1, .summary = "give old records the values of new columns",
    .options = REDECODE_OPTIONS, .option_count = 1,
    .prose = "A column that was added to a source is NULL in the records before it. This decodes them again where bronze kept their payload, which it does\n"
             "where a record had fields without a column; of others nothing more is known, and they stay. Tables on the source are built anew and change\n"
             "by the difference, with an account in TABLE__restatements. Not for CSV. Needs the project to itself.",
    .run = run_redecode,
};
