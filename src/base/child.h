/* Runs a program and waits for it: what it printed, and what it used. */
#ifndef LEAT_BASE_CHILD_H
#define LEAT_BASE_CHILD_H

#include <stdint.h>
#include "base/mem.h"

struct leat_child_outcome { int exit_code; int64_t cpu_us, peak_bytes; };
/* argv  NULL-terminated; argv[0] is a path; standard input is empty, standard error the caller's
 * out   what it wrote to standard output is appended
 * Errors IO it could not be started, or was ended by a signal; LIMIT more output than out may hold */
enum leat_status leat_child_run(char *const argv[], struct leat_buffer *out, struct leat_child_outcome *, struct leat_error *) LEAT_MUST;
/* The program that is running, to be run again. malloc'd. */
char *leat_child_self(void);

#endif
