/* dial [--changes N] [--seed S] [--verbose yes]: the dial under load. A case turns one table, of a shop, of examples/retail or of the bench's
 * project (bench/projects/stream), each in its turn: 1 s -> 1 day -> 10 s -> suspended -> 1 s, and on the way, drawn, to a schedule and back or to another query and
 * back. 5,000 records come every second of simulated time, out of order, twice, late; the catalogue changes. In the middle of each change the
 * process is killed, after a drawn number of calls that write, often again in the start that follows; a change that was not hit does not
 * count. After each: verify prints 0 differing rows; bronze has every record that was written, once; an append-only table that nobody turns, and
 * whose rows carry their place, has had every record once and nothing taken back; what sinks recorded of that table and of the one that
 * is turned, added up, is the table, every change once; a change without waiting input has written nothing
 * to tables that stay. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/usage.h"
#include "engine/engine.h"
#include "sim/clock.h"
#include "sim/kill.h"
#include "sql/duck.h"

#define START_US INT64_C(1772323200000000)
enum { EVENTS_PER_SECOND = 5000, PRODUCTS = 40 };
enum project { SHOP, RETAIL, BENCH };

/* What is turned. Of the shop: its query, another one, and what stands beside its freshness. */
struct subject { enum project project; const char *name, *query, *other, *extra; }; /* other: with the same columns, else its sink begins anew */
enum { SHOP_TABLES = 4, SUBJECTS = 12 };
static const struct subject subjects[SUBJECTS] = {
    {SHOP, "raw", "SELECT part, place, event_id, amount FROM orders WHERE place % 8 = 0", NULL, ""},
    {SHOP, "latest", "SELECT order_id, arg_max(status, ts) AS status, max(ts) AS updated, count(*) AS n FROM once GROUP BY order_id",
     "SELECT order_id, arg_max(status, ts) AS status, min(ts) AS updated, count(*) AS n FROM once GROUP BY order_id", ""},
    {SHOP, "minutes", "SELECT window_start, category, count(*) AS n, sum(amount) AS amount\nFROM TUMBLE(once, ts, INTERVAL '1' MINUTE) JOIN products USING (product_id) GROUP BY ALL",
     "SELECT window_start, category, count(*) AS n, sum(amount + 1) AS amount\nFROM TUMBLE(once, ts, INTERVAL '1' MINUTE) JOIN products USING (product_id) GROUP BY ALL",
     " ALLOW LATENESS INTERVAL '20' SECOND"},
    {SHOP, "closed", "SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '30' SECOND) GROUP BY window_start",
     "SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '30' SECOND) WHERE amount >= 1 GROUP BY window_start", " EMIT ON WINDOW CLOSE"},
    {RETAIL, "cleaned_lines", NULL, NULL, NULL}, {RETAIL, "revenue_by_day", NULL, NULL, NULL}, {RETAIL, "revenue_by_month", NULL, NULL, NULL},
    {RETAIL, "top_products", NULL, NULL, NULL}, {RETAIL, "customers", NULL, NULL, NULL},
    {BENCH, "order_status", NULL, NULL, NULL}, {BENCH, "silver_orders", NULL, NULL, NULL}, {BENCH, "revenue_by_minute", NULL, NULL, NULL}};
static const char over[] = "SELECT status, count(*) AS orders, sum(n) AS records FROM latest GROUP BY status";

static struct leat_duck *ducks[3];
static bool verbose;
static uint64_t changes_done, missed, kills, quiet_changes, turned[SUBJECTS], records_done, verified_rows;
static double simulated_s; /* in which these records came */

struct run {
    struct leat_env env;
    struct leat_clock clock;
    struct leat_random random;
    int64_t now_us, event_us;
    struct leat_engine *engine;
    char dir[300];
    uint64_t records;      /* written */
    char *recent[64];      /* lines to be sent again */
    size_t recent_count;
    uint64_t calls;        /* of a change that was not killed, about */
    const struct subject *subject;
    int products[PRODUCTS]; /* the category of each; -1: not in the catalogue */
};

static void die(const char *what) {
    fprintf(stderr, "dial: %s\n", what);
    exit(3);
}

static uint64_t below(struct run *r, uint64_t n) {
    return leat_random_next(&r->random) % n;
}

static bool chance(struct run *r, unsigned percent) {
    return below(r, 100) < percent;
}

/* ---- the shop -------------------------------------------------------------------------------------------------------------- */

static void write_file(const struct run *r, const char *name, const char *text, const char *mode) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *file = fopen(path, mode);
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) die(path);
}

static void put_sinks(const struct run *r, struct leat_buffer *sql) {
    leat_put(sql, "CREATE SINK raw_out FROM raw WITH (connector = 'file', path = 'raw.out', start = 'snapshot');\n");
    if (strcmp(r->subject->name, "raw") == 0) return;
    leat_putf(sql, "CREATE SINK turned_out FROM %s WITH (connector = 'file', path = 'turned.out', on_retract = 'send', start = 'snapshot');\n", r->subject->name);
}

/* A project as it stands, but for some places, and with a table whose rows carry their place. */
static void write_as_it_stands(const struct run *r, const char *path, const char *const places[][2], const char *raw) {
    struct leat_buffer text = {0}, sql = {0};
    struct leat_error err;
    if (leat_io_read_all(leat_io_real(), path, 1 << 20, &text, &err) != LEAT_OK) die(err.text);
    for (const char *at = text.data; *at;) {
        size_t i = 0;
        while (places[i][0] && strncmp(at, places[i][0], strlen(places[i][0])) != 0) i++;
        leat_putn(&sql, places[i][0] ? places[i][1] : at, places[i][0] ? strlen(places[i][1]) : 1);
        at += places[i][0] ? strlen(places[i][0]) : 1;
    }
    leat_putf(&sql, "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS %s;\n", raw);
    put_sinks(r, &sql);
    write_file(r, "project.sql", sql.data, "w");
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&sql);
}

static void write_retail(const struct run *r) {
    static const char *const places[][2] = {
        {"SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'", "FRESHNESS = INTERVAL '1' SECOND"},
        {")\nWITH (connector = 'file', path = '${RETAIL_LINES}'", ") INCLUDE partition AS part, offset AS place\nWITH (connector = 'file', path = '${RETAIL_LINES}'"},
        {NULL, NULL}};
    char lines[400], products[400];
    write_as_it_stands(r, LEAT_SOURCE_DIR "/examples/retail/project.sql", places, "SELECT part, place, InvoiceNo AS invoice FROM lines WHERE place % 8 = 0");
    write_file(r, "in/lines.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n", "w");
    snprintf(lines, sizeof lines, "%s/in/lines*.csv", r->dir);
    snprintf(products, sizeof products, "%s/in/products.csv", r->dir);
    setenv("RETAIL_LINES", lines, 1);
    setenv("RETAIL_PRODUCTS", products, 1);
}

static void write_bench(const struct run *r) {
    static const char *const places[][2] = {
        {")\nWITH (connector = 'file', path = 'in/order_events*.ndjson'", ") INCLUDE partition AS part, offset AS place\nWITH (connector = 'file', path = 'in/order_events*.ndjson'"},
        {"path = 'in/products.csv', format = 'csv'", "path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' SECOND"},
        {NULL, NULL}};
    write_as_it_stands(r, LEAT_SOURCE_DIR "/bench/projects/stream/project.sql", places, "SELECT part, place, event_id FROM order_events WHERE place % 8 = 0");
}

static void write_shop(struct run *r) {
    struct leat_buffer sql = {0};
    leat_put(&sql, "-- the shop\nCREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT, product_id INTEGER, amount INTEGER, status VARCHAR,\n"
                   "  ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) INCLUDE partition AS part, offset AS place\n"
                   "WITH (connector = 'file', path = 'in/orders*.ndjson', format = 'json');\n"
                   "CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR)\n"
                   "WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
                   "CREATE VIEW once AS SELECT DISTINCT ON (event_id) * FROM orders;\n");
    for (const struct subject *s = subjects; s < subjects + SHOP_TABLES; s++)
        if (s == subjects || s == r->subject || chance(r, 40))
            leat_putf(&sql, "CREATE MATERIALIZED TABLE %s -- turned\n  FRESHNESS = INTERVAL '1' SECOND%s\nAS %s;\n", s->name, s->extra, s->query);
    if (strstr(sql.data, "TABLE latest"))
        leat_putf(&sql, "CREATE MATERIALIZED TABLE over FRESHNESS = INTERVAL '%u' SECOND AS %s;\n", chance(r, 50) ? 1 : 3, over);
    put_sinks(r, &sql);
    write_file(r, "project.sql", sql.data, "w");
    leat_buffer_deinit(&sql);
}

/* Some products get another category, come or go. */
static void write_products(struct run *r, int changed) {
    static const char *const heads[] = {"product_id,category\n", "stock_code,description\n", "product_id,category,price\n"};
    static const char *const lines[] = {"%d,c%d\n", "A%d,c%d\n", "%d,c%d,1.50\n"};
    struct leat_buffer text = {0};
    for (int i = 0; i < changed; i++) r->products[changed == PRODUCTS ? (uint64_t)i : below(r, PRODUCTS)] = chance(r, 85) ? (int)below(r, 3) : -1;
    leat_put(&text, heads[r->subject->project]);
    for (int i = 0; i < PRODUCTS; i++)
        if (r->products[i] >= 0) leat_putf(&text, lines[r->subject->project], i, r->products[i]);
    write_file(r, "in/products.new", text.data, "w");
    char from[400], to[400];
    snprintf(from, sizeof from, "%s/in/products.new", r->dir);
    snprintf(to, sizeof to, "%s/in/products.csv", r->dir);
    if (rename(from, to) != 0) die(to);
    leat_buffer_deinit(&text);
}

/* The clock's records are 5,000 a second; their event times are not the clock's: they go on so that windows and days close. */
static const int64_t span_us[] = {[SHOP] = 15000000, [RETAIL] = INT64_C(10000000000), [BENCH] = 60000000};

static char *draw_line(struct run *r, int64_t pace_us) {
    enum project project = r->subject->project;
    int64_t span = span_us[project];
    r->event_us += (int64_t)below(r, 2 * (uint64_t)pace_us);
    int64_t at = r->event_us - (chance(r, 70) ? 0 : (int64_t)below(r, (uint64_t)(chance(r, 20) ? 10 * span : span))), ms = at / 1000, s = at / 1000000;
    if (project == RETAIL) {
        char customer[16] = "";
        if (chance(r, 85)) snprintf(customer, sizeof customer, "%u", 100 + (unsigned)below(r, 8));
        return leat_asprintf("%s%u,%s%u,thing,%d,2026-03-%02d %02d:%02d:%02d,%u.%u,%s,C%u\n", chance(r, 10) ? "C" : "", (unsigned)below(r, 400),
                             chance(r, 20) ? "a" : "A", (unsigned)below(r, PRODUCTS + 3), (int)below(r, 12) - 2, (int)(s / 86400 % 28) + 1, (int)(s / 3600 % 24),
                             (int)(s / 60 % 60), (int)(s % 60), (unsigned)below(r, 9), (unsigned)below(r, 99), customer, (unsigned)below(r, 3));
    }
    return leat_asprintf("{\"event_id\":\"e%llu\",\"order_id\":%u,\"product_id\":%u,\"amount\":%d,\"status\":\"s%u\",\"%s\":\"2026-03-01 %02d:%02d:%02d.%03d\"}\n",
                         (unsigned long long)r->records, (unsigned)below(r, project == BENCH ? 200 : 15), (unsigned)below(r, PRODUCTS + 3),
                         chance(r, 5) ? -1 : (int)below(r, 50), (unsigned)below(r, 4), project == BENCH ? "event_time" : "ts", (int)(ms / 3600000 % 24),
                         (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static void write_records(struct run *r, int64_t took_us) {
    static const char *const files[] = {"in/orders.ndjson", "in/lines.csv", "in/order_events.ndjson"}, *const seconds[] = {"in/orders2.ndjson", "in/lines.csv", "in/order_events2.ndjson"};
    uint64_t n = (uint64_t)took_us * EVENTS_PER_SECOND / 1000000;
    struct leat_buffer text = {0};
    for (uint64_t i = 0; i < n; i++) {
        bool again = r->recent_count && chance(r, 8);
        char *line = again ? r->recent[below(r, r->recent_count)] : draw_line(r, span_us[r->subject->project] / (int64_t)n);
        leat_put(&text, line);
        r->records++;
        if (again) continue;
        size_t at = r->recent_count < sizeof r->recent / sizeof *r->recent ? r->recent_count++ : below(r, r->recent_count);
        free(r->recent[at]);
        r->recent[at] = line;
    }
    if (n) write_file(r, (chance(r, 15) ? seconds : files)[r->subject->project], text.data, "a");
    records_done += n;
    simulated_s += (double)took_us / 1e6;
    leat_buffer_deinit(&text);
    if (chance(r, 20)) write_products(r, 1 + (int)below(r, 2));
}

/* ---- the engine ------------------------------------------------------------------------------------------------------------ */

static enum leat_status reopen(struct run *r, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_engine_options options = {.project_dir = r->dir, .max_step_rows = chance(r, 20) ? 200 + below(r, 800) : 1000 + below(r, 4000), .shared_step = ducks[LEAT_DUCK_STEP],
                                          .shared_plan = ducks[LEAT_DUCK_PLAN], .shared_batch = ducks[LEAT_DUCK_BATCH]};
    leat_engine_close(r->engine);
    r->engine = NULL;
    enum leat_status st = leat_engine_open(&r->env, &options, &diags, &r->engine, err);
    if (st != LEAT_OK && diags.count) snprintf(err->text, sizeof err->text, "%s", diags.items[0].message);
    leat_diagnostics_deinit(&diags);
    return st;
}

/* Records come, and are read and stepped, a while; some are left waiting. */
static enum leat_status play(struct run *r, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    uint64_t got;
    for (uint64_t i = 0, n = 1 + below(r, 2); i < n && st == LEAT_OK; i++) {
        bool did;
        int64_t took_us = 40000 + (int64_t)below(r, 200000);
        write_records(r, took_us);
        r->now_us += took_us;
        if ((st = leat_engine_ingest(r->engine, &got, err)) == LEAT_OK) st = leat_engine_step(r->engine, chance(r, 40), &did, err);
        if (st == LEAT_OK && chance(r, 30)) st = leat_engine_flush(r->engine, chance(r, 30), err);
    }
    return st;
}

static enum leat_status catch_up(struct run *r, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    uint64_t got;
    bool did = true;
    if ((st = leat_engine_ingest(r->engine, &got, err)) != LEAT_OK) return st;
    while (did && st == LEAT_OK) {
        r->now_us += 1000000;
        st = leat_engine_step(r->engine, true, &did, err);
    }
    return st == LEAT_OK ? leat_engine_flush(r->engine, false, err) : st;
}

/* ---- what must hold ---------------------------------------------------------------------------------------------------------- */

/* Commits of the append-only table that take something away. */
static uint64_t removals(const struct run *r) {
    uint64_t found = 0;
    for (int version = 0;; version++) {
        char path[500], line[1 << 14];
        snprintf(path, sizeof path, "%s/lake/raw/_delta_log/%020d.json", r->dir, version);
        FILE *file = fopen(path, "r");
        if (!file) return found;
        bool optimize = false, removes = false;
        while (fgets(line, sizeof line, file)) {
            removes |= strncmp(line, "{\"remove\"", 9) == 0 && !strstr(line, "\"dataChange\":false");
            optimize |= strstr(line, "OPTIMIZE") != NULL;
        }
        fclose(file);
        found += removes && !optimize;
    }
}

static enum leat_status check_raw(struct run *r, struct leat_conn *conn, struct leat_error *err) {
    static const char *const sources[] = {"orders", "lines", "order_events"};
    int64_t records = 0, wrong = 0;
    char *counted = leat_asprintf("SELECT count(*) FROM %s", sources[r->subject->project]);
    enum leat_status st = leat_conn_int(conn, counted, &records, err);
    if (st == LEAT_OK) st = leat_conn_int(conn, "SELECT count(*) - count(DISTINCT (part, place)) FROM raw", &wrong, err);
    if (st == LEAT_OK && records != (int64_t)r->records)
        st = leat_fail(err, LEAT_CONFLICT, "there are %lld records, not %llu", (long long)records, (unsigned long long)r->records);
    if (st == LEAT_OK && wrong) st = leat_fail(err, LEAT_CONFLICT, "raw has %lld rows twice", (long long)wrong);
    if (st == LEAT_OK && removals(r)) st = leat_fail(err, LEAT_CONFLICT, "something was taken back from raw");
    free(counted);
    return st;
}

static enum leat_status row_type(struct leat_conn *conn, const char *table, struct leat_buffer *out, struct leat_error *err) {
    struct leat_schema schema = {0};
    char *sql = leat_asprintf("SELECT * FROM %s", table);
    enum leat_status st = leat_conn_describe(conn, sql, &schema, err);
    for (size_t i = 0; i < schema.field_count; i++) {
        char type[32];
        leat_type_print(schema.fields[i].type, type);
        leat_putf(out, "%s\"%s\" %s", i ? ", " : "", schema.fields[i].name, type);
    }
    leat_schema_deinit(&schema);
    free(sql);
    return st;
}

/* Changes that a sink's file lacks or has too often, and lines that are there twice or out of order. */
static enum leat_status check_sink(const struct run *r, struct leat_conn *conn, const char *file, const char *table, struct leat_error *err) {
    int64_t wrong = 0;
    char path[400];
    struct leat_buffer type = {0};
    snprintf(path, sizeof path, "%s/%s", r->dir, file);
    if (!leat_io_exists(leat_io_real(), path)) return LEAT_OK; /* nothing was to be told yet; the fold of a later turn shows it */
    enum leat_status st = row_type(conn, table, &type, err);
    char *sql = leat_asprintf(
        "WITH l AS MATERIALIZED (SELECT id, kind, \"row\" AS r, lag(id) OVER () AS before FROM read_json('%s', format = 'newline_delimited', "
        "columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'STRUCT(%s)'})), "
        "s AS (SELECT r, CASE kind WHEN 'append' THEN 1 ELSE -1 END AS n FROM l UNION ALL SELECT t, -1 FROM %s t) "
        "SELECT (SELECT count(*) FROM (SELECT r FROM s GROUP BY r HAVING sum(n) <> 0)) + "
        "(SELECT count(*) - count(DISTINCT id) + count(*) FILTER (WHERE id <= before) FROM l)",
        path, type.data, table);
    if (st == LEAT_OK) st = leat_conn_int(conn, sql, &wrong, err);
    if (st == LEAT_OK && wrong) st = leat_fail(err, LEAT_CONFLICT, "what the sink recorded of %s differs from it in %lld places", table, (long long)wrong);
    leat_buffer_deinit(&type);
    free(sql);
    return st;
}

/* with_raw: it is not suspended, so that it has every record. */
static enum leat_status check_content(struct run *r, bool with_raw, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    leat_engine_deliver(r->engine);
    enum leat_status st = leat_conn_open(ducks[LEAT_DUCK_BATCH], &conn, err);
    if (st == LEAT_OK) st = leat_engine_sql_views(r->engine, conn, err);
    if (st == LEAT_OK && with_raw) st = check_raw(r, conn, err);
    if (st == LEAT_OK) st = check_sink(r, conn, "raw.out", "raw", err);
    if (st == LEAT_OK && strcmp(r->subject->name, "raw") != 0) st = check_sink(r, conn, "turned.out", r->subject->name, err);
    if (conn) leat_conn_close(conn);
    return st;
}

static uint64_t rows_in_tables(struct run *r) {
    struct leat_buffer text = {0};
    struct leat_error err;
    json_t *table;
    size_t i;
    uint64_t rows = 0;
    if (leat_engine_status(r->engine, &text, &err) != LEAT_OK) die(err.text);
    json_t *status = json_loads(text.data, 0, NULL);
    json_array_foreach(json_object_get(status, "tables"), i, table) rows += (uint64_t)json_integer_value(json_object_get(table, "rows"));
    json_decref(status);
    leat_buffer_deinit(&text);
    return rows;
}

static enum leat_status verify(struct run *r, struct leat_error *err) {
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    enum leat_status st = leat_engine_verify(r->engine, NULL, 5, &text, &differing, err);
    if (st == LEAT_OK && (differing || (text.data && strstr(text.data, "not compared"))))
        st = leat_fail(err, LEAT_CONFLICT, "tables differ:\n%s", text.data);
    verified_rows += rows_in_tables(r);
    leat_buffer_deinit(&text);
    return st;
}

/* Name -> [version, suspended, freshness] of every table. */
static json_t *versions(struct run *r) {
    struct leat_buffer text = {0};
    struct leat_error err;
    json_t *out = json_object(), *table;
    size_t i;
    if (leat_engine_status(r->engine, &text, &err) != LEAT_OK) die(err.text);
    json_t *status = json_loads(text.data, 0, NULL);
    json_array_foreach(json_object_get(status, "tables"), i, table) {
        json_int_t freshness = json_integer_value(json_object_get(table, "freshness_us"));
        json_object_set_new(out, json_string_value(json_object_get(table, "name")),
                            json_pack("[I,b,I]", json_integer_value(json_object_get(table, "version")),
                                      json_is_true(json_object_get(table, "suspended")), freshness));
    }
    json_decref(status);
    leat_buffer_deinit(&text);
    return out;
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------- */

struct turn { const char *words; bool anew, turned; }; /* "%s" stands for the name or the query */
enum { ASK_OTHER = 4, ASK_SAME, SCHEDULE };
static const struct turn turns[] = {
    {"SET FRESHNESS = INTERVAL '1' DAY", false, false}, {"SET FRESHNESS = INTERVAL '10' SECOND", false, false}, {"SUSPEND", false, false},
    {"RESUME", false, false}, {"AS %s", true, false}, {"AS %s", true, false}, {"SET SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Berlin'", false, true},
    {"SET FRESHNESS = INTERVAL '1' SECOND", true, false},
};

static char *statement(const struct run *r, size_t turn) {
    struct leat_buffer sql = {0};
    leat_putf(&sql, "ALTER MATERIALIZED TABLE %s ", r->subject->name);
    if (turn == ASK_OTHER || turn == ASK_SAME)
        leat_putf(&sql, "AS %s", turn == ASK_OTHER ? r->subject->other : r->subject->query);
    else
        leat_put(&sql, turns[turn].words);
    return sql.data;
}

static enum leat_status alter(struct run *r, const char *sql, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    enum leat_status st = leat_engine_alter(r->engine, sql, false, &diags, NULL, err);
    if (st != LEAT_OK && diags.count) snprintf(err->text, sizeof err->text, "%s", diags.items[0].message);
    leat_diagnostics_deinit(&diags);
    return st;
}

/* The statement, with the process killed on its way; then, as somebody would who does not know how far it came, again. */
static enum leat_status change(struct run *r, const char *sql, bool *hit, struct leat_error *err) {
    leat_io_kill_after(below(r, r->calls));
    enum leat_status st = alter(r, sql, err);
    *hit = leat_io_killed();
    for (int again = 0; st != LEAT_OK && leat_io_killed() && again < 4; again++) {
        kills++;
        leat_engine_close(r->engine);
        r->engine = NULL;
        leat_io_kill_after(again < 2 && chance(r, 10) ? below(r, r->calls) : UINT64_MAX);
        st = reopen(r, err);
        if (st == LEAT_OK && !leat_io_killed()) {
            leat_io_kill_after(UINT64_MAX);
            st = alter(r, sql, err);
        }
    }
    if (st == LEAT_OK && (!*hit || leat_io_kill_calls() > r->calls)) r->calls = leat_io_kill_calls();
    leat_io_kill_after(UINT64_MAX);
    return st;
}

/* Without waiting input nothing is written to tables that stay. */
static enum leat_status compare_versions(const struct run *r, const json_t *before, const json_t *after, struct leat_error *err) {
    const char *name;
    json_t *was;
    json_object_foreach((json_t *)before, name, was) {
        json_int_t from = json_integer_value(json_array_get(was, 0)), to = json_integer_value(json_array_get(json_object_get(after, name), 0));
        if (strcmp(name, r->subject->name) == 0 || strcmp(name, "over") == 0 || r->subject->project != SHOP || from == to) continue;
        return leat_fail(err, LEAT_CONFLICT, "table %s was written to by a change of another: version %lld, then %lld", name, (long long)from, (long long)to);
    }
    return LEAT_OK;
}

static enum leat_status turn(struct run *r, size_t which, struct leat_error *err) {
    bool hit = false, quiet = chance(r, 30), stays = !turns[which].anew && !turns[which].turned && which != 3;
    char *sql = statement(r, which);
    enum leat_status st = play(r, err);
    if (st == LEAT_OK && quiet) st = catch_up(r, err);
    json_t *before = st == LEAT_OK ? versions(r) : NULL;
    if (st == LEAT_OK) st = change(r, sql, &hit, err);
    json_t *after = st == LEAT_OK ? versions(r) : NULL;
    if (st == LEAT_OK && quiet) st = compare_versions(r, before, after, err);
    if (st == LEAT_OK && quiet && stays && !json_equal(json_array_get(json_object_get(before, r->subject->name), 0), json_array_get(json_object_get(after, r->subject->name), 0)))
        st = leat_fail(err, LEAT_CONFLICT, "the table that was only turned was written to");
    quiet_changes += quiet;
    if (st == LEAT_OK && chance(r, 60)) st = play(r, err);
    if (st == LEAT_OK) st = catch_up(r, err);
    if (st == LEAT_OK) st = verify(r, err);
    if (st == LEAT_OK) st = check_content(r, r->subject != subjects || which != 2, err);
    changes_done += hit;
    missed += !hit;
    turned[r->subject - subjects] += hit;
    if (verbose) printf("  %s: %s\n", sql, st == LEAT_OK ? "holds" : err->text);
    if (st != LEAT_OK) leat_prepend(err, "%s", sql);
    json_decref(before);
    json_decref(after);
    free(sql);
    return st;
}

static enum leat_status play_case(struct run *r, struct leat_error *err) {
    size_t plan[16], count = 0;
    enum leat_status st;
    if (r->subject->other && chance(r, 30)) plan[count++] = ASK_OTHER;
    plan[count++] = 0;
    plan[count++] = 1;
    bool may_be_run = r->subject != subjects && !strstr(r->subject->extra ? r->subject->extra : "", "EMIT");
    if (may_be_run && chance(r, 40)) plan[count++] = SCHEDULE, plan[count++] = SCHEDULE + 1;
    plan[count++] = 2;
    plan[count++] = 3;
    if (plan[0] == ASK_OTHER && chance(r, 50)) plan[count++] = ASK_SAME;
    write_products(r, PRODUCTS);
    if ((st = reopen(r, err)) != LEAT_OK) return st;
    for (size_t i = 0; i < count && st == LEAT_OK; i++) st = turn(r, plan[i], err);
    return st;
}

static void quiet_log(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env;
    if (verbose && level >= LEAT_LOG_WARN) printf("    %s\n", line);
}

/* Half of the cases are the shop's, which says more in less time. */
static const struct subject *subject_of(uint64_t seed) {
    return &subjects[seed % 2 ? SHOP_TABLES + seed / 2 % (SUBJECTS - SHOP_TABLES) : seed / 2 % SHOP_TABLES];
}

static bool run_case(uint64_t seed, const char *dir) {
    struct run r = {.now_us = START_US + INT64_C(86400000000), .event_us = INT64_C(3600000000), .calls = 30, .subject = subject_of(seed)};
    struct leat_error err = {0}, ignored;
    char in[400];
    leat_env_real(&r.env);
    leat_random_seed(&r.env.random, seed);
    leat_random_seed(&r.random, seed * 2654435761u + 7);
    leat_clock_virtual_init(&r.clock, &r.now_us);
    r.env.clock = &r.clock;
    r.env.io = leat_io_killable();
    r.env.log = quiet_log;
    snprintf(r.dir, sizeof r.dir, "%s", dir);
    snprintf(in, sizeof in, "%s/in", dir);
    if (leat_io_remove_tree(leat_io_real(), dir, &ignored) != LEAT_OK) die(ignored.text);
    mkdir(dir, 0777);
    mkdir(in, 0777);
    switch (r.subject->project) {
    case SHOP: write_shop(&r); break;
    case BENCH: write_bench(&r); break;
    case RETAIL:
        r.now_us += INT64_C(40) * 86400000000, r.event_us += INT64_C(172800000000); /* its times go on faster, and never below the month's first */
        write_retail(&r);
    }
    enum leat_status st = play_case(&r, &err);
    leat_engine_close(r.engine);
    for (size_t i = 0; i < r.recent_count; i++) free(r.recent[i]);
    if (st != LEAT_OK) printf("case %llu, table %s: %s\n", (unsigned long long)seed, r.subject->name, err.text);
    return st == LEAT_OK;
}

int main(int argc, char **argv) {
    uint64_t wanted = 200, seed = 1, cases = 0, failed = 0;
    struct leat_duck_options options = {.threads = 1, .time_zone = "UTC"};
    struct leat_error err;
    char dir[256];
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--changes") == 0) wanted = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) seed = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--verbose") == 0) verbose = true;
    }
    for (int i = 0; i < 3; i++) {
        options.use = (enum leat_duck_use)i;
        if (leat_duck_open(&options, &ducks[i], &err) != LEAT_OK) die(err.text);
    }
    snprintf(dir, sizeof dir, "%s/leat-dial-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
    for (; changes_done < wanted && failed < 3; cases++)
        failed += !run_case(seed + cases, dir);
    if (!failed && leat_io_remove_tree(leat_io_real(), dir, &err) != LEAT_OK) fprintf(stderr, "%s\n", err.text);
    for (int i = 0; i < 3; i++) leat_duck_close(ducks[i]);
    for (size_t i = 0; i < SUBJECTS; i++) printf("%s%s %llu", i ? ", " : "", subjects[i].name, (unsigned long long)turned[i]);
    puts("");
    printf("%llu changes in %llu cases from seed %llu, each with a kill in its middle (%llu kills; %llu changes were not hit), %llu without waiting input; "
           "%llu records at %.0f a simulated second, %llu rows verified; %.0f ms of CPU a change, %llu failed\n",
           (unsigned long long)changes_done, (unsigned long long)cases, (unsigned long long)seed, (unsigned long long)kills, (unsigned long long)missed,
           (unsigned long long)quiet_changes, (unsigned long long)records_done, (double)records_done / (simulated_s > 0 ? simulated_s : 1),
           (unsigned long long)verified_rows, (double)leat_usage_cpu_us() / 1000.0 / (double)(changes_done + !changes_done), (unsigned long long)failed);
    return failed ? 1 : 0;
}
