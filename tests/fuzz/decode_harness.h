/* What fuzz_json and fuzz_csv share: decode the input twice, once all records with one decoder that learns from
 * record to record, once each record by itself with a new one, and insist on the same rows and rejects. */
#ifndef LEAT_FUZZ_DECODE_HARNESS_H
#define LEAT_FUZZ_DECODE_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "data/decode.h"
#include "data/key.h"
#include "data/utf8.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { RECORDS_MAX = 24 };

static const char *const fuzz_types[] = {
    "VARCHAR",  "BIGINT",   "INTEGER",  "DECIMAL(18,2)", "TIMESTAMP",   "DOUBLE",        "BOOLEAN",
    "SMALLINT", "UTINYINT", "HUGEINT",  "UHUGEINT",      "FLOAT",       "DECIMAL(38,9)", "DATE",
    "TIME",     "UUID",     "INTERVAL", "BLOB",          "TIMESTAMPTZ", "VARCHAR",       "DECIMAL(4,4)"};

/* Columns a, b, c, ... of every type; the ones of `needed` are NOT NULL. */
static inline void fuzz_schema(struct leat_schema *s, uint32_t needed) {
    for (size_t i = 0; i < sizeof fuzz_types / sizeof *fuzz_types; i++) {
        struct leat_type type;
        struct leat_error err;
        CHECK(leat_type_parse(fuzz_types[i], strlen(fuzz_types[i]), &type, &err) == LEAT_OK);
        leat_schema_add(s, (char[2]){(char)('a' + i), 0}, type, needed >> i & 1);
    }
}

static inline void check_batch(const struct leat_changes *c) {
    for (size_t i = 0; i < c->schema->field_count; i++) {
        struct leat_type type = c->columns[i].type;
        for (size_t row = 0; row < c->row_count; row++) {
            CHECK(!(leat_is_null(&c->columns[i], row) && c->schema->fields[i].not_null));
            if (!leat_type_is_string(type)) continue;
            const struct leat_string *s = (const struct leat_string *)c->columns[i].data + row;
            volatile char sum = 0; /* every byte is readable */
            for (uint32_t k = 0; k < s->length; k++)
                sum = (char)(sum + leat_string_data(s)[k]);
            if (type.kind == LEAT_VARCHAR) CHECK(leat_utf8_valid(leat_string_data(s), s->length));
            for (uint32_t k = s->length; k < LEAT_STRING_INLINE; k++)
                CHECK(s->u.inlined[k] == 0);
        }
    }
}

static inline void fuzz_decode(const struct leat_source *source, const char *header, size_t header_length,
                               const char *text, size_t n) {
    struct leat_decoder *together, *alone;
    struct leat_changes all, one;
    struct leat_error err;
    uint32_t starts[RECORDS_MAX], ends[RECORDS_MAX], count, rows[RECORDS_MAX], ignored[1];
    uint8_t lossy[RECORDS_MAX], lossy_one;
    uint16_t columns[sizeof fuzz_types / sizeof *fuzz_types];
    const struct leat_reject *rejects, *reject_one;
    size_t reject_count, reject_count_one, next_row = 0, next_reject = 0;
    if (leat_decoder_open(source, &together, &err)) return;
    /* Exactly as many readable bytes as promised, and nothing friendly in them. */
    char *payload = leat_realloc(NULL, n + LEAT_PAYLOAD_SLACK);
    memcpy(payload, text, n);
    memset(payload + n, '"', LEAT_PAYLOAD_SLACK);
    size_t used = leat_split_records(source->format, payload, n, true, starts, ends, RECORDS_MAX, &count);
    CHECK(used <= n && (count == RECORDS_MAX || used == n));
    struct leat_block block = {.payload = payload,
                               .payload_bytes = n,
                               .starts = starts,
                               .ends = ends,
                               .record_count = count,
                               .header = header,
                               .header_length = header_length};
    leat_changes_init(&all, &source->schema);
    leat_changes_init(&one, &source->schema);
    for (uint16_t i = 0; i < source->schema.field_count; i++)
        columns[i] = i;
    CHECK(leat_decode(together, &block, 0, count, &all, rows, lossy, &rejects, &reject_count, &err) == LEAT_OK);
    CHECK(all.row_count + reject_count == count);
    check_batch(&all);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(leat_decoder_open(source, &alone, &err) == LEAT_OK);
        leat_changes_reset(&one);
        CHECK(leat_decode(alone, &block, i, 1, &one, ignored, &lossy_one, &reject_one, &reject_count_one, &err) ==
              LEAT_OK);
        if (reject_count_one) {
            CHECK(next_reject < reject_count && rejects[next_reject].record == i);
            CHECK(leat_utf8_valid(reject_one[0].reason, strlen(reject_one[0].reason)));
            CHECK(!strcmp(rejects[next_reject].reason, reject_one[0].reason) || source->format == LEAT_FORMAT_JSON);
            next_reject++;
        } else {
            CHECK(next_row < all.row_count && rows[next_row] == i && lossy[next_row] == lossy_one);
            CHECK(leat_key_equal(&all, next_row, columns, &one, 0, columns, source->schema.field_count));
            next_row++;
        }
        leat_decoder_close(alone);
    }
    leat_changes_deinit(&all);
    leat_changes_deinit(&one);
    leat_decoder_close(together);
    free(payload);
}

#endif
