/* Crashes: after every recorded disk operation of log, feed and file source, in every image that the simulated disk can
 * make of it, what was acknowledged is there, nothing torn is given, and the work goes on to the same end. */
#include "scratch.h"
#include "connect/connector.h"
#include "connect/feed.h"
#include "log/log.h"
#include "sim/disk.h"

#define SEEDS 6
#define POINTS_MAX 4096
#define PARTITIONS 3

static char *scratch;
static struct leat_env env;
static struct leat_error err;

static void ok(enum leat_status status) {
    if (status != LEAT_OK) fail_msg("%s: %s", leat_status_name(status), err.text);
}

static void quiet(struct leat_env *e, enum leat_log_level level, const char *line) {
    (void)e;
    (void)level;
    (void)line;
}

/* A disk whose inode numbers follow from names below a root, as if the image were the crashed disk itself; images need
 * no real fsync. */
struct rooted {
    struct leat_io io;
    struct leat_io_ops ops;
    struct leat_io *inner;
    size_t root_length;
    bool fast;
};
static struct leat_io *inner_of(struct leat_io *io) {
    return ((struct rooted *)(void *)io)->inner;
}
static enum leat_status r_open(struct leat_io *io, const char *path, enum leat_open_mode mode, struct leat_file **out,
                               struct leat_error *e) {
    return inner_of(io)->ops->open(inner_of(io), path, mode, out, e);
}
static enum leat_status r_stat(struct leat_io *io, const char *path, struct leat_stat *out, struct leat_error *e) {
    enum leat_status status = inner_of(io)->ops->stat(inner_of(io), path, out, e);
    const char *p = path + ((struct rooted *)(void *)io)->root_length;
    if (status == LEAT_OK && strstr(p, "/in/"))
        for (out->inode = 5381; *p; p++)
            out->inode = out->inode * 33 + (unsigned char)*p;
    return status;
}
static enum leat_status r_link(struct leat_io *io, const char *a, const char *b, struct leat_error *e) {
    return inner_of(io)->ops->link(inner_of(io), a, b, e);
}
static enum leat_status r_rename(struct leat_io *io, const char *a, const char *b, struct leat_error *e) {
    return inner_of(io)->ops->rename(inner_of(io), a, b, e);
}
static enum leat_status r_unlink(struct leat_io *io, const char *a, struct leat_error *e) {
    return inner_of(io)->ops->unlink(inner_of(io), a, e);
}
static enum leat_status r_mkdir(struct leat_io *io, const char *a, struct leat_error *e) {
    return inner_of(io)->ops->mkdir(inner_of(io), a, e);
}
static enum leat_status r_sync_dir(struct leat_io *io, const char *a, struct leat_error *e) {
    return ((struct rooted *)(void *)io)->fast ? LEAT_OK : inner_of(io)->ops->sync_dir(inner_of(io), a, e);
}
static enum leat_status r_list(struct leat_io *io, const char *a, bool (*visit)(void *, const char *), void *c,
                               struct leat_error *e) {
    return inner_of(io)->ops->list(inner_of(io), a, visit, c, e);
}
static enum leat_status r_no_sync(struct leat_file *file, struct leat_error *e) {
    (void)file;
    (void)e;
    return LEAT_OK;
}
static struct leat_io *rooted(struct rooted *r, struct leat_io *inner, const char *root, bool fast) {
    *r = (struct rooted){.ops = *inner->ops, .inner = inner, .root_length = strlen(root), .fast = fast};
    r->io.ops = &r->ops;
    r->ops.open = r_open;
    r->ops.stat = r_stat;
    r->ops.link = r_link;
    r->ops.rename = r_rename;
    r->ops.unlink = r_unlink;
    r->ops.mkdir = r_mkdir;
    r->ops.sync_dir = r_sync_dir;
    r->ops.list = r_list;
    if (fast) r->ops.sync = r_no_sync;
    return &r->io;
}

static int setup(void **state) {
    (void)state;
    static struct rooted fast;
    scratch = scratch_make();
    leat_env_real(&env);
    env.io = rooted(&fast, leat_io_real(), "", true);
    env.log = quiet;
    leat_random_seed(&env.random, 3);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    scratch_remove(scratch);
    return 0;
}

/* The content of a record follows from its place. */
static uint32_t record_text(char out[128], uint32_t partition, uint64_t offset) {
    uint64_t x = (offset * 2654435761u) ^ partition;
    int n = snprintf(out, 128, "p%u:%llu:%.*s", partition, (unsigned long long)offset, (int)(x % 60),
                     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
    return (uint32_t)n;
}

static void append(struct leat_log *log, uint32_t partition, uint64_t *next, uint32_t n) {
    char payload[64 * 128];
    uint32_t starts[64], ends[64], at = 0;
    for (uint32_t i = 0; i < n; i++) {
        starts[i] = at;
        at += record_text(payload + at, partition, *next + i);
        ends[i] = at++;
    }
    struct leat_block b = {.partition = partition,
                           .base_offset = *next,
                           .record_count = n,
                           .position = *next + n,
                           .payload = payload,
                           .starts = starts,
                           .ends = ends,
                           .payload_bytes = at};
    ok(leat_log_append(log, &b, &err));
    *next += n;
}

/* What had been promised when so many operations were done. */
struct promise {
    size_t ops;
    uint64_t acked[PARTITIONS], floor[PARTITIONS];
};
static struct promise promises[POINTS_MAX];
static size_t promise_count;

static void promise(struct leat_sim_disk *disk, const uint64_t *next, const uint64_t *floor) {
    assert_true(promise_count < POINTS_MAX);
    struct promise *p = &promises[promise_count++];
    p->ops = leat_sim_disk_op_count(disk);
    memcpy(p->acked, next, sizeof p->acked);
    memcpy(p->floor, floor, sizeof p->floor);
}

static void check_records(struct leat_log *log, uint32_t partition, uint64_t from, uint64_t to) {
    struct leat_log_cursor *cursor = NULL;
    struct leat_block b;
    enum leat_status status;
    uint64_t next = from;
    ok(leat_log_read(log, partition, from, to, &cursor, &err));
    while ((status = leat_log_next(cursor, &b, &err)) == LEAT_OK)
        for (uint32_t i = 0; i < b.record_count; i++, next++) {
            char text[128];
            uint32_t n = record_text(text, partition, next);
            assert_int_equal(b.ends[i] - b.starts[i], n);
            assert_memory_equal(b.payload + b.starts[i], text, n);
        }
    if (status != LEAT_END) fail_msg("%s", err.text);
    assert_int_equal(next, to);
    leat_log_cursor_close(cursor);
}

static void check_image(const char *dir, const struct promise *promised, const uint64_t *appended) {
    struct leat_log_options options = {.segment_bytes = 1500};
    struct leat_log *log = NULL;
    ok(leat_log_open(&env, dir, &options, &log, &err));
    uint64_t next[PARTITIONS] = {0};
    size_t count;
    const struct leat_log_end *ends = leat_log_ends(log, &count);
    for (size_t i = 0; i < count; i++) {
        assert_true(ends[i].partition < PARTITIONS);
        next[ends[i].partition] = ends[i].next_offset;
        assert_int_equal(ends[i].position, ends[i].next_offset);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        uint64_t first = leat_log_first_offset(log, p);
        assert_true(next[p] >= promised->acked[p] && next[p] <= appended[p]);
        assert_true(first <= next[p] && (first <= promised->floor[p] || first <= promise_count * 64));
        check_records(log, p, first, next[p]);
    }
    append(log, 0, &next[0], 5); /* and it goes on */
    ok(leat_log_sync(log, &err));
    leat_log_close(log);
    ok(leat_log_open(&env, dir, &options, &log, &err));
    check_records(log, 0, leat_log_first_offset(log, 0), next[0]);
    leat_log_close(log);
}

static void test_log(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "log"), *image = leat_asprintf("%s/log-image", scratch),
         *dir = leat_asprintf("%s/l", root), *image_dir = leat_asprintf("%s/l", image);
    struct leat_sim_disk *disk = NULL;
    struct leat_random random;
    leat_random_seed(&random, 11);
    ok(leat_sim_disk_open(root, &disk, &err));
    struct leat_env sim_env = env;
    sim_env.io = leat_sim_disk_io(disk);
    struct leat_log *log = NULL;
    struct leat_log_options options = {.segment_bytes = 1500};
    uint64_t next[PARTITIONS] = {0}, floor[PARTITIONS] = {0};
    promise_count = 0;
    promise(disk, next, floor);
    ok(leat_log_open(&sim_env, dir, &options, &log, &err));
    for (int step = 0; step < 45; step++) {
        int blocks = 1 + (int)leat_random_below(&random, 3);
        for (int i = 0; i < blocks; i++) {
            uint32_t p = (uint32_t)leat_random_below(&random, PARTITIONS);
            append(log, p, &next[p], 1 + (uint32_t)leat_random_below(&random, 12));
        }
        ok(leat_log_sync(log, &err));
        promise(disk, next, floor);
        if (step % 9 == 8) {
            struct leat_log_end floors[PARTITIONS];
            for (uint32_t p = 0; p < PARTITIONS; p++) {
                floor[p] = next[p] - leat_random_below(&random, next[p] / 2 + 1);
                floors[p] = (struct leat_log_end){.partition = p, .next_offset = floor[p]};
            }
            promise(disk, next, floor); /* from here on they may be gone */
            ok(leat_log_trim(log, floors, PARTITIONS, &err));
        }
        if (step % 13 == 12) {
            leat_log_close(log);
            ok(leat_log_open(&sim_env, dir, &options, &log, &err));
        }
    }
    leat_log_close(log);
    size_t ops = leat_sim_disk_op_count(disk), at = 0, images = 0;
    for (size_t op = 0; op <= ops; op++) {
        while (at + 1 < promise_count && promises[at + 1].ops <= op)
            at++;
        for (uint64_t seed = 0; seed < SEEDS; seed++, images++) {
            ok(leat_sim_disk_image(disk, op, seed, image, &err));
            check_image(image_dir, &promises[at], next);
        }
    }
    print_message("%zu images of %zu operations\n", images, ops);
    assert_int_equal(leat_sim_disk_used_after_failed_sync(disk), 0);
    leat_sim_disk_close(disk);
    free(root);
    free(image);
    free(dir);
    free(image_dir);
}

/* Every disk call fails once: said, and after reopening everything acknowledged is there. */
static void test_log_failing_calls(void **state) {
    (void)state;
    static const int numbers[] = {5 /* EIO */, 28 /* ENOSPC */};
    for (uint64_t n = 1; n < 80; n++) {
        char *root = scratch_dir(scratch, "failing"), *dir = leat_asprintf("%s/l", root);
        struct leat_sim_disk *disk = NULL;
        struct leat_log *log = NULL;
        struct leat_log_options options = {.segment_bytes = 1500};
        uint64_t next[PARTITIONS] = {0}, acked = 0;
        ok(leat_sim_disk_open(root, &disk, &err));
        struct leat_env sim_env = env;
        sim_env.io = leat_sim_disk_io(disk);
        leat_sim_disk_fail(disk, LEAT_SIM_ANY, n, numbers[n % 2]);
        for (int step = 0; step < 15; step++) {
            if (!log && leat_log_open(&sim_env, dir, &options, &log, &err) != LEAT_OK) continue;
            size_t count;
            const struct leat_log_end *ends = leat_log_ends(log, &count);
            assert_true((count ? ends[0].next_offset : 0) >= acked);
            next[0] = count ? ends[0].next_offset : 0;
            append(log, 0, &next[0], 10);
            enum leat_status status = leat_log_sync(log, &err);
            if (status != LEAT_OK && err.retriable) status = leat_log_sync(log, &err);
            if (status == LEAT_OK)
                acked = next[0];
            else {
                assert_true(err.fatal);
                leat_log_close(log);
                log = NULL;
            }
            if (log && step == 7) {
                struct leat_log_end floor = {.next_offset = acked};
                status = leat_log_trim(log, &floor, 1, &err);
                if (status != LEAT_OK) {
                    leat_log_close(log);
                    log = NULL;
                }
            }
        }
        leat_log_close(log);
        assert_int_equal(leat_sim_disk_used_after_failed_sync(disk), 0);
        ok(leat_log_open(&env, dir, &options, &log, &err));
        size_t count;
        const struct leat_log_end *ends = leat_log_ends(log, &count);
        assert_true(count == 1 && ends[0].next_offset >= acked && acked >= 120);
        check_records(log, 0, leat_log_first_offset(log, 0), ends[0].next_offset);
        leat_log_close(log);
        leat_sim_disk_close(disk);
        free(root);
        free(dir);
    }
}

/* ---- source and feed into a log ---- */

#define TAILED_LINES 40
#define FED_LINES 30

static struct leat_option path_option = {.name = (char *)"path", .value = (char *)"in/*"};
static struct leat_source source = {.name = (char *)"s",
                                    .connector = (char *)"file",
                                    .format = LEAT_FORMAT_JSON,
                                    .options = &path_option,
                                    .option_count = 1,
                                    .event_time = -1};

struct ingest {
    struct leat_env *env;
    char *dir, *state, *log_dir;
    struct leat_log *log;
    struct leat_connector *connector;
};

static void ingest_open(struct ingest *g, struct leat_env *e, const char *dir) {
    size_t count;
    *g = (struct ingest){.env = e,
                         .dir = leat_strdup(dir),
                         .state = leat_asprintf("%s/.leat/c", dir),
                         .log_dir = leat_asprintf("%s/.leat/l", dir)};
    struct leat_log_options options = {.segment_bytes = 1500};
    ok(leat_log_open(e, g->log_dir, &options, &g->log, &err));
    const struct leat_log_end *ends = leat_log_ends(g->log, &count);
    ok(leat_connector_file.open(e, &source, g->dir, g->state, ends, count, &g->connector, &err));
}

static void ingest_close(struct ingest *g) {
    g->connector->ops->close(g->connector);
    leat_log_close(g->log);
    free(g->dir);
    free(g->state);
    free(g->log_dir);
}

static void ingest_poll(struct ingest *g) {
    struct leat_block b;
    enum leat_status status;
    while ((status = g->connector->ops->poll(g->connector, 300, &b, &err)) == LEAT_OK) {
        b.arrival_us = 1;
        ok(leat_log_append(g->log, &b, &err));
    }
    if (status != LEAT_END) fail_msg("%s", err.text);
    ok(leat_log_sync(g->log, &err));
}

/* Lines [from, to) of a file, durable as files of others are. */
static void write_lines(struct leat_env *e, const char *dir, const char *name, uint32_t key, uint64_t from,
                        uint64_t to) {
    struct leat_buffer b = {0};
    struct leat_file *file = NULL;
    char *path = leat_asprintf("%s/%s", dir, name), *folder = leat_io_dirname(path);
    for (uint64_t i = from; i < to; i++) {
        char text[128];
        leat_putf(&b, "%.*s\n", (int)record_text(text, key, i), text);
    }
    ok(leat_io_mkdirs(e->io, folder, &err));
    ok(e->io->ops->open(e->io, path, LEAT_OPEN_APPEND, &file, &err));
    ok(e->io->ops->write(file, b.data, b.length, &err));
    ok(e->io->ops->sync(file, &err));
    e->io->ops->close(file);
    ok(e->io->ops->sync_dir(e->io, folder, &err));
    leat_buffer_deinit(&b);
    free(path);
    free(folder);
}

static void feed_lines(struct leat_env *e, const char *state, const char *dir, uint64_t from, uint64_t to) {
    struct leat_feed *feed = NULL;
    uint32_t number;
    char *path = leat_asprintf("%s/fed", dir);
    ok(leat_feed_open(e, state, &feed, &err));
    ok(leat_feed_file(feed, "fed", path, &number, &err));
    for (uint64_t i = from; i < to; i++) {
        char text[128];
        uint32_t n = record_text(text, 9, i);
        ok(leat_feed_add(feed, number, i, text, n, &err));
        if (i % 4 == 0) ok(leat_feed_sync(feed, &err));
        if (i % 8 == 0) ok(leat_feed_add(feed, number, i, text, n, &err)); /* a second delivery */
    }
    ok(leat_feed_sync(feed, &err));
    leat_feed_close(feed);
    free(path);
}

static uint64_t size_of(const char *dir, const char *name) {
    struct leat_stat st = {0};
    char *path = leat_asprintf("%s/%s", dir, name);
    enum leat_status status = env.io->ops->stat(env.io, path, &st, NULL);
    free(path);
    return status == LEAT_OK ? st.size_bytes : 0;
}

/* Lines of a file that are whole; what is torn behind them is cut. */
static uint64_t whole_lines(const char *dir, const char *name, uint32_t key, uint64_t most) {
    uint64_t size = size_of(dir, name), bytes = 0, lines = 0;
    char text[128];
    while (lines < most) {
        uint64_t n = record_text(text, key, lines) + 1;
        if (bytes + n > size) break;
        bytes += n;
        lines++;
    }
    assert_int_equal(bytes, size); /* the test syncs after whole lines; see the filter in the loop below */
    return lines;
}

static void check_log(struct ingest *g) {
    size_t count;
    uint64_t tailed = 0, fed = 0;
    uint8_t seen[FED_LINES] = {0};
    const struct leat_log_end *ends = leat_log_ends(g->log, &count);
    for (size_t e = 0; e < count; e++) {
        struct leat_log_cursor *cursor = NULL;
        struct leat_block b;
        ok(leat_log_read(g->log, ends[e].partition, 0, UINT64_MAX, &cursor, &err));
        while (leat_log_next(cursor, &b, &err) == LEAT_OK)
            for (uint32_t i = 0; i < b.record_count; i++) {
                char text[128];
                uint64_t line = b.identities ? leat_identity_line(b.identities[i]) : b.base_offset + i;
                uint32_t key = b.identities ? 9 : 0;
                if (!b.identities) sscanf(b.payload + b.starts[i], "p%u:", &key);
                uint32_t n = record_text(text, key, line);
                assert_int_equal(b.ends[i] - b.starts[i], n);
                assert_memory_equal(b.payload + b.starts[i], text, n);
                if (b.identities) {
                    assert_true(line < FED_LINES && !seen[line]);
                    seen[line] = 1;
                    fed++;
                } else
                    tailed++;
            }
        leat_log_cursor_close(cursor);
    }
    assert_int_equal(fed, FED_LINES);
    assert_int_equal(tailed, 2 * TAILED_LINES);
}

static void test_source_and_feed(void **state) {
    (void)state;
    char *root = scratch_dir(scratch, "ingest"), *image = leat_asprintf("%s/ingest-image", scratch);
    struct leat_sim_disk *disk = NULL;
    struct ingest g;
    write_lines(&env, root, "fed", 9, 0, FED_LINES);
    write_lines(&env, root, "in/a", 1, 0, 5);
    ok(leat_sim_disk_open(root, &disk, &err));
    struct rooted sim_disk, image_disk;
    struct leat_env sim_env = env, image_env = env;
    sim_env.io = rooted(&sim_disk, leat_sim_disk_io(disk), root, false);
    image_env.io = rooted(&image_disk, leat_io_real(), image, true);
    ingest_open(&g, &sim_env, root);
    ingest_poll(&g);
    feed_lines(&sim_env, g.state, root, 0, 12);
    ingest_poll(&g);
    write_lines(&sim_env, root, "in/a", 1, 5, TAILED_LINES);
    write_lines(&sim_env, root, "in/b", 2, 0, TAILED_LINES);
    feed_lines(&sim_env, g.state, root, 6, FED_LINES);
    ingest_poll(&g);
    ingest_close(&g);
    ingest_open(&g, &sim_env, root);
    ingest_poll(&g);
    ingest_close(&g);
    size_t ops = leat_sim_disk_op_count(disk), images = 0;
    for (size_t op = 0; op <= ops; op++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            ok(leat_sim_disk_image(disk, op, seed, image, &err));
            /* Others' files, torn while being written, are others' business: only images where they are whole. */
            uint64_t a_bytes = size_of(image, "in/a"), b_bytes = size_of(image, "in/b"), a_part = 0, a_whole = 0,
                     b_whole = 0;
            char text[128];
            for (uint64_t i = 0; i < TAILED_LINES; i++) {
                uint64_t n = record_text(text, 1, i) + 1;
                if (i < 5) a_part += n;
                a_whole += n;
                b_whole += record_text(text, 2, i) + 1;
            }
            if ((a_bytes != a_part && a_bytes != a_whole) || (b_bytes && b_bytes != b_whole)) continue;
            ingest_open(&g, &image_env, image);
            ingest_poll(&g);
            write_lines(&image_env, image, "in/a", 1, whole_lines(image, "in/a", 1, TAILED_LINES), TAILED_LINES);
            write_lines(&image_env, image, "in/b", 2, whole_lines(image, "in/b", 2, TAILED_LINES), TAILED_LINES);
            feed_lines(&image_env, g.state, image, 0, FED_LINES);
            ingest_poll(&g);
            check_log(&g);
            ingest_close(&g);
            ingest_open(&g, &image_env, image);
            ingest_poll(&g);
            check_log(&g);
            ingest_close(&g);
            images++;
        }
    print_message("%zu images of %zu operations\n", images, ops);
    leat_sim_disk_close(disk);
    free(root);
    free(image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_log_failing_calls),
        cmocka_unit_test(test_source_and_feed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
