/* The durable log against a model in memory: ranges, reopening, torn tails at every byte, flipped bits, trimming,
 * failing disks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <xxhash.h>
#include "log/log.h"

#define PARTITIONS 4
#define RECORDS_MAX 4000

struct record {
    char *bytes;
    uint32_t length;
    uint64_t identity;
};
struct model {
    struct record records[PARTITIONS][RECORDS_MAX];
    size_t count[PARTITIONS], durable[PARTITIONS], floor[PARTITIONS];
    uint64_t position[PARTITIONS], durable_position[PARTITIONS];
};

static struct leat_env env;
static struct leat_error err;
static char base_dir[64];
static int warnings;

static void count_warning(struct leat_env *e, enum leat_log_level level, const char *line) {
    (void)e;
    (void)line;
    if (level >= LEAT_LOG_WARN) warnings++;
}

static int setup(void **state) {
    (void)state;
    leat_env_real(&env);
    env.log = count_warning;
    leat_random_seed(&env.random, 7);
    snprintf(base_dir, sizeof base_dir, "test_log.XXXXXX");
    return mkdtemp(base_dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return leat_io_remove_tree(env.io, base_dir, &err) == LEAT_OK ? 0 : -1;
}

static void ok(enum leat_status status) {
    if (status != LEAT_OK) fail_msg("%s: %s", leat_status_name(status), err.text);
}

static struct leat_log *open_log(const char *dir, uint64_t segment_bytes) {
    struct leat_log *log = NULL;
    struct leat_log_options options = {.segment_bytes = segment_bytes};
    ok(leat_log_open(&env, dir, &options, &log, &err));
    return log;
}

/* Appends `n` random records of one partition to log and model; gaps between records as terminators make them. */
static void append_random(struct leat_log *log, struct model *m, struct leat_random *random, uint32_t partition,
                          uint32_t n) {
    uint32_t starts[64], ends[64];
    uint64_t identities[64];
    char payload[64 * 80 + 64];
    uint32_t at = 0;
    bool with_identities = leat_random_below(random, 2);
    assert_true(n <= 64);
    for (uint32_t i = 0; i < n; i++) {
        at += (uint32_t)leat_random_below(random, 3);
        starts[i] = at;
        uint32_t length = (uint32_t)leat_random_below(random, 70);
        for (uint32_t j = 0; j < length; j++)
            payload[at + j] = (char)leat_random_next(random);
        at += length;
        ends[i] = at;
        identities[i] = leat_random_next(random);
        if (m) {
            struct record *r = &m->records[partition][m->count[partition] + i];
            r->bytes = leat_alloc(length + 1);
            memcpy(r->bytes, payload + starts[i], length);
            r->length = length;
            r->identity = with_identities ? identities[i] : UINT64_MAX;
        }
    }
    struct leat_block block = {
        .partition = partition,
        .base_offset = m->count[partition],
        .record_count = n,
        .arrival_us = (int64_t)m->count[partition] * 10 - 5,
        .position = leat_random_next(random),
        .payload = payload,
        .starts = starts,
        .ends = ends,
        .payload_bytes = at,
        .identities = with_identities ? identities : NULL,
    };
    if (leat_random_below(random, 3) == 0) {
        block.header = "a,\"b\",c";
        block.header_length = 7;
    }
    m->position[partition] = block.position;
    m->count[partition] += n;
    ok(leat_log_append(log, &block, &err));
}

static void model_synced(struct model *m) {
    memcpy(m->durable, m->count, sizeof m->count);
    memcpy(m->durable_position, m->position, sizeof m->position);
}

static void model_free(struct model *m) {
    for (int p = 0; p < PARTITIONS; p++)
        for (size_t i = 0; i < m->count[p]; i++)
            free(m->records[p][i].bytes);
    free(m);
}

static void check_range(struct leat_log *log, const struct model *m, uint32_t partition, uint64_t from, uint64_t to) {
    struct leat_log_cursor *cursor = NULL;
    struct leat_block b;
    uint64_t next = from, end = to < m->durable[partition] ? to : m->durable[partition];
    ok(leat_log_read(log, partition, from, to, &cursor, &err));
    enum leat_status status;
    while ((status = leat_log_next(cursor, &b, &err)) == LEAT_OK) {
        assert_int_equal(b.partition, partition);
        assert_int_equal(b.base_offset, next);
        assert_true(b.record_count > 0);
        for (uint32_t i = 0; i < b.record_count; i++, next++) {
            const struct record *r = &m->records[partition][next];
            assert_int_equal(b.ends[i] - b.starts[i], r->length);
            assert_true(b.ends[i] <= b.payload_bytes);
            assert_memory_equal(b.payload + b.starts[i], r->bytes, r->length);
            if (r->identity != UINT64_MAX)
                assert_int_equal(b.identities[i], r->identity);
            else
                assert_null(b.identities);
        }
        char tail[64];
        memcpy(tail, b.payload + b.payload_bytes, sizeof tail); /* readable, says ASan */
        if (b.header_length) assert_memory_equal(b.header, "a,\"b\",c", 7);
    }
    assert_int_equal(status, LEAT_END);
    assert_int_equal(next, from < end ? end : from);
    leat_log_cursor_close(cursor);
}

static void check_all(struct leat_log *log, const struct model *m) {
    size_t n;
    const struct leat_log_end *ends = leat_log_ends(log, &n);
    size_t at = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (at < n && ends[at].partition == p) {
            assert_int_equal(ends[at].next_offset, m->durable[p]);
            assert_int_equal(ends[at].position, m->durable_position[p]);
            at++;
        } else
            assert_int_equal(m->durable[p], 0);
        uint64_t first = leat_log_first_offset(log, p);
        assert_true(first <= m->durable[p]);
        check_range(log, m, p, first, UINT64_MAX);
    }
    assert_int_equal(at, n);
}

static void test_against_model(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct leat_random random;
        leat_random_seed(&random, seed);
        struct model *m = calloc(1, sizeof *m);
        char *dir = leat_asprintf("%s/model%d", base_dir, (int)seed);
        uint64_t segment_bytes = 2000 + leat_random_below(&random, 40000);
        struct leat_log *log = open_log(dir, segment_bytes);
        for (int step = 0; step < 150; step++) {
            uint32_t p = (uint32_t)leat_random_below(&random, PARTITIONS);
            switch (leat_random_below(&random, 8)) {
            case 0:
            case 1:
            case 2:
            case 3:
                append_random(log, m, &random, p, 1 + (uint32_t)leat_random_below(&random, 24));
                break;
            case 4:
            case 5:
                ok(leat_log_sync(log, &err));
                model_synced(m);
                break;
            case 6: {
                uint64_t first = leat_log_first_offset(log, p),
                         from = first + leat_random_below(&random, m->durable[p] - first + 1);
                check_range(log, m, p, from, from + leat_random_below(&random, 100));
                break;
            }
            default:
                if (leat_random_below(&random, 3) == 0) {
                    struct leat_log_end floors[PARTITIONS] = {0};
                    for (uint32_t i = 0; i < PARTITIONS; i++) {
                        m->floor[i] += leat_random_below(&random, m->durable[i] - m->floor[i] + 1);
                        floors[i] = (struct leat_log_end){.partition = i, .next_offset = m->floor[i]};
                    }
                    ok(leat_log_trim(log, floors, PARTITIONS, &err));
                    for (uint32_t i = 0; i < PARTITIONS; i++)
                        assert_true(leat_log_first_offset(log, i) <= m->floor[i]);
                } else {
                    ok(leat_log_sync(log, &err));
                    model_synced(m);
                    leat_log_close(log);
                    log = open_log(dir, segment_bytes);
                    check_all(log, m);
                }
            }
        }
        check_all(log, m);
        leat_log_close(log);
        model_free(m);
        free(dir);
    }
    assert_int_equal(warnings, 0);
}

static void test_append_refuses(void **state) {
    (void)state;
    char *dir = leat_asprintf("%s/refuse", base_dir);
    struct leat_log *log = open_log(dir, 0);
    uint32_t starts[] = {0, 3}, ends[] = {3, 6};
    struct leat_block b = {.partition = 1,
                           .base_offset = 5,
                           .record_count = 2,
                           .payload = "abcdef",
                           .payload_bytes = 6,
                           .starts = starts,
                           .ends = ends};
    assert_int_equal(leat_log_append(log, &b, &err), LEAT_INVALID); /* not the next offset */
    b.base_offset = 0;
    ends[0] = 4; /* overlaps record 1 */
    assert_int_equal(leat_log_append(log, &b, &err), LEAT_INVALID);
    ends[0] = 3;
    b.payload_bytes = 5; /* record 1 beyond it */
    assert_int_equal(leat_log_append(log, &b, &err), LEAT_INVALID);
    b.payload_bytes = 6;
    ok(leat_log_append(log, &b, &err));
    size_t n;
    leat_log_ends(log, &n);
    assert_int_equal(n, 0); /* not synced: not there */
    struct leat_log_cursor *cursor = NULL;
    ok(leat_log_read(log, 1, 0, 10, &cursor, &err));
    assert_int_equal(leat_log_next(cursor, &b, &err), LEAT_END);
    leat_log_cursor_close(cursor);
    leat_log_close(log); /* appended only: gone */
    log = open_log(dir, 0);
    leat_log_ends(log, &n);
    assert_int_equal(n, 0);
    assert_int_equal(leat_log_size_bytes(log), 0);
    leat_log_close(log);
    free(dir);
}

static void write_file(const char *path, const char *bytes, size_t n) {
    struct leat_file *file = NULL;
    ok(env.io->ops->open(env.io, path, LEAT_OPEN_TRUNCATE, &file, &err));
    ok(env.io->ops->write(file, bytes, n, &err));
    env.io->ops->close(file);
}

static void add_garbage(const char *path) {
    struct leat_file *file = NULL;
    ok(env.io->ops->open(env.io, path, LEAT_OPEN_APPEND, &file, &err));
    ok(env.io->ops->write(file, "garbage", 7, &err));
    env.io->ops->close(file);
}

/* One segment: batches of 2 blocks each; block_end[i] = where block i ends, batch_end likewise. */
static void make_segment(const char *dir, struct model *m, struct leat_buffer *bytes, char **path) {
    struct leat_random random;
    leat_random_seed(&random, 99);
    struct leat_log *log = open_log(dir, 0);
    for (int batch = 0; batch < 4; batch++) {
        append_random(log, m, &random, 0, 3);
        append_random(log, m, &random, 1, 2);
        ok(leat_log_sync(log, &err));
        model_synced(m);
    }
    leat_log_close(log);
    *path = leat_asprintf("%s/%020d.log", dir, 1);
    ok(leat_io_read_all(env.io, *path, 1 << 20, bytes, &err));
}

/* A segment of a format that is not known yet is not a write cut short. */
static void test_newer_segments(void **state) {
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    struct leat_buffer bytes = {0}, after = {0};
    char *dir = leat_asprintf("%s/newer", base_dir), *path;
    struct leat_log *log;
    make_segment(dir, m, &bytes, &path);
    bytes.data[16] = 2;
    uint32_t ends;
    memcpy(&ends, bytes.data + 20, sizeof ends);
    uint64_t sum = XXH3_64bits(bytes.data + 16, 48 + 32 * ends - 16);
    memcpy(bytes.data + 8, &sum, sizeof sum);
    write_file(path, bytes.data, bytes.length);
    assert_int_equal(leat_log_open(&env, dir, NULL, &log, &err), LEAT_UNSUPPORTED);
    ok(leat_io_read_all(env.io, path, 1 << 20, &after, &err));
    assert_int_equal(after.length, bytes.length);
    leat_buffer_deinit(&bytes);
    leat_buffer_deinit(&after);
    free(path);
    free(dir);
    model_free(m);
}

static void test_torn_at_every_byte(void **state) {
    (void)state;
    struct model *m = calloc(1, sizeof *m), *cut = calloc(1, sizeof *cut);
    struct leat_buffer bytes = {0};
    char *dir = leat_asprintf("%s/torn", base_dir), *path;
    make_segment(dir, m, &bytes, &path);
    uint64_t before[2] = {0, 0};
    for (size_t n = 0; n <= bytes.length; n++) {
        write_file(path, bytes.data, n);
        struct leat_log *log = open_log(dir, 0);
        memcpy(cut, m, sizeof *cut);
        memset(cut->durable, 0, sizeof cut->durable);
        size_t count;
        const struct leat_log_end *ends = leat_log_ends(log, &count);
        for (size_t i = 0; i < count; i++) {
            cut->durable[ends[i].partition] = ends[i].next_offset;
            cut->durable_position[ends[i].partition] = ends[i].position;
        }
        check_all(log, cut);
        /* more bytes never give fewer records, and every whole block is kept */
        assert_true(cut->durable[0] >= before[0] && cut->durable[1] >= before[1]);
        before[0] = cut->durable[0];
        before[1] = cut->durable[1];
        if (n % 7 == 0) { /* and it goes on from there */
            uint32_t start = 0, end = 4;
            struct leat_block b = {.partition = 1,
                                   .base_offset = before[1],
                                   .record_count = 1,
                                   .payload = "more",
                                   .payload_bytes = 4,
                                   .starts = &start,
                                   .ends = &end};
            ok(leat_log_append(log, &b, &err));
            ok(leat_log_sync(log, &err));
            leat_log_close(log);
            log = open_log(dir, 0);
            ends = leat_log_ends(log, &count);
            assert_int_equal(ends[count - 1].next_offset, before[1] + 1);
        }
        leat_log_close(log);
    }
    assert_int_equal(before[0], m->durable[0]);
    assert_int_equal(before[1], m->durable[1]);
    free(cut);
    model_free(m);
    leat_buffer_deinit(&bytes);
    free(path);
    free(dir);
}

static void test_flipped_bits(void **state) {
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    struct leat_buffer bytes = {0};
    char *dir = leat_asprintf("%s/flipped", base_dir), *path;
    make_segment(dir, m, &bytes, &path);
    int corrupt = 0, cut = 0;
    for (size_t at = 0; at < bytes.length; at++) {
        char kept = bytes.data[at];
        bytes.data[at] = (char)(kept ^ (1 << at % 8));
        write_file(path, bytes.data, bytes.length);
        bytes.data[at] = kept;
        struct leat_log *log = NULL;
        enum leat_status status = leat_log_open(&env, dir, NULL, &log, &err);
        if (status == LEAT_CORRUPT) {
            corrupt++;
            assert_null(log);
            assert_non_null(strstr(err.text, path));
            continue;
        }
        ok(status); /* only the last write may look cut short */
        cut++;
        size_t n;
        const struct leat_log_end *ends = leat_log_ends(log, &n);
        assert_int_equal(n, 2);
        assert_true(ends[0].next_offset >= m->durable[0] - 3 && ends[1].next_offset == m->durable[1] - 2);
        leat_log_close(log);
    }
    assert_true(corrupt > cut && cut > 0);
    model_free(m);
    leat_buffer_deinit(&bytes);
    free(path);
    free(dir);
}

/* Damage in a segment that is not the last is found when it is read; the other partitions' blocks are not needed for
 * that. */
static void test_damage_in_old_segment(void **state) {
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    struct leat_random random;
    leat_random_seed(&random, 5);
    char *dir = leat_asprintf("%s/old", base_dir), *path = leat_asprintf("%s/%020d.log", dir, 1);
    struct leat_log *log = open_log(dir, 1000);
    for (int i = 0; i < 20; i++) {
        append_random(log, m, &random, 2, 20);
        ok(leat_log_sync(log, &err));
    }
    leat_log_close(log);
    struct leat_buffer bytes = {0};
    ok(leat_io_read_all(env.io, path, 1 << 20, &bytes, &err));
    size_t cuts[] = {bytes.length - 1, bytes.length - 8, bytes.length / 2, 30, 0};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        struct leat_log_cursor *cursor = NULL;
        struct leat_block b;
        write_file(path, bytes.data, cuts[i]);
        enum leat_status status = leat_log_open(&env, dir, NULL, &log, &err);
        if (status == LEAT_OK) {
            ok(leat_log_read(log, 2, 0, UINT64_MAX, &cursor, &err));
            do
                status = leat_log_next(cursor, &b, &err);
            while (status == LEAT_OK);
            leat_log_cursor_close(cursor);
            leat_log_close(log);
        }
        assert_int_equal(status, LEAT_CORRUPT);
    }
    ok(env.io->ops->unlink(env.io, path, &err));
    log = open_log(dir, 0); /* the oldest may be missing: trimmed */
    leat_log_close(log);
    free(path);
    path = leat_asprintf("%s/%020d.log", dir, 4);
    ok(env.io->ops->unlink(env.io, path, &err));
    assert_int_equal(leat_log_open(&env, dir, NULL, &log, &err), LEAT_CORRUPT); /* a hole may not */
    leat_buffer_deinit(&bytes);
    model_free(m);
    free(path);
    free(dir);
}

static void test_trim_keeps_positions(void **state) {
    (void)state;
    struct model *m = calloc(1, sizeof *m);
    struct leat_random random;
    leat_random_seed(&random, 6);
    char *dir = leat_asprintf("%s/trim", base_dir);
    struct leat_log *log = open_log(dir, 1000);
    append_random(log, m, &random, 3, 1); /* once, then never again */
    for (int i = 0; i < 40; i++) {
        append_random(log, m, &random, (uint32_t)i % 2, 20);
        ok(leat_log_sync(log, &err));
    }
    model_synced(m);
    struct leat_log_end floors[] = {{.partition = 0, .next_offset = m->count[0]},
                                    {.partition = 1, .next_offset = m->count[1]}};
    uint64_t size = leat_log_size_bytes(log);
    ok(leat_log_trim(log, floors, 2, &err));
    assert_int_equal(leat_log_size_bytes(log), size); /* partition 3 named no floor */
    struct leat_log_end all[] = {floors[0], floors[1], {.partition = 3, .next_offset = 1}};
    ok(leat_log_trim(log, all, 3, &err));
    assert_true(leat_log_size_bytes(log) < size / 10);
    struct leat_log_cursor *cursor = NULL;
    assert_int_equal(leat_log_read(log, 0, 0, 10, &cursor, &err), LEAT_NOT_FOUND);
    leat_log_close(log);
    log = open_log(dir, 1000);
    check_all(log, m);
    assert_int_equal(leat_log_first_offset(log, 3), 1);
    leat_log_close(log);
    model_free(m);
    free(dir);
}

/* Segments too large to be written anew when opened: the last write moves to the next one, and what lies behind its
 * place does not matter. */
static void test_large_segments(void **state) {
    (void)state;
    enum { N = 20000, LENGTH = 100 };
    char *dir = leat_asprintf("%s/large", base_dir), *payload = malloc(N * LENGTH),
         *path = leat_asprintf("%s/%020d.log", dir, 1);
    uint32_t *starts = malloc(N * 4), *ends = malloc(N * 4);
    for (uint32_t i = 0; i < N; i++) {
        starts[i] = i * LENGTH;
        ends[i] = starts[i] + LENGTH;
        memset(payload + starts[i], 'a' + (int)(i % 26), LENGTH);
    }
    uint64_t next = 0;
    struct leat_log *log = open_log(dir, 0);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 4; i++) {
            struct leat_block b = {.partition = 5,
                                   .base_offset = next,
                                   .record_count = N,
                                   .position = next + N,
                                   .payload = payload,
                                   .starts = starts,
                                   .ends = ends,
                                   .payload_bytes = N * LENGTH};
            ok(leat_log_append(log, &b, &err));
            if (i % 2) ok(leat_log_sync(log, &err));
            next += N;
        }
        leat_log_close(log);
        if (round == 1) add_garbage(path);
        log = open_log(dir, 0);
        size_t count;
        const struct leat_log_end *end = leat_log_ends(log, &count);
        assert_true(count == 1 && end->next_offset == next && end->position == next);
        struct leat_log_cursor *cursor = NULL;
        struct leat_block b;
        uint64_t at = 0;
        enum leat_status status;
        ok(leat_log_read(log, 5, at, UINT64_MAX, &cursor, &err));
        while ((status = leat_log_next(cursor, &b, &err)) == LEAT_OK)
            for (uint32_t i = 0; i < b.record_count; i++, at++)
                assert_true(b.base_offset + i == at && b.payload[b.starts[i]] == 'a' + (char)(at % N % 26));
        assert_int_equal(status, LEAT_END);
        assert_int_equal(at, next);
        leat_log_cursor_close(cursor);
    }
    leat_log_close(log);
    log = open_log(dir, 0); /* opening alone does not pile up segments */
    uint64_t size = leat_log_size_bytes(log);
    for (int i = 0; i < 5; i++) {
        leat_log_close(log);
        log = open_log(dir, 0);
    }
    assert_int_equal(leat_log_size_bytes(log), size);
    leat_log_close(log);
    free(path);
    free(dir);
    free(payload);
    free(starts);
    free(ends);
}

/* ---- a disk that fails on demand ---- */

static struct leat_io_ops failing_ops;
static struct leat_io failing_io;
static int fail_write_in, fail_sync_in; /* 1: the next call; 0: never */

static enum leat_status failing_write(struct leat_file *file, const void *bytes, size_t n, struct leat_error *e) {
    if (fail_write_in && --fail_write_in == 0) {
        ok(leat_io_real()->ops->write(file, bytes, n / 2, e)); /* half of it arrives */
        return leat_fail(e, LEAT_NO_SPACE, "write: the disk is full");
    }
    return leat_io_real()->ops->write(file, bytes, n, e);
}

static enum leat_status failing_sync(struct leat_file *file, struct leat_error *e) {
    if (fail_sync_in && --fail_sync_in == 0) {
        leat_fail(e, LEAT_IO, "fdatasync: no");
        if (e) e->fatal = true;
        return LEAT_IO;
    }
    return leat_io_real()->ops->sync(file, e);
}

static void test_failing_disk(void **state) {
    (void)state;
    failing_ops = *leat_io_real()->ops;
    failing_ops.write = failing_write;
    failing_ops.sync = failing_sync;
    failing_io = (struct leat_io){.ops = &failing_ops};
    env.io = &failing_io;
    struct model *m = calloc(1, sizeof *m);
    struct leat_random random;
    leat_random_seed(&random, 8);
    char *dir = leat_asprintf("%s/failing", base_dir);
    struct leat_log *log = open_log(dir, 3000);
    for (int i = 0; i < 30; i++) { /* a full disk: said, kept, tried again */
        append_random(log, m, &random, 1, 10);
        fail_write_in = 1;
        assert_int_equal(leat_log_sync(log, &err), LEAT_NO_SPACE);
        assert_true(err.retriable && !err.fatal);
        check_all(log, m);
        append_random(log, m, &random, 2, 3);
        ok(leat_log_sync(log, &err));
        model_synced(m);
    }
    leat_log_close(log);
    log = open_log(dir, 3000);
    check_all(log, m);
    append_random(log, m, &random, 1, 10);
    fail_sync_in = 1;
    assert_int_equal(leat_log_sync(log, &err), LEAT_IO);
    assert_true(err.fatal);
    assert_int_equal(leat_log_sync(log, &err), LEAT_IO); /* never tried again */
    assert_true(err.fatal);
    struct leat_block b = {.partition = 9};
    assert_int_equal(leat_log_append(log, &b, &err), LEAT_IO);
    struct leat_log_cursor *cursor = NULL;
    assert_int_equal(leat_log_read(log, 1, 0, 10, &cursor, &err), LEAT_IO);
    leat_log_close(log);
    env.io = leat_io_real();
    model_free(m);
    free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),         cmocka_unit_test(test_append_refuses),
        cmocka_unit_test(test_newer_segments), cmocka_unit_test(test_torn_at_every_byte),    cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_damage_in_old_segment), cmocka_unit_test(test_trim_keeps_positions),
        cmocka_unit_test(test_large_segments),        cmocka_unit_test(test_failing_disk),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
