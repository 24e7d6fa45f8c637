/* Avro schemas: JSON to nodes. */
#include "data/avro.h"

#include "base/limits.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 20000, NAMES_MAX = 4096 };

struct named {
    char *name; /* with its namespace */
    uint32_t node;
};
struct parser {
    struct leat_avro_schema *out;
    struct leat_arena *arena;
    struct named *named;
    size_t named_count;
    const char *why;
};

static uint32_t fail(struct parser *p, const char *why) {
    if (!p->why) p->why = why;
    return 0;
}

static uint32_t add_node(struct parser *p, enum leat_avro_type type) {
    if (p->out->node_count == NODES_MAX) return fail(p, "the schema is too large");
    p->out->nodes = leat_realloc(p->out->nodes, (p->out->node_count + 1) * sizeof *p->out->nodes);
    p->out->nodes[p->out->node_count] = (struct leat_avro_node){.type = (uint8_t)type};
    return (uint32_t)p->out->node_count++;
}

/* Nodes move when others are added: a child is made first and put in then. */
static void add_child(struct parser *p, uint32_t node, const char *name, uint32_t child) {
    struct leat_avro_node *n = &p->out->nodes[node];
    n->children = leat_realloc(n->children, (n->count + 1) * sizeof *n->children);
    n->children[n->count] = child;
    if (name) {
        n->names = leat_realloc(n->names, (n->count + 1) * sizeof *n->names);
        n->names[n->count] = leat_strdup(name);
    }
    n->count++;
}

static uint32_t parse(struct parser *p, const json_t *json, const char *space, int depth);

static int primitive(const char *name) {
    static const char *const names[] = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

static const char *full_name(struct parser *p, const char *name, const char *space) {
    return strchr(name, '.') || !space || !*space ? name : leat_arena_printf(p->arena, "%s.%s", space, name);
}

static uint32_t look_up(struct parser *p, const char *name, const char *space) {
    int type = primitive(name);
    if (type >= 0) return add_node(p, (enum leat_avro_type)type);
    const char *full = full_name(p, name, space);
    for (size_t i = 0; i < p->named_count; i++)
        if (strcmp(p->named[i].name, full) == 0 || strcmp(p->named[i].name, name) == 0) return p->named[i].node;
    return fail(p, leat_arena_printf(p->arena, "the schema names a type '%.100s' that it does not define", name));
}

/* Remembers a named type; returns the namespace that holds inside it. */
static const char *define(struct parser *p, const json_t *json, uint32_t node, const char *space) {
    const char *name = json_string_value(json_object_get(json, "name")), *own = json_string_value(json_object_get(json, "namespace"));
    if (!name || p->named_count == NAMES_MAX) {
        fail(p, name ? "the schema has too many named types" : "a type of the schema has no name");
        return space;
    }
    const char *full = full_name(p, name, own ? own : space), *dot = strrchr(full, '.');
    p->named = leat_realloc(p->named, (p->named_count + 1) * sizeof *p->named);
    p->named[p->named_count++] = (struct named){leat_strdup(full), node};
    if (!dot) return own ? own : space;
    char *inside = leat_arena_copy(p->arena, full, (size_t)(dot - full));
    return inside;
}

static void read_meaning(struct parser *p, const json_t *json, uint32_t node) {
    static const struct {
        const char *name;
        enum leat_avro_meaning meaning;
        int64_t unit_ns;
    } meanings[] = {
        {"decimal", LEAT_AVRO_DECIMAL, 0},
        {"date", LEAT_AVRO_DATE, 0},
        {"time-millis", LEAT_AVRO_TIME, 1000000},
        {"time-micros", LEAT_AVRO_TIME, 1000},
        {"timestamp-millis", LEAT_AVRO_TIMESTAMP, 1000000},
        {"timestamp-micros", LEAT_AVRO_TIMESTAMP, 1000},
        {"timestamp-nanos", LEAT_AVRO_TIMESTAMP, 1},
        {"local-timestamp-millis", LEAT_AVRO_TIMESTAMP, 1000000},
        {"local-timestamp-micros", LEAT_AVRO_TIMESTAMP, 1000},
        {"duration", LEAT_AVRO_DURATION, 0},
        {"io.debezium.time.Date", LEAT_AVRO_DATE, 0},
        {"io.debezium.time.Time", LEAT_AVRO_TIME, 1000000},
        {"io.debezium.time.MicroTime", LEAT_AVRO_TIME, 1000},
        {"io.debezium.time.NanoTime", LEAT_AVRO_TIME, 1},
        {"io.debezium.time.Timestamp", LEAT_AVRO_TIMESTAMP, 1000000},
        {"io.debezium.time.MicroTimestamp", LEAT_AVRO_TIMESTAMP, 1000},
        {"io.debezium.time.NanoTimestamp", LEAT_AVRO_TIMESTAMP, 1},
        {"org.apache.kafka.connect.data.Date", LEAT_AVRO_DATE, 0},
        {"org.apache.kafka.connect.data.Time", LEAT_AVRO_TIME, 1000000},
        {"org.apache.kafka.connect.data.Timestamp", LEAT_AVRO_TIMESTAMP, 1000000},
        {"io.debezium.data.VariableScaleDecimal", LEAT_AVRO_SCALED_DECIMAL, 0},
    };
    const char *names[] = {json_string_value(json_object_get(json, "logicalType")), json_string_value(json_object_get(json, "connect.name"))};
    struct leat_avro_node *n = &p->out->nodes[node];
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; names[k] && n->meaning == LEAT_AVRO_PLAIN && i < sizeof meanings / sizeof *meanings; i++) {
            enum leat_avro_meaning meaning = meanings[i].meaning;
            bool number = n->type == LEAT_AVRO_INT || n->type == LEAT_AVRO_LONG, raw = n->type == LEAT_AVRO_BYTES || n->type == LEAT_AVRO_FIXED;
            bool fits = meaning == LEAT_AVRO_DECIMAL          ? raw
                        : meaning == LEAT_AVRO_DURATION       ? n->type == LEAT_AVRO_FIXED && n->size == 12
                        : meaning == LEAT_AVRO_SCALED_DECIMAL ? n->type == LEAT_AVRO_RECORD && n->count == 2
                                                              : number;
            if (strcmp(names[k], meanings[i].name) != 0 || !fits) continue;
            json_int_t scale = json_integer_value(json_object_get(json, "scale"));
            if (meaning == LEAT_AVRO_DECIMAL && (scale < 0 || scale > 38)) return;
            n->meaning = (uint8_t)meaning;
            n->unit_ns = meanings[i].unit_ns;
            n->scale = (uint8_t)scale;
        }
}

static uint32_t parse_record(struct parser *p, const json_t *json, const char *space, int depth) {
    uint32_t node = add_node(p, LEAT_AVRO_RECORD);
    const json_t *fields = json_object_get(json, "fields"), *field;
    size_t i;
    space = define(p, json, node, space);
    if (!json_is_array(fields)) return fail(p, "a record of the schema has no fields");
    json_array_foreach(fields, i, field) {
        const char *name = json_string_value(json_object_get(field, "name"));
        if (!name) return fail(p, "a field of the schema has no name");
        uint32_t child = parse(p, json_object_get(field, "type"), space, depth);
        if (p->why) return 0;
        add_child(p, node, name, child);
    }
    return node;
}

static uint32_t parse_enum(struct parser *p, const json_t *json, const char *space) {
    uint32_t node = add_node(p, LEAT_AVRO_ENUM);
    const json_t *symbol;
    size_t i;
    define(p, json, node, space);
    json_array_foreach(json_object_get(json, "symbols"), i, symbol) {
        if (!json_is_string(symbol)) return fail(p, "a symbol of an enum is no string");
        add_child(p, node, json_string_value(symbol), 0);
    }
    return node;
}

static uint32_t parse_fixed(struct parser *p, const json_t *json, const char *space) {
    json_int_t size = json_integer_value(json_object_get(json, "size"));
    uint32_t node = add_node(p, LEAT_AVRO_FIXED);
    define(p, json, node, space);
    if (size < 0 || size > (json_int_t)LEAT_RECORD_BYTES_MAX) return fail(p, "a fixed type of the schema has no size");
    p->out->nodes[node].size = (uint32_t)size;
    return node;
}

static uint32_t parse_items(struct parser *p, const json_t *items, enum leat_avro_type type, const char *space, int depth) {
    uint32_t node = add_node(p, type), child = parse(p, items, space, depth);
    if (!p->why) add_child(p, node, NULL, child);
    return node;
}

static uint32_t parse_object(struct parser *p, const json_t *json, const char *space, int depth) {
    const json_t *type = json_object_get(json, "type");
    const char *name = json_string_value(type);
    if (!name) return parse(p, type, space, depth); /* {"type": {...}} */
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0) return parse_record(p, json, space, depth);
    if (strcmp(name, "enum") == 0) return parse_enum(p, json, space);
    if (strcmp(name, "fixed") == 0) return parse_fixed(p, json, space);
    if (strcmp(name, "array") == 0) return parse_items(p, json_object_get(json, "items"), LEAT_AVRO_ARRAY, space, depth);
    if (strcmp(name, "map") == 0) return parse_items(p, json_object_get(json, "values"), LEAT_AVRO_MAP, space, depth);
    return look_up(p, name, space);
}

static uint32_t parse_union(struct parser *p, const json_t *json, const char *space, int depth) {
    uint32_t node = add_node(p, LEAT_AVRO_UNION);
    const json_t *branch;
    size_t i;
    json_array_foreach(json, i, branch) {
        uint32_t child = parse(p, branch, space, depth);
        if (p->why) return 0;
        if (json_is_array(branch)) return fail(p, "a union of the schema is directly inside a union");
        add_child(p, node, NULL, child);
    }
    return node;
}

static uint32_t parse(struct parser *p, const json_t *json, const char *space, int depth) {
    if (p->why) return 0;
    if (depth > LEAT_NESTING_MAX) return fail(p, "the schema is nested too deeply");
    if (json_is_string(json)) return look_up(p, json_string_value(json), space);
    if (json_is_array(json)) return parse_union(p, json, space, depth + 1);
    if (!json_is_object(json)) return fail(p, "a type of the schema is neither a name, an object nor a list");
    uint32_t node = parse_object(p, json, space, depth + 1);
    if (!p->why) read_meaning(p, json, node);
    return node;
}

/* A record that is directly in itself would have no end. */
static bool endless(const struct leat_avro_schema *s, uint32_t node, uint8_t *path) {
    const struct leat_avro_node *n = &s->nodes[node];
    if (n->type != LEAT_AVRO_RECORD) return false;
    if (path[node]) return path[node] == 1;
    path[node] = 1;
    for (size_t i = 0; i < n->count; i++)
        if (endless(s, n->children[i], path)) return true;
    path[node] = 2;
    return false;
}

const char *leat_avro_schema_parse(const char *text, size_t length, struct leat_arena *arena, struct leat_avro_schema *out) {
    json_error_t fault;
    *out = (struct leat_avro_schema){0};
    json_t *json = json_loadb(text, length, JSON_DECODE_ANY, &fault);
    struct parser p = {.out = out, .arena = arena};
    uint32_t root = 0;
    if (!json)
        fail(&p, leat_arena_printf(arena, "the schema is not JSON: %s", fault.text));
    else
        root = parse(&p, json, NULL, 0);
    if (!p.why && root != 0) fail(&p, "the schema begins with a reference");
    uint8_t *path = leat_alloc(out->node_count + 1);
    for (uint32_t i = 0; i < out->node_count && !p.why; i++)
        if (endless(out, i, path)) fail(&p, "a record of the schema is directly inside itself");
    free(path);
    json_decref(json);
    for (size_t i = 0; i < p.named_count; i++)
        free(p.named[i].name);
    free(p.named);
    if (p.why) leat_avro_schema_deinit(out);
    return p.why;
}

void leat_avro_schema_deinit(struct leat_avro_schema *s) {
    for (size_t i = 0; i < s->node_count; i++) {
        for (size_t k = 0; s->nodes[i].names && k < s->nodes[i].count; k++)
            free(s->nodes[i].names[k]);
        free(s->nodes[i].names);
        free(s->nodes[i].children);
    }
    free(s->nodes);
    *s = (struct leat_avro_schema){0};
}
