/* Runs a program and waits for it: what it printed, and what it used. */
#ifndef LEAT_BASE_CHILD_H
#define LEAT_BASE_CHILD_H

#include <stdint.h>
#include <sys/types.h>
#include "base/mem.h"

struct leat_child_outcome { int exit_code; int64_t cpu_us, peak_bytes; };
/* argv  NULL-terminated; argv[0] is a path; standard input is empty, standard error the caller's
 * out   what it wrote to standard output is appended
 * Errors IO it could not be started, or was ended by a signal; LIMIT more output than out may hold */
enum leat_status leat_child_run(char *const argv[], struct leat_buffer *out, struct leat_child_outcome *, struct leat_error *) LEAT_MUST;
/* In the background, with both outputs appended to the file log_path. */
enum leat_status leat_child_start(char *const argv[], const char *log_path, pid_t *out, struct leat_error *) LEAT_MUST;
bool leat_child_ended(pid_t, int *exit_code); /* true once; an exit by a signal is 128 and its number, as the shell has it */
enum leat_status leat_child_stop(pid_t, int *exit_code, struct leat_error *) LEAT_MUST; /* SIGTERM, and waits for its end */
/* The program that is running, to be run again. malloc'd. */
char *leat_child_self(void);

#endif
