/* The file connector: growth, truncation, replacement, renaming, compression, damage, CSV, long lines, and that reading
 * again from any block's end gives the same records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>
#include "base/limits.h"
#include "connect/connector.h"
#include "connect/content.h"
#include "connect/glob.h"
#include "data/decode.h"

static struct leat_env env;
static struct leat_error err;
static char base_dir[64];
static int case_number;

static int setup(void **state) {
    (void)state;
    leat_env_real(&env);
    env.log_level = LEAT_LOG_ERROR;
    snprintf(base_dir, sizeof base_dir, "test_file_source.XXXXXX");
    return mkdtemp(base_dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return leat_io_remove_tree(env.io, base_dir, &err) == LEAT_OK ? 0 : -1;
}

static void ok(enum leat_status status) {
    if (status != LEAT_OK) fail_msg("%s: %s", leat_status_name(status), err.text);
}

/* The real disk without waiting for it: for tests that open a source hundreds of times. (Without inotify, therefore.)
 */
static enum leat_status no_sync(struct leat_file *file, struct leat_error *e) {
    (void)file;
    (void)e;
    return LEAT_OK;
}
static enum leat_status no_sync_dir(struct leat_io *io, const char *path, struct leat_error *e) {
    (void)io;
    (void)path;
    (void)e;
    return LEAT_OK;
}
static struct leat_io *hasty_io(void) {
    static struct leat_io_ops ops;
    static struct leat_io io = {.ops = &ops};
    ops = *leat_io_real()->ops;
    ops.sync = no_sync;
    ops.sync_dir = no_sync_dir;
    return &io;
}

/* ---- a source and what it gave ---- */

struct got {
    uint32_t partition;
    uint64_t offset, position;
    int64_t arrival_us;
    char *bytes;
    size_t length;
};
struct fixture {
    char *dir, *state;
    struct leat_option options[8];
    struct leat_source source;
    struct leat_connector *connector;
    struct got *got;
    size_t count, capacity;
    struct leat_log_end ends[64];
    size_t end_count;
    int damaged; /* bad_data errors */
    char damage[1024];
    char header[256];
    size_t max_bytes;
};

static void option(struct fixture *f, const char *name, const char *value) {
    size_t i = 0;
    while (i < f->source.option_count && strcmp(f->options[i].name, name) != 0)
        i++;
    f->options[i].name = (char *)name;
    f->options[i].value = (char *)value;
    if (i == f->source.option_count) f->source.option_count++;
}

static struct fixture *make(const char *path, enum leat_format format) {
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = leat_asprintf("%s/%d", base_dir, ++case_number);
    f->state = leat_asprintf("%s/.leat/connector/s", f->dir);
    ok(leat_io_mkdirs(env.io, f->dir, &err));
    f->source = (struct leat_source){
        .name = (char *)"s", .connector = (char *)"file", .format = format, .options = f->options, .event_time = -1};
    option(f, "path", path);
    f->max_bytes = 1 << 20;
    return f;
}

static void open_source(struct fixture *f) {
    ok(leat_connector_file.open(&env, &f->source, f->dir, f->state, f->ends, f->end_count, &f->connector, &err));
}

static void close_source(struct fixture *f) {
    f->connector->ops->close(f->connector);
    f->connector = NULL;
}

static void forget(struct fixture *f) {
    for (size_t i = 0; i < f->count; i++)
        free(f->got[i].bytes);
    f->count = 0;
}

static void destroy(struct fixture *f) {
    if (f->connector) close_source(f);
    forget(f);
    free(f->got);
    free(f->dir);
    free(f->state);
    free(f);
}

static void note_end(struct fixture *f, const struct leat_block *b) {
    size_t i = 0;
    while (i < f->end_count && f->ends[i].partition != b->partition)
        i++;
    assert_true(i < 64);
    assert_int_equal(b->base_offset, i < f->end_count ? f->ends[i].next_offset : 0);
    if (i == f->end_count) f->end_count++;
    f->ends[i] = (struct leat_log_end){
        .partition = b->partition, .next_offset = b->base_offset + b->record_count, .position = b->position};
}

static void take(struct fixture *f, const struct leat_block *b) {
    assert_true(b->record_count > 0);
    note_end(f, b);
    for (uint32_t i = 0; i < b->record_count; i++) {
        if (f->count == f->capacity) {
            f->capacity = f->capacity ? f->capacity * 2 : 64;
            f->got = realloc(f->got, f->capacity * sizeof *f->got);
        }
        struct got *g = &f->got[f->count++];
        *g = (struct got){.partition = b->partition,
                          .offset = b->base_offset + i,
                          .position = b->position,
                          .length = b->ends[i] - b->starts[i]};
        assert_true(b->ends[i] <= b->payload_bytes);
        g->bytes = calloc(1, g->length + 1);
        memcpy(g->bytes, b->payload + b->starts[i], g->length);
    }
    char tail[LEAT_PAYLOAD_SLACK];
    memcpy(tail, b->payload + b->payload_bytes, sizeof tail);
    snprintf(f->header, sizeof f->header, "%.*s", (int)b->header_length, b->header ? b->header : "");
}

/* Polls until END, at most `blocks` blocks. */
static int poll_some(struct fixture *f, int blocks) {
    int given = 0;
    while (given < blocks) {
        struct leat_block b;
        enum leat_status status = f->connector->ops->poll(f->connector, f->max_bytes, &b, &err);
        if (status == LEAT_END) break;
        if (status != LEAT_OK && err.bad_data) {
            f->damaged++;
            memcpy(f->damage, err.text, sizeof f->damage);
            continue;
        }
        ok(status);
        take(f, &b);
        given++;
    }
    return given;
}

static void poll_all(struct fixture *f) {
    poll_some(f, 1 << 30);
}

static void expect(struct fixture *f, size_t at, uint32_t partition, uint64_t offset, const char *text) {
    assert_true(at < f->count);
    assert_string_equal(f->got[at].bytes, text);
    assert_int_equal(f->got[at].partition, partition);
    assert_int_equal(f->got[at].offset, offset);
}

/* ---- files ---- */

static void put(struct fixture *f, const char *name, const void *bytes, size_t n, enum leat_open_mode mode) {
    struct leat_file *file = NULL;
    char *path = leat_asprintf("%s/%s", f->dir, name), *dir = leat_io_dirname(path);
    ok(leat_io_mkdirs(env.io, dir, &err));
    ok(env.io->ops->open(env.io, path, mode, &file, &err));
    ok(env.io->ops->write(file, bytes, n, &err));
    env.io->ops->close(file);
    free(dir);
    free(path);
}
static void put_text(struct fixture *f, const char *name, const char *text) {
    put(f, name, text, strlen(text), LEAT_OPEN_TRUNCATE);
}
static void add_text(struct fixture *f, const char *name, const char *text) {
    put(f, name, text, strlen(text), LEAT_OPEN_APPEND);
}

static void move(struct fixture *f, const char *from, const char *to) {
    char *a = leat_asprintf("%s/%s", f->dir, from), *b = leat_asprintf("%s/%s", f->dir, to);
    ok(env.io->ops->rename(env.io, a, b, &err));
    free(a);
    free(b);
}

static void delete (struct fixture *f, const char *name) {
    char *path = leat_asprintf("%s/%s", f->dir, name);
    ok(env.io->ops->unlink(env.io, path, &err));
    free(path);
}

static size_t gzip(const char *bytes, size_t n, char *out, size_t capacity) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(void *)(uintptr_t)bytes;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)(void *)out;
    z.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t length = capacity - z.avail_out;
    deflateEnd(&z);
    return length;
}

static size_t zstd(const char *bytes, size_t n, char *out, size_t capacity) {
    size_t length = ZSTD_compress(out, capacity, bytes, n, 1);
    assert_false(ZSTD_isError(length));
    return length;
}

static char *many_lines(size_t lines, size_t *length) {
    struct leat_buffer b = {0};
    for (size_t i = 0; i < lines; i++)
        leat_putf(&b, "{\"i\":%zu,\"x\":\"%llx\"}\n", i, (unsigned long long)(i * 0x9E3779B97F4A7C15u));
    *length = b.length;
    return b.data;
}

/* ---- tests ---- */

static void test_globs(void **state) {
    (void)state;
    assert_true(leat_glob_match("*.json", "a.json") && leat_glob_match("a?c", "abc") &&
                leat_glob_match("[a-c]x[!0-9]", "bxy"));
    assert_false(leat_glob_match("*.json", ".a.json") || leat_glob_match("a?c", "ac") ||
                 leat_glob_match("[a-c]x[!0-9]", "bx1"));
    assert_true(leat_glob_match("*a*b*c", "xxayybzzc") && leat_glob_match(".*", ".x") && leat_glob_match("[]]", "]") &&
                leat_glob_match("[x", "[x"));
    assert_false(leat_glob_match("*a*b*c", "xxaybzz") || leat_glob_match("", "a") || leat_glob_match("a", ""));
    struct fixture *f = make("x", LEAT_FORMAT_JSON);
    static const char *const names[] = {"a/1.json",    "a/2.json",  "b/1.json", "b/c/3.json",
                                        "b/c/.h.json", ".d/4.json", "5.json",   "6.txt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put_text(f, names[i], "x\n");
    static const struct {
        const char *pattern, *found;
    } cases[] = {
        {"*.json", "5.json "},
        {"*/*.json", "a/1.json a/2.json b/1.json "},
        {"**/*.json", "5.json a/1.json a/2.json b/1.json b/c/3.json "},
        {"b/**", "b/1.json b/c/3.json "},
        {"?/1.json", "a/1.json b/1.json "},
        {"b/c/3.json", "b/c/3.json "},
        {"none/*", ""},
        {"5.json", "5.json "},
        {".d/*", ".d/4.json "},
        {"a", ""},
        {"./a/../5.json", "./a/../5.json "},
        {"**/c/*", "b/c/3.json "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_glob glob;
        struct leat_buffer found = {0};
        ok(leat_glob_list(&env, f->dir, cases[i].pattern, &glob, &err));
        leat_put(&found, "");
        for (size_t j = 0; j < glob.path_count; j++)
            leat_putf(&found, "%s ", glob.paths[j]);
        assert_string_equal(found.data, cases[i].found);
        assert_true(glob.dir_count > 0);
        leat_buffer_deinit(&found);
        leat_glob_deinit(&glob);
    }
    destroy(f);
}

static void test_growth(void **state) {
    (void)state;
    struct fixture *f = make("in/*.ndjson", LEAT_FORMAT_JSON);
    open_source(f); /* the folder is not even there */
    poll_all(f);
    assert_int_equal(f->count, 0);
    assert_false(f->connector->ops->finished(f->connector));
    put_text(f, "in/b.ndjson", "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":");
    put_text(f, "in/a.ndjson", "");
    poll_all(f);
    assert_int_equal(f->count, 2);
    expect(f, 0, 1, 0, "{\"a\":1}");
    expect(f, 1, 1, 1, "{\"a\":2}");
    poll_all(f);
    add_text(f, "in/b.ndjson", "3}");
    poll_all(f);
    assert_int_equal(f->count, 2); /* the line's end is not there */
    add_text(f, "in/b.ndjson", "\n{\"a\":4}\n");
    add_text(f, "in/a.ndjson", "{\"b\":1}\n");
    poll_all(f);
    assert_int_equal(f->count, 5);
    expect(f, 2, 2, 0, "{\"b\":1}"); /* in order of name */
    expect(f, 3, 1, 2, "{\"a\":3}");
    expect(f, 4, 1, 3, "{\"a\":4}");
    close_source(f);
    add_text(f, "in/b.ndjson", "{\"a\":5}\n");
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 6);
    expect(f, 5, 1, 4, "{\"a\":5}");
    destroy(f);
}

static void test_new_incarnations(void **state) {
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        struct fixture *f = make("*.json", LEAT_FORMAT_JSON);
        put_text(f, "a.json", "first line\nsecond line\n");
        open_source(f);
        poll_all(f);
        assert_int_equal(f->count, 2);
        for (int step = 0; step < 4; step++) {
            if (restart) close_source(f);
            forget(f);
            switch (step) {
            case 0:
                put_text(f, "a.json", "short\n");
                break; /* cut and written again */
            case 1:
                put_text(f, "a.json", "other but longer than before\n");
                break; /* other beginning */
            case 2:    /* replaced by another file */
                put_text(f, "new", "replacing and longer than all before it\nx\n");
                move(f, "new", "a.json");
                break;
            default:
                put_text(f, "a.json", ""); /* emptied, then filled */
            }
            if (restart) open_source(f);
            poll_all(f);
            if (step == 3) {
                assert_int_equal(f->count, 0);
                put_text(f, "a.json", "replacing and longer than all before it\nx\ny\n");
                poll_all(f);
                assert_int_equal(f->count, 3);
                expect(f, 2, 5, 2, "y");
            } else {
                assert_int_equal(f->count, step == 2 ? 2 : 1);
                assert_int_equal(f->got[0].partition, step + 2);
                assert_int_equal(f->got[0].offset, 0);
            }
        }
        destroy(f);
    }
}

static void test_rotation_and_vanishing(void **state) {
    (void)state;
    struct fixture *f = make("log*", LEAT_FORMAT_JSON);
    put_text(f, "log", "1\n2\n");
    open_source(f);
    poll_all(f);
    add_text(f, "log", "3\n");
    move(f, "log", "log.1");
    put_text(f, "log", "4\n");
    poll_all(f);
    assert_int_equal(f->count, 4);
    expect(f, 2, 2, 0, "4");
    expect(f, 3, 1, 2, "3"); /* the renamed one went on in its partition */
    delete (f, "log.1");
    delete (f, "log");
    poll_all(f);
    close_source(f);
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 4);
    put_text(f, "log", "5\n");
    poll_all(f);
    assert_int_equal(f->count, 5);
    assert_int_equal(f->got[4].partition, 3);
    destroy(f);
}

/* Nobody tells us that a folder above ours has another name; a write in the old one wakes us. */
static void test_moved_from_above(void **state) {
    (void)state;
    struct fixture *f = make("above/in/*.json", LEAT_FORMAT_JSON);
    put_text(f, "above/in/a.json", "1\n");
    open_source(f);
    poll_all(f);
    add_text(f, "above/in/a.json", "2\n");
    poll_all(f);
    expect(f, 1, 1, 1, "2");
    move(f, "above", "elsewhere");
    put_text(f, "above/in/a.json", "3\n");
    put_text(f, "above/in/b.json", "4\n");
    add_text(f, "elsewhere/in/a.json", "not ours\n");
    poll_all(f);
    assert_int_equal(f->count, 4);
    expect(f, 2, 2, 0, "3");
    expect(f, 3, 3, 0, "4");
    add_text(f, "above/in/b.json", "5\n"); /* the new folder is watched */
    poll_all(f);
    assert_int_equal(f->count, 5);
    expect(f, 4, 3, 1, "5");
    destroy(f);
}

static void test_copied_project(void **state) {
    (void)state;
    struct fixture *f = make("a.json", LEAT_FORMAT_JSON);
    put_text(f, "a.json", "1\n2\n");
    open_source(f);
    poll_all(f);
    close_source(f);
    char *command = leat_asprintf("cp -a %s/a.json %s/b && mv %s/b %s/a.json", f->dir, f->dir, f->dir, f->dir);
    assert_int_equal(system(command), 0); /* another inode, same content and time */
    free(command);
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 2);
    destroy(f);
}

static void test_once(void **state) {
    (void)state;
    struct fixture *f = make("*.csv", LEAT_FORMAT_CSV);
    option(f, "mode", "once");
    put_text(f, "a.csv", "\xEF\xBB\xBFx,y\r\n1,\"a\nb\"\r\n\r\n2,c");
    put_text(f, "b.csv", "x,y\n3,d\n");
    put_text(f, "c.csv", "x,y\n");
    open_source(f);
    assert_false(f->connector->ops->finished(f->connector));
    poll_all(f);
    assert_true(f->connector->ops->finished(f->connector));
    assert_int_equal(f->connector->ops->next_poll_us(f->connector), -1);
    assert_int_equal(f->count, 3);
    assert_string_equal(f->header, "x,y");
    expect(f, 0, 1, 0, "1,\"a\nb\"");
    expect(f, 1, 1, 1, "2,c");
    expect(f, 2, 2, 0, "3,d");
    close_source(f);
    open_source(f); /* again: nothing new */
    poll_all(f);
    assert_int_equal(f->count, 3);
    assert_true(f->connector->ops->finished(f->connector));
    destroy(f);
}

/* Reads with small blocks, stops after each in turn, opens anew from the ends: the records must come out the same. */
static void check_resume(struct fixture *f) {
    open_source(f);
    poll_all(f);
    close_source(f);
    size_t total = f->count, end_count = f->end_count;
    struct got *all = f->got;
    (void)end_count;
    f->got = NULL;
    f->count = f->capacity = 0;
    for (size_t max = 16; max <= 4096; max = max * 3 + 1) {
        f->max_bytes = max;
        f->end_count = 0;
        f->damaged = 0;
        do {
            open_source(f);
            int given = poll_some(f, 1);
            close_source(f);
            if (!given) break;
        } while (f->count <= total);
        assert_int_equal(f->count, total);
        for (size_t i = 0; i < total; i++) {
            assert_int_equal(f->got[i].partition, all[i].partition);
            assert_int_equal(f->got[i].offset, all[i].offset);
            assert_int_equal(f->got[i].length, all[i].length);
            assert_memory_equal(f->got[i].bytes, all[i].bytes, all[i].length);
        }
        forget(f);
    }
    for (size_t i = 0; i < total; i++)
        free(all[i].bytes);
    free(all);
}

static void test_resume_everywhere(void **state) {
    (void)state;
    env.io = hasty_io();
    size_t length;
    char *lines = many_lines(120, &length), *packed = malloc(length * 3 + 1000);
    static const char csv[] = "a,b\n1,\"x\ny\"\n2,\"he said \"\"no\"\"\"\n\n3,\"stray\n4,ok\n5,\"\n\n\"\n6,last";
    for (int kind = 0; kind < 7; kind++) {
        struct fixture *f = make("*.data", kind >= 5 ? LEAT_FORMAT_CSV : LEAT_FORMAT_JSON);
        option(f, "mode", kind % 2 ? "once" : "tail");
        size_t n = 0;
        switch (kind) {
        case 0:
            put(f, "a.data", lines, length, LEAT_OPEN_TRUNCATE);
            break;
        case 1:
            put(f, "a.data", lines, length - 1, LEAT_OPEN_TRUNCATE);
            break;
        case 2: /* gzip, two members, cut in a record */
            n = gzip(lines, length / 2, packed, length * 3);
            n += gzip(lines + length / 2, length - length / 2, packed + n, length * 3 - n);
            put(f, "a.data", packed, n, LEAT_OPEN_TRUNCATE);
            break;
        case 3: /* zstd, three frames */
            for (size_t part = 0; part < 3; part++)
                n += zstd(lines + part * (length / 3), part == 2 ? length - 2 * (length / 3) : length / 3, packed + n,
                          length * 3 - n);
            put(f, "a.data", packed, n, LEAT_OPEN_TRUNCATE);
            break;
        case 4: /* damaged gzip: what came before the damage */
            n = gzip(lines, length, packed, length * 3);
            put(f, "a.data", packed, n * 2 / 3, LEAT_OPEN_TRUNCATE);
            break;
        default:
            n = gzip(csv, sizeof csv - 1, packed, length * 3);
            put(f, "a.data", packed, n, LEAT_OPEN_TRUNCATE);
            put(f, "b.data", csv, sizeof csv - 1, LEAT_OPEN_TRUNCATE);
        }
        check_resume(f);
        destroy(f);
    }
    free(packed);
    free(lines);
    env.io = leat_io_real();
}

/* Whatever the bytes are, the records do not depend on how reads fell, on restarts, or on when the file grew. */
static void test_random_content(void **state) {
    (void)state;
    env.io = hasty_io();
    static const char alphabet[] = "\n\n\r\"\",;ab\t |";
    struct leat_random random;
    leat_random_seed(&random, 77);
    for (int round = 0; round < 60; round++) {
        enum leat_format format = round % 3 ? LEAT_FORMAT_CSV : LEAT_FORMAT_JSON;
        size_t length = leat_random_below(&random, 6000), n = length;
        char *text = malloc(length + 1), *packed = malloc(length + 1000);
        uint64_t longest = leat_random_below(&random, 3) ? 3 : 3000; /* some with very long lines */
        for (size_t i = 0; i < length; i++) {
            text[i] = alphabet[leat_random_below(&random, sizeof alphabet - 1)];
            if (leat_random_below(&random, 200) == 0)
                for (uint64_t run = leat_random_below(&random, longest); run && i + 1 < length; run--)
                    text[++i] = 'x';
        }
        bool packs = leat_random_below(&random, 3) == 0;
        if (packs)
            n = gzip(text, length, packed, length + 1000);
        else
            memcpy(packed, text, length);
        struct fixture *f = make("a", format);
        option(f, "max_line_bytes", "1024");
        option(f, "mode", round % 2 ? "once" : "tail");
        option(f, "header", round % 4 < 2 ? "true" : "false");
        put(f, "a", packed, n, LEAT_OPEN_TRUNCATE);
        check_resume(f);
        destroy(f);
        if (!packs && round % 2 == 0) { /* growing by any number of bytes */
            struct fixture *whole = make("a", format), *grown = make("a", format);
            struct fixture *both[] = {whole, grown};
            for (int i = 0; i < 2; i++) {
                option(both[i], "max_line_bytes", "1024");
                option(both[i], "header", round % 4 < 2 ? "true" : "false");
                open_source(both[i]);
            }
            put(whole, "a", text, length, LEAT_OPEN_TRUNCATE);
            poll_all(whole);
            for (size_t at = 0; at < length;) {
                size_t step = 1 + leat_random_below(&random, 400);
                if (step > length - at) step = length - at;
                put(grown, "a", text + at, step, LEAT_OPEN_APPEND);
                poll_all(grown);
                at += step;
            }
            assert_int_equal(whole->count, grown->count);
            for (size_t i = 0; i < whole->count; i++) {
                assert_int_equal(whole->got[i].length, grown->got[i].length);
                assert_memory_equal(whole->got[i].bytes, grown->got[i].bytes, grown->got[i].length);
            }
            destroy(whole);
            destroy(grown);
        }
        free(text);
        free(packed);
    }
    env.io = leat_io_real();
}

static void test_compressed_growth_and_repair(void **state) {
    (void)state;
    size_t length;
    char *lines = many_lines(5000, &length), *packed = malloc(length + 1000);
    size_t n = gzip(lines, length, packed, length + 1000);
    struct fixture *f = make("*", LEAT_FORMAT_JSON);
    put(f, "bad.gz", packed, n / 2, LEAT_OPEN_TRUNCATE);
    put_text(f, "good", "1\n");
    open_source(f);
    poll_all(f);
    assert_int_equal(f->damaged, 1);
    assert_non_null(strstr(f->damage, "bad.gz"));
    assert_non_null(strstr(f->damage, "byte"));
    size_t some = f->count;
    assert_true(some > 1000 && some < 5000);
    expect(f, some - 1, 2, 0, "1"); /* others go on */
    poll_all(f);
    assert_int_equal(f->damaged, 1); /* told once */
    put(f, "bad.gz", packed + n / 2, n - n / 2, LEAT_OPEN_APPEND);
    poll_all(f);
    assert_int_equal(f->damaged, 1);
    assert_int_equal(f->count, 5001);
    expect(f, 5000, 1, 4999, strtok(strrchr(lines, '{'), "\n"));
    put(f, "bad.gz", packed, n, LEAT_OPEN_APPEND); /* another member */
    poll_all(f);
    assert_int_equal(f->count, 10001);
    put(f, "bad.gz", "trash", 5, LEAT_OPEN_APPEND);
    poll_all(f);
    assert_int_equal(f->damaged, 2);
    /* cut short, then replaced by the whole: goes on where it was */
    put(f, "late.gz", packed, n / 3, LEAT_OPEN_TRUNCATE);
    poll_all(f);
    assert_int_equal(f->damaged, 3);
    close_source(f);
    put(f, ".new", packed, n, LEAT_OPEN_TRUNCATE);
    move(f, ".new", "late.gz");
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 15001);
    assert_int_equal(f->got[15000].partition, 3);
    assert_int_equal(f->got[15000].offset, 4999);
    destroy(f);
    free(packed);
    free(lines);
}

/* A damaged frame or member: what came before the damage is given, the same however reads fall. */
static void test_damage_is_found_at_one_place(void **state) {
    (void)state;
    size_t length, room = 4 << 20;
    char *lines = many_lines(20000, &length), *packed = malloc(room);
    for (int kind = 0; kind < 4; kind++) {
        bool is_zstd = kind < 2, in_the_middle = kind & 1;
        size_t n = length;
        if (is_zstd) {
            ZSTD_CCtx *cctx = ZSTD_createCCtx();
            ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
            n = ZSTD_compress2(cctx, packed, room, lines, length);
            assert_false(ZSTD_isError(n));
            ZSTD_freeCCtx(cctx);
        } else
            n = gzip(lines, length, packed, room);
        packed[in_the_middle ? n / 2 : n - (is_zstd ? 1 : 5)] ^= 0x5A;
        size_t first = 0;
        for (size_t max = 4 << 20; max >= 1000; max /= 60) {
            struct fixture *f = make("*", LEAT_FORMAT_JSON);
            f->max_bytes = max;
            put(f, "a.z", packed, n, LEAT_OPEN_TRUNCATE);
            open_source(f);
            poll_all(f);
            assert_int_equal(f->damaged, 1);
            if (!first) first = f->count;
            assert_int_equal(f->count, first);
            if (!in_the_middle) {
                assert_int_equal(f->count, 20000);
                assert_non_null(strstr(f->damage, "the checksum is wrong"));
            }
            destroy(f);
        }
        assert_true(first > 100);
    }
    free(packed);
    free(lines);
}

static void test_bomb(void **state) {
    (void)state;
    size_t length = 64 << 20;
    char *zeros = calloc(1, length), *packed = malloc(1 << 20);
    for (size_t i = 1000; i < length; i += 1000)
        zeros[i] = '\n';
    for (int kind = 0; kind < 2; kind++) {
        struct fixture *f = make("*", LEAT_FORMAT_JSON);
        size_t n = kind ? zstd(zeros, length, packed, 1 << 20) : gzip(zeros, length, packed, 1 << 20);
        put(f, "a.z", packed, n, LEAT_OPEN_TRUNCATE);
        put_text(f, "b", "1\n");
        open_source(f);
        poll_all(f);
        assert_int_equal(f->damaged, 1);
        assert_non_null(strstr(f->damage, "max_decompressed_ratio"));
        assert_true(f->count > 1000 && f->count < 60000);
        assert_string_equal(f->got[f->count - 1].bytes, "1");
        destroy(f);
        f = make("*", LEAT_FORMAT_JSON);
        option(f, "max_decompressed_ratio", "100000");
        put(f, "a.z", packed, n, LEAT_OPEN_TRUNCATE);
        open_source(f);
        poll_all(f);
        assert_int_equal(f->damaged, 0);
        assert_int_equal(f->count, length / 1000 + 1);
        destroy(f);
    }
    free(packed);
    free(zeros);
}

static void test_long_lines(void **state) {
    (void)state;
    size_t length = 3 << 20;
    char *text = malloc(length + 100);
    for (int csv = 0; csv < 2; csv++)
        for (size_t max = 64; max <= 8 << 20; max *= 128) {
            struct fixture *f = make("a", csv ? LEAT_FORMAT_CSV : LEAT_FORMAT_JSON);
            option(f, "max_line_bytes", "2048");
            option(f, "header", "false");
            f->max_bytes = max;
            memset(text, 'x', length);
            text[5] = '\n';
            text[length - 6] = '\n';
            text[length - 1] = '\n';
            put(f, "a", text, length, LEAT_OPEN_TRUNCATE);
            open_source(f);
            poll_all(f);
            assert_int_equal(f->count, 3);
            expect(f, 0, 1, 0, "xxxxx");
            assert_int_equal(f->got[1].length, 2049);
            expect(f, 2, 1, 2, "xxxx");
            text[length - 1] = 'x'; /* one that is still being written */
            put(f, "a", text + 6, length - 12, LEAT_OPEN_APPEND);
            poll_all(f);
            assert_int_equal(f->count, 3);
            add_text(f, "a", "more");
            poll_all(f);
            assert_int_equal(f->count, 3);
            add_text(f, "a", "\nend\n");
            poll_all(f);
            assert_int_equal(f->count, 5);
            assert_int_equal(f->got[3].length, 2049);
            expect(f, 4, 1, 4, "end");
            destroy(f);
        }
    free(text);
}

/* What is only the beginning of a record never becomes a row, also where it would parse. */
static void test_long_csv_record_is_rejected(void **state) {
    (void)state;
    struct fixture *f = make("a", LEAT_FORMAT_CSV);
    struct leat_decoder *decoder = NULL;
    struct leat_changes rows;
    struct leat_block b;
    uint32_t records[8];
    const struct leat_reject *rejects;
    size_t reject_count;
    char *text = calloc(1, 5000);
    option(f, "max_line_bytes", "2048");
    leat_schema_add(&f->source.schema, "id", (struct leat_type){.kind = LEAT_BIGINT}, true);
    leat_schema_add(&f->source.schema, "note", (struct leat_type){.kind = LEAT_VARCHAR}, false);
    strcpy(text, "id,note\n1,");
    memset(text + strlen(text), 'x', 2046); /* just as long as allowed */
    strcpy(text + strlen(text), "\n2,");
    memset(text + strlen(text), 'y', 2047); /* one more */
    strcpy(text + strlen(text), "\n3,z\n");
    put_text(f, "a", text);
    open_source(f);
    ok(leat_decoder_open(&f->source, &decoder, &err));
    leat_changes_init(&rows, &f->source.schema);
    ok(f->connector->ops->poll(f->connector, 1 << 20, &b, &err));
    ok(leat_decode(decoder, &b, 0, b.record_count, &rows, records, NULL, &rejects, &reject_count, &err));
    assert_int_equal(rows.row_count, 2);
    assert_int_equal(reject_count, 1);
    assert_int_equal(rejects[0].record, 1);
    assert_non_null(strstr(rejects[0].reason, "max_line_bytes"));
    leat_changes_deinit(&rows);
    leat_decoder_close(decoder);
    leat_schema_deinit(&f->source.schema);
    free(text);
    destroy(f);
}

/* ---- a file replaced between being looked at and being opened; a folder that cannot be listed ---- */

static struct leat_io_ops hooked_ops;
static struct leat_io hooked_io;
static struct fixture *hook_fixture;
static int replace_in, fail_list; /* 1: at the next open of the file */

static enum leat_status hooked_open(struct leat_io *io, const char *path, enum leat_open_mode mode,
                                    struct leat_file **out, struct leat_error *e) {
    (void)io;
    size_t n = strlen(path);
    if (n > 2 && strcmp(path + n - 2, "/a") == 0 && replace_in && --replace_in == 0) move(hook_fixture, "new", "a");
    return leat_io_real()->ops->open(leat_io_real(), path, mode, out, e);
}

static enum leat_status hooked_list(struct leat_io *io, const char *path, bool (*visit)(void *, const char *),
                                    void *context, struct leat_error *e) {
    (void)io;
    if (fail_list) return leat_fail(e, LEAT_IO, "list %s: no", path);
    return leat_io_real()->ops->list(leat_io_real(), path, visit, context, e);
}

static void test_replaced_under_our_eyes(void **state) {
    (void)state;
    hooked_ops = *leat_io_real()->ops;
    hooked_ops.open = hooked_open;
    hooked_ops.list = hooked_list;
    hooked_io = (struct leat_io){.ops = &hooked_ops};
    for (int at = 1; at < 8; at++) {
        struct fixture *f = make("a*", LEAT_FORMAT_JSON);
        hook_fixture = f;
        put_text(f, "a", "old 1\nold 2\n");
        env.io = &hooked_io;
        open_source(f);
        poll_all(f);
        put_text(f, "new", "new 1\nnew 2\nnew 3\n");
        add_text(f, "a", "old 3\n");
        replace_in = at;
        for (int i = 0; i < 3; i++)
            poll_all(f);
        if (replace_in) move(f, "new", "a");
        replace_in = 0;
        poll_all(f);
        size_t old_count = 0, new_count = 0;
        for (size_t i = 0; i < f->count; i++) {
            bool is_new = strncmp(f->got[i].bytes, "new ", 4) == 0;
            char expected[16];
            snprintf(expected, sizeof expected, "%s %d", is_new ? "new" : "old", (int)f->got[i].offset + 1);
            assert_string_equal(f->got[i].bytes, expected);
            assert_int_equal(f->got[i].partition, is_new ? 2 : 1);
            *(is_new ? &new_count : &old_count) += 1;
        }
        assert_true(new_count == 3 && (old_count == 2 || old_count == 3));
        env.io = leat_io_real();
        destroy(f);
    }
    struct fixture *f = make("a*", LEAT_FORMAT_JSON); /* an unreadable folder stops nothing and loses nothing */
    put_text(f, "a", "1\n");
    env.io = &hooked_io;
    open_source(f);
    poll_all(f);
    fail_list = 1;
    poll_all(f);
    fail_list = 0;
    add_text(f, "a", "2\n");
    poll_all(f);
    assert_int_equal(f->count, 2);
    expect(f, 1, 1, 1, "2");
    env.io = leat_io_real();
    destroy(f);
}

static void test_csv_header_grows(void **state) {
    (void)state;
    struct fixture *f = make("a", LEAT_FORMAT_CSV);
    put_text(f, "a", "id,na");
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 0);
    add_text(f, "a", "me\n1,x\n");
    poll_all(f);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->header, "id,name");
    close_source(f);
    f->header[0] = 0;
    open_source(f);
    add_text(f, "a", "2,y\n");
    poll_all(f);
    expect(f, 1, 1, 1, "2,y");
    assert_string_equal(f->header, "id,name");
    destroy(f);
}

static void test_lost_table(void **state) {
    (void)state;
    struct fixture *f = make("a", LEAT_FORMAT_JSON);
    put_text(f, "a", "1\n");
    open_source(f);
    poll_all(f);
    close_source(f);
    char *path = leat_asprintf("%s/partitions.json", f->state);
    ok(env.io->ops->unlink(env.io, path, &err));
    assert_int_equal(
        leat_connector_file.open(&env, &f->source, f->dir, f->state, f->ends, f->end_count, &f->connector, &err),
        LEAT_CORRUPT);
    assert_null(f->connector);
    free(path);
    destroy(f);
}

static void test_real_data(void **state) {
    (void)state;
    struct leat_glob glob;
    ok(leat_glob_list(&env, LEAT_SOURCE_DIR, "../shared/data/online-retail/*.csv.gz", &glob, &err));
    if (!glob.path_count) {
        leat_glob_deinit(&glob);
        print_message("skipped: ../shared/data is not here\n");
        skip();
    }
    leat_glob_deinit(&glob);
    struct fixture *f = make(LEAT_SOURCE_DIR "/../shared/data/online-retail/*.csv.gz", LEAT_FORMAT_CSV);
    open_source(f);
    poll_all(f);
    assert_int_equal(f->count, 370931);
    assert_int_equal(f->damaged, 0);
    destroy(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_globs),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_new_incarnations),
        cmocka_unit_test(test_rotation_and_vanishing),
        cmocka_unit_test(test_moved_from_above),
        cmocka_unit_test(test_copied_project),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_resume_everywhere),
        cmocka_unit_test(test_random_content),
        cmocka_unit_test(test_compressed_growth_and_repair),
        cmocka_unit_test(test_damage_is_found_at_one_place),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_long_csv_record_is_rejected),
        cmocka_unit_test(test_replaced_under_our_eyes),
        cmocka_unit_test(test_csv_header_grows),
        cmocka_unit_test(test_lost_table),
        cmocka_unit_test(test_real_data),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
