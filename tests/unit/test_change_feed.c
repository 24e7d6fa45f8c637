/* Messages as records, and change feeds: their events, and that a source of them is the fold by key (rule 17), batch and stream alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/change_event.h"
#include "engine_world.h"

static struct leat_bytes bytes(const char *text) {
    return text ? (struct leat_bytes){text, strlen(text)} : (struct leat_bytes){0};
}

static bool same(struct leat_bytes a, struct leat_bytes b) {
    return !a.data == !b.data && a.length == b.length && (!a.length || memcmp(a.data, b.data, a.length) == 0);
}

static void messages_come_back_as_they_were(void **state) {
    (void)state;
    const char *keys[] = {NULL, "", "k", "a\nb 1 2 3\n"};
    char record[4096];
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 4; k++) {
            struct leat_message m = {.partition = 3, .offset = INT64_C(1) << 46, .timestamp_us = i ? 1700000000123000 : -1}, out;
            m.key = bytes(keys[i]);
            m.value = bytes(keys[k]);
            m.headers[0] = bytes(keys[3 - i]);
            m.headers[1] = bytes(keys[3 - k]);
            m.header_count = i < 2 ? 0 : 2;
            size_t length = leat_message_write(&m, record);
            assert_true(length <= leat_message_size(&m));
            assert_true(leat_message_read(record, length, &out));
            assert_true(out.partition == m.partition && out.offset == m.offset && out.timestamp_us == m.timestamp_us);
            assert_true(same(out.key, m.key) && same(out.value, m.value) && out.header_count == m.header_count);
            for (size_t h = 0; h < m.header_count; h++) assert_true(same(out.headers[h], m.headers[h]));
            for (size_t cut = 0; cut < length; cut++) assert_false(leat_message_read(record, cut, &out));
        }
    struct leat_message out;
    assert_false(leat_message_read("{}\n", 3, &out));
    assert_false(leat_message_read("1 2 3 -1 99999999999999999999 \n", 31, &out));
}

/* The row, or the reason. */
static void expect_event(enum leat_change_feed feed, const char *key, const char *value, const char *row, bool deleted) {
    struct leat_message m = {.key = bytes(key), .value = bytes(value)};
    struct leat_arena arena = {0};
    struct leat_change_event event;
    const char *reason = leat_change_event_read(feed, &m, &arena, &event);
    if (reason) {
        if (!strstr(reason, row)) fail_msg("%s: %s", value, reason);
    } else {
        if (!same(event.row, bytes(row)) || event.deleted != deleted) fail_msg("%s: %.*s", value, (int)event.row.length, event.row.data);
    }
    leat_arena_deinit(&arena);
}

static void events_say_what_changed(void **state) {
    (void)state;
    enum leat_change_feed d = LEAT_FEED_DEBEZIUM, c = LEAT_FEED_CANAL, x = LEAT_FEED_MAXWELL, u = LEAT_FEED_UPSERT;
    expect_event(d, NULL, "{\"before\":null,\"after\":{\"a\":1},\"op\":\"c\"}", "{\"a\":1}", false);
    expect_event(d, NULL, " { \"schema\" : {\"op\":\"x\"} , \"payload\" : {\"op\":\"u\", \"after\": {\"a\":2}} } ", "{\"a\":2}", false);
    expect_event(d, NULL, "{\"op\":\"d\",\"before\":{\"a\":3},\"after\":null}", "{\"a\":3}", true);
    expect_event(d, "{\"payload\":{\"a\":4},\"schema\":{}}", "{\"op\":\"d\",\"before\":null,\"after\":null}", "{\"a\":4}", true);
    expect_event(d, "{\"a\":5}", NULL, "{\"a\":5}", true);
    expect_event(d, NULL, "{\"op\":\"r\",\"after\":\"{\\\"_id\\\": {\\\"$numberLong\\\": \\\"1001\\\"}, \\\"n\\\": \\\"{$oid}\\\"}\"}",
                 "{\"_id\": \"1001\", \"n\": \"{$oid}\"}", false);
    expect_event(d, NULL, "{\"op\":\"t\",\"before\":null}", "TRUNCATE", false);
    expect_event(d, NULL, "{\"after\":{\"a\":1}}", "no op", false);
    expect_event(d, NULL, "{\"op\":\"q\"}", "its op is \"q\"", false);
    expect_event(d, NULL, "{\"op\":\"c\",\"after\":{\"a\":1}", "not valid JSON at byte", false);
    expect_event(d, NULL, "[]", "an object was expected", false);
    expect_event(d, NULL, "{\"op\":\"c\",\"after\":7}", "not an object", false);
    expect_event(c, NULL, "{\"type\":\"INSERT\",\"data\":[ {\"a\":\"1\"} ],\"old\":null}", "{\"a\":\"1\"}", false);
    expect_event(c, NULL, "{\"type\":\"DELETE\",\"data\":[{\"a\":\"1\"}]}", "{\"a\":\"1\"}", true);
    expect_event(c, NULL, "{\"type\":\"UPDATE\",\"data\":[{\"a\":\"1\"},{\"a\":\"2\"}]}", "several rows", false);
    expect_event(c, NULL, "{\"type\":\"ALTER\",\"isDdl\":true,\"data\":null}", "changes no row", false);
    expect_event(c, NULL, "{\"type\":\"INSERT\",\"data\":[]}", "empty", false);
    expect_event(x, NULL, "{\"type\":\"update\",\"data\":{\"a\":1},\"old\":{\"a\":0}}", "{\"a\":1}", false);
    expect_event(x, NULL, "{\"type\":\"delete\",\"data\":{\"a\":1}}", "{\"a\":1}", true);
    expect_event(x, NULL, "{\"type\":\"table-create\"}", "changes no row", false);
    expect_event(u, "{\"a\":1}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}", false);
    expect_event(u, "{\"a\":1}", NULL, "{\"a\":1}", true);
    expect_event(u, NULL, NULL, "neither a value nor a key", false);
}

/* pieces: separated by '|', as they are then read: "-" before a row that is gone. */
static void expect_pieces(enum leat_change_feed feed, const char *value, const char *expected) {
    static const char *const columns[] = {"id"};
    struct leat_arena arena = {0};
    struct leat_buffer text = {0};
    struct leat_bytes *pieces;
    size_t count = leat_change_event_split(feed, bytes(value), columns, 1, &arena, &pieces);
    for (size_t i = 0; i < count; i++) {
        struct leat_message m = {.value = pieces[i]};
        struct leat_change_event event;
        const char *reason = leat_change_event_read(feed, &m, &arena, &event);
        if (reason) fail_msg("%.*s: %s", (int)pieces[i].length, pieces[i].data, reason);
        leat_putf(&text, "%s%s%.*s", i ? "|" : "", event.deleted ? "-" : "", (int)event.row.length, event.row.data);
    }
    assert_string_equal(text.data ? text.data : "", expected);
    leat_buffer_deinit(&text);
    leat_arena_deinit(&arena);
}

static void events_of_several_changes_are_split(void **state) {
    (void)state;
    enum leat_change_feed c = LEAT_FEED_CANAL, x = LEAT_FEED_MAXWELL;
    expect_pieces(c, "{\"type\":\"INSERT\",\"data\":[{\"id\":1}],\"old\":null}", "");
    expect_pieces(c, "{\"type\":\"INSERT\",\"data\":[{\"id\":1}, {\"id\":2} ],\"old\":null}", "{\"id\":1}|{\"id\":2}");
    expect_pieces(c, "{\"type\":\"DELETE\",\"database\":\"d\",\"data\":[{\"id\":1},{\"id\":2}]}", "-{\"id\":1}|-{\"id\":2}");
    expect_pieces(c, "{\"type\":\"UPDATE\",\"data\":[{\"id\":1,\"v\":2}],\"old\":[{\"v\":1}]}", "");
    expect_pieces(c, "{\"type\":\"UPDATE\",\"data\":[{\"id\":1,\"v\":2},{\"id\":4}],\"old\":[{\"v\":1},{\"id\":3}]}",
                  "{\"id\":1,\"v\":2}|-{\"id\":3}|{\"id\":4}");
    expect_pieces(c, "{\"type\":\"UPDATE\",\"data\":[{\"id\":2}],\"old\":[{\"id\":1}]}", "-{\"id\":1}|{\"id\":2}");
    expect_pieces(c, "{\"type\":\"UPDATE\",\"data\":[{\"id\":2},", "");
    expect_pieces(x, "{\"type\":\"update\",\"data\":{\"id\":2,\"v\":1},\"old\":{\"id\":1}}", "-{\"id\":1}|{\"id\":2,\"v\":1}");
    expect_pieces(x, "{\"type\":\"update\",\"data\":{\"id\":2},\"old\":{\"v\":1}}", "");
    expect_pieces(x, "{\"type\":\"insert\",\"data\":{\"id\":2}}", "");
}

static const char SOURCES[] = "CREATE SOURCE customers (id BIGINT, name VARCHAR NOT NULL, city VARCHAR, PRIMARY KEY (id))\n"
                              "WITH (connector = 'file', path = 'in/customers*.ndjson', format = 'debezium-json');\n";
static const char TABLES[] =
    "CREATE MATERIALIZED TABLE by_city FRESHNESS = INTERVAL '1' SECOND AS SELECT city, count(*) AS n, min(name) AS first FROM customers GROUP BY city;\n"
    "CREATE MATERIALIZED TABLE current (PRIMARY KEY (id)) FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM customers;\n"
    "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT * FROM customers;\n";

static void event(struct world *w, const char *op, int id, const char *name, const char *city) {
    char line[256], row[128];
    snprintf(row, sizeof row, "{\"id\":%d,\"name\":\"%s\",\"city\":\"%s\"}", id, name, city);
    bool gone = *op == 'd';
    snprintf(line, sizeof line, "{\"before\":%s,\"after\":%s,\"op\":\"%s\",\"ts_ms\":1}\n", gone ? "{\"id\":" : "null", gone ? "null" : row, op);
    if (gone) snprintf(line, sizeof line, "{\"before\":{\"id\":%d},\"after\":null,\"op\":\"d\"}\n", id);
    put(w, "in/customers.ndjson", line, "a");
}

/* Also when all is made anew, from bronze. */
static void a_feed_is_the_fold_of_its_events(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, SOURCES, TABLES);
    event(w, "r", 1, "ann", "rome");
    event(w, "r", 2, "bob", "rome");
    run(w);
    expect_text(w, "SELECT string_agg(city || n || first, ' ' ORDER BY city) FROM by_city", "rome2ann");
    event(w, "u", 1, "ann", "oslo");
    event(w, "c", 3, "cid", "oslo");
    event(w, "d", 2, "", "");
    run(w);
    expect_text(w, "SELECT string_agg(city || n || first, ' ' ORDER BY city) FROM by_city", "oslo2ann");
    event(w, "c", 2, "bea", "rome"); /* after its deletion */
    event(w, "d", 9, "", "");        /* of a key that never was */
    put(w, "in/customers.ndjson", "{\"op\":\"c\",\"after\":{\"id\":4}}\n{\"op\":\"t\"}\n", "a");
    run(w);
    expect_text(w, "SELECT string_agg(id || name || city, ' ' ORDER BY id) FROM customers", "1annoslo 2bearome 3cidoslo");
    expect_text(w, "SELECT string_agg(id || name || city, ' ' ORDER BY id) FROM current", "1annoslo 2bearome 3cidoslo");
    expect_text(w, "SELECT count(*) || '/' || count(*) FILTER (__deleted) FROM customers__changes", "7/2");
    expect_status(w, "\"dead\":2");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_text(w, "SELECT string_agg(id || name || city, ' ' ORDER BY id) FROM nightly", "1annoslo 2bearome 3cidoslo");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE more FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM customers;\n", "a");
    reopen(w);
    event(w, "d", 3, "", "");
    run(w);
    expect_text(w, "SELECT n FROM more", "2");
    expect_text(w, "SELECT string_agg(id || name || city, ' ' ORDER BY id) FROM current", "1annoslo 2bearome");
    world_deinit(w);
}

/* Files are partitions: which change is the newer one, a column must say. */
static void a_sequence_orders_changes_of_several_partitions(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "CREATE SOURCE s (id BIGINT, v VARCHAR, at BIGINT, PRIMARY KEY (id))\n"
                  "WITH (connector = 'file', path = 'in/*.ndjson', format = 'maxwell-json', sequence = 'at');\n",
               "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM s;\n");
    put(w, "in/a.ndjson", "{\"type\":\"insert\",\"data\":{\"id\":1,\"v\":\"new\",\"at\":9}}\n", "w");
    put(w, "in/b.ndjson", "{\"type\":\"insert\",\"data\":{\"id\":1,\"v\":\"old\",\"at\":8}}\n{\"type\":\"delete\",\"data\":{\"id\":2,\"at\":7}}\n", "w");
    put(w, "in/c.ndjson", "{\"type\":\"insert\",\"data\":{\"id\":2,\"v\":\"before it went\",\"at\":6}}\n{\"type\":\"insert\",\"data\":{\"id\":3,\"v\":\"x\"}}\n", "w");
    run(w);
    expect_text(w, "SELECT string_agg(id || v, ' ') FROM t", "1new");
    expect_status(w, "\"dead\":1"); /* no sequence: where it belongs cannot be told */
    world_deinit(w);
}

/* A key's newest change says that it is gone, the one after it that it is back; scheduled tables and what is made anew from bronze say the same. */
static void a_condition_deletes(void **state) {
    (void)state;
    struct world world, *w = &world;
    world_init(w, "CREATE SOURCE s (id BIGINT, v VARCHAR, gone BOOLEAN, n BIGINT, PRIMARY KEY (id))\n"
                  "WITH (connector = 'file', path = 'in/*.ndjson', format = 'maxwell-json', sequence = 'n', delete_when = 'gone -- or not');\n",
               "CREATE MATERIALIZED TABLE t FRESHNESS = INTERVAL '1' SECOND AS SELECT * FROM s;\n"
               "CREATE MATERIALIZED TABLE amount FRESHNESS = INTERVAL '1' SECOND AS SELECT count(*) AS n FROM s;\n"
               "CREATE MATERIALIZED TABLE nightly SCHEDULE CRON '0 2 * * *' AS SELECT * FROM s;\n");
    put(w, "in/a.ndjson", "{\"type\":\"insert\",\"data\":{\"id\":1,\"v\":\"a\",\"n\":1}}\n{\"type\":\"insert\",\"data\":{\"id\":2,\"v\":\"b\",\"gone\":false,\"n\":2}}\n"
                          "{\"type\":\"update\",\"data\":{\"id\":3,\"v\":\"c\",\"gone\":true,\"n\":3}}\n", "w");
    run(w);
    expect_text(w, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM t", "1a 2b");
    put(w, "in/a.ndjson", "{\"type\":\"update\",\"data\":{\"id\":2,\"v\":\"b\",\"gone\":true,\"n\":5}}\n{\"type\":\"update\",\"data\":{\"id\":3,\"v\":\"d\",\"n\":6}}\n", "a");
    put(w, "in/b.ndjson", "{\"type\":\"update\",\"data\":{\"id\":2,\"v\":\"before it went\",\"n\":4}}\n", "w");
    run(w);
    expect_text(w, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM t", "1a 3d");
    expect_text(w, "SELECT n FROM amount", "2");
    OK(leat_engine_run_once(w->engine, true, false, oops));
    expect_text(w, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM nightly", "1a 3d");
    put(w, "in/a.ndjson", "{\"type\":\"delete\",\"data\":{\"id\":1,\"n\":7}}\n{\"type\":\"update\",\"data\":{\"id\":2,\"v\":\"back\",\"n\":8}}\n", "a");
    put(w, "project.sql", "CREATE MATERIALIZED TABLE more FRESHNESS = INTERVAL '1' SECOND AS SELECT string_agg(id || v, ' ' ORDER BY id) AS all_of_it FROM s;\n", "a");
    reopen(w);
    run(w);
    expect_text(w, "SELECT all_of_it FROM more", "2back 3d");
    expect_text(w, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM t", "2back 3d");
    world_deinit(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back_as_they_were),
        cmocka_unit_test(events_say_what_changed),
        cmocka_unit_test(events_of_several_changes_are_split),
        cmocka_unit_test(a_feed_is_the_fold_of_its_events),
        cmocka_unit_test(a_sequence_orders_changes_of_several_partitions),
        cmocka_unit_test(a_condition_deletes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
