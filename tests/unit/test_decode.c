/* JSON and CSV records into columns, record splitting, and values against DuckDB's CAST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "data/decode.h"
#include "data/value.h"
#include "sql/duck.h"

/* A source, a decoder and one decoded text. */
struct fixture {
    struct leat_source source;
    struct leat_option options[4];
    struct leat_decoder *decoder;
    struct leat_changes out;
    char *payload;
    uint32_t starts[64], ends[64], records[64], count;
    uint8_t lossy[64];
    const struct leat_reject *rejects;
    size_t reject_count;
};

/* columns: "name TYPE [!]" separated by ';', ! for NOT NULL. options: "name=value" pairs, NULL-terminated list. */
static void open_source(struct fixture *f, enum leat_format format, const char *columns, const char *const *options) {
    memset(f, 0, sizeof *f);
    f->source.name = "s";
    f->source.format = format;
    char *copy = leat_strdup(columns), *save = NULL;
    for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        while (*part == ' ')
            part++;
        char *type = strchr(part, ' '), *mark = strchr(part, '!');
        *type++ = 0;
        if (mark) *mark = 0;
        struct leat_type t;
        struct leat_error err;
        assert_int_equal(leat_type_parse(type, strlen(type), &t, &err), LEAT_OK);
        leat_schema_add(&f->source.schema, part, t, mark != NULL);
    }
    free(copy);
    for (; options && *options; options += 2)
        f->options[f->source.option_count++] =
            (struct leat_option){.name = (char *)options[0], .value = (char *)options[1]};
    f->source.options = f->options;
    struct leat_error err = {0};
    enum leat_status status = leat_decoder_open(&f->source, &f->decoder, &err);
    if (status) fail_msg("%s", err.text);
    leat_changes_init(&f->out, &f->source.schema);
}

static void close_source(struct fixture *f) {
    leat_decoder_close(f->decoder);
    leat_changes_deinit(&f->out);
    leat_schema_deinit(&f->source.schema);
    free(f->payload);
}

/* Decodes all records of text; header NULL: none. */
static void decode_bytes(struct fixture *f, const char *text, size_t n, const char *header) {
    free(f->payload);
    f->payload = leat_realloc(NULL, n + 64);
    memcpy(f->payload, text, n);
    memset(f->payload + n, 'x', 64);
    size_t used = leat_split_records(f->source.format, f->payload, n, true, f->starts, f->ends, 64, &f->count);
    assert_int_equal(used, n);
    struct leat_block block = {
        .record_count = f->count, .payload = f->payload, .payload_bytes = n, .starts = f->starts, .ends = f->ends};
    block.header = header ? header : "";
    block.header_length = header ? strlen(header) : 0;
    leat_changes_reset(&f->out);
    struct leat_error err;
    assert_int_equal(leat_decode(f->decoder, &block, 0, f->count, &f->out, f->records, f->lossy, &f->rejects,
                                 &f->reject_count, &err),
                     LEAT_OK);
    assert_int_equal(f->out.row_count + f->reject_count, f->count);
}
static void decode(struct fixture *f, const char *text) {
    decode_bytes(f, text, strlen(text), NULL);
}

static void check_reject(struct fixture *f, const char *text, const char *reason) {
    decode(f, text);
    if (f->reject_count != 1) fail_msg("accepted: %s", text);
    if (!strstr(f->rejects[0].reason, reason)) fail_msg("%s: reason is: %s", text, f->rejects[0].reason);
}

static const char *string_at(struct fixture *f, size_t column, size_t row) {
    static char text[256];
    const struct leat_string *s = (struct leat_string *)f->out.columns[column].data + row;
    if (leat_is_null(&f->out.columns[column], row)) return "NULL";
    snprintf(text, sizeof text, "%.*s", (int)s->length, leat_string_data(s));
    return text;
}
static int64_t int_at(struct fixture *f, size_t column, size_t row) {
    int64_t v = 0;
    size_t size = leat_type_size(f->out.columns[column].type);
    assert_false(leat_is_null(&f->out.columns[column], row));
    memcpy(&v, (char *)f->out.columns[column].data + row * size, size < 8 ? size : 8);
    return size == 4 ? (int32_t)v : size == 2 ? (int16_t)v : v;
}
static void check_string(struct fixture *f, const char *text, const char *want) {
    decode(f, text);
    if (f->reject_count) fail_msg("%s rejected: %s", text, f->rejects[0].reason);
    assert_string_equal(string_at(f, 0, 0), want);
}
static void check_int(struct fixture *f, const char *text, int64_t want, bool lossy) {
    decode(f, text);
    if (f->reject_count) fail_msg("%s rejected: %s", text, f->rejects[0].reason);
    if (int_at(f, 0, 0) != want) fail_msg("%s gives %lld", text, (long long)int_at(f, 0, 0));
    assert_int_equal(f->lossy[0], lossy);
}

#define ORDER_COLUMNS                                                                                                  \
    "event_id VARCHAR!; order_id BIGINT!; customer_id BIGINT; quantity INTEGER; amount DECIMAL(18,2); status "         \
    "VARCHAR; "                                                                                                        \
    "event_time TIMESTAMP!"

static void json_orders(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, ORDER_COLUMNS, NULL);
    /* Key order, spacing and missing keys change from record to record; each is decoded with what the others taught. */
    static const char text[] = "{\"event_id\":\"aaaaaaaa-bbbb\",\"order_id\":1,\"customer_id\":7,\"quantity\":2,"
                               "\"amount\":12.50,\"status\":\"paid\",\"event_time\":\"2026-11-22T10:00:00.5Z\"}\n"
                               "{\"event_id\":\"aaaaaaaa-bbbc\",\"order_id\":2,\"customer_id\":null,\"quantity\":3,"
                               "\"amount\":-1,\"status\":\"placed\",\"event_time\":\"2026-11-22 10:00:01\"}\n"
                               "\n"
                               "{ \"order_id\" : 3 , \"event_id\" : \"x\" , \"event_time\" : \"2026-11-23\" }\r\n"
                               "{\"event_id\":\"aaaaaaaa-bbbd\",\"order_id\":4,\"extra\":{\"a\":[1,2,{}]},\"ORDER_ID\":"
                               "5,\"event_time\":\"2026-11-22T12:00:00+02:00\"}\n"
                               "{\"event_id\":\"no order\",\"event_time\":\"2026-11-22\"}\n"
                               "{\"event_id\":\"y\",\"order_id\":\"6\",\"quantity\":1e2,\"amount\":\"3.125\","
                               "\"status\":{\"a\": \"b\"},\"event_time\":\"2026-11-22T23:59:59.1234567\"}";
    decode(&f, text);
    assert_int_equal(f.out.row_count, 5);
    assert_int_equal(f.reject_count, 1);
    assert_int_equal(f.rejects[0].record, 4);
    assert_non_null(strstr(f.rejects[0].reason, "order_id"));
    assert_string_equal(string_at(&f, 0, 0), "aaaaaaaa-bbbb");
    assert_int_equal(int_at(&f, 4, 0), 1250);
    assert_int_equal(int_at(&f, 6, 0), 1795341600500000);
    assert_string_equal(string_at(&f, 5, 1), "placed");
    assert_true(leat_is_null(&f.out.columns[2], 1));
    assert_int_equal(int_at(&f, 4, 1), -100);
    assert_int_equal(int_at(&f, 1, 2), 3);
    assert_true(leat_is_null(&f.out.columns[3], 2));
    assert_int_equal(int_at(&f, 1, 3), 5);
    assert_int_equal(int_at(&f, 6, 3), 1795341600000000);
    assert_int_equal(int_at(&f, 1, 4), 6);
    assert_int_equal(int_at(&f, 3, 4), 100);
    assert_int_equal(int_at(&f, 4, 4), 313);
    assert_string_equal(string_at(&f, 5, 4), "{\"a\": \"b\"}");
    assert_int_equal(int_at(&f, 6, 4), 1795391999123456);
    static const uint8_t lossy[] = {0, 0, 0, 1, 1};
    assert_memory_equal(f.lossy, lossy, sizeof lossy);
    static const uint32_t records[] = {0, 1, 2, 3, 5};
    assert_memory_equal(f.records, records, sizeof records);
    for (size_t row = 0; row < 5; row++) /* the rejected row left no NULL behind */
        assert_false(leat_is_null(&f.out.columns[1], row));
    close_source(&f);
}

/* Keys that are no columns: more of them than are remembered, values of every spelling, in changing order and behind
 * one another. What the records before taught must not change what a record means. */
static void json_unknown_keys(void **state) {
    (void)state;
    static const char *const values[] = {"1",        "-0.5",       "12345678901234567890123", "1.5e-3",
                                         "\"text\"", "\"a\\\"b\"", "{\"id\":[1,{}]}",         "[]",
                                         "true",     "null"};
    static const char *const bad[] = {"01", "1.", "-", ".5", "1e", "\"open", "\"\\x\"", "tru", "{", ""};
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, "id BIGINT!; name VARCHAR", NULL);
    enum { VALUES = sizeof values / sizeof *values, ROUNDS = 400 };
    for (int64_t i = 0; i < ROUNDS; i++) {
        char text[512];
        const char *a = values[i % VALUES], *b = values[i / VALUES % VALUES];
        snprintf(text, sizeof text, "{\"u%lld\":%s, \"u%lld\":%s,\"id\":%lld,\"ud\":%s,\"name\":\"n%lld\",\"u1\":%s}",
                 (long long)(i % 3), a, (long long)(i % 50), b, (long long)i, a, (long long)i, b);
        decode(&f, text);
        if (f.reject_count) fail_msg("%s rejected: %s", text, f.rejects[0].reason);
        assert_int_equal(int_at(&f, 0, 0), i);
        assert_int_equal(atoi(string_at(&f, 1, 0) + 1), i);
        assert_int_equal(f.lossy[0], 1);
        snprintf(text, sizeof text, "{\"id\":1,\"u1\":%s,\"name\":\"x\"}", bad[i % (int)(sizeof bad / sizeof *bad)]);
        check_reject(&f, text, "not valid JSON");
    }
    close_source(&f);
}

/* Fields without a column go into the one that unknown_fields names, as they stand. */
static void json_unknown_fields(void **state) {
    (void)state;
    struct fixture f;
    static const char *const options[] = {"unknown_fields", "rest", NULL};
    open_source(&f, LEAT_FORMAT_JSON, "rest VARCHAR; v BIGINT", options);
    check_string(&f, "{\"v\":1}", "NULL");
    assert_int_equal(f.lossy[0], 0);
    check_string(&f, "{\"v\":1,\"coupon\":\"X1\"}", "{\"coupon\":\"X1\"}");
    assert_int_equal(f.lossy[0], 0); /* nothing is lost: bronze needs no payload */
    assert_int_equal(int_at(&f, 1, 0), 1);
    check_string(&f, "\xEF\xBB\xBF{ \"a\" : [1, {\"v\":2}] , \"v\" : 3 , \"b\\u00e9\": null } ", "{\"a\" : [1, {\"v\":2}],\"b\\u00e9\": null}");
    assert_int_equal(int_at(&f, 1, 0), 3);
    check_string(&f, "{\"rest\":{\"x\":1},\"\":\"}\"}", "{\"rest\":{\"x\":1},\"\":\"}\"}"); /* its own name is no column's */
    check_string(&f, "{\"a\":1,\"a\":2,\"V\":4}", "{\"a\":1,\"a\":2}");
    assert_int_equal(int_at(&f, 1, 0), 4);
    for (int i = 0; i < 40; i++) { /* more keys than the decoder remembers, and again on its fast path */
        char text[64], want[64];
        snprintf(text, sizeof text, "{\"key%d\":%d,\"v\":5}", i % 25, i);
        snprintf(want, sizeof want, "{\"key%d\":%d}", i % 25, i);
        check_string(&f, text, want);
    }
    decode(&f, "{\"v\":1,\"n\":1}\n{\"v\":\"no number\",\"n\":2}\n{\"v\":3}\n{\"v\":4,\"n\":4}");
    assert_int_equal(f.reject_count, 1);
    assert_string_equal(string_at(&f, 0, 0), "{\"n\":1}");
    assert_string_equal(string_at(&f, 0, 1), "NULL");
    assert_string_equal(string_at(&f, 0, 2), "{\"n\":4}");
    check_reject(&f, "{\"v\":1,\"t\":\"\xff\"}", "UTF-8");
    check_reject(&f, "{\"v\":1,\"t\":}", "not valid JSON");
    close_source(&f);
}

static void json_strings(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, "v VARCHAR", NULL);
    check_string(&f, "{\"v\":\"\"}", "");
    check_string(&f, "{\"v\":\"exactly12byt\"}", "exactly12byt");
    check_string(&f, "{\"v\":\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\"}", "a\"b\\c/d\b\f\n\r\t");
    check_string(&f, "{\"v\":\"caf\\u00e9 \\u20ac \\ud83d\\ude00\"}", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    check_string(&f, "{\"v\":\"\xc3\xa9uro raw\"}", "\xc3\xa9uro raw");
    check_string(&f, "{\"\\u0076\":\"escaped key\"}", "escaped key");
    check_string(&f, "{\"V\":\"case\"}", "case");
    check_string(&f, "{\"v\":1.50}", "1.50");
    check_string(&f, "{\"v\":true}", "true");
    check_string(&f, "{\"v\": [1, \"x\"] }", "[1, \"x\"]");
    check_string(&f, "{\"v\":null}", "NULL");
    check_string(&f, "{}", "NULL");
    check_string(&f, "\xEF\xBB\xBF{\"v\":\"bom\"}", "bom");
    check_string(&f, "{\"v\":\"first\",\"v\":\"last\"}", "last");
    assert_int_equal(f.lossy[0], 1);
    check_string(&f, "{\"v\":null,\"v\":\"last\"}", "last");
    check_string(&f, "{\"v\":\"first\",\"v\":null}", "NULL");
    check_reject(&f, "{\"v\":\"\xc3(\"}", "UTF-8");
    check_reject(&f, "{\"v\":\"\xff\"}", "UTF-8");
    check_reject(&f, "{\"v\":\"\xed\xa0\x80\"}", "UTF-8");
    check_reject(&f, "{\"v\":[\"\xff\"]}", "UTF-8");
    check_reject(&f, "{\"v\":\"\\ud83d\"}", "surrogate");
    check_reject(&f, "{\"v\":\"\\ude00\"}", "surrogate");
    check_reject(&f, "{\"v\":\"\\u12g4\"}", "hexadecimal");
    check_reject(&f, "{\"v\":\"\\x\"}", "escape");
    check_reject(&f, "{\"v\":\"a\tb\"}", "control character");
    check_reject(&f, "{\"v\":\"open", "closing quote");
    check_reject(&f, "{\"v\":\"x\\", "closing quote");
    close_source(&f);
}

static void json_syntax(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, "v BIGINT; w BIGINT", NULL);
    static const char *const cases[][2] = {
        {"[1]", "an object was expected"},
        {"{\"v\":1", "was expected"},
        {"{\"v\":1,", "a key"},
        {"{\"v\":1,}", "a key"},
        {"{\"v\"", "\":\""},
        {"{\"v\":", "a value was expected"},
        {"{\"v\":}", "not a JSON value"},
        {"{\"v\" 1}", "\":\""},
        {"{v:1}", "a key"},
        {"{\"v\":1} x", "something follows"},
        {"{\"v\":1}{\"v\":2}", "something follows"},
        {"{\"v\":01}", "leading zero"},
        {"{\"v\":1.}", "after its point"},
        {"{\"v\":1e}", "exponent"},
        {"{\"v\":.5}", "not a JSON value"},
        {"{\"v\":+5}", "not a JSON value"},
        {"{\"v\":-}", "not a JSON value"},
        {"{\"v\":NaN}", "not a JSON value"},
        {"{\"v\":Infinity}", "not a JSON value"},
        {"{\"v\":nul}", "not a JSON value"},
        {"{\"v\":1 \"w\":2}", "was expected"},
        {"{\"x\":[1,2}", "was expected"},
        {"{\"x\":{\"a\":1,}}", "a key"},
        {"{\"v\":1,\"w\":\x01}", "not a JSON value"},
    };
    for (int learned = 0; learned < 2; learned++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            check_reject(&f, cases[i][0], cases[i][1]);
            decode(&f, "{\"v\":1,\"w\":2}"); /* the next record is none the worse */
            assert_int_equal(int_at(&f, 1, 0), 2);
        }
    char deep[300] = "{\"x\":";
    for (int depth = 63; depth <= 64; depth++) {
        size_t n = 5;
        for (int i = 0; i < depth; i++)
            deep[n++] = '[';
        for (int i = 0; i < depth; i++)
            deep[n++] = ']';
        deep[n++] = '}';
        deep[n] = 0;
        if (depth == 64) {
            check_reject(&f, deep, "nested deeper");
        } else {
            decode(&f, deep);
            assert_int_equal(f.reject_count, 0);
        }
    }
    close_source(&f);
}

static void json_numbers(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, "v BIGINT", NULL);
    check_int(&f, "{\"v\":0}", 0, false);
    check_int(&f, "{\"v\":-9223372036854775808}", INT64_MIN, false);
    check_int(&f, "{\"v\":9223372036854775807}", INT64_MAX, false);
    check_int(&f, "{\"v\":123456789012345678}", 123456789012345678, false);
    check_int(&f, "{\"v\":1.0}", 1, false);
    check_int(&f, "{\"v\":1e3}", 1000, false);
    check_int(&f, "{\"v\":\" 12 \"}", 12, false);
    check_reject(&f, "{\"v\":9223372036854775808}", "out of range for BIGINT");
    check_reject(&f, "{\"v\":1e30}", "out of range");
    check_reject(&f, "{\"v\":1.5}", "column \"v\": value '1.5' has a fraction");
    check_reject(&f, "{\"v\":\"abc\"}", "column \"v\": value 'abc' is not a BIGINT");
    check_reject(&f, "{\"v\":true}", "is not a BIGINT");
    check_reject(&f, "{\"v\":{}}", "is not a BIGINT");
    check_int(&f, "{\"v\":\"abc\",\"v\":5}", 5, true); /* the last one counts, also when the first does not fit */
    close_source(&f);
    open_source(&f, LEAT_FORMAT_JSON, "v INTEGER", NULL);
    check_int(&f, "{\"v\":-2147483648}", INT32_MIN, false);
    check_reject(&f, "{\"v\":2147483648}", "out of range");
    close_source(&f);
    open_source(&f, LEAT_FORMAT_JSON, "v DECIMAL(18,2)", NULL);
    check_int(&f, "{\"v\":0.005}", 1, true);
    check_int(&f, "{\"v\":-0.005}", -1, true);
    check_int(&f, "{\"v\":0.0049}", 0, true);
    check_int(&f, "{\"v\":1.500}", 150, false);
    check_int(&f, "{\"v\":1234567890123456.78}", 123456789012345678, false);
    check_int(&f, "{\"v\":123456.05}", 12345605, false);
    check_int(&f, "{\"v\":1.5e2}", 15000, false);
    check_int(&f, "{\"v\":73e-9}", 0, true);
    check_int(&f, "{\"v\":-12.345678e1}", -12346, true);
    check_int(&f, "{\"v\":49e-4}", 0, true);
    check_int(&f, "{\"v\":50e-4}", 1, true);
    check_reject(&f, "{\"v\":9999999999999999.995}", "out of range for DECIMAL(18,2)");
    check_reject(&f, "{\"v\":10000000000000000}", "out of range");
    close_source(&f);
    open_source(&f, LEAT_FORMAT_JSON, "v DECIMAL(18,18)", NULL);
    check_int(&f, "{\"v\":0.5}", 500000000000000000, false);
    check_reject(&f, "{\"v\":1.5}", "out of range");
    check_reject(&f, "{\"v\":99.5}", "out of range");
    check_reject(&f, "{\"v\":19}", "out of range");
    close_source(&f);
    open_source(&f, LEAT_FORMAT_JSON, "v DOUBLE", NULL);
    decode(&f, "{\"v\":0.1}\n{\"v\":-1e-5}\n{\"v\":\"NaN\"}\n{\"v\":123456789.123456789}\n{\"v\":5}");
    static const double want[] = {0.1, -1e-5, 0, 123456789.123456789, 5};
    for (size_t i = 0; i < 5; i++)
        if (i != 2) assert_true(((double *)f.out.columns[0].data)[i] == want[i]);
    check_reject(&f, "{\"v\":1e400}", "out of range for DOUBLE");
    close_source(&f);
}

/* The lake keeps them as DECIMAL(38,0): a record with more would stop every commit. */
static void huge_numbers_fit_the_lake(void **state) {
    (void)state;
    static const char *const types[] = {"v HUGEINT", "v UHUGEINT"};
    for (size_t i = 0; i < 2; i++) {
        struct fixture f;
        open_source(&f, LEAT_FORMAT_JSON, types[i], NULL);
        decode(&f, "{\"v\":99999999999999999999999999999999999999}");
        assert_int_equal(f.reject_count, 0);
        check_reject(&f, "{\"v\":100000000000000000000000000000000000000}", "out of range for");
        check_reject(&f, "{\"v\":\"-1e38\"}", "out of range for");
        check_reject(&f, "{\"v\":170141183460469231731687303715884105727}", "out of range for");
        close_source(&f);
    }
}

static void json_times(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_JSON, "v TIMESTAMP", NULL);
    check_int(&f, "{\"v\":\"1970-01-01T00:00:00Z\"}", 0, false);
    check_int(&f, "{\"v\":\"1969-12-31 23:59:59.999999\"}", -1, false);
    check_int(&f, "{\"v\":\"1970-01-02\"}", 86400000000, false);
    check_int(&f, "{\"v\":\"1970-01-01 01:30\"}", 5400000000, false);
    check_int(&f, "{\"v\":\"1970-01-01T02:00:00+02:00\"}", 0, true);
    check_int(&f, "{\"v\":\"1970-01-01T02:00:00.000-0030\"}", 9000000000, true);
    check_int(&f, "{\"v\":\"1970-01-01 24:00:00\"}", 86400000000, false);
    check_int(&f, "{\"v\":\"9999-12-31T23:59:59.999999\"}", 253402300799999999, false);
    check_int(&f, "{\"v\":\"2024-02-29 00:00:00\"}", 1709164800000000, false);
    check_reject(&f, "{\"v\":\"2023-02-29 00:00:00\"}", "is not a TIMESTAMP");
    check_reject(&f, "{\"v\":\"10000-01-01 00:00:00\"}", "outside the years");
    check_reject(&f, "{\"v\":\"0000-01-01 00:00:00\"}", "outside the years");
    check_reject(&f, "{\"v\":\"9999-12-31 24:00:00\"}", "outside the years");
    check_reject(&f, "{\"v\":\"0001-01-01 00:00:00+01\"}", "outside the years");
    check_reject(&f, "{\"v\":1700000000}", "make_timestamp");
    check_reject(&f, "{\"v\":\"1700000000\"}", "make_timestamp");
    check_reject(&f, "{\"v\":\"2026-11-22T10:00:60Z\"}", "is not a TIMESTAMP");
    check_reject(&f, "{\"v\":\"2026-11-22T10:00:00 Europe/Berlin\"}", "is not a TIMESTAMP");
    check_reject(&f, "{\"v\":\"2026-1-1T1:00:00x\"}", "is not a TIMESTAMP");
    check_int(&f, "{\"v\":\"2026-1-1T1:00:00\"}", 1767229200000000, false);
    check_reject(&f, "{\"v\":\"\"}", "is not a TIMESTAMP");
    close_source(&f);
    open_source(&f, LEAT_FORMAT_JSON, "v DATE!", NULL);
    check_int(&f, "{\"v\":\"1970-01-03\"}", 2, false);
    check_int(&f, "{\"v\":\"1970-01-03 10:00:00\"}", 2, true);
    check_reject(&f, "{\"v\":null}", "NOT NULL");
    close_source(&f);
}

static void csv_records(void **state) {
    (void)state;
    struct fixture f;
    open_source(&f, LEAT_FORMAT_CSV, "invoice VARCHAR!; customer INTEGER; price DOUBLE; note VARCHAR", NULL);
    static const char header[] = "\xEF\xBB\xBFInvoice,\"note\",price,CUSTOMER,unknown\r\n";
    static const char text[] = "536365,\"say \"\"hi\"\", ok\",2.55,17850.0,\r\n"
                               "536366,\"two\nlines\",3,,x\n"
                               "\n"
                               "536367,,\"\",\"\",\n"
                               "536368,\"\",1,2\n"
                               "536369,a,b,c,d,e,f\n"
                               "536370,5\" pipe,1,17850.5,\n"
                               "536371,5\" pipe,1,\" 7 \",\n"
                               ",a,1,1,\n"
                               "536372,\"x\" y,1,1,\n"
                               "536373,last,1e2,1,";
    decode_bytes(&f, text, strlen(text), header);
    assert_int_equal(f.count, 10);
    assert_int_equal(f.out.row_count, 5);
    assert_string_equal(string_at(&f, 3, 0), "say \"hi\", ok");
    assert_int_equal(int_at(&f, 1, 0), 17850);
    assert_string_equal(string_at(&f, 3, 1), "two\nlines");
    assert_true(leat_is_null(&f.out.columns[1], 1));
    assert_string_equal(string_at(&f, 3, 2), "NULL");
    assert_true(leat_is_null(&f.out.columns[1], 2));
    assert_true(leat_is_null(&f.out.columns[2], 2));
    assert_string_equal(string_at(&f, 3, 3), "5\" pipe");
    assert_int_equal(int_at(&f, 1, 3), 7);
    assert_string_equal(string_at(&f, 0, 4), "536373");
    static const uint8_t lossy[] = {0, 1, 0, 0, 0};
    assert_memory_equal(f.lossy, lossy, sizeof lossy);
    assert_int_equal(f.reject_count, 5);
    assert_non_null(strstr(f.rejects[0].reason, "4 fields, expected 5"));
    assert_non_null(strstr(f.rejects[1].reason, "7 fields, expected 5"));
    assert_non_null(strstr(f.rejects[2].reason, "'17850.5' has a fraction"));
    assert_non_null(strstr(f.rejects[3].reason, "invoice"));
    assert_non_null(strstr(f.rejects[4].reason, "text follows a quoted field"));
    decode_bytes(&f, "1,x\n", 4, "invoice,note"); /* another file, another header */
    assert_int_equal(f.out.row_count, 1);
    assert_true(leat_is_null(&f.out.columns[2], 0));
    decode_bytes(&f, "1,x\n", 4, "price,note");
    assert_non_null(strstr(f.rejects[0].reason, "the header has no \"invoice\""));
    decode_bytes(&f, "1,2,3,x\n", 8, NULL); /* without a header: declared order */
    assert_string_equal(string_at(&f, 3, 0), "x");
    close_source(&f);
}

static void csv_options(void **state) {
    (void)state;
    struct fixture f;
    static const char *const options[] = {"delimiter", ";",      "null_string", "NA", "encoding",
                                          "latin-1",   "header", "false",       NULL};
    open_source(&f, LEAT_FORMAT_CSV, "a VARCHAR; b INTEGER", options);
    decode_bytes(&f, "\xa3 5;NA\nNA;3\n\"NA\";4\n", 20, "ignored;header");
    assert_int_equal(f.out.row_count, 3);
    assert_string_equal(string_at(&f, 0, 0), "\xc2\xa3 5");
    assert_true(leat_is_null(&f.out.columns[1], 0));
    assert_true(leat_is_null(&f.out.columns[0], 1));
    assert_string_equal(string_at(&f, 0, 2), "NA");
    close_source(&f);
    open_source(&f, LEAT_FORMAT_CSV, "a VARCHAR; b INTEGER", NULL);
    decode_bytes(&f, "\xa3 5,1\n", 6, NULL);
    assert_non_null(strstr(f.rejects[0].reason, "'? 5' is not valid UTF-8"));
    close_source(&f);
    static const char *const wrong[][2] = {{"delimiter", "xx"}, {"encoding", "ebcdic"}, {"header", "maybe"}};
    for (size_t i = 0; i < 3; i++) {
        struct leat_option option = {.name = (char *)wrong[i][0], .value = (char *)wrong[i][1]};
        struct leat_source source = {.name = "s", .format = LEAT_FORMAT_CSV, .options = &option, .option_count = 1};
        struct leat_decoder *d;
        struct leat_error err;
        assert_int_equal(leat_decoder_open(&source, &d, &err), LEAT_INVALID);
        assert_null(d);
        assert_non_null(strstr(err.text, wrong[i][1]));
    }
}

/* Splitting gives the same records however the bytes arrive. */
static void splitting_does_not_depend_on_chunks(void **state) {
    (void)state;
    static const char csv[] = "a,\"b\nc\"\r\n\"x\"\"\n\"\"y\",z\n5\" pipe,1\n\n\"open\nuntil,the\nend";
    static const char json[] = "{\"a\":1}\n\n  \r\n{\"b\":\"}\"}\r\n{\"c\":2}";
    const struct {
        enum leat_format format;
        const char *text;
        uint32_t want;
    } cases[] = {{LEAT_FORMAT_CSV, csv, 6}, {LEAT_FORMAT_JSON, json, 3}};
    for (size_t k = 0; k < 2; k++) {
        const char *text = cases[k].text;
        size_t n = strlen(text);
        uint32_t starts[16], ends[16], count, s[16], e[16];
        assert_int_equal(leat_split_records(cases[k].format, text, n, true, starts, ends, 16, &count), n);
        assert_int_equal(count, cases[k].want);
        for (uint32_t max = 1; max <= 4; max++) {
            size_t at = 0, have = 0;
            uint32_t found = 0;
            while (at < n) {
                have = have < n ? have + 1 : n; /* one more byte each time */
                uint32_t got;
                size_t used = leat_split_records(cases[k].format, text + at, have - at, have == n, s, e, max, &got);
                for (uint32_t i = 0; i < got; i++, found++) {
                    assert_int_equal(at + s[i], starts[found]);
                    assert_int_equal(at + e[i], ends[found]);
                }
                at += used;
            }
            assert_int_equal(found, count);
        }
    }
}

/* ---- against DuckDB ---- */

static const char *random_text(enum leat_kind kind, char *out, size_t size) {
    static const char *const nasty[] = {"",    " ",    "-",        "+",    ".", "-.",  "e5",  "1e",  "1e+", "0x10",
                                        "nan", "-inf", "infinity", "true", "F", "yes", "1,5", "--1", "1-",  "1 2"};
    static const char *const zones[] = {"", "", "", "Z", "+02", "-05:30", "+0100", "+01:02:03", " UTC"};
    unsigned y = (unsigned)(1 + random() % 9999), mo = (unsigned)(random() % 14), d = (unsigned)(random() % 33);
    if (random() % 12 == 0) {
        snprintf(out, size, "%s", nasty[(size_t)random() % (sizeof nasty / sizeof *nasty)]);
        return out;
    }
    switch (kind) {
    case LEAT_DATE:
        snprintf(out, size, random() % 4 ? "%04u-%02u-%02u" : "%04u/%u/%u", y, mo, d);
        return out;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
    case LEAT_TIME: {
        int n = kind == LEAT_TIME ? 0 : snprintf(out, size, "%04u-%02u-%02u%c", y, mo, d, random() % 2 ? 'T' : ' ');
        n += snprintf(out + n, size - (size_t)n, random() % 4 ? "%02ld:%02ld:%02ld" : "%ld:%ld:%ld", random() % 25,
                      random() % 61, random() % 61);
        if (random() % 2)
            n += snprintf(out + n, size - (size_t)n, ".%0*ld", (int)(1 + random() % 8), random() % 1000000);
        /* TIMESTAMP with an offset is ours alone: DuckDB's cast drops it. */
        if (kind == LEAT_TIMESTAMPTZ)
            snprintf(out + n, size - (size_t)n, "%s", zones[(size_t)random() % (sizeof zones / sizeof *zones)]);
        return out;
    }
    case LEAT_UUID: {
        static const char hex[] = "0123456789abcdefABCDEF";
        int n = 0;
        for (int i = 0; i < 32 - (random() % 20 == 0); i++) {
            if (i == 8 || i == 12 || i == 16 || i == 20) out[n++] = '-';
            out[n++] = hex[random() % 22];
        }
        out[n] = 0;
        return out;
    }
    case LEAT_INTERVAL: {
        static const char *const names[] = {"year",   "months",  "day",   "days", "hours",
                                            "minute", "seconds", "weeks", "ms"};
        int n = 0;
        for (long i = random() % 3; i >= 0; i--)
            n += snprintf(out + n, size - (size_t)n, "%s%ld %s ", random() % 4 ? "" : "-", random() % 1000,
                          names[random() % 9]);
        if (random() % 3 == 0)
            snprintf(out + n, size - (size_t)n, "%ld:%02ld:%02ld.%ld", random() % 100, random() % 60, random() % 60,
                     random() % 1000);
        return out;
    }
    case LEAT_BOOLEAN:
        snprintf(out, size, "%ld", random() % 3);
        return out;
    default:
        break;
    }
    int n = snprintf(out, size, "%s", random() % 3 ? "" : "-");
    for (long i = random() % (random() % 3 ? 6 : 24); i >= 0; i--)
        n += snprintf(out + n, size - (size_t)n, "%ld", random() % 10);
    if (random() % 2) {
        out[n++] = '.';
        for (long i = random() % 8; i > 0; i--)
            n += snprintf(out + n, size - (size_t)n, "%ld", random() % 4 ? random() % 10 : 0);
        out[n] = 0;
    }
    if (random() % 4 == 0) snprintf(out + n, size - (size_t)n, "e%ld", random() % 24 - 12);
    return out;
}

/* Texts that DuckDB takes and we refuse on purpose (value.h says which). */
static bool refused_on_purpose(struct leat_type type, const char *text, enum leat_value_status status) {
    if (status == LEAT_VALUE_FRACTION || status == LEAT_VALUE_YEAR) return true;
    if (status == LEAT_VALUE_RANGE && (type.kind == LEAT_FLOAT || type.kind == LEAT_DOUBLE))
        return true; /* infinite there */
    if (strpbrk(text, "x_") || strstr(text, "inf")) return true;
    if (type.kind == LEAT_DECIMAL && strchr(text, 'e'))
        return true; /* DuckDB puts '-0.3230003e4' into a DECIMAL(4,1) */
    return type.kind == LEAT_INTERVAL;
}

/* Numbers that fit, but whose digits before the exponent is applied do not: DuckDB gives up on them. And '-0.0' for
 * unsigned types. */
static bool taken_on_purpose(struct leat_type type, const char *text) {
    bool is_float = type.kind == LEAT_FLOAT || type.kind == LEAT_DOUBLE;
    return !is_float && type.kind <= LEAT_DECIMAL && (strchr(text, 'e') || strspn(text, "-0.") == strlen(text));
}

enum { TEXTS_PER_TYPE = 1500 };

static void values_equal_duckdbs_casts(void **state) {
    (void)state;
    static const char *const types[] = {"BOOLEAN",        "TINYINT",
                                        "SMALLINT",       "INTEGER",
                                        "BIGINT",         "HUGEINT",
                                        "UTINYINT",       "USMALLINT",
                                        "UINTEGER",       "UBIGINT",
                                        "UHUGEINT",       "FLOAT",
                                        "DOUBLE",         "DECIMAL(4,1)",
                                        "DECIMAL(9,4)",   "DECIMAL(18,2)",
                                        "DECIMAL(38,10)", "DECIMAL(18,0)",
                                        "DATE",           "TIME",
                                        "TIMESTAMP",      "TIMESTAMP WITH TIME ZONE",
                                        "INTERVAL",       "UUID"};
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_error err;
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP};
    if (leat_duck_open(&options, &duck, &err) || leat_conn_open(duck, &conn, &err)) fail_msg("%s", err.text);
    srandom(20261122);
    struct leat_arena arena = {0};
    static char texts[TEXTS_PER_TYPE][120];
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        struct leat_type type;
        assert_int_equal(leat_type_parse(types[k], strlen(types[k]), &type, &err), LEAT_OK);
        struct leat_buffer sql = {0};
        leat_putf(&sql, "SELECT TRY_CAST(t AS %s) FROM (VALUES ", types[k]);
        for (int i = 0; i < TEXTS_PER_TYPE; i++) {
            random_text((enum leat_kind)type.kind, texts[i], sizeof texts[i]);
            leat_putf(&sql, "%s(%d, ", i ? "," : "", i);
            leat_put_sql_string(&sql, texts[i]);
            leat_put(&sql, ")");
        }
        leat_put(&sql, ") v(i, t) ORDER BY i");
        struct leat_result result;
        if (leat_conn_query(conn, sql.data, &result, &err)) fail_msg("%s", err.text);
        assert_int_equal(result.rows.row_count, TEXTS_PER_TYPE);
        size_t size = leat_type_size(type), accepted = 0;
        for (size_t i = 0; i < TEXTS_PER_TYPE; i++) {
            char ours[16] = {0};
            enum leat_value_status status = leat_value_parse(type, texts[i], strlen(texts[i]), ours, &arena);
            bool null = leat_is_null(&result.rows.columns[0], i);
            if (status > LEAT_VALUE_LOSSY) {
                if (!null && !refused_on_purpose(type, texts[i], status))
                    fail_msg("%s: '%s' refused, DuckDB takes it", types[k], texts[i]);
                continue;
            }
            accepted++;
            if (null && taken_on_purpose(type, texts[i])) continue;
            if (null) fail_msg("%s: '%s' taken, DuckDB refuses it", types[k], texts[i]);
            if (type.kind == LEAT_DECIMAL && strchr(texts[i], 'e')) continue; /* 73e-9 is 0.1 for DuckDB */
            if (memcmp(ours, (char *)result.rows.columns[0].data + i * size, size))
                fail_msg("%s: '%s' differs from DuckDB's value", types[k], texts[i]);
        }
        if (accepted < TEXTS_PER_TYPE / 20) fail_msg("%s: only %zu texts accepted", types[k], accepted);
        leat_result_deinit(&result);
        leat_buffer_deinit(&sql);
    }
    leat_arena_deinit(&arena);
    leat_conn_close(conn);
    leat_duck_close(duck);
}

/* The decoder's fast paths against the value parser that the test above ties to DuckDB. */
static void fast_paths_equal_the_value_parser(void **state) {
    (void)state;
    static const char *const types[] = {"BIGINT",        "INTEGER", "DECIMAL(18,2)", "DECIMAL(18,18)",
                                        "DECIMAL(10,0)", "DOUBLE",  "TIMESTAMP",     "BOOLEAN"};
    srandom(5);
    struct leat_arena arena = {0};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        struct fixture f;
        char column[40], text[120], record[160];
        snprintf(column, sizeof column, "v %s", types[k]);
        open_source(&f, LEAT_FORMAT_JSON, column, NULL);
        struct leat_type type = f.source.schema.fields[0].type;
        for (int i = 0; i < 4000; i++) {
            random_text((enum leat_kind)type.kind, text, sizeof text);
            bool quoted = random() % 2 || type.kind == LEAT_TIMESTAMP;
            snprintf(record, sizeof record, quoted ? "{\"v\":\"%s\"}" : "{\"v\":%s}", text);
            decode(&f, record);
            char want[16] = {0};
            enum leat_value_status status = leat_value_parse(type, text, strlen(text), want, &arena);
            if (f.reject_count) {
                bool json = !strncmp(f.rejects[0].reason, "not valid JSON", 14);
                if (status <= LEAT_VALUE_LOSSY && !(json && !quoted)) fail_msg("%s: %s", record, f.rejects[0].reason);
            } else if (leat_is_null(&f.out.columns[0], 0)) {
                fail_msg("%s is NULL", record);
            } else {
                if (status > LEAT_VALUE_LOSSY) fail_msg("%s %s taken", types[k], record);
                if (memcmp(want, f.out.columns[0].data, leat_type_size(type)))
                    fail_msg("%s %s differs", types[k], record);
                assert_int_equal(f.lossy[0], status == LEAT_VALUE_LOSSY);
            }
        }
        close_source(&f);
    }
    leat_arena_deinit(&arena);
}

/* ---- real data, where it is ---- */

static bool real_data_is_here(const char *name, char path[512]) {
    snprintf(path, 512, "%s/../shared/data/%s", LEAT_SOURCE_DIR, name);
    if (access(path, R_OK) == 0) return true;
    print_message("SKIPPED: no real data at ../shared/data/%s\n", name);
    return false;
}

/* Sums over a file that we decode equal what DuckDB's own reader finds in it. */
static void real_order_lines_as_duckdb_reads_them(void **state) {
    (void)state;
    static const char *const months[] = {"2010-12", "2011-01", "2011-04", "2011-09"};
    enum { RECORDS = 100000 };
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_error err;
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    char first[512];
    if (!real_data_is_here("online-retail/2010-12.csv.gz", first)) skip();
    uint32_t *starts = leat_alloc(RECORDS * 3 * sizeof *starts), *ends = starts + RECORDS, *records = ends + RECORDS;
    if (leat_duck_open(&options, &duck, &err) || leat_conn_open(duck, &conn, &err)) fail_msg("%s", err.text);
    for (size_t m = 0; m < sizeof months / sizeof *months; m++) {
        char name[64], path[512];
        snprintf(name, sizeof name, "online-retail/%s.csv.gz", months[m]);
        if (!real_data_is_here(name, path)) continue;
        struct leat_buffer text = {0};
        gzFile file = gzopen(path, "rb");
        for (int got = 1; got > 0; text.length += (size_t)got) {
            assert_int_equal(leat_buffer_reserve(&text, 1 << 20, &err), LEAT_OK);
            got = gzread(file, text.data + text.length, 1 << 19);
            assert_true(got >= 0);
        }
        gzclose(file);
        struct fixture f;
        open_source(&f, LEAT_FORMAT_CSV,
                    "InvoiceNo VARCHAR!; Description VARCHAR; Quantity INTEGER; InvoiceDate TIMESTAMP; UnitPrice "
                    "DECIMAL(18,3); CustomerID INTEGER; StockCode VARCHAR; Country VARCHAR",
                    NULL);
        struct leat_block block = {
            .payload = text.data, .payload_bytes = text.length, .starts = starts, .ends = ends, .header = text.data};
        assert_int_equal(leat_split_records(LEAT_FORMAT_CSV, text.data, text.length, true, starts, ends, RECORDS,
                                            &block.record_count),
                         text.length);
        block.header_length = ends[0];
        assert_int_equal(leat_decode(f.decoder, &block, 1, block.record_count - 1, &f.out, records, NULL, &f.rejects,
                                     &f.reject_count, &err),
                         LEAT_OK);
        assert_int_equal(f.reject_count, 0);
        int64_t sums[6] = {0};
        for (size_t row = 0; row < f.out.row_count; row++) {
            sums[0]++;
            sums[1] += int_at(&f, 2, row);
            sums[2] += int_at(&f, 4, row);
            sums[3] += int_at(&f, 3, row) / 1000000;
            if (!leat_is_null(&f.out.columns[5], row)) sums[4] += int_at(&f, 5, row);
            if (!leat_is_null(&f.out.columns[1], row))
                sums[5] += ((struct leat_string *)f.out.columns[1].data)[row].length;
        }
        char *sql = leat_asprintf(
            "SELECT concat_ws(' ', count(*), sum(Quantity), CAST(1000 * sum(CAST(UnitPrice AS DECIMAL(18,3))) AS "
            "BIGINT), CAST(sum(epoch(CAST(InvoiceDate AS TIMESTAMP))) AS BIGINT), sum(CAST(CustomerID AS INTEGER)), "
            "sum(strlen(Description))) FROM read_csv('%s', all_varchar = false, types = {'CustomerID': 'VARCHAR', "
            "'InvoiceNo': 'VARCHAR', 'UnitPrice': 'VARCHAR', 'InvoiceDate': 'VARCHAR', 'StockCode': 'VARCHAR'})",
            path);
        char *theirs = NULL,
             *ours = leat_asprintf("%lld %lld %lld %lld %lld %lld", (long long)sums[0], (long long)sums[1],
                                   (long long)sums[2], (long long)sums[3], (long long)sums[4], (long long)sums[5]);
        if (leat_conn_text(conn, sql, &theirs, &err)) fail_msg("%s", err.text);
        assert_string_equal(ours, theirs);
        free(ours);
        free(theirs);
        free(sql);
        close_source(&f);
        leat_buffer_deinit(&text);
    }
    free(starts);
    leat_conn_close(conn);
    leat_duck_close(duck);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_orders),
        cmocka_unit_test(json_unknown_keys),
        cmocka_unit_test(json_unknown_fields),
        cmocka_unit_test(json_strings),
        cmocka_unit_test(json_syntax),
        cmocka_unit_test(json_numbers),
        cmocka_unit_test(json_times),
        cmocka_unit_test(huge_numbers_fit_the_lake),
        cmocka_unit_test(csv_records),
        cmocka_unit_test(csv_options),
        cmocka_unit_test(splitting_does_not_depend_on_chunks),
        cmocka_unit_test(values_equal_duckdbs_casts),
        cmocka_unit_test(fast_paths_equal_the_value_parser),
        cmocka_unit_test(real_order_lines_as_duckdb_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
