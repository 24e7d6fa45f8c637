#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/sample.h"
#include "cli/cli.h"

enum { COPY_BYTES = 1 << 20 };

static const char EXAMPLE[] = "{\"event_id\":\"a\",\"order_id\":1,\"amount\":12.50,\"status\":\"placed\",\"event_time\":\"2026-01-01T08:00:00Z\"}\n"
                              "{\"event_id\":\"b\",\"order_id\":2,\"amount\":40.00,\"status\":\"placed\",\"event_time\":\"2026-01-01T08:00:03Z\"}\n"
                              "{\"event_id\":\"c\",\"order_id\":1,\"amount\":12.50,\"status\":\"paid\",\"event_time\":\"2026-01-01T08:00:02Z\"}\n"
                              "{\"event_id\":\"d\",\"order_id\":3,\"amount\":8.75,\"status\":\"placed\",\"event_time\":\"2026-01-01T08:01:00Z\"}\n"
                              "{\"event_id\":\"e\",\"order_id\":2,\"amount\":40.00,\"status\":\"paid\",\"event_time\":\"2026-01-01T08:01:10Z\"}\n";

static enum leat_status copy_file(struct leat_io *io, const char *from, const char *to, struct leat_error *err) {
    struct leat_file *in = NULL, *out = NULL;
    char *bytes = leat_alloc(COPY_BYTES);
    size_t got = 1;
    uint64_t at = 0;
    enum leat_status st = io->ops->open(io, from, LEAT_OPEN_READ, &in, err);
    if (st == LEAT_OK) st = io->ops->open(io, to, LEAT_OPEN_CREATE, &out, err);
    for (; st == LEAT_OK && got; at += got) {
        st = io->ops->read_at(in, at, bytes, COPY_BYTES, &got, err);
        if (st == LEAT_OK && got) st = io->ops->write(out, bytes, got, err);
    }
    if (st == LEAT_OK) st = io->ops->sync(out, err);
    if (in) io->ops->close(in);
    if (out) io->ops->close(out);
    free(bytes);
    return st;
}

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum leat_status look(const char *path, const char *source, struct leat_sample *sample, struct leat_error *err) {
    struct leat_duck_options options = {.use = LEAT_DUCK_STEP, .threads = 1}; /* STEP keeps the order of the file */
    struct leat_duck *duck = NULL;
    struct leat_conn *conn = NULL;
    enum leat_status st = leat_duck_open(&options, &duck, err);
    if (st == LEAT_OK) st = leat_conn_open(duck, &conn, err);
    if (st == LEAT_OK) st = leat_sample_look(conn, path, source, sample, err);
    if (conn) leat_conn_close(conn);
    if (duck) leat_duck_close(duck);
    return st;
}

/* "orders-2026.ndjson.gz": the source is orders, its files in/orders*.ndjson.gz, so that the next day's file is found too. */
static void names_of(const char *file, char **source, char **pattern) {
    const char *dot = strchr(file, '.'), *end = dot && dot > file ? dot : file + strlen(file);
    size_t n = strcspn(file, ".-_0123456789"), stem = n > 1 ? n : (size_t)(end - file);
    while (file[stem] == '_' && file + stem + 1 < end && strcspn(file + stem + 1, ".-_0123456789") > 1) /* order_events */
        stem += 1 + strcspn(file + stem + 1, ".-_0123456789");
    char *word = leat_strndup(file, stem);
    *pattern = leat_asprintf("in/%s*%s", word, end);
    *source = word;
}

static enum leat_status write_project(struct leat_cli *cli, const char *dir, const char *sample_path, const char *file, struct leat_error *err) {
    struct leat_io *io = cli->env.io;
    struct leat_sample sample = {0};
    struct leat_buffer text = {0};
    char *in = leat_asprintf("%s/in", dir), *to = leat_asprintf("%s/%s", in, file), *project = leat_asprintf("%s/project.sql", dir);
    char *source = NULL, *pattern = NULL;
    names_of(file, &source, &pattern);
    enum leat_status st = sample_path ? look(sample_path, source, &sample, err) : LEAT_OK; /* first: a bad sample leaves no folder */
    if (st == LEAT_OK) st = leat_io_mkdirs(io, in, err);
    if (st == LEAT_OK && sample_path) st = copy_file(io, sample_path, to, err);
    if (st == LEAT_OK && !sample_path) st = leat_io_write_durable(io, to, EXAMPLE, sizeof EXAMPLE - 1, false, err);
    if (st == LEAT_OK && !sample_path) st = look(to, source, &sample, err);
    if (st == LEAT_OK) {
        leat_sample_project(&sample, pattern, file, &text);
        st = leat_io_write_durable(io, project, text.data, text.length, false, err);
    }
    if (st == LEAT_OK && !cli->json)
        printf("%s/project.sql: source %s, %lld records looked at; %s/in has the sample\n\n"
               "  cd %s && leat check && leat run --once --all && leat status\n", dir, sample.source, (long long)sample.rows, dir, dir);
    leat_sample_deinit(&sample);
    leat_buffer_deinit(&text);
    free(in);
    free(to);
    free(project);
    free(source);
    free(pattern);
    return st;
}

static int run(struct leat_cli *cli) {
    struct leat_error err = {0};
    const char *dir = cli->arguments[0], *sample = cli->argument_count > 1 ? cli->arguments[1] : NULL;
    if (leat_io_exists(cli->env.io, dir)) {
        fprintf(stderr, "leat new: %s is there already; choose another name\n", dir);
        return LEAT_EXIT_USAGE;
    }
    struct leat_stat stat = {0};
    if (sample && (cli->env.io->ops->stat(cli->env.io, sample, &stat, &err) != LEAT_OK || stat.is_dir)) {
        fprintf(stderr, stat.is_dir ? "leat new: %s is a folder; name one file of it as the sample\n" : "leat new: there is no file %s\n", sample);
        return LEAT_EXIT_USAGE;
    }
    enum leat_status st = write_project(cli, dir, sample, sample ? base_of(sample) : "events.ndjson", &err);
    return st == LEAT_OK ? LEAT_EXIT_OK : leat_cli_failed(&err);
}

const struct leat_command leat_command_new = {
    .name = "new", .arguments = "FOLDER [SAMPLE]", .min_arguments = 1, .max_arguments = 2, .summary = "write a project from a sample of your data",
    .prose = "Makes FOLDER with project.sql and the sample in FOLDER/in. SAMPLE: a .csv or .tsv with a header, or JSON objects one a line, also\n"
             "compressed. Types, key and watermark are guessed from it, and comments say on what each guess rests; the project runs at once.\n"
             "Without SAMPLE: a small example.",
    .run = run,
};
