/* HOP and SESSION: which windows there are, told by hand; and that windows are final when they are shown. That stream, batch and
 * verify agree about them is test_same_answer's and the property test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_world.h"

#define SOURCE(delay)                                                                                                       \
    "CREATE SOURCE e (id VARCHAR NOT NULL, k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL " delay " SECOND)\n" \
    "WITH (connector = 'file', path = 'in/e.ndjson', format = 'json');\n"

static void event(struct world *w, const char *id, const char *k, const char *time) {
    char *line = leat_asprintf(time ? "{\"id\":\"%s\",\"k\":\"%s\",\"ts\":\"%s\"}\n" : "{\"id\":\"%s\",\"k\":\"%s\"}\n", id, k, time);
    put(w, "in/e.ndjson", line, "a");
    free(line);
}

static void expect(struct world *w, const char *table, const char *expected) {
    char *sql = leat_asprintf("SELECT string_agg(coalesce(strftime(window_start, '%%H:%%M:%%S-') || strftime(window_end, '%%H:%%M:%%S'), 'never') "
                              "|| ' ' || ids, ', ' ORDER BY window_start NULLS LAST, ids) FROM %s",
                              table);
    char *text = text_of(w, sql);
    assert_string_equal(text, expected);
    free(text);
    free(sql);
}

#define IDS " SELECT window_start, window_end, string_agg(id, '' ORDER BY id) AS ids FROM "

static void hops_overlap(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE("'600'"),
               "CREATE MATERIALIZED TABLE h FRESHNESS = INTERVAL '1' SECOND AS" IDS
               "HOP(e, ts, INTERVAL '1' MINUTE, INTERVAL '3' MINUTE) GROUP BY ALL;\n"
               "CREATE MATERIALIZED TABLE shifted SCHEDULE CRON '0 2 * * *' AS" IDS
               "HOP(e, ts, INTERVAL '2' MINUTE, INTERVAL '2' MINUTE, TIMESTAMP '2000-01-01 00:00:30') GROUP BY ALL;\n"
               "CREATE MATERIALIZED TABLE each FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS SELECT DISTINCT ON (id, ts) id, ts FROM e;\n"
               "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT id, ts FROM e;\n");
    event(w, "a", "x", "1969-12-31 23:59:59.999999");
    event(w, "b", "x", "1970-01-01 00:00:00");
    event(w, "c", "x", "1970-01-01 00:01:00");
    event(w, "d", "x", NULL);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect(w, "h", "23:57:00-00:00:00 a, 23:58:00-00:01:00 ab, 23:59:00-00:02:00 abc, 00:00:00-00:03:00 bc, 00:01:00-00:04:00 c, never d");
    expect(w, "shifted", "23:58:30-00:00:30 ab, 00:00:30-00:02:30 c, never d");
    expect_text(w, "SELECT string_agg(id, '' ORDER BY id) || count(ts) FROM each", "abcd3");
    expect_text(w, "SELECT string_agg(id, '' ORDER BY id) || count(ts) FROM nightly", "abcd3");
    world_deinit(w);
}

static void sessions_end_with_a_gap(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCE("'600'"),
               "CREATE MATERIALIZED TABLE s FRESHNESS = INTERVAL '1' SECOND AS" IDS
               "SESSION(e, ts, PARTITION BY k, INTERVAL '1' MINUTE) GROUP BY k, window_start, window_end;\n"
               "CREATE MATERIALIZED TABLE all_of_them FRESHNESS = INTERVAL '1' SECOND AS" IDS
               "SESSION(e, ts, INTERVAL '1' MINUTE) GROUP BY ALL;\n");
    event(w, "a", "x", "1969-12-31 23:59:30");
    event(w, "b", "x", "1970-01-01 00:00:30");        /* just the gap: the same session */
    event(w, "c", "x", "1970-01-01 00:01:30.000001"); /* more than the gap */
    event(w, "d", "y", "1970-01-01 00:01:30.000001");
    event(w, "e", "y", "1970-01-01 00:01:30.000001"); /* a tie */
    event(w, "f", "y", "1970-01-01 00:05:00");
    event(w, "g", "y", NULL);
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_equal(w);
    expect(w, "s", "23:59:30-00:01:30 ab, 00:01:30-00:02:30 c, 00:01:30-00:02:30 de, 00:05:00-00:06:00 f, never g");
    expect(w, "all_of_them", "23:59:30-00:01:30 ab, 00:01:30-00:02:30 cde, 00:05:00-00:06:00 f, never g");
    event(w, "h", "x", "1970-01-01 00:01:00"); /* joins two sessions */
    event(w, "i", "y", "1970-01-01 00:04:50");
    OK(leat_engine_run_once(w->engine, false, false, oops));
    expect_equal(w);
    expect(w, "s", "23:59:30-00:02:30 abch, 00:01:30-00:02:30 de, 00:04:50-00:06:00 fi, never g");
    world_deinit(w);
}

/* Each line of `before` is one of `now`. */
static void expect_all(const char *before, const char *now) {
    for (const char *end; (end = strchr(before, '\n')); before = end + 1) {
        char *line = leat_strndup(before, (size_t)(end - before) + 1);
        if (!strstr(now, line)) fail_msg("no longer there: %sbut:\n%s", line, now);
        free(line);
    }
}

/* Random sessions out of order around 1970: what is shown once stays as it is, and is what verify says. */
static void shown_windows_are_final(void **state) {
    (void)state;
    for (unsigned seed = 0; seed < 6; seed++) {
        struct world world, *w = &world;
        struct leat_random random;
        leat_random_seed(&random, seed);
        world_init(w, SOURCE("'20'"),
                   "CREATE MATERIALIZED TABLE s FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                   "SELECT window_start, window_end, k, count(*) AS n FROM SESSION(e, ts, PARTITION BY k, INTERVAL '25' SECOND) GROUP BY ALL;\n"
                   "CREATE MATERIALIZED TABLE h FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                   "SELECT window_start, window_end, k, count(*) AS n FROM HOP(e, ts, INTERVAL '10' SECOND, INTERVAL '30' SECOND) GROUP BY ALL;\n");
        char *before[2] = {leat_strdup(""), leat_strdup("")};
        int64_t now = -300;
        for (int round = 0; round < 12; round++) {
            struct leat_buffer lines = {0};
            for (unsigned i = 0, n = 1 + (unsigned)leat_random_below(&random, 6); i < n; i++) {
                now += (int64_t)leat_random_below(&random, 20);
                int64_t at = now - (int64_t)leat_random_below(&random, 30) + 86400; /* of the two days around 1970; some are late */
                leat_putf(&lines, "{\"id\":\"x\",\"k\":\"%c\",\"ts\":\"%s %02d:%02d:%02d\"}\n", "ab"[leat_random_below(&random, 2)],
                          at < 86400 ? "1969-12-31" : "1970-01-01", (int)(at % 86400 / 3600), (int)(at % 3600 / 60), (int)(at % 60));
            }
            put(w, "in/e.ndjson", lines.data, "a");
            leat_buffer_deinit(&lines);
            if (round % 5 == 4) reopen(w);
            run(w);
            for (int t = 0; t < 2; t++) {
                char *now_shown = text_of(w, t ? "SELECT coalesce(string_agg(r::VARCHAR || chr(10), ''), '') FROM h r"
                                              : "SELECT coalesce(string_agg(r::VARCHAR || chr(10), ''), '') FROM s r");
                expect_all(before[t], now_shown);
                free(before[t]);
                before[t] = now_shown;
            }
        }
        OK(leat_engine_run_once(w->engine, false, true, oops));
        expect_equal(w);
        assert_non_null(strchr(before[0], '\n')); /* some were shown on the way */
        assert_non_null(strchr(before[1], '\n'));
        for (int t = 0; t < 2; t++) free(before[t]);
        world_deinit(w);
    }
}

/* Also at the end of event time. */
static void a_window_without_times_never_closes(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "CREATE SOURCE e (id VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (connector = 'file', path = 'in/e.ndjson');\n",
               "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
               "SELECT window_start, count(*) AS n FROM TUMBLE(e, ts, INTERVAL '10' SECOND) GROUP BY ALL;\n");
    put(w, "in/e.ndjson", "{\"id\":\"a\",\"ts\":\"2026-03-01 00:00:00\"}\n{\"id\":\"b\"}\n", "a");
    run(w);
    expect_text(w, "SELECT count(*) FROM t", "0");
    OK(leat_engine_run_once(w->engine, false, true, oops));
    expect_equal(w);
    expect_text(w, "SELECT string_agg(window_start || '=' || n, ' ') FROM t", "2026-03-01 00:00:00=1");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hops_overlap),
        cmocka_unit_test(sessions_end_with_a_gap),
        cmocka_unit_test(shown_windows_are_final),
        cmocka_unit_test(a_window_without_times_never_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
