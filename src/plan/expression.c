/* Bound expressions as SQL. Bound plans carry every implicit cast as a node, so operands already have the types of
 * the overload the binder chose and the written text binds to the same one. Only decimal arithmetic computes its
 * result type from its operands again: its results are cast to the plan's type, which is a no-op where they agree. */
#include "plan/expression.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "plan/functions.h"

#define MAX_DEPTH 500 /* recursion over a user's expression */

struct state {
    struct leat_expression_writer *writer;
    struct leat_buffer *out;
    bool *can_fail;
    int depth;
};

static bool write_any(struct state *s, const json_t *e);

static bool refuse(struct state *s, const char *what, const char *name) {
    snprintf(s->writer->why, sizeof s->writer->why, "%s%s%s cannot be computed step by step", what, *name ? " " : "",
             name);
    return false;
}

/* ---- constants */

static leat_i128 join_hugeint(const json_t *value) {
    uint64_t upper = 0, lower = 0;
    leat_json_uint64(json_object_get(value, "upper"), &upper);
    leat_json_uint64(json_object_get(value, "lower"), &lower);
    return (leat_i128)((unsigned __int128)upper << 64 | lower);
}

static void put_i128(struct leat_buffer *out, leat_i128 value, bool is_unsigned) {
    char digits[48];
    size_t at = sizeof digits;
    unsigned __int128 rest = (unsigned __int128)value;
    bool negative = !is_unsigned && value < 0;
    if (negative) rest = -rest;
    digits[--at] = 0;
    do {
        digits[--at] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    } while (rest);
    if (negative) digits[--at] = '-';
    leat_put(out, digits + at);
}

static void put_decimal(struct leat_buffer *out, leat_i128 unscaled, int scale) {
    struct leat_buffer digits = {0};
    bool negative = unscaled < 0;
    put_i128(&digits, negative ? -unscaled : unscaled, true);
    if (negative) leat_put(out, "-");
    size_t whole = digits.length > (size_t)scale ? digits.length - (size_t)scale : 0;
    if (whole == 0) leat_put(out, "0");
    leat_putn(out, digits.data, whole);
    if (scale) leat_put(out, ".");
    for (size_t i = digits.length; i < (size_t)scale; i++)
        leat_put(out, "0");
    if (scale) leat_put(out, digits.data + whole);
    leat_buffer_deinit(&digits);
}

/* Days since 1970-01-01 to a civil date (H. Hinnant, "chrono-compatible low-level date algorithms"). */
static void civil_from_days(int64_t days, int64_t *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

static void put_time_of_day(struct leat_buffer *out, int64_t us) {
    leat_putf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, us / 3600000000, us / 60000000 % 60, us / 1000000 % 60);
    if (us % 1000000) leat_putf(out, ".%06" PRId64, us % 1000000);
}

/* Years 1 to 9999 as text for people, the rest by its number. */
static void put_timestamp(struct leat_buffer *out, int64_t us, bool zoned) {
    int64_t day_us = 86400000000, days = us / day_us - (us % day_us < 0), year;
    int month, day;
    if (us == INT64_MAX || us == -INT64_MAX) {
        leat_putf(out, "CAST('%sinfinity' AS %s)", us < 0 ? "-" : "", zoned ? "TIMESTAMPTZ" : "TIMESTAMP");
        return;
    }
    civil_from_days(days, &year, &month, &day);
    if (year < 1 || year > 9999) {
        leat_putf(out, "%s(CAST(%" PRId64 " AS BIGINT))", zoned ? "make_timestamptz" : "make_timestamp", us);
        return;
    }
    leat_putf(out, "%s '%04" PRId64 "-%02d-%02d ", zoned ? "TIMESTAMPTZ" : "TIMESTAMP", year, month, day);
    put_time_of_day(out, us - days * day_us);
    leat_put(out, zoned ? "+00'" : "'");
}

static void put_date(struct leat_buffer *out, int64_t days) {
    int64_t year;
    int month, day;
    if (days >= INT32_MAX || days <= -INT32_MAX) {
        leat_putf(out, "CAST('%sinfinity' AS DATE)", days < 0 ? "-" : "");
        return;
    }
    civil_from_days(days, &year, &month, &day);
    if (year < 1 || year > 9999)
        leat_putf(out, "CAST(DATE '1970-01-01' + %" PRId64 " AS DATE)", days);
    else
        leat_putf(out, "DATE '%04" PRId64 "-%02d-%02d'", year, month, day);
}

static void put_interval(struct leat_buffer *out, const json_t *value) {
    leat_putf(out, "INTERVAL '%lld months %lld days %lld microseconds'", (long long)leat_json_int(value, "months"),
              (long long)leat_json_int(value, "days"), (long long)leat_json_int(value, "micros"));
}

static void put_double(struct leat_buffer *out, const json_t *value, bool single) {
    const char *raw = json_string_value(value), *type = single ? "FLOAT" : "DOUBLE";
    if (raw) { /* NaN, Infinity, or an integer beyond 64 bits */
        leat_put(out, "CAST(");
        leat_put_sql_string(out, raw + strlen(LEAT_JSON_RAW));
        leat_putf(out, " AS %s)", type);
        return;
    }
    leat_putf(out, single ? "CAST('%.9g' AS %s)" : "CAST('%.17g' AS %s)", json_number_value(value), type);
}

static void put_uuid(struct leat_buffer *out, const json_t *value) {
    unsigned __int128 bits = (unsigned __int128)join_hugeint(value) ^ ((unsigned __int128)1 << 127);
    uint64_t high = (uint64_t)(bits >> 64), low = (uint64_t)bits;
    leat_putf(out, "CAST('%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64 "' AS UUID)", high >> 32,
              high >> 16 & 0xffff, high & 0xffff, low >> 48, low & 0xffffffffffff);
}

/* A NUL inside a string cannot stand in SQL text: chr(0). */
static void put_string(struct leat_buffer *out, const json_t *value) {
    const char *text = json_string_value(value);
    size_t length = json_string_length(value), from = 0;
    if (!memchr(text, 0, length)) {
        leat_put_sql_string(out, text);
        return;
    }
    leat_put(out, "concat(");
    for (size_t at = 0; at <= length; at++)
        if (at == length || text[at] == 0) {
            if (from) leat_put(out, ", chr(0), ");
            leat_put_sql_string(out, text + from);
            from = at + 1;
        }
    leat_put(out, ")");
}

static bool put_value(struct state *s, const json_t *value);

static bool put_list(struct state *s, const json_t *value) {
    const json_t *type = json_object_get(value, "type"), *content = json_object_get(value, "value");
    struct leat_buffer name = {0};
    bool ok = leat_bound_type_sql(type, &name) && leat_json_is(type, "id", "LIST");
    if (ok) {
        leat_put(s->out, "CAST([");
        for (size_t i = 0; ok && i < leat_json_count(content, "children"); i++) {
            if (i) leat_put(s->out, ", ");
            ok = put_value(s, leat_json_at(content, "children", i));
        }
        leat_putf(s->out, "] AS %s)", name.data);
    }
    leat_buffer_deinit(&name);
    return ok || refuse(s, "a constant of type", leat_json_text(type, "id"));
}

static bool put_struct(struct state *s, const json_t *value) {
    const json_t *content = json_object_get(value, "value"),
                 *info = json_object_get(json_object_get(value, "type"), "type_info");
    bool named = *leat_json_text(leat_json_at(info, "child_types", 0), "first") != 0;
    leat_put(s->out, named ? "struct_pack(" : "row(");
    for (size_t i = 0; i < leat_json_count(content, "children"); i++) {
        if (i) leat_put(s->out, ", ");
        if (named) {
            leat_put_sql_name(s->out, leat_json_text(leat_json_at(info, "child_types", i), "first"));
            leat_put(s->out, " := ");
        }
        if (!put_value(s, leat_json_at(content, "children", i))) return false;
    }
    leat_put(s->out, ")");
    return leat_json_count(content, "children") > 0 || refuse(s, "a constant of type", "STRUCT");
}

static bool put_typed(struct state *s, const char *text, const json_t *type) {
    leat_putf(s->out, "CAST(%s AS ", text);
    if (!leat_bound_type_sql(type, s->out)) return refuse(s, "a constant of type", leat_json_text(type, "id"));
    leat_put(s->out, ")");
    return true;
}

static void put_whole(struct leat_buffer *out, struct leat_type type, const json_t *content) {
    char spelling[32];
    uint64_t number = 0;
    leat_json_uint64(content, &number);
    leat_type_print(type, spelling);
    if (type.kind == LEAT_INTEGER && (int64_t)number != INT32_MIN)
        leat_putf(out, "%" PRId64, (int64_t)number);
    else if (type.kind == LEAT_UBIGINT)
        leat_putf(out, "CAST(%" PRIu64 " AS UBIGINT)", number);
    else
        leat_putf(out, "CAST(%" PRId64 " AS %s)", (int64_t)number, spelling);
}

/* Values that are not NULL and not nested. */
static bool put_scalar(struct state *s, struct leat_type type, const json_t *content) {
    char spelling[32];
    leat_type_print(type, spelling);
    switch ((enum leat_kind)type.kind) {
    case LEAT_BOOLEAN:
        leat_put(s->out, json_is_true(content) ? "true" : "false");
        return true;
    case LEAT_HUGEINT:
    case LEAT_UHUGEINT:
        leat_put(s->out, "CAST('");
        put_i128(s->out, join_hugeint(content), type.kind == LEAT_UHUGEINT);
        leat_putf(s->out, "' AS %s)", spelling);
        return true;
    case LEAT_FLOAT:
    case LEAT_DOUBLE:
        put_double(s->out, content, type.kind == LEAT_FLOAT);
        return true;
    case LEAT_DECIMAL:
        leat_put(s->out, "CAST('");
        put_decimal(s->out, json_is_object(content) ? join_hugeint(content) : (leat_i128)json_integer_value(content),
                    type.scale);
        leat_putf(s->out, "' AS %s)", spelling);
        return true;
    case LEAT_VARCHAR:
        put_string(s->out, content);
        return true;
    case LEAT_BLOB:
        leat_put(s->out, "CAST(");
        put_string(s->out, content);
        leat_put(s->out, " AS BLOB)");
        return true;
    case LEAT_DATE:
        put_date(s->out, json_integer_value(content));
        return true;
    case LEAT_TIME:
        leat_put(s->out, "TIME '");
        put_time_of_day(s->out, json_integer_value(content));
        leat_put(s->out, "'");
        return true;
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        put_timestamp(s->out, json_integer_value(content), type.kind == LEAT_TIMESTAMPTZ);
        return true;
    case LEAT_INTERVAL:
        put_interval(s->out, content);
        return true;
    case LEAT_UUID:
        put_uuid(s->out, content);
        return true;
    case LEAT_NESTED:
        return refuse(s, "a constant of a nested type", "");
    default:
        put_whole(s->out, type, content);
        return true;
    }
}

static bool put_value(struct state *s, const json_t *value) {
    const json_t *type = json_object_get(value, "type"), *content = json_object_get(value, "value");
    struct leat_type simple = leat_bound_type(type);
    if (leat_json_true(value, "is_null")) return put_typed(s, "NULL", type);
    if (leat_json_is(type, "id", "STRUCT")) return put_struct(s, value);
    if (simple.kind == LEAT_NESTED) return put_list(s, value);
    if (leat_bound_type_is_alias(type)) {
        struct leat_buffer text = {0};
        put_string(&text, content);
        bool ok = put_typed(s, text.data, type);
        leat_buffer_deinit(&text);
        return ok;
    }
    return put_scalar(s, simple, content);
}

/* ---- operators and functions */

static bool write_list(struct state *s, const json_t *array, const char *between) {
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i) leat_put(s->out, between);
        if (!write_any(s, json_array_get(array, i))) return false;
    }
    return true;
}

static bool write_ref(struct state *s, const json_t *e) {
    size_t index = (size_t)leat_json_int(e, "index");
    const json_t *type = leat_bound_expression_type(e);
    if (index >= s->writer->ref_count) return refuse(s, "a column reference", "out of range");
    const struct leat_expression_ref *ref = &s->writer->refs[index];
    if (ref->unusable) return refuse(s, "a list that is unnested and used again", "");
    if (ref->can_fail) *s->can_fail = true;
    if (ref->is_column && leat_bound_type_is_alias(type)) return put_typed(s, ref->text, type);
    leat_put(s->out, ref->text);
    return true;
}

static int integer_rank(struct leat_type type) {
    switch ((enum leat_kind)type.kind) {
    case LEAT_TINYINT:
        return 1;
    case LEAT_SMALLINT:
        return 2;
    case LEAT_INTEGER:
        return 3;
    case LEAT_BIGINT:
        return 4;
    case LEAT_HUGEINT:
        return 5;
    default:
        return 0;
    }
}

static bool cast_cannot_fail(struct leat_type from, struct leat_type to) {
    if (leat_type_equal(from, to)) return true;
    if (from.kind == LEAT_NESTED || to.kind == LEAT_NESTED) return false;
    if (to.kind == LEAT_VARCHAR) return from.kind != LEAT_BLOB;
    if (integer_rank(from) && integer_rank(to)) return integer_rank(from) <= integer_rank(to);
    if (to.kind == LEAT_DOUBLE) return from.kind <= LEAT_DECIMAL; /* BOOLEAN and numbers */
    if (to.kind == LEAT_BOOLEAN) return integer_rank(from) != 0;
    if (from.kind == LEAT_DECIMAL && to.kind == LEAT_DECIMAL)
        return to.scale >= from.scale && to.width - to.scale >= from.width - from.scale;
    if (from.kind == LEAT_TIMESTAMP && to.kind == LEAT_DATE) return true;
    return from.kind == LEAT_BOOLEAN && integer_rank(to);
}

static bool write_cast(struct state *s, const json_t *e) {
    const json_t *child = json_object_get(e, "child"), *type = json_object_get(e, "return_type");
    bool is_try = leat_json_true(e, "try_cast"), inner = false;
    struct leat_type from = leat_bound_type(leat_bound_expression_type(child)), to = leat_bound_type(type);
    bool aliases = leat_bound_type_is_alias(type) || leat_bound_type_is_alias(leat_bound_expression_type(child));
    bool *outer = s->can_fail;
    leat_put(s->out, is_try ? "TRY_CAST(" : "CAST(");
    s->can_fail = &inner;
    bool ok = write_any(s, child);
    s->can_fail = outer;
    if (!ok) return false;
    leat_put(s->out, " AS ");
    if (!leat_bound_type_sql(type, s->out)) return refuse(s, "a cast to", leat_json_text(type, "id"));
    leat_put(s->out, ")");
    if (inner || (!is_try && (aliases || !cast_cannot_fail(from, to)))) *s->can_fail = true;
    return true;
}

const char *leat_comparison_symbol(const char *type) {
    static const char *const symbols[][2] = {
        {"COMPARE_EQUAL", "="},
        {"COMPARE_NOTEQUAL", "<>"},
        {"COMPARE_LESSTHAN", "<"},
        {"COMPARE_GREATERTHAN", ">"},
        {"COMPARE_LESSTHANOREQUALTO", "<="},
        {"COMPARE_GREATERTHANOREQUALTO", ">="},
        {"COMPARE_DISTINCT_FROM", "IS DISTINCT FROM"},
        {"COMPARE_NOT_DISTINCT_FROM", "IS NOT DISTINCT FROM"},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        if (strcmp(symbols[i][0], type) == 0) return symbols[i][1];
    return NULL;
}

static bool write_binary(struct state *s, const json_t *left, const char *symbol, const json_t *right) {
    leat_put(s->out, "(");
    if (!write_any(s, left)) return false;
    leat_putf(s->out, " %s ", symbol);
    if (!write_any(s, right)) return false;
    leat_put(s->out, ")");
    return true;
}

static bool write_between(struct state *s, const json_t *e) {
    const json_t *input = json_object_get(e, "input");
    bool lower = leat_json_true(e, "lower_inclusive"), upper = leat_json_true(e, "upper_inclusive");
    leat_put(s->out, "(");
    if (!write_any(s, input)) return false;
    leat_put(s->out, lower && upper ? " BETWEEN " : lower ? " >= " : " > ");
    if (!write_any(s, json_object_get(e, "lower"))) return false;
    leat_put(s->out, " AND ");
    if (!(lower && upper)) {
        if (!write_any(s, input)) return false;
        leat_put(s->out, upper ? " <= " : " < ");
    }
    if (!write_any(s, json_object_get(e, "upper"))) return false;
    leat_put(s->out, ")");
    return true;
}

/* "More than one row?" asked of what is known to be one row: compile_aggregate.c puts 1 for its count. */
static bool is_known_false(const struct state *s, const json_t *condition) {
    size_t ref;
    int64_t one;
    if (!leat_json_is(condition, "type", "COMPARE_GREATERTHAN")) return false;
    if (!leat_bound_is_ref(json_object_get(condition, "left"), &ref) || ref >= s->writer->ref_count) return false;
    if (!leat_bound_int_constant(json_object_get(condition, "right"), &one) || one != 1) return false;
    return strcmp(s->writer->refs[ref].text, LEAT_ONE_ROW_COUNT) == 0;
}

static bool write_case(struct state *s, const json_t *e) {
    size_t written = 0;
    for (size_t i = 0; i < leat_json_count(e, "case_checks"); i++) {
        const json_t *check = leat_json_at(e, "case_checks", i);
        if (is_known_false(s, json_object_get(check, "when_expr"))) continue;
        leat_put(s->out, written++ ? " WHEN " : "CASE WHEN ");
        if (!write_any(s, json_object_get(check, "when_expr"))) return false;
        leat_put(s->out, " THEN ");
        if (!write_any(s, json_object_get(check, "then_expr"))) return false;
    }
    if (!written) return write_any(s, json_object_get(e, "else_expr"));
    leat_put(s->out, " ELSE ");
    if (!write_any(s, json_object_get(e, "else_expr"))) return false;
    leat_put(s->out, " END");
    return true;
}

static bool write_operator(struct state *s, const json_t *e) {
    const char *type = leat_json_text(e, "type");
    const json_t *children = json_object_get(e, "children"), *first = json_array_get(children, 0);
    if (strcmp(type, "COMPARE_IN") == 0 || strcmp(type, "COMPARE_NOT_IN") == 0) {
        leat_put(s->out, "(");
        if (!write_any(s, first)) return false;
        leat_put(s->out, type[8] == 'N' ? " NOT IN (" : " IN (");
        for (size_t i = 1; i < json_array_size(children); i++) {
            if (i > 1) leat_put(s->out, ", ");
            if (!write_any(s, json_array_get(children, i))) return false;
        }
        leat_put(s->out, "))");
        return true;
    }
    if (strcmp(type, "OPERATOR_COALESCE") == 0) {
        leat_put(s->out, "coalesce(");
        if (!write_list(s, children, ", ")) return false;
        leat_put(s->out, ")");
        return true;
    }
    const char *before = NULL, *after = "";
    if (strcmp(type, "OPERATOR_NOT") == 0)
        before = "(NOT ";
    else if (strcmp(type, "OPERATOR_IS_NULL") == 0)
        before = "(", after = " IS NULL";
    else if (strcmp(type, "OPERATOR_IS_NOT_NULL") == 0)
        before = "(", after = " IS NOT NULL";
    else if (strcmp(type, "OPERATOR_TRY") == 0)
        before = "TRY(";
    if (!before) return refuse(s, "operator", type);
    bool inner = false, *outer = s->can_fail;
    s->can_fail = &inner;
    leat_put(s->out, before);
    bool ok = write_any(s, first);
    s->can_fail = outer;
    leat_put(s->out, after);
    leat_put(s->out, ")");
    if (inner && *before != 'T') *s->can_fail = true;
    return ok;
}

static const char *infix_symbol(const char *name, size_t arguments) {
    static const char *const same[] = {"+", "-", "*", "/", "//", "%", "||", "&", "|", "<<", ">>"};
    static const char *const likes[][2] = {
        {"~~", "LIKE"}, {"!~~", "NOT LIKE"}, {"~~*", "ILIKE"}, {"!~~*", "NOT ILIKE"}};
    if (arguments != 2) return NULL;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(same[i], name) == 0) return same[i];
    for (size_t i = 0; i < sizeof likes / sizeof *likes; i++)
        if (strcmp(likes[i][0], name) == 0) return likes[i][1];
    return NULL;
}

static void mark_function_failure(struct state *s, const json_t *e, unsigned traits) {
    struct leat_type type = leat_bound_type(leat_bound_expression_type(e));
    bool floating = leat_type_is_float(type);
    const char *name = leat_json_text(e, "name");
    bool arithmetic = strlen(name) == 1 && strchr("+-*/", *name);
    for (size_t i = 0; i < leat_json_count(e, "children"); i++) /* few functions know every part of an interval */
        if (leat_bound_type(leat_bound_expression_type(leat_json_at(e, "children", i))).kind == LEAT_INTERVAL)
            traits &= ~(unsigned)LEAT_FUNCTION_SAFE;
    if (traits & LEAT_FUNCTION_SAFE && !(arithmetic && !floating)) return;
    if (arithmetic && floating) return;
    /* With a constant part it reads the calendar only; the part itself was checked at planning. */
    if (strcasecmp(name, "date_part") == 0)
        if (leat_json_is(leat_json_at(e, "children", 0), "expression_class", "BOUND_CONSTANT")) return;
    if (traits & LEAT_FUNCTION_CLOCK) return;
    *s->can_fail = true;
}

static bool write_arguments(struct state *s, const json_t *e, bool named) {
    leat_put(s->out, "(");
    for (size_t i = 0; i < leat_json_count(e, "children"); i++) {
        const json_t *child = leat_json_at(e, "children", i);
        if (i) leat_put(s->out, ", ");
        if (named) {
            leat_put_sql_name(s->out, leat_json_text(child, "alias"));
            leat_put(s->out, " := ");
        }
        if (!write_any(s, child)) return false;
    }
    leat_put(s->out, ")");
    return true;
}

static void put_function_name(struct leat_buffer *out, const char *name) {
    bool plain = isalpha((unsigned char)*name);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_') plain = false;
    /* These are keywords of the grammar. */
    if (plain && strcasecmp(name, "left") && strcasecmp(name, "right") && strcasecmp(name, "position"))
        leat_put(out, name);
    else
        leat_put_sql_name(out, name);
}

#define MAX_LAMBDA_REFS 64

/* fn(list, lambda p: body). The body refers to its parameters, the last one first, then to what it captured, which are
 * the call's arguments after the list. */
static bool write_lambda(struct state *s, const json_t *e, const char *name) {
    const json_t *data = json_object_get(e, "function_data"), *children = json_object_get(e, "children");
    bool reduce = strstr(name, "reduce") != NULL, ok = !leat_json_true(data, "has_initial");
    size_t parameters = (size_t)(reduce ? 2 : 1) + leat_json_true(data, "has_index"),
           captures = json_array_size(children) - 1;
    struct leat_buffer texts[MAX_LAMBDA_REFS] = {{0}};
    struct leat_expression_ref refs[MAX_LAMBDA_REFS] = {{0}};
    struct leat_expression_writer inner = {.refs = refs, .ref_count = parameters + captures};
    if (!ok || json_array_size(children) == 0 || parameters + captures > MAX_LAMBDA_REFS)
        return refuse(s, "the lambda of", name);
    put_function_name(s->out, name);
    leat_put(s->out, "(");
    ok = write_any(s, json_array_get(children, 0));
    leat_put(s->out, ", lambda ");
    for (size_t i = 0; i < parameters; i++) {
        size_t ref = parameters - 1 - i;
        leat_putf(&texts[ref], "p%d_%zu", s->writer->lambda_depth, i);
        leat_putf(s->out, "%s%s", i ? ", " : "", texts[ref].data);
    }
    leat_put(s->out, ": ");
    struct leat_buffer *out = s->out;
    for (size_t i = 0; ok && i < captures; i++) {
        s->out = &texts[parameters + i];
        ok = write_any(s, json_array_get(children, i + 1));
    }
    s->out = out;
    for (size_t i = 0; i < parameters + captures; i++)
        refs[i].text = texts[i].data;
    inner.lambda_depth = s->writer->lambda_depth + 1;
    ok = ok && leat_expression_write(&inner, json_object_get(data, "lambda_expr"), s->out, s->can_fail);
    if (*inner.why) memcpy(s->writer->why, inner.why, sizeof inner.why);
    s->writer->reads_clock |= inner.reads_clock;
    leat_put(s->out, ")");
    for (size_t i = 0; i < parameters + captures; i++)
        leat_buffer_deinit(&texts[i]);
    return ok;
}

/* An empty list as a bound of a slice: "[:3]" has no first one. */
static bool is_open_bound(const json_t *e) {
    const json_t *value = json_object_get(e, "value");
    return leat_json_is(e, "expression_class", "BOUND_CONSTANT") &&
           leat_json_is(json_object_get(value, "type"), "id", "LIST") && !leat_json_true(value, "is_null") &&
           leat_json_count(json_object_get(value, "value"), "children") == 0;
}

static bool has_open_bound(const char *name, const json_t *children) {
    return (strcasecmp(name, "array_slice") == 0 || strcasecmp(name, "list_slice") == 0) &&
           (is_open_bound(json_array_get(children, 1)) || is_open_bound(json_array_get(children, 2)));
}

/* (x)[from:to] and (x)[from:to:step]: as a call, DuckDB takes no open bound. An open end before a step is "-". */
static bool write_slice(struct state *s, const json_t *children) {
    size_t count = json_array_size(children);
    leat_put(s->out, "(");
    for (size_t i = 0; i < count; i++) {
        const json_t *child = json_array_get(children, i);
        if (i) leat_put(s->out, i == 1 ? ")[" : ":");
        if (i == 0 || !is_open_bound(child)) {
            if (!write_any(s, child)) return false;
        } else if (i == 2 && count > 3) {
            leat_put(s->out, "-");
        }
    }
    leat_put(s->out, "]");
    return true;
}

static bool write_function(struct state *s, const json_t *e) {
    const char *name = leat_json_text(e, "name");
    const json_t *children = json_object_get(e, "children");
    unsigned traits = leat_function_traits(name);
    size_t count = json_array_size(children);
    bool decimal = leat_bound_type(leat_bound_expression_type(e)).kind == LEAT_DECIMAL;
    if (!traits) return refuse(s, "function", name);
    if (json_object_get(json_object_get(e, "function_data"), "lambda_expr")) {
        *s->can_fail = true;
        return write_lambda(s, e, name);
    }
    if (traits & LEAT_FUNCTION_CLOCK) s->writer->reads_clock = true;
    mark_function_failure(s, e, traits);
    if (decimal) leat_put(s->out, "CAST(");
    const char *infix = infix_symbol(name, count);
    bool ok;
    if (infix) {
        ok = write_binary(s, json_array_get(children, 0), infix, json_array_get(children, 1));
    } else if (count == 1 && (strcmp(name, "-") == 0 || strcmp(name, "~") == 0)) {
        leat_putf(s->out, "(%s ", name);
        ok = write_any(s, json_array_get(children, 0));
        leat_put(s->out, ")");
    } else if (has_open_bound(name, children)) {
        ok = write_slice(s, children);
    } else {
        put_function_name(s->out, name);
        ok = write_arguments(s, e, strcasecmp(name, "struct_pack") == 0 || strcasecmp(name, "struct_insert") == 0);
    }
    if (ok && decimal) {
        leat_put(s->out, " AS ");
        leat_bound_type_sql(leat_bound_expression_type(e), s->out);
        leat_put(s->out, ")");
    }
    return ok;
}

static bool write_conjunction(struct state *s, const json_t *e) {
    leat_put(s->out, "(");
    if (!write_list(s, json_object_get(e, "children"), leat_json_is(e, "type", "CONJUNCTION_OR") ? " OR " : " AND "))
        return false;
    leat_put(s->out, ")");
    return true;
}

static bool write_class(struct state *s, const json_t *e) {
    const char *class = leat_json_text(e, "expression_class");
    if (strcmp(class, "BOUND_REF") == 0) return write_ref(s, e);
    if (strcmp(class, "BOUND_CONSTANT") == 0) return put_value(s, json_object_get(e, "value"));
    if (strcmp(class, "BOUND_FUNCTION") == 0) return write_function(s, e);
    if (strcmp(class, "BOUND_CAST") == 0) return write_cast(s, e);
    if (strcmp(class, "BOUND_CONJUNCTION") == 0) return write_conjunction(s, e);
    if (strcmp(class, "BOUND_OPERATOR") == 0) return write_operator(s, e);
    if (strcmp(class, "BOUND_CASE") == 0) return write_case(s, e);
    if (strcmp(class, "BOUND_BETWEEN") == 0) return write_between(s, e);
    if (strcmp(class, "BOUND_COMPARISON") == 0) {
        const char *symbol = leat_comparison_symbol(leat_json_text(e, "type"));
        if (symbol) return write_binary(s, json_object_get(e, "left"), symbol, json_object_get(e, "right"));
    }
    if (strcmp(class, "BOUND_PARAMETER") == 0) return refuse(s, "a parameter", "$n");
    return refuse(s, "expression", class);
}

static bool write_any(struct state *s, const json_t *e) {
    if (++s->depth > MAX_DEPTH) return refuse(s, "an expression nested this deep", "");
    bool ok = write_class(s, e);
    s->depth--;
    return ok;
}

bool leat_expression_write(struct leat_expression_writer *writer, const json_t *expression, struct leat_buffer *out,
                           bool *can_fail) {
    struct state s = {.writer = writer, .out = out, .can_fail = can_fail};
    return write_any(&s, expression);
}

bool leat_expression_write_orders(struct leat_expression_writer *writer, const json_t *orders, struct leat_buffer *out,
                                  bool *can_fail) {
    for (size_t i = 0; i < json_array_size(orders); i++) {
        const json_t *order = json_array_get(orders, i);
        if (i) leat_put(out, ", ");
        if (!leat_expression_write(writer, json_object_get(order, "expression"), out, can_fail)) return false;
        leat_put(out, leat_json_is(order, "type", "DESCENDING") ? " DESC" : " ASC");
        leat_put(out, leat_json_is(order, "null_order", "NULLS FIRST") ? " NULLS FIRST" : " NULLS LAST");
    }
    return true;
}
