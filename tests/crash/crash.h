/* The whole engine on a simulated disk: a small project with every kind of table is played once, recorded; then engines are opened on
 * what a crash or a failing call could have left. Shared by images.c (crashes) and faults.c (failing calls). */
#ifndef LEAT_TESTS_CRASH_H
#define LEAT_TESTS_CRASH_H

#include "engine/engine.h"
#include "sim/clock.h"
#include "sim/disk.h"
#include "sql/duck.h"

enum { WORLD_TABLES = 16, WORLD_MARKS = 4096 };

/* What had been acknowledged when the disk had taken op_count calls. */
struct mark {
    size_t op_count;
    uint64_t records; /* durable in the log */
    uint64_t step;    /* journaled */
};
struct world {
    char *scratch, *project, *root, *image; /* root: lake and work folder of the recorded engine */
    struct leat_env env;
    struct leat_sim_clock clock;
    struct leat_engine *engine;
    struct leat_sim_disk *disk; /* NULL: the real disk */
    uint64_t lines;             /* in the input now */
    struct mark marks[WORLD_MARKS];
    size_t mark_count;
    bool proven;          /* the undisturbed run's tables were compared with DuckDB: equal contents need no comparison */
    uint64_t *known;      /* fingerprints of recovered states from which the run was finished and all held */
    size_t known_count;
    uint64_t checks, finished; /* world_check: all; those that finished the run */
    bool failed_at_close; /* a planned failure hit the end of a process: there is nothing left to stop */
    char *contents[WORLD_TABLES]; /* of the undisturbed run: a text per table that is equal when its rows are */
    bool verbose;
};
extern struct leat_duck *crash_step, *crash_plan, *crash_batch; /* shared by all engines */

void world_init(struct world *, const char *scratch);
void world_deinit(struct world *);
/* A new input (empty) and a new, empty disk. */
void world_reset(struct world *, bool simulated);
enum leat_status world_open(struct world *, const char *dir, struct leat_error *); /* engine on dir/lake and dir/work */
/* Everything the recorded run does: rounds of input, steps, commits, checkpoints, restarts. rounds: how many, at most WORLD_ROUNDS. */
enum { WORLD_ROUNDS = 14 };
enum leat_status world_play(struct world *, int rounds, struct leat_error *);
void world_finish_input(struct world *, int rounds); /* all that the rounds would have fed */
/* Opens an engine on `dir` with the real disk, checks that what was acknowledged is there, runs it to the end of the input, and
 * checks: no differing rows, an exact balance, all records, the contents of the undisturbed run. NULL: all holds; else what does
 * not, malloc'd. All of it depends on the state that the opening leaves and nothing else (the clock and randomness are set), so a
 * state byte for byte as one that was finished before is not finished again, but for one in WORLD_AGAIN. */
void world_begin_recovery(struct world *); /* sets clock and randomness as for a process after the recorded ones */
enum { WORLD_AGAIN = 16 };
char *world_check(struct world *, const char *dir, const struct mark *acknowledged);
uint64_t world_fingerprint(const char *dir); /* state.c: of what an opened engine can still read in dir/lake and dir/work */
enum leat_status world_contents(struct world *, char **out, struct leat_error *);

/* faults.c. Of the sync sites every `syncs`-th fails, of the other calls every `others`-th; of these every `parts`-th from `part` (1..) on. */
int crash_faults(struct world *, uint64_t syncs, uint64_t others, uint64_t part, uint64_t parts);

#endif
