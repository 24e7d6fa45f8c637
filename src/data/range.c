/* See range.h. */
#include "data/range.h"

#include <math.h>

/* ---- one value more */

static void add_integers(struct leat_range *r, leat_i128 low, leat_i128 high) {
    if (!r->any || low < r->low.integer) r->low.integer = low;
    if (!r->any || high > r->high.integer) r->high.integer = high;
    r->any = true;
}

static void add_reals(struct leat_range *r, double low, double high) {
    if (!r->any || low < r->low.real) r->low.real = low;
    if (!r->any || high > r->high.real) r->high.real = high;
    r->any = true;
}

/* The first four bytes, as a number of the same order; shorter strings are padded with zeros. */
static uint32_t head_of(const struct leat_string *s) {
    uint32_t head;
    memcpy(&head, s->u.inlined, sizeof head);
    return __builtin_bswap32(head);
}

static void add_texts(struct leat_range *r, const struct leat_string *low, const struct leat_string *high) {
    if (!r->any || leat_string_compare(low, &r->low.text) < 0) r->low.text = *low;
    if (!r->any || leat_string_compare(high, &r->high.text) > 0) r->high.text = *high;
    r->any = true;
}

/* ---- many */

#define ADD_INTEGERS(type)                                                                                             \
    do {                                                                                                               \
        const type *v = c->data;                                                                                       \
        size_t row = from;                                                                                             \
        while (row < to && leat_is_null(c, row))                                                                       \
            row++;                                                                                                     \
        if (row == to) break;                                                                                          \
        type low = v[row], high = v[row];                                                                              \
        for (; row < to; row++) { /* a NULL has a value too, that must not count */                                    \
            if (leat_is_null(c, row)) continue;                                                                        \
            low = v[row] < low ? v[row] : low;                                                                         \
            high = v[row] > high ? v[row] : high;                                                                      \
        }                                                                                                              \
        add_integers(r, (leat_i128)low, (leat_i128)high);                                                              \
    } while (0)

static void add_integer_rows(struct leat_range *r, const struct leat_column *c, size_t from, size_t to) {
    bool is_signed = c->type.kind < LEAT_UTINYINT || c->type.kind > LEAT_UHUGEINT;
    switch (leat_type_size(c->type)) {
    case 1:
        if (is_signed)
            ADD_INTEGERS(int8_t);
        else
            ADD_INTEGERS(uint8_t);
        break;
    case 2:
        if (is_signed)
            ADD_INTEGERS(int16_t);
        else
            ADD_INTEGERS(uint16_t);
        break;
    case 4:
        if (is_signed)
            ADD_INTEGERS(int32_t);
        else
            ADD_INTEGERS(uint32_t);
        break;
    case 8:
        if (is_signed)
            ADD_INTEGERS(int64_t);
        else
            ADD_INTEGERS(uint64_t);
        break;
    default:
        ADD_INTEGERS(leat_i128);
    }
}

static void add_real_rows(struct leat_range *r, const struct leat_column *c, size_t from, size_t to) {
    for (size_t row = from; row < to; row++) {
        if (leat_is_null(c, row)) continue;
        double v = c->type.kind == LEAT_FLOAT ? (double)((const float *)c->data)[row] : ((const double *)c->data)[row];
        if (isnan(v))
            r->has_nan = true;
        else
            add_reals(r, v, v);
    }
}

static void add_text_rows(struct leat_range *r, const struct leat_column *c, size_t from, size_t to) {
    const struct leat_string *v = c->data;
    for (size_t row = from; row < to; row++) {
        if (leat_is_null(c, row)) continue;
        uint32_t head = head_of(&v[row]);
        if (r->any && head > head_of(&r->low.text) && head < head_of(&r->high.text)) continue; /* most */
        add_texts(r, &v[row], &v[row]);
    }
}

static uint64_t count_nulls(const struct leat_column *c, size_t from, size_t to) {
    uint64_t valid = 0;
    if (!c->valid) return 0;
    for (size_t row = from; row < to;) {
        size_t bits = 64 - (row & 63), n = to - row < bits ? to - row : bits;
        uint64_t word = c->valid[row >> 6] >> (row & 63);
        valid += (uint64_t)__builtin_popcountll(n < 64 ? word & (((uint64_t)1 << n) - 1) : word);
        row += n;
    }
    return to - from - valid;
}

void leat_range_add(struct leat_range *r, const struct leat_column *c, size_t from, size_t to) {
    r->null_count += count_nulls(c, from, to);
    switch (c->type.kind) {
    case LEAT_BOOLEAN:
    case LEAT_BLOB:
    case LEAT_INTERVAL:
    case LEAT_UUID:
    case LEAT_NESTED:
        break;
    case LEAT_FLOAT:
    case LEAT_DOUBLE:
        add_real_rows(r, c, from, to);
        break;
    case LEAT_VARCHAR:
        add_text_rows(r, c, from, to);
        break;
    default:
        add_integer_rows(r, c, from, to);
    }
}

void leat_range_join(struct leat_range *r, const struct leat_range *more, struct leat_type type) {
    r->null_count += more->null_count;
    r->has_nan |= more->has_nan;
    if (!more->any) return;
    if (leat_type_is_float(type))
        add_reals(r, more->low.real, more->high.real);
    else if (type.kind == LEAT_VARCHAR)
        add_texts(r, &more->low.text, &more->high.text);
    else
        add_integers(r, more->low.integer, more->high.integer);
}
