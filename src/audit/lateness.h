/* How late a source's records came, measured from its archive: for a row of delays, how many records a watermark with that delay would
 * have missed. Exact for a watermark that moves with every record, which is the strictest: steps only move it later.
 *
 * The watermark is the engine's (engine/step.c): the lowest, over the partitions that hold it back, of the latest event time seen before
 * the record; it never goes back. Records are taken in order of arrival, within a partition in order of offset. */
#ifndef LEAT_AUDIT_LATENESS_H
#define LEAT_AUDIT_LATENESS_H

#include "sql/duck.h"

/* The delays that are looked at, ascending, in microseconds: such as people write them, from 0 to 30 days. */
extern const int64_t leat_lateness_delays[];
extern const size_t leat_lateness_delay_count;

struct leat_lateness_day {
    int64_t day;       /* days since the epoch, of the latest event time seen so far */
    uint64_t records;
    uint64_t *missed;  /* per delay: records that came after event time + delay had passed */
};
struct leat_lateness {
    uint64_t records;                     /* that have an event time */
    int64_t first_event_us, last_event_us;
    int64_t first_arrival_us, last_arrival_us;
    struct leat_lateness_day *days;       /* ascending */
    size_t day_count;
};
struct leat_lateness_options {
    const char *select;       /* SQL of the archive: the event time's column and _partition, _offset, _arrival */
    const char *event_time;   /* name of its column */
    bool files;               /* partitions are files: all but partition 0 and the newest are complete (file source) */
    bool (*progress)(void *context, uint64_t records); /* NULL: none; false: stop, which is CANCELLED */
    void *context;
};
/* Memory: a slice of records; a row of counters a day.
 * out     owned by the caller; leat_lateness_deinit; empty unless LEAT_OK
 * Errors  SQL, NO_MEMORY of DuckDB; CANCELLED stopped by progress
 * Thread  the connection's */
enum leat_status leat_lateness_measure(struct leat_conn *, const struct leat_lateness_options *, struct leat_lateness *out, struct leat_error *) LEAT_MUST;
void leat_lateness_deinit(struct leat_lateness *);

uint64_t leat_lateness_missed(const struct leat_lateness *, size_t delay);
/* The shortest delay by which at most `share` of the records would be missed, in all and on each day of at least a thousand records, and on
 * another day like these too: chance is allowed for (three standard deviations of a count). *certain: false when there are too
 * few records to say that; the delay is then the first that misses none of them. */
size_t leat_lateness_choose(const struct leat_lateness *, double share, bool *certain);
/* At most so many records had event times within one span of that length. */
enum leat_status leat_lateness_rows_within(struct leat_conn *, const struct leat_lateness_options *, const struct leat_lateness *, int64_t span_us,
                                           uint64_t *out, struct leat_error *) LEAT_MUST;

#endif
