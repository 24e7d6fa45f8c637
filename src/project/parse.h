/* Inside project/: reading statements from tokens. A parse function that fails has reported why and returns false or
 * NULL; the caller then leaves the item or the statement and the next one is read. */
#ifndef LEAT_PROJECT_PARSE_H
#define LEAT_PROJECT_PARSE_H

#include "project/project.h"
#include "project/tables.h"
#include "sql/lexer.h"

/* A relation named in a query, to be looked up when all statements are known. */
struct leat_reference {
    char *name;
    struct leat_place place;
    char *time_column; /* of a window function over it; NULL: none */
    struct leat_place time_place;
    bool as_of; /* the versions of the reference of this name are meant */
};
/* The query of one view or table and the relations it names. */
struct leat_query {
    struct leat_object_ref object;
    struct leat_reference *references;
    size_t reference_count;
};

struct leat_parser {
    struct leat_project *project;
    struct leat_diagnostics *diags;
    const struct leat_text_file *file;
    struct leat_tokens tokens;
    size_t at, end; /* the current token; the statement's end */
    struct leat_query *queries; /* of all files */
    size_t query_count;
    char **windowed; /* relations that may have columns window_start and window_end (windowed.c) */
    size_t windowed_count;
    struct leat_object_ref *broken; /* objects with errors: nothing is concluded from their columns */
    size_t broken_count;
};

/* All statements of one file, which the project owns. */
void leat_parser_file(struct leat_parser *parser, const struct leat_text_file *file);
/* References, cycles, order, and what depends on more than one statement (resolve.c). */
void leat_parser_resolve(struct leat_parser *parser);
void leat_parser_deinit(struct leat_parser *parser);
/* Finds parser->windowed over all files of the project, before any is parsed (windowed.c). */
void leat_parser_find_windowed(struct leat_parser *parser);

/* One statement each; the words that name it are read already. */
void leat_parser_source(struct leat_parser *p);
void leat_parser_view(struct leat_parser *p);
void leat_parser_table(struct leat_parser *p);
void leat_parser_set(struct leat_parser *p);
void leat_parser_sink(struct leat_parser *p);
void leat_parser_check(struct leat_parser *p);
void leat_parser_resolve_checks(struct leat_parser *p);
/* CRON '...' [AT TIME ZONE '...'] into cron, time_zone and time_zone_place; the word SCHEDULE is read. */
bool leat_parser_schedule(struct leat_parser *p, struct leat_table *table);
void leat_parser_resolve_sinks(struct leat_parser *p); /* their tables, when all are known */

/* ---- cursor (parse_tokens.c) ---- */

struct leat_place leat_parser_place(const struct leat_parser *p, size_t token);
/* Reports an error at a token. */
void leat_parser_error(struct leat_parser *p, size_t token, const char *suggestion, const char *format, ...) LEAT_PRINTF(4, 5);
/* "expected <what>, found <token>" at the current token; false. */
bool leat_parser_expected(struct leat_parser *p, const char *what);
bool leat_parser_is(const struct leat_parser *p, const char *word);
bool leat_parser_is_at(const struct leat_parser *p, size_t token, const char *word);
bool leat_parser_is_operator(const struct leat_parser *p, const char *bytes);
bool leat_parser_accept(struct leat_parser *p, const char *word);
bool leat_parser_accept_operator(struct leat_parser *p, const char *bytes);
bool leat_parser_expect(struct leat_parser *p, const char *word);
bool leat_parser_expect_operator(struct leat_parser *p, const char *bytes);
bool leat_parser_at_end(const struct leat_parser *p);
enum leat_token_kind leat_parser_kind(const struct leat_parser *p);
/* A name, quoted or not, malloc'd. what: "a column name", for the message. */
char *leat_parser_name(struct leat_parser *p, const char *what);
/* A name that becomes a relation and so a folder of the lake: letters, digits and _ only. */
char *leat_parser_relation_name(struct leat_parser *p, const char *what);
/* (a, b, ...) of column names. */
bool leat_parser_name_list(struct leat_parser *p, char ***out, size_t *count);
/* A string literal, malloc'd. */
char *leat_parser_string(struct leat_parser *p, const char *what);
/* INTERVAL '2' MINUTE, INTERVAL '2 minutes', INTERVAL 2 MINUTE; above_zero refuses 0; negative ones are always refused. */
bool leat_parser_interval(struct leat_parser *p, const char *what, bool above_zero, int64_t *us_out);
/* Moves to the `,` or `)` that ends the current list item, or to the statement's end. */
void leat_parser_skip_item(struct leat_parser *p);
/* Moves behind the `)` that closes the parenthesis which stands before the current token. */
void leat_parser_skip_list(struct leat_parser *p);
/* Text of tokens [first, last) as written, malloc'd. */
char *leat_parser_text(const struct leat_parser *p, size_t first, size_t last);
/* The nearest of words (NULL-terminated) to the token, or NULL. */
const char *leat_parser_nearest(const struct leat_parser *p, size_t token, const char *const *words);
/* A token as shown in messages: 'text', shortened, or "the end of the statement". out 64 bytes. */
void leat_parser_show(const struct leat_parser *p, size_t token, char out[64]);

/* ---- options (parse_options.c) ---- */

/* A value as it stands in WITH or SET, ${NAME} resolved. */
struct leat_given {
    char *name, *text;
    struct leat_place place, value_place;
    bool secret;
    bool broken; /* its value is wrong (reported) and text NULL */
};
struct leat_given_list {
    struct leat_given *items;
    size_t count;
};
/* One value into *out (text, value_place, secret). */
bool leat_parser_value(struct leat_parser *p, struct leat_given *out);
/* ( name = value, ... ); faulty items are reported; those with a name are kept as broken. */
bool leat_parser_given_list(struct leat_parser *p, struct leat_given_list *out);
void leat_given_deinit(struct leat_given *given);
void leat_given_list_deinit(struct leat_given_list *list);
/* The value in the normal form of its option, malloc'd; NULL when it is wrong (reported). */
char *leat_given_normalise(struct leat_parser *p, const struct leat_option_spec *spec, const struct leat_given *given);

/* Checks WITH against the connector's table and fills connector, format, refresh and options with defaults
 * (source_options.c). encode: the format said by ENCODE, NULL: none. */
bool leat_parser_source_options(struct leat_parser *p, struct leat_source *source, const struct leat_given_list *given,
                                const char *encode);

/* ---- queries (query.c) ---- */

/* The query from the current token to the statement's end: rewritten text, place and map; its references go to
 * p->queries for `object`. */
bool leat_parser_query(struct leat_parser *p, struct leat_object_ref object, char **sql, struct leat_place *sql_place,
                       struct leat_sql_map *map);

/* ---- the project's parts (project.c) ---- */

/* Reports and returns false if an object of that name exists. */
bool leat_parser_claim_name(struct leat_parser *p, const char *name, struct leat_place place);
void leat_parser_mark_broken(struct leat_parser *p, struct leat_object_ref object);
bool leat_parser_is_broken(const struct leat_parser *p, struct leat_object_ref object);
void leat_source_deinit(struct leat_source *source);
void leat_view_deinit(struct leat_view *view);
void leat_table_deinit(struct leat_table *table);
void leat_check_def_deinit(struct leat_check_def *check);
void leat_diagnostics_truncate(struct leat_diagnostics *diags, size_t count);

#endif
