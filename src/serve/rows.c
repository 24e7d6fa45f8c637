/* Rows of tables: one by its key, pages with filters. Of tables that are held in memory here, in the connection's thread; of others, and as
 * downloads, by a query. */
#include <stdlib.h>
#include <string.h>

#include "data/key.h"
#include "data/value_text.h"
#include "data/value.h"
#include "serve/internal.h"

enum { LIMIT_ROWS = 100, LIMIT_ROWS_MAX = 10000, SEEN_MAX = 20000, FILTERS_MAX = 16, QUERY_US = 60000000 };

/* Puts one row of typed values, parsed from text, into `out` at column c; false: not of that type. */
static bool put_parsed(struct leat_changes *out, size_t c, const char *text) {
    struct leat_type type = out->schema->fields[c].type;
    size_t n = strlen(text), size = leat_type_size(type);
    if (type.kind == LEAT_VARCHAR) {
        ((struct leat_string *)out->columns[c].data)[0] = leat_string_of(leat_arena_copy(&out->strings, text, n), (uint32_t)n);
        return true;
    }
    if (type.kind == LEAT_NESTED) return false;
    char value[16] = {0};
    enum leat_value_status status = leat_value_parse(type, text, n, value, &out->strings);
    if (status != LEAT_VALUE_OK && status != LEAT_VALUE_LOSSY) return false;
    memcpy(out->columns[c].data, value, size);
    return true;
}

static void put_clock(struct leat_buffer *out, int64_t us) {
    struct leat_column column = {.type = {LEAT_TIMESTAMPTZ, 0, 0}, .data = &us};
    leat_put_json_value(out, &column, 0);
}

/* ---- one row ---------------------------------------------------------------------------------------------------- */

static void put_condition(struct leat_buffer *sql, const struct leat_field *field, const char *op, const char *text) {
    char type[32];
    leat_type_print(field->type, type);
    leat_put_sql_name(sql, field->name);
    leat_putf(sql, " %s CAST(", op);
    leat_put_sql_string(sql, text);
    leat_putf(sql, " AS %s)", type);
}

static void row_by_query(struct leat_request *r, const struct leat_live_table *table) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT * FROM ");
    leat_put_sql_name(&sql, table->name);
    for (size_t k = 0; k < table->key_count; k++) {
        leat_put(&sql, k ? " AND " : " WHERE ");
        put_condition(&sql, &table->schema.fields[table->key[k]], "=", r->match.values[k + 1]);
    }
    leat_query_run(r, sql.data, &(struct leat_query_options){.timeout_us = QUERY_US, .one_row = true});
    leat_buffer_deinit(&sql);
}

void leat_handle_row(struct leat_request *r) {
    const struct leat_live_table *table = leat_request_table(r);
    struct leat_live_frontier frontier;
    struct leat_schema key_schema = {0};
    struct leat_changes key, row;
    if (!table) return;
    if (r->match.value_count - 1 != table->key_count) {
        if (table->key_count)
            leat_reply_error(r, 400, "key", "the key of table \"%s\" has %zu value%s, the path %zu", table->name, table->key_count, table->key_count == 1 ? "" : "s",
                             r->match.value_count - 1);
        else
            leat_reply_error(r, 400, "key", "table \"%s\" has no PRIMARY KEY; filter its rows instead: /v1/tables/%s/rows?COLUMN=value", table->name, table->name);
        return;
    }
    for (size_t k = 0; k < table->key_count; k++) {
        const struct leat_field *field = &table->schema.fields[table->key[k]];
        leat_schema_add(&key_schema, field->name, field->type, false);
    }
    leat_changes_init(&key, &key_schema);
    leat_changes_init(&row, &table->schema);
    leat_changes_reserve(&key, 1);
    key.row_count = 1;
    for (size_t k = 0; k < table->key_count; k++) {
        if (put_parsed(&key, k, r->match.values[k + 1])) continue;
        char type[32];
        leat_type_print(key_schema.fields[k].type, type);
        leat_reply_error(r, 400, "key", "'%.100s' is not a %s, as column %s of the key is", r->match.values[k + 1], type, key_schema.fields[k].name);
        goto out;
    }
    if (!table->held) {
        row_by_query(r, table);
        goto out;
    }
    bool found = leat_live_get(r->serve->live, table, &key, &row, &frontier);
    if (found) {
        leat_put_json_row(&r->answer, &row, 0);
        leat_put(&r->answer, "\n");
        leat_reply(r, 200, NULL);
    } else {
        leat_reply_error(r, 404, "not_found", "table \"%s\" has no row of that key", table->name);
    }
    leat_reply_header(r, "Leat-Step", "%llu", (unsigned long long)frontier.step);
out:
    leat_changes_deinit(&key);
    leat_changes_deinit(&row);
    leat_schema_deinit(&key_schema);
}

/* ---- filters ------------------------------------------------------------------------------------------------------- */

enum op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_COUNT };
static const struct { const char *name, *sql; } OPS[OP_COUNT] = {{"eq", "="}, {"ne", "<>"}, {"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="}};

struct filters {
    struct leat_changes values[FILTERS_MAX]; /* one row: the value in its column */
    uint16_t columns[FILTERS_MAX];
    enum op ops[FILTERS_MAX];
    const char *texts[FILTERS_MAX];
    size_t count;
};

static bool keep(void *context, const struct leat_changes *rows, size_t row) {
    const struct filters *filters = context;
    for (size_t i = 0; i < filters->count; i++) {
        const uint16_t *column = &filters->columns[i];
        if (leat_is_null(&rows->columns[*column], row)) return false;
        int c = leat_key_compare(rows, row, column, &filters->values[i], 0, column, 1);
        static const struct { bool less, equal, greater; } takes[OP_COUNT] = {{0, 1, 0}, {1, 0, 1}, {1, 0, 0}, {1, 1, 0}, {0, 0, 1}, {0, 1, 1}};
        if (!(c < 0 ? takes[filters->ops[i]].less : c == 0 ? takes[filters->ops[i]].equal : takes[filters->ops[i]].greater)) return false;
    }
    return true;
}

static void filters_deinit(struct filters *filters) {
    for (size_t i = 0; i < filters->count; i++) leat_changes_deinit(&filters->values[i]);
}

static bool unknown_column(struct leat_request *r, const struct leat_live_table *table, const char *name) {
    const char **names = leat_alloc((table->schema.field_count + 4) * sizeof *names);
    size_t n = 0;
    for (; n < table->schema.field_count; n++) names[n] = table->schema.fields[n].name;
    for (size_t i = 0; i < 3; i++) names[n++] = r->match.route->params[i].name;
    const char *nearest = leat_nearest(name, names, n);
    leat_reply_error(r, 400, "parameter", nearest ? "table \"%s\" has no column '%.100s'; did you mean '%s'?" : "table \"%s\" has no column '%.100s'", table->name, name,
                     nearest);
    free(names);
    return false;
}

static bool add_filter(struct leat_request *r, const struct leat_live_table *table, const struct leat_query_item *item, struct filters *out) {
    int column = leat_schema_find(&table->schema, item->name);
    enum op op = OP_EQ;
    const char *dot = strrchr(item->name, '.');
    if (column < 0 && dot) {
        char *name = leat_strndup(item->name, (size_t)(dot - item->name));
        while (op < OP_COUNT && strcmp(OPS[op].name, dot + 1) != 0) op++;
        if (op < OP_COUNT) column = leat_schema_find(&table->schema, name);
        free(name);
    }
    if (column < 0) return unknown_column(r, table, item->name);
    if (out->count == FILTERS_MAX) {
        leat_reply_error(r, 400, "parameter", "at most %d filters", FILTERS_MAX);
        return false;
    }
    struct leat_changes *value = &out->values[out->count];
    leat_changes_init(value, &table->schema);
    leat_changes_reserve(value, 1);
    value->row_count = 1;
    out->columns[out->count] = (uint16_t)column;
    out->texts[out->count] = item->value;
    out->ops[out->count++] = op;
    if (put_parsed(value, (size_t)column, item->value)) return true;
    char type[32];
    leat_type_print(table->schema.fields[column].type, type);
    leat_reply_error(r, 400, "parameter", "'%.100s' is not a %s, as column %s is", item->value, type, table->schema.fields[column].name);
    return false;
}

/* ---- pages ------------------------------------------------------------------------------------------------------------ */

struct page { int64_t limit, cursor; enum leat_query_format format; };

/* "PLACE" of a page by query; of a live table "PLACE.INCARNATION": places are of this process's memory. */
static bool read_cursor(struct leat_request *r, const struct leat_live_table *table, const char *text, int64_t *out) {
    char *end = NULL;
    bool number = *text >= '0' && *text <= '9';
    *out = number ? (int64_t)strtoull(text, &end, 10) : -1;
    if (!number || *out < 0 || (*end && *end != '.') || (!table->held && *end)) {
        leat_reply_error(r, 400, "parameter", "cursor is what `next` of the page before says");
        return false;
    }
    if (!table->held || (*end && strtoull(end + 1, NULL, 10) == r->serve->incarnation)) return true;
    leat_reply_error(r, 410, "gone", "leat was started again since the page before; begin with the first one");
    return false;
}

static bool read_page(struct leat_request *r, const struct leat_live_table *table, struct page *page, struct filters *filters) {
    *page = (struct page){.limit = LIMIT_ROWS};
    for (size_t i = 0; i < r->query.count; i++) {
        const struct leat_query_item *item = &r->query.items[i];
        if (strcmp(item->name, "limit") == 0) {
            if (leat_parse_int(item->value, &page->limit, NULL) != LEAT_OK || page->limit < 1 || page->limit > LIMIT_ROWS_MAX) {
                leat_reply_error(r, 400, "parameter", "limit is a number from 1 to %d", LIMIT_ROWS_MAX);
                return false;
            }
        } else if (strcmp(item->name, "cursor") == 0) {
            if (!read_cursor(r, table, item->value, &page->cursor)) return false;
        } else if (strcmp(item->name, "format") == 0) {
            if (!leat_query_format_of(item->value, &page->format)) {
                leat_reply_error(r, 400, "parameter", "format is json, ndjson, csv, parquet or arrow");
                return false;
            }
        } else if (!add_filter(r, table, item, filters)) {
            return false;
        }
    }
    return true;
}

static void page_of_live(struct leat_request *r, const struct leat_live_table *table, const struct page *page, struct filters *filters) {
    struct leat_live_frontier frontier;
    struct leat_changes rows;
    uint64_t cursor = (uint64_t)page->cursor;
    leat_changes_init(&rows, &table->schema);
    /* One look holds the engine up for as long as it lasts: so many rows, then the page is given as it is. */
    leat_live_scan(r->serve->live, table, &cursor, (size_t)page->limit, SEEN_MAX, keep, filters, &rows, &frontier);
    leat_put(&r->answer, "{\"table\":");
    leat_put_json_string(&r->answer, table->name, strlen(table->name));
    leat_putf(&r->answer, ",\"step\":%llu,\"clock\":", (unsigned long long)frontier.step);
    put_clock(&r->answer, frontier.clock_us);
    leat_put(&r->answer, ",\"rows\":[");
    for (size_t i = 0; i < rows.row_count; i++) {
        if (i) leat_put(&r->answer, ",");
        leat_put_json_row(&r->answer, &rows, i);
    }
    if (cursor)
        leat_putf(&r->answer, "],\"next\":\"%llu.%u\"}\n", (unsigned long long)cursor, r->serve->incarnation);
    else
        leat_put(&r->answer, "],\"next\":null}\n");
    leat_reply(r, 200, NULL);
    leat_changes_deinit(&rows);
}

static void page_by_query(struct leat_request *r, const struct leat_live_table *table, const struct page *page, const struct filters *filters) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT * FROM ");
    leat_put_sql_name(&sql, table->name);
    for (size_t i = 0; i < filters->count; i++) {
        leat_put(&sql, i ? " AND " : " WHERE ");
        put_condition(&sql, &table->schema.fields[filters->columns[i]], OPS[filters->ops[i]].sql, filters->texts[i]);
    }
    bool download = page->format != LEAT_QUERY_JSON;
    if (!download) leat_putf(&sql, " ORDER BY ALL LIMIT %lld OFFSET %lld", (long long)page->limit, (long long)page->cursor);
    leat_query_run(r, sql.data, &(struct leat_query_options){.format = page->format, .timeout_us = QUERY_US, .file = download ? table->name : NULL,
                                                             .table = table->name, .limit = page->limit, .cursor = page->cursor});
    leat_buffer_deinit(&sql);
}

void leat_handle_rows(struct leat_request *r) {
    const struct leat_live_table *table = leat_request_table(r);
    struct page page;
    struct filters *filters = leat_alloc(sizeof *filters);
    if (!table || !read_page(r, table, &page, filters)) goto out;
    if (table->held && page.format == LEAT_QUERY_JSON)
        page_of_live(r, table, &page, filters);
    else
        page_by_query(r, table, &page, filters);
out:
    filters_deinit(filters);
    free(filters);
}
