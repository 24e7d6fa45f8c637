/* Avro values into columns by the writer's schema: conversions, what is missing, what is new, what does not fit. The bytes were written by
 * fastavro. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/avro.h"
#include "data/decode.h"
#include "data/value_text.h"
#include "scratch.h"

#include <zlib.h>

static const char SCHEMA[] =
    "{\"type\": \"record\", \"name\": \"r\", \"namespace\": \"n\", \"fields\": [{\"name\": \"id\", \"type\": \"long\"},"
    "{\"name\": \"name\", \"type\": [\"null\", \"string\"]},"
    "{\"name\": \"amount\", \"type\": {\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 18, \"scale\": 2}},"
    "{\"name\": \"day\", \"type\": {\"type\": \"int\", \"logicalType\": \"date\"}},"
    "{\"name\": \"at\", \"type\": {\"type\": \"long\", \"logicalType\": \"timestamp-millis\"}},"
    "{\"name\": \"tags\", \"type\": {\"type\": \"array\", \"items\": \"string\"}},"
    "{\"name\": \"place\", \"type\": {\"type\": \"record\", \"name\": \"p\", \"fields\": [{\"name\": \"x\", \"type\": \"double\"},"
    "{\"name\": \"of\", \"type\": [\"null\", \"r\"]}]}},"
    "{\"name\": \"kind\", \"type\": {\"type\": \"enum\", \"name\": \"k\", \"symbols\": [\"A\", \"B\"]}}, {\"name\": \"new\", \"type\": \"int\"}]}";
/* id -7, name Zoë, amount -12.34, 1969-12-31, 2024-02-29 12:00:00.005, [a, "b"], {1.5, null}, B, 1 */
static const char VALUE[] = "\x0d\x02\x08\x5a\x6f\xc3\xab\x04\xfb\x2e\x01\x8a\xd8\xe2\xcb\xbe\x63\x04\x02\x61\x06\x22\x62\x22\x00"
                            "\x00\x00\x00\x00\x00\x00\xf8\x3f\x00\x02\x02";
enum { VALUE_BYTES = sizeof VALUE - 1 };

struct world {
    char *dir;
    struct leat_source source;
    struct leat_option registry;
    struct leat_decoder *decoder;
    struct leat_changes out;
};

static void put_schema(const struct world *w, unsigned id, const char *text) {
    char *path = leat_asprintf("%s/%u.json", w->dir, id);
    OK(leat_io_write_durable(leat_io_real(), path, text, strlen(text), true, oops));
    free(path);
}

/* columns: "name TYPE [!]" separated by ';' */
static void world_init(struct world *w, const char *columns) {
    *w = (struct world){.dir = leat_strdup(scratch_make()), .registry = {.name = (char *)"schema.registry.url", .value = (char *)"http://x"}};
    w->source = (struct leat_source){.name = (char *)"s", .format = LEAT_FORMAT_AVRO, .options = &w->registry, .option_count = 1};
    char *copy = leat_strdup(columns), *save = NULL;
    for (char *part = strtok_r(copy, ";", &save); part; part = strtok_r(NULL, ";", &save)) {
        char *type = strchr(part, ' '), *mark = strchr(part, '!');
        struct leat_type t;
        *type++ = 0;
        if (mark) *mark = 0;
        OK(leat_type_parse(type, strlen(type), &t, oops));
        leat_schema_add(&w->source.schema, part, t, mark != NULL);
    }
    free(copy);
    OK(leat_decoder_open(&w->source, &w->decoder, oops));
    leat_decoder_use_schemas(w->decoder, leat_io_real(), w->dir);
    leat_changes_init(&w->out, &w->source.schema);
    put_schema(w, 17, SCHEMA);
}

static void world_deinit(struct world *w) {
    leat_changes_deinit(&w->out);
    leat_decoder_close(w->decoder);
    leat_schema_deinit(&w->source.schema);
    scratch_remove(w->dir);
    free(w->dir);
}

/* The row as JSON, or "reject: " and the reason; '*' behind it: the columns lose something. */
static void expect(struct world *w, unsigned id, const char *value, size_t length, const char *expected) {
    char payload[512] = {0, 0, 0, 0, (char)id};
    uint32_t start = 0, end = (uint32_t)(5 + length), record;
    uint8_t lossy = 0;
    const struct leat_reject *rejects;
    size_t reject_count;
    struct leat_buffer text = {0};
    memcpy(payload + 5, value, length);
    struct leat_block block = {.payload = payload, .payload_bytes = end, .starts = &start, .ends = &end, .record_count = 1};
    leat_changes_reset(&w->out);
    OK(leat_decode(w->decoder, &block, 0, 1, &w->out, &record, &lossy, &rejects, &reject_count, oops));
    if (reject_count)
        leat_putf(&text, "reject: %s", rejects[0].reason);
    else
        leat_put_json_row(&text, &w->out, 0);
    if (!reject_count && lossy) leat_put(&text, "*");
    if (!strstr(text.data, expected)) fail_msg("%s\nis not %s", text.data, expected);
    leat_buffer_deinit(&text);
}

static void a_value_becomes_a_row(void **state) {
    (void)state;
    struct world w;
    world_init(&w, "id BIGINT !;name VARCHAR;amount DECIMAL(18,2);day DATE;at TIMESTAMP;tags VARCHAR;place VARCHAR;kind VARCHAR;other INTEGER");
    expect(&w, 17, VALUE, VALUE_BYTES,
           "{\"id\":-7,\"name\":\"Zoë\",\"amount\":-12.34,\"day\":\"1969-12-31\",\"at\":\"2024-02-29T12:00:00.005\",\"tags\":\"[\\\"a\\\",\\\"\\\\\\\"b\\\\\\\"\\\"]\","
           "\"place\":\"{\\\"x\\\":1.5,\\\"of\\\":null}\",\"kind\":\"B\",\"other\":null}*");
    for (size_t cut = 0; cut < VALUE_BYTES; cut++) expect(&w, 17, VALUE, cut, "reject: not the Avro that its schema says: it ends in the middle of a value");
    world_deinit(&w);
}

static void types_convert_or_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *columns, *expected;
    } cases[] = {
        {"ID INTEGER;amount DOUBLE;day TIMESTAMP;at VARCHAR", "\"amount\":-12.34,\"day\":\"1969-12-31T00:00:00\",\"at\":\"2024-02-29 12:00:00.005\"}"},
        {"id HUGEINT;amount VARCHAR;at TIMESTAMPTZ;at DATE", "\"amount\":\"-12.34\",\"at\":\"2024-02-29T12:00:00.005Z\""},
        {"id UTINYINT", "reject: column \"id\": value '-7' "},
        {"kind INTEGER", "reject: column \"kind\": value 'B' is not a"},
        {"amount INTEGER", "reject: column \"amount\""},
        {"amount DECIMAL(3,2)", "reject: column \"amount\""},
        {"amount DECIMAL(9,1)", "{\"amount\":-12.3}*"},
        {"gone VARCHAR !", "reject: column \"gone\" is NOT NULL, but the record does not have it"},
        {"name BLOB", "{\"name\":\"Wm/Dqw==\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        world_init(&w, cases[i].columns);
        expect(&w, 17, VALUE, VALUE_BYTES, cases[i].expected);
        world_deinit(&w);
    }
}

static void schemas_that_cannot_be_used_say_why(void **state) {
    (void)state;
    struct world w;
    world_init(&w, "id BIGINT");
    expect(&w, 1, VALUE, VALUE_BYTES, "reject: schema 1 is not in the connector's folder of schemas");
    put_schema(&w, 2, "");
    expect(&w, 2, VALUE, VALUE_BYTES, "reject: the schema registry has no schema 2");
    put_schema(&w, 3, "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"x\",\"type\":\"r\"}]}");
    expect(&w, 3, VALUE, VALUE_BYTES, "reject: a record of the schema is directly inside itself");
    put_schema(&w, 4, "{\"type\":\"recrd\"}");
    expect(&w, 4, VALUE, VALUE_BYTES, "reject: the schema names a type 'recrd' that it does not define");
    put_schema(&w, 5, "{");
    expect(&w, 5, VALUE, VALUE_BYTES, "reject: the schema is not JSON");
    put_schema(&w, 6, "\"long\""); /* a bare value, of the only column */
    expect(&w, 6, "\x0d", 1, "{\"id\":-7}");
    expect(&w, 6, "\x0d\x0d", 2, "reject: not the Avro that its schema says: something follows the value");
    expect(&w, 6, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "more than ten bytes");
    put_schema(&w, 7, "[\"null\",\"long\"]");
    expect(&w, 7, "\x04", 1, "a union's branch is not one of its schema");
    world_deinit(&w);
}

/* Thirty records inside each other, each twice: two to the power of thirty values in no bytes. */
static void values_without_bytes_are_bounded(void **state) {
    (void)state;
    struct leat_buffer text = {0};
    struct world w;
    world_init(&w, "id BIGINT;big VARCHAR");
    leat_put(&text, "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"n0\",\"type\":{\"type\":\"record\",\"name\":\"r0\",\"fields\":[]}}");
    for (int i = 1; i <= 30; i++)
        leat_putf(&text, ",{\"name\":\"n%d\",\"type\":{\"type\":\"record\",\"name\":\"r%d\",\"fields\":[{\"name\":\"a\",\"type\":\"r%d\"},{\"name\":\"b\",\"type\":\"r%d\"}]}}", i, i, i - 1, i - 1);
    leat_put(&text, ",{\"name\":\"big\",\"type\":\"r30\"}]}");
    put_schema(&w, 8, text.data);
    expect(&w, 8, "", 0, "reject: not the Avro that its schema says: it has too many values");
    leat_buffer_deinit(&text);
    world_deinit(&w);
}

static void a_decimal_beyond_its_bytes_is_refused(void **state) {
    (void)state;
    struct world w;
    world_init(&w, "id DECIMAL(38,0)");
    put_schema(&w, 9, "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":40,\"scale\":0}");
    expect(&w, 9, "\x04\xff\xfe", 3, "{\"id\":-2}");
    expect(&w, 9, "\x26\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x2c", 20, "{\"id\":300}");
    /* 2^128 - 1 is not -1, nor -2^128 + 1 one. */
    expect(&w, 9, "\x22\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 18, "a decimal has more than 38 digits");
    expect(&w, 9, "\x22\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 18, "a decimal has more than 38 digits");
    world_deinit(&w);
}

/* A container file (Obj 1, its schema and codec, 16 bytes, one record, deflated, 16 bytes) of a string of so many letters. */
static struct leat_bytes container(struct leat_arena *arena, size_t letters, char *file) {
    static const char head[] = "Obj\1\4\x16" "avro.schema\x10\"string\"\x14" "avro.codec\x0e" "deflate\0" "0123456789abcdef\2", sync[] = "0123456789abcdef";
    char *text = leat_arena_alloc(arena, letters + 4), *at = file;
    size_t n = 0;
    for (uint64_t left = 2 * letters; n == 0 || left; left >>= 7) text[n++] = (char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    memset(text + n, 'x', letters);
    z_stream z = {.next_in = (Bytef *)text, .avail_in = (uInt)(n + letters)};
    unsigned char packed[1 << 14];
    z.next_out = packed;
    z.avail_out = sizeof packed;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (uint64_t left = 2 * z.total_out; left; left >>= 7) *at++ = (char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    memcpy(at, packed, z.total_out);
    at += z.total_out;
    memcpy(at, sync, 16);
    return (struct leat_bytes){file, (size_t)(at + 16 - file)};
}

static void containers_take_the_memory_they_need(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 1000, 100000, 8000000};
    struct leat_arena arena = {0};
    char *file = leat_arena_alloc(&arena, 1 << 15);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct leat_arena memory = {0};
        struct leat_bytes schema, record, bytes = container(&arena, sizes[i], file);
        const char *why = leat_avro_container_open(bytes, &memory, &schema, &record);
        if (why) fail_msg("%zu: %s", sizes[i], why);
        assert_true(record.length >= sizes[i] + 1 && record.length <= sizes[i] + 4);
        assert_true(sizes[i] < 1000000 ? memory.used_bytes < 8 * sizes[i] + 20000 : memory.used_bytes < 3 * sizes[i]);
        leat_arena_deinit(&memory);
        bytes.length -= 17; /* cut: it is not what it says */
        assert_non_null(leat_avro_container_open(bytes, &memory, &schema, &record));
        leat_arena_deinit(&memory);
    }
    leat_arena_deinit(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_becomes_a_row),
        cmocka_unit_test(types_convert_or_are_refused),
        cmocka_unit_test(schemas_that_cannot_be_used_say_why),
        cmocka_unit_test(values_without_bytes_are_bounded),
        cmocka_unit_test(a_decimal_beyond_its_bytes_is_refused),
        cmocka_unit_test(containers_take_the_memory_they_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
