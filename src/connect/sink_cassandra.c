/* The `cassandra` sink: rows by key, each written at the time its effect's sequence says (rule 13), so that whatever
 * arrives twice, late or out of order leaves the newest. Hence many requests may be on the way at once.
 *
 * A piece of effects becomes requests: an INSERT or DELETE for each key's last effect (of an earlier INSERT nothing
 * would be left), those of one partition together in an unlogged batch. They are sent in the order of their first
 * effect and confirmed in any. */
#include "connect/sink_cassandra.h"
#include "project/tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

/* Cassandra warns of batches of more than 5 KiB; what is larger goes alone. */
#define BATCH_BYTES (4 * LEAT_KIB)
#define BATCH_ROWS 64

static const char *const consistencies[] = {"one",          "two",         "three",     "quorum", "all",
                                            "local_quorum", "each_quorum", "local_one", NULL};
static const enum leat_cql_consistency consistency_codes[] = {
    LEAT_CQL_ONE, LEAT_CQL_TWO,          LEAT_CQL_THREE,       LEAT_CQL_QUORUM,
    LEAT_CQL_ALL, LEAT_CQL_LOCAL_QUORUM, LEAT_CQL_EACH_QUORUM, LEAT_CQL_LOCAL_ONE};

static const struct leat_option_spec options[] = {
    {.name = "contact_points",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "Nodes to connect to, `host` or `host:port` (9042 if not said), separated by commas. Writes are spread "
              "over those that answer."},
    {.name = "keyspace", .type = LEAT_OPTION_TEXT, .required = true, .prose = "The keyspace, as Cassandra spells it."},
    {.name = "table",
     .type = LEAT_OPTION_TEXT,
     .required = true,
     .prose = "The table. Its primary key is that of leat's table; columns are matched by name without case. Columns "
              "that leat's table lacks are "
              "left alone."},
    {.name = "create",
     .type = LEAT_OPTION_BOOL,
     .default_text = "false",
     .prose = "Make the keyspace and the table where they are not there."},
    {.name = "replication",
     .type = LEAT_OPTION_TEXT,
     .default_text = "{'class': 'SimpleStrategy', 'replication_factor': 1}",
     .prose = "With `create`: the replication of a keyspace that is made."},
    {.name = "partition_key",
     .type = LEAT_OPTION_TEXT,
     .prose = "With `create`: which columns of the primary key make the partition, separated by commas; the others "
              "order its rows. Left out: all of them."},
    {.name = "consistency",
     .type = LEAT_OPTION_ENUM,
     .choices = consistencies,
     .default_text = "local_quorum",
     .prose = "How many replicas must have a write before it counts."},
    {.name = "user", .type = LEAT_OPTION_TEXT, .prose = "For a Cassandra that asks for a password."},
    {.name = "password", .type = LEAT_OPTION_SECRET, .prose = "The user's password."},
    LEAT_TLS_OPTIONS,
    {.name = "in_flight",
     .type = LEAT_OPTION_INT,
     .unit = "requests",
     .min = 1,
     .max = 8192,
     .default_text = "256",
     .prose = "Requests on the way at once on a connection. A node that is overloaded or silent gets fewer until it "
              "answers again."},
    {.name = "timeout",
     .type = LEAT_OPTION_INTERVAL,
     .min = 100000,
     .max = INT64_C(3600) * 1000000,
     .default_text = "12 seconds",
     .prose = "A node that is asked and answers nothing for so long is given up for now."},
};

/* ---- Opening ---- */

static char *file_option(const struct leat_sink_context *c, const char *name) {
    const char *path = leat_sink_option(c->def, name);
    return !path ? NULL : *path == '/' ? leat_strdup(path) : leat_asprintf("%s/%s", c->project_dir, path);
}

static enum leat_status open_session(struct leat_cassandra_sink *s, struct leat_error *err) {
    const struct leat_sink_context *c = s->context;
    char *ca = file_option(c, "tls_ca"), *cert = file_option(c, "tls_cert"), *key = file_option(c, "tls_key");
    struct leat_cql_config config = {
        .contact_points = leat_sink_option(c->def, "contact_points"),
        .user = leat_sink_option(c->def, "user"),
        .password = leat_sink_option(c->def, "password"),
        .tls = leat_sink_option_int(c->def, "tls", 0),
        .tls_ca = ca,
        .tls_cert = cert,
        .tls_key = key,
        .tls_any_host = leat_sink_option_int(c->def, "tls_any_host", 0),
        .in_flight_max = (uint16_t)leat_sink_option_int(c->def, "in_flight", 0),
        .connect_timeout_us = s->timeout_us < 5000000 ? s->timeout_us : 5000000,
        .request_timeout_us = s->timeout_us,
        .retry_max_us = 1000000, /* the outbox has its own pauses */
    };
    enum leat_status st = leat_cql_open(c->env->clock, &config, &s->session, err);
    free(ca);
    free(cert);
    free(key);
    return st;
}

static void cassandra_close(struct leat_sink *base) {
    struct leat_cassandra_sink *s = (struct leat_cassandra_sink *)base;
    leat_cassandra_forget(s);
    leat_cql_close(s->session);
    free(s);
}

static enum leat_status cassandra_open(const struct leat_sink_context *context, struct leat_sink **out,
                                       struct leat_error *err) {
    struct leat_cassandra_sink *s = leat_alloc(sizeof *s);
    s->base.ops = &leat_sink_cassandra;
    s->context = context;
    s->timeout_us = leat_sink_option_int(context->def, "timeout", 12000000);
    s->consistency = consistency_codes[leat_sink_option_int(context->def, "consistency", 5)];
    enum leat_status st = open_session(s, err);
    if (st != LEAT_OK)
        cassandra_close(&s->base);
    else
        *out = &s->base;
    return st;
}

static void cassandra_check(const struct leat_sink_def *def, const struct leat_table *table,
                            const struct leat_schema *schema, struct leat_diagnostics *diags) {
    (void)table;
    for (size_t i = 0; i < schema->field_count; i++) {
        char type[32];
        leat_type_print(schema->fields[i].type, type);
        if (schema->fields[i].type.kind != LEAT_NESTED && !leat_cassandra_type_of(schema->fields[i].type))
            leat_diagnose(diags, def->from_place, false, "CAST it to VARCHAR in the table's query",
                          "column '%s' is %s, for which Cassandra has no type", schema->fields[i].name, type);
    }
}

/* ---- Effects to requests ---- */

struct bound {
    size_t from, to;
}; /* an effect's values in `values` */
struct place {
    uint32_t effect, since;
}; /* since: the first effect that this one stands for */
struct batch {
    size_t first, count, since;
    bool told;
}; /* of `order`; told: confirmed */
struct piece {
    const struct leat_effect *effects;
    size_t count; /* those that can be written: an effect that cannot ends the piece */
    struct leat_changes rows;
    struct leat_buffer values, partitions;
    struct bound *bound, *partition; /* by effect; partition: in `partitions`, its key's values */
    struct place *order;             /* effects to be sent, by partition, key and sequence; alone: as they are */
    size_t order_count;
    struct batch *batches;
    size_t batch_count;
    struct leat_cql_item *items; /* room for one batch */
};

static void piece_deinit(struct piece *p) {
    leat_changes_deinit(&p->rows);
    leat_buffer_deinit(&p->values);
    leat_buffer_deinit(&p->partitions);
    free(p->bound);
    free(p->partition);
    free(p->order);
    free(p->batches);
    free(p->items);
}

static enum leat_status bind_columns(struct leat_cassandra_sink *s, struct piece *p, size_t i, const uint16_t *columns,
                                     size_t count, bool key, struct leat_buffer *out, struct leat_error *err) {
    for (size_t k = 0; k < count; k++) {
        size_t column = columns ? columns[k] : k;
        bool in_key = key || s->columns[column].partition >= 0 || s->columns[column].clustering >= 0;
        enum leat_status st =
            leat_cassandra_put(&p->rows.columns[column], i, s->columns[column].type, in_key, out, err);
        if (st != LEAT_OK) return leat_prepend(err, "column '%s'", s->context->schema->fields[column].name);
    }
    return LEAT_OK;
}

static enum leat_status bind_effect(struct leat_cassandra_sink *s, struct piece *p, size_t i, struct leat_error *err) {
    const struct leat_effect *effect = &p->effects[i];
    enum leat_status st;
    p->bound[i].from = p->values.length;
    if (leat_effect_removes(effect->kind)) { /* USING TIMESTAMP ? WHERE key */
        leat_cql_put_integer(&p->values, (int64_t)effect->sequence, 8);
        st = bind_columns(s, p, i, s->key, s->key_count, true, &p->values, err);
    } else { /* VALUES (...) USING TIMESTAMP ? */
        st = bind_columns(s, p, i, NULL, s->context->schema->field_count, false, &p->values, err);
        leat_cql_put_integer(&p->values, (int64_t)effect->sequence, 8);
    }
    p->bound[i].to = p->values.length;
    p->partition[i].from = p->partitions.length;
    if (st == LEAT_OK) st = bind_columns(s, p, i, s->partition, s->partition_count, true, &p->partitions, err);
    p->partition[i].to = p->partitions.length;
    return st;
}

static int compare_bytes(const void *a, size_t an, const void *b, size_t bn) {
    int c = memcmp(a, b, an < bn ? an : bn);
    return c ? c : (an > bn) - (an < bn);
}

static int compare_partitions(const struct piece *p, uint32_t a, uint32_t b) {
    struct bound x = p->partition[a], y = p->partition[b];
    return compare_bytes(p->partitions.data + x.from, x.to - x.from, p->partitions.data + y.from, y.to - y.from);
}

static int compare_keys(const struct piece *p, uint32_t a, uint32_t b) {
    const struct leat_effect *x = &p->effects[a], *y = &p->effects[b];
    return compare_bytes(x->key, x->key_bytes, y->key, y->key_bytes);
}

static int by_place(const void *a, const void *b, void *piece) {
    uint32_t x = ((const struct place *)a)->effect, y = ((const struct place *)b)->effect;
    int c = compare_partitions(piece, x, y);
    if (!c) c = compare_keys(piece, x, y);
    return c ? c : (x > y) - (x < y);
}

static int by_since(const void *a, const void *b) {
    const struct batch *x = a, *y = b;
    return (x->since > y->since) - (x->since < y->since);
}

static bool same_partition(const struct piece *p, size_t a, size_t b) {
    return compare_partitions(p, p->order[a].effect, p->order[b].effect) == 0;
}

/* By place; an INSERT with a later effect of its key is left out: that one stands for it. A DELETE stays: columns that
 * are not ours go with it. */
static void order_effects(struct piece *p) {
    for (uint32_t i = 0; i < p->count; i++)
        p->order[i] = (struct place){i, i};
    qsort_r(p->order, p->count, sizeof *p->order, by_place, p);
    for (size_t i = 0; i < p->count; i++) {
        struct place *next = i + 1 < p->count ? &p->order[i + 1] : NULL;
        bool superseded = next && !leat_effect_removes(p->effects[p->order[i].effect].kind) &&
                          same_partition(p, i, i + 1) && !compare_keys(p, p->order[i].effect, next->effect);
        if (superseded)
            next->since = p->order[i].since;
        else
            p->order[p->order_count++] = p->order[i];
    }
}

static void make_batches(struct piece *p) {
    size_t bytes = 0;
    for (size_t i = 0; i < p->order_count; i++) {
        struct batch *last = p->batch_count ? &p->batches[p->batch_count - 1] : NULL;
        size_t size = p->bound[p->order[i].effect].to - p->bound[p->order[i].effect].from;
        if (last && last->count < BATCH_ROWS && bytes + size <= BATCH_BYTES && same_partition(p, i - 1, i)) {
            last->count++;
            if (p->order[i].since < last->since) last->since = p->order[i].since;
            bytes += size;
        } else {
            p->batches[p->batch_count++] = (struct batch){.first = i, .count = 1, .since = p->order[i].since};
            bytes = size;
        }
    }
    qsort(p->batches, p->batch_count, sizeof *p->batches, by_since);
}

/* Each effect by itself, in its order: where one is refused, it must be known which. */
static void make_singles(struct piece *p) {
    for (uint32_t i = 0; i < p->count; i++) {
        p->order[i] = (struct place){i, i};
        p->batches[i] = (struct batch){.first = i, .count = 1, .since = i};
    }
    p->order_count = p->batch_count = p->count;
}

/* As many effects, from the first, as can be written; the error says why the next cannot. */
static enum leat_status make_piece(struct leat_cassandra_sink *s, const struct leat_effect *effects, size_t count,
                                   bool alone, struct piece *p, struct leat_error *err) {
    *p = (struct piece){.effects = effects};
    leat_changes_init(&p->rows, s->context->schema);
    p->bound = leat_alloc((count + 1) * sizeof *p->bound);
    p->partition = leat_alloc((count + 1) * sizeof *p->partition);
    p->order = leat_alloc((count + 1) * sizeof *p->order);
    p->batches = leat_alloc((count + 1) * sizeof *p->batches);
    p->items = leat_alloc(BATCH_ROWS * sizeof *p->items);
    enum leat_status st = leat_effect_values(s->context->schema, effects, count, &p->rows, err);
    while (st == LEAT_OK && p->count < count) {
        st = bind_effect(s, p, p->count, err);
        p->count += st == LEAT_OK;
    }
    if (alone) {
        make_singles(p);
    } else {
        order_effects(p);
        make_batches(p);
    }
    return p->count ? LEAT_OK : st;
}

/* ---- Sending ---- */

static enum leat_status send_batch(struct leat_cassandra_sink *s, struct piece *p, const struct batch *b, uint64_t tag,
                                   struct leat_error *err) {
    for (size_t i = 0; i < b->count; i++) {
        uint32_t effect = p->order[b->first + i].effect;
        bool removes = leat_effect_removes(p->effects[effect].kind);
        size_t values = removes ? s->key_count + 1 : s->context->schema->field_count + 1;
        p->items[i] = (struct leat_cql_item){.statement = removes ? s->remove : s->upsert,
                                             .values = p->values.data + p->bound[effect].from,
                                             .values_bytes = p->bound[effect].to - p->bound[effect].from,
                                             .value_count = (uint16_t)values};
    }
    struct leat_cql_request request = {.items = p->items, .item_count = b->count, .consistency = s->consistency};
    return leat_cql_send(s->session, &request, tag, err);
}

static int64_t soon(const struct leat_cassandra_sink *s, int64_t us) {
    struct leat_clock *clock = s->context->env->clock;
    return clock->monotonic_us(clock) + us;
}

/* Sends all batches, as the window lets, and takes the answers. Stops sending at the first failure, but waits for what
 * is on the way. The error is that of the failed batch that comes first. *code: what the server called it, or -1. */
static enum leat_status send_all(struct leat_cassandra_sink *s, struct piece *p, int32_t *code,
                                 struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    size_t next = 0, failed = p->batch_count;
    *code = -1;
    while (leat_cql_in_flight(s->session) || (st == LEAT_OK && next < p->batch_count)) {
        struct leat_error unable;
        enum leat_status sent = LEAT_OK;
        while (st == LEAT_OK && next < p->batch_count &&
               (sent = send_batch(s, p, &p->batches[next], next, &unable)) == LEAT_OK)
            next++;
        if (sent != LEAT_OK && sent != LEAT_BUSY) { /* the statement cannot be prepared: the table is not what it was */
            *err = unable;
            st = err->status = LEAT_CONFLICT;
            s->known = false;
            continue;
        }
        struct leat_cql_reply reply;
        enum leat_status waited = leat_cql_wait(s->session, soon(s, s->timeout_us), &reply);
        if (waited == LEAT_CANCELLED) {
            leat_cql_abandon(s->session);
            return leat_fail(err, LEAT_CANCELLED, "stopped");
        }
        if (waited == LEAT_END && st == LEAT_OK && sent == LEAT_BUSY)
            st = leat_cql_connect(s->session, soon(s, s->timeout_us), err);
        if (waited != LEAT_OK) continue;
        if (reply.status == LEAT_OK) {
            p->batches[reply.tag].told = true;
        } else if (reply.tag < failed) {
            failed = (size_t)reply.tag;
            *code = reply.code;
            *err = reply.error;
            st = reply.status;
        }
    }
    return st;
}

/* Effects from the first on that are written. Batches are in the order of the first effect that they stand for. */
static size_t confirmed_effects(const struct piece *p) {
    for (size_t i = 0; i < p->batch_count; i++)
        if (!p->batches[i].told) return p->batches[i].since;
    return p->count;
}

/* INVALID: Cassandra refuses an effect that was sent alone, the one at *confirmed, though its table still is what it
 * was taken for. */
static enum leat_status deliver_once(struct leat_cassandra_sink *s, const struct leat_effect *effects, size_t count,
                                     bool alone, size_t *confirmed, bool *refused, struct leat_error *err) {
    struct piece piece;
    int32_t code = -1;
    enum leat_status st = make_piece(s, effects, count, alone, &piece, err);
    bool written = st == LEAT_OK;
    if (written) {
        st = send_all(s, &piece, &code, err);
        *confirmed += confirmed_effects(&piece);
    }
    piece_deinit(&piece);
    *refused = written && st != LEAT_OK && code == LEAT_CQL_INVALID;
    struct leat_error changed;
    if (*refused && leat_cassandra_learn(s, &changed) != LEAT_OK) {
        *err = changed;
        *refused = false;
        st = changed.status;
    }
    if (st == LEAT_INVALID && written && !*refused) err->status = st = LEAT_CONFLICT; /* no effect is at fault */
    return st;
}

static enum leat_status cassandra_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count,
                                          const atomic_int *stop, size_t *confirmed, struct leat_error *err) {
    struct leat_cassandra_sink *s = (struct leat_cassandra_sink *)base;
    bool refused = false;
    *confirmed = 0;
    leat_cql_heed(s->session, stop);
    enum leat_status st = leat_cql_connect(s->session, soon(s, s->timeout_us), err);
    if (st == LEAT_OK && !s->known) st = leat_cassandra_learn(s, err);
    if (st == LEAT_INVALID)
        err->status = st = LEAT_UNSUPPORTED; /* credentials, certificates, the schema: no effect is at fault */
    if (st != LEAT_OK) return st;
    st = deliver_once(s, effects, count, false, confirmed, &refused, err);
    if (refused) st = deliver_once(s, effects + *confirmed, count - *confirmed, true, confirmed, &refused, err);
    return st;
}

const struct leat_sink_ops leat_sink_cassandra = {
    .name = "cassandra",
    .what = "writes rows by key to a table of Cassandra or ScyllaDB",
    .guarantee = "Once a change is confirmed by `consistency` replicas, a reader of that many sees it or a newer one: "
                 "every write carries its change's "
                 "sequence as its timestamp, so what is sent again, late or out of order changes nothing, and a row "
                 "that goes is a tombstone. "
                 "TIMESTAMP is rounded down to Cassandra's milliseconds (a `bigint` column gets microseconds). Others "
                 "who write the same "
                 "rows with later timestamps win.",
    .shape = LEAT_SINK_UPSERT,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .check = cassandra_check,
    .open = cassandra_open,
    .deliver = cassandra_deliver,
    .close = cassandra_close,
};
