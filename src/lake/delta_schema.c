/* A table's schemaString <-> columns. Every column's metadata carries leat's own type as "leat.type", so that types
 * Delta does not have come back.
 * Source: Delta PROTOCOL.md, "Schema Serialization Format". */
#include "lake/delta_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define TYPE_DEPTH_MAX 64

static struct leat_type plain(enum leat_kind kind) {
    return (struct leat_type){.kind = (uint8_t)kind};
}

static struct leat_type decimal(unsigned width) {
    return (struct leat_type){.kind = LEAT_DECIMAL, .width = (uint8_t)width};
}

struct leat_type leat_delta_storage_type(struct leat_type t) {
    switch (t.kind) {
    case LEAT_HUGEINT:
    case LEAT_UHUGEINT:
        return decimal(38);
    case LEAT_UBIGINT:
        return decimal(20);
    case LEAT_UINTEGER:
        return plain(LEAT_BIGINT);
    case LEAT_USMALLINT:
        return plain(LEAT_INTEGER);
    case LEAT_UTINYINT:
        return plain(LEAT_SMALLINT);
    case LEAT_TIME:
    case LEAT_INTERVAL:
    case LEAT_UUID:
    case LEAT_NESTED:
        return plain(LEAT_VARCHAR);
    default:
        return t;
    }
}

/* Delta's names of the types that are stored as they are. */
static const struct {
    const char *delta;
    enum leat_kind kind;
} primitives[] = {
    {"boolean", LEAT_BOOLEAN}, {"byte", LEAT_TINYINT},          {"short", LEAT_SMALLINT},
    {"integer", LEAT_INTEGER}, {"long", LEAT_BIGINT},           {"float", LEAT_FLOAT},
    {"double", LEAT_DOUBLE},   {"string", LEAT_VARCHAR},        {"binary", LEAT_BLOB},
    {"date", LEAT_DATE},       {"timestamp", LEAT_TIMESTAMPTZ}, {"timestamp_ntz", LEAT_TIMESTAMP},
};

/* ---- writing ---- */

static void put_delta_type(struct leat_buffer *b, struct leat_type storage) {
    if (storage.kind == LEAT_DECIMAL) {
        leat_putf(b, "decimal(%u,%u)", storage.width, storage.scale);
        return;
    }
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        if (primitives[i].kind == storage.kind) leat_put(b, primitives[i].delta);
}

enum leat_status leat_delta_schema_json(const struct leat_schema *schema, struct leat_buffer *out,
                                        struct leat_error *err) {
    if (schema->field_count == 0) return leat_fail(err, LEAT_INVALID, "a Delta table needs at least one column");
    leat_put(out, "{\"type\":\"struct\",\"fields\":[");
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct leat_field *f = &schema->fields[i];
        if (!f->name[0])
            return leat_fail(err, LEAT_INVALID, "column %zu has no name, which a Delta table needs", i + 1);
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(schema->fields[k].name, f->name) == 0)
                return leat_fail(
                    err, LEAT_INVALID,
                    "columns \"%.64s\" and \"%.64s\": names in a Delta table must differ in more than case",
                    schema->fields[k].name, f->name);
        char type[32];
        leat_type_print(f->type, type);
        if (i) leat_put(out, ",");
        leat_put(out, "{\"name\":");
        leat_put_json_string(out, f->name, strlen(f->name));
        leat_put(out, ",\"type\":\"");
        put_delta_type(out, leat_delta_storage_type(f->type));
        leat_putf(out, "\",\"nullable\":%s,\"metadata\":{\"leat.type\":\"%s\"}}", f->not_null ? "false" : "true",
                  f->type.kind == LEAT_NESTED ? "NESTED" : type);
    }
    leat_put(out, "]}");
    return LEAT_OK;
}

/* ---- reading ---- */

static enum leat_status bad_schema(struct leat_error *err, const char *what) {
    return leat_fail(err, LEAT_CORRUPT, "the table's schema: %s", what);
}

static enum leat_status put_duck_type(json_t *type, int depth, struct leat_buffer *out, struct leat_type *leaf,
                                      struct leat_error *err);

static enum leat_status put_primitive(const char *name, struct leat_buffer *out, struct leat_type *leaf,
                                      struct leat_error *err) {
    unsigned width, scale;
    char end;
    *leaf = plain(LEAT_NESTED);
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        if (strcmp(primitives[i].delta, name) == 0) *leaf = plain(primitives[i].kind);
    if (strcmp(name, "decimal") == 0)
        *leaf = decimal(10);
    else if (sscanf(name, "decimal(%2u,%2u%c", &width, &scale, &end) == 3 && end == ')') {
        if (width < 1 || width > 38 || scale > width)
            return bad_schema(err, "a decimal's precision must be 1 to 38, its scale no more");
        *leaf = decimal(width);
        leaf->scale = (uint8_t)scale;
    }
    if (leaf->kind == LEAT_NESTED)
        return leat_fail(err, LEAT_UNSUPPORTED,
                         "the table has a column of the type \"%.64s\", which leat does not know", name);
    char text[32];
    leat_type_print(*leaf, text);
    leat_put(out, text);
    return LEAT_OK;
}

static enum leat_status put_struct(json_t *type, int depth, struct leat_buffer *out, struct leat_error *err) {
    json_t *fields = json_object_get(type, "fields");
    struct leat_type ignored;
    if (!json_is_array(fields) || json_array_size(fields) == 0) return bad_schema(err, "a struct has no fields");
    leat_put(out, "STRUCT(");
    for (size_t i = 0; i < json_array_size(fields); i++) {
        json_t *field = json_array_get(fields, i), *name = json_object_get(field, "name");
        if (!json_is_string(name)) return bad_schema(err, "a field has no name");
        if (i) leat_put(out, ", ");
        leat_put_sql_name(out, json_string_value(name));
        leat_put(out, " ");
        enum leat_status status = put_duck_type(json_object_get(field, "type"), depth + 1, out, &ignored, err);
        if (status != LEAT_OK) return status;
    }
    leat_put(out, ")");
    return LEAT_OK;
}

static enum leat_status put_duck_type(json_t *type, int depth, struct leat_buffer *out, struct leat_type *leaf,
                                      struct leat_error *err) {
    struct leat_type ignored;
    if (depth > TYPE_DEPTH_MAX) return bad_schema(err, "types are nested too deeply");
    if (json_is_string(type)) return put_primitive(json_string_value(type), out, leaf, err);
    const char *kind = json_string_value(json_object_get(type, "type"));
    *leaf = plain(LEAT_NESTED);
    if (!kind) return bad_schema(err, "a column has no type");
    if (strcmp(kind, "struct") == 0) return put_struct(type, depth, out, err);
    enum leat_status status;
    if (strcmp(kind, "array") == 0) {
        status = put_duck_type(json_object_get(type, "elementType"), depth + 1, out, &ignored, err);
        leat_put(out, "[]");
        return status;
    }
    if (strcmp(kind, "map") == 0) {
        leat_put(out, "MAP(");
        status = put_duck_type(json_object_get(type, "keyType"), depth + 1, out, &ignored, err);
        leat_put(out, ", ");
        if (status == LEAT_OK)
            status = put_duck_type(json_object_get(type, "valueType"), depth + 1, out, &ignored, err);
        leat_put(out, ")");
        return status;
    }
    return leat_fail(err, LEAT_UNSUPPORTED, "the table has a column of the type \"%.64s\", which leat does not know",
                     kind);
}

static enum leat_status parse_column(json_t *field, struct leat_delta_columns *columns, struct leat_error *err) {
    struct leat_buffer text = {0};
    json_t *name = json_object_get(field, "name"), *metadata = json_object_get(field, "metadata");
    json_t *leat_type = json_object_get(metadata, "leat.type"), *nullable = json_object_get(field, "nullable");
    if (!json_is_string(name) || !json_string_value(name)[0]) return bad_schema(err, "a column has no name");
    struct leat_delta_column *c = &columns->items[columns->count];
    enum leat_status status = put_duck_type(json_object_get(field, "type"), 0, &text, &c->storage, err);
    if (status != LEAT_OK) {
        leat_buffer_deinit(&text);
        return leat_prepend(err, "column \"%.64s\"", json_string_value(name));
    }
    columns->count++;
    c->name = leat_strdup(json_string_value(name));
    c->duck_type = text.data;
    c->nullable = !json_is_false(nullable);
    c->logical = c->storage;
    c->is_timestamp = c->storage.kind == LEAT_TIMESTAMPTZ;
    if (json_object_get(metadata, "delta.invariants")) columns->has_invariants = true;
    if (!json_is_string(leat_type)) return LEAT_OK;
    struct leat_type logical = plain(LEAT_NESTED);
    const char *spelled = json_string_value(leat_type);
    if (strcmp(spelled, "NESTED") != 0 && leat_type_parse(spelled, strlen(spelled), &logical, NULL) != LEAT_OK)
        return LEAT_OK;
    if (!leat_type_equal(leat_delta_storage_type(logical), c->storage))
        return LEAT_OK; /* somebody changed the column */
    c->has_leat_type = true;
    if (logical.kind != LEAT_NESTED) c->logical = logical;
    return LEAT_OK;
}

enum leat_status leat_delta_columns_parse(const char *schema_json, char *const *partition_columns,
                                          size_t partition_column_count, struct leat_delta_columns *out,
                                          struct leat_error *err) {
    json_error_t at;
    memset(out, 0, sizeof *out);
    json_t *root = schema_json ? json_loads(schema_json, 0, &at) : NULL;
    json_t *fields = json_object_get(root, "fields");
    enum leat_status status = LEAT_OK;
    if (!json_is_array(fields) || json_array_size(fields) == 0) {
        status = bad_schema(err, "it is not a struct with fields");
        goto out;
    }
    out->items = leat_alloc(json_array_size(fields) * sizeof *out->items);
    for (size_t i = 0; status == LEAT_OK && i < json_array_size(fields); i++)
        status = parse_column(json_array_get(fields, i), out, err);
    out->ours = partition_column_count == 0;
    for (size_t i = 0; i < out->count; i++) {
        out->ours = out->ours && out->items[i].has_leat_type;
        for (size_t p = 0; p < partition_column_count; p++)
            if (strcasecmp(partition_columns[p], out->items[i].name) == 0) out->items[i].is_partition = true;
    }
out:
    json_decref(root);
    if (status != LEAT_OK) leat_delta_columns_deinit(out);
    return status;
}

void leat_delta_columns_deinit(struct leat_delta_columns *columns) {
    for (size_t i = 0; i < columns->count; i++) {
        free(columns->items[i].name);
        free(columns->items[i].duck_type);
    }
    free(columns->items);
    memset(columns, 0, sizeof *columns);
}

enum leat_status leat_delta_snapshot_schema(const struct leat_delta_snapshot *snapshot, struct leat_schema *out,
                                            struct leat_error *err) {
    struct leat_delta_columns columns;
    memset(out, 0, sizeof *out);
    enum leat_status status = leat_delta_columns_parse(snapshot->schema_json, snapshot->partition_columns,
                                                       snapshot->partition_column_count, &columns, err);
    if (status != LEAT_OK) return status;
    for (size_t i = 0; i < columns.count; i++)
        leat_schema_add(out, columns.items[i].name, columns.items[i].logical, !columns.items[i].nullable);
    leat_delta_columns_deinit(&columns);
    return LEAT_OK;
}
