/* The durable table of a file source's partitions: which file, in which incarnation, has which number. Kept as
 * <state_dir>/partitions.json, replaced whole; shared between `leat run` and `leat feed` under a lock:
 *
 *   {"version":1,"partitions":[{"number":1,"path":"data/a.json","inode":77,"size_bytes":900,"modified_us":1,
 *                               "head_bytes":900,"head_hash":"9f...","damaged":false,"fed":false,"replaced":false}]}
 *
 * path       relative to the project's folder unless the source's path is absolute
 * head_*     XXH3-64 of the file's first head_bytes bytes (as stored, so compressed): the fingerprint
 * damaged    a compressed file that could not be read to its end: replacing it repairs it
 * fed        `leat feed` plays this file; its records come through the spool (partition 0) and it is not tailed
 * replaced   an older incarnation: the path has another file now; the number is never used again
 * Numbers start at 1 and are never reused. */
#ifndef LEAT_CONNECT_PARTITIONS_H
#define LEAT_CONNECT_PARTITIONS_H

#include "base/env.h"

#define LEAT_SPOOL_PARTITION 0u
#define LEAT_FILE_HEAD_BYTES 4096u                 /* at most this much of a file is in its fingerprint */
#define LEAT_PARTITION_NUMBER_MAX ((1u << 24) - 1) /* identities have 24 bits for it */

struct leat_partition {
    uint32_t number;
    char *path;
    uint64_t inode, size_bytes;
    int64_t modified_us;
    uint32_t head_bytes;
    uint64_t head_hash;
    bool damaged, fed, replaced;
};
struct leat_partitions {
    struct leat_env *env;
    char *path, *lock_path;
    struct leat_partition *items; /* by number */
    size_t count, capacity;
    struct leat_stat seen; /* the file as it was read */
    struct leat_file *lock;
};
/* CORRUPT: not such a file. A missing one is an empty table. */
enum leat_status leat_partitions_open(struct leat_env *, const char *state_dir, struct leat_partitions *out,
                                      struct leat_error *) LEAT_MUST;
void leat_partitions_deinit(struct leat_partitions *); /* does not save */
/* Takes the lock (waiting up to 10 s, then BUSY) and reads again what another process wrote; entries may be changed
 * only then, and pointers to entries do not outlive a lock or refresh. */
enum leat_status leat_partitions_lock(struct leat_partitions *, struct leat_error *) LEAT_MUST;
void leat_partitions_unlock(struct leat_partitions *);
enum leat_status leat_partitions_refresh(struct leat_partitions *, bool *changed, struct leat_error *) LEAT_MUST;
/* The table as text. Without `stats` inode, size and time are 0: it then fits a copy of the files, too. */
void leat_partitions_print(const struct leat_partitions *, bool stats, struct leat_buffer *out);
enum leat_status leat_partitions_save(struct leat_partitions *,
                                      struct leat_error *) LEAT_MUST;                  /* durable; under the lock */
struct leat_partition *leat_partitions_get(struct leat_partitions *, uint32_t number); /* NULL: none */
struct leat_partition *leat_partitions_of_path(struct leat_partitions *,
                                               const char *path); /* its current incarnation; NULL: none */
/* A new number for path; an older incarnation of the path is marked replaced. LIMIT: out of numbers. */
enum leat_status leat_partitions_add(struct leat_partitions *, const char *path, struct leat_partition **out,
                                     struct leat_error *) LEAT_MUST;

uint64_t leat_file_head_hash(const void *head, size_t bytes);
/* Fingerprint of a file: the hash of its first *head_bytes bytes (0: as many as there are up to LEAT_FILE_HEAD_BYTES,
 * set). A shorter file than asked gives no match: *head_bytes becomes what it has. */
enum leat_status leat_file_fingerprint(struct leat_io *, const char *path, uint32_t *head_bytes, uint64_t *hash,
                                       struct leat_error *) LEAT_MUST;

#endif
