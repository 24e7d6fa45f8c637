/* Writing the spool.
 *
 * <state_dir>/feed/NNNNNN.spool, numbered from 1 without gaps, each a row of blocks in the log's block format
 * (log/log.c: here "sequence number of the segment" is the file's number, partition is 0, offset, position and arrival
 * are 0). Two kinds:
 *
 *   data    records with identities and, for CSV, their header text
 *   marker  no records; `synced` is its own place: everything before it was durable when it was written
 *
 * A reader takes data only below the highest marker, so it never reads what a crash could take back. A sync is: write
 * the data, fdatasync, write the marker (which is not synced: lost in a crash, it is written again by the next open). A
 * file is followed by the next one only after its last marker is synced too. The writer holds a lock on
 * <state_dir>/feed/lock. On open an unfinished tail is cut. Files are kept: their identities are what tells a second
 * delivery. */
#include "connect/feed.h"
#include "connect/partitions.h"
#include "connect/spool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES LEAT_MIB
#define PENDING_BYTES (8 * LEAT_MIB)
#define MARKER_BYTES LEAT_BLOCK_HEAD_BYTES

struct leat_feed {
    struct leat_env *env;
    char *state_dir, *dir;
    struct leat_file *lock, *file;
    uint64_t number;  /* of the file being written */
    uint64_t written; /* bytes of it */
    uint64_t durable; /* of those: synced */
    uint64_t marked;  /* behind the last marker */
    bool new_name;    /* its directory entry is not durable yet */
    bool failed;
    struct leat_buffer records, header, pending;
    uint32_t *starts, *ends, count, capacity;
    uint64_t *identities;
};

enum leat_status leat_spool_list(struct leat_io *io, const char *dir, uint64_t *first, uint64_t *last,
                                 struct leat_error *err) {
    char **names = NULL;
    size_t count = 0;
    *first = *last = 0;
    enum leat_status status = leat_io_list_sorted(io, dir, &names, &count, err);
    for (size_t i = 0; i < count && status == LEAT_OK; i++) {
        unsigned long long number = 0;
        char spelt[32];
        if (sscanf(names[i], "%6llu.spool", &number) != 1 || number == 0) continue;
        snprintf(spelt, sizeof spelt, "%0*llu.spool", LEAT_SPOOL_DIGITS, number);
        if (strcmp(spelt, names[i]) != 0) continue;
        if (*first == 0)
            *first = number;
        else if (number != *last + 1)
            status = leat_fail(err, LEAT_CORRUPT, "%s: spool file %llu is missing", dir, (unsigned long long)*last + 1);
        *last = number;
    }
    leat_names_free(names, count);
    return status;
}

/* ---- opening ---- */

/* Finds where the last file's whole blocks end and what a reader may already have been told is durable. */
static enum leat_status measure(struct leat_feed *feed, const char *path, uint64_t size_bytes, struct leat_error *err) {
    struct leat_block_reader reader = {0};
    struct leat_block_head head;
    const char *bytes;
    bool damage = false;
    enum leat_status status = leat_reader_open(&reader, feed->env->io, path, feed->number, 0, size_bytes, err);
    while (status == LEAT_OK) {
        status = leat_reader_head(&reader, &head, err);
        if (status == LEAT_OK) status = leat_reader_body(&reader, &head, &bytes, err);
        if (status != LEAT_OK) break;
        leat_reader_skip(&reader, &head);
        if (head.record_count == 0) feed->marked = reader.at;
    }
    feed->written = reader.at;
    if (status == LEAT_END) status = LEAT_OK;
    if (status == LEAT_CORRUPT) {
        status = leat_reader_durable_beyond(&reader, feed->written, &damage, err);
        if (status == LEAT_OK && damage)
            status = leat_fail(err, LEAT_CORRUPT, "byte %llu: damaged inside", (unsigned long long)feed->written);
    }
    leat_reader_deinit(&reader);
    return status == LEAT_OK ? LEAT_OK : leat_prepend(err, "%s", path);
}

static void put_marker(const struct leat_feed *feed, char out[MARKER_BYTES]) {
    struct leat_block marker = {.partition = LEAT_SPOOL_PARTITION};
    struct leat_block_place place = {.file = feed->number, .at = feed->written, .synced_bytes = feed->written};
    leat_block_encode(&marker, &place, out);
}

static enum leat_status write_marker(struct leat_feed *feed, struct leat_error *err) {
    char bytes[MARKER_BYTES];
    put_marker(feed, bytes);
    enum leat_status status = feed->env->io->ops->write(feed->file, bytes, sizeof bytes, err);
    if (status != LEAT_OK) return status;
    feed->written += sizeof bytes;
    feed->marked = feed->written;
    return LEAT_OK;
}

/* A file that does not end with a marker: what holds of it, and a marker, written anew in its place. Its bytes may be
 * in memory alone (after a failed fsync the kernel shows them but will not write them), and a reader may already have
 * been told of them. */
static enum leat_status rewrite_last(struct leat_feed *feed, const char *path, struct leat_error *err) {
    struct leat_buffer bytes = {0};
    enum leat_status status = leat_io_read_all(feed->env->io, path, SIZE_MAX, &bytes, err);
    if (status == LEAT_OK && bytes.length < feed->written)
        status = leat_fail(err, LEAT_CORRUPT, "%s: became shorter while it was opened", path);
    if (status == LEAT_OK) {
        bytes.length = feed->written;
        status = leat_buffer_reserve(&bytes, MARKER_BYTES, err);
    }
    if (status == LEAT_OK) {
        put_marker(feed, bytes.data + bytes.length);
        status = leat_io_write_durable(feed->env->io, path, bytes.data, bytes.length + MARKER_BYTES, true, err);
    }
    feed->written = feed->durable = feed->marked = bytes.length + MARKER_BYTES;
    leat_buffer_deinit(&bytes);
    return status;
}

static enum leat_status recover_last(struct leat_feed *feed, struct leat_error *err) {
    struct leat_io *io = feed->env->io;
    struct leat_stat st;
    char *path = leat_spool_path(feed->dir, feed->number);
    enum leat_status status = io->ops->stat(io, path, &st, err);
    if (status == LEAT_OK) status = measure(feed, path, st.size_bytes, err);
    if (status == LEAT_OK && feed->written < st.size_bytes)
        leat_log(feed->env, LEAT_LOG_WARN, "%s: cut %llu bytes of an unfinished feed", path,
                 (unsigned long long)(st.size_bytes - feed->written));
    if (status == LEAT_OK && (feed->written < st.size_bytes || feed->marked < feed->written))
        status = rewrite_last(feed, path, err);
    if (status == LEAT_OK) status = io->ops->open(io, path, LEAT_OPEN_APPEND, &feed->file, err);
    free(path);
    return status;
}

enum leat_status leat_feed_open(struct leat_env *env, const char *state_dir, struct leat_feed **out,
                                struct leat_error *err) {
    struct leat_io *io = env->io;
    struct leat_feed *feed = leat_alloc(sizeof *feed);
    uint64_t first;
    *out = NULL;
    feed->env = env;
    feed->state_dir = leat_strdup(state_dir);
    feed->dir = leat_asprintf("%s/feed", state_dir);
    char *lock_path = leat_asprintf("%s/lock", feed->dir);
    enum leat_status status = leat_io_mkdirs(io, feed->dir, err);
    if (status == LEAT_OK) status = io->ops->open(io, lock_path, LEAT_OPEN_APPEND, &feed->lock, err);
    if (status == LEAT_OK) {
        status = io->ops->lock(feed->lock, err);
        if (status == LEAT_BUSY) leat_prepend(err, "another feed is writing");
    }
    if (status == LEAT_OK) status = leat_spool_list(io, feed->dir, &first, &feed->number, err);
    if (status == LEAT_OK && feed->number) status = recover_last(feed, err);
    if (status == LEAT_OK) {
        *out = feed;
        feed = NULL;
    }
    free(lock_path);
    leat_feed_close(feed);
    return status;
}

void leat_feed_close(struct leat_feed *feed) {
    if (!feed) return;
    if (feed->file) feed->env->io->ops->close(feed->file);
    if (feed->lock) feed->env->io->ops->close(feed->lock);
    leat_buffer_deinit(&feed->records);
    leat_buffer_deinit(&feed->header);
    leat_buffer_deinit(&feed->pending);
    free(feed->starts);
    free(feed->ends);
    free(feed->identities);
    free(feed->state_dir);
    free(feed->dir);
    free(feed);
}

enum leat_status leat_feed_file(struct leat_feed *feed, const char *path, const char *full_path, uint32_t *number,
                                struct leat_error *err) {
    struct leat_partitions table;
    struct leat_partition *entry;
    struct leat_stat st;
    uint32_t head_bytes = 0;
    uint64_t hash = 0;
    *number = 0;
    enum leat_status status = leat_partitions_open(feed->env, feed->state_dir, &table, err);
    if (status != LEAT_OK) return status;
    status = leat_partitions_lock(&table, err);
    if (status == LEAT_OK) status = feed->env->io->ops->stat(feed->env->io, full_path, &st, err);
    if (status != LEAT_OK) goto out;
    entry = leat_partitions_of_path(&table, path);
    if (entry) { /* the same content again is the same file: that is what makes a second feed harmless */
        head_bytes = entry->head_bytes;
        status = leat_file_fingerprint(feed->env->io, full_path, &head_bytes, &hash, err);
        if (status != LEAT_OK) goto out;
        if (head_bytes != entry->head_bytes || hash != entry->head_hash) entry = NULL;
    }
    if (!entry) {
        head_bytes = 0;
        status = leat_file_fingerprint(feed->env->io, full_path, &head_bytes, &hash, err);
        if (status == LEAT_OK) status = leat_partitions_add(&table, path, &entry, err);
        if (status != LEAT_OK) goto out;
        entry->inode = st.inode;
        entry->size_bytes = st.size_bytes;
        entry->modified_us = st.modified_us;
        entry->head_bytes = head_bytes;
        entry->head_hash = hash;
    }
    if (!entry->fed) {
        entry->fed = true;
        status = leat_partitions_save(&table, err);
    }
    if (status == LEAT_OK) *number = entry->number;
out:
    leat_partitions_deinit(&table);
    return status;
}

/* ---- writing ---- */

static enum leat_status alive(const struct leat_feed *feed, struct leat_error *err) {
    if (!feed->failed) return LEAT_OK;
    leat_fail(err, LEAT_IO, "%s: a write or sync failed; feed again, nothing is taken twice", feed->dir);
    if (err) err->fatal = true;
    return LEAT_IO;
}

static enum leat_status begin_file(struct leat_feed *feed, struct leat_error *err) {
    struct leat_io *io = feed->env->io;
    if (feed->number >= LEAT_SPOOL_FILE_MAX)
        return leat_fail(err, LEAT_LIMIT, "%s: no spool file numbers are left", feed->dir);
    enum leat_status status = feed->file ? io->ops->sync(feed->file, err) : LEAT_OK; /* its last marker */
    if (status != LEAT_OK) return status;
    if (feed->file) io->ops->close(feed->file);
    feed->file = NULL;
    char *path = leat_spool_path(feed->dir, feed->number + 1);
    status = io->ops->open(io, path, LEAT_OPEN_CREATE, &feed->file, err);
    free(path);
    if (status != LEAT_OK) return status;
    feed->number++;
    feed->written = feed->durable = feed->marked = 0;
    feed->new_name = true;
    return LEAT_OK;
}

/* Writes out the encoded blocks, without a sync. */
static enum leat_status flush(struct leat_feed *feed, struct leat_error *err) {
    if (!feed->pending.length) return LEAT_OK;
    enum leat_status status = feed->env->io->ops->write(feed->file, feed->pending.data, feed->pending.length, err);
    if (status != LEAT_OK) {
        feed->failed = true;
        return status;
    }
    feed->written += feed->pending.length;
    leat_buffer_reset(&feed->pending);
    return LEAT_OK;
}

/* Encodes the collected records as a block. */
static enum leat_status encode(struct leat_feed *feed, struct leat_error *err) {
    if (!feed->count) return LEAT_OK;
    struct leat_block block = {
        .partition = LEAT_SPOOL_PARTITION,
        .record_count = feed->count,
        .payload = feed->records.data,
        .starts = feed->starts,
        .ends = feed->ends,
        .identities = feed->identities,
        .payload_bytes = feed->records.length,
        .header = feed->header.data,
        .header_length = feed->header.length,
    };
    enum leat_status status = LEAT_OK;
    if (!feed->file ||
        (feed->written >= LEAT_SPOOL_FILE_BYTES && !feed->pending.length && feed->written == feed->marked))
        status = begin_file(feed, err);
    size_t bytes = leat_block_encoded_bytes(&block);
    if (status == LEAT_OK) status = leat_buffer_reserve(&feed->pending, bytes, err);
    if (status != LEAT_OK) {
        feed->failed = true;
        return status;
    }
    struct leat_block_place place = {
        .file = feed->number, .at = feed->written + feed->pending.length, .synced_bytes = feed->durable};
    leat_block_encode(&block, &place, feed->pending.data + feed->pending.length);
    feed->pending.length += bytes;
    feed->count = 0;
    leat_buffer_reset(&feed->records);
    return feed->pending.length >= PENDING_BYTES ? flush(feed, err) : LEAT_OK;
}

enum leat_status leat_feed_header(struct leat_feed *feed, const char *header, size_t length, struct leat_error *err) {
    enum leat_status status = alive(feed, err);
    if (status != LEAT_OK) return status;
    if (length == feed->header.length && (!length || memcmp(header, feed->header.data, length) == 0)) return LEAT_OK;
    if (length > LEAT_RECORD_BYTES_MAX)
        return leat_fail(err, LEAT_LIMIT, "a header line of %zu bytes is too long", length);
    status = encode(feed, err);
    leat_buffer_reset(&feed->header);
    return status == LEAT_OK ? leat_buffer_add(&feed->header, header, length, err) : status;
}

enum leat_status leat_feed_add(struct leat_feed *feed, uint32_t file_number, uint64_t line, const char *payload,
                               size_t n, struct leat_error *err) {
    enum leat_status status = alive(feed, err);
    if (status != LEAT_OK) return status;
    if (n > LEAT_RECORD_BYTES_MAX + 1) return leat_fail(err, LEAT_LIMIT, "a record of %zu bytes is too long", n);
    if (line >> LEAT_IDENTITY_LINE_BITS)
        return leat_fail(err, LEAT_LIMIT, "record number %llu is too large", (unsigned long long)line);
    if (feed->count && feed->records.length + n > BLOCK_BYTES) status = encode(feed, err);
    if (status == LEAT_OK && feed->written + feed->pending.length - feed->marked > LEAT_SPOOL_FILE_BYTES)
        status = leat_feed_sync(feed, err);
    if (status != LEAT_OK) return status;
    if (feed->count == feed->capacity) {
        feed->capacity = feed->capacity ? feed->capacity * 2 : 4096;
        feed->starts = leat_realloc(feed->starts, feed->capacity * sizeof *feed->starts);
        feed->ends = leat_realloc(feed->ends, feed->capacity * sizeof *feed->ends);
        feed->identities = leat_realloc(feed->identities, feed->capacity * sizeof *feed->identities);
    }
    feed->starts[feed->count] = (uint32_t)feed->records.length;
    status = leat_buffer_add(&feed->records, payload, n, err);
    if (status != LEAT_OK) return status;
    feed->ends[feed->count] = (uint32_t)feed->records.length;
    feed->identities[feed->count++] = leat_identity(file_number, line);
    return feed->count == LEAT_BLOCK_RECORDS_MAX ? encode(feed, err) : LEAT_OK;
}

enum leat_status leat_feed_sync(struct leat_feed *feed, struct leat_error *err) {
    struct leat_io *io = feed->env->io;
    enum leat_status status = alive(feed, err);
    if (status == LEAT_OK) status = encode(feed, err);
    if (status == LEAT_OK) status = flush(feed, err);
    if (status != LEAT_OK || feed->written == feed->marked) return status;
    status = io->ops->sync(feed->file, err);
    if (status == LEAT_OK && feed->new_name) status = io->ops->sync_dir(io, feed->dir, err);
    if (status == LEAT_OK) {
        feed->durable = feed->written;
        feed->new_name = false;
        status = write_marker(feed, err);
    }
    if (status != LEAT_OK) feed->failed = true;
    return status;
}
