#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"

static void put_number(json_int_t n) {
    printf("%lld", (long long)n);
}

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void put_time(struct leat_cli *cli, const json_t *us, const char *label) {
    if (!json_is_integer(us)) return;
    long long ago = (cli->env.clock->now_us(cli->env.clock) - json_integer_value(us)) / 1000000;
    if (ago >= 0)
        printf("  %s %llds ago", label, ago);
    else
        printf("  %s in %llds", label, -ago);
}

static void print_source(const json_t *s) {
    printf("source %-24s ", json_string_value(json_object_get(s, "name")));
    if (json_is_true(json_object_get(s, "reference"))) {
        printf("reference, version %lld, %lld rows\n", (long long)number(s, "version"), (long long)number(s, "rows"));
        return;
    }
    printf("%lld records, %lld dead", (long long)number(s, "records"), (long long)number(s, "dead"));
    if (number(s, "bronze_waiting")) printf(", %lld not in bronze yet", (long long)number(s, "bronze_waiting"));
    puts("");
}

static void print_table(struct leat_cli *cli, const json_t *t) {
    const char *source;
    json_t *b;
    printf("table  %-24s %s (class %lld), ", json_string_value(json_object_get(t, "name")),
           json_string_value(json_object_get(t, "kept")), (long long)number(t, "class"));
    put_number(number(t, "rows"));
    printf(" rows, %lld bytes in %lld files, version %lld", (long long)number(t, "bytes"), (long long)number(t, "files"),
           (long long)number(t, "version"));
    if (json_object_get(t, "freshness_us"))
        printf(", fresh to %g s, %lld steps, %lld rows touched", (double)number(t, "freshness_us") / 1e6,
               (long long)number(t, "steps"), (long long)number(t, "rows_touched"));
    put_time(cli, json_object_get(t, "last_run_us"), "last run");
    put_time(cli, json_object_get(t, "next_run_us"), "next run");
    puts("");
    if (json_object_get(t, "error")) printf("       error: %s\n", json_string_value(json_object_get(t, "error")));
    json_object_foreach(json_object_get(t, "balance"), source, b)
        printf("       %s: %lld in = %lld admitted + %lld late + %lld dead%s\n", source, (long long)number(b, "in"),
               (long long)number(b, "admitted"), (long long)number(b, "late"), (long long)number(b, "dead"),
               json_is_true(json_object_get(b, "exact")) ? "" : "   NOT EXACT");
}

/* The text of a running engine's status.json, or NULL. */
static char *published(struct leat_cli *cli) {
    char *path = leat_asprintf("%s/.leat/status.json", cli->project);
    struct leat_buffer text = {0};
    struct leat_error ignored;
    enum leat_status st = leat_io_read_all(cli->env.io, path, 64 << 20, &text, &ignored);
    free(path);
    return st == LEAT_OK ? text.data : NULL;
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.project_dir = cli->project};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine = NULL;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    char *document = NULL;
    enum leat_status st = leat_engine_open(&cli->env, &options, &diags, &engine, &err);
    size_t errors = leat_cli_diagnostics(cli, &diags);
    leat_diagnostics_deinit(&diags);
    if (st == LEAT_BUSY) {
        document = published(cli);
        if (document) st = LEAT_OK;
    } else if (st == LEAT_OK) {
        st = leat_engine_status(engine, &text, &err);
        document = text.data;
    }
    leat_engine_close(engine);
    if (st != LEAT_OK) return errors ? LEAT_EXIT_NO : leat_cli_failed(&err);
    if (cli->json) {
        puts(document);
    } else {
        json_t *json = json_loads(document, 0, NULL), *item;
        size_t i;
        json_array_foreach(json_object_get(json, "sources"), i, item) print_source(item);
        json_array_foreach(json_object_get(json, "tables"), i, item) print_table(cli, item);
        json_decref(json);
    }
    free(document);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_status = {
    .name = "status", .arguments = "", .summary = "what each source and table holds, row balances, runs",
    .prose = "Shows each source and table: records, rows, how it is kept, its freshness or schedule, the last run or error, and the exact row\n"
             "balance: records in = admitted + late + dead. While 'leat run' is running, what that process last published.",
    .run = run,
};
