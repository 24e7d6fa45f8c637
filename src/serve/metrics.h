/* /metrics: the engine's status in Prometheus's text format (0.0.4), made from one table, as are its reference page and the check of the Grafana
 * dashboard. Names by Prometheus's conventions: base units, counters end in _total. Source: prometheus.io, "Exposition formats", "Metric and label naming". */
#ifndef LEAT_SERVE_METRICS_H
#define LEAT_SERVE_METRICS_H

#include <jansson.h>

#include "base/mem.h"

enum leat_metric_type { LEAT_METRIC_GAUGE, LEAT_METRIC_COUNTER };
enum leat_metric_shape {
    LEAT_METRIC_PLAIN,   /* a number, true or false; left out where it is null or not there */
    LEAT_METRIC_OBJECT,  /* an object of numbers; their names are the label `extra` */
    LEAT_METRIC_BALANCE, /* of a table, by source and fate */
    LEAT_METRIC_ONE,     /* 1 for each, with the members named in `extra` (by commas) as labels */
};
struct leat_metric {
    const char *name;
    enum leat_metric_type type;
    const char *help;
    const char *list;   /* array of the status that has it; NULL: the status itself. "groups": for each table of a group */
    const char *label;  /* for the item's name */
    const char *key;    /* member of the item */
    double scale;       /* so many of the status's are one; 0: it is the same */
    const char *extra;  /* PLAIN: one more label, as it is written; else see above */
    enum leat_metric_shape shape;
};
/* Those of one name stand together. */
extern const struct leat_metric leat_metrics[];
extern const size_t leat_metric_count;

/* status: what leat_engine_status says, decoded; what is derived is added to it. now_us: wall clock. */
void leat_put_metrics(json_t *status, int64_t now_us, struct leat_buffer *out);
void leat_reference_metrics(struct leat_buffer *out); /* the markdown page */

#endif
