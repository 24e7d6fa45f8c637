#include "serve/body.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#include "data/json_text.h"

enum { PIECE_BYTES = 64 << 10, ZSTD_WINDOW_LOG_MAX = 23 };

struct leat_decompressor {
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool at_end; /* of a member or frame: another may follow */
    char piece[PIECE_BYTES];
};

bool leat_encoding_of(const char *text, enum leat_encoding *out) {
    *out = LEAT_ENCODING_NONE;
    if (!text || strcasecmp(text, "identity") == 0) return true;
    if (strcasecmp(text, "gzip") == 0 || strcasecmp(text, "x-gzip") == 0)
        *out = LEAT_ENCODING_GZIP;
    else if (strcasecmp(text, "zstd") == 0)
        *out = LEAT_ENCODING_ZSTD;
    return *out != LEAT_ENCODING_NONE;
}

void leat_body_init(struct leat_body *body, enum leat_encoding encoding) {
    *body = (struct leat_body){.encoding = encoding, .content = {.max_bytes = LEAT_BODY_BYTES_MAX}};
    if (encoding == LEAT_ENCODING_NONE) return;
    struct leat_decompressor *d = body->decompressor = leat_alloc(sizeof *d);
    d->at_end = true;
    if (encoding == LEAT_ENCODING_GZIP && inflateInit2(&d->gzip, 16 + MAX_WBITS) != Z_OK) leat_panic("inflateInit2");
    if (encoding == LEAT_ENCODING_ZSTD) {
        d->zstd = ZSTD_createDStream();
        if (!d->zstd) leat_panic("ZSTD_createDStream");
        ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
}

void leat_body_deinit(struct leat_body *body) {
    if (body->decompressor) {
        if (body->encoding == LEAT_ENCODING_GZIP) inflateEnd(&body->decompressor->gzip);
        if (body->decompressor->zstd) ZSTD_freeDStream(body->decompressor->zstd);
        free(body->decompressor);
    }
    leat_buffer_deinit(&body->content);
    *body = (struct leat_body){0};
}

size_t leat_body_held_bytes(const struct leat_body *body) {
    const struct leat_decompressor *d = body->decompressor;
    return body->content.capacity + (d ? sizeof *d : 0) + (d && d->zstd ? ZSTD_sizeof_DStream(d->zstd) : 0);
}

static enum leat_status too_large(struct leat_error *err) {
    return leat_fail(err, LEAT_LIMIT, "the body has more than %zu bytes (decompressed); send it in parts", (size_t)LEAT_BODY_BYTES_MAX);
}

static enum leat_status add_content(struct leat_body *body, const char *bytes, size_t n, struct leat_error *err) {
    enum leat_status st = leat_buffer_add(&body->content, bytes, n, err);
    return st == LEAT_LIMIT ? too_large(err) : st;
}

static enum leat_status add_gzip(struct leat_body *body, const char *bytes, size_t n, struct leat_error *err) {
    struct leat_decompressor *d = body->decompressor;
    d->gzip.next_in = (Bytef *)(uintptr_t)bytes;
    d->gzip.avail_in = (uInt)n;
    while (d->gzip.avail_in) {
        if (d->at_end) inflateReset(&d->gzip);
        d->at_end = false;
        d->gzip.next_out = (Bytef *)d->piece;
        d->gzip.avail_out = PIECE_BYTES;
        int result = inflate(&d->gzip, Z_NO_FLUSH);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return leat_fail(err, LEAT_INVALID, "the body is not gzip: %s", d->gzip.msg ? d->gzip.msg : "damaged");
        d->at_end = result == Z_STREAM_END;
        enum leat_status st = add_content(body, d->piece, PIECE_BYTES - d->gzip.avail_out, err);
        if (st != LEAT_OK) return st;
        if (result == Z_BUF_ERROR) break;
    }
    return LEAT_OK;
}

static enum leat_status add_zstd(struct leat_body *body, const char *bytes, size_t n, struct leat_error *err) {
    struct leat_decompressor *d = body->decompressor;
    ZSTD_inBuffer in = {bytes, n, 0};
    for (bool full = true; in.pos < in.size || full;) {
        ZSTD_outBuffer out = {d->piece, PIECE_BYTES, 0};
        size_t left = ZSTD_decompressStream(d->zstd, &out, &in);
        if (ZSTD_isError(left)) return leat_fail(err, LEAT_INVALID, "the body is not zstd: %s", ZSTD_getErrorName(left));
        d->at_end = left == 0;
        full = out.pos == out.size && !d->at_end;
        enum leat_status st = add_content(body, d->piece, out.pos, err);
        if (st != LEAT_OK) return st;
    }
    return LEAT_OK;
}

enum leat_status leat_body_add(struct leat_body *body, const char *bytes, size_t n, struct leat_error *err) {
    body->received_bytes += n;
    if (body->received_bytes > LEAT_BODY_BYTES_MAX) return too_large(err);
    switch (body->encoding) {
    case LEAT_ENCODING_GZIP: return add_gzip(body, bytes, n, err);
    case LEAT_ENCODING_ZSTD: return add_zstd(body, bytes, n, err);
    case LEAT_ENCODING_NONE: break;
    }
    return add_content(body, bytes, n, err);
}

enum leat_status leat_body_end(struct leat_body *body, struct leat_error *err) {
    if (body->decompressor && !body->decompressor->at_end) return leat_fail(err, LEAT_INVALID, "the compressed body is not complete");
    return LEAT_OK;
}

/* ---- records --------------------------------------------------------------------------------------------- */

void leat_records_deinit(struct leat_records *r) {
    free(r->starts);
    free(r->ends);
    *r = (struct leat_records){0};
}

static enum leat_status add_record(struct leat_records *r, size_t start, size_t end, struct leat_error *err) {
    if (r->count == LEAT_BLOCK_RECORDS_MAX) return leat_fail(err, LEAT_LIMIT, "the body has more than %u records; send it in parts", LEAT_BLOCK_RECORDS_MAX);
    if (r->count == r->capacity) {
        r->capacity = r->capacity ? r->capacity * 2 : 64;
        r->starts = leat_realloc(r->starts, r->capacity * sizeof *r->starts);
        r->ends = leat_realloc(r->ends, r->capacity * sizeof *r->ends);
    }
    r->starts[r->count] = (uint32_t)start;
    r->ends[r->count++] = (uint32_t)end;
    return LEAT_OK;
}

static enum leat_status split_lines(const struct leat_buffer *text, struct leat_records *out, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (size_t at = 0; at < text->length && st == LEAT_OK;) {
        const char *newline = memchr(text->data + at, '\n', text->length - at);
        size_t next = newline ? (size_t)(newline - text->data) + 1 : text->length, end = newline ? next - 1 : next;
        if (end > at && text->data[end - 1] == '\r') end--;
        if (leat_json_space(text->data + at, text->data + end) < text->data + end) st = add_record(out, at, end, err);
        at = next;
    }
    return st;
}

static enum leat_status not_json(const struct leat_buffer *text, const char *at, const char *what, struct leat_error *err) {
    return leat_fail(err, LEAT_INVALID, "the body is not JSON, byte %zu: %s", (size_t)(at - text->data), what);
}

static enum leat_status split_document(const struct leat_buffer *text, struct leat_records *out, struct leat_error *err) {
    const char *end = text->data + text->length, *at = leat_json_space(text->data, end);
    struct leat_json_fault fault = {at, "nothing is there"};
    bool array = at < end && *at == '[';
    enum leat_status st = LEAT_OK;
    if (at == end) return LEAT_OK;
    if (array) at = leat_json_space(at + 1, end);
    if (array && at < end && *at == ']') return leat_json_space(at + 1, end) == end ? LEAT_OK : not_json(text, at, "something follows the array", err);
    while (st == LEAT_OK && at < end) {
        const char *after = leat_json_skip(at, end, 0, &fault);
        if (!after) return not_json(text, fault.at, fault.what, err);
        st = add_record(out, (size_t)(at - text->data), (size_t)(after - text->data), err);
        at = leat_json_space(after, end);
        if (!array) continue;
        if (at == end || (*at != ',' && *at != ']')) return not_json(text, at, "a comma or the array's end is missing", err);
        bool last = *at == ']';
        at = leat_json_space(at + 1, end);
        if (last && at < end) return not_json(text, at, "something follows the array", err);
        if (last) return st;
        if (at == end) break;
    }
    return st == LEAT_OK && array ? not_json(text, end, "the array has no end", err) : st;
}

enum leat_status leat_records_split(struct leat_buffer *text, bool lines, struct leat_records *out, struct leat_error *err) {
    text->max_bytes = 0;
    enum leat_status st = leat_buffer_reserve(text, LEAT_PAYLOAD_SLACK + 1, err);
    if (st == LEAT_OK) st = lines ? split_lines(text, out, err) : split_document(text, out, err);
    if (st != LEAT_OK) return st;
    for (uint32_t i = 0; i < out->count; i++) {
        if (i + 1 < out->count && out->starts[i + 1] == out->ends[i]) return not_json(text, text->data + out->ends[i], "values without anything between them", err);
        text->data[out->ends[i]] = '\n';
    }
    memset(text->data + text->length, 0, LEAT_PAYLOAD_SLACK);
    return LEAT_OK;
}
