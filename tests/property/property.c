/* property [--cases N] [--seed S] [--keep FOLDER]: N cases from seed S on; a failing one is shrunk and left as a project. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"
#include "property.h"
#include "sim/clock.h"
#include "sql/duck.h"

static struct leat_duck *step_duck, *plan_duck, *batch_duck;
static char scratch[256];

void prop_case_draw(struct prop_case *c, uint64_t seed) {
    struct leat_random random;
    memset(c, 0, sizeof *c);
    c->seed = seed;
    leat_random_seed(&random, seed * 2654435761u + 1);
    prop_draw_tables(c, &random);
    prop_draw_data(c, &random);
}

void prop_case_free(struct prop_case *c) {
    free(c->source_sql);
    for (size_t t = 0; t < TABLES_MAX; t++) free(c->tables[t]);
    for (size_t i = 0; i < ROUNDS_MAX; i++) {
        for (size_t k = 0; k < c->rounds[i].count; k++) free(c->rounds[i].lines[k]);
        free(c->rounds[i].lines);
        free(c->references[i]);
    }
    memset(c, 0, sizeof *c);
}

static void write_file(const char *dir, const char *name, const char *text, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, mode);
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        perror(path);
        exit(3);
    }
}

static void write_project(const struct prop_case *c, const char *dir) {
    struct leat_buffer sql = {0};
    char in[512];
    snprintf(in, sizeof in, "%s/in", dir);
    mkdir(dir, 0777);
    mkdir(in, 0777);
    leat_put(&sql, c->source_sql);
    for (size_t t = 0; t < c->table_count; t++)
        if (c->tables[t]) leat_put(&sql, c->tables[t]);
    write_file(dir, "project.sql", sql.data, "w");
    leat_buffer_deinit(&sql);
}

static void write_round(const struct prop_case *c, size_t round, const char *dir) {
    struct leat_buffer text = {0};
    leat_put(&text, "");
    for (size_t k = 0; k < c->rounds[round].count; k++)
        if (c->rounds[round].lines[k]) leat_putf(&text, "%s\n", c->rounds[round].lines[k]);
    if (text.length) write_file(dir, "in/events.ndjson", text.data, "a");
    leat_buffer_deinit(&text);
    if (!c->references[round]) return;
    char from[512], to[512];
    snprintf(from, sizeof from, "%s/in/things.new", dir);
    snprintf(to, sizeof to, "%s/in/things.csv", dir);
    write_file(dir, "in/things.new", c->references[round], "w");
    if (rename(from, to) != 0) perror(to);
}

struct run {
    struct leat_env env;
    struct leat_clock clock;
    int64_t now_us;
    struct leat_engine *engine;
    const char *dir;
};

static enum leat_status reopen(struct run *run, uint64_t step_rows, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_engine_options options = {.project_dir = run->dir, .max_step_rows = step_rows,
                                          .shared_step = step_duck, .shared_plan = plan_duck, .shared_batch = batch_duck};
    leat_engine_close(run->engine);
    enum leat_status st = leat_engine_open(&run->env, &options, &diags, &run->engine, err);
    if (st != LEAT_OK && diags.count) {
        struct leat_buffer text = {0};
        leat_diagnostics_print(&diags, &text);
        snprintf(err->text, sizeof err->text, "%s", text.data);
        leat_buffer_deinit(&text);
    }
    leat_diagnostics_deinit(&diags);
    return st;
}

static enum leat_status verify(struct run *run, char **report, struct leat_error *err) {
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    enum leat_status st = leat_engine_verify(run->engine, NULL, 5, &text, &differing, err);
    if (st == LEAT_OK && differing) {
        *report = leat_strdup(text.data);
        st = leat_fail(err, LEAT_CONFLICT, "tables differ");
    }
    leat_buffer_deinit(&text);
    return st;
}

static enum leat_status check_balance(struct run *run, uint64_t records, char **report, struct leat_error *err) {
    struct leat_buffer text = {0};
    char wanted[64];
    enum leat_status st = leat_engine_status(run->engine, &text, err);
    snprintf(wanted, sizeof wanted, "\"in\": %llu,", (unsigned long long)records);
    const char *at = text.data;
    while (st == LEAT_OK && (at = strstr(at, "\"in\": "))) {
        if (strncmp(at, wanted, strlen(wanted)) != 0) {
            *report = leat_strdup(text.data);
            st = leat_fail(err, LEAT_CONFLICT, "a table did not see %llu records", (unsigned long long)records);
        }
        at++;
    }
    if (st == LEAT_OK && strstr(text.data, "\"exact\": false")) {
        *report = leat_strdup(text.data);
        st = leat_fail(err, LEAT_CONFLICT, "the row balance is not exact");
    }
    leat_buffer_deinit(&text);
    return st;
}

static enum leat_status play(const struct prop_case *c, struct run *run, char **report, struct leat_error *err) {
    uint64_t records = 0;
    enum leat_status st = LEAT_OK;
    for (size_t round = 0; round < c->round_count; round++) {
        uint64_t got;
        bool did;
        write_round(c, round, run->dir);
        for (size_t k = 0; k < c->rounds[round].count; k++) records += c->rounds[round].lines[k] != NULL;
        run->now_us += 2000000;
        if (round == 0 || c->restart[round])
            if ((st = reopen(run, c->step_rows[round], err)) != LEAT_OK) return st;
        if ((st = leat_engine_ingest(run->engine, &got, err)) != LEAT_OK) return st;
        /* An even step count stops in the middle of the backlog. */
        uint64_t limit = c->step_rows[round] % 2 ? UINT64_MAX : c->step_rows[round];
        for (uint64_t k = 0; k < limit; k++) {
            run->now_us += 1000000;
            if ((st = leat_engine_step(run->engine, k % 3 != 1, &did, err)) != LEAT_OK) return st;
            if (!did && k % 3 != 1) break;
        }
        if (!c->flush[round]) continue;
        if ((st = leat_engine_flush(run->engine, false, err)) != LEAT_OK) return st;
        if ((st = verify(run, report, err)) != LEAT_OK) return st;
        if (round % 2) st = leat_engine_drain_and_checkpoint(run->engine, err);
        if (st != LEAT_OK) return st;
    }
    if ((st = leat_engine_run_once(run->engine, false, c->seed % 2, err)) != LEAT_OK) return st;
    if ((st = verify(run, report, err)) != LEAT_OK) return st;
    return check_balance(run, records, report, err);
}

static void quiet(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env;
    (void)level;
    (void)line;
}

/* NULL: the case holds; else what went wrong, malloc'd. */
static char *run_case(const struct prop_case *c, const char *dir) {
    struct run run = {.dir = dir, .now_us = 1772323200000000 + 60 * (int64_t)86400000000};
    struct leat_error err = {0}, ignored;
    char *report = NULL, *result = NULL;
    leat_env_real(&run.env);
    leat_random_seed(&run.env.random, c->seed);
    leat_clock_virtual_init(&run.clock, &run.now_us);
    run.env.clock = &run.clock;
    run.env.log = quiet;
    if (leat_io_remove_tree(run.env.io, dir, &ignored) != LEAT_OK) return leat_strdup(ignored.text);
    write_project(c, dir);
    if (play(c, &run, &report, &err) != LEAT_OK) result = leat_asprintf("%s\n%s", err.text, report ? report : "");
    leat_engine_close(run.engine);
    free(report);
    return result;
}

/* A query that DuckDB or the planner refuses is not a failure of the property; how many there are is printed. */
static bool refused(const char *why) {
    return strstr(why, "error:") || strstr(why, "Binder Error") || strstr(why, "cannot be kept") || strstr(why, "does not run");
}

static bool still_fails(const struct prop_case *c, const char *dir) {
    char *why = run_case(c, dir);
    bool fails = why && !refused(why);
    free(why);
    return fails;
}

/* Leaves out tables, then runs of lines, then restarts and flushes, as long as it still fails. */
static void shrink(struct prop_case *c, const char *dir) {
    for (size_t t = c->table_count; t-- > 0;) {
        char *kept = c->tables[t];
        c->tables[t] = NULL;
        if (still_fails(c, dir))
            free(kept);
        else
            c->tables[t] = kept;
    }
    for (size_t run = 64; run > 0; run /= 2)
        for (size_t round = 0; round < c->round_count; round++)
            for (size_t from = 0; from < c->rounds[round].count; from += run) {
                char *kept[64];
                size_t n = c->rounds[round].count - from < run ? c->rounds[round].count - from : run;
                memcpy(kept, c->rounds[round].lines + from, n * sizeof *kept);
                memset(c->rounds[round].lines + from, 0, n * sizeof *kept);
                if (still_fails(c, dir))
                    for (size_t k = 0; k < n; k++) free(kept[k]);
                else
                    memcpy(c->rounds[round].lines + from, kept, n * sizeof *kept);
            }
    for (size_t round = 0; round < c->round_count; round++) {
        bool restart = c->restart[round], flush = c->flush[round];
        c->restart[round] = false;
        if (!still_fails(c, dir)) c->restart[round] = restart;
        c->flush[round] = false;
        if (!still_fails(c, dir)) c->flush[round] = flush;
    }
}

static void report_failure(struct prop_case *c, const char *keep, const char *why) {
    char dir[400];
    printf("case %llu differs: %s\n", (unsigned long long)c->seed, why);
    mkdir(keep, 0777);
    snprintf(dir, sizeof dir, "%s/%llu", keep, (unsigned long long)c->seed);
    shrink(c, dir);
    char *now = run_case(c, dir);
    printf("shrunk to %s (leat run --once --project it; leat verify --project it):\n%s\n", dir, now ? now : "(holds after shrinking)");
    for (size_t round = 0; round < c->round_count; round++)
        printf("  round %zu: step rows %llu%s%s\n", round, (unsigned long long)c->step_rows[round], c->restart[round] ? ", restart" : "",
               c->flush[round] ? ", flush" : "");
    free(now);
}

static void open_ducks(void) {
    struct leat_duck_options options = {.threads = 1, .time_zone = "UTC"};
    struct leat_error err;
    struct leat_duck **ducks[] = {&step_duck, &plan_duck, &batch_duck};
    for (int i = 0; i < 3; i++) {
        options.use = (enum leat_duck_use)i;
        if (leat_duck_open(&options, ducks[i], &err) != LEAT_OK) {
            fprintf(stderr, "%s\n", err.text);
            exit(3);
        }
    }
}

int main(int argc, char **argv) {
    uint64_t cases = 200, seed = 1, failed = 0, refusals = 0;
    const char *keep = "property-failures";
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--cases") == 0) cases = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--keep") == 0) keep = argv[i + 1];
    }
    bool memory = access("/dev/shm", W_OK) == 0;
    snprintf(scratch, sizeof scratch, "%s/leat-property-%d", memory ? "/dev/shm" : "/tmp", (int)getpid());
    open_ducks();
    for (uint64_t i = 0; i < cases && failed < 5; i++) {
        struct prop_case c;
        if (i % 500 == 499) { /* fresh instances now and then: their memory is not what is tested here */
            leat_duck_close(step_duck);
            leat_duck_close(plan_duck);
            leat_duck_close(batch_duck);
            open_ducks();
        }
        prop_case_draw(&c, seed + i);
        char *why = run_case(&c, scratch);
        if (why && refused(why)) {
            refusals++;
            if (getenv("PROPERTY_VERBOSE")) printf("case %llu refused: %s\n", (unsigned long long)c.seed, why);
        } else if (why) {
            failed++;
            report_failure(&c, keep, why);
        }
        free(why);
        prop_case_free(&c);
    }
    struct leat_error ignored;
    struct leat_env env;
    leat_env_real(&env);
    if (leat_io_remove_tree(env.io, scratch, &ignored) != LEAT_OK) fprintf(stderr, "%s\n", ignored.text);
    leat_duck_close(step_duck);
    leat_duck_close(plan_duck);
    leat_duck_close(batch_duck);
    printf("%llu cases from seed %llu, %llu refused by the planner or DuckDB\n", (unsigned long long)cases, (unsigned long long)seed,
           (unsigned long long)refusals);
    printf("%llu passed, %llu failed\n", (unsigned long long)(cases - failed - refusals), (unsigned long long)failed);
    return failed || refusals * 3 > cases ? 1 : 0;
}
