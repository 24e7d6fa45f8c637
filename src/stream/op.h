/* Running operators. A node is one operator with its state; leat_node_step takes the step's input changes and
 * appends the output changes, consolidated per key. Single-threaded and deterministic: equal inputs in equal
 * steps give equal outputs, in any order of rows. */
#ifndef LEAT_STREAM_OP_H
#define LEAT_STREAM_OP_H

#include "plan/plan.h"
#include "state/checkpoint.h"

struct leat_node;
struct leat_step_context {
    int64_t clock_us;           /* the step's one reading */
    int64_t cut_us;             /* INT64_MIN: none; event times before it are closed for this table group */
    /* For operators that are by_place: appends to `out` (the schema of the node's input) the rows that the records at these places
     * give, in the order of `places`, strings copied. Such records were admitted in an earlier step and are not judged again. */
    enum leat_status (*fetch)(void *fetch_context, const leat_i128 *places, size_t n, struct leat_changes *out, struct leat_error *);
    void *fetch_context;
    bool may_pass; /* the caller asks leat_node_passed */
};
/* A row that a MAP's expression rejected: the input row is left out of the output and reported here. */
struct leat_failed_row { uint32_t row; char *message; };
struct leat_node_stats { uint64_t rows_in, rows_out, keys_touched, state_keys, state_bytes; };

/* step_conn: STEP-instance connection; the node prepares its stages there, under input names unique to `node_id`. op is borrowed,
 * and so are input_schemas[i], the schema of child i (plan->ops[op->children[i]].schema; NULL: no such child; for ops without
 * children both may be NULL, op->schema stands in): state and stages are typed before the first row. */
enum leat_status leat_node_open(struct leat_conn *step_conn, const struct leat_op *op, const struct leat_schema *const input_schemas[2],
                                int node_id, struct leat_node **out, struct leat_error *) LEAT_MUST;
void leat_node_close(struct leat_node *);
/* inputs[i]: changes of child i in this step (NULL: none). Appends to out (schema = op->schema). On an error the node's state is
 * undefined: reopen and replay. Output strings may stay in the inputs' memory: they are
 * valid as long as both the inputs and out are. MAP: rows whose expressions raise are left out and listed. */
enum leat_status leat_node_step(struct leat_node *, const struct leat_step_context *, const struct leat_changes *const inputs[2],
                                struct leat_changes *out, struct leat_error *) LEAT_MUST;
/* After a step that may_pass: did a MAP that computes nothing let every row through? Then `out` got nothing, and the result is columns of
 * input 0, which `view` (columns of the caller's, one for each of the op) is made to borrow. */
bool leat_node_passed(const struct leat_node *, const struct leat_changes *input, struct leat_changes *view);
/* Runs rows through stateless nodes, the lowest first, outside the count of the step: appends what the last gives to `out`, strings copied. */
enum leat_status leat_nodes_pass(struct leat_node *const *nodes, size_t count, const struct leat_step_context *, const struct leat_changes *rows,
                                 struct leat_changes *out, struct leat_error *) LEAT_MUST;
/* MAP only: rows of input 0 that failed in the last step; borrowed until the next step. */
const struct leat_failed_row *leat_node_failed(const struct leat_node *, size_t *count);
/* AGGREGATE, RECOMPUTE: keys withheld because an aggregate cannot be represented (overflow) or the recomputation raises: number now. */
uint64_t leat_node_withheld(const struct leat_node *);
/* CONSTRAIN: rows that violate the constraint now, in what came in; and the changes held back, NULL when it does not hold. */
int64_t leat_node_violating(const struct leat_node *, size_t constraint);
const struct leat_changes *leat_node_held(const struct leat_node *);
/* True if a step with no input but this cut would change output or free state (timer steps). */
bool leat_node_due(const struct leat_node *, int64_t cut_us);
void leat_node_stats(const struct leat_node *, struct leat_node_stats *out);

/* Checkpoints. The state is one or more "parts" (0..parts-1), each a relation with typed key columns readable by
 * SQL. save: appends to `out` (initialised by the callee's schema via leat_node_state_schema) up to max_rows rows from *cursor; weights +1: the
 * entry is now this; -1: the entry is gone (only_dirty). END when done (then nothing was appended). only_dirty: entries changed since the last leat_node_clean. */
size_t leat_node_state_parts(const struct leat_node *);
const struct leat_schema *leat_node_state_schema(const struct leat_node *, size_t part);
enum leat_status leat_node_save(struct leat_node *, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows, struct leat_changes *out, struct leat_error *) LEAT_MUST;
void leat_node_clean(struct leat_node *);
/* Loads saved rows in the order saved; later rows replace earlier ones of the same key. Expected counts let the tables be sized once. */
void leat_node_load_hint(struct leat_node *, size_t part, uint64_t rows);
enum leat_status leat_node_load(struct leat_node *, size_t part, const struct leat_changes *rows, struct leat_error *) LEAT_MUST;
/* The node as a checkpoint sees it; valid while the node and the signature are. */
struct leat_checkpoint_node leat_node_checkpoint(struct leat_node *, const char *signature);

#endif
