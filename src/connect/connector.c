/* The connectors there are. */
#include "connect/connector.h"

#include <strings.h>

static const struct leat_connector_ops *const connectors[] = {&leat_connector_file, &leat_connector_http, &leat_connector_kafka, &leat_connector_mqtt,
                                                        &leat_connector_postgres};

const struct leat_connector_ops *leat_connector_of(const struct leat_source *source) {
    if (leat_source_option(source, "cursor")) return &leat_connector_extract;
    for (size_t i = 0; i < sizeof connectors / sizeof *connectors; i++)
        if (strcasecmp(connectors[i]->name, source->connector) == 0) return connectors[i];
    return NULL;
}
