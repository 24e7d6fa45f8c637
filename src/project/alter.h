/* ALTER MATERIALIZED TABLE (parse_alter.c). Depends on sql/lexer.h. Thread: any. */
#ifndef LEAT_PROJECT_ALTER_H
#define LEAT_PROJECT_ALTER_H

#include "project/project.h"

enum leat_alter_kind {
    LEAT_ALTER_DIAL,    /* SET FRESHNESS, SET SCHEDULE: text is the clause */
    LEAT_ALTER_QUERY,   /* AS SELECT: text is the query */
    LEAT_ALTER_SUSPEND,
    LEAT_ALTER_RESUME,
    LEAT_ALTER_REFRESH, /* PARTITION: text is a condition */
};
struct leat_alter {
    enum leat_alter_kind kind;
    char *table, *text; /* text: NULL where none is taken */
};
/* Errors: INVALID, UNSUPPORTED, with the statement's shape. *out is empty then. */
enum leat_status leat_alter_parse(const char *sql, struct leat_alter *out, struct leat_error *) LEAT_MUST;
void leat_alter_deinit(struct leat_alter *);
/* The file's text with the clause or the query replaced, appended to out. false: the table is not declared there. */
bool leat_alter_rewrite(const struct leat_alter *, const struct leat_text_file *, struct leat_buffer *out);

#endif
