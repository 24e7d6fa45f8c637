/* Writing Delta tables: every operation against a model (a DuckDB table with the same rows), after each step read back
 * by a fresh replay of the log, sometimes through a newly opened writer. */
#include "delta_support.h"

static const struct {
    const char *name;
    struct leat_type type;
    const char *value; /* SQL over hash values h(n) */
} columns[] = {
    {"k", {LEAT_BIGINT, 0, 0}, "CASE WHEN x%11=0 THEN NULL ELSE (x%4000)::BIGINT END"},
    {"v",
     {LEAT_VARCHAR, 0, 0},
     "CASE WHEN x%7=0 THEN NULL WHEN x%7=1 THEN '' WHEN x%7=2 THEN 'it''s \"' || chr(1) || repeat('\xC3\xA9', "
     "(x%50)::INT) "
     "ELSE repeat('z', (x%40)::INT) END"},
    {"Weird \"name\", {x}=1",
     {LEAT_DOUBLE, 0, 0},
     "CASE x%6 WHEN 0 THEN 'nan' WHEN 1 THEN -0.0 WHEN 2 THEN 0.0 WHEN 3 THEN 'inf' WHEN 4 THEN NULL ELSE x%9/8 "
     "END::DOUBLE"},
    {"f", {LEAT_FLOAT, 0, 0}, "(x%5/4)::FLOAT"},
    {"t",
     {LEAT_TIMESTAMP, 0, 0},
     "CASE WHEN x%29=0 THEN 'infinity'::TIMESTAMP ELSE make_timestamp((x%100000)::BIGINT * 777777) END"},
    {"z", {LEAT_TIMESTAMPTZ, 0, 0}, "make_timestamptz((x%3)::BIGINT * -77777777777)"},
    {"h", {LEAT_HUGEINT, 0, 0}, "(x%5)::HUGEINT * 10000000000000000000000"},
    {"u", {LEAT_UUID, 0, 0}, "('00000000-0000-4000-8000-00000000000' || (x%9))::UUID"},
    {"i",
     {LEAT_INTERVAL, 0, 0},
     "CASE x%3 WHEN 0 THEN INTERVAL '1 month' WHEN 1 THEN INTERVAL '-30 days 5 seconds' ELSE NULL END"},
    {"e", {LEAT_DECIMAL, 10, 2}, "((x%7)::INT - 3)::DECIMAL(10,2) / 4"},
    {"b", {LEAT_BLOB, 0, 0}, "CASE WHEN x%2=0 THEN '\\x00\\xFF'::BLOB END"},
    {"day", {LEAT_DATE, 0, 0}, "DATE '1969-12-30' + (x%5)::INT"},
    {"tm", {LEAT_TIME, 0, 0}, "TIME '00:00:01.5' + INTERVAL (x%4) HOUR"},
    {"ub", {LEAT_UBIGINT, 0, 0}, "(18446744073709551615 - (x%3))::UBIGINT"},
    {"us", {LEAT_USMALLINT, 0, 0}, "(x%3 + 65533)::USMALLINT"},
    {"bo", {LEAT_BOOLEAN, 0, 0}, "x%2=0"},
};
#define COLUMN_COUNT (sizeof columns / sizeof *columns)

static void make_schema(struct leat_schema *s) {
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < COLUMN_COUNT; i++)
        leat_schema_add(s, columns[i].name, columns[i].type, false);
}

/* SELECT of `count` random rows. */
static char *random_rows(uint64_t seed, unsigned count) {
    struct leat_buffer b = {0};
    leat_put(&b, "SELECT ");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        char type[32];
        leat_type_print(columns[i].type, type);
        leat_putf(&b, "%s(SELECT CAST(%s AS %s) FROM (SELECT hash(r.range, %llu, %zu)//1000 AS x)) AS ", i ? ", " : "",
                  columns[i].value, type, (unsigned long long)seed, i);
        leat_put_sql_name(&b, columns[i].name);
    }
    leat_putf(&b, " FROM range(%u) r", count);
    return b.data;
}

static struct leat_delta *open_table(struct fixture *f, const struct leat_schema *schema, int checkpoint_every) {
    struct leat_delta_options options = {
        .name = "a table", .schema = schema, .primary_key = "k", .checkpoint_every = checkpoint_every};
    struct leat_delta *d = NULL;
    must(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err));
    return d;
}

/* Doubles and intervals compare as SQL does; EXCEPT ALL groups, so it agrees with IS NOT DISTINCT FROM. */
static void check_equal(struct fixture *f, const struct leat_schema *schema, const char *model) {
    struct leat_delta_snapshot s;
    struct leat_buffer sql = {0};
    must(f, leat_delta_snapshot(&f->env, f->conn, f->table, -1, &s, &f->err));
    leat_delta_select(f->table, &s, schema, NULL, &sql);
    int64_t rows = count_sql(f, "SELECT count(*) FROM %s", model), known = 0;
    for (size_t i = 0; i < s.file_count; i++)
        known += s.files[i].row_count;
    assert_int_equal(known, rows);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM (%s)", sql.data), rows);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM (%s EXCEPT ALL SELECT * FROM %s)", sql.data, model), 0);
    assert_int_equal(count_sql(f, "SELECT count(*) FROM (SELECT * FROM %s EXCEPT ALL %s)", model, sql.data), 0);
    leat_buffer_deinit(&sql);
    leat_delta_snapshot_deinit(&s);
}

static void run(struct fixture *f, const char *format, ...) {
    va_list args;
    char *sql = NULL;
    va_start(args, format);
    assert_true(vasprintf(&sql, format, args) >= 0);
    va_end(args);
    must(f, leat_conn_exec(f->conn, sql, &f->err));
    free(sql);
}

/* Rows of a query with a column __w as changes. */
static void take_changes(struct fixture *f, const struct leat_schema *schema, const char *sql,
                         struct leat_changes *out) {
    struct leat_stage *stage = NULL;
    leat_changes_init(out, schema);
    must(f, leat_stage_prepare(f->conn, sql, &stage, &f->err));
    must(f, leat_stage_run(stage, out, NULL, &f->err));
    leat_stage_free(stage);
}

static void step_apply(struct fixture *f, struct leat_delta *d, const struct leat_schema *schema, uint64_t seed,
                       unsigned deletes, unsigned inserts) {
    struct leat_changes changes;
    struct leat_delta_commit_info info = {.operation = "MERGE"};
    char *rows = random_rows(seed, inserts);
    run(f,
        "CREATE OR REPLACE TEMP TABLE gone AS SELECT * FROM (SELECT *, row_number() OVER () AS rn FROM model) "
        "WHERE hash(rn, %llu) %% 1000 < %u",
        (unsigned long long)seed, deletes);
    run(f, "ALTER TABLE gone DROP COLUMN rn");
    run(f, "CREATE OR REPLACE TEMP TABLE come AS %s", rows);
    if (inserts % 2) run(f, "INSERT INTO come SELECT * FROM come");
    run(f, "CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM model EXCEPT ALL SELECT * FROM gone");
    /* consolidated, as the header asks: weights of equal rows added up */
    take_changes(f, schema,
                 "SELECT * EXCLUDE (w), sum(w)::INTEGER AS __w FROM (SELECT *, -1 AS w FROM gone UNION ALL SELECT *, 1 "
                 "FROM come) "
                 "GROUP BY ALL HAVING sum(w) <> 0",
                 &changes);
    must(f, leat_delta_apply(d, &changes, NULL, 0, &info, NULL, &f->err));
    leat_changes_deinit(&changes);
    run(f, "CREATE OR REPLACE TEMP TABLE model AS SELECT * FROM kept UNION ALL SELECT * FROM come");
    free(rows);
}

/* group_rows: 0, or so few that rewriting makes groups of files and splits them. */
static void check_model(void **state, int64_t group_rows, unsigned row_count, int steps) {
    struct fixture *f = *state;
    struct leat_schema schema;
    make_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 5);
    if (group_rows) d->row_group_rows = group_rows;
    struct leat_delta_commit_info write = {.operation = "WRITE"};
    char *none = random_rows(1, 0);
    run(f, "CREATE TEMP TABLE model AS %s", none);
    free(none);
    check_equal(f, &schema, "model");
    for (uint64_t step = 0; step < (uint64_t)steps; step++) {
        unsigned kind = (unsigned)(leat_random_below(&f->env.random, 10)),
                 count = (unsigned)leat_random_below(&f->env.random, row_count);
        char *rows = random_rows(step, count);
        bool done;
        if (kind < 3) {
            run(f, "INSERT INTO model %s", rows);
            must(f, leat_delta_append(d, rows, &write, NULL, &f->err));
        } else if (kind == 3 && step % 3 == 0) {
            run(f, "CREATE OR REPLACE TEMP TABLE model AS %s", rows);
            must(f, leat_delta_overwrite(d, rows, &write, NULL, &f->err));
        } else if (kind < 8) {
            step_apply(f, d, &schema, step, (unsigned)leat_random_below(&f->env.random, kind == 4 ? 1000 : 100), count);
        } else if (kind == 8) {
            must(f, leat_delta_compact(d, step % 2 ? 0 : 100000, &done, &f->err));
        } else {
            size_t removed;
            must(f, leat_delta_vacuum(d, 0, &removed, &f->err));
        }
        free(rows);
        check_equal(f, &schema, "model");
        if (step % 4 == 0) {
            leat_delta_close(d);
            d = open_table(f, &schema, 5);
            if (group_rows) d->row_group_rows = group_rows;
        }
    }
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

static void test_model(void **state) {
    check_model(state, 0, 200, 60);
}

static void test_model_of_groups(void **state) {
    check_model(state, 100, 1500, 40);
}

static void simple_schema(struct leat_schema *s) {
    memset(s, 0, sizeof *s);
    leat_schema_add(s, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_schema_add(s, "status", (struct leat_type){.kind = LEAT_VARCHAR}, false);
}

static const uint16_t key_id[] = {0};

static void append(struct fixture *f, struct leat_delta *d, const char *sql) {
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    must(f, leat_delta_append(d, sql, &info, NULL, &f->err));
}

static enum leat_status apply_sql(struct fixture *f, struct leat_delta *d, const char *sql, size_t key_count) {
    struct leat_delta_commit_info info = {.operation = "MERGE"};
    struct leat_changes changes;
    take_changes(f, &d->schema, sql, &changes);
    enum leat_status status = leat_delta_apply(d, &changes, key_id, key_count, &info, NULL, &f->err);
    leat_changes_deinit(&changes);
    return status;
}

/* The table's rows as text, ordered. */
static void check_rows(struct fixture *f, struct leat_delta *d, const char *wanted) {
    struct leat_buffer sql = {0};
    char *have = NULL;
    leat_put(&sql,
             "SELECT coalesce(string_agg(id || '=' || coalesce(status, 'NULL'), ' ' ORDER BY id, status), '') FROM (");
    leat_delta_select(f->table, leat_delta_current(d), &d->schema, NULL, &sql);
    leat_put(&sql, ")");
    must(f, leat_conn_text(f->conn, sql.data, &have, &f->err));
    assert_string_equal(have, wanted);
    free(have);
    leat_buffer_deinit(&sql);
}

static void test_keyed(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 0);
    append(f, d, "SELECT 1 AS id, 'a' AS status UNION ALL SELECT 2, 'b'");
    append(f, d, "SELECT 'c' AS status, 3 AS id UNION ALL SELECT NULL, 4"); /* by name */
    check_rows(f, d, "1=a 2=b 3=c 4=NULL");
    char *untouched = leat_strdup(d->state.snapshot.files[1].path);
    /* by key: the old status need not match */
    must(f, apply_sql(f, d, "SELECT 1::BIGINT, '?', -1 AS __w UNION ALL SELECT 1, 'A', 1 UNION ALL SELECT 9, 'new', 1",
                      1));
    check_rows(f, d, "1=A 2=b 3=c 4=NULL 9=new");
    assert_true(leat_delta_state_find(&d->state, untouched) >= 0);
    /* a row that is not there: nothing changes */
    int64_t version = leat_delta_current(d)->version;
    must_fail(f, apply_sql(f, d, "SELECT 5::BIGINT, 'x', -1 AS __w", 1), LEAT_CORRUPT, "does not hold");
    must_fail(f, apply_sql(f, d, "SELECT 1::BIGINT, 'x', -1 AS __w", 0), LEAT_CORRUPT, "does not hold");
    must_fail(f, apply_sql(f, d, "SELECT 1::BIGINT, 'A', -2 AS __w", 0), LEAT_CORRUPT, "does not hold");
    must_fail(f, apply_sql(f, d, "SELECT NULL::BIGINT, 'A', -1 AS __w", 1), LEAT_CORRUPT, "does not hold");
    assert_int_equal(leat_delta_current(d)->version, version);
    check_rows(f, d, "1=A 2=b 3=c 4=NULL 9=new");
    /* counted removals and insertions */
    must(f, apply_sql(f, d, "SELECT 7::BIGINT, 's', 3 AS __w", 1));
    must(f, apply_sql(f, d, "SELECT 7::BIGINT, 's', -2 AS __w", 0));
    check_rows(f, d, "1=A 2=b 3=c 4=NULL 7=s 9=new");
    must(f, apply_sql(f, d, "SELECT unnest([1,2,3,4,7,9])::BIGINT, '', -1 AS __w", 1));
    check_rows(f, d, "");
    assert_int_equal(leat_delta_current(d)->file_count, 0);
    free(untouched);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* Rows in the table's files that version `version` does not have. */
static int64_t rows_written_since(struct fixture *f, struct leat_delta *d, int64_t version) {
    const struct leat_delta_snapshot *now = leat_delta_current(d);
    struct leat_delta_snapshot before;
    int64_t rows = 0;
    must(f, leat_delta_snapshot(&f->env, f->conn, f->table, version, &before, &f->err));
    for (size_t i = 0; i < now->file_count; i++) {
        bool old = false;
        for (size_t k = 0; k < before.file_count; k++)
            old |= strcmp(before.files[k].path, now->files[i].path) == 0;
        if (!old) rows += now->files[i].row_count;
    }
    leat_delta_snapshot_deinit(&before);
    return rows;
}

/* Keys that only grow, updated while they are young: what a commit writes must not grow with the table. */
static void test_growing_keys_leave_old_files(void **state) {
    struct fixture *f = *state;
    enum { GROUP = 1000, STEPS = 30, NEW = 900 };
    struct leat_schema schema;
    simple_schema(&schema);
    struct leat_delta_options options = {.name = "a table", .schema = &schema, .primary_key = "id"};
    struct leat_delta *d = NULL;
    must(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err));
    d->row_group_rows = GROUP;
    run(f, "CREATE TEMP TABLE grown (id BIGINT, status VARCHAR)");
    for (int step = 0; step < STEPS; step++) {
        int from = step * NEW, young = from < 200 ? 0 : from - 200;
        int64_t version = leat_delta_current(d)->version;
        char *sql = leat_asprintf("SELECT range + %d AS id, 's' AS status, 1 AS __w FROM range(%d) UNION ALL "
                                  "SELECT id, status, -1 FROM grown WHERE id >= %d AND id %% 7 = 0 UNION ALL "
                                  "SELECT id, 't%d', 1 FROM grown WHERE id >= %d AND id %% 7 = 0",
                                  from, NEW, young, step, young);
        must(f, apply_sql(f, d, sql, 0));
        run(f, "UPDATE grown SET status = 't%d' WHERE id >= %d AND id %% 7 = 0", step, young);
        run(f, "INSERT INTO grown SELECT range + %d, 's' FROM range(%d)", from, NEW);
        must(f, leat_delta_compact(d, 0, NULL, &f->err));
        assert_true(rows_written_since(f, d, version) <= 3 * GROUP);
        free(sql);
    }
    check_equal(f, &schema, "grown");
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

static void test_not_null(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    struct leat_delta_commit_info info = {.operation = "WRITE"};
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 0);
    must_fail(f, leat_delta_append(d, "SELECT NULL::BIGINT AS id, 'x' AS status", &info, NULL, &f->err), LEAT_INVALID,
              "NOT NULL");
    must_fail(f, leat_delta_append(d, "SELECT 1 AS id", &info, NULL, &f->err), LEAT_SQL, "status");
    assert_int_equal(leat_delta_current(d)->version, 0);
    check_rows(f, d, "");
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

static void test_txn(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    bool done;
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 2);
    for (int64_t round = 0; round < 6; round++) {
        struct leat_delta_txn txns[] = {{"p0", 10 + round}, {"p1", 20}};
        struct leat_delta_commit_info info = {
            .operation = "WRITE", .frontier_json = round == 3 ? NULL : "{\"n\": [1, 2]}", .txns = txns, .txn_count = 2};
        for (int again = 0; again < 2; again++) {
            must(f, leat_delta_append(d, "SELECT 1 AS id, 'x' AS status", &info, &done, &f->err));
            assert_int_equal(done, !again);
        }
        leat_delta_close(d);
        d = open_table(f, &schema, 2);
        assert_int_equal(leat_delta_txn_version(leat_delta_current(d), "p0"), 10 + round);
        assert_string_equal(leat_delta_current(d)->frontier_json, "{\"n\":[1,2]}");
        assert_int_equal(leat_delta_current(d)->file_count, round + 1);
    }
    struct leat_delta_txn mixed[] = {{"p0", 1}, {"p1", 21}};
    struct leat_delta_commit_info info = {.operation = "WRITE", .txns = mixed, .txn_count = 2};
    must_fail(f, leat_delta_append(d, "SELECT 1 AS id, 'x' AS status", &info, &done, &f->err), LEAT_CONFLICT,
              "some, but not all");
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* Two writers on one table: appends go on, rewrites conflict once and then succeed. */
static void test_two_writers(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    simple_schema(&schema);
    struct leat_delta *a = open_table(f, &schema, 3), *b = open_table(f, &schema, 3);
    append(f, a, "SELECT 1 AS id, 'a' AS status");
    append(f, b, "SELECT 2 AS id, 'b' AS status");
    append(f, b, "SELECT 3 AS id, 'b' AS status");
    append(f, a, "SELECT 4 AS id, 'a' AS status");
    check_rows(f, a, "1=a 2=b 3=b 4=a");
    must(f, apply_sql(f, b, "SELECT 1::BIGINT, 'a', -1 AS __w", 1)); /* on top of what the other has done */
    must_fail(f, apply_sql(f, a, "SELECT 1::BIGINT, 'a', -1 AS __w", 1), LEAT_CORRUPT, "does not hold");
    check_rows(f, a, "2=b 3=b 4=a");
    check_rows(f, b, "2=b 3=b 4=a");
    /* whoever loses leaves no file behind */
    size_t removed;
    must(f, leat_delta_vacuum(a, 0, &removed, &f->err));
    assert_int_equal(removed, 1);
    check_rows(f, a, "2=b 3=b 4=a");
    leat_delta_close(a);
    leat_delta_close(b);
    leat_schema_deinit(&schema);
}

static void test_open_conflicts(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema, other;
    struct leat_delta *d;
    simple_schema(&schema);
    leat_delta_close(open_table(f, &schema, 0));
    struct leat_delta_options options = {.name = "t", .schema = &other};
    simple_schema(&other);
    leat_schema_add(&other, "more", (struct leat_type){.kind = LEAT_BIGINT}, false);
    must_fail(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err), LEAT_CONFLICT,
              "2 columns");
    leat_schema_deinit(&other);
    simple_schema(&other);
    other.fields[1].type.kind = LEAT_UUID; /* the same in Parquet, not the same to leat */
    must_fail(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err), LEAT_CONFLICT,
              "status");
    leat_schema_deinit(&other);
    simple_schema(&other);
    leat_schema_add(&other, "ID", (struct leat_type){.kind = LEAT_BIGINT}, false);
    char *elsewhere = leat_asprintf("%s2", f->table);
    must_fail(f, leat_delta_open(&f->env, f->conn, elsewhere, f->scratch, &options, &d, &f->err), LEAT_INVALID, "case");
    free(elsewhere);
    leat_schema_deinit(&other);
    leat_schema_deinit(&schema);
}

static void test_time_travel(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 4);
    for (int i = 0; i < 13; i++)
        append(f, d, "SELECT 1 AS id, 'x' AS status");
    leat_delta_close(d);
    for (int64_t version = 0; version <= 13; version++) {
        struct leat_delta_snapshot s;
        must(f, leat_delta_snapshot(&f->env, f->conn, f->table, version, &s, &f->err));
        assert_int_equal(s.file_count, version);
        leat_delta_snapshot_deinit(&s);
    }
    /* the commits before the checkpoint may go */
    for (int64_t version = 0; version < 11; version++) {
        char *path = leat_delta_commit_path(f->table, version);
        must(f, f->env.io->ops->unlink(f->env.io, path, &f->err));
        free(path);
    }
    struct leat_delta_snapshot s;
    must(f, leat_delta_snapshot(&f->env, f->conn, f->table, 12, &s, &f->err));
    assert_int_equal(s.file_count, 12);
    leat_delta_snapshot_deinit(&s);
    must_fail(f, leat_delta_snapshot(&f->env, f->conn, f->table, 5, &s, &f->err), LEAT_CORRUPT, NULL);
    leat_schema_deinit(&schema);
}

/* A version's rows again, also after its files were joined and replaced; its txns are not. */
static void test_restore(void **state) {
    static const struct leat_delta_commit_info back = {.operation = "RESTORE"};
    struct fixture *f = *state;
    struct leat_schema schema;
    struct leat_delta_snapshot s;
    bool done;
    size_t removed;
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 4);
    for (int i = 0; i < 6; i++)
        append(f, d, "SELECT 1 AS id, 'x' AS status");
    must(f, leat_delta_compact(d, 0, &done, &f->err));
    assert_true(done);
    must(f, leat_delta_overwrite(d, "SELECT 7 AS id, 'y' AS status", &back, NULL, &f->err));
    must(f, leat_delta_restore(d, 3, &back, &f->err)); /* three rows, whose files were joined */
    int64_t version = leat_delta_current(d)->version;
    must(f, leat_delta_restore(d, version, &back, &f->err)); /* nothing to do */
    assert_int_equal(leat_delta_current(d)->version, version);
    must_fail(f, leat_delta_restore(d, version + 1, &back, &f->err), LEAT_NOT_FOUND, NULL);
    append(f, d, "SELECT 2 AS id, 'z' AS status");
    leat_delta_close(d);
    d = open_table(f, &schema, 4);
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT count(*) * 100 + sum(id) FROM (");
    leat_delta_select(f->table, leat_delta_current(d), &schema, NULL, &sql);
    leat_put(&sql, ")");
    assert_int_equal(count_sql(f, "%s", sql.data), 405);
    must(f, leat_delta_snapshot(&f->env, f->conn, f->table, version, &s, &f->err));
    assert_int_equal(s.file_count, 3);
    leat_delta_snapshot_deinit(&s);
    must(f, leat_delta_vacuum(d, 0, &removed, &f->err)); /* keeps what is live again */
    assert_int_equal(count_sql(f, "%s", sql.data), 405);
    must_fail(f, leat_delta_restore(d, 7, &back, &f->err), LEAT_NOT_FOUND, NULL); /* the joined file is gone */
    assert_int_equal(count_sql(f, "%s", sql.data), 405);
    leat_buffer_deinit(&sql);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* The next version, as another program writes it. */
static void commit_other(struct fixture *f, const struct leat_delta *d, const char *actions) {
    char *path = leat_asprintf("%s/_delta_log/%020lld.json", f->table, (long long)leat_delta_current(d)->version + 1);
    char *text = leat_asprintf("{\"commitInfo\":{\"timestamp\":1,\"operation\":\"x\",\"engineInfo\":\"Apache-Spark/4.0.0\"}}\n%s", actions);
    must(f, leat_io_write_durable(f->env.io, path, text, strlen(text), false, &f->err));
    free(text);
    free(path);
}

/* Nothing is written on top of rows that another program has changed, nor into columns that it has. */
static void test_guarded(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    struct leat_delta_options options = {.name = "a table", .schema = &schema, .checkpoint_every = 1, .guarded = true};
    struct leat_delta *d = NULL;
    int64_t theirs;
    simple_schema(&schema);
    must(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err));
    append(f, d, "SELECT 1 AS id, 'a' AS status");
    for (int i = 0; i < 2; i++) {
        char *gone = leat_asprintf("{\"remove\":{\"path\":\"%s\",\"deletionTimestamp\":1,\"dataChange\":true}}\n", leat_delta_current(d)->files[0].path);
        commit_other(f, d, gone);
        free(gone);
        if (i == 0) append(f, d, "SELECT 2 AS id, 'b' AS status");
        if (i == 1) must(f, apply_sql(f, d, "SELECT 2::BIGINT, 'b', -1 AS __w", 1));
        check_rows(f, d, i == 0 ? "1=a 2=b" : "1=a");
    }
    /* a log that has forgotten what was before only arranged files: nothing to take back */
    char *arranged = leat_asprintf("{\"remove\":{\"path\":\"%s\",\"deletionTimestamp\":1,\"dataChange\":false}}\n"
                                   "{\"add\":{\"path\":\"%s\",\"partitionValues\":{},\"size\":%llu,\"modificationTime\":1,\"dataChange\":false}}\n",
                                   leat_delta_current(d)->files[0].path, leat_delta_current(d)->files[0].path, (unsigned long long)leat_delta_current(d)->files[0].size_bytes);
    char *forgotten = leat_asprintf("%s/_delta_log/%020lld.json", f->table, (long long)leat_delta_current(d)->version);
    commit_other(f, d, arranged);
    must(f, f->env.io->ops->unlink(f->env.io, forgotten, &f->err));
    free(forgotten);
    free(arranged);
    leat_delta_close(d);
    must(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err));
    must(f, leat_delta_take_back(d, &theirs, &f->err));
    assert_int_equal(theirs, -1);
    check_rows(f, d, "1=a");
    char *altered = leat_asprintf("{\"metaData\":{\"id\":\"%s\",\"format\":{\"provider\":\"parquet\",\"options\":{}},\"schemaString\":\"{\\\"type\\\":\\\"struct\\\","
                                  "\\\"fields\\\":[{\\\"name\\\":\\\"other\\\",\\\"type\\\":\\\"long\\\",\\\"nullable\\\":true,\\\"metadata\\\":{}}]}\",\"partitionColumns\":[],"
                                  "\"configuration\":{}}}\n", leat_delta_current(d)->table_id);
    commit_other(f, d, altered);
    free(altered);
    for (int i = 0; i < 2; i++) must_fail(f, apply_sql(f, d, "SELECT 3::BIGINT, 'c', 1 AS __w", 1), LEAT_CONFLICT, NULL);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* Many small commits stay readable: the number of files is bounded, the content the same. */
static void test_compaction(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    bool done;
    size_t most = 0;
    simple_schema(&schema);
    struct leat_delta *d = open_table(f, &schema, 0);
    for (int i = 0; i < 200; i++) {
        struct leat_buffer sql = {0};
        leat_putf(&sql, "SELECT range + %d AS id, 'x' AS status FROM range(5)", i * 5);
        append(f, d, sql.data);
        leat_buffer_deinit(&sql);
        must(f, leat_delta_compact(d, 0, &done, &f->err));
        if (leat_delta_current(d)->file_count > most) most = leat_delta_current(d)->file_count;
    }
    assert_true(most < 24);
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT count(DISTINCT id) * 1000000 + count(*) FROM (");
    leat_delta_select(f->table, leat_delta_current(d), &schema, "id >= 0", &sql);
    leat_put(&sql, ")");
    assert_int_equal(count_sql(f, "%s", sql.data), 1000001000);
    leat_buffer_deinit(&sql);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* Files that a scan reads as fast as one are left alone until there are many. */
static void test_medium_files_wait(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema;
    bool done = false;
    simple_schema(&schema);
    struct leat_delta_options options = {.name = "a table", .schema = &schema};
    struct leat_delta *d = NULL;
    must(f, leat_delta_open(&f->env, f->conn, f->table, f->scratch, &options, &d, &f->err));
    d->row_group_rows = 100;
    for (int i = 0; i < 64; i++) {
        assert_false(done);
        append(f, d, "SELECT range AS id, 'x' AS status FROM range(450)");
        must(f, leat_delta_compact(d, 0, &done, &f->err));
    }
    assert_true(done);
    assert_int_equal(leat_delta_current(d)->file_count, 1);
    assert_int_equal(leat_delta_current(d)->files[0].row_count, 64 * 450);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

/* Another engine appends files that lack a column, have one more, in another order, or hold times as INT96. */
static void test_foreign_files(void **state) {
    struct fixture *f = *state;
    struct leat_schema schema = {0};
    bool done;
    leat_schema_add(&schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, false);
    leat_schema_add(&schema, "moment", (struct leat_type){.kind = LEAT_TIMESTAMPTZ}, false);
    leat_schema_add(&schema, "note", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    struct leat_delta *d = open_table(f, &schema, 0);
    append(f, d, "SELECT 1 AS id, make_timestamptz(5) AS moment, 'ours' AS note");
    run(f,
        "COPY (SELECT 'x' AS extra, make_timestamp(7) AS moment, 2::INTEGER AS id UNION ALL SELECT 'y', NULL, 3) TO "
        "'%s/odd name.parquet' (FORMAT parquet)",
        f->table);
    put_log(f, 2,
            "{\"add\":{\"path\":\"odd%20name.parquet\",\"partitionValues\":{},\"size\":500,\"modificationTime\":1,"
            "\"dataChange\":true}}\n");
    leat_delta_close(d);
    must(f, leat_conn_exec(f->conn, "SET TimeZone = 'America/New_York'", &f->err));
    d = open_table(f, &schema, 0);
    struct leat_buffer sql = {0};
    leat_put(&sql, "SELECT count(*) FROM (");
    leat_delta_select(
        f->table, leat_delta_current(d), &schema,
        "(id = 2 AND epoch_us(moment) = 7 AND note IS NULL) OR note = 'ours' OR (id = 3 AND moment IS NULL)", &sql);
    leat_put(&sql, ")");
    assert_int_equal(count_sql(f, "%s", sql.data), 3);
    must_fail(f, apply_sql(f, d, "SELECT 2::BIGINT, make_timestamptz(8), NULL::VARCHAR, -1 AS __w", 0), LEAT_CORRUPT,
              "does not hold");
    must(f,
         apply_sql(f, d,
                   "SELECT 2::BIGINT, make_timestamptz(7), NULL::VARCHAR, -1 AS __w UNION ALL SELECT 4, NULL, 'new', 1",
                   0));
    leat_buffer_reset(&sql);
    leat_put(&sql, "SELECT sum(id)::BIGINT FROM (");
    leat_delta_select(f->table, leat_delta_current(d), &schema, NULL, &sql);
    leat_put(&sql, ")");
    assert_int_equal(count_sql(f, "%s", sql.data), 8);
    for (int i = 0; i < 12; i++) {
        char *name = leat_asprintf("%s/foreign%d.parquet", f->table, i), line[300];
        run(f, "COPY (SELECT %d AS id) TO '%s' (FORMAT parquet)", i, name);
        snprintf(line, sizeof line, "{\"add\":{\"path\":\"foreign%d.parquet\",\"size\":300,\"modificationTime\":1}}\n",
                 i);
        put_log(f, leat_delta_current(d)->version + 1 + i, line);
        free(name);
    }
    leat_delta_close(d);
    d = open_table(f, &schema, 0);
    must(f, leat_delta_compact(d, 0, &done, &f->err));
    assert_true(done);
    assert_true(leat_delta_current(d)->file_count <= 3);
    leat_buffer_reset(&sql);
    leat_put(&sql, "SELECT sum(id)::BIGINT FROM (");
    leat_delta_select(f->table, leat_delta_current(d), &schema, NULL, &sql);
    leat_put(&sql, ")");
    assert_int_equal(count_sql(f, "%s", sql.data), 8 + 66);
    leat_buffer_deinit(&sql);
    leat_delta_close(d);
    leat_schema_deinit(&schema);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_growing_keys_leave_old_files),
        TEST(test_model),      TEST(test_model_of_groups), TEST(test_keyed),          TEST(test_not_null),
        TEST(test_txn),        TEST(test_two_writers),     TEST(test_open_conflicts), TEST(test_time_travel), TEST(test_restore), TEST(test_guarded),
        TEST(test_medium_files_wait),
        TEST(test_compaction), TEST(test_foreign_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
