/* A look at a sample of someone's data, and the project that follows from it: types, key, watermark, first tables.
 *
 * Everything is a guess from at most LEAT_SAMPLE_ROWS records, and the project's comments say on what it rests. A type
 * is taken where 99.5 % of a column's values fit; the others would be dead letters, and are counted. Where only most fit,
 * the rest means something (an invoice "C1001" among numbers is a cancellation): text. Depends on sql/. */
#ifndef LEAT_AUDIT_SAMPLE_H
#define LEAT_AUDIT_SAMPLE_H

#include "sql/duck.h"

enum { LEAT_SAMPLE_ROWS = 200000 };

enum leat_sample_type {
    LEAT_SAMPLE_TEXT,
    LEAT_SAMPLE_NESTED, /* JSON objects and arrays, kept as text */
    LEAT_SAMPLE_BOOLEAN,
    LEAT_SAMPLE_INTEGER,
    LEAT_SAMPLE_BIGINT,
    LEAT_SAMPLE_DECIMAL,
    LEAT_SAMPLE_DOUBLE,
    LEAT_SAMPLE_DATE,
    LEAT_SAMPLE_TIMESTAMP,
};
struct leat_sample_column {
    char *field, *name; /* as in the records; as in the project */
    enum leat_sample_type type;
    int scale;                /* DECIMAL */
    int64_t values, distinct; /* not NULL */
    int64_t unfit;            /* values that are not of the type; of text: that kept it from being of type `near` */
    enum leat_sample_type near; /* TEXT: no other type comes near */
};
struct leat_sample {
    char *source; /* its name in the project */
    bool csv;
    char *delimiter; /* CSV */
    int64_t rows;
    struct leat_sample_column *columns;
    size_t column_count;
    int key, time; /* columns; -1: none found */
    int64_t disorder_us,
        disorder_max_us; /* how far behind the latest time before it a record comes: 98 % of them, rounded up; all */
    int64_t disordered, beyond; /* records that come after a later one; that would be late with disorder_us */
};
/* Reads the file. source: what to call it. INVALID: neither CSV nor JSON lines, or nothing in it. out: empty unless
 * LEAT_OK. */
enum leat_status leat_sample_look(struct leat_conn *, const char *path, const char *source, struct leat_sample *out,
                                  struct leat_error *) LEAT_MUST;
void leat_sample_deinit(struct leat_sample *);
/* The project's text. path: as in the project's folder; told: the sample's name, for people. */
void leat_sample_project(const struct leat_sample *, const char *path, const char *told, struct leat_buffer *out);

#endif
