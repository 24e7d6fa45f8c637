/* Avro values into rows. Which field is which column is found once a schema; schemas of a registry are in files that the connector
 * has put there (connect/kafka_registry.h), one a number, so that a record is decoded the same whenever it is read again. */
#include "data/decode_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/limits.h"
#include "data/avro.h"
#include "data/utf8.h"

enum { SCHEMA_BYTES_MAX = 4 << 20, FRAME_BYTES = 5, CONTAINERS_MAX = 64 };

struct row_plan {
    uint32_t node;    /* a record */
    int32_t *columns; /* per field; -1: none */
};
struct known_schema {
    uint64_t id;      /* the registry's number; of a container: the text's hash */
    bool container;
    struct leat_avro_schema schema;
    char *why;        /* it cannot be used */
    struct row_plan *plans;
    size_t plan_count;
};
struct leat_avro_decoder {
    struct leat_io *io; /* NULL: no registry */
    char *dir;
    struct known_schema **known;
    size_t known_count, containers;
    struct leat_buffer text; /* of one value */
    uint8_t *seen;
};

void leat_avro_open(struct leat_decoder *d) {
    d->avro = leat_alloc(sizeof *d->avro);
    d->avro->seen = leat_alloc(d->schema.field_count + 1);
}

void leat_avro_close(struct leat_avro_decoder *a) {
    if (!a) return;
    for (size_t i = 0; i < a->known_count; i++) {
        struct known_schema *k = a->known[i];
        for (size_t p = 0; p < k->plan_count; p++)
            free(k->plans[p].columns);
        free(k->plans);
        free(k->why);
        leat_avro_schema_deinit(&k->schema);
        free(k);
    }
    free(a->known);
    free(a->dir);
    free(a->seen);
    leat_buffer_deinit(&a->text);
    free(a);
}

void leat_decoder_use_schemas(struct leat_decoder *d, struct leat_io *io, const char *dir) {
    if (!d->avro) return;
    d->avro->io = io;
    free(d->avro->dir);
    d->avro->dir = leat_strdup(dir);
}

/* ---- schemas ---- */

static struct known_schema *add_known(struct leat_avro_decoder *a, uint64_t id, bool container) {
    struct known_schema *k = leat_alloc(sizeof *k);
    k->id = id;
    k->container = container;
    a->known = leat_realloc(a->known, (a->known_count + 1) * sizeof(struct known_schema *));
    a->known[a->known_count++] = k;
    return k;
}

static struct known_schema *find_known(const struct leat_avro_decoder *a, uint64_t id, bool container) {
    for (size_t i = a->known_count; i-- > 0;)
        if (a->known[i]->id == id && a->known[i]->container == container) return a->known[i];
    return NULL;
}

static void parse_known(struct leat_decoder *d, struct known_schema *k, struct leat_bytes text) {
    const char *why = leat_avro_schema_parse(text.data, text.length, &d->reasons, &k->schema);
    if (why) k->why = leat_strdup(why);
}

/* By the number that frames the value. */
static struct known_schema *schema_of_number(struct leat_decoder *d, uint32_t id) {
    struct leat_avro_decoder *a = d->avro;
    struct known_schema *k = find_known(a, id, false);
    struct leat_buffer text = {0};
    if (k || !a->io) return k;
    char *path = leat_asprintf("%s/%u.json", a->dir, id);
    if (leat_io_read_all(a->io, path, SCHEMA_BYTES_MAX, &text, NULL) == LEAT_OK) {
        k = add_known(a, id, false);
        if (text.length)
            parse_known(d, k, (struct leat_bytes){text.data, text.length});
        else
            k->why = leat_asprintf("the schema registry has no schema %u that is Avro without references", id);
    }
    leat_buffer_deinit(&text);
    free(path);
    return k;
}

static void forget_containers(struct leat_avro_decoder *a) {
    size_t kept = 0;
    for (size_t i = 0; i < a->known_count; i++) {
        struct known_schema *k = a->known[i];
        if (!k->container) {
            a->known[kept++] = k;
            continue;
        }
        for (size_t p = 0; p < k->plan_count; p++)
            free(k->plans[p].columns);
        free(k->plans);
        free(k->why);
        leat_avro_schema_deinit(&k->schema);
        free(k);
    }
    a->known_count = kept;
    a->containers = 0;
}

static struct known_schema *schema_of_text(struct leat_decoder *d, struct leat_bytes text) {
    uint64_t id = XXH3_64bits(text.data, text.length);
    struct known_schema *k = find_known(d->avro, id, true);
    if (k) return k;
    if (d->avro->containers++ == CONTAINERS_MAX) forget_containers(d->avro);
    k = add_known(d->avro, id, true);
    parse_known(d, k, text);
    return k;
}

static const int32_t *plan_of(struct leat_decoder *d, struct known_schema *k, uint32_t node) {
    for (size_t i = 0; i < k->plan_count; i++)
        if (k->plans[i].node == node) return k->plans[i].columns;
    const struct leat_avro_node *n = &k->schema.nodes[node];
    k->plans = leat_realloc(k->plans, (k->plan_count + 1) * sizeof *k->plans);
    struct row_plan *plan = &k->plans[k->plan_count++];
    *plan = (struct row_plan){node, leat_alloc((n->count + 1) * sizeof *plan->columns)};
    for (size_t i = 0; i < n->count; i++) plan->columns[i] = leat_decoder_find(d, n->names[i], strlen(n->names[i]));
    return plan->columns;
}

/* ---- values ---- */

/* The usual pairs of types, without text between. False: the cursor is as it was. */
static bool fast_cell(const struct leat_avro_node *n, struct leat_type type, struct leat_avro_cursor *c, void *cell, const char **reason) {
    struct leat_bytes bytes;
    int64_t value;
    bool whole = n->type == LEAT_AVRO_INT || n->type == LEAT_AVRO_LONG;
    if (n->type == LEAT_AVRO_STRING && type.kind == LEAT_VARCHAR) {
        bytes = leat_avro_bytes(c);
        if (!leat_utf8_valid(bytes.data, bytes.length)) *reason = "not valid UTF-8";
    } else if (n->meaning == LEAT_AVRO_PLAIN && n->type == LEAT_AVRO_BYTES && type.kind == LEAT_BLOB) {
        bytes = leat_avro_bytes(c);
    } else if (whole && type.kind == LEAT_BIGINT) {
        value = leat_avro_long(c);
        memcpy(cell, &value, sizeof value);
        return true;
    } else if (whole && n->meaning == LEAT_AVRO_TIMESTAMP && (type.kind == LEAT_TIMESTAMP || type.kind == LEAT_TIMESTAMPTZ) && n->unit_ns >= 1000) {
        value = leat_avro_long(c);
        if (__builtin_mul_overflow(value, n->unit_ns / 1000, &value) || value < -62135596800000000 || value > 253402300799999999)
            *reason = "outside the years 1 to 9999";
        memcpy(cell, &value, sizeof value);
        return true;
    } else {
        return false;
    }
    struct leat_string s = leat_string_of(bytes.data, (uint32_t)bytes.length);
    memcpy(cell, &s, sizeof s);
    return true;
}

static const char *text_cell(struct leat_decoder *d, const struct known_schema *k, uint32_t node, struct leat_avro_cursor *c, size_t column,
                             struct leat_changes *out, size_t row, bool *lossy) {
    struct leat_buffer *text = &d->avro->text;
    struct leat_type type = d->schema.fields[column].type;
    char *cell = (char *)out->columns[column].data + row * leat_type_size(type);
    leat_buffer_reset(text);
    leat_avro_put_text(&k->schema, node, c, text);
    if (c->fault) return NULL;
    const char *data = text->data ? text->data : "";
    if (leat_type_is_string(type)) {
        if (type.kind == LEAT_VARCHAR && !leat_utf8_valid(data, text->length)) return leat_arena_printf(&d->reasons, "column \"%s\": not valid UTF-8; declare it BLOB", d->schema.fields[column].name);
        struct leat_string s = leat_string_of(leat_arena_copy(&out->strings, data, text->length), (uint32_t)text->length);
        memcpy(cell, &s, sizeof s);
        return NULL;
    }
    enum leat_value_status status = leat_value_parse(type, data, text->length, cell, &out->strings);
    *lossy |= status == LEAT_VALUE_LOSSY;
    return status <= LEAT_VALUE_LOSSY ? NULL : leat_reject_value(d, column, status, data, text->length);
}

static const char *decode_cell(struct leat_decoder *d, const struct leat_decoder *rules, const struct known_schema *k, uint32_t node,
                               struct leat_avro_cursor *c, size_t column, struct leat_changes *out, size_t row, bool *lossy) {
    struct leat_type type = d->schema.fields[column].type;
    char *cell = (char *)out->columns[column].data + row * leat_type_size(type);
    const char *reason = NULL;
    if ((node = leat_avro_resolve(&k->schema, node, c)) == UINT32_MAX) return NULL;
    if (k->schema.nodes[node].type == LEAT_AVRO_NULL) {
        leat_set_null(out, column, row);
        return rules->schema.fields[column].not_null ? leat_reject_missing(d, column, true) : NULL;
    }
    if (fast_cell(&k->schema.nodes[node], type, c, cell, &reason))
        return reason ? leat_arena_printf(&d->reasons, "column \"%s\": %s", d->schema.fields[column].name, reason) : NULL;
    return text_cell(d, k, node, c, column, out, row, lossy);
}

static const char *decode_record(struct leat_decoder *d, const struct leat_decoder *rules, struct known_schema *k, uint32_t node,
                                 struct leat_avro_cursor *c, struct leat_changes *out, size_t row, bool *lossy) {
    const struct leat_avro_node *n = &k->schema.nodes[node];
    const int32_t *columns = plan_of(d, k, node);
    const char *reason = NULL;
    memset(d->avro->seen, 0, d->schema.field_count);
    for (size_t i = 0; i < n->count && !c->fault && !reason; i++) {
        if (columns[i] < 0) {
            *lossy = true;
            leat_avro_skip(&k->schema, n->children[i], c, 1);
            continue;
        }
        d->avro->seen[columns[i]] = 1;
        reason = decode_cell(d, rules, k, n->children[i], c, (size_t)columns[i], out, row, lossy);
    }
    for (size_t i = 0; i < d->schema.field_count && !reason && !c->fault; i++) {
        if (d->avro->seen[i]) continue;
        leat_set_null(out, i, row);
        if (rules->schema.fields[i].not_null) reason = leat_reject_missing(d, i, false);
    }
    return reason;
}

/* A row: a record, or, of a source with one column (`only`: of a key with one), a bare value. */
static const char *decode_row(struct leat_decoder *d, const struct leat_decoder *rules, struct known_schema *k, uint32_t node,
                              struct leat_avro_cursor *c, int only, struct leat_changes *out, size_t row, bool *lossy) {
    node = leat_avro_resolve(&k->schema, node, c);
    const char *reason = NULL;
    if (node == UINT32_MAX) return NULL;
    if (k->schema.nodes[node].type == LEAT_AVRO_RECORD) return decode_record(d, rules, k, node, c, out, row, lossy);
    for (size_t i = 0; i < d->schema.field_count && !reason; i++) {
        if ((int)i == only) {
            reason = decode_cell(d, rules, k, node, c, i, out, row, lossy);
            continue;
        }
        leat_set_null(out, i, row);
        if (rules->schema.fields[i].not_null) reason = leat_reject_missing(d, i, false);
    }
    return reason;
}

/* Its schema and the bytes behind what says so. */
static const char *open_value(struct leat_decoder *d, struct leat_bytes value, struct leat_arena *arena, struct known_schema **k, struct leat_avro_cursor *c) {
    struct leat_bytes schema, record;
    if (!d->framed) {
        const char *why = leat_avro_container_open(value, arena, &schema, &record);
        if (why) return why;
        *k = schema_of_text(d, schema);
    } else {
        const unsigned char *head = (const unsigned char *)value.data;
        if (value.length < FRAME_BYTES || head[0] != 0) return leat_not_framed;
        uint32_t id = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
        *k = schema_of_number(d, id);
        if (!*k) return leat_arena_printf(&d->reasons, "schema %u is not in the connector's folder of schemas", id);
        record = (struct leat_bytes){value.data + FRAME_BYTES, value.length - FRAME_BYTES};
    }
    *c = leat_avro_cursor(record);
    return (*k)->why;
}

static const char *finish(struct leat_decoder *d, const struct leat_avro_cursor *c, const char *reason, bool whole) {
    if (c->fault) return leat_arena_printf(&d->reasons, "not the Avro that its schema says: %s", c->fault);
    if (!reason && whole && c->at != c->end) return "not the Avro that its schema says: something follows the value";
    return reason;
}

const char *leat_avro_decode(struct leat_decoder *d, struct leat_bytes value, struct leat_changes *out, size_t row, bool *lossy) {
    struct known_schema *k;
    struct leat_avro_cursor c;
    const char *reason = open_value(d, value, &out->strings, &k, &c);
    if (reason) return reason;
    reason = decode_row(d, d, k, 0, &c, d->schema.field_count == 1 ? 0 : -1, out, row, lossy);
    return finish(d, &c, reason, true);
}

/* ---- change feeds ---- */

const char *leat_avro_decode_key(struct leat_decoder *d, struct leat_bytes key, struct leat_changes *out, size_t row) {
    struct known_schema *k;
    struct leat_avro_cursor c;
    bool ignored;
    if (!key.data) return "it has neither a value nor a key";
    const char *reason = open_value(d, key, &out->strings, &k, &c);
    if (reason) return leat_arena_printf(&d->reasons, "its key: %s", reason);
    reason = decode_row(d, d->keys_only, k, 0, &c, d->key_column, out, row, &ignored);
    return finish(d, &c, reason, true);
}

/* Where before, after and op begin. */
static const char *find_parts(const struct known_schema *k, struct leat_avro_cursor *c, struct leat_avro_cursor parts[3], uint32_t nodes[3]) {
    static const char *const names[] = {"before", "after", "op"};
    const struct leat_avro_node *root = &k->schema.nodes[0];
    unsigned found = 0;
    if (root->type != LEAT_AVRO_RECORD) return "it is no record: not an event of Debezium";
    for (size_t i = 0; i < root->count && !c->fault; i++) {
        for (size_t p = 0; p < 3; p++) {
            if (strcmp(names[p], root->names[i]) != 0) continue;
            parts[p] = *c;
            nodes[p] = root->children[i];
            found |= 1u << p;
        }
        leat_avro_skip(&k->schema, root->children[i], c, 1);
    }
    return c->fault || found == 7 ? NULL : "its record lacks before, after or op: not an event of Debezium";
}

const char *leat_avro_decode_debezium(struct leat_decoder *d, const struct leat_message *m, struct leat_changes *out, size_t row, bool *deleted) {
    enum { BEFORE, AFTER, OP };
    struct known_schema *k;
    struct leat_avro_cursor c, parts[3];
    uint32_t nodes[3];
    struct leat_buffer op = {0};
    bool ignored;
    const char *reason = open_value(d, m->value, &out->strings, &k, &c);
    if (!reason) reason = find_parts(k, &c, parts, nodes);
    if ((reason = reason || c.fault ? finish(d, &c, reason, true) : finish(d, &c, NULL, true))) return reason;
    leat_avro_put_text(&k->schema, nodes[OP], &parts[OP], &op);
    char letter = op.length == 1 ? op.data[0] : '?';
    leat_buffer_deinit(&op);
    *deleted = letter == 'd';
    if (!letter || !strchr("crud", letter)) return letter == 't' ? "its op is 't', TRUNCATE: which rows that removed is not said" : "its op is not c, r, u or d";
    struct leat_avro_cursor *at = &parts[*deleted ? BEFORE : AFTER];
    uint32_t node = leat_avro_resolve(&k->schema, nodes[*deleted ? BEFORE : AFTER], at);
    if (node != UINT32_MAX && k->schema.nodes[node].type == LEAT_AVRO_NULL)
        return *deleted ? leat_avro_decode_key(d, m->key, out, row) : "the changed row is null";
    if (node != UINT32_MAX && k->schema.nodes[node].type != LEAT_AVRO_RECORD) return "the changed row is no record";
    reason = node == UINT32_MAX ? NULL : decode_record(d, *deleted ? d->keys_only : d, k, node, at, out, row, &ignored);
    return finish(d, at, reason, false);
}
