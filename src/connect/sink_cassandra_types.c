/* Types of columns in leat and in Cassandra, and values from one to the other. */
#include "connect/sink_cassandra.h"

#include <math.h>
#include <string.h>

/* Spellings of system_schema.columns. */
static const struct {
    const char *name;
    enum leat_cql_type type;
} cql_types[] = {
    {"ascii", LEAT_CQL_ASCII},         {"bigint", LEAT_CQL_BIGINT},   {"blob", LEAT_CQL_BLOB},
    {"boolean", LEAT_CQL_BOOLEAN},     {"date", LEAT_CQL_DATE},       {"decimal", LEAT_CQL_DECIMAL},
    {"double", LEAT_CQL_DOUBLE},       {"float", LEAT_CQL_FLOAT},     {"int", LEAT_CQL_INT},
    {"smallint", LEAT_CQL_SMALLINT},   {"text", LEAT_CQL_VARCHAR},    {"time", LEAT_CQL_TIME},
    {"timestamp", LEAT_CQL_TIMESTAMP}, {"tinyint", LEAT_CQL_TINYINT}, {"uuid", LEAT_CQL_UUID},
    {"varint", LEAT_CQL_VARINT},
};
/* What each kind of ours may become, the one that `create` makes first. */
static const char *const accepted[][6] = {
    [LEAT_BOOLEAN] = {"boolean"},
    [LEAT_TINYINT] = {"tinyint", "smallint", "int", "bigint", "varint"},
    [LEAT_SMALLINT] = {"smallint", "int", "bigint", "varint"},
    [LEAT_INTEGER] = {"int", "bigint", "varint"},
    [LEAT_BIGINT] = {"bigint", "varint"},
    [LEAT_HUGEINT] = {"varint"},
    [LEAT_UTINYINT] = {"smallint", "int", "bigint", "varint"},
    [LEAT_USMALLINT] = {"int", "bigint", "varint"},
    [LEAT_UINTEGER] = {"bigint", "varint"},
    [LEAT_UBIGINT] = {"varint"},
    [LEAT_UHUGEINT] = {NULL},
    [LEAT_FLOAT] = {"float", "double"},
    [LEAT_DOUBLE] = {"double"},
    [LEAT_DECIMAL] = {"decimal"},
    [LEAT_VARCHAR] = {"text", "ascii"},
    [LEAT_BLOB] = {"blob"},
    [LEAT_DATE] = {"date"},
    [LEAT_TIME] = {"time"},
    [LEAT_TIMESTAMP] = {"timestamp", "bigint"},
    [LEAT_TIMESTAMPTZ] = {"timestamp", "bigint"},
    [LEAT_INTERVAL] = {NULL},
    [LEAT_UUID] = {"uuid"},
    [LEAT_NESTED] = {NULL},
};

const char *leat_cassandra_type_of(struct leat_type type) {
    return accepted[type.kind][0];
}

int leat_cassandra_accepts(struct leat_type type, const char *cql) {
    for (size_t i = 0; accepted[type.kind][i]; i++)
        if (strcmp(accepted[type.kind][i], cql) == 0)
            for (size_t k = 0; k < sizeof cql_types / sizeof *cql_types; k++)
                if (strcmp(cql_types[k].name, cql) == 0) return (int)cql_types[k].type;
    return -1;
}

void leat_cassandra_accepted(struct leat_type type, struct leat_buffer *out) {
    for (size_t i = 0; accepted[type.kind][i]; i++)
        leat_putf(out, "%s%s", i == 0 ? "" : accepted[type.kind][i + 1] ? ", " : " or ", accepted[type.kind][i]);
}

/* The integer under a column's value, whatever its width: also of decimals, dates and times. */
static leat_i128 integer_of(const struct leat_column *c, size_t row) {
    const char *at = (const char *)c->data + row * leat_type_size(c->type);
    bool is_unsigned = c->type.kind >= LEAT_UTINYINT && c->type.kind <= LEAT_UBIGINT;
    union {
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        leat_i128 i128;
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
    } v;
    memcpy(&v, at, leat_type_size(c->type));
    switch (leat_type_size(c->type)) {
    case 1:
        return is_unsigned || c->type.kind == LEAT_BOOLEAN ? (leat_i128)v.u8 : v.i8;
    case 2:
        return is_unsigned ? (leat_i128)v.u16 : v.i16;
    case 4:
        return is_unsigned ? (leat_i128)v.u32 : v.i32;
    case 8:
        return is_unsigned ? (leat_i128)v.u64 : v.i64;
    default:
        return v.i128;
    }
}

/* Equal keys are equal bytes: one zero, one NaN (rule 9). */
static double double_of(const struct leat_column *c, size_t row) {
    double value = c->type.kind == LEAT_FLOAT ? (double)((const float *)c->data)[row] : ((const double *)c->data)[row];
    return isnan(value) ? (double)NAN : value == 0 ? 0.0 : value;
}

/* Milliseconds, rounded down; in a key two moments must not become one. */
static enum leat_status put_timestamp(int64_t us, bool key, struct leat_buffer *out, struct leat_error *err) {
    int64_t ms = us / 1000 - (us % 1000 < 0);
    if (key && us % 1000 != 0)
        return leat_fail(
            err, LEAT_INVALID,
            "a key's time has microseconds (%lld), which Cassandra's timestamp has not; make the column bigint there",
            (long long)us);
    leat_cql_put_integer(out, ms, 8);
    return LEAT_OK;
}

static void put_uuid(const struct leat_column *c, size_t row, struct leat_buffer *out) {
    leat_i128 value = integer_of(c, row) ^ ((leat_i128)1 << 126) << 1;
    uint8_t bytes[16];
    for (int i = 0; i < 16; i++)
        bytes[i] = (uint8_t)(value >> (8 * (15 - i)));
    leat_cql_put_bytes(out, bytes, sizeof bytes);
}

enum leat_status leat_cassandra_put(const struct leat_column *c, size_t row, uint16_t cql_type, bool key,
                                    struct leat_buffer *out, struct leat_error *err) {
    if (leat_is_null(c, row)) {
        if (key) return leat_fail(err, LEAT_INVALID, "a key with a NULL in it, which Cassandra does not take");
        leat_cql_put_null(out);
        return LEAT_OK;
    }
    bool is_time = c->type.kind == LEAT_TIMESTAMP || c->type.kind == LEAT_TIMESTAMPTZ;
    const struct leat_string *text = leat_type_is_string(c->type) ? &((const struct leat_string *)c->data)[row] : NULL;
    switch (cql_type) {
    case LEAT_CQL_ASCII:
    case LEAT_CQL_VARCHAR:
    case LEAT_CQL_BLOB:
        leat_cql_put_bytes(out, leat_string_data(text), text->length);
        break;
    case LEAT_CQL_BOOLEAN:
    case LEAT_CQL_TINYINT:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row), 1);
        break;
    case LEAT_CQL_SMALLINT:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row), 2);
        break;
    case LEAT_CQL_INT:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row), 4);
        break;
    case LEAT_CQL_BIGINT:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row), 8);
        break;
    case LEAT_CQL_VARINT:
        leat_cql_put_varint(out, integer_of(c, row));
        break;
    case LEAT_CQL_DECIMAL:
        leat_cql_put_decimal(out, integer_of(c, row), c->type.scale);
        break;
    case LEAT_CQL_FLOAT:
        leat_cql_put_float(out, (float)double_of(c, row));
        break;
    case LEAT_CQL_DOUBLE:
        leat_cql_put_double(out, double_of(c, row));
        break;
    case LEAT_CQL_DATE:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row) + INT32_MIN, 4);
        break; /* 1970-01-01 is 2^31 */
    case LEAT_CQL_TIME:
        leat_cql_put_integer(out, (int64_t)integer_of(c, row) * 1000, 8);
        break; /* nanoseconds */
    case LEAT_CQL_TIMESTAMP:
        return put_timestamp((int64_t)integer_of(c, row), key && is_time, out, err);
    case LEAT_CQL_UUID:
        put_uuid(c, row, out);
        break;
    default:
        leat_panic("cassandra: type %d", cql_type);
    }
    return LEAT_OK;
}
