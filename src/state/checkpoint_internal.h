/* Shared by checkpoint.c and checkpoint_load.c. */
#ifndef LEAT_STATE_CHECKPOINT_INTERNAL_H
#define LEAT_STATE_CHECKPOINT_INTERNAL_H

#include <jansson.h>

#include "state/checkpoint.h"

#define LEAT_CHECKPOINT_MANIFEST_BYTES_MAX ((size_t)256 << 20)

char *leat_checkpoint_path(const char *dir, const char *name); /* malloc'd */
bool leat_checkpoint_as_text(struct leat_type t);
/* The newest manifest; NOT_FOUND (*number 0), CORRUPT (*number set). */
enum leat_status leat_checkpoint_newest(struct leat_env *, const char *dir, uint64_t *number, json_t **manifest, struct leat_error *) LEAT_MUST;
json_t *leat_checkpoint_find_node(const json_t *manifest, const struct leat_checkpoint_node *); /* borrowed; NULL: not there */
/* Does the node keep its state in columns like the entry's; named: also called the same? */
bool leat_checkpoint_same_parts(const json_t *entry, const struct leat_checkpoint_node *, bool named);

#endif
