/* Checkpoints: the operators' state at a step, as Parquet files and a manifest, so that a restart replays only the
 * journal's later steps. Depends on sql/duck.h, base/io.h, jansson.
 *
 *   <dir>/<n>/manifest.json          written last, durably; n counts up; the greatest n with a manifest is the newest
 *   <dir>/<n>/<node>-<part>-<file>.parquet
 *   <dir>/scratch/                   files DuckDB is writing
 *
 * manifest.json
 *   {"format": 1, "leat": version, "duckdb": version, "step": s, "engine": the caller's object,
 *    "nodes": [{"signature": text,
 *               "parts": [{"columns": [["name", "TYPE"], ...],
 *                          "files": [{"path": "7/0-0-0.parquet", "rows": r, "bytes": b, "kind": "base" | "gone" | "now"}, ...]}]}]}
 * A part's content is its base files, then, in order, the increments: "gone" takes its rows' keys away, "now" puts
 * rows in place of those with the same key. Types that Parquet does not hold exactly (HUGEINT, UHUGEINT, INTERVAL) are VARCHAR
 * in the files. Files of earlier checkpoints are referred to, not copied. A node is written whole again when half of it changed, when
 * what its files hold would exceed one and a half times what is live, or when they are too many: state that only grows is
 * never copied, and loading reads at most half as much again as there is. Old checkpoints go when the newer manifest is durable.
 *
 * Any reader of Parquet can look at the state; only the manifest says which files count. */
#ifndef LEAT_STATE_CHECKPOINT_H
#define LEAT_STATE_CHECKPOINT_H

#include "base/env.h"
#include "sql/duck.h"

/* What has state, seen from here. The functions are as leat_node_state_parts, _state_schema, _save, _clean, _load_hint
 * and _load of stream/op.h; leat_node_checkpoint fills this in. */
struct leat_checkpoint_ops {
    size_t (*parts)(const void *);
    const struct leat_schema *(*schema)(const void *, size_t part);
    enum leat_status (*save)(void *, size_t part, bool only_dirty, uint64_t *cursor, size_t max_rows, struct leat_changes *out, struct leat_error *);
    void (*clean)(void *);
    uint64_t (*rows)(const void *, size_t part); /* live now */
    void (*load_hint)(void *, size_t part, uint64_t rows);
    enum leat_status (*load)(void *, size_t part, const struct leat_changes *rows, struct leat_error *);
};
struct leat_checkpoint_node {
    const char *signature;   /* equal signature and column types: the saved state is usable */
    void *node;
    const struct leat_checkpoint_ops *ops;
    bool optional;           /* loading: a checkpoint without it has nothing of it */
    uint64_t *based_on;      /* number of the checkpoint that what is dirty is relative to; 0: none. Kept by save and load */
};
/* Writes a checkpoint of all nodes at `step`. engine_json: a JSON object kept with it. Nodes are clean afterwards; on an
 * error they are as before, and so is the newest checkpoint.
 * Errors: IO, NO_SPACE, SQL from writing; INVALID engine_json is no object. Thread: the nodes' and the connection's. */
enum leat_status leat_checkpoint_save(struct leat_env *, struct leat_conn *batch, const char *dir, uint64_t step, const char *engine_json,
                                      const struct leat_checkpoint_node *nodes, size_t node_count, struct leat_error *) LEAT_MUST;
/* What the newest checkpoint says, without reading state: *step, *engine_json (malloc'd; each may be NULL).
 * NOT_FOUND no checkpoint; CORRUPT its manifest. */
enum leat_status leat_checkpoint_peek(struct leat_env *, const char *dir, uint64_t *step, char **engine_json, struct leat_error *) LEAT_MUST;
/* Loads the newest checkpoint into freshly opened nodes. NOT_FOUND: none, or one of other operators or of another format (err says
 * what differs): the nodes are untouched, rebuild. CORRUPT and others: files are missing or damaged; nodes are in an undefined
 * state and must be opened anew. Signatures must be distinct; nodes the checkpoint has besides are ignored. */
enum leat_status leat_checkpoint_load(struct leat_env *, struct leat_conn *batch, const char *dir, uint64_t *step, char **engine_json,
                                      const struct leat_checkpoint_node *nodes, size_t node_count, struct leat_error *) LEAT_MUST;
/* Removes all checkpoints (a state begun anew). */
enum leat_status leat_checkpoint_forget(struct leat_env *, const char *dir, struct leat_error *) LEAT_MUST;

#endif
