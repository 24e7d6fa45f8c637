/* What the Delta tests share: a scratch folder, a DuckDB batch connection, small helpers. */
#ifndef LEAT_TESTS_DELTA_SUPPORT_H
#define LEAT_TESTS_DELTA_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lake/delta_internal.h"

struct fixture {
    struct leat_env env;
    struct leat_duck *duck;
    struct leat_conn *conn;
    struct leat_error err;
    char *root, *table, *scratch;
};

static void silent(struct leat_env *env, enum leat_log_level level, const char *line) {
    (void)env, (void)level, (void)line;
}

static inline int fixture_up(void **state) {
    char template[] = "/tmp/leat-delta-XXXXXX";
    struct fixture *f = calloc(1, sizeof *f);
    leat_env_real(&f->env);
    f->env.log = silent;
    f->root = strdup(mkdtemp(template));
    f->table = leat_asprintf("%s/table", f->root);
    f->scratch = leat_asprintf("%s/scratch", f->root);
    struct leat_duck_options options = {.use = LEAT_DUCK_BATCH};
    if (leat_duck_open(&options, &f->duck, &f->err) != LEAT_OK ||
        leat_conn_open(f->duck, &f->conn, &f->err) != LEAT_OK) {
        fprintf(stderr, "%s\n", f->err.text);
        return -1;
    }
    *state = f;
    return 0;
}

static inline int fixture_down(void **state) {
    struct fixture *f = *state;
    leat_conn_close(f->conn);
    leat_duck_close(f->duck);
    int failed = leat_io_remove_tree(f->env.io, f->root, NULL) != LEAT_OK;
    free(f->root);
    free(f->table);
    free(f->scratch);
    free(f);
    return failed;
}

static inline void must(struct fixture *f, enum leat_status status) {
    if (status != LEAT_OK) fail_msg("%s: %s", leat_status_name(status), f->err.text);
}

static inline void must_fail(struct fixture *f, enum leat_status status, enum leat_status wanted, const char *text) {
    if (status != wanted)
        fail_msg("%s, not %s: %s", leat_status_name(status), leat_status_name(wanted), status ? f->err.text : "");
    if (text && !strstr(f->err.text, text)) fail_msg("\"%s\" does not say \"%s\"", f->err.text, text);
}

/* Writes one commit file of a hand-made log. */
static inline void put_log(struct fixture *f, int64_t version, const char *text) {
    char *dir = leat_asprintf("%s/_delta_log", f->table), *path = leat_delta_commit_path(f->table, version);
    must(f, leat_io_mkdirs(f->env.io, dir, &f->err));
    must(f, leat_io_write_durable(f->env.io, path, text, strlen(text), true, &f->err));
    free(dir);
    free(path);
}

static inline int64_t count_sql(struct fixture *f, const char *format, ...) {
    va_list args;
    char *sql = NULL;
    int64_t n = -1;
    va_start(args, format);
    assert_true(vasprintf(&sql, format, args) >= 0);
    va_end(args);
    must(f, leat_conn_int(f->conn, sql, &n, &f->err));
    free(sql);
    return n;
}

#endif
