/* Statistics: DuckDB's text to Delta's JSON, and bounds for skipping files. */
#include "delta_support.h"

static char *stats_of(struct leat_type type, const char *low, const char *high, int has_nan, int64_t null_count) {
    struct leat_schema schema = {0};
    struct leat_buffer out = {0};
    char name[] = "c", low_copy[512], high_copy[512];
    snprintf(low_copy, sizeof low_copy, "%s", low ? low : "");
    snprintf(high_copy, sizeof high_copy, "%s", high ? high : "");
    struct leat_copied_column column = {
        name, low ? low_copy : NULL, high ? high_copy : NULL, strlen(low_copy), strlen(high_copy), null_count, has_nan};
    struct leat_copied_file file = {.row_count = 5, .columns = &column, .column_count = 1};
    leat_schema_add(&schema, "c", type, false);
    assert_int_equal(leat_delta_stats_json(&schema, &file, &out, NULL), LEAT_OK);
    leat_schema_deinit(&schema);
    return out.data;
}

static void check(struct leat_type type, const char *low, const char *high, int has_nan, const char *want_low,
                  const char *want_high) {
    char *have = stats_of(type, low, high, has_nan, 0);
    char *want =
        want_low ? leat_asprintf(
                       "{\"numRecords\":5,\"minValues\":{\"c\":%s},\"maxValues\":{\"c\":%s},\"nullCount\":{\"c\":0}}",
                       want_low, want_high)
                 : leat_strdup("{\"numRecords\":5,\"minValues\":{},\"maxValues\":{},\"nullCount\":{\"c\":0}}");
    assert_string_equal(have, want);
    free(have);
    free(want);
}

#define TYPE(k) ((struct leat_type){.kind = (k)})
#define S8 "abcdefgh"
#define S32 S8 S8 S8 S8

static void test_values(void **state) {
    (void)state;
    check(TYPE(LEAT_BIGINT), "-5", "9223372036854775807", -1, "-5", "9223372036854775807");
    check(TYPE(LEAT_HUGEINT), "1", "99999999999999999999999999", -1, "1", "99999999999999999999999999");
    check((struct leat_type){LEAT_DECIMAL, 10, 2}, "-0.50", "12.00", -1, "-0.50", "12.00");
    check(TYPE(LEAT_DATE), "2020-01-01", "2021-12-31", -1, "\"2020-01-01\"", "\"2021-12-31\"");
    check(TYPE(LEAT_DATE), "0044-03-15 (BC)", "2021-12-31", -1, NULL, NULL);
    check(TYPE(LEAT_DATE), "2020-01-01", "infinity", -1, NULL, NULL);
    check(TYPE(LEAT_DATE), "2020-01-01", "10000-01-01", -1, NULL, NULL);
    check(TYPE(LEAT_TIMESTAMP), "2020-01-01 00:00:00", "2020-01-01 00:00:00.5", -1, "\"2020-01-01T00:00:00.000000\"",
          "\"2020-01-01T00:00:00.500000\"");
    check(TYPE(LEAT_TIMESTAMPTZ), "2020-01-01 00:00:00+00", "2020-01-01 00:00:00.000001+00", -1,
          "\"2020-01-01T00:00:00.000000Z\"", "\"2020-01-01T00:00:00.000001Z\"");
    check(TYPE(LEAT_TIMESTAMPTZ), "2020-01-01 00:00:00+01", "2020-01-01 00:00:00+00", -1, NULL, NULL);
    check(TYPE(LEAT_TIMESTAMP), "-infinity", "2020-01-01 00:00:00", -1, NULL, NULL);
    check(TYPE(LEAT_BOOLEAN), "0", "1", -1, NULL, NULL);
    check(TYPE(LEAT_BLOB), "AB", "CD", -1, NULL, NULL);
    check(TYPE(LEAT_BIGINT), NULL, NULL, -1, NULL, NULL);
    check(TYPE(LEAT_BIGINT), "5", NULL, -1, NULL, NULL);
}

static void test_floats(void **state) {
    (void)state;
    check(TYPE(LEAT_DOUBLE), "1.5", "1e+20", 0, "1.5", "1e+20");
    check(TYPE(LEAT_DOUBLE), "1.5", "2.5", 1, NULL, NULL);
    check(TYPE(LEAT_DOUBLE), "1.5", "2.5", -1, NULL, NULL);
    check(TYPE(LEAT_FLOAT), "-inf", "2.5", 0, NULL, NULL);
    check(TYPE(LEAT_DOUBLE), "0.0", "-0.0", 0, "-0.0", "0.0");
    check(TYPE(LEAT_DOUBLE), "-1.0", "nan", 0, NULL, NULL);
}

static void test_strings(void **state) {
    (void)state;
    check(TYPE(LEAT_VARCHAR), "", "it's \"x\"\n", -1, "\"\"", "\"it's \\\"x\\\"\\n\"");
    check(TYPE(LEAT_VARCHAR), S32, S32, -1, "\"" S32 "\"", "\"" S32 "\"");
    check(TYPE(LEAT_VARCHAR), S32 "x", S32 "x", -1, "\"" S32 "\"", "\"" S8 S8 S8 "abcdefgi\"");
    /* 31 letters and the last code point: the letter before it grows */
    check(TYPE(LEAT_VARCHAR), "a", S8 S8 S8 "abcdefg\xF4\x8F\xBF\xBFx", -1, "\"a\"", "\"" S8 S8 S8 "abcdefh\"");
    /* past the surrogates */
    check(TYPE(LEAT_VARCHAR), "a", S8 S8 S8 "abcdefg\xED\x9F\xBFx", -1, "\"a\"", "\"" S8 S8 S8 "abcdefg\xEE\x80\x80\"");
    char top[32 * 4 + 2] = "";
    for (int i = 0; i < 32; i++)
        strcat(top, "\xF4\x8F\xBF\xBF");
    strcat(top, "x");
    check(TYPE(LEAT_VARCHAR), "a", top, -1, NULL, NULL);
    check(TYPE(LEAT_VARCHAR), "\xC3", "b", -1, NULL, NULL);
    check(TYPE(LEAT_UUID), "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000001", -1,
          "\"00000000-0000-4000-8000-00000000\"", "\"00000000-0000-4000-8000-00000001\"");
}

static void test_bounds(void **state) {
    (void)state;
    struct leat_schema s = {0};
    leat_schema_add(&s, "i", TYPE(LEAT_INTEGER), false);
    leat_schema_add(&s, "t", TYPE(LEAT_TIMESTAMPTZ), false);
    leat_schema_add(&s, "d", TYPE(LEAT_DATE), false);
    leat_schema_add(&s, "s", TYPE(LEAT_VARCHAR), false);
    leat_schema_add(&s, "h", TYPE(LEAT_HUGEINT), false);
    struct leat_delta_bounds *b =
        leat_delta_bounds_parse(&s, "{\"numRecords\":7,\"minValues\":{\"i\":-3,\"t\":\"1969-12-31T23:59:59.999Z\","
                                    "\"d\":\"1970-01-02\",\"s\":\"\",\"h\":99999999999999999999},"
                                    "\"maxValues\":{\"i\":8,\"t\":\"1970-01-01T00:00:00.001Z\",\"d\":\"2000-03-01\","
                                    "\"s\":\"z\",\"h\":99999999999999999999},\"nullCount\":{\"i\":2}}");
    assert_int_equal(b->row_count, 7);
    assert_true(b->columns[0].has_range && b->columns[0].low == -3 && b->columns[0].high == 8);
    assert_true(b->columns[0].has_null_count && b->columns[0].null_count == 2 && !b->columns[1].has_null_count);
    assert_int_equal(b->columns[1].low, -1000);
    assert_int_equal(b->columns[1].high, 1999); /* milliseconds were cut: up to the next */
    assert_int_equal(b->columns[2].low, 1);
    assert_int_equal(b->columns[2].high, 11017);
    assert_true(b->columns[3].is_text && strcmp(b->columns[3].high_text, "z") == 0);
    assert_false(b->columns[4].has_range);
    leat_delta_bounds_free(b);
    static const char *const bad[] = {"",
                                      "null",
                                      "[]",
                                      "{",
                                      "{\"minValues\":5}",
                                      "{\"minValues\":{\"i\":\"x\"},\"maxValues\":{\"i\":null}}",
                                      ("{\"minValues\":{\"i\":1.5,\"t\":\"2020\",\"d\":\"2020-1-1\"},\"maxValues\":{"
                                       "\"i\":1.5,\"t\":\"\",\"d\":\"\"}}")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        b = leat_delta_bounds_parse(&s, bad[i]);
        assert_int_equal(b->row_count, -1);
        for (size_t c = 0; c < 5; c++)
            assert_false(b->columns[c].has_range);
        leat_delta_bounds_free(b);
    }
    leat_schema_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_floats),
                                       cmocka_unit_test(test_strings), cmocka_unit_test(test_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
