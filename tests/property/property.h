/* The property test: draws a project, its data and a history (steps of any size, restarts, kills, reference changes, changes of the project,
 * what can be asked of a running one), runs the engine on it and asks verify after every flush. A failing case is a folder that `leat run --once` can run. */
#ifndef LEAT_TESTS_PROPERTY_H
#define LEAT_TESTS_PROPERTY_H

#include "base/env.h"
#include "base/mem.h"

enum { ROUNDS_MAX = 6, TABLES_MAX = 5 };

struct prop_lines { char **lines; size_t count; };
struct prop_case {
    uint64_t seed;
    bool old_times, huge;                                     /* around 1970; decimals that overflow a sum */
    char *source_sql;
    char *tables[TABLES_MAX]; size_t table_count;
    struct prop_lines rounds[ROUNDS_MAX]; size_t round_count; /* source records appended in each round */
    char *references[ROUNDS_MAX];                             /* content of the reference file from then on; NULL: unchanged */
    uint64_t step_rows[ROUNDS_MAX];
    bool restart[ROUNDS_MAX], flush[ROUNDS_MAX], checkpoint[ROUNDS_MAX];
    uint32_t change[ROUNDS_MAX];                              /* the project is another one from this round on, drawn from this; 0: the same */
    uint32_t kill[ROUNDS_MAX];                                /* the process is killed during the change, after so many calls that write; 0: not */
    bool lose[ROUNDS_MAX];                                    /* the work folder is lost before the round */
    uint8_t restate[ROUNDS_MAX];                              /* 0: no; 1: everything late; more: event times from that many seconds on */
    uint32_t crash[ROUNDS_MAX];                               /* the process is killed in the round, after so many calls that write; 0: not */
    uint32_t ask[ROUNDS_MAX];                                 /* something asked of one table or of the source, drawn from this; 0: nothing */
    int sink;                                                 /* the table that a file is told of; -1: none */
    bool retained;                                            /* records leave bronze (retention) */
    const char *frozen[TABLES_MAX];                           /* the column of FROZEN WHERE; NULL: none */
};
/* What the cases so far have met. */
struct prop_coverage {
    uint64_t tables, classes[8], empty_tables, uncompared, comparisons, tables_late, tables_dead, tables_withheld, never_run;
    uint64_t late, dead, restarts_replaying, checkpoints_loaded, many_steps, reference_changes, changed_after_late, restated, lost, changes, killed, crashed, asked, retained, told, frozen; /* cases */
};
void prop_case_draw(struct prop_case *, uint64_t seed);
void prop_case_free(struct prop_case *);
/* NULL: the case holds; else what went wrong, malloc'd. coverage: NULL while shrinking. */
char *prop_case_run(const struct prop_case *, const char *dir, struct prop_coverage *coverage);
/* A query that DuckDB or the planner refuses is not a failure of the property; how many there are is printed. */
bool prop_refused(const char *why);
/* run.c: project.sql as of a round, and the folder in/ */
void prop_write_project(const struct prop_case *, size_t round, const char *dir);
void prop_write_file(const char *dir, const char *name, const char *text, const char *mode);
char *prop_round_text(const struct prop_case *, size_t round);
const char *prop_ask_name(uint32_t ask);
enum { PROP_ASK_ONCE = 6 };
/* shrink.c: makes the case small while it fails, leaves it in keep/<seed> as a project with its history. */
void prop_report_failure(struct prop_case *, const char *keep, const char *why);
/* draw_sql.c, draw_data.c */
void prop_draw_tables(struct prop_case *, struct leat_random *);
void prop_draw_data(struct prop_case *, struct leat_random *);
void prop_draw_asks(struct prop_case *, struct leat_random *);
void prop_draw_retained(struct prop_case *, struct leat_random *);
void prop_draw_frozen(struct prop_case *, struct leat_random *);
void prop_draw_as_of(struct prop_case *, struct leat_random *);
void prop_draw_ending(struct prop_case *, struct leat_random *);
void prop_draw_apart(struct prop_case *, struct leat_random *);

static inline uint64_t prop_below(struct leat_random *r, uint64_t n) { return leat_random_below(r, n); }
static inline bool prop_chance(struct leat_random *r, unsigned percent) { return leat_random_below(r, 100) < percent; }

#endif
