/* Paths and query strings as they come from outside. Thread: any. */
#ifndef LEAT_SERVE_URL_H
#define LEAT_SERVE_URL_H

#include <stdbool.h>
#include <stddef.h>

#define LEAT_URL_SEGMENTS_MAX 36
#define LEAT_URL_QUERY_MAX 64

/* Decodes %XX (and + as a space, in queries). NULL: a bad escape, a NUL, a control character or no UTF-8. Owned by the caller. */
char *leat_url_decode(const char *text, size_t length, bool plus);
struct leat_query_item { char *name, *value; };
struct leat_query_string { struct leat_query_item items[LEAT_URL_QUERY_MAX]; size_t count; const char *problem; };
/* Adds one pair as it stands in the URL; value NULL: none. Sets problem (static) instead of adding what is wrong. */
void leat_query_add(struct leat_query_string *, const char *name, const char *value);
void leat_query_deinit(struct leat_query_string *);
const char *leat_query_value(const struct leat_query_string *, const char *name); /* the last one; NULL: none */

#endif
