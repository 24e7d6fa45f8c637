/* crash images N [SEED [PART PARTS]] | crash twice N [SEED] | crash faults SYNCS OTHERS [PART PARTS] | crash image OP SEED FOLDER
 * images: about N crash images of one recorded run, each recovered and checked; with PART (1..) and PARTS only those of that
 * part of the run, N / PARTS. twice: the same of recoveries from such images. faults: the run with its n-th sync, write, rename, link,
 * directory sync failing, and with disks that are full; at every SYNCS-th sync and every
 * OTHERS-th other call. image: makes one image, to look at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

static void open_ducks(void) {
    struct leat_duck_options options = {.threads = 1, .time_zone = "UTC"};
    struct leat_error err;
    struct leat_duck **ducks[] = {&crash_step, &crash_plan, &crash_batch};
    for (int i = 0; i < 3; i++) {
        options.use = (enum leat_duck_use)i;
        if (leat_duck_open(&options, ducks[i], &err) != LEAT_OK) {
            fprintf(stderr, "%s\n", err.text);
            exit(3);
        }
    }
}

static void close_ducks(void) {
    leat_duck_close(crash_step);
    leat_duck_close(crash_plan);
    leat_duck_close(crash_batch);
}

static void record(struct world *w) {
    struct leat_error err = {0};
    world_reset(w, true);
    if (world_play(w, WORLD_ROUNDS, &err) != LEAT_OK || world_contents(w, w->contents, &err) != LEAT_OK) {
        fprintf(stderr, "the undisturbed run failed: %s\n", err.text);
        exit(3);
    }
    char *problem = NULL;
    leat_engine_close(w->engine);
    w->engine = NULL;
    if ((problem = world_check(w, w->root, &w->marks[w->mark_count - 1]))) {
        fprintf(stderr, "the undisturbed run: %s\n", problem);
        exit(3);
    }
    w->proven = true;
}

/* The recorded run must hold the moments that matter. */
static bool covers(struct world *w) {
    static const char *const wanted[][3] = {{"log segments trimmed", "unlink work/log/", ".log"},
                                            {"journals removed", "unlink work/journal/journal-", ""},
                                            {"checkpoint manifests", "link work/checkpoint/", "manifest.json"},
                                            {"lake checkpoints", "link lake/", ".checkpoint.parquet"},
                                            {"lake commits", "link lake/", ".json"},
                                            {"reference versions", "link lake/products__history/", ".json"},
                                            {"batch runs", "link lake/daily/_delta_log/", ".json"}};
    bool all = true;
    printf("%zu operations recorded, %zu acknowledgements", leat_sim_disk_op_count(w->disk), w->mark_count);
    for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
        struct leat_buffer text = {0};
        size_t count = 0;
        for (size_t i = 0; i < leat_sim_disk_op_count(w->disk); i++) {
            leat_buffer_reset(&text);
            leat_sim_disk_describe(w->disk, i, &text);
            const char *does = strchr(text.data, ' ');
            count += does && strncmp(does + 1, wanted[k][1], strlen(wanted[k][1])) == 0 && strstr(does, wanted[k][2]) && !strstr(does, "unlink lake");
        }
        printf(", %zu %s", count, wanted[k][0]);
        all &= count > 0;
        leat_buffer_deinit(&text);
    }
    printf("\n");
    fflush(stdout);
    return all;
}

static const struct mark *acknowledged_at(const struct world *w, size_t point) {
    const struct mark *best = NULL;
    for (size_t i = 0; i < w->mark_count && w->marks[i].op_count <= point; i++) best = &w->marks[i];
    return best;
}

static void report(struct world *w, size_t point, uint64_t seed, const char *problem) {
    struct leat_buffer before = {0}, after = {0};
    if (point) leat_sim_disk_describe(w->disk, point - 1, &before);
    if (point < leat_sim_disk_op_count(w->disk)) leat_sim_disk_describe(w->disk, point, &after);
    printf("crash after operation %zu (%s; next: %s), seed %llu: %s\n", point, before.data ? before.data : "-",
           after.data ? after.data : "-", (unsigned long long)seed, problem);
    fflush(stdout);
    leat_buffer_deinit(&before);
    leat_buffer_deinit(&after);
}

/* Points spread evenly over the part of the record; at each nothing unsynced, everything, or a few random choices is kept. */
static int crash_images(struct world *w, uint64_t wanted, uint64_t seed, uint64_t part, uint64_t parts) {
    enum { SEEDS = 4 }; /* tries a point; nine in ten are no image that another try gave */
    uint64_t done = 0, failed = 0, equal = 0, last_duck = 0;
    record(w);
    size_t ops = leat_sim_disk_op_count(w->disk);
    double from = (double)ops * (double)(part - 1) / (double)parts, to = (double)ops * (double)part / (double)parts;
    if (!covers(w)) {
        printf("the recorded run does not reach all of these\n");
        return 1;
    }
    double points = (double)wanted / (SEEDS * 0.9), stride = points > (double)ops ? 1 : (double)ops / points;
    for (double at = from; (part == parts ? at <= to : at < to) && failed < 10; at += stride) {
        size_t point = (size_t)at;
        uint64_t tries = points > (double)ops ? SEEDS * (1 + wanted / ops) : SEEDS;
        for (uint64_t k = 0; k < tries && failed < 10; k++) {
            struct leat_error err = {0};
            uint64_t image_seed = k < 2 ? k : seed * 1000003 + point * 64 + k;
            if (!leat_sim_disk_is_new(w->disk, point, image_seed)) {
                equal++;
                continue;
            }
            if (leat_sim_disk_image(w->disk, point, image_seed, w->image, &err) != LEAT_OK) {
                fprintf(stderr, "%s\n", err.text);
                return 3;
            }
            char *problem = world_check(w, w->image, acknowledged_at(w, point));
            done++;
            if (problem) {
                failed++;
                report(w, point, image_seed, problem);
            }
            free(problem);
            if (done >= last_duck + 250) { /* fresh instances now and then */
                last_duck = done;
                printf("%llu images, at operation %zu\n", (unsigned long long)done, point);
                fflush(stdout);
                close_ducks();
                open_ducks();
            }
        }
    }
    printf("%llu crash images recovered, %llu equal ones skipped; %llu runs finished from %zu different states, %llu failed\n",
           (unsigned long long)done, (unsigned long long)equal, (unsigned long long)w->finished, w->known_count,
           (unsigned long long)failed);
    return failed ? 1 : 0;
}

/* A crash, and another one while leat recovers from it: `tries` images of the recovery. */
static char *crash_again(struct world *w, const struct mark *acknowledged, struct leat_random *random, int tries) {
    struct leat_sim_disk *second;
    struct leat_error err = {0};
    char *problem = NULL, *image = leat_asprintf("%s/image2", w->scratch);
    if (leat_sim_disk_open(w->image, &second, &err) != LEAT_OK) return leat_strdup(err.text);
    w->env.io = leat_sim_disk_io(second);
    world_begin_recovery(w);
    enum leat_status st = world_open(w, w->image, &err);
    size_t opening = leat_sim_disk_op_count(second);
    if (st == LEAT_OK) st = leat_engine_run_once(w->engine, true, true, &err);
    if (st != LEAT_OK) problem = leat_strdup(err.text);
    leat_engine_close(w->engine);
    w->engine = NULL;
    w->env.io = leat_io_real();
    for (int i = 0; i < tries && !problem; i++) {
        /* Opening is where recovery is; half of the crashes hit it. */
        size_t point = leat_random_below(random, (i % 2 ? leat_sim_disk_op_count(second) : opening) + 1);
        uint64_t seed = i < 2 ? (uint64_t)i : leat_random_next(random);
        if (leat_sim_disk_image(second, point, seed, image, &err) != LEAT_OK) problem = leat_strdup(err.text);
        if (!problem && (problem = world_check(w, image, acknowledged))) {
            char *at = leat_asprintf("again after operation %zu of the recovery, seed %llu: %s", point, (unsigned long long)seed, problem);
            free(problem);
            problem = at;
        }
    }
    leat_sim_disk_close(second);
    free(image);
    return problem;
}

static int crash_twice(struct world *w, uint64_t wanted, uint64_t seed) {
    enum { TRIES = 4 };
    uint64_t done = 0, failed = 0;
    struct leat_random random;
    leat_random_seed(&random, seed);
    record(w);
    double ops = (double)leat_sim_disk_op_count(w->disk), points = (double)((wanted + TRIES - 1) / TRIES);
    for (double k = 0.5; k < points && failed < 10; k++) {
        struct leat_error err = {0};
        size_t point = (size_t)(ops * k / points);
        uint64_t image_seed = leat_random_below(&random, 4);
        if (leat_sim_disk_image(w->disk, point, image_seed, w->image, &err) != LEAT_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 3;
        }
        char *problem = crash_again(w, acknowledged_at(w, point), &random, TRIES);
        done += TRIES;
        if (problem) {
            failed++;
            report(w, point, image_seed, problem);
        }
        free(problem);
    }
    printf("%llu images of a crash during recovery recovered and checked, %llu failed\n", (unsigned long long)done, (unsigned long long)failed);
    return failed ? 1 : 0;
}

static int make_image(struct world *w, size_t point, uint64_t seed, const char *dir) {
    struct leat_error err = {0};
    record(w);
    if (leat_sim_disk_image(w->disk, point, seed, dir, &err) != LEAT_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 3;
    }
    char *problem = world_check(w, dir, acknowledged_at(w, point));
    report(w, point, seed, problem ? problem : "all holds");
    free(problem);
    return leat_sim_disk_image(w->disk, point, seed, dir, &err) == LEAT_OK ? 0 : 3;
}

static uint64_t number(int argc, char **argv, int at) {
    return argc > at && strtoull(argv[at], NULL, 10) ? strtoull(argv[at], NULL, 10) : 1;
}

int main(int argc, char **argv) {
    static struct world w;
    char scratch[256];
    int result = 2;
    bool memory = access("/dev/shm", W_OK) == 0;
    snprintf(scratch, sizeof scratch, "%s/leat-crash-%d", memory ? "/dev/shm" : "/tmp", (int)getpid());
    open_ducks();
    world_init(&w, scratch);
    w.verbose = getenv("CRASH_VERBOSE") != NULL;
    if (argc > 2 && strcmp(argv[1], "images") == 0)
        result = crash_images(&w, number(argc, argv, 2), number(argc, argv, 3), number(argc, argv, 4), number(argc, argv, 5));
    else if (argc > 2 && strcmp(argv[1], "twice") == 0)
        result = crash_twice(&w, number(argc, argv, 2), number(argc, argv, 3));
    else if (argc > 4 && strcmp(argv[1], "image") == 0)
        result = make_image(&w, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), argv[4]);
    else if (argc > 1 && strcmp(argv[1], "faults") == 0)
        result = crash_faults(&w, number(argc, argv, 2), number(argc, argv, 3), number(argc, argv, 4), number(argc, argv, 5));
    else
        fprintf(stderr, "crash images N [SEED [PART PARTS]] | crash twice N [SEED] | crash image OP SEED FOLDER | crash faults SYNCS OTHERS [PART PARTS]\n");
    world_deinit(&w);
    close_ducks();
    return result;
}
