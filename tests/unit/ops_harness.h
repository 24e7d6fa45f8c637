/* For tests of operators: random inputs, the operator run step by step with saves and loads in between, and
 * the comparison with the same question answered by DuckDB over all of the input. */
#ifndef LEAT_TESTS_OPS_HARNESS_H
#define LEAT_TESTS_OPS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "state/row.h"
#include "stream/op.h"

/* The columns of every test input. */
enum {
    C_KEY, C_NAME, C_BIG, C_DOUBLE, C_MONEY, C_TEXT, C_FLAG, C_TIME, C_HUGE, C_DECIMAL, C_INT, C_FLOAT, C_SMALL, C_DATE,
    C_INTERVAL, C_UBIG, C_UUID, C_BLOB, C_TINY, C_DEC4, C_DEC9, C_UTINY, C_USMALL, C_UINT, C_UHUGE, C_TZ,
    C_CLOCK, COLUMN_COUNT
};
static const struct { const char *name; struct leat_type type; } test_columns[COLUMN_COUNT] = {
    [C_KEY] = {"key", {.kind = LEAT_INTEGER}},       [C_NAME] = {"name", {.kind = LEAT_VARCHAR}},
    [C_BIG] = {"big", {.kind = LEAT_BIGINT}},        [C_DOUBLE] = {"dbl", {.kind = LEAT_DOUBLE}},
    [C_MONEY] = {"money", {.kind = LEAT_DECIMAL, .width = 18, .scale = 2}},
    [C_TEXT] = {"txt", {.kind = LEAT_VARCHAR}},      [C_FLAG] = {"flag", {.kind = LEAT_BOOLEAN}},
    [C_TIME] = {"ts", {.kind = LEAT_TIMESTAMP}},     [C_HUGE] = {"huge", {.kind = LEAT_HUGEINT}},
    [C_DECIMAL] = {"dec38", {.kind = LEAT_DECIMAL, .width = 38, .scale = 5}},
    [C_INT] = {"i", {.kind = LEAT_INTEGER}},         [C_FLOAT] = {"flt", {.kind = LEAT_FLOAT}},
    [C_SMALL] = {"small", {.kind = LEAT_SMALLINT}},  [C_DATE] = {"day", {.kind = LEAT_DATE}},
    [C_INTERVAL] = {"iv", {.kind = LEAT_INTERVAL}},  [C_UBIG] = {"ubig", {.kind = LEAT_UBIGINT}},
    [C_UUID] = {"uid", {.kind = LEAT_UUID}},         [C_BLOB] = {"blb", {.kind = LEAT_BLOB}},
    [C_TINY] = {"tiny", {.kind = LEAT_TINYINT}},
    [C_DEC4] = {"dec4", {.kind = LEAT_DECIMAL, .width = 4, .scale = 1}},
    [C_DEC9] = {"dec9", {.kind = LEAT_DECIMAL, .width = 9, .scale = 3}},
    [C_UTINY] = {"utiny", {.kind = LEAT_UTINYINT}},  [C_USMALL] = {"usmall", {.kind = LEAT_USMALLINT}},
    [C_UINT] = {"uint", {.kind = LEAT_UINTEGER}},    [C_UHUGE] = {"uhuge", {.kind = LEAT_UHUGEINT}},
    [C_TZ] = {"tz", {.kind = LEAT_TIMESTAMPTZ}},     [C_CLOCK] = {"clock", {.kind = LEAT_TIME}},
};

static inline void test_schema(struct leat_schema *s) {
    *s = (struct leat_schema){0};
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        leat_schema_add(s, test_columns[i].name, test_columns[i].type, false);
}

struct generator {
    struct leat_random random;
    uint64_t keys;      /* how many different keys */
    uint64_t variety;   /* how many different values; few give ties and equal rows */
    bool hostile;       /* sums that do not fit */
    unsigned null_percent;
};

static inline uint64_t below(struct generator *g, uint64_t n) { return leat_random_below(&g->random, n); }

static inline struct leat_string random_text(struct generator *g, struct leat_changes *c) {
    static const char *const texts[] = {"", "a", "b", "twelve bytes", "thirteen byte", "a string that is long", "Zoë",
                                        "a string that is longer still, and then some more of it"};
    uint64_t pick = below(g, g->variety < 8 ? g->variety : 8);
    if (g->variety > 8 && below(g, 2)) {
        char *text = leat_arena_printf(&c->strings, "text number %llu", (unsigned long long)below(g, g->variety));
        return leat_string_of(text, (uint32_t)strlen(text));
    }
    return leat_string_of(texts[pick], (uint32_t)strlen(texts[pick]));
}

static inline double random_double(struct generator *g) {
    static const double special[] = {0.0, -0.0, 1.0, -1.0, 0.1, 1e300, -1e300, 5e-324, NAN, INFINITY, -INFINITY, 1e16};
    uint64_t pick = below(g, 40);
    if (pick < (g->hostile ? 12 : 8)) return special[pick];
    return (double)((int64_t)below(g, g->variety * 100) - 50) / 7.0;
}

static inline leat_i128 random_wide(struct generator *g, leat_i128 bound) {
    if (g->hostile && !below(g, 3)) return (below(g, 2) ? bound : -bound) - (leat_i128)below(g, 2) * 0;
    return (leat_i128)((int64_t)below(g, g->variety) - 3);
}

static inline leat_i128 power_of_ten(int n) {
    leat_i128 p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static inline void random_value(struct generator *g, struct leat_changes *c, size_t column, size_t row) {
    char *data = c->columns[column].data;
    int64_t v = (int64_t)below(g, g->variety) - (int64_t)(g->variety / 3);
    switch (column) {
    case C_KEY: ((int32_t *)data)[row] = (int32_t)below(g, g->keys); break;
    case C_NAME: {
        char *text = leat_arena_printf(&c->strings, below(g, g->keys) & 1 ? "n%llu" : "a much longer name %llu",
                                       (unsigned long long)below(g, g->keys / 3 + 1));
        ((struct leat_string *)data)[row] = leat_string_of(text, (uint32_t)strlen(text));
        break;
    }
    case C_BIG: ((int64_t *)data)[row] = g->hostile && !below(g, 4) ? (below(g, 2) ? INT64_MAX : INT64_MIN) : v; break;
    case C_DOUBLE: ((double *)data)[row] = random_double(g); break;
    case C_MONEY: ((int64_t *)data)[row] = v * 101; break;
    case C_TEXT: ((struct leat_string *)data)[row] = random_text(g, c); break;
    case C_FLAG: ((uint8_t *)data)[row] = below(g, 2) != 0; break;
    case C_TIME: ((int64_t *)data)[row] = v * 1000000; break;
    case C_HUGE: {
        leat_i128 w = random_wide(g, power_of_ten(38));
        memcpy(data + row * 16, &w, 16);
        break;
    }
    case C_DECIMAL: {
        leat_i128 w = random_wide(g, power_of_ten(38) - 1);
        memcpy(data + row * 16, &w, 16);
        break;
    }
    case C_INT: ((int32_t *)data)[row] = (int32_t)v; break;
    case C_FLOAT: ((float *)data)[row] = (float)random_double(g); break;
    case C_SMALL: ((int16_t *)data)[row] = (int16_t)v; break;
    case C_DATE: ((int32_t *)data)[row] = (int32_t)v; break;
    case C_INTERVAL: {
        int32_t parts[2] = {(int32_t)below(g, 3), (int32_t)below(g, 3) * 30};
        memcpy(data + row * 16, parts, 8);
        memcpy(data + row * 16 + 8, &v, 8);
        break;
    }
    case C_UBIG: ((uint64_t *)data)[row] = g->hostile && !below(g, 4) ? UINT64_MAX : (uint64_t)below(g, g->variety); break;
    case C_UUID: {
        leat_i128 w = (leat_i128)v * (((leat_i128)1 << 64) + 1);
        memcpy(data + row * 16, &w, 16);
        break;
    }
    case C_BLOB: ((struct leat_string *)data)[row] = random_text(g, c); break;
    case C_TINY: ((int8_t *)data)[row] = (int8_t)v; break;
    case C_DEC4: ((int16_t *)data)[row] = (int16_t)(v * 7); break;
    case C_DEC9: ((int32_t *)data)[row] = (int32_t)(v * 1001); break;
    case C_UTINY: ((uint8_t *)data)[row] = (uint8_t)below(g, g->variety); break;
    case C_USMALL: ((uint16_t *)data)[row] = (uint16_t)below(g, g->variety); break;
    case C_UINT: ((uint32_t *)data)[row] = (uint32_t)below(g, g->variety) * 300000000u; break;
    case C_UHUGE: {
        unsigned __int128 w = (unsigned __int128)below(g, g->variety) << (g->hostile ? 120 : 70);
        memcpy(data + row * 16, &w, 16);
        break;
    }
    case C_TZ: ((int64_t *)data)[row] = g->hostile && !below(g, 5) ? INT64_MAX : v * 999999; break;
    case C_CLOCK: ((int64_t *)data)[row] = (int64_t)below(g, g->variety) * 1000001; break;
    default: break;
    }
}

/* Appends a random row of weight +1. */
static inline void random_row(struct generator *g, struct leat_changes *c) {
    size_t row = c->row_count;
    leat_changes_reserve(c, row + 1);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        random_value(g, c, i, row);
        if (below(g, 100) < g->null_percent) leat_set_null(c, i, row);
    }
    if (c->weights) c->weights[row] = 1;
    c->row_count++;
}

/* A step's changes: new rows, and, with retract, earlier rows (of `all`) taken back; adds them to all. */
static inline void random_step(struct generator *g, struct leat_changes *all, size_t rows, bool retract,
                               struct leat_changes *step) {
    leat_changes_reset(step);
    leat_changes_consolidate(all);
    leat_changes_need_weights(step);
    size_t old_rows = all->row_count;
    for (size_t i = 0; i < rows; i++) {
        if (retract && old_rows && below(g, 100) < 45) {
            uint32_t pick = (uint32_t)below(g, old_rows);
            if (all->weights[pick] <= 0) continue;
            leat_changes_append(step, all, &pick, 1, -1);
            all->weights[pick] = 0;
        } else {
            random_row(g, step);
            if (!below(g, 8)) step->weights[step->row_count - 1] = 1 + (int32_t)below(g, 3);
        }
    }
    /* Rows taken back are zero in `all` already. */
    for (size_t i = 0; i < step->row_count; i++) {
        uint32_t row = (uint32_t)i;
        if (step->weights[i] > 0) leat_changes_append(all, step, &row, 1, 1);
    }
    leat_changes_consolidate(all);
}

/* The multiset as rows: weight w becomes w copies. */
static inline void expand(const struct leat_changes *c, struct leat_changes *out) {
    for (uint32_t i = 0; i < c->row_count; i++) {
        int32_t weight = leat_weight(c, i);
        assert_true(weight >= 0);
        for (int32_t k = 0; k < weight; k++)
            leat_changes_append(out, c, &i, 1, 1);
    }
    for (size_t i = 0; out->weights && i < out->row_count; i++)
        out->weights[i] = 1;
}

static inline void print_rows(const struct leat_changes *c) {
    struct leat_buffer b = {0};
    for (size_t i = 0; i < c->row_count && i < 10; i++) {
        leat_putf(&b, "\n  %+d:", (int)leat_weight(c, i));
        for (size_t k = 0; k < c->schema->field_count; k++) {
            size_t size = leat_type_size(c->columns[k].type);
            const char *v = (const char *)c->columns[k].data + i * size;
            if (leat_is_null(&c->columns[k], i)) leat_put(&b, " NULL");
            else if (leat_type_is_string(c->columns[k].type))
                leat_putf(&b, " '%.*s'", (int)((const struct leat_string *)v)->length, leat_string_data((const struct leat_string *)v));
            else if (c->columns[k].type.kind == LEAT_DOUBLE) leat_putf(&b, " %.17g", *(const double *)v);
            else {
                int64_t x = 0;
                memcpy(&x, v, size < 8 ? size : 8);
                if (size == 4) x = *(const int32_t *)v;
                leat_putf(&b, " %lld", (long long)x);
            }
        }
    }
    print_message("%s\n", b.data ? b.data : " (none)");
    leat_buffer_deinit(&b);
}

/* Fails unless a and b hold the same rows. */
static inline void assert_same_rows(const struct leat_changes *got, const struct leat_changes *want, const char *what) {
    struct leat_changes difference;
    leat_changes_init(&difference, got->schema);
    leat_changes_append(&difference, got, NULL, got->row_count, 1);
    leat_changes_append(&difference, want, NULL, want->row_count, -1);
    leat_changes_consolidate(&difference);
    if (difference.row_count) {
        print_message("%s: too many (+) or missing (-) rows:", what);
        print_rows(&difference);
        fail_msg("%s: %zu rows differ of %zu expected", what, difference.row_count, want->row_count);
    }
    leat_changes_deinit(&difference);
}

/* A node with what it was given and gave so far. */
struct rig {
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_op *op;
    struct leat_schema input;
    const struct leat_schema *inputs[2];
    struct leat_node *node;
    int next_id;
    struct leat_changes all[2], step[2], out, total;
    /* saved state: per part, rows in the order saved */
    struct leat_changes saved[4];
    bool has_saved;
    int64_t cut_us;
    /* op->by_place: the step with places, and every record so far, from which the node fetches */
    struct leat_schema placed;
    struct leat_changes batch, records;
    uint64_t fetched;
};

/* Record k's place; some do not fit 64 bits. */
static inline leat_i128 place_of(uint64_t k) {
    uint64_t partition = k % 7 == 6 ? 1u << 25 : k % 3, offset = k % 5 == 4 ? k + (1ull << 41) : k;
    return (leat_i128)partition << 64 | offset;
}

static inline enum leat_status rig_fetch(void *context, const leat_i128 *places, size_t n, struct leat_changes *out,
                                         struct leat_error *err) {
    struct rig *r = context;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        uint32_t k = (uint32_t)((uint64_t)places[i] & ((1ull << 41) - 1));
        assert_true(k < r->records.row_count && place_of(k) == places[i]);
        leat_changes_append(out, &r->records, &k, 1, 1);
    }
    for (size_t i = 0; out->weights && i < out->row_count; i++)
        out->weights[i] = 1;
    r->fetched += n;
    return LEAT_OK;
}

/* r->step[0] and, now and then, records of before once more, each with its place. */
static inline const struct leat_changes *rig_placed(struct rig *r) {
    size_t n = r->step[0].row_count, again = r->records.row_count && r->records.row_count % 3 == 0 ? 4 : 0;
    leat_changes_reset(&r->batch);
    leat_changes_reserve(&r->batch, n + again);
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        leat_gather(&r->batch, c, 0, &r->step[0], c, NULL, 0, n);
        for (size_t i = 0; i < again; i++) {
            uint32_t pick = (uint32_t)(r->records.row_count * (i + 1) / 5);
            leat_gather(&r->batch, c, n + i, &r->records, c, &pick, 0, 1);
        }
    }
    r->batch.row_count = n + again;
    for (size_t i = 0; i < n + again; i++)
        ((leat_i128 *)r->batch.columns[COLUMN_COUNT].data)[i] = place_of(r->records.row_count + i);
    leat_changes_append(&r->records, &r->batch, NULL, n + again, 1);
    return &r->batch;
}

static inline void rig_open_node(struct rig *r) {
    OK(leat_node_open(r->conn, r->op, r->inputs, r->next_id++, &r->node, oops));
}

static inline void rig_init(struct rig *r, struct leat_op *op, int children) {
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP};
    *r = (struct rig){.op = op, .next_id = 1, .cut_us = INT64_MIN};
    test_schema(&r->input);
    OK(leat_duck_open(&options, &r->duck, oops));
    OK(leat_conn_open(r->duck, &r->conn, oops));
    op->child_count = children;
    for (int i = 0; i < 2; i++) {
        if (i < children) r->inputs[i] = &r->input;
        leat_changes_init(&r->all[i], &r->input);
        leat_changes_init(&r->step[i], &r->input);
    }
    if (op->by_place) {
        leat_schema_copy(&r->placed, &r->input);
        leat_schema_add(&r->placed, "__place", (struct leat_type){.kind = LEAT_HUGEINT}, true);
        leat_changes_init(&r->batch, &r->placed);
        leat_changes_init(&r->records, &r->placed);
        r->inputs[0] = &r->placed;
    }
    OK(leat_conn_input(r->conn, "left", &r->input, false, oops));
    OK(leat_conn_input(r->conn, "right", &r->input, false, oops));
    leat_changes_init(&r->out, &op->schema);
    leat_changes_init(&r->total, &op->schema);
    rig_open_node(r);
}

static inline void rig_drop_saved(struct rig *r) {
    for (size_t p = 0; p < 4; p++)
        if (r->saved[p].schema) leat_changes_deinit(&r->saved[p]);
    r->has_saved = false;
}

static inline void rig_deinit(struct rig *r) {
    rig_drop_saved(r);
    leat_node_close(r->node);
    for (int i = 0; i < 2; i++) {
        leat_changes_deinit(&r->all[i]);
        leat_changes_deinit(&r->step[i]);
    }
    if (r->op->by_place) {
        leat_changes_deinit(&r->batch);
        leat_changes_deinit(&r->records);
        leat_schema_deinit(&r->placed);
    }
    leat_changes_deinit(&r->out);
    leat_changes_deinit(&r->total);
    leat_conn_close(r->conn);
    leat_duck_close(r->duck);
    leat_schema_deinit(&r->input);
    leat_schema_deinit(&r->op->schema);
}

/* Saves the state (only what changed when something was saved before and !full), in small portions. */
static inline void rig_save(struct rig *r, bool full, struct leat_schema schemas[4]) {
    bool increment = r->has_saved && !full;
    if (!increment) rig_drop_saved(r);
    size_t parts = leat_node_state_parts(r->node);
    assert_true(parts <= 4);
    for (size_t p = 0; p < parts; p++) {
        if (!increment) {
            leat_schema_deinit(&schemas[p]);
            leat_schema_copy(&schemas[p], leat_node_state_schema(r->node, p));
            leat_changes_init(&r->saved[p], &schemas[p]);
        }
        uint64_t cursor = 0;
        for (;;) {
            struct leat_error error = {0};
            size_t before = r->saved[p].row_count;
            enum leat_status status = leat_node_save(r->node, p, increment, &cursor, 7, &r->saved[p], &error);
            assert_true(r->saved[p].row_count - before <= 7);
            if (status == LEAT_END) break;
            assert_int_equal(status, LEAT_OK);
            assert_true(r->saved[p].row_count > before);
        }
    }
    leat_node_clean(r->node);
    r->has_saved = true;
}

static inline void rig_reload(struct rig *r) {
    leat_node_close(r->node);
    r->node = NULL;
    rig_open_node(r);
    for (size_t p = 0; p < leat_node_state_parts(r->node); p++) {
        leat_node_load_hint(r->node, p, r->saved[p].row_count);
        OK(leat_node_load(r->node, p, &r->saved[p], oops));
    }
}

/* One step with what is in r->step; the output goes to r->out and r->total. */
static inline void rig_step(struct rig *r) {
    struct leat_step_context context = {.cut_us = r->cut_us, .fetch = rig_fetch, .fetch_context = r};
    const struct leat_changes *inputs[2] = {r->op->by_place ? rig_placed(r) : &r->step[0], r->op->child_count > 1 ? &r->step[1] : NULL};
    leat_changes_reset(&r->out);
    OK(leat_node_step(r->node, &context, inputs, &r->out, oops));
    leat_changes_append(&r->total, &r->out, NULL, r->out.row_count, 1);
    leat_changes_consolidate(&r->total);
}

/* Compares the output so far with `sql` over leat_input('left'), leat_input('right'). */
static inline void rig_compare(struct rig *r, const char *sql, const char *what) {
    struct leat_changes rows[2];
    struct leat_result want;
    for (int i = 0; i < 2; i++) {
        leat_changes_init(&rows[i], &r->input);
        expand(&r->all[i], &rows[i]);
        leat_conn_bind(r->conn, i ? "right" : "left", &rows[i]);
    }
    OK(leat_conn_query(r->conn, sql, &want, oops));
    assert_int_equal(want.schema.field_count, r->op->schema.field_count);
    for (size_t i = 0; i < want.schema.field_count; i++)
        if (!leat_type_equal(want.schema.fields[i].type, r->op->schema.fields[i].type))
            fail_msg("column %zu is of another type in DuckDB: %d", i, want.schema.fields[i].type.kind);
    assert_same_rows(&r->total, &want.rows, what);
    leat_result_deinit(&want);
    for (int i = 0; i < 2; i++) {
        leat_conn_bind(r->conn, i ? "right" : "left", NULL);
        leat_changes_deinit(&rows[i]);
    }
}

/* The whole model test: steps of random sizes, comparison after each, state saved and loaded at random. */
static inline void rig_run(struct rig *r, struct generator *g, const char *sql, int steps, bool retract, const char *what) {
    struct leat_schema schemas[4] = {0};
    for (int step = 0; step < steps; step++) {
        size_t sizes[] = {0, 1, 2, 5, 20, 70};
        for (int i = 0; i < r->op->child_count; i++)
            random_step(g, &r->all[i], sizes[below(g, 6)], retract, &r->step[i]);
        rig_step(r);
        rig_compare(r, sql, what);
        if (below(g, 3) == 0) {
            rig_save(r, below(g, 4) == 0, schemas);
            if (below(g, 2)) rig_reload(r);
        }
    }
    rig_drop_saved(r);
    for (int i = 0; i < 4; i++)
        leat_schema_deinit(&schemas[i]);
}

static inline void add_field(struct leat_op *op, const char *name, struct leat_type type) {
    leat_schema_add(&op->schema, name, type, false);
}
static inline void add_input_field(struct leat_op *op, size_t column) {
    add_field(op, test_columns[column].name, test_columns[column].type);
}

static const struct leat_type BIGINT = {.kind = LEAT_BIGINT}, DOUBLE = {.kind = LEAT_DOUBLE},
                              HUGEINT = {.kind = LEAT_HUGEINT}, BOOLEAN = {.kind = LEAT_BOOLEAN},
                              VARCHAR = {.kind = LEAT_VARCHAR}, INTEGER = {.kind = LEAT_INTEGER};

static inline struct generator make_generator(uint64_t seed) {
    struct generator g = {.keys = 6, .variety = 12, .null_percent = 10};
    leat_random_seed(&g.random, seed);
    return g;
}

#endif
