/* Versioned reference sources: reading CSV, JSON and Parquet, differences, history, recovery, trouble with files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/reference/reference.h"

static struct leat_error err;
#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err.text[0] = 0;                                                                                               \
        if ((call) != LEAT_OK) fail_msg("%s: %s", #call, err.text);                                                    \
    } while (0)

/* A folder of its own, DuckDB, and one source, for each test. */
struct world {
    struct leat_env env;
    struct leat_duck *duck;
    struct leat_conn *batch;
    char dir[64], lake[80], scratch[80];
    struct leat_source def;
    struct leat_option options[8];
    int key;
    struct leat_reference *reference;
    char log[4096]; /* what was logged, line by line */
};

static void keep_log(struct leat_env *env, enum leat_log_level level, const char *line) {
    struct world *w = env->log_context;
    size_t used = strlen(w->log);
    if (level >= LEAT_LOG_WARN) snprintf(w->log + used, sizeof w->log - used, "%s\n", line);
}

static void set_option(struct world *w, const char *name, const char *value) {
    size_t i = 0;
    while (i < w->def.option_count && strcmp(w->options[i].name, name) != 0)
        i++;
    assert_true(i < 8);
    w->options[i] = (struct leat_option){.name = (char *)name, .value = (char *)value, .given = true};
    if (i == w->def.option_count) w->def.option_count++;
}

static void setup(struct world *w, enum leat_format format, const char *path) {
    *w = (struct world){0};
    leat_env_real(&w->env);
    w->env.log = keep_log;
    w->env.log_context = w;
    strcpy(w->dir, "/tmp/leat_reference_XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->lake, sizeof w->lake, "%s/lake", w->dir);
    snprintf(w->scratch, sizeof w->scratch, "%s/scratch", w->dir);
    OK(leat_io_mkdirs(w->env.io, w->lake, &err));
    OK(leat_io_mkdirs(w->env.io, w->scratch, &err));
    OK(leat_duck_open(&(struct leat_duck_options){.use = LEAT_DUCK_BATCH, .threads = 2}, &w->duck, &err));
    OK(leat_conn_open(w->duck, &w->batch, &err));
    w->def.name = (char *)"products";
    w->def.format = format;
    w->def.reference = true;
    w->def.event_time = -1;
    w->def.refresh_us = 3600000000;
    w->def.connector = (char *)"file";
    w->def.options = w->options;
    w->def.primary_key = &w->key;
    w->def.primary_key_count = 1;
    leat_schema_add(&w->def.schema, "id", (struct leat_type){.kind = LEAT_INTEGER}, false);
    leat_schema_add(&w->def.schema, "name", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    leat_schema_add(&w->def.schema, "price", (struct leat_type){.kind = LEAT_DECIMAL, .width = 18, .scale = 2}, false);
    set_option(w, "connector", "file");
    set_option(w, "path", path);
}

static void open_reference(struct world *w) {
    OK(leat_reference_open(&w->env, w->batch, &w->def, w->dir, w->lake, w->scratch,
                           "11111111-1111-4111-8111-111111111111", &w->reference, &err));
}

static void reopen(struct world *w) {
    leat_reference_close(w->reference);
    w->reference = NULL;
    open_reference(w);
}

static void teardown(struct world *w) {
    leat_reference_close(w->reference);
    leat_schema_deinit(&w->def.schema);
    leat_conn_close(w->batch);
    leat_duck_close(w->duck);
    OK(leat_io_remove_tree(w->env.io, w->dir, &err));
}

/* Writes a file whose times say an hour ago plus `age_step`, so that it counts as settled. */
static void put_bytes(struct world *w, const char *name, const char *bytes, size_t n, int age_step) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
    struct timeval now, times[2];
    gettimeofday(&now, NULL);
    now.tv_sec += age_step - 3600;
    times[0] = times[1] = now;
    assert_int_equal(utimes(path, times), 0);
}

static void put_file(struct world *w, const char *name, const char *text, int age_step) {
    put_bytes(w, name, text, strlen(text), age_step);
}

static bool refresh(struct world *w, int64_t now_us) {
    bool changed;
    OK(leat_reference_refresh(w->reference, now_us, &changed, &err));
    return changed;
}

/* The content at a version, as "id name price" lines in order. */
static void expect_content(struct world *w, uint64_t version, const char *expected) {
    struct leat_buffer sql = {0};
    char *text = NULL;
    leat_put(&sql, "SELECT coalesce(string_agg(concat_ws(' ', coalesce(id::VARCHAR, '-'), coalesce(name, '-'), "
                   "coalesce(price::VARCHAR, '-')), '\n' "
                   "ORDER BY id, name), '') FROM (");
    leat_reference_select(w->reference, version, &sql);
    leat_put(&sql, ")");
    OK(leat_conn_text(w->batch, sql.data, &text, &err));
    assert_string_equal(text, expected);
    free(text);
    leat_buffer_deinit(&sql);
}

/* The changes between two versions as "+1 id name" in the order given. */
static void expect_changes(struct world *w, uint64_t from, uint64_t to, const char *expected) {
    struct leat_changes c;
    struct leat_buffer text = {0};
    leat_changes_init(&c, &w->def.schema);
    OK(leat_reference_changes(w->reference, from, to, &c, &err));
    int sum_of_signs = 0;
    for (size_t i = 0; i < c.row_count; i++) {
        const struct leat_string *name = (const struct leat_string *)c.columns[1].data + i;
        leat_putf(&text, "%s%+d %d %.*s", i ? ", " : "", leat_weight(&c, i), ((const int32_t *)c.columns[0].data)[i],
                  (int)name->length, leat_string_data(name));
        if (leat_weight(&c, i) > 0)
            sum_of_signs++;
        else
            assert_int_equal(sum_of_signs, 0); /* disappearing rows come first */
    }
    assert_string_equal(text.data ? text.data : "", expected);
    leat_buffer_deinit(&text);
    leat_changes_deinit(&c);
}

static void test_versions_and_recovery(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    put_file(&w, "products.csv",
             "price,id,name,unused\n1.50,1,apple,x\n2.00,2,\"pear, long enough to leave the struct\",y\n", 0);
    open_reference(&w);
    assert_int_equal(leat_reference_due_us(w.reference), 0);
    assert_int_equal(leat_reference_version(w.reference), 0);
    expect_content(&w, 0, "");
    assert_true(refresh(&w, 1000));
    assert_int_equal(leat_reference_version(w.reference), 1);
    assert_int_equal(leat_reference_rows(w.reference), 2);
    assert_int_equal(leat_reference_due_us(w.reference), 1000 + 3600000000);
    assert_null(leat_reference_problem(w.reference));
    expect_content(&w, 1, "1 apple 1.50\n2 pear, long enough to leave the struct 2.00");
    assert_false(refresh(&w, 2000)); /* untouched */
    put_file(&w, "products.csv", "id,price,name\n2,2.00,\"pear, long enough to leave the struct\"\n1,1.50,apple\n", 1);
    assert_false(refresh(&w, 3000)); /* other order, same rows */
    put_file(&w, "products.csv", "id,name,price\n1,apple,1.75\n3,plum,\n", 2);
    assert_true(refresh(&w, 4000));
    assert_int_equal(leat_reference_version(w.reference), 2);
    put_file(&w, "products.csv", "id,name,price\n1,apple,1.75\n3,plum,\n4,fig,4.00\n", 3);
    assert_true(refresh(&w, 5000));
    for (int round = 0; round < 2; round++) { /* the same from memory and from the lake */
        assert_int_equal(leat_reference_version(w.reference), 3);
        assert_int_equal(leat_reference_rows(w.reference), 3);
        expect_content(&w, 1, "1 apple 1.50\n2 pear, long enough to leave the struct 2.00");
        expect_content(&w, 2, "1 apple 1.75\n3 plum -");
        expect_content(&w, 3, "1 apple 1.75\n3 plum -\n4 fig 4.00");
        expect_content(&w, 0, "");
        expect_changes(&w, 2, 3, "+1 4 fig");
        expect_changes(&w, 3, 3, "");
        assert_int_equal(leat_reference_changes(w.reference, 3, 2, NULL, &err), LEAT_INVALID);
        assert_int_equal(leat_reference_changes(w.reference, 3, 4, NULL, &err), LEAT_NOT_FOUND);
        reopen(&w);
    }
    assert_false(refresh(&w, 6000)); /* read again, nothing new */
    assert_int_equal(leat_reference_version(w.reference), 3);
    put_file(&w, "products.csv", "id,name,price\n", 4);
    assert_true(refresh(&w, 7000));
    assert_int_equal(leat_reference_rows(w.reference), 0);
    expect_content(&w, 4, "");
    assert_string_equal(w.log, "");
    teardown(&w);
}

static void test_changes_between_versions(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_JSON, "products.json");
    put_file(&w, "products.json", "{\"id\":1,\"name\":\"a\"}\n", 0);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    put_file(&w, "products.json", "{\"id\":1,\"name\":\"b\"}\n\n", 1);
    assert_true(refresh(&w, 2));
    put_file(&w, "products.json", "{\"name\":\"a\",\"id\":1,\"more\":[1]}\n{\"id\":2,\"name\":\"c\"}", 2);
    assert_true(refresh(&w, 3));
    expect_changes(&w, 0, 1, "+1 1 a");
    expect_changes(&w, 1, 2, "-1 1 a, +1 1 b");
    expect_changes(&w, 1, 3, "+1 2 c"); /* there and back is nothing */
    reopen(&w);
    expect_changes(&w, 1, 2, "-1 1 a, +1 1 b");
    expect_changes(&w, 1, 3, "+1 2 c");
    teardown(&w);
}

/* The rows of NAME__versions at a version, as "id name seconds..seconds" in order; they are also what leads there from each version before. */
static void expect_versions(struct world *w, uint64_t version, const char *expected) {
    struct leat_source def = {.name = (char *)"products__versions", .event_time = -1, .reference = true, .versions = true};
    struct leat_reference *versions;
    struct leat_buffer sql = {0};
    char *text = NULL;
    leat_schema_copy(&def.schema, &w->def.schema);
    leat_schema_add(&def.schema, "valid_from", (struct leat_type){.kind = LEAT_TIMESTAMP}, false);
    leat_schema_add(&def.schema, "valid_to", (struct leat_type){.kind = LEAT_TIMESTAMP}, false);
    leat_reference_open_versions(w->reference, &def, &versions);
    assert_int_equal(leat_reference_version(versions), leat_reference_version(w->reference));
    leat_put(&sql, "SELECT coalesce(string_agg(concat(id, ' ', name, ' ', epoch(valid_from)::BIGINT, '..', epoch(valid_to)::BIGINT), ', ' "
                   "ORDER BY id, valid_from NULLS FIRST, valid_to), '') FROM (");
    leat_reference_select(versions, version, &sql);
    leat_put(&sql, ")");
    OK(leat_conn_text(w->batch, sql.data, &text, &err));
    assert_string_equal(text, expected);
    free(text);
    for (uint64_t from = 0; from < version; from++) {
        struct leat_changes both, other;
        leat_changes_init(&both, &def.schema);
        leat_changes_init(&other, &def.schema);
        OK(leat_reference_changes(versions, 0, from, &both, &err));
        OK(leat_reference_changes(versions, from, version, &both, &err));
        OK(leat_reference_changes(versions, 0, version, &other, &err));
        leat_changes_append(&both, &other, NULL, other.row_count, -1);
        leat_changes_consolidate(&both);
        assert_int_equal(both.row_count, 0);
        leat_changes_deinit(&both);
        leat_changes_deinit(&other);
    }
    leat_reference_close(versions);
    leat_schema_deinit(&def.schema);
    leat_buffer_deinit(&sql);
}

static void test_from_when_to_when(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n2,b,2\n", 0);
    open_reference(&w);
    expect_versions(&w, 0, "");
    assert_true(refresh(&w, 10000000));
    put_file(&w, "products.csv", "id,name,price\n1,aa,1\n3,c,3\n", 1);
    assert_true(refresh(&w, 20000000));
    put_file(&w, "products.csv", "id,name,price\n1,aa,1\n2,b,2\n", 2);
    assert_true(refresh(&w, 30000000));
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n2,b,2\n", 3);
    assert_true(refresh(&w, 15000000)); /* the clock was set back: no two rows of a key hold at once */
    for (int again = 0; again < 2; again++) {
        expect_versions(&w, 1, "1 a .., 2 b ..");
        expect_versions(&w, 2, "1 a ..20, 1 aa 20.., 2 b ..20, 3 c 20..");
        expect_versions(&w, 3, "1 a ..20, 1 aa 20.., 2 b ..20, 2 b 30.., 3 c 20..30");
        expect_versions(&w, 4, "1 a ..20, 1 aa 20..20, 1 a 20.., 2 b ..20, 2 b 30.., 3 c 20..30");
        reopen(&w);
    }
    teardown(&w);
}

/* Without a primary key rows may repeat. */
static void test_multiset(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    w.def.primary_key_count = 0;
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n1,a,1\n1,a,1\n2,b,2\n", 0);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    assert_int_equal(leat_reference_rows(w.reference), 4);
    expect_content(&w, 1, "1 a 1.00\n1 a 1.00\n1 a 1.00\n2 b 2.00");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n", 1);
    assert_true(refresh(&w, 2));
    reopen(&w);
    expect_content(&w, 2, "1 a 1.00");
    expect_content(&w, 1, "1 a 1.00\n1 a 1.00\n1 a 1.00\n2 b 2.00");
    expect_changes(&w, 0, 1, "+3 1 a, +1 2 b");
    assert_int_equal(leat_reference_rows(w.reference), 1);
    teardown(&w);
}

/* The history's files are joined now and then, and say the same. */
static void test_long_history(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    open_reference(&w);
    for (int i = 1; i <= 70; i++) {
        char text[64];
        snprintf(text, sizeof text, "id,name,price\n1,a,%d\n", i);
        put_file(&w, "products.csv", text, i);
        assert_true(refresh(&w, i));
    }
    expect_content(&w, 1, "1 a 1.00");
    expect_content(&w, 69, "1 a 69.00");
    reopen(&w);
    assert_int_equal(leat_reference_version(w.reference), 70);
    expect_content(&w, 33, "1 a 33.00");
    expect_content(&w, 70, "1 a 70.00");
    teardown(&w);
}

static void expect_trouble(struct world *w, int64_t now_us, const char *message) {
    bool changed;
    OK(leat_reference_refresh(w->reference, now_us, &changed, &err));
    assert_false(changed);
    const char *problem = leat_reference_problem(w->reference);
    if (!problem || !strstr(problem, message)) fail_msg("problem is %s, not %s", problem ? problem : "none", message);
    assert_non_null(strstr(w->log, message));
    assert_int_equal(leat_reference_version(w->reference), 1);
}

static void test_trouble_keeps_the_version(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n", 0);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    char path[256];
    snprintf(path, sizeof path, "%s/products.csv", w.dir);
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n2,b,2\n2,c,3\n", 1);
    expect_trouble(&w, 1000000, "the primary key (2) is there more than once");
    assert_int_equal(leat_reference_due_us(w.reference), 2000000);
    size_t logged = strlen(w.log);
    expect_trouble(&w, 2000000, "more than once");
    assert_int_equal(strlen(w.log), logged); /* said once */
    assert_int_equal(leat_reference_due_us(w.reference), 4000000);
    for (int i = 0; i < 20; i++)
        expect_trouble(&w, 5000000, "more than once");
    assert_true(leat_reference_due_us(w.reference) <= 305000000);
    put_file(&w, "products.csv", "id,name,price\n1,a,1\nx,b,2\n", 2);
    expect_trouble(&w, 3, "record 2: column \"id\"");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n,b,2\n", 3);
    expect_trouble(&w, 4, "\"id\" is part of the primary key, but NULL");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n2,\"b,2\n", 4);
    expect_trouble(&w, 5, "record 2");
    unlink(path);
    expect_trouble(&w, 6, "no file fits its path products.csv");
    mkdir(path, 0700);
    expect_trouble(&w, 7, "no file fits its path products.csv");
    rmdir(path);
    expect_content(&w, 1, "1 a 1.00");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n2,b,2\n", 5);
    assert_true(refresh(&w, 8));
    assert_null(leat_reference_problem(w.reference));
    assert_int_equal(leat_reference_due_us(w.reference), 8 + 3600000000);
    teardown(&w);
}

/* A file written just now may be written again without a new time: it is read again until its time is old. */
static void test_fresh_files_are_read_again(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n", 3600);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    char path[256];
    snprintf(path, sizeof path, "%s/products.csv", w.dir);
    struct stat before;
    assert_int_equal(stat(path, &before), 0);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fwrite("id,name,price\n1,b,1\n", 1, 20, f), 20);
    fclose(f);
    struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(utimensat(0, path, times, 0), 0);
    assert_true(refresh(&w, 2));
    expect_content(&w, 2, "1 b 1.00");
    teardown(&w);
}

static void test_read_once(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    w.def.refresh_us = 0;
    open_reference(&w);
    assert_false(refresh(&w, 1));
    assert_non_null(leat_reference_problem(w.reference));
    assert_true(leat_reference_due_us(w.reference) < INT64_MAX);
    expect_content(&w, 0, "");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n", 0);
    assert_true(refresh(&w, 2));
    assert_int_equal(leat_reference_due_us(w.reference), INT64_MAX);
    reopen(&w);
    assert_int_equal(leat_reference_due_us(w.reference), 0);
    teardown(&w);
}

static void test_many_files_and_options(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "p*.csv");
    set_option(&w, "header", "false");
    set_option(&w, "delimiter", ";");
    set_option(&w, "encoding", "windows-1252");
    put_file(&w, "p1.csv", "1;caf\xe9;1\n", 0);
    put_file(&w, "p2.csv", "2;\x80 uro;2", 1);
    put_file(&w, "other.csv", "3;c;3\n", 2);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    expect_content(&w, 1, "1 caf\xc3\xa9 1.00\n2 \xe2\x82\xac uro 2.00");
    put_file(&w, "p3.csv", "2;again;3\n", 3);
    expect_trouble(&w, 2, "more than once");
    teardown(&w);
    setup(&w, LEAT_FORMAT_CSV, "wide.csv");
    set_option(&w, "encoding", "utf-16");
    static const char wide[] = "\xff\xfei\0d\0,\0n\0a\0m\0e\0,\0p\0r\0i\0c\0e\0\n\0"
                               "1\0,\0\xe9\0,\0"
                               "2\0\n\0";
    put_bytes(&w, "wide.csv", wide, sizeof wide - 1, 0);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    expect_content(&w, 1, "1 \xc3\xa9 2.00");
    teardown(&w);
}

static void test_parquet(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_PARQUET, "products.parquet");
    char *names[] = {(char *)"product_id", (char *)"name", (char *)"price"};
    w.def.source_names = names;
    open_reference(&w);
    OK(leat_conn_execf(w.batch, &err,
                       "COPY (SELECT i AS product_id, 'product ' || i AS name, i * 1.25 AS price, 7 AS more FROM "
                       "range(3000) t(i)) TO '%s/products.parquet'",
                       w.dir));
    assert_true(refresh(&w, 1));
    assert_int_equal(leat_reference_rows(w.reference), 3000);
    OK(leat_conn_execf(w.batch, &err,
                       "COPY (SELECT i AS product_id, 'product ' || i AS name, CASE WHEN i = 2500 THEN 0 ELSE i * 1.25 "
                       "END AS price FROM range(3000) t(i) WHERE i <> 7) "
                       "TO '%s/products.parquet'",
                       w.dir));
    assert_true(refresh(&w, 2));
    expect_changes(&w, 1, 2, "-1 7 product 7, -1 2500 product 2500, +1 2500 product 2500");
    OK(leat_conn_execf(w.batch, &err, "COPY (SELECT 1 AS id) TO '%s/products.parquet'", w.dir));
    assert_false(refresh(&w, 3));
    assert_non_null(strstr(leat_reference_problem(w.reference), "product_id"));
    put_file(&w, "products.parquet", "not parquet at all", 9);
    assert_false(refresh(&w, 4));
    assert_int_equal(leat_reference_version(w.reference), 2);
    w.def.source_names = NULL;
    teardown(&w);
}

/* Types that Delta does not have: the history is found again, and gives them back. */
static void test_types_that_delta_lacks(void **state) {
    static const enum leat_kind kinds[] = {LEAT_HUGEINT, LEAT_UBIGINT, LEAT_UTINYINT, LEAT_TIME, LEAT_UUID};
    static const char *const names[] = {"h", "ub", "ut", "t", "u"};
    struct world w;
    bool changed;
    (void)state;
    setup(&w, LEAT_FORMAT_CSV, "p.csv");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) leat_schema_add(&w.def.schema, names[i], (struct leat_type){.kind = (uint8_t)kinds[i]}, false);
    put_file(&w, "p.csv", "id,name,price,h,ub,ut,t,u\n1,a,1,-170141183460469231731687303715884,18446744073709551615,255,01:02:03.5,123e4567-e89b-12d3-a456-426614174000\n2,b,2,,,,,\n", 0);
    open_reference(&w);
    OK(leat_reference_refresh(w.reference, 1000000, &changed, &err));
    assert_true(changed);
    reopen(&w);
    assert_int_equal(leat_reference_rows(w.reference), 2);
    OK(leat_reference_refresh(w.reference, 2000000, &changed, &err));
    assert_false(changed); /* what was read back is what is in the file */
    teardown(&w);
}

static void test_other_columns(void **state) {
    (void)state;
    struct world w;
    setup(&w, LEAT_FORMAT_CSV, "products.csv");
    put_file(&w, "products.csv", "id,name,price\n1,a,1\n", 0);
    open_reference(&w);
    assert_true(refresh(&w, 1));
    leat_reference_close(w.reference);
    w.reference = NULL;
    leat_schema_add(&w.def.schema, "colour", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    assert_int_equal(leat_reference_open(&w.env, w.batch, &w.def, w.dir, w.lake, w.scratch, "x", &w.reference, &err),
                     LEAT_CONFLICT);
    assert_null(w.reference);
    leat_schema_add(&w.def.schema, "_weight", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    assert_int_equal(leat_reference_open(&w.env, w.batch, &w.def, w.dir, w.lake, w.scratch, "x", &w.reference, &err),
                     LEAT_INVALID);
    teardown(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_and_recovery),
        cmocka_unit_test(test_changes_between_versions),
        cmocka_unit_test(test_from_when_to_when),
        cmocka_unit_test(test_multiset),
        cmocka_unit_test(test_long_history),
        cmocka_unit_test(test_trouble_keeps_the_version),
        cmocka_unit_test(test_fresh_files_are_read_again),
        cmocka_unit_test(test_read_once),
        cmocka_unit_test(test_many_files_and_options),
        cmocka_unit_test(test_parquet),
        cmocka_unit_test(test_types_that_delta_lacks),
        cmocka_unit_test(test_other_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
