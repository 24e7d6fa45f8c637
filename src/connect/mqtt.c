/* The MQTT source: messages of topics, by libmosquitto over MQTT 3.1.1.
 *
 * A message counts as taken by the broker when it has our PUBACK, which must not leave before the message is durable here. libmosquitto makes a PUBACK before
 * it tells us of the message, but, told that threads are ours, only puts it into its queue; and it writes nothing but when it is asked to
 * (mosquitto_loop_write). So: what was read is given as a block, and the queue is written only when everything read is synced. The session at the
 * broker is persistent: what was not acknowledged comes again, also to another start of leat. It is then a record more: at least once.
 *
 * One thread at a time: that of the intake. Partition 0; a record is the payload, or, with INCLUDE topic, a message (data/message.h) whose key is the topic. */
#include <mosquitto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "connect/connector.h"
#include "data/message.h"

#define PAUSE_MIN_US INT64_C(1000000)
#define PAUSE_MAX_US INT64_C(60000000)
#define QUIET_US INT64_C(500000)
enum { PIECE_BYTES = 4 << 20, BLOCK_RECORDS = 64 << 10, FILTERS_MAX = 100 };

struct mqtt_source {
    struct leat_connector base;
    struct leat_env *env;
    const struct leat_source *def;
    char **filters; /* of topics */
    int filter_count;
    size_t max_line_bytes;
    int64_t timeout_us, keepalive_us;

    struct mosquitto *client; /* NULL: not connected */
    bool connected, subscribed;
    bool known;               /* this start's subscriptions are in the broker's session */
    int64_t since_us, heard_us, retry_us, pause_us; /* monotonic */
    atomic_int up_to_date;    /* subscribed, and nothing came for a moment: what the broker had kept is here; looked at from the engine's thread, too */
    bool unsynced;            /* messages were given that are not durable: nothing is written */
    char problem[256];        /* what a callback has found; empty: nothing */
    struct leat_error held;   /* behind records that were given first */
    uint64_t next_offset;
    struct leat_block *block; /* that is filled */
    struct leat_buffer payload;
    uint32_t *starts, *ends;
    size_t capacity;
};

static struct mqtt_source *self(struct leat_connector *c) {
    return (struct mqtt_source *)(void *)c;
}

static int64_t now(const struct mqtt_source *s) {
    return s->env->clock->monotonic_us(s->env->clock);
}

/* ---- What the library tells (from within mosquitto_loop_read) ---- */

/* Subscribing once a start is enough where the broker still has the session; again, it would send retained messages again. */
static void on_connect(struct mosquitto *client, void *context, int code, int flags) {
    struct mqtt_source *s = context;
    int qos = (int)leat_source_option_int(s->def, "qos", 1);
    s->connected = code == 0;
    s->heard_us = now(s); /* what the broker has kept comes from here on */
    s->subscribed = s->connected && (flags & 1) && s->known;
    if (s->subscribed) return;
    if (s->connected && !(flags & 1) && (s->known || s->next_offset))
        leat_log(s->env, LEAT_LOG_WARN, "source %s: MQTT: the broker has no session of '%s' any more: messages that it had kept for it, if any, are lost", s->def->name,
                 leat_source_option(s->def, "client_id"));
    if (code) snprintf(s->problem, sizeof s->problem, "the broker does not let us in: %s", mosquitto_connack_string(code));
    else if (mosquitto_subscribe_multiple(client, NULL, s->filter_count, s->filters, qos, 0, NULL) != MOSQ_ERR_SUCCESS)
        snprintf(s->problem, sizeof s->problem, "subscribing failed");
}

static void on_subscribe(struct mosquitto *client, void *context, int message, int count, const int *granted) {
    struct mqtt_source *s = context;
    int qos = (int)leat_source_option_int(s->def, "qos", 1);
    (void)client;
    (void)message;
    for (int i = 0; i < count; i++)
        if (granted[i] <= 2 && granted[i] < qos)
            snprintf(s->problem, sizeof s->problem, "the broker grants QoS %d for '%s', with which messages are lost while leat is not connected; have it grant %d, or say "
                     "qos = %d", granted[i], i < s->filter_count ? s->filters[i] : "?", qos, granted[i]);
        else if (granted[i] > 2) snprintf(s->problem, sizeof s->problem, "the broker does not let us subscribe to '%s'", i < s->filter_count ? s->filters[i] : "?");
    s->subscribed = s->known = !*s->problem;
    s->heard_us = now(s);
}

static void reserve_record(struct mqtt_source *s) {
    if (s->block->record_count < s->capacity) return;
    s->capacity = s->capacity ? 2 * s->capacity : 1024;
    s->starts = leat_realloc(s->starts, s->capacity * sizeof *s->starts);
    s->ends = leat_realloc(s->ends, s->capacity * sizeof *s->ends);
}

static void on_message(struct mosquitto *client, void *context, const struct mosquitto_message *in) {
    struct mqtt_source *s = context;
    size_t length = in->payloadlen > 0 ? (size_t)in->payloadlen : 0, from = s->payload.length;
    struct leat_message message = {.timestamp_us = -1, .key = {in->topic, strlen(in->topic)}, .value = {length ? in->payload : "", length}};
    (void)client;
    s->heard_us = now(s);
    if (length > s->max_line_bytes) message.value.length = length = s->max_line_bytes + 1; /* a dead letter with its beginning */
    reserve_record(s);
    if (s->def->messages) {
        char *record = leat_alloc(leat_message_size(&message));
        leat_putn(&s->payload, record, leat_message_write(&message, record));
        free(record);
    } else {
        leat_putn(&s->payload, message.value.data, length);
    }
    s->starts[s->block->record_count] = (uint32_t)from;
    s->ends[s->block->record_count++] = (uint32_t)s->payload.length;
    leat_putn(&s->payload, "\n", 1);
}

/* ---- The connection ---- */

static void hang_up(struct mqtt_source *s) {
    if (s->client) mosquitto_destroy(s->client);
    s->client = NULL;
    s->connected = s->subscribed = false;
}

static enum leat_status fail(struct mqtt_source *s, const char *what, int code, struct leat_error *err) {
    leat_fail(err, LEAT_IO, "MQTT: %s%s%s", what, code == MOSQ_ERR_SUCCESS ? "" : ": ", code == MOSQ_ERR_SUCCESS ? "" : mosquitto_strerror(code));
    err->retriable = true;
    hang_up(s);
    *s->problem = 0;
    s->retry_us = now(s) + s->pause_us;
    s->pause_us = s->pause_us * 2 < PAUSE_MAX_US ? s->pause_us * 2 : PAUSE_MAX_US;
    return LEAT_IO;
}

static int set_up_tls(struct mqtt_source *s) {
    const char *ca = leat_source_option(s->def, "ca_file"), *certificate = leat_source_option(s->def, "cert_file"), *key = leat_source_option(s->def, "key_file");
    if (!leat_source_option_int(s->def, "tls", 0)) return MOSQ_ERR_SUCCESS;
    if (!ca) mosquitto_int_option(s->client, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    int code = ca || certificate ? mosquitto_tls_set(s->client, ca, ca ? NULL : "/etc/ssl/certs", certificate, key, NULL) : MOSQ_ERR_SUCCESS;
    return code != MOSQ_ERR_SUCCESS ? code : mosquitto_tls_opts_set(s->client, 1, NULL, NULL);
}

static enum leat_status dial(struct mqtt_source *s, struct leat_error *err) {
    const char *user = leat_source_option(s->def, "username");
    bool tls = leat_source_option_int(s->def, "tls", 0) != 0;
    s->client = mosquitto_new(leat_source_option(s->def, "client_id"), false, s);
    if (!s->client) return fail(s, "no client can be made (is client_id valid?)", MOSQ_ERR_SUCCESS, err);
    mosquitto_threaded_set(s->client, true);
    mosquitto_connect_with_flags_callback_set(s->client, on_connect);
    mosquitto_subscribe_callback_set(s->client, on_subscribe);
    mosquitto_message_callback_set(s->client, on_message);
    int code = user ? mosquitto_username_pw_set(s->client, user, leat_source_option(s->def, "password")) : MOSQ_ERR_SUCCESS;
    if (code == MOSQ_ERR_SUCCESS) code = set_up_tls(s);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_connect_async(s->client, leat_source_option(s->def, "host"), (int)leat_source_option_int(s->def, "port", tls ? 8883 : 1883),
                                       (int)(s->keepalive_us / 1000000));
    s->since_us = s->heard_us = now(s);
    return code == MOSQ_ERR_SUCCESS ? LEAT_OK : fail(s, "no connection", code, err);
}

/* TLS has taken bytes from the socket that nobody has read: the socket wakes nobody for them. */
static bool kept_by_tls(const struct mqtt_source *s) {
    SSL *tls = s->client ? mosquitto_ssl_get(s->client) : NULL;
    return tls && SSL_pending(tls) > 0;
}

/* Reads what is there, up to max_bytes. */
static int read_messages(struct mqtt_source *s, size_t max_bytes) {
    int code = MOSQ_ERR_SUCCESS;
    for (bool more = true; more && code == MOSQ_ERR_SUCCESS && !*s->problem && s->payload.length < max_bytes && s->block->record_count < BLOCK_RECORDS;) {
        size_t had = s->payload.length;
        code = mosquitto_loop_read(s->client, 1);
        more = had != s->payload.length || kept_by_tls(s);
    }
    return code;
}

static enum leat_status exchange(struct mqtt_source *s, size_t max_bytes, struct leat_error *err) {
    int code = mosquitto_loop_misc(s->client);
    if (code == MOSQ_ERR_SUCCESS && mosquitto_want_write(s->client)) code = mosquitto_loop_write(s->client, 1); /* everything read is synced */
    if (code == MOSQ_ERR_SUCCESS) code = read_messages(s, max_bytes);
    if (code == MOSQ_ERR_SUCCESS && !s->block->record_count && mosquitto_want_write(s->client)) code = mosquitto_loop_write(s->client, 1);
    if (*s->problem) return fail(s, s->problem, MOSQ_ERR_SUCCESS, err);
    if (code == MOSQ_ERR_KEEPALIVE) return fail(s, "the broker does not answer a ping (keepalive)", MOSQ_ERR_SUCCESS, err); /* mosquitto_strerror does not know it */
    if (code != MOSQ_ERR_SUCCESS) return fail(s, "the connection is lost", code, err);
    if (!s->subscribed && now(s) - s->since_us > s->timeout_us) return fail(s, "the broker says nothing within the time allowed", MOSQ_ERR_SUCCESS, err);
    if (s->subscribed) s->pause_us = PAUSE_MIN_US;
    if (s->subscribed && now(s) - s->heard_us > QUIET_US) s->up_to_date = true;
    return LEAT_OK;
}

static void finish_block(struct mqtt_source *s, struct leat_block *out) {
    out->payload_bytes = s->payload.length;
    for (int i = 0; i < LEAT_PAYLOAD_SLACK; i++) leat_putn(&s->payload, "", 1);
    out->payload = s->payload.data;
    out->starts = s->starts;
    out->ends = s->ends;
    out->position = s->next_offset += out->record_count;
    s->unsynced = true;
}

static enum leat_status mqtt_poll(struct leat_connector *c, size_t max_bytes, struct leat_block *out, struct leat_error *err) {
    struct mqtt_source *s = self(c);
    *out = (struct leat_block){.base_offset = s->next_offset};
    enum leat_status st = s->held.status;
    if (st != LEAT_OK) {
        *err = s->held;
        s->held = (struct leat_error){0};
        return st;
    }
    if (s->unsynced || (!s->client && now(s) < s->retry_us)) return LEAT_END;
    leat_buffer_reset(&s->payload);
    s->block = out;
    if (!s->client) st = dial(s, err);
    if (st == LEAT_OK) st = exchange(s, max_bytes < PIECE_BYTES ? max_bytes : PIECE_BYTES, err);
    if (!out->record_count) return st == LEAT_OK ? LEAT_END : st;
    if (st != LEAT_OK) s->held = *err; /* the records first */
    finish_block(s, out);
    return LEAT_OK;
}

static void mqtt_synced(struct leat_connector *c) {
    self(c)->unsynced = false;
}

/* ---- Opening ---- */

static void mqtt_close(struct leat_connector *c) {
    struct mqtt_source *s = self(c);
    if (s->client && s->connected && !s->unsynced) { /* acknowledges what is synced */
        mosquitto_disconnect(s->client);
        mosquitto_loop_write(s->client, 1);
    }
    hang_up(s);
    leat_buffer_deinit(&s->payload);
    for (int i = 0; i < s->filter_count; i++) free(s->filters[i]);
    free(s->filters);
    free(s->starts);
    free(s->ends);
    free(s);
}

static void init_library(void) {
    mosquitto_lib_init();
}

/* The topics, separated by commas; false: one is none, or there are too many. */
static bool read_filters(struct mqtt_source *s, const char *text) {
    s->filters = leat_alloc((FILTERS_MAX + 1) * sizeof *s->filters);
    for (; *text; text += strcspn(text, ","), text += *text == ',') {
        size_t skip = strspn(text, " "), length;
        text += skip;
        length = strcspn(text, ",");
        while (length && text[length - 1] == ' ') length--;
        if (s->filter_count == FILTERS_MAX) return false;
        s->filters[s->filter_count++] = leat_strndup(text, length);
        if (mosquitto_sub_topic_check(s->filters[s->filter_count - 1]) != MOSQ_ERR_SUCCESS) return false;
    }
    return s->filter_count > 0;
}

static enum leat_status mqtt_open(struct leat_env *env, const struct leat_source *def, const char *project_dir, const char *state_dir,
                                  const struct leat_log_end *resume, size_t resume_count, struct leat_connector **out, struct leat_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct mqtt_source *s = leat_alloc(sizeof *s);
    (void)project_dir;
    (void)state_dir;
    pthread_once(&once, init_library);
    s->base.ops = &leat_connector_mqtt;
    s->env = env;
    s->def = def;
    s->max_line_bytes = (size_t)leat_source_option_int(def, "max_line_bytes", (int64_t)LEAT_MIB);
    s->timeout_us = leat_source_option_int(def, "timeout", 30000000);
    s->keepalive_us = leat_source_option_int(def, "keepalive", 60000000);
    s->pause_us = PAUSE_MIN_US;
    if (resume_count) s->next_offset = resume[0].next_offset;
    if (!read_filters(s, leat_source_option(def, "topic"))) {
        mqtt_close(&s->base);
        return leat_fail(err, LEAT_INVALID, "source \"%s\": topic '%s' is no list of MQTT topics", def->name, leat_source_option(def, "topic"));
    }
    *out = &s->base;
    return LEAT_OK;
}

static bool mqtt_finished(struct leat_connector *c) {
    (void)c;
    return false;
}

static bool mqtt_behind(struct leat_connector *c) {
    return !self(c)->up_to_date;
}

static bool mqtt_caught_up(struct leat_connector *c) {
    const struct mqtt_source *s = self(c);
    return s->subscribed && s->up_to_date;
}

static int64_t mqtt_next_poll_us(struct leat_connector *c) {
    const struct mqtt_source *s = self(c);
    int64_t left = s->retry_us - now(s);
    if (s->held.status != LEAT_OK) return 0;
    if (!s->client) return left > 1000 ? left : 1000;
    if (kept_by_tls(s) && !s->unsynced) return 0;
    if (mosquitto_want_write(s->client)) return QUIET_US / 50; /* the socket takes no more just now */
    return !s->up_to_date || !s->subscribed ? QUIET_US / 5 : s->keepalive_us / 4;
}

static int mqtt_wake_fd(struct leat_connector *c) {
    const struct mqtt_source *s = self(c);
    return s->client ? mosquitto_socket(s->client) : -1;
}

const struct leat_connector_ops leat_connector_mqtt = {
    .name = "mqtt",
    .open = mqtt_open,
    .poll = mqtt_poll,
    .synced = mqtt_synced,
    .finished = mqtt_finished,
    .caught_up = mqtt_caught_up,
    .behind = mqtt_behind,
    .next_poll_us = mqtt_next_poll_us,
    .wake_fd = mqtt_wake_fd,
    .close = mqtt_close,
    .prompt = true,
};
