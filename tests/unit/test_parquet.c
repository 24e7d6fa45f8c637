/* Parquet files written without DuckDB, read by DuckDB: the same values, and the schema that DuckDB
 * itself would have written for the storage types. */
#include <jansson.h>

#include "data/parquet.h"
#include "lake/delta.h"
#include "scratch.h"
#include "sql/duck.h"

static struct leat_duck *duck;
static struct leat_conn *conn;
static char *dir;

static int set_up(void **state) {
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    (void)state;
    OK(leat_duck_open(&options, &duck, oops));
    OK(leat_conn_open(duck, &conn, oops));
    dir = scratch_make();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    leat_conn_close(conn);
    leat_duck_close(duck);
    scratch_remove(dir);
    return 0;
}

/* A type and a value of it over i; NULL where i % 7 = 3 and the column may be NULL. */
static const struct {
    const char *type, *value;
} columns[] = {
    {"BOOLEAN", "i % 3 = 0"},
    {"TINYINT", "i % 256 - 128"},
    {"SMALLINT", "i * 257 % 65536 - 32768"},
    {"INTEGER", "CASE i % 3 WHEN 0 THEN -2147483648 WHEN 1 THEN 2147483647 ELSE i END"},
    {"BIGINT", "CASE i % 3 WHEN 0 THEN -9223372036854775808 WHEN 1 THEN 9223372036854775807 ELSE i END"},
    {"HUGEINT", "CASE i % 3 WHEN 0 THEN -99999999999999999999999999999999999999::HUGEINT WHEN 1 THEN "
                "99999999999999999999999999999999999999 ELSE i END"},
    {"UTINYINT", "i % 256"},
    {"USMALLINT", "65535 - i"},
    {"UINTEGER", "4294967295 - i"},
    {"UBIGINT", "18446744073709551615 - i"},
    {"UHUGEINT", "99999999999999999999999999999999999999 - i"},
    {"FLOAT", "CASE i % 5 WHEN 0 THEN 'nan'::FLOAT WHEN 1 THEN '-0'::FLOAT WHEN 2 THEN '-inf'::FLOAT ELSE i / 8 END"},
    {"DOUBLE",
     "CASE i % 5 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-0'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE ELSE i / 7 END"},
    {"DECIMAL(4,2)", "99.99 - i % 1000 / 10"},
    {"DECIMAL(9,0)", "-999999999 + i"},
    {"DECIMAL(18,17)", "CASE i % 2 WHEN 0 THEN -0.99999999999999999 ELSE 9 END"},
    {"DECIMAL(38,10)", "CASE i % 2 WHEN 0 THEN '-9999999999999999999999999999.9999999999'::DECIMAL(38,10) ELSE i END"},
    {"VARCHAR", "repeat('\xC3\xA9\"', (i % 9)::INTEGER) || i % 4"},
    {"BLOB", "'\\x00\\xFF'::BLOB || repeat('z', (i % 20)::INTEGER)::BLOB"},
    {"DATE", "DATE '1969-12-01' + i::INTEGER * 1000"},
    {"TIMESTAMP", "make_timestamp(i * 1000000007 - 5)"},
    {"TIMESTAMPTZ", "make_timestamptz(-i * 1000000007)"},
};
enum { COLUMNS = sizeof columns / sizeof *columns };

/* nulls: 0 none, 1 some, 2 all. */
static char *rows_sql(int from, int to, int nulls) {
    static const char *const null[] = {"false", "(i + %d) %% 7 = 3", "true"};
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT ");
    for (int c = 0; c < COLUMNS; c++) {
        char *is_null = leat_asprintf(null[nulls], c);
        leat_putf(&sql, "%sCASE WHEN NOT (%s) THEN CAST(%s AS %s) END AS c%d", c ? ", " : "", is_null, columns[c].value,
                  columns[c].type, c);
        free(is_null);
    }
    leat_putf(&sql, " FROM (SELECT range AS i FROM range(%d, %d))", from, to);
    return sql.data;
}

static void read_rows(const char *sql, struct leat_schema *schema, struct leat_changes *out) {
    struct leat_stage *stage;
    OK(leat_stage_prepare(conn, sql, &stage, oops));
    leat_schema_copy(schema, leat_stage_schema(stage));
    leat_changes_init(out, schema);
    OK(leat_stage_run(stage, out, NULL, oops));
    leat_stage_free(stage);
}

static char *put_file(const char *name, const struct leat_buffer *bytes) {
    char *path = leat_asprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->length, file), bytes->length);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* As text, for NaN and -0.0 must come back as they are. */
static char *digest(const char *from) {
    struct leat_buffer sql = {0};
    char *text;
    leat_put(&sql, "SELECT string_agg(concat_ws('|'");
    for (int c = 0; c < COLUMNS; c++)
        leat_putf(&sql, ", coalesce(CAST(CAST(c%d AS %s) AS VARCHAR), 'NULL')", c, columns[c].type);
    leat_putf(&sql, "), chr(10)) FROM (%s)", from);
    OK(leat_conn_text(conn, sql.data, &text, oops));
    leat_buffer_deinit(&sql);
    return text;
}

static void check_filters(const char *scan, int rows);

static bool write_all(const struct leat_schema *schema, const struct leat_changes *rows, struct leat_buffer *out) {
    const struct leat_parquet_rows all = {rows, 1, 0, rows->row_count};
    return leat_parquet_write(schema, NULL, &all, LEAT_PARQUET_PLAIN, LEAT_PARQUET_GROUP_ROWS, NULL, out);
}

static void check_rows(int rows, int split_at, int nulls, enum leat_parquet_form form, size_t group_rows) {
    struct leat_schema schema[2];
    struct leat_changes batches[2];
    struct leat_buffer bytes = {0};
    char *parts[] = {rows_sql(0, split_at, nulls), rows_sql(split_at, rows, nulls)}, *all = rows_sql(0, rows, nulls);
    for (int i = 0; i < 2; i++)
        read_rows(parts[i], &schema[i], &batches[i]);
    assert_true(leat_parquet_write(&schema[0], NULL, &(struct leat_parquet_rows){batches, 2, 0, (size_t)rows}, form, group_rows, NULL, &bytes));
    char *path = put_file("rows.parquet", &bytes), *scan = leat_asprintf("SELECT * FROM read_parquet('%s')", path);
    char *want = digest(all), *have = digest(scan);
    assert_string_equal(have, want);
    if (rows == 1025 && nulls < 2) check_filters(scan, rows);
    for (int i = 0; i < 2; i++) {
        leat_changes_deinit(&batches[i]);
        leat_schema_deinit(&schema[i]);
        free(parts[i]);
    }
    leat_buffer_deinit(&bytes);
    free(path), free(scan), free(want), free(have), free(all);
}

static void values_come_back(void **state) {
    (void)state;
    static const int counts[] = {1, 7, 8, 9, 64, 65, 255, 256};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int nulls = 0; nulls < 3; nulls++)
            check_rows(counts[i], counts[i] / 3, nulls, LEAT_PARQUET_PLAIN, LEAT_PARQUET_GROUP_ROWS);
}

static void many_values_come_back(void **state) {
    (void)state;
    static const struct {
        int rows;
        size_t group_rows;
    } some[] = {{1, 1}, {9, 8}, {257, 256}, {1025, 1024}, {5000, 1999}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        for (int nulls = 0; nulls < 3; nulls++)
            check_rows(some[i].rows, some[i].rows * 2 / 5, nulls, LEAT_PARQUET_COMPACT, some[i].group_rows);
}

static int64_t count_of(const char *sql) {
    char *text;
    OK(leat_conn_text(conn, sql, &text, oops));
    int64_t n = strtoll(text, NULL, 10);
    free(text);
    return n;
}

/* Readers leave row groups out by their statistics: as many rows are found by a filter as by one that they cannot use. */
static void check_filters(const char *scan, int rows) {
    for (int c = 0; c < COLUMNS; c++) {
        char *value = leat_asprintf("(SELECT c%d FROM (%s) WHERE c%d IS NOT NULL LIMIT 1 OFFSET %d)", c, scan, c, rows / 2);
        static const char *const tests[] = {"=", "<", ">="};
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
            char *by = leat_asprintf("SELECT count(*) FROM (%s) WHERE c%d %s %s", scan, c, tests[i], value);
            char *all = leat_asprintf("SELECT count(*) FROM (SELECT CASE WHEN random() < 2 THEN c%d END AS v FROM (%s)) WHERE v %s %s",
                                      c, scan, tests[i], value);
            assert_int_equal(count_of(by), count_of(all));
            free(by), free(all);
        }
        free(value);
    }
}

/* What a column's pages are made of: encodings and compression in the first row group. */
static void check_encoding(const char *values, const char *want) {
    struct leat_schema schema;
    struct leat_changes rows;
    struct leat_buffer bytes = {0};
    char *text, *sql = leat_asprintf("SELECT %s AS v FROM range(20000) t(i)", values);
    read_rows(sql, &schema, &rows);
    const struct leat_parquet_rows all = {&rows, 1, 0, rows.row_count};
    assert_true(leat_parquet_write(&schema, NULL, &all, LEAT_PARQUET_COMPACT, LEAT_PARQUET_GROUP_ROWS, NULL, &bytes));
    char *path = put_file("encoding.parquet", &bytes);
    char *describe = leat_asprintf("SELECT encodings || ' ' || compression FROM parquet_metadata('%s')", path);
    OK(leat_conn_text(conn, describe, &text, oops));
    if (!strstr(text, want)) fail_msg("%s: %s, not %s", values, text, want);
    char *same = leat_asprintf("SELECT count(*) FROM (SELECT v FROM '%s' EXCEPT ALL %s)", path, sql);
    assert_int_equal(count_of(same), 0);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&bytes);
    free(text), free(sql), free(path), free(describe), free(same);
}

static void encodings_fit_the_values(void **state) {
    (void)state;
    check_encoding("i", "DELTA_BINARY_PACKED");
    check_encoding("(hash(i) >> 1)::BIGINT", "DELTA_BINARY_PACKED, RLE UNCOMPRESSED");
    check_encoding("(i % 7 * 1000000007)::BIGINT", "RLE_DICTIONARY");
    check_encoding("(hash(i) % 3 * 100)::INTEGER", "RLE_DICTIONARY");
    check_encoding("(hash(i) % 3 * 100)::DECIMAL(9,2)", "RLE_DICTIONARY");
    check_encoding("1", "RLE_DICTIONARY");
    check_encoding("'status ' || i % 5", "RLE_DICTIONARY");
    check_encoding("'a status of more than twelve bytes ' || hash(i) % 300", "RLE_DICTIONARY");
    check_encoding("hash(i)::VARCHAR", "DELTA_LENGTH_BYTE_ARRAY, RLE ZSTD");
    check_encoding("(hash(i) % 3000)::VARCHAR", "RLE_DICTIONARY");
    check_encoding("(hash(i) % 6000)::VARCHAR", "DELTA_LENGTH_BYTE_ARRAY"); /* more than a dictionary has */
    check_encoding("CASE WHEN i % 3 > 0 THEN TIMESTAMP '2024-01-01' + to_microseconds(i * 977) END", "DELTA_BINARY_PACKED");
    check_encoding("CASE i % 4 WHEN 0 THEN (-9223372036854775807 - 1)::BIGINT WHEN 1 THEN 9223372036854775807 ELSE (hash(i)::HUGEINT % 9223372036854775807)::BIGINT END",
                   "DELTA_BINARY_PACKED");
    check_encoding("CASE i % 4 WHEN 0 THEN -2147483648 WHEN 1 THEN 2147483647 ELSE (hash(i) % 2147483647)::INTEGER END", "DELTA_BINARY_PACKED");
    check_encoding("i / 7.0::DOUBLE", "PLAIN");
    check_encoding("i % 3 = 0", "PLAIN");
    check_encoding("repeat('x', (i % 40)::INTEGER)::BLOB", "RLE_DICTIONARY");
}

static char *schema_text(const char *path) {
    char *text, *sql = leat_asprintf("SELECT string_agg(concat_ws('|', name, type, type_length, repetition_type, "
                                     "converted_type, scale, \"precision\", "
                                     "logical_type), chr(10)) FROM parquet_schema('%s') WHERE num_children IS NULL",
                                     path);
    OK(leat_conn_text(conn, sql, &text, oops));
    free(sql);
    return text;
}

/* What readers decide by is what DuckDB writes for the same storage types. */
static void schema_is_that_of_duckdb(void **state) {
    (void)state;
    struct leat_schema schema;
    struct leat_changes rows;
    struct leat_buffer bytes = {0}, sql = {0};
    char *all = rows_sql(0, 20, 1), *theirs = leat_asprintf("%s/theirs.parquet", dir);
    read_rows(all, &schema, &rows);
    assert_true(write_all(&schema, &rows, &bytes));
    char *ours = put_file("ours.parquet", &bytes);
    leat_put(&sql, "COPY (SELECT ");
    for (int c = 0; c < COLUMNS; c++) {
        char type[32];
        leat_type_print(leat_delta_storage_type(schema.fields[c].type), type);
        leat_putf(&sql, "%sCAST(c%d AS %s) AS c%d", c ? ", " : "", c, type, c);
    }
    leat_putf(&sql, " FROM (%s)) TO '%s' (FORMAT parquet, PARQUET_VERSION V1)", all, theirs);
    OK(leat_conn_exec(conn, sql.data, oops));
    char *have = schema_text(ours), *want = schema_text(theirs);
    assert_string_equal(have, want);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&bytes);
    leat_buffer_deinit(&sql);
    free(all), free(theirs), free(ours), free(have), free(want);
}

static void refuse(const char *sql) {
    struct leat_schema schema;
    struct leat_changes rows;
    struct leat_buffer bytes = {0};
    leat_put(&bytes, "before");
    read_rows(sql, &schema, &rows);
    assert_false(write_all(&schema, &rows, &bytes));
    assert_string_equal(bytes.data, "before");
    leat_buffer_deinit(&bytes);
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
}

static void what_would_lose_something_is_refused(void **state) {
    (void)state;
    refuse("SELECT 1 AS a, TIME '01:02:03' AS t");
    refuse("SELECT INTERVAL 1 DAY AS t");
    refuse("SELECT '00000000-0000-4000-8000-000000000001'::UUID AS t");
    refuse("SELECT 'x' AS a, 100000000000000000000000000000000000000::HUGEINT AS t");
    refuse("SELECT -100000000000000000000000000000000000000::HUGEINT AS t");
    refuse("SELECT 340282366920938463463374607431768211455::UHUGEINT AS t");
}

/* Statistics of rows written here are those DuckDB gives for the same rows. */
static void statistics_are_those_of_duckdb(void **state) {
    (void)state;
    struct leat_schema schema;
    struct leat_changes rows;
    struct leat_env env;
    struct leat_delta *deltas[2];
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    char *table = leat_asprintf("%s/table", dir), *scratch = leat_asprintf("%s/scratch", dir);
    leat_env_real(&env);
    OK(leat_io_mkdirs(env.io, scratch, oops));
    for (int from = 0; from < 300; from += 3) {
        struct leat_delta_options options = {.name = "t", .schema = &schema};
        char *all = rows_sql(from, from + 1 + from % 5, from % 2), *paths[2];
        json_t *stats[2];
        read_rows(all, &schema, &rows);
        for (int i = 0; i < 2; i++) {
            paths[i] = leat_asprintf("%s-%d-%d", table, from, i);
            OK(leat_delta_open(&env, conn, paths[i], scratch, &options, &deltas[i], oops));
            OK(i ? leat_delta_append(deltas[i], all, &info, NULL, oops)
                 : leat_delta_append_rows(deltas[i], &rows, 1, &info, NULL, oops));
            const struct leat_delta_snapshot *now = leat_delta_current(deltas[i]);
            assert_int_equal(now->file_count, 1);
            stats[i] = json_loads(now->files[0].stats_json, JSON_DECODE_INT_AS_REAL, NULL);
            assert_non_null(stats[i]);
        }
        if (!json_equal(stats[0], stats[1])) {
            for (int i = 0; i < 2; i++)
                print_error("%s: %s\n", i ? "DuckDB's" : "ours", leat_delta_current(deltas[i])->files[0].stats_json);
            fail_msg("statistics of rows from %d on differ", from);
        }
        for (int i = 0; i < 2; i++) {
            leat_delta_close(deltas[i]);
            json_decref(stats[i]);
            free(paths[i]);
        }
        leat_changes_deinit(&rows);
        leat_schema_deinit(&schema);
        free(all);
    }
    free(table), free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(many_values_come_back),
        cmocka_unit_test(encodings_fit_the_values),
        cmocka_unit_test(schema_is_that_of_duckdb),
        cmocka_unit_test(what_would_lose_something_is_refused),
        cmocka_unit_test(statistics_are_those_of_duckdb),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
