/* Parquet files written without DuckDB, read by DuckDB: the same values, and the schema that DuckDB
 * itself would have written for the storage types. */
#include <jansson.h>

#include "data/parquet.h"
#include "lake/delta_internal.h"
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

/* Readers leave row groups out by their statistics: as many rows are found by a filter with a constant as by one that they cannot use. */
static void check_filters(const char *scan, int rows) {
    for (int c = 0; c < COLUMNS; c++) {
        char *value, *find = leat_asprintf("SELECT format('CAST(''{}'' AS {})', c%d::VARCHAR, typeof(c%d)) FROM (%s) WHERE c%d IS NOT NULL LIMIT 1 OFFSET %d", c, c, scan, c, rows / 2);
        static const char *const tests[] = {"=", "<", ">="};
        struct leat_buffer sql = {0};
        OK(leat_conn_text(conn, find, &value, oops));
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
            leat_putf(&sql, "%s abs((SELECT count(*) FROM (%s) WHERE c%d %s %s) - count(*) FILTER (v %s %s))", i ? " +" : "SELECT", scan, c, tests[i], value, tests[i], value);
        leat_putf(&sql, " FROM (SELECT CASE WHEN random() < 2 THEN c%d END AS v FROM (%s))", c, scan);
        assert_int_equal(count_of(sql.data), 0);
        leat_buffer_deinit(&sql);
        free(value), free(find);
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
    check_encoding("repeat('a dictionary that shrinks, of indices that do not ', 3) || hash(i) % 3000", "RLE_DICTIONARY, RLE, PLAIN ZSTD");
    check_encoding("hash(i)::VARCHAR", "DELTA_LENGTH_BYTE_ARRAY, RLE ZSTD");
    check_encoding("(hash(i) % 3000)::VARCHAR", "RLE_DICTIONARY");
    check_encoding("(hash(i) % 6000)::VARCHAR", "DELTA_LENGTH_BYTE_ARRAY"); /* more than a dictionary has */
    check_encoding("CASE WHEN i % 3 > 0 THEN TIMESTAMP '2024-01-01' + to_microseconds(i * 977) END", "DELTA_BINARY_PACKED");
    check_encoding("CASE i % 4 WHEN 0 THEN (-9223372036854775807 - 1)::BIGINT WHEN 1 THEN 9223372036854775807 ELSE (hash(i)::HUGEINT % 9223372036854775807)::BIGINT END",
                   "DELTA_BINARY_PACKED");
    check_encoding("CASE i % 4 WHEN 0 THEN -2147483648 WHEN 1 THEN 2147483647 ELSE (hash(i) % 2147483647)::INTEGER END", "DELTA_BINARY_PACKED");
    check_encoding("(hash(i) % 1000)::DECIMAL(9,2)", "RLE_DICTIONARY");
    check_encoding("(hash(i) % 4000 << 40)::BIGINT", "RLE_DICTIONARY");
    check_encoding("i // 100", "DELTA_BINARY_PACKED"); /* few values, but with deltas that take less */
    check_encoding("i / 7.0::DOUBLE", "PLAIN");
    check_encoding("(hash(i) % 100) / 10.0::DOUBLE", "RLE_DICTIONARY");
    check_encoding("CASE i % 4 WHEN 0 THEN 'nan'::FLOAT WHEN 1 THEN '-inf'::FLOAT ELSE 0.5 END", "RLE_DICTIONARY");
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
    const struct leat_schema none = {0};
    const struct leat_changes rows = {.schema = &none, .row_count = 3};
    struct leat_buffer bytes = {0};
    (void)state;
    assert_false(write_all(&none, &rows, &bytes));
    leat_buffer_deinit(&bytes);
    refuse("SELECT 1 AS a, TIME '01:02:03' AS t");
    refuse("SELECT INTERVAL 1 DAY AS t");
    refuse("SELECT '00000000-0000-4000-8000-000000000001'::UUID AS t");
    refuse("SELECT 'x' AS a, 100000000000000000000000000000000000000::HUGEINT AS t");
    refuse("SELECT -100000000000000000000000000000000000000::HUGEINT AS t");
    refuse("SELECT 340282366920938463463374607431768211455::UHUGEINT AS t");
}

/* ---- rows at random */

static struct leat_random dice;

static uint64_t below(uint64_t n) {
    return leat_random_below(&dice, n);
}

static leat_i128 power_of_ten(unsigned n) {
    leat_i128 power = 1;
    while (n--)
        power *= 10;
    return power;
}

struct maker { /* of a column's values */
    struct leat_type type;
    unsigned values, nulls, distinct, shift, left;
    uint64_t last;
};

static struct maker random_maker(void) {
    static const char *const types[] = {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
                                        "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL(4,1)", "DECIMAL(9,9)",
                                        "DECIMAL(18,0)", "DECIMAL(19,2)", "VARCHAR", "VARCHAR", "BLOB", "DATE", "TIMESTAMP", "TIMESTAMPTZ"};
    const char *type = types[below(sizeof types / sizeof *types)];
    static const unsigned distinct[] = {1, 2, 3, 17, 300, 4096, 4097};
    struct maker m = {.values = (unsigned)below(5), .nulls = (unsigned)below(6), .distinct = distinct[below(7)], .shift = (unsigned)below(60)};
    OK(leat_type_parse(type, strlen(type), &m.type, oops));
    return m;
}

/* Runs, few different ones, a sequence, anything, the extremes. */
static uint64_t random_bits(struct maker *m) {
    switch (m->values) {
    case 0:
        if (!m->left--) m->last = below(UINT64_MAX), m->left = (unsigned)below(300);
        return m->last;
    case 1:
        return below(m->distinct) << m->shift;
    case 2:
        return m->last += m->distinct;
    case 3:
        return below(UINT64_MAX);
    default:
        return (uint64_t)((below(2) ? INT64_MAX : INT64_MIN + 1) >> (leat_type_size(m->type) < 8 ? 64 - 8 * leat_type_size(m->type) : 0));
    }
}

static void put_random(struct maker *m, struct leat_changes *to, size_t column, size_t row) {
    size_t size = leat_type_size(m->type);
    uint64_t bits = random_bits(m);
    unsigned digits = m->type.kind == LEAT_DECIMAL ? m->type.width : 38;
    leat_i128 value = size == 16 ? (leat_i128)(int64_t)bits * (int64_t)(bits | 1) % power_of_ten(digits)
                                 : (leat_i128)(int64_t)bits % power_of_ten(digits);
    if (m->type.kind == LEAT_BOOLEAN) value = bits & 1;
    if (m->type.kind == LEAT_UBIGINT) value = bits;
    if (m->type.kind == LEAT_UHUGEINT && value < 0) value = -value;
    if (leat_type_is_string(m->type)) {
        static const char *const words[] = {"", "a", "\xC3\xA9", "twelve bytes", "thirteen byte", "\xF0\x9F\x98\x80 and more than twelve bytes"};
        char text[64];
        int n = snprintf(text, sizeof text, bits % 7 ? "%s%d" : "%s", words[bits % 6], (int)(bits / 6 % 100000));
        char *copy = leat_arena_alloc(&to->strings, (size_t)n + 8);
        memcpy(copy, text, (size_t)n);
        if (m->type.kind == LEAT_BLOB) memcpy(copy + n, &bits, 8), n += 8;
        ((struct leat_string *)to->columns[column].data)[row] = leat_string_of(copy, (uint32_t)n);
    } else {
        memcpy((char *)to->columns[column].data + row * size, &value, size);
    }
    static const uint64_t null_of[] = {0, 0, 2, 10, 1, 100};
    if (null_of[m->nulls] && (m->nulls == 5 ? row / 100 % 2 : !below(null_of[m->nulls]))) leat_set_null(to, column, row);
}

static void assert_same_value(const struct leat_column *a, size_t i, const struct leat_column *b, size_t k) {
    size_t size = leat_type_size(a->type);
    assert_int_equal(leat_is_null(a, i), leat_is_null(b, k));
    if (leat_is_null(a, i)) return;
    if (leat_type_is_string(a->type))
        assert_true(leat_string_equal((const struct leat_string *)a->data + i, (const struct leat_string *)b->data + k));
    else
        assert_memory_equal((const char *)a->data + i * size, (const char *)b->data + k * size, size);
}

enum { RANDOM_COLUMNS = 3, RANDOM_BATCHES = 4 };

/* Every bit as it was, in order. */
static void check_file(const struct leat_schema *schema, const struct leat_parquet_rows *rows, const struct leat_buffer *bytes) {
    struct leat_schema back_schema;
    struct leat_changes back;
    struct leat_buffer sql = {0};
    char *path = put_file("random.parquet", bytes);
    leat_put(&sql, "SELECT ");
    for (int c = 0; c < RANDOM_COLUMNS; c++) {
        char type[32];
        leat_type_print(schema->fields[c].type, type);
        leat_putf(&sql, "%sCAST(c%d AS %s) AS c%d", c ? ", " : "", c, type, c);
    }
    leat_putf(&sql, " FROM read_parquet('%s')", path);
    read_rows(sql.data, &back_schema, &back);
    assert_int_equal(back.row_count, rows->count);
    size_t at = 0;
    for (size_t b = 0; b < rows->batch_count; b++)
        for (size_t row = 0; row < rows->batches[b].row_count; row++, at++)
            for (int c = 0; at >= rows->from && at < rows->from + rows->count && c < RANDOM_COLUMNS; c++)
                assert_same_value(&rows->batches[b].columns[c], row, &back.columns[c], at - rows->from);
    leat_changes_deinit(&back);
    leat_schema_deinit(&back_schema);
    leat_buffer_deinit(&sql);
    free(path);
}

static void check_random(uint64_t seed) {
    static const size_t counts[] = {3, 131, 600, 9000}, groups[] = {1, 8, 127, 128, 129, 1000, LEAT_PARQUET_GROUP_ROWS};
    struct maker makers[RANDOM_COLUMNS];
    struct leat_schema schema = {0};
    struct leat_changes batches[RANDOM_BATCHES];
    struct leat_buffer bytes = {0};
    leat_random_seed(&dice, seed);
    size_t most = counts[below(4)], total = 0, group_rows = groups[below(7)];
    for (int c = 0; c < RANDOM_COLUMNS; c++) {
        char name[] = {'c', (char)('0' + c), 0};
        makers[c] = random_maker();
        leat_schema_add(&schema, name, makers[c].type, false);
    }
    for (int b = 0; b < RANDOM_BATCHES; b++) {
        size_t n = below(3) ? below(most / 2 + 1) : 0;
        leat_changes_init(&batches[b], &schema);
        leat_changes_reserve(&batches[b], n);
        batches[b].row_count = n;
        for (size_t row = 0; row < n; row++)
            for (size_t c = 0; c < RANDOM_COLUMNS; c++)
                put_random(&makers[c], &batches[b], c, row);
        total += n;
    }
    struct leat_parquet_rows rows = {batches, RANDOM_BATCHES, below(2) ? below(total + 1) : 0, 0};
    rows.count = below(2) ? below(total - rows.from + 1) : total - rows.from;
    if (rows.count / group_rows > 100) group_rows = rows.count / 100;
    assert_true(leat_parquet_write(&schema, NULL, &rows, below(4) ? LEAT_PARQUET_COMPACT : LEAT_PARQUET_PLAIN, group_rows, NULL, &bytes));
    check_file(&schema, &rows, &bytes);
    leat_buffer_deinit(&bytes);
    for (int b = 0; b < RANDOM_BATCHES; b++)
        leat_changes_deinit(&batches[b]);
    leat_schema_deinit(&schema);
}

static void random_rows_come_back(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        check_random(seed);
}

static void check_statistics(const char *sql, const char *name) {
    struct leat_schema schema;
    struct leat_changes rows;
    struct leat_env env;
    struct leat_delta *deltas[2];
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    struct leat_delta_options options = {.name = "t", .schema = &schema};
    char *scratch = leat_asprintf("%s/scratch", dir), *paths[2];
    json_t *stats[2];
    leat_env_real(&env);
    OK(leat_io_mkdirs(env.io, scratch, oops));
    read_rows(sql, &schema, &rows);
    for (int i = 0; i < 2; i++) {
        paths[i] = leat_asprintf("%s/%s-%d", dir, name, i);
        OK(leat_delta_open(&env, conn, paths[i], scratch, &options, &deltas[i], oops));
        if (!i) deltas[i]->row_group_rows = 2; /* their ranges are joined */
        OK(i ? leat_delta_append(deltas[i], sql, &info, NULL, oops)
             : leat_delta_append_rows(deltas[i], &rows, 1, &info, NULL, oops));
        const struct leat_delta_snapshot *now = leat_delta_current(deltas[i]);
        assert_int_equal(now->file_count, 1);
        stats[i] = json_loads(now->files[0].stats_json, JSON_DECODE_INT_AS_REAL, NULL);
        assert_non_null(stats[i]);
    }
    if (!json_equal(stats[0], stats[1])) {
        for (int i = 0; i < 2; i++)
            print_error("%s: %s\n", i ? "DuckDB's" : "ours", leat_delta_current(deltas[i])->files[0].stats_json);
        fail_msg("statistics of %s differ", name);
    }
    for (int i = 0; i < 2; i++) {
        leat_delta_close(deltas[i]);
        json_decref(stats[i]);
        free(paths[i]);
    }
    leat_changes_deinit(&rows);
    leat_schema_deinit(&schema);
    free(scratch);
}

/* Statistics of rows written here are those DuckDB gives for the same rows. */
static void statistics_are_those_of_duckdb(void **state) {
    (void)state;
    for (int from = 0; from < 300; from += 7) {
        char *sql = rows_sql(from, from + 1 + from % 5, from % 2), *name = leat_asprintf("rows-%d", from);
        check_statistics(sql, name);
        free(sql), free(name);
    }
    check_statistics("SELECT * FROM (VALUES (DATE '-infinity', TIMESTAMP '-infinity', 'a'), (DATE 'infinity', TIMESTAMP 'infinity', '')) t(d, t, v)", "extremes");
    check_statistics("SELECT * FROM (VALUES (DATE '0001-01-01', TIMESTAMP '0001-01-01', 'a' || chr(0)), (DATE '9999-12-31', TIMESTAMP '9999-12-31 23:59:59.999999', 'a'), (NULL, NULL, "
                     "repeat('\xF0\x9F\x98\x80', 40))) t(d, t, v)",
                     "calendar");
    check_statistics("SELECT * FROM (VALUES (DATE '0001-01-01' - 1, TIMESTAMP '0001-01-01' - INTERVAL 1 MICROSECOND), (DATE '9999-12-31' + 1, TIMESTAMP '9999-12-31' + INTERVAL 1 DAY)) t(d, t)",
                     "beyond");
}

/* A column that is too long for a page, in the second of several files: DuckDB goes on from there, and no row is there twice. */
static void rows_go_on_by_duckdb(void **state) {
    (void)state;
    enum { GROUP = 4, ROWS = 43, LONG_FROM = 40, LONG_BYTES = 24 << 20 };
    struct leat_schema schema = {0};
    struct leat_changes batches[3];
    struct leat_env env;
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    char *table = leat_asprintf("%s/long", dir), *scratch = leat_asprintf("%s/scratch-long", dir), *text = malloc(LONG_BYTES);
    static const size_t counts[] = {ROWS - 4, 0, 4};
    leat_env_real(&env);
    memset(text, 'x', LONG_BYTES);
    OK(leat_io_mkdirs(env.io, scratch, oops));
    leat_schema_add(&schema, "i", (struct leat_type){.kind = LEAT_INTEGER}, false);
    leat_schema_add(&schema, "t", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    for (size_t b = 0, i = 0; b < 3; b++) {
        leat_changes_init(&batches[b], &schema);
        leat_changes_reserve(&batches[b], counts[b]);
        for (; batches[b].row_count < counts[b]; i++) {
            size_t row = batches[b].row_count++;
            ((int32_t *)batches[b].columns[0].data)[row] = (int32_t)i;
            ((struct leat_string *)batches[b].columns[1].data)[row] = leat_string_of(text, i < LONG_FROM ? (uint32_t)i : LONG_BYTES);
        }
    }
    for (int split = 0; split < 2; split++) {
        struct leat_delta *d;
        struct leat_delta_options options = {.name = "t", .schema = &schema};
        char *path = leat_asprintf("%s-%d", table, split), *have, *sql;
        OK(leat_delta_open(&env, conn, path, scratch, &options, &d, oops));
        d->row_group_rows = GROUP;
        OK(split ? leat_delta_overwrite_rows(d, batches, 3, &info, NULL, oops) : leat_delta_append_rows(d, batches, 3, &info, NULL, oops));
        sql = leat_asprintf("SELECT concat_ws(' ', count(*), count(DISTINCT i), sum(i), sum(length(t)), count(*) FILTER (length(t) = CASE WHEN i < %d THEN i ELSE %d END)) FROM '%s/*.parquet'",
                            LONG_FROM, LONG_BYTES, path);
        OK(leat_conn_text(conn, sql, &have, oops));
        assert_string_equal(have, "43 43 903 75498252 43");
        free(sql), free(have);
        sql = leat_asprintf("SELECT count(*) FILTER (created_by LIKE 'leat%%') || ' ' || count(*) FILTER (created_by LIKE 'DuckDB%%') FROM parquet_file_metadata('%s/*.parquet')", path);
        OK(leat_conn_text(conn, sql, &have, oops));
        assert_string_equal(have, split ? "5 1" : "1 1");
        leat_delta_close(d);
        free(path), free(sql), free(have);
    }
    for (int b = 0; b < 3; b++)
        leat_changes_deinit(&batches[b]);
    leat_schema_deinit(&schema);
    free(table), free(scratch), free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back),
        cmocka_unit_test(many_values_come_back),
        cmocka_unit_test(random_rows_come_back),
        cmocka_unit_test(encodings_fit_the_values),
        cmocka_unit_test(schema_is_that_of_duckdb),
        cmocka_unit_test(what_would_lose_something_is_refused),
        cmocka_unit_test(statistics_are_those_of_duckdb),
        cmocka_unit_test(rows_go_on_by_duckdb),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
