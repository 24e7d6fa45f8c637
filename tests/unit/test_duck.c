/* DuckDB behind sql/duck.h: types, batches in and out, errors, clock, exact sums, pinned settings. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sql/duck.h"

static struct leat_error err;
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err.text[0] = 0;                                                                                               \
        if ((call) != LEAT_OK) fail_msg("%s: %s", #call, err.text);                                                    \
    } while (0)

static struct leat_duck *open_duck(enum leat_duck_use use) {
    struct leat_duck *d;
    OK(leat_duck_open(&(struct leat_duck_options){.use = use}, &d, &err));
    return d;
}

static struct leat_conn *open_conn(struct leat_duck *d) {
    struct leat_conn *c;
    OK(leat_conn_open(d, &c, &err));
    return c;
}

/* A statement's single value as text; caller frees. */
static char *text(struct leat_conn *c, const char *sql) {
    char *out;
    OK(leat_conn_text(c, sql, &out, &err));
    return out;
}

static void expect_text(struct leat_conn *c, const char *sql, const char *expected) {
    char *is = text(c, sql);
    if (!is || strcmp(is, expected)) fail_msg("%s gives %s, not %s", sql, is ? is : "NULL", expected);
    free(is);
}

static void test_settings_are_pinned(void **state) {
    (void)state;
    setenv("TZ", "Asia/Tokyo", 1);
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    expect_text(c, "SELECT current_setting('TimeZone')", "UTC");
    expect_text(c, "SELECT TIMESTAMPTZ '2026-07-01 00:00:00+00'::VARCHAR", "2026-07-01 00:00:00+00");
    expect_text(c, "SELECT current_setting('preserve_insertion_order')", "false");
    expect_text(c, "SELECT 7 / 2", "3.5");
    expect_text(c, "SELECT string_agg(coalesce(x, 'N'), '' ORDER BY x) FROM (VALUES ('b'), (NULL), ('a')) t(x)", "abN");
    expect_text(c, "SELECT 'a' = 'A'", "false");
    expect_text(c, "SELECT count(*) FROM duckdb_settings() WHERE name LIKE 'auto%_known_extensions' AND value = 'true'",
                "0");
    leat_conn_close(c);
    leat_duck_close(d);
    OK(leat_duck_open(&(struct leat_duck_options){.use = LEAT_DUCK_STEP, .time_zone = "Europe/Berlin", .threads = 1},
                      &d, &err));
    c = open_conn(d);
    expect_text(c, "SELECT TIMESTAMPTZ '2026-07-01 00:00:00+00'::VARCHAR", "2026-07-01 02:00:00+02");
    leat_conn_close(c);
    leat_duck_close(d);
    assert_int_equal(leat_duck_open(&(struct leat_duck_options){.time_zone = "Mars/Olympus"}, &d, &err), LEAT_SQL);
    assert_null(d);
    assert_non_null(strstr(err.text, "Mars/Olympus"));
}

/* A join above must not filter what DISTINCT ON or LIMIT choose from. */
static void test_joins_do_not_filter_below_a_choice(void **state) {
    static const enum leat_duck_use uses[] = {LEAT_DUCK_BATCH, LEAT_DUCK_STEP};
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        struct leat_duck *d = open_duck(uses[i]);
        struct leat_conn *c = open_conn(d);
        OK(leat_conn_execf(c, &err,
                           "CREATE TABLE things AS SELECT i AS k FROM range(7) r(i); CREATE TABLE events AS SELECT 3::BIGINT AS v, "
                           "(CASE WHEN i = 0 THEN NULL ELSE i %% 7 END)::DOUBLE AS k, i::DOUBLE AS f FROM range(100) r(i)"));
        expect_text(c,
                    "SELECT count(*) FROM (SELECT DISTINCT ON (v) * FROM (SELECT * FROM events WHERE v IN (SELECT k FROM things)) "
                    "ORDER BY v, f) l JOIN things t ON t.k = l.k",
                    "0");
        leat_conn_close(c);
        leat_duck_close(d);
    }
}

/* Two arms that are the same, below a choice of one row a key. */
static void test_a_choice_from_two_equal_arms(void **state) {
    static const enum leat_duck_use uses[] = {LEAT_DUCK_BATCH, LEAT_DUCK_STEP};
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        struct leat_duck *d = open_duck(uses[i]);
        struct leat_conn *c = open_conn(d);
        OK(leat_conn_execf(c, &err, "CREATE TABLE events AS SELECT i %% 3 AS k, i AS v FROM range(10) r(i)"));
        expect_text(c,
                    "SELECT string_agg(k || '=' || a, ' ' ORDER BY k) FROM (SELECT * FROM (SELECT * FROM (SELECT k, max(v) AS a FROM events GROUP BY k) WHERE a < 9 "
                    "UNION ALL SELECT * FROM (SELECT k, max(v) AS a FROM events GROUP BY k) WHERE a < 9) QUALIFY row_number() OVER (PARTITION BY k ORDER BY a) = 1)",
                    "1=7 2=8");
        leat_conn_close(c);
        leat_duck_close(d);
    }
}

static void test_locked_instance(void **state) {
    (void)state;
    char dir[] = "/tmp/leat_duck_XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    OK(leat_conn_execf(c, &err, "COPY (SELECT 42 AS x) TO '%s/a.parquet' (FORMAT parquet)", dir));
    leat_conn_close(c);
    leat_duck_close(d);
    OK(leat_duck_open(&(struct leat_duck_options){.use = LEAT_DUCK_BATCH, .locked = true, .allowed_dir = dir}, &d,
                      &err));
    c = open_conn(d);
    snprintf(path, sizeof path, "SELECT x FROM read_parquet('%s/a.parquet')", dir);
    expect_text(c, path, "42");
    struct leat_result r;
    assert_int_equal(leat_conn_query(c, "SELECT * FROM read_csv('/etc/passwd')", &r, &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "Permission Error"));
    assert_int_equal(leat_conn_query(c, "SET threads = 4", &r, &err), LEAT_INVALID);
    assert_int_equal(leat_conn_exec(c, "SET threads = 4", &err), LEAT_SQL);
    assert_int_equal(leat_conn_exec(c, "INSTALL httpfs", &err), LEAT_SQL);
    snprintf(path, sizeof path, "COPY (SELECT 1) TO '%s/b.csv'", dir);
    assert_int_equal(leat_conn_query(c, path, &r, &err), LEAT_INVALID);
    snprintf(path, sizeof path, "EXPLAIN ANALYZE COPY (SELECT 1) TO '%s/b.csv'", dir);
    assert_int_equal(leat_conn_query(c, path, &r, &err), LEAT_INVALID);
    static const char *const acts[] = {
        "SELECT * FROM enable_profiling(save_location = '%s/a.parquet')", "SELECT (SELECT count(*) FROM enable_logging(storage = 'file', storage_path = '%s'))",
        "WITH x AS (FROM system.main.ENABLE_LOGGING()) FROM x -- %s", "FROM query('FROM enable_profiling(save_location = ''%s/a.parquet'')')",
        "FROM json_execute_serialized_sql(json_serialize_sql('FROM enable_logging() -- %s'))", "DESCRIBE FROM disable_logging() -- %s", "FROM arrow_scan(1, 2, 3) -- %s",
        "PRAGMA database_list -- %s", "EXPORT DATABASE '%s/x'", "SELECT 1; SELECT 2 -- %s"};
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, acts[i], dir);
        if (leat_conn_query(c, sql, &r, &err) == LEAT_OK) fail_msg("runs: %s", sql);
        if (i < 7 && !strstr(err.text, "is not for queries here")) fail_msg("%s: %s", sql, err.text);
    }
    snprintf(path, sizeof path, "SELECT x FROM read_parquet('%s/a.parquet')", dir);
    expect_text(c, path, "42");
    static const char *const reads[] = {"DESCRIBE SELECT 1", "SHOW TABLES", "SUMMARIZE SELECT 1 AS a", "VALUES (170141183460469231731687303715884105727)", "FROM range(3), unnest([1])",
                                        "SELECT chr(0), 1e308, -0.0", "FROM duckdb_settings()"};
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++) {
        OK(leat_conn_query(c, reads[i], &r, &err));
        leat_result_deinit(&r);
    }
    assert_int_equal(leat_conn_query(c, "SELEC 1", &r, &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "LINE 1: SELEC 1"));
    OK(leat_conn_exec(c, "CREATE VIEW v AS SELECT 1 AS a", &err));
    expect_text(c, "SELECT a FROM v", "1");
    leat_conn_close(c);
    leat_duck_close(d);
    snprintf(path, sizeof path, "%s/a.parquet", dir);
    unlink(path);
    rmdir(dir);
}

static void test_query_and_text(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    struct leat_result r;
    int64_t n;
    OK(leat_conn_exec(c, "CREATE TABLE t(a INTEGER, b VARCHAR); INSERT INTO t VALUES (1, 'x'), (2, NULL)", &err));
    OK(leat_conn_query(c, "SELECT a, b, [a, a] AS l, {'k': b} AS s FROM t ORDER BY a;\n", &r, &err));
    assert_int_equal(r.rows.row_count, 2);
    assert_int_equal(r.schema.field_count, 4);
    assert_string_equal(r.schema.fields[2].name, "l");
    assert_int_equal(r.schema.fields[2].type.kind, LEAT_VARCHAR);
    const struct leat_string *lists = r.rows.columns[2].data;
    assert_memory_equal(leat_string_data(&lists[1]), "[2, 2]", 6);
    assert_true(leat_is_null(&r.rows.columns[1], 1));
    assert_false(leat_is_null(&r.rows.columns[1], 0));
    leat_result_deinit(&r);
    OK(leat_conn_int(c, "SELECT sum(a) FROM t", &n, &err));
    assert_int_equal(n, 3);
    assert_int_equal(leat_conn_int(c, "SELECT a FROM t WHERE a > 5", &n, &err), LEAT_NOT_FOUND);
    assert_int_equal(leat_conn_int(c, "SELECT 'x'", &n, &err), LEAT_INVALID);
    assert_int_equal(leat_conn_int(c, "SELECT 18446744073709551615::UBIGINT", &n, &err), LEAT_INVALID);
    char *none;
    OK(leat_conn_text(c, "SELECT b FROM t WHERE a = 2", &none, &err));
    assert_null(none);
    assert_int_equal(leat_conn_text(c, "SELECT 1 WHERE false", &none, &err), LEAT_NOT_FOUND);
    expect_text(c, "SELECT DATE '2026-01-02'", "2026-01-02");
    struct leat_schema schema;
    OK(leat_conn_describe(c, "SELECT a + 1::BIGINT AS \"a b\", 1.5::DECIMAL(9,3), [1] FROM t", &schema, &err));
    assert_int_equal(schema.field_count, 3);
    assert_string_equal(schema.fields[0].name, "a b");
    assert_int_equal(schema.fields[0].type.kind, LEAT_BIGINT);
    assert_int_equal(schema.fields[1].type.scale, 3);
    assert_int_equal(schema.fields[2].type.kind, LEAT_NESTED);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

/* ---- every type in and out */

static const struct {
    struct leat_type type;
    const char *samples;
} TYPES[] = {
    {{LEAT_BOOLEAN, 0, 0}, "true, false"},
    {{LEAT_TINYINT, 0, 0}, "-128, 127"},
    {{LEAT_SMALLINT, 0, 0}, "-32768, 32767"},
    {{LEAT_INTEGER, 0, 0}, "-2147483648, 2147483647"},
    {{LEAT_BIGINT, 0, 0}, "-9223372036854775808, 9223372036854775807"},
    {{LEAT_HUGEINT, 0, 0}, "-170141183460469231731687303715884105728, 170141183460469231731687303715884105727"},
    {{LEAT_UTINYINT, 0, 0}, "0, 255"},
    {{LEAT_USMALLINT, 0, 0}, "0, 65535"},
    {{LEAT_UINTEGER, 0, 0}, "0, 4294967295"},
    {{LEAT_UBIGINT, 0, 0}, "0, 18446744073709551615"},
    {{LEAT_UHUGEINT, 0, 0}, "'0', '340282366920938463463374607431768211455'"},
    {{LEAT_FLOAT, 0, 0}, "'nan', '-inf', '1.5', '-0.0'"},
    {{LEAT_DOUBLE, 0, 0}, "'nan', 'inf', '1e308', '-0.0'"},
    {{LEAT_DECIMAL, 4, 1}, "-999.9, 999.9"},
    {{LEAT_DECIMAL, 9, 2}, "-1234567.89, 0.01"},
    {{LEAT_DECIMAL, 18, 2}, "-1234567890123456.78, 0.01"},
    {{LEAT_DECIMAL, 38, 10}, "-1234567890123456789012345678.0123456789, 0.01"},
    {{LEAT_VARCHAR, 0, 0},
     "'', 'twelve bytes', 'thirteen byte', 'much longer than twelve bytes, so held elsewhere \xc3\xa9'"},
    {{LEAT_BLOB, 0, 0}, "'', '\\x00\\xFF', '\\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08\\x09\\x0A\\x0B\\x0C'"},
    {{LEAT_DATE, 0, 0}, "'1969-12-31', '2026-02-28', 'infinity'"},
    {{LEAT_TIME, 0, 0}, "'00:00:00', '23:59:59.999999'"},
    {{LEAT_TIMESTAMP, 0, 0}, "'1969-12-31 23:59:59.999999', '2026-01-01 00:00:00', '-infinity'"},
    {{LEAT_TIMESTAMPTZ, 0, 0}, "'1969-12-31 23:59:59.999999+00', 'infinity'"},
    {{LEAT_INTERVAL, 0, 0}, "'1 month 2 days 3 seconds', '-1 month', '0 days'"},
    {{LEAT_UUID, 0, 0}, "'00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'"},
};

/* Rows of one type, every third NULL, pass through a batch and a stage and come out the same. */
static void round_trip(struct leat_duck *d, struct leat_type type, const char *samples, size_t row_count) {
    struct leat_conn *c = open_conn(d);
    char name[32], sql[1024];
    leat_type_print(type, name);
    OK(leat_conn_execf(
        c, &err,
        "CREATE OR REPLACE TABLE expected AS SELECT i, CASE WHEN i %% 3 <> 2 THEN v[i %% len(v) + 1] END AS v "
        "FROM range(%zu) r(i), (SELECT list(x::%s) AS v FROM unnest([%s]) u(x))",
        row_count, name, samples));
    leat_conn_close(c);
    c = open_conn(d);
    struct leat_result r;
    snprintf(sql, sizeof sql, "SELECT v FROM expected ORDER BY i");
    OK(leat_conn_query(c, sql, &r, &err));
    assert_int_equal(r.rows.row_count, row_count);
    assert_true(leat_type_equal(r.schema.fields[0].type, type));
    OK(leat_conn_input(c, "in", &r.schema, false, &err));
    leat_conn_bind(c, "in", &r.rows);
    struct leat_stage *s;
    OK(leat_stage_prepare(c, "SELECT c0 FROM leat_input('in')", &s, &err));
    struct leat_changes out;
    leat_changes_init(&out, leat_stage_schema(s));
    OK(leat_stage_run(s, &out, NULL, &err));
    assert_int_equal(out.row_count, row_count);
    size_t size = leat_type_size(type);
    for (size_t i = 0; i < row_count; i++) {
        assert_int_equal(leat_is_null(&out.columns[0], i), i % 3 == 2);
        if (leat_type_is_string(type)) {
            const struct leat_string *a = out.columns[0].data, *b = r.rows.columns[0].data;
            assert_true(leat_string_equal(&a[i], &b[i]));
            if (i % 3 == 2) assert_int_equal(a[i].length, 0);
        } else {
            assert_memory_equal((char *)out.columns[0].data + i * size, (char *)r.rows.columns[0].data + i * size,
                                size);
        }
    }
    snprintf(
        sql, sizeof sql,
        "SELECT count(*) FROM leat_input('in') x JOIN expected e ON x.__row = e.i WHERE x.c0 IS DISTINCT FROM e.v");
    expect_text(c, sql, "0");
    leat_changes_deinit(&out);
    leat_stage_free(s);
    leat_result_deinit(&r);
    leat_conn_close(c);
}

static void test_types_round_trip(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 2047, 2048, 2049};
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    for (size_t t = 0; t < sizeof TYPES / sizeof *TYPES; t++)
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
            round_trip(d, TYPES[t].type, TYPES[t].samples, sizes[n]);
    round_trip(d, TYPES[17].type, TYPES[17].samples, 100000);
    round_trip(d, TYPES[4].type, TYPES[4].samples, 100000);
    leat_duck_close(d);
}

/* ---- stages */

static void order_schema(struct leat_schema *s) {
    *s = (struct leat_schema){0};
    leat_schema_add(s, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_schema_add(s, "status", (struct leat_type){.kind = LEAT_VARCHAR}, false);
}

static void fill_orders(struct leat_changes *c, size_t from, size_t n) {
    leat_changes_reset(c);
    leat_changes_reserve(c, n);
    int64_t *ids = c->columns[0].data;
    struct leat_string *statuses = c->columns[1].data;
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int64_t)(from + i);
        char *long_text = leat_arena_printf(&c->strings, "status number %zu", from + i);
        statuses[i] = leat_string_of(long_text, (uint32_t)strlen(long_text));
    }
    c->row_count = n;
}

static void test_stage_weights_and_rows(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema;
    order_schema(&schema);
    struct leat_changes batch, out;
    leat_changes_init(&batch, &schema);
    fill_orders(&batch, 0, 5000);
    OK(leat_conn_input(c, "In", &schema, true, &err));
    struct leat_stage *s;
    OK(leat_stage_prepare(
        c, "SELECT upper(status) AS u, __w, id * 2 AS d, __row FROM leat_input('in') WHERE id % 2 = 1", &s, &err));
    assert_int_equal(leat_stage_schema(s)->field_count, 2);
    leat_changes_init(&out, leat_stage_schema(s));
    struct leat_rows rows = {0};
    OK(leat_stage_run(s, &out, &rows, &err)); /* nothing bound: no rows */
    assert_int_equal(out.row_count, 0);
    leat_conn_bind(c, "IN", &batch);
    OK(leat_stage_run(s, &out, &rows, &err));
    assert_int_equal(out.row_count, 2500);
    assert_int_equal(rows.count, 2500);
    assert_null(out.weights);
    assert_int_equal(rows.rows[2499], 4999);
    leat_changes_need_weights(&batch);
    batch.weights[3] = -1;
    OK(leat_stage_run(s, &out, &rows, &err)); /* appends */
    assert_int_equal(out.row_count, 5000);
    assert_non_null(out.weights);
    assert_int_equal(out.weights[1], 1);
    assert_int_equal(out.weights[2501], -1);
    assert_int_equal(((int64_t *)out.columns[1].data)[4999], 9998);
    const struct leat_string *u = out.columns[0].data;
    assert_memory_equal(leat_string_data(&u[2501]), "STATUS NUMBER 3", 15);
    /* An aggregate without __w appends weight 1. */
    struct leat_stage *count;
    OK(leat_stage_prepare(c, "SELECT min(status) AS u, count(*) AS d FROM \"IN\"", &count, &err));
    OK(leat_stage_run(count, &out, NULL, &err));
    assert_int_equal(out.weights[5000], 1);
    assert_int_equal(((int64_t *)out.columns[1].data)[5000], 5000);
    assert_int_equal(leat_stage_run(count, &out, &rows, &err), LEAT_INVALID);
    /* Another type than the target's is refused. */
    struct leat_changes wrong;
    leat_changes_init(&wrong, &schema);
    assert_int_equal(leat_stage_run(s, &wrong, NULL, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "VARCHAR"));
    leat_changes_deinit(&wrong);
    /* Declared anew: the old stage says so, a new one works. */
    OK(leat_conn_input(c, "in", &schema, true, &err));
    assert_int_equal(leat_stage_run(s, &out, NULL, &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "prepare the statement again"));
    assert_int_equal(out.row_count, 5001);
    free(rows.rows);
    leat_changes_deinit(&out);
    leat_stage_free(s);
    leat_stage_free(count);
    leat_changes_deinit(&batch);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

/* Batches bound together read as one input: NULLs, row numbers and empty ones included. */
static void test_batches_read_as_one(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 5000, 0, 1, 2048, 77, 0};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema = {0};
    struct leat_changes batches[COUNT];
    int64_t next = 0;
    leat_schema_add(&schema, "v", (struct leat_type){LEAT_BIGINT, 0, 0}, false);
    for (size_t b = 0; b < COUNT; b++) {
        leat_changes_init(&batches[b], &schema);
        leat_changes_reserve(&batches[b], sizes[b]);
        batches[b].row_count = sizes[b];
        for (size_t i = 0; i < sizes[b]; i++, next++) {
            ((int64_t *)batches[b].columns[0].data)[i] = next;
            if (next % 7 == 0) leat_set_null(&batches[b], 0, i);
        }
    }
    OK(leat_conn_input(c, "in", &schema, true, &err));
    leat_conn_bind_all(c, "in", batches, COUNT);
    expect_text(c, "SELECT count(*) FROM leat_input('in')", "7126");
    expect_text(c, "SELECT count(*) FROM leat_input('in') WHERE (v IS NULL) <> (__row % 7 = 0)", "0");
    expect_text(c, "SELECT count(*) FROM leat_input('in') WHERE v <> __row", "0");
    leat_conn_bind(c, "in", NULL);
    expect_text(c, "SELECT count(*) FROM leat_input('in')", "0");
    for (size_t b = 0; b < COUNT; b++)
        leat_changes_deinit(&batches[b]);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_bad_statements(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    struct leat_stage *s;
    struct leat_schema schema;
    order_schema(&schema);
    OK(leat_conn_input(c, "in", &schema, false, &err));
    assert_int_equal(leat_stage_prepare(c, "SELECT nope FROM leat_input('in')", &s, &err), LEAT_SQL);
    assert_null(s);
    assert_false(err.bad_data);
    assert_int_equal(leat_stage_prepare(c, "SELECT * FROM leat_input('other')", &s, &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "no input \"other\""));
    assert_int_equal(leat_stage_prepare(c, "SELECT [c0] FROM leat_input('in')", &s, &err), LEAT_UNSUPPORTED);
    assert_int_equal(leat_stage_prepare(c, "SELECT c0 AS __w FROM leat_input('in')", &s, &err), LEAT_INVALID);
    assert_int_equal(leat_stage_prepare(c, "CREATE TABLE x(i INTEGER)", &s, &err), LEAT_INVALID);
    assert_int_equal(leat_stage_prepare(c, "", &s, &err), LEAT_SQL);
    assert_int_equal(leat_conn_exec(c, "SELEC 1", &err), LEAT_SQL);
    assert_non_null(strstr(err.text, "SELEC"));
    struct leat_schema bad = {0};
    assert_int_equal(leat_conn_input(c, "bad", &bad, true, &err), LEAT_INVALID);
    leat_schema_add(&bad, "__W", (struct leat_type){.kind = LEAT_INTEGER}, false);
    assert_int_equal(leat_conn_input(c, "bad", &bad, true, &err), LEAT_INVALID);
    leat_schema_deinit(&bad);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_error_classes(void **state) {
    (void)state;
    static const char *const bad_rows[] = {
        "SELECT sum(CAST(CASE WHEN i = 3000 THEN 'x' ELSE '1' END AS INTEGER)) FROM range(5000) t(i)",
        "SELECT CAST(i AS TINYINT) FROM range(5000) t(i)",
        "SELECT i + 9223372036854775000 FROM range(5000) t(i)",
        "SELECT error('no') FROM range(3)",
        "SELECT sqrt(2000 - i) FROM range(5000) t(i)",
        "SELECT CAST(i AS DECIMAL(3,0)) FROM range(5000) t(i)",
    };
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    for (size_t i = 0; i < sizeof bad_rows / sizeof *bad_rows; i++) {
        struct leat_result r;
        enum leat_status status = leat_conn_query(c, bad_rows[i], &r, &err);
        if (status != LEAT_SQL || !err.bad_data || err.fatal) fail_msg("%s: %d %s", bad_rows[i], status, err.text);
        assert_int_equal(leat_conn_exec(c, bad_rows[i], &err), LEAT_SQL);
        assert_true(err.bad_data);
    }
    assert_int_equal(leat_conn_exec(c, "SELECT * FROM nowhere", &err), LEAT_SQL);
    assert_false(err.bad_data || err.fatal || err.retriable);
    OK(leat_conn_exec(c, "SELECT 1", &err));
    leat_conn_close(c);
    leat_duck_close(d);
    OK(leat_duck_open(&(struct leat_duck_options){.use = LEAT_DUCK_BATCH, .memory_limit_bytes = 20u << 20}, &d, &err));
    c = open_conn(d);
    assert_int_equal(
        leat_conn_exec(c, "SELECT count(*) FROM (SELECT i, count(*) FROM range(5000000) t(i) GROUP BY i)", &err),
        LEAT_NO_MEMORY);
    assert_true(err.retriable);
    OK(leat_conn_exec(c, "SELECT 1", &err));
    leat_conn_close(c);
    leat_duck_close(d);
}

/* Invalid UTF-8, which callers must never hand over, invalidates a database: err says fatal, a new instance works. */
static void test_fatal_errors(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema = {0};
    leat_schema_add(&schema, "s", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    struct leat_changes batch, out;
    leat_changes_init(&batch, &schema);
    leat_changes_init(&out, &schema);
    leat_changes_reserve(&batch, 1);
    ((struct leat_string *)batch.columns[0].data)[0] = leat_string_of("\xff", 1);
    batch.row_count = 1;
    OK(leat_conn_input(c, "in", &schema, false, &err));
    leat_conn_bind(c, "in", &batch);
    struct leat_stage *s;
    OK(leat_stage_prepare(c, "SELECT upper(c0) AS s FROM leat_input('in')", &s, &err));
    assert_int_equal(leat_stage_run(s, &out, NULL, &err), LEAT_SQL);
    assert_true(err.fatal);
    assert_false(err.bad_data);
    assert_int_equal(leat_stage_run(s, &out, NULL, &err), LEAT_SQL);
    assert_true(err.fatal);
    leat_stage_free(s);
    leat_changes_deinit(&out);
    leat_changes_deinit(&batch);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
    d = open_duck(LEAT_DUCK_STEP);
    c = open_conn(d);
    expect_text(c, "SELECT 1", "1");
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_failed_run_leaves_target(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema = {0};
    leat_schema_add(&schema, "x", (struct leat_type){.kind = LEAT_INTEGER}, false);
    struct leat_changes batch, out;
    leat_changes_init(&batch, &schema);
    leat_changes_init(&out, &schema);
    leat_changes_reserve(&batch, 10000);
    for (int i = 0; i < 10000; i++)
        ((int32_t *)batch.columns[0].data)[i] = i == 9000 ? INT32_MAX : i;
    batch.row_count = 10000;
    OK(leat_conn_input(c, "in", &schema, false, &err));
    leat_conn_bind(c, "in", &batch);
    struct leat_stage *s;
    OK(leat_stage_prepare(c,
                          "SELECT CASE WHEN c0 % 2 = 0 THEN c0 + 1::INTEGER WHEN c0 > 8990 THEN c0 + 1::INTEGER END AS "
                          "x FROM leat_input('in')",
                          &s, &err));
    assert_int_equal(leat_stage_run(s, &out, NULL, &err), LEAT_SQL);
    assert_true(err.bad_data);
    assert_int_equal(out.row_count, 0);
    ((int32_t *)batch.columns[0].data)[9000] = 0;
    OK(leat_stage_run(s, &out, NULL, &err));
    assert_int_equal(out.row_count, 10000);
    assert_false(leat_is_null(&out.columns[0], 4000));
    assert_true(leat_is_null(&out.columns[0], 4001));
    assert_false(leat_is_null(&out.columns[0], 9999));
    leat_stage_free(s);
    leat_changes_deinit(&batch);
    leat_changes_deinit(&out);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

static size_t resident_kb(void) {
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &total, &resident), 2);
    fclose(f);
    return resident * 4;
}

static void test_many_runs_keep_memory_flat(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema;
    order_schema(&schema);
    struct leat_changes batch, out;
    leat_changes_init(&batch, &schema);
    OK(leat_conn_input(c, "in", &schema, false, &err));
    leat_conn_bind(c, "in", &batch);
    struct leat_stage *s;
    OK(leat_stage_prepare(c, "SELECT c0 + 1 AS id, upper(c1) AS status, __w FROM leat_input('in') WHERE c0 % 3 <> 1",
                          &s, &err));
    leat_changes_init(&out, leat_stage_schema(s));
    size_t before = 0;
    for (size_t run = 0; run < 20000; run++) {
        fill_orders(&batch, run, run % 50);
        leat_changes_reset(&out);
        OK(leat_stage_run(s, &out, NULL, &err));
        if (run == 2000) before = resident_kb();
    }
    size_t after = resident_kb();
#ifndef __SANITIZE_ADDRESS__
    if (after > before + 4096) fail_msg("18,000 runs took %zu KB", after - before);
#else
    (void)before, (void)after;
#endif
    leat_changes_deinit(&out);
    leat_stage_free(s);
    leat_changes_deinit(&batch);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

static void *interrupt_soon(void *conn) {
    usleep(100000);
    leat_conn_interrupt(conn);
    return NULL;
}

static void test_interrupt(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    pthread_t thread;
    pthread_create(&thread, NULL, interrupt_soon, c);
    struct leat_result r;
    enum leat_status status =
        leat_conn_query(c, "SELECT count(*) FROM range(100000000000) a(i) WHERE i % 7 = 3", &r, &err);
    pthread_join(thread, NULL);
    assert_int_equal(status, LEAT_CANCELLED);
    expect_text(c, "SELECT 1", "1");
    leat_conn_close(c);
    leat_duck_close(d);
}

/* Two connections of one instance hold different batches and clocks under the same name. */
static void test_connections_are_apart(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c[2] = {open_conn(d), open_conn(d)};
    struct leat_schema schema;
    struct leat_changes batch[2];
    struct leat_stage *s[2];
    order_schema(&schema);
    for (int i = 0; i < 2; i++) {
        leat_changes_init(&batch[i], &schema);
        fill_orders(&batch[i], 0, i ? 7 : 3);
        OK(leat_conn_input(c[i], "in", &schema, true, &err));
        leat_conn_bind(c[i], "in", &batch[i]);
        leat_conn_set_clock(c[i], (i + 1) * 1000000ll);
        OK(leat_stage_prepare(c[i], "SELECT count(*) AS n, max(epoch_us(now())) AS t FROM IN_", &s[i], &err) == LEAT_SQL
               ? LEAT_OK
               : LEAT_INVALID);
        OK(leat_stage_prepare(c[i], "SELECT count(*) AS n, max(epoch_us(now())) AS t FROM \"in\"", &s[i], &err));
    }
    for (int i = 0; i < 2; i++) {
        struct leat_changes out;
        leat_changes_init(&out, leat_stage_schema(s[i]));
        OK(leat_stage_run(s[i], &out, NULL, &err));
        assert_int_equal(((int64_t *)out.columns[0].data)[0], i ? 7 : 3);
        assert_int_equal(((int64_t *)out.columns[1].data)[0], (i + 1) * 1000000);
        leat_conn_set_clock(c[i], 5);
        OK(leat_stage_run(s[i], &out, NULL, &err));
        assert_int_equal(((int64_t *)out.columns[1].data)[1], 5);
        leat_changes_deinit(&out);
        leat_stage_free(s[i]);
        leat_changes_deinit(&batch[i]);
        leat_conn_close(c[i]);
    }
    leat_schema_deinit(&schema);
    leat_duck_close(d);
}

/* ---- functions */

static void test_clock(void **state) {
    (void)state;
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"now()::VARCHAR", "2026-03-04 05:06:07+00"},
        {"current_timestamp::VARCHAR", "2026-03-04 05:06:07+00"},
        {"transaction_timestamp()::VARCHAR", "2026-03-04 05:06:07+00"},
        {"get_current_timestamp()::VARCHAR", "2026-03-04 05:06:07+00"},
        {"main.now()::VARCHAR", "2026-03-04 05:06:07+00"},
        {"NOW()::VARCHAR", "2026-03-04 05:06:07+00"},
        {"Current_Timestamp::VARCHAR", "2026-03-04 05:06:07+00"},
        {"today()", "2026-03-04"},
        {"current_date", "2026-03-04"},
        {"current_date()", "2026-03-04"},
        {"localtimestamp", "2026-03-04 05:06:07"},
        {"current_localtimestamp()", "2026-03-04 05:06:07"},
        {"current_time", "05:06:07"},
        {"localtime", "05:06:07"},
        {"get_current_time()", "05:06:07"},
        {"current_localtime()", "05:06:07"},
        {"age(TIMESTAMP '2026-01-01')", "2 months 3 days"},
        {"age(TIMESTAMP '2026-01-02', TIMESTAMP '2026-01-01')", "1 day"},
    };
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    OK(leat_conn_exec(c, "CREATE VIEW v AS SELECT now() AS t", &err));
    leat_conn_set_clock(c, 1772600767000000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT %s", cases[i].sql);
        expect_text(c, sql, cases[i].expected);
    }
    expect_text(c, "SELECT epoch_us(t) FROM v", "1772600767000000");
    expect_text(c, "SELECT count(*) FROM range(5000) r(i) WHERE now() > TIMESTAMPTZ '2026-01-01'", "5000");
    leat_conn_set_clock(c, 7);
    expect_text(c, "SELECT epoch_us(t) FROM v", "7");
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_tumble(void **state) {
    (void)state;
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"leat_tumble(TIMESTAMP '2026-01-01 00:01:59.999999', 60000000, 0)", "2026-01-01 00:01:00"},
        {"leat_tumble(TIMESTAMP '2026-01-01 00:02:00', 60000000, 0)", "2026-01-01 00:02:00"},
        {"leat_tumble(TIMESTAMP '1969-12-31 23:59:59.999999', 60000000, 0)", "1969-12-31 23:59:00"},
        {"leat_tumble(TIMESTAMP '1970-01-01 00:00:00', 60000000, 0)", "1970-01-01 00:00:00"},
        {"leat_tumble(TIMESTAMP '1600-02-29 12:34:56', 3600000000, 0)", "1600-02-29 12:00:00"},
        {"leat_tumble(TIMESTAMP '9999-12-31 23:59:59', 86400000000, 0)", "9999-12-31 00:00:00"},
        {"leat_tumble(TIMESTAMP '2026-01-01 00:00:10', 60000000, 15000000)", "2025-12-31 23:59:15"},
        {"leat_tumble(DATE '2026-01-03', 604800000000, 345600000000)", "2025-12-29 00:00:00"},
        {"leat_tumble(TIMESTAMPTZ '2026-01-01 00:01:30+00', 60000000, 0)", "2026-01-01 00:01:00+00"},
        {"leat_tumble('infinity'::TIMESTAMP, 60000000, 0)", "infinity"},
        {"leat_tumble('-infinity'::DATE, 60000000, 0)", "-infinity"},
        {"leat_tumble(TIMESTAMP '2026-01-01', 9223372036854775807, 0)", "1970-01-01 00:00:00"},
    };
    struct leat_duck *d = open_duck(LEAT_DUCK_STEP);
    struct leat_conn *c = open_conn(d);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[256];
        snprintf(sql, sizeof sql, "SELECT %s", cases[i].sql);
        expect_text(c, sql, cases[i].expected);
    }
    char *none = text(c, "SELECT leat_tumble(NULL::TIMESTAMP, 60000000, 0)");
    assert_null(none);
    assert_int_equal(leat_conn_exec(c, "SELECT leat_tumble(TIMESTAMP '2026-01-01', 0, 0)", &err), LEAT_SQL);
    assert_int_equal(
        leat_conn_exec(c, "SELECT leat_tumble(TIMESTAMP '290000-12-22 (BC) 00:00:00', 9223372036854775807, 0)", &err),
        LEAT_SQL);
    /* Against exact arithmetic, over many widths and times near window bounds, NULLs between. */
    expect_text(c,
                "SELECT count(*) FROM (SELECT t, w, leat_tumble(make_timestamp(t), w, 17) AS got FROM ("
                "SELECT w, CASE WHEN i % 11 <> 0 THEN ((hash(i * 31 + w) % 9007199254740992)::BIGINT - "
                "4503599627370496) // w * w + 17 + (i % 3 - 1) END AS t "
                "FROM range(20000) r(i), unnest([1, 2, 3, 7, 1000, 60000000, 86400000000, 31536000000007]) u(w))) "
                "WHERE got IS DISTINCT FROM make_timestamp((t::HUGEINT - (((t::HUGEINT - 17) % w) + w) % w)::BIGINT)",
                "0");
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_exact_sums(void **state) {
    (void)state;
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"leat_sum(x) FROM (VALUES (1e16), (1.0), (-1e16)) t(x)", "1.0"},
        {"leat_sum(x) FROM (VALUES (1.0), (1e16), (1.0), (-1e16)) t(x)", "2.0"},
        {"leat_avg(x) FROM (VALUES (1e16), (2.0), (-1e16), (NULL)) t(x)", "0.6666666666666666"},
        {"coalesce(leat_sum(x), -1) FROM (VALUES (NULL::DOUBLE)) t(x)", "-1.0"},
        {"coalesce(leat_sum(x), -1) FROM (VALUES (1.0)) t(x) WHERE x > 1", "-1.0"},
        {"leat_sum(x) FROM (VALUES (1.0), ('inf'::DOUBLE)) t(x)", "inf"},
        {"leat_sum(x) FROM (VALUES ('-inf'::DOUBLE), ('inf'::DOUBLE)) t(x)", "nan"},
        {"leat_sum(x::FLOAT) FROM range(3) t(x)", "3.0"},
        {"leat_sum(DISTINCT x) FROM (VALUES (1.0), (1.0), (2.0)) t(x)", "3.0"},
        {"leat_sum(x) FILTER (WHERE x > 1) FROM (VALUES (1.0), (1.0), (2.0)) t(x)", "2.0"},
        {"string_agg(s, ' ' ORDER BY i) FROM (SELECT i, leat_sum(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND "
         "CURRENT ROW)::VARCHAR AS s "
         "FROM (VALUES (1, 1e16), (2, 1.0), (3, -1e16), (4, NULL)) t(i, x))",
         "1e+16 1e+16 -1e+16 -1e+16"},
        {"count(DISTINCT s) FROM (SELECT leat_sum(1.0 / (i + 1)) AS s FROM range(100000) t(i) UNION ALL "
         "SELECT leat_sum(1.0 / (100000 - i)) FROM range(100000) t(i))",
         "1"},
        {"count(*) FROM (SELECT k, leat_sum(v) AS s FROM (SELECT i % 5000 AS k, i::DOUBLE AS v FROM range(100000) "
         "t(i)) GROUP BY k) "
         "WHERE s <> k * 20 + 5000 * 190",
         "0"},
    };
    struct leat_duck *d = open_duck(LEAT_DUCK_BATCH);
    struct leat_conn *c = open_conn(d);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char sql[512];
        snprintf(sql, sizeof sql, "SELECT %s", cases[i].sql);
        expect_text(c, sql, cases[i].expected);
    }
    leat_conn_close(c);
    leat_duck_close(d);
}

static void test_plan_instance(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_PLAN);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema, got;
    order_schema(&schema);
    OK(leat_conn_input(c, "Orders", &schema, true, &err));
    OK(leat_conn_describe(c, "SELECT * FROM orders", &got, &err));
    assert_int_equal(got.field_count, 2);
    leat_schema_deinit(&got);
    char *plan, *json, *sql;
    OK(leat_conn_bound_plan(
        c, "SELECT status, count(*) FROM ORDERS o JOIN Orders p USING (id, status) WHERE id > 5 GROUP BY ALL", &plan,
        &err));
    assert_non_null(strstr(plan, "\"leat_input\""));
    assert_non_null(strstr(plan, "LOGICAL_COMPARISON_JOIN"));
    free(plan);
    assert_int_equal(leat_conn_bound_plan(c, "SELECT nope FROM orders", &plan, &err), LEAT_SQL);
    assert_null(plan);
    assert_non_null(strstr(err.text, "nope"));
    assert_int_equal(leat_conn_error_offset(c), 7);
    assert_false(err.bad_data);
    OK(leat_conn_parse(c, "SELECT 'it''s' AS x FROM orders", &json, &err));
    OK(leat_conn_unparse(c, json, &sql, &err));
    assert_string_equal(sql, "SELECT 'it''s' AS x FROM orders");
    free(json);
    free(sql);
    assert_int_equal(leat_conn_parse(c, "SELECT FROM FROM", &json, &err), LEAT_SQL);
    assert_int_equal(leat_conn_unparse(c, "{}", &sql, &err), LEAT_SQL);
    expect_text(c,
                "SELECT count(*) > 20 AND NOT bool_or(r = 'filter_pushdown') "
                "FROM unnest(string_split(current_setting('disabled_optimizers'), ',')) u(r)",
                "true");
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

static void declare_column(struct leat_conn *c, const char *name, enum leat_kind kind) {
    struct leat_schema schema = {0};
    leat_schema_add(&schema, "a", (struct leat_type){.kind = kind}, false);
    OK(leat_conn_input(c, name, &schema, true, &err));
    leat_schema_deinit(&schema);
}

static void expect_kind(struct leat_conn *c, const char *sql, enum leat_kind kind) {
    for (int i = 0; i < 2; i++) { /* the second answer is remembered */
        struct leat_schema got;
        char *plan;
        OK(leat_conn_describe(c, sql, &got, &err));
        assert_int_equal(got.fields[0].type.kind, kind);
        leat_schema_deinit(&got);
        OK(leat_conn_bound_plan(c, sql, &plan, &err));
        assert_non_null(strstr(plan, kind == LEAT_VARCHAR ? "VARCHAR" : "\"BIGINT\""));
        free(plan);
    }
}

/* What the planner remembers holds for the declarations it was asked under, on any connection. */
static void test_answers_follow_declarations(void **state) {
    (void)state;
    struct leat_duck *d = open_duck(LEAT_DUCK_PLAN);
    struct leat_conn *c = open_conn(d), *other = open_conn(d);
    struct leat_schema got;
    declare_column(c, "t", LEAT_BIGINT);
    declare_column(other, "t", LEAT_VARCHAR);
    expect_kind(c, "SELECT a FROM t", LEAT_BIGINT);
    expect_kind(other, "SELECT a FROM t", LEAT_VARCHAR);
    declare_column(c, "t", LEAT_VARCHAR);
    expect_kind(c, "SELECT a FROM t", LEAT_VARCHAR);
    declare_column(c, "t", LEAT_BIGINT);
    expect_kind(c, "SELECT a FROM t", LEAT_BIGINT);
    OK(leat_conn_exec(c, "CREATE OR REPLACE VIEW v AS SELECT a FROM t", &err));
    expect_kind(c, "SELECT a FROM v", LEAT_BIGINT);
    OK(leat_conn_exec(c, "CREATE OR REPLACE VIEW v AS SELECT 'x' AS a", &err));
    expect_kind(c, "SELECT a FROM v", LEAT_VARCHAR);
    assert_int_equal(leat_conn_describe(c, "SELECT a FROM u", &got, &err), LEAT_SQL);
    declare_column(c, "u", LEAT_BIGINT);
    expect_kind(c, "SELECT a FROM u", LEAT_BIGINT);
    leat_conn_close(c);
    leat_conn_close(other);
    leat_duck_close(d);
}

static void test_float_sums_are_renamed(void **state) {
    (void)state;
    static const struct {
        const char *sql, *expected;
    } cases[] = {
        {"SELECT sum(i), avg(i), sum(m) FROM t", NULL},
        {"SELECT sum(d) FROM t", "SELECT leat_sum(d) AS \"sum(d)\" FROM t"},
        {"SELECT k, sum(d) AS a, sum(i) AS b, avg(f) AS e, mean(d) AS g FROM t GROUP BY k",
         "SELECT k, leat_sum(d) AS a, sum(i) AS b, leat_avg(f) AS e, leat_avg(d) AS g FROM t GROUP BY k"},
        {"SELECT sum(i * 0.5::DOUBLE) FILTER (WHERE i > 1) AS a FROM t HAVING sum(DISTINCT d) > 1e300",
         "SELECT leat_sum((i * CAST(0.5 AS DOUBLE))) FILTER (WHERE (i > 1)) AS a FROM t HAVING (leat_sum(DISTINCT d) > "
         "1e+300)"},
        {"SELECT sum(x) OVER (ORDER BY i) AS s FROM (SELECT i, d AS x FROM t)",
         "SELECT leat_sum(x) OVER (ORDER BY i) AS s FROM (SELECT i, d AS x FROM t)"},
        {"WITH c AS (SELECT k, sum(d) FROM t GROUP BY ALL) SELECT \"sum(d)\" + 18446744073709551615 AS x FROM c",
         "WITH c AS (SELECT k, leat_sum(d) AS \"sum(d)\" FROM t GROUP BY ALL)SELECT (\"sum(d)\" + "
         "18446744073709551615) AS x FROM c"},
        {"SELECT DISTINCT sum(d) AS s FROM t GROUP BY k ORDER BY sum(d)",
         "SELECT DISTINCT leat_sum(d) AS s FROM t GROUP BY k ORDER BY leat_sum(d)"},
        {"SELECT sum(d) AS a, '\"number 1', 1.50 AS b, 123456789012345678901234567890 AS c FROM t",
         "SELECT leat_sum(d) AS a, '\"number 1', 1.50 AS b, 123456789012345678901234567890 AS c FROM t"},
        {"SELECT sum(u) AS a FROM (SELECT 1::UHUGEINT AS u)",
         "SELECT leat_sum(u) AS a FROM (SELECT CAST(1 AS UHUGEINT) AS u)"},
        {"SELECT a FROM (SELECT 1 AS a) WHERE a IN (SELECT sum(d) FROM t)",
         "SELECT a FROM (SELECT 1 AS a) WHERE (a = ANY(SELECT leat_sum(d) AS \"sum(d)\" FROM t))"},
    };
    struct leat_duck *d = open_duck(LEAT_DUCK_PLAN);
    struct leat_conn *c = open_conn(d);
    struct leat_schema schema = {0};
    leat_schema_add(&schema, "k", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    leat_schema_add(&schema, "i", (struct leat_type){.kind = LEAT_INTEGER}, false);
    leat_schema_add(&schema, "m", (struct leat_type){.kind = LEAT_DECIMAL, .width = 18, .scale = 2}, false);
    leat_schema_add(&schema, "d", (struct leat_type){.kind = LEAT_DOUBLE}, false);
    leat_schema_add(&schema, "f", (struct leat_type){.kind = LEAT_FLOAT}, false);
    OK(leat_conn_input(c, "t", &schema, true, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got;
        OK(leat_conn_exact_sums(c, cases[i].sql, &got, &err));
        const char *expected = cases[i].expected ? cases[i].expected : cases[i].sql;
        if (strcmp(got, expected) != 0) fail_msg("%s\nbecomes  %s\nexpected %s", cases[i].sql, got, expected);
        free(got);
    }
    char *got;
    assert_int_equal(leat_conn_exact_sums(c, "SELECT sum(nope) FROM t", &got, &err), LEAT_SQL);
    assert_null(got);
    leat_schema_deinit(&schema);
    leat_conn_close(c);
    leat_duck_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_are_pinned),
        cmocka_unit_test(test_joins_do_not_filter_below_a_choice),
        cmocka_unit_test(test_a_choice_from_two_equal_arms),
        cmocka_unit_test(test_locked_instance),
        cmocka_unit_test(test_query_and_text),
        cmocka_unit_test(test_types_round_trip),
        cmocka_unit_test(test_stage_weights_and_rows),
        cmocka_unit_test(test_batches_read_as_one),
        cmocka_unit_test(test_bad_statements),
        cmocka_unit_test(test_error_classes),
        cmocka_unit_test(test_fatal_errors),
        cmocka_unit_test(test_failed_run_leaves_target),
        cmocka_unit_test(test_many_runs_keep_memory_flat),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_connections_are_apart),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_tumble),
        cmocka_unit_test(test_exact_sums),
        cmocka_unit_test(test_plan_instance),
        cmocka_unit_test(test_answers_follow_declarations),
        cmocka_unit_test(test_float_sums_are_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
