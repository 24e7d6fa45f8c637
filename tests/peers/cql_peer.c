/* Drives the CQL client against a real server for tests/peers/test_cql.py, which reads back with another client.
 * Usage: cql_peer POINTS COMMAND [...]; user, password, ca, cert, key from CQL_USER ... in the environment. */
#include "connect/cql/cql.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct leat_cql *session;
static struct leat_clock *clock_;
static struct leat_error err;

static void must(enum leat_status s) {
    if (!s) return;
    printf("failed: %s: %s\n", leat_status_name(s), err.text);
    exit(1);
}

static int64_t after(double seconds) {
    return clock_->monotonic_us(clock_) + (int64_t)(seconds * 1e6);
}

static void run(const char *text) {
    struct leat_cql_item item = {.statement = -1, .text = text};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_LOCAL_QUORUM};
    struct leat_cql_reply reply;
    must(leat_cql_run(session, &request, after(30), &reply, &err));
    if (reply.result.kind == LEAT_CQL_SCHEMA_CHANGED) must(leat_cql_agree(session, after(30), &err));
}

/* One row of every type leat writes. */
static void types(void) {
    run("CREATE TABLE IF NOT EXISTS cql_test.types (a ascii, b bigint, c blob, d boolean, e decimal, f double, g "
        "float, h int, i timestamp, "
        "j uuid, k text, l varint, m date, n time, o smallint, p tinyint, q text, PRIMARY KEY (b, k))");
    int statement;
    must(leat_cql_prepare(session,
                          "INSERT INTO cql_test.types (a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q) VALUES "
                          "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) USING "
                          "TIMESTAMP ?",
                          NULL, 0, &statement, &err));
    for (int sign = -1; sign <= 1; sign += 2) {
        struct leat_buffer v = {0};
        __int128 wide = (__int128)1234567890123456789 * 1000000007 * sign;
        leat_cql_put_bytes(&v, "ascii", 5);
        leat_cql_put_integer(&v, sign * INT64_C(1234567890123), 8);
        leat_cql_put_bytes(&v, "\0\xff", 2);
        leat_cql_put_integer(&v, sign > 0, 1);
        leat_cql_put_decimal(&v, wide, 4);
        leat_cql_put_double(&v, sign * 1.5e300);
        leat_cql_put_float(&v, (float)sign * 0.25f);
        leat_cql_put_integer(&v, sign * 123456, 4);
        leat_cql_put_integer(&v, sign * INT64_C(1700000000123), 8);
        leat_cql_put_bytes(&v, "0123456789abcdef", 16);
        leat_cql_put_bytes(&v, "gr\xc3\xbc\xc3\x9f", 6);
        leat_cql_put_varint(&v, wide);
        leat_cql_put_integer(&v, (int64_t)INT32_MIN + 20000 * sign, 4);
        leat_cql_put_integer(&v, INT64_C(86399999999000), 8);
        leat_cql_put_integer(&v, sign * 12345, 2);
        leat_cql_put_integer(&v, sign * 100, 1);
        leat_cql_put_null(&v);
        leat_cql_put_integer(&v, 7 + sign, 8);
        struct leat_cql_item item = {
            .statement = statement, .values = v.data, .values_bytes = v.length, .value_count = 18};
        struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_LOCAL_QUORUM};
        struct leat_cql_reply reply;
        must(leat_cql_run(session, &request, after(30), &reply, &err));
        leat_buffer_deinit(&v);
    }
}

static bool add(void *context, const struct leat_cql_result *result, const struct leat_cql_bytes *values) {
    int64_t n;
    (void)result;
    if (leat_cql_get_integer(values[0], &n)) *(int64_t *)context += n;
    return true;
}

/* Writes 1..n in unlogged batches of one partition each, reads them back in pages, prints their sum. */
static void pages(int64_t n) {
    run("CREATE TABLE IF NOT EXISTS cql_test.pages (p int, i bigint, PRIMARY KEY (p, i))");
    int statement;
    must(leat_cql_prepare(session, "INSERT INTO cql_test.pages (p, i) VALUES (1, ?)", NULL, 0, &statement, &err));
    struct leat_cql_reply reply;
    for (int64_t at = 1; at <= n;) {
        struct leat_buffer v[100] = {0};
        struct leat_cql_item items[100];
        size_t k = 0;
        for (; k < 100 && at <= n; k++, at++) {
            leat_cql_put_integer(&v[k], at, 8);
            items[k] = (struct leat_cql_item){
                .statement = statement, .values = v[k].data, .values_bytes = v[k].length, .value_count = 1};
        }
        struct leat_cql_request request = {.items = items, .item_count = k, .consistency = LEAT_CQL_LOCAL_QUORUM};
        must(leat_cql_run(session, &request, after(30), &reply, &err));
        for (size_t i = 0; i < k; i++)
            leat_buffer_deinit(&v[i]);
    }
    struct leat_cql_item item = {.statement = -1, .text = "SELECT i FROM cql_test.pages WHERE p = 1"};
    struct leat_cql_request request = {
        .items = &item, .item_count = 1, .consistency = LEAT_CQL_LOCAL_QUORUM, .page_rows = 77};
    int64_t sum = 0;
    must(leat_cql_each_row(session, &request, after(30), add, &sum, &err));
    printf("%lld\n", (long long)sum);
}

/* Upserts 0..n-1, each until it is confirmed, whatever happens on the way; prints seconds and how many had to be sent
 * again. */
static void upserts(int64_t n, double patience) {
    int statement;
    must(leat_cql_prepare(session,
                          "INSERT INTO cql_test.upserts (id, status, updated_at) VALUES (?, ?, ?) USING TIMESTAMP ?",
                          NULL, 0, &statement, &err));
    must(leat_cql_connect(session, after(patience), &err));
    int64_t next = 0, confirmed = 0, again = 0, started = after(0), deadline = after(patience),
            *failed = malloc((size_t)n * sizeof *failed);
    size_t failed_count = 0;
    struct leat_buffer v = {0};
    while (confirmed < n) {
        while (next < n || failed_count) {
            int64_t id = failed_count ? failed[failed_count - 1] : next;
            leat_buffer_reset(&v);
            leat_cql_put_integer(&v, id, 8);
            leat_cql_put_bytes(&v, id % 2 ? "shipped" : "delivered", id % 2 ? 7 : 9);
            leat_cql_put_integer(&v, 1700000000000 + id, 8);
            leat_cql_put_integer(&v, id + 1, 8);
            struct leat_cql_item item = {
                .statement = statement, .values = v.data, .values_bytes = v.length, .value_count = 4};
            struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_LOCAL_QUORUM};
            enum leat_status s = leat_cql_send(session, &request, (uint64_t)id, &err);
            if (s == LEAT_BUSY) break;
            must(s);
            if (failed_count)
                failed_count--;
            else
                next++;
        }
        struct leat_cql_reply reply;
        enum leat_status s = leat_cql_wait(session, after(0.5), &reply);
        if (s == LEAT_OK && reply.status == LEAT_OK)
            confirmed++;
        else if (s == LEAT_OK)
            failed[failed_count++] = (int64_t)reply.tag, again++;
        else if (s == LEAT_END && leat_cql_connect(session, after(0.5), &err) && err.status == LEAT_INVALID)
            must(err.status);
        if (after(0) > deadline)
            must(leat_fail(&err, LEAT_BUSY, "%lld of %lld confirmed", (long long)confirmed, (long long)n));
    }
    printf("%.6f %lld\n", (double)(after(0) - started) / 1e6, (long long)again);
    leat_buffer_deinit(&v);
    free(failed);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    clock_ = leat_clock_real();
    struct leat_cql_config config = {
        .contact_points = argv[1],
        .user = getenv("CQL_USER"),
        .password = getenv("CQL_PASSWORD"),
        .tls = getenv("CQL_CA") != NULL,
        .tls_ca = getenv("CQL_CA"),
        .tls_cert = getenv("CQL_CERT"),
        .tls_key = getenv("CQL_KEY"),
        .request_timeout_us = getenv("CQL_TIMEOUT_MS") ? atol(getenv("CQL_TIMEOUT_MS")) * 1000 : 0,
        .connect_timeout_us = getenv("CQL_TIMEOUT_MS") ? atol(getenv("CQL_TIMEOUT_MS")) * 1000 : 0,
        .retry_max_us = getenv("CQL_TIMEOUT_MS") ? atol(getenv("CQL_TIMEOUT_MS")) * 1000 : 0,
    };
    must(leat_cql_open(clock_, &config, &session, &err));
    if (strcmp(argv[2], "types") == 0)
        types();
    else if (strcmp(argv[2], "pages") == 0)
        pages(atol(argv[3]));
    else if (strcmp(argv[2], "upserts") == 0)
        upserts(atol(argv[3]), argc > 4 ? atof(argv[4]) : 60);
    else if (strcmp(argv[2], "run") == 0)
        run(argv[3]);
    else
        return 2;
    leat_cql_close(session);
    return 0;
}
