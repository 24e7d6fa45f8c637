/* AGGREGATE: adding a chunk of rows to one aggregate's states; one tight loop each. */
#include "stream/aggregate.h"

#include <stdlib.h>

#include "stream/compare.h"

/* Weight of each row for this aggregate, 0 where the filter or a NULL argument leaves it out. NULL: all are 1. */
static const int32_t *effective_weights(const struct leat_agg_run *run, struct leat_agg_chunk *c) {
    const struct leat_agg *spec = run->spec;
    const int32_t *given = c->in->weights ? c->in->weights + c->from : NULL;
    const struct leat_column *columns = c->in->columns;
    int needed[2] = {spec->argument, spec->by};
    bool filtered = spec->filter >= 0;
    if (spec->kind == LEAT_AGG_COUNT_STAR) needed[0] = needed[1] = -1;
    for (int k = 0; k < 2; k++)
        if (needed[k] >= 0 && !columns[needed[k]].valid) needed[k] = -1;
    if (!filtered && needed[0] < 0 && needed[1] < 0) return given;
    for (size_t i = 0; i < c->n; i++)
        c->weights[i] = given ? given[i] : 1;
    if (filtered) {
        const struct leat_column *filter = &columns[spec->filter];
        const uint8_t *pass = filter->data; /* zero under a NULL */
        for (size_t i = 0; i < c->n; i++)
            if (!pass[c->from + i] || leat_is_null(filter, c->from + i)) c->weights[i] = 0;
    }
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; needed[k] >= 0 && i < c->n; i++)
            if (leat_is_null(&columns[needed[k]], c->from + i)) c->weights[i] = 0;
    return c->weights;
}

static void update_count(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    size_t offset = run->offset;
    if (!weights)
        for (size_t i = 0; i < c->n; i++)
            ++*(int64_t *)(c->groups[i] + offset);
    else
        for (size_t i = 0; i < c->n; i++)
            *(int64_t *)(c->groups[i] + offset) += weights[i];
}

static inline void add_narrow(struct leat_sum_state *s, leat_i128 value, int64_t n) {
    unsigned __int128 sum = ((unsigned __int128)(uint64_t)s->high << 64 | s->low) + (unsigned __int128)value;
    s->low = (uint64_t)sum;
    s->high = (int64_t)(uint64_t)(sum >> 64);
    s->n += n;
}

#define ADD_ALL(ctype)                                                                                                 \
    do {                                                                                                               \
        const ctype *values = (const ctype *)data + c->from;                                                           \
        if (!weights)                                                                                                  \
            for (size_t i = 0; i < c->n; i++)                                                                          \
                add_narrow((struct leat_sum_state *)(c->groups[i] + offset), values[i], 1);                            \
        else                                                                                                           \
            for (size_t i = 0; i < c->n; i++)                                                                          \
                add_narrow((struct leat_sum_state *)(c->groups[i] + offset), (leat_i128)values[i] * weights[i],        \
                           weights[i]);                                                                                \
    } while (0)

static void update_sum(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    const void *data = c->in->columns[run->spec->argument].data;
    size_t offset = run->offset;
    switch ((enum leat_kind)run->argument.kind) {
    case LEAT_BOOLEAN:
    case LEAT_UTINYINT:
        ADD_ALL(uint8_t);
        break;
    case LEAT_TINYINT:
        ADD_ALL(int8_t);
        break;
    case LEAT_USMALLINT:
        ADD_ALL(uint16_t);
        break;
    case LEAT_SMALLINT:
        ADD_ALL(int16_t);
        break;
    case LEAT_UINTEGER:
        ADD_ALL(uint32_t);
        break;
    case LEAT_INTEGER:
        ADD_ALL(int32_t);
        break;
    case LEAT_UBIGINT:
        ADD_ALL(uint64_t);
        break;
    case LEAT_BIGINT:
        ADD_ALL(int64_t);
        break;
    default:
        if (run->argument.width <= 4)
            ADD_ALL(int16_t);
        else if (run->argument.width <= 9)
            ADD_ALL(int32_t);
        else
            ADD_ALL(int64_t);
        break;
    }
}

/* limbs += value * weight in two's complement; value is signed unless is_unsigned. */
static void add_wide(struct leat_wide_state *s, unsigned __int128 value, bool is_unsigned, int32_t weight) {
    bool negative = !is_unsigned && (leat_i128)value < 0;
    unsigned __int128 magnitude = negative ? 0 - value : value;
    uint64_t times = weight < 0 ? (uint64_t) - (int64_t)weight : (uint64_t)weight;
    unsigned __int128 low = (unsigned __int128)(uint64_t)magnitude * times;
    unsigned __int128 high = (unsigned __int128)(uint64_t)(magnitude >> 64) * times + (uint64_t)(low >> 64);
    uint64_t product[3] = {(uint64_t)low, (uint64_t)high, (uint64_t)(high >> 64)};
    bool subtract = negative != (weight < 0);
    unsigned carry = subtract;
    for (int i = 0; i < 3; i++) {
        unsigned __int128 sum = (unsigned __int128)s->limbs[i] + (subtract ? ~product[i] : product[i]) + carry;
        s->limbs[i] = (uint64_t)sum;
        carry = (unsigned)(sum >> 64);
    }
    s->n += weight;
}

static void update_wide(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    const char *data = c->in->columns[run->spec->argument].data;
    bool is_unsigned = run->argument.kind == LEAT_UHUGEINT;
    for (size_t i = 0; i < c->n; i++) {
        unsigned __int128 value;
        memcpy(&value, data + (c->from + i) * sizeof value, sizeof value);
        add_wide((struct leat_wide_state *)(c->groups[i] + run->offset), value, is_unsigned, weights ? weights[i] : 1);
    }
}

static void update_exact(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    const void *data = c->in->columns[run->spec->argument].data;
    bool is_float = run->argument.kind == LEAT_FLOAT;
    for (size_t i = 0; i < c->n; i++) {
        int32_t weight = weights ? weights[i] : 1;
        if (!weight) continue;
        double value = is_float ? (double)((const float *)data)[c->from + i] : ((const double *)data)[c->from + i];
        leat_exact_state_add((struct leat_exact_state *)(c->groups[i] + run->offset), value, weight);
    }
}

static void update_bool(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    const uint8_t *values = (const uint8_t *)c->in->columns[run->spec->argument].data + c->from;
    for (size_t i = 0; i < c->n; i++) {
        struct leat_bool_state *s = (struct leat_bool_state *)(c->groups[i] + run->offset);
        *(values[i] ? &s->trues : &s->falses) += weights ? weights[i] : 1;
    }
}

/* ---- MIN, MAX, ARG_MIN, ARG_MAX */

/* MIN or MAX of plain numbers: the loop needs no calls. */
#define PICK_ALL(ctype)                                                                                                \
    for (size_t i = 0; i < c->n; i++) {                                                                                \
        char *group = c->groups[i];                                                                                    \
        ctype value = ((const ctype *)data)[c->from + i], *kept = (ctype *)(group + run->offset);                      \
        if (weights && weights[i] <= 0) continue;                                                                      \
        if (group[run->has_offset] && !(run->greatest ? value > *kept : value < *kept)) continue;                      \
        group[run->has_offset] = 1;                                                                                    \
        *kept = value;                                                                                                 \
    }                                                                                                                  \
    return true

static bool pick_fast(const struct leat_agg_run *run, struct leat_agg_chunk *c, const int32_t *weights) {
    const void *data = c->in->columns[run->spec->argument].data;
    if (run->by_offset != run->offset) return false;
    switch ((enum leat_kind)run->argument.kind) {
    case LEAT_INTEGER:
    case LEAT_DATE:
        PICK_ALL(int32_t);
    case LEAT_BIGINT:
    case LEAT_TIME:
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        PICK_ALL(int64_t);
    case LEAT_DECIMAL:
        if (run->argument.width > 4 && run->argument.width <= 9) {
            PICK_ALL(int32_t);
        }
        if (run->argument.width > 9 && run->argument.width <= 18) {
            PICK_ALL(int64_t);
        }
        return false;
    default:
        return false;
    }
}

static void replace(struct leat_aggregate *a, struct leat_type type, char *kept, const char *value, bool had) {
    if (had && leat_type_is_string(type)) {
        struct leat_string old;
        memcpy(&old, kept, sizeof old);
        leat_agg_release(a, &old);
    }
    leat_agg_set_value(a, type, kept, value);
}

static void pick_one(struct leat_aggregate *a, const struct leat_agg_run *run, char *group, const char *value,
                     const char *by) {
    bool arg = run->by_offset != run->offset, had = group[run->has_offset];
    if (had) {
        int order = leat_compare_value(run->by, by, group + run->by_offset);
        if (run->greatest) order = -order;
        /* Ties: the smallest value. */
        if (!order && arg) order = leat_compare_value(run->argument, value, group + run->offset);
        if (order >= 0) return;
    }
    group[run->has_offset] = 1;
    replace(a, run->argument, group + run->offset, value, had);
    if (arg) replace(a, run->by, group + run->by_offset, by, had);
}

static void update_pick(struct leat_aggregate *a, const struct leat_agg_run *run, struct leat_agg_chunk *c,
                        const int32_t *weights) {
    if (pick_fast(run, c, weights)) return;
    bool arg = run->by_offset != run->offset;
    size_t size = leat_type_size(run->argument), by_size = leat_type_size(run->by);
    const char *values = (const char *)c->in->columns[run->spec->argument].data + c->from * size;
    const char *bys = arg ? (const char *)c->in->columns[run->spec->by].data + c->from * by_size : values;
    /* Ordered by time or an integer, the common case: most rows are settled by one compare. */
    bool by_time = arg && by_size == 8 && run->by.kind != LEAT_DOUBLE && run->by.kind != LEAT_UBIGINT;
    for (size_t i = 0; i < c->n; i++) {
        char *group = c->groups[i];
        if (weights && weights[i] <= 0) continue;
        if (by_time && group[run->has_offset]) {
            int64_t by, kept;
            memcpy(&by, bys + i * 8, 8);
            memcpy(&kept, group + run->by_offset, 8);
            if (run->greatest ? by < kept : by > kept) continue;
        }
        pick_one(a, run, group, values + i * size, bys + i * by_size);
    }
}

enum leat_status leat_agg_update(struct leat_aggregate *a, const struct leat_agg_run *run, struct leat_agg_chunk *c,
                                 struct leat_error *err) {
    const int32_t *weights = effective_weights(run, c);
    (void)err;
    switch (run->state) {
    case LEAT_STATE_COUNT:
        update_count(run, c, weights);
        break;
    case LEAT_STATE_SUM:
        update_sum(run, c, weights);
        break;
    case LEAT_STATE_WIDE:
        update_wide(run, c, weights);
        break;
    case LEAT_STATE_EXACT:
        update_exact(run, c, weights);
        break;
    case LEAT_STATE_PICK:
        update_pick(a, run, c, weights);
        break;
    case LEAT_STATE_BOOL:
        update_bool(run, c, weights);
        break;
    case LEAT_STATE_DISTINCT:
        leat_distinct_update(a, run, c, weights);
        break;
    }
    return LEAT_OK;
}
