/* The Kafka source. See kafka_source.h. */
#include "connect/kafka_source.h"

#include "base/limits.h"
#include "connect/kafka_client.h"
#include "data/message.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BATCH = 16384, COMMIT_US = 5000000, COMMIT_WAIT_MS = 2000 };

struct kafka_source {
    struct leat_connector base;
    struct leat_env *env;
    char *name;
    bool messages;
    enum leat_start { START_EARLIEST, START_LATEST, START_TIME } start;
    size_t max_record_bytes;
    enum leat_change_feed feed;
    const char **split_columns; /* of a feed whose events may say several changes: names of the key's columns and of the sequence, borrowed */
    size_t split_count;
    struct leat_arena pieces;
    char **headers; /* that are included, in order */
    size_t header_count;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    struct leat_registry *registry; /* NULL: values need no schema of one */
    bool keys_need_schemas;
    uint32_t *schemas; /* that the registry's folder has */
    size_t schema_count;
    struct leat_kafka_watch *watch;
    int wake_fd;
    struct leat_kafka_table table;
    bool begun;               /* known partitions are assigned */
    bool first;               /* nothing was ever read: `start` says where to begin */
    uint64_t rounds;          /* of the watch, that reached a broker */
    rd_kafka_message_t **batch;
    size_t batch_at, batch_count;
    char *payload; /* of the next block */
    size_t payload_capacity, record_capacity;
    /* of the block that was given last: */
    uint32_t *starts, *ends;
    uint64_t *identities;
    bool away, away_told;     /* no broker answers */
    char trouble[256];        /* what is to be told, or empty */
    rd_kafka_resp_err_t told; /* the error that was told last */
    bool uncommitted, durable; /* positions that the group does not have; that may be committed */
    int64_t commit_due_us;
};

static struct kafka_source *self(struct leat_connector *c) {
    return (struct kafka_source *)(void *)c;
}

static int64_t now_us(const struct kafka_source *s) {
    return s->env->clock->monotonic_us(s->env->clock);
}

/* ---- positions ---- */

static uint16_t fingerprint_of(const rd_kafka_message_t *m) {
    int64_t timestamp = rd_kafka_message_timestamp(m, NULL);
    uint64_t hash = XXH3_64bits_withSeed(m->payload ? m->payload : "", m->len, (uint64_t)timestamp);
    hash = XXH3_64bits_withSeed(m->key ? m->key : "", m->key_len, hash);
    return (uint16_t)(hash % UINT16_MAX + 1);
}

static uint64_t pack_position(int64_t position, uint16_t fingerprint) {
    return (uint64_t)position << LEAT_KAFKA_FINGERPRINT_BITS | fingerprint;
}

static void resume_at(struct leat_kafka_partition *p, const struct leat_log_end *end) {
    p->next_offset = end->next_offset;
    if (end->position) {
        p->position = (int64_t)(end->position >> LEAT_KAFKA_FINGERPRINT_BITS);
        p->fingerprint = (uint16_t)end->position;
    } else {
        p->skip = end->next_offset;
    }
}

/* ---- opening and closing ---- */

static void on_error(rd_kafka_t *rk, int code, const char *why, void *context) {
    struct kafka_source *s = context;
    (void)rk;
    switch ((rd_kafka_resp_err_t)code) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        s->away = true;
        return;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
        if (s->told != (rd_kafka_resp_err_t)code) snprintf(s->trouble, sizeof s->trouble, "%s", why);
        s->told = (rd_kafka_resp_err_t)code;
        s->away = s->away_told = true;
        return;
    default:
        return; /* librdkafka tries again; ALL_BROKERS_DOWN follows where that does not help */
    }
}

static enum leat_status open_client(struct kafka_source *s, const struct leat_source *source, struct leat_error *err) {
    char *group = leat_asprintf("leat-%s", source->name), *owner = leat_asprintf("source \"%s\"", source->name);
    /* A wait of seconds costs no latency: a fetch is answered as soon as there is something. What is queued is memory touched, and several times its bytes: it
     * need last only while a fetch is under way. */
    const struct leat_kafka_property defaults[] = {{"group.id", group},
                                                   {"client.id", "leat"},
                                                   {"fetch.wait.max.ms", "2500"},
                                                   {"queued.min.messages", "1000000"},
                                                   {"queued.max.messages.kbytes", "16384"},
                                                   {"reconnect.backoff.max.ms", "2000"},
                                                   {"socket.timeout.ms", "10000"},
                                                   {NULL, NULL}};
    static const struct leat_kafka_property fixed[] = {{"enable.auto.commit", "false"},
                                                       {"enable.auto.offset.store", "false"},
                                                       {"auto.offset.reset", "error"},
                                                       {"enable.partition.eof", "true"},
                                                       {NULL, NULL}};
    rd_kafka_conf_t *conf;
    char why[512];
    uint64_t one = 1;
    enum leat_status st = leat_kafka_configure(owner, source->options, source->option_count, defaults, fixed, &conf, err);
    if (st != LEAT_OK) goto out;
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, s);
    s->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!s->rk) {
        rd_kafka_conf_destroy(conf);
        st = leat_fail(err, LEAT_INVALID, "%s: librdkafka cannot begin: %s", owner, why);
        goto out;
    }
    rd_kafka_poll_set_consumer(s->rk);
    s->queue = rd_kafka_queue_get_consumer(s->rk);
    rd_kafka_queue_io_event_enable(s->queue, s->wake_fd, &one, sizeof one);
out:
    free(group);
    free(owner);
    return st;
}

static void read_options(struct kafka_source *s, const struct leat_source *source) {
    const char *mode = leat_source_option(source, "scan.startup.mode");
    s->name = leat_strdup(source->name);
    s->messages = source->messages;
    s->start = !mode || !strcmp(mode, "earliest") ? START_EARLIEST : !strcmp(mode, "latest") ? START_LATEST : START_TIME;
    s->max_record_bytes = (size_t)leat_source_option_int(source, "max_line_bytes", (int64_t)LEAT_MIB);
    s->headers = leat_alloc((source->schema.field_count + 1) * sizeof *s->headers);
    for (size_t i = source->value_count; source->meta && i < source->schema.field_count; i++)
        if (source->meta[i] == LEAT_META_HEADER && s->header_count < LEAT_MESSAGE_HEADERS_MAX)
            s->headers[s->header_count++] = leat_strdup(source->source_names[i]);
    const char *sequence = leat_source_option(source, "sequence");
    int column = sequence ? leat_schema_find(&source->schema, sequence) : -1;
    s->feed = source->feed;
    s->split_columns = leat_alloc((source->primary_key_count + 1) * sizeof(char *));
    for (size_t i = 0; i < source->primary_key_count; i++)
        s->split_columns[s->split_count++] = source->source_names[source->primary_key[i]];
    if (column >= 0) s->split_columns[s->split_count++] = source->source_names[column];
}

static enum leat_status open_partitions(struct kafka_source *s, const char *state_dir, const struct leat_log_end *resume, size_t count,
                                        struct leat_error *err) {
    enum leat_status st = leat_io_mkdirs(s->env->io, state_dir, err);
    if (st == LEAT_OK) st = leat_kafka_table_open(s->env, state_dir, &s->table, err);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        struct leat_kafka_partition *found = NULL;
        for (size_t k = 0; k < s->table.count; k++)
            if (s->table.items[k].number == resume[i].partition) found = &s->table.items[k];
        if (!found && resume[i].next_offset)
            return leat_fail(err, LEAT_CORRUPT, "source \"%s\": the log has partition %u but %s does not; restore that file", s->name, resume[i].partition,
                             s->table.path);
        if (found) resume_at(found, &resume[i]);
    }
    s->first = s->table.count == 0;
    return st;
}

static void open_registry(struct kafka_source *s, const struct leat_source *source, const char *state_dir) {
    const char *url = leat_source_option(source, "schema.registry.url");
    if (!url || source->format != LEAT_FORMAT_AVRO) return;
    char *dir = leat_asprintf("%s/schemas", state_dir);
    s->registry = leat_registry_open(s->env->io, url, leat_source_option(source, "schema.registry.username"),
                                     leat_source_option(source, "schema.registry.password"), dir);
    s->keys_need_schemas = source->feed != LEAT_FEED_NONE;
    free(dir);
}

static void drop_batch(struct kafka_source *s) {
    while (s->batch_at < s->batch_count)
        rd_kafka_message_destroy(s->batch[s->batch_at++]);
}

static rd_kafka_topic_partition_list_t *positions(const struct kafka_source *s) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->table.count);
    for (size_t i = 0; i < s->table.count; i++) {
        const struct leat_kafka_partition *p = &s->table.items[i];
        if (!p->ended && p->assigned) rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->position;
    }
    return list;
}

/* The group learns how far leat is, for tools that watch lag; leat itself never reads it. queue NULL: nobody waits for it. */
static void commit(struct kafka_source *s, rd_kafka_queue_t *queue) {
    rd_kafka_topic_partition_list_t *list = positions(s);
    if (list->cnt && queue)
        rd_kafka_commit_queue(s->rk, list, queue, NULL, NULL);
    else if (list->cnt)
        rd_kafka_commit(s->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
    s->uncommitted = false;
    s->commit_due_us = now_us(s) + COMMIT_US;
}

static void last_commit(struct kafka_source *s) {
    if (!s->uncommitted || !s->durable || s->away) return;
    rd_kafka_queue_t *answer = rd_kafka_queue_new(s->rk);
    commit(s, answer);
    rd_kafka_event_destroy(rd_kafka_queue_poll(answer, COMMIT_WAIT_MS));
    rd_kafka_queue_destroy(answer);
}

static void kafka_close(struct leat_connector *connector) {
    struct kafka_source *s = self(connector);
    if (!s) return;
    leat_kafka_watch_close(s->watch);
    leat_registry_close(s->registry);
    free(s->schemas);
    if (s->rk) {
        drop_batch(s);
        last_commit(s);
        rd_kafka_queue_io_event_enable(s->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(s->queue);
        rd_kafka_destroy(s->rk);
    }
    if (s->wake_fd >= 0) close(s->wake_fd);
    leat_kafka_table_deinit(&s->table);
    for (size_t i = 0; i < s->header_count; i++)
        free(s->headers[i]);
    free(s->headers);
    free(s->split_columns);
    leat_arena_deinit(&s->pieces);
    free(s->batch);
    free(s->payload);
    free(s->starts);
    free(s->ends);
    free(s->identities);
    free(s->name);
    free(s);
}

static enum leat_status kafka_open(struct leat_env *env, const struct leat_source *source, const char *project_dir, const char *state_dir,
                                   const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    struct kafka_source *s = leat_alloc(sizeof *s);
    (void)project_dir;
    *out = NULL;
    s->base.ops = &leat_connector_kafka;
    s->env = env;
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    read_options(s, source);
    enum leat_status st = s->wake_fd < 0 ? leat_fail_errno(err, "eventfd", source->name) : open_partitions(s, state_dir, resume, resume_count, err);
    if (st == LEAT_OK) st = open_client(s, source, err);
    open_registry(s, source, state_dir);
    struct leat_kafka_watch_options watch = {.rk = s->rk,
                                             .clock = env->clock,
                                             .topics = leat_source_option(source, "topic"),
                                             .interval_us = leat_source_option_int(source, "metadata_interval", 30000000),
                                             .start_ms = s->start == START_TIME ? leat_source_option_int(source, "scan.startup.timestamp.millis", 0) : -1,
                                             .registry = s->registry,
                                             .wake_fd = s->wake_fd};
    if (st == LEAT_OK) st = leat_kafka_watch_open(&watch, &s->watch, err);
    if (st != LEAT_OK) {
        kafka_close(&s->base);
        return st;
    }
    s->batch = leat_alloc(BATCH * sizeof(rd_kafka_message_t *));
    *out = &s->base;
    return LEAT_OK;
}

/* ---- assigning ---- */

/* Read from its position on; assign_waiting does it. */
static void assign(struct leat_kafka_partition *p) {
    p->waiting = true;
    p->verify = p->fingerprint && p->position > 0;
    p->at_end = p->gone = false;
}

/* What was fetched of a partition before it is assigned anew may be of what it was. (librdkafka drops what it still has itself.) */
static void drop_fetched(struct kafka_source *s, const struct leat_kafka_partition *p) {
    size_t kept = s->batch_at;
    for (size_t i = s->batch_at; i < s->batch_count; i++) {
        rd_kafka_message_t *m = s->batch[i];
        if (m->rkt && m->partition == p->partition && strcmp(rd_kafka_topic_name(m->rkt), p->topic) == 0)
            rd_kafka_message_destroy(m);
        else
            s->batch[kept++] = m;
    }
    s->batch_count = kept;
}

/* All that wait, in one call: a fetch that is under way for some of a broker's partitions keeps the others waiting. */
static void assign_waiting(struct kafka_source *s) {
    rd_kafka_topic_partition_list_t *gone = rd_kafka_topic_partition_list_new(1), *come = rd_kafka_topic_partition_list_new(1);
    for (size_t i = 0; i < s->table.count; i++) {
        struct leat_kafka_partition *p = &s->table.items[i];
        if (!p->waiting) continue;
        if (p->assigned) {
            rd_kafka_topic_partition_list_add(gone, p->topic, p->partition);
            drop_fetched(s, p);
        }
        rd_kafka_topic_partition_list_add(come, p->topic, p->partition)->offset = p->position - p->verify;
        p->assigned = true;
        p->waiting = false;
    }
    if (gone->cnt) rd_kafka_error_destroy(rd_kafka_incremental_unassign(s->rk, gone));
    if (come->cnt) rd_kafka_error_destroy(rd_kafka_incremental_assign(s->rk, come));
    rd_kafka_topic_partition_list_destroy(gone);
    rd_kafka_topic_partition_list_destroy(come);
}

static void ask(struct kafka_source *s, struct leat_kafka_partition *p) {
    if (p->asked) return;
    p->asked = true;
    p->at_end = false;
    leat_kafka_watch_ask(s->watch, p->topic, p->partition);
}

static void begin(struct kafka_source *s) {
    s->begun = true;
    for (size_t i = 0; i < s->table.count; i++) {
        struct leat_kafka_partition *p = &s->table.items[i];
        leat_kafka_watch_know(s->watch, p->topic, p->partition);
        if (!p->ended) assign(p);
    }
    assign_waiting(s);
}

/* Where the partition is another one than it was: a new incarnation from its beginning. */
static enum leat_status begin_anew(struct kafka_source *s, struct leat_kafka_partition *p, int64_t low, struct leat_error *err) {
    char *topic = leat_strdup(p->topic);
    int32_t partition = p->partition;
    bool reached_end = p->reached_end;
    leat_log(s->env, LEAT_LOG_WARN,
             "source %s: topic '%s', partition %d is not the one it was (record %lld is gone or another one): it was re-created or cut off. What was "
             "read of it stays; it is read from its beginning, offset %lld, as a new partition",
             s->name, topic, partition, (long long)p->position - 1, (long long)low);
    p->ended = true;
    p = leat_kafka_table_add(&s->table, topic, partition, low);
    p->assigned = true; /* librdkafka has it, at another place */
    p->reached_end = reached_end;
    free(topic);
    assign(p);
    return leat_kafka_table_save(&s->table, err);
}

static enum leat_status take_ends(struct kafka_source *s, struct leat_kafka_partition *p, const struct leat_kafka_found *found, struct leat_error *err) {
    p->asked = false;
    if (p->position > found->high || p->replaced) return begin_anew(s, p, found->low, err);
    if (p->position < found->low) {
        leat_log(s->env, LEAT_LOG_WARN,
                 "source %s: topic '%s', partition %d no longer has records %lld to %lld: its retention removed them before leat read them. What bronze "
                 "has stays; reading goes on at %lld",
                 s->name, p->topic, p->partition, (long long)p->position, (long long)found->low - 1, (long long)found->low);
        p->position = found->low;
    }
    if (p->position == found->low) p->fingerprint = 0; /* the record before it has expired: it cannot be looked at */
    assign(p);
    return LEAT_OK;
}

static int64_t start_of(const struct kafka_source *s, const struct leat_kafka_found *found) {
    if (!s->first || s->start == START_EARLIEST) return found->low;
    return s->start == START_LATEST ? found->high : found->at_time;
}

/* What the watch found: all new partitions go into the table at once, before any of them is read. */
static enum leat_status take_found(struct kafka_source *s, struct leat_error *err) {
    struct leat_kafka_found *found;
    uint64_t rounds;
    char note[256];
    enum leat_status st = LEAT_OK;
    size_t count = leat_kafka_watch_take(s->watch, &found, &rounds, note), added = 0;
    if (note[0]) snprintf(s->trouble, sizeof s->trouble, "%s", note);
    for (size_t i = 0; i < count && st == LEAT_OK; i++) {
        struct leat_kafka_partition *p = leat_kafka_table_find(&s->table, found[i].topic, found[i].partition);
        if (p && p->asked) st = take_ends(s, p, &found[i], err);
        if (p) continue;
        p = leat_kafka_table_add(&s->table, found[i].topic, found[i].partition, start_of(s, &found[i]));
        p->reached_end = p->position >= found[i].high;
        assign(p);
        added++;
    }
    if (added && st == LEAT_OK) st = leat_kafka_table_save(&s->table, err);
    if (st == LEAT_OK && count) assign_waiting(s);
    for (size_t i = 0; i < count; i++)
        free(found[i].topic);
    free(found);
    if (added) s->first = false;
    s->rounds = rounds;
    return st;
}

/* ---- messages that are none ---- */

static void answered(struct kafka_source *s) {
    if (s->away && s->away_told) leat_log(s->env, LEAT_LOG_WARN, "source %s: the brokers answer again", s->name);
    s->away = s->away_told = false;
    s->told = RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void differs(struct kafka_source *s, struct leat_kafka_partition *p) {
    p->replaced = true;
    ask(s, p);
}

static void take_event(struct kafka_source *s, struct leat_kafka_partition *p, const rd_kafka_message_t *m) {
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        answered(s);
        if (p->asked) return;
        if (p->verify && m->offset < p->position) { /* the record before our position is not there */
            differs(s, p);
            return;
        }
        p->verify = false; /* it was compacted away: nothing can be told */
        p->at_end = p->reached_end = true;
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        ask(s, p);
        return;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        p->gone = true;
        ask(s, p);
        return;
    default:
        p->at_end = false;
        if (s->told == m->err) return;
        s->told = m->err;
        snprintf(s->trouble, sizeof s->trouble, "topic '%s', partition %d: %s; leat goes on trying", p->topic, p->partition, rd_kafka_message_errstr(m));
    }
}

/* False: the message is nothing new. */
static bool is_new(struct kafka_source *s, struct leat_kafka_partition *p, const rd_kafka_message_t *m) {
    if (p->asked) return false; /* where to go on is being found out */
    if (p->verify) {
        p->verify = false;
        if (m->offset == p->position - 1) {
            if (fingerprint_of(m) != p->fingerprint) differs(s, p);
            return false;
        }
    }
    if (m->offset < p->position) return false;
    if (!p->skip) return true;
    p->skip--;
    p->position = m->offset + 1;
    return false;
}

/* ---- blocks ---- */

static size_t value_bytes(const struct kafka_source *s, const rd_kafka_message_t *m) {
    return m->len > s->max_record_bytes ? s->max_record_bytes + 1 : m->len;
}

/* Of a message too large for a record only so much is kept, as a dead letter. */
static struct leat_bytes bytes_of(const void *data, size_t length) {
    enum { BESIDE_BYTES_MAX = 1 << 20 };
    return (struct leat_bytes){data, length > BESIDE_BYTES_MAX ? BESIDE_BYTES_MAX : length};
}

static void read_message(const struct kafka_source *s, const rd_kafka_message_t *m, struct leat_message *out) {
    int64_t timestamp_ms = rd_kafka_message_timestamp(m, NULL);
    rd_kafka_headers_t *headers = NULL;
    if (s->header_count) rd_kafka_message_headers(m, &headers);
    out->partition = m->partition;
    out->offset = m->offset;
    out->timestamp_us = timestamp_ms < 0 ? -1 : timestamp_ms * 1000;
    out->key = m->key ? bytes_of(m->key, m->key_len) : (struct leat_bytes){0};
    out->value = (struct leat_bytes){m->payload, value_bytes(s, m)};
    out->header_count = s->header_count;
    for (size_t i = 0; i < s->header_count; i++) {
        const void *data;
        size_t length;
        bool there = headers && rd_kafka_header_get_last(headers, s->headers[i], &data, &length) == RD_KAFKA_RESP_ERR_NO_ERROR && data;
        out->headers[i] = there ? bytes_of(data, length) : (struct leat_bytes){0};
    }
}

/* An event that says several changes becomes as many records, all in one block. 0: it is one. The pieces are good until the next run. */
static size_t split(struct kafka_source *s, const rd_kafka_message_t *m, struct leat_bytes **pieces) {
    if ((s->feed != LEAT_FEED_CANAL && s->feed != LEAT_FEED_MAXWELL) || m->len > s->max_record_bytes) return 0;
    size_t count = leat_change_event_split(s->feed, (struct leat_bytes){m->payload, m->len}, s->split_columns, s->split_count, &s->pieces, pieces), bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += (*pieces)[i].length + m->key_len + LEAT_MESSAGE_LINE_MAX;
    return bytes < LEAT_BLOCK_MAX / 2 ? count : 0;
}

static size_t record_size(struct kafka_source *s, const rd_kafka_message_t *m, size_t *records) {
    struct leat_message message;
    struct leat_bytes *pieces;
    *records = 1;
    if (!s->messages) return value_bytes(s, m) + 1;
    read_message(s, m, &message);
    size_t count = split(s, m, &pieces), bytes = 0;
    if (!count) return leat_message_size(&message) + 1;
    *records = count;
    for (size_t i = 0; i < count; i++) {
        message.value = pieces[i];
        bytes += leat_message_size(&message) + 1;
    }
    return bytes;
}

static void reserve_payload(struct kafka_source *s, size_t bytes) {
    if (bytes + LEAT_PAYLOAD_SLACK <= s->payload_capacity) return;
    s->payload_capacity = bytes + LEAT_PAYLOAD_SLACK;
    free(s->payload);
    s->payload = leat_realloc(NULL, s->payload_capacity);
}

static void reserve_records(struct kafka_source *s, size_t records) {
    if (records <= s->record_capacity) return;
    s->record_capacity = records < BATCH ? BATCH : records;
    s->starts = leat_realloc(s->starts, s->record_capacity * sizeof *s->starts);
    s->ends = leat_realloc(s->ends, s->record_capacity * sizeof *s->ends);
    s->identities = leat_realloc(s->identities, s->record_capacity * sizeof *s->identities);
}

/* `length` bytes are at the payload's end. */
static void end_record(struct kafka_source *s, const rd_kafka_message_t *m, size_t length, struct leat_block *block) {
    s->payload[block->payload_bytes + length] = '\n';
    s->starts[block->record_count] = (uint32_t)block->payload_bytes;
    s->ends[block->record_count] = (uint32_t)(block->payload_bytes + length);
    s->identities[block->record_count++] = (uint64_t)m->offset;
    block->payload_bytes += length + 1;
}

static void put_records(struct kafka_source *s, const rd_kafka_message_t *m, struct leat_block *block) {
    struct leat_message message;
    struct leat_bytes *pieces;
    size_t length = value_bytes(s, m);
    if (!s->messages) {
        if (length) memcpy(s->payload + block->payload_bytes, m->payload, length);
        end_record(s, m, length, block);
        return;
    }
    read_message(s, m, &message);
    size_t count = split(s, m, &pieces);
    for (size_t i = 0; i < (count ? count : 1); i++) {
        if (count) message.value = pieces[i];
        end_record(s, m, leat_message_write(&message, s->payload + block->payload_bytes), block);
    }
}

/* ---- schemas: a record is taken when its schema is on disk ---- */

static bool has_schema(struct kafka_source *s, const void *data, size_t length) {
    enum { FRAME_BYTES = 5 };
    const unsigned char *head = data;
    if (length < FRAME_BYTES || *head) return true; /* not framed: the decoder says so */
    uint32_t id = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
    for (size_t i = 0; i < s->schema_count; i++)
        if (s->schemas[i] == id) return true;
    if (!leat_registry_has(s->registry, id)) {
        leat_kafka_watch_ask_schema(s->watch, id);
        return false;
    }
    s->schemas = leat_realloc(s->schemas, (s->schema_count + 1) * sizeof *s->schemas);
    s->schemas[s->schema_count++] = id;
    return true;
}

static bool has_schemas(struct kafka_source *s, const rd_kafka_message_t *m) {
    return !s->registry || (has_schema(s, m->payload, m->len) && (!s->keys_need_schemas || has_schema(s, m->key, m->key_len)));
}

static struct leat_kafka_partition *partition_of(struct kafka_source *s, const rd_kafka_message_t *m) {
    return m->rkt ? leat_kafka_table_find(&s->table, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
}

static bool same_place(const rd_kafka_message_t *a, const rd_kafka_message_t *b) {
    return a->rkt == b->rkt && a->partition == b->partition;
}

/* How many of the waiting messages, from the first, go into one block, and their size. */
static size_t run_length(struct kafka_source *s, size_t max_bytes, size_t *bytes, size_t *records) {
    size_t end = s->batch_at, limit = max_bytes < LEAT_BLOCK_MAX ? max_bytes : LEAT_BLOCK_MAX;
    const rd_kafka_message_t *first = s->batch[s->batch_at];
    for (*bytes = *records = 0; end < s->batch_count && !s->batch[end]->err && same_place(first, s->batch[end]); end++) {
        size_t count, size = record_size(s, s->batch[end], &count);
        if (end > s->batch_at && (*bytes + size > limit || *records + count > LEAT_BLOCK_RECORDS_MAX || !has_schemas(s, s->batch[end]))) break;
        *bytes += size;
        *records += count;
    }
    return end - s->batch_at;
}

/* The next run of one partition's messages as a block; without records when there was nothing new in it. */
static void take_run(struct kafka_source *s, size_t max_bytes, struct leat_block *out) {
    struct leat_kafka_partition *p = partition_of(s, s->batch[s->batch_at]);
    size_t bytes, records, count = run_length(s, max_bytes, &bytes, &records);
    const rd_kafka_message_t *last = NULL;
    reserve_payload(s, bytes);
    reserve_records(s, records);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_message_t *m = s->batch[s->batch_at + i];
        if (!p || !is_new(s, p, m)) continue;
        put_records(s, last = m, out);
        p->position = m->offset + 1;
    }
    if (last) {
        p->fingerprint = fingerprint_of(last);
        p->at_end = false;
        out->partition = p->number;
        out->base_offset = p->next_offset;
        out->position = pack_position(p->position, p->fingerprint);
        memset(s->payload + out->payload_bytes, 0, LEAT_PAYLOAD_SLACK);
        out->payload = out->owned = s->payload;
        s->payload = NULL;
        s->payload_capacity = 0;
        out->starts = s->starts;
        out->ends = s->ends;
        out->identities = s->identities;
        p->next_offset += out->record_count;
        s->uncommitted = true;
        s->durable = false;
        answered(s);
    }
    for (size_t i = 0; i < count; i++)
        rd_kafka_message_destroy(s->batch[s->batch_at++]);
    leat_arena_reset(&s->pieces);
}

static void fill_batch(struct kafka_source *s) {
    ssize_t got = rd_kafka_consume_batch_queue(s->queue, 0, s->batch, BATCH);
    s->batch_at = 0;
    s->batch_count = got > 0 ? (size_t)got : 0;
}

/* The end as the last fetch's answer said it; librdkafka's own word for it comes only with an empty answer, after fetch.wait.max.ms. */
static void look_for_ends(struct kafka_source *s) {
    for (size_t i = 0; i < s->table.count; i++) {
        struct leat_kafka_partition *p = &s->table.items[i];
        int64_t low, high = -1;
        if (p->ended || p->at_end || !p->assigned || p->asked || p->verify) continue;
        if (rd_kafka_get_watermark_offsets(s->rk, p->topic, p->partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        if (high >= 0 && p->position >= high) p->at_end = p->reached_end = true;
    }
}

static enum leat_status tell(struct kafka_source *s, struct leat_error *err) {
    leat_fail(err, LEAT_IO, "%s", s->trouble);
    if (err) err->retriable = true;
    s->trouble[0] = 0;
    return LEAT_IO;
}

static enum leat_status kafka_poll(struct leat_connector *connector, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct kafka_source *s = self(connector);
    eventfd_t woken;
    *out = (struct leat_block){0};
    if (eventfd_read(s->wake_fd, &woken) < 0) woken = 0; /* nothing to read: it was not what woke us */
    if (!s->begun) begin(s);
    enum leat_status st = take_found(s, err);
    if (st != LEAT_OK) return st;
    for (;;) {
        if (s->batch_at == s->batch_count) fill_batch(s);
        if (s->batch_at == s->batch_count) break;
        rd_kafka_message_t *m = s->batch[s->batch_at];
        if (!m->err && !has_schemas(s, m)) break;
        if (!m->err) {
            take_run(s, max_bytes, out);
            if (out->record_count) return LEAT_OK;
            continue;
        }
        struct leat_kafka_partition *p = partition_of(s, m);
        if (p) take_event(s, p, m);
        rd_kafka_message_destroy(m);
        s->batch_at++;
    }
    look_for_ends(s);
    if (s->away && !s->away_told) {
        s->away_told = true;
        snprintf(s->trouble, sizeof s->trouble, "no broker answers; leat goes on trying, and has lost nothing");
    }
    if (s->trouble[0]) return tell(s, err);
    if (s->uncommitted && s->durable && now_us(s) >= s->commit_due_us && !s->away) commit(s, NULL);
    return LEAT_END;
}

static void kafka_synced(struct leat_connector *connector) {
    struct kafka_source *s = self(connector);
    s->durable = true;
    if (s->uncommitted && now_us(s) >= s->commit_due_us && !s->away) commit(s, NULL);
}

static bool kafka_finished(struct leat_connector *connector) {
    (void)connector;
    return false;
}

/* A partition that is there and was not read to its end (since the start, or as far as is known now). */
static bool any_open(const struct kafka_source *s, bool since_start) {
    for (size_t i = 0; i < s->table.count; i++) {
        const struct leat_kafka_partition *p = &s->table.items[i];
        if (!p->ended && !(since_start ? p->reached_end : p->at_end)) return true;
    }
    return !s->rounds || s->batch_at < s->batch_count;
}

static bool kafka_caught_up(struct leat_connector *connector) {
    const struct kafka_source *s = self(connector);
    return !s->away && !any_open(s, false);
}

static bool kafka_behind(struct leat_connector *connector) {
    return any_open(self(connector), true);
}

static int64_t kafka_next_poll_us(struct leat_connector *connector) {
    const struct kafka_source *s = self(connector);
    if (!s->begun) return 0;
    if (!s->uncommitted || s->away) return -1;
    int64_t left = s->commit_due_us - now_us(s);
    return left > 0 ? left : 0;
}

static int kafka_wake_fd(struct leat_connector *connector) {
    return self(connector)->wake_fd;
}

/* ---- a lost work folder ---- */

static uint64_t kafka_revision(struct leat_connector *connector) {
    return self(connector)->table.revision;
}

static void kafka_describe(struct leat_connector *connector, struct leat_buffer *out) {
    leat_kafka_table_print(&self(connector)->table, out);
}

static enum leat_status kafka_restore(struct leat_env *env, const char *state_dir, const char *text, size_t length, struct leat_error *err) {
    char *path = leat_asprintf("%s/partitions.json", state_dir);
    enum leat_status st = leat_io_write_durable(env->io, path, text, length, true, err);
    free(path);
    return st;
}

static void kafka_place(struct leat_connector *connector, uint32_t partition, uint64_t identity, uint64_t behind) {
    struct kafka_source *s = self(connector);
    for (size_t i = 0; i < s->table.count; i++) {
        struct leat_kafka_partition *p = &s->table.items[i];
        if (p->number != partition || p->fingerprint || !p->skip) continue;
        bool one_each = s->feed != LEAT_FEED_CANAL && s->feed != LEAT_FEED_MAXWELL;
        p->position = (int64_t)identity + 1;
        p->skip = one_each ? behind : 0; /* dead changes of an event whose others are not: what follows must not be left out for them */
    }
}

const struct leat_connector_ops leat_connector_kafka = {
    .name = "kafka",
    .open = kafka_open,
    .poll = kafka_poll,
    .synced = kafka_synced,
    .finished = kafka_finished,
    .caught_up = kafka_caught_up,
    .behind = kafka_behind,
    .next_poll_us = kafka_next_poll_us,
    .wake_fd = kafka_wake_fd,
    .close = kafka_close,
    .revision = kafka_revision,
    .describe = kafka_describe,
    .restore = kafka_restore,
    .place = kafka_place,
};
