/* The `redis` sink (Redis, Valkey): each row of a keyed table under a key of its own, and how far they are, in one transaction.
 *
 * WATCH on the progress key makes the transaction fail that a killed leat had sent when a newer one has written since, so that nothing old
 * comes after something new. Depends on hiredis. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "connect/sink.h"
#include "connect/sink_redis.h"
#include "project/tables.h"
#include "data/value_text.h"

static const char *const formats[] = {"hash", "json", NULL};
static const struct leat_option_spec options[] = {
    {.name = "host", .type = LEAT_OPTION_TEXT, .default_text = "127.0.0.1", .prose = "The server."},
    {.name = "port", .type = LEAT_OPTION_INT, .min = 1, .max = 65535, .default_text = "6379", .prose = "Its port."},
    {.name = "username", .type = LEAT_OPTION_TEXT, .prose = "For servers with users (ACL)."},
    {.name = "password", .type = LEAT_OPTION_SECRET, .prose = "The password."},
    LEAT_TLS_OPTIONS,
    {.name = "db", .type = LEAT_OPTION_INT, .min = 0, .max = 1000000, .default_text = "0", .prose = "The number of the database."},
    {.name = "prefix",
     .type = LEAT_OPTION_TEXT,
     .prose = "What keys begin with; the key's values follow, with `:` between them (in them `:` and `%` are written `%3A` and `%25`; NULL is `%`). Left out: "
              "the table's name and `:`."},
    {.name = "format", .type = LEAT_OPTION_ENUM, .choices = formats, .default_text = "hash", .prose = "`hash`: a field a column, without those that are NULL; `json`: one string."},
    {.name = "timeout",
     .type = LEAT_OPTION_INTERVAL,
     .min = 10000,
     .max = INT64_C(600000000),
     .default_text = "5 seconds",
     .prose = "How long connecting, and each answer, may take."},
};

struct redis {
    struct leat_sink base;
    const struct leat_sink_context *context;
    redisContext *link;
    struct leat_redis_tls *tls; /* NULL: without */
    char *prefix, *progress_key;
    bool json;
    uint64_t known;           /* what the progress key says */
    struct leat_changes rows;
    struct leat_buffer key, values;
    size_t *ends;             /* per column: where its value ends in `values` */
};

static enum leat_status redis_open(const struct leat_sink_context *context, struct leat_sink **out, struct leat_error *err) {
    struct redis *sink = leat_alloc(sizeof *sink);
    const char *prefix = leat_sink_option(context->def, "prefix");
    (void)err;
    sink->base.ops = &leat_sink_redis;
    sink->context = context;
    sink->prefix = prefix ? leat_strdup(prefix) : leat_asprintf("%s:", context->table->name);
    sink->progress_key = leat_asprintf("leat:progress:%s", context->identity);
    sink->json = strcmp(leat_sink_option(context->def, "format"), "json") == 0;
    sink->ends = leat_alloc((context->schema->field_count + 1) * sizeof *sink->ends);
    leat_changes_init(&sink->rows, context->schema);
    *out = &sink->base;
    return LEAT_OK;
}

static void hang_up(struct redis *sink) {
    leat_redis_tls_close(sink->tls);
    if (sink->link) redisFree(sink->link);
    sink->tls = NULL;
    sink->link = NULL;
}

static void redis_close(struct leat_sink *base) {
    struct redis *sink = (struct redis *)base;
    hang_up(sink);
    leat_changes_deinit(&sink->rows);
    leat_buffer_deinit(&sink->key);
    leat_buffer_deinit(&sink->values);
    free(sink->ends);
    free(sink->prefix);
    free(sink->progress_key);
    free(sink);
}

/* ---- the connection ---------------------------------------------------------------------------------------------------- */

static enum leat_status fail(struct redis *sink, struct leat_error *err, const char *text) {
    char said[300];
    size_t length = strcspn(text, "\r\n");
    if (length >= sizeof said) length = sizeof said - 1;
    memcpy(said, text, length);
    said[length] = 0;
    hang_up(sink);
    leat_fail(err, LEAT_IO, "sink \"%s\": Redis: %s", sink->context->def->name, *said ? said : "the connection was closed");
    err->retriable = true;
    return LEAT_IO;
}

static struct timeval timeout_of(const struct redis *sink) {
    int64_t us = leat_sink_option_int(sink->context->def, "timeout", 5000000);
    return (struct timeval){.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
}

/* The next answer; an error is a failure. *reply: freeReplyObject. */
static enum leat_status answer(struct redis *sink, redisReply **reply, struct leat_error *err) {
    void *got = NULL;
    *reply = NULL;
    struct leat_error why;
    if (sink->tls && leat_redis_tls_reply(sink->tls, sink->link, &got, &why) != LEAT_OK) return fail(sink, err, why.text);
    if (!sink->tls && redisGetReply(sink->link, &got) != REDIS_OK) return fail(sink, err, sink->link->errstr);
    redisReply *r = got;
    if (r->type == REDIS_REPLY_ERROR) {
        enum leat_status st = fail(sink, err, r->str);
        freeReplyObject(r);
        return st;
    }
    *reply = r;
    return LEAT_OK;
}

static enum leat_status command(struct redis *sink, int count, const char **words, struct leat_error *err) {
    redisReply *reply;
    size_t lengths[4];
    for (int i = 0; i < count; i++) lengths[i] = strlen(words[i]);
    if (redisAppendCommandArgv(sink->link, count, words, lengths) != REDIS_OK) return fail(sink, err, "out of memory");
    enum leat_status st = answer(sink, &reply, err);
    if (reply) freeReplyObject(reply);
    return st;
}

static enum leat_status sign_in(struct redis *sink, struct leat_error *err) {
    const struct leat_sink_def *def = sink->context->def;
    const char *user = leat_sink_option(def, "username"), *password = leat_sink_option(def, "password"), *db = leat_sink_option(def, "db");
    const char *words[3] = {"AUTH", user ? user : password, password};
    enum leat_status st = password ? command(sink, user ? 3 : 2, words, err) : LEAT_OK;
    const char *select[2] = {"SELECT", db};
    return st == LEAT_OK && strcmp(db, "0") != 0 ? command(sink, 2, select, err) : st;
}

static char *file_option(const struct leat_sink_context *c, const char *name) {
    const char *path = leat_sink_option(c->def, name);
    return !path ? NULL : *path == '/' ? leat_strdup(path) : leat_asprintf("%s/%s", c->project_dir, path);
}

static enum leat_status begin_tls(struct redis *sink, struct leat_error *err) {
    const struct leat_sink_context *c = sink->context;
    char *ca = file_option(c, "tls_ca"), *cert = file_option(c, "tls_cert"), *key = file_option(c, "tls_key");
    struct leat_cql_config config = {.tls_ca = ca, .tls_cert = cert, .tls_key = key, .tls_any_host = leat_sink_option_int(c->def, "tls_any_host", 0) != 0};
    struct leat_error why;
    enum leat_status st = leat_redis_tls_open(&config, leat_sink_option(c->def, "host"), sink->link, &sink->tls, &why);
    free(ca);
    free(cert);
    free(key);
    return st == LEAT_OK ? st : fail(sink, err, why.text);
}

static enum leat_status connect_to(struct redis *sink, struct leat_error *err) {
    const struct leat_sink_def *def = sink->context->def;
    struct timeval timeout = timeout_of(sink);
    if (sink->link) return LEAT_OK;
    sink->link = redisConnectWithTimeout(leat_sink_option(def, "host"), (int)leat_sink_option_int(def, "port", 6379), timeout);
    if (!sink->link) return fail(sink, err, "out of memory");
    if (sink->link->err) return fail(sink, err, sink->link->errstr);
    if (redisSetTimeout(sink->link, timeout) != REDIS_OK) return fail(sink, err, sink->link->errstr);
    enum leat_status st = leat_sink_option_int(def, "tls", 0) ? begin_tls(sink, err) : LEAT_OK;
    return st == LEAT_OK ? sign_in(sink, err) : st;
}

/* watch: a transaction begun afterwards fails if somebody else moves it. */
static enum leat_status read_progress(struct redis *sink, bool watch, uint64_t *sequence, struct leat_error *err) {
    redisReply *reply;
    const char *words[2] = {"WATCH", sink->progress_key};
    enum leat_status st = watch ? command(sink, 2, words, err) : LEAT_OK;
    if (st != LEAT_OK) return st;
    words[0] = "GET";
    if (redisAppendCommandArgv(sink->link, 2, words, NULL) != REDIS_OK) return fail(sink, err, "out of memory");
    if ((st = answer(sink, &reply, err)) != LEAT_OK) return st;
    *sequence = reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
    freeReplyObject(reply);
    return LEAT_OK;
}

static enum leat_status redis_progress(struct leat_sink *base, const atomic_int *stop, uint64_t *sequence, struct leat_error *err) {
    (void)stop; /* every wait has a deadline */
    struct redis *sink = (struct redis *)base;
    enum leat_status st = connect_to(sink, err);
    if (st == LEAT_OK) st = read_progress(sink, false, sequence, err);
    if (st == LEAT_OK) sink->known = *sequence;
    return st;
}

/* ---- a piece ----------------------------------------------------------------------------------------------------------- */

static void put_key(struct redis *sink, size_t row) {
    struct leat_buffer text = {0};
    leat_buffer_reset(&sink->key);
    leat_put(&sink->key, sink->prefix);
    for (size_t k = 0; k < sink->context->key_count; k++) {
        const struct leat_column *column = &sink->rows.columns[sink->context->key[k]];
        if (k) leat_put(&sink->key, ":");
        if (leat_is_null(column, row)) {
            leat_put(&sink->key, "%");
            continue;
        }
        leat_buffer_reset(&text);
        leat_put_value(&text, column, row);
        for (size_t i = 0; i < text.length; i++) {
            char c = text.data[i];
            if (c == ':' || c == '%')
                leat_put(&sink->key, c == ':' ? "%3A" : "%25");
            else
                leat_putn(&sink->key, &c, 1);
        }
    }
    leat_buffer_deinit(&text);
}

static bool append(struct redis *sink, int count, const char **words, const size_t *lengths) {
    return redisAppendCommandArgv(sink->link, count, words, lengths) == REDIS_OK;
}

static bool put_json(struct redis *sink, size_t row) {
    leat_buffer_reset(&sink->values);
    leat_put_json_row(&sink->values, &sink->rows, row);
    const char *words[3] = {"SET", sink->key.data, sink->values.data};
    const size_t lengths[3] = {3, sink->key.length, sink->values.length};
    return append(sink, 3, words, lengths);
}

static bool put_hash(struct redis *sink, size_t row) {
    const struct leat_schema *schema = sink->context->schema;
    const char **words = leat_alloc((2 + 2 * schema->field_count) * sizeof *words);
    size_t *lengths = leat_alloc((2 + 2 * schema->field_count) * sizeof *lengths), from = 0;
    int n = 0;
    leat_buffer_reset(&sink->values);
    leat_put(&sink->values, "");
    for (size_t c = 0; c < schema->field_count; c++) {
        if (!leat_is_null(&sink->rows.columns[c], row)) leat_put_value(&sink->values, &sink->rows.columns[c], row);
        sink->ends[c] = sink->values.length;
    }
    words[n] = "HSET", lengths[n++] = 4;
    words[n] = sink->key.data, lengths[n++] = sink->key.length;
    for (size_t c = 0; c < schema->field_count; from = sink->ends[c++]) {
        if (leat_is_null(&sink->rows.columns[c], row)) continue;
        words[n] = schema->fields[c].name, lengths[n++] = strlen(schema->fields[c].name);
        words[n] = sink->values.data + from, lengths[n++] = sink->ends[c] - from;
    }
    bool ok = n == 2 || append(sink, n, words, lengths);
    free(words);
    free(lengths);
    return ok;
}

/* The commands of one effect; *sent: how many. */
static bool put_effect(struct redis *sink, const struct leat_effect *effect, size_t row, size_t *sent) {
    size_t columns = 0;
    put_key(sink, row);
    const char *words[2] = {"DEL", sink->key.data};
    const size_t lengths[2] = {3, sink->key.length};
    if (effect->kind == LEAT_EFFECT_UPSERT && sink->json) return ++*sent, put_json(sink, row);
    ++*sent;
    if (!append(sink, 2, words, lengths)) return false;
    if (effect->kind == LEAT_EFFECT_DELETE) return true;
    for (size_t c = 0; c < sink->context->schema->field_count; c++) columns += !leat_is_null(&sink->rows.columns[c], row);
    *sent += columns > 0;
    return put_hash(sink, row);
}

static bool put_transaction(struct redis *sink, const struct leat_effect *effects, size_t count, size_t *sent) {
    char number[24];
    const char *multi = "MULTI", *exec = "EXEC", *set[3] = {"SET", sink->progress_key, number};
    bool ok = append(sink, 1, &multi, NULL);
    for (size_t i = 0; i < count && ok; i++) ok = put_effect(sink, &effects[i], i, sent);
    snprintf(number, sizeof number, "%llu", (unsigned long long)effects[count - 1].sequence);
    ok = ok && append(sink, 3, set, NULL) && append(sink, 1, &exec, NULL);
    *sent += 2; /* MULTI, SET */
    return ok;
}

static enum leat_status take_answers(struct redis *sink, size_t sent, struct leat_error *err) {
    redisReply *reply;
    enum leat_status st = LEAT_OK;
    for (size_t i = 0; i < sent && st == LEAT_OK; i++) {
        st = answer(sink, &reply, err);
        if (reply) freeReplyObject(reply);
    }
    if (st != LEAT_OK || (st = answer(sink, &reply, err)) != LEAT_OK) return st;
    if (reply->type != REDIS_REPLY_ARRAY) st = fail(sink, err, "somebody else moved leat:progress; it is read again");
    for (size_t i = 0; st == LEAT_OK && i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR) st = fail(sink, err, reply->element[i]->str);
    freeReplyObject(reply);
    return st;
}

static enum leat_status redis_deliver(struct leat_sink *base, const struct leat_effect *effects, size_t count, const atomic_int *stop,
                                      size_t *confirmed, struct leat_error *err) {
    struct redis *sink = (struct redis *)base;
    size_t sent = 0;
    uint64_t found = 0;
    (void)stop; /* every wait has a deadline */
    *confirmed = 0;
    leat_changes_reset(&sink->rows);
    enum leat_status st = leat_effect_values(sink->context->schema, effects, count, &sink->rows, err);
    if (st == LEAT_OK) st = connect_to(sink, err);
    if (st == LEAT_OK) st = read_progress(sink, true, &found, err);
    if (st == LEAT_OK && found != sink->known) st = fail(sink, err, "somebody else moved leat:progress; it is read again");
    if (st == LEAT_OK && !put_transaction(sink, effects, count, &sent)) st = fail(sink, err, "out of memory");
    if (st == LEAT_OK) st = take_answers(sink, sent, err);
    if (st != LEAT_OK) return st;
    sink->known = effects[count - 1].sequence;
    *confirmed = count;
    return LEAT_OK;
}

const struct leat_sink_ops leat_sink_redis = {
    .name = "redis",
    .what = "keeps each row of a keyed table in Redis or Valkey",
    .guarantee = "Each key holds the row that leat's table held at some step, never an older one after a newer; rows and progress (`leat:progress:...`) are "
                 "one transaction. What a restart of Redis loses together with its progress is written again, as far as it is kept here (the last changes are). What else it "
                 "forgets (eviction) is not: start = 'snapshot' of a new sink is.",
    .shape = LEAT_SINK_UPSERT,
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .open = redis_open,
    .deliver = redis_deliver,
    .progress = redis_progress,
    .comes_back = true,
    .close = redis_close,
};
