/* Every sync site failing (the process must stop, and a fresh one must find everything acknowledged), every other call failing,
 * and full disks. After each failure the folder itself and an image of a crash at that moment are recovered and checked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

enum { ROUNDS = 6 };

/* The first site whose call fails, and how many further the next one is. */
struct sites {
    uint64_t first, stride;
};
struct tally {
    uint64_t cases, stopped, went_on, failed;
};

static void complain(struct tally *t, const char *what, uint64_t n, const char *error, const char *problem) {
    t->failed++;
    printf("%s %llu (%s): %s\n", what, (unsigned long long)n, error, problem);
    fflush(stdout);
}

static char *check_image(struct world *w, uint64_t n, const struct mark *acknowledged) {
    struct leat_error err = {0};
    uint64_t seed = n % 3 < 2 ? n % 3 : n * 7919;
    if (leat_sim_disk_image(w->disk, leat_sim_disk_op_count(w->disk), seed, w->image, &err) != LEAT_OK) return leat_strdup(err.text);
    return world_check(w, w->image, acknowledged);
}

/* Plays with a failure already planned; then everything must recover. false: the failure was not hit. */
static bool play_and_recover(struct world *w, const char *what, uint64_t n, bool must_stop, const char *must_say, struct tally *t) {
    struct leat_error err = {0};
    w->failed_at_close = false;
    enum leat_status st = world_play(w, ROUNDS, &err);
    if (leat_sim_disk_failures(w->disk) == 0) {
        if (st != LEAT_OK) complain(t, what, n, err.text, "an error without a failure");
        return false;
    }
    t->cases++;
    t->stopped += st != LEAT_OK;
    t->went_on += st == LEAT_OK;
    char error[600], *problem;
    snprintf(error, sizeof error, "%.590s", st == LEAT_OK ? "no error" : err.text);
    if (must_stop && !w->failed_at_close && (st == LEAT_OK || !err.fatal)) complain(t, what, n, error, "the engine goes on after a failed sync");
    if (must_say && st != LEAT_OK && !strstr(err.text, must_say)) complain(t, what, n, error, "the error does not say it");
    if (leat_sim_disk_used_after_failed_sync(w->disk)) complain(t, what, n, error, "a file was used after a failed sync of it");
    leat_engine_close(w->engine);
    w->engine = NULL;
    leat_sim_disk_fail(w->disk, LEAT_SIM_ANY, 0, 0);
    leat_sim_disk_quota(w->disk, UINT64_MAX);
    world_finish_input(w, ROUNDS);
    const struct mark *acknowledged = w->mark_count ? &w->marks[w->mark_count - 1] : NULL;
    if ((problem = check_image(w, n, acknowledged))) complain(t, what, n, error, problem);
    free(problem);
    if ((problem = world_check(w, w->root, acknowledged))) complain(t, what, n, error, problem);
    free(problem);
    return true;
}

static void fail_calls(struct world *w, const char *what, enum leat_sim_call call, int number, bool must_stop, const char *must_say,
                       struct sites sites, struct tally *total) {
    struct tally t = {0};
    uint64_t n = sites.first;
    for (; t.failed < 5; n += sites.stride) {
        world_reset(w, true);
        leat_sim_disk_fail(w->disk, call, n, number);
        if (!play_and_recover(w, what, n, must_stop, must_say, &t)) break;
    }
    printf("%-14s up to site %llu, every %llu.: %llu failures, %llu stopped the engine, %llu did not, %llu wrong\n", what,
           (unsigned long long)n, (unsigned long long)sites.stride, (unsigned long long)t.cases, (unsigned long long)t.stopped,
           (unsigned long long)t.went_on, (unsigned long long)t.failed);
    fflush(stdout);
    total->cases += t.cases;
    total->failed += t.failed;
}

static void full_disks(struct world *w, struct sites sites, struct tally *total) {
    struct tally t = {0};
    for (uint64_t bytes = 1009 * (sites.first - 1); t.failed < 5; bytes += 1009 * sites.stride) {
        world_reset(w, true);
        leat_sim_disk_quota(w->disk, bytes);
        if (!play_and_recover(w, "quota", bytes, false, "No space left", &t)) break;
    }
    printf("full disk      %llu quotas: %llu stopped the engine, %llu did not, %llu wrong\n", (unsigned long long)t.cases,
           (unsigned long long)t.stopped, (unsigned long long)t.went_on, (unsigned long long)t.failed);
    total->cases += t.cases;
    total->failed += t.failed;
}

static struct sites every(uint64_t stride, uint64_t part, uint64_t parts) {
    return (struct sites){1 + (part - 1) * stride, stride * parts};
}

int crash_faults(struct world *w, uint64_t syncs, uint64_t others, uint64_t part, uint64_t parts) {
    struct tally total = {0};
    struct leat_error err = {0};
    world_reset(w, true);
    if (world_play(w, ROUNDS, &err) != LEAT_OK || world_contents(w, w->contents, &err) != LEAT_OK) {
        fprintf(stderr, "the undisturbed run failed: %s\n", err.text);
        return 3;
    }
    leat_engine_close(w->engine);
    w->engine = NULL;
    char *problem = world_check(w, w->root, NULL);
    if (problem) {
        fprintf(stderr, "the undisturbed run: %s\n", problem);
        return 3;
    }
    w->proven = true;
    struct sites sync = every(syncs, part, parts), other = every(others, part, parts), rarely = every(2 * others, part, parts);
    fail_calls(w, "sync", LEAT_SIM_SYNC, EIO, true, "Input/output error", sync, &total);
    fail_calls(w, "sync directory", LEAT_SIM_SYNC_DIR, EIO, true, "Input/output error", sync, &total);
    full_disks(w, every(4 * others, part, parts), &total);
    fail_calls(w, "write", LEAT_SIM_WRITE, EIO, false, "Input/output error", rarely, &total);
    fail_calls(w, "link", LEAT_SIM_LINK, EIO, false, "Input/output error", rarely, &total);
    fail_calls(w, "rename", LEAT_SIM_RENAME, EIO, false, "Input/output error", other, &total);
    fail_calls(w, "unlink", LEAT_SIM_UNLINK, EIO, false, "Input/output error", rarely, &total);
    fail_calls(w, "open", LEAT_SIM_OPEN, EIO, false, "Input/output error", every(4 * others, part, parts), &total);
    fail_calls(w, "mkdir", LEAT_SIM_MKDIR, ENOSPC, false, "No space left", rarely, &total);
    printf("%llu failures recovered and checked, %llu wrong\n", (unsigned long long)total.cases, (unsigned long long)total.failed);
    return total.failed ? 1 : 0;
}
