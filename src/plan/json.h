/* DuckDB's JSON (syntax trees and bound plans) as jansson documents.
 *
 * DuckDB writes integers up to 2^64-1 and the bare words NaN and Infinity, which jansson rejects. Such tokens
 * become strings that start with LEAT_JSON_RAW and are written back bare by leat_json_dump, so that a tree
 * survives load, change and dump unharmed. */
#ifndef LEAT_PLAN_JSON_H
#define LEAT_PLAN_JSON_H

#include <jansson.h>
#include "base/mem.h"

#define LEAT_JSON_RAW "\x01raw:"

/* *out is owned by the caller (json_decref). Errors: CORRUPT with jansson's position. */
enum leat_status leat_json_load(const char *text, json_t **out, struct leat_error *err) LEAT_MUST;
char *leat_json_dump(const json_t *document); /* malloc'd */

/* Members, forgiving: missing or of another type gives "", 0, false, an empty array. Borrowed. */
const char *leat_json_text(const json_t *object, const char *key);
bool leat_json_is(const json_t *object, const char *key, const char *text);
json_int_t leat_json_int(const json_t *object, const char *key);
bool leat_json_true(const json_t *object, const char *key);
size_t leat_json_count(const json_t *object, const char *key);
json_t *leat_json_at(const json_t *object, const char *key, size_t index);
/* An integer up to 2^64-1, plain or raw. */
bool leat_json_uint64(const json_t *value, uint64_t *out);

#endif
