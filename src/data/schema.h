/* Column types, schemas and change batches: the one in-memory shape of rows in leat.
 *
 * The physical layout of every column equals DuckDB's flat vector of the same type, so that batches go
 * to DuckDB and back by memcpy: fixed-width values in an array; strings as 16-byte struct leat_string;
 * validity one bit a row (1: not NULL), NULL pointer: no NULLs. Values under a NULL are zero bytes. */
#ifndef LEAT_DATA_SCHEMA_H
#define LEAT_DATA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "base/mem.h"

enum leat_kind {
    LEAT_BOOLEAN, LEAT_TINYINT, LEAT_SMALLINT, LEAT_INTEGER, LEAT_BIGINT, LEAT_HUGEINT,
    LEAT_UTINYINT, LEAT_USMALLINT, LEAT_UINTEGER, LEAT_UBIGINT, LEAT_UHUGEINT,
    LEAT_FLOAT, LEAT_DOUBLE,
    LEAT_DECIMAL,      /* unscaled int16/32/64/128 for width <=4/9/18/38 */
    LEAT_VARCHAR, LEAT_BLOB,
    LEAT_DATE,         /* int32 days since 1970-01-01 */
    LEAT_TIME,         /* int64 microseconds */
    LEAT_TIMESTAMP,    /* int64 microseconds since the epoch, no zone */
    LEAT_TIMESTAMPTZ,  /* int64 microseconds since the epoch, UTC */
    LEAT_INTERVAL,     /* int32 months, int32 days, int64 microseconds */
    LEAT_UUID,         /* hugeint, top bit flipped as in DuckDB */
    LEAT_NESTED,       /* LIST, STRUCT, MAP, ...: known, but never in a change batch */
};
struct leat_type {
    uint8_t kind;          /* enum leat_kind */
    uint8_t width, scale;  /* DECIMAL only */
};
typedef __int128 leat_i128; /* the only typedef: a spelling, not a struct */

struct leat_string { /* equal to duckdb_string_t: 16 bytes, the length first in either shape */
    union {
        uint32_t length;
        union {
            struct { uint32_t inlined_length; char inlined[12]; }; /* length <= 12, zero padded */
            struct { uint32_t length; char prefix[4]; const char *data; } pointer;
        } u;
    };
};
_Static_assert(sizeof(struct leat_string) == 16, "as DuckDB's");
#define LEAT_STRING_INLINE 12
static inline const char *leat_string_data(const struct leat_string *s) {
    return s->length <= LEAT_STRING_INLINE ? s->u.inlined : s->u.pointer.data;
}
/* Points at data (not copied) when longer than 12 bytes. */
static inline struct leat_string leat_string_of(const char *data, uint32_t length) {
    struct leat_string s;
    memset(&s, 0, sizeof s);
    s.length = length;
    if (length <= LEAT_STRING_INLINE) { if (length) memcpy(s.u.inlined, data, length); }
    else { memcpy(s.u.pointer.prefix, data, 4); s.u.pointer.data = data; }
    return s;
}
/* By bytes, as DuckDB orders strings: <0, 0, >0. */
static inline int leat_string_compare(const struct leat_string *a, const struct leat_string *b) {
    int order = memcmp(leat_string_data(a), leat_string_data(b), a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}
static inline bool leat_string_equal(const struct leat_string *a, const struct leat_string *b) {
    return a->length == b->length && memcmp(leat_string_data(a), leat_string_data(b), a->length) == 0;
}

/* Bytes a value; 0 for NESTED. */
static inline size_t leat_type_size(struct leat_type t) {
    static const uint8_t sizes[] = {
        [LEAT_BOOLEAN] = 1, [LEAT_TINYINT] = 1, [LEAT_SMALLINT] = 2, [LEAT_INTEGER] = 4, [LEAT_BIGINT] = 8, [LEAT_HUGEINT] = 16,
        [LEAT_UTINYINT] = 1, [LEAT_USMALLINT] = 2, [LEAT_UINTEGER] = 4, [LEAT_UBIGINT] = 8, [LEAT_UHUGEINT] = 16,
        [LEAT_FLOAT] = 4, [LEAT_DOUBLE] = 8, [LEAT_VARCHAR] = 16, [LEAT_BLOB] = 16, [LEAT_DATE] = 4, [LEAT_TIME] = 8,
        [LEAT_TIMESTAMP] = 8, [LEAT_TIMESTAMPTZ] = 8, [LEAT_INTERVAL] = 16, [LEAT_UUID] = 16, [LEAT_NESTED] = 0,
    };
    if (t.kind != LEAT_DECIMAL) return sizes[t.kind];
    return t.width <= 4 ? 2 : t.width <= 9 ? 4 : t.width <= 18 ? 8 : 16;
}
static inline bool leat_type_is_string(struct leat_type t) { return t.kind == LEAT_VARCHAR || t.kind == LEAT_BLOB; }
static inline bool leat_type_is_float(struct leat_type t) { return t.kind == LEAT_FLOAT || t.kind == LEAT_DOUBLE; }
static inline bool leat_type_equal(struct leat_type a, struct leat_type b) {
    return a.kind == b.kind && (a.kind != LEAT_DECIMAL || (a.width == b.width && a.scale == b.scale));
}
/* DuckDB's spelling ("DECIMAL(18,2)"); out holds at least 32 bytes. */
void leat_type_print(struct leat_type t, char out[32]);
/* Parses DuckDB's spellings and usual aliases (INT, STRING, TEXT, LONG, NUMERIC(p,s), DATETIME,
 * TIMESTAMP WITH TIME ZONE ...), any case. INVALID with the nearest valid spelling. */
enum leat_status leat_type_parse(const char *text, size_t length, struct leat_type *out, struct leat_error *err) LEAT_MUST;

struct leat_field {
    char *name;            /* owned by the schema */
    struct leat_type type;
    bool not_null;
};
struct leat_schema {
    struct leat_field *fields;
    size_t field_count;
};
void leat_schema_add(struct leat_schema *s, const char *name, struct leat_type type, bool not_null); /* copies name */
void leat_schema_copy(struct leat_schema *out, const struct leat_schema *from); /* out: uninitialised or empty */
void leat_schema_deinit(struct leat_schema *s); /* empty afterwards */
/* Index of a column, compared without case (ASCII), or -1. */
int leat_schema_find(const struct leat_schema *s, const char *name);

struct leat_column {
    struct leat_type type;
    void *data;          /* capacity * leat_type_size */
    uint64_t *valid;     /* NULL: no row is NULL */
};
/* Columns plus a weight a row: +1 the row appears, -1 it disappears; |weight| > 1 is allowed and
 * means that many copies. weights NULL: every row +1. Strings longer than 12 bytes live in
 * `strings` or in memory the maker of the batch promised to keep (say so at the call). */
struct leat_changes {
    const struct leat_schema *schema;   /* borrowed; outlives the batch */
    size_t row_count, capacity;
    struct leat_column *columns;        /* schema->field_count */
    int32_t *weights;                   /* NULL: all +1; else `capacity` entries */
    struct leat_arena strings;
};
void leat_changes_init(struct leat_changes *c, const struct leat_schema *schema);
void leat_changes_deinit(struct leat_changes *c);
void leat_changes_reset(struct leat_changes *c);              /* no rows, no NULLs, no weights; keeps memory */
void leat_changes_reserve(struct leat_changes *c, size_t rows); /* capacity >= rows; aborts when out of memory */
void leat_changes_need_weights(struct leat_changes *c);       /* makes weights, existing rows +1 */
/* Appends `count` rows of `from` (same types, other schema object allowed) chosen by rows[] (NULL: 0..count-1 in
 * order), strings copied into c->strings, weights multiplied by `sign`. */
void leat_changes_append(struct leat_changes *c, const struct leat_changes *from, const uint32_t *rows, size_t count, int32_t sign);
/* So, rows [first, first + count) as they are. */
void leat_changes_append_range(struct leat_changes *c, const struct leat_changes *from, size_t first, size_t count);
void leat_changes_swap(struct leat_changes *a, struct leat_changes *b);
/* Adds up weights of equal rows (IS NOT DISTINCT FROM on every column), drops zeros; order not kept. */
void leat_changes_consolidate(struct leat_changes *c);

static inline bool leat_is_null(const struct leat_column *c, size_t row) {
    return c->valid && !(c->valid[row >> 6] >> (row & 63) & 1);
}
void leat_set_null(struct leat_changes *c, size_t column, size_t row); /* makes validity if needed; zeroes the value */
static inline int32_t leat_weight(const struct leat_changes *c, size_t row) { return c->weights ? c->weights[row] : 1; }

#endif
