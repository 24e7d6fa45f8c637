/* Parsers of option values and the text helpers of base over any text: what was parsed is printed so that it parses to
 * the same. */
#include <stdlib.h>
#include <string.h>
#include "base/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const char *text, enum leat_status (*parse)(const char *, int64_t *, struct leat_error *),
                       void (*put)(struct leat_buffer *, int64_t)) {
    struct leat_buffer printed = {0};
    int64_t value, again;
    struct leat_error err;
    if (parse(text, &value, &err) == LEAT_OK) {
        put(&printed, value);
        if (parse(printed.data, &again, &err) != LEAT_OK || again != value) abort();
    }
    leat_buffer_deinit(&printed);
}

static void put_int(struct leat_buffer *b, int64_t value) {
    leat_putf(b, "%lld", (long long)value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const choices[] = {"once", "tail", NULL};
    static const struct leat_option_spec specs[] = {
        {.name = "mode", .type = LEAT_OPTION_ENUM, .choices = choices},
        {.name = "header", .type = LEAT_OPTION_BOOL},
        {.name = "limit", .type = LEAT_OPTION_INT, .unit = "rows", .min = -5, .max = 500},
        {.name = "every", .type = LEAT_OPTION_INTERVAL, .min = 1, .max = 86400000000},
    };
    char *text = leat_strndup((const char *)data, size);
    struct leat_error err;
    struct leat_option_value value;
    struct leat_buffer b = {0};
    round_trip(text, leat_parse_interval, leat_put_interval);
    round_trip(text, leat_parse_size, leat_put_size);
    round_trip(text, leat_parse_int, put_int);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        if (leat_option_parse(&specs[i], text, &value, &err) != LEAT_OK && !strstr(err.text, specs[i].name)) abort();
    leat_option_unknown(specs, sizeof specs / sizeof *specs, text, &err);
    leat_put_json_string(&b, (const char *)data, size);
    leat_put_sql_string(&b, text);
    leat_put_sql_name(&b, text);
    leat_buffer_deinit(&b);
    free(text);
    return 0;
}
