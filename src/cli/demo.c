/* leat demo: an online shop's day, told by the commands that anybody would type. They run as programs of their own, as for a user; what is
 * counted is compared with what the generator planted, and a figure that differs is an error. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

#include "base/child.h"
#include "cli/cli.h"
#include "cli/demo_shop.h"
#include "serve/web.h"

enum { OPTION_EVENTS, OPTION_LISTEN, OPTION_EXIT };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "events", .type = LEAT_OPTION_INT, .unit = "events", .min = 20000, .max = 100000000, .default_text = "86400", .prose = "Order events of the day."},
    {.name = "listen", .type = LEAT_OPTION_TEXT, .default_text = "127.0.0.1:8080", .prose = "Where HTTP and the dashboard are; if that is taken, any free port."},
    {.name = "exit", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "End when everything has been shown, instead of leaving the dashboard running."},
};
enum { OUTPUT_BYTES_MAX = 16 << 20, PLANTED_BYTES_MAX = 1 << 30, DAY_BYTES_MAX = 1 << 30, WAIT_S = 120, TICK_US = 50000 };

struct demo {
    struct leat_cli *cli;
    struct leat_error *err;
    char *leat, *folder;
    struct demo_day *day;
    struct demo_desk *desk;
    json_t *planted;
    pid_t running;
    char *address;
    int wrong; /* figures that differ */
};

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

/* ---- commands ---------------------------------------------------------------------------------------------------------------------- */

#define ARGUMENTS_MAX 16

static void show(const char *const *argv) {
    fputs("\n$ leat", stdout);
    for (size_t i = 1; argv[i]; i++) printf(strpbrk(argv[i], " *") ? " \"%s\"" : " %s", argv[i]);
    putchar('\n');
    fflush(stdout);
}

/* Runs `leat words...`; out NULL: shown, with what it prints. */
static enum leat_status leat(struct demo *d, struct leat_buffer *out, const char *const *words) {
    const char *argv[ARGUMENTS_MAX + 2] = {d->leat};
    struct leat_child_outcome outcome = {0};
    struct leat_buffer shown = {0};
    for (size_t i = 0; words[i] && i < ARGUMENTS_MAX; i++) argv[i + 1] = words[i];
    if (!out) show(argv);
    enum leat_status st = leat_child_run((char *const *)(uintptr_t)argv, out ? out : &shown, &outcome, d->err);
    if (shown.data) fputs(shown.data, stdout);
    fflush(stdout);
    leat_buffer_deinit(&shown);
    if (st == LEAT_OK && outcome.exit_code != LEAT_EXIT_OK)
        st = leat_fail(d->err, LEAT_INVALID, "leat %s ended with exit code %d", words[0], outcome.exit_code);
    return st;
}
#define LEAT(d, ...) leat(d, NULL, (const char *const[]){__VA_ARGS__, NULL})

/* One value by SQL over the lake; owned by the caller, NULL on failure. */
static char *value(struct demo *d, const char *sql) {
    struct leat_buffer out = {0};
    char *found = NULL;
    if (leat(d, &out, (const char *const[]){"sql", "--format", "csv", sql, NULL}) == LEAT_OK) {
        char *line = out.data ? strchr(out.data, '\n') : NULL;
        found = leat_strndup(line ? line + 1 : "", line ? strcspn(line + 1, "\n") : 0);
    }
    leat_buffer_deinit(&out);
    return found;
}

static enum leat_status number(struct demo *d, const char *sql, long long *out) {
    char *text = value(d, sql);
    if (!text) return d->err->status;
    *out = atoll(text);
    free(text);
    return LEAT_OK;
}

static long long planted(const struct demo *d, const char *group, const char *key) {
    const json_t *in = *group ? json_object_get(d->planted, group) : d->planted;
    return json_integer_value(json_object_get(in, key));
}

static void say(const char *text) {
    printf("\n\n%s\n", text);
    fflush(stdout);
}

static enum leat_status compare(struct demo *d, const char *what, const char *sql, long long expected) {
    long long found = 0;
    enum leat_status st = number(d, sql, &found);
    if (st != LEAT_OK) return st;
    bool same = found == expected;
    printf("    %-44s %9lld   planted %9lld   %s\n", what, found, expected, same ? "equal" : "DIFFERENT");
    d->wrong += !same;
    return LEAT_OK;
}

static enum leat_status tell_count(struct demo *d, const char *what, const char *sql) {
    long long found = 0;
    enum leat_status st = number(d, sql, &found);
    if (st == LEAT_OK) printf("    %-44s %9lld\n", what, found);
    return st;
}

/* ---- the parts ------------------------------------------------------------------------------------------------------------------------ */

static enum leat_status write_example(struct demo *d) {
    struct leat_io *io = d->cli->env.io;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < leat_example_file_count && st == LEAT_OK; i++) {
        const struct leat_web_file *f = &leat_example_files[i];
        const char *ending = strrchr(f->path, '.');
        if (!ending || strcmp(ending, ".sql") != 0) continue;
        st = leat_io_write_durable(io, f->path, f->bytes, (size_t)(f->end - f->bytes), false, d->err);
    }
    return st;
}

static enum leat_status copy_catalogue(struct demo *d) {
    char **names = NULL;
    size_t count = 0;
    struct leat_io *io = d->cli->env.io;
    enum leat_status st = leat_io_list_sorted(io, "day", &names, &count, d->err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        struct leat_buffer text = {0};
        char *from = leat_asprintf("day/%s", names[i]), *to = leat_asprintf("in/%s", names[i]);
        if (strncmp(names[i], "products", 8) == 0) {
            st = leat_io_read_all(io, from, OUTPUT_BYTES_MAX, &text, d->err);
            if (st == LEAT_OK) st = leat_io_write_durable(io, to, text.data, text.length, false, d->err);
        }
        leat_buffer_deinit(&text);
        free(from);
        free(to);
    }
    leat_names_free(names, count);
    return st;
}

static enum leat_status make_day(struct demo *d) {
    struct leat_buffer text = {0};
    char events[32];
    snprintf(events, sizeof events, "%lld", (long long)d->cli->values[OPTION_EVENTS].number);
    say("1. A day of an online shop: orders and payments, out of order, some late, some twice, some broken, and fraud.");
    enum leat_status st = LEAT(d, "generate", "--out", "day", "--events", events, "--rate", "1", "--fraud", "3");
    if (st == LEAT_OK) st = leat_io_read_all(d->cli->env.io, "day/planted.json", OUTPUT_BYTES_MAX, &text, d->err);
    if (st == LEAT_OK && !(d->planted = json_loadb(text.data, text.length, 0, NULL))) st = leat_fail(d->err, LEAT_CORRUPT, "day/planted.json is not JSON");
    leat_buffer_deinit(&text);
    if (st == LEAT_OK) st = leat_io_mkdirs(d->cli->env.io, "in", d->err);
    if (st == LEAT_OK) st = copy_catalogue(d);
    if (st == LEAT_OK) st = demo_day_open(&d->cli->env, "day", "in", false, &d->day, d->err);
    return st;
}

static enum leat_status make_project(struct demo *d) {
    char *url = leat_asprintf("http://127.0.0.1:%u/fraud", demo_desk_port(d->desk));
    setenv("FRAUD_URL", url, 1);
    setenv("FRAUD_SECRET", "the demo's secret", 1);
    free(url);
    say("2. The project: sources, what must be fresh within a second, what may wait for the night.");
    enum leat_status st = write_example(d);
    if (st == LEAT_OK) st = LEAT(d, "check");
    return st;
}

static enum leat_status night(struct demo *d) {
    say("3. The night: two thirds of the day are in. Everything due, and the nightly tables, in one run that ends.");
    enum leat_status st = demo_day_arrive(d->day, demo_day_left(d->day) * 2 / 3, d->err);
    if (st == LEAT_OK) st = LEAT(d, "run", "--once", "--all", "--max-step-rows", "500");
    if (st == LEAT_OK) st = LEAT(d, "sql", "SELECT * FROM gold_daily_revenue ORDER BY day, category LIMIT 4");
    return st;
}

static enum leat_status status_of(struct demo *d, json_t **out) {
    struct leat_buffer text = {0};
    char *url = leat_asprintf("%s/v1/status", d->address);
    enum leat_status st = demo_http(url, NULL, &text, d->err);
    *out = st == LEAT_OK ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    if (st == LEAT_OK && !*out) st = leat_fail(d->err, LEAT_CORRUPT, "the status is not JSON");
    leat_buffer_deinit(&text);
    free(url);
    return st;
}

static void wait_tick(struct demo *d) {
    struct leat_clock *clock = d->cli->env.clock;
    clock->sleep_until(clock, clock->monotonic_us(clock) + TICK_US);
}

/* The line "leat listens at http://..." in the log of the process that was started; an ended process is an error. */
static enum leat_status find_address(struct demo *d) {
    static const char SAYS[] = "leat listens at ";
    for (int tries = 0; tries < WAIT_S * 20; tries++) {
        struct leat_buffer log = {0};
        struct leat_error ignored;
        int code;
        char *found = leat_io_read_all(d->cli->env.io, "run.log", OUTPUT_BYTES_MAX, &log, &ignored) == LEAT_OK && log.data ? strstr(log.data, SAYS) : NULL;
        if (found && strchr(found, '\n')) d->address = leat_strndup(found + sizeof SAYS - 1, strcspn(found, "\n") - (sizeof SAYS - 1));
        bool ended = !d->address && leat_child_ended(d->running, &code);
        if (ended) {
            d->running = 0;
            enum leat_status st = leat_fail(d->err, LEAT_IO, "leat run ended: %.600s", log.data ? log.data : "");
            leat_buffer_deinit(&log);
            return st;
        }
        leat_buffer_deinit(&log);
        if (d->address) return LEAT_OK;
        wait_tick(d);
    }
    return leat_fail(d->err, LEAT_IO, "leat run did not say where it listens");
}

static enum leat_status start_run(struct demo *d, const char *listen) {
    const char *const argv[] = {d->leat, "run", "--listen", listen, NULL};
    struct leat_error ignored;
    free(d->address);
    d->address = NULL;
    if (leat_io_remove_tree(d->cli->env.io, "run.log", &ignored) != LEAT_OK) fputs("run.log stays\n", stderr);
    show(argv);
    enum leat_status st = leat_child_start((char *const *)(uintptr_t)argv, "run.log", &d->running, d->err);
    return st == LEAT_OK ? find_address(d) : st;
}

static enum leat_status stop_run(struct demo *d) {
    int code = 0;
    pid_t pid = d->running;
    d->running = 0;
    enum leat_status st = pid ? leat_child_stop(pid, &code, d->err) : LEAT_OK;
    if (st == LEAT_OK && code != 0) st = leat_fail(d->err, LEAT_INVALID, "leat run ended with exit code %d; see %s/run.log", code, d->folder);
    return st;
}

static long long records_of(const json_t *status) {
    long long records = 0;
    size_t i;
    json_t *source;
    json_array_foreach(json_object_get(status, "sources"), i, source) if (strcmp(json_string_value(json_object_get(source, "name")), "order_events") == 0)
        records = json_integer_value(json_object_get(source, "records"));
    return records;
}

static void print_pace(const json_t *status) {
    size_t i;
    json_t *group;
    json_array_foreach(json_object_get(status, "groups"), i, group) {
        long long steps = json_integer_value(json_object_get(group, "steps")), met = json_integer_value(json_object_get(group, "met"));
        if (json_integer_value(json_object_get(group, "freshness_us")) != 1000000 || !steps) continue;
        printf("    order_status, fraud_alerts: as fresh as asked (1 second) in %lld of %lld steps, with %.2f s of CPU\n", met, steps,
               (double)json_integer_value(json_object_get(group, "cpu_us")) / 1e6);
    }
}

/* The rest of the day comes in, some thousand events a second, while leat runs. */
static enum leat_status stream_in(struct demo *d) {
    enum leat_status st = LEAT_OK;
    long long all = d->cli->values[OPTION_EVENTS].number;
    json_t *status = NULL;
    while (st == LEAT_OK && demo_day_left(d->day) > (uint64_t)all / 50 && !interrupted) {
        st = demo_day_arrive(d->day, 250, d->err);
        wait_tick(d);
    }
    long long wanted = all - (long long)demo_day_left(d->day);
    for (int tries = 0; st == LEAT_OK && tries < WAIT_S * 20; tries++) {
        json_decref(status);
        if ((st = status_of(d, &status)) != LEAT_OK || records_of(status) >= wanted) break;
        wait_tick(d);
    }
    if (st == LEAT_OK) print_pace(status);
    json_decref(status);
    return st;
}

static enum leat_status look_up(struct demo *d) {
    struct leat_buffer answer = {0};
    char *url = leat_asprintf("%s/v1/tables/order_status/rows/100000007", d->address);
    printf("\n$ curl %s\n", url);
    enum leat_status st = demo_http(url, NULL, &answer, d->err);
    if (st == LEAT_OK) fputs(answer.data, stdout);
    leat_buffer_deinit(&answer);
    free(url);
    return st;
}

static enum leat_status show_alert(struct demo *d) {
    puts("\n    One alert, as the fraud desk received it:");
    for (int tries = 0; tries < WAIT_S * 20 && !demo_desk_count(d->desk); tries++) wait_tick(d);
    demo_desk_print_first(d->desk);
    printf("    %llu alerts so far, %llu different ids\n", (unsigned long long)demo_desk_count(d->desk), (unsigned long long)demo_desk_ids(d->desk));
    return LEAT_OK;
}

static enum leat_status afternoon(struct demo *d) {
    say("4. The afternoon, live: the rest comes in at some 5,000 events a second. Ask for one order; a webhook tells of fraud.");
    enum leat_status st = start_run(d, "127.0.0.1:0");
    if (st == LEAT_OK) st = stream_in(d);
    if (st == LEAT_OK) st = look_up(d);
    if (st == LEAT_OK) st = show_alert(d);
    return st;
}

/* In the project's file: the first FRESHNESS after the table's name. */
static enum leat_status edit_freshness(struct demo *d) {
    static const char FROM[] = "INTERVAL '1' SECOND", TO[] = "INTERVAL '1' DAY";
    struct leat_buffer text = {0}, edited = {0};
    enum leat_status st = leat_io_read_all(d->cli->env.io, "live.sql", OUTPUT_BYTES_MAX, &text, d->err);
    char *at = st == LEAT_OK ? strstr(text.data, "TABLE order_status") : NULL;
    at = at ? strstr(at, FROM) : NULL;
    if (st == LEAT_OK && !at) st = leat_fail(d->err, LEAT_CORRUPT, "live.sql has no order_status at a second");
    if (st == LEAT_OK) {
        leat_putn(&edited, text.data, (size_t)(at - text.data));
        leat_putf(&edited, "%s%s", TO, at + sizeof FROM - 1);
        printf("\n    live.sql: order_status, FRESHNESS = %s, instead of %s\n", TO, FROM);
        st = leat_io_write_durable(d->cli->env.io, "live.sql", edited.data, edited.length, true, d->err);
    }
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&edited);
    return st;
}

static enum leat_status turn_the_dial(struct demo *d) {
    say("5. The dial: order_status from a second to a day. No gap, nothing told twice, the same rows.");
    enum leat_status st = stop_run(d);
    if (st == LEAT_OK) st = edit_freshness(d);
    if (st == LEAT_OK) st = LEAT(d, "run", "--once");
    if (st == LEAT_OK) st = LEAT(d, "verify", "order_status");
    return st;
}

static bool has_line(const json_t *lines, long long line) {
    size_t i;
    json_t *one;
    json_array_foreach(lines, i, one) if (json_integer_value(one) == line) return true;
    return false;
}

/* Visits what was planted of a kind in a file, in order. */
static enum leat_status each_planted(struct demo *d, const char *file, const char *kind, void (*visit)(void *, const json_t *), void *context) {
    struct leat_buffer text = {0};
    enum leat_status st = leat_io_read_all(d->cli->env.io, "day/planted.ndjson", PLANTED_BYTES_MAX, &text, d->err);
    for (char *line = text.data, *end; st == LEAT_OK && line && *line; line = end) {
        end = strchr(line, '\n');
        end = end ? end + 1 : line + strlen(line);
        json_t *entry = json_loadb(line, (size_t)(end - line), 0, NULL);
        const char *in = json_string_value(json_object_get(entry, "file")), *is = json_string_value(json_object_get(entry, "kind"));
        if (in && is && strcmp(in, file) == 0 && strcmp(is, kind) == 0) visit(context, entry);
        json_decref(entry);
    }
    leat_buffer_deinit(&text);
    return st;
}

static void add_line(void *lines, const json_t *entry) {
    json_array_append(lines, json_object_get(entry, "line"));
}

/* Incidents, each with how many lines it has. */
static void count_incident(void *incidents, const json_t *entry) {
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(json_object_get(entry, "incident")));
    json_object_set_new(incidents, number, json_integer(json_integer_value(json_object_get(incidents, number)) + 1));
}

static json_int_t lines_of(const json_t *incidents, const json_t *entry) {
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(json_object_get(entry, "incident")));
    return json_integer_value(json_object_get(incidents, number));
}

static void add_entry(void *entries, const json_t *entry) {
    json_array_append(entries, (json_t *)entry);
}

/* How many customers the planted lines are of, without incidents of fewer lines than `least`: the day's end may cut one short. */
static enum leat_status planted_customers(struct demo *d, const char *file, const char *kind, json_int_t least, long long *out) {
    struct leat_buffer text = {0};
    json_t *entries = json_array(), *incidents = json_object(), *customers = json_object(), *entry;
    char *path = leat_asprintf("day/%s", file);
    size_t i;
    enum leat_status st = each_planted(d, file, kind, add_entry, entries);
    if (st == LEAT_OK) st = each_planted(d, file, kind, count_incident, incidents);
    if (st == LEAT_OK) st = leat_io_read_all(d->cli->env.io, path, DAY_BYTES_MAX, &text, d->err);
    const char *at = text.data;
    json_int_t number = 1;
    json_array_foreach(entries, i, entry) { /* lines ascend */
        if (lines_of(incidents, entry) < least) continue;
        for (; at && number < json_integer_value(json_object_get(entry, "line")); number++) at = (at = strchr(at, '\n')) ? at + 1 : NULL;
        const char *customer = at ? strstr(at, "\"customer_id\":") : NULL;
        char id[24] = {0};
        if (customer) snprintf(id, sizeof id, "%.*s", (int)strspn(customer + 14, "0123456789"), customer + 14);
        json_object_set_new(customers, id, json_true());
    }
    *out = (long long)json_object_size(customers);
    json_decref(customers);
    json_decref(incidents);
    json_decref(entries);
    leat_buffer_deinit(&text);
    free(path);
    return st;
}

static enum leat_status compare_customers(struct demo *d, const char *what, const char *file, const char *fraud, json_int_t least, const char *sql) {
    long long customers;
    enum leat_status st = planted_customers(d, file, fraud, least, &customers);
    return st == LEAT_OK ? compare(d, what, sql, customers) : st;
}

static enum leat_status compare_cards(struct demo *d) {
    json_t *incidents = json_object(), *lines;
    const char *number;
    long long whole = 0;
    enum leat_status st = each_planted(d, "payments.ndjson", "fraud_card", count_incident, incidents);
    json_object_foreach(incidents, number, lines) whole += json_integer_value(lines) >= 8; /* the day's end may cut one short */
    json_decref(incidents);
    return st == LEAT_OK ? compare(d, "stolen cards: alerts", "SELECT count(DISTINCT split_part(alert_id, '-', 2)) FROM fraud_alerts WHERE kind = 'card'", whole) : st;
}

/* Late is what came after the cut of its step: each such record was planted, and the other planted ones came in a step with what overtook
 * them, that is in time. */
static enum leat_status compare_late(struct demo *d) {
    struct leat_buffer out = {0};
    json_t *lines = json_array();
    long long late = 0, strange = 0;
    enum leat_status st = each_planted(d, "order_events.ndjson", "late", add_line, lines);
    if (st == LEAT_OK) st = leat(d, &out, (const char *const[]){"sql", "--format", "csv", "SELECT _offset + 1 FROM fraud_alerts__late", NULL});
    char *at = st == LEAT_OK && out.data ? strchr(out.data, '\n') : NULL; /* behind the header */
    for (; at && at[1]; at = strchr(at + 1, '\n'), late++) strange += !has_line(lines, atoll(at + 1));
    if (st == LEAT_OK) {
        printf("    %-44s %9lld   planted %9zu   %s\n", "late: kept in fraud_alerts__late", late, json_array_size(lines),
               strange || !late ? "DIFFERENT" : "all of them planted; the others came in time");
        d->wrong += strange || !late;
    }
    leat_buffer_deinit(&out);
    json_decref(lines);
    return st;
}

static enum leat_status count_everything(struct demo *d) {
    say("6. The next night: what was late is admitted, the nightly tables are made anew. Where did everything go?");
    enum leat_status st = demo_day_arrive(d->day, demo_day_left(d->day), d->err);
    if (st == LEAT_OK) st = LEAT(d, "run", "--once", "--all", "--max-step-rows", "500");
    putchar('\n');
    if (st == LEAT_OK) st = compare(d, "malformed: dead letters, with the reason", "SELECT count(*) FROM order_events__dead", planted(d, "", "malformed"));
    if (st == LEAT_OK) st = compare_late(d);
    if (st == LEAT_OK)
        st = compare(d, "came twice: counted once", "SELECT (SELECT count(*) FROM order_events) - (SELECT count(*) FROM silver_orders)",
                     planted(d, "planted", "duplicate") + planted(d, "planted", "duplicate_conflict"));
    if (st == LEAT_OK) st = compare(d, "different order events in silver_orders", "SELECT count(*) FROM silver_orders", planted(d, "distinct", "events"));
    if (st == LEAT_OK) st = compare(d, "orders paid", "SELECT sum(orders) FROM gold_daily_revenue", planted(d, "distinct", "paid"));
    if (st == LEAT_OK) st = LEAT(d, "restate", "fraud_alerts");
    if (st == LEAT_OK) st = compare(d, "orders of a fraudulent amount", "SELECT count(*) FROM placed WHERE amount >= 5000", planted(d, "planted", "fraud_amount"));
    if (st == LEAT_OK) st = compare_cards(d);
    if (st == LEAT_OK)
        st = tell_count(d, "far above the customer's average: alerts", "SELECT count(*) FROM fraud_alerts WHERE kind = 'amount'");
    if (st == LEAT_OK)
        st = compare_customers(d, "customers with bursts of orders: alerts", "order_events.ndjson", "fraud_velocity", 6,
                               "SELECT count(DISTINCT customer_id) FROM fraud_alerts WHERE kind = 'velocity'");
    if (st == LEAT_OK)
        st = compare_customers(d, "customers in two countries: alerts", "payments.ndjson", "fraud_country", 1,
                               "SELECT count(DISTINCT customer_id) FROM fraud_alerts WHERE kind = 'country'");
    if (st == LEAT_OK) st = LEAT(d, "verify");
    return st;
}

static enum leat_status keep(struct demo *d) {
    say("7. Training data: features as they were at the time of each order, and a version that stays.");
    enum leat_status st = LEAT(d, "pin", "training_orders", "AS", "spring", "--seed", "42");
    if (st == LEAT_OK) st = LEAT(d, "sql", "SELECT split, count(*) AS orders, sum(label::INTEGER) AS cancelled_or_returned FROM spring GROUP BY ALL ORDER BY 1");
    return st;
}

static enum leat_status costs(struct demo *d) {
    say("8. What would each freshness cost? Measured, by playing this day again.");
    return LEAT(d, "cost", "--sample", "10", "--rounds", "1");
}

/* The next day comes in slowly, so that there is something to see. */
static enum leat_status next_day(struct demo *d) {
    struct leat_buffer quiet = {0};
    enum leat_status st = leat(d, &quiet, (const char *const[]){"generate", "--out", "day2", "--seed", "2", "--start", "2026-01-02 00:00:00", "--events", "86400",
                                                                "--rate", "1", "--fraud", "3", NULL});
    leat_buffer_deinit(&quiet);
    demo_day_close(d->day);
    d->day = NULL;
    return st == LEAT_OK ? demo_day_open(&d->cli->env, "day2", "in", true, &d->day, d->err) : st;
}

static enum leat_status stay(struct demo *d) {
    enum leat_status st = next_day(d);
    if (st == LEAT_OK) st = start_run(d, d->cli->values[OPTION_LISTEN].text);
    if (st != LEAT_OK && !d->running) st = start_run(d, "127.0.0.1:0"); /* the address is taken */
    if (st != LEAT_OK) return st;
    printf("\n\n    The dashboard: %s/    (Ctrl-C ends the demo; the project is in %s)\n", d->address, d->folder);
    fflush(stdout);
    int code = 0;
    bool ended = false;
    while (st == LEAT_OK && !interrupted && !(ended = leat_child_ended(d->running, &code))) {
        st = demo_day_arrive(d->day, 5, d->err);
        wait_tick(d);
    }
    if (!ended) return stop_run(d);
    d->running = 0;
    return leat_fail(d->err, LEAT_IO, "leat run ended; see %s/run.log", d->folder);
}

static enum leat_status tell(struct demo *d) {
    enum leat_status (*const parts[])(struct demo *) = {make_day, make_project, night, afternoon, turn_the_dial, count_everything, keep, costs};
    enum leat_status st = demo_desk_open(&d->desk, d->err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && st == LEAT_OK && !interrupted; i++) st = parts[i](d);
    if (st == LEAT_OK && d->wrong) st = leat_fail(d->err, LEAT_CORRUPT, "%d figures differ from what was planted", d->wrong);
    if (st == LEAT_OK && !interrupted && !d->cli->values[OPTION_EXIT].number) st = stay(d);
    return st;
}

static int run(struct leat_cli *cli) {
    struct leat_error err = {0};
    struct demo d = {.cli = cli, .err = &err, .folder = leat_strdup(cli->argument_count ? cli->arguments[0] : "leat-demo")};
    enum leat_status st = LEAT_OK;
    if (leat_io_exists(cli->env.io, d.folder)) {
        fprintf(stderr, "leat demo: %s is there already; remove it, or name another folder\n", d.folder);
        free(d.folder);
        return LEAT_EXIT_USAGE;
    }
    d.leat = leat_child_self();
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    st = leat_io_mkdirs(cli->env.io, d.folder, &err);
    if (st == LEAT_OK && chdir(d.folder) != 0) st = leat_fail_errno(&err, "chdir to", d.folder);
    if (st == LEAT_OK) st = tell(&d);
    struct leat_error told = err;
    if (d.running && stop_run(&d) != LEAT_OK) fprintf(stderr, "leat: %s\n", err.text);
    demo_desk_close(d.desk);
    demo_day_close(d.day);
    json_decref(d.planted);
    free(d.address);
    free(d.folder);
    free(d.leat);
    curl_global_cleanup();
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(&told);
}

const struct leat_command leat_command_demo = {
    .name = "demo", .arguments = "[FOLDER]", .max_arguments = 1, .summary = "show all of it: an online shop's day, as stream and batch",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Makes FOLDER (leat-demo) with a generated day and the example project, runs it by the commands that it shows, compares what leat says was late,\n"
             "twice, broken and fraudulent with what was planted, and leaves the dashboard running.",
    .run = run,
};
