/* The CSV decoder and the splitting of records. First byte: options; then a header line; then records. */
#include "decode_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes may come in pieces: the records are the same. */
static void check_pieces(const char *text, size_t n, size_t piece) {
    uint32_t whole_starts[RECORDS_MAX], whole_ends[RECORDS_MAX], starts[RECORDS_MAX], ends[RECORDS_MAX], whole, count;
    char *copy = leat_realloc(NULL, n + 1); /* not one byte more is promised here */
    memcpy(copy, text, n);
    leat_split_records(LEAT_FORMAT_CSV, copy, n, true, whole_starts, whole_ends, RECORDS_MAX, &whole);
    size_t at = 0, have = 0, found = 0;
    while (at < n && found < whole) {
        have = n - have < piece ? n : have + piece;
        size_t used =
            leat_split_records(LEAT_FORMAT_CSV, copy + at, have - at, have == n, starts, ends, RECORDS_MAX, &count);
        for (uint32_t i = 0; i < count && found < whole; i++, found++) {
            CHECK(at + starts[i] == whole_starts[found]);
            CHECK(at + ends[i] == whole_ends[found]);
        }
        if (have == n && !used) break;
        at += used;
    }
    CHECK(found == whole);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    struct leat_option options[] = {{.name = "delimiter",
                                     .value = data[0] & 1   ? ";"
                                              : data[0] & 2 ? "\t"
                                                            : ","},
                                    {.name = "null_string", .value = data[0] & 4 ? "NULL" : "-"},
                                    {.name = "encoding", .value = data[0] & 8 ? "latin-1" : "utf-8"}};
    struct leat_source source = {.name = "s", .format = LEAT_FORMAT_CSV, .options = options, .option_count = 3};
    fuzz_schema(&source.schema, data[0] & 16 ? 1 : 0);
    const char *header = (const char *)data + 1, *end = (const char *)data + size;
    const char *line = memchr(header, '\n', size - 1);
    const char *text = line ? line + 1 : end;
    fuzz_decode(&source, header, (size_t)(text - header), text, (size_t)(end - text));
    check_pieces(text, (size_t)(end - text), 1 + (data[0] >> 5));
    leat_schema_deinit(&source.schema);
    return 0;
}
