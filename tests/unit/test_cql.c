/* The CQL client without Cassandra: values and requests byte for byte, answers recorded from Cassandra 5.0.5 and made
 * up ones, and sessions with a scripted server that answers out of order, refuses, forgets, falls silent and hangs up.
 * tests/peers/test_cql.py has the real one. */
#include "scratch.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "connect/cql/frame.h"

static struct leat_error err;

static void assert_bytes(const struct leat_buffer *b, const char *hex) {
    struct leat_buffer got = {0};
    for (size_t i = 0; i < b->length; i++)
        leat_putf(&got, "%02x", (unsigned char)b->data[i]);
    assert_string_equal(got.data, hex);
    leat_buffer_deinit(&got);
}

static void test_values(void **state) {
    (void)state;
    /* Section 6.23. */
    static const struct {
        int64_t value;
        const char *hex;
    } varints[] = {
        {0, "0000000100"},
        {1, "0000000101"},
        {127, "000000017f"},
        {128, "000000020080"},
        {129, "000000020081"},
        {-1, "00000001ff"},
        {-128, "0000000180"},
        {-129, "00000002ff7f"},
        {INT64_MIN, "000000088000000000000000"},
        {INT64_MAX, "000000087fffffffffffffff"},
    };
    struct leat_buffer b = {0};
    for (size_t i = 0; i < sizeof varints / sizeof *varints; i++) {
        leat_buffer_reset(&b);
        leat_cql_put_varint(&b, varints[i].value);
        assert_bytes(&b, varints[i].hex);
    }
    leat_buffer_reset(&b);
    leat_cql_put_varint(&b, (__int128)1 << 126);
    assert_bytes(&b, "0000001040000000000000000000000000000000");
    leat_buffer_reset(&b);
    leat_cql_put_varint(&b, -((__int128)1 << 126) * 2);
    assert_bytes(&b, "0000001080000000000000000000000000000000");
    leat_buffer_reset(&b);
    leat_cql_put_decimal(&b, -12345, 2);
    leat_cql_put_null(&b);
    leat_cql_put_integer(&b, -2, 4);
    leat_cql_put_integer(&b, 1, 1);
    leat_cql_put_bytes(&b, "ab", 2);
    leat_cql_put_double(&b, 1.0);
    leat_cql_put_float(&b, -2.0f);
    assert_bytes(
        &b,
        "0000000600000002cfc7ffffffff00000004fffffffe0000000101000000026162000000083ff000000000000000000004c0000000");
    leat_buffer_reset(&b);
    leat_cql_put_name(&b, "a\"b");
    assert_string_equal(b.data, "\"a\"\"b\"");
    leat_buffer_deinit(&b);
    int64_t n;
    assert_true(leat_cql_get_integer((struct leat_cql_bytes){(const uint8_t *)"\xff\xfe", 2}, &n) && n == -2);
    assert_false(leat_cql_get_integer((struct leat_cql_bytes){NULL, -1}, &n));
    assert_false(leat_cql_get_integer((struct leat_cql_bytes){(const uint8_t *)"abc", 3}, &n));
}

static void test_requests(void **state) {
    (void)state;
    struct leat_buffer b = {0};
    OK(leat_cql_put_plain(&b, 7, "me", "pw", oops));
    assert_bytes(&b, "040000070f0000000a00000006006d65007077");
    leat_buffer_reset(&b);
    OK(leat_cql_put_prepare(&b, 256, "SELECT 1", oops));
    assert_bytes(&b, "04000100090000000c0000000853454c4543542031");
    leat_buffer_reset(&b);
    struct leat_cql_bytes ids[] = {{(const uint8_t *)"\xaa\xbb", 2}};
    struct leat_cql_item items[] = {
        {.statement = 0, .values = "\0\0\0\1x", .values_bytes = 5, .value_count = 1},
        {.statement = -1, .text = "Q"},
    };
    struct leat_cql_request request = {.items = items, .item_count = 1, .consistency = LEAT_CQL_LOCAL_QUORUM};
    OK(leat_cql_put_request(&b, 1, &request, ids, oops)); /* EXECUTE: id, consistency, flags, values */
    assert_bytes(&b, "040000010a0000000e"
                     "0002aabb"
                     "0006"
                     "01"
                     "0001"
                     "0000000178");
    leat_buffer_reset(&b);
    request.page_rows = 100;
    request.items = &items[1];
    request.paging_state = (struct leat_cql_bytes){(const uint8_t *)"st", 2};
    OK(leat_cql_put_request(&b, 2, &request, ids, oops)); /* QUERY: text, consistency, flags, page size, paging state */
    assert_bytes(&b, "040000020700000012"
                     "0000000151"
                     "0006"
                     "0c"
                     "00000064"
                     "000000027374");
    leat_buffer_reset(&b);
    request = (struct leat_cql_request){.items = items, .item_count = 2, .consistency = LEAT_CQL_ONE};
    OK(leat_cql_put_request(&b, 3, &request, ids,
                            oops)); /* BATCH: unlogged, 2, (kind, statement, values) each, consistency, flags */
    assert_bytes(&b, "040000030d0000001a"
                     "01"
                     "0002"
                     "01"
                     "0002aabb"
                     "0001"
                     "0000000178"
                     "00"
                     "0000000151"
                     "0000"
                     "0001"
                     "00");
    leat_buffer_reset(&b);
    request.item_count = LEAT_CQL_BATCH_MAX + 1;
    assert_int_equal(leat_cql_put_request(&b, 3, &request, ids, &err), LEAT_LIMIT);
    assert_int_equal(b.length, 0);
    leat_buffer_deinit(&b);
}

static struct leat_buffer recorded(const char *name) {
    struct leat_buffer b = {0};
    char *path = leat_asprintf(LEAT_SOURCE_DIR "/tests/fuzz/corpus/fuzz_cql/%s", name);
    OK(leat_io_read_all(leat_io_real(), path, 1 << 20, &b, oops));
    free(path);
    return b;
}

static enum leat_status decode(const struct leat_buffer *b, struct leat_cql_message *m) {
    struct leat_cql_header header;
    enum leat_status s = leat_cql_header_read((const uint8_t *)b->data, 1 << 20, &header, &err);
    memset(m, 0, sizeof *m);
    return s ? s : leat_cql_message_read(&header, (const uint8_t *)b->data + LEAT_CQL_HEADER_BYTES, m, &err);
}

static void test_recorded(void **state) {
    (void)state;
    struct leat_cql_message m;
    struct leat_buffer b = recorded("rows_types");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_int_equal(m.result.kind, LEAT_CQL_ROWS);
    assert_int_equal(m.result.column_count, 17);
    assert_int_equal(m.result.row_count, 2);
    assert_true(leat_cql_is(m.result.columns[0].name, "b") && m.result.columns[0].type == LEAT_CQL_BIGINT);
    assert_true(leat_cql_is(m.result.columns[5].name, "e") && m.result.columns[5].type == LEAT_CQL_DECIMAL);
    struct leat_cql_bytes values[17];
    int64_t n;
    assert_true(leat_cql_next_row(&m.result, values));
    assert_true(leat_cql_get_integer(values[0], &n) && n == -1234567890123);
    assert_true(leat_cql_is(values[1], "grüß") && leat_cql_is(values[2], "ascii"));
    assert_true(leat_cql_next_row(&m.result, values));
    assert_int_equal(values[16].length, -1);
    assert_false(leat_cql_next_row(&m.result, values));
    leat_cql_message_deinit(&m);
    leat_buffer_deinit(&b);

    b = recorded("rows_page");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_true(m.result.paging_state.length > 0);
    leat_cql_message_deinit(&m);
    leat_buffer_deinit(&b);

    b = recorded("prepared");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_int_equal(m.result.prepared_id.length, 16);
    assert_true(m.result.column_count == 1 && leat_cql_is(m.result.columns[0].name, "i"));
    leat_cql_message_deinit(&m);
    leat_buffer_deinit(&b);

    b = recorded("error_invalid");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_int_equal(leat_cql_error(&m, &err), LEAT_INVALID);
    assert_string_equal(err.text, "Cassandra: invalid request (0x2200): table nothing does not exist");
    assert_false(err.retriable);
    leat_buffer_deinit(&b);

    b = recorded("overloaded");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_int_equal(leat_cql_error(&m, &err), LEAT_BUSY);
    assert_true(err.retriable);
    leat_buffer_deinit(&b);

    b = recorded("tracing_warning_payload");
    assert_int_equal(decode(&b, &m), LEAT_OK);
    assert_int_equal(m.result.kind, LEAT_CQL_VOID);
    leat_buffer_deinit(&b);

    static const char *const bad[] = {
        "lying_rows", "lying_columns", "rows_without_columns", "columns_without_rows", "deep_types",
        "version_3",  "too_long"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        b = recorded(bad[i]);
        if (decode(&b, &m) != LEAT_CORRUPT) fail_msg("%s is taken", bad[i]);
        leat_buffer_deinit(&b);
    }
}

/* A body cut short anywhere is refused, or was whole without what is missing. */
static void test_cut_short(void **state) {
    (void)state;
    static const char *const names[] = {"rows_types",    "rows_page",    "prepared",
                                        "error_invalid", "authenticate", "nested_types"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct leat_buffer b = recorded(names[i]);
        struct leat_cql_header header;
        OK(leat_cql_header_read((const uint8_t *)b.data, 1 << 20, &header, oops));
        for (uint32_t n = header.body_bytes; n-- > 0;) {
            struct leat_cql_header shorter = header;
            struct leat_cql_message m;
            uint8_t *body = malloc(n + !n); /* as long as it says: what is read behind it is seen */
            memcpy(body, b.data + LEAT_CQL_HEADER_BYTES, n);
            shorter.body_bytes = n;
            enum leat_status s = leat_cql_message_read(&shorter, body, &m, &err);
            if (s == LEAT_OK) {
                if (strncmp(names[i], "prepared", 8) != 0) fail_msg("%s cut to %u bytes is taken", names[i], n);
                leat_cql_message_deinit(&m);
            }
            free(body);
        }
        leat_buffer_deinit(&b);
    }
}

/* ---- A server that plays its part on the first connections, and behaves on the later ones ---- */

enum part { BEHAVE, BACKWARDS, OVERLOADED, FORGETS, HANGS_UP, SILENT, OTHER_VERSION, STRANGE_STREAM, PREPARES_NOT };
static struct {
    int fd;
    uint16_t port;
    enum part part;
    int misbehaving; /* how many connections it misbehaves on */
    bool asks_password;
    int64_t timeout_us; /* how long the client waits for answers: short only where it is to be in vain */
    atomic_int executed, connections, prepared;
    atomic_int type; /* of the statement's one value; 0: it has none */
    pthread_t thread;
} server;

static bool read_whole(int fd, uint8_t *into, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, into + at, n - at, 0);
        if (got <= 0) return false;
        at += (size_t)got;
    }
    return true;
}

static void answer(int fd, uint16_t stream, uint8_t opcode, const void *body, size_t n) {
    uint8_t frame[256] = {0x84, 0, (uint8_t)(stream >> 8), (uint8_t)stream, opcode, 0, 0, 0, (uint8_t)n};
    memcpy(frame + LEAT_CQL_HEADER_BYTES, body, n);
    for (size_t at = 0; at < LEAT_CQL_HEADER_BYTES + n; at++) /* byte by byte now and then: frames come in pieces */
        if (stream % 3 == 0) send(fd, frame + at, 1, MSG_NOSIGNAL);
    if (stream % 3) send(fd, frame, LEAT_CQL_HEADER_BYTES + n, MSG_NOSIGNAL);
}

static const char void_result[] = "\0\0\0\1", overloaded[] = "\0\0\x10\1\0\4busy",
                  unprepared[] = "\0\0\x25\0\0\1?\0\2id",
                  prepared[] = "\0\0\0\4\0\2id\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0\0";

static bool execute(int fd, uint16_t stream, enum part part, uint16_t *held, int *held_count, int *told) {
    if (part == SILENT || (part == HANGS_UP && *told == 3)) return part == SILENT;
    if (part == BACKWARDS) {
        held[(*held_count)++] = stream;
        if (*held_count < 4) return true;
        answer(fd, 0xffff, LEAT_CQL_OP_EVENT, "\0\rSTATUS_CHANGE", 15);
        while (*held_count > 0)
            answer(fd, held[--*held_count], LEAT_CQL_OP_RESULT, void_result, 4);
        atomic_fetch_add(&server.executed, 4);
        return true;
    }
    ++*told;
    if (part == OVERLOADED && *told <= 5)
        answer(fd, stream, LEAT_CQL_OP_ERROR, overloaded, 10);
    else if (part == FORGETS && *told >= 2 && *told <= 4)
        answer(fd, stream, LEAT_CQL_OP_ERROR, unprepared, 11);
    else if (part == STRANGE_STREAM && *told == 2)
        answer(fd, (uint16_t)(stream + 5), LEAT_CQL_OP_RESULT, void_result, 4);
    else {
        answer(fd, stream, LEAT_CQL_OP_RESULT, void_result, 4);
        atomic_fetch_add(&server.executed, 1);
    }
    return true;
}

static void serve(int fd, enum part part) {
    uint8_t header[LEAT_CQL_HEADER_BYTES], body[4096];
    uint16_t held[4];
    int held_count = 0, told = 0;
    bool go_on = true;
    while (go_on && read_whole(fd, header, sizeof header)) {
        uint16_t stream = (uint16_t)(header[2] << 8 | header[3]);
        size_t n = (size_t)header[7] << 8 | header[8];
        if (n > sizeof body || !read_whole(fd, body, n)) return;
        switch (header[4]) {
        case LEAT_CQL_OP_STARTUP:
            if (part == OTHER_VERSION)
                send(fd, "\x83\0\0\0\0\0\0\0\0", 9, MSG_NOSIGNAL);
            else
                answer(fd, stream, server.asks_password ? LEAT_CQL_OP_AUTHENTICATE : LEAT_CQL_OP_READY, "\0\1A",
                       server.asks_password ? 3 : 0);
            break;
        case LEAT_CQL_OP_AUTH_RESPONSE: {
            bool right = n == 4 + 10 && memcmp(body + 4, "\0user\0pass", 10) == 0;
            answer(fd, stream, right ? LEAT_CQL_OP_AUTH_SUCCESS : LEAT_CQL_OP_ERROR,
                   right ? "\xff\xff\xff\xff" : "\0\0\1\0\0\3bad", right ? 4 : 9);
            break;
        }
        case LEAT_CQL_OP_PREPARE:
            atomic_fetch_add(&server.prepared, 1);
            if (part == PREPARES_NOT) {
                answer(fd, stream, LEAT_CQL_OP_ERROR, overloaded, 10);
                break;
            }
            if (server.type) {
                uint8_t typed[] = "\0\0\0\4\0\2id\0\0\0\1\0\0\0\1\0\0\0\0\0\1k\0\1t\0\1v\0?\0\0\0\4\0\0\0\0";
                typed[sizeof typed - 10] = (uint8_t)server.type;
                answer(fd, stream, LEAT_CQL_OP_RESULT, typed, sizeof typed - 1);
                break;
            }
            answer(fd, stream, LEAT_CQL_OP_RESULT, prepared, sizeof prepared - 1);
            break;
        default:
            go_on = execute(fd, stream, part, held, &held_count, &told);
            break;
        }
    }
}

static void *serve_all(void *unused) {
    (void)unused;
    for (;;) {
        int fd = accept(server.fd, NULL, NULL);
        if (fd < 0) return NULL;
        serve(fd, atomic_fetch_add(&server.connections, 1) < server.misbehaving ? server.part : BEHAVE);
        close(fd);
    }
}

static void start(enum part part, int misbehaving) {
    memset(&server, 0, sizeof server);
    server.part = part;
    server.misbehaving = misbehaving;
    server.timeout_us = part == SILENT ? 150000 : 5000000;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&at, &size), 0);
    assert_int_equal(listen(server.fd, 8), 0);
    server.port = ntohs(at.sin_port);
}

static void stop(struct leat_cql *s) {
    leat_cql_close(s);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
}

static int64_t in_ms(int64_t ms) {
    return leat_clock_real()->monotonic_us(leat_clock_real()) + ms * 1000;
}

static struct leat_cql *open_session(const char *user, const char *password) {
    pthread_create(&server.thread, NULL, serve_all, NULL);
    char points[64];
    snprintf(points, sizeof points, " 127.0.0.1:%u ,", server.port);
    struct leat_cql_config config = {.contact_points = points,
                                     .user = user,
                                     .password = password,
                                     .in_flight_max = 8,
                                     .request_timeout_us = server.timeout_us,
                                     .retry_min_us = 1000,
                                     .retry_max_us = 20000};
    struct leat_cql *s = NULL;
    OK(leat_cql_open(leat_clock_real(), &config, &s, oops));
    return s;
}

/* Executes `count` requests, each again until it is confirmed; every one sent must be answered exactly once. Gives how
 * many failed. */
static int execute_all(struct leat_cql *s, int count) {
    int statement, failed = 0, confirmed = 0, waiting[64], waiting_count = 0;
    bool sent[64] = {false};
    OK(leat_cql_prepare(s, "INSERT", NULL, 0, &statement, oops));
    for (int i = 0; i < count; i++)
        waiting[waiting_count++] = i;
    int64_t deadline = in_ms(20000);
    while (confirmed < count) {
        assert_true(in_ms(0) < deadline);
        while (waiting_count && leat_cql_connect(s, deadline, &err))
            assert_true(err.retriable && in_ms(0) < deadline);
        while (waiting_count) {
            struct leat_cql_item item = {.statement = statement};
            struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_ONE};
            int tag = waiting[waiting_count - 1];
            enum leat_status status = leat_cql_send(s, &request, (uint64_t)tag, &err);
            if (status == LEAT_BUSY) break;
            assert_int_equal(status, LEAT_OK);
            assert_false(sent[tag]);
            sent[tag] = true;
            waiting_count--;
        }
        struct leat_cql_reply reply;
        enum leat_status status = leat_cql_wait(s, in_ms(20), &reply);
        if (status) continue;
        assert_true(sent[reply.tag]);
        sent[reply.tag] = false;
        if (reply.status == LEAT_OK)
            confirmed++;
        else {
            assert_true(reply.error.retriable);
            waiting[waiting_count++] = (int)reply.tag;
            failed++;
        }
    }
    assert_int_equal(leat_cql_in_flight(s), 0);
    return failed;
}

static void test_out_of_order(void **state) {
    (void)state;
    start(BACKWARDS, 1);
    server.asks_password = true;
    struct leat_cql *s = open_session("user", "pass");
    assert_int_equal(execute_all(s, 64), 0);
    assert_int_equal(atomic_load(&server.executed), 64);
    stop(s);
}

static void test_wrong_password(void **state) {
    (void)state;
    start(BEHAVE, 0);
    server.asks_password = true;
    struct leat_cql *s = open_session("user", "nonsense");
    assert_int_equal(leat_cql_connect(s, in_ms(5000), &err), LEAT_INVALID);
    assert_false(err.retriable);
    assert_non_null(strstr(err.text, "authentication failed (0x0100): bad"));
    stop(s);
    start(BEHAVE, 0);
    server.asks_password = true;
    s = open_session(NULL, NULL);
    assert_int_equal(leat_cql_connect(s, in_ms(5000), &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "asks for a user and a password (A), and none are given"));
    stop(s);
}

static void test_overloaded(void **state) {
    (void)state;
    start(OVERLOADED, 1);
    struct leat_cql *s = open_session(NULL, NULL);
    assert_int_equal(execute_all(s, 64), 5);
    assert_int_equal(atomic_load(&server.connections), 1);
    stop(s);
}

static void test_unprepared(void **state) {
    (void)state;
    start(FORGETS, 1);
    struct leat_cql *s = open_session(NULL, NULL);
    assert_int_equal(execute_all(s, 64), 3); /* some of them while it is being prepared again */
    assert_int_equal(atomic_load(&server.prepared), 2);
    assert_int_equal(atomic_load(&server.connections), 1);
    stop(s);
}

/* The table was made anew: what is eight bytes of microseconds in a bigint is another time in a timestamp. */
static void test_other_types(void **state) {
    (void)state;
    static const uint16_t were[] = {LEAT_CQL_BIGINT}, are[] = {LEAT_CQL_TIMESTAMP};
    struct leat_buffer values = {0};
    struct leat_cql_reply reply;
    int statement, again;
    start(FORGETS, 1);
    server.type = LEAT_CQL_BIGINT;
    struct leat_cql *s = open_session(NULL, NULL);
    leat_cql_put_integer(&values, 7, 8);
    OK(leat_cql_prepare(s, "INSERT", were, 1, &statement, oops));
    struct leat_cql_item item = {.statement = statement, .values = values.data, .values_bytes = values.length, .value_count = 1};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_ONE};
    OK(leat_cql_run(s, &request, in_ms(5000), &reply, oops));
    server.type = LEAT_CQL_TIMESTAMP;
    for (int i = 0; i < 3; i++) /* of a server that forgot it, and then while it is known that it is another one */
        assert_int_equal(leat_cql_run(s, &request, in_ms(5000), &reply, &err), i ? LEAT_CONFLICT : LEAT_BUSY);
    assert_non_null(strstr(err.text, "other types"));
    assert_int_equal(atomic_load(&server.executed), 1);
    OK(leat_cql_prepare(s, "INSERT", are, 1, &again, oops));
    assert_int_equal(again, statement);
    for (int i = 0; i < 3; i++)
        if (leat_cql_run(s, &request, in_ms(5000), &reply, &err) == LEAT_OK) break;
    assert_int_equal(atomic_load(&server.executed), 2);
    leat_buffer_deinit(&values);
    stop(s);
}

/* It is told, so that whoever sends can wait; it is not asked again and again. */
static void test_too_busy_to_prepare(void **state) {
    (void)state;
    int statement;
    start(PREPARES_NOT, 1);
    struct leat_cql *s = open_session(NULL, NULL);
    OK(leat_cql_prepare(s, "INSERT", NULL, 0, &statement, oops));
    struct leat_cql_item item = {.statement = statement};
    struct leat_cql_request request = {.items = &item, .item_count = 1, .consistency = LEAT_CQL_ONE};
    struct leat_cql_reply reply;
    assert_int_equal(leat_cql_run(s, &request, in_ms(1000), &reply, &err), LEAT_IO);
    assert_true(err.retriable && strstr(err.text, "overloaded"));
    assert_true(atomic_load(&server.prepared) <= 2);
    stop(s);
}

static void test_broken(void **state) {
    (void)state;
    static const enum part parts[] = {HANGS_UP, SILENT, OTHER_VERSION, STRANGE_STREAM};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        start(parts[i], 2);
        struct leat_cql *s = open_session(NULL, NULL);
        int failed = 0;
        if (parts[i] == OTHER_VERSION) {
            assert_int_equal(leat_cql_connect(s, in_ms(5000), &err), LEAT_IO);
            assert_non_null(strstr(err.text, "byte 0x83 instead of 0x84"));
        } else
            failed = execute_all(s, 64);
        if (parts[i] != OTHER_VERSION) assert_true(failed > 0);
        if (parts[i] == OTHER_VERSION) assert_int_equal(execute_all(s, 64), 0);
        assert_int_equal(atomic_load(&server.connections), 3);
        stop(s);
    }
}

static void test_abandon(void **state) {
    (void)state;
    start(SILENT, 1);
    struct leat_cql *s = open_session(NULL, NULL);
    struct leat_cql_item item = {.statement = -1, .text = "Q"};
    struct leat_cql_request request = {.items = &item, .item_count = 1};
    struct leat_cql_reply reply;
    assert_int_equal(leat_cql_run(s, &request, in_ms(50), &reply, &err), LEAT_BUSY);
    assert_int_equal(leat_cql_in_flight(s), 0);
    assert_int_equal(leat_cql_wait(s, in_ms(50), &reply), LEAT_END);
    assert_int_equal(execute_all(s, 16), 0);
    stop(s);
}

/* Who was away for longer than answers may take, before what was to be sent was sent or after, has the answers that are there. */
static void test_away(void **state) {
    (void)state;
    for (int sent = 0; sent < 2; sent++) {
        start(BEHAVE, 0);
        server.timeout_us = 50000;
        struct leat_cql *s = open_session(NULL, NULL);
        struct leat_cql_item item = {.statement = -1, .text = "Q"};
        struct leat_cql_request request = {.items = &item, .item_count = 1};
        struct leat_cql_reply reply;
        OK(leat_cql_connect(s, in_ms(5000), oops));
        do OK(leat_cql_send(s, &request, 7, oops));
        while (sent && leat_cql_wait(s, 0, &reply) == LEAT_OK);
        usleep(100000);
        OK(leat_cql_wait(s, in_ms(5000), &reply));
        assert_int_equal(reply.status, LEAT_OK);
        stop(s);
    }
}

static void test_contact_points(void **state) {
    (void)state;
    static const char *const bad[] = {"", " , ", "a:0", "a:70000", "a:b", ":9042", "[::1]x", "[]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct leat_cql_config config = {.contact_points = bad[i]};
        struct leat_cql *s;
        if (leat_cql_open(leat_clock_real(), &config, &s, &err) != LEAT_INVALID) fail_msg("'%s' is taken", bad[i]);
    }
    struct leat_cql_config config = {.contact_points = "a, b:1,::1,[::1],[::1]:9043"};
    struct leat_cql *s;
    OK(leat_cql_open(leat_clock_real(), &config, &s, oops));
    leat_cql_close(s);
    config.tls = true;
    config.tls_ca = "/nonexistent/ca.pem";
    assert_int_equal(leat_cql_open(leat_clock_real(), &config, &s, &err), LEAT_INVALID);
    assert_non_null(strstr(err.text, "'/nonexistent/ca.pem' cannot be used"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_requests),       cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_cut_short),  cmocka_unit_test(test_out_of_order),   cmocka_unit_test(test_wrong_password),
        cmocka_unit_test(test_overloaded), cmocka_unit_test(test_unprepared), cmocka_unit_test(test_other_types), cmocka_unit_test(test_too_busy_to_prepare),     cmocka_unit_test(test_broken),
        cmocka_unit_test(test_abandon),    cmocka_unit_test(test_away),       cmocka_unit_test(test_contact_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
