/* The thread that asks the brokers: librdkafka answers such questions only to one who waits. The engine's thread takes what was
 * found; a mutex guards the lists between them. Every call has a deadline. */
#include "connect/kafka_source.h"

#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { CALL_MS = 5000, RETRY_US = 1000000 };

struct place {
    char *topic;
    int32_t partition;
};
struct places {
    struct place *items;
    size_t count;
};
struct leat_kafka_watch {
    struct leat_kafka_watch_options options;
    char *topics;
    bool is_pattern;
    regex_t pattern;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop, started, again; /* again: asked for something, so the next round is due now */
    uint64_t rounds;
    bool given;          /* the thread's own */
    struct places known;
    struct places asked; /* shared from here */
    struct leat_kafka_found *found;
    size_t found_count;
    uint32_t schema;     /* that is asked for, if schema_asked */
    bool schema_asked;
    char note[256];
    bool missing_told, registry_told;
};

static void places_add(struct places *list, const char *topic, int32_t partition) {
    list->items = leat_realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = (struct place){leat_strdup(topic), partition};
}

static bool places_has(const struct places *list, const char *topic, int32_t partition) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].partition == partition && strcmp(list->items[i].topic, topic) == 0) return true;
    return false;
}

static void places_remove(struct places *list, const char *topic, int32_t partition) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct place one = list->items[i];
        if (one.partition == partition && strcmp(one.topic, topic) == 0)
            free(one.topic);
        else
            list->items[kept++] = one;
    }
    list->count = kept;
}

static void places_deinit(struct places *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].topic);
    free(list->items);
}

/* ---- the thread ---- */

struct round {
    struct leat_kafka_watch *w;
    struct leat_kafka_found *found;
    size_t count;
    bool complete, missing; /* everything was answered; a topic is not there */
};

static int64_t offset_of_time(struct leat_kafka_watch *w, const char *topic, int32_t partition, int64_t high) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = w->options.start_ms;
    bool ok = rd_kafka_offsets_for_times(w->options.rk, list, CALL_MS) == RD_KAFKA_RESP_ERR_NO_ERROR && !list->elems[0].err;
    int64_t offset = !ok ? -1 : list->elems[0].offset < 0 ? high : list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

static bool stopped(struct leat_kafka_watch *w) {
    pthread_mutex_lock(&w->mutex);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->mutex);
    return stop;
}

static void look_at(struct round *r, const char *topic, int32_t partition) {
    struct leat_kafka_watch *w = r->w;
    struct leat_kafka_found one = {.partition = partition, .at_time = -1};
    pthread_mutex_lock(&w->mutex);
    bool asked = places_has(&w->asked, topic, partition);
    pthread_mutex_unlock(&w->mutex);
    if (!asked && places_has(&w->known, topic, partition)) return;
    bool ok = rd_kafka_query_watermark_offsets(w->options.rk, topic, partition, &one.low, &one.high, CALL_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ok && w->options.start_ms >= 0 && !asked) ok = (one.at_time = offset_of_time(w, topic, partition, one.high)) >= 0;
    r->complete &= ok;
    if (!ok) return;
    one.topic = leat_strdup(topic);
    r->found = leat_realloc(r->found, (r->count + 1) * sizeof *r->found);
    r->found[r->count++] = one;
}

static bool wanted(const struct leat_kafka_watch *w, const char *topic) {
    return !w->is_pattern || (strncmp(topic, "__", 2) != 0 && regexec(&w->pattern, topic, 0, NULL, 0) == 0);
}

static void look_through(struct round *r, const struct rd_kafka_metadata *metadata) {
    struct leat_kafka_watch *w = r->w;
    for (int t = 0; t < metadata->topic_cnt; t++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[t];
        if (!wanted(w, topic->topic)) continue;
        if (topic->err) {
            r->missing = true;
            pthread_mutex_lock(&w->mutex);
            if (!w->missing_told) snprintf(w->note, sizeof w->note, "topic '%.100s': %s; leat waits for it", topic->topic, rd_kafka_err2str(topic->err));
            w->missing_told = true;
            pthread_mutex_unlock(&w->mutex);
            continue;
        }
        for (int i = 0; i < topic->partition_cnt && !stopped(w); i++) /* each may take seconds */
            look_at(r, topic->topic, topic->partitions[i].id);
    }
}

/* One topic of a list, or (NULL) all there are. */
static bool ask_metadata(struct round *r, const char *topic) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *rkt = topic ? rd_kafka_topic_new(r->w->options.rk, topic, NULL) : NULL;
    bool ok = rd_kafka_metadata(r->w->options.rk, !topic, rkt, &metadata, CALL_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ok) {
        look_through(r, metadata);
        rd_kafka_metadata_destroy(metadata);
    }
    if (rkt) rd_kafka_topic_destroy(rkt);
    return ok;
}

static bool ask_topics(struct round *r) {
    if (r->w->is_pattern) return ask_metadata(r, NULL);
    bool ok = true;
    char *list = leat_strdup(r->w->topics), *rest = list, *topic;
    while (ok && !stopped(r->w) && (topic = strsep(&rest, ","))) {
        topic += strspn(topic, " \t");
        topic[strcspn(topic, " \t")] = 0;
        if (*topic) ok = ask_metadata(r, topic);
    }
    free(list);
    return ok;
}

static void give(struct round *r) {
    struct leat_kafka_watch *w = r->w;
    pthread_mutex_lock(&w->mutex);
    w->found = leat_realloc(w->found, (w->found_count + r->count + 1) * sizeof *w->found);
    for (size_t i = 0; i < r->count; i++) {
        w->found[w->found_count++] = r->found[i];
        places_remove(&w->asked, r->found[i].topic, r->found[i].partition);
        if (!places_has(&w->known, r->found[i].topic, r->found[i].partition)) places_add(&w->known, r->found[i].topic, r->found[i].partition);
    }
    bool whole = r->complete && !r->missing, first = whole && !w->rounds;
    w->rounds += whole;
    w->given = true;
    bool tell = r->count || first || w->note[0];
    pthread_mutex_unlock(&w->mutex);
    if (tell) eventfd_write(w->options.wake_fd, 1);
}

static void wait_until_next(struct leat_kafka_watch *w, bool complete) {
    pthread_mutex_lock(&w->mutex);
    int64_t us = w->options.clock->now_us(w->options.clock) + (!complete || w->asked.count || w->schema_asked ? RETRY_US : w->options.interval_us);
    struct timespec until = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    if (!w->stop && !w->again) pthread_cond_timedwait(&w->wake, &w->mutex, &until);
    w->again = false;
    pthread_mutex_unlock(&w->mutex);
}

/* A record waits for its schema; meanwhile nothing else of the source is read. */
static void fetch_schema(struct leat_kafka_watch *w) {
    struct leat_error err = {0};
    pthread_mutex_lock(&w->mutex);
    bool asked = w->schema_asked;
    uint32_t id = w->schema;
    pthread_mutex_unlock(&w->mutex);
    if (!asked) return;
    enum leat_status st = leat_registry_fetch(w->options.registry, id, &err);
    pthread_mutex_lock(&w->mutex);
    if (st == LEAT_OK)
        w->schema_asked = w->registry_told = false;
    else if (!w->registry_told)
        snprintf(w->note, sizeof w->note, "%.200s; leat goes on trying", err.text);
    w->registry_told |= st != LEAT_OK;
    pthread_mutex_unlock(&w->mutex);
    eventfd_write(w->options.wake_fd, 1);
}

static void *watch_thread(void *context) {
    struct leat_kafka_watch *w = context;
    while (!stopped(w)) {
        struct round r = {.w = w, .complete = true};
        fetch_schema(w);
        r.complete &= ask_topics(&r);
        if (stopped(w)) r.complete = false;
        /* The first partitions are given together, or the start would mean something else for some. */
        if (r.complete || w->given)
            give(&r);
        else
            for (size_t i = 0; i < r.count; i++) free(r.found[i].topic);
        free(r.found);
        wait_until_next(w, r.complete && !r.missing);
    }
    return NULL;
}

/* ---- for the engine's thread ---- */

enum leat_status leat_kafka_watch_open(const struct leat_kafka_watch_options *options, struct leat_kafka_watch **out, struct leat_error *err) {
    struct leat_kafka_watch *w = leat_alloc(sizeof *w);
    *out = NULL;
    w->options = *options;
    w->topics = leat_strdup(options->topics);
    w->is_pattern = w->topics[0] == '^';
    if (w->is_pattern && regcomp(&w->pattern, w->topics, REG_EXTENDED | REG_NOSUB) != 0) {
        enum leat_status st = leat_fail(err, LEAT_INVALID, "topic '%s' is not a regular expression (POSIX extended)", w->topics);
        free(w->topics);
        free(w);
        return st;
    }
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    *out = w;
    return LEAT_OK;
}

/* The thread begins with the first question or take, when all that is known was told. */
static void start(struct leat_kafka_watch *w) {
    if (w->started) return;
    w->started = pthread_create(&w->thread, NULL, watch_thread, w) == 0;
}

void leat_kafka_watch_close(struct leat_kafka_watch *w) {
    if (!w) return;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    if (w->started) pthread_join(w->thread, NULL);
    for (size_t i = 0; i < w->found_count; i++)
        free(w->found[i].topic);
    free(w->found);
    places_deinit(&w->known);
    places_deinit(&w->asked);
    if (w->is_pattern) regfree(&w->pattern);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w->topics);
    free(w);
}

void leat_kafka_watch_know(struct leat_kafka_watch *w, const char *topic, int32_t partition) {
    if (!places_has(&w->known, topic, partition)) places_add(&w->known, topic, partition);
}

void leat_kafka_watch_ask(struct leat_kafka_watch *w, const char *topic, int32_t partition) {
    pthread_mutex_lock(&w->mutex);
    if (!places_has(&w->asked, topic, partition)) places_add(&w->asked, topic, partition);
    w->again = true;
    w->missing_told = false;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
}

void leat_kafka_watch_ask_schema(struct leat_kafka_watch *w, uint32_t id) {
    pthread_mutex_lock(&w->mutex);
    if (!w->schema_asked) {
        w->again = true;
        pthread_cond_signal(&w->wake);
    }
    w->schema = id;
    w->schema_asked = true;
    pthread_mutex_unlock(&w->mutex);
}

size_t leat_kafka_watch_take(struct leat_kafka_watch *w, struct leat_kafka_found **out, uint64_t *rounds, char note[256]) {
    start(w);
    pthread_mutex_lock(&w->mutex);
    size_t count = w->found_count;
    *out = w->found;
    *rounds = w->rounds;
    memcpy(note, w->note, sizeof w->note);
    w->note[0] = 0;
    w->found = NULL;
    w->found_count = 0;
    pthread_mutex_unlock(&w->mutex);
    return count;
}
