/* One file's records as blocks.
 *
 * Offsets and positions. A record's offset is its number in the file, counted from 0 without the CSV header and without
 * empty lines; a block's position is the content byte behind its last record. Both depend on the file's bytes alone,
 * not on how reads fell.
 *
 * The last line. Without a newline it waits: somebody may be writing it. It is taken at the end of a file that will not
 * grow (mode once) or is complete by its nature (compressed).
 *
 * Too long lines. A record longer than max_line_bytes is given as its first max_line_bytes + 1 bytes; whoever decodes
 * rejects every record of more than max_line_bytes, so it becomes a dead letter with its beginning kept. */
#include "connect/file.h"

#include <stdlib.h>
#include <string.h>

#define BOM "\xEF\xBB\xBF"

/* ---- the window over the content ---- */

void leat_file_end_turn(struct leat_file_source *s) {
    leat_content_close(s->content);
    s->content = NULL;
    s->buffer_from = s->buffer_length = 0;
    s->damage.status = LEAT_OK;
    s->ended = false;
}

static enum leat_status buffer_room(struct leat_file_source *s, size_t bytes, struct leat_error *err) {
    if (s->buffer_from) {
        memmove(s->buffer, s->buffer + s->buffer_from, s->buffer_length - s->buffer_from);
        s->buffer_length -= s->buffer_from;
        s->buffer_from = 0;
    }
    if (bytes <= s->buffer_capacity) return LEAT_OK;
    char *grown = realloc(s->buffer, bytes + LEAT_PAYLOAD_SLACK);
    if (!grown) return leat_fail(err, LEAT_NO_MEMORY, "out of memory for %zu bytes of a file", bytes);
    memset(grown + bytes, 0, LEAT_PAYLOAD_SLACK);
    s->buffer = grown;
    s->buffer_capacity = bytes;
    return LEAT_OK;
}

/* Reads until `want` bytes of unread content are in the buffer or `ended`. */
static enum leat_status fill(struct leat_file_source *s, size_t want, struct leat_error *err) {
    if (s->buffer_length - s->buffer_from >= want || s->ended) return LEAT_OK;
    enum leat_status status = buffer_room(s, want, err);
    if (status != LEAT_OK) return status;
    size_t room = want - s->buffer_length, got = 0;
    status = leat_content_read(s->content, s->buffer + s->buffer_length, room, &got, &s->damage);
    s->buffer_length += got;
    memset(s->buffer + s->buffer_length, 0, LEAT_PAYLOAD_SLACK); /* room for it is behind the capacity */
    if (status != LEAT_OK) {
        s->ended = true;
        s->damage.status = status;
    } else {
        s->damage.status = LEAT_OK;
        s->ended = got < room;
    }
    return LEAT_OK;
}

static void advance(struct leat_file_source *s, size_t bytes) {
    s->buffer_from += bytes;
    s->buffer_at += bytes;
}

/* Will nothing be added to what has been read? */
static bool is_complete(const struct leat_file_source *s) {
    return s->ended && s->damage.status == LEAT_OK &&
           (s->once || leat_content_compression(s->content) != LEAT_COMPRESSION_NONE);
}

static void skip_bom(struct leat_file_source *s) {
    if (s->buffer_at == 0 && s->buffer_length - s->buffer_from >= 3 && memcmp(s->buffer + s->buffer_from, BOM, 3) == 0)
        advance(s, 3);
}

/* So much without a whole record in it is one line that is too long. (For CSV an unclosed quote is given up before
 * that, split.c.) */
static size_t odd_bytes(const struct leat_file_source *s) {
    size_t least = s->format == LEAT_FORMAT_CSV ? 256 * LEAT_KIB : 1;
    return s->max_line_bytes + 1 > least ? s->max_line_bytes + 1 : least;
}

/* ---- the beginning of a turn ---- */

/* Where does the first record of the unread content end? 0: not in the buffer. *end is without its line end. */
static size_t first_record(const struct leat_file_source *s, uint32_t *start, uint32_t *end) {
    const char *bytes = s->buffer + s->buffer_from;
    uint32_t count = 0;
    size_t used =
        leat_split_records(s->format, bytes, s->buffer_length - s->buffer_from, is_complete(s), start, end, 1, &count);
    return count ? used : 0;
}

/* Reads the CSV header from the start of the content. END: it is not complete yet. */
static enum leat_status read_header(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    size_t want = 64 * LEAT_KIB, most = odd_bytes(s);
    for (;;) {
        uint32_t start = 0, end = 0;
        if (want > most) want = most;
        enum leat_status status = fill(s, want, err);
        if (status != LEAT_OK) return status;
        skip_bom(s);
        size_t used = first_record(s, &start, &end);
        if (used) {
            f->header = leat_alloc((size_t)(end - start) + 1);
            f->header_length = end - start;
            memcpy(f->header, s->buffer + s->buffer_from + start, f->header_length);
            advance(s, used);
            return LEAT_OK;
        }
        if (s->ended && s->damage.status != LEAT_OK) {
            *err = s->damage;
            return s->damage.status;
        }
        if (s->ended) return LEAT_END;
        if (want == most) {
            leat_fail(err, LEAT_LIMIT,
                      "%s: the header line is longer than max_line_bytes (%zu); the file is left out until it changes",
                      f->path, s->max_line_bytes);
            err->bad_data = true;
            return LEAT_LIMIT;
        }
        want *= 4;
    }
}

/* Brings the window to f->position, which is at or after where it stands. */
static enum leat_status seek(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    if (f->position <= s->buffer_at) {
        f->position = s->buffer_at;
        return LEAT_OK;
    }
    if (f->position - s->buffer_at <= s->buffer_length - s->buffer_from) {
        advance(s, (size_t)(f->position - s->buffer_at));
        return LEAT_OK;
    }
    if (s->ended && s->damage.status != LEAT_OK) { /* while reading the header */
        *err = s->damage;
        return s->damage.status;
    }
    s->buffer_from = s->buffer_length = 0;
    s->buffer_at = f->position;
    s->ended = false;
    return leat_content_seek(s->content, f->position, err);
}

static enum leat_status begin_turn(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    bool needs_header = s->has_header && !f->header;
    struct leat_stat st;
    enum leat_status status = leat_content_open(s->env->io, f->full, s->compression, s->max_ratio, &s->content, err);
    /* Asked after opening: if the name is still the file that the scan saw, so is what was opened. */
    if (status == LEAT_OK) status = s->env->io->ops->stat(s->env->io, f->full, &st, err);
    if (status != LEAT_OK) return status;
    bool plain = leat_content_compression(s->content) == LEAT_COMPRESSION_NONE;
    if (st.inode != f->seen.inode || st.size_bytes < (plain ? f->position : 0))
        return leat_fail(err, LEAT_NOT_FOUND, "%s was replaced or cut since it was looked at", f->path);
    s->buffer_from = s->buffer_length = 0;
    s->buffer_at = 0;
    s->ended = false;
    s->damage.status = LEAT_OK;
    if (needs_header) {
        status = read_header(s, f, err);
        if (status != LEAT_OK) return status;
    } else if (f->mark.file_at && f->mark.position == f->position) {
        leat_content_resume(s->content, f->mark);
        s->buffer_at = f->position;
    }
    return seek(s, f, err);
}

/* ---- records ---- */

static enum leat_status give(struct leat_file_source *s, struct leat_tailed *f, const char *payload, uint32_t count,
                             size_t used, struct leat_block *out) {
    uint32_t passed = f->skip < count ? (uint32_t)f->skip : count;
    advance(s, used);
    f->position = s->buffer_at;
    f->no_newline_before = 0;
    f->skip -= passed;
    count -= passed;
    *out = (struct leat_block){
        .partition = f->partition,
        .base_offset = f->next_record,
        .record_count = count,
        .position = f->position,
        .payload = payload,
        .starts = s->starts + passed,
        .ends = s->ends + passed,
        .payload_bytes = count ? s->ends[passed + count - 1] : 0,
        .header = f->header,
        .header_length = f->header_length,
    };
    f->next_record += count;
    return LEAT_OK;
}

/* Cuts too long records. */
static void cut_long(struct leat_file_source *s, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (s->ends[i] - s->starts[i] > s->max_line_bytes) s->ends[i] = s->starts[i] + (uint32_t)s->max_line_bytes + 1;
}

/* The line at the window's start is longer than max_line_bytes and its end is not in the buffer: keeps its beginning in
 * front, looks for the end behind it. */
static enum leat_status read_long_line(struct leat_file_source *s, struct leat_tailed *f, struct leat_block *out,
                                       struct leat_error *err) {
    size_t keep = s->max_line_bytes + 1, chunk = 256 * LEAT_KIB;
    enum leat_status status = buffer_room(s, keep + chunk, err);
    if (status != LEAT_OK) return status;
    uint64_t line_at = s->buffer_at, scanned = line_at + s->buffer_length;
    bool plain = leat_content_compression(s->content) == LEAT_COMPRESSION_NONE;
    if (plain && f->no_newline_before > scanned) {
        scanned = f->no_newline_before;
        status = leat_content_seek(s->content, scanned, err);
        if (status != LEAT_OK) return status;
        s->ended = false;
    }
    s->starts[0] = 0;
    s->ends[0] = (uint32_t)keep;
    while (!s->ended) {
        s->buffer_length = keep;
        status = fill(s, keep + chunk, err);
        if (status != LEAT_OK) return status;
        size_t got = s->buffer_length - keep;
        const char *newline = memchr(s->buffer + keep, '\n', got);
        if (newline) {
            size_t past = (size_t)(newline - (s->buffer + keep)) + 1;
            s->buffer_at = scanned;
            s->buffer_from = keep;
            f->ends_line = true;
            return give(s, f, s->buffer, 1, past, out);
        }
        scanned += got;
    }
    s->buffer_from = s->buffer_length; /* all of it belongs to the line */
    s->buffer_at = scanned;
    if (is_complete(s)) {
        f->ends_line = false;
        return give(s, f, s->buffer, 1, 0, out);
    }
    f->no_newline_before = scanned;
    return LEAT_END;
}

/* At the end of what can be read now. */
static enum leat_status end_of_file(struct leat_file_source *s, struct leat_tailed *f, struct leat_error *err) {
    if (s->damage.status != LEAT_OK) {
        *err = s->damage;
        return s->damage.status;
    }
    f->mark = (struct leat_content_mark){0};
    if (leat_content_compression(s->content) != LEAT_COMPRESSION_NONE && s->buffer_from == s->buffer_length) {
        f->mark = leat_content_mark(s->content);
        f->position = f->mark.position; /* empty lines at the end count as read */
    }
    return LEAT_END;
}

enum leat_status leat_file_read(struct leat_file_source *s, struct leat_tailed *f, size_t max_bytes,
                                struct leat_block *out, struct leat_error *err) {
    enum leat_status status = LEAT_OK;
    size_t want = max_bytes < LEAT_BLOCK_MAX ? max_bytes : LEAT_BLOCK_MAX, most = odd_bytes(s);
    if (want == 0) want = 1;
    if (!s->content) status = begin_turn(s, f, err);
    while (status == LEAT_OK) {
        uint32_t count = 0;
        status = fill(s, want, err);
        if (status != LEAT_OK) break;
        skip_bom(s);
        const char *bytes = s->buffer + s->buffer_from;
        size_t n = s->buffer_length - s->buffer_from, used = 0;
        if (n)
            used = leat_split_records(s->format, bytes, n, is_complete(s), s->starts, s->ends, LEAT_BLOCK_RECORDS_MAX,
                                      &count);
        if (count) {
            f->ends_line = bytes[used - 1] == '\n';
            cut_long(s, count);
            return give(s, f, bytes, count, used, out);
        }
        if (used)
            advance(s, used); /* empty lines */
        else if (n >= most) {
            status = read_long_line(s, f, out, err);
            return status == LEAT_END ? end_of_file(s, f, err) : status;
        } else if (s->ended)
            return end_of_file(s, f, err);
        else
            want = n * 2 < most ? n * 2 : most;
    }
    return status;
}
