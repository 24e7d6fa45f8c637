/* dial [--changes N] [--seed S] [--verbose yes]: the dial under load. A case is a shop of four tables, or examples/retail, one of which goes
 * 1 s -> 1 day -> 10 s -> suspended -> 1 s, and on the way, drawn, to a schedule and back or to another query and back. Records come all the
 * time, out of order, twice, late; the catalogue changes. In the middle of each change the process is killed, after a drawn number of calls
 * that write, often again in the start that follows. After each: verify prints 0 differing rows; an append-only table that nobody turns, and
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
enum { TABLES = 4 };
static const char *const names[TABLES] = {"raw", "latest", "minutes", "closed"}, *const queries[TABLES] = {
    "SELECT part, place, event_id, amount FROM orders WHERE amount >= 0",
    "SELECT order_id, arg_max(status, ts) AS status, max(ts) AS updated, count(*) AS n FROM once GROUP BY order_id",
    "SELECT window_start, category, count(*) AS n, sum(amount) AS amount\nFROM TUMBLE(once, ts, INTERVAL '1' MINUTE) JOIN products USING (product_id) GROUP BY ALL",
    "SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '30' SECOND) GROUP BY window_start"};
enum { RETAIL_TABLES = 5 };
static const char *const retail[RETAIL_TABLES] = {"cleaned_lines", "revenue_by_day", "revenue_by_month", "top_products", "customers"};
static const char over[] = "SELECT status, count(*) AS orders, sum(n) AS records FROM latest GROUP BY status";
static const char *const others[TABLES] = {NULL,
    "SELECT order_id, arg_max(status, ts) AS status, min(ts) AS updated, count(*) AS n FROM once GROUP BY order_id",
    "SELECT window_start, category, count(*) AS n, max(amount) AS amount\nFROM TUMBLE(once, ts, INTERVAL '1' MINUTE) JOIN products USING (product_id) GROUP BY ALL",
    "SELECT window_start, count(*) AS n FROM TUMBLE(orders, ts, INTERVAL '30' SECOND) WHERE amount >= 1 GROUP BY window_start"};

static struct leat_duck *ducks[3];
static bool verbose;
static uint64_t changes_done, kills, quiet_changes;

struct run {
    struct leat_env env;
    struct leat_clock clock;
    struct leat_random random;
    int64_t now_us, event_us;
    struct leat_engine *engine;
    char dir[300];
    uint64_t records, raw; /* written; those with an amount that raw takes */
    char *recent[64];      /* lines to be sent again */
    size_t recent_count;
    uint64_t calls;        /* a change's, at the last that was not killed */
    bool retail;
    int table;             /* the one that is turned, of the shop */
    const char *name;      /* its name */
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
    if (strcmp(r->name, "raw") == 0) return;
    leat_putf(sql, "CREATE SINK turned_out FROM %s WITH (connector = 'file', path = 'turned.out', on_retract = 'send', start = 'snapshot');\n", r->name);
}

/* The example as it stands, but for: streams, and a table whose rows carry their place. */
static void write_retail(struct run *r) {
    static const char schedule[] = "SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/London'", source[] = ")\nWITH (connector = 'file', path = '${RETAIL_LINES}'";
    struct leat_buffer text = {0}, sql = {0};
    struct leat_error err;
    char lines[400], products[400];
    if (leat_io_read_all(leat_io_real(), LEAT_SOURCE_DIR "/examples/retail/project.sql", 1 << 20, &text, &err) != LEAT_OK) die(err.text);
    for (const char *at = text.data; *at;) {
        bool is_schedule = strncmp(at, schedule, strlen(schedule)) == 0, is_source = strncmp(at, source, strlen(source)) == 0;
        if (is_schedule) leat_put(&sql, "FRESHNESS = INTERVAL '1' SECOND");
        if (is_source) leat_put(&sql, ") INCLUDE partition AS part, offset AS place\nWITH (connector = 'file', path = '${RETAIL_LINES}'");
        if (!is_schedule && !is_source) leat_putn(&sql, at, 1);
        at += is_schedule ? strlen(schedule) : is_source ? strlen(source) : 1;
    }
    leat_put(&sql, "CREATE MATERIALIZED TABLE raw FRESHNESS = INTERVAL '1' SECOND AS SELECT part, place, InvoiceNo AS invoice FROM lines;\n");
    put_sinks(r, &sql);
    write_file(r, "project.sql", sql.data, "w");
    write_file(r, "in/lines.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n", "w");
    snprintf(lines, sizeof lines, "%s/in/lines*.csv", r->dir);
    snprintf(products, sizeof products, "%s/in/products.csv", r->dir);
    setenv("RETAIL_LINES", lines, 1);
    setenv("RETAIL_PRODUCTS", products, 1);
    leat_buffer_deinit(&text);
    leat_buffer_deinit(&sql);
}

static char *draw_retail_line(struct run *r) {
    r->event_us += (int64_t)below(r, 1200) * 1000000;
    int64_t at = r->event_us / 1000000 - (chance(r, 70) ? 0 : (int64_t)below(r, chance(r, 20) ? 40000 : 6000));
    char customer[16] = "";
    if (chance(r, 85)) snprintf(customer, sizeof customer, "%u", 100 + (unsigned)below(r, 8));
    r->raw++;
    return leat_asprintf("%s%u,%s%u,thing,%d,2026-03-%02d %02d:%02d:%02d,%u.%u,%s,C%u\n", chance(r, 10) ? "C" : "", (unsigned)below(r, 400),
                         chance(r, 20) ? "a" : "A", (unsigned)below(r, 9), (int)below(r, 12) - 2, (int)(at / 86400 % 28) + 1, (int)(at / 3600 % 24),
                         (int)(at / 60 % 60), (int)(at % 60), (unsigned)below(r, 9), (unsigned)below(r, 99), customer, (unsigned)below(r, 3));
}

static void write_project(struct run *r) {
    static const char *const extra[TABLES] = {"", "", " ALLOW LATENESS INTERVAL '20' SECOND", " EMIT ON WINDOW CLOSE"};
    struct leat_buffer sql = {0};
    leat_put(&sql, "-- the shop\nCREATE SOURCE orders (event_id VARCHAR NOT NULL, order_id BIGINT, product_id INTEGER, amount INTEGER, status VARCHAR,\n"
                   "  ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '20' SECOND) INCLUDE partition AS part, offset AS place\n"
                   "WITH (connector = 'file', path = 'in/orders*.ndjson', format = 'json');\n"
                   "CREATE SOURCE products (product_id INTEGER PRIMARY KEY, category VARCHAR)\n"
                   "WITH (connector = 'file', path = 'in/products.csv', format = 'csv', refresh = INTERVAL '1' SECOND);\n"
                   "CREATE VIEW once AS SELECT DISTINCT ON (event_id) * FROM orders;\n");
    for (int t = 0; t < TABLES; t++)
        if (t == 0 || t == r->table || chance(r, 40))
            leat_putf(&sql, "CREATE MATERIALIZED TABLE %s -- turned\n  FRESHNESS = INTERVAL '1' SECOND%s\nAS %s;\n", names[t], extra[t], queries[t]);
    if (strstr(sql.data, "TABLE latest"))
        leat_putf(&sql, "CREATE MATERIALIZED TABLE over FRESHNESS = INTERVAL '%u' SECOND AS %s;\n", chance(r, 50) ? 1 : 3, over);
    put_sinks(r, &sql);
    write_file(r, "project.sql", sql.data, "w");
    leat_buffer_deinit(&sql);
}

static void write_products(struct run *r) {
    struct leat_buffer text = {0};
    leat_put(&text, r->retail ? "stock_code,description\n" : "product_id,category\n");
    for (int i = 0; i < 6; i++)
        if (chance(r, 85)) leat_putf(&text, r->retail ? "A%d,c%u\n" : "%d,c%u\n", i, (unsigned)below(r, 3));
    write_file(r, "in/products.new", text.data, "w");
    char from[400], to[400];
    snprintf(from, sizeof from, "%s/in/products.new", r->dir);
    snprintf(to, sizeof to, "%s/in/products.csv", r->dir);
    if (rename(from, to) != 0) die(to);
    leat_buffer_deinit(&text);
}

static char *draw_line(struct run *r) {
    r->event_us += (int64_t)below(r, 1500000);
    int64_t late_us = chance(r, 70) ? 0 : (int64_t)below(r, chance(r, 20) ? 150000000 : 15000000), at = (r->event_us - late_us) / 1000;
    int amount = chance(r, 5) ? -1 : (int)below(r, 50);
    r->raw += amount >= 0;
    return leat_asprintf("{\"event_id\":\"e%llu\",\"order_id\":%u,\"product_id\":%u,\"amount\":%d,\"status\":\"s%u\",\"ts\":\"2026-03-01 %02d:%02d:%02d.%03d\"}\n",
                         (unsigned long long)r->records, (unsigned)below(r, 15), (unsigned)below(r, 7), amount, (unsigned)below(r, 4),
                         (int)(at / 3600000 % 24), (int)(at / 60000 % 60), (int)(at / 1000 % 60), (int)(at % 1000));
}

static void write_records(struct run *r) {
    struct leat_buffer text = {0};
    for (uint64_t i = 0, n = 5 + below(r, 25); i < n; i++) {
        bool again = r->recent_count && chance(r, 8);
        char *line = again ? r->recent[below(r, r->recent_count)] : (r->retail ? draw_retail_line(r) : draw_line(r));
        leat_put(&text, line);
        r->records++;
        if (again) {
            r->raw += r->retail || strstr(line, "\"amount\":-1") == NULL;
            continue;
        }
        if (r->recent_count == sizeof r->recent / sizeof *r->recent) free(r->recent[--r->recent_count]);
        r->recent[r->recent_count++] = line;
    }
    write_file(r, r->retail ? "in/lines.csv" : chance(r, 15) ? "in/orders2.ndjson" : "in/orders.ndjson", text.data, "a");
    leat_buffer_deinit(&text);
    if (chance(r, 20)) write_products(r);
}

/* ---- the engine ------------------------------------------------------------------------------------------------------------ */

static enum leat_status reopen(struct run *r, struct leat_error *err) {
    struct leat_diagnostics diags = {0};
    struct leat_engine_options options = {.project_dir = r->dir, .max_step_rows = 1 + below(r, 40), .shared_step = ducks[LEAT_DUCK_STEP],
                                          .shared_plan = ducks[LEAT_DUCK_PLAN], .shared_batch = ducks[LEAT_DUCK_BATCH]};
    leat_engine_close(r->engine);
    r->engine = NULL;
    enum leat_status st = leat_engine_open(&r->env, &options, &diags, &r->engine, err);
    if (st != LEAT_OK && diags.count) snprintf(err->text, sizeof err->text, "%s", diags.items[0].message);
    leat_diagnostics_deinit(&diags);
    return st;
}

/* Reads and steps a while; some is left waiting. */
static enum leat_status play(struct run *r, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    uint64_t got;
    for (uint64_t i = 0, n = 1 + below(r, 3); i < n && st == LEAT_OK; i++) {
        bool did;
        write_records(r);
        r->now_us += 1000000 + (int64_t)below(r, 3000000);
        if ((st = leat_engine_ingest(r->engine, &got, err)) == LEAT_OK) st = leat_engine_step(r->engine, chance(r, 20), &did, err);
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

static enum leat_status number_of(struct run *r, const char *sql, int64_t *out, struct leat_error *err) {
    struct leat_conn *conn = NULL;
    enum leat_status st = leat_conn_open(ducks[LEAT_DUCK_BATCH], &conn, err);
    if (st == LEAT_OK) st = leat_engine_sql_views(r->engine, conn, err);
    if (st == LEAT_OK) st = leat_conn_int(conn, sql, out, err);
    if (conn) leat_conn_close(conn);
    return st;
}

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

static enum leat_status check_raw(struct run *r, struct leat_error *err) {
    int64_t both = 0, rows, places;
    enum leat_status st = number_of(r, "SELECT count(*) << 32 | count(DISTINCT (part, place)) FROM raw", &both, err);
    rows = both >> 32, places = both & INT32_MAX;
    if (st == LEAT_OK && (rows != (int64_t)r->raw || places != rows))
        st = leat_fail(err, LEAT_CONFLICT, "raw has %lld rows of %lld places, not %llu", (long long)rows, (long long)places, (unsigned long long)r->raw);
    if (st == LEAT_OK && removals(r)) st = leat_fail(err, LEAT_CONFLICT, "something was taken back from raw");
    return st;
}

/* One spelling of times and of decimals' last zeros. */
#define NORMAL(json)                                                                                                                        \
    "regexp_replace(regexp_replace(regexp_replace(" json ", '([0-9]{2})T([0-9]{2}:)', '\\1 \\2', 'g'), '(\\.[0-9]*[1-9])0+([,}])', "             \
    "'\\1\\2', 'g'), '\\.0+([,}])', '\\1', 'g')"

/* Changes that a sink's file lacks or has too often, and lines that are there twice or out of order. */
static enum leat_status check_sink(struct run *r, const char *file, const char *table, struct leat_error *err) {
    int64_t wrong = 0;
    char path[400];
    snprintf(path, sizeof path, "%s/%s", r->dir, file);
    if (!leat_io_exists(leat_io_real(), path)) return LEAT_OK; /* nothing was to be told yet; the fold of a later turn shows it */
    char *sql = leat_asprintf(
        "WITH l AS (SELECT id, kind, " NORMAL("CAST(\"row\" AS VARCHAR)") " AS r, lag(id) OVER () AS before FROM read_json('%s', format = 'newline_delimited', "
        "columns = {id: 'VARCHAR', kind: 'VARCHAR', \"row\": 'JSON'})), f AS (SELECT r, CAST(sum(CASE kind WHEN 'append' THEN 1 ELSE -1 END) AS BIGINT) AS n "
        "FROM l GROUP BY 1 HAVING n <> 0), t AS (SELECT " NORMAL("CAST(to_json(t) AS VARCHAR)") " AS r, count(*) AS n FROM %s t GROUP BY 1) "
        "SELECT (SELECT count(*) FROM ((FROM f EXCEPT FROM t) UNION ALL (FROM t EXCEPT FROM f))) + "
        "(SELECT count(*) - count(DISTINCT id) + count(*) FILTER (WHERE id <= before) FROM l)",
        path, table);
    enum leat_status st = number_of(r, sql, &wrong, err);
    if (st == LEAT_OK && wrong) st = leat_fail(err, LEAT_CONFLICT, "what the sink recorded of %s differs from it in %lld places", table, (long long)wrong);
    free(sql);
    return st;
}

static enum leat_status check_sinks(struct run *r, struct leat_error *err) {
    leat_engine_deliver(r->engine);
    enum leat_status st = check_sink(r, "raw.out", "raw", err);
    return st == LEAT_OK && strcmp(r->name, "raw") != 0 ? check_sink(r, "turned.out", r->name, err) : st;
}

static enum leat_status verify(struct run *r, struct leat_error *err) {
    struct leat_buffer text = {0};
    uint64_t differing = 0;
    enum leat_status st = leat_engine_verify(r->engine, NULL, 5, &text, &differing, err);
    if (st == LEAT_OK && (differing || (text.data && strstr(text.data, "not compared"))))
        st = leat_fail(err, LEAT_CONFLICT, "tables differ:\n%s", text.data);
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
    leat_putf(&sql, "ALTER MATERIALIZED TABLE %s ", r->name);
    if (turn == ASK_OTHER || turn == ASK_SAME)
        leat_putf(&sql, "AS %s", turn == ASK_OTHER ? others[r->table] : queries[r->table]);
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
static enum leat_status change(struct run *r, const char *sql, bool kill, struct leat_error *err) {
    leat_io_kill_after(kill ? below(r, r->calls + 2) : UINT64_MAX);
    enum leat_status st = alter(r, sql, err);
    for (int again = 0; st != LEAT_OK && leat_io_killed() && again < 4; again++) {
        kills++;
        leat_engine_close(r->engine);
        r->engine = NULL;
        leat_io_kill_after(again < 2 && chance(r, 30) ? below(r, r->calls + 2) : UINT64_MAX);
        st = reopen(r, err);
        if (st == LEAT_OK && !leat_io_killed()) {
            leat_io_kill_after(UINT64_MAX);
            st = alter(r, sql, err);
        }
    }
    if (!kill) r->calls = leat_io_kill_calls();
    leat_io_kill_after(UINT64_MAX);
    return st;
}

/* Without waiting input nothing is written to tables that stay. */
static enum leat_status compare_versions(const struct run *r, const json_t *before, const json_t *after, struct leat_error *err) {
    const char *name;
    json_t *was;
    json_object_foreach((json_t *)before, name, was) {
        json_int_t from = json_integer_value(json_array_get(was, 0)), to = json_integer_value(json_array_get(json_object_get(after, name), 0));
        if (strcmp(name, r->name) == 0 || strcmp(name, "over") == 0 || r->retail || from == to) continue;
        return leat_fail(err, LEAT_CONFLICT, "table %s was written to by a change of another: version %lld, then %lld", name, (long long)from, (long long)to);
    }
    return LEAT_OK;
}

static enum leat_status turn(struct run *r, size_t which, struct leat_error *err) {
    bool quiet = chance(r, 30), stays = !turns[which].anew && !turns[which].turned && which != 3;
    char *sql = statement(r, which);
    enum leat_status st = play(r, err);
    if (st == LEAT_OK && quiet) st = catch_up(r, err);
    json_t *before = st == LEAT_OK ? versions(r) : NULL;
    if (st == LEAT_OK) st = change(r, sql, chance(r, 85), err);
    json_t *after = st == LEAT_OK ? versions(r) : NULL;
    if (st == LEAT_OK && quiet) st = compare_versions(r, before, after, err);
    if (st == LEAT_OK && quiet && stays && !json_equal(json_array_get(json_object_get(before, r->name), 0), json_array_get(json_object_get(after, r->name), 0)))
        st = leat_fail(err, LEAT_CONFLICT, "the table that was only turned was written to");
    quiet_changes += quiet;
    if (st == LEAT_OK) st = play(r, err);
    if (st == LEAT_OK) st = catch_up(r, err);
    if (st == LEAT_OK) st = verify(r, err);
    if (st == LEAT_OK && !(r->table == 0 && which == 2)) st = check_raw(r, err);
    if (st == LEAT_OK) st = check_sinks(r, err);
    changes_done++;
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
    if (r->table && !r->retail && chance(r, 30)) plan[count++] = ASK_OTHER;
    plan[count++] = 0;
    plan[count++] = 1;
    if (r->table && r->table != 3 && chance(r, 40)) plan[count++] = SCHEDULE, plan[count++] = SCHEDULE + 1;
    plan[count++] = 2;
    plan[count++] = 3;
    if (plan[0] == ASK_OTHER && chance(r, 50)) plan[count++] = ASK_SAME;
    write_products(r);
    if ((st = reopen(r, err)) != LEAT_OK) return st;
    for (size_t i = 0; i < count && st == LEAT_OK; i++) st = turn(r, plan[i], err);
    return st;
}

static void quiet_log(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env;
    if (verbose && level >= LEAT_LOG_WARN) printf("    %s\n", line);
}

static bool run_case(uint64_t seed, const char *dir) {
    struct run r = {.now_us = START_US + INT64_C(86400000000), .event_us = INT64_C(3600000000), .calls = 120};
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
    r.retail = chance(&r, 25);
    r.table = r.retail ? 1 : (int)below(&r, TABLES);
    if (r.retail) r.now_us += INT64_C(40) * 86400000000, r.event_us += INT64_C(72000000000); /* its times go on faster, and never below the month's first */
    r.name = r.retail ? retail[below(&r, RETAIL_TABLES)] : names[r.table];
    if (r.retail)
        write_retail(&r);
    else
        write_project(&r);
    enum leat_status st = play_case(&r, &err);
    leat_engine_close(r.engine);
    for (size_t i = 0; i < r.recent_count; i++) free(r.recent[i]);
    if (st != LEAT_OK) printf("case %llu, table %s: %s\n", (unsigned long long)seed, r.name, err.text);
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
    printf("%llu changes in %llu cases from seed %llu, %llu kills, %llu changes without waiting input; %.0f ms of CPU a change, %llu failed\n",
           (unsigned long long)changes_done, (unsigned long long)cases, (unsigned long long)seed, (unsigned long long)kills,
           (unsigned long long)quiet_changes, (double)leat_usage_cpu_us() / 1000.0 / (double)(changes_done + !changes_done), (unsigned long long)failed);
    return failed ? 1 : 0;
}
