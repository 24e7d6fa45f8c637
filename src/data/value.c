/* Numbers, booleans, UUID and BLOB from text. See value.h; times are in value_time.c. */
#include "data/value.h"

#include <math.h>
#include <stdlib.h>

typedef unsigned __int128 u128;
#define U128_MAX ((u128)-1)

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void trim(const char **text, size_t *n) {
    while (*n && is_space(**text))
        ++*text, --*n;
    while (*n && is_space((*text)[*n - 1]))
        --*n;
}

/* Compares with a lower-case word, ASCII case aside. */
static bool is_word(const char *text, size_t n, const char *word) {
    for (size_t i = 0; i < n; i++)
        if (!word[i] || (text[i] | 0x20) != word[i]) return false;
    return !word[n];
}

/* [sign] digits [. digits] [e [sign] digits], at least one digit before the exponent. */
struct number {
    bool negative;
    const char *digits; /* includes the point, if any */
    size_t length;      /* of `digits` */
    size_t whole;       /* digits before the point */
    size_t count;       /* digits in all */
    int64_t exponent;   /* clamped: enough for any value a type can hold */
};
enum { EXPONENT_MAX = 1 << 30 };

static bool scan_number(const char *text, size_t n, struct number *out) {
    const char *end = text + n;
    *out = (struct number){0};
    if (text < end && (*text == '-' || *text == '+')) out->negative = *text++ == '-';
    out->digits = text;
    bool point = false;
    for (; text < end && (is_digit(*text) || (*text == '.' && !point)); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        out->count++;
        if (!point) out->whole++;
    }
    out->length = (size_t)(text - out->digits);
    if (!out->count) return false;
    if (text == end) return true;
    if ((*text | 0x20) != 'e' || ++text == end) return false;
    bool negative = false;
    if (*text == '-' || *text == '+') negative = *text++ == '-';
    if (text == end) return false;
    for (; text < end; text++) {
        if (!is_digit(*text)) return false;
        if (out->exponent < EXPONENT_MAX) out->exponent = out->exponent * 10 + (*text - '0');
    }
    if (negative) out->exponent = -out->exponent;
    return true;
}

/* |number| * 10^scale as an integer. *dropped: a digit that is not 0 fell away; *round_up: the first one was 5 or
 * more, which is all that rounding half away from zero needs. False: beyond 128 bits. */
static bool scaled_integer(const struct number *number, unsigned scale, u128 *out, bool *dropped, bool *round_up) {
    int64_t keep = (int64_t)number->whole + number->exponent + scale; /* leading digits that stay */
    int64_t index = 0;
    u128 value = 0;
    *dropped = *round_up = false;
    for (size_t i = 0; i < number->length; i++) {
        if (number->digits[i] == '.') continue;
        unsigned digit = (unsigned)(number->digits[i] - '0');
        if (index < keep) {
            if (__builtin_mul_overflow(value, (u128)10, &value) || __builtin_add_overflow(value, (u128)digit, &value))
                return false;
        } else {
            if (index == keep && digit >= 5) *round_up = true;
            if (digit) *dropped = true;
        }
        index++;
    }
    for (; value && index < keep; index++) {
        if (__builtin_mul_overflow(value, (u128)10, &value)) return false;
    }
    *out = value;
    return true;
}

static u128 power_of_10(unsigned exponent) {
    u128 p = 1;
    while (exponent--)
        p *= 10;
    return p;
}

static void store_integer(void *out, size_t size, u128 value) {
    memcpy(out, &value, size);
} /* little-endian */

/* Nothing but up to 18 digits and a minus: the usual case by far. */
static bool plain_integer(const char *text, size_t n, int64_t *out) {
    bool negative = n && *text == '-';
    int64_t v = 0;
    if (n == negative || n > 18) return false;
    for (size_t i = negative; i < n; i++) {
        if (!is_digit(text[i])) return false;
        v = v * 10 + (text[i] - '0');
    }
    *out = negative ? -v : v;
    return true;
}

static enum leat_value_status parse_integer(struct leat_type type, const char *text, size_t n, void *out) {
    int64_t plain;
    bool usual = type.kind == LEAT_BIGINT || type.kind == LEAT_INTEGER;
    if (usual && plain_integer(text, n, &plain) && (type.kind == LEAT_BIGINT || plain == (int32_t)plain)) {
        memcpy(out, &plain, type.kind == LEAT_BIGINT ? 8 : 4);
        return LEAT_VALUE_OK;
    }
    struct number number;
    u128 value;
    bool dropped, round_up, is_unsigned = false;
    if (!scan_number(text, n, &number)) return LEAT_VALUE_SYNTAX;
    if (!scaled_integer(&number, 0, &value, &dropped, &round_up)) return LEAT_VALUE_RANGE;
    if (dropped) return LEAT_VALUE_FRACTION;
    switch ((enum leat_kind)type.kind) {
    case LEAT_UTINYINT:
    case LEAT_USMALLINT:
    case LEAT_UINTEGER:
    case LEAT_UBIGINT:
    case LEAT_UHUGEINT:
        is_unsigned = true;
        break;
    default:
        break;
    }
    size_t size = leat_type_size(type);
    unsigned bits = (unsigned)size * 8;
    u128 limit = is_unsigned ? (bits == 128 ? U128_MAX : ((u128)1 << bits) - 1) : ((u128)1 << (bits - 1)) - 1;
    if (number.negative) limit = is_unsigned ? 0 : limit + 1;
    if (value > limit || (bits == 128 && value >= power_of_10(38))) return LEAT_VALUE_RANGE;
    store_integer(out, size, number.negative ? -value : value);
    return LEAT_VALUE_OK;
}

static enum leat_value_status parse_decimal(struct leat_type type, const char *text, size_t n, void *out) {
    struct number number;
    u128 value;
    bool dropped, round_up;
    if (!scan_number(text, n, &number)) return LEAT_VALUE_SYNTAX;
    if (!scaled_integer(&number, type.scale, &value, &dropped, &round_up)) return LEAT_VALUE_RANGE;
    u128 bound = power_of_10(type.width);
    if (value >= bound) return LEAT_VALUE_RANGE;
    value += round_up;
    if (value >= bound) return LEAT_VALUE_RANGE;
    store_integer(out, leat_type_size(type), number.negative ? -value : value);
    return dropped ? LEAT_VALUE_LOSSY : LEAT_VALUE_OK;
}

/* DuckDB takes these, with a sign, for floats. */
static bool special_float(const char *text, size_t n, double *out) {
    bool negative = n && *text == '-';
    if (n && (*text == '-' || *text == '+')) text++, n--;
    if (is_word(text, n, "nan"))
        *out = NAN;
    else if (is_word(text, n, "inf") || is_word(text, n, "infinity"))
        *out = negative ? -INFINITY : INFINITY;
    else
        return false;
    return true;
}

/* Digits as an integer when they fit 64 bits; the point is not counted. */
static bool mantissa_of(const struct number *number, uint64_t *out) {
    if (number->count > 19) return false;
    uint64_t m = 0;
    for (size_t i = 0; i < number->length; i++)
        if (number->digits[i] != '.') m = m * 10 + (uint64_t)(number->digits[i] - '0');
    *out = m;
    return true;
}

/* strtod needs a NUL; the text was checked, so that hexadecimal and locale cannot matter. */
static double strtod_copy(const char *text, size_t n, bool single) {
    char small[128], *copy = n < sizeof small ? small : leat_realloc(NULL, n + 1);
    memcpy(copy, text, n);
    copy[n] = 0;
    double v = single ? (double)strtof(copy, NULL) : strtod(copy, NULL);
    if (copy != small) free(copy);
    return v;
}

/* Exact when the mantissa and the power of ten are floats themselves: one rounding (Clinger, 1990). */
static enum leat_value_status parse_double(const char *text, size_t n, double *out) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct number number;
    uint64_t m;
    if (!scan_number(text, n, &number)) return special_float(text, n, out) ? LEAT_VALUE_OK : LEAT_VALUE_SYNTAX;
    int64_t e = number.exponent - (int64_t)(number.count - number.whole);
    if (mantissa_of(&number, &m) && m <= 1ull << 53 && e >= -22 && e <= 22) {
        double v = e < 0 ? (double)m / powers[-e] : (double)m * powers[e];
        *out = number.negative ? -v : v;
        return LEAT_VALUE_OK;
    }
    double v = strtod_copy(text, n, false);
    if (isinf(v)) return LEAT_VALUE_RANGE;
    *out = v;
    return LEAT_VALUE_OK;
}

static enum leat_value_status parse_float(const char *text, size_t n, float *out) {
    struct number number;
    double special;
    if (scan_number(text, n, &number)) {
        float v = (float)strtod_copy(text, n, true);
        if (isinf(v)) return LEAT_VALUE_RANGE;
        *out = v;
        return LEAT_VALUE_OK;
    }
    if (!special_float(text, n, &special)) return LEAT_VALUE_SYNTAX;
    *out = (float)special;
    return LEAT_VALUE_OK;
}

static enum leat_value_status parse_boolean(const char *text, size_t n, void *out) {
    static const char *const yes[] = {"true", "t", "yes", "y"}, *const no[] = {"false", "f", "no", "n"};
    uint8_t value = 2;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (is_word(text, n, yes[i])) value = 1;
        if (is_word(text, n, no[i])) value = 0;
    }
    if (n == 1 && (*text == '0' || *text == '1')) value = *text == '1';
    if (value == 2) return LEAT_VALUE_SYNTAX;
    memcpy(out, &value, 1);
    return LEAT_VALUE_OK;
}

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum leat_value_status parse_uuid(const char *text, size_t n, void *out) {
    if (n >= 2 && text[0] == '{' && text[n - 1] == '}') text++, n -= 2;
    u128 value = 0;
    int digits = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '-' && i && i + 1 < n) continue;
        int h = hex_value(text[i]);
        if (h < 0 || digits == 32) return LEAT_VALUE_SYNTAX;
        value = value << 4 | (unsigned)h;
        digits++;
    }
    if (digits != 32) return LEAT_VALUE_SYNTAX;
    value ^= (u128)1 << 127; /* so that signed order is text order */
    memcpy(out, &value, 16);
    return LEAT_VALUE_OK;
}

/* DuckDB's spelling: ASCII as it is, any byte as \xHH. */
static enum leat_value_status parse_blob(const char *text, size_t n, void *out, struct leat_arena *arena) {
    char small[LEAT_STRING_INLINE], *bytes = n <= sizeof small ? small : leat_arena_alloc(arena, n);
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] >= 0x80) return LEAT_VALUE_SYNTAX;
        if (text[i] != '\\') {
            bytes[length++] = text[i];
            continue;
        }
        if (n - i < 4 || text[i + 1] != 'x') return LEAT_VALUE_SYNTAX;
        int high = hex_value(text[i + 2]), low = hex_value(text[i + 3]);
        if (high < 0 || low < 0) return LEAT_VALUE_SYNTAX;
        bytes[length++] = (char)(high << 4 | low);
        i += 3;
    }
    if (length > UINT32_MAX) return LEAT_VALUE_RANGE;
    struct leat_string s = leat_string_of(bytes, (uint32_t)length);
    memcpy(out, &s, sizeof s);
    return LEAT_VALUE_OK;
}

enum leat_value_status leat_value_parse(struct leat_type type, const char *text, size_t n, void *out,
                                        struct leat_arena *arena) {
    switch ((enum leat_kind)type.kind) {
    case LEAT_BOOLEAN:
        return parse_boolean(text, n, out);
    case LEAT_UUID:
        return parse_uuid(text, n, out);
    case LEAT_BLOB:
        return parse_blob(text, n, out, arena);
    default:
        break;
    }
    trim(&text, &n);
    union {
        float f;
        double d;
        int32_t days;
        int64_t micros;
    } v;
    enum leat_value_status status;
    switch ((enum leat_kind)type.kind) {
    case LEAT_DECIMAL:
        return parse_decimal(type, text, n, out);
    case LEAT_INTERVAL:
        return leat_value_parse_interval(text, n, out);
    case LEAT_FLOAT:
        status = parse_float(text, n, &v.f);
        break;
    case LEAT_DOUBLE:
        status = parse_double(text, n, &v.d);
        break;
    case LEAT_DATE:
        status = leat_value_parse_date(text, n, &v.days);
        break;
    case LEAT_TIME:
        status = leat_value_parse_time(text, n, &v.micros);
        break;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        status = leat_value_parse_timestamp(text, n, &v.micros);
        break;
    case LEAT_NESTED:
    case LEAT_VARCHAR:
        return LEAT_VALUE_SYNTAX;
    default:
        return parse_integer(type, text, n, out);
    }
    if (status <= LEAT_VALUE_LOSSY) memcpy(out, &v, leat_type_size(type));
    return status;
}

const char *leat_value_reason(enum leat_value_status status, struct leat_type type, struct leat_arena *arena) {
    char name[32];
    leat_type_print(type, name);
    switch (status) {
    case LEAT_VALUE_OK:
    case LEAT_VALUE_LOSSY:
        return "";
    case LEAT_VALUE_SYNTAX:
        return leat_arena_printf(arena, "is not %s %s", strchr("AEIO", name[0]) ? "an" : "a", name);
    case LEAT_VALUE_RANGE:
        return leat_arena_printf(arena, "is out of range for %s", name);
    case LEAT_VALUE_FRACTION:
        return leat_arena_printf(arena, "has a fraction, which %s cannot hold; declare DECIMAL or DOUBLE", name);
    case LEAT_VALUE_EPOCH:
        return leat_arena_printf(
            arena, "is a number, not a %s; declare the column BIGINT and convert with make_timestamp or epoch_ms",
            name);
    case LEAT_VALUE_YEAR:
        return leat_arena_printf(arena, "is outside the years 0001 to 9999 of %s", name);
    }
    return "";
}
