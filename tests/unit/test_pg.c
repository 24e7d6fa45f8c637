/* What is said of a connection string that libpq cannot read as it is meant: never the password. tests/peers has the real server. */
#include "scratch.h"

#include "connect/pg.h"
#include "connect/postgres.h"

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
        assert_int_equal(leat_postgres_connect(env.clock, cases[i].dsn, false, 1000000, &other, &more), LEAT_IO);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_dsn_is_told_without_its_password), cmocka_unit_test(a_dsn_that_is_whole_is_tried)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
