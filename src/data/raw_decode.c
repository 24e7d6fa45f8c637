/* Values that are taken as they are: bytes or text. */
#include "data/decode_internal.h"

#include "data/utf8.h"

enum leat_status leat_raw_open(struct leat_decoder *d, struct leat_error *err) {
    bool one = d->schema.field_count == 1 && leat_type_is_string(d->schema.fields[0].type);
    return one ? LEAT_OK
               : leat_fail(err, LEAT_INVALID, "source \"%s\": format 'raw' gives the value's bytes to one column, which is VARCHAR or BLOB; "
                                              "what stands beside the value is had by INCLUDE", d->source);
}

const char *leat_raw_decode(struct leat_decoder *d, const struct leat_record *record, struct leat_changes *out, size_t row) {
    return leat_text_decode(d, 0, record->text, (size_t)(record->end - record->text), out, row);
}

const char *leat_text_decode(struct leat_decoder *d, size_t column, const char *text, size_t length, struct leat_changes *out, size_t row) {
    struct leat_type type = d->schema.fields[column].type;
    struct leat_column *to = &out->columns[column];
    if (to->valid) to->valid[row >> 6] |= 1ull << (row & 63);
    if (leat_type_is_string(type)) {
        if (type.kind == LEAT_VARCHAR && !leat_utf8_valid(text, length)) return leat_arena_printf(&d->reasons, "column \"%s\": not valid UTF-8; declare it BLOB", d->schema.fields[column].name);
        ((struct leat_string *)to->data)[row] = leat_string_of(text, (uint32_t)length);
        return NULL;
    }
    enum leat_value_status status = leat_value_parse(type, text, length, (char *)to->data + row * leat_type_size(type), &out->strings);
    return status <= LEAT_VALUE_LOSSY ? NULL : leat_reject_value(d, column, status, text, length);
}
