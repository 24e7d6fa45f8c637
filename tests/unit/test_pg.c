/* What is said of a connection string that libpq cannot read as it is meant: never the password; and a server that says nothing. tests/peers has the real
 * one. */
#include "scratch.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "connect/connector.h"
#include "connect/pg.h"
#include "connect/postgres.h"
#include "project/project.h"

static void a_dsn_is_told_without_its_password(void **state) {
    (void)state;
    static const struct { const char *dsn, *why; } cases[] = {
        {"postgresql://u:sec%zzret@127.0.0.1:1/db", "percent-encoded"},
        {"postgres://u:sec/ret:1@127.0.0.1:1/db", "percent-encoded"},
        {"postgresql://u:s@cret@127.0.0.1:1/db", "percent-encoded"},
        {"host=127.0.0.1 port=1 password=my secret", "stand in '...'"},
        {"host=127.0.0.1 port=1 password='secret", "stand in '...'"},
        {"host=127.0.0.1 port=1 password='s' secret=", "stand in '...'"},
    };
    struct leat_env env;
    leat_env_real(&env);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct leat_pg pg = {.env = &env, .timeout_us = 1000000};
        struct leat_postgres *other;
        struct leat_error err = {0}, more = {0};
        assert_int_equal(leat_pg_connect(&pg, cases[i].dsn, &err), LEAT_IO);
        assert_int_equal(leat_postgres_connect(env.clock, cases[i].dsn, false, 1000000, NULL, &other, &more), LEAT_IO);
        assert_true(err.retriable && more.retriable);
        assert_null(other);
        if (!strstr(err.text, cases[i].why) || strstr(err.text, "sec") || strstr(err.text, "cret")) fail_msg("%s", err.text);
        if (!strstr(more.text, cases[i].why) || strstr(more.text, "sec") || strstr(more.text, "cret")) fail_msg("%s", more.text);
        leat_pg_close(&pg);
    }
}

static void a_dsn_that_is_whole_is_tried(void **state) {
    (void)state;
    static const char *const cases[] = {"postgresql://u:p%40%2F@127.0.0.1:1/db", "host=127.0.0.1,127.0.0.1 port=1,1 password='a b\\'c'", "nowhere", "", "dbname=x host=@sock"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = NULL;
        assert_true(leat_pg_dsn_is_whole(cases[i], &why));
    }
}

/* A port where connections are taken, and nothing is ever answered. */
static int silent_port(int *listener) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*listener, (struct sockaddr *)&at, size) | getsockname(*listener, (struct sockaddr *)&at, &size) | listen(*listener, 8), 0);
    return ntohs(at.sin_port);
}

static void *halt_soon(void *connector) {
    usleep(200000);
    (*(struct leat_connector_ops *const *)connector)->halt(connector, true);
    return NULL;
}

/* Polls a source of the silent server. How long that took, in milliseconds. */
static int64_t poll_silent(struct leat_env *env, const char *dir, const char *options, bool halted, enum leat_status expected) {
    int listener, port = silent_port(&listener);
    struct leat_diagnostics diags = {0};
    struct leat_connector *connector;
    struct leat_block block;
    struct leat_error err = {0};
    pthread_t halts;
    char *text = leat_asprintf("CREATE SOURCE s (id BIGINT PRIMARY KEY, at TIMESTAMP) WITH (connector = 'postgres', dsn = 'host=127.0.0.1 port=%d', \"table\" = 't', %s);", port, options);
    struct leat_project *project = leat_project_parse("p.sql", text, strlen(text), &diags);
    if (diags.count) fail_msg("%s", diags.items[0].message);
    const struct leat_source *source = &project->sources[0];
    OK(leat_connector_of(source)->open(env, source, dir, dir, NULL, 0, &connector, oops));
    int64_t from = env->clock->monotonic_us(env->clock);
    if (halted) assert_int_equal(pthread_create(&halts, NULL, halt_soon, connector), 0);
    assert_int_equal(connector->ops->poll(connector, 1000000, &block, &err), expected);
    int64_t took = env->clock->monotonic_us(env->clock) - from;
    if (halted) pthread_join(halts, NULL);
    connector->ops->close(connector);
    leat_project_free(project);
    leat_diagnostics_deinit(&diags);
    free(text);
    close(listener);
    return took / 1000;
}

static void a_server_that_says_nothing(void **state) {
    struct leat_env env;
    char *scratch = scratch_make();
    (void)state;
    leat_env_real(&env);
    assert_in_range(poll_silent(&env, scratch, "slot = 's', timeout = '1 second'", false, LEAT_IO), 900, 5000); /* not the ten seconds of those who give it more */
    assert_in_range(poll_silent(&env, scratch, "slot = 's'", true, LEAT_END), 190, 5000); /* a stop does not wait for it */
    assert_in_range(poll_silent(&env, scratch, "\"cursor\" = 'at'", true, LEAT_END), 190, 5000);
    scratch_remove(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_dsn_is_told_without_its_password), cmocka_unit_test(a_dsn_that_is_whole_is_tried),
                                       cmocka_unit_test(a_server_that_says_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
