/* CSV (RFC 4180) with a header line.
 *
 * A field is quoted when its first byte is a quote; a quote elsewhere is an ordinary byte, as dirty files have it.
 * NULL: an unquoted empty field, an unquoted null_string, and "" for any column that is not VARCHAR. White space
 * belongs to VARCHAR and is ignored by the other types. Options: delimiter (one of , ; | tab), header, null_string. */
#include <stdlib.h>
#include <strings.h>

#include "data/decode_internal.h"
#include "data/utf8.h"

enum { UNKNOWN_COLUMN = -1 };

struct leat_csv_decoder {
    char delimiter;
    bool use_header;
    char *null_text;
    size_t null_length;
    char *header; /* the line that `columns` was made of */
    size_t header_length;
    bool ready;   /* columns are set */
    int *columns; /* per field of a record: its column or UNKNOWN_COLUMN */
    size_t field_count;
    int *missing; /* columns that no field fills */
    size_t missing_count;
};

static enum leat_status read_delimiter(struct leat_csv_decoder *c, const struct leat_source *source,
                                       struct leat_error *err) {
    const char *delimiter = leat_decoder_option(source, "delimiter");
    c->delimiter = ',';
    if (!delimiter) return LEAT_OK;
    if (!strcasecmp(delimiter, "\\t") || !strcasecmp(delimiter, "tab")) delimiter = "\t";
    if (!delimiter[0] || delimiter[1] || !strchr(",;|\t", delimiter[0]))
        return leat_fail(err, LEAT_INVALID, "source \"%s\": delimiter '%s' must be one of ',' ';' '|' or a tab",
                         source->name, delimiter);
    c->delimiter = delimiter[0];
    return LEAT_OK;
}

enum leat_status leat_csv_open(struct leat_decoder *d, const struct leat_source *source, struct leat_error *err) {
    struct leat_csv_decoder *c = leat_alloc(sizeof *c);
    d->csv = c;
    enum leat_status status = read_delimiter(c, source, err);
    if (status) return status;
    const char *header = leat_decoder_option(source, "header"), *null_text = leat_decoder_option(source, "null_string");
    c->use_header = !header || strcasecmp(header, "false") != 0;
    if (header && strcasecmp(header, "true") && strcasecmp(header, "false"))
        return leat_fail(err, LEAT_INVALID, "source \"%s\": header '%s' must be 'true' or 'false'", source->name,
                         header);
    c->null_text = null_text ? leat_strdup(null_text) : NULL;
    c->null_length = null_text ? strlen(null_text) : 0;
    return LEAT_OK;
}

void leat_csv_close(struct leat_csv_decoder *c) {
    if (!c) return;
    free(c->null_text);
    free(c->header);
    free(c->columns);
    free(c->missing);
    free(c);
}

/* One field of a record. */
struct field {
    const char *text;
    size_t length;
    bool quoted, doubled; /* doubled: holds "" for " */
};

/* Reads the field at p; returns the delimiter's place or the end; NULL and *fault. */
static const char *take_field(char delimiter, const char *p, const char *end, struct field *out, const char **fault) {
    *out = (struct field){.text = p};
    if (p < end && *p == '"') {
        out->quoted = true;
        out->text = ++p;
        for (;;) {
            const char *quote = memchr(p, '"', (size_t)(end - p));
            if (!quote) {
                *fault = "a quoted field is not closed";
                return NULL;
            }
            p = quote + 1;
            if (p == end || *p != '"') {
                out->length = (size_t)(quote - out->text);
                break;
            }
            out->doubled = true;
            p++;
        }
        if (p < end && *p != delimiter) {
            *fault = "text follows a quoted field";
            return NULL;
        }
        return p;
    }
    while (p < end && *p != delimiter)
        p++;
    out->length = (size_t)(p - out->text);
    return p;
}

static void undouble(struct field *field, struct leat_arena *arena) {
    char *out = leat_arena_alloc(arena, field->length + 1);
    size_t used = 0;
    for (size_t i = 0; i < field->length; i++) {
        out[used++] = field->text[i];
        if (field->text[i] == '"') i++;
    }
    field->text = out;
    field->length = used;
}

static void add_field(struct leat_csv_decoder *c, int column) {
    c->columns = leat_realloc(c->columns, (c->field_count + 1) * sizeof *c->columns);
    for (size_t i = 0; column != UNKNOWN_COLUMN && i < c->field_count; i++)
        if (c->columns[i] == column) column = UNKNOWN_COLUMN; /* a repeated header: the first counts */
    c->columns[c->field_count++] = column;
}

/* Splits the header line; false: it is not CSV. */
static bool read_header(struct leat_decoder *d, const char *p, size_t length) {
    struct leat_csv_decoder *c = d->csv;
    const char *end = p + length, *fault;
    if (length >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) p += 3;
    while (end > p && (end[-1] == '\n' || end[-1] == '\r'))
        end--;
    for (;;) {
        struct field field;
        p = take_field(c->delimiter, p, end, &field, &fault);
        if (!p) return false;
        if (field.doubled) undouble(&field, &d->reasons);
        while (field.length && (*field.text == ' ' || *field.text == '\t'))
            field.text++, field.length--;
        while (field.length && (field.text[field.length - 1] == ' ' || field.text[field.length - 1] == '\t'))
            field.length--;
        add_field(c, leat_decoder_find(d, field.text, field.length));
        if (p == end) return true;
        p++;
    }
}

/* Which columns no field fills; the reason when one of them is NOT NULL. */
static const char *find_missing(struct leat_decoder *d) {
    struct leat_csv_decoder *c = d->csv;
    const char *reason = NULL;
    c->missing = leat_realloc(c->missing, (d->schema.field_count + 1) * sizeof *c->missing);
    c->missing_count = 0;
    for (size_t i = 0; i < d->schema.field_count; i++) {
        bool found = false;
        for (size_t k = 0; k < c->field_count; k++)
            found |= c->columns[k] == (int)i;
        if (found) continue;
        c->missing[c->missing_count++] = (int)i;
        if (d->schema.fields[i].not_null && !reason)
            reason = leat_arena_printf(&d->reasons, "column \"%s\" is NOT NULL, but the header has no \"%s\"",
                                       d->schema.fields[i].name, d->keys[i]);
    }
    return reason;
}

const char *leat_csv_header(struct leat_decoder *d, const char *header, size_t length) {
    struct leat_csv_decoder *c = d->csv;
    if (!c->use_header) length = 0;
    if (c->ready && length == c->header_length && (!length || !memcmp(header, c->header, length))) return NULL;
    c->ready = false;
    c->field_count = 0;
    if (!length) {
        for (size_t i = 0; i < d->schema.field_count; i++)
            add_field(c, (int)i);
    } else if (!read_header(d, header, length)) {
        return "the header line is not valid CSV: check its quotes";
    }
    const char *reason = find_missing(d);
    if (reason) return reason;
    free(c->header);
    c->header = leat_strndup(length ? header : "", length);
    c->header_length = length;
    c->ready = true;
    return NULL;
}

static bool is_null_text(const struct leat_csv_decoder *c, const struct field *field) {
    if (field->quoted) return false;
    if (!field->length) return true;
    return c->null_text && field->length == c->null_length && !memcmp(field->text, c->null_text, field->length);
}

/* Puts a field into its column; the reason if it does not fit. */
static const char *put_field(struct leat_decoder *d, size_t column, struct field *field, struct leat_changes *out,
                             size_t row, bool *lossy) {
    struct leat_type type = d->schema.fields[column].type;
    if (is_null_text(d->csv, field) || (!field->length && type.kind != LEAT_VARCHAR)) {
        if (d->schema.fields[column].not_null) return leat_reject_missing(d, column, true);
        leat_set_null(out, column, row);
        return NULL;
    }
    if (field->doubled) undouble(field, &out->strings);
    char *cell = (char *)out->columns[column].data + row * leat_type_size(type);
    if (type.kind == LEAT_VARCHAR) {
        if (!leat_utf8_valid(field->text, field->length))
            return leat_arena_printf(
                &d->reasons,
                "column \"%s\": value %s is not valid UTF-8; if the file is latin-1, say encoding = 'latin-1'",
                d->schema.fields[column].name, leat_reject_quote(d, field->text, field->length));
        if (field->length > UINT32_MAX) return "a field of 4 GiB or more";
        struct leat_string s = leat_string_of(field->text, (uint32_t)field->length);
        memcpy(cell, &s, sizeof s);
        return NULL;
    }
    enum leat_value_status status = leat_value_parse(type, field->text, field->length, cell, &out->strings);
    if (status == LEAT_VALUE_LOSSY) *lossy = true;
    return status > LEAT_VALUE_LOSSY ? leat_reject_value(d, column, status, field->text, field->length) : NULL;
}

/* How many fields the record has, of which `seen` end at p. */
static size_t count_fields(char delimiter, const char *p, const char *end, size_t seen) {
    const char *fault;
    struct field field;
    while (p < end && (p = take_field(delimiter, p + 1, end, &field, &fault)))
        seen++;
    return seen;
}

const char *leat_csv_decode(struct leat_decoder *d, const struct leat_record *record, struct leat_changes *out,
                            size_t row, bool *lossy) {
    struct leat_csv_decoder *c = d->csv;
    const char *p = record->text, *end = record->end, *fault = NULL, *reason = NULL;
    for (size_t i = 0;; i++) {
        struct field field;
        p = take_field(c->delimiter, p, end, &field, &fault);
        if (!p) return leat_arena_printf(&d->reasons, "not valid CSV in field %zu: %s", i + 1, fault);
        bool last = p == end;
        if (last != (i + 1 == c->field_count)) {
            size_t count = count_fields(c->delimiter, p, end, i + 1);
            return leat_arena_printf(&d->reasons, "the record has %zu fields, expected %zu", count, c->field_count);
        }
        if (c->columns[i] == UNKNOWN_COLUMN) {
            if (field.length) *lossy = true;
        } else if (!reason) { /* a wrong number of fields is the better reason: look at all of them first */
            reason = put_field(d, (size_t)c->columns[i], &field, out, row, lossy);
        }
        if (last) break;
        p++;
    }
    for (size_t i = 0; !reason && i < c->missing_count; i++)
        leat_set_null(out, (size_t)c->missing[i], row);
    return reason;
}
