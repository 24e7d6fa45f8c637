/* Inside stream/: what every kind of node implements. op.h is the outside. */
#ifndef LEAT_STREAM_NODE_H
#define LEAT_STREAM_NODE_H

#include "stream/op.h"

/* One table of functions per kind; NULL members: the node has nothing of it. */
struct leat_node_ops {
    enum leat_status (*open)(struct leat_node *, struct leat_conn *, struct leat_error *);
    void (*close)(struct leat_node *); /* also after a failed open; frees members, not the node */
    enum leat_status (*step)(struct leat_node *, const struct leat_step_context *, const struct leat_changes *const inputs[2],
                             struct leat_changes *out, struct leat_error *);
    const struct leat_failed_row *(*failed)(const struct leat_node *, size_t *count);
    uint64_t (*withheld)(const struct leat_node *);
    bool (*due)(const struct leat_node *, int64_t cut_us);
    void (*stats)(const struct leat_node *, struct leat_node_stats *); /* state_keys and state_bytes */
    size_t (*parts)(const struct leat_node *);
    const struct leat_schema *(*part_schema)(const struct leat_node *, size_t part);
    enum leat_status (*save)(struct leat_node *, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows,
                             struct leat_changes *out, struct leat_error *);
    void (*clean)(struct leat_node *);
    uint64_t (*part_rows)(const struct leat_node *, size_t part);
    void (*load_hint)(struct leat_node *, size_t part, uint64_t rows);
    enum leat_status (*load)(struct leat_node *, size_t part, const struct leat_changes *rows, struct leat_error *);
};
/* First member of every node. */
struct leat_node {
    const struct leat_node_ops *ops;
    const struct leat_op *op;
    const struct leat_schema *inputs[2]; /* op->schema where there is no child */
    int id;
    bool passed;       /* see leat_node_passed */
    uint64_t based_on; /* number of the checkpoint its dirty entries are relative to */
    struct leat_node_stats stats;
};

struct leat_node_kind { const struct leat_node_ops *ops; size_t size_bytes; };
extern const struct leat_node_kind leat_node_pass, leat_node_map, leat_node_distinct, leat_node_aggregate, leat_node_join,
    leat_node_recompute, leat_node_topn, leat_node_constrain;

#endif
