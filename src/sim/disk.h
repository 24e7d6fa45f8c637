/* A recording disk. Every call below one root directory is carried out on the real directory (so that DuckDB and other
 * readers see the files) and recorded with its data; from the record, the directories that a crash could have left are made.
 * Calls outside the root go to the real disk unrecorded. It never fsyncs really: only the record knows what is durable.
 * Depends on base; sim/disk_image.c holds the crash model, stated at its top. Thread: any (one mutex). */
#ifndef LEAT_SIM_DISK_H
#define LEAT_SIM_DISK_H

#include "base/env.h"

struct leat_sim_disk;

/* root must exist; what is in it counts as durable. */
enum leat_status leat_sim_disk_open(const char *root, struct leat_sim_disk **out, struct leat_error *) LEAT_MUST;
void leat_sim_disk_close(struct leat_sim_disk *); /* NULL is allowed; every file must be closed before */
struct leat_io *leat_sim_disk_io(struct leat_sim_disk *); /* borrowed */

/* Recorded so far: calls that change the disk or make it durable (reading is not recorded). adopt counts as its parts: the file's
 * appearance, fsync, link, directory fsync, unlink. A crash point is a number 0..count. */
size_t leat_sim_disk_op_count(const struct leat_sim_disk *);
/* "write state/journal-1 +120 bytes at 0" and the like, for messages. */
void leat_sim_disk_describe(const struct leat_sim_disk *, size_t op_index, struct leat_buffer *out);

/* Makes dest_dir (removed first if there) one directory a crash could leave when the first `after_op_index` ops were called.
 * seed 0: everything unsynced is lost; 1: everything is kept (the process alone died); others choose at random, deterministically.
 * Cheapest when after_op_index does not go down from call to call. */
#define LEAT_SIM_LOSE_ALL 0
#define LEAT_SIM_KEEP_ALL 1
enum leat_status leat_sim_disk_image(struct leat_sim_disk *, size_t after_op_index, uint64_t seed, const char *dest_dir, struct leat_error *) LEAT_MUST;
/* The same image as a text, one "path size hash" a line. */
void leat_sim_disk_fingerprint(struct leat_sim_disk *, size_t after_op_index, uint64_t seed, struct leat_buffer *out);
/* False if an earlier call with the same after_op_index and another seed meant an equal image: testing it again shows
 * nothing. (Where little is unsynced, most seeds give one of a few images.) */
bool leat_sim_disk_is_new(struct leat_sim_disk *, size_t after_op_index, uint64_t seed);

enum leat_sim_call {
    LEAT_SIM_OPEN, LEAT_SIM_READ, LEAT_SIM_WRITE, LEAT_SIM_TRUNCATE, LEAT_SIM_SYNC, LEAT_SIM_STAT, LEAT_SIM_LINK, LEAT_SIM_RENAME,
    LEAT_SIM_UNLINK, LEAT_SIM_MKDIR, LEAT_SIM_SYNC_DIR, LEAT_SIM_LIST, LEAT_SIM_LOCK,
    LEAT_SIM_ANY,        /* any of the above */
    LEAT_SIM_CALL_COUNT,
};
/* The n-th call of that kind from now (1: the next) fails once with errno `number` (EIO, ENOSPC, ...); n = 0: no failure is planned. A failing
 * write leaves half of its bytes. The calls inside adopt count as what they are. */
void leat_sim_disk_fail(struct leat_sim_disk *, enum leat_sim_call, uint64_t n, int number);
uint64_t leat_sim_disk_failures(const struct leat_sim_disk *); /* failures that happened, planned or by quota */
uint64_t leat_sim_disk_calls(const struct leat_sim_disk *, enum leat_sim_call); /* calls made so far */
/* Writes (and adoptions) beyond this many bytes from now fail with ENOSPC, after what fits. UINT64_MAX: no quota. */
void leat_sim_disk_quota(struct leat_sim_disk *, uint64_t bytes);
/* Writes and syncs of a file after a failed sync of it: correct code makes none (the kernel would report success falsely). */
uint64_t leat_sim_disk_used_after_failed_sync(const struct leat_sim_disk *);

#endif
