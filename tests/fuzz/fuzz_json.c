/* The JSON decoder. First byte: which columns are NOT NULL, whether one takes unknown fields, and the encoding; then records. */
#include "decode_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct leat_option options[] = {{.name = data[0] & 4 ? "unknown_fields" : "encoding", .value = data[0] & 4 ? "t" : "latin-1"},
                                    {.name = "encoding", .value = "latin-1"}};
    struct leat_source source = {
        .name = "s", .format = LEAT_FORMAT_JSON, .options = options, .option_count = (size_t)(data[0] >> 7) + (data[0] >> 2 & 1)};
    fuzz_schema(&source.schema, data[0] & 3u);
    fuzz_decode(&source, "", 0, (const char *)data + 1, size - 1);
    leat_schema_deinit(&source.schema);
    return 0;
}
