/* Dates, times, timestamps and intervals from text. See value.h. */
#include "data/value.h"

static const int64_t micros_per_second = 1000000LL, micros_per_day = 86400000000LL;
enum { YEAR_MAX = 9999, OFFSET_HOURS_MAX = 15, DAYS_PER_MONTH = 30 };

/* A place in a text that is read from left to right. */
struct reader {
    const char *at, *end;
};
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool more(const struct reader *r) {
    return r->at < r->end;
}
static bool next_is(const struct reader *r, char c) {
    return r->at < r->end && *r->at == c;
}
static bool take(struct reader *r, char c) {
    if (!next_is(r, c)) return false;
    r->at++;
    return true;
}
/* Reads min to max digits. */
static bool take_digits(struct reader *r, int min, int max, unsigned *out) {
    unsigned v = 0;
    int n = 0;
    for (; n < max && r->at < r->end && is_digit(*r->at); n++)
        v = v * 10 + (unsigned)(*r->at++ - '0');
    *out = v;
    return n >= min;
}

/* Proleptic Gregorian, eras of 400 years starting in March (after H. Hinnant, "chrono-compatible low-level date
 * algorithms"). */
int64_t leat_days_from_civil(int64_t year, unsigned month, unsigned day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void leat_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (unsigned)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static unsigned month_days(unsigned year, unsigned month) {
    static const uint8_t days[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month];
}

/* A run of digits and points, maybe signed: somebody's epoch. */
static bool is_bare_number(const struct reader *r) {
    const char *p = r->at;
    if (p < r->end && (*p == '-' || *p == '+')) p++;
    if (p == r->end) return false;
    for (; p < r->end; p++)
        if (!is_digit(*p) && *p != '.' && (*p | 0x20) != 'e' && *p != '+') return false;
    return true;
}

static enum leat_value_status take_date(struct reader *r, int64_t *days) {
    struct reader start = *r;
    unsigned year, month, day;
    if (is_bare_number(&start)) return LEAT_VALUE_EPOCH;
    bool negative = take(r, '-');
    if (!take_digits(r, 4, 9, &year)) return LEAT_VALUE_SYNTAX;
    bool wide = r->at - start.at > 4 || negative;
    char separator = more(r) ? *r->at : 0;
    if (separator != '-' && separator != '/') return LEAT_VALUE_SYNTAX;
    r->at++;
    if (!take_digits(r, 1, 2, &month) || !take(r, separator) || !take_digits(r, 1, 2, &day)) return LEAT_VALUE_SYNTAX;
    if (negative || year < 1 || year > YEAR_MAX) return LEAT_VALUE_YEAR;
    if (wide || month < 1 || month > 12 || day < 1 || day > month_days(year, month)) return LEAT_VALUE_SYNTAX;
    *days = leat_days_from_civil(year, month, day);
    return LEAT_VALUE_OK;
}

/* HH:MM[:SS[.f...]]; 24:00:00 is the next day's midnight, as in DuckDB. */
static enum leat_value_status take_time(struct reader *r, int64_t *micros) {
    unsigned hour, minute, second = 0;
    int64_t fraction = 0;
    bool lossy = false;
    if (!take_digits(r, 1, 2, &hour) || !take(r, ':') || !take_digits(r, 1, 2, &minute)) return LEAT_VALUE_SYNTAX;
    if (take(r, ':')) {
        if (!take_digits(r, 1, 2, &second)) return LEAT_VALUE_SYNTAX;
        if (take(r, '.')) {
            int n = 0;
            for (; more(r) && is_digit(*r->at); r->at++, n++) {
                if (n < 6)
                    fraction = fraction * 10 + (*r->at - '0');
                else if (*r->at != '0')
                    lossy = true; /* DuckDB cuts, it does not round */
            }
            for (; n < 6; n++)
                fraction *= 10;
        }
    }
    if (minute > 59 || second > 59 || hour > 24) return LEAT_VALUE_SYNTAX;
    if (hour == 24 && (minute || second || fraction)) return LEAT_VALUE_SYNTAX;
    *micros = ((hour * 60LL + minute) * 60 + second) * micros_per_second + fraction;
    return lossy ? LEAT_VALUE_LOSSY : LEAT_VALUE_OK;
}

/* Z, +HH, +HHMM, +HH:MM, +HH:MM:SS or " UTC"; nothing: 0. */
static enum leat_value_status take_offset(struct reader *r, int64_t *seconds) {
    unsigned hours, minutes = 0, rest = 0;
    *seconds = 0;
    if (take(r, 'Z')) return LEAT_VALUE_OK;
    if (r->end - r->at == 4 && !memcmp(r->at, " UTC", 4)) {
        r->at = r->end;
        return LEAT_VALUE_OK;
    }
    if (!next_is(r, '+') && !next_is(r, '-')) return LEAT_VALUE_OK;
    int sign = *r->at++ == '-' ? -1 : 1;
    if (!take_digits(r, 2, 2, &hours)) return LEAT_VALUE_SYNTAX;
    bool colon = take(r, ':');
    if ((colon || more(r)) && !take_digits(r, 2, 2, &minutes)) return LEAT_VALUE_SYNTAX;
    if (colon && take(r, ':') && !take_digits(r, 2, 2, &rest)) return LEAT_VALUE_SYNTAX;
    if (hours > OFFSET_HOURS_MAX || minutes > 59 || rest > 59) return LEAT_VALUE_SYNTAX;
    *seconds = sign * ((hours * 60LL + minutes) * 60 + rest);
    return *seconds ? LEAT_VALUE_LOSSY : LEAT_VALUE_OK;
}

static enum leat_value_status worse(enum leat_value_status a, enum leat_value_status b) {
    return a > b ? a : b;
}

/* Date [T or blank, time [offset]]. */
static enum leat_value_status take_timestamp(struct reader *r, int64_t *micros) {
    int64_t days, time = 0, offset = 0;
    enum leat_value_status status = take_date(r, &days);
    if (status) return status;
    if (more(r)) {
        if (!take(r, 'T') && !take(r, ' ')) return LEAT_VALUE_SYNTAX;
        status = take_time(r, &time);
        if (status <= LEAT_VALUE_LOSSY) status = worse(status, take_offset(r, &offset));
        if (status > LEAT_VALUE_LOSSY) return status;
        if (more(r)) return LEAT_VALUE_SYNTAX;
    }
    int64_t at = days * micros_per_day + time - offset * micros_per_second;
    if (at < leat_days_from_civil(1, 1, 1) * micros_per_day ||
        at >= leat_days_from_civil(YEAR_MAX + 1, 1, 1) * micros_per_day)
        return LEAT_VALUE_YEAR;
    *micros = at;
    return status;
}

enum leat_value_status leat_value_parse_timestamp(const char *text, size_t n, int64_t *micros) {
    struct reader r = {text, text + n};
    return take_timestamp(&r, micros);
}

/* A time after the date is dropped (as DuckDB does), which loses something unless it is midnight. */
enum leat_value_status leat_value_parse_date(const char *text, size_t n, int32_t *days) {
    struct reader r = {text, text + n}, whole = r;
    int64_t date, micros;
    enum leat_value_status status = take_date(&r, &date);
    if (status) return status;
    if (more(&r)) {
        status = take_timestamp(&whole, &micros);
        if (status > LEAT_VALUE_LOSSY) return status;
        if (micros != date * micros_per_day) status = LEAT_VALUE_LOSSY;
    }
    *days = (int32_t)date;
    return status;
}

enum leat_value_status leat_value_parse_time(const char *text, size_t n, int64_t *micros) {
    struct reader r = {text, text + n};
    int64_t time;
    if (is_bare_number(&r)) return LEAT_VALUE_SYNTAX;
    enum leat_value_status status = take_time(&r, &time);
    if (status > LEAT_VALUE_LOSSY) return status;
    if (more(&r)) return LEAT_VALUE_SYNTAX; /* TIME has no zone: an offset would be lost */
    *micros = time;
    return status;
}

struct interval {
    int32_t months, days;
    int64_t micros;
};
struct unit {
    const char *name; /* singular; a plural s is taken too */
    int32_t months, days;
    int64_t micros;
};
static const struct unit units[] = {
    {"year", 12, 0, 0},
    {"y", 12, 0, 0},
    {"yr", 12, 0, 0},
    {"quarter", 3, 0, 0},
    {"month", 1, 0, 0},
    {"mon", 1, 0, 0},
    {"week", 0, 7, 0},
    {"w", 0, 7, 0},
    {"day", 0, 1, 0},
    {"d", 0, 1, 0},
    {"hour", 0, 0, 3600000000LL},
    {"hr", 0, 0, 3600000000LL},
    {"h", 0, 0, 3600000000LL},
    {"minute", 0, 0, 60000000LL},
    {"min", 0, 0, 60000000LL},
    {"m", 0, 0, 60000000LL},
    {"second", 0, 0, 1000000LL},
    {"sec", 0, 0, 1000000LL},
    {"s", 0, 0, 1000000LL},
    {"millisecond", 0, 0, 1000LL},
    {"ms", 0, 0, 1000LL},
    {"msec", 0, 0, 1000LL},
    {"microsecond", 0, 0, 1},
    {"us", 0, 0, 1},
    {"usec", 0, 0, 1},
};

static const struct unit *find_unit(const char *name, size_t n) {
    char lower[16];
    if (!n || n >= sizeof lower) return NULL;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)(name[i] | 0x20);
    for (int pass = 0; pass < 2; pass++) {
        lower[n] = 0;
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (!strcmp(lower, units[i].name)) return &units[i];
        if (lower[n - 1] != 's' || n < 3) return NULL;
        n--;
    }
    return NULL;
}

static bool add_to(struct interval *v, int64_t months, int64_t days, int64_t micros) {
    int64_t m, d;
    m = v->months + months;
    d = v->days + days;
    if (m != (int32_t)m || d != (int32_t)d) return false;
    v->months = (int32_t)m;
    v->days = (int32_t)d;
    return !__builtin_add_overflow(v->micros, micros, &v->micros);
}

/* [-]H...:MM[:SS[.f]] */
static enum leat_value_status take_clock(struct reader *r, int sign, unsigned hours, struct interval *v) {
    unsigned minutes, seconds = 0;
    int64_t fraction = 0;
    if (!take(r, ':') || !take_digits(r, 1, 2, &minutes)) return LEAT_VALUE_SYNTAX;
    if (take(r, ':') && !take_digits(r, 1, 2, &seconds)) return LEAT_VALUE_SYNTAX;
    bool lossy = false;
    if (take(r, '.')) {
        int n = 0;
        for (; more(r) && is_digit(*r->at); r->at++, n++) {
            if (n < 6)
                fraction = fraction * 10 + (*r->at - '0');
            else if (*r->at != '0')
                lossy = true;
        }
        for (; n < 6; n++)
            fraction *= 10;
    }
    if (minutes > 59 || seconds > 59) return LEAT_VALUE_SYNTAX;
    int64_t micros = sign * (((hours * 60LL + minutes) * 60 + seconds) * micros_per_second + fraction);
    if (!add_to(v, 0, 0, micros)) return LEAT_VALUE_RANGE;
    return lossy ? LEAT_VALUE_LOSSY : LEAT_VALUE_OK;
}

/* One "-12 days" or clock. Whole numbers only: a fraction of a month has no exact meaning. */
static enum leat_value_status take_interval_part(struct reader *r, struct interval *v) {
    int sign = 1;
    unsigned number;
    if (next_is(r, '-') || next_is(r, '+')) sign = *r->at++ == '-' ? -1 : 1;
    if (!take_digits(r, 1, 9, &number)) return LEAT_VALUE_SYNTAX;
    if (next_is(r, ':')) return take_clock(r, sign, number, v);
    while (take(r, ' '))
        continue;
    const char *name = r->at;
    while (more(r) && ((*r->at | 0x20) >= 'a' && (*r->at | 0x20) <= 'z'))
        r->at++;
    const struct unit *unit = find_unit(name, (size_t)(r->at - name));
    if (!unit) return LEAT_VALUE_SYNTAX;
    int64_t n = sign * (int64_t)number;
    return add_to(v, n * unit->months, n * unit->days, n * unit->micros) ? LEAT_VALUE_OK : LEAT_VALUE_RANGE;
}

enum leat_value_status leat_value_parse_interval(const char *text, size_t n, void *out) {
    struct reader r = {text, text + n};
    struct interval v = {0};
    enum leat_value_status status = LEAT_VALUE_OK;
    if (!n) return LEAT_VALUE_SYNTAX;
    while (more(&r)) {
        status = worse(status, take_interval_part(&r, &v));
        if (status > LEAT_VALUE_LOSSY) return status;
        while (take(&r, ' ') || take(&r, '\t'))
            continue;
    }
    memcpy(out, &v, sizeof v);
    return status;
}
