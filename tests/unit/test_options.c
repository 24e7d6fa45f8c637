/* Option tables: parsing by spec, suggestions, rendering. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "base/limits.h"
#include "base/options.h"

static const char *const modes[] = {"once", "tail", "poll", NULL};
static const struct leat_option_spec specs[] = {
    {.name = "path", .type = LEAT_OPTION_PATH, .required = true, .prose = "The files, as a glob pattern."},
    {.name = "refresh",
     .type = LEAT_OPTION_INTERVAL,
     .min = 1000000,
     .max = -1,
     .default_text = "1 hour",
     .prose = "How often the table is read again."},
    {.name = "block_size",
     .type = LEAT_OPTION_SIZE,
     .min = 4096,
     .max = 16 << 20,
     .default_text = "1 MiB",
     .prose = "Bytes read at once."},
    {.name = "max_rows",
     .type = LEAT_OPTION_INT,
     .unit = "rows",
     .min = 1,
     .max = 1000,
     .default_text = "100",
     .prose = "Rows of one batch."},
    {.name = "shift", .type = LEAT_OPTION_INT, .prose = "Any number."},
    {.name = "header",
     .type = LEAT_OPTION_BOOL,
     .default_text = "true",
     .prose = "Whether the first line names the columns."},
    {.name = "mode",
     .type = LEAT_OPTION_ENUM,
     .choices = modes,
     .default_text = "tail",
     .prose = "Reads once, | follows, or polls."},
    {.name = "password", .type = LEAT_OPTION_SECRET, .default_text = "hunter2", .prose = "Never shown."},
};
#define SPEC_COUNT (sizeof specs / sizeof *specs)

static const struct leat_option_spec *find(const char *name) {
    const struct leat_option_spec *spec = leat_option_find(specs, SPEC_COUNT, name);
    assert_non_null(spec);
    return spec;
}

static void assert_number(const char *name, const char *text, int64_t want) {
    struct leat_option_value value;
    struct leat_error err = {0};
    if (leat_option_parse(find(name), text, &value, &err) != LEAT_OK) fail_msg("%s", err.text);
    assert_int_equal(value.number, want);
}

static void assert_refused(const char *name, const char *text, const char *message) {
    struct leat_option_value value = {.number = 7};
    struct leat_error err = {0};
    assert_int_equal(leat_option_parse(find(name), text, &value, &err), LEAT_INVALID);
    assert_string_equal(err.text, message);
    assert_int_equal(value.number, 0);
}

static void real_numbers(void **state) {
    static const struct leat_option_spec share = {.name = "share", .type = LEAT_OPTION_REAL, .min = 0, .max = 1, .prose = "A part."};
    static const char *const refused[] = {"", "x", "0.5x", "nan", "inf", "0x1", "1e999", "-0.1", "1.5", " 0.5"};
    struct leat_option_value value;
    struct leat_error err = {0};
    (void)state;
    assert_int_equal(leat_option_parse(&share, "0.25", &value, &err), LEAT_OK);
    assert_true(value.real == 0.25);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(leat_option_parse(&share, refused[i], &value, &err), LEAT_INVALID);
        assert_true(value.real == 0);
    }
    assert_int_equal(leat_option_parse(&share, "1.5", &value, &err), LEAT_INVALID);
    assert_string_equal(err.text, "option 'share': 1.5 is above the most allowed, 1");
    struct leat_buffer help = {0};
    leat_options_help(&share, 1, &help);
    assert_string_equal(help.data, "  --share <number>\n      A part. Allowed: from 0 to 1.\n");
    leat_buffer_deinit(&help);
}

static void values_parse_by_type(void **state) {
    (void)state;
    assert_number("refresh", "INTERVAL '1' HOUR", 3600000000);
    assert_number("refresh", "interval '2 days'", 2 * 86400000000);
    assert_number("refresh", "1h 30m", 5400000000);
    assert_number("refresh", "1h30m", 5400000000);
    assert_number("refresh", "1.5 seconds", 1500000);
    assert_number("refresh", "1500000us", 1500000);
    assert_number("block_size", "4096", 4096);
    assert_number("block_size", "64 KiB", 65536);
    assert_number("block_size", "0.5mib", 524288);
    assert_number("block_size", "10 kB", 10000);
    assert_number("max_rows", " 12 ", 12);
    assert_number("shift", "-9223372036854775808", INT64_MIN);
    assert_number("shift", "+9223372036854775807", INT64_MAX);
    assert_number("header", "OFF", 0);
    assert_number("header", "yes", 1);
    assert_number("MODE", "Tail", 1);
}

static void refusals_say_what_is_right(void **state) {
    (void)state;
    assert_refused("refresh", "10", "option 'refresh': '10' has no unit; write for example '90 seconds'");
    assert_refused(
        "refresh", "10 secnods",
        "option 'refresh': '10 secnods' is not an interval: unknown unit 'secnods'; did you mean 'seconds'?");
    assert_refused(
        "refresh", "1 month",
        "option 'refresh': '1 month' is not an interval of fixed length: months and years differ; write it in days");
    assert_refused("refresh", "10 ms", "option 'refresh': 10 ms is below the least allowed, 1 second");
    assert_refused("refresh", "0.0000001 s", "option 'refresh': '0.0000001 s' is finer than the smallest unit");
    assert_refused("refresh", "", "option 'refresh': '' is not an interval; write for example '90 seconds'");
    assert_refused("refresh", "1 second later",
                   "option 'refresh': '1 second later' is not an interval; write for example '90 seconds'");
    assert_refused("refresh", "'1 second",
                   "option 'refresh': ''1 second' is not an interval; write for example '90 seconds'");
    assert_refused("refresh", "999999999999999999 weeks",
                   "option 'refresh': '999999999999999999 weeks' is longer than leat can count");
    assert_refused("block_size", "32 MiB", "option 'block_size': 32 MiB is above the most allowed, 16 MiB");
    assert_refused("block_size", "-1", "option 'block_size': '-1' is not a size; write for example '64 MiB'");
    assert_refused("max_rows", "1e3", "option 'max_rows': '1e3' is not a whole number");
    assert_refused("max_rows", "1001", "option 'max_rows': 1001 rows is above the most allowed, 1000 rows");
    assert_refused("shift", "9223372036854775808", "option 'shift': '9223372036854775808' is not a whole number");
    assert_refused("shift", "99999999999999999999999999999999999999999999999",
                   "option 'shift': '99999999999999999999999999999999999999999999999' is not a whole number");
    assert_refused("header", "maybe", "option 'header': 'maybe' is neither true nor false");
    assert_refused("mode", "tial",
                   "option 'mode': 'tial' is not known; did you mean 'tail'? ('once', 'tail' or 'poll')");
    assert_refused("mode", "xyzzy", "option 'mode': 'xyzzy' is not known; write 'once', 'tail' or 'poll'");
    assert_refused("path", "", "option 'path': an empty path");
}

static void unknown_names_suggest_the_nearest(void **state) {
    (void)state;
    struct leat_error err = {0};
    assert_int_equal(leat_option_unknown(specs, SPEC_COUNT, "refersh", &err), LEAT_INVALID);
    assert_string_equal(err.text, "unknown option 'refersh'; did you mean 'refresh'?");
    leat_option_unknown(specs, SPEC_COUNT, "zzz", &err);
    assert_non_null(strstr(err.text, "there are: path, refresh,"));
    leat_option_unknown(specs, 0, "zzz", &err);
    assert_string_equal(err.text, "unknown option 'zzz'; there are none here");
}

static void nearest_measures_edits(void **state) {
    (void)state;
    const char *const words[] = {"order_events", NULL, "order_status", "products", "a"};
    assert_int_equal(leat_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(leat_edit_distance("ab", "BA"), 1);
    assert_int_equal(leat_edit_distance("", "abc"), 3);
    assert_int_equal(leat_edit_distance("same", "same"), 0);
    assert_string_equal(leat_nearest("order_evnets", words, 5), "order_events");
    assert_string_equal(leat_nearest("Product", words, 5), "products");
    assert_string_equal(leat_nearest("prod", words, 5), "products");
    assert_null(leat_nearest("customers", words, 5));
    assert_null(leat_nearest("b", words, 5));
    assert_null(leat_nearest("", words, 5));
    char longer[100];
    memset(longer, 'x', sizeof longer - 1);
    longer[99] = '\0';
    assert_null(leat_nearest(longer, words, 5));
}

static void intervals_and_sizes_read_back(void **state) {
    (void)state;
    static const int64_t numbers[] = {0,
                                      1,
                                      999,
                                      1000,
                                      1500,
                                      1000000,
                                      60000000,
                                      90000000,
                                      3600000000,
                                      86400000000,
                                      7 * 86400000000,
                                      INT64_MAX / 1000000000};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct leat_buffer text = {0};
        int64_t back;
        leat_put_interval(&text, numbers[i]);
        assert_int_equal(leat_parse_interval(text.data, &back, NULL), LEAT_OK);
        assert_int_equal(back, numbers[i]);
        leat_buffer_reset(&text);
        leat_put_size(&text, numbers[i]);
        assert_int_equal(leat_parse_size(text.data, &back, NULL), LEAT_OK);
        assert_int_equal(back, numbers[i]);
        leat_buffer_deinit(&text);
    }
}

static void tables_render(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    leat_options_help(specs, SPEC_COUNT, &text);
    assert_non_null(strstr(text.data, "  --refresh <interval>\n      How often the table is read again. Default: 1 hour. "
                                      "Allowed: at least 1 second.\n"));
    assert_non_null(strstr(text.data, "  --mode <once | tail | poll>\n"));
    assert_non_null(
        strstr(text.data, "  --max-rows <rows>\n      Rows of one batch. Default: 100. Allowed: from 1 to 1000 rows.\n"));
    assert_non_null(strstr(text.data, "Required."));
    assert_null(strstr(text.data, "hunter2"));
    leat_buffer_reset(&text);
    leat_options_markdown(specs, SPEC_COUNT, &text);
    assert_non_null(
        strstr(text.data, "| `mode` | once, tail, poll | `tail` |  | Reads once, \\| follows, or polls. |\n"));
    assert_non_null(strstr(text.data, "| `path` | path | required |  | The files, as a glob pattern. |\n"));
    assert_null(strstr(text.data, "hunter2"));
    leat_buffer_deinit(&text);
    assert_int_equal(leat_option_default(find("refresh")).number, 3600000000);
    assert_string_equal(leat_option_default(find("mode")).text, "tail");
    assert_null(leat_option_default(find("path")).text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_numbers),
        cmocka_unit_test(values_parse_by_type),
        cmocka_unit_test(refusals_say_what_is_right),
        cmocka_unit_test(unknown_names_suggest_the_nearest),
        cmocka_unit_test(nearest_measures_edits),
        cmocka_unit_test(intervals_and_sizes_read_back),
        cmocka_unit_test(tables_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
