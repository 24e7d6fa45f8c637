/* A project's recorded input, taken from its lake: of each unbounded source all records that bronze and the dead letters hold, in order of
 * arrival, as they came (JSON) or written anew from their columns; of each reference its history. */
#ifndef LEAT_REHEARSE_RECORD_H
#define LEAT_REHEARSE_RECORD_H

#include "engine/engine.h"

/* When a record comes in a rehearsal. By arrival: as it was. By event: in the order it was, at the pace of the event times, which is what
 * a bulk load would have been like live. Auto: by event where all arrived within a tenth of the time that the events span. */
enum leat_record_clock { LEAT_CLOCK_AUTO, LEAT_CLOCK_ARRIVAL, LEAT_CLOCK_EVENT };
extern const char *const leat_record_clock_names[]; /* as options spell them, NULL-terminated */

struct leat_recorded_source {
    char *name, *path;
    bool by_event;
    uint64_t records, bytes;
    int64_t first_us, last_us; /* INT64_MAX, INT64_MIN: no record */
};
struct leat_record {
    char *dir, *lake_dir; /* of the files; where reference histories are */
    struct leat_recorded_source *sources;
    size_t source_count;
    uint64_t records, bytes;
    int64_t first_us, last_us;
};
struct leat_record_options {
    const char *dir;          /* made; what is in it is replaced */
    int64_t from_us, to_us;   /* only records that come in [from, to) by the clock; INT64_MIN, INT64_MAX: all */
    enum leat_record_clock clock;
};
/* engine: read-only is enough. out: owned by the caller, leat_record_deinit; empty unless LEAT_OK.
 * Errors: IO, NO_SPACE; SQL; UNSUPPORTED a source whose records cannot be written anew */
enum leat_status leat_record_make(struct leat_env *, const struct leat_engine *, const struct leat_record_options *, struct leat_record *out, struct leat_error *) LEAT_MUST;
/* One that was made before, in the folder. Errors: NOT_FOUND, CORRUPT */
enum leat_status leat_record_load(struct leat_env *, const char *dir, struct leat_record *out, struct leat_error *) LEAT_MUST;
void leat_record_deinit(struct leat_record *); /* the files stay */
const struct leat_recorded_source *leat_record_find(const struct leat_record *, const char *source);

#endif
