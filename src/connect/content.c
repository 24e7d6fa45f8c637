/* Plain, gzip and zstd behind one forward read. */
#include "connect/content.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define INPUT_BYTES (256 * LEAT_KIB)
#define SKIP_BYTES (64 * LEAT_KIB)
#define BOMB_FREE_BYTES (16 * LEAT_MIB)
#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB */
#define ZSTD_BLOCK_HEAD ((size_t)3)
/* Known when all that it covers was given. */
#define WRONG_CHECKSUM "the checksum is wrong, so that records before it may not be as they were written"

struct leat_content {
    struct leat_io *io;
    struct leat_file *file;
    char *path;
    enum leat_compression compression;
    int64_t max_ratio;
    uint64_t position;                 /* content bytes given */
    uint64_t file_at;                  /* file bytes in or before the input buffer */
    uint64_t start_at, start_position; /* where decompression began, for the ratio */
    char *input;                       /* INPUT_BYTES */
    size_t input_at, input_length;
    bool in_member; /* inside a gzip member or zstd frame */
    bool any_member;
    z_stream gzip;
    bool gzip_open;
    ZSTD_DStream *zstd;
    size_t zstd_wants; /* input bytes to its next block's end and the head behind it */
    bool zstd_waits;   /* has perhaps more output than it had room for */
};

static enum leat_compression told_by(const unsigned char *head, size_t n) {
    if (n >= 2 && head[0] == 0x1F && head[1] == 0x8B) return LEAT_COMPRESSION_GZIP;
    if (n >= 4 && head[0] == 0x28 && head[1] == 0xB5 && head[2] == 0x2F && head[3] == 0xFD)
        return LEAT_COMPRESSION_ZSTD;
    /* A zstd file may begin with a skippable frame: 0x184D2A5? */
    if (n >= 4 && (head[0] & 0xF0) == 0x50 && head[1] == 0x2A && head[2] == 0x4D && head[3] == 0x18)
        return LEAT_COMPRESSION_ZSTD;
    return LEAT_COMPRESSION_NONE;
}

enum leat_status leat_content_open(struct leat_io *io, const char *path, enum leat_compression compression,
                                   int64_t max_ratio, struct leat_content **out, struct leat_error *err) {
    unsigned char head[4];
    size_t got = 0;
    struct leat_content *c = leat_alloc(sizeof *c);
    *out = NULL;
    c->io = io;
    c->path = leat_strdup(path);
    c->max_ratio = max_ratio;
    c->compression = compression;
    enum leat_status status = io->ops->open(io, path, LEAT_OPEN_READ, &c->file, err);
    if (status != LEAT_OK) goto out;
    if (compression == LEAT_COMPRESSION_AUTO) {
        status = io->ops->read_at(c->file, 0, head, sizeof head, &got, err);
        if (status != LEAT_OK) goto out;
        c->compression = told_by(head, got);
    }
    if (c->compression == LEAT_COMPRESSION_GZIP) {
        if (inflateInit2(&c->gzip, 15 + 16) != Z_OK) {
            status = leat_fail(err, LEAT_NO_MEMORY, "%s: no memory to decompress it", path);
            goto out;
        }
        c->gzip_open = true;
    } else if (c->compression == LEAT_COMPRESSION_ZSTD) {
        c->zstd = ZSTD_createDStream();
        if (!c->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(c->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))) {
            status = leat_fail(err, LEAT_NO_MEMORY, "%s: no memory to decompress it", path);
            goto out;
        }
    }
    if (c->compression != LEAT_COMPRESSION_NONE) c->input = leat_alloc(INPUT_BYTES);
    *out = c;
    c = NULL;
out:
    leat_content_close(c);
    return status;
}

enum leat_status leat_content_head(struct leat_content *c, void *out, size_t want, size_t *got,
                                   struct leat_error *err) {
    return c->io->ops->read_at(c->file, 0, out, want, got, err);
}

void leat_content_close(struct leat_content *c) {
    if (!c) return;
    if (c->file) c->io->ops->close(c->file);
    if (c->gzip_open) inflateEnd(&c->gzip);
    ZSTD_freeDStream(c->zstd);
    free(c->input);
    free(c->path);
    free(c);
}

enum leat_compression leat_content_compression(const struct leat_content *c) {
    return c->compression;
}

uint64_t leat_content_position(const struct leat_content *c) {
    return c->position;
}

/* File bytes consumed. */
static uint64_t consumed(const struct leat_content *c) {
    return c->file_at - (c->input_length - c->input_at);
}

struct leat_content_mark leat_content_mark(const struct leat_content *c) {
    return (struct leat_content_mark){.file_at = consumed(c), .position = c->position};
}

void leat_content_resume(struct leat_content *c, struct leat_content_mark mark) {
    c->file_at = c->start_at = mark.file_at;
    c->position = c->start_position = mark.position;
    c->any_member = mark.file_at > 0;
}

static enum leat_status fail_data(struct leat_content *c, enum leat_status status, const char *what,
                                  struct leat_error *err) {
    leat_fail(err, status,
              "%s: byte %llu (content byte %llu): %s; whole records before it are used, the rest waits until the file "
              "changes",
              c->path, (unsigned long long)consumed(c), (unsigned long long)c->position, what);
    if (err) err->bad_data = true;
    return status;
}

static enum leat_status refill(struct leat_content *c, struct leat_error *err) {
    size_t got = 0;
    enum leat_status status = c->io->ops->read_at(c->file, c->file_at, c->input, INPUT_BYTES, &got, err);
    if (status != LEAT_OK) return status;
    c->file_at += got;
    c->input_at = 0;
    c->input_length = got;
    return LEAT_OK;
}

/* After a member: is there another? Padding of zeros, as tapes leave it, is none. */
static enum leat_status next_gzip_member(struct leat_content *c, bool *more, struct leat_error *err) {
    for (;;) {
        if (c->input_at == c->input_length) {
            enum leat_status status = refill(c, err);
            if (status != LEAT_OK || c->input_length == 0) {
                *more = false;
                return status;
            }
        }
        unsigned char byte = (unsigned char)c->input[c->input_at];
        if (byte == 0 && c->any_member) {
            c->input_at++;
            continue;
        }
        *more = true;
        if (byte != 0x1F) return fail_data(c, LEAT_CORRUPT, "is not gzip data", err);
        return inflateReset(&c->gzip) == Z_OK ? LEAT_OK : fail_data(c, LEAT_CORRUPT, "cannot begin a gzip member", err);
    }
}

/* One call of the decompressor: some input, some output. *end: the member ended. */
static enum leat_status inflate_some(struct leat_content *c, char *out, size_t want, size_t *got, bool *end,
                                     struct leat_error *err) {
    c->gzip.next_in = (Bytef *)(void *)(c->input + c->input_at);
    c->gzip.avail_in = (uInt)(c->input_length - c->input_at);
    c->gzip.next_out = (Bytef *)(void *)out;
    c->gzip.avail_out = want > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)want;
    uInt room = c->gzip.avail_out;
    int result = inflate(&c->gzip, Z_NO_FLUSH);
    *got = room - c->gzip.avail_out;
    c->input_at = c->input_length - c->gzip.avail_in;
    *end = result == Z_STREAM_END;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return LEAT_OK;
    c->position += *got;
    const char *what = c->gzip.msg ? c->gzip.msg : "damaged gzip data";
    if (strcmp(what, "incorrect data check") == 0 || strcmp(what, "incorrect length check") == 0) what = WRONG_CHECKSUM;
    fail_data(c, result == Z_MEM_ERROR ? LEAT_NO_MEMORY : LEAT_CORRUPT, what, err);
    c->position -= *got;
    return result == Z_MEM_ERROR ? LEAT_NO_MEMORY : LEAT_CORRUPT;
}

/* A call that fails keeps back all that it decoded, so each gets one block at most, without the next one's head, and none
 * while output waits: what was decoded before the damage is given, wherever reads fell. */
static enum leat_status unzstd_some(struct leat_content *c, char *out, size_t want, size_t *got, bool *end,
                                    struct leat_error *err) {
    size_t most = c->zstd_waits ? 0 : c->zstd_wants > ZSTD_BLOCK_HEAD ? c->zstd_wants - ZSTD_BLOCK_HEAD : c->zstd_wants;
    size_t left = c->input_length - c->input_at;
    ZSTD_inBuffer input = {.src = c->input + c->input_at, .size = most < left ? most : left};
    ZSTD_outBuffer output = {.dst = out, .size = want};
    size_t result = ZSTD_decompressStream(c->zstd, &output, &input);
    *got = output.pos;
    c->input_at += input.pos;
    if (ZSTD_isError(result))
        return fail_data(c, LEAT_CORRUPT,
                         ZSTD_getErrorCode(result) == ZSTD_error_checksum_wrong ? WRONG_CHECKSUM
                                                                                : ZSTD_getErrorName(result),
                         err);
    c->zstd_waits = output.pos == want;
    c->zstd_wants = result;
    *end = result == 0;
    return LEAT_OK;
}

static enum leat_status check_bomb(struct leat_content *c, struct leat_error *err) {
    uint64_t out = c->position - c->start_position, in = consumed(c) - c->start_at;
    if (out <= BOMB_FREE_BYTES || out / (in ? in : 1) < (uint64_t)c->max_ratio) return LEAT_OK;
    return fail_data(
        c, LEAT_LIMIT,
        "decompresses to more than max_decompressed_ratio times its size; raise the option if that is meant", err);
}

static enum leat_status read_compressed(struct leat_content *c, char *out, size_t want, size_t *got,
                                        struct leat_error *err) {
    bool is_gzip = c->compression == LEAT_COMPRESSION_GZIP;
    enum leat_status status;
    while (*got < want) {
        bool more = true, end = false;
        size_t some = 0;
        if (!c->in_member) {
            if (is_gzip)
                status = next_gzip_member(c, &more, err);
            else {
                status = c->input_at == c->input_length ? refill(c, err) : LEAT_OK;
                more = c->input_at < c->input_length;
                c->zstd_wants = ZSTD_initDStream(c->zstd);
                c->zstd_waits = false;
            }
            if (status != LEAT_OK || !more) return status;
            c->in_member = c->any_member = true;
        }
        if (c->input_at == c->input_length) {
            status = refill(c, err);
            if (status != LEAT_OK) return status;
        }
        bool starved = c->input_at == c->input_length;
        status = is_gzip ? inflate_some(c, out + *got, want - *got, &some, &end, err)
                         : unzstd_some(c, out + *got, want - *got, &some, &end, err);
        *got += some;
        c->position += some;
        if (status != LEAT_OK) return status;
        if (end)
            c->in_member = false;
        else if (starved && some == 0)
            return fail_data(c, LEAT_CORRUPT, "the compressed data is cut short", err);
        status = check_bomb(c, err);
        if (status != LEAT_OK) return status;
    }
    return LEAT_OK;
}

enum leat_status leat_content_read(struct leat_content *c, void *out, size_t want, size_t *got,
                                   struct leat_error *err) {
    *got = 0;
    if (c->compression != LEAT_COMPRESSION_NONE) return read_compressed(c, out, want, got, err);
    enum leat_status status = c->io->ops->read_at(c->file, c->position, out, want, got, err);
    c->position += *got;
    c->file_at = c->position;
    return status;
}

enum leat_status leat_content_seek(struct leat_content *c, uint64_t position, struct leat_error *err) {
    if (c->compression == LEAT_COMPRESSION_NONE) {
        c->position = c->file_at = position;
        return LEAT_OK;
    }
    char *skipped = leat_alloc(SKIP_BYTES);
    enum leat_status status = LEAT_OK;
    while (status == LEAT_OK && c->position < position) {
        size_t left = position - c->position < SKIP_BYTES ? (size_t)(position - c->position) : SKIP_BYTES, got = 0;
        status = leat_content_read(c, skipped, left, &got, err);
        if (status == LEAT_OK && got < left)
            status = fail_data(c, LEAT_CORRUPT, "ends before records that were already read from it", err);
    }
    free(skipped);
    return status;
}
