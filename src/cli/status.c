#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"
#include "data/value.h"
#include "engine/change/control.h"

static json_int_t number(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static const char *plural(json_int_t n) {
    return n == 1 ? "" : "s";
}

static void put_span(int64_t us) {
    char text[LEAT_SPAN_BYTES];
    fputs(leat_cli_span(us, text), stdout);
}

static void put_time(struct leat_cli *cli, const json_t *us, const char *label) {
    if (!json_is_integer(us)) return;
    int64_t ago = cli->env.clock->now_us(cli->env.clock) - json_integer_value(us);
    printf(", %s ", label);
    if (ago < 0) fputs("in ", stdout);
    put_span(ago < 0 ? -ago : ago);
    if (ago >= 0) fputs(" ago", stdout);
}

static void print_source(const json_t *s) {
    printf("source %-24s ", json_string_value(json_object_get(s, "name")));
    if (json_is_true(json_object_get(s, "reference"))) {
        printf("reference, %lld row%s, version %lld\n", (long long)number(s, "rows"), plural(number(s, "rows")),
               (long long)number(s, "version"));
        return;
    }
    printf("%lld record%s, %lld dead", (long long)number(s, "records"), plural(number(s, "records")), (long long)number(s, "dead"));
    if (number(s, "bronze_waiting")) printf(", %lld not in bronze yet", (long long)number(s, "bronze_waiting"));
    if (json_is_true(json_object_get(s, "idle"))) fputs(", idle", stdout);
    puts(number(s, "records") ? "" : " (nothing read yet: does any file fit its path?)");
}

static void print_balance(struct leat_cli *cli, const json_t *t) {
    const char *source;
    json_t *b;
    json_object_foreach(json_object_get(t, "balance"), source, b) {
        char share[32] = "";
        if (number(b, "late")) snprintf(share, sizeof share, " (%.2g %%)", 100.0 * (double)number(b, "late") / (double)number(b, "in"));
        printf("       %s: %lld in = %lld admitted + %lld late%s + %lld dead%s\n", source, (long long)number(b, "in"), (long long)number(b, "admitted"),
               (long long)number(b, "late"), share, (long long)number(b, "dead"), json_is_true(json_object_get(b, "exact")) ? "" : "   NOT EXACT");
    }
    if (number(t, "restated")) {
        printf("       restated: %lld record%s that had been late", (long long)number(t, "restated"), plural(number(t, "restated")));
        put_time(cli, json_object_get(t, "restated_us"), "last");
        puts("");
    }
}

static void print_violations(const json_t *t) {
    const char *name;
    json_t *rows;
    json_object_foreach(json_object_get(t, "violations"), name, rows)
        if (json_integer_value(rows))
            printf("       constraint %s: %lld row%s violate%s it\n", name, (long long)json_integer_value(rows), plural(json_integer_value(rows)),
                   json_integer_value(rows) == 1 ? "s" : "");
}

static void print_frozen(const json_t *frozen) {
    const int64_t DAY_US = INT64_C(86400000000);
    const char *column = json_string_value(json_object_get(frozen, "column"));
    int64_t us = number(frozen, "before_us"), days = us / DAY_US - (us % DAY_US < 0), seconds = (us - days * DAY_US) / 1000000, year;
    unsigned month, day;
    if (!frozen) return;
    leat_civil_from_days(days, &year, &month, &day);
    if (json_is_null(json_object_get(frozen, "before_us")))
        printf("       no rows are frozen yet (FROZEN WHERE, by %s)\n", column);
    else
        printf("       rows with %s before %04lld-%02u-%02u %02d:%02d:%02d are frozen\n", column, (long long)year, month, day, (int)(seconds / 3600), (int)(seconds / 60 % 60),
               (int)(seconds % 60));
}

static void print_table(struct leat_cli *cli, const json_t *t) {
    struct leat_buffer text = {0};
    json_int_t files = number(t, "files");
    printf("table  %-24s %lld row%s, ", json_string_value(json_object_get(t, "name")), (long long)number(t, "rows"), plural(number(t, "rows")));
    if (json_object_get(t, "freshness_us")) {
        leat_put(&text, "kept fresh to ");
        leat_put_interval(&text, number(t, "freshness_us"));
        fputs(text.data, stdout);
        if (json_object_get(t, "calendar")) printf(" (now; %s)", json_string_value(json_object_get(t, "calendar")));
    } else {
        printf("recomputed%s", json_is_null(json_object_get(t, "last_run_us")) ? ", never run yet" : "");
        put_time(cli, json_object_get(t, "last_run_us"), "last");
        if (json_object_get(t, "running_since_us")) put_time(cli, json_object_get(t, "running_since_us"), "running since");
        put_time(cli, json_object_get(t, "next_run_us"), "next");
        put_time(cli, json_object_get(t, "ready_by_us"), "to be ready");
        if (number(t, "takes_us") >= 1000000) {
            fputs(", takes up to ", stdout);
            put_span(number(t, "takes_us"));
        }
    }
    puts(json_is_true(json_object_get(t, "suspended")) ? ", suspended" : "");
    print_balance(cli, t);
    print_violations(t);
    print_frozen(json_object_get(t, "frozen"));
    leat_buffer_reset(&text);
    leat_put_size(&text, number(t, "bytes"));
    printf("       %s (class %lld), version %lld, %s in %lld file%s\n", json_string_value(json_object_get(t, "kept")),
           (long long)number(t, "class"), (long long)number(t, "version"), text.data, (long long)files, plural(files));
    if (number(t, "withheld"))
        printf("       %lld key%s withheld: their rows cannot be computed; %s__dead says why\n", (long long)number(t, "withheld"),
               plural(number(t, "withheld")), json_string_value(json_object_get(t, "name")));
    const json_t *run = json_object_get(t, "last_run");
    if (run)
        printf("       last run computed %s: %s\n", json_string_value(json_object_get(run, "computed")), json_string_value(json_object_get(run, "why")));
    const char *error = json_string_value(json_object_get(t, "error"));
    if (error) printf("       error: %.*s\n", (int)strcspn(error, "\n"), error); /* the rest is DuckDB's advice to its own users */
    leat_buffer_deinit(&text);
}

static void print_sink(struct leat_cli *cli, const json_t *s) {
    const char *error = json_string_value(json_object_get(s, "error"));
    json_int_t waiting = number(s, "waiting"), dead = number(s, "dead");
    printf("sink   %-24s %s to %s: %lld change%s delivered", json_string_value(json_object_get(s, "name")),
           json_string_value(json_object_get(s, "table")), json_string_value(json_object_get(s, "connector")), (long long)number(s, "delivered"),
           plural(number(s, "delivered")));
    if (waiting) {
        printf(", %lld waiting", (long long)waiting);
        put_time(cli, json_object_get(s, "behind_since_us"), "the oldest made");
    }
    puts("");
    if (dead) printf("       %lld dead letter%s\n", (long long)dead, plural(dead));
    if (json_is_true(json_object_get(s, "cut")))
        puts("       more wait than spool_limit allows: it takes no more in, and gets the difference when these are delivered");
    if (!error) return;
    printf("       failed %lld time%s in a row", (long long)number(s, "tries"), plural(number(s, "tries")));
    put_time(cli, json_object_get(s, "retry_us"), "tried again");
    printf(": %.*s\n", (int)strcspn(error, "\n"), error);
}

static void print_check(struct leat_cli *cli, const json_t *c) {
    const char *error = json_string_value(json_object_get(c, "error"));
    printf("check  %-24s of %s: ", json_string_value(json_object_get(c, "name")), json_string_value(json_object_get(c, "table")));
    if (error)
        printf("error: %.*s", (int)strcspn(error, "\n"), error);
    else if (json_is_null(json_object_get(c, "checked_us")))
        fputs("not checked yet", stdout);
    else if (number(c, "differing"))
        printf("%.3f %% drift, %lld row%s differ, in %s__differences", json_real_value(json_object_get(c, "drift_percent")), (long long)number(c, "differing"),
               plural(number(c, "differing")), json_string_value(json_object_get(c, "name")));
    else
        printf("agrees, %lld row%s", (long long)number(c, "rows"), plural(number(c, "rows")));
    put_time(cli, json_object_get(c, "checked_us"), "checked");
    puts("");
}

static void print_alert(struct leat_cli *cli, const json_t *a) {
    printf("ALERT  %-24s %s", json_string_value(json_object_get(a, "alert")), json_string_value(json_object_get(a, "text")));
    put_time(cli, json_object_get(a, "raised_us"), "raised");
    puts("");
}

static void print_webhook(const json_t *w) {
    const char *error = json_string_value(json_object_get(w, "error"));
    if (!w || (!number(w, "waiting") && !number(w, "dead") && !error)) return;
    printf("alerts %-24s %lld told, %lld waiting, %lld refused%s%s\n", "to alert_webhook", (long long)number(w, "delivered"), (long long)number(w, "waiting"),
           (long long)number(w, "dead"), error ? ": " : "", error ? error : "");
}

/* Tables of one freshness step together: one line each freshness. */
static void print_steps(const json_t *tables) {
    json_int_t said[64];
    size_t said_count = 0, i;
    json_t *t;
    json_array_foreach(tables, i, t) {
        json_int_t freshness = number(t, "freshness_us"), steps = number(t, "steps"), rows = number(t, "rows_touched");
        bool again = !freshness || !steps;
        for (size_t k = 0; k < said_count && !again; k++) again = said[k] == freshness;
        if (again || said_count == sizeof said / sizeof *said) continue;
        said[said_count++] = freshness;
        struct leat_buffer text = {0};
        leat_put_interval(&text, freshness);
        printf("steps  %-24s %lld step%s, %lld rows touched by all operators, %lld a step\n", text.data, (long long)steps, plural(steps),
               (long long)rows, (long long)(rows / steps));
        leat_buffer_deinit(&text);
    }
}

/* What a process that runs published last; false: nothing. */
static bool read_published(struct leat_cli *cli, char **document) {
    char *path = leat_asprintf("%s/.leat/status.json", cli->project);
    struct leat_buffer text = {0};
    struct leat_error ignored;
    bool there = leat_io_read_all(cli->env.io, path, 64 << 20, &text, &ignored) == LEAT_OK;
    free(path);
    if (there) leat_cli_say(cli, "another leat is at work here and does not answer now: this is what it published last");
    *document = text.data;
    return there;
}

/* No document: none runs. */
static int ask_running(struct leat_cli *cli, char **document) {
    enum { PATIENCE_US = 3000000 };
    struct leat_buffer reply = {0};
    struct leat_error err = {0};
    char *work = leat_asprintf("%s/.leat", cli->project);
    enum leat_status st = leat_control_ask(&cli->env, work, "{\"do\":\"status\"}", PATIENCE_US, &reply, &err);
    json_t *json = st == LEAT_OK ? json_loadb(reply.data, reply.length, 0, NULL) : NULL, *answer = json_object_get(json, "answer");
    if (answer) *document = json_dumps(answer, JSON_INDENT(1));
    json_decref(json);
    leat_buffer_deinit(&reply);
    free(work);
    if (answer || st == LEAT_NOT_FOUND || read_published(cli, document)) return LEAT_EXIT_OK;
    return leat_cli_failed(&err);
}

/* From what is on disk. */
static int open_and_ask(struct leat_cli *cli, char **document) {
    struct leat_engine_options options = {.project_dir = cli->project, .as_applied = true};
    struct leat_diagnostics diags = {0};
    struct leat_engine *engine = NULL;
    struct leat_error err = {0};
    struct leat_buffer text = {0};
    enum leat_status st = leat_engine_open(&cli->env, &options, &diags, &engine, &err);
    size_t errors = leat_cli_diagnostics(cli, &diags);
    leat_diagnostics_deinit(&diags);
    if (st == LEAT_OK) st = leat_engine_status(engine, &text, &err);
    leat_engine_close(engine);
    *document = text.data;
    if (st == LEAT_BUSY && read_published(cli, document)) return LEAT_EXIT_OK;
    if (st == LEAT_OK) return LEAT_EXIT_OK;
    return errors ? LEAT_EXIT_NO : leat_cli_failed(&err);
}

static int run(struct leat_cli *cli) {
    char *document = NULL;
    int code = ask_running(cli, &document);
    if (code == LEAT_EXIT_OK && !document) code = open_and_ask(cli, &document);
    if (code != LEAT_EXIT_OK) return code;
    if (cli->json) {
        puts(document);
    } else {
        json_t *json = json_loads(document, 0, NULL), *item;
        size_t i;
        json_array_foreach(json_object_get(json, "alerts"), i, item) print_alert(cli, item);
        print_webhook(json_object_get(json, "alert_webhook"));
        json_array_foreach(json_object_get(json, "sources"), i, item) print_source(item);
        json_array_foreach(json_object_get(json, "tables"), i, item) print_table(cli, item);
        json_array_foreach(json_object_get(json, "sinks"), i, item) print_sink(cli, item);
        json_array_foreach(json_object_get(json, "checks"), i, item) print_check(cli, item);
        if ((item = json_object_get(json, "drift_watch")))
            printf("watch  %lld period%s verified, %lld row%s differ\n", (long long)number(item, "periods"), plural(number(item, "periods")),
                   (long long)number(item, "differing"), plural(number(item, "differing")));
        print_steps(json_object_get(json, "tables"));
        json_decref(json);
    }
    free(document);
    return LEAT_EXIT_OK;
}

const struct leat_command leat_command_status = {
    .name = "status", .arguments = "", .summary = "what each source and table holds, row balances, runs",
    .prose = "Shows each source and table: records, rows, how it is kept, its freshness or schedule, the last run or error, and the exact row\n"
             "balance: records in = admitted + late + dead. Beside a 'leat run', what that process answers.",
    .run = run,
};
