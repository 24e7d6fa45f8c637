/* serve/ without a network: paths, bodies, tokens, the route table and what is made from it. */
#include "scratch.h"

#include <jansson.h>
#include <zlib.h>
#include <zstd.h>

#include "serve/internal.h"

/* ---- addresses ------------------------------------------------------------------------------------------------- */

static void segments_are_decoded(void **state) {
    (void)state;
    static const struct { const char *text, *expected; } cases[] = {
        {"a", "a"},      {"", ""},          {"%41b", "Ab"},     {"a%2Fb", "a/b"}, {"%C3%A4", "\xC3\xA4"}, {"a+b", "a+b"},   {"%", NULL},
        {"%4", NULL},    {"%zz", NULL},     {"%00", NULL},      {"%0a", NULL},    {"\x7f", NULL},         {"%ff", NULL},    {"%C3", NULL},
        {"%2e%2e", ".."}, {"%e2%82%ac", "\xE2\x82\xAC"}, {"%ED%A0%80", NULL}, {"a%", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = leat_url_decode(cases[i].text, strlen(cases[i].text), false);
        if (cases[i].expected ? !got || strcmp(got, cases[i].expected) != 0 : got != NULL) fail_msg("%s: %s", cases[i].text, got ? got : "NULL");
        free(got);
    }
    char *got = leat_url_decode("a+b%2B", 6, true);
    assert_string_equal(got, "a b+");
    free(got);
}

static void expect_route(const char *method, const char *path, const char *route, const char *values) {
    struct leat_match match;
    struct leat_buffer joined = {0};
    leat_route_find(method, path, &match);
    leat_put(&joined, "");
    for (size_t i = 0; i < match.value_count; i++) leat_putf(&joined, i ? "|%s" : "%s", match.values[i]);
    assert_string_equal(match.route ? match.route->path : match.path_known ? "405" : "404", route);
    assert_string_equal(match.problem ? "problem" : joined.data, values);
    leat_buffer_deinit(&joined);
    leat_match_deinit(&match);
}

static void paths_find_their_route(void **state) {
    (void)state;
    expect_route("GET", "/v1/tables", "/v1/tables", "");
    expect_route("GET", "/v1/tables/t", "/v1/tables/{table}", "t");
    expect_route("GET", "/v1/tables/t/rows", "/v1/tables/{table}/rows", "t");
    expect_route("GET", "/v1/tables/t/rows/1", "/v1/tables/{table}/rows/{key...}", "t|1");
    expect_route("GET", "/v1/tables/t/rows/a%2Fb/2", "/v1/tables/{table}/rows/{key...}", "t|a/b|2");
    expect_route("GET", "/v1/tables/%2e%2e/changes", "/v1/tables/{table}/changes", "..");
    expect_route("GET", "/v1/tables/t/rows/%00", "/v1/tables/{table}/rows/{key...}", "problem");
    expect_route("POST", "/v1/sources/s", "/v1/sources/{source}", "s");
    expect_route("POST", "/v1/tables", "405", "");
    expect_route("GET", "/v1/sql", "405", "");
    expect_route("DELETE", "/v1/tables/t", "405", "");
    expect_route("GET", "/", "/{file...}", "");
    expect_route("GET", "/../../etc/passwd", "/{file...}", "..|..|etc|passwd");
    expect_route("GET", "v1", "404", "");
    expect_route("GET", "", "404", "");
    struct leat_buffer deep = {0};
    for (int i = 0; i < 100; i++) leat_put(&deep, "/x");
    expect_route("GET", deep.data, "/{file...}", "problem");
    leat_buffer_deinit(&deep);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static void openapi_has_every_route(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    leat_put_openapi(&text);
    json_error_t error;
    json_t *json = json_loadb(text.data, text.length, 0, &error);
    if (!json) fail_msg("%s", error.text);
    for (size_t i = 0; i < leat_route_count; i++) {
        char path[128], method[8], *to = path;
        for (const char *c = leat_routes[i].path; *c; c++) {
            if (strncmp(c, "...}", 4) == 0) c += 3;
            *to++ = *c;
        }
        *to = 0;
        for (size_t k = 0; k <= strlen(leat_routes[i].method); k++) method[k] = (char)(leat_routes[i].method[k] ? leat_routes[i].method[k] | 0x20 : 0);
        json_t *operation = json_object_get(json_object_get(json_object_get(json, "paths"), path), method);
        if (!operation) fail_msg("%s %s is not described", method, path);
        assert_string_equal(json_string_value(json_object_get(operation, "x-leat-role")), leat_role_name(leat_routes[i].role));
        assert_true(strlen(json_string_value(json_object_get(operation, "summary"))) > 0);
    }
    json_decref(json);
    leat_buffer_reset(&text);
    leat_put_docs_page(&text);
    assert_non_null(strstr(text.data, "/v1/sources/{source}"));
    leat_buffer_deinit(&text);
}

/* Changing and reading are never open, and never in one role. */
static void every_route_asks_for_its_role(void **state) {
    (void)state;
    for (size_t i = 0; i < leat_route_count; i++) {
        const struct leat_route *route = &leat_routes[i];
        if (strncmp(route->path, "/v1/", 4) == 0) assert_true(route->role != 0);
        assert_true(route->role == 0 || (route->role & (route->role - 1)) == 0);
    }
}

/* ---- access --------------------------------------------------------------------------------------------------------- */

#define READ "reading-token-0001"
#define WRITE "writing-token-0001"
#define BOTH "both-roles-token-1"
#define ADMIN "admin-token-000001"
#define OLD "expired-token-0001"

static void roles_decide_for_every_route(void **state) {
    (void)state;
    struct leat_bearers tokens = {0};
    OK(leat_bearers_add(&tokens, "t", "# ours\nread " READ "\nwrite " WRITE " 2030-01-01T00:00:00\nread,write " BOTH "\n\n  admin " ADMIN "\r\nread,write,admin " OLD " 2020-01-01\n", oops));
    assert_int_equal(tokens.count, 5);
    int64_t now = 1780000000000000;
    static const struct { const char *header; unsigned roles; enum leat_access otherwise; } credentials[] = {
        {NULL, 0, LEAT_ACCESS_NONE},
        {"", 0, LEAT_ACCESS_WRONG},
        {"Bearer ", 0, LEAT_ACCESS_WRONG},
        {"Basic " READ, 0, LEAT_ACCESS_WRONG},
        {"Bearer wrong-token-00001", 0, LEAT_ACCESS_WRONG},
        {"Bearer " READ "x", 0, LEAT_ACCESS_WRONG},
        {"Bearer reading-token-000", 0, LEAT_ACCESS_WRONG},
        {"Bearer " OLD, 0, LEAT_ACCESS_EXPIRED},
        {"Bearer " READ, LEAT_ROLE_READ, LEAT_ACCESS_ROLE},
        {"bearer " WRITE, LEAT_ROLE_WRITE, LEAT_ACCESS_ROLE},
        {"Bearer " BOTH, LEAT_ROLE_READ | LEAT_ROLE_WRITE, LEAT_ACCESS_ROLE},
        {"Bearer " ADMIN, LEAT_ROLE_READ | LEAT_ROLE_WRITE | LEAT_ROLE_ADMIN, LEAT_ACCESS_ROLE},
    };
    for (size_t i = 0; i < leat_route_count; i++)
        for (size_t k = 0; k < sizeof credentials / sizeof *credentials; k++) {
            unsigned role = leat_routes[i].role;
            enum leat_access expected = !role || (credentials[k].roles & role) ? LEAT_ACCESS_OK : credentials[k].otherwise;
            if (leat_bearers_check(&tokens, credentials[k].header, role, now) != expected) fail_msg("%s %s", leat_routes[i].path, credentials[k].header);
        }
    struct leat_buffer long_one = {0};
    leat_put(&long_one, "Bearer ");
    for (int i = 0; i < 10000; i++) leat_put(&long_one, "x");
    assert_int_equal(leat_bearers_check(&tokens, long_one.data, LEAT_ROLE_READ, now), LEAT_ACCESS_WRONG);
    leat_buffer_deinit(&long_one);
    leat_bearers_deinit(&tokens);
}

static void bad_tokens_are_refused_without_telling_them(void **state) {
    (void)state;
    static const char *const bad[] = {"read short", "reed " READ, READ, "read", "read " READ " tomorrow", "read, " READ, "write \x01" READ, " , " READ};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct leat_bearers tokens = {0};
        struct leat_error err;
        if (leat_bearers_add(&tokens, "file", bad[i], &err) != LEAT_INVALID) fail_msg("taken: %s", bad[i]);
        if (strstr(err.text, "token-0001") || strstr(err.text, "tomorrow")) fail_msg("told: %s", err.text);
        leat_bearers_deinit(&tokens);
    }
}

static void only_names_of_this_machine(void **state) {
    (void)state;
    static const char *const own[] = {"localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8080"};
    static const char *const other[] = {"", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "10.0.0.1", "[::2]", "[::1]x", "127.0.0", "127.0.0.1.1", "127.0.0.256", "::1"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!leat_host_is_loopback(own[i])) fail_msg("%s", own[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (leat_host_is_loopback(other[i])) fail_msg("%s", other[i]);
    assert_true(leat_origin_is_own("http://localhost:8080", "localhost:8080"));
    assert_false(leat_origin_is_own("http://evil.example", "localhost:8080"));
    assert_false(leat_origin_is_own("null", "localhost:8080"));
}

/* ---- bodies ----------------------------------------------------------------------------------------------------------- */

static void expect_records(const char *text, bool lines, const char *expected) {
    struct leat_buffer body = {0}, got = {0};
    struct leat_records records = {0};
    struct leat_error err;
    leat_put(&body, text);
    leat_put(&got, "");
    enum leat_status st = leat_records_split(&body, lines, &records, &err);
    if (st != LEAT_OK) leat_put(&got, leat_status_name(st));
    for (uint32_t i = 0; i < records.count && st == LEAT_OK; i++) {
        leat_putf(&got, i ? "~%.*s" : "%.*s", (int)(records.ends[i] - records.starts[i]), body.data + records.starts[i]);
        if ((unsigned char)body.data[records.ends[i]] >= 0x20) fail_msg("no control character behind record %u of %s", i, text);
    }
    if (strcmp(got.data, expected) != 0) fail_msg("%s: %s, not %s", text, got.data, expected);
    leat_records_deinit(&records);
    leat_buffer_deinit(&body);
    leat_buffer_deinit(&got);
}

static void bodies_split_into_records(void **state) {
    (void)state;
    expect_records("{\"a\":1}", false, "{\"a\":1}");
    expect_records(" {\n \"a\" : [1, 2] }\n", false, "{\n \"a\" : [1, 2] }");
    expect_records("[{\"a\":1},{\"a\":2}]", false, "{\"a\":1}~{\"a\":2}");
    expect_records("[ {\"a\":\"],\"} , 5 ,\n null ] ", false, "{\"a\":\"],\"}~5~null");
    expect_records("{\"a\":1}\n{\"a\":2}\n", false, "{\"a\":1}~{\"a\":2}");
    expect_records("[]", false, "");
    expect_records("  ", false, "");
    expect_records("", true, "");
    expect_records("{\"a\":1}\r\n\n  \n{bad\n{\"a\":2}", true, "{\"a\":1}~{bad~{\"a\":2}");
    static const char *const bad[] = {"[", "[1", "[1,", "[1,]", "[1 2]", "[1]]", "[1],2", "{", "{\"a\":1}}", "{\"a\":1}{\"a\":2}", "nul", "[,1]", "{\"a\":1},"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) expect_records(bad[i], false, "INVALID");
    struct leat_buffer deep = {0};
    for (int i = 0; i < LEAT_NESTING_MAX + 1; i++) leat_put(&deep, "{\"a\":");
    leat_put(&deep, "1");
    for (int i = 0; i < LEAT_NESTING_MAX + 1; i++) leat_put(&deep, "}");
    expect_records(deep.data, false, "INVALID");
    leat_buffer_deinit(&deep);
}

static char *gzip_of(const char *bytes, size_t n, size_t *out) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = n / 100 + 10000;
    char *packed = leat_alloc(room);
    z.next_in = (Bytef *)(uintptr_t)bytes, z.avail_in = (uInt)n, z.next_out = (Bytef *)packed, z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *out = z.total_out;
    deflateEnd(&z);
    return packed;
}

static enum leat_status receive_all(enum leat_encoding encoding, const char *bytes, size_t n, size_t piece, struct leat_buffer *out) {
    struct leat_body body;
    struct leat_error err;
    enum leat_status st = LEAT_OK;
    leat_body_init(&body, encoding);
    for (size_t at = 0; at < n && st == LEAT_OK; at += piece) st = leat_body_add(&body, bytes + at, n - at < piece ? n - at : piece, &err);
    if (st == LEAT_OK) st = leat_body_end(&body, &err);
    assert_true(body.content.capacity <= 2 * LEAT_BODY_BYTES_MAX + 4096);
    if (out) leat_putn(out, body.content.data ? body.content.data : "", body.content.length);
    leat_body_deinit(&body);
    return st;
}

static void compressed_bodies(void **state) {
    (void)state;
    static const char text[] = "{\"a\":1}\n{\"a\":2}\n";
    struct leat_buffer got = {0}, twice = {0};
    size_t n;
    char *packed = gzip_of(text, sizeof text - 1, &n);
    for (size_t piece = 1; piece <= n; piece += 7) {
        leat_buffer_reset(&got);
        assert_int_equal(receive_all(LEAT_ENCODING_GZIP, packed, n, piece, &got), LEAT_OK);
        assert_string_equal(got.data, text);
    }
    leat_putn(&twice, packed, n);
    leat_putn(&twice, packed, n);
    leat_buffer_reset(&got);
    assert_int_equal(receive_all(LEAT_ENCODING_GZIP, twice.data, twice.length, 5, &got), LEAT_OK);
    assert_int_equal(got.length, 2 * (sizeof text - 1));
    assert_int_equal(receive_all(LEAT_ENCODING_GZIP, packed, n - 3, n, NULL), LEAT_INVALID);
    packed[n / 2] ^= 0x55;
    assert_int_equal(receive_all(LEAT_ENCODING_GZIP, packed, n, n, NULL), LEAT_INVALID);
    free(packed);
    char frame[256];
    size_t length = ZSTD_compress(frame, sizeof frame, text, sizeof text - 1, 3);
    leat_buffer_reset(&got);
    assert_int_equal(receive_all(LEAT_ENCODING_ZSTD, frame, length, 3, &got), LEAT_OK);
    assert_string_equal(got.data, text);
    assert_int_equal(receive_all(LEAT_ENCODING_ZSTD, frame, length - 1, length, NULL), LEAT_INVALID);
    assert_int_equal(receive_all(LEAT_ENCODING_ZSTD, "no zstd at all", 14, 14, NULL), LEAT_INVALID);
    enum leat_encoding encoding;
    assert_true(leat_encoding_of("GZIP", &encoding) && encoding == LEAT_ENCODING_GZIP);
    assert_false(leat_encoding_of("br", &encoding));
    leat_buffer_deinit(&got);
    leat_buffer_deinit(&twice);
}

/* What would be 64 MiB stops at the cap, as 10 GB would: nothing is kept beyond it. */
static void bombs_stop_at_the_cap(void **state) {
    (void)state;
    size_t n, zeros = 64 * LEAT_MIB;
    char *nothing = leat_alloc(zeros), *packed = gzip_of(nothing, zeros, &n);
    assert_int_equal(receive_all(LEAT_ENCODING_GZIP, packed, n, 4096, NULL), LEAT_LIMIT);
    free(packed);
    char *frame = leat_alloc(LEAT_MIB);
    size_t length = ZSTD_compress(frame, LEAT_MIB, nothing, zeros, 3);
    assert_false(ZSTD_isError(length));
    assert_int_equal(receive_all(LEAT_ENCODING_ZSTD, frame, length, length, NULL), LEAT_LIMIT);
    assert_int_equal(receive_all(LEAT_ENCODING_NONE, nothing, zeros, LEAT_MIB, NULL), LEAT_LIMIT);
    free(frame);
    free(nothing);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_decoded),          cmocka_unit_test(paths_find_their_route),
        cmocka_unit_test(openapi_has_every_route),       cmocka_unit_test(every_route_asks_for_its_role),
        cmocka_unit_test(roles_decide_for_every_route),  cmocka_unit_test(bad_tokens_are_refused_without_telling_them),
        cmocka_unit_test(only_names_of_this_machine),    cmocka_unit_test(bodies_split_into_records),
        cmocka_unit_test(compressed_bodies),             cmocka_unit_test(bombs_stop_at_the_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
