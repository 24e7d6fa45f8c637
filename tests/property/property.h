/* The property test: draws a project, its data and a history (steps of any size, restarts, reference changes), runs the engine on
 * it and asks verify after every flush. A failing case is a folder that `leat run --once` can run. */
#ifndef LEAT_TESTS_PROPERTY_H
#define LEAT_TESTS_PROPERTY_H

#include "base/env.h"
#include "base/mem.h"

enum { ROUNDS_MAX = 6, TABLES_MAX = 5 };

struct prop_lines { char **lines; size_t count; };
struct prop_case {
    uint64_t seed;
    char *source_sql;
    char *tables[TABLES_MAX]; size_t table_count;
    struct prop_lines rounds[ROUNDS_MAX]; size_t round_count; /* source records appended in each round */
    char *references[ROUNDS_MAX];                             /* content of the reference file from then on; NULL: unchanged */
    uint64_t step_rows[ROUNDS_MAX];
    bool restart[ROUNDS_MAX], flush[ROUNDS_MAX];
};
void prop_case_draw(struct prop_case *, uint64_t seed);
void prop_case_free(struct prop_case *);
/* draw_sql.c, draw_data.c */
void prop_draw_tables(struct prop_case *, struct leat_random *);
void prop_draw_data(struct prop_case *, struct leat_random *);

static inline uint64_t prop_below(struct leat_random *r, uint64_t n) { return leat_random_below(r, n); }
static inline bool prop_chance(struct leat_random *r, unsigned percent) { return leat_random_below(r, 100) < percent; }

#endif
