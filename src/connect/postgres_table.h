/* A table of PostgreSQL whose changes are to be followed: its publication, and what would keep a change from being told, or from saying all. */
#ifndef LEAT_CONNECT_POSTGRES_TABLE_H
#define LEAT_CONNECT_POSTGRES_TABLE_H

#include "connect/postgres.h"
#include "project/project.h"

struct leat_postgres_table { /* borrows all */
    const struct leat_source *def;
    const char *name, *slot, *slot_path; /* slot: also the publication's name; slot_path: what is removed to begin anew */
    struct leat_postgres *server;
    int64_t timeout_us;
};
/* Its number, and, where *schema is NULL, its schema's name; both malloc'd. Errors: of the server, that there is none among them. */
enum leat_status leat_postgres_table_find(const struct leat_postgres_table *, char **oid, char **schema, struct leat_error *) LEAT_MUST;
/* Before the slot is made: checks all of it, and makes the publication where there is none. CONFLICT: a change would not be told, or would not say all. */
enum leat_status leat_postgres_table_publish(const struct leat_postgres_table *, char **schema, struct leat_error *) LEAT_MUST;
/* Is it, and what is published of it, what it was? As leat_postgres_table_publish. */
enum leat_status leat_postgres_table_check(const struct leat_postgres_table *, char **schema, struct leat_error *) LEAT_MUST;
/* Did it have this column, by another name, when it had so many columns? It had not if the column's number is above those of all that there were. */
enum leat_status leat_postgres_table_had(const struct leat_postgres_table *, const char *column, size_t columns, bool *had, struct leat_error *) LEAT_MUST;

/* The first field of a query's first row, malloc'd; NULL: there is none. */
enum leat_status leat_postgres_ask(struct leat_postgres *, int64_t timeout_us, char **out, struct leat_error *, const char *format, ...) LEAT_PRINTF(5, 6);

#endif
