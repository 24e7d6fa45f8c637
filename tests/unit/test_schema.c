/* Types, schemas, change batches, canonical keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "data/key.h"
#include "data/schema.h"

static struct leat_type type_of(const char *text) {
    struct leat_type t;
    struct leat_error err;
    assert_int_equal(leat_type_parse(text, strlen(text), &t, &err), LEAT_OK);
    return t;
}

static void types_parse_and_print(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"int", "INTEGER"},
        {" Bigint ", "BIGINT"},
        {"LONG", "BIGINT"},
        {"text", "VARCHAR"},
        {"VARCHAR(20)", "VARCHAR"},
        {"decimal( 18 , 2 )", "DECIMAL(18,2)"},
        {"numeric(9)", "DECIMAL(9,0)"},
        {"DECIMAL", "DECIMAL(18,3)"},
        {"timestamp  with\ttime zone", "TIMESTAMP WITH TIME ZONE"},
        {"datetime", "TIMESTAMP"},
        {"double precision", "DOUBLE"},
        {"INTEGER[]", "NESTED"},
        {"STRUCT(a INTEGER, b VARCHAR)", "NESTED"},
        {"map(varchar, integer)", "NESTED"},
        {"uuid", "UUID"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32];
        leat_type_print(type_of(cases[i][0]), out);
        assert_string_equal(out, cases[i][1]);
    }
}

static void wrong_types_name_the_nearest(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"INTEGR", "INTEGER"},
        {"VARCHR", "VARCHAR"},
        {"DECIMAL(40,2)", "outside 1 to 38"},
        {"DECIMAL(4,5)", "larger than the width"},
        {"DECIMAL(x)", "DECIMAL(18,2)"},
        {"INTEGER(4)", "takes no"},
        {"JSON", "VARCHAR"},
        {"", "not a type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_type t;
        struct leat_error err;
        assert_int_equal(leat_type_parse(cases[i][0], strlen(cases[i][0]), &t, &err), LEAT_INVALID);
        assert_non_null(strstr(err.text, cases[i][1]));
    }
}

static void schema_is_found_without_case(void **state) {
    (void)state;
    struct leat_schema s = {0}, copy;
    leat_schema_add(&s, "Order_ID", type_of("BIGINT"), true);
    leat_schema_add(&s, "status", type_of("VARCHAR"), false);
    leat_schema_copy(&copy, &s);
    leat_schema_deinit(&s);
    assert_int_equal(s.field_count, 0);
    assert_int_equal(leat_schema_find(&copy, "order_id"), 0);
    assert_int_equal(leat_schema_find(&copy, "STATUS"), 1);
    assert_int_equal(leat_schema_find(&copy, "statu"), -1);
    assert_true(copy.fields[0].not_null);
    leat_schema_deinit(&copy);
}

/* A batch of (BIGINT, VARCHAR, DOUBLE); key < 0: NULL, text NULL: NULL. */
static void add_row(struct leat_changes *c, int64_t key, const char *text, double number, int32_t weight) {
    leat_changes_reserve(c, c->row_count + 1);
    size_t row = c->row_count++;
    ((int64_t *)c->columns[0].data)[row] = key;
    if (key < 0) leat_set_null(c, 0, row);
    if (text)
        ((struct leat_string *)c->columns[1].data)[row] =
            leat_string_of(leat_arena_copy(&c->strings, text, strlen(text)), (uint32_t)strlen(text));
    else
        leat_set_null(c, 1, row);
    ((double *)c->columns[2].data)[row] = number;
    if (weight != 1) leat_changes_need_weights(c);
    if (c->weights) c->weights[row] = weight;
}

static void three_columns(struct leat_schema *s) {
    *s = (struct leat_schema){0};
    leat_schema_add(s, "k", type_of("BIGINT"), false);
    leat_schema_add(s, "t", type_of("VARCHAR"), false);
    leat_schema_add(s, "d", type_of("DOUBLE"), false);
}

static void append_copies_rows_nulls_and_strings(void **state) {
    (void)state;
    struct leat_schema s;
    three_columns(&s);
    struct leat_changes a, b;
    leat_changes_init(&a, &s);
    leat_changes_init(&b, &s);
    for (int i = 0; i < 200; i++)
        add_row(&a, i % 7 ? i : -1, i % 5 ? "a string beyond twelve bytes" : i % 2 ? "short" : NULL, i, 1);
    leat_changes_append(&b, &a, NULL, a.row_count, 1);
    uint32_t rows[] = {199, 0, 3, 5};
    leat_changes_append(&b, &a, rows, 4, -2);
    leat_changes_deinit(&a); /* b must not depend on it */
    assert_int_equal(b.row_count, 204);
    assert_int_equal(leat_weight(&b, 199), 1);
    assert_int_equal(leat_weight(&b, 200), -2);
    for (size_t row = 0; row < b.row_count; row++) {
        int i = row < 200 ? (int)row : (int)rows[row - 200];
        assert_int_equal(leat_is_null(&b.columns[0], row), i % 7 == 0);
        const struct leat_string *t = (struct leat_string *)b.columns[1].data + row;
        const char *want = i % 5 ? "a string beyond twelve bytes" : i % 2 ? "short" : NULL;
        assert_int_equal(leat_is_null(&b.columns[1], row), !want);
        if (want) assert_memory_equal(leat_string_data(t), want, strlen(want));
        if (i % 7 == 0) assert_int_equal(((int64_t *)b.columns[0].data)[row], 0);
        assert_true(((double *)b.columns[2].data)[row] == i);
    }
    leat_changes_reset(&b);
    assert_int_equal(b.row_count, 0);
    assert_null(b.weights);
    add_row(&b, 5, "x", 1, 1);
    assert_false(leat_is_null(&b.columns[0], 0));
    leat_changes_deinit(&b);
    leat_schema_deinit(&s);
}

static int64_t weight_of(const struct leat_changes *c, int64_t key) {
    int64_t sum = 0;
    for (size_t row = 0; row < c->row_count; row++)
        if (!leat_is_null(&c->columns[0], row) && ((int64_t *)c->columns[0].data)[row] == key)
            sum += leat_weight(c, row);
    return sum;
}

static void consolidate_adds_up_equal_rows(void **state) {
    (void)state;
    struct leat_schema s;
    three_columns(&s);
    struct leat_changes c;
    leat_changes_init(&c, &s);
    add_row(&c, 1, "one", 0.0, 1);
    add_row(&c, 1, "one", -0.0, -1);
    add_row(&c, 2, "two and a long tail", NAN, 2);
    add_row(&c, 2, "two and a long tail", -NAN, 3);
    add_row(&c, -1, NULL, 0, 1);
    add_row(&c, -1, NULL, 0, 1);
    add_row(&c, 3, NULL, 0, INT32_MAX);
    add_row(&c, 3, NULL, 0, 5);
    add_row(&c, 4, "", 0, 1);
    add_row(&c, 4, NULL, 0, -1);
    leat_changes_consolidate(&c);
    assert_int_equal(weight_of(&c, 1), 0);
    assert_int_equal(weight_of(&c, 2), 5);
    assert_int_equal(weight_of(&c, 3), (int64_t)INT32_MAX + 5);
    assert_int_equal(c.row_count, 6); /* 2, NULL, 3 twice, 4 twice: '' is not NULL */
    for (size_t row = 0; row < c.row_count; row++)
        if (leat_is_null(&c.columns[0], row)) assert_int_equal(leat_weight(&c, row), 2);
    leat_changes_reset(&c);
    for (int64_t i = 0; i < 20000; i++)
        add_row(&c, i % 1000, i % 3 ? "some long string value" : NULL, (double)(i % 2), i % 4 == 3 ? -1 : 1);
    int64_t want = 0, got = 0;
    for (size_t i = 0; i < c.row_count; i++)
        want += leat_weight(&c, i);
    leat_changes_consolidate(&c);
    for (size_t i = 0; i < c.row_count; i++) {
        got += leat_weight(&c, i);
        assert_int_not_equal(leat_weight(&c, i), 0);
    }
    assert_int_equal(got, want);
    assert_true(c.row_count <= 6000);
    leat_changes_deinit(&c);
    leat_schema_deinit(&s);
}

struct interval {
    int32_t months, days;
    int64_t micros;
};

static void intervals_compare_as_duckdb_does(void **state) {
    (void)state;
    const int64_t hour = 3600000000LL;
    /* Left, right, and DuckDB's answer (1.5.5: less, equal, greater). */
    const struct {
        struct interval a, b;
        int order;
    } cases[] = {
        {{0, 29, 24 * hour}, {1, 0, 0}, 0},     {{1, -30, 0}, {0, 0, 0}, 0},
        {{0, -1, 24 * hour}, {0, 0, 0}, 0},     {{0, 29, 48 * hour}, {1, 0, 0}, 1},
        {{-1, 40, 0}, {0, 10, 0}, 0},           {{1, -1, 0}, {0, 29, 0}, 1},
        {{0, 1, -hour}, {0, 0, 23 * hour}, 1},  {{0, 30, -24 * hour}, {1, -1, 0}, -1},
        {{0, -15, 1080 * hour}, {0, 30, 0}, 0},
    };
    struct leat_schema s = {0};
    leat_schema_add(&s, "i", type_of("INTERVAL"), false);
    struct leat_changes c;
    leat_changes_init(&c, &s);
    leat_changes_reserve(&c, 2);
    c.row_count = 2;
    uint16_t column = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct interval *v = c.columns[0].data;
        v[0] = cases[i].a;
        v[1] = cases[i].b;
        assert_int_equal(leat_key_compare(&c, 0, &column, &c, 1, &column, 1), cases[i].order);
        assert_int_equal(leat_key_equal(&c, 0, &column, &c, 1, &column, 1), cases[i].order == 0);
        struct leat_hash128 h[2];
        leat_key_hash(&c, 0, 2, &column, 1, h);
        assert_int_equal(h[0].low == h[1].low && h[0].high == h[1].high, cases[i].order == 0);
    }
    leat_changes_deinit(&c);
    leat_schema_deinit(&s);
}

/* Fills every column kind with values from a small set, so that equal pairs are common. */
static void fill_random(struct leat_changes *c, size_t rows) {
    static const double doubles[] = {0.0, -0.0, 1.5, -1.5, NAN, -NAN, INFINITY, -INFINITY};
    static const char *const texts[] = {"", "a", "ab", "abcdefghijkl", "abcdefghijklm", "abcdefghijkln"};
    leat_changes_reserve(c, rows);
    c->row_count = rows;
    for (size_t i = 0; i < c->schema->field_count; i++) {
        struct leat_column *column = &c->columns[i];
        size_t size = leat_type_size(column->type);
        memset(column->data, 0, rows * size);
        for (size_t row = 0; row < rows; row++) {
            char *at = (char *)column->data + row * size;
            long r = random();
            if (r % 5 == 0) {
                leat_set_null(c, i, row);
                continue;
            }
            if (leat_type_is_string(column->type))
                *(struct leat_string *)(void *)at = leat_string_of(texts[r % 6], (uint32_t)strlen(texts[r % 6]));
            else if (column->type.kind == LEAT_DOUBLE)
                *(double *)(void *)at = doubles[r % 8];
            else if (column->type.kind == LEAT_FLOAT)
                *(float *)(void *)at = (float)doubles[r % 8];
            else if (column->type.kind == LEAT_INTERVAL)
                *(struct interval *)(void *)at = (struct interval){(int32_t)(r % 2), (int32_t)(r / 2 % 2) * 30, 0};
            else {
                long v = r % 3 - (column->type.kind == LEAT_BOOLEAN ? 0 : 1);
                memcpy(at, &v, size < 8 ? size : 8);
                if (size == 16 && v < 0) memset(at + 8, 0xff, 8);
            }
        }
    }
}

static void keys_agree_with_each_other(void **state) {
    (void)state;
    srandom(7);
    struct leat_schema s = {0};
    for (int kind = LEAT_BOOLEAN; kind < LEAT_NESTED; kind++)
        leat_schema_add(&s, "c", (struct leat_type){.kind = (uint8_t)kind, .width = 18, .scale = 2}, false);
    struct leat_changes c;
    leat_changes_init(&c, &s);
    enum { ROWS = 60 };
    fill_random(&c, ROWS);
    struct leat_hash128 hashes[ROWS];
    struct leat_buffer x = {0}, y = {0};
    struct leat_error err;
    for (uint16_t column = 0; column < s.field_count; column++) {
        uint16_t pair[2] = {column, (uint16_t)((column + 1) % s.field_count)};
        for (size_t count = 1; count <= 2; count++) {
            leat_key_hash(&c, 0, ROWS, pair, count, hashes);
            for (size_t a = 0; a < ROWS; a++)
                for (size_t b = 0; b < ROWS; b++) {
                    bool equal = leat_key_equal(&c, a, pair, &c, b, pair, count);
                    int order = leat_key_compare(&c, a, pair, &c, b, pair, count);
                    leat_buffer_reset(&x);
                    leat_buffer_reset(&y);
                    assert_int_equal(leat_key_encode(&c, a, pair, count, &x, &err), LEAT_OK);
                    assert_int_equal(leat_key_encode(&c, b, pair, count, &y, &err), LEAT_OK);
                    bool same_bytes = x.length == y.length && !memcmp(x.data, y.data, x.length);
                    assert_int_equal(equal, same_bytes);
                    assert_int_equal(equal, order == 0);
                    int back = leat_key_compare(&c, b, pair, &c, a, pair, count);
                    assert_int_equal((order > 0) - (order < 0), (back < 0) - (back > 0));
                    assert_int_equal(equal, hashes[a].low == hashes[b].low && hashes[a].high == hashes[b].high);
                    if (leat_is_null(&c.columns[column], a) && !leat_is_null(&c.columns[column], b))
                        assert_true(order > 0);
                }
        }
    }
    leat_buffer_deinit(&x);
    leat_buffer_deinit(&y);
    leat_changes_deinit(&c);
    leat_schema_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_parse_and_print),          cmocka_unit_test(wrong_types_name_the_nearest),
        cmocka_unit_test(schema_is_found_without_case),   cmocka_unit_test(append_copies_rows_nulls_and_strings),
        cmocka_unit_test(consolidate_adds_up_equal_rows), cmocka_unit_test(intervals_compare_as_duckdb_does),
        cmocka_unit_test(keys_agree_with_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
