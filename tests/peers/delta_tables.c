/* Makes Delta tables in a folder, with what is in them, for test_delta_rs.py:
 *   FOLDER/NAME/                      a table
 *   FOLDER/NAME.expected/N.parquet    its content at version N, kept by DuckDB beside it, in the types Parquet has */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lake/delta.h"

struct maker {
    struct leat_env env;
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_error err;
    const char *folder;
    char *table, *expected, *scratch;
    struct leat_schema schema;
    struct leat_delta *delta;
};

static void must(struct maker *m, enum leat_status status) {
    if (status == LEAT_OK) return;
    fprintf(stderr, "%s: %s\n", leat_status_name(status), m->err.text);
    exit(1);
}

static void run(struct maker *m, const char *format, ...) {
    va_list args;
    char *sql = NULL;
    va_start(args, format);
    if (vasprintf(&sql, format, args) < 0) exit(1);
    va_end(args);
    must(m, leat_conn_exec(m->conn, sql, &m->err));
    free(sql);
}

static const char *const all_types[] = {"BOOLEAN",   "TINYINT",       "SMALLINT", "INTEGER", "BIGINT",   "HUGEINT",
                                        "UTINYINT",  "USMALLINT",     "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT",
                                        "DOUBLE",    "DECIMAL(12,3)", "VARCHAR",  "BLOB",    "DATE",     "TIME",
                                        "TIMESTAMP", "TIMESTAMPTZ",   "INTERVAL", "UUID"};
/* Those that leat writes itself: plain where rows are few, else compact. */
static const char *const plain_types[] = {"BOOLEAN",  "TINYINT",      "SMALLINT",      "INTEGER",       "BIGINT", "HUGEINT",
                                          "UTINYINT", "USMALLINT",    "UINTEGER",      "UBIGINT",       "FLOAT",  "DOUBLE",
                                          "VARCHAR",  "DECIMAL(4,1)", "DECIMAL(12,3)", "DECIMAL(38,5)", "BLOB",   "DATE",
                                          "DECIMAL(9,2)", "TIMESTAMP", "TIMESTAMPTZ"};
static const char *const few_types[] = {"BIGINT", "VARCHAR", "DOUBLE", "TIMESTAMP"};

/* SQL of a value of the kind, over i. */
static const char *value_of(uint8_t kind) {
    switch (kind) {
    case LEAT_BOOLEAN:
        return "i % 2 = 0";
    case LEAT_FLOAT:
        return "CASE i % 4 WHEN 0 THEN 'nan'::FLOAT WHEN 1 THEN '-0'::FLOAT ELSE i / 8 END";
    case LEAT_DOUBLE:
        return "CASE WHEN i % 50 = 0 THEN 'inf'::DOUBLE ELSE i / 7 END";
    case LEAT_DECIMAL:
        return "i / 8 - 3";
    case LEAT_VARCHAR:
        return "CASE i % 5 WHEN 0 THEN '' WHEN 1 THEN 'it''s \"' || chr(10) ELSE repeat('\xC3\xA9', (i % 60)::INTEGER) "
               "|| i END";
    case LEAT_BLOB:
        return "'\\x00\\xFF'::BLOB || i::VARCHAR::BLOB";
    case LEAT_DATE:
        return "DATE '1969-12-01' + i::INTEGER";
    case LEAT_TIME:
        return "TIME '01:02:03.5'";
    case LEAT_TIMESTAMP:
        return "make_timestamp(i * 1000000007 - 5)";
    case LEAT_TIMESTAMPTZ:
        return "make_timestamptz(i * 1000000007 - 5)";
    case LEAT_INTERVAL:
        return "INTERVAL (i) HOUR";
    case LEAT_UUID:
        return "('00000000-0000-4000-8000-0000000' || (10000 + i))::UUID";
    default:
        return "i % 100";
    }
}

/* Rows i in [from, to) of the made-up data; the first of few columns is the key. */
static char *rows_sql(const struct maker *m, int from, int to) {
    struct leat_buffer b = {0};
    leat_put(&b, "SELECT ");
    for (size_t c = 0; c < m->schema.field_count; c++) {
        char type[32];
        leat_type_print(m->schema.fields[c].type, type);
        if (c == 0 && m->schema.field_count < 10)
            leat_put(&b, "i::BIGINT AS \"c0\"");
        else
            leat_putf(&b, "%sCAST(CASE WHEN (i + %zu) %% 9 = 0 THEN NULL ELSE %s END AS %s) AS \"c%zu\"", c ? ", " : "",
                      c, value_of(m->schema.fields[c].type.kind), type, c);
    }
    leat_putf(&b, " FROM (SELECT range AS i FROM range(%d, %d))", from, to);
    return b.data;
}

static void begin(struct maker *m, const char *name, const char *const *types, size_t type_count) {
    struct leat_delta_options options = {
        .name = name, .schema = &m->schema, .primary_key = "c0", .checkpoint_every = 4};
    memset(&m->schema, 0, sizeof m->schema);
    for (size_t i = 0; i < type_count; i++) {
        struct leat_type type;
        char column[32];
        must(m, leat_type_parse(types[i], strlen(types[i]), &type, &m->err));
        snprintf(column, sizeof column, "c%zu", i);
        leat_schema_add(&m->schema, column, type, i == 0 && type_count < 10); /* the key, in rows_sql */
    }
    m->table = leat_asprintf("%s/%s", m->folder, name);
    m->expected = leat_asprintf("%s/%s.expected", m->folder, name);
    m->scratch = leat_asprintf("%s/scratch", m->folder);
    must(m, leat_io_mkdirs(m->env.io, m->expected, &m->err));
    must(m, leat_delta_open(&m->env, m->conn, m->table, m->scratch, &options, &m->delta, &m->err));
    char *none = rows_sql(m, 0, 0);
    run(m, "CREATE OR REPLACE TEMP TABLE model AS %s", none);
    free(none);
}

/* Writes what the table holds now. */
static void expect(struct maker *m) {
    struct leat_buffer b = {0};
    for (size_t c = 0; c < m->schema.field_count; c++) {
        char type[32];
        leat_type_print(leat_delta_storage_type(m->schema.fields[c].type), type);
        leat_putf(&b, "%sCAST(c%zu AS %s) AS c%zu", c ? ", " : "", c, type, c);
    }
    run(m, "COPY (SELECT %s FROM model) TO '%s/%lld.parquet' (FORMAT parquet)", b.data, m->expected,
        (long long)leat_delta_current(m->delta)->version);
    leat_buffer_deinit(&b);
}

static void append(struct maker *m, int from, int to) {
    struct leat_delta_txn txn = {(char[]){"app"}, to};
    struct leat_delta_commit_info info = {
        .operation = "WRITE", .frontier_json = "{\"orders\":[1,2]}", .txns = &txn, .txn_count = 1};
    char *sql = rows_sql(m, from, to);
    must(m, leat_delta_append(m->delta, sql, &info, NULL, &m->err));
    run(m, "INSERT INTO model %s", sql);
    free(sql);
    expect(m);
}

/* The same from memory, where no DuckDB writes. */
static void append_rows(struct maker *m, int from, int to) {
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    struct leat_changes rows;
    struct leat_stage *stage;
    leat_changes_init(&rows, &m->schema);
    char *sql = rows_sql(m, from, to);
    must(m, leat_stage_prepare(m->conn, sql, &stage, &m->err));
    must(m, leat_stage_run(stage, &rows, NULL, &m->err));
    must(m, leat_delta_append_rows(m->delta, &rows, 1, &info, NULL, &m->err));
    run(m, "INSERT INTO model %s", sql);
    leat_stage_free(stage);
    leat_changes_deinit(&rows);
    free(sql);
    expect(m);
}

/* Of the rows chosen, those with an even key change, the others go. */
static void apply(struct maker *m, const char *where) {
    static const uint16_t key[] = {0};
    struct leat_delta_commit_info info = {.operation = "MERGE"};
    struct leat_changes changes;
    struct leat_stage *stage;
    leat_changes_init(&changes, &m->schema);
    char *sql = leat_asprintf("SELECT *, -1 AS __w FROM model WHERE %s UNION ALL SELECT c0, 'changed', c2, c3, 1 FROM "
                              "model WHERE %s AND c0 %% 2 = 0",
                              where, where);
    must(m, leat_stage_prepare(m->conn, sql, &stage, &m->err));
    must(m, leat_stage_run(stage, &changes, NULL, &m->err));
    must(m, leat_delta_apply(m->delta, &changes, key, 1, &info, NULL, &m->err));
    run(m, "DELETE FROM model WHERE %s AND c0 %% 2 = 1", where);
    run(m, "UPDATE model SET c1 = 'changed' WHERE %s", where);
    leat_stage_free(stage);
    leat_changes_deinit(&changes);
    free(sql);
    expect(m);
}

static void end(struct maker *m) {
    leat_delta_close(m->delta);
    leat_schema_deinit(&m->schema);
    free(m->table);
    free(m->expected);
    free(m->scratch);
}

int main(int argc, char **argv) {
    struct maker maker = {.folder = argc > 1 ? argv[1] : "."}, *m = &maker;
    bool done;
    leat_env_real(&m->env);
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    must(m, leat_duck_open(&options, &m->duck, &m->err));
    must(m, leat_conn_open(m->duck, &m->conn, &m->err));

    begin(m, "all_types", all_types, sizeof all_types / sizeof *all_types);
    expect(m);
    for (int i = 0; i < 10; i++)
        append(m, i * 50, i * 50 + 50);
    end(m);

    begin(m, "plain_types", plain_types, sizeof plain_types / sizeof *plain_types);
    for (int i = 0; i < 6; i++)
        append_rows(m, i * i * 7, i * i * 7 + i * 13 + 1);
    end(m);

    begin(m, "compact_types", plain_types, sizeof plain_types / sizeof *plain_types);
    append_rows(m, 0, 300);
    append_rows(m, 300, 7500);
    append_rows(m, 0, 1025);
    end(m);

    begin(m, "few", few_types, sizeof few_types / sizeof *few_types);
    append_rows(m, 0, 60);
    append_rows(m, 60, 61);
    apply(m, "c0 % 7 = 3");
    apply(m, "c0 BETWEEN 10 AND 30");
    end(m);

    begin(m, "merged", few_types, sizeof few_types / sizeof *few_types);
    for (int i = 0; i < 9; i++)
        append(m, i * 1000, i * 1000 + 1000);
    apply(m, "c0 BETWEEN 1500 AND 2500");
    apply(m, "c0 % 7 = 3");
    must(m, leat_delta_compact(m->delta, 0, &done, &m->err));
    expect(m);
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    must(m, leat_delta_overwrite(m->delta, "SELECT * FROM model WHERE c0 < 100", &info, &done, &m->err));
    run(m, "DELETE FROM model WHERE c0 >= 100");
    expect(m);
    apply(m, "true");
    end(m);

    leat_conn_close(m->conn);
    leat_duck_close(m->duck);
    return 0;
}
