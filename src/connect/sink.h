/* A sink connector is one descriptor: an option table, a stated guarantee and callbacks. The engine turns a table's changes into
 * effects, makes their exact bytes durable before the first is sent (rule 5), and a thread of the sink's own hands them over in
 * order: a slow or dead sink holds back nothing but itself. A sink says which effects are done only after the remote confirmed. */
#ifndef LEAT_CONNECT_SINK_H
#define LEAT_CONNECT_SINK_H

#include <stdatomic.h>

#include "base/env.h"
#include "base/limits.h"
#include "base/options.h"
#include "project/project.h"

/* UPSERT, DELETE: tables with a key; the row of the key is now this one, or there is none any more (payload: the row as it was).
 * APPEND, RETRACT: a row came, a row went. */
enum leat_effect_kind { LEAT_EFFECT_UPSERT, LEAT_EFFECT_DELETE, LEAT_EFFECT_APPEND, LEAT_EFFECT_RETRACT };
const char *leat_effect_kind_name(enum leat_effect_kind); /* "upsert" ... */
static inline bool leat_effect_removes(enum leat_effect_kind kind) { return kind == LEAT_EFFECT_DELETE || kind == LEAT_EFFECT_RETRACT; }

/* Sequences are strictly increasing per sink, persisted, and belong to the effect: the same again when it is sent again. 2v for what
 * removes a row, 2v + 1 for what brings one (rule 13); they begin at the microseconds since the epoch at which the sink did, and grow
 * by 2 an effect, so they also are above those of a former work folder.
 * payload: what encode wrote. key: equal bytes for equal keys (empty: none); order matters only among effects of one key. */
struct leat_effect {
    uint64_t sequence;
    enum leat_effect_kind kind;
    const void *key, *payload;
    size_t key_bytes, payload_bytes;
};
/* Payloads of one call of deliver together: it takes effects until they are so many bytes, and an effect is at most a block of the log. */
#define LEAT_DELIVERY_PIECE_BYTES (4 * LEAT_MIB)
#define LEAT_DELIVERY_BYTES_MAX (LEAT_DELIVERY_PIECE_BYTES + LEAT_BLOCK_MAX)
/* An effect in the making. rows: the table's columns. */
struct leat_effect_row {
    enum leat_effect_kind kind;
    uint64_t sequence;
    const struct leat_changes *rows;
    size_t row;
    size_t old_row;             /* UPSERT: the row it replaces, in `rows`; SIZE_MAX: none, or not known */
};

enum leat_sink_shape {
    LEAT_SINK_UPSERT, /* takes UPSERT and DELETE: the table needs a PRIMARY KEY, any number of repetitions gives the same */
    LEAT_SINK_EVENTS, /* takes APPEND and RETRACT: rule 4 says which tables */
    LEAT_SINK_EITHER, /* by the table: UPSERT and DELETE with a PRIMARY KEY, else APPEND and RETRACT */
};
/* Everything about the sink that does not change while it is open; borrowed until close. */
struct leat_sink_context {
    struct leat_env *env;               /* the sink's own: for its thread, too */
    const struct leat_sink_def *def;
    const struct leat_table *table;
    const struct leat_schema *schema;   /* the table's columns */
    const uint16_t *key; size_t key_count; /* the primary key's columns; 0: none */
    const char *project_dir;            /* paths are relative to it */
    const char *state_dir;              /* the connector's own durable folder */
    const char *identity;               /* whose sequences these are: a remote's progress under another identity says nothing */
};

struct leat_sink; /* an opened sink connector */
struct leat_sink_ops {
    const char *name;                        /* connector = '...' */
    const char *what;                        /* one line for lists */
    const char *guarantee;                   /* what a reader of the remote may rely on, in one or two sentences */
    enum leat_sink_shape shape;
    bool starts_now;                         /* start left out: `now` for keyed tables, too (what arrives is news, not a copy) */
    const struct leat_option_spec *options;  /* beyond those every sink has (leat_sink_options) */
    size_t option_count;
    /* What can be known without connecting; findings go to diags. schema: the table's columns. May be NULL. */
    void (*check)(const struct leat_sink_def *, const struct leat_table *, const struct leat_schema *schema, struct leat_diagnostics *);
    /* Connects lazily: an unreachable remote is no error here. */
    enum leat_status (*open)(const struct leat_sink_context *, struct leat_sink **out, struct leat_error *);
    /* Appends the payload of a row. In the engine's thread; no waiting; nothing that deliver changes. Deterministic. INVALID, LIMIT: this
     * row cannot be sent, which makes it a dead letter. NULL: typed values, read back by leat_effect_values. */
    enum leat_status (*encode)(struct leat_sink *, const struct leat_effect_row *, struct leat_buffer *payload, struct leat_error *);
    /* In the sink's thread; may wait, but gives up soon after *stop. Hands over effects in order; *confirmed: how many of them, from the
     * first, the remote has confirmed, whatever is returned. OK needs not confirm all. Failures are of three kinds:
     *   INVALID    the effect at *confirmed is refused for good: dead letter at once
     *   bad_data   the remote answered and refused it this time: tried again with back-off, dead letter after `max_tries`
     *   others     the remote is not there: tried again with back-off for ever */
    enum leat_status (*deliver)(struct leat_sink *, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed,
                                struct leat_error *);
    /* Where the remote keeps progress with the data: the last sequence it holds, 0 for none (called before the first deliver and after
     * errors). NULL: leat's own durable progress, so the last ones may be sent again. stop: as of deliver. */
    enum leat_status (*progress)(struct leat_sink *, const atomic_int *stop, uint64_t *sequence, struct leat_error *);
    /* Where progress has become less than the remote had confirmed, it was put back to an earlier state: what it lost is sent again, as far as it is kept. */
    bool comes_back;
    void (*close)(struct leat_sink *);
};
struct leat_sink { const struct leat_sink_ops *ops; };

extern const struct leat_sink_ops leat_sink_file, leat_sink_webhook, leat_sink_postgres, leat_sink_cassandra, leat_sink_redis, leat_sink_kafka;
const struct leat_sink_ops *leat_sink_find(const char *name); /* NULL: unknown */
const struct leat_sink_ops *const *leat_sinks(size_t *count);
void leat_sinks_add(const struct leat_sink_ops *); /* one more, of a test program */
extern const struct leat_option_spec leat_sink_options[];     /* what every sink takes */
extern const size_t leat_sink_option_count;

void leat_reference_sinks(struct leat_buffer *out);           /* the markdown page of all sinks */

/* Does a sink of this kind get UPSERT and DELETE of the table, or else APPEND and RETRACT? */
bool leat_sink_upserts(const struct leat_sink_ops *, const struct leat_table *);
/* Looks every sink's connector up, checks its options, and puts them into normal form with defaults. Findings go to diags. */
void leat_sinks_resolve(struct leat_project *, struct leat_diagnostics *diags);
/* Rule 4 and the connector's own check, when the table is planned. append_only: it never takes a row back. final: EMIT ON WINDOW CLOSE. */
void leat_sink_check(const struct leat_project *, const struct leat_sink_def *, const struct leat_schema *schema, bool append_only, bool final,
                     struct leat_diagnostics *diags);
/* A resolved sink's option in normal form; NULL: not given and no default. As a number: see leat_source_option_int. */
const char *leat_sink_option(const struct leat_sink_def *, const char *name);
int64_t leat_sink_option_int(const struct leat_sink_def *, const char *name, int64_t missing);

/* Typed payloads (encode NULL): appends the rows of effects to out, which has the table's schema; strings are copied. */
enum leat_status leat_effect_values(const struct leat_schema *, const struct leat_effect *effects, size_t count, struct leat_changes *out,
                                    struct leat_error *) LEAT_MUST;

/* Appends the effect as JSON, for connectors whose payload it is: {"id":"<identity>-<sequence>","table":...,"kind":...,"key":{...},"row":{...},
 * "old":{...}}; key where the table has one, row unless it is a DELETE, old for a DELETE and where an UPSERT knows it. */
void leat_effect_put_json(const struct leat_sink_context *, const struct leat_effect_row *, struct leat_buffer *out);

#endif
