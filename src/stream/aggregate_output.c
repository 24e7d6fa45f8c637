/* AGGREGATE: from group payloads to output rows. */
#include "stream/aggregate.h"

#include <stdlib.h>

/* The sum as 128 bits; false: it does not fit. */
static bool narrow_wide(const struct leat_wide_state *s, leat_i128 *out) {
    *out = (leat_i128)((unsigned __int128)s->limbs[1] << 64 | s->limbs[0]);
    return s->limbs[2] == (*out < 0 ? UINT64_MAX : 0);
}

static leat_i128 ten_to(unsigned n) {
    leat_i128 p = 1;
    while (n--)
        p *= 10;
    return p;
}

static bool sum_of(const struct leat_agg_run *run, const char *group, leat_i128 *sum, int64_t *n) {
    if (run->state == LEAT_STATE_WIDE) {
        const struct leat_wide_state *s = (const struct leat_wide_state *)(group + run->offset);
        *n = s->n;
        return narrow_wide(s, sum);
    }
    const struct leat_sum_state *s = (const struct leat_sum_state *)(group + run->offset);
    *n = s->n;
    *sum = (leat_i128)((unsigned __int128)(uint64_t)s->high << 64 | s->low);
    return true;
}

/* Is the aggregate representable in its result type? */
static bool agg_fits(const struct leat_agg_run *run, const char *group) {
    leat_i128 sum;
    int64_t n;
    struct leat_type result = run->spec->result;
    if (run->state != LEAT_STATE_WIDE && !(run->state == LEAT_STATE_SUM && result.kind == LEAT_BIGINT)) return true;
    if (!sum_of(run, group, &sum, &n)) return false;
    if (result.kind == LEAT_BIGINT) return sum >= INT64_MIN && sum <= INT64_MAX;
    if (result.kind == LEAT_DOUBLE) return true; /* an average */
    /* The lake keeps 38 digits of a HUGEINT. */
    leat_i128 bound = ten_to(result.kind == LEAT_DECIMAL ? result.width : 38);
    return sum < bound && sum > -bound;
}

bool leat_group_fits(const struct leat_aggregate *a, const char *group) {
    for (size_t i = 0; a->wide && i < a->base.op->agg_count; i++)
        if (!agg_fits(&a->aggs[i], group)) return false;
    return true;
}

bool leat_group_shows(const struct leat_aggregate *a, const char *group) {
    return (a->base.op->global || leat_group_rows(group) > 0) && leat_group_fits(a, group);
}

/* As DuckDB divides: the sum and count * 10^scale as long double for the wider types, as double for the 16-bit ones. */
static double average(const struct leat_agg_run *run, const char *group, bool *null) {
    leat_i128 sum;
    int64_t n;
    if (run->state == LEAT_STATE_EXACT) {
        const struct leat_exact_state *s = (const struct leat_exact_state *)(group + run->offset);
        *null = s->n == 0;
        return *null ? 0 : s->result / (double)s->n;
    }
    sum_of(run, group, &sum, &n);
    *null = n == 0;
    if (*null) return 0;
    double scale = run->argument.kind == LEAT_DECIMAL ? (double)ten_to(run->argument.scale) : 1;
    if (leat_type_size(run->argument) <= 2) return (double)(int64_t)sum / ((double)n * scale);
    return (double)((long double)sum / ((long double)n * (long double)scale));
}

static bool same_double(double x, double y) {
    return x == y || (x != x && y != y);
}

static bool same_value(struct leat_type type, const char *x, const char *y) {
    if (type.kind == LEAT_DOUBLE) return same_double(*(const double *)x, *(const double *)y);
    if (type.kind == LEAT_FLOAT) return same_double((double)*(const float *)x, (double)*(const float *)y);
    if (leat_type_is_string(type))
        return leat_string_equal((const struct leat_string *)x, (const struct leat_string *)y);
    return memcmp(x, y, leat_type_size(type)) == 0;
}

static bool same_bool(const struct leat_agg_run *run, const char *x, const char *y) {
    const struct leat_bool_state *s = (const struct leat_bool_state *)x, *t = (const struct leat_bool_state *)y;
    bool and = run->spec->kind == LEAT_AGG_BOOL_AND;
    if ((s->trues || s->falses) != (t->trues || t->falses)) return false;
    return and? !s->falses == !t->falses : !s->trues == !t->trues;
}

static bool agg_same(const struct leat_agg_run *run, const char *x, const char *y) {
    const char *sx = x + run->offset, *sy = y + run->offset;
    switch (run->state) {
    case LEAT_STATE_COUNT:
    case LEAT_STATE_DISTINCT:
        return memcmp(sx, sy, sizeof(int64_t)) == 0;
    case LEAT_STATE_BOOL:
        return same_bool(run, sx, sy);
    case LEAT_STATE_PICK:
        if (x[run->has_offset] != y[run->has_offset]) return false;
        return !x[run->has_offset] || same_value(run->argument, sx, sy);
    default:
        break;
    }
    if (run->spec->kind == LEAT_AGG_AVG || run->state == LEAT_STATE_EXACT) {
        const struct leat_exact_state *s = (const struct leat_exact_state *)sx,
                                      *t = (const struct leat_exact_state *)sy;
        bool null_x, null_y;
        double value_x = average(run, x, &null_x), value_y = average(run, y, &null_y);
        if (null_x || null_y) return null_x == null_y;
        if (run->spec->kind == LEAT_AGG_AVG) return same_double(value_x, value_y);
        return same_double(s->result, t->result);
    }
    leat_i128 sum_x, sum_y;
    int64_t n_x, n_y;
    sum_of(run, x, &sum_x, &n_x);
    sum_of(run, y, &sum_y, &n_y);
    return !n_x == !n_y && (!n_x || sum_x == sum_y);
}

bool leat_group_same(const struct leat_aggregate *a, const char *x, const char *y) {
    for (size_t i = 0; i < a->base.op->agg_count; i++)
        if (!agg_same(&a->aggs[i], x, y)) return false;
    return true;
}

/* ---- writing columns */

#define COPY_FIXED(bytes)                                                                                              \
    for (size_t i = 0; i < n; i++)                                                                                     \
    memcpy(to + i * (bytes), groups[i] + offset, bytes)

static void copy_values(char *to, size_t size, const char *const *groups, size_t n, size_t offset) {
    switch (size) {
    case 1:
        COPY_FIXED(1);
        break;
    case 2:
        COPY_FIXED(2);
        break;
    case 4:
        COPY_FIXED(4);
        break;
    case 8:
        COPY_FIXED(8);
        break;
    case 16:
        COPY_FIXED(16);
        break;
    default:
        break;
    }
}

/* A stored value with a byte that is `null_byte` where it is NULL. */
static void emit_value(struct leat_type type, size_t offset, size_t null_offset, char null_byte,
                       const char *const *groups, size_t n, struct leat_changes *out, size_t column, size_t at) {
    char *to = (char *)out->columns[column].data + at * leat_type_size(type);
    copy_values(to, leat_type_size(type), groups, n, offset);
    if (leat_type_is_string(type)) leat_own_strings(out, column, at, n);
    for (size_t i = 0; i < n; i++)
        if (groups[i][null_offset] == null_byte) leat_set_null(out, column, at + i);
}

static void emit_sum(const struct leat_agg_run *run, const char *const *groups, size_t n, struct leat_changes *out,
                     size_t column, size_t at) {
    char *data = out->columns[column].data;
    bool small = run->spec->result.kind == LEAT_BIGINT;
    for (size_t i = 0; i < n; i++) {
        leat_i128 sum;
        int64_t count, low;
        sum_of(run, groups[i], &sum, &count);
        low = (int64_t)sum;
        if (small)
            memcpy(data + (at + i) * 8, &low, 8);
        else
            memcpy(data + (at + i) * 16, &sum, 16);
        if (!count) leat_set_null(out, column, at + i);
    }
}

static void emit_double(const struct leat_agg_run *run, const char *const *groups, size_t n, struct leat_changes *out,
                        size_t column, size_t at) {
    double *data = (double *)out->columns[column].data + at;
    for (size_t i = 0; i < n; i++) {
        bool null;
        data[i] = average(run, groups[i], &null);
        if (run->spec->kind == LEAT_AGG_SUM)
            data[i] = ((const struct leat_exact_state *)(groups[i] + run->offset))->result;
        if (null) leat_set_null(out, column, at + i);
    }
}

static void emit_bool(const struct leat_agg_run *run, const char *const *groups, size_t n, struct leat_changes *out,
                      size_t column, size_t at) {
    uint8_t *data = (uint8_t *)out->columns[column].data + at;
    for (size_t i = 0; i < n; i++) {
        const struct leat_bool_state *s = (const struct leat_bool_state *)(groups[i] + run->offset);
        data[i] = run->spec->kind == LEAT_AGG_BOOL_AND ? !s->falses : s->trues != 0;
        if (!s->trues && !s->falses) leat_set_null(out, column, at + i);
    }
}

static void emit_agg(const struct leat_agg_run *run, const char *const *groups, size_t n, struct leat_changes *out,
                     size_t column, size_t at) {
    switch (run->state) {
    case LEAT_STATE_COUNT:
    case LEAT_STATE_DISTINCT:
        copy_values((char *)out->columns[column].data + at * 8, 8, groups, n, run->offset);
        break;
    case LEAT_STATE_SUM:
    case LEAT_STATE_WIDE:
        if (run->spec->kind == LEAT_AGG_AVG)
            emit_double(run, groups, n, out, column, at);
        else
            emit_sum(run, groups, n, out, column, at);
        break;
    case LEAT_STATE_EXACT:
        emit_double(run, groups, n, out, column, at);
        break;
    case LEAT_STATE_BOOL:
        emit_bool(run, groups, n, out, column, at);
        break;
    case LEAT_STATE_PICK:
        emit_value(run->argument, run->offset, run->has_offset, 0, groups, n, out, column, at);
        break;
    }
}

void leat_group_emit_keys(const struct leat_aggregate *a, const char *const *groups, size_t n, struct leat_changes *out,
                          size_t at) {
    for (size_t k = 0; k < a->base.op->key_count; k++)
        emit_value(a->keys[k].type, a->keys[k].offset, a->keys[k].null_offset, 1, groups, n, out, k, at);
}

void leat_group_emit(const struct leat_aggregate *a, const char *const *groups, size_t n, int32_t weight,
                     struct leat_changes *out) {
    size_t at = out->row_count;
    if (!n) return;
    if (weight != 1) leat_changes_need_weights(out);
    leat_changes_reserve(out, at + n);
    leat_group_emit_keys(a, groups, n, out, at);
    for (size_t i = 0; i < a->base.op->agg_count; i++)
        emit_agg(&a->aggs[i], groups, n, out, a->base.op->key_count + i, at);
    for (size_t i = 0; out->weights && i < n; i++)
        out->weights[at + i] = weight;
    out->row_count = at + n;
}
