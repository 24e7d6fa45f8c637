#include "project/rewrite.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "sql/lexer.h"

struct range { size_t first, end; }; /* tokens */

static size_t skip_words(const struct leat_tokens *t, size_t at, const char *const *words) {
    for (size_t i = at; *words; words++, i++)
        if (!leat_token_is(t, i, *words)) return at;
        else if (!words[1]) return i + 1;
    return at;
}

/* CREATE [OR x] [MATERIALIZED] TABLE|SOURCE [IF NOT EXISTS] name: the token behind it; 0: not this one. */
static size_t behind_name(const struct leat_tokens *t, const struct leat_statement *s, const char *object) {
    static const char *const IF_NOT_EXISTS[] = {"IF", "NOT", "EXISTS", NULL};
    size_t at = s->first, end = s->first + s->count;
    if (!leat_token_is(t, at++, "CREATE")) return 0;
    if (leat_token_is(t, at, "OR")) at += 2;
    if (leat_token_is(t, at, "MATERIALIZED")) at++;
    if (!leat_token_is(t, at, "TABLE") && !leat_token_is(t, at, "SOURCE")) return 0;
    at = skip_words(t, at + 1, IF_NOT_EXISTS);
    if (at >= end) return 0;
    char *name = leat_token_value(t, at);
    bool same = strcasecmp(name, object) == 0;
    free(name);
    return same ? at + 1 : 0;
}

/* INTERVAL '2' MINUTE, INTERVAL '2 minutes', INTERVAL 2 MINUTE */
static size_t behind_interval(const struct leat_tokens *t, size_t at) {
    static const char *const UNITS[] = {"MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK",
                                        "MICROSECONDS", "MILLISECONDS", "SECONDS", "MINUTES", "HOURS", "DAYS", "WEEKS"};
    at += 2;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (leat_token_is(t, at, UNITS[i])) return at + 1;
    return at;
}

static bool is_string(const struct leat_tokens *t, size_t at) {
    return t->items[at].kind == LEAT_TOKEN_STRING;
}

/* [AT TIME ZONE '...'] */
static size_t behind_zone(const struct leat_tokens *t, size_t at) {
    static const char *const AT_TIME_ZONE[] = {"AT", "TIME", "ZONE", NULL};
    size_t behind = skip_words(t, at, AT_TIME_ZONE);
    return behind > at && is_string(t, behind) ? behind + 1 : at;
}

static size_t behind_freshness(const struct leat_tokens *t, size_t at) {
    static const char *const ELSE[] = {"ELSE", NULL};
    at += leat_token_is_operator(t, at, "=");
    at = leat_token_is(t, at, "DOWNSTREAM") ? at + 1 : behind_interval(t, at);
    if (!leat_token_is(t, at, "BETWEEN") || !is_string(t, at + 1) || !is_string(t, at + 3)) return at;
    at = skip_words(t, at + 4, ELSE);
    return behind_zone(t, leat_token_is(t, at, "INTERVAL") ? behind_interval(t, at) : at + 1);
}

static size_t behind_schedule(const struct leat_tokens *t, size_t at) {
    static const char *const READY_BY[] = {"READY", "BY", NULL};
    at += leat_token_is_operator(t, at, "=");
    at = behind_zone(t, at + 2); /* CRON '...' */
    size_t ready = skip_words(t, at, READY_BY);
    return ready > at && is_string(t, ready) ? behind_zone(t, ready + 1) : at;
}

static bool find_refresh(const struct leat_tokens *t, size_t at, size_t end, struct range *out) {
    for (int depth = 0; at < end; at++) {
        depth += leat_token_is_operator(t, at, "(");
        depth -= leat_token_is_operator(t, at, ")");
        if (depth == 0 && leat_token_is(t, at, "AS")) return false;
        if (depth || (!leat_token_is(t, at, "FRESHNESS") && !leat_token_is(t, at, "SCHEDULE"))) continue;
        *out = (struct range){at, leat_token_is(t, at, "FRESHNESS") ? behind_freshness(t, at + 1) : behind_schedule(t, at + 1)};
        return true;
    }
    return false;
}

static bool find_lateness(const struct leat_tokens *t, size_t at, size_t end, struct range *out) {
    size_t from = at;
    for (int depth = 0; at < end; at++) {
        depth += leat_token_is_operator(t, at, "(");
        depth -= leat_token_is_operator(t, at, ")");
        if (depth == 0 && leat_token_is(t, at, "AS")) break;
        if (depth || !leat_token_is(t, at, "ALLOW") || !leat_token_is(t, at + 1, "LATENESS")) continue;
        size_t interval = at + 2 + leat_token_is_operator(t, at + 2, "=");
        *out = (struct range){at, behind_interval(t, interval)};
        return true;
    }
    if (!find_refresh(t, from, end, out)) return false;
    out->first = out->end; /* empty: put in */
    return true;
}

static bool find_watermark(const struct leat_tokens *t, size_t at, size_t end, struct range *out) {
    for (; at + 4 < end; at++) {
        if (!leat_token_is(t, at, "WATERMARK") || !leat_token_is(t, at + 1, "FOR") || !leat_token_is(t, at + 3, "AS")) continue;
        size_t behind = at + 5;
        if (leat_token_is_operator(t, behind, "-") && leat_token_is(t, behind + 1, "INTERVAL")) behind = behind_interval(t, behind + 1);
        *out = (struct range){at + 5, behind};
        return true;
    }
    return false;
}

static bool find(const struct leat_tokens *t, size_t at, size_t end, enum leat_clause clause, struct range *out) {
    switch (clause) {
    case LEAT_CLAUSE_REFRESH: return find_refresh(t, at, end, out);
    case LEAT_CLAUSE_LATENESS: return find_lateness(t, at, end, out);
    case LEAT_CLAUSE_WATERMARK: return find_watermark(t, at, end, out);
    }
    return false;
}

static char *replace(const struct leat_tokens *t, size_t length, const struct range *r, const char *replacement) {
    const struct leat_token *last = &t->items[r->end - 1];
    size_t behind = last->offset + last->length, from = r->first == r->end ? behind : t->items[r->first].offset;
    struct leat_buffer out = {0};
    leat_putn(&out, t->text, from);
    if (from == behind) leat_put(&out, " ");
    leat_put(&out, replacement);
    leat_putn(&out, t->text + behind, length - behind);
    return out.data;
}

char *leat_rewrite_clause(const char *text, size_t length, const char *object, enum leat_clause clause, const char *replacement) {
    struct leat_tokens tokens;
    struct leat_statement *statements;
    char *out = NULL;
    leat_lex(text, length, &tokens);
    size_t count = leat_lex_statements(&tokens, &statements);
    for (size_t i = 0; i < count && !out; i++) {
        struct range range;
        size_t at = behind_name(&tokens, &statements[i], object), end = statements[i].first + statements[i].count;
        if (at && find(&tokens, at, end, clause, &range) && range.end <= end) out = replace(&tokens, length, &range, replacement);
    }
    free(statements);
    leat_tokens_deinit(&tokens);
    return out;
}

enum leat_status leat_rewrite_project(struct leat_env *env, const struct leat_project *project, const char *object, enum leat_clause clause,
                                      const char *replacement, struct leat_error *err) {
    struct leat_object_ref ref;
    if (!leat_project_find(project, object, &ref)) return leat_fail(err, LEAT_NOT_FOUND, "there is no \"%s\" in the project", object);
    const char *name = leat_project_object_place(project, ref).file;
    const struct leat_text_file *file = NULL;
    for (size_t i = 0; i < project->file_count; i++)
        if (strcmp(project->files[i]->name, name) == 0) file = project->files[i];
    char *path = leat_asprintf("%s/%s", project->dir, name);
    char *text = file ? leat_rewrite_clause(file->text, file->length, object, clause, replacement) : NULL;
    struct leat_buffer now = {0};
    enum leat_status st = LEAT_OK;
    if (!text)
        st = leat_fail(err, LEAT_NOT_FOUND, "%s: no such clause of \"%s\" was found; write it there: %s", path, object, replacement);
    if (st == LEAT_OK) st = leat_io_read_all(env->io, path, file->length + 1, &now, err);
    if (st == LEAT_OK && (now.length != file->length || memcmp(now.data ? now.data : "", file->text, now.length) != 0))
        st = leat_fail(err, LEAT_CONFLICT, "%s was changed meanwhile; nothing was written", path);
    if (st == LEAT_OK) st = leat_io_write_durable(env->io, path, text, strlen(text), true, err);
    leat_buffer_deinit(&now);
    free(path);
    free(text);
    return st;
}
