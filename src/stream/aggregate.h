/* Inside the AGGREGATE node: its groups' layout, shared by aggregate*.c.
 *
 * A group is one entry of the keyed table. Its payload: the row count (sum of weights), the aggregates' states, the key
 * values, then one byte a key (NULL?) and one byte a MIN/MAX/ARG_* (a value is there?). At the first touch in a
 * step the payload is copied aside; old and new payload together give the output change. Memory that an old payload points to (strings)
 * is released only at the end of the step; sums of doubles keep their last result in the payload. */
#ifndef LEAT_STREAM_AGGREGATE_H
#define LEAT_STREAM_AGGREGATE_H

#include "base/exact_sum.h"
#include "state/heap.h"
#include "state/keyed.h"
#include "state/row.h"
#include "stream/node.h"

enum { LEAT_AGG_CHUNK = 1024 };

enum leat_agg_state {
    LEAT_STATE_COUNT,    /* int64_t */
    LEAT_STATE_SUM,      /* struct leat_sum_state: values up to 64 bits; the sum cannot leave 128 */
    LEAT_STATE_WIDE,     /* struct leat_wide_state: 128-bit values */
    LEAT_STATE_EXACT,    /* struct leat_exact_state: FLOAT, DOUBLE */
    LEAT_STATE_PICK,     /* a value, for ARG_* also the one it is ordered by */
    LEAT_STATE_BOOL,     /* struct leat_bool_state */
    LEAT_STATE_DISTINCT, /* struct leat_distinct_state */
};
struct leat_sum_state { uint64_t low; int64_t high; int64_t n; };
struct leat_wide_state { uint64_t limbs[3]; int64_t n; }; /* two's complement */
struct leat_exact_state { /* aggregate_exact.c: low, high: m of the sum m * 2^exponent while it is small, else in *sum */
    uint64_t low;
    int64_t high;
    struct leat_exact_sum *sum;
    double result;
    int64_t n;
    int32_t exponent, padding;
};
struct leat_bool_state { int64_t trues, falses; };
struct leat_distinct_state { int64_t n; uint32_t head, padding; }; /* head: the group's counted values, + 1 */

/* One value of one group in COUNT(DISTINCT): how often it is there. */
struct leat_counted {
    int64_t copies;
    char value[16];
    uint32_t group, next, previous; /* next, previous: + 1, 0: none */
    uint32_t padding;
};
struct leat_distinct {
    struct leat_keyed values; /* struct leat_counted by (group, value) */
    struct leat_schema part_schema; /* keys, value, copies */
    struct leat_changes tombstones;
};
struct leat_agg_run {
    const struct leat_agg *spec;
    enum leat_agg_state state;
    struct leat_type argument, by; /* input types */
    size_t offset, by_offset, has_offset;
    bool greatest;                 /* PICK: MAX, ARG_MAX */
    size_t saved_at;               /* first column in part 0 */
    struct leat_distinct *distinct;
};
struct leat_group_key { struct leat_type type; size_t offset, null_offset; };
struct leat_final { int64_t at_us; uint32_t group; }; /* heap of when groups become final */

struct leat_aggregate {
    struct leat_node base;
    struct leat_keyed groups;
    size_t payload_bytes;
    struct leat_group_key *keys;
    uint16_t *key_columns;          /* 0..key_count-1: the keys' place in a part */
    struct leat_agg_run *aggs;
    struct leat_heap heap;
    uint32_t epoch;
    bool picks, wide;               /* some aggregate cannot retract; some can overflow */
    bool timed;                     /* evict or close: finals is kept */
    struct leat_final *finals;      /* binary heap, earliest first; may name groups that are gone */
    size_t final_count, final_capacity;
    uint64_t withheld;
    /* of the step */
    uint32_t *touched;
    char **saved;                   /* payload at first touch, NULL: the group is new */
    size_t touched_count, touched_capacity;
    struct leat_arena saved_memory;
    struct leat_recent_groups *recent; /* NULL until a chunk is full */
    struct leat_string *released;
    size_t released_count, released_capacity;
    /* checkpoint */
    struct leat_schema part_schema;
    struct leat_changes tombstones;
};
static inline char *leat_group_at(const struct leat_aggregate *a, uint32_t group) {
    return leat_entry_payload(leat_keyed_at(&a->groups, group));
}
static inline int64_t leat_group_rows(const char *group) {
    int64_t rows;
    memcpy(&rows, group, sizeof rows);
    return rows;
}

/* A chunk of the step's input, its groups found. */
struct leat_agg_chunk {
    const struct leat_changes *in;
    size_t from, n;
    struct leat_hash128 keys[LEAT_AGG_CHUNK]; /* scratch of leat_agg_find */
    uint32_t entries[LEAT_AGG_CHUNK];
    char *groups[LEAT_AGG_CHUNK];
    int32_t weights[LEAT_AGG_CHUNK]; /* scratch: effective weights for one aggregate */
};
/* aggregate.c: finds or makes the groups of n rows of the chunk, from row `first` of it. */
void leat_agg_find(struct leat_aggregate *a, struct leat_agg_chunk *c, size_t first, size_t n);
/* aggregate_recent.c: the same for all its rows where most are of groups that were there just before. False: nothing was done. */
bool leat_recent_find(struct leat_aggregate *a, struct leat_agg_chunk *c);
/* aggregate_update.c: adds the chunk to one aggregate's states. */
enum leat_status leat_agg_update(struct leat_aggregate *a, const struct leat_agg_run *run, struct leat_agg_chunk *c,
                                 struct leat_error *err) LEAT_MUST;
/* aggregate_exact.c */
enum { LEAT_EXACT_SMALL_BYTES = 20 };
void leat_exact_state_add(struct leat_exact_state *s, double value, int32_t times); /* counts n, too */
double leat_exact_state_result(const struct leat_exact_state *s);
size_t leat_exact_state_save(const struct leat_exact_state *s, unsigned char *out); /* bytes written, at most LEAT_EXACT_SUM_BYTES */
bool leat_exact_state_load(struct leat_exact_state *s, const char *bytes, size_t n, int64_t count); /* false: damaged */
/* aggregate_distinct.c */
void leat_distinct_update(struct leat_aggregate *a, const struct leat_agg_run *run, struct leat_agg_chunk *c,
                          const int32_t *weights);
void leat_distinct_forget(struct leat_aggregate *a, const struct leat_agg_run *run, char *group, bool tombstones); /* the group goes */
enum leat_status leat_distinct_save(struct leat_aggregate *a, const struct leat_agg_run *run, bool only_dirty,
                                    uint64_t *cursor, size_t max_rows, struct leat_changes *out);
void leat_distinct_load(struct leat_aggregate *a, const struct leat_agg_run *run, const struct leat_changes *rows);
/* aggregate_output.c: is there an output row for this payload (rows > 0 or global, and everything representable)? */
bool leat_group_fits(const struct leat_aggregate *a, const char *group);
bool leat_group_shows(const struct leat_aggregate *a, const char *group);
bool leat_group_same(const struct leat_aggregate *a, const char *x, const char *y); /* equal output rows? */
void leat_group_emit(const struct leat_aggregate *a, const char *const *groups, size_t n, int32_t weight,
                     struct leat_changes *out);
void leat_group_emit_keys(const struct leat_aggregate *a, const char *const *groups, size_t n, struct leat_changes *out,
                          size_t at);
/* aggregate.c: the string is not needed after this step; a value of this type written into a payload by copying. */
void leat_agg_release(struct leat_aggregate *a, const struct leat_string *s);
void leat_agg_set_value(struct leat_aggregate *a, struct leat_type type, char *to, const void *from);
void leat_group_set_keys(struct leat_aggregate *a, char *group, const struct leat_changes *rows, size_t row,
                         const uint16_t *columns);
void leat_group_clear(struct leat_aggregate *a, char *group); /* releases what it owns but counted values */
void leat_group_schedule(struct leat_aggregate *a, uint32_t index); /* into finals */
void leat_group_remove(struct leat_aggregate *a, uint32_t index);
/* aggregate_save.c */
void leat_agg_describe_parts(struct leat_aggregate *a);
void leat_agg_tombstone(struct leat_aggregate *a, const char *group);
size_t leat_agg_parts(const struct leat_node *);
const struct leat_schema *leat_agg_part_schema(const struct leat_node *, size_t part);
enum leat_status leat_agg_save(struct leat_node *, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                               struct leat_changes *out, struct leat_error *);
void leat_agg_clean(struct leat_node *);
uint64_t leat_agg_part_rows(const struct leat_node *, size_t part);
void leat_agg_load_hint(struct leat_node *, size_t part, uint64_t rows);
enum leat_status leat_agg_load(struct leat_node *, size_t part, const struct leat_changes *rows, struct leat_error *);

#endif
