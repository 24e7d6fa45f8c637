/* FOR SYSTEM_TIME AS OF.
 *
 * JOIN name FOR SYSTEM_TIME AS OF time [alias] ON condition becomes a join with name__versions, the rows that the reference ever had, of the one that held then:
 *   JOIN name__versions alias ON (condition) AND valid_from <= time AND time < valid_to */
#include "project/query_internal.h"

#include <stdlib.h>

const char leat_as_of_form[] = "JOIN reference FOR SYSTEM_TIME AS OF time_column [AS] alias ON condition";

/* Behind an inner or a left JOIN: others ask for rows that no time was given for. */
static bool as_of_joins(const struct leat_parser *p, size_t name) {
    static const char *const others[] = {"RIGHT", "FULL", "NATURAL", "ASOF", "POSITIONAL", "CROSS", NULL};
    if (name < 2 || !leat_parser_is_at(p, name - 1, "JOIN"))
        return false;
    size_t kind = name - 2;
    if (kind && leat_parser_is_at(p, kind, "OUTER"))
        kind--;
    return !leat_parser_is_one_of(p, kind, others);
}

/* From FOR up to ON; p->at is behind it then. */
static bool parse_as_of(struct leat_walk *w, struct leat_as_of *t) {
    struct leat_parser *p = w->p;
    if (!leat_parser_expect(p, "AS") || !leat_parser_expect(p, "OF"))
        return false;
    t->time = p->at;
    if (!leat_walk_is_name(w, p->at)) {
        leat_parser_error(p, p->at, leat_as_of_form, "FOR SYSTEM_TIME AS OF needs a column with a time");
        return false;
    }
    p->at++;
    if (leat_walk_is_operator(w, p->at, ".") && leat_walk_is_name(w, p->at + 1))
        p->at += 2;
    t->time_count = p->at - t->time;
    bool as = leat_parser_accept(p, "AS");
    t->alias = t->name;
    if (leat_walk_is_name(w, p->at) && (as || !leat_parser_is_one_of(p, p->at, leat_words_after_relation)))
        t->alias = p->at++;
    if (leat_parser_accept(p, "ON"))
        return true;
    leat_parser_error(p, p->at, leat_parser_is(p, "USING") ? "write ON a.key = b.key" : leat_as_of_form, "a join FOR SYSTEM_TIME AS OF needs ON");
    return false;
}

void leat_walk_as_of(struct leat_walk *w, size_t name) {
    struct leat_parser *p = w->p;
    struct leat_as_of t = {.open = true, .name = name};
    p->at = name + 3; /* where that is said wrongly, it is said once */
    char *text = leat_token_value(&p->tokens, name), *versions = leat_asprintf("%s__versions", text);
    if (leat_walk_is_cte(w, text)) {
        leat_walk_fail(w, name, "name the source itself", "only reference sources have versions");
    } else if (leat_walk_is_cte(w, versions)) {
        char *message = leat_asprintf("'%s' is what FOR SYSTEM_TIME AS OF reads, and cannot be a query of WITH", versions);
        leat_walk_fail(w, name, "give the query behind WITH another name", message);
        free(message);
    } else if (!as_of_joins(p, name)) {
        leat_walk_fail(w, name + 1, leat_as_of_form, "FOR SYSTEM_TIME AS OF stands behind JOIN or LEFT JOIN");
    } else if (!parse_as_of(w, &t)) {
        w->ok = false;
    } else {
        struct leat_buffer relation = {0};
        leat_put_sql_name(&relation, versions);
        leat_walk_reference(w, name, 0);
        w->query->references[w->query->reference_count - 1].as_of = true;
        leat_walk_copy_to(w, leat_walk_token(w, name)->offset);
        leat_walk_put(w, name, relation.data);
        leat_walk_put(w, name, " AS ");
        leat_walk_put_token(w, t.alias);
        leat_walk_put(w, name, " ON (");
        w->copied_to = leat_walk_token(w, p->at - 1)->offset + leat_walk_token(w, p->at - 1)->length;
        w->frames[w->depth].as_of = t;
        leat_buffer_deinit(&relation);
    }
    free(text);
    free(versions);
}

/* Does the condition end before the token at p->at? */
static bool ends_condition(const struct leat_walk *w) {
    const struct leat_parser *p = w->p;
    size_t at = p->at;
    if (at >= p->end || leat_walk_is_operator(w, at, ")") || leat_walk_is_operator(w, at, ","))
        return true;
    if (leat_walk_token(w, at)->kind != LEAT_TOKEN_WORD || leat_walk_is_operator(w, at - 1, ".") || leat_parser_is_at(p, at, "EMIT"))
        return false;
    bool call = leat_walk_is_operator(w, at + 1, "(") && (leat_parser_is_at(p, at, "LEFT") || leat_parser_is_at(p, at, "RIGHT"));
    return !call && leat_parser_is_one_of(p, at, leat_words_after_relation);
}

static void put_bound(struct leat_walk *w, const struct leat_as_of *t, const char *column, const char *otherwise) {
    leat_walk_put(w, t->name, "coalesce(epoch_us(");
    leat_walk_put_token(w, t->alias);
    leat_walk_putf(w, t->name, ".%s), %s)", column, otherwise);
}

static void put_time(struct leat_walk *w, const struct leat_as_of *t) {
    leat_walk_put(w, t->time, "epoch_us(");
    for (size_t i = 0; i < t->time_count; i++)
        leat_walk_put_token(w, t->time + i);
    leat_walk_put(w, t->time, ")");
}

static void end_as_of(struct leat_walk *w) {
    struct leat_as_of t = w->frames[w->depth].as_of;
    const struct leat_token *last = leat_walk_token(w, w->p->at - 1);
    w->frames[w->depth].as_of.open = false;
    leat_walk_copy_to(w, last->offset + last->length);
    leat_walk_put(w, t.name, ") AND ");
    put_bound(w, &t, "valid_from", "-9000000000000000000");
    leat_walk_put(w, t.name, " <= ");
    put_time(w, &t);
    leat_walk_put(w, t.name, " AND ");
    put_time(w, &t);
    leat_walk_put(w, t.name, " < ");
    put_bound(w, &t, "valid_to", "9000000000000000000");
}

void leat_walk_end_as_of(struct leat_walk *w) {
    if (w->frames[w->depth].as_of.open && ends_condition(w))
        end_as_of(w);
}
