/* The connectors there are. */
#include "connect/connector.h"

#include <strings.h>

static const struct leat_connector_ops *const connectors[] = {&leat_connector_file, &leat_connector_http, &leat_connector_kafka, &leat_connector_postgres};

const struct leat_connector_ops *leat_connector_find(const char *name) {
    for (size_t i = 0; i < sizeof connectors / sizeof *connectors; i++)
        if (strcasecmp(connectors[i]->name, name) == 0) return connectors[i];
    return NULL;
}
