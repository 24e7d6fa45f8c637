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
 * (with * less window_start and window_end where the relation may have them), HOP the same over size / slide copies of each row, SESSION
 * window functions that find where gaps are.
 *
 * JOIN name FOR SYSTEM_TIME AS OF time [alias] ON condition becomes a join with name__versions, the rows that the reference ever had, of the one that held then:
 *   JOIN name__versions alias ON (condition) AND valid_from <= time AND time < valid_to
 *
 * The map keeps for every byte of the result the place that it came from. */
#include "project/parse.h"
#include "schedule/civil.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUERY_DEPTH_MAX 200

/* FOR SYSTEM_TIME AS OF, whose condition is being walked: tokens. */
struct as_of {
    bool open;
    size_t name, time, time_count, alias;
};

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
    struct as_of as_of;
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

/* ---- TUMBLE, HOP, SESSION ---- */

enum window_kind { WINDOW_TUMBLE, WINDOW_HOP, WINDOW_SESSION, WINDOW_KINDS };
static const struct {
    const char *name, *form;
} window_kinds[WINDOW_KINDS] = {
    {"TUMBLE", "TUMBLE(relation, time_column, INTERVAL '1' MINUTE [, TIMESTAMP 'origin'])"},
    {"HOP", "HOP(relation, time_column, INTERVAL 'slide' MINUTE, INTERVAL 'size' MINUTE [, TIMESTAMP 'origin'])"},
    {"SESSION", "SESSION(relation, time_column, [PARTITION BY column, ...,] INTERVAL '30' MINUTE)"},
};
#define HOP_WINDOWS_MAX 10000 /* copies of each row */

struct windowing {
    enum window_kind kind;
    size_t word, name, column, close; /* tokens */
    size_t keys, key_count;           /* SESSION: names at every second token from `keys` */
    int64_t width_us, slide_us, origin_us; /* SESSION: width is the gap */
};

static bool window_origin(struct leat_parser *p, const struct windowing *t, int64_t *out) {
    size_t at = p->at;
    bool typed = leat_parser_accept(p, "TIMESTAMP") || leat_parser_accept(p, "DATE");
    if (!typed) {
        leat_parser_error(p, at, "for example TIMESTAMP '2024-01-01 06:00:00'", "the origin of %s must be a TIMESTAMP literal",
                          window_kinds[t->kind].name);
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

/* A name and the comma behind it. */
static bool window_name(struct walk *w, const struct windowing *t, const char *which, const char *what, size_t *out) {
    struct leat_parser *p = w->p;
    *out = p->at;
    if (is_name(w, p->at) && is_operator_at(w, p->at + 1, ",")) {
        p->at += 2;
        return true;
    }
    leat_parser_error(p, p->at, window_kinds[t->kind].form, "the %s argument of %s must be %s", which, window_kinds[t->kind].name, what);
    return false;
}

static bool window_interval(struct walk *w, const struct windowing *t, const char *which, const char *what, int64_t *out) {
    struct leat_parser *p = w->p;
    char text[64];
    if (!leat_parser_is(p, "INTERVAL")) {
        leat_parser_error(p, p->at, window_kinds[t->kind].form, "the %s argument of %s must be an INTERVAL", which,
                          window_kinds[t->kind].name);
        return false;
    }
    snprintf(text, sizeof text, "the %s of %s", what, window_kinds[t->kind].name);
    return leat_parser_interval(p, text, true, out);
}

/* PARTITION BY a, b, */
static bool session_keys(struct walk *w, struct windowing *t) {
    struct leat_parser *p = w->p;
    if (!leat_parser_is(p, "PARTITION"))
        return true;
    p->at++;
    if (!leat_parser_expect(p, "BY"))
        return false;
    t->keys = p->at;
    do {
        size_t ignored;
        if (!window_name(w, t, "PARTITION BY", "columns' names", &ignored))
            return false;
        t->key_count++;
    } while (!leat_parser_is(p, "INTERVAL"));
    return true;
}

/* Slide and size; a row stands in size / slide windows. */
static bool hop_intervals(struct walk *w, struct windowing *t) {
    struct leat_parser *p = w->p;
    if (!window_interval(w, t, "third", "slide", &t->slide_us))
        return false;
    if (!leat_parser_accept_operator(p, ",")) {
        leat_parser_error(p, p->at, window_kinds[t->kind].form, "HOP needs a slide and a size");
        return false;
    }
    size_t at = p->at;
    if (!window_interval(w, t, "fourth", "size", &t->width_us))
        return false;
    if (t->width_us % t->slide_us) {
        leat_parser_error(p, at, "make the size 2, 3, ... times the slide", "the size of HOP must be a multiple of its slide");
        return false;
    }
    if (t->width_us / t->slide_us > HOP_WINDOWS_MAX) {
        leat_parser_error(p, at, "make the slide longer", "HOP would put every row into %" PRId64 " windows; at most %d are possible",
                          t->width_us / t->slide_us, HOP_WINDOWS_MAX);
        return false;
    }
    return true;
}

/* The arguments; p->at is behind the `(`, and behind the `)` on success. */
static bool parse_window(struct walk *w, struct windowing *t) {
    struct leat_parser *p = w->p;
    if (!window_name(w, t, "first", "the name of a relation", &t->name) ||
        !window_name(w, t, "second", "a column's name", &t->column))
        return false;
    if (t->kind == WINDOW_SESSION ? !session_keys(w, t) || !window_interval(w, t, "last", "gap", &t->width_us)
        : t->kind == WINDOW_HOP   ? !hop_intervals(w, t)
                                  : !window_interval(w, t, "third", "width", &t->width_us))
        return false;
    if (t->kind != WINDOW_SESSION && leat_parser_accept_operator(p, ",") && !window_origin(p, t, &t->origin_us))
        return false;
    t->close = p->at;
    if (!leat_parser_is_operator(p, ")")) {
        leat_parser_error(p, p->at, window_kinds[t->kind].form, "these arguments of %s cannot be understood", window_kinds[t->kind].name);
        return false;
    }
    p->at++;
    return true;
}

/* A window over windows: the inner window's columns must not stand beside the new ones, for DuckDB would silently take the
 * first of two columns of one name. */
static const char other_columns[] = "COLUMNS(lambda c: lower(c) NOT IN ('window_start', 'window_end', '__hop', '__first', '__last'))";

static bool may_have_window(const struct walk *w, size_t name_token) {
    char *name = leat_token_value(&w->p->tokens, name_token);
    bool found = is_cte(w, name);
    for (size_t i = 0; i < w->p->windowed_count; i++)
        found |= strcasecmp(w->p->windowed[i], name) == 0;
    free(name);
    return found;
}

static void put_format(struct walk *w, size_t token, const char *format, ...) LEAT_PRINTF(3, 4);
static void put_format(struct walk *w, size_t token, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_written(w, token, text);
}

static void write_tumble(struct walk *w, const struct windowing *t) {
    put_written(w, t->word, may_have_window(w, t->name) ? other_columns : "*");
    put_written(w, t->word, ", leat_tumble(");
    put_token(w, t->column);
    put_format(w, t->word, ", %" PRId64 ", %" PRId64 ") AS window_start, leat_tumble(", t->width_us, t->origin_us);
    put_token(w, t->column);
    put_format(w, t->word, ", %" PRId64 ", %" PRId64 ") + to_microseconds(%" PRId64 ") AS window_end FROM ", t->width_us, t->origin_us,
               t->width_us);
    put_token(w, t->name);
}

/* One copy of the row for each of its windows; one without time stands in one without time, as in TUMBLE. */
static void write_hop(struct walk *w, const struct windowing *t) {
    put_written(w, t->word, may_have_window(w, t->name) ? other_columns : "* EXCLUDE (__hop)");
    for (int end = 0; end < 2; end++) {
        put_written(w, t->word, ", leat_hop(");
        put_token(w, t->column);
        put_format(w, t->word, ", %" PRId64 ", %" PRId64 ", %" PRId64 ", __hop)", t->slide_us, t->width_us, t->origin_us);
        if (end)
            put_format(w, t->word, " + to_microseconds(%" PRId64 ")", t->width_us);
        put_written(w, t->word, end ? " AS window_end" : " AS window_start");
    }
    put_written(w, t->word, " FROM (SELECT *, unnest(range(CASE WHEN ");
    put_token(w, t->column);
    put_format(w, t->word, " IS NULL THEN 1 ELSE %" PRId64 " END)) AS __hop FROM ", t->width_us / t->slide_us);
    put_token(w, t->name);
    put_written(w, t->close, ")");
}

static void put_session_over(struct walk *w, const struct windowing *t, const char *rest) {
    put_written(w, t->word, " OVER (");
    for (size_t i = 0; i < t->key_count; i++) {
        put_written(w, t->word, i ? ", " : "PARTITION BY ");
        put_token(w, t->keys + 2 * i);
    }
    put_written(w, t->word, t->key_count ? " ORDER BY " : "ORDER BY ");
    put_token(w, t->column);
    put_format(w, t->word, "%s)", rest);
}

/* CASE WHEN the neighbour is no more than the gap away THEN NULL ELSE the time END */
static void put_session_edge(struct walk *w, const struct windowing *t, bool last) {
    put_written(w, t->word, last ? ", CASE WHEN epoch_us(lead(" : ", CASE WHEN epoch_us(");
    put_token(w, t->column);
    put_written(w, t->word, ")");
    if (last) {
        put_session_over(w, t, "");
        put_written(w, t->word, ") - epoch_us(");
    } else {
        put_written(w, t->word, " - epoch_us(lag(");
    }
    put_token(w, t->column);
    put_written(w, t->word, ")");
    if (!last) {
        put_session_over(w, t, "");
        put_written(w, t->word, ")");
    }
    put_format(w, t->word, " <= %" PRId64 " THEN NULL ELSE ", t->width_us);
    put_token(w, t->column);
    put_written(w, t->word, last ? " END AS __last" : " END AS __first");
}

/* The first time of a session is the latest first one up to the row, the last time the earliest last one from it on. */
static void write_session(struct walk *w, const struct windowing *t) {
    put_written(w, t->word, may_have_window(w, t->name) ? other_columns : "* EXCLUDE (__first, __last)");
    put_written(w, t->word, ", CASE WHEN ");
    put_token(w, t->column);
    put_written(w, t->word, " IS NULL THEN NULL ELSE max(__first)");
    put_session_over(w, t, "");
    put_written(w, t->word, " END AS window_start, leat_session_end(min(__last)");
    put_session_over(w, t, " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING");
    put_format(w, t->word, " + to_microseconds(%" PRId64 "), ", t->width_us);
    put_token(w, t->column);
    put_written(w, t->word, ") AS window_end FROM (SELECT *");
    put_session_edge(w, t, false);
    put_session_edge(w, t, true);
    put_written(w, t->word, " FROM ");
    put_token(w, t->name);
    put_written(w, t->close, ")");
}

static void write_window(struct walk *w, const struct windowing *t) {
    static void (*const write[WINDOW_KINDS])(struct walk *, const struct windowing *) = {write_tumble, write_hop, write_session};
    copy_up_to(w, token_at(w, t->word)->offset);
    put_written(w, t->word, "(SELECT ");
    write[t->kind](w, t);
    put_written(w, t->close, ")");
    size_t next = t->close + 1;
    bool alias = leat_parser_is_at(w->p, next, "AS") || (is_name(w, next) && !is_one_of(w->p, next, after_relation));
    if (!alias) {
        put_written(w, t->name, " AS ");
        put_token(w, t->name);
    }
    w->copied_to = token_at(w, t->close)->offset + token_at(w, t->close)->length;
}

/* A call at `token` in FROM that is a window over a relation; WINDOW_KINDS: another. */
static enum window_kind window_kind_at(const struct walk *w, size_t token) {
    int kind = 0;
    while (kind < WINDOW_KINDS && !(is_operator_at(w, token + 1, "(") && leat_parser_is_at(w->p, token, window_kinds[kind].name)))
        kind++;
    return (enum window_kind)kind;
}

/* ---- FOR SYSTEM_TIME AS OF ---- */

static const char as_of_form[] = "JOIN reference FOR SYSTEM_TIME AS OF time_column [AS] alias ON condition";

/* Behind an inner or a left JOIN: others ask for rows that no time was given for. */
static bool as_of_joins(const struct leat_parser *p, size_t name) {
    static const char *const others[] = {"RIGHT", "FULL", "NATURAL", "ASOF", "POSITIONAL", "CROSS", NULL};
    if (name < 2 || !leat_parser_is_at(p, name - 1, "JOIN"))
        return false;
    size_t kind = name - 2;
    if (kind && leat_parser_is_at(p, kind, "OUTER"))
        kind--;
    return !is_one_of(p, kind, others);
}

/* From FOR up to ON; p->at is behind it then. */
static bool parse_as_of(struct walk *w, struct as_of *t) {
    struct leat_parser *p = w->p;
    if (!leat_parser_expect(p, "AS") || !leat_parser_expect(p, "OF"))
        return false;
    t->time = p->at;
    if (!is_name(w, p->at)) {
        leat_parser_error(p, p->at, as_of_form, "FOR SYSTEM_TIME AS OF needs a column with a time");
        return false;
    }
    p->at++;
    if (is_operator_at(w, p->at, ".") && is_name(w, p->at + 1))
        p->at += 2;
    t->time_count = p->at - t->time;
    bool as = leat_parser_accept(p, "AS");
    t->alias = t->name;
    if (is_name(w, p->at) && (as || !is_one_of(p, p->at, after_relation)))
        t->alias = p->at++;
    if (leat_parser_accept(p, "ON"))
        return true;
    leat_parser_error(p, p->at, leat_parser_is(p, "USING") ? "write ON a.key = b.key" : as_of_form, "a join FOR SYSTEM_TIME AS OF needs ON");
    return false;
}

static void begin_as_of(struct walk *w, size_t name) {
    struct leat_parser *p = w->p;
    struct as_of t = {.open = true, .name = name};
    p->at = name + 3; /* where that is said wrongly, it is said once */
    char *text = leat_token_value(&p->tokens, name), *versions = leat_asprintf("%s__versions", text);
    if (is_cte(w, text)) {
        fail(w, name, "name the source itself", "only reference sources have versions");
    } else if (!as_of_joins(p, name)) {
        fail(w, name + 1, as_of_form, "FOR SYSTEM_TIME AS OF stands behind JOIN or LEFT JOIN");
    } else if (!parse_as_of(w, &t)) {
        w->ok = false;
    } else {
        struct leat_buffer relation = {0};
        leat_put_sql_name(&relation, versions);
        add_reference(w, name, 0);
        w->query->references[w->query->reference_count - 1].as_of = true;
        copy_up_to(w, token_at(w, name)->offset);
        put_written(w, name, relation.data);
        put_written(w, name, " AS ");
        put_token(w, t.alias);
        put_written(w, name, " ON (");
        w->copied_to = token_at(w, p->at - 1)->offset + token_at(w, p->at - 1)->length;
        w->frames[w->depth].as_of = t;
        leat_buffer_deinit(&relation);
    }
    free(text);
    free(versions);
}

/* Does the condition end before the token at p->at? */
static bool ends_condition(const struct walk *w) {
    const struct leat_parser *p = w->p;
    size_t at = p->at;
    if (at >= p->end || is_operator_at(w, at, ")") || is_operator_at(w, at, ","))
        return true;
    if (token_at(w, at)->kind != LEAT_TOKEN_WORD || is_operator_at(w, at - 1, ".") || leat_parser_is_at(p, at, "EMIT"))
        return false;
    bool call = is_operator_at(w, at + 1, "(") && (leat_parser_is_at(p, at, "LEFT") || leat_parser_is_at(p, at, "RIGHT"));
    return !call && is_one_of(p, at, after_relation);
}

static void put_bound(struct walk *w, const struct as_of *t, const char *column, const char *otherwise) {
    put_written(w, t->name, "coalesce(epoch_us(");
    put_token(w, t->alias);
    put_format(w, t->name, ".%s), %s)", column, otherwise);
}

static void put_time(struct walk *w, const struct as_of *t) {
    put_written(w, t->time, "epoch_us(");
    for (size_t i = 0; i < t->time_count; i++)
        put_token(w, t->time + i);
    put_written(w, t->time, ")");
}

static void end_as_of(struct walk *w) {
    struct as_of t = w->frames[w->depth].as_of;
    const struct leat_token *last = token_at(w, w->p->at - 1);
    w->frames[w->depth].as_of.open = false;
    copy_up_to(w, last->offset + last->length);
    put_written(w, t.name, ") AND ");
    put_bound(w, &t, "valid_from", "-9000000000000000000");
    put_written(w, t.name, " <= ");
    put_time(w, &t);
    put_written(w, t.name, " AND ");
    put_time(w, &t);
    put_written(w, t.name, " < ");
    put_bound(w, &t, "valid_to", "9000000000000000000");
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
    } else if (window_kind_at(w, at) != WINDOW_KINDS) {
        struct windowing t = {.kind = window_kind_at(w, at), .word = at};
        p->at++;
        if (parse_window(w, &t)) {
            add_reference(w, t.name, t.column);
            write_window(w, &t);
        } else {
            w->ok = false;
            p->at = at + 1;
        }
    } else if (is_operator_at(w, at + 1, ":") && is_name(w, at)) {
        p->at++; /* alias: relation */
        f->expect = true;
    } else if (is_operator_at(w, at + 1, ".")) {
        fail(w, at + 1, "leave out what stands before the dot", "names of a project are not qualified");
    } else if (is_name(w, at) && leat_parser_is_at(p, at + 1, "FOR") && leat_parser_is_at(p, at + 2, "SYSTEM_TIME")) {
        begin_as_of(w, at);
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
        fail(w, at, as_of_form, "FOR SYSTEM_TIME AS OF stands behind a reference's name in JOIN");
    } else if (leat_parser_is_at(p, at, "WITHIN") && leat_parser_is_at(p, at + 1, "INTERVAL")) {
        fail(w, at, "leave it out: every key is kept", "this version of leat does not run a de-duplication horizon (WITHIN)");
    } else if (leat_parser_is_at(p, at, "EMIT") && leat_parser_is_at(p, at + 1, "ON")) {
        fail(w, at, "write it before AS or at the end of the statement", "EMIT ON WINDOW CLOSE cannot stand inside a query");
    } else if (window_kind_at(w, at) != WINDOW_KINDS) {
        char message[64], hint[160];
        snprintf(message, sizeof message, "%s is a relation and stands in FROM", window_kinds[window_kind_at(w, at)].name);
        snprintf(hint, sizeof hint, "write FROM %s", window_kinds[window_kind_at(w, at)].form);
        fail(w, at, hint, message);
    }
}

/* What HOP and SESSION become says more about a value than its arguments do: only they may write it. */
static bool is_own_call(const struct walk *w, size_t token) {
    static const char *const own[] = {"leat_hop", "leat_session_end"};
    if (!is_name(w, token) || !is_operator_at(w, token + 1, "("))
        return false;
    char *name = leat_token_value(&w->p->tokens, token);
    bool found = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        found |= strcasecmp(name, own[i]) == 0;
    free(name);
    return found;
}

static void walk_token(struct walk *w) {
    struct leat_parser *p = w->p;
    struct frame *f = &w->frames[w->depth];
    if (f->as_of.open && ends_condition(w))
        end_as_of(w);
    if (is_own_call(w, p->at))
        fail(w, p->at, "write FROM HOP(...) or FROM SESSION(...)", "this function is leat's own");
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
    if (w.depth == 0 && w.frames[0].as_of.open)
        end_as_of(&w);
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
