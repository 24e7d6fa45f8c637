/* Who may do what: bearer tokens with roles, and where requests may come from when there are none.
 * Token text is compared in constant time and never appears in any output. Thread: reading any. */
#ifndef LEAT_SERVE_AUTH_H
#define LEAT_SERVE_AUTH_H

#include "base/env.h"

enum leat_role { LEAT_ROLE_READ = 1, LEAT_ROLE_WRITE = 2, LEAT_ROLE_ADMIN = 4 }; /* admin includes the others; they do not include each other */
#define LEAT_TOKEN_MIN 16
#define LEAT_TOKEN_MAX 256
struct leat_bearer { unsigned roles; int64_t expires_us; size_t length; unsigned char text[LEAT_TOKEN_MAX]; }; /* expires_us: INT64_MAX never */
struct leat_bearers { struct leat_bearer *items; size_t count; };

/* Adds the tokens of a text of lines "ROLES TOKEN [EXPIRES]": roles read, write, admin with commas; EXPIRES a time in UTC (2026-12-31T00:00:00).
 * Empty lines and those that begin with # are passed over. INVALID names `from` and the line. */
enum leat_status leat_bearers_add(struct leat_bearers *, const char *from, const char *text, struct leat_error *) LEAT_MUST;
void leat_bearers_deinit(struct leat_bearers *);

enum leat_access { LEAT_ACCESS_OK, LEAT_ACCESS_NONE, LEAT_ACCESS_WRONG, LEAT_ACCESS_EXPIRED, LEAT_ACCESS_ROLE };
/* authorization: the header's value, NULL: none. role 0: everybody may. With no tokens at all everybody may everything. */
enum leat_access leat_bearers_check(const struct leat_bearers *, const char *authorization, unsigned role, int64_t now_us);
const char *leat_role_name(unsigned role);

/* Is it a name of this machine as a Host header has it: localhost, 127.x.y.z, [::1], with a port or without? A page of elsewhere that had its own
 * name resolved to 127.0.0.1 sends another. */
bool leat_host_is_loopback(const char *host);
/* Does an Origin header ("http://host:port") name the Host that the request was for? */
bool leat_origin_is_own(const char *origin, const char *host);

#endif
