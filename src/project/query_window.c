/* Window functions in FROM.
 *
 * TUMBLE(name, column, INTERVAL 'n' unit [, TIMESTAMP 'origin']) [alias] becomes
 *   (SELECT *, leat_tumble(column, width, origin) AS window_start,
 *    leat_tumble(column, width, origin) + to_microseconds(width) AS window_end FROM name) alias
 * (with * less window_start and window_end where the relation may have them), HOP the same over size / slide copies of each row, SESSION
 * window functions that find where gaps are. */
#include "project/query_internal.h"
#include "schedule/civil.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
static bool window_name(struct leat_walk *w, const struct windowing *t, const char *which, const char *what, size_t *out) {
    struct leat_parser *p = w->p;
    *out = p->at;
    if (leat_walk_is_name(w, p->at) && leat_walk_is_operator(w, p->at + 1, ",")) {
        p->at += 2;
        return true;
    }
    leat_parser_error(p, p->at, window_kinds[t->kind].form, "the %s argument of %s must be %s", which, window_kinds[t->kind].name, what);
    return false;
}

static bool window_interval(struct leat_walk *w, const struct windowing *t, const char *which, const char *what, int64_t *out) {
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
static bool session_keys(struct leat_walk *w, struct windowing *t) {
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
static bool hop_intervals(struct leat_walk *w, struct windowing *t) {
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
static bool parse_window(struct leat_walk *w, struct windowing *t) {
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

static bool may_have_window(const struct leat_walk *w, size_t name_token) {
    char *name = leat_token_value(&w->p->tokens, name_token);
    bool found = leat_walk_is_cte(w, name);
    for (size_t i = 0; i < w->p->windowed_count; i++)
        found |= strcasecmp(w->p->windowed[i], name) == 0;
    free(name);
    return found;
}

static void write_tumble(struct leat_walk *w, const struct windowing *t) {
    leat_walk_put(w, t->word, may_have_window(w, t->name) ? other_columns : "*");
    leat_walk_put(w, t->word, ", leat_tumble(");
    leat_walk_put_token(w, t->column);
    leat_walk_putf(w, t->word, ", %" PRId64 ", %" PRId64 ") AS window_start, leat_tumble(", t->width_us, t->origin_us);
    leat_walk_put_token(w, t->column);
    leat_walk_putf(w, t->word, ", %" PRId64 ", %" PRId64 ") + to_microseconds(%" PRId64 ") AS window_end FROM ", t->width_us, t->origin_us,
               t->width_us);
    leat_walk_put_token(w, t->name);
}

/* One copy of the row for each of its windows; one without time stands in one without time, as in TUMBLE. */
static void write_hop(struct leat_walk *w, const struct windowing *t) {
    leat_walk_put(w, t->word, may_have_window(w, t->name) ? other_columns : "* EXCLUDE (__hop)");
    for (int end = 0; end < 2; end++) {
        leat_walk_put(w, t->word, ", leat_hop(");
        leat_walk_put_token(w, t->column);
        leat_walk_putf(w, t->word, ", %" PRId64 ", %" PRId64 ", %" PRId64 ", __hop)", t->slide_us, t->width_us, t->origin_us);
        if (end)
            leat_walk_putf(w, t->word, " + to_microseconds(%" PRId64 ")", t->width_us);
        leat_walk_put(w, t->word, end ? " AS window_end" : " AS window_start");
    }
    leat_walk_put(w, t->word, " FROM (SELECT *, unnest(range(CASE WHEN ");
    leat_walk_put_token(w, t->column);
    leat_walk_putf(w, t->word, " IS NULL THEN 1 ELSE %" PRId64 " END)) AS __hop FROM ", t->width_us / t->slide_us);
    leat_walk_put_token(w, t->name);
    leat_walk_put(w, t->close, ")");
}

static void put_session_over(struct leat_walk *w, const struct windowing *t, const char *rest) {
    leat_walk_put(w, t->word, " OVER (");
    for (size_t i = 0; i < t->key_count; i++) {
        leat_walk_put(w, t->word, i ? ", " : "PARTITION BY ");
        leat_walk_put_token(w, t->keys + 2 * i);
    }
    leat_walk_put(w, t->word, t->key_count ? " ORDER BY " : "ORDER BY ");
    leat_walk_put_token(w, t->column);
    leat_walk_putf(w, t->word, "%s)", rest);
}

/* CASE WHEN the neighbour is no more than the gap away THEN NULL ELSE the time END */
static void put_session_edge(struct leat_walk *w, const struct windowing *t, bool last) {
    leat_walk_put(w, t->word, last ? ", CASE WHEN epoch_us(lead(" : ", CASE WHEN epoch_us(");
    leat_walk_put_token(w, t->column);
    leat_walk_put(w, t->word, ")");
    if (last) {
        put_session_over(w, t, "");
        leat_walk_put(w, t->word, ") - epoch_us(");
    } else {
        leat_walk_put(w, t->word, " - epoch_us(lag(");
    }
    leat_walk_put_token(w, t->column);
    leat_walk_put(w, t->word, ")");
    if (!last) {
        put_session_over(w, t, "");
        leat_walk_put(w, t->word, ")");
    }
    leat_walk_putf(w, t->word, " <= %" PRId64 " THEN NULL ELSE ", t->width_us);
    leat_walk_put_token(w, t->column);
    leat_walk_put(w, t->word, last ? " END AS __last" : " END AS __first");
}

/* The first time of a session is the latest first one up to the row, the last time the earliest last one from it on. */
static void write_session(struct leat_walk *w, const struct windowing *t) {
    leat_walk_put(w, t->word, may_have_window(w, t->name) ? other_columns : "* EXCLUDE (__first, __last)");
    leat_walk_put(w, t->word, ", CASE WHEN ");
    leat_walk_put_token(w, t->column);
    leat_walk_put(w, t->word, " IS NULL THEN NULL ELSE max(__first)");
    put_session_over(w, t, "");
    leat_walk_put(w, t->word, " END AS window_start, leat_session_end(min(__last)");
    put_session_over(w, t, " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING");
    leat_walk_putf(w, t->word, " + to_microseconds(%" PRId64 "), ", t->width_us);
    leat_walk_put_token(w, t->column);
    leat_walk_put(w, t->word, ") AS window_end FROM (SELECT *");
    put_session_edge(w, t, false);
    put_session_edge(w, t, true);
    leat_walk_put(w, t->word, " FROM ");
    leat_walk_put_token(w, t->name);
    leat_walk_put(w, t->close, ")");
}

static void write_window(struct leat_walk *w, const struct windowing *t) {
    static void (*const write[WINDOW_KINDS])(struct leat_walk *, const struct windowing *) = {write_tumble, write_hop, write_session};
    leat_walk_copy_to(w, leat_walk_token(w, t->word)->offset);
    leat_walk_put(w, t->word, "(SELECT ");
    write[t->kind](w, t);
    leat_walk_put(w, t->close, ")");
    size_t next = t->close + 1;
    bool alias = leat_parser_is_at(w->p, next, "AS") || (leat_walk_is_name(w, next) && !leat_parser_is_one_of(w->p, next, leat_words_after_relation));
    if (!alias) {
        leat_walk_put(w, t->name, " AS ");
        leat_walk_put_token(w, t->name);
    }
    w->copied_to = leat_walk_token(w, t->close)->offset + leat_walk_token(w, t->close)->length;
}

/* A call at `token` in FROM that is a window over a relation; WINDOW_KINDS: another. */
static enum window_kind window_kind_at(const struct leat_walk *w, size_t token) {
    int kind = 0;
    while (kind < WINDOW_KINDS && !(leat_walk_is_operator(w, token + 1, "(") && leat_parser_is_at(w->p, token, window_kinds[kind].name)))
        kind++;
    return (enum window_kind)kind;
}

bool leat_walk_is_window(const struct leat_walk *w, size_t token) {
    return window_kind_at(w, token) != WINDOW_KINDS;
}

/* Moves behind it; its arguments may be wrong. */
void leat_walk_window(struct leat_walk *w, size_t token) {
    struct windowing t = {.kind = window_kind_at(w, token), .word = token};
    w->p->at = token + 2;
    if (parse_window(w, &t)) {
        leat_walk_reference(w, t.name, t.column);
        write_window(w, &t);
    } else {
        w->ok = false;
        w->p->at = token + 1;
    }
}

bool leat_walk_refuse_window(struct leat_walk *w, size_t token) {
    enum window_kind kind = window_kind_at(w, token);
    char message[64], hint[160];
    if (kind == WINDOW_KINDS)
        return false;
    snprintf(message, sizeof message, "%s is a relation and stands in FROM", window_kinds[kind].name);
    snprintf(hint, sizeof hint, "write FROM %s", window_kinds[kind].form);
    leat_walk_fail(w, token, hint, message);
    return true;
}
