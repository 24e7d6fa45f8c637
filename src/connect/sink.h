/* A sink connector is one descriptor: an option table, a stated guarantee and callbacks. The engine turns a table's changes into
 * effects, makes their exact bytes durable before the first is sent (rule 5), and a thread of the sink's own hands them over in
 * order: a slow or dead sink holds back nothing but itself. A sink says which effects are done only after the remote confirmed. */
#ifndef LEAT_CONNECT_SINK_H
#define LEAT_CONNECT_SINK_H

#include <stdatomic.h>

#include "base/env.h"
#include "base/options.h"
#include "project/project.h"

/* UPSERT, DELETE: tables with a key; the row of the key is now this one, or there is none any more (payload: the row as it was).
 * APPEND, RETRACT: a row came, a row went. */
enum leat_effect_kind { LEAT_EFFECT_UPSERT, LEAT_EFFECT_DELETE, LEAT_EFFECT_APPEND, LEAT_EFFECT_RETRACT };

/* Sequences are strictly increasing per sink, persisted, and belong to the effect: the same again when it is sent again.
 * payload: what encode wrote. key: equal bytes for equal keys (empty: none); order matters only among effects of one key. */
struct leat_effect {
    uint64_t sequence;
    enum leat_effect_kind kind;
    const void *key, *payload;
    size_t key_bytes, payload_bytes;
};

enum leat_sink_shape {
    LEAT_SINK_UPSERT, /* takes UPSERT and DELETE: the table needs a PRIMARY KEY, any number of repetitions gives the same */
    LEAT_SINK_EVENTS, /* takes APPEND and RETRACT: rule 4 says which tables */
    LEAT_SINK_EITHER, /* by the table: UPSERT and DELETE with a PRIMARY KEY, else APPEND and RETRACT */
};

struct leat_sink; /* an opened sink connector */
struct leat_sink_ops {
    const char *name;                        /* connector = '...' */
    const char *what;                        /* one line for lists */
    const char *guarantee;                   /* what a reader of the remote may rely on, in one or two sentences */
    enum leat_sink_shape shape;
    const struct leat_option_spec *options;  /* beyond those every sink has (start, on_retract, ...) */
    size_t option_count;
    /* What can be known without connecting; findings go to diags. schema: the table's columns. May be NULL. */
    void (*check)(const struct leat_sink_def *, const struct leat_table *, const struct leat_schema *schema, struct leat_diagnostics *);
    /* state_dir: the connector's own durable folder. Connects lazily: an unreachable remote is no error here. */
    enum leat_status (*open)(struct leat_env *, const struct leat_sink_def *, const struct leat_table *, const struct leat_schema *schema,
                             const char *project_dir, const char *state_dir, struct leat_sink **out, struct leat_error *);
    /* Appends the payload of a row. In the engine's thread; no waiting. Deterministic. NULL: typed values (leat_effect_values). */
    enum leat_status (*encode)(struct leat_sink *, enum leat_effect_kind, uint64_t sequence, const struct leat_changes *rows, size_t row,
                               struct leat_buffer *payload, struct leat_error *);
    /* In the sink's thread; may wait, but gives up soon after *stop. Hands over effects in order; *confirmed: how many of them, from the
     * first, the remote has confirmed, whatever is returned. Errors: INVALID the effect at *confirmed is refused for good (dead letter
     * after `max_tries`); others are tried again from there with back-off. */
    enum leat_status (*deliver)(struct leat_sink *, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed,
                                struct leat_error *);
    /* Where the remote keeps progress with the data: the last sequence it holds (called before the first deliver and after errors).
     * NULL: leat's own durable progress, so the last ones may be sent again. */
    enum leat_status (*progress)(struct leat_sink *, uint64_t *sequence, struct leat_error *);
    void (*close)(struct leat_sink *);
};
struct leat_sink { const struct leat_sink_ops *ops; };
const struct leat_sink_ops *leat_sink_find(const char *name); /* NULL: unknown */

#endif
