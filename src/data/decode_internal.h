/* What decode.c, json_decode.c and csv_decode.c share. Not for others. */
#ifndef LEAT_DATA_DECODE_INTERNAL_H
#define LEAT_DATA_DECODE_INTERNAL_H

#include "data/decode.h"
#include "data/message.h"
#include "data/value.h"

struct leat_avro_decoder;
struct leat_json_decoder;
struct leat_csv_decoder;

struct leat_decoder {
    enum leat_format format;
    struct leat_schema schema; /* of the columns in a record's value; a copy: the source may go */
    uint8_t *meta;             /* enum leat_meta of the columns behind them, meta_count */
    struct leat_type *meta_types;
    size_t meta_count;
    enum leat_change_feed feed;
    struct leat_decoder *keys_only; /* of a feed: the same columns, of which only the key's must be there */
    int key_column;            /* of a feed: the only column of its key; -1: several, or none of the value */
    bool messages;
    bool framed;               /* values are framed with a schema's number */
    struct leat_avro_decoder *avro;
    int rest_column;           /* JSON: takes the fields that no column is declared for; -1: none does */
    int64_t epoch_unit_us;     /* what a bare number counts where a time was wanted; 0: it is wrong */
    char **keys;               /* per column: its key or header in the records */
    char *source;              /* name, for messages */
    bool latin1;
    size_t max_record_bytes;   /* max_line_bytes: of a longer record the connector gives only the beginning (connect/connector.h) */
    struct leat_json_decoder *json;
    struct leat_csv_decoder *csv;
    /* Of the last leat_decode: */
    struct leat_reject *rejects;
    size_t reject_count, reject_capacity;
    struct leat_arena reasons;
};

/* One record's text. Whatever it is, the batch may point into it. */
struct leat_record {
    const char *text, *end;
};

/* An option of the source as given; NULL: not given. */
const char *leat_decoder_option(const struct leat_source *, const char *name);
/* The column whose key is `name`: exactly, else without case; -1. */
int leat_decoder_find(const struct leat_decoder *, const char *name, size_t length);
/* Reasons a record is rejected for; text in d->reasons. */
char *leat_reject_value(struct leat_decoder *, size_t column, enum leat_value_status, const char *value, size_t length);
char *leat_reject_missing(struct leat_decoder *, size_t column, bool is_null);
/* Text with everything but printable ASCII and valid UTF-8 replaced, cut to what a message can bear. */
char *leat_reject_quote(struct leat_decoder *, const char *value, size_t length);

enum leat_status leat_json_open(struct leat_decoder *, struct leat_error *) LEAT_MUST;
void leat_json_close(struct leat_json_decoder *);
/* Fills row `row` of out (capacity is there) from one record. NULL: done, *lossy set or not; else the reason for its
 * rejection (the row's cells are then undefined, its validity bits too). The byte at record->end must be a control
 * character and 64 bytes from there readable. */
const char *leat_json_decode(struct leat_decoder *, const struct leat_record *, struct leat_changes *out, size_t row,
                             bool *lossy);

enum leat_status leat_csv_open(struct leat_decoder *, const struct leat_source *, struct leat_error *) LEAT_MUST;
void leat_csv_close(struct leat_csv_decoder *);
/* Before the records of a block: what its columns are. Non-NULL: the reason why none can be decoded. */
const char *leat_csv_header(struct leat_decoder *, const char *header, size_t length);
void leat_avro_open(struct leat_decoder *);
void leat_avro_close(struct leat_avro_decoder *);
/* Avro into a row: NULL, or the reason why not. Of a feed: an event of Debezium; a key, as the row that is gone. */
const char *leat_avro_decode(struct leat_decoder *, struct leat_bytes value, struct leat_changes *out, size_t row, bool *lossy);
const char *leat_avro_decode_debezium(struct leat_decoder *, const struct leat_message *, struct leat_changes *out, size_t row, bool *deleted);
const char *leat_avro_decode_key(struct leat_decoder *, struct leat_bytes key, struct leat_changes *out, size_t row);
extern const char leat_not_framed[];

/* One column takes the bytes. */
enum leat_status leat_raw_open(struct leat_decoder *, struct leat_error *) LEAT_MUST;
const char *leat_raw_decode(struct leat_decoder *, const struct leat_record *, struct leat_changes *out, size_t row);
/* A text, as it stands, into a column that is not NULL: the reason why it cannot be, or NULL. */
const char *leat_text_decode(struct leat_decoder *, size_t column, const char *text, size_t length, struct leat_changes *out, size_t row);
const char *leat_csv_decode(struct leat_decoder *, const struct leat_record *, struct leat_changes *out, size_t row,
                            bool *lossy);

#endif
