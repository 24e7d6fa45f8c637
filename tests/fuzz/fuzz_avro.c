/* Avro: a schema, and values by it, as a container file or framed. Events of change feeds: found, split, decoded. First byte: what it is.
 *   1  Avro: two bytes of the schema's length, the schema, the value's bytes
 *   2  an Avro container file
 *   3+ an event of a feed in JSON, which is split, and its pieces read */
#include "decode_harness.h"

#include "data/avro.h"
#include "data/change_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const char *text, size_t length, struct leat_bytes value) {
    struct leat_arena arena = {0};
    struct leat_avro_schema schema;
    struct leat_buffer json = {0}, plain = {0};
    if (!leat_avro_schema_parse(text, length, &arena, &schema)) {
        struct leat_avro_cursor skipped = leat_avro_cursor(value), printed = skipped, read = skipped;
        leat_avro_skip(&schema, 0, &skipped, 0);
        leat_avro_put_json(&schema, 0, &printed, 0, &json);
        leat_avro_put_text(&schema, 0, &read, &plain);
        CHECK(skipped.at <= skipped.end && printed.at <= printed.end && read.at <= read.end);
        if (!printed.fault) CHECK(!skipped.fault && skipped.at == printed.at);
    }
    leat_avro_schema_deinit(&schema);
    leat_buffer_deinit(&json);
    leat_buffer_deinit(&plain);
    leat_arena_deinit(&arena);
}

static void decode(enum leat_format format, enum leat_change_feed feed, const char *text, size_t length) {
    struct leat_source source = {.name = "s", .format = format, .feed = feed};
    struct leat_decoder *decoder;
    struct leat_changes rows;
    const struct leat_reject *rejects;
    size_t reject_count;
    uint32_t start = 0, end = (uint32_t)length, record;
    struct leat_block block = {.payload = text, .payload_bytes = length, .starts = &start, .ends = &end, .record_count = 1};
    fuzz_schema(&source.schema, 1);
    source.value_count = source.schema.field_count;
    if (feed != LEAT_FEED_NONE) {
        leat_schema_add(&source.schema, "__deleted", (struct leat_type){.kind = LEAT_BOOLEAN}, true);
        source.meta = leat_alloc(source.schema.field_count);
        source.meta[source.value_count] = LEAT_META_DELETED;
        source.primary_key = leat_alloc(sizeof *source.primary_key);
        source.primary_key_count = 1;
    }
    CHECK(leat_decoder_open(&source, &decoder, NULL) == LEAT_OK);
    leat_changes_init(&rows, &source.schema);
    CHECK(leat_decode(decoder, &block, 0, 1, &rows, &record, NULL, &rejects, &reject_count, NULL) == LEAT_OK);
    CHECK(rows.row_count + reject_count == 1);
    if (reject_count) CHECK(leat_utf8_valid(rejects[0].reason, strlen(rejects[0].reason)));
    leat_changes_deinit(&rows);
    leat_decoder_close(decoder);
    leat_schema_deinit(&source.schema);
    free(source.meta);
    free(source.primary_key);
}

static void split(enum leat_change_feed feed, const char *text, size_t length) {
    static const char *const columns[] = {"a", "b"};
    struct leat_arena arena = {0};
    struct leat_bytes *pieces;
    size_t count = leat_change_event_split(feed, (struct leat_bytes){text, length}, columns, 2, &arena, &pieces);
    CHECK(count != 1);
    for (size_t i = 0; i < count; i++) {
        char *copy = leat_alloc(pieces[i].length + LEAT_PAYLOAD_SLACK);
        memcpy(copy, pieces[i].data, pieces[i].length);
        decode(LEAT_FORMAT_JSON, feed, copy, pieces[i].length);
        free(copy);
    }
    leat_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    uint8_t what = data[0];
    char *text = leat_alloc(size + LEAT_PAYLOAD_SLACK);
    memcpy(text, data + 1, size - 1);
    if (what == 1) {
        size_t schema = (size_t)data[1] | (size_t)data[2] << 8, rest = size - 3;
        if (schema > rest) schema = rest;
        walk(text + 2, schema, (struct leat_bytes){text + 2 + schema, rest - schema});
    } else if (what == 2) {
        decode(LEAT_FORMAT_AVRO, LEAT_FEED_NONE, text, size - 1);
    } else {
        enum leat_change_feed feed = (enum leat_change_feed)(1 + what % 4);
        decode(LEAT_FORMAT_JSON, feed, text, size - 1);
        split(feed, text, size - 1);
    }
    free(text);
    return 0;
}
