#include "base/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum leat_status leat_pipe_listen(const char *path, int *fd, struct leat_error *err) {
    struct stat st;
    *fd = -1;
    if (mkfifo(path, 0600) != 0 && errno != EEXIST)
        return leat_fail(err, LEAT_IO, "mkfifo %s: %s", path, strerror(errno));
    /* Also for writing: without a writer of its own a pipe is readable for ever once another has closed it. */
    *fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0) return leat_fail(err, LEAT_IO, "open %s: %s", path, strerror(errno));
    if (fstat(*fd, &st) == 0 && S_ISFIFO(st.st_mode)) return LEAT_OK;
    leat_pipe_close(*fd);
    *fd = -1;
    return leat_fail(err, LEAT_IO, "%s is not a pipe", path);
}

bool leat_pipe_clear(int fd) {
    char bytes[256];
    bool any = false;
    while (fd >= 0 && read(fd, bytes, sizeof bytes) > 0)
        any = true;
    return any;
}

void leat_pipe_close(int fd) {
    if (fd >= 0) close(fd);
}

bool leat_pipe_ring(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISFIFO(st.st_mode)) return false;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;                              /* ENXIO: nobody has it open */
    bool rung = write(fd, "!", 1) == 1 || errno == EAGAIN; /* full: it has been rung already */
    close(fd);
    return rung;
}
