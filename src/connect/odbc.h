/* ODBC in a process of its own. A driver is somebody else's code that may wait for ever, crash or leak: the process is leat itself ("leat odbc-rows"), asked
 * through pipes and killed at a deadline, so that none of that reaches the process that has the tables.
 *
 * Frames both ways: struct leat_odbc_frame, then `length` bytes.
 *   to it    C timeout in seconds (4 bytes), connection string          from it   Q how names are quoted, NUL, what database it is; or E
 *            S number of columns (4), kind of each (1), statement                 R a row: each value's length (4; -1: NULL) and bytes, of all of them
 *                                                                               not more than LEAT_RECORD_BYTES_MAX + 1; Z behind the last; or E
 *   E is the SQL state (5) and a text. */
#ifndef LEAT_CONNECT_ODBC_H
#define LEAT_CONNECT_ODBC_H

#include <stdint.h>

enum { LEAT_ODBC_CONNECT = 'C', LEAT_ODBC_SELECT = 'S', LEAT_ODBC_QUOTE = 'Q', LEAT_ODBC_ROW = 'R', LEAT_ODBC_END = 'Z', LEAT_ODBC_ERROR = 'E' };
enum { LEAT_ODBC_TEXT = 't', LEAT_ODBC_WIDE_TEXT = 'w', LEAT_ODBC_BYTES = 'b' };
struct leat_odbc_frame { uint32_t kind, length; };
enum { LEAT_ODBC_FRAME_MAX = 64 << 20 };

/* The process's main function. */
int leat_odbc_main(void);

#endif
