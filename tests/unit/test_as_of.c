/* FOR SYSTEM_TIME AS OF: a reference as it was at a row's time, in steps, in runs and made anew; and the versions it is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine_world.h"

static const char TABLES[] =
    "CREATE VIEW priced AS SELECT e.id, e.v, t.cat, t.price FROM events e JOIN things FOR SYSTEM_TIME AS OF e.ts AS t ON e.k = t.k WHERE e.v > 0;\n"
    "CREATE MATERIALIZED TABLE each FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM priced;\n"
    "CREATE MATERIALIZED TABLE by_cat FRESHNESS = INTERVAL '1' SECOND AS SELECT cat, count(*) AS n, sum(v * price) AS paid FROM priced GROUP BY cat;\n"
    "CREATE MATERIALIZED TABLE all_of_them FRESHNESS = INTERVAL '7' SECOND\n"
    "AS SELECT e.id, t.cat, now_.cat AS now_cat FROM events e LEFT JOIN things FOR SYSTEM_TIME AS OF e.ts t ON e.k = t.k LEFT JOIN things now_ ON now_.k = e.k;\n"
    "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT * FROM priced;\n";

static void time_text(int64_t seconds, char out[40]) {
    time_t time = (time_t)seconds;
    struct tm tm;
    gmtime_r(&time, &tm);
    strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &tm);
}

/* An event whose time is `seconds` after the world's present. */
static void event(struct world *w, const char *id, int k, int64_t seconds) {
    char line[256], at[40];
    time_text(w->now_us / 1000000 + seconds, at);
    snprintf(line, sizeof line, "{\"id\":\"%s\",\"k\":%d,\"v\":1,\"ts\":\"%s\"}\n", id, k, at);
    put(w, "in/events.ndjson", line, "a");
}

static void expect_each(struct world *w, const char *expected) {
    expect_text(w, "SELECT string_agg(id || '=' || cat || price, ' ' ORDER BY id) FROM each", expected);
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_equal(w);
    expect_text(w, "SELECT string_agg(id || '=' || cat || price, ' ' ORDER BY id) FROM nightly", expected);
}

static void rows_meet_what_held_then(void **state) {
    (void)state;
    struct world world, *w = &world;
    shop_init(w, TABLES);
    event(w, "a", 1, -86400); /* of the time before the first version nothing else is known */
    event(w, "b", 2, 0);
    event(w, "c", 3, 0); /* not there yet */
    event(w, "d", 1, 86400); /* ahead of the clock: whatever comes until then is still to be seen */
    run(w);
    expect_each(w, "a=red1 b=blue2 d=red1");
    put(w, "in/things.csv", "k,cat,price\n1,green,10\n3,grey,30\n", "w");
    run(w);
    expect_each(w, "a=red1 b=blue2 d=green10");
    expect_text(w, "SELECT string_agg(id || '=' || coalesce(cat, '-') || '/' || coalesce(now_cat, '-'), ' ' ORDER BY id) FROM all_of_them",
                "a=red/green b=blue/- c=-/grey d=green/green");
    event(w, "e", 1, 0);
    event(w, "f", 2, 0); /* gone */
    event(w, "g", 3, 0);
    event(w, "h", 1, -60); /* an older row that comes now */
    run(w);
    expect_each(w, "a=red1 b=blue2 d=green10 e=green10 g=grey30 h=red1");
    expect_text(w, "SELECT string_agg(cat || n || '/' || paid, ' ' ORDER BY cat) FROM by_cat", "blue1/2 green2/20 grey1/30 red2/2");
    reopen(w);
    put(w, "in/things.csv", "k,cat,price\n1,red,1\n2,blue,2\n3,grey,30\n", "w"); /* back as it was, from now on */
    event(w, "i", 2, 0);
    run(w);
    event(w, "j", 2, 0);
    run(w);
    expect_each(w, "a=red1 b=blue2 d=red1 e=green10 g=grey30 h=red1 j=blue2");
    reopen_without_work(w); /* made anew from the lake */
    run(w);
    expect_each(w, "a=red1 b=blue2 d=red1 e=green10 g=grey30 h=red1 j=blue2");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE more FRESHNESS = INTERVAL '1' SECOND AS SELECT id FROM priced WHERE cat = 'green';\n", "a");
    reopen(w);
    run(w);
    expect_text(w, "SELECT string_agg(id, ' ' ORDER BY id) FROM more", "e");
    expect_text(w, "SELECT string_agg(k || cat || (valid_from IS NULL) || (valid_to IS NULL), ' ' ORDER BY k, valid_from NULLS FIRST) FROM things__versions",
                "1redtruefalse 1greenfalsefalse 1redfalsetrue 2bluetruefalse 2bluefalsetrue 3greyfalsetrue");
    world_deinit(w);
}

/* A time without a zone is UTC, one with a zone is the moment it names, whatever the project's zone is. */
static void zones(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "SET time_zone = 'Asia/Tokyo';\n"
                  "CREATE SOURCE events (id BIGINT, k INTEGER, plain TIMESTAMP, zoned TIMESTAMPTZ) WITH (connector = 'file', path = 'in/events.ndjson');\n"
                  "CREATE SOURCE things (k INTEGER PRIMARY KEY, cat VARCHAR) WITH (connector = 'file', path = 'in/things.csv', refresh = INTERVAL '1' SECOND);\n",
               "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT e.id, a.cat AS plain, b.cat AS zoned\n"
               "FROM events e JOIN things FOR SYSTEM_TIME AS OF e.plain a ON a.k = e.k JOIN things FOR SYSTEM_TIME AS OF e.zoned b ON b.k = e.k;\n");
    put(w, "in/things.csv", "k,cat\n1,old\n", "w");
    run(w);
    put(w, "in/things.csv", "k,cat\n1,new\n", "w");
    run(w);
    int64_t changed_us = w->now_us; /* within seconds */
    for (int id = 0; id < 2; id++) {
        char line[256], at[40];
        time_text(changed_us / 1000000 + (id ? 60 : -60), at);
        snprintf(line, sizeof line, "{\"id\":%d,\"k\":1,\"plain\":\"%s\",\"zoned\":\"%sZ\"}\n", id, at, at);
        put(w, "in/events.ndjson", line, "a");
    }
    run(w);
    expect_text(w, "SELECT string_agg(id || plain || zoned, ' ' ORDER BY id) FROM t", "0oldold 1newnew");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_meet_what_held_then), cmocka_unit_test(zones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
