/* Inside the file connector. file.c: options and the round of turns; file_scan.c: which files there are and which
 * incarnation each is; file_read.c: one file's records as blocks; file_watch.c: being woken instead of looking;
 * file_spool.c: what `leat feed` plays. */
#ifndef LEAT_CONNECT_FILE_H
#define LEAT_CONNECT_FILE_H

#include "base/limits.h"
#include "connect/connector.h"
#include "connect/content.h"
#include "connect/glob.h"
#include "connect/partitions.h"
#include "data/decode.h"

#define LEAT_FILE_RETRY_US 60000000 /* a file that cannot be opened or read is tried again after it */

struct leat_spool_reader;
struct leat_watch;

/* One file that fits the path. */
struct leat_tailed {
    char *path, *full;          /* as the table spells it; as io opens it */
    uint32_t partition;         /* 0: none yet, because nothing is in it */
    struct leat_stat seen;      /* at the last scan */
    uint64_t high_bytes;        /* largest size seen of this incarnation */
    uint64_t position;          /* content byte after the last record given */
    uint64_t skip;              /* records before next_record that are still to be passed over */
    uint64_t next_record;       /* its number in the file, the CSV header not counted: the record's offset */
    uint64_t no_newline_before; /* the unfinished line at `position` has no end before this content byte */
    char *header;               /* CSV: the header line, once read */
    size_t header_length;
    bool idle;                     /* read to its end: no turn until it changes */
    bool damaged;                  /* of those: because the rest cannot be read */
    bool fed;                      /* its records come through the spool */
    bool failed;                   /* idle because it could not be opened or read; tried again after a while */
    int64_t retry_us;              /* monotonic */
    bool unchecked;                /* changed since its incarnation was last looked at */
    bool ends_line;                /* known: the byte before `position` is a newline */
    struct leat_content_mark mark; /* compressed, read to a clean end: where to go on if it grows */
};

struct leat_file_source {
    struct leat_connector base;
    struct leat_env *env;
    char *name; /* of the source, for messages */
    char *project_dir, *pattern;
    enum leat_format format;
    bool once, has_header;
    enum leat_compression compression;
    size_t max_line_bytes;
    int64_t max_ratio, poll_interval_us;

    struct leat_partitions table;
    struct leat_log_end *progress;
    size_t progress_count; /* of partitions that are no entry of `files`: from the log, or of files gone */
    struct leat_tailed *files;
    size_t file_count;        /* by path */
    struct leat_watch *watch; /* NULL: polling */
    struct leat_spool_reader *spool;
    bool scanned, told_empty;
    bool listed;      /* no name came or went since `files` was listed: looking at them is enough */
    bool rescan;      /* a file changed while it was looked at */
    bool pause;       /* an error was told that the next call might only repeat: that one ends the round instead */
    bool rounds;      /* at least one was gone through to its end */
    bool caught_up;   /* the last call ended a round */
    int quiet_rounds; /* rounds that gave nothing, one after another */
    bool in_round;    /* a round gives every file one turn, in order of path, then the spool; then END */
    size_t turn;
    bool seen_differs; /* files have sizes or times that the table does not */
    int64_t saved_us;  /* monotonic: when it was last told */

    /* The file whose turn it is */
    struct leat_content *content;
    char *buffer;
    size_t buffer_capacity;            /* plus LEAT_PAYLOAD_SLACK readable bytes */
    size_t buffer_from, buffer_length; /* unread content is buffer[from, length) */
    uint64_t buffer_at;                /* content byte of buffer[from] */
    bool ended;                        /* nothing is behind the buffer */
    struct leat_error damage;          /* met while reading ahead; told when the records before it are given */
    uint32_t *starts, *ends;           /* LEAT_BLOCK_RECORDS_MAX */
};

/* file.c: what the source's WITH says. */
enum leat_status leat_file_read_options(struct leat_file_source *, const struct leat_source *,
                                        struct leat_error *) LEAT_MUST;

/* file_scan.c: brings `files` up to date with the disk and the table. */
enum leat_status leat_file_scan(struct leat_file_source *, struct leat_error *) LEAT_MUST;
void leat_file_list_deinit(struct leat_file_source *);
/* Remembers sizes and times seen in the table, so that a copied work folder knows its files again. */
enum leat_status leat_file_save_seen(struct leat_file_source *, struct leat_error *) LEAT_MUST;
struct leat_tailed *leat_file_of_partition(struct leat_file_source *, uint32_t partition); /* NULL: none current */

/* file_read.c: the next block of a file. END: nothing more now. bad_data errors: the file is damaged there, others go
 * on. */
enum leat_status leat_file_read(struct leat_file_source *, struct leat_tailed *, size_t max_bytes,
                                struct leat_block *out, struct leat_error *) LEAT_MUST;
void leat_file_end_turn(struct leat_file_source *);

/* file_watch.c. NULL where inotify cannot see everything (another disk than the real one, a network file system). */
struct leat_watch *leat_watch_open(struct leat_env *);
void leat_watch_close(struct leat_watch *);
int leat_watch_fd(const struct leat_watch *);
/* Has anything happened since the last call? Drains the events. *names: more than that files were written to. */
bool leat_watch_fired(struct leat_watch *, bool *names);
/* Watches the glob's folders and no others. *added: some are new. False: not everything can be watched (too many, a
 * network file system, a link to elsewhere); then poll. */
bool leat_watch_folders(struct leat_watch *, const struct leat_glob *, const char *project_dir, bool *added);
/* One more folder, kept for good. */
bool leat_watch_also(struct leat_watch *, const char *dir);

#endif
