/* Values of CQL as text; of other lengths, and of types that are not known, they are refused. tests/peers/test_cassandra_reference.py has the real server. */
#include "scratch.h"

#include "connect/rows_cassandra.h"

static struct leat_buffer text;

#define TEXT(type, bytes) text_of(type, bytes, sizeof(bytes) - 1)
static const char *text_of(uint16_t type, const char *bytes, size_t n) {
    uint8_t *copy = malloc(n + !n); /* its end is where a sanitizer sees it */
    memcpy(copy, bytes, n);
    leat_buffer_reset(&text);
    leat_put(&text, "");
    bool fine = leat_cassandra_put_text(&text, type, (struct leat_cql_bytes){copy, (int32_t)n});
    free(copy);
    return fine ? text.length ? text.data : "" : "refused";
}

static void test_values(void **state) {
    (void)state;
    assert_string_equal(TEXT(LEAT_CQL_INT, "\xff\xff\xff\xfe"), "-2");
    assert_string_equal(TEXT(LEAT_CQL_TINYINT, "\x80"), "-128");
    assert_string_equal(TEXT(LEAT_CQL_BIGINT, "\x7f\xff\xff\xff\xff\xff\xff\xff"), "9223372036854775807");
    assert_string_equal(TEXT(LEAT_CQL_BOOLEAN, "\1"), "true");
    assert_string_equal(TEXT(LEAT_CQL_VARCHAR, "ä"), "ä");
    assert_string_equal(TEXT(LEAT_CQL_DOUBLE, "\x3f\xe0\0\0\0\0\0\0"), "0.5");
    assert_string_equal(TEXT(LEAT_CQL_FLOAT, "\x3f\0\0\0"), "0.5");
    assert_string_equal(TEXT(LEAT_CQL_DATE, "\x80\0\0\1"), "1970-01-02");
    assert_string_equal(TEXT(LEAT_CQL_TIME, "\0\0\x4e\x94\x91\x4e\xff\xff"), "23:59:59.999999999");
    assert_string_equal(TEXT(LEAT_CQL_TIME, "\0\0\x4e\x94\x91\x4f\0\0"), "refused");
    assert_string_equal(TEXT(LEAT_CQL_TIMESTAMP, "\xff\xff\xff\xff\xff\xff\xff\xff"), "1969-12-31 23:59:59.999");
    assert_string_equal(TEXT(LEAT_CQL_UUID, "\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00"), "123e4567-e89b-12d3-a456-426614174000");
    assert_string_equal(TEXT(LEAT_CQL_VARINT, "\x80"), "-128");
    assert_string_equal(TEXT(LEAT_CQL_VARINT, "\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "170141183460469231731687303715884105727");
    assert_string_equal(TEXT(LEAT_CQL_VARINT, "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "refused");
    assert_string_equal(TEXT(LEAT_CQL_DECIMAL, "\0\0\0\2\x04\xd2"), "12.34");
    assert_string_equal(TEXT(LEAT_CQL_DECIMAL, "\0\0\0\5\xff"), "-0.00001");
    assert_string_equal(TEXT(LEAT_CQL_DECIMAL, "\xff\xff\xff\xfe\3"), "300");
    assert_string_equal(TEXT(LEAT_CQL_DECIMAL, "\0\0\0\2"), "refused");
    assert_string_equal(TEXT(LEAT_CQL_DECIMAL, "\x80\0\0\0\1"), "refused");
    assert_string_equal(TEXT(LEAT_CQL_LIST, "\0\0\0\0"), "refused");
}

static void test_nulls(void **state) {
    const struct leat_cql_bytes null = {NULL, -1}, empty = {(const uint8_t *)"", 0}, four = {(const uint8_t *)"abcd", 4};
    (void)state;
    assert_true(leat_cassandra_is_null(LEAT_CQL_INT, null) && leat_cassandra_is_null(LEAT_CQL_VARCHAR, null));
    assert_true(leat_cassandra_is_null(LEAT_CQL_INT, empty) && leat_cassandra_is_null(LEAT_CQL_DECIMAL, empty) && leat_cassandra_is_null(LEAT_CQL_UUID, empty));
    assert_false(leat_cassandra_is_null(LEAT_CQL_VARCHAR, empty) || leat_cassandra_is_null(LEAT_CQL_BLOB, empty) || leat_cassandra_is_null(LEAT_CQL_INT, four));
}

static void test_any_length_of_any_type(void **state) {
    char bytes[20];
    (void)state;
    for (int fill = 0; fill < 256; fill += 51)
        for (unsigned type = 0; type < 0x40; type++)
            for (size_t n = 0; n <= sizeof bytes; n++) {
                memset(bytes, fill, sizeof bytes);
                assert_non_null(text_of((uint16_t)type, bytes, n));
            }
    leat_buffer_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_nulls), cmocka_unit_test(test_any_length_of_any_type)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
