/* property [--cases N] [--seed S] [--keep FOLDER] [--refusals yes]: N cases from seed S on; a failing one is shrunk and left as
 * a project. --refusals prints what the planner or DuckDB refused. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/usage.h"
#include "property.h"

static char scratch[256];
static volatile sig_atomic_t stop; /* after the present case, with what was counted */

static void on_signal(int number) {
    (void)number;
    stop = 1;
}

void prop_case_draw(struct prop_case *c, uint64_t seed) {
    struct leat_random random;
    memset(c, 0, sizeof *c);
    c->seed = seed;
    leat_random_seed(&random, seed * 2654435761u + 1);
    c->old_times = prop_chance(&random, 15);
    c->huge = prop_chance(&random, 6);
    prop_draw_tables(c, &random);
    prop_draw_data(c, &random);
    leat_random_seed(&random, seed * 2654435761u + 2);
    prop_draw_asks(c, &random);
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

#define N(x) (unsigned long long)(x)

static void print_coverage(const struct prop_coverage *v) {
    printf("%llu tables: ", N(v->tables));
    for (int k = 1; k <= 7; k++) printf("%llu of class %d%s", N(v->classes[k]), k, k < 7 ? ", " : "\n");
    printf("  %llu empty at the end, %llu with late rows, %llu with dead letters, %llu withholding, %llu whose runs failed\n",
           N(v->empty_tables), N(v->tables_late), N(v->tables_dead), N(v->tables_withheld), N(v->never_run));
    printf("  %llu comparisons with DuckDB, %llu impossible since rows are withheld\n", N(v->comparisons), N(v->uncompared));
    printf("cases: %llu with late rows, %llu with dead letters, %llu restarted with steps to replay, %llu from a checkpoint, %llu of "
           "ten steps or more, %llu with reference changes, %llu whose project changed after records were late, %llu restated, %llu lost the work folder, %llu changed their project, %llu killed meanwhile; "
           "%llu killed in a round, %llu asked of a table or source, %llu with retention, %llu with rows that were frozen, %llu with a sink\n",
           N(v->late), N(v->dead), N(v->restarts_replaying), N(v->checkpoints_loaded), N(v->many_steps), N(v->reference_changes),
           N(v->changed_after_late), N(v->restated), N(v->lost), N(v->changes), N(v->killed), N(v->crashed), N(v->asked), N(v->retained), N(v->frozen), N(v->told));
}

int main(int argc, char **argv) {
    uint64_t cases = 200, seed = 1, failed = 0, refusals = 0, ran = 0;
    const char *keep = "property-failures";
    bool print_refusals = false;
    struct prop_coverage coverage = {0};
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* as the program does */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--cases") == 0) cases = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--keep") == 0) keep = argv[i + 1];
        if (strcmp(argv[i], "--refusals") == 0) print_refusals = true;
    }
    bool memory = access("/dev/shm", W_OK) == 0;
    snprintf(scratch, sizeof scratch, "%s/leat-property-%d", memory ? "/dev/shm" : "/tmp", (int)getpid());
    for (uint64_t i = 0; i < cases && failed < 5 && !stop; i++) {
        struct prop_case c;
        prop_case_draw(&c, seed + i);
        char *why = prop_case_run(&c, scratch, &coverage);
        ran++;
        if (why && prop_refused(why)) {
            refusals++;
            if (print_refusals) printf("case %llu refused: %s\n", N(c.seed), why);
        } else if (why) {
            failed++;
            prop_report_failure(&c, keep, why);
        }
        free(why);
        prop_case_free(&c);
    }
    struct leat_error ignored;
    struct leat_env env;
    leat_env_real(&env);
    if (leat_io_remove_tree(env.io, scratch, &ignored) != LEAT_OK) fprintf(stderr, "%s\n", ignored.text);
    print_coverage(&coverage);
    printf("%llu cases from seed %llu, %llu refused by the planner or DuckDB, %.1f ms of CPU a case\n", N(ran), N(seed), N(refusals),
           ran ? (double)leat_usage_cpu_us() / 1000.0 / (double)ran : 0.0);
    printf("%llu passed, %llu failed\n", N(ran - failed - refusals), N(failed));
    return failed || refusals * 10 > ran ? 1 : 0;
}
