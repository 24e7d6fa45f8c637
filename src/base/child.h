/* Runs a program and waits for it: what it printed, and what it used. */
#ifndef LEAT_BASE_CHILD_H
#define LEAT_BASE_CHILD_H

#include <stdatomic.h>
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
/* A program that is talked to through its standard input and output; its standard error goes nowhere. */
struct leat_child_pipe { pid_t pid; int to, from; const atomic_int *stop; }; /* pid 0: there is none. stop: set by who opened it; waits end soon once it is set. NULL: none */
enum leat_status leat_child_open(char *const argv[], struct leat_child_pipe *out, struct leat_error *) LEAT_MUST;
/* Exactly n bytes. Errors IO, retriable: it ended; nothing came, or was taken, for timeout_us. CANCELLED: stopped. */
enum leat_status leat_child_write(struct leat_child_pipe *, const void *bytes, size_t n, int64_t timeout_us, struct leat_error *) LEAT_MUST;
/* Some bytes, at least one. Errors as above. */
enum leat_status leat_child_read(struct leat_child_pipe *, void *out, size_t want, size_t *got, int64_t timeout_us, struct leat_error *) LEAT_MUST;
bool leat_child_waits(const struct leat_child_pipe *); /* it has neither ended nor said anything that is still to be read */
int leat_child_close(struct leat_child_pipe *); /* SIGKILL; also of none. Its exit code, as of leat_child_ended; 0: there was none */
void leat_child_kill(const struct leat_child_pipe *); /* its end is seen by who reads; leat_child_close is still to come. Also of none */
struct leat_child_pipe leat_child_parent(void);  /* in such a program: its own standard input and output */
/* This process gets no more than so much memory beside what it has (mappings that can be written); an allocation beyond fails. */
void leat_child_limit(uint64_t memory_bytes);
void leat_child_leaves_no_core(void); /* in such a program, whose memory may hold a password */
/* The same in such a program, which also is the first that the kernel ends where memory is short, leaves no core file, and ends with the thread that
 * started it. */
void leat_child_confine(uint64_t memory_bytes);
/* The program that is running, to be run again. malloc'd. */
char *leat_child_self(void);

#endif
