/* The reading end of the feed's spool: partition 0 of a file source. Format: feed.c. */
#ifndef LEAT_CONNECT_FILE_SPOOL_H
#define LEAT_CONNECT_FILE_SPOOL_H

#include "connect/connector.h"

struct leat_file_source;
struct leat_spool_reader;
/* Goes on behind `resume`; what was spooled before it is read for its identities alone. */
enum leat_status leat_spool_reader_open(struct leat_file_source *, const char *state_dir,
                                        const struct leat_log_end *resume, struct leat_spool_reader **out,
                                        struct leat_error *) LEAT_MUST;
void leat_spool_reader_close(struct leat_spool_reader *);
/* The next block of accepted records, or END. */
enum leat_status leat_spool_reader_poll(struct leat_spool_reader *, struct leat_block *out,
                                        struct leat_error *) LEAT_MUST;
uint64_t leat_spool_reader_redelivered(const struct leat_spool_reader *);

/* Records accepted by a former work folder, and their identities, so that they are not accepted again. */
uint64_t leat_spool_reader_lost(const struct leat_spool_reader *);
void leat_spool_reader_seen(struct leat_spool_reader *, uint64_t identity);

#endif
