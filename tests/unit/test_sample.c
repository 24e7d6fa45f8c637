/* What `leat new` finds out about a sample. That the project runs is tests/integration/orders.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "audit/sample.h"
#include "scratch.h"

static struct leat_sample look(const char *name, const char *text, enum leat_status expected) {
    struct leat_duck_options use = {.use = LEAT_DUCK_STEP, .threads = 1};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_sample sample;
    struct leat_error err = {0};
    char *dir = scratch_make(), *path = leat_asprintf("%s/%s", dir, name);
    OK(leat_io_write_durable(leat_io_real(), path, text, strlen(text), false, oops));
    OK(leat_duck_open(&use, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    enum leat_status st = leat_sample_look(conn, path, "Some Thing", &sample, &err);
    if (st != expected) fail_msg("%d: %s", st, err.text);
    leat_conn_close(conn);
    leat_duck_close(duck);
    scratch_remove(dir);
    free(path);
    return sample;
}

static void expect_column(const struct leat_sample *s, int at, const char *name, enum leat_sample_type type) {
    assert_true((size_t)at < s->column_count);
    assert_string_equal(s->columns[at].name, name);
    if (s->columns[at].type != type) fail_msg("%s: type %d instead of %d", name, s->columns[at].type, type);
}

static void types_are_those_the_decoder_takes(void **state) {
    (void)state;
    struct leat_sample s = look("a.ndjson",
                                "{\"orderId\":1,\"zip\":\"01234\",\"n\":7,\"price\":1.5,\"big\":5000000000,\"x\":1e300,"
                                "\"ok\":true,\"day\":\"2026-01-01\","
                                "\"group\":\"a\",\"tags\":[1],\"When\":\"2026-01-01T00:00:01Z\",\"ms\":1767225600000,"
                                "\"european\":\"01.02.2026 10:00:00\"}\n"
                                "{\"orderId\":2,\"zip\":\"99999\",\"n\":null,\"price\":2.25,\"big\":1,\"x\":2.5,\"ok\":"
                                "false,\"day\":\"2026-01-02\","
                                "\"group\":\"b\",\"tags\":{},\"When\":\"2026-01-01T00:00:02.5Z\",\"ms\":1767225600001,"
                                "\"european\":\"02.02.2026 10:00:00\"}\n",
                                LEAT_OK);
    assert_int_equal(s.rows, 2);
    assert_string_equal(s.source, "some_thing");
    expect_column(&s, 0, "order_id", LEAT_SAMPLE_BIGINT);
    assert_string_equal(s.columns[0].field, "orderId");
    expect_column(&s, 1, "zip", LEAT_SAMPLE_TEXT); /* not the number 1234 */
    expect_column(&s, 2, "n", LEAT_SAMPLE_INTEGER);
    expect_column(&s, 3, "price", LEAT_SAMPLE_DECIMAL);
    assert_int_equal(s.columns[3].scale, 2);
    expect_column(&s, 4, "big", LEAT_SAMPLE_BIGINT);
    expect_column(&s, 5, "x", LEAT_SAMPLE_DOUBLE);
    expect_column(&s, 6, "ok", LEAT_SAMPLE_BOOLEAN);
    expect_column(&s, 7, "day", LEAT_SAMPLE_DATE);
    expect_column(&s, 8, "group_", LEAT_SAMPLE_TEXT); /* a word of the language */
    expect_column(&s, 9, "tags", LEAT_SAMPLE_NESTED);
    expect_column(&s, 10, "when_", LEAT_SAMPLE_TIMESTAMP);
    expect_column(&s, 11, "ms", LEAT_SAMPLE_BIGINT);
    expect_column(&s, 12, "european", LEAT_SAMPLE_TEXT);
    assert_int_equal(s.key, 0);
    assert_int_equal(s.time, 10);
    leat_sample_deinit(&s);
}

/* 1000 events a second apart, each second one five seconds early; one comes an hour late, and ten come twice. */
static void key_and_watermark_survive_dirt(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    for (int i = 0; i < 1000; i++) {
        int t = 3600 + i + (i % 2 ? 5 : 0);
        leat_putf(&text, "{\"event_id\":\"e%d\",\"n\":%s,\"t\":\"2026-01-01 %02d:%02d:%02d\"}\n",
                  i % 100 == 99 ? i - 1 : i, i == 500 ? "\"many\"" : "3", i == 700 ? 0 : t / 3600, t / 60 % 60, t % 60);
    }
    leat_put(&text, "not JSON at all\n");
    struct leat_sample s = look("b.jsonl", text.data, LEAT_OK);
    assert_int_equal(s.key, 0);
    assert_int_equal(s.columns[0].distinct, 990);
    expect_column(&s, 1, "n", LEAT_SAMPLE_INTEGER);
    assert_int_equal(s.columns[1].unfit, 1);
    assert_int_equal(s.time, 2);
    assert_int_equal(s.disorder_us, 5000000); /* four seconds, rounded up; the straggler does not count */
    assert_int_equal(s.disorder_max_us, 3604000000);
    assert_int_equal(s.beyond, 1);
    leat_sample_deinit(&s);
    leat_buffer_deinit(&text);
}

static void csv_with_its_own_delimiter(void **state) {
    (void)state;
    struct leat_sample s =
        look("c.csv", "Invoice No;Amount in €;Amount in €\n007;1.50;x\n008;2.50;y\n009;3.50;\"a;b\"\n", LEAT_OK);
    assert_true(s.csv);
    assert_string_equal(s.delimiter, ";");
    expect_column(&s, 0, "invoice_no", LEAT_SAMPLE_TEXT);
    expect_column(&s, 1, "amount_in", LEAT_SAMPLE_DECIMAL);
    assert_string_not_equal(s.columns[2].name, "amount_in");
    assert_int_equal(s.time, -1);
    leat_sample_deinit(&s);
}

static void line_ends_in_quotes(void **state) {
    (void)state;
    struct leat_sample s = look("quoted.csv", "id,t,v\r\n1,2026-01-01 00:00:00,\"a\r\nb\"\r\n2,2026-01-01 00:00:05,c\r\n", LEAT_OK);
    assert_int_equal(s.rows, 2);
    expect_column(&s, 1, "t", LEAT_SAMPLE_TIMESTAMP);
    expect_column(&s, 2, "v", LEAT_SAMPLE_TEXT);
    leat_sample_deinit(&s);
}

/* Invoices of a real shop: one in fifty is a cancellation, "C1007". As a BIGINT it would be a dead letter, and revenue too high. */
static void a_second_kind_of_value_is_no_dirt(void **state) {
    (void)state;
    struct leat_buffer text = {0}, project = {0};
    leat_put(&text, "invoice_no,amount\n");
    for (int i = 0; i < 1000; i++) leat_putf(&text, "%s%d,%d.50\n", i % 50 == 7 ? "C" : "", 1000 + i / 3, i % 50 == 7 ? -i : i);
    struct leat_sample s = look("invoices.csv", text.data, LEAT_OK);
    expect_column(&s, 0, "invoice_no", LEAT_SAMPLE_TEXT);
    expect_column(&s, 1, "amount", LEAT_SAMPLE_DECIMAL);
    leat_sample_project(&s, "in/invoices.csv", "invoices.csv", &project);
    assert_non_null(strstr(project.data, "20 of 1000 values are no INTEGER"));
    assert_null(strstr(project.data, "dead letter"));
    leat_sample_deinit(&s);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&project);
}

static void what_is_no_sample(void **state) {
    (void)state;
    look("d.ndjson", "", LEAT_INVALID);
    look("e.ndjson", "this is no JSON\nnor this\n", LEAT_INVALID);
    look("f.csv", "a,b\n", LEAT_INVALID);
    look("g.json", "[{\"id\":1},{\"id\":2}]\n", LEAT_INVALID); /* reads nothing, line by line */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_are_those_the_decoder_takes),
        cmocka_unit_test(key_and_watermark_survive_dirt),
        cmocka_unit_test(csv_with_its_own_delimiter),
        cmocka_unit_test(line_ends_in_quotes),
        cmocka_unit_test(a_second_kind_of_value_is_no_dirt),
        cmocka_unit_test(what_is_no_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
