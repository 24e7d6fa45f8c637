/* What extraction by a cursor remembers: a row once, equal rows as often as they are there, over crashes at every write and after forgetting. */
#include "scratch.h"

#include "connect/extract.h"

static struct leat_env env;
static char path[4096];

static bool add(struct leat_taken *t, const char *row, int64_t cursor, uint64_t offset) {
    uint64_t identity;
    const struct leat_bytes content = {row, strlen(row)};
    return leat_taken_add(t, &content, 1, cursor, offset, &identity);
}

static void test_equal_rows(void **state) {
    struct leat_taken t;
    (void)state;
    OK(leat_taken_open(&t, &env, path, 0, oops));
    for (int pass = 0; pass < 3; pass++) {
        leat_taken_begin_pass(&t);
        for (int i = 0; i < 5; i++) assert_int_equal(add(&t, "same", 1, (uint64_t)i), pass == 0);
        assert_int_equal(add(&t, "other", 2, 5), pass == 0);
    }
    leat_taken_begin_pass(&t);
    for (int i = 0; i < 6; i++) assert_int_equal(add(&t, "same", 1, 6), i == 5); /* one more than before */
    OK(leat_taken_sync(&t, oops));
    leat_taken_close(&t);
    OK(leat_taken_open(&t, &env, path, 7, oops));
    leat_taken_begin_pass(&t);
    for (int i = 0; i < 7; i++) assert_int_equal(add(&t, "same", 1, 7), i == 6);
    leat_taken_close(&t);
}

static bool add_known_as(struct leat_taken *t, const char *row, const char *former, int64_t cursor, uint64_t offset) {
    uint64_t identity;
    const struct leat_bytes contents[] = {{row, strlen(row)}, {former, strlen(former)}};
    return leat_taken_add(t, contents, 2, cursor, offset, &identity);
}

/* A column more: rows that were taken without it are known, each as often as it was taken; new and changed ones are taken once. */
static void test_rows_that_had_other_columns(void **state) {
    struct leat_taken t;
    (void)state;
    OK(leat_taken_open(&t, &env, path, 0, oops));
    leat_taken_begin_pass(&t);
    assert_true(add(&t, "a", 1, 0) && add(&t, "b", 1, 1) && add(&t, "b", 1, 2));
    for (int pass = 0; pass < 3; pass++) {
        leat_taken_begin_pass(&t);
        assert_int_equal(add_known_as(&t, "changed,x", "changed", 1, 3), pass == 0);
        assert_false(add_known_as(&t, "a,x", "a", 1, 4));
        assert_false(add_known_as(&t, "b,x", "b", 1, 4));
        assert_false(add_known_as(&t, "b,y", "b", 1, 4));
        assert_int_equal(add_known_as(&t, "b,z", "b", 1, 4), pass == 0); /* the third */
        assert_int_equal(add_known_as(&t, "b,z", "b", 1, 5), pass == 0); /* and a fourth, equal to it */
        assert_int_equal(add_known_as(&t, "c,x", "c", 1, 6), pass == 0);
    }
    OK(leat_taken_sync(&t, oops));
    leat_taken_close(&t);
}

static void test_columns_that_change(void **state) {
    static const char *const two[] = {"id", "at"}, *const three[] = {"note", "id", "at"}, *const other[] = {"id", "moment"};
    struct leat_shapes s;
    (void)state;
    OK(leat_shapes_open(&s, &env, path, two, 2, INT64_MIN, oops));
    assert_int_equal(s.count, 0);
    leat_shapes_close(&s);
    OK(leat_shapes_open(&s, &env, path, two, 2, 10, oops));
    assert_int_equal(s.count, 0);
    leat_shapes_close(&s);
    for (int again = 0; again < 2; again++) { /* it is said on disk before a row is taken */
        OK(leat_shapes_open(&s, &env, path, three, 3, 20 + again, oops));
        assert_int_equal(s.count, 1);
        assert_int_equal(s.former[0].count, 2);
        assert_int_equal(s.former[0].columns[0], 1);
        assert_int_equal(s.former[0].columns[1], 2);
        assert_int_equal(s.former[0].until, 20);
        leat_shapes_close(&s);
    }
    OK(leat_shapes_open(&s, &env, path, other, 2, 30, oops)); /* what was taken cannot be made of these */
    assert_int_equal(s.count, 0);
    leat_shapes_close(&s);
    OK(leat_shapes_open(&s, &env, path, three, 3, 40, oops));
    assert_int_equal(s.count, 2); /* as before, and the change that was taken back: its rows are known as they are */
    OK(leat_shapes_forget(&s, 21, oops));
    assert_int_equal(s.count, 1);
    OK(leat_shapes_forget(&s, 41, oops));
    assert_int_equal(s.count, 0);
    leat_shapes_close(&s);
    OK(leat_shapes_open(&s, &env, path, three, 3, 50, oops));
    assert_int_equal(s.count, 0);
    leat_shapes_close(&s);
    OK(leat_io_write_durable(env.io, path, "{}", 2, true, oops));
    struct leat_error err;
    assert_int_equal(leat_shapes_open(&s, &env, path, three, 3, 50, &err), LEAT_CORRUPT);
}

static void test_records_that_did_not_become_durable(void **state) {
    struct leat_taken t;
    (void)state;
    OK(leat_taken_open(&t, &env, path, 0, oops));
    leat_taken_begin_pass(&t);
    assert_true(add(&t, "a", 1, 0) && add(&t, "b", 2, 1) && add(&t, "c", 3, 2));
    OK(leat_taken_sync(&t, oops));
    leat_taken_close(&t);
    OK(leat_taken_open(&t, &env, path, 1, oops)); /* the log has "a" alone */
    leat_taken_begin_pass(&t);
    assert_false(add(&t, "a", 1, 1));
    assert_true(add(&t, "b", 2, 1));
    assert_true(add(&t, "c", 3, 2));
    leat_taken_close(&t);
}

static void test_a_torn_tail(void **state) {
    struct leat_taken t;
    struct leat_buffer bytes = {0};
    (void)state;
    OK(leat_taken_open(&t, &env, path, 0, oops));
    leat_taken_begin_pass(&t);
    assert_true(add(&t, "a", 1, 0) && add(&t, "b", 2, 1));
    OK(leat_taken_sync(&t, oops));
    leat_taken_close(&t);
    OK(leat_io_read_all(env.io, path, 1 << 20, &bytes, oops));
    for (size_t cut = 0; cut <= bytes.length; cut++) {
        OK(leat_io_write_durable(env.io, path, bytes.data, cut, true, oops));
        OK(leat_taken_open(&t, &env, path, 2, oops));
        leat_taken_begin_pass(&t);
        assert_int_equal(add(&t, "a", 1, 2), cut < 64); /* entries of 32 bytes; the first says what is forgotten */
        assert_int_equal(add(&t, "b", 2, 3), cut < 96);
        OK(leat_taken_sync(&t, oops));
        leat_taken_close(&t);
    }
    leat_buffer_deinit(&bytes);
}

static void test_what_cannot_come_again_is_forgotten(void **state) {
    enum { ROWS = 400000 };
    struct leat_taken t;
    struct leat_stat st;
    char row[32];
    (void)state;
    OK(leat_taken_open(&t, &env, path, 0, oops));
    leat_taken_begin_pass(&t);
    for (int i = 0; i < ROWS; i++) {
        snprintf(row, sizeof row, "row %d", i);
        assert_true(add(&t, row, i, (uint64_t)i));
        if (i % 1000) continue;
        OK(leat_taken_sync(&t, oops));
        OK(leat_taken_forget(&t, i - 10, oops));
    }
    assert_true(t.rows.count < 250000);
    OK(leat_taken_sync(&t, oops));
    OK(env.io->ops->stat(env.io, path, &st, oops));
    assert_true(st.size_bytes < 32 * 350000);
    int64_t floor = t.floor;
    leat_taken_close(&t);
    OK(leat_taken_open(&t, &env, path, ROWS, oops));
    assert_true(t.floor == floor && floor > 0); /* a clock that goes back does not go below it */
    leat_taken_begin_pass(&t);
    snprintf(row, sizeof row, "row %d", ROWS - 1);
    assert_false(add(&t, row, ROWS - 1, ROWS));
    leat_taken_close(&t);
}

static void test_cursors(void **state) {
    static const struct { enum leat_kind kind; const char *text; int64_t value; const char *bound; } cases[] = {
        {LEAT_TIMESTAMP, "1970-01-01 00:00:01.123456", 1123456, "'1970-01-01T00:00:01.123'"},
        {LEAT_TIMESTAMPTZ, "1970-01-01 01:00:00+01", 0, "'1970-01-01T00:00:00.000'"},
        {LEAT_TIMESTAMP, "1969-12-31 23:59:59.9999", -100, "'1969-12-31T23:59:59.999'"},
        {LEAT_DATE, "1970-01-02", INT64_C(86400000000), "'1970-01-02'"},
        {LEAT_DATE, "1969-12-31", INT64_C(-86400000000), "'1969-12-31'"},
        {LEAT_BIGINT, "-12", -12, "-12"},
    };
    struct leat_buffer out = {0};
    int64_t value;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_type type = {.kind = (uint8_t)cases[i].kind};
        assert_true(leat_cursor_parse(type, cases[i].text, strlen(cases[i].text), &value));
        assert_int_equal(value, cases[i].value);
        leat_buffer_reset(&out);
        leat_cursor_put(&out, type, value);
        assert_string_equal(out.data, cases[i].bound);
        /* What is asked for and what is forgotten meet: the floor is what the text says. */
        const char *bound = out.data + (*out.data == '\'');
        int64_t asked;
        assert_true(leat_cursor_parse(type, bound, strcspn(bound, "'"), &asked));
        assert_int_equal(leat_cursor_floor(type, value), asked);
        assert_true(asked <= value);
    }
    const struct leat_type date = {.kind = LEAT_DATE};
    assert_int_equal(leat_cursor_floor(date, INT64_C(86400000000) - 1), 0); /* an hour before midnight is asked for as the day */
    assert_int_equal(leat_cursor_floor(date, -1), INT64_C(-86400000000));
    assert_false(leat_cursor_parse((struct leat_type){.kind = LEAT_BIGINT}, "1.5", 3, &value));
    leat_buffer_deinit(&out);
}

static int setup(void **state) {
    *state = leat_strdup(scratch_make());
    leat_env_real(&env);
    snprintf(path, sizeof path, "%s/taken", (char *)*state);
    return 0;
}

static int teardown(void **state) {
    scratch_remove(*state);
    free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_equal_rows, setup, teardown), cmocka_unit_test_setup_teardown(test_records_that_did_not_become_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_that_had_other_columns, setup, teardown), cmocka_unit_test_setup_teardown(test_columns_that_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_torn_tail, setup, teardown), cmocka_unit_test_setup_teardown(test_what_cannot_come_again_is_forgotten, setup, teardown),
        cmocka_unit_test(test_cursors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
