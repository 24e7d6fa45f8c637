/* Decoders: opening, the loop over a block's records, reasons for rejects. The formats are in json_decode.c and
 * csv_decode.c, the splitting of bytes into records in split.c. See decode.h. */
#include "data/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "base/limits.h"
#include "base/options.h"
#include "data/decode_internal.h"
#include "data/utf8.h"

enum { QUOTE_MAX = 60, RECORD_PADDING_BYTES = 64 };

/* Only what was given: the decoders know their own defaults, and need no more of a source than its struct. */
const char *leat_decoder_option(const struct leat_source *source, const char *name) {
    for (size_t i = 0; i < source->option_count; i++)
        if (!strcasecmp(source->options[i].name, name)) return source->options[i].value;
    return NULL;
}

static enum leat_status read_encoding(struct leat_decoder *d, const struct leat_source *source,
                                      struct leat_error *err) {
    static const char *const latin[] = {"latin-1", "latin1", "iso-8859-1"}, *const unicode[] = {"utf-8", "utf8"};
    const char *encoding = leat_decoder_option(source, "encoding");
    if (!encoding) return LEAT_OK;
    for (size_t i = 0; i < sizeof latin / sizeof *latin; i++)
        if (!strcasecmp(encoding, latin[i])) {
            d->latin1 = true;
            return LEAT_OK;
        }
    for (size_t i = 0; i < sizeof unicode / sizeof *unicode; i++)
        if (!strcasecmp(encoding, unicode[i])) return LEAT_OK;
    return leat_fail(err, LEAT_INVALID, "source \"%s\": encoding '%s' is not known; use 'utf-8' or 'latin-1'",
                     source->name, encoding);
}

static enum leat_status read_max_record(struct leat_decoder *d, const struct leat_source *source, struct leat_error *err) {
    const char *text = leat_decoder_option(source, "max_line_bytes");
    int64_t bytes = (int64_t)LEAT_MIB;
    enum leat_status status = text ? leat_parse_size(text, &bytes, err) : LEAT_OK;
    d->max_record_bytes = bytes > 0 ? (size_t)bytes : 1;
    return status;
}

enum leat_status leat_decoder_open(const struct leat_source *source, struct leat_decoder **out,
                                   struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    struct leat_decoder *d = leat_alloc(sizeof *d);
    *out = NULL;
    d->format = source->format;
    d->source = leat_strdup(source->name);
    leat_schema_copy(&d->schema, &source->schema);
    d->keys = leat_alloc((d->schema.field_count + 1) * sizeof *d->keys);
    for (size_t i = 0; i < d->schema.field_count; i++) {
        const char *key = source->source_names ? source->source_names[i] : NULL;
        d->keys[i] = leat_strdup(key ? key : d->schema.fields[i].name);
        if (d->schema.fields[i].type.kind == LEAT_NESTED) {
            status = leat_fail(
                err, LEAT_UNSUPPORTED,
                "source \"%s\", column \"%s\": nested types cannot be decoded; declare VARCHAR and keep the JSON text",
                source->name, d->schema.fields[i].name);
            goto out;
        }
    }
    status = read_encoding(d, source, err);
    if (status == LEAT_OK) status = read_max_record(d, source, err);
    if (status) goto out;
    switch (d->format) {
    case LEAT_FORMAT_JSON:
        status = leat_json_open(d, err);
        break;
    case LEAT_FORMAT_CSV:
        status = leat_csv_open(d, source, err);
        break;
    case LEAT_FORMAT_PARQUET:
        status = leat_fail(err, LEAT_UNSUPPORTED,
                           "source \"%s\": Parquet files are read by DuckDB, not record by record", source->name);
        break;
    }
out:
    if (status) {
        leat_decoder_close(d);
        return status;
    }
    *out = d;
    return LEAT_OK;
}

void leat_decoder_close(struct leat_decoder *d) {
    if (!d) return;
    leat_json_close(d->json);
    leat_csv_close(d->csv);
    for (size_t i = 0; d->keys && i < d->schema.field_count; i++)
        free(d->keys[i]);
    free(d->keys);
    leat_schema_deinit(&d->schema);
    free(d->source);
    free(d->rejects);
    leat_arena_deinit(&d->reasons);
    free(d);
}

int leat_decoder_find(const struct leat_decoder *d, const char *name, size_t length) {
    int without_case = -1;
    for (size_t i = 0; i < d->schema.field_count; i++) {
        if (strlen(d->keys[i]) != length) continue;
        if (!memcmp(d->keys[i], name, length)) return (int)i;
        if (without_case < 0 && !strncasecmp(d->keys[i], name, length)) without_case = (int)i;
    }
    return without_case;
}

char *leat_reject_quote(struct leat_decoder *d, const char *value, size_t length) {
    bool cut = length > QUOTE_MAX;
    size_t n = cut ? QUOTE_MAX : length, used = 0;
    char *out = leat_arena_alloc(&d->reasons, n + sizeof "'...'");
    out[used++] = '\'';
    for (size_t i = 0; i < n;) {
        size_t left = n - i > 4 ? 4 : n - i, sequence = 1;
        unsigned char c = (unsigned char)value[i];
        while (c >= 0x80 && sequence <= left && !leat_utf8_valid(value + i, sequence))
            sequence++;
        if (c < 0x20 || c == 0x7f || sequence > left) { /* not text, or cut in the middle of a character */
            out[used++] = '?';
            i++;
            continue;
        }
        memcpy(out + used, value + i, sequence);
        used += sequence;
        i += sequence;
    }
    memcpy(out + used, cut ? "...'" : "'", cut ? 5 : 2);
    return out;
}

char *leat_reject_value(struct leat_decoder *d, size_t column, enum leat_value_status status, const char *value,
                        size_t length) {
    const struct leat_field *field = &d->schema.fields[column];
    return leat_arena_printf(&d->reasons, "column \"%s\": value %s %s", field->name,
                             leat_reject_quote(d, value, length), leat_value_reason(status, field->type, &d->reasons));
}

char *leat_reject_missing(struct leat_decoder *d, size_t column, bool is_null) {
    return leat_arena_printf(&d->reasons, "column \"%s\" is NOT NULL, but %s", d->schema.fields[column].name,
                             is_null ? "the record has null" : "the record does not have it");
}

static void reject(struct leat_decoder *d, uint32_t record, const char *reason) {
    if (d->reject_count == d->reject_capacity) {
        d->reject_capacity = d->reject_capacity ? d->reject_capacity * 2 : 64;
        d->rejects = leat_realloc(d->rejects, d->reject_capacity * sizeof *d->rejects);
    }
    d->rejects[d->reject_count++] = (struct leat_reject){.record = record, .reason = (char *)reason};
}

/* A copy in the batch's memory with a line feed and readable bytes behind; `latin1`: as UTF-8. */
static struct leat_record copy_record(struct leat_arena *arena, const char *text, size_t length, bool latin1) {
    size_t used = 0;
    char *copy = leat_arena_alloc(arena, (latin1 ? length * 2 : length) + RECORD_PADDING_BYTES + 1);
    if (latin1)
        for (size_t i = 0; i < length; i++)
            used += leat_utf8_put(copy + used, (unsigned char)text[i]);
    else
        memcpy(copy, text, used = length);
    memset(copy + used, 0, RECORD_PADDING_BYTES + 1);
    copy[used] = '\n';
    return (struct leat_record){copy, copy + used};
}

static bool is_ascii(const char *text, size_t length) {
    uint64_t word, high = 0;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, text + i, 8);
        high |= word;
    }
    for (; i < length; i++)
        high |= (uint64_t)(unsigned char)text[i];
    return !(high & 0x8080808080808080ull);
}

/* The record as the format's decoder wants it: UTF-8, a control character behind it. */
static inline struct leat_record record_of(struct leat_decoder *d, const struct leat_block *block, uint32_t i,
                                           struct leat_arena *arena) {
    const char *text = block->payload + block->starts[i], *end = block->payload + block->ends[i];
    size_t length = (size_t)(end - text);
    if (d->latin1 && !is_ascii(text, length)) return copy_record(arena, text, length, true);
    if (d->format == LEAT_FORMAT_JSON && (unsigned char)*end >= 0x20) return copy_record(arena, text, length, false);
    return (struct leat_record){text, end};
}

/* A rejected row leaves no trace in the validity bits of the row that takes its place. */
static void clear_row(struct leat_changes *out, size_t row) {
    for (size_t i = 0; i < out->schema->field_count; i++)
        if (out->columns[i].valid) out->columns[i].valid[row >> 6] |= 1ull << (row & 63);
}

enum leat_status leat_decode(struct leat_decoder *d, const struct leat_block *block, uint32_t from, uint32_t count,
                             struct leat_changes *out, uint32_t *records_out, uint8_t *lossy_out,
                             const struct leat_reject **rejects, size_t *reject_count, struct leat_error *err) {
    size_t rows_before = out->row_count, row = rows_before;
    const char *refused = NULL;
    d->reject_count = 0;
    leat_arena_reset(&d->reasons);
    *rejects = NULL;
    *reject_count = 0;
    if (out->schema->field_count != d->schema.field_count)
        return leat_fail(err, LEAT_INVALID, "source \"%s\": the batch has %zu columns, the decoder %zu", d->source,
                         out->schema->field_count, d->schema.field_count);
    if (from > block->record_count || count > block->record_count - from)
        return leat_fail(err, LEAT_INVALID, "source \"%s\": records %u to %u of a block of %u", d->source, from,
                         from + count, block->record_count);
    leat_changes_reserve(out, row + count);
    if (d->format == LEAT_FORMAT_CSV) refused = leat_csv_header(d, block->header, block->header_length);
    for (uint32_t i = from; i < from + count; i++) {
        bool lossy = false;
        const char *reason = refused;
        if (!reason && block->ends[i] - block->starts[i] > d->max_record_bytes)
            reason = leat_arena_printf(&d->reasons, "longer than max_line_bytes, %zu bytes; only its beginning was kept", d->max_record_bytes);
        if (!reason) {
            struct leat_record record = record_of(d, block, i, &out->strings);
            reason = d->format == LEAT_FORMAT_JSON ? leat_json_decode(d, &record, out, row, &lossy)
                                                   : leat_csv_decode(d, &record, out, row, &lossy);
        }
        if (reason) {
            clear_row(out, row);
            reject(d, i, reason);
            continue;
        }
        records_out[row - rows_before] = i;
        if (lossy_out) lossy_out[row - rows_before] = lossy;
        if (out->weights) out->weights[row] = 1;
        row++;
    }
    out->row_count = row;
    *rejects = d->rejects;
    *reject_count = d->reject_count;
    return LEAT_OK;
}
