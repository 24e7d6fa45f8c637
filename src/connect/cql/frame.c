#include "connect/cql/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_REQUEST 0x04
#define VERSION_RESPONSE 0x84
#define FLAG_COMPRESSED 0x01
#define FLAG_TRACING 0x02
#define FLAG_PAYLOAD 0x04
#define FLAG_WARNING 0x08

enum leat_status leat_cql_header_read(const uint8_t bytes[LEAT_CQL_HEADER_BYTES], size_t max_body_bytes,
                                      struct leat_cql_header *out, struct leat_error *err) {
    memset(out, 0, sizeof *out);
    if (bytes[0] != VERSION_RESPONSE)
        return leat_fail(err, LEAT_CORRUPT,
                         "the answer begins with byte 0x%02x instead of 0x84: the server does not speak version 4 of "
                         "the native protocol, or "
                         "wants TLS",
                         bytes[0]);
    uint32_t length = (uint32_t)bytes[5] << 24 | (uint32_t)bytes[6] << 16 | (uint32_t)bytes[7] << 8 | bytes[8];
    if (length > max_body_bytes)
        return leat_fail(err, LEAT_CORRUPT, "the server announces a frame of %u bytes; at most %zu are taken", length,
                         max_body_bytes);
    if (bytes[1] & FLAG_COMPRESSED)
        return leat_fail(err, LEAT_CORRUPT, "the server sent a compressed frame, which nobody asked for");
    *out = (struct leat_cql_header){.flags = bytes[1],
                                    .stream = (int16_t)((uint16_t)bytes[2] << 8 | bytes[3]),
                                    .opcode = bytes[4],
                                    .body_bytes = length};
    return LEAT_OK;
}

/* ---- Reading: past the end gives zeros and sets bad ---- */

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static size_t left(const struct reader *r) {
    return (size_t)(r->end - r->at);
}

static const uint8_t *take(struct reader *r, size_t n) {
    if (r->bad || left(r) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += n;
    return at;
}

static uint16_t take_short(struct reader *r) {
    const uint8_t *b = take(r, 2);
    return b ? (uint16_t)((uint32_t)b[0] << 8 | b[1]) : 0;
}

static int32_t take_int(struct reader *r) {
    const uint8_t *b = take(r, 4);
    return b ? (int32_t)((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]) : 0;
}

static struct leat_cql_bytes take_string(struct reader *r) {
    uint16_t n = take_short(r);
    const uint8_t *data = take(r, n);
    return (struct leat_cql_bytes){data, data ? n : 0};
}

static struct leat_cql_bytes take_bytes(struct reader *r) {
    int32_t n = take_int(r);
    if (n < 0) return (struct leat_cql_bytes){NULL, -1};
    const uint8_t *data = take(r, (size_t)n);
    return (struct leat_cql_bytes){data, data ? n : 0};
}

static void skip_strings(struct reader *r) {
    for (uint16_t n = take_short(r); n > 0 && !r->bad; n--)
        take_string(r);
}

/* An [option] that describes a type; what is inside a collection is passed over. */
static uint16_t take_type(struct reader *r, int depth) {
    uint16_t id = take_short(r);
    if (depth > LEAT_CQL_TYPE_DEPTH_MAX) r->bad = true;
    if (r->bad) return id;
    switch (id) {
    case LEAT_CQL_CUSTOM:
        take_string(r);
        break;
    case LEAT_CQL_LIST:
    case LEAT_CQL_SET:
        take_type(r, depth + 1);
        break;
    case LEAT_CQL_MAP:
        take_type(r, depth + 1);
        take_type(r, depth + 1);
        break;
    case LEAT_CQL_TUPLE:
        for (uint16_t n = take_short(r); n > 0 && !r->bad; n--)
            take_type(r, depth + 1);
        break;
    case LEAT_CQL_UDT:
        take_string(r);
        take_string(r);
        for (uint16_t n = take_short(r); n > 0 && !r->bad; n--) {
            take_string(r);
            take_type(r, depth + 1);
        }
        break;
    default:
        break;
    }
    return id;
}

#define META_GLOBAL 0x1
#define META_MORE_PAGES 0x2
#define META_NONE 0x4

/* <global_table_spec>?<col_spec_1>...<col_spec_n>: a column takes at least a name's length and a type's id. */
static void take_columns(struct reader *r, int32_t flags, int32_t count, struct leat_cql_result *out) {
    if (flags & META_GLOBAL) {
        take_string(r);
        take_string(r);
    }
    if (count < 0 || (size_t)count > left(r) / 4) r->bad = true;
    if (r->bad || count == 0) return;
    out->columns = leat_alloc((size_t)count * sizeof *out->columns);
    for (int32_t i = 0; i < count && !r->bad; i++) {
        if (!(flags & META_GLOBAL)) {
            take_string(r);
            take_string(r);
        }
        out->columns[i].name = take_string(r);
        out->columns[i].type = take_type(r, 0);
    }
}

/* Section 4.2.5.2. All values are walked through once, so that leat_cql_next_row cannot fail. */
static void take_rows(struct reader *r, struct leat_cql_result *out) {
    int32_t flags = take_int(r), columns = take_int(r);
    if (flags & META_MORE_PAGES) out->paging_state = take_bytes(r);
    if (!(flags & META_NONE)) take_columns(r, flags, columns, out);
    int32_t rows = take_int(r);
    if (columns < 0 || columns > LEAT_CQL_COLUMNS_MAX || rows < 0 ||
        (rows > 0 && (columns == 0 || (size_t)columns > left(r) / 4)))
        r->bad = true;
    if (r->bad) return;
    out->column_count = (uint32_t)columns;
    out->row_count = (uint32_t)rows;
    out->next_row = r->at;
    for (int64_t i = (int64_t)rows * columns; i > 0 && !r->bad; i--)
        take_bytes(r);
    out->end = r->at;
}

/* Section 4.2.5.4: the id and the bind markers; what the statement's rows will look like comes with the rows. */
static void take_prepared(struct reader *r, struct leat_cql_result *out) {
    out->prepared_id = take_string(r); /* [short bytes], laid out as a [string] */
    int32_t flags = take_int(r), columns = take_int(r), keys = take_int(r);
    if (keys < 0 || (size_t)keys > left(r) / 2) r->bad = true;
    if (!r->bad) take(r, (size_t)keys * 2);
    take_columns(r, flags, columns, out);
    if (!r->bad) out->column_count = (uint32_t)columns;
}

static void take_result(struct reader *r, struct leat_cql_result *out) {
    int32_t kind = take_int(r);
    if (kind < LEAT_CQL_VOID || kind > LEAT_CQL_SCHEMA_CHANGED) r->bad = true;
    if (r->bad) return;
    out->kind = (enum leat_cql_result_kind)kind;
    if (kind == LEAT_CQL_ROWS) take_rows(r, out);
    if (kind == LEAT_CQL_PREPARED) take_prepared(r, out);
}

enum leat_status leat_cql_message_read(const struct leat_cql_header *header, const uint8_t *body,
                                       struct leat_cql_message *out, struct leat_error *err) {
    struct reader r = {.at = body, .end = body + header->body_bytes};
    *out =
        (struct leat_cql_message){.opcode = header->opcode, .stream = header->stream, .result.paging_state.length = -1};
    if (header->flags & FLAG_TRACING) take(&r, 16);
    if (header->flags & FLAG_WARNING) skip_strings(&r);
    if (header->flags & FLAG_PAYLOAD)
        for (uint16_t n = take_short(&r); n > 0 && !r.bad; n--) {
            take_string(&r);
            take_bytes(&r);
        }
    bool known = true;
    switch (header->opcode) {
    case LEAT_CQL_OP_ERROR:
        out->code = take_int(&r);
        out->text = take_string(&r);
        break;
    case LEAT_CQL_OP_AUTHENTICATE:
    case LEAT_CQL_OP_EVENT:
        out->text = take_string(&r);
        break;
    case LEAT_CQL_OP_AUTH_CHALLENGE:
    case LEAT_CQL_OP_AUTH_SUCCESS:
        out->text = take_bytes(&r);
        break;
    case LEAT_CQL_OP_RESULT:
        take_result(&r, &out->result);
        break;
    case LEAT_CQL_OP_READY:
    case LEAT_CQL_OP_SUPPORTED:
        break;
    default:
        known = false;
    }
    if (known && !r.bad) return LEAT_OK;
    leat_cql_message_deinit(out);
    return leat_fail(err, LEAT_CORRUPT,
                     known ? "the body of an answer (opcode 0x%02x, %u bytes) is not laid out as the protocol says"
                           : "an answer has the unknown opcode 0x%02x (%u bytes)",
                     header->opcode, header->body_bytes);
}

void leat_cql_message_deinit(struct leat_cql_message *m) {
    free(m->result.columns);
    memset(m, 0, sizeof *m);
    m->result.paging_state.length = -1;
}

bool leat_cql_next_row(struct leat_cql_result *result, struct leat_cql_bytes *values) {
    struct reader r = {.at = result->next_row, .end = result->end};
    if (result->kind != LEAT_CQL_ROWS || r.at == r.end) return false;
    for (uint32_t i = 0; i < result->column_count; i++)
        values[i] = take_bytes(&r);
    assert(!r.bad);
    result->next_row = r.at;
    return true;
}

bool leat_cql_is(struct leat_cql_bytes b, const char *text) {
    return b.length >= 0 && strlen(text) == (size_t)b.length && memcmp(b.data, text, (size_t)b.length) == 0;
}

/* Section 9. retriable: the same request may succeed later, perhaps elsewhere. */
static const struct {
    int32_t code;
    enum leat_status status;
    bool retriable;
    const char *name;
} codes[] = {
    {LEAT_CQL_SERVER_ERROR, LEAT_IO, true, "server error"},
    {LEAT_CQL_PROTOCOL_ERROR, LEAT_UNSUPPORTED, false, "protocol error"},
    {LEAT_CQL_BAD_CREDENTIALS, LEAT_INVALID, false, "authentication failed"},
    {LEAT_CQL_UNAVAILABLE, LEAT_BUSY, true, "not enough replicas are alive"},
    {LEAT_CQL_OVERLOADED, LEAT_BUSY, true, "overloaded"},
    {LEAT_CQL_BOOTSTRAPPING, LEAT_BUSY, true, "bootstrapping"},
    {LEAT_CQL_WRITE_TIMEOUT, LEAT_BUSY, true, "write timed out among the replicas"},
    {LEAT_CQL_READ_TIMEOUT, LEAT_BUSY, true, "read timed out among the replicas"},
    {LEAT_CQL_READ_FAILURE, LEAT_IO, true, "read failed on a replica"},
    {LEAT_CQL_WRITE_FAILURE, LEAT_IO, true, "write failed on a replica"},
    {LEAT_CQL_SYNTAX_ERROR, LEAT_INVALID, false, "syntax error"},
    {LEAT_CQL_UNAUTHORIZED, LEAT_UNSUPPORTED, false, "not permitted"},
    {LEAT_CQL_INVALID, LEAT_INVALID, false, "invalid request"},
    {LEAT_CQL_CONFIG_ERROR, LEAT_INVALID, false, "invalid by configuration"},
    {LEAT_CQL_ALREADY_EXISTS, LEAT_EXISTS, false, "exists already"},
    {LEAT_CQL_UNPREPARED, LEAT_BUSY, true, "statement not prepared"},
};

enum leat_status leat_cql_error(const struct leat_cql_message *m, struct leat_error *err) {
    size_t at = 0, count = sizeof codes / sizeof *codes;
    while (at < count && codes[at].code != m->code)
        at++;
    int length = m->text.length > 400 ? 400 : m->text.length;
    enum leat_status status =
        leat_fail(err, at < count ? codes[at].status : LEAT_IO, "Cassandra: %s (0x%04x): %.*s",
                  at < count ? codes[at].name : "error", (unsigned)m->code, length, (const char *)m->text.data);
    if (err) err->retriable = at < count ? codes[at].retriable : true;
    return status;
}

/* ---- Writing: room is made first, so that the rest cannot fail ---- */

static void put(struct leat_buffer *b, const void *bytes, size_t n) {
    if (n) memcpy(b->data + b->length, bytes, n);
    b->length += n;
    b->data[b->length] = 0;
}

static void put_byte(struct leat_buffer *b, unsigned v) {
    put(b, &(uint8_t){(uint8_t)v}, 1);
}

static void put_short(struct leat_buffer *b, unsigned v) {
    put(b, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
}

static void put_int(struct leat_buffer *b, uint32_t v) {
    put(b, (uint8_t[]){(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}, 4);
}

static void put_string(struct leat_buffer *b, const char *text) {
    put_short(b, (unsigned)strlen(text));
    put(b, text, strlen(text));
}

/* Room for a frame with a body of at most body_bytes, and its header with the length still open; *start: where it
 * begins. */
static enum leat_status begin(struct leat_buffer *b, int16_t stream, enum leat_cql_opcode opcode, size_t body_bytes,
                              size_t *start, struct leat_error *err) {
    if (body_bytes > LEAT_CQL_FRAME_BYTES_LIMIT)
        return leat_fail(err, LEAT_LIMIT, "a request of %zu bytes; the protocol's frames hold at most %zu", body_bytes,
                         LEAT_CQL_FRAME_BYTES_LIMIT);
    enum leat_status s = leat_buffer_reserve(b, LEAT_CQL_HEADER_BYTES + body_bytes + 1, err);
    if (s) return s;
    *start = b->length;
    put_byte(b, VERSION_REQUEST);
    put_byte(b, 0);
    put_short(b, (uint16_t)stream);
    put_byte(b, opcode);
    put_int(b, 0);
    return LEAT_OK;
}

static void end(struct leat_buffer *b, size_t start) {
    uint32_t length = (uint32_t)(b->length - start - LEAT_CQL_HEADER_BYTES);
    uint8_t *at = (uint8_t *)b->data + start + 5;
    at[0] = (uint8_t)(length >> 24), at[1] = (uint8_t)(length >> 16), at[2] = (uint8_t)(length >> 8),
    at[3] = (uint8_t)length;
}

enum leat_status leat_cql_put_startup(struct leat_buffer *out, int16_t stream, struct leat_error *err) {
    static const char *const options[] = {"CQL_VERSION", "3.0.0", "DRIVER_NAME", "leat", "THROW_ON_OVERLOAD", "1"};
    size_t count = sizeof options / sizeof *options, start, bytes = 2;
    for (size_t i = 0; i < count; i++)
        bytes += 2 + strlen(options[i]);
    enum leat_status s = begin(out, stream, LEAT_CQL_OP_STARTUP, bytes, &start, err);
    if (s) return s;
    put_short(out, (unsigned)(count / 2));
    for (size_t i = 0; i < count; i++)
        put_string(out, options[i]);
    end(out, start);
    return LEAT_OK;
}

/* SASL PLAIN: an empty authorisation identity, the user and the password, each behind a zero byte. */
enum leat_status leat_cql_put_plain(struct leat_buffer *out, int16_t stream, const char *user, const char *password,
                                    struct leat_error *err) {
    size_t u = strlen(user), p = strlen(password), start;
    enum leat_status s = begin(out, stream, LEAT_CQL_OP_AUTH_RESPONSE, 4 + 2 + u + p, &start, err);
    if (s) return s;
    put_int(out, (uint32_t)(2 + u + p));
    put_byte(out, 0);
    put(out, user, u);
    put_byte(out, 0);
    put(out, password, p);
    end(out, start);
    return LEAT_OK;
}

enum leat_status leat_cql_put_prepare(struct leat_buffer *out, int16_t stream, const char *text,
                                      struct leat_error *err) {
    size_t n = strlen(text), start;
    enum leat_status s = begin(out, stream, LEAT_CQL_OP_PREPARE, 4 + n, &start, err);
    if (s) return s;
    put_int(out, (uint32_t)n);
    put(out, text, n);
    end(out, start);
    return LEAT_OK;
}

#define QUERY_VALUES 0x01
#define QUERY_PAGE_SIZE 0x04
#define QUERY_PAGING_STATE 0x08
#define BATCH_UNLOGGED 1

/* [long string] or [short bytes] */
static void put_statement(struct leat_buffer *out, const struct leat_cql_item *item, const struct leat_cql_bytes *ids) {
    if (item->statement >= 0) {
        put_short(out, (unsigned)ids[item->statement].length);
        put(out, ids[item->statement].data, (size_t)ids[item->statement].length);
    } else {
        put_int(out, (uint32_t)strlen(item->text));
        put(out, item->text, strlen(item->text));
    }
}

static void put_values(struct leat_buffer *out, const struct leat_cql_item *item) {
    put_short(out, item->value_count);
    put(out, item->values, item->values_bytes);
}

static void put_single(struct leat_buffer *out, const struct leat_cql_request *request,
                       const struct leat_cql_bytes *ids) {
    bool more = request->paging_state.length > 0;
    put_statement(out, &request->items[0], ids);
    put_short(out, request->consistency);
    put_byte(out, (unsigned)((request->items[0].value_count ? QUERY_VALUES : 0) |
                             (request->page_rows ? QUERY_PAGE_SIZE : 0) | (more ? QUERY_PAGING_STATE : 0)));
    if (request->items[0].value_count) put_values(out, &request->items[0]);
    if (request->page_rows) put_int(out, (uint32_t)request->page_rows);
    if (more) {
        put_int(out, (uint32_t)request->paging_state.length);
        put(out, request->paging_state.data, (size_t)request->paging_state.length);
    }
}

static void put_batch(struct leat_buffer *out, const struct leat_cql_request *request,
                      const struct leat_cql_bytes *ids) {
    put_byte(out, BATCH_UNLOGGED);
    put_short(out, (unsigned)request->item_count);
    for (size_t i = 0; i < request->item_count; i++) {
        put_byte(out, request->items[i].statement >= 0);
        put_statement(out, &request->items[i], ids);
        put_values(out, &request->items[i]);
    }
    put_short(out, request->consistency);
    put_byte(out, 0);
}

enum leat_status leat_cql_put_request(struct leat_buffer *out, int16_t stream, const struct leat_cql_request *request,
                                      const struct leat_cql_bytes *ids, struct leat_error *err) {
    if (request->item_count > LEAT_CQL_BATCH_MAX)
        return leat_fail(err, LEAT_LIMIT, "a batch of %zu statements; at most %d", request->item_count,
                         LEAT_CQL_BATCH_MAX);
    assert(request->item_count > 0);
    size_t start, bytes = 32 + (request->paging_state.length > 0 ? (size_t)request->paging_state.length : 0);
    for (size_t i = 0; i < request->item_count; i++) {
        const struct leat_cql_item *item = &request->items[i];
        bytes +=
            8 + (item->statement >= 0 ? (size_t)ids[item->statement].length : strlen(item->text)) + item->values_bytes;
    }
    bool batch = request->item_count > 1;
    enum leat_cql_opcode opcode = batch                              ? LEAT_CQL_OP_BATCH
                                  : request->items[0].statement >= 0 ? LEAT_CQL_OP_EXECUTE
                                                                     : LEAT_CQL_OP_QUERY;
    enum leat_status s = begin(out, stream, opcode, bytes, &start, err);
    if (s) return s;
    (batch ? put_batch : put_single)(out, request, ids);
    end(out, start);
    return LEAT_OK;
}
