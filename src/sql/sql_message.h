/* DuckDB's error messages taken apart: what is wrong, what to do, and where. Through DuckDB's C interface the place comes only
 * as text: a line "LINE 2: ...part of the statement..." and a caret below it. Pure functions over text. */
#ifndef LEAT_SQL_SQL_MESSAGE_H
#define LEAT_SQL_SQL_MESSAGE_H

#include "base/mem.h"

/* Byte of `sql` at which a message about it points: the caret; else the end, for a statement that ends too early; else the first
 * name or function in quotes that the statement holds. -1: the message points nowhere.
 * sql  the statement exactly as it was given to DuckDB */
int64_t leat_sql_message_offset(const char *sql, const char *message);
/* The message without its kind ("Binder Error: "), place and lists of candidates, on one line; malloc'd. hint: malloc'd, "did
 * you mean ...?" or the rest of DuckDB's advice; NULL: none. */
char *leat_sql_message_text(const char *message, char **hint);

#endif
