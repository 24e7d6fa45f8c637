/* What the file sink takes for written after power was lost in the midst of its last write. */
#include "scratch.h"

#include "base/limits.h"
#include "connect/sink.h"

struct file {
    struct leat_env env;
    struct leat_sink_def def;
    struct leat_option option;
    struct leat_sink_context context;
    struct leat_sink *sink;
    char *dir, *path;
};

static void file_init(struct file *f) {
    *f = (struct file){.dir = scratch_make()};
    leat_env_real(&f->env);
    f->path = leat_asprintf("%s/told.ndjson", f->dir);
    f->option = (struct leat_option){.name = (char *)"path", .value = f->path};
    f->def = (struct leat_sink_def){.name = (char *)"told", .options = &f->option, .option_count = 1};
    f->context = (struct leat_sink_context){.env = &f->env, .def = &f->def, .project_dir = f->dir, .identity = "me"};
    OK(leat_sink_file.open(&f->context, &f->sink, oops));
}

static void file_deinit(struct file *f) {
    leat_sink_file.close(f->sink);
    scratch_remove(f->dir);
    free(f->path);
}

/* Lines of these sequences, `width` bytes each. */
static void put_lines(struct leat_buffer *out, uint64_t from, uint64_t to, int width) {
    for (uint64_t i = from; i <= to; i++) leat_putf(out, "{\"id\":\"me-%08llu\",\"v\":\"%0*d\"}\n", (unsigned long long)i, width - 28, 0);
}

/* The file has these bytes; the sink must find `sequence` and leave `size` of them. */
static void expect(struct file *f, const struct leat_buffer *bytes, uint64_t sequence, uint64_t size) {
    struct leat_stat stat;
    uint64_t found;
    OK(leat_io_write_durable(f->env.io, f->path, bytes->data, bytes->length, true, oops));
    OK(leat_sink_file.progress(f->sink, NULL, &found, oops));
    assert_int_equal(found, sequence);
    OK(f->env.io->ops->stat(f->env.io, f->path, &stat, oops));
    assert_int_equal(stat.size_bytes, size);
}

static void whole_and_cut_short(void **state) {
    (void)state;
    struct file f;
    struct leat_buffer bytes = {0};
    file_init(&f);
    put_lines(&bytes, 1, 5, 100);
    expect(&f, &bytes, 5, 500);
    bytes.length -= 30;
    expect(&f, &bytes, 4, 400);
    bytes.length = 60;
    expect(&f, &bytes, 0, 0);
    leat_buffer_deinit(&bytes);
    file_deinit(&f);
}

/* A page of the last write is missing, those behind it are there. */
static void a_hole(void **state) {
    (void)state;
    struct file f;
    struct leat_buffer bytes = {0};
    file_init(&f);
    put_lines(&bytes, 1, 200, 100);
    memset(bytes.data + 8192, 0, 4096);
    expect(&f, &bytes, 81, 8100);
    leat_buffer_deinit(&bytes);
    /* As far from the end as a write can begin, in a file of which most was synced long ago. */
    const uint64_t lines = LEAT_DELIVERY_BYTES_MAX / 1000 + 5000;
    put_lines(&bytes, 1, lines, 1000);
    memset(bytes.data + bytes.length - LEAT_DELIVERY_BYTES_MAX + 2500, 0, 100);
    uint64_t hole = (bytes.length - LEAT_DELIVERY_BYTES_MAX + 2500) / 1000;
    expect(&f, &bytes, hole, hole * 1000);
    leat_buffer_deinit(&bytes);
    file_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_and_cut_short), cmocka_unit_test(a_hole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
