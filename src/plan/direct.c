/* What a MAP can do without asking DuckDB: window starts, and filters that compare columns with constants. Recognised
 * here in the bound plan; stream/map.c does it, and falls back to the SQL where a row needs more than arithmetic. */
#include <string.h>
#include <strings.h>

#include "plan/compile.h"

/* The operator's column that `e` is. */
static bool find_column(const struct leat_rel *rel, const json_t *e, uint16_t *column, struct leat_type *type) {
    size_t ref;
    if (!leat_bound_is_ref(e, &ref) || ref >= rel->count || rel->columns[ref].from < 0 || rel->columns[ref].unusable)
        return false;
    *column = (uint16_t)rel->columns[ref].from;
    *type = rel->columns[ref].type;
    return true;
}

struct leat_tumbled leat_rel_tumbled(const struct leat_rel *rel, const json_t *e) {
    struct leat_tumbled tumbled = {0}, none = {0};
    struct leat_type type;
    if (!leat_json_is(e, "expression_class", "BOUND_FUNCTION") ||
        strcasecmp(leat_json_text(e, "name"), "leat_tumble") != 0)
        return none;
    bool found = find_column(rel, leat_json_at(e, "children", 0), &tumbled.column, &type) &&
                 (type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ) &&
                 leat_bound_int_constant(leat_json_at(e, "children", 1), &tumbled.width_us) &&
                 leat_bound_int_constant(leat_json_at(e, "children", 2), &tumbled.origin_us);
    return found && tumbled.width_us > 0 ? tumbled : none;
}

/* Types whose values compare as the integers of at most 64 bits that they are inside, infinite dates and times too. */
static bool is_integer_inside(struct leat_type type) {
    switch ((enum leat_kind)type.kind) {
    case LEAT_TINYINT:
    case LEAT_SMALLINT:
    case LEAT_INTEGER:
    case LEAT_BIGINT:
    case LEAT_UTINYINT:
    case LEAT_USMALLINT:
    case LEAT_UINTEGER:
    case LEAT_DATE:
    case LEAT_TIMESTAMP:
    case LEAT_TIMESTAMPTZ:
        return true;
    case LEAT_DECIMAL:
        return type.width <= 18;
    default:
        return false;
    }
}

static bool find_constant(const json_t *e, struct leat_type type, int64_t *out) {
    const json_t *value = json_object_get(e, "value"), *number = json_object_get(value, "value");
    if (!leat_json_is(e, "expression_class", "BOUND_CONSTANT") || leat_json_true(value, "is_null") ||
        !json_is_integer(number))
        return false;
    if (!leat_type_equal(leat_bound_type(json_object_get(value, "type")), type)) return false;
    *out = json_integer_value(number);
    return true;
}

/* column <comparison> constant as a range; false: none. */
static bool make_range(const char *comparison, int64_t constant, struct leat_test *test) {
    static const struct {
        const char *name;
        bool from_least, to_greatest, open, outside;
    } comparisons[] = {
        {"COMPARE_EQUAL", false, false, false, false},     {"COMPARE_NOTEQUAL", false, false, false, true},
        {"COMPARE_LESSTHAN", true, false, true, false},    {"COMPARE_LESSTHANOREQUALTO", true, false, false, false},
        {"COMPARE_GREATERTHAN", false, true, true, false}, {"COMPARE_GREATERTHANOREQUALTO", false, true, false, false},
    };
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++) {
        if (strcmp(comparisons[i].name, comparison) != 0) continue;
        bool least = comparisons[i].from_least, greatest = comparisons[i].to_greatest, open = comparisons[i].open;
        if (open && constant == (least ? INT64_MIN : INT64_MAX)) return false;
        test->low = least ? INT64_MIN : constant + (open ? 1 : 0);
        test->high = greatest ? INT64_MAX : constant - (open ? 1 : 0);
        test->outside = comparisons[i].outside;
        return true;
    }
    return false;
}

static const char *mirrored(const char *comparison) {
    static const char *const pairs[][2] = {{"COMPARE_LESSTHAN", "COMPARE_GREATERTHAN"},
                                           {"COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO"}};
    for (size_t i = 0; i < 2; i++)
        for (size_t side = 0; side < 2; side++)
            if (strcmp(comparison, pairs[i][side]) == 0) return pairs[i][1 - side];
    return comparison;
}

static bool find_test(const struct leat_rel *rel, const json_t *e, struct leat_test *test) {
    const json_t *column = json_object_get(e, "left"), *constant = json_object_get(e, "right"), *right = constant;
    const char *comparison = leat_json_text(e, "type");
    struct leat_type type;
    int64_t value;
    size_t ignored;
    if (!leat_json_is(e, "expression_class", "BOUND_COMPARISON")) return false;
    if (!leat_bound_is_ref(column, &ignored)) {
        constant = column;
        column = right;
        comparison = mirrored(comparison);
    }
    *test = (struct leat_test){0};
    return find_column(rel, column, &test->column, &type) && is_integer_inside(type) &&
           find_constant(constant, type, &value) && make_range(comparison, value, test);
}

bool leat_rel_add_tests(struct leat_compile *c, struct leat_rel *rel, const json_t *condition) {
    struct leat_test test;
    if (leat_json_is(condition, "type", "CONJUNCTION_AND")) {
        size_t before = rel->test_count;
        for (size_t i = 0; i < leat_json_count(condition, "children"); i++) {
            if (leat_rel_add_tests(c, rel, leat_json_at(condition, "children", i))) continue;
            rel->test_count = before;
            return false;
        }
        return true;
    }
    if (!find_test(rel, condition, &test)) return false;
    struct leat_test *grown = leat_arena_alloc(&c->arena, (rel->test_count + 1) * sizeof *grown);
    if (rel->test_count) memcpy(grown, rel->tests, rel->test_count * sizeof *grown);
    grown[rel->test_count++] = test;
    rel->tests = grown;
    return true;
}
