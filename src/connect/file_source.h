/* What the file connector tells beyond struct leat_connector_ops. */
#ifndef LEAT_CONNECT_FILE_SOURCE_H
#define LEAT_CONNECT_FILE_SOURCE_H

#include "connect/connector.h"

/* How many records of the spool were dropped because their identity had been accepted before. `connector` is a file
 * connector. */
uint64_t leat_connector_file_redelivered(struct leat_connector *connector);

#endif
