/* HOP and SESSION: which windows there are, told by hand; and that windows are final when they are shown, and joins within a time forget what it says. That stream,
 * batch and verify agree about them is test_same_answer's and the property test's. */
#include <glob.h>
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
    for (unsigned seed = 0; seed < 4; seed++) {
        struct world world, *w = &world;
        struct leat_random random;
        leat_random_seed(&random, seed);
        world_init(w, SOURCE("'20'"),
                   "CREATE MATERIALIZED TABLE s FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                   "SELECT window_start, window_end, k, count(*) AS n FROM SESSION(e, ts, PARTITION BY k, INTERVAL '25' SECOND) GROUP BY ALL;\n"
                   "CREATE MATERIALIZED TABLE h FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                   "SELECT window_start, window_end, k, count(*) AS n FROM HOP(e, ts, INTERVAL '10' SECOND, INTERVAL '30' SECOND) GROUP BY ALL;\n"
                   "CREATE VIEW within AS SELECT a.ts, a.k, b.id FROM e a LEFT JOIN e b ON b.k = a.k AND b.ts > a.ts AND b.ts <= a.ts + INTERVAL '15' SECOND;\n"
                   "CREATE MATERIALIZED TABLE j FRESHNESS = INTERVAL '1' SECOND EMIT ON WINDOW CLOSE AS\n"
                   "SELECT window_start, window_end, k, count(*) AS n, count(id) AS after FROM TUMBLE(within, ts, INTERVAL '10' SECOND) GROUP BY ALL;\n");
        static const char *const shown[3] = {"s", "h", "j"};
        char *before[3] = {leat_strdup(""), leat_strdup(""), leat_strdup("")};
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
            for (int t = 0; t < 3; t++) {
                char *sql = leat_asprintf("SELECT coalesce(string_agg(r::VARCHAR || chr(10), ''), '') FROM %s r", shown[t]), *now_shown = text_of(w, sql);
                free(sql);
                expect_all(before[t], now_shown);
                free(before[t]);
                before[t] = now_shown;
            }
        }
        OK(leat_engine_run_once(w->engine, false, true, oops));
        expect_equal(w);
        assert_non_null(strchr(before[0], '\n')); /* some were shown on the way */
        assert_non_null(strchr(before[1], '\n'));
        assert_non_null(strchr(before[2], '\n'));
        for (int t = 0; t < 3; t++) free(before[t]);
        world_deinit(w);
    }
}

/* Rows of operators that the newest checkpoint's files hold. */
static uint64_t checkpointed_rows(const struct world *w) {
    struct leat_buffer text = {0};
    char *latest = NULL, *pattern = leat_asprintf("%s/.leat/checkpoint/*/manifest.json", w->project);
    uint64_t rows = 0, newest = 0;
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint64_t number = strtoull(strstr(found.gl_pathv[i], "/checkpoint/") + strlen("/checkpoint/"), NULL, 10);
        if (number >= newest) newest = number, latest = found.gl_pathv[i];
    }
    OK(leat_io_read_all(w->env.io, latest, 1 << 20, &text, oops));
    for (const char *at = text.data; (at = strstr(at, "\"rows\": ")); at++) rows += strtoull(at + strlen("\"rows\": "), NULL, 10);
    leat_buffer_deinit(&text);
    free(pattern);
    globfree(&found);
    return rows;
}

/* An hour's orders a round, paid within ten minutes: the checkpoint does not grow with what has gone by, over restarts; a payment that is late finds its order when it is
 * folded in, though that had been forgotten. */
static void a_join_within_a_time_forgets(void **state) {
    (void)state;
    enum { ROUNDS = 8, EACH = 120 };
    struct world world, *w = &world;
    uint64_t most = 0;
    world_init(w, SOURCE("'60'") "CREATE SOURCE p (id VARCHAR NOT NULL, paid TIMESTAMP NOT NULL, WATERMARK FOR paid AS paid) WITH (connector = 'file', path = 'in/p.ndjson', format = 'json');\n",
               "CREATE MATERIALIZED TABLE soon FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS\n"
               "SELECT e.id, e.ts, p.paid FROM e JOIN p ON p.id = e.id AND p.paid BETWEEN e.ts AND e.ts + INTERVAL '10' MINUTE;\n"
               "CREATE MATERIALIZED TABLE unpaid FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS\n"
               "SELECT e.id, e.ts FROM e ANTI JOIN p ON p.id = e.id AND p.paid BETWEEN e.ts AND e.ts + INTERVAL '10' MINUTE;\n");
    for (int round = 0; round < ROUNDS; round++) {
        struct leat_buffer orders = {0}, payments = {0};
        for (int i = 0; i < EACH; i++) {
            int second = i * 25 + 40;
            leat_putf(&orders, "{\"id\":\"%d-%d\",\"ts\":\"2026-03-01 %02d:%02d:%02d\"}\n", round, i, round, second / 60, second % 60);
            second += i % 3 * 310; /* a third of them a little too late */
            if (i % 7) leat_putf(&payments, "{\"id\":\"%d-%d\",\"paid\":\"2026-03-01 %02d:%02d:%02d\"}\n", round, i, round, second / 60, second % 60);
        }
        put(w, "in/e.ndjson", orders.data, "a");
        put(w, "in/p.ndjson", payments.data, "a");
        leat_buffer_deinit(&orders);
        leat_buffer_deinit(&payments);
        run(w);
        OK(leat_engine_flush(w->engine, true, oops));
        if (checkpointed_rows(w) > most) most = checkpointed_rows(w);
        if (round % 3 == 2) reopen(w);
    }
    assert_true(most > 0 && most < ROUNDS * EACH * 3 / 2); /* of two tables over both sides */
    put(w, "in/p.ndjson", "{\"id\":\"0-0\",\"paid\":\"2026-03-01 00:01:00\"}\n", "a");
    run(w);
    expect_text(w, "SELECT (SELECT count(*) FROM soon__late) || ' ' || (SELECT count(*) FROM soon WHERE id = '0-0') || ' ' || (SELECT count(*) FROM unpaid WHERE id = '0-0')", "1 0 1");
    struct leat_restate_options options = {.from_us = INT64_MIN, .reason = "paid"};
    OK(leat_engine_restate(w->engine, &options, NULL, oops));
    expect_equal(w);
    expect_text(w, "SELECT (SELECT count(*) FROM soon__late) || ' ' || (SELECT count(*) FROM soon WHERE id = '0-0') || ' ' || (SELECT count(*) FROM unpaid WHERE id = '0-0')", "0 1 0");
    world_deinit(w);
}

/* What is forgotten shows nowhere: in days that are longer than 24 hours, in whether there is a match at all, in keys that were withheld for a while. */
static void a_join_within_a_time_is_its_select(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "SET time_zone = 'Europe/Berlin';\n" SOURCE("'60'")
               "CREATE SOURCE p (id VARCHAR NOT NULL, paid TIMESTAMP NOT NULL, WATERMARK FOR paid AS paid) WITH (connector = 'file', path = 'in/p.ndjson', format = 'json');\n"
               "CREATE SOURCE z (id VARCHAR NOT NULL, at TIMESTAMPTZ NOT NULL, WATERMARK FOR at AS at) WITH (connector = 'file', path = 'in/z.ndjson', format = 'json');\n",
               "CREATE MATERIALIZED TABLE a_day FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS\n"
               "SELECT a.id, a.at, b.at AS after FROM z a JOIN z b USING (id) WHERE b.at - a.at BETWEEN INTERVAL '1' SECOND AND INTERVAL '1' DAY;\n"
               "CREATE MATERIALIZED TABLE how_many FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS\n"
               "SELECT EXISTS (SELECT 1 FROM p WHERE p.id = e.id AND p.paid BETWEEN e.ts AND e.ts + INTERVAL '10' MINUTE) AS paid, count(*) AS n FROM e GROUP BY ALL;\n"
               "CREATE MATERIALIZED TABLE raising FRESHNESS = INTERVAL '1' SECOND ALLOW LATENESS INTERVAL '1' MINUTE AS\n"
               "SELECT e.id, e.ts, p.paid FROM (SELECT DISTINCT ON (id, ts) * FROM e ORDER BY id, ts, k) e LEFT JOIN p\n"
               "ON p.id = e.id AND p.paid BETWEEN e.ts - INTERVAL '2' DAY AND e.ts + INTERVAL '10' MINUTE AND CAST(e.k AS INTEGER) < length(p.id);\n");
    put(w, "in/z.ndjson", "{\"id\":\"a\",\"at\":\"2025-10-25 12:00:00+02\"}\n{\"id\":\"b\",\"at\":\"2025-10-26 11:59:00+01\"}\n", "a");
    for (int hour = 0; hour < 5; hour++) {
        struct leat_buffer orders = {0}, payments = {0};
        for (int i = 0; i < 120 && hour < 4; i++) {
            bool same = hour == 3 && i == 119; /* as one of hour 0 */
            leat_putf(&orders, "{\"id\":\"%d-%d\",\"k\":\"%s\",\"ts\":\"2026-03-01 %02d:%02d:00\"}\n", same ? 0 : hour, same ? 7 : i, same ? "x" : "1", hour, i % 60);
            for (int copy = 0; copy < 4; copy++) /* of others, so that the checkpoint's base stays with what was forgotten of the few */
                leat_putf(&payments, "{\"id\":\"%d-%d%s\",\"paid\":\"2026-03-01 %02d:%02d:3%d\"}\n", same ? 0 : hour, same ? 7 : i, copy ? "?" : "", hour, i % 60, copy);
        }
        if (hour == 4) leat_put(&orders, "{\"id\":\"0-7\",\"k\":\"1\",\"ts\":\"2026-03-01 03:59:00\"}\n");
        put(w, "in/e.ndjson", orders.data, "a");
        if (payments.length) put(w, "in/p.ndjson", payments.data, "a");
        leat_buffer_deinit(&orders);
        leat_buffer_deinit(&payments);
        run(w);
        OK(leat_engine_flush(w->engine, true, oops));
        if (hour == 3) reopen(w);
    }
    put(w, "in/z.ndjson", "{\"id\":\"a\",\"at\":\"2025-10-26 12:00:00+01\"}\n", "a");
    run(w);
    expect_text(w, "SELECT string_agg(paid || '=' || n, ' ') FROM how_many", "true=481");
    expect_text(w, "SELECT count(*) || ' ' || count(paid) FROM raising WHERE id = '0-7'", "3 3");
    expect_text(w, "SELECT string_agg(id, ' ') FROM a_day", "a");
    expect_equal(w);
    world_deinit(w);
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
        cmocka_unit_test(shown_windows_are_final), cmocka_unit_test(a_join_within_a_time_forgets), cmocka_unit_test(a_join_within_a_time_is_its_select),
        cmocka_unit_test(a_window_without_times_never_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
