/* Recorded input: what a source once received, in order of arrival, in a file that stands in for the outside while a project is rehearsed.
 *
 * The file is records one behind the other, each a head of 16 bytes in the machine's byte order and then its text:
 *   int64  time_us    when it arrives, not before the one ahead of it
 *   uint32 partition
 *   uint32 length
 * It lives in a scratch folder, is written and read by one machine, and is never recovered: it has no checksums and is not synced. */
#ifndef LEAT_CONNECT_RECORDED_H
#define LEAT_CONNECT_RECORDED_H

#include "connect/connector.h"

/* Of a source under rehearsal (struct leat_source.recording). Owned by whoever rehearses. */
struct leat_recording {
    char *path;      /* NULL: no record ever came */
    int64_t next_us; /* when the next record comes that was not given yet; INT64_MAX: none. Kept by the connector. */
    uint64_t wakes, records; /* how often there was something after there had been nothing, and what was given. Counted by the connector */
    bool awake;              /* the connector's: it has given something since there was nothing */
};
/* Gives records whose time the environment's clock has reached; offsets count from 0 in each partition. Where the log has records already, goes on behind them.
 * Its descriptor is LEAT_RECORDED_TOKEN: only a simulated clock waits for it. */
#define LEAT_RECORDED_TOKEN (1 << 30)
extern const struct leat_connector_ops leat_connector_recorded;

struct leat_recorder; /* writes one */
enum leat_status leat_recorder_open(struct leat_env *, const char *path, struct leat_recorder **out, struct leat_error *) LEAT_MUST;
/* INVALID: an earlier time than the record before it. */
enum leat_status leat_recorder_add(struct leat_recorder *, int64_t time_us, uint32_t partition, const char *text, size_t length, struct leat_error *) LEAT_MUST;
enum leat_status leat_recorder_finish(struct leat_recorder *, struct leat_error *) LEAT_MUST; /* all is in the file */
void leat_recorder_close(struct leat_recorder *);

#endif
