/* Shared by the query*.c files: the walk over a query's tokens. */
#ifndef LEAT_PROJECT_QUERY_INTERNAL_H
#define LEAT_PROJECT_QUERY_INTERNAL_H

#include "project/parse.h"

/* FOR SYSTEM_TIME AS OF, whose condition is being walked: tokens. */
struct leat_as_of {
    bool open;
    size_t name, time, time_count, alias;
};

struct leat_walk_frame {
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
    struct leat_as_of as_of;
};
struct leat_walk {
    struct leat_parser *p;
    struct leat_query *query;
    struct leat_walk_frame *frames; /* [depth] is the current one */
    size_t depth;
    char **ctes;
    size_t cte_count;
    struct leat_buffer sql;
    struct leat_sql_map *map;
    size_t copied_to; /* file offset up to which text is in sql */
    bool ok;
};

static inline const struct leat_token *leat_walk_token(const struct leat_walk *w, size_t i) {
    return &w->p->tokens.items[i];
}

void leat_walk_fail(struct leat_walk *, size_t token, const char *suggestion, const char *message);

/* The query as it becomes: what is copied, and what is written in the place of `token`. */
void leat_walk_copy_to(struct leat_walk *, size_t file_offset);
void leat_walk_put(struct leat_walk *, size_t token, const char *text);
void leat_walk_putf(struct leat_walk *, size_t token, const char *format, ...) LEAT_PRINTF(3, 4);
void leat_walk_put_token(struct leat_walk *, size_t token);

bool leat_walk_is_name(const struct leat_walk *, size_t token);
bool leat_walk_is_operator(const struct leat_walk *, size_t token, const char *bytes);
bool leat_walk_is_cte(const struct leat_walk *, const char *name);
bool leat_parser_is_one_of(const struct leat_parser *, size_t token, const char *const *words);
extern const char *const leat_words_after_relation[]; /* that can stand behind a relation in FROM and are not its alias */
/* The relation that the token names is read; time_token: the time of a window over it, or 0. */
void leat_walk_reference(struct leat_walk *, size_t token, size_t time_token);

/* query_window.c: TUMBLE, HOP and SESSION at `token`, in FROM; elsewhere they are refused (true: one stood there). */
bool leat_walk_is_window(const struct leat_walk *, size_t token);
void leat_walk_window(struct leat_walk *, size_t token);
bool leat_walk_refuse_window(struct leat_walk *, size_t token);

/* query_as_of.c: `name` FOR SYSTEM_TIME AS OF ..., from there to behind ON; and, before each token, whether its condition ends there. */
extern const char leat_as_of_form[];
void leat_walk_as_of(struct leat_walk *, size_t name);
void leat_walk_end_as_of(struct leat_walk *);

#endif
