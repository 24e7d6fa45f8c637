/* leat advise: how late records come, and how long the business can wait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "audit/lateness.h"
#include "audit/patience.h"
#include "cli/cli.h"
#include "project/rewrite.h"
#include "sql/duck.h"

enum { OPTION_MISSING, OPTION_FINALLY, OPTION_WHO, OPTION_WITHIN, OPTION_IF_LATE, OPTION_WRITE };
#define WITHIN_MAX_US (INT64_C(366) * 86400 * 1000000)
static const struct leat_option_spec OPTIONS[] = {
    {.name = "missing", .type = LEAT_OPTION_REAL, .min = 0, .max = 100, .unit = "percent", .default_text = "0.1", .prose = "Percentage of the records that the watermark may miss at most."},
    {.name = "missing_finally", .type = LEAT_OPTION_REAL, .min = 0, .max = 100, .unit = "percent", .default_text = "0.01",
     .prose = "Percentage of the records that may come later than watermark and allowed lateness together."},
    {.name = "who", .type = LEAT_OPTION_ENUM, .choices = leat_actor_names,
     .prose = "Who acts on TABLE: a program, a watcher (a person in front of it), a reader (looks it up), a report, nobody."},
    {.name = "within", .type = LEAT_OPTION_INTERVAL, .min = 1, .max = WITHIN_MAX_US, .prose = "How soon after the fact they act."},
    {.name = "if_late", .type = LEAT_OPTION_ENUM, .choices = leat_harm_names, .prose = "What a late number costs: nothing, annoyance, money."},
    {.name = "write", .type = LEAT_OPTION_BOOL, .default_text = "false",
     .prose = "Write what is proposed into the project's files, in place: watermark of SOURCE, freshness of TABLE."},
};

struct advise {
    struct leat_cli *cli;
    struct leat_engine *engine;
    struct leat_duck *duck;
    struct leat_conn *conn;
    const struct leat_project *project;
    double share, share_finally;
    json_t *out;
};

static void put_sql_text(char **out, int64_t us) {
    struct leat_buffer b = {0};
    leat_put_sql_interval(&b, us);
    *out = b.data;
}

static char *span_text(int64_t us) {
    struct leat_buffer b = {0};
    leat_put_interval(&b, us);
    return b.data;
}

/* ---- a source's watermark ---------------------------------------------------------------------------------------------- */

static bool on_progress(void *context, uint64_t records) {
    (void)context;
    fprintf(stderr, "\r%llu records", (unsigned long long)records);
    return true;
}

struct proposal {
    size_t watermark, both; /* delays */
    bool certain, certain_finally;
    uint64_t rows;
};

static double percent(const struct leat_lateness *l, size_t delay) {
    return l->records ? 100.0 * (double)leat_lateness_missed(l, delay) / (double)l->records : 0;
}

static double worst_day_percent(const struct leat_lateness *l, size_t delay) {
    double worst = 0;
    for (size_t d = 0; d < l->day_count; d++) {
        double share = 100.0 * (double)l->days[d].missed[delay] / (double)l->days[d].records;
        if (share > worst) worst = share;
    }
    return worst;
}

/* The nearest delay that is looked at and not longer. */
static size_t delay_at_most(int64_t us) {
    size_t i = leat_lateness_delay_count - 1;
    while (i && leat_lateness_delays[i] > us) i--;
    return i;
}

static void print_lateness(const struct leat_source *source, const struct leat_lateness *l, const struct proposal *p) {
    const char *column = source->schema.fields[source->event_time].name;
    char *now = span_text(source->watermark_delay_us), *delay, *lateness, *words;
    printf("source %s: %llu records with an event time, over %zu day%s\n", source->name, (unsigned long long)l->records, l->day_count,
           l->day_count == 1 ? "" : "s");
    printf("  now the watermark waits %s: %s%.4f %% of the records came later\n\n", now,
           leat_lateness_delays[delay_at_most(source->watermark_delay_us)] == source->watermark_delay_us ? "" : "at most ",
           percent(l, delay_at_most(source->watermark_delay_us)));
    printf("  %-16s %12s %10s %14s\n", "delay", "missed", "share", "worst day");
    for (size_t i = 0, shown = 0; i < leat_lateness_delay_count; i++) {
        bool chosen = i == p->watermark || i == p->both;
        uint64_t missed = leat_lateness_missed(l, i), before = i ? leat_lateness_missed(l, i - 1) : UINT64_MAX;
        if (!chosen && (missed == before || missed > l->records / 5 || (missed == 0 && shown))) continue;
        char *text = span_text(leat_lateness_delays[i]);
        printf("  %-16s %12llu %8.4f %% %12.4f %%%s%s\n", text, (unsigned long long)missed, percent(l, i), worst_day_percent(l, i),
               i == p->watermark ? "   <- watermark" : "", i == p->both && i != p->watermark ? "   <- with allowed lateness" : "");
        free(text);
        shown += missed == 0;
    }
    put_sql_text(&delay, leat_lateness_delays[p->watermark]);
    put_sql_text(&lateness, leat_lateness_delays[p->both] - leat_lateness_delays[p->watermark]);
    words = span_text(leat_lateness_delays[p->watermark]);
    printf("\n  proposed:  WATERMARK FOR %s AS %s - %s\n", column, column, delay);
    if (p->both > p->watermark) printf("             ALLOW LATENESS %s   on its windowed tables\n", lateness);
    printf("  state:     at most %llu records lie within watermark and allowed lateness at any time\n", (unsigned long long)p->rows);
    printf("  adds:      %s to what waits for a window's end (EMIT ON WINDOW CLOSE); tables without it show windows at once, as provisional\n", words);
    if (!p->certain) puts("  caution:   too few records to promise that share; the delay is the first that missed none of them");
    puts("");
    free(now);
    free(delay);
    free(lateness);
    free(words);
}

static json_t *lateness_json(const struct leat_source *source, const struct leat_lateness *l, const struct proposal *p) {
    json_t *curve = json_array();
    for (size_t i = 0; i < leat_lateness_delay_count; i++)
        json_array_append_new(curve, json_pack("{s:I,s:I,s:f,s:f}", "delay_us", (json_int_t)leat_lateness_delays[i], "missed",
                                               (json_int_t)leat_lateness_missed(l, i), "percent", percent(l, i), "worst_day_percent",
                                               worst_day_percent(l, i)));
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:b,s:I,s:o}", "source", source->name, "records", (json_int_t)l->records, "declared_us",
                     (json_int_t)source->watermark_delay_us, "watermark_us", (json_int_t)leat_lateness_delays[p->watermark],
                     "allow_lateness_us", (json_int_t)(leat_lateness_delays[p->both] - leat_lateness_delays[p->watermark]), "certain",
                     (int)p->certain, "rows_held", (json_int_t)p->rows, "curve", curve);
}

/* Into the files as they are now: the engine's project is the one applied last, which they may be ahead of. */
static enum leat_status write_clause(struct advise *a, const char *object, enum leat_clause clause, const char *text, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_project *files = NULL;
    enum leat_status st = leat_project_load(&a->cli->env, a->cli->project, &files, &diags, err);
    if (st == LEAT_OK) st = leat_rewrite_project(&a->cli->env, files, object, clause, text, err);
    leat_project_free(files);
    leat_diagnostics_deinit(&diags);
    return st;
}

static enum leat_status write_watermark(struct advise *a, const struct leat_source *source, int64_t delay_us, struct leat_error *err) {
    struct leat_buffer clause = {0};
    leat_put(&clause, "- ");
    leat_put_sql_interval(&clause, delay_us);
    enum leat_status st = write_clause(a, source->name, LEAT_CLAUSE_WATERMARK, clause.data, err);
    leat_buffer_deinit(&clause);
    if (st == LEAT_OK && !a->cli->json) printf("  written into %s\n\n", source->place.file);
    return st;
}

static enum leat_status advise_source(struct advise *a, size_t s, bool write, struct leat_error *err) {
    const struct leat_source *source = &a->project->sources[s];
    struct leat_buffer select = {0};
    struct leat_lateness l = {0};
    struct proposal p = {0};
    leat_engine_recorded(a->engine, s, &select);
    struct leat_lateness_options options = {.select = select.data, .event_time = source->schema.fields[source->event_time].name,
                                            .files = strcmp(source->connector, "file") == 0,
                                            .progress = leat_cli_is_terminal(2) ? on_progress : NULL};
    enum leat_status st = leat_lateness_measure(a->conn, &options, &l, err);
    if (options.progress) fputs("\r                    \r", stderr);
    if (st != LEAT_OK) goto out;
    if (!l.records) {
        if (a->cli->json)
            json_array_append_new(a->out, json_pack("{s:s,s:i}", "source", source->name, "records", 0));
        else
            printf("source %s: bronze holds no record yet; run 'leat run' for a while, better for a day, then ask again\n\n", source->name);
        goto out;
    }
    p.watermark = leat_lateness_choose(&l, a->share, &p.certain);
    p.both = leat_lateness_choose(&l, a->share_finally < a->share ? a->share_finally : a->share, &p.certain_finally);
    if (p.both < p.watermark) p.both = p.watermark;
    if ((st = leat_lateness_rows_within(a->conn, &options, &l, leat_lateness_delays[p.both], &p.rows, err)) != LEAT_OK) goto out;
    if (a->cli->json)
        json_array_append_new(a->out, lateness_json(source, &l, &p));
    else
        print_lateness(source, &l, &p);
    if (write) st = write_watermark(a, source, leat_lateness_delays[p.watermark], err);
out:
    leat_lateness_deinit(&l);
    leat_buffer_deinit(&select);
    return st;
}

/* ---- a table's freshness ----------------------------------------------------------------------------------------------- */

static bool read_line(char *out, size_t size) {
    fflush(stdout);
    if (!fgets(out, (int)size, stdin)) return false;
    out[strcspn(out, "\r\n")] = 0;
    return true;
}

/* The number of the answer from 1, or a name of it; -1: end of input. */
static int ask(const char *question, const char *const *answers, const char *const *names) {
    char line[80];
    for (;;) {
        puts(question);
        for (int i = 0; answers[i]; i++) printf("    %d  %s\n", i + 1, answers[i]);
        fputs("  > ", stdout);
        if (!read_line(line, sizeof line)) return -1;
        for (int i = 0; answers[i]; i++)
            if ((line[0] == '1' + i && !line[1]) || strcmp(line, names[i]) == 0) return i;
    }
}

static bool ask_interval(int64_t *out) {
    char line[80];
    struct leat_error err = {0};
    for (;;) {
        fputs("  How soon after something happened do they act? (such as 10 seconds, 15 minutes, 1 day)\n  > ", stdout);
        if (!read_line(line, sizeof line)) return false;
        if (leat_parse_interval(line, out, &err) == LEAT_OK && *out > 0 && *out <= WITHIN_MAX_US) return true;
        printf("  %s\n", err.text[0] ? err.text : "a time above zero and below a year");
    }
}

static bool ask_patience(struct leat_patience *p) {
    static const char *const WHO[] = {"a program, at once", "a person who watches it", "a person who looks it up now and then",
                                      "a report that is read later", "nobody yet", NULL};
    static const char *const LATE[] = {"nothing", "somebody is annoyed", "money or trust is lost", NULL};
    int who = ask("  Who acts on it?", WHO, leat_actor_names), late;
    if (who < 0) return false;
    p->actor = (enum leat_actor)who;
    p->within_us = WITHIN_MAX_US;
    if (p->actor == LEAT_ACTOR_NOBODY) return true;
    if (!ask_interval(&p->within_us)) return false;
    if ((late = ask("  What happens if the number is later than that?", LATE, leat_harm_names)) < 0) return false;
    p->harm = (enum leat_harm)late;
    return true;
}

static bool says_yes(const char *question) {
    char line[16];
    fputs(question, stdout);
    return read_line(line, sizeof line) && (line[0] == 'y' || line[0] == 'Y');
}

static enum leat_status propose(struct advise *a, size_t t, const struct leat_patience *p, bool ask_first, bool write, struct leat_error *err) {
    const struct leat_table *table = &a->project->tables[t];
    struct leat_freshness_advice advice;
    enum leat_status st = LEAT_OK;
    leat_freshness_advise(p, &advice);
    if (a->cli->json)
        json_array_append_new(a->out, json_pack("{s:s,s:I,s:b,s:s,s:s}", "table", table->name, "freshness_us", (json_int_t)advice.freshness_us,
                                                "scheduled", (int)advice.scheduled, "clause", advice.clause, "reason", advice.reason));
    else
        printf("  proposed:  %s\n  because:   %s\n", advice.clause, advice.reason);
    if (ask_first) {
        char *question = leat_asprintf("  Write it into %s? [y/N] ", table->place.file);
        write = says_yes(question);
        free(question);
    }
    if (write) {
        st = write_clause(a, table->name, LEAT_CLAUSE_REFRESH, advice.clause, err);
        if (st == LEAT_OK && !a->cli->json) printf("  written into %s; it holds from the next start of 'leat run' on\n", table->place.file);
    }
    if (!a->cli->json) puts("");
    leat_freshness_advice_deinit(&advice);
    return st;
}

static void print_table_heading(const struct leat_table *table) {
    char *now = table->freshness_us ? span_text(table->freshness_us) : NULL, *otherwise = table->calendar.else_us ? span_text(table->calendar.else_us) : NULL;
    printf("table %s, now %s%s", table->name, now ? "kept fresh to " : table->cron ? "at schedule " : "as fresh as its readers",
           now ? now : table->cron ? table->cron : "");
    if (otherwise)
        printf(" between %02d:%02d and %02d:%02d, else %s", table->calendar.from_minute / 60, table->calendar.from_minute % 60, table->calendar.to_minute / 60,
               table->calendar.to_minute % 60, otherwise);
    puts("");
    free(now);
    free(otherwise);
}

static enum leat_status advise_table(struct advise *a, size_t t, bool *asked, struct leat_error *err) {
    const struct leat_cli *cli = a->cli;
    struct leat_patience p = {.within_us = WITHIN_MAX_US};
    bool given = cli->given[OPTION_WHO] && (cli->given[OPTION_WITHIN] || cli->values[OPTION_WHO].number == LEAT_ACTOR_NOBODY);
    if (!cli->json) print_table_heading(&a->project->tables[t]);
    if (given) {
        p.actor = (enum leat_actor)cli->values[OPTION_WHO].number;
        if (cli->given[OPTION_WITHIN]) p.within_us = cli->values[OPTION_WITHIN].number;
        if (cli->given[OPTION_IF_LATE]) p.harm = (enum leat_harm)cli->values[OPTION_IF_LATE].number;
    } else if (!ask_patience(&p)) {
        *asked = false;
        return LEAT_OK;
    }
    return propose(a, t, &p, !given && !cli->values[OPTION_WRITE].number, cli->values[OPTION_WRITE].number, err);
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static bool has_watermark(const struct leat_source *source) {
    return !source->reference && source->event_time >= 0;
}

static enum leat_status advise_all(struct advise *a, bool terminal, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    bool asked = true;
    for (size_t s = 0; s < a->project->source_count && st == LEAT_OK; s++)
        if (has_watermark(&a->project->sources[s])) st = advise_source(a, s, false, err);
    for (size_t t = 0; t < a->project->table_count && st == LEAT_OK && terminal && asked; t++) st = advise_table(a, t, &asked, err);
    if (st == LEAT_OK && !terminal && !a->cli->json)
        puts("How long the business can wait for a table: leat advise TABLE --who ... --within ... --if-late ..., or leat advise on a terminal.");
    return st;
}

static int advise_named(struct advise *a, const char *name, bool terminal, struct leat_error *err) {
    struct leat_object_ref ref;
    bool asked = true, write = a->cli->values[OPTION_WRITE].number;
    if (!leat_project_find(a->project, name, &ref) || ref.kind == LEAT_OBJECT_VIEW ||
        (ref.kind == LEAT_OBJECT_SOURCE && !has_watermark(&a->project->sources[ref.index]))) {
        fprintf(stderr, "leat advise: '%s' is neither a materialized table nor a source with a WATERMARK; see 'leat status'\n", name);
        return LEAT_EXIT_USAGE;
    }
    if (ref.kind == LEAT_OBJECT_TABLE && !terminal && !a->cli->given[OPTION_WHO]) {
        fputs("leat advise: say --who, --within and --if-late, or ask on a terminal\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    enum leat_status st = ref.kind == LEAT_OBJECT_SOURCE ? advise_source(a, ref.index, write, err) : advise_table(a, ref.index, &asked, err);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(err);
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.read_only = true};
    struct advise a = {.cli = cli, .share = cli->values[OPTION_MISSING].real / 100, .share_finally = cli->values[OPTION_FINALLY].real / 100};
    struct leat_error err = {0};
    bool terminal = leat_cli_is_terminal(0) && leat_cli_is_terminal(1) && !cli->json;
    int code = leat_cli_open(cli, &options, &a.engine);
    if (code != LEAT_EXIT_OK) return code;
    a.project = leat_engine_project(a.engine);
    a.out = json_array();
    const struct leat_duck_options batch = {.use = LEAT_DUCK_BATCH, .threads = 2};
    enum leat_status st = leat_duck_open(&batch, &a.duck, &err);
    if (st == LEAT_OK) st = leat_conn_open(a.duck, &a.conn, &err);
    if (st == LEAT_OK && cli->argument_count)
        code = advise_named(&a, cli->arguments[0], terminal, &err);
    else if (st == LEAT_OK)
        st = advise_all(&a, terminal, &err);
    if (st != LEAT_OK) code = leat_cli_failed(&err);
    if (cli->json && code == LEAT_EXIT_OK) {
        char *text = json_dumps(a.out, JSON_INDENT(1));
        puts(text);
        free(text);
    }
    json_decref(a.out);
    if (a.conn) leat_conn_close(a.conn);
    if (a.duck) leat_duck_close(a.duck);
    leat_engine_close(a.engine);
    return code;
}

const struct leat_command leat_command_advise = {
    .name = "advise", .arguments = "[SOURCE|TABLE]", .max_arguments = 1, .summary = "propose watermarks from measured lateness, and freshness from who waits",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "For a source: reads its archive in order of arrival and says, for a row of delays, how many records a watermark with that delay\n"
             "would have missed; proposes a watermark and an allowed lateness for the shares asked, what they hold and what they add.\n"
             "For a table: how long can the business wait? Who acts on it, how soon, what if it is late: by options, or asked on a terminal.\n"
             "With --write the proposal goes into the project's file. Nothing else is changed; 'leat run' may go on meanwhile.",
    .run = run,
};
