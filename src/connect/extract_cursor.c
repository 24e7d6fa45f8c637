#include "connect/extract.h"
#include "data/value.h"

#include <inttypes.h>

static const int64_t DAY_US = INT64_C(86400000000);

bool leat_cursor_is_time(struct leat_type type) {
    return type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ || type.kind == LEAT_DATE;
}

bool leat_cursor_parse(struct leat_type type, const char *text, size_t length, int64_t *out) {
    int32_t days;
    int64_t value = 0;
    struct leat_type bigint = {.kind = LEAT_BIGINT};
    enum leat_value_status st;
    if (type.kind == LEAT_DATE) {
        st = leat_value_parse_date(text, length, &days);
        if (st == LEAT_VALUE_OK) value = days * DAY_US;
    } else if (leat_cursor_is_time(type)) {
        st = leat_value_parse_timestamp(text, length, &value);
    } else {
        st = leat_value_parse(bigint, text, length, &value, NULL);
    }
    if (st == LEAT_VALUE_OK || st == LEAT_VALUE_LOSSY) *out = value;
    return st == LEAT_VALUE_OK || st == LEAT_VALUE_LOSSY;
}

int64_t leat_cursor_floor(struct leat_type type, int64_t value) {
    const int64_t unit = type.kind == LEAT_DATE ? DAY_US : leat_cursor_is_time(type) ? 1000 : 1, above = value % unit;
    if (above < 0) return value < INT64_MIN + unit ? INT64_MIN : value - above - unit;
    return value - above;
}

void leat_cursor_put(struct leat_buffer *out, struct leat_type type, int64_t value) {
    int64_t year, days = value / DAY_US - (value % DAY_US < 0), us = value - days * DAY_US;
    unsigned month, day;
    if (!leat_cursor_is_time(type)) {
        leat_putf(out, "%" PRId64, value);
        return;
    }
    leat_civil_from_days(days, &year, &month, &day);
    if (year < 1) year = 1, month = day = 1, us = 0;
    leat_putf(out, "'%04" PRId64 "-%02u-%02u", year, month, day);
    if (type.kind != LEAT_DATE)
        leat_putf(out, "T%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64, us / 3600000000, us / 60000000 % 60, us / 1000000 % 60, us / 1000 % 1000);
    leat_put(out, "'");
}
