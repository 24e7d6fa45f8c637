/* Rows of a table of Cassandra or ScyllaDB, page by page, for references. A page is read at one moment, the table is not: rows written meanwhile may be
 * among them or not. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "connect/cql/cql.h"
#include "connect/rows.h"
#include "connect/rows_cassandra.h"
#include "data/value.h"

enum { PAGE_ROWS_FIRST = 100, PAGE_ROWS_MAX = 5000, PAGE_BYTES = 2 << 20 };

struct cassandra_rows {
    struct leat_database base;
    const struct leat_source *source;
    struct leat_cql *session;
    enum leat_cql_consistency consistency;
    int64_t timeout_us;
    struct leat_buffer statement, paging_state, text;
    struct leat_cql_reply page;
    bool reading, more; /* a page is there; another one is behind it */
    int32_t page_rows;  /* asked for at once: an answer may not be longer than a frame, however wide rows are */
    struct leat_cql_bytes *cells;
    struct leat_row_value *values;
    size_t *ends; /* of each value in `text` */
};

static struct cassandra_rows *self(struct leat_database *rows) {
    return (struct cassandra_rows *)(void *)rows;
}

/* ---- Values as text ---- */

static void put_time_of_day(struct leat_buffer *out, int64_t ns) {
    leat_putf(out, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%09" PRId64, ns / INT64_C(3600000000000), ns / INT64_C(60000000000) % 60,
              ns / 1000000000 % 60, ns % 1000000000);
}

static void put_date(struct leat_buffer *out, int64_t days) {
    int64_t year;
    unsigned month, day;
    leat_civil_from_days(days, &year, &month, &day);
    leat_putf(out, "%04" PRId64 "-%02u-%02u", year, month, day);
}

static void put_timestamp(struct leat_buffer *out, int64_t ms) {
    int64_t days = ms / 86400000 - (ms % 86400000 < 0), rest = ms - days * 86400000;
    put_date(out, days);
    leat_putf(out, " %02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64, rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
}

static void put_uuid(struct leat_buffer *out, const uint8_t *bytes) {
    for (int i = 0; i < 16; i++) leat_putf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", bytes[i]);
}

/* A two's complement number of any length that 128 bits hold, with its point before the last `scale` digits. */
static bool put_big(struct leat_buffer *out, const uint8_t *bytes, int32_t length, int32_t scale) {
    char digits[48];
    size_t n = sizeof digits;
    if (length < 1 || length > 16 || scale < -38 || scale > 1000) return false;
    leat_i128 value = bytes[0] & 0x80 ? -1 : 0;
    for (int32_t i = 0; i < length; i++) value = (leat_i128)((unsigned __int128)value << 8 | bytes[i]);
    unsigned __int128 rest = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    do digits[--n] = (char)('0' + (int)(rest % 10));
    while ((rest /= 10) != 0);
    int32_t count = (int32_t)(sizeof digits - n), whole = count - scale;
    leat_put(out, value < 0 ? "-" : "");
    if (whole <= 0) leat_put(out, "0");
    for (int32_t i = 0; i < whole; i++) leat_putn(out, i < count ? &digits[n + (size_t)i] : "0", 1);
    if (scale <= 0) return true;
    leat_put(out, ".");
    for (int32_t i = whole; i < 0; i++) leat_put(out, "0");
    leat_putn(out, digits + n + (whole > 0 ? whole : 0), (size_t)(whole > 0 ? scale : count));
    return true;
}

static bool put_float(struct leat_buffer *out, const uint8_t *bytes, int32_t length) {
    uint64_t bits = 0;
    float narrow;
    double wide;
    for (int32_t i = 0; i < length; i++) bits = bits << 8 | bytes[i];
    uint32_t low = (uint32_t)bits;
    memcpy(&narrow, &low, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    if (length == 4) leat_putf(out, "%.9g", (double)narrow);
    else leat_putf(out, "%.17g", wide);
    return true;
}

/* The length that values of a type have; 0: any. */
static int32_t width_of(uint16_t type) {
    switch (type) {
    case LEAT_CQL_BOOLEAN:
    case LEAT_CQL_TINYINT: return 1;
    case LEAT_CQL_SMALLINT: return 2;
    case LEAT_CQL_INT:
    case LEAT_CQL_FLOAT:
    case LEAT_CQL_DATE: return 4;
    case LEAT_CQL_BIGINT:
    case LEAT_CQL_COUNTER:
    case LEAT_CQL_DOUBLE:
    case LEAT_CQL_TIME:
    case LEAT_CQL_TIMESTAMP: return 8;
    case LEAT_CQL_UUID:
    case LEAT_CQL_TIMEUUID: return 16;
    default: return 0;
    }
}

bool leat_cassandra_is_null(uint16_t type, struct leat_cql_bytes v) {
    bool any_bytes = type == LEAT_CQL_ASCII || type == LEAT_CQL_VARCHAR || type == LEAT_CQL_BLOB;
    return v.length < 0 || (v.length == 0 && !any_bytes);
}

bool leat_cassandra_put_text(struct leat_buffer *out, uint16_t type, struct leat_cql_bytes v) {
    int64_t n = 0;
    if (width_of(type) && v.length != width_of(type)) return false;
    if (v.length == 1 || v.length == 2 || v.length == 4 || v.length == 8) (void)leat_cql_get_integer(v, &n);
    switch (type) {
    case LEAT_CQL_ASCII:
    case LEAT_CQL_VARCHAR:
    case LEAT_CQL_BLOB: leat_putn(out, (const char *)v.data, (size_t)v.length); return true;
    case LEAT_CQL_BOOLEAN: leat_put(out, n ? "true" : "false"); return true;
    case LEAT_CQL_TINYINT:
    case LEAT_CQL_SMALLINT:
    case LEAT_CQL_INT:
    case LEAT_CQL_BIGINT:
    case LEAT_CQL_COUNTER: leat_putf(out, "%" PRId64, n); return true;
    case LEAT_CQL_FLOAT:
    case LEAT_CQL_DOUBLE: return put_float(out, v.data, v.length);
    case LEAT_CQL_VARINT: return put_big(out, v.data, v.length, 0);
    case LEAT_CQL_DECIMAL:
        if (v.length < 5) return false;
        (void)leat_cql_get_integer((struct leat_cql_bytes){v.data, 4}, &n);
        return put_big(out, v.data + 4, v.length - 4, (int32_t)n);
    case LEAT_CQL_DATE: put_date(out, (int64_t)(uint32_t)n - INT64_C(2147483648)); return true;
    case LEAT_CQL_TIME:
        if (n < 0 || n >= INT64_C(86400000000000)) return false;
        put_time_of_day(out, n);
        return true;
    case LEAT_CQL_TIMESTAMP: put_timestamp(out, n); return true;
    case LEAT_CQL_UUID:
    case LEAT_CQL_TIMEUUID: put_uuid(out, v.data); return true;
    default: return false;
    }
}

/* ---- The connection ---- */

static int64_t deadline(const struct cassandra_rows *r) {
    return leat_clock_real()->monotonic_us(leat_clock_real()) + r->timeout_us;
}

static void cassandra_close(struct leat_database *rows) {
    struct cassandra_rows *r = self(rows);
    if (r->session) leat_cql_close(r->session);
    leat_buffer_deinit(&r->statement);
    leat_buffer_deinit(&r->paging_state);
    leat_buffer_deinit(&r->text);
    free(r->cells);
    free(r->values);
    free(r->ends);
    free(r);
}

static enum leat_status cassandra_open(const struct leat_source *source, const atomic_int *stop, struct leat_database **out, struct leat_error *err) {
    struct cassandra_rows *r = leat_alloc(sizeof *r);
    static const enum leat_cql_consistency consistencies[] = {LEAT_CQL_ONE, LEAT_CQL_QUORUM, LEAT_CQL_LOCAL_QUORUM, LEAT_CQL_LOCAL_ONE};
    r->base.ops = &leat_database_cassandra;
    r->source = source;
    r->timeout_us = leat_source_option_int(source, "timeout", 60000000);
    r->page_rows = PAGE_ROWS_FIRST;
    r->consistency = consistencies[leat_source_option_int(source, "consistency", 2)];
    r->values = leat_alloc((source->value_count + 1) * sizeof *r->values);
    r->ends = leat_alloc((source->value_count + 1) * sizeof *r->ends);
    struct leat_cql_config config = {
        .contact_points = leat_source_option(source, "contact_points"),
        .user = leat_source_option(source, "user"),
        .password = leat_source_option(source, "password"),
        .tls = leat_source_option_int(source, "tls", 0) != 0,
        .tls_ca = leat_source_option(source, "tls_ca"),
        .tls_cert = leat_source_option(source, "tls_cert"),
        .tls_key = leat_source_option(source, "tls_key"),
        .tls_any_host = leat_source_option_int(source, "tls_any_host", 0) != 0,
        .request_timeout_us = r->timeout_us,
    };
    enum leat_status st = leat_cql_open(leat_clock_real(), &config, &r->session, err);
    if (st == LEAT_OK) leat_cql_heed(r->session, stop);
    if (st == LEAT_OK) st = leat_cql_connect(r->session, deadline(r), err);
    *out = st == LEAT_OK ? &r->base : NULL;
    if (st != LEAT_OK) cassandra_close(&r->base);
    return st;
}

static enum leat_status next_page(struct cassandra_rows *r, struct leat_error *err) {
    struct leat_cql_item item = {.statement = -1, .text = r->statement.data};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = r->consistency, .page_rows = r->page_rows};
    request.paging_state = (struct leat_cql_bytes){(const uint8_t *)r->paging_state.data, (int32_t)r->paging_state.length};
    r->reading = false;
    enum leat_status st = leat_cql_run(r->session, &request, deadline(r), &r->page, err);
    if (st == LEAT_OK && (r->page.result.kind != LEAT_CQL_ROWS || r->page.result.column_count != r->source->value_count || !r->page.result.columns))
        st = leat_fail(err, LEAT_INVALID, "Cassandra: the answer has not the columns asked for");
    if (st != LEAT_OK) return st;
    const struct leat_cql_bytes *state = &r->page.result.paging_state;
    const int64_t bytes = r->page.result.end - r->page.result.next_row;
    if (bytes < PAGE_BYTES / 2 && r->page_rows < PAGE_ROWS_MAX) r->page_rows *= 2;
    else if (bytes > PAGE_BYTES && r->page_rows > 1) r->page_rows /= 2;
    leat_buffer_reset(&r->paging_state);
    r->reading = true;
    r->more = state->length > 0;
    if (r->more) leat_putn(&r->paging_state, (const char *)state->data, (size_t)state->length);
    r->cells = leat_realloc(r->cells, (r->page.result.column_count + 1) * sizeof *r->cells);
    return LEAT_OK;
}

static enum leat_status cassandra_begin(struct leat_database *rows, const struct leat_rows_query *query, struct leat_error *err) {
    struct cassandra_rows *r = self(rows);
    (void)query; /* has no cursor: there is no such option */
    leat_buffer_reset(&r->statement);
    leat_buffer_reset(&r->paging_state);
    leat_put(&r->statement, "SELECT ");
    for (size_t i = 0; i < r->source->value_count; i++) {
        leat_put(&r->statement, i ? ", " : "");
        leat_cql_put_name(&r->statement, leat_source_column(r->source, i));
    }
    leat_put(&r->statement, " FROM ");
    leat_cql_put_name(&r->statement, leat_source_option(r->source, "keyspace"));
    leat_put(&r->statement, ".");
    leat_cql_put_name(&r->statement, leat_source_option(r->source, "table"));
    return next_page(r, err);
}

static enum leat_status cassandra_next(struct leat_database *rows, const struct leat_row_value **values, struct leat_error *err) {
    struct cassandra_rows *r = self(rows);
    while (!r->reading || !leat_cql_next_row(&r->page.result, r->cells)) {
        if (!r->reading || !r->more) return LEAT_END;
        enum leat_status st = next_page(r, err);
        if (st != LEAT_OK) return st;
    }
    leat_buffer_reset(&r->text);
    leat_put(&r->text, " "); /* so that it has memory, and no value is NULL by having none */
    for (size_t i = 0; i < r->source->value_count; i++) {
        if (leat_cassandra_is_null(r->page.result.columns[i].type, r->cells[i])) r->cells[i].length = -1;
        if (r->cells[i].length >= 0 && !leat_cassandra_put_text(&r->text, r->page.result.columns[i].type, r->cells[i]))
            return leat_fail(err, LEAT_INVALID, "Cassandra: column \"%s\" has a value or a type (number %u) that cannot be read", leat_source_column(r->source, i),
                             r->page.result.columns[i].type);
        r->ends[i] = r->text.length;
    }
    for (size_t i = 0, from = 1; i < r->source->value_count; from = r->ends[i++])
        r->values[i] = (struct leat_row_value){r->cells[i].length < 0 ? NULL : r->text.data + from, r->ends[i] - from};
    leat_row_bound(r->values, r->source->value_count);
    *values = r->values;
    return LEAT_OK;
}

const struct leat_database_ops leat_database_cassandra = {
    .name = "cassandra",
    .open = cassandra_open,
    .begin = cassandra_begin,
    .next = cassandra_next,
    .close = cassandra_close,
};
