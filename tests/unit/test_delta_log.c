/* Replaying logs made by hand, hostile ones too, and the tables other engines wrote (../shared/data/delta-dat). */
#include "delta_support.h"

#define PROTOCOL "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}\n"
#define SCHEMA                                                                                                         \
    "{\\\"type\\\":\\\"struct\\\",\\\"fields\\\":[{\\\"name\\\":\\\"a\\\",\\\"type\\\":\\\"long\\\",\\\"nullable\\\":" \
    "true,\\\"metadata\\\":{}}]}"
#define METADATA                                                                                                       \
    "{\"metaData\":{\"id\":\"t1\",\"format\":{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":\"" SCHEMA     \
    "\",\"partitionColumns\":[],\"configuration\":{},\"createdTime\":5}}\n"
#define ADD(path)                                                                                                      \
    "{\"add\":{\"path\":\"" path "\",\"partitionValues\":{},\"size\":10,\"modificationTime\":1,\"dataChange\":true,"   \
    "\"stats\":\"{\\\"numRecords\\\":3}\"}}\n"
#define REMOVE(path) "{\"remove\":{\"path\":\"" path "\",\"deletionTimestamp\":7,\"dataChange\":true}}\n"

static enum leat_status snapshot_at(struct fixture *f, int64_t version, struct leat_delta_snapshot *out) {
    return leat_delta_snapshot(&f->env, f->conn, f->table, version, out, &f->err);
}

static bool has_file(const struct leat_delta_snapshot *s, const char *path) {
    for (size_t i = 0; i < s->file_count; i++)
        if (strcmp(s->files[i].path, path) == 0) return true;
    return false;
}

static void test_missing_table(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    must(f, snapshot_at(f, -1, &s));
    assert_int_equal(s.version, -1);
    assert_int_equal(s.file_count, 0);
    leat_delta_snapshot_deinit(&s);
    must_fail(f, snapshot_at(f, 0, &s), LEAT_NOT_FOUND, "does not exist");
    leat_delta_snapshot_deinit(&s);
}

static void test_replay(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 0,
            "{\"commitInfo\":{\"timestamp\":111,\"leat.frontier\":{\"x\":1}}}\n" PROTOCOL METADATA ADD("p1")
                ADD("dir/p%202"));
    put_log(f, 1,
            "{\"commitInfo\":{\"timestamp\":222}}\n{\"txn\":{\"appId\":\"app\",\"version\":4}}\r\n\n" REMOVE("p1")
                ADD("p3"));
    put_log(f, 2,
            "{\"unknown\":{\"future\":true}}\n{\"txn\":{\"appId\":\"app\",\"version\":5}}\n" ADD("p1") REMOVE("p3")
                REMOVE("never"));
    must(f, snapshot_at(f, -1, &s));
    assert_int_equal(s.version, 2);
    assert_int_equal(s.file_count, 2);
    assert_true(has_file(&s, "p1"));
    assert_true(has_file(&s, "dir/p 2"));
    assert_int_equal(s.files[0].row_count, 3);
    assert_int_equal(leat_delta_txn_version(&s, "app"), 5);
    assert_int_equal(leat_delta_txn_version(&s, "other"), -1);
    assert_string_equal(s.frontier_json, "{\"x\":1}");
    assert_string_equal(s.table_id, "t1");
    assert_true(s.commit_timestamp_ms > 0); /* no commitInfo: the file's time */
    leat_delta_snapshot_deinit(&s);
    must(f, snapshot_at(f, 1, &s));
    assert_int_equal(s.version, 1);
    assert_true(has_file(&s, "p3") && !has_file(&s, "p1"));
    assert_int_equal(s.commit_timestamp_ms, 222);
    leat_delta_snapshot_deinit(&s);
    must_fail(f, snapshot_at(f, 3, &s), LEAT_NOT_FOUND, "no version 3");
}

static void test_gap(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 0, PROTOCOL METADATA);
    put_log(f, 2, ADD("p"));
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "gap: commit 1 is missing");
    must_fail(f, snapshot_at(f, 1, &s), LEAT_CORRUPT, "gap");
    must(f, snapshot_at(f, 0, &s));
    leat_delta_snapshot_deinit(&s);
}

static void test_start_missing(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 3, PROTOCOL METADATA);
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "gap");
}

static void test_features(void **state) {
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[\"deletionVectors\"],"
         "\"writerFeatures\":[\"deletionVectors\"]}}\n",
         "deletionVectors"},
        {"{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7,\"readerFeatures\":[\"variantType\"],"
         "\"writerFeatures\":[]}}\n",
         "variantType"},
        {"{\"protocol\":{\"minReaderVersion\":4,\"minWriterVersion\":7}}\n", "reader version 4"},
        {"{\"metaData\":{\"id\":\"t\",\"schemaString\":\"" SCHEMA
         "\",\"configuration\":{\"delta.columnMapping.mode\":\"name\"}}}\n",
         "columnMapping"},
        {"{\"add\":{\"path\":\"p\",\"size\":1,\"deletionVector\":{\"storageType\":\"u\"}}}\n", "deletionVectors"},
        {"{\"metaData\":{\"id\":\"t\",\"schemaString\":\"" SCHEMA "\",\"format\":{\"provider\":\"orc\"}}}\n", "orc"},
    };
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_log(f, 0, PROTOCOL METADATA);
        put_log(f, 1, cases[i].line);
        must_fail(f, snapshot_at(f, -1, &s), LEAT_UNSUPPORTED, cases[i].says);
    }
}

static void test_hostile_lines(void **state) {
    static const char *const lines[] = {
        "not json\n",
        "[]\n",
        "\"text\"\n",
        "{\"add\":[]}\n",
        "{\"add\":{}}\n",
        "{\"add\":{\"path\":5,\"size\":1}}\n",
        "{\"add\":{\"path\":\"p\"}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":-1}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":1.5}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":99999999999999999999}}\n",
        "{\"add\":{\"path\":\"\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"/etc/passwd\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"../x\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a/../../x\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a/%2e%2e/x\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"%2e%2E\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"%2Fetc\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"s3://b/x\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"file:/x\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a%0\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a%zz\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a%00b\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a\\u0000b\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"a//b\",\"size\":1}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":1,\"stats\":{}}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":1,\"partitionValues\":[]}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":1,\"partitionValues\":{\"a\":{}}}}\n",
        "{\"remove\":{\"path\":\"../x\"}}\n",
        "{\"txn\":{\"appId\":\"a\"}}\n",
        "{\"txn\":{\"version\":1}}\n",
        "{\"protocol\":{\"minReaderVersion\":\"1\"}}\n",
        "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2,\"readerFeatures\":[1]}}\n",
        "{\"metaData\":{\"id\":\"x\"}}\n",
        "{\"add\":{\"path\":\"p\",\"size\":1},\"remove\":{\"path\":\"p\"}}\n",
        "{\"add\":{\"path\":\"p\",\"si",
    };
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put_log(f, 0, PROTOCOL METADATA);
        put_log(f, 1, lines[i]);
        enum leat_status status = snapshot_at(f, -1, &s);
        if (status != LEAT_CORRUPT) fail_msg("%s gives %s", lines[i], leat_status_name(status));
        assert_non_null(strstr(f->err.text, "00000000000000000001.json"));
    }
}

static void test_no_metadata(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 0, PROTOCOL);
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "no metaData");
    put_log(f, 0, METADATA);
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "no protocol");
}

static void test_many_files(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    struct leat_buffer b = {0};
    put_log(f, 0, PROTOCOL METADATA);
    for (int i = 0; i < 5000; i++)
        leat_putf(&b, "{\"add\":{\"path\":\"f%d\",\"size\":1}}\n", i);
    put_log(f, 1, b.data);
    leat_buffer_reset(&b);
    for (int i = 0; i < 5000; i++)
        if (i % 7) leat_putf(&b, REMOVE("f%d"), i);
    put_log(f, 2, b.data);
    must(f, snapshot_at(f, -1, &s));
    assert_int_equal(s.file_count, 715);
    for (size_t i = 0; i < s.file_count; i++)
        assert_int_equal(atoi(s.files[i].path + 1) % 7, 0);
    leat_delta_snapshot_deinit(&s);
    leat_buffer_deinit(&b);
}

/* Two of four parts are enough to be ignored, four to be read; a damaged checkpoint falls back. */
static void test_multipart_checkpoint(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 0, PROTOCOL METADATA ADD("p0"));
    put_log(f, 1, ADD("p1"));
    put_log(f, 2, ADD("p2"));
    const char *rows[] = {
        "SELECT {'minReaderVersion': 1::INT, 'minWriterVersion': 2::INT} AS protocol",
        "SELECT {'id': 't1', 'format': {'provider': 'parquet'}, 'schemaString': "
        "'{\"type\":\"struct\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}', "
        "'partitionColumns': []::VARCHAR[], 'configuration': MAP {}::MAP(VARCHAR,VARCHAR)} AS \"metaData\"",
        "SELECT {'path': 'p0', 'size': 10::BIGINT, 'partitionValues': MAP {}::MAP(VARCHAR,VARCHAR), 'stats_parsed': "
        "{'numRecords': 8}} AS add",
        "SELECT {'path': 'from%20checkpoint', 'size': 10::BIGINT, 'modificationTime': 5::BIGINT, 'stats': "
        "'{\"numRecords\":9}'} AS add",
    };
    for (int part = 1; part <= 4; part++) {
        must(f, leat_conn_execf(
                    f->conn, &f->err,
                    "COPY (%s) TO '%s/_delta_log/00000000000000000001.checkpoint.000000000%d.0000000004.parquet' "
                    "(FORMAT parquet)",
                    rows[part - 1], f->table, part));
        must(f, snapshot_at(f, -1, &s));
        assert_int_equal(s.file_count, 3);
        assert_true(has_file(&s, "from checkpoint") == (part == 4));
        leat_delta_snapshot_deinit(&s);
    }
    char *pointer = leat_asprintf("%s/_delta_log/_last_checkpoint", f->table);
    const char *texts[] = {
        "{\"version\":1,\"size\":4,\"parts\":4}", "{\"version\":", "{\"version\":7}", "{\"version\":\"x\"}", "", "[]"};
    for (size_t i = 0; i < 6; i++) {
        must(f, leat_io_write_durable(f->env.io, pointer, texts[i], strlen(texts[i]), true, &f->err));
        must(f, snapshot_at(f, -1, &s));
        assert_int_equal(s.version, 2);
        assert_true(has_file(&s, "from checkpoint") && has_file(&s, "p2"));
        leat_delta_snapshot_deinit(&s);
    }
    must(f, leat_io_write_durable(f->env.io, pointer, texts[0], strlen(texts[0]), true, &f->err));
    char *damaged =
        leat_asprintf("%s/_delta_log/00000000000000000001.checkpoint.0000000002.0000000004.parquet", f->table);
    must(f, leat_io_write_durable(f->env.io, damaged, "PAR1 no more", 12, true, &f->err));
    must(f, snapshot_at(f, -1, &s));
    assert_int_equal(s.file_count, 3);
    assert_true(has_file(&s, "p1"));
    leat_delta_snapshot_deinit(&s);
    must(f, snapshot_at(f, 0, &s));
    assert_int_equal(s.file_count, 1);
    leat_delta_snapshot_deinit(&s);
    free(damaged);
    /* with a checkpoint, and without what the log needs before it */
    char *commit0 = leat_delta_commit_path(f->table, 0);
    must(f, f->env.io->ops->unlink(f->env.io, commit0, &f->err));
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "no checkpoint can be read");
    free(commit0);
    free(pointer);
}

/* A gap after the checkpoint that _last_checkpoint names is seen without listing. */
static void test_gap_after_checkpoint(void **state) {
    struct fixture *f = *state;
    struct leat_delta_snapshot s;
    put_log(f, 0, PROTOCOL METADATA);
    must(f, leat_conn_execf(f->conn, &f->err,
                            "COPY (SELECT {'minReaderVersion': 1, 'minWriterVersion': 2} AS protocol, NULL AS "
                            "\"metaData\" UNION ALL SELECT NULL, "
                            "{'id': 't', 'schemaString': '{}'}) TO "
                            "'%s/_delta_log/00000000000000000004.checkpoint.parquet' (FORMAT parquet)",
                            f->table));
    char *pointer = leat_asprintf("%s/_delta_log/_last_checkpoint", f->table);
    must(f, leat_io_write_durable(f->env.io, pointer, "{\"version\":4}", 13, true, &f->err));
    put_log(f, 5, ADD("a"));
    put_log(f, 8, ADD("b"));
    must_fail(f, snapshot_at(f, -1, &s), LEAT_CORRUPT, "gap: commit 6 is missing");
    must(f, snapshot_at(f, 5, &s));
    assert_int_equal(s.file_count, 1);
    leat_delta_snapshot_deinit(&s);
    must_fail(f, snapshot_at(f, 2, &s), LEAT_CORRUPT, NULL);
    free(pointer);
}

/* ---- tables of other engines ---- */

/* Column list that compares nested values and times as text. */
static char *as_text(struct fixture *f, const char *source) {
    struct leat_schema schema;
    struct leat_buffer sql = {0}, out = {0};
    leat_putf(&sql, "SELECT * FROM %s", source);
    must(f, leat_conn_describe(f->conn, sql.data, &schema, &f->err));
    leat_put(&out, "SELECT ");
    for (size_t i = 0; i < schema.field_count; i++) {
        leat_put(&out, i ? ", " : "");
        /* the expected files hold timestamps as INT96: no zone, UTC */
        if (schema.fields[i].type.kind == LEAT_TIMESTAMPTZ)
            leat_put(&out, "epoch_us(");
        else if (schema.fields[i].type.kind == LEAT_TIMESTAMP)
            leat_put(&out, "epoch_us(");
        else
            leat_put(&out, "CAST(");
        leat_put_sql_name(&out, schema.fields[i].name);
        leat_put(&out, schema.fields[i].type.kind == LEAT_TIMESTAMPTZ || schema.fields[i].type.kind == LEAT_TIMESTAMP
                           ? ")"
                           : " AS VARCHAR)");
        leat_put(&out, " AS ");
        leat_put_sql_name(&out, schema.fields[i].name);
    }
    leat_putf(&out, " FROM %s", source);
    leat_schema_deinit(&schema);
    leat_buffer_deinit(&sql);
    return out.data;
}

static void check_version(struct fixture *f, const char *table, int64_t version, const char *expected_dir) {
    struct leat_delta_snapshot s;
    struct leat_buffer sql = {0}, source = {0};
    char *expected =
        leat_asprintf("read_parquet('%s/table_content/*.parquet', hive_partitioning = false)", expected_dir);
    must(f, leat_delta_snapshot(&f->env, f->conn, table, version, &s, &f->err));
    leat_delta_select(table, &s, NULL, NULL, &sql);
    leat_putf(&source, "(%s)", sql.data);
    char *have = as_text(f, source.data), *want = as_text(f, expected);
    int64_t rows = count_sql(f, "SELECT count(*) FROM %s", expected);
    assert_true(rows > 0);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM %s", source.data), rows);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM ((%s) EXCEPT ALL (%s))", have, want), 0);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM ((%s) EXCEPT ALL (%s))", want, have), 0);
    if (version < 0) { /* the same through the logical schema and a predicate */
        struct leat_schema schema;
        leat_buffer_reset(&sql);
        must(f, leat_delta_snapshot_schema(&s, &schema, &f->err));
        leat_delta_select(table, &s, &schema, "true", &sql);
        assert_int_equal(count_sql(f, "SELECT count(*) FROM (%s)", sql.data), rows);
        leat_schema_deinit(&schema);
    }
    free(have);
    free(want);
    free(expected);
    leat_buffer_deinit(&sql);
    leat_buffer_deinit(&source);
    leat_delta_snapshot_deinit(&s);
}

static void test_other_engines(void **state) {
    struct fixture *f = *state;
    const char *dat = LEAT_SOURCE_DIR "/../shared/data/delta-dat";
    char **tables = NULL, **versions = NULL;
    size_t table_count = 0, version_count = 0, checked = 0;
    must(f, leat_io_list_sorted(f->env.io, dat, &tables, &table_count, &f->err));
    if (table_count == 0) {
        print_message("SKIPPED: ../shared/data/delta-dat is missing\n");
        skip();
    }
    for (size_t t = 0; t < table_count; t++) {
        char *expected = leat_asprintf("%s/%s/expected", dat, tables[t]),
             *table = leat_asprintf("%s/%s/delta", dat, tables[t]);
        must(f, leat_io_list_sorted(f->env.io, expected, &versions, &version_count, &f->err));
        for (size_t v = 0; v < version_count; v++) {
            char *dir = leat_asprintf("%s/%s", expected, versions[v]);
            must(f, leat_conn_exec(f->conn, v % 2 ? "SET TimeZone = 'America/New_York'" : "SET TimeZone = 'UTC'",
                                   &f->err));
            check_version(f, table, strcmp(versions[v], "latest") == 0 ? -1 : atoi(versions[v] + 1), dir);
            checked++;
            free(dir);
        }
        leat_names_free(versions, version_count);
        free(expected);
        free(table);
    }
    leat_names_free(tables, table_count);
    assert_true(checked >= 11);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_missing_table),        TEST(test_replay),        TEST(test_gap),
        TEST(test_start_missing),        TEST(test_features),      TEST(test_hostile_lines),
        TEST(test_no_metadata),          TEST(test_many_files),    TEST(test_multipart_checkpoint),
        TEST(test_gap_after_checkpoint), TEST(test_other_engines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
