/* The feed and its spool: identities, second deliveries, order and delay, seeds, pacing, crashes of the feed, what the
 * source makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/limits.h"
#include "connect/connector.h"
#include "connect/feed.h"
#include "connect/feed_run.h"
#include "connect/file_source.h"

static struct leat_env env;
static struct leat_error err;
static char base_dir[64];
static int case_number;

static int setup(void **state) {
    (void)state;
    leat_env_real(&env);
    env.log_level = LEAT_LOG_ERROR;
    snprintf(base_dir, sizeof base_dir, "test_feed.XXXXXX");
    return mkdtemp(base_dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return leat_io_remove_tree(env.io, base_dir, &err) == LEAT_OK ? 0 : -1;
}

static void ok(enum leat_status status) {
    if (status != LEAT_OK) fail_msg("%s: %s", leat_status_name(status), err.text);
}

struct got {
    uint64_t offset, identity;
    char *bytes;
    uint32_t partition;
};
struct fixture {
    char *dir, *state, *data;
    struct leat_option options[4];
    struct leat_source source;
    struct leat_connector *connector;
    struct got *got;
    size_t count;
    struct leat_log_end ends[8];
    size_t end_count;
    char header[64];
};

static struct fixture *make(const char *path, enum leat_format format) {
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = leat_asprintf("%s/%d", base_dir, ++case_number);
    f->state = leat_asprintf("%s/.leat/connector/s", f->dir);
    f->data = leat_asprintf("%s/data", f->dir);
    ok(leat_io_mkdirs(env.io, f->dir, &err));
    f->options[0].name = (char *)"path";
    f->options[0].value = (char *)path;
    f->source = (struct leat_source){.name = (char *)"s",
                                     .connector = (char *)"file",
                                     .format = format,
                                     .options = f->options,
                                     .option_count = 1,
                                     .event_time = 1};
    leat_schema_add(&f->source.schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_schema_add(&f->source.schema, "at", (struct leat_type){.kind = LEAT_TIMESTAMP}, true);
    return f;
}

static void forget(struct fixture *f) {
    for (size_t i = 0; i < f->count; i++)
        free(f->got[i].bytes);
    free(f->got);
    f->got = NULL;
    f->count = 0;
}

static void destroy(struct fixture *f) {
    if (f->connector) f->connector->ops->close(f->connector);
    forget(f);
    leat_schema_deinit(&f->source.schema);
    free(f->dir);
    free(f->state);
    free(f->data);
    free(f);
}

static void put(const char *path, const char *bytes, size_t n) {
    struct leat_file *file = NULL;
    ok(env.io->ops->open(env.io, path, LEAT_OPEN_TRUNCATE, &file, &err));
    ok(env.io->ops->write(file, bytes, n, &err));
    env.io->ops->close(file);
}

/* n records one second apart. */
static void put_events(struct fixture *f, int n) {
    struct leat_buffer b = {0};
    for (int i = 0; i < n; i++)
        leat_putf(&b, "{\"id\":%d,\"at\":\"2024-01-01 %02d:%02d:%02d\"}\n", i, i / 3600, i / 60 % 60, i % 60);
    put(f->data, b.data, b.length);
    leat_buffer_deinit(&b);
}

static void reopen(struct fixture *f) {
    if (f->connector) f->connector->ops->close(f->connector);
    ok(leat_connector_file.open(&env, &f->source, f->dir, f->state, f->ends, f->end_count, &f->connector, &err));
}

static int poll_some(struct fixture *f, int blocks) {
    struct leat_block b;
    enum leat_status status;
    int given = 0;
    while (given < blocks && (status = f->connector->ops->poll(f->connector, 1 << 20, &b, &err)) != LEAT_END) {
        ok(status);
        size_t e = 0;
        while (e < f->end_count && f->ends[e].partition != b.partition)
            e++;
        assert_int_equal(b.base_offset, e < f->end_count ? f->ends[e].next_offset : 0);
        if (e == f->end_count) f->end_count++;
        f->ends[e] = (struct leat_log_end){
            .partition = b.partition, .next_offset = b.base_offset + b.record_count, .position = b.position};
        f->got = realloc(f->got, (f->count + b.record_count) * sizeof *f->got);
        for (uint32_t i = 0; i < b.record_count; i++) {
            struct got *g = &f->got[f->count++];
            *g = (struct got){.offset = b.base_offset + i,
                              .partition = b.partition,
                              .identity = b.identities ? b.identities[i] : UINT64_MAX};
            g->bytes = calloc(1, b.ends[i] - b.starts[i] + 1);
            memcpy(g->bytes, b.payload + b.starts[i], b.ends[i] - b.starts[i]);
        }
        snprintf(f->header, sizeof f->header, "%.*s", (int)b.header_length, b.header ? b.header : "");
        given++;
    }
    return given;
}

static void poll_all(struct fixture *f) {
    poll_some(f, 1 << 30);
}

static struct leat_feed_progress feed(struct fixture *f, struct leat_feed_options options) {
    struct leat_feed_progress progress;
    ok(leat_feed_run(&env, &f->source, f->dir, f->state, f->data, &options, &progress, &err));
    return progress;
}

/* ---- tests ---- */

static void test_seen_set(void **state) {
    (void)state;
    struct leat_seen seen = {0};
    struct leat_random random;
    leat_random_seed(&random, 1);
    enum { N = 300000 };
    uint8_t *model = calloc(1, N);
    for (int i = 0; i < N; i++) {
        uint64_t line = leat_random_below(&random, 3) ? leat_random_below(&random, N) : (uint64_t)i;
        uint64_t identity = leat_identity(7, line);
        assert_int_equal(leat_seen_has(&seen, identity), model[line]);
        assert_int_equal(leat_seen_add(&seen, identity), !model[line]);
        model[line] = 1;
    }
    assert_false(leat_seen_has(&seen, leat_identity(8, 0)));
    for (uint64_t i = 0; i < N; i++)
        leat_seen_add(&seen, leat_identity(7, i));
    assert_true(leat_seen_bytes(&seen) < 16384); /* full bitmaps take nothing */
    leat_seen_deinit(&seen);
    free(model);
}

static void test_plain_feed(void **state) {
    (void)state;
    struct fixture *f = make("none/*.json", LEAT_FORMAT_JSON);
    put_events(f, 1000);
    reopen(f); /* running while it is fed */
    struct leat_feed_progress p = feed(f, (struct leat_feed_options){0});
    assert_int_equal(p.records, 1000);
    poll_all(f);
    assert_int_equal(f->count, 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(f->got[i].partition, 0);
        assert_int_equal(f->got[i].offset, i);
        assert_int_equal(f->got[i].identity, leat_identity(1, i));
        char start[32];
        snprintf(start, sizeof start, "{\"id\":%zu,", i);
        assert_memory_equal(f->got[i].bytes, start, strlen(start));
    }
    feed(f, (struct leat_feed_options){0}); /* the same again: nothing new */
    poll_all(f);
    assert_int_equal(f->count, 1000);
    assert_int_equal(leat_connector_file_redelivered(f->connector), 1000);
    put_events(f, 1010); /* grown: the new ones alone */
    feed(f, (struct leat_feed_options){0});
    reopen(f);
    poll_all(f);
    assert_int_equal(f->count, 1010);
    assert_int_equal(f->got[1009].identity, leat_identity(1, 1009));
    assert_int_equal(leat_connector_file_redelivered(f->connector), 2000);
    destroy(f);
}

static void test_order_and_delay(void **state) {
    (void)state;
    enum { N = 3000, SHUFFLE = 90 };
    uint64_t first_seed[N];
    for (int pass = 0; pass < 3; pass++) {
        struct fixture *f = make("none", LEAT_FORMAT_JSON);
        put_events(f, N);
        feed(f,
             (struct leat_feed_options){
                 .by_arrival = true, .shuffle_us = SHUFFLE * 1000000ll, .redeliver = 0.1, .seed = pass == 2 ? 8 : 7});
        reopen(f);
        poll_all(f);
        assert_int_equal(f->count, N);
        uint64_t redelivered = leat_connector_file_redelivered(f->connector);
        assert_true(redelivered > N / 20 && redelivered < N / 5);
        int moved = 0, different = 0;
        int64_t highest = -1;
        for (size_t i = 0; i < N; i++) {
            int64_t line = (int64_t)leat_identity_line(f->got[i].identity); /* its event time in seconds */
            if (line < highest) moved++;
            if (line > highest) highest = line;
            assert_true(highest - line <= SHUFFLE); /* never later than the bound */
            if (pass == 0)
                first_seed[i] = f->got[i].identity;
            else
                different += first_seed[i] != f->got[i].identity;
        }
        assert_true(moved > N / 2);
        assert_true(pass == 1 ? different == 0 : pass == 0 || different > 0);
        destroy(f);
    }
}

static void test_redelivery_by_file(void **state) {
    (void)state;
    struct fixture *f = make("none", LEAT_FORMAT_JSON);
    put_events(f, 5000);
    struct leat_feed_progress p = feed(f, (struct leat_feed_options){.redeliver = 1, .seed = 3});
    assert_int_equal(p.records, 10000);
    assert_int_equal(p.redelivered, 5000);
    reopen(f);
    poll_all(f);
    assert_int_equal(f->count, 5000);
    for (size_t i = 0; i < f->count; i++)
        assert_int_equal(f->got[i].identity, leat_identity(1, i)); /* firsts stay in order */
    assert_int_equal(leat_connector_file_redelivered(f->connector), 5000);
    destroy(f);
}

/* Stopping the source after any block and opening it anew gives the same. */
static void test_resume(void **state) {
    (void)state;
    struct fixture *f = make("none", LEAT_FORMAT_JSON);
    struct leat_feed *w = NULL;
    struct leat_random random;
    leat_random_seed(&random, 4);
    uint32_t number;
    put_events(f, 10);
    for (int session = 0; session < 5; session++) {
        ok(leat_feed_open(&env, f->state, &w, &err));
        ok(leat_feed_file(w, "x", f->data, &number, &err));
        for (int i = 0; i < 60; i++) {
            char text[32];
            uint64_t line = leat_random_below(&random, 200);
            int n = snprintf(text, sizeof text, "r%d", (int)line);
            ok(leat_feed_add(w, number, line, text, (size_t)n, &err));
            if (i % 7 == 0) ok(leat_feed_sync(w, &err));
        }
        ok(leat_feed_sync(w, &err));
        struct leat_feed *second = NULL;
        assert_int_equal(leat_feed_open(&env, f->state, &second, &err), LEAT_BUSY);
        leat_feed_close(w);
    }
    reopen(f);
    poll_all(f);
    size_t total = f->count;
    struct got *all = f->got;
    uint64_t redelivered = leat_connector_file_redelivered(f->connector);
    assert_int_equal(total + redelivered, 300);
    f->got = NULL;
    f->count = f->end_count = 0;
    do
        reopen(f);
    while (poll_some(f, 1));
    assert_int_equal(f->count, total);
    for (size_t i = 0; i < total; i++) {
        assert_string_equal(f->got[i].bytes, all[i].bytes);
        assert_int_equal(f->got[i].identity, all[i].identity);
        for (size_t j = 0; j < i; j++)
            assert_true(f->got[i].identity != f->got[j].identity);
        free(all[i].bytes);
    }
    assert_int_equal(leat_connector_file_redelivered(f->connector), redelivered);
    free(all);
    destroy(f);
}

/* Whatever is cut off the spool's unsynced end, the source never loses what it has read, and feeding again completes
 * it. */
static void test_torn_spool(void **state) {
    (void)state;
    for (size_t cut = 0; cut < 900; cut += 13) {
        struct fixture *f = make("none", LEAT_FORMAT_JSON);
        put_events(f, 12);
        struct leat_feed *w = NULL;
        uint32_t number;
        ok(leat_feed_open(&env, f->state, &w, &err));
        ok(leat_feed_file(w, f->data, f->data, &number, &err));
        for (uint64_t i = 0; i < 6; i++)
            ok(leat_feed_add(w, number, i, "early", 5, &err));
        ok(leat_feed_sync(w, &err));
        char *path = leat_asprintf("%s/feed/000001.spool", f->state);
        struct leat_stat synced, all;
        ok(env.io->ops->stat(env.io, path, &synced, &err));
        reopen(f);
        poll_all(f);
        assert_int_equal(f->count, 6);
        for (uint64_t i = 6; i < 12; i++)
            ok(leat_feed_add(w, number, i, "late record", 11, &err));
        ok(leat_feed_sync(w, &err));
        leat_feed_close(w);
        ok(env.io->ops->stat(env.io, path, &all, &err));
        /* The second batch's sync counts as lost: everything after the first batch may be torn, the marker included. */
        struct leat_file *file = NULL;
        ok(env.io->ops->open(env.io, path, LEAT_OPEN_APPEND, &file, &err));
        uint64_t least = synced.size_bytes - 80; /* the marker is not synced */
        ok(env.io->ops->truncate(file, all.size_bytes > cut + least ? all.size_bytes - cut : least, &err));
        env.io->ops->close(file);
        poll_all(f);
        reopen(f);
        poll_all(f);
        assert_true(f->count == 6 || f->count == 12);
        ok(leat_feed_open(&env, f->state, &w, &err));
        for (uint64_t i = 0; i < 12; i++)
            ok(leat_feed_add(w, number, i, "again", 5, &err));
        ok(leat_feed_sync(w, &err));
        leat_feed_close(w);
        poll_all(f);
        assert_int_equal(f->count, 12);
        for (size_t i = 0; i < 12; i++)
            assert_int_equal(f->got[i].identity, leat_identity(number, i));
        free(path);
        destroy(f);
    }
}

/* A file that the source tails itself, then fed: every record once. */
static void test_feeding_a_tailed_file(void **state) {
    (void)state;
    struct fixture *f = make("data*", LEAT_FORMAT_JSON);
    put_events(f, 20);
    reopen(f);
    poll_all(f);
    assert_int_equal(f->count, 20);
    assert_int_equal(f->got[0].partition, 1);
    put_events(f, 50);
    feed(f, (struct leat_feed_options){.by_arrival = true});
    poll_all(f);
    assert_int_equal(f->count, 50); /* 30 through the spool, none twice */
    put_events(f, 60);
    poll_all(f);
    assert_int_equal(f->count, 50); /* no longer tailed */
    feed(f, (struct leat_feed_options){0});
    reopen(f);
    poll_all(f);
    assert_int_equal(f->count, 60);
    for (size_t i = 20; i < 60; i++) {
        assert_int_equal(f->got[i].partition, 0);
        assert_int_equal(f->got[i].identity, leat_identity(1, i));
    }
    destroy(f);
}

static void test_csv_headers(void **state) {
    (void)state;
    struct fixture *f = make("none", LEAT_FORMAT_CSV);
    static const char first[] = "id,at\n1,2024-01-01 00:00:02\n2,2024-01-01 00:00:01\n",
                      other[] = "at,id\n2024-01-01 00:00:03,3\nrubbish\n";
    put(f->data, first, sizeof first - 1);
    feed(f, (struct leat_feed_options){.by_arrival = true});
    char *second = leat_asprintf("%s/second", f->dir);
    put(second, other, sizeof other - 1);
    struct leat_feed_options options = {.by_arrival = true};
    struct leat_feed_progress progress;
    ok(leat_feed_run(&env, &f->source, f->dir, f->state, second, &options, &progress, &err));
    assert_int_equal(progress.undated, 1);
    reopen(f);
    assert_int_equal(poll_some(f, 1), 1);
    assert_int_equal(f->count, 2);
    assert_string_equal(f->header, "id,at");
    assert_int_equal(f->got[0].identity, leat_identity(1, 1)); /* the earlier one first */
    poll_all(f);
    assert_int_equal(f->count, 4);
    assert_string_equal(f->header, "at,id");
    assert_string_equal(f->got[3].bytes, "rubbish");
    free(second);
    destroy(f);
}

static bool stop_after_two(void *context, const struct leat_feed_progress *p) {
    (void)p;
    return ++*(int *)context < 3;
}

static void test_pace(void **state) {
    (void)state;
    int64_t now_us = 1000000, started_us = now_us;
    struct leat_clock clock, *real = env.clock;
    leat_clock_virtual_init(&clock, &now_us);
    env.clock = &clock;
    struct fixture *f = make("none", LEAT_FORMAT_JSON);
    put_events(f, 601);
    feed(f, (struct leat_feed_options){.speed = 60});
    assert_true(now_us - started_us >= 9980000 &&
                now_us - started_us <= 10020000); /* 600 s of event time at 60 times */
    int calls = 0;
    struct leat_feed_options stopped = {.speed = 1, .progress = stop_after_two, .context = &calls};
    struct leat_feed_progress progress;
    assert_int_equal(leat_feed_run(&env, &f->source, f->dir, f->state, f->data, &stopped, &progress, &err),
                     LEAT_CANCELLED);
    assert_true(progress.records < 601);
    env.clock = real;
    reopen(f);
    poll_all(f);
    assert_int_equal(f->count, 601);
    destroy(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seen_set),
        cmocka_unit_test(test_plain_feed),
        cmocka_unit_test(test_order_and_delay),
        cmocka_unit_test(test_redelivery_by_file),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_torn_spool),
        cmocka_unit_test(test_feeding_a_tailed_file),
        cmocka_unit_test(test_csv_headers),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
