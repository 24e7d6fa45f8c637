/* Messages of PostgreSQL's logical replication to change events, byte for byte; cut short anywhere they are refused. tests/peers/test_postgres_source.py
 * has the real server. */
#include "scratch.h"

#include "connect/postgres_pgoutput.h"

static struct leat_project *project;
static struct leat_pgoutput reader;
static struct leat_buffer out;
static struct leat_error err;

static int setup(void **state) {
    static const char text[] = "CREATE SOURCE o (id BIGINT, s VARCHAR FROM 'Status', b BLOB, f DOUBLE, t BOOLEAN, PRIMARY KEY (id)) WITH (connector = 'postgres', "
                               "dsn = 'host=x', 'table' = 'shop.orders', slot = 'x');";
    struct leat_diagnostics diags = {0};
    (void)state;
    project = leat_project_parse("p.sql", text, sizeof text - 1, &diags);
    struct leat_buffer said = {0};
    leat_diagnostics_print(&diags, &said);
    if (leat_diagnostics_errors(&diags)) fprintf(stderr, "%s\n", said.data);
    leat_buffer_deinit(&said);
    bool fine = leat_diagnostics_errors(&diags) == 0;
    leat_diagnostics_deinit(&diags);
    return fine ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    leat_project_free(project);
    leat_buffer_deinit(&out);
    return 0;
}

#define READ(bytes) read_message(bytes, sizeof(bytes) - 1, false)
#define READ_OTHER(bytes) read_message(bytes, sizeof(bytes) - 1, true) /* another table's: not read to its end */
/* The lines of a message; every beginning of it must be refused, or say nothing of a row. */
static const char *read_message(const char *bytes, size_t n, bool other) {
    for (size_t k = 0; k < n && !other; k++) {
        struct leat_pgoutput copy = reader;
        char *cut = malloc(k + !k);
        memcpy(cut, bytes, k);
        leat_buffer_reset(&out);
        if (leat_pgoutput_read(&copy, cut, k, &out, &err) == LEAT_OK) fail_msg("%zu of %zu bytes are taken", k, n);
        free(cut);
    }
    leat_buffer_reset(&out);
    OK(leat_pgoutput_read(&reader, bytes, n, &out, oops));
    return out.length ? out.data : "";
}

#define RELATION \
    "R\0\0\0\7shop\0orders\0f\0\6\1id\0\0\0\0\x14\xff\xff\xff\xff\0more\0\0\0\0\x19\xff\xff\xff\xff\0Status\0\0\0\0\x19\xff\xff\xff\xff\0b\0\0\0\0\x11" \
    "\xff\xff\xff\xff\0f\0\0\0\2\xbd\xff\xff\xff\xff\0t\0\0\0\0\x10\xff\xff\xff\xff"
#define ROW(id, status) "\0\6t\0\0\0\1" id "nt\0\0\0\3" status "t\0\0\0\6\\x00fft\0\0\0\3NaNt\0\0\0\1t"

static void test_messages(void **state) {
    (void)state;
    reader = (struct leat_pgoutput){.source = &project->sources[0], .schema = "shop", .table = "orders"};
    assert_string_equal(READ("B\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\2"), "");
    assert_true(reader.in_transaction);
    assert_string_equal(READ_OTHER("R\0\0\0\1shop\0other\0f\0\1\0id\0\0\0\0\x14\xff\xff\xff\xff"), "");
    assert_string_equal(READ_OTHER("I\0\0\0\1N\0\1t\0\0\0\0019"), ""); /* another table */
    assert_string_equal(READ(RELATION), "");
    assert_string_equal(READ("I\0\0\0\7N" ROW("1", "a\"b")),
                        "{\"op\":\"c\",\"after\":{\"id\":1,\"Status\":\"a\\\"b\",\"b\":\"\\\\x00\\\\xff\",\"f\":\"NaN\",\"t\":true}}\n");
    assert_string_equal(READ("U\0\0\0\7N\0\6t\0\0\0\0011nnnnn"),
                        "{\"op\":\"u\",\"after\":{\"id\":1,\"Status\":null,\"b\":null,\"f\":null,\"t\":null}}\n");
    /* Another key: the old one is gone. */
    assert_string_equal(READ("U\0\0\0\7K\0\6t\0\0\0\0011nnnnnN\0\6t\0\0\0\0012nnnnn"),
                        "{\"op\":\"d\",\"before\":{\"id\":1}}\n{\"op\":\"u\",\"after\":{\"id\":2,\"Status\":null,\"b\":null,\"f\":null,\"t\":null}}\n");
    /* What the change did not touch is in the old row, or not known. */
    assert_string_equal(READ("U\0\0\0\7O" ROW("1", "abc") "N\0\6t\0\0\0\0011uuunn"),
                        "{\"op\":\"u\",\"after\":{\"id\":1,\"Status\":\"abc\",\"b\":\"\\\\x00\\\\xff\",\"f\":null,\"t\":null}}\n");
    assert_non_null(strstr(READ("U\0\0\0\7N\0\6t\0\0\0\0011nunnn"), "\"op\":\"unknown column\",\"column\":\"Status\""));
    /* An old key has no other columns: that they are NULL in it says nothing. */
    const char *moved = READ("U\0\0\0\7K\0\6t\0\0\0\0011nnnnnN\0\6t\0\0\0\0012nunnn");
    assert_non_null(strstr(moved, "{\"op\":\"d\",\"before\":{\"id\":1}}\n"));
    assert_non_null(strstr(moved, "\"op\":\"unknown column\",\"column\":\"Status\""));
    /* A key that is so long that it is left out is in the old one; the row has not gone. */
    assert_string_equal(READ("U\0\0\0\7K\0\6t\0\0\0\0011nnnnnN\0\6unnnnn"),
                        "{\"op\":\"u\",\"after\":{\"id\":1,\"Status\":null,\"b\":null,\"f\":null,\"t\":null}}\n");
    const char *lost = READ("U\0\0\0\7K\0\6nnnnnnN\0\6unnnnn");
    assert_null(strstr(lost, "\"op\":\"d\""));
    assert_non_null(strstr(lost, "\"op\":\"unknown column\",\"column\":\"id\""));
    assert_string_equal(READ("D\0\0\0\7K\0\6t\0\0\0\0011nnnnn"), "{\"op\":\"d\",\"before\":{\"id\":1}}\n");
    leat_buffer_reset(&out); /* of which row? */
    assert_int_equal(leat_pgoutput_read(&reader, "D\0\0\0\7N\0\6t\0\0\0\0011nnnnn", 22, &out, &err), LEAT_CORRUPT);
    assert_string_equal(READ("T\0\0\0\1\0\0\0\0\7"), "{\"op\":\"t\"}\n");
    assert_string_equal(READ("T\0\0\0\3\0\0\0\0\7\0\0\0\7\0\0\0\7"), "{\"op\":\"t\"}\n"); /* however often it is named */
    assert_string_equal(READ("T\0\0\0\1\0\0\0\0\1"), "");
    assert_int_equal(reader.end_lsn, 0);
    assert_string_equal(READ("C\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1\1\0\0\0\0\0\0\0\0"), "");
    assert_true(!reader.in_transaction && reader.end_lsn == 0x101);
    /* The table has changed: a column of ours is not there. */
    assert_null(reader.absent);
    assert_string_equal(READ("R\0\0\0\7shop\0orders\0f\0\1\1id\0\0\0\0\x14\xff\xff\xff\xff"), "");
    assert_string_equal(reader.absent, "Status");
    assert_non_null(strstr(READ("I\0\0\0\7N\0\1t\0\0\0\0017"), "\"op\":\"c\"")); /* it was added later */
    reader.renamed = true;
    assert_string_equal(READ("I\0\0\0\7N\0\1t\0\0\0\0017"), "{\"op\":\"unknown column\",\"column\":\"Status\",\"reason\":\"it had another name then\"}\n");
    assert_string_equal(READ("D\0\0\0\7K\0\1t\0\0\0\0017"), "{\"op\":\"d\",\"before\":{\"id\":7}}\n");
    assert_string_equal(READ(RELATION), "");
    assert_null(reader.absent);
    /* Lengths that lie. */
    static const char lies[] = "I\0\0\0\7N\0\6t\x7f\xff\xff\xff" "1", more[] = "I\0\0\0\7N\xff\xff";
    assert_int_equal(leat_pgoutput_read(&reader, lies, sizeof lies - 1, &out, &err), LEAT_CORRUPT);
    assert_int_equal(leat_pgoutput_read(&reader, more, sizeof more - 1, &out, &err), LEAT_CORRUPT);
}

static void test_copied(void **state) {
    (void)state;
    static const char row[] = "7\ta\\tb\\\\c\\nd\t\\\\x6162\t-1.5e-300\tf\n", nulls[] = "8\t\\N\t\\N\t\\N\t\\N\n", empty[] = "9\t\t\\\\x\t0\tt\n";
    leat_buffer_reset(&out);
    OK(leat_pgoutput_copied(&project->sources[0], row, sizeof row - 1, &out, oops));
    assert_string_equal(out.data, "{\"op\":\"r\",\"after\":{\"id\":7,\"Status\":\"a\\tb\\\\c\\nd\",\"b\":\"\\\\x61\\\\x62\",\"f\":-1.5e-300,\"t\":false}}\n");
    leat_buffer_reset(&out);
    OK(leat_pgoutput_copied(&project->sources[0], nulls, sizeof nulls - 1, &out, oops));
    assert_string_equal(out.data, "{\"op\":\"r\",\"after\":{\"id\":8,\"Status\":null,\"b\":null,\"f\":null,\"t\":null}}\n");
    leat_buffer_reset(&out);
    OK(leat_pgoutput_copied(&project->sources[0], empty, sizeof empty - 1, &out, oops));
    assert_string_equal(out.data, "{\"op\":\"r\",\"after\":{\"id\":9,\"Status\":\"\",\"b\":\"\",\"f\":0,\"t\":true}}\n");
    leat_buffer_reset(&out);
    assert_int_equal(leat_pgoutput_copied(&project->sources[0], "1\t2\n", 4, &out, &err), LEAT_CORRUPT);
    assert_int_equal(leat_pgoutput_copied(&project->sources[0], "1\t2\t3\t4\t5\t6\n", 12, &out, &err), LEAT_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages), cmocka_unit_test(test_copied)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
