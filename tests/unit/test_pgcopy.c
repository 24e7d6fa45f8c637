/* Rows of PostgreSQL's COPY, in text and in binary; cut short anywhere they are refused. tests/peers/test_extraction.py has the real server. */
#include "scratch.h"

#include "base/limits.h"
#include "connect/postgres_copy.h"
#include "data/value_text.h"

static struct leat_schema schema;
static struct leat_changes rows;
static struct leat_buffer text;
static struct leat_error err;

static void declare(const char *type) {
    struct leat_type parsed;
    OK(leat_type_parse(type, strlen(type), &parsed, oops));
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_schema_add(&schema, "c", parsed, false);
    leat_changes_init(&rows, &schema);
}

/* The value of a row of one column, as text. */
#define VALUE(type, oid, bytes) value(type, oid, bytes, sizeof(bytes) - 1)
static const char *value(const char *type, uint32_t oid, const char *bytes, size_t n) {
    struct leat_buffer piece = {0};
    char length[] = {0, 1, 0, 0, (char)(n >> 8), (char)n};
    declare(type);
    assert_true(leat_pgcopy_fits(&oid, &schema));
    leat_putn(&piece, length, sizeof length);
    leat_putn(&piece, bytes, n);
    for (size_t k = 2; k < piece.length; k++) {
        char *cut = malloc(k);
        memcpy(cut, piece.data, k);
        if (leat_pgcopy_binary(&oid, cut, k, &rows, &err) != LEAT_CORRUPT) fail_msg("%s: %zu bytes are taken", type, k);
        free(cut);
    }
    declare(type);
    leat_buffer_reset(&text);
    enum leat_status st = leat_pgcopy_binary(&oid, piece.data, piece.length, &rows, &err);
    if (st == LEAT_OK) leat_put_value(&text, &rows.columns[0], 0);
    else leat_put(&text, st == LEAT_CORRUPT ? "corrupt" : "invalid");
    leat_buffer_deinit(&piece);
    return text.data;
}

static void test_values(void **state) {
    (void)state;
    assert_string_equal(VALUE("BOOLEAN", 16, "\1"), "true");
    assert_string_equal(VALUE("SMALLINT", 21, "\x80\0"), "-32768");
    assert_string_equal(VALUE("TINYINT", 21, "\0\x80"), "invalid");
    assert_string_equal(VALUE("UINTEGER", 20, "\0\0\0\0\xff\xff\xff\xff"), "4294967295");
    assert_string_equal(VALUE("UTINYINT", 23, "\xff\xff\xff\xff"), "invalid");
    assert_string_equal(VALUE("HUGEINT", 20, "\xff\xff\xff\xff\xff\xff\xff\xff"), "-1");
    assert_string_equal(VALUE("DOUBLE", 701, "\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1");
    assert_string_equal(VALUE("FLOAT", 700, "\x3d\xcc\xcc\xcd"), "0.1");
    assert_string_equal(VALUE("DATE", 1082, "\0\0\0\0"), "2000-01-01");
    assert_string_equal(VALUE("DATE", 1082, "\x7f\xff\xff\xff"), "invalid"); /* infinity */
    assert_string_equal(VALUE("TIMESTAMP", 1114, "\xff\xff\xff\xff\xff\xff\xff\xff"), "1999-12-31 23:59:59.999999");
    assert_string_equal(VALUE("TIMESTAMPTZ", 1184, "\0\0\0\0\0\0\0\0"), "2000-01-01 00:00:00+00");
    assert_string_equal(VALUE("TIMESTAMP", 1114, "\x80\0\0\0\0\0\0\0"), "invalid"); /* -infinity */
    assert_string_equal(VALUE("TIME", 1083, "\0\0\0\0\0\0\0\1"), "00:00:00.000001");
    assert_string_equal(VALUE("UUID", 2950, "\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00"), "123e4567-e89b-12d3-a456-426614174000");
    assert_string_equal(VALUE("VARCHAR", 25, "a text that is longer"), "a text that is longer");
    assert_string_equal(VALUE("VARCHAR", 1043, ""), "");
    assert_string_equal(VALUE("VARCHAR", 25, "K\xf6ln"), "invalid"); /* of a database without an encoding (SQL_ASCII) */
    assert_string_equal(VALUE("TIME", 1083, "\0\0\0\x14\x1d\xd7\x60\0"), "24:00:00");
    assert_string_equal(VALUE("TIME", 1083, "\0\0\0\x14\x1d\xd7\x60\1"), "corrupt");
    assert_string_equal(VALUE("TIME", 1083, "\xff\xff\xff\xff\xff\xff\xff\xff"), "corrupt");
    assert_string_equal(VALUE("BLOB", 17, "\xf6\2"), "\xf6\2");
}

static void test_numbers_with_a_point(void **state) {
    (void)state;
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\2\0\0\0\0\0\2\0\x0c\x13\x88"), "12.50");
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\1\xff\xff\x40\0\0\2\0\x64"), "-0.01");
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\0\0\0\0\0\0\0"), "0.00");
    assert_string_equal(VALUE("DECIMAL(18,0)", 1700, "\0\1\0\3\0\0\0\0\0\1"), "1000000000000");
    assert_string_equal(VALUE("DECIMAL(4,1)", 1700, "\0\1\xff\xff\0\0\0\4\0\1"), "0.0");
    assert_string_equal(VALUE("DECIMAL(4,3)", 1700, "\0\1\xff\xfe\0\0\0\x08\x27\x0f"), "0.000");
    assert_string_equal(VALUE("DECIMAL(4,1)", 1700, "\0\1\0\1\0\0\0\0\0\1"), "invalid"); /* 10000 */
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\0\0\0\xc0\0\0\0"), "invalid"); /* NaN */
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\1\0\0\0\0\0\0\x7f\xff"), "corrupt"); /* a digit above 9999 */
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\7\0\0\0\0\0\0\0\1"), "corrupt");
    assert_string_equal(VALUE("DECIMAL(18,2)", 1700, "\0\1\x7f\xff\0\0\x7f\xff\0\1"), "invalid");
}

#define PIECE(bytes) leat_pgcopy_binary(&oid, bytes, sizeof(bytes) - 1, &rows, &err)
static void test_pieces(void **state) {
    (void)state;
    uint32_t oid = 23;
    declare("INTEGER");
    assert_int_equal(PIECE("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"), LEAT_OK);
    assert_int_equal(PIECE("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\2xx\0\1\xff\xff\xff\xff"), LEAT_OK);
    assert_int_equal(PIECE("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\7xx"), LEAT_CORRUPT);
    assert_int_equal(PIECE("\0\1\0\0\0\4\0\0\0\7"), LEAT_OK);
    assert_int_equal(PIECE("\xff\xff"), LEAT_OK);
    assert_int_equal(PIECE("\xff\xff\0"), LEAT_CORRUPT);
    assert_int_equal(PIECE("\0\2\0\0\0\4\0\0\0\7\0\0\0\4\0\0\0\7"), LEAT_CORRUPT);
    assert_int_equal(PIECE("\0\1\0\0\0\5\0\0\0\7\0"), LEAT_CORRUPT);
    declare("INTEGER");
    assert_int_equal(PIECE("\0\1\xff\xff\xff\xff"), LEAT_OK);
    assert_int_equal(PIECE("\0\1\0\0\0\4\0\0\0\7"), LEAT_OK);
    assert_int_equal(rows.row_count, 2);
    assert_true(leat_is_null(&rows.columns[0], 0) && !leat_is_null(&rows.columns[0], 1));
    assert_int_equal(((int32_t *)rows.columns[0].data)[1], 7);
    oid = 1700;
    assert_false(leat_pgcopy_fits(&oid, &schema));
}

static void test_text(void **state) {
    struct leat_row_value v[3];
    char plain[64];
    static const char line[] = "a\\tb\t\\N\tc\\\\N\n";
    (void)state;
    assert_true(leat_pgcopy_text(line, sizeof line - 1, 3, plain, v));
    assert_memory_equal(v[0].data, "a\tb", 3);
    assert_null(v[1].data);
    assert_memory_equal(v[2].data, "c\\N", 3);
    assert_false(leat_pgcopy_text(line, sizeof line - 1, 2, plain, v));
    assert_false(leat_pgcopy_text("x\n", 2, 3, plain, v));
}

static void test_rows_without_end(void **state) {
    struct leat_row_value v[3] = {{"a", 1}, {"b", (size_t)1 << 30}, {"c", 5}};
    (void)state;
    leat_row_bound(v, 3);
    assert_int_equal(v[0].length + v[1].length + v[2].length, LEAT_RECORD_BYTES_MAX + 1);
    assert_int_equal(v[2].length, 0);
}

static int teardown(void **state) {
    (void)state;
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&text);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_numbers_with_a_point), cmocka_unit_test(test_pieces), cmocka_unit_test(test_text),
                                       cmocka_unit_test(test_rows_without_end)};
    return cmocka_run_group_tests(tests, NULL, teardown);
}
