#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/compare.h"
#include "base/usage.h"
#include "cli/cli.h"
#include "lake/delta.h"

enum { OPTION_BY, OPTION_ROWS, OPTION_VERSION };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "by", .type = LEAT_OPTION_TEXT, .prose = "Columns that tell rows apart, with commas between. Default: the table's primary key or the keys of its GROUP BY."},
    {.name = "rows", .type = LEAT_OPTION_INT, .unit = "rows", .min = 0, .max = 1000000, .default_text = "10", .prose = "How many differing rows to show."},
    {.name = "version", .type = LEAT_OPTION_INT, .min = 0, .max = INT64_MAX, .prose = "The other table's version. Default: its newest."},
};

struct key { char **names; size_t count; };

static void split_names(const char *text, struct key *out) {
    *out = (struct key){.names = leat_alloc((strlen(text) + 1) * sizeof(char *))};
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        const char *from = at + strspn(at, " ");
        size_t length = from < at + n ? (size_t)(at + n - from) : 0;
        while (length && from[length - 1] == ' ') length--;
        if (length) out->names[out->count++] = leat_strndup(from, length);
        at += n + (at[n] == ',');
    }
}

static enum leat_status open_other(struct leat_cli *cli, struct leat_conn *conn, const char *dir, struct leat_buffer *sql, struct leat_error *err) {
    struct leat_delta_snapshot snapshot = {0};
    struct leat_schema schema = {0};
    int64_t version = cli->given[OPTION_VERSION] ? cli->values[OPTION_VERSION].number : -1;
    enum leat_status st = leat_delta_snapshot(&cli->env, conn, dir, version, &snapshot, err);
    if (st == LEAT_OK && snapshot.version < 0) st = leat_fail(err, LEAT_NOT_FOUND, "%s is no Delta table: it has no _delta_log", dir);
    if (st == LEAT_OK) st = leat_delta_snapshot_schema(&snapshot, &schema, err);
    if (st == LEAT_OK) leat_delta_select(dir, &snapshot, &schema, NULL, sql);
    leat_schema_deinit(&schema);
    leat_delta_snapshot_deinit(&snapshot);
    return st;
}

static void print(const struct leat_cli *cli, const struct leat_compare_result *result, const char *table) {
    struct leat_buffer out = {0};
    if (cli->json) {
        leat_putf(&out, "{\"table\":\"%s\",", table);
        leat_compare_json(result, &out);
        leat_put(&out, "}\n");
    } else {
        leat_putf(&out, "table %s against the other: ", table);
        leat_compare_print(result, "table", "other", &out);
    }
    fputs(out.data, stdout);
    leat_buffer_deinit(&out);
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.read_only = true};
    struct leat_engine *engine;
    struct leat_object_ref ref;
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) return code;
    if (!leat_project_find(leat_engine_project(engine), cli->arguments[0], &ref) || ref.kind != LEAT_OBJECT_TABLE) {
        leat_cli_no_object(leat_engine_project(engine), LEAT_OBJECT_TABLE, cli->arguments[0]);
        leat_engine_close(engine);
        return LEAT_EXIT_USAGE;
    }
    struct leat_buffer ours = {0}, theirs = {0};
    struct leat_compare_result result = {0};
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    struct leat_error err = {0};
    struct key key = {0};
    const struct leat_duck_options batch = {.use = LEAT_DUCK_BATCH, .threads = leat_usage_processors()};
    if (cli->given[OPTION_BY])
        split_names(cli->values[OPTION_BY].text, &key);
    else
        key.count = leat_engine_key(engine, ref.index, &key.names);
    enum leat_status st = leat_duck_open(&batch, &duck, &err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, &err);
    if (st == LEAT_OK) st = leat_engine_content(engine, ref.index, &ours, &err);
    if (st == LEAT_OK) st = open_other(cli, conn, cli->arguments[1], &theirs, &err);
    struct leat_compare_options compare = {.left_sql = ours.data, .right_sql = theirs.data, .key = key.names, .key_count = key.count,
                                           .example_max = (size_t)cli->values[OPTION_ROWS].number};
    if (st == LEAT_OK) st = leat_compare(conn, &compare, &result, &err);
    if (st != LEAT_OK) {
        code = leat_cli_failed(&err);
    } else {
        print(cli, &result, leat_engine_project(engine)->tables[ref.index].name);
        code = leat_compare_differing(&result) ? LEAT_EXIT_NO : LEAT_EXIT_OK;
    }
    leat_compare_deinit(&result);
    for (size_t i = 0; i < key.count; i++) free(key.names[i]);
    free(key.names);
    leat_buffer_deinit(&ours);
    leat_buffer_deinit(&theirs);
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    leat_engine_close(engine);
    return code;
}

const struct leat_command leat_command_diff = {
    .name = "diff", .arguments = "TABLE OTHER", .min_arguments = 2, .max_arguments = 2, .summary = "compare a table with a Delta table that something else made",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Compares TABLE with the Delta table in the folder OTHER, such as the one of the pipeline that leat is to replace: rows on one side only, rows\n"
             "that differ, and in which columns. Columns are matched by name. Exit code 1 when rows differ. 'leat run' may go on meanwhile.",
    .run = run,
};
