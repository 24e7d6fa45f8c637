#include "schedule/civil.h"

int64_t leat_civil_days(int64_t year, int month, int day) {
    /* Years begin in March, so that the leap day is the last day of a year; eras of 400 years repeat exactly. */
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

void leat_civil_date(int64_t days, int64_t *year, int *month, int *day) {
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
    *month = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

int leat_civil_month_days(int64_t year, int month) {
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

int leat_civil_weekday(int64_t days) {
    int64_t weekday = (days + 4) % 7; /* 1970-01-01 was a Thursday */
    return (int)(weekday < 0 ? weekday + 7 : weekday);
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

struct scan {
    const char *at, *end;
};

static bool read_fixed(struct scan *s, int width, int *out) {
    *out = 0;
    for (int i = 0; i < width; i++, s->at++) {
        if (s->at >= s->end || !digit(*s->at))
            return false;
        *out = *out * 10 + (*s->at - '0');
    }
    return true;
}

static bool skip_char(struct scan *s, char c) {
    if (s->at >= s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

bool leat_civil_parse(const char *text, size_t length, int64_t *us_out) {
    struct scan s = {text, text + length};
    int year, month, day, hour = 0, minute = 0, second = 0;
    int64_t fraction_us = 0;
    *us_out = 0;
    if (!read_fixed(&s, 4, &year) || !skip_char(&s, '-') || !read_fixed(&s, 2, &month) || !skip_char(&s, '-') ||
        !read_fixed(&s, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > leat_civil_month_days(year, month))
        return false;
    if (s.at < s.end && (skip_char(&s, ' ') || skip_char(&s, 'T') || skip_char(&s, 't'))) {
        if (!read_fixed(&s, 2, &hour) || !skip_char(&s, ':') || !read_fixed(&s, 2, &minute))
            return false;
        if (skip_char(&s, ':') && !read_fixed(&s, 2, &second))
            return false;
        if (skip_char(&s, '.')) {
            int64_t place = 100000;
            for (; s.at < s.end && digit(*s.at); s.at++, place /= 10)
                fraction_us += (*s.at - '0') * place;
        }
    }
    if (s.at != s.end || hour > 23 || minute > 59 || second > 59)
        return false;
    int64_t seconds = leat_civil_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *us_out = seconds * 1000000 + fraction_us;
    return true;
}
