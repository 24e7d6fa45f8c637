#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "engine/change/control.h"
#include "serve/serve.h"

enum { OPTION_ONCE, OPTION_ALL, OPTION_FINAL, OPTION_STEP_ROWS, OPTION_LISTEN, OPTION_TOKENS, OPTION_CERTIFICATE, OPTION_KEY };
static const struct leat_option_spec OPTIONS[] = {
    {.name = "once", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "Bring everything due up to date, then exit."},
    {.name = "all", .type = LEAT_OPTION_BOOL, .default_text = "false", .prose = "With --once: also run what is not due yet."},
    {.name = "final", .type = LEAT_OPTION_BOOL, .default_text = "false",
     .prose = "With --once: event time ends here; windows close and watermarks go to infinity."},
    {.name = "max_step_rows", .type = LEAT_OPTION_INT, .unit = "records", .min = 1, .max = 100000000,
     .prose = "The largest number of records of a source in one step, instead of the project's setting."},
    {.name = "listen", .type = LEAT_OPTION_TEXT,
     .prose = "Serve HTTP at this address, such as 127.0.0.1:8080 (instead of the setting `listen`). Port 0: any free one."},
    {.name = "tokens", .type = LEAT_OPTION_PATH,
     .prose = "A file, outside the project, of lines 'ROLES TOKEN [EXPIRES]': who may use HTTP. The environment's LEAT_TOKENS holds the same lines. "
              "Without any, HTTP is for this machine alone."},
    {.name = "tls_certificate", .type = LEAT_OPTION_PATH, .prose = "Serve HTTPS with this certificate (PEM, with its chain)."},
    {.name = "tls_key", .type = LEAT_OPTION_PATH, .prose = "The certificate's private key (PEM)."},
};

static atomic_int stop;

static void on_signal(int signal_number) {
    (void)signal_number;
    stop = 1;
    leat_clock_alarm();
}

static void on_progress(void *context, uint64_t records) {
    uint64_t *total = context;
    *total += records;
    if (records) fprintf(stderr, "\r%llu records", (unsigned long long)*total);
}

static const char *text_of(const struct leat_cli *cli, int option) {
    return cli->given[option] ? cli->values[option].text : NULL;
}

/* listen: replaced by what port 0 has become, so that the server is found again after a change. */
static enum leat_status serve_and_run(struct leat_cli *cli, struct leat_engine *engine, char **listen, struct leat_error *err) {
    struct leat_serve *serve = NULL;
    enum leat_status st = LEAT_OK;
    if (**listen) {
        struct leat_serve_options options = {.listen = *listen,
                                             .tokens_file = text_of(cli, OPTION_TOKENS),
                                             .tokens_text = getenv("LEAT_TOKENS"),
                                             .tls_certificate = text_of(cli, OPTION_CERTIFICATE),
                                             .tls_key = text_of(cli, OPTION_KEY)};
        if ((st = leat_serve_open(&cli->env, engine, &options, &serve, err)) != LEAT_OK) return st;
        leat_cli_say(cli, "leat listens at %s", leat_serve_address(serve));
        free(*listen);
        *listen = leat_strdup(strstr(leat_serve_address(serve), "://") + 3);
    }
    const struct leat_project *project = leat_engine_project(engine);
    for (size_t s = 0; !serve && s < project->source_count; s++)
        if (strcmp(project->sources[s].connector, "http") == 0)
            leat_cli_say(cli, "leat: source %s takes records by HTTP, but leat does not listen: give --listen 127.0.0.1:8080", project->sources[s].name);
    st = leat_engine_run(engine, &stop, err);
    leat_serve_close(serve);
    return st;
}

/* Runs until stopped, serving HTTP where that is asked for. A change of the project closes the server for as long as it takes. */
static enum leat_status run_on(struct leat_cli *cli, struct leat_engine *engine, char **listen, struct leat_error *err) {
    if (leat_cli_is_terminal(2)) fputs("leat is running; Ctrl-C brings everything up to date and stops\n", stderr);
    for (;;) {
        enum leat_status st = serve_and_run(cli, engine, listen, err);
        if (st != LEAT_OK || !leat_control_parked(engine)) return st;
        if ((st = leat_control_answer_parked(engine, err)) != LEAT_OK) return st;
    }
}

/* What --listen or the project says; the setting is read before the engine is opened, which needs to know. */
static char *listen_address(struct leat_cli *cli) {
    struct leat_diagnostics diags = {0};
    struct leat_project *project = NULL;
    struct leat_error ignored;
    const char *given = text_of(cli, OPTION_LISTEN);
    if (given || cli->values[OPTION_ONCE].number) return leat_strdup(given ? given : "");
    bool loaded = leat_project_load(&cli->env, cli->project, &project, &diags, &ignored) == LEAT_OK; /* what is wrong is told by the opening */
    char *listen = leat_strdup(loaded ? leat_setting_text(project, "listen") : "");
    leat_diagnostics_deinit(&diags);
    if (project) leat_project_free(project);
    return listen;
}

static int run(struct leat_cli *cli) {
    struct leat_engine_options options = {.deliver = true, .max_step_rows = cli->given[OPTION_STEP_ROWS] ? (uint64_t)cli->values[OPTION_STEP_ROWS].number : 0};
    struct leat_engine *engine;
    struct leat_error err = {0};
    uint64_t total = 0;
    struct sigaction action;
    cli->env.clock = leat_clock_with_alarm();
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* no SA_RESTART: a sleep ends at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (cli->values[OPTION_ONCE].number && cli->given[OPTION_LISTEN]) {
        fputs("leat run: --listen does not go with --once, which exits when everything is done\n", stderr);
        return LEAT_EXIT_USAGE;
    }
    char *listen = listen_address(cli);
    options.serve = *listen != 0;
    int code = leat_cli_open(cli, &options, &engine);
    if (code != LEAT_EXIT_OK) {
        free(listen);
        return code;
    }
    enum leat_status st;
    if (cli->values[OPTION_ONCE].number) {
        if (leat_cli_is_terminal(2)) leat_engine_on_progress(engine, on_progress, &total);
        st = leat_engine_run_once(engine, cli->values[OPTION_ALL].number, cli->values[OPTION_FINAL].number, &err);
        if (total) fputc('\n', stderr);
    } else {
        st = run_on(cli, engine, &listen, &err);
    }
    free(listen);
    if (st == LEAT_OK && cli->values[OPTION_ONCE].number && leat_engine_failed_runs(engine)) {
        leat_cli_say(cli, "leat: %llu scheduled run(s) failed; 'leat status' says why",
                (unsigned long long)leat_engine_failed_runs(engine));
        code = LEAT_EXIT_FAILED;
    }
    if (cli->json && st == LEAT_OK) {
        struct leat_buffer text = {0};
        st = leat_engine_status(engine, &text, &err);
        if (st == LEAT_OK) puts(text.data);
        leat_buffer_deinit(&text);
    }
    leat_engine_close(engine);
    return st == LEAT_OK ? code : leat_cli_failed(&err);
}

const struct leat_command leat_command_run = {
    .name = "run", .arguments = "", .summary = "keep all tables fresh; --once: bring them up to date and exit",
    .options = OPTIONS, .option_count = sizeof OPTIONS / sizeof *OPTIONS,
    .prose = "Reads the sources, keeps every table as fresh as it asks, commits to the lake. Stops cleanly on Ctrl-C or SIGTERM;\n"
             "after a kill the next start recovers. With --once it does everything that is due and exits, so that a timer can call it.",
    .run = run,
};
