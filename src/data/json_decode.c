/* The schema-directed JSON decoder.
 *
 * Records of one source look alike: after the value of one key stand the same bytes up to the next value, such as
 * `,"status":"`. Each key (and the record's start) remembers the two likeliest such texts and the column that each
 * leads to, so that a comparison of at most 32 bytes replaces looking for the comma, white space, the key, the colon
 * and the opening quote. Keys that are no column are remembered the same way, up to UNKNOWN_KEYS of them. A text that
 * is not remembered is read the slow way and then remembered; the second candidate becomes the first after three hits.
 * Values have a fast path per kind of column that takes the usual spelling only; everything else goes to slow_value,
 * which takes any.
 *
 * Reading beyond the record: the byte after it is a control character, which no pattern of a fast path crosses
 * unnoticed: after each remembered text the place is compared with the record's end. */
#include "data/decode_internal.h"
#include "data/json_scan.h"
#include "data/json_text.h"
#include "data/utf8.h"

#include <stdlib.h>

enum { PROMOTE_AFTER_HITS = 3, CANDIDATES = 2, UNKNOWN_KEYS = 32 };

/* What is done with a value: the fast path of a column, none, or nobody wants it; or the record ends. */
enum lane {
    LANE_STRING,
    LANE_INT64,
    LANE_INT32,
    LANE_DECIMAL64,
    LANE_TIMESTAMP,
    LANE_DOUBLE,
    LANE_BOOLEAN,
    LANE_SLOW,
    LANE_SKIP,
    LANE_END
};

/* What stands between a value and the next, and what that is. */
struct transition {
    unsigned char bytes[LEAT_PATTERN_BYTES];
    uint32_t mask;
    uint32_t column;         /* LANE_STRING to LANE_SLOW */
    struct transition *next; /* what stands behind the value: CANDIDATES */
    uint8_t length;          /* 0: unused; the mask of an unused one matches nothing */
    uint8_t hits;
    uint8_t lane;
    bool quoted; /* ends with the value's opening quote */
};

struct field {
    enum lane lane;
    bool takes_quote; /* the fast path wants a string */
    bool not_null;
    unsigned scale;
    uint64_t limit; /* LANE_DECIMAL64: unscaled values are below it */
    struct leat_type type;
};

struct leat_json_decoder {
    size_t field_count;
    struct field *fields;
    struct transition (*after)[CANDIDATES]; /* [0] start, [1 + column], [1 + field_count + k] unknown key k */
    struct unknown_key {
        char *name;
        size_t length;
    } unknown[UNKNOWN_KEYS]; /* k = UNKNOWN_KEYS: any other */
    size_t unknown_count;
    uint8_t *seen;     /* per column: does the current record have it? */
    size_t seen_count; /* how many it has */
    uint64_t record;
    char date[10]; /* the last date of a timestamp, and what it means */
    int64_t date_us;
    uint64_t *failed; /* per column: the last record where its value did not fit */
    size_t failed_count;
    char *failure; /* reason of the first of them */
    size_t failure_column;
};

static enum lane lane_of(struct leat_type t) {
    switch ((enum leat_kind)t.kind) {
    case LEAT_VARCHAR:
        return LANE_STRING;
    case LEAT_BIGINT:
        return LANE_INT64;
    case LEAT_INTEGER:
        return LANE_INT32;
    case LEAT_DECIMAL:
        return leat_type_size(t) == 8 ? LANE_DECIMAL64 : LANE_SLOW;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        return LANE_TIMESTAMP;
    case LEAT_DOUBLE:
        return LANE_DOUBLE;
    case LEAT_BOOLEAN:
        return LANE_BOOLEAN;
    default:
        return LANE_SLOW;
    }
}

enum leat_status leat_json_open(struct leat_decoder *d, struct leat_error *err) {
    (void)err;
    struct leat_json_decoder *j = leat_alloc(sizeof *j);
    size_t n = d->schema.field_count;
    d->json = j;
    j->field_count = n;
    j->fields = leat_alloc((n + 1) * sizeof *j->fields);
    j->seen = leat_alloc(n + 1);
    j->failed = leat_alloc((n + 1) * sizeof *j->failed);
    for (size_t i = 0; i < n; i++) {
        struct leat_type type = d->schema.fields[i].type;
        struct field *f = &j->fields[i];
        *f = (struct field){.lane = lane_of(type), .type = type, .not_null = d->schema.fields[i].not_null};
        f->takes_quote = f->lane == LANE_STRING || f->lane == LANE_TIMESTAMP;
        if (f->lane == LANE_DECIMAL64) {
            f->scale = type.scale;
            f->limit = leat_powers_of_10[type.width];
        }
    }
    j->after = leat_alloc((n + 2 + UNKNOWN_KEYS) * sizeof *j->after);
    for (size_t i = 0; i < n + 2 + UNKNOWN_KEYS; i++)
        for (size_t k = 0; k < CANDIDATES; k++) { /* 0xFF is in no JSON text, so that this never matches */
            j->after[i][k].bytes[0] = 0xff;
            j->after[i][k].mask = 1;
            j->after[i][k].length = 0;
        }
    return LEAT_OK;
}

void leat_json_close(struct leat_json_decoder *j) {
    if (!j) return;
    for (size_t k = 0; k < j->unknown_count; k++)
        free(j->unknown[k].name);
    free(j->fields);
    free(j->after);
    free(j->seen);
    free(j->failed);
    free(j);
}

/* ---- fast paths: each returns what follows the value, or NULL to leave it to slow_value ---- */

static inline const char *fast_string(const char *p, struct leat_string *out) {
    bool high = false;
    const char *close = leat_scan_string(p, &high);
    if (LEAT_UNLIKELY(*close != '"')) return NULL;
    if (LEAT_UNLIKELY(high) && !leat_utf8_valid(p, (size_t)(close - p))) return NULL;
    leat_put_string(out, p, (uint32_t)(close - p));
    return close + 1;
}

/* A fraction or an exponent follows: not an integer after all. */
static inline bool number_goes_on(char c) {
    return c == '.' || (c | 0x20) == 'e';
}

static inline const char *fast_integer(const char *p, int64_t *out) {
    bool negative = *p == '-';
    uint64_t value;
    p = leat_scan_digits(p + negative, &value);
    if (LEAT_UNLIKELY(!p || number_goes_on(*p))) return NULL;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return p;
}

/* Amounts of up to eight characters in one word: the point is taken out by shifting what is behind it. */
static inline const char *fast_decimal(const char *p, const struct field *f, int64_t *out) {
    bool negative = *p == '-';
    p += negative;
    uint64_t v = leat_load_u64(p), stops = leat_nondigits(v), value;
    unsigned whole_bits = stops ? (unsigned)__builtin_ctzll(stops) & ~7u : 64;
    uint64_t later = stops & (stops - 1);
    if (LEAT_LIKELY(later && p[whole_bits / 8] == '.')) {
        unsigned all_bits = (unsigned)__builtin_ctzll(later) & ~7u, fraction = all_bits / 8 - whole_bits / 8 - 1;
        if (LEAT_UNLIKELY(!whole_bits || !fraction || fraction > f->scale || (whole_bits > 8 && *p == '0')))
            return NULL;
        uint64_t low = (1ull << whole_bits) - 1, joined = (v & low) | ((v >> 8) & ~low);
        value = leat_eight_digits(joined << (72 - all_bits));
        if (__builtin_mul_overflow(value, leat_powers_of_10[f->scale - fraction], &value)) return NULL;
        p += all_bits / 8;
        if (LEAT_UNLIKELY(number_goes_on(*p))) return NULL;
    } else { /* longer, or whole: in two pieces */
        uint64_t fraction_value = 0;
        unsigned fraction = 0;
        p = leat_scan_digits(p, &value);
        if (!p) return NULL;
        if (*p == '.') {
            const char *point = p++;
            /* Leading zeros are fine here, which leat_scan_digits does not know. */
            for (; *p >= '0' && *p <= '9'; p++) {
                fraction_value = fraction_value * 10 + (uint64_t)(*p - '0');
                if (p - point > (ptrdiff_t)f->scale) return NULL;
            }
            fraction = (unsigned)(p - point - 1);
            if (!fraction) return NULL;
        }
        if (number_goes_on(*p)) return NULL;
        if (__builtin_mul_overflow(value, leat_powers_of_10[f->scale], &value)) return NULL;
        fraction_value *= leat_powers_of_10[f->scale - fraction]; /* below 10^scale */
        if (__builtin_add_overflow(value, fraction_value, &value)) return NULL;
    }
    if (LEAT_UNLIKELY(value >= f->limit)) return NULL;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return p;
}

/* Exact for up to 15 digits with at most 22 behind the point (see value.c). */
static inline const char *fast_double(const char *p, double *out) {
    const char *start = p;
    bool negative = *p == '-';
    p += negative;
    if (*p == '0' && p[1] >= '0' && p[1] <= '9') return NULL;
    uint64_t value = 0;
    const char *digits = p, *point = NULL;
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
        if (*p == '.')
            point = p;
        else
            value = value * 10 + (uint64_t)(*p - '0');
    }
    ptrdiff_t fraction = point ? p - point - 1 : 0;
    if (p - digits > 16 || p == digits || point == digits || (point && !fraction) || number_goes_on(*p)) return NULL;
    if (value > 1ull << 53 || p - start > 18) return NULL;
    double v = (double)value / (double)leat_powers_of_10[fraction];
    *out = negative ? -v : v;
    return p;
}

static inline const char *fast_boolean(const char *p, uint8_t *out) {
    if (!memcmp(p, "true", 4)) {
        *out = 1;
        return p + 4;
    }
    if (memcmp(p, "false", 5)) return NULL;
    *out = 0;
    return p + 5;
}

/* YYYY-MM-DD[T ]HH:MM:SS[.f to .ffffff][Z]" : the date is usually the last one's, the rest is one word. */
static inline const char *fast_timestamp(struct leat_json_decoder *j, const char *p, int64_t *out) {
    if (LEAT_UNLIKELY(leat_load_u64(p) != leat_load_u64(j->date) || memcmp(p + 8, j->date + 8, 2))) {
        int32_t days;
        for (int i = 0; i < 10; i++) /* a shorter spelling would take in bytes of the time */
            if (i == 4 || i == 7 ? p[i] != '-' : p[i] < '0' || p[i] > '9') return NULL;
        if (leat_value_parse_date(p, 10, &days)) return NULL;
        memcpy(j->date, p, 10);
        j->date_us = days * 86400000000LL;
    }
    if (p[10] != 'T' && p[10] != ' ') return NULL;
    uint64_t v = leat_load_u64(p + 11) ^ 0x30303a30303a3030ull; /* digits to 0..9, colons to 0 */
    if (v & 0xf0f0fff0f0fff0f0ull || ((v + 0x0606000606000606ull) & 0xf0f000f0f000f0f0ull)) return NULL;
    unsigned hour = (unsigned)((v & 15) * 10 + (v >> 8 & 15)),
             minute = (unsigned)((v >> 24 & 15) * 10 + (v >> 32 & 15));
    unsigned second = (unsigned)((v >> 48 & 15) * 10 + (v >> 56 & 15));
    if (hour > 23 || minute > 59 || second > 59) return NULL;
    int64_t micros = 0;
    p += 19;
    if (*p == '.') {
        uint64_t f = leat_load_u64(p + 1), stop = leat_nondigits(f);
        unsigned bits = stop ? (unsigned)__builtin_ctzll(stop) & ~7u : 64;
        if (!bits || bits > 48) return NULL;
        /* Zeros behind make it six digits; two in front make it eight. */
        micros = (int64_t)leat_eight_digits((f & ((1ull << bits) - 1)) << 16);
        p += 1 + bits / 8;
    }
    if (*p == 'Z') p++;
    if (*p != '"') return NULL;
    *out = j->date_us + ((hour * 60 + minute) * 60 + second) * 1000000LL + micros;
    return p + 1;
}

static inline const char *fast_value(struct leat_json_decoder *j, const struct transition *t, const char *p, void *data,
                                     size_t row) {
    switch ((enum lane)t->lane) {
    case LANE_STRING:
        return fast_string(p, (struct leat_string *)data + row);
    case LANE_INT64:
        return fast_integer(p, (int64_t *)data + row);
    case LANE_INT32: {
        int64_t wide;
        p = fast_integer(p, &wide);
        if (LEAT_UNLIKELY(!p || wide != (int32_t)wide)) return NULL;
        ((int32_t *)data)[row] = (int32_t)wide;
        return p;
    }
    case LANE_DECIMAL64:
        return fast_decimal(p, &j->fields[t->column], (int64_t *)data + row);
    case LANE_TIMESTAMP:
        return fast_timestamp(j, p, (int64_t *)data + row);
    case LANE_DOUBLE:
        return fast_double(p, (double *)data + row);
    case LANE_BOOLEAN:
        return fast_boolean(p, (uint8_t *)data + row);
    case LANE_SLOW:
    case LANE_SKIP:
    case LANE_END:
        break;
    }
    return NULL;
}

/* Past a number or the rest of a string that nobody wants. */
static inline const char *fast_skip(const char *p, bool quoted) {
    bool high = false;
    uint64_t ignored;
    if (quoted) {
        p = leat_scan_string(p, &high);
        return *p == '"' ? p + 1 : NULL;
    }
    const char *whole = leat_scan_whole(p);
    if (LEAT_LIKELY(whole)) return whole;
    p += *p == '-';
    p = leat_scan_digits(p, &ignored);
    if (p && *p == '.') {
        const char *point = p++;
        while (*p >= '0' && *p <= '9')
            p++;
        if (p == point + 1) return NULL;
    }
    return p && (*p | 0x20) != 'e' ? p : NULL;
}

/* ---- the slow paths ---- */

/* The record being decoded. */
struct row {
    struct leat_decoder *d;
    const struct leat_record *record;
    struct leat_changes *out;
    size_t index;
    bool lossy, unknown; /* it has keys without a column */
    struct leat_json_fault fault;
};

/* A value that does not fit rejects the record, unless the same key comes again: the last one counts. */
static void value_failed(struct row *r, size_t column, char *reason) {
    struct leat_json_decoder *j = r->d->json;
    j->failed[column] = j->record;
    j->failed_count++;
    if (j->failure) return;
    j->failure = reason;
    j->failure_column = column;
}

/* A bare number where a time was wanted: days, or the unit that the source says. */
static enum leat_value_status epoch_value(const struct leat_decoder *d, struct leat_type type, const char *text, size_t length, void *cell) {
    int64_t number;
    enum leat_value_status status = leat_value_parse((struct leat_type){.kind = LEAT_BIGINT}, text, length, &number, NULL);
    if (status != LEAT_VALUE_OK) return status;
    if (type.kind == LEAT_DATE) {
        int32_t days = (int32_t)number;
        if (number < -719162 || number > 2932896) return LEAT_VALUE_YEAR;
        memcpy(cell, &days, sizeof days);
        return LEAT_VALUE_OK;
    }
    if (__builtin_mul_overflow(number, d->epoch_unit_us, &number)) return LEAT_VALUE_RANGE;
    if (number < -62135596800000000 || number > 253402300799999999) return LEAT_VALUE_YEAR;
    if (type.kind == LEAT_TIME && (number < 0 || number >= 86400000000)) return LEAT_VALUE_RANGE;
    memcpy(cell, &number, sizeof number);
    return LEAT_VALUE_OK;
}

/* Any JSON value at p for a column. NULL and r->fault when it is not JSON. */
static const char *slow_value(struct row *r, size_t column, const char *p) {
    struct leat_decoder *d = r->d;
    struct leat_type type = d->json->fields[column].type;
    const char *end = r->record->end, *text, *after;
    size_t length;
    text = p = leat_json_space(p, end); /* the remembered text may have had none */
    if (p < end && *p == '"') {
        after = leat_json_string(p + 1, end, &r->out->strings, &text, &length, &r->fault);
        if (!after) return NULL;
    } else {
        after = leat_json_skip(p, end, 1, &r->fault);
        if (!after) return NULL;
        length = (size_t)(after - p);
        if (*p == 'n') {
            leat_set_null(r->out, column, r->index);
            if (d->json->fields[column].not_null) value_failed(r, column, leat_reject_missing(d, column, true));
            return after;
        }
    }
    char *cell = (char *)r->out->columns[column].data + r->index * leat_type_size(type);
    if (type.kind == LEAT_VARCHAR) {
        size_t valid = *p == '"' ? length : leat_utf8_prefix(text, length);
        if (valid != length) {
            r->fault = (struct leat_json_fault){text + valid, "invalid UTF-8"};
            return NULL;
        }
        struct leat_string s = leat_string_of(text, (uint32_t)length);
        memcpy(cell, &s, sizeof s);
        return after;
    }
    enum leat_value_status status = leat_value_parse(type, text, length, cell, &r->out->strings);
    if (status == LEAT_VALUE_EPOCH && d->epoch_unit_us && *p != '"') status = epoch_value(d, type, text, length, cell);
    if (status == LEAT_VALUE_LOSSY) r->lossy = true;
    if (status > LEAT_VALUE_LOSSY) value_failed(r, column, leat_reject_value(d, column, status, text, length));
    return after;
}

/* The record has the column a second time: what the first left behind is undone. */
static void forget_first(struct row *r, size_t column) {
    struct leat_json_decoder *j = r->d->json;
    r->lossy = true;
    if (j->failed[column] == j->record) {
        j->failed[column] = 0;
        j->failed_count--;
        if (j->failure_column == column) j->failure = NULL;
    }
    if (r->out->columns[column].valid) r->out->columns[column].valid[r->index >> 6] |= 1ull << (r->index & 63);
}

static inline void mark_seen(struct row *r, struct leat_json_decoder *j, size_t column) {
    if (LEAT_UNLIKELY(j->seen[column])) {
        forget_first(r, column);
        return;
    }
    j->seen[column] = 1;
    j->seen_count++;
}

/* What led from `text` to the next value stands in `made`. */
static void remember(struct transition *candidates, const char *text, size_t length, const struct transition *made) {
    if (length > LEAT_PATTERN_BYTES) return;
    struct transition *t = candidates;
    if (t->length) t++; /* the first candidate is only replaced by promotion */
    *t = *made;
    memset(t->bytes, 0, sizeof t->bytes);
    memcpy(t->bytes, text, length);
    t->mask = length == LEAT_PATTERN_BYTES ? UINT32_MAX : (1u << length) - 1;
    t->length = (uint8_t)length;
    t->hits = 0;
}

static const char *expected(struct row *r, const char *at, const char *what) {
    r->fault = (struct leat_json_fault){at, what};
    return NULL;
}

static size_t unknown_key(struct leat_json_decoder *j, const char *name, size_t length) {
    for (size_t k = 0; k < j->unknown_count; k++)
        if (j->unknown[k].length == length && !memcmp(j->unknown[k].name, name, length)) return k;
    if (j->unknown_count == UNKNOWN_KEYS || length > LEAT_PATTERN_BYTES) return UNKNOWN_KEYS;
    char *copy = leat_alloc(length + 1);
    memcpy(copy, name, length);
    j->unknown[j->unknown_count] = (struct unknown_key){copy, length};
    return j->unknown_count++;
}

/* To the value of a key that is a column, or none (-1); `quote`: it begins with one. */
static struct transition transition_to(struct leat_json_decoder *j, int column, const char *key, size_t key_length,
                                       bool quote) {
    if (column < 0) {
        size_t state = j->field_count + 1 + unknown_key(j, key, key_length);
        return (struct transition){.lane = LANE_SKIP, .quoted = quote, .next = j->after[state]};
    }
    const struct field *f = &j->fields[column];
    struct transition t = {.column = (uint32_t)column, .quoted = quote && f->takes_quote, .next = j->after[1 + column]};
    t.lane = (uint8_t)(t.quoted == f->takes_quote ? f->lane : LANE_SLOW);
    return t;
}

/* Reads `{` or `,` or `}`, and the key and the colon, the slow way, and remembers it. Returns the value's place after
 * any opening quote; NULL: r->fault. */
static const char *slow_transition(struct row *r, struct transition *candidates, const char *p,
                                   struct transition *out) {
    struct leat_json_decoder *j = r->d->json;
    const char *end = r->record->end, *start = p, *key;
    size_t key_length;
    *out = (struct transition){.lane = LANE_END};
    p = leat_json_space(p, end);
    if (candidates == j->after[0]) {
        if (end - p >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3))
            p += 3; /* a file's first record may follow a byte order mark */
        if (p >= end || *p != '{') return expected(r, p, "an object was expected");
        const char *inside = leat_json_space(p + 1, end);
        if (inside < end && *inside == '}') return inside + 1;
    } else if (p < end && *p == '}') {
        remember(candidates, start, (size_t)(p + 1 - start), out);
        return p + 1;
    } else if (p >= end || *p != ',') {
        return expected(r, p, "\",\" or \"}\" was expected");
    }
    p = leat_json_space(p + 1, end);
    if (p >= end || *p != '"') return expected(r, p, "a key in double quotes was expected");
    p = leat_json_string(p + 1, end, &r->out->strings, &key, &key_length, &r->fault);
    if (!p) return NULL;
    p = leat_json_space(p, end);
    if (p >= end || *p != ':') return expected(r, p, "\":\" was expected");
    p = leat_json_space(p + 1, end);
    if (p >= end) return expected(r, p, "the record ends where a value was expected");
    *out = transition_to(j, leat_decoder_find(r->d, key, key_length), key, key_length, *p == '"');
    p += out->quoted;
    remember(candidates, start, (size_t)(p - start), out);
    return p;
}

static inline const struct transition *match(struct transition *t, const char *p) {
    if (LEAT_LIKELY(leat_match_pattern(p, t->bytes, t->mask, t->length))) return t;
    if (!leat_match_pattern(p, t[1].bytes, t[1].mask, t[1].length)) return NULL;
    if (++t[1].hits < PROMOTE_AFTER_HITS) return t + 1;
    struct transition first = t[0];
    t[0] = t[1];
    t[1] = first;
    t[0].hits = t[1].hits = 0;
    return t;
}

/* The members of the object at the record's start; returns what follows it. NULL: r->fault. */
static inline const char *decode_object(struct row *r) {
    struct leat_json_decoder *j = r->d->json;
    const char *p = r->record->text, *end = r->record->end;
    struct transition *candidates = j->after[0];
    for (;;) {
        struct transition slow;
        const struct transition *t = match(candidates, p);
        if (LEAT_LIKELY(t)) {
            p += t->length;
            if (LEAT_UNLIKELY(p > end)) return expected(r, end, "the record ends early");
        } else {
            p = slow_transition(r, candidates, p, &slow);
            if (!p) return NULL;
            t = &slow;
        }
        if (t->lane == LANE_END) return p;
        candidates = t->next;
        if (t->lane == LANE_SKIP) {
            r->unknown = true;
            const char *skipped = fast_skip(p, t->quoted);
            if (LEAT_UNLIKELY(!skipped))
                skipped = leat_json_skip(leat_json_space(p - t->quoted, end), end, 1, &r->fault);
            if (LEAT_UNLIKELY(!skipped)) return NULL;
            p = skipped;
            continue;
        }
        mark_seen(r, j, t->column);
        const char *after = fast_value(j, t, p, r->out->columns[t->column].data, r->index);
        p = LEAT_LIKELY(after) ? after : slow_value(r, t->column, p - t->quoted);
        if (LEAT_UNLIKELY(!p)) return NULL;
    }
}

/* Columns that the record lacks become NULL. */
static const char *fill_missing(struct row *r) {
    struct leat_json_decoder *j = r->d->json;
    for (size_t i = 0; i < j->field_count; i++) {
        if (j->seen[i]) continue;
        if (j->fields[i].not_null) return leat_reject_missing(r->d, i, false);
        leat_set_null(r->out, i, r->index);
    }
    return NULL;
}

static const char *first_failure(struct row *r) {
    struct leat_json_decoder *j = r->d->json;
    if (j->failure) return j->failure;
    for (size_t i = 0; i < j->field_count; i++) /* the noted one was repeated and then fitted; another did not */
        if (j->failed[i] == j->record) return leat_reject_value(r->d, i, LEAT_VALUE_SYNTAX, "", 0);
    return NULL;
}

/* Behind the member whose key begins at p; NULL: it is not JSON after all, which the fast path lets pass in what it skips. *known: its column is declared. */
static const char *pass_member(struct row *r, const char *p, bool *known) {
    const char *end = r->record->end, *key;
    size_t length;
    p = *p == '"' ? leat_json_string(p + 1, end, &r->out->strings, &key, &length, &r->fault) : expected(r, p, "a key in double quotes was expected");
    if (!p) return NULL;
    *known = leat_decoder_find(r->d, key, length) >= 0;
    p = leat_json_space(p, end);
    return leat_json_skip(leat_json_space(p + (p < end), end), end, 1, &r->fault);
}

/* The members without a column, as they stand, become an object. NULL: r->fault. */
static const char *put_rest(struct row *r) {
    const char *end = r->record->end, *p = memchr(r->record->text, '{', (size_t)(end - r->record->text)), *after;
    size_t column = (size_t)r->d->rest_column, used = 0;
    char *out = leat_arena_alloc(&r->out->strings, (size_t)(end - p) + 1);
    bool known;
    for (p = leat_json_space(p + 1, end); *p != '}'; p = leat_json_space(after + (*after == ','), end)) {
        if (!(after = pass_member(r, p, &known))) return NULL;
        if (!known) {
            out[used] = used ? ',' : '{';
            memcpy(out + used + 1, p, (size_t)(after - p));
            used += 1 + (size_t)(after - p);
        }
        after = leat_json_space(after, end);
    }
    out[used++] = '}';
    if (!leat_utf8_valid(out, used)) return expected(r, r->record->text, "invalid UTF-8 in a field that has no column");
    ((struct leat_string *)r->out->columns[column].data)[r->index] = leat_string_of(out, (uint32_t)used);
    mark_seen(r, r->d->json, column);
    return p;
}

static const char *not_json(struct row *r) {
    return leat_arena_printf(&r->d->reasons, "not valid JSON at byte %zu: %s", (size_t)(r->fault.at - r->record->text), r->fault.what);
}

const char *leat_json_decode(struct leat_decoder *d, const struct leat_record *record, struct leat_changes *out,
                             size_t row, bool *lossy) {
    struct leat_json_decoder *j = d->json;
    struct row r = {.d = d, .record = record, .out = out, .index = row};
    j->record++;
    memset(j->seen, 0, j->field_count);
    j->seen_count = j->failed_count = 0;
    j->failure = NULL;
    const char *p = decode_object(&r);
    if (LEAT_LIKELY(p && p != record->end)) {
        p = leat_json_space(p, record->end);
        if (p != record->end) p = expected(&r, p, "something follows the object");
    }
    if (LEAT_UNLIKELY(!p)) return not_json(&r);
    if (LEAT_UNLIKELY(j->failed_count)) return first_failure(&r);
    if (LEAT_UNLIKELY(r.unknown) && d->rest_column >= 0) {
        if (!put_rest(&r)) return not_json(&r);
        r.unknown = false;
    }
    *lossy = r.lossy || r.unknown;
    if (LEAT_LIKELY(j->seen_count == j->field_count)) return NULL;
    return fill_missing(&r);
}
