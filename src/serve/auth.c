#include "serve/auth.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/value.h"

static bool parse_roles(const char *text, size_t n, unsigned *roles) {
    static const struct { const char *name; unsigned role; } names[] = {
        {"read", LEAT_ROLE_READ}, {"write", LEAT_ROLE_WRITE}, {"admin", LEAT_ROLE_READ | LEAT_ROLE_WRITE | LEAT_ROLE_ADMIN}};
    *roles = 0;
    while (n) {
        size_t length = 0, i = 0;
        while (length < n && text[length] != ',') length++;
        while (i < 3 && (strlen(names[i].name) != length || memcmp(names[i].name, text, length) != 0)) i++;
        if (i == 3) return false;
        *roles |= names[i].role;
        if (length < n && ++length == n) return false;
        text += length;
        n -= length;
    }
    return *roles != 0;
}

static size_t word_length(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && text[i] != ' ' && text[i] != '\t' && text[i] != '\r') i++;
    return i;
}

static size_t space_length(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r')) i++;
    return i;
}

/* What is wrong with the line; NULL: nothing. */
static const char *parse_line(const char *at, size_t n, struct leat_bearer *token) {
    size_t roles = word_length(at, n);
    if (!parse_roles(at, roles, &token->roles)) return "it begins with roles: read, write, admin, with commas between them";
    at += roles, n -= roles;
    size_t space = space_length(at, n), length;
    at += space, n -= space;
    length = word_length(at, n);
    if (length < LEAT_TOKEN_MIN) return "the token is too short: 16 characters at least";
    if (length > LEAT_TOKEN_MAX) return "the token is too long: 256 characters at most";
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)at[i])) return "the token has a character that is not printable ASCII";
    memcpy(token->text, at, length);
    token->length = length;
    token->expires_us = INT64_MAX;
    at += length, n -= length;
    space = space_length(at, n);
    at += space, n -= space;
    while (n && (at[n - 1] == ' ' || at[n - 1] == '\t' || at[n - 1] == '\r')) n--;
    if (!n) return NULL;
    enum leat_value_status status = leat_value_parse_timestamp(at, n, &token->expires_us);
    return status == LEAT_VALUE_OK || status == LEAT_VALUE_LOSSY ? NULL : "what follows the token is not a time such as 2026-12-31T00:00:00";
}

enum leat_status leat_bearers_add(struct leat_bearers *tokens, const char *from, const char *text, struct leat_error *err) {
    int number = 0;
    while (*text) {
        size_t n = strcspn(text, "\n;"), space;
        const char *line = text;
        text += n + (text[n] != 0);
        number++;
        space = space_length(line, n);
        line += space, n -= space;
        if (!n || *line == '#') continue;
        struct leat_bearer token = {0};
        const char *wrong = parse_line(line, n, &token);
        if (wrong) return leat_fail(err, LEAT_INVALID, "%s, line %d: %s", from, number, wrong);
        tokens->items = leat_realloc(tokens->items, (tokens->count + 1) * sizeof *tokens->items);
        tokens->items[tokens->count++] = token;
    }
    return LEAT_OK;
}

void leat_bearers_deinit(struct leat_bearers *tokens) {
    if (tokens->items) explicit_bzero(tokens->items, tokens->count * sizeof *tokens->items);
    free(tokens->items);
    *tokens = (struct leat_bearers){0};
}

/* All tokens are looked at, all of their bytes, whatever was given. */
static const struct leat_bearer *find(const struct leat_bearers *tokens, const char *text, size_t length) {
    unsigned char given[LEAT_TOKEN_MAX] = {0};
    size_t found = 0;
    memcpy(given, text, length < sizeof given ? length : sizeof given);
    for (size_t i = 0; i < tokens->count; i++) {
        const struct leat_bearer *token = &tokens->items[i];
        size_t differs = token->length ^ length;
        for (size_t k = 0; k < LEAT_TOKEN_MAX; k++) differs |= (size_t)(token->text[k] ^ given[k]);
        size_t equal = (differs - 1) & ~differs; /* its top bit: differs is 0 */
        size_t mask = (size_t)0 - (equal >> (sizeof equal * 8 - 1));
        found |= (i + 1) & mask & ((size_t)0 - (found == 0));
    }
    return found ? &tokens->items[found - 1] : NULL;
}

enum leat_access leat_bearers_check(const struct leat_bearers *tokens, const char *authorization, unsigned role, int64_t now_us) {
    static const char scheme[] = "Bearer ";
    if (!role || !tokens->count) return LEAT_ACCESS_OK;
    if (!authorization) return LEAT_ACCESS_NONE;
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) return LEAT_ACCESS_WRONG;
    authorization += sizeof scheme - 1;
    const struct leat_bearer *token = find(tokens, authorization, strlen(authorization));
    if (!token) return LEAT_ACCESS_WRONG;
    if (token->expires_us <= now_us) return LEAT_ACCESS_EXPIRED;
    return token->roles & role ? LEAT_ACCESS_OK : LEAT_ACCESS_ROLE;
}

const char *leat_role_name(unsigned role) {
    return role & LEAT_ROLE_ADMIN ? "admin" : role & LEAT_ROLE_WRITE ? "write" : role & LEAT_ROLE_READ ? "read" : "none";
}

bool leat_host_is_loopback(const char *host) {
    size_t n = strcspn(host, ":");
    if (strncmp(host, "[::1]", 5) == 0) return host[5] == 0 || host[5] == ':';
    if (n == 9 && strncasecmp(host, "localhost", n) == 0) return true;
    int parts = 0;
    const char *at = host;
    while (at < host + n) {
        char *end;
        if (!isdigit((unsigned char)*at)) return false;
        long value = strtol(at, &end, 10);
        if (value > 255 || (parts == 0 && value != 127)) return false;
        parts++;
        if (end == host + n) break;
        if (*end != '.') return false;
        at = end + 1;
    }
    return parts == 4;
}

bool leat_origin_is_own(const char *origin, const char *host) {
    const char *name = strstr(origin, "://");
    return name && host && strcasecmp(name + 3, host) == 0;
}
