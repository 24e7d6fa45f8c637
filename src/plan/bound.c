/* Types and simple questions about bound expressions. */
#include "plan/bound.h"

#include <string.h>

struct named_kind {
    const char *id;
    enum leat_kind kind;
};
static const struct named_kind kinds[] = {
    {"BOOLEAN", LEAT_BOOLEAN},     {"TINYINT", LEAT_TINYINT},
    {"SMALLINT", LEAT_SMALLINT},   {"INTEGER", LEAT_INTEGER},
    {"BIGINT", LEAT_BIGINT},       {"HUGEINT", LEAT_HUGEINT},
    {"UTINYINT", LEAT_UTINYINT},   {"USMALLINT", LEAT_USMALLINT},
    {"UINTEGER", LEAT_UINTEGER},   {"UBIGINT", LEAT_UBIGINT},
    {"UHUGEINT", LEAT_UHUGEINT},   {"FLOAT", LEAT_FLOAT},
    {"DOUBLE", LEAT_DOUBLE},       {"DECIMAL", LEAT_DECIMAL},
    {"VARCHAR", LEAT_VARCHAR},     {"BLOB", LEAT_BLOB},
    {"DATE", LEAT_DATE},           {"TIME", LEAT_TIME},
    {"TIMESTAMP", LEAT_TIMESTAMP}, {"TIMESTAMP WITH TIME ZONE", LEAT_TIMESTAMPTZ},
    {"INTERVAL", LEAT_INTERVAL},   {"UUID", LEAT_UUID},
};

struct leat_type leat_bound_type(const json_t *type) {
    struct leat_type result = {.kind = LEAT_NESTED};
    const char *id = type ? leat_json_text(type, "id") : "BOOLEAN";
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].id, id) == 0) result.kind = (uint8_t)kinds[i].kind;
    if (result.kind == LEAT_DECIMAL) {
        const json_t *info = json_object_get(type, "type_info");
        result.width = (uint8_t)leat_json_int(info, "width");
        result.scale = (uint8_t)leat_json_int(info, "scale");
    }
    return result;
}

bool leat_bound_type_is_alias(const json_t *type) {
    return *leat_json_text(json_object_get(type, "type_info"), "alias") != 0;
}

static bool put_struct_type(const json_t *info, struct leat_buffer *out) {
    size_t count = leat_json_count(info, "child_types");
    leat_put(out, "STRUCT(");
    for (size_t i = 0; i < count; i++) {
        const json_t *child = leat_json_at(info, "child_types", i);
        const char *name = leat_json_text(child, "first");
        if (!*name) return false;
        if (i) leat_put(out, ", ");
        leat_put_sql_name(out, name);
        leat_put(out, " ");
        if (!leat_bound_type_sql(json_object_get(child, "second"), out)) return false;
    }
    leat_put(out, ")");
    return count > 0;
}

static bool put_map_type(const json_t *info, struct leat_buffer *out) {
    const json_t *entry = json_object_get(json_object_get(info, "child_type"), "type_info");
    if (leat_json_count(entry, "child_types") != 2) return false;
    leat_put(out, "MAP(");
    if (!leat_bound_type_sql(json_object_get(leat_json_at(entry, "child_types", 0), "second"), out)) return false;
    leat_put(out, ", ");
    if (!leat_bound_type_sql(json_object_get(leat_json_at(entry, "child_types", 1), "second"), out)) return false;
    leat_put(out, ")");
    return true;
}

static bool put_enum_type(const json_t *info, struct leat_buffer *out) {
    leat_put(out, "ENUM(");
    for (size_t i = 0; i < leat_json_count(info, "values"); i++) {
        if (i) leat_put(out, ", ");
        leat_put_sql_string(out, json_string_value(leat_json_at(info, "values", i)));
    }
    leat_put(out, ")");
    return leat_json_count(info, "values") > 0;
}

bool leat_bound_type_sql(const json_t *type, struct leat_buffer *out) {
    static const char *const more[] = {"TIMESTAMP_S",         "TIMESTAMP_MS", "TIMESTAMP_NS",
                                       "TIME WITH TIME ZONE", "BIT",          "TIME_NS"};
    const char *id = leat_json_text(type, "id");
    const json_t *info = json_object_get(type, "type_info");
    if (leat_bound_type_is_alias(type)) {
        /* Only JSON comes with the engine; other names would have to be created by the user. */
        if (!leat_json_is(info, "alias", "JSON")) return false;
        leat_put(out, "JSON");
        return true;
    }
    struct leat_type simple = leat_bound_type(type);
    if (simple.kind != LEAT_NESTED) {
        char text[32];
        leat_type_print(simple, text);
        leat_put(out, text);
        return true;
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (strcmp(more[i], id) == 0) {
            leat_put(out, id);
            return true;
        }
    if (strcmp(id, "STRUCT") == 0) return put_struct_type(info, out);
    if (strcmp(id, "MAP") == 0) return put_map_type(info, out);
    if (strcmp(id, "ENUM") == 0) return put_enum_type(info, out);
    if (strcmp(id, "LIST") == 0 || strcmp(id, "ARRAY") == 0) {
        if (!leat_bound_type_sql(json_object_get(info, "child_type"), out)) return false;
        if (*id == 'L')
            leat_put(out, "[]");
        else
            leat_putf(out, "[%lld]", (long long)leat_json_int(info, "size"));
        return true;
    }
    return false;
}

const json_t *leat_bound_expression_type(const json_t *expression) {
    const json_t *type = json_object_get(expression, "return_type");
    if (!type) type = json_object_get(json_object_get(expression, "value"), "type");
    return type;
}

bool leat_bound_is_ref(const json_t *expression, size_t *index) {
    if (!leat_json_is(expression, "expression_class", "BOUND_REF")) return false;
    *index = (size_t)leat_json_int(expression, "index");
    return true;
}

bool leat_bound_int_constant(const json_t *expression, int64_t *out) {
    const json_t *value = json_object_get(expression, "value");
    const json_t *number = json_object_get(value, "value");
    if (!leat_json_is(expression, "expression_class", "BOUND_CONSTANT")) return false;
    if (leat_json_true(value, "is_null") || !json_is_integer(number)) return false;
    if (leat_bound_type(json_object_get(value, "type")).kind > LEAT_UBIGINT) return false;
    *out = json_integer_value(number);
    return true;
}

bool leat_bound_interval_constant(const json_t *e, struct leat_bound_interval *out) {
    const json_t *value = json_object_get(e, "value"), *content = json_object_get(value, "value");
    if (!leat_json_is(e, "expression_class", "BOUND_CONSTANT") || leat_json_true(value, "is_null")) return false;
    if (leat_bound_type(json_object_get(value, "type")).kind != LEAT_INTERVAL) return false;
    *out = (struct leat_bound_interval){leat_json_int(content, "months"), leat_json_int(content, "days"), leat_json_int(content, "micros")};
    return out->months < 3000 && out->months > -3000 && out->days < 100000 && out->days > -100000 && out->micros < INT64_MAX / 4 &&
           out->micros > -INT64_MAX / 4;
}

bool leat_bound_uses_class(const json_t *expression, const char *expression_class) {
    if (json_is_array(expression)) {
        for (size_t i = 0; i < json_array_size(expression); i++)
            if (leat_bound_uses_class(json_array_get(expression, i), expression_class)) return true;
        return false;
    }
    if (!json_is_object(expression)) return false;
    if (leat_json_is(expression, "expression_class", expression_class)) return true;
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)expression, key,
                        member) if (leat_bound_uses_class(member, expression_class)) return true;
    return false;
}
