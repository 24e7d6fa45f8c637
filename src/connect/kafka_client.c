/* librdkafka's configuration. */
#include "connect/kafka_client.h"

#include <string.h>
#include <strings.h>

static const char prefix[] = "properties.";

/* What it says on its own threads is of no use to anyone; errors come by its error callback. */
static void say_nothing(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk, (void)level, (void)facility, (void)text;
}

static enum leat_status set_one(const char *owner, rd_kafka_conf_t *conf, const char *name, const char *value, struct leat_error *err) {
    char why[512];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK) return LEAT_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return leat_fail(err, LEAT_INVALID,
                         "%s: 'properties.%s' is not a property of librdkafka (its CONFIGURATION.md lists them; those of the Java client have "
                         "other names: sasl.username and sasl.password instead of sasl.jaas.config)",
                         owner, name);
    /* The text may hold the value, which may be secret. */
    return leat_fail(err, LEAT_INVALID, "%s: the value of 'properties.%s' is not one that librdkafka takes", owner, name);
}

static enum leat_status set_list(const char *owner, rd_kafka_conf_t *conf, const struct leat_kafka_property *list, struct leat_error *err) {
    enum leat_status st = LEAT_OK;
    for (; list && list->name && st == LEAT_OK; list++)
        st = set_one(owner, conf, list->name, list->value, err);
    return st;
}

enum leat_status leat_kafka_configure(const char *owner, const struct leat_option *options, size_t option_count,
                                      const struct leat_kafka_property *defaults, const struct leat_kafka_property *fixed,
                                      rd_kafka_conf_t **out, struct leat_error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    *out = NULL;
    rd_kafka_conf_set_log_cb(conf, say_nothing);
    enum leat_status st = set_list(owner, conf, defaults, err);
    for (size_t i = 0; i < option_count && st == LEAT_OK; i++) {
        const char *name = options[i].name;
        if (strncasecmp(name, prefix, sizeof prefix - 1) != 0) continue;
        name += sizeof prefix - 1;
        for (const struct leat_kafka_property *f = fixed; f && f->name && st == LEAT_OK; f++)
            if (strcmp(f->name, name) == 0 && strcmp(f->value, options[i].value) != 0)
                st = leat_fail(err, LEAT_INVALID, "%s: leave out 'properties.%s': leat sets it", owner, name);
        if (st == LEAT_OK) st = set_one(owner, conf, name, options[i].value, err);
    }
    if (st == LEAT_OK) st = set_list(owner, conf, fixed, err);
    if (st != LEAT_OK) {
        rd_kafka_conf_destroy(conf);
        return st;
    }
    *out = conf;
    return LEAT_OK;
}
