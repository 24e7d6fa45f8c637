/* A client of Confluent's schema registry (and of what speaks its REST interface): schemas by their number, kept as files for the
 * decoder (data/decode.h, leat_decoder_use_schemas). Depends on libcurl and jansson. */
#ifndef LEAT_CONNECT_REGISTRY_H
#define LEAT_CONNECT_REGISTRY_H

#include "base/env.h"

struct leat_registry;
/* urls: one or several, separated by commas, tried in turn. username, password: NULL: none. Copies all. */
struct leat_registry *leat_registry_open(struct leat_io *, const char *urls, const char *username, const char *password, const char *dir);
void leat_registry_close(struct leat_registry *);
bool leat_registry_has(const struct leat_registry *, uint32_t id); /* thread: any */
/* Gets a schema and writes DIR/ID.json, empty when there is none that can be used. Waits a few seconds at most. IO (retriable): no registry
 * answers as it should. Thread: one at a time. */
enum leat_status leat_registry_fetch(struct leat_registry *, uint32_t id, struct leat_error *) LEAT_MUST;

/* A schema with the types that it names of others put in, each where it is first named. NULL: one of the texts is no JSON, or they are nested too deeply.
 * malloc'd. Thread: any. */
struct leat_registry_type { char *name, *schema; }; /* full name; text */
char *leat_registry_inline(const char *schema, const struct leat_registry_type *, size_t count);

#endif
