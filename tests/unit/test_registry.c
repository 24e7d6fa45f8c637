/* Schemas that name types of others, made whole. */
#include "scratch.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_first_use_is_the_definition), cmocka_unit_test(test_a_type_that_names_itself), cmocka_unit_test(test_what_cannot_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
