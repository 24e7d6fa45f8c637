/* Option tables: looking up, parsing by spec, rendering; and the nearest-spelling helper. */
#include "base/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NEAREST_MAX 64
#define HELP_WIDTH 100
#define HELP_INDENT 6

/* ---- names ---- */

static unsigned char fold(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* Optimal string alignment: insertions, deletions, substitutions, swaps of neighbours. */
size_t leat_edit_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAREST_MAX || m > NEAREST_MAX) return SIZE_MAX;
    unsigned short rows[3][NEAREST_MAX + 1];
    unsigned short *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned short)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned short)i;
        for (size_t j = 1; j <= m; j++) {
            int best = last[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]) &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = (unsigned short)best;
        }
        unsigned short *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[m];
}

const char *leat_nearest(const char *name, const char *const *candidates, size_t n) {
    const char *best = NULL, *longer = NULL;
    size_t length = strlen(name), limit = length / 3 > 1 ? length / 3 : 1, best_distance = limit + 1;
    if (length == 0) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (!candidates[i]) continue;
        size_t distance = leat_edit_distance(name, candidates[i]);
        /* One letter of a one-letter name is all of it: no likeness. */
        if (distance < best_distance && (distance < length || distance == 0)) {
            best_distance = distance;
            best = candidates[i];
        }
        if (length >= 3 && strncasecmp(name, candidates[i], length) == 0 &&
            (!longer || strlen(candidates[i]) < strlen(longer)))
            longer = candidates[i];
    }
    return best ? best : longer;
}

const struct leat_option_spec *leat_option_find(const struct leat_option_spec *specs, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(specs[i].name, name) == 0) return &specs[i];
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(specs[i].name);
        bool family = length > 2 && strcmp(specs[i].name + length - 2, ".*") == 0;
        if (family && strncasecmp(specs[i].name, name, length - 1) == 0 && name[length - 1]) return &specs[i];
    }
    return NULL;
}

const char *leat_option_nearest(const struct leat_option_spec *specs, size_t count, const char *name) {
    const char **names = leat_alloc(count * sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = specs[i].name;
    const char *nearest = leat_nearest(name, names, count);
    free(names);
    return nearest;
}

enum leat_status leat_option_unknown(const struct leat_option_spec *specs, size_t count, const char *name,
                                     struct leat_error *err) {
    const char *nearest = leat_option_nearest(specs, count, name);
    if (nearest) return leat_fail(err, LEAT_INVALID, "unknown option '%s'; did you mean '%s'?", name, nearest);
    struct leat_buffer all = {0};
    for (size_t i = 0; i < count; i++)
        leat_putf(&all, "%s%s", i ? ", " : "", specs[i].name);
    leat_fail(err, LEAT_INVALID, "unknown option '%s'; %s%s", name, count ? "there are: " : "there are none here",
              count ? all.data : "");
    leat_buffer_deinit(&all);
    return LEAT_INVALID;
}

/* ---- numbers with units ---- */

struct unit {
    const char *name;
    int64_t factor;
};
#define SECOND_US ((int64_t)1000000)
static const struct unit interval_units[] = {
    {"us", 1},
    {"microsecond", 1},
    {"microseconds", 1},
    {"usec", 1},
    {"ms", 1000},
    {"millisecond", 1000},
    {"milliseconds", 1000},
    {"msec", 1000},
    {"s", SECOND_US},
    {"second", SECOND_US},
    {"seconds", SECOND_US},
    {"sec", SECOND_US},
    {"secs", SECOND_US},
    {"m", 60 * SECOND_US},
    {"minute", 60 * SECOND_US},
    {"minutes", 60 * SECOND_US},
    {"min", 60 * SECOND_US},
    {"mins", 60 * SECOND_US},
    {"h", 3600 * SECOND_US},
    {"hour", 3600 * SECOND_US},
    {"hours", 3600 * SECOND_US},
    {"hr", 3600 * SECOND_US},
    {"d", 86400 * SECOND_US},
    {"day", 86400 * SECOND_US},
    {"days", 86400 * SECOND_US},
    {"w", 7 * 86400 * SECOND_US},
    {"week", 7 * 86400 * SECOND_US},
    {"weeks", 7 * 86400 * SECOND_US},
};
static const struct unit size_units[] = {
    {"b", 1},
    {"byte", 1},
    {"bytes", 1},
    {"kb", 1000},
    {"mb", 1000000},
    {"gb", 1000000000},
    {"tb", 1000000000000},
    {"kib", (int64_t)1 << 10},
    {"mib", (int64_t)1 << 20},
    {"gib", (int64_t)1 << 30},
    {"tib", (int64_t)1 << 40},
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

struct scanner {
    const char *at;
    const char *whole; /* the text as given, for messages */
};

static void skip_spaces(struct scanner *s) {
    while (*s->at == ' ' || *s->at == '\t' || *s->at == '\n')
        s->at++;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "1.5" as 15 and scale 10. False: no number here, or more than 18 digits. */
static bool scan_number(struct scanner *s, int64_t *digits, int64_t *scale) {
    int count = 0;
    bool fraction = false, any = false;
    *digits = 0;
    *scale = 1;
    for (;; s->at++) {
        if (*s->at == '.' && !fraction && is_digit(s->at[1])) {
            fraction = true;
            continue;
        }
        if (!is_digit(*s->at)) return any;
        if (++count > 18) return false;
        any = true;
        *digits = *digits * 10 + (*s->at - '0');
        if (fraction) *scale *= 10;
    }
}

static size_t scan_word(struct scanner *s, char word[32]) {
    size_t length = 0;
    for (; is_letter(*s->at); s->at++)
        if (length < 31) word[length++] = *s->at;
    word[length] = '\0';
    return length;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *word) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(units[i].name, word) == 0) return &units[i];
    return NULL;
}

static enum leat_status fail_unit(struct scanner *s, const struct unit *units, size_t count, const char *what,
                                  const char *word, struct leat_error *err) {
    if (strncasecmp(word, "month", 5) == 0 || strncasecmp(word, "year", 4) == 0 || strncasecmp(word, "quarter", 7) == 0)
        return leat_fail(err, LEAT_INVALID, "'%s' is not %s of fixed length: months and years differ; write it in days",
                         s->whole, what);
    const char *names[COUNT(interval_units)];
    for (size_t i = 0; i < count; i++)
        names[i] = units[i].name;
    const char *nearest = leat_nearest(word, names, count);
    if (nearest)
        return leat_fail(err, LEAT_INVALID, "'%s' is not %s: unknown unit '%s'; did you mean '%s'?", s->whole, what,
                         word, nearest);
    return leat_fail(err, LEAT_INVALID, "'%s' is not %s: unknown unit '%s'", s->whole, what, word);
}

/* One "number unit" pair added to *sum; a number without unit counts `bare` (0: not allowed, unless it is 0). */
static enum leat_status scan_quantity(struct scanner *s, const struct unit *units, size_t count, int64_t bare,
                                      const char *what, const char *example, __int128 *sum, struct leat_error *err) {
    int64_t digits, scale;
    if (!scan_number(s, &digits, &scale))
        return leat_fail(err, LEAT_INVALID, "'%s' is not %s; write for example '%s'", s->whole, what, example);
    skip_spaces(s);
    char word[32];
    int64_t factor = bare;
    if (scan_word(s, word) > 0) {
        const struct unit *unit = find_unit(units, count, word);
        if (!unit) return fail_unit(s, units, count, what, word, err);
        factor = unit->factor;
    } else if (factor == 0 && digits != 0) {
        return leat_fail(err, LEAT_INVALID, "'%s' has no unit; write for example '%s'", s->whole, example);
    }
    __int128 product = (__int128)digits * factor;
    if (product % scale != 0) return leat_fail(err, LEAT_INVALID, "'%s' is finer than the smallest unit", s->whole);
    *sum += product / scale;
    skip_spaces(s);
    return LEAT_OK;
}

/* Takes the SQL spelling apart: the word INTERVAL and the quotes go; '1' HOUR and '1 hour' mean the same. */
static bool unquote_interval(const char *text, char out[128]) {
    size_t length = 0, quotes = 0;
    if (strncasecmp(text, "interval", 8) == 0 && !is_letter(text[8])) text += 8;
    for (; *text; text++) {
        if (length == 127) return false;
        if (*text == '\'') quotes++;
        out[length++] = *text == '\'' ? ' ' : *text;
    }
    out[length] = '\0';
    return quotes == 0 || quotes == 2;
}

enum leat_status leat_parse_interval(const char *text, int64_t *out_us, struct leat_error *err) {
    static const char example[] = "90 seconds";
    struct scanner trimmed = {.at = text};
    skip_spaces(&trimmed);
    char plain[128];
    *out_us = 0;
    if (!unquote_interval(trimmed.at, plain))
        return leat_fail(err, LEAT_INVALID, "'%.100s' is not an interval; write for example '%s'", text, example);
    struct scanner s = {.at = plain, .whole = text};
    skip_spaces(&s);
    bool negative = *s.at == '-';
    if (negative) s.at++;
    __int128 sum = 0;
    do {
        enum leat_status status =
            scan_quantity(&s, interval_units, COUNT(interval_units), 0, "an interval", example, &sum, err);
        if (status != LEAT_OK) return status;
        if (sum > INT64_MAX) return leat_fail(err, LEAT_INVALID, "'%s' is longer than leat can count", text);
    } while (*s.at);
    *out_us = negative ? -(int64_t)sum : (int64_t)sum;
    return LEAT_OK;
}

enum leat_status leat_parse_size(const char *text, int64_t *out_bytes, struct leat_error *err) {
    struct scanner s = {.at = text, .whole = text};
    skip_spaces(&s);
    __int128 sum = 0;
    *out_bytes = 0;
    enum leat_status status = scan_quantity(&s, size_units, COUNT(size_units), 1, "a size", "64 MiB", &sum, err);
    if (status != LEAT_OK) return status;
    if (*s.at || sum > INT64_MAX)
        return leat_fail(err, LEAT_INVALID, "'%s' is not a size; write for example '64 MiB'", text);
    *out_bytes = (int64_t)sum;
    return LEAT_OK;
}

enum leat_status leat_parse_int(const char *text, int64_t *out, struct leat_error *err) {
    struct scanner s = {.at = text, .whole = text};
    skip_spaces(&s);
    bool negative = *s.at == '-';
    if (negative || *s.at == '+') s.at++;
    const char *first = s.at;
    __int128 value = 0;
    *out = 0;
    for (; is_digit(*s.at) && value <= INT64_MAX; s.at++)
        value = value * 10 + (*s.at - '0');
    bool empty = s.at == first;
    skip_spaces(&s);
    if (negative) value = -value;
    if (empty || *s.at || value > INT64_MAX || value < INT64_MIN)
        return leat_fail(err, LEAT_INVALID, "'%s' is not a whole number", text);
    *out = (int64_t)value;
    return LEAT_OK;
}

void leat_put_interval(struct leat_buffer *b, int64_t us) {
    static const struct unit units[] = {
        {"day", 86400 * SECOND_US},
        {"hour", 3600 * SECOND_US},
        {"minute", 60 * SECOND_US},
        {"second", SECOND_US},
        {"ms", 1000},
        {"us", 1},
    };
    for (size_t i = 0; i < COUNT(units); i++) {
        if (us % units[i].factor != 0 || (us == 0 && i < 3)) continue;
        int64_t n = us / units[i].factor;
        leat_putf(b, "%lld %s%s", (long long)n, units[i].name, i < 4 && n != 1 ? "s" : "");
        return;
    }
}

void leat_put_size(struct leat_buffer *b, int64_t bytes) {
    static const struct unit units[] = {
        {"TiB", (int64_t)1 << 40}, {"GiB", (int64_t)1 << 30}, {"MiB", (int64_t)1 << 20}, {"KiB", (int64_t)1 << 10}};
    for (size_t i = 0; i < COUNT(units) && bytes != 0; i++) {
        if (bytes % units[i].factor != 0) continue;
        leat_putf(b, "%lld %s", (long long)(bytes / units[i].factor), units[i].name);
        return;
    }
    leat_putf(b, "%lld bytes", (long long)bytes);
}

/* ---- values by spec ---- */

static void put_number(struct leat_buffer *b, const struct leat_option_spec *spec, int64_t number) {
    if (spec->type == LEAT_OPTION_INTERVAL)
        leat_put_interval(b, number);
    else if (spec->type == LEAT_OPTION_SIZE)
        leat_put_size(b, number);
    else
        leat_putf(b, "%lld%s%s", (long long)number, spec->unit ? " " : "", spec->unit ? spec->unit : "");
}

static bool is_number(const struct leat_option_spec *spec) {
    return spec->type == LEAT_OPTION_INT || spec->type == LEAT_OPTION_REAL || spec->type == LEAT_OPTION_SIZE || spec->type == LEAT_OPTION_INTERVAL;
}

/* Bounds are given as they are typed, without a unit of their own. */
static bool is_plain(const struct leat_option_spec *spec) {
    return spec->type == LEAT_OPTION_INT || spec->type == LEAT_OPTION_REAL;
}

/* False when any value goes. */
static bool bounds_of(const struct leat_option_spec *spec, int64_t *min, int64_t *max) {
    *min = spec->min;
    *max = spec->max;
    if (*max < *min) *max = INT64_MAX;
    if (spec->min != 0 || spec->max != 0) return true;
    *min = is_plain(spec) ? INT64_MIN : 0;
    *max = INT64_MAX;
    return !is_plain(spec);
}

static enum leat_status check_bounds(const struct leat_option_spec *spec, int64_t number, struct leat_error *err) {
    int64_t min, max;
    bounds_of(spec, &min, &max);
    if (number >= min && number <= max) return LEAT_OK;
    struct leat_buffer text = {0};
    put_number(&text, spec, number);
    leat_put(&text, number < min ? " is below the least allowed, " : " is above the most allowed, ");
    put_number(&text, spec, number < min ? min : max);
    leat_fail(err, LEAT_INVALID, "%s", text.data);
    leat_buffer_deinit(&text);
    return LEAT_INVALID;
}

static enum leat_status parse_real(const struct leat_option_spec *spec, const char *text, double *out, struct leat_error *err) {
    int64_t min, max;
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out) || strpbrk(text, "xXnN \t"))
        return leat_fail(err, LEAT_INVALID, "'%s' is not a number such as 2.5", text);
    if (!bounds_of(spec, &min, &max)) return LEAT_OK;
    if (*out < (double)min) return leat_fail(err, LEAT_INVALID, "%s is below the least allowed, %lld", text, (long long)min);
    if (*out > (double)max) return leat_fail(err, LEAT_INVALID, "%s is above the most allowed, %lld", text, (long long)max);
    return LEAT_OK;
}

static enum leat_status parse_bool(const char *text, struct leat_option_value *out, struct leat_error *err) {
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};
    for (size_t i = 0; i < COUNT(words); i++)
        if (strcasecmp(words[i], text) == 0) {
            out->number = i % 2;
            return LEAT_OK;
        }
    return leat_fail(err, LEAT_INVALID, "'%s' is neither true nor false", text);
}

static enum leat_status parse_enum(const struct leat_option_spec *spec, const char *text, struct leat_option_value *out,
                                   struct leat_error *err) {
    size_t count = 0;
    for (; spec->choices[count]; count++)
        if (strcasecmp(spec->choices[count], text) == 0) {
            out->number = (int64_t)count;
            out->text = spec->choices[count];
            return LEAT_OK;
        }
    struct leat_buffer all = {0};
    for (size_t i = 0; i < count; i++)
        leat_putf(&all, "%s'%s'", i == 0 ? "" : i + 1 == count ? " or " : ", ", spec->choices[i]);
    const char *nearest = leat_nearest(text, spec->choices, count);
    if (nearest)
        leat_fail(err, LEAT_INVALID, "'%s' is not known; did you mean '%s'? (%s)", text, nearest, all.data);
    else
        leat_fail(err, LEAT_INVALID, "'%s' is not known; write %s", text, all.data);
    leat_buffer_deinit(&all);
    return LEAT_INVALID;
}

enum leat_status leat_option_parse(const struct leat_option_spec *spec, const char *text, struct leat_option_value *out,
                                   struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    *out = (struct leat_option_value){0};
    switch (spec->type) {
    case LEAT_OPTION_INT:
        status = leat_parse_int(text, &out->number, err);
        break;
    case LEAT_OPTION_REAL:
        status = parse_real(spec, text, &out->real, err);
        break;
    case LEAT_OPTION_SIZE:
        status = leat_parse_size(text, &out->number, err);
        break;
    case LEAT_OPTION_INTERVAL:
        status = leat_parse_interval(text, &out->number, err);
        break;
    case LEAT_OPTION_BOOL:
        status = parse_bool(text, out, err);
        break;
    case LEAT_OPTION_ENUM:
        status = parse_enum(spec, text, out, err);
        break;
    case LEAT_OPTION_PATH:
        if (!*text) status = leat_fail(err, LEAT_INVALID, "an empty path");
        out->text = text;
        break;
    case LEAT_OPTION_TEXT:
    case LEAT_OPTION_SECRET:
        out->text = text;
        break;
    }
    if (status == LEAT_OK && is_number(spec) && spec->type != LEAT_OPTION_REAL) status = check_bounds(spec, out->number, err);
    if (status != LEAT_OK) {
        *out = (struct leat_option_value){0};
        leat_prepend(err, "option '%s'", spec->name);
    }
    return status;
}

struct leat_option_value leat_option_default(const struct leat_option_spec *spec) {
    struct leat_option_value value = {0};
    struct leat_error err;
    if (spec->default_text && leat_option_parse(spec, spec->default_text, &value, &err) != LEAT_OK)
        leat_panic("the default of an option table: %s", err.text);
    return value;
}

/* ---- rendering ---- */

static const char *type_word(const struct leat_option_spec *spec) {
    switch (spec->type) {
    case LEAT_OPTION_INT:
    case LEAT_OPTION_REAL:
        return "number";
    case LEAT_OPTION_SIZE:
        return "size";
    case LEAT_OPTION_INTERVAL:
        return "interval";
    case LEAT_OPTION_BOOL:
        return "true | false";
    case LEAT_OPTION_ENUM:
        return "choice";
    case LEAT_OPTION_TEXT:
        return "text";
    case LEAT_OPTION_PATH:
        return "path";
    case LEAT_OPTION_SECRET:
        return "secret";
    }
    return "text";
}

static void put_type(struct leat_buffer *b, const struct leat_option_spec *spec, const char *bar) {
    if (spec->type == LEAT_OPTION_ENUM) {
        for (size_t i = 0; spec->choices[i]; i++)
            leat_putf(b, "%s%s", i ? bar : "", spec->choices[i]);
    } else if (spec->type == LEAT_OPTION_BOOL) {
        leat_putf(b, "true%sfalse", bar);
    } else if (is_plain(spec) && spec->unit) {
        leat_put(b, spec->unit);
    } else {
        leat_put(b, type_word(spec));
    }
}

/* "from 1 to 10 rows", "at least 1 second"; nothing when any value goes. */
static void put_range(struct leat_buffer *b, const struct leat_option_spec *spec) {
    int64_t min, max;
    if (!is_number(spec) || (spec->min == 0 && spec->max == 0)) return;
    bounds_of(spec, &min, &max);
    if (max == INT64_MAX && min == INT64_MIN) return;
    leat_put(b, max == INT64_MAX ? "at least " : min == INT64_MIN ? "at most " : "from ");
    bool both = min != INT64_MIN && max != INT64_MAX;
    if (both && is_plain(spec))
        leat_putf(b, "%lld", (long long)min); /* "from 1 to 10 rows" */
    else if (min != INT64_MIN)
        put_number(b, spec, min);
    if (both) leat_put(b, " to ");
    if (max != INT64_MAX) put_number(b, spec, max);
}

static void put_wrapped(struct leat_buffer *out, const char *text) {
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > 0 && column + 1 + word > HELP_WIDTH) {
            leat_put(out, "\n");
            column = 0;
        }
        if (column == 0) {
            leat_putf(out, "%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        } else {
            leat_put(out, " ");
            column++;
        }
        leat_putn(out, text, word);
        column += word;
        text += word;
        while (*text == ' ')
            text++;
    }
    leat_put(out, "\n");
}

/* As it is typed: --max-step-rows ROWS; a switch needs no value. */
static void put_option(struct leat_buffer *out, const struct leat_option_spec *spec) {
    leat_put(out, "  --");
    for (const char *c = spec->name; *c; c++)
        leat_putn(out, *c == '_' ? "-" : c, 1);
    if (spec->type != LEAT_OPTION_BOOL) {
        leat_put(out, " <");
        put_type(out, spec, " | ");
        leat_put(out, ">");
    }
    leat_put(out, "\n");
}

void leat_options_help(const struct leat_option_spec *specs, size_t count, struct leat_buffer *out) {
    struct leat_buffer line = {0};
    for (size_t i = 0; i < count; i++) {
        const struct leat_option_spec *spec = &specs[i];
        put_option(out, spec);
        leat_buffer_reset(&line);
        leat_put(&line, spec->prose ? spec->prose : "");
        if (spec->required) leat_put(&line, " Required.");
        bool worth_saying = spec->default_text && *spec->default_text && spec->type != LEAT_OPTION_SECRET && spec->type != LEAT_OPTION_BOOL;
        if (worth_saying)
            leat_putf(&line, spec->type == LEAT_OPTION_PATH ? " Default: '%s'." : " Default: %s.", spec->default_text);
        struct leat_buffer range = {0};
        put_range(&range, spec);
        if (range.length) leat_putf(&line, " Allowed: %s.", range.data);
        leat_buffer_deinit(&range);
        put_wrapped(out, line.data);
    }
    leat_buffer_deinit(&line);
}

/* A bar would end the table's cell. */
static void put_cell(struct leat_buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|') leat_put(out, "\\");
        leat_putn(out, *text == '\n' ? " " : text, 1);
    }
}

void leat_options_markdown(const struct leat_option_spec *specs, size_t count, struct leat_buffer *out) {
    leat_put(out, "| option | value | default | allowed | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        const struct leat_option_spec *spec = &specs[i];
        struct leat_buffer range = {0};
        put_range(&range, spec);
        leat_putf(out, "| `%s` | ", spec->name);
        put_type(out, spec, ", ");
        leat_put(out, " | ");
        if (spec->required)
            leat_put(out, "required");
        else if (spec->default_text && spec->type != LEAT_OPTION_SECRET && *spec->default_text) {
            leat_put(out, "`");
            put_cell(out, spec->default_text);
            leat_put(out, "`");
        }
        leat_putf(out, " | %s | ", range.length ? range.data : "");
        put_cell(out, spec->prose ? spec->prose : "");
        leat_put(out, " |\n");
        leat_buffer_deinit(&range);
    }
}
