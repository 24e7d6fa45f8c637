/* Decoders: opening, the loop over a block's records, what stands beside their values, reasons for rejects. The formats are in
 * json_decode.c, csv_decode.c and raw_decode.c, change feeds in change_event.c, the splitting of bytes into records in split.c. */
#include "data/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "base/limits.h"
#include "base/options.h"
#include "data/change_event.h"
#include "data/decode_internal.h"
#include "data/json_text.h"
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

static enum leat_status read_columns(struct leat_decoder *d, const struct leat_source *source, struct leat_error *err) {
    size_t count = source->schema.field_count, values = source->meta ? source->value_count : count;
    d->keys = leat_alloc((values + 1) * sizeof *d->keys);
    for (size_t i = 0; i < values; i++) {
        const struct leat_field *field = &source->schema.fields[i];
        const char *key = source->source_names ? source->source_names[i] : NULL;
        leat_schema_add(&d->schema, field->name, field->type, field->not_null);
        d->keys[i] = leat_strdup(key ? key : field->name);
        if (field->type.kind == LEAT_NESTED)
            return leat_fail(err, LEAT_UNSUPPORTED, "source \"%s\", column \"%s\": nested types cannot be decoded; declare VARCHAR and keep the JSON text",
                             source->name, field->name);
    }
    d->meta_count = count - values;
    d->meta = leat_alloc(d->meta_count + 1);
    d->meta_types = leat_alloc((d->meta_count + 1) * sizeof *d->meta_types);
    for (size_t i = 0; i < d->meta_count; i++) {
        d->meta[i] = source->meta[values + i];
        d->meta_types[i] = source->schema.fields[values + i].type;
    }
    return LEAT_OK;
}

static void read_epoch_unit(struct leat_decoder *d, const struct leat_source *source) {
    const char *unit = leat_decoder_option(source, "epoch_unit");
    d->epoch_unit_us = !unit ? 0 : !strcmp(unit, "s") ? 1000000 : !strcmp(unit, "ms") ? 1000 : !strcmp(unit, "us") ? 1 : 0;
}

static enum leat_status open_format(struct leat_decoder *d, const struct leat_source *source, struct leat_error *err) {
    switch (d->format) {
    case LEAT_FORMAT_JSON:
        return leat_json_open(d, err);
    case LEAT_FORMAT_CSV:
        return leat_csv_open(d, source, err);
    case LEAT_FORMAT_RAW:
        return leat_raw_open(d, err);
    case LEAT_FORMAT_AVRO:
        leat_avro_open(d);
        return LEAT_OK;
    case LEAT_FORMAT_COUNT:
    case LEAT_FORMAT_PARQUET:
        break;
    }
    return leat_fail(err, LEAT_UNSUPPORTED, "source \"%s\": Parquet files are read by DuckDB, not record by record", source->name);
}

static enum leat_status open_decoder(const struct leat_source *source, struct leat_decoder *d, struct leat_error *err) {
    d->format = source->format;
    d->source = leat_strdup(source->name);
    d->messages = source->messages;
    d->framed = leat_decoder_option(source, "schema.registry.url") != NULL;
    d->feed = source->feed;
    enum leat_status status = read_columns(d, source, err);
    if (status == LEAT_OK) status = read_encoding(d, source, err);
    if (status == LEAT_OK) status = read_max_record(d, source, err);
    read_epoch_unit(d, source);
    const char *rest = leat_decoder_option(source, "unknown_fields");
    d->rest_column = rest && d->format == LEAT_FORMAT_JSON ? leat_schema_find(&d->schema, rest) : -1;
    return status == LEAT_OK ? open_format(d, source, err) : status;
}

/* Of the columns in the value only those of the key, and of the sequence, must be there. */
static enum leat_status open_keys_only(const struct leat_source *source, struct leat_decoder *d, struct leat_error *err) {
    const char *sequence = leat_decoder_option(source, "sequence");
    size_t in_value = 0;
    struct leat_source lax = *source;
    leat_schema_copy(&lax.schema, &source->schema);
    for (size_t i = 0; i < lax.schema.field_count; i++)
        lax.schema.fields[i].not_null = sequence && strcasecmp(sequence, lax.schema.fields[i].name) == 0;
    d->key_column = -1;
    for (size_t i = 0; i < source->primary_key_count; i++) {
        lax.schema.fields[source->primary_key[i]].not_null = true;
        if ((size_t)source->primary_key[i] >= d->schema.field_count) continue;
        d->key_column = in_value++ ? -1 : source->primary_key[i];
    }
    d->keys_only = leat_alloc(sizeof *d->keys_only);
    enum leat_status status = open_decoder(&lax, d->keys_only, err);
    leat_schema_deinit(&lax.schema);
    return status;
}

enum leat_status leat_decoder_open(const struct leat_source *source, struct leat_decoder **out,
                                   struct leat_error *err) {
    struct leat_decoder *d = leat_alloc(sizeof *d);
    enum leat_status status = open_decoder(source, d, err);
    *out = NULL;
    if (status == LEAT_OK && d->feed != LEAT_FEED_NONE) status = open_keys_only(source, d, err);
    if (status) {
        leat_decoder_close(d);
        return status;
    }
    *out = d;
    return LEAT_OK;
}

void leat_decoder_close(struct leat_decoder *d) {
    if (!d) return;
    leat_decoder_close(d->keys_only);
    leat_json_close(d->json);
    leat_csv_close(d->csv);
    leat_avro_close(d->avro);
    free(d->meta);
    free(d->meta_types);
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
        if (strlen(d->keys[i]) != length || (int)i == d->rest_column) continue;
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
static inline struct leat_record record_of(struct leat_decoder *d, const char *text, size_t length, struct leat_arena *arena) {
    const char *end = text + length;
    if (d->latin1 && !is_ascii(text, length)) return copy_record(arena, text, length, true);
    if (d->format == LEAT_FORMAT_JSON && (unsigned char)*end >= 0x20) return copy_record(arena, text, length, false);
    return (struct leat_record){text, end};
}

/* A rejected row leaves no trace in the validity bits of the row that takes its place. */
static void clear_row(struct leat_changes *out, size_t row) {
    for (size_t i = 0; i < out->schema->field_count; i++)
        if (out->columns[i].valid) out->columns[i].valid[row >> 6] |= 1ull << (row & 63);
}

const char leat_not_framed[] = "not framed by a schema registry's client: it does not begin with a zero byte and a schema's number";
enum { FRAME_BYTES = 5 };

static inline const char *decode_value(struct leat_decoder *d, const char *text, size_t length, struct leat_changes *out, size_t row, bool *lossy) {
    if (LEAT_FORMAT_AVRO == d->format) return leat_avro_decode(d, (struct leat_bytes){text, length}, out, row, lossy);
    struct leat_record record = record_of(d, text, length, &out->strings);
    if (LEAT_FORMAT_JSON == d->format) return leat_json_decode(d, &record, out, row, lossy);
    if (LEAT_FORMAT_RAW == d->format) return leat_raw_decode(d, &record, out, row);
    return leat_csv_decode(d, &record, out, row, lossy);
}

static const char *put_bytes(struct leat_decoder *d, size_t column, bool text, const struct leat_bytes *bytes, struct leat_changes *out, size_t row) {
    if (!bytes->data) {
        leat_set_null(out, column, row);
        return NULL;
    }
    if (text && !leat_utf8_valid(bytes->data, bytes->length))
        return leat_arena_printf(&d->reasons, "column \"%s\": not valid UTF-8; include it as BLOB", out->schema->fields[column].name);
    ((struct leat_string *)out->columns[column].data)[row] = leat_string_of(bytes->data, (uint32_t)bytes->length);
    return NULL;
}

static const char *decode_meta(struct leat_decoder *d, const struct leat_message *m, bool deleted, struct leat_changes *out, size_t row) {
    const char *reason = NULL;
    size_t header = 0;
    for (size_t i = 0; i < d->meta_count && !reason; i++) {
        size_t column = d->schema.field_count + i;
        void *data = out->columns[column].data;
        bool text = d->meta_types[i].kind == LEAT_VARCHAR;
        switch ((enum leat_meta)d->meta[i]) {
        case LEAT_META_KEY:
            reason = put_bytes(d, column, text, &m->key, out, row);
            if (!m->key.data && out->schema->fields[column].not_null) reason = "it has no key, which is its primary key";
            break;
        case LEAT_META_HEADER:
            reason = header < m->header_count ? put_bytes(d, column, text, &m->headers[header], out, row) : "it lacks an included header";
            header++;
            break;
        case LEAT_META_OFFSET:
            ((int64_t *)data)[row] = m->offset;
            break;
        case LEAT_META_PARTITION:
            ((int32_t *)data)[row] = (int32_t)m->partition;
            break;
        case LEAT_META_TIMESTAMP:
            ((int64_t *)data)[row] = m->timestamp_us;
            if (m->timestamp_us < 0) leat_set_null(out, column, row);
            if (m->timestamp_us < 0 && out->schema->fields[column].not_null) reason = "it has no timestamp";
            break;
        case LEAT_META_DELETED:
            ((uint8_t *)data)[row] = deleted;
            break;
        case LEAT_META_NONE:
            break;
        }
    }
    return reason;
}

/* The value of the only key column: JSON, or, as simple serializers write it, bare text. */
static const char *decode_key(struct leat_decoder *d, size_t column, struct leat_bytes text, struct leat_changes *out, size_t row) {
    struct leat_json_fault fault;
    const char *inner;
    size_t length;
    if (text.length && *text.data == '"' && leat_json_string(text.data + 1, text.data + text.length, &out->strings, &inner, &length, &fault))
        text = (struct leat_bytes){inner, length};
    return leat_text_decode(d, column, text.data, text.length, out, row);
}

/* JSON that a schema registry's client framed; a key may be framed by itself or not at all. */
static bool strip_frame(struct leat_bytes *bytes) {
    bool framed = bytes->length >= FRAME_BYTES && !*bytes->data;
    if (framed) *bytes = (struct leat_bytes){bytes->data + FRAME_BYTES, bytes->length - FRAME_BYTES};
    return framed;
}

static const char *decode_avro_change(struct leat_decoder *d, const struct leat_message *m, struct leat_changes *out, size_t row, bool *deleted, bool *lossy) {
    *deleted = !m->value.data;
    if (*deleted) return leat_avro_decode_key(d, m->key, out, row);
    *lossy = d->feed != LEAT_FEED_UPSERT;
    return d->feed == LEAT_FEED_UPSERT ? leat_avro_decode(d, m->value, out, row, lossy) : leat_avro_decode_debezium(d, m, out, row, deleted);
}

/* A feed's event: the row it is about, and whether that is there or gone. */
static const char *decode_change(struct leat_decoder *d, const struct leat_message *m, struct leat_changes *out, size_t row, bool *deleted, bool *lossy) {
    struct leat_change_event event;
    const char *reason = leat_change_event_read(d->feed, m, &out->strings, &event);
    if (reason) return reason;
    *deleted = event.deleted;
    *lossy = d->feed != LEAT_FEED_UPSERT; /* what stands around the row */
    bool ignored, object = event.row.length && *leat_json_space(event.row.data, event.row.data + event.row.length) == '{';
    if (event.key_only && !object) {
        for (size_t i = 0; i < d->schema.field_count; i++) leat_set_null(out, i, row);
        if (d->key_column >= 0) return decode_key(d->keys_only, (size_t)d->key_column, event.row, out, row);
        bool elsewhere = d->keys_only && d->key_column == -1;
        for (size_t i = 0; i < d->schema.field_count; i++) elsewhere &= !d->keys_only->schema.fields[i].not_null;
        return elsewhere ? NULL : "its key is not a JSON object with the columns of the primary key";
    }
    return decode_value(event.key_only ? d->keys_only : d, event.row.data, event.row.length, out, row, &ignored);
}

static const char *decode_message(struct leat_decoder *d, const char *text, size_t length, struct leat_changes *out, size_t row, bool *lossy) {
    struct leat_message m = {.value = {text, length}, .partition = -1, .offset = -1, .timestamp_us = -1};
    bool deleted = false;
    if (d->messages && !leat_message_read(text, length, &m)) return "not a message as leat keeps it";
    if (m.value.length > d->max_record_bytes)
        return leat_arena_printf(&d->reasons, "longer than max_line_bytes, %zu bytes; only its beginning was kept", d->max_record_bytes);
    struct leat_message inner = m;
    bool json = d->framed && d->format == LEAT_FORMAT_JSON;
    if (json && m.value.data && !strip_frame(&inner.value)) return leat_not_framed;
    if (json) strip_frame(&inner.key);
    bool avro_feed = d->feed != LEAT_FEED_NONE && d->format == LEAT_FORMAT_AVRO;
    const char *reason = avro_feed                 ? decode_avro_change(d, &m, out, row, &deleted, lossy)
                         : d->feed != LEAT_FEED_NONE ? decode_change(d, &inner, out, row, &deleted, lossy)
                         : m.value.data              ? decode_value(d, inner.value.data, inner.value.length, out, row, lossy)
                                                     : "it has no value (a tombstone): say format = 'upsert-json' if it is to delete";
    return reason ? reason : decode_meta(d, &m, deleted, out, row);
}

enum leat_status leat_decode(struct leat_decoder *d, const struct leat_block *block, uint32_t from, uint32_t count,
                             struct leat_changes *out, uint32_t *records_out, uint8_t *lossy_out,
                             const struct leat_reject **rejects, size_t *reject_count, struct leat_error *err) {
    size_t rows_before = out->row_count, row = rows_before;
    const char *refused = NULL;
    bool plain = !d->messages && d->feed == LEAT_FEED_NONE && (!d->framed || d->format == LEAT_FORMAT_AVRO);
    d->reject_count = 0;
    leat_arena_reset(&d->reasons);
    if (d->keys_only) leat_arena_reset(&d->keys_only->reasons);
    *rejects = NULL;
    *reject_count = 0;
    size_t columns = d->schema.field_count + d->meta_count;
    if (out->schema->field_count != columns)
        return leat_fail(err, LEAT_INVALID, "source \"%s\": the batch has %zu columns, the decoder %zu", d->source,
                         out->schema->field_count, columns);
    if (from > block->record_count || count > block->record_count - from)
        return leat_fail(err, LEAT_INVALID, "source \"%s\": records %u to %u of a block of %u", d->source, from,
                         from + count, block->record_count);
    leat_changes_reserve(out, row + count);
    if (d->format == LEAT_FORMAT_CSV) refused = leat_csv_header(d, block->header, block->header_length);
    for (uint32_t i = from; i < from + count; i++) {
        bool lossy = false;
        const char *reason = refused, *text = block->payload + block->starts[i];
        size_t length = block->ends[i] - block->starts[i];
        if (!reason) reason = plain && length <= d->max_record_bytes ? decode_value(d, text, length, out, row, &lossy) : decode_message(d, text, length, out, row, &lossy);
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
