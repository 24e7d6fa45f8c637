/* One query: which relations it names, and the rewriting of window functions in FROM into SQL that DuckDB runs.
 *
 * The query is walked once, token by token, with a stack of parentheses. For each it is known whether it holds a
 * query, whether the walk is in a FROM clause, and whether a relation is expected next (after FROM, JOIN, a comma);
 * CTE names live in the parenthesis that declares them. That is enough to tell relations from columns, aliases and
 * functions without a grammar: FROM, JOIN, SELECT, WHERE ... are reserved words in DuckDB.
 *
 * TUMBLE(name, column, INTERVAL 'n' unit [, TIMESTAMP 'origin']) [alias] becomes
 *   (SELECT *, leat_tumble(column, width, origin) AS window_start,
 *    leat_tumble(column, width, origin) + to_microseconds(width) AS window_end FROM name) alias
 * (with * less window_start and window_end where the relation may have them), and the map keeps for every byte of the result the place that it came from. */
#include "project/parse.h"
#include "schedule/civil.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUERY_DEPTH_MAX 200

struct frame {
    bool query;       /* a SELECT, FROM, VALUES ... stands in it */
    bool in_from;
    bool expect;      /* a relation comes next */
    bool in_with;     /* between WITH and the query's own SELECT */
    bool recursive;
    bool cte_name_next;
    char close;       /* ) ] or } */
    size_t first;     /* its first token */
    size_t cte_base;  /* CTE names below are those of outer parentheses */
    char *pending_cte; /* declared, but not visible inside its own body */
};
struct walk {
    struct leat_parser *p;
    struct leat_query *query;
    struct frame *frames; /* [depth] is the current one */
    size_t depth;
    char **ctes;
    size_t cte_count;
    struct leat_buffer sql;
    struct leat_sql_map *map;
    size_t copied_to; /* file offset up to which text is in sql */
    bool ok;
};

static const struct leat_token *token_at(const struct walk *w, size_t i) {
    return &w->p->tokens.items[i];
}

static void fail(struct walk *w, size_t token, const char *suggestion, const char *message) {
    leat_parser_error(w->p, token, suggestion, "%s", message);
    w->ok = false;
}

/* ---- rewritten text and its map ---- */

static void add_piece(struct walk *w, size_t file_offset, bool copied) {
    struct leat_sql_map *map = w->map;
    map->pieces = leat_realloc(map->pieces, (map->piece_count + 1) * sizeof *map->pieces);
    map->pieces[map->piece_count++] = (struct leat_sql_piece){
        .sql_offset = (uint32_t)w->sql.length, .file_offset = (uint32_t)file_offset, .copied = copied};
}

static void copy_up_to(struct walk *w, size_t file_offset) {
    if (file_offset > w->copied_to) {
        add_piece(w, w->copied_to, true);
        leat_putn(&w->sql, w->p->tokens.text + w->copied_to, file_offset - w->copied_to);
    }
    w->copied_to = file_offset;
}

static void put_written(struct walk *w, size_t token, const char *text) {
    add_piece(w, token_at(w, token)->offset, false);
    leat_put(&w->sql, text);
}

static void put_token(struct walk *w, size_t token) {
    add_piece(w, token_at(w, token)->offset, true);
    leat_putn(&w->sql, w->p->tokens.text + token_at(w, token)->offset, token_at(w, token)->length);
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

static bool is_cte(const struct walk *w, const char *name) {
    for (size_t i = w->cte_count; i > 0; i--)
        if (strcasecmp(w->ctes[i - 1], name) == 0)
            return true;
    return false;
}

static void add_reference(struct walk *w, size_t token, size_t time_token) {
    char *name = leat_token_value(&w->p->tokens, token);
    if (is_cte(w, name)) {
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

static bool is_name(const struct walk *w, size_t i) {
    return i < w->p->end && (token_at(w, i)->kind == LEAT_TOKEN_WORD || token_at(w, i)->kind == LEAT_TOKEN_QUOTED);
}

static bool is_operator_at(const struct walk *w, size_t i, const char *bytes) {
    return i < w->p->end && leat_token_is_operator(&w->p->tokens, i, bytes);
}

static bool is_one_of(const struct leat_parser *p, size_t token, const char *const *words) {
    for (; *words; words++)
        if (leat_parser_is_at(p, token, *words))
            return true;
    return false;
}

/* Words that can stand behind a relation in FROM and are not its alias. */
static const char *const after_relation[] = {
    "WHERE",  "GROUP", "HAVING", "ORDER",  "LIMIT",  "OFFSET", "UNION",      "EXCEPT", "INTERSECT",   "JOIN",
    "INNER",  "LEFT",  "RIGHT",  "FULL",   "CROSS",  "NATURAL", "ON",        "USING",  "WINDOW",      "QUALIFY",
    "SEMI",   "ANTI",  "ASOF",   "SELECT", "FETCH",  "EMIT",   "POSITIONAL", "PIVOT",  "TABLESAMPLE", "UNPIVOT",
    "LATERAL", "FOR",  NULL,
};

/* ---- TUMBLE ---- */

struct tumble {
    size_t word, name, column, close; /* tokens */
    int64_t width_us, origin_us;
};

static bool tumble_origin(struct leat_parser *p, int64_t *out) {
    size_t at = p->at;
    bool typed = leat_parser_accept(p, "TIMESTAMP") || leat_parser_accept(p, "DATE");
    if (!typed) {
        leat_parser_error(p, at, "for example TIMESTAMP '2024-01-01 06:00:00'",
                          "the origin of TUMBLE must be a TIMESTAMP literal");
        return false;
    }
    char *text = leat_parser_string(p, "a point in time such as '2024-01-01 06:00:00'");
    if (!text)
        return false;
    bool ok = leat_civil_parse(text, strlen(text), out);
    if (!ok)
        leat_parser_error(p, p->at - 1, "for example '2024-01-01 06:00:00'", "'%.40s' is not a point in time", text);
    free(text);
    return ok;
}

/* The arguments; p->at is behind the `(`, and behind the `)` on success. */
static bool parse_tumble(struct walk *w, struct tumble *t) {
    static const char *const form = "TUMBLE(relation, time_column, INTERVAL '1' MINUTE [, TIMESTAMP 'origin'])";
    struct leat_parser *p = w->p;
    t->name = p->at;
    if (!is_name(w, p->at) || !(is_operator_at(w, p->at + 1, ","))) {
        leat_parser_error(p, p->at, form, "the first argument of TUMBLE must be the name of a relation");
        return false;
    }
    p->at += 2;
    t->column = p->at;
    if (!is_name(w, p->at) || !(is_operator_at(w, p->at + 1, ","))) {
        leat_parser_error(p, p->at, form, "the second argument of TUMBLE must be a column's name");
        return false;
    }
    p->at += 2;
    if (!leat_parser_is(p, "INTERVAL")) {
        leat_parser_error(p, p->at, form, "the third argument of TUMBLE must be an INTERVAL");
        return false;
    }
    if (!leat_parser_interval(p, "the width of TUMBLE", true, &t->width_us))
        return false;
    if (leat_parser_accept_operator(p, ",") && !tumble_origin(p, &t->origin_us))
        return false;
    t->close = p->at;
    if (!leat_parser_is_operator(p, ")")) {
        leat_parser_error(p, p->at, form, "these arguments of TUMBLE cannot be understood");
        return false;
    }
    p->at++;
    return true;
}

/* A window over windows: the inner window's columns must not stand beside the new ones, for DuckDB would silently take the
 * first of two columns of one name. */
static const char other_columns[] = "COLUMNS(lambda c: lower(c) NOT IN ('window_start', 'window_end'))";

static bool may_have_window(const struct walk *w, size_t name_token) {
    char *name = leat_token_value(&w->p->tokens, name_token);
    bool found = is_cte(w, name);
    for (size_t i = 0; i < w->p->windowed_count; i++)
        found |= strcasecmp(w->p->windowed[i], name) == 0;
    free(name);
    return found;
}

static void write_tumble(struct walk *w, const struct tumble *t) {
    char text[128];
    copy_up_to(w, token_at(w, t->word)->offset);
    put_written(w, t->word, "(SELECT ");
    put_written(w, t->word, may_have_window(w, t->name) ? other_columns : "*");
    put_written(w, t->word, ", leat_tumble(");
    put_token(w, t->column);
    snprintf(text, sizeof text, ", %" PRId64 ", %" PRId64 ") AS window_start, leat_tumble(", t->width_us, t->origin_us);
    put_written(w, t->word, text);
    put_token(w, t->column);
    snprintf(text, sizeof text, ", %" PRId64 ", %" PRId64 ") + to_microseconds(%" PRId64 ") AS window_end FROM ", t->width_us,
             t->origin_us, t->width_us);
    put_written(w, t->word, text);
    put_token(w, t->name);
    put_written(w, t->close, ")");
    size_t next = t->close + 1;
    bool alias = leat_parser_is_at(w->p, next, "AS") || (is_name(w, next) && !is_one_of(w->p, next, after_relation));
    if (!alias) {
        put_written(w, t->name, " AS ");
        put_token(w, t->name);
    }
    w->copied_to = token_at(w, t->close)->offset + token_at(w, t->close)->length;
}

/* ---- the walk ---- */

/* A relation at p->at in FROM; moves behind it (its parentheses are left to the walk). */
static void walk_relation(struct walk *w) {
    struct leat_parser *p = w->p;
    struct frame *f = &w->frames[w->depth];
    size_t at = p->at;
    bool call = is_operator_at(w, at + 1, "(");
    f->expect = false;
    p->at++;
    if (token_at(w, at)->kind == LEAT_TOKEN_STRING) {
        fail(w, at, "declare it: CREATE SOURCE ... WITH (connector = 'file', path = '...')",
             "a query cannot read a file by its path");
    } else if (leat_parser_is_at(p, at, "LATERAL")) {
        f->expect = true;
    } else if (call && leat_parser_is_at(p, at, "TUMBLE")) {
        struct tumble t = {.word = at};
        p->at++;
        if (parse_tumble(w, &t)) {
            add_reference(w, t.name, t.column);
            write_tumble(w, &t);
        } else {
            w->ok = false;
            p->at = at + 1;
        }
    } else if (call && (leat_parser_is_at(p, at, "HOP") || leat_parser_is_at(p, at, "SESSION"))) {
        fail(w, at, "this version has TUMBLE(relation, time_column, INTERVAL ...)",
             leat_parser_is_at(p, at, "HOP") ? "this version of leat does not run HOP windows"
                                             : "this version of leat does not run SESSION windows");
    } else if (is_operator_at(w, at + 1, ":") && is_name(w, at)) {
        p->at++; /* alias: relation */
        f->expect = true;
    } else if (is_operator_at(w, at + 1, ".")) {
        fail(w, at + 1, "leave out what stands before the dot", "names of a project are not qualified");
    } else if (is_name(w, at) && !call) {
        add_reference(w, at, 0);
    }
}

static void open_frame(struct walk *w, char close) {
    struct leat_parser *p = w->p;
    struct frame *outer = &w->frames[w->depth];
    bool relation = outer->expect && close == ')';
    outer->expect = false;
    if (w->depth + 1 >= QUERY_DEPTH_MAX) {
        fail(w, p->at, "move inner parts to views", "parentheses are nested too deeply");
        p->at = p->end;
        return;
    }
    p->at++;
    w->frames[++w->depth] = (struct frame){
        .first = p->at, .cte_base = w->cte_count, .in_from = relation, .expect = relation, .close = close};
}

static void close_frame(struct walk *w) {
    struct frame *f = &w->frames[w->depth];
    size_t at = w->p->at++;
    char close = w->p->tokens.text[token_at(w, at)->offset];
    if (close != f->close) {
        char message[64];
        if (f->close)
            snprintf(message, sizeof message, "expected '%c', found '%c'", f->close, close);
        else
            snprintf(message, sizeof message, "this '%c' closes nothing", close);
        fail(w, at, NULL, message);
        w->p->at = w->p->end;
        return;
    }
    free(f->pending_cte);
    while (w->cte_count > f->cte_base)
        free(w->ctes[--w->cte_count]);
    w->depth--;
}

static void declare_cte(struct walk *w, char *name) {
    w->ctes = leat_realloc(w->ctes, (w->cte_count + 1) * sizeof *w->ctes);
    w->ctes[w->cte_count++] = name;
}

/* Tokens between WITH and the query proper. True when the token is used up. */
static bool walk_with(struct walk *w) {
    struct leat_parser *p = w->p;
    struct frame *f = &w->frames[w->depth];
    if (f->cte_name_next) {
        if (leat_parser_accept(p, "RECURSIVE")) {
            f->recursive = true;
            return true;
        }
        if (!is_name(w, p->at))
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
    bool inner = is_operator_at(w, p->at, "(") && is_operator_at(w, p->at - 1, ")"); /* WITH ... AS (...) (SELECT ...) */
    if (inner || is_operator_at(w, p->at, ",") || leat_parser_is(p, "SELECT") || leat_parser_is(p, "FROM") ||
        leat_parser_is(p, "VALUES")) {
        if (f->pending_cte)
            declare_cte(w, f->pending_cte);
        f->pending_cte = NULL;
        if (is_operator_at(w, p->at, ",")) {
            f->cte_name_next = true;
            p->at++;
            return true;
        }
        f->in_with = false;
    }
    return false;
}

/* FROM that begins a clause, not that of IS DISTINCT FROM or extract(year FROM t). */
static bool is_from_clause(const struct walk *w) {
    const struct leat_parser *p = w->p;
    const struct frame *f = &w->frames[w->depth];
    if (p->at >= 2 && p->at - 1 > f->first && leat_parser_is_at(p, p->at - 1, "DISTINCT") &&
        (leat_parser_is_at(p, p->at - 2, "IS") || leat_parser_is_at(p, p->at - 2, "NOT")))
        return false;
    return f->query || p->at == f->first;
}

static void walk_word(struct walk *w) {
    static const char *const ends_from[] = {"WHERE",  "GROUP",  "HAVING", "WINDOW",    "QUALIFY", "ORDER",
                                            "LIMIT",  "OFFSET", "UNION",  "INTERSECT", "EXCEPT",  NULL};
    static const char *const set_words[] = {"UNION", "ALL", "EXCEPT", "INTERSECT", "NAME", NULL};
    struct leat_parser *p = w->p;
    struct frame *f = &w->frames[w->depth];
    size_t at = p->at++;
    if (at > f->first && is_operator_at(w, at - 1, "."))
        return; /* a column behind its relation's name */
    if (leat_parser_is_at(p, at, "SELECT") || leat_parser_is_at(p, at, "VALUES")) {
        f->query = true;
        f->in_from = f->expect = false;
    } else if (leat_parser_is_at(p, at, "WITH") && (at == f->first || is_one_of(p, at - 1, set_words))) {
        f->query = f->in_with = f->cte_name_next = true;
        f->in_from = f->expect = f->recursive = false;
    } else if (leat_parser_is_at(p, at, "FROM")) {
        p->at = at;
        bool clause = is_from_clause(w) || is_one_of(p, at - 1, set_words);
        p->at = at + 1;
        if (clause)
            f->query = f->in_from = f->expect = true;
    } else if (leat_parser_is_at(p, at, "JOIN") && f->in_from) {
        f->expect = true;
    } else if (is_one_of(p, at, ends_from)) {
        f->in_from = f->expect = false;
    } else if (leat_parser_is_at(p, at, "FOR") && leat_parser_is_at(p, at + 1, "SYSTEM_TIME")) {
        fail(w, at, "a plain JOIN takes the current version of a reference",
             "this version of leat does not run FOR SYSTEM_TIME AS OF");
    } else if (leat_parser_is_at(p, at, "WITHIN") && leat_parser_is_at(p, at + 1, "INTERVAL")) {
        fail(w, at, "leave it out: every key is kept", "this version of leat does not run a de-duplication horizon (WITHIN)");
    } else if (leat_parser_is_at(p, at, "EMIT") && leat_parser_is_at(p, at + 1, "ON")) {
        fail(w, at, "write it before AS or at the end of the statement", "EMIT ON WINDOW CLOSE cannot stand inside a query");
    } else if (is_operator_at(w, at + 1, "(") && leat_parser_is_at(p, at, "TUMBLE")) {
        fail(w, at, "write FROM TUMBLE(relation, time_column, INTERVAL ...)", "TUMBLE is a relation and stands in FROM");
    }
}

static void walk_token(struct walk *w) {
    struct leat_parser *p = w->p;
    struct frame *f = &w->frames[w->depth];
    if (f->in_with && walk_with(w))
        return;
    char c = token_at(w, p->at)->kind == LEAT_TOKEN_OPERATOR ? p->tokens.text[token_at(w, p->at)->offset] : 0;
    if (c == '(' || c == '[' || c == '{') {
        open_frame(w, c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
        close_frame(w);
    } else if (is_operator_at(w, p->at, ",") && f->in_from) {
        f->expect = true;
        p->at++;
    } else if (f->expect && !leat_parser_is(p, "SELECT") && !leat_parser_is(p, "FROM") && !leat_parser_is(p, "WITH") &&
               !leat_parser_is(p, "VALUES") && (is_name(w, p->at) || token_at(w, p->at)->kind == LEAT_TOKEN_STRING)) {
        walk_relation(w);
    } else if (token_at(w, p->at)->kind == LEAT_TOKEN_WORD) {
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
    struct walk w = {.p = p, .query = &query, .map = map, .ok = true, .copied_to = p->tokens.items[p->at].offset};
    *sql_place = leat_parser_place(p, p->at);
    map->file = p->file;
    w.frames = leat_alloc(QUERY_DEPTH_MAX * sizeof *w.frames);
    w.frames[0] = (struct frame){.first = p->at};
    const struct leat_token *last = &p->tokens.items[p->end - 1];
    while (p->at < p->end)
        walk_token(&w);
    if (w.depth > 0 && w.ok)
        fail(&w, w.frames[w.depth].first - 1, NULL, "this parenthesis is not closed");
    copy_up_to(&w, last->offset + last->length);
    for (size_t i = 0; i <= w.depth; i++)
        free(w.frames[i].pending_cte);
    leat_names_free(w.ctes, w.cte_count);
    free(w.frames);
    *sql = w.sql.data;
    p->queries = leat_realloc(p->queries, (p->query_count + 1) * sizeof *p->queries);
    p->queries[p->query_count++] = query;
    return w.ok;
}
