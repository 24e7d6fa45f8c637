/* The feed's spool: records played into a file source from outside (`leat feed`), durable before the source reads them,
 * each with the identity of the file and record it is. One writer at a time (a lock); the source reads while it writes.
 * Format: feed.c. */
#ifndef LEAT_CONNECT_FEED_H
#define LEAT_CONNECT_FEED_H

#include "base/env.h"
#include "connect/seen.h"

struct leat_feed;
/* state_dir: the connector's. BUSY: another feed is writing. Cuts what a crashed feed left unfinished. */
enum leat_status leat_feed_open(struct leat_env *, const char *state_dir, struct leat_feed **out,
                                struct leat_error *) LEAT_MUST;
void leat_feed_close(struct leat_feed *); /* what was not synced is lost */
/* The partition number of a data file, made if it has none; from now on the source takes its records from the spool
 * alone. `path`: as the source would spell it if it fits its path, else as given. full_path: to open it. */
enum leat_status leat_feed_file(struct leat_feed *, const char *path, const char *full_path, uint32_t *number,
                                struct leat_error *) LEAT_MUST;
/* CSV: the header line of the records that follow (copied; NULL: none). */
enum leat_status leat_feed_header(struct leat_feed *, const char *header, size_t length, struct leat_error *) LEAT_MUST;
/* One record (copied). line: its number in the file. */
enum leat_status leat_feed_add(struct leat_feed *, uint32_t file_number, uint64_t line, const char *payload, size_t n,
                               struct leat_error *) LEAT_MUST;
/* Everything added is durable and visible to the source. err->fatal after a failed sync: close it. */
enum leat_status leat_feed_sync(struct leat_feed *, struct leat_error *) LEAT_MUST;

#endif
