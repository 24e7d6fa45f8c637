/* Changes one clause of one statement in the text of a project's file; everything else stays byte for byte, comments too. */
#ifndef LEAT_PROJECT_REWRITE_H
#define LEAT_PROJECT_REWRITE_H

#include "project/project.h"

enum leat_clause {
    LEAT_CLAUSE_REFRESH,   /* FRESHNESS ... or SCHEDULE ... of a materialized table */
    LEAT_CLAUSE_LATENESS,  /* ALLOW LATENESS ... of a materialized table; put behind the refresh clause where there is none */
    LEAT_CLAUSE_WATERMARK, /* the "- INTERVAL ..." of a source's WATERMARK FOR c AS c; put there where there is none */
};
/* text         a file without errors, borrowed
 * object       name of the table or source
 * replacement  the clause's new words
 * returns      the new text, malloc'd; NULL: the file has no such statement, or it has no such clause */
char *leat_rewrite_clause(const char *text, size_t length, const char *object, enum leat_clause, const char *replacement);
/* The same in the file of the project that declares `object`, written durably in place.
 * Errors  NOT_FOUND no such statement or clause; CONFLICT the file is no longer as it was loaded; IO */
enum leat_status leat_rewrite_project(struct leat_env *, const struct leat_project *, const char *object, enum leat_clause,
                                      const char *replacement, struct leat_error *) LEAT_MUST;

#endif
