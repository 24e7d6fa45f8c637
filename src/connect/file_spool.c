/* Reading the spool. Offsets count accepted records; a position is spool file << 40 | byte behind the block. Every
 * identity is accepted once: not again from the spool, and not if the source itself had read that record from its file.
 * Format: feed.c. */
#include "connect/file_spool.h"
#include "connect/file.h"
#include "connect/seen.h"
#include "connect/spool.h"

#include <stdlib.h>
#include <string.h>

#define AT_MASK (((uint64_t)1 << LEAT_SPOOL_AT_BITS) - 1)

struct leat_spool_reader {
    struct leat_file_source *source;
    char *dir;
    uint64_t number;         /* file being read; 0: none is there yet */
    uint64_t at;             /* next block in it */
    uint64_t durable;        /* data before this may be read */
    uint64_t known_position; /* read up to here before this process: durable without a marker */
    bool whole;              /* the file ends with a marker */
    uint64_t next_offset;    /* records accepted */
    uint64_t lost;           /* of those: by a former work folder, whose spool is gone */
    uint64_t redelivered;
    struct leat_seen seen;
    struct leat_block_reader reader;
    struct leat_block_index index;
    uint64_t *identities;
    uint32_t identity_capacity;
};

void leat_spool_reader_close(struct leat_spool_reader *r) {
    if (!r) return;
    leat_reader_deinit(&r->reader);
    leat_block_index_deinit(&r->index);
    leat_seen_deinit(&r->seen);
    free(r->identities);
    free(r->dir);
    free(r);
}

static enum leat_status fail_in_file(struct leat_spool_reader *r, struct leat_error *err) {
    return leat_prepend(err, "%s/%0*llu.spool", r->dir, LEAT_SPOOL_DIGITS, (unsigned long long)r->number);
}

/* Opens the present file anew (its end may have been cut and written again since) and finds its highest marker from
 * `at` on. */
static enum leat_status look_for_marker(struct leat_spool_reader *r, struct leat_error *err) {
    struct leat_io *io = r->source->env->io;
    struct leat_block_head head;
    struct leat_stat st;
    const char *bytes;
    char *path = leat_spool_path(r->dir, r->number);
    enum leat_status status = io->ops->stat(io, path, &st, err);
    if (status == LEAT_OK) status = leat_reader_open(&r->reader, io, path, r->number, r->at, st.size_bytes, err);
    free(path);
    if (status != LEAT_OK) return status;
    r->whole = false;
    if (r->number == r->known_position >> LEAT_SPOOL_AT_BITS && r->durable < (r->known_position & AT_MASK))
        r->durable = r->known_position & AT_MASK;
    while ((status = leat_reader_head(&r->reader, &head, err)) == LEAT_OK) {
        r->whole = head.record_count == 0;
        if (head.record_count == 0) {
            status = leat_reader_body(&r->reader, &head, &bytes, err);
            if (status != LEAT_OK) break;
            if (head.synced_bytes > r->durable) r->durable = head.synced_bytes;
        }
        leat_reader_skip(&r->reader, &head);
    }
    r->reader.at = r->at;
    if (status != LEAT_END) r->whole = false;
    /* What does not hold behind the last marker is being written, or is for the writer to cut. */
    return status == LEAT_END || status == LEAT_CORRUPT ? LEAT_OK : status;
}

/* The next data block, whole and checked. END: nothing durable is there. */
static enum leat_status next_block(struct leat_spool_reader *r, struct leat_block *out, struct leat_error *err) {
    struct leat_io *io = r->source->env->io;
    struct leat_block_head head;
    const char *bytes;
    for (;;) {
        enum leat_status status;
        char *next = leat_spool_path(r->dir, r->number + 1);
        bool has_next =
            r->at >= r->durable && leat_io_exists(io, next); /* asked before looking: then this file is finished */
        free(next);
        if (r->at >= r->durable && r->number) {
            status = look_for_marker(r, err);
            if (status != LEAT_OK) return status;
        }
        if (r->at >= r->durable) {
            if (!has_next) return LEAT_END;
            if (r->number && !r->whole) {
                leat_fail(err, LEAT_CORRUPT, "byte %llu: cut, though a later spool file is there",
                          (unsigned long long)r->reader.end);
                return fail_in_file(r, err);
            }
            r->number++;
            r->at = r->durable = 0;
            continue;
        }
        status = leat_reader_head(&r->reader, &head, err);
        if (status == LEAT_OK) status = leat_reader_body(&r->reader, &head, &bytes, err);
        if (status == LEAT_END) status = leat_fail(err, LEAT_CORRUPT, "shorter than it was");
        if (status != LEAT_OK) return fail_in_file(r, err);
        leat_reader_skip(&r->reader, &head);
        r->at = r->reader.at;
        if (head.record_count == 0) continue;
        leat_block_view(bytes, &head, &r->index, out);
        if (out->identities) return LEAT_OK;
        leat_fail(err, LEAT_CORRUPT, "byte %llu: records without identities", (unsigned long long)r->at);
        return fail_in_file(r, err);
    }
}

static uint64_t position_of(const struct leat_spool_reader *r) {
    return r->number << LEAT_SPOOL_AT_BITS | r->at;
}

/* Takes in the identities of what was read before `resume`. */
static enum leat_status rebuild(struct leat_spool_reader *r, const struct leat_log_end *resume,
                                struct leat_error *err) {
    struct leat_block block;
    uint64_t records = 0;
    r->known_position = resume->position;
    while (position_of(r) < resume->position) {
        enum leat_status status = next_block(r, &block, err);
        if (status == LEAT_END)
            status = leat_fail(err, LEAT_CORRUPT,
                               "%s: the spool ends before the place that was read up to; restore its files", r->dir);
        if (status != LEAT_OK) return status;
        for (uint32_t i = 0; i < block.record_count; i++)
            leat_seen_add(&r->seen, block.identities[i]);
        records += block.record_count;
    }
    if (position_of(r) != resume->position || records + r->lost < resume->next_offset)
        return leat_fail(err, LEAT_CORRUPT, "%s: is not the spool that the log was filled from", r->dir);
    r->redelivered = records + r->lost - resume->next_offset;
    r->next_offset = resume->next_offset;
    return LEAT_OK;
}

/* Accepted records without a place in the spool are a former work folder's: <dir>/lost says how many, for later starts. */
static enum leat_status read_lost(struct leat_spool_reader *r, const struct leat_log_end *resume, struct leat_error *err) {
    struct leat_io *io = r->source->env->io;
    struct leat_buffer text = {0};
    char *path = leat_asprintf("%s/lost", r->dir);
    enum leat_status status = LEAT_OK;
    if (!resume->position && resume->next_offset) {
        r->lost = r->next_offset = resume->next_offset;
        leat_putf(&text, "%llu\n", (unsigned long long)r->lost);
        status = leat_io_write_durable(io, path, text.data, text.length, true, err);
    } else if (resume->position && leat_io_exists(io, path)) {
        status = leat_io_read_all(io, path, 32, &text, err);
        if (status == LEAT_OK) r->lost = strtoull(text.data, NULL, 10);
    }
    leat_buffer_deinit(&text);
    free(path);
    return status;
}

uint64_t leat_spool_reader_lost(const struct leat_spool_reader *r) {
    return r->lost;
}

void leat_spool_reader_seen(struct leat_spool_reader *r, uint64_t identity) {
    leat_seen_add(&r->seen, identity);
}

enum leat_status leat_spool_reader_open(struct leat_file_source *source, const char *state_dir,
                                        const struct leat_log_end *resume, struct leat_spool_reader **out,
                                        struct leat_error *err) {
    struct leat_io *io = source->env->io;
    struct leat_spool_reader *r = leat_alloc(sizeof *r);
    *out = NULL;
    r->source = source;
    r->dir = leat_asprintf("%s/feed", state_dir);
    enum leat_status status = leat_io_mkdirs(io, r->dir, err);
    if (status == LEAT_OK) status = read_lost(r, resume, err);
    if (status == LEAT_OK && resume->position) status = rebuild(r, resume, err);
    if (status != LEAT_OK) {
        leat_spool_reader_close(r);
        return leat_prepend(err, "source %s", source->name);
    }
    if (source->watch && !leat_watch_also(source->watch, r->dir)) {
        leat_watch_close(source->watch);
        source->watch = NULL;
    }
    *out = r;
    return LEAT_OK;
}

/* How many records of a file the source read itself, from the file. */
static uint64_t read_directly(struct leat_spool_reader *r, uint32_t number) {
    const struct leat_tailed *f = leat_file_of_partition(r->source, number);
    if (f) return f->next_record;
    for (size_t i = 0; i < r->source->progress_count; i++)
        if (r->source->progress[i].partition == number) return r->source->progress[i].next_offset;
    return 0;
}

static void need_identities(struct leat_spool_reader *r, uint32_t count) {
    if (r->identity_capacity >= count) return;
    r->identity_capacity = count < 4096 ? 4096 : count;
    r->identities = leat_realloc(r->identities, r->identity_capacity * sizeof *r->identities);
}

enum leat_status leat_spool_reader_poll(struct leat_spool_reader *r, struct leat_block *out, struct leat_error *err) {
    struct leat_block block;
    enum leat_status status;
    while ((status = next_block(r, &block, err)) == LEAT_OK) {
        uint32_t *starts = r->index.starts, *ends = starts + block.record_count, kept = 0;
        uint32_t number = 0;
        uint64_t direct = 0;
        need_identities(r, block.record_count);
        for (uint32_t i = 0; i < block.record_count; i++) {
            uint64_t identity = block.identities[i];
            if (leat_identity_file(identity) != number || i == 0) {
                number = leat_identity_file(identity);
                direct = read_directly(r, number);
            }
            if (!leat_seen_add(&r->seen, identity) || leat_identity_line(identity) < direct) continue;
            starts[kept] = starts[i];
            ends[kept] = ends[i];
            r->identities[kept++] = identity;
        }
        r->redelivered += block.record_count - kept;
        if (!kept) continue;
        *out = block;
        out->base_offset = r->next_offset;
        out->record_count = kept;
        out->position = position_of(r);
        out->identities = r->identities;
        out->payload_bytes = ends[kept - 1];
        r->next_offset += kept;
        return LEAT_OK;
    }
    if (status != LEAT_END && status != LEAT_CORRUPT) err->retriable = true;
    return status;
}

uint64_t leat_spool_reader_redelivered(const struct leat_spool_reader *r) {
    return r->redelivered;
}
