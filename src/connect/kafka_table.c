/* partitions.json of a Kafka source:
 *
 *     {"version": 1, "partitions": [{"number": 1, "topic": "orders", "partition": 0, "from": 0, "ended": false}, ...]}
 *
 * Written before the first record of a partition is given. Number 0 is kept free, as for files. */
#include "connect/kafka_source.h"

#include "base/limits.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct leat_kafka_partition *leat_kafka_table_add(struct leat_kafka_table *t, const char *topic, int32_t partition, int64_t from) {
    uint32_t number = t->count ? t->items[t->count - 1].number + 1 : 1;
    t->items = leat_realloc(t->items, (t->count + 1) * sizeof *t->items);
    struct leat_kafka_partition *p = &t->items[t->count++];
    *p = (struct leat_kafka_partition){.number = number, .topic = leat_strdup(topic), .partition = partition, .from = from, .position = from};
    return p;
}

struct leat_kafka_partition *leat_kafka_table_find(struct leat_kafka_table *t, const char *topic, int32_t partition) {
    for (size_t i = t->count; i-- > 0;)
        if (!t->items[i].ended && t->items[i].partition == partition && strcmp(t->items[i].topic, topic) == 0) return &t->items[i];
    return NULL;
}

static enum leat_status load(struct leat_kafka_table *t, const struct leat_buffer *text, struct leat_error *err) {
    json_error_t fault;
    json_t *root = json_loadb(text->data, text->length, 0, &fault), *entry;
    enum leat_status st = LEAT_OK;
    size_t i;
    if (!root || json_integer_value(json_object_get(root, "version")) != 1)
        st = leat_fail(err, LEAT_CORRUPT, "%s: not a table of partitions of version 1", t->path);
    json_array_foreach(json_object_get(root, "partitions"), i, entry) {
        json_int_t number, partition, from;
        const char *topic;
        int ended;
        if (st != LEAT_OK) break;
        if (json_unpack(entry, "{s:I,s:s,s:I,s:I,s:b}", "number", &number, "topic", &topic, "partition", &partition, "from", &from, "ended", &ended) ||
            number <= (t->count ? t->items[t->count - 1].number : 0) || number > INT32_MAX || partition < 0 || partition > INT32_MAX || from < 0) {
            st = leat_fail(err, LEAT_CORRUPT, "%s: entry %zu is not a partition, or out of order", t->path, i);
            break;
        }
        struct leat_kafka_partition *p = leat_kafka_table_add(t, topic, (int32_t)partition, from);
        p->number = (uint32_t)number;
        p->ended = ended;
    }
    json_decref(root);
    return st;
}

enum leat_status leat_kafka_table_open(struct leat_env *env, const char *state_dir, struct leat_kafka_table *out, struct leat_error *err) {
    enum { TABLE_BYTES_MAX = 256 << 20 };
    struct leat_buffer text = {0};
    *out = (struct leat_kafka_table){.env = env, .path = leat_asprintf("%s/partitions.json", state_dir), .revision = 1};
    enum leat_status st = leat_io_read_all(env->io, out->path, TABLE_BYTES_MAX, &text, err);
    st = st == LEAT_NOT_FOUND ? LEAT_OK : st == LEAT_OK ? load(out, &text, err) : st;
    leat_buffer_deinit(&text);
    if (st != LEAT_OK) leat_kafka_table_deinit(out);
    return st;
}

void leat_kafka_table_deinit(struct leat_kafka_table *t) {
    for (size_t i = 0; i < t->count; i++)
        free(t->items[i].topic);
    free(t->items);
    free(t->path);
    *t = (struct leat_kafka_table){0};
}

void leat_kafka_table_print(const struct leat_kafka_table *t, struct leat_buffer *out) {
    leat_put(out, "{\"version\": 1, \"partitions\": [");
    for (size_t i = 0; i < t->count; i++) {
        const struct leat_kafka_partition *p = &t->items[i];
        leat_putf(out, "%s\n{\"number\": %u, \"topic\": ", i ? "," : "", p->number);
        leat_put_json_string(out, p->topic, strlen(p->topic));
        leat_putf(out, ", \"partition\": %d, \"from\": %lld, \"ended\": %s}", p->partition, (long long)p->from, p->ended ? "true" : "false");
    }
    leat_put(out, "\n]}\n");
}

enum leat_status leat_kafka_table_save(struct leat_kafka_table *t, struct leat_error *err) {
    struct leat_buffer text = {0};
    leat_kafka_table_print(t, &text);
    enum leat_status st = leat_io_write_durable(t->env->io, t->path, text.data, text.length, true, err);
    leat_buffer_deinit(&text);
    if (st == LEAT_OK) t->revision++;
    return st;
}
