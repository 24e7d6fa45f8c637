/* One query: which relations it names, and the rewriting of window functions in FROM into SQL that DuckDB runs.
 *
 * The query is walked once, token by token, with a stack of parentheses. For each it is known whether it holds a
 * query, whether the walk is in a FROM clause, and whether a relation is expected next (after FROM, JOIN, a comma);
 * CTE names live in the parenthesis that declares them. That is enough to tell relations from columns, aliases and
 * functions without a grammar: FROM, JOIN, SELECT, WHERE ... are reserved words in DuckDB.
 *
 * What the window functions and FOR SYSTEM_TIME AS OF become is in query_window.c and query_as_of.c; the map keeps for every byte of the result the place that it
 * came from. */
#include "project/query_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUERY_DEPTH_MAX 200

void leat_walk_fail(struct leat_walk *w, size_t token, const char *suggestion, const char *message) {
    leat_parser_error(w->p, token, suggestion, "%s", message);
    w->ok = false;
}

/* ---- rewritten text and its map ---- */

static void add_piece(struct leat_walk *w, size_t file_offset, bool copied) {
    struct leat_sql_map *map = w->map;
    map->pieces = leat_realloc(map->pieces, (map->piece_count + 1) * sizeof *map->pieces);
    map->pieces[map->piece_count++] = (struct leat_sql_piece){
        .sql_offset = (uint32_t)w->sql.length, .file_offset = (uint32_t)file_offset, .copied = copied};
}

void leat_walk_copy_to(struct leat_walk *w, size_t file_offset) {
    if (file_offset > w->copied_to) {
        add_piece(w, w->copied_to, true);
        leat_putn(&w->sql, w->p->tokens.text + w->copied_to, file_offset - w->copied_to);
    }
    w->copied_to = file_offset;
}

void leat_walk_put(struct leat_walk *w, size_t token, const char *text) {
    add_piece(w, leat_walk_token(w, token)->offset, false);
    leat_put(&w->sql, text);
}

void leat_walk_put_token(struct leat_walk *w, size_t token) {
    add_piece(w, leat_walk_token(w, token)->offset, true);
    leat_putn(&w->sql, w->p->tokens.text + leat_walk_token(w, token)->offset, leat_walk_token(w, token)->length);
}

void leat_walk_putf(struct leat_walk *w, size_t token, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    leat_walk_put(w, token, text);
}

struct leat_place leat_sql_place(const struct leat_sql_map *map, const struct leat_place *sql_place, size_t sql_offset) {
    if (!map->file || map->piece_count == 0)
        return *sql_place;
    size_t i = map->piece_count - 1;
    while (i > 0 && map->pieces[i].sql_offset > sql_offset)
        i--;
    const struct leat_sql_piece *piece = &map->pieces[i];
    size_t offset = piece->file_offset;
    if (piece->copied)
        offset += sql_offset - piece->sql_offset;
    struct leat_place place = {.file = map->file->name};
    leat_text_place(map->file->text, map->file->length, offset, &place.line, &place.column);
    return place;
}

/* ---- relations ---- */

bool leat_walk_is_cte(const struct leat_walk *w, const char *name) {
    for (size_t i = w->cte_count; i > 0; i--)
        if (strcasecmp(w->ctes[i - 1], name) == 0)
            return true;
    return false;
}

void leat_walk_reference(struct leat_walk *w, size_t token, size_t time_token) {
    char *name = leat_token_value(&w->p->tokens, token);
    if (leat_walk_is_cte(w, name)) {
        free(name);
        return;
    }
    struct leat_query *query = w->query;
    query->references = leat_realloc(query->references, (query->reference_count + 1) * sizeof *query->references);
    struct leat_reference reference = {.name = name, .place = leat_parser_place(w->p, token)};
    if (time_token) {
        reference.time_column = leat_token_value(&w->p->tokens, time_token);
        reference.time_place = leat_parser_place(w->p, time_token);
    }
    query->references[query->reference_count++] = reference;
}

bool leat_walk_is_name(const struct leat_walk *w, size_t i) {
    return i < w->p->end && (leat_walk_token(w, i)->kind == LEAT_TOKEN_WORD || leat_walk_token(w, i)->kind == LEAT_TOKEN_QUOTED);
}

bool leat_walk_is_operator(const struct leat_walk *w, size_t i, const char *bytes) {
    return i < w->p->end && leat_token_is_operator(&w->p->tokens, i, bytes);
}

bool leat_parser_is_one_of(const struct leat_parser *p, size_t token, const char *const *words) {
    for (; *words; words++)
        if (leat_parser_is_at(p, token, *words))
            return true;
    return false;
}

const char *const leat_words_after_relation[] = {
    "WHERE",  "GROUP", "HAVING", "ORDER",  "LIMIT",  "OFFSET", "UNION",      "EXCEPT", "INTERSECT",   "JOIN",
    "INNER",  "LEFT",  "RIGHT",  "FULL",   "CROSS",  "NATURAL", "ON",        "USING",  "WINDOW",      "QUALIFY",
    "SEMI",   "ANTI",  "ASOF",   "SELECT", "FETCH",  "EMIT",   "POSITIONAL", "PIVOT",  "TABLESAMPLE", "UNPIVOT",
    "LATERAL", "FOR",  NULL,
};

/* ---- the walk ---- */

/* A relation at p->at in FROM; moves behind it (its parentheses are left to the walk). */
static void walk_relation(struct leat_walk *w) {
    struct leat_parser *p = w->p;
    struct leat_walk_frame *f = &w->frames[w->depth];
    size_t at = p->at;
    bool call = leat_walk_is_operator(w, at + 1, "(");
    f->expect = false;
    p->at++;
    if (leat_walk_token(w, at)->kind == LEAT_TOKEN_STRING) {
        leat_walk_fail(w, at, "declare it: CREATE SOURCE ... WITH (connector = 'file', path = '...')",
             "a query cannot read a file by its path");
    } else if (leat_parser_is_at(p, at, "LATERAL")) {
        f->expect = true;
    } else if (leat_walk_is_window(w, at)) {
        leat_walk_window(w, at);
    } else if (leat_walk_is_operator(w, at + 1, ":") && leat_walk_is_name(w, at)) {
        p->at++; /* alias: relation */
        f->expect = true;
    } else if (leat_walk_is_operator(w, at + 1, ".")) {
        leat_walk_fail(w, at + 1, "leave out what stands before the dot", "names of a project are not qualified");
    } else if (leat_walk_is_name(w, at) && leat_parser_is_at(p, at + 1, "FOR") && leat_parser_is_at(p, at + 2, "SYSTEM_TIME")) {
        leat_walk_as_of(w, at);
    } else if (leat_walk_is_name(w, at) && !call) {
        leat_walk_reference(w, at, 0);
    }
}

static void open_frame(struct leat_walk *w, char close) {
    struct leat_parser *p = w->p;
    struct leat_walk_frame *outer = &w->frames[w->depth];
    bool relation = outer->expect && close == ')';
    outer->expect = false;
    if (w->depth + 1 >= QUERY_DEPTH_MAX) {
        leat_walk_fail(w, p->at, "move inner parts to views", "parentheses are nested too deeply");
        p->at = p->end;
        return;
    }
    p->at++;
    w->frames[++w->depth] = (struct leat_walk_frame){
        .first = p->at, .cte_base = w->cte_count, .in_from = relation, .expect = relation, .close = close};
}

static void close_frame(struct leat_walk *w) {
    struct leat_walk_frame *f = &w->frames[w->depth];
    size_t at = w->p->at++;
    char close = w->p->tokens.text[leat_walk_token(w, at)->offset];
    if (close != f->close) {
        char message[64];
        if (f->close)
            snprintf(message, sizeof message, "expected '%c', found '%c'", f->close, close);
        else
            snprintf(message, sizeof message, "this '%c' closes nothing", close);
        leat_walk_fail(w, at, NULL, message);
        w->p->at = w->p->end;
        return;
    }
    free(f->pending_cte);
    while (w->cte_count > f->cte_base)
        free(w->ctes[--w->cte_count]);
    w->depth--;
}

static void declare_cte(struct leat_walk *w, char *name) {
    w->ctes = leat_realloc(w->ctes, (w->cte_count + 1) * sizeof *w->ctes);
    w->ctes[w->cte_count++] = name;
}

/* Tokens between WITH and the query proper. True when the token is used up. */
static bool walk_with(struct leat_walk *w) {
    struct leat_parser *p = w->p;
    struct leat_walk_frame *f = &w->frames[w->depth];
    if (f->cte_name_next) {
        if (leat_parser_accept(p, "RECURSIVE")) {
            f->recursive = true;
            return true;
        }
        if (!leat_walk_is_name(w, p->at))
            return false;
        f->cte_name_next = false;
        char *name = leat_token_value(&p->tokens, p->at++);
        if (f->recursive) {
            declare_cte(w, name);
        } else {
            free(f->pending_cte);
            f->pending_cte = name;
        }
        return true;
    }
    bool inner = leat_walk_is_operator(w, p->at, "(") && leat_walk_is_operator(w, p->at - 1, ")"); /* WITH ... AS (...) (SELECT ...) */
    if (inner || leat_walk_is_operator(w, p->at, ",") || leat_parser_is(p, "SELECT") || leat_parser_is(p, "FROM") ||
        leat_parser_is(p, "VALUES")) {
        if (f->pending_cte)
            declare_cte(w, f->pending_cte);
        f->pending_cte = NULL;
        if (leat_walk_is_operator(w, p->at, ",")) {
            f->cte_name_next = true;
            p->at++;
            return true;
        }
        f->in_with = false;
    }
    return false;
}

/* FROM that begins a clause, not that of IS DISTINCT FROM or extract(year FROM t). */
static bool is_from_clause(const struct leat_walk *w) {
    const struct leat_parser *p = w->p;
    const struct leat_walk_frame *f = &w->frames[w->depth];
    if (p->at >= 2 && p->at - 1 > f->first && leat_parser_is_at(p, p->at - 1, "DISTINCT") &&
        (leat_parser_is_at(p, p->at - 2, "IS") || leat_parser_is_at(p, p->at - 2, "NOT")))
        return false;
    return f->query || p->at == f->first;
}

static void walk_word(struct leat_walk *w) {
    static const char *const ends_from[] = {"WHERE",  "GROUP",  "HAVING", "WINDOW",    "QUALIFY", "ORDER",
                                            "LIMIT",  "OFFSET", "UNION",  "INTERSECT", "EXCEPT",  NULL};
    static const char *const set_words[] = {"UNION", "ALL", "EXCEPT", "INTERSECT", "NAME", NULL};
    struct leat_parser *p = w->p;
    struct leat_walk_frame *f = &w->frames[w->depth];
    size_t at = p->at++;
    if (at > f->first && leat_walk_is_operator(w, at - 1, "."))
        return; /* a column behind its relation's name */
    if (leat_parser_is_at(p, at, "SELECT") || leat_parser_is_at(p, at, "VALUES")) {
        f->query = true;
        f->in_from = f->expect = false;
    } else if (leat_parser_is_at(p, at, "WITH") && (at == f->first || leat_parser_is_one_of(p, at - 1, set_words))) {
        f->query = f->in_with = f->cte_name_next = true;
        f->in_from = f->expect = f->recursive = false;
    } else if (leat_parser_is_at(p, at, "FROM")) {
        p->at = at;
        bool clause = is_from_clause(w) || leat_parser_is_one_of(p, at - 1, set_words);
        p->at = at + 1;
        if (clause)
            f->query = f->in_from = f->expect = true;
    } else if (leat_parser_is_at(p, at, "JOIN") && f->in_from) {
        f->expect = true;
    } else if (leat_parser_is_one_of(p, at, ends_from)) {
        f->in_from = f->expect = false;
    } else if (leat_parser_is_at(p, at, "FOR") && leat_parser_is_at(p, at + 1, "SYSTEM_TIME")) {
        leat_walk_fail(w, at, leat_as_of_form, "FOR SYSTEM_TIME AS OF stands behind a reference's name in JOIN");
    } else if (leat_parser_is_at(p, at, "WITHIN") && leat_parser_is_at(p, at + 1, "INTERVAL")) {
        leat_walk_fail(w, at, "leave it out: every key is kept", "this version of leat does not run a de-duplication horizon (WITHIN)");
    } else if (leat_parser_is_at(p, at, "EMIT") && leat_parser_is_at(p, at + 1, "ON")) {
        leat_walk_fail(w, at, "write it before AS or at the end of the statement", "EMIT ON WINDOW CLOSE cannot stand inside a query");
    } else {
        leat_walk_refuse_window(w, at);
    }
}

/* What HOP and SESSION become says more about a value than its arguments do: only they may write it. */
static bool is_own_call(const struct leat_walk *w, size_t token) {
    static const char *const own[] = {"leat_hop", "leat_session_end"};
    if (!leat_walk_is_name(w, token) || !leat_walk_is_operator(w, token + 1, "("))
        return false;
    char *name = leat_token_value(&w->p->tokens, token);
    bool found = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        found |= strcasecmp(name, own[i]) == 0;
    free(name);
    return found;
}

static void walk_token(struct leat_walk *w) {
    struct leat_parser *p = w->p;
    struct leat_walk_frame *f = &w->frames[w->depth];
    leat_walk_end_as_of(w);
    if (is_own_call(w, p->at))
        leat_walk_fail(w, p->at, "write FROM HOP(...) or FROM SESSION(...)", "this function is leat's own");
    if (f->in_with && walk_with(w))
        return;
    char c = leat_walk_token(w, p->at)->kind == LEAT_TOKEN_OPERATOR ? p->tokens.text[leat_walk_token(w, p->at)->offset] : 0;
    if (c == '(' || c == '[' || c == '{') {
        open_frame(w, c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
        close_frame(w);
    } else if (leat_walk_is_operator(w, p->at, ",") && f->in_from) {
        f->expect = true;
        p->at++;
    } else if (f->expect && !leat_parser_is(p, "SELECT") && !leat_parser_is(p, "FROM") && !leat_parser_is(p, "WITH") &&
               !leat_parser_is(p, "VALUES") && (leat_walk_is_name(w, p->at) || leat_walk_token(w, p->at)->kind == LEAT_TOKEN_STRING)) {
        walk_relation(w);
    } else if (leat_walk_token(w, p->at)->kind == LEAT_TOKEN_WORD) {
        walk_word(w);
    } else {
        f->expect = false;
        p->at++;
    }
}

static bool starts_query(const struct leat_parser *p) {
    return leat_parser_is(p, "SELECT") || leat_parser_is(p, "WITH") || leat_parser_is(p, "FROM") ||
           leat_parser_is(p, "VALUES") || leat_parser_is_operator(p, "(");
}

bool leat_parser_query(struct leat_parser *p, struct leat_object_ref object, char **sql, struct leat_place *sql_place,
                       struct leat_sql_map *map) {
    if (!starts_query(p))
        return leat_parser_expected(p, "a query (SELECT, WITH, FROM or VALUES)");
    struct leat_query query = {.object = object};
    struct leat_walk w = {.p = p, .query = &query, .map = map, .ok = true, .copied_to = p->tokens.items[p->at].offset};
    *sql_place = leat_parser_place(p, p->at);
    map->file = p->file;
    w.frames = leat_alloc(QUERY_DEPTH_MAX * sizeof *w.frames);
    w.frames[0] = (struct leat_walk_frame){.first = p->at};
    const struct leat_token *last = &p->tokens.items[p->end - 1];
    while (p->at < p->end)
        walk_token(&w);
    leat_walk_end_as_of(&w);
    if (w.depth > 0 && w.ok)
        leat_walk_fail(&w, w.frames[w.depth].first - 1, NULL, "this parenthesis is not closed");
    leat_walk_copy_to(&w, last->offset + last->length);
    for (size_t i = 0; i <= w.depth; i++)
        free(w.frames[i].pending_cte);
    leat_names_free(w.ctes, w.cte_count);
    free(w.frames);
    *sql = w.sql.data;
    p->queries = leat_realloc(p->queries, (p->query_count + 1) * sizeof *p->queries);
    p->queries[p->query_count++] = query;
    return w.ok;
}
