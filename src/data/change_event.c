/* Upsert, Debezium, Canal and Maxwell events in JSON.
 *
 * Debezium   {"op": "c|r|u|d", "before": row, "after": row, ...}, perhaps as "payload" beside "schema"; MongoDB's connector
 *            writes rows as text, with numbers and identifiers as {"$numberLong": "1"}
 * Canal      {"type": "INSERT|UPDATE|DELETE", "data": [row], ...}; several rows are split when they come in (change_split.c)
 * Maxwell    {"type": "insert|update|delete|bootstrap-insert", "data": row, ...}
 * Upsert     the value is the row, the key its key; no value: the row is gone (a tombstone, which Debezium sends too) */
#include "data/change_event.h"

#include <strings.h>

#include "data/json_text.h"

struct member {
    const char *name;
    struct leat_bytes value; /* as it stands in the text */
};

/* Finds members of the object; of equal names the last. False: not a JSON object. */
static bool find_members(struct leat_bytes text, struct leat_arena *arena, struct member *members, size_t count, struct leat_json_fault *fault) {
    const char *end = text.data + text.length, *p = leat_json_space(text.data, end), *name;
    size_t length;
    for (size_t i = 0; i < count; i++)
        members[i].value = (struct leat_bytes){0};
    *fault = (struct leat_json_fault){p, "an object was expected"};
    if (p == end || *p != '{') return false;
    p = leat_json_space(p + 1, end);
    while (p < end && *p != '}') {
        *fault = (struct leat_json_fault){p, "a key was expected"};
        if (*p != '"' || !(p = leat_json_string(p + 1, end, arena, &name, &length, fault))) return false;
        p = leat_json_space(p, end);
        *fault = (struct leat_json_fault){p, "':' was expected"};
        if (p == end || *p != ':') return false;
        const char *value = leat_json_space(p + 1, end);
        if (!(p = leat_json_skip(value, end, 1, fault))) return false;
        for (size_t i = 0; i < count; i++)
            if (strlen(members[i].name) == length && memcmp(members[i].name, name, length) == 0)
                members[i].value = (struct leat_bytes){value, (size_t)(p - value)};
        p = leat_json_space(p, end);
        *fault = (struct leat_json_fault){p, "',' or '}' was expected"};
        if (p == end || (*p != ',' && *p != '}')) return false;
        if (*p == ',') p = leat_json_space(p + 1, end);
    }
    *fault = (struct leat_json_fault){p, "the object is not closed"};
    return p < end;
}

static bool begins_with(struct leat_bytes value, char c) {
    return value.length && *value.data == c;
}

/* A JSON string equal to the text, in any case. */
static bool is_text(struct leat_bytes value, const char *text) {
    size_t length = strlen(text);
    return value.length == length + 2 && begins_with(value, '"') && strncasecmp(value.data + 1, text, length) == 0;
}

static const char *not_json(struct leat_arena *arena, const char *what, struct leat_bytes text, struct leat_json_fault fault) {
    return leat_arena_printf(arena, "the %s is not valid JSON at byte %zu: %s", what, (size_t)(fault.at - text.data), fault.what);
}

/* What "payload" holds where Kafka Connect's converter wrote "schema" beside it. */
static struct leat_bytes unwrap(struct leat_bytes text, struct leat_arena *arena) {
    struct member envelope[] = {{.name = "schema"}, {.name = "payload"}};
    struct leat_json_fault fault;
    bool wrapped = find_members(text, arena, envelope, 2, &fault) && envelope[1].value.data;
    return wrapped ? envelope[1].value : text;
}

/* ---- MongoDB */

/* The value of {"$numberLong": value} and its like, at p; NULL: it is no such object. */
static const char *plain_value(const char *p, const char *end, struct leat_arena *arena, struct leat_bytes *value) {
    static const char *const names[] = {"$numberLong", "$numberInt", "$numberDouble", "$numberDecimal", "$oid", "$date"};
    struct leat_json_fault fault;
    const char *after = leat_json_skip(p, end, 1, &fault);
    if (!after) return NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct member member = {.name = names[i]};
        if (!find_members((struct leat_bytes){p, (size_t)(after - p)}, arena, &member, 1, &fault) || !member.value.data) continue;
        *value = member.value;
        return after;
    }
    return NULL;
}

/* Extended JSON, in a JSON string, to plain JSON. */
static const char *read_mongo(struct leat_bytes text, struct leat_arena *arena, struct leat_bytes *row) {
    struct leat_json_fault fault = {0};
    struct leat_bytes value;
    const char *inner;
    size_t length, used = 0;
    if (!leat_json_string(text.data + 1, text.data + text.length, arena, &inner, &length, &fault)) return not_json(arena, "row's text", text, fault);
    char *plain = leat_arena_alloc(arena, length + 1);
    for (const char *p = inner, *end = inner + length; p < end;) {
        const char *after = *p == '{' && p > inner ? plain_value(p, end, arena, &value) : NULL;
        if (!after && *p == '"' && (after = leat_json_skip(p, end, 1, &fault))) value = (struct leat_bytes){p, (size_t)(after - p)};
        if (!after) {
            plain[used++] = *p++;
            continue;
        }
        memcpy(plain + used, value.data, value.length);
        used += value.length;
        p = after;
    }
    *row = (struct leat_bytes){plain, used};
    return NULL;
}

/* ---- the feeds */

static const char *read_tombstone(const struct leat_message *m, struct leat_arena *arena, struct leat_change_event *out) {
    if (!m->key.data) return "it has neither a value nor a key";
    *out = (struct leat_change_event){.deleted = true, .key_only = true, .row = unwrap(m->key, arena)};
    return NULL;
}

static const char *take_row(struct leat_bytes row, struct leat_arena *arena, struct leat_change_event *out) {
    if (begins_with(row, '"')) return read_mongo(row, arena, &out->row);
    if (!begins_with(row, '{')) return "the changed row is not an object";
    out->row = row;
    return NULL;
}

static const char *read_debezium(const struct leat_message *m, struct leat_arena *arena, struct leat_change_event *out) {
    enum { OP, BEFORE, AFTER };
    struct member members[] = {{.name = "op"}, {.name = "before"}, {.name = "after"}};
    struct leat_bytes text = unwrap(m->value, arena), op;
    struct leat_json_fault fault;
    if (begins_with(text, 'n')) return read_tombstone(m, arena, out); /* null, also as a payload */
    if (!find_members(text, arena, members, 3, &fault)) return not_json(arena, "value", text, fault);
    op = members[OP].value;
    if (is_text(op, "c") || is_text(op, "r") || is_text(op, "u")) return take_row(members[AFTER].value, arena, out);
    if (is_text(op, "d")) {
        if (!members[BEFORE].value.data || begins_with(members[BEFORE].value, 'n')) return read_tombstone(m, arena, out);
        out->deleted = out->key_only = true;
        return take_row(members[BEFORE].value, arena, out);
    }
    if (is_text(op, "t")) return "its op is 't', TRUNCATE: which rows that removed is not said; delete them by events, or rebuild the source";
    return op.data ? leat_arena_printf(arena, "its op is %.*s, not \"c\", \"r\", \"u\" or \"d\"", op.length > 20 ? 20 : (int)op.length, op.data)
                   : "it has no op: not an event of Debezium";
}

static const char *read_canal_or_maxwell(bool canal, const struct leat_message *m, struct leat_arena *arena, struct leat_change_event *out) {
    enum { TYPE, DATA };
    struct member members[] = {{.name = "type"}, {.name = "data"}};
    struct leat_json_fault fault;
    if (!find_members(m->value, arena, members, 2, &fault)) return not_json(arena, "value", m->value, fault);
    struct leat_bytes type = members[TYPE].value, row = members[DATA].value;
    if (!type.data) return "it has no type: not a change event";
    out->deleted = out->key_only = is_text(type, "delete");
    if (!out->deleted && !is_text(type, "insert") && !is_text(type, "update") && !is_text(type, "bootstrap-insert"))
        return leat_arena_printf(arena, "its type is %.*s: it changes no row", type.length > 30 ? 30 : (int)type.length, type.data);
    if (canal) {
        if (!begins_with(row, '[')) return "its data is no list of rows";
        const char *end = row.data + row.length - 1, *p = leat_json_space(row.data + 1, end), *after = p < end ? leat_json_skip(p, end, 1, &fault) : NULL;
        if (!after) return "its list of rows is empty";
        if (leat_json_space(after, end) != end) return "its list has several rows that were not split";
        row = (struct leat_bytes){p, (size_t)(after - p)};
    }
    return take_row(row, arena, out);
}

const char *leat_change_event_read(enum leat_change_feed feed, const struct leat_message *m, struct leat_arena *arena, struct leat_change_event *out) {
    *out = (struct leat_change_event){0};
    bool empty = !m->value.data || !m->value.length;
    switch (feed) {
    case LEAT_FEED_UPSERT:
        if (empty) return read_tombstone(m, arena, out);
        out->row = m->value;
        return NULL;
    case LEAT_FEED_DEBEZIUM:
        return empty ? read_tombstone(m, arena, out) : read_debezium(m, arena, out);
    case LEAT_FEED_CANAL:
    case LEAT_FEED_MAXWELL:
        return empty ? "it has no value" : read_canal_or_maxwell(feed == LEAT_FEED_CANAL, m, arena, out);
    case LEAT_FEED_NONE:
        break;
    }
    leat_panic("a source that is no change feed has no change events");
}

/* ---- events of several changes ---- */

struct pieces {
    struct leat_arena *arena;
    const char *const *columns;
    size_t column_count;
    struct member *now, *before; /* per column: of the row, of its old values */
    struct leat_bytes *items;
    size_t count, capacity;
};

static void add_piece(struct pieces *p, struct leat_buffer *text) {
    if (p->count == p->capacity) {
        size_t capacity = p->capacity ? p->capacity * 2 : 8;
        struct leat_bytes *items = leat_arena_alloc(p->arena, capacity * sizeof *items);
        if (p->count) memcpy(items, p->items, p->count * sizeof *items);
        p->items = items;
        p->capacity = capacity;
    }
    p->items[p->count++] = (struct leat_bytes){leat_arena_copy(p->arena, text->data, text->length), text->length};
    leat_buffer_reset(text);
}

static void put_member(struct leat_buffer *text, const char *name, struct leat_bytes value) {
    leat_put(text, text->length > 1 && text->data[text->length - 1] != '{' ? "," : "");
    leat_put_json_string(text, name, strlen(name));
    leat_put(text, ":");
    leat_putn(text, value.data, value.length);
}

static bool same_text(struct leat_bytes a, struct leat_bytes b) {
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

/* The old values name a key column with another value than it has now. */
static bool key_moved(struct pieces *p, struct leat_bytes row, struct leat_bytes old) {
    struct leat_json_fault fault;
    bool moved = false;
    for (size_t i = 0; i < p->column_count; i++)
        p->now[i].name = p->before[i].name = p->columns[i];
    if (!begins_with(old, '{') || !find_members(old, p->arena, p->before, p->column_count, &fault) || !find_members(row, p->arena, p->now, p->column_count, &fault))
        return false;
    for (size_t i = 0; i < p->column_count; i++)
        moved |= p->before[i].value.data && p->now[i].value.data && !same_text(p->before[i].value, p->now[i].value);
    return moved;
}

/* The row under its old key is gone. */
static void add_deletion(struct pieces *p, bool canal, struct leat_bytes database, struct leat_bytes table) {
    struct leat_buffer text = {0};
    leat_put(&text, "{\"type\":\"DELETE\"");
    if (database.data) put_member(&text, "database", database);
    if (table.data) put_member(&text, "table", table);
    leat_put(&text, canal ? ",\"data\":[{" : ",\"data\":{");
    for (size_t i = 0; i < p->column_count; i++) {
        struct leat_bytes value = p->before[i].value.data ? p->before[i].value : p->now[i].value;
        if (value.data) put_member(&text, p->columns[i], value);
    }
    leat_put(&text, canal ? "}]}" : "}}");
    add_piece(p, &text);
    leat_buffer_deinit(&text);
}

/* The next element of a JSON list; NULL: there is none. */
static const char *next_element(const char *p, const char *end, struct leat_bytes *out) {
    struct leat_json_fault fault;
    p = leat_json_space(p, end);
    if (p < end && *p == ',') p = leat_json_space(p + 1, end);
    const char *after = p < end && *p != ']' ? leat_json_skip(p, end, 1, &fault) : NULL;
    *out = after ? (struct leat_bytes){p, (size_t)(after - p)} : (struct leat_bytes){0};
    return after;
}

enum { SPLIT_TYPE, SPLIT_DATA, SPLIT_OLD, SPLIT_DATABASE, SPLIT_TABLE, SPLIT_ID, SPLIT_ES, SPLIT_TS, SPLIT_MEMBERS };

static void split_canal(struct pieces *p, const struct member *members) {
    struct leat_bytes data = members[SPLIT_DATA].value, old = members[SPLIT_OLD].value, row, before = {0};
    const char *end = data.data + data.length, *at = data.data + 1, *old_end = old.data + old.length, *old_at = begins_with(old, '[') ? old.data + 1 : NULL;
    struct leat_buffer text = {0};
    bool update = is_text(members[SPLIT_TYPE].value, "update");
    while ((at = next_element(at, end, &row))) {
        if (old_at) old_at = next_element(old_at, old_end, &before);
        if (!old_at) before = (struct leat_bytes){0};
        if (update && key_moved(p, row, before)) add_deletion(p, true, members[SPLIT_DATABASE].value, members[SPLIT_TABLE].value);
        leat_put(&text, "{");
        for (size_t i = 0; i < SPLIT_MEMBERS; i++)
            if (i != SPLIT_DATA && i != SPLIT_OLD && members[i].value.data) put_member(&text, members[i].name, members[i].value);
        leat_put(&text, ",\"data\":[");
        leat_putn(&text, row.data, row.length);
        leat_put(&text, "],\"old\":");
        if (before.data) {
            leat_put(&text, "[");
            leat_putn(&text, before.data, before.length);
            leat_put(&text, "]}");
        } else {
            leat_put(&text, "null}");
        }
        add_piece(p, &text);
    }
    leat_buffer_deinit(&text);
}

size_t leat_change_event_split(enum leat_change_feed feed, struct leat_bytes value, const char *const *columns, size_t column_count, struct leat_arena *arena,
                               struct leat_bytes **out) {
    struct member members[SPLIT_MEMBERS] = {{.name = "type"},  {.name = "data"}, {.name = "old"}, {.name = "database"},
                                            {.name = "table"}, {.name = "id"},   {.name = "es"},  {.name = "ts"}};
    struct leat_json_fault fault;
    struct pieces p = {.arena = arena, .columns = columns, .column_count = column_count};
    *out = NULL;
    if ((feed != LEAT_FEED_CANAL && feed != LEAT_FEED_MAXWELL) || !value.data || !find_members(value, arena, members, SPLIT_MEMBERS, &fault)) return 0;
    p.now = leat_arena_alloc(arena, (column_count + 1) * sizeof *p.now);
    p.before = leat_arena_alloc(arena, (column_count + 1) * sizeof *p.before);
    struct leat_bytes data = members[SPLIT_DATA].value;
    if (feed == LEAT_FEED_CANAL && begins_with(data, '[') && members[SPLIT_TYPE].value.data) {
        split_canal(&p, members);
    } else if (feed == LEAT_FEED_MAXWELL && begins_with(data, '{') && is_text(members[SPLIT_TYPE].value, "update") &&
               key_moved(&p, data, members[SPLIT_OLD].value)) {
        struct leat_buffer whole = {0};
        add_deletion(&p, false, members[SPLIT_DATABASE].value, members[SPLIT_TABLE].value);
        leat_putn(&whole, value.data, value.length);
        add_piece(&p, &whole);
        leat_buffer_deinit(&whole);
    }
    *out = p.items;
    return p.count > 1 ? p.count : 0;
}
