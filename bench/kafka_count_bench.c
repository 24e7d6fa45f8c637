/* The limit for a Kafka source: a consumer of librdkafka that reads a topic's partitions to their ends and counts. Prints the number of messages, their
 * bytes and the CPU seconds of the process. Usage: kafka_count_bench BROKERS TOPIC */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "base/usage.h"

enum { BATCH = 16384, CALL_MS = 10000 };

static _Noreturn void stop(const char *why) {
    fprintf(stderr, "kafka_count_bench: %s\n", why);
    exit(1);
}

static rd_kafka_t *consumer(const char *brokers) {
    /* As the source sets them. */
    const char *const properties[][2] = {{"bootstrap.servers", brokers},      {"group.id", "count"},
                                         {"enable.partition.eof", "true"},    {"enable.auto.commit", "false"},
                                         {"queued.min.messages", "1000000"},  {"queued.max.messages.kbytes", "65536"}};
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], why, sizeof why) != RD_KAFKA_CONF_OK) stop(why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) stop(why);
    rd_kafka_poll_set_consumer(rk);
    return rk;
}

static int assign_all(rd_kafka_t *rk, const char *topic) {
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    if (rd_kafka_metadata(rk, 0, rkt, &metadata, CALL_MS) != RD_KAFKA_RESP_ERR_NO_ERROR || !metadata->topic_cnt) stop("the topic cannot be had");
    int partitions = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(rkt);
    return partitions;
}

int main(int argc, char **argv) {
    static rd_kafka_message_t *batch[BATCH];
    unsigned long long messages = 0, bytes = 0;
    if (argc != 3) stop("usage: kafka_count_bench BROKERS TOPIC");
    rd_kafka_t *rk = consumer(argv[1]);
    int open = assign_all(rk, argv[2]);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    while (open > 0) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, 1000, batch, BATCH);
        for (ssize_t i = 0; i < got; i++) {
            if (batch[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
                open--;
            else if (!batch[i]->err)
                messages++, bytes += batch[i]->len;
            rd_kafka_message_destroy(batch[i]);
        }
    }
    printf("%llu %llu %.3f\n", messages, bytes, (double)leat_usage_cpu_us() / 1e6);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    return 0;
}
