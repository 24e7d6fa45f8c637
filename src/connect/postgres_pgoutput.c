#include "connect/postgres_pgoutput.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "connect/postgres_copy.h"

struct reader { const uint8_t *at, *end; bool bad; };
/* data NULL: NULL; unchanged: a large value that the change did not touch, and that is not sent. */
struct value { const char *data; size_t length; bool unchanged; };

static const uint8_t *take(struct reader *r, size_t n) {
    if (r->bad || (size_t)(r->end - r->at) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += n;
    return at;
}

static uint64_t take_number(struct reader *r, size_t bytes) {
    const uint8_t *at = take(r, bytes);
    uint64_t n = 0;
    for (size_t i = 0; at && i < bytes; i++) n = n << 8 | at[i];
    return n;
}

static const char *take_text(struct reader *r) {
    const uint8_t *end = r->bad ? NULL : memchr(r->at, 0, (size_t)(r->end - r->at));
    if (!end) {
        r->bad = true;
        return "";
    }
    const char *text = (const char *)r->at;
    r->at = end + 1;
    return text;
}

/* ---- Rows to JSON ---- */

/* As PostgreSQL writes a bytea: \x and pairs of hexadecimal digits. */
static bool is_hexadecimal(struct value v) {
    if (v.length < 2 || v.length % 2 || v.data[0] != '\\' || v.data[1] != 'x') return false;
    for (size_t i = 2; i < v.length; i++)
        if (!isxdigit((unsigned char)v.data[i])) return false;
    return true;
}

/* '\x6162' as a text that a BLOB is read from: \x61\x62. */
static void put_blob(struct leat_buffer *out, struct value v) {
    leat_put(out, "\"");
    for (size_t i = 2; i + 1 < v.length; i += 2) leat_putf(out, "\\\\x%.2s", v.data + i);
    leat_put(out, "\"");
}

static void put_value(struct leat_buffer *out, struct leat_type type, struct value v) {
    if (v.data && type.kind == LEAT_BLOB && is_hexadecimal(v)) put_blob(out, v);
    else if (v.data && type.kind == LEAT_BLOB) leat_put_json_string(out, v.data, v.length); /* which no BLOB is read from */
    else leat_row_put_value(out, type, (struct leat_row_value){v.data, v.length});
}

/* values: by declared column. */
static void put_event(struct leat_buffer *out, const struct leat_source *source, char op, const struct value *values) {
    bool gone = op == 'd', any = false;
    leat_putf(out, "{\"op\":\"%c\",\"%s\":{", op, gone ? "before" : "after");
    for (size_t i = 0; i < source->value_count; i++) {
        const char *name = leat_source_column(source, i);
        if (gone && !leat_source_has_key(source, i)) continue;
        if (any) leat_put(out, ",");
        leat_put_json_string(out, name, strlen(name));
        leat_put(out, ":");
        put_value(out, source->schema.fields[i].type, values[i]);
        any = true;
    }
    leat_put(out, "}}\n");
}

/* ---- Messages ---- */

static bool is_ours(const struct leat_pgoutput *p, const char *schema, const char *table) {
    return strcmp(table, p->table) == 0 && (!p->schema || strcmp(schema, p->schema) == 0);
}

/* A declared column that the relation does not have. */
static const char *find_absent(const struct leat_pgoutput *p) {
    for (size_t k = 0; k < p->source->value_count; k++) {
        size_t i = 0;
        while (i < p->column_count && p->column[i] != (int)k) i++;
        if (i == p->column_count) return leat_source_column(p->source, k);
    }
    return NULL;
}

static void read_relation(struct leat_pgoutput *p, struct reader *r) {
    uint32_t number = (uint32_t)take_number(r, 4);
    const char *schema = take_text(r), *table = take_text(r);
    take(r, 1);
    size_t count = take_number(r, 2);
    if (count > LEAT_PGOUTPUT_COLUMNS_MAX) r->bad = true;
    if (r->bad || !is_ours(p, schema, table)) return;
    p->relation = number;
    p->column_count = count;
    for (size_t i = 0; i < count && !r->bad; i++) {
        take(r, 1);
        const char *name = take_text(r);
        take(r, 8);
        p->column[i] = -1;
        for (size_t k = 0; k < p->source->value_count; k++)
            if (strcmp(leat_source_column(p->source, k), name) == 0) p->column[i] = (int)k;
    }
    p->absent = r->bad ? NULL : find_absent(p);
    p->renamed = false;
}

static void read_tuple(const struct leat_pgoutput *p, struct reader *r, struct value *values) {
    size_t count = take_number(r, 2);
    if (count != p->column_count) r->bad = true;
    memset(values, 0, p->source->value_count * sizeof *values);
    for (size_t i = 0; i < count && !r->bad; i++) {
        struct value v = {0};
        uint64_t kind = take_number(r, 1);
        if (kind == 'u') v.unchanged = true;
        else if (kind == 't') {
            v.length = take_number(r, 4);
            v.data = (const char *)take(r, v.length);
        } else if (kind != 'n') r->bad = true;
        if (p->column[i] >= 0) values[p->column[i]] = v;
    }
}

static bool key_differs(const struct leat_source *source, const struct value *a, const struct value *b) {
    for (size_t i = 0; i < source->value_count; i++)
        if (leat_source_has_key(source, i) && !b[i].unchanged && (a[i].length != b[i].length || memcmp(a[i].data ? a[i].data : "", b[i].data ? b[i].data : "", a[i].length) != 0))
            return true;
    return false;
}

/* What the change did not touch is in the old row, where that has it: all of it where the table's REPLICA IDENTITY is FULL, else the key alone (the rest is
 * told as NULL, which no value that is left out is). What it has not is not known here, which is told as an event that nobody can take for a row. */
static const char *fill_unchanged(const struct leat_source *source, struct value *now, const struct value *old) {
    const char *unknown = NULL;
    for (size_t i = 0; i < source->value_count; i++) {
        if (!now[i].unchanged) continue;
        if (old[i].data) now[i] = old[i];
        else unknown = leat_source_column(source, i);
    }
    return unknown;
}

static void read_change(struct leat_pgoutput *p, struct reader *r, char kind, struct leat_buffer *out) {
    if ((uint32_t)take_number(r, 4) != p->relation || r->bad) return;
    size_t columns = p->source->value_count + 1;
    struct value *now = leat_alloc(2 * columns * sizeof *now), *old = now + columns;
    uint64_t part = take_number(r, 1);
    bool has_old = part == 'K' || part == 'O';
    if (has_old) {
        read_tuple(p, r, old);
        if (kind != 'D') part = take_number(r, 1);
    } else if (kind == 'D') {
        r->bad = true;
    }
    if (kind != 'D') {
        if (part != 'N') r->bad = true;
        read_tuple(p, r, now);
    }
    const char *unknown = r->bad || kind == 'D' ? NULL : fill_unchanged(p->source, now, old);
    if (!r->bad && has_old && (kind == 'D' || key_differs(p->source, old, now))) put_event(out, p->source, 'd', old);
    if (!r->bad && kind != 'D') {
        if (p->renamed && p->absent) leat_putf(out, "{\"op\":\"unknown column\",\"column\":\"%s\",\"reason\":\"it had another name then\"}\n", p->absent);
        else if (unknown) leat_putf(out, "{\"op\":\"unknown column\",\"column\":\"%s\",\"cure\":\"ALTER TABLE ... REPLICA IDENTITY FULL\"}\n", unknown);
        else put_event(out, p->source, kind == 'I' ? 'c' : 'u', now);
    }
    free(now);
}

static void read_truncate(const struct leat_pgoutput *p, struct reader *r, struct leat_buffer *out) {
    uint64_t count = take_number(r, 4);
    bool ours = false;
    take(r, 1);
    for (; count > 0 && !r->bad; count--) ours |= (uint32_t)take_number(r, 4) == p->relation;
    if (ours) leat_put(out, "{\"op\":\"t\"}\n");
}

enum leat_status leat_pgoutput_read(struct leat_pgoutput *p, const char *message, size_t length, struct leat_buffer *out, struct leat_error *err) {
    struct reader r = {.at = (const uint8_t *)message, .end = (const uint8_t *)message + length};
    char kind = (char)take_number(&r, 1);
    switch (kind) {
    case 'B':
        take(&r, 20);
        p->in_transaction = true;
        break;
    case 'C': {
        take(&r, 9);
        uint64_t end = take_number(&r, 8);
        take(&r, 8);
        if (!r.bad) p->end_lsn = end;
        p->in_transaction = false;
        break;
    }
    case 'R': read_relation(p, &r); break;
    case 'I':
    case 'U':
    case 'D': read_change(p, &r, kind, out); break;
    case 'T': read_truncate(p, &r, out); break;
    default: break; /* types, origins, messages: nothing of the table's rows */
    }
    return r.bad ? leat_fail(err, LEAT_CORRUPT, "PostgreSQL: a change message '%c' of %zu bytes is not laid out as the protocol says", kind, length)
                 : LEAT_OK;
}

/* ---- COPY ---- */

enum leat_status leat_pgoutput_copied(const struct leat_source *source, const char *line, size_t length, struct leat_buffer *out,
                                      struct leat_error *err) {
    size_t count = source->value_count;
    struct leat_row_value *fields = leat_alloc((count + 1) * sizeof *fields);
    struct value *values = leat_alloc((count + 1) * sizeof *values);
    char *plain = leat_alloc(length + 1);
    bool whole = leat_pgcopy_text(line, length, count, plain, fields);
    enum leat_status st = whole ? LEAT_OK : leat_fail(err, LEAT_CORRUPT, "PostgreSQL: a copied row has not %zu fields", count);
    for (size_t i = 0; i < count; i++) values[i] = (struct value){.data = fields[i].data, .length = fields[i].length};
    if (st == LEAT_OK) put_event(out, source, 'r', values);
    free(plain);
    free(values);
    free(fields);
    return st;
}
