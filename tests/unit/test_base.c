/* Errors, memory, text building, clocks, random numbers, log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include "base/env.h"
#include "sim/clock.h"

static void errors_say_what_and_why(void **state) {
    (void)state;
    struct leat_error err = {.fatal = true, .retriable = true};
    assert_int_equal(leat_fail(&err, LEAT_LIMIT, "%d of %s", 3, "them"), LEAT_LIMIT);
    assert_string_equal(err.text, "3 of them");
    assert_false(err.fatal || err.retriable || err.bad_data);
    err.bad_data = true;
    assert_int_equal(leat_prepend(&err, "reading %s", "x"), LEAT_LIMIT);
    assert_string_equal(err.text, "reading x: 3 of them");
    assert_true(err.bad_data);
    assert_int_equal(leat_fail(&err, LEAT_INVALID, "[%s]", err.text), LEAT_INVALID);
    assert_string_equal(err.text, "[reading x: 3 of them]");
    assert_int_equal(leat_fail(NULL, LEAT_BUSY, "nobody listens"), LEAT_BUSY);
    assert_int_equal(leat_prepend(NULL, "nobody"), LEAT_INVALID);
    static const struct {
        int number;
        enum leat_status status;
    } maps[] = {
        {ENOSPC, LEAT_NO_SPACE}, {EDQUOT, LEAT_NO_SPACE},  {ENOENT, LEAT_NOT_FOUND},
        {EEXIST, LEAT_EXISTS},   {ENOMEM, LEAT_NO_MEMORY}, {EIO, LEAT_IO},
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        errno = maps[i].number;
        assert_int_equal(leat_fail_errno(&err, "open", "a/b"), maps[i].status);
        assert_int_equal(errno, maps[i].number);
    }
    assert_string_equal(err.text, "open a/b: Input/output error");
    assert_string_equal(leat_status_name(LEAT_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(leat_status_name((enum leat_status)99), "UNKNOWN");
}

static void long_errors_stay_within_bounds(void **state) {
    (void)state;
    struct leat_error err;
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    leat_fail(&err, LEAT_IO, "%s", longer);
    assert_int_equal(strlen(err.text), LEAT_ERROR_TEXT_SIZE - 1);
    leat_prepend(&err, "front");
    assert_int_equal(strlen(err.text), LEAT_ERROR_TEXT_SIZE - 1);
    assert_memory_equal(err.text, "front: xxx", 10);
    leat_prepend(&err, "%s", longer);
    assert_int_equal(strlen(err.text), LEAT_ERROR_TEXT_SIZE - 1);
}

/* They end up in JSON: a text cut in the midst of a character, or one that quotes a file, is UTF-8 all the same. */
static void errors_are_utf8(void **state) {
    (void)state;
    struct leat_error err;
    char longer[3000] = "x";
    for (size_t i = 1; i + 2 < sizeof longer; i += 2) memcpy(longer + i, "\xC3\xA9", 3);
    leat_fail(&err, LEAT_IO, "x%s", longer);
    assert_int_equal(strlen(err.text), LEAT_ERROR_TEXT_SIZE - 1);
    assert_string_equal(err.text + LEAT_ERROR_TEXT_SIZE - 4, "\xC3\xA9?");
    leat_fail(&err, LEAT_IO, "%s", longer);
    assert_string_equal(err.text + LEAT_ERROR_TEXT_SIZE - 3, "\xC3\xA9");
    leat_prepend(&err, "y");
    assert_string_equal(err.text + LEAT_ERROR_TEXT_SIZE - 4, "\xC3\xA9?");
    leat_fail(&err, LEAT_IO, "%s", "a\xFFz\xE2\x82\xAC\xED\xA0\x80");
    assert_string_equal(err.text, "a?z\xE2\x82\xAC???");
}

static void buffers_hold_their_maximum(void **state) {
    (void)state;
    struct leat_buffer b = {.max_bytes = 10};
    struct leat_error err;
    assert_int_equal(leat_buffer_add(&b, "12345", 5, &err), LEAT_OK);
    assert_int_equal(leat_buffer_add(&b, "678901", 6, &err), LEAT_LIMIT);
    assert_int_equal(b.length, 5);
    assert_string_equal(b.data, "12345");
    assert_int_equal(leat_buffer_add(&b, "67890", 5, &err), LEAT_OK);
    assert_int_equal(leat_buffer_add(&b, NULL, 0, &err), LEAT_OK);
    assert_string_equal(b.data, "1234567890");
    assert_int_equal(leat_buffer_reserve(&b, SIZE_MAX, &err), LEAT_NO_MEMORY);
    leat_buffer_reset(&b);
    assert_string_equal(b.data, "");
    leat_buffer_deinit(&b);
    assert_null(b.data);
    leat_put(&b, "again");
    assert_string_equal(b.data, "again");
    leat_buffer_deinit(&b);
}

static void text_is_quoted(void **state) {
    (void)state;
    struct leat_buffer b = {0};
    leat_put_sql_string(&b, "it's '' x");
    leat_put(&b, " ");
    leat_put_sql_name(&b, "a\"b");
    leat_put(&b, " ");
    leat_put_json_string(&b, "\"\\\n\r\t\x01\0z", 8);
    assert_string_equal(b.data, "'it''s '''' x' \"a\"\"b\" \"\\\"\\\\\\n\\r\\t\\u0001\\u0000z\"");
    leat_buffer_reset(&b);
    /* Good UTF-8 passes; overlong, surrogate, too high, cut off do not. */
    static const char text[] = "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80|\xC0\xAF|\xED\xA0\x80|\xF4\x90\x80\x80|\xE2\x82";
    leat_put_json_string(&b, text, sizeof text - 1);
#define BAD "\xEF\xBF\xBD"
    assert_string_equal(b.data, "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80|" BAD BAD "|" BAD BAD BAD "|" BAD BAD BAD BAD
                                "|" BAD BAD "\"");
    leat_buffer_deinit(&b);
    char *text2 = leat_asprintf("%s-%d", "x", 5);
    assert_string_equal(text2, "x-5");
    free(text2);
    text2 = leat_strndup("ab\0cd", 5);
    assert_string_equal(text2, "ab");
    free(text2);
}

static void arenas_align_and_keep_blocks(void **state) {
    (void)state;
    struct leat_arena a = {0};
    leat_arena_reset(&a);
    for (int round = 0; round < 3; round++) {
        struct leat_random random;
        leat_random_seed(&random, 1);
        for (int i = 0; i < 2000; i++) {
            size_t size = (size_t)leat_random_below(&random, i % 100 == 0 ? 300000 : 300);
            unsigned char *block = leat_arena_alloc(&a, size);
            assert_int_equal((uintptr_t)block % 16, 0);
            memset(block, i, size);
        }
        assert_string_equal(leat_arena_printf(&a, "%s %d", "text", round), round == 0   ? "text 0"
                                                                           : round == 1 ? "text 1"
                                                                                        : "text 2");
        assert_string_equal(leat_arena_copy(&a, "abc", 2), "ab");
        assert_true(a.used_bytes > 300000);
        leat_arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    leat_arena_deinit(&a);
    assert_string_equal(leat_arena_copy(&a, NULL, 0), "");
    leat_arena_deinit(&a);
}

static void random_numbers_are_the_published_ones(void **state) {
    (void)state;
    /* xoshiro256** from state 1, 2, 3, 4: the sequence of the authors' C code. */
    struct leat_random random = {{1, 2, 3, 4}};
    static const uint64_t want[] = {11520, 0, 1509978240, 1215971899390074240u};
    for (size_t i = 0; i < 4; i++)
        assert_true(leat_random_next(&random) == want[i]);
    /* splitmix64 from 1234567: its published test values. */
    leat_random_seed(&random, 1234567);
    assert_true(random.s[0] == 6457827717110365317u && random.s[1] == 3203168211198807973u);
    uint64_t seen[7] = {0};
    for (int i = 0; i < 7000; i++)
        seen[leat_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 800, 1200);
    assert_int_equal(leat_random_below(&random, 1), 0);
    for (int i = 0; i < 1000; i++) {
        double unit = leat_random_unit(&random);
        assert_true(unit >= 0 && unit < 1);
    }
    char uuid[37], other[37];
    leat_random_uuid(&random, uuid);
    leat_random_uuid(&random, other);
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(uuid[14], '4');
    assert_non_null(strchr("89ab", uuid[19]));
    assert_string_not_equal(uuid, other);
}

static void nothing(int number) {
    (void)number;
}

static void the_real_clock_wakes_early_when_asked(void **state) {
    (void)state;
    struct leat_clock *real = leat_clock_real(), clock = *real;
    int64_t before = real->monotonic_us(real);
    real->sleep_until(real, before + 2000);
    assert_true(real->monotonic_us(real) >= before + 2000);
    real->sleep_until(real, before - 5); /* past: returns */
    assert_true(real->now_us(real) > 1700000000000000);
    /* A wake fd that is readable: an hour's sleep returns at once (else the test's time-out would say so). */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    clock.context = &ends[0];
    clock.sleep_until(&clock, clock.monotonic_us(&clock) + 3600000000);
    close(ends[0]);
    close(ends[1]);
    /* So does an alarm that went off before, also with descriptors to wait for. */
    struct leat_clock *alarmed = leat_clock_with_alarm();
    int never_readable[2];
    assert_int_equal(pipe(never_readable), 0);
    leat_clock_alarm();
    leat_clock_wait(alarmed, alarmed->monotonic_us(alarmed) + 3600000000, never_readable, 1);
    alarmed->sleep_until(alarmed, alarmed->monotonic_us(alarmed) + 3600000000);
    close(never_readable[0]);
    close(never_readable[1]);
    /* A signal does too. */
    struct sigaction act = {.sa_handler = nothing}, old;
    sigaction(SIGALRM, &act, &old);
    struct itimerval soon = {.it_value = {.tv_usec = 1000}, .it_interval = {.tv_usec = 1000}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &soon, NULL);
    real->sleep_until(real, real->monotonic_us(real) + 3600000000);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
}

static int64_t wake_at_ten(struct leat_sim_clock *sim, int64_t deadline_us) {
    int64_t *event_us = sim->context;
    return *event_us < deadline_us ? *event_us : deadline_us;
}

static void virtual_clocks_jump(void **state) {
    (void)state;
    int64_t now_us = 100;
    struct leat_clock clock;
    leat_clock_virtual_init(&clock, &now_us);
    clock.sleep_until(&clock, 500);
    assert_int_equal(clock.now_us(&clock), 500);
    clock.sleep_until(&clock, 400);
    assert_int_equal(clock.monotonic_us(&clock), 500);

    struct leat_sim_clock sim;
    leat_sim_clock_init(&sim, 1700000000000000);
    struct leat_clock *c = &sim.clock;
    assert_int_equal(c->now_us(c), 1700000000000000);
    int64_t start = c->monotonic_us(c), event_us = start + 10;
    sim.on_sleep = wake_at_ten;
    sim.context = &event_us;
    c->sleep_until(c, start + 50);
    assert_int_equal(c->monotonic_us(c), start + 10);
    assert_int_equal(c->now_us(c), 1700000000000010);
    event_us = INT64_MAX;
    c->sleep_until(c, start + 50);
    c->sleep_until(c, start + 50);
    assert_int_equal(c->monotonic_us(c), start + 50);
    assert_int_equal(sim.sleep_count, 2);
    leat_sim_clock_set_wall(&sim, 1600000000000000);
    assert_int_equal(c->monotonic_us(c), start + 50);
    leat_sim_clock_advance(&sim, 7);
    assert_int_equal(c->now_us(c), 1600000000000007);
    assert_int_equal(c->monotonic_us(c), start + 57);
}

static void keep_line(struct leat_env *env, enum leat_log_level level, const char *line) {
    leat_putf(env->log_context, "%d:%zu:%.12s|", (int)level, strlen(line), line);
}

static void log_lines_are_single_lines(void **state) {
    (void)state;
    struct leat_buffer lines = {0};
    struct leat_env env;
    leat_env_real(&env);
    assert_true(env.random.s[0] || env.random.s[1]);
    env.log = keep_line;
    env.log_context = &lines;
    leat_log(&env, LEAT_LOG_DEBUG, "hidden");
    leat_log(&env, LEAT_LOG_WARN, "a\nb\x1b[%d", 5);
    char longer[9000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    leat_log(&env, LEAT_LOG_ERROR, "%s", longer);
    assert_string_equal(lines.data, "2:6:a b [5|3:4095:xxxxxxxxxxxx|");
    leat_buffer_deinit(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_what_and_why),
        cmocka_unit_test(long_errors_stay_within_bounds),
        cmocka_unit_test(errors_are_utf8),
        cmocka_unit_test(buffers_hold_their_maximum),
        cmocka_unit_test(text_is_quoted),
        cmocka_unit_test(arenas_align_and_keep_blocks),
        cmocka_unit_test(random_numbers_are_the_published_ones),
        cmocka_unit_test(the_real_clock_wakes_early_when_asked),
        cmocka_unit_test(virtual_clocks_jump),
        cmocka_unit_test(log_lines_are_single_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
