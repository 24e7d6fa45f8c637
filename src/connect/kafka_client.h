/* What the Kafka source and sink share: librdkafka's configuration from options 'properties.*'. */
#ifndef LEAT_CONNECT_KAFKA_CLIENT_H
#define LEAT_CONNECT_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "project/project.h"

struct leat_kafka_property { const char *name, *value; };
/* A configuration: `defaults`, then what the options say, then `fixed` (NULL-terminated lists), silent logs. owner: "source \"x\"", for
 * messages. *out is the caller's, or rd_kafka_new's. INVALID: a property that librdkafka does not know or allow. */
enum leat_status leat_kafka_configure(const char *owner, const struct leat_option *, size_t option_count,
                                      const struct leat_kafka_property *defaults, const struct leat_kafka_property *fixed,
                                      rd_kafka_conf_t **out, struct leat_error *) LEAT_MUST;
#endif
