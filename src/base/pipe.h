/* A named pipe by which one process wakes another: a byte says "look", nothing more. Local disks only; the pipe's
 * readers and writers are of one machine. Thread: any. */
#ifndef LEAT_BASE_PIPE_H
#define LEAT_BASE_PIPE_H

#include <stdbool.h>

#include "base/status.h"

/* The listening end: a descriptor for poll, made with the pipe; close(2) it by leat_pipe_close. */
enum leat_status leat_pipe_listen(const char *path, int *fd, struct leat_error *) LEAT_MUST;
bool leat_pipe_clear(int fd);          /* takes what came; false: nothing */
void leat_pipe_close(int fd);          /* -1 is allowed */
bool leat_pipe_ring(const char *path); /* false: nobody listens */

#endif
