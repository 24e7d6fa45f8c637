/* The JSON decoder. First byte: which columns are NOT NULL and the encoding; then records. */
#include "decode_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct leat_option latin1 = {.name = "encoding", .value = "latin-1"};
    struct leat_source source = {
        .name = "s", .format = LEAT_FORMAT_JSON, .options = &latin1, .option_count = data[0] >> 7};
    fuzz_schema(&source.schema, data[0] & 3u);
    fuzz_decode(&source, "", 0, (const char *)data + 1, size - 1);
    leat_schema_deinit(&source.schema);
    return 0;
}
