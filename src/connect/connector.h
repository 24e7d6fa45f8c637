/* A source connector is one descriptor: an option table and callbacks. It turns the outside into blocks of records with stable
 * (partition, offset). It never decides durability: the runtime appends to the log and syncs. */
#ifndef LEAT_CONNECT_CONNECTOR_H
#define LEAT_CONNECT_CONNECTOR_H

#include "base/env.h"
#include "log/log.h"
#include "project/project.h"

struct leat_option_spec;
struct leat_connector; /* an opened source */
struct leat_connector_ops {
    const char *name;
    /* state_dir: the connector's own durable folder (partition table, spool). resume: the log's ends (borrowed for the call). */
    enum leat_status (*open)(struct leat_env *, const struct leat_source *, const char *project_dir, const char *state_dir,
                             const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *);
    /* Next run of new records, or END when there is nothing now. Block memory is the connector's until the next call, `owned` apart.
     * block->arrival_us is left 0. At least one record is given even if it is longer than max_bytes.
     * A record of more than the source's max_line_bytes is only the beginning (max_line_bytes + 1 bytes) of one that was too long:
     * whoever decodes rejects every record of more than max_line_bytes, so it becomes a dead letter with its beginning kept.
     * Errors: retriable ones leave the position unchanged; a damaged file (truncated gzip, bomb) is told once as an error with
     * bad_data, naming file and byte, and the rest goes on: both kinds are for a warning, then poll again (an error that would
     * only repeat is followed by END). */
    enum leat_status (*poll)(struct leat_connector *, size_t max_bytes, struct leat_block *out, struct leat_error *);
    bool (*finished)(struct leat_connector *);  /* read to its end and will never give more (mode='once') : watermark +inf */
    /* The last poll gave END because there is nothing more anywhere, not because of an error that is waited out. */
    bool (*caught_up)(struct leat_connector *);
    /* What was there at the start is not all read yet, though poll may give END: it comes by itself. NULL: never. */
    bool (*behind)(struct leat_connector *);
    int64_t (*next_poll_us)(struct leat_connector *); /* how long idle polling may wait; -1: wake fd only */
    int (*wake_fd)(struct leat_connector *);    /* becomes readable when there may be something; or -1 */
    void (*close)(struct leat_connector *);
    /* A lost work folder. describe: appends what maps partitions to the outside, as text that restore puts into an empty state_dir;
     * revision changes when the text may have. An end in `resume` with records but position 0 means: begin at the start, leave out as
     * many. lost: how many records of partition 0 came from a former work folder; `seen` is told their identities after open. */
    uint64_t (*revision)(struct leat_connector *);
    void (*describe)(struct leat_connector *, struct leat_buffer *out);
    enum leat_status (*restore)(struct leat_env *, const char *state_dir, const char *text, size_t length, struct leat_error *);
    uint64_t (*lost)(struct leat_connector *);
    void (*seen)(struct leat_connector *, uint64_t identity);
    /* Where records' identities are places in the outside (then lost and seen are NULL): after open, the identity of the last record of a
     * partition that bronze has, and how many records behind it were dead letters. */
    void (*place)(struct leat_connector *, uint32_t partition, uint64_t identity, uint64_t behind);
    /* Where identities are hashes and a record may come again (then lost, seen and place are NULL). recall: after open of a lost work folder, true if bronze's
     * identities are wanted: those of records whose `column` (a time or an integer) is at most `span` (microseconds, or that many) below its greatest value, or below now where
     * that is a later time.
     * recalled: each of them, and the column's value (microseconds since 1970-01-01, or the integer). */
    bool (*recall)(struct leat_connector *, int *column, int64_t *span);
    void (*recalled)(struct leat_connector *, uint64_t identity, int64_t value);
    /* Somebody waits for the answer. All may be NULL. rejected: a record just polled cannot be used (in order of offset, once each). sync:
     * what the connector keeps of the records polled must be durable before they are; an error ends the run. synced: everything polled is
     * durable now. */
    void (*rejected)(struct leat_connector *, uint32_t partition, uint64_t offset, const char *reason);
    enum leat_status (*sync)(struct leat_connector *, struct leat_error *);
    void (*synced)(struct leat_connector *);
    void (*halt)(struct leat_connector *, bool halted); /* from another thread: a poll under way that takes long ends soon, and so do others until false. NULL: none does */
    bool prompt; /* `leat run` polls it in a thread of its own (engine/live/intake.c), where all of these, poll, caught_up, next_poll_us and wake_fd are called */
};
struct leat_connector { const struct leat_connector_ops *ops; };
extern const struct leat_connector_ops leat_connector_file, leat_connector_http, leat_connector_kafka, leat_connector_mqtt, leat_connector_postgres, leat_connector_extract;
const struct leat_connector_ops *leat_connector_of(const struct leat_source *); /* of one that is no reference; NULL: unknown */

#endif
