/* What all databases have in common: the statement, and a row as text. */
#include "connect/rows.h"

#include <string.h>
#include <strings.h>

#include "base/limits.h"

static const struct leat_database_ops *const databases[] = {&leat_database_cassandra, &leat_database_odbc, &leat_database_postgres};

const struct leat_database_ops *leat_database_find(const char *connector) {
    for (size_t i = 0; i < sizeof databases / sizeof *databases; i++)
        if (strcasecmp(databases[i]->name, connector) == 0) return databases[i];
    return NULL;
}

const char *leat_source_column(const struct leat_source *source, size_t column) {
    const char *renamed = source->source_names ? source->source_names[column] : NULL;
    return renamed ? renamed : source->schema.fields[column].name;
}

bool leat_source_has_key(const struct leat_source *source, size_t column) {
    for (size_t i = 0; i < source->primary_key_count; i++)
        if (source->primary_key[i] == (int)column) return true;
    return false;
}

/* ---- The statement ---- */

/* A closing quote in a name is doubled. */
static void put_name(struct leat_buffer *sql, const char *name, size_t length, const char *quote) {
    leat_put(sql, quote);
    for (size_t i = 0; i < length; i++) {
        if (name[i] == *quote) leat_putn(sql, quote, 1);
        leat_putn(sql, name + i, 1);
    }
    leat_put(sql, quote);
}

void leat_rows_put_table(struct leat_buffer *sql, const char *table, const char *quote) {
    for (const char *dot; (dot = strchr(table, '.')) != NULL; table = dot + 1) {
        put_name(sql, table, (size_t)(dot - table), quote);
        leat_put(sql, ".");
    }
    put_name(sql, table, strlen(table), quote);
}

static void put_column(struct leat_buffer *sql, const struct leat_source *source, size_t column, const char *quote) {
    const char *name = leat_source_column(source, column);
    put_name(sql, name, strlen(name), quote);
}

void leat_rows_put_select(struct leat_buffer *sql, const struct leat_source *source, const struct leat_rows_query *query, const char *quote) {
    const char *select = leat_source_option(source, "query");
    leat_put(sql, "SELECT ");
    for (size_t i = 0; i < source->value_count; i++) {
        leat_put(sql, i ? ", " : "");
        put_column(sql, source, i, quote);
    }
    leat_put(sql, " FROM ");
    if (select) leat_putf(sql, "(%s\n) AS leat_query", select);
    else leat_rows_put_table(sql, leat_source_option(source, "table"), quote);
    if (query->cursor < 0) return;
    leat_put(sql, " WHERE ");
    put_column(sql, source, (size_t)query->cursor, quote);
    leat_put(sql, query->from ? " >= " : " IS NOT NULL");
    leat_put(sql, query->from ? query->from : "");
    leat_put(sql, " ORDER BY ");
    put_column(sql, source, (size_t)query->cursor, quote);
}

/* ---- A row ---- */

void leat_row_bound(struct leat_row_value *values, size_t count) {
    size_t room = LEAT_RECORD_BYTES_MAX + 1;
    for (size_t i = 0; i < count; i++) {
        if (values[i].length > room) values[i].length = room;
        room -= values[i].length;
    }
}

/* As JSON spells a number, but for NaN, infinities and what lacks a digit before its point. */
static bool is_number(struct leat_row_value v) {
    size_t sign = v.length && *v.data == '-';
    for (size_t i = sign; i < v.length; i++)
        if (!v.data[i] || !strchr("0123456789+-.e", v.data[i])) return false;
    if (v.length <= sign || v.data[sign] < '0' || v.data[sign] > '9') return false;
    return v.data[sign] != '0' || v.length == sign + 1 || v.data[sign + 1] == '.' || v.data[sign + 1] == 'e';
}

/* Bytes as a text that a BLOB is read from: \x61\x62. `escape`: how that text spells a backslash. */
static void put_blob(struct leat_buffer *out, struct leat_row_value v, const char *escape) {
    leat_put(out, "\"");
    for (size_t i = 0; i < v.length; i++) leat_putf(out, "%sx%02x", escape, (unsigned char)v.data[i]);
    leat_put(out, "\"");
}

void leat_row_put_value(struct leat_buffer *out, struct leat_type type, struct leat_row_value v) {
    bool number = type.kind >= LEAT_TINYINT && type.kind <= LEAT_DECIMAL;
    if (!v.data) leat_put(out, "null");
    else if (type.kind == LEAT_BOOLEAN && v.length == 1 && strchr("tf10", *v.data)) leat_put(out, *v.data == 't' || *v.data == '1' ? "true" : "false");
    else if (number && is_number(v)) leat_putn(out, v.data, v.length);
    else if (type.kind == LEAT_BLOB) put_blob(out, v, "\\\\");
    else leat_put_json_string(out, v.data, v.length);
}

void leat_row_put_json(struct leat_buffer *out, const struct leat_source *source, const struct leat_row_value *values, const int *columns, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t column = columns ? (size_t)columns[i] : i;
        const char *name = leat_source_column(source, column);
        leat_put(out, i ? "," : "{");
        leat_put_json_string(out, name, strlen(name));
        leat_put(out, ":");
        leat_row_put_value(out, source->schema.fields[column].type, values[column]);
    }
    leat_put(out, "}");
}

static void put_quoted(struct leat_buffer *out, struct leat_row_value v) {
    leat_put(out, "\"");
    for (const char *from = v.data, *end = v.data + v.length; from < end;) {
        const char *quote = memchr(from, '"', (size_t)(end - from));
        const char *to = quote ? quote + 1 : end;
        leat_putn(out, from, (size_t)(to - from));
        if (quote) leat_put(out, "\"");
        from = to;
    }
    leat_put(out, "\"");
}

void leat_row_put_csv(struct leat_buffer *out, const struct leat_source *source, const struct leat_row_value *values) {
    for (size_t i = 0; i < source->value_count; i++) {
        if (i) leat_put(out, ",");
        if (!values[i].data) continue;
        if (source->schema.fields[i].type.kind == LEAT_BLOB) put_blob(out, values[i], "\\");
        else put_quoted(out, values[i]);
    }
    leat_put(out, "\n");
}
