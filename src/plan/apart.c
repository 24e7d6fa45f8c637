/* Joins whose rows meet only within some time of each other (r.t BETWEEN l.t AND l.t + INTERVAL ...): what the conditions say of two time
 * columns, and from it when a row of either side meets no change to come. Depends on what relation.c knows to follow event time. */
#include <string.h>

#include "plan/compile.h"

static const int64_t DAY_US = 86400000000, FAR_US = INT64_MAX / 8;

static bool is_time(struct leat_type type) {
    return type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ;
}

/* ---- what conditions say */

/* Microseconds that a constant interval adds to a time, at least and at most: months have 28 to 31 days, and where zones have days, clocks may be changed. */
static bool interval_bounds(const json_t *e, bool zoned, int64_t *low_us, int64_t *high_us) {
    struct leat_bound_interval i;
    if (!leat_bound_interval_constant(e, &i)) return false;
    int64_t unsure_us = zoned && (i.months || i.days) ? 2 * DAY_US : 0;
    *low_us = (i.months * (i.months > 0 ? 28 : 31) + i.days) * DAY_US + i.micros - unsure_us;
    *high_us = (i.months * (i.months > 0 ? 31 : 28) + i.days) * DAY_US + i.micros + unsure_us;
    return true;
}

/* A time column of the relation plus something from low_us to high_us. */
struct moved { size_t column; int64_t low_us, high_us; };

static bool find_moved(const struct leat_rel *rel, const json_t *e, struct moved *out) {
    int64_t low_us, high_us;
    if (leat_bound_is_ref(e, &out->column)) {
        out->low_us = out->high_us = 0;
        return out->column < rel->count && is_time(rel->columns[out->column].type);
    }
    const json_t *left = leat_json_at(e, "children", 0), *right = leat_json_at(e, "children", 1);
    bool plus = leat_json_is(e, "name", "+"), zoned = leat_bound_type(leat_bound_expression_type(e)).kind == LEAT_TIMESTAMPTZ;
    if (!leat_json_is(e, "expression_class", "BOUND_FUNCTION") || !(plus || leat_json_is(e, "name", "-"))) return false;
    if (plus && interval_bounds(left, zoned, &low_us, &high_us)) left = right;
    else if (!interval_bounds(right, zoned, &low_us, &high_us)) return false;
    if (!find_moved(rel, left, out)) return false;
    out->low_us += plus ? low_us : -high_us;
    out->high_us += plus ? high_us : -low_us;
    return out->low_us > -FAR_US && out->high_us < FAR_US;
}

bool leat_apart_is_moved(const struct leat_rel *rel, const json_t *e) {
    struct moved moved;
    return find_moved(rel, e, &moved) && rel->columns[moved.column].has_time;
}

/* All that is said of one pair of columns holds; by_key while keys alone say it. */
static void add_pair(struct leat_aparts *all, size_t left, size_t right, int64_t low_us, int64_t high_us, bool key) {
    size_t i = 0;
    while (i < all->count && (all->pairs[i].columns[0] != left || all->pairs[i].columns[1] != right)) i++;
    if (i == sizeof all->pairs / sizeof *all->pairs) return;
    if (i == all->count) {
        all->pairs[all->count++] = (struct leat_apart){.columns = {(uint16_t)left, (uint16_t)right}, .low_us = INT64_MIN, .high_us = INT64_MAX};
        all->by_key[i] = true;
    }
    struct leat_apart *pair = &all->pairs[i];
    if (low_us > pair->low_us) pair->low_us = low_us;
    if (high_us < pair->high_us) pair->high_us = high_us;
    all->by_key[i] &= key;
}

static bool says(const char *comparison, const char *what) {
    return strcmp(comparison + (strncmp(comparison, "COMPARE_", 8) == 0 ? 8 : 0), what) == 0;
}

/* `small` is at most, or less than, `big`, which is of the other input. */
static void add_order(struct leat_aparts *all, const struct moved *small, bool small_is_right, const struct moved *big, bool strictly) {
    int64_t least_us = small->low_us - big->high_us + strictly; /* of big less small, the columns */
    if (small_is_right)
        add_pair(all, big->column, small->column, INT64_MIN, -least_us, false);
    else
        add_pair(all, small->column, big->column, least_us, INT64_MAX, false);
}

static void add_comparison(struct leat_aparts *all, const struct moved *a, bool a_is_right, const char *comparison, const struct moved *b) {
    bool strictly = says(comparison, "LESSTHAN") || says(comparison, "GREATERTHAN");
    if (strictly ? says(comparison, "LESSTHAN") : says(comparison, "LESSTHANOREQUALTO")) add_order(all, a, a_is_right, b, strictly);
    if (strictly ? says(comparison, "GREATERTHAN") : says(comparison, "GREATERTHANOREQUALTO")) add_order(all, b, !a_is_right, a, strictly);
}

void leat_apart_compare(struct leat_aparts *all, const struct leat_rel *left, const json_t *left_side, const char *comparison, const struct leat_rel *right,
                        const json_t *right_side, bool is_key) {
    struct moved l, r;
    if (!find_moved(left, left_side, &l) || !find_moved(right, right_side, &r)) return;
    if (is_key) /* an equality; NULLs may equal each other */
        add_pair(all, l.column, r.column, l.low_us - r.high_us, l.high_us - r.low_us, true);
    else
        add_comparison(all, &l, false, comparison, &r);
}

/* The columns that a difference of two times is of, which DuckDB wraps to compare it. */
static bool find_difference(const json_t *e, size_t *minuend, size_t *subtrahend) {
    if (leat_json_is(e, "name", "normalized_interval")) e = leat_json_at(e, "children", 0);
    if (!leat_json_is(e, "expression_class", "BOUND_FUNCTION") || !leat_json_is(e, "name", "-")) return false;
    return leat_json_count(e, "children") == 2 && leat_bound_is_ref(leat_json_at(e, "children", 0), minuend) &&
           leat_bound_is_ref(leat_json_at(e, "children", 1), subtrahend);
}

/* Intervals compare as if months had 30 days and days 24 hours, and a difference of times has no months. */
static bool interval_compared(const json_t *e, int64_t *us) {
    struct leat_bound_interval i;
    if (!leat_bound_interval_constant(e, &i)) return false;
    *us = (i.months * 30 + i.days) * DAY_US + i.micros;
    return *us > -FAR_US && *us < FAR_US;
}

/* Where zones have days a difference counts those of the calendar, of which some are longer or shorter than 24 hours. */
static void allow_other_days(int64_t *low_us, int64_t *high_us) {
    if (*low_us != INT64_MIN && (*low_us > 0 || *low_us <= -DAY_US)) *low_us -= 2 * DAY_US;
    if (*high_us != INT64_MAX && (*high_us < 0 || *high_us >= DAY_US)) *high_us += 2 * DAY_US;
}

static void add_difference(struct leat_aparts *all, const struct leat_apart_output *output, const json_t *difference, int64_t low_us, int64_t high_us) {
    const struct leat_rel *rel = &output->rel;
    size_t plus, minus;
    if (!find_difference(difference, &plus, &minus) || plus >= rel->count || minus >= rel->count || output->right[plus] == output->right[minus]) return;
    if (!is_time(rel->columns[plus].type) || !leat_type_equal(rel->columns[plus].type, rel->columns[minus].type)) return;
    if (rel->columns[plus].type.kind == LEAT_TIMESTAMPTZ) allow_other_days(&low_us, &high_us);
    if (output->right[plus])
        add_pair(all, output->columns[minus], output->columns[plus], low_us, high_us, false);
    else
        add_pair(all, output->columns[plus], output->columns[minus], high_us == INT64_MAX ? INT64_MIN : -high_us, low_us == INT64_MIN ? INT64_MAX : -low_us, false);
}

static void add_filter(struct leat_aparts *all, const struct leat_apart_output *output, const json_t *left, const char *comparison, const json_t *right) {
    struct moved a, b;
    int64_t us;
    bool less = says(comparison, "LESSTHAN") || says(comparison, "LESSTHANOREQUALTO"),
         greater = says(comparison, "GREATERTHAN") || says(comparison, "GREATERTHANOREQUALTO");
    if (interval_compared(right, &us) && (less || greater)) { /* a bound that is not reached is no matter here */
        add_difference(all, output, left, greater ? us : INT64_MIN, less ? us : INT64_MAX);
    } else if (interval_compared(left, &us) && (less || greater)) {
        add_difference(all, output, right, less ? us : INT64_MIN, greater ? us : INT64_MAX);
    } else if (find_moved(&output->rel, left, &a) && find_moved(&output->rel, right, &b) && output->right[a.column] != output->right[b.column]) {
        bool a_is_right = output->right[a.column];
        a.column = output->columns[a.column], b.column = output->columns[b.column];
        add_comparison(all, &a, a_is_right, comparison, &b);
    }
}

void leat_apart_filter(struct leat_aparts *all, const struct leat_apart_output *output, const json_t *e) {
    if (leat_json_is(e, "expression_class", "BOUND_COMPARISON"))
        add_filter(all, output, json_object_get(e, "left"), leat_json_text(e, "type"), json_object_get(e, "right"));
    if (!leat_json_is(e, "expression_class", "BOUND_BETWEEN")) return;
    add_filter(all, output, json_object_get(e, "lower"), "LESSTHANOREQUALTO", json_object_get(e, "input"));
    add_filter(all, output, json_object_get(e, "input"), "LESSTHANOREQUALTO", json_object_get(e, "upper"));
}

/* ---- when rows may be forgotten */

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Of a row with the time v: no change to come of the other side meets it once v + this <= cut, and none takes it back. INT64_MAX: not known. */
static int64_t met_us(const struct leat_rel_column *own, bool own_append_only, const struct leat_rel_column *other, int64_t reach_us) {
    if (!other->has_time || reach_us == INT64_MAX || !(own_append_only || own->has_time)) return INT64_MAX;
    return own_append_only ? reach_us + other->span_us : later(reach_us + other->span_us, own->span_us);
}

/* A row of a side that is padded, or given once if it meets any, needs what it has met as long as another may come. */
static void find_keep(const struct leat_rel_column *const times[2], const bool append_only[2], enum leat_apart_pads pads, struct leat_apart *pair) {
    int64_t reach[2] = {pair->high_us, pair->low_us == INT64_MIN ? INT64_MAX : -pair->low_us}, met[2];
    for (int side = 0; side < 2; side++)
        pair->keep_us[side] = met[side] = met_us(times[side], append_only[side], times[!side], reach[side]);
    for (int side = 0; side < 2; side++) { /* of a row of the other side at the end of this one's reach */
        if (pads < (side ? LEAT_PADS_LEFT : LEAT_PADS_BOTH) || met[side] == INT64_MAX) continue;
        pair->keep_us[side] = met[!side] == INT64_MAX || reach[side] == INT64_MAX ? INT64_MAX : later(met[side], met[!side] + reach[side]);
    }
}

static int sides_kept_for_ever(const struct leat_apart *pair) {
    return (pair->keep_us[0] == INT64_MAX) + (pair->keep_us[1] == INT64_MAX);
}

/* The pair by which most can be forgotten. */
bool leat_apart_choose(struct leat_compile *c, const struct leat_aparts *all, const struct leat_rel *left, const struct leat_rel *right, enum leat_apart_pads pads,
                       struct leat_apart *out, bool *by_key) {
    const bool append_only[2] = {c->plan->ops[left->op].append_only, c->plan->ops[right->op].append_only};
    *out = (struct leat_apart){.keep_us = {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < all->count; i++) {
        struct leat_apart pair = all->pairs[i];
        const struct leat_rel_column *times[2] = {&left->columns[pair.columns[0]], &right->columns[pair.columns[1]]};
        find_keep(times, append_only, pads, &pair);
        int more = sides_kept_for_ever(out) - sides_kept_for_ever(&pair);
        if (out->known && (more < 0 || (more == 0 && pair.keep_us[0] >= out->keep_us[0]))) continue;
        *out = pair;
        out->known = true;
        *by_key = all->by_key[i];
    }
    return out->known;
}

/* Where the result has the column: behind those of the left side there may be none, or whether it meets any. */
static void add_time(struct leat_op *op, size_t column, int64_t span_us, const struct leat_rel_column *of) {
    if (column < op->schema.field_count && is_time(op->schema.fields[column].type) && !leat_op_time(op, column)) leat_emit_time(op, column, span_us, of->time_object);
}

void leat_apart_times(struct leat_compile *c, const struct leat_rel *left, const struct leat_rel *right, const struct leat_apart *pair, struct leat_op *op) {
    const struct leat_rel_column *l = &left->columns[pair->columns[0]], *r = &right->columns[pair->columns[1]];
    if (!l->has_time || !r->has_time) return;
    leat_cut_together(c, l->time_object, r->time_object);
    if (pair->high_us != INT64_MAX) add_time(op, pair->columns[0], later(l->span_us, r->span_us + pair->high_us), l);
    if (pair->low_us != INT64_MIN) add_time(op, left->count + pair->columns[1], later(r->span_us, l->span_us - pair->low_us), r);
}

/* ---- for EXPLAIN */

static const char *leaves(struct leat_compile *c, const char *side, const struct leat_rel_column *time, int64_t keep_us) {
    struct leat_buffer out = {0};
    leat_putf(&out, "%s rows leave when the cut passes \"%s\"", side, time->name);
    if (keep_us > 1) leat_put(&out, " + "), leat_plan_put_duration(&out, keep_us);
    if (keep_us < 0) leat_put(&out, " - "), leat_plan_put_duration(&out, 1 - keep_us);
    const char *text = leat_arena_copy(&c->arena, out.data, out.length);
    leat_buffer_deinit(&out);
    return text;
}

static const char *no_time(struct leat_compile *c, const struct leat_rel_column *t) {
    if (t->time_lost) return leat_arena_printf(&c->arena, "\"%s\" is an event time, but %s", t->name, t->time_lost);
    if (t->has_local) return leat_arena_printf(&c->arena, "no record is late for this table, so that no cut passes \"%s\" (ALLOW LATENESS gives it one)", t->name);
    return leat_arena_printf(&c->arena, "\"%s\" is no event time that the cut can pass", t->name);
}

/* Why rows of a side are kept though times are compared. */
static const char *stays(struct leat_compile *c, const struct leat_rel_column *const times[2], int side, const struct leat_apart *pair) {
    bool after_open = pair->high_us == INT64_MAX, before_open = pair->low_us == INT64_MIN;
    if (!times[!side]->has_time) return no_time(c, times[!side]);
    if (side ? before_open : after_open || before_open)
        return leat_arena_printf(&c->arena, "no condition says how far \"%s\" may be %s \"%s\"", times[1]->name, (side ? before_open : !after_open) ? "before" : "after",
                                 times[0]->name);
    if (side && after_open) return leat_arena_printf(&c->arena, "no condition says how far \"%s\" may be after \"%s\"", times[1]->name, times[0]->name);
    return no_time(c, times[side]);
}

static const struct leat_rel_column *any_time(const struct leat_rel *rel) {
    for (size_t i = 0; i < rel->count; i++)
        if (rel->columns[i].has_time) return &rel->columns[i];
    return NULL;
}

char *leat_apart_describe(struct leat_compile *c, const struct leat_rel *left, const struct leat_rel *right, const struct leat_apart *pair) {
    static const char *const names[2] = {"left", "right"};
    const char *texts[2];
    const struct leat_rel_column *a = any_time(left), *b = any_time(right);
    if (!pair->known && a && b) return leat_asprintf("unbounded: all rows of both sides are kept: no condition says how far \"%s\" may be from \"%s\"", b->name, a->name);
    if (!pair->known) return leat_strdup("unbounded: all rows of both sides are kept");
    const struct leat_rel_column *times[2] = {&left->columns[pair->columns[0]], &right->columns[pair->columns[1]]};
    for (int side = 0; side < 2; side++)
        texts[side] = pair->keep_us[side] != INT64_MAX ? leaves(c, names[side], times[side], pair->keep_us[side]) : stays(c, times, side, pair);
    int kept = sides_kept_for_ever(pair);
    if (kept == 0) return leat_asprintf("%s, %s", texts[0], texts[1]);
    if (kept == 2) return leat_asprintf("unbounded: all rows of both sides are kept: %s", texts[0]);
    int side = pair->keep_us[0] == INT64_MAX ? 0 : 1;
    return leat_asprintf("unbounded: all %s rows are kept: %s; %s", names[side], texts[side], texts[!side]);
}
