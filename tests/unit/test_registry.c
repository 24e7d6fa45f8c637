/* Schemas that name types of others, made whole. */
#include "scratch.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect/registry.h"
#include "data/avro.h"

#define ADDRESS "{\"type\":\"record\",\"name\":\"Address\",\"namespace\":\"shop\",\"fields\":[{\"name\":\"zip\",\"type\":\"shop.Zip\"}]}"
#define ZIP "{\"type\":\"fixed\",\"name\":\"Zip\",\"namespace\":\"shop\",\"size\":5}"

/* The whole schema parses by itself. */
static char *whole(const char *schema, const struct leat_registry_type *types, size_t count) {
    struct leat_avro_schema parsed = {0};
    struct leat_arena arena = {0};
    char *text = leat_registry_inline(schema, types, count);
    assert_non_null(text);
    const char *fault = leat_avro_schema_parse(text, strlen(text), &arena, &parsed);
    if (fault) fail_msg("%s: %s", text, fault);
    leat_avro_schema_deinit(&parsed);
    leat_arena_deinit(&arena);
    return text;
}

static void test_first_use_is_the_definition(void **state) {
    struct leat_registry_type types[] = {{(char[]){"shop.Zip"}, (char[]){ZIP}}, {(char[]){"shop.Address"}, (char[]){ADDRESS}}};
    (void)state;
    char *text = whole("{\"type\":\"record\",\"name\":\"Order\",\"namespace\":\"shop\",\"fields\":[{\"name\":\"to\",\"type\":[\"null\",\"shop.Address\"]},"
                       "{\"name\":\"from\",\"type\":\"Address\"},{\"name\":\"zips\",\"type\":{\"type\":\"array\",\"items\":\"Zip\"}}]}", types, 2);
    char *first = strstr(text, "\"name\":\"Address\"");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"name\":\"Address\""));
    free(text);
}

static void test_a_type_that_names_itself(void **state) {
    struct leat_registry_type types[] = {{(char[]){"Node"}, (char[]){"{\"type\":\"record\",\"name\":\"Node\",\"fields\":[{\"name\":\"next\",\"type\":[\"null\",\"Node\"]}]}"}}};
    (void)state;
    free(whole("{\"type\":\"record\",\"name\":\"List\",\"fields\":[{\"name\":\"head\",\"type\":\"Node\"}]}", types, 1));
    free(whole("\"Node\"", types, 1));
}

static void test_what_cannot_be(void **state) {
    struct leat_registry_type broken[] = {{(char[]){"A"}, (char[]){"{\"type\":"}}};
    struct leat_buffer deep = {0};
    (void)state;
    assert_null(leat_registry_inline("\"A\"", broken, 1));
    assert_null(leat_registry_inline("{", broken, 1));
    for (int i = 0; i < 200; i++) leat_put(&deep, "{\"type\":\"array\",\"items\":");
    leat_put(&deep, "\"int\"");
    for (int i = 0; i < 200; i++) leat_put(&deep, "}");
    assert_null(leat_registry_inline(deep.data, NULL, 0));
    leat_buffer_deinit(&deep);
}

/* ---- What a registry answers, and what something else does at its address ---- */

static int listener;

/* Each connection gets the answer. */
static void *answer_all(void *answer) {
    char request[4096];
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        if (recv(fd, request, sizeof request, 0) > 0) send(fd, answer, strlen(answer), MSG_NOSIGNAL);
    return NULL;
}

/* The schema's file when this is the answer to a question for it; NULL: there is none. */
static char *fetched(const char *status, const char *body, enum leat_status expected) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    struct leat_buffer file = {0};
    struct leat_error err;
    pthread_t thread;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, size) | getsockname(listener, (struct sockaddr *)&at, &size) | listen(listener, 8), 0);
    char *answer = leat_asprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body);
    assert_int_equal(pthread_create(&thread, NULL, answer_all, answer), 0);
    char *dir = leat_strdup(scratch_make()), *url = leat_asprintf("http://127.0.0.1:%u/registry/", ntohs(at.sin_port)), *path = leat_asprintf("%s/7.json", dir);
    struct leat_registry *registry = leat_registry_open(leat_io_real(), url, NULL, NULL, dir);
    assert_int_equal(leat_registry_fetch(registry, 7, &err), expected);
    enum leat_status st = leat_io_read_all(leat_io_real(), path, 1000, &file, &err);
    assert_int_equal(st, expected == LEAT_OK ? LEAT_OK : LEAT_NOT_FOUND);
    leat_registry_close(registry);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    scratch_remove(dir);
    free(dir);
    free(url);
    free(path);
    free(answer);
    return st == LEAT_OK && !file.data ? leat_strdup("") : file.data;
}

static void test_answers(void **state) {
    (void)state;
    char *schema = fetched("200 OK", "{\"schema\":\"\\\"long\\\"\"}", LEAT_OK);
    assert_string_equal(schema, "\"long\"");
    free(schema);
    schema = fetched("404 Not Found", "{\"error_code\":40403,\"message\":\"Schema 7 not found\"}", LEAT_OK); /* there is none: its records are dead letters */
    assert_string_equal(schema, "");
    free(schema);
    assert_null(fetched("404 Not Found", "<html>nothing here</html>", LEAT_IO)); /* no registry: nothing is known of the schema */
    assert_null(fetched("404 Not Found", "", LEAT_IO));
    assert_null(fetched("200 OK", "{}", LEAT_IO));
    assert_null(fetched("503 Service Unavailable", "{\"error_code\":50003}", LEAT_IO));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_first_use_is_the_definition), cmocka_unit_test(test_a_type_that_names_itself), cmocka_unit_test(test_what_cannot_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
