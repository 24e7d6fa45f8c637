/* What comes over HTTP before anything is trusted: bodies as they come and compressed, split into records; paths, parameters, tokens, hosts. The first
 * byte says which. */
#include <stdlib.h>
#include <string.h>

#include "data/json_text.h"
#include "serve/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(struct leat_buffer *text, bool lines) {
    struct leat_records records = {0};
    struct leat_error err;
    size_t length = text->length;
    if (leat_records_split(text, lines, &records, &err) == LEAT_OK) {
        for (uint32_t i = 0; i < records.count; i++) {
            struct leat_json_fault fault;
            const char *start = text->data + records.starts[i], *end = text->data + records.ends[i];
            if (records.starts[i] >= records.ends[i] || records.ends[i] > length || (i && records.starts[i] < records.ends[i - 1])) abort();
            if ((unsigned char)*end >= 0x20) abort();
            if (!lines && leat_json_skip(start, end, 0, &fault) != end) abort();
        }
    } else if (err.status != LEAT_INVALID) {
        abort();
    }
    leat_records_deinit(&records);
}

static void receive(enum leat_encoding encoding, const uint8_t *data, size_t size) {
    struct leat_body body;
    struct leat_error err;
    leat_body_init(&body, encoding);
    size_t half = size / 2;
    bool good = leat_body_add(&body, (const char *)data, half, &err) == LEAT_OK && leat_body_add(&body, (const char *)data + half, size - half, &err) == LEAT_OK &&
                leat_body_end(&body, &err) == LEAT_OK;
    if (body.content.length > LEAT_BODY_BYTES_MAX) abort();
    if (good && body.content.length) split(&body.content, encoding == LEAT_ENCODING_NONE);
    leat_body_deinit(&body);
}

static void address(const char *text) {
    static const char *const methods[] = {"GET", "POST", "PUT"};
    struct leat_query_string query = {0};
    struct leat_bearers tokens = {0};
    struct leat_error err;
    for (size_t i = 0; i < 3; i++) {
        struct leat_match match;
        leat_route_find(methods[i], text, &match);
        for (size_t k = 0; k < match.value_count; k++)
            for (const char *c = match.values[k]; *c; c++)
                if ((unsigned char)*c < 0x20) abort();
        leat_match_deinit(&match);
    }
    leat_query_add(&query, text, text);
    leat_query_deinit(&query);
    leat_host_is_loopback(text);
    leat_origin_is_own(text, text);
    if (leat_bearers_add(&tokens, "fuzz", text, &err) == LEAT_OK) leat_bearers_check(&tokens, text, LEAT_ROLE_READ, 0);
    leat_bearers_deinit(&tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct leat_buffer text = {0};
    if (!size) return 0;
    leat_putn(&text, (const char *)data + 1, size - 1);
    leat_put(&text, "");
    switch (data[0] % 6) {
    case 0: split(&text, true); break;
    case 1: split(&text, false); break;
    case 2: receive(LEAT_ENCODING_GZIP, data + 1, size - 1); break;
    case 3: receive(LEAT_ENCODING_ZSTD, data + 1, size - 1); break;
    case 4: receive(LEAT_ENCODING_NONE, data + 1, size - 1); break;
    default: address(text.data); break;
    }
    leat_buffer_deinit(&text);
    return 0;
}
