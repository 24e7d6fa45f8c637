/* The `kafka` sink: changes as messages, keyed by the table's primary key, in the order in which they came.
 *
 * An effect's payload is the message as it will be sent (data/message.h, partition and offset unused): key, value, and as its one header the
 * change's id.
 *
 * delivery = exactly_once: each batch is a transaction, with the last sequence in it as the committed offset of the group
 * `leat-sink-<identity>`, so that the topic and how far it is change together. After any error the producer is destroyed, never used again; the
 * next one, of the same transactional id, waits until the broker has finished or aborted what the last one left, and asks the group how
 * far it came. (Aborting and going on after a commit that timed out is what librdkafka does not survive.)
 * delivery = at_least_once: an idempotent producer; what was not confirmed is sent again, with the same ids. */
#include "connect/sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/kafka_client.h"
#include "data/message.h"
#include "data/value_text.h"

enum { CALL_MS = 30000, WAIT_MS = 100 };

static const struct leat_option_spec options[] = {
    {.name = "topic", .type = LEAT_OPTION_TEXT, .required = true, .prose = "The topic, which must be there. To keep a table in it, let it be compacted (`cleanup.policy=compact`)."},
    {.name = "properties.bootstrap.servers", .type = LEAT_OPTION_TEXT, .required = true, .prose = "Brokers to begin with, `host:port` separated by commas."},
    {.name = "properties.*",
     .type = LEAT_OPTION_TEXT,
     .prose = "Any other property of librdkafka, such as `properties.compression.type`, `properties.sasl.username`. Give passwords as `'${NAME}'`."},
    {.name = "format",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"upsert-json", "debezium-json", NULL},
     .default_text = "upsert-json",
     .prose = "`upsert-json`: the value is the row, none when it is gone. `debezium-json`: Debezium's events, with `before` where it is known. Of a table "
              "without primary key, rows come without a key, and rows that go (`on_retract = 'send'`) have `leat-kind: retract` as a header."},
    {.name = "delivery",
     .type = LEAT_OPTION_ENUM,
     .choices = (const char *const[]){"exactly_once", "at_least_once", NULL},
     .default_text = "exactly_once",
     .prose = "`exactly_once`: in transactions, for readers that read what is committed (`isolation.level=read_committed`). `at_least_once`: without; "
              "less delay, and after an error the last changes may come again, with the same `leat-event-id`."},
};

struct kafka_sink {
    struct leat_sink base;
    const struct leat_sink_context *context;
    const char *topic;
    bool debezium, transactions;
    char *group;
    rd_kafka_t *producer; /* NULL: to be made */
    size_t most;          /* changes that are tried together */
    /* of the batch under way: */
    size_t count, answered;
    rd_kafka_resp_err_t *results;
};

static struct kafka_sink *self(struct leat_sink *base) {
    return (struct kafka_sink *)(void *)base;
}

/* ---- opening ---- */

static enum leat_status kafka_open(const struct leat_sink_context *context, struct leat_sink **out, struct leat_error *err) {
    struct kafka_sink *s = leat_alloc(sizeof *s);
    (void)err;
    s->base.ops = &leat_sink_kafka;
    s->context = context;
    s->most = SIZE_MAX;
    s->topic = leat_sink_option(context->def, "topic");
    s->debezium = strcmp(leat_sink_option(context->def, "format"), "debezium-json") == 0;
    s->transactions = strcmp(leat_sink_option(context->def, "delivery"), "exactly_once") == 0;
    s->group = leat_asprintf("leat-sink-%s", context->identity);
    *out = &s->base;
    return LEAT_OK;
}

static void drop_producer(struct kafka_sink *s) {
    if (!s->producer) return;
    rd_kafka_purge(s->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy(s->producer);
    s->producer = NULL;
}

static void kafka_close(struct leat_sink *base) {
    struct kafka_sink *s = self(base);
    drop_producer(s);
    free(s->results);
    free(s->group);
    free(s);
}

/* ---- encoding ---- */

static void put_key(const struct leat_sink_context *c, const struct leat_effect_row *e, struct leat_buffer *out) {
    for (size_t i = 0; i < c->key_count; i++) {
        const char *name = c->schema->fields[c->key[i]].name;
        leat_put(out, i ? "," : "{");
        leat_put_json_string(out, name, strlen(name));
        leat_put(out, ":");
        leat_put_json_value(out, &e->rows->columns[c->key[i]], e->row);
    }
    if (c->key_count) leat_put(out, "}");
}

/* No clock in it: the same effect is the same bytes whenever it is made. */
static void put_debezium(const struct leat_sink_context *c, const struct leat_effect_row *e, struct leat_buffer *out) {
    bool gone = leat_effect_removes(e->kind), before = gone || e->old_row != SIZE_MAX;
    leat_put(out, "{\"before\":");
    if (before)
        leat_put_json_row(out, e->rows, gone ? e->row : e->old_row);
    else
        leat_put(out, "null");
    leat_put(out, ",\"after\":");
    if (gone)
        leat_put(out, "null");
    else
        leat_put_json_row(out, e->rows, e->row);
    leat_putf(out, ",\"op\":\"%s\",\"source\":{\"connector\":\"leat\",\"name\":\"%s\",\"table\":\"%s\",\"sequence\":\"%llu\"}}",
              gone ? "d" : before ? "u" : "c", c->def->name, c->table->name, (unsigned long long)e->sequence);
}

static enum leat_status kafka_encode(struct leat_sink *base, const struct leat_effect_row *e, struct leat_buffer *payload, struct leat_error *err) {
    const struct kafka_sink *s = self(base);
    struct leat_buffer key = {0}, value = {0};
    char id[96];
    put_key(s->context, e, &key);
    if (s->debezium)
        put_debezium(s->context, e, &value);
    else if (e->kind != LEAT_EFFECT_DELETE)
        leat_put_json_row(&value, e->rows, e->row);
    int length = snprintf(id, sizeof id, "%s-%llu", s->context->identity, (unsigned long long)e->sequence);
    struct leat_message m = {.partition = -1, .offset = -1, .timestamp_us = -1, .header_count = 1, .headers = {{id, (size_t)length}}};
    if (key.data) m.key = (struct leat_bytes){key.data, key.length};
    if (value.data) m.value = (struct leat_bytes){value.data, value.length};
    enum leat_status st = leat_buffer_reserve(payload, leat_message_size(&m), err);
    if (st == LEAT_OK) payload->length += leat_message_write(&m, payload->data + payload->length);
    leat_buffer_deinit(&key);
    leat_buffer_deinit(&value);
    return st;
}

/* ---- the producer, in the sink's thread ---- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *context) {
    struct kafka_sink *s = context;
    (void)rk;
    s->results[(uintptr_t)m->_private] = m->err;
    s->answered++;
}

/* Calls again what goes on in the background and was only not given longer: a stop does not wait for a broker that says nothing. What the brokers
 * answer meanwhile, that a transaction before is still being ended, say, is the error of a call whose time is over. */
static rd_kafka_error_t *patiently(rd_kafka_error_t *(*call)(rd_kafka_t *, int), rd_kafka_t *producer, const atomic_int *stop) {
    for (int waited_ms = WAIT_MS;; waited_ms += WAIT_MS) {
        rd_kafka_error_t *error = call(producer, WAIT_MS);
        if (!error || !rd_kafka_error_is_retriable(error) || *stop || waited_ms >= CALL_MS) return error;
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__TIMED_OUT) rd_kafka_poll(producer, WAIT_MS); /* it came at once, perhaps */
        rd_kafka_error_destroy(error);
    }
}

/* Takes the error over. */
static enum leat_status fail(const struct kafka_sink *s, const char *what, rd_kafka_error_t *error, struct leat_error *err) {
    enum leat_status st = leat_fail(err, LEAT_IO, "topic '%s': %s: %s", s->topic, what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return st;
}

static enum leat_status make_producer(struct kafka_sink *s, const atomic_int *stop, struct leat_error *err) {
    const struct leat_kafka_property defaults[] = {{"client.id", "leat"},
                                                   {"linger.ms", "5"},
                                                   {"message.timeout.ms", "30000"},
                                                   {"reconnect.backoff.max.ms", "2000"},
                                                   {"socket.timeout.ms", "10000"},
                                                   {"queue.buffering.max.kbytes", "65536"},
                                                   {NULL, NULL}};
    const struct leat_kafka_property fixed[] = {{"enable.idempotence", "true"}, {s->transactions ? "transactional.id" : NULL, s->group}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    char why[512];
    char *owner = leat_asprintf("sink \"%s\"", s->context->def->name);
    enum leat_status st = leat_kafka_configure(owner, s->context->def->options, s->context->def->option_count, defaults, fixed, &conf, err);
    free(owner);
    if (st != LEAT_OK) {
        st = LEAT_IO; /* of the sink's setting, not of this change */
        if (err) err->status = LEAT_IO;
        return st;
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, s);
    s->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!s->producer) {
        rd_kafka_conf_destroy(conf);
        return leat_fail(err, LEAT_IO, "topic '%s': librdkafka cannot begin: %s", s->topic, why);
    }
    rd_kafka_error_t *error = s->transactions ? patiently(rd_kafka_init_transactions, s->producer, stop) : NULL;
    if (!error) return LEAT_OK;
    st = fail(s, "the brokers do not answer as a transaction needs it", error, err);
    drop_producer(s);
    return st;
}

/* ---- progress: with the data, as the offset that a group has committed ---- */

static enum leat_status ask_group(struct kafka_sink *s, uint64_t *sequence, struct leat_error *err) {
    const struct leat_kafka_property defaults[] = {{"client.id", "leat"}, {"group.id", s->group}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    char why[512];
    enum leat_status st = leat_kafka_configure(s->group, s->context->def->options, s->context->def->option_count, defaults, NULL, &conf, err);
    if (st != LEAT_OK) return st;
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!reader) {
        rd_kafka_conf_destroy(conf);
        return leat_fail(err, LEAT_IO, "topic '%s': librdkafka cannot begin: %s", s->topic, why);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, s->topic, 0);
    rd_kafka_resp_err_t code = rd_kafka_committed(reader, list, CALL_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        st = leat_fail(err, LEAT_IO, "topic '%s': how far the sink is cannot be had: %s", s->topic, rd_kafka_err2str(code));
    else
        *sequence = list->elems[0].offset < 0 ? 0 : (uint64_t)list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(reader);
    return st;
}

static enum leat_status kafka_progress(struct leat_sink *base, const atomic_int *stop, uint64_t *sequence, struct leat_error *err) {
    struct kafka_sink *s = self(base);
    *sequence = 0;
    if (!s->transactions) return LEAT_OK;
    drop_producer(s);
    enum leat_status st = make_producer(s, stop, err); /* what the last one left is decided when this returns */
    return st == LEAT_OK ? ask_group(s, sequence, err) : st;
}

/* ---- delivering ---- */

static enum leat_status produce(struct kafka_sink *s, const struct leat_effect *effect, size_t index, const atomic_int *stop, struct leat_error *err) {
    struct leat_message m;
    if (!leat_message_read(effect->payload, effect->payload_bytes, &m) || m.header_count != 1)
        return leat_fail(err, LEAT_INVALID, "effect %llu is not a message", (unsigned long long)effect->sequence);
    const char *kind = leat_effect_kind_name(effect->kind);
    const rd_kafka_vu_t message[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = s->topic},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)m.key.data, m.key.length}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)m.value.data, m.value.length}},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"leat-event-id", m.headers[0].data, (ssize_t)m.headers[0].length}},
        {.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {"leat-kind", kind, (ssize_t)strlen(kind)}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)index},
    };
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(s->producer, message, sizeof message / sizeof *message);
        rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        if (!error) return LEAT_OK;
        rd_kafka_error_destroy(error);
        if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
            return leat_fail(err, LEAT_INVALID, "topic '%s': the message of %zu bytes is larger than message.max.bytes", s->topic, effect->payload_bytes);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) return leat_fail(err, LEAT_IO, "topic '%s': %s", s->topic, rd_kafka_err2str(code));
        if (*stop) return leat_fail(err, LEAT_CANCELLED, "stopping");
        rd_kafka_poll(s->producer, WAIT_MS);
    }
}

/* What a broker will never take, whenever it is sent. */
static bool refused(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_INVALID_MSG || code == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

/* Until all that was handed over is answered: message.timeout.ms sees to that. */
static enum leat_status await(struct kafka_sink *s, const atomic_int *stop, size_t *confirmed, struct leat_error *err) {
    while (s->answered < s->count && !*stop) rd_kafka_poll(s->producer, WAIT_MS);
    size_t done = 0;
    while (done < s->count && s->results[done] == RD_KAFKA_RESP_ERR_NO_ERROR) done++;
    *confirmed = done;
    if (done == s->count) return LEAT_OK;
    rd_kafka_resp_err_t code = s->results[done];
    if (code == RD_KAFKA_RESP_ERR__IN_PROGRESS) return leat_fail(err, LEAT_CANCELLED, "stopping");
    return leat_fail(err, refused(code) ? LEAT_INVALID : LEAT_IO, "topic '%s': %s", s->topic, rd_kafka_err2str(code));
}

static enum leat_status commit(struct kafka_sink *s, uint64_t sequence, const atomic_int *stop, struct leat_error *err) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(s->group);
    rd_kafka_topic_partition_list_add(list, s->topic, 0)->offset = (int64_t)sequence;
    rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(s->producer, list, group, CALL_MS);
    if (!error) error = patiently(rd_kafka_commit_transaction, s->producer, stop);
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return error ? fail(s, "the transaction is not committed", error, err) : LEAT_OK;
}

static enum leat_status hand_over(struct kafka_sink *s, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed,
                                  struct leat_error *err) {
    rd_kafka_error_t *error = s->transactions ? rd_kafka_begin_transaction(s->producer) : NULL;
    enum leat_status st = error ? fail(s, "no transaction begins", error, err) : LEAT_OK, refusal;
    s->results = leat_realloc(s->results, (count + 1) * sizeof *s->results);
    s->count = s->answered = 0;
    for (size_t i = 0; i < count; i++) s->results[i] = RD_KAFKA_RESP_ERR__IN_PROGRESS;
    while (st == LEAT_OK && s->count < count) {
        st = produce(s, &effects[s->count], s->count, stop, err);
        s->count += st == LEAT_OK;
        rd_kafka_poll(s->producer, 0);
    }
    if (st != LEAT_OK && st != LEAT_INVALID) return st;
    struct leat_error later = {0};
    refusal = st; /* of the one behind those that were handed over */
    st = await(s, stop, confirmed, &later);
    if (st != LEAT_OK && err) *err = later;
    if (st == LEAT_OK && s->transactions && *confirmed) st = commit(s, effects[*confirmed - 1].sequence, stop, err);
    if (s->transactions && st != LEAT_OK) *confirmed = 0; /* nothing of it counts */
    return st != LEAT_OK ? st : refusal;
}

/* A broker refuses whole batches, also for what one of their messages is, or for their size alone: only a change refused by itself is refused. So
 * fewer are tried, and then more again. */
static enum leat_status kafka_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop, size_t *confirmed,
                                      struct leat_error *err) {
    struct kafka_sink *s = self(base);
    *confirmed = 0;
    for (;;) {
        size_t n = count < s->most ? count : s->most;
        enum leat_status st = s->producer ? LEAT_OK : make_producer(s, stop, err);
        if (st == LEAT_OK) st = hand_over(s, effects, n, stop, confirmed, err);
        if (st == LEAT_OK) {
            s->most = s->most > SIZE_MAX / 2 ? SIZE_MAX : s->most * 2;
            return LEAT_OK;
        }
        drop_producer(s);
        if (st != LEAT_INVALID || n == 1 || *stop) return st == LEAT_INVALID && n > 1 ? leat_fail(err, LEAT_CANCELLED, "stopping") : st;
        s->most = n / 2;
        if (*confirmed) return LEAT_OK;
    }
}

const struct leat_sink_ops leat_sink_kafka = {
    .name = "kafka",
    .what = "sends changes to a Kafka topic, keyed by the primary key, as rows or as Debezium's events",
    .guarantee = "Exactly once for readers of what is committed: changes and how far the sink is are one transaction. Those of one key come in order. With "
                 "`delivery = 'at_least_once'`, and after a stop of more than the brokers' `offsets.retention.minutes` that ended in a crash, the last changes may come "
                 "again. Every message names its change in the header `leat-event-id`, the same when it comes again.",
    .shape = LEAT_SINK_EITHER,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .open = kafka_open,
    .encode = kafka_encode,
    .deliver = kafka_deliver,
    .progress = kafka_progress,
    .close = kafka_close,
};
