/* Makes a failing case small, and a folder of it that anyone can run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "property.h"

enum { TRIES_MAX = 400 }; /* runs of the case that shrinking may take */
static unsigned tries;

static bool still_fails(const struct prop_case *c, const char *dir) {
    if (tries >= TRIES_MAX) return false;
    tries++;
    char *why = prop_case_run(c, dir, NULL);
    bool fails = why && !prop_refused(why);
    free(why);
    return fails;
}

static void shrink_tables(struct prop_case *c, const char *dir) {
    for (size_t t = c->table_count; t-- > 0;) {
        char *kept = c->tables[t];
        if (!kept) continue;
        c->tables[t] = NULL;
        if (still_fails(c, dir))
            free(kept);
        else
            c->tables[t] = kept;
    }
}

static void shrink_lines(struct prop_case *c, const char *dir) {
    for (size_t run = 64; run > 0; run /= 2)
        for (size_t round = 0; round < c->round_count; round++)
            for (size_t from = 0; from < c->rounds[round].count; from += run) {
                char *kept[64];
                size_t n = c->rounds[round].count - from < run ? c->rounds[round].count - from : run, some = 0;
                memcpy(kept, c->rounds[round].lines + from, n * sizeof *kept);
                for (size_t k = 0; k < n; k++) some += kept[k] != NULL;
                if (!some) continue;
                memset(c->rounds[round].lines + from, 0, n * sizeof *kept);
                if (still_fails(c, dir))
                    for (size_t k = 0; k < n; k++) free(kept[k]);
                else
                    memcpy(c->rounds[round].lines + from, kept, n * sizeof *kept);
            }
}

static void shrink_history(struct prop_case *c, const char *dir) {
    while (c->round_count > 1) { /* later rounds are mostly not needed */
        c->round_count--;
        if (still_fails(c, dir)) continue;
        c->round_count++;
        break;
    }
    for (size_t round = 0; round < c->round_count; round++) {
        bool *flags[] = {&c->restart[round], &c->flush[round], &c->checkpoint[round], &c->lose[round]};
        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
            if (!*flags[i]) continue;
            *flags[i] = false;
            *flags[i] = !still_fails(c, dir);
        }
        uint32_t *draws[] = {&c->kill[round], &c->crash[round], &c->change[round], &c->ask[round]};
        for (size_t i = 0; i < sizeof draws / sizeof *draws; i++) {
            uint32_t drawn = *draws[i];
            *draws[i] = 0;
            if (drawn && !still_fails(c, dir)) *draws[i] = drawn;
        }
        uint8_t restate = c->restate[round];
        c->restate[round] = 0;
        if (restate && !still_fails(c, dir)) c->restate[round] = restate;
        char *reference = c->references[round];
        if (!reference || !round) continue;
        c->references[round] = NULL;
        if (still_fails(c, dir))
            free(reference);
        else
            c->references[round] = reference;
    }
}

/* The rounds as files, and a script that plays them with the program. */
static void write_history(const struct prop_case *c, const char *dir) {
    struct leat_buffer script = {0};
    char name[600];
    leat_put(&script, "#!/bin/sh\n# Plays the rounds into this project: history.sh LEAT. What property does beyond it is said in comments.\n"
                      "# A command that fails (a table held back, say) is part of it: the next ones run.\n"
                      "leat=$(realpath \"$1\")\ncd \"$(dirname \"$0\")\"\nrm -rf in lake .leat\nmkdir in\n");
    snprintf(name, sizeof name, "%s/rounds", dir);
    mkdir(name, 0777);
    for (size_t round = 0; round < c->round_count; round++) {
        char *text = prop_round_text(c, round);
        if (round == 0 || c->change[round]) {
            prop_write_project(c, round, dir);
            snprintf(name, sizeof name, "%s/rounds/%zu.project", dir, round);
            char *project = leat_asprintf("%s/project.sql", dir);
            if (rename(project, name) != 0) perror(name);
            free(project);
            leat_putf(&script, "cp rounds/%zu.project project.sql\n", round);
            prop_write_project(c, 0, dir);
        }
        if (round && c->lose[round]) leat_put(&script, "rm -rf .leat\n");
        leat_putf(&script, "# round %zu%s%s%s\n", round, c->restart[round] ? ", the process restarts first" : "",
                  c->flush[round] ? ", flush and verify at its end" : "", c->checkpoint[round] ? ", then a checkpoint" : "");
        snprintf(name, sizeof name, "rounds/%zu.ndjson", round);
        prop_write_file(dir, name, text, "w");
        leat_putf(&script, "cat %s >>in/events.ndjson\n", name);
        free(text);
        if (c->references[round]) {
            snprintf(name, sizeof name, "rounds/%zu.csv", round);
            prop_write_file(dir, name, c->references[round], "w");
            leat_putf(&script, "cp %s in/things.new; mv in/things.new in/things.csv\n", name);
        }
        if (c->step_rows[round] % 2 == 0) leat_putf(&script, "# property stops after %llu steps\n", (unsigned long long)c->step_rows[round]);
        leat_putf(&script, "\"$leat\" run --once --project . --max-step-rows %llu\n\"$leat\" verify --project .\nsleep 1\n",
                  (unsigned long long)c->step_rows[round]);
        if (c->ask[round]) leat_putf(&script, "# property asks for: %s\n", prop_ask_name(c->ask[round]));
        if (c->crash[round]) leat_putf(&script, "# property kills the process in this round after %u calls that write\n", c->crash[round]);
        if (c->restate[round])
            leat_putf(&script, "\"$leat\" restate --project .%s\n\"$leat\" verify --project .\n", c->restate[round] > 1 ? " # property: from a time on" : "");
    }
    leat_putf(&script, "\"$leat\" run --once --project .%s\n\"$leat\" verify --project .\n", c->seed % 2 ? " --final" : "");
    prop_write_file(dir, "history.sh", script.data, "w");
    snprintf(name, sizeof name, "%s/history.sh", dir);
    if (chmod(name, 0755) != 0) perror(name);
    leat_buffer_deinit(&script);
}

void prop_report_failure(struct prop_case *c, const char *keep, const char *why) {
    char dir[400];
    printf("case %llu differs: %s\n", (unsigned long long)c->seed, why);
    mkdir(keep, 0777);
    snprintf(dir, sizeof dir, "%s/%llu", keep, (unsigned long long)c->seed);
    tries = 0;
    shrink_history(c, dir);
    shrink_tables(c, dir);
    shrink_lines(c, dir);
    shrink_history(c, dir);
    char *now = prop_case_run(c, dir, NULL);
    write_history(c, dir);
    printf("shrunk to %s (%s/history.sh LEAT plays it with the program):\n%s\n", dir, dir, now ? now : "(holds after shrinking)");
    for (size_t round = 0; round < c->round_count; round++) {
        if (c->change[round]) printf("  change %u (%s), killed after %u\n", c->change[round], c->change[round] % 2 ? "in place" : "at a start", c->kill[round]);
        printf("  round %zu: step rows %llu%s%s%s%s%s\n", round, (unsigned long long)c->step_rows[round], c->change[round] ? ", project change" : c->lose[round] ? ", work folder lost" : "",
               c->restart[round] ? ", restart" : "",
               c->flush[round] ? ", flush" : "", c->checkpoint[round] ? ", checkpoint" : "", c->restate[round] ? ", restated" : "");
        if (c->ask[round]) printf("  asked: %s\n", prop_ask_name(c->ask[round]));
        if (c->crash[round]) printf("  killed after %u calls\n", c->crash[round]);
    }
    free(now);
}
