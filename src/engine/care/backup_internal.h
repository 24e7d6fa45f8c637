/* What backup.c and restore.c share. */
#ifndef LEAT_ENGINE_BACKUP_INTERNAL_H
#define LEAT_ENGINE_BACKUP_INTERNAL_H

#include <jansson.h>

#include "engine/care/backup.h"

struct leat_backup_list { json_t **items; size_t count, damaged; }; /* manifests of the complete versions, oldest first; damaged ones are counted */
enum leat_status leat_backup_manifest(struct leat_env *, const char *path, json_t **out, struct leat_error *) LEAT_MUST; /* out: new reference */
void leat_backup_list_deinit(struct leat_backup_list *);
enum leat_status leat_backup_manifests(struct leat_env *, const char *place, struct leat_backup_list *out, struct leat_error *) LEAT_MUST;
/* The first `bytes` of a file to `to`, which must not be there; synced. `to` NULL: only read. *xxh3: XXH3-64 of them, as 16 hex digits. */
enum leat_status leat_backup_copy(struct leat_io *, const char *from, const char *to, uint64_t bytes, char xxh3[17], struct leat_error *) LEAT_MUST;

#endif
